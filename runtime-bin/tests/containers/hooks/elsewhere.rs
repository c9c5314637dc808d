//! Hooks of containers that come about in other ways.

use super::*;

#[container_test]
fn run_runs_all_kinds() {
    for command in [&["run"][..], &["run", "-d"]] {
        let mut test = bundle(&["sh", "-c", "until test -e /out/go; do sleep 0.01; done; exit 7"]);
        for kind in KINDS {
            add(&mut test, kind, "echo $K $(cat /proc/self/status | grep -c Seccomp:) >>$D/order");
        }
        add(&mut test, "poststart", "echo >$D/go");
        let code = detached(&test, command).status().unwrap().code();
        if command.len() == 1 {
            assert_eq!(code, Some(7));
        } else {
            assert_eq!(code, Some(0));
            wait_for(&test, "stopped");
            assert_eq!(lines(&test, "order").len(), 5);
            succeed(&test, &["delete", &test.id]);
        }
        assert_eq!(lines(&test, "order"), KINDS.map(|kind| format!("{kind} 1")));
    }
    // `--keep` leaves the poststop hooks to delete.
    let mut test = bundle(&["true"]);
    add(&mut test, "poststop", "echo $K >>$D/order");
    assert!(detached(&test, &["run", "--keep"]).status().unwrap().success());
    assert_eq!(written(&test, "order"), "");
    succeed(&test, &["delete", &test.id]);
    assert_eq!(written(&test, "order"), "poststop\n");
}

#[container_test(Root, UserNamespace)]
fn output_annotations(variant: Variant) {
    let mut test = bundle(&["true"]);
    variant.apply(&mut test);
    let (output, errors) = (test.beside("output"), test.beside("new-errors"));
    fs::write(&output, "before\n").unwrap();
    test.config["annotations"] = json!({ "run.oci.hooks.stdout": output, "run.oci.hooks.stderr": errors });
    for kind in KINDS {
        add(&mut test, kind, "echo out $K; echo err $K >&2");
        add(&mut test, kind, "echo again $K");
    }
    create(&test);
    let created = fs::read_to_string(&output).unwrap();
    succeed(&test, &["start", &test.id]);
    succeed(&test, &["delete", "--force", &test.id]);
    let all = |word: &str, kinds: &[&str]| -> String {
        kinds.iter().map(|kind| format!("{word} {kind}\n")).collect()
    };
    let both = |kinds: &[&str]| -> String {
        kinds.iter().map(|kind| format!("out {kind}\nagain {kind}\n")).collect()
    };
    assert_eq!(created, format!("before\n{}", both(&KINDS[..3])));
    assert_eq!(fs::read_to_string(&output).unwrap(), format!("before\n{}", both(&KINDS)));
    assert_eq!(fs::read_to_string(&errors).unwrap(), all("err", &KINDS));
    // Who asked for files reads them there, not in the error.
    for kind in ["createRuntime", "createContainer"] {
        let mut test = bundle(&["true"]);
        let output = test.beside("output");
        test.config["annotations"] = json!({ "run.oci.hooks.stdout": output });
        add(&mut test, kind, "echo out; echo err >&2; exit 3");
        let error = error_of(&test, &["create"]);
        assert!(error.ends_with(&format!("{kind} hook #0: exit status 3, stdout: , stderr: err")), "{error}");
        assert_eq!(fs::read_to_string(&output).unwrap(), "out\n");
        test.config["annotations"] = json!({ "run.oci.hooks.stdout": "/no/such/file" });
        let error = error_of(&test, &["create"]);
        assert!(error.contains("/no/such/file") && error.ends_with("no such file or directory"), "{error}");
        test.assert_nothing_left("output annotations");
    }
}

#[container_test]
fn hooks_are_those_of_create() {
    let mut test = bundle(&["sleep", "1000"]);
    for kind in KINDS {
        add(&mut test, kind, "echo $K >>$D/order");
    }
    create(&test);
    test.config["hooks"] = json!({});
    for kind in KINDS {
        add(&mut test, kind, "echo other >>$D/order; exit 1");
    }
    test.write();
    succeed(&test, &["start", &test.id]);
    fs::remove_file(test.path().join("config.json")).unwrap();
    succeed(&test, &["delete", "--force", &test.id]);
    assert_eq!(lines(&test, "order"), KINDS);
}

/// The container's terminal is not the hooks'.
#[container_test]
fn hooks_beside_a_terminal() {
    for command in ["create", "run"] {
        let mut test = bundle(&["sh", "-c", "test -t 0 && test -t 1 && echo terminal >/out/program"]);
        test.config["process"]["terminal"] = json!(true);
        for kind in KINDS {
            let script = "for fd in 0 1 2; do test -t $fd && echo $fd >>$D/terminals; done; cat >$D/$K.state; echo noise";
            add(&mut test, kind, script);
        }
        if command == "create" {
            let socket = test.beside("console.sock");
            let listener = UnixListener::bind(&socket).unwrap();
            let path = socket.to_str().unwrap().to_owned();
            let master = std::thread::spawn(move || receive(&listener).fd);
            assert!(detached(&test, &["create", "--console-socket", &path]).status().unwrap().success());
            let _master = master.join().unwrap();
            succeed(&test, &["start", &test.id]);
            wait_for(&test, "stopped");
            succeed(&test, &["delete", &test.id]);
        } else {
            assert_eq!(stdout(&common::run(&test)), "");
        }
        assert_eq!(written(&test, "program"), "terminal\n");
        assert_eq!(written(&test, "terminals"), "", "{command}");
        for kind in KINDS {
            let state: Value = serde_json::from_str(&written(&test, &format!("{kind}.state"))).unwrap();
            assert_eq!(state["id"], test.id, "{command} {kind}");
        }
    }
}

/// What hooks must be is known before anything is made.
#[container_test]
fn refusals() {
    let mut test = TestBundle::new(&["true"]);
    for kind in KINDS {
        for (hook, field) in [
            (json!({ "path": "bin/busybox" }), "path"),
            (json!({ "path": "" }), "path"),
            (json!({ "path": "/bin/busy\0box" }), "path"),
            (json!({ "path": "/bin/busybox", "args": ["a\0b"] }), "args[0]"),
            (json!({ "path": "/bin/busybox", "env": ["A=1", "a\0b"] }), "env[1]"),
            (json!({ "path": "/bin/busybox", "timeout": 0 }), "timeout"),
            (json!({ "path": "/bin/busybox", "timeout": -1 }), "timeout"),
        ] {
            test.config["hooks"] = json!({ kind: [{ "path": "/bin/true" }, hook] });
            let path = test.write().path();
            let output = corten(&test, &["create", "-b", path.to_str().unwrap(), &test.id]).output().unwrap();
            let error = one_error(&output);
            assert!(error.contains(&format!("hooks.{kind}[1].{field}")), "{error}");
            test.assert_nothing_left(field);
        }
    }
}
