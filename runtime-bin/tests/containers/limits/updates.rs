//! Limits that change, and those that cannot be had.

use super::*;

#[container_test]
fn a_paused_container_stands_still() {
    let mut test =
        TestBundle::new(&["sh", "-c", "i=0; while :; do i=$((i + 1)); echo $i > /tmp/count; done"]);
    test.config["root"]["readonly"] = false.into();
    start(&test);
    let count = || fs::read_to_string(test.rootfs().join("tmp/count")).unwrap_or_default();
    until("it does not count", || !count().is_empty());
    for _ in 0..3 {
        assert_eq!(succeed(&test, &["pause", &test.id]), "");
        assert_eq!(state(&test)["status"], "paused");
        assert_eq!(fail(&test, &["pause", &test.id]), "container paused");
        let before = count();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(count(), before);
        assert_eq!(succeed(&test, &["resume", &test.id]), "");
        assert_eq!(fail(&test, &["resume", &test.id]), "container not paused");
        until("it does not go on", || count() != before);
    }
    succeed(&test, &["pause", &test.id]);
    // A signal waits, but for one that kills.
    succeed(&test, &["kill", &test.id, "TERM"]);
    assert_eq!(state(&test)["status"], "paused");
    succeed(&test, &["kill", &test.id, "KILL"]);
    wait_for(&test, "stopped");
    assert_eq!(fail(&test, &["resume", &test.id]), "container not paused");
    delete(&test);
    let test = TestBundle::new(&["sleep", "1000"]);
    start(&test);
    succeed(&test, &["pause", &test.id]);
    delete(&test);
}

/// Every flag of `update`, in the files.
#[container_test]
fn update_writes_what_flags_say() {
    let test = TestBundle::new(&["sleep", "1000"]);
    let names = ["memory", "cpu", "cpuset", "pids"];
    let Some([memory, cpu, cpuset, pids]) = controllers(&test, names) else { return };
    start(&test);
    let expect = |flags: &[&str], values: &[(&Controller, &str, &str)]| {
        assert_eq!(update(&test, flags), "");
        for (controller, file, value) in values {
            assert_eq!(controller.read(file), *value, "{file} after {flags:?}");
        }
    };
    let (limit, both) = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes");
    // Growing from no limit, shrinking, growing: each needs another order.
    for (memory_limit, swap) in [("64M", "96M"), ("16M", "32M"), ("128M", "256M"), ("32M", "32M")] {
        let bytes = |text: &str| (text.trim_end_matches('M').parse::<i64>().unwrap() * MIB).to_string();
        let flags = ["--memory", memory_limit, "--memory-swap", swap];
        expect(&flags, &[(&memory, limit, &bytes(memory_limit)), (&memory, both, &bytes(swap))]);
    }
    expect(&["--memory-swap", "-1"], &[(&memory, limit, "33554432"), (&memory, both, "9223372036854771712")]);
    expect(
        &["--memory", "-1"],
        &[(&memory, limit, "9223372036854771712"), (&memory, both, "9223372036854771712")],
    );
    expect(&["--memory-reservation", "16777216"], &[(&memory, "memory.soft_limit_in_bytes", "16777216")]);
    let (quota, period) = ("cpu.cfs_quota_us", "cpu.cfs_period_us");
    expect(&["--cpu-quota", "20000"], &[(&cpu, quota, "20000"), (&cpu, period, "100000")]);
    expect(&["--cpu-period", "50000"], &[(&cpu, quota, "20000"), (&cpu, period, "50000")]);
    expect(&["--cpu-quota", "30000"], &[(&cpu, quota, "30000"), (&cpu, period, "50000")]);
    expect(&["--cpu-burst", "10000"], &[(&cpu, "cpu.cfs_burst_us", "10000")]);
    // The burst cannot be more than the quota: it comes after, or before.
    expect(&["--cpu-quota", "100000", "--cpu-burst", "90000"], &[(&cpu, "cpu.cfs_burst_us", "90000")]);
    expect(
        &["--cpu-quota", "20000", "--cpu-burst", "0"],
        &[(&cpu, "cpu.cfs_burst_us", "0"), (&cpu, quota, "20000")],
    );
    expect(&["--cpu-quota", "-1"], &[(&cpu, quota, "-1")]);
    expect(&["--cpu-share", "512"], &[(&cpu, "cpu.shares", "512")]);
    expect(&["--cpu-idle", "1"], &[(&cpu, "cpu.idle", "1")]);
    expect(&["--cpu-idle", "0"], &[(&cpu, "cpu.idle", "0")]);
    expect(
        &["--cpuset-cpus", "0", "--cpuset-mems", "0"],
        &[(&cpuset, "cpuset.cpus", "0"), (&cpuset, "cpuset.mems", "0")],
    );
    expect(&["--pids-limit", "20"], &[(&pids, "pids.max", "20")]);
    expect(&["--pids-limit", "0"], &[(&pids, "pids.max", "max")]);
    expect(&["--pids-limit", "1"], &[(&pids, "pids.max", "1")]);
    expect(&["--pids-limit", "-1"], &[(&pids, "pids.max", "max")]);
    // The file and stdin; what they do not speak of stays.
    let file = test.beside("resources.json");
    fs::write(&file, json!({ "memory": { "limit": 48 * MIB }, "pids": { "limit": 30 } }).to_string())
        .unwrap();
    expect(
        &["-r", file.to_str().unwrap(), "--pids-limit", "7"],
        &[(&memory, limit, "50331648"), (&pids, "pids.max", "30")],
    );
    from_stdin(&test, &json!({ "cpu": { "shares": 100, "quota": 40_000 } }));
    assert_eq!(
        (cpu.read("cpu.shares"), cpu.read(quota), cpu.read(period)),
        ("100".into(), "40000".into(), "50000".into())
    );
    assert_eq!(pids.read("pids.max"), "30");
    let known = recorded(&test);
    assert_eq!(known["cpu"]["quota"], 40_000);
    assert_eq!(known["cpu"]["period"], 50_000);
    assert_eq!(known["memory"]["limit"], 48 * MIB);
    assert_eq!(known["pids"]["limit"], 30);
    delete(&test);
}

