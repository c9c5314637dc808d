//! The steps: every single thing that init can do.
//!
//! One table makes the enum, its decoder and its visitor, so that the three cannot drift apart. `S` is a string and `B` a byte
//! string: owned in the runtime's plan, borrowed from the mapped program in init.

use core::ffi::CStr;

/// The number of a file descriptor's place in the program's table.
///
/// The runtime fills places before the start (mount sources, sockets); steps fill and use them by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u16);

/// What a mount target must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A directory, made with its parents if it is missing.
    Directory,
    /// Anything but a directory; an empty file is made if it is missing.
    File,
    /// A directory that no symbolic link leads to (`proc` and `sysfs`: CVE-2019-19921), made if it is missing.
    PlainDirectory,
    /// Whatever is there; nothing is made (`remount`).
    Existing,
    /// A directory or a file, like the object in the slot.
    Like(Slot),
    /// The same, and a symbolic link under the last name is the target itself (`dest-nofollow`).
    LinkItself(Slot),
}

impl Target {
    /// Returns the wire form.
    pub const fn to_number(self) -> u64 {
        match self {
            Self::Directory => 0,
            Self::File => 1,
            Self::PlainDirectory => 2,
            Self::Existing => 3,
            Self::Like(Slot(slot)) => 1 << 16 | slot as u64,
            Self::LinkItself(Slot(slot)) => 2 << 16 | slot as u64,
        }
    }

    /// Reads the wire form.
    pub const fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Directory),
            1 => Some(Self::File),
            2 => Some(Self::PlainDirectory),
            3 => Some(Self::Existing),
            n if n >> 16 == 1 => Some(Self::Like(Slot((n & 0xffff) as u16))),
            n if n >> 16 == 2 => Some(Self::LinkItself(Slot((n & 0xffff) as u16))),
            _ => None,
        }
    }
}

/// How [`Step::OpenSource`] opens a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TreeFlags {
    /// With the mounts below.
    pub recursive: bool,
    /// It must be a directory.
    pub directory: bool,
    /// A link under the last name is the object itself.
    pub link_itself: bool,
    /// What the host has made unbindable is copied, too: nothing of the container is mounted in the namespace.
    pub unbindable: bool,
}

impl TreeFlags {
    /// Returns the wire form.
    pub const fn to_number(self) -> u64 {
        self.recursive as u64
            | (self.directory as u64) << 1
            | (self.link_itself as u64) << 2
            | (self.unbindable as u64) << 3
    }

    /// Reads the wire form.
    pub const fn from_number(number: u64) -> Self {
        Self {
            recursive: number & 1 != 0,
            directory: number & 2 != 0,
            link_itself: number & 4 != 0,
            unbindable: number & 8 != 0,
        }
    }
}

/// What becomes of the caller's supplementary groups in [`Step::User`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallersGroups {
    /// The config's take their place.
    Replaced,
    /// They stay.
    Kept,
    /// They stay where the kernel denies the change and the config has none (user_namespaces(7), `setgroups`).
    KeptIfDenied,
}

impl CallersGroups {
    /// Returns the wire form.
    pub const fn to_number(self) -> u64 {
        self as u64
    }

    /// Reads the wire form.
    pub const fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Replaced),
            1 => Some(Self::Kept),
            2 => Some(Self::KeptIfDenied),
            _ => None,
        }
    }
}

/// An operand of a step, for printing and encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number: flags, an id, a limit.
    Number(u64),
    /// A place in the table of file descriptors.
    Slot(Slot),
    /// A string.
    Text(&'a CStr),
    /// Bytes: strings that each end with NUL, or a structure of the kernel.
    Bytes(&'a [u8]),
}

/// A step as the runtime's plan holds it.
#[cfg(not(corten_freestanding))]
pub type OwnedStep = Step<std::ffi::CString, Vec<u8>>;
/// A step as init reads it from the mapped program.
pub type WireStep<'a> = Step<&'a CStr, &'a [u8]>;

/// What an operand can be.
pub(crate) trait Operand {
    fn value(&self) -> Value<'_>;
}

impl Operand for u64 {
    fn value(&self) -> Value<'_> {
        Value::Number(*self)
    }
}

impl Operand for Slot {
    fn value(&self) -> Value<'_> {
        Value::Slot(*self)
    }
}

impl Operand for &CStr {
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl Operand for &[u8] {
    fn value(&self) -> Value<'_> {
        Value::Bytes(self)
    }
}

