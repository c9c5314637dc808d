//! Devices, terminals and links of the image.

use super::*;

/// The parents of a destination change places with links to the host while they are made.
#[container_test(ways)]
fn cve_2024_45310_a_race_on_the_parents_of_a_destination(way: Way) {
    let (mut test, host) = attack("true");
    let volume = test.beside("volume");
    fs::create_dir_all(volume.join("parent")).unwrap();
    symlink(host.path("directory"), volume.join("link")).unwrap();
    let source = test.beside("source");
    fs::write(&source, "a source").unwrap();
    push(&mut test, json!({ "destination": "/volume", "source": volume, "options": ["rbind"] }));
    push(&mut test, json!({ "destination": "/volume/parent/made/here", "type": "tmpfs", "source": "tmpfs" }));
    push(
        &mut test,
        json!({ "destination": "/volume/parent/file/here", "source": source, "options": ["bind"] }),
    );
    push(
        &mut test,
        json!({ "destination": "/volume/parent/new-file", "source": source, "options": ["bind"] }),
    );
    test.config["process"]["cwd"] = "/volume/parent/work/here".into();
    let device = json!([{ "path": "/volume/parent/dev/here", "type": "c", "major": 1, "minor": 3, "uid": 7, "gid": 7 }]);
    let (parent, link) = (volume.join("parent"), volume.join("link"));
    for twin in [false, true] {
        if twin {
            twin_in_rootfs(&test, &host.path("directory"));
        }
        // In a user namespace it would be the host's node of this name.
        test.config["linux"]["devices"] = if way == Way::UserNamespace { json!([]) } else { device.clone() };
        race(way, &test, &host, "parents of a destination", (&parent, &link), |_| {});
    }
    host.assert_untouched(&test, "parents of a destination");
}

/// A file of the image becomes a device while the image's files are copied (`tmpcopyup`): were it opened, it
/// would show what the container may not see, the host's disks for one, and be copied.
#[container_test(ways)]
fn cve_2021_30465_a_race_on_what_a_tmpfs_copies_opens_no_device(way: Way) {
    let (mut test, host) = attack("stat -c '%F %s' /data/file");
    let data = test.rootfs().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("file"), "small").unwrap();
    let device = test.rootfs().join("device");
    // Without an end, so that a copy would fill the tmpfs.
    mknod(&device, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 5)).unwrap();
    push(&mut test, json!({ "destination": "/data", "type": "tmpfs", "options": ["tmpcopyup", "size=1m"] }));
    let errors = race(way, &test, &host, "a file that is copied", (&data.join("file"), &device), |seen| {
        assert!(["regular file 5\n", "character special file 0\n"].contains(&seen), "{seen}");
    });
    assert!(errors.iter().all(|error| !error.contains("no space left")), "the device was read: {errors:?}");
    // Found to be none after it had been opened.
    assert!(
        errors.iter().all(|error| !error.contains("no such device")),
        "the device was opened: {errors:?}"
    );
    host.assert_untouched(&test, "a file that is copied");
}

/// The same, every time: the file becomes a device between the look and the open.
#[container_test(ways)]
fn cve_2021_30465_a_file_that_has_become_a_device_is_not_opened_by_a_copy(way: Way) {
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

/// What hides a file comes from the host and is checked; `/dev/null` of the image is not asked.
#[container_test(ways)]
fn cve_2025_31133_cve_2025_62161_the_images_null_device_masks_nothing(way: Way) {
    let look = "stat -c '%F %t:%T' /proc/keys /proc/timer_list; cat /proc/keys; echo x > /proc/timer_list";
    let nulls = ["link to core_pattern", "link to sysrq", "link to the host", "file", "directory", "mount"];
    for null in nulls {
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
            assert_eq!(
                String::from_utf8_lossy(&output.stdout),
                device.repeat(2),
                "{way:?}, {null}: {output:?}"
            );
        }
        host.assert_untouched(&test, null);
    }
}

