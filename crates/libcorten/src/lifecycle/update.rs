//! update: other limits for a container that exists.

use corten_cgroup::device::{Filter, Rule};
use corten_cgroup::systemd::{Property, Unit, device_properties};
use corten_cgroup::{Cgroups, LegacyControllers, Machine, Setting};
use oci_spec::runtime::{
    LinuxCpu, LinuxIntelRdt, LinuxMemory, LinuxResources, LinuxThrottleDevice, LinuxWeightDevice,
};

use super::{Container, LifecycleError, cgroups};
use crate::host::systemd;
use crate::launch::LimitError;
use crate::plan::device_rules;
use crate::resctrl;
use crate::spec::judge_resources;
use crate::spec::resources::limits;
use crate::state::{Record, Status};
use crate::{Error, ErrorKind, Result};

/// What [`Container::update`] changes. What is not given stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Update {
    /// Limits of cgroups. Devices are changed only if the list differs from that of the container: others may
    /// have added to its filter (GPUs).
    pub resources: LinuxResources,
    /// `l3CacheSchema`, `memBwSchema` and `schemata` for the container's resctrl group.
    pub intel_rdt: LinuxIntelRdt,
}

impl Container {
    /// Changes limits. The new ones are in force when this returns, all of them or none.
    ///
    /// # Errors
    /// The container is stopped, the state cannot be written, or the kernel does not take a limit; the error
    /// names field, file and value. The old limits are in force then; if they cannot be restored, the error
    /// says so. (Of what systemd has been told, and of the schemata of resctrl, nothing is taken back.)
    pub fn update(&self, update: &Update) -> Result<()> {
        judge_resources(&update.resources)?;
        let lock = self.directory.lock()?;
        let record = self.record()?;
        if matches!(self.status_under(&lock, &record)?, Status::Stopped | Status::Creating) {
            return Err(LifecycleError::NotRunning.into());
        }
        if update.resources == LinuxResources::default() {
            return update_resctrl(&record, &update.intel_rdt);
        }
        let before = record.resources.clone().unwrap_or_default();
        let after = merged(&before, &update.resources);
        let change = Change::new(&record, [&before, &after], &update.resources)?;
        // What needs space, before anything is changed.
        self.directory.prepare(&Record { resources: Some(after), ..record.clone() })?;
        let changed = update_resctrl(&record, &update.intel_rdt)
            .and_then(|()| change.make(|| Ok(self.directory.publish()?)));
        changed.inspect_err(|_| self.directory.take_back(&record))
    }
}

fn update_resctrl(record: &Record, intel_rdt: &LinuxIntelRdt) -> Result<()> {
    if *intel_rdt == LinuxIntelRdt::default() {
        return Ok(());
    }
    let group = record.resctrl.as_ref().ok_or(LifecycleError::NoIntelRdt)?;
    resctrl::update(group, intel_rdt).map_err(|error| Error::of_kind(ErrorKind::Kernel, error))
}

/// A limit that the kernel does not take.
fn not_taken(error: corten_cgroup::Error) -> Error {
    Error::of_kind(ErrorKind::Kernel, LimitError(error))
}

/// A change of limits that is sound in itself.
struct Change<'a> {
    record: &'a Record,
    cgroups: Cgroups,
    legacy: LegacyControllers,
    settings: Vec<Setting>,
    /// For the unit, if the container is in one.
    properties: Option<Vec<Property>>,
    /// The lists of devices before and afterwards, if they differ.
    devices: Option<[Vec<Rule>; 2]>,
}

impl<'a> Change<'a> {
    fn new(record: &'a Record, resources: [&LinuxResources; 2], update: &LinuxResources) -> Result<Self> {
        let cgroups = cgroups(record)?;
        if cgroups.is_empty() {
            return Err(LifecycleError::NoCgroup.into());
        }
        let [before, after] = resources;
        let wrong = |error| Error::of_kind(ErrorKind::InvalidConfig, LimitError(error));
        cgroups.check_memory(&limits(update).memory).map_err(not_taken)?;
        let legacy = Machine::detect()?.legacy_controllers().clone();
        let new = limits(&now_only(after, update));
        let settings = new.settings(&legacy).map_err(wrong)?;
        let properties =
            record.cgroups.unit.as_ref().map(|_| new.properties(&legacy)).transpose().map_err(wrong)?;
        let devices =
            (after.devices() != before.devices()).then(|| resources.map(|list| device_rules(Some(list))));
        Ok(Self { record, cgroups, legacy, settings, properties, devices })
    }

