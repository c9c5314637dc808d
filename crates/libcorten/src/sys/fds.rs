//! File descriptors that come from outside as mere numbers.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Whether a number is a file descriptor that a program executed now would inherit: open, and not close-on-exec.
pub(crate) fn is_inherited(fd: RawFd) -> bool {
    // SAFETY: F_GETFD takes no pointer and changes nothing, whatever the number is.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags != -1 && flags & libc::FD_CLOEXEC == 0
}

/// Takes an fd that came with a message (`SCM_RIGHTS`).
pub(crate) fn adopt_received(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made this fd for this process while receiving, and the caller of recvmsg has it from the
    // control message alone.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
