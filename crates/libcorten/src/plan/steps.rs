//! The steps of the runtime's half.
//!
//! One table makes the enum, the names, the printing of the operands and the roles of slots. What is done at
//! each step is in `launch`: before there is an init in `preparing.rs`, with it in `attached.rs`, and what
//! needs nothing of it in `work.rs`.

use std::path::PathBuf;

use corten_cgroup::device::Rule;
use corten_cgroup::systemd::Property;
use corten_cgroup::{Location, Setting};
use corten_init::{Mask, Mode, Namespaces, Resource, Role, Slot, SlotRange, SyncPoint};

use crate::oci::{Hook, LinuxIdMapping, LinuxIntelRdt, LinuxNamespaceType};
use crate::spec::HookKind;

use super::LockedFlags;
use super::print::{Operand, Operands};

/// A row is a step with its operands; a slot has a role: `fills`, `reads`, or `takes`.
macro_rules! host_steps {
    ($(
        $( #[$doc:meta] )*
        $name:ident $( { $( $( #[$field_doc:meta] )* $field:ident: $kind:ty $( [$role:ident] )?, )* } )?,
    )*) => {
        /// What the runtime does, on the host.
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub enum HostStep {
            $( $( #[$doc] )* $name $( { $( $( #[$field_doc] )* $field: $kind, )* } )?, )*
        }

        #[allow(unused_variables, reason = "there are steps without operands, and without slots")]
        impl HostStep {
            /// Returns the step's name.
            pub fn name(&self) -> &'static str {
                match self { $( Self::$name { .. } => stringify!($name), )* }
            }

            /// Returns the operands, written out.
            pub(super) fn operands(&self) -> Operands {
                let mut operands = Vec::new();
                match self { $( Self::$name $( { $( $field, )* } )? => {
                    $( $( $field.print(stringify!($field), &mut operands); )* )?
                } )* }
                operands
            }

            /// Calls `visit` with each slot that the step names: the operand's name, the slot, and what the
            /// step does with it.
            pub fn slots(&self, visit: &mut dyn FnMut(&'static str, Slot, Role)) {
                match self { $( Self::$name $( { $( $field, )* } )? => {
                    $( $( $( $field.slots(&mut |slot| visit(stringify!($field), slot, host_steps!(@ $role))); )? )* )?
                } )* }
            }
        }

        // Slots have a role in the table, and nothing else has.
        const _: () = {
            $( $( $(
                assert!(<$kind as Operand>::NAMES_SLOTS == !matches!(stringify!($( $role )?).as_bytes(), b""));
            )* )? )*
        };
    };
    (@ fills) => { Role::Fills };
    (@ reads) => { Role::Reads };
    (@ takes) => { Role::Takes };
}

host_steps! {
    /// Writes the state down: `creating`, with the cgroup that is about to be made.
    RecordCreating,

    /// Makes the cgroups, which must be empty if they are there already.
    CreateCgroups {
        /// Where they are.
        location: Location,
        /// A caller who may not make it goes without: rootless, and nothing asks for it.
        optional: bool,
    },

    /// Sets limits: writes to files of the cgroups.
    Limit {
        /// The files and what is written to them.
        settings: Vec<Setting>,
    },

    /// Has systemd start the unit with init in it: one `StartTransientUnit`.
    StartUnit {
        /// The unit, and where its cgroups are.
        location: Location,
        /// All that systemd is told of it.
        properties: Vec<Property>,
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
        location: Location,
        /// Where the cgroup takes no processes, or is gone, that of the container's init will do.
        or_inits: bool,
        /// A caller who may not do it stays where it is: rootless.
        optional: bool,
    },

    /// Opens the cgroup of a container that runs, for a process to be cloned into it.
    OpenJoinedCgroup {
        /// Where it is.
        location: Location,
        /// Where init finds it.
        slot: Slot [fills],
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
        slot: Slot [fills],
    },

    /// Opens the root directory of the container's init: `/proc/PID/root`.
    OpenInitRoot {
        /// Where the process finds it.
        slot: Slot [fills],
    },

    /// Lets this thread, and so what it clones, run on these CPUs only, until init has been cloned:
    /// `sched_setaffinity`.
    RunOn {
        /// The CPUs.
        cpus: Mask<Vec<u8>>,
    },

    /// Opens the container's cgroup as a detached mount.
    OpenCgroup {
        /// Where init finds it.
        slot: Slot [fills],
    },

    /// Makes an empty mount namespace and mounts it here, for the containers that follow. Where that cannot
    /// be, nothing is made.
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
        /// It comes from a copy of the caller's mount namespace, which leaves out mount namespaces that are
        /// mounted below the source.
        copied: bool,
        /// Where init finds it.
        slot: Slot [fills],
    },

    /// Hands trees to init, which takes them when their turn comes: `sendmsg`. For trees that are opened
    /// after the clone.
    SendTrees {
        /// Their slots.
        trees: SlotRange [takes],
    },

    /// Maps the ids of a detached tree: `mount_setattr(MOUNT_ATTR_IDMAP)`.
    MapTree {
        /// The tree.
        slot: Slot [reads],
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
        kind: Mode,
        /// Major number.
        major: u64,
        /// Minor number.
        minor: u64,
        /// Where init finds it.
        slot: Slot [fills],
    },

    /// Opens a namespace to join, and checks that it is one of this type.
    OpenNamespace {
        /// The file.
        path: PathBuf,
        /// The type that it must have.
        kind: LinuxNamespaceType,
        /// Its `CLONE_NEW*`.
        flag: Namespaces,
        /// It must not be the runtime's own: something is set in it.
        foreign: bool,
        /// Where init finds it.
        slot: Slot [fills],
    },

    /// Makes a network namespace with its loopback device up, in a thread: `unshare`, `ioctl(SIOCSIFFLAGS)`;
    /// hands it to init. The thread may have been started before.
    MakeNetwork,

    /// Opens the host's procfs, and checks that it is one.
    OpenHostProc {
        /// Where init finds it.
        slot: Slot [fills],
    },

    /// Opens a file for the output of hooks that init runs.
    OpenHookOutput {
        /// The file; made if it is missing.
        path: PathBuf,
        /// Where init finds it.
        slot: Slot [fills],
    },

    /// Makes the directory of the socket for sd_notify(3), which the container sees.
    MakeNotifyDirectory,

    /// Makes the socket for sd_notify(3): `socket`, `bind`.
    ListenForReadiness,

    /// Makes the socket that `start` connects to: `socket`, `bind`, `listen`.
    ListenForStart {
        /// Where init finds it.
        slot: Slot [fills],
    },

    /// Makes init: `clone3`, `execveat`. From here on the inside half runs at the same time.
    CloneInit {
        /// `CLONE_NEW*`.
        namespaces: Namespaces,
    },

    /// Takes the clone that goes on in init's place: its pidfd comes with a message; the first process is
    /// reaped.
    FollowClone,

    /// Writes the id maps of init's new user namespace: `/proc/PID/uid_map`, or newuidmap(1) and
    /// newgidmap(1).
    WriteIdMaps {
        /// User ids.
        uids: Vec<LinuxIdMapping>,
        /// Group ids.
        gids: Vec<LinuxIdMapping>,
    },

    /// Checks that the user namespace that init has joined has these maps.
    CheckIdMap {
        /// `uid_map` or `gid_map`.
        file: &'static str,
        /// Ids of the config.
        maps: Vec<LinuxIdMapping>,
    },

    /// Has the kernel check the device filter: `bpf`. In v1 there is nothing to do yet.
    LoadDeviceFilter {
        /// The rules, the last match of which decides.
        rules: Vec<Rule>,
        /// A caller who may not have one goes without: rootless, where the devices of the host are not the
        /// user's anyway.
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
        config: LinuxIntelRdt,
    },

    /// Sets a resource limit of init: `prlimit64`.
    ResourceLimit {
        /// `RLIMIT_*`.
        resource: Resource,
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
        hooks: Vec<Hook>,
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
        /// The process's user, whose own files are handed on; all are copied for one whose number is another
        /// on the host.
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

impl HostStep {
    /// Whether the kernel may hold the caller in it for as long as somebody else likes: a filesystem that
    /// does not answer, a cgroup that is frozen just then, a program or a socket of others. No
    /// [`CreateOptions::cancel`](crate::CreateOptions::cancel) ends it.
    pub fn may_hang(&self) -> bool {
        matches!(
            self,
            Self::OpenTree { .. }
                | Self::OpenDevice { .. }
                | Self::OpenNamespace { .. }
                | Self::OpenHookOutput { .. }
                | Self::CloneInit { .. }
                | Self::WriteIdMaps { .. }
                | Self::SendSeccompListener { .. }
                | Self::SendPidfd { .. }
                | Self::PidFile { .. }
        )
    }
}

/// Where the maps of an ID-mapped mount come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdMapSource {
    /// Given.
    Maps {
        /// User ids.
        uids: Vec<LinuxIdMapping>,
        /// Group ids.
        gids: Vec<LinuxIdMapping>,
    },
    /// Those of a user namespace.
    Namespace {
        /// Its file.
        path: PathBuf,
    },
}
