//! Detached mounts of the caller's namespace.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
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

/// Makes a detached copy of what is mounted at `path`: `open_tree(OPEN_TREE_CLONE)`. The path is resolved
/// once, here.
pub(crate) fn open_tree(path: &Path, how: OpenTree) -> Result<OwnedFd, SysError> {
    let call = || open_tree_call(path, how);
    let text = CString::new(path.as_os_str().as_bytes()).map_err(|_| SysError::new(Errno::EINVAL, call))?;
    let link = if how.link_itself { libc::AT_SYMLINK_NOFOLLOW } else { 0 };
    clone_tree_at(libc::AT_FDCWD, &text, how.recursion() | link).map_err(|errno| SysError::new(errno, call))
}

/// The same of what has been opened by this path.
pub(crate) fn clone_opened(file: impl AsFd, path: &Path, how: OpenTree) -> Result<OwnedFd, SysError> {
    let flags = libc::AT_EMPTY_PATH | how.recursion();
    clone_tree_at(file.as_fd().as_raw_fd(), c"", flags)
        .map_err(|errno| SysError::new(errno, || open_tree_call(path, how)))
}

fn open_tree_call(path: &Path, how: OpenTree) -> String {
    let flags = if how.recursive { "OPEN_TREE_CLONE|AT_RECURSIVE" } else { "OPEN_TREE_CLONE" };
    format!("open_tree({path:?}, {flags})")
}

impl OpenTree {
    fn recursion(self) -> i32 {
        if self.recursive { libc::AT_RECURSIVE } else { 0 }
    }
}

/// Makes a detached copy of the mount that an open directory is on, with that directory as its root.
pub(crate) fn clone_tree(directory: impl AsFd) -> Result<OwnedFd, SysError> {
    clone_tree_at(directory.as_fd().as_raw_fd(), c"", libc::AT_EMPTY_PATH)
        .map_err(|errno| SysError::new(errno, || "open_tree(fd, OPEN_TREE_CLONE)".to_owned()))
}

fn clone_tree_at(directory: RawFd, path: &CStr, flags: i32) -> nix::Result<OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | flags.cast_unsigned();
    // SAFETY: `path` ends with NUL and outlives the call; a number that is no fd is an error of the call.
    let result = unsafe { libc::syscall(libc::SYS_open_tree, directory, path.as_ptr(), flags) };
    let fd = i32::try_from(Errno::result(result)?).map_err(|_| Errno::EBADF)?;
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