    /// Makes it, and then what belongs to it; when something fails, it is taken back.
    fn make(self, and_then: impl FnOnce() -> Result<()>) -> Result<()> {
        // Before systemd, which cannot be told to forget a limit.
        let old = self.cgroups.update(&self.settings).map_err(not_taken)?;
        let told = self.tell_systemd();
        let devices = self.devices.as_ref().filter(|_| told.is_ok());
        let set = devices.map_or(Ok(()), |[_, after]| self.cgroups.set_devices(after).map_err(Error::from));
        told.and(set).and_then(|()| and_then()).map_err(|cause| {
            let restored = self.cgroups.apply(&old);
            match restored
                .and_then(|()| devices.map_or(Ok(()), |[before, _]| self.cgroups.set_devices(before)))
            {
                Ok(()) => cause,
                Err(error) => {
                    let left =
                        format!("{}, and the old limits could not be restored: {error}", cause.chain());
                    LifecycleError::Left { left }.into()
                }
            }
        })
    }

    fn tell_systemd(&self) -> Result<()> {
        let (Some(unit), Some(properties)) = (&self.record.cgroups.unit, &self.properties) else {
            return Ok(());
        };
        let devices = self.devices.as_ref().map(|[_, after]| after.as_slice());
        tell_systemd(unit, self.record.cgroups.user, properties.clone(), devices, &self.legacy)?;
        // What it has rounded.
        self.cgroups.update(&self.settings).map(drop).map_err(not_taken)
    }
}

/// Tells systemd of limits, and of devices if they are others.
fn tell_systemd(
    unit: &Unit,
    user: bool,
    mut properties: Vec<Property>,
    devices: Option<&[Rule]>,
    legacy: &LegacyControllers,
) -> Result<()> {
    let systemd = systemd(user)?;
    if let Some(rules) = devices.filter(|_| !user) {
        let beside_filter = !legacy.contains("devices");
        properties.extend(device_properties(rules, systemd.version(), beside_filter).properties);
        if Filter::compile(rules).allows_everything() {
            // Without a list systemd leaves the program of the last one in place.
            let everything = ["char-*", "block-*"].map(|name| (name.to_owned(), "rwm".to_owned()));
            properties.push(Property::new("DeviceAllow", everything.to_vec()));
        }
    }
    let told = systemd.set_properties(unit, properties);
    Ok(told.map(drop)?)
}

/// The limits that are in force afterwards.
fn merged(before: &LinuxResources, update: &LinuxResources) -> LinuxResources {
    let mut after = before.clone();
    if let Some(cpu) = update.cpu() {
        after.set_cpu(Some(merged_cpu(before.cpu().clone().unwrap_or_default(), cpu)));
    }
    if let Some(memory) = update.memory() {
        after.set_memory(Some(merged_memory(before.memory().unwrap_or_default(), memory)));
    }
    if let Some(io) = update.block_io() {
        let mut now = before.block_io().clone().unwrap_or_default();
        now.set_weight(given(io.weight()).or(now.weight()));
        now.set_leaf_weight(given(io.leaf_weight()).or(now.leaf_weight()));
        let same =
            |a: &LinuxWeightDevice, b: &LinuxWeightDevice| (a.major(), a.minor()) == (b.major(), b.minor());
        now.set_weight_device(upserted(now.weight_device(), io.weight_device(), same));
        let rates = |now: &Option<Vec<_>>, update: &Option<Vec<_>>| {
            upserted(now, update, |a: &LinuxThrottleDevice, b| {
                (a.major(), a.minor()) == (b.major(), b.minor())
            })
        };
        now.set_throttle_read_bps_device(rates(
            now.throttle_read_bps_device(),
            io.throttle_read_bps_device(),
        ));
        now.set_throttle_write_bps_device(rates(
            now.throttle_write_bps_device(),
            io.throttle_write_bps_device(),
        ));
        now.set_throttle_read_iops_device(rates(
            now.throttle_read_iops_device(),
            io.throttle_read_iops_device(),
        ));
        now.set_throttle_write_iops_device(rates(
            now.throttle_write_iops_device(),
            io.throttle_write_iops_device(),
        ));
        after.set_block_io(Some(now));
    }
    if update.pids().is_some() {
        after.set_pids(*update.pids());
    }
    if update.hugepage_limits().is_some() {
        after.set_hugepage_limits(update.hugepage_limits().clone());
    }
    if update.network().is_some() {
        after.set_network(update.network().clone());
    }
    if update.rdma().is_some() {
        after.set_rdma(update.rdma().clone());
    }
    if let Some(unified) = update.unified() {
        let mut files = before.unified().clone().unwrap_or_default();
        files.extend(unified.iter().map(|(file, value)| (file.clone(), value.clone())));
        after.set_unified(Some(files));
    }
    if update.devices().is_some() {
        after.set_devices(update.devices().clone());
    }
    after
}

