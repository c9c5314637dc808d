//! The commands and their messages, exit codes and outputs, as engines know them from runc.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::{
    self, CORTEN, TestBundle, corten, create, create_by, fail, one_error, run, state, stdout, succeed, until,
    wait_for,
};
use container_test::container_test;
use serde_json::{Value, json};

fn status(test: &TestBundle) -> String {
    state(test)["status"].as_str().unwrap().to_owned()
}

#[container_test]
fn create_start_kill_delete() {
    let test = TestBundle::new(&["sleep", "1000"]);
    let pid_file = test.beside("pid");
    create_by(&test, |arguments| {
        let mut command = corten(&test, arguments);
        if arguments[0] == "create" {
            command.arg("--pid-file").arg(&pid_file);
        }
        command
    });
    let pid = fs::read_to_string(pid_file).unwrap();
    let text = succeed(&test, &["state", &test.id]);
    assert!(text.starts_with("{\n  \"ociVersion\"") && !text.ends_with('\n'), "{text}");
    let state: Value = serde_json::from_str(&text).unwrap();
    let keys: Vec<_> = state.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "owner"]);
    assert_eq!(state["pid"].to_string(), pid);
    assert_eq!(state["status"], "created");
    assert_eq!(state["rootfs"], test.rootfs().to_str().unwrap());
    assert_eq!(
        fail(&test, &["create", "--bundle", test.path().to_str().unwrap(), &test.id]),
        "corten create failed: container with given ID already exists"
    );

    assert_eq!(succeed(&test, &["start", &test.id]), "");
    assert_eq!(status(&test), "running");
    assert_eq!(fail(&test, &["start", &test.id]), "cannot start an already running container");
    assert_eq!(
        fail(&test, &["delete", &test.id]),
        format!("cannot delete container {} that is not stopped: running", test.id)
    );
    assert_eq!(fail(&test, &["kill", &test.id, "NOPE"]), "unknown signal \"NOPE\"");
    assert_eq!(succeed(&test, &["kill", &test.id, "SIGKILL"]), "");
    wait_for(&test, "stopped");
    assert_eq!(fail(&test, &["kill", &test.id, "9"]), "container not running");
    assert_eq!(succeed(&test, &["kill", "--all", &test.id, "9"]), "");
    assert_eq!(fail(&test, &["start", &test.id]), "cannot start a container that has stopped");
    assert_eq!(succeed(&test, &["delete", &test.id]), "");
    for command in ["state", "start", "kill", "delete"] {
        assert_eq!(fail(&test, &[command, &test.id]), "container does not exist");
    }
    assert_eq!(succeed(&test, &["delete", "-force", &test.id]), "");
}

#[container_test]
fn a_created_container_is_deleted_without_force() {
    let test = TestBundle::new(&["true"]);
    create(&test);
    assert_eq!(succeed(&test, &["delete", &test.id]), "");
}

#[container_test]
fn a_running_container_is_deleted_by_force() {
    let test = TestBundle::new(&["sleep", "1000"]);
    create(&test);
    succeed(&test, &["start", &test.id]);
    assert_eq!(succeed(&test, &["delete", "--force", &test.id]), "");
}

/// Without a PID namespace, the death of init leaves the others; delete finds them in the cgroup.
#[container_test]
fn processes_of_the_hosts_pid_namespace_are_killed() {
    let mut test = TestBundle::new(&["sh", "-c", "sleep 1000 & sleep 1000 & sleep 1000"]);
    test.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
    create(&test);
    succeed(&test, &["start", &test.id]);
    succeed(&test, &["kill", &test.id, "KILL"]);
    wait_for(&test, "stopped");
    succeed(&test, &["delete", &test.id]);
}

