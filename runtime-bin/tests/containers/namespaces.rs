//! Namespaces: mapped ids, joined namespaces, offsets of clocks, and callers without privileges.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::common::{
    self, CORTEN, TestBundle, can_make_containers, copy_program, corten, create, create_by, fail, one_error, receive,
    run, skip, state, stdout, succeed, until, wait_for,
};
use serde_json::{Value, json};

/// The spec's types, and the kernel's names of their files.
const KINDS: [(&str, &str); 8] = [
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("network", "net"),
    ("pid", "pid"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
    ("time", "time"),
    ("user", "user"),
];

/// `unshare` with what follows from being first of a PID namespace.
const OWN_OF_EACH: [&str; 9] =
    ["--ipc", "--uts", "--net", "--mount", "--cgroup", "--time", "--pid", "--fork", "--kill-child"];

/// Root of a [`Holder`]'s user namespace, on the host.
const HELD_ROOT: u32 = 300_000;

/// A process that holds namespaces for containers to join.
struct Holder(Child);

impl Holder {
    fn start(flags: &[&str]) -> Self {
        Self::start_as(&[], flags)
    }

    /// The same as another user: options of setpriv(1).
    fn start_as(user: &[&str], flags: &[&str]) -> Self {
        let mut command = Command::new("setpriv");
        command.args(user).arg("unshare").args(flags).args(["/bin/busybox", "sleep", "1000"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let holder = Self(child);
        let forks = flags.contains(&"--fork");
        until("unshare holds no namespaces", || {
            let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", holder.pid())).unwrap_or_default();
            let pid = if forks { children.trim().to_owned() } else { holder.pid().to_string() };
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == "busybox")
        });
        holder
    }

    /// The same in a user namespace whose ids begin at [`HELD_ROOT`].
    fn mapped(flags: &[&str]) -> Self {
        let holder = Self::start(&[&["--user"], flags].concat());
        for file in ["uid_map", "gid_map"] {
            fs::write(format!("/proc/{}/{file}", holder.pid()), format!("0 {HELD_ROOT} 65536\n")).unwrap();
        }
        holder
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn path(&self, kind: &str) -> String {
        let name = match kind {
            "pid" | "time" => format!("{kind}_for_children"),
            _ => KINDS.iter().find(|(word, _)| *word == kind).unwrap().1.to_owned(),
        };
        format!("/proc/{}/ns/{name}", self.pid())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have ended by itself; then both fail, and nothing is left to do.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What a link of procfs says, like `ipc:[4026531839]`.
fn link(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_link(path).unwrap_or_else(|error| panic!("{path:?}: {error}")).to_string_lossy().into_owned()
}

/// Puts a namespace into the config, in place of one of its type.
fn namespace(test: &mut TestBundle, kind: &str, path: Option<&str>) {
    without(test, kind);
    let mut entry = json!({ "type": kind });
    if let Some(path) = path {
        entry["path"] = path.into();
    }
    test.config["linux"]["namespaces"].as_array_mut().unwrap().push(entry);
}

fn without(test: &mut TestBundle, kind: &str) {
    test.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != kind);
}

/// Takes a mount and those below it out of the config.
fn unmount(test: &mut TestBundle, destination: &str) {
    let mounts = test.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with(destination));
}

/// Shows the host's `/sys`: whoever does not own the network namespace cannot mount one.
fn bind_sys(test: &mut TestBundle) {
    unmount(test, "/sys");
    test.config["mounts"].as_array_mut().unwrap().push(json!({
        "destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "ro"],
    }));
}

/// Devpts for a namespace that has no group `tty`.
fn without_group_5(test: &mut TestBundle) {
    for mount in test.config["mounts"].as_array_mut().unwrap() {
        if let Some(options) = mount.get_mut("options") {
            options.as_array_mut().unwrap().retain(|option| option != "gid=5");
        }
    }
}

fn capabilities(test: &mut TestBundle, names: &[&str]) {
    for set in ["bounding", "effective", "permitted"] {
        test.config["process"]["capabilities"][set] = json!(names);
    }
}

/// A bundle of a shell script, in a user namespace whose root owns the rootfs, which can be written to.
fn mapped(script: &str) -> TestBundle {
    let mut test = TestBundle::new(&["sh", "-c", script]);
    test.map_ids();
    test.config["root"]["readonly"] = false.into();
    test
}

/// `corten create`; returns init's pid.
/// Fields of a file of procfs, whatever is between them.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// Asserts that none of these users has a process, not even one to be reaped here.
fn assert_no_process_of(users: std::ops::Range<u32>) {
    let is_left = |entry: &fs::DirEntry| {
        let owner = entry.metadata().map(|meta| meta.uid());
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let dead = status.contains("\nState:\tZ") && !status.contains(&format!("\nPPid:\t{}\n", std::process::id()));
        entry.path().join("comm").exists() && owner.is_ok_and(|uid| users.contains(&uid)) && !dead
    };
    until("processes are left", || !fs::read_dir("/proc").unwrap().flatten().any(|entry| is_left(&entry)));
}

/// Receives the master of a container's terminal.
/// Reads a terminal until the last process on it has ended.
fn read_terminal(master: &mut File) -> String {
    let (mut heard, mut buffer) = (String::new(), [0; 1024]);
    // EIO: nobody has the other end any more.
    while let Ok(length @ 1..) = master.read(&mut buffer) {
        heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    heard
}

fn has_capability(number: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap() >> number & 1 == 1
}

const CAP_SYS_RESOURCE: u32 = 24;

// User namespaces, made by root.

#[test]
fn ids_are_mapped_in_several_ranges() {
    if !can_make_containers() {
        return;
    }
    let script = "cat /proc/self/uid_map /proc/self/gid_map; id -u; id -g; id -G; touch /tmp/by-user; stat -c %u:%g /tmp /bin/sh";
    let mut test = mapped(script);
    let map = |inside: u32, host: u32, size: u32| json!({ "containerID": inside, "hostID": host, "size": size });
    test.config["linux"]["uidMappings"] = json!([map(0, 100_000, 10), map(10, 200_000, 5), map(1000, 310_000, 1)]);
    test.config["linux"]["gidMappings"] = json!([map(0, 100_000, 1000), map(1000, 320_000, 100)]);
    test.config["process"]["user"] = json!({ "uid": 1000, "gid": 1001, "additionalGids": [7, 1099], "umask": 0o027 });
    fs::set_permissions(test.rootfs().join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    let said = stdout(&run(&test));
    let lines: Vec<_> = said.lines().map(|line| words(line).join(" ")).collect();
    assert_eq!(lines[..5], ["0 100000 10", "10 200000 5", "1000 310000 1", "0 100000 1000", "1000 320000 100"]);
    assert_eq!(lines[5..], ["1000", "1001", "1001 7 1099", "0:0", "0:0"]);
    let made = fs::metadata(test.rootfs().join("tmp/by-user")).unwrap();
    assert_eq!((made.uid(), made.gid(), made.mode() & 0o777), (310_000, 320_001, 0o640));
    test.assert_nothing_left("several ranges");
}

/// Capabilities count inside: for what the namespace owns, and nothing else.
#[test]
fn root_inside_rules_over_its_own_namespaces() {
    if !can_make_containers() {
        return;
    }
    let script = "grep CapEff /proc/self/status; hostname other && hostname; mount -t tmpfs mine /tmp && touch /tmp/a && echo mounted; \
        chmod 4755 /bin/busybox; echo 5 > /proc/sys/net/ipv4/ip_default_ttl && cat /proc/sys/net/ipv4/ip_default_ttl; \
        echo 1 > /proc/sys/vm/swappiness; mknod /node c 1 3; id -u";
    let mut test = mapped(script);
    capabilities(&mut test, &["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_FOWNER", "CAP_MKNOD", "CAP_DAC_OVERRIDE"]);
    test.config["linux"].as_object_mut().unwrap().remove("readonlyPaths");
    let output = run(&test);
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let bits = 1u64 << 21 | 1 << 12 | 1 << 3 | 1 << 27 | 1 << 1;
    assert_eq!(said, format!("CapEff:\t{bits:016x}\nother\nmounted\n5\n0\n"), "{errors}");
    assert!(errors.contains("swappiness") && errors.contains("mknod"), "{errors}");
    assert_eq!(fs::metadata(test.rootfs().join("bin/busybox")).unwrap().mode() & 0o7777, 0o4755);
    test.assert_nothing_left("capabilities");
}

#[test]
fn devices_inside_are_the_hosts() {
    if !can_make_containers() {
        return;
    }
    let script = "cd /dev; stat -c '%n %t:%T' null zero full random urandom tty; ls -l ptmx fd stdin; \
        echo x > null && head -c3 zero | wc -c; echo > full || echo full";
    let mut test = mapped(script);
    let output = run(&test);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for wanted in
        ["null 1:3", "zero 1:5", "full 1:7", "random 1:8", "urandom 1:9", "tty 5:0", "-> pts/ptmx", "\n3\nfull\n"]
    {
        assert!(said.contains(wanted), "no {wanted}: {said}{}", String::from_utf8_lossy(&output.stderr));
    }
    test.assert_nothing_left("devices");

    test.config["linux"]["devices"] = json!([{ "path": "/dev/zero", "type": "c", "major": 10, "minor": 200 }]);
    let error = one_error(&run(&test));
    assert!(error.contains("linux.devices[0]: /dev/zero is not char 10:200"), "{error}");
    test.config["linux"]["devices"] = json!([{ "path": "/dev/no-such", "type": "c", "major": 10, "minor": 200 }]);
    let error = one_error(&run(&test));
    assert!(error.contains("linux.devices[0]") && error.contains("/dev/no-such"), "{error}");
    test.assert_nothing_left("devices that are not there");
}

#[test]
fn a_terminal_of_mapped_root() {
    if !can_make_containers() {
        return;
    }
    let mut test = mapped("tty; stat -c %u:%g /dev/console /dev/pts/0; stat -c %u /dev/pts; echo x > /dev/tty; id -u");
    test.config["process"]["terminal"] = true.into();
    test.config["process"]["user"] = json!({ "uid": 12, "gid": 12 });
    let socket = test.beside("console");
    let listener = UnixListener::bind(&socket).unwrap();
    test.write();
    create_by(&test, |arguments| {
        let console = ["--console-socket", socket.to_str().unwrap()];
        let more: &[&str] = if arguments[0] == "create" { &console } else { &[] };
        corten(&test, &[&arguments[..1], more, &arguments[1..]].concat())
    });
    let mut master = File::from(receive(&listener).fd);
    assert_eq!(fs::metadata(format!("/proc/self/fd/{}", master.as_raw_fd())).unwrap().rdev(), 0x502);
    succeed(&test, &["start", &test.id]);
    assert_eq!(words(&read_terminal(&mut master)), ["/dev/pts/0", "12:5", "12:5", "0", "x", "12"]);
    succeed(&test, &["delete", "--force", &test.id]);
    test.assert_nothing_left("a terminal");
}

#[test]
fn cgroups_show_the_container_alone() {
    if !can_make_containers() {
        return;
    }
    let script =
        "cat /proc/self/cgroup; ls /sys/fs/cgroup; cat /sys/fs/cgroup/cgroup.procs; mkdir /sys/fs/cgroup/below";
    let mut test = mapped(script);
    let hybrid = Path::new("/sys/fs/cgroup/unified").is_dir();
    let output = run(&test);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("0::/\n"), "{said}");
    assert!(hybrid || said.contains("cgroup.controllers") && said.contains("\n1\n"), "{said}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("Read-only file system"), "{output:?}");
    test.assert_nothing_left("with a cgroup namespace");

    without(&mut test, "cgroup");
    let output = run(&test);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(&format!("0::/{}\n", test.id)), "{said}");
    if hybrid {
        // Every hierarchy of v1, and the links beside them, as with runc.
        let names =
            fs::read_dir("/sys/fs/cgroup").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let missing: Vec<_> =
            names.filter(|name| name != "unified" && !said.lines().any(|line| line == name)).collect();
        assert!(missing.is_empty(), "no {missing:?}: {said}");
    } else {
        assert!(said.contains("cgroup.controllers"), "{said}");
    }
    assert!(!said.contains(&format!("{}\n{}\n", test.id, test.id)), "{said}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("Read-only file system"), "{output:?}");
    test.assert_nothing_left("without one");
}

#[test]
fn what_the_runtime_sets_for_mapped_root() {
    if !can_make_containers() {
        return;
    }
    let script = "hostname; cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/ping_group_range /proc/sys/kernel/shm_rmid_forced \
        /proc/sys/kernel/domainname /proc/sys/fs/mqueue/msg_max /proc/self/oom_score_adj";
    let mut test = mapped(script);
    test.config["domainname"] = "example".into();
    test.config["linux"]["sysctl"] = json!({
        "net.ipv4.ip_forward": "1", "net.ipv4.ping_group_range": "0 99", "kernel.shm_rmid_forced": "1", "fs.mqueue.msg_max": "7",
    });
    test.config["process"]["oomScoreAdj"] = 321.into();
    assert_eq!(words(&stdout(&run(&test))), ["corten", "1", "0", "99", "1", "example", "7", "321"]);
    // As another user than root, too.
    test.config["process"]["user"] = json!({ "uid": 4, "gid": 4 });
    assert_eq!(words(&stdout(&run(&test))), ["corten", "1", "0", "99", "1", "example", "7", "321"]);
    test.assert_nothing_left("kernel parameters");
}

/// Limits are the runtime's to raise: root inside could not.
#[test]
fn limits_beyond_the_callers() {
    if !can_make_containers() {
        return;
    }
    let mut test = mapped("ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj");
    test.config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 700, "hard": 1400 }]);
    test.config["process"]["oomScoreAdj"] = (-300).into();
    let path = test.write().path();
    let mut command = Command::new("prlimit");
    command
        .args(["--nofile=500:600", CORTEN, "--root"])
        .arg(test.state_root())
        .args(["run", "-b"])
        .arg(path)
        .arg(&test.id);
    if has_capability(CAP_SYS_RESOURCE) {
        assert_eq!(words(&stdout(&command.output().unwrap())), ["700", "1400", "-300"]);
    } else {
        skip("limits and OOM scores beyond the own need CAP_SYS_RESOURCE; only the error was looked at");
        let error = one_error(&command.output().unwrap());
        assert!(error.contains("process.oomScoreAdj") && error.contains("-300"), "{error}");
        test.config["process"].as_object_mut().unwrap().remove("oomScoreAdj");
        test.write();
        let error = one_error(&command.output().unwrap());
        assert!(error.contains("process.rlimits[0]") && error.contains("operation not permitted"), "{error}");
    }
    test.assert_nothing_left("limits");
}

#[test]
fn hidden_and_readonly_to_mapped_root() {
    if !can_make_containers() {
        return;
    }
    let script = "head -c1 /proc/kcore; cat /proc/keys; ls /sys/firmware; echo 1 > /proc/sys/net/ipv4/ip_forward; touch /file; \
        umount /proc/kcore; mount -o remount,rw /; echo end";
    let mut test = mapped(script);
    test.config["root"]["readonly"] = true.into();
    capabilities(&mut test, &["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_NET_ADMIN"]);
    let output = run(&test);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("ip_forward: Read-only file system"), "{errors}");
    assert!(errors.contains("/file: Read-only file system"), "{errors}");
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("end\n"), "{output:?}");
    assert!(!test.rootfs().join("file").exists());
    test.assert_nothing_left("readonly");

    capabilities(&mut test, &[]);
    let output = run(&test);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "end\n", "{output:?}");
    test.assert_nothing_left("masked");
}

