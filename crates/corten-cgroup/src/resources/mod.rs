//! Limits: what a cgroup's processes may use.
//!
//! [`Resources`] says it in the words of the runtime-spec (config-linux.md#control-groups) but for devices,
//! which are [`device`](crate::device)'s. [`Resources::settings`] turns it into [`Setting`]s, one for each
//! file of a cgroup that is to be written; which files and values, for cgroup v2, v1 and systemd, stands in
//! one table.
//!
//! What is `None`, empty or 0 is not touched, but where 0 means something (`pids`: no limit; `idle`,
//! `swappiness`, huge pages).

mod convert;
mod setting;
mod table;
#[cfg(test)]
mod tests;
mod unified;

use std::collections::BTreeMap;

pub use setting::Setting;
pub(crate) use setting::{Place, apply, check_memory};
pub use table::LegacyControllers;

/// The limits of a cgroup.
///
/// ```no_run
/// use corten_cgroup::{Cpu, LegacyControllers, Memory, Resources};
///
/// let resources = Resources {
///     cpu: Cpu { quota: Some(50_000), ..Cpu::default() },
///     memory: Memory { limit: Some(64 << 20), ..Memory::default() },
///     pids: Some(100),
///     ..Resources::default()
/// };
/// let settings = resources.settings(&LegacyControllers::none())?;
/// let lines: Vec<_> = settings.iter().map(ToString::to_string).collect();
/// assert_eq!(lines, ["pids.max = 100", "memory.max = 67108864", "cpu.max = 50000 100000"]);
/// # Ok::<(), corten_cgroup::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// CPU time, and which CPUs and memory nodes.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// Number of tasks. Negative or 0: no limit.
    pub pids: Option<i64>,
    /// Block I/O.
    pub io: Io,
    /// Huge pages, and reservations of them.
    pub huge_pages: Vec<HugePages>,
    /// RDMA devices by name.
    pub rdma: BTreeMap<String, Rdma>,
    /// Marks on network packets (v1).
    pub network: Network,
    /// Files of cgroup v2 and what is written to them, after everything else.
    pub unified: BTreeMap<String, String>,
}

/// Limits on CPU time, and which CPUs and memory nodes may be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Share of the time when CPUs are busy: 2 to 262144, in the measure of v1, where 1024 is the usual
    /// share.
    pub shares: Option<u64>,
    /// CPU time in a period, in microseconds. Negative: no limit.
    pub quota: Option<i64>,
    /// Length of a period, in microseconds; 100 ms if only the quota is given.
    pub period: Option<u64>,
    /// Time that may be saved up and used above the quota, in microseconds.
    pub burst: Option<u64>,
    /// 1: the processes run when nothing else does (`SCHED_IDLE`).
    pub idle: Option<i64>,
    /// Time for realtime tasks in a realtime period, in microseconds (v1).
    pub realtime_runtime: Option<i64>,
    /// Length of a realtime period, in microseconds (v1).
    pub realtime_period: Option<u64>,
    /// CPUs, as a list: `0-3,7`.
    pub cpus: String,
    /// Memory nodes, as a list.
    pub mems: String,
}

/// Limits on memory, in bytes. -1: no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// Most memory that may be used.
    pub limit: Option<i64>,
    /// Memory that is reclaimed only when there is none elsewhere.
    pub reservation: Option<i64>,
    /// Most memory and swap together that may be used.
    pub swap: Option<i64>,
    /// How readily pages are swapped out, 0 to 100 (v1).
    pub swappiness: Option<u64>,
    /// Processes that need more wait instead of being killed (v1).
    pub disable_oom_killer: bool,
    /// Refuse a limit that is below what is used already: see
    /// [`Cgroups::check_memory`](crate::Cgroups::check_memory).
    pub check_before_update: bool,
}

/// Limits on block I/O.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Io {
    /// Share of the bandwidth, 10 to 1000.
    pub weight: Option<u16>,
    /// The same beside the cgroups below (v1, Linux before 5.0).
    pub leaf_weight: Option<u16>,
    /// Shares of single devices.
    pub weight_device: Vec<WeightDevice>,
    /// Bytes per second.
    pub throttle_read_bps: Vec<ThrottleDevice>,
    /// Bytes per second.
    pub throttle_write_bps: Vec<ThrottleDevice>,
    /// Operations per second.
    pub throttle_read_iops: Vec<ThrottleDevice>,
    /// Operations per second.
    pub throttle_write_iops: Vec<ThrottleDevice>,
}

/// A share of a block device's bandwidth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WeightDevice {
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
    /// 10 to 1000.
    pub weight: Option<u16>,
    /// As [`Io::leaf_weight`].
    pub leaf_weight: Option<u16>,
}

/// A rate of a block device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ThrottleDevice {
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
    /// Bytes or operations per second; 0: no limit.
    pub rate: u64,
}

/// A limit on huge pages of one size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HugePages {
    /// The size as the kernel writes it: `2MB`, `1GB`.
    pub page_size: String,
    /// Bytes in use, and bytes reserved.
    pub limit: u64,
}

/// Limits on an RDMA device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rdma {
    /// Number of handles.
    pub handles: Option<u32>,
    /// Number of objects.
    pub objects: Option<u32>,
}

/// Marks on network packets (v1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// Class for tc(8).
    pub class_id: Option<u32>,
    /// Priorities by name of the network device.
    pub priorities: Vec<(String, u32)>,
}
