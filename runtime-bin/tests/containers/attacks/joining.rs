//! Processes that join a container.

use super::*;

/// What a process named corten-init may do that is in a PID namespace below the host's, among those of the
/// test's containers.
fn capabilities_of_visible_inits(test: &TestBundle) -> Vec<u64> {
    let mut found = Vec::new();
    for pid in test.processes() {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        let inside = field("NSpid").is_some_and(|pids| pids.split_whitespace().count() > 1);
        if inside && field("Name") == Some("corten-init") {
            found.extend(field("CapPrm").map(|set| u64::from_str_radix(set, 16).unwrap()));
        }
    }
    found
}

/// A process of the container with CAP_SYS_PTRACE could take hold of any that it sees, and of what that one
/// may do.
#[container_test]
fn an_exec_appears_in_the_container_with_the_capabilities_of_its_program() {
    let filter = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            { "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 },
            { "names": ["swapon"], "action": "SCMP_ACT_ERRNO" },
        ],
    });
    for (filter, no_new_privileges) in [(None, true), (Some(&filter), true), (Some(&filter), false)] {
        let mut test = TestBundle::new(&["sleep", "1000"]);
        test.config["process"]["noNewPrivileges"] = no_new_privileges.into();
        if let Some(filter) = filter {
            test.config["linux"]["seccomp"] = filter.clone();
        }
        create(&test);
        succeed(&test, &["start", &test.id]);
        let allowed = capabilities_of(&test.config["process"]["capabilities"]["permitted"]);
        for _ in 0..25 {
            let command = ["exec", &test.id, "grep", "^Cap\\|^Seccomp:\\|^NSsid", "/proc/self/status"];
            let child = common::corten(&test, &command)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let child = std::thread::spawn(|| child.wait_with_output().unwrap());
            while !child.is_finished() {
                for seen in capabilities_of_visible_inits(&test) {
                    assert_eq!(seen & !allowed, 0, "more than {allowed:x} with {filter:?}");
                }
            }
            let seen = stdout(&child.join().unwrap());
            assert!(seen.contains(&format!("CapEff:\t{allowed:016x}")), "{seen}");
            assert!(seen.contains(if filter.is_some() { "Seccomp:\t2" } else { "Seccomp:\t0" }), "{seen}");
        }
        succeed(&test, &["delete", "--force", &test.id]);
    }
}

/// The default bundle's capabilities, as bits.
fn capabilities_of(names: &serde_json::Value) -> u64 {
    let number = |name: &serde_json::Value| match name.as_str().unwrap() {
        "CAP_KILL" => 5,
        "CAP_NET_BIND_SERVICE" => 10,
        "CAP_AUDIT_WRITE" => 29,
        other => panic!("{other}"),
    };
    names.as_array().unwrap().iter().fold(0, |all, name| all | 1 << number(name))
}

/// A filter that forbids the clone, and loading it that needs privileges: the process is made as before, and
/// runs.
#[container_test]
fn an_exec_under_a_filter_without_clone() {
    let mut test = TestBundle::new(&["sleep", "1000"]);
    test.config["process"]["noNewPrivileges"] = false.into();
    test.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["clone", "clone3", "fork", "vfork"], "action": "SCMP_ACT_ERRNO" }],
    });
    create(&test);
    succeed(&test, &["start", &test.id]);
    assert_eq!(succeed(&test, &["exec", &test.id, "echo", "here"]), "here\n");
    succeed(&test, &["delete", "--force", &test.id]);
}

/// For a moment the process is two; the limit is for one.
#[container_test]
fn an_exec_at_the_limit_of_processes() {
    let mut test = TestBundle::new(&["sleep", "1000"]);
    let user = common::unique_user();
    test.config["process"]["user"] = json!({ "uid": user, "gid": user });
    test.config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NPROC", "hard": 2, "soft": 2 }]);
    test.own_rootfs(0);
    create(&test);
    succeed(&test, &["start", &test.id]);
    let limits = succeed(&test, &["exec", &test.id, "grep", "processes", "/proc/self/limits"]);
    assert_eq!(limits.split_whitespace().collect::<Vec<_>>(), ["Max", "processes", "2", "2", "processes"]);
    succeed(&test, &["delete", "--force", &test.id]);
}

