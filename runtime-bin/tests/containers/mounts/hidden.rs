//! What is hidden, and what cannot be written.

use super::*;

#[container_test(Root, UserNamespace)]
fn masked_and_readonly_paths(variant: Variant) {
    let look = "stat -c '%n %F %t:%T' /secret-file /proc/keys /volume/file /link-to-file; cat /secret-file /volume/file; \
        ls -A /secret-dir /proc/acpi /volume/dir /way/dir; \
        for p in /secret-dir /volume/dir /fixed-dir /fixed-dir/sub /fixed/way; do touch $p/new 2>/dev/null && echo wrote $p; done; \
        echo x 2>/dev/null > /fixed-file && echo wrote file; cat /fixed-file; echo 0 2>/dev/null > /proc/sys/net/ipv4/ip_forward && echo wrote sysctl; \
        stat -c %n /not-there 2>/dev/null; ";
    let mut test = script(&format!("{look}{TABLE}"));
    let rootfs = test.rootfs();
    for name in ["secret-dir", "fixed-dir/sub", "dir"] {
        fs::create_dir_all(rootfs.join(name)).unwrap();
        fs::write(rootfs.join(name).join("secret"), "secret").unwrap();
    }
    for name in ["secret-file", "fixed-file"] {
        fs::write(rootfs.join(name), "fixed\n").unwrap();
    }
    symlink("secret-file", rootfs.join("link-to-file")).unwrap();
    symlink("/volume", rootfs.join("way")).unwrap();
    symlink("/fixed-dir", rootfs.join("fixed")).unwrap();
    let source = test.beside("src");
    fs::create_dir_all(source.join("dir")).unwrap();
    for name in ["file", "dir/file"] {
        fs::write(source.join(name), "of the volume").unwrap();
    }
    bind(&mut test, &source, "/volume", &[]);
    tmpfs(&mut test, "/fixed-dir/sub", &[]);
    test.config["linux"]["maskedPaths"] = json!([
        "/proc/keys",
        "/proc/acpi",
        "/secret-file",
        "/secret-dir",
        "/not-there",
        "/not-there/below",
        "/secret-file/below",
        "/volume/file",
        "/way/dir",
        "/proc/acpi",
    ]);
    test.config["linux"]["readonlyPaths"] =
        json!(["/proc/sys", "/fixed-dir", "/fixed-file", "/not-there", "/fixed-dir"]);
    variant.apply(&mut test);
    let output = run(&test);
    let seen = String::from_utf8_lossy(&output.stdout).into_owned();
    let device = "character special file 1:3";
    let expected = format!(
        "/secret-file {device}\n/proc/keys {device}\n/volume/file {device}\n/link-to-file symbolic link 0:0\n\
         /proc/acpi:\n\n/secret-dir:\n\n/volume/dir:\n\n/way/dir:\nfixed\n"
    );
    assert!(seen.starts_with(&expected), "{seen}\n{}", String::from_utf8_lossy(&output.stderr));
    let mounts = mounts(&seen);
    // One empty filesystem for all, and as far down as it can be: nothing can be put in.
    let empty: BTreeSet<_> = ["/secret-dir", "/proc/acpi", "/volume/dir"]
        .map(|point| {
            let found = at(&mounts, point);
            assert!(found.options.contains("ro") && found.superblock.contains("ro"), "{found:?}");
            (
                found.fstype.clone(),
                seen.lines()
                    .find(|line| line.contains(&format!(" {point} ")))
                    .unwrap()
                    .split(' ')
                    .nth(2)
                    .unwrap()
                    .to_owned(),
            )
        })
        .into();
    assert_eq!(empty.len(), 1, "{empty:?}");
    for point in ["/proc/sys", "/fixed-dir", "/fixed-dir/sub", "/fixed-file"] {
        assert!(at(&mounts, point).options.contains("ro"), "{point}");
    }
    assert_eq!(fs::read_to_string(rootfs.join("fixed-file")).unwrap(), "fixed\n");
    assert_eq!(fs::read_to_string(source.join("file")).unwrap(), "of the volume");
}

#[container_test(Root, UserNamespace)]
fn a_readonly_root_and_writable_mounts(variant: Variant) {
    let look = "for p in / /etc /tmp /t /b /b/sub /dev /r; do touch $p/new 2>/dev/null && echo $p; done; ls /missing /etc/made; ";
    let mut test = script(&format!("{look}{TABLE}"));
    test.config["root"]["readonly"] = true.into();
    let source = test.beside("src");
    fs::create_dir_all(source.join("sub")).unwrap();
    for name in ["", "sub"] {
        fs::set_permissions(source.join(name), fs::Permissions::from_mode(0o777)).unwrap();
    }
    tmpfs(&mut test, "/t", &[]);
    tmpfs(&mut test, "/missing", &[]);
    bind(&mut test, &source, "/b", &[]);
    bind(&mut test, &source, "/r", &["ro"]);
    bind(&mut test, &source.join("sub"), "/etc/made", &[]);
    variant.apply(&mut test);
    let seen = answer(&run(&test));
    assert!(seen.starts_with("/t\n/b\n/b/sub\n/dev\n/etc/made:\nnew\n\n/missing:\n"), "{seen}");
    let mounts = mounts(&seen);
    assert!(at(&mounts, "/").options.contains("ro"));
    assert!(!at(&mounts, "/").superblock.contains("ro"), "the host's superblock was changed");
    // A read-only /dev, with all that belongs there.
    test.config["mounts"][1]["options"].as_array_mut().unwrap().push("ro".into());
    test.config["process"]["args"] =
        json!(["sh", "-c", "touch /dev/new 2>&1; echo > /dev/null && ls -d /dev/stdin /dev/ptmx /dev/zero"]);
    let expected = "touch: /dev/new: Read-only file system\n/dev/ptmx\n/dev/stdin\n/dev/zero";
    assert_eq!(answer(&run(&test)), expected);
}

