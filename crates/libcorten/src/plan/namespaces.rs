//! Namespaces (`linux.namespaces`): which are made, which are joined, and how many processes that takes.
//!
//! Stage: plan; the steps run inside, first of all. Most namespaces come with the clone of init. A PID or
//! user namespace that is joined, a time namespace, and a new user namespace beside joined ones are for a
//! second process: init clones itself (`CloneAgain`) and the clone takes its place. A new user namespace
//! always comes that way, too: its maps can then be written while init waits at a sync point like any other.
//! Spec: config-linux.md#namespaces, #user-namespace-mappings, #offset-for-time-namespace. Attacker: who made
//! the namespaces that are joined.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use corten_init::{Mode, Namespaces, OwnedStep as Step, Slot, SyncPoint, TreeFlags};

use crate::oci::{Linux, LinuxIdMapping, LinuxNamespaceType as Type, Spec};
use crate::spec::is_joined;

use super::builder::{Builder, slot};
use super::decisions::{Appearance, MountNamespace, NetworkNamespace, UserNamespace, has_new};
use super::paths::text;
use super::phases::{HostPhase, InsidePhase};
use super::{HostStep, JoinFacts, LockedFlags, PlanError, cgroups, process};

/// The kernel's flag of a type.
const FLAGS: [(Type, libc::c_int); 8] = [
    (Type::User, libc::CLONE_NEWUSER),
    (Type::Ipc, libc::CLONE_NEWIPC),
    (Type::Uts, libc::CLONE_NEWUTS),
    (Type::Network, libc::CLONE_NEWNET),
    (Type::Pid, libc::CLONE_NEWPID),
    (Type::Mount, libc::CLONE_NEWNS),
    (Type::Cgroup, libc::CLONE_NEWCGROUP),
    (Type::Time, CLONE_NEWTIME),
];
const CLONE_NEWTIME: libc::c_int = 0x80;

/// The kernel's flag of a type.
pub(super) fn flag(kind: Type) -> u64 {
    let found = FLAGS.into_iter().find(|(other, _)| *other == kind);
    found.map_or(0, |(_, flag)| u64::from(flag.cast_unsigned()))
}

/// A join: config item, slot, flag.
type Join = (CString, Slot, u64);

/// The namespaces of the config.
struct Wanted {
    /// The flags of the new ones, but for the cgroup namespace, which is unshared later, in the cgroup.
    new: u64,
    /// The joined ones but for the user namespace.
    joins: Vec<Join>,
    join_user: Option<Join>,
}

/// The phases in which both halves enter the namespaces.
const ENTER: (HostPhase, InsidePhase) = (HostPhase::EnterNamespaces, InsidePhase::EnterNamespaces);

/// Adds the clone of init, the steps that enter the namespaces, and the host's steps around them.
pub(super) fn enter(b: &mut Builder<'_>) -> Result<(), PlanError> {
    let cloned = enter_after_clone(b)?;
    b.clone_init(c"linux.namespaces", cloned);
    Ok(())
}

/// Adds the steps that enter the namespaces. Returns the flags of those that the clone of init makes.
fn enter_after_clone(b: &mut Builder<'_>) -> Result<u64, PlanError> {
    let Wanted { mut new, joins, join_user } = open_namespaces(b)?;
    let user = b.decisions.user_namespace;
    if b.decisions.network_namespace == NetworkNamespace::ByRuntime {
        b.ledger.network = Some(b.new_source()?);
        new &= !flag(Type::Network);
    }
    if let MountNamespace::CopiedEmpty(path) = b.decisions.mount_namespace.clone() {
        let slot = b.new_source()?;
        b.host(HostPhase::Open, c"linux.namespaces", open_mounts(path, slot));
        b.inside(
            InsidePhase::EnterNamespaces,
            c"linux.namespaces",
            Step::Join { namespace: slot, kind: Namespaces(flag(Type::Mount)) },
        );
    }
    if !b.decisions.clones_itself {
        add_joins(b, joins);
        return Ok(unshare_mounts(b, new));
    }
    if user == UserNamespace::New && !b.facts.privileged {
        b.inside(InsidePhase::EnterNamespaces, c"linux.namespaces", Step::Dumpable { on: true });
    }
    // Whoever has privileges here needs them to join what belongs to this user namespace; whoever has none
    // gets them there.
    if b.facts.privileged {
        add_joins(b, joins.into_iter().chain(join_user));
    } else {
        add_joins(b, join_user.into_iter().chain(joins));
    }
    match user {
        UserNamespace::New => clone_into_new(b, new)?,
        UserNamespace::Joined | UserNamespace::Same => clone_beside_joined(b, new)?,
    }
    Ok(0)
}

