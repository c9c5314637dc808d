//! `cargo xtask`: Corten's own tasks. Builds without libseccomp, so that it can install it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to its user")]

mod bench;
mod bundle;
mod checks;
mod conformance;
mod demo;
mod libtest;
mod packages;
mod shell;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// An error with its reason; tasks only tell it.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Corten's own tasks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install what is missing, build, and run a first container
    Demo,
    /// Run all tests of tiers 1 and 2
    Test,
    /// What CI runs: formatting, lints, documentation, tests
    Ci,
    /// Compare the speed of Corten and its peers, in pure cgroup v2
    Bench(bench::Options),
    /// Run a suite of others and compare with what is expected of Corten
    #[command(subcommand)]
    Conformance(conformance::Suite),
    /// Copy the release binary to PREFIX/bin
    Install {
        /// Where to
        #[arg(long, default_value = "/usr/local")]
        prefix: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Demo => demo::run(),
        Task::Test => checks::test(),
        Task::Ci => checks::ci(),
        Task::Bench(options) => bench::run(&options),
        Task::Conformance(suite) => conformance::run(&suite),
        Task::Install { prefix } => install(&prefix),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn install(prefix: &std::path::Path) -> Result {
    let binary = shell::build_release()?;
    let to = prefix.join("bin");
    std::fs::create_dir_all(&to)?;
    // A new file takes the old one's place: a running binary is not written to.
    let new = to.join(".corten.new");
    std::fs::copy(binary, &new)?;
    std::fs::rename(&new, to.join("corten"))?;
    println!("installed {}", to.join("corten").display());
    Ok(())
}
