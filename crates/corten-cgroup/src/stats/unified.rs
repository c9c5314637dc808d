//! Where cgroup2 has the numbers.

use std::collections::BTreeMap;
use std::path::Path;

use nix::dir::Dir;
use nix::fcntl::OFlag;

use super::files::{Directory, is_absence, number_of, parse_number};
use super::{
    Cpu, Hugetlb, HugetlbUsage, Io, IoEntry, Memory, MemoryUsage, Misc, Pids, Pressure, Psi, Rdma, RdmaEntry,
    Stall, Stats,
};
use crate::error::{Error, failed};
use crate::sys;

pub(super) fn read(cgroup: &Directory<'_>) -> Result<Stats, Error> {
    Ok(Stats {
        cpu: cpu(cgroup)?,
        cpuset: None,
        memory: memory(cgroup)?,
        pids: pids(cgroup)?,
        io: io(cgroup)?,
        hugetlb: hugetlb(cgroup)?,
        rdma: rdma(cgroup)?,
        misc: misc(cgroup)?,
        pressure: Pressure {
            cpu: pressure(cgroup, "cpu.pressure")?,
            memory: pressure(cgroup, "memory.pressure")?,
            io: pressure(cgroup, "io.pressure")?,
        },
    })
}

fn cpu(cgroup: &Directory<'_>) -> Result<Option<Cpu>, Error> {
    let Some(stat) = cgroup.numbers("cpu.stat")? else { return Ok(None) };
    let number = |key: &str| stat.get(key).copied().unwrap_or(0);
    let microseconds = |key: &str| number(key).saturating_mul(1000);
    Ok(Some(Cpu {
        total_ns: microseconds("usage_usec"),
        user_ns: microseconds("user_usec"),
        kernel_ns: microseconds("system_usec"),
        periods: number("nr_periods"),
        throttled_periods: number("nr_throttled"),
        throttled_ns: microseconds("throttled_usec"),
        bursts: number("nr_bursts"),
        burst_ns: microseconds("burst_usec"),
        ..Cpu::default()
    }))
}

fn memory(cgroup: &Directory<'_>) -> Result<Option<Memory>, Error> {
    let Some(raw) = cgroup.numbers("memory.stat")? else { return Ok(None) };
    // The root of the hierarchy has none of these.
    let usage =
        memory_usage(cgroup, "memory")?.unwrap_or(MemoryUsage { limit: u64::MAX, ..MemoryUsage::default() });
    let swap = memory_usage(cgroup, "memory.swap")?;
    let swapped = swap.unwrap_or_default();
    let with_swap = MemoryUsage {
        usage: usage.usage.saturating_add(swapped.usage),
        limit: usage.limit.saturating_add(swapped.limit),
        ..MemoryUsage::default()
    };
    let cache = raw.get("file").copied().unwrap_or(0);
    Ok(Some(Memory { cache, usage, with_swap: Some(with_swap), swap, kernel: None, kernel_tcp: None, raw }))
}

fn memory_usage(cgroup: &Directory<'_>, kind: &str) -> Result<Option<MemoryUsage>, Error> {
    let Some(usage) = cgroup.number(&format!("{kind}.current"))? else { return Ok(None) };
    let max_usage = cgroup.number(&format!("{kind}.peak"))?.unwrap_or(0);
    let limit = cgroup.number(&format!("{kind}.max"))?.unwrap_or(u64::MAX);
    Ok(Some(MemoryUsage { usage, max_usage, failures: 0, limit }))
}

fn pids(cgroup: &Directory<'_>) -> Result<Option<Pids>, Error> {
    if let Some(pids) = pids_by_controller(cgroup)? {
        return Ok(Some(pids));
    }
    for file in ["cgroup.procs", "cgroup.threads"] {
        // A threaded cgroup does not list its processes.
        if let Some(text) = cgroup.text(file)? {
            return Ok(Some(Pids { current: text.lines().count() as u64, limit: u64::MAX }));
        }
    }
    Ok(None)
}

/// v1 has these files, too.
pub(super) fn pids_by_controller(cgroup: &Directory<'_>) -> Result<Option<Pids>, Error> {
    let Some(current) = cgroup.number("pids.current")? else { return Ok(None) };
    Ok(Some(Pids { current, limit: cgroup.number("pids.max")?.unwrap_or(u64::MAX) }))
}

fn io(cgroup: &Directory<'_>) -> Result<Option<Io>, Error> {
    let file = "io.stat";
    let Some(text) = cgroup.text(file)? else { return Ok(None) };
    let mut io = Io::default();
    for line in text.lines() {
        let mut device = None;
        for word in line.split_whitespace() {
            let Some((key, value)) = word.split_once('=') else {
                // Some kernels write the next device on the line of one that has no numbers.
                device = word
                    .split_once(':')
                    .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
                continue;
            };
            let (list, operation) = match key {
                "rbytes" => (&mut io.service_bytes, "Read"),
                "wbytes" => (&mut io.service_bytes, "Write"),
                "rios" => (&mut io.serviced, "Read"),
                "wios" => (&mut io.serviced, "Write"),
                _ => continue,
            };
            let (Some((major, minor)), Some(value)) = (device, parse_number(value)) else {
                return Err(cgroup.content("the numbers of a device", file, line));
            };
            list.push(IoEntry { major, minor, operation: operation.to_owned(), value });
        }
    }
    Ok(Some(io))
}

