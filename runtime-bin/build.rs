//! Puts the commit into the binary, for `corten --version`, and has the linker put together what is called.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=CORTEN_COMMIT");
    // HEAD names a branch, and its log changes with each commit. Cargo would take a missing file for a
    // changed one.
    for path in ["../.git/HEAD", "../.git/logs/HEAD", "build.rs"] {
        if Path::new(path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let commit = env::var("CORTEN_COMMIT").ok().filter(|commit| !commit.is_empty()).or_else(|| {
        let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    });
    println!("cargo::rustc-env=CORTEN_COMMIT={}", commit.unwrap_or_else(|| "unknown".to_owned()));
    // Only a release is worth it: other builds have other functions. The names are those of the symbols of
    // ELF.
    println!("cargo::rerun-if-changed=order.ld");
    println!("cargo::rerun-if-env-changed=CORTEN_UNORDERED");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|known| known == value);
    if env::var_os("CORTEN_UNORDERED").is_none()
        && is("PROFILE", "release")
        && is("CARGO_CFG_TARGET_OS", "linux")
    {
        let directory = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-arg-bin=corten=-Xlinker");
        println!("cargo::rustc-link-arg-bin=corten=--script={directory}/order.ld");
    }
}
