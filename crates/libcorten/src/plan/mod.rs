//! From the config to the list of kernel calls.
//!
//! Stage: plan; pure. `Spec`, what was asked for (`Request`) and what the host is like (`Facts`) become a [`Plan`]: what
//! the runtime does, what init does, and where the two meet. No system call is made here, so a plan can be printed, compared
//! and fuzzed, and a test can change it to make any step fail.
//! Spec: config.md, config-linux.md. Attacker: none yet; the bundle is trusted, what it names on disk is not looked at.

mod build;
mod devices;
mod error;
mod mount_options;
mod mounts;
mod paths;
mod print;
mod process;
pub(crate) mod seccomp;
#[cfg(test)]
mod tests;

use std::ffi::CString;
use std::path::PathBuf;

pub use corten_init::{OwnedStep, Slot, SyncPoint, Target};
pub(crate) use error::PlanError;
pub use mount_options::MOUNT_OPTIONS;

/// A step with the config item that it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned<T> {
    /// The config item, as a path into config.json (`mounts[3]`), or a word for what no item asks for (`runtime`).
    pub item: CString,
    /// The step.
    pub step: T,
}

/// What the runtime does, on the host. In the order of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostStep {
    /// Writes the state down: `creating`, with the cgroup that is about to be made.
    RecordCreating,
    /// Makes the cgroup, which must be empty if it is there already.
    CreateCgroup {
        /// Path below the mount of cgroup2.
        path: PathBuf,
    },
    /// Copies what is mounted at `source` into a detached tree: `open_tree`.
    OpenTree {
        /// Absolute path on the host; resolved once, here.
        source: PathBuf,
        /// With the mounts below.
        recursive: bool,
        /// The tree must be a directory.
        directory: bool,
        /// Where init finds it.
        slot: Slot,
    },
    /// Opens the null device, checks that it is char 1:3, and copies it into a detached mount.
    OpenNull {
        /// Where init finds it.
        slot: Slot,
    },
    /// Makes the socket that `start` connects to: `socket`, `bind`, `listen`.
    ListenForStart {
        /// Where init finds it.
        slot: Slot,
    },
    /// Makes init: `clone3`, `execveat`. From here on the inside half runs at the same time.
    CloneInit {
        /// `CLONE_NEW*`.
        namespaces: u64,
    },
    /// Attaches the device filter to the cgroup: `bpf`.
    DeviceFilter {
        /// The rules, the last match of which decides.
        rules: Vec<corten_cgroup::device::Rule>,
    },
    /// Sets init's OOM score adjustment: a write to `/proc/PID/oom_score_adj`.
    OomScoreAdjust {
        /// -1000 to 1000.
        value: i32,
    },
    /// Receives the terminal's master and hands it on.
    ReceiveConsole,
    /// Waits until init has reached the point.
    Await {
        /// The point.
        point: SyncPoint,
    },
    /// Writes the state down: created, or running.
    RecordCreated,
    /// Writes init's pid to a file, by renaming a new one.
    PidFile {
        /// The file.
        path: PathBuf,
    },
    /// Lets init pass the point.
    Release {
        /// The point.
        point: SyncPoint,
    },
    /// Waits until init has become the program: the end of its stream.
    AwaitExec,
}

/// Everything that is done to make a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What the runtime does.
    pub host: Vec<Planned<HostStep>>,
    /// What init does.
    pub inside: Vec<Planned<OwnedStep>>,
    /// Number of slots for file descriptors.
    pub(crate) slots: u16,
    /// The number of fds from 3 on that the program gets.
    pub(crate) preserved_fds: u32,
}

/// What the caller asks for beside the config.
#[derive(Debug, Clone)]
pub(crate) struct Request<'a> {
    /// The container's id.
    pub(crate) id: &'a str,
    /// Absolute path of the bundle.
    pub(crate) bundle: &'a std::path::Path,
    /// Wait for `start` (create) or not (run).
    pub(crate) wait_for_start: bool,
    /// Options of the command.
    pub(crate) options: &'a crate::CreateOptions,
}

/// What the plan needs to know of the host. Probed before, so that planning stays pure.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// The container's cgroup below the cgroup2 mount.
    pub(crate) cgroup: PathBuf,
    /// v1 hierarchies of a hybrid machine that a mount of type `cgroup` shows; empty on pure v2.
    pub(crate) legacy: Vec<LegacyHierarchy>,
    /// Links beside the hierarchies: name and target.
    pub(crate) legacy_links: Vec<(String, String)>,
    /// The compiled seccomp filter.
    pub(crate) seccomp: Option<seccomp::Filter>,
}

/// A v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LegacyHierarchy {
    /// Name of its directory.
    pub(crate) name: String,
    /// What the `cgroup` filesystem is mounted with.
    pub(crate) options: Vec<String>,
    /// Path on the host of the cgroup that the runtime is in.
    pub(crate) own: PathBuf,
}

impl Plan {
    /// Works the plan out.
    pub(crate) fn new(spec: &crate::oci::Spec, request: &Request<'_>, facts: &Facts) -> Result<Self, PlanError> {
        build::plan(spec, request, facts)
    }
}
