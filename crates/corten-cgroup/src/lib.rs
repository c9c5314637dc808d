//! Control groups for container runtimes.
//!
//! * **Hierarchy**: the mount of cgroup2 ([`Hierarchy`]); on a *unified* machine it has everything, on a *hybrid* one the
//!   controllers are in v1 hierarchies beside it ([`Layout`]).
//! * **Cgroup**: a directory of the hierarchy, held by fd ([`Cgroup`]): made, entered (by the fd, with `CLONE_INTO_CGROUP`),
//!   watched, killed, removed.
//! * **v1**: the hierarchies beside cgroup2 or instead of it, and a container's cgroups in all of them ([`legacy`], behind the
//!   feature `legacy-v1`, which is on by default).
//! * **Filter**: which devices the processes of a cgroup may use, as a BPF program ([`device`]).
//!
//! Everything goes by fd below the mount's fd, without following links or leaving the filesystem. What it does not do yet:
//! limits, systemd.
//! Source: Documentation/admin-guide/cgroup-v2.rst, cgroups(7).

mod cgroup;
mod cgroups;
pub mod device;
mod error;
mod hierarchy;
pub mod legacy;
mod resources;
mod sys;
pub mod systemd;
mod tree;

pub use cgroup::Cgroup;
pub use cgroups::{Cgroups, Location, Machine};
pub use error::Error;
pub use hierarchy::{Hierarchy, Layout};
pub use resources::{
    Cpu, HugePages, Io, LegacyControllers, Memory, Network, Rdma, Resources, Setting, ThrottleDevice, WeightDevice,
};
