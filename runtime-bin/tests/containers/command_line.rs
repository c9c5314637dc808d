//! The command line beyond runc's: completions, containers by expression, configs of other names, other logs,
//! and the forms of flags that Go's parser takes.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::{
    self, CORTEN, TestBundle, corten, create, fail, one_error, skip, state, stdout, succeed,
};
use container_test::container_test;
use serde_json::{Value, json};

/// Makes a container of the test's bundle with an id of its own, beginning with the test's.
fn create_named(test: &TestBundle, name: &str) -> String {
    let id = format!("{}-{name}", test.id);
    let mut config = test.config.clone();
    config["linux"]["cgroupsPath"] = json!(format!("/{id}"));
    fs::write(test.path().join("config.json"), config.to_string()).unwrap();
    let errors = File::create(test.beside("errors")).unwrap();
    let mut command = corten(test, &["create", "--bundle", test.path().to_str().unwrap(), &id]);
    assert!(command.stdout(Stdio::null()).stderr(errors).status().unwrap().success());
    id
}

fn ids(test: &TestBundle) -> Vec<String> {
    succeed(test, &["list", "--quiet"]).lines().map(|id| id.trim_start_matches(&test.id).to_owned()).collect()
}

fn status(test: &TestBundle, id: &str) -> String {
    let state: Value = serde_json::from_str(&succeed(test, &["state", id])).unwrap();
    state["status"].as_str().unwrap().to_owned()
}

#[container_test]
fn containers_are_killed_and_deleted_by_expression() {
    let test = TestBundle::new(&["sleep", "1000"]);
    let [a1, a2, b1] = ["a1", "a2", "b1"].map(|name| create_named(&test, name));
    for id in [&a1, &a2, &b1] {
        succeed(&test, &["start", id]);
    }
    assert_eq!(succeed(&test, &["kill", "--regex", "a1$", "KILL"]), "");
    common::until("not killed", || status(&test, &a1) == "stopped");
    assert_eq!(status(&test, &a2), "running");

    // One has stopped, so it fails; the other gets its signal all the same.
    let error = fail(&test, &["kill", "--regex", "a[0-9]+$", "KILL"]);
    assert_eq!(error, format!("failed for 1 of 2 containers: {a1}: container not running"));
    common::until("not killed", || status(&test, &a2) == "stopped");
    assert_eq!(status(&test, &b1), "running");
    let error = fail(&test, &["kill", "-r", "[[:alpha:]]1$", "KILL"]);
    assert_eq!(error, format!("failed for 1 of 2 containers: {a1}: container not running"));
    common::until("not killed", || status(&test, &b1) == "stopped");
    let error = fail(&test, &["kill", "--regex", "a.$", "KILL"]);
    assert_eq!(
        error,
        format!("failed for 2 of 2 containers: {a1}: container not running; {a2}: container not running")
    );
    assert_eq!(succeed(&test, &["kill", "--all", "--regex", "a.$", "KILL"]), "");

    let c1 = create_named(&test, "c1");
    succeed(&test, &["start", &c1]);
    let error = fail(&test, &["delete", "--regex", "1$"]);
    let why = format!("cannot delete container {c1} that is not stopped: running");
    assert_eq!(error, format!("failed for 1 of 3 containers: {c1}: {why}"));
    assert_eq!(ids(&test), ["-a2", "-c1"]);
    assert_eq!(succeed(&test, &["delete", "--force", "--regex", &format!("^{}-.[12]$", test.id)]), "");
    assert_eq!(ids(&test), [""; 0]);
}

#[test]
fn an_expression_may_match_nothing_but_not_be_wrong() {
    let test = TestBundle::new(&["true"]);
    for command in ["kill", "delete"] {
        assert_eq!(succeed(&test, &[command, "--regex", "nothing"]), "");
        let error = fail(&test, &[command, "--regex", "("]);
        assert!(error.starts_with("invalid regular expression \"(\": "), "{error}");
    }
}

