//! Files of namespaces (ioctl_nsfs(2)).

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

use super::SysError;

/// Whether the file is a namespace.
pub(crate) fn is_namespace(file: impl AsFd) -> Result<bool, SysError> {
    let stat =
        nix::sys::statfs::fstatfs(file).map_err(|errno| SysError::new(errno, || "fstatfs".to_owned()))?;
    // The filesystem that namespaces are files of.
    Ok(stat.filesystem_type() == nix::sys::statfs::NSFS_MAGIC)
}

/// Returns the `CLONE_NEW*` of a namespace.
pub(crate) fn namespace_flag(namespace: impl AsFd) -> Result<u64, SysError> {
    /// `_IO(0xb7, 0x3)`.
    const NS_GET_NSTYPE: u64 = 0xb703;
    // SAFETY: the request takes no argument; the result is a number.
    let result = unsafe { libc::syscall(libc::SYS_ioctl, namespace.as_fd().as_raw_fd(), NS_GET_NSTYPE, 0) };
    let flag =
        Errno::result(result).map_err(|errno| SysError::new(errno, || "ioctl(NS_GET_NSTYPE)".to_owned()))?;
    Ok(u64::try_from(flag).unwrap_or(0))
}
