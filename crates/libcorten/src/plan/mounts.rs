//! Mounts of the container (`mounts`).
//!
//! Stage: plan; the steps run inside, in the new mount namespace, before `pivot_root(2)`. Sources of bind mounts are opened by
//! the runtime in the caller's namespaces. Each mount is made detached, given its attributes, and attached last, on a target
//! that was opened inside the root.
//! Spec: config.md#mounts. Attacker: may own the rootfs tree, not the bundle.

use std::ffi::CString;
use std::path::Path;

use corten_init::{OwnedStep as Step, Slot, Target};

use crate::oci::{LinuxNamespaceType, Mount};
use crate::spec::clean_in_root;

use super::build::{Builder, item_at, slot};
use super::mount_options::{self, MountOptions};
use super::paths::{block, text};
use super::{HostStep, PlanError};

/// `MS_SLAVE`.
const SLAVE: u64 = libc::MS_SLAVE;
/// Files of procfs that a bind mount may cover: what lxcfs and its kin provide. runc has the same list.
const PROC_COVERS: [&str; 11] = [
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
    "/proc/net/dev",
];

/// One mount, looked at from all sides.
struct Entry<'a> {
    item: CString,
    index: usize,
    destination: String,
    fstype: &'a str,
    source: Option<&'a Path>,
    options: MountOptions,
}

/// Adds the steps of all mounts, in the config's order.
pub(super) fn mounts(b: &mut Builder<'_>) -> Result<(), PlanError> {
    let Some(mounts) = b.spec.mounts().as_ref() else { return Ok(()) };
    for (index, mount) in mounts.iter().enumerate() {
        let entry = Entry::new(index, mount)?;
        entry.check_proc()?;
        match (entry.options.bind, entry.fstype) {
            (Some(_), _) if entry.options.remount => remount(b, &entry)?,
            (Some(bind), _) => bind_mount(b, &entry, bind.recursive)?,
            (None, _) if entry.options.remount => {
                let item = format!("mounts[{index}].options");
                return Err(PlanError::Unsupported { item, what: "remounting a filesystem" });
            }
            (None, "cgroup") => cgroup(b, &entry)?,
            (None, _) => filesystem(b, &entry)?,
        }
    }
    Ok(())
}

impl<'a> Entry<'a> {
    fn new(index: usize, mount: &'a Mount) -> Result<Self, PlanError> {
        let no_options = Vec::new();
        let options = mount.options().as_ref().unwrap_or(&no_options);
        Ok(Self {
            item: item_at("mounts", index)?,
            index,
            destination: clean_in_root(mount.destination()).to_string_lossy().into_owned(),
            fstype: mount.typ().as_deref().unwrap_or("none"),
            source: mount.source().as_deref(),
            options: mount_options::parse(index, mount.typ().as_deref(), options)?,
        })
    }

    /// Refuses mounts inside `/proc` but for single files that may be covered (CVE-2019-16884).
    fn check_proc(&self) -> Result<(), PlanError> {
        let path = self.destination.as_str();
        let inside = path.strip_prefix("/proc").is_some_and(|rest| rest.starts_with('/'));
        let over = path == "/proc" && self.fstype != "proc" && self.options.bind.is_none();
        if over || inside && !PROC_COVERS.contains(&path) {
            return Err(PlanError::InsideProc { index: self.index, path: path.to_owned() });
        }
        Ok(())
    }

    fn path(&self) -> Result<CString, PlanError> {
        text("mounts", self.destination.as_str())
    }
}

fn open_target(b: &mut Builder<'_>, item: &CString, path: CString, target: Target) {
    let step = Step::OpenTarget { path, target: target.to_number(), slot: slot::TARGET };
    b.inside(item.clone(), step);
}

fn attach(b: &mut Builder<'_>, item: &CString, mount: Slot) {
    b.inside(item.clone(), Step::MoveMount { mount, target: slot::TARGET });
}