#[container_test]
fn a_config_may_have_another_name() {
    let mut test = TestBundle::new(&["echo", "the bundle's"]);
    test.write();
    let bundle = test.path();
    test.config["process"]["args"] = json!(["echo", "another"]);
    fs::write(test.beside("other.json"), test.config.to_string()).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = corten(&test, &["run", "--bundle", bundle.to_str().unwrap()]);
        command.args(arguments).arg(&test.id).current_dir(test.beside("")).output().unwrap()
    };
    // Relative to the current directory; but the default's name means the bundle's, as with crun.
    assert_eq!(stdout(&run(&["--config", "other.json"])), "another\n");
    assert_eq!(stdout(&run(&["-f", test.beside("other.json").to_str().unwrap()])), "another\n");
    assert_eq!(stdout(&run(&["-f", "config.json"])), "the bundle's\n");
    let error = one_error(&run(&["--config", "none.json"]));
    assert_eq!(error, "corten run failed: JSON specification file none.json not found");
    let plan = corten(&test, &["plan", "--bundle", bundle.to_str().unwrap(), "--config", "other.json"])
        .current_dir(test.beside(""))
        .output()
        .unwrap();
    assert!(stdout(&plan).contains("another"));
}

#[test]
fn a_spec_may_have_another_name() {
    let test = TestBundle::new(&["true"]);
    let bundle = test.path();
    let bundle = bundle.to_str().unwrap();
    succeed(&test, &["spec", "--bundle", bundle, "--file", "other.json"]);
    let first = fs::read_to_string(test.path().join("other.json")).unwrap();
    assert!(!test.path().join("config.json").exists());
    // Who names a file means it.
    succeed(&test, &["spec", "--bundle", bundle, "--rootless", "-f", "other.json"]);
    assert_ne!(fs::read_to_string(test.path().join("other.json")).unwrap(), first);
    assert_eq!(succeed(&test, &["spec", "-f", "/dev/stdout"]), first);
    succeed(&test, &["spec", "--bundle", bundle]);
    assert_eq!(fail(&test, &["spec", "--bundle", bundle]), "File config.json exists. Remove it first");
}

