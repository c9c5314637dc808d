//! Mount options (`mounts[].options`) sorted into what each kernel call takes.
//!
//! Stage: plan; pure, no system call. Privilege: none. Kernel: the words end in `fsconfig(2)`, `fsmount(2)`,
//! `mount_setattr(2)` and the propagation of `mount_setattr(2)`. Spec: config.md#linux-mount-options.
//! Attacker: may write nothing here, the bundle is trusted.
//!
//! `mount(2)` took one word of flags for three different objects; the new mount API does not. So each option
//! belongs to the superblock (`sync`), to this mount (`nosuid`), to the whole tree below it (`rnosuid`), or
//! it is data for the filesystem (`mode=755`). One table says which; a later option overrides an earlier one
//! about the same thing.

use libc::{
    MOUNT_ATTR__ATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_RDONLY, MOUNT_ATTR_RELATIME,
    MOUNT_ATTR_STRICTATIME, MS_PRIVATE, MS_SHARED, MS_SLAVE, MS_UNBINDABLE,
};

use crate::error::{ErrorKind, Failure};

/// A mount's options, by the kernel object that they belong to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MountOptions {
    /// Set for bind mounts (`bind`, `rbind`, or type `bind`).
    pub(crate) bind: Option<Bind>,
    /// `remount`: change a mount that exists instead of making one.
    pub(crate) remount: bool,
    /// `MOUNT_ATTR_*` to set on this mount.
    pub(crate) set: u64,
    /// `MOUNT_ATTR_*` that the options ask to clear on this mount; the atime field counts as one (see
    /// [`AttrChange`]).
    ///
    /// Only what was named is here; see [`Self::unnamed`].
    pub(crate) clear: u64,
    /// Like `set`, for the whole tree (`AT_RECURSIVE`).
    pub(crate) recursive_set: u64,
    /// Like `clear`, for the whole tree (`AT_RECURSIVE`).
    pub(crate) recursive_clear: u64,
    /// Propagation changes, in the order given.
    pub(crate) propagation: Vec<Propagation>,
    /// Words for `fsconfig(FSCONFIG_SET_FLAG)` in alphabetical order: `dirsync`, `lazytime`, `mand`, `ro`,
    /// `sync`.
    ///
    /// Empty for bind mounts, whose superblock belongs to somebody else: the kernel ignores these words
    /// there, as runc does.
    pub(crate) superblock: Vec<String>,
    /// The filesystem's own options, `key` or `key=value`, in the order given; empty for bind mounts.
    pub(crate) data: Vec<(String, Option<String>)>,
    /// Options of a filesystem on a bind mount, which has none of its own.
    pub(crate) without_effect: Vec<String>,
    /// An attribute of this mount was named, set or cleared.
    pub(crate) names_attributes: bool,
    /// `idmap`, `ridmap`: the mount's ids are mapped.
    pub(crate) id_map: Option<IdMap>,
    /// `tmpcopyup`: what the image has there is copied into the tmpfs.
    pub(crate) copy_up: bool,
    /// `copy-symlink`: a source that is a symbolic link is copied, not mounted.
    pub(crate) copy_symlink: bool,
    /// `src-nofollow`: a source that is a symbolic link is mounted itself.
    pub(crate) source_nofollow: bool,
    /// `dest-nofollow`: a destination that is a symbolic link is mounted on itself.
    pub(crate) destination_nofollow: bool,
}

impl MountOptions {
    /// The attributes that no option names and that a bind mount loses nevertheless.
    ///
    /// runc and crun: a bind mount with any attribute option has exactly those that are named, atime
    /// excepted; without any it keeps those of its source.
    pub(crate) fn unnamed(&self) -> u64 {
        const LOST: u64 = MOUNT_ATTR_RDONLY
            | MOUNT_ATTR_NOSUID
            | MOUNT_ATTR_NODEV
            | MOUNT_ATTR_NOEXEC
            | MOUNT_ATTR_NOSYMFOLLOW;
        if self.bind.is_some() && self.names_attributes { LOST & !self.set & !self.clear } else { 0 }
    }
}

/// How the ids of a mount are mapped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IdMap {
    /// `ridmap`: the mounts below, too.
    pub(crate) recursive: bool,
    /// crun's `idmap=uids=C-H-S#…;gids=…`: maps of its own.
    pub(crate) maps: Option<(Vec<Range>, Vec<Range>)>,
}

