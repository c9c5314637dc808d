//! Resource limits, the score, scheduling, processors, memory.

use super::*;

#[container_test]
fn every_resource_limit() {
    const LIMITS: [(&str, &str); 16] = [
        ("RLIMIT_CPU", "Max cpu time"),
        ("RLIMIT_FSIZE", "Max file size"),
        ("RLIMIT_DATA", "Max data size"),
        ("RLIMIT_STACK", "Max stack size"),
        ("RLIMIT_CORE", "Max core file size"),
        ("RLIMIT_RSS", "Max resident set"),
        ("RLIMIT_NPROC", "Max processes"),
        ("RLIMIT_NOFILE", "Max open files"),
        ("RLIMIT_MEMLOCK", "Max locked memory"),
        ("RLIMIT_AS", "Max address space"),
        ("RLIMIT_LOCKS", "Max file locks"),
        ("RLIMIT_SIGPENDING", "Max pending signals"),
        ("RLIMIT_MSGQUEUE", "Max msgqueue size"),
        ("RLIMIT_NICE", "Max nice priority"),
        ("RLIMIT_RTPRIO", "Max realtime priority"),
        ("RLIMIT_RTTIME", "Max realtime timeout"),
    ];
    let parse = |text: &str, name: &str| -> (u64, u64) {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let number = |word: &str| if word == "unlimited" { u64::MAX } else { word.parse().unwrap() };
        let mut words = line.split_whitespace();
        (number(words.next().unwrap()), number(words.next().unwrap()))
    };
    // Not above the hard limits of here: raising them needs CAP_SYS_RESOURCE.
    let own = fs::read_to_string("/proc/self/limits").unwrap();
    let wanted = LIMITS.map(|(typ, name)| {
        let base = if matches!(typ, "RLIMIT_NICE" | "RLIMIT_RTPRIO") { 5 } else { 400_000_000 };
        let hard = parse(&own, name).1.min(base);
        (typ, name, hard - hard / 4, hard)
    });
    let listed: Vec<_> = wanted
        .iter()
        .map(|(typ, _, soft, hard)| json!({ "type": typ, "soft": soft, "hard": hard }))
        .collect();
    let change = |test: &mut TestBundle| test.config["process"]["rlimits"] = json!(listed);
    both("cat /proc/self/limits", change, |seen| {
        for (typ, name, soft, hard) in wanted {
            assert_eq!(parse(seen, name), (soft, hard), "{typ}");
        }
    });
    // What is not named stays.
    both(
        "cat /proc/self/limits",
        |test| test.config["process"]["rlimits"] = json!([]),
        |seen| {
            for (typ, name) in LIMITS {
                assert_eq!(parse(seen, name), parse(&own, name), "{typ}");
            }
        },
    );
    // One that cannot be: the file that it is about is named. NR_OPEN bounds it, whoever asks.
    let mut test = shell("true");
    test.config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 5, "hard": u64::MAX }]);
    let error = refused(&test);
    assert!(error.contains("process.rlimits[0]"), "{error}");
}