#[container_test]
fn flags_are_read_as_go_reads_them() {
    let test = TestBundle::new(&["true"]);
    let root = test.state_root();
    let (root, log) = (root.to_str().unwrap(), test.beside("log"));
    let pid = test.beside("pid");
    create(&test);
    let command = |arguments: &[&str]| {
        let mut command = Command::new(CORTEN);
        command.args(["-root", root, "-log", log.to_str().unwrap(), "-log-format=json"]).args(arguments);
        command.stdin(Stdio::null());
        command
    };
    let corten = |arguments: &[&str]| command(arguments).output().unwrap();
    for switches in [["--debug=false", "--rootless=true"], ["-systemd-cgroup=0", "-rootless=auto"]] {
        let listed = corten(&[switches[0], switches[1], "list", "-q=true", "-format", "json"]);
        assert_eq!(stdout(&listed), format!("{}\n", test.id));
    }
    // What is empty is not given, as with runc.
    succeed(&test, &["delete", &test.id]);
    let bundle = test.path();
    // What init keeps open is no pipe that this test reads to its end.
    let errors = File::create(test.beside("errors")).unwrap();
    let mut create =
        command(&["create", "--console-socket", "", "--pid-file=", "-b", bundle.to_str().unwrap()]);
    create.args(["--pid-file", pid.to_str().unwrap(), &test.id]).stdout(Stdio::null()).stderr(errors);
    assert!(create.status().unwrap().success(), "{}", fs::read_to_string(test.beside("errors")).unwrap());
    assert_eq!(state(&test)["pid"].to_string(), fs::read_to_string(&pid).unwrap());
    assert_eq!(fail(&test, &["kill", &test.id, "-9"]), "unknown signal \"-9\"");
    // Behind the id, too, where runc would not look for them.
    assert_eq!(stdout(&corten(&["delete", &test.id, "-force"])), "");

    let wrong = corten(&["--debug=maybe", "list"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("maybe"));
    // The word after --root is its value, not a command; help is of the command.
    let wrong = Command::new(CORTEN).args(["--root", "list", "kill", "--nothing"]).output().unwrap();
    assert!(String::from_utf8_lossy(&wrong.stdout).contains("corten kill"), "{wrong:?}");
}

#[test]
fn every_shell_gets_a_script() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = stdout(&Command::new(CORTEN).args(["completion", shell]).output().unwrap());
        for word in ["preserve-fds", "systemd-cgroup", "completion"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        if shell == "bash" {
            let mut check = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
            check.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
            assert!(check.wait().unwrap().success());
        }
    }
    let unknown = Command::new(CORTEN).args(["completion", "ksh"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(1));
}

#[test]
fn bash_completes_commands_flags_and_values() {
    const SCRIPT: &str = r#"source <("$1" completion bash); shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _corten corten "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"; echo "${COMPREPLY[@]}""#;
    let complete = |words: &[&str]| {
        let output = Command::new("bash")
            .args(["--norc", "-c", SCRIPT, "bash", CORTEN, "corten"])
            .args(words)
            .output();
        stdout(&output.unwrap()).trim().to_owned()
    };
    assert_eq!(complete(&["st"]), "start state");
    assert_eq!(complete(&["create", "--con"]), "--config --console-socket");
    assert_eq!(complete(&["list", "--format", ""]), "table json");
}

#[container_test]
fn a_log_has_levels_and_prefixes() {
    let mut test = TestBundle::new(&["true"]);
    // Something to warn of: nobody makes the cgroup that would have the limit.
    test.config["linux"]["resources"]["pids"] = json!({ "limit": 100 });
    let log = |level: &str| {
        let file = test.beside(level);
        let log = format!("file:{}", file.display());
        let flags = ["--log", &log, "--log-level", level, "--cgroup-manager", "disabled"];
        let path = test.write().path();
        succeed(&test, &[&flags[..], &["run", "--bundle", path.to_str().unwrap(), &test.id]].concat());
        fs::read_to_string(file).unwrap()
    };
    let (error, warning, debug) = (log("error"), log("warning"), log("debug"));
    assert_eq!(error, "");
    assert!(warning.contains("level=warning") && !warning.contains("level=debug"), "{warning}");
    assert!(debug.contains("level=warning") && debug.contains("level=debug"), "{debug}");
}

#[test]
fn journald_and_syslog_take_errors() {
    if !nix::unistd::geteuid().is_root() {
        return skip("mounting over /run needs root");
    }
    let test = TestBundle::new(&["true"]);
    let socket = UnixDatagram::bind(test.beside("socket")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // The daemons' sockets, in a mount namespace of the command's own.
    let script = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && touch /run/systemd/journal/socket \
                  && mount --bind $1 /run/systemd/journal/socket && mount -t tmpfs none /dev && touch /dev/log \
                  && mount --bind $1 /dev/log && exec $2 --root /tmp/none --log $3 state box";
    let entry = |log: &str| {
        let output = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
            .args([test.beside("socket").to_str().unwrap(), CORTEN, log])
            .output()
            .unwrap();
        assert_eq!(one_error(&output), "container does not exist");
        let mut buffer = [0; 1000];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert_eq!(
        entry("journald:box-1"),
        "PRIORITY=3\nSYSLOG_IDENTIFIER=corten\nID=box-1\nMESSAGE=container does not exist\n"
    );
    let syslog = entry("syslog:box-2");
    assert!(syslog.starts_with("<11>box-2[") && syslog.ends_with("]: container does not exist"), "{syslog}");
}

#[test]
fn a_log_that_nobody_takes_is_an_error() {
    let test = TestBundle::new(&["true"]);
    let script = "mount -t tmpfs none /run && exec $1 --root /tmp/none --log journald:x state box";
    if !nix::unistd::geteuid().is_root() {
        return skip("mounting over /run needs root");
    }
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh", CORTEN])
        .current_dir(test.beside(""))
        .output()
        .unwrap();
    let error = one_error(&output);
    assert_eq!(error, "--log: connect to /run/systemd/journal/socket: no such file or directory");
}
