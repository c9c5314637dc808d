//! What a cgroup has used, and what it may use.
//!
//! Stage: host. Privilege: none, the files are readable by all. Kernel: cgroup2 (4.5), pressure (4.20); v1.
//! Source: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/. Attacker: none; the kernel alone writes these
//! files.
//!
//! Where v1 and v2 say the same by different files and units, the field has one meaning and one unit, and its
//! doc names both files. What runc 1.5 reports for a field, is reported here. A part of [`Stats`] is absent
//! where its controller is not enabled, or where the kernel does not have the file; that is no error.
//!
//! ```no_run
//! use corten_cgroup::Hierarchy;
//! use corten_cgroup::stats::Stats;
//!
//! # fn main() -> Result<(), corten_cgroup::Error> {
//! if let Some(cgroup) = Hierarchy::detect()?.open("/user.slice".as_ref())? {
//!     let stats = Stats::read(&cgroup)?;
//!     if let Some(memory) = stats.memory {
//!         println!("{} of {} bytes", memory.usage.usage, memory.usage.limit);
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod files;
mod legacy;
mod oom;
mod unified;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};

use crate::error::Error;
use files::Directory;

pub use oom::{Occurrence, OomWatcher, legacy_oom_kills};

/// Statistics of a cgroup and all below it. Times are in nanoseconds, sizes in bytes, and a limit of
/// `u64::MAX` is none.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Processor time. v2: there without the controller, too.
    pub cpu: Option<Cpu>,
    /// Processors and memory nodes, by v1's knobs. v2: absent.
    pub cpuset: Option<Cpuset>,
    /// Memory.
    pub memory: Option<Memory>,
    /// Number of tasks. v2: without the controller, the processes are counted, of this cgroup alone.
    pub pids: Option<Pids>,
    /// Transfers to and from block devices.
    pub io: Option<Io>,
    /// Huge pages, by the size that the kernel's files have in their names: `2MB`, `1GB`.
    pub hugetlb: BTreeMap<String, Hugetlb>,
    /// Remote direct memory access.
    pub rdma: Option<Rdma>,
    /// Scalar resources, by name (`sev`, `sgx_epc`, …).
    pub misc: BTreeMap<String, Misc>,
    /// How long tasks waited for what they did not get. v1: absent.
    pub pressure: Pressure,
}

impl Stats {
    /// Reads the statistics of a cgroup of cgroup2, from the fd of its directory.
    ///
    /// # Errors
    /// A file that is there cannot be read or understood; the error names it. A cgroup that has been removed
    /// has no files, which is no error.
    pub fn read(cgroup: impl AsFd) -> Result<Self, Error> {
        unified::read(&Directory::new(cgroup.as_fd()))
    }

    /// Reads the statistics of cgroups in v1 hierarchies. `directory_of` finds the directory of the cgroup in
    /// the hierarchy of a controller, by the controller's name: `cpu`, `cpuacct`, `cpuset`, `memory`, `pids`,
    /// `blkio`, `hugetlb`, `rdma`, `misc`.
    ///
    /// # Errors
    /// As [`Stats::read`].
    pub fn read_legacy<'fd>(directory_of: &dyn Fn(&str) -> Option<BorrowedFd<'fd>>) -> Result<Self, Error> {
        legacy::read(&|controller| directory_of(controller).map(Directory::new))
    }
}

