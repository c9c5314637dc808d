//! events and ps: what a container uses, and who runs in it, as engines read it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{self, TestBundle, corten, create, fail, one_error, skip, stdout, succeed, until};
use container_test::container_test;
use serde_json::Value;

/// Makes a container that runs.
fn start(args: &[&str]) -> TestBundle {
    let test = TestBundle::new(args);
    create(&test);
    succeed(&test, &["start", &test.id]);
    test
}

fn kill_and_delete(test: &TestBundle) {
    succeed(test, &["delete", "--force", &test.id]);
    test.assert_nothing_left("after delete");
}

/// The container's cgroup of cgroup2 on the host.
fn cgroup(test: &TestBundle) -> PathBuf {
    let pure = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    Path::new(if pure { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/unified" }).join(&test.id)
}

/// `corten events` in the background.
fn events(test: &TestBundle, interval: &str) -> Child {
    let mut command = corten(test, &["events", "--interval", interval, &test.id]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for an end that must come at once.
fn ended(mut child: Child) -> (i32, String) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("corten events does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    (child.wait().unwrap().code().unwrap(), stderr)
}

/// The names of all values, `data.cpu.usage.total`; of a list, those of its elements.
fn keys(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) if !object.is_empty() => {
            for (key, value) in object {
                keys(value, &format!("{path}.{key}"), into);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys(value, path, into)),
        _ => drop(into.insert(path.to_owned())),
    }
}

#[container_test]
fn statistics_are_one_line() {
    let test = TestBundle::new(&["sh", "-c", "while :; do :; done"]);
    create(&test);
    // A created one has used something, too.
    let text = succeed(&test, &["events", "--stats", &test.id]);
    assert_eq!(text.lines().count(), 1, "{text}");
    let event: Value = serde_json::from_str(&text).unwrap();
    let top: Vec<_> = event.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        (top, &event["type"], &event["id"]),
        (vec!["type", "id", "data"], &"stats".into(), &(*test.id).into())
    );
    let data: Vec<_> = event["data"].as_object().unwrap().keys().map(String::as_str).collect();
    let expected = ["cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces"];
    assert_eq!(data, expected);
    assert_eq!(event["data"]["pids"]["current"], 1);
    assert_eq!(event["data"]["network_interfaces"], Value::Null);

    succeed(&test, &["start", &test.id]);
    let total = || {
        let event: Value = serde_json::from_str(&succeed(&test, &["events", "--stats", &test.id])).unwrap();
        event["data"]["cpu"]["usage"]["total"].as_u64().unwrap()
    };
    let before = (Instant::now(), total());
    until("uses no processor time", || total() > before.1 + 50_000_000);
    assert!(
        u128::from(total() - before.1) < before.0.elapsed().as_nanos() * 2,
        "one process on one processor"
    );
    kill_and_delete(&test);
}

#[container_test]
fn events_come_until_the_container_stops() {
    let test = start(&["sleep", "1000"]);
    let begun = Instant::now();
    let mut child = events(&test, "100ms");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for count in 1..=3 {
        let event: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!((&event["type"], &event["data"]["pids"]["current"]), (&"stats".into(), &1.into()));
        assert!(begun.elapsed() >= Duration::from_millis(100 * count), "the first comes after an interval");
    }
    succeed(&test, &["kill", &test.id, "KILL"]);
    assert_eq!(ended(child), (0, String::new()));
    assert!(lines.all(|line| line.unwrap().contains("\"stats\"")));
    kill_and_delete(&test);

    // Deleted at once, and an interval that is not over for long.
    let test = start(&["sleep", "1000"]);
    let mut child = events(&test, "24h");
    std::thread::sleep(Duration::from_millis(200));
    assert!(child.try_wait().unwrap().is_none());
    succeed(&test, &["delete", "--force", &test.id]);
    let mut printed = String::new();
    child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    assert_eq!((ended(child), printed.as_str()), ((0, String::new()), ""));
}

#[container_test]
fn events_end_quietly_when_nobody_reads() {
    let test = start(&["sleep", "1000"]);
    let mut child = events(&test, "50ms");
    drop(child.stdout.take());
    assert_eq!(ended(child), (1, String::new()));
    let mut command = corten(&test, &["events", "--stats", &test.id]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command.stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(1), &b""[..]));
    kill_and_delete(&test);
}

#[container_test]
fn wrong_events_are_told_in_runcs_words() {
    let test = start(&["true"]);
    common::wait_for(&test, "stopped");
    for arguments in [&["events", &test.id][..], &["events", "--stats", &test.id]] {
        assert_eq!(fail(&test, arguments), format!("container with id {} is not running", test.id));
    }
    for interval in ["0s", "0", "-5s"] {
        let message = fail(&test, &["events", "--interval", interval, &test.id]);
        assert_eq!(message, "duration interval must be greater than 0", "{interval}");
    }
    let message = fail(&test, &["events", "-interval=abc", &test.id]);
    assert_eq!(message, "invalid value \"abc\" for flag -interval: time: invalid duration \"abc\"");
    kill_and_delete(&test);
    assert_eq!(fail(&test, &["events", "--stats", &test.id]), "container does not exist");
}

/// Where cgroup2 has the memory controller; elsewhere the library's tests see the same with v1.
#[container_test]
fn events_tell_of_used_up_memory() {
    // The shell keeps what it reads.
    let script =
        "while [ ! -e /proc/1/root/tmp/go ]; do sleep 0.05; done; x=$(cat /dev/zero | busybox tr '\\0' x)";
    let mut test = TestBundle::new(&["sh", "-c", script]);
    test.config["root"]["readonly"] = false.into();
    create(&test);
    let directory = cgroup(&test);
    fs::write(directory.parent().unwrap().join("cgroup.subtree_control"), "+memory").ok();
    if !directory.join("memory.max").exists() {
        kill_and_delete(&test);
        return skip("no memory controller in cgroup2");
    }
    fs::write(directory.join("memory.max"), (32 << 20).to_string()).unwrap();
    fs::write(directory.join("memory.swap.max"), "0").ok();
    fs::write(directory.join("memory.oom.group"), "1").unwrap();
    succeed(&test, &["start", &test.id]);
    let mut child = events(&test, "200ms");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    // It watches.
    assert!(lines.next().unwrap().contains("\"stats\""));
    fs::write(test.rootfs().join("tmp/go"), "").unwrap();
    let rest: Vec<_> = lines.collect();
    assert_eq!(ended(child), (0, String::new()));
    // More than one, if it looked while they were killed one after the other.
    let (told, others): (Vec<_>, Vec<_>) = rest.iter().partition(|line| line.contains("\"oom\""));
    assert!(!told.is_empty(), "{rest:?}");
    assert!(
        told.iter().all(|line| **line == format!("{{\"type\":\"oom\",\"id\":\"{}\"}}", test.id)),
        "{told:?}"
    );
    assert!(others.iter().all(|line| line.contains("\"stats\"")), "{others:?}");
    kill_and_delete(&test);
}

/// Every value that Corten tells of, runc tells of by the same name.
#[container_test]
fn statistics_have_the_names_of_runcs() {
    let runc = Path::new("/usr/sbin/runc");
    if !runc.exists() {
        return skip("no runc to compare with");
    }
    let test = start(&["sleep", "1000"]);
    let ours: Value = serde_json::from_str(&succeed(&test, &["events", "--stats", &test.id])).unwrap();
    kill_and_delete(&test);

    let root = test.beside("runc");
    let id = format!("{}-runc", test.id);
    let command = |arguments: &[&str]| {
        let mut command = Command::new(runc);
        command.arg("--root").arg(&root).args(arguments).stdin(Stdio::null());
        command
    };
    let mut run = command(&["run", "-d", "-b", test.path().to_str().unwrap(), &id]);
    if !run.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success() {
        return skip("runc makes no containers here");
    }
    let printed = command(&["events", "--stats", &id]).output().unwrap();
    assert!(command(&["delete", "--force", &id]).status().unwrap().success());
    // runc leaves the one of cgroup2 on hybrid machines.
    fs::remove_dir(cgroup(&test)).ok();
    test.assert_nothing_left("after runc");
    let theirs: Value = serde_json::from_slice(&printed.stdout).unwrap();

    let sections = |event: &Value| event["data"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(sections(&ours), sections(&theirs));
    let (mut our_keys, mut their_keys) = (BTreeSet::new(), BTreeSet::new());
    keys(&ours, "", &mut our_keys);
    keys(&theirs, "", &mut their_keys);
    // Pressure is younger than some runcs, and v1 has none.
    our_keys.retain(|key| !key.contains(".psi."));
    // On a hybrid machine, it is cgroup2 that has this controller, and runc looks at v1.
    our_keys.retain(|key| !key.starts_with(".data.hugetlb"));
    // Corten leaves out what is empty, as runc does since 1.4.
    our_keys.retain(|key| ![".data.cpu", ".data.memory", ".data.blkio"].contains(&key.as_str()));
    let strange: Vec<_> = our_keys.difference(&their_keys).collect();
    assert!(strange.is_empty(), "{strange:?}");
    assert!(our_keys.len() > 15, "{our_keys:?}");
}

#[container_test]
fn processes_are_listed_as_numbers() {
    let test = TestBundle::new(&["sh", "-c", "sleep 1000 & sleep 1000 & wait"]);
    let init = create(&test);
    assert_eq!(succeed(&test, &["ps", "--format", "json", &test.id]), format!("[{init}]\n"));
    succeed(&test, &["start", &test.id]);
    let pids =
        || -> Vec<u32> { serde_json::from_str(&succeed(&test, &["ps", "-f", "json", &test.id])).unwrap() };
    until("not three processes", || pids().len() == 3);
    // In cgroups below, too, as containers make them that are given their own.
    let below = cgroup(&test).join("below/further");
    fs::create_dir_all(&below).unwrap();
    let moved = *pids().iter().find(|pid| **pid != init).unwrap();
    fs::write(below.join("cgroup.procs"), moved.to_string()).unwrap();
    let listed = pids();
    assert!(
        listed.len() == 3 && listed.contains(&moved) && listed.contains(&init),
        "{listed:?} without {moved}"
    );
    assert!(succeed(&test, &["ps", "-format=json", &test.id]).contains(&format!("{moved}")));
    succeed(&test, &["kill", &test.id, "KILL"]);
    common::wait_for(&test, "stopped");
    until("still somebody", || succeed(&test, &["ps", "--format", "json", &test.id]) == "null\n");
    kill_and_delete(&test);
    assert_eq!(fail(&test, &["ps", &test.id]), "container does not exist");
}

#[container_test]
fn processes_are_listed_by_ps() {
    if Command::new("ps").stdout(Stdio::null()).status().is_err() {
        return skip("no ps");
    }
    let test = TestBundle::new(&["sleep", "1000"]);
    let init = create(&test);
    succeed(&test, &["start", &test.id]);
    let rows = |arguments: &[&str]| -> Vec<Vec<String>> {
        let text = succeed(&test, &[&["ps"], arguments].concat());
        text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    let listed = rows(&[&test.id]);
    assert_eq!(listed[0], ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    assert_eq!(
        (listed.len(), &listed[1][1], &listed[1][7..]),
        (2, &init.to_string(), &["sleep", "1000"].map(str::to_owned)[..])
    );
    // All that comes after the id is for ps, also what looks like flags of Corten.
    let listed = rows(&[&test.id, "-e", "-o", "comm,pid"]);
    assert_eq!(listed, [["COMMAND", "PID"].map(str::to_owned), ["sleep".to_owned(), init.to_string()]]);
    assert_eq!(rows(&["--format", "table", &test.id, "-f", "-e"])[0][0], "UID");
    let wide = rows(&[&test.id, "--format", "pid", "-e"]);
    assert_eq!(wide, [["PID".to_owned()], [init.to_string()]]);

    let message = fail(&test, &["ps", &test.id, "-e", "-o", "comm"]);
    assert_eq!(message, "couldn't find PID field in ps output");
    let message = fail(&test, &["ps", &test.id, "--no-such-option"]);
    assert!(message.contains("exit status") && message.contains("option"), "{message}");
    let missing = corten(&test, &["ps", &test.id]).env("PATH", test.beside("nothing")).output().unwrap();
    assert_eq!(one_error(&missing), "exec: \"ps\": executable file not found in $PATH");
    // Numbers need no ps.
    let numbers =
        corten(&test, &["ps", "-f", "json", &test.id]).env("PATH", test.beside("nothing")).output().unwrap();
    assert_eq!(stdout(&numbers), format!("[{init}]\n"));
    kill_and_delete(&test);
}
