//! `cargo xtask test` and `cargo xtask ci`.
//!
//! Tier 1 is what needs no privileges, tier 2 what needs root and the real kernel; both are ordinary tests, and those of tier 2
//! say `skipped: REASON` where the machine lacks what they need. On a machine with hybrid cgroups tier 2 runs twice: once as the
//! machine is, once in a private mount namespace with nothing but cgroup2.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::shell::{cargo, check, enter_pure_v2, is_hybrid, is_root};
use crate::{Result, libtest, musl, packages, shell};

pub(crate) fn test() -> Result {
    packages::install_build_needs()?;
    packages::install_peers();
    let mut skipped = Vec::new();
    if !is_root() {
        skipped.push("tier 2: this is not root".to_owned());
    }
    println!("\n=== tiers 1 and 2, cgroups as the machine has them ===");
    run_tests(cargo().args(["test", "--workspace", "--no-fail-fast", "--", "--show-output"]), &mut skipped)?;
    if is_root() && is_hybrid() {
        println!("\n=== tier 2 again, in pure cgroup v2 ===");
        enter_pure_v2()?;
        let mut command = cargo();
        command.args([
            "test",
            "-p",
            "corten-cgroup",
            "-p",
            "libcorten",
            "-p",
            "corten",
            "--no-fail-fast",
            "--",
            "--show-output",
        ]);
        run_tests(&mut command, &mut skipped)?;
    }
    if is_root() {
        println!("\n=== the bench, in short: its figures mean nothing ===");
        let corten = shell::build("dev")?;
        let mut bench = Command::new(std::env::current_exe()?);
        bench.args(["bench", "run", "steps", "exec", "--runs", "2", "--warm-ups", "0", "--corten"]).arg(corten);
        check(&mut bench)?;
    }
    skipped.sort();
    skipped.dedup();
    println!("\n{} reason(s) for skipped tests", skipped.len());
    for reason in skipped {
        println!("  skipped: {reason}");
    }
    Ok(())
}

/// Runs tests, shows the results, and collects what they say that they skip.
fn run_tests(command: &mut Command, skipped: &mut Vec<String>) -> Result {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let mut output = libtest::Output::default();
    for line in BufReader::new(child.stdout.take().ok_or("no stdout")?).lines() {
        let line = line?;
        if output.take(&line) {
            println!("{line}");
        }
    }
    skipped.append(&mut output.skipped);
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err("tests failed".into()) }
}

pub(crate) fn ci() -> Result {
    packages::install_build_needs()?;
    check(cargo().args(["fmt", "--all", "--check"]))?;
    check(cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    check(cargo().args(["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "--deny warnings"))?;
    // They are no part of the workspace, as running them wants flags of their own.
    let mut fuzz_targets = cargo();
    fuzz_targets.args(["check", "--quiet", "--manifest-path", "fuzz/Cargo.toml", "--bins", "--no-default-features"]);
    check(fuzz_targets.env("RUSTFLAGS", "--cfg fuzzing --deny warnings"))?;
    // What is released: types of constants, for one, differ between C libraries.
    let released = musl::check()?;
    test()?;
    if !released {
        println!("  skipped: the release build was not checked: rustup cannot add {}", musl::target());
    }
    Ok(())
}