/// Processor time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Time used. v2: `cpu.stat` (`usage_usec`); v1: `cpuacct.usage`.
    pub total_ns: u64,
    /// Time used by programs. v2: `cpu.stat` (`user_usec`); v1: `cpuacct.stat` (`user`), in steps of 10 ms.
    pub user_ns: u64,
    /// Time used by the kernel for them. v2: `cpu.stat` (`system_usec`); v1: `cpuacct.stat` (`system`), in
    /// steps of 10 ms.
    pub kernel_ns: u64,
    /// Time used on each processor. v1: `cpuacct.usage_percpu`; v2: empty.
    pub per_cpu_ns: Vec<u64>,
    /// The same by the kernel. v1: `cpuacct.usage_all` (`system`); v2: empty.
    pub per_cpu_kernel_ns: Vec<u64>,
    /// The same by programs. v1: `cpuacct.usage_all` (`user`); v2: empty.
    pub per_cpu_user_ns: Vec<u64>,
    /// Periods in which the cgroup had a quota and ran. `cpu.stat` (`nr_periods`).
    pub periods: u64,
    /// Periods in which it used up its quota. `cpu.stat` (`nr_throttled`).
    pub throttled_periods: u64,
    /// How long it was kept from running then. v2: `cpu.stat` (`throttled_usec`); v1: `throttled_time`.
    pub throttled_ns: u64,
    /// Periods in which it used more than its quota. `cpu.stat` (`nr_bursts`, 5.14).
    pub bursts: u64,
    /// Time used above the quota. v2: `cpu.stat` (`burst_usec`); v1: `burst_time`.
    pub burst_ns: u64,
}

/// v1's cpuset: one file for each field, `cpuset.` and the field's name. Flags are 0 or 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpuset {
    /// Numbers of the processors that tasks may use.
    pub cpus: Vec<u16>,
    /// No other cpuset beside it has these processors.
    pub cpu_exclusive: u64,
    /// Numbers of the memory nodes that tasks may use.
    pub mems: Vec<u16>,
    /// The kernel's allocations for tasks obey it, too.
    pub mem_hardwall: u64,
    /// No other cpuset beside it has these nodes.
    pub mem_exclusive: u64,
    /// Pages move when the nodes change.
    pub memory_migrate: u64,
    /// The page cache is spread over the nodes.
    pub memory_spread_page: u64,
    /// Slab caches for files are spread over the nodes.
    pub memory_spread_slab: u64,
    /// Rate of direct reclaims, a running average times 1000.
    pub memory_pressure: u64,
    /// The scheduler balances the load of these processors.
    pub sched_load_balance: u64,
    /// How far the scheduler looks for an idle processor; -1 is the system's default.
    pub sched_relax_domain_level: i64,
}

/// Memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// Page cache. v2: `memory.stat` (`file`); v1: `memory.stat` (`cache`).
    pub cache: u64,
    /// Memory. v2: `memory.current`, `.max`, `.peak` (5.19); v1: `memory.usage_in_bytes` and its like.
    pub usage: MemoryUsage,
    /// Memory and swap together. v1: `memory.memsw.*`. v2: sums of `memory` and `memory.swap`; no maximum, as
    /// those may have been at different times.
    pub with_swap: Option<MemoryUsage>,
    /// Swap alone. v2: `memory.swap.*`; v1: absent.
    pub swap: Option<MemoryUsage>,
    /// Memory of the kernel. v1: `memory.kmem.*`; v2: absent, `raw` has it in parts.
    pub kernel: Option<MemoryUsage>,
    /// Buffers of TCP. v1: `memory.kmem.tcp.*`; v2: absent.
    pub kernel_tcp: Option<MemoryUsage>,
    /// All of `memory.stat`, as it is there: bytes, pages or numbers of events.
    pub raw: BTreeMap<String, u64>,
}

/// Use of one kind of memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryUsage {
    /// Bytes in use.
    pub usage: u64,
    /// The most that there were; 0 if the kernel does not say.
    pub max_usage: u64,
    /// How often the limit was met. v2: 0; `memory.events` has more than one number for it.
    pub failures: u64,
    /// How many there may be.
    pub limit: u64,
}

/// Number of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pids {
    /// Tasks now. `pids.current`; v2 without it: lines of `cgroup.procs`, or of `cgroup.threads` in a
    /// threaded cgroup.
    pub current: u64,
    /// How many there may be. `pids.max`.
    pub limit: u64,
}

