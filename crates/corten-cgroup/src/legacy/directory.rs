//! One cgroup in one hierarchy.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{cpuset, freezer};
use crate::error::{Error, Repr, failed};
use crate::sys;
use crate::tree::{for_each_below, read_file, remove_below, write_file};

/// How long one process is waited for at most: its number may have passed to a stranger since it was read.
const ONE_PROCESS: Duration = Duration::from_millis(50);

/// A cgroup in one hierarchy, held by fd.
#[derive(Debug)]
pub(super) struct Directory {
    /// The hierarchy, as `/proc/PID/cgroup` names it.
    pub(super) hierarchy: String,
    /// From the hierarchy's mount.
    pub(super) path: PathBuf,
    /// On the machine, for errors.
    pub(super) shown: PathBuf,
    pub(super) above: Arc<OwnedFd>,
    pub(super) name: OsString,
    pub(super) fd: OwnedFd,
}

impl Directory {
    pub(super) fn has(&self, controller: &str) -> bool {
        self.hierarchy.split(',').any(|own| own == controller)
    }

    /// Whether it is there to be found by name only, so that nothing depends on it.
    pub(super) fn is_named(&self) -> bool {
        self.hierarchy.starts_with("name=")
    }

    /// Fails if it has processes.
    pub(super) fn check_unused(&self) -> Result<(), Error> {
        let count = self.pids()?.len();
        if count > 0 { Err(Repr::NotEmpty { count }.into()) } else { Ok(()) }
    }

    /// Fails if it is frozen, or one above is: whoever is moved there stands still for as long as that is,
    /// and cannot even be killed.
    pub(super) fn check_runs(&self) -> Result<(), Error> {
        if self.has("freezer") && freezer::stopped(self.fd.as_fd(), &self.shown)? {
            return Err(Repr::Frozen.into());
        }
        Ok(())
    }

    /// Returns the processes of this cgroup and all below, each once.
    pub(super) fn pids(&self) -> Result<Vec<i32>, Error> {
        let mut pids = Vec::new();
        for_each_below(self.fd.as_fd(), &mut |directory| {
            let text = match read_file(directory, "cgroup.procs") {
                // Removed meanwhile.
                Err(Errno::ENODEV | Errno::ENOENT) => return Ok(()),
                other => {
                    other.map_err(|errno| failed(errno, || format!("read({:?}/cgroup.procs)", self.shown)))?
                }
            };
            pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
            Ok(())
        })?;
        // The threads of one process may be in several.
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Moves a process into it.
    pub(super) fn add(&self, pid: i32) -> Result<(), Error> {
        if self.has("cpuset") {
            cpuset::fill(self.fd.as_fd(), self.above.as_fd(), &self.shown)?;
        }
        let mut tries = 5;
        loop {
            match write_file(self.fd.as_fd(), "cgroup.procs", &pid.to_string()) {
                Ok(()) => return Ok(()),
                // A thread that is just being made cannot be moved yet.
                Err(Errno::EINVAL) if tries > 1 => {
                    tries -= 1;
                    sleep(Duration::from_millis(10));
                }
                Err(errno) => {
                    return Err(failed(errno, || format!("write({:?}/cgroup.procs, {pid})", self.shown)));
                }
            }
        }
    }

    /// Waits until it has no processes, or only zombies; false if it has some at `end`.
    pub(super) fn wait_empty(&self, end: Instant) -> Result<bool, Error> {
        let mut pause = Duration::from_micros(200);
        loop {
            let pids = self.pids()?;
            if pids.is_empty() {
                return Ok(true);
            }
            for pid in pids {
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(false);
                }
                wait_for(pid, left.min(ONE_PROCESS))
                    .map_err(|errno| failed(errno, || format!("poll(pidfd of {pid})")))?;
            }
            // Those that have ended leave the list a moment later.
            sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }

    /// Removes it and all below; `deadline` is for the error.
    pub(super) fn remove(&self, end: Instant, deadline: Duration) -> Result<(), Error> {
        let mut pause = Duration::from_micros(200);
        loop {
            if self.remove_empty()? {
                return Ok(());
            }
            remove_below(self.fd.as_fd())
                .map_err(|errno| failed(errno, || format!("rmdir(below {:?})", self.shown)))?;
            if self.remove_empty()? {
                return Ok(());
            }
            if !self.wait_empty(end)? || Instant::now() >= end {
                let (path, pids, seconds) = (self.shown.clone(), self.pids()?, deadline.as_secs());
                return Err(if pids.is_empty() {
                    Repr::Busy { path, seconds }
                } else {
                    Repr::Survivors { path, pids, seconds }
                }
                .into());
            }
            // Empty and yet busy: the kernel has not let go of dead tasks.
            sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// Removes it if there is nothing in it; false if there is.
    fn remove_empty(&self) -> Result<bool, Error> {
        match unlinkat(&*self.above, self.name.as_os_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(true),
            Err(Errno::EBUSY) => Ok(false),
            // A mount that is read-only says so even of what is not there.
            Err(errno) => match sys::open_below(&*self.above, Path::new(&self.name), OFlag::O_PATH) {
                Err(Errno::ENOENT) => Ok(true),
                _ => Err(failed(errno, || format!("rmdir({:?})", self.shown))),
            },
        }
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Waits until a process has ended, at most for a while.
fn wait_for(pid: i32, longest: Duration) -> nix::Result<()> {
    let Ok(pidfd) = sys::pidfd(pid) else { return Ok(()) };
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, PollTimeout::try_from(longest).unwrap_or(PollTimeout::MAX)) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}