/// Stops each process that it has not seen before, once.
const STOPS_ONCE: &str = "seen=' 1 '; while :; do for p in /proc/[0-9]*; do p=${p#/proc/}; case $seen in *\" $p \"*) ;; \
    *) kill -STOP $p; seen=\"$seen$p \";; esac; done; done";
/// Stops whatever it can, all the time.
const STOPS_ALWAYS: &str = "while :; do kill -STOP -1; done";

/// Runs a command that is held up; returns what it says, and sees that it does not take long.
fn in_time(mut command: std::process::Command, log: &Path) -> (bool, String) {
    let (start, said) = (Instant::now(), fs::File::create(log).unwrap());
    let status = command.stdout(Stdio::null()).stderr(said).status().unwrap();
    // Some seconds, and ten where it gives up.
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
    (status.success(), fs::read_to_string(log).unwrap())
}

/// A container's process may stop one that joins as soon as it sees it, but does not hold the runtime up by
/// that.
#[container_test]
fn a_process_that_joins_is_not_held_by_being_stopped() {
    for (script, mapped) in
        [(STOPS_ONCE, false), (STOPS_ONCE, true), (STOPS_ALWAYS, false), (STOPS_ALWAYS, true)]
    {
        let mut test = TestBundle::new(&["sh", "-c", script]);
        if mapped {
            test.map_ids();
        }
        let init = create(&test);
        succeed(&test, &["start", &test.id]);
        let runs = || -> Vec<u32> {
            serde_json::from_str(&succeed(&test, &["ps", "--format", "json", &test.id])).unwrap()
        };
        for _ in 0..if script == STOPS_ONCE { 10 } else { 2 } {
            let (succeeded, said) =
                in_time(corten(&test, &["exec", "-d", &test.id, "true"]), &test.beside("said"));
            assert!(succeeded || script == STOPS_ALWAYS, "{said}");
            assert!(succeeded || said.contains("it was stopped or traced by another process"), "{said}");
            assert!(succeeded || runs() == [init], "nothing of it runs");
            if succeeded {
                // The program itself is theirs to stop.
                runs().into_iter().filter(|pid| *pid != init).for_each(|pid| {
                    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
                    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).ok();
                });
                common::until("the program does not end", || runs() == [init]);
            }
        }
        succeed(&test, &["delete", "--force", &test.id]);
    }
}

/// The same for a container that joins a PID namespace, by its `create` and by its `start`.
#[container_test]
fn a_container_that_joins_is_not_held_by_being_stopped() {
    let other = TestBundle::new(&["sh", "-c", STOPS_ALWAYS]);
    let pid = create(&other);
    let mut test = TestBundle::new(&["true"]);
    let namespaces = test.config["linux"]["namespaces"].as_array_mut().unwrap();
    let namespace = namespaces.iter_mut().find(|namespace| namespace["type"] == "pid").unwrap();
    namespace["path"] = json!(format!("/proc/{pid}/ns/pid"));
    create(&test);
    succeed(&other, &["start", &other.id]);
    let (succeeded, said) = in_time(corten(&test, &["start", &test.id]), &test.beside("said"));
    assert!(succeeded || said.contains("it was stopped or traced by another process"), "{said}");
    succeed(&test, &["delete", "--force", &test.id]);
    let path = test.write().path();
    let create = corten(&test, &["create", "-b", path.to_str().unwrap(), &test.id]);
    let (succeeded, said) = in_time(create, &test.beside("said"));
    assert!(succeeded || said.contains("it was stopped or traced by another process"), "{said}");
    if succeeded {
        succeed(&test, &["delete", "--force", &test.id]);
    }
    test.assert_nothing_left("after the stops");
    succeed(&other, &["delete", "--force", &other.id]);
}
