//! Strings and lists. Strings end with NUL, so that they are passed to the kernel where they lie; lists are
//! bytes, as the kernel takes them.

use core::ffi::CStr;
use core::fmt;

use super::{Operand, Wire, separated};
use crate::reader::Reader;

#[cfg(not(corten_freestanding))]
fn write_length(length: usize, out: &mut Vec<u8>) -> Option<()> {
    u32::try_from(length).ok()?.write(out)
}

/// Prints bytes that are text most often; with `#` in quotes where it would not be one word.
fn print_text(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    if f.alternate() && (bytes.is_empty() || bytes.iter().any(|byte| matches!(byte, b' ' | b'"'))) {
        return print_quoted(f, bytes);
    }
    bytes.utf8_chunks().try_for_each(|chunk| {
        f.write_str(chunk.valid())?;
        f.write_str(if chunk.invalid().is_empty() { "" } else { "\u{fffd}" })
    })
}

fn print_quoted(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    match str::from_utf8(bytes) {
        Ok(text) => write!(f, "{text:?}"),
        Err(_) => write!(f, "\"{}\"", bytes.escape_ascii()),
    }
}

/// Strings end with NUL on the wire, so that they are passed to the kernel where they lie.
macro_rules! strings_of {
    ($( $( #[$attribute:meta] )* $kind:ty; )*) => { $(
        $( #[$attribute] )*
        impl Operand for $kind {
            #[cfg(not(corten_freestanding))]
            fn write(&self, out: &mut Vec<u8>) -> Option<()> {
                write_length(self.count_bytes(), out)?;
                out.extend_from_slice(self.to_bytes_with_nul());
                Some(())
            }

            fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                print_text(f, self.to_bytes())
            }
        }
    )* };
}

strings_of! {
    &CStr;
    #[cfg(not(corten_freestanding))]
    std::ffi::CString;
}

impl<'a> Wire<'a> for &'a CStr {
    #[inline(never)]
    fn read(from: &mut Reader<'a>) -> Self {
        from.text()
    }
}

/// Makes kinds of lists, which are bytes. `B`: owned in the runtime's plan, borrowed from the mapped program
/// in init.
macro_rules! lists {
    ($( $( #[$doc:meta] )* $name:ident $print:ident; )*) => { $(
        $( #[$doc] )*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct $name<B>(pub B);

        impl<B: AsRef<[u8]>> Operand for $name<B> {
            #[cfg(not(corten_freestanding))]
            fn write(&self, out: &mut Vec<u8>) -> Option<()> {
                let bytes = self.0.as_ref();
                write_length(bytes.len(), out)?;
                out.extend_from_slice(bytes);
                Some(())
            }

            fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $print(f, self.0.as_ref())
            }
        }

        impl<B: AsRef<[u8]>> fmt::Display for $name<B> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.print(f)
            }
        }

        impl<'a> Wire<'a> for $name<&'a [u8]> {
            #[inline(never)]
    fn read(from: &mut Reader<'a>) -> Self {
                Self(from.bytes())
            }
        }
    )* };
}

lists! {
    /// Strings that each end with NUL.
    Strings print_strings;
    /// Options of a filesystem: key and value in turn, each ending with NUL. An empty value is a flag, a
    /// string begins with `=`.
    Options print_options;
    /// Ids of users or groups: numbers of 32 bits, as the machine has them.
    Ids print_ids;
    /// Ranges of numbers: the first and the last of each, of 32 bits, little-endian.
    Ranges print_ranges;
    /// A mask of CPUs or of nodes of memory: words of 64 bits, as the machine has them.
    Mask print_mask;
    /// A seccomp filter: an array of `struct sock_filter`.
    Filter print_filter;
}

/// The strings of a block.
pub(crate) fn strings(block: &[u8]) -> impl Iterator<Item = &CStr> + Clone {
    block.split_inclusive(|byte| *byte == 0).filter_map(|text| CStr::from_bytes_with_nul(text).ok())
}

impl Ranges<&[u8]> {
    /// Returns the first and the last number of each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = [u32; 2]> {
        ranges(self.0)
    }
}

fn ranges(bytes: &[u8]) -> impl Iterator<Item = [u32; 2]> {
    bytes.as_chunks::<4>().0.as_chunks::<2>().0.iter().map(|range| range.map(u32::from_le_bytes))
}

fn print_strings(f: &mut fmt::Formatter<'_>, block: &[u8]) -> fmt::Result {
    f.write_str("[")?;
    for (index, text) in strings(block).enumerate() {
        f.write_str(if index == 0 { "" } else { ", " })?;
        print_quoted(f, text.to_bytes())?;
    }
    f.write_str("]")
}

fn print_options(f: &mut fmt::Formatter<'_>, block: &[u8]) -> fmt::Result {
    let mut words = strings(block);
    let mut is_empty = true;
    while let Some(key) = words.next() {
        f.write_str(if is_empty { "" } else { "," })?;
        is_empty = false;
        print_text(f, key.to_bytes())?;
        if let Some(value) = words.next().and_then(|value| value.to_bytes().strip_prefix(b"=")) {
            f.write_str("=")?;
            print_text(f, value)?;
        }
    }
    if is_empty { f.write_str("none") } else { Ok(()) }
}

fn print_ids(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    separated(f, ",", bytes.as_chunks::<4>().0.iter().map(|id| u32::from_ne_bytes(*id)))
}

/// A range as `3-7`, or as its only number.
struct Range<T>([T; 2]);

impl<T: fmt::Display + PartialEq> fmt::Display for Range<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, last] = &self.0;
        write!(f, "{first}")?;
        if first == last { Ok(()) } else { write!(f, "-{last}") }
    }
}

fn print_ranges(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    separated(f, ",", ranges(bytes).map(Range))
}

fn print_mask(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let words = bytes.as_chunks::<8>().0;
    let has =
        |bit: usize| words.get(bit / 64).is_some_and(|word| u64::from_ne_bytes(*word) >> (bit % 64) & 1 == 1);
    let firsts = (0..words.len() * 64).filter(|bit| has(*bit) && !bit.checked_sub(1).is_some_and(has));
    separated(
        f,
        ",",
        firsts.map(|first| Range([first, (first..).take_while(|bit| has(*bit)).last().unwrap_or(first)])),
    )
}

fn print_filter(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    write!(f, "{} instructions", bytes.len() / 8)
}

#[cfg(not(corten_freestanding))]
mod owned {
    use super::{Ids, Mask, Ranges};

    impl Ids<Vec<u8>> {
        /// Makes the list.
        pub fn new(ids: impl IntoIterator<Item = u32>) -> Self {
            Self(ids.into_iter().flat_map(u32::to_ne_bytes).collect())
        }
    }

    impl Ranges<Vec<u8>> {
        /// Makes the list of the first and the last number of each.
        pub fn new<'a>(ranges: impl IntoIterator<Item = &'a [u32; 2]>) -> Self {
            Self(ranges.into_iter().flatten().flat_map(|number| number.to_le_bytes()).collect())
        }
    }

    impl Mask<Vec<u8>> {
        /// Makes the mask of these numbers.
        pub fn new(numbers: impl IntoIterator<Item = usize>) -> Self {
            let mut words = Vec::<u64>::new();
            for number in numbers {
                if words.len() <= number / 64 {
                    words.resize(number / 64 + 1, 0);
                }
                if let Some(word) = words.get_mut(number / 64) {
                    *word |= 1 << (number % 64);
                }
            }
            Self(words.into_iter().flat_map(u64::to_ne_bytes).collect())
        }
    }
}
