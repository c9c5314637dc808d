//! Handing fds to others over their sockets: the terminal (`--console-socket`), the filter's listener
//! (`listenerPath`), init's pidfd (`--pidfd-socket`).

use std::io::{IoSlice, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::sockopt::SendTimeout;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg, setsockopt,
    socket,
};
use nix::sys::time::TimeVal;

use crate::sys::SysError;

/// How many seconds a receiver may let the runtime wait, once to take the connection, and for each part of
/// the data.
const DEADLINE_SECONDS: i64 = 10;

/// Connects to whoever listens at `path` and sends data with one fd; then the connection is closed. The fd
/// comes with the first bytes, however long the data is.
pub(super) fn send(path: &Path, data: &[u8], fd: BorrowedFd<'_>) -> Result<(), SysError> {
    // What a socket with a time limit says when it is over.
    let late = |errno| if errno == Errno::EAGAIN { Errno::ETIMEDOUT } else { errno };
    let failed = |call: &'static str| move |errno| SysError::new(late(errno), || format!("{call}({path:?})"));
    let address = UnixAddr::new(path).map_err(failed("connect"))?;
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
        .map_err(failed("socket"))?;
    setsockopt(&socket, SendTimeout, &TimeVal::new(DEADLINE_SECONDS, 0)).map_err(failed("setsockopt"))?;
    connect(socket.as_raw_fd(), &address).map_err(failed("connect"))?;
    let (fds, whole) = ([fd.as_raw_fd()], [IoSlice::new(data)]);
    let control = [ControlMessage::ScmRights(&fds)];
    let sent = sendmsg::<()>(socket.as_raw_fd(), &whole, &control, MsgFlags::MSG_NOSIGNAL, None)
        .map_err(|errno| SysError::new(late(errno), || format!("sendmsg({path:?}, SCM_RIGHTS)")))?;
    let rest = data.get(sent..).unwrap_or_default();
    UnixStream::from(socket).write_all(rest).map_err(|error| {
        let errno = Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
        failed("write")(errno)
    })
}
