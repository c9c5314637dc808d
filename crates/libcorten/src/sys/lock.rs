//! Locks of open files: flock(2).

use std::fs::{File, TryLockError};
use std::os::fd::OwnedFd;

use nix::errno::Errno;

/// A held lock. Released when it is dropped, whatever becomes of the call: closing the file releases it as
/// well.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// Locks what is open against all others; gives it back if somebody has it.
    pub(crate) fn try_exclusive(fd: OwnedFd) -> nix::Result<Result<Self, OwnedFd>> {
        let file = File::from(fd);
        match file.try_lock() {
            Ok(()) => Ok(Ok(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(Err(file.into())),
            Err(TryLockError::Error(error)) => {
                Err(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Not the close alone: a child that has not executed its program yet has the file open, too.
        self.0.unlock().ok();
    }
}
