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
    accepts("ociVersion", &["1.0.0", "1.3.0", "1.0.2-dev", "1.1.0+dev", "1.0.0-rc5", "1.2.3-a.b+c.d"].map(Value::from));
    refuses(&[
        ("ociVersion", Value::Null, InvalidConfig, "ociVersion: must be given"),
        ("ociVersion", json!("2.0.0"), InvalidConfig, "ociVersion: must be a version 1.x.y, found \"2.0.0\""),
        ("ociVersion", json!("1.0"), InvalidConfig, "ociVersion: must be a version 1.x.y, found \"1.0\""),
        ("ociVersion", json!("1.0.0.0"), InvalidConfig, "ociVersion: must be a version 1.x.y, found \"1.0.0.0\""),
        ("ociVersion", json!("1.x.0"), InvalidConfig, "ociVersion: must be a version 1.x.y, found \"1.x.0\""),
        ("root", Value::Null, InvalidConfig, "root: must be given"),
        ("root.path", json!(""), InvalidConfig, "root.path: must not be empty"),
        ("root.path", Value::Null, InvalidConfig, "root.path: must not be empty"),
        ("process", Value::Null, InvalidConfig, "process: must be given"),
        ("process.args", Value::Null, InvalidConfig, "process.args: must not be empty"),
        ("process.args", json!([]), InvalidConfig, "process.args: must not be empty"),
        ("process.args", json!(["", "a"]), InvalidConfig, "process.args[0]: must not be empty"),
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
        ("process.rlimits", limits, InvalidConfig, "process.rlimits[2]: has been given before, as process.rlimits[0]"),
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
        (
            "linux.namespaces",
            json!([{"type": "pid"}]),
            Unsupported,
            "linux.namespaces: a container without a mount namespace of its own is not supported",
        ),
        (
            "linux",
            Value::Null,
            Unsupported,
            "linux.namespaces: a container without a mount namespace of its own is not supported",
        ),
    ]);
    for field in ["hostname", "domainname"] {
        let mut config = with(field, json!("a"));
        config["linux"]["namespaces"] = json!([{"type": "mount"}]);
        let error = judge(&config).expect_err("the host's name");
        assert_eq!(error.to_string(), format!("{field}: needs a new uts namespace in linux.namespaces"));
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
        ("mounts", json!([{"destination": "/a", "type": "bind"}]), InvalidConfig, "mounts[0].source: must be given"),
        (
            "mounts",
            json!([{"destination": "/a", "type": "proc"}, {"destination": "/b", "options": ["bind"], "source": ""}]),
            InvalidConfig,
            "mounts[1].source: must be given",
        ),
    ]);
    accepts("linux.rootfsPropagation", &["", "shared", "rslave", "unbindable"].map(Value::from));
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
        "kernel.msgmax",
        "kernel.sem",
        "kernel/shmall",
        "kernel.shm_rmid_forced",
        "kernel.domainname",
        "fs.mqueue.msg_max",
        "net.ipv4.ip_forward",
        "net/ipv4/conf/eth0.100/rp_filter",
    ];
    for key in keys {
        let mut config = with("linux.sysctl", json!({key: "1"}));
        judge(&config).expect(key);
        config["linux"]["namespaces"] = json!([{"type": "mount"}]);
        let error = judge(&config).expect_err(key).to_string();
        assert!(error.starts_with(&format!("linux.sysctl[{key:?}]: needs a new ")), "{error}");
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
        ("user.max_user_namespaces", "needs a new user namespace in linux.namespaces"),
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
            device("path", json!("a")),
            InvalidConfig,
            "linux.devices[0].path: must be an absolute path, found \"a\"",
        ),
        ("linux.devices", device("path", json!("")), InvalidConfig, "linux.devices[0].path: must not be empty"),
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
        (
            "linux.maskedPaths",
            json!(["/a", "b"]),
            InvalidConfig,
            "linux.maskedPaths[1]: must be an absolute path, found \"b\"",
        ),
        ("linux.readonlyPaths", json!([""]), InvalidConfig, "linux.readonlyPaths[0]: must not be empty"),
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
        ],
    );
    let field = "linux.resources.devices";
    refuses(&[
        (field, json!([{"allow": true}]), InvalidConfig, &format!("{field}[0].access: must not be empty")),
        (
            field,
            json!([{"access": "rx"}]),
            InvalidConfig,
            &format!("{field}[0].access: must be one of r, w, m, found \"rx\""),
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
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/a"}),
            InvalidConfig,
            "linux.seccomp.listenerPath: is of use with SCMP_ACT_NOTIFY only",
        ),
        (
            "linux.seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "a"}),
            InvalidConfig,
            "linux.seccomp.listenerMetadata: is of use with linux.seccomp.listenerPath only",
        ),
        (
            "linux.seccomp",
            notify("read", "/a"),
            Unsupported,
            "linux.seccomp.syscalls[0].action: SCMP_ACT_NOTIFY is not supported yet",
        ),
    ]);
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
    accepts("process.apparmorProfile", &[json!(""), json!("unconfined")]);
    accepts("process.selinuxLabel", &[json!("")]);
    accepts("process.execCPUAffinity", &[json!({})]);
    accepts("linux.mountLabel", &[json!("")]);
    accepts("linux.timeOffsets", &[json!({})]);
    accepts("linux.netDevices", &[json!({})]);
    accepts("linux.uidMappings", &[json!([])]);
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
    accepts("mounts", &[json!([{"destination": "/a", "type": "tmpfs", "uidMappings": [], "gidMappings": []}])]);
    accepts("unknown", &[json!({"a": [1, 2]})]);
}

