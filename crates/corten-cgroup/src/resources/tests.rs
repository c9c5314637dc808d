//! What becomes of each field, in each column of the table, so that they do not drift apart.

use super::*;

const MIB: i64 = 1 << 20;

/// Every field is set.
fn everything() -> Resources {
    let device = |rate| vec![ThrottleDevice { major: 8, minor: 16, rate }];
    Resources {
        cpu: Cpu {
            shares: Some(512),
            quota: Some(50_000),
            period: Some(200_000),
            burst: Some(10_000),
            idle: Some(0),
            realtime_runtime: Some(900),
            realtime_period: Some(1000),
            cpus: "0-1".to_owned(),
            mems: "0".to_owned(),
        },
        memory: Memory {
            limit: Some(64 * MIB),
            reservation: Some(32 * MIB),
            swap: Some(96 * MIB),
            swappiness: Some(30),
            disable_oom_killer: true,
            check_before_update: true,
        },
        pids: Some(100),
        io: Io {
            weight: Some(500),
            leaf_weight: Some(300),
            weight_device: vec![WeightDevice {
                major: 8,
                minor: 0,
                weight: Some(200),
                leaf_weight: Some(400),
            }],
            throttle_read_bps: device(1),
            throttle_write_bps: device(2),
            throttle_read_iops: device(3),
            throttle_write_iops: device(4),
        },
        huge_pages: vec![HugePages { page_size: "2MB".to_owned(), limit: 4 << 20 }],
        rdma: BTreeMap::from([("mlx5".to_owned(), Rdma { handles: Some(3), objects: Some(10_000) })]),
        network: Network { class_id: Some(0x10_0001), priorities: vec![("eth0".to_owned(), 5)] },
        unified: BTreeMap::from([("misc.max".to_owned(), "sev 1".to_owned())]),
    }
}

fn controllers(names: &str) -> LegacyControllers {
    names.split(' ').filter(|name| !name.is_empty()).collect()
}

/// All that v1 has.
fn legacy() -> LegacyControllers {
    controllers(
        "blkio cpu cpuacct cpuset devices freezer hugetlb memory net_cls net_prio perf_event pids rdma",
    )
}

/// A setting in one line: its field, the v1 hierarchy if it is in one, the file with its value, and what else
/// is to be known.
fn line(setting: &Setting) -> String {
    let place = match setting.place {
        Place::Unified => String::new(),
        Place::Legacy(controller) => format!("{controller}/"),
    };
    let missing = match &setting.if_missing {
        setting::IfMissing::Fail => String::new(),
        setting::IfMissing::Skip => ", if it is there".to_owned(),
        setting::IfMissing::Instead(other) => format!(", or {other}"),
    };
    let exact = if setting.exact { ", exactly" } else { "" };
    format!("{}: {place}{setting}{missing}{exact}", setting.field)
}

fn settings(resources: &Resources, legacy: &LegacyControllers) -> Vec<String> {
    resources.settings(legacy).unwrap().iter().map(line).collect()
}

fn properties(resources: &Resources, legacy: &LegacyControllers) -> Vec<String> {
    resources.properties(legacy).unwrap().iter().map(ToString::to_string).collect()
}

