//! Cgroups and the processes in them.

use super::*;

/// A signal to all reaches processes that are elsewhere in the cgroup, or in the PID namespace of the host.
#[container_test]
fn a_signal_reaches_all_processes() {
    // The children outlive their parent, in sessions of their own.
    let script = "trap : TERM; for i in 1 2 3; do busybox setsid sleep 1000 & done; while :; do sleep 1000 & wait; done";
    for shared in [false, true] {
        let mut test = TestBundle::new(&["sh", "-c", script]);
        if shared {
            let namespaces = test.config["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|namespace| namespace["type"] != "pid");
        }
        start(&test);
        let ps = || processes(&test);
        // Until then a child is a shell that has the trap.
        let sleeps = |pid: &u64| {
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"sleep\0"))
        };
        until("it does not fork", || ps().iter().filter(|pid| sleeps(pid)).count() == 4);
        let init = state(&test)["pid"].as_u64().unwrap();
        let before = ps();
        // The shell goes on and starts one again.
        assert_eq!(succeed(&test, &["kill", "--all", &test.id, "TERM"]), "");
        until("somebody is not reached", || {
            let now = ps();
            before.iter().all(|pid| *pid == init || !now.contains(pid))
        });
        assert!(ps().contains(&init));
        let signal: &[&str] =
            if shared { &["kill", &test.id, "KILL"] } else { &["kill", "--all", &test.id, "KILL"] };
        assert_eq!(succeed(&test, signal), "");
        until("somebody lives", || ps().is_empty());
        wait_for(&test, "stopped");
        delete(&test);
    }
}

#[container_test]
fn without_cgroups_there_are_no_limits() {
    let test = bundle(&json!({ "pids": { "limit": 10 } }), &["sleep", "1000"]);
    let global = ["--cgroup-manager", "disabled"];
    let pid = create_by(&test, |arguments| {
        let mut command = corten(&test, &global);
        command.args(arguments);
        command
    });
    let cgroup = |process: &str| fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap();
    assert_eq!(cgroup(&pid.to_string()), cgroup("self"));
    for mount_point in cgroup_mounts() {
        assert!(!mount_point.join(&test.id).exists(), "{mount_point:?}");
    }
    succeed(&test, &["start", &test.id]);
    let no_cgroup = "the container has no cgroup of its own to limit";
    assert_eq!(fail(&test, &["update", "--pids-limit", "5", &test.id]), no_cgroup);
    assert!(fail(&test, &["pause", &test.id]).contains("no cgroup"));
    assert_eq!(succeed(&test, &["kill", "--all", &test.id, "KILL"]), "");
    wait_for(&test, "stopped");
    delete(&test);
}

/// What a container has made below its cgroups, with any names, goes with it; who hides there dies.
#[container_test]
fn nested_cgroups_are_deleted() {
    let test = TestBundle::new(&["sleep", "1000"]);
    start(&test);
    let mut hidden = Vec::new();
    for mount_point in cgroup_mounts() {
        let top = mount_point.join(&test.id);
        if !top.exists() {
            continue;
        }
        let mut deep = top.clone();
        for _ in 0..40 {
            deep.push("d");
        }
        fs::create_dir_all(&deep).unwrap();
        for name in ["a b", "-rf", "...", "*", "\u{1b}[31m", "'\"$(x)`"] {
            fs::create_dir(top.join(name)).unwrap();
            fs::create_dir(top.join(name).join("inner")).unwrap();
        }
        for number in 0..100 {
            fs::create_dir(top.join(format!("wide{number}"))).unwrap();
        }
        // A v1 cgroup without processors takes no process.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if mount_point.ends_with("cpuset") {
                let value = fs::read_to_string(top.join(file)).unwrap();
                fs::write(top.join("a b").join(file), value).unwrap();
            }
        }
        let child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        let all = cgroup_mounts()
            .into_iter()
            .map(|mount_point| mount_point.join(&test.id))
            .filter(|path| path.exists());
        // In all of the container's cgroups, and nested in this one.
        for cgroup in all.filter(|cgroup| *cgroup != top).chain([top.join("a b")]) {
            fs::write(cgroup.join("cgroup.procs"), child.id().to_string()).unwrap();
        }
        hidden.push(child);
    }
    assert!(!hidden.is_empty());
    assert_eq!(succeed(&test, &["delete", "--force", &test.id]), "");
    for mut child in hidden {
        assert!(!child.wait().unwrap().success());
    }
}

