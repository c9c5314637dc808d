//! ID mappings: of the user namespace (`linux.uidMappings`, `linux.gidMappings`) and of mounts.

use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, Mount, Spec};

use super::{asks_for_bind, in_linux, in_process, in_range, require};
use crate::spec::error::{Problem, SpecError};
use crate::spec::{annotations, is_joined, namespace};

/// The kernel takes so many lines in `/proc/PID/uid_map` (`UID_GID_MAP_MAX_EXTENTS`).
const MOST_MAPPINGS: usize = 340;

/// A namespace that is joined by its path has mappings already; those of the config may stand beside it.
///
/// Unlike in runc, ID 0 need not be mapped: the container's user need not be root.
pub(super) fn user_namespace_is_mapped(spec: &Spec) -> Result<(), SpecError> {
    in_linux(spec, |linux| {
        let user = namespace(spec, LinuxNamespaceType::User);
        let maps = [("linux.uidMappings", linux.uid_mappings()), ("linux.gidMappings", linux.gid_mappings())];
        for (field, mappings) in maps {
            let mappings = mappings.as_deref().unwrap_or_default();
            require(user.is_some() || mappings.is_empty(), || {
                (field.into(), Problem::MappingsWithoutNamespace)
            })?;
            let is_new = user.is_some_and(|user| !is_joined(user));
            require(!is_new || !mappings.is_empty(), || (field.into(), Problem::NoMappings))?;
            are_sound(mappings, || field.into())?;
            if is_new {
                fits(mappings, || field.into())?;
            }
        }
        Ok(())
    })
}

/// The container's root mounts, and may do so only in a mount namespace that belongs to its user namespace.
pub(super) fn user_namespace_can_mount(spec: &Spec) -> Result<(), SpecError> {
    let has = |typ| namespace(spec, typ).is_some();
    let can = !has(LinuxNamespaceType::User) || has(LinuxNamespaceType::Mount);
    require(can, || ("linux.namespaces".into(), Problem::UserWithoutMount))
}

/// `setuid(2)` and `setgroups(2)` fail with an ID that has no mapping.
pub(super) fn ids_of_the_process_are_mapped(spec: &Spec) -> Result<(), SpecError> {
    if namespace(spec, LinuxNamespaceType::User).is_none_or(is_joined) {
        return Ok(());
    }
    in_linux(spec, |linux| {
        in_process(spec, |process| {
            let (uids, gids) = (Mapped::of(linux.uid_mappings()), Mapped::of(linux.gid_mappings()));
            let (uid, gid) = (process.user().uid(), process.user().gid());
            require(uids.has(uid), || ("process.user.uid".into(), Problem::UnmappedUid { uid }))?;
            require(gids.has(gid), || ("process.user.gid".into(), Problem::UnmappedGid { gid }))?;
            if annotations::switch(spec, annotations::KEEP_GROUPS) == Some(true) {
                return Ok(());
            }
            for (index, &gid) in process.user().additional_gids().iter().flatten().enumerate() {
                require(gids.has(gid), || {
                    (format!("process.user.additionalGids[{index}]"), Problem::UnmappedGid { gid })
                })?;
            }
            Ok(())
        })
    })
}

pub(super) fn mapped_mounts_are_sound(spec: &Spec) -> Result<(), SpecError> {
    let has_user_namespace = namespace(spec, LinuxNamespaceType::User).is_some();
    let mut mounts = spec.mounts().iter().flatten().enumerate();
    mounts.try_for_each(|(index, mount)| mapped_mount_is_sound(index, mount, has_user_namespace))
}

