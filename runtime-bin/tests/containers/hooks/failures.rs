//! Hooks that fail.

use super::*;

/// A hook that fails, and what is said of it. `{}` is the kind.
fn failing(test: &TestBundle, kind: &str) -> Vec<(Value, String)> {
    let mut slow = hook(test, kind, "echo $$ >$D/slow; exec sleep 1000");
    slow["timeout"] = json!(1);
    // The first process of its PID namespace is init, so a hook can kill itself.
    vec![
        (
            hook(test, kind, "echo out; echo err >&2; exit 3"),
            "exit status 3, stdout: out, stderr: err".to_owned(),
        ),
        (hook(test, kind, "exit 1"), "exit status 1, stdout: , stderr: ".to_owned()),
        (
            hook(test, kind, "echo out; kill -9 $$; sleep 10"),
            "signal: killed, stdout: out, stderr: ".to_owned(),
        ),
        (json!({ "path": "/no/such" }), "fork/exec /no/such: no such file or directory".to_owned()),
        (json!({ "path": "/tmp", "args": ["x"] }), "fork/exec /tmp: permission denied".to_owned()),
        (slow, "hook ran past specified timeout of 1.0s".to_owned()),
    ]
}

/// A bundle whose second hook of the kind fails in the `nth` way; what is said of it.
fn bundle_that_fails(kind: &str, nth: usize) -> (TestBundle, String) {
    let mut test = bundle(&["sh", "-c", "echo program >>/out/ran; exec sleep 1000"]);
    let (failing, cause) = failing(&test, kind).swap_remove(nth);
    for (other, before) in KINDS.into_iter().zip(0..) {
        add(&mut test, other, &format!("echo {before} >>$D/ran"));
    }
    push(&mut test, kind, failing);
    add(&mut test, kind, "echo more >>$D/ran");
    (test, format!("error running {kind} hook #1: {}", cause.trim_end()))
}

/// How many ways of failing there are.
const WAYS: usize = 6;

/// Runs a check of every way to fail, all at the same time.
fn every_way(kind: &str, check: impl Fn(TestBundle, String, &str) + Sync) {
    std::thread::scope(|scope| {
        for nth in 0..WAYS {
            let check = &check;
            scope.spawn(move || {
                let (test, error) = bundle_that_fails(kind, nth);
                check(test, error, kind);
            });
        }
    });
}

fn create_fails(kind: &str) {
    every_way(kind, |test, error, kind| {
        let before = KINDS.iter().position(|other| *other == kind).unwrap();
        let ran: String = (0..=before).map(|number| format!("{number}\n")).collect();
        for (command, count) in [(&["create"][..], 1), (&["run"], 2), (&["run", "-d"], 3)] {
            let name = command[0];
            assert_eq!(error_of(&test, command), format!("corten {name} failed: {NOT_MADE}{error}"));
            // What was made is taken back like any other container, its poststop hooks included.
            assert_eq!(written(&test, "ran"), format!("{ran}5\n").repeat(count), "{kind} {error}");
            test.assert_nothing_left(&error);
            if error.contains("timeout") {
                break;
            }
        }
        assert_slow_is_gone(&test, kind);
    });
}

/// A hook that took too long is dead. Inside, its pid is another.
fn assert_slow_is_gone(test: &TestBundle, kind: &str) {
    let pid = written(test, "slow");
    if kind != "createContainer" && kind != "startContainer" && !pid.is_empty() {
        let comm = fs::read_to_string(format!("/proc/{}/comm", pid.trim())).unwrap_or_default();
        assert_ne!(comm, "sleep\n", "{kind}");
    }
}

#[container_test]
fn create_fails_with_a_prestart_hook() {
    create_fails("prestart");
}

#[container_test]
fn create_fails_with_a_create_runtime_hook() {
    create_fails("createRuntime");
}

#[container_test]
fn create_fails_with_a_create_container_hook() {
    create_fails("createContainer");
}

/// `start` reports it; `run` takes the container back.
#[container_test]
fn start_fails_with_a_start_container_hook() {
    every_way("startContainer", |test, error, _| {
        create(&test);
        assert_eq!(fail(&test, &["start", &test.id]), format!("{NOT_MADE}{error}"));
        assert_eq!(written(&test, "ran"), "0\n1\n2\n3\n");
        wait_for(&test, "stopped");
        assert_eq!(fail(&test, &["start", &test.id]), "cannot start a container that has stopped");
        succeed(&test, &["delete", &test.id]);
        assert_eq!(written(&test, "ran"), "0\n1\n2\n3\n5\n");
        test.assert_nothing_left(&error);
        if error.contains("timeout") {
            return;
        }
        assert_eq!(error_of(&test, &["run"]), format!("corten run failed: {NOT_MADE}{error}"));
        assert_eq!(written(&test, "ran"), "0\n1\n2\n3\n5\n".repeat(2));
        test.assert_nothing_left(&error);
    });
}

