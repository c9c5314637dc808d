//! What can be decided: each decision with its answers, what they mean, and their words in `corten plan`.

use std::path::PathBuf;

macro_rules! decisions {
    ($( $(#[$doc:meta])* $name:ident { $( $(#[$answer_doc:meta])* $answer:ident $words:literal, )* } )*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name {
            $( $(#[$answer_doc])* $answer, )*
        }

        impl $name {
            /// Returns the answer in words.
            pub(super) fn words(self) -> &'static str {
                match self { $( Self::$answer => $words, )* }
            }
        }
    )* };
}

decisions! {
    /// How the process comes into the container's cgroups.
    CgroupEntry {
        /// It stays in those of the caller.
        None "none",
        /// It is cloned into them.
        ClonedInto "cloned into them",
        /// It goes on in a clone that is in them.
        GoesOnInClone "goes on in a clone that is in them",
        /// It is moved before it does anything: cgroups of v1 and of systemd.
        Moved "moved before it does anything",
        /// The same, but that the cgroup that counts processes comes when it clones itself no more.
        CountedLast "moved, and counted after its last clone",
    }

    /// What mounts of type `cgroup` show.
    CgroupMounts {
        /// There are none.
        None "none",
        /// One mount for each hierarchy of v1.
        Hierarchies "the hierarchies of v1",
        /// A new mount of cgroup2, as the cgroup namespace shows it.
        New "new",
        /// A bind mount of the caller's: a runtime that is not root of the machine may not mount the host's
        /// cgroups, and may have none to make the container's in (runc). Or a user namespace whose container
        /// has no cgroup of its own to show.
        Callers "the caller's",
        /// A bind mount of the container's own cgroup: without a cgroup namespace of its own a user namespace
        /// cannot mount cgroups.
        Own "the container's own cgroup",
    }

    /// The user namespace of the process.
    UserNamespace {
        /// The runtime's own.
        Same "the runtime's",
        /// A new one.
        New "new",
        /// One that exists already.
        Joined "joined",
    }

    /// Who makes the network namespace of the process.
    NetworkNamespace {
        /// Nobody: the runtime's own.
        Same "the runtime's",
        /// Nobody: one that exists already.
        Joined "joined",
        /// The runtime, with its loopback device, while it does other things.
        ByRuntime "new, by the runtime",
        /// Init, as it belongs to its user namespace, or as the runtime may not.
        ByInit "new, by init",
    }

    /// When a process that joins a container appears in its PID namespace.
    Appearance {
        /// With the other namespaces.
        First "with the other namespaces",
        /// When it has nothing left that processes there have not.
        Last "last",
    }

    /// How the container's root becomes that of the process.
    RootMethod {
        /// `pivot_root(2)`: in a mount namespace that has the caller's mounts, which go.
        Pivot "pivot_root",
        /// `chroot(2)`, over an empty directory: below it is nothing that would have to go.
        Move "chroot over an empty root",
        /// `chroot(2)`, over the host's root: asked for, for a host whose root is the initramfs.
        MoveOverHost "chroot over the host's root",
        /// `chroot(2)` into a tree that is mounted nowhere.
        Detached "chroot into a detached tree",
        /// It is the root of the mount namespace that the process joins.
        Joined "that of the mount namespace",
    }

    /// Who opens the sources of bind mounts. Those that must be mapped or are of a process the runtime opens,
    /// where it may.
    Sources {
        /// There are none.
        None "none",
        /// Init, each in its turn: its paths are the caller's until its root changes.
        Init "init",
        /// Init, each in its turn, on visits to the caller's mount namespace.
        InitVisiting "init, on visits",
        /// Init, before all mounts: a runtime without privileges may not.
        InitFirst "init, before all mounts",
        /// The runtime, while init works.
        Runtime "the runtime",
    }

    /// Where init has a procfs from that is not the container's.
    Procfs {
        /// It needs none.
        None "none",
        /// It makes one.
        Own "init's own",
        /// The runtime gives it the host's: it needs one early, or may make none.
        Hosts "the host's",
    }

    /// When devices are restricted.
    DeviceFilter {
        /// They are not: there is no cgroup, or a process joins one that is restricted.
        None "none",
        /// Before the runtime's hooks, which may add to it.
        BeforeHooks "before hooks",
        /// While init works: it waits only where it is about to open files of the container's root.
        WhileInitWorks "while init works",
        /// When init has made its nodes and mounts, and waits.
        AfterMounts "after nodes and mounts",
    }

    /// When the seccomp filter is loaded: as late as it can be.
    SeccompFilter {
        /// There is none.
        None "none",
        /// Before capabilities are given up: loading needs CAP_SYS_ADMIN, or there is a listener, and the
        /// runtime must still be there to hand it on.
        Early "before capabilities are given up",
        /// Before the startContainer hooks: they may do what the process may, and no more.
        BeforeHooks "before startContainer hooks",
        /// Right before the exec.
        Last "right before the exec",
    }
}

/// How the mount namespace of the process comes about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MountNamespace {
    /// The runtime's own: the root is a tree that is mounted nowhere.
    Same,
    /// One that exists already.
    Joined,
    /// As a copy of the caller's.
    Copied,
    /// Made empty by the kernel.
    Empty,
    /// As a copy of the one in this file, which has an empty directory and nothing else.
    CopiedEmpty(PathBuf),
}

impl MountNamespace {
    /// Returns the answer in words.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Same => "the runtime's".to_owned(),
            Self::Joined => "joined".to_owned(),
            Self::Copied => "a copy of the caller's".to_owned(),
            Self::Empty => "empty".to_owned(),
            Self::CopiedEmpty(path) => format!("a copy of the empty one at {}", path.display()),
        }
    }

    /// Whether none of the caller's mounts are in it.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty | Self::CopiedEmpty(_))
    }
}
