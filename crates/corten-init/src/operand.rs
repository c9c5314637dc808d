//! The operands of steps: each kind with its wire form and with how it is printed.
//!
//! A kind says by its type what an operand means, so that `corten plan` prints `attributes=ro,nosuid` and not
//! a number. Reading is done by init and allocates nothing; writing is done by the runtime alone.

use core::ffi::CStr;
use core::fmt;

use crate::numbered::numbered;
use crate::reader::{DecodeError, Reader};
use crate::sync_point::SyncPoint;

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

/// Makes a kind of a number whose bits have names. Of names that share bits the one with more of them comes
/// first.
macro_rules! flags {
    ($( $( #[$doc:meta] )* $name:ident $separator:literal { $( $bits:literal $word:literal, )* } )*) => { $(
        number! { $( #[$doc] )* $name(u64) }

        impl $name {
            /// No bit.
            pub const NONE: Self = Self(0);
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                const NAMES: &[(u64, &str)] = &[ $( ($bits, $word), )* ];
                print_flags(f, self.0, $separator, NAMES)
            }
        }
    )* };
}

fn print_flags(f: &mut fmt::Formatter<'_>, bits: u64, separator: &str, names: &[(u64, &str)]) -> fmt::Result {
    let mut rest = bits;
    for (mask, name) in names {
        if rest & mask == *mask {
            f.write_str(if rest == bits { "" } else { separator })?;
            f.write_str(name)?;
            rest &= !mask;
        }
    }
    match (rest, rest == bits) {
        (0, true) => f.write_str("none"),
        (0, false) => Ok(()),
        (_, true) => write!(f, "{rest:#x}"),
        (_, false) => write!(f, "{separator}{rest:#x}"),
    }
}

flags! {
    /// Attributes of a mount: `MOUNT_ATTR_*`.
    Attributes "," {
        0x1 "ro", 0x2 "nosuid", 0x4 "nodev", 0x8 "noexec", 0x70 "atime", 0x10 "noatime", 0x20 "strictatime",
        0x80 "nodiratime", 0x10_0000 "idmap", 0x20_0000 "nosymfollow",
    }

    /// The propagation of a mount: one of `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE` and `MS_UNBINDABLE`, or none:
    /// it stays.
    Propagation "," { 0x2_0000 "unbindable", 0x4_0000 "private", 0x8_0000 "slave", 0x10_0000 "shared", }

    /// Kinds of namespaces: `CLONE_NEW*`, and `UNSHARE_EMPTY_MNTNS`.
    Namespaces "|" {
        0x2_0000 "newns", 0x200_0000 "newcgroup", 0x400_0000 "newuts", 0x800_0000 "newipc", 0x1000_0000 "newuser",
        0x2000_0000 "newpid", 0x4000_0000 "newnet", 0x80 "newtime", 0x10_0000 "empty_mntns",
    }

    /// Flags of seccomp(2): `SECCOMP_FILTER_FLAG_*`.
    FilterFlags "|" {
        0x1 "tsync", 0x2 "log", 0x4 "spec_allow", 0x8 "new_listener", 0x10 "tsync_esrch", 0x20 "wait_killable_recv",
    }

    /// Flags of sched_setattr(2): `SCHED_FLAG_*`.
    SchedulerFlags "|" {
        0x1 "reset_on_fork", 0x2 "reclaim", 0x4 "dl_overrun", 0x8 "keep_policy", 0x10 "keep_params", 0x20 "util_clamp_min",
        0x40 "util_clamp_max",
    }

    /// A set of capabilities: bit n is capability n.
    CapabilitySet "," {
        0x1ff_ffff_ffff "all",
        0x1 "chown", 0x2 "dac_override", 0x4 "dac_read_search", 0x8 "fowner", 0x10 "fsetid", 0x20 "kill", 0x40 "setgid",
        0x80 "setuid", 0x100 "setpcap", 0x200 "linux_immutable", 0x400 "net_bind_service", 0x800 "net_broadcast",
        0x1000 "net_admin", 0x2000 "net_raw", 0x4000 "ipc_lock", 0x8000 "ipc_owner", 0x1_0000 "sys_module",
        0x2_0000 "sys_rawio", 0x4_0000 "sys_chroot", 0x8_0000 "sys_ptrace", 0x10_0000 "sys_pacct", 0x20_0000 "sys_admin",
        0x40_0000 "sys_boot", 0x80_0000 "sys_nice", 0x100_0000 "sys_resource", 0x200_0000 "sys_time",
        0x400_0000 "sys_tty_config", 0x800_0000 "mknod", 0x1000_0000 "lease", 0x2000_0000 "audit_write",
        0x4000_0000 "audit_control", 0x8000_0000 "setfcap", 0x1_0000_0000 "mac_override", 0x2_0000_0000 "mac_admin",
        0x4_0000_0000 "syslog", 0x8_0000_0000 "wake_alarm", 0x10_0000_0000 "block_suspend", 0x20_0000_0000 "audit_read",
        0x40_0000_0000 "perfmon", 0x80_0000_0000 "bpf", 0x100_0000_0000 "checkpoint_restore",
    }
}

number! {
    /// Permission bits of a file, for nodes with the bits of its type: `S_I*`.
    Mode(u32)
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#o}", self.0)
    }
}

number! {
    /// A resource that has a limit: `RLIMIT_*`.
    Resource(u64)
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 16] = [
            "cpu",
            "fsize",
            "data",
            "stack",
            "core",
            "rss",
            "nproc",
            "nofile",
            "memlock",
            "as",
            "locks",
            "sigpending",
            "msgqueue",
            "nice",
            "rtprio",
            "rttime",
        ];
        match usize::try_from(self.0).ok().and_then(|number| NAMES.get(number)) {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

// Slots

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

// Choices

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
        [self.recursive, self.directory, self.link_itself, self.unbindable].iter().try_for_each(|flag| flag.write(out))
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

// Strings and lists

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
    let has = |bit: usize| words.get(bit / 64).is_some_and(|word| u64::from_ne_bytes(*word) >> (bit % 64) & 1 == 1);
    let firsts = (0..words.len() * 64).filter(|bit| has(*bit) && !bit.checked_sub(1).is_some_and(has));
    separated(f, ",", firsts.map(|first| Range([first, (first..).take_while(|bit| has(*bit)).last().unwrap_or(first)])))
}

fn print_filter(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    write!(f, "{} instructions", bytes.len() / 8)
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
mod owned {
    use super::{Ids, Mask, Ranges, Slot, Slots};

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

    impl Slots<Vec<u8>> {
        /// Makes the list.
        pub fn new(slots: impl IntoIterator<Item = Slot>) -> Self {
            Self(slots.into_iter().flat_map(|slot| slot.0.to_le_bytes()).collect())
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
