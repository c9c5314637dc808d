//! The library with real cgroups, of v2 and v1, and with what only looks like them.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

mod device_filter;
mod legacy;
mod limits;
mod stats;
mod systemd_manager;
mod unified;
