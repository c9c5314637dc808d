//! The table of limits: a row for each field, and what becomes of it in cgroup v2, in cgroup v1 and in a unit
//! of systemd.
//!
//! What 0, -1 and nothing mean is decided here and in `convert`, once for all of them. The order is that of
//! runc's writes. Source: config-linux.md#control-groups; Documentation/admin-guide/cgroup-v2.rst and
//! cgroup-v1.

use std::collections::BTreeSet;

use super::convert;
use super::setting::{IfMissing, Place, Setting};
use super::{Resources, ThrottleDevice, WeightDevice, unified};
use crate::error::Error;
use crate::systemd::{Property, Value, cpu_mask};

/// The CPU period that the kernel starts with, in microseconds.
pub(super) const CPU_PERIOD: u64 = 100_000;

/// The controllers that are in v1 hierarchies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LegacyControllers(BTreeSet<String>);

impl LegacyControllers {
    /// No controller: a machine with cgroup v2 alone.
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether there are none: a machine with cgroup v2 alone.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether the controller, by its name in v1, is in a v1 hierarchy.
    pub fn contains(&self, controller: &str) -> bool {
        self.0.contains(controller)
    }
}

impl<T: Into<String>> FromIterator<T> for LegacyControllers {
    fn from_iter<I: IntoIterator<Item = T>>(controllers: I) -> Self {
        Self(controllers.into_iter().map(Into::into).collect())
    }
}

