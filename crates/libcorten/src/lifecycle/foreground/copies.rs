//! Stdio that is copied: files of the caller's on one side, pipes on the other.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::poll::PollFlags;
use nix::unistd::write;

use super::buffer::Buffer;

/// As much as a pipe may hold for an unprivileged user: whoever writes on and on after the container's end is
/// not heard for ever.
const MOST_LEFT: usize = 1 << 20;

/// The caller's ends of the pipes, by number; none where the process has the caller's own stdio. They do not
/// block.
pub(crate) type Ends = [Option<OwnedFd>; 3];

/// What is copied. The files on the caller's side never make anybody wait.
#[derive(Debug)]
pub(super) struct Copies {
    /// None any more at the end of either side: the other one gets to know of it.
    ends: Ends,
    input: Buffer,
    output: Buffer,
}

impl Copies {
    pub(super) const fn new(ends: Ends) -> Self {
        Self { ends, input: Buffer::new(), output: Buffer::new() }
    }

    /// What to wait for, in the order of [`Copies::turn`].
    pub(super) fn interest(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let flags = [PollFlags::POLLOUT, PollFlags::POLLIN, PollFlags::POLLIN];
        self.ends.iter().zip(flags).filter_map(|(end, flags)| Some((end.as_ref()?.as_fd(), flags)))
    }

    /// Whether somebody may still write.
    pub(super) fn has_writers(&self) -> bool {
        let [_, outputs @ ..] = &self.ends;
        outputs.iter().any(Option::is_some)
    }

    /// Copies what can be copied without waiting: where something was reported, in the order of
    /// [`Copies::interest`].
    pub(super) fn turn(&mut self, reported: &[bool]) {
        let open = self.ends.iter().enumerate().filter(|(_, end)| end.is_some()).map(|(number, _)| number);
        let ready: Vec<usize> =
            open.zip(reported).filter(|(_, ready)| **ready).map(|(number, _)| number).collect();
        for number in ready {
            if number == 0 {
                self.feed();
            } else {
                self.take(number);
            }
        }
    }

    fn feed(&mut self) {
        let [Some(pipe), ..] = &self.ends else { return };
        if self.input.is_empty() && !self.input.fill(io::stdin().as_fd()) {
            self.ends[0] = None;
            return;
        }
        if !self.input.written(write(pipe, self.input.pending())) {
            self.ends[0] = None;
        }
    }

    /// Returns how much it was.
    fn take(&mut self, number: usize) -> usize {
        let Some(Some(pipe)) = self.ends.get(number) else { return 0 };
        let mut open = self.output.fill(pipe.as_fd());
        let length = self.output.pending().len();
        while open && !self.output.is_empty() {
            let pending = self.output.pending();
            open = self.output.written(if number == 1 {
                write(io::stdout(), pending)
            } else {
                write(io::stderr(), pending)
            });
        }
        if !open {
            // Whoever writes to a full disk, say, is to know.
            self.output = Buffer::new();
            self.ends[number] = None;
        }
        length
    }

    /// Copies what was written before the end.
    pub(super) fn finish(mut self) {
        for number in [1, 2] {
            let mut left = MOST_LEFT;
            loop {
                match self.take(number) {
                    0 => break,
                    length => left = left.saturating_sub(length),
                }
                if left == 0 {
                    break;
                }
            }
        }
    }
}
