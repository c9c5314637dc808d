//! When the processes of a cgroup run out of memory.
//!
//! Stage: host, beside the container. Kernel: v2: `memory.events` (`oom_kill`, 4.13), `cgroup.events`, both
//! by poll(2); v1: an eventfd that `cgroup.event_control` connects with `memory.oom_control`. Attacker: a
//! container that is killed for its memory again and again; each wait reports once, however many were killed.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::files::{Directory, is_absence, number_of};
use crate::cgroup::Cgroup;
use crate::error::{Error, failed, failed_io};
use crate::sys;

impl Cgroup {
    /// Returns how many processes of this cgroup and below were killed because its memory, or that of a
    /// cgroup below, was used up. 0 without the memory controller.
    ///
    /// # Errors
    /// `memory.events` cannot be read.
    pub fn oom_kills(&self) -> Result<u64, Error> {
        let text = Directory::new(self.as_fd()).text("memory.events")?;
        Ok(text.map_or(0, |text| number_of(&text, "oom_kill")))
    }
}

/// Returns how many processes of a v1 cgroup were killed because its memory was used up, from the fd of its
/// directory.
///
/// # Errors
/// `memory.oom_control` cannot be read.
pub fn legacy_oom_kills(memory: impl AsFd) -> Result<u64, Error> {
    let text = Directory::new(memory.as_fd()).text("memory.oom_control")?;
    Ok(text.map_or(0, |text| number_of(&text, "oom_kill")))
}

/// What [`OomWatcher::wait`] has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Occurrence {
    /// Memory was used up. v2: at least one process was killed for it.
    OutOfMemory,
    /// There is nobody left, or the cgroup was removed.
    Ended,
}

/// Watches a cgroup for its memory being used up.
#[derive(Debug)]
pub struct OomWatcher {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Unified {
        /// `cgroup.events`.
        events: OwnedFd,
        /// `memory.events`, where there is the controller.
        memory: Option<OwnedFd>,
        /// `oom_kill` there, when it was last read.
        kills: u64,
    },
    Legacy {
        counter: EventFd,
        directory: OwnedFd,
    },
}

