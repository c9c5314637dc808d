//! From the config to the list of kernel calls.
//!
//! Stage: plan; pure. `Spec`, what was asked for (`Request`) and what the host is like (`Facts`) become a [`Plan`]: what
//! the runtime does, what init does, and where the two meet. No system call is made here, so a plan can be printed, compared
//! and fuzzed, and a test can change it to make any step fail.
//! Spec: config.md, config-linux.md. Attacker: none yet; the bundle is trusted, what it names on disk is not looked at.

mod build;
mod builder;
mod cgroup_mounts;
mod cgroups;
mod decisions;
mod devices;
mod error;
mod exec;
mod hooks;
mod kernel;
mod locked_flags;
mod mount_options;
mod mounts;
mod namespaces;
mod paths;
mod phases;
mod print;
mod process;
mod root;
#[cfg(test)]
mod tests;

use std::ffi::CString;
use std::path::PathBuf;

use crate::facts::{Facts, LegacyHierarchy, PreservedFds};
use crate::request::Request;
use crate::spec::HookKind;

pub use corten_init::{
    Attributes, CallersGroups, CapabilitySet, Filter, FilterFlags, Ids, Mask, Mode, Namespaces, Options, OwnedStep,
    Propagation, Ranges, Resource, Role, SchedulerFlags, Slot, SlotRange, Slots, Strings, SyncPoint, Target, TreeFlags,
};
use decisions::Decisions;
pub(crate) use decisions::{HOOKS_DEADLINE, has_network_of_its_own};
pub(crate) use devices::rules as device_rules;
pub(crate) use error::PlanError;
pub(crate) use exec::{Entry, MountChange, Running};
pub use locked_flags::LockedFlags;
pub use mount_options::MOUNT_OPTIONS;
pub(crate) use mount_options::is_bind;
pub(crate) use namespaces::{has_user_namespace, types as namespace_types};

/// A step with the config item that it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned<T> {
    /// The config item, as a path into config.json (`mounts[3]`), or a word for what no item asks for (`runtime`).
    pub item: CString,
    /// The step.
    pub step: T,
}

