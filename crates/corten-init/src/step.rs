//! The steps: every single thing that init can do, and the calls that it makes.
//!
//! One table is all there is of them: what it hands to a macro makes the enum, the wire form, the printing,
//! the roles of slots, and the executor's dispatch, so that these cannot drift apart. `S` is a string and `B`
//! a byte string: owned in the runtime's plan, borrowed from the mapped program in init.

use core::ffi::CStr;
use core::fmt;

use crate::numbered::numbered;
use crate::operand::{
    Attributes, CallersGroups, CapabilitySet, Filter, FilterFlags, Ids, Mask, Mode, Namespaces, Operand,
    Options, Printed, Propagation, Ranges, Resource, Role, SchedulerFlags, Slot, SlotRange, Slots, Strings,
    Target, TreeFlags, Wire,
};
use crate::reader::Reader;
use crate::sync_point::SyncPoint;

/// A step as the runtime's plan holds it.
#[cfg(not(corten_freestanding))]
pub type OwnedStep = Step<std::ffi::CString, Vec<u8>>;
/// A step as init reads it from the mapped program.
pub type WireStep<'a> = Step<&'a CStr, &'a [u8]>;

/// Hands the table of steps to a macro. A row is a method of the executor, and the step with its operands,
/// which the method gets in this order. A slot has a role: `reads` (the file descriptor stays there),
/// `fills`, `takes` (the slot is empty afterwards). A step's number on the wire is its place in the table:
/// program and executor are of one build.
macro_rules! step_table {
    ($macro:ident) => {
        $macro! {
            // Cgroups, namespaces, and the process that goes on in them

            /// Goes on in a clone as [`Step::CloneAgain`] does, in the cgroup of the slot, which both close:
            /// `clone3(CLONE_PARENT | CLONE_INTO_CGROUP)`. The kernel lets no process fork and waits for an
            /// RCU grace period when one is moved by `cgroup.procs`. Attacker: the cgroup is a container's,
            /// which may freeze or kill what is in it; the clone has memory of its own by then.
            clone_into: CloneInto { cgroup: Slot [takes], }

            /// Joins the namespace that the slot holds and closes the slot: `setns`. Spec:
            /// config-linux.md#namespaces, `path`. The runtime has checked that the file is a namespace of
            /// this kind, or has made it itself: the network namespace, the one that mount namespaces are
            /// copied from.
            join: Join { namespace: Slot [takes], kind: Namespaces, }

            /// Moves into a mount namespace and keeps the slot: `setns`. To the caller's mounts for a source,
            /// and back.
            visit: Visit { namespace: Slot [reads], }

            /// Opens init's own mount namespace, to come back to: `pidfd_open`,
            /// `ioctl(PIDFD_GET_MNT_NAMESPACE)`.
            own_mounts: OwnMounts { slot: Slot [fills], }

            /// Moves into new namespaces: `unshare`. For those that the clone cannot make: the time
            /// namespace, which only children are in, the mount namespace that is to be empty or the copy of
            /// a joined one, and what the root of a user namespace is to own.
            unshare: Unshare { flags: Namespaces, }

            /// Moves into a cgroup namespace rooted at the cgroup that init was cloned into:
            /// `unshare(CLONE_NEWCGROUP)`. Spec: config-linux.md#namespaces. Done here because clone3 with
            /// `CLONE_INTO_CGROUP` would root it at the caller's cgroup.
            unshare_cgroup: UnshareCgroup {}

            /// Goes on in a clone that takes init's place as the runtime's child: `clone3(CLONE_PARENT |
            /// CLONE_PIDFD)`; the first process sends the clone's pidfd to the runtime and ends, which the
            /// clone waits for (`pipe2`). `flags`: those that need a process of their own.
            clone_again: CloneAgain { flags: Namespaces, }

            /// Becomes the root of the user namespace, or `uid` and `gid` where its maps have no root:
            /// `setresgid`, `setresuid`. Before that the ids of init have no name in the namespace, and files
            /// could not be made. The caller's groups go, unless `keep_groups` has them stay: `setgroups`.
            namespace_root: NamespaceRoot { uid: u32, gid: u32, keep_groups: CallersGroups, }

            /// Lets the user who started the runtime write init's id maps, or nobody look at init any more:
            /// `prctl`. Only for a runtime without privileges, whose user owns all that init has at that
            /// time. Files of a dumpable init in procfs are its own to write, too (proc(5)).
            dumpable: Dumpable { on: bool, }

            /// Takes the network namespace that the runtime has made meanwhile: `recvmsg`
            /// (`SyncPoint::Made`).
            take_network: TakeNetwork { slot: Slot [fills], }

            /// Brings the loopback device of a new network namespace up: `ioctl(SIOCSIFFLAGS)`.
            loopback: Loopback {}

            // The root

            /// Sets the propagation of every mount of the namespace: `mount_setattr("/", AT_RECURSIVE)`.
            /// Without it the container's mounts would show up on the host.
            propagation: Propagation { flags: Propagation, }

            /// Makes the detached tree of the root filesystem the root that paths are resolved in, without
            /// attaching it anywhere. For a container in the runtime's own mount namespace.
            enter_tree: EnterTree { tree: Slot [reads], }

            /// Attaches the tree of the root filesystem over `/` and makes it the root that paths are
            /// resolved in: `move_mount`. By fd: the path of the rootfs is not looked at again. Attacker:
            /// from here on a `..` of init's own paths that ends at `/` leads into the image. In a joined
            /// mount namespace and in one that began empty nothing but targets is looked up there; with
            /// `--no-pivot` this comes last, before [`Step::MoveRoot`].
            attach_root: AttachRoot { tree: Slot [reads], }

            /// Like `AttachRoot`, on the directory that the tree was opened from: there hooks look for the
            /// container's root before `pivot_root(2)`, and what they mount there must be the container's;
            /// and no other path of init's leads into the image. The path is looked up once more, and what is
            /// there must be the tree's own directory: `openat2`, `statx`, `move_mount`.
            attach_root_at: AttachRootAt { tree: Slot [reads], path: S, }

            /// Takes the root of the mount namespace that has been joined as the root that paths are resolved
            /// in: `openat2`. What the container's init has made its own root since does not matter.
            find_root: FindRoot {}

            /// Makes the attached root the root of the mount namespace and drops the old one:
            /// `pivot_root(".", ".")`, `umount2`.
            pivot_root: PivotRoot {}

            /// Makes the attached root the root of the process without `pivot_root`: `chroot`. Where there is
            /// nothing below the root that would have to go: in a mount namespace that began empty, and with
            /// `--no-pivot`, for a host whose root is the initramfs.
            move_root: MoveRoot {}

            /// Detaches every procfs and sysfs of the namespace: `umount2`, or covers what is locked. Without
            /// `pivot_root` they would stay below the new root, and let a process in a user namespace mount
            /// its own (`mount_too_revealing`).
            hide_host_mounts: HideHostMounts { proc: Slot [reads], }

            /// Makes the root mount read-only, or changes its propagation: `mount_setattr`. Spec:
            /// config.md#root.
            root_attributes: RootAttributes { set: Attributes, propagation: Propagation, recursive: bool, }

            // Mounts

            /// Copies what is mounted at a path of the caller's namespace: `open_tree`. For a runtime that
            /// may not do it outside. An unbindable mount is copied in a copy of the namespace, where it is a
            /// slave: `unshare`, `mount_setattr`.
            open_source: OpenSource { path: S, flags: TreeFlags, slot: Slot [fills], }

            /// Takes trees that the runtime has opened meanwhile: `recvmsg` (`SyncPoint::Opened`).
            take_trees: TakeTrees { trees: SlotRange [fills], }

            /// Checks that the object in the slot is the device of this type (`S_IFCHR`, `S_IFBLK`) and
            /// number: `statx`.
            check_device: CheckDevice { device: Slot [reads], mode: Mode, major: u64, minor: u64, }

            /// Checks that what the slot holds is a procfs: `fstatfs`. For a bind mount on `/proc`
            /// (CVE-2019-16884).
            check_proc: CheckProc { mount: Slot [reads], }

            /// Opens a mount target inside the root, making it if it is missing: `openat2(RESOLVE_IN_ROOT |
            /// RESOLVE_NO_MAGICLINKS)`, `mkdirat`. Attacker: symbolic links in the rootfs and their exchange
            /// while this runs (CVE-2019-18837, CVE-2021-30465). `in_proc`: the target may be in a procfs;
            /// wherever links lead, others may not be (CVE-2019-16884).
            open_target: OpenTarget { path: S, target: Target [reads], in_proc: bool, slot: Slot [fills], }

            /// Gives the next new filesystem the mode of the target's directory, unless that has only been
            /// made for it: `mode=` of tmpfs. runc: a tmpfs over `/run` of the image is no less closed than
            /// what it covers.
            target_mode: TargetMode { target: Slot [reads], }

            /// Makes a detached mount of a new filesystem: `fsopen`, `fsconfig`, `fsmount`.
            mount_fs: MountFs {
                fstype: S, source: S, options: Options<B>, attributes: Attributes, slot: Slot [fills],
            }

            /// Makes a detached mount of what the slot holds: `open_tree(OPEN_TREE_CLONE)`.
            clone_mount: CloneMount { from: Slot [reads], slot: Slot [fills], }

            /// Changes the superblock of the filesystem that is mounted on the target: `fspick`, `fsconfig`.
            /// `remount` without `bind`.
            reconfigure: Reconfigure { mount: Slot [reads], options: Options<B>, }

            /// Changes attributes and propagation of a mount: `mount_setattr`. `recursive`: of the whole
            /// tree. `unnamed`: attributes to clear that no option names; they stay where the kernel has
            /// locked them (a mount that came from another user namespace).
            set_attributes: SetAttributes {
                mount: Slot [reads], set: Attributes, clear: Attributes, unnamed: Attributes,
                propagation: Propagation, recursive: bool,
            }

            /// Copies what is in the directory `from` into the new filesystem in `mount`, owners and modes
            /// kept (`tmpcopyup`). `owner`: the filesystem gets the owner of the directory, too. Attacker:
            /// the tree; nothing in it is followed, and no device of it can be opened.
            copy_up: CopyUp { mount: Slot [reads], from: Slot [reads], owner: bool, }

            /// Makes a symbolic link in place of a mount (`copy-symlink`): `symlinkat`. One with the same
            /// target may be there already.
            copy_link: CopyLink { path: S, target: S, }

            /// Attaches a detached mount on an opened target and closes the target: `move_mount`. By fd, so
            /// no path can be exchanged. `keep`: the mount's fd stays open.
            move_mount: MoveMount { mount: Slot [takes unless keep], target: Slot [takes], keep: bool, }

            /// Takes a mount away: `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS)`, `umount2(MNT_DETACH)` of
            /// what was opened, by way of the procfs in the slot. Attacker: links and renamed directories in
            /// the rootfs, by which a mask would be taken away.
            unmount: Unmount { path: S, proc: Slot [reads], }

            // Directories, nodes and links

            /// Passes the next `steps` steps over unless what is at `/dev` is the container's own: in the
            /// mount in `dev`, which init has made there, or in the root's own. Not by words: a link of the
            /// image may put a volume there, whose owner gets neither nodes nor links, and loses no `ptmx`.
            /// `openat2`, `statx`; what is made next to each other is made in the directory that was looked
            /// at.
            own_dev: OwnDev { dev: Option<Slot> [reads], steps: u32, }

            /// Makes a directory and its parents inside the root: `openat2`, `mkdirat`.
            make_directory: MakeDirectory { path: S, mode: Mode, }

            /// Makes a device node or fifo in the root unless there is one: `mknodat`, `fchownat`. `mode` has
            /// the type bits. Attacker: `/dev` of the rootfs as a link to the host (CVE-2026-41579); the
            /// parent is opened inside the root.
            make_node: MakeNode { path: S, mode: Mode, major: u64, minor: u64, uid: u32, gid: u32, }

            /// Makes a symbolic link in the root unless there is something: `symlinkat`. `replace`: a file
            /// there is removed first.
            make_link: MakeLink { path: S, target: S, replace: bool, }

            // Terminal and session

            /// Starts a session: `setsid`.
            new_session: NewSession {}

            /// Opens a new pseudo-terminal of the devpts above `path`: `openat2`, `TIOCSPTLCK`,
            /// `TIOCGPTPEER`. The directory is checked to be a devpts before anything in it is opened; the
            /// peer comes from the master, never from a path (CVE-2025-52565).
            open_terminal: OpenTerminal { path: S, master: Slot [fills], peer: Slot [fills], }

            /// Sets the terminal's size on the master: `TIOCSWINSZ`. Spec: config.md#process, `consoleSize`.
            terminal_size: TerminalSize { master: Slot [reads], rows: u64, columns: u64, }

            /// Sends the terminal's master to the runtime and closes it here: `sendmsg(SCM_RIGHTS)`.
            send_console: SendConsole { master: Slot [takes], }

            /// Makes the terminal stdin, stdout and stderr: `dup3`; closes the slot.
            terminal_as_stdio: TerminalAsStdio { peer: Slot [takes], }

            /// Makes the terminal that is stdin the controlling terminal of the session: `TIOCSCTTY`.
            controlling_terminal: ControllingTerminal {}

            // Names, files of the kernel, and what is hidden

            /// Sets the host name: `sethostname`. Spec: config.md#hostname.
            hostname: Hostname { name: S, }

            /// Sets the NIS domain name: `setdomainname`. Spec: config.md#domainname.
            domainname: Domainname { name: S, }

            /// Makes a detached procfs of init's PID namespace: `fsopen("proc")`, checked by `fstatfs`. What
            /// the container shows at `/proc` is hostile (CVE-2019-16884, CVE-2025-52881) and is never
            /// written through.
            open_proc: OpenProc { slot: Slot [fills], }

            /// Writes a kernel parameter below the `sys` directory of the procfs in the slot:
            /// `openat2(RESOLVE_BENEATH)`, `write`.
            sysctl: Sysctl { proc: Slot [reads], path: S, value: S, }

            /// Writes a file of init's own directory in the procfs of the slot (`self/…`):
            /// `openat2(RESOLVE_BENEATH)`, `write`. Checked by `fstatfs`: what the container shows at `/proc`
            /// is never written (CVE-2019-16884, CVE-2025-52881).
            write_own: WriteOwn { proc: Slot [reads], path: S, value: S, }

            /// Joins a fresh session keyring of this name: `keyctl(KEYCTL_JOIN_SESSION_KEYRING)`, so that the
            /// container cannot read the caller's keys. Then `keyctl(KEYCTL_SETPERM)`, so that later
            /// processes of the container can join it by that name. runc: `_ses.ID`. A kernel without
            /// keyrings (`ENOSYS`) has nothing to hide.
            session_keyring: SessionKeyring { name: S, }

            /// Makes a path and all below read-only: `open_tree(AT_RECURSIVE)`, `mount_setattr`,
            /// `move_mount`. A missing path is left alone. `base` as for [`Step::MaskPath`].
            readonly_path: ReadonlyPath { base: Option<Slot> [reads], path: S, }

            /// Hides a path: a directory under the empty directory, anything else under the null device; a
            /// missing path is left alone. `openat2`, `open_tree`, `move_mount`. Both covers come from
            /// outside of the rootfs (CVE-2025-31133). `base`: the mount that the path counts from, if not
            /// the root. Paths in procfs and sysfs are looked up in the very mounts, which a rename of their
            /// directories in the rootfs could carry elsewhere.
            mask_path: MaskPath { base: Option<Slot> [reads], path: S, null: Slot [reads], empty: Slot [reads], }

            // The process: stdio, limits, scheduling

            /// Gives stdin, stdout and stderr to the user: `fchown`; not devices, but for terminals, nor
            /// directories, and refusals of the filesystem are no error. The null device is exchanged for the
            /// container's: `openat2`, `statx`, `dup3`. runc does the same; what is the container's own can
            /// be restored by name from a checkpoint. `dev`: the mount that init has made at `/dev`, or the
            /// root, where no other mount is entered; without one the null device stays as it is. Attacker:
            /// puts something else in its place, or another directory in the place of `/dev`: what is opened
            /// is what was looked at, by way of the procfs in `proc`. Without one it is opened by name once
            /// more, and must be the same.
            own_stdio: OwnStdio { uid: u32, dev: Option<Slot> [reads], proc: Option<Slot> [reads], }

            /// Takes `HOME` for [`Step::Exec`] from the container's `/etc/passwd`, `/` if the uid is not
            /// there. runc does the same. `proc` as for [`Step::OwnStdio`]. Attacker: a link or an exchange
            /// that leads to a device, or to a file of the kernel that reading empties (`/proc/kmsg`):
            /// neither is opened.
            home_from_passwd: HomeFromPasswd { uid: u32, proc: Option<Slot> [reads], }

            /// Closes every fd but stdio, those that the program gets, the runtime's socket and those in
            /// `slots`, which become close-on-exec; every other slot is empty then: `dup3`, `close_range`.
            /// The program gets the `keep` fds from 3 on but for `gaps`. Done before init gives up its
            /// privileges (CVE-2016-9962, CVE-2024-21626), and before a filter can forbid it.
            close_files: CloseFiles { keep: u32, gaps: Ranges<B>, slots: Slots<B> [reads], }

            /// Closes a slot: `close`.
            close: Close { slot: Slot [takes], }

            /// Sets a resource limit: `prlimit64`. Spec: config.md#posix-process.
            resource_limit: ResourceLimit { resource: Resource, soft: u64, hard: u64, }

            /// Sets the file mode creation mask: `umask`.
            umask: Umask { mask: Mode, }

            /// Lets init run on every CPU that its cgroup has: `sched_setaffinity`. The affinity of whoever
            /// called the runtime is none of the container's business.
            reset_affinity: ResetAffinity {}

            /// Lets the process run on these CPUs: `sched_setaffinity`. Spec: config.md,
            /// `execCPUAffinity.final`.
            affinity: Affinity { cpus: Mask<B>, }

            /// Sets the scheduling policy: `sched_setattr`. Spec: config.md#posix-process, `scheduler`.
            scheduler: Scheduler {
                policy: u32, flags: SchedulerFlags, nice: i32, priority: u32, runtime: u64, deadline: u64,
                period: u64,
            }

            /// Sets the I/O priority: `ioprio_set`. Spec: config.md, `ioPriority`.
            io_priority: IoPriority { value: u64, }

            /// Sets the execution domain: `personality`. Spec: config-linux.md#personality.
            personality: Personality { persona: u64, }

            /// Sets the memory policy of the process: `set_mempolicy`. Spec: config-linux.md.
            memory_policy: MemoryPolicy { mode: u64, nodes: Mask<B>, }

            // The process: privileges

            /// Enters the working directory and checks that it is inside the root: `chdir`, `getcwd`
            /// (CVE-2024-21626). Done before the change of user, where `EACCES` is forgiven, and after it
            /// (`late`) if that did not succeed. runc does the same.
            working_directory: WorkingDirectory { path: S, late: bool, }

            /// Drops every capability not in `keep` from the bounding set: `prctl(PR_CAPBSET_DROP)`.
            bounding_set: BoundingSet { keep: CapabilitySet, }

            /// Becomes the user: `setgroups`, `setresgid`, `setresuid`, with capabilities kept until
            /// [`Step::Capabilities`].
            become_user: User { uid: u32, gid: u32, groups: Ids<B>, keep_groups: CallersGroups, }

            /// Sets the thread's capabilities: `capset`.
            capabilities: Capabilities {
                effective: CapabilitySet, permitted: CapabilitySet, inheritable: CapabilitySet,
            }

            /// Sets the ambient capabilities: `prctl(PR_CAP_AMBIENT)`.
            ambient_capabilities: AmbientCapabilities { set: CapabilitySet, }

            /// Sets no_new_privs: `prctl(PR_SET_NO_NEW_PRIVS)`.
            no_new_privileges: NoNewPrivileges {}

            /// Loads a filter: `seccomp(SECCOMP_SET_MODE_FILTER)`. `privileged`: no_new_privs is not set, so
            /// that the kernel asks for CAP_SYS_ADMIN: the permitted capabilities are made effective first.
            /// `notify`: there is a listener, which the runtime is told of by write(2) alone.
            seccomp: Seccomp { flags: FilterFlags, program: Filter<B>, privileged: bool, notify: bool, }

            // The runtime, hooks, and the end

            /// Tells the runtime that this point is reached and waits for its word to go on: `write`, `read`.
            /// The runtime's end of the socket closing ends init.
            sync: Sync { point: SyncPoint, }

            /// Waits for the runtime's word to go on, which may have come already: `read`. Unlike with
            /// [`Step::Sync`] the runtime is told nothing.
            await_point: Await { point: SyncPoint, }

            /// Waits for the runtime's hooks (`SyncPoint::Hooks`) and takes the state for init's hooks: two
            /// files, as JSON, of a container that is being created and of one that has been.
            await_hooks: AwaitHooks { creating: Slot [fills], created: Slot [fills], }

            /// Runs a hook to its end: `clone`, `execve`, `waitid`. stdin: the state. `timeout`: in seconds,
            /// 0 for none; then it is killed. Its output goes to the slots, or is kept for the error. `home`:
            /// the environment is the process's, with the `HOME` that `HomeFromPasswd` found.
            run_hook: RunHook {
                path: S, arguments: Strings<B>, environment: Strings<B>, home: bool, timeout: u64,
                state: Slot [reads], stdout: Option<Slot> [reads], stderr: Option<Slot> [reads],
            }

            /// Waits for `start` on a listening socket: `accept4`, `read`; failures from here on go to that
            /// connection.
            wait_for_start: WaitForStart { listener: Slot [takes], }

            /// Finds the program: `faccessat2`, `statx`; as the user, with the capabilities that are
            /// effective at the exec, in the container. `search`: the value of `PATH`.
            find_program: FindProgram { name: S, search: S, }

            /// Tells the runtime that nothing is left but the filter and the exec: `write`. Without it the
            /// end of the stream is init's death.
            announce: Announce {}

            /// Becomes the program found before: `execve`.
            exec: Exec { arguments: Strings<B>, environment: Strings<B>, }

            /// Ends init with status 0: there is no process to become.
            end: End {}
        }
    };
}

