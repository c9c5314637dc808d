//! Limits: each is felt by a process that would go beyond it, wherever its controller is; `update`; what is
//! left of cgroups.

mod devices;
mod felt;
mod processes;
mod updates;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::{
    self, TestBundle, Variant, cgroup_mounts, corten, create, create_by, fail, one_error, quietly, run, skip,
    state, stdout, succeed, until, wait_for,
};
use container_test::container_test;
use serde_json::{Value, json};

const MIB: i64 = 1 << 20;

/// Where the limits of a controller are.
struct Controller {
    directory: PathBuf,
    legacy: bool,
}

impl Controller {
    /// Looks for the controller: in a v1 hierarchy, else in cgroup v2.
    fn find(test: &TestBundle, name: &str) -> Option<Self> {
        let legacy = Path::new("/sys/fs/cgroup").join(name);
        let root = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { "" } else { "unified" };
        let unified = Path::new("/sys/fs/cgroup").join(root);
        let is_legacy = legacy.join("cgroup.procs").exists();
        let v2 = if name == "blkio" { "io" } else { name };
        let listed = fs::read_to_string(unified.join("cgroup.controllers")).unwrap_or_default();
        if !is_legacy && !listed.split_whitespace().any(|listed| listed == v2) {
            skip(&format!("no controller {name}"));
            return None;
        }
        let mount_point = if is_legacy { legacy } else { unified };
        Some(Self { directory: mount_point.join(&test.id), legacy: is_legacy })
    }

    /// The same, if it is in a v1 hierarchy.
    fn legacy(test: &TestBundle, name: &str) -> Option<Self> {
        let found = Self::find(test, name)?;
        if !found.legacy {
            skip(&format!("the controller {name} is not in a v1 hierarchy"));
        }
        Some(found).filter(|found| found.legacy)
    }

    fn read(&self, file: &str) -> String {
        let path = self.directory.join(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}")).trim_end().to_owned()
    }

    /// The value of a key in a file of lines.
    fn count(&self, file: &str, key: &str) -> u64 {
        let text = self.read(file);
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {key} in {text}")).parse().unwrap()
    }
}

/// A container with these limits.
fn bundle(resources: &Value, args: &[&str]) -> TestBundle {
    let mut test = TestBundle::new(args);
    for (name, value) in resources.as_object().unwrap() {
        test.config["linux"]["resources"][name] = value.clone();
    }
    test
}

fn start(test: &TestBundle) {
    create(test);
    succeed(test, &["start", &test.id]);
}

/// Runs the container in the foreground, and leaves its cgroups for a look.
fn run_and_keep(test: &TestBundle) -> Output {
    let path = test.write().path();
    corten(test, &["run", "--keep", "--bundle", path.to_str().unwrap(), &test.id]).output().unwrap()
}

fn delete(test: &TestBundle) {
    assert_eq!(succeed(test, &["delete", "--force", &test.id]), "");
    test.assert_nothing_left("after delete");
}

fn update(test: &TestBundle, flags: &[&str]) -> String {
    succeed(test, &[&["update"], flags, &[&test.id]].concat())
}

/// A container of two processes that may have no more, in a user namespace or not.
fn full(capabilities: &[&str], mapped: bool) -> TestBundle {
    let mut test = bundle(&json!({ "pids": { "limit": 2 } }), &["sh", "-c", "sleep 1000 & exec sleep 1000"]);
    let all = [&["CAP_KILL"], capabilities].concat();
    for set in ["bounding", "effective", "permitted"] {
        test.config["process"]["capabilities"][set] = json!(all);
    }
    if mapped {
        test.map_ids();
    }
    test
}

/// `corten update -r -`.
fn from_stdin(test: &TestBundle, resources: &Value) {
    let mut child = corten(test, &["update", "-r", "-", &test.id]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(resources.to_string().as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// The limits that the state remembers.
fn recorded(test: &TestBundle) -> Value {
    let file = test.state_root().join(&test.id).join("state.json");
    let record: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    record["resources"].clone()
}

/// Controllers in v1 hierarchies, all of them or none.
fn controllers<const N: usize>(test: &TestBundle, names: [&str; N]) -> Option<[Controller; N]> {
    let found: Vec<_> = names.into_iter().map_while(|name| Controller::legacy(test, name)).collect();
    found.try_into().ok()
}

/// What `corten ps` lists.
fn processes(test: &TestBundle) -> Vec<u64> {
    let listed: Option<_> =
        serde_json::from_str(&succeed(test, &["ps", "--format", "json", &test.id])).unwrap();
    listed.unwrap_or_default()
}
