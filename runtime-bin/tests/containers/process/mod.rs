//! What `process` and its neighbours ask for, seen from inside: of root, and in a user namespace.

mod limits;
mod privileges;
mod program;
mod surroundings;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::sleeper::Sleeper;
use crate::common::{
    self, CORTEN, MAPPED_ROOT, TestBundle, Variant, corten, create, one_error, run, skip, stdout, succeed,
};
use container_test::container_test;
use nix::libc;
use serde_json::{Value, json};

/// A bundle that runs a script.
fn shell(script: &str) -> TestBundle {
    TestBundle::new(&["sh", "-c", script])
}

/// Runs the same bundle of root and in a user namespace; `check` gets what it printed.
fn both(script: &str, change: impl Fn(&mut TestBundle), check: impl Fn(&str)) {
    for mapped in [false, true] {
        let mut test = shell(script);
        if mapped {
            test.map_ids();
        }
        change(&mut test);
        let output = run(&test);
        assert!(output.status.success(), "mapped: {mapped}: {}", String::from_utf8_lossy(&output.stderr));
        check(&stdout(&output));
        test.assert_nothing_left(script);
    }
}

/// Runs a bundle that must fail; returns the line.
fn refused(test: &TestBundle) -> String {
    let error = one_error(&run(test));
    test.assert_nothing_left(&error);
    error
}

/// `corten run` of the bundle behind another program, which ends by executing it.
fn run_behind(test: &TestBundle, before: &[&str]) -> Output {
    let path = test.write().path();
    let mut command = Command::new(before[0]);
    command.args(&before[1..]).arg(CORTEN).arg("--root").arg(test.state_root()).args(["run", "-b"]);
    command.arg(path).arg(&test.id).stdin(Stdio::null()).output().unwrap()
}

/// Whether a program of the host is there; says so if not.
fn has(program: &str) -> bool {
    let found =
        std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|path| path.join(program).exists());
    if !found {
        skip(&format!("no {program}"));
    }
    found
}

/// `NAME:` of a file like `/proc/self/status`.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim()
}

fn capability_bits(names: &[&str]) -> u64 {
    let number = |name: &str| match name {
        "CAP_CHOWN" => 0,
        "CAP_DAC_OVERRIDE" => 1,
        "CAP_KILL" => 5,
        "CAP_SETGID" => 6,
        "CAP_SETUID" => 7,
        "CAP_NET_BIND_SERVICE" => 10,
        other => panic!("{other}"),
    };
    names.iter().fold(0, |bits, name| bits | 1 << number(name))
}
