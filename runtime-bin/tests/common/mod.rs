//! Driving the binary.

#![allow(dead_code, unreachable_pub, reason = "shared by test programs, none of which uses all of it")]

#[path = "../../../crates/libcorten/tests/common/mod.rs"]
mod bundles;

use std::process::{Command, Output, Stdio};

pub use bundles::{TestBundle, can_make_containers};

/// Says why a test does nothing here; `cargo xtask test` collects these lines.
pub fn skip(reason: &str) {
    bundles::skip(reason);
}

/// Copies a program and the libraries it needs.
pub fn copy_program(from: &std::path::Path, to: &std::path::Path) {
    bundles::copy_program(from, to);
}

/// The binary under test.
pub const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

/// A command of corten on the bundle's own state root.
pub fn corten(test: &TestBundle, arguments: &[&str]) -> Command {
    let mut command = Command::new(CORTEN);
    command.arg("--root").arg(test.state_root()).args(arguments).stdin(Stdio::null());
    command
}

/// `corten run` of the bundle, in the foreground.
pub fn run(test: &TestBundle) -> Output {
    let path = test.write().path();
    corten(test, &["run", "--bundle", path.to_str().unwrap(), &test.id]).output().unwrap()
}

/// What a command printed on stdout, which must be all that it had to say.
pub fn stdout(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{:?}: {stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command that must succeed.
pub fn succeed(test: &TestBundle, arguments: &[&str]) -> String {
    stdout(&corten(test, arguments).output().unwrap())
}

/// Runs a command that must fail with exit status 1 and one line; returns the line.
pub fn fail(test: &TestBundle, arguments: &[&str]) -> String {
    one_error(&corten(test, arguments).output().unwrap())
}

/// The one line of a failure with exit status 1.
pub fn one_error(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr.trim_end().to_owned()
}