#[container_test]
fn exit_codes_are_passed_on() {
    for (script, code) in
        [("exit 0", 0), ("exit 42", 42), ("kill -9 $$; sleep 1", 137), ("kill -TERM $$; sleep 1", 143)]
    {
        // The first process of a PID namespace ignores its own signals: here it is none.
        let mut test = TestBundle::new(&["sh", "-c", script]);
        test.config["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .retain(|namespace| namespace["type"] != "pid");
        let output = run(&test);
        assert_eq!(output.status.code(), Some(code), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty());
    }
}

#[container_test]
fn missing_programs_are_told_apart() {
    let init = "unable to start container process: error during container init: ";
    for (program, message) in [
        ("nosuch", "exec: \"nosuch\": executable file not found in $PATH"),
        ("/nosuch", "exec: \"/nosuch\": stat /nosuch: no such file or directory"),
        ("/etc", "exec: \"/etc\": is a directory"),
        ("/etc/data", "exec: \"/etc/data\": permission denied"),
        ("data", "exec: \"data\": executable file not found in $PATH"),
    ] {
        let test = TestBundle::new(&[program]);
        fs::write(test.rootfs().join("etc/data"), "data").unwrap();
        let path = test.write().path();
        let path = path.to_str().unwrap();
        assert_eq!(
            fail(&test, &["run", "--bundle", path, &test.id]),
            format!("corten run failed: {init}{message}")
        );
        assert_eq!(
            fail(&test, &["create", "--bundle", path, &test.id]),
            format!("corten create failed: {init}{message}")
        );
    }
}

#[container_test]
fn run_in_the_background() {
    let test = TestBundle::new(&["sh", "-c", "echo out; sleep 1000"]);
    let (path, pid_file, out) = (test.write().path(), test.beside("pid"), test.beside("out"));
    let arguments =
        ["run", "-d", "-b", path.to_str().unwrap(), "-pid-file", pid_file.to_str().unwrap(), &test.id];
    let to = fs::File::create(&out).unwrap();
    assert!(corten(&test, &arguments).stdout(to).stderr(Stdio::null()).status().unwrap().success());
    assert_eq!(status(&test), "running");
    until("it writes nothing", || fs::read_to_string(&out).unwrap() == "out\n");
    let table = succeed(&test, &["list"]);
    let mut lines = table.lines();
    let header: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    let row: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!((row[0], row[2], row[5]), (test.id.as_str(), "running", "root"));
    assert_eq!(row[1], fs::read_to_string(&pid_file).unwrap());
    assert_eq!(succeed(&test, &["list", "-q"]), format!("{}\n", test.id));
    let json: Value = serde_json::from_str(&succeed(&test, &["list", "--format", "json"])).unwrap();
    assert_eq!(json[0]["owner"], "root");
    succeed(&test, &["delete", "--force", &test.id]);
    assert_eq!(succeed(&test, &["list", "--format=json"]), "null\n");
}

/// A container that cannot be read does not hide the others. runc tells of it and goes on.
#[container_test]
fn damaged_containers_do_not_hide_the_others() {
    let test = TestBundle::new(&["true"]);
    create(&test);
    fs::create_dir(test.state_root().join("damaged")).unwrap();
    fs::write(test.state_root().join("damaged/state.json"), "{").unwrap();
    fs::create_dir(test.state_root().join("unfinished")).unwrap();
    fs::write(test.state_root().join("a-file"), "").unwrap();
    let output = corten(&test, &["list", "-q"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{}\n", test.id));
    assert_eq!(output.status.code(), Some(0));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.starts_with("load container damaged: ") && told.lines().count() == 1, "{told}");
    for id in ["damaged", "unfinished", &test.id] {
        succeed(&test, &["delete", "--force", id]);
    }
    fs::remove_file(test.state_root().join("a-file")).unwrap();
}

#[container_test]
fn signals_are_forwarded_in_the_foreground() {
    let test = TestBundle::new(&["sh", "-c", "trap 'exit 9' USR1; echo ready; while :; do sleep 0.1; done"]);
    let path = test.write().path();
    let mut child = corten(&test, &["run", "-b", path.to_str().unwrap(), &test.id])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::SIGUSR1).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

#[test]
fn one_entry_in_the_log() {
    let test = TestBundle::new(&["true"]);
    let log = test.beside("log.json");
    let error = fail(&test, &["--log", log.to_str().unwrap(), "--log-format", "json", "state", "nobody"]);
    let entry: Value = serde_json::from_str(&fs::read_to_string(&log).unwrap()).unwrap();
    assert_eq!((&entry["level"], &entry["msg"]), (&"error".into(), &Value::from(error)));
    assert!(entry["time"].as_str().unwrap().ends_with('Z'));
    // Wrong usage is told there, too.
    for arguments in [&["run", "--frob", "x"][..], &["run"], &["frob"], &["state", "a", "b"]] {
        let log = test.beside("usage.json");
        let flags = ["--log", log.to_str().unwrap(), "--log-format", "json"];
        let output = corten(&test, &[&flags, arguments].concat()).output().unwrap();
        assert!(!output.status.success());
        let text = fs::read_to_string(&log).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
        let entry: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(entry["msg"], String::from_utf8_lossy(&output.stderr).trim_end(), "{arguments:?}");
        fs::remove_file(&log).unwrap();
    }
    let log = test.beside("log.text");
    fail(&test, &["--log", log.to_str().unwrap(), "state", "nobody"]);
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("level=error msg=\"container does not exist\""), "{text}");
}

#[container_test]
fn every_step_is_in_the_log_with_debug() {
    let test = TestBundle::new(&["true"]);
    let (path, log) = (test.write().path(), test.beside("log"));
    let log = log.to_str().unwrap();
    let arguments =
        ["--debug", "--log", log, "--log-format=json", "run", "-b", path.to_str().unwrap(), &test.id];
    assert_eq!(succeed(&test, &arguments), "");
    let text = fs::read_to_string(log).unwrap();
    let entries: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(entries.iter().all(|entry| entry["level"] == "debug"));
    assert!(entries.iter().any(|entry| entry["msg"].as_str().unwrap().contains("CloneInit")), "{text}");
}

/// In both formats, and each once.
#[container_test]
fn what_exec_and_delete_do_is_in_the_log_with_debug() {
    for format in ["text", "json"] {
        let mut test = TestBundle::new(&["sleep", "1000"]);
        test.config["hooks"] = json!({ "poststop": [{ "path": "/bin/true" }] });
        create(&test);
        let (path, id) = (test.beside("log"), test.id.clone());
        let logged = |arguments: &[&str]| {
            fs::write(&path, "").unwrap();
            let global = ["--debug", "--log", path.to_str().unwrap(), "--log-format", format];
            assert_eq!(succeed(&test, &[&global, arguments].concat()), "");
            let text = fs::read_to_string(&path).unwrap();
            let message = |line: &str| match format {
                "json" => {
                    let entry: Value = serde_json::from_str(line).unwrap();
                    assert_eq!(entry["level"], "debug", "{line}");
                    entry["msg"].as_str().unwrap().to_owned()
                }
                _ => line.split_once(" level=debug msg=").unwrap_or_else(|| panic!("{line}")).1.to_owned(),
            };
            text.lines().map(message).collect::<Vec<_>>()
        };
        let expect = |messages: &[String], words: &[&str]| {
            let at = |word: &&str| messages.iter().position(|message| message.contains(word));
            let places: Option<Vec<_>> = words.iter().map(at).collect();
            assert!(places.is_some_and(|places| places.is_sorted()), "{words:?}: {messages:#?}");
        };
        expect(
            &logged(&["exec", &id, "true"]),
            &["OpenInit", "CloneInit", "FollowClone", "Release { point: Ready", "AwaitExec"],
        );
        expect(
            &logged(&["delete", "--force", &id]),
            &["KillInit", "RemoveCgroups", "RemoveDirectory", "RunHooks"],
        );
    }
}

#[test]
fn wrong_usage() {
    let test = TestBundle::new(&["true"]);
    let output = corten(&test, &["frob"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "No help topic for 'frob'\n");
    let output = corten(&test, &["run", "--frob"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("Incorrect Usage: "));
    let output = corten(&test, &["create", "--help"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(fail(&test, &["state", ""]), "container id cannot be empty");
    assert_eq!(fail(&test, &["state", "a/b"]), "invalid container ID format: \"a/b\"");
    for root in ["/", "//", "/.", "/..", "/../."] {
        let refused = std::process::Command::new(CORTEN).args(["--root", root, "list"]).output().unwrap();
        assert_eq!(one_error(&refused), "Option --root argument should not be set to /", "{root}");
    }
    // Go's long flags with one dash.
    let output = corten(&test, &["create", "-no-pivot", "x"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("config.json not found"), "{output:?}");
}

#[test]
fn a_dead_root() {
    let test = TestBundle::new(&["true"]);
    let (path, missing) = (test.write().path(), test.state_root());
    assert_eq!(fail(&test, &["list"]), format!("open {}: no such file or directory", missing.display()));
    fs::write(&missing, "a file").unwrap();
    let error = fail(&test, &["create", "-b", path.to_str().unwrap(), &test.id]);
    assert!(
        error.starts_with("corten create failed: mkdir(") && error.ends_with("not a directory"),
        "{error}"
    );
    fs::remove_file(&missing).unwrap();
}

#[test]
fn versions_and_features() {
    let test = TestBundle::new(&["true"]);
    let version = succeed(&test, &["--version"]);
    let lines: Vec<_> = version.lines().collect();
    assert!(lines[0].starts_with("corten version "), "{version}");
    assert!(lines[1].starts_with("commit: "), "{version}");
    assert_eq!(lines[2], "spec: 1.3.0");
    let features: Value = serde_json::from_str(&succeed(&test, &["features"])).unwrap();
    assert_eq!(features["ociVersionMax"], "1.3.0");
    assert_eq!(features["linux"]["capabilities"].as_array().unwrap().len(), 41);
}

#[test]
fn spec_is_runcs() {
    for flags in [&[][..], &["--rootless"]] {
        compare_spec(flags);
    }
}

fn compare_spec(flags: &[&str]) {
    let test = TestBundle::new(&["true"]);
    let ours = test.beside("ours");
    fs::create_dir(&ours).unwrap();
    let arguments = [&["spec", "--bundle", ours.to_str().unwrap()], flags].concat();
    succeed(&test, &arguments);
    assert_eq!(fail(&test, &arguments), "File config.json exists. Remove it first");
    let theirs = test.beside("theirs");
    fs::create_dir(&theirs).unwrap();
    if std::process::Command::new("runc").arg("spec").args(flags).current_dir(&theirs).status().is_err() {
        return common::skip("no runc to compare `spec` with");
    }
    let read = |directory: &std::path::Path| -> Value {
        serde_json::from_slice(&fs::read(directory.join("config.json")).unwrap()).unwrap()
    };
    let (mut ours, mut theirs) = (read(&ours), read(&theirs));
    for document in [&mut ours, &mut theirs] {
        // Names of the runtime, and what changed between versions of runc.
        document["ociVersion"] = Value::Null;
        document["hostname"] = Value::Null;
        let sets = document["process"]["capabilities"].as_object_mut().unwrap();
        sets.retain(|name, _| ["bounding", "effective", "permitted"].contains(&name.as_str()));
    }
    assert_eq!(ours, theirs);
}

/// The mounts of a rootless config are runc's, and in runc's order: a mount on /sys would hide one below it.
#[test]
fn rootless_spec_is_runcs() {
    let test = TestBundle::new(&["true"]);
    let (ours, theirs) = (test.beside("ours"), test.beside("theirs"));
    for directory in [&ours, &theirs] {
        fs::create_dir(directory).unwrap();
    }
    succeed(&test, &["spec", "--rootless", "--bundle", ours.to_str().unwrap()]);
    if std::process::Command::new("runc").args(["spec", "--rootless"]).current_dir(&theirs).status().is_err()
    {
        return common::skip("no runc to compare `spec --rootless` with");
    }
    let [ours, theirs] = [ours, theirs].map(|directory| -> Value {
        serde_json::from_slice(&fs::read(directory.join("config.json")).unwrap()).unwrap()
    });
    let sys = |document: &Value| document["mounts"][5]["destination"].clone();
    // runc 1.1.5 and later put the bind mount of /sys before that of /sys/fs/cgroup.
    assert_eq!((sys(&ours), sys(&theirs)), (json!("/sys"), json!("/sys")));
    assert_eq!(ours["mounts"], theirs["mounts"]);
    for member in ["uidMappings", "gidMappings", "resources"] {
        assert_eq!(ours["linux"][member], theirs["linux"][member]);
    }
}

/// Engines always pass it; only what makes a cgroup needs a systemd.
#[test]
fn a_missing_systemd_is_an_error_where_it_matters() {
    if Path::new("/run/dbus/system_bus_socket").exists() {
        println!("skipped: there may be a systemd");
        return;
    }
    let test = TestBundle::new(&["true"]);
    let path = test.write().path();
    for command in ["create", "run"] {
        let said = fail(&test, &["--systemd-cgroup", command, "-b", path.to_str().unwrap(), &test.id]);
        assert!(said.starts_with(&format!("corten {command} failed: cannot reach systemd")), "{said}");
    }
    assert_eq!(fail(&test, &["--systemd-cgroup", "state", &test.id]), "container does not exist");
    succeed(&test, &["--systemd-cgroup", "delete", "--force", &test.id]);
}

#[container_test]
fn run_keeps_a_stopped_container() {
    let test = TestBundle::new(&["sh", "-c", "exit 3"]);
    let path = test.write().path();
    let arguments = ["run", "--keep", "--no-subreaper", "-b", path.to_str().unwrap(), &test.id];
    assert_eq!(corten(&test, &arguments).status().unwrap().code(), Some(3));
    let state: Value = serde_json::from_str(&succeed(&test, &["state", &test.id])).unwrap();
    assert_eq!((&state["status"], &state["pid"]), (&json!("stopped"), &json!(0)));
    succeed(&test, &["delete", &test.id]);
}

/// The log is appended to, with one entry for each failure and none for a success.
#[container_test]
fn a_failed_create_makes_one_entry() {
    let test = TestBundle::new(&["nosuch"]);
    let (path, log) = (test.write().path(), test.beside("log.json"));
    let create = |id: &str| {
        let log = ["--log", log.to_str().unwrap(), "-log-format=json"];
        fail(&test, &[&log[..], &["create", "-b", path.to_str().unwrap(), id]].concat())
    };
    let errors = [create(&test.id), create(&test.id)];
    let entries: Vec<Value> =
        fs::read_to_string(&log).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let messages: Vec<_> = entries.iter().map(|entry| entry["msg"].as_str().unwrap()).collect();
    assert_eq!(messages, errors);
    succeed(&test, &["--log", log.to_str().unwrap(), "features"]);
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 2);
}

#[container_test]
fn plan_prints_both_halves() {
    let test = TestBundle::new(&["true"]);
    let path = test.write().path();
    let text = succeed(&test, &["plan", "-b", path.to_str().unwrap()]);
    for part in [
        "decisions:",
        "host: what the runtime does",
        "CloneInit",
        "inside: what init does",
        "mounts[0]",
        "AttachRoot",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json: Value =
        serde_json::from_str(&succeed(&test, &["plan", "-b", path.to_str().unwrap(), "--format", "json"]))
            .unwrap();
    for half in ["host", "inside"] {
        let steps = json[half].as_array().unwrap();
        assert!(steps.len() > 8);
        assert!(
            steps.iter().all(|step| !step["item"].as_str().unwrap().is_empty() && step["step"].is_string())
        );
    }
}

#[test]
fn output_goes_on_when_nobody_reads() {
    let test = TestBundle::new(&["true"]);
    let mut child =
        corten(&test, &["features"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(stdout(&output), "");
}

/// Frozen processes die, too: of a paused container, and in a cgroup below that nobody would thaw.
#[container_test]
fn frozen_containers_are_deleted_by_force() {
    let test = TestBundle::new(&["sleep", "1000"]);
    for is_below in [false, true] {
        let pid = create(&test);
        if is_below {
            freeze_below(pid);
        } else {
            succeed(&test, &["pause", &test.id]);
        }
        let start = Instant::now();
        succeed(&test, &["delete", "--force", &test.id]);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}, is_below {is_below}", start.elapsed());
        test.assert_nothing_left("frozen");
    }
}

/// Moves a process into a cgroup below its own, and freezes that.
fn freeze_below(pid: u32) {
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path =
        |hierarchy: &str| cgroups.lines().find_map(|line| line.split_once(hierarchy)).map(|(_, path)| path);
    // A v1 hierarchy may be there without being mounted, as in a pure v2 mount namespace of a hybrid machine.
    let (directory, file, value) =
        match path(":freezer:/").filter(|_| Path::new("/sys/fs/cgroup/freezer").exists()) {
            Some(path) => (Path::new("/sys/fs/cgroup/freezer").join(path), "freezer.state", "FROZEN"),
            None => (Path::new("/sys/fs/cgroup").join(path("0::/").unwrap()), "cgroup.freeze", "1"),
        };
    let below = directory.join("below");
    fs::create_dir(&below).unwrap();
    fs::write(below.join("cgroup.procs"), pid.to_string()).unwrap();
    fs::write(below.join(file), value).unwrap();
}