/// Transfers to and from block devices. v2: `io.stat`, the first two alone; v1: the files of BFQ, of CFQ, or
/// of throttling, whichever have something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Io {
    /// Bytes. v2: `rbytes`, `wbytes`; v1: `blkio.*.io_service_bytes_recursive`.
    pub service_bytes: Vec<IoEntry>,
    /// Requests. v2: `rios`, `wios`; v1: `blkio.*.io_serviced_recursive`.
    pub serviced: Vec<IoEntry>,
    /// Requests that wait. v1: `blkio.*.io_queued_recursive`.
    pub queued: Vec<IoEntry>,
    /// Nanoseconds from dispatch to completion. v1: `blkio.*.io_service_time_recursive`.
    pub service_time: Vec<IoEntry>,
    /// Nanoseconds in queues. v1: `blkio.*.io_wait_time_recursive`.
    pub wait_time: Vec<IoEntry>,
    /// Requests that became part of others. v1: `blkio.*.io_merged_recursive`.
    pub merged: Vec<IoEntry>,
    /// Milliseconds of the disk's time. v1: `blkio.*.time_recursive`.
    pub time: Vec<IoEntry>,
    /// Sectors. v1: `blkio.*.sectors_recursive`.
    pub sectors: Vec<IoEntry>,
}

/// A number of one block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoEntry {
    /// Major number of the device.
    pub major: u64,
    /// Minor number of the device.
    pub minor: u64,
    /// `Read`, `Write`, and in v1 `Sync`, `Async`, `Discard`, `Total`; empty where v1 has one number for all.
    pub operation: String,
    /// The number.
    pub value: u64,
}

/// Huge pages of one size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hugetlb {
    /// Pages that were touched. v2: `hugetlb.SIZE.current`; v1: `hugetlb.SIZE.usage_in_bytes` and its like.
    pub used: HugetlbUsage,
    /// Pages that were reserved, touched or not (5.7). v2: `hugetlb.SIZE.rsvd.current`; v1:
    /// `hugetlb.SIZE.rsvd.usage_in_bytes` and its like.
    pub reserved: Option<HugetlbUsage>,
}

/// Use of huge pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HugetlbUsage {
    /// Bytes in use.
    pub usage: u64,
    /// The most that there were. v2: 0.
    pub max_usage: u64,
    /// How often the limit was met. v2: `hugetlb.SIZE.events` (`max`), for both kinds.
    pub failures: u64,
}

/// Remote direct memory access: the devices with their limits, and with their use. `rdma.max`,
/// `rdma.current`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rdma {
    /// Limits; `u32::MAX` is none.
    pub limit: Vec<RdmaEntry>,
    /// Use.
    pub current: Vec<RdmaEntry>,
}

/// Resources of an RDMA device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RdmaEntry {
    /// Name of the device.
    pub device: String,
    /// `hca_handle`: handles.
    pub handles: u32,
    /// `hca_object`: objects.
    pub objects: u32,
}

/// A scalar resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Misc {
    /// How much of it is in use. `misc.current`.
    pub usage: u64,
    /// How often the limit was met. `misc.events` (`NAME.max`, 5.16).
    pub events: u64,
}

/// Pressure stall information (Documentation/accounting/psi.rst). Absent where it is not compiled in, or
/// turned off for the machine or the cgroup.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pressure {
    /// `cpu.pressure`.
    pub cpu: Option<Psi>,
    /// `memory.pressure`.
    pub memory: Option<Psi>,
    /// `io.pressure`.
    pub io: Option<Psi>,
}

/// Pressure by one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Psi {
    /// At least one task waited.
    pub some: Stall,
    /// All tasks waited.
    pub full: Stall,
}

/// How long tasks waited.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stall {
    /// Percent of the time of the last ten seconds.
    pub avg10: f64,
    /// Percent of the time of the last minute.
    pub avg60: f64,
    /// Percent of the time of the last five minutes.
    pub avg300: f64,
    /// All of it, in microseconds.
    pub total_us: u64,
}
