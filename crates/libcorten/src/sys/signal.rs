//! What becomes of signals in this process.

use nix::sys::signal::Signal;

/// What users and supervisors end a command with.
pub(crate) const ENDING: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// Whether the kernel does with a signal what it does by default.
pub(crate) fn is_default(signal: Signal) -> bool {
    handler(signal) == Some(libc::SIG_DFL)
}

/// Whether the kernel drops a signal.
pub(crate) fn is_ignored(signal: Signal) -> bool {
    handler(signal) == Some(libc::SIG_IGN)
}

fn handler(signal: Signal) -> Option<libc::sighandler_t> {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: nothing is changed, and what the pointer leads to has room for an action.
    let asked = unsafe { libc::sigaction(signal as i32, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: the kernel has written it, as it says.
    (asked == 0).then(|| unsafe { action.assume_init() }.sa_sigaction)
}
