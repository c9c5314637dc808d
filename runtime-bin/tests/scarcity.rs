//! Commands for which the machine has too few fds, too little memory, or no space: they say so, and leave nothing behind.
//! `cargo xtask faults` does the same to every kernel call.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

mod common;

use std::fs::File;
use std::process::{Command, Output, Stdio};

use common::{CORTEN, TestBundle, can_make_containers, corten, create, one_error, succeed};
use serde_json::json;

/// Few enough to fail at the first of them, and enough to get through at the last.
const FDS: std::ops::RangeInclusive<u32> = 6..=60;

/// Runs a command with a limit of a shell's `ulimit`.
fn limited(test: &TestBundle, limit: &str, words: &[&str]) -> Output {
    let corten = corten(test, words);
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(format!("ulimit {limit}; exec \"$@\"")).args(["sh", CORTEN]).args(corten.get_args());
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

#[test]
fn a_create_with_few_fds_leaves_nothing() {
    if !can_make_containers() {
        return;
    }
    let test = bundle(&["sleep", "1000"]);
    let (path, mut failed) = (test.path(), 0);
    for count in FDS {
        let output = limited(&test, &format!("-n {count}"), &["create", "--bundle", path.to_str().unwrap(), &test.id]);
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

#[test]
fn a_run_with_few_fds_leaves_nothing_or_a_container_that_is_known() {
    if !can_make_containers() {
        return;
    }
    let test = bundle(&["true"]);
    let path = test.path();
    for count in FDS {
        let output = limited(&test, &format!("-n {count}"), &["run", "--bundle", path.to_str().unwrap(), &test.id]);
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

#[test]
fn a_create_with_too_little_memory_is_removed() {
    if !can_make_containers() {
        return;
    }
    let test = bundle(&["sleep", "1000"]);
    let path = test.path();
    let starts = |kib: &u32| limited(&test, &format!("-v {kib}"), &["--version"]).status.success();
    let enough = (1..200).map(|step| step * 1024).find(starts).unwrap();
    for kib in (enough - 1024..enough + 1024).step_by(64) {
        limited(&test, &format!("-v {kib}"), &["create", "--bundle", path.to_str().unwrap(), &test.id]);
        succeed(&test, &["delete", "--force", &test.id]);
        test.assert_nothing_left(&format!("{kib} KiB"));
    }
}

#[test]
fn an_exec_with_few_fds_leaves_no_process() {
    if !can_make_containers() {
        return;
    }
    let test = bundle(&["sleep", "1000"]);
    create(&test);
    succeed(&test, &["start", &test.id]);
    let processes = || succeed(&test, &["ps", "--format", "json", &test.id]);
    let before = processes();
    for count in FDS {
        let output = limited(&test, &format!("-n {count}"), &["exec", &test.id, "true"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || stderr.lines().count() == 1, "{count} fds: {:?} {stderr}", output.status);
        common::until(&format!("{count} fds: a process is left"), || processes() == before);
    }
    succeed(&test, &["delete", "--force", &test.id]);
    test.assert_nothing_left("all");
}
