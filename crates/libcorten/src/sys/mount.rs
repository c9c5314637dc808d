//! Detached mounts of the caller's namespace.

use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use super::SysError;

/// How much of a tree is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TreeKind {
    /// One mount.
    Single,
    /// The mount and all below.
    Recursive,
}

/// Makes a detached copy of what is mounted at `path`: `open_tree(OPEN_TREE_CLONE)`. The path is resolved once, here.
pub(crate) fn open_tree(path: &Path, kind: TreeKind) -> Result<OwnedFd, SysError> {
    let call = || {
        let flags = if kind == TreeKind::Recursive { "OPEN_TREE_CLONE|AT_RECURSIVE" } else { "OPEN_TREE_CLONE" };
        format!("open_tree({path:?}, {flags})")
    };
    let text = std::ffi::CString::new(path.as_os_str().as_bytes()).map_err(|_| SysError::new(Errno::EINVAL, call))?;
    let recursive = if kind == TreeKind::Recursive { libc::AT_RECURSIVE.cast_unsigned() } else { 0 };
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | recursive;
    // SAFETY: `text` ends with NUL and outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, text.as_ptr(), flags) };
    let fd = Errno::result(result).map_err(|errno| SysError::new(errno, call))?;
    let fd = i32::try_from(fd).map_err(|_| SysError::new(Errno::EBADF, call))?;
    // SAFETY: the kernel just made this fd and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
