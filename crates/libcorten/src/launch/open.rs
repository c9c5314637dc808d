//! What the runtime opens for init, in the caller's namespaces. Each path is resolved once, but for a source
//! that cannot be copied where it was found: what is found in its place is looked at like the first.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::stat::{SFlag, fstat, stat};
use nix::unistd::Pid;

use super::id_maps::{self, IdMapError};
use super::locked_flags;
use crate::oci::LinuxNamespaceType;
use crate::plan::{IdMapSource, LockedFlags};
use crate::spec::namespace_name;
use crate::sys::{self, Call, OpenTree, SysError};

/// Opens a tree; with `directory`, it must be one, and not the host's own root. What is asked of `locked`
/// flags is refused if the source has them.
pub(super) fn tree(
    source: &Path,
    how: OpenTree,
    directory: bool,
    locked: Option<LockedFlags>,
) -> Result<OwnedFd, SysError> {
    let tree = match locked {
        Some(locked) => locked_flags::tree(source, how, locked)?,
        None => clone(source, how)?,
    };
    if directory {
        let found = fstat(&tree).map_err(|errno| SysError::new(errno, || format!("fstat({source:?})")))?;
        if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT != SFlag::S_IFDIR {
            return Err(SysError::new(Errno::ENOTDIR, || format!("open_tree({source:?})")));
        }
        // Whatever way the path took there: a container on the host's own root would be none.
        let host = stat("/").map_err(|errno| SysError::new(errno, || Call::stat("/")))?;
        if (found.st_dev, found.st_ino) == (host.st_dev, host.st_ino) {
            return Err(SysError::new(Errno::EINVAL, || format!("{source:?} is the root of the host")));
        }
    }
    Ok(tree)
}

/// Copies what is mounted at a path.
pub(super) fn clone(source: &Path, how: OpenTree) -> Result<OwnedFd, SysError> {
    or_of_slave(|| sys::open_tree(source, how))
}

/// Does what opens a tree, again where the mount namespace is a slave of the caller's if that is what it
/// takes: there what the host has made unbindable can be copied. runc and crun begin with one.
pub(super) fn or_of_slave(open: impl Fn() -> Result<OwnedFd, SysError> + Sync) -> Result<OwnedFd, SysError> {
    match open() {
        Err(error) if error.errno.0 == Errno::EINVAL => {
            match sys::in_a_thread(|| enter_slave().then(&open)) {
                Ok(Some(opened)) => opened,
                _ => Err(error),
            }
        }
        opened => opened,
    }
}

/// Goes on in a mount namespace that is a slave of the caller's.
fn enter_slave() -> bool {
    let flags = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_SLAVE;
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)
        .and_then(|()| nix::mount::mount(None::<&str>, "/", None::<&str>, flags, None::<&str>))
        .is_ok()
}

/// Opens a device as a detached mount, checked: what the host has at the path must be this one.
pub(super) fn device(path: &Path, kind: u32, major: u64, minor: u64) -> Result<OwnedFd, SysError> {
    let tree = clone(path, OpenTree::default())?;
    let found = fstat(&tree).map_err(|errno| SysError::new(errno, || format!("fstat({path:?})")))?;
    let same_kind = found.st_mode & libc::S_IFMT == kind;
    if same_kind && found.st_rdev == nix::sys::stat::makedev(major, minor) {
        return Ok(tree);
    }
    let letter = if kind == libc::S_IFBLK { "block" } else { "char" };
    Err(SysError::new(Errno::ENODEV, || format!("{} is not {letter} {major}:{minor}", path.display())))
}

/// Opens a namespace of a process.
pub(super) fn namespace_of(pid: Pid, kind: LinuxNamespaceType) -> Result<OwnedFd, SysError> {
    open(Path::new(&format!("/proc/{pid}/ns/{kind}")), 0).map(OwnedFd::from)
}

