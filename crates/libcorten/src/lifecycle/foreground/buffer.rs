//! Bytes on their way from one fd to another.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::unistd::read;

/// Bytes on their way.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: [u8; 4096],
    start: usize,
    end: usize,
}

impl Buffer {
    pub(super) const fn new() -> Self {
        Self { bytes: [0; 4096], start: 0, end: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(super) fn pending(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Fills an empty buffer; `false` at the end of the stream.
    pub(super) fn fill(&mut self, from: BorrowedFd<'_>) -> bool {
        match read(from, &mut self.bytes) {
            Ok(0) => false,
            Ok(length) => {
                (self.start, self.end) = (0, length);
                true
            }
            Err(Errno::EAGAIN | Errno::EINTR) => true,
            // A caller's terminal that was hung up, say.
            Err(_) => false,
        }
    }

    /// Takes note of what was written; `false` when the other side is gone.
    pub(super) fn written(&mut self, result: Result<usize, Errno>) -> bool {
        match result {
            Ok(length) => {
                self.start += length;
                true
            }
            Err(Errno::EAGAIN | Errno::EINTR) => true,
            Err(_) => false,
        }
    }
}