/// A container that is full of cgroups and processes is gone at once. How fast is told, and asserted only
/// roughly.
#[container_test]
fn five_hundred_processes_are_killed_at_once() {
    let script = "i=0; while [ $i -lt 500 ]; do sleep 1000 & i=$((i + 1)); done; wait";
    let test = TestBundle::new(&["sh", "-c", script]);
    start(&test);
    let ps = || processes(&test);
    until("it does not fork", || ps().len() == 501);
    let tops: Vec<_> = cgroup_mounts()
        .into_iter()
        .map(|mount_point| mount_point.join(&test.id))
        .filter(|path| path.exists())
        .collect();
    for top in &tops {
        for number in 0..20 {
            let nested = top.join(format!("{}/{number}", number % 4));
            fs::create_dir_all(&nested).unwrap();
        }
    }
    for (number, pid) in ps().iter().enumerate() {
        // Nested in the one that says who is there.
        let top = tops.iter().find(|top| top.starts_with("/sys/fs/cgroup/freezer")).unwrap_or(&tops[0]);
        let nested = top.join(format!("{}/{}", number % 4, number % 4 + 4 * (number % 5)));
        fs::write(nested.join("cgroup.procs"), pid.to_string()).unwrap();
    }
    assert_eq!(ps().len(), 501);
    let before = Instant::now();
    assert_eq!(succeed(&test, &["delete", "--force", &test.id]), "");
    let duration = before.elapsed();
    println!("500 processes in nested cgroups of {} hierarchies: deleted in {duration:?}", tops.len());
    test.assert_nothing_left("after a great delete");
    // Ten times as long where the processor is emulated.
    let bound = if std::env::var_os("CORTEN_VM").is_some() { 30 } else { 3 };
    assert!(duration < Duration::from_secs(bound), "{duration:?}");
}

/// Many containers with limits at once: none is in another's way, and no cgroup is left.
#[container_test]
fn two_hundred_containers_with_limits() {
    const AT_ONCE: usize = 16;
    const EACH: usize = 13;
    let mut limits = json!({});
    let probe = TestBundle::new(&["true"]);
    for (name, limit) in [
        ("memory", json!({ "limit": 64 * MIB })),
        ("pids", json!({ "limit": 20 })),
        ("cpu", json!({ "quota": 50_000, "shares": 512 })),
    ] {
        if Controller::find(&probe, name).is_some() {
            limits[name] = limit;
        }
    }
    let mut test = bundle(&limits, &["true"]);
    // All below one, which each of them may have to make.
    test.config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
    let path = test.path();
    let before = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..AT_ONCE {
            let (test, path) = (&test, &path);
            let mut config = test.config.clone();
            scope.spawn(move || {
                for round in 0..EACH {
                    let id = format!("{}-{thread}-{round}", test.id);
                    let own = path.with_file_name(format!("bundle-{thread}"));
                    fs::create_dir_all(&own).unwrap();
                    config["root"]["path"] = test.rootfs().to_str().unwrap().into();
                    config["linux"]["cgroupsPath"] = format!("/{}/{}/{id}", test.id, round % 3).into();
                    fs::write(own.join("config.json"), config.to_string()).unwrap();
                    let errors = own.join("errors");
                    let step = |arguments: &[&str]| {
                        let mut command = corten(test, arguments);
                        command.stdout(Stdio::null()).stderr(fs::File::create(&errors).unwrap());
                        let status = command.status().unwrap();
                        assert!(status.success(), "{arguments:?}: {}", fs::read_to_string(&errors).unwrap());
                    };
                    step(&["create", "--bundle", own.to_str().unwrap(), &id]);
                    step(&["start", &id]);
                    step(&["delete", "--force", &id]);
                }
            });
        }
    });
    println!("{} containers in {:?}", AT_ONCE * EACH, before.elapsed());
    for mount_point in cgroup_mounts() {
        let top = mount_point.join(&test.id);
        for parent in ["0", "1", "2"] {
            // Parents stay, as with runc. A container's own would keep them.
            fs::remove_dir(top.join(parent)).ok();
        }
        fs::remove_dir(&top).ok();
    }
}

