//! Control groups for container runtimes.
//!
//! * **Hierarchy**: the mount of cgroup2 ([`Hierarchy`]); on a *unified* machine it has everything, on a *hybrid* one the
//!   controllers are in v1 hierarchies beside it ([`Layout`]).
//! * **Cgroup**: a directory of the hierarchy, held by fd ([`Cgroup`]): made, entered (by the fd, with `CLONE_INTO_CGROUP`),
//!   watched, killed, removed.
//! * **Filter**: which devices the processes of a cgroup may use, as a BPF program ([`device`]).
//! * **Stats**: what the processes of a cgroup have used ([`stats`]), and when they ran out of memory.
//!
//! Everything goes by fd below the mount's fd, without following links or leaving the filesystem. What it does not do yet:
//! limits, v1 hierarchies (but for listing them, [`legacy`]), systemd.
//! Source: Documentation/admin-guide/cgroup-v2.rst, cgroups(7).

mod cgroup;
pub mod device;
mod error;
mod hierarchy;
pub mod legacy;
pub mod stats;
mod sys;

pub use cgroup::Cgroup;
pub use error::Error;
pub use hierarchy::{Hierarchy, Layout};
