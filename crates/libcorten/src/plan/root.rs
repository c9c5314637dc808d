//! The container's root, and the mount namespace that it is the root of (`root`, `linux.rootfsPropagation`).
//!
//! Stage: plan; the steps run inside. Spec: config.md#root, config-linux.md#rootfs-mount-propagation.
//! Attacker: owns the rootfs tree; with CAP_SYS_ADMIN in it, may take mounts away to see what is below.

use std::ffi::CString;

use corten_init::{Attributes, OwnedStep as Step, Propagation, TreeFlags};

use super::builder::{Builder, SLAVE, slot};
use super::decisions::{MountNamespace, RootMethod, Sources, tree_propagation};
use super::namespaces;
use super::paths::text;
use super::phases::{HostPhase, InsidePhase};
use super::{HostStep, PlanError, hooks, mounts};

/// Makes the mount namespace that those of the containers that follow begin as copies of.
pub(super) fn make_template(b: &mut Builder<'_>) {
    if let Some(directory) = b.decisions.mount_template.clone() {
        b.host(HostPhase::Open, c"runtime", HostStep::MakeMountTemplate { directory });
    }
}

/// In a mount namespace that begins empty, the way to the host's mounts and back.
fn way_to_host(b: &mut Builder<'_>) -> Result<(), PlanError> {
    if b.decisions.sources != Sources::InitVisiting {
        return Ok(());
    }
    let (host, own) = (b.new_source()?, b.new_source()?);
    let item = c"linux.namespaces";
    b.host(HostPhase::Open, item, namespaces::open_mounts("/proc/self/ns/mnt".into(), host));
    b.inside(InsidePhase::Root, item, Step::OwnMounts { slot: own });
    b.ledger.host_and_own_mounts = Some((host, own));
    Ok(())
}

/// The root filesystem, attached where hooks look for it, and where no path of the caller's leads by
/// accident: over `/`, every `..` that ends there would go on in the image (a link like Fedora's `/var/run ->
/// ../run`).
pub(super) fn root(b: &mut Builder<'_>) -> Result<(), PlanError> {
    let root = b.spec.root().as_ref().ok_or(PlanError::Missing { item: "root" })?;
    let source = b.request.bundle.join(root.path());
    let flags = TreeFlags { recursive: true, directory: true, ..TreeFlags::default() };
    namespaces::open_tree(b, &CString::from(c"root.path"), &source, flags, slot::ROOT)?;
    let method = b.decisions.root;
    if method == RootMethod::Detached {
        // config-linux.md#namespaces: the runtime's own is inherited. The tree stays detached and the process
        // is shut up in it: none of its mounts shows up in the namespace (mounts on detached trees: Linux
        // 6.15).
        b.inside(InsidePhase::Root, c"root.path", Step::EnterTree { tree: slot::ROOT });
        return Ok(());
    }
    if method != RootMethod::Move {
        b.inside(
            InsidePhase::Root,
            c"linux.rootfsPropagation",
            Step::Propagation { flags: Propagation(SLAVE) },
        );
    }
    if method == RootMethod::MoveOverHost {
        b.inside(InsidePhase::Root, c"root", Step::HideHostMounts { proc: slot::PROC });
    }
    let propagation = tree_propagation(b.spec).unwrap_or(SLAVE);
    b.inside(InsidePhase::Root, c"linux.rootfsPropagation", mounts::set_propagation(slot::ROOT, propagation));
    if propagation != libc::MS_PRIVATE {
        // runc: what the host mounts in the directory later is none of the container's; mounts below the root
        // may get some.
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
    // In a mount namespace that is joined or begins empty there is no such directory; nothing but targets is
    // looked up there.
    if b.decisions.mount_namespace == MountNamespace::Copied || hooks::see_the_root(b.spec) {
        let path = text("root.path", source.into_os_string().into_encoded_bytes())?;
        b.inside(InsidePhase::Root, c"root.path", Step::AttachRootAt { tree: slot::ROOT, path });
    } else {
        b.inside(InsidePhase::Root, c"root.path", Step::AttachRoot { tree: slot::ROOT });
    }
    way_to_host(b)
}

/// The container's root becomes `/`.
pub(super) fn change_root(b: &mut Builder<'_>) {
    match b.decisions.root {
        RootMethod::Pivot => return b.inside(InsidePhase::ChangeRoot, c"root", Step::PivotRoot {}),
        RootMethod::MoveOverHost => {
            b.inside(InsidePhase::ChangeRoot, c"root", Step::AttachRoot { tree: slot::ROOT });
        }
        // Over an empty directory the root lies already.
        RootMethod::Move | RootMethod::Detached | RootMethod::Joined => {}
    }
    b.inside(InsidePhase::ChangeRoot, c"root", Step::MoveRoot {});
    for slot in b.ledger.host_and_own_mounts.into_iter().flat_map(|(host, own)| [host, own]) {
        b.inside(InsidePhase::ChangeRoot, c"linux.namespaces", Step::Close { slot });
    }
}

/// The last word about the root: shared or unbindable if the config wants it so, then read-only. A slave or
/// private root is made so before the mounts, whose own options would be lost otherwise (runc).
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
