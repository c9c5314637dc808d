//! Limits: each is felt by a process that would go beyond it, wherever its controller is; `update`; what is left of cgroups.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::{
    self, TestBundle, can_make_containers, cgroup_mounts, corten, create, create_by, fail, one_error, quietly, run,
    skip, state, stdout, succeed, until, wait_for,
};
use serde_json::{Value, json};

const MIB: i64 = 1 << 20;

/// Where the limits of a controller are.
struct Controller {
    directory: PathBuf,
    legacy: bool,
}

impl Controller {
    /// Looks for the controller: in a v1 hierarchy, else in cgroup v2.
    fn find(test: &TestBundle, name: &str) -> Option<Self> {
        let legacy = Path::new("/sys/fs/cgroup").join(name);
        let root = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { "" } else { "unified" };
        let unified = Path::new("/sys/fs/cgroup").join(root);
        let is_legacy = legacy.join("cgroup.procs").exists();
        let v2 = if name == "blkio" { "io" } else { name };
        let listed = fs::read_to_string(unified.join("cgroup.controllers")).unwrap_or_default();
        if !is_legacy && !listed.split_whitespace().any(|listed| listed == v2) {
            skip(&format!("no controller {name}"));
            return None;
        }
        let mount_point = if is_legacy { legacy } else { unified };
        Some(Self { directory: mount_point.join(&test.id), legacy: is_legacy })
    }

    /// The same, if it is in a v1 hierarchy.
    fn legacy(test: &TestBundle, name: &str) -> Option<Self> {
        let found = Self::find(test, name)?;
        if !found.legacy {
            skip(&format!("the controller {name} is not in a v1 hierarchy"));
        }
        Some(found).filter(|found| found.legacy)
    }

    fn read(&self, file: &str) -> String {
        let path = self.directory.join(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}")).trim_end().to_owned()
    }

    /// The value of a key in a file of lines.
    fn count(&self, file: &str, key: &str) -> u64 {
        let text = self.read(file);
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {key} in {text}")).parse().unwrap()
    }
}

/// A container with these limits.
fn bundle(resources: &Value, args: &[&str]) -> TestBundle {
    let mut test = TestBundle::new(args);
    for (name, value) in resources.as_object().unwrap() {
        test.config["linux"]["resources"][name] = value.clone();
    }
    test
}

fn start(test: &TestBundle) {
    create(test);
    succeed(test, &["start", &test.id]);
}

/// Runs the container in the foreground, and leaves its cgroups for a look.
fn run_and_keep(test: &TestBundle) -> Output {
    let path = test.write().path();
    corten(test, &["run", "--keep", "--bundle", path.to_str().unwrap(), &test.id]).output().unwrap()
}

fn delete(test: &TestBundle) {
    assert_eq!(succeed(test, &["delete", "--force", &test.id]), "");
    test.assert_nothing_left("after delete");
}

fn update(test: &TestBundle, flags: &[&str]) -> String {
    succeed(test, &[&["update"], flags, &[&test.id]].concat())
}

#[test]
fn who_takes_too_much_memory_is_killed() {
    if !can_make_containers() {
        return;
    }
    let take = ["busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"];
    let with = |limit: i64| bundle(&json!({ "memory": { "limit": limit, "swap": limit } }), &take);
    let test = with(32 * MIB);
    let Some(memory) = Controller::find(&test, "memory") else { return };
    let output = run_and_keep(&test);
    assert_eq!(output.status.code(), Some(137), "{output:?}");
    if memory.legacy {
        assert_eq!(memory.count("memory.oom_control", "oom_kill"), 1);
        // Not all kernels count how often it was refused.
        assert_eq!(memory.read("memory.memsw.max_usage_in_bytes"), (32 * MIB).to_string());
    } else {
        assert_eq!(memory.count("memory.events", "oom_kill"), 1);
    }
    delete(&test);
    let test = with(128 * MIB);
    assert_eq!(run(&test).status.code(), Some(0));
    test.assert_nothing_left("with enough memory");
}

#[test]
fn who_takes_too_much_processor_time_is_held() {
    if !can_make_containers() {
        return;
    }
    let quota = json!({ "cpu": { "quota": 5000, "period": 50_000 } });
    let test = bundle(&quota, &["sh", "-c", "while :; do :; done"]);
    let Some(cpu) = Controller::find(&test, "cpu") else { return };
    start(&test);
    until("it is not held", || cpu.count("cpu.stat", "nr_throttled") >= 10);
    let held = cpu.count("cpu.stat", if cpu.legacy { "throttled_time" } else { "throttled_usec" });
    assert!(held > 0);
    let statistics: Value = serde_json::from_str(&succeed(&test, &["events", "--stats", &test.id])).unwrap();
    let used = statistics["data"]["cpu"]["usage"]["total"].as_u64().unwrap();
    let periods = cpu.count("cpu.stat", "nr_periods");
    // A slice of 5 ms may be taken on each processor before anybody looks.
    assert!(used < (periods + 4) * 5_000_000 * 2, "{used} ns in {periods} periods");
    delete(&test);
}

#[test]
fn processes_run_on_their_processors_only() {
    if !can_make_containers() {
        return;
    }
    let look = ["grep", "-E", "(Cpus|Mems)_allowed_list", "/proc/self/status"];
    let test = bundle(&json!({ "cpu": { "cpus": "0", "mems": "0" } }), &look);
    if Controller::find(&test, "cpuset").is_none() {
        return;
    }
    assert_eq!(stdout(&run(&test)), "Cpus_allowed_list:\t0\nMems_allowed_list:\t0\n");
    test.assert_nothing_left("with one processor");
    let test = bundle(&json!({ "cpu": { "cpus": "4000" } }), &["true"]);
    let path = test.write().path();
    let error = fail(&test, &["create", "--bundle", path.to_str().unwrap(), &test.id]);
    assert!(error.contains("linux.resources.cpu.cpus: write(\"cpuset.cpus\", \"4000\")"), "{error}");
    test.assert_nothing_left("with a processor that there is not");
}

