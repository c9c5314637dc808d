//! What is known of a container when its state is damaged, cannot be read, or was left behind by a runtime
//! that was killed.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::{self, CORTEN, TestBundle, corten, create, fail, quietly, state, succeed, until};
use container_test::container_test;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use serde_json::{Value, json};

/// A container that runs in the background; returns init's pid.
fn background(test: &TestBundle) -> i32 {
    let path = test.write().path();
    quietly(test, &["run", "--detach", "--bundle", path.to_str().unwrap(), &test.id]);
    i32::try_from(state(test)["pid"].as_i64().unwrap()).unwrap()
}

/// Whether a process is there and no zombie.
fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .and_then(|rest| rest.split_ascii_whitespace().next())
        .is_some_and(|state| state != "Z")
}

fn file(test: &TestBundle, name: &str) -> PathBuf {
    test.state_root().join(&test.id).join(name)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim_end().to_owned()
}

/// Damages a file in one of many ways.
fn damage(path: &Path, how: &str) {
    let text = fs::read_to_string(path).unwrap();
    let without = |field: &str| {
        let mut state: Value = serde_json::from_str(&text).unwrap();
        state.as_object_mut().unwrap().remove(field).unwrap();
        fs::write(path, state.to_string()).unwrap();
    };
    match how {
        "empty" => fs::write(path, "").unwrap(),
        "cut" => fs::write(path, &text[..text.len() / 2]).unwrap(),
        "garbage" => fs::write(path, "{{{").unwrap(),
        "null" => fs::write(path, "null").unwrap(),
        "missing" => fs::remove_file(path).unwrap(),
        "without pid" => without("pid"),
        "without cgroups" => without("cgroups"),
        "of the future" => fs::write(path, text.replacen("\"version\":1", "\"version\":77", 1)).unwrap(),
        "a link" => {
            fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink("/dev/null", path).unwrap();
        }
        "a directory" => {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
            fs::write(path.join("file"), "").unwrap();
        }
        "a fifo" => {
            fs::remove_file(path).unwrap();
            nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap();
        }
        _ => unreachable!("{how}"),
    }
}

const DAMAGES: [&str; 11] = [
    "empty",
    "cut",
    "garbage",
    "null",
    "missing",
    "without pid",
    "without cgroups",
    "of the future",
    "a link",
    "a directory",
    "a fifo",
];

/// A running container, a paused and a created one whose state is damaged in each way: other commands fail,
/// `delete --force` ends and removes it, and says how it was found: by the state before, or by the config if
/// that is damaged, too.
#[container_test]
fn containers_with_a_damaged_state_are_ended_by_force() {
    for (both, status) in
        [(false, "running"), (true, "running"), (false, "paused"), (true, "paused"), (true, "created")]
    {
        for how in DAMAGES {
            let what = format!("{how}, {status}, both copies: {both}");
            let test = TestBundle::new(&["sleep", "1000"]);
            let pid = match status {
                "created" => i32::try_from(create(&test)).unwrap(),
                _ => background(&test),
            };
            if status == "paused" {
                succeed(&test, &["pause", &test.id]);
            }
            damage(&file(&test, "state.json"), how);
            if both {
                damage(&file(&test, "state.json.new"), how);
            }
            for arguments in [&["delete", &test.id][..], &["state", &test.id], &["kill", &test.id, "KILL"]] {
                let error = fail(&test, arguments);
                assert!(error.contains("state.json"), "{what}: {error}");
            }
            assert!(is_alive(pid), "{what}");
            let deleted = corten(&test, &["delete", "--force", &test.id]).output().unwrap();
            assert_eq!(deleted.status.code(), Some(0), "{what}: {}", said(&deleted));
            let by = if both { "linux.cgroupsPath of its config" } else { "its state before that" };
            assert!(
                said(&deleted).contains(by) && said(&deleted).lines().count() == 1,
                "{what}: {}",
                said(&deleted)
            );
            assert!(!is_alive(pid), "{what}: it runs on");
            test.assert_nothing_left(&what);
        }
    }
}