/// Without mappings of its own, the options ask for those of the container.
fn mapped_mount_is_sound(index: usize, mount: &Mount, has_user_namespace: bool) -> Result<(), SpecError> {
    let maps = [("uidMappings", mount.uid_mappings()), ("gidMappings", mount.gid_mappings())];
    let maps = maps.map(|(name, mappings)| (name, mappings.as_deref().unwrap_or_default()));
    let asks = |option: &String| option == "idmap" || option == "ridmap";
    let option = mount.options().iter().flatten().position(asks).map(|nth| format!("options[{nth}]"));

    let given = maps.iter().find(|(_, mappings)| !mappings.is_empty());
    let Some(asking) = given.map(|(name, _)| (*name).to_owned()).or(option) else {
        return Ok(());
    };
    require(asks_for_bind(mount), || (format!("mounts[{index}].{asking}"), Problem::MappedMountNotBind))?;
    if given.is_none() {
        return require(has_user_namespace, || {
            (format!("mounts[{index}].{asking}"), Problem::MappedMountIncomplete)
        });
    }
    maps.iter().try_for_each(|(name, mappings)| {
        let field = || format!("mounts[{index}].{name}");
        require(!mappings.is_empty(), || (field(), Problem::MappedMountIncomplete))?;
        judge_new(mappings, field)
    })
}

/// Judges the map of a new user namespace.
pub(crate) fn judge_new(mappings: &[LinuxIdMapping], field: impl Fn() -> String) -> Result<(), SpecError> {
    are_sound(mappings, &field)?;
    fits(mappings, field)
}

/// A map is written at once, and the kernel takes less than a page (`map_write`, kernel/user_namespace.c).
fn fits(mappings: &[LinuxIdMapping], field: impl Fn() -> String) -> Result<(), SpecError> {
    let max = page_size() - 1;
    let found = mappings.iter().map(|mapping| line(mapping).len()).sum();
    require(found <= max, || (field(), Problem::MapTooLong { max, found }))
}

/// A line of `/proc/PID/uid_map`.
pub(crate) fn line(mapping: &LinuxIdMapping) -> String {
    format!("{} {} {}\n", mapping.container_id(), mapping.host_id(), mapping.size())
}

fn page_size() -> usize {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| usize::try_from(size).ok()).unwrap_or(4096)
}

/// One side's first ID of a mapping.
type First = fn(&LinuxIdMapping) -> u32;

/// What the kernel demands of a map, so that it is said with the entry's number and not as `EINVAL` for all
/// of them.
fn are_sound(mappings: &[LinuxIdMapping], field: impl Fn() -> String) -> Result<(), SpecError> {
    let found = mappings.len();
    require(found <= MOST_MAPPINGS, || (field(), Problem::TooMany { max: MOST_MAPPINGS, found }))?;
    let sides: [(&str, First); 2] =
        [("containerID", LinuxIdMapping::container_id), ("hostID", LinuxIdMapping::host_id)];
    for (index, mapping) in mappings.iter().enumerate() {
        let size = mapping.size();
        in_range(size, 1, u32::MAX.into(), || format!("{}[{index}].size", field()))?;
        for (side, first) in sides {
            let first = first(mapping);
            require(first.checked_add(size).is_some(), || {
                (format!("{}[{index}].{side}", field()), Problem::BeyondLastId { first, size })
            })?;
        }
    }
    for (side, first) in sides {
        let mut order: Vec<usize> = (0..mappings.len()).collect();
        order.sort_by_key(|&index| first(&mappings[index]));
        for pair in order.windows(2) {
            let (low, high) = (&mappings[pair[0]], &mappings[pair[1]]);
            require(first(low) + low.size() <= first(high), || {
                let (earlier, later) = (pair[0].min(pair[1]), pair[0].max(pair[1]));
                let other = format!("{}[{earlier}]", field());
                (format!("{}[{later}].{side}", field()), Problem::Overlap { other })
            })?;
        }
    }
    Ok(())
}

/// The IDs inside that have a mapping, as ranges in ascending order.
struct Mapped(Vec<(u32, u32)>);

impl Mapped {
    fn of(mappings: &Option<Vec<LinuxIdMapping>>) -> Self {
        let ranges = mappings.iter().flatten().map(|mapping| (mapping.container_id(), mapping.size()));
        let mut ranges: Vec<_> = ranges.collect();
        ranges.sort_unstable();
        Self(ranges)
    }

    fn has(&self, id: u32) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= id);
        self.0[..after].last().is_some_and(|(first, size)| id - first < *size)
    }
}