/// A range of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    /// The first id of the mount's source.
    pub(crate) container: u32,
    /// What it is mapped to.
    pub(crate) host: u32,
    /// How many there are.
    pub(crate) size: u32,
    /// crun's `@`: `host` is an id of the container's user namespace.
    pub(crate) relative: bool,
}

/// What kind of bind mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bind {
    /// `rbind`: the mounts below the source come along.
    pub(crate) recursive: bool,
}

/// One change of a mount's propagation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Propagation {
    /// `MS_PRIVATE`, `MS_SHARED`, `MS_SLAVE` or `MS_UNBINDABLE`.
    pub(crate) flag: u64,
    /// Whether the mounts below change, too.
    pub(crate) recursive: bool,
}

/// An option that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MountOptionError {
    /// A map that cannot be read.
    #[error(
        "mounts[{index}].options: {option:?} is not of the form idmap=uids=[@]CONTAINER-HOST-SIZE[#…];gids=[@]CONTAINER-HOST-SIZE[#…]"
    )]
    IdMap {
        /// Position in `mounts`.
        index: usize,
        /// The option.
        option: String,
    },
    /// Options that mean opposite things.
    #[error(
        "mounts[{index}].options: copy-symlink is mutually exclusive with src-nofollow and dest-nofollow"
    )]
    CopyAndNoFollow {
        /// Position in `mounts`.
        index: usize,
    },
    /// An option for bind mounts alone.
    #[error("mounts[{index}].options: {option} is for bind mounts only")]
    BindOnly {
        /// Position in `mounts`.
        index: usize,
        /// The option.
        option: &'static str,
    },
    /// `tmpcopyup` on anything else.
    #[error("mounts[{index}].options: tmpcopyup can be used only with tmpfs")]
    CopyUp {
        /// Position in `mounts`.
        index: usize,
    },
}

impl Failure for MountOptionError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidConfig
    }
}

/// What an option means.
#[derive(Debug, Clone, Copy)]
enum Meaning {
    /// Accepted, changes nothing.
    Nothing,
    Bind {
        recursive: bool,
    },
    Remount,
    IdMap {
        recursive: bool,
    },
    CopyUp,
    CopySymlink,
    SourceNoFollow,
    DestinationNoFollow,
    Propagation {
        flag: u64,
        recursive: bool,
    },
    /// `ro` and `rw` are about the mount and, unless it is a bind mount, about the superblock, as with
    /// `mount(2)`.
    ReadOnly(bool),
    /// A change of this mount's attributes.
    Attr(AttrChange),
    /// A change of the attributes of the whole tree.
    RecursiveAttr(AttrChange),
    /// A superblock word, to be given or taken back.
    Superblock {
        word: &'static str,
        on: bool,
    },
}

/// A change of mount attributes.
///
/// noatime, relatime and strictatime are values of one field, `MOUNT_ATTR__ATIME`: `mount_setattr(2)` wants
/// the whole field in `attr_clr` whenever a part of it changes. relatime is the value 0.
#[derive(Debug, Clone, Copy)]
enum AttrChange {
    Set(u64),
    Clear(u64),
    Atime(u64),
    /// "not this value": back to relatime, the kernel's default since 2.6.30, unless another value was
    /// chosen.
    NotAtime(u64),
}

impl AttrChange {
    fn apply(self, set: &mut u64, clear: &mut u64) {
        match self {
            Self::Set(attr) => {
                *set |= attr;
                *clear &= !attr;
            }
            Self::Clear(attr) => {
                *set &= !attr;
                *clear |= attr;
            }
            Self::Atime(value) => {
                *set = (*set & !MOUNT_ATTR__ATIME) | value;
                *clear |= MOUNT_ATTR__ATIME;
            }
            Self::NotAtime(value) => {
                if *set & MOUNT_ATTR__ATIME == value {
                    *set &= !MOUNT_ATTR__ATIME;
                }
                *clear |= MOUNT_ATTR__ATIME;
            }
        }
    }
}

const fn attr(attr: u64) -> Meaning {
    Meaning::Attr(AttrChange::Set(attr))
}

const fn no_attr(attr: u64) -> Meaning {
    Meaning::Attr(AttrChange::Clear(attr))
}

const fn rattr(attr: u64) -> Meaning {
    Meaning::RecursiveAttr(AttrChange::Set(attr))
}

const fn no_rattr(attr: u64) -> Meaning {
    Meaning::RecursiveAttr(AttrChange::Clear(attr))
}

const fn superblock(word: &'static str, on: bool) -> Meaning {
    Meaning::Superblock { word, on }
}

