//! Limits of cgroup v2, felt by processes: made by the runtime and by systemd, and changed under load.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::vm::{self, OURS};
use crate::common::{self, TestBundle, until};
use serde_json::{Value, json};

/// Lets a container with these resources live while `look` tries its cgroup, once for each way of making it.
fn both(resources: &Value, look: impl Fn(&TestBundle, &Path, bool)) {
    if !vm::in_vm() {
        return;
    }
    for systemd in [false, true] {
        let mut test = TestBundle::new(&["sleep", "10000"]);
        for (name, value) in resources.as_object().unwrap() {
            test.config["linux"]["resources"][name] = value.clone();
        }
        let id = test.id.clone();
        let path = if systemd { format!("vm.slice:corten:{id}") } else { format!("/vm-limits/{id}") };
        test.config["linux"]["cgroupsPath"] = path.into();
        OURS.look(&test, systemd, |cgroup| look(&test, cgroup, systemd)).unwrap();
    }
}

/// A shell in a cgroup.
fn spawn(cgroup: &Path, script: &str) -> Child {
    let script = format!("echo $$ > {}/cgroup.procs && exec sh -c '{script}'", cgroup.display());
    let mut command = Command::new("sh");
    command.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// What a shell in a cgroup says, stdout and stderr.
fn run(cgroup: &Path, script: &str) -> String {
    let output = spawn(cgroup, script).wait_with_output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn read(cgroup: &Path, file: &str) -> String {
    fs::read_to_string(cgroup.join(file)).unwrap_or_else(|error| panic!("{file}: {error}")).trim().to_owned()
}

/// A number of a file with `key number` lines.
fn number(cgroup: &Path, file: &str, key: &str) -> u64 {
    let text = read(cgroup, file);
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')).unwrap();
    line.parse().unwrap()
}

fn update(test: &TestBundle, systemd: bool, flags: &[&str]) {
    let output = OURS.command(test, systemd).arg("update").args(flags).arg(&test.id).output().unwrap();
    assert_eq!(common::stdout(&output), "", "{flags:?}");
}

/// What systemd says of the container's unit.
fn shown(test: &TestBundle, property: &str) -> String {
    let unit = format!("corten-{}.scope", test.id);
    vm::said("systemctl", &["show", "--value", "-p", property, &unit]).trim().to_owned()
}

const EAT: &str = "dd if=/dev/zero of=/dev/shm/eaten.$$ bs=1M count=100 2>/dev/null; echo status $?; rm -f /dev/shm/eaten.*";

#[test]
fn memory() {
    both(
        &json!({ "memory": { "limit": 32 << 20, "swap": 32 << 20, "reservation": 8 << 20 } }),
        |test, cgroup, systemd| {
            let values = ["memory.max", "memory.low", "memory.swap.max"].map(|file| read(cgroup, file));
            assert_eq!(values, ["33554432", "8388608", "0"]);
            let said = run(cgroup, EAT);
            assert!(said.contains("status 137") || said.contains("Killed"), "{said}");
            assert!(number(cgroup, "memory.events", "oom_kill") > 0);
            // The same with enough.
            update(test, systemd, &["--memory", "256M", "--memory-swap", "256M"]);
            assert_eq!(read(cgroup, "memory.max"), "268435456");
            assert!(run(cgroup, EAT).contains("status 0"));
            if systemd {
                assert_eq!([shown(test, "MemoryMax"), shown(test, "MemoryLow")], ["268435456", "8388608"]);
            }
            update(test, systemd, &["--memory", "-1"]);
            assert_eq!([read(cgroup, "memory.max"), read(cgroup, "memory.swap.max")], ["max", "max"]);
        },
    );
}

#[test]
fn tasks() {
    const FORK: &str = "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; echo all";
    both(&json!({ "pids": { "limit": 4 } }), |test, cgroup, systemd| {
        assert_eq!(read(cgroup, "pids.max"), "4");
        let said = run(cgroup, FORK);
        assert!(said.to_lowercase().contains("fork"), "{said}");
        assert!(number(cgroup, "pids.events", "max") > 0);
        update(test, systemd, &["--pids-limit", "100"]);
        until("the others are gone", || read(cgroup, "pids.current").parse::<u32>().unwrap() == 1);
        assert!(run(cgroup, FORK).contains("all"));
        update(test, systemd, &["--pids-limit", "-1"]);
        assert_eq!(read(cgroup, "pids.max"), "max");
    });
}

/// CPU time that a busy shell gets in a second, in microseconds.
fn busy(cgroup: &Path) -> u64 {
    let mut child = spawn(cgroup, "while :; do :; done");
    std::thread::sleep(Duration::from_millis(500));
    let (start, before) = (Instant::now(), number(cgroup, "cpu.stat", "usage_usec"));
    std::thread::sleep(Duration::from_secs(3));
    let used = number(cgroup, "cpu.stat", "usage_usec") - before;
    let elapsed = u64::try_from(start.elapsed().as_micros()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    used * 1_000_000 / elapsed
}

#[test]
fn cpu_time() {
    both(
        &json!({ "cpu": { "quota": 20_000, "period": 100_000, "burst": 10_000, "shares": 512 } }),
        |test, cgroup, systemd| {
            let values = ["cpu.max", "cpu.max.burst", "cpu.weight"].map(|file| read(cgroup, file));
            assert_eq!(values, ["20000 100000", "10000", "59"]);
            let used = busy(cgroup);
            assert!((100_000..300_000).contains(&used), "{used} of 200000 us each second");
            assert!(number(cgroup, "cpu.stat", "nr_throttled") > 0);
            // Under load; the period stays.
            let mut load = spawn(cgroup, "while :; do :; done");
            update(test, systemd, &["--cpu-quota", "60000", "--cpu-share", "1024"]);
            load.kill().unwrap();
            load.wait().unwrap();
            assert_eq!([read(cgroup, "cpu.max"), read(cgroup, "cpu.weight")], ["60000 100000", "100"]);
            let used = busy(cgroup);
            assert!((400_000..750_000).contains(&used), "{used} of 600000 us each second");
            if systemd {
                assert_eq!([shown(test, "CPUQuotaPerSecUSec"), shown(test, "CPUWeight")], ["600ms", "100"]);
            }
            update(test, systemd, &["--cpu-quota", "-1", "--cpu-burst", "0"]);
            assert_eq!(read(cgroup, "cpu.max"), "max 100000");
            update(test, systemd, &["--cpu-idle", "1"]);
            assert_eq!(read(cgroup, "cpu.idle"), "1");
        },
    );
}

/// Two on one CPU get time by their shares.
#[test]
fn shares() {
    both(&json!({ "cpu": { "shares": 8192, "cpus": "1" } }), |_, much, _| {
        let few = much.parent().unwrap().join("few");
        fs::create_dir(&few).unwrap();
        for (file, value) in [("cpu.weight", "10"), ("cpuset.cpus", "1")] {
            fs::write(few.join(file), value).unwrap();
        }
        let mut loads = [much, &few].map(|cgroup| spawn(cgroup, "while :; do :; done"));
        std::thread::sleep(Duration::from_secs(4));
        let [more, less] = [much, &few].map(|cgroup| number(cgroup, "cpu.stat", "usage_usec"));
        for load in &mut loads {
            load.kill().unwrap();
            load.wait().unwrap();
        }
        until("the other cgroup is empty", || fs::remove_dir(&few).is_ok());
        assert!(more > 4 * less, "{more} and {less}");
    });
}

#[test]
fn cpus_and_nodes() {
    const ALLOWED: &str = "grep -h allowed_list /proc/self/status";
    both(&json!({ "cpu": { "cpus": "1", "mems": "0" } }), |test, cgroup, systemd| {
        assert_eq!([read(cgroup, "cpuset.cpus"), read(cgroup, "cpuset.mems")], ["1", "0"]);
        let said = run(cgroup, ALLOWED);
        assert!(
            said.contains("Cpus_allowed_list:\t1\n") && said.contains("Mems_allowed_list:\t0\n"),
            "{said}"
        );
        update(test, systemd, &["--cpuset-cpus", "0"]);
        assert!(run(cgroup, ALLOWED).contains("Cpus_allowed_list:\t0\n"));
        if systemd {
            assert_eq!([shown(test, "AllowedCPUs"), shown(test, "AllowedMemoryNodes")], ["0", "0"]);
        }
    });
}

/// A rate is felt by direct writes to the disk.
#[test]
fn block_io() {
    if !vm::in_vm() {
        return;
    }
    let disk = vm::disk();
    let rate = |rate: u64| json!([vm::device(disk, "rate", rate)]);
    let resources = json!({ "blockIO": {
        "throttleWriteBpsDevice": rate(1 << 20), "throttleReadBpsDevice": rate(2 << 20),
        "throttleReadIOPSDevice": rate(1000), "throttleWriteIOPSDevice": rate(2000),
    } });
    both(&resources, |test, cgroup, systemd| {
        let line = format!("{}:{} rbps=2097152 wbps=1048576 riops=1000 wiops=2000", disk.0, disk.1);
        assert_eq!(read(cgroup, "io.max"), line);
        let start = Instant::now();
        let file = format!("/var/tmp/written.{}", test.id);
        let said = run(
            cgroup,
            &format!("dd if=/dev/zero of={file} bs=256k count=16 oflag=direct 2>&1; rm -f {file}"),
        );
        let taken = start.elapsed();
        // 4 MiB at 1 MiB/s, of which the first moment is free.
        assert!(taken > Duration::from_secs(2), "{taken:?}: {said}");
        let faster = json!({ "blockIO": { "throttleWriteBpsDevice": rate(64 << 20) } }).to_string();
        let path = test.beside("faster.json");
        fs::write(&path, faster).unwrap();
        update(test, systemd, &["-r", path.to_str().unwrap()]);
        assert!(read(cgroup, "io.max").contains("wbps=67108864"), "{}", read(cgroup, "io.max"));
        if systemd {
            assert!(
                shown(test, "IOWriteBandwidthMax").ends_with(" 67108864"),
                "{}",
                shown(test, "IOWriteBandwidthMax")
            );
        }
    });
}

#[test]
fn devices() {
    let rules = json!([
        { "allow": false, "access": "rwm" },
        { "allow": true, "type": "c", "major": 1, "minor": 11, "access": "r" },
    ]);
    both(&json!({ "devices": rules }), |test, cgroup, systemd| {
        // /dev/kmsg: may be read, not written to. /dev/vda: nothing.
        let script =
            "(: < /dev/kmsg) && echo r; (: > /dev/kmsg) || echo not w; (: < /dev/vda) || echo not vda";
        let said = run(cgroup, script);
        assert!(said.contains("r\n") && said.contains("not w") && said.contains("not vda"), "{said}");
        let path = test.beside("devices.json");
        fs::write(&path, json!({ "devices": [{ "allow": true, "access": "rwm" }] }).to_string()).unwrap();
        update(test, systemd, &["-r", path.to_str().unwrap()]);
        let said = run(cgroup, script);
        assert!(!said.contains("not"), "{said}");
    });
}

#[test]
fn freezer() {
    both(&json!({}), |test, cgroup, systemd| {
        let mut load = spawn(cgroup, "while :; do :; done");
        let command = |name: &str| {
            let output = OURS.command(test, systemd).args([name, &test.id]).output().unwrap();
            assert_eq!(common::stdout(&output), "");
        };
        command("pause");
        // The kernel says frozen when all are on their way to stop, and charges them for what is left of it.
        std::thread::sleep(Duration::from_millis(200));
        let stopped = number(cgroup, "cpu.stat", "usage_usec");
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(number(cgroup, "cpu.stat", "usage_usec"), stopped);
        command("resume");
        until("it goes on", || number(cgroup, "cpu.stat", "usage_usec") > stopped);
        load.kill().unwrap();
        load.wait().unwrap();
    });
}

/// Huge pages in use and reserved; RDMA has no device here, and `misc` nothing to count.
#[test]
fn huge_pages() {
    let resources = json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 2 << 20 }] });
    both(&resources, |_, cgroup, _| {
        let values = ["hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"].map(|file| read(cgroup, file));
        assert_eq!(values, ["2097152", "2097152"]);
        fs::write("/proc/sys/vm/nr_hugepages", "8").unwrap();
        let directory = format!("/tmp/huge-{}", std::process::id());
        // A file in hugetlbfs reserves its pages when it is made longer.
        let take = |pages: u32| {
            format!(
                "mkdir -p {directory} && mount -t hugetlbfs -o pagesize=2M none {directory} && \
                 (fallocate -l {}M {directory}/f && echo taken); umount {directory}; rmdir {directory}",
                pages * 2
            )
        };
        let one = run(cgroup, &take(1));
        assert!(one.contains("taken"), "{one}");
        let three = run(cgroup, &take(3));
        assert!(!three.contains("taken"), "{three}");
    });
}

#[test]
fn unified() {
    let resources = json!({ "unified": { "memory.high": "16777216", "memory.min": "1048576", "pids.max": "50", "cpu.weight": "77",
        "memory.oom.group": "1", "io.weight": "default 200" } });
    both(&resources, |test, cgroup, systemd| {
        let values = ["memory.high", "memory.min", "pids.max", "cpu.weight", "memory.oom.group"]
            .map(|file| read(cgroup, file));
        assert_eq!(values, ["16777216", "1048576", "50", "77", "1"]);
        // Above `high` it is slowed down and reclaimed, not killed.
        let said = run(cgroup, "head -c 40M /dev/zero | tail -c 1 | wc -c");
        assert!(said.contains('1'), "{said}");
        if systemd {
            let values =
                ["MemoryHigh", "MemoryMin", "TasksMax", "CPUWeight"].map(|property| shown(test, property));
            assert_eq!(values, ["16777216", "1048576", "50", "77"]);
        }
    });
}