impl OomWatcher {
    /// Watches a cgroup of cgroup2, from now on, until it has no process. Without the memory controller only
    /// the end is seen.
    ///
    /// # Errors
    /// A file of the cgroup cannot be opened.
    pub fn new(cgroup: &Cgroup) -> Result<Self, Error> {
        let call = |file: &'static str| {
            move |errno| failed(errno, || format!("open({:?})", Directory::new(cgroup.as_fd()).path_of(file)))
        };
        let open = |file: &'static str| sys::open_below(cgroup, Path::new(file), OFlag::O_RDONLY);
        let events = open("cgroup.events").map_err(call("cgroup.events"))?;
        let memory = match open("memory.events") {
            Ok(memory) => Some(memory),
            Err(errno) if is_absence(errno) => None,
            Err(errno) => return Err(call("memory.events")(errno)),
        };
        let kills = memory.as_ref().and_then(|memory| sys::read_from_start(memory).ok());
        let kills = kills.map_or(0, |text| number_of(&text, "oom_kill"));
        Ok(Self { source: Source::Unified { events, memory, kills } })
    }

    /// Watches a cgroup of v1's memory controller, from the fd of its directory. v1 tells nobody when a
    /// cgroup has no more processes: here the end is that the cgroup is removed.
    ///
    /// # Errors
    /// The kernel does not take the eventfd; the caller must be allowed to write `cgroup.event_control`.
    pub fn legacy(memory: impl AsFd) -> Result<Self, Error> {
        let memory = Directory::new(memory.as_fd());
        let call = |call: &'static str, file: &'static str| {
            move |errno| failed(errno, || format!("{call}({:?})", memory.path_of(file)))
        };
        let open = |file: &'static str, flags| {
            sys::open_below(&memory.fd(), Path::new(file), flags).map_err(call("open", file))
        };
        let directory = open(".", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        let watched = open("memory.oom_control", OFlag::O_RDONLY)?;
        let control = open("cgroup.event_control", OFlag::O_WRONLY)?;
        let counter = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|errno| failed(errno, || "eventfd2(0)".to_owned()))?;
        let connection = format!("{} {}", counter.as_fd().as_raw_fd(), watched.as_raw_fd());
        File::from(control).write_all(connection.as_bytes()).map_err(|error| {
            failed_io(&error, || {
                format!("write({:?}, {connection:?})", memory.path_of("cgroup.event_control"))
            })
        })?;
        Ok(Self { source: Source::Legacy { counter, directory } })
    }

    /// Waits for the next occurrence; `None` if there is none within `timeout`. What happens between two
    /// calls is not lost.
    ///
    /// `end`: an fd that becomes readable when there is nothing left to watch, as a pidfd does when its
    /// process ends.
    ///
    /// # Errors
    /// A file of the cgroup cannot be read.
    pub fn wait(
        &mut self,
        timeout: Duration,
        end: Option<BorrowedFd<'_>>,
    ) -> Result<Option<Occurrence>, Error> {
        // Too far away for the clock: none.
        let deadline = Instant::now().checked_add(timeout);
        loop {
            // In this order: who is killed is counted first, and dies then.
            let ended = end.is_some_and(is_readable) || self.has_ended()?;
            if self.has_run_out()? {
                return Ok(Some(Occurrence::OutOfMemory));
            }
            if ended {
                return Ok(Some(Occurrence::Ended));
            }
            let left =
                deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(None);
            }
            let mut fds: Vec<_> = end.iter().map(|end| PollFd::new(*end, PollFlags::POLLIN)).collect();
            match &self.source {
                Source::Unified { events, memory, .. } => {
                    let files = std::iter::once(events).chain(memory);
                    fds.extend(files.map(|file| PollFd::new(file.as_fd(), PollFlags::POLLPRI)));
                }
                Source::Legacy { counter, .. } => fds.push(PollFd::new(counter.as_fd(), PollFlags::POLLIN)),
            }
            match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed(errno, || "poll(events of a cgroup)".to_owned())),
            }
        }
    }

    /// Whether there is nobody left to watch.
    fn has_ended(&self) -> Result<bool, Error> {
        match &self.source {
            // Reading rearms the event.
            Source::Unified { events, .. } => match sys::read_from_start(events) {
                Ok(text) => Ok(number_of(&text, "populated") == 0),
                Err(errno) if is_absence(errno) => Ok(true),
                Err(errno) => Err(failed(errno, || "read(cgroup.events)".to_owned())),
            },
            Source::Legacy { directory, .. } => is_removed(directory),
        }
    }

    /// Whether memory was used up since the last call.
    fn has_run_out(&mut self) -> Result<bool, Error> {
        match &mut self.source {
            Source::Unified { memory, kills, .. } => {
                let Some(file) = &*memory else { return Ok(false) };
                match sys::read_from_start(file) {
                    Ok(text) => {
                        let before = std::mem::replace(kills, number_of(&text, "oom_kill"));
                        Ok(*kills > before)
                    }
                    Err(errno) if is_absence(errno) => {
                        // The controller was taken away. The file would wake every poll from now on.
                        *memory = None;
                        Ok(false)
                    }
                    Err(errno) => Err(failed(errno, || "read(memory.events)".to_owned())),
                }
            }
            Source::Legacy { counter, directory } => match counter.read() {
                // The removal of the cgroup is told over the eventfd, too.
                Ok(_) => Ok(!is_removed(directory)?),
                Err(Errno::EAGAIN) => Ok(false),
                Err(errno) => Err(failed(errno, || "read(eventfd)".to_owned())),
            },
        }
    }
}

/// Whether a v1 cgroup is gone.
fn is_removed(directory: &OwnedFd) -> Result<bool, Error> {
    let file = "cgroup.event_control";
    match sys::open_below(directory, Path::new(file), OFlag::O_PATH) {
        Ok(_) => Ok(false),
        Err(errno) if is_absence(errno) => Ok(true),
        Err(errno) => Err(failed(errno, || format!("open({file})"))),
    }
}

/// Whether an fd is readable now. One that cannot be polled never is.
fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}
