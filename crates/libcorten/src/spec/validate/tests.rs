//! Configs that are refused, and the field that the error names.

use std::time::Instant;

use serde_json::{Value, json};

use super::*;
use crate::ErrorKind::{self, InvalidConfig, Unsupported};

/// A small config that is valid.
fn base() -> Value {
    json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sh"]},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "uts"}, {"type": "ipc"}, {"type": "network"}]}
    })
}

/// Returns the config with the value at `path` (`process.args`) put there; null removes it.
fn with(path: &str, value: Value) -> Value {
    let mut config = base();
    let mut place = &mut config;
    let (parents, last) = path.rsplit_once('.').unwrap_or(("", path));
    for name in parents.split('.').filter(|name| !name.is_empty()) {
        place = place.as_object_mut().expect("an object").entry(name).or_insert_with(|| json!({}));
    }
    let object = place.as_object_mut().expect("an object");
    if value.is_null() {
        drop(object.remove(last))
    } else {
        drop(object.insert(last.to_owned(), value))
    }
    config
}

fn judge(config: &Value) -> Result<(), SpecError> {
    let text = config.to_string();
    validate(&super::super::parse(text.as_bytes()).expect(&text))
}

fn accepts(path: &str, values: &[Value]) {
    for value in values {
        let verdict = judge(&with(path, value.clone()));
        assert!(verdict.is_ok(), "{path} = {value}: {}", verdict.expect_err("an error"));
    }
}

fn refuses(cases: &[(&str, Value, ErrorKind, &str)]) {
    for (path, value, kind, message) in cases {
        let error = judge(&with(path, value.clone())).expect_err(path);
        assert_eq!((error.to_string().as_str(), error.kind()), (*message, *kind), "{path} = {value}");
    }
}

#[test]
fn the_small_config_is_valid() {
    judge(&base()).expect("valid");
}

#[test]
fn version_root_and_process() {
    accepts("process", &[Value::Null]);
    accepts(
        "ociVersion",
        &["1.0.0", "1.3.0", "1.0.2-dev", "1.1.0+dev", "1.0.0-rc5", "1.2.3-a.b+c.d"].map(Value::from),
    );
    accepts("ociVersion", &["1.0", "1", "0.5.0-dev", "0.1"].map(Value::from));
    refuses(&[
        ("ociVersion", Value::Null, InvalidConfig, "ociVersion: must be given"),
        (
            "ociVersion",
            json!("2.0.0"),
            InvalidConfig,
            "ociVersion: must be a version 0.x.y or 1.x.y, found \"2.0.0\"",
        ),
        (
            "ociVersion",
            json!("1."),
            InvalidConfig,
            "ociVersion: must be a version 0.x.y or 1.x.y, found \"1.\"",
        ),
        (
            "ociVersion",
            json!("abc"),
            InvalidConfig,
            "ociVersion: must be a version 0.x.y or 1.x.y, found \"abc\"",
        ),
        (
            "ociVersion",
            json!("1.0.0.0"),
            InvalidConfig,
            "ociVersion: must be a version 0.x.y or 1.x.y, found \"1.0.0.0\"",
        ),
        (
            "ociVersion",
            json!("1.x.0"),
            InvalidConfig,
            "ociVersion: must be a version 0.x.y or 1.x.y, found \"1.x.0\"",
        ),
        ("root", Value::Null, InvalidConfig, "root: must be given"),
        ("root.path", json!(""), InvalidConfig, "root.path: must not be empty"),
        ("root.path", Value::Null, InvalidConfig, "root.path: must not be empty"),
        ("process.args", Value::Null, InvalidConfig, "process.args: must not be empty"),
        ("process.args", json!([]), InvalidConfig, "process.args: must not be empty"),
        ("process.cwd", json!(""), InvalidConfig, "process.cwd: must not be empty"),
        ("process.cwd", json!("a"), InvalidConfig, "process.cwd: must be an absolute path, found \"a\""),
    ]);
}