#[test]
fn what_is_not_supported_is_named() {
    let mount = |name: &str, value: Value| json!([{"destination": "/a", "type": "tmpfs", name: value}]);
    let mapping = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    let hook = json!([{"path": "/a"}]);
    let namespaces = |namespace: Value| json!([{"type": "mount"}, namespace]);
    let cases = [
        ("hooks.prestart", hook.clone(), "hooks.prestart[0]: a hook"),
        ("hooks.createRuntime", hook.clone(), "hooks.createRuntime[0]: a hook"),
        ("hooks.createContainer", hook.clone(), "hooks.createContainer[0]: a hook"),
        ("hooks.startContainer", hook.clone(), "hooks.startContainer[0]: a hook"),
        ("hooks.poststart", hook.clone(), "hooks.poststart[0]: a hook"),
        ("hooks.poststop", hook, "hooks.poststop[0]: a hook"),
        ("process.apparmorProfile", json!("docker-default"), "process.apparmorProfile: an AppArmor profile"),
        ("process.selinuxLabel", json!("a:b:c"), "process.selinuxLabel: an SELinux label"),
        ("process.scheduler", json!({"policy": "SCHED_OTHER"}), "process.scheduler: a scheduler policy"),
        ("process.ioPriority", json!({"class": "IOPRIO_CLASS_BE"}), "process.ioPriority: an I/O priority"),
        ("process.execCPUAffinity", json!({"final": "0"}), "process.execCPUAffinity: a CPU affinity for exec"),
        ("mounts", mount("uidMappings", mapping.clone()), "mounts[0].uidMappings: an ID-mapped mount"),
        ("mounts", mount("gidMappings", mapping.clone()), "mounts[0].gidMappings: an ID-mapped mount"),
        ("mounts", mount("options", json!(["ro", "idmap"])), "mounts[0].options[1] \"idmap\": the mount option"),
        ("mounts", mount("options", json!(["ridmap"])), "mounts[0].options[0] \"ridmap\": the mount option"),
        ("mounts", mount("options", json!(["tmpcopyup"])), "mounts[0].options[0] \"tmpcopyup\": the mount option"),
        (
            "linux.namespaces",
            namespaces(json!({"type": "network", "path": "/proc/1/ns/net"})),
            "linux.namespaces[1].path: joining a namespace",
        ),
        ("linux.namespaces", namespaces(json!({"type": "user"})), "linux.namespaces[1].type: a user namespace"),
        ("linux.namespaces", namespaces(json!({"type": "time"})), "linux.namespaces[1].type: a time namespace"),
        ("linux.timeOffsets", json!({"monotonic": {"secs": 1}}), "linux.timeOffsets: a time offset"),
        ("linux.uidMappings", mapping.clone(), "linux.uidMappings: an ID mapping"),
        ("linux.gidMappings", mapping, "linux.gidMappings: an ID mapping"),
        ("linux.netDevices", json!({"eth0": {}}), "linux.netDevices: a network device"),
        ("linux.mountLabel", json!("a:b:c"), "linux.mountLabel: a label for mounts"),
        ("linux.memoryPolicy", json!({"mode": "MPOL_BIND"}), "linux.memoryPolicy: a memory policy"),
        ("linux.personality", json!({"domain": "LINUX32"}), "linux.personality: a personality"),
        ("linux.intelRdt", json!({}), "linux.intelRdt: Intel RDT"),
        ("linux.resources.memory", json!({"limit": 1}), "linux.resources.memory: a memory limit"),
        ("linux.resources.memory", json!({"swappiness": 0}), "linux.resources.memory: a memory limit"),
        ("linux.resources.cpu", json!({"shares": 2}), "linux.resources.cpu: a CPU limit"),
        ("linux.resources.cpu", json!({"cpus": "0"}), "linux.resources.cpu: a CPU limit"),
        ("linux.resources.pids", json!({"limit": 5}), "linux.resources.pids: a limit on the number of processes"),
        ("linux.resources.blockIO", json!({"weight": 10}), "linux.resources.blockIO: a block I/O limit"),
        (
            "linux.resources.hugepageLimits",
            json!([{"pageSize": "2MB", "limit": 0}]),
            "linux.resources.hugepageLimits: a limit on huge pages",
        ),
        ("linux.resources.network", json!({"classID": 1}), "linux.resources.network: a network class or priority"),
        ("linux.resources.rdma", json!({"mlx5_1": {"hcaHandles": 3}}), "linux.resources.rdma: an RDMA limit"),
        ("linux.resources.unified", json!({"a": "b"}), "linux.resources.unified: a cgroup v2 setting"),
    ];
    for (path, value, message) in cases {
        let error = judge(&with(path, value)).expect_err(message);
        assert_eq!(error.to_string(), format!("{message} is not supported yet"));
        assert_eq!(error.kind(), Unsupported);
    }
    let other = [
        ("windows", json!({"layerFolders": ["a"]}), "windows: a container for Windows is not supported"),
        ("solaris", json!({}), "solaris: a container for Solaris is not supported"),
        ("zos", json!({}), "zos: a container for z/OS is not supported"),
        ("vm", json!({"kernel": {"path": "/a"}}), "vm: a virtual machine is not supported"),
    ];
    for (path, value, message) in other {
        let error = judge(&with(path, value)).expect_err(message);
        assert_eq!((error.to_string().as_str(), error.kind()), (message, Unsupported));
    }
}

#[test]
fn what_is_wrong_comes_before_what_is_not_supported() {
    let mut config = with("hooks.prestart", json!([{"path": "/a"}]));
    config["process"]["cwd"] = json!("a");
    assert_eq!(judge(&config).expect_err("both").kind(), InvalidConfig);
}

/// Ten times the mounts may not cost a hundred times the time; quadratic work would.
#[test]
fn ten_thousand_mounts_are_linear() {
    let time = |count: usize| {
        let options: Vec<Value> = ["nosuid", "nodev", "noexec", "mode=755"].map(Value::from).into();
        let mounts: Vec<Value> = (0..count)
            .map(|n| json!({"destination": format!("/a/b/{n}"), "type": "tmpfs", "options": options}))
            .collect();
        let devices: Vec<Value> =
            (0..count).map(|n| json!({"path": format!("/dev/x{n}"), "type": "c", "major": 1, "minor": n})).collect();
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
