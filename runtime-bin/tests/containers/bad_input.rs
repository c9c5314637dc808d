//! Configs that cannot be: one clear error with exit status 1 for each, and nothing left.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{self, CORTEN, TestBundle, corten, one_error, run, stdout};
use container_test::container_test;
use nix::sys::stat::Mode;
use serde_json::{Value, json};

/// Runs the bundle with these bytes as config.json; returns the error.
fn refuse(test: &TestBundle, config: &[u8]) -> String {
    fs::write(test.path().join("config.json"), config).unwrap();
    let path = test.path();
    let error =
        one_error(&corten(test, &["run", "--bundle", path.to_str().unwrap(), &test.id]).output().unwrap());
    test.assert_nothing_left(&error);
    error.strip_prefix("corten run failed: ").unwrap_or_else(|| panic!("{error}")).to_owned()
}

#[test]
fn what_is_no_config() {
    let test = TestBundle::new(&["true"]);
    let whole = test.config.to_string();
    for config in
        ["", " \n", "{", "[]", "null", "{}", "nonsense", &whole[..whole.len() / 2], &format!("{whole}x")]
    {
        let error = refuse(&test, config.as_bytes());
        assert!(error.len() < 300, "{error}");
    }
    let error = refuse(&test, b"\xff\xfe");
    assert!(!error.is_empty());
}

#[test]
fn what_is_missing() {
    let test = TestBundle::new(&["true"]);
    let path = test.path();
    let arguments = ["run", "--bundle", path.to_str().unwrap(), &test.id];
    let error = one_error(&corten(&test, &arguments).output().unwrap());
    assert_eq!(error, "corten run failed: JSON specification file config.json not found");
    let error = one_error(&corten(&test, &["run", "--bundle", "/no/such/bundle", "x"]).output().unwrap());
    assert!(error.contains("/no/such/bundle") && error.contains("no such file or directory"), "{error}");
}

#[test]
fn a_config_that_is_no_regular_file() {
    let test = TestBundle::new(&["true"]);
    let path = test.write().path();
    let config = path.join("config.json");
    fs::remove_file(&config).unwrap();
    let refused = || {
        let arguments = ["run", "--bundle", path.to_str().unwrap(), &test.id];
        let command = corten(&test, &arguments);
        let output = Command::new("timeout").arg("20").arg(CORTEN).args(command.get_args()).output().unwrap();
        assert_eq!(one_error(&output), format!("corten run failed: {config:?} is not a regular file"));
    };
    nix::unistd::mkfifo(&config, Mode::S_IRWXU).unwrap();
    refused();
    let socket = path.join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    for other in [Path::new("/dev/zero"), Path::new("/"), &socket] {
        fs::remove_file(&config).unwrap();
        std::os::unix::fs::symlink(other, &config).unwrap();
        refused();
    }
}

/// As a shell's `<(…)` makes them.
#[container_test]
fn files_that_the_caller_names_may_be_pipes() {
    let test = TestBundle::new(&["sleep", "1000"]);
    let path = test.write().path();
    let piped = |file: &Path, arguments: &[&str]| {
        let script = "cat \"$0\" | \"$@\"";
        let command = corten(&test, arguments);
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).arg(file).arg(CORTEN).args(command.get_args());
        // What a container keeps open is no pipe of this test's.
        let errors = test.beside("errors");
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&errors).unwrap());
        let status = shell.status().unwrap();
        assert!(status.success(), "{arguments:?}: {}", fs::read_to_string(&errors).unwrap());
    };
    let bundle = path.to_str().unwrap();
    let config = test.beside("config");
    fs::rename(path.join("config.json"), &config).unwrap();
    piped(&config, &["run", "--detach", "--bundle", bundle, "--config", "/dev/stdin", &test.id]);
    let (process, resources) = (test.beside("process"), test.beside("resources"));
    fs::write(
        &process,
        json!({ "args": ["/bin/true"], "cwd": "/", "user": { "uid": 0, "gid": 0 } }).to_string(),
    )
    .unwrap();
    fs::write(&resources, json!({ "devices": [{ "allow": true, "access": "rwm" }] }).to_string()).unwrap();
    piped(&process, &["exec", "--process", "/dev/stdin", &test.id]);
    piped(&resources, &["update", "--resources", "/dev/stdin", &test.id]);
    common::succeed(&test, &["delete", "--force", &test.id]);
}

