//! events: what a container uses, and when its memory is used up.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use corten_cgroup::Cgroups;
use corten_cgroup::stats::{Occurrence, OomWatcher, Stats};

use super::{Container, LifecycleError, cgroups};
use crate::error::Failure;
use crate::state::Status;
use crate::{Error, ErrorKind, Result};

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
#[error("the container has no cgroup of its own")]
struct NoCgroup;

impl Failure for NoCgroup {
    fn kind(&self) -> ErrorKind {
        ErrorKind::NotFound
    }
}

/// A container's cgroups, watched from [`Container::events`] on.
#[derive(Debug)]
pub struct Events {
    cgroups: Cgroups,
    watcher: OomWatcher,
    /// v1 does not tell when nobody is left.
    init: Option<OwnedFd>,
}

impl Container {
    /// Returns what the container has used until now.
    ///
    /// # Errors
    /// The container has stopped ([`ErrorKind::WrongState`]), has no cgroup, or that cannot be read.
    pub fn stats(&self) -> Result<Stats> {
        self.running_cgroups()?.0.stats().map_err(Error::from)
    }

    /// Starts to watch the container, whose status may be any but stopped.
    ///
    /// # Errors
    /// As [`Container::stats`].
    pub fn events(&self) -> Result<Events> {
        let (cgroups, init) = self.running_cgroups()?;
        let watcher = cgroups.watch_oom()?;
        Ok(Events { cgroups, watcher, init })
    }

    fn running_cgroups(&self) -> Result<(Cgroups, Option<OwnedFd>)> {
        let record = self.record()?;
        if self.status(&record)? == Status::Stopped {
            return Err(LifecycleError::NotRunning.into());
        }
        let cgroups = cgroups(&record)?;
        if cgroups.is_empty() {
            return Err(NoCgroup.into());
        }
        Ok((cgroups, self.open_init(&record)?))
    }
}

impl Events {
    /// Waits for the container to run out of memory, or to end; `None` if neither comes within `timeout`.
    /// What happens between two calls is not lost, and the end is told again and again.
    ///
    /// # Errors
    /// The cgroup cannot be watched.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Occurrence>> {
        self.watcher.wait(timeout, self.init.as_ref().map(AsFd::as_fd)).map_err(Error::from)
    }

    /// Returns what the container has used until now. Of one that has ended, the little that is still known.
    ///
    /// # Errors
    /// The cgroup cannot be read.
    pub fn stats(&self) -> Result<Stats> {
        self.cgroups.stats().map_err(Error::from)
    }
}