const V2_PIDS_AND_MEMORY: [&str; 4] = [
    "pids.limit: pids.max = 100",
    "memory.swap: memory.swap.max = 33554432",
    "memory.limit: memory.max = 67108864",
    "memory.reservation: memory.low = 33554432",
];
const V2_IO: [&str; 6] = [
    "blockIO.weight: io.bfq.weight = 500, or io.weight = 4950",
    "blockIO.weightDevice[0]: io.bfq.weight = 8:0 200, or io.weight = 8:0 1920",
    "blockIO.throttleReadBpsDevice[0]: io.max = 8:16 rbps=1",
    "blockIO.throttleWriteBpsDevice[0]: io.max = 8:16 wbps=2",
    "blockIO.throttleReadIOPSDevice[0]: io.max = 8:16 riops=3",
    "blockIO.throttleWriteIOPSDevice[0]: io.max = 8:16 wiops=4",
];
const V2_CPU: [&str; 6] = [
    "cpu.idle: cpu.idle = 0",
    "cpu.shares: cpu.weight = 59",
    "cpu.burst: cpu.max.burst = 10000",
    "cpu.quota: cpu.max = 50000 200000",
    "cpu.cpus: cpuset.cpus = 0-1",
    "cpu.mems: cpuset.mems = 0",
];
const V2_OTHERS: [&str; 4] = [
    "hugepageLimits[0]: hugetlb.2MB.max = 4194304",
    "hugepageLimits[0]: hugetlb.2MB.rsvd.max = 4194304, if it is there",
    "rdma[\"mlx5\"]: rdma.max = mlx5 hca_handle=3 hca_object=10000",
    "unified[\"misc.max\"]: misc.max = sev 1",
];
const V1_PIDS_AND_MEMORY: [&str; 6] = [
    "pids.limit: pids/pids.max = 100",
    "memory.swap: memory/memory.memsw.limit_in_bytes = 100663296",
    "memory.limit: memory/memory.limit_in_bytes = 67108864",
    "memory.reservation: memory/memory.soft_limit_in_bytes = 33554432",
    "memory.disableOOMKiller: memory/memory.oom_control = 1",
    "memory.swappiness: memory/memory.swappiness = 30",
];
const V1_IO: [&str; 8] = [
    "blockIO.weight: blkio/blkio.weight = 500, or blkio.bfq.weight = 500",
    "blockIO.leafWeight: blkio/blkio.leaf_weight = 300",
    "blockIO.weightDevice[0]: blkio/blkio.weight_device = 8:0 200, or blkio.bfq.weight_device = 8:0 200",
    "blockIO.weightDevice[0]: blkio/blkio.leaf_weight_device = 8:0 400",
    "blockIO.throttleReadBpsDevice[0]: blkio/blkio.throttle.read_bps_device = 8:16 1",
    "blockIO.throttleWriteBpsDevice[0]: blkio/blkio.throttle.write_bps_device = 8:16 2",
    "blockIO.throttleReadIOPSDevice[0]: blkio/blkio.throttle.read_iops_device = 8:16 3",
    "blockIO.throttleWriteIOPSDevice[0]: blkio/blkio.throttle.write_iops_device = 8:16 4",
];
const V1_CPU: [&str; 9] = [
    "cpu.idle: cpu/cpu.idle = 0",
    "cpu.shares: cpu/cpu.shares = 512, exactly",
    "cpu.burst: cpu/cpu.cfs_burst_us = 10000, if it is there",
    "cpu.quota: cpu/cpu.cfs_quota_us = 50000",
    "cpu.period: cpu/cpu.cfs_period_us = 200000",
    "cpu.realtimePeriod: cpu/cpu.rt_period_us = 1000",
    "cpu.realtimeRuntime: cpu/cpu.rt_runtime_us = 900",
    "cpu.cpus: cpuset/cpuset.cpus = 0-1, or cpus = 0-1",
    "cpu.mems: cpuset/cpuset.mems = 0, or mems = 0",
];
const V1_OTHERS: [&str; 6] = [
    "hugepageLimits[0]: hugetlb/hugetlb.2MB.limit_in_bytes = 4194304",
    "hugepageLimits[0]: hugetlb/hugetlb.2MB.rsvd.limit_in_bytes = 4194304, if it is there",
    "rdma[\"mlx5\"]: rdma/rdma.max = mlx5 hca_handle=3 hca_object=10000",
    "network.classID: net_cls/net_cls.classid = 1048577",
    "network.priorities[0]: net_prio/net_prio.ifpriomap = eth0 5",
    // Only cgroup v2 has it.
    "unified[\"misc.max\"]: misc.max = sev 1",
];

#[test]
fn settings_of_cgroup_v2() {
    let expected = [&V2_PIDS_AND_MEMORY[..], &V2_IO, &V2_CPU, &V2_OTHERS].concat();
    assert_eq!(settings(&everything(), &LegacyControllers::none()), expected);
}