#[test]
fn process_values() {
    accepts("process.env", &[json!([]), json!(["A=b", "A=", "A==", "A=b=c"])]);
    accepts("process.user.umask", &[json!(0), json!(0o777)]);
    accepts("process.consoleSize", &[json!({}), json!({"height": 0, "width": 65535})]);
    accepts("process.rlimits", &[json!([{"type": "RLIMIT_NOFILE", "soft": 1, "hard": u64::MAX}])]);
    accepts("process.oomScoreAdj", &[json!(-1000), json!(1000)]);
    accepts(
        "process.capabilities",
        &[
            json!({}),
            json!({"effective": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN", "CAP_KILL"]}),
            // runc: an ambient capability that cannot be had is dropped.
            json!({"ambient": ["CAP_CHOWN"]}),
        ],
    );
    let id = "must be at least 0 and at most 4294967294, found 4294967295";
    let assignment = "must have the form NAME=VALUE, found";
    let limits = json!([
        {"type": "RLIMIT_CPU", "soft": 1, "hard": 2},
        {"type": "RLIMIT_AS", "soft": 1, "hard": 2},
        {"type": "RLIMIT_CPU", "soft": 1, "hard": 2},
    ]);
    refuses(&[
        ("process.env", json!(["A=b", "C"]), InvalidConfig, &format!("process.env[1]: {assignment} \"C\"")),
        ("process.env", json!(["=b"]), InvalidConfig, &format!("process.env[0]: {assignment} \"=b\"")),
        ("process.env", json!([""]), InvalidConfig, &format!("process.env[0]: {assignment} \"\"")),
        ("process.user.uid", json!(u32::MAX), InvalidConfig, &format!("process.user.uid: {id}")),
        ("process.user.gid", json!(u32::MAX), InvalidConfig, &format!("process.user.gid: {id}")),
        (
            "process.user.additionalGids",
            json!([0, u32::MAX]),
            InvalidConfig,
            &format!("process.user.additionalGids[1]: {id}"),
        ),
        (
            "process.user.umask",
            json!(0o1000),
            InvalidConfig,
            "process.user.umask: must be at least 0 and at most 511, found 512",
        ),
        (
            "process.consoleSize",
            json!({"height": 65536}),
            InvalidConfig,
            "process.consoleSize.height: must be at least 0 and at most 65535, found 65536",
        ),
        (
            "process.consoleSize",
            json!({"width": u64::MAX}),
            InvalidConfig,
            "process.consoleSize.width: must be at least 0 and at most 65535, found 18446744073709551615",
        ),
        (
            "process.rlimits",
            limits,
            InvalidConfig,
            "process.rlimits[2]: has been given before, as process.rlimits[0]",
        ),
        (
            "process.rlimits",
            json!([{"type": "RLIMIT_CPU", "soft": 3, "hard": 2}]),
            InvalidConfig,
            "process.rlimits[0]: the soft limit 3 of RLIMIT_CPU is above the hard limit 2",
        ),
        (
            "process.oomScoreAdj",
            json!(-1001),
            InvalidConfig,
            "process.oomScoreAdj: must be at least -1000 and at most 1000, found -1001",
        ),
        (
            "process.capabilities",
            json!({"effective": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL"]}),
            InvalidConfig,
            "process.capabilities.effective: CAP_CHOWN is not in process.capabilities.permitted",
        ),
    ]);
}

#[test]
fn namespaces_and_names() {
    let long = "x".repeat(65);
    accepts("linux", &[Value::Null]);
    accepts("linux.namespaces", &[json!([{"type": "pid"}]), json!([])]);
    accepts("hostname", &[json!(""), json!("a"), json!("x".repeat(64))]);
    refuses(&[
        ("hostname", json!(long), InvalidConfig, "hostname: must be at most 64 bytes long, found 65"),
        ("domainname", json!(long), InvalidConfig, "domainname: must be at most 64 bytes long, found 65"),
        (
            "linux.namespaces",
            json!([{"type": "pid"}, {"type": "mount"}, {"type": "pid"}]),
            InvalidConfig,
            "linux.namespaces[2]: has been given before, as linux.namespaces[0]",
        ),
    ]);
    for field in ["hostname", "domainname"] {
        let mut config = with(field, json!("a"));
        config["linux"]["namespaces"] = json!([{"type": "mount"}]);
        let error = judge(&config).expect_err("the host's name");
        assert_eq!(error.to_string(), format!("{field}: needs a namespace of type uts in linux.namespaces"));
    }
}

#[test]
fn mounts() {
    accepts(
        "mounts",
        &[
            json!([]),
            json!([{"destination": "/a", "type": "tmpfs"}]),
            json!([{"destination": "a", "type": "tmpfs"}, {"destination": "/a/../../b", "type": "tmpfs"}]),
            json!([{"destination": "/a", "source": "/b", "type": "bind"}]),
            json!([{"destination": "/a", "source": "b", "options": ["rbind", "ro"]}]),
            json!([{"destination": "/a", "options": ["remount", "ro"]}]),
        ],
    );
    let root = "mounts[0].destination: the root of the container cannot be the target of a mount, found";
    refuses(&[
        ("mounts", json!([{"destination": ""}]), InvalidConfig, "mounts[0].destination: must not be empty"),
        ("mounts", json!([{"destination": "/", "type": "tmpfs"}]), InvalidConfig, &format!("{root} \"/\"")),
        (
            "mounts",
            json!([{"destination": "/a/../..", "type": "tmpfs"}]),
            InvalidConfig,
            &format!("{root} \"/a/../..\""),
        ),
        ("mounts", json!([{"destination": ".", "type": "tmpfs"}]), InvalidConfig, &format!("{root} \".\"")),
        ("mounts", json!([{"destination": "/a"}]), InvalidConfig, "mounts[0].type: must be given"),
        (
            "mounts",
            json!([{"destination": "/a", "type": "bind"}]),
            InvalidConfig,
            "mounts[0].source: must be given",
        ),
        (
            "mounts",
            json!([{"destination": "/a", "type": "proc"}, {"destination": "/b", "options": ["bind"], "source": ""}]),
            InvalidConfig,
            "mounts[1].source: must be given",
        ),
    ]);
    let words =
        ["", "shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable", "runbindable"]
            .map(Value::from);
    accepts("linux.rootfsPropagation", &words);
    refuses(&[(
        "linux.rootfsPropagation",
        json!("rw"),
        InvalidConfig,
        "linux.rootfsPropagation: must be one of shared, rshared, slave, rslave, private, rprivate, unbindable, \
         runbindable, found \"rw\"",
    )]);
}

#[test]
fn sysctls() {
    let keys = [
        ("kernel.msgmax", "ipc"),
        ("kernel.msgmnb", "ipc"),
        ("kernel.msgmni", "ipc"),
        ("kernel.sem", "ipc"),
        ("kernel/shmall", "ipc"),
        ("kernel.shmmax", "ipc"),
        ("kernel.shmmni", "ipc"),
        ("kernel.shm_rmid_forced", "ipc"),
        ("kernel.domainname", "uts"),
        ("fs.mqueue.msg_max", "ipc"),
        ("net.ipv4.ip_forward", "network"),
        ("net/ipv4/conf/eth0.100/rp_filter", "network"),
    ];
    for (key, namespace) in keys {
        let mut config = with("linux.sysctl", json!({key: "1"}));
        judge(&config).expect(key);
        config["linux"]["namespaces"] = json!([{"type": "mount"}]);
        let error = judge(&config).expect_err(key).to_string();
        assert_eq!(
            error,
            format!("linux.sysctl[{key:?}]: needs a namespace of type {namespace} in linux.namespaces")
        );
    }
    let cases = [
        ("kernel.hostname", "conflicts with the field hostname, which sets it"),
        ("kernel.core_pattern", "is not in a separate kernel namespace"),
        ("kernel.msgmax.x", "is not in a separate kernel namespace"),
        ("vm.swappiness", "is not in a separate kernel namespace"),
        ("fs.mqueue", "is not in a separate kernel namespace"),
        ("netx.a", "is not in a separate kernel namespace"),
        ("net/../kernel/core_pattern", "is not a name of a file below /proc/sys"),
        ("net.//.kernel.core_pattern", "is not a name of a file below /proc/sys"),
        ("net..a", "is not a name of a file below /proc/sys"),
        ("", "is not a name of a file below /proc/sys"),
        ("user.max_user_namespaces", "needs a namespace of type user in linux.namespaces"),
    ];
    for (key, problem) in cases {
        let error = judge(&with("linux.sysctl", json!({key: "1", "net.z": "0"}))).expect_err(key);
        assert_eq!(error.to_string(), format!("linux.sysctl[{key:?}]: {problem}"));
    }
}

#[test]
fn devices_and_paths() {
    let node = json!({"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o2_0666});
    accepts(
        "linux.devices",
        &[
            json!([node, node]),
            json!([{"path": "/a", "type": "p", "major": -1}]),
            json!([{"path": "/a", "type": "u", "major": 4095, "minor": 1_048_575}]),
        ],
    );
    let device = |name: &str, value: Value| {
        let mut device = node.clone();
        device[name] = value;
        json!([device])
    };
    let range = |field: &str, max: i64, found: i64| {
        format!("linux.devices[0].{field}: must be at least 0 and at most {max}, found {found}")
    };
    refuses(&[
        (
            "linux.devices",
            device("path", json!("")),
            InvalidConfig,
            "linux.devices[0].path: must not be empty",
        ),
        (
            "linux.devices",
            device("path", json!("/..")),
            InvalidConfig,
            "linux.devices[0].path: the root of the container cannot be the target of a mount, found \"/..\"",
        ),
        (
            "linux.devices",
            device("type", json!("a")),
            InvalidConfig,
            "linux.devices[0].type: must be one of c, b, u, p, found \"a\"",
        ),
        ("linux.devices", device("major", json!(4096)), InvalidConfig, &range("major", 4095, 4096)),
        ("linux.devices", device("minor", json!(-1)), InvalidConfig, &range("minor", 1_048_575, -1)),
        ("linux.devices", device("fileMode", json!(65536)), InvalidConfig, &range("fileMode", 65535, 65536)),
        (
            "linux.devices",
            json!([node, {"path": "/dev/../dev//null", "type": "c", "major": 1, "minor": 5}]),
            InvalidConfig,
            "linux.devices[1].path: \"/dev/../dev//null\" is another device already, linux.devices[0]",
        ),
        ("linux.readonlyPaths", json!([""]), InvalidConfig, "linux.readonlyPaths[0]: must not be empty"),
        ("linux.maskedPaths", json!([""]), InvalidConfig, "linux.maskedPaths[0]: must not be empty"),
    ]);
}

#[test]
fn device_rules() {
    accepts(
        "linux.resources.devices",
        &[
            json!([{"allow": false, "access": "rwm"}]),
            json!([{"allow": true, "type": "a", "major": -1, "minor": -1, "access": "r"}]),
            json!([{"allow": true, "type": "b", "major": 8, "minor": 4_294_967_295_u32, "access": "mw"}]),
            json!([{"allow": true, "access": "rwmx"}, {"access": "rr"}]),
        ],
    );
    let field = "linux.resources.devices";
    refuses(&[
        (field, json!([{"allow": true}]), InvalidConfig, &format!("{field}[0].access: must not be empty")),
        (
            field,
            json!([{"access": "RX"}]),
            InvalidConfig,
            &format!("{field}[0].access: must be one of r, w, m, found \"RX\""),
        ),
        (
            field,
            json!([{"access": "r", "type": "u"}]),
            InvalidConfig,
            &format!("{field}[0].type: must be one of a, c, b, found \"u\""),
        ),
        (
            field,
            json!([{"access": "r", "major": -2}]),
            InvalidConfig,
            &format!("{field}[0].major: must be at least -1 and at most 4294967295, found -2"),
        ),
        (
            field,
            json!([{"access": "r", "minor": u64::from(u32::MAX) + 1}]),
            InvalidConfig,
            &format!("{field}[0].minor: must be at least -1 and at most 4294967295, found 4294967296"),
        ),
        (
            field,
            json!([{"access": "r"}, {"access": "r", "type": "p"}]),
            InvalidConfig,
            &format!("{field}[1].type: must be one of a, c, b, found \"p\""),
        ),
    ]);
}

#[test]
fn seccomp() {
    let profile = |syscall: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [syscall]});
    let notify = |name: &str, path: &str| {
        let syscall = json!({"names": [name], "action": "SCMP_ACT_NOTIFY"});
        json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "syscalls": [syscall]})
    };
    let arg = |index: u64| {
        let arg = json!({"index": index, "value": 0, "op": "SCMP_CMP_EQ"});
        profile(json!({"names": ["a"], "action": "SCMP_ACT_ERRNO", "args": [arg]}))
    };
    accepts("linux.seccomp", &[json!({"defaultAction": "SCMP_ACT_ERRNO"}), arg(5)]);
    refuses(&[
        (
            "linux.seccomp",
            profile(json!({"names": [], "action": "SCMP_ACT_ERRNO"})),
            InvalidConfig,
            "linux.seccomp.syscalls[0].names: must not be empty",
        ),
        (
            "linux.seccomp",
            profile(json!({"names": ["a", ""], "action": "SCMP_ACT_ERRNO"})),
            InvalidConfig,
            "linux.seccomp.syscalls[0].names[1]: must not be empty",
        ),
        (
            "linux.seccomp",
            arg(6),
            InvalidConfig,
            "linux.seccomp.syscalls[0].args[0].index: must be at least 0 and at most 5, found 6",
        ),
        (
            "linux.seccomp",
            json!({"defaultAction": "SCMP_ACT_NOTIFY"}),
            InvalidConfig,
            "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be used as default action",
        ),
        (
            "linux.seccomp",
            notify("write", "/a"),
            InvalidConfig,
            "linux.seccomp.syscalls[0].action: SCMP_ACT_NOTIFY cannot be used for the write syscall",
        ),
        (
            "linux.seccomp",
            notify("read", ""),
            InvalidConfig,
            "linux.seccomp.syscalls[0].action: SCMP_ACT_NOTIFY needs linux.seccomp.listenerPath",
        ),
        (
            "linux.seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "a"}),
            InvalidConfig,
            "linux.seccomp.listenerMetadata: is of use with linux.seccomp.listenerPath only",
        ),
    ]);
    accepts(
        "linux.seccomp",
        &[
            notify("read", "/a"),
            // The spec: ignored if nothing notifies.
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/a", "listenerMetadata": "a"}),
        ],
    );
    let mut config = with("linux.seccomp", notify("read", ""));
    for (receiver, expected) in [
        ("/a", None),
        ("", Some("linux.seccomp.syscalls[0].action: SCMP_ACT_NOTIFY needs linux.seccomp.listenerPath")),
        ("a", Some("annotations[\"run.oci.seccomp.receiver\"]: must be an absolute path, found \"a\"")),
    ] {
        config["annotations"] = json!({"run.oci.seccomp.receiver": receiver});
        assert_eq!(judge(&config).err().map(|error| error.to_string()).as_deref(), expected);
    }
    // It is not asked for when there is a path.
    config["linux"]["seccomp"]["listenerPath"] = json!("/a");
    judge(&config).expect("a path");
}

#[test]
fn no_string_may_contain_a_nul() {
    let nul = "a\0b";
    let cases = [
        ("ociVersion", json!(nul), "ociVersion"),
        ("hostname", json!(nul), "hostname"),
        ("domainname", json!(nul), "domainname"),
        ("root.path", json!(nul), "root.path"),
        ("annotations", json!({"k": nul}), "annotations[\"k\"]"),
        ("annotations", json!({nul: "v"}), "annotations[\"a\\0b\"]"),
        ("process.cwd", json!("/\0"), "process.cwd"),
        ("process.args", json!(["a", nul]), "process.args[1]"),
        ("process.env", json!(["a=\0"]), "process.env[0]"),
        ("process.user.username", json!(nul), "process.user.username"),
        ("process.apparmorProfile", json!(nul), "process.apparmorProfile"),
        ("process.selinuxLabel", json!(nul), "process.selinuxLabel"),
        ("mounts", json!([{"destination": "/\0"}]), "mounts[0].destination"),
        ("mounts", json!([{"destination": "/a", "type": nul}]), "mounts[0].type"),
        ("mounts", json!([{"destination": "/a", "source": nul}]), "mounts[0].source"),
        ("mounts", json!([{"destination": "/a", "options": ["ro", nul]}]), "mounts[0].options[1]"),
        ("linux.sysctl", json!({"net.a": nul}), "linux.sysctl[\"net.a\"]"),
        ("linux.sysctl", json!({"net.\0": "1"}), "linux.sysctl[\"net.\\0\"]"),
        ("linux.cgroupsPath", json!(nul), "linux.cgroupsPath"),
        ("linux.namespaces", json!([{"type": "pid", "path": nul}]), "linux.namespaces[0].path"),
        ("linux.devices", json!([{"path": "/\0", "type": "c"}]), "linux.devices[0].path"),
        ("linux.maskedPaths", json!(["/\0"]), "linux.maskedPaths[0]"),
        ("linux.readonlyPaths", json!(["/\0"]), "linux.readonlyPaths[0]"),
        ("linux.rootfsPropagation", json!(nul), "linux.rootfsPropagation"),
        ("linux.mountLabel", json!(nul), "linux.mountLabel"),
        ("hooks", json!({"prestart": [{"path": "/a"}, {"path": "/\0"}]}), "hooks.prestart[1].path"),
        ("hooks", json!({"poststop": [{"path": "/a", "args": [nul]}]}), "hooks.poststop[0].args[0]"),
        (
            "hooks",
            json!({"startContainer": [{"path": "/a", "env": ["A=\0"]}]}),
            "hooks.startContainer[0].env[0]",
        ),
        ("linux.netDevices", json!({nul: {}}), "linux.netDevices[\"a\\0b\"]"),
        ("linux.netDevices", json!({"a": {"name": nul}}), "linux.netDevices[\"a\"].name"),
        ("linux.timeOffsets", json!({nul: {}}), "linux.timeOffsets[\"a\\0b\"]"),
        ("linux.intelRdt", json!({"closID": nul}), "linux.intelRdt.closID"),
        ("linux.intelRdt", json!({"schemata": ["a", nul]}), "linux.intelRdt.schemata[1]"),
        ("linux.intelRdt", json!({"l3CacheSchema": nul}), "linux.intelRdt.l3CacheSchema"),
        ("linux.intelRdt", json!({"memBwSchema": nul}), "linux.intelRdt.memBwSchema"),
        ("linux.memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": nul}), "linux.memoryPolicy.nodes"),
        ("linux.personality", json!({"domain": "LINUX", "flags": [nul]}), "linux.personality.flags[0]"),
        (
            "linux.seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": nul}),
            "linux.seccomp.listenerPath",
        ),
        (
            "linux.seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": nul}),
            "linux.seccomp.listenerMetadata",
        ),
        (
            "linux.seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [nul], "action": "SCMP_ACT_LOG"}]}),
            "linux.seccomp.syscalls[0].names[0]",
        ),
    ];
    for (path, value, field) in cases {
        let error = judge(&with(path, value)).expect_err(path);
        assert_eq!(error.to_string(), format!("{field}: must not contain a NUL byte"));
        assert_eq!(error.kind(), InvalidConfig);
    }
}