/// A new filesystem.
fn filesystem(b: &mut Builder<'_>, entry: &Entry<'_>) -> Result<(), PlanError> {
    // CVE-2019-19921: a link at /proc or /sys would take the mount elsewhere and leave the masked paths unmasked.
    let target = if matches!(entry.fstype, "proc" | "sysfs") { Target::PlainDirectory } else { Target::Directory };
    open_target(b, &entry.item, entry.path()?, target);
    // The default devices go into /dev: it becomes read-only after them.
    let late = entry.destination == "/dev" && entry.options.set & libc::MOUNT_ATTR_RDONLY != 0;
    let set = if late { entry.options.set & !libc::MOUNT_ATTR_RDONLY } else { entry.options.set };
    let mut words: Vec<(&str, Option<&str>)> =
        entry.options.superblock.iter().map(|word| (word.as_str(), None)).collect();
    words.retain(|(word, _)| !(late && *word == "ro"));
    words.extend(entry.options.data.iter().map(|(key, value)| (key.as_str(), value.as_deref())));
    let source = entry.source.map_or_else(|| entry.fstype.to_owned(), |source| source.to_string_lossy().into_owned());
    let item = entry.item.to_string_lossy();
    let step = Step::MountFs {
        fstype: text(&item, entry.fstype)?,
        source: text(&item, source)?,
        options: block(&item, words.into_iter().flat_map(|(key, value)| [key, value.unwrap_or("")]))?,
        attributes: set,
        slot: slot::MOUNT,
    };
    b.inside(entry.item.clone(), step);
    change_attributes(b, entry, slot::MOUNT, false);
    attach(b, &entry.item, slot::MOUNT);
    Ok(())
}

/// A bind mount: the runtime opens the source, init attaches the copy.
fn bind_mount(b: &mut Builder<'_>, entry: &Entry<'_>, recursive: bool) -> Result<(), PlanError> {
    let source = entry.source.ok_or(PlanError::Missing { item: "mounts[].source" })?;
    let tree = b.new_source()?;
    // A relative source is relative to the bundle (config.md#mounts).
    let source = b.request.bundle.join(source);
    b.host(entry.item.clone(), HostStep::OpenTree { source, recursive, directory: false, slot: tree });
    // The copy starts as a peer of its source; made a slave, it cannot carry the container's mounts to the host.
    let slave = Step::SetAttributes { mount: tree, set: 0, clear: 0, propagation: SLAVE, recursive: 1 };
    b.inside(entry.item.clone(), slave);
    change_attributes(b, entry, tree, true);
    open_target(b, &entry.item, entry.path()?, Target::Like(tree));
    attach(b, &entry.item, tree);
    Ok(())
}

/// `remount` with `bind`: the attributes of a mount that is there already.
fn remount(b: &mut Builder<'_>, entry: &Entry<'_>) -> Result<(), PlanError> {
    // What is there is opened, never made: a missing target is the same error as a target that is no mount.
    open_target(b, &entry.item, entry.path()?, Target::Directory);
    change_attributes(b, entry, slot::TARGET, true);
    b.inside(entry.item.clone(), Step::Close { slot: slot::TARGET });
    Ok(())
}

/// Attributes and propagation of a detached mount. `own`: its plain attributes, too, which a new filesystem is made with.
fn change_attributes(b: &mut Builder<'_>, entry: &Entry<'_>, mount: Slot, own: bool) {
    let options = &entry.options;
    if own && (options.set, options.clear) != (0, 0) {
        let (set, clear) = (options.set, options.clear);
        b.inside(entry.item.clone(), Step::SetAttributes { mount, set, clear, propagation: 0, recursive: 0 });
    }
    if (options.recursive_set, options.recursive_clear) != (0, 0) {
        let (set, clear) = (options.recursive_set, options.recursive_clear);
        b.inside(entry.item.clone(), Step::SetAttributes { mount, set, clear, propagation: 0, recursive: 1 });
    }
    for change in &options.propagation {
        let (propagation, recursive) = (change.flag, change.recursive.into());
        b.inside(entry.item.clone(), Step::SetAttributes { mount, set: 0, clear: 0, propagation, recursive });
    }
}

/// Makes `/dev` read-only after the devices if the config wants it so.
pub(super) fn late_readonly(b: &mut Builder<'_>) -> Result<(), PlanError> {
    for (index, mount) in b.spec.mounts().iter().flatten().enumerate() {
        let entry = Entry::new(index, mount)?;
        let readonly = entry.options.set & libc::MOUNT_ATTR_RDONLY != 0;
        if entry.destination == "/dev" && entry.options.bind.is_none() && readonly {
            open_target(b, &entry.item, entry.path()?, Target::Directory);
            let (mount, set) = (slot::TARGET, libc::MOUNT_ATTR_RDONLY);
            b.inside(entry.item.clone(), Step::SetAttributes { mount, set, clear: 0, propagation: 0, recursive: 0 });
            b.inside(entry.item, Step::Close { slot: slot::TARGET });
        }
    }
    Ok(())
}

