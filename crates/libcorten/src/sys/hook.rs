//! Starting hooks: programs of the host that get stdio and nothing else.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Lets the command's process keep no fd but stdio, whatever this process has open or was given, and no signal that this
/// process holds back (`run` in the foreground does).
pub(crate) fn isolate(command: &mut Command) {
    let isolate = || {
        let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: writes the set that the pointer leads to.
        unsafe { libc::sigemptyset(none.as_mut_ptr()) };
        // SAFETY: the set is initialized, and the old one is not asked for.
        if unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
        // Close-on-exec, as std has a pipe of its own open here, by which it learns of a failed exec.
        // SAFETY: numbers only; the table of fds is that of the new process.
        let result = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
        if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec the closure makes system calls: no allocation, no lock.
    unsafe { command.pre_exec(isolate) };
}
