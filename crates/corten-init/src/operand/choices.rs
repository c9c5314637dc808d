//! One of several, or some of several.

use core::fmt;

use super::slots::Slot;
use super::{Operand, Wire, separated};
use crate::numbered::numbered;
use crate::reader::{DecodeError, Reader};
use crate::sync_point::SyncPoint;

/// What a mount target must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A directory, made with its parents if it is missing.
    Directory,
    /// Anything but a directory; an empty file is made if it is missing.
    File,
    /// A directory that no symbolic link leads to (`proc` and `sysfs`: CVE-2019-19921), made if it is
    /// missing.
    PlainDirectory,
    /// Whatever is there; nothing is made (`remount`).
    Existing,
    /// A directory or a file, like the object in the slot.
    Like(Slot),
    /// The same, and a symbolic link under the last name is the target itself (`dest-nofollow`).
    LinkItself(Slot),
}

impl Target {
    /// The tag in the wire form, and the slot.
    const fn parts(self) -> (u16, Slot) {
        match self {
            Self::Directory => (0, Slot(0)),
            Self::File => (1, Slot(0)),
            Self::PlainDirectory => (2, Slot(0)),
            Self::Existing => (3, Slot(0)),
            Self::Like(slot) => (4, slot),
            Self::LinkItself(slot) => (5, slot),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory => f.write_str("directory"),
            Self::File => f.write_str("file"),
            Self::PlainDirectory => f.write_str("plain-directory"),
            Self::Existing => f.write_str("existing"),
            Self::Like(slot) => write!(f, "like:{slot}"),
            Self::LinkItself(slot) => write!(f, "link-itself:{slot}"),
        }
    }
}

impl Operand for Target {
    const NAMES_SLOTS: bool = true;

    #[cfg(not(corten_freestanding))]
    fn write(&self, out: &mut Vec<u8>) -> Option<()> {
        let (tag, slot) = self.parts();
        tag.write(out).and_then(|()| slot.write(out))
    }

    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }

    fn slots(&self, visit: &mut dyn FnMut(Slot)) {
        if let Self::Like(slot) | Self::LinkItself(slot) = self {
            visit(*slot);
        }
    }
}

impl<'a> Wire<'a> for Target {
    #[inline(never)]
    fn read(from: &mut Reader<'a>) -> Self {
        let (tag, slot) = (u16::read(from), Slot::read(from));
        match tag {
            0 => Self::Directory,
            1 => Self::File,
            2 => Self::PlainDirectory,
            3 => Self::Existing,
            4 => Self::Like(slot),
            5 => Self::LinkItself(slot),
            _ => {
                from.fail(DecodeError::Value);
                Self::Existing
            }
        }
    }
}

/// How [`Step::OpenSource`](crate::Step::OpenSource) opens a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TreeFlags {
    /// With the mounts below.
    pub recursive: bool,
    /// It must be a directory.
    pub directory: bool,
    /// A link under the last name is the object itself.
    pub link_itself: bool,
    /// What the host has made unbindable is copied, too: nothing of the container is mounted in the
    /// namespace.
    pub unbindable: bool,
}

impl fmt::Display for TreeFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            (self.recursive, "recursive"),
            (self.directory, "directory"),
            (self.link_itself, "link-itself"),
            (self.unbindable, "unbindable"),
        ];
        separated(f, "|", words.into_iter().filter(|(is_set, _)| *is_set).map(|(_, word)| word))
    }
}

impl Operand for TreeFlags {
    #[cfg(not(corten_freestanding))]
    fn write(&self, out: &mut Vec<u8>) -> Option<()> {
        [self.recursive, self.directory, self.link_itself, self.unbindable]
            .iter()
            .try_for_each(|flag| flag.write(out))
    }

    fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'a> Wire<'a> for TreeFlags {
    #[inline(never)]
    fn read(from: &mut Reader<'a>) -> Self {
        Self {
            recursive: Wire::read(from),
            directory: Wire::read(from),
            link_itself: Wire::read(from),
            unbindable: Wire::read(from),
        }
    }
}

numbered! {
    /// What becomes of the caller's supplementary groups in [`Step::User`](crate::Step::User).
    pub enum CallersGroups {
        /// The config's take their place.
        Replaced "no",
        /// They stay.
        Kept "yes",
        /// They stay where the kernel denies the change and the config has none (user_namespaces(7),
        /// `setgroups`).
        KeptIfDenied "if-denied",
    }
}

/// Words by their number.
macro_rules! words {
    ($( $name:ident or $other:ident; )*) => { $(
        impl Operand for $name {
            #[cfg(not(corten_freestanding))]
            fn write(&self, out: &mut Vec<u8>) -> Option<()> {
                self.to_number().write(out)
            }

            fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl<'a> Wire<'a> for $name {
            #[inline(never)]
    fn read(from: &mut Reader<'a>) -> Self {
                Self::from_number(u32::read(from)).unwrap_or_else(|| {
                    from.fail(DecodeError::Value);
                    Self::$other
                })
            }
        }
    )* };
}

words! { CallersGroups or Replaced; SyncPoint or Ready; }
