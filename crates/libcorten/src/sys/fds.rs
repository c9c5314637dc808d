//! File descriptors of any kind: numbers that come from outside, and waiting for one.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::SysError;

/// Whether a number is a file descriptor that a program executed now would inherit: open, and not
/// close-on-exec.
pub(crate) fn is_inherited(fd: RawFd) -> bool {
    // SAFETY: F_GETFD takes no pointer and changes nothing, whatever the number is.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags != -1 && flags & libc::FD_CLOEXEC == 0
}

/// The fds of these numbers that a program executed now would inherit, in order.
pub(crate) fn inherited(numbers: Range<u32>) -> Result<Vec<u32>, SysError> {
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    let failed = |error: &io::Error| SysError::from_io(error, || "readdir(/proc/self/fd)".to_owned());
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").map_err(|error| failed(&error))? {
        let name = entry.map_err(|error| failed(&error))?.file_name();
        found.extend(name.to_str().and_then(|name| name.parse().ok()).filter(|fd| numbers.contains(fd)));
    }
    found.retain(|fd| is_inherited(fd.cast_signed()));
    found.sort_unstable();
    Ok(found)
}

/// A path by which what is open can be named: procfs's link.
pub(crate) fn path_by_fd(fd: impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

/// Makes a copy of an fd that the caller's caller named by its number, and that must be one that a program
/// executed now would inherit: no fd of this process's own.
pub(crate) fn copy_inherited(fd: RawFd) -> Result<OwnedFd, Errno> {
    if !is_inherited(fd) {
        return Err(Errno::EBADF);
    }
    // SAFETY: it is open, as was just seen, and the borrow ends with the copy.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    fd.try_clone_to_owned().map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
}

/// Waits with poll(2) until there is something to read, or the end; false if neither comes by the deadline.
pub(crate) fn wait_readable(fd: impl AsFd, deadline: Duration) -> Result<bool, Errno> {
    Ok(wait_any(&[fd.as_fd()], deadline)?.is_some())
}

/// Waits until the other end of a socket has been closed, whatever there is to read before, or until there is
/// something to read from `other` (1); `None` if nothing comes by the deadline.
pub(crate) fn wait_hung_up(
    socket: impl AsFd,
    other: Option<BorrowedFd<'_>>,
    deadline: Duration,
) -> Result<Option<usize>, Errno> {
    let other = other.map(|other| (other, PollFlags::POLLIN));
    let events: Vec<_> = std::iter::once((socket.as_fd(), PollFlags::empty())).chain(other).collect();
    wait_for(&events, deadline)
}

/// Waits until something can be written, or nobody reads any more (0), or until there is something to read
/// from `other` (1); `None` if nothing comes by the deadline.
pub(crate) fn wait_writable(
    fd: impl AsFd,
    other: Option<BorrowedFd<'_>>,
    deadline: Duration,
) -> Result<Option<usize>, Errno> {
    let other = other.map(|other| (other, PollFlags::POLLIN));
    let events: Vec<_> = std::iter::once((fd.as_fd(), PollFlags::POLLOUT)).chain(other).collect();
    wait_for(&events, deadline)
}

/// Waits until there is something to read from one of these, or its end; says from which, the first if from
/// several. `None` if nothing comes by the deadline.
pub(crate) fn wait_any(fds: &[BorrowedFd<'_>], deadline: Duration) -> Result<Option<usize>, Errno> {
    let events: Vec<_> = fds.iter().map(|fd| (*fd, PollFlags::POLLIN)).collect();
    wait_for(&events, deadline)
}

/// Waits for one of these; says which.
fn wait_for(events: &[(BorrowedFd<'_>, PollFlags)], deadline: Duration) -> Result<Option<usize>, Errno> {
    // A deadline that no clock reaches is none.
    let end = Instant::now().checked_add(deadline);
    loop {
        let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
        let mut fds: Vec<_> = events.iter().map(|(fd, event)| PollFd::new(*fd, *event)).collect();
        match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(0) if left.is_zero() => return Ok(None),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(fds.iter().position(|fd| fd.any() == Some(true))),
            Err(errno) => return Err(errno),
        }
    }
}

/// Takes an fd that came with a message (`SCM_RIGHTS`).
pub(crate) fn adopt_received(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made this fd for this process while receiving, and the caller of recvmsg
    // has it from the control message alone.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
