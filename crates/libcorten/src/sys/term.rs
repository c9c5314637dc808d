//! What nix lacks of terminals (ioctl_tty(2)).

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use super::SysError;

/// A window size, in character cells and pixels (ioctl_tty(2)).
pub(crate) type Size = libc::winsize;

/// Returns the size of the terminal: `TIOCGWINSZ`.
pub(crate) fn window_size(terminal: impl AsFd) -> Result<Size, SysError> {
    let mut size = Size { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request writes one winsize, and `size` is one and outlives the call.
    let result = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    Errno::result(result)
        .map(|_| size)
        .map_err(|errno| SysError::new(errno, || "ioctl(TIOCGWINSZ)".to_owned()))
}

/// Sets the size of the terminal: `TIOCSWINSZ`. The other end's foreground processes get SIGWINCH.
pub(crate) fn set_window_size(terminal: impl AsFd, size: &Size) -> Result<(), SysError> {
    // SAFETY: the request reads one winsize, and `size` is one and outlives the call.
    let result = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw const *size) };
    Errno::result(result).map(drop).map_err(|errno| SysError::new(errno, || "ioctl(TIOCSWINSZ)".to_owned()))
}

/// Opens the other end of a pseudo-terminal: `TIOCGPTPEER`. It does not become the controlling terminal.
pub(crate) fn peer(master: impl AsFd) -> Result<OwnedFd, SysError> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the request takes flags of open(2) by value, and no pointer.
    let result = unsafe { libc::ioctl(master.as_fd().as_raw_fd(), libc::TIOCGPTPEER, flags) };
    let fd =
        Errno::result(result).map_err(|errno| SysError::new(errno, || "ioctl(TIOCGPTPEER)".to_owned()))?;
    // SAFETY: the kernel has just made this fd for this process, and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