/// Makes the settings of a field.
type Make = fn(&Resources, &mut Out<'_>) -> Result<(), Error>;

/// Makes the properties of a unit for a field; the flag says that its controller is in a v1 hierarchy.
type MakeUnit = fn(&Resources, bool, &mut UnitOut<'_>) -> Result<(), Error>;

/// A field, and what becomes of it.
struct Row {
    /// As it is written in `linux.resources`.
    field: &'static str,
    /// The controller's name in v1, by which the hierarchy is found.
    legacy_controller: &'static str,
    /// With cgroup v2. `None`: it has no such thing.
    v2: Option<Make>,
    /// With cgroup v1.
    v1: Make,
    /// With systemd, which is told beside the files, so that it does not set them back. `None`: it has no
    /// such thing.
    unit: Option<MakeUnit>,
}

#[rustfmt::skip]
const TABLE: &[Row] = &[
    Row { field: "pids.limit", legacy_controller: "pids",
        v2: Some(|r, out| out.put_limit("pids.max", r.pids.map(task_limit))),
        v1: |r, out| out.put("pids.max", r.pids.map(task_limit)),
        unit: Some(|r, _, out| out.put("TasksMax", r.pids.map(task_limit_number))) },
    Row { field: "memory.swap", legacy_controller: "memory",
        v2: Some(swap_max),
        v1: memory_and_swap,
        unit: Some(|r, legacy, out| if legacy { Ok(()) } else { out.put("MemorySwapMax", convert::swap(r.memory.limit, r.memory.swap)?.map(or_infinity)) }) },
    Row { field: "memory.limit", legacy_controller: "memory",
        v2: Some(|r, out| out.put_limit("memory.max", nonzero(r.memory.limit).map(or_max))),
        v1: |r, out| out.put("memory.limit_in_bytes", nonzero(r.memory.limit)),
        unit: Some(|r, legacy, out| out.put(if legacy { "MemoryLimit" } else { "MemoryMax" }, nonzero(r.memory.limit).map(or_infinity))) },
    Row { field: "memory.reservation", legacy_controller: "memory",
        v2: Some(|r, out| out.put("memory.low", nonzero(r.memory.reservation).map(or_max))),
        v1: |r, out| out.put("memory.soft_limit_in_bytes", nonzero(r.memory.reservation)),
        unit: Some(|r, legacy, out| if legacy { Ok(()) } else { out.put("MemoryLow", nonzero(r.memory.reservation).map(or_infinity)) }) },
    Row { field: "memory.disableOOMKiller", legacy_controller: "memory",
        v2: None,
        v1: |r, out| out.put("memory.oom_control", r.memory.disable_oom_killer.then_some(1)),
        unit: None },
    Row { field: "memory.swappiness", legacy_controller: "memory",
        v2: None,
        v1: swappiness,
        unit: None },
    Row { field: "blockIO.weight", legacy_controller: "blkio",
        v2: Some(io_weight),
        v1: |r, out| out.put_or("blkio.weight", "blkio.bfq.weight", nonzero(r.io.weight)),
        unit: Some(unit_io_weight) },
    Row { field: "blockIO.leafWeight", legacy_controller: "blkio",
        v2: None,
        v1: |r, out| out.put("blkio.leaf_weight", nonzero(r.io.leaf_weight)),
        unit: None },
    Row { field: "blockIO.weightDevice", legacy_controller: "blkio",
        v2: Some(io_device_weights),
        v1: device_weights,
        unit: Some(unit_device_weights) },
    Row { field: "blockIO.throttleReadBpsDevice", legacy_controller: "blkio",
        v2: Some(|r, out| out.io_max("rbps", &r.io.throttle_read_bps)),
        v1: |r, out| out.throttle("blkio.throttle.read_bps_device", &r.io.throttle_read_bps),
        unit: Some(|r, legacy, out| out.throttle("IOReadBandwidthMax", legacy, &r.io.throttle_read_bps)) },
    Row { field: "blockIO.throttleWriteBpsDevice", legacy_controller: "blkio",
        v2: Some(|r, out| out.io_max("wbps", &r.io.throttle_write_bps)),
        v1: |r, out| out.throttle("blkio.throttle.write_bps_device", &r.io.throttle_write_bps),
        unit: Some(|r, legacy, out| out.throttle("IOWriteBandwidthMax", legacy, &r.io.throttle_write_bps)) },
    Row { field: "blockIO.throttleReadIOPSDevice", legacy_controller: "blkio",
        v2: Some(|r, out| out.io_max("riops", &r.io.throttle_read_iops)),
        v1: |r, out| out.throttle("blkio.throttle.read_iops_device", &r.io.throttle_read_iops),
        unit: Some(|r, legacy, out| out.throttle("IOReadIOPSMax", legacy, &r.io.throttle_read_iops)) },
    Row { field: "blockIO.throttleWriteIOPSDevice", legacy_controller: "blkio",
        v2: Some(|r, out| out.io_max("wiops", &r.io.throttle_write_iops)),
        v1: |r, out| out.throttle("blkio.throttle.write_iops_device", &r.io.throttle_write_iops),
        unit: Some(|r, legacy, out| out.throttle("IOWriteIOPSMax", legacy, &r.io.throttle_write_iops)) },
    Row { field: "cpu.idle", legacy_controller: "cpu",
        v2: Some(|r, out| out.put("cpu.idle", r.cpu.idle)),
        v1: |r, out| out.put("cpu.idle", r.cpu.idle),
        unit: Some(unit_cpu_idle) },
    Row { field: "cpu.shares", legacy_controller: "cpu",
        v2: Some(|r, out| out.put("cpu.weight", nonzero(r.cpu.shares).map(convert::cpu_weight))),
        v1: |r, out| out.put_exactly("cpu.shares", nonzero(r.cpu.shares)),
        unit: Some(unit_cpu_weight) },
    Row { field: "cpu.burst", legacy_controller: "cpu",
        v2: Some(|r, out| out.put("cpu.max.burst", r.cpu.burst)),
        v1: |r, out| out.put_if_there("cpu.cfs_burst_us", r.cpu.burst),
        unit: None },
    Row { field: "cpu.quota", legacy_controller: "cpu",
        v2: Some(cpu_max),
        v1: |r, out| out.put("cpu.cfs_quota_us", nonzero(r.cpu.quota)),
        unit: Some(unit_cpu_quota) },
    Row { field: "cpu.period", legacy_controller: "cpu",
        // Written with the quota.
        v2: Some(|_, _| Ok(())),
        v1: |r, out| out.put("cpu.cfs_period_us", nonzero(r.cpu.period)),
        unit: None },
    Row { field: "cpu.realtimePeriod", legacy_controller: "cpu",
        v2: None,
        v1: |r, out| out.put("cpu.rt_period_us", nonzero(r.cpu.realtime_period)),
        unit: None },
    Row { field: "cpu.realtimeRuntime", legacy_controller: "cpu",
        v2: None,
        v1: |r, out| out.put("cpu.rt_runtime_us", nonzero(r.cpu.realtime_runtime)),
        unit: None },
    Row { field: "cpu.cpus", legacy_controller: "cpuset",
        v2: Some(|r, out| out.put("cpuset.cpus", named(&r.cpu.cpus))),
        v1: |r, out| out.put_or("cpuset.cpus", "cpus", named(&r.cpu.cpus)),
        unit: Some(|r, legacy, out| out.mask("AllowedCPUs", legacy, &r.cpu.cpus)) },
    Row { field: "cpu.mems", legacy_controller: "cpuset",
        v2: Some(|r, out| out.put("cpuset.mems", named(&r.cpu.mems))),
        v1: |r, out| out.put_or("cpuset.mems", "mems", named(&r.cpu.mems)),
        unit: Some(|r, legacy, out| out.mask("AllowedMemoryNodes", legacy, &r.cpu.mems)) },
    Row { field: "hugepageLimits", legacy_controller: "hugetlb",
        v2: Some(|r, out| huge_pages(r, out, "max")),
        v1: |r, out| huge_pages(r, out, "limit_in_bytes"),
        unit: None },
    Row { field: "rdma", legacy_controller: "rdma",
        v2: Some(rdma),
        v1: rdma,
        unit: None },
    Row { field: "network.classID", legacy_controller: "net_cls",
        v2: None,
        v1: |r, out| out.put("net_cls.classid", nonzero(r.network.class_id)),
        unit: None },
    Row { field: "network.priorities", legacy_controller: "net_prio",
        v2: None,
        v1: network_priorities,
        unit: None },
];

impl Resources {
    /// Works out which files are to be written, in order. Pure.
    ///
    /// # Errors
    /// Values that cannot be, each named by its field: swap without memory, a `unified` file of a controller
    /// that is in a v1 hierarchy.
    pub fn settings(&self, legacy: &LegacyControllers) -> Result<Vec<Setting>, Error> {
        let mut settings = Vec::new();
        for row in TABLE {
            let (place, make) = if legacy.contains(row.legacy_controller) {
                (Place::Legacy(row.legacy_controller), row.v1)
            } else if let Some(v2) = row.v2 {
                (Place::Unified, v2)
            } else {
                continue;
            };
            make(self, &mut Out { field: row.field, place, settings: &mut settings })?;
        }
        for (file, value) in &self.unified {
            settings.push(unified::setting(file, value, legacy)?);
        }
        Ok(settings)
    }

    /// Works out what systemd is to be told of a unit with these limits. Pure.
    ///
    /// # Errors
    /// As [`Resources::settings`]; also lists of CPUs that are none, and values in `unified` that cannot be
    /// read.
    pub fn properties(&self, legacy: &LegacyControllers) -> Result<Vec<Property>, Error> {
        let mut properties = Vec::new();
        for row in TABLE {
            if let Some(make) = row.unit {
                let mut out = UnitOut { field: row.field, properties: &mut properties };
                make(self, legacy.contains(row.legacy_controller), &mut out)?;
            }
        }
        for (file, value) in &self.unified {
            unified::properties(file, value, &mut properties)?;
        }
        Ok(properties)
    }

    /// Returns the fields that are set and have no meaning on this machine, as only cgroup v1 has them. runc
    /// ignores them, too.
    pub fn without_meaning(&self, legacy: &LegacyControllers) -> Vec<&'static str> {
        let is_set = |row: &&Row| {
            let mut settings = Vec::new();
            let place = Place::Legacy(row.legacy_controller);
            let made = (row.v1)(self, &mut Out { field: row.field, place, settings: &mut settings });
            made.is_err() || !settings.is_empty()
        };
        let missing = TABLE.iter().filter(|row| row.v2.is_none() && !legacy.contains(row.legacy_controller));
        missing.filter(is_set).map(|row| row.field).collect()
    }
}

/// Where the settings of a field go.
struct Out<'s> {
    field: &'static str,
    place: Place,
    settings: &'s mut Vec<Setting>,
}

