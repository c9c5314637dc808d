//! Ordinary children of this program under limits, felt by them, by the library alone.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use corten_cgroup::device::{Access, Kind, Rule};
use corten_cgroup::{
    Cgroups, Cpu, HugePages, Io, Layout, Location, Machine, Memory, Resources, Setting, ThrottleDevice,
};

const DEADLINE: Duration = Duration::from_secs(10);

/// Cgroups of a test's own.
struct Test {
    machine: Machine,
    location: Location,
    cgroups: Cgroups,
}

impl Test {
    /// `None` if cgroups cannot be made here, or there are not all of these controllers, by their names in
    /// v1.
    fn new(controllers: &[&str]) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let machine = Machine::detect().inspect_err(|error| println!("skipped: {error}")).ok()?;
        for controller in controllers {
            let unified = if *controller == "blkio" { "io" } else { controller };
            let root = unified_mount(&machine);
            let listed = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
            let there = listed.split_whitespace().any(|listed| listed == unified);
            if !there && !machine.legacy_controllers().contains(controller) {
                println!("skipped: no controller {controller}");
                return None;
            }
        }
        let id = format!("corten-limits-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let location = machine.locate(Some(Path::new("/").join(&id).as_ref()), &id).unwrap();
        match machine.create(&location) {
            Ok(cgroups) => Some(Self { machine, location, cgroups }),
            Err(error) => {
                println!("skipped: {error}");
                None
            }
        }
    }

    fn settings(&self, resources: &Resources) -> Vec<Setting> {
        resources.settings(self.machine.legacy_controllers()).unwrap()
    }

    fn limit(&self, resources: &Resources) {
        self.cgroups.apply(&self.settings(resources)).unwrap();
    }

    /// Starts a shell in the cgroups.
    fn start(&self, script: &str) -> Child {
        let script = format!("read go; {script}");
        let mut child = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        self.cgroups.add(child.id().try_into().unwrap()).unwrap();
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        child
    }

    fn run(&self, script: &str) -> Output {
        self.start(script).wait_with_output().unwrap()
    }

    /// Where the files of a controller are.
    fn directory(&self, controller: &str) -> PathBuf {
        match self.location.legacy.iter().find(|(name, _)| name.split(',').any(|name| name == controller)) {
            Some((_, path)) => {
                Path::new("/sys/fs/cgroup").join(controller).join(path.strip_prefix("/").unwrap())
            }
            None => unified_mount(&self.machine)
                .join(self.location.unified.as_ref().unwrap().strip_prefix("/").unwrap()),
        }
    }

    fn read(&self, controller: &str, file: &str) -> String {
        fs::read_to_string(self.directory(controller).join(file)).unwrap().trim_end().to_owned()
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        let killed = self.cgroups.kill(DEADLINE);
        let removed = self.machine.open(&self.location).and_then(|cgroups| cgroups.remove(DEADLINE));
        if !std::thread::panicking() {
            killed.and(removed).unwrap();
            assert!(self.machine.open(&self.location).unwrap().is_empty());
        }
    }
}

