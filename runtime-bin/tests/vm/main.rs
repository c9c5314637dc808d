//! What only the machine of `cargo xtask conformance vm` can show: all controllers, systemd, recent peers.
//!
//! All but `rootless` run as root there; `rootless` runs as an ordinary user.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

#[path = "../common/mod.rs"]
mod common;

mod limits;
mod peers;
mod rootless;
mod systemd;