type Change = Box<dyn Fn(&mut Value)>;

/// Changes of the default config, and what the error must name.
fn cases() -> Vec<(&'static str, Change)> {
    let long = "x".repeat(1 << 20);
    let long_path = format!("/{}", "d/".repeat(1 << 19));
    let (long_value, long_destination) = (long.clone(), long_path);
    let set = |path: &'static str, value: Value| -> Change {
        Box::new(move |config| *config.pointer_mut(path).unwrap() = value.clone())
    };
    let namespace = |extra: Value| -> Change {
        Box::new(move |config| config["linux"]["namespaces"].as_array_mut().unwrap().push(extra.clone()))
    };
    let mount = |extra: Value| -> Change {
        Box::new(move |config| config["mounts"].as_array_mut().unwrap().push(extra.clone()))
    };
    vec![
        ("ociVersion", set("/ociVersion", json!("2.0.0"))),
        ("process.args", set("/process/args", json!([]))),
        ("process.args", set("/process/args", json!("true"))),
        ("process.args", set("/process/args/0", json!(7))),
        ("process.args", set("/process/args/0", json!("tr\0ue"))),
        ("process.env", set("/process/env/0", json!("A=\0"))),
        ("process.cwd", set("/process/cwd", json!("relative"))),
        ("process.cwd", set("/process/cwd", json!("/a\0"))),
        ("process.user", set("/process/user/uid", json!(-1))),
        ("process.capabilities", set("/process/capabilities/bounding/0", json!(7))),
        ("process.capabilities", set("/process/capabilities/bounding/0", json!("CAP_NOPE"))),
        ("process.rlimits", set("/process/rlimits/0/soft", json!(2000))),
        ("process.rlimits", set("/process/rlimits/0/type", json!("RLIMIT_NOPE"))),
        ("root.path", set("/root/path", json!("missing"))),
        ("root.path", set("/root/path", json!("/no/such/rootfs"))),
        ("root.path", set("/root/path", json!("../../../../../no/such"))),
        ("root.path", set("/root/path", json!("/"))),
        ("root.path", set("/root/path", json!("../../../../../../.."))),
        ("root.path", set("/root/path", json!("/proc/self/root"))),
        ("root.path", set("/root/path", json!("config.json"))),
        ("root.path", set("/root/path", json!(""))),
        ("root.path", set("/root/path", json!("root\0fs"))),
        ("hostname", set("/hostname", json!(long_value))),
        ("mounts[0].destination", set("/mounts/0/destination", json!(""))),
        ("mounts[0]", set("/mounts/0/destination", json!("/"))),
        ("mounts[0]", set("/mounts/0/destination", json!(long_destination))),
        ("mounts[0]", set("/mounts/0/type", json!("nosuchfs"))),
        ("mounts[1]", set("/mounts/1/options", json!(["size=nonsense"]))),
        ("mounts[1].options", set("/mounts/1/options", json!(["mode\0=755"]))),
        (
            "mounts[7]",
            mount(json!({ "destination": "/x", "type": "bind", "source": "/no/such", "options": ["bind"] })),
        ),
        ("mounts[7]", mount(json!({ "destination": "/x", "type": "bind", "options": ["bind"] }))),
        ("mounts[7]", mount(json!({ "destination": "/proc/self", "type": "tmpfs", "source": "tmpfs" }))),
        ("mounts[7]", mount(json!({ "destination": "/x", "type": "tmpfs", "options": ["idmap"] }))),
        ("linux.namespaces", namespace(json!({ "type": "pid" }))),
        ("linux.namespaces", namespace(json!({ "type": "nope" }))),
        ("linux.uidMappings", namespace(json!({ "type": "user" }))),
        ("linux.namespaces", set("/linux/namespaces", json!([{ "type": "pid" }]))),
        (
            "linux.namespaces[0].path",
            set("/linux/namespaces/0", json!({ "type": "pid", "path": "proc/1/ns/pid" })),
        ),
        ("linux.maskedPaths", set("/linux/maskedPaths/0", json!(""))),
        ("linux.maskedPaths", set("/linux/maskedPaths/0", json!("/x\0"))),
        ("linux.resources.devices", set("/linux/resources/devices/0/access", json!("RWX"))),
        ("linux.resources.memory", set("/linux/resources/memory", json!({ "limit": -2 }))),
        ("linux.sysctl", set("/linux/sysctl", json!({ "kernel.panic": "1" }))),
        ("hooks.prestart[0].path", set("/hooks", json!({ "prestart": [{ "path": "bin/true" }] }))),
        (
            "hooks.poststop[0].timeout",
            set("/hooks", json!({ "poststop": [{ "path": "/bin/true", "timeout": 0 }] })),
        ),
        ("linux.timeOffsets", set("/linux/timeOffsets", json!({ "monotonic": { "secs": 1 } }))),
        ("process.ioPriority", set("/process/ioPriority", json!({ "priority": 8 }))),
    ]
}

