//! Threads of this process in namespaces of their own, which end with them.
//!
//! No signal reaches them, so that none of the caller's handlers runs in one.

use std::thread::{Builder, JoinHandle, scope};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow};

use super::SysError;

/// Makes a thread. What it is to be called and its stack are the builder's.
pub(crate) fn spawn<T: Send + 'static>(
    builder: Builder,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, SysError> {
    let masked = |errno| SysError::new(errno, || "rt_sigprocmask(SIG_BLOCK)");
    // A thread begins with the mask of its maker.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(masked)?;
    let thread = builder.spawn(work);
    before.thread_set_mask().map_err(masked)?;
    thread.map_err(|error| SysError::from_io(&error, || "clone(thread)"))
}

/// Does something in a thread, and waits for it. Meanwhile signals reach the caller as they always do.
pub(crate) fn in_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, SysError> {
    let masked = |errno| SysError::new(errno, || "rt_sigprocmask(SIG_BLOCK)");
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(masked)?;
    scope(|scope| {
        let thread = Builder::new().spawn_scoped(scope, work);
        let masked_again = before.thread_set_mask().map_err(masked);
        let thread = thread.map_err(|error| SysError::from_io(&error, || "clone(thread)"))?;
        let done = thread.join().map_err(|_| SysError::new(Errno::EIO, || "thread"));
        masked_again.and(done)
    })
}
