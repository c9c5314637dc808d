//! Containers in units of systemd: `--systemd-cgroup`, beside runc.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::vm::{self, Case, Created, Known, OURS, RUNC, Runtime, Seen};
use crate::common::{self, TestBundle, until};
use serde_json::json;

const MIB: i64 = 1 << 20;

fn cases() -> Vec<Case> {
    let disk = vm::disk();
    let cases = [
        // The first is what the others are told against.
        ("nothing", json!({})),
        ("cpu", json!({ "cpu": { "shares": 512, "quota": 50_000, "period": 100_000 } })),
        // systemd knows only hundredths of a processor.
        ("odd quota", json!({ "cpu": { "quota": 33_333, "period": 70_000 } })),
        ("quota -1", json!({ "cpu": { "quota": -1 } })),
        ("burst", json!({ "cpu": { "quota": 50_000, "period": 100_000, "burst": 10_000 } })),
        ("idle", json!({ "cpu": { "idle": 1 } })),
        ("cpuset", json!({ "cpu": { "cpus": "0-1", "mems": "0" } })),
        ("memory", json!({ "memory": { "limit": 64 * MIB, "reservation": 32 * MIB, "swap": 96 * MIB } })),
        ("swap as limit", json!({ "memory": { "limit": 64 * MIB, "swap": 64 * MIB } })),
        ("no limit", json!({ "memory": { "limit": -1, "swap": -1 }, "pids": { "limit": -1 } })),
        ("pids", json!({ "pids": { "limit": 50 } })),
        ("pids 0", json!({ "pids": { "limit": 0 } })),
        ("weight", json!({ "blockIO": { "weight": 300 } })),
        (
            "throttle",
            json!({ "blockIO": { "throttleReadBpsDevice": [vm::device(disk, "rate", 1_048_576)] } }),
        ),
        ("huge pages", json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 8 * MIB }] })),
        (
            "unified",
            json!({ "unified": {
                "cpu.weight": "77", "cpu.max": "30000 50000", "memory.high": "33554432", "memory.oom.group": "1",
                "pids.max": "9", "cpuset.cpus": "0", "io.weight": "default 300",
            } }),
        ),
        (
            "devices",
            json!({ "devices": [
                { "allow": false, "access": "rwm" },
                { "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw" },
                { "allow": true, "type": "c", "major": 10, "minor": 200, "access": "rwm" },
                { "allow": true, "type": "b", "major": disk.0, "minor": disk.1, "access": "r" },
                { "allow": true, "type": "c", "major": 240, "access": "rw" },
                { "allow": true, "type": "c", "access": "m" },
            ] }),
        ),
        ("all devices", json!({ "devices": [{ "allow": true, "access": "rwm" }] })),
        (
            "as engines do",
            json!({
                "cpu": { "shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0-1" },
                "memory": { "limit": 64 * MIB, "reservation": 32 * MIB, "swap": 128 * MIB },
                "pids": { "limit": 100 }, "blockIO": { "weight": 300 },
                "devices": [
                    { "allow": false, "access": "rwm" },
                    { "allow": true, "type": "c", "major": 1, "minor": 5, "access": "rwm" },
                    { "allow": true, "type": "c", "major": 136, "access": "rwm" },
                ],
            }),
        ),
    ];
    cases.map(|(name, resources)| Case { name, resources }).into()
}

/// The container's unit, by its `cgroupsPath`.
fn place(test: &mut TestBundle) -> String {
    test.config["linux"]["cgroupsPath"] = format!("corten-vm.slice:vm:{}", test.id).into();
    format!("vm-{}.scope", test.id)
}

/// What systemd was told of a unit, and nothing that it counts or finds out.
fn properties(unit: &str) -> impl Iterator<Item = (String, String)> {
    let text = vm::said("systemctl", &["show", unit]);
    let is_told = |name: &str| {
        let kinds = [
            "CPU", "Memory", "IO", "Allowed", "Startup", "Tasks", "Device", "Delegate", "Timeout", "Default",
        ];
        let names = [
            "Slice",
            "Description",
            "CollectMode",
            "KillMode",
            "KillSignal",
            "Transient",
            "BPFProgram",
            "Wants",
            "Requires",
            "After",
            "Before",
            "OOMPolicy",
            "OOMScoreAdjust",
            "RuntimeMaxUSec",
            "ManagedOOMSwap",
            "Type",
        ];
        let counts = ["Current", "Peak", "NSec", "Bytes", "Operations", "Available", "Effective"];
        (kinds.iter().any(|kind| name.starts_with(kind)) || names.contains(&name))
            && !counts.iter().any(|count| name.contains(count))
    };
    let lines: Vec<_> = text.lines().filter_map(|line| line.split_once('=')).collect();
    // A property may be there more than once: one line for each device.
    let mut told: std::collections::BTreeMap<String, Vec<String>> = std::collections::BTreeMap::new();
    for (name, value) in lines.into_iter().filter(|(name, _)| is_told(name)) {
        told.entry(format!("unit {name}")).or_default().push(value.to_owned());
    }
    told.into_iter().map(|(name, mut values)| {
        values.sort();
        (name, values.join("; "))
    })
}

