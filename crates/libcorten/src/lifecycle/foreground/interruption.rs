//! Signals that end a command while it makes a container.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use nix::unistd::read;

use crate::Result;
use crate::plan::HostStep;
use crate::sys::{self, SysError};

/// SIGHUP, SIGINT, SIGQUIT and SIGTERM, held back while a container is made, so that what has been made is
/// taken back when one comes ([`CreateOptions::cancel`](crate::CreateOptions::cancel)). Those that this
/// process ignores are left alone. Dropping it forgets those that have come, and lets others through again,
/// unless they were held back before.
#[derive(Debug)]
pub struct Interruption {
    fd: Arc<OwnedFd>,
    set: SigSet,
    before: SigSet,
    /// They are let through at this moment.
    passes: bool,
}

impl Interruption {
    /// Holds them back, in this thread and in those that it makes.
    ///
    /// # Errors
    /// The kernel has no fd for them.
    pub fn hold() -> Result<Self> {
        let set: SigSet = sys::ENDING.into_iter().filter(|signal| !sys::is_ignored(*signal)).collect();
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(|errno| SysError::new(errno, || "signalfd4".to_owned()))?;
        let mut before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&set), Some(&mut before))
            .map_err(|errno| SysError::new(errno, || "rt_sigprocmask(SIG_BLOCK)".to_owned()))?;
        Ok(Self { fd: Arc::new(fd.into()), set, before, passes: false })
    }

    /// Returns what can be read as soon as one has come.
    pub fn fd(&self) -> Arc<OwnedFd> {
        self.fd.clone()
    }

    /// Leaves those that have come to [`Signals`](super::Signals), which hold them back as well.
    pub fn keep(self) {
        std::mem::forget(self);
    }

    /// Lets them through for a step in which nothing else could end this process ([`HostStep::may_hang`]): it
    /// dies of them then, and `delete --force` removes what is left. To be called before each step.
    pub fn before(&mut self, step: &HostStep) {
        if self.passes != step.may_hang() {
            self.passes = !self.passes;
            let how = if self.passes { SigmaskHow::SIG_UNBLOCK } else { SigmaskHow::SIG_BLOCK };
            // With a set of signals that there are this cannot fail.
            pthread_sigmask(how, Some(&self.set), None).ok();
        }
    }
}

impl Drop for Interruption {
    fn drop(&mut self) {
        // What has come has ended the making, or has come too late for that.
        while read(&*self.fd, &mut [0; size_of::<siginfo>()]).is_ok() {}
        // With the mask that was there before this cannot fail.
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None).ok();
    }
}
