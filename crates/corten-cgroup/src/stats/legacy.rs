//! Where the v1 hierarchies have the numbers.

use std::collections::BTreeMap;

use super::files::{Directory, parse_number};
use super::unified::{hugetlb_sizes, misc, pids_by_controller, rdma};
use super::{Cpu, Cpuset, Hugetlb, HugetlbUsage, Io, IoEntry, Memory, MemoryUsage, Pressure, Stats};
use crate::error::Error;

/// Length of the ticks of `cpuacct.stat`: `USER_HZ` is 100 on all architectures that matter.
const TICK_NS: u64 = 10_000_000;

/// Finds the directory of a controller.
type DirectoryOf<'a, 'fd> = &'a dyn Fn(&str) -> Option<Directory<'fd>>;

pub(super) fn read(directory_of: DirectoryOf<'_, '_>) -> Result<Stats, Error> {
    Ok(Stats {
        cpu: cpu(directory_of)?,
        cpuset: optional(directory_of("cpuset"), cpuset)?,
        memory: optional(directory_of("memory"), memory)?,
        pids: optional(directory_of("pids"), pids_by_controller)?,
        io: optional(directory_of("blkio"), |cgroup| io(cgroup).map(Some))?,
        hugetlb: directory_of("hugetlb").map(|cgroup| hugetlb(&cgroup)).transpose()?.unwrap_or_default(),
        rdma: optional(directory_of("rdma"), rdma)?,
        misc: directory_of("misc").map(|cgroup| misc(&cgroup)).transpose()?.unwrap_or_default(),
        pressure: Pressure::default(),
    })
}