#[test]
fn what_asks_for_nothing_is_accepted() {
    accepts("hooks", &[json!({}), json!({"prestart": [], "poststop": []})]);
    accepts("process.apparmorProfile", &[json!(""), json!("unconfined"), json!("docker-default")]);
    accepts("process.selinuxLabel", &[json!(""), json!("a:b:c")]);
    accepts("process.execCPUAffinity", &[json!({})]);
    accepts("linux.mountLabel", &[json!("")]);
    accepts("linux.timeOffsets", &[json!({})]);
    accepts("linux.netDevices", &[json!({})]);
    accepts("linux.uidMappings", &[json!([])]);
    accepts("linux.intelRdt", &[json!({}), json!({"closID": ""})]);
    accepts("linux.personality", &[json!({"domain": "LINUX32", "flags": []})]);
    accepts("mounts", &[json!([{"destination": "/a", "type": "tmpfs", "options": ["tmpcopyup"]}])]);
    accepts("linux.namespaces", &[json!([{"type": "mount", "path": ""}])]);
    accepts(
        "linux.resources",
        &[
            json!({}),
            json!({"memory": {}, "cpu": {}, "pids": {}, "blockIO": {}, "network": {}}),
            json!({
                "memory": {"limit": 0, "swap": 0, "reservation": 0, "disableOOMKiller": false, "useHierarchy": true},
                "cpu": {"shares": 0, "quota": 0, "period": 0, "idle": 0, "cpus": "", "mems": ""},
                "pids": {"limit": -1},
                "blockIO": {"weight": 0, "leafWeight": 0, "weightDevice": []},
                "hugepageLimits": [], "rdma": {}, "unified": {},
                "network": {"classID": 0, "priorities": []},
            }),
        ],
    );
    accepts(
        "mounts",
        &[json!([{"destination": "/a", "type": "tmpfs", "uidMappings": [], "gidMappings": []}])],
    );
    accepts("unknown", &[json!({"a": [1, 2]})]);
}

