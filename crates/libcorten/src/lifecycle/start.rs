//! start: lets a created container's init become the program.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use corten_init::SyncPoint;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::unistd::Pid;

use super::{Container, LifecycleError, Readiness, cgroups};
use crate::hooks::{self, Watch};
use crate::launch::{CannotStart, Channel, DEATH_DEADLINE, LaunchError, Peer};
use crate::plan::HOOKS_DEADLINE;
use crate::spec::HookKind;
use crate::state::{Record, START_SOCKET, Status};
use crate::sys::{self, SysError};
use crate::{Error, Result};

/// Whether a process of the container was killed for want of memory.
fn out_of_memory(record: &Record) -> bool {
    cgroups(record).is_ok_and(|cgroups| cgroups.oom_kills().is_ok_and(|count| count > 0))
}

/// An error, and what went wrong after it.
fn told(error: &Error, more: &str) -> String {
    format!("{}; {more}", error.chain())
}

impl Container {
    /// Starts the user's process of a created container. Returns why the kernel has refused the program, if
    /// it has: the container has started then, has said so on its stderr, and ends with status 255.
    ///
    /// # Errors
    /// The container is not in status created, or the program cannot be executed; the container has stopped
    /// then.
    pub fn start(&self) -> Result<Option<String>> {
        self.start_with(false).map(|(_, refused)| refused)
    }

    /// As [`Container::start`]; returns what the process says of its readiness beside it: `None` if the
    /// container was created without a [`CreateOptions::notify_socket`](crate::CreateOptions::notify_socket).
    ///
    /// # Errors
    /// As [`Container::start`].
    pub fn start_and_listen(&self) -> Result<(Option<Readiness>, Option<String>)> {
        self.start_with(true)
    }

    fn start_with(&self, listen: bool) -> Result<(Option<Readiness>, Option<String>)> {
        let lock = self.directory.lock()?;
        let record = self.record()?;
        match self.status_under(&lock, &record)? {
            Status::Created => {}
            Status::Stopped => return Err(LifecycleError::HasStopped.into()),
            Status::Paused => return Err(LifecycleError::StartPaused.into()),
            _ => return Err(LifecycleError::AlreadyRunning.into()),
        }
        let readiness = if listen { self.listen(&record)? } else { None };
        let init = self.open_init(&record)?.ok_or(LifecycleError::HasStopped)?;
        let peer = Peer { pidfd: Arc::new(init), pid: Pid::from_raw(record.pid) };
        let mut channel = match self.connect(peer) {
            Ok(channel) => channel,
            // Nobody listens: an earlier `start` was killed after init went on.
            Err(error) if error.errno.0 == Errno::ECONNREFUSED => {
                self.directory.remove_start_socket()?;
                return Err(LifecycleError::AlreadyRunning.into());
            }
            Err(error) => return Err(error.into()),
        };
        let started = channel
            .release(SyncPoint::Start)
            .and_then(|()| channel.await_exec(HOOKS_DEADLINE, || self.has_survived(&record)));
        // Whatever came of it, init waits no more.
        self.directory.remove_start_socket()?;
        let refused = started.map_err(|mut error| {
            if matches!(error, LaunchError::Died { .. }) && out_of_memory(&record) {
                error = LaunchError::OutOfMemory;
            }
            CannotStart(error)
        })?;
        let watch = Watch { directory: &self.directory, init: None, cancel: None };
        let hooks = HookKind::Poststart.of(record.hooks.as_ref());
        match hooks::run(HookKind::Poststart, hooks, &record, Status::Running, Some(&watch)) {
            Ok(()) => Ok((readiness, refused.map(|refused| crate::chain(&refused)))),
            Err(error) => {
                // runtime.md#lifecycle: the container is stopped, and destroyed like any other.
                let error = Error::from(error);
                match self.destroy(record, Some(lock), Vec::new()) {
                    Ok(warnings) if warnings.is_empty() => Err(error),
                    Ok(warnings) => {
                        Err(LifecycleError::Left { left: told(&error, &warnings.join("; ")) }.into())
                    }
                    Err(left) => Err(LifecycleError::Left { left: told(&error, &left.chain()) }.into()),
                }
            }
        }
    }

    /// Whether init, which has closed its end without a word, lives on as the program.
    fn has_survived(&self, record: &Record) -> Result<bool, LaunchError> {
        let Some(init) = self.open_init(record)? else { return Ok(false) };
        Ok(!sys::wait_ended(init.as_fd(), DEATH_DEADLINE)?)
    }

    /// Opens the container's `NOTIFY_SOCKET`, before there is anybody to use it.
    fn listen(&self, record: &Record) -> Result<Option<Readiness>> {
        let Some(init) = self.open_init(record)? else { return Ok(None) };
        let socket = self.directory.listen_for_readiness()?;
        Ok(socket.map(|socket| Readiness::new(socket, Arc::new(init), Pid::from_raw(record.pid))))
    }

    fn connect(&self, peer: Peer) -> Result<Channel, SysError> {
        let call = |name: &'static str| move |errno| SysError::new(errno, || format!("{name}(start.sock)"));
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)
            .map_err(call("socket"))?;
        let address = UnixAddr::new(&self.directory.file_by_fd(START_SOCKET)).map_err(call("connect"))?;
        connect(socket.as_raw_fd(), &address).map_err(call("connect"))?;
        Ok(Channel::new(socket, peer, None))
    }
}