#[test]
fn queues_and_shared_memory_belong_to_mapped_root() {
    if !can_make_containers() {
        return;
    }
    let script = "stat -c %u:%g /dev/mqueue /dev/shm /dev /proc/self/ /dev/pts; touch /dev/mqueue/q /dev/shm/m; stat -c %u /dev/mqueue/q /dev/shm/m";
    let test = mapped(script);
    assert_eq!(words(&stdout(&run(&test))), ["0:0", "0:0", "0:0", "0:0", "0:0", "0", "0"]);
    test.assert_nothing_left("mqueue");
}

#[test]
fn maps_without_root() {
    if !can_make_containers() {
        return;
    }
    let mut test = mapped(
        "cat /proc/self/uid_map; id -u; id -g; stat -c %u:%g /tmp /dev /dev/mqueue; touch /tmp/mine; echo x > /dev/null",
    );
    let maps = json!([{ "containerID": 1000, "hostID": 100_000, "size": 1 }]);
    test.config["linux"]["uidMappings"] = maps.clone();
    test.config["linux"]["gidMappings"] = maps;
    test.config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    without_group_5(&mut test);
    let said = stdout(&run(&test));
    assert_eq!(words(&said), ["1000", "100000", "1", "1000", "1000", "1000:1000", "1000:1000", "1000:1000"]);
    assert_eq!(fs::metadata(test.rootfs().join("tmp/mine")).unwrap().uid(), 100_000);
    test.assert_nothing_left("no root");

    test.config["process"]["user"] = json!({ "uid": 0, "gid": 1000 });
    let error = one_error(&run(&test));
    assert!(error.contains("uid"), "{error}");
    test.assert_nothing_left("an unmapped user");
}

