//! Mounts of the container (`mounts`).
//!
//! Stage: plan; the steps run inside, in the new mount namespace, before the root is changed. Sources of bind
//! mounts are opened in the caller's namespaces, by the runtime or by init. Each mount is made detached,
//! given its attributes, and attached last, on a target that was opened inside the root. Spec:
//! config.md#mounts. Attacker: may own the rootfs tree, not the bundle. Of mounts that are added to a
//! container that runs: may run in it, and race.

use std::collections::{HashMap, VecDeque};
use std::ffi::{CStr, CString};
use std::path::Path;

use corten_init::{Attributes, Options, OwnedStep as Step, Propagation, Slot, Target, TreeFlags};

use crate::oci::{LinuxIdMapping, Mount};
use crate::spec::annotations;

use super::build::item_at;
use super::builder::{Builder, slot};
use super::decisions::{in_root, tree_propagation};
use super::mount_options::{self, MountOptions};
use super::namespaces;
use super::paths::{block, text};
use super::phases::InsidePhase;
use super::{PlanError, cgroup_mounts, sources};

/// Files of procfs that a bind mount may cover: what lxcfs and its kin provide. runc has the same list.
/// (`/proc/net/dev` is not one of them: it lies in the directory of one process, and others would not see the
/// cover.)
const PROC_COVERS: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// Filesystems that are the same in every network namespace. sysfs shows the mounter's, and NFS works in it.
const WITHOUT_NETWORK: [&str; 4] = ["devpts", "mqueue", "proc", "tmpfs"];

/// One mount, looked at from all sides.
pub(super) struct Entry<'a> {
    pub(super) item: CString,
    pub(super) index: usize,
    pub(super) destination: String,
    fstype: &'a str,
    pub(super) source: Option<&'a Path>,
    pub(super) options: MountOptions,
    /// What its mount came with stays: a mount of the host in a user namespace.
    pub(super) keeps_flags: bool,
    pub(super) mount: &'a Mount,
}

/// Adds the steps of all mounts, in the config's order.
pub(super) fn mounts(b: &mut Builder<'_>) -> Result<(), PlanError> {
    let listed = b.spec.mounts().iter().flatten().enumerate();
    let mut entries: Vec<Entry<'_>> =
        listed.map(|(index, mount)| Entry::new(b, index, mount)).collect::<Result<_, _>>()?;
    if b.decisions.in_user_namespace() {
        keep_flags(&mut entries);
    }
    let mut opened = VecDeque::new();
    for (index, entry) in entries.iter().enumerate() {
        entry.check_proc()?;
        // The kernel would say of each filesystem that it has no option of that name.
        if !entry.options.without_effect.is_empty() {
            let listed = entry.options.without_effect.join(",");
            b.warnings.push(format!(
                "mounts[{index}].options: ignored on a bind mount, which has no filesystem of its own: {listed}"
            ));
        }
        entry.check_id_map()?;
        match (entry.options.bind, entry.fstype) {
            (Some(_), _) if entry.options.remount => remount(b, entry)?,
            (Some(bind), _) => {
                if opened.is_empty() {
                    opened = sources::open_together(b, &entries[index..])?;
                }
                bind_mount(b, entry, bind.recursive, opened.pop_front())?;
            }
            (None, _) if entry.options.remount => reconfigure(b, entry)?,
            (None, "cgroup") => cgroup_mounts::cgroup(b, entry)?,
            (None, _) => filesystem(b, entry)?,
        }
    }
    notify_directory(b)
}

/// Where the socket for sd_notify(3) is in the container: runc's place.
pub(super) const NOTIFY_DIRECTORY: &str = "/run/notify";
/// What asks for it.
pub(super) const NOTIFY_ITEM: &CStr = c"NOTIFY_SOCKET";

