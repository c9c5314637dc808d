//! ps: the processes of a container.

use super::{Container, cgroups};
use crate::{Error, Result};

impl Container {
    /// Returns the pids of the container's processes, those in cgroups below its own too, by the numbers that
    /// the caller's PID namespace has for them (0 for one that it does not see). None if it has stopped.
    ///
    /// Some may have ended since, unless the container is paused. Of a container without a cgroup of its own
    /// only init is known.
    ///
    /// # Errors
    /// The cgroup cannot be read.
    pub fn pids(&self) -> Result<Vec<i32>> {
        let record = self.record()?;
        let cgroups = cgroups(&record)?;
        if cgroups.is_empty() {
            return Ok(record.is_alive()?.then_some(record.pid).into_iter().collect());
        }
        cgroups.pids().map_err(Error::from)
    }
}
