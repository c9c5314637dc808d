//! Mounts of type `cgroup` (`mounts`): cgroup2, or on a hybrid machine a directory with one mount for each v1
//! hierarchy, as runc makes it.
//!
//! Stage: plan; the steps run inside. Spec: config-linux.md, "Default Filesystems". Attacker: the container,
//! which must not write to cgroups of the host that are not its own (CVE-2023-25809).

use std::path::Path;

use corten_init::{Attributes, Options, OwnedStep as Step, Propagation, Slot, Target, TreeFlags};

use crate::oci::LinuxNamespaceType;

use super::builder::{Builder, SLAVE, slot};
use super::decisions::{CgroupMounts, has_new};
use super::mounts::{
    Entry, attach, attach_entry, change, open_target, option_block, own_attributes, set_propagation,
    tree_attributes,
};
use super::namespaces;
use super::paths::{block, text};
use super::phases::{HostPhase, InsidePhase};
use super::{HostStep, LegacyHierarchy, PlanError};

/// Where the caller's cgroup2 is.
const UNIFIED: &str = "/sys/fs/cgroup";

/// A `cgroup` mount.
pub(super) fn cgroup(b: &mut Builder<'_>, entry: &Entry<'_>) -> Result<(), PlanError> {
    open_target(b, &entry.item, entry.path()?, Target::Directory);
    match b.decisions.cgroup_mounts {
        CgroupMounts::Hierarchies => return legacy_cgroups(b, entry),
        CgroupMounts::Callers => return callers_cgroups(b, entry),
        CgroupMounts::Own => return own_cgroup(b, entry),
        CgroupMounts::New | CgroupMounts::None => {}
    }
    // No flags for the superblock: there is one for the whole machine. Options of cgroup2 the kernel takes
    // from its first cgroup namespace alone.
    b.inside(
        InsidePhase::Mounts,
        entry.item.clone(),
        cgroup_fs(entry.options.set, c"cgroup2", &entry.options.data)?,
    );
    tree_attributes(b, entry, slot::MOUNT);
    attach_entry(b, entry, slot::MOUNT, false);
    Ok(())
}

/// The container's own cgroup. A mount uses up what is opened for it.
fn own_cgroup(b: &mut Builder<'_>, entry: &Entry<'_>) -> Result<(), PlanError> {
    let is_another = std::mem::replace(&mut b.ledger.shows_cgroup, true);
    let slot = if is_another { b.new_source()? } else { slot::CGROUP };
    let (phase, item) = match b.joins {
        None => (HostPhase::Cgroups, c"linux.cgroupsPath"),
        Some(_) => (HostPhase::Open, c"mounts"),
    };
    b.host(phase, item, HostStep::OpenCgroup { slot });
    show(b, entry, slot, None);
    Ok(())
}

/// A runtime that is not root of the machine may not mount the host's cgroups, and may have none to make the
/// container's in: what shows are those of the caller (runc). They are the user's to write, so that they are
/// read-only unless `rw` asks for them (CVE-2023-25809). Where the runtime is root they are the host's, whose
/// root the container's may be: read-only whatever the options say.
fn callers_cgroups(b: &mut Builder<'_>, entry: &Entry<'_>) -> Result<(), PlanError> {
    let mount = b.new_source()?;
    let flags = TreeFlags { recursive: true, directory: true, ..TreeFlags::default() };
    namespaces::open_tree(b, &entry.item, Path::new(UNIFIED), flags, mount)?;
    let readonly = change(mount, libc::MOUNT_ATTR_RDONLY, 0, true);
    if b.facts.rootless && entry.options.clear & libc::MOUNT_ATTR_RDONLY == 0 {
        b.inside(InsidePhase::Mounts, entry.item.clone(), readonly.clone());
    }
    let last_word = (!b.facts.rootless).then_some(readonly);
    show(b, entry, mount, last_word);
    Ok(())
}

