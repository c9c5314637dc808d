//! The program's wire form, and its reading without allocation.
//!
//! ```text
//! header   magic: "CORTEN" and the fingerprint of the table of steps | slots: u32 | steps: u32
//! slots    one i32 each: the fd that the runtime passes, or -1
//! step     length of what follows: u32 | the step's place in the table: u16 | item: text | operands…
//! text     length: u32 | bytes | NUL          list   length: u32 | bytes
//! ```
//!
//! What the other operands are is in `operand.rs`. Numbers are little-endian and nothing is aligned. Strings
//! end with NUL, so that they are passed to the kernel where they lie. Attacker: nobody writes the program
//! but the runtime (it is a sealed memfd), yet every length is checked: the same bytes are what
//! `/proc/self/exe` run by a container process would read.

use core::ffi::CStr;

use crate::operand::Slot;
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

/// Why bytes are not a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// The first bytes are not those of a program of this build.
    Magic,
    /// A length points past the end.
    Truncated,
    /// A text without its NUL, or with one inside.
    Text,
    /// An operation that there is not.
    Operation(u16),
    /// Bytes left over in a step.
    Trailing,
    /// An operand with a value that it cannot have.
    Value,
    /// A slot outside of the table.
    Slot(Slot),
    /// More steps than [`MAX_STEPS`], or fewer than the header says.
    Count,
}

impl core::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Magic => f.write_str("not a program of this build"),
            Self::Truncated => f.write_str("a length points past the end"),
            Self::Text => f.write_str("a text is not ended by its only NUL"),
            Self::Operation(op) => write!(f, "no operation {op}"),
            Self::Trailing => f.write_str("a step has bytes left over"),
            Self::Value => f.write_str("an operand has a value that it cannot have"),
            Self::Slot(slot) => write!(f, "no slot {slot}"),
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
    /// The first one.
    error: Option<DecodeError>,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], slots: u32) -> Self {
        Self { rest: bytes, slots, error: None }
    }

    pub(crate) fn fail(&mut self, error: DecodeError) {
        self.error.get_or_insert(error);
    }

    #[inline(never)]
    fn take(&mut self, length: usize) -> &'a [u8] {
        let Some((head, rest)) = self.rest.split_at_checked(length) else {
            self.fail(DecodeError::Truncated);
            return &[];
        };
        self.rest = rest;
        head
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        self.take(N).first_chunk().copied().unwrap_or([0; N])
    }

    fn length(&mut self) -> usize {
        u32::from_le_bytes(self.array()) as usize
    }

    #[inline(never)]
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let length = self.length();
        self.take(length)
    }

    #[inline(never)]
    pub(crate) fn text(&mut self) -> &'a CStr {
        let length = self.length().saturating_add(1);
        let bytes = self.take(length);
        CStr::from_bytes_with_nul(bytes).unwrap_or_else(|_| {
            self.fail(DecodeError::Text);
            c""
        })
    }

    /// A slot, which the program must have.
    pub(crate) fn slot(&mut self, number: u16) -> Slot {
        let slot = Slot(number);
        if u32::from(number) >= self.slots {
            self.fail(DecodeError::Slot(slot));
        }
        slot
    }

    /// Whether all has gone well.
    fn result(&self) -> Result<(), DecodeError> {
        self.error.map_or(Ok(()), Err)
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
        self.rest = outer.rest;
        let mut inner = Reader::new(step, self.slots);
        let (number, item) = (u16::from_le_bytes(inner.array()), inner.text());
        let step = WireStep::read(number, &mut inner).ok_or(DecodeError::Operation(number))?;
        inner.result()?;
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
