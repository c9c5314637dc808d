//! Reading what steps are written as, without allocation and without panics. The first error is kept; what is
//! read after it has no meaning.

use core::ffi::CStr;

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
    Slot(u16),
    /// More steps than a program may have, or fewer than the header says.
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
    /// `slots`: how many the program has.
    pub(crate) fn new(bytes: &'a [u8], slots: u32) -> Self {
        Self { rest: bytes, slots, error: None }
    }

    pub(crate) fn fail(&mut self, error: DecodeError) {
        self.error.get_or_insert(error);
    }

    #[inline(never)]
    pub(crate) fn take(&mut self, length: usize) -> &'a [u8] {
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

    /// Fails unless the program has a slot of this number.
    pub(crate) fn must_have_slot(&mut self, number: u16) {
        if u32::from(number) >= self.slots {
            self.fail(DecodeError::Slot(number));
        }
    }

    /// What has not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether all has gone well.
    pub(crate) fn result(&self) -> Result<(), DecodeError> {
        self.error.map_or(Ok(()), Err)
    }
}