/// The directory of the socket for sd_notify(3), after all other mounts, one of which may be on `/run`. The
/// container can connect to the socket and change nothing there.
fn notify_directory(b: &mut Builder<'_>) -> Result<(), PlanError> {
    let Some(source) = b.facts.notify_directory.clone() else { return Ok(()) };
    let options = ["bind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned).to_vec();
    let mut mount = Mount::default();
    mount.set_destination(NOTIFY_DIRECTORY.into()).set_source(Some(source)).set_options(Some(options));
    let entry = Entry { item: NOTIFY_ITEM.into(), ..Entry::new(b, usize::MAX, &mount)? };
    let opened = sources::open_together(b, std::slice::from_ref(&entry))?.pop_front();
    bind_mount(b, &entry, false, opened)
}

/// Takes mounts away, the last one first.
pub(super) fn remove(b: &mut Builder<'_>) -> Result<(), PlanError> {
    let Some(mounts) = b.spec.mounts().as_ref() else { return Ok(()) };
    for (index, mount) in mounts.iter().enumerate().rev() {
        let path =
            text("mounts", in_root(b.spec, b.request, mount.destination()).as_os_str().as_encoded_bytes())?;
        if path.as_bytes() == b"/" {
            return Err(PlanError::Unsupported {
                item: format!("mounts[{index}].destination"),
                what: "to remove the root",
            });
        }
        b.inside(InsidePhase::Mounts, item_at("mounts", index)?, Step::Unmount { path, proc: slot::PROC });
    }
    Ok(())
}

impl<'a> Entry<'a> {
    fn new(b: &Builder<'_>, index: usize, mount: &'a Mount) -> Result<Self, PlanError> {
        let no_options = Vec::new();
        let options = mount.options().as_ref().unwrap_or(&no_options);
        Ok(Self {
            item: item_at("mounts", index)?,
            index,
            destination: in_root(b.spec, b.request, mount.destination()).to_string_lossy().into_owned(),
            fstype: mount.typ().as_deref().unwrap_or("none"),
            source: mount.source().as_deref(),
            options: mount_options::parse(index, mount.typ().as_deref(), options)?,
            keeps_flags: false,
            mount,
        })
    }

    /// Refuses mounts inside `/proc` but for single files that may be covered (CVE-2019-16884).
    fn check_proc(&self) -> Result<(), PlanError> {
        let path = self.destination.as_str();
        let inside = path.strip_prefix("/proc").is_some_and(|rest| rest.starts_with('/'));
        let over = path == "/proc" && self.fstype != "proc" && self.options.bind.is_none();
        if over {
            return Err(PlanError::NotProc { index: self.index });
        }
        if inside && !PROC_COVERS.contains(&path) {
            return Err(PlanError::InsideProc { index: self.index, path: path.to_owned() });
        }
        Ok(())
    }

    /// Refuses maps on what the runtime does not open: nobody would map it.
    fn check_id_map(&self) -> Result<(), PlanError> {
        let listed = |maps: &Option<Vec<LinuxIdMapping>>| maps.as_ref().is_some_and(|maps| !maps.is_empty());
        let maps = listed(self.mount.uid_mappings()) || listed(self.mount.gid_mappings());
        if (maps || self.options.id_map.is_some()) && (self.options.bind.is_none() || self.options.remount) {
            let name = if maps { "uidMappings" } else { "options" };
            return Err(PlanError::IdMapOnFilesystem { item: format!("mounts[{}].{name}", self.index) });
        }
        Ok(())
    }

    /// How the source of a bind mount is opened.
    pub(super) fn tree_flags(&self, recursive: bool) -> TreeFlags {
        TreeFlags { recursive, link_itself: self.options.source_nofollow, ..TreeFlags::default() }
    }

    pub(super) fn path(&self) -> Result<CString, PlanError> {
        text("mounts", self.destination.as_str())
    }
}

pub(super) fn open_target(b: &mut Builder<'_>, item: &CString, path: CString, target: Target) {
    // What may be in a procfs has been judged by its words (`check_proc`); links must not lead others there.
    let words = path.to_string_lossy();
    let in_proc = words == "/proc" || words.starts_with("/proc/") || target == Target::PlainDirectory;
    let step = Step::OpenTarget { path, target, in_proc, slot: slot::TARGET };
    b.inside(InsidePhase::Mounts, item.clone(), step);
}

/// Attaches an entry's mount and changes its propagation then: what is attached below a shared mount becomes
/// shared. A tree that is in no namespace has no such mounts, and its mounts cannot be changed later.
pub(super) fn attach_entry(b: &mut Builder<'_>, entry: &Entry<'_>, mount: Slot, keep: bool) {
    let late = b.has_mount_namespace() && !entry.options.propagation.is_empty();
    if !late {
        propagate(b, entry, mount);
    }
    let kept = keep || late;
    b.inside(
        InsidePhase::Mounts,
        entry.item.clone(),
        Step::MoveMount { mount, target: slot::TARGET, keep: kept },
    );
    if late {
        propagate(b, entry, mount);
        if !keep {
            b.inside(InsidePhase::Mounts, entry.item.clone(), Step::Close { slot: mount });
        }
    }
}

pub(super) fn attach(b: &mut Builder<'_>, item: &CString, mount: Slot) {
    b.inside(InsidePhase::Mounts, item.clone(), Step::MoveMount { mount, target: slot::TARGET, keep: false });
}

/// A new filesystem.
fn filesystem(b: &mut Builder<'_>, entry: &Entry<'_>) -> Result<(), PlanError> {
    // What is made or mounted in it comes first. runc, too, makes these read-only when all else is done.
    // (Not in a container that runs, which would write into it meanwhile.)
    let late = entry.options.set & libc::MOUNT_ATTR_RDONLY != 0
        && (entry.destination == "/dev" || entry.fstype == "tmpfs")
        && b.joins.is_none();
    // Those that masked and readonly paths are in stay at hand: their names in the rootfs may be exchanged.
    let mount = match (entry.fstype, entry.destination.as_str()) {
        _ if late => b.new_source()?,
        ("proc", "/proc") => slot::PROC_MOUNT,
        ("sysfs", "/sys") => slot::SYS_MOUNT,
        // The container's null device is taken from there.
        (_, "/dev") => slot::DEV_MOUNT,
        _ => slot::MOUNT,
    };
    // CVE-2019-19921: a link at /proc or /sys would take the mount elsewhere and leave the masked paths
    // unmasked.
    let target =
        if matches!(entry.fstype, "proc" | "sysfs") { Target::PlainDirectory } else { Target::Directory };
    if !WITHOUT_NETWORK.contains(&entry.fstype) {
        namespaces::enter_network(b, InsidePhase::Mounts);
    }
    open_target(b, &entry.item, entry.path()?, target);
    let names = |key: &str| entry.options.data.iter().any(|(named, _)| named == key);
    if entry.fstype == "tmpfs" && !names("mode") {
        b.inside(InsidePhase::Mounts, entry.item.clone(), Step::TargetMode { target: slot::TARGET });
    }
    let (mut attributes, mut words) = (entry.options.set, fs_words(b, entry));
    if late {
        // The superblock stays writable: it may be mounted elsewhere by then.
        attributes &= !libc::MOUNT_ATTR_RDONLY;
        words.retain(|(word, _)| word != "ro");
    }
    let source =
        entry.source.map_or_else(|| entry.fstype.to_owned(), |source| source.to_string_lossy().into_owned());
    let item = entry.item.to_string_lossy();
    let step = Step::MountFs {
        fstype: text(&item, entry.fstype)?,
        source: text(&item, source)?,
        options: option_block(&item, &words)?,
        attributes: Attributes(attributes),
        slot: mount,
    };
    b.inside(InsidePhase::Mounts, entry.item.clone(), step);
    if entry.options.copy_up {
        let owner = !names("uid") && !names("gid");
        b.inside(InsidePhase::Mounts, entry.item.clone(), Step::CopyUp { mount, from: slot::TARGET, owner });
    }
    tree_attributes(b, entry, mount);
    let keep = mount != slot::MOUNT;
    attach_entry(b, entry, mount, keep);
    covers(b, &entry.destination);
    if entry.destination == "/dev" {
        b.ledger.dev = Some(mount);
    }
    if late {
        b.ledger.late_readonly.push((entry.item.clone(), mount));
    } else if matches!(mount, slot::PROC_MOUNT | slot::SYS_MOUNT) {
        b.ledger.kept.push((entry.destination.clone(), mount));
    }
    Ok(())
}

/// What is mounted here hides what was kept for the masks.
fn covers(b: &mut Builder<'_>, destination: &str) {
    let hidden = |kept: &str| {
        kept.strip_prefix(destination).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    b.ledger.kept.retain(|(kept, _)| !hidden(kept));
    b.ledger.dev = b.ledger.dev.filter(|_| !hidden("/dev"));
}

/// The options for the superblock: words and data, and the label of `linux.mountLabel`.
fn fs_words(b: &Builder<'_>, entry: &Entry<'_>) -> Vec<(String, Option<String>)> {
    let mut words: Vec<_> = entry.options.superblock.iter().map(|word| (word.clone(), None)).collect();
    for (key, value) in &entry.options.data {
        match value.as_deref() {
            // fsconfig(2) takes 255 bytes at most, a layer at a time.
            Some(layers)
                if entry.fstype == "overlay" && key == "lowerdir" && layers.len() > FSCONFIG_STRING_MAX =>
            {
                let layers = overlay_layers(layers).into_iter();
                words.extend(layers.map(|(key, layer)| (key.to_owned(), Some(layer))));
            }
            _ => words.push((key.clone(), value.clone())),
        }
    }
    // proc and sysfs are labelled by the policy; mqueue takes no such option.
    if !matches!(entry.fstype, "proc" | "sysfs" | "mqueue") {
        words.extend(mount_label(b).map(|(kind, label)| (kind.to_owned(), Some(label.to_owned()))));
    }
    words
}

/// The option for `linux.mountLabel`, and the label.
fn mount_label<'a>(b: &Builder<'a>) -> Option<(&'a str, &'a str)> {
    let label = b.spec.linux().as_ref()?.mount_label().as_deref()?;
    let kind = b.annotation(annotations::MOUNT_CONTEXT).unwrap_or("context");
    Some((kind, label)).filter(|_| !label.is_empty() && b.facts.selinux)
}

/// The longest string that fsconfig(2) takes.
const FSCONFIG_STRING_MAX: usize = 255;

/// Splits overlay's `lowerdir` at its colons: the layers one by one, as `lowerdir+` and, behind a double
/// colon, `datadir+`. Those two take a path as it is, without the backslashes that a list needs.
fn overlay_layers(text: &str) -> Vec<(&'static str, String)> {
    let mut layers = vec![("lowerdir+", String::new())];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let literal = match character {
            ':' => {
                let key = if characters.next_if_eq(&':').is_some() { "datadir+" } else { "lowerdir+" };
                layers.push((key, String::new()));
                continue;
            }
            '\\' => characters.next(),
            other => Some(other),
        };
        if let Some((_, layer)) = layers.last_mut() {
            layer.extend(literal);
        }
    }
    layers
}