fn look(runtime: Runtime) -> Vec<Seen> {
    vm::look_at_all(runtime, &cases(), |case| {
        let mut test = vm::bundle(case);
        let unit = place(&mut test);
        let seen = runtime.look(&test, true, |cgroup| {
            let mut seen = vm::limits(cgroup);
            seen.extend(properties(&unit));
            seen.insert("cgroup".to_owned(), cgroup.display().to_string());
            // Each container has names of its own.
            seen.into_iter().map(|(name, value)| (name, value.replace(&test.id, "ID"))).collect()
        });
        let active = Command::new("systemctl").args(["is-active", "--quiet", &unit]).status().unwrap();
        assert!(!active.success(), "{}: {unit} is left by {}", case.name, runtime.name);
        seen
    })
}

/// Where Corten is not like runc, on purpose.
const DIFFERENCES: &[Known] = &[
    (
        "odd quota",
        "cpu.max",
        "the quota is in force as it was asked for, and not rounded to what systemd can say",
    ),
    (
        "swap as limit",
        "unit MemorySwapMax",
        "systemd knows of all limits that it can know, so that it does not change them",
    ),
    ("throttle", "unit IOReadBandwidthMax", "the same"),
    ("weight", "unit IOWeight", "the same"),
    ("weight", "io.weight", "systemd writes it"),
    ("as engines do", "unit IOWeight", "as for the weight alone"),
    ("as engines do", "io.weight", "as for the weight alone"),
    ("unified", "unit OOMPolicy", "systemd's word for memory.oom.group, which it would set back"),
    (
        "devices",
        "unit DeviceAllow",
        "access that another rule allows to all devices stands with each device, too",
    ),
    ("pids 0", "pids.max", "no second process, as with runc 1.4; it is no limit with runc 1.3"),
    ("pids 0", "unit TasksMax", "the same"),
];

#[test]
fn units_are_runcs() {
    if vm::in_vm() {
        vm::assert_same(&cases(), OURS, &look(OURS), &look(RUNC), DIFFERENCES);
    }
}

/// Opens devices again and again, and writes which can be opened.
const OPEN: &str = "while :; do said=; for d in fuse net/tun disk loop-control; do \
    if (: </dev/$d) 2>/dev/null; then said=\"$said $d\"; fi; done; echo $said; sleep 0.2; done";

/// systemd puts its own device program in place again whenever it reloads: it has to know the devices, too.
fn devices_stay(runtime: Runtime) {
    let disk = vm::disk();
    let devices = [("fuse", "c", (10, 229)), ("net/tun", "c", (10, 200)), ("disk", "b", disk)];
    let not_allowed = ("loop-control", "c", (10, 237));
    let node = |(name, kind, (major, minor)): (&str, &str, (u64, u64))| json!({ "path": format!("/dev/{name}"), "type": kind, "major": major, "minor": minor, "fileMode": 0o666 });
    let rule = |(_, kind, (major, minor)): (&str, &str, (u64, u64))| json!({ "allow": true, "type": kind, "major": major, "minor": minor, "access": "rwm" });
    let mut test = TestBundle::new(&["sh", "-c", OPEN]).of_any_runtime();
    test.config["linux"]["devices"] = devices.into_iter().chain([not_allowed]).map(node).collect();
    let nothing = json!({ "allow": false, "access": "rwm" });
    test.config["linux"]["resources"]["devices"] = [nothing].into_iter().chain(devices.map(rule)).collect();
    place(&mut test);
    vm::said("modprobe", &["--all", "fuse", "tun", "loop"]);
    let path = test.write().path();
    let (log, errors) = (test.beside("log"), test.beside("errors"));
    let mut create = runtime.command(&test, true);
    create.args(["create", "--bundle"]).arg(path).arg(&test.id).stdin(Stdio::null());
    create.stdout(File::create(&log).unwrap()).stderr(File::create(&errors).unwrap());
    assert!(create.status().unwrap().success(), "{}", fs::read_to_string(&errors).unwrap());
    assert!(runtime.command(&test, true).args(["start", &test.id]).status().unwrap().success());

    let count = || fs::read_to_string(&log).unwrap().lines().count();
    until("no devices were opened", || count() > 0);
    vm::said("systemctl", &["daemon-reload"]);
    let before = count();
    // One may have been under way.
    until("no devices were opened after the reload", || count() > before + 1);
    let said = fs::read_to_string(&log).unwrap();
    assert!(runtime.command(&test, true).args(["delete", "--force", &test.id]).status().unwrap().success());
    assert!(said.lines().all(|line| line == "fuse net/tun disk"), "{}: {said}", runtime.name);
}