/// Has init enter the network namespace that the runtime makes, unless it has. As late as can be: init need
/// not wait for it then.
pub(super) fn enter_network(b: &mut Builder<'_>, phase: InsidePhase) {
    if let Some(slot) = b.ledger.network.take() {
        let steps = (HostStep::MakeNetwork, Step::TakeNetwork { slot });
        b.hand_over((HostPhase::Network, phase), c"linux.namespaces", steps);
        b.inside(
            phase,
            c"linux.namespaces",
            Step::Join { namespace: slot, kind: Namespaces(flag(Type::Network)) },
        );
    }
}

/// Adds the steps that enter the namespaces of a container's init, but for its PID namespace where the
/// process does not appear there.
pub(super) fn join_init(b: &mut Builder<'_>, running: &JoinFacts) -> Result<(), PlanError> {
    let item = c"linux.namespaces";
    let hidden = if b.decisions.appearance.is_none() { flag(Type::Pid) } else { 0 };
    let joined = running.namespaces & !hidden;
    if joined != 0 {
        let namespace = b.new_source()?;
        b.host(HostPhase::Open, item, HostStep::OpenInit { slot: namespace });
        // All at once: the kernel judges each by the rights in the user namespace that is joined with them
        // (setns(2)).
        b.inside(InsidePhase::EnterNamespaces, item, Step::Join { namespace, kind: Namespaces(joined) });
    }
    if joined & flag(Type::User) != 0 {
        become_root(b);
    }
    // Only children are in a PID namespace.
    if b.decisions.appearance == Some(Appearance::First) {
        b.clone_again(ENTER, item, Step::CloneAgain { flags: Namespaces::NONE });
        cgroups::join_last(b, ENTER);
    }
    Ok(())
}

/// Whether a PID namespace is among these.
pub(super) fn has_pid(joined: u64) -> bool {
    joined & flag(Type::Pid) != 0
}

/// Whether a user namespace is among these.
pub(crate) fn has_user_namespace(joined: u64) -> bool {
    joined & flag(Type::User) != 0
}

/// The flag and the name in `/proc/PID/ns` of each type.
pub(crate) fn types() -> impl Iterator<Item = (u64, Type)> {
    FLAGS.into_iter().map(|(kind, flag)| (u64::from(flag.cast_unsigned()), kind))
}

/// The user on the host that a user of the container is.
pub(super) fn host_uid(spec: &Spec, uid: u32) -> Option<u32> {
    let maps = spec.linux().as_ref()?.uid_mappings().as_ref()?;
    let map = maps.iter().find(|map| uid >= map.container_id() && uid - map.container_id() < map.size())?;
    map.host_id().checked_add(uid - map.container_id())
}

/// Sorts the namespaces into new and joined ones, and has the runtime open the latter.
fn open_namespaces(b: &mut Builder<'_>) -> Result<Wanted, PlanError> {
    let mut wanted = Wanted { new: 0, joins: Vec::new(), join_user: None };
    let namespaces = b.spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    for (index, namespace) in namespaces.into_iter().flatten().enumerate() {
        let kind = namespace.typ();
        if !is_joined(namespace) {
            wanted.new |= if kind == Type::Cgroup { 0 } else { flag(kind) };
            continue;
        }
        let item = text("linux.namespaces", format!("linux.namespaces[{index}].path"))?;
        let slot = b.new_source()?;
        let path = namespace.path().clone().unwrap_or_default();
        let foreign = b.needs_foreign(kind);
        b.host(
            HostPhase::Open,
            item.clone(),
            HostStep::OpenNamespace { path, kind, flag: Namespaces(flag(kind)), foreign, slot },
        );
        let join = (item, slot, flag(kind));
        if kind == Type::User { wanted.join_user = Some(join) } else { wanted.joins.push(join) }
    }
    Ok(wanted)
}