#[container_test]
fn every_wrong_field_is_named() {
    let test = TestBundle::new(&["true"]);
    for (index, (field, change)) in cases().into_iter().enumerate() {
        let mut config = test.config.clone();
        config["linux"]["sysctl"] = json!({});
        config["linux"]["resources"]["memory"] = json!({});
        config["hooks"] = json!({});
        config["linux"]["timeOffsets"] = json!({});
        config["process"]["ioPriority"] = json!(null);
        change(&mut config);
        let error = refuse(&test, config.to_string().as_bytes());
        assert!(
            error.contains(field),
            "case {index}, {field}: {}",
            error.chars().take(500).collect::<String>()
        );
        assert!(error.len() < 9000, "case {index}: an error of {} bytes", error.len());
    }
}

#[container_test]
fn strings_of_a_mebibyte_are_taken_or_refused() {
    let long = "x".repeat(1 << 20);
    let mut test = TestBundle::new(&["true"]);
    test.config["annotations"] = json!({ "long": long });
    assert_eq!(stdout(&run(&test)), "");
    for pointer in ["/process/args/0", "/process/cwd", "/root/path", "/mounts/0/type", "/linux/cgroupsPath"] {
        let mut config = TestBundle::new(&["true"]).config.clone();
        *config.pointer_mut(pointer).unwrap() = json!(format!("/{long}"));
        let error = refuse(&test, config.to_string().as_bytes());
        assert!(!error.is_empty(), "{pointer}");
    }
    // More than execve takes for one string.
    test.config["process"]["env"] = json!(["PATH=/bin", format!("A={long}")]);
    let output = run(&test);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(255));
    assert!(
        error.contains("exec /bin/true: argument list too long"),
        "{}",
        error.chars().take(300).collect::<String>()
    );
}

#[container_test]
fn ten_thousand_mounts() {
    let mut test = TestBundle::new(&["sh", "-c", "wc -l < /proc/self/mountinfo"]);
    test.config["root"]["readonly"] = false.into();
    let mounts = test.config["mounts"].as_array_mut().unwrap();
    for index in 0..10_000 {
        mounts.push(json!({ "destination": format!("/tmp/m{index}"), "type": "tmpfs", "source": "tmpfs" }));
    }
    let count: u32 = stdout(&run(&test)).trim().parse().unwrap();
    assert!(count > 10_000);
}

/// A bind mount's source is opened when its turn comes, and some of those that the runtime maps are handed
/// over together.
#[container_test]
fn more_bind_mounts_than_fds() {
    let mut test = TestBundle::new(&["grep", "-c", " /m", "/proc/self/mountinfo"]);
    // The process would have more fds than the caller may give it.
    test.config["process"].as_object_mut().unwrap().remove("rlimits");
    let few_fds = |test: &TestBundle| {
        let (corten, root, path) = (common::CORTEN, test.state_root(), test.write().path());
        let command = format!(
            "ulimit -n 100; exec {corten} --root {} run -b {} {}",
            root.display(),
            path.display(),
            test.id
        );
        std::process::Command::new("sh").args(["-c", &command]).output().unwrap()
    };
    for index in 0..200 {
        let mount = json!({ "destination": format!("/m{index}"), "source": "/etc", "options": ["bind"] });
        test.config["mounts"].as_array_mut().unwrap().push(mount);
    }
    assert_eq!(stdout(&few_fds(&test)).trim(), "200");
    let maps = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    for mount in test.config["mounts"].as_array_mut().unwrap() {
        if mount["source"] == "/etc" {
            mount["uidMappings"] = maps.clone();
            mount["gidMappings"] = maps.clone();
        }
    }
    assert_eq!(stdout(&few_fds(&test)).trim(), "200");
}