#[test]
fn runcs_devices_stay_after_a_reload() {
    if vm::in_vm() {
        devices_stay(RUNC);
    }
}

#[test]
fn devices_stay_after_a_reload() {
    if vm::in_vm() {
        devices_stay(OURS);
    }
}

/// systemd writes what it knows of a unit again: what it does not know must not be undone by that.
#[test]
fn limits_stay_after_a_reload() {
    if !vm::in_vm() {
        return;
    }
    let cases = cases();
    let mut tests: Vec<_> = cases.iter().map(vm::bundle).collect();
    tests.iter_mut().for_each(|test| drop(place(test)));
    let containers: Vec<_> = tests.iter().map(|test| OURS.create(test, true).unwrap()).collect();
    let limits = || containers.iter().map(|container| vm::limits(&container.cgroup)).collect::<Vec<_>>();
    let before = limits();
    vm::said("systemctl", &["daemon-reload"]);
    let after = limits();
    containers.into_iter().for_each(Created::delete);

    let mut changes = Vec::new();
    for ((case, before), after) in cases.iter().zip(before).zip(after) {
        for (name, value) in after {
            let was = before.get(&name);
            if was != Some(&value) && !CHANGED_BY_RELOADS.contains(&(case.name, &name)) {
                changes.push(format!("{}: {name}: {value}, was {was:?}", case.name));
            }
        }
    }
    assert!(changes.is_empty(), "a reload changes limits:\n{}", changes.join("\n"));
}

/// What systemd writes otherwise: quotas in hundredths of a processor, and files whose property it was not
/// told, by runc neither.
const CHANGED_BY_RELOADS: &[(&str, &str)] = &[("odd quota", "cpu.max"), ("unified", "io.weight")];

#[test]
fn the_slice_is_below_the_root() {
    if !vm::in_vm() {
        return;
    }
    let mut test = TestBundle::new(&["sleep", "1000"]);
    let unit = place(&mut test);
    let cgroup = OURS.look(&test, true, Path::to_owned).unwrap();
    assert_eq!(cgroup, Path::new("/sys/fs/cgroup/corten.slice/corten-vm.slice").join(unit));
}

/// What a container was made with is known of it: nobody has to say `--systemd-cgroup` again.
#[test]
fn the_unit_is_known_without_the_flag() {
    if !vm::in_vm() {
        return;
    }
    let mut test = TestBundle::new(&["sleep", "1000"]);
    test.config["linux"]["resources"] = json!({ "memory": { "limit": 64 * MIB }, "pids": { "limit": 50 } });
    let unit = place(&mut test);
    let created = OURS.create(&test, true).unwrap();
    let plain = |arguments: &[&str]| common::succeed(&test, &[arguments, &[test.id.as_str()]].concat());
    plain(&["start"]);
    let exec = |more: &[&str]| {
        let pid = test.beside("exec-pid");
        let flags = [&["exec", "--detach", "--pid-file", pid.to_str().unwrap()], more].concat();
        common::quietly(&test, &[&flags[..], &[&test.id, "sleep", "1000"]].concat());
        vm::cgroup(fs::read_to_string(pid).unwrap().trim())
    };
    assert_eq!(exec(&[]), created.cgroup);
    fs::create_dir(created.cgroup.join("below")).unwrap();
    assert_eq!(exec(&["--cgroup", "below"]), created.cgroup.join("below"));
    plain(&["update", "--memory", "100663296", "--memory-swap", "100663296", "--pids-limit", "60"]);
    let shown = vm::said("systemctl", &["show", &unit, "-p", "MemoryMax", "-p", "TasksMax"]);
    assert_eq!(shown, "MemoryMax=100663296\nTasksMax=60\n");
    plain(&["pause"]);
    assert_eq!(fs::read_to_string(created.cgroup.join("cgroup.events")).unwrap(), "populated 1\nfrozen 1\n");
    plain(&["resume"]);
    assert_eq!(plain(&["ps", "--format", "json"]).split(',').count(), 3);
    plain(&["delete", "--force"]);
    let left = vm::said("systemctl", &["show", "--value", "-p", "LoadState", &unit]);
    assert_eq!((left.trim(), created.cgroup.exists()), ("not-found", false));
}