/// Goes on in a new user namespace, and in the other new ones, which belong to it.
fn clone_into_new(b: &mut Builder<'_>, new: u64) -> Result<(), PlanError> {
    let item = c"linux.namespaces";
    let time = flag(Type::Time);
    let (new_time, with_clone) = (new & time != 0, flag(Type::User) | flag(Type::Pid));
    // A process that is the first of its PID namespace cannot clone a sibling for the time namespace.
    let first = new & if new_time { flag(Type::User) } else { with_clone };
    b.clone_again(ENTER, item, Step::CloneAgain { flags: Namespaces(first) });
    map_ids(b);
    if new_time {
        time_offsets(b)?;
    }
    become_root(b);
    // Made by the namespace's root they are its own: of an IPC namespace, for one, the owner stays who made
    // it.
    b.inside(
        InsidePhase::EnterNamespaces,
        item,
        Step::Unshare { flags: Namespaces(new & !with_clone & !time) },
    );
    if new_time {
        b.clone_again(ENTER, item, Step::CloneAgain { flags: Namespaces(new & flag(Type::Pid)) });
    }
    Ok(())
}

/// Goes on in the new namespaces beside those that are joined.
fn clone_beside_joined(b: &mut Builder<'_>, new: u64) -> Result<(), PlanError> {
    let time = flag(Type::Time);
    if new & time != 0 {
        time_offsets(b)?;
    }
    if b.decisions.user_namespace == UserNamespace::Joined {
        become_root(b);
    }
    let with_clone = if b.decisions.mount_namespace.is_empty() { flag(Type::Mount) } else { 0 };
    b.clone_again(
        ENTER,
        c"linux.namespaces",
        Step::CloneAgain { flags: Namespaces(new & !time & !with_clone) },
    );
    if b.decisions.user_namespace == UserNamespace::Joined {
        check_maps(b);
    }
    unshare_mounts(b, new);
    Ok(())
}

/// Has init make a mount namespace that begins empty, which the clone then does not. Returns what is left for
/// the clone.
fn unshare_mounts(b: &mut Builder<'_>, new: u64) -> u64 {
    if !b.decisions.mount_namespace.is_empty() {
        return new;
    }
    /// Linux 7.1. The number means something else to clone(2).
    const UNSHARE_EMPTY_MNTNS: u64 = 0x0010_0000;
    let empty = if b.decisions.mount_namespace == MountNamespace::Empty { UNSHARE_EMPTY_MNTNS } else { 0 };
    b.inside(
        InsidePhase::EnterNamespaces,
        c"linux.namespaces",
        Step::Unshare { flags: Namespaces(flag(Type::Mount) | empty) },
    );
    new & !flag(Type::Mount)
}

/// Opens a mount namespace.
pub(super) fn open_mounts(path: PathBuf, slot: Slot) -> HostStep {
    HostStep::OpenNamespace {
        path,
        kind: Type::Mount,
        flag: Namespaces(flag(Type::Mount)),
        foreign: false,
        slot,
    }
}

fn add_joins(b: &mut Builder<'_>, joins: impl IntoIterator<Item = Join>) {
    for (item, namespace, kind) in joins {
        b.inside(InsidePhase::EnterNamespaces, item, Step::Join { namespace, kind: Namespaces(kind) });
    }
}

/// Init waits while the runtime writes the maps.
fn map_ids(b: &mut Builder<'_>) {
    let linux = b.spec.linux().as_ref();
    let list = |maps: Option<&Option<Vec<LinuxIdMapping>>>| maps.cloned().flatten().unwrap_or_default();
    let uids = list(linux.map(Linux::uid_mappings));
    let gids = list(linux.map(Linux::gid_mappings));
    b.rendezvous(SyncPoint::Mapped, ENTER, c"linux.uidMappings", |meeting| {
        meeting.host(c"linux.uidMappings", HostStep::WriteIdMaps { uids, gids });
    });
}

/// Maps beside a joined user namespace are no more than a statement about it, which must be true: owners and
/// mapped mounts are worked out with them.
fn check_maps(b: &mut Builder<'_>) {
    let linux = b.spec.linux().as_ref();
    let list =
        |maps: Option<&Option<Vec<LinuxIdMapping>>>| maps.cloned().flatten().filter(|maps| !maps.is_empty());
    let (uids, gids) = (list(linux.map(Linux::uid_mappings)), list(linux.map(Linux::gid_mappings)));
    if let Some(maps) = uids {
        b.host(
            HostPhase::EnterNamespaces,
            c"linux.uidMappings",
            HostStep::CheckIdMap { file: "uid_map", maps },
        );
    }
    if let Some(maps) = gids {
        b.host(
            HostPhase::EnterNamespaces,
            c"linux.gidMappings",
            HostStep::CheckIdMap { file: "gid_map", maps },
        );
    }
}

