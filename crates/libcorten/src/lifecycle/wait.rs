//! wait: how the container process ended.

use std::os::fd::BorrowedFd;

use super::{Container, LifecycleError};
use crate::Result;
use crate::sys::{self, Waited};

/// How a container process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// With this exit status.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
}

impl Exit {
    /// Returns the exit status that a shell would report: 128 and the signal for a process that was killed.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

impl Container {
    /// Waits for the end of the container process, and reaps it. Only for the process that made the
    /// container, and once.
    ///
    /// # Errors
    /// This process did not make the container, or has waited already.
    pub fn wait(&self) -> Result<Exit> {
        wait_for(self.pidfd().ok_or(LifecycleError::NotRunning)?)
    }
}

/// Waits for the end of a child, and reaps it.
pub(super) fn wait_for(pidfd: BorrowedFd<'_>) -> Result<Exit> {
    match sys::wait_exit(pidfd, true)? {
        Waited::Exited(status) => Ok(Exit::Code(status)),
        Waited::Killed(signal) => Ok(Exit::Signal(signal)),
        Waited::Running | Waited::NotOurs => Err(LifecycleError::NotRunning.into()),
    }
}
