//! The operands of steps: each kind with its wire form and with how it is printed.
//!
//! A kind says by its type what an operand means, so that `corten plan` prints `attributes=ro,nosuid` and not
//! a number. Reading is done by init and allocates nothing; writing is done by the runtime alone.

use core::fmt;

use crate::reader::{DecodeError, Reader};

/// What the runtime writes and prints.
pub(crate) trait Operand {
    /// Whether it names slots, whose role the table of steps must then say.
    const NAMES_SLOTS: bool = false;

    /// Appends the wire form; `None` if it is too long for one.
    #[cfg(not(corten_freestanding))]
    fn write(&self, out: &mut Vec<u8>) -> Option<()>;

    /// Prints the value; with `#` so that it is one word of a line.
    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    /// Calls `visit` with each slot that it names.
    fn slots(&self, _visit: &mut dyn FnMut(Slot)) {}
}

/// What init reads. Where there is nothing to read, something is returned and the reader keeps the error: one
/// look at it after a step's last operand is all that the step takes, which makes init smaller.
pub(crate) trait Wire<'a>: Sized {
    fn read(from: &mut Reader<'a>) -> Self;
}

/// An operand, to be printed.
pub(crate) struct Printed<'a, T>(pub(crate) &'a T);

impl<T: Operand> fmt::Display for Printed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.print(f)
    }
}

/// Prints `none`, or the parts with something between them.
fn separated<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    separator: &str,
    parts: impl IntoIterator<Item = T>,
) -> fmt::Result {
    let mut is_empty = true;
    for part in parts {
        if !is_empty {
            f.write_str(separator)?;
        }
        is_empty = false;
        write!(f, "{part}")?;
    }
    if is_empty { f.write_str("none") } else { Ok(()) }
}

// Numbers

/// Numbers of the machine that are printed in decimal.
macro_rules! plain_numbers {
    ($( $number:ty )*) => { $(
        impl Operand for $number {
            #[cfg(not(corten_freestanding))]
            fn write(&self, out: &mut Vec<u8>) -> Option<()> {
                out.extend_from_slice(&self.to_le_bytes());
                Some(())
            }

            fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl<'a> Wire<'a> for $number {
            #[inline(never)]
    fn read(from: &mut Reader<'a>) -> Self {
                Self::from_le_bytes(from.array())
            }
        }
    )* };
}

plain_numbers! { u16 u32 i32 u64 }

impl Operand for bool {
    #[cfg(not(corten_freestanding))]
    fn write(&self, out: &mut Vec<u8>) -> Option<()> {
        out.push(u8::from(*self));
        Some(())
    }

    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self { "yes" } else { "no" })
    }
}

impl<'a> Wire<'a> for bool {
    #[inline(never)]
    fn read(from: &mut Reader<'a>) -> Self {
        let [byte] = from.array();
        if byte > 1 {
            from.fail(DecodeError::Value);
        }
        byte == 1
    }
}

/// Makes a kind of a number, with its wire form. How it is printed is its `Display`.
macro_rules! number {
    ($( #[$doc:meta] )* $name:ident($number:ty)) => {
        $( #[$doc] )*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub struct $name(pub $number);

        impl Operand for $name {
            #[cfg(not(corten_freestanding))]
            fn write(&self, out: &mut Vec<u8>) -> Option<()> {
                self.0.write(out)
            }

            fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl<'a> Wire<'a> for $name {
            #[inline(never)]
    fn read(from: &mut Reader<'a>) -> Self {
                Self(Wire::read(from))
            }
        }
    };
}

mod choices;
mod flags;
mod lists;
mod slots;

pub use choices::{CallersGroups, Target, TreeFlags};
pub use flags::{
    Attributes, CapabilitySet, FilterFlags, Mode, Namespaces, Propagation, Resource, SchedulerFlags,
};
pub(crate) use lists::strings;
pub use lists::{Filter, Ids, Mask, Options, Ranges, Strings};
pub use slots::{Role, Slot, SlotRange, Slots};