/// A FIFO has nobody who writes to it: to open it would take for ever.
#[container_test]
fn files_of_the_state_that_are_fifos_are_not_waited_for() {
    let test = TestBundle::new(&["sleep", "1000"]);
    create(&test);
    damage(&file(&test, "config.json"), "a fifo");
    let refused = |arguments: &[&str], file: &str| {
        let output =
            Command::new("timeout").arg("20").arg(CORTEN).args(corten(&test, arguments).get_args()).output();
        let error = said(&output.unwrap());
        assert!(
            error.lines().count() == 1 && error.contains(file) && error.contains("it is not a regular file"),
            "{arguments:?}: {error}"
        );
    };
    refused(&["exec", &test.id, "true"], "config.json");
    damage(&file(&test, "state.json"), "a fifo");
    refused(&["state", &test.id], "state.json");
    let output =
        Command::new("timeout").arg("20").arg(CORTEN).args(corten(&test, &["list"]).get_args()).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("state.json"), "{}", said(&output));
    quietly(&test, &["delete", "--force", &test.id]);
}

/// The cgroup of a container whose config names none, or a relative path, depends on the runtime's own.
#[container_test]
fn a_cgroup_that_cannot_be_found_is_not_forgotten() {
    let mut test = TestBundle::new(&["sleep", "1000"]);
    test.config["linux"]["cgroupsPath"] = test.id.clone().into();
    let pid = background(&test);
    for name in ["state.json", "state.json.new"] {
        damage(&file(&test, name), "cut");
    }
    let config = fs::read_to_string(file(&test, "config.json")).unwrap();
    fs::write(file(&test, "config.json"), config.replace(&format!("{:?}", test.id), "\"elsewhere\""))
        .unwrap();
    let error = fail(&test, &["delete", "--force", &test.id]);
    assert!(
        error.contains("there is no cgroup \"elsewhere\"") && error.contains("end it, and remove"),
        "{error}"
    );
    assert!(is_alive(pid));
    fs::write(file(&test, "config.json"), "{").unwrap();
    let error = fail(&test, &["delete", "--force", &test.id]);
    assert!(error.contains("its config cannot be read"), "{error}");
    assert!(is_alive(pid));
    // Where it is where the config says, it is found.
    fs::write(file(&test, "config.json"), config).unwrap();
    let deleted = corten(&test, &["delete", "--force", &test.id]).output().unwrap();
    assert_eq!(deleted.status.code(), Some(0), "{}", said(&deleted));
    assert!(!is_alive(pid));
    assert!(!file(&test, "state.json").exists());
}

