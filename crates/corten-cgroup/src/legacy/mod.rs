//! cgroup v1: the hierarchies beside cgroup2 on a *hybrid* machine, or instead of it.
//!
//! * **Hierarchy**: a mount with some of the controllers, or with a name only (`name=systemd`), each with
//!   cgroups of its own. [`Hierarchies`] are those below `/sys/fs/cgroup`.
//! * **Paths**: where a container's cgroups are, one path for each hierarchy ([`Paths`]).
//! * **Cgroups**: the directories themselves, held by fd ([`Cgroups`]): made, filled with processes, frozen,
//!   killed, removed.
//!
//! There is no event when a v1 cgroup becomes empty or frozen, and nothing to kill all of it: this waits for
//! processes by pidfd, and freezes before it kills.
//!
//! ```no_run
//! use std::time::Duration;
//! use corten_cgroup::legacy::Hierarchies;
//!
//! # fn main() -> Result<(), corten_cgroup::Error> {
//! let deadline = Duration::from_secs(10);
//! let hierarchies = Hierarchies::detect()?;
//! let paths = hierarchies.resolve(Some("/machines/a".as_ref()), "a")?;
//! let cgroups = hierarchies.create(&paths)?;
//! // Limits are written before there are processes: see `Cgroups::directory`.
//! cgroups.add(1234)?;
//! cgroups.kill(deadline)?;
//! cgroups.remove(deadline)?;
//! # Ok(())
//! # }
//! ```
//! Source: Documentation/admin-guide/cgroup-v1, cgroups(7).

mod cgroups;
mod cpuset;
mod devices;
mod directory;
mod freezer;
mod hierarchies;
mod mounts;

pub use cgroups::Cgroups;
pub use hierarchies::{Hierarchies, Paths};
pub use mounts::{Mount, Mounts, mounts};
#[cfg(fuzzing)]
pub(crate) use {hierarchies::from_mount, hierarchies::root_of_mount, mounts::lines};