#[test]
fn the_life_of_a_mapped_container() {
    if !can_make_containers() {
        return;
    }
    let test = mapped("sleep 1000");
    test.write();
    let pid = create(&test);
    let map = fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap();
    assert_eq!(words(&map), ["0", "100000", "65536"]);
    for (_, name) in KINDS.iter().filter(|(kind, _)| *kind != "time") {
        assert_ne!(link(format!("/proc/{pid}/ns/{name}")), link(format!("/proc/self/ns/{name}")), "{name}");
    }
    succeed(&test, &["start", &test.id]);
    test.wait_for_program("sleep");
    assert!(succeed(&test, &["list"]).contains("running"));
    succeed(&test, &["kill", &test.id, "KILL"]);
    wait_for(&test, "stopped");
    succeed(&test, &["delete", &test.id]);
    assert_eq!(fail(&test, &["state", &test.id]), "container does not exist");
    test.assert_nothing_left("its life");
}

// Namespaces that are there already.

/// A bundle whose script prints the namespaces that it is in, in the order of `KINDS`.
fn looking_around() -> TestBundle {
    let names: Vec<_> = KINDS.iter().map(|(_, name)| *name).collect();
    TestBundle::new(&["sh", "-c", &format!("cd /proc/self/ns; for i in {}; do readlink $i; done", names.join(" "))])
}

/// Runs the container and asserts which of its namespaces are the holder's; the others must not be.
fn assert_joined(test: &TestBundle, holder: &Holder, joined: &[&str]) {
    test.write();
    let output = File::create(test.beside("output")).unwrap();
    let path = test.path();
    let mut command = corten(test, &["create", "--bundle", path.to_str().unwrap(), &test.id]);
    let done = command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).status().unwrap();
    let said = || fs::read_to_string(test.beside("output")).unwrap();
    assert!(done.success(), "{joined:?}: {}", said());
    let state = state(test);
    let pid = state["pid"].as_u64().unwrap();
    let of_init: Vec<_> = KINDS.iter().map(|(_, name)| link(format!("/proc/{pid}/ns/{name}"))).collect();
    succeed(test, &["start", &test.id]);
    wait_for(test, "stopped");
    assert_eq!(words(&said()), of_init, "{joined:?}: seen from inside and from outside");
    for ((kind, _), own) in KINDS.iter().zip(&of_init) {
        assert_eq!(*own == link(holder.path(kind)), joined.contains(kind), "{kind} of {joined:?}");
    }
    succeed(test, &["delete", &test.id]);
    test.assert_nothing_left(&format!("{joined:?}"));
}

#[test]
fn each_type_is_joined_by_path() {
    if !can_make_containers() {
        return;
    }
    // A new user namespace for the holder makes the inode of the host's own another one.
    let holder = Holder::mapped(&OWN_OF_EACH);
    for kind in ["ipc", "uts", "network", "pid", "mount", "cgroup", "time"] {
        let mut test = looking_around();
        namespace(&mut test, kind, Some(&holder.path(kind)));
        if kind == "mount" {
            test.config["linux"].as_object_mut().unwrap().remove("maskedPaths");
        }
        assert_joined(&test, &holder, &[kind]);
    }
}

#[test]
fn several_are_joined_at_once() {
    if !can_make_containers() {
        return;
    }
    let holder = Holder::start(&OWN_OF_EACH);
    let user = link("/proc/self/ns/user");
    for joined in [
        &["network", "ipc", "uts"][..],
        &["pid", "time", "cgroup"],
        &["time", "pid", "uts", "cgroup", "network", "ipc"],
    ] {
        let mut test = looking_around();
        for kind in joined {
            namespace(&mut test, kind, Some(&holder.path(kind)));
        }
        // The holder is in the host's user namespace, and so is the container.
        assert_eq!(link(holder.path("user")), user);
        assert_joined(&test, &holder, &[joined, &["user"]].concat());
    }
}

/// What engines do for a pod with mapped ids, where the pod's namespaces were made on the host.
#[test]
fn a_new_user_namespace_beside_joined_ones() {
    if !can_make_containers() {
        return;
    }
    let holder = Holder::start(&OWN_OF_EACH);
    for joined in
        [&["network"][..], &["pid"], &["ipc", "uts"], &["time"], &["cgroup", "network", "ipc", "uts", "pid", "time"]]
    {
        let mut test = looking_around();
        test.map_ids();
        for kind in joined {
            namespace(&mut test, kind, Some(&holder.path(kind)));
        }
        // Filesystems of namespaces that belong to another user namespace cannot be mounted.
        bind_sys(&mut test);
        if joined.contains(&"ipc") {
            unmount(&mut test, "/dev/mqueue");
        }
        if joined.contains(&"pid") {
            unmount(&mut test, "/proc");
            test.config["mounts"].as_array_mut().unwrap().push(json!({
                "destination": "/proc", "type": "none", "source": "/proc", "options": ["rbind"],
            }));
            test.config["linux"].as_object_mut().unwrap().remove("maskedPaths");
            test.config["linux"].as_object_mut().unwrap().remove("readonlyPaths");
        }
        if joined.contains(&"uts") {
            test.config.as_object_mut().unwrap().remove("hostname");
        }
        assert_joined(&test, &holder, joined);
    }
}

#[test]
fn a_joined_user_namespace() {
    if !can_make_containers() {
        return;
    }
    let holder = Holder::mapped(&OWN_OF_EACH);
    for joined in [
        &["user"][..],
        &["user", "network"],
        &["user", "pid", "ipc"],
        &["ipc", "uts", "network", "pid", "cgroup", "time", "user"],
    ] {
        let mut test = looking_around();
        test.own_rootfs(HELD_ROOT);
        for kind in joined {
            namespace(&mut test, kind, Some(&holder.path(kind)));
        }
        assert_joined(&test, &holder, joined);
    }
}

#[test]
fn a_joined_user_namespace_without_root() {
    if !can_make_containers() {
        return;
    }
    let holder = Holder::start(&["--user"]);
    for file in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{}/{file}", holder.pid()), format!("1000 {HELD_ROOT} 1\n")).unwrap();
    }
    let mut test = TestBundle::new(&["sh", "-c", "id -u; id -g; stat -c %u:%g /dev /dev/shm; touch /tmp/mine"]);
    test.own_rootfs(HELD_ROOT);
    test.config["root"]["readonly"] = false.into();
    namespace(&mut test, "user", Some(&holder.path("user")));
    without_group_5(&mut test);
    test.config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    assert_eq!(words(&stdout(&run(&test))), ["1000", "1000", "1000:1000", "1000:1000"]);
    assert_eq!(fs::metadata(test.rootfs().join("tmp/mine")).unwrap().uid(), HELD_ROOT);
    for (uid, gid) in [(7, 1000), (1000, 7)] {
        test.config["process"]["user"] = json!({ "uid": uid, "gid": gid });
        let error = one_error(&run(&test));
        assert!(error.contains("process.user: setres") && error.contains("invalid argument"), "{error}");
    }
    test.assert_nothing_left("no root in a joined one");
}

/// Maps beside the path of a user namespace must be that one's.
#[test]
fn maps_of_a_joined_user_namespace() {
    if !can_make_containers() {
        return;
    }
    let holder = Holder::mapped(&OWN_OF_EACH);
    let map = |inside: u32, host: u32, size: u32| json!({ "containerID": inside, "hostID": host, "size": size });
    let right = json!([map(0, HELD_ROOT, 65536)]);
    let cases = [
        (right.clone(), right.clone(), None),
        // The same in two pieces.
        (json!([map(1000, HELD_ROOT + 1000, 64536), map(0, HELD_ROOT, 1000)]), right.clone(), None),
        (json!([map(0, HELD_ROOT + 1, 65536)]), right.clone(), Some("linux.uidMappings")),
        (json!([map(0, HELD_ROOT, 65535)]), right.clone(), Some("linux.uidMappings")),
        (right.clone(), json!([map(0, 0, 65536)]), Some("linux.gidMappings")),
    ];
    for (uids, gids, wrong) in cases {
        let mut test = looking_around();
        test.own_rootfs(HELD_ROOT);
        namespace(&mut test, "user", Some(&holder.path("user")));
        test.config["linux"]["uidMappings"] = uids;
        test.config["linux"]["gidMappings"] = gids;
        match wrong {
            None => assert_joined(&test, &holder, &["user"]),
            Some(item) => {
                let error = one_error(&run(&test));
                assert!(error.contains(item) && error.contains("has other mappings"), "{error}");
                test.assert_nothing_left(item);
            }
        }
    }
}