#[test]
fn settings_of_cgroup_v1() {
    let expected = [&V1_PIDS_AND_MEMORY[..], &V1_IO, &V1_CPU, &V1_OTHERS].concat();
    assert_eq!(settings(&everything(), &legacy()), expected);
}

/// Each limit is set where its controller is.
#[test]
fn settings_of_a_hybrid_machine() {
    let hybrid = controllers("blkio cpu cpuacct cpuset devices freezer memory pids");
    let expected = [&V1_PIDS_AND_MEMORY[..], &V1_IO, &V1_CPU, &V2_OTHERS].concat();
    assert_eq!(settings(&everything(), &hybrid), expected);
    let expected = [&V1_PIDS_AND_MEMORY[..], &V2_IO, &V2_CPU, &V2_OTHERS].concat();
    assert_eq!(settings(&everything(), &controllers("memory pids")), expected);
}

#[test]
fn properties_of_units_with_cgroup_v2() {
    let expected = [
        "TasksMax=uint64 100",
        "MemorySwapMax=uint64 33554432",
        "MemoryMax=uint64 67108864",
        "MemoryLow=uint64 33554432",
        "IOWeight=uint64 4500",
        "IODeviceWeight=[(\"/dev/block/8:0\", uint64 1200)]",
        "IOReadBandwidthMax=[(\"/dev/block/8:16\", uint64 1)]",
        "IOWriteBandwidthMax=[(\"/dev/block/8:16\", uint64 2)]",
        "IOReadIOPSMax=[(\"/dev/block/8:16\", uint64 3)]",
        "IOWriteIOPSMax=[(\"/dev/block/8:16\", uint64 4)]",
        "CPUWeight=uint64 59",
        "CPUQuotaPeriodUSec=uint64 200000",
        "CPUQuotaPerSecUSec=uint64 250000",
        "AllowedCPUs=[byte 0x03]",
        "AllowedMemoryNodes=[byte 0x01]",
    ];
    assert_eq!(properties(&everything(), &LegacyControllers::none()), expected);
    let idle = Resources { cpu: Cpu { idle: Some(1), ..everything().cpu }, ..Resources::default() };
    let expected = [
        "CPUWeight=uint64 0",
        "CPUQuotaPeriodUSec=uint64 200000",
        "CPUQuotaPerSecUSec=uint64 250000",
        "AllowedCPUs=[byte 0x03]",
        "AllowedMemoryNodes=[byte 0x01]",
    ];
    assert_eq!(properties(&idle, &LegacyControllers::none()), expected);
}

/// What systemd has no property for, in v1, is in the files alone.
#[test]
fn properties_of_units_with_cgroup_v1() {
    let expected = [
        "TasksMax=uint64 100",
        "MemoryLimit=uint64 67108864",
        "BlockIOWeight=uint64 500",
        "CPUShares=uint64 512",
        "CPUQuotaPeriodUSec=uint64 200000",
        "CPUQuotaPerSecUSec=uint64 250000",
    ];
    assert_eq!(properties(&everything(), &legacy()), expected);
}

/// A file of cgroup v2 says the same as a field, and is told last.
#[test]
fn properties_of_files() {
    let files = [
        ("cpu.max", "max 50000"),
        ("cpu.weight", "77"),
        ("cpuset.cpus", "0,2"),
        ("memory.high", "1024"),
        ("memory.low", "2048"),
        ("memory.max", "max"),
        ("memory.min", "512"),
        ("memory.oom.group", "1"),
        ("memory.swap.max", "0"),
        ("pids.max", "7"),
    ];
    let unified = files.iter().map(|(file, value)| ((*file).to_owned(), (*value).to_owned())).collect();
    let resources = Resources { pids: Some(100), unified, ..Resources::default() };
    let max = u64::MAX;
    let expected = [
        "TasksMax=uint64 100".to_owned(),
        "CPUQuotaPeriodUSec=uint64 50000".to_owned(),
        format!("CPUQuotaPerSecUSec=uint64 {max}"),
        "CPUWeight=uint64 77".to_owned(),
        "AllowedCPUs=[byte 0x05]".to_owned(),
        "MemoryHigh=uint64 1024".to_owned(),
        "MemoryLow=uint64 2048".to_owned(),
        format!("MemoryMax=uint64 {max}"),
        "MemoryMin=uint64 512".to_owned(),
        "OOMPolicy=\"kill\"".to_owned(),
        "MemorySwapMax=uint64 0".to_owned(),
        "TasksMax=uint64 7".to_owned(),
    ];
    assert_eq!(properties(&resources, &LegacyControllers::none()), expected);
}

