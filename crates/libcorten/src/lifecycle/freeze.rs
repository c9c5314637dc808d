//! pause and resume: all processes of a container are frozen, and thawed.

use std::time::Duration;

use super::{Container, LifecycleError, cgroups};
use crate::state::Status;
use crate::{Error, Result};

/// How long processes may take to be frozen: a call that cannot be interrupted holds them up.
const DEADLINE: Duration = Duration::from_secs(10);

impl Container {
    /// Freezes all processes, and waits until they are.
    ///
    /// # Errors
    /// The container is not running, or paused already. Or some processes did not stop in time; all are
    /// thawed then.
    pub fn pause(&self) -> Result<()> {
        let lock = self.directory.lock()?;
        let record = self.record()?;
        match self.status_under(&lock, &record)? {
            Status::Running | Status::Created => cgroups(&record)?.freeze(DEADLINE).map_err(Error::from),
            Status::Paused => Err(LifecycleError::Paused.into()),
            _ => Err(LifecycleError::NotRunning.into()),
        }
    }

    /// Lets the processes of a paused container go on.
    ///
    /// # Errors
    /// The container is not paused.
    pub fn resume(&self) -> Result<()> {
        let lock = self.directory.lock()?;
        let record = self.record()?;
        match self.status_under(&lock, &record)? {
            Status::Paused => cgroups(&record)?.thaw().map_err(Error::from),
            _ => Err(LifecycleError::NotPaused.into()),
        }
    }
}