const fn propagation(flag: u64, recursive: bool) -> Meaning {
    Meaning::Propagation { flag, recursive }
}

/// Every option that is not data: the spec's table, runc's and crun's, sorted by name (a test keeps it so).
///
/// `silent`, `loud`, `iversion` and `noiversion` change nothing: `fsconfig(2)` has no words for `MS_SILENT`
/// (fewer kernel messages) and `MS_I_VERSION` (ext4, xfs and btrfs count versions without being asked).
/// `norelatime` asks for something that does not exist: the kernel has noatime, relatime and strictatime
/// only.
#[rustfmt::skip]
const OPTIONS: &[(&str, Meaning)] = &[
    ("async",          superblock("sync", false)),
    ("atime",          Meaning::Attr(AttrChange::NotAtime(MOUNT_ATTR_NOATIME))),
    ("bind",           Meaning::Bind { recursive: false }),
    ("copy-symlink",   Meaning::CopySymlink),
    ("defaults",       Meaning::Nothing),
    ("dest-nofollow",  Meaning::DestinationNoFollow),
    ("dev",            no_attr(MOUNT_ATTR_NODEV)),
    ("diratime",       no_attr(MOUNT_ATTR_NODIRATIME)),
    ("dirsync",        superblock("dirsync", true)),
    ("exec",           no_attr(MOUNT_ATTR_NOEXEC)),
    ("idmap",          Meaning::IdMap { recursive: false }),
    ("iversion",       Meaning::Nothing),
    ("lazytime",       superblock("lazytime", true)),
    ("loud",           Meaning::Nothing),
    ("mand",           superblock("mand", true)),
    ("noatime",        Meaning::Attr(AttrChange::Atime(MOUNT_ATTR_NOATIME))),
    ("nodev",          attr(MOUNT_ATTR_NODEV)),
    ("nodiratime",     attr(MOUNT_ATTR_NODIRATIME)),
    ("noexec",         attr(MOUNT_ATTR_NOEXEC)),
    ("noiversion",     Meaning::Nothing),
    ("nolazytime",     superblock("lazytime", false)),
    ("nomand",         superblock("mand", false)),
    ("norelatime",     Meaning::Nothing),
    ("nostrictatime",  Meaning::Attr(AttrChange::NotAtime(MOUNT_ATTR_STRICTATIME))),
    ("nosuid",         attr(MOUNT_ATTR_NOSUID)),
    ("nosymfollow",    attr(MOUNT_ATTR_NOSYMFOLLOW)),
    ("private",        propagation(MS_PRIVATE, false)),
    ("rasync",         superblock("sync", false)),
    ("ratime",         Meaning::RecursiveAttr(AttrChange::NotAtime(MOUNT_ATTR_NOATIME))),
    ("rbind",          Meaning::Bind { recursive: true }),
    ("rdev",           no_rattr(MOUNT_ATTR_NODEV)),
    ("rdiratime",      no_rattr(MOUNT_ATTR_NODIRATIME)),
    ("rdirsync",       superblock("dirsync", true)),
    ("relatime",       Meaning::Attr(AttrChange::Atime(MOUNT_ATTR_RELATIME))),
    ("remount",        Meaning::Remount),
    ("rexec",          no_rattr(MOUNT_ATTR_NOEXEC)),
    ("ridmap",         Meaning::IdMap { recursive: true }),
    ("rmand",          superblock("mand", true)),
    ("rnoatime",       Meaning::RecursiveAttr(AttrChange::Atime(MOUNT_ATTR_NOATIME))),
    ("rnodev",         rattr(MOUNT_ATTR_NODEV)),
    ("rnodiratime",    rattr(MOUNT_ATTR_NODIRATIME)),
    ("rnoexec",        rattr(MOUNT_ATTR_NOEXEC)),
    ("rnomand",        superblock("mand", false)),
    ("rnorelatime",    Meaning::Nothing),
    ("rnostrictatime", Meaning::RecursiveAttr(AttrChange::NotAtime(MOUNT_ATTR_STRICTATIME))),
    ("rnosuid",        rattr(MOUNT_ATTR_NOSUID)),
    ("rnosymfollow",   rattr(MOUNT_ATTR_NOSYMFOLLOW)),
    ("ro",             Meaning::ReadOnly(true)),
    ("rprivate",       propagation(MS_PRIVATE, true)),
    ("rrelatime",      Meaning::RecursiveAttr(AttrChange::Atime(MOUNT_ATTR_RELATIME))),
    ("rro",            rattr(MOUNT_ATTR_RDONLY)),
    ("rrw",            no_rattr(MOUNT_ATTR_RDONLY)),
    ("rshared",        propagation(MS_SHARED, true)),
    ("rslave",         propagation(MS_SLAVE, true)),
    ("rstrictatime",   Meaning::RecursiveAttr(AttrChange::Atime(MOUNT_ATTR_STRICTATIME))),
    ("rsuid",          no_rattr(MOUNT_ATTR_NOSUID)),
    ("rsymfollow",     no_rattr(MOUNT_ATTR_NOSYMFOLLOW)),
    ("rsync",          superblock("sync", true)),
    ("runbindable",    propagation(MS_UNBINDABLE, true)),
    ("rw",             Meaning::ReadOnly(false)),
    ("shared",         propagation(MS_SHARED, false)),
    ("silent",         Meaning::Nothing),
    ("slave",          propagation(MS_SLAVE, false)),
    ("src-nofollow",   Meaning::SourceNoFollow),
    ("strictatime",    Meaning::Attr(AttrChange::Atime(MOUNT_ATTR_STRICTATIME))),
    ("suid",           no_attr(MOUNT_ATTR_NOSUID)),
    ("symfollow",      no_attr(MOUNT_ATTR_NOSYMFOLLOW)),
    ("sync",           superblock("sync", true)),
    ("tmpcopyup",      Meaning::CopyUp),
    ("unbindable",     propagation(MS_UNBINDABLE, false)),
];

