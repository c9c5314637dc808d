//! What the host has, and where.

use super::*;

/// runc and crun make every mount a slave before they bind, which an unbindable one is then no more.
#[container_test]
fn unbindable_sources_and_roots() {
    let host = "mount -t tmpfs tmpfs src; mkdir src/d; echo U > src/d/file; mount --make-unbindable src; ";
    for (what, options, change) in [
        ("whole", &["rbind"][..], None),
        ("readonly", &["bind", "ro"], None),
        ("user namespace", &["rbind"], Some("user")),
        ("user namespace, judged", &["rbind", "rw"], Some("user")),
        ("shared root", &["rbind"], Some("shared")),
    ] {
        let mut test = script("cat /m/d/file /e/file");
        let source = test.beside("src");
        fs::create_dir(&source).unwrap();
        bind(&mut test, &source, "/m", options);
        bind(&mut test, &source.join("d"), "/e", options);
        match change {
            Some("user") => test.map_ids(),
            Some(_) => test.config["linux"]["rootfsPropagation"] = "shared".into(),
            None => {}
        }
        assert_eq!(answer(&run_after(&test, host)), "U\nU", "{what}");
    }
    let test = script("echo in");
    let unbindable = "mount --bind bundle/rootfs bundle/rootfs; mount --make-unbindable bundle/rootfs; ";
    assert_eq!(answer(&run_after(&test, unbindable)), "in");
}

/// An engine reads "no such file or directory" as a program that is missing.
#[container_test]
fn what_is_missing_on_a_readonly_filesystem() {
    type Change = fn(&mut Value);
    let cases: [(&str, &str, Change); 5] = [
        ("mounts[", "/v/missing", |config| {
            let tmpfs = json!({ "destination": "/v/missing", "type": "tmpfs", "source": "tmpfs" });
            config["mounts"].as_array_mut().unwrap().push(tmpfs);
        }),
        ("mounts[", "/v/a/b/c", |config| {
            let tmpfs = json!({ "destination": "/v/a/b/c", "type": "tmpfs", "source": "tmpfs" });
            config["mounts"].as_array_mut().unwrap().push(tmpfs);
        }),
        ("mounts[", "/v/a/file", |config| {
            let file = json!({ "destination": "/v/a/file", "source": "/etc/passwd", "options": ["bind"] });
            config["mounts"].as_array_mut().unwrap().push(file);
        }),
        ("process.cwd", "/v/new", |config| config["process"]["cwd"] = "/v/new".into()),
        ("linux.devices[0]", "/v/a/dev", |config| {
            config["linux"]["devices"] = json!([{ "path": "/v/a/dev", "type": "c", "major": 1, "minor": 3 }]);
        }),
    ];
    for (item, path, change) in cases {
        for options in [&["ro"][..], &["ro", "nosuid"]] {
            let mut test = script("true");
            let source = test.beside("src");
            fs::create_dir(&source).unwrap();
            bind(&mut test, &source, "/v", options);
            change(&mut test.config);
            let error = refused(&test, &run(&test));
            assert!(
                error.contains(item) && error.contains(path) && error.contains("read-only file system"),
                "{error}"
            );
        }
    }
}

/// runc: the path of the rootfs at the beginning of a destination is not looked for in it once more.
#[container_test]
fn destinations_in_the_path_of_the_rootfs() {
    let mut test = script("grep -c ' /m tmpfs\\| /n ' /proc/self/mountinfo; cat /n/file; ls /");
    let rootfs = test.rootfs();
    tmpfs(&mut test, &format!("{}/./m", rootfs.display()), &[]);
    let source = test.beside("src");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "here\n").unwrap();
    bind(&mut test, &source, &format!("{}/n", rootfs.display()), &[]);
    // A name that only begins like it.
    tmpfs(&mut test, &format!("{}-other/m", rootfs.display()), &[]);
    let seen = answer(&run(&test));
    assert!(seen.starts_with("1\nhere\n"), "{seen}");
    let names: Vec<&str> = seen.lines().collect();
    assert!(names.contains(&"m") && names.contains(&"n"), "{seen}");
    let made = rootfs.join(rootfs.strip_prefix("/").unwrap());
    assert!(!made.exists(), "{made:?}");
    assert!(made.with_file_name("rootfs-other").join("m").exists(), "{made:?}");
}

/// runc: a relative path counts from the root.
#[container_test]
fn relative_masked_and_readonly_paths() {
    let mut test = script("wc -c < /proc/uptime; touch /tmp/x 2>&1; ls /etc | wc -l");
    test.config["linux"]["maskedPaths"] = json!(["proc/uptime", "./etc"]);
    test.config["linux"]["readonlyPaths"] = json!(["../tmp"]);
    assert_eq!(answer(&run(&test)), "0\ntouch: /tmp/x: Read-only file system\n0");
    for field in ["maskedPaths", "readonlyPaths"] {
        test.config["linux"][field] = json!([""]);
        assert!(refused(&test, &run(&test)).contains(&format!("linux.{field}[0]: must not be empty")));
        test.config["linux"][field] = json!([]);
    }
}

/// Options of cgroup2 come to the kernel, which knows which there are.
#[container_test]
fn options_of_cgroup2() {
    if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        skip("v1 hierarchies, which have no such options");
        return;
    }
    let mut test = script(TABLE);
    let options = |test: &mut TestBundle, words: &[&str]| {
        let mounts = test.config["mounts"].as_array_mut().unwrap();
        mounts.iter_mut().find(|mount| mount["type"] == "cgroup").unwrap()["options"] = json!(words);
    };
    options(&mut test, &["ro", "nsdelegate", "memory_recursiveprot"]);
    assert_eq!(at(&mounts(&answer(&run(&test))), "/sys/fs/cgroup").fstype, "cgroup2");
    options(&mut test, &["ro", "no_such_option"]);
    let error = refused(&test, &run(&test));
    assert!(error.contains("mounts[") && error.contains("no_such_option"), "{error}");
}

/// Files of one process, and what is no procfs.
#[container_test]
fn what_may_not_be_at_or_in_proc() {
    let mut test = script("true");
    let source = test.beside("src");
    fs::write(&source, "").unwrap();
    bind(&mut test, &source, "/proc/net/dev", &["ro"]);
    assert!(
        refused(&test, &run(&test))
            .contains("\"/proc/net/dev\" cannot be mounted because it is inside /proc")
    );
    let mut test = script("true");
    tmpfs(&mut test, "/proc", &[]);
    let error = refused(&test, &run(&test));
    assert!(error.contains("\"/proc\" cannot be mounted because it is not of type proc"), "{error}");
    let mut test = script("true");
    let source = test.beside("src");
    fs::create_dir(&source).unwrap();
    bind(&mut test, &source, "/proc", &["ro"]);
    assert!(refused(&test, &run(&test)).contains("not of type proc"));
}
