//! `cargo xtask`: Corten's own tasks. Builds without libseccomp, so that it can install it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to its user")]

mod bench;
mod bundle;
mod checks;
mod conformance;
mod debian;
mod demo;
mod faults;
mod install;
mod libtest;
mod man;
mod musl;
mod mutants;
mod order;
mod packages;
mod programs;
#[cfg(test)]
mod rooms;
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
    /// Let each kernel call of a container's commands fail, and make fds, memory and disk scarce
    Faults(faults::Options),
    /// Install the release binary, man pages and completions; configure engines
    Install(install::Options),
    /// Write the man pages
    Man {
        /// Where to
        directory: PathBuf,
    },
    /// Build the release binary, linked against musl, and print its path
    Musl(musl::Options),
    /// Take out each defence and see its test fail
    Mutants(mutants::Options),
    /// Find out which functions the commands of a container call, and write it down for the linker
    Order(order::Options),
    /// Remove what install has made, and corten from the engines' configuration
    Uninstall(install::Place),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Demo => demo::run(),
        Task::Test => checks::test(),
        Task::Ci => checks::ci(),
        Task::Bench(options) => bench::run(&options),
        Task::Conformance(suite) => conformance::run(&suite),
        Task::Faults(options) => faults::run(&options),
        Task::Install(options) => install::run(&options),
        Task::Man { directory } => man::run(&directory),
        Task::Musl(options) => musl::run(&options),
        Task::Mutants(options) => mutants::run(&options),
        Task::Order(options) => order::run(&options),
        Task::Uninstall(place) => install::uninstall(&place),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
