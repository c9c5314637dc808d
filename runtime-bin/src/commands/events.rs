//! `corten events`: what a container uses, and when its memory is used up, one JSON object a line.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libcorten::ErrorKind;
use libcorten::stats::{Cpuset, Hugetlb, IoEntry, MemoryUsage, Occurrence, Psi, Stall, Stats};
use serde::{Serialize, Serializer};

use super::runtime;
use crate::arguments::{Events, Global};
use crate::log::Log;
use crate::{Failure, Outcome, output};

pub(crate) fn run(global: &Global, log: &Log, options: &Events) -> Outcome {
    let id = &options.id;
    let wrong =
        |reason| Failure::new(format!("invalid value {:?} for flag -interval: {reason}", options.interval));
    let interval = parse_duration(&options.interval).map_err(wrong)?;
    let container = runtime(global)?.load(id)?;
    let interval = interval.filter(|interval| !interval.is_zero());
    let interval = interval.ok_or_else(|| Failure::new("duration interval must be greater than 0"))?;
    let not_running = |error: libcorten::Error| match error.kind() {
        ErrorKind::WrongState => Failure::new(format!("container with id {id} is not running")),
        _ => error.into(),
    };
    if options.stats {
        let is_read = print(&Event::stats(id, &container.stats().map_err(not_running)?))?;
        return Ok(u8::from(!is_read));
    }
    let mut events = container.events().map_err(not_running)?;
    let mut tick = Instant::now() + interval;
    loop {
        let is_read = match events.next(tick.saturating_duration_since(Instant::now()))? {
            Some(Occurrence::OutOfMemory) => print(&Event { kind: "oom", id, data: None })?,
            Some(Occurrence::Ended) => return Ok(0),
            None => {
                tick = (tick + interval).max(Instant::now());
                match events.stats() {
                    Ok(stats) => print(&Event::stats(id, &stats))?,
                    // As runc: told, and no reason to end.
                    Err(error) => {
                        log.warn(&error.chain());
                        true
                    }
                }
            }
        };
        if !is_read {
            return Ok(1);
        }
    }
}

/// Prints an event; returns whether somebody reads.
fn print(event: &Event<'_>) -> Result<bool, Failure> {
    let mut line = serde_json::to_vec(event).map_err(|error| Failure::new(format!("events: {error}")))?;
    line.push(b'\n');
    output::write(&line)
}

