//! Disks, and which devices may be opened.

use super::*;

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
            Ok(output) if output.status.success() => {
                String::from_utf8(output.stdout).unwrap().trim().to_owned()
            }
            other => {
                skip(&format!("no loop device can be made: {other:?}"));
                return None;
            }
        };
        let number =
            fs::read_to_string(format!("/sys/block/{}/dev", path.trim_start_matches("/dev/"))).unwrap();
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

#[container_test]
fn a_disk_is_used_no_faster_than_allowed() {
    let bundle_of_disk = TestBundle::new(&["true"]);
    if Controller::find(&bundle_of_disk, "blkio").is_none() {
        return;
    }
    let Some(Disk { major, minor, .. }) = &Disk::new(&bundle_of_disk) else { return };
    let device =
        json!({ "path": "/dev/disk", "type": "b", "major": major, "minor": minor, "fileMode": 0o600 });
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

/// A disk can be mounted that the container itself may not open, as with runc: init mounts before devices are
/// restricted.
#[container_test]
fn a_disk_is_mounted_that_cannot_be_opened() {
    let script = "mknod /dev/disk b $0 $1; (: < /dev/disk) 2>&- || echo refused; ls -d /mnt/lost+found";
    let mut test = TestBundle::new(&[]);
    let Some(disk) = Disk::new(&test) else { return };
    let made = Command::new("mkfs.ext4").args(["-q", &disk.path]).output();
    if !made.is_ok_and(|output| output.status.success()) {
        return skip("no mkfs.ext4");
    }
    fs::create_dir(test.rootfs().join("mnt")).unwrap();
    test.config["process"]["args"] =
        json!(["sh", "-c", script, disk.major.to_string(), disk.minor.to_string()]);
    for set in ["bounding", "effective", "permitted"] {
        test.config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_MKNOD"));
    }
    let mount = json!({ "destination": "/mnt", "type": "ext4", "source": disk.path, "options": ["ro"] });
    test.config["mounts"].as_array_mut().unwrap().push(mount);
    // Which of two that work at the same time comes first is not always the same.
    for _ in 0..5 {
        assert_eq!(stdout(&run(&test)), "refused\n/mnt/lost+found\n");
    }
}

/// Two devices that not every container may open, with their minor numbers; the major one is 10.
const OTHERS: [(&str, u32); 2] = [("fuse", 229), ("loop-control", 237)];

/// A container that makes nodes of those two, and may do so.
fn with_devices(script: &str) -> Option<TestBundle> {
    if let Some((name, _)) =
        OTHERS.iter().find(|(name, _)| fs::File::open(Path::new("/dev").join(name)).is_err())
    {
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

#[container_test]
fn only_allowed_devices_are_opened() {
    let script = "cd /dev; (: < fuse) 2>&- && echo read; (: > fuse) 2>&- && echo write; (: <> fuse) 2>&- && echo both; \
        head -c1 full > null && echo full; mknod zero2 c 1 5 && head -c1 zero2 | wc -c";
    let (all, nothing) =
        (json!({ "allow": true, "access": "rwm" }), json!({ "allow": false, "access": "rwm" }));
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
#[container_test]
fn updated_devices_are_allowed_and_refused() {
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