#[test]
fn limits_are_in_their_ranges() {
    let refused = [
        ("memory", json!({"limit": -2}), "memory.limit: must be at least -1"),
        ("memory", json!({"swap": -9}), "memory.swap: must be at least -1"),
        ("memory", json!({"reservation": -2}), "memory.reservation: must be at least -1"),
        ("memory", json!({"swappiness": 101}), "memory.swappiness: must be at least 0 and at most 100"),
        ("cpu", json!({"idle": 2}), "cpu.idle: must be at least 0 and at most 1"),
        ("blockIO", json!({"weight": 9}), "blockIO.weight: must be at least 10 and at most 1000"),
        ("blockIO", json!({"leafWeight": 1001}), "blockIO.leafWeight: must be"),
        (
            "blockIO",
            json!({"weightDevice": [{"major": -1, "minor": 0, "weight": 10}]}),
            "blockIO.weightDevice[0].major:",
        ),
        (
            "blockIO",
            json!({"weightDevice": [{"major": 1, "minor": 0, "weight": 7}]}),
            "blockIO.weightDevice[0].weight:",
        ),
        (
            "blockIO",
            json!({"throttleReadIOPSDevice": [{"major": 8, "minor": -3, "rate": 1}]}),
            "blockIO.throttleReadIOPSDevice[0].minor:",
        ),
        (
            "hugepageLimits",
            json!([{"pageSize": "2M", "limit": 0}]),
            "hugepageLimits[0].pageSize: must be a size",
        ),
        (
            "hugepageLimits",
            json!([{"pageSize": "02MB", "limit": 0}]),
            "hugepageLimits[0].pageSize: must be a size",
        ),
        (
            "hugepageLimits",
            json!([{"pageSize": "2MB", "limit": -1}]),
            "hugepageLimits[0].limit: must be at least 0",
        ),
    ];
    for (section, value, message) in refused {
        let error = judge(&with(&format!("linux.resources.{section}"), value)).expect_err(message);
        assert!(error.to_string().starts_with(&format!("linux.resources.{message}")), "{error}");
        assert_eq!(error.kind(), InvalidConfig);
    }
    accepts(
        "linux.resources.memory",
        &[json!({"limit": -1, "swap": -1, "swappiness": u64::MAX}), json!({"limit": 0})],
    );
    accepts("linux.resources.cpu", &[json!({"shares": 0, "quota": -1, "idle": 1, "cpus": "", "mems": "0"})]);
    accepts(
        "linux.resources.blockIO",
        &[json!({"weight": 0}), json!({"weight": 10}), json!({"weight": 1000})],
    );
    accepts("linux.resources.hugepageLimits", &[json!([{"pageSize": "1GB", "limit": u64::MAX}])]);
    accepts("linux.resources.pids", &[json!({"limit": 0}), json!({"limit": -1}), json!({})]);
}