/// Opens a namespace of this type.
pub(super) fn namespace(
    path: &Path,
    kind: LinuxNamespaceType,
    flag: u64,
    foreign: bool,
) -> Result<OwnedFd, SysError> {
    // Looked at before it is opened for good: opening a fifo or a device of that name could wait or do
    // something.
    let look = open(path, libc::O_PATH)?;
    if !sys::is_namespace(&look)? {
        return Err(SysError::new(Errno::EINVAL, || format!("{path:?} is not a namespace")));
    }
    let namespace = open(&sys::path_by_fd(&look), 0)?;
    if sys::namespace_flag(&namespace)? != flag {
        return Err(SysError::new(Errno::EINVAL, || {
            format!("{path:?} is not a {} namespace", namespace_name(kind))
        }));
    }
    if foreign && is_hosts(&namespace, kind)? {
        let text = || {
            format!("{path:?} is the host's {} namespace, in which nothing may be set", namespace_name(kind))
        };
        return Err(SysError::new(Errno::EPERM, text));
    }
    Ok(namespace.into())
}

/// Whether it is the runtime's own namespace of this type, or that of the first process, which is the host's
/// wherever the runtime itself is.
fn is_hosts(namespace: &File, kind: LinuxNamespaceType) -> Result<bool, SysError> {
    let identity = |found: nix::sys::stat::FileStat| (found.st_dev, found.st_ino);
    let theirs = fstat(namespace).map_err(|errno| SysError::new(errno, || "fstat(namespace)".to_owned()))?;
    let own = format!("/proc/self/ns/{kind}");
    let ours = stat(own.as_str()).map_err(|errno| SysError::new(errno, || Call::stat(&own)))?;
    // Whoever may not look at the first process may not join its namespaces either.
    let first = stat(format!("/proc/1/ns/{kind}").as_str());
    Ok(identity(theirs) == identity(ours) || first.is_ok_and(|first| identity(first) == identity(theirs)))
}

/// Opens the host's procfs.
pub(super) fn host_proc() -> Result<OwnedFd, SysError> {
    let directory = open(Path::new("/proc"), libc::O_PATH | libc::O_DIRECTORY)?;
    let found = nix::sys::statfs::fstatfs(&directory)
        .map_err(|errno| SysError::new(errno, || "fstatfs(\"/proc\")".to_owned()))?;
    if found.filesystem_type() == nix::sys::statfs::PROC_SUPER_MAGIC {
        Ok(directory.into())
    } else {
        Err(SysError::new(Errno::ENODEV, || "/proc is no procfs".to_owned()))
    }
}

/// Opens the root directory of a process, which must still be alive then.
pub(super) fn root_of(pid: i32, pidfd: impl AsFd) -> Result<OwnedFd, SysError> {
    let path = format!("/proc/{pid}/root");
    let directory = open(Path::new(&path), libc::O_PATH | libc::O_DIRECTORY)?;
    if sys::wait_ended(pidfd, Duration::ZERO)? {
        return Err(SysError::new(Errno::ESRCH, || Call::open(&path)));
    }
    Ok(directory.into())
}

/// Maps the ids of a tree, which this field asks for.
pub(super) fn map_tree(
    tree: impl AsFd,
    field: &str,
    maps: &IdMapSource,
    recursive: bool,
) -> Result<(), IdMapError> {
    let failed = |source: SysError| IdMapError::Call { field: field.to_owned(), source };
    let namespace = match maps {
        IdMapSource::Maps { uids, gids } => id_maps::namespace(field, uids, gids)?,
        IdMapSource::Namespace { path } => {
            let kind = LinuxNamespaceType::User;
            let flag = u64::from(libc::CLONE_NEWUSER.cast_unsigned());
            namespace(path, kind, flag, false).map_err(failed)?
        }
    };
    sys::map_tree(tree, namespace, recursive).map_err(|error| match error.errno.0 {
        Errno::EINVAL => {
            let hint = "mount_setattr(MOUNT_ATTR_IDMAP) (maybe the filesystem cannot map ids on this kernel)";
            failed(SysError::new(Errno::EINVAL, || hint.to_owned()))
        }
        _ => failed(error),
    })
}

fn open(path: &Path, flags: i32) -> Result<File, SysError> {
    let opened =
        OpenOptions::new().read(true).custom_flags(flags | libc::O_NOCTTY | libc::O_NONBLOCK).open(path);
    opened.map_err(|error| SysError::from_io(&error, || Call::open(path)))
}