fn unified_mount(machine: &Machine) -> PathBuf {
    Path::new("/sys/fs/cgroup").join(if machine.layout() == Layout::Unified { "" } else { "unified" })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn memory_is_limited() {
    let Some(test) = Test::new(&["memory"]) else { return };
    let limit = Some(16 << 20);
    test.limit(&Resources {
        memory: Memory { limit, swap: limit, ..Memory::default() },
        ..Resources::default()
    });
    assert_eq!(test.cgroups.oom_kills().unwrap(), 0);
    assert!(test.run("dd if=/dev/zero of=/dev/null bs=4M count=1 2> /dev/null").status.success());
    let killed = test.run("exec dd if=/dev/zero of=/dev/null bs=64M count=1");
    assert_eq!(killed.status.signal(), Some(9), "{killed:?}");
    assert_eq!(test.cgroups.oom_kills().unwrap(), 1);
}

#[test]
fn processor_time_and_processors_are_limited() {
    let Some(test) = Test::new(&["cpu", "cpuset"]) else { return };
    let cpu = Cpu {
        quota: Some(5000),
        period: Some(50_000),
        cpus: "0".to_owned(),
        mems: "0".to_owned(),
        ..Cpu::default()
    };
    test.limit(&Resources { cpu, ..Resources::default() });
    let allowed = test.run("grep Cpus_allowed_list /proc/self/status");
    assert_eq!(text(&allowed.stdout), "Cpus_allowed_list:\t0\n");
    let mut busy = test.start("while :; do :; done");
    let mut used = test.cgroups.stats().unwrap().cpu.unwrap();
    while used.throttled_periods < 5 {
        std::thread::sleep(Duration::from_millis(10));
        used = test.cgroups.stats().unwrap().cpu.unwrap();
    }
    // Of one processor a tenth, and what is taken before anybody looks.
    assert!(used.total_ns < (used.periods + 4) * 2 * 5_000_000, "{used:?}");
    test.cgroups.kill(DEADLINE).unwrap();
    busy.wait().unwrap();
}

#[test]
fn tasks_are_limited() {
    let Some(test) = Test::new(&["pids"]) else { return };
    test.limit(&Resources { pids: Some(3), ..Resources::default() });
    let output = test.run("exec 2>&1; for i in 1 2 3 4; do sleep 1000 > /dev/null 2>&1 & done; echo forked");
    assert!(!output.status.success() && text(&output.stdout).contains("annot fork"), "{output:?}");
    assert!(test.cgroups.stats().unwrap().pids.unwrap().current <= 3);
}

/// The kernel counts a reservation of huge pages that is refused because of the limit, whether there are such
/// pages or not.
#[test]
fn huge_pages_are_limited() {
    let Some(test) = Test::new(&["hugetlb"]) else { return };
    if test.machine.legacy_controllers().contains("hugetlb") {
        println!("skipped: hugetlb is in a v1 hierarchy, which does not count reservations that are refused");
        return;
    }
    let limit = |limit| Resources {
        huge_pages: vec![HugePages { page_size: "2MB".to_owned(), limit }],
        ..Resources::default()
    };
    let own = std::env::current_exe().unwrap();
    let map = format!("exec {} --exact limits::maps_a_huge_page --ignored", own.display());
    test.limit(&limit(4 << 20));
    test.run(&map);
    assert_eq!(test.read("hugetlb", "hugetlb.2MB.events"), "max 0");
    test.cgroups.update(&test.settings(&limit(0))).unwrap();
    for file in ["hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"] {
        assert_eq!(test.read("hugetlb", file), "0");
    }
    assert!(!test.run(&map).status.success());
    assert_eq!(test.read("hugetlb", "hugetlb.2MB.events"), "max 1");
}

#[test]
#[ignore = "is run by the one above, under a limit"]
fn maps_a_huge_page() {
    let (read_write, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let flags = flags | libc::MAP_HUGETLB | libc::MAP_HUGE_2MB;
    // SAFETY: a new mapping, at no place that is in use; nobody touches it.
    let mapped = unsafe { libc::mmap(std::ptr::null_mut(), 2 << 20, read_write, flags, -1, 0) };
    assert_ne!(mapped, libc::MAP_FAILED);
}

/// The list is replaced at once, and each other limit leaves it alone.
#[test]
fn devices_are_restricted() {
    let Some(test) = Test::new(&[]) else { return };
    if test.machine.layout() != Layout::Unified && !test.machine.legacy_controllers().contains("devices") {
        println!("skipped: no controller devices");
        return;
    }
    let all = Access { read: true, write: true, mknod: true };
    let rule = |allow, minor| Rule { allow, kind: Kind::Char, major: Some(1), minor, access: all };
    let null_and = |minor| [rule(true, Some(3)), rule(true, Some(minor))];
    let script = "for name in zero full; do if (: < /dev/$name) 2> /dev/null; then echo $name; fi; done";
    let said = || text(&test.run(script).stdout);
    assert_eq!(said(), "zero\nfull\n");
    for (rules, expected) in [
        (&null_and(5)[..], "zero\n"),
        (&null_and(7), "full\n"),
        (&[rule(true, None), rule(false, Some(5))], "full\n"),
        (&[Rule { allow: true, kind: Kind::All, major: None, minor: None, access: all }], "zero\nfull\n"),
    ] {
        // All may be kept waiting, but nothing changes yet.
        let before = said();
        let prepared = test.cgroups.prepare_devices(rules);
        assert_eq!(said(), before);
        match prepared.and_then(|devices| test.cgroups.set_prepared_devices(&devices)) {
            // v1 has no words for exceptions to exceptions.
            Err(error) if error.to_string().contains("exception") => {}
            done => {
                done.unwrap();
                assert_eq!(said(), expected, "{rules:?}");
            }
        }
    }
}

/// What was in force can be put back, whatever else was changed half-way.
#[test]
fn an_update_can_be_taken_back() {
    let Some(test) = Test::new(&["memory", "pids", "cpu"]) else { return };
    let before = Resources {
        memory: Memory { limit: Some(32 << 20), swap: Some(32 << 20), ..Memory::default() },
        cpu: Cpu { quota: Some(50_000), ..Cpu::default() },
        ..Resources::default()
    };
    test.limit(&before);
    let look = |test: &Test| {
        let files: Vec<PathBuf> = ["memory", "pids", "cpu", "blkio"].map(|name| test.directory(name)).into();
        let read = |directory: PathBuf| -> Vec<(PathBuf, String)> {
            let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
            let is_limit = |path: &PathBuf| {
                let name = path.file_name().unwrap().to_str().unwrap();
                ["max", "_bytes", "_us", "shares", "weight", "low", "_device", "oom_control", "swappiness"]
                    .iter()
                    .any(|end| name.ends_with(end))
                    && !["usage", "kmem", "peak", "stat", "service_bytes", "events"]
                        .iter()
                        .any(|part| name.contains(part))
            };
            entries
                .filter(is_limit)
                .map(|path| (path.clone(), fs::read_to_string(path).unwrap_or_default()))
                .collect()
        };
        let mut seen: Vec<_> = files.into_iter().flat_map(read).collect();
        seen.sort();
        seen
    };
    let seen = look(&test);
    let mut wanted = Resources {
        memory: Memory {
            limit: Some(64 << 20),
            swap: Some(96 << 20),
            reservation: Some(16 << 20),
            disable_oom_killer: true,
            ..Memory::default()
        },
        cpu: Cpu { quota: Some(10_000), period: Some(20_000), shares: Some(100), ..Cpu::default() },
        pids: Some(7),
        ..Resources::default()
    };
    if let Some((major, minor)) = a_disk().filter(|_| test.machine.legacy_controllers().contains("blkio")) {
        wanted.io =
            Io { throttle_read_bps: vec![ThrottleDevice { major, minor, rate: 1 << 20 }], ..Io::default() };
    }
    let settings = test.settings(&wanted);
    let back = test.cgroups.update(&settings).unwrap();
    let changed = look(&test);
    assert!(changed.iter().zip(&seen).filter(|(now, then)| now != then).count() >= 5, "{changed:?}");
    test.cgroups.update(&back).unwrap();
    assert_eq!(look(&test), seen);
}

/// The number of any disk.
fn a_disk() -> Option<(i64, i64)> {
    let entry = fs::read_dir("/sys/block").ok()?.flatten().next()?;
    let number = fs::read_to_string(entry.path().join("dev")).ok()?;
    let (major, minor) = number.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The example is tried as a user would.
#[test]
fn the_example_limits_a_command() {
    if Test::new(&["memory"]).is_none() {
        return;
    }
    let own = std::env::current_exe().unwrap();
    let example = own.parent().unwrap().with_file_name("examples").join("limit");
    if !example.exists() {
        println!("skipped: {example:?} is not built");
        return;
    }
    let limit = |arguments: &[&str]| {
        let output = Command::new(&example).args(arguments).stdin(Stdio::null()).output().unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, stdout, stderr) =
        limit(&["--memory", "33554432", "sh", "-c", "echo out; sleep 1000 & exit 3"]);
    assert_eq!((code, stdout.as_str()), (Some(3), "out\n"), "{stderr}");
    let dd = ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"];
    let (code, _, stderr) = limit(&[&["--memory", "33554432"][..], &dd].concat());
    assert_eq!(code, Some(137));
    assert!(stderr.contains("limit: it needed more memory\n"), "{stderr}");
    let (code, _, stderr) = limit(&["--memory", "much", "true"]);
    assert_eq!((code, stderr.as_str()), (Some(125), "limit: invalid digit found in string\n"));
}