#[test]
fn there_are_not_more_processes_than_allowed() {
    if !can_make_containers() {
        return;
    }
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; echo forked";
    let with = |limit: i64| bundle(&json!({ "pids": { "limit": limit } }), &["sh", "-c", script]);
    let test = with(5);
    let Some(pids) = Controller::find(&test, "pids") else { return };
    let output = run_and_keep(&test);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("can't fork: Resource temporarily unavailable"), "{output:?}");
    assert_eq!(pids.read("pids.max"), "5");
    assert_ne!(pids.count("pids.events", "max"), 0);
    delete(&test);
    let test = with(9);
    assert_eq!(stdout(&run(&test)), "forked\n");
}

/// A container of two processes that may have no more, in a user namespace or not.
fn full(capabilities: &[&str], mapped: bool) -> TestBundle {
    let mut test = bundle(&json!({ "pids": { "limit": 2 } }), &["sh", "-c", "sleep 1000 & exec sleep 1000"]);
    let all = [&["CAP_KILL"], capabilities].concat();
    for set in ["bounding", "effective", "permitted"] {
        test.config["process"]["capabilities"][set] = json!(all);
    }
    if mapped {
        test.map_ids();
    }
    test
}

/// A process may be moved beyond the limit, as with runc; what it clones is counted.
#[test]
fn exec_is_not_refused_at_the_limit_on_processes() {
    if !can_make_containers() {
        return;
    }
    for mapped in [false, true] {
        let test = full(&[], mapped);
        let Some(pids) = Controller::find(&test, "pids") else { return };
        start(&test);
        until("it is not full", || pids.read("pids.current") == "2");
        let said = succeed(&test, &["exec", &test.id, "cat", "/proc/self/cgroup"]);
        assert_eq!(said, succeed(&test, &["exec", &test.id, "cat", "/proc/1/cgroup"]));
        let fork = corten(&test, &["exec", &test.id, "sh", "-c", "true & wait"]).output().unwrap();
        assert!(String::from_utf8_lossy(&fork.stderr).contains("can't fork"), "{fork:?}");
        succeed(&test, &["update", "--pids-limit", "1", &test.id]);
        let terminal = corten(&test, &["exec", "-t", &test.id, "tty"]).output().unwrap();
        assert_eq!(stdout(&terminal), "/dev/pts/0\n", "mapped: {mapped}");
        let below = pids.directory.join("below");
        fs::create_dir(&below).unwrap();
        let place = if pids.legacy { "pids:below" } else { "below" };
        let said = succeed(&test, &["exec", "--cgroup", place, &test.id, "cat", "/proc/self/cgroup"]);
        assert!(said.lines().any(|line| line.ends_with("/below")), "{said}");
        succeed(&test, &["pause", &test.id]);
        let mut waiting = corten(&test, &["exec", "--ignore-paused", &test.id, "echo", "late"]);
        let waiting = waiting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        succeed(&test, &["resume", &test.id]);
        assert_eq!(stdout(&waiting.wait_with_output().unwrap()), "late\n", "mapped: {mapped}");
        delete(&test);
    }
}

/// Whoever waits for the terminal takes one connection.
#[test]
fn the_console_socket_gets_one_terminal_at_the_limit_on_processes() {
    if !can_make_containers() {
        return;
    }
    let test = full(&[], false);
    let Some(pids) = Controller::find(&test, "pids") else { return };
    start(&test);
    until("it is not full", || pids.read("pids.current") == "2");
    let socket = test.beside("console");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let process = test.beside("process.json");
    let tty =
        json!({ "terminal": true, "cwd": "/", "env": ["PATH=/bin"], "args": ["tty"], "user": { "uid": 0, "gid": 0 } });
    fs::write(&process, tty.to_string()).unwrap();
    let (socket, process) = (socket.to_str().unwrap(), process.to_str().unwrap());
    quietly(&test, &["exec", "-d", "--console-socket", socket, "--process", process, &test.id]);
    let mut master = fs::File::from(common::receive(&listener).fd);
    let mut heard = [0; 64];
    let length = std::io::Read::read(&mut master, &mut heard).unwrap();
    assert_eq!(&heard[..length], b"/dev/pts/0\r\n");
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    delete(&test);
}