/// What is not given is left alone, and so is 0 where it says nothing.
#[test]
fn nothing_and_zeroes() {
    let nothing = Resources::default();
    let zeroes = Resources {
        cpu: Cpu {
            shares: Some(0),
            quota: Some(0),
            period: Some(0),
            realtime_runtime: Some(0),
            realtime_period: Some(0),
            ..Cpu::default()
        },
        memory: Memory { limit: Some(0), reservation: Some(0), swap: Some(0), ..Memory::default() },
        io: Io {
            weight: Some(0),
            leaf_weight: Some(0),
            weight_device: vec![WeightDevice {
                weight: Some(0),
                leaf_weight: Some(0),
                ..WeightDevice::default()
            }],
            ..Io::default()
        },
        rdma: BTreeMap::from([("mlx5".to_owned(), Rdma::default())]),
        network: Network { class_id: Some(0), priorities: Vec::new() },
        ..Resources::default()
    };
    for legacy in [LegacyControllers::none(), legacy()] {
        for resources in [&nothing, &zeroes] {
            assert_eq!(settings(resources, &legacy), [""; 0]);
            assert_eq!(properties(resources, &legacy), [""; 0]);
            assert_eq!(resources.without_meaning(&legacy), [""; 0]);
        }
    }
    // Where it says something.
    let zeroes = Resources {
        cpu: Cpu { idle: Some(0), burst: Some(0), ..Cpu::default() },
        memory: Memory { swappiness: Some(0), ..Memory::default() },
        pids: Some(0),
        io: Io { throttle_read_bps: vec![ThrottleDevice::default()], ..Io::default() },
        huge_pages: vec![HugePages { page_size: "1GB".to_owned(), limit: 0 }],
        ..Resources::default()
    };
    let v2 = [
        "pids.limit: pids.max = max, if it is there",
        "blockIO.throttleReadBpsDevice[0]: io.max = 0:0 rbps=max",
        "cpu.idle: cpu.idle = 0",
        "cpu.burst: cpu.max.burst = 0",
        "hugepageLimits[0]: hugetlb.1GB.max = 0",
        "hugepageLimits[0]: hugetlb.1GB.rsvd.max = 0, if it is there",
    ];
    assert_eq!(settings(&zeroes, &LegacyControllers::none()), v2);
    let v1 = [
        "pids.limit: pids/pids.max = max",
        "memory.swappiness: memory/memory.swappiness = 0",
        "blockIO.throttleReadBpsDevice[0]: blkio/blkio.throttle.read_bps_device = 0:0 0",
        "cpu.idle: cpu/cpu.idle = 0",
        "cpu.burst: cpu/cpu.cfs_burst_us = 0, if it is there",
        "hugepageLimits[0]: hugetlb/hugetlb.1GB.limit_in_bytes = 0",
        "hugepageLimits[0]: hugetlb/hugetlb.1GB.rsvd.limit_in_bytes = 0, if it is there",
    ];
    assert_eq!(settings(&zeroes, &legacy()), v1);
    let max = u64::MAX;
    let properties_of_v2 = [
        format!("TasksMax=uint64 {max}"),
        format!("IOReadBandwidthMax=[(\"/dev/block/0:0\", uint64 {max})]"),
    ];
    assert_eq!(properties(&zeroes, &LegacyControllers::none()), properties_of_v2);
}

