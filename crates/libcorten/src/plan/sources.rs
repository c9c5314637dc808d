//! Sources of bind mounts (`mounts[].source`): who opens which, and when.
//!
//! Stage: plan; the steps of either half ([`Sources`]). Each source is opened once, in the caller's
//! namespaces, and is an fd from then on. Spec: config.md#mounts, `idmap`. Attacker: the container's root,
//! whose tree an earlier mount may have changed.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use corten_init::{OwnedStep as Step, Slot, SlotRange, TreeFlags};

use crate::oci::{LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespaceType};
use crate::spec::{judge_id_map, namespace};

use super::builder::Builder;
use super::decisions::{Sources, UserNamespace};
use super::mounts::Entry;
use super::phases::{HostPhase, InsidePhase};
use super::{HostStep, IdMapSource, LockedFlags, PlanError, mount_options, namespaces};

/// Opens the sources of the bind mounts that `entries` begins with together, where that can be; those of the
/// others init opens one by one.
pub(super) fn open_together(b: &mut Builder<'_>, entries: &[Entry<'_>]) -> Result<VecDeque<Slot>, PlanError> {
    let visited = visit_sources(b, entries)?;
    if visited.is_empty() { take_sources(b, entries) } else { Ok(visited) }
}

/// How many sources are open at the same time: each is an fd until its mount is attached.
const AT_ONCE: usize = corten_init::MAX_FDS;

/// In a mount namespace that began empty, opens the sources of the bind mounts that `entries` begins with, on
/// one visit to the host's mounts. There none of the container's mounts can be in the way of the next source;
/// but the directory for a later mount may be made in the source of an earlier one, and be the source of a
/// third, whose turn then comes after that. (Paths are compared by their words: a link in one is not seen.)
fn visit_sources(b: &mut Builder<'_>, entries: &[Entry<'_>]) -> Result<VecDeque<Slot>, PlanError> {
    let (mut opened, mut sources) = (VecDeque::new(), Vec::<PathBuf>::new());
    let Some((host, own)) = b.ledger.host_and_own_mounts else { return Ok(opened) };
    for entry in entries.iter().take(AT_ONCE) {
        let bind = entry.options.bind.filter(|_| !entry.options.remount && copied_link(b, entry).is_none());
        let Some((bind, source)) = bind.zip(entry.source) else { break };
        let source = b.request.bundle.join(source);
        if !opened_in_turn(b, entry, &source) || sources.iter().any(|earlier| is_below(&source, earlier)) {
            break;
        }
        if opened.is_empty() {
            b.inside(InsidePhase::Mounts, entry.item.clone(), Step::Visit { namespace: host });
        }
        let tree = b.new_source()?;
        let flags = TreeFlags { unbindable: true, ..entry.tree_flags(bind.recursive) };
        namespaces::open_source(b, &entry.item, &source, flags, tree)?;
        opened.push_back(tree);
        sources.push(source);
    }
    if let Some(last) = opened.len().checked_sub(1) {
        b.inside(InsidePhase::Mounts, entries[last].item.clone(), Step::Visit { namespace: own });
    }
    Ok(opened)
}

