//! Places in the program's table of file descriptors, and what a step does with them.

use core::fmt;

use super::lists::Strings;
use super::{Operand, Wire, separated};
use crate::reader::Reader;

/// The number of a file descriptor's place in the program's table.
///
/// The runtime fills places before the start (mount sources, sockets); steps fill and use them by number. The
/// first place is the executor's own, for the socket to the runtime: no step names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u16);

impl Slot {
    /// In the wire form, where there is none.
    const NONE: u16 = u16::MAX;
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Operand for Slot {
    const NAMES_SLOTS: bool = true;

    #[cfg(not(corten_freestanding))]
    fn write(&self, out: &mut Vec<u8>) -> Option<()> {
        self.0.write(out)
    }

    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }

    fn slots(&self, visit: &mut dyn FnMut(Slot)) {
        visit(*self);
    }
}

impl<'a> Wire<'a> for Slot {
    #[inline(never)]
    fn read(from: &mut Reader<'a>) -> Self {
        let number = u16::read(from);
        from.must_have_slot(number);
        Slot(number)
    }
}

impl Operand for Option<Slot> {
    const NAMES_SLOTS: bool = true;

    #[cfg(not(corten_freestanding))]
    fn write(&self, out: &mut Vec<u8>) -> Option<()> {
        self.map_or(Slot::NONE, |slot| slot.0).write(out)
    }

    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        separated(f, "", *self)
    }

    fn slots(&self, visit: &mut dyn FnMut(Slot)) {
        self.iter().for_each(|slot| visit(*slot));
    }
}

impl<'a> Wire<'a> for Option<Slot> {
    #[inline(never)]
    fn read(from: &mut Reader<'a>) -> Self {
        match u16::read(from) {
            Slot::NONE => None,
            number => {
                from.must_have_slot(number);
                Some(Slot(number))
            }
        }
    }
}

/// Slots that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotRange {
    /// The first one.
    pub first: Slot,
    /// How many.
    pub count: u16,
}

impl SlotRange {
    /// Returns the slots, in order.
    pub fn iter(self) -> impl Iterator<Item = Slot> {
        (self.first.0..self.first.0.saturating_add(self.count)).map(Slot)
    }
}

impl fmt::Display for SlotRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        separated(f, ",", self.iter())
    }
}

impl Operand for SlotRange {
    const NAMES_SLOTS: bool = true;

    #[cfg(not(corten_freestanding))]
    fn write(&self, out: &mut Vec<u8>) -> Option<()> {
        self.first.write(out).and_then(|()| self.count.write(out))
    }

    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }

    fn slots(&self, visit: &mut dyn FnMut(Slot)) {
        self.iter().for_each(visit);
    }
}

impl<'a> Wire<'a> for SlotRange {
    #[inline(never)]
    fn read(from: &mut Reader<'a>) -> Self {
        Self { first: Wire::read(from), count: Wire::read(from) }
    }
}

/// What a step does with a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Uses the file descriptor, which stays.
    Reads,
    /// Puts a file descriptor there.
    Fills,
    /// Uses the file descriptor, and leaves the slot empty.
    Takes,
}

/// A list of slots: numbers of 16 bits, little-endian.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Slots<B>(pub B);

impl<B: AsRef<[u8]>> Slots<B> {
    /// Returns the slots, in order.
    pub fn iter(&self) -> impl Iterator<Item = Slot> {
        self.0.as_ref().as_chunks::<2>().0.iter().map(|number| Slot(u16::from_le_bytes(*number)))
    }
}

impl<B: AsRef<[u8]>> Operand for Slots<B> {
    const NAMES_SLOTS: bool = true;

    #[cfg(not(corten_freestanding))]
    fn write(&self, out: &mut Vec<u8>) -> Option<()> {
        Strings(self.0.as_ref()).write(out)
    }

    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        separated(f, ",", self.iter())
    }

    fn slots(&self, visit: &mut dyn FnMut(Slot)) {
        self.iter().for_each(visit);
    }
}

impl<'a> Wire<'a> for Slots<&'a [u8]> {
    #[inline(never)]
    fn read(from: &mut Reader<'a>) -> Self {
        Self(from.bytes())
    }
}

#[cfg(not(corten_freestanding))]
impl Slots<Vec<u8>> {
    /// Makes the list.
    pub fn new(slots: impl IntoIterator<Item = Slot>) -> Self {
        Self(slots.into_iter().flat_map(|slot| slot.0.to_le_bytes()).collect())
    }
}
