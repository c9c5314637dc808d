//! The way of bytes between the caller's stdio and the container's terminal.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFlags, PollTimeout};
use nix::unistd::write;

use super::Events;
use super::buffer::Buffer;
use super::output::Output;
use crate::Result;
use crate::sys::{SysError, term};
use crate::terminal::{Keyboard, resize};

/// More than a terminal holds that nobody has read: whoever writes on and on after the container's end is not
/// heard for ever.
const MOST_LEFT: usize = 1 << 16;

/// How often this process, in the background of the caller's terminal, looks whether it is in the foreground,
/// in milliseconds: a shell that brings it there says nothing.
const LOOK: u16 = 200;

/// What a relay waits for: input, master, output.
pub(super) type Interest = (PollFlags, PollFlags, PollFlags);

/// Readable and writable, of the master.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct MasterEvents {
    pub(super) readable: bool,
    pub(super) writable: bool,
}

/// Connects the caller's terminal with the container's.
#[derive(Debug)]
pub(super) struct Relay<'f> {
    master: OwnedFd,
    /// While nobody has it open the master cannot be read: a program may close its terminal and open
    /// `/dev/console` later.
    _peer: OwnedFd,
    input: Keyboard<'f>,
    output: Output<'f>,
    to_container: Buffer,
    from_container: Buffer,
    input_open: bool,
    master_open: bool,
    output_open: bool,
}

impl<'f> Relay<'f> {
    pub(super) fn new(master: OwnedFd, input: BorrowedFd<'f>, output: BorrowedFd<'f>) -> Result<Self> {
        // The master is ours alone, so its flags are, too; those of stdin and stdout belong to others.
        fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .map_err(|errno| SysError::new(errno, || "fcntl(F_SETFL, O_NONBLOCK)".to_owned()))?;
        let relay = Self {
            _peer: term::peer(&master)?,
            master,
            input: Keyboard::new(input)?,
            output: Output::new(output),
            to_container: Buffer::new(),
            from_container: Buffer::new(),
            input_open: true,
            master_open: true,
            output_open: true,
        };
        // The program may have chosen a size by now.
        if term::window_size(&relay.master).is_ok_and(|size| (size.ws_row, size.ws_col) == (0, 0)) {
            relay.resize();
        }
        Ok(relay)
    }

    pub(super) fn resize(&self) {
        resize(self.master.as_fd());
    }

    /// This process was stopped, and the terminal in the hands of others.
    pub(super) fn resume(&mut self) -> Result<()> {
        Ok(self.input.take()?)
    }

    /// Input, master, output.
    pub(super) fn fds(&self) -> [BorrowedFd<'_>; 3] {
        [self.input.fd(), self.master.as_fd(), self.output.fd()]
    }

    /// How long to wait for events.
    pub(super) fn patience(&self) -> PollTimeout {
        if self.input_open && !self.input.is_ours() { PollTimeout::from(LOOK) } else { PollTimeout::NONE }
    }

    pub(super) fn has_output(&self) -> bool {
        !self.from_container.is_empty()
    }

    pub(super) fn interest(&self) -> Interest {
        let when = |condition: bool, flags: PollFlags| if condition { flags } else { PollFlags::empty() };
        (
            when(self.input_open && self.input.is_ours() && self.to_container.is_empty(), PollFlags::POLLIN),
            when(self.master_open && self.from_container.is_empty(), PollFlags::POLLIN)
                | when(self.master_open && !self.to_container.is_empty(), PollFlags::POLLOUT),
            when(self.output_open && !self.from_container.is_empty(), PollFlags::POLLOUT),
        )
    }

    /// Moves what can be moved without waiting.
    pub(super) fn turn(&mut self, events: &Events, wants_write: bool) -> Result<()> {
        if self.input_open && !self.input.is_ours() {
            self.input.take()?;
        }
        if events.input && self.to_container.is_empty() {
            self.input_open = self.to_container.fill(self.input.fd()) || self.input.has_lost_it();
        }
        if events.master.readable && self.from_container.is_empty() {
            self.master_open = self.from_container.fill(self.master.as_fd());
        }
        if events.master.writable && !self.to_container.is_empty() {
            let result = write(&self.master, self.to_container.pending());
            self.master_open &= self.to_container.written(result);
        }
        if events.output && wants_write {
            self.flush();
        }
        Ok(())
    }

    /// Writes what goes. When nobody reads any more, what the container writes goes nowhere, but it must not
    /// block on it.
    fn flush(&mut self) {
        let result = self.output.write(self.from_container.pending());
        self.output_open = self.from_container.written(result);
        if !self.output_open {
            self.from_container = Buffer::new();
        }
    }

    /// Writes out all that the container has written before its end, and gives the caller's terminal back.
    pub(super) fn finish(mut self) -> Result<()> {
        let mut left = MOST_LEFT;
        while self.output_open {
            if self.from_container.is_empty() {
                self.master_open =
                    self.master_open && left > 0 && self.from_container.fill(self.master.as_fd());
                left = left.saturating_sub(self.from_container.pending().len());
            }
            // Empty after filling: nothing more is there (EAGAIN), or the end.
            if self.from_container.is_empty() || !self.output.wait() {
                break;
            }
            self.flush();
        }
        Ok(())
    }
}
