//! kill: a signal for the container's init.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::{Container, LifecycleError, cgroups};
use crate::host::cgroup_error;
use crate::state::Record;
use crate::{Result, sys};

/// How long killed processes may take to end.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

impl Container {
    /// Sends a signal to init. A SIGKILL goes to every process of the container where init is not the first of a PID namespace
    /// of its own, as its death would not end the others (runc).
    ///
    /// # Errors
    /// The container is not running.
    pub fn kill(&self, signal: i32) -> Result<()> {
        let record = self.record()?;
        let init = self.open_init(&record)?.ok_or(LifecycleError::NotRunning)?;
        if signal == libc::SIGKILL && !has_own_pid_namespace(record.pid) {
            let cgroups = cgroups(&record)?;
            if !cgroups.is_empty() {
                return cgroups.kill(KILL_DEADLINE).map_err(cgroup_error);
            }
        }
        match sys::send_signal(init.as_fd(), signal) {
            Err(error) if error.errno.0 == Errno::ESRCH => return Err(LifecycleError::NotRunning.into()),
            other => other?,
        }
        if signal == libc::SIGKILL { release_killed(&record) } else { Ok(()) }
    }

    /// Sends a signal to every process of the container, those that `exec` made and those that init has left behind included.
    ///
    /// # Errors
    /// There is none.
    pub fn kill_all(&self, signal: i32) -> Result<()> {
        let record = self.record()?;
        let cgroups = cgroups(&record)?;
        if cgroups.is_empty() {
            // Nothing but init is known.
            return self.kill(signal);
        }
        if cgroups.pids().map_err(cgroup_error)?.is_empty() {
            return Err(LifecycleError::NotRunning.into());
        }
        let sent = if signal == libc::SIGKILL { cgroups.kill(KILL_DEADLINE) } else { cgroups.signal(signal) };
        sent.map_err(cgroup_error)
    }

    /// Opens init if it is alive: its pidfd, checked after opening to be still the process that was written down.
    pub(super) fn open_init(&self, record: &Record) -> Result<Option<std::os::fd::OwnedFd>> {
        if record.pid <= 0 {
            return Ok(None);
        }
        let pidfd = match sys::open_pidfd(Pid::from_raw(record.pid)) {
            Ok(pidfd) => pidfd,
            Err(error) if matches!(error.errno.0, Errno::ESRCH | Errno::EINVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(record.is_alive()?.then_some(pidfd))
    }
}

/// Lets processes die that were killed while they were frozen.
pub(super) fn release_killed(record: &Record) -> Result<()> {
    // In cgroup v2 they die as they are.
    if record.cgroups.legacy.is_empty() {
        return Ok(());
    }
    cgroups(record)?.release_killed().map_err(cgroup_error)
}

/// Whether the process is in another PID namespace than the caller. When in doubt, it is not.
fn has_own_pid_namespace(pid: i32) -> bool {
    let theirs = std::fs::read_link(format!("/proc/{pid}/ns/pid"));
    let ours = std::fs::read_link("/proc/self/ns/pid");
    matches!((theirs, ours), (Ok(theirs), Ok(ours)) if theirs != ours)
}