/// What is mounted below a shared mount is shared at first.
#[container_test(Root, UserNamespace)]
fn the_propagation_of_mounts_below_a_shared_one(variant: Variant) {
    let mapped = variant.is_mapped();
    let mut test = script(TABLE);
    let volume = test.beside("volume");
    fs::create_dir(&volume).unwrap();
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o777)).unwrap();
    tmpfs(&mut test, "/m", &["shared"]);
    bind(&mut test, &volume, "/m/private", &["rprivate"]);
    bind(&mut test, &volume, "/m/slave", &["rbind", "slave"]);
    bind(&mut test, &volume, "/m/shared", &[]);
    tmpfs(&mut test, "/m/unbindable", &["unbindable"]);
    tmpfs(&mut test, "/m/private/tmpfs", &["private", "ro"]);
    variant.apply(&mut test);
    let mounts = mounts(&answer(&run(&test)));
    let has =
        |point: &str, word: &str| at(&mounts, point).propagation.iter().any(|given| given.starts_with(word));
    for point in ["/m/private", "/m/slave", "/m/unbindable", "/m/private/tmpfs"] {
        assert!(!has(point, "shared"), "{point}, {mapped}");
    }
    assert!(
        has("/m", "shared") && has("/m/shared", "shared") && has("/m/unbindable", "unbindable"),
        "{mapped}"
    );
}

/// What belongs into a read-only tmpfs is put there first: mounts, and the working directory.
#[container_test]
fn a_readonly_tmpfs_is_filled_first() {
    for (mapped, options) in [(false, "ro"), (false, "ro,tmpcopyup"), (true, "ro")] {
        let mut test = script(
            "pwd; ls -F /m /m/deep; for f in /m/new /m/deep/new /m/deep/volume/new /m/over/new; do touch $f 2>&1 && echo made; done",
        );
        fs::write(test.beside("a-file"), "").unwrap();
        fs::create_dir(test.beside("volume")).unwrap();
        fs::set_permissions(test.beside("volume"), fs::Permissions::from_mode(0o777)).unwrap();
        mount(
            &mut test,
            json!({ "destination": "/m", "type": "tmpfs", "options": options.split(',').collect::<Vec<_>>() }),
        );
        let (file, volume) = (test.beside("a-file"), test.beside("volume"));
        bind(&mut test, &file, "/m/file", &[]);
        bind(&mut test, &volume, "/m/deep/volume", &[]);
        // What is mounted over it stays as it is.
        mount(&mut test, json!({ "destination": "/m/over", "type": "tmpfs", "options": ["ro"] }));
        bind(&mut test, &volume, "/m/over", &[]);
        test.config["process"]["cwd"] = "/m/here".into();
        if mapped {
            test.map_ids();
        }
        assert_eq!(
            answer(&run(&test)),
            "/m/here\n/m:\ndeep/\nfile\nhere/\nover/\n\n/m/deep:\nvolume/\n\
             touch: /m/new: Read-only file system\ntouch: /m/deep/new: Read-only file system\nmade\nmade",
            "{mapped} {options}"
        );
    }
}

