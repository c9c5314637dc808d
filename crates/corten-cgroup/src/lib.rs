//! Control groups: make them, limit them, watch, freeze, kill and remove what is in them.
//!
//! For container runtimes, and for any program that wants a limit on a process of its own:
//!
//! ```no_run
//! use std::process::Command;
//! use std::time::Duration;
//!
//! use corten_cgroup::{Cpu, Machine, Memory, Resources};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let machine = Machine::detect()?;
//! let resources = Resources {
//!     cpu: Cpu { quota: Some(50_000), ..Cpu::default() },
//!     memory: Memory { limit: Some(64 << 20), ..Memory::default() },
//!     ..Resources::default()
//! };
//! let cgroups = machine.create(&machine.locate(Some("/work/job-1".as_ref()), "job-1")?)?;
//! cgroups.apply(&resources.settings(machine.legacy_controllers())?)?;
//! let mut child = Command::new("make").spawn()?;
//! cgroups.add(child.id().try_into()?)?;
//! child.wait()?;
//! // Whatever it has left running goes, too.
//! cgroups.kill(Duration::from_secs(10))?;
//! cgroups.remove(Duration::from_secs(10))?;
//! # Ok(())
//! # }
//! ```
//!
//! `examples/limit.rs` is a program that runs any command in this way.
//!
//! * **Machine**: how cgroups are mounted ([`Machine`], [`Layout`]): cgroup v2 alone, v1 hierarchies beside
//!   it (*hybrid*), or v1.
//! * **Location**: where the cgroups of a container are, as plain data to be written down ([`Location`]).
//! * **Cgroups**: they themselves, held by fd ([`Cgroups`]): the one of cgroup v2 ([`Cgroup`], into which a
//!   process can be cloned by its fd) and those of v1 ([`legacy`]).
//! * **Resources**: limits in the runtime-spec's words ([`Resources`]); one table says which files they
//!   become ([`Setting`]), in cgroup v2, in v1, and as properties of a unit.
//! * **Filter**: which devices may be used, as a BPF program ([`device`]).
//! * **Unit**: cgroups that systemd makes and removes ([`systemd`]). Nothing of D-Bus is touched without it.
//! * **Stats**: what is used, and when memory ran out ([`stats`]).
//!
//! Everything goes by fd below the mounts' fds, without following links or leaving the filesystem; nothing
//! waits without a deadline. Nothing is printed. Source: Documentation/admin-guide/cgroup-v2.rst, cgroups(7).

mod cgroup;
mod cgroups;
pub mod device;
mod error;
mod hierarchy;
pub mod legacy;
mod resources;
pub mod stats;
mod sys;
pub mod systemd;
mod tree;

pub use cgroup::Cgroup;
pub use cgroups::{Cgroups, Devices, Location, Machine};
pub use error::{Error, Reason};
pub use hierarchy::{Hierarchy, Layout};
pub use resources::{
    Cpu, HugePages, Io, LegacyControllers, Memory, Network, Rdma, Resources, Setting, ThrottleDevice,
    WeightDevice,
};

/// What fuzz targets see: readers of the kernel's text.
#[cfg(fuzzing)]
pub mod fuzzing {
    use std::path::{Component, Path, PathBuf};

    use crate::{hierarchy, legacy};

    /// Reads a text as `/proc/PID/cgroup`. The paths must be usable as they are.
    ///
    /// # Panics
    /// They are not.
    pub fn proc_cgroup(text: &str) {
        let own =
            legacy::lines(text).map(|(_, path)| PathBuf::from(path)).chain(hierarchy::cgroup2_line(text));
        for own in own {
            for root in ["/", "/a", "a", ""] {
                let path = legacy::from_mount(&own, Path::new(root));
                assert!(
                    path.is_absolute() && path.components().all(|part| part != Component::ParentDir),
                    "{path:?}"
                );
            }
        }
    }

    /// Reads a text as `/proc/self/mountinfo`; returns the root of the mount.
    pub fn root_of_mount(mountinfo: &str, id: &str) -> Option<PathBuf> {
        legacy::root_of_mount(mountinfo, id)
    }
}