/// Options as the executor reads them: a string begins with `=`, a flag has none.
pub(super) fn option_block(
    item: &str,
    words: &[(String, Option<String>)],
) -> Result<Options<Vec<u8>>, PlanError> {
    let value = |value: &Option<String>| value.as_ref().map(|value| format!("={value}")).unwrap_or_default();
    let pairs: Vec<String> = words.iter().flat_map(|(key, given)| [key.clone(), value(given)]).collect();
    block(item, pairs.iter().map(String::as_str)).map(Options)
}

/// `remount` without `bind`: the options of a filesystem that is mounted there already.
fn reconfigure(b: &mut Builder<'_>, entry: &Entry<'_>) -> Result<(), PlanError> {
    namespaces::enter_network(b, InsidePhase::Mounts);
    open_target(b, &entry.item, entry.path()?, Target::Existing);
    let words = fs_words(b, entry);
    if !words.is_empty() {
        let options = option_block(&entry.item.to_string_lossy(), &words)?;
        b.inside(InsidePhase::Mounts, entry.item.clone(), Step::Reconfigure { mount: slot::TARGET, options });
    }
    own_attributes(b, entry, slot::TARGET, 0);
    tree_attributes(b, entry, slot::TARGET);
    propagate(b, entry, slot::TARGET);
    b.inside(InsidePhase::Mounts, entry.item.clone(), Step::Close { slot: slot::TARGET });
    Ok(())
}

