//! events: what a container uses, and when its memory is used up.

use std::time::Duration;

use corten_cgroup::Cgroup;
use corten_cgroup::stats::{Occurrence, OomWatcher, Stats};

use super::processes::open_cgroup;
use super::{Container, LifecycleError};
use crate::host::cgroup_error;
use crate::state::Status;
use crate::{Error, ErrorKind, Result};

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
#[error("the container has no cgroup of its own")]
struct NoCgroup;

/// A container's cgroup, watched from [`Container::events`] on.
#[derive(Debug)]
pub struct Events {
    cgroup: Cgroup,
    watcher: OomWatcher,
}

impl Container {
    /// Returns what the container has used until now.
    ///
    /// # Errors
    /// The container has stopped ([`ErrorKind::WrongState`]), has no cgroup, or that cannot be read.
    pub fn stats(&self) -> Result<Stats> {
        Stats::read(self.running_cgroup()?).map_err(cgroup_error)
    }

    /// Starts to watch the container, whose status may be any but stopped.
    ///
    /// # Errors
    /// As [`Container::stats`].
    pub fn events(&self) -> Result<Events> {
        let cgroup = self.running_cgroup()?;
        let watcher = OomWatcher::new(&cgroup).map_err(cgroup_error)?;
        Ok(Events { cgroup, watcher })
    }

    fn running_cgroup(&self) -> Result<Cgroup> {
        let record = self.record()?;
        if self.status(&record)? == Status::Stopped {
            return Err(LifecycleError::NotRunning.into());
        }
        open_cgroup(&record)?.ok_or_else(|| Error::new(ErrorKind::NotFound, NoCgroup))
    }
}

impl Events {
    /// Waits for the container to run out of memory, or to end; `None` if neither comes within `timeout`. What happens between two
    /// calls is not lost, and the end is told again and again.
    ///
    /// # Errors
    /// The cgroup cannot be watched.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Occurrence>> {
        self.watcher.wait(timeout, None).map_err(cgroup_error)
    }

    /// Returns what the container has used until now. Of one that has ended, the little that is still known.
    ///
    /// # Errors
    /// The cgroup cannot be read.
    pub fn stats(&self) -> Result<Stats> {
        Stats::read(&self.cgroup).map_err(cgroup_error)
    }
}