/// With fewer and fewer fds, and with none to spare: a command on a running container succeeds with all that
/// it means or fails, and a container is never taken for dead.
#[container_test]
fn a_want_of_fds_is_no_sign_of_death() {
    let test = TestBundle::new(&["sleep", "1000"]);
    let mut pid = background(&test);
    let limited = |fds: u32, arguments: &[&str]| {
        let script = format!("ulimit -n {fds}; exec \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, "-", CORTEN, "--root"]).arg(test.state_root()).args(arguments);
        command.stdin(Stdio::null()).output().unwrap()
    };
    let mut failed = 0;
    for fds in 3..24 {
        let state = limited(fds, &["state", &test.id]);
        if state.status.success() {
            let state: Value = serde_json::from_slice(&state.stdout).unwrap();
            assert_eq!(state["status"], "running", "{fds} fds");
        }
        let killed = limited(fds, &["kill", &test.id, "0"]);
        assert!(
            killed.status.success() || !said(&killed).contains("not running"),
            "{fds} fds: {}",
            said(&killed)
        );
        failed += u32::from(!killed.status.success());
        let deleted = limited(fds, &["delete", &test.id]);
        assert!(!deleted.status.success() && is_alive(pid), "{fds} fds: {}", said(&deleted));
        let forced = limited(fds, &["delete", "--force", &test.id]);
        if forced.status.success() {
            assert!(!is_alive(pid), "{fds} fds");
            test.assert_nothing_left(&format!("{fds} fds"));
            pid = background(&test);
        } else if !is_alive(pid) {
            // Ended, and not yet all removed: it can be tried again.
            succeed(&test, &["delete", "--force", &test.id]);
            pid = background(&test);
        }
    }
    assert!(failed > 0, "too many fds");
    succeed(&test, &["delete", "--force", &test.id]);
}

/// Without a procfs, or with one of another PID namespace, nobody can say whether a container runs; none is
/// taken for dead.
#[container_test]
fn a_missing_procfs_is_no_sign_of_death() {
    let test = TestBundle::new(&["sleep", "1000"]);
    let pid = background(&test);
    let without = |hide: &str, arguments: &[&str]| {
        let script = format!("{hide}; exec \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "-", CORTEN, "--root"]);
        command.arg(test.state_root()).args(arguments).stdin(Stdio::null()).output().unwrap()
    };
    for hide in ["mount -t tmpfs none /proc", "mount --bind /sys /proc"] {
        for arguments in
            [&["state", &test.id][..], &["kill", &test.id, "0"], &["delete", &test.id], &["list"]]
        {
            let output = without(hide, arguments);
            let text = format!("{}{}", said(&output), String::from_utf8_lossy(&output.stdout));
            assert!(
                text.contains("/proc/") && !text.contains("stopped") && !text.contains("not running"),
                "{text}"
            );
            assert!(is_alive(pid), "{arguments:?}");
        }
    }
    let other = TestBundle::new(&["true"]);
    let path = other.write().path();
    let made =
        without("mount -t tmpfs none /proc", &["create", "--bundle", path.to_str().unwrap(), &other.id]);
    assert!(!made.status.success());
    assert_eq!(state(&test)["status"], "running");
    succeed(&test, &["delete", "--force", &test.id]);
    until("it runs on", || !is_alive(pid));
}

/// A bundle with a hook that never ends, and says so first.
fn with_hook_that_hangs(kind: &str) -> TestBundle {
    let mut test = TestBundle::new(&["sleep", "1000"]);
    let script = format!("echo $$ > {}; sleep 1000; true", test.beside("hook").display());
    test.config["hooks"][kind] = serde_json::json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
    if kind == "createContainer" {
        // Inside the same path is another file.
        test.config["hooks"][kind][0]["args"][2] = "echo $$ > tmp/hook; sleep 1000; true".into();
    }
    test.write();
    test
}

/// `create`, or `run` with poststart, which hangs in the hook. Returns the command and the pids of the hook
/// and its child.
fn hang(test: &TestBundle, kind: &str) -> (Child, Vec<i32>) {
    let command = if kind == "poststart" { &["run", "--detach"][..] } else { &["create"] };
    let errors = File::create(test.beside("errors")).unwrap();
    let path = test.path();
    let arguments = [command, &["--bundle", path.to_str().unwrap(), &test.id]].concat();
    let child = corten(test, &arguments).stdout(Stdio::null()).stderr(errors).spawn().unwrap();
    let said = if kind == "createContainer" { test.rootfs().join("tmp/hook") } else { test.beside("hook") };
    until("no hook", || fs::read_to_string(&said).is_ok_and(|text| text.ends_with('\n')));
    let mut pids = vec![fs::read_to_string(said).unwrap().trim().parse().unwrap()];
    if kind == "createContainer" {
        // In another PID namespace.
        pids.clear();
        test.wait_for_program("sleep");
        return (child, pids);
    }
    let mut sleeper = String::new();
    until("no sleep", || {
        sleeper = fs::read_to_string(format!("/proc/{0}/task/{0}/children", pids[0])).unwrap();
        !sleeper.is_empty()
    });
    pids.push(sleeper.trim().parse().unwrap());
    (child, pids)
}

const HANGING_HOOKS: [&str; 4] = ["prestart", "createRuntime", "createContainer", "poststart"];

/// A container that hangs in a hook can be killed, which ends the hooks of its making with it.
#[container_test]
fn a_container_that_hangs_in_a_hook_is_killed() {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let test = with_hook_that_hangs(kind);
        let (mut command, pids) = hang(&test, kind);
        assert_eq!(state(&test)["status"], "creating", "{kind}");
        succeed(&test, &["kill", &test.id, "KILL"]);
        assert_eq!(command.wait().unwrap().code(), Some(1), "{kind}");
        let errors = fs::read_to_string(test.beside("errors")).unwrap();
        assert!(errors.contains("container init ended unexpectedly: killed by signal 9"), "{kind}: {errors}");
        until(&format!("{kind}: the hook runs on"), || !pids.iter().any(|pid| is_alive(*pid)));
    }
}

/// It can be deleted by force: while the runtime waits for the hook, when that has been killed, and when it
/// has been stopped.
#[container_test]
fn a_container_that_hangs_in_a_hook_is_deleted_by_force() {
    for (kind, sent) in HANGING_HOOKS.iter().flat_map(|kind| ["", "KILL", "STOP"].map(|sent| (*kind, sent))) {
        let what = format!("{kind}, runtime {sent:?}");
        let test = with_hook_that_hangs(kind);
        let (mut command, pids) = hang(&test, kind);
        let pid = i32::try_from(command.id()).unwrap();
        let send = |signal| kill(Pid::from_raw(pid), signal).unwrap();
        match sent {
            "KILL" => {
                send(Signal::SIGKILL);
                command.wait().unwrap();
            }
            "STOP" => send(Signal::SIGSTOP),
            _ => {}
        }
        assert!(pids.iter().all(|pid| is_alive(*pid)), "{what}");
        let begun = Instant::now();
        succeed(&test, &["delete", "--force", &test.id]);
        assert!(begun.elapsed() < Duration::from_secs(15), "{what}: {:?}", begun.elapsed());
        until(&format!("{what}: the hook runs on"), || !pids.iter().any(|pid| is_alive(*pid)));
        if sent == "STOP" {
            // Another container has the names by now: what the first one takes back is not this one's.
            let mut other = TestBundle::new(&["sleep", "1000"]);
            other.config["linux"]["cgroupsPath"] = test.config["linux"]["cgroupsPath"].clone();
            let path = other.write().path();
            quietly(&test, &["run", "--detach", "--bundle", path.to_str().unwrap(), &test.id]);
            send(Signal::SIGCONT);
            assert_eq!(command.wait().unwrap().code(), Some(1), "{what}");
            assert_eq!(state(&test)["status"], "running", "{what}");
            succeed(&test, &["delete", "--force", &test.id]);
        } else if sent.is_empty() {
            assert_eq!(command.wait().unwrap().code(), Some(1), "{what}");
        }
    }
}

/// What a killed `create` has left is stopped for every command, those that have the lock included.
#[container_test]
fn a_container_whose_create_was_killed_is_stopped() {
    let test = with_hook_that_hangs("createRuntime");
    let (mut create, pids) = hang(&test, "createRuntime");
    create.kill().unwrap();
    create.wait().unwrap();
    until("not stopped", || state(&test)["status"] == "stopped");
    for (command, words) in [
        ("start", "cannot start a container that has stopped"),
        ("pause", "container not running"),
        ("resume", "container not paused"),
    ] {
        assert_eq!(fail(&test, &[command, &test.id]), words);
    }
    succeed(&test, &["delete", &test.id]);
    until("the hook runs on", || !pids.iter().any(|pid| is_alive(*pid)));
}

/// The state of its process is that of its first thread.
#[container_test]
fn a_container_runs_while_any_of_its_threads_does() {
    const THREADS: &str = "#include <pthread.h>
        #include <unistd.h>
        static void *stay(void *nothing) { for (;;) pause(); }
        int main(void) { pthread_t other; pthread_create(&other, 0, stay, 0); pthread_exit(0); }";
    let Some(program) = common::compile("corten-test-threads", THREADS) else { return };
    let test = TestBundle::new(&["/bin/threads"]);
    fs::copy(program, test.rootfs().join("bin/threads")).unwrap();
    let pid = background(&test);
    until("no zombie", || !is_alive(pid));
    assert_eq!(state(&test)["status"], "running");
    assert!(fail(&test, &["delete", &test.id]).ends_with("is not stopped: running"));
    succeed(&test, &["kill", &test.id, "KILL"]);
    common::wait_for(&test, "stopped");
    succeed(&test, &["delete", &test.id]);
}

/// A container with a startContainer hook that waits until it is told to go on, by `go`.
fn with_start_hook(test: &mut TestBundle) {
    let script = "echo > tmp/waits; until busybox test -e tmp/go; do busybox sleep 0.01; done";
    test.config["root"]["readonly"] = false.into();
    let hook = serde_json::json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"] }]);
    test.config["hooks"] = serde_json::json!({ "startContainer": hook });
    test.write();
}

fn wait_for_hook(test: &TestBundle) {
    until("no hook", || test.rootfs().join("tmp/waits").exists());
}

/// Init is killed between the wait for `start` and the exec: that no program ran is an error of `start` and
/// of `run`.
#[container_test]
fn a_program_that_never_ran_is_an_error_of_start() {
    for command in ["start", "run"] {
        let mut test = TestBundle::new(&["sleep", "1000"]);
        with_start_hook(&mut test);
        let path = test.path();
        let errors = File::create(test.beside("errors")).unwrap();
        let arguments = match command {
            "start" => {
                create(&test);
                vec!["start", &test.id]
            }
            _ => vec!["run", "--detach", "--bundle", path.to_str().unwrap(), &test.id],
        };
        let mut starts = corten(&test, &arguments).stdout(Stdio::null()).stderr(errors).spawn().unwrap();
        wait_for_hook(&test);
        let pid = i32::try_from(state(&test)["pid"].as_i64().unwrap()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        assert_eq!(starts.wait().unwrap().code(), Some(1), "{command}");
        let errors = fs::read_to_string(test.beside("errors")).unwrap();
        assert!(errors.contains("container init ended unexpectedly"), "{command}: {errors}");
        succeed(&test, &["delete", "--force", &test.id]);
    }
}

/// A filter that keeps init from saying that it executes is no failure.
#[container_test]
fn a_program_that_may_not_write_runs() {
    for hook in [false, true] {
        let mut test = TestBundle::new(&["sleep", "1000"]);
        let seccomp = serde_json::json!({ "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["write"], "action": "SCMP_ACT_ERRNO" }] });
        test.config["linux"]["seccomp"] = seccomp;
        if hook {
            test.config["hooks"] = serde_json::json!({ "startContainer": [{ "path": "/bin/true" }] });
        }
        background(&test);
        assert_eq!(state(&test)["status"], "running", "hook: {hook}");
        succeed(&test, &["delete", "--force", &test.id]);
    }
}

/// A `start` that was killed after init had gone on leaves a container that runs, and is not deleted like a
/// created one.
#[container_test]
fn a_killed_start_leaves_a_container_that_runs() {
    let mut test = TestBundle::new(&["sleep", "1000"]);
    with_start_hook(&mut test);
    let pid = i32::try_from(create(&test)).unwrap();
    let mut start =
        corten(&test, &["start", &test.id]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for_hook(&test);
    start.kill().unwrap();
    start.wait().unwrap();
    fs::write(test.rootfs().join("tmp/go"), "").unwrap();
    until("no program", || {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n")
    });
    assert!(file(&test, "start.sock").exists());
    assert_eq!(state(&test)["status"], "running");
    assert!(fail(&test, &["delete", &test.id]).ends_with("is not stopped: running"));
    assert_eq!(fail(&test, &["start", &test.id]), "cannot start an already running container");
    assert!(is_alive(pid));
    succeed(&test, &["delete", "--force", &test.id]);
}

/// What ends a program by itself ends a created container, as with runc, though init is the first of a PID
/// namespace; other signals do not.
#[container_test]
fn signals_end_created_containers() {
    for signal in ["TERM", "INT", "HUP", "QUIT", "ABRT", "SEGV"] {
        let test = TestBundle::new(&["sleep", "1000"]);
        create(&test);
        succeed(&test, &["kill", &test.id, signal]);
        common::wait_for(&test, "stopped");
        assert_eq!(
            fail(&test, &["start", &test.id]),
            "cannot start a container that has stopped",
            "{signal}"
        );
        succeed(&test, &["delete", &test.id]);
    }
    let test = TestBundle::new(&["sleep", "1000"]);
    create(&test);
    for signal in ["USR1", "WINCH", "0"] {
        succeed(&test, &["kill", &test.id, signal]);
    }
    succeed(&test, &["start", &test.id]);
    // The program is its own affair.
    succeed(&test, &["kill", &test.id, "TERM"]);
    assert_eq!(state(&test)["status"], "running");
    succeed(&test, &["delete", "--force", &test.id]);
}

/// `kill KILL` of a container in the host's PID namespace, or in one that it has joined, reaches what init
/// has left behind.
#[container_test]
fn what_init_has_left_behind_is_killed() {
    let namespace = TestBundle::new(&["sleep", "1000"]);
    let joined = background(&namespace);
    for path in [None, Some(format!("/proc/{joined}/ns/pid"))] {
        let what = format!("{path:?}");
        let mut test = TestBundle::new(&["sh", "-c", "sleep 1000 & echo $! > /tmp/left; exit 0"]);
        test.config["root"]["readonly"] = false.into();
        let namespaces = test.config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "pid");
        if let Some(path) = path {
            namespaces.push(serde_json::json!({ "type": "pid", "path": path }));
        }
        background(&test);
        common::wait_for(&test, "stopped");
        test.wait_for_program("sleep");
        assert_eq!(fail(&test, &["kill", &test.id, "TERM"]), "container not running", "{what}");
        succeed(&test, &["kill", &test.id, "KILL"]);
        assert_eq!(fail(&test, &["kill", &test.id, "KILL"]), "container not running", "{what}");
        succeed(&test, &["delete", &test.id]);
    }
    // While init lives, too: it is not the first of its PID namespace.
    let mut test = TestBundle::new(&["sh", "-c", "sleep 1000 & exec sleep 1001"]);
    let namespaces = test.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "pid");
    namespaces.push(serde_json::json!({ "type": "pid", "path": format!("/proc/{joined}/ns/pid") }));
    background(&test);
    test.wait_for_program("sleep");
    succeed(&test, &["kill", &test.id, "KILL"]);
    common::wait_for(&test, "stopped");
    assert_eq!(fail(&test, &["kill", &test.id, "KILL"]), "container not running");
    succeed(&test, &["delete", &test.id]);
    test.assert_nothing_left("both");
    succeed(&namespace, &["delete", "--force", &namespace.id]);
}

/// What a poststop hook has to undo does not depend on a bundle that is gone, or on a directory that `delete`
/// begins in.
#[container_test]
fn poststop_hooks_run_when_the_bundle_is_gone() {
    let mut test = TestBundle::new(&["sleep", "1000"]);
    let script = format!("pwd >> {}", test.beside("ran").display());
    test.config["hooks"]["poststop"] =
        serde_json::json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
    background(&test);
    fs::rename(test.path(), test.beside("moved")).unwrap();
    succeed(&test, &["delete", "--force", &test.id]);
    assert_eq!(fs::read_to_string(test.beside("ran")).unwrap(), "/\n");
    fs::rename(test.beside("moved"), test.path()).unwrap();
    background(&test);
    let directory = test.beside("gone");
    fs::create_dir(&directory).unwrap();
    let script = "cd \"$1\" && rmdir \"$1\" && shift && exec \"$@\"";
    let mut delete = Command::new("sh");
    delete.args(["-c", script, "-"]).arg(&directory).args([CORTEN, "--root"]).arg(test.state_root());
    let output = delete.args(["delete", "--force", &test.id]).stdin(Stdio::null()).output().unwrap();
    common::stdout(&output);
    assert_eq!(fs::read_to_string(test.beside("ran")).unwrap(), format!("/\n{}\n", test.path().display()));
}

/// In a root that everybody may write to, a container of somebody else's making: its hooks would run as root.
#[container_test]
fn a_state_of_somebody_else_is_not_believed() {
    let test = TestBundle::new(&["true"]);
    let root = test.state_root();
    fs::create_dir_all(&root).unwrap();
    fs::set_permissions(&root, Permissions::from_mode(0o1777)).unwrap();
    let forged = root.join("forged");
    fs::create_dir(&forged).unwrap();
    let proof = test.beside("proof");
    let hook = json!([{ "path": "/bin/touch", "args": ["touch", &proof] }]);
    let state = json!({ "ociVersion": "1.3.0", "id": "forged", "bundle": "/", "rootfs": "/", "created": "", "annotations": {},
        "cgroups": { "unified": null, "legacy": {}, "unit": null }, "pid": 0, "startTime": 0, "hooks": { "poststop": hook } });
    fs::write(forged.join("state.json"), state.to_string()).unwrap();
    let owners = [(Some(1000), 0o700), (Some(0), 0o777)];
    for (owner, mode) in owners {
        std::os::unix::fs::chown(&forged, owner, owner).unwrap();
        fs::set_permissions(&forged, Permissions::from_mode(mode)).unwrap();
        for words in [
            &["state", "forged"][..],
            &["delete", "forged"],
            &["delete", "--force", "forged"],
            &["kill", "forged"],
        ] {
            let error = fail(&test, words);
            assert!(
                error.contains("forged") && error.contains("is not the caller's alone"),
                "{words:?}: {error}"
            );
        }
        assert!(!proof.exists());
    }
    fs::remove_dir_all(forged).unwrap();
}
