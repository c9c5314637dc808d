//! `cargo xtask test` and `cargo xtask ci`.
//!
//! Tier 1 is what needs no privileges, tier 2 what needs root and the real kernel; both are ordinary tests,
//! and those of tier 2 say `skipped: REASON` where the machine lacks what they need. On a machine with hybrid
//! cgroups, what depends on their layout runs twice: once as the machine is, once in a private mount
//! namespace with nothing but cgroup2. Everything is built once.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::programs::{self, Kind, Program};
use crate::shell::{cargo, check, enter_pure_v2, is_hybrid, is_root};
use crate::{Result, libtest, musl, packages};

/// Modules and tests of the program `containers` for which it makes no difference how cgroups are mounted.
/// What is not here runs in both layouts.
const IN_ANY_LAYOUT: &[&str] = &[
    "added_mounts::",
    "agents::",
    "attacks::home::",
    "attacks::stdio::",
    "bad_input::",
    "command_line::",
    "console::",
    "cves::devices::",
    "cves::fds::",
    "cves::proc::",
    "cves::values::",
    "host_trees::",
    "input::",
    "mounts::copies::",
    "mounts::devices::",
    "mounts::hidden::",
    "mounts::host::",
    "mounts::locked::",
    "mounts::mapped_ids::",
    "mounts::options::",
    "mounts::places::",
    "mounts::propagation::",
    "namespaces::joined::",
    "namespaces::time::",
    "namespaces::user::",
    "process::privileges::",
    "process::program::",
    "process::surroundings::",
    "programs::",
    "seccomp::",
    "session::",
    "terminal::",
    "transcripts::create",
    "transcripts::features",
    "transcripts::global_flags",
    "transcripts::list",
    "transcripts::spec",
    "transcripts::start",
    "transcripts::state",
    "transcripts::without_a_command",
];

/// Programs with tests that depend on the layout, libraries' unit tests among them.
const IN_BOTH_LAYOUTS: [&str; 5] = ["containers", "library", "cgroups", "libcorten", "corten_cgroup"];

/// How many tests run at once. They wait more than they compute.
const THREADS: &str = "4";

pub(crate) fn test() -> Result {
    packages::install_build_needs()?;
    packages::install_peers();
    let programs = programs::build()?;
    let mut tests = Tests::default();
    if !is_root() {
        tests.skipped.push("tier 2: this is not root".to_owned());
    }
    println!("\n=== tiers 1 and 2, cgroups as the machine has them ===");
    for program in programs.iter().filter(|program| program.kind != Kind::Plain) {
        tests.run(program, &[])?;
    }
    tests.follow("examples in documentation", cargo().args(["test", "--workspace", "--doc", "--quiet"]))?;
    if is_root() && is_hybrid() {
        println!("\n=== tier 2 again, in pure cgroup v2: what depends on the layout ===");
        enter_pure_v2()?;
        let skip: Vec<_> = IN_ANY_LAYOUT.iter().flat_map(|module| ["--skip", module]).collect();
        for name in IN_BOTH_LAYOUTS {
            let program = programs.iter().find(|program| program.name == name && program.kind != Kind::Plain);
            let program = program.ok_or_else(|| format!("cargo has built no tests {name}"))?;
            tests.run(program, if name == "containers" { &skip } else { &[] })?;
        }
    }
    if is_root() {
        println!("\n=== the bench, in short: its figures mean nothing ===");
        let corten = programs.iter().find(|program| program.name == "corten" && program.kind == Kind::Plain);
        let mut bench = Command::new(std::env::current_exe()?);
        bench.args(["bench", "run", "steps", "exec", "--runs", "2", "--warm-ups", "0", "--corten"]);
        check(bench.arg(&corten.ok_or("cargo has built no corten")?.file))?;
    }
    tests.tell()
}

/// How the tests went.
#[derive(Debug, Default)]
struct Tests {
    failed: Vec<String>,
    skipped: Vec<String>,
}

impl Tests {
    /// Runs a program's tests.
    fn run(&mut self, program: &Program, arguments: &[&str]) -> Result {
        let mut command = program.command();
        command.args(["--show-output", "--test-threads", THREADS]).args(arguments);
        self.follow(&program.name, &mut command)
    }

    /// Runs tests, shows the results, and collects what they say that they skip.
    fn follow(&mut self, name: &str, command: &mut Command) -> Result {
        println!("\n--- {name} ---");
        let begun = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{command:?}: {error}"))?;
        let mut output = libtest::Output::default();
        for line in BufReader::new(child.stdout.take().ok_or("no stdout")?).lines() {
            let line = line?;
            if output.take(&line) {
                println!("{line}");
            }
        }
        self.skipped.append(&mut output.skipped);
        if !child.wait()?.success() {
            self.failed.push(name.to_owned());
        }
        println!("{name}: {} passed, {} failed, {:.0?}", output.passed, output.failed, begun.elapsed());
        Ok(())
    }

    /// Tells what was skipped, and whether all went well.
    fn tell(mut self) -> Result {
        self.skipped.sort();
        self.skipped.dedup();
        println!("\n{} reason(s) for skipped tests", self.skipped.len());
        for reason in self.skipped {
            println!("  skipped: {reason}");
        }
        if self.failed.is_empty() {
            Ok(())
        } else {
            Err(format!("tests failed: {}", self.failed.join(", ")).into())
        }
    }
}

pub(crate) fn ci() -> Result {
    packages::install_build_needs()?;
    check(cargo().args(["fmt", "--all", "--check"]))?;
    check(cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    check(
        cargo().args(["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "--deny warnings"),
    )?;
    // They are no part of the workspace, as running them wants flags of their own.
    let mut fuzz_targets = cargo();
    fuzz_targets.args([
        "check",
        "--quiet",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--bins",
        "--no-default-features",
    ]);
    check(fuzz_targets.env("RUSTFLAGS", "--cfg fuzzing --deny warnings"))?;
    // What is released: types of constants, for one, differ between C libraries.
    let released = musl::check()?;
    test()?;
    if !released {
        println!("  skipped: the release build was not checked: rustup cannot add {}", musl::target());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What has another name now would run in both layouts, in silence.
    #[test]
    fn what_runs_in_any_layout_is_there() {
        let containers = crate::shell::workspace().join("runtime-bin/tests/containers");
        for name in IN_ANY_LAYOUT {
            let (module, function) = name.rsplit_once("::").expect(name);
            let path = containers.join(module.replace("::", "/"));
            let file = if path.is_dir() { path.join("mod.rs") } else { path.with_extension("rs") };
            let text = std::fs::read_to_string(file).expect(name);
            assert!(function.is_empty() || text.contains(&format!("\nfn {function}(")), "{name}");
        }
    }

    /// rustfmt sees to the code (`rustfmt.toml`) and leaves comments as they are.
    #[test]
    fn comments_are_as_wide_as_code() {
        let mut git = Command::new("git");
        let listed =
            crate::shell::output(git.current_dir(crate::shell::workspace()).args(["ls-files", "*.rs"]));
        let is_long = |line: &&str| line.trim_start().starts_with("//") && line.chars().count() > 110;
        for file in listed.expect("a working tree").lines() {
            let text = std::fs::read_to_string(crate::shell::workspace().join(file)).expect(file);
            // A picture may be wider.
            let found: Vec<_> =
                text.lines().filter(is_long).filter(|line| !line.contains(['│', '→'])).collect();
            assert!(found.is_empty(), "{file}: {found:#?}");
        }
    }
}
