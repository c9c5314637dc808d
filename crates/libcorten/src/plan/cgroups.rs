//! Cgroups, their limits and devices (`linux.cgroupsPath`, `linux.resources`).
//!
//! Stage: plan; host steps only, but for one point at which init waits.
//!
//! In cgroup v2 the cgroup and its limits are there before init, which is cloned into it. v1 has no such
//! clone, and a scope of systemd comes to be around a process that is there already: then init waits, first
//! of all, until it has been moved. Spec: config-linux.md#cgroups-path, #cgroup-ownership, #control-groups.

use std::ffi::CStr;

use corten_cgroup::systemd::{Property, Unit, annotation_properties, device_properties};
use corten_cgroup::{Location, Setting};
use corten_init::{OwnedStep as Step, SyncPoint};

use crate::oci::{LinuxNamespaceType, LinuxResources};
use crate::spec::resources::limits;

use super::builder::{Builder, Meeting};
use super::decisions::{CgroupEntry, CgroupMounts, DeviceFilter, UserNamespace, has_new};
use super::namespaces::host_uid;
use super::phases::{HostPhase, InsidePhase};
use super::{HostStep, PlanError, devices};

const DEVICES: &CStr = c"linux.resources.devices";

/// What the config says of cgroups, worked out.
#[derive(Debug, Default)]
pub(super) struct Limits {
    settings: Vec<Setting>,
    properties: Vec<Property>,
}

/// The phases in which init comes into its cgroups.
const ENTER: (HostPhase, InsidePhase) = (HostPhase::EnterCgroups, InsidePhase::EnterCgroups);

/// Works out the limits, and has init wait where it must be moved.
pub(super) fn enter(b: &mut Builder<'_>) -> Result<Limits, PlanError> {
    let facts = b.facts;
    let limits = resources(b).map(limits).unwrap_or_default();
    let settings = limits.settings(&facts.legacy_controllers).map_err(PlanError::Limit)?;
    if facts.cgroups.is_empty() {
        if !settings.iter().all(Setting::is_no_limit) {
            b.warnings
                .push("linux.resources: not in force, as the container gets no cgroup of its own".to_owned());
        }
        return Ok(Limits::default());
    }
    for field in limits.without_meaning(&facts.legacy_controllers) {
        b.warnings.push(format!("linux.resources.{field}: ignored, as cgroup v2 has no such limit"));
    }
    let mut properties = Vec::new();
    if let Some(unit) = &facts.cgroups.unit {
        properties = unit_properties(b, unit)?;
        properties.extend(limits.properties(&facts.legacy_controllers).map_err(PlanError::Limit)?);
        if let Some(version) = facts.systemd_version.filter(|_| !facts.cgroups.user) {
            let has_filter = !facts.legacy_controllers.contains("devices");
            properties
                .extend(device_properties(&devices::rules(resources(b)), version, has_filter).properties);
        }
    }
    let limits = Limits { settings, properties };
    if b.decisions.cgroup_entry != CgroupEntry::Moved {
        return Ok(limits);
    }
    let item = c"linux.cgroupsPath";
    b.rendezvous(SyncPoint::Cgroup, ENTER, item, |meeting| {
        if facts.cgroups.unit.is_none() {
            return meeting.host(item, HostStep::JoinCgroups);
        }
        let (location, properties) = (facts.cgroups.clone(), limits.properties.clone());
        meeting.host(item, HostStep::StartUnit { location, properties });
        if !limits.settings.is_empty() {
            meeting.host(c"linux.resources", HostStep::Limit { settings: limits.settings.clone() });
        }
    });
    Ok(limits)
}

/// Puts a process that joins the container into its cgroups. It is not cloned into that of cgroup v2 at once,
/// as a new container's init is: the cgroup is the container's by now, which may freeze it or run out of
/// memory in it, and the clone shares the runtime's memory until it has executed init. So init clones itself,
/// or waits until it has been moved.
///
/// It is in there before it enters the PID namespace, where processes of the container could take hold of it.
/// But for the cgroup that counts processes: where the limit is reached, nothing in there can clone itself
/// ([`CgroupEntry::CountedLast`]).
pub(super) fn join(b: &mut Builder<'_>) -> Result<(), PlanError> {
    match b.decisions.cgroup_entry {
        CgroupEntry::GoesOnInClone => {
            let item = c"linux.cgroupsPath";
            let cgroup = b.new_source()?;
            let location = b.facts.cgroups.clone();
            b.host(HostPhase::Open, item, HostStep::OpenJoinedCgroup { location, slot: cgroup });
            b.clone_again(ENTER, item, Step::CloneInto { cgroup });
        }
        CgroupEntry::Moved => rendezvous(b, ENTER, joining(b, b.facts.cgroups.clone())),
        CgroupEntry::CountedLast => {
            let (_, others) = counting_and_others(b);
            if !others.is_empty() {
                rendezvous(b, ENTER, joining(b, others));
            }
        }
        CgroupEntry::ClonedInto | CgroupEntry::None => {}
    }
    Ok(())
}

/// Puts a process that clones itself no more into the cgroups that have been left for now.
pub(super) fn join_last(b: &mut Builder<'_>, phases: (HostPhase, InsidePhase)) {
    if b.decisions.cgroup_entry == CgroupEntry::CountedLast {
        let (counting, _) = counting_and_others(b);
        rendezvous(b, phases, joining(b, counting));
    }
}

/// The cgroup that counts processes, and the others. systemd moves a process into all of them at once.
fn counting_and_others(b: &Builder<'_>) -> (Location, Location) {
    let location = b.facts.cgroups.clone();
    if is_for_systemd(&location) { (location, Location::default()) } else { location.divide("pids") }
}

