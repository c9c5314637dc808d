//! Writing a program: the runtime's side of `wire`.

use std::ffi::CStr;

use crate::operand::Operand;
use crate::step::OwnedStep;
use crate::wire::{MAGIC, MAX_STEPS};

/// A step together with the config item it came from.
pub type EncodedStep<'a> = (&'a CStr, &'a OwnedStep);

/// Why a plan has no wire form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodeError {
    /// More steps than [`MAX_STEPS`].
    TooManySteps(usize),
    /// More slots than a slot number can name.
    TooManySlots(usize),
    /// An operand longer than 4 GiB, in the step of this index.
    TooLong(usize),
}

impl std::fmt::Display for EncodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooManySteps(n) => write!(f, "{n} steps are more than the {MAX_STEPS} that init takes"),
            Self::TooManySlots(n) => {
                write!(f, "{n} file descriptors are more than the 65535 that init takes")
            }
            Self::TooLong(step) => write!(f, "step {step} has an operand that is too long"),
        }
    }
}

impl std::error::Error for EncodeError {}

/// Writes a program. `fds[n]` is the fd that slot n holds at the start, -1 for an empty slot.
///
/// # Errors
/// The program has more steps or slots than init takes.
pub fn encode<'a>(
    fds: &[i32],
    steps: impl ExactSizeIterator<Item = EncodedStep<'a>>,
) -> Result<Vec<u8>, EncodeError> {
    let slots = u16::try_from(fds.len()).map_err(|_| EncodeError::TooManySlots(fds.len()))?;
    let count = u32::try_from(steps.len())
        .ok()
        .filter(|n| *n <= MAX_STEPS)
        .ok_or(EncodeError::TooManySteps(steps.len()))?;
    let mut out = Vec::with_capacity(8192);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&u32::from(slots).to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    for fd in fds {
        out.extend_from_slice(&fd.to_le_bytes());
    }
    for (index, (item, step)) in steps.enumerate() {
        encode_step(&mut out, item, step).ok_or(EncodeError::TooLong(index))?;
    }
    Ok(out)
}

fn encode_step(out: &mut Vec<u8>, item: &CStr, step: &OwnedStep) -> Option<()> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&step.number().to_le_bytes());
    item.write(out)?;
    step.write(out)?;
    let length = u32::try_from(out.len() - start - 4).ok()?;
    out.get_mut(start..start + 4)?.copy_from_slice(&length.to_le_bytes());
    Some(())
}