#[test]
fn what_is_not_supported_is_named() {
    let other = [
        ("windows", json!({"layerFolders": ["a"]}), "windows: a container for Windows is not supported"),
        ("solaris", json!({}), "solaris: a container for Solaris is not supported"),
        ("zos", json!({}), "zos: a container for z/OS is not supported"),
        ("vm", json!({"kernel": {"path": "/a"}}), "vm: a virtual machine is not supported"),
        (
            "linux.personality",
            json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}),
            "linux.personality.flags: a personality flag is not supported",
        ),
    ];
    for (path, value, message) in other {
        let error = judge(&with(path, value)).expect_err(message);
        assert_eq!((error.to_string().as_str(), error.kind()), (message, Unsupported));
    }
}

#[test]
fn what_is_wrong_comes_before_what_is_not_supported() {
    let mut config = with("vm", json!({"kernel": {"path": "/a"}}));
    config["process"]["cwd"] = json!("a");
    assert_eq!(judge(&config).expect_err("both").kind(), InvalidConfig);
}

/// Puts `members` into `linux`, with this namespace added.
fn with_namespace(namespace: Value, members: Value) -> Value {
    let mut config = base();
    config["linux"]["namespaces"].as_array_mut().expect("a list").push(namespace);
    let Value::Object(members) = members else { panic!("an object") };
    config["linux"].as_object_mut().expect("an object").extend(members);
    config
}

fn verdict(config: &Value) -> String {
    judge(config).map_or_else(
        |error| {
            assert_eq!(error.kind(), InvalidConfig, "{error}");
            error.to_string()
        },
        |()| "valid".to_owned(),
    )
}

#[test]
fn hooks() {
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        let field = format!("hooks.{kind}");
        accepts(
            &field,
            &[
                json!([{"path": "/a"}]),
                json!([{"path": "/a", "args": [], "env": [], "timeout": 1}]),
                json!([{"path": "/a", "args": ["a", ""], "env": ["A=", "B=c=d"], "timeout": i64::MAX}]),
            ],
        );
        let hooks = |hook: Value| json!([{"path": "/a"}, hook]);
        refuses(&[
            (
                &field,
                hooks(json!({"path": ""})),
                InvalidConfig,
                &format!("{field}[1].path: must not be empty"),
            ),
            (
                &field,
                hooks(json!({"path": "bin/a"})),
                InvalidConfig,
                &format!("{field}[1].path: must be an absolute path, found \"bin/a\""),
            ),
            (
                &field,
                hooks(json!({"path": "/a", "timeout": 0})),
                InvalidConfig,
                &format!("{field}[1].timeout: must be greater than zero, found 0"),
            ),
            (
                &field,
                hooks(json!({"path": "/a", "timeout": -3})),
                InvalidConfig,
                &format!("{field}[1].timeout: must be greater than zero, found -3"),
            ),
            (
                &field,
                hooks(json!({"path": "/a", "env": ["A=b", "C"]})),
                InvalidConfig,
                &format!("{field}[1].env[1]: must have the form NAME=VALUE, found \"C\""),
            ),
        ]);
    }
}

#[test]
fn namespace_paths() {
    for typ in ["pid", "user", "cgroup", "time"] {
        let joined = |path: &str| with_namespace(json!({"type": typ, "path": path}), json!({}));
        assert_eq!(verdict(&joined("/proc/1/ns/x")), "valid");
        let error = "linux.namespaces[4].path: must be an absolute path, found \"proc/1/ns/x\"";
        assert_eq!(verdict(&joined("proc/1/ns/x")), error);
    }
    accepts("linux.namespaces", &[json!([{"type": "mount", "path": "/proc/1/ns/mnt"}])]);
}