/// For a moment the process would be where processes of the container can take hold of it, and without the container's limits and devices.
#[test]
fn exec_is_refused_at_the_limit_where_others_could_seize_the_process() {
    if !can_make_containers() {
        return;
    }
    for (capabilities, refused) in [(&["CAP_SYS_PTRACE"][..], true), (&["CAP_SYS_PTRACE", "CAP_SYS_ADMIN"], false)] {
        let test = full(capabilities, false);
        let Some(pids) = Controller::find(&test, "pids") else { return };
        start(&test);
        until("it is not full", || pids.read("pids.current") == "2");
        let output = corten(&test, &["exec", &test.id, "true"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.contains("the limit on processes is reached"), refused, "{capabilities:?}: {said}");
        assert_eq!(output.status.success(), !refused, "{said}");
        delete(&test);
    }
}

/// In a user namespace init is two processes for a moment, which no limit of the container's is about (runc).
#[test]
fn one_process_is_enough_in_a_user_namespace() {
    if !can_make_containers() {
        return;
    }
    let mut test = bundle(&json!({ "pids": { "limit": 1 } }), &["echo", "alone"]);
    test.map_ids();
    let Some(pids) = Controller::find(&test, "pids") else { return };
    assert_eq!(stdout(&run_and_keep(&test)), "alone\n");
    assert_eq!(pids.read("pids.max"), "1");
    delete(&test);
    test.config["process"]["args"] = json!(["sh", "-c", "true & wait"]);
    let forked = run(&test);
    assert!(String::from_utf8_lossy(&forked.stderr).contains("can't fork"), "{forked:?}");
}

/// A block device of the test's own: a file.
struct Disk {
    path: String,
    major: u64,
    minor: u64,
}

impl Disk {
    fn new(test: &TestBundle) -> Option<Self> {
        let file = test.beside("disk");
        fs::File::create(&file).unwrap().set_len(8 << 20).unwrap();
        let path = match Command::new("losetup").args(["--find", "--show"]).arg(file).output() {
            Ok(output) if output.status.success() => String::from_utf8(output.stdout).unwrap().trim().to_owned(),
            other => {
                skip(&format!("no loop device can be made: {other:?}"));
                return None;
            }
        };
        let number = fs::read_to_string(format!("/sys/block/{}/dev", path.trim_start_matches("/dev/"))).unwrap();
        let (major, minor) = number.trim().split_once(':').unwrap();
        Some(Self { path, major: major.parse().unwrap(), minor: minor.parse().unwrap() })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let detached = Command::new("losetup").arg("--detach").arg(&self.path).status();
        assert!(std::thread::panicking() || detached.unwrap().success(), "{} is left", self.path);
    }
}

#[test]
fn a_disk_is_used_no_faster_than_allowed() {
    if !can_make_containers() {
        return;
    }
    let bundle_of_disk = TestBundle::new(&["true"]);
    if Controller::find(&bundle_of_disk, "blkio").is_none() {
        return;
    }
    let Some(Disk { major, minor, .. }) = &Disk::new(&bundle_of_disk) else { return };
    let device = json!({ "path": "/dev/disk", "type": "b", "major": major, "minor": minor, "fileMode": 0o600 });
    let rule = json!({ "allow": true, "type": "b", "major": major, "minor": minor, "access": "rw" });
    // 2 MiB in 32 requests, past all caches.
    let duration = |from: &str, to: &str, direct: &str, limits: Value| {
        let dd = ["busybox", "dd", from, to, "bs=64k", "count=32", direct];
        let mut test = bundle(&json!({ "blockIO": limits }), &dd);
        test.config["linux"]["devices"] = json!([device]);
        test.config["linux"]["resources"]["devices"] = json!([{ "allow": false, "access": "rwm" }, rule]);
        let before = Instant::now();
        let output = run_and_keep(&test);
        let duration = before.elapsed();
        assert!(output.status.success(), "{output:?}");
        println!("2 MiB in {duration:?} with {limits}");
        delete(&test);
        duration
    };
    let read = |limits| duration("if=/dev/disk", "of=/dev/null", "iflag=direct", limits);
    let write = |limits| duration("if=/dev/zero", "of=/dev/disk", "oflag=direct", limits);
    let rate = |rate: i64| json!([{ "major": major, "minor": minor, "rate": rate }]);
    let slow = Duration::from_millis(1000);
    // 1 MiB a second, or 20 requests, less what passes before the first slice ends.
    let throttled = read(json!({ "throttleReadBpsDevice": rate(MIB) }));
    assert!(throttled > slow);
    assert!(read(json!({ "throttleReadIOPSDevice": rate(20) })) > slow);
    assert!(write(json!({ "throttleWriteBpsDevice": rate(MIB) })) > slow);
    assert!(write(json!({ "throttleWriteIOPSDevice": rate(20) })) > slow);
    // Nearer to what takes no limit at all, on this machine and now, than to what is throttled.
    let free = read(json!({}));
    let other = read(json!({ "throttleWriteBpsDevice": rate(MIB), "throttleReadBpsDevice": rate(0) }));
    assert!(other < (free + throttled) / 2, "{other:?} {free:?} {throttled:?}");
}

/// A disk can be mounted that the container itself may not open, as with runc: init mounts before devices are restricted.
#[test]
fn a_disk_is_mounted_that_cannot_be_opened() {
    if !can_make_containers() {
        return;
    }
    let script = "mknod /dev/disk b $0 $1; (: < /dev/disk) 2>&- || echo refused; ls -d /mnt/lost+found";
    let mut test = TestBundle::new(&[]);
    let Some(disk) = Disk::new(&test) else { return };
    let made = Command::new("mkfs.ext4").args(["-q", &disk.path]).output();
    if !made.is_ok_and(|output| output.status.success()) {
        return skip("no mkfs.ext4");
    }
    fs::create_dir(test.rootfs().join("mnt")).unwrap();
    test.config["process"]["args"] = json!(["sh", "-c", script, disk.major.to_string(), disk.minor.to_string()]);
    for set in ["bounding", "effective", "permitted"] {
        test.config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_MKNOD"));
    }
    let mount = json!({ "destination": "/mnt", "type": "ext4", "source": disk.path, "options": ["ro"] });
    test.config["mounts"].as_array_mut().unwrap().push(mount);
    // Which of two that work at the same time comes first is not always the same.
    for _ in 0..5 {
        assert_eq!(stdout(&run(&test)), "refused\n/mnt/lost+found\n");
    }
    test.assert_nothing_left("with a disk");
}

/// Two devices that not every container may open, with their minor numbers; the major one is 10.
const OTHERS: [(&str, u32); 2] = [("fuse", 229), ("loop-control", 237)];

/// A container that makes nodes of those two, and may do so.
fn with_devices(script: &str) -> Option<TestBundle> {
    if let Some((name, _)) = OTHERS.iter().find(|(name, _)| fs::File::open(Path::new("/dev").join(name)).is_err()) {
        skip(&format!("/dev/{name} cannot be opened"));
        return None;
    }
    let nodes = OTHERS.map(|(name, minor)| format!("mknod /dev/{name} c 10 {minor};")).join(" ");
    let mut test = TestBundle::new(&["sh", "-c", &format!("{nodes} {script}")]);
    for set in ["bounding", "effective", "permitted"] {
        test.config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_MKNOD"));
    }
    test.config["root"]["readonly"] = false.into();
    Some(test)
}

fn rule(allow: bool, minor: u32, access: &str) -> Value {
    json!({ "allow": allow, "type": "c", "major": 10, "minor": minor, "access": access })
}

#[test]
fn only_allowed_devices_are_opened() {
    if !can_make_containers() {
        return;
    }
    let script = "cd /dev; (: < fuse) 2>&- && echo read; (: > fuse) 2>&- && echo write; (: <> fuse) 2>&- && echo both; \
        head -c1 full > null && echo full; mknod zero2 c 1 5 && head -c1 zero2 | wc -c";
    let (all, nothing) = (json!({ "allow": true, "access": "rwm" }), json!({ "allow": false, "access": "rwm" }));
    for (rules, said) in [
        (json!([nothing]), ""),
        (json!([nothing, rule(true, 229, "w")]), "write\n"),
        (json!([nothing, rule(true, 229, "r")]), "read\n"),
        (json!([nothing, rule(true, 229, "r"), rule(true, 229, "w")]), "read\nwrite\nboth\n"),
        (json!([rule(true, 229, "rwm"), rule(false, 229, "r"), rule(true, 237, "rwm")]), "write\n"),
        (json!([all]), "read\nwrite\nboth\n"),
        (json!([all, rule(false, 229, "rw")]), ""),
        (json!([all, nothing]), ""),
    ] {
        let Some(mut test) = with_devices(script) else { return };
        test.config["linux"]["resources"]["devices"] = rules.clone();
        assert_eq!(stdout(&run(&test)), format!("{said}full\n1\n"), "{rules}");
        test.assert_nothing_left("with devices");
    }
    // Everybody may make a node, as with runc, who has the capability.
    let test = TestBundle::new(&["sh", "-c", "mknod /dev/x c 1 5 2>&1"]);
    let output = run(&test);
    assert!(String::from_utf8_lossy(&output.stdout).contains("Operation not permitted"), "{output:?}");
}

/// Update changes the list of devices of a container that runs.
#[test]
fn updated_devices_are_allowed_and_refused() {
    if !can_make_containers() {
        return;
    }
    let script = "cd /tmp; while :; do for name in fuse loop-control; do \
            if (: < /dev/$name) 2> /dev/null; then echo yes; else echo no; fi > new && busybox mv new $name; \
        done; touch looked; sleep 0.01; done";
    let Some(test) = with_devices(script) else { return };
    start(&test);
    let tmp = test.rootfs().join("tmp");
    let looks_again = || {
        for _ in 0..2 {
            fs::remove_file(tmp.join("looked")).ok();
            until("it does not look", || tmp.join("looked").exists());
        }
        OTHERS.map(|(name, _)| fs::read_to_string(tmp.join(name)).unwrap().trim_end() == "yes")
    };
    assert_eq!(looks_again(), [false, false]);
    let nothing = json!({ "allow": false, "access": "rwm" });
    for (rules, seen) in [
        (json!([nothing, rule(true, 229, "rwm")]), [true, false]),
        (json!([nothing, rule(true, 237, "rwm")]), [false, true]),
        (json!([{ "allow": true, "access": "rwm" }]), [true, true]),
        (json!([nothing]), [false, false]),
    ] {
        from_stdin(&test, &json!({ "devices": rules }));
        assert_eq!(looks_again(), seen, "{rules}");
        assert_eq!(recorded(&test)["devices"], rules);
        // Another limit leaves them as they are.
        from_stdin(&test, &json!({ "cpu": {} }));
        assert_eq!(looks_again(), seen, "{rules}, afterwards");
    }
    delete(&test);
}

/// `corten update -r -`.
fn from_stdin(test: &TestBundle, resources: &Value) {
    let mut child = corten(test, &["update", "-r", "-", &test.id]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(resources.to_string().as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// The limits that the state remembers.
fn recorded(test: &TestBundle) -> Value {
    let file = test.state_root().join(&test.id).join("state.json");
    let record: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    record["resources"].clone()
}

#[test]
fn a_paused_container_stands_still() {
    if !can_make_containers() {
        return;
    }
    let mut test = TestBundle::new(&["sh", "-c", "i=0; while :; do i=$((i + 1)); echo $i > /tmp/count; done"]);
    test.config["root"]["readonly"] = false.into();
    start(&test);
    let count = || fs::read_to_string(test.rootfs().join("tmp/count")).unwrap_or_default();
    until("it does not count", || !count().is_empty());
    for _ in 0..3 {
        assert_eq!(succeed(&test, &["pause", &test.id]), "");
        assert_eq!(state(&test)["status"], "paused");
        assert_eq!(fail(&test, &["pause", &test.id]), "container paused");
        let before = count();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(count(), before);
        assert_eq!(succeed(&test, &["resume", &test.id]), "");
        assert_eq!(fail(&test, &["resume", &test.id]), "container not paused");
        until("it does not go on", || count() != before);
    }
    succeed(&test, &["pause", &test.id]);
    // A signal waits, but for one that kills.
    succeed(&test, &["kill", &test.id, "TERM"]);
    assert_eq!(state(&test)["status"], "paused");
    succeed(&test, &["kill", &test.id, "KILL"]);
    wait_for(&test, "stopped");
    assert_eq!(fail(&test, &["resume", &test.id]), "container not paused");
    delete(&test);
    let test = TestBundle::new(&["sleep", "1000"]);
    start(&test);
    succeed(&test, &["pause", &test.id]);
    delete(&test);
}

/// Every flag of `update`, in the files.
#[test]
fn update_writes_what_flags_say() {
    if !can_make_containers() {
        return;
    }
    let test = TestBundle::new(&["sleep", "1000"]);
    let names = ["memory", "cpu", "cpuset", "pids"];
    let Some([memory, cpu, cpuset, pids]) = controllers(&test, names) else { return };
    start(&test);
    let expect = |flags: &[&str], values: &[(&Controller, &str, &str)]| {
        assert_eq!(update(&test, flags), "");
        for (controller, file, value) in values {
            assert_eq!(controller.read(file), *value, "{file} after {flags:?}");
        }
    };
    let (limit, both) = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes");
    // Growing from no limit, shrinking, growing: each needs another order.
    for (memory_limit, swap) in [("64M", "96M"), ("16M", "32M"), ("128M", "256M"), ("32M", "32M")] {
        let bytes = |text: &str| (text.trim_end_matches('M').parse::<i64>().unwrap() * MIB).to_string();
        let flags = ["--memory", memory_limit, "--memory-swap", swap];
        expect(&flags, &[(&memory, limit, &bytes(memory_limit)), (&memory, both, &bytes(swap))]);
    }
    expect(&["--memory-swap", "-1"], &[(&memory, limit, "33554432"), (&memory, both, "9223372036854771712")]);
    expect(&["--memory", "-1"], &[(&memory, limit, "9223372036854771712"), (&memory, both, "9223372036854771712")]);
    expect(&["--memory-reservation", "16777216"], &[(&memory, "memory.soft_limit_in_bytes", "16777216")]);
    let (quota, period) = ("cpu.cfs_quota_us", "cpu.cfs_period_us");
    expect(&["--cpu-quota", "20000"], &[(&cpu, quota, "20000"), (&cpu, period, "100000")]);
    expect(&["--cpu-period", "50000"], &[(&cpu, quota, "20000"), (&cpu, period, "50000")]);
    expect(&["--cpu-quota", "30000"], &[(&cpu, quota, "30000"), (&cpu, period, "50000")]);
    expect(&["--cpu-burst", "10000"], &[(&cpu, "cpu.cfs_burst_us", "10000")]);
    // The burst cannot be more than the quota: it comes after, or before.
    expect(&["--cpu-quota", "100000", "--cpu-burst", "90000"], &[(&cpu, "cpu.cfs_burst_us", "90000")]);
    expect(&["--cpu-quota", "20000", "--cpu-burst", "0"], &[(&cpu, "cpu.cfs_burst_us", "0"), (&cpu, quota, "20000")]);
    expect(&["--cpu-quota", "-1"], &[(&cpu, quota, "-1")]);
    expect(&["--cpu-share", "512"], &[(&cpu, "cpu.shares", "512")]);
    expect(&["--cpu-idle", "1"], &[(&cpu, "cpu.idle", "1")]);
    expect(&["--cpu-idle", "0"], &[(&cpu, "cpu.idle", "0")]);
    expect(
        &["--cpuset-cpus", "0", "--cpuset-mems", "0"],
        &[(&cpuset, "cpuset.cpus", "0"), (&cpuset, "cpuset.mems", "0")],
    );
    expect(&["--pids-limit", "20"], &[(&pids, "pids.max", "20")]);
    expect(&["--pids-limit", "0"], &[(&pids, "pids.max", "max")]);
    expect(&["--pids-limit", "1"], &[(&pids, "pids.max", "1")]);
    expect(&["--pids-limit", "-1"], &[(&pids, "pids.max", "max")]);
    // The file and stdin; what they do not speak of stays.
    let file = test.beside("resources.json");
    fs::write(&file, json!({ "memory": { "limit": 48 * MIB }, "pids": { "limit": 30 } }).to_string()).unwrap();
    expect(
        &["-r", file.to_str().unwrap(), "--pids-limit", "7"],
        &[(&memory, limit, "50331648"), (&pids, "pids.max", "30")],
    );
    from_stdin(&test, &json!({ "cpu": { "shares": 100, "quota": 40_000 } }));
    assert_eq!(
        (cpu.read("cpu.shares"), cpu.read(quota), cpu.read(period)),
        ("100".into(), "40000".into(), "50000".into())
    );
    assert_eq!(pids.read("pids.max"), "30");
    let known = recorded(&test);
    assert_eq!(known["cpu"]["quota"], 40_000);
    assert_eq!(known["cpu"]["period"], 50_000);
    assert_eq!(known["memory"]["limit"], 48 * MIB);
    assert_eq!(known["pids"]["limit"], 30);
    delete(&test);
}

/// Controllers in v1 hierarchies, all of them or none.
fn controllers<const N: usize>(test: &TestBundle, names: [&str; N]) -> Option<[Controller; N]> {
    let found: Vec<_> = names.into_iter().map_while(|name| Controller::legacy(test, name)).collect();
    found.try_into().ok()
}

/// All limits of an update are in force, or none.
#[test]
fn a_failed_update_changes_nothing() {
    if !can_make_containers() {
        return;
    }
    // One that has limits, and one that has none to go back to.
    let limits = json!({
        "memory": { "limit": 64 * MIB, "swap": 96 * MIB }, "pids": { "limit": 50 },
        "cpu": { "quota": 50_000, "period": 100_000, "shares": 512, "cpus": "0" },
    });
    for resources in [limits, json!({})] {
        let test = bundle(&resources, &["sleep", "1000"]);
        let names = ["memory", "cpu", "cpuset", "pids"];
        let Some([memory, cpu, cpuset, pids]) = controllers(&test, names) else { return };
        start(&test);
        let look = || {
            [
                memory.read("memory.limit_in_bytes"),
                memory.read("memory.memsw.limit_in_bytes"),
                memory.read("memory.soft_limit_in_bytes"),
                cpu.read("cpu.cfs_quota_us"),
                cpu.read("cpu.cfs_period_us"),
                cpu.read("cpu.shares"),
                cpuset.read("cpuset.cpus"),
                pids.read("pids.max"),
            ]
        };
        let (before, known) = (look(), recorded(&test));
        let all = ["--memory", "32M", "--memory-swap", "48M", "--memory-reservation", "16M", "--pids-limit", "7"];
        let cpu = ["--cpu-quota", "10000", "--cpu-period", "20000", "--cpu-share", "100", "--cpuset-cpus", "4000"];
        let error = fail(&test, &[&["update"], &all[..], &cpu, &[&test.id]].concat());
        assert!(error.contains("linux.resources.cpu.cpus: write(\"cpuset.cpus\", \"4000\")"), "{error}");
        assert_eq!((look(), recorded(&test)), (before.clone(), known.clone()));
        // Refused by the last of all, the list of devices.
        let exceptions = json!([
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 77, "access": "rwm" },
            { "allow": false, "type": "c", "major": 77, "minor": 1, "access": "rwm" },
        ]);
        let file = test.beside("resources.json");
        fs::write(&file, json!({ "pids": { "limit": 7 }, "devices": exceptions }).to_string()).unwrap();
        let error = fail(&test, &["update", "-r", file.to_str().unwrap(), &test.id]);
        assert!(error.contains("exception to an exception"), "{error}");
        assert_eq!((look(), recorded(&test)), (before, known));
        delete(&test);
    }
}

/// A limit below what is used is refused, and the error says how much that is.
#[test]
fn memory_that_is_used_cannot_be_taken_away() {
    if !can_make_containers() {
        return;
    }
    let script = "x=$(head -c 30000000 /dev/zero | busybox tr '\\0' x); echo > /tmp/taken; while :; do sleep 1; done";
    let mut test = bundle(&json!({ "memory": { "limit": 128 * MIB, "swap": 128 * MIB } }), &["sh", "-c", script]);
    test.config["root"]["readonly"] = false.into();
    let Some(memory) = Controller::legacy(&test, "memory") else { return };
    start(&test);
    until("it takes no memory", || test.rootfs().join("tmp/taken").exists());
    for flags in [&["--memory", "8M"][..], &["--memory", "8M", "--memory-swap", "8M"]] {
        let error = fail(&test, &[&["update"], flags, &[&test.id]].concat());
        let (usage, peak) = (memory.read("memory.usage_in_bytes"), memory.read("memory.max_usage_in_bytes"));
        assert!(
            error.contains("linux.resources.memory.limit: write(\"memory.limit_in_bytes\", \"8388608\")"),
            "{error}"
        );
        assert!(error.contains("(current usage: ") && error.contains(&format!(", peak usage: {peak})")), "{error}");
        assert!(error.ends_with("device or resource busy"), "{error}, {usage} in use");
        assert_eq!(memory.read("memory.limit_in_bytes"), (128 * MIB).to_string());
        assert_eq!(memory.read("memory.memsw.limit_in_bytes"), (128 * MIB).to_string());
    }
    // Asked beforehand, in runc's words.
    let file = test.beside("resources.json");
    fs::write(&file, json!({ "memory": { "limit": 8 * MIB, "checkBeforeUpdate": true } }).to_string()).unwrap();
    let error = fail(&test, &["update", "-r", file.to_str().unwrap(), &test.id]);
    assert!(error.contains("rejecting memory limit 8388608 <= usage "), "{error}");
    delete(&test);
}

/// A limit of a controller that there is not is refused by name, before anything of the container runs.
#[test]
fn a_missing_controller_is_named() {
    if !can_make_containers() {
        return;
    }
    let mut tried = 0;
    for (controller, field, resources) in [
        ("memory", "memory.limit", json!({ "memory": { "limit": 64 * MIB } })),
        ("pids", "pids.limit", json!({ "pids": { "limit": 10 } })),
        ("cpu", "cpu.shares", json!({ "cpu": { "shares": 512 } })),
        ("rdma", "rdma[\"mlx5\"]", json!({ "rdma": { "mlx5": { "hcaHandles": 3 } } })),
    ] {
        let test = bundle(&resources, &["true"]);
        if Controller::find(&test, controller).is_some() {
            continue;
        }
        tried += 1;
        let error = one_error(&run(&test));
        assert!(error.contains(&format!("linux.resources.{field}: write(\"{controller}.")), "{error}");
        assert!(error.contains(&format!(": controller {controller:?} not available (the cgroup has \"")), "{error}");
        test.assert_nothing_left("without a controller");
        let test = TestBundle::new(&["sleep", "1000"]);
        start(&test);
        let file = test.beside("resources.json");
        fs::write(&file, resources.to_string()).unwrap();
        let error = fail(&test, &["update", "-r", file.to_str().unwrap(), &test.id]);
        assert!(error.contains(&format!("controller {controller:?} not available")), "{error}");
        delete(&test);
    }
    if tried == 0 {
        skip("all controllers are there");
    }
}

#[test]
fn huge_pages_are_limited() {
    if !can_make_containers() {
        return;
    }
    let limit = |limit: i64| json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": limit }] });
    let test = bundle(&limit(4 * MIB), &["sleep", "1000"]);
    let Some(huge_pages) = Controller::find(&test, "hugetlb") else { return };
    start(&test);
    let files = if huge_pages.legacy {
        ["hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.rsvd.limit_in_bytes"]
    } else {
        ["hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"]
    };
    assert_eq!(files.map(|file| huge_pages.read(file)), ["4194304", "4194304"]);
    from_stdin(&test, &limit(0));
    assert_eq!(files.map(|file| huge_pages.read(file)), ["0", "0"]);
    delete(&test);
    let test = bundle(&json!({ "hugepageLimits": [{ "pageSize": "64MB", "limit": 0 }] }), &["true"]);
    let error = one_error(&run(&test));
    assert!(error.contains("linux.resources.hugepageLimits[0]: write(\"hugetlb.64MB."), "{error}");
    test.assert_nothing_left("with pages of no size");
}

/// What `corten ps` lists.
fn processes(test: &TestBundle) -> Vec<u64> {
    let listed: Option<_> = serde_json::from_str(&succeed(test, &["ps", "--format", "json", &test.id])).unwrap();
    listed.unwrap_or_default()
}

/// A signal to all reaches processes that are elsewhere in the cgroup, or in the PID namespace of the host.
#[test]
fn a_signal_reaches_all_processes() {
    if !can_make_containers() {
        return;
    }
    // The children outlive their parent, in sessions of their own.
    let script =
        "trap : TERM; for i in 1 2 3; do busybox setsid sleep 1000 & done; while :; do sleep 1000 & wait; done";
    for shared in [false, true] {
        let mut test = TestBundle::new(&["sh", "-c", script]);
        if shared {
            let namespaces = test.config["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|namespace| namespace["type"] != "pid");
        }
        start(&test);
        let ps = || processes(&test);
        // Until then a child is a shell that has the trap.
        let sleeps =
            |pid: &u64| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"sleep\0"));
        until("it does not fork", || ps().iter().filter(|pid| sleeps(pid)).count() == 4);
        let init = state(&test)["pid"].as_u64().unwrap();
        let before = ps();
        // The shell goes on and starts one again.
        assert_eq!(succeed(&test, &["kill", "--all", &test.id, "TERM"]), "");
        until("somebody is not reached", || {
            let now = ps();
            before.iter().all(|pid| *pid == init || !now.contains(pid))
        });
        assert!(ps().contains(&init));
        let signal: &[&str] = if shared { &["kill", &test.id, "KILL"] } else { &["kill", "--all", &test.id, "KILL"] };
        assert_eq!(succeed(&test, signal), "");
        until("somebody lives", || ps().is_empty());
        wait_for(&test, "stopped");
        delete(&test);
    }
}

#[test]
fn without_cgroups_there_are_no_limits() {
    if !can_make_containers() {
        return;
    }
    let test = bundle(&json!({ "pids": { "limit": 10 } }), &["sleep", "1000"]);
    let global = ["--cgroup-manager", "disabled"];
    let pid = create_by(&test, |arguments| {
        let mut command = corten(&test, &global);
        command.args(arguments);
        command
    });
    let cgroup = |process: &str| fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap();
    assert_eq!(cgroup(&pid.to_string()), cgroup("self"));
    for mount_point in cgroup_mounts() {
        assert!(!mount_point.join(&test.id).exists(), "{mount_point:?}");
    }
    succeed(&test, &["start", &test.id]);
    let no_cgroup = "the container has no cgroup of its own to limit";
    assert_eq!(fail(&test, &["update", "--pids-limit", "5", &test.id]), no_cgroup);
    assert!(fail(&test, &["pause", &test.id]).contains("no cgroup"));
    assert_eq!(succeed(&test, &["kill", "--all", &test.id, "KILL"]), "");
    wait_for(&test, "stopped");
    delete(&test);
}

/// What a container has made below its cgroups, with any names, goes with it; who hides there dies.
#[test]
fn nested_cgroups_are_deleted() {
    if !can_make_containers() {
        return;
    }
    let test = TestBundle::new(&["sleep", "1000"]);
    start(&test);
    let mut hidden = Vec::new();
    for mount_point in cgroup_mounts() {
        let top = mount_point.join(&test.id);
        if !top.exists() {
            continue;
        }
        let mut deep = top.clone();
        for _ in 0..40 {
            deep.push("d");
        }
        fs::create_dir_all(&deep).unwrap();
        for name in ["a b", "-rf", "...", "*", "\u{1b}[31m", "'\"$(x)`"] {
            fs::create_dir(top.join(name)).unwrap();
            fs::create_dir(top.join(name).join("inner")).unwrap();
        }
        for number in 0..100 {
            fs::create_dir(top.join(format!("wide{number}"))).unwrap();
        }
        // A v1 cgroup without processors takes no process.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if mount_point.ends_with("cpuset") {
                let value = fs::read_to_string(top.join(file)).unwrap();
                fs::write(top.join("a b").join(file), value).unwrap();
            }
        }
        let child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        let all =
            cgroup_mounts().into_iter().map(|mount_point| mount_point.join(&test.id)).filter(|path| path.exists());
        // In all of the container's cgroups, and nested in this one.
        for cgroup in all.filter(|cgroup| *cgroup != top).chain([top.join("a b")]) {
            fs::write(cgroup.join("cgroup.procs"), child.id().to_string()).unwrap();
        }
        hidden.push(child);
    }
    assert!(!hidden.is_empty());
    assert_eq!(succeed(&test, &["delete", "--force", &test.id]), "");
    for mut child in hidden {
        assert!(!child.wait().unwrap().success());
    }
    test.assert_nothing_left("after delete");
}

