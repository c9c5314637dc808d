//! ps: the processes of a container.

use corten_cgroup::{Cgroup, Hierarchy};

use super::Container;
use crate::Result;
use crate::host::cgroup_error;
use crate::state::Record;

impl Container {
    /// Returns the pids of the container's processes, those in cgroups below its own too, by the numbers that the caller's PID
    /// namespace has for them (0 for one that it does not see). None if it has stopped.
    ///
    /// Some may have ended since, unless the container is paused. Of a container without a cgroup of its own only init is known.
    ///
    /// # Errors
    /// The cgroup cannot be read.
    pub fn pids(&self) -> Result<Vec<i32>> {
        let record = self.record()?;
        match open_cgroup(&record)? {
            Some(cgroup) => cgroup.pids().map_err(cgroup_error),
            None => Ok(record.is_alive().then_some(record.pid).into_iter().collect()),
        }
    }
}

/// Opens the container's cgroup, to look at it; `None` if it has none or it is gone.
pub(super) fn open_cgroup(record: &Record) -> Result<Option<Cgroup>> {
    Hierarchy::detect().and_then(|hierarchy| hierarchy.open(&record.cgroup)).map_err(cgroup_error)
}
