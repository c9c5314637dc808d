//! The terminal of the caller: what the container's is made like, and its raw mode.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::termios::{OutputFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, isatty, tcgetpgrp};

use crate::sys::{SysError, term};

/// Gives a container's new terminal the size of the caller's, if there is one, and has it end lines as the
/// caller's output does: with a carriage return only where a terminal, which in raw mode adds none itself,
/// would have added it.
pub(crate) fn fit(master: BorrowedFd<'_>) -> Result<(), SysError> {
    resize(master);
    let ends_lines = is_terminal(io::stdin()) && is_terminal(io::stdout()) && has_onlcr(io::stdout())?;
    if !ends_lines {
        let mut modes = modes(master, "console")?;
        modes.output_flags.remove(OutputFlags::ONLCR);
        set(master, "console", &modes)?;
    }
    Ok(())
}

/// Gives the container's terminal the size of the caller's, if there is one.
pub(crate) fn resize(master: BorrowedFd<'_>) {
    let size = term::window_size(io::stdin())
        .or_else(|_| term::window_size(io::stdout()))
        .or_else(|_| term::window_size(io::stderr()));
    if let Ok(size) = size {
        // A terminal that is gone has no size; the loop sees its end.
        term::set_window_size(master, &size).ok();
    }
}

fn has_onlcr(terminal: impl AsFd) -> Result<bool, SysError> {
    Ok(modes(terminal, "stdout")?.output_flags.contains(OutputFlags::ONLCR))
}

fn is_terminal(fd: impl AsFd) -> bool {
    isatty(fd).unwrap_or(false)
}

fn modes(terminal: impl AsFd, name: &str) -> Result<Termios, SysError> {
    tcgetattr(terminal).map_err(|errno| SysError::new(errno, || format!("tcgetattr({name})")))
}

fn set(terminal: impl AsFd, name: &str, modes: &Termios) -> Result<(), SysError> {
    tcsetattr(terminal, SetArg::TCSANOW, modes)
        .map_err(|errno| SysError::new(errno, || format!("tcsetattr({name})")))
}

/// The caller's stdin. A terminal is in raw mode while this process is in its foreground; in the background
/// it belongs to others (the shell), and is neither read nor changed.
#[derive(Debug)]
pub(crate) struct Keyboard<'f> {
    fd: BorrowedFd<'f>,
    /// How the terminal was before, if it is one.
    before: Option<Termios>,
    /// It is no terminal, or this process is in its foreground.
    ours: bool,
}

impl<'f> Keyboard<'f> {
    pub(crate) fn new(fd: BorrowedFd<'f>) -> Result<Self, SysError> {
        let before = if is_terminal(fd) { Some(modes(fd, "stdin")?) } else { None };
        let mut keyboard = Self { fd, before, ours: true };
        keyboard.take()?;
        Ok(keyboard)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'f> {
        self.fd
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.ours
    }

    /// Makes the terminal raw, if this process is in its foreground now.
    pub(crate) fn take(&mut self) -> Result<(), SysError> {
        let Some(before) = &self.before else { return Ok(()) };
        self.ours = is_in_foreground(self.fd);
        if self.ours {
            let mut raw = before.clone();
            cfmakeraw(&mut raw);
            set(self.fd, "stdin", &raw)?;
        }
        Ok(())
    }

    /// A read has failed, or nothing came: whether that was as somebody else has the terminal now.
    pub(crate) fn has_lost_it(&mut self) -> bool {
        self.ours = self.before.is_none() || is_in_foreground(self.fd);
        !self.ours
    }
}

impl Drop for Keyboard<'_> {
    fn drop(&mut self) {
        if let Some(before) = self.before.as_ref().filter(|_| is_in_foreground(self.fd)) {
            // The terminal may have been hung up; then there is nothing to restore.
            set(self.fd, "stdin", before).ok();
        }
    }
}

/// Whether this process may use the terminal. Job control is about the controlling terminal alone; another
/// one is free to use.
fn is_in_foreground(terminal: BorrowedFd<'_>) -> bool {
    match tcgetpgrp(terminal) {
        Ok(group) => group == getpgrp(),
        // Not the controlling one (ENOTTY), or hung up, which is to be seen.
        Err(_) => true,
    }
}
