//! Starting programs of the host, hooks and CRIU: they get stdio, and no other fd but those that are meant
//! for them.

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Lets the command's process write down which one it is before it executes anything: what procfs has of it.
/// It has the fds of this process until then, and with them any lock.
pub(crate) fn introduce(command: &mut Command, to: File) {
    let introduce = move || {
        let mut line = [0u8; 1024];
        // SAFETY: the path is a constant string that ends with NUL.
        let stat = unsafe { libc::open(c"/proc/self/stat".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
        // SAFETY: at most as many bytes as the array has are written to it; a number that is no fd is
        // refused.
        let read = unsafe { libc::read(stat, line.as_mut_ptr().cast(), line.len()) };
        let Ok(length) = usize::try_from(read) else { return Err(std::io::Error::last_os_error()) };
        // SAFETY: as many bytes of the array are read as were written to it.
        let written = unsafe { libc::write(to.as_raw_fd(), line.as_ptr().cast(), length) };
        if written == -1 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: between fork and exec the closure makes system calls: no allocation, no lock.
    unsafe { command.pre_exec(introduce) };
}

/// Lets the command's process keep no fd but stdio and `kept`, whatever this process has open or was given,
/// and no signal that this process holds back (`run` in the foreground does).
pub(crate) fn isolate(command: &mut Command, kept: Vec<RawFd>) {
    let isolate = move || {
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
        if result != 0 {
            return Err(std::io::Error::last_os_error());
        }
        for fd in &kept {
            // SAFETY: numbers only.
            if unsafe { libc::fcntl(*fd, libc::F_SETFD, 0) } == -1 {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes system calls: no allocation, no lock.
    unsafe { command.pre_exec(isolate) };
}
