//! The runtime's end of the conversation with init. `docs/protocol.md` has the diagram.
//!
//! Before any of its messages init may send `Warned`, and instead of it `Failed` and end. The stream ends
//! with init's exec, or with its death. Every wait has a deadline, and ends when the caller wants no
//! container any more.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use corten_init::{MAX_MESSAGE, Message, SyncPoint};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use nix::unistd::Pid;

use super::error::{InitFailure, LaunchError};
use crate::chain;
use crate::state::is_stopped;
use crate::sys::{SysError, send_signal, wait_any, wait_hung_up, wait_writable};

/// How long init is waited for before it is looked at.
const SLICE: Duration = Duration::from_millis(250);
/// How long others may keep init from running.
const HELD_DEADLINE: Duration = Duration::from_secs(10);

/// A connection to init.
///
/// Processes in its PID namespace may stop it, if they have its user or CAP_KILL. So it is looked at while it
/// is waited for, and has to go on: nobody has anything to stop before it is the program.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: OwnedFd,
    /// Ends every wait for a message as soon as there is something to read.
    cancel: Option<Arc<OwnedFd>>,
    /// What init has gone on without, one sentence each.
    warnings: Vec<String>,
    /// Who is at the other end.
    peer: Peer,
}

/// A process at the other end.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) pidfd: Arc<OwnedFd>,
    pub(crate) pid: Pid,
}

impl Peer {
    /// Whether it is stopped, or held by a tracer. What cannot be found out is not so.
    fn is_held(&self) -> bool {
        is_stopped(self.pid.as_raw()).unwrap_or(false)
    }

    fn let_go_on(&self) {
        // It may have ended; or a tracer holds it.
        send_signal(&self.pidfd, libc::SIGCONT).ok();
    }
}

/// What was heard.
#[derive(Debug)]
enum Heard {
    Reached(SyncPoint),
    Console(OwnedFd),
    Cloned(OwnedFd),
    Listener(i32),
    Executing,
    Warned(String),
    /// The stream has ended.
    End,
}

impl Channel {
    pub(crate) fn new(socket: OwnedFd, peer: Peer, cancel: Option<Arc<OwnedFd>>) -> Self {
        Self { socket, cancel, warnings: Vec::new(), peer }
    }

    /// Another process goes on at the other end.
    pub(crate) fn follow(&mut self, peer: Peer) {
        self.peer = peer;
    }

    /// Returns what init has gone on without so far, one sentence each.
    pub(crate) fn into_warnings(self) -> Vec<String> {
        self.warnings
    }

    /// Waits until init has reached `point`.
    pub(crate) fn await_point(&mut self, point: SyncPoint, deadline: Duration) -> Result<(), LaunchError> {
        match self.hear_on(deadline, point.name())? {
            Heard::Reached(reached) if reached == point => Ok(()),
            _ => Err(LaunchError::Protocol),
        }
    }

    /// Waits for the clone that takes init's place; returns its pidfd.
    pub(crate) fn await_clone(&mut self, deadline: Duration) -> Result<OwnedFd, LaunchError> {
        match self.hear_on(deadline, "clone")? {
            Heard::Cloned(pidfd) => Ok(pidfd),
            _ => Err(LaunchError::Protocol),
        }
    }

    /// Waits for the filter's listener; returns its number in init.
    pub(crate) fn await_listener(&mut self, deadline: Duration) -> Result<i32, LaunchError> {
        match self.hear_on(deadline, "listener")? {
            Heard::Listener(fd) => Ok(fd),
            _ => Err(LaunchError::Protocol),
        }
    }

    /// Waits for the terminal's master.
    pub(crate) fn await_console(&mut self, deadline: Duration) -> Result<OwnedFd, LaunchError> {
        match self.hear_on(deadline, "console")? {
            Heard::Console(master) => Ok(master),
            _ => Err(LaunchError::Protocol),
        }
    }

    /// Waits for the end of the stream: init has become the program, or has died. `is_alive` is asked where
    /// init has not said before that it executes. Returns why the kernel has refused the program, if it has:
    /// the container has started then, and ends.
    pub(crate) fn await_exec(
        &mut self,
        deadline: Duration,
        is_alive: impl FnOnce() -> Result<bool, LaunchError>,
    ) -> Result<Option<InitFailure>, LaunchError> {
        // What init says before the end wakes nobody: a wakeup more is dear where processors are busy.
        self.wait(|slice| wait_hung_up(&self.socket, self.cancel(), slice), deadline, "exec")?;
        let mut announced = false;
        loop {
            match self.hear(deadline, "exec") {
                Ok(Heard::Executing) => announced = true,
                Ok(Heard::End) if announced || is_alive()? => return Ok(None),
                Ok(Heard::End) => return Err(LaunchError::Died { how: None }),
                Ok(_) => return Err(LaunchError::Protocol),
                Err(LaunchError::Init(failure)) if failure.is_program => return Ok(Some(failure)),
                Err(error) => return Err(error),
            }
        }
    }