#[test]
fn user_namespaces() {
    let map = |entries: &[(u32, u32, u32)]| -> Value {
        let entry =
            |&(inside, outside, size)| json!({"containerID": inside, "hostID": outside, "size": size});
        entries.iter().map(entry).collect()
    };
    let user = || json!({"type": "user"});
    let joined = || json!({"type": "user", "path": "/proc/1/ns/user"});
    let root = map(&[(0, 1000, 10)]);
    let both =
        |entries: &[(u32, u32, u32)]| json!({"uidMappings": map(entries), "gidMappings": map(entries)});
    let many = |count: u32| (0..count).map(|n| (n, 2 * n, 1)).collect::<Vec<_>>();
    // The kernel takes less than a page, which has 4 KiB where these tests run.
    let long = |count: u32| (0..count).map(|n| (n, 4_000_000_000 + 2 * n, 1)).collect::<Vec<_>>();

    let none = "user namespaces enabled, but no namespace path to join nor mappings to apply specified";
    let no_mount = "a user namespace without a mount namespace can mount nothing";
    let no_namespace = "user namespace mappings specified, but user namespace isn't enabled in the config";
    let cases = [
        (with_namespace(user(), both(&[(0, 1000, 10)])), "valid".to_owned()),
        (with_namespace(user(), both(&[(0, 0, u32::MAX)])), "valid".to_owned()),
        (with_namespace(user(), both(&[(5, 0, 1), (0, 1, 5), (6, 6, 1)])), "valid".to_owned()),
        (with_namespace(user(), both(&many(340))), "valid".to_owned()),
        (with_namespace(joined(), json!({})), "valid".to_owned()),
        (with_namespace(joined(), both(&[(1, 1, 1)])), "valid".to_owned()),
        (with_namespace(user(), json!({})), format!("linux.uidMappings: {none}")),
        (with("linux.namespaces", json!([joined()])), format!("linux.namespaces: {no_mount}")),
        (with_namespace(user(), json!({"uidMappings": root, "gidMappings": []})), format!("linux.gidMappings: {none}")),
        (with_namespace(user(), json!({"gidMappings": root})), format!("linux.uidMappings: {none}")),
        (with("linux.uidMappings", root.clone()), format!("linux.uidMappings: {no_namespace}")),
        (with("linux.gidMappings", root.clone()), format!("linux.gidMappings: {no_namespace}")),
        (
            with_namespace(user(), json!({"uidMappings": root, "gidMappings": map(&[(0, 0, 1), (1, 1, 0)])})),
            "linux.gidMappings[1].size: must be at least 1 and at most 4294967295, found 0".to_owned(),
        ),
        (
            with_namespace(user(), both(&[(0, 0, 1), (u32::MAX, 1, 1)])),
            "linux.uidMappings[1].containerID: 1 IDs from 4294967295 on end above 4294967294, the last ID".to_owned(),
        ),
        (
            with_namespace(joined(), both(&[(0, 1, u32::MAX)])),
            "linux.uidMappings[0].hostID: 4294967295 IDs from 1 on end above 4294967294, the last ID".to_owned(),
        ),
        (
            with_namespace(user(), both(&[(5, 0, 2), (0, 10, 6)])),
            "linux.uidMappings[1].containerID: has IDs that linux.uidMappings[0] has, too".to_owned(),
        ),
        (
            with_namespace(user(), both(&[(0, 10, 5), (9, 3, 1), (5, 14, 2)])),
            "linux.uidMappings[2].hostID: has IDs that linux.uidMappings[0] has, too".to_owned(),
        ),
        (
            with_namespace(user(), both(&many(341))),
            "linux.uidMappings: must have at most 340 entries, found 341".to_owned(),
        ),
        (with_namespace(user(), both(&long(240))), "valid".to_owned()),
        (with_namespace(joined(), both(&long(300))), "valid".to_owned()),
        (
            with_namespace(user(), both(&long(300))),
            "linux.uidMappings: must have at most 4095 bytes as the kernel gets it, a line for each entry, found 4990"
                .to_owned(),
        ),
    ];
    for (config, expected) in cases {
        assert_eq!(verdict(&config), expected, "{config}");
    }
}

#[test]
fn ids_of_the_process() {
    let maps = json!({
        "uidMappings": [{"containerID": 1000, "hostID": 5, "size": 2}, {"containerID": 7, "hostID": 0, "size": 1}],
        "gidMappings": [{"containerID": 100, "hostID": 0, "size": 10}],
    });
    let config = |user: Value, path: &str| {
        let mut config = with_namespace(json!({"type": "user", "path": path}), maps.clone());
        config["process"]["user"] = user;
        config
    };
    let cases = [
        // Unlike in runc, root need not be mapped.
        (json!({"uid": 1001, "gid": 100, "additionalGids": [109]}), "valid"),
        (json!({"uid": 7, "gid": 105}), "valid"),
        (
            json!({"uid": 0, "gid": 100}),
            "process.user.uid: cannot setuid to unmapped uid 0 in user namespace",
        ),
        (
            json!({"uid": 1002, "gid": 100}),
            "process.user.uid: cannot setuid to unmapped uid 1002 in user namespace",
        ),
        (
            json!({"uid": 8, "gid": 100}),
            "process.user.uid: cannot setuid to unmapped uid 8 in user namespace",
        ),
        (
            json!({"uid": 7, "gid": 99}),
            "process.user.gid: cannot setgid to unmapped gid 99 in user namespace",
        ),
        (
            json!({"uid": 7, "gid": 100, "additionalGids": [100, 110]}),
            "process.user.additionalGids[1]: cannot setgid to unmapped gid 110 in user namespace",
        ),
    ];
    for (user, expected) in cases {
        assert_eq!(verdict(&config(user.clone(), "")), expected, "{user}");
        // What the mappings of a namespace are that exists, only the host knows.
        assert_eq!(verdict(&config(user.clone(), "/proc/1/ns/user")), "valid", "{user}");
    }
    let mut kept = config(json!({"uid": 7, "gid": 100, "additionalGids": [5]}), "");
    kept["annotations"] = json!({"run.oci.keep_original_groups": "1"});
    assert_eq!(verdict(&kept), "valid");
    kept["annotations"] = json!({"run.oci.keep_original_groups": "0"});
    assert!(verdict(&kept).starts_with("process.user.additionalGids[0]: "));
}

