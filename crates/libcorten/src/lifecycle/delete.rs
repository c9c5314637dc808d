//! delete: removes all that a container has on the host.
//!
//! Teardown goes on after an error and reports all of them; the state directory goes last, so that what is
//! left can be found.

use std::os::fd::AsFd;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::kill::release_killed;
use super::{Container, LifecycleError, cgroups};
use crate::hooks;
use crate::oci::Hook;
use crate::remains::{self, Connection, Members, Remains};
use crate::spec::HookKind;
use crate::state::{Record, Status};
use crate::sys::Lock;
use crate::{Error, Result, chain, sys};

/// How long a command that has lost its container may hold the lock.
const HOLDER_DEADLINE: Duration = Duration::from_secs(5);

/// What [`Container::delete_observed`] does.
#[derive(Debug)]
#[non_exhaustive]
pub enum Deletion<'a> {
    /// Kills init, if it is alive, and waits for its end: `pidfd_send_signal`.
    KillInit {
        /// Its pid.
        pid: i32,
    },
    /// Kills what is left in the cgroups, stops the unit, and removes them.
    RemoveCgroups {
        /// Where they are.
        location: &'a corten_cgroup::Location,
    },
    /// Removes the resctrl group.
    RemoveIntelRdt,
    /// Removes the state directory.
    RemoveDirectory {
        /// The directory.
        path: &'a Path,
    },
    /// Runs poststop hooks.
    RunHooks {
        /// The hooks, in order.
        hooks: &'a [Hook],
    },
}

impl Container {
    /// Removes a stopped container; a created one is killed first, as engines expect (runc). With `force`,
    /// any.
    ///
    /// # Errors
    /// The container runs and `force` is not set. Or something could not be removed: the error names all of
    /// it, and deleting can be tried again.
    ///
    /// Returns what went wrong with poststop hooks, one line each: they are no reason for the container to
    /// stay. And that its state was damaged, with how the container was found.
    pub fn delete(&self, force: bool) -> Result<Vec<String>> {
        self.delete_observed(force, &mut |_| {})
    }

