//! Containers of an ordinary user, in a session that systemd keeps: this program does not run as root.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

mod common;

use std::fs;

use common::TestBundle;
use common::vm::{self, CRUN, OURS, RUNC, Runtime};
use serde_json::json;

/// A config as `spec --rootless` writes it, with limits.
fn bundle() -> TestBundle {
    let mut test = TestBundle::new(&["sleep", "1000"]);
    let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    let linux = &mut test.config["linux"];
    linux["uidMappings"] = json!([{ "containerID": 0, "hostID": uid, "size": 1 }]);
    linux["gidMappings"] = json!([{ "containerID": 0, "hostID": gid, "size": 1 }]);
    // The network is the host's: then sysfs is, too, and can only be bound.
    linux["namespaces"] =
        json!(["pid", "ipc", "uts", "mount", "cgroup", "user", "network"].map(|kind| json!({ "type": kind })));
    linux["resources"] = json!({ "memory": { "limit": 64 << 20 }, "pids": { "limit": 50 }, "cpu": { "shares": 512 } });
    let mounts = test.config["mounts"].as_array_mut().unwrap();
    for mount in mounts {
        // The group of terminals is not mapped.
        if let Some(options) = mount["options"].as_array_mut() {
            options.retain(|option| option != "gid=5");
        }
    }
    test
}

/// With systemd's user manager the limits are those that root gets.
fn limits(runtime: Runtime) {
    let mut test = bundle();
    test.config["linux"]["cgroupsPath"] = format!("user.slice:vm:{}", test.id).into();
    let (cgroup, seen) = runtime.look(&test, true, |cgroup| (cgroup.to_owned(), vm::limits(cgroup))).unwrap();
    assert!(cgroup.starts_with("/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/"), "{cgroup:?}");
    let value = |name: &str| seen.get(name).unwrap().as_str();
    assert_eq!((value("memory.max"), value("pids.max"), value("cpu.weight")), ("67108864", "50", "59"));
}

#[test]
fn the_session_may_limit() {
    if vm::in_vm() {
        assert_ne!(nix::unistd::getuid().as_raw(), 0);
        let own = fs::read_to_string("/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers");
        let own = own.unwrap();
        for controller in ["cpuset", "cpu", "io", "memory", "pids"] {
            assert!(own.split_whitespace().any(|name| name == controller), "{controller}: {own}");
        }
    }
}

#[test]
fn runc_limits() {
    if vm::in_vm() {
        limits(RUNC);
    }
}

#[test]
fn crun_limits() {
    if vm::in_vm() {
        limits(CRUN);
    }
}

#[test]
fn limits_are_in_force() {
    if vm::in_vm() {
        limits(OURS);
    }
}