/// The program has begun, and is killed.
#[container_test]
fn start_fails_with_a_poststart_hook() {
    every_way("poststart", |test, error, kind| {
        create(&test);
        let pid = state(&test)["pid"].to_string();
        assert_eq!(fail(&test, &["start", &test.id]), error);
        // Stopped and destroyed at once, its poststop hooks with it.
        assert!(!fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("sleep")));
        assert_eq!(fail(&test, &["state", &test.id]), "container does not exist");
        let ran = lines(&test, "ran");
        assert!(ran.contains(&"4".to_owned()) && !ran.contains(&"more".to_owned()), "{ran:?}");
        assert_eq!(ran.last().unwrap(), "5");
        test.assert_nothing_left(&error);
        assert_slow_is_gone(&test, kind);
        if error.contains("timeout") {
            return;
        }
        for command in [&["run"][..], &["run", "-d"]] {
            assert_eq!(error_of(&test, command), format!("corten run failed: {NOT_MADE}{error}"));
            assert_eq!(lines(&test, "ran").last().unwrap(), "5");
            test.assert_nothing_left(&error);
        }
    });
}

/// Only a warning: the container is gone, and the other hooks run.
#[container_test]
fn delete_warns_of_a_poststop_hook() {
    every_way("poststop", |test, error, kind| {
        create(&test);
        succeed(&test, &["start", &test.id]);
        let output = corten(&test, &["delete", "--force", &test.id]).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8_lossy(&output.stderr).trim_end(), error);
        let ran = lines(&test, "ran");
        assert_eq!(ran[ran.len() - 2..], ["5", "more"]);
        test.assert_nothing_left(&error);
        assert_slow_is_gone(&test, kind);
        assert_eq!(fail(&test, &["delete", &test.id]), "container does not exist");
        assert_eq!(lines(&test, "ran"), ran, "poststop hooks run once");
    });
}

/// The failure that counts comes with what its poststop hooks failed with.
#[container_test]
fn a_failed_create_tells_of_failed_poststop_hooks() {
    let mut test = bundle(&["true"]);
    add(&mut test, "createRuntime", "exit 3");
    add(&mut test, "poststop", "exit 4");
    add(&mut test, "poststop", "cat >$D/state");
    let error = error_of(&test, &["create"]);
    assert!(error.starts_with("corten create failed: "), "{error}");
    let (poststop, create) = error.split_once(", after: ").unwrap();
    assert!(
        poststop.contains("error running poststop hook #0: exit status 4, stdout: , stderr: "),
        "{error}"
    );
    assert!(
        create.ends_with("error running createRuntime hook #0: exit status 3, stdout: , stderr:"),
        "{error}"
    );
    let state: Value = serde_json::from_str(&written(&test, "state")).unwrap();
    assert_eq!((&state["status"], &state["pid"]), (&json!("stopped"), &Value::Null));
}

/// A container that was never started has no poststart, and yet a poststop.
#[container_test]
fn a_created_container_that_is_deleted() {
    let mut test = bundle(&["true"]);
    for kind in KINDS {
        add(&mut test, kind, "echo $K >>$D/order");
    }
    create(&test);
    succeed(&test, &["delete", &test.id]);
    assert_eq!(lines(&test, "order"), ["prestart", "createRuntime", "createContainer", "poststop"]);
}

#[container_test]
fn long_output_and_long_limits() {
    for kind in ["createRuntime", "createContainer"] {
        let mut test = bundle(&["true"]);
        let long = "head -c 300000 /dev/zero | tr '\\0' o; head -c 300000 /dev/zero | tr '\\0' e >&2; exit 5";
        add(&mut test, kind, long);
        let error = error_of(&test, &["create"]);
        let head = format!(
            "corten create failed: {NOT_MADE}error running {kind} hook #0: exit status 5, stdout: ooo"
        );
        assert!(error.starts_with(&head) && error.ends_with("eee") && error.len() < 4200, "{error}");
        assert!(error.contains("o, stderr: eee") || error.contains(" ... "), "{error}");
    }
    let mut test = bundle(&["true"]);
    for kind in KINDS {
        let mut patient = hook(&test, kind, "echo $K >>$D/order");
        patient["timeout"] = json!(i64::MAX);
        push(&mut test, kind, patient);
    }
    assert_eq!(stdout(&common::run(&test)), "");
    assert_eq!(lines(&test, "order"), KINDS);
}
