//! Other processes' limits, and what becomes of this one's children.

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::Pid;

use super::SysError;

/// Sets a limit of a process: `prlimit64`.
pub(crate) fn set_limit(pid: Pid, resource: u64, soft: u64, hard: u64) -> Result<(), SysError> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` outlives the call; the old limit is not asked for.
    let result = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid.as_raw(),
            resource,
            &raw const limit,
            std::ptr::null_mut::<libc::rlimit64>(),
        )
    };
    Errno::result(result)
        .map(drop)
        .map_err(|errno| SysError::new(errno, || format!("prlimit64({pid}, {resource}, {soft}:{hard})")))
}

/// Gives SIGCHLD its default action: `rt_sigaction`.
pub(crate) fn keep_children() -> Result<(), SysError> {
    // SAFETY: the default action runs no code of this process.
    let before = unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) };
    before.map(drop).map_err(|errno| SysError::new(errno, || "rt_sigaction(SIGCHLD, SIG_DFL)".to_owned()))
}
