//! Callers without privileges.

use super::*;

/// The binary, where others than root may execute it: they may not be let into the directory that it was
/// built in.
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
    /// Whether the user has subordinate ids: as many as there are numbers from
    /// [`Rootless::first_subordinate`] on.
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
        user.test.config =
            serde_json::from_slice(&fs::read(user.test.path().join("config.json")).unwrap()).unwrap();
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

/// Whether ordinary users can make user namespaces and, where wanted, map subordinate ids; says why not.
fn can_be_rootless(subordinates: bool) -> bool {
    let ids = ["--reuid", "65533", "--regid", "65533", "--clear-groups"];
    let made =
        Command::new("setpriv").args(ids).args(["unshare", "--user", "--map-root-user", "true"]).output();
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

#[container_test]
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

#[container_test]
fn rootless_devices() {
    if !can_be_rootless(false) {
        return;
    }
    let mut user = Rootless::script(
        "cd /dev; stat -c '%n %t:%T' null zero full random urandom tty; echo > full || ls -l ptmx",
    );
    let said = String::from_utf8(user.run().stdout).unwrap();
    for wanted in ["null 1:3", "zero 1:5", "full 1:7", "random 1:8", "urandom 1:9", "tty 5:0", "-> pts/ptmx"]
    {
        assert!(said.contains(wanted), "no {wanted}: {said}");
    }
    user.assert_nothing_left("devices");
    user.test.config["linux"]["devices"] =
        json!([{ "path": "/dev/zero", "type": "c", "major": 10, "minor": 200 }]);
    let error = one_error(&user.run());
    assert!(error.contains("linux.devices[0]"), "{error}");
    user.assert_nothing_left("a wrong device");
}

/// What is written to files of the kernel, without the runtime being able to write those of init.
#[container_test]
fn rootless_clocks_limits_and_parameters() {
    if !can_be_rootless(false) {
        return;
    }
    let script = "cat /proc/self/oom_score_adj /proc/self/timens_offsets /proc/sys/kernel/shm_rmid_forced; ulimit -n; ulimit -Hn; \
        cat /proc/sys/net/ipv4/ip_default_ttl";
    let mut user = Rootless::script(script);
    user.test.config["process"]["oomScoreAdj"] = 432.into();
    user.test.config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]);
    user.test.config["linux"]["sysctl"] =
        json!({ "kernel.shm_rmid_forced": "1", "net.ipv4.ip_default_ttl": "12" });
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

#[container_test]
fn rootless_joins_the_users_own_namespaces() {
    if !can_be_rootless(false) {
        return;
    }
    let mut user = Rootless::script(
        "cd /proc/self/ns; for i in user net uts; do readlink $i; done; id -u; cat /proc/self/oom_score_adj",
    );
    let id = user.uid.to_string();
    let holder =
        Holder::start_as(&["--reuid", &id, "--regid", &id, "--clear-groups"], &["--user", "--net", "--uts"]);
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

#[container_test]
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
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("XDG_RUNTIME_DIR", own)
        .envs(user.map(|user| ("USER", user)));
    let output = command.output().unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[container_test]
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

#[container_test]
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
    until("no sleep runs", || {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == "sleep")
    });
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

#[container_test]
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

#[container_test]
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
    let foreign = json!([{ "containerID": 0, "hostID": user.uid, "size": 1 }, { "containerID": 1, "hostID": 1, "size": 10 }]);
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

#[container_test]
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
#[container_test]
fn corten_inside_a_user_namespace() {
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
        command.args([
            "--target",
            &holder.pid().to_string(),
            "--user",
            "--mount",
            "--setuid",
            "0",
            "--setgid",
            "0",
        ]);
        command.arg(&binary).arg("--root").arg(test.state_root()).args(arguments).stdin(Stdio::null());
        command
    };
    let path = test.write().path();
    let run = || nested(&["run", "-b", path.to_str().unwrap(), &test.id]).output().unwrap();
    let wanted = ["0", "1000", "100", "0", "0", "9", "corten", "1:3", "0:0", "0:0"];
    // The map is read with the eyes of the reader's parent namespace.
    assert_eq!(words(&stdout(&run())), wanted);
    assert_eq!(fs::metadata(test.rootfs().join("tmp/f")).unwrap().uid(), HELD_ROOT + 1000);
}

/// What engines of ordinary users ask for, who run corten in their user namespace: the host's PID and cgroup
/// namespaces.
#[container_test]
fn corten_inside_a_user_namespace_with_the_hosts() {
    let holder = Holder::mapped(&["--mount"]);
    let nested = |test: &TestBundle| {
        let binary = corten_beside(test);
        let path = test.write().path();
        let mut command = Command::new("nsenter");
        command.args([
            "--target",
            &holder.pid().to_string(),
            "--user",
            "--mount",
            "--setuid",
            "0",
            "--setgid",
            "0",
        ]);
        command.arg(binary).arg("--root").arg(test.state_root()).args([
            "run",
            "-b",
            path.to_str().unwrap(),
            &test.id,
        ]);
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
#[container_test]
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
#[container_test]
fn no_fd_is_left_open() {
    let holder = Holder::mapped(&OWN_OF_EACH);
    let mut test = TestBundle::new(&["ls", "/proc/self/fd"]);
    test.own_rootfs(HELD_ROOT);
    for (kind, _) in KINDS {
        if kind != "mount" {
            namespace(&mut test, kind, Some(&holder.path(kind)));
        }
    }
    assert_eq!(words(&stdout(&run(&test))), ["0", "1", "2", "3"]);
}

/// The kernel takes 340 lines and less than a page of them at once: as many as it takes run, and the field is
/// named otherwise.
#[container_test]
fn as_many_mappings_as_the_kernel_takes() {
    // 17 bytes each: a page of 4 KiB has room for 240.
    let with = |count: u32| {
        let mut test = TestBundle::new(&["sh", "-c", "grep -c . /proc/self/uid_map"]);
        test.map_ids();
        let long =
            (1..count).map(|n| json!({ "containerID": 100_000 + n, "hostID": 1_000_000 + 2 * n, "size": 1 }));
        let maps: Vec<_> = [json!({ "containerID": 0, "hostID": common::MAPPED_ROOT, "size": 10 })]
            .into_iter()
            .chain(long)
            .collect();
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
}