    /// Lets init pass `point`.
    pub(crate) fn release(&mut self, point: SyncPoint) -> Result<(), LaunchError> {
        self.release_with(point, &[])
    }

    /// Lets init pass `point`, and hands it files.
    pub(crate) fn release_with(&mut self, point: SyncPoint, files: &[RawFd]) -> Result<(), LaunchError> {
        let mut buffer = [0; MAX_MESSAGE];
        let length = Message::Continue(point).encode(&mut buffer);
        let bytes = [IoSlice::new(buffer.get(..length).unwrap_or_default())];
        let rights = [ControlMessage::ScmRights(files)];
        let control = if files.is_empty() { &[] } else { &rights[..] };
        match sendmsg::<()>(self.socket.as_raw_fd(), &bytes, control, MsgFlags::MSG_NOSIGNAL, None) {
            Ok(_) => Ok(()),
            Err(Errno::EPIPE | Errno::ECONNRESET) => Err(self.last_words(point)),
            Err(errno) => Err(SysError::new(errno, || format!("sendmsg(Continue({}))", point.name())).into()),
        }
    }

    /// Why init has closed its end: what it has failed at, if it has said so.
    fn last_words(&mut self, point: SyncPoint) -> LaunchError {
        loop {
            match self.hear(Duration::ZERO, point.name()) {
                Ok(Heard::End) | Err(LaunchError::Deadline { .. }) => return LaunchError::Died { how: None },
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    }

    /// Waits until there is room for another message, of which init may have taken none yet.
    pub(crate) fn await_room(&mut self, point: SyncPoint, deadline: Duration) -> Result<(), LaunchError> {
        self.wait(|slice| wait_writable(&self.socket, self.cancel(), slice), deadline, point.name())
    }

    /// What ends a wait.
    fn cancel(&self) -> Option<BorrowedFd<'_>> {
        self.cancel.as_ref().map(AsFd::as_fd)
    }

    /// Waits until `is_ready` (0), which waits for so long at most, unless the caller wants no container any
    /// more (1). Meanwhile it sees to it that nobody keeps init from running.
    fn wait(
        &self,
        is_ready: impl Fn(Duration) -> Result<Option<usize>, Errno>,
        deadline: Duration,
        what: &'static str,
    ) -> Result<(), LaunchError> {
        let is_ready = |slice| match is_ready(slice) {
            Ok(Some(0)) => Ok(true),
            Ok(Some(_)) => Err(LaunchError::Cancelled),
            Ok(None) => Ok(false),
            Err(errno) => Err(SysError::new(errno, || format!("poll({what})")).into()),
        };
        let end = Instant::now().checked_add(deadline);
        let mut held = Duration::ZERO;
        loop {
            // A deadline that no clock reaches is none.
            let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            let slice = left.min(SLICE);
            if is_ready(slice)? {
                return Ok(());
            }
            if left == slice {
                return Err(LaunchError::Deadline { what, seconds: deadline.as_secs() });
            }
            if !self.peer.is_held() {
                continue;
            }
            // What is stopped may be the program by now: then the stream has ended.
            if is_ready(Duration::ZERO)? {
                return Ok(());
            }
            held += slice;
            if held >= HELD_DEADLINE {
                return Err(LaunchError::Held { what, seconds: HELD_DEADLINE.as_secs() });
            }
            self.peer.let_go_on();
        }
    }

    /// Hears something before the end of the stream, which would be init's death.
    fn hear_on(&mut self, deadline: Duration, what: &'static str) -> Result<Heard, LaunchError> {
        match self.hear(deadline, what)? {
            Heard::End => Err(LaunchError::Died { how: None }),
            heard => Ok(heard),
        }
    }

    /// Waits for a message or the end; a failure of init's is an error. Warnings are kept.
    fn hear(&mut self, deadline: Duration, what: &'static str) -> Result<Heard, LaunchError> {
        loop {
            match self.hear_anything(deadline, what)? {
                Heard::Warned(warning) => self.warnings.push(warning),
                heard => return Ok(heard),
            }
        }
    }

    fn hear_anything(&mut self, deadline: Duration, what: &'static str) -> Result<Heard, LaunchError> {
        let fds: Vec<_> = std::iter::once(self.socket.as_fd()).chain(self.cancel()).collect();
        self.wait(|slice| wait_any(&fds, slice), deadline, what)?;
        let mut buffer = [0; MAX_MESSAGE];
        let mut control = nix::cmsg_space!([RawFd; 1]);
        let mut into = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let received = loop {
            match recvmsg::<()>(self.socket.as_raw_fd(), &mut into, Some(&mut control), flags) {
                // ECONNRESET, once: init has ended with a message of ours unread. What it has said before
                // comes next, or the end.
                Err(Errno::EINTR | Errno::ECONNRESET) => {}
                other => break other.map_err(|errno| SysError::new(errno, || format!("recvmsg({what})")))?,
            }
        };
        let mut carried = None;
        for message in
            received.cmsgs().map_err(|errno| SysError::new(errno, || format!("recvmsg({what})")))?
        {
            if let ControlMessageOwned::ScmRights(fds) = message {
                carried = fds.into_iter().map(crate::sys::adopt_received).next_back();
            }
        }
        let length = received.bytes;
        match Message::decode(buffer.get(..length).unwrap_or_default()) {
            _ if length == 0 => Ok(Heard::End),
            Ok(Message::Reached(point)) => Ok(Heard::Reached(point)),
            Ok(Message::Console) => carried.map(Heard::Console).ok_or(LaunchError::Protocol),
            Ok(Message::Cloned) => carried.map(Heard::Cloned).ok_or(LaunchError::Protocol),
            Ok(Message::Listener { fd }) => Ok(Heard::Listener(fd)),
            Ok(Message::Executing) => Ok(Heard::Executing),
            Ok(Message::Warned { call, errno, item, detail }) => {
                Ok(Heard::Warned(chain(&InitFailure::new(call, errno, item, detail))))
            }
            Ok(Message::Failed { call, errno, item, detail, .. }) => {
                Err(InitFailure::new(call, errno, item, detail).into())
            }
            Ok(_) | Err(_) => Err(LaunchError::Protocol),
        }
    }
}

#[cfg(test)]
mod tests {
    use corten_init::Call;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, send, socketpair};

