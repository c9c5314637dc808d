//! Processes by file descriptor: no pid is signalled that may have become another's.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::{Call, SysError, wait_readable};

/// Opens a process: `pidfd_open`. `ESRCH` when there is none.
pub(crate) fn open_pidfd(pid: Pid) -> Result<OwnedFd, SysError> {
    // SAFETY: the call takes no pointer.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let fd = Errno::result(result).map_err(|errno| SysError::new(errno, || format!("pidfd_open({pid})")))?;
    let fd = i32::try_from(fd).map_err(|_| SysError::new(Errno::EBADF, || format!("pidfd_open({pid})")))?;
    // SAFETY: the kernel just made this fd and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Returns the pid of a pidfd's process in the PID namespace of the mounted procfs (proc_pid_fdinfo(5)),
/// `None` if it has ended.
pub(crate) fn pid_of(pidfd: impl AsFd) -> Result<Option<Pid>, SysError> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_fd().as_raw_fd());
    let info =
        std::fs::read_to_string(&path).map_err(|error| SysError::from_io(&error, || Call::read(&path)))?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).and_then(|pid| pid.trim().parse().ok());
    Ok(pid.filter(|pid| *pid > 0).map(Pid::from_raw))
}

/// Copies an fd of another process: `pidfd_getfd`.
pub(crate) fn take_fd(pidfd: impl AsFd, number: i32) -> Result<OwnedFd, SysError> {
    // SAFETY: the call takes no pointer.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_fd().as_raw_fd(), number, 0) };
    let call = || format!("pidfd_getfd({number})");
    let fd = Errno::result(result).map_err(|errno| SysError::new(errno, call))?;
    let fd = i32::try_from(fd).map_err(|_| SysError::new(Errno::EBADF, call))?;
    // SAFETY: the kernel just made this fd and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a signal: `pidfd_send_signal`.
pub(crate) fn send_signal(pidfd: impl AsFd, signal: i32) -> Result<(), SysError> {
    let fd = pidfd.as_fd().as_raw_fd();
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the info pointer is null, which the call allows: the kernel fills it in as kill(2) does.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, none, 0) };
    Errno::result(result)
        .map(drop)
        .map_err(|errno| SysError::new(errno, || format!("pidfd_send_signal({signal})")))
}

/// Kills a process and, as far as they can be found, its descendants. What has ended meanwhile is no error.
pub(crate) fn kill_tree(pid: Pid) {
    // Stopped it makes no more children while they are looked for.
    let Ok(pidfd) = open_pidfd(pid) else { return };
    if send_signal(&pidfd, libc::SIGSTOP).is_err() {
        return;
    }
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        children.split_ascii_whitespace().filter_map(|child| child.parse().ok()).for_each(|child| {
            kill_tree(Pid::from_raw(child));
        });
    }
    // It has ended, or is not the caller's to kill: nothing more can be done.
    send_signal(&pidfd, libc::SIGKILL).ok();
}

/// Waits for the end of a process, any process, with poll(2); false if it has not ended by the deadline.
pub(crate) fn wait_ended(pidfd: impl AsFd, deadline: Duration) -> Result<bool, SysError> {
    wait_readable(pidfd, deadline).map_err(|errno| SysError::new(errno, || "poll(pidfd)".to_owned()))
}

/// What waiting for a process gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// It exited with this status.
    Exited(i32),
    /// It was killed by this signal.
    Killed(i32),
    /// It runs on (only when not blocking).
    Running,
    /// It is not a child of the caller, or was waited for already.
    NotOurs,
}

/// Reaps a child: `waitid(P_PIDFD)`.
pub(crate) fn wait_exit(pidfd: impl AsFd, block: bool) -> Result<Waited, SysError> {
    let flags = WaitPidFlag::WEXITED | if block { WaitPidFlag::empty() } else { WaitPidFlag::WNOHANG };
    loop {
        return match waitid(Id::PIDFd(pidfd.as_fd()), flags) {
            Ok(WaitStatus::Exited(_, status)) => Ok(Waited::Exited(status)),
            Ok(WaitStatus::Signaled(_, signal, _)) => Ok(Waited::Killed(signal as i32)),
            Ok(_) => Ok(Waited::Running),
            Err(Errno::EINTR) => continue,
            Err(Errno::ECHILD) => Ok(Waited::NotOurs),
            Err(errno) => Err(SysError::new(errno, || "waitid(P_PIDFD)".to_owned())),
        };
    }
}
