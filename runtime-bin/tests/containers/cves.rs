//! Known attacks on container runtimes, one test for each, by CVE number.
//!
//! "The host" of a test is a directory beside the bundle with marker files: it is listed before and after, and so are the
//! kernel values that such attacks are after. What was fixed in one runtime is tried here whichever it was, and in every way that a
//! container comes about (`common/ways.rs`); what is refused by words alone is tried in one. CVE-2019-5736 is in `inside.rs`, beside the
//! other views of `/proc/PID/exe`; mounts that are added to a container that runs are in `attacks.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::exchange::Exchange;
use crate::common::stops::run_and_stop_after_look;
use crate::common::ways::{Way, open_to_all, ways};
use crate::common::{self, TestBundle, can_make_containers, corten, one_error, run, skip};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};

/// Kernel values that belong to the host and that attacks try to write.
const KERNEL_VALUES: [&str; 9] = [
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/msgmax",
    "/proc/sys/kernel/shm_rmid_forced",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv4/ip_default_ttl",
    "/proc/sys/vm/panic_on_oom",
    "/proc/sys/fs/mqueue/msg_max",
];
/// How long a race is run in each way, and with how many containers at least and at most.
const RACE_TIME: Duration = Duration::from_millis(800);
const RACE_CONTAINERS: std::ops::Range<u32> = 8..40;
/// What an error may begin with: an item of the config, or what every container has by the spec.
const ITEMS: [&str; 7] = ["mounts[", "process.", "linux.", "root.", "hostname", "default devices", "default links"];
/// What runc, too, puts before an error of init.
const DURING_INIT: &str = "unable to start container process: error during container init: ";

/// The host, as far as the test goes.
struct Host {
    directory: PathBuf,
    before: (BTreeMap<PathBuf, String>, Vec<String>),
}

impl Host {
    /// Makes the markers beside the bundle.
    fn new(test: &TestBundle) -> Self {
        let directory = test.beside("host");
        fs::create_dir_all(directory.join("directory/deeper")).unwrap();
        for name in ["file", "null", "ptmx", "console", "resolv.conf", "hosts", "directory/file"] {
            fs::write(directory.join(name), format!("the host's {name}")).unwrap();
        }
        symlink("file", directory.join("link")).unwrap();
        open_to_all(&directory);
        let before = Self::look(&directory);
        Self { directory, before }
    }

    fn look(directory: &Path) -> (BTreeMap<PathBuf, String>, Vec<String>) {
        let mut found = BTreeMap::new();
        list(directory, &mut found);
        let values = KERNEL_VALUES.map(|path| fs::read_to_string(path).unwrap_or_default());
        (found, values.into())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Asserts that nothing has changed on the host and that nothing of the container is left.
    fn assert_untouched(&self, test: &TestBundle, what: &str) {
        assert_eq!(Self::look(&self.directory), self.before, "{what}: the host has changed");
        test.assert_nothing_left(what);
    }
}

/// Everything below a directory: type, mode, owner, device number, content or target.
fn list(directory: &Path, found: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let kind = meta.file_type();
        let inside = if kind.is_symlink() {
            format!("{:?}", fs::read_link(&path).unwrap())
        } else if kind.is_file() {
            String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
        } else {
            assert!(kind.is_dir() || kind.is_char_device() || kind.is_block_device() || kind.is_fifo());
            String::new()
        };
        found.insert(
            path.clone(),
            format!("{:o} {}:{} {:x} {inside}", meta.mode(), meta.uid(), meta.gid(), meta.rdev()),
        );
        if kind.is_dir() {
            list(&path, found);
        }
    }
}

/// Makes containers in every way while names change places. Each succeeds, and then `judge` sees its output, or ends with one error that
/// names an item of the config; returns the errors.
fn race(test: &TestBundle, host: &Host, what: &str, exchanged: (&Path, &Path), judge: impl Fn(&str)) -> Vec<String> {
    ways().flat_map(|way| race_in(way, test, host, what, exchanged, &judge)).collect()
}

/// The same in one way.
fn race_in(
    way: Way,
    test: &TestBundle,
    host: &Host,
    what: &str,
    exchanged: (&Path, &Path),
    judge: impl Fn(&str),
) -> Vec<String> {
    let (prepared, mut succeeded, mut errors) = (way.prepare(test), 0, BTreeMap::<String, u32>::new());
    let _exchange = Exchange::of(exchanged.0, exchanged.1);
    let end = Instant::now() + RACE_TIME;
    for nth in 0..RACE_CONTAINERS.end {
        if Instant::now() > end && nth >= RACE_CONTAINERS.start {
            break;
        }
        let output = prepared.run();
        if output.status.success() {
            succeeded += 1;
            judge(&String::from_utf8_lossy(&output.stdout));
        } else {
            *errors.entry(item_error(&output)).or_default() += 1;
        }
        assert_eq!(Host::look(&host.directory), host.before, "{what}, {way:?}: the host has changed");
    }
    println!("{what}, {way:?}: {succeeded} succeeded, failed: {errors:#?}");
    errors.into_keys().collect()
}

/// The one error of a failed container, which must name an item of the config.
fn item_error(output: &Output) -> String {
    let error = one_error(output);
    let error = error.strip_prefix("corten run failed: ").unwrap_or_else(|| panic!("{error}"));
    let error = error.strip_prefix(DURING_INIT).unwrap_or(error).to_owned();
    assert!(ITEMS.iter().any(|item| error.starts_with(item)), "{error}");
    assert!(error.len() < 9000, "an error of {} bytes", error.len());
    error
}

fn refused(test: &TestBundle, way: Way) -> String {
    item_error(&way.run(test))
}