#[test]
fn inside_a_joined_user_namespace() {
    if !can_make_containers() {
        return;
    }
    let holder = Holder::mapped(&["--net"]);
    let script = "cat /proc/self/uid_map; id -u; id -G; hostname; hostname again; cat /proc/sys/net/ipv4/ip_default_ttl; touch /tmp/f; \
        stat -c %u /dev/mqueue; echo x > /dev/null; ls /proc/self/fd; id -u > /proc/self/loginuid 2> /dev/null; stat -c %t:%T /dev/zero";
    let mut test = TestBundle::new(&["sh", "-c", script]);
    test.own_rootfs(HELD_ROOT);
    test.config["root"]["readonly"] = false.into();
    namespace(&mut test, "user", Some(&holder.path("user")));
    namespace(&mut test, "network", Some(&holder.path("network")));
    test.config["linux"]["sysctl"] = json!({ "net.ipv4.ip_default_ttl": "33" });
    test.config["process"]["user"] = json!({ "uid": 0, "gid": 0, "additionalGids": [3, 4] });
    capabilities(&mut test, &["CAP_SYS_ADMIN"]);
    let held = HELD_ROOT.to_string();
    assert_eq!(
        words(&stdout(&run(&test))),
        ["0", &held, "65536", "0", "0", "3", "4", "corten", "33", "0", "0", "1", "2", "3", "1:5"]
    );
    assert_eq!(fs::metadata(test.rootfs().join("tmp/f")).unwrap().uid(), HELD_ROOT);
    test.assert_nothing_left("a joined user namespace");
}

/// Init takes it while it makes mounts: with and without one that depends on it, beside namespaces that want a process of their own, and
/// before hooks look at it.
#[test]
fn a_new_network_namespace() {
    if !can_make_containers() {
        return;
    }
    let holder = Holder::start(&["--pid", "--fork", "--kill-child"]);
    type Change<'a> = (&'a str, &'a dyn Fn(&mut TestBundle));
    let only = |test: &mut TestBundle, kept: &[&str]| {
        let mounts = test.config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| kept.contains(&mount["type"].as_str().unwrap()));
        mounts.reverse();
    };
    let changes: [Change<'_>; 5] = [
        ("as it is", &|_| {}),
        ("only a procfs", &|test| only(test, &["proc"])),
        ("sysfs first", &|test| only(test, &["proc", "sysfs"])),
        ("a time namespace", &|test| namespace(test, "time", None)),
        ("a joined PID namespace", &|test| namespace(test, "pid", Some(&holder.path("pid")))),
    ];
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    for (name, change) in changes {
        let mut test =
            TestBundle::new(&["sh", "-c", "readlink /proc/self/ns/net; sed 's/:.*//; 1,2d' /proc/self/net/dev"]);
        change(&mut test);
        let seen = test.beside("seen");
        let script = format!("readlink /proc/$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/')/ns/net > {}", seen.display());
        test.config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] });
        let output = stdout(&run(&test));
        let (inside, devices) = output.trim().split_once('\n').unwrap();
        assert_ne!(own.to_str().unwrap(), inside, "{name}");
        assert_eq!(devices.trim(), "lo", "{name}");
        assert_eq!(fs::read_to_string(&seen).unwrap().trim(), inside, "{name}");
        test.assert_nothing_left(name);
    }
}

/// The process of a joined PID namespace is one among others there, and ends alone.
#[test]
fn the_process_of_a_joined_pid_namespace() {
    if !can_make_containers() {
        return;
    }
    for holder in
        [Holder::start(&["--pid", "--fork", "--kill-child"]), Holder::mapped(&["--pid", "--fork", "--kill-child"])]
    {
        let mut test = TestBundle::new(&["sh", "-c", "sleep 1000 & sleep 1000"]);
        namespace(&mut test, "pid", Some(&holder.path("pid")));
        test.write();
        // Whoever adopts orphans gets init: a shell that waits for it, as engines' monitors do.
        let pid_file = test.beside("pid");
        let script = r#""$@" > /dev/null 2>&1 && cat "$0" && read line"#;
        let mut monitor = Command::new("sh")
            .args(["-c", script])
            .arg(&pid_file)
            .args([CORTEN, "--root"])
            .arg(test.state_root())
            .args(["create", "--pid-file"])
            .arg(&pid_file)
            .arg("-b")
            .arg(test.path())
            .arg(&test.id)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        until("no pid file", || pid_file.exists());
        let pid = fs::read_to_string(&pid_file).unwrap();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
        assert!(words(ids).len() == 2 && words(ids)[0] == pid && words(ids)[1] != "1", "{ids}");
        succeed(&test, &["start", &test.id]);
        test.wait_for_program("sleep");
        succeed(&test, &["kill", &test.id, "TERM"]);
        wait_for(&test, "stopped");
        // Not the first process of its PID namespace: the others are killed by the cgroup.
        succeed(&test, &["delete", &test.id]);
        test.assert_nothing_left("a joined PID namespace");
        drop(monitor.stdin.take());
        monitor.wait().unwrap();
        let holds = fs::read_to_string(format!("/proc/{0}/task/{0}/children", holder.pid())).unwrap();
        assert!(!holds.trim().is_empty(), "the namespace's own first process lives");
    }
}

/// Between the caller and init there is nobody: who calls is the parent, whatever number of clones it took.
#[test]
fn init_is_the_callers_child_whatever_is_joined() {
    if !can_make_containers() {
        return;
    }
    let holder = Holder::mapped(&OWN_OF_EACH);
    type SetUp = fn(&mut TestBundle, &Holder);
    let setups: [(&str, SetUp); 4] = [
        ("pid", |test, holder| namespace(test, "pid", Some(&holder.path("pid")))),
        ("new user", |test, _| test.map_ids()),
        ("new time", |test, _| namespace(test, "time", None)),
        ("joined user", |test, holder| {
            test.own_rootfs(HELD_ROOT);
            namespace(test, "user", Some(&holder.path("user")));
        }),
    ];
    for (what, set_up) in setups {
        let mut test = TestBundle::new(&["sleep", "1000"]);
        set_up(&mut test, &holder);
        let path = test.write().path();
        let mut command = corten(&test, &["run", "-b", path.to_str().unwrap(), &test.id]);
        let mut caller = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        test.wait_for_program("sleep");
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", caller.id())).unwrap();
        let state = state(&test);
        assert_eq!(words(&children), [state["pid"].to_string()], "{what}");
        succeed(&test, &["kill", &test.id, "KILL"]);
        assert_eq!(caller.wait().unwrap().code(), Some(137), "{what}");
        test.assert_nothing_left(what);
    }
}

#[test]
fn what_is_no_namespace_of_the_type_is_refused() {
    if !can_make_containers() {
        return;
    }
    let mut test = TestBundle::new(&["true"]);
    let (file, fifo, to_file) = (test.beside("file"), test.beside("fifo"), test.beside("to-file"));
    fs::write(&file, "").unwrap();
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    symlink(&file, &to_file).unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let holder = Holder::start(&["--uts", "--net"]);
    let cases = [
        ("network", holder.path("uts"), "is not a network namespace"),
        ("uts", holder.path("network"), "is not a uts namespace"),
        ("pid", holder.path("network"), "is not a pid namespace"),
        ("user", holder.path("network"), "is not a user namespace"),
        ("time", "/proc/self/ns/cgroup".to_owned(), "is not a time namespace"),
        ("ipc", path(&file), "is not a namespace"),
        ("ipc", path(&fifo), "is not a namespace"),
        ("ipc", path(&to_file), "is not a namespace"),
        ("ipc", path(&test.path()), "is not a namespace"),
        ("ipc", "/dev/zero".to_owned(), "is not a namespace"),
        ("ipc", path(&test.beside("missing")), "no such file or directory"),
    ];
    let namespaces = test.config["linux"]["namespaces"].clone();
    for (kind, path, wanted) in cases {
        test.config["linux"]["namespaces"] = namespaces.clone();
        without(&mut test, "uts");
        namespace(&mut test, kind, Some(&path));
        test.config.as_object_mut().unwrap().remove("hostname");
        let place = test.config["linux"]["namespaces"].as_array().unwrap().len() - 1;
        let error = one_error(&run(&test));
        let field = format!("linux.namespaces[{place}].path");
        assert!(error.contains(&field) && error.contains(wanted) && error.contains(&path), "{kind}: {error}");
        test.assert_nothing_left(&error);
    }
}

/// As `ip netns` and engines keep them: no process is in it, a mount holds it.
#[test]
fn a_namespace_that_a_mount_holds() {
    struct Mounted(PathBuf);
    impl Drop for Mounted {
        fn drop(&mut self) {
            Command::new("umount").arg("--lazy").arg(&self.0).status().unwrap();
        }
    }
    if !can_make_containers() {
        return;
    }
    let mut test = TestBundle::new(&["sh", "-c", "hostname; readlink /proc/self/ns/uts"]);
    let file = test.beside("uts");
    fs::write(&file, "").unwrap();
    let made =
        Command::new("unshare").arg(format!("--uts={}", file.display())).args(["hostname", "held"]).status().unwrap();
    assert!(made.success());
    let mounted = Mounted(file);
    namespace(&mut test, "uts", mounted.0.to_str());
    test.config.as_object_mut().unwrap().remove("hostname");
    let inode = fs::metadata(&mounted.0).unwrap().ino();
    assert_eq!(words(&stdout(&run(&test))), ["held".to_owned(), format!("uts:[{inode}]")]);
    drop(mounted);
    test.assert_nothing_left("a mounted namespace");
}