/// What the runtime does, on the host. In the order of the plan.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum HostStep {
    /// Writes the state down: `creating`, with the cgroup that is about to be made.
    RecordCreating,
    /// Makes the cgroups, which must be empty if they are there already.
    CreateCgroups {
        /// Where they are.
        location: corten_cgroup::Location,
        /// A caller who may not make it goes without: rootless, and nothing asks for it.
        optional: bool,
    },
    /// Sets limits: writes to files of the cgroups.
    Limit {
        /// The files and what is written to them.
        settings: Vec<corten_cgroup::Setting>,
    },
    /// Has systemd start the unit with init in it: one `StartTransientUnit`.
    StartUnit {
        /// The unit, and where its cgroups are.
        location: corten_cgroup::Location,
        /// All that systemd is told of it.
        properties: Vec<corten_cgroup::systemd::Property>,
    },
    /// Moves init into its cgroups.
    JoinCgroups,
    /// Gives the cgroup to a user: `fchown`.
    DelegateCgroup {
        /// On the host.
        uid: u32,
    },
    /// Moves init into the cgroups of a container that runs.
    JoinContainer {
        /// Where they are.
        location: corten_cgroup::Location,
        /// Where the cgroup takes no processes, or is gone, that of the container's init will do.
        or_inits: bool,
        /// A caller who may not do it stays where it is: rootless.
        optional: bool,
    },
    /// Opens the cgroup of a container that runs, for a process to be cloned into it.
    OpenJoinedCgroup {
        /// Where it is.
        location: corten_cgroup::Location,
        /// Where init finds it.
        slot: Slot,
    },
    /// Has systemd move init into the container's unit: `AttachProcessesToUnit`.
    AttachToUnit {
        /// The cgroup below that of the unit.
        below: String,
    },
    /// Puts init into resctrl groups of a container that runs.
    JoinIntelRdt {
        /// Their files `tasks`.
        tasks: Vec<PathBuf>,
    },
    /// Opens the container's init: a copy of its pidfd.
    OpenInit {
        /// Where the process finds it.
        slot: Slot,
    },
    /// Opens the root directory of the container's init: `/proc/PID/root`.
    OpenInitRoot {
        /// Where the process finds it.
        slot: Slot,
    },
    /// Lets this thread, and so what it clones, run on these CPUs only, until init has been cloned: `sched_setaffinity`.
    RunOn {
        /// The CPUs.
        cpus: Mask<Vec<u8>>,
    },
    /// Opens the container's cgroup as a detached mount.
    OpenCgroup {
        /// Where init finds it.
        slot: Slot,
    },
    /// Makes an empty mount namespace and mounts it here, for the containers that follow. Where that cannot be, nothing is made.
    MakeMountTemplate {
        /// The directory.
        directory: PathBuf,
    },
    /// Copies what is mounted at `source` into a detached tree: `open_tree`.
    OpenTree {
        /// Absolute path on the host; resolved once, here.
        source: PathBuf,
        /// With the mounts below.
        recursive: bool,
        /// The tree must be a directory.
        directory: bool,
        /// A link under the last name is the object itself.
        link_itself: bool,
        /// What options ask of flags that a user namespace must keep: refused then.
        locked: Option<LockedFlags>,
        /// It comes from a copy of the caller's mount namespace, which leaves out mount namespaces that are mounted below the source.
        copied: bool,
        /// Where init finds it.
        slot: Slot,
    },
    /// Hands trees to init, which takes them when their turn comes: `sendmsg`. For trees that are opened after the clone.
    SendTrees {
        /// The slot of the first.
        first: Slot,
        /// How many; their slots follow each other.
        count: u16,
    },
    /// Maps the ids of a detached tree: `mount_setattr(MOUNT_ATTR_IDMAP)`.
    MapTree {
        /// The tree.
        slot: Slot,
        /// Where the maps come from.
        maps: IdMapSource,
        /// The mounts below, too.
        recursive: bool,
    },
    /// Opens a device of the host as a detached mount, and checks its type and number.
    OpenDevice {
        /// Absolute path on the host.
        path: PathBuf,
        /// `S_IFCHR` or `S_IFBLK`.
        kind: u32,
        /// Major number.
        major: u64,
        /// Minor number.
        minor: u64,
        /// Where init finds it.
        slot: Slot,
    },
    /// Opens a namespace to join, and checks that it is one of this type.
    OpenNamespace {
        /// The file.
        path: PathBuf,
        /// The type that it must have.
        kind: crate::oci::LinuxNamespaceType,
        /// Its `CLONE_NEW*`.
        flag: u64,
        /// It must not be the runtime's own: something is set in it.
        foreign: bool,
        /// Where init finds it.
        slot: Slot,
    },
    /// Makes a network namespace with its loopback device up, in a thread: `unshare`, `ioctl(SIOCSIFFLAGS)`; hands it to init. The
    /// thread may have been started before.
    MakeNetwork,
    /// Opens the host's procfs, and checks that it is one.
    OpenHostProc {
        /// Where init finds it.
        slot: Slot,
    },
    /// Opens a file for the output of hooks that init runs.
    OpenHookOutput {
        /// The file; made if it is missing.
        path: PathBuf,
        /// Where init finds it.
        slot: Slot,
    },
    /// Makes the directory of the socket for sd_notify(3), which the container sees.
    MakeNotifyDirectory,
    /// Makes the socket for sd_notify(3): `socket`, `bind`.
    ListenForReadiness,
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
    /// Takes the clone that goes on in init's place: its pidfd comes with a message; the first process is reaped.
    FollowClone,
    /// Writes the id maps of init's new user namespace: `/proc/PID/uid_map`, or newuidmap(1) and newgidmap(1).
    WriteIdMaps {
        /// User ids.
        uids: Vec<crate::oci::LinuxIdMapping>,
        /// Group ids.
        gids: Vec<crate::oci::LinuxIdMapping>,
    },
    /// Checks that the user namespace that init has joined has these maps.
    CheckIdMap {
        /// `uid_map` or `gid_map`.
        file: &'static str,
        /// Ids of the config.
        maps: Vec<crate::oci::LinuxIdMapping>,
    },
    /// Has the kernel check the device filter: `bpf`. In v1 there is nothing to do yet.
    LoadDeviceFilter {
        /// The rules, the last match of which decides.
        rules: Vec<corten_cgroup::device::Rule>,
        /// A caller who may not have one goes without: rootless, where the devices of the host are not the user's anyway.
        optional: bool,
    },
    /// Attaches the device filter to the cgroup: `bpf`; or writes the list of v1.
    DeviceFilter {
        /// As above.
        optional: bool,
    },
    /// Puts init into a resctrl group.
    IntelRdt {
        /// `linux.intelRdt`.
        config: crate::oci::LinuxIntelRdt,
    },
    /// Sets a resource limit of init: `prlimit64`.
    ResourceLimit {
        /// `RLIMIT_*`.
        resource: u64,
        /// Soft limit.
        soft: u64,
        /// Hard limit.
        hard: u64,
    },
    /// Moves network devices into init's network namespace.
    MoveNetDevices {
        /// Names on the host and inside.
        devices: Vec<(String, String)>,
    },
    /// Runs hooks in the runtime's namespaces.
    RunHooks {
        /// When they run.
        kind: HookKind,
        /// The hooks, in order.
        hooks: Vec<crate::oci::Hook>,
    },
    /// Takes the filter's listener from init and sends it to the seccomp agent.
    SendSeccompListener {
        /// The agent's socket.
        path: PathBuf,
        /// `listenerMetadata`.
        metadata: Option<String>,
    },
    /// Sends init's pidfd to a socket.
    SendPidfd {
        /// The socket.
        path: PathBuf,
        /// What is sent with it.
        name: &'static str,
    },
    /// Sets init's OOM score adjustment: a write to `/proc/PID/oom_score_adj`.
    OomScoreAdjust {
        /// -1000 to 1000.
        value: i32,
    },
    /// Takes pipes for the stdio that is a file of somebody else: whoever stays with the process copies.
    CopyStdio {
        /// The process's user, whose own files are handed on; all are copied for one whose number is another on the host.
        uid: Option<u32>,
    },
    /// Gives the stdio to a user of the user namespace that init is in: `fchown`.
    GiveStdio {
        /// Inside.
        uid: u32,
    },
    /// Receives the terminal's master.
    ReceiveConsole,
    /// Hands it on, to the console socket or the caller.
    HandOnConsole,
    /// Waits until init has reached the point.
    Await {
        /// The point.
        point: SyncPoint,
    },
    /// Writes down who init is: from now on whoever deletes the container can end it.
    RecordInit,
    /// Writes the config down, for processes that join the container later.
    RecordConfig,
    /// Writes the next state beside the one that is there: created, or running.
    PrepareRecord,
    /// Puts it in the place of the other.
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

