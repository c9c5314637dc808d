//! Devices and links below `/dev`.

use super::*;

#[container_test]
fn devices() {
    let nodes = [
        // Path, what is asked for, what is there.
        (
            "/dev/mine",
            json!({ "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 1000, "gid": 5 }),
            "character special file 640 1000 5 1:3",
        ),
        ("/dev/plain", json!({ "type": "c", "major": 1, "minor": 5 }), "character special file 666 0 0 1:5"),
        (
            "/dev/unbuffered",
            json!({ "type": "u", "major": 1, "minor": 7, "fileMode": 0 }),
            "character special file 0 0 0 1:7",
        ),
        (
            "/dev/deep/er/loop",
            json!({ "type": "b", "major": 7, "minor": 300, "fileMode": 0o600, "gid": 6 }),
            "block special file 600 0 6 7:12c",
        ),
        ("/dev/fifo", json!({ "type": "p", "fileMode": 0o622, "uid": 7 }), "fifo 622 7 0 0:0"),
        (
            "/opt/outside",
            json!({ "type": "c", "major": 5, "minor": 2, "fileMode": 0o444 }),
            "character special file 444 0 0 5:2",
        ),
        // The bits of a type, as stat(2) gives them.
        (
            "/dev/with-type",
            json!({ "type": "c", "major": 1, "minor": 3, "fileMode": 0o020_604 }),
            "character special file 604 0 0 1:3",
        ),
        // It counts from the root.
        (
            "dev/relative",
            json!({ "type": "c", "major": 1, "minor": 5 }),
            "character special file 666 0 0 1:5",
        ),
        // Defaults, in other clothes.
        (
            "/dev/zero",
            json!({ "type": "c", "major": 1, "minor": 5, "fileMode": 0o400, "uid": 9 }),
            "character special file 400 9 0 1:5",
        ),
        (
            "/dev/./full",
            json!({ "type": "c", "major": 1, "minor": 7, "fileMode": 0o440 }),
            "character special file 440 0 0 1:7",
        ),
        // What the image has stays.
        ("/opt/there", json!({ "type": "c", "major": 1, "minor": 3 }), "regular file 644 0 0 0:0"),
        ("/dev/null", json!({}), "character special file 666 0 0 1:3"),
        ("/dev/random", json!({}), "character special file 666 0 0 1:8"),
        ("/dev/urandom", json!({}), "character special file 666 0 0 1:9"),
        ("/dev/tty", json!({}), "character special file 666 0 0 5:0"),
    ];
    let paths: Vec<&str> = nodes.iter().map(|(path, ..)| *path).collect();
    let mut test = script(&format!(
        "umask 077; stat -c '%F %a %u %g %t:%T' {}; for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done; \
        echo > /dev/mine; head -c2 /dev/plain | busybox od -An -tx1; stat -c '%a %u' /dev/deep",
        paths.join(" ")
    ));
    fs::create_dir(test.rootfs().join("opt")).unwrap();
    fs::write(test.rootfs().join("opt/there"), "there").unwrap();
    let listed = nodes.iter().filter(|(_, asked, _)| *asked != json!({})).map(|(path, asked, _)| {
        let mut device = asked.clone();
        device["path"] = (*path).into();
        device
    });
    test.config["linux"]["devices"] = listed.collect();
    let found: Vec<&str> = nodes.iter().map(|(.., found)| *found).collect();
    let links = "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx";
    assert_eq!(answer(&run(&test)), format!("{}\n{links}\n 00 00\n755 0", found.join("\n")));
}

#[container_test]
fn devices_that_cannot_be() {
    let cases = [
        // In a user namespace, the device.
        (false, json!({ "path": "/dev/x", "type": "a" }), "type"),
        (false, json!({ "path": "/dev/x", "type": "c", "major": -2, "minor": 0 }), "-2"),
        (false, json!({ "path": "/bin/busybox/x", "type": "c", "major": 1, "minor": 3 }), "not a directory"),
        (
            true,
            json!({ "path": "/dev/zero", "type": "c", "major": 1, "minor": 3 }),
            "/dev/zero is not char 1:3",
        ),
        (
            true,
            json!({ "path": "/dev/null", "type": "b", "major": 1, "minor": 3 }),
            "/dev/null is not block 1:3",
        ),
        (true, json!({ "path": "/dev/no-such-device", "type": "c", "major": 1, "minor": 3 }), "no such file"),
        (true, json!({ "path": "/etc/hostname", "type": "c", "major": 1, "minor": 3 }), "is not char 1:3"),
    ];
    for (mapped, device, expected) in cases {
        let mut test = script("true");
        let what = device.to_string();
        test.config["linux"]["devices"] = json!([{ "path": "/dev/first", "type": "p" }, device]);
        if mapped {
            test.map_ids();
        }
        let error = refused(&test, &run(&test));
        assert!(error.contains("linux.devices[1]") && error.contains(expected), "{what}: {error}");
    }
}

/// `linux.resources.devices`: the last rule that speaks of a device decides. No driver has these numbers, so
/// that the kernel says ENXIO where the filter lets a call through.
#[container_test(Root, UserNamespace)]
fn device_rules(variant: Variant) {
    let mapped = variant.is_mapped();
    let rule = |allow: bool, typ: &str, major: i64, minor: i64, access: &str| json!({ "allow": allow, "type": typ, "major": major, "minor": minor, "access": access });
    let mut rules = vec![
        json!({ "allow": false, "access": "rwm" }),
        rule(true, "c", 240, 1, "r"),
        rule(true, "c", 240, 2, "w"),
        rule(true, "c", 240, 3, "rwm"),
        rule(true, "c", 240, 4, "m"),
        rule(true, "c", 240, 5, "rw"),
        rule(false, "c", 240, 5, "w"),
        rule(true, "b", -1, 7, "rw"),
        rule(true, "a", 242, 1, "r"),
    ];
    // What is not given is any.
    rules.push(json!({ "allow": true, "type": "c", "major": 241, "access": "rw" }));
    rules.push(json!({ "allow": true, "type": "c", "minor": 99, "access": "w" }));
    rules.push(json!({ "allow": true, "major": 243, "minor": 1, "access": "r" }));
    let nodes = [
        // Type, major, minor, what may be done.
        ("c", 240, 0, ""),
        ("c", 240, 1, "r"),
        ("c", 240, 2, "w"),
        ("c", 240, 3, "rw"),
        ("c", 240, 4, ""),
        ("c", 240, 5, "r"),
        ("b", 240, 1, ""),
        ("b", 240, 7, "rw"),
        ("b", 241, 7, "rw"),
        ("c", 240, 7, ""),
        ("c", 242, 1, "r"),
        ("b", 242, 1, "r"),
        ("c", 242, 2, ""),
        ("c", 241, 12, "rw"),
        ("b", 241, 12, ""),
        ("c", 244, 99, "w"),
        ("c", 243, 1, "r"),
        ("b", 243, 1, "r"),
    ];
    let look = "cd /nodes; for n in *; do r=; w=; (: < $n) 2>&1 | grep -q 'not permitted' || r=r; \
        (: > $n) 2>&1 | grep -q 'not permitted' || w=w; echo $n=$r$w; done";
    let mut test = script(look);
    let source = test.beside("src");
    fs::create_dir(&source).unwrap();
    for (typ, major, minor, _) in nodes {
        let kind = if typ == "c" { SFlag::S_IFCHR } else { SFlag::S_IFBLK };
        let path = source.join(format!("{typ}-{major}-{minor:02}"));
        mknod(&path, kind, Mode::empty(), makedev(major, minor)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    }
    bind(&mut test, &source, "/nodes", &[]);
    test.config["linux"]["resources"]["devices"] = json!(rules);
    variant.apply(&mut test);
    let mut expected: Vec<_> =
        nodes.iter().map(|(typ, major, minor, may)| format!("{typ}-{major}-{minor:02}={may}")).collect();
    expected.sort();
    assert_eq!(answer(&run(&test)).lines().collect::<Vec<_>>(), expected, "user namespace: {mapped}");
    // Without rules only the default devices can be used, and all with a rule that allows all.
    for (rules, may) in [(json!([]), ""), (json!([{ "allow": true, "access": "rwm" }]), "rw")] {
        let mut test = script(look);
        let source = test.beside("src");
        fs::create_dir(&source).unwrap();
        mknod(&source.join("node"), SFlag::S_IFCHR, Mode::empty(), makedev(240, 1)).unwrap();
        fs::set_permissions(source.join("node"), fs::Permissions::from_mode(0o666)).unwrap();
        bind(&mut test, &source, "/nodes", &[]);
        test.config["linux"]["resources"]["devices"] = rules;
        assert_eq!(answer(&run(&test)), format!("node={may}"));
    }
}

/// Where the kernel makes no nodes, the host's are shown.
#[container_test(Root, UserNamespace)]
fn devices_of_the_host(variant: Variant) {
    let mapped = variant.is_mapped();
    let look = "stat -c '%n %F %a %t:%T' /dev/null /dev/zero /dev/tty /dev/fifo /dev/deep/null; echo > /dev/null; head -c1 /dev/zero | wc -c; ";
    let expected = "/dev/null character special file 666 1:3\n/dev/zero character special file 666 1:5\n\
        /dev/tty character special file 666 5:0\n/dev/fifo fifo 600 0:0\n/dev/deep/null character special file 666 1:3\n1\n";
    let mut test = script(&format!("{look}{TABLE}"));
    for set in ["bounding", "effective", "permitted"] {
        test.config["process"]["capabilities"][set] = json!(["CAP_DAC_OVERRIDE"]);
    }
    test.config["linux"]["devices"] = json!([
        { "path": "/dev/fifo", "type": "p", "fileMode": 0o600 },
        { "path": "/dev/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600 },
        { "path": "/dev/deep/null", "type": "c", "major": 1, "minor": 3 },
    ]);
    variant.apply(&mut test);
    // What the host has under the same name, in a directory of the test.
    let host = "mkdir host-dev; mount -t tmpfs -o mode=755 tmpfs host-dev; for n in null zero full random urandom tty; do touch host-dev/$n; mount --bind /dev/$n host-dev/$n; done; \
        mkdir host-dev/deep; touch host-dev/deep/null; mount --bind /dev/null host-dev/deep/null; mount --rbind host-dev /dev; ";
    let without = "d=$1; shift; set -- $d setpriv --bounding-set=-mknod --inh-caps=-mknod \"$@\"";
    let output = run_after(&test, &if mapped { host.to_owned() } else { format!("{host}{without}") });
    let seen = answer(&output);
    assert!(seen.starts_with(expected), "{seen}");
    assert_eq!(at(&mounts(&seen), "/dev/zero").root, "/zero");
}

/// The host's devices, shown under their own names or over what is masked: whoever is their owner in the
/// container cannot change their mode, owner and times for the whole host.
#[container_test(Root, UserNamespace)]
fn devices_of_the_host_stay_as_they_are(variant: Variant) {
    let mapped = variant.is_mapped();
    let look = "for p in /proc/keys /dev/null; do chmod 600 $p || chown 7:7 $p || touch $p || echo kept $p; done 2>/dev/null; \
        echo written > /proc/keys && cat /proc/keys; head -c 1 /dev/zero | wc -c";
    let mut test = script(look);
    for set in ["bounding", "effective", "permitted"] {
        test.config["process"]["capabilities"][set] = json!(["CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_CHOWN"]);
    }
    if mapped {
        test.map_ids();
        // The container's root is the host's.
        for maps in ["uidMappings", "gidMappings"] {
            test.config["linux"][maps] = json!([{ "containerID": 0, "hostID": 0, "size": 65536 }]);
        }
        test.own_rootfs(0);
    }
    // Nodes that only this test has.
    let host = "mkdir host-dev; mount -t tmpfs -o mode=755 tmpfs host-dev; cd host-dev; \
        m() { mknod -m 666 $1 c $2 $3; }; m null 1 3; m zero 1 5; m full 1 7; m random 1 8; m urandom 1 9; m tty 5 0; \
        cd ..; mount --rbind host-dev /dev; ";
    let without = "d=$1; shift; set -- $d setpriv --bounding-set=-mknod --inh-caps=-mknod \"$@\"";
    let output = run_after(&test, &if mapped { host.to_owned() } else { format!("{host}{without}") });
    assert_eq!(answer(&output), "kept /proc/keys\nkept /dev/null\n1", "mapped {mapped}");
}

/// runc, crun: nothing is made in a directory of the host.
#[container_test]
fn devices_with_the_hosts_dev() {
    for options in [&["bind"][..], &["rbind", "ro"]] {
        let mut test = script("ls /dev; stat -c '%t:%T' /opt/node");
        let source = test.beside("src");
        fs::create_dir(&source).unwrap();
        mknod(&source.join("null"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3)).unwrap();
        let mounts = test.config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        bind(&mut test, &source, "/dev", options);
        test.config["linux"]["devices"] = json!([
            { "path": "/dev/node", "type": "c", "major": 1, "minor": 3 },
            { "path": "/opt/node", "type": "c", "major": 1, "minor": 3 },
        ]);
        assert_eq!(answer(&run(&test)), "null\n1:3", "{options:?}");
        assert_eq!(fs::read_dir(&source).unwrap().count(), 1);
        assert!(fs::symlink_metadata(source.join("null")).unwrap().file_type().is_char_device());
    }
}

/// In a user namespace the host's nodes are as in any container, and `/dev/ptmx` of a config is the link to
/// that of the devpts: engines list the host's devices for privileged containers.
#[container_test]
fn devices_of_the_host_in_use() {
    let mut test = script("touch /dev/null && echo touched; readlink /dev/ptmx; stat -c %t:%T /dev/pts/ptmx");
    let ptmx = json!({ "path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2 });
    test.config["linux"]["devices"] =
        json!([ptmx, { "path": "/dev/tty", "type": "c", "major": 5, "minor": 0 }]);
    assert_eq!(answer(&run(&test)), "touched\npts/ptmx\n5:2");
    let without = "d=$1; shift; set -- $d setpriv --bounding-set=-mknod --inh-caps=-mknod \"$@\"";
    for set in ["bounding", "effective", "permitted"] {
        test.config["process"]["capabilities"][set] = json!(["CAP_DAC_OVERRIDE"]);
    }
    assert_eq!(stdout_of_failed(&run_after(&test, without)), "pts/ptmx\n5:2");
    test.map_ids();
    // A device that nobody else's test uses has its times changed.
    let host = "mkdir host-dev; mount -t tmpfs -o mode=755 tmpfs host-dev; for n in zero full random urandom tty; do touch host-dev/$n; \
        mount --bind /dev/$n host-dev/$n; done; mknod -m 666 host-dev/null c 1 3; mount --rbind host-dev /dev; ";
    assert_eq!(answer(&run_after(&test, host)), "touched\npts/ptmx\n5:2");
}