/// A container that is full of cgroups and processes is gone at once. How fast is told, and asserted only roughly.
#[test]
fn five_hundred_processes_are_killed_at_once() {
    if !can_make_containers() {
        return;
    }
    let script = "i=0; while [ $i -lt 500 ]; do sleep 1000 & i=$((i + 1)); done; wait";
    let test = TestBundle::new(&["sh", "-c", script]);
    start(&test);
    let ps = || processes(&test);
    until("it does not fork", || ps().len() == 501);
    let tops: Vec<_> = cgroup_mounts()
        .into_iter()
        .map(|mount_point| mount_point.join(&test.id))
        .filter(|path| path.exists())
        .collect();
    for top in &tops {
        for number in 0..20 {
            let nested = top.join(format!("{}/{number}", number % 4));
            fs::create_dir_all(&nested).unwrap();
        }
    }
    for (number, pid) in ps().iter().enumerate() {
        // Nested in the one that says who is there.
        let top = tops.iter().find(|top| top.starts_with("/sys/fs/cgroup/freezer")).unwrap_or(&tops[0]);
        let nested = top.join(format!("{}/{}", number % 4, number % 4 + 4 * (number % 5)));
        fs::write(nested.join("cgroup.procs"), pid.to_string()).unwrap();
    }
    assert_eq!(ps().len(), 501);
    let before = Instant::now();
    assert_eq!(succeed(&test, &["delete", "--force", &test.id]), "");
    let duration = before.elapsed();
    println!("500 processes in nested cgroups of {} hierarchies: deleted in {duration:?}", tops.len());
    test.assert_nothing_left("after a great delete");
    // Ten times as long where the processor is emulated.
    let bound = if std::env::var_os("CORTEN_VM").is_some() { 30 } else { 3 };
    assert!(duration < Duration::from_secs(bound), "{duration:?}");
}