pub(crate) use step_table;

numbered! {
    /// The calls that the steps make, for what has failed. What is new comes at the end: a `start` of a later
    /// build may hear of it.
    #[allow(missing_docs, reason = "each variant is the call of its name")]
    #[non_exhaustive]
    pub enum Call {
        Decode "reading the program", Unshare "unshare", Keyctl "keyctl", Setsid "setsid",
        MountSetattr "mount_setattr", MoveMount "move_mount", Openat2 "openat2", Mkdirat "mkdirat",
        Fsopen "fsopen", Fsconfig "fsconfig", Fsmount "fsmount", Mknodat "mknodat", Fchownat "fchownat",
        Symlinkat "symlinkat", Ioctl "ioctl", Sendmsg "sendmsg", Read "read", OpenTree "open_tree",
        Dup3 "dup3", Fchdir "fchdir", PivotRoot "pivot_root", Umount2 "umount2", Chdir "chdir",
        Sethostname "sethostname", Setdomainname "setdomainname", Fstatfs "fstatfs", Write "write",
        Fstat "fstat", Prlimit64 "prlimit64", Prctl "prctl", Seccomp "seccomp", Setgroups "setgroups",
        Setresgid "setresgid", Setresuid "setresuid", Capset "capset", Getcwd "getcwd", Accept4 "accept4",
        CloseRange "close_range", Execve "execve", FindProgram "looking for the program", Mmap "mmap",
        Unlinkat "unlinkat", Openat "openat", Slot "slot", Fchown "fchown", Sigaction "rt_sigaction",
        Setns "setns", Clone3 "clone3", PidfdOpen "pidfd_open", SchedSetattr "sched_setattr",
        IoprioSet "ioprio_set", Personality "personality", SetMempolicy "set_mempolicy", Chroot "chroot",
        Hook "running the hook", Fspick "fspick", Getdents64 "getdents64", Readlinkat "readlinkat",
        Fchmod "fchmod", MemfdCreate "memfd_create", Recvmsg "recvmsg",
        SchedSetaffinity "sched_setaffinity", HookTimeout "waiting for the hook", Mount "mount",
        Utimensat "utimensat", Pipe2 "pipe2", Clone "clone",
    }
}

