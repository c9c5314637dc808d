//! Copies of what the image has: `tmpcopyup`.

use super::*;

/// Everything about a tree that a copy keeps.
const LIST: &str = "busybox find . | busybox sort | while read -r f; do stat -c '%n %a %u %g %F %t:%T' \"$f\"; \
    if [ -h \"$f\" ]; then readlink \"$f\"; elif [ -f \"$f\" ]; then busybox md5sum < \"$f\"; fi; done";

/// A tree with one of each.
fn variety(root: &Path) {
    let mode = |name: &str, mode: u32| {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap()
    };
    fs::create_dir_all(root.join("dir/nested/deep")).unwrap();
    fs::create_dir(root.join("sticky")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    for (name, text) in [
        ("file", "text"),
        ("dir/nested/deep/file", "deep"),
        ("suid", "s"),
        ("sgid", "g"),
        ("none", ""),
        ("with space\tand tab", ""),
    ] {
        fs::write(root.join(name), text).unwrap();
    }
    let large: Vec<u8> = (0..3_000_001u32).map(|number| (number % 251) as u8).collect();
    fs::write(root.join("large"), large).unwrap();
    for number in 0..300 {
        fs::write(root.join(format!("dir/many-{number:0200}")), "").unwrap();
    }
    symlink("file", root.join("link")).unwrap();
    symlink("/nowhere/at all", root.join("dangling")).unwrap();
    symlink("x".repeat(4000), root.join("long")).unwrap();
    mknod(&root.join("fifo"), SFlag::S_IFIFO, Mode::empty(), 0).unwrap();
    mknod(&root.join("socket"), SFlag::S_IFSOCK, Mode::empty(), 0).unwrap();
    for (name, uid, gid) in [("suid", 1, 2), ("sgid", 3, 4), ("dir", 5, 6), ("fifo", 7, 8), ("socket", 9, 10)]
    {
        chown(root.join(name), Some(uid), Some(gid)).unwrap();
    }
    std::os::unix::fs::lchown(root.join("link"), Some(11), Some(12)).unwrap();
    for (name, bits) in [
        ("suid", 0o4711),
        ("sgid", 0o2755),
        ("none", 0),
        ("sticky", 0o1777),
        ("dir", 0o2750),
        ("empty", 0),
        ("fifo", 0o620),
        ("socket", 0o755),
    ] {
        mode(name, bits);
    }
    chown(root, Some(13), Some(14)).unwrap();
    fs::set_permissions(root, fs::Permissions::from_mode(0o3751)).unwrap();
}

#[container_test]
fn copies_of_the_images_files() {
    let list = |directory: &str| format!("cd {directory}; {LIST}");
    let mut test = script(&list("/copy"));
    let root = test.rootfs().join("copy");
    fs::create_dir(&root).unwrap();
    variety(&root);
    mknod(&root.join("device"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), makedev(1, 3)).unwrap();
    tmpfs(&mut test, "/copy", &["tmpcopyup"]);
    let original =
        Command::new("busybox").args(["sh", "-c", &list(root.to_str().unwrap())]).output().unwrap();
    let original = answer(&original);
    assert!(original.lines().count() > 600, "{original}");
    let copy = answer(&run(&test));
    assert_eq!(copy.lines().collect::<Vec<_>>(), original.lines().collect::<Vec<_>>());
    // The copy is not the image.
    test.config["process"]["args"] = json!(["sh", "-c", "echo more >> /copy/file; cat /copy/file"]);
    assert_eq!(answer(&run(&test)), "textmore");
    assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "text");
    // Read-only after the copy, through a link in the image.
    symlink("copy", test.rootfs().join("way")).unwrap();
    test.config["mounts"].as_array_mut().unwrap().pop();
    tmpfs(&mut test, "/way", &["tmpcopyup", "ro", "noexec", "size=16m"]);
    test.config["process"]["args"] =
        json!(["sh", "-c", format!("touch /copy/x 2>&1; cat /copy/file; echo; {TABLE}")]);
    let seen = answer(&run(&test));
    assert!(seen.starts_with("touch: /copy/x: Read-only file system\ntext\n"), "{seen}");
    assert_eq!(at(&mounts(&seen), "/copy").options, set("ro noexec relatime"));
    // What is mounted there already is copied, not what is below.
    let mut test = script("cat /copy/file; ls /copy");
    tmpfs(&mut test, "/missing", &["tmpcopyup"]);
    let source = test.beside("src");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "of the volume\n").unwrap();
    bind(&mut test, &source, "/copy", &["ro"]);
    tmpfs(&mut test, "/copy", &["tmpcopyup"]);
    assert_eq!(answer(&run(&test)), "of the volume\nfile");
}