/// Reads a duration of Go: numbers with units, `1m30s`, `1.5h`, with a sign before all of them. One below
/// zero is `None`. The error is in Go's words.
fn parse_duration(text: &str) -> Result<Option<Duration>, String> {
    const UNITS: [(&str, u64); 8] = [
        ("ns", 1),
        ("us", 1000),
        ("\u{b5}s", 1000),
        ("\u{3bc}s", 1000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let invalid = || format!("time: invalid duration {text:?}");
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut rest = unsigned;
    let mut total: u64 = 0;
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() && unsigned != "0" {
        let end = rest
            .find(|character: char| !character.is_ascii_digit() && character != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let end = after
            .find(|character: char| character.is_ascii_digit() || character == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        if unit.is_empty() || fraction.contains('.') {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let known = UNITS.iter().find(|(name, _)| *name == unit);
        let (_, scale) = known.ok_or_else(|| format!("time: unknown unit {unit:?} in duration {text:?}"))?;
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        let part = whole.checked_mul(*scale).and_then(|part| part.checked_add(part_of(fraction, *scale)));
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(invalid)?;
        rest = after;
    }
    // Go's durations are signed.
    let total = i64::try_from(total).map_err(|_| invalid())?;
    Ok((!text.starts_with('-') || total == 0).then_some(Duration::from_nanos(total.cast_unsigned())))
}

/// Returns a fraction, the digits after the point, of a unit; what is smaller than a nanosecond is cut off.
fn part_of(fraction: &str, unit: u64) -> u64 {
    let mut place = unit;
    let digits = fraction.bytes().map(|digit| {
        place /= 10;
        u64::from(digit - b'0') * place
    });
    digits.sum()
}

/// Whether a field is left out, as Go does with `omitempty` and `omitzero`.
fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Go writes a whole number without a fraction.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn as_go<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    match value.to_string().parse::<u64>() {
        Ok(whole) => serializer.serialize_u64(whole),
        Err(_) => serializer.serialize_f64(*value),
    }
}

// runc's documents: names and order of the keys, and which are left out.

#[derive(Debug, Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'a>>,
}

#[derive(Debug, Serialize)]
struct Data<'a> {
    cpu: Cpu<'a>,
    cpuset: CpusetData<'a>,
    memory: Memory<'a>,
    pids: Pids,
    blkio: Blkio<'a>,
    hugetlb: BTreeMap<&'a str, HugetlbData>,
    /// What runc knows of a container without limits by resctrl.
    intel_rdt: BTreeMap<String, String>,
    /// The spec configures none, so that runc knows of none.
    network_interfaces: (),
}

#[derive(Debug, Serialize)]
struct Cpu<'a> {
    #[serde(skip_serializing_if = "is_zero")]
    usage: CpuUsage<'a>,
    #[serde(skip_serializing_if = "is_zero")]
    throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<PsiData>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct CpuUsage<'a> {
    #[serde(skip_serializing_if = "is_zero")]
    total: u64,
    #[serde(skip_serializing_if = "is_zero")]
    percpu: &'a [u64],
    #[serde(skip_serializing_if = "is_zero")]
    percpu_kernel: &'a [u64],
    #[serde(skip_serializing_if = "is_zero")]
    percpu_user: &'a [u64],
    kernel: u64,
    user: u64,
}

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Throttling {
    #[serde(skip_serializing_if = "is_zero")]
    periods: u64,
    #[serde(skip_serializing_if = "is_zero")]
    throttled_periods: u64,
    #[serde(skip_serializing_if = "is_zero")]
    throttled_time: u64,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct PsiData {
    some: StallData,
    full: StallData,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct StallData {
    #[serde(serialize_with = "as_go")]
    avg10: f64,
    #[serde(serialize_with = "as_go")]
    avg60: f64,
    #[serde(serialize_with = "as_go")]
    avg300: f64,
    total: u64,
}

#[derive(Debug, Default, Serialize)]
struct CpusetData<'a> {
    #[serde(skip_serializing_if = "is_zero")]
    cpus: &'a [u16],
    cpu_exclusive: u64,
    #[serde(skip_serializing_if = "is_zero")]
    mems: &'a [u16],
    mem_hardwall: u64,
    mem_exclusive: u64,
    memory_migrate: u64,
    memory_spread_page: u64,
    memory_spread_slab: u64,
    memory_pressure: u64,
    sched_load_balance: u64,
    sched_relax_domain_level: i64,
}

#[derive(Debug, Default, Serialize)]
struct Memory<'a> {
    #[serde(skip_serializing_if = "is_zero")]
    cache: u64,
    #[serde(skip_serializing_if = "is_zero")]
    usage: MemoryData,
    #[serde(skip_serializing_if = "is_zero")]
    swap: MemoryData,
    #[serde(skip_serializing_if = "is_zero")]
    kernel: MemoryData,
    #[serde(rename = "kernelTCP", skip_serializing_if = "is_zero")]
    kernel_tcp: MemoryData,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<&'a BTreeMap<String, u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<PsiData>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct MemoryData {
    limit: u64,
    #[serde(skip_serializing_if = "is_zero")]
    usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    max: u64,
    failcnt: u64,
}

#[derive(Debug, Default, Serialize)]
struct Pids {
    #[serde(skip_serializing_if = "is_zero")]
    current: u64,
    #[serde(skip_serializing_if = "is_zero")]
    limit: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Blkio<'a> {
    #[serde(skip_serializing_if = "is_zero")]
    io_service_bytes_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    io_serviced_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    io_queue_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    io_service_time_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    io_wait_time_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    io_merged_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    io_time_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    sectors_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<PsiData>,
}

#[derive(Debug, PartialEq, Serialize)]
struct BlkioEntry<'a> {
    #[serde(skip_serializing_if = "is_zero")]
    major: u64,
    #[serde(skip_serializing_if = "is_zero")]
    minor: u64,
    #[serde(skip_serializing_if = "is_zero")]
    op: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    value: u64,
}

#[derive(Debug, Serialize)]
struct HugetlbData {
    #[serde(skip_serializing_if = "is_zero")]
    usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    max: u64,
    failcnt: u64,
}

impl<'a> Event<'a> {
    fn stats(id: &'a str, stats: &'a Stats) -> Self {
        Self { kind: "stats", id, data: Some(Data::of(stats)) }
    }
}