    use super::*;

    fn pair() -> (Channel, OwnedFd) {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, inits) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
        // The test itself stands in for init.
        let peer = Peer { pidfd: Arc::new(crate::sys::open_pidfd(Pid::this()).unwrap()), pid: Pid::this() };
        (Channel::new(ours, peer, None), inits)
    }

    fn say(inits: &OwnedFd, message: &Message<'_>) {
        let mut buffer = [0; MAX_MESSAGE];
        let length = message.encode(&mut buffer);
        send(inits.as_raw_fd(), &buffer[..length], MsgFlags::empty()).unwrap();
    }

    /// The runtime may be about to let init pass a point that init will never reach.
    #[test]
    fn what_init_has_failed_at_is_told_when_it_has_gone() {
        let failed =
            Message::Failed { step: 1, call: Call::Read, errno: libc::EIO, item: b"linux", detail: b"" };
        for unread in [false, true] {
            let (mut channel, inits) = pair();
            say(&inits, &Message::Reached(SyncPoint::Cgroup));
            say(&inits, &failed);
            if unread {
                channel.release(SyncPoint::Cgroup).unwrap();
            }
            drop(inits);
            let error = channel.release(SyncPoint::Ready).unwrap_err();
            assert_eq!(chain(&error), "error during container init: linux: read: input/output error");
        }
        let (mut channel, inits) = pair();
        drop(inits);
        assert!(matches!(channel.release(SyncPoint::Ready), Err(LaunchError::Died { how: None })));
    }

    #[test]
    fn warnings_are_kept_beside_what_is_waited_for() {
        let (mut channel, inits) = pair();
        say(
            &inits,
            &Message::Warned { call: Call::Read, errno: libc::EIO, item: b"process.env", detail: b"/x" },
        );
        say(&inits, &Message::Reached(SyncPoint::Ready));
        channel.await_point(SyncPoint::Ready, Duration::ZERO).unwrap();
        assert_eq!(channel.into_warnings(), ["process.env: read \"/x\": input/output error"]);
    }
}
