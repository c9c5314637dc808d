//! Commands for which the machine has too few fds, too little memory, or no space: they say so, and leave
//! nothing behind. `cargo xtask faults` does the same to every kernel call.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::common::{self, CORTEN, TestBundle, corten, create, one_error, state, succeed};
use container_test::container_test;
use serde_json::json;

/// Few enough to fail at the first of them, and enough to get through at the last.
const FDS: std::ops::RangeInclusive<u32> = 6..=60;

/// Runs a command with a limit of a shell's `ulimit`.
fn limited(test: &TestBundle, limit: &str, words: &[&str]) -> Output {
    let corten = corten(test, words);
    let mut command = Command::new("/bin/sh");
    command
        .arg("-c")
        .arg(format!("ulimit {limit}; exec \"$@\""))
        .args(["sh", CORTEN])
        .args(corten.get_args());
    // What a container keeps open is no pipe of this test's.
    let (out, err) = (test.beside("out"), test.beside("err"));
    let files = [&out, &err].map(|path| File::create(path).unwrap());
    let [stdout, stderr] = files;
    let status = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).status().unwrap();
    Output { status, stdout: std::fs::read(out).unwrap(), stderr: std::fs::read(err).unwrap() }
}

/// A bundle whose own limits need no fds.
fn bundle(args: &[&str]) -> TestBundle {
    let mut test = TestBundle::new(args);
    test.config["process"]["rlimits"] = json!([]);
    test.write();
    test
}

#[container_test]
fn a_create_with_few_fds_leaves_nothing() {
    let test = bundle(&["sleep", "1000"]);
    let (path, mut failed) = (test.path(), 0);
    for count in FDS {
        let output =
            limited(&test, &format!("-n {count}"), &["create", "--bundle", path.to_str().unwrap(), &test.id]);
        if output.status.success() {
            succeed(&test, &["delete", "--force", &test.id]);
        } else {
            failed += 1;
            one_error(&output);
        }
        test.assert_nothing_left(&format!("{count} fds"));
    }
    assert!(failed > 10, "no more than {failed} failed");
}

#[container_test]
fn a_run_with_few_fds_leaves_nothing_or_a_container_that_is_known() {
    let test = bundle(&["true"]);
    let path = test.path();
    for count in FDS {
        let output =
            limited(&test, &format!("-n {count}"), &["run", "--bundle", path.to_str().unwrap(), &test.id]);
        if !output.status.success() {
            one_error(&output);
            // It has run, and could not be removed.
            if corten(&test, &["state", &test.id]).output().unwrap().status.success() {
                succeed(&test, &["delete", &test.id]);
            }
        }
        test.assert_nothing_left(&format!("{count} fds"));
    }
}

#[container_test]
fn a_create_with_too_little_memory_is_removed() {
    let test = bundle(&["sleep", "1000"]);
    let path = test.path();
    let starts = |kib: &u32| limited(&test, &format!("-v {kib}"), &["--version"]).status.success();
    let enough = (1..200).map(|step| step * 1024).find(starts).unwrap();
    let (mut made, mut failed) = (0, 0);
    for kib in (enough - 1024..enough + 1024).step_by(16) {
        let output =
            limited(&test, &format!("-v {kib}"), &["create", "--bundle", path.to_str().unwrap(), &test.id]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            made += 1;
            assert_eq!(state(&test)["status"], "created", "{kib} KiB: {stderr}");
        } else {
            failed += 1;
            // The C library complains before the program begins, and what the kernel cannot load says
            // nothing.
            let says_why =
                stderr.contains("memory") || stderr.contains("allocate") || output.status.signal().is_some();
            assert!(says_why && !stderr.contains("panicked"), "{kib} KiB: {}: {stderr}", output.status);
        }
        succeed(&test, &["delete", "--force", &test.id]);
        test.assert_nothing_left(&format!("{kib} KiB"));
    }
    assert!(made > 10 && failed > 10, "{made} made, {failed} failed");
}

#[container_test]
fn an_exec_with_few_fds_leaves_no_process() {
    let test = bundle(&["sleep", "1000"]);
    create(&test);
    succeed(&test, &["start", &test.id]);
    let processes = || succeed(&test, &["ps", "--format", "json", &test.id]);
    let before = processes();
    for count in FDS {
        let output = limited(&test, &format!("-n {count}"), &["exec", &test.id, "true"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() || stderr.lines().count() == 1,
            "{count} fds: {:?} {stderr}",
            output.status
        );
        common::until(&format!("{count} fds: a process is left"), || processes() == before);
    }
    succeed(&test, &["delete", "--force", &test.id]);
}

/// A record that is longer than files may be stands for one that the disk has no room for.
#[container_test]
fn an_update_that_cannot_be_written_down_changes_nothing() {
    let mut test = bundle(&["sleep", "1000"]);
    let limits = |test: &TestBundle| {
        let files = ["pids/ID/pids.max", "unified/ID/pids.max", "ID/pids.max"]
            .map(|file| file.replace("ID", &test.id));
        files.iter().find_map(|file| std::fs::read_to_string(Path::new("/sys/fs/cgroup").join(file)).ok())
    };
    test.config["linux"]["resources"]["pids"] = json!({ "limit": 100 });
    let hybrid = Path::new("/sys/fs/cgroup/pids").exists();
    let listed = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    if !hybrid && !listed.split_whitespace().any(|name| name == "pids") {
        return common::skip("no controller pids");
    }
    test.write();
    create(&test);
    succeed(&test, &["start", &test.id]);
    let update = |before: &str, limit: &str| {
        let corten = corten(&test, &["update", "--pids-limit", limit, &test.id]);
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(format!("{before} exec \"$@\"")).args(["sh", CORTEN]).args(corten.get_args());
        command.output().unwrap()
    };
    let state = || std::fs::read_to_string(test.state_root().join(&test.id).join("state.json")).unwrap();
    assert!(update("", "90").status.success());
    let (before, limit) = (state(), limits(&test));
    assert_eq!(limit.as_deref(), Some("90\n"));
    let error = one_error(&update("trap '' XFSZ; ulimit -f 0;", "80"));
    assert!(error.contains("state.json.new") && error.contains("file too large"), "{error}");
    assert_eq!((state(), limits(&test)), (before, limit));
    // What it has left is in nobody's way.
    assert!(update("", "70").status.success());
    assert_eq!(limits(&test).as_deref(), Some("70\n"));
    succeed(&test, &["delete", "--force", &test.id]);
}
