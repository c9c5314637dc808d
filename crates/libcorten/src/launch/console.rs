//! Handing the terminal on (`--console-socket`).
//!
//! runc: connect a stream socket, one message with the terminal's name as data and its master as the only fd, close.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::sys::SysError;

/// Sends the master to whoever listens at `path`.
pub(super) fn send(path: &Path, master: BorrowedFd<'_>) -> Result<(), SysError> {
    let socket =
        UnixStream::connect(path).map_err(|error| SysError::from_io(&error, || format!("connect({path:?})")))?;
    let (fds, data) = ([master.as_raw_fd()], [IoSlice::new(b"/dev/ptmx")]);
    let control = [ControlMessage::ScmRights(&fds)];
    sendmsg::<()>(socket.as_raw_fd(), &data, &control, MsgFlags::MSG_NOSIGNAL, None)
        .map(drop)
        .map_err(|errno| SysError::new(errno, || format!("sendmsg({path:?}, SCM_RIGHTS)")))
}