/// The names of the mount options that Corten understands, sorted, for the `features` document.
pub const MOUNT_OPTIONS: &[&str] = &{
    let mut names = [""; OPTIONS.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = OPTIONS[i].0;
        i += 1;
    }
    names
};

/// Sorts `mounts[index].options` into what the kernel calls take.
///
/// Type `bind` means a bind mount even without the option `bind`: the kernel has no filesystem of that name,
/// so nothing else can be meant (runc and crun fail there).
///
/// # Errors
///
/// Maps that cannot be read, and options that contradict each other or the type.
pub(crate) fn parse(
    index: usize,
    mount_type: Option<&str>,
    options: &[String],
) -> Result<MountOptions, MountOptionError> {
    let mut parsed = MountOptions::default();
    if mount_type == Some("bind") {
        parsed.bind = Some(Bind { recursive: false });
    }
    let mut read_only = None;
    for option in options {
        let Ok(row) = OPTIONS.binary_search_by_key(&option.as_str(), |(name, _)| name) else {
            if let Some(id_map) = own_id_map(option) {
                let id_map =
                    id_map.ok_or_else(|| MountOptionError::IdMap { index, option: option.clone() })?;
                parsed.id_map = Some(id_map);
                continue;
            }
            parsed.data.extend(split_data(option));
            continue;
        };
        apply(OPTIONS[row].1, &mut parsed, &mut read_only);
    }
    check(index, mount_type, &parsed)?;

    if parsed.bind.is_some() {
        // A bind mount has no superblock of its own. runc refuses such options, crun and mount(2) pass over
        // them.
        let word = |(key, value): (String, Option<String>)| {
            value.map_or(key.clone(), |value| format!("{key}={value}"))
        };
        parsed.without_effect = std::mem::take(&mut parsed.data).into_iter().map(word).collect();
        parsed.superblock.clear();
    } else if read_only == Some(true) {
        parsed.superblock.push("ro".to_owned());
    }
    parsed.superblock.sort_unstable();
    Ok(parsed)
}

/// Whether an entry of `mounts` is a bind mount.
pub(crate) fn is_bind(mount: &crate::oci::Mount) -> bool {
    let no_options = Vec::new();
    let options = mount.options().as_ref().unwrap_or(&no_options);
    let parsed = parse(0, mount.typ().as_deref(), options);
    parsed.is_ok_and(|parsed| parsed.bind.is_some() && !parsed.remount)
}

fn check(index: usize, mount_type: Option<&str>, parsed: &MountOptions) -> Result<(), MountOptionError> {
    if parsed.copy_symlink && (parsed.source_nofollow || parsed.destination_nofollow) {
        return Err(MountOptionError::CopyAndNoFollow { index });
    }
    let for_binds = [
        ("copy-symlink", parsed.copy_symlink),
        ("src-nofollow", parsed.source_nofollow),
        ("dest-nofollow", parsed.destination_nofollow),
    ];
    match for_binds.into_iter().find(|(_, given)| *given) {
        Some((option, _)) if parsed.bind.is_none() => {
            return Err(MountOptionError::BindOnly { index, option });
        }
        _ => {}
    }
    if parsed.copy_up && (parsed.bind.is_some() || mount_type != Some("tmpfs")) {
        return Err(MountOptionError::CopyUp { index });
    }
    Ok(())
}

