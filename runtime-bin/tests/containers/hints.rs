//! Failures whose cause is known say what can be done about it, at the end of the one line.

use std::process::{Command, Output, Stdio};

use crate::common::{self, CORTEN, TestBundle, one_error, skip};
use container_test::container_test;
use serde_json::json;

/// A bundle for a container in a user namespace of the root of one.
fn nested(change: impl Fn(&mut serde_json::Value)) -> TestBundle {
    let mut test = TestBundle::new(&["true"]);
    let maps = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
    test.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    test.config["linux"]["uidMappings"] = maps.clone();
    test.config["linux"]["gidMappings"] = maps;
    test.config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
    test.config["linux"].as_object_mut().unwrap().remove("resources");
    // A group that is not mapped.
    test.config["mounts"]
        .as_array_mut()
        .unwrap()
        .retain(|mount| mount["type"] == "proc" || mount["type"] == "sysfs");
    change(&mut test.config);
    test
}

/// `corten run` without cgroups, by a shell in namespaces of its own that does something before.
fn run_in(test: &TestBundle, namespaces: &[&str], before: &str) -> Output {
    let path = test.write().path();
    let mut command = Command::new("unshare");
    command.args(namespaces).args(["sh", "-c", &format!("{before}; exec \"$@\""), "sh", CORTEN, "--root"]);
    command
        .arg(test.state_root())
        .args(["--cgroup-manager", "disabled", "run", "-b"])
        .arg(path)
        .arg(&test.id);
    command.stdin(Stdio::null()).output().unwrap()
}

const USER: [&str; 3] = ["--user", "--map-root-user", "--mount"];

/// The hint of the one error.
fn hint(output: &Output) -> String {
    let error = one_error(output);
    let (_, hint) = error.split_once(" (hint: ").unwrap_or_else(|| panic!("no hint: {error}"));
    hint.strip_suffix(')').unwrap_or_else(|| panic!("not at the end: {error}")).to_owned()
}

#[container_test]
fn namespaces_that_are_used_up() {
    let test = nested(|_| {});
    for (file, wanted) in [
        ("max_user_namespaces", "user.max_user_namespaces is 0"),
        ("max_net_namespaces", "user.max_net_namespaces is 0"),
    ] {
        let output = run_in(&test, &USER, &format!("echo 0 > /proc/sys/user/{file}"));
        assert_eq!(hint(&output), wanted);
        test.assert_nothing_left(file);
    }
}

/// Something is mounted over a part of the procfs, as in containers: a new one would show that part.
#[container_test]
fn mounts_that_would_reveal_too_much() {
    let namespaces = [&USER[..], &["--pid", "--fork", "--net"]].concat();
    let test = nested(|_| {});
    let output = run_in(&test, &namespaces, "mount -t proc proc /proc; mount -t tmpfs tmpfs /proc/sys");
    assert!(hint(&output).contains("the kernel mounts proc only where one is visible"), "{output:?}");
    test.assert_nothing_left("proc");
    let test =
        nested(|config| config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] == "sysfs"));
    let output = run_in(&test, &namespaces, "mount -t proc proc /proc; mount -t tmpfs tmpfs /sys/kernel");
    assert!(hint(&output).contains("the kernel mounts sysfs only where one is visible"), "{output:?}");
}

#[container_test]
fn filesystems_of_namespaces_that_are_not_the_containers_own() {
    let without = |kind: &'static str, filesystem: &'static str| {
        nested(move |config| {
            config["linux"]["namespaces"]
                .as_array_mut()
                .unwrap()
                .retain(|namespace| namespace["type"] != kind);
            config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] == filesystem);
        })
    };
    let output = run_in(&without("pid", "proc"), &USER, ":");
    assert!(hint(&output).contains("a new procfs needs a new PID namespace"), "{output:?}");
    let output = run_in(&without("network", "sysfs"), &USER, ":");
    assert!(hint(&output).contains("a new sysfs needs a new network namespace"), "{output:?}");
}

#[container_test]
fn memfds_that_may_not_be_executed() {
    // The parameter belongs to the PID namespace.
    let test = TestBundle::new(&["true"]);
    let before = "mount -t proc proc /proc && echo 2 > /proc/sys/vm/memfd_noexec";
    let output = run_in(&test, &["--mount", "--propagation", "private", "--pid", "--fork"], before);
    if String::from_utf8_lossy(&output.stderr).contains("cannot create") {
        return skip("no vm.memfd_noexec");
    }
    assert!(hint(&output).starts_with("vm.memfd_noexec is 2, "), "{output:?}");
}

#[container_test]
fn processes_that_are_too_many() {
    let test = nested(|config| {
        for maps in ["uidMappings", "gidMappings"] {
            config["linux"][maps][0]["hostID"] = json!(54321);
        }
    });
    test.own_rootfs(54321);
    std::fs::create_dir(test.state_root()).unwrap();
    std::os::unix::fs::chown(test.state_root(), Some(54321), Some(54321)).unwrap();
    let path = test.write().path();
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid",
        "54321",
        "--regid",
        "54321",
        "--clear-groups",
        "prlimit",
        "--nproc=1",
        CORTEN,
        "--root",
    ]);
    command
        .arg(test.state_root())
        .args(["--cgroup-manager", "disabled", "run", "-b"])
        .arg(path)
        .arg(&test.id);
    let Ok(output) = command.stdin(Stdio::null()).output() else { return skip("no setpriv") };
    assert!(hint(&output).starts_with("the limit on processes is reached"), "{output:?}");
}

/// A limit of a controller that the cgroup has not got.
#[container_test]
fn controllers_that_are_not_delegated() {
    let controllers = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers");
    if controllers.as_ref().map_or(true, |list| list.contains("memory")) {
        return skip("not a pure cgroup v2 without the memory controller");
    }
    let mut test = TestBundle::new(&["true"]);
    test.config["linux"]["resources"] = json!({ "memory": { "limit": 1 << 25 } });
    assert!(hint(&common::run(&test)).contains("cgroup.subtree_control"));
    test.config["linux"]["resources"] = json!({});
    common::create(&test);
    let output = common::corten(&test, &["update", "--memory", "64M", &test.id]).output().unwrap();
    assert!(hint(&output).contains("cgroup.subtree_control"), "{output:?}");
    common::succeed(&test, &["delete", "--force", &test.id]);
}

/// What has no known cause has no hint.
#[container_test]
fn no_hint_where_nothing_is_known() {
    let test = TestBundle::new(&["nosuch"]);
    assert!(!one_error(&common::run(&test)).contains("hint"));
}