/// Has the runtime open the sources of the bind mounts that `entries` begins with while init is at work, and
/// hand them over together: of all that there are, neither holds more than these.
fn take_sources(b: &mut Builder<'_>, entries: &[Entry<'_>]) -> Result<VecDeque<Slot>, PlanError> {
    let mut taken = VecDeque::new();
    if !namespaces::runtime_opens(b) {
        return Ok(taken);
    }
    for (index, entry) in entries.iter().take(AT_ONCE).enumerate() {
        let bind = entry.options.bind.filter(|_| !entry.options.remount && copied_link(b, entry).is_none());
        let Some((bind, source)) = bind.zip(entry.source) else { break };
        let source = b.request.bundle.join(source);
        if opened_in_turn(b, entry, &source) {
            break;
        }
        let tree = b.new_source()?;
        let locked = locked_flags(entry, &entries[index..]);
        let step = namespaces::tree_step(b, &source, entry.tree_flags(bind.recursive), locked, tree);
        b.host(HostPhase::Trees, entry.item.clone(), step);
        if let Some(step) = map_step(b, entry, tree)? {
            b.host(HostPhase::Trees, entry.item.clone(), step);
        }
        taken.push_back(tree);
    }
    if let Some(first) = taken.front().copied() {
        // Messages come in the order of their steps.
        namespaces::enter_network(b, InsidePhase::Mounts);
        let (item, trees) =
            (&entries[0].item, SlotRange { first, count: taken.len().try_into().unwrap_or(0) });
        let steps = (HostStep::SendTrees { trees }, Step::TakeTrees { trees });
        b.hand_over((HostPhase::Trees, InsidePhase::Mounts), item, steps);
    }
    Ok(taken)
}

/// Whether a path is below another, of which there are many to compare with.
fn is_below(path: &Path, above: &Path) -> bool {
    let rest = path.as_os_str().as_encoded_bytes().strip_prefix(above.as_os_str().as_encoded_bytes());
    rest.is_some_and(|rest| rest.first() == Some(&b'/'))
}

/// Where the link leads that is to be copied instead of a bind mount.
pub(super) fn copied_link<'a>(b: &Builder<'a>, entry: &Entry<'_>) -> Option<&'a Path> {
    b.facts.links.get(&entry.index).filter(|_| entry.options.copy_symlink).map(PathBuf::as_path)
}

/// What the options of a bind mount, and of the entries that mount it again, ask of flags that it keeps.
/// `from`: it and all after it.
fn locked_flags(entry: &Entry<'_>, from: &[Entry<'_>]) -> Option<LockedFlags> {
    let again = |other: &&Entry<'_>| {
        other.keeps_flags && other.options.remount && other.destination == entry.destination
    };
    let options = std::iter::once(entry).chain(from.iter().filter(again)).map(|entry| &entry.options);
    LockedFlags::of(options).filter(|_| entry.keeps_flags)
}

/// Opens the source of one bind mount.
pub(super) fn open(b: &mut Builder<'_>, entry: &Entry<'_>, recursive: bool) -> Result<Slot, PlanError> {
    let source = entry.source.ok_or(PlanError::Missing { item: "mounts[].source" })?;
    // A relative source is relative to the bundle (config.md#mounts).
    let source = b.request.bundle.join(source);
    let (tree, flags) = (b.new_source()?, entry.tree_flags(recursive));
    if opened_in_turn(b, entry, &source) {
        namespaces::open_source(b, &entry.item, &source, flags, tree)?;
    } else {
        namespaces::open_tree(b, &entry.item, &source, flags, tree)?;
        // For the refusal: who leaves the opening to init may not map ids.
        map_step(b, entry, tree)?;
    }
    Ok(tree)
}

/// Whether init opens the source when its turn comes ([`Sources`]). Not what must be mapped, nor what procfs
/// says of a process: of the runtime itself, or `/proc/PID/root`, which leads into the caller's mount
/// namespace, and not into a copy that init may have begun with.
fn opened_in_turn(b: &Builder<'_>, entry: &Entry<'_>, source: &Path) -> bool {
    let maps = entry.mount.uid_mappings().is_some()
        || entry.mount.gid_mappings().is_some()
        || entry.options.id_map.is_some();
    let by_init = matches!(b.decisions.sources, Sources::Init | Sources::InitVisiting);
    by_init && !maps && !is_of_a_process(source)
}

/// Whether a path is that of a process in procfs, or leads there by the names that `/dev` has for it.
fn is_of_a_process(path: &Path) -> bool {
    let links = ["/dev/fd", "/dev/stdin", "/dev/stdout", "/dev/stderr", "/proc/self", "/proc/thread-self"];
    let number =
        path.strip_prefix("/proc").ok().and_then(|below| below.iter().next()).and_then(OsStr::to_str);
    links.iter().any(|link| path.starts_with(link))
        || number.is_some_and(|number| number.parse::<u32>().is_ok())
}