impl<'a> Data<'a> {
    fn of(stats: &'a Stats) -> Self {
        let psi = |psi: Option<Psi>| psi.map(PsiData::from);
        Self {
            cpu: Cpu { psi: psi(stats.pressure.cpu), ..Cpu::of(stats) },
            cpuset: stats.cpuset.as_ref().map(CpusetData::of).unwrap_or_default(),
            memory: Memory { psi: psi(stats.pressure.memory), ..Memory::of(stats) },
            pids: stats.pids.map(Pids::from).unwrap_or_default(),
            blkio: Blkio { psi: psi(stats.pressure.io), ..Blkio::of(stats) },
            hugetlb: stats
                .hugetlb
                .iter()
                .map(|(size, pages)| (size.as_str(), HugetlbData::from(pages)))
                .collect(),
            intel_rdt: BTreeMap::new(),
            network_interfaces: (),
        }
    }
}

impl<'a> Cpu<'a> {
    fn of(stats: &'a Stats) -> Self {
        let Some(cpu) = &stats.cpu else {
            return Self { usage: CpuUsage::default(), throttling: Throttling::default(), psi: None };
        };
        let usage = CpuUsage {
            total: cpu.total_ns,
            percpu: &cpu.per_cpu_ns,
            percpu_kernel: &cpu.per_cpu_kernel_ns,
            percpu_user: &cpu.per_cpu_user_ns,
            kernel: cpu.kernel_ns,
            user: cpu.user_ns,
        };
        let throttling = Throttling {
            periods: cpu.periods,
            throttled_periods: cpu.throttled_periods,
            throttled_time: cpu.throttled_ns,
        };
        Self { usage, throttling, psi: None }
    }
}

impl<'a> CpusetData<'a> {
    fn of(cpuset: &'a Cpuset) -> Self {
        Self {
            cpus: &cpuset.cpus,
            cpu_exclusive: cpuset.cpu_exclusive,
            mems: &cpuset.mems,
            mem_hardwall: cpuset.mem_hardwall,
            mem_exclusive: cpuset.mem_exclusive,
            memory_migrate: cpuset.memory_migrate,
            memory_spread_page: cpuset.memory_spread_page,
            memory_spread_slab: cpuset.memory_spread_slab,
            memory_pressure: cpuset.memory_pressure,
            sched_load_balance: cpuset.sched_load_balance,
            sched_relax_domain_level: cpuset.sched_relax_domain_level,
        }
    }
}

impl<'a> Memory<'a> {
    fn of(stats: &'a Stats) -> Self {
        let Some(memory) = &stats.memory else { return Self::default() };
        let data = |usage: Option<MemoryUsage>| usage.map(MemoryData::from).unwrap_or_default();
        Self {
            cache: memory.cache,
            usage: memory.usage.into(),
            swap: data(memory.with_swap),
            kernel: data(memory.kernel),
            kernel_tcp: data(memory.kernel_tcp),
            raw: Some(&memory.raw),
            psi: None,
        }
    }
}

impl<'a> Blkio<'a> {
    fn of(stats: &'a Stats) -> Self {
        let io = stats.io.as_ref();
        let list = |list: fn(&libcorten::stats::Io) -> &Vec<IoEntry>| {
            let entries = io.map(|io| list(io).as_slice()).unwrap_or_default();
            entries.iter().map(BlkioEntry::of).collect()
        };
        Self {
            io_service_bytes_recursive: list(|io| &io.service_bytes),
            io_serviced_recursive: list(|io| &io.serviced),
            io_queue_recursive: list(|io| &io.queued),
            io_service_time_recursive: list(|io| &io.service_time),
            io_wait_time_recursive: list(|io| &io.wait_time),
            io_merged_recursive: list(|io| &io.merged),
            io_time_recursive: list(|io| &io.time),
            sectors_recursive: list(|io| &io.sectors),
            psi: None,
        }
    }
}

impl<'a> BlkioEntry<'a> {
    fn of(entry: &'a IoEntry) -> Self {
        Self { major: entry.major, minor: entry.minor, op: &entry.operation, value: entry.value }
    }
}

