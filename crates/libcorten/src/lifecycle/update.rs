//! update: other limits for a container that exists.

use corten_cgroup::device::{Filter, Rule};
use corten_cgroup::systemd::{Property, device_properties};
use corten_cgroup::{Cgroups, Machine, Setting};
use oci_spec::runtime::{LinuxCpu, LinuxIntelRdt, LinuxMemory, LinuxResources, LinuxThrottleDevice, LinuxWeightDevice};

use super::{Container, LifecycleError, cgroups};
use crate::host::{cgroup_error, systemd};
use crate::launch::{LimitError, resctrl};
use crate::plan::device_rules;
use crate::spec::judge_resources;
use crate::spec::resources::limits;
use crate::state::{Record, Status};
use crate::{Error, ErrorKind, Result};

/// What [`Container::update`] changes. What is not given stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Update {
    /// Limits of cgroups. Devices are changed only if the list differs from that of the container: others may have added to its
    /// filter (GPUs).
    pub resources: LinuxResources,
    /// `l3CacheSchema`, `memBwSchema` and `schemata` for the container's resctrl group.
    pub intel_rdt: LinuxIntelRdt,
}

impl Container {
    /// Changes limits. The new ones are in force when this returns, all of them or none.
    ///
    /// # Errors
    /// The container is stopped, or the kernel does not take a limit; the error names field, file and value. The old limits are
    /// in force then; if they cannot be restored, the error says so.
    pub fn update(&self, update: &Update) -> Result<()> {
        judge_resources(&update.resources).map_err(|error| Error::new(error.kind(), error))?;
        let _lock = self.directory.lock()?;
        let mut record = self.record()?;
        if matches!(self.status(&record)?, Status::Stopped | Status::Creating) {
            return Err(LifecycleError::NotRunning.into());
        }
        let group = (update.intel_rdt != LinuxIntelRdt::default()).then_some(record.resctrl.clone());
        let group = group.map(|group| group.ok_or(LifecycleError::NoIntelRdt)).transpose()?;
        let limited = update.resources != LinuxResources::default();
        let undo = limited.then(|| limit(&mut record, &update.resources)).transpose()?;
        if let Some(group) = group {
            resctrl::update(&group, &update.intel_rdt).map_err(|error| {
                let cause = Error::new(ErrorKind::Kernel, error);
                match undo {
                    Some(undo) => undo.after(cause),
                    None => cause,
                }
            })?;
        }
        Ok(self.directory.write(&record)?)
    }
}

/// What was in force before, for when something goes wrong afterwards.
struct Undo {
    cgroups: Cgroups,
    settings: Vec<Setting>,
    devices: Option<Vec<Rule>>,
}

impl Undo {
    /// Restores it. What cannot be restored is told after the cause.
    fn after(self, cause: Error) -> Error {
        let limits = self.cgroups.update(&self.settings).map_err(limit_error);
        let devices = self.devices.map(|rules| self.cgroups.set_devices(&rules).map_err(cgroup_error));
        match limits.and(devices.unwrap_or(Ok(()))) {
            Ok(()) => cause,
            Err(error) => {
                let left = format!("{}, and the old limits could not be restored: {}", cause.chain(), error.chain());
                LifecycleError::Left { left }.into()
            }
        }
    }
}

fn limit_error(error: corten_cgroup::Error) -> Error {
    Error::new(ErrorKind::Kernel, LimitError(error))
}