#[test]
fn a_link_to_a_namespace_and_an_empty_path() {
    if !can_make_containers() {
        return;
    }
    let holder = Holder::start(&["--net"]);
    let mut test = TestBundle::new(&["readlink", "/proc/self/ns/net"]);
    let link_to_it = test.beside("link");
    symlink(holder.path("network"), &link_to_it).unwrap();
    namespace(&mut test, "network", link_to_it.to_str());
    assert_eq!(stdout(&run(&test)).trim(), link(holder.path("network")));
    namespace(&mut test, "network", Some(""));
    let made = stdout(&run(&test));
    assert!(made.trim() != link(holder.path("network")) && made.trim() != link("/proc/self/ns/net"), "{made}");
    test.assert_nothing_left("an empty path");
}

#[test]
fn nothing_is_set_in_the_hosts_namespaces() {
    if !can_make_containers() {
        return;
    }
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let cases = [
        ("uts", json!({ "hostname": "stolen" }), json!({})),
        ("uts", json!({ "domainname": "stolen" }), json!({})),
        ("network", json!({}), json!({ "net.ipv4.ip_forward": "1" })),
        ("ipc", json!({}), json!({ "kernel.shm_rmid_forced": "1" })),
        ("ipc", json!({}), json!({ "fs.mqueue.msg_max": "9" })),
        // There is no such device; were there one, it would be renamed on the host.
        ("network", json!({ "netDevices": { "corten-none": { "name": "stolen" } } }), json!({})),
    ];
    for (kind, names, sysctls) in cases {
        let file = KINDS.iter().find(|(word, _)| *word == kind).unwrap().1;
        let own = format!("/proc/self/ns/{file}");
        let first = format!("/proc/1/ns/{file}");
        // The first process may be in others, or out of reach.
        let is_own = fs::read_link(&first).is_ok_and(|other| other.to_str() == Some(&link(&own)));
        for path in if is_own { vec![own, first] } else { vec![own] } {
            let mut test = TestBundle::new(&["true"]);
            test.config.as_object_mut().unwrap().remove("hostname");
            namespace(&mut test, kind, Some(&path));
            test.config["linux"]["sysctl"] = sysctls.clone();
            for (name, value) in names.as_object().unwrap() {
                let of = if name == "netDevices" { &mut test.config["linux"] } else { &mut test.config };
                of[name] = value.clone();
            }
            let error = one_error(&run(&test));
            assert!(error.contains("namespaces[") && error.contains("host"), "{error}");
            test.assert_nothing_left(&error);
        }
    }
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), hostname);
    // Where nothing is set the host's own can be joined.
    let mut test = TestBundle::new(&["hostname"]);
    test.config.as_object_mut().unwrap().remove("hostname");
    namespace(&mut test, "uts", Some("/proc/self/ns/uts"));
    assert_eq!(stdout(&run(&test)), hostname);
}

/// The root of a mount namespace becomes the container's for all who are in it: the host must not be among them.
#[test]
fn the_hosts_mount_namespace_is_not_joined() {
    if !can_make_containers() {
        return;
    }
    for path in ["/proc/self/ns/mnt", "/proc/1/ns/mnt"] {
        let mut test = TestBundle::new(&["true"]);
        namespace(&mut test, "mount", Some(path));
        let path_of_bundle = test.write().path();
        // What could go wrong goes wrong in namespaces of their own, whose first process stands for the host's.
        let before = "mount | wc -l; ls / | wc -l; ";
        let script = format!("{before} \"$@\"; {before}");
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "/bin/busybox",
            "sh",
            "-c",
            &script,
            "sh",
        ]);
        if path.contains("/1/") {
            command.args(["unshare", "--mount"]);
        }
        command.args([CORTEN, "--root"]).arg(test.state_root()).args(["run", "-b"]).arg(path_of_bundle).arg(&test.id);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(
            error.contains("linux.namespaces[5].path") && error.contains("host's mount namespace"),
            "{said}{error}"
        );
        let counts = words(&said);
        assert_eq!(counts[..2], counts[2..], "{error}");
        test.assert_nothing_left(path);
    }
}

// Time.

#[test]
fn clocks_have_offsets() {
    if !can_make_containers() {
        return;
    }
    if !Path::new("/proc/self/ns/time").exists() {
        return skip("the kernel has no time namespaces");
    }
    for mapped in [false, true] {
        let mut test =
            TestBundle::new(&["sh", "-c", "cat /proc/self/timens_offsets /proc/uptime; readlink /proc/self/ns/time"]);
        if mapped {
            test.map_ids();
        }
        namespace(&mut test, "time", None);
        test.config["linux"]["timeOffsets"] = json!({
            "monotonic": { "secs": 1_000_000, "nanosecs": 5000 }, "boottime": { "secs": 2_000_000 },
        });
        let uptime = |text: &str| text.split('.').next().unwrap().parse::<u64>().unwrap();
        let before = uptime(&fs::read_to_string("/proc/uptime").unwrap());
        let said = stdout(&run(&test));
        let said = words(&said);
        assert_eq!(said[..6], ["monotonic", "1000000", "5000", "boottime", "2000000", "0"], "mapped: {mapped}");
        let inside = uptime(said[6]);
        assert!((before + 2_000_000..before + 2_000_060).contains(&inside), "{inside}");
        assert_ne!(said[8], link("/proc/self/ns/time"));
        test.assert_nothing_left("offsets");

        // Without offsets the namespace is there, and says what the host says.
        test.config["linux"].as_object_mut().unwrap().remove("timeOffsets");
        let said = stdout(&run(&test));
        assert_eq!(words(&said)[..6], ["monotonic", "0", "0", "boottime", "0", "0"], "mapped: {mapped}");
        test.assert_nothing_left("no offsets");

        // The kernel takes no offset that makes a clock negative.
        test.config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": -4_000_000_000_i64 } });
        let error = one_error(&run(&test));
        assert!(error.contains("linux.timeOffsets"), "{error}");
        test.assert_nothing_left("an impossible offset");
    }
}

#[test]
fn clocks_of_a_joined_user_namespace() {
    if !can_make_containers() {
        return;
    }
    let holder = Holder::mapped(&["--time"]);
    let mut test = TestBundle::new(&["cat", "/proc/self/timens_offsets"]);
    test.own_rootfs(HELD_ROOT);
    namespace(&mut test, "user", Some(&holder.path("user")));
    namespace(&mut test, "time", None);
    test.config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 77 } });
    assert_eq!(words(&stdout(&run(&test))), ["monotonic", "0", "0", "boottime", "77", "0"]);
    test.assert_nothing_left("offsets in a joined user namespace");
}

// Callers without privileges.

/// The binary, where others than root may execute it: they may not be let into the directory that it was built in.
fn corten_beside(test: &TestBundle) -> PathBuf {
    let binary = test.beside("corten");
    if fs::hard_link(CORTEN, &binary).is_err() {
        copy_program(Path::new(CORTEN), &binary);
    }
    binary
}

/// A bundle of an ordinary user, who has nothing that the machine's root has, and starts corten on it.
struct Rootless {
    test: TestBundle,
    uid: u32,
    binary: PathBuf,
    /// Whether the user has subordinate ids: as many as there are numbers from [`Rootless::first_subordinate`] on.
    subordinate: bool,
}

const SUBORDINATES: u32 = 1000;

impl Rootless {
    /// The config that `corten spec --rootless` writes, without terminal.
    fn new(args: &[&str]) -> Self {
        let test = TestBundle::new(args);
        let uid = common::unique_user();
        test.own_rootfs(uid);
        let binary = corten_beside(&test);
        for directory in [test.state_root(), test.beside("run"), test.beside("own")] {
            fs::create_dir(&directory).unwrap();
            fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
            chown(&directory, Some(uid), Some(uid)).unwrap();
        }
        chown(test.path(), Some(uid), Some(uid)).unwrap();
        let config = test.config.clone();
        let mut user = Self { test, uid, binary, subordinate: false };
        assert_eq!(stdout(&user.corten(&["spec", "--rootless"]).output().unwrap()), "");
        user.test.config = serde_json::from_slice(&fs::read(user.test.path().join("config.json")).unwrap()).unwrap();
        user.test.config["process"]["terminal"] = false.into();
        user.test.config["process"]["args"] = config["process"]["args"].clone();
        user
    }

    fn script(script: &str) -> Self {
        Self::new(&["sh", "-c", script])
    }

    fn first_subordinate(&self) -> u32 {
        (self.uid - 1_000_000) * SUBORDINATES + 2_000_000_000
    }

