//! checkpoint and restore, by CRIU: what goes on, what is refused, what is left.
//!
//! They need a CRIU that works on this kernel, in `$PATH`; each test that does says so where there is none.

mod failures;
mod images;
mod restored;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::common::{
    self, CORTEN, TestBundle, cgroup_mounts, corten, fail, quietly, receive, skip, state, stdout, succeed,
    until, vm,
};
use container_test::container_test;
use serde_json::json;

/// Counts in a file and on stdout, faster than anybody looks; ends with 7 when there is a file `stop`.
/// Programs are in subshells, which are forked: newer versions of busybox use vfork(2) for them alone, and
/// CRIU cannot stop a shell whose child it has stopped before its exec.
const COUNT: &str = "i=0; while [ ! -e /tmp/stop ]; do i=$((i+1)); echo $i; echo $i > /tmp/new; (mv /tmp/new /tmp/count); (sleep 0.02); done; exit 7";

/// Whether containers can be dumped here; says why not.
fn can_checkpoint() -> bool {
    let Ok(checked) = Command::new("criu").arg("check").output() else {
        skip("no criu in $PATH (package criu)");
        return false;
    };
    if !checked.status.success() {
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        let error = said.lines().find(|line| line.contains("Error") && !line.contains("exited, status"));
        skip(&format!("this criu does not work on this kernel: {}", error.unwrap_or("no reason given")));
        return false;
    }
    true
}

/// A bundle that counts.
fn counting() -> TestBundle {
    let mut test = TestBundle::new(&["sh", "-c", COUNT]);
    std::os::unix::fs::symlink("busybox", test.rootfs().join("bin/mv")).unwrap();
    test.config["root"]["readonly"] = false.into();
    test
}

fn count(test: &TestBundle) -> u64 {
    fs::read_to_string(test.rootfs().join("tmp/count"))
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}

fn counts_on(test: &TestBundle) {
    let before = count(test);
    until("it does not count", || count(test) > before + 2);
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn images(test: &TestBundle) -> PathBuf {
    test.beside("images")
}

fn run_detached(test: &TestBundle) {
    quietly(test, &["run", "-d", "-b", text(&test.write().path()), &test.id]);
}

fn checkpoint(test: &TestBundle, more: &[&str]) {
    let images = images(test);
    let arguments = [&["checkpoint", "--image-path", text(&images)], more, &[test.id.as_str()]].concat();
    assert_eq!(succeed(test, &arguments), "");
}

fn restore_command(test: &TestBundle, more: &[&str]) -> Command {
    let (images, bundle) = (images(test), test.path());
    corten(
        test,
        &[&["restore", "--image-path", text(&images), "-b", text(&bundle)], more, &[test.id.as_str()]]
            .concat(),
    )
}

fn restore(test: &TestBundle, more: &[&str]) {
    let (images, bundle) = (images(test), test.path());
    let arguments = ["restore", "-d", "--image-path", text(&images), "-b", text(&bundle)];
    quietly(test, &[&arguments, more, &[test.id.as_str()]].concat());
}

fn pid(test: &TestBundle) -> u64 {
    state(test)["pid"].as_u64().unwrap()
}

fn delete(test: &TestBundle, what: &str) {
    succeed(test, &["delete", "--force", &test.id]);
    test.assert_nothing_left(what);
}
