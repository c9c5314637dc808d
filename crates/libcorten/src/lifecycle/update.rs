//! update: other limits for a container that exists.

use corten_cgroup::device::{Filter, Rule};
use corten_cgroup::systemd::{Property, Unit, device_properties};
use corten_cgroup::{LegacyControllers, Machine};
use oci_spec::runtime::{LinuxCpu, LinuxIntelRdt, LinuxMemory, LinuxResources, LinuxThrottleDevice, LinuxWeightDevice};

use super::{Container, LifecycleError, cgroups};
use crate::host::{cgroup_error, systemd};
use crate::launch::{LimitError, resctrl};
use crate::plan::device_rules;
use crate::spec::judge_resources;
use crate::spec::resources::limits;
use crate::state::Status;
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
    /// in force then; if they cannot be restored, the error says so. (Devices come last, when systemd has been told, and the
    /// schemata of resctrl first; they are not taken back.)
    pub fn update(&self, update: &Update) -> Result<()> {
        judge_resources(&update.resources).map_err(|error| Error::new(error.kind(), error))?;
        let _lock = self.directory.lock()?;
        let mut record = self.record()?;
        if matches!(self.status(&record)?, Status::Stopped | Status::Creating) {
            return Err(LifecycleError::NotRunning.into());
        }
        if update.intel_rdt != LinuxIntelRdt::default() {
            let group = record.resctrl.as_ref().ok_or(LifecycleError::NoIntelRdt)?;
            resctrl::update(group, &update.intel_rdt).map_err(|error| Error::new(ErrorKind::Kernel, error))?;
        }
        if update.resources == LinuxResources::default() {
            return Ok(());
        }
        let before = record.resources.take().unwrap_or_default();
        let after = merged(&before, &update.resources);
        let cgroups = cgroups(&record)?;
        if cgroups.is_empty() {
            return Err(LifecycleError::NoCgroup.into());
        }
        let kernel_error = |error| Error::new(ErrorKind::Kernel, LimitError(error));
        let config_error = |error| Error::new(ErrorKind::InvalidConfig, LimitError(error));
        cgroups.check_memory(&limits(&update.resources).memory).map_err(kernel_error)?;
        let machine = Machine::detect().map_err(cgroup_error)?;
        let legacy = machine.legacy_controllers();
        let new = limits(&now_only(&after, &update.resources));
        let settings = new.settings(legacy).map_err(config_error)?;
        let properties =
            record.cgroups.unit.as_ref().map(|_| new.properties(legacy)).transpose().map_err(config_error)?;
        let devices = (after.devices() != before.devices()).then(|| device_rules(Some(&after)));
        // Before systemd, which cannot be told to forget a limit.
        let old = cgroups.update(&settings).map_err(kernel_error)?;
        let set_the_rest = || {
            if let (Some(unit), Some(properties)) = (&record.cgroups.unit, properties) {
                tell_systemd(unit, record.cgroups.user, properties, devices.as_deref(), legacy)?;
                // What it has rounded.
                cgroups.update(&settings).map_err(kernel_error)?;
            }
            devices.as_deref().map_or(Ok(()), |rules| cgroups.set_devices(rules)).map_err(cgroup_error)
        };
        if let Err(cause) = set_the_rest() {
            return Err(match cgroups.apply(&old) {
                Ok(()) => cause,
                Err(error) => {
                    let left = format!("{}, and the old limits could not be restored: {error}", cause.chain());
                    LifecycleError::Left { left }.into()
                }
            });
        }
        record.resources = Some(after);
        Ok(self.directory.write(&record)?)
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
    told.map(drop).map_err(|error| Error::new(ErrorKind::Kernel, error))
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
        let same = |a: &LinuxWeightDevice, b: &LinuxWeightDevice| (a.major(), a.minor()) == (b.major(), b.minor());
        now.set_weight_device(upserted(now.weight_device(), io.weight_device(), same));
        let rates = |now: &Option<Vec<_>>, update: &Option<Vec<_>>| {
            upserted(now, update, |a: &LinuxThrottleDevice, b| (a.major(), a.minor()) == (b.major(), b.minor()))
        };
        now.set_throttle_read_bps_device(rates(now.throttle_read_bps_device(), io.throttle_read_bps_device()));
        now.set_throttle_write_bps_device(rates(now.throttle_write_bps_device(), io.throttle_write_bps_device()));
        now.set_throttle_read_iops_device(rates(now.throttle_read_iops_device(), io.throttle_read_iops_device()));
        now.set_throttle_write_iops_device(rates(now.throttle_write_iops_device(), io.throttle_write_iops_device()));
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