/// stdout of a container that must succeed, whatever it complained about: it tries what must fail.
fn heard(test: &TestBundle, way: Way) -> String {
    let output = way.run(test);
    assert!(output.status.success(), "{way:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A bundle with a writable root that runs a script, and its host.
fn attack(script: &str) -> (TestBundle, Host) {
    let mut test = TestBundle::new(&["sh", "-c", script]);
    test.config["root"]["readonly"] = false.into();
    let host = Host::new(&test);
    (test, host)
}

fn push(test: &mut TestBundle, mount: Value) {
    test.config["mounts"].as_array_mut().unwrap().push(mount);
}

/// Leaves out the mounts on these paths and below.
fn without_mounts(test: &mut TestBundle, path: &str) {
    let below = |mount: &Value| mount["destination"].as_str().is_some_and(|at| Path::new(at).starts_with(path));
    test.config["mounts"].as_array_mut().unwrap().retain(|mount| !below(mount));
}

/// A path of the host as it would be inside the rootfs, made there as a directory: so a link to the host leads somewhere.
fn twin_in_rootfs(test: &TestBundle, of: &Path) -> PathBuf {
    let twin = test.rootfs().join(of.strip_prefix("/").unwrap());
    fs::create_dir_all(&twin).unwrap();
    twin
}

/// What a volume may not cover: labels and limits are written below.
#[test]
fn cve_2019_16884_volumes_over_proc_are_refused() {
    if !can_make_containers() {
        return;
    }
    let (mut test, host) = attack("true");
    let volume = test.beside("volume");
    fs::create_dir_all(volume.join("self/attr")).unwrap();
    fs::write(volume.join("file"), "").unwrap();
    let tmpfs = |at: &str| json!({ "destination": at, "type": "tmpfs", "source": "tmpfs" });
    let bind = |at: &str| json!({ "destination": at, "type": "bind", "source": volume, "options": ["rbind"] });
    let file = |at: &str| json!({ "destination": at, "source": volume.join("file"), "options": ["bind"] });
    let mut mounts = vec![tmpfs("/proc"), tmpfs("/proc/"), tmpfs("proc"), tmpfs("/x/../proc/.")];
    for at in ["/proc/self", "/proc/self/attr", "/proc/1/attr", "/proc/sys", "//proc/./self", "/x/../proc/self"] {
        mounts.extend([tmpfs(at), bind(at)]);
    }
    mounts.extend(["/proc/self/attr/exec", "/proc/self/attr/apparmor/exec", "/proc/sys/kernel/core_pattern"].map(file));
    let config = test.config.clone();
    for mount in mounts {
        test.config = config.clone();
        push(&mut test, mount.clone());
        let error = item_error(&run(&test));
        assert!(error.contains("mounts[7]") && error.contains("/proc"), "{mount}: {error}");
        host.assert_untouched(&test, &error);
    }
}

/// The same with a volume on all of `/proc`.
#[test]
fn cve_2019_16884_a_bind_mount_on_proc_is_refused() {
    if !can_make_containers() {
        return;
    }
    for way in ways() {
        let (mut test, host) = attack("true");
        let volume = test.beside("volume");
        fs::create_dir_all(volume.join("self/attr")).unwrap();
        push(&mut test, json!({ "destination": "/proc", "type": "bind", "source": volume, "options": ["rbind"] }));
        let error = refused(&test, way);
        assert!(error.contains("mounts[7]"), "{way:?}: {error}");
        host.assert_untouched(&test, &error);
    }
}

/// The same through a link of the image: the config's words say nothing of `/proc`.
#[test]
fn cve_2019_16884_volumes_over_proc_through_a_link_are_refused() {
    if !can_make_containers() {
        return;
    }
    let (mut test, host) = attack("true");
    symlink("/proc", test.rootfs().join("data")).unwrap();
    let config = test.config.clone();
    for (way, at) in ways().flat_map(|way| ["/data", "/data/self", "/data/self/attr", "/data/sys"].map(|at| (way, at)))
    {
        test.config = config.clone();
        push(&mut test, json!({ "destination": at, "type": "tmpfs", "source": "tmpfs" }));
        let error = refused(&test, way);
        assert!(error.contains("mounts[7]"), "{way:?}, {at}: {error}");
        host.assert_untouched(&test, &error);
    }
}

/// Absolute links, and links with `..`, lead to the host's paths of the rootfs.
#[test]
fn cve_2019_18837_mounts_through_links_stay_in_the_rootfs() {
    if !can_make_containers() {
        return;
    }
    for way in ways() {
        mounts_through_links_stay_in_the_rootfs(way);
    }
}

fn mounts_through_links_stay_in_the_rootfs(way: Way) {
    let (mut test, host) = attack("cat /proc/self/mountinfo");
    let target = host.path("directory");
    let up = Path::new("../../../../../../../..").join(target.strip_prefix("/").unwrap());
    let file = test.beside("source");
    fs::write(&file, "a source").unwrap();
    let config = test.config.clone();
    for (name, link) in [("absolute", target.as_path()), ("upwards", &up), ("root", Path::new("/"))] {
        symlink(link, test.rootfs().join(name)).unwrap();
        let tmpfs = json!({ "destination": format!("/{name}"), "type": "tmpfs", "source": "the-mount" });
        let bind = json!({ "destination": format!("/{name}/file"), "source": file, "options": ["bind"] });
        for mount in [tmpfs, bind] {
            // There is nothing at the link's target inside, then there is.
            for exists in [false, true] {
                test.config = config.clone();
                push(&mut test, mount.clone());
                if exists {
                    twin_in_rootfs(&test, &target);
                }
                let output = way.run(&test);
                if !output.status.success() {
                    item_error(&output);
                }
                host.assert_untouched(&test, &format!("{way:?}, {mount}"));
            }
        }
    }
    let seen = heard(&test, way);
    assert!(seen.contains(" /file "), "{way:?}: the mount through the link to / is not there: {seen}");
}

/// `/proc` and `/sys` as links, behind links, in the rootfs and in a volume.
#[test]
fn cve_2019_19921_cve_2023_27561_cve_2023_28642_cve_2025_54867_proc_and_sys_behind_links_are_refused() {
    if !can_make_containers() {
        return;
    }
    let cases = [
        ("proc", "/proc", "proc", "/elsewhere"),
        ("proc", "/proc", "proc", "elsewhere"),
        ("proc", "/proc", "proc", "/volume/proc"),
        ("proc", "/proc", "proc", "/missing"),
        ("proc", "/proc", "proc", "proc"),
        ("proc", "/a/proc", "a", "/elsewhere"),
        ("proc", "/a/b/proc", "a", "/elsewhere"),
        ("sysfs", "/sys", "sys", "/elsewhere"),
        ("sysfs", "/sys", "sys", "/volume/sys"),
        ("sysfs", "/a/sys", "a", "/volume"),
    ];
    for (way, (fstype, at, link, to)) in ways().flat_map(|way| cases.map(|case| (way, case))) {
        let (mut test, host) = attack("true");
        let volume = test.beside("volume");
        fs::create_dir_all(volume.join("proc/sys")).unwrap();
        fs::create_dir_all(test.rootfs().join("elsewhere/b/proc")).unwrap();
        symlink(to, test.rootfs().join(link)).unwrap();
        without_mounts(&mut test, at);
        let volume = json!({ "destination": "/volume", "source": volume, "options": ["rbind"] });
        test.config["mounts"].as_array_mut().unwrap().insert(0, volume);
        push(&mut test, json!({ "destination": at, "type": fstype, "source": fstype }));
        let error = refused(&test, way);
        assert!(error.contains(&format!("{at:?}")) || error.contains(at), "{way:?}, {link} -> {to}: {error}");
        host.assert_untouched(&test, &error);
    }
}

/// The destination's parent is in a volume that somebody else changes: what is mounted is where it was asked for.
#[test]
fn cve_2023_27561_a_race_on_the_parents_of_proc_in_a_volume() {
    if !can_make_containers() {
        return;
    }
    let (mut test, host) = attack("cat /proc/self/mountinfo");
    let volume = test.beside("volume");
    fs::create_dir_all(volume.join("parent/proc")).unwrap();
    fs::create_dir_all(volume.join("target/proc")).unwrap();
    symlink("/volume/target", volume.join("link")).unwrap();
    push(&mut test, json!({ "destination": "/volume", "source": volume, "options": ["rbind"] }));
    push(&mut test, json!({ "destination": "/volume/parent/proc", "type": "proc", "source": "proc" }));
    race(&test, &host, "parents of proc", (&volume.join("parent"), &volume.join("link")), |seen| {
        assert!(!seen.contains(" /volume/target"), "mounted through the link: {seen}");
    });
    host.assert_untouched(&test, "parents of proc");
}

/// `/proc` of a rootfs that is shared with a running container changes places with another directory. Wherever the procfs is
/// seen in the end, it is masked.
#[test]
fn cve_2023_27561_a_race_on_proc_in_a_shared_rootfs() {
    if !can_make_containers() {
        return;
    }
    // Whoever has entered a directory stays in it when its name changes.
    let script = "for p in /proc /other; do (cd $p; test -e version || exit; \
        echo procfs $(stat -c %t:%T keys timer_list); \
        echo 1 2>/dev/null > sys/kernel/shm_rmid_forced && echo writable) done; true";
    // A procfs of its own, and the host's.
    for bind in [false, true] {
        let (mut test, host) = attack(script);
        if bind {
            without_mounts(&mut test, "/proc");
            push(&mut test, json!({ "destination": "/proc", "source": "/proc", "options": ["rbind"] }));
        }
        let (proc, other) = (test.rootfs().join("proc"), test.rootfs().join("other"));
        fs::create_dir(&proc).unwrap();
        fs::create_dir(&other).unwrap();
        race(&test, &host, "proc in a shared rootfs", (&proc, &other), |seen| {
            let masked = seen.lines().all(|line| line == "procfs 1:3 1:3");
            assert!(masked, "a procfs that is not masked: {seen}");
        });
        host.assert_untouched(&test, "proc in a shared rootfs");
    }
}

/// The destination changes places with a link to the host, or to the root.
#[test]
fn cve_2021_30465_a_race_on_a_mount_destination() {
    if !can_make_containers() {
        return;
    }
    let (mut test, host) = attack("cat /proc/self/mountinfo");
    let volume = test.beside("volume");
    fs::create_dir_all(volume.join("place/below")).unwrap();
    symlink(host.path("directory"), volume.join("link")).unwrap();
    twin_in_rootfs(&test, &host.path("directory"));
    push(&mut test, json!({ "destination": "/volume", "source": volume, "options": ["rbind"] }));
    push(&mut test, json!({ "destination": "/volume/place", "type": "tmpfs", "source": "first-mount" }));
    push(&mut test, json!({ "destination": "/volume/place/deeper", "type": "tmpfs", "source": "second-mount" }));
    let source = host.path("directory");
    push(&mut test, json!({ "destination": "/volume/place", "source": source, "options": ["bind", "ro"] }));
    race(&test, &host, "a mount destination", (&volume.join("place"), &volume.join("link")), |seen| {
        // What is mounted beside the root would be gone from the view after the change of root.
        for mount in ["first-mount", "second-mount"] {
            assert!(seen.contains(&format!(" - tmpfs {mount} ")), "{mount} is mounted elsewhere: {seen}");
        }
    });
    host.assert_untouched(&test, "a mount destination");
}

/// No string of the config can end early or overflow, be it a name, a path or a list of numbers.
#[test]
fn cve_2021_43784_nul_bytes_and_long_values() {
    if !can_make_containers() {
        return;
    }
    let (mut test, host) = attack("true");
    push(&mut test, json!({ "destination": "/x", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m"] }));
    test.config["linux"]["sysctl"] = json!({});
    test.config["annotations"] = json!({ "a": "" });
    let config = test.config.clone();
    let fields = [
        "/mounts/7/destination",
        "/mounts/7/type",
        "/mounts/7/source",
        "/mounts/7/options/0",
        "/hostname",
        "/linux/cgroupsPath",
        "/linux/maskedPaths/0",
        "/linux/readonlyPaths/0",
        "/linux/namespaces/0/type",
        "/root/path",
        "/process/args/0",
        "/process/cwd",
        "/process/env/0",
    ];
    for field in fields {
        let item = field.strip_prefix('/').unwrap().split('/').next().unwrap();
        test.config = config.clone();
        let place = test.config.pointer_mut(field).unwrap();
        *place = format!("{}\0/../../..", place.as_str().unwrap()).into();
        let error = one_error(&run(&test));
        assert!(error.contains(item), "{field}: {error}");
        host.assert_untouched(&test, field);
        // Around 64 KiB, where a length of 16 bits begins anew.
        for length in [65_535, 65_536, 65_537, 131_073] {
            test.config = config.clone();
            let place = test.config.pointer_mut(field).unwrap();
            let start = place.as_str().unwrap().to_owned();
            // A cgroup's parents stay when it is removed: make none.
            let slash = if field == "/linux/cgroupsPath" { "x" } else { "/" };
            *place = format!("{start}{slash}{}", "x".repeat(length - start.len() - 1)).into();
            let output = run(&test);
            if !output.status.success() {
                let error = one_error(&output);
                assert!(error.contains(item), "{field} of {length}: {}", &error[..error.len().min(300)]);
            }
            host.assert_untouched(&test, field);
        }
    }
    for (field, value) in [
        ("/process/user", json!({ "uid": 0, "gid": 0, "additionalGids": vec![7; 65_537] })),
        ("/process/user", json!({ "uid": u64::from(u32::MAX) + 1, "gid": 0 })),
        ("/linux/sysctl", json!({ "net.ipv4.ip_forward\u{0}": "1" })),
        ("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1\u{0}" })),
    ] {
        test.config = config.clone();
        *test.config.pointer_mut(field).unwrap() = value;
        let error = one_error(&run(&test));
        assert!(error.contains(&field[1..].replace('/', ".")), "{field}: {error}");
        host.assert_untouched(&test, field);
    }
    // Ids are arguments: no NUL, but any length.
    let path = test.write().path();
    for id in ["x".repeat(65_536), "../x".into(), "..".into(), "a/b".into(), "a\nb".into(), String::new()] {
        let error = one_error(&common::corten(&test, &["run", "-b", path.to_str().unwrap(), &id]).output().unwrap());
        assert!(!error.is_empty());
    }
    host.assert_untouched(&test, "ids");
}

/// To `setresuid(2)` and `setresgid(2)` an id of -1 means "leave it", which is root.
#[test]
fn cve_2021_43784_an_id_of_minus_one_is_refused() {
    if !can_make_containers() {
        return;
    }
    for user in [json!({ "uid": u32::MAX, "gid": 1000 }), json!({ "uid": 1000, "gid": u32::MAX })] {
        let (mut test, host) = attack("id");
        test.config["process"]["user"] = user;
        let error = one_error(&run(&test));
        assert!(error.contains("process.user"), "{error}");
        host.assert_untouched(&test, "ids");
    }
}

/// The runtime's own cgroup in each v1 hierarchy, and in cgroup2.
fn own_cgroups() -> Vec<PathBuf> {
    let pure = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let text = fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = text.lines().map(|line| {
        let (name, path) = line.split_once(':').unwrap().1.split_once(':').unwrap();
        let name = match name.strip_prefix("name=").unwrap_or(name) {
            "" if pure => "",
            "" => "unified",
            name => name,
        };
        Path::new("/sys/fs/cgroup").join(name).join(path.strip_prefix('/').unwrap())
    });
    own.collect()
}

/// What a container could change of them.
fn cgroup_values() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for name in ["notify_on_release", "release_agent", "cgroup.clone_children", "pids.max", "cpu.shares", "cpuset.cpus"]
    {
        for path in own_cgroups().iter().map(|directory| directory.join(name)) {
            if let Ok(value) = fs::read_to_string(&path) {
                found.insert(path, value);
            }
        }
    }
    found
}

/// Writes into every file of every cgroup in sight and makes cgroups; says what could be done. What is written is the value
/// that is there.
const CHANGE_CGROUPS: &str = "for file in $(busybox find /sys/fs/cgroup -name notify_on_release -o -name release_agent \
        -o -name cgroup.procs -o -name cgroup.subtree_control -o -name devices.allow -o -name memory.limit_in_bytes); do \
        (: >> $file) 2> /tmp/error && echo \"writes $file\"; done; \
    for directory in /sys/fs/cgroup /sys/fs/cgroup/*; do \
        mkdir $directory/escaped-ID 2> /tmp/error && echo \"makes $directory\"; done; echo done";

/// Without a cgroup namespace the host's cgroups are in sight.
#[test]
fn cve_2023_25809_readonly_cgroups_cannot_be_written() {
    if !can_make_containers() {
        return;
    }
    for (way, namespace) in ways().flat_map(|way| [(way, false), (way, true)]) {
        let (mut test, host) = attack("true");
        test.config["process"]["args"] = json!(["sh", "-c", CHANGE_CGROUPS.replace("ID", &test.id)]);
        for set in ["bounding", "effective", "permitted"] {
            test.config["process"]["capabilities"][set] = json!(["CAP_DAC_OVERRIDE", "CAP_CHOWN", "CAP_FOWNER"]);
        }
        if !namespace {
            let namespaces = test.config["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|namespace| namespace["type"] != "cgroup");
        }
        let before = cgroup_values();
        assert_eq!(heard(&test, way), "done\n", "{way:?}, cgroup namespace: {namespace}");
        assert_eq!(cgroup_values(), before);
        assert!(escaped(&test.id).is_empty());
        host.assert_untouched(&test, "readonly cgroups");
    }
}

/// The cgroups that a container has made beside its own; removes them.
fn escaped(id: &str) -> Vec<PathBuf> {
    let name = format!("escaped-{id}");
    let roots = fs::read_dir("/sys/fs/cgroup").unwrap().map(|entry| entry.unwrap().path());
    let places: BTreeSet<_> = roots.chain(["/sys/fs/cgroup".into()]).chain(own_cgroups()).collect();
    let found = places.into_iter().map(|path| path.join(&name)).filter(|path| path.is_dir());
    found.inspect(|path| fs::remove_dir(path).unwrap()).collect()
}

/// A writable `cgroup` mount shows the container's own cgroups, never those of the runtime.
fn writable_cgroups_are_the_containers_own(way: Way, namespace: bool) {
    let (mut test, host) = attack("true");
    test.config["process"]["args"] = json!(["sh", "-c", CHANGE_CGROUPS.replace("ID", &test.id)]);
    for set in ["bounding", "effective", "permitted"] {
        test.config["process"]["capabilities"][set] = json!(["CAP_DAC_OVERRIDE"]);
    }
    let mounts = test.config["mounts"].as_array_mut().unwrap();
    mounts.iter_mut().find(|mount| mount["type"] == "cgroup").unwrap()["options"] = json!(["nosuid", "nodev"]);
    if !namespace {
        let namespaces = test.config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "cgroup");
    }
    let before = cgroup_values();
    let seen = heard(&test, way);
    let escaped = escaped(&test.id);
    assert!(escaped.is_empty(), "{way:?}, cgroup namespace {namespace}: {escaped:?}, {seen}");
    assert_eq!(cgroup_values(), before);
    host.assert_untouched(&test, "writable cgroups");
}

#[test]
fn cve_2023_25809_writable_cgroups_are_the_containers_own() {
    if can_make_containers() {
        ways().for_each(|way| writable_cgroups_are_the_containers_own(way, true));
    }
}

#[test]
fn cve_2023_25809_without_a_cgroup_namespace_the_runtimes_cgroups_are_readonly() {
    if !can_make_containers() {
        return;
    }
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        skip("cgroup2 has one tree, and without a cgroup namespace a writable mount asks for all of it");
        return;
    }
    ways().for_each(|way| writable_cgroups_are_the_containers_own(way, false));
}

/// A container that has no cgroup of its own is in the caller's, which it may look at.
#[test]
fn cve_2023_25809_the_callers_cgroups_are_readonly() {
    if !can_make_containers() {
        return;
    }
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        skip("cgroup2 has one tree, and no cgroup of the container's in it that a mount could show");
        return;
    }
    for namespace in [false, true] {
        let (mut test, host) = attack("true");
        test.config["process"]["args"] = json!(["sh", "-c", CHANGE_CGROUPS.replace("ID", &test.id)]);
        for set in ["bounding", "effective", "permitted"] {
            test.config["process"]["capabilities"][set] = json!(["CAP_DAC_OVERRIDE"]);
        }
        let mounts = test.config["mounts"].as_array_mut().unwrap();
        mounts.iter_mut().find(|mount| mount["type"] == "cgroup").unwrap()["options"] = json!(["nosuid", "nodev"]);
        if !namespace {
            let namespaces = test.config["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|namespace| namespace["type"] != "cgroup");
        }
        test.config["linux"]["resources"] = Value::Null;
        let before = cgroup_values();
        let bundle = test.write().path();
        let words = ["--cgroup-manager", "disabled", "run", "--bundle", bundle.to_str().unwrap(), &test.id];
        let output = corten(&test, &words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let seen = String::from_utf8_lossy(&output.stdout);
        // The directory of the hierarchies is a tmpfs of the container's own.
        let changed = seen.lines().filter(|line| *line != "makes /sys/fs/cgroup" && *line != "done").count();
        assert_eq!((changed, seen.ends_with("done\n")), (0, true), "cgroup namespace: {namespace}: {seen}");
        assert_eq!(cgroup_values(), before);
        assert!(escaped(&test.id).is_empty());
        host.assert_untouched(&test, "the caller's cgroups");
    }
}

/// Runs the bundle with a directory of the host as fd 7 and as stdin, neither close-on-exec.
fn run_with_directory(test: &TestBundle, host: &Host, way: Way, flags: &[&str]) -> Output {
    let prepared = way.prepare(test);
    let directory = host.path("directory");
    let script = format!("exec 3<{0} 7<{0} <{0}; exec \"$@\"", directory.display());
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).args(prepared.words(&[&["run"], flags].concat()));
    let output = command.stdin(Stdio::null()).output().unwrap();
    prepared.assert_way();
    output
}

/// A working directory, or a program, through an fd of the runtime's.
#[test]
fn cve_2024_21626_no_fd_leads_out() {
    if !can_make_containers() {
        return;
    }
    for way in ways() {
        no_fd_leads_out(way);
    }
}

fn no_fd_leads_out(way: Way) {
    let (mut test, host) = attack("pwd -P; ls");
    let config = test.config.clone();
    let plain = (0..=20).flat_map(|fd| {
        let base = [format!("/proc/self/fd/{fd}"), format!("/proc/1/fd/{fd}"), format!("/proc/thread-self/fd/{fd}")];
        base.into_iter().flat_map(|path| [path.clone(), format!("{path}/..")])
    });
    // All of them in one way; what each names is the same in the others, and where the runtime's fds are, too.
    let plain = plain.step_by(if way == Way::Empty { 1 } else { 8 });
    let deep =
        ["/proc/self/fd/3", "/proc/self/fd/7", "/proc/self/fd/8", "/proc/self/fd/7/deeper", "/proc/self/fd/3/../../.."];
    for cwd in plain.chain(deep.map(str::to_owned)) {
        test.config["process"]["cwd"] = cwd.clone().into();
        // By words, `/proc/self/fd/7/..` is a directory of procfs: that one may be entered.
        let harmless = cwd.contains("/..");
        for flags in [&[][..], &["--preserve-fds", "1"]] {
            let output = run_with_directory(&test, &host, way, flags);
            if harmless && output.status.success() {
                assert!(String::from_utf8_lossy(&output.stdout).starts_with("/proc"), "{way:?}, {cwd}: {output:?}");
            } else {
                let error = item_error(&output);
                assert!(error.contains("process.cwd"), "{way:?}, {cwd}: {error}");
            }
        }
    }
    // The image has the links, the config says nothing unusual.
    for to in ["/proc/self/fd/7", "/proc/self/fd/3", "/proc/self/fd/0", "/proc/1/cwd", "/proc/1/root/.."] {
        test.config = config.clone();
        let link = test.rootfs().join("work");
        symlink(to, &link).unwrap();
        for cwd in ["/work", "/work/deeper", "/work/../../.."] {
            test.config["process"]["cwd"] = cwd.into();
            let output = run_with_directory(&test, &host, way, &["--preserve-fds", "1"]);
            if output.status.success() {
                let seen = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(seen.starts_with('/') && !seen.contains("deeper"), "{way:?}, {to}, {cwd}: {seen}");
            } else {
                assert!(item_error(&output).contains("process.cwd"), "{way:?}, {to}, {cwd}");
            }
        }
        fs::remove_file(link).unwrap();
    }
    for program in ["/proc/self/fd/7/../../bundle/rootfs/bin/busybox", "/proc/self/fd/20/bin/busybox"] {
        test.config = config.clone();
        test.config["process"]["args"] = json!([program, "pwd"]);
        let error = one_error(&run_with_directory(&test, &host, way, &[]));
        assert!(error.contains(program) && error.ends_with("no such file or directory"), "{way:?}: {error}");
    }
    host.assert_untouched(&test, "fds");
}

/// The parents of a destination change places with links to the host while they are made.
#[test]
fn cve_2024_45310_a_race_on_the_parents_of_a_destination() {
    if !can_make_containers() {
        return;
    }
    let (mut test, host) = attack("true");
    let volume = test.beside("volume");
    fs::create_dir_all(volume.join("parent")).unwrap();
    symlink(host.path("directory"), volume.join("link")).unwrap();
    let source = test.beside("source");
    fs::write(&source, "a source").unwrap();
    push(&mut test, json!({ "destination": "/volume", "source": volume, "options": ["rbind"] }));
    push(&mut test, json!({ "destination": "/volume/parent/made/here", "type": "tmpfs", "source": "tmpfs" }));
    push(&mut test, json!({ "destination": "/volume/parent/file/here", "source": source, "options": ["bind"] }));
    push(&mut test, json!({ "destination": "/volume/parent/new-file", "source": source, "options": ["bind"] }));
    test.config["process"]["cwd"] = "/volume/parent/work/here".into();
    let device =
        json!([{ "path": "/volume/parent/dev/here", "type": "c", "major": 1, "minor": 3, "uid": 7, "gid": 7 }]);
    let (parent, link) = (volume.join("parent"), volume.join("link"));
    for twin in [false, true] {
        if twin {
            twin_in_rootfs(&test, &host.path("directory"));
        }
        for way in ways() {
            // In a user namespace it would be the host's node of this name.
            test.config["linux"]["devices"] = if way == Way::UserNamespace { json!([]) } else { device.clone() };
            race_in(way, &test, &host, "parents of a destination", (&parent, &link), |_| {});
        }
    }
    host.assert_untouched(&test, "parents of a destination");
}

/// A file of the image becomes a device while the image's files are copied (`tmpcopyup`): were it opened, it would show what the
/// container may not see, the host's disks for one, and be copied.
#[test]
fn cve_2021_30465_a_race_on_what_a_tmpfs_copies_opens_no_device() {
    if !can_make_containers() {
        return;
    }
    let (mut test, host) = attack("stat -c '%F %s' /data/file");
    let data = test.rootfs().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("file"), "small").unwrap();
    let device = test.rootfs().join("device");
    // Without an end, so that a copy would fill the tmpfs.
    mknod(&device, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 5)).unwrap();
    push(&mut test, json!({ "destination": "/data", "type": "tmpfs", "options": ["tmpcopyup", "size=1m"] }));
    let errors = race(&test, &host, "a file that is copied", (&data.join("file"), &device), |seen| {
        assert!(["regular file 5\n", "character special file 0\n"].contains(&seen), "{seen}");
    });
    assert!(errors.iter().all(|error| !error.contains("no space left")), "the device was read: {errors:?}");
    // Found to be none after it had been opened.
    assert!(errors.iter().all(|error| !error.contains("no such device")), "the device was opened: {errors:?}");
    host.assert_untouched(&test, "a file that is copied");
}