/// Attaches what is mounted already, with the entry's attributes. `last_word`: what comes after those.
fn show(b: &mut Builder<'_>, entry: &Entry<'_>, mount: Slot, last_word: Option<Step>) {
    b.inside(InsidePhase::Mounts, entry.item.clone(), set_propagation(mount, SLAVE));
    own_attributes(b, entry, mount, 0);
    tree_attributes(b, entry, mount);
    if let Some(step) = last_word {
        b.inside(InsidePhase::Mounts, entry.item.clone(), step);
    }
    attach_entry(b, entry, mount, false);
}

fn legacy_cgroups(b: &mut Builder<'_>, entry: &Entry<'_>) -> Result<(), PlanError> {
    let directory = b.new_source()?;
    let step = Step::MountFs {
        fstype: c"tmpfs".into(),
        source: c"tmpfs".into(),
        options: Options(block("mounts", ["mode", "=755"])?),
        attributes: Attributes(entry.options.set & !libc::MOUNT_ATTR_RDONLY),
        slot: directory,
    };
    b.inside(InsidePhase::Mounts, entry.item.clone(), step);
    let late = entry.options.set & libc::MOUNT_ATTR_RDONLY != 0;
    b.inside(
        InsidePhase::Mounts,
        entry.item.clone(),
        Step::MoveMount { mount: directory, target: slot::TARGET, keep: late },
    );
    if late {
        b.ledger.late_readonly.push((entry.item.clone(), directory));
    }
    for hierarchy in &b.facts.legacy {
        let mount = legacy_cgroup(b, entry, hierarchy)?;
        let path = text("mounts", format!("{}/{}", entry.destination, hierarchy.name))?;
        open_target(b, &entry.item, path, Target::Directory);
        attach(b, &entry.item, mount);
    }
    for (name, target) in &b.facts.legacy_links {
        let path = text("mounts", format!("{}/{name}", entry.destination))?;
        let target = text("mounts", target.as_str())?;
        b.inside(InsidePhase::Mounts, entry.item.clone(), Step::MakeLink { path, target, replace: false });
    }
    Ok(())
}

/// Shows one hierarchy; returns the slot of the mount. A cgroup that is not the container's own is read-only
/// whatever the options say.
fn legacy_cgroup(
    b: &mut Builder<'_>,
    entry: &Entry<'_>,
    hierarchy: &LegacyHierarchy,
) -> Result<Slot, PlanError> {
    let set = entry.options.set | if hierarchy.is_own { 0 } else { libc::MOUNT_ATTR_RDONLY };
    if has_new(b.spec, LinuxNamespaceType::Cgroup) {
        let words: Vec<_> = hierarchy.options.iter().map(|option| word(option)).collect();
        b.inside(InsidePhase::Mounts, entry.item.clone(), cgroup_fs(set, c"cgroup", &words)?);
        return Ok(slot::MOUNT);
    }
    let mount = b.new_source()?;
    let flags = TreeFlags { directory: true, ..TreeFlags::default() };
    namespaces::open_tree(b, &entry.item, &hierarchy.path, flags, mount)?;
    let clear = if set & libc::MOUNT_ATTR__ATIME == 0 { 0 } else { libc::MOUNT_ATTR__ATIME };
    let [set, clear] = [set, clear].map(Attributes);
    let (unnamed, propagation) = (Attributes::NONE, Propagation(SLAVE));
    let step = Step::SetAttributes { mount, set, clear, unnamed, propagation, recursive: false };
    b.inside(InsidePhase::Mounts, entry.item.clone(), step);
    Ok(mount)
}

fn word(option: &str) -> (String, Option<String>) {
    match option.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (option.to_owned(), None),
    }
}

fn cgroup_fs(
    attributes: u64,
    fstype: &std::ffi::CStr,
    words: &[(String, Option<String>)],
) -> Result<Step, PlanError> {
    Ok(Step::MountFs {
        fstype: fstype.into(),
        source: c"cgroup".into(),
        options: option_block("mounts", words)?,
        attributes: Attributes(attributes),
        slot: slot::MOUNT,
    })
}