#[container_test(ways)]
fn cve_2025_31133_a_race_on_the_null_device(way: Way) {
    let (mut test, host) = attack("stat -c '%t:%T' /proc/keys /proc/timer_list");
    without_mounts(&mut test, "/dev");
    let dev = test.rootfs().join("dev");
    fs::create_dir(&dev).unwrap();
    fs::write(dev.join("null"), "").unwrap();
    symlink("/proc/sys/kernel/core_pattern", dev.join("link")).unwrap();
    race(way, &test, &host, "the null device", (&dev.join("null"), &dev.join("link")), |seen| {
        assert_eq!(seen, "1:3\n1:3\n")
    });
    host.assert_untouched(&test, "the null device");
}

/// A terminal whose `/dev/console`, `/dev/ptmx` or `/dev/pts` leads somewhere else.
#[container_test(ways)]
fn cve_2025_52565_terminals_are_not_found_by_their_paths(way: Way) {
    // Before the masks there is a moment when /proc is writable: nothing of it may be mounted on the console.
    let look =
        "stat -L -c '%t:%T' /dev/console; tty; echo x > /dev/console; echo x > /proc/sys/kernel/core_pattern";
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
    for (name, to) in cases {
        for devpts in [true, false] {
            let (mut test, host) = attack(look);
            test.config["process"]["terminal"] = true.into();
            let pts = test.config["mounts"]
                .as_array()
                .unwrap()
                .iter()
                .find(|mount| mount["type"] == "devpts")
                .cloned();
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

#[container_test(ways)]
fn cve_2025_52565_a_race_on_the_console(way: Way) {
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
    race(way, &test, &host, "the console", (&dev.join("console"), &dev.join("link")), |seen| {
        // The one or the other, as the moment had it; neither is a file that leads to the host's procfs.
        assert!(["88:0", "0:0"].contains(&seen.trim()), "{seen}");
    });
    let (one, other) = (dev.join("pts"), dev.join("fake"));
    fs::create_dir(&other).unwrap();
    symlink(host.path("ptmx"), other.join("ptmx")).unwrap();
    symlink("/proc/sys/kernel/core_pattern", other.join("0")).unwrap();
    race(way, &test, &host, "/dev/pts", (&one, &other), |_| {});
    host.assert_untouched(&test, "the console");
}

/// Without a mount on `/dev` the default devices and links are made in the rootfs, and an old ptmx is removed
/// from it.
#[container_test(ways)]
fn cve_2026_41579_cve_2026_47766_devices_and_links_are_made_in_the_rootfs(way: Way) {
    for twin in [false, true] {
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

#[container_test(ways)]
fn cve_2026_41579_a_race_on_dev(way: Way) {
    let (mut test, host) = attack("true");
    without_mounts(&mut test, "/dev");
    let (dev, link) = (test.rootfs().join("dev"), test.rootfs().join("link"));
    fs::create_dir(&dev).unwrap();
    symlink(&host.directory, &link).unwrap();
    // In a user namespace it would be the host's node of this name.
    test.config["linux"]["devices"] = if way == Way::UserNamespace { json!([]) } else { deep_device() };
    race(way, &test, &host, "/dev", (&dev, &link), |_| {});
    host.assert_untouched(&test, "/dev");
}

/// What engines mount on files of `/etc`, whose directory or file is a link of the image.
#[container_test(ways)]
fn cve_2025_24965_files_are_not_made_through_links(way: Way) {
    let links = ["etc", "etc/resolv.conf", "etc/hosts", "etc/passwd"];
    for link in links {
        for twin in [false, true] {
            let (mut test, host) = attack("cat /etc/resolv.conf /etc/hosts");
            let etc = test.rootfs().join("etc");
            if link == "etc" {
                fs::remove_dir(&etc).unwrap();
                symlink(&host.directory, &etc).unwrap();
            } else {
                symlink(
                    host.path(Path::new(link).file_name().unwrap().to_str().unwrap()),
                    test.rootfs().join(link),
                )
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
#[container_test(ways)]
fn cve_2023_28642_a_race_on_masked_and_readonly_paths(way: Way) {
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
    race(way, &test, &host, "masked paths", (&volume.join("place"), &volume.join("link")), |seen| {
        assert!(seen.contains("keys 1:3"), "{seen}");
        assert!(!seen.contains(" /host"), "{seen}");
    });
    host.assert_untouched(&test, "masked paths");
}
