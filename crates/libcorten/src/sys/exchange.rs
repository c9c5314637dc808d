//! Files that change places.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// Lets two files of a directory change places: `renameat2(RENAME_EXCHANGE)`.
pub(crate) fn exchange(directory: impl AsFd, one: &CStr, other: &CStr) -> nix::Result<()> {
    let fd = directory.as_fd().as_raw_fd();
    // SAFETY: both names end with NUL and outlive the call; nothing else is read or written.
    let result = unsafe {
        libc::syscall(libc::SYS_renameat2, fd, one.as_ptr(), fd, other.as_ptr(), libc::RENAME_EXCHANGE)
    };
    Errno::result(result).map(drop)
}
