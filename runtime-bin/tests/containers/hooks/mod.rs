//! Hooks: when each kind runs, with what, and what comes of those that fail.

mod elsewhere;
mod failures;
mod order;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{
    self, CORTEN, TestBundle, Variant, corten, create, fail, one_error, receive, state, stdout, succeed,
    wait_for,
};
use container_test::container_test;
use serde_json::{Value, json};

const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
/// What every failure of a container that cannot be made begins with.
const NOT_MADE: &str = "unable to start container process: error during container init: ";
const NAMESPACES: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

/// A bundle with a directory that hooks of every kind can write to: `$D` in their scripts.
fn bundle(args: &[&str]) -> TestBundle {
    let mut test = TestBundle::new(args);
    let out = out(&test);
    fs::create_dir(&out).unwrap();
    fs::set_permissions(&out, PermissionsExt::from_mode(0o777)).unwrap();
    let mount = json!({ "destination": "/out", "source": out, "type": "bind", "options": ["bind"] });
    test.config["mounts"].as_array_mut().unwrap().push(mount);
    fs::create_dir(test.rootfs().join("out")).unwrap();
    // Written to by root and by the roots of containers.
    fs::write(out.join("order"), "").unwrap();
    fs::set_permissions(out.join("order"), PermissionsExt::from_mode(0o666)).unwrap();
    test
}

fn out(test: &TestBundle) -> PathBuf {
    test.beside("out")
}

/// The same program is at the same path on the host and in the rootfs.
fn hook(test: &TestBundle, kind: &str, script: &str) -> Value {
    let directory =
        if kind == "startContainer" { "/out".to_owned() } else { out(test).display().to_string() };
    let script = format!("D={directory}; K={kind}; {script}");
    json!({ "path": "/bin/busybox", "args": ["sh", "-c", script] })
}

fn add(test: &mut TestBundle, kind: &str, script: &str) {
    let hook = hook(test, kind, script);
    push(test, kind, hook);
}

fn push(test: &mut TestBundle, kind: &str, hook: Value) {
    let list = &mut test.config["hooks"][kind];
    if list.is_null() {
        *list = json!([]);
    }
    list.as_array_mut().unwrap().push(hook);
}

/// What hooks have written to a file of the directory; empty if none has.
fn written(test: &TestBundle, name: &str) -> String {
    fs::read_to_string(out(test).join(name)).unwrap_or_default()
}

fn lines(test: &TestBundle, name: &str) -> Vec<String> {
    written(test, name).lines().map(str::to_owned).collect()
}

/// A command on the bundle whose stdio the container may keep.
fn detached(test: &TestBundle, arguments: &[&str]) -> Command {
    let path = test.write().path();
    let mut command = corten(test, arguments);
    command.args(["--bundle", path.to_str().unwrap(), &test.id]).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn namespaces(process: &str) -> Vec<String> {
    let link =
        |name: &&str| fs::read_link(format!("/proc/{process}/ns/{name}")).unwrap().display().to_string();
    NAMESPACES.iter().map(link).collect()
}

fn error_of(test: &TestBundle, arguments: &[&str]) -> String {
    let began = Instant::now();
    // Into a file: what a container may keep would keep a pipe open.
    let errors = test.beside("errors");
    let status = detached(test, arguments).stderr(fs::File::create(&errors).unwrap()).status().unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let said = fs::read_to_string(errors).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    said.trim_end().to_owned()
}
