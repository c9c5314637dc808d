//! User namespaces, made by root.

use super::*;

#[container_test]
fn ids_are_mapped_in_several_ranges() {
    let script = "cat /proc/self/uid_map /proc/self/gid_map; id -u; id -g; id -G; touch /tmp/by-user; stat -c %u:%g /tmp /bin/sh";
    let mut test = mapped(script);
    let map =
        |inside: u32, host: u32, size: u32| json!({ "containerID": inside, "hostID": host, "size": size });
    test.config["linux"]["uidMappings"] =
        json!([map(0, 100_000, 10), map(10, 200_000, 5), map(1000, 310_000, 1)]);
    test.config["linux"]["gidMappings"] = json!([map(0, 100_000, 1000), map(1000, 320_000, 100)]);
    test.config["process"]["user"] =
        json!({ "uid": 1000, "gid": 1001, "additionalGids": [7, 1099], "umask": 0o027 });
    fs::set_permissions(test.rootfs().join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    let said = stdout(&run(&test));
    let lines: Vec<_> = said.lines().map(|line| words(line).join(" ")).collect();
    assert_eq!(
        lines[..5],
        ["0 100000 10", "10 200000 5", "1000 310000 1", "0 100000 1000", "1000 320000 100"]
    );
    assert_eq!(lines[5..], ["1000", "1001", "1001 7 1099", "0:0", "0:0"]);
    let made = fs::metadata(test.rootfs().join("tmp/by-user")).unwrap();
    assert_eq!((made.uid(), made.gid(), made.mode() & 0o777), (310_000, 320_001, 0o640));
}

/// Capabilities count inside: for what the namespace owns, and nothing else.
#[container_test]
fn root_inside_rules_over_its_own_namespaces() {
    let script = "grep CapEff /proc/self/status; hostname other && hostname; mount -t tmpfs mine /tmp && touch /tmp/a && echo mounted; \
        chmod 4755 /bin/busybox; echo 5 > /proc/sys/net/ipv4/ip_default_ttl && cat /proc/sys/net/ipv4/ip_default_ttl; \
        echo 1 > /proc/sys/vm/swappiness; mknod /node c 1 3; id -u";
    let mut test = mapped(script);
    capabilities(
        &mut test,
        &["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_FOWNER", "CAP_MKNOD", "CAP_DAC_OVERRIDE"],
    );
    test.config["linux"].as_object_mut().unwrap().remove("readonlyPaths");
    let output = run(&test);
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let bits = 1u64 << 21 | 1 << 12 | 1 << 3 | 1 << 27 | 1 << 1;
    assert_eq!(said, format!("CapEff:\t{bits:016x}\nother\nmounted\n5\n0\n"), "{errors}");
    assert!(errors.contains("swappiness") && errors.contains("mknod"), "{errors}");
    assert_eq!(fs::metadata(test.rootfs().join("bin/busybox")).unwrap().mode() & 0o7777, 0o4755);
}

#[container_test]
fn devices_inside_are_the_hosts() {
    let script = "cd /dev; stat -c '%n %t:%T' null zero full random urandom tty; ls -l ptmx fd stdin; \
        echo x > null && head -c3 zero | wc -c; echo > full || echo full";
    let mut test = mapped(script);
    let output = run(&test);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for wanted in [
        "null 1:3",
        "zero 1:5",
        "full 1:7",
        "random 1:8",
        "urandom 1:9",
        "tty 5:0",
        "-> pts/ptmx",
        "\n3\nfull\n",
    ] {
        assert!(said.contains(wanted), "no {wanted}: {said}{}", String::from_utf8_lossy(&output.stderr));
    }
    test.assert_nothing_left("devices");

    test.config["linux"]["devices"] =
        json!([{ "path": "/dev/zero", "type": "c", "major": 10, "minor": 200 }]);
    let error = one_error(&run(&test));
    assert!(error.contains("linux.devices[0]: /dev/zero is not char 10:200"), "{error}");
    test.config["linux"]["devices"] =
        json!([{ "path": "/dev/no-such", "type": "c", "major": 10, "minor": 200 }]);
    let error = one_error(&run(&test));
    assert!(error.contains("linux.devices[0]") && error.contains("/dev/no-such"), "{error}");
}

#[container_test]
fn a_terminal_of_mapped_root() {
    let mut test =
        mapped("tty; stat -c %u:%g /dev/console /dev/pts/0; stat -c %u /dev/pts; echo x > /dev/tty; id -u");
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
}

#[container_test]
fn cgroups_show_the_container_alone() {
    let script = "cat /proc/self/cgroup; ls /sys/fs/cgroup; cat /sys/fs/cgroup/cgroup.procs; mkdir /sys/fs/cgroup/below";
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
        let names = fs::read_dir("/sys/fs/cgroup")
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let missing: Vec<_> =
            names.filter(|name| name != "unified" && !said.lines().any(|line| line == name)).collect();
        assert!(missing.is_empty(), "no {missing:?}: {said}");
    } else {
        assert!(said.contains("cgroup.controllers"), "{said}");
    }
    assert!(!said.contains(&format!("{}\n{}\n", test.id, test.id)), "{said}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("Read-only file system"), "{output:?}");
}

#[container_test]
fn what_the_runtime_sets_for_mapped_root() {
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
}

/// Limits are the runtime's to raise: root inside could not.
#[container_test]
fn limits_beyond_the_callers() {
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
}

#[container_test]
fn hidden_and_readonly_to_mapped_root() {
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
}

#[container_test]
fn queues_and_shared_memory_belong_to_mapped_root() {
    let script = "stat -c %u:%g /dev/mqueue /dev/shm /dev /proc/self/ /dev/pts; touch /dev/mqueue/q /dev/shm/m; stat -c %u /dev/mqueue/q /dev/shm/m";
    let test = mapped(script);
    assert_eq!(words(&stdout(&run(&test))), ["0:0", "0:0", "0:0", "0:0", "0:0", "0", "0"]);
}

#[container_test]
fn maps_without_root() {
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
}

#[container_test]
fn the_life_of_a_mapped_container() {
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
}