/// The host's root stays below the container's: nothing of it may be reached.
#[container_test(Root, UserNamespace)]
fn without_pivot_root(variant: Variant) {
    let look = "busybox unshare -U -r -m -p -f mount -t proc proc /tmp 2>/dev/null && echo a new proc; \
        busybox unshare -U -r -m -n mount -t sysfs sysfs /tmp 2>/dev/null && echo a new sysfs; \
        cat /proc/self/mountinfo > /table; exec 2>&1; for n in 1 2 3; do umount -l /proc /sys /dev > /ignored; done; \
        ls /proc /sys /dev; ls /../../bin/busybox; cat /table";
    let mut test = script(look);
    for set in ["bounding", "effective", "permitted"] {
        // Who maps root needs these (user_namespaces(7)).
        let held = test.config["process"]["capabilities"][set].as_array_mut().unwrap();
        held.extend(["CAP_SETGID", "CAP_SETFCAP"].map(Value::from));
    }
    bind(&mut test, Path::new("."), "/bundle", &["ro"]);
    variant.apply(&mut test);
    let output = run_in(&test, ":", &["--mount", "--propagation", "private"], &["--no-pivot"]);
    let seen = answer(&output);
    assert!(!seen.contains("a new "), "{seen}");
    let expected = "/dev:\n\n/proc:\n\n/sys:\n/../../bin/busybox\n";
    let seen = seen.split_once("\n/dev:\n").map_or(seen.clone(), |(_, rest)| format!("/dev:\n{rest}"));
    assert!(seen.starts_with(expected), "{seen}");
    let mounts = mounts(&seen);
    // mountinfo shows what is below the root of the process alone.
    assert_eq!(at(&mounts, "/bundle").options, set("ro relatime"));
    for kind in ["proc", "sysfs"] {
        let whole = mounts.iter().filter(|mount| mount.fstype == kind && mount.root == "/").count();
        assert_eq!(whole, 1, "{kind}: {seen}");
    }
    test.assert_nothing_left("no pivot");
    // Read-only holds, too.
    test.config["root"]["readonly"] = true.into();
    test.config["process"]["args"] = json!(["sh", "-c", "touch /x 2>&1 || pwd"]);
    let output = run_in(&test, ":", &["--mount", "--propagation", "private"], &["--no-pivot"]);
    assert_eq!(answer(&output), "touch: /x: Read-only file system\n/");
}

/// config-linux.md: a type that is not listed is inherited from the runtime. Nothing of the container may
/// show up there.
#[container_test]
fn without_a_mount_namespace() {
    let look = "readlink /proc/self/ns/mnt; cat /b/file /top /secret; ls /../../../../b; \
        for p in / /t /b /fixed /sys/fs/cgroup /dev; do touch $p/new 2>/dev/null && echo wrote $p; done; \
        echo 1 2>/dev/null > /proc/sys/net/ipv4/ip_forward && echo wrote sysctl; hostname; stat -c %t:%T /dev/null; pwd";
    let mut test = script(look);
    let namespaces = test.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "mount");
    test.config["root"]["readonly"] = true.into();
    let source = test.beside("src");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "volume\n").unwrap();
    fs::write(test.rootfs().join("top"), "rootfs\n").unwrap();
    fs::write(test.rootfs().join("secret"), "secret\n").unwrap();
    fs::create_dir(test.rootfs().join("fixed")).unwrap();
    bind(&mut test, &source, "/b", &["ro"]);
    tmpfs(&mut test, "/t", &[]);
    test.config["mounts"][1]["options"].as_array_mut().unwrap().push("ro".into());
    test.config["linux"]["maskedPaths"] = json!(["/secret", "/proc/keys"]);
    test.config["linux"]["readonlyPaths"] = json!(["/proc/sys", "/fixed"]);
    // Its table of mounts is the same before and after, and while a hook looks.
    let table = test.beside("table");
    let hook = json!({ "path": "/bin/busybox", "args": ["cp", "/proc/self/mountinfo", table] });
    test.config["hooks"] = json!({ "createRuntime": [hook] });
    let host = "readlink /proc/self/ns/mnt; cat /proc/self/mountinfo > before; shift; \"$@\"; \
        busybox cmp before table; busybox cmp before /proc/self/mountinfo; exit";
    let output = run_after(&test, host);
    if String::from_utf8_lossy(&output.stderr).contains("move_mount") {
        return skip("mounts on detached trees: Linux 6.15");
    }
    let seen = answer(&output);
    let (namespace, seen) = seen.split_once('\n').unwrap();
    assert_eq!(seen, format!("{namespace}\nvolume\nrootfs\nfile\nwrote /t\ncorten\n1:3\n/"));
    test.assert_nothing_left("no mount namespace");
    // Root of a user namespace owns no mount namespace but its own.
    test.map_ids();
    let error = refused(&test, &run(&test));
    assert_eq!(
        error,
        "corten run failed: linux.namespaces: a user namespace without a mount namespace can mount nothing"
    );
}

/// Rootless BuildKit without a sandbox for processes.
#[container_test(Root, UserNamespace)]
fn without_pivot_root_the_hosts_procfs_may_be_bound(variant: Variant) {
    let mapped = variant.is_mapped();
    let mut test = script("cat /proc/sys/kernel/ostype; ls -d /proc/self/root /sys/class/net/lo");
    test.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|listed| listed["type"] != "pid");
    for (mount, path) in [(0, "/proc"), (5, "/sys")] {
        assert_eq!(test.config["mounts"][mount]["destination"], path);
        test.config["mounts"][mount] =
            json!({ "destination": path, "type": "bind", "source": path, "options": ["rbind"] });
    }
    test.config["mounts"].as_array_mut().unwrap().truncate(6);
    test.config["linux"]["maskedPaths"] = Value::Null;
    test.config["linux"]["readonlyPaths"] = Value::Null;
    variant.apply(&mut test);
    let output = run_in(&test, ":", &["--mount", "--propagation", "private"], &["--no-pivot"]);
    assert_eq!(answer(&output), "Linux\n/proc/self/root\n/sys/class/net/lo", "{mapped}");
}
