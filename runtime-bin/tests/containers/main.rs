//! The binary with real containers: its commands and messages, what is seen from inside, attacks, bad input,
//! terminals.
//!
//! One program for all of them, as one is linked and started faster than forty. A test changes nothing that
//! belongs to the whole process (environment, working directory, signals, limits): what needs that is done by
//! a process that it starts.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

#[path = "../common/mod.rs"]
mod common;

mod added_mounts;
mod agents;
mod attacks;
mod bad_input;
mod checkpoint;
mod command_line;
mod console;
mod cves;
mod differential;
mod exec;
mod features;
mod floor;
mod hints;
mod hooks;
mod host_trees;
mod input;
mod inside;
mod lifecycle;
mod limits;
mod mounts;
mod namespaces;
mod observing;
mod process;
mod programs;
mod scarcity;
mod seccomp;
mod session;
mod state;
mod stuck;
mod terminal;
mod transcripts;
mod update_like_runc;