impl From<Psi> for PsiData {
    fn from(psi: Psi) -> Self {
        let stall = |stall: Stall| StallData {
            avg10: stall.avg10,
            avg60: stall.avg60,
            avg300: stall.avg300,
            total: stall.total_us,
        };
        Self { some: stall(psi.some), full: stall(psi.full) }
    }
}

impl From<MemoryUsage> for MemoryData {
    fn from(usage: MemoryUsage) -> Self {
        Self { limit: usage.limit, usage: usage.usage, max: usage.max_usage, failcnt: usage.failures }
    }
}

impl From<libcorten::stats::Pids> for Pids {
    fn from(pids: libcorten::stats::Pids) -> Self {
        // runc's way to say that there is no limit.
        Self { current: pids.current, limit: if pids.limit == u64::MAX { 0 } else { pids.limit } }
    }
}

impl From<&Hugetlb> for HugetlbData {
    fn from(pages: &Hugetlb) -> Self {
        let counted = pages.reserved.unwrap_or(pages.used);
        Self { usage: counted.usage, max: counted.max_usage, failcnt: counted.failures }
    }
}

#[cfg(test)]
mod tests {
    use libcorten::stats;

    use super::*;

    #[test]
    fn durations_are_gos() {
        let ns = |ns| Ok(Some(Duration::from_nanos(ns)));
        for (text, expected) in [
            ("5s", ns(5_000_000_000)),
            ("1m30s", ns(90_000_000_000)),
            ("500ms", ns(500_000_000)),
            ("1.5h", ns(5_400_000_000_000)),
            ("+.5s", ns(500_000_000)),
            ("1.s", ns(1_000_000_000)),
            ("7\u{b5}s3us2ns", ns(10_002)),
            ("1.0000000009s", ns(1_000_000_000)),
            ("0", ns(0)),
            ("-0", ns(0)),
            ("0s", ns(0)),
            ("2562047h47m16.854775807s", ns(i64::MAX as u64)),
            ("-5s", Ok(None)),
        ] {
            assert_eq!(parse_duration(text), expected, "{text:?}");
        }
        for text in [
            "",
            "-",
            "abc",
            ".",
            ".s",
            "s",
            "1s2",
            "5",
            "1.2.3s",
            "3x",
            "5S",
            "1s ",
            "9223372037s",
            "99999999999999999999s",
            "\u{e4}",
        ] {
            let error = parse_duration(text).unwrap_err();
            assert!(
                error.starts_with("time: ") && error.contains(&format!("duration {text:?}")),
                "{text:?}: {error}"
            );
        }
        assert_eq!(parse_duration("5").unwrap_err(), "time: missing unit in duration \"5\"");
        assert_eq!(parse_duration("5x").unwrap_err(), "time: unknown unit \"x\" in duration \"5x\"");
        assert_eq!(parse_duration("abc").unwrap_err(), "time: invalid duration \"abc\"");
    }

    proptest::proptest! {
        #[test]
        fn no_duration_is_too_strange(text in "[+-]?([0-9]{0,22}[.]?[0-9]{0,22}(ns|us|ms|s|m|h|\\PC)?){0,4}") {
            if let Err(error) = parse_duration(&text) {
                assert!(error.starts_with("time: "), "{error}");
            }
        }
    }

