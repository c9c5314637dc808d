//! Names, kernel parameters, network devices, annotations, fds.

use super::*;

#[container_test]
fn host_and_domain_names() {
    let change = |test: &mut TestBundle| {
        test.config["hostname"] = "a-name".into();
        test.config["domainname"] = "a.domain".into();
    };
    both("hostname; cat /proc/sys/kernel/domainname", change, |seen| assert_eq!(seen, "a-name\na.domain\n"));
    let own = nix::sys::utsname::uname().unwrap().nodename().to_string_lossy().into_owned();
    let change = |test: &mut TestBundle| drop(test.config.as_object_mut().unwrap().remove("hostname"));
    both("hostname", change, |seen| assert_eq!(seen.trim_end(), own));
    let mut test = shell("hostname");
    test.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "uts");
    let error = refused(&test);
    assert!(error.contains("hostname"), "{error}");
}

#[container_test]
fn kernel_parameters_of_each_family() {
    let wanted = [
        ("kernel.msgmax", "kernel/msgmax", "4096"),
        ("kernel.msgmnb", "kernel/msgmnb", "8192"),
        ("kernel.msgmni", "kernel/msgmni", "100"),
        ("kernel.sem", "kernel/sem", "10\t20\t30\t40"),
        ("kernel.shmall", "kernel/shmall", "1000"),
        ("kernel.shmmax", "kernel/shmmax", "100000"),
        ("kernel.shmmni", "kernel/shmmni", "50"),
        ("kernel.shm_rmid_forced", "kernel/shm_rmid_forced", "1"),
        ("fs.mqueue.msg_max", "fs/mqueue/msg_max", "7"),
        ("fs/mqueue/queues_max", "fs/mqueue/queues_max", "5"),
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward", "1"),
        ("net.core.somaxconn", "net/core/somaxconn", "33"),
        ("net.ipv4.ping_group_range", "net/ipv4/ping_group_range", "0\t5"),
        ("net/ipv4/conf/lo/forwarding", "net/ipv4/conf/lo/forwarding", "1"),
    ];
    let map: BTreeMap<_, _> = wanted.iter().map(|(key, _, value)| (*key, value.replace('\t', " "))).collect();
    let script: String = wanted.iter().map(|(_, file, _)| format!("cat /proc/sys/{file};")).collect();
    let expected: String = wanted.iter().map(|(_, _, value)| format!("{value}\n")).collect();
    let before: Vec<_> =
        wanted.iter().map(|(_, file, _)| fs::read(Path::new("/proc/sys").join(file)).ok()).collect();
    both(&script, |test| test.config["linux"]["sysctl"] = json!(map), |seen| assert_eq!(seen, expected));
    let after: Vec<_> =
        wanted.iter().map(|(_, file, _)| fs::read(Path::new("/proc/sys").join(file)).ok()).collect();
    assert!(before == after, "the host's parameters have changed");
    // The kernel gives this file to the first user namespace's root alone.
    let mut test = shell("cat /proc/sys/kernel/domainname");
    test.config["linux"]["sysctl"] = json!({ "kernel.domainname": "by.sysctl" });
    assert_eq!(stdout(&run(&test)), "by.sysctl\n");
    test.map_ids();
    let error = refused(&test);
    assert!(error.contains("kernel.domainname") && error.ends_with("permission denied"), "{error}");
    // Those of a user namespace need one.
    let mut test = shell("cat /proc/sys/user/max_mnt_namespaces");
    test.config["linux"]["sysctl"] = json!({ "user.max_mnt_namespaces": "77" });
    let error = refused(&test);
    assert!(error.contains("user.max_mnt_namespaces"), "{error}");
    test.map_ids();
    assert_eq!(stdout(&run(&test)), "77\n");
}

#[container_test]
fn kernel_parameters_that_are_the_hosts() {
    let cases = [
        ("kernel.panic", "1", None),
        ("kernel.hostname", "x", None),
        ("vm.swappiness", "1", None),
        ("fs.file-max", "1", None),
        ("net.ipv4.no_such_thing", "1", None),
        ("net.ipv4.ip_forward", "nonsense", None),
        ("net/../kernel/panic", "1", None),
        ("net.ipv4.ip_forward", "1", Some("network")),
        ("kernel.msgmax", "1", Some("ipc")),
        ("fs.mqueue.msg_max", "1", Some("ipc")),
        ("kernel.domainname", "x", Some("uts")),
    ];
    for (key, value, without) in cases {
        let mut test = shell("true");
        test.config["linux"]["sysctl"] = json!({ key: value });
        test.config.as_object_mut().unwrap().remove("hostname");
        let namespaces = test.config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"].as_str() != without);
        let error = refused(&test);
        assert!(error.contains("linux.sysctl") && error.contains(key), "{key} without {without:?}: {error}");
    }
}

#[container_test]
fn a_readonly_root() {
    let script = "touch /x 2>&1; mkdir /y 2>&1; test -e /x && echo made";
    let refused =
        "touch: /x: Read-only file system\nmkdir: can't create directory '/y': Read-only file system\n";
    for (readonly, expected) in [(json!(true), refused), (json!(false), "made\n"), (Value::Null, "made\n")] {
        let change = |test: &mut TestBundle| {
            let root = test.config["root"].as_object_mut().unwrap();
            root.remove("readonly");
            if !readonly.is_null() {
                root.insert("readonly".into(), readonly.clone());
            }
        };
        both(&format!("{script}; true"), change, |seen| assert_eq!(seen, expected));
    }
}

// Network