    /// Gives the user subordinate ids, and the container all of them after the user's own.
    fn map_subordinates(&mut self) {
        self.subordinate = true;
        let line = format!("tester:{}:{SUBORDINATES}\n", self.first_subordinate());
        fs::write(self.test.beside("subuid"), line).unwrap();
        for name in ["passwd", "group"] {
            let mut text = fs::read_to_string(format!("/etc/{name}")).unwrap();
            text += &match name {
                "passwd" => format!("tester:x:{0}:{0}::/:/bin/sh\n", self.uid),
                _ => format!("tester:x:{}:\n", self.uid),
            };
            fs::write(self.test.beside(name), text).unwrap();
        }
        let maps = json!([
            { "containerID": 0, "hostID": self.uid, "size": 1 },
            { "containerID": 1, "hostID": self.first_subordinate(), "size": SUBORDINATES },
        ]);
        self.test.config["linux"]["uidMappings"] = maps.clone();
        self.test.config["linux"]["gidMappings"] = maps;
    }

    /// A command of the user's, on the user's own state root.
    fn corten(&self, arguments: &[&str]) -> Command {
        let state = self.test.state_root();
        self.corten_bare(&[&["--root", state.to_str().unwrap()], arguments].concat())
    }

    fn corten_bare(&self, arguments: &[&str]) -> Command {
        let id = self.uid.to_string();
        // By path: the search for a bare name would be in the user's PATH, which may lead nowhere.
        let mut command = Command::new(find(if self.subordinate { "unshare" } else { "setpriv" }).unwrap());
        if self.subordinate {
            // Set-user-ID programs get no more than the bounding set, so that it stays.
            let script = "mount --bind subuid /etc/subuid && mount --bind subuid /etc/subgid && \
                mount --bind passwd /etc/passwd && mount --bind group /etc/group && cd bundle && exec setpriv \"$@\"";
            command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
            command.current_dir(self.test.beside(""));
        } else {
            command.arg("--bounding-set=-all").current_dir(self.test.path());
        }
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--inh-caps=-all"]);
        command.arg(&self.binary).args(arguments).stdin(Stdio::null());
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .env("XDG_RUNTIME_DIR", self.test.beside("run"));
        command
    }

    fn run(&self) -> Output {
        self.test.write();
        self.corten(&["run", &self.test.id]).output().unwrap()
    }

    fn assert_nothing_left(&self, what: &str) {
        self.test.assert_nothing_left(what);
        assert_no_process_of(self.uid..self.uid + 1);
        assert_no_process_of(self.first_subordinate()..self.first_subordinate() + SUBORDINATES);
    }
}

/// A tool of the machine.
fn find(name: &str) -> Option<PathBuf> {
    ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.exists())
}

/// Whether ordinary users can make user namespaces and, where wanted, map subordinate ids; says why not.
fn can_be_rootless(subordinates: bool) -> bool {
    if !can_make_containers() {
        return false;
    }
    let ids = ["--reuid", "65533", "--regid", "65533", "--clear-groups"];
    let made = Command::new("setpriv").args(ids).args(["unshare", "--user", "--map-root-user", "true"]).output();
    if !made.is_ok_and(|output| output.status.success()) {
        skip("ordinary users cannot make user namespaces here");
        return false;
    }
    if subordinates && (find("newuidmap").is_none() || find("newgidmap").is_none()) {
        skip("no newuidmap and newgidmap (Debian: package uidmap)");
        return false;
    }
    if subordinates && !(Path::new("/etc/subuid").exists() && Path::new("/etc/subgid").exists()) {
        skip("no /etc/subuid and /etc/subgid to mount others over");
        return false;
    }
    true
}

#[test]
fn rootless_as_spec_writes_it() {
    if !can_be_rootless(false) {
        return;
    }
    let script = "id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; hostname; stat -c %u:%g /dev/mqueue \
        /dev/shm /dev /dev/pts /proc/self/ /tmp; touch /dev/shm/x /dev/mqueue/x; echo y > /dev/null; head -c2 /dev/zero | wc -c; \
        grep CapEff /proc/self/status; ls /proc/self/fd; ls /sys/kernel > /dev/null && echo sys; touch /file; umount /proc/keys";
    let user = Rootless::script(script);
    let output = user.run();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let id = user.uid.to_string();
    let owners = ["0:0"; 6];
    let wanted = [
        &["0", "0", "0", &id, "1", "0", &id, "1", "deny", "corten"][..],
        &owners,
        &["2", "CapEff:", "0000000020000420", "0", "1", "2", "3", "sys"],
    ];
    assert_eq!(words(&said), wanted.concat(), "{errors}");
    assert!(errors.contains("/file: Read-only file system"), "{errors}");
    user.assert_nothing_left("as spec writes it");
}

#[test]
fn rootless_devices() {
    if !can_be_rootless(false) {
        return;
    }
    let mut user =
        Rootless::script("cd /dev; stat -c '%n %t:%T' null zero full random urandom tty; echo > full || ls -l ptmx");
    let said = String::from_utf8(user.run().stdout).unwrap();
    for wanted in ["null 1:3", "zero 1:5", "full 1:7", "random 1:8", "urandom 1:9", "tty 5:0", "-> pts/ptmx"] {
        assert!(said.contains(wanted), "no {wanted}: {said}");
    }
    user.assert_nothing_left("devices");
    user.test.config["linux"]["devices"] = json!([{ "path": "/dev/zero", "type": "c", "major": 10, "minor": 200 }]);
    let error = one_error(&user.run());
    assert!(error.contains("linux.devices[0]"), "{error}");
    user.assert_nothing_left("a wrong device");
}

/// What is written to files of the kernel, without the runtime being able to write those of init.
#[test]
fn rootless_clocks_limits_and_parameters() {
    if !can_be_rootless(false) {
        return;
    }
    let script = "cat /proc/self/oom_score_adj /proc/self/timens_offsets /proc/sys/kernel/shm_rmid_forced; ulimit -n; ulimit -Hn; \
        cat /proc/sys/net/ipv4/ip_default_ttl";
    let mut user = Rootless::script(script);
    user.test.config["process"]["oomScoreAdj"] = 432.into();
    user.test.config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]);
    user.test.config["linux"]["sysctl"] = json!({ "kernel.shm_rmid_forced": "1", "net.ipv4.ip_default_ttl": "12" });
    namespace(&mut user.test, "network", None);
    namespace(&mut user.test, "time", None);
    user.test.config["linux"]["timeOffsets"] = json!({ "monotonic": { "secs": 50 } });
    let offsets = ["monotonic", "50", "0", "boottime", "0", "0"];
    assert_eq!(words(&stdout(&user.run())), [&["432"][..], &offsets, &["1", "100", "200", "12"]].concat());
    user.assert_nothing_left("clocks");

    user.test.config["process"]["oomScoreAdj"] = (-500).into();
    let error = one_error(&user.run());
    assert!(error.contains("process.oomScoreAdj") && error.contains("permission denied"), "{error}");
    user.assert_nothing_left("an OOM score below the own");
}

#[test]
fn rootless_joins_the_users_own_namespaces() {
    if !can_be_rootless(false) {
        return;
    }
    let mut user = Rootless::script(
        "cd /proc/self/ns; for i in user net uts; do readlink $i; done; id -u; cat /proc/self/oom_score_adj",
    );
    let id = user.uid.to_string();
    let holder = Holder::start_as(&["--reuid", &id, "--regid", &id, "--clear-groups"], &["--user", "--net", "--uts"]);
    fs::write(format!("/proc/{}/uid_map", holder.pid()), format!("0 {id} 1\n")).unwrap();
    fs::write(format!("/proc/{}/setgroups", holder.pid()), "deny").unwrap();
    fs::write(format!("/proc/{}/gid_map", holder.pid()), format!("0 {id} 1\n")).unwrap();
    for kind in ["user", "network", "uts"] {
        namespace(&mut user.test, kind, Some(&holder.path(kind)));
    }
    for maps in ["uidMappings", "gidMappings"] {
        user.test.config["linux"].as_object_mut().unwrap().remove(maps);
    }
    user.test.config["process"]["oomScoreAdj"] = 55.into();
    let links: Vec<_> = ["user", "network", "uts"].iter().map(|kind| link(holder.path(kind))).collect();
    let output = user.run();
    assert_eq!(words(&stdout(&output)), [&links[0], &links[1], &links[2], "0", "55"]);
    drop(holder);
    user.assert_nothing_left("joined ones");
}