impl Out<'_> {
    fn setting(&self, file: &str, value: &impl ToString) -> Setting {
        Setting {
            field: self.field.to_owned(),
            place: self.place,
            file: file.to_owned(),
            value: value.to_string(),
            if_missing: IfMissing::Fail,
            exact: false,
        }
    }

    /// Writes a value, if there is one.
    #[expect(clippy::unnecessary_wraps, reason = "the shape of a row's function")]
    fn put(&mut self, file: &str, value: Option<impl ToString>) -> Result<(), Error> {
        let setting = value.map(|value| self.setting(file, &value));
        self.settings.extend(setting);
        Ok(())
    }

    /// Writes a value that the kernel would bend to fit.
    #[expect(clippy::unnecessary_wraps, reason = "the shape of a row's function")]
    fn put_exactly(&mut self, file: &str, value: Option<impl ToString>) -> Result<(), Error> {
        let setting = value.map(|value| Setting { exact: true, ..self.setting(file, &value) });
        self.settings.extend(setting);
        Ok(())
    }

    /// Writes a value if the kernel has the file.
    #[expect(clippy::unnecessary_wraps, reason = "the shape of a row's function")]
    fn put_if_there(&mut self, file: &str, value: Option<impl ToString>) -> Result<(), Error> {
        let setting =
            value.map(|value| Setting { if_missing: IfMissing::Skip, ..self.setting(file, &value) });
        self.settings.extend(setting);
        Ok(())
    }

    /// Writes a limit. No limit is what holds without the file: engines say so where there is no such
    /// controller.
    fn put_limit(&mut self, file: &str, limit: Option<String>) -> Result<(), Error> {
        if limit.as_ref().is_some_and(|limit| limit.starts_with("max")) {
            return self.put_if_there(file, limit);
        }
        self.put(file, limit)
    }

    /// Writes a value to the first of two files that the kernel has.
    #[expect(clippy::unnecessary_wraps, reason = "the shape of a row's function")]
    fn put_or(&mut self, file: &str, other: &str, value: Option<impl ToString>) -> Result<(), Error> {
        if let Some(value) = value {
            let other = self.setting(other, &value);
            let setting =
                Setting { if_missing: IfMissing::Instead(Box::new(other)), ..self.setting(file, &value) };
            self.settings.push(setting);
        }
        Ok(())
    }

    /// Names the item of a list or map in errors. One that asks for nothing has made no setting.
    fn name_last(&mut self, key: &impl std::fmt::Debug) {
        if let Some(last) = self.settings.last_mut().filter(|last| last.field == self.field) {
            last.field = format!("{}[{key:?}]", self.field);
        }
    }

    fn io_max(&mut self, key: &str, devices: &[ThrottleDevice]) -> Result<(), Error> {
        for (index, ThrottleDevice { major, minor, rate }) in devices.iter().enumerate() {
            let rate = if *rate == 0 { "max".to_owned() } else { rate.to_string() };
            self.put("io.max", Some(format!("{major}:{minor} {key}={rate}")))?;
            self.name_last(&index);
        }
        Ok(())
    }

    fn throttle(&mut self, file: &str, devices: &[ThrottleDevice]) -> Result<(), Error> {
        for (index, ThrottleDevice { major, minor, rate }) in devices.iter().enumerate() {
            self.put(file, Some(format!("{major}:{minor} {rate}")))?;
            self.name_last(&index);
        }
        Ok(())
    }
}