/// Reads `idmap=…` and `ridmap=…`: `None` if it is neither, `Some(None)` if it is wrong.
fn own_id_map(option: &str) -> Option<Option<IdMap>> {
    let (maps, recursive) = match option.strip_prefix("idmap=") {
        Some(maps) => (maps, false),
        None => (option.strip_prefix("ridmap=")?, true),
    };
    let read = || {
        let (mut uids, mut gids) = (None, None);
        for part in maps.split(';') {
            let (which, list) = part.split_once('=')?;
            let ranges: Option<Vec<Range>> = list.split('#').map(range).collect();
            match which {
                "uids" => uids = ranges,
                "gids" => gids = ranges,
                _ => return None,
            }
        }
        Some(IdMap { recursive, maps: Some((uids?, gids?)) })
    };
    Some(read())
}

fn range(text: &str) -> Option<Range> {
    let (text, relative) = text.strip_prefix('@').map_or((text, false), |text| (text, true));
    let mut numbers = text.split('-').map(|number| number.parse().ok());
    let (container, host, size) = (numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some(Range { container, host, size, relative })
}

fn apply(meaning: Meaning, parsed: &mut MountOptions, read_only: &mut Option<bool>) {
    match meaning {
        Meaning::Nothing => {}
        // runc: `rbind` is a flag that a later `bind` does not take back.
        Meaning::Bind { recursive } => {
            let recursive = recursive || parsed.bind.is_some_and(|bind| bind.recursive);
            parsed.bind = Some(Bind { recursive });
        }
        Meaning::Remount => parsed.remount = true,
        Meaning::IdMap { recursive } => parsed.id_map = Some(IdMap { recursive, maps: None }),
        Meaning::CopyUp => parsed.copy_up = true,
        Meaning::CopySymlink => parsed.copy_symlink = true,
        Meaning::SourceNoFollow => parsed.source_nofollow = true,
        Meaning::DestinationNoFollow => parsed.destination_nofollow = true,
        Meaning::Propagation { flag, recursive } => parsed.propagation.push(Propagation { flag, recursive }),
        Meaning::ReadOnly(on) => {
            *read_only = Some(on);
            parsed.names_attributes = true;
            let change =
                if on { AttrChange::Set(MOUNT_ATTR_RDONLY) } else { AttrChange::Clear(MOUNT_ATTR_RDONLY) };
            change.apply(&mut parsed.set, &mut parsed.clear);
        }
        Meaning::Attr(change) => {
            parsed.names_attributes = true;
            change.apply(&mut parsed.set, &mut parsed.clear);
        }
        Meaning::RecursiveAttr(change) => {
            change.apply(&mut parsed.recursive_set, &mut parsed.recursive_clear)
        }
        Meaning::Superblock { word, on } => {
            parsed.superblock.retain(|present| present != word);
            if on {
                parsed.superblock.push(word.to_owned());
            }
        }
    }
}

/// Splits one data option into keys and values.
///
/// `mount(2)` gets all data as one comma-separated string, so configs exist that write `"size=1m,mode=700"`
/// as one option; `fsconfig(2)` does not split. A comma between double quotes (SELinux contexts) or after a
/// backslash (overlayfs) does not separate, as in the kernel.
fn split_data(option: &str) -> Vec<(String, Option<String>)> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in option.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted && !escaped => {
                pieces.push(&option[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        escaped = byte == b'\\' && !escaped;
    }
    pieces.push(&option[start..]);
    pieces.into_iter().filter(|piece| !piece.is_empty()).map(key_and_value).collect()
}

fn key_and_value(piece: &str) -> (String, Option<String>) {
    let Some((key, value)) = piece.split_once('=') else {
        return (piece.to_owned(), None);
    };
    // The quotes protect the commas of an SELinux context in mount(2)'s string; fsconfig(2) takes the bare
    // label.
    let is_context = matches!(key, "context" | "fscontext" | "defcontext" | "rootcontext");
    let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let value = if is_context { bare.unwrap_or(value) } else { value };
    (key.to_owned(), Some(value.to_owned()))
}

#[cfg(test)]
mod tests;