/// One of each kind of error that has a config item of its own; [`one_error`] looks at all others.
#[container_test]
fn errors_name_their_item_once() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 20] = [
        ("root.path", |config| config["root"]["path"] = "/no/such".into()),
        ("process.cwd", |config| config["process"]["cwd"] = "/bin/sh".into()),
        ("exec", |config| config["process"]["args"] = json!(["/no/such"])),
        ("process.user", |config| config["process"]["user"]["uid"] = 4_294_967_295_u32.into()),
        ("process.rlimits[0]", |config| {
            config["process"]["rlimits"] =
                json!([{ "type": "RLIMIT_NOFILE", "soft": 1, "hard": 1_u64 << 40 }]);
        }),
        ("process.oomScoreAdj", |config| config["process"]["oomScoreAdj"] = 1001.into()),
        ("process.capabilities", |config| {
            config["process"]["capabilities"] = json!({ "bounding": ["CAP_NONE"] })
        }),
        ("createRuntime", |config| config["hooks"] = json!({ "createRuntime": [{ "path": "/no/such" }] })),
        ("hook", |config| config["hooks"] = json!({ "createContainer": [{ "path": "/no/such" }] })),
        ("hook", |config| config["hooks"] = json!({ "prestart": [{ "path": "/bin/false" }] })),
        ("mounts[", |config| {
            mount(
                config,
                json!({ "destination": "/x", "type": "bind", "source": "/no/such", "options": ["bind"] }),
            )
        }),
        ("mounts[", |config| mount(config, json!({ "destination": "/x", "type": "nofs", "source": "nofs" }))),
        ("mounts[", |config| {
            let maps = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
            mount(
                config,
                json!({ "destination": "/x", "type": "bind", "source": "/proc", "options": ["bind", "idmap"],
                "uidMappings": maps, "gidMappings": maps }),
            );
        }),
        ("linux.namespaces[", |config| {
            config["linux"]["namespaces"]
                .as_array_mut()
                .unwrap()
                .push(json!({ "type": "time", "path": "/no/such" }));
        }),
        ("linux.devices[0]", |config| {
            config["linux"]["devices"] = json!([{ "path": "/proc/x", "type": "c", "major": 1, "minor": 3 }]);
        }),
        ("linux.sysctl", |config| config["linux"]["sysctl"] = json!({ "net.no.such": "1" })),
        ("linux.resources.pids.limit", |config| {
            config["linux"]["resources"] = json!({ "pids": { "limit": 1_u64 << 60 } })
        }),
        ("linux.resources.hugepageLimits", |config| {
            config["linux"]["resources"] = json!({ "hugepageLimits": [{ "pageSize": "3KB", "limit": 1 }] });
        }),
        ("linux.netDevices", |config| config["linux"]["netDevices"] = json!({ "no-such-eth0": {} })),
        ("linux.seccomp", |config| {
            let rule = json!({ "names": ["getpid"], "action": "SCMP_ACT_ERRNO", "args": [{ "index": 7, "value": 0, "op": "SCMP_CMP_EQ" }] });
            config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
        }),
    ];
    for (item, change) in cases {
        let mut test = TestBundle::new(&["true"]);
        change(&mut test.config);
        let error = one_error(&run(&test));
        assert_eq!(error.matches(item).count(), 1, "{item}: {error}");
    }
}

fn mount(config: &mut Value, mount: Value) {
    config["mounts"].as_array_mut().unwrap().push(mount);
}