/// Reads a part if its controller is there.
fn optional<T>(
    cgroup: Option<Directory<'_>>,
    part: impl FnOnce(&Directory<'_>) -> Result<Option<T>, Error>,
) -> Result<Option<T>, Error> {
    cgroup.map_or(Ok(None), |cgroup| part(&cgroup))
}

/// The time is cpuacct's, the quota cpu's; often they are one hierarchy.
fn cpu(directory_of: DirectoryOf<'_, '_>) -> Result<Option<Cpu>, Error> {
    let mut cpu = Cpu::default();
    let quota = optional(directory_of("cpu"), |cgroup| cgroup.numbers("cpu.stat"))?;
    if let Some(stat) = &quota {
        let number = |key: &str| stat.get(key).copied().unwrap_or(0);
        cpu.periods = number("nr_periods");
        cpu.throttled_periods = number("nr_throttled");
        cpu.throttled_ns = number("throttled_time");
        cpu.bursts = number("nr_bursts");
        cpu.burst_ns = number("burst_time");
    }
    let accounted = optional(directory_of("cpuacct"), |cgroup| account(cgroup, &mut cpu))?;
    Ok((quota.is_some() || accounted.is_some()).then_some(cpu))
}

fn account(cgroup: &Directory<'_>, cpu: &mut Cpu) -> Result<Option<()>, Error> {
    let Some(total) = cgroup.number("cpuacct.usage")? else { return Ok(None) };
    cpu.total_ns = total;
    let ticks = cgroup.numbers("cpuacct.stat")?.unwrap_or_default();
    let time = |key: &str| ticks.get(key).copied().unwrap_or(0).saturating_mul(TICK_NS);
    (cpu.user_ns, cpu.kernel_ns) = (time("user"), time("system"));

    let file = "cpuacct.usage_percpu";
    let text = cgroup.text(file)?.unwrap_or_default();
    let numbers: Option<_> = text.split_whitespace().map(parse_number).collect();
    cpu.per_cpu_ns = numbers.ok_or_else(|| cgroup.content("numbers", file, &text))?;

    // A header, then lines `CPU USER SYSTEM`.
    let file = "cpuacct.usage_all";
    for line in cgroup.text(file)?.unwrap_or_default().lines().skip(1) {
        let mut words = line.split_whitespace().skip(1).map(parse_number);
        let (Some(Some(user)), Some(Some(kernel))) = (words.next(), words.next()) else {
            return Err(cgroup.content("the times of a processor", file, line));
        };
        cpu.per_cpu_user_ns.push(user);
        cpu.per_cpu_kernel_ns.push(kernel);
    }
    Ok(Some(()))
}

fn cpuset(cgroup: &Directory<'_>) -> Result<Option<Cpuset>, Error> {
    let Some(cpus) = list(cgroup, "cpuset.cpus")? else { return Ok(None) };
    let number = |file: &str| cgroup.number(file).map(Option::unwrap_or_default);
    let file = "cpuset.sched_relax_domain_level";
    let level = cgroup.text(file)?.unwrap_or_else(|| "0".to_owned());
    Ok(Some(Cpuset {
        cpus,
        cpu_exclusive: number("cpuset.cpu_exclusive")?,
        mems: list(cgroup, "cpuset.mems")?.unwrap_or_default(),
        mem_hardwall: number("cpuset.mem_hardwall")?,
        mem_exclusive: number("cpuset.mem_exclusive")?,
        memory_migrate: number("cpuset.memory_migrate")?,
        memory_spread_page: number("cpuset.memory_spread_page")?,
        memory_spread_slab: number("cpuset.memory_spread_slab")?,
        memory_pressure: number("cpuset.memory_pressure")?,
        sched_load_balance: number("cpuset.sched_load_balance")?,
        sched_relax_domain_level: level
            .trim()
            .parse()
            .map_err(|_| cgroup.content("a number", file, level))?,
    }))
}

/// Reads a list `0-3,7`. One that is empty, as in a cpuset that was just made, has none.
fn list(cgroup: &Directory<'_>, file: &str) -> Result<Option<Vec<u16>>, Error> {
    let Some(text) = cgroup.text(file)? else { return Ok(None) };
    let mut numbers = Vec::new();
    for range in text.trim().split(',').filter(|range| !range.is_empty()) {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        match (from.parse::<u16>(), to.parse()) {
            (Ok(from), Ok(to)) if from <= to => numbers.extend(from..=to),
            _ => return Err(cgroup.content("a list", file, text)),
        }
    }
    Ok(Some(numbers))
}

fn memory(cgroup: &Directory<'_>) -> Result<Option<Memory>, Error> {
    let Some(raw) = cgroup.numbers("memory.stat")? else { return Ok(None) };
    Ok(Some(Memory {
        cache: raw.get("cache").copied().unwrap_or(0),
        usage: memory_usage(cgroup, "memory")?.unwrap_or_default(),
        with_swap: memory_usage(cgroup, "memory.memsw")?,
        swap: None,
        kernel: memory_usage(cgroup, "memory.kmem")?,
        kernel_tcp: memory_usage(cgroup, "memory.kmem.tcp")?,
        raw,
    }))
}

fn memory_usage(cgroup: &Directory<'_>, kind: &str) -> Result<Option<MemoryUsage>, Error> {
    let number = |name: &str| cgroup.number(&format!("{kind}.{name}"));
    let Some(usage) = number("usage_in_bytes")? else { return Ok(None) };
    Ok(Some(MemoryUsage {
        usage,
        max_usage: number("max_usage_in_bytes")?.unwrap_or(0),
        failures: number("failcnt")?.unwrap_or(0),
        // Some kernels have no limit for kmem.
        limit: number("limit_in_bytes")?.unwrap_or(0),
    }))
}

fn hugetlb(cgroup: &Directory<'_>) -> Result<BTreeMap<String, Hugetlb>, Error> {
    let usage = |kind: &str| -> Result<Option<HugetlbUsage>, Error> {
        let number = |name: &str| cgroup.number(&format!("hugetlb.{kind}.{name}"));
        let Some(usage) = number("usage_in_bytes")? else { return Ok(None) };
        let (max_usage, failures) = (number("max_usage_in_bytes")?, number("failcnt")?);
        Ok(Some(HugetlbUsage { usage, max_usage: max_usage.unwrap_or(0), failures: failures.unwrap_or(0) }))
    };
    let mut found = BTreeMap::new();
    for size in hugetlb_sizes(cgroup, ".usage_in_bytes")? {
        if let Some(used) = usage(&size)? {
            let reserved = usage(&format!("{size}.rsvd"))?;
            found.insert(size, Hugetlb { used, reserved });
        }
    }
    Ok(found)
}

/// A list of [`Io`].
type IoList = fn(&mut Io) -> &mut Vec<IoEntry>;

/// Who can have counted: what their files begin and end with. The first that has anything is taken, as runc
/// does: BFQ, CFQ (up to 4.20), then throttling, which sees all that passes.
const COUNTERS: [(&str, &str); 4] = [
    ("blkio.bfq.", "_recursive"),
    ("blkio.", "_recursive"),
    ("blkio.throttle.", "_recursive"),
    ("blkio.throttle.", ""),
];

/// The files after a prefix, and where they belong.
const IO_FILES: [(&str, IoList); 8] = [
    ("io_serviced", |io| &mut io.serviced),
    ("io_service_bytes", |io| &mut io.service_bytes),
    ("io_queued", |io| &mut io.queued),
    ("io_service_time", |io| &mut io.service_time),
    ("io_wait_time", |io| &mut io.wait_time),
    ("io_merged", |io| &mut io.merged),
    ("time", |io| &mut io.time),
    ("sectors", |io| &mut io.sectors),
];

fn io(cgroup: &Directory<'_>) -> Result<Io, Error> {
    for (prefix, suffix) in COUNTERS {
        let mut io = Io::default();
        for (name, list) in IO_FILES {
            *list(&mut io) = io_entries(cgroup, &format!("{prefix}{name}{suffix}"))?;
        }
        if io != Io::default() {
            return Ok(io);
        }
    }
    Ok(Io::default())
}

/// Reads lines `MAJOR:MINOR [OPERATION] NUMBER`, and leaves out the last, `Total NUMBER`.
fn io_entries(cgroup: &Directory<'_>, file: &str) -> Result<Vec<IoEntry>, Error> {
    let text = cgroup.text(file)?.unwrap_or_default();
    let entry = |line: &str| {
        let words: Vec<_> = line.split([' ', ':']).collect();
        let (major, minor, operation, value) = match *words {
            [major, minor, operation, value] => (major, minor, operation, value),
            [major, minor, value] => (major, minor, "", value),
            _ => return None,
        };
        let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
        Some(IoEntry { major, minor, operation: operation.to_owned(), value: parse_number(value)? })
    };
    let lines = text.lines().filter(|line| !line.starts_with("Total "));
    lines
        .map(|line| entry(line).ok_or_else(|| cgroup.content("the number of a device", file, line)))
        .collect()
}