    /// The keys, their order and what is left out, as in types/events.go of runc 1.5.
    #[test]
    fn documents_are_runcs() {
        let line = |event: &Event<'_>| serde_json::to_string(event).unwrap();
        assert_eq!(line(&Event { kind: "oom", id: "a", data: None }), r#"{"type":"oom","id":"a"}"#);

        let cpuset = r#""cpu_exclusive":0,CPU"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"memory_spread_page":0,"memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":0}"#;
        let nothing = r#"{"type":"stats","id":"a","data":{"cpu":{},"cpuset":{CPUSET,"memory":{},"pids":{},"blkio":{},"hugetlb":{},"intel_rdt":{},"network_interfaces":null}}"#;
        let nothing = nothing.replace("CPUSET", &cpuset.replace("CPU", ""));
        assert_eq!(line(&Event::stats("a", &Stats::default())), nothing);

        let mut stats = Stats::default();
        let per_cpu = |ns| vec![ns, 0];
        stats.cpu = Some(stats::Cpu {
            total_ns: 1,
            user_ns: 2,
            kernel_ns: 3,
            per_cpu_ns: per_cpu(4),
            per_cpu_kernel_ns: per_cpu(5),
            per_cpu_user_ns: per_cpu(6),
            periods: 7,
            throttled_periods: 8,
            throttled_ns: 9,
            bursts: 10,
            burst_ns: 11,
        });
        stats.cpuset = Some(Cpuset { cpus: vec![0, 1], mems: vec![2], ..Cpuset::default() });
        let usage =
            |limit| MemoryUsage { usage: limit + 1, max_usage: limit + 2, failures: limit + 3, limit };
        stats.memory = Some(stats::Memory {
            cache: 12,
            usage: usage(20),
            with_swap: Some(MemoryUsage { limit: u64::MAX, ..MemoryUsage::default() }),
            swap: Some(usage(30)),
            kernel: Some(usage(40)),
            kernel_tcp: Some(usage(50)),
            raw: BTreeMap::from([("file".to_owned(), 0), ("anon".to_owned(), 13)]),
        });
        stats.pids = Some(stats::Pids { current: 14, limit: u64::MAX });
        let entry =
            |operation: &str, value| IoEntry { major: 8, minor: 0, operation: operation.to_owned(), value };
        stats.io = Some(stats::Io {
            service_bytes: vec![entry("Read", 0), entry("Write", 1)],
            serviced: vec![entry("", 2)],
            queued: vec![entry("", 3)],
            service_time: vec![entry("", 4)],
            wait_time: vec![entry("", 5)],
            merged: vec![entry("", 6)],
            time: vec![entry("", 7)],
            sectors: vec![entry("", 8)],
        });
        let pages = |usage| stats::HugetlbUsage { usage, max_usage: 15, failures: 16 };
        let of_size = |reserved| Hugetlb { used: pages(17), reserved };
        stats.hugetlb = [("2MB", Some(pages(0))), ("1GB", None)]
            .map(|(size, reserved)| (size.to_owned(), of_size(reserved)))
            .into();
        let stall = Stall { avg10: 0.0, avg60: 1.5, avg300: 100.0, total_us: 18 };
        let psi = Some(Psi { some: stall, full: Stall::default() });
        stats.pressure = stats::Pressure { cpu: psi, memory: psi, io: psi };
        let expected = [
            r#"{"type":"stats","id":"a","data":{"cpu":{"usage":{"total":1,"percpu":[4,0],"percpu_kernel":[5,0],"percpu_user":[6,0],"kernel":3,"user":2},"#,
            r#""throttling":{"periods":7,"throttledPeriods":8,"throttledTime":9},"psi":PSI},"#,
            r#""cpuset":{"cpus":[0,1],CPUSET,"#,
            r#""memory":{"cache":12,"usage":{"limit":20,"usage":21,"max":22,"failcnt":23},"swap":{"limit":18446744073709551615,"failcnt":0},"#,
            r#""kernel":{"limit":40,"usage":41,"max":42,"failcnt":43},"kernelTCP":{"limit":50,"usage":51,"max":52,"failcnt":53},"raw":{"anon":13,"file":0},"psi":PSI},"#,
            r#""pids":{"current":14},"#,
            r#""blkio":{"ioServiceBytesRecursive":[{"major":8,"op":"Read"},{"major":8,"op":"Write","value":1}],"#,
            r#""ioServicedRecursive":[{"major":8,"value":2}],"ioQueueRecursive":[{"major":8,"value":3}],"#,
            r#""ioServiceTimeRecursive":[{"major":8,"value":4}],"ioWaitTimeRecursive":[{"major":8,"value":5}],"#,
            r#""ioMergedRecursive":[{"major":8,"value":6}],"ioTimeRecursive":[{"major":8,"value":7}],"#,
            r#""sectorsRecursive":[{"major":8,"value":8}],"psi":PSI},"#,
            r#""hugetlb":{"1GB":{"usage":17,"max":15,"failcnt":16},"2MB":{"max":15,"failcnt":16}},"intel_rdt":{},"network_interfaces":null}}"#,
        ];
        let psi = r#"{"some":{"avg10":0,"avg60":1.5,"avg300":100,"total":18},"full":{"avg10":0,"avg60":0,"avg300":0,"total":0}}"#;
        let expected =
            expected.concat().replace("CPUSET", &cpuset.replace("CPU", r#""mems":[2],"#)).replace("PSI", psi);
        assert_eq!(line(&Event::stats("a", &stats)), expected);
    }
}