/// The same, every time: the file becomes a device between the look and the open.
#[test]
fn cve_2021_30465_a_file_that_has_become_a_device_is_not_opened_by_a_copy() {
    if !can_make_containers() {
        return;
    }
    for way in ways() {
        let (mut test, host) = attack("true");
        let data = test.rootfs().join("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join("file"), "small").unwrap();
        let device = test.rootfs().join("device");
        mknod(&device, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 5)).unwrap();
        push(&mut test, json!({ "destination": "/data", "type": "tmpfs", "options": ["tmpcopyup", "size=1m"] }));
        let prepared = way.prepare(&test);
        let exchange = || fs::rename(&device, data.join("file")).unwrap();
        let output = run_and_stop_after_look(&prepared.words(&["run"]), "file", exchange);
        let error = item_error(&output);
        assert!(error.contains("openat") && error.contains("permission denied"), "{way:?}: {error}");
        host.assert_untouched(&test, "a file that has become a device");
    }
}

/// What hides a file comes from the host and is checked; `/dev/null` of the image is not asked.
#[test]
fn cve_2025_31133_cve_2025_62161_the_images_null_device_masks_nothing() {
    if !can_make_containers() {
        return;
    }
    let look = "stat -c '%F %t:%T' /proc/keys /proc/timer_list; cat /proc/keys; echo x > /proc/timer_list";
    let nulls = ["link to core_pattern", "link to sysrq", "link to the host", "file", "directory", "mount"];
    for (way, null) in ways().flat_map(|way| nulls.map(|null| (way, null))) {
        let (mut test, host) = attack(look);
        without_mounts(&mut test, "/dev");
        fs::create_dir(test.rootfs().join("dev")).unwrap();
        let path = test.rootfs().join("dev/null");
        match null {
            "link to core_pattern" => symlink("/proc/sys/kernel/core_pattern", path).unwrap(),
            "link to sysrq" => symlink("/proc/sysrq-trigger", path).unwrap(),
            "link to the host" => symlink(host.path("null"), path).unwrap(),
            "file" => fs::write(path, "a file").unwrap(),
            "directory" => fs::create_dir(path).unwrap(),
            _ => {
                let source = host.path("null");
                push(&mut test, json!({ "destination": "/dev/null", "source": source, "options": ["bind"] }));
            }
        }
        let output = way.run(&test);
        // Where the host's nodes are mounted, this is where one would be: it is refused.
        if way == Way::UserNamespace && !output.status.success() {
            assert!(item_error(&output).contains("/dev/null"), "{null}: {output:?}");
        } else {
            let device = "character special file 1:3\n";
            assert_eq!(String::from_utf8_lossy(&output.stdout), device.repeat(2), "{way:?}, {null}: {output:?}");
        }
        host.assert_untouched(&test, null);
    }
}

