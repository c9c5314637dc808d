//! The container's root, and the mount namespace that it is the root of (`root`, `linux.rootfsPropagation`).
//!
//! Stage: plan; the steps run inside. Spec: config.md#root, config-linux.md#rootfs-mount-propagation.
//! Attacker: owns the rootfs tree; with CAP_SYS_ADMIN in it, may take mounts away to see what is below.

use std::ffi::CString;
use std::path::{Component, Path};

use corten_init::{Attributes, OwnedStep as Step, Propagation, TreeFlags};

use crate::oci::{LinuxNamespaceType, Mount};
use crate::spec::asks_for_bind;

use super::builder::{Builder, SLAVE, slot};
use super::namespaces::{self, UserNamespace};
use super::paths::text;
use super::phases::{HostPhase, InsidePhase};
use super::{HostStep, PlanError, hooks, mounts};

/// Filesystems whose source and options name no file of the host.
const WITHOUT_PATHS: [&str; 11] =
    ["bpf", "cgroup", "cgroup2", "debugfs", "devpts", "mqueue", "proc", "ramfs", "sysfs", "tmpfs", "tracefs"];

/// Judges whether the mount namespace can do without a copy of the caller's mounts. Hooks before `pivot_root(2)` see the host's mounts;
/// so does a filesystem that is on a device or on other directories, and a source that lies in the container's own root, where an
/// earlier mount may have changed what is there. A user namespace may mount proc and sysfs only where they are to be seen already
/// (`mount_too_revealing`, fs/namespace.c). Sources with a mount namespace below are found in a copy alone.
pub(super) fn bare(b: &mut Builder<'_>) {
    let wants_new = b.has_new_namespace(LinuxNamespaceType::Mount)
        && b.user_namespace == UserNamespace::Same
        && !b.request.options.no_pivot
        && !b.facts.copies_mounts;
    let Some(root) = b.spec.root().as_ref().filter(|_| wants_new && !hooks::see_the_root(b)) else { return };
    let root = b.request.bundle.join(root.path());
    let is_plain = |source: &Path| {
        let source = b.request.bundle.join(source);
        !source.starts_with(&root) && !source.components().any(|part| part == Component::ParentDir)
    };
    let mut mounts = b.spec.mounts().iter().flatten();
    let no_path_matters = mounts.all(|mount| match mount.source() {
        Some(source) if asks_for_bind(mount) => is_plain(source),
        _ => !may_be_on_a_device(mount),
    });
    if !no_path_matters || may_visit(b) && !b.facts.finds_own_mounts {
        return;
    }
    b.bare_mounts = b.facts.bare_mounts.as_ref();
    if let Some(directory) = b.facts.missing_template.clone() {
        b.host(HostPhase::Open, c"runtime", HostStep::MakeMountTemplate { directory });
    }
}

/// Whether the mount is of a filesystem that may name a device of the host.
pub(super) fn may_be_on_a_device(mount: &Mount) -> bool {
    !asks_for_bind(mount) && !mount.typ().as_deref().is_some_and(|kind| WITHOUT_PATHS.contains(&kind))
}

/// In a bare mount namespace, the way to the host's mounts and back.
fn way_to_host(b: &mut Builder<'_>) -> Result<(), PlanError> {
    if b.bare_mounts.is_none() || !may_visit(b) {
        return Ok(());
    }
    let (host, own) = (b.new_source()?, b.new_source()?);
    let item = c"linux.namespaces";
    b.host(HostPhase::Open, item, namespaces::open_mounts("/proc/self/ns/mnt".into(), host));
    b.inside(InsidePhase::Root, item, Step::OwnMounts { slot: own });
    b.to_and_from_host = Some((host, own));
    Ok(())
}

/// Whether there are sources that init opens itself.
fn may_visit(b: &Builder<'_>) -> bool {
    let binds = b.facts.notify_directory.is_some() || b.spec.mounts().iter().flatten().any(asks_for_bind);
    b.tree_propagation().is_some() && binds
}