/// Marks the bind mounts, and the entries that mount one of them again.
fn keep_flags(entries: &mut [Entry<'_>]) {
    let mut of_the_host = HashMap::new();
    for entry in entries {
        let is_bind = entry.options.bind.is_some();
        entry.keeps_flags = if entry.options.remount {
            is_bind && of_the_host.get(&entry.destination) == Some(&true)
        } else {
            of_the_host.insert(entry.destination.clone(), is_bind);
            is_bind
        };
    }
}

/// A bind mount: the runtime opens the source, or init, which may have `opened` it by now; init attaches the
/// copy.
fn bind_mount(
    b: &mut Builder<'_>,
    entry: &Entry<'_>,
    recursive: bool,
    opened: Option<Slot>,
) -> Result<(), PlanError> {
    if let Some(target) = sources::copied_link(b, entry) {
        let (path, target) = (entry.path()?, text("mounts", target.as_os_str().as_encoded_bytes())?);
        b.inside(InsidePhase::Mounts, entry.item.clone(), Step::CopyLink { path, target });
        return Ok(());
    }
    let tree = opened.map_or_else(|| sources::open(b, entry, recursive), Ok)?;
    // The copy starts as a peer of its source; made a slave, it cannot carry the container's mounts to the
    // host.
    match tree_propagation(b.spec) {
        Some(propagation) if recursive => {
            b.inside(InsidePhase::Mounts, entry.item.clone(), set_propagation(tree, propagation));
            own_attributes(b, entry, tree, 0);
        }
        propagation => own_attributes(b, entry, tree, propagation.unwrap_or(0)),
    }
    tree_attributes(b, entry, tree);
    if entry.destination == "/proc" {
        b.inside(InsidePhase::Mounts, entry.item.clone(), Step::CheckProc { mount: tree });
    }
    covers(b, &entry.destination);
    let target =
        if entry.options.destination_nofollow { Target::LinkItself(tree) } else { Target::Like(tree) };
    open_target(b, &entry.item, entry.path()?, target);
    // The host's procfs and sysfs, too, are what masked and readonly paths are in.
    let keep = matches!(entry.destination.as_str(), "/proc" | "/sys");
    attach_entry(b, entry, tree, keep);
    if keep {
        b.ledger.kept.push((entry.destination.clone(), tree));
    }
    Ok(())
}

/// `remount` with `bind`: the attributes of a mount that is there already.
fn remount(b: &mut Builder<'_>, entry: &Entry<'_>) -> Result<(), PlanError> {
    open_target(b, &entry.item, entry.path()?, Target::Existing);
    own_attributes(b, entry, slot::TARGET, 0);
    tree_attributes(b, entry, slot::TARGET);
    propagate(b, entry, slot::TARGET);
    b.inside(InsidePhase::Mounts, entry.item.clone(), Step::Close { slot: slot::TARGET });
    Ok(())
}

/// Attributes of a mount alone, and its propagation if that is to change. A new filesystem is made with them.
pub(super) fn own_attributes(b: &mut Builder<'_>, entry: &Entry<'_>, mount: Slot, propagation: u64) {
    let (set, clear, mut unnamed) = (entry.options.set, entry.options.clear, entry.options.unnamed());
    if entry.keeps_flags {
        // As if the kernel had locked them (`LockedFlags`); this one it cannot lock.
        unnamed &= libc::MOUNT_ATTR_NOSYMFOLLOW;
    }
    if (set, clear, unnamed, propagation) != (0, 0, 0, 0) {
        let [set, clear, unnamed] = [set, clear, unnamed].map(Attributes);
        let propagation = Propagation(propagation);
        let step = Step::SetAttributes { mount, set, clear, unnamed, propagation, recursive: false };
        b.inside(InsidePhase::Mounts, entry.item.clone(), step);
    }
}

/// The options about propagation, each in turn.
fn propagate(b: &mut Builder<'_>, entry: &Entry<'_>, mount: Slot) {
    for change in &entry.options.propagation {
        let step = self::change(mount, 0, change.flag, change.recursive);
        b.inside(InsidePhase::Mounts, entry.item.clone(), step);
    }
}

/// Attributes of a mount and of all below.
pub(super) fn tree_attributes(b: &mut Builder<'_>, entry: &Entry<'_>, mount: Slot) {
    let (set, clear) = (entry.options.recursive_set, entry.options.recursive_clear);
    if (set, clear) != (0, 0) {
        let (set, clear, unnamed) = (Attributes(set), Attributes(clear), Attributes::NONE);
        let step = Step::SetAttributes {
            mount,
            set,
            clear,
            unnamed,
            propagation: Propagation::NONE,
            recursive: true,
        };
        b.inside(InsidePhase::Mounts, entry.item.clone(), step);
    }
}

/// Sets attributes of a mount and changes its propagation, or those of its whole tree; clears none.
pub(super) fn change(mount: Slot, set: u64, propagation: u64, recursive: bool) -> Step {
    let (set, propagation) = (Attributes(set), Propagation(propagation));
    Step::SetAttributes {
        mount,
        set,
        clear: Attributes::NONE,
        unnamed: Attributes::NONE,
        propagation,
        recursive,
    }
}

/// Sets the propagation of a whole tree.
pub(super) fn set_propagation(tree: Slot, propagation: u64) -> Step {
    change(tree, 0, propagation, true)
}

/// Makes the filesystems read-only that had to be filled first.
pub(super) fn late_readonly(b: &mut Builder<'_>) -> Result<(), PlanError> {
    for (item, mount) in std::mem::take(&mut b.ledger.late_readonly) {
        let step = if b.has_mount_namespace() {
            change(mount, libc::MOUNT_ATTR_RDONLY, 0, false)
        } else {
            // Of a mount in a detached tree nothing can be changed but the filesystem.
            let options = option_block(&item.to_string_lossy(), &[("ro".to_owned(), None)])?;
            Step::Reconfigure { mount, options }
        };
        b.inside(InsidePhase::LateReadonly, item.clone(), step);
        if b.ledger.dev != Some(mount) {
            b.inside(InsidePhase::LateReadonly, item, Step::Close { slot: mount });
        }
    }
    Ok(())
}

/// An empty directory that nothing can be put in: one for all masked directories.
pub(super) fn empty_directory(b: &Builder<'_>, attributes: u64, slot: Slot) -> Result<Step, PlanError> {
    let mut options = ["ro", "", "nr_blocks", "=1", "nr_inodes", "=1"].map(str::to_owned).to_vec();
    options
        .extend(mount_label(b).into_iter().flat_map(|(kind, label)| [kind.to_owned(), format!("={label}")]));
    Ok(Step::MountFs {
        fstype: c"tmpfs".into(),
        source: c"tmpfs".into(),
        options: Options(block("linux.maskedPaths", options.iter().map(String::as_str))?),
        attributes: Attributes(attributes | libc::MOUNT_ATTR_RDONLY),
        slot,
    })
}