#[test]
fn cve_2025_31133_a_race_on_the_null_device() {
    if !can_make_containers() {
        return;
    }
    let (mut test, host) = attack("stat -c '%t:%T' /proc/keys /proc/timer_list");
    without_mounts(&mut test, "/dev");
    let dev = test.rootfs().join("dev");
    fs::create_dir(&dev).unwrap();
    fs::write(dev.join("null"), "").unwrap();
    symlink("/proc/sys/kernel/core_pattern", dev.join("link")).unwrap();
    race(&test, &host, "the null device", (&dev.join("null"), &dev.join("link")), |seen| {
        assert_eq!(seen, "1:3\n1:3\n")
    });
    host.assert_untouched(&test, "the null device");
}

/// A terminal whose `/dev/console`, `/dev/ptmx` or `/dev/pts` leads somewhere else.
#[test]
fn cve_2025_52565_terminals_are_not_found_by_their_paths() {
    if !can_make_containers() {
        return;
    }
    // Before the masks there is a moment when /proc is writable: nothing of it may be mounted on the console.
    let look = "stat -L -c '%t:%T' /dev/console; tty; echo x > /dev/console; echo x > /proc/sys/kernel/core_pattern";
    let cases = [
        ("console", "/proc/sys/kernel/core_pattern"),
        ("console", "/proc/sysrq-trigger"),
        ("console", "HOST/console"),
        ("console", "HOST/directory"),
        ("console", "HOST/missing"),
        ("ptmx", "/proc/sys/kernel/core_pattern"),
        ("ptmx", "HOST/ptmx"),
        ("pts", "/proc/sys/kernel"),
        ("pts", "HOST/directory"),
        ("pts/0", "/proc/sys/kernel/core_pattern"),
        ("pts/ptmx", "HOST/ptmx"),
        ("pts/ptmx", "/dev/ptmx"),
    ];
    for (way, (name, to)) in ways().flat_map(|way| cases.map(|case| (way, case))) {
        for devpts in [true, false] {
            let (mut test, host) = attack(look);
            test.config["process"]["terminal"] = true.into();
            let pts = test.config["mounts"].as_array().unwrap().iter().find(|mount| mount["type"] == "devpts").cloned();
            without_mounts(&mut test, "/dev");
            if devpts {
                push(&mut test, pts.unwrap());
            }
            let dev = test.rootfs().join("dev");
            let parent = if name.starts_with("pts/") { dev.join("pts") } else { dev.clone() };
            fs::create_dir_all(parent).unwrap();
            let to = to.replace("HOST", host.directory.to_str().unwrap());
            symlink(&to, dev.join(name)).unwrap();
            let what = format!("{way:?}, {name} -> {to}, devpts: {devpts}");
            let output = way.run(&test);
            let seen = String::from_utf8_lossy(&output.stdout).into_owned();
            if output.status.code() == Some(1) && seen.is_empty() {
                item_error(&output);
            } else {
                assert!(devpts, "{what}: {seen}");
                assert!(seen.starts_with("88:0"), "{what}: the console is no terminal: {seen}");
            }
            host.assert_untouched(&test, &what);
        }
    }
}