#[container_test]
fn the_loopback_device_is_up() {
    let script =
        "busybox ip addr show lo; busybox ping -c1 127.0.0.1 >/dev/null 2>&1; cat /sys/class/net/lo/flags";
    both(
        script,
        |_| {},
        |seen| {
            assert!(seen.contains("LOOPBACK,UP") && seen.contains("inet 127.0.0.1/8"), "{seen}");
            assert!(seen.ends_with("0x9\n"), "{seen}");
        },
    );
}

/// A network namespace with a pair of devices in it, and corten there: the machine's own is left alone.
fn run_between_devices(test: &TestBundle) -> Output {
    let setup = "ip link add here type veth peer name there 2>/dev/null || exit 99; \
        ip addr add 10.9.8.7/24 dev here; ip addr add fd00::7/64 dev here nodad; \
        ip link set here mtu 1400 up; ip link set there up; exec \"$@\"";
    run_behind(test, &["unshare", "-n", "sh", "-c", setup, "sh"])
}

#[container_test(Root, UserNamespace)]
fn network_devices_move_in(variant: Variant) {
    if !has("ip") || !has("unshare") {
        return;
    }
    for (device, name) in [(json!({ "name": "eth7" }), "eth7"), (json!({}), "here")] {
        let mut test = shell("busybox ip addr; cat /sys/class/net/*/address | wc -l");
        variant.apply(&mut test);
        test.config["linux"]["netDevices"] = json!({ "here": device });
        let output = run_between_devices(&test);
        if output.status.code() == Some(99) {
            return skip("no veth");
        }
        let seen = stdout(&output);
        let part = seen.split("\n2:").nth(1).or(seen.split(&format!(" {name}@")).nth(1));
        let part = part.unwrap_or_else(|| panic!("{seen}"));
        assert!(seen.contains(&format!(" {name}@")) || seen.contains(&format!(" {name}:")), "{seen}");
        for word in ["inet 10.9.8.7/24", "inet6 fd00::7/64", "mtu 1400", "UP"] {
            assert!(part.contains(word), "{word} is missing: {seen}");
        }
        assert!(!seen.contains("there:"), "{seen}");
        test.assert_nothing_left("devices");
    }
}

#[container_test]
fn network_devices_that_cannot_move() {
    if !has("ip") || !has("unshare") {
        return;
    }
    for (devices, words) in [
        (json!({ "x": {} }), "linux.netDevices[\"x\"]"),
        (json!({ "here": { "name": "lo" } }), "linux.netDevices[\"here\"]"),
        (json!({ "here": { "name": "same" }, "there": { "name": "same" } }), "linux.netDevices"),
        (json!({ "here": { "name": "a/b" } }), "linux.netDevices"),
        (json!({ "here": { "name": "longer-than-15-bytes" } }), "linux.netDevices"),
        (json!({ "lo": {} }), "linux.netDevices"),
    ] {
        let mut test = shell("true");
        test.config["linux"]["netDevices"] = devices.clone();
        let output = run_between_devices(&test);
        if output.status.code() == Some(99) {
            return skip("no veth");
        }
        let error = one_error(&output);
        assert!(error.contains(words), "{devices}: {error}");
    }
}

// Annotations, fds

#[container_test]
fn annotations_stay_in_the_state() {
    let mut test = shell("true");
    let annotations =
        json!({ "org.example.key": "value", "empty": "", "run.oci.unknown": "yes", "uni": "é\u{1F980}" });
    test.config["annotations"] = annotations.clone();
    let path = test.write().path();
    let create = ["create", "-b", path.to_str().unwrap(), &test.id];
    assert!(corten(&test, &create).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    let state = common::state(&test);
    assert_eq!(state["annotations"], annotations);
    succeed(&test, &["delete", "--force", &test.id]);
}

#[container_test]
fn preserved_fds_in_a_user_namespace() {
    let mut test = shell("read a <&3; echo $a; ls /proc/$$/fd; true");
    test.map_ids();
    let path = test.write().path();
    fs::write(test.beside("three"), "three\n").unwrap();
    fs::write(test.beside("four"), "four\n").unwrap();
    let open =
        format!("exec \"$@\" 3<{} 4<{}", test.beside("three").display(), test.beside("four").display());
    let output = Command::new("sh")
        .args(["-c", &open, "sh", CORTEN, "--root"])
        .arg(test.state_root())
        .args(["run", "--preserve-fds", "1", "-b"])
        .arg(path)
        .arg(&test.id)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let seen = stdout(&output);
    let lines: Vec<_> = seen.lines().filter(|line| *line != "10").collect();
    assert_eq!(lines, ["three", "0", "1", "2", "3"], "fd 4 was not to come in");
}

/// A file of a user whom the user namespace does not map is closed to its root. runc goes on, too, and warns.
#[container_test]
fn a_passwd_that_cannot_be_read_is_told() {
    let mut test = TestBundle::new(&["sh", "-c", "echo $HOME"]);
    test.config["process"]["env"] = json!(["PATH=/bin"]);
    let passwd = test.rootfs().join("etc/passwd");
    fs::create_dir_all(passwd.parent().unwrap()).unwrap();
    fs::write(&passwd, "root:x:0:0::/home/of/root:/bin/sh\n").unwrap();
    test.map_ids();
    let said = |test: &TestBundle| {
        let output = run(test);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr))
    };
    assert_eq!(said(&test), ("/home/of/root\n".to_owned(), String::new()));
    std::os::unix::fs::chown(&passwd, Some(0), Some(0)).unwrap();
    fs::set_permissions(&passwd, PermissionsExt::from_mode(0o600)).unwrap();
    let warning = "process.env: HOME=/: openat2 \"/etc/passwd\": permission denied\n";
    assert_eq!(said(&test), ("/\n".to_owned(), warning.to_owned()));
    fs::remove_file(&passwd).unwrap();
    assert_eq!(said(&test), ("/\n".to_owned(), String::new()), "no file is no error");
}