#[test]
fn rootless_terminal() {
    if !can_be_rootless(false) {
        return;
    }
    let mut user = Rootless::script("tty; stat -c %u /dev/console /dev/pts/0; echo x > /dev/tty; stty size");
    user.test.config["process"]["terminal"] = true.into();
    user.test.config["process"]["consoleSize"] = json!({ "height": 13, "width": 31 });
    user.test.write();
    let socket = user.test.beside("console");
    let listener = UnixListener::bind(&socket).unwrap();
    chown(&socket, Some(user.uid), Some(user.uid)).unwrap();
    create_by(&user.test, |arguments| {
        let console = ["--console-socket", socket.to_str().unwrap()];
        let more: &[&str] = if arguments[0] == "create" { &console } else { &[] };
        user.corten(&[&arguments[..1], more, &arguments[1..]].concat())
    });
    let mut master = File::from(receive(&listener).fd);
    stdout(&user.corten(&["start", &user.test.id]).output().unwrap());
    assert_eq!(words(&read_terminal(&mut master)), ["/dev/pts/0", "0", "0", "x", "13", "31"]);
    stdout(&user.corten(&["delete", "--force", &user.test.id]).output().unwrap());
    user.assert_nothing_left("a terminal");
}

/// The state root is told by the error about a container in it.
fn state_root_in_a_user_namespace(own: &Path, user: Option<&str>) -> String {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", CORTEN, "state", "none"]);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("XDG_RUNTIME_DIR", own).envs(user.map(|user| ("USER", user)));
    let output = command.output().unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn root_of_a_user_namespace_has_the_users_state_root() {
    if !Command::new("unshare")
        .args(["--user", "--map-root-user", "true"])
        .status()
        .is_ok_and(|status| status.success())
    {
        return skip("no user namespace can be made");
    }
    let own = tempfile::tempdir().unwrap();
    // A file, so that nothing is found below it.
    fs::write(own.path().join("corten"), "").unwrap();
    let path = own.path().join("corten/none");
    for (user, is_own) in [(None, true), (Some("somebody"), true), (Some("root"), false)] {
        let error = state_root_in_a_user_namespace(own.path(), user);
        assert_eq!(error.contains(path.to_str().unwrap()), is_own, "USER={user:?}: {error}");
    }
}

#[test]
fn rootless_life_with_the_default_root() {
    if !can_be_rootless(false) {
        return;
    }
    let mut user = Rootless::new(&["sleep", "1000"]);
    let after = user.test.beside("own/after");
    user.test.config["hooks"] =
        json!({ "poststop": [{ "path": "/bin/busybox", "args": ["busybox", "touch", after] }] });
    user.test.write();
    let own = |arguments: &[&str]| stdout(&user.corten_bare(arguments).output().unwrap());
    let id = user.test.id.as_str();
    let pid = create_by(&user.test, |arguments| user.corten_bare(arguments));
    assert!(user.test.beside("run/corten").join(id).is_dir(), "the state is below XDG_RUNTIME_DIR");
    assert_eq!(fs::metadata(user.test.beside("run/corten").join(id)).unwrap().mode() & 0o777, 0o700);
    // No cgroup: it is in the caller's.
    let cgroup = |pid: &str| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_eq!(cgroup(&pid.to_string()), cgroup("self"));
    assert!(own(&["state", id]).contains("\"created\""));
    own(&["start", id]);
    until("no sleep runs", || fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == "sleep"));
    let listed = own(&["list"]);
    assert!(listed.contains("running") && listed.contains(&format!("#{}", user.uid)), "{listed}");
    own(&["kill", id, "KILL"]);
    until("it does not stop", || own(&["state", id]).contains("\"stopped\""));
    assert!(!after.exists());
    own(&["delete", id]);
    assert!(after.exists(), "poststop hooks run");
    assert_eq!(fs::read_dir(user.test.beside("run/corten")).unwrap().count(), 0);
    user.assert_nothing_left("its life");
}

#[test]
fn rootless_cgroups_are_not_the_users() {
    if !can_be_rootless(false) {
        return;
    }
    let mut user = Rootless::new(&["true"]);
    user.test.config["linux"]["cgroupsPath"] = format!("/{}", user.test.id).into();
    let error = one_error(&user.run());
    assert!(error.contains("linux.cgroupsPath") && error.contains("ermission denied"), "{error}");
    user.assert_nothing_left("a cgroup that was asked for");
}