#[test]
fn cve_2025_52565_a_race_on_the_console() {
    if !can_make_containers() {
        return;
    }
    let (mut test, host) = attack("stat -c '%t:%T' /dev/console");
    test.config["process"]["terminal"] = true.into();
    let mounts = test.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| {
        let at = mount["destination"].as_str().unwrap();
        !at.starts_with("/dev") || at == "/dev/pts"
    });
    let dev = test.rootfs().join("dev");
    fs::create_dir_all(dev.join("pts")).unwrap();
    fs::write(dev.join("console"), "").unwrap();
    symlink("/proc/sys/kernel/core_pattern", dev.join("link")).unwrap();
    race(&test, &host, "the console", (&dev.join("console"), &dev.join("link")), |seen| {
        // The one or the other, as the moment had it; neither is a file that leads to the host's procfs.
        assert!(["88:0", "0:0"].contains(&seen.trim()), "{seen}");
    });
    let (one, other) = (dev.join("pts"), dev.join("fake"));
    fs::create_dir(&other).unwrap();
    symlink(host.path("ptmx"), other.join("ptmx")).unwrap();
    symlink("/proc/sys/kernel/core_pattern", other.join("0")).unwrap();
    race(&test, &host, "/dev/pts", (&one, &other), |_| {});
    host.assert_untouched(&test, "the console");
}

