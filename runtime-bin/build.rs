//! Puts the commit into the binary, for `corten --version`.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=CORTEN_COMMIT");
    // HEAD names a branch, and its log changes with each commit. Cargo would take a missing file for a changed one.
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
}