/// Many containers with limits at once: none is in another's way, and no cgroup is left.
#[test]
fn two_hundred_containers_with_limits() {
    if !can_make_containers() {
        return;
    }
    const AT_ONCE: usize = 16;
    const EACH: usize = 13;
    let mut limits = json!({});
    let probe = TestBundle::new(&["true"]);
    for (name, limit) in [
        ("memory", json!({ "limit": 64 * MIB })),
        ("pids", json!({ "limit": 20 })),
        ("cpu", json!({ "quota": 50_000, "shares": 512 })),
    ] {
        if Controller::find(&probe, name).is_some() {
            limits[name] = limit;
        }
    }
    let mut test = bundle(&limits, &["true"]);
    // All below one, which each of them may have to make.
    test.config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
    let path = test.path();
    let before = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..AT_ONCE {
            let (test, path) = (&test, &path);
            let mut config = test.config.clone();
            scope.spawn(move || {
                for round in 0..EACH {
                    let id = format!("{}-{thread}-{round}", test.id);
                    let own = path.with_file_name(format!("bundle-{thread}"));
                    fs::create_dir_all(&own).unwrap();
                    config["root"]["path"] = test.rootfs().to_str().unwrap().into();
                    config["linux"]["cgroupsPath"] = format!("/{}/{}/{id}", test.id, round % 3).into();
                    fs::write(own.join("config.json"), config.to_string()).unwrap();
                    let errors = own.join("errors");
                    let step = |arguments: &[&str]| {
                        let mut command = corten(test, arguments);
                        command.stdout(Stdio::null()).stderr(fs::File::create(&errors).unwrap());
                        let status = command.status().unwrap();
                        assert!(status.success(), "{arguments:?}: {}", fs::read_to_string(&errors).unwrap());
                    };
                    step(&["create", "--bundle", own.to_str().unwrap(), &id]);
                    step(&["start", &id]);
                    step(&["delete", "--force", &id]);
                }
            });
        }
    });
    println!("{} containers in {:?}", AT_ONCE * EACH, before.elapsed());
    for mount_point in cgroup_mounts() {
        let top = mount_point.join(&test.id);
        for parent in ["0", "1", "2"] {
            // Parents stay, as with runc. A container's own would keep them.
            fs::remove_dir(top.join(parent)).ok();
        }
        fs::remove_dir(&top).ok();
    }
    test.assert_nothing_left("after two hundred");
}