#[test]
fn time_offsets() {
    let time = |path: &str, offsets: Value| {
        with_namespace(json!({"type": "time", "path": path}), json!({ "timeOffsets": offsets }))
    };
    let offsets = json!({"monotonic": {"secs": -1, "nanosecs": 999_999_999}, "boottime": {}});
    let cases = [
        (time("", json!({})), "valid"),
        (time("", offsets.clone()), "valid"),
        (time("/proc/1/ns/time", json!({})), "valid"),
        (
            time("/proc/1/ns/time", offsets.clone()),
            "linux.timeOffsets: time namespace enabled, but both namespace path and time offsets specified -- you may \
             only provide one",
        ),
        (
            with("linux.timeOffsets", offsets),
            "linux.timeOffsets: time namespace offsets specified, but time namespace isn't enabled in the config",
        ),
        (
            time("", json!({"realtime": {}})),
            "linux.timeOffsets[\"realtime\"]: must be one of monotonic, boottime, found \"realtime\"",
        ),
        (
            time("", json!({"boottime": {"nanosecs": 1_000_000_000}})),
            "linux.timeOffsets.boottime.nanosecs: must be at least 0 and at most 999999999, found 1000000000",
        ),
    ];
    for (config, expected) in cases {
        assert_eq!(verdict(&config), expected, "{config}");
    }
}