#[test]
fn rootless_with_subordinate_ids() {
    if !can_be_rootless(true) {
        return;
    }
    let script = "cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; id -u; id -g; id -G; touch /tmp/x; stat -c %u:%g /dev/mqueue";
    let mut user = Rootless::script(script);
    user.map_subordinates();
    user.test.config["process"]["user"] = json!({ "uid": 5, "gid": 6, "additionalGids": [7, 8] });
    user.test.config["root"]["readonly"] = false.into();
    fs::set_permissions(user.test.rootfs().join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    let (id, first, size) = (user.uid.to_string(), user.first_subordinate(), SUBORDINATES.to_string());
    let base = first.to_string();
    let map = ["0", &id, "1", "1", &base, &size];
    let wanted = [&map[..], &map, &["allow", "5", "6", "6", "7", "8", "0:0"]].concat();
    assert_eq!(words(&stdout(&user.run())), wanted);
    let made = fs::metadata(user.test.rootfs().join("tmp/x")).unwrap();
    assert_eq!((made.uid(), made.gid()), (first + 4, first + 5));
    user.assert_nothing_left("subordinate ids");

    // As root inside, gid=5 of devpts is there, and ownership can be given away.
    user.test.config["process"]["user"] = json!({ "uid": 0, "gid": 0 });
    user.test.config["process"]["args"] = json!(["sh", "-c", "stat -c %g /dev/pts; id -G; sleep 1000"]);
    for mount in user.test.config["mounts"].as_array_mut().unwrap() {
        if mount["destination"] == "/dev/pts" {
            mount["options"].as_array_mut().unwrap().push("gid=5".into());
        }
    }
    user.test.write();
    let pid = create_by(&user.test, |arguments| user.corten(arguments));
    stdout(&user.corten(&["start", &user.test.id]).output().unwrap());
    assert_eq!(fs::metadata(format!("/proc/{pid}/root/dev/pts")).unwrap().uid(), user.uid);
    stdout(&user.corten(&["delete", "--force", &user.test.id]).output().unwrap());
    user.assert_nothing_left("a killed one");

    // Ids that nobody gave to the user.
    let foreign =
        json!([{ "containerID": 0, "hostID": user.uid, "size": 1 }, { "containerID": 1, "hostID": 1, "size": 10 }]);
    user.test.config["linux"]["uidMappings"] = foreign.clone();
    let error = one_error(&user.run());
    assert!(error.contains("linux.uidMappings: newuidmap: "), "{error}");
    assert_eq!((error.matches("linux.").count(), error.matches("newuidmap: ").count()), (1, 1), "{error}");
    user.assert_nothing_left("foreign ids");
    user.map_subordinates();
    user.test.config["linux"]["gidMappings"] = foreign;
    let error = one_error(&user.run());
    assert!(error.contains(": linux.gidMappings: newgidmap: ") && !error.contains("uidMappings"), "{error}");
    user.assert_nothing_left("foreign group ids");
}

#[test]
fn what_rootless_cannot_have() {
    if !can_be_rootless(false) {
        return;
    }
    let several = json!([{ "containerID": 0, "hostID": 1_000_000, "size": 1 }, { "containerID": 1, "hostID": 500_000, "size": 10 }]);
    type Change<'a> = &'a dyn Fn(&mut Value);
    let cases: [(&str, &[&str], Change<'_>); 5] = [
        ("groups", &["process.user: setgroups", "not permitted"], &|config| {
            config["process"]["user"]["additionalGids"] = json!([0])
        }),
        (
            "no newuidmap",
            &["linux.uidMappings: more ids than the caller's own need newuidmap, which cannot be run"],
            &|config| config["linux"]["uidMappings"] = several.clone(),
        ),
        ("an unmapped user", &["uid"], &|config| config["process"]["user"]["uid"] = 1.into()),
        ("an unmapped group", &["gid"], &|config| config["process"]["user"]["gid"] = 1.into()),
        (
            "an id-mapped mount",
            &["mounts[", "].options: id-mapped mounts are not supported for rootless containers"],
            &|config| {
                let maps = config["linux"]["uidMappings"].clone();
                config["mounts"].as_array_mut().unwrap().push(json!({
                    "destination": "/mnt", "type": "bind", "source": "rootfs/etc", "options": ["bind", "idmap"],
                    "uidMappings": maps, "gidMappings": maps,
                }));
            },
        ),
    ];
    for (what, wanted, change) in cases {
        let mut user = Rootless::new(&["true"]);
        change(&mut user.test.config);
        user.test.write();
        let mut command = user.corten(&["run", &user.test.id]);
        if what == "no newuidmap" {
            command.env("PATH", user.test.beside("own"));
        }
        let error = one_error(&command.output().unwrap());
        assert!(wanted.iter().all(|word| error.contains(word)), "{what}: {error}");
        user.assert_nothing_left(what);
    }
}

/// Root of a user namespace: privileges over what it owns, and none over the machine.
#[test]
fn corten_inside_a_user_namespace() {
    if !can_make_containers() {
        return;
    }
    let holder = Holder::mapped(&["--mount"]);
    let script = "cat /proc/self/uid_map; id -u; id -G; hostname; echo x > /dev/null; stat -c %t:%T /dev/null; touch /tmp/f; stat -c %u:%g /dev/mqueue /tmp/f";
    let mut test = TestBundle::new(&["sh", "-c", script]);
    // Ids as the namespace sees them: the container's root is its 1000.
    test.own_rootfs(HELD_ROOT + 1000);
    let binary = corten_beside(&test);
    fs::create_dir(test.state_root()).unwrap();
    chown(test.state_root(), Some(HELD_ROOT), Some(HELD_ROOT)).unwrap();
    let maps = json!([{ "containerID": 0, "hostID": 1000, "size": 100 }]);
    namespace(&mut test, "user", None);
    test.config["linux"]["uidMappings"] = maps.clone();
    test.config["linux"]["gidMappings"] = maps;
    test.config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
    test.config["root"]["readonly"] = false.into();
    test.config["process"]["user"]["additionalGids"] = json!([9]);
    let nested = |arguments: &[&str]| {
        let mut command = Command::new("nsenter");
        command.args(["--target", &holder.pid().to_string(), "--user", "--mount", "--setuid", "0", "--setgid", "0"]);
        command.arg(&binary).arg("--root").arg(test.state_root()).args(arguments).stdin(Stdio::null());
        command
    };
    let path = test.write().path();
    let run = || nested(&["run", "-b", path.to_str().unwrap(), &test.id]).output().unwrap();
    let wanted = ["0", "1000", "100", "0", "0", "9", "corten", "1:3", "0:0", "0:0"];
    // The map is read with the eyes of the reader's parent namespace.
    assert_eq!(words(&stdout(&run())), wanted);
    assert_eq!(fs::metadata(test.rootfs().join("tmp/f")).unwrap().uid(), HELD_ROOT + 1000);
    test.assert_nothing_left("nested");
}

/// What engines of ordinary users ask for, who run corten in their user namespace: the host's PID and cgroup namespaces.
#[test]
fn corten_inside_a_user_namespace_with_the_hosts() {
    if !can_make_containers() {
        return;
    }
    let holder = Holder::mapped(&["--mount"]);
    let nested = |test: &TestBundle| {
        let binary = corten_beside(test);
        let path = test.write().path();
        let mut command = Command::new("nsenter");
        command.args(["--target", &holder.pid().to_string(), "--user", "--mount", "--setuid", "0", "--setgid", "0"]);
        command.arg(binary).arg("--root").arg(test.state_root()).args(["run", "-b", path.to_str().unwrap(), &test.id]);
        let output = stdout(&command.stdin(Stdio::null()).output().unwrap());
        test.assert_nothing_left("nested");
        output
    };
    let bundle = |script: &str| {
        let mut test = TestBundle::new(&["sh", "-c", script]);
        test.own_rootfs(HELD_ROOT);
        fs::create_dir(test.state_root()).unwrap();
        chown(test.state_root(), Some(HELD_ROOT), Some(HELD_ROOT)).unwrap();
        test.config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
        test
    };
    let bound = |destination: &str| json!({ "destination": destination, "type": "bind", "source": destination, "options": ["rbind", "nosuid", "noexec", "nodev"] });

    // A parameter of the network is written in the host's procfs, whatever the container has at /proc.
    let ttl = "cat /proc/sys/net/ipv4/ip_default_ttl";
    for own_pids in [false, true] {
        let mut test = bundle(ttl);
        if !own_pids {
            without(&mut test, "pid");
        }
        unmount(&mut test, "/proc");
        test.config["mounts"].as_array_mut().unwrap().insert(0, bound("/proc"));
        test.config["linux"]["sysctl"] = json!({ "net.ipv4.ip_default_ttl": "77" });
        assert_eq!(nested(&test), "77\n", "PID namespace: {own_pids}");
    }

    // Without a cgroup namespace what shows is the caller's, to be written only where that is asked for.
    for (options, word) in [(&["ro", "nosuid"][..], "ro"), (&["nosuid"], "ro"), (&["nosuid", "rw"], "rw")] {
        let pure = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let below = if pure { "" } else { "/" };
        let mut test = bundle(&format!(
            "ls /sys/fs/cgroup | wc -l; awk '$5 ~ \"^/sys/fs/cgroup{below}\" {{ print $6 }}' /proc/self/mountinfo"
        ));
        symlink("busybox", test.rootfs().join("bin/awk")).unwrap();
        without(&mut test, "cgroup");
        let mounts = test.config["mounts"].as_array_mut().unwrap();
        mounts.iter_mut().find(|mount| mount["type"] == "cgroup").unwrap()["options"] = json!(options);
        let seen = nested(&test);
        let (count, attributes) = seen.split_once('\n').unwrap();
        assert!(count.trim().parse::<u32>().unwrap() > 1, "{seen}");
        // The caller's own in the hierarchies of v1 are not for the container.
        let wanted = if pure { word } else { "ro" };
        let mut cgroups = attributes.lines();
        assert!(cgroups.all(|words| words.split(',').any(|found| found == wanted)), "{options:?}: {seen}");
    }
}

/// As `unshare --map-root-user` makes it: one id, and no `setgroups(2)`.
#[test]
fn corten_inside_a_user_namespace_of_one_id() {
    if !can_be_rootless(false) {
        return;
    }
    let script = "cat /proc/self/uid_map /proc/self/setgroups; id -u; id -G; hostname; echo x > /dev/null; stat -c %t:%T /dev/zero; cat \
        /proc/self/oom_score_adj; tail -n1 /proc/self/timens_offsets";
    let mut user = Rootless::script(script);
    symlink("busybox", user.test.rootfs().join("bin/tail")).unwrap();
    user.test.config["process"]["oomScoreAdj"] = 222.into();
    namespace(&mut user.test, "time", None);
    user.test.config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 77 } });
    let nested = |user: &Rootless| {
        let (path, id) = (user.test.write().path(), user.uid.to_string());
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid",
            &id,
            "--regid",
            &id,
            "--clear-groups",
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
        ]);
        command
            .arg(&user.binary)
            .arg("--root")
            .arg(user.test.state_root())
            .args(["run", "-b"])
            .arg(path)
            .arg(&user.test.id);
        command.stdin(Stdio::null()).output().unwrap()
    };
    let rest = ["deny", "0", "0", "corten", "1:5", "222", "boottime", "77", "0"];
    for maps in ["uidMappings", "gidMappings"] {
        user.test.config["linux"][maps] = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
    }
    assert_eq!(words(&stdout(&nested(&user))), [&["0", "0", "1"][..], &rest].concat());
    user.assert_nothing_left("one id again");

    without(&mut user.test, "user");
    for maps in ["uidMappings", "gidMappings"] {
        user.test.config["linux"].as_object_mut().unwrap().remove(maps);
    }
    let id = user.uid.to_string();
    assert_eq!(words(&stdout(&nested(&user))), [&["0", &id, "1"][..], &rest].concat());
    user.assert_nothing_left("the same user namespace");
}

/// No fd of the runtime's, of joined namespaces or of the holder's, gets into the container.
#[test]
fn no_fd_is_left_open() {
    if !can_make_containers() {
        return;
    }
    let holder = Holder::mapped(&OWN_OF_EACH);
    let mut test = TestBundle::new(&["ls", "/proc/self/fd"]);
    test.own_rootfs(HELD_ROOT);
    for (kind, _) in KINDS {
        if kind != "mount" {
            namespace(&mut test, kind, Some(&holder.path(kind)));
        }
    }
    assert_eq!(words(&stdout(&run(&test))), ["0", "1", "2", "3"]);
    test.assert_nothing_left("fds");
}

/// The kernel takes 340 lines and less than a page of them at once: as many as it takes run, and the field is named otherwise.
#[test]
fn as_many_mappings_as_the_kernel_takes() {
    if !can_make_containers() {
        return;
    }
    // 17 bytes each: a page of 4 KiB has room for 240.
    let with = |count: u32| {
        let mut test = TestBundle::new(&["sh", "-c", "grep -c . /proc/self/uid_map"]);
        test.map_ids();
        let long = (1..count).map(|n| json!({ "containerID": 100_000 + n, "hostID": 1_000_000 + 2 * n, "size": 1 }));
        let maps: Vec<_> =
            [json!({ "containerID": 0, "hostID": common::MAPPED_ROOT, "size": 10 })].into_iter().chain(long).collect();
        test.config["linux"]["uidMappings"] = json!(maps);
        test.config["linux"]["gidMappings"] = json!(maps);
        test
    };
    let test = with(240);
    assert_eq!(stdout(&run(&test)), "240\n");
    test.assert_nothing_left("240 mappings");
    let test = with(300);
    let error = one_error(&run(&test));
    assert!(error.contains("linux.uidMappings: must have at most "), "{error}");
    test.assert_nothing_left("300 mappings");
}
