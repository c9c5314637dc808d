//! What is in force with the peers' newest versions, where all controllers are.

use std::sync::LazyLock;

use crate::common::vm::{self, CRUN, Case, Known, OURS, RUNC, Runtime, Seen};
use serde_json::{Value, json};

const MIB: i64 = 1 << 20;

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let cases = [cpu(), memory(), pids(), io(vm::disk()), others(), unified()].into_iter().flatten();
    cases.map(|(name, resources)| Case { name, resources }).collect()
});

fn cpu() -> Vec<(&'static str, Value)> {
    let cpu = |limits: Value| json!({ "cpu": limits });
    vec![
        // The first is what the others are told against.
        ("nothing", json!({})),
        ("shares 2", cpu(json!({ "shares": 2 }))),
        ("shares 512", cpu(json!({ "shares": 512 }))),
        ("shares 1024", cpu(json!({ "shares": 1024 }))),
        ("shares 262144", cpu(json!({ "shares": 262_144 }))),
        ("shares 1", cpu(json!({ "shares": 1 }))),
        ("shares 1000000", cpu(json!({ "shares": 1_000_000 }))),
        ("quota", cpu(json!({ "quota": 20_000 }))),
        ("quota and period", cpu(json!({ "quota": 30_000, "period": 50_000 }))),
        ("quota -1 and period", cpu(json!({ "quota": -1, "period": 50_000 }))),
        ("quota -1", cpu(json!({ "quota": -1 }))),
        ("period", cpu(json!({ "period": 50_000 }))),
        ("burst", cpu(json!({ "quota": 30_000, "period": 50_000, "burst": 10_000 }))),
        ("burst without quota", cpu(json!({ "burst": 10_000 }))),
        ("idle", cpu(json!({ "idle": 1 }))),
        ("idle and shares", cpu(json!({ "idle": 1, "shares": 512 }))),
        ("idle 0 and shares", cpu(json!({ "idle": 0, "shares": 512 }))),
        (
            "cpu zeroes",
            cpu(json!({ "shares": 0, "quota": 0, "period": 0, "burst": 0, "cpus": "", "mems": "" })),
        ),
        ("cpuset", cpu(json!({ "cpus": "0-1", "mems": "0" }))),
        ("one cpu", cpu(json!({ "cpus": "1" }))),
        ("missing cpu", cpu(json!({ "cpus": "77" }))),
        ("realtime", cpu(json!({ "realtimeRuntime": 10_000, "realtimePeriod": 100_000 }))),
    ]
}

fn memory() -> Vec<(&'static str, Value)> {
    let memory = |limits: Value| json!({ "memory": limits });
    vec![
        ("memory limit", memory(json!({ "limit": 64 * MIB }))),
        ("memory limit odd", memory(json!({ "limit": 64 * MIB + 1 }))),
        ("memory limit -1", memory(json!({ "limit": -1 }))),
        ("memory limit tiny", memory(json!({ "limit": 4096 }))),
        ("memory zeroes", memory(json!({ "limit": 0, "reservation": 0, "swap": 0 }))),
        ("reservation", memory(json!({ "reservation": 32 * MIB }))),
        ("reservation -1", memory(json!({ "reservation": -1 }))),
        ("limit and reservation", memory(json!({ "limit": 64 * MIB, "reservation": 32 * MIB }))),
        ("limit and swap", memory(json!({ "limit": 64 * MIB, "swap": 96 * MIB }))),
        ("swap as limit", memory(json!({ "limit": 64 * MIB, "swap": 64 * MIB }))),
        ("swap -1", memory(json!({ "limit": 64 * MIB, "swap": -1 }))),
        ("swap 0", memory(json!({ "limit": 64 * MIB, "swap": 0 }))),
        ("both -1", memory(json!({ "limit": -1, "swap": -1 }))),
        ("limit -1 and swap", memory(json!({ "limit": -1, "swap": 96 * MIB }))),
        ("swap without limit", memory(json!({ "swap": 96 * MIB }))),
        ("swap -1 without limit", memory(json!({ "swap": -1 }))),
        ("swap below limit", memory(json!({ "limit": 64 * MIB, "swap": 32 * MIB }))),
        ("v1 memory", memory(json!({ "limit": 64 * MIB, "swappiness": 30, "useHierarchy": true }))),
        ("kernel memory", memory(json!({ "limit": 64 * MIB, "kernel": 32 * MIB, "kernelTCP": 32 * MIB }))),
        ("no oom killer", memory(json!({ "limit": 64 * MIB, "disableOOMKiller": true }))),
        ("checked", memory(json!({ "limit": 64 * MIB, "checkBeforeUpdate": true }))),
    ]
}