/// A number that asks for something: engines send 0 for what is to stay.
fn given<T: Default + PartialEq>(number: Option<T>) -> Option<T> {
    number.filter(|number| *number != T::default())
}

/// runc: of quota and period, the one that is not given stays. An idle cgroup has no weight of its own.
fn merged_cpu(mut now: LinuxCpu, update: &LinuxCpu) -> LinuxCpu {
    if update.idle().is_some() {
        now.set_idle(update.idle());
        now.set_shares(None);
    }
    now.set_shares(given(update.shares()).or(now.shares()));
    now.set_quota(given(update.quota()).or(now.quota()));
    now.set_period(given(update.period()).or(now.period()));
    now.set_burst(update.burst().or(now.burst()));
    now.set_realtime_runtime(given(update.realtime_runtime()).or(now.realtime_runtime()));
    now.set_realtime_period(given(update.realtime_period()).or(now.realtime_period()));
    let named = |list: &Option<String>| list.clone().filter(|list| !list.is_empty());
    now.set_cpus(named(update.cpus()).or(named(now.cpus())));
    now.set_mems(named(update.mems()).or(named(now.mems())));
    now
}

fn merged_memory(mut now: LinuxMemory, update: &LinuxMemory) -> LinuxMemory {
    // runc: without a limit on memory, an old one on memory and swap would be an error.
    if update.limit() == Some(-1) && given(update.swap()).is_none() {
        now.set_swap(None);
    }
    now.set_limit(given(update.limit()).or(now.limit()));
    now.set_swap(given(update.swap()).or(now.swap()));
    now.set_reservation(given(update.reservation()).or(now.reservation()));
    now.set_swappiness(update.swappiness().or(now.swappiness()));
    now.set_disable_oom_killer(update.disable_oom_killer().or(now.disable_oom_killer()));
    now
}

/// The list with the devices of another in the places of theirs.
fn upserted<T: Clone>(
    now: &Option<Vec<T>>,
    update: &Option<Vec<T>>,
    same: impl Fn(&T, &T) -> bool,
) -> Option<Vec<T>> {
    let mut list = now.clone().unwrap_or_default();
    for device in update.iter().flatten() {
        list.retain(|other| !same(other, device));
        list.push(device.clone());
    }
    Some(list).filter(|list| !list.is_empty())
}

/// Of the limits afterwards, those that are to be written: what stands for itself and is not given is not, as
/// somebody else may have changed it since (runc).
fn now_only(after: &LinuxResources, update: &LinuxResources) -> LinuxResources {
    let mut now = after.clone();
    now.set_pids(*update.pids());
    now.set_unified(update.unified().clone());
    if let Some(cpu) = now.cpu_mut() {
        let given = update.cpu().clone().unwrap_or_default();
        cpu.set_cpus(given.cpus().clone());
        cpu.set_mems(given.mems().clone());
        cpu.set_idle(given.idle());
        cpu.set_burst(given.burst());
    }
    now
}
