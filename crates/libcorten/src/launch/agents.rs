//! Handing fds to others over their sockets: the terminal (`--console-socket`), the filter's listener (`listenerPath`), init's
//! pidfd (`--pidfd-socket`).

use std::io::{IoSlice, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::sys::SysError;

/// Connects to whoever listens at `path` and sends data with one fd; then the connection is closed. The fd comes with the first
/// bytes, however long the data is.
pub(super) fn send(path: &Path, data: &[u8], fd: BorrowedFd<'_>) -> Result<(), SysError> {
    let mut socket =
        UnixStream::connect(path).map_err(|error| SysError::from_io(&error, || format!("connect({path:?})")))?;
    let (fds, whole) = ([fd.as_raw_fd()], [IoSlice::new(data)]);
    let control = [ControlMessage::ScmRights(&fds)];
    let sent = sendmsg::<()>(socket.as_raw_fd(), &whole, &control, MsgFlags::MSG_NOSIGNAL, None)
        .map_err(|errno| SysError::new(errno, || format!("sendmsg({path:?}, SCM_RIGHTS)")))?;
    let rest = data.get(sent..).unwrap_or_default();
    socket.write_all(rest).map_err(|error| SysError::from_io(&error, || format!("write({path:?})")))
}
