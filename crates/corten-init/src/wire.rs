//! The program's wire form, and its reading without allocation.
//!
//! ```text
//! header   magic "CORTEN\0\1" | slots: u32 | steps: u32
//! slots    one i32 each: the fd that the runtime passes, or -1
//! step     length of what follows: u32 | op: u16 | item: text | operands…
//! number   u64            slot   u16
//! text     length: u32 | bytes | NUL          bytes  length: u32 | bytes
//! ```
//!
//! Numbers are little-endian and nothing is aligned. Strings end with NUL, so that they are passed to the kernel where they lie.
//! Attacker: nobody writes the program but the runtime (it is a sealed memfd), yet every length is checked: the same bytes are
//! what `/proc/self/exe` run by a container process would read.

use core::ffi::CStr;

use crate::step::{Slot, WireStep};

/// The first bytes of a program; the last byte is the version of the form.
pub(crate) const MAGIC: [u8; 8] = *b"CORTEN\0\x01";
/// The most steps that a program may have.
pub const MAX_STEPS: u32 = 1 << 20;
/// Length of the header.
pub(crate) const HEADER: usize = 16;

/// Why bytes are not a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// The first bytes are not those of a program of this version.
    Magic,
    /// A length points past the end.
    Truncated,
    /// A text without its NUL, or with one inside.
    Text,
    /// An operation that there is not.
    Operation(u16),
    /// Bytes left over in a step.
    Trailing,
    /// A slot outside of the table.
    Slot(Slot),
    /// More steps than [`MAX_STEPS`], or fewer than the header says.
    Count,
}

impl core::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Magic => f.write_str("not a program of this version"),
            Self::Truncated => f.write_str("a length points past the end"),
            Self::Text => f.write_str("a text is not ended by its only NUL"),
            Self::Operation(op) => write!(f, "no operation {op}"),
            Self::Trailing => f.write_str("a step has bytes left over"),
            Self::Slot(slot) => write!(f, "no slot {}", slot.0),
            Self::Count => f.write_str("wrong number of steps"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// Reads one step's bytes.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    slots: u32,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    fn length(&mut self) -> Result<usize, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    pub(crate) fn read<T: Wire<'a>>(&mut self) -> Result<T, DecodeError> {
        T::read(self)
    }
}

/// What can be read from a step's bytes.
pub(crate) trait Wire<'a>: Sized {
    fn read(from: &mut Reader<'a>) -> Result<Self, DecodeError>;
}

impl<'a> Wire<'a> for u64 {
    fn read(from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(u64::from_le_bytes(from.array()?))
    }
}

impl<'a> Wire<'a> for Slot {
    fn read(from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let slot = Slot(u16::from_le_bytes(from.array()?));
        if u32::from(slot.0) < from.slots { Ok(slot) } else { Err(DecodeError::Slot(slot)) }
    }
}

impl<'a> Wire<'a> for &'a [u8] {
    fn read(from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let length = from.length()?;
        from.take(length)
    }
}

impl<'a> Wire<'a> for &'a CStr {
    fn read(from: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let length = from.length()?.checked_add(1).ok_or(DecodeError::Truncated)?;
        CStr::from_bytes_with_nul(from.take(length)?).map_err(|_| DecodeError::Text)
    }
}

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
        let mut header = Reader { rest: bytes, slots: 0 };
        if header.array::<8>()? != MAGIC {
            return Err(DecodeError::Magic);
        }
        let (slots, steps) = (u32::from_le_bytes(header.array()?), u32::from_le_bytes(header.array()?));
        if steps > MAX_STEPS || slots > 1 << 16 {
            return Err(DecodeError::Count);
        }
        header.take(slots as usize * 4)?;
        Ok(Self { slots, steps, bytes })
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
        let mut outer = Reader { rest: self.rest, slots: self.slots };
        let step = outer.read::<&[u8]>()?;
        self.rest = outer.rest;
        let mut inner = Reader { rest: step, slots: self.slots };
        let op = u16::from_le_bytes(inner.array()?);
        let item = inner.read::<&CStr>()?;
        let step = WireStep::read(op, &mut inner)?.ok_or(DecodeError::Operation(op))?;
        if inner.rest.is_empty() { Ok((item, step)) } else { Err(DecodeError::Trailing) }
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
