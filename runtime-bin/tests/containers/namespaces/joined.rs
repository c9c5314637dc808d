//! Namespaces that are there already.

use super::*;

/// A bundle whose script prints the namespaces that it is in, in the order of `KINDS`.
fn looking_around() -> TestBundle {
    let names: Vec<_> = KINDS.iter().map(|(_, name)| *name).collect();
    TestBundle::new(&[
        "sh",
        "-c",
        &format!("cd /proc/self/ns; for i in {}; do readlink $i; done", names.join(" ")),
    ])
}

/// Runs the container and asserts which of its namespaces are the holder's; the others must not be.
fn assert_joined(test: &TestBundle, holder: &Holder, joined: &[&str]) {
    test.write();
    let output = File::create(test.beside("output")).unwrap();
    let path = test.path();
    let mut command = corten(test, &["create", "--bundle", path.to_str().unwrap(), &test.id]);
    let done =
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).status().unwrap();
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

#[container_test]
fn each_type_is_joined_by_path() {
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

#[container_test]
fn several_are_joined_at_once() {
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
#[container_test]
fn a_new_user_namespace_beside_joined_ones() {
    let holder = Holder::start(&OWN_OF_EACH);
    for joined in [
        &["network"][..],
        &["pid"],
        &["ipc", "uts"],
        &["time"],
        &["cgroup", "network", "ipc", "uts", "pid", "time"],
    ] {
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

#[container_test]
fn a_joined_user_namespace() {
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

#[container_test]
fn a_joined_user_namespace_without_root() {
    let holder = Holder::start(&["--user"]);
    for file in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{}/{file}", holder.pid()), format!("1000 {HELD_ROOT} 1\n")).unwrap();
    }
    let mut test =
        TestBundle::new(&["sh", "-c", "id -u; id -g; stat -c %u:%g /dev /dev/shm; touch /tmp/mine"]);
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
}

/// Maps beside the path of a user namespace must be that one's.
#[container_test]
fn maps_of_a_joined_user_namespace() {
    let holder = Holder::mapped(&OWN_OF_EACH);
    let map =
        |inside: u32, host: u32, size: u32| json!({ "containerID": inside, "hostID": host, "size": size });
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

#[container_test]
fn inside_a_joined_user_namespace() {
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
}

/// Init takes it while it makes mounts: with and without one that depends on it, beside namespaces that want
/// a process of their own, and before hooks look at it.
#[container_test]
fn a_new_network_namespace() {
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
        let mut test = TestBundle::new(&[
            "sh",
            "-c",
            "readlink /proc/self/ns/net; sed 's/:.*//; 1,2d' /proc/self/net/dev",
        ]);
        change(&mut test);
        let seen = test.beside("seen");
        let script =
            format!("readlink /proc/$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/')/ns/net > {}", seen.display());
        test.config["hooks"] =
            json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] });
        let output = stdout(&run(&test));
        let (inside, devices) = output.trim().split_once('\n').unwrap();
        assert_ne!(own.to_str().unwrap(), inside, "{name}");
        assert_eq!(devices.trim(), "lo", "{name}");
        assert_eq!(fs::read_to_string(&seen).unwrap().trim(), inside, "{name}");
    }
}

/// The process of a joined PID namespace is one among others there, and ends alone.
#[container_test]
fn the_process_of_a_joined_pid_namespace() {
    for holder in [
        Holder::start(&["--pid", "--fork", "--kill-child"]),
        Holder::mapped(&["--pid", "--fork", "--kill-child"]),
    ] {
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
#[container_test]
fn init_is_the_callers_child_whatever_is_joined() {
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
    }
}

#[container_test]
fn what_is_no_namespace_of_the_type_is_refused() {
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
#[container_test]
fn a_namespace_that_a_mount_holds() {
    struct Mounted(PathBuf);
    impl Drop for Mounted {
        fn drop(&mut self) {
            Command::new("umount").arg("--lazy").arg(&self.0).status().unwrap();
        }
    }
    let mut test = TestBundle::new(&["sh", "-c", "hostname; readlink /proc/self/ns/uts"]);
    let file = test.beside("uts");
    fs::write(&file, "").unwrap();
    let made = Command::new("unshare")
        .arg(format!("--uts={}", file.display()))
        .args(["hostname", "held"])
        .status()
        .unwrap();
    assert!(made.success());
    let mounted = Mounted(file);
    namespace(&mut test, "uts", mounted.0.to_str());
    test.config.as_object_mut().unwrap().remove("hostname");
    let inode = fs::metadata(&mounted.0).unwrap().ino();
    assert_eq!(words(&stdout(&run(&test))), ["held".to_owned(), format!("uts:[{inode}]")]);
    drop(mounted);
}

#[container_test]
fn a_link_to_a_namespace_and_an_empty_path() {
    let holder = Holder::start(&["--net"]);
    let mut test = TestBundle::new(&["readlink", "/proc/self/ns/net"]);
    let link_to_it = test.beside("link");
    symlink(holder.path("network"), &link_to_it).unwrap();
    namespace(&mut test, "network", link_to_it.to_str());
    assert_eq!(stdout(&run(&test)).trim(), link(holder.path("network")));
    namespace(&mut test, "network", Some(""));
    let made = stdout(&run(&test));
    assert!(
        made.trim() != link(holder.path("network")) && made.trim() != link("/proc/self/ns/net"),
        "{made}"
    );
}

#[container_test]
fn nothing_is_set_in_the_hosts_namespaces() {
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

/// The root of a mount namespace becomes the container's for all who are in it: the host must not be among
/// them.
#[container_test]
fn the_hosts_mount_namespace_is_not_joined() {
    for path in ["/proc/self/ns/mnt", "/proc/1/ns/mnt"] {
        let mut test = TestBundle::new(&["true"]);
        namespace(&mut test, "mount", Some(path));
        let path_of_bundle = test.write().path();
        // What could go wrong goes wrong in namespaces of their own, whose first process stands for the
        // host's.
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
        command
            .args([CORTEN, "--root"])
            .arg(test.state_root())
            .args(["run", "-b"])
            .arg(path_of_bundle)
            .arg(&test.id);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let (said, error) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(
            error.contains("linux.namespaces[5].path") && error.contains("host's mount namespace"),
            "{said}{error}"
        );
        let counts = words(&said);
        assert_eq!(counts[..2], counts[2..], "{error}");
    }
}
