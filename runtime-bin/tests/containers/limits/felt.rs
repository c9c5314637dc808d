//! Limits that processes feel.

use super::*;

#[container_test]
fn who_takes_too_much_memory_is_killed() {
    let take = ["busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"];
    let with = |limit: i64| bundle(&json!({ "memory": { "limit": limit, "swap": limit } }), &take);
    let test = with(32 * MIB);
    let Some(memory) = Controller::find(&test, "memory") else { return };
    let output = run_and_keep(&test);
    assert_eq!(output.status.code(), Some(137), "{output:?}");
    if memory.legacy {
        assert_eq!(memory.count("memory.oom_control", "oom_kill"), 1);
        // Not all kernels count how often it was refused.
        assert_eq!(memory.read("memory.memsw.max_usage_in_bytes"), (32 * MIB).to_string());
    } else {
        assert_eq!(memory.count("memory.events", "oom_kill"), 1);
    }
    delete(&test);
    let test = with(128 * MIB);
    assert_eq!(run(&test).status.code(), Some(0));
}

#[container_test]
fn who_takes_too_much_processor_time_is_held() {
    let quota = json!({ "cpu": { "quota": 5000, "period": 50_000 } });
    let test = bundle(&quota, &["sh", "-c", "while :; do :; done"]);
    let Some(cpu) = Controller::find(&test, "cpu") else { return };
    start(&test);
    until("it is not held", || cpu.count("cpu.stat", "nr_throttled") >= 10);
    let held = cpu.count("cpu.stat", if cpu.legacy { "throttled_time" } else { "throttled_usec" });
    assert!(held > 0);
    let statistics: Value = serde_json::from_str(&succeed(&test, &["events", "--stats", &test.id])).unwrap();
    let used = statistics["data"]["cpu"]["usage"]["total"].as_u64().unwrap();
    let periods = cpu.count("cpu.stat", "nr_periods");
    // A slice of 5 ms may be taken on each processor before anybody looks.
    assert!(used < (periods + 4) * 5_000_000 * 2, "{used} ns in {periods} periods");
    delete(&test);
}

#[container_test]
fn processes_run_on_their_processors_only() {
    let look = ["grep", "-E", "(Cpus|Mems)_allowed_list", "/proc/self/status"];
    let test = bundle(&json!({ "cpu": { "cpus": "0", "mems": "0" } }), &look);
    if Controller::find(&test, "cpuset").is_none() {
        return;
    }
    assert_eq!(stdout(&run(&test)), "Cpus_allowed_list:\t0\nMems_allowed_list:\t0\n");
    test.assert_nothing_left("with one processor");
    let test = bundle(&json!({ "cpu": { "cpus": "4000" } }), &["true"]);
    let path = test.write().path();
    let error = fail(&test, &["create", "--bundle", path.to_str().unwrap(), &test.id]);
    assert!(error.contains("linux.resources.cpu.cpus: write(\"cpuset.cpus\", \"4000\")"), "{error}");
}

#[container_test]
fn there_are_not_more_processes_than_allowed() {
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; echo forked";
    let with = |limit: i64| bundle(&json!({ "pids": { "limit": limit } }), &["sh", "-c", script]);
    let test = with(5);
    let Some(pids) = Controller::find(&test, "pids") else { return };
    let output = run_and_keep(&test);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("can't fork: Resource temporarily unavailable"), "{output:?}");
    assert_eq!(pids.read("pids.max"), "5");
    assert_ne!(pids.count("pids.events", "max"), 0);
    delete(&test);
    let test = with(9);
    assert_eq!(stdout(&run(&test)), "forked\n");
}