/// Where the properties for a field go.
struct UnitOut<'p> {
    field: &'static str,
    properties: &'p mut Vec<Property>,
}

impl UnitOut<'_> {
    #[expect(clippy::unnecessary_wraps, reason = "the shape of a row's function")]
    fn put(&mut self, name: &'static str, value: Option<impl Into<Value>>) -> Result<(), Error> {
        self.properties.extend(value.map(|value| Property::new(name, value)));
        Ok(())
    }

    /// systemd names devices by their nodes. `IO*` is for cgroup v2 only.
    fn throttle(
        &mut self,
        name: &'static str,
        legacy: bool,
        devices: &[ThrottleDevice],
    ) -> Result<(), Error> {
        let path = |device: &ThrottleDevice| format!("/dev/block/{}:{}", device.major, device.minor);
        let rate = |device: &ThrottleDevice| if device.rate == 0 { u64::MAX } else { device.rate };
        let list: Vec<_> = devices.iter().map(|device| (path(device), rate(device))).collect();
        self.put(name, Some(list).filter(|list| !list.is_empty() && !legacy))
    }

    /// Since systemd 244, for cgroup v2.
    fn mask(&mut self, name: &'static str, legacy: bool, list: &str) -> Result<(), Error> {
        if let (Some(list), false) = (named(list), legacy) {
            let mask = cpu_mask(list).map_err(|error| Error::value(self.field, error.to_string()))?;
            self.properties.push(Property::new(name, mask).since(244));
        }
        Ok(())
    }
}

