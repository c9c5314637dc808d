//! The program's wire form, and its reading without allocation.
//!
//! ```text
//! header   magic: "CORTEN" and the fingerprint of the table of steps | slots: u32 | steps: u32
//! slots    one i32 each: the fd that the runtime passes, or -1
//! step     length of what follows: u32 | the step's place in the table: u16 | item: text | operands…
//! text     length: u32 | bytes | NUL          list   length: u32 | bytes
//! ```
//!
//! What the other operands are is in `operand`. Numbers are little-endian and nothing is aligned. Strings
//! end with NUL, so that they are passed to the kernel where they lie. Attacker: nobody writes the program
//! but the runtime (it is a sealed memfd), yet every length is checked: the same bytes are what
//! `/proc/self/exe` run by a container process would read.

use core::ffi::CStr;

use crate::reader::{DecodeError, Reader};
use crate::step::{FINGERPRINT, WireStep};

/// The first bytes of a program. The last two tell builds with another table of steps apart.
pub(crate) const MAGIC: [u8; 8] = {
    let ([c, o, r, t, e, n], [low, high]) = (*b"CORTEN", FINGERPRINT.to_le_bytes());
    [c, o, r, t, e, n, low, high]
};
/// The most steps that a program may have.
pub const MAX_STEPS: u32 = 1 << 20;
/// Length of the header.
pub(crate) const HEADER: usize = 16;

/// A program: the table of file descriptors and the steps.
#[derive(Debug, Clone, Copy)]
pub struct Program<'a> {
    slots: u32,
    steps: u32,
    bytes: &'a [u8],
}

impl<'a> Program<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// The header is wrong or the table of slots is cut off. The steps are checked as they are read.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut header = Reader::new(bytes, 0);
        let (magic, slots, steps) = (header.array(), header.array(), header.array());
        header.result()?;
        if magic != MAGIC {
            return Err(DecodeError::Magic);
        }
        let (slots, steps) = (u32::from_le_bytes(slots), u32::from_le_bytes(steps));
        if steps > MAX_STEPS || slots > 1 << 16 {
            return Err(DecodeError::Count);
        }
        header.take(slots as usize * 4);
        header.result().map(|()| Self { slots, steps, bytes })
    }

    /// Returns the number of slots.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// Returns the fds of the slots as the runtime passed them, -1 for an empty slot.
    pub fn fds(&self) -> impl Iterator<Item = i32> + 'a {
        let table = self.bytes.get(HEADER..HEADER + self.slots as usize * 4).unwrap_or_default();
        table.as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes))
    }

    /// Returns the steps with the config item each came from. The first error ends the iteration.
    pub fn steps(&self) -> Steps<'a> {
        Steps {
            rest: self.bytes.get(HEADER + self.slots as usize * 4..).unwrap_or_default(),
            left: self.steps,
            slots: self.slots,
        }
    }
}

/// The steps of a program, in order. See [`Program::steps`].
#[derive(Debug, Clone)]
pub struct Steps<'a> {
    rest: &'a [u8],
    left: u32,
    slots: u32,
}

impl<'a> Steps<'a> {
    fn read(&mut self) -> Result<(&'a CStr, WireStep<'a>), DecodeError> {
        let mut outer = Reader::new(self.rest, self.slots);
        let step = outer.bytes();
        outer.result()?;
        self.rest = outer.rest();
        let mut inner = Reader::new(step, self.slots);
        let (number, item) = (u16::from_le_bytes(inner.array()), inner.text());
        let step = WireStep::read(number, &mut inner).ok_or(DecodeError::Operation(number))?;
        inner.result()?;
        if inner.rest().is_empty() { Ok((item, step)) } else { Err(DecodeError::Trailing) }
    }
}

impl<'a> Iterator for Steps<'a> {
    type Item = Result<(&'a CStr, WireStep<'a>), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            if self.rest.is_empty() {
                return None;
            }
            self.rest = &[];
            return Some(Err(DecodeError::Count));
        }
        self.left -= 1;
        let read = self.read();
        if read.is_err() {
            (self.left, self.rest) = (0, &[]);
        }
        Some(read)
    }
}
