//! kill: a signal for the container's init.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::{Container, LifecycleError, cgroups};
use crate::oci::LinuxNamespaceType;
use crate::state::{Record, Status, read_whole};
use crate::sys::{self, SysError};
use crate::{Error, Result, spec};

/// How long killed processes may take to end.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// What ends a created container, as with runc, whose init has Go's handlers for these.
const ENDS_CREATED: [i32; 12] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
    libc::SIGTERM,
    libc::SIGSTKFLT,
    libc::SIGSYS,
];

impl Container {
    /// Sends a signal to init. A SIGKILL goes to every process of the container where init is not the first
    /// of a PID namespace of its own, as its death would not end the others (runc).
    ///
    /// # Errors
    /// The container is not running.
    pub fn kill(&self, signal: i32) -> Result<()> {
        let record = self.record()?;
        let Some(init) = self.open_init(&record)? else { return self.kill_rest(&record, signal) };
        // While it waits for `start` init ignores what it has no handler for, as the first process of its PID
        // namespace.
        let waits = ENDS_CREATED.contains(&signal) && self.status(&record)? == Status::Created;
        let signal = if waits { libc::SIGKILL } else { signal };
        if signal == libc::SIGKILL && !is_first_of_namespace(record.pid) {
            let cgroups = cgroups(&record)?;
            if !cgroups.is_empty() {
                return cgroups.kill(KILL_DEADLINE).map_err(Error::from);
            }
        }
        match sys::send_signal(init.as_fd(), signal) {
            Err(error) if error.errno.0 == Errno::ESRCH => return self.kill_rest(&record, signal),
            other => other?,
        }
        if signal == libc::SIGKILL { release_killed(&record) } else { Ok(()) }
    }

    /// Kills what an init that has ended has left in the container's cgroups: it was not the first of a PID
    /// namespace of its own.
    fn kill_rest(&self, record: &Record, signal: i32) -> Result<()> {
        if signal != libc::SIGKILL || record.creating || self.has_own_pid_namespace()? {
            return Err(LifecycleError::NotRunning.into());
        }
        let cgroups = cgroups(record)?;
        if cgroups.pids()?.is_empty() {
            return Err(LifecycleError::NotRunning.into());
        }
        cgroups.kill(KILL_DEADLINE).map_err(Error::from)
    }

    /// Whether the config gives the container a new PID namespace.
    fn has_own_pid_namespace(&self) -> Result<bool> {
        let config = spec::load(self.directory.open_config()?)?;
        let own = spec::namespace(&config, LinuxNamespaceType::Pid)
            .is_some_and(|namespace| !spec::is_joined(namespace));
        Ok(own)
    }

    /// Sends a signal to every process of the container, those that `exec` made and those that init has left
    /// behind included.
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
        if cgroups.pids()?.is_empty() {
            return Err(LifecycleError::NotRunning.into());
        }
        let sent = if signal == libc::SIGKILL { cgroups.kill(KILL_DEADLINE) } else { cgroups.signal(signal) };
        sent.map_err(Error::from)
    }

    /// Opens init if it is alive: its pidfd, checked after opening to be still the process that was written
    /// down.
    pub(super) fn open_init(&self, record: &Record) -> Result<Option<std::os::fd::OwnedFd>, SysError> {
        if record.pid <= 0 {
            return Ok(None);
        }
        let pidfd = match sys::open_pidfd(Pid::from_raw(record.pid)) {
            Ok(pidfd) => pidfd,
            Err(error) if matches!(error.errno.0, Errno::ESRCH | Errno::EINVAL) => return Ok(None),
            Err(error) => return Err(error),
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
    cgroups(record)?.release_killed().map_err(Error::from)
}

/// Whether the process is the first of a PID namespace, whose end is that of all others in it. When in doubt,
/// it is not.
fn is_first_of_namespace(pid: i32) -> bool {
    let status = File::open(format!("/proc/{pid}/status")).and_then(read_whole).unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let mut numbers = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))
        .unwrap_or_default()
        .split_ascii_whitespace();
    numbers.next().is_some() && numbers.last() == Some("1")
}