    /// As [`Container::delete`]. `observe` sees each thing before it is done.
    ///
    /// # Errors
    /// As [`Container::delete`].
    pub fn delete_observed(
        &self,
        force: bool,
        observe: &mut dyn FnMut(&Deletion<'_>),
    ) -> Result<Vec<String>> {
        // Before the state is read, unless somebody has it.
        let lock = self.directory.try_lock()?;
        let mut warnings = Vec::new();
        let record = match self.directory.read() {
            Err(damage) if force && damage.is_damage() => self.salvage(&damage)?.map(|salvaged| {
                warnings.push(salvaged.warning);
                salvaged.record
            }),
            read => read?,
        };
        let Some(mut record) = record else {
            // Killed before anything was made.
            let _lock = lock.map_or_else(|| self.directory.lock(), Ok)?;
            observe(&Deletion::RemoveDirectory { path: self.directory.path() });
            self.directory.remove()?;
            return Ok(Vec::new());
        };
        if !force {
            let status = match &lock {
                Some(lock) => self.status_under(lock, &record),
                None => self.status(&record),
            }?;
            if !matches!(status, Status::Stopped | Status::Created) {
                return Err(LifecycleError::NotStopped { id: self.id.clone(), status }.into());
            }
        }
        let mut left = Vec::new();
        // Nobody waits for its hook, or is to wait any more.
        if force || lock.is_some() {
            self.kill_clone(&record);
            self.directory.kill_hook();
        }
        observe(&Deletion::KillInit { pid: record.pid });
        self.kill_init(&record, &mut left);
        let lock = match lock {
            Some(lock) => Some(lock),
            None if force => self.lock_by_force(&mut record, &mut left)?,
            None => {
                // A `create` that holds it fails and lets go when its init dies; or it has gone on meanwhile.
                let lock = self.directory.lock()?;
                record = self.directory.read()?.unwrap_or(record);
                self.kill_init(&record, &mut left);
                Some(lock)
            }
        };
        self.remove(record, lock, left, observe).map(|warned| [warnings, warned].concat())
    }

    /// Ends and removes a container that this process has locked.
    pub(super) fn destroy(
        &self,
        record: Record,
        lock: Option<Lock>,
        mut left: Vec<String>,
    ) -> Result<Vec<String>> {
        self.kill_init(&record, &mut left);
        self.remove(record, lock, left, &mut |_| {})
    }

    /// Removes what is left of a container whose init has ended. `left`: what could not be done before.
    fn remove(
        &self,
        record: Record,
        lock: Option<Lock>,
        mut left: Vec<String>,
        observe: &mut dyn FnMut(&Deletion<'_>),
    ) -> Result<Vec<String>> {
        observe(&Deletion::RemoveCgroups { location: &record.cgroups });
        if record.resctrl.is_some() {
            observe(&Deletion::RemoveIntelRdt);
        }
        remains_of(&record, &mut left).remove(&mut left);
        if !left.is_empty() {
            return Err(LifecycleError::Left { left: left.join("; ") }.into());
        }
        observe(&Deletion::RemoveDirectory { path: self.directory.path() });
        self.directory.remove()?;
        drop(lock);
        let stopped = Record { pid: 0, ..record };
        let hooks = HookKind::Poststop.of(stopped.hooks.as_ref());
        if !hooks.is_empty() {
            observe(&Deletion::RunHooks { hooks });
        }
        let failed = hooks::run_all(HookKind::Poststop, hooks, &stopped, Status::Stopped);
        Ok(failed.into_iter().map(|error| chain(&error)).collect())
    }

    /// Ends what there is of the container until the command that has the lock lets go of it: without init,
    /// its clone, or its hook, it fails. `None`: it does not, as it is stopped itself; then it is not waited
    /// for. What it does when it goes on concerns a directory that is gone, and fails.
    fn lock_by_force(&self, record: &mut Record, left: &mut Vec<String>) -> Result<Option<Lock>> {
        let end = Instant::now() + HOLDER_DEADLINE;
        loop {
            self.kill_clone(record);
            self.directory.kill_hook();
            self.kill_init(record, left);
            let lock = self.directory.try_lock()?;
            match self.directory.read() {
                Err(damage) if damage.is_damage() => {}
                read => *record = read?.unwrap_or_else(|| record.clone()),
            }
            // Who does not even end when it is killed does not let go either.
            if lock.is_some() || !left.is_empty() || Instant::now() >= end {
                if left.is_empty() {
                    self.directory.kill_hook();
                    self.kill_init(record, left);
                }
                return Ok(lock);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills a clone of the runtime that is in the cgroup and has not become init: it cannot go on where a
    /// cgroup above is frozen, and the runtime waits for it. It still has the runtime's fds, among them the
    /// one of the state directory.
    fn kill_clone(&self, record: &Record) {
        // Once init is known the clone has become it. What cannot be found out now is tried again, or told
        // when the cgroup is removed.
        if record.pid != 0 {
            return;
        }
        let pids =
            cgroups(record).and_then(|cgroups| cgroups.pids().map_err(Error::from)).unwrap_or_default();
        for pid in pids.into_iter().map(Pid::from_raw) {
            let Ok(pidfd) = sys::open_pidfd(pid) else { continue };
            if self.directory.is_open_in(pid) {
                sys::send_signal(&pidfd, libc::SIGKILL).ok();
            }
        }
    }

    /// Kills init and waits for its end.
    fn kill_init(&self, record: &Record, left: &mut Vec<String>) {
        let pidfd = match self.open_init(record) {
            Ok(pidfd) => pidfd,
            Err(error) => return left.push(chain(&error)),
        };
        let Some(pidfd) = pidfd else {
            // A child of this process that has ended is reaped; others are their parents' business.
            let reaped = self.pidfd().map_or(Ok(()), |pidfd| sys::wait_exit(pidfd, false).map(drop));
            return left.extend(reaped.err().map(|error| chain(&error)));
        };
        let unended = || format!("process {} does not end", record.pid);
        remains::end(pidfd.as_fd(), || release_killed(record), unended, left);
    }
}

/// What there is of a container beside its init. Adds to `left` what cannot be found.
fn remains_of<'a>(record: &'a Record, left: &mut Vec<String>) -> Remains<'a> {
    let cgroups = cgroups(record).map_err(|error| left.push(error.chain())).ok();
    let members = if record.owns_cgroups() { Members::Own } else { Members::Unknown };
    let unit = record.cgroups.unit.as_ref().filter(|_| cgroups.is_some());
    Remains {
        cgroups: cgroups.map(|cgroups| (cgroups, members)),
        unit: unit.map(|unit| (unit, Connection::ToUsers(record.cgroups.user))),
        resctrl: record.resctrl.as_ref(),
        pid_file: None,
    }
}