#[test]
fn net_devices() {
    let field = "linux.netDevices";
    accepts(
        field,
        &[
            json!({"eth0": {}, "eth1": {"name": "eth2"}, "eth2": {"name": "eth1"}}),
            json!({"fifteen_bytes_x": {"name": ""}, "...": {"name": "a%d"}}),
        ],
    );
    let rule = "must be 1 to 15 bytes without slash, colon and white space, and not . or .., found";
    let long = "sixteen_bytes_xx";
    for name in ["", ".", "..", "a/b", "a:b", "a b", "a\tb", "a\n", "\u{b}", "\u{e0}", long] {
        let message = format!("{field}[{name:?}]: {rule} {name:?}");
        refuses(&[(field, json!({name: {}}), InvalidConfig, &message)]);
        if name.is_empty() {
            continue;
        }
        let message = format!("{field}[\"eth0\"].name: {rule} {name:?}");
        refuses(&[(field, json!({"eth0": {"name": name}}), InvalidConfig, &message)]);
    }
    for devices in [json!({"a": {"name": "c"}, "b": {"name": "c"}}), json!({"a": {"name": "b"}, "b": {}})] {
        let message = format!("{field}[\"b\"].name: has been given before, as {field}[\"a\"]");
        refuses(&[(field, devices, InvalidConfig, &message)]);
    }
    let mut config = with(field, json!({"eth0": {}}));
    config["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "network", "path": "/proc/1/ns/net"}]);
    assert_eq!(verdict(&config), "valid");
    config["linux"]["namespaces"] = json!([{"type": "mount"}]);
    assert_eq!(verdict(&config), format!("{field}: needs a namespace of type network in linux.namespaces"));
}

#[test]
fn schedulers() {
    let field = "process.scheduler";
    accepts(
        field,
        &[
            json!({"policy": "SCHED_OTHER", "nice": -20, "priority": 0, "runtime": 0}),
            json!({"policy": "SCHED_BATCH", "nice": 19, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}),
            json!({"policy": "SCHED_IDLE", "nice": 100}),
            json!({"policy": "SCHED_ISO"}),
            json!({"policy": "SCHED_FIFO", "priority": 1}),
            json!({"policy": "SCHED_RR", "priority": 99, "nice": 100}),
            json!({"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3}),
        ],
    );
    let nice = "process.scheduler.nice: must be at least -20 and at most 19, found";
    let priority = "process.scheduler.priority: must be at least 1 and at most 99, found";
    let real_time = "process.scheduler.priority: can only be specified for the policy SCHED_FIFO or SCHED_RR";
    let deadline =
        |name: &str| format!("{field}.{name}: can only be specified for the policy SCHED_DEADLINE");
    refuses(&[
        (field, json!({"policy": "SCHED_OTHER", "nice": 20}), InvalidConfig, &format!("{nice} 20")),
        (field, json!({"policy": "SCHED_BATCH", "nice": -21}), InvalidConfig, &format!("{nice} -21")),
        (field, json!({"policy": "SCHED_FIFO"}), InvalidConfig, &format!("{priority} 0")),
        (field, json!({"policy": "SCHED_RR", "priority": 100}), InvalidConfig, &format!("{priority} 100")),
        (field, json!({"policy": "SCHED_OTHER", "priority": 1}), InvalidConfig, real_time),
        (field, json!({"policy": "SCHED_DEADLINE", "priority": -1}), InvalidConfig, real_time),
        (field, json!({"policy": "SCHED_OTHER", "runtime": 1}), InvalidConfig, &deadline("runtime")),
        (
            field,
            json!({"policy": "SCHED_RR", "priority": 1, "deadline": 1}),
            InvalidConfig,
            &deadline("deadline"),
        ),
        (field, json!({"policy": "SCHED_IDLE", "period": 1}), InvalidConfig, &deadline("period")),
    ]);
}

#[test]
fn priorities_affinities_and_memory_policies() {
    accepts(
        "process.ioPriority",
        &[0, 7].map(|priority| json!({"class": "IOPRIO_CLASS_RT", "priority": priority})),
    );
    let range = "process.ioPriority.priority: must be at least 0 and at most 7, found";
    refuses(&[
        ("process.ioPriority", json!({"priority": 8}), InvalidConfig, &format!("{range} 8")),
        ("process.ioPriority", json!({"priority": -1}), InvalidConfig, &format!("{range} -1")),
    ]);

    let field = "process.execCPUAffinity";
    accepts(
        field,
        &[json!({"initial": "0-3,7", "final": "65535"}), json!({"final": ""}), json!({"initial": " 1, "})],
    );
    let list = "must be a list of numbers up to 65535 and ranges of them, like 0-3,7, found";
    refuses(&[
        (field, json!({"initial": "3-1"}), InvalidConfig, &format!("{field}.initial: {list} \"3-1\"")),
        (
            field,
            json!({"initial": "0", "final": "65536"}),
            InvalidConfig,
            &format!("{field}.final: {list} \"65536\""),
        ),
    ]);

    let field = "linux.memoryPolicy";
    let nodes = "linux.memoryPolicy.nodes";
    for mode in ["MPOL_DEFAULT", "MPOL_LOCAL"] {
        accepts(field, &[json!({"mode": mode}), json!({"mode": mode, "nodes": ""})]);
        let message = format!("{nodes}: memory policy mode requires 0 nodes but got 3");
        refuses(&[(field, json!({"mode": mode, "nodes": "0-2,1"}), InvalidConfig, &message)]);
    }
    for mode in ["MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_WEIGHTED_INTERLEAVE", "MPOL_PREFERRED_MANY"] {
        accepts(field, &[json!({"mode": mode, "nodes": "0-3, 7", "flags": ["MPOL_F_STATIC_NODES"]})]);
        let message = format!("{nodes}: memory policy mode requires at least one node but got 0");
        refuses(&[
            (field, json!({"mode": mode}), InvalidConfig, message.as_str()),
            (field, json!({"mode": mode, "nodes": ""}), InvalidConfig, message.as_str()),
            (field, json!({"mode": mode, "nodes": "a"}), InvalidConfig, &format!("{nodes}: {list} \"a\"")),
        ]);
    }
    accepts(field, &[json!({"mode": "MPOL_PREFERRED"}), json!({"mode": "MPOL_PREFERRED", "nodes": "1"})]);
}

#[test]
fn mapped_mounts() {
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let bind = |members: Value| {
        let mut mount = json!({"destination": "/a", "source": "/b", "type": "bind"});
        mount.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
        json!([mount])
    };
    accepts(
        "mounts",
        &[
            bind(json!({"uidMappings": map, "gidMappings": map})),
            bind(
                json!({"uidMappings": map, "gidMappings": map, "type": "none", "options": ["rbind", "ridmap"]}),
            ),
        ],
    );
    let long: Vec<_> = (0..300)
        .map(|n| json!({"containerID": 100_000 + n, "hostID": 1_000_000 + 2 * n, "size": 1}))
        .collect();
    let too_long = "must have at most 4095 bytes as the kernel gets it, a line for each entry, found 5100";
    let not_bind = "id-mapped mounts are only supported for bind-mounts";
    let incomplete = "id-mapped mounts must have both uid and gid mappings specified";
    let field = "mounts";
    refuses(&[
        (
            field,
            bind(json!({"uidMappings": map, "gidMappings": long})),
            InvalidConfig,
            &format!("mounts[0].gidMappings: {too_long}"),
        ),
        (
            field,
            bind(json!({"uidMappings": map, "gidMappings": []})),
            InvalidConfig,
            &format!("mounts[0].gidMappings: {incomplete}"),
        ),
        (
            field,
            bind(json!({"gidMappings": map})),
            InvalidConfig,
            &format!("mounts[0].uidMappings: {incomplete}"),
        ),
        (
            field,
            bind(json!({"uidMappings": map, "gidMappings": map, "type": "tmpfs"})),
            InvalidConfig,
            &format!("mounts[0].uidMappings: {not_bind}"),
        ),
        (
            field,
            bind(json!({"options": ["ro", "idmap"], "type": "tmpfs"})),
            InvalidConfig,
            &format!("mounts[0].options[1]: {not_bind}"),
        ),
        (
            field,
            bind(json!({"options": ["ridmap"]})),
            InvalidConfig,
            &format!("mounts[0].options[0]: {incomplete}"),
        ),
        (
            field,
            bind(json!({"uidMappings": map, "gidMappings": [{"size": 0}]})),
            InvalidConfig,
            "mounts[0].gidMappings[0].size: must be at least 1 and at most 4294967295, found 0",
        ),
    ]);
    // Without mappings of its own, it has those of the container.
    for path in ["", "/proc/1/ns/user"] {
        let maps = json!({"uidMappings": map, "gidMappings": map});
        let mut config = with_namespace(json!({"type": "user", "path": path}), maps);
        config["mounts"] = bind(json!({"options": ["idmap"]}));
        assert_eq!(verdict(&config), "valid");
    }
}

#[test]
fn classes_of_service_and_contexts() {
    let field = "linux.intelRdt";
    accepts(field, &["a", "/", "...", "a.b"].map(|name| json!({ "closID": name })));
    for name in [".", "..", "a/b", "/a", "//"] {
        let rule = "must be / or a name without a slash that is not . or .., found";
        let message = format!("{field}.closID: {rule} {name:?}");
        refuses(&[(field, json!({ "closID": name }), InvalidConfig, &message)]);
    }

    let mut config = with("linux.mountLabel", json!("a:b:c"));
    for typ in ["context", "fscontext", "defcontext", "rootcontext"] {
        config["annotations"] = json!({ (annotations::MOUNT_CONTEXT): typ });
        assert_eq!(verdict(&config), "valid");
    }
    config["annotations"] = json!({ (annotations::MOUNT_CONTEXT): "nope" });
    let expected = "annotations[\"run.oci.mount_context_type\"]: must be one of context, fscontext, defcontext, \
                    rootcontext, found \"nope\"";
    assert_eq!(verdict(&config), expected);
    config["linux"]["mountLabel"] = json!("");
    assert_eq!(verdict(&config), "valid");
}

/// Ten times the mounts may not cost a hundred times the time; quadratic work would.
#[test]
fn ten_thousand_mounts_are_linear() {
    let time = |count: usize| {
        let options: Vec<Value> = ["nosuid", "nodev", "noexec", "mode=755"].map(Value::from).into();
        let mounts: Vec<Value> = (0..count)
            .map(|n| json!({"destination": format!("/a/b/{n}"), "type": "tmpfs", "options": options}))
            .collect();
        let devices: Vec<Value> = (0..count)
            .map(|n| json!({"path": format!("/dev/x{n}"), "type": "c", "major": 1, "minor": n}))
            .collect();
        let mut config = with("mounts", Value::from(mounts));
        config["linux"]["devices"] = Value::from(devices);
        let spec = super::super::parse(config.to_string().as_bytes()).expect("JSON");
        (0..5)
            .map(|_| {
                let start = Instant::now();
                validate(&spec).expect("valid");
                start.elapsed()
            })
            .min()
            .expect("five rounds")
    };
    let (few, many) = (time(1_000), time(10_000));
    assert!(many < few * 40, "{few:?} for 1,000, {many:?} for 10,000");
}