/// The root filesystem, attached where hooks look for it, and where no path of the caller's leads by accident: over `/`, every
/// `..` that ends there would go on in the image (a link like Fedora's `/var/run -> ../run`).
pub(super) fn root(b: &mut Builder<'_>) -> Result<(), PlanError> {
    let root = b.spec.root().as_ref().ok_or(PlanError::Missing { item: "root" })?;
    let source = b.request.bundle.join(root.path());
    let flags = TreeFlags { recursive: true, directory: true, ..TreeFlags::default() };
    namespaces::open_tree(b, &CString::from(c"root.path"), &source, flags, slot::ROOT)?;
    if !b.has_mount_namespace() {
        // config-linux.md#namespaces: the runtime's own is inherited. The tree stays detached and the process is shut up in it:
        // none of its mounts shows up in the namespace (mounts on detached trees: Linux 6.15).
        b.inside(InsidePhase::Root, c"root.path", Step::EnterTree { tree: slot::ROOT });
        return Ok(());
    }
    if b.bare_mounts.is_none() {
        b.inside(InsidePhase::Root, c"linux.rootfsPropagation", Step::Propagation { flags: Propagation(SLAVE) });
    }
    if b.request.options.no_pivot {
        b.inside(InsidePhase::Root, c"root", Step::HideHostMounts { proc: slot::PROC });
    }
    let propagation = b.tree_propagation().unwrap_or(SLAVE);
    b.inside(InsidePhase::Root, c"linux.rootfsPropagation", mounts::set_propagation(slot::ROOT, propagation));
    if propagation != libc::MS_PRIVATE {
        // runc: what the host mounts in the directory later is none of the container's; mounts below the root may get some.
        let own = Step::SetAttributes {
            mount: slot::ROOT,
            set: Attributes::NONE,
            clear: Attributes::NONE,
            unnamed: Attributes::NONE,
            propagation: Propagation(libc::MS_PRIVATE),
            recursive: false,
        };
        b.inside(InsidePhase::Root, c"linux.rootfsPropagation", own);
    }
    // In a joined or bare mount namespace there is no such directory; nothing but targets is looked up there.
    if b.bare_mounts.is_none() && !b.joins_mount_namespace() || hooks::see_the_root(b) {
        let path = text("root.path", source.into_os_string().into_encoded_bytes())?;
        b.inside(InsidePhase::Root, c"root.path", Step::AttachRootAt { tree: slot::ROOT, path });
    } else {
        b.inside(InsidePhase::Root, c"root.path", Step::AttachRoot { tree: slot::ROOT });
    }
    way_to_host(b)
}

/// The container's root becomes `/`.
pub(super) fn change_root(b: &mut Builder<'_>) {
    if b.has_mount_namespace() && !b.request.options.no_pivot && b.bare_mounts.is_none() {
        b.inside(InsidePhase::ChangeRoot, c"root", Step::PivotRoot {});
        return;
    }
    // Over an empty directory the root lies already, and below it is nothing to get rid of.
    if b.has_mount_namespace() && b.bare_mounts.is_none() {
        b.inside(InsidePhase::ChangeRoot, c"root", Step::AttachRoot { tree: slot::ROOT });
    }
    b.inside(InsidePhase::ChangeRoot, c"root", Step::MoveRoot {});
    for slot in b.to_and_from_host.into_iter().flat_map(|(host, own)| [host, own]) {
        b.inside(InsidePhase::ChangeRoot, c"linux.namespaces", Step::Close { slot });
    }
}

/// The last word about the root: shared or unbindable if the config wants it so, then read-only. A slave or private root is made
/// so before the mounts, whose own options would be lost otherwise (runc).
pub(super) fn readonly_root(b: &mut Builder<'_>) {
    let propagation = b.spec.linux().as_ref().and_then(|linux| linux.rootfs_propagation().as_deref());
    let late = propagation
        .and_then(propagation_flags)
        .filter(|(flag, _)| matches!(*flag, libc::MS_SHARED | libc::MS_UNBINDABLE));
    if let Some((flags, recursive)) = late {
        let step = Step::RootAttributes { set: Attributes::NONE, propagation: Propagation(flags), recursive };
        b.inside(InsidePhase::RootAttributes, c"linux.rootfsPropagation", step);
    }
    if b.spec.root().as_ref().is_some_and(|root| root.readonly().unwrap_or(false)) {
        let set = Attributes(libc::MOUNT_ATTR_RDONLY);
        let step = Step::RootAttributes { set, propagation: Propagation::NONE, recursive: false };
        b.inside(InsidePhase::RootAttributes, c"root.readonly", step);
    }
}

/// The flag of a `rootfsPropagation`, and whether it is recursive.
pub(super) fn propagation_flags(word: &str) -> Option<(u64, bool)> {
    let (kind, recursive) = match word.strip_prefix('r') {
        Some(kind) => (kind, true),
        None => (word, false),
    };
    let flag = match kind {
        "private" => libc::MS_PRIVATE,
        "shared" => libc::MS_SHARED,
        "slave" => libc::MS_SLAVE,
        "unbindable" => libc::MS_UNBINDABLE,
        _ => return None,
    };
    Some((flag, recursive))
}