/// Where the maps of an ID-mapped mount come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdMapSource {
    /// Given.
    Maps {
        /// User ids.
        uids: Vec<crate::oci::LinuxIdMapping>,
        /// Group ids.
        gids: Vec<crate::oci::LinuxIdMapping>,
    },
    /// Those of a user namespace.
    Namespace {
        /// Its file.
        path: PathBuf,
    },
}

/// Everything that is done to make a container.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What was decided before any step.
    pub(crate) decisions: Decisions,
    /// What the runtime does.
    pub host: Vec<Planned<HostStep>>,
    /// What init does.
    pub inside: Vec<Planned<OwnedStep>>,
    /// Number of slots for file descriptors.
    pub(crate) slots: u16,
    /// The caller's fds that the program gets.
    pub(crate) preserved_fds: PreservedFds,
    /// What the config asks for and will not have, one sentence each.
    pub(crate) warnings: Vec<String>,
}

impl Plan {
    /// Returns what the config asks for and will not have, one sentence each that names the field: labels on a kernel without
    /// the security module, options that mean nothing where they stand.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Works the plan out.
    pub(crate) fn new(spec: &crate::oci::Spec, request: &Request<'_>, facts: &Facts) -> Result<Self, PlanError> {
        build::plan(spec, request, facts)
    }

    /// Works out the plan for a process in a container that runs; `spec` is the container's config with that process.
    pub(crate) fn for_exec(
        spec: &crate::oci::Spec,
        request: &Request<'_>,
        facts: &Facts,
        running: &Running,
    ) -> Result<Self, PlanError> {
        exec::plan(spec, request, facts, running)
    }

    /// Works out the plan for changing mounts of a container that runs; `spec` is the container's config with these mounts.
    pub(crate) fn for_mounts(
        spec: &crate::oci::Spec,
        request: &Request<'_>,
        facts: &Facts,
        running: &Running,
        change: MountChange,
    ) -> Result<Self, PlanError> {
        exec::plan_mounts(spec, request, facts, running, change)
    }
}