/// The value of a parameter is one value, not more parameters.
#[test]
fn cve_2022_0811_a_value_is_no_list_of_parameters() {
    if !can_make_containers() {
        return;
    }
    let (mut test, host) = attack("true");
    for value in ["1+kernel.core_pattern=|/x", "1\nkernel.core_pattern=|/x", "1,kernel.core_pattern=|/x"] {
        test.config["linux"]["sysctl"] = json!({ "kernel.shm_rmid_forced": value });
        let output = run(&test);
        if !output.status.success() {
            assert!(item_error(&output).contains("linux.sysctl"), "{value:?}");
        }
        host.assert_untouched(&test, value);
    }
    test.config["linux"]["sysctl"] = json!({ "kernel.core_pattern": "|/x" });
    assert!(one_error(&run(&test)).contains("linux.sysctl"));
    host.assert_untouched(&test, "core_pattern");
}

/// A hook of the engine's gets nothing of the image's environment, by which its program would load a library of the image.
#[test]
fn cve_2025_23266_hooks_do_not_get_the_images_environment() {
    if !can_make_containers() {
        return;
    }
    let (mut test, host) = attack("true");
    test.config["process"]["env"] = json!(["PATH=/bin", "LD_PRELOAD=./library.so"]);
    let seen = test.beside("seen");
    fs::create_dir(&seen).unwrap();
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        let script = format!("cat /proc/self/environ >{}", seen.join(kind).display());
        let hook = json!([{ "path": "/bin/busybox", "args": ["sh", "-c", script] }]);
        // Inside of the container's namespaces, and before its root is the root.
        test.config["hooks"][kind] = hook;
    }
    let output = run(&test);
    assert!(output.status.success(), "{output:?}");
    for entry in fs::read_dir(&seen).unwrap() {
        let path = entry.unwrap().path();
        assert!(!fs::read_to_string(&path).unwrap().contains("LD_PRELOAD"), "{path:?}");
    }
    assert_eq!(fs::read_dir(&seen).unwrap().count(), 5);
    host.assert_untouched(&test, "hooks");
}

