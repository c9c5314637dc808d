//! What a plan needs to know of the host, and of a container that is joined.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::seccomp::Filter;

/// What the plan needs to know of the host. Probed before, so that planning stays pure.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// Where the container's cgroups are to be; empty if it gets none.
    pub(crate) cgroups: corten_cgroup::Location,
    /// Controllers that are in v1 hierarchies.
    pub(crate) legacy_controllers: corten_cgroup::LegacyControllers,
    /// v1 hierarchies of a hybrid machine that a mount of type `cgroup` shows; empty on pure v2.
    pub(crate) legacy: Vec<LegacyHierarchy>,
    /// Links beside the hierarchies: name and target.
    pub(crate) legacy_links: Vec<(String, String)>,
    /// The version of the systemd that makes the cgroups, as 252.
    pub(crate) systemd_version: Option<u32>,
    /// The compiled seccomp filter.
    pub(crate) seccomp: Option<Filter>,
    /// The runtime may mount in its own user namespace (CAP_SYS_ADMIN), so that it opens what init is to
    /// mount.
    pub(crate) privileged: bool,
    /// The capabilities that the runtime may give away, as bits.
    pub(crate) capabilities: u64,
    /// The runtime is not root of the whole machine.
    pub(crate) rootless: bool,
    /// Device nodes can be made: CAP_MKNOD in the first user namespace.
    pub(crate) may_mknod: bool,
    /// The kernel has AppArmor, and it is enabled. Looked at only if the config names a profile.
    pub(crate) apparmor: bool,
    /// The kernel has SELinux, and it is enabled. Looked at only if the config names a label.
    pub(crate) selinux: bool,
    /// Sources of mounts (by their position) that are symbolic links to copy, with where they lead.
    pub(crate) links: BTreeMap<usize, PathBuf>,
    /// Where the socket for sd_notify(3) will be on the host, if there is to be one.
    pub(crate) notify_directory: Option<PathBuf>,
    /// How init gets a mount namespace without the caller's mounts, if it can.
    pub(crate) empty_namespace: Option<EmptyNamespace>,
    /// Where [`EmptyNamespace::Template`] could be and is not.
    pub(crate) missing_template: Option<PathBuf>,
    /// Trees must come from a copy of the caller's mount namespace: a mount namespace is mounted below one of
    /// them.
    pub(crate) copies_mounts: bool,
    /// Init can find its own mount namespace again: `PIDFD_GET_MNT_NAMESPACE` (Linux 6.11).
    pub(crate) finds_own_mounts: bool,
    /// The caller's fds that the program gets.
    pub(crate) preserved_fds: PreservedFds,
}

/// Fds of the caller's that the program gets under their numbers, from 3 on, with gaps between them. What the
/// runtime and init open lies in the gaps as well, and must be gone when the program is executed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PreservedFds {
    /// How many numbers from 3 to the last of them.
    pub(crate) span: u32,
    /// The first and the last number of each gap.
    pub(crate) gaps: Vec<[u32; 2]>,
}

impl PreservedFds {
    /// `fds`: in order, each at least 3.
    pub(crate) fn new(fds: impl IntoIterator<Item = u32>) -> Self {
        let (mut next, mut gaps) = (3, Vec::new());
        for fd in fds {
            if fd > next {
                gaps.push([next, fd - 1]);
            }
            next = fd + 1;
        }
        Self { span: next - 3, gaps }
    }

    /// The first number after them.
    pub(crate) fn end(&self) -> u32 {
        3 + self.span
    }
}

/// How a mount namespace comes about that has none of the caller's mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EmptyNamespace {
    /// The kernel makes it: `UNSHARE_EMPTY_MNTNS` (Linux 7.1).
    Empty,
    /// As a copy of the one in this file, which has an empty directory and nothing else.
    Template(PathBuf),
}

/// A v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LegacyHierarchy {
    /// Name of its directory.
    pub(crate) name: String,
    /// What the `cgroup` filesystem is mounted with.
    pub(crate) options: Vec<String>,
    /// Path on the host of the cgroup that the container is in.
    pub(crate) path: PathBuf,
    /// It is the container's own, and not the caller's.
    pub(crate) is_own: bool,
}

/// What a plan needs to know of a container that a process joins, and how it is to join it.
#[derive(Debug, Clone)]
pub(crate) struct JoinFacts {
    /// The namespaces that init is in and the runtime is not: `CLONE_NEW*`.
    pub(crate) namespaces: u64,
    /// The process is to be in the cgroup of init if that of the container takes no processes.
    pub(crate) follows_init: bool,
    /// How it comes into the container's cgroups.
    pub(crate) way_in: WayIn,
    /// The cgroup below the container's that it is to be in, for systemd; empty for the container's own.
    pub(crate) below_unit: String,
    /// The files that put it into the container's resctrl groups.
    pub(crate) resctrl: Vec<PathBuf>,
}

/// How a process comes into the cgroups of the container that it joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WayIn {
    /// It goes on in a clone that is there from the beginning: cgroup v2.
    Cloned,
    /// It is moved, before it does anything.
    Moved,
    /// The same, but that the cgroup that counts processes comes when it clones itself no more: a move may go
    /// beyond the limit, a clone may not.
    CountedLast,
}

#[cfg(test)]
impl Facts {
    /// Those of root on a machine with pure cgroup v2, for tests of plans.
    pub(crate) fn of_root() -> Self {
        Self {
            cgroups: corten_cgroup::Location::default(),
            legacy_controllers: corten_cgroup::LegacyControllers::none(),
            legacy: Vec::new(),
            legacy_links: Vec::new(),
            systemd_version: None,
            seccomp: None,
            privileged: true,
            capabilities: u64::MAX,
            rootless: false,
            may_mknod: true,
            apparmor: true,
            selinux: true,
            links: BTreeMap::new(),
            notify_directory: None,
            empty_namespace: None,
            missing_template: None,
            copies_mounts: false,
            finds_own_mounts: false,
            preserved_fds: PreservedFds::default(),
        }
    }
}
