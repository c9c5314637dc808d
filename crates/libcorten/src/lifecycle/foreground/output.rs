//! The caller's stdout, to which nothing is written that would have to wait.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{isatty, write};

use crate::sys;

/// How long a reader that reads nothing is waited for when the container has ended, in milliseconds.
const PATIENCE: u16 = 2000;

/// As much as a pipe may hold for an unprivileged user (pipe(7), `/proc/sys/fs/pipe-max-size`).
const LARGEST_PIPE: i32 = 1 << 20;

/// The caller's stdout. Pipes and sockets take at least a page when poll says that there is room; of
/// terminals one byte is sure, so that a terminal is opened anew: the flags of the one that was inherited
/// belong to others, too.
#[derive(Debug)]
pub(super) struct Output<'f> {
    inherited: BorrowedFd<'f>,
    own: Option<File>,
}

impl<'f> Output<'f> {
    pub(super) fn new(inherited: BorrowedFd<'f>) -> Self {
        // A terminal of somebody else (su(1)) cannot be opened, and is waited for.
        let own = isatty(inherited).unwrap_or(false).then(|| reopen(inherited)).flatten();
        Self { inherited, own }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.own.as_ref().map_or(self.inherited, AsFd::as_fd)
    }

    /// Writes as much as goes.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        write(self.fd(), bytes)
    }

    /// Waits until something can be written, or nobody has read anything for a while: `false`. In a pipe room
    /// can be made.
    pub(super) fn wait(&self) -> bool {
        self.has_room(PollTimeout::ZERO)
            || (fcntl(self.fd(), FcntlArg::F_SETPIPE_SZ(LARGEST_PIPE)).is_ok()
                && self.has_room(PollTimeout::ZERO))
            || self.has_room(PollTimeout::from(PATIENCE))
    }

    fn has_room(&self, timeout: PollTimeout) -> bool {
        let mut fds = [PollFd::new(self.fd(), PollFlags::POLLOUT)];
        // Signals are held back: poll is not interrupted.
        poll(&mut fds, timeout).is_ok_and(|ready| ready > 0)
    }
}

fn reopen(terminal: BorrowedFd<'_>) -> Option<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    OpenOptions::new().write(true).custom_flags(flags).open(sys::path_by_fd(terminal)).ok()
}