fn pids() -> Vec<(&'static str, Value)> {
    let pids = |limit: i64| json!({ "pids": { "limit": limit } });
    vec![("pids 50", pids(50)), ("pids 1", pids(1)), ("pids 0", pids(0)), ("pids -1", pids(-1))]
}

fn io(disk: (u64, u64)) -> Vec<(&'static str, Value)> {
    let io = |limits: Value| json!({ "blockIO": limits });
    let device = |key, value| vm::device(disk, key, value);
    vec![
        ("weight 10", io(json!({ "weight": 10 }))),
        ("weight 100", io(json!({ "weight": 100 }))),
        ("weight 500", io(json!({ "weight": 500 }))),
        ("weight 1000", io(json!({ "weight": 1000 }))),
        ("weight 0", io(json!({ "weight": 0 }))),
        ("weight 5", io(json!({ "weight": 5 }))),
        ("leaf weight", io(json!({ "weight": 500, "leafWeight": 300 }))),
        ("weight device", io(json!({ "weightDevice": [device("weight", 200)] }))),
        ("weight and device", io(json!({ "weight": 500, "weightDevice": [device("weight", 200)] }))),
        ("read bytes", io(json!({ "throttleReadBpsDevice": [device("rate", 1_048_576)] }))),
        (
            "all throttles",
            io(json!({
                "throttleReadBpsDevice": [device("rate", 1_048_576)],
                "throttleWriteBpsDevice": [device("rate", 2_097_152)],
                "throttleReadIOPSDevice": [device("rate", 100)],
                "throttleWriteIOPSDevice": [device("rate", 200)],
            })),
        ),
        ("throttle 0", io(json!({ "throttleReadBpsDevice": [device("rate", 0)] }))),
        ("throttle no disk", io(json!({ "throttleReadBpsDevice": [vm::device((1, 3), "rate", 1000)] }))),
    ]
}

fn others() -> Vec<(&'static str, Value)> {
    let pages = |size: &str| json!({ "hugepageLimits": [{ "pageSize": size, "limit": 8 * MIB }] });
    vec![
        ("huge pages", pages("2MB")),
        ("huge pages of no size", pages("3MB")),
        ("huge pages kB", pages("2048KB")),
        ("rdma", json!({ "rdma": { "rxe0": { "hcaHandles": 3, "hcaObjects": 10_000 } } })),
        ("rdma handles", json!({ "rdma": { "rxe0": { "hcaHandles": 3 } } })),
        ("rdma no device", json!({ "rdma": { "none": { "hcaHandles": 3 } } })),
        (
            "network",
            json!({ "network": { "classID": 1_048_577, "priorities": [{ "name": "lo", "priority": 5 }] } }),
        ),
        (
            "as engines do",
            json!({
                "cpu": { "shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0-1" },
                "memory": { "limit": 64 * MIB, "reservation": 32 * MIB, "swap": 128 * MIB },
                "pids": { "limit": 100 }, "blockIO": { "weight": 300 },
            }),
        ),
    ]
}

