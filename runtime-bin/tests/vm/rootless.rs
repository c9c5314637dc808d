//! Containers of an ordinary user, in a session that systemd keeps: this program does not run as root.

use std::fs;
use std::path::PathBuf;

use crate::common::vm::{self, CRUN, OURS, RUNC, Runtime};
use crate::common::{self, TestBundle};
use serde_json::json;

/// A config as `spec --rootless` writes it, with limits.
fn bundle() -> TestBundle {
    let mut test = TestBundle::new(&["sleep", "1000"]).of_any_runtime();
    let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    let linux = &mut test.config["linux"];
    linux["uidMappings"] = json!([{ "containerID": 0, "hostID": uid, "size": 1 }]);
    linux["gidMappings"] = json!([{ "containerID": 0, "hostID": gid, "size": 1 }]);
    // The network is the host's: then sysfs is, too, and can only be bound.
    linux["namespaces"] = json!(
        ["pid", "ipc", "uts", "mount", "cgroup", "user", "network"].map(|kind| json!({ "type": kind }))
    );
    linux["resources"] =
        json!({ "memory": { "limit": 64 << 20 }, "pids": { "limit": 50 }, "cpu": { "shares": 512 } });
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
        let own = fs::read_to_string(
            "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers",
        );
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

/// Runs a process in the container, and returns the cgroup that it is in.
fn exec(test: &TestBundle, flags: &[&str]) -> PathBuf {
    let pid = test.beside("exec-pid");
    let detached = ["exec", "--detach", "--pid-file", pid.to_str().unwrap()];
    common::quietly(test, &[&detached, flags, &[&test.id, "sleep", "1000"]].concat());
    vm::cgroup(fs::read_to_string(pid).unwrap().trim())
}

/// Who joins is in a cgroup of another subtree, out of which only systemd can move it: the caller is in a
/// service, beside the slice of containers. Nobody has to say `--systemd-cgroup` again.
#[test]
fn processes_join_the_unit() {
    if !vm::in_vm() {
        return;
    }
    let mut test = bundle();
    test.config["linux"]["cgroupsPath"] = format!("user.slice:vm:{}", test.id).into();
    let created = OURS.create(&test, true).unwrap();
    let plain = |arguments: &[&str]| common::succeed(&test, &[arguments, &[test.id.as_str()]].concat());
    plain(&["start"]);
    assert_eq!(exec(&test, &[]), created.cgroup);
    fs::create_dir(created.cgroup.join("below")).unwrap();
    assert_eq!(exec(&test, &["--cgroup", "below"]), created.cgroup.join("below"));
    assert_eq!(common::succeed(&test, &["exec", &test.id, "cat", "/proc/self/cgroup"]), "0::/\n");
    let error = common::corten(&test, &["exec", "--cgroup", "none", &test.id, "true"]).output().unwrap();
    let error = String::from_utf8_lossy(&error.stderr).into_owned();
    assert!(error.contains(&format!("(vm-{}.scope/none)", test.id)), "{error}");
    plain(&["pause"]);
    assert_eq!(fs::read_to_string(created.cgroup.join("cgroup.events")).unwrap(), "populated 1\nfrozen 1\n");
    plain(&["resume"]);
    plain(&["update", "--pids-limit", "60"]);
    assert_eq!(fs::read_to_string(created.cgroup.join("pids.max")).unwrap(), "60\n");
    plain(&["delete", "--force"]);
    let unit = created.cgroup.file_name().unwrap().to_str().unwrap();
    let left = vm::said("systemctl", &["--user", "show", "--value", "-p", "LoadState", unit]);
    assert_eq!((left.trim(), created.cgroup.exists()), ("not-found", false));
}