/// A create that fails takes back what it has made, in all hierarchies, at whichever point it fails.
#[container_test]
fn a_failed_create_leaves_no_cgroup() {
    let missing = json!({ "destination": "/x", "type": "bind", "source": "/no/such", "options": ["bind"] });
    for (what, resources, mount) in [
        ("a limit", json!({ "hugepageLimits": [{ "pageSize": "64MB", "limit": 0 }] }), None),
        ("a file", json!({ "unified": { "nosuch.file": "1" } }), None),
        ("a mount", json!({}), Some(missing)),
    ] {
        let mut test = bundle(&resources, &["true"]);
        test.config["mounts"].as_array_mut().unwrap().extend(mount);
        one_error(&run(&test));
        test.assert_nothing_left(what);
        let path = test.write().path();
        fail(&test, &["create", "--bundle", path.to_str().unwrap(), &test.id]);
    }
}

/// `unified` is for limits: by no file of it can a config get at processes, its own or the host's.
#[container_test]
fn unified_moves_freezes_and_kills_nobody() {
    let mut of_the_host = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = of_the_host.id().to_string();
    let cgroups = || fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let before = cgroups();
    let refused = [
        ("cgroup.procs", &*pid),
        ("cgroup.threads", &*pid),
        ("cgroup.kill", "1"),
        ("cgroup.freeze", "1"),
        ("cgroup.type", "threaded"),
        ("cgroup.subtree_control", "+pids"),
        ("cgroup.new", "1"),
        ("../cgroup.procs", &*pid),
        ("cgroup..", "1"),
        ("..", "1"),
        ("", "1"),
    ];
    for (file, value) in refused {
        let resources = json!({ "unified": { file: value } });
        let error = one_error(&run(&bundle(&resources, &["true"])));
        assert!(error.contains(&format!("linux.resources.unified[{file:?}]")), "{error}");
    }
    let test = bundle(
        &json!({ "unified": { "cgroup.max.descendants": "5", "cgroup.max.depth": "2" } }),
        &["sleep", "1000"],
    );
    start(&test);
    let resources = test.beside("resources.json");
    let recorded_before = recorded(&test);
    for (file, value) in refused {
        fs::write(&resources, json!({ "unified": { file: value } }).to_string()).unwrap();
        let error = fail(&test, &["update", "-r", resources.to_str().unwrap(), &test.id]);
        assert!(error.contains(&format!("linux.resources.unified[{file:?}]")), "{error}");
    }
    assert_eq!(
        (common::state(&test)["status"].as_str(), recorded(&test)),
        (Some("running"), recorded_before)
    );
    delete(&test);
    assert_eq!(cgroups(), before);
    assert!(of_the_host.try_wait().unwrap().is_none(), "killed");
    of_the_host.kill().unwrap();
    of_the_host.wait().unwrap();
}

/// The runtime itself does not count: nothing heavy runs in the container's cgroup.
#[container_test]
fn a_low_memory_limit_is_enough() {
    let with = |limit: i64| bundle(&json!({ "memory": { "limit": limit, "swap": limit } }), &["true"]);
    if Controller::find(&with(0), "memory").is_none() {
        return;
    }
    let lowest = (64..=4096).step_by(64).find(|kib: &i64| run(&with(kib * 1024)).status.success());
    println!("{lowest:?} KiB are enough for `true`");
    assert!(lowest.is_some_and(|kib| kib <= 1024), "{lowest:?}");
    // Init does not fit: it is told by its cause, and nothing is left.
    let test = with(4096);
    let error = one_error(&run(&test));
    assert!(error.ends_with("container init was OOM-killed (memory limit too low?)"), "{error}");
}