/// A process may be moved beyond the limit, as with runc; what it clones is counted.
#[container_test(Root, UserNamespace)]
fn exec_is_not_refused_at_the_limit_on_processes(variant: Variant) {
    let mapped = variant.is_mapped();
    let test = full(&[], mapped);
    let Some(pids) = Controller::find(&test, "pids") else { return };
    start(&test);
    until("it is not full", || pids.read("pids.current") == "2");
    let said = succeed(&test, &["exec", &test.id, "cat", "/proc/self/cgroup"]);
    assert_eq!(said, succeed(&test, &["exec", &test.id, "cat", "/proc/1/cgroup"]));
    let fork = corten(&test, &["exec", &test.id, "sh", "-c", "true & wait"]).output().unwrap();
    assert!(String::from_utf8_lossy(&fork.stderr).contains("can't fork"), "{fork:?}");
    succeed(&test, &["update", "--pids-limit", "1", &test.id]);
    let terminal = corten(&test, &["exec", "-t", &test.id, "tty"]).output().unwrap();
    assert_eq!(stdout(&terminal), "/dev/pts/0\n", "mapped: {mapped}");
    let below = pids.directory.join("below");
    fs::create_dir(&below).unwrap();
    let place = if pids.legacy { "pids:below" } else { "below" };
    let said = succeed(&test, &["exec", "--cgroup", place, &test.id, "cat", "/proc/self/cgroup"]);
    assert!(said.lines().any(|line| line.ends_with("/below")), "{said}");
    succeed(&test, &["pause", &test.id]);
    let mut waiting = corten(&test, &["exec", "--ignore-paused", &test.id, "echo", "late"]);
    let waiting = waiting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    succeed(&test, &["resume", &test.id]);
    assert_eq!(stdout(&waiting.wait_with_output().unwrap()), "late\n", "mapped: {mapped}");
    delete(&test);
}

/// Whoever waits for the terminal takes one connection.
#[container_test]
fn the_console_socket_gets_one_terminal_at_the_limit_on_processes() {
    let test = full(&[], false);
    let Some(pids) = Controller::find(&test, "pids") else { return };
    start(&test);
    until("it is not full", || pids.read("pids.current") == "2");
    let socket = test.beside("console");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let process = test.beside("process.json");
    let tty = json!({ "terminal": true, "cwd": "/", "env": ["PATH=/bin"], "args": ["tty"], "user": { "uid": 0, "gid": 0 } });
    fs::write(&process, tty.to_string()).unwrap();
    let (socket, process) = (socket.to_str().unwrap(), process.to_str().unwrap());
    quietly(&test, &["exec", "-d", "--console-socket", socket, "--process", process, &test.id]);
    let mut master = fs::File::from(common::receive(&listener).fd);
    let mut heard = [0; 64];
    let length = std::io::Read::read(&mut master, &mut heard).unwrap();
    assert_eq!(&heard[..length], b"/dev/pts/0\r\n");
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    delete(&test);
}

/// For a moment the process would be where processes of the container can take hold of it, and without the
/// container's limits and devices.
#[container_test]
fn exec_is_refused_at_the_limit_where_others_could_seize_the_process() {
    for (capabilities, refused) in
        [(&["CAP_SYS_PTRACE"][..], true), (&["CAP_SYS_PTRACE", "CAP_SYS_ADMIN"], false)]
    {
        let test = full(capabilities, false);
        let Some(pids) = Controller::find(&test, "pids") else { return };
        start(&test);
        until("it is not full", || pids.read("pids.current") == "2");
        let output = corten(&test, &["exec", &test.id, "true"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.contains("the limit on processes is reached"), refused, "{capabilities:?}: {said}");
        assert_eq!(output.status.success(), !refused, "{said}");
        delete(&test);
    }
}

/// In a user namespace init is two processes for a moment, which no limit of the container's is about (runc).
#[container_test]
fn one_process_is_enough_in_a_user_namespace() {
    let mut test = bundle(&json!({ "pids": { "limit": 1 } }), &["echo", "alone"]);
    test.map_ids();
    let Some(pids) = Controller::find(&test, "pids") else { return };
    assert_eq!(stdout(&run_and_keep(&test)), "alone\n");
    assert_eq!(pids.read("pids.max"), "1");
    delete(&test);
    test.config["process"]["args"] = json!(["sh", "-c", "true & wait"]);
    let forked = run(&test);
    assert!(String::from_utf8_lossy(&forked.stderr).contains("can't fork"), "{forked:?}");
}
