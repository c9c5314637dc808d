//! Detached mounts of the caller's namespace.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use super::SysError;

/// How a tree is copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OpenTree {
    /// The mount and all below, not the one mount alone.
    pub(crate) recursive: bool,
    /// A link under the last name is the object itself.
    pub(crate) link_itself: bool,
}

/// Makes a detached copy of what is mounted at `path`: `open_tree(OPEN_TREE_CLONE)`. The path is resolved once, here.
pub(crate) fn open_tree(path: &Path, how: OpenTree) -> Result<OwnedFd, SysError> {
    let call = || {
        let flags = if how.recursive { "OPEN_TREE_CLONE|AT_RECURSIVE" } else { "OPEN_TREE_CLONE" };
        format!("open_tree({path:?}, {flags})")
    };
    let text = std::ffi::CString::new(path.as_os_str().as_bytes()).map_err(|_| SysError::new(Errno::EINVAL, call))?;
    let recursive = if how.recursive { libc::AT_RECURSIVE.cast_unsigned() } else { 0 };
    let link = if how.link_itself { libc::AT_SYMLINK_NOFOLLOW.cast_unsigned() } else { 0 };
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | recursive | link;
    // SAFETY: `text` ends with NUL and outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, text.as_ptr(), flags) };
    let fd = Errno::result(result).map_err(|errno| SysError::new(errno, call))?;
    let fd = i32::try_from(fd).map_err(|_| SysError::new(Errno::EBADF, call))?;
    // SAFETY: the kernel just made this fd and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Maps the ids of a detached tree as the user namespace does: `mount_setattr(MOUNT_ATTR_IDMAP)`.
pub(crate) fn map_tree(tree: impl AsFd, namespace: impl AsFd, recursive: bool) -> Result<(), SysError> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::from(namespace.as_fd().as_raw_fd().cast_unsigned()),
    };
    // SAFETY: the path is an empty constant string; the structure has the size given and outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    Errno::result(result)
        .map(drop)
        .map_err(|errno| SysError::new(errno, || "mount_setattr(MOUNT_ATTR_IDMAP)".to_owned()))
}