#[test]
fn no_limit() {
    let unlimited = Resources {
        cpu: Cpu { quota: Some(-1), ..Cpu::default() },
        memory: Memory {
            limit: Some(-1),
            reservation: Some(-1),
            swappiness: Some(u64::MAX),
            ..Memory::default()
        },
        pids: Some(-1),
        ..Resources::default()
    };
    let v2 = [
        "pids.limit: pids.max = max, if it is there",
        "memory.swap: memory.swap.max = max, if it is there",
        "memory.limit: memory.max = max, if it is there",
        "memory.reservation: memory.low = max",
        "cpu.quota: cpu.max = max 100000, if it is there",
    ];
    assert_eq!(settings(&unlimited, &LegacyControllers::none()), v2);
    let v1 = [
        "pids.limit: pids/pids.max = max",
        "memory.swap: memory/memory.memsw.limit_in_bytes = -1, if it is there",
        "memory.limit: memory/memory.limit_in_bytes = -1",
        "memory.reservation: memory/memory.soft_limit_in_bytes = -1",
        "cpu.quota: cpu/cpu.cfs_quota_us = -1",
    ];
    assert_eq!(settings(&unlimited, &legacy()), v1);
    let names = ["TasksMax", "MemorySwapMax", "MemoryMax", "MemoryLow", "CPUQuotaPerSecUSec"];
    let expected: Vec<_> = names.iter().map(|name| format!("{name}=uint64 {}", u64::MAX)).collect();
    assert_eq!(properties(&unlimited, &LegacyControllers::none()), expected);
    let names = ["TasksMax", "MemoryLimit", "CPUQuotaPerSecUSec"];
    let expected: Vec<_> = names.iter().map(|name| format!("{name}=uint64 {}", u64::MAX)).collect();
    assert_eq!(properties(&unlimited, &legacy()), expected);
}

/// Only what stands in v1 hierarchies can have these.
#[test]
fn fields_without_meaning() {
    let all = [
        "memory.disableOOMKiller",
        "memory.swappiness",
        "blockIO.leafWeight",
        "cpu.realtimePeriod",
        "cpu.realtimeRuntime",
        "network.classID",
        "network.priorities",
    ];
    assert_eq!(everything().without_meaning(&LegacyControllers::none()), all);
    assert_eq!(everything().without_meaning(&legacy()), [""; 0]);
    assert_eq!(
        everything().without_meaning(&controllers("memory cpu net_cls net_prio")),
        ["blockIO.leafWeight"]
    );
    let unset = Resources {
        memory: Memory { swappiness: Some(u64::MAX), ..Memory::default() },
        ..Resources::default()
    };
    assert_eq!(unset.without_meaning(&LegacyControllers::none()), [""; 0]);
}

#[test]
fn values_that_cannot_be() {
    let unified = |file: &str| Resources {
        unified: BTreeMap::from([(file.to_owned(), "1".to_owned())]),
        ..Resources::default()
    };
    let memory = |limit, swap| Resources {
        memory: Memory { limit, swap, ..Memory::default() },
        ..Resources::default()
    };
    let swappiness =
        Resources { memory: Memory { swappiness: Some(101), ..Memory::default() }, ..Resources::default() };
    let none = LegacyControllers::none();
    for (resources, legacy, error) in [
        (memory(None, Some(MIB)), &none, "memory.swap: unable to set swap limit without memory limit"),
        (memory(Some(2 * MIB), Some(MIB)), &none, "memory.swap: memory+swap limit should be >= memory limit"),
        (
            swappiness,
            &legacy(),
            "memory.swappiness: invalid memory swappiness value: 101 (valid range is 0-100)",
        ),
        (
            unified("io.max"),
            &legacy(),
            "unified[\"io.max\"]: cannot be set, as the io controller is in a cgroup v1 hierarchy",
        ),
        (
            unified("../pids.max"),
            &none,
            "unified[\"../pids.max\"]: unified resource \"../pids.max\" must be a file name (no slashes)",
        ),
        (
            unified("cgroup.procs"),
            &none,
            "unified[\"cgroup.procs\"]: \"cgroup.procs\" limits nothing: what is in the cgroup and what becomes of it is the runtime's to say",
        ),
        (
            unified("max"),
            &none,
            "unified[\"max\"]: unified resource \"max\" must be in the form CONTROLLER.PARAMETER",
        ),
    ] {
        assert_eq!(resources.settings(legacy).unwrap_err().to_string(), error);
    }
}