/// `idmap`, `ridmap`, `uidMappings`: the runtime maps the tree before init gets it.
fn map_step(b: &Builder<'_>, entry: &Entry<'_>, tree: Slot) -> Result<Option<HostStep>, PlanError> {
    let item = |name: &str| format!("mounts[{}].{name}", entry.index);
    let listed = |maps: &Option<Vec<LinuxIdMapping>>| maps.iter().flatten().copied().collect::<Vec<_>>();
    let (uids, gids) = (listed(entry.mount.uid_mappings()), listed(entry.mount.gid_mappings()));
    let recursive = match &entry.options.id_map {
        None if uids.is_empty() && gids.is_empty() => return Ok(None),
        // The spec says that the option should be there; runc does without.
        None => false,
        Some(id_map) => id_map.recursive,
    };
    if !b.facts.privileged {
        return Err(PlanError::RootlessIdMap { item: item("options") });
    }
    let own = entry.options.id_map.as_ref().and_then(|id_map| id_map.maps.as_ref());
    let maps = match own {
        Some((uids, gids)) => {
            let linux = b.spec.linux().as_ref();
            let of_uids = linux.and_then(|linux| linux.uid_mappings().as_deref()).unwrap_or_default();
            let of_gids = linux.and_then(|linux| linux.gid_mappings().as_deref()).unwrap_or_default();
            let outside = || PlanError::RelativeIdMap { item: item("options") };
            let uids = own_map(uids, of_uids).ok_or_else(outside)?;
            let gids = own_map(gids, of_gids).ok_or_else(outside)?;
            [&uids, &gids].into_iter().try_for_each(|map| judge_id_map(map, || item("options")))?;
            IdMapSource::Maps { uids, gids }
        }
        None if !uids.is_empty() && !gids.is_empty() => IdMapSource::Maps { uids, gids },
        None if uids.is_empty() != gids.is_empty() => {
            return Err(PlanError::HalfIdMap { item: item("uidMappings") });
        }
        None => match container_maps(b) {
            Some(maps) => maps,
            None => return Err(PlanError::HalfIdMap { item: item("options") }),
        },
    };
    Ok(Some(HostStep::MapTree { slot: tree, maps, recursive }))
}

/// The map of an option, in ids of the host; `None` if a relative one is not all within one of the
/// container's.
fn own_map(ranges: &[mount_options::Range], container: &[LinuxIdMapping]) -> Option<Vec<LinuxIdMapping>> {
    let host = |range: &mount_options::Range| {
        if !range.relative {
            return Some(range.host);
        }
        let within = |map: &LinuxIdMapping| {
            let at = range.host.checked_sub(map.container_id())?;
            at.checked_add(range.size).filter(|end| *end <= map.size())?;
            map.host_id().checked_add(at)
        };
        container.iter().find_map(within)
    };
    let mapping = |range: &mount_options::Range| {
        let builder = LinuxIdMappingBuilder::default()
            .container_id(range.container)
            .host_id(host(range)?)
            .size(range.size);
        builder.build().ok()
    };
    ranges.iter().map(mapping).collect()
}

/// The maps of the container's user namespace, if it has one.
fn container_maps(b: &Builder<'_>) -> Option<IdMapSource> {
    let linux = b.spec.linux().as_ref()?;
    match b.decisions.user_namespace {
        UserNamespace::Same => None,
        UserNamespace::New => {
            let listed = |maps: &Option<Vec<LinuxIdMapping>>| maps.clone().unwrap_or_default();
            Some(IdMapSource::Maps { uids: listed(linux.uid_mappings()), gids: listed(linux.gid_mappings()) })
        }
        UserNamespace::Joined => {
            let user = namespace(b.spec, LinuxNamespaceType::User)?;
            Some(IdMapSource::Namespace { path: user.path().clone()? })
        }
    }
}