// Values.

/// A number that asks for something.
fn nonzero<T: Default + PartialEq>(number: Option<T>) -> Option<T> {
    number.filter(|number| *number != T::default())
}

fn named(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// -1 is v1's word for no limit.
fn or_max(bytes: i64) -> String {
    if bytes == -1 { "max".to_owned() } else { bytes.to_string() }
}

fn task_limit(limit: i64) -> String {
    match limit {
        // 0 is no limit for engines, which write it where there is no controller, as with crun. The kernel
        // takes it for what 1 is, too.
        ..=0 => "max".to_owned(),
        limit => limit.to_string(),
    }
}

fn task_limit_number(limit: i64) -> u64 {
    u64::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(u64::MAX)
}

/// -1 is systemd's infinity.
fn or_infinity(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

// The rows that need more than a line.

fn swap_max(r: &Resources, out: &mut Out<'_>) -> Result<(), Error> {
    let Some(swap) = convert::swap(r.memory.limit, r.memory.swap)? else { return Ok(()) };
    // Without swap there is no such file, and none to use.
    let if_missing = if swap <= 0 { IfMissing::Skip } else { IfMissing::Fail };
    let setting = Setting { if_missing, ..out.setting("memory.swap.max", &or_max(swap)) };
    out.settings.push(setting);
    Ok(())
}

/// No limit on memory leaves none on memory and swap together.
fn memory_and_swap(r: &Resources, out: &mut Out<'_>) -> Result<(), Error> {
    let file = "memory.memsw.limit_in_bytes";
    match (r.memory.limit, nonzero(r.memory.swap)) {
        (Some(-1), None) => out.put_if_there(file, Some(-1)),
        (_, swap) => out.put(file, swap),
    }
}

/// -1 is Docker's and Podman's word for the machine's own.
fn swappiness(r: &Resources, out: &mut Out<'_>) -> Result<(), Error> {
    match r.memory.swappiness.filter(|swappiness| *swappiness != u64::MAX) {
        Some(swappiness) if swappiness > 100 => Err(Error::value(
            out.field,
            format!("invalid memory swappiness value: {swappiness} (valid range is 0-100)"),
        )),
        swappiness => out.put("memory.swappiness", swappiness),
    }
}

/// The BFQ scheduler has v1's measure; io.cost, which is used otherwise, another.
fn io_weight(r: &Resources, out: &mut Out<'_>) -> Result<(), Error> {
    let Some(weight) = nonzero(r.io.weight) else { return Ok(()) };
    let other = out.setting("io.weight", &convert::io_weight(weight));
    let setting =
        Setting { if_missing: IfMissing::Instead(Box::new(other)), ..out.setting("io.bfq.weight", &weight) };
    out.settings.push(setting);
    Ok(())
}

fn io_device_weights(r: &Resources, out: &mut Out<'_>) -> Result<(), Error> {
    for (index, WeightDevice { major, minor, weight, .. }) in r.io.weight_device.iter().enumerate() {
        let Some(weight) = nonzero(*weight) else { continue };
        let other = out.setting("io.weight", &format!("{major}:{minor} {}", convert::io_weight(weight)));
        let value = format!("{major}:{minor} {weight}");
        let setting = Setting {
            if_missing: IfMissing::Instead(Box::new(other)),
            ..out.setting("io.bfq.weight", &value)
        };
        out.settings.push(setting);
        out.name_last(&index);
    }
    Ok(())
}

fn device_weights(r: &Resources, out: &mut Out<'_>) -> Result<(), Error> {
    for (index, WeightDevice { major, minor, weight, leaf_weight }) in r.io.weight_device.iter().enumerate() {
        let line = |weight: u16| format!("{major}:{minor} {weight}");
        out.put_or("blkio.weight_device", "blkio.bfq.weight_device", nonzero(*weight).map(line))?;
        out.name_last(&index);
        out.put("blkio.leaf_weight_device", nonzero(*leaf_weight).map(line))?;
        out.name_last(&index);
    }
    Ok(())
}

fn cpu_max(r: &Resources, out: &mut Out<'_>) -> Result<(), Error> {
    let (quota, period) = (nonzero(r.cpu.quota), nonzero(r.cpu.period));
    if quota.is_none() && period.is_none() {
        return Ok(());
    }
    let quota = quota.filter(|quota| *quota > 0).map_or_else(|| "max".to_owned(), |quota| quota.to_string());
    out.put_limit("cpu.max", Some(format!("{quota} {}", period.unwrap_or(CPU_PERIOD))))
}

fn huge_pages(r: &Resources, out: &mut Out<'_>, suffix: &str) -> Result<(), Error> {
    for (index, limit) in r.huge_pages.iter().enumerate() {
        let size = &limit.page_size;
        out.put(&format!("hugetlb.{size}.{suffix}"), Some(limit.limit))?;
        out.name_last(&index);
        // Reservations: Linux 5.7.
        out.put_if_there(&format!("hugetlb.{size}.rsvd.{suffix}"), Some(limit.limit))?;
        out.name_last(&index);
    }
    Ok(())
}

fn rdma(r: &Resources, out: &mut Out<'_>) -> Result<(), Error> {
    for (device, limit) in &r.rdma {
        let mut line = device.clone();
        for (key, limit) in [("hca_handle", limit.handles), ("hca_object", limit.objects)] {
            if let Some(limit) = limit {
                line += &format!(" {key}={limit}");
            }
        }
        out.put("rdma.max", Some(line).filter(|line| line != device))?;
        out.name_last(device);
    }
    Ok(())
}

fn network_priorities(r: &Resources, out: &mut Out<'_>) -> Result<(), Error> {
    for (index, (name, priority)) in r.network.priorities.iter().enumerate() {
        out.put("net_prio.ifpriomap", Some(format!("{name} {priority}")))?;
        out.name_last(&index);
    }
    Ok(())
}

fn unit_io_weight(r: &Resources, legacy: bool, out: &mut UnitOut<'_>) -> Result<(), Error> {
    let weight = nonzero(r.io.weight);
    if legacy {
        return out.put("BlockIOWeight", weight.map(u64::from));
    }
    out.put("IOWeight", weight.map(convert::unit_io_weight))
}

fn unit_device_weights(r: &Resources, legacy: bool, out: &mut UnitOut<'_>) -> Result<(), Error> {
    let path = |device: &WeightDevice| format!("/dev/block/{}:{}", device.major, device.minor);
    let weight =
        |device: &WeightDevice| Some((path(device), convert::unit_io_weight(nonzero(device.weight)?)));
    let list: Vec<_> = r.io.weight_device.iter().filter_map(weight).collect();
    out.put("IODeviceWeight", Some(list).filter(|list| !list.is_empty() && !legacy))
}

/// For systemd a weight of 0 is the idle class, since 252. The weight itself cannot be set then.
fn unit_cpu_idle(r: &Resources, legacy: bool, out: &mut UnitOut<'_>) -> Result<(), Error> {
    if r.cpu.idle == Some(1) && !legacy {
        out.properties.push(Property::new("CPUWeight", 0_u64).since(252));
    }
    Ok(())
}

fn unit_cpu_weight(r: &Resources, legacy: bool, out: &mut UnitOut<'_>) -> Result<(), Error> {
    let shares = nonzero(r.cpu.shares).filter(|_| r.cpu.idle != Some(1));
    if legacy { out.put("CPUShares", shares) } else { out.put("CPUWeight", shares.map(convert::cpu_weight)) }
}

fn unit_cpu_quota(r: &Resources, _: bool, out: &mut UnitOut<'_>) -> Result<(), Error> {
    let (quota, period) = (nonzero(r.cpu.quota), nonzero(r.cpu.period));
    if let Some(period) = period {
        out.properties.push(Property::new("CPUQuotaPeriodUSec", period).since(242));
    }
    if quota.is_none() && period.is_none() {
        return Ok(());
    }
    let each_second = quota.and_then(|quota| convert::quota_per_second(quota, period.unwrap_or(CPU_PERIOD)));
    out.put("CPUQuotaPerSecUSec", Some(each_second.unwrap_or(u64::MAX)))
}