/// Kernel parameters are written through a procfs of init's own, whatever is at `/proc`.
#[test]
fn cve_2025_52881_cve_2025_62596_sysctls_do_not_go_through_the_containers_proc() {
    if !can_make_containers() {
        return;
    }
    let look = "cat /kernel/sys/net/ipv4/ip_default_ttl /kernel/sys/kernel/msgmax";
    let fakes = ["link", "tree", "link to the host's", "volume", "link to a volume"];
    for (way, fake) in ways().flat_map(|way| fakes.map(|fake| (way, fake))) {
        let (mut test, host) = attack(look);
        without_mounts(&mut test, "/proc");
        let (proc, volume) = (test.rootfs().join("proc"), test.beside("volume"));
        let tree = if fake.contains("volume") { &volume } else { &proc };
        match fake {
            "link" => symlink("/kernel", &proc).unwrap(),
            "link to the host's" => symlink("/proc", &proc).unwrap(),
            _ => {
                fs::create_dir_all(tree.join("sys/net/ipv4")).unwrap();
                fs::create_dir_all(tree.join("sys/kernel")).unwrap();
                fs::create_dir_all(tree.join("self/attr")).unwrap();
                symlink("/proc/sys/kernel/core_pattern", tree.join("sys/kernel/msgmax")).unwrap();
                symlink(host.path("file"), tree.join("sys/net/ipv4/ip_default_ttl")).unwrap();
            }
        }
        if fake == "link to a volume" {
            symlink("/volume", &proc).unwrap();
        }
        if fake.contains("volume") {
            let at = if fake == "volume" { "/proc" } else { "/volume" };
            push(&mut test, json!({ "destination": at, "source": volume, "options": ["rbind"] }));
        }
        push(&mut test, json!({ "destination": "/kernel", "type": "proc", "source": "proc" }));
        test.config["linux"]["sysctl"] = json!({ "net.ipv4.ip_default_ttl": "77", "kernel.msgmax": "4321" });
        let output = way.run(&test);
        if output.status.success() {
            assert_eq!(String::from_utf8_lossy(&output.stdout), "77\n4321\n", "{way:?}, {fake}");
        } else {
            // A volume on /proc may be refused as such, a link to itself leads nowhere.
            let error = item_error(&output);
            assert!(["volume", "link to the host's"].contains(&fake), "{way:?}, {fake}: {error}");
        }
        host.assert_untouched(&test, fake);
    }
}

