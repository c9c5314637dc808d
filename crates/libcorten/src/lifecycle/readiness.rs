//! sd_notify(3) through the container's wall: what the container says is heard by nobody but the runtime, and
//! of all of it only `READY=1` is said again, in the runtime's own words.
//!
//! Stage: host, after the launch. Attacker: the container; what it sends is bytes of any kind, any number and
//! any size, with any fds, and none of it reaches the service manager.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::SendTimeout;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, sendmsg,
    setsockopt, socket,
};
use nix::sys::time::TimeVal;
use nix::unistd::{Pid, pipe2};

use crate::Result;
use crate::sys::{SysError, wait_readable};

/// How long the service manager may take to read what it is told: runc's time.
const MANAGER_SECONDS: u32 = 30;
/// The longest message that is read whole; sd_notify(3) has far shorter ones.
const MESSAGE_BYTES: usize = 4096;
/// How many messages are read in one go, lest a container that never stops keeps its end from being seen.
const MESSAGES_AT_ONCE: usize = 1024;

/// The runtime's end of a container's `NOTIFY_SOCKET`.
#[derive(Debug)]
pub struct Readiness {
    socket: OwnedFd,
    init: Arc<OwnedFd>,
    pid: Pid,
}

/// What became of a container's readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotifyOutcome {
    /// The container has ended without a word.
    Nothing,
    /// The service manager knows that it is ready.
    Ready,
    /// The service manager was told, and did not say within 30 seconds that it has heard.
    Unheard,
}

impl Readiness {
    pub(super) fn new(socket: OwnedFd, init: Arc<OwnedFd>, pid: Pid) -> Self {
        Self { socket, init, pid }
    }

    /// Waits until the container says that it is ready, or has ended, however long that takes. Then tells the
    /// service manager at `manager` (a path, or `@` and an abstract name): `READY=1`, `MAINPID`, and a
    /// barrier. `main_pid`: who the service's main process is; the container's init if not given.
    ///
    /// # Errors
    /// The service manager cannot be reached.
    pub fn forward(self, manager: &Path, main_pid: Option<u32>) -> Result<NotifyOutcome> {
        let manager = ServiceManager::connect(manager)?;
        if !self.is_ready()? {
            return Ok(NotifyOutcome::Nothing);
        }
        let main_pid = main_pid.unwrap_or(self.pid.as_raw().cast_unsigned());
        manager.say(b"READY=1\n", None)?;
        manager.say(format!("MAINPID={main_pid}\n").as_bytes(), None)?;
        Ok(if manager.barrier()? { NotifyOutcome::Ready } else { NotifyOutcome::Unheard })
    }

    /// Waits; false if the container has ended.
    fn is_ready(&self) -> Result<bool, SysError> {
        loop {
            let wanted = [self.socket.as_fd(), self.init.as_fd()];
            let mut fds = wanted.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(SysError::new(errno, || "poll(notify.sock)".to_owned())),
            }
            let has_ended = fds[1].any().unwrap_or(false);
            // Its last word may be there when it has ended.
            if self.hears_ready()? {
                return Ok(true);
            }
            if has_ended {
                return Ok(false);
            }
        }
    }

    /// Reads what has come. Fds that came with it are closed by the kernel, as there is no room for them.
    fn hears_ready(&self) -> Result<bool, SysError> {
        let mut buffer = [0; MESSAGE_BYTES];
        for _ in 0..MESSAGES_AT_ONCE {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) if says_ready(buffer.get(..length).unwrap_or_default()) => return Ok(true),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(errno) => return Err(SysError::new(errno, || "recv(notify.sock)".to_owned())),
            }
        }
        Ok(false)
    }
}

/// Whether a message of sd_notify(3), assignments in lines, says `READY=1`.
fn says_ready(message: &[u8]) -> bool {
    message.split(|byte| *byte == b'\n').any(|line| line == b"READY=1")
}

/// The caller's service manager.
struct ServiceManager {
    socket: OwnedFd,
}

impl ServiceManager {
    fn connect(path: &Path) -> Result<Self, SysError> {
        let failed = |call: &'static str| {
            move |errno| SysError::new(errno, || format!("{call}(NOTIFY_SOCKET {path:?})"))
        };
        let address = match path.as_os_str().as_encoded_bytes().strip_prefix(b"@") {
            Some(name) => UnixAddr::new_abstract(name),
            None => UnixAddr::new(path),
        };
        let address = address.map_err(failed("connect"))?;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None);
        let socket = socket.map_err(failed("socket"))?;
        let deadline = TimeVal::new(MANAGER_SECONDS.into(), 0);
        setsockopt(&socket, SendTimeout, &deadline).map_err(failed("setsockopt"))?;
        connect(socket.as_raw_fd(), &address).map_err(failed("connect"))?;
        Ok(Self { socket })
    }

    fn say(&self, text: &[u8], fd: Option<&OwnedFd>) -> Result<(), SysError> {
        let fds = fd.map(AsRawFd::as_raw_fd);
        let control = fds.as_ref().map(|fd| ControlMessage::ScmRights(std::slice::from_ref(fd)));
        let text = [IoSlice::new(text)];
        sendmsg::<()>(self.socket.as_raw_fd(), &text, control.as_slice(), MsgFlags::MSG_NOSIGNAL, None)
            .map(drop)
            .map_err(|errno| SysError::new(errno, || "sendmsg(NOTIFY_SOCKET)".to_owned()))
    }

    /// Waits until the manager has read all that it was told: it closes the pipe that comes with the barrier
    /// (sd_notify_barrier(3)). False if it does not in time: it may not know of barriers.
    fn barrier(&self) -> Result<bool, SysError> {
        let (ours, theirs) =
            pipe2(OFlag::O_CLOEXEC).map_err(|errno| SysError::new(errno, || "pipe2(barrier)".to_owned()))?;
        self.say(b"BARRIER=1", Some(&theirs))?;
        drop(theirs);
        wait_readable(&ours, Duration::from_secs(MANAGER_SECONDS.into()))
            .map_err(|errno| SysError::new(errno, || "poll(barrier)".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::says_ready;

    #[test]
    fn only_ready_is_ready() {
        for message in ["READY=1", "READY=1\n", "STATUS=up\nREADY=1", "MAINPID=1\nREADY=1\nX=\n"] {
            assert!(says_ready(message.as_bytes()), "{message:?}");
        }
        for message in [
            "",
            "\n",
            "READY=0",
            "READY=11",
            "XREADY=1",
            "STATUS=READY=1",
            "READY=1 ",
            "ready=1",
            "READY=1\0",
        ] {
            assert!(!says_ready(message.as_bytes()), "{message:?}");
        }
    }
}