#[cfg(not(corten_freestanding))]
impl Operand for std::ffi::CString {
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

#[cfg(not(corten_freestanding))]
impl Operand for Vec<u8> {
    fn value(&self) -> Value<'_> {
        Value::Bytes(self)
    }
}

macro_rules! steps {
    ($( $(#[$doc:meta])* $op:literal $name:ident { $( $(#[$field_doc:meta])* $field:ident: $kind:ty, )* } )*) => {
        /// One thing that init does. The doc of each variant names its system calls, its source, and what an attacker could try.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the operands are named in the doc of their step")]
        #[non_exhaustive]
        pub enum Step<S, B> {
            $( $(#[$doc])* $name { $( $(#[$field_doc])* $field: $kind, )* }, )*
        }

        /// The names of all steps, in the order of the table.
        #[cfg(not(corten_freestanding))]
        pub const STEP_NAMES: &[&str] = &[ $( stringify!($name), )* ];

        #[allow(private_bounds, reason = "the operand types are closed: a plan's and a program's")]
        impl<S: Operand, B: Operand> Step<S, B> {
            /// Returns the operation's number in the wire form.
            pub fn op(&self) -> u16 {
                match self { $( Self::$name { .. } => $op, )* }
            }

            /// Returns the step's name.
            pub fn name(&self) -> &'static str {
                match self { $( Self::$name { .. } => stringify!($name), )* }
            }

            /// Calls `visit` with the name and value of each operand, in wire order.
            #[allow(unused_variables, reason = "a step without operands never calls it")]
            pub fn operands<'a>(&'a self, mut visit: impl FnMut(&'static str, Value<'a>)) {
                match self { $( Self::$name { $( $field, )* } => { $( visit(stringify!($field), $field.value()); )* } )* }
            }
        }

        impl<'a> WireStep<'a> {
            /// Reads the operands of operation `op`; `None` if there is no such operation.
            pub(crate) fn read(op: u16, from: &mut crate::wire::Reader<'a>) -> Result<Option<Self>, crate::wire::DecodeError> {
                Ok(Some(match op {
                    $( $op => Self::$name { $( $field: from.read()?, )* }, )*
                    _ => return Ok(None),
                }))
            }
        }
    };
}

steps! {
    /// Moves into a cgroup namespace rooted at the cgroup that init was cloned into: `unshare(CLONE_NEWCGROUP)`.
    /// Spec: config-linux.md#namespaces. Done here because clone3 with `CLONE_INTO_CGROUP` would root it at the caller's cgroup.
    1 UnshareCgroup {}
    /// Joins a fresh session keyring of this name: `keyctl(KEYCTL_JOIN_SESSION_KEYRING)`, so that the container cannot read
    /// the caller's keys. Then `keyctl(KEYCTL_SETPERM)`, so that later processes of the container can join it by that name.
    /// runc: `_ses.ID`. A kernel without keyrings (`ENOSYS`) has nothing to hide.
    2 SessionKeyring { name: S, }
    /// Starts a session: `setsid`.
    3 NewSession {}
    /// Sets the propagation of every mount of the namespace: `mount_setattr("/", AT_RECURSIVE)`.
    /// Without it the container's mounts would show up on the host.
    4 Propagation { flags: u64, }
    /// Attaches the tree of the root filesystem over `/` and makes it the root that paths are resolved in: `move_mount`. By fd:
    /// the path of the rootfs is not looked at again. Attacker: from here on a `..` of init's own paths that ends at `/` leads
    /// into the image. In a joined mount namespace and in one that began empty nothing but targets is looked up there; with
    /// `--no-pivot` this comes last, before [`Step::MoveRoot`].
    5 AttachRoot { tree: Slot, }
    /// Opens a mount target inside the root, making it if it is missing: `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)`,
    /// `mkdirat`. Attacker: symbolic links in the rootfs and their exchange while this runs (CVE-2019-18837, CVE-2021-30465).
    /// `in_proc`: 1 when the target may be in a procfs; wherever links lead, others may not be (CVE-2019-16884).
    6 OpenTarget { path: S, target: u64, in_proc: u64, slot: Slot, }
    /// Makes a detached mount of a new filesystem: `fsopen`, `fsconfig`, `fsmount`. `options`: key and value in turn, each
    /// ending with NUL; an empty value is a flag, a string begins with `=`. `attributes`: `MOUNT_ATTR_*`.
    7 MountFs { fstype: S, source: S, options: B, attributes: u64, slot: Slot, }
    /// Changes attributes (`MOUNT_ATTR_*`) and propagation of a mount: `mount_setattr`. `recursive`: 1 for the whole tree.
    /// `unnamed`: attributes to clear that no option names; they stay where the kernel has locked them (a mount that came
    /// from another user namespace).
    8 SetAttributes { mount: Slot, set: u64, clear: u64, unnamed: u64, propagation: u64, recursive: u64, }
    /// Attaches a detached mount on an opened target and closes the target: `move_mount`. By fd, so no path can be exchanged.
    /// `keep`: 1 leaves the mount's fd open.
    9 MoveMount { mount: Slot, target: Slot, keep: u64, }
    /// Makes a directory and its parents inside the root: `openat2`, `mkdirat`.
    10 MakeDirectory { path: S, mode: u64, }
    /// Makes a device node or fifo in the root unless there is one: `mknodat`, `fchownat`. `mode` has the type bits.
    /// Attacker: `/dev` of the rootfs as a link to the host (CVE-2026-41579); the parent is opened inside the root.
    11 MakeNode { path: S, mode: u64, major: u64, minor: u64, uid: u64, gid: u64, }
    /// Makes a symbolic link in the root unless there is something: `symlinkat`. `replace`: 1 removes a file there first.
    12 MakeLink { path: S, target: S, replace: u64, }
    /// Opens a new pseudo-terminal of the devpts above `path`: `openat2`, `TIOCSPTLCK`, `TIOCGPTPEER`. The directory is checked
    /// to be a devpts before anything in it is opened; the peer comes from the master, never from a path (CVE-2025-52565).
    13 OpenTerminal { path: S, master: Slot, peer: Slot, }
    /// Sends the terminal's master to the runtime and closes it here: `sendmsg(SCM_RIGHTS)`.
    14 SendConsole { master: Slot, }
    /// Makes a detached mount of what the slot holds: `open_tree(OPEN_TREE_CLONE)`.
    15 CloneMount { from: Slot, slot: Slot, }
    /// Makes the terminal that is stdin the controlling terminal of the session: `TIOCSCTTY`.
    16 ControllingTerminal {}
    /// Makes the attached root the root of the mount namespace and drops the old one: `pivot_root(".", ".")`, `umount2`.
    17 PivotRoot {}
    /// Sets the host name: `sethostname`. Spec: config.md#hostname.
    18 Hostname { name: S, }
    /// Sets the NIS domain name: `setdomainname`. Spec: config.md#domainname.
    19 Domainname { name: S, }
    /// Makes a detached procfs of init's PID namespace: `fsopen("proc")`, checked by `fstatfs`. What the container shows at
    /// `/proc` is hostile (CVE-2019-16884, CVE-2025-52881) and is never written through.
    20 OpenProc { slot: Slot, }
    /// Writes a kernel parameter below the `sys` directory of the procfs in the slot: `openat2(RESOLVE_BENEATH)`, `write`.
    21 Sysctl { proc: Slot, path: S, value: S, }
    /// Hides a path: a directory under the empty directory, anything else under the null device; a missing path is left alone.
    /// `openat2`, `open_tree`, `move_mount`. Both covers come from outside of the rootfs (CVE-2025-31133).
    /// `base`: the mount that the path counts from, slot 0 for the root. Paths in procfs and sysfs are looked up in the very
    /// mounts, which a rename of their directories in the rootfs could carry elsewhere.
    22 MaskPath { base: Slot, path: S, null: Slot, empty: Slot, }
    /// Makes a path and all below read-only: `open_tree(AT_RECURSIVE)`, `mount_setattr`, `move_mount`. A missing path is left alone.
    /// `base` as for [`Step::MaskPath`].
    23 ReadonlyPath { base: Slot, path: S, }
    /// Makes the root mount read-only, or changes its propagation: `mount_setattr`. Spec: config.md#root.
    24 RootAttributes { set: u64, propagation: u64, recursive: u64, }
    /// Sets a resource limit: `prlimit64`. Spec: config.md#posix-process.
    25 ResourceLimit { resource: u64, soft: u64, hard: u64, }
    /// Sets the file mode creation mask: `umask`.
    26 Umask { mask: u64, }
    /// Sets no_new_privs: `prctl(PR_SET_NO_NEW_PRIVS)`.
    27 NoNewPrivileges {}
    /// Loads a filter: `seccomp(SECCOMP_SET_MODE_FILTER)`. `program`: an array of `struct sock_filter`. `privileged`: 1 when
    /// no_new_privs is not set, so that the kernel asks for CAP_SYS_ADMIN: the permitted capabilities are made effective first.
    /// `notify`: 1 when there is a listener, which the runtime is told of by write(2) alone.
    28 Seccomp { flags: u64, program: B, privileged: u64, notify: u64, }
    /// Drops every capability not in `keep` from the bounding set: `prctl(PR_CAPBSET_DROP)`.
    29 BoundingSet { keep: u64, }
    /// Becomes the user: `setgroups`, `setresgid`, `setresuid`, with capabilities kept until [`Step::Capabilities`].
    /// `groups`: an array of 32-bit ids. `keep_groups`: [`CallersGroups`].
    30 User { uid: u64, gid: u64, groups: B, keep_groups: u64, }
    /// Sets the thread's capabilities: `capset`. Bit n is capability n.
    31 Capabilities { effective: u64, permitted: u64, inheritable: u64, }
    /// Sets the ambient capabilities: `prctl(PR_CAP_AMBIENT)`.
    32 AmbientCapabilities { set: u64, }
    /// Gives stdin, stdout and stderr to the user: `fchown`; not devices, but for terminals, nor directories, and refusals of the filesystem are no
    /// error. The null
    /// device is exchanged for the container's: `openat2`, `statx`, `dup3`. runc does the same; what is the container's own can be restored
    /// by name from a checkpoint. `dev`: the mount that init has made at `/dev`, or the root, where no other mount is entered; slot 0 leaves
    /// the null device as it is. Attacker: puts something else in its place, or another directory in the place of `/dev`: what is opened
    /// is what was looked at, by way of the procfs in `proc`. Without one (slot 0) it is opened by name once more, and must be the same.
    33 OwnStdio { uid: u64, dev: Slot, proc: Slot, }
    /// Enters the working directory and checks that it is inside the root: `chdir`, `getcwd` (CVE-2024-21626). Done before the
    /// change of user (`late` 0), where `EACCES` is forgiven, and after it (`late` 1) if that did not succeed. runc does the same.
    34 WorkingDirectory { path: S, late: u64, }
    /// Takes `HOME` for [`Step::Exec`] from the container's `/etc/passwd`, `/` if the uid is not there. runc does the same. `proc` as for
    /// [`Step::OwnStdio`]. Attacker: a link or an exchange that leads to a device, or to a file of the kernel that reading empties
    /// (`/proc/kmsg`): neither is opened.
    35 HomeFromPasswd { uid: u64, proc: Slot, }
    /// Finds the program: `faccessat2`, `statx`; as the user, with the capabilities that are effective at the exec, in the container.
    /// `search`: the value of `PATH`.
    36 FindProgram { name: S, search: S, }
    /// Tells the runtime that this point is reached and waits for its word to go on: `write`, `read`. The runtime's end
    /// of the socket closing ends init.
    37 Sync { point: u64, }
    /// Waits for `start` on a listening socket: `accept4`, `read`; failures from here on go to that connection.
    38 WaitForStart { listener: Slot, }
    /// Becomes the program found before: `execve`. `arguments`, `environment`: strings that each end with NUL.
    39 Exec { arguments: B, environment: B, }
    /// Sets the terminal's size on the master: `TIOCSWINSZ`. Spec: config.md#process, `consoleSize`.
    40 TerminalSize { master: Slot, rows: u64, columns: u64, }
    /// Closes every fd but stdio, those that the program gets, the runtime's socket and those in `slots` (an array of 16-bit numbers), which
    /// become close-on-exec: `dup3`, `close_range`. The program gets the `keep` fds from 3 on but for `gaps`: an array of first and last
    /// numbers, of 32 bits. Done before init gives up its privileges (CVE-2016-9962, CVE-2024-21626), and before a filter can forbid it.
    42 CloseFiles { keep: u64, gaps: B, slots: B, }
    /// Closes a slot: `close`.
    41 Close { slot: Slot, }
    /// Joins the namespace that the slot holds (`kind`: `CLONE_NEW*`) and closes the slot: `setns`.
    /// Spec: config-linux.md#namespaces, `path`. The runtime has checked that the file is a namespace of this kind, or has made it
    /// itself: the network namespace, the one that mount namespaces are copied from.
    43 Join { namespace: Slot, kind: u64, }
    /// Moves into new namespaces: `unshare`. For those that the clone cannot make: the time namespace, which only children are in,
    /// the mount namespace that is to be empty or the copy of a joined one, and what the root of a user namespace is to own.
    44 Unshare { flags: u64, }
    /// Goes on in a clone that takes init's place as the runtime's child: `clone3(CLONE_PARENT | CLONE_PIDFD)`; the first process sends
    /// the clone's pidfd to the runtime and ends, which the clone waits for (`pipe2`). `flags`: the `CLONE_NEW*` that need a process of their own.
    45 CloneAgain { flags: u64, }
    /// Becomes the root of the user namespace, or `uid` and `gid` where its maps have no root: `setresgid`, `setresuid`. Before
    /// that the ids of init have no name in the namespace, and files could not be made. The caller's groups go, unless `keep_groups`
    /// ([`CallersGroups`]) has them stay: `setgroups`.
    46 NamespaceRoot { uid: u64, gid: u64, keep_groups: u64, }
    /// Lets the user who started the runtime write init's id maps (1), or nobody look at init any more (0): `prctl`.
    /// Only for a runtime without privileges, whose user owns all that init has at that time. Files of a dumpable init in
    /// procfs are its own to write, too (proc(5)).
    47 Dumpable { on: u64, }
    /// Copies what is mounted at a path of the caller's namespace: `open_tree`. For a runtime that may not do it outside.
    /// `flags`: [`TreeFlags`]. An unbindable mount is copied in a copy of the namespace, where it is a slave: `unshare`, `mount_setattr`.
    48 OpenSource { path: S, flags: u64, slot: Slot, }
    /// Checks that the object in the slot is the device of this type (`S_IFCHR`, `S_IFBLK`) and number: `statx`.
    49 CheckDevice { device: Slot, mode: u64, major: u64, minor: u64, }
    /// Makes the attached root the root of the process without `pivot_root`: `chroot`. Where there is nothing below the root that
    /// would have to go: in a mount namespace that began empty, and with `--no-pivot`, for a host whose root is the initramfs.
    50 MoveRoot {}
    /// Detaches every procfs and sysfs of the namespace: `umount2`, or covers what is locked. Without `pivot_root` they would
    /// stay below the new root, and let a process in a user namespace mount its own (`mount_too_revealing`).
    51 HideHostMounts { proc: Slot, }
    /// Copies what is in the directory `from` into the new filesystem in `mount`, owners and modes kept (`tmpcopyup`). `owner`: 1
    /// when the filesystem gets the owner of the directory, too. Attacker: the tree; nothing in it is
    /// followed, and no device of it can be opened.
    52 CopyUp { mount: Slot, from: Slot, owner: u64, }
    /// Sets the scheduling policy: `sched_setattr`. Spec: config.md#posix-process, `scheduler`.
    53 Scheduler { policy: u64, flags: u64, nice: u64, priority: u64, runtime: u64, deadline: u64, period: u64, }
    /// Sets the I/O priority: `ioprio_set`. Spec: config.md, `ioPriority`.
    54 IoPriority { value: u64, }
    /// Sets the execution domain: `personality`. Spec: config-linux.md#personality.
    55 Personality { persona: u64, }
    /// Sets the memory policy of the process: `set_mempolicy`. `nodes`: a mask in 64-bit words. Spec: config-linux.md.
    56 MemoryPolicy { mode: u64, nodes: B, }
    /// Writes a file of init's own directory in the procfs of the slot (`self/…`): `openat2(RESOLVE_BENEATH)`, `write`. Checked
    /// by `fstatfs`: what the container shows at `/proc` is never written (CVE-2019-16884, CVE-2025-52881).
    57 WriteOwn { proc: Slot, path: S, value: S, }
    /// Waits for the runtime's hooks (`SyncPoint::Hooks`) and takes the state for init's hooks: two files, as JSON, of a
    /// container that is being created and of one that has been.
    58 AwaitHooks { creating: Slot, created: Slot, }
    /// Runs a hook to its end: `clone`, `execve`, `waitid`. stdin: the state. `timeout`: in seconds, 0 for none; then it is
    /// killed. Its output goes to the slots, or is kept for the error (slot 0). `home`: 1 when the environment is the
    /// process's, with the `HOME` that `HomeFromPasswd` found.
    59 RunHook { path: S, arguments: B, environment: B, home: u64, timeout: u64, state: Slot, stdout: Slot, stderr: Slot, }
    /// Lets init run on every CPU that its cgroup has: `sched_setaffinity`. The affinity of whoever called the runtime is none
    /// of the container's business.
    60 ResetAffinity {}
    /// Changes the superblock of the filesystem that is mounted on the target: `fspick`, `fsconfig`. `remount` without `bind`.
    61 Reconfigure { mount: Slot, options: B, }
    /// Brings the loopback device of a new network namespace up: `ioctl(SIOCSIFFLAGS)`.
    62 Loopback {}
    /// Makes a symbolic link in place of a mount (`copy-symlink`): `symlinkat`. One with the same target may be there already.
    63 CopyLink { path: S, target: S, }
    /// Checks that what the slot holds is a procfs: `fstatfs`. For a bind mount on `/proc` (CVE-2019-16884).
    64 CheckProc { mount: Slot, }
    /// Makes the detached tree of the root filesystem the root that paths are resolved in, without attaching it anywhere. For a
    /// container in the runtime's own mount namespace.
    65 EnterTree { tree: Slot, }
    /// Ends init with status 0: there is no process to become.
    66 End {}
    /// Gives the next new filesystem the mode of the target's directory, unless that has only been made for it: `mode=` of
    /// tmpfs. runc: a tmpfs over `/run` of the image is no less closed than what it covers.
    67 TargetMode { target: Slot, }
    /// Like `AttachRoot`, on the directory that the tree was opened from: there hooks look for the container's root before
    /// `pivot_root(2)`, and what they mount there must be the container's; and no other path of init's leads into the image. The
    /// path is looked up once more, and what is there must be the tree's own directory: `openat2`, `statx`, `move_mount`.
    68 AttachRootAt { tree: Slot, path: S, }
    /// Takes the root of the mount namespace that has been joined as the root that paths are resolved in: `openat2`. What the
    /// container's init has made its own root since does not matter.
    69 FindRoot {}
    /// Lets the process run on these CPUs: `sched_setaffinity`. `cpus`: a mask in 64-bit words. Spec: config.md,
    /// `execCPUAffinity.final`.
    70 Affinity { cpus: B, }
    /// Takes a mount away: `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS)`, `umount2(MNT_DETACH)` of what was opened, by way of the
    /// procfs in the slot. Attacker: links and renamed directories in the rootfs, by which a mask would be taken away.
    71 Unmount { path: S, proc: Slot, }
    /// Moves into a mount namespace and keeps the slot: `setns`. To the caller's mounts for a source, and back.
    72 Visit { namespace: Slot, }
    /// Opens init's own mount namespace, to come back to: `pidfd_open`, `ioctl(PIDFD_GET_MNT_NAMESPACE)`.
    73 OwnMounts { slot: Slot, }
    /// Goes on in a clone as [`Step::CloneAgain`] does, in the cgroup of the slot, which both close: `clone3(CLONE_PARENT |
    /// CLONE_INTO_CGROUP)`. The kernel lets no process fork and waits for an RCU grace period when one is moved by `cgroup.procs`. Attacker:
    /// the cgroup is a container's, which may freeze or kill what is in it; the clone has memory of its own by then.
    74 CloneInto { cgroup: Slot, }
    /// Takes the network namespace that the runtime has made meanwhile: `recvmsg` (`SyncPoint::Made`).
    75 TakeNetwork { slot: Slot, }
    /// Waits for the runtime's word to go on, which may have come already: `read`. Unlike with [`Step::Sync`] the runtime is told nothing.
    76 Await { point: u64, }
    /// Takes trees that the runtime has opened meanwhile: `recvmsg` (`SyncPoint::Opened`). `count`: how many, into the slots from `first` on.
    77 TakeTrees { first: Slot, count: u64, }
    /// Makes the terminal stdin, stdout and stderr: `dup3`; closes the slot.
    78 TerminalAsStdio { peer: Slot, }
    /// Tells the runtime that nothing is left but the filter and the exec: `write`. Without it the end of the stream is init's death.
    79 Announce {}
    /// Passes the next `steps` steps over unless what is at `/dev` is the container's own: in the mount in `dev` (slot 0: there is
    /// none), which init has made there, or in the root's own. Not by words: a link of the image may put a volume there, whose owner gets
    /// neither nodes nor links, and loses no `ptmx`. `openat2`, `statx`; what is made next to each other is made in the directory that
    /// was looked at.
    80 OwnDev { dev: Slot, steps: u64, }
}