#[test]
fn cve_2025_52881_a_race_on_proc_while_sysctls_are_written() {
    if !can_make_containers() {
        return;
    }
    let (mut test, host) = attack("cat /kernel/sys/net/ipv4/ip_default_ttl /kernel/sys/kernel/msgmax");
    without_mounts(&mut test, "/proc");
    let volume = test.beside("volume");
    for tree in ["real", "fake"] {
        fs::create_dir_all(volume.join(tree).join("sys/kernel")).unwrap();
    }
    symlink("/kernel/sys/kernel/core_pattern", volume.join("fake/sys/kernel/msgmax")).unwrap();
    symlink("/volume/real", test.rootfs().join("proc")).unwrap();
    push(&mut test, json!({ "destination": "/volume", "source": volume, "options": ["rbind"] }));
    push(&mut test, json!({ "destination": "/kernel", "type": "proc", "source": "proc" }));
    test.config["linux"]["sysctl"] = json!({ "net.ipv4.ip_default_ttl": "77", "kernel.msgmax": "4321" });
    race(&test, &host, "sysctls", (&volume.join("real"), &volume.join("fake")), |seen| assert_eq!(seen, "77\n4321\n"));
    host.assert_untouched(&test, "sysctls");
}

/// Without a mount on `/dev` the default devices and links are made in the rootfs, and an old ptmx is removed from it.
#[test]
fn cve_2026_41579_cve_2026_47766_devices_and_links_are_made_in_the_rootfs() {
    if !can_make_containers() {
        return;
    }
    for (way, twin) in ways().flat_map(|way| [(way, false), (way, true)]) {
        for to in ["HOST", "../../../../../../../../..HOST", "HOST/directory/deeper"] {
            let (mut test, host) = attack("ls -l /dev/");
            without_mounts(&mut test, "/dev");
            let to = to.replace("HOST", host.directory.to_str().unwrap());
            symlink(&to, test.rootfs().join("dev")).unwrap();
            // In a user namespace it would be the host's node of this name.
            if way != Way::UserNamespace {
                test.config["linux"]["devices"] = deep_device();
            }
            if twin {
                let twin = twin_in_rootfs(&test, &host.path("directory/deeper"));
                fs::write(twin.join("ptmx"), "").unwrap();
            }
            let output = way.run(&test);
            // What the link leads to is inside: it is there, or is made.
            let seen = String::from_utf8_lossy(&output.stdout);
            assert!(seen.contains("null") && seen.contains("ptmx -> pts/ptmx"), "{way:?}, {to}: {output:?}");
            host.assert_untouched(&test, &to);
        }
    }
}

/// A device in a directory that must be made.
fn deep_device() -> Value {
    json!([{ "path": "/dev/mine/deep", "type": "c", "major": 1, "minor": 3, "uid": 7, "gid": 7 }])
}

#[test]
fn cve_2026_41579_a_race_on_dev() {
    if !can_make_containers() {
        return;
    }
    let (mut test, host) = attack("true");
    without_mounts(&mut test, "/dev");
    let (dev, link) = (test.rootfs().join("dev"), test.rootfs().join("link"));
    fs::create_dir(&dev).unwrap();
    symlink(&host.directory, &link).unwrap();
    for way in ways() {
        // In a user namespace it would be the host's node of this name.
        test.config["linux"]["devices"] = if way == Way::UserNamespace { json!([]) } else { deep_device() };
        race_in(way, &test, &host, "/dev", (&dev, &link), |_| {});
    }
    host.assert_untouched(&test, "/dev");
}

/// What engines mount on files of `/etc`, whose directory or file is a link of the image.
#[test]
fn cve_2025_24965_files_are_not_made_through_links() {
    if !can_make_containers() {
        return;
    }
    let links = ["etc", "etc/resolv.conf", "etc/hosts", "etc/passwd"];
    for (way, link) in ways().flat_map(|way| links.map(|link| (way, link))) {
        for twin in [false, true] {
            let (mut test, host) = attack("cat /etc/resolv.conf /etc/hosts");
            let etc = test.rootfs().join("etc");
            if link == "etc" {
                fs::remove_dir(&etc).unwrap();
                symlink(&host.directory, &etc).unwrap();
            } else {
                symlink(host.path(Path::new(link).file_name().unwrap().to_str().unwrap()), test.rootfs().join(link))
                    .unwrap();
            }
            if twin {
                let twin = twin_in_rootfs(&test, &host.directory);
                fs::write(twin.join("resolv.conf"), "the image's").unwrap();
            }
            for name in ["resolv.conf", "hosts"] {
                let source = test.beside(name);
                fs::write(&source, format!("the engine's {name}\n")).unwrap();
                let at = format!("/etc/{name}");
                push(&mut test, json!({ "destination": at, "source": source, "options": ["rbind", "rw"] }));
            }
            let output = way.run(&test);
            if output.status.success() {
                let seen = String::from_utf8_lossy(&output.stdout);
                assert_eq!(seen, "the engine's resolv.conf\nthe engine's hosts\n", "{way:?}, {link}");
            } else {
                item_error(&output);
            }
            host.assert_untouched(&test, link);
        }
    }
}

/// Hidden and readonly paths below something that changes places: nothing of the host is covered or shown.
#[test]
fn cve_2023_28642_a_race_on_masked_and_readonly_paths() {
    if !can_make_containers() {
        return;
    }
    let (mut test, host) = attack("cat /proc/self/mountinfo; stat -c 'keys %t:%T' /proc/keys");
    let volume = test.beside("volume");
    for directory in ["place", "twin"] {
        fs::create_dir_all(volume.join(directory).join("below")).unwrap();
        fs::write(volume.join(directory).join("file"), "").unwrap();
    }
    symlink(host.path("directory"), volume.join("link")).unwrap();
    push(&mut test, json!({ "destination": "/volume", "source": volume, "options": ["rbind"] }));
    let linux = &mut test.config["linux"];
    let masked = linux["maskedPaths"].as_array_mut().unwrap();
    masked.extend(["/volume/place/below", "/volume/place/file", "/volume/place"].map(Value::from));
    let readonly = linux["readonlyPaths"].as_array_mut().unwrap();
    readonly.extend(["/volume/place/below", "/volume/place/file", "/volume/place"].map(Value::from));
    race(&test, &host, "masked paths", (&volume.join("place"), &volume.join("link")), |seen| {
        assert!(seen.contains("keys 1:3"), "{seen}");
        assert!(!seen.contains(" /host"), "{seen}");
    });
    host.assert_untouched(&test, "masked paths");
}