/// Init becomes the owner of what it makes: root, or the process's own user where the maps have no root.
fn become_root(b: &mut Builder<'_>) {
    let user = b.spec.process().as_ref().map(|process| process.user());
    let (uid, gid) = user.map_or((0, 0), |user| (user.uid(), user.gid()));
    let keep_groups = process::callers_groups(b);
    b.inside(InsidePhase::EnterNamespaces, c"process.user", Step::NamespaceRoot { uid, gid, keep_groups });
}

/// A new time namespace, with its offsets, for the next clone. Before [`Step::NamespaceRoot`]: files of a
/// process that is not dumpable belong to the root of the runtime's user namespace, and are written by that
/// root alone (proc(5), `/proc/pid`).
fn time_offsets(b: &mut Builder<'_>) -> Result<(), PlanError> {
    b.inside(
        InsidePhase::EnterNamespaces,
        c"linux.namespaces",
        Step::Unshare { flags: Namespaces(flag(Type::Time)) },
    );
    let offsets = b.spec.linux().as_ref().and_then(|linux| linux.time_offsets().as_ref());
    let Some(offsets) = offsets.filter(|offsets| !offsets.is_empty()) else { return Ok(()) };
    let mut lines: Vec<String> = offsets
        .iter()
        .map(|(clock, offset)| {
            format!("{clock} {} {}\n", offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0))
        })
        .collect();
    // A map has no order; a plan has.
    lines.sort();
    let step = Step::WriteOwn {
        proc: slot::PROC,
        path: c"self/timens_offsets".into(),
        value: text("linux.timeOffsets", lines.concat())?,
    };
    b.inside(InsidePhase::EnterNamespaces, c"linux.timeOffsets", step);
    Ok(())
}

/// Opens what is mounted at `source`: by the runtime, or by init where the runtime may not. Of `locked` the
/// kernel judges what init opens.
pub(super) fn open_tree(
    b: &mut Builder<'_>,
    item: &CString,
    source: &Path,
    flags: TreeFlags,
    slot: Slot,
) -> Result<(), PlanError> {
    if runtime_opens(b) {
        let step = tree_step(b, source, flags, None, slot);
        b.host(HostPhase::Open, item.clone(), step);
        return Ok(());
    }
    let flags = TreeFlags { unbindable: has_new(b.spec, Type::Mount), ..flags };
    b.inside(InsidePhase::Sources, item.clone(), source_step(item, source, flags, slot)?);
    Ok(())
}

/// Whether the runtime opens trees. In a container that runs init has left the caller's mount namespace by
/// then.
pub(super) fn runtime_opens(b: &Builder<'_>) -> bool {
    b.facts.privileged || b.joins.is_some()
}

/// The runtime's step that opens a tree.
pub(super) fn tree_step(
    b: &Builder<'_>,
    source: &Path,
    flags: TreeFlags,
    locked: Option<LockedFlags>,
    slot: Slot,
) -> HostStep {
    let TreeFlags { recursive, directory, link_itself, .. } = flags;
    let (source, copied) = (source.to_owned(), recursive && b.facts.copies_mounts);
    HostStep::OpenTree { source, recursive, directory, link_itself, locked, copied, slot }
}

/// Opens what is mounted at `source`, by init, now.
pub(super) fn open_source(
    b: &mut Builder<'_>,
    item: &CString,
    source: &Path,
    flags: TreeFlags,
    slot: Slot,
) -> Result<(), PlanError> {
    b.inside(InsidePhase::Mounts, item.clone(), source_step(item, source, flags, slot)?);
    Ok(())
}

fn source_step(item: &CString, source: &Path, flags: TreeFlags, slot: Slot) -> Result<Step, PlanError> {
    let path = text(&item.to_string_lossy(), source.as_os_str().as_encoded_bytes())?;
    Ok(Step::OpenSource { path, flags, slot })
}

/// Opens a device of the host for a bind mount, and checks that it is this one.
pub(super) fn open_device(
    b: &mut Builder<'_>,
    item: &CString,
    path: &Path,
    kind: u32,
    number: (u64, u64),
    slot: Slot,
) -> Result<(), PlanError> {
    let (major, minor) = number;
    if b.facts.privileged {
        b.host(
            HostPhase::Open,
            item.clone(),
            HostStep::OpenDevice { path: path.to_owned(), kind: Mode(kind), major, minor, slot },
        );
        return Ok(());
    }
    open_tree(b, item, path, TreeFlags::default(), slot)?;
    b.inside(
        InsidePhase::Sources,
        item.clone(),
        Step::CheckDevice { device: slot, mode: Mode(kind), major, minor },
    );
    Ok(())
}