/// The role of a slot, as the table has it.
macro_rules! role {
    (reads) => {
        Role::Reads
    };
    (fills) => {
        Role::Fills
    };
    (takes) => {
        Role::Takes
    };
    (takes unless $kept:ident) => {
        if *$kept { Role::Reads } else { Role::Takes }
    };
}

macro_rules! steps {
    ($(
        $( #[$doc:meta] )*
        $method:ident: $name:ident { $( $field:ident: $kind:ty $( [$role:ident $( unless $kept:ident )?] )?, )* }
    )*) => {
        /// One thing that init does. The doc of each variant names its system calls, its source, and what an
        /// attacker could try.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the operands are named in the doc of their step")]
        #[non_exhaustive]
        pub enum Step<S, B> {
            $( $( #[$doc] )* $name { $( $field: $kind, )* }, )*
        }

        /// The names of all steps, in the order of the table.
        #[cfg(not(corten_freestanding))]
        pub const STEP_NAMES: &[&str] = &[ $( stringify!($name), )* ];

        /// Tells one table from another: programs of other builds are refused.
        pub(crate) const FINGERPRINT: u16 = fingerprint(concat!($(
            stringify!($name), "{", $( stringify!($field), ":", stringify!($kind), ",", )* "}",
        )*));

        /// The steps' numbers on the wire.
        #[allow(non_upper_case_globals, reason = "named as the steps")]
        mod number {
            enum Place { $( $name, )* }
            $( pub(super) const $name: u16 = Place::$name as u16; )*
        }

        #[allow(private_bounds, reason = "the operand types are closed: a plan's and a program's")]
        #[allow(unused_variables, reason = "there are steps without operands, and without slots")]
        impl<S: Operand, B: AsRef<[u8]>> Step<S, B> {
            /// Returns the step's number on the wire.
            pub(crate) fn number(&self) -> u16 {
                match self { $( Self::$name { .. } => number::$name, )* }
            }

            /// Returns the step's name.
            pub fn name(&self) -> &'static str {
                match self { $( Self::$name { .. } => stringify!($name), )* }
            }

            /// Calls `visit` with the name and the value of each operand, in order. The alternate form
            /// (`{:#}`) of a value is one word of a line.
            pub fn operands(&self, visit: &mut dyn FnMut(&'static str, &dyn fmt::Display)) {
                match self { $( Self::$name { $( $field, )* } => { $( visit(stringify!($field), &Printed($field)); )* } )* }
            }

            /// Calls `visit` with each slot that the step names: the operand's name, the slot, and what the
            /// step does with it. In the order of the operands. [`Step::CloseFiles`] empties all slots but
            /// those that it reads.
            pub fn slots(&self, visit: &mut dyn FnMut(&'static str, Slot, Role)) {
                match self { $( Self::$name { $( $field, )* } => {
                    $( $( $field.slots(&mut |slot| visit(stringify!($field), slot, role!($role $( unless $kept )?))); )? )*
                } )* }
            }

            /// Appends the operands' wire form; `None` if one is too long.
            #[cfg(not(corten_freestanding))]
            pub(crate) fn write(&self, out: &mut Vec<u8>) -> Option<()> {
                match self { $( Self::$name { $( $field, )* } => { $( $field.write(out)?; )* } )* }
                Some(())
            }
        }

        impl<'a> WireStep<'a> {
            /// Reads the operands of the step of this number; `None` if there is no such step.
            pub(crate) fn read(number: u16, from: &mut Reader<'a>) -> Option<Self> {
                Some(match number {
                    $( number::$name => Self::$name { $( $field: Wire::read(from), )* }, )*
                    _ => return None,
                })
            }
        }

        // Slots have a role in the table, and nothing else has.
        const _: () = {
            type S = &'static CStr;
            type B = &'static [u8];
            $( $( assert!(<$kind as Operand>::NAMES_SLOTS == !matches!(stringify!($( $role )?).as_bytes(), b"")); )* )*
        };
    };
}

step_table!(steps);

/// FNV-1a, folded.
const fn fingerprint(text: &str) -> u16 {
    let (bytes, mut hash, mut at) = (text.as_bytes(), 0x811c_9dc5_u32, 0);
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    let [a, b, c, d] = hash.to_le_bytes();
    u16::from_le_bytes([a ^ c, b ^ d])
}