/// All limits of an update are in force, or none.
#[container_test]
fn a_failed_update_changes_nothing() {
    // One that has limits, and one that has none to go back to.
    let limits = json!({
        "memory": { "limit": 64 * MIB, "swap": 96 * MIB }, "pids": { "limit": 50 },
        "cpu": { "quota": 50_000, "period": 100_000, "shares": 512, "cpus": "0" },
    });
    for resources in [limits, json!({})] {
        let test = bundle(&resources, &["sleep", "1000"]);
        let names = ["memory", "cpu", "cpuset", "pids"];
        let Some([memory, cpu, cpuset, pids]) = controllers(&test, names) else { return };
        start(&test);
        let look = || {
            [
                memory.read("memory.limit_in_bytes"),
                memory.read("memory.memsw.limit_in_bytes"),
                memory.read("memory.soft_limit_in_bytes"),
                cpu.read("cpu.cfs_quota_us"),
                cpu.read("cpu.cfs_period_us"),
                cpu.read("cpu.shares"),
                cpuset.read("cpuset.cpus"),
                pids.read("pids.max"),
            ]
        };
        let (before, known) = (look(), recorded(&test));
        let all =
            ["--memory", "32M", "--memory-swap", "48M", "--memory-reservation", "16M", "--pids-limit", "7"];
        let cpu =
            ["--cpu-quota", "10000", "--cpu-period", "20000", "--cpu-share", "100", "--cpuset-cpus", "4000"];
        let error = fail(&test, &[&["update"], &all[..], &cpu, &[&test.id]].concat());
        assert!(error.contains("linux.resources.cpu.cpus: write(\"cpuset.cpus\", \"4000\")"), "{error}");
        assert_eq!((look(), recorded(&test)), (before.clone(), known.clone()));
        // Refused by the last of all, the list of devices.
        let exceptions = json!([
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 77, "access": "rwm" },
            { "allow": false, "type": "c", "major": 77, "minor": 1, "access": "rwm" },
        ]);
        let file = test.beside("resources.json");
        fs::write(&file, json!({ "pids": { "limit": 7 }, "devices": exceptions }).to_string()).unwrap();
        let error = fail(&test, &["update", "-r", file.to_str().unwrap(), &test.id]);
        assert!(error.contains("exception to an exception"), "{error}");
        assert_eq!((look(), recorded(&test)), (before, known));
        delete(&test);
    }
}