#[container_test]
fn the_oom_score() {
    let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse::<i64>().unwrap();
    for (value, expected) in [(None, own), (Some(300), 300), (Some(1000), 1000)] {
        let change = |test: &mut TestBundle| {
            if let Some(value) = value {
                test.config["process"]["oomScoreAdj"] = value.into();
            }
        };
        both("cat /proc/self/oom_score_adj", change, |seen| assert_eq!(seen, format!("{expected}\n")));
    }
    for value in [-1001, 1001] {
        let mut test = shell("true");
        test.config["process"]["oomScoreAdj"] = value.into();
        let error = refused(&test);
        assert!(error.contains("process.oomScoreAdj"), "{error}");
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let may_lower = u64::from_str_radix(field(&status, "CapEff"), 16).unwrap() >> 24 & 1 == 1;
    let mut test = shell("cat /proc/self/oom_score_adj");
    test.config["process"]["oomScoreAdj"] = (-1000).into();
    if may_lower {
        assert_eq!(stdout(&run(&test)), "-1000\n");
    } else {
        let error = refused(&test);
        assert!(error.contains("process.oomScoreAdj") && error.ends_with("permission denied"), "{error}");
    }
}

// Scheduler, I/O priority, CPUs, personality, memory

#[container_test]
fn every_scheduling_policy() {
    if !Path::new("/proc/self/sched").exists() {
        return skip("no /proc/PID/sched");
    }
    let time = json!({ "policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 10_000_000, "period": 10_000_000 });
    // The kernel's number of the policy and its own priority: 120 plus nice, or 99 less the priority.
    for (scheduler, policy, priority) in [
        (json!({ "policy": "SCHED_OTHER" }), 0, 120),
        (json!({ "policy": "SCHED_OTHER", "nice": 19 }), 0, 139),
        (json!({ "policy": "SCHED_OTHER", "nice": -20 }), 0, 100),
        (json!({ "policy": "SCHED_FIFO", "priority": 7 }), 1, 92),
        (json!({ "policy": "SCHED_RR", "priority": 99 }), 2, 0),
        (json!({ "policy": "SCHED_BATCH", "nice": 3 }), 3, 123),
        (json!({ "policy": "SCHED_IDLE" }), 5, 120),
        (time, 6, -1),
    ] {
        for uid in [0, 1000] {
            let mut test = shell("cat /proc/$$/sched");
            test.config["process"]["scheduler"] = scheduler.clone();
            test.config["process"]["user"]["uid"] = uid.into();
            let output = run(&test);
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            if policy != 0 && error.ends_with("operation not permitted\n") {
                assert!(error.contains("process.scheduler"), "{error}");
                skip(&format!("no {} here", scheduler["policy"]));
                break;
            }
            let seen = stdout(&output);
            let number = |name: &str| {
                let line = seen.lines().find(|line| line.split(':').next().unwrap().trim() == name).unwrap();
                line.split(':').nth(1).unwrap().trim().parse::<i32>().unwrap()
            };
            assert_eq!((number("policy"), number("prio")), (policy, priority), "{scheduler}");
        }
    }
}

/// What the kernel says of a container's first process: policy, flags, nice, priority, runtime, deadline,
/// period.
fn scheduling_of(pid: i32) -> [i64; 7] {
    // SAFETY: all zeroes is a value of this structure of integers.
    let mut found: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = u32::try_from(size_of_val(&found)).unwrap();
    // SAFETY: the structure has the size that is said and outlives the call.
    let got = unsafe { libc::syscall(libc::SYS_sched_getattr, pid, &raw mut found, size, 0) };
    assert_eq!(got, 0, "{}", std::io::Error::last_os_error());
    let times =
        [found.sched_runtime, found.sched_deadline, found.sched_period].map(|time| time.try_into().unwrap());
    let [runtime, deadline, period] = times;
    let (policy, nice, priority) =
        (found.sched_policy.into(), found.sched_nice.into(), found.sched_priority.into());
    [policy, found.sched_flags.try_into().unwrap(), nice, priority, runtime, deadline, period]
}

#[container_test(Root, UserNamespace)]
fn every_scheduling_flag(variant: Variant) {
    let mapped = variant.is_mapped();
    let deadline = |flag: &str| {
        json!({ "policy": "SCHED_DEADLINE", "runtime": 2_000_000, "deadline": 10_000_000, "period": 20_000_000,
            "flags": [flag] })
    };
    let times = [2_000_000, 10_000_000, 20_000_000];
    let other = |flags: &[&str]| json!({ "policy": "SCHED_BATCH", "nice": 3, "flags": flags });
    let none = [0, 0, 0];
    // Whether the kernel gives it to an ordinary user; policy, flags, nice; times.
    for (scheduler, ordinary, expected, times) in [
        (other(&[]), true, [3, 0, 3], none),
        (other(&["SCHED_FLAG_RESET_ON_FORK"]), true, [3, 1, 3], none),
        (deadline("SCHED_FLAG_RECLAIM"), false, [6, 2, 0], times),
        (deadline("SCHED_FLAG_DL_OVERRUN"), false, [6, 4, 0], times),
        (other(&["SCHED_FLAG_KEEP_POLICY"]), true, [0, 0, 3], none),
        // The policy is one of the parameters.
        (other(&["SCHED_FLAG_KEEP_PARAMS"]), true, [0, 0, 0], none),
        (other(&["SCHED_FLAG_UTIL_CLAMP_MIN"]), true, [3, 0, 3], none),
        (other(&["SCHED_FLAG_UTIL_CLAMP_MAX"]), true, [3, 0, 3], none),
    ] {
        let mut test = shell("true");
        variant.apply(&mut test);
        test.config["process"]["scheduler"] = scheduler.clone();
        let path = test.write().path();
        let errors = test.beside("errors");
        let mut create = corten(&test, &["create", "-b", path.to_str().unwrap(), &test.id]);
        let status =
            create.stdout(Stdio::null()).stderr(fs::File::create(&errors).unwrap()).status().unwrap();
        if !status.success() {
            let error = fs::read_to_string(errors).unwrap();
            let reasons: &[&str] = match ordinary {
                // A kernel without utilization clamps.
                true => &["operation not supported"],
                false => &["operation not permitted", "device or resource busy"],
            };
            let is_known =
                |reason: &&str| error.contains(&format!(": process.scheduler: sched_setattr: {reason}"));
            assert!(reasons.iter().any(is_known), "{scheduler}, mapped {mapped}: {error}");
            if !mapped {
                skip(&format!("not here: {scheduler}"));
            }
            test.assert_nothing_left(&error);
            continue;
        }
        assert!(ordinary || !mapped, "a user namespace gives no {scheduler}");
        let state: Value = serde_json::from_str(&succeed(&test, &["state", &test.id])).unwrap();
        let found = scheduling_of(i32::try_from(state["pid"].as_i64().unwrap()).unwrap());
        let [policy, flags, nice, _, found_times @ ..] = found;
        assert_eq!([policy, flags, nice], expected, "{scheduler}, mapped {mapped}");
        // A kernel since 6.12 tells the slice of other policies as their runtime.
        assert!(policy != 6 || found_times == times, "{scheduler}: {found_times:?}");
        succeed(&test, &["delete", "--force", &test.id]);
        test.assert_nothing_left("flags");
    }
}

#[container_test]
fn schedulers_that_cannot_be() {
    for scheduler in [
        json!({ "policy": "SCHED_OTHER", "priority": 5 }),
        json!({ "policy": "SCHED_BATCH", "priority": 5 }),
        json!({ "policy": "SCHED_FIFO", "priority": 0 }),
        json!({ "policy": "SCHED_FIFO", "priority": 100 }),
        json!({ "policy": "SCHED_RR", "priority": -1 }),
        json!({ "policy": "SCHED_FIFO", "runtime": 5 }),
        json!({ "policy": "SCHED_DEADLINE", "runtime": 5, "deadline": 4, "period": 3 }),
        json!({ "policy": "SCHED_DEADLINE" }),
        json!({ "policy": "SCHED_ISO" }),
        json!({ "policy": "SCHED_NOPE" }),
        json!({ "policy": "" }),
        json!({ "nice": 5 }),
        json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NOPE"] }),
    ] {
        let mut test = shell("true");
        test.config["process"]["scheduler"] = scheduler.clone();
        let error = refused(&test);
        assert!(error.contains("process.scheduler"), "{scheduler}: {error}");
    }
    // In a user namespace the kernel has no privileges to give; that is said, not ignored.
    let mut test = shell("true");
    test.map_ids();
    test.config["process"]["scheduler"] = json!({ "policy": "SCHED_FIFO", "priority": 7 });
    let error = refused(&test);
    assert!(error.contains("process.scheduler") && error.ends_with("operation not permitted"), "{error}");
    test.config["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 5 });
    stdout(&run(&test));
}

#[container_test]
fn every_io_priority_class() {
    for (class, priority, expected, for_mapped) in [
        ("IOPRIO_CLASS_RT", 0, "realtime: prio 0\n", false),
        ("IOPRIO_CLASS_RT", 3, "realtime: prio 3\n", false),
        ("IOPRIO_CLASS_BE", 7, "best-effort: prio 7\n", true),
        ("IOPRIO_CLASS_BE", 0, "best-effort: prio 0\n", true),
        ("IOPRIO_CLASS_IDLE", 0, "idle\n", true),
    ] {
        for mapped in [false, true] {
            let mut test = TestBundle::new(&["busybox", "ionice"]);
            if mapped {
                test.map_ids();
            }
            test.config["process"]["ioPriority"] = json!({ "class": class, "priority": priority });
            if mapped && !for_mapped {
                let error = refused(&test);
                assert!(
                    error.contains("process.ioPriority") && error.ends_with("operation not permitted"),
                    "{error}"
                );
            } else {
                assert_eq!(stdout(&run(&test)), expected);
            }
        }
    }
    let mut test = shell("true");
    test.config["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_NOPE", "priority": 1 });
    let error = refused(&test);
    assert!(error.contains("process.ioPriority"), "{error}");
}

#[container_test(Root, UserNamespace)]
fn the_callers_cpus_are_not_the_containers(variant: Variant) {
    if !has("taskset") {
        return;
    }
    let widest = ["ffffffff", "grep", "Cpus_allowed_list", "/proc/self/status"];
    let all = stdout(&Command::new("taskset").args(widest).output().unwrap());
    let all = field(&all, "Cpus_allowed_list");
    if all == "0" {
        return skip("one CPU");
    }
    // What is for exec is not for init.
    for affinity in [Value::Null, json!({ "initial": "0", "final": "0" })] {
        let mut test = shell("cat /proc/self/status");
        variant.apply(&mut test);
        if !affinity.is_null() {
            test.config["process"]["execCPUAffinity"] = affinity.clone();
        }
        let seen = stdout(&run_behind(&test, &["taskset", "-c", "0"]));
        assert_eq!(field(&seen, "Cpus_allowed_list"), all, "{affinity}");
    }
    let mut test = shell("true");
    test.config["process"]["execCPUAffinity"] = json!({ "initial": "none" });
    let error = refused(&test);
    assert!(error.contains("process.execCPUAffinity"), "{error}");
}

#[container_test]
fn personalities() {
    let machine = nix::sys::utsname::uname().unwrap().machine().to_string_lossy().into_owned();
    let other = match machine.as_str() {
        "x86_64" => "i686",
        "aarch64" => "armv8l",
        other => return skip(&format!("no 32-bit name of {other}")),
    };
    for (domain, expected) in [("LINUX", machine.as_str()), ("LINUX32", other)] {
        let change =
            |test: &mut TestBundle| test.config["linux"]["personality"] = json!({ "domain": domain });
        both("busybox uname -m", change, |seen| assert_eq!(seen.trim_end(), expected));
    }
    let mut test = shell("true");
    test.config["linux"]["personality"] = json!({ "domain": "LINUX64" });
    let error = refused(&test);
    assert!(error.contains("linux.personality"), "{error}");
}

#[container_test]
fn memory_policies() {
    if !Path::new("/proc/self/numa_maps").exists() {
        return skip("no /proc/PID/numa_maps");
    }
    for (policy, expected) in [
        (json!({ "mode": "MPOL_DEFAULT" }), "default"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0" }), "bind:0"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] }), "bind=static:0"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"] }), "bind=relative:0"),
        (
            json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"] }),
            "bind=balancing:0",
        ),
        (json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0" }), "interleave:0"),
        (json!({ "mode": "MPOL_PREFERRED_MANY", "nodes": "0" }), "prefer (many):0"),
        (json!({ "mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0" }), "weighted interleave:0"),
        (json!({ "mode": "MPOL_PREFERRED", "nodes": "0-0" }), "prefer:0"),
        (json!({ "mode": "MPOL_PREFERRED" }), "local"),
        (json!({ "mode": "MPOL_LOCAL" }), "local"),
    ] {
        let change = |test: &mut TestBundle| test.config["linux"]["memoryPolicy"] = policy.clone();
        // Newer than the oldest kernel: tried first, so that the error is not taken for a failure.
        let mode = policy["mode"].as_str().unwrap();
        if ["MPOL_PREFERRED_MANY", "MPOL_WEIGHTED_INTERLEAVE"].contains(&mode) {
            let mut test = shell("true");
            change(&mut test);
            let error = String::from_utf8_lossy(&run(&test).stderr).into_owned();
            if error.ends_with("linux.memoryPolicy: set_mempolicy: invalid argument\n") {
                skip(&format!("the kernel has no {mode}"));
                continue;
            }
        }
        both("cat /proc/self/numa_maps", change, |seen| {
            let (_, heap) = seen.lines().next().unwrap().split_once(' ').unwrap();
            assert!(format!("{heap} ").starts_with(&format!("{expected} ")), "{policy}: {heap}");
        });
    }
    for policy in [
        json!({ "mode": "MPOL_BIND" }),
        json!({ "mode": "MPOL_INTERLEAVE", "nodes": "" }),
        json!({ "mode": "MPOL_BIND", "nodes": "1000" }),
        json!({ "mode": "MPOL_BIND", "nodes": "none" }),
        json!({ "mode": "MPOL_BIND", "nodes": "3-1" }),
        json!({ "mode": "MPOL_DEFAULT", "nodes": "0" }),
        json!({ "mode": "MPOL_LOCAL", "nodes": "0" }),
        json!({ "mode": "MPOL_NOPE", "nodes": "0" }),
        json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NOPE"] }),
        json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"] }),
    ] {
        let mut test = shell("true");
        test.config["linux"]["memoryPolicy"] = policy.clone();
        let error = refused(&test);
        assert!(error.contains("linux.memoryPolicy"), "{policy}: {error}");
    }
}
