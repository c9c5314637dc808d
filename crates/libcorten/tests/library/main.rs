//! The library with real containers, and what its documents say of it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

#[path = "../common/mod.rs"]
mod common;

mod containers;
mod empty_namespace;
mod failing_calls;
mod fallbacks;
mod spec_coverage;