/// A create that fails takes back what it has made, in all hierarchies, at whichever point it fails.
#[test]
fn a_failed_create_leaves_no_cgroup() {
    if !can_make_containers() {
        return;
    }
    let missing = json!({ "destination": "/x", "type": "bind", "source": "/no/such", "options": ["bind"] });
    for (what, resources, mount) in [
        ("a limit", json!({ "hugepageLimits": [{ "pageSize": "64MB", "limit": 0 }] }), None),
        ("a file", json!({ "unified": { "nosuch.file": "1" } }), None),
        ("a mount", json!({}), Some(missing)),
    ] {
        let mut test = bundle(&resources, &["true"]);
        test.config["mounts"].as_array_mut().unwrap().extend(mount);
        one_error(&run(&test));
        test.assert_nothing_left(what);
        let path = test.write().path();
        fail(&test, &["create", "--bundle", path.to_str().unwrap(), &test.id]);
        test.assert_nothing_left(what);
    }
}

/// `unified` is for limits: by no file of it can a config get at processes, its own or the host's.
#[test]
fn unified_moves_freezes_and_kills_nobody() {
    if !can_make_containers() {
        return;
    }
    let mut of_the_host = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = of_the_host.id().to_string();
    let cgroups = || fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let before = cgroups();
    let refused = [
        ("cgroup.procs", &*pid),
        ("cgroup.threads", &*pid),
        ("cgroup.kill", "1"),
        ("cgroup.freeze", "1"),
        ("cgroup.type", "threaded"),
        ("cgroup.subtree_control", "+pids"),
        ("cgroup.new", "1"),
        ("../cgroup.procs", &*pid),
        ("cgroup..", "1"),
        ("..", "1"),
        ("", "1"),
    ];
    for (file, value) in refused {
        let resources = json!({ "unified": { file: value } });
        let error = one_error(&run(&bundle(&resources, &["true"])));
        assert!(error.contains(&format!("linux.resources.unified[{file:?}]")), "{error}");
    }
    let test =
        bundle(&json!({ "unified": { "cgroup.max.descendants": "5", "cgroup.max.depth": "2" } }), &["sleep", "1000"]);
    start(&test);
    let resources = test.beside("resources.json");
    let recorded_before = recorded(&test);
    for (file, value) in refused {
        fs::write(&resources, json!({ "unified": { file: value } }).to_string()).unwrap();
        let error = fail(&test, &["update", "-r", resources.to_str().unwrap(), &test.id]);
        assert!(error.contains(&format!("linux.resources.unified[{file:?}]")), "{error}");
    }
    assert_eq!((common::state(&test)["status"].as_str(), recorded(&test)), (Some("running"), recorded_before));
    delete(&test);
    assert_eq!(cgroups(), before);
    assert!(of_the_host.try_wait().unwrap().is_none(), "killed");
    of_the_host.kill().unwrap();
    of_the_host.wait().unwrap();
}

/// The runtime itself does not count: nothing heavy runs in the container's cgroup.
#[test]
fn a_low_memory_limit_is_enough() {
    if !can_make_containers() {
        return;
    }
    let with = |limit: i64| bundle(&json!({ "memory": { "limit": limit, "swap": limit } }), &["true"]);
    if Controller::find(&with(0), "memory").is_none() {
        return;
    }
    let lowest = (64..=4096).step_by(64).find(|kib: &i64| run(&with(kib * 1024)).status.success());
    println!("{lowest:?} KiB are enough for `true`");
    assert!(lowest.is_some_and(|kib| kib <= 1024), "{lowest:?}");
    // Init does not fit: it is told by its cause, and nothing is left.
    let test = with(4096);
    let error = one_error(&run(&test));
    assert!(error.ends_with("container init was OOM-killed (memory limit too low?)"), "{error}");
    test.assert_nothing_left("with too little memory");
}