/// A limit below what is used is refused, and the error says how much that is.
#[container_test]
fn memory_that_is_used_cannot_be_taken_away() {
    let script =
        "x=$(head -c 30000000 /dev/zero | busybox tr '\\0' x); echo > /tmp/taken; while :; do sleep 1; done";
    let mut test =
        bundle(&json!({ "memory": { "limit": 128 * MIB, "swap": 128 * MIB } }), &["sh", "-c", script]);
    test.config["root"]["readonly"] = false.into();
    let Some(memory) = Controller::legacy(&test, "memory") else { return };
    start(&test);
    until("it takes no memory", || test.rootfs().join("tmp/taken").exists());
    for flags in [&["--memory", "8M"][..], &["--memory", "8M", "--memory-swap", "8M"]] {
        let error = fail(&test, &[&["update"], flags, &[&test.id]].concat());
        let (usage, peak) = (memory.read("memory.usage_in_bytes"), memory.read("memory.max_usage_in_bytes"));
        assert!(
            error.contains("linux.resources.memory.limit: write(\"memory.limit_in_bytes\", \"8388608\")"),
            "{error}"
        );
        assert!(
            error.contains("(current usage: ") && error.contains(&format!(", peak usage: {peak})")),
            "{error}"
        );
        assert!(error.ends_with("device or resource busy"), "{error}, {usage} in use");
        assert_eq!(memory.read("memory.limit_in_bytes"), (128 * MIB).to_string());
        assert_eq!(memory.read("memory.memsw.limit_in_bytes"), (128 * MIB).to_string());
    }
    // Asked beforehand, in runc's words.
    let file = test.beside("resources.json");
    fs::write(&file, json!({ "memory": { "limit": 8 * MIB, "checkBeforeUpdate": true } }).to_string())
        .unwrap();
    let error = fail(&test, &["update", "-r", file.to_str().unwrap(), &test.id]);
    assert!(error.contains("rejecting memory limit 8388608 <= usage "), "{error}");
    delete(&test);
}

/// A limit of a controller that there is not is refused by name, before anything of the container runs.
#[container_test]
fn a_missing_controller_is_named() {
    let mut tried = 0;
    for (controller, field, resources) in [
        ("memory", "memory.limit", json!({ "memory": { "limit": 64 * MIB } })),
        ("pids", "pids.limit", json!({ "pids": { "limit": 10 } })),
        ("cpu", "cpu.shares", json!({ "cpu": { "shares": 512 } })),
        ("rdma", "rdma[\"mlx5\"]", json!({ "rdma": { "mlx5": { "hcaHandles": 3 } } })),
    ] {
        let test = bundle(&resources, &["true"]);
        if Controller::find(&test, controller).is_some() {
            continue;
        }
        tried += 1;
        let error = one_error(&run(&test));
        assert!(error.contains(&format!("linux.resources.{field}: write(\"{controller}.")), "{error}");
        assert!(
            error.contains(&format!(": controller {controller:?} not available (the cgroup has \"")),
            "{error}"
        );
        test.assert_nothing_left("without a controller");
        let test = TestBundle::new(&["sleep", "1000"]);
        start(&test);
        let file = test.beside("resources.json");
        fs::write(&file, resources.to_string()).unwrap();
        let error = fail(&test, &["update", "-r", file.to_str().unwrap(), &test.id]);
        assert!(error.contains(&format!("controller {controller:?} not available")), "{error}");
        delete(&test);
    }
    if tried == 0 {
        skip("all controllers are there");
    }
}

#[container_test]
fn huge_pages_are_limited() {
    let limit = |limit: i64| json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": limit }] });
    let test = bundle(&limit(4 * MIB), &["sleep", "1000"]);
    let Some(huge_pages) = Controller::find(&test, "hugetlb") else { return };
    start(&test);
    let files = if huge_pages.legacy {
        ["hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.rsvd.limit_in_bytes"]
    } else {
        ["hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"]
    };
    assert_eq!(files.map(|file| huge_pages.read(file)), ["4194304", "4194304"]);
    from_stdin(&test, &limit(0));
    assert_eq!(files.map(|file| huge_pages.read(file)), ["0", "0"]);
    delete(&test);
    let test = bundle(&json!({ "hugepageLimits": [{ "pageSize": "64MB", "limit": 0 }] }), &["true"]);
    let error = one_error(&run(&test));
    assert!(error.contains("linux.resources.hugepageLimits[0]: write(\"hugetlb.64MB."), "{error}");
}