#[container_test]
fn copies_in_a_user_namespace() {
    let mut test = script("cd /copy; stat -c '%n %a %u %g %F' file dir fifo .; cat file");
    let root = test.rootfs().join("copy");
    fs::create_dir_all(root.join("dir")).unwrap();
    fs::write(root.join("file"), "text").unwrap();
    mknod(&root.join("fifo"), SFlag::S_IFIFO, Mode::from_bits_truncate(0o600), 0).unwrap();
    tmpfs(&mut test, "/copy", &["tmpcopyup"]);
    test.map_ids();
    chown(root.join("file"), Some(100_007), Some(100_008)).unwrap();
    fs::set_permissions(root.join("file"), fs::Permissions::from_mode(0o4750)).unwrap();
    let expected =
        "file 4750 7 8 regular file\ndir 755 0 0 directory\nfifo 600 0 0 fifo\n. 755 0 0 directory\ntext";
    assert_eq!(answer(&run(&test)), expected);
}

#[container_test]
fn copies_that_cannot_be() {
    // Too large.
    let mut test = script("true");
    let root = test.rootfs().join("copy");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("large-file"), vec![1; 300_000]).unwrap();
    tmpfs(&mut test, "/copy", &["tmpcopyup", "size=64k"]);
    let error = refused(&test, &run(&test));
    assert!(
        error.contains(&last(&test)) && error.contains("large-file") && error.contains("no space left"),
        "{error}"
    );
    // Too many.
    let mut test = script("true");
    let root = test.rootfs().join("copy");
    fs::create_dir(&root).unwrap();
    for number in 0..20 {
        fs::write(root.join(format!("file-{number}")), "").unwrap();
    }
    tmpfs(&mut test, "/copy", &["tmpcopyup", "nr_inodes=10"]);
    let error = refused(&test, &run(&test));
    assert!(
        error.contains(&last(&test)) && error.contains("file-") && error.contains("no space left"),
        "{error}"
    );
    // Deep, and too deep.
    for (depth, fits) in [(120, true), (140, false)] {
        let mut test = script("busybox find /copy | wc -l");
        let root = test.rootfs().join("copy");
        fs::create_dir_all((0..depth).fold(root, |path, _| path.join("d"))).unwrap();
        tmpfs(&mut test, "/copy", &["tmpcopyup"]);
        let output = run(&test);
        if fits {
            assert_eq!(answer(&output), (depth + 1).to_string());
        } else {
            let error = refused(&test, &output);
            assert!(error.contains(&last(&test)) && error.contains("symbolic links"), "{error}");
        }
    }
    // A file is no directory to copy.
    let mut test = script("true");
    tmpfs(&mut test, "/bin/busybox", &["tmpcopyup"]);
    let error = refused(&test, &run(&test));
    assert!(error.contains(&last(&test)) && error.contains("not a directory"), "{error}");
    for mount in [
        json!({ "destination": "/m", "source": "rootfs", "options": ["bind", "tmpcopyup"] }),
        json!({ "destination": "/m", "type": "sysfs", "options": ["tmpcopyup"] }),
    ] {
        let mut test = script("true");
        self::mount(&mut test, mount);
        let error = refused(&test, &run(&test));
        assert!(
            error.contains(&last(&test)) && error.contains("tmpcopyup can be used only with tmpfs"),
            "{error}"
        );
    }
}

/// runc: a tmpfs has the mode that the image's directory has, unless the options name one.
#[container_test]
fn modes_of_a_tmpfs() {
    let mut test = script("stat -c '%n %a' /there /named /copied /named-and-copied /missing");
    for name in ["there", "named", "copied", "named-and-copied"] {
        let directory = test.rootfs().join(name);
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o710)).unwrap();
    }
    tmpfs(&mut test, "/there", &[]);
    tmpfs(&mut test, "/named", &["mode=1770"]);
    tmpfs(&mut test, "/copied", &["tmpcopyup"]);
    tmpfs(&mut test, "/named-and-copied", &["tmpcopyup", "mode=1770"]);
    tmpfs(&mut test, "/missing", &[]);
    let expected = "/there 710\n/named 1770\n/copied 710\n/named-and-copied 1770\n/missing 1777";
    assert_eq!(answer(&run(&test)), expected);
    test.assert_nothing_left("modes");
    // Read-only from the beginning, and owned by whom the options name.
    let mut test = script("stat -c '%n %a %u %g' /there /copied; touch /there/x");
    for name in ["there", "copied"] {
        let directory = test.rootfs().join(name);
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o2750)).unwrap();
        chown(&directory, Some(3), Some(4)).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o2750)).unwrap();
    }
    tmpfs(&mut test, "/there", &["ro"]);
    tmpfs(&mut test, "/copied", &["tmpcopyup", "uid=1", "gid=2"]);
    let output = run(&test);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "/there 2750 0 0\n/copied 2750 1 2\n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("Read-only file system"));
}
