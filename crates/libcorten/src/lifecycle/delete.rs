//! delete: removes all that a container has on the host.
//!
//! Teardown goes on after an error and reports all of them; the state directory goes last, so that what is left can be found.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;

use super::kill::release_killed;
use super::{Container, LifecycleError, cgroups};
use crate::host::{cgroup_error, systemd};
use crate::launch::{hooks, resctrl};
use crate::spec::HookKind;
use crate::state::{Record, Status};
use crate::{Error, ErrorKind, Result, sys};

/// How long processes may take to end, and the cgroup to become free.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long an init that nobody knows may take to notice that its runtime has gone.
const UNKNOWN_DEADLINE: Duration = Duration::from_secs(3);

impl Container {
    /// Removes a stopped container; a created one is killed first, as engines expect (runc). With `force`, any.
    ///
    /// # Errors
    /// The container runs and `force` is not set. Or something could not be removed: the error names all of it, and deleting
    /// can be tried again.
    ///
    /// Returns what went wrong with poststop hooks, one line each: they are no reason for the container to stay.
    pub fn delete(&self, force: bool) -> Result<Vec<String>> {
        // Before the state is read, unless somebody has it.
        let lock = self.directory.try_lock()?;
        let record = match self.directory.read() {
            Ok(record) => record,
            // Damaged: with force, what can be removed is.
            Err(_) if force => None,
            Err(error) => return Err(error.into()),
        };
        let Some(mut record) = record else {
            // Killed before anything was made, or so damaged that nothing is known.
            let _lock = lock.map_or_else(|| self.directory.lock(), Ok)?;
            self.directory.remove()?;
            return Ok(Vec::new());
        };
        if !force {
            let status = self.status(&record)?;
            if !matches!(status, Status::Stopped | Status::Created) {
                return Err(LifecycleError::NotStopped { id: self.id.clone(), status }.into());
            }
        }
        let mut left = Vec::new();
        self.kill_init(&record, &mut left);
        let _lock = match lock {
            Some(lock) => lock,
            None => {
                // A `create` that holds it fails and lets go when its init dies; or it has gone on meanwhile.
                let lock = self.directory.lock()?;
                record = self.directory.read().ok().flatten().unwrap_or(record);
                self.kill_init(&record, &mut left);
                lock
            }
        };
        remove_cgroups(&record, &mut left);
        if let Some(Err(errors)) = record.resctrl.as_ref().map(resctrl::remove) {
            left.extend(errors.iter().map(ToString::to_string));
        }
        if !left.is_empty() {
            return Err(LifecycleError::Left { left: left.join("; ") }.into());
        }
        self.directory.remove()?;
        let stopped = Record { pid: 0, ..record };
        let hooks = HookKind::Poststop.of(stopped.hooks.as_ref());
        let failed = hooks::run_all(HookKind::Poststop, hooks, &stopped, Status::Stopped);
        Ok(failed.into_iter().map(|error| Error::new(ErrorKind::Kernel, error).chain()).collect())
    }

    /// Kills init and waits for its end.
    fn kill_init(&self, record: &Record, left: &mut Vec<String>) {
        let pidfd = match self.open_init(record) {
            Ok(pidfd) => pidfd,
            Err(error) => return left.push(error.chain()),
        };
        if let Some(pidfd) = &pidfd {
            let killed = sys::send_signal(pidfd.as_fd(), libc::SIGKILL);
            match killed {
                Err(error) if error.errno.0 != Errno::ESRCH => left.push(format!("{error}: {}", error.errno)),
                _ => {
                    left.extend(release_killed(record).err().map(|error| error.chain()));
                    if !sys::wait_ended(pidfd.as_fd(), DEADLINE) {
                        left.push(format!("process {} does not end", record.pid));
                    }
                }
            }
        }
        // A child of this process is reaped; others are their parents' business.
        if let Some(pidfd) = self.pidfd().or(pidfd.as_ref().map(AsFd::as_fd))
            && let Err(error) = sys::wait_exit(pidfd, false)
        {
            left.push(format!("{error}: {}", error.errno));
        }
    }
}

fn remove_cgroups(record: &Record, left: &mut Vec<String>) {
    let removed = cgroups(record).and_then(|cgroups| {
        // A runtime that was killed before it knew init's pid may not even have made the cgroups that it wrote down: who is in
        // there may be somebody else's. An init of ours ends by itself, as its socket has closed.
        if record.pid == 0 {
            return cgroups.remove(UNKNOWN_DEADLINE).map_err(cgroup_error);
        }
        cgroups.kill(DEADLINE).map_err(cgroup_error)?;
        if let Some(unit) = &record.cgroups.unit {
            let stopped = systemd(record.cgroups.user)?.stop_unit(unit);
            stopped.map_err(|error| Error::new(ErrorKind::Kernel, error))?;
        }
        cgroups.remove(DEADLINE).map_err(cgroup_error)
    });
    if let Err(error) = removed {
        left.push(error.chain());
    }
}