fn unified() -> Vec<(&'static str, Value)> {
    let unified = |files: Value| json!({ "unified": files });
    vec![
        (
            "unified memory",
            unified(json!({ "memory.high": "33554432", "memory.low": "1048576", "memory.oom.group": "1" })),
        ),
        ("unified weights", unified(json!({ "cpu.weight": "77", "io.weight": "default 300" }))),
        ("unified max", unified(json!({ "pids.max": "max", "memory.swap.max": "0", "cpuset.cpus": "0" }))),
        (
            "unified against fields",
            json!({
                "unified": { "memory.max": "33554432", "pids.max": "7" },
                "memory": { "limit": 64 * MIB }, "pids": { "limit": 100 },
            }),
        ),
        ("unified core", unified(json!({ "cgroup.max.descendants": "5" }))),
        ("unified of no controller", unified(json!({ "nothing.max": "1" }))),
        ("unified of no file", unified(json!({ "memory.nothing": "1" }))),
        ("unified slash", unified(json!({ "../memory.max": "1" }))),
        ("unified empty", unified(json!({ "": "1" }))),
        ("unified bad value", unified(json!({ "memory.max": "much" }))),
        ("unified misc", unified(json!({ "misc.max": "sev 1" }))),
        ("unified rdma", unified(json!({ "rdma.max": "rxe0 hca_handle=2" }))),
        ("unified huge pages", unified(json!({ "hugetlb.2MB.max": "4194304" }))),
    ]
}

static BY_RUNC: LazyLock<Vec<Seen>> = LazyLock::new(|| look(RUNC));

fn look(runtime: Runtime) -> Vec<Seen> {
    let seen = vm::look_at_all(runtime, &CASES, |case| {
        let mut test = vm::bundle(case);
        test.config["linux"]["cgroupsPath"] = format!("/corten-vm-{}/{}", runtime.name, test.id).into();
        runtime.look(&test, false, vm::limits)
    });
    std::fs::remove_dir(format!("/sys/fs/cgroup/corten-vm-{}", runtime.name)).ok();
    seen
}

/// Where crun is not like runc. It shows that the comparison sees what it has to see.
const CRUN_DIFFERS: &[Known] = &[
    ("*", "rdma.max", "crun leaves the rdma controller alone"),
    ("rdma no device", "error", "the same"),
    ("unified rdma", "error", "the same"),
    ("huge pages", "hugetlb.2MB.rsvd.max", "crun limits pages in use, and no reserved ones"),
    (
        "idle and shares",
        "error",
        "the kernel takes no weight for an idle cgroup: crun leaves it out, runc writes it",
    ),
    ("memory zeroes", "error", "a limit of 0 is none for runc, and no memory at all for crun"),
    ("swap 0", "memory.swap.max", "a swap of 0 is none set for runc, and no swap at all for crun"),
    ("realtime", "error", "crun refuses what v2 cannot do, runc says nothing"),
    ("v1 memory", "error", "the same"),
    ("kernel memory", "error", "the same"),
    ("no oom killer", "error", "the same"),
    ("leaf weight", "error", "the same"),
    ("network", "error", "the same"),
];

/// Where Corten is not like runc, on purpose.
const CORTEN_DIFFERS: &[Known] = &[
    ("pids 0", "pids.max", "no second process, as with runc 1.4; it is no limit with runc 1.3"),
    ("weight 5", "error", "the specification allows 10 to 1000"),
    ("throttle 0", "error", "a rate of 0 is none; runc writes it, and the kernel refuses it"),
];

#[test]
fn crun_limits_as_runc_does() {
    if vm::in_vm() {
        vm::assert_same(&CASES, CRUN, &look(CRUN), &BY_RUNC, CRUN_DIFFERS);
    }
}

#[test]
fn limits_are_runcs() {
    if vm::in_vm() {
        vm::assert_same(&CASES, OURS, &look(OURS), &BY_RUNC, CORTEN_DIFFERS);
    }
}