/// Changes the limits of cgroups, and writes down in the record what they are now.
fn limit(record: &mut Record, update: &LinuxResources) -> Result<Undo> {
    let before = record.resources.clone().unwrap_or_default();
    let after = merged(&before, update);
    let new_devices = after.devices() != before.devices();
    let machine = Machine::detect().map_err(cgroup_error)?;
    let legacy = machine.legacy_controllers();
    let wanted = limits(&now_only(&after, update));
    let invalid = |error| Error::new(ErrorKind::InvalidConfig, LimitError(error));
    let new = wanted.settings(legacy).map_err(invalid)?;
    let cgroups = cgroups(record)?;
    if cgroups.is_empty() {
        return Err(LifecycleError::NoCgroup.into());
    }
    cgroups.check_memory(&limits(update).memory).map_err(limit_error)?;
    let mut undo = Undo { settings: cgroups.current(&new), cgroups, devices: None };
    if let Some(unit) = &record.cgroups.unit {
        // First, so that what it sets is what is checked and completed next.
        let systemd = systemd(record.cgroups.user)?;
        let mut properties = wanted.properties(legacy).map_err(limit_error)?;
        if new_devices && !record.cgroups.user {
            let beside_filter = !legacy.contains("devices");
            let rules = device_rules(Some(&after));
            properties.extend(device_properties(&rules, systemd.version(), beside_filter).properties);
            if Filter::compile(&rules).allows_everything() {
                // Without a list systemd leaves the program of the last one in place.
                let everything = ["char-*", "block-*"].map(|name| (name.to_owned(), "rwm".to_owned()));
                properties.push(Property::new("DeviceAllow", everything.to_vec()));
            }
        }
        let told = systemd.set_properties(unit, properties);
        told.map_err(|error| Error::new(ErrorKind::Kernel, error))?;
    }
    if let Err(error) = undo.cgroups.update(&new) {
        return Err(undo.after(limit_error(error)));
    }
    if new_devices {
        if let Err(error) = undo.cgroups.set_devices(&device_rules(Some(&after))) {
            return Err(undo.after(cgroup_error(error)));
        }
        undo.devices = Some(device_rules(Some(&before)));
    }
    record.resources = Some(after);
    Ok(undo)
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
        now.set_weight(io.weight().or(now.weight()));
        now.set_leaf_weight(io.leaf_weight().or(now.leaf_weight()));
        let same = |a: &LinuxWeightDevice, b: &LinuxWeightDevice| (a.major(), a.minor()) == (b.major(), b.minor());
        now.set_weight_device(upserted(now.weight_device(), io.weight_device(), same));
        let same = |a: &LinuxThrottleDevice, b: &LinuxThrottleDevice| (a.major(), a.minor()) == (b.major(), b.minor());
        now.set_throttle_read_bps_device(upserted(now.throttle_read_bps_device(), io.throttle_read_bps_device(), same));
        now.set_throttle_write_bps_device(upserted(
            now.throttle_write_bps_device(),
            io.throttle_write_bps_device(),
            same,
        ));
        now.set_throttle_read_iops_device(upserted(
            now.throttle_read_iops_device(),
            io.throttle_read_iops_device(),
            same,
        ));
        now.set_throttle_write_iops_device(upserted(
            now.throttle_write_iops_device(),
            io.throttle_write_iops_device(),
            same,
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

/// runc: of quota and period, the one that is not given stays. An idle cgroup has no weight of its own.
fn merged_cpu(mut now: LinuxCpu, update: &LinuxCpu) -> LinuxCpu {
    if update.idle().is_some() {
        now.set_idle(update.idle());
        now.set_shares(None);
    }
    now.set_shares(update.shares().or(now.shares()));
    now.set_quota(update.quota().filter(|quota| *quota != 0).or(now.quota()));
    now.set_period(update.period().filter(|period| *period != 0).or(now.period()));
    now.set_burst(update.burst().or(now.burst()));
    now.set_realtime_runtime(update.realtime_runtime().or(now.realtime_runtime()));
    now.set_realtime_period(update.realtime_period().or(now.realtime_period()));
    let named = |list: &Option<String>| list.clone().filter(|list| !list.is_empty());
    now.set_cpus(named(update.cpus()).or(named(now.cpus())));
    now.set_mems(named(update.mems()).or(named(now.mems())));
    now
}

fn merged_memory(mut now: LinuxMemory, update: &LinuxMemory) -> LinuxMemory {
    // runc: without a limit on memory, an old one on memory and swap would be an error.
    if update.limit() == Some(-1) && update.swap().is_none() {
        now.set_swap(None);
    }
    now.set_limit(update.limit().or(now.limit()));
    now.set_swap(update.swap().or(now.swap()));
    now.set_reservation(update.reservation().or(now.reservation()));
    now.set_swappiness(update.swappiness().or(now.swappiness()));
    now.set_disable_oom_killer(update.disable_oom_killer().or(now.disable_oom_killer()));
    now
}

/// The list with the devices of another in the places of theirs.
fn upserted<T: Clone>(now: &Option<Vec<T>>, update: &Option<Vec<T>>, same: impl Fn(&T, &T) -> bool) -> Option<Vec<T>> {
    let mut list = now.clone().unwrap_or_default();
    for device in update.iter().flatten() {
        list.retain(|other| !same(other, device));
        list.push(device.clone());
    }
    Some(list).filter(|list| !list.is_empty())
}

/// Of the limits afterwards, those that are to be written: what stands for itself and is not given is not, as somebody else may
/// have changed it since (runc).
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
