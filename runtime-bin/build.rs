//! Puts the commit into the binary, for `corten --version`.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=CORTEN_COMMIT");
    println!("cargo::rerun-if-changed=../.git/HEAD");
    let commit = env::var("CORTEN_COMMIT").ok().or_else(|| {
        let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    });
    println!("cargo::rustc-env=CORTEN_COMMIT={}", commit.unwrap_or_else(|| "unknown".to_owned()));
}