/// Whether `/dev` is the container's own, so that the default devices and links are made in it. runc: not when `/dev` is a
/// bind mount.
pub(super) fn owns_dev(b: &Builder<'_>) -> Result<bool, PlanError> {
    for (index, mount) in b.spec.mounts().iter().flatten().enumerate() {
        if clean_in_root(mount.destination()) == Path::new("/dev") && Entry::new(index, mount)?.options.bind.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A `cgroup` mount: cgroup2, or on a hybrid machine a directory with one mount for each v1 hierarchy, as runc makes it.
fn cgroup(b: &mut Builder<'_>, entry: &Entry<'_>) -> Result<(), PlanError> {
    if b.facts.legacy.is_empty() {
        open_target(b, &entry.item, entry.path()?, Target::Directory);
        // No flags for the superblock: there is one for the whole machine.
        b.inside(entry.item.clone(), cgroup_fs(entry, c"cgroup2", &[])?);
        change_attributes(b, entry, slot::MOUNT, false);
        attach(b, &entry.item, slot::MOUNT);
        return Ok(());
    }
    open_target(b, &entry.item, entry.path()?, Target::Directory);
    b.inside(
        entry.item.clone(),
        Step::MountFs {
            fstype: c"tmpfs".into(),
            source: c"tmpfs".into(),
            options: block("mounts", ["mode", "755"])?,
            attributes: entry.options.set & !libc::MOUNT_ATTR_RDONLY,
            slot: slot::MOUNT,
        },
    );
    attach(b, &entry.item, slot::MOUNT);
    let own_namespace = b.has_namespace(LinuxNamespaceType::Cgroup);
    for hierarchy in &b.facts.legacy {
        let tree = if own_namespace {
            b.inside(entry.item.clone(), cgroup_fs(entry, c"cgroup", &hierarchy.options)?);
            slot::MOUNT
        } else {
            // The runtime does not make v1 cgroups yet: what shows is its own, so it is read-only whatever the options say.
            let (tree, source) = (b.new_source()?, hierarchy.own.clone());
            b.host(entry.item.clone(), HostStep::OpenTree { source, recursive: false, directory: true, slot: tree });
            let set = entry.options.set | libc::MOUNT_ATTR_RDONLY;
            let clear = if set & libc::MOUNT_ATTR__ATIME == 0 { 0 } else { libc::MOUNT_ATTR__ATIME };
            b.inside(
                entry.item.clone(),
                Step::SetAttributes { mount: tree, set, clear, propagation: SLAVE, recursive: 0 },
            );
            tree
        };
        let path = text("mounts", format!("{}/{}", entry.destination, hierarchy.name))?;
        open_target(b, &entry.item, path, Target::Directory);
        attach(b, &entry.item, tree);
    }
    for (name, target) in &b.facts.legacy_links {
        let path = text("mounts", format!("{}/{name}", entry.destination))?;
        let target = text("mounts", target.as_str())?;
        b.inside(entry.item.clone(), Step::MakeLink { path, target, replace: 0 });
    }
    if entry.options.set & libc::MOUNT_ATTR_RDONLY != 0 {
        open_target(b, &entry.item, entry.path()?, Target::Directory);
        let (mount, set) = (slot::TARGET, libc::MOUNT_ATTR_RDONLY);
        b.inside(entry.item.clone(), Step::SetAttributes { mount, set, clear: 0, propagation: 0, recursive: 0 });
        b.inside(entry.item.clone(), Step::Close { slot: slot::TARGET });
    }
    Ok(())
}

fn cgroup_fs(entry: &Entry<'_>, fstype: &std::ffi::CStr, options: &[String]) -> Result<Step, PlanError> {
    let words = options.iter().flat_map(|option| match option.split_once('=') {
        Some((key, value)) => [key, value],
        None => [option.as_str(), ""],
    });
    Ok(Step::MountFs {
        fstype: fstype.into(),
        source: c"cgroup".into(),
        options: block("mounts", words)?,
        attributes: entry.options.set,
        slot: slot::MOUNT,
    })
}

/// An empty directory that nothing can be put in: one for all masked directories.
pub(super) fn empty_directory(slot: Slot) -> Result<Step, PlanError> {
    Ok(Step::MountFs {
        fstype: c"tmpfs".into(),
        source: c"tmpfs".into(),
        options: block("linux.maskedPaths", ["ro", "", "nr_blocks", "1", "nr_inodes", "1"])?,
        attributes: libc::MOUNT_ATTR_RDONLY,
        slot,
    })
}