/// Returns the sizes of huge pages that a cgroup has files for: those of `hugetlb.SIZE.` and an ending.
pub(super) fn hugetlb_sizes(cgroup: &Directory<'_>, ending: &str) -> Result<Vec<String>, Error> {
    let call = |errno| failed(errno, || format!("readdir({:?})", cgroup.path_of("")));
    let directory = match sys::open_below(&cgroup.fd(), Path::new("."), OFlag::O_RDONLY | OFlag::O_DIRECTORY)
    {
        Ok(directory) => directory,
        Err(errno) if is_absence(errno) => return Ok(Vec::new()),
        Err(errno) => return Err(call(errno)),
    };
    let mut sizes = Vec::new();
    for entry in Dir::from_fd(directory).map_err(call)?.iter() {
        let entry = entry.map_err(call)?;
        let name = entry.file_name().to_string_lossy();
        let size = name.strip_prefix("hugetlb.").and_then(|name| name.strip_suffix(ending));
        if let Some(size) = size.filter(|size| !size.contains('.')) {
            sizes.push(size.to_owned());
        }
    }
    Ok(sizes)
}

fn hugetlb(cgroup: &Directory<'_>) -> Result<BTreeMap<String, Hugetlb>, Error> {
    let mut found = BTreeMap::new();
    for size in hugetlb_sizes(cgroup, ".current")? {
        let Some(usage) = cgroup.number(&format!("hugetlb.{size}.current"))? else { continue };
        let events = cgroup.text(&format!("hugetlb.{size}.events"))?;
        let failures = events.map_or(0, |events| number_of(&events, "max"));
        let used = HugetlbUsage { usage, max_usage: 0, failures };
        let reserved = cgroup.number(&format!("hugetlb.{size}.rsvd.current"))?;
        let reserved = reserved.map(|usage| HugetlbUsage { usage, ..used });
        found.insert(size, Hugetlb { used, reserved });
    }
    Ok(found)
}

/// v1 has these files, too.
pub(super) fn rdma(cgroup: &Directory<'_>) -> Result<Option<Rdma>, Error> {
    let (Some(limit), Some(current)) =
        (rdma_entries(cgroup, "rdma.max")?, rdma_entries(cgroup, "rdma.current")?)
    else {
        return Ok(None);
    };
    Ok(Some(Rdma { limit, current }))
}

/// Reads lines `DEVICE hca_handle=NUMBER hca_object=NUMBER`.
fn rdma_entries(cgroup: &Directory<'_>, file: &str) -> Result<Option<Vec<RdmaEntry>>, Error> {
    let Some(text) = cgroup.text(file)? else { return Ok(None) };
    let mut entries = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let mut entry =
            RdmaEntry { device: words.next().unwrap_or_default().to_owned(), ..RdmaEntry::default() };
        for word in words {
            let number = |text| parse_number(text).map(|number| u32::try_from(number).unwrap_or(u32::MAX));
            let read = match word.split_once('=') {
                Some(("hca_handle", value)) => number(value).map(|number| entry.handles = number),
                Some(("hca_object", value)) => number(value).map(|number| entry.objects = number),
                _ => Some(()),
            };
            read.ok_or_else(|| cgroup.content("the numbers of a device", file, line))?;
        }
        entries.push(entry);
    }
    Ok(Some(entries))
}

/// v1 has these files, too.
pub(super) fn misc(cgroup: &Directory<'_>) -> Result<BTreeMap<String, Misc>, Error> {
    let current = cgroup.numbers("misc.current")?.unwrap_or_default();
    let events = cgroup.numbers("misc.events")?.unwrap_or_default();
    let event = |name: &str| events.get(&format!("{name}.max")).copied().unwrap_or(0);
    Ok(current
        .into_iter()
        .map(|(name, usage)| (name.clone(), Misc { usage, events: event(&name) }))
        .collect())
}

/// Reads `some avg10=0.00 avg60=0.00 avg300=0.00 total=0` and `full …`.
fn pressure(cgroup: &Directory<'_>, file: &str) -> Result<Option<Psi>, Error> {
    let Some(text) = cgroup.text(file)? else { return Ok(None) };
    let mut psi = Psi::default();
    for line in text.lines() {
        let (kind, numbers) = line.split_once(' ').unwrap_or((line, ""));
        let stall = match kind {
            "some" => &mut psi.some,
            "full" => &mut psi.full,
            _ => continue,
        };
        *stall = parse_stall(numbers).ok_or_else(|| cgroup.content("averages", file, line))?;
    }
    Ok(Some(psi))
}

fn parse_stall(numbers: &str) -> Option<Stall> {
    let mut stall = Stall::default();
    for word in numbers.split_whitespace() {
        let (key, value) = word.split_once('=')?;
        match key {
            "avg10" => stall.avg10 = value.parse().ok()?,
            "avg60" => stall.avg60 = value.parse().ok()?,
            "avg300" => stall.avg300 = value.parse().ok()?,
            "total" => stall.total_us = value.parse().ok()?,
            _ => {}
        }
    }
    Some(stall)
}