/// A user may not move processes from one of systemd's subtrees into another; systemd may.
fn is_for_systemd(location: &Location) -> bool {
    location.user && location.unit.is_some()
}

/// Moves init into cgroups of the container that it joins.
fn joining(b: &Builder<'_>, location: Location) -> HostStep {
    let (or_inits, below) =
        b.joins.map(|running| (running.follows_init, running.below_unit.clone())).unwrap_or_default();
    match is_for_systemd(&location) {
        true => HostStep::AttachToUnit { below },
        false => HostStep::JoinContainer { location, or_inits, optional: b.facts.rootless },
    }
}

/// Init waits until it has been moved by `step`.
fn rendezvous(b: &mut Builder<'_>, phases: (HostPhase, InsidePhase), step: HostStep) {
    let item = c"linux.cgroupsPath";
    b.rendezvous(SyncPoint::Cgroup, phases, item, |meeting| meeting.host(item, step));
}

/// Makes the cgroups that are there before init.
pub(super) fn make(b: &mut Builder<'_>, limits: &Limits) {
    let item = c"linux.cgroupsPath";
    let facts = b.facts;
    if facts.cgroups.is_empty() {
        return;
    }
    // systemd takes a cgroup that is there already.
    if facts.cgroups.unit.is_none() || b.decisions.cgroup_mounts == CgroupMounts::Own {
        let asked_for = b.spec.linux().as_ref().is_some_and(|linux| linux.cgroups_path().is_some());
        let optional = facts.rootless && !asked_for && limits.settings.iter().all(Setting::is_no_limit);
        b.host(
            HostPhase::Cgroups,
            item,
            HostStep::CreateCgroups { location: facts.cgroups.clone(), optional },
        );
    }
    if facts.cgroups.unit.is_none() {
        // While it clones itself init is two processes, of which the limit may allow but one.
        let counts = |setting: &Setting| b.decisions.clones_itself && setting.file() == "pids.max";
        let (late, early) = limits.settings.iter().cloned().partition(counts);
        limit(b, HostPhase::Cgroups, early);
        limit(b, HostPhase::LateLimits, late);
    }
}

fn limit(b: &mut Builder<'_>, phase: HostPhase, settings: Vec<Setting>) {
    if !settings.is_empty() {
        b.host(phase, c"linux.resources", HostStep::Limit { settings });
    }
}

/// What is done while init works: the device filter is made ready, and the cgroup gets its owner.
pub(super) fn finish(b: &mut Builder<'_>) {
    if b.facts.cgroups.is_empty() {
        return;
    }
    let (rules, optional) = (devices::rules(resources(b)), b.facts.rootless);
    b.host(HostPhase::Restrict, DEVICES, HostStep::LoadDeviceFilter { rules, optional });
    if let Some(uid) = owner(b) {
        b.host(HostPhase::Restrict, c"linux.cgroupsPath", HostStep::DelegateCgroup { uid });
    }
}

/// Restricts devices. Before init opens anything of the container's root, where others may have exchanged it
/// for a device, and not after the runtime's hooks, which may add to it.
pub(super) fn filter(meeting: &mut Meeting<'_, '_>) {
    if meeting.b.decisions.device_filter != DeviceFilter::None {
        meeting.host(DEVICES, HostStep::DeviceFilter { optional: meeting.b.facts.rootless });
    }
}

/// Has init wait until devices are restricted. Where hooks are, they are by then.
pub(super) fn await_filter(b: &mut Builder<'_>) {
    let phases = (HostPhase::Devices, InsidePhase::Stdio);
    match b.decisions.device_filter {
        DeviceFilter::None | DeviceFilter::BeforeHooks => {}
        DeviceFilter::AfterMounts => b.rendezvous(SyncPoint::Devices, phases, DEVICES, filter),
        DeviceFilter::WhileInitWorks => b.before(SyncPoint::Devices, phases, DEVICES, filter),
    }
}

fn resources<'a>(b: &Builder<'a>) -> Option<&'a LinuxResources> {
    b.spec.linux().as_ref().and_then(|linux| linux.resources().as_ref())
}

/// What every container's unit has, then what annotations ask for; limits come after, and have the last word.
fn unit_properties(b: &Builder<'_>, unit: &Unit) -> Result<Vec<Property>, PlanError> {
    let mut properties = unit.properties(b.request.id, !b.facts.legacy_controllers.is_empty());
    let annotations =
        b.spec.annotations().iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
    properties.extend(annotation_properties(annotations).map_err(PlanError::Systemd)?);
    Ok(properties)
}

/// The user on the host to whom the cgroup is given: that of the process, if the container may do with its
/// cgroup what it likes: in a user namespace and a cgroup namespace of its own, with a mount that can be
/// written to (config-linux.md#cgroup-ownership).
fn owner(b: &Builder<'_>) -> Option<u32> {
    let writable = b.spec.mounts().iter().flatten().any(|mount| {
        let readonly = mount.options().iter().flatten().any(|option| matches!(option.as_str(), "ro" | "rro"));
        matches!(mount.typ().as_deref(), Some("cgroup" | "cgroup2")) && !readonly
    });
    let own = b.decisions.user_namespace == UserNamespace::New && has_new(b.spec, LinuxNamespaceType::Cgroup);
    let uid = b.spec.process().as_ref().map_or(0, |process| process.user().uid());
    if own && writable && b.facts.privileged { host_uid(b.spec, uid) } else { None }
}
