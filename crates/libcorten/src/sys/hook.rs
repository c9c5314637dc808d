//! Starting hooks: programs of the host that get stdio and nothing else.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Lets the command's process keep no fd but stdio, whatever this process has open or was given.
pub(crate) fn close_other_files(command: &mut Command) {
    let close = || {
        // Close-on-exec, as std has a pipe of its own open here, by which it learns of a failed exec.
        // SAFETY: numbers only; the table of fds is that of the new process.
        let result = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
        if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec the closure makes one raw system call: no allocation, no lock.
    unsafe { command.pre_exec(close) };
}
