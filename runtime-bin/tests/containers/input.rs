//! Hostile input at every place that takes any: one clear error with exit status 1, the same of create and of
//! run, and nothing left. What each message names is in `bad_input.rs`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::Output;

use crate::common::sleeper::Sleeper;
use crate::common::{TestBundle, corten, fail, one_error, run, stdout};
use container_test::container_test;
use serde_json::{Value, json};

/// Longest error that an engine has to show.
const LINE_BYTES: usize = 4096;

/// `create` and `run` of the bundle as it is on disk: both must fail, and say the same.
fn refused(test: &TestBundle, what: &str) -> String {
    let path = test.path();
    let errors = ["create", "run"].map(|command| {
        let line = fail_or_clean_up(test, &[command, "--bundle", path.to_str().unwrap(), &test.id], what);
        let message = line.strip_prefix(&format!("corten {command} failed: "));
        message.unwrap_or_else(|| panic!("{what}: {line}")).to_owned()
    });
    assert_eq!(errors[0], errors[1], "{what}");
    assert!(errors[0].len() < LINE_BYTES, "{what}: {} bytes", errors[0].len());
    test.assert_nothing_left(what);
    errors[0].clone()
}

/// As [`fail`]; a container that is made after all holds no pipe that this test reads to its end, and is
/// deleted.
fn fail_or_clean_up(test: &TestBundle, arguments: &[&str], what: &str) -> String {
    let (out, err) = (test.beside("out"), test.beside("err"));
    let (to, errors) = (fs::File::create(&out).unwrap(), fs::File::create(&err).unwrap());
    let status = corten(test, arguments).stdout(to).stderr(errors).status().unwrap();
    if status.success() {
        corten(test, &["delete", "--force", &test.id]).status().unwrap();
        panic!("{what}: accepted");
    }
    one_error(&Output { status, stdout: fs::read(out).unwrap(), stderr: fs::read(err).unwrap() })
}

/// `run` of the bundle: it works or is refused in one line, and nothing is left.
fn run_or_one_error(test: &TestBundle, what: &str) -> Result<(), String> {
    let path = test.write().path();
    let output = corten(test, &["run", "--bundle", path.to_str().unwrap(), &test.id]).output().unwrap();
    test.assert_nothing_left(what);
    if output.status.success() {
        return Ok(());
    }
    let error = one_error(&output);
    assert!(error.len() < LINE_BYTES, "{what}: {} bytes", error.len());
    Err(error)
}

/// Sets the member at a JSON pointer.
fn set(config: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = config.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(items) => items[name.parse::<usize>().unwrap()] = value,
        _ => parent[name] = value,
    }
}

#[container_test]
fn texts_that_are_no_config() {
    let test = TestBundle::new(&["true"]);
    assert!(refused(&test, "no config").contains("JSON specification file config.json not found"));
    let whole = serde_json::to_string(&test.config).unwrap();
    let deep = "[".repeat(100_000);
    let texts = [
        ("empty", ""),
        ("white", " \n\t"),
        ("null", "null"),
        ("an empty object", "{}"),
        ("an array", "[]"),
        ("a number", "1"),
        ("truncated", &whole[..whole.len() / 2]),
        ("one byte short", &whole[..whole.len() - 1]),
        ("one byte more", &format!("{whole}}}")),
        ("not UTF-8 to be", "{\"ociVersion\": \"\\ud800\"}"),
        ("deep", &deep),
        ("binary", "\u{7f}ELF\u{0}\u{1}"),
    ];
    for (what, text) in texts {
        fs::write(test.path().join("config.json"), text).unwrap();
        refused(&test, what);
    }
    for cut in (1..whole.len()).step_by(97) {
        fs::write(test.path().join("config.json"), &whole[..cut]).unwrap();
        refused(&test, &format!("cut at {cut}"));
    }
    fs::write(test.path().join("config.json"), [0xff, 0xfe, b'{', b'}']).unwrap();
    refused(&test, "not UTF-8");
    fs::remove_file(test.path().join("config.json")).unwrap();
    fs::create_dir(test.path().join("config.json")).unwrap();
    refused(&test, "a directory");
}

#[container_test]
fn members_of_the_wrong_type() {
    for (pointer, value, field) in [
        ("/ociVersion", json!(1), "ociVersion"),
        ("/ociVersion", json!("nope"), "ociVersion"),
        ("/ociVersion", json!("2.0.0"), "ociVersion"),
        ("/process", json!([]), "process"),
        ("/process/args", json!("sh"), "process.args"),
        ("/process/args", json!([]), "process.args"),
        ("/process/args", json!([1]), "process.args"),
        ("/process/cwd", json!("relative"), "process.cwd"),
        ("/process/cwd", json!(null), "process.cwd"),
        ("/process/user", json!("root"), "process.user"),
        ("/process/user/uid", json!(-1), "process.user.uid"),
        ("/process/user/uid", json!(4_294_967_296_u64), "process.user.uid"),
        ("/process/user/uid", json!(1.5), "process.user.uid"),
        ("/process/terminal", json!("yes"), "process.terminal"),
        ("/process/rlimits", json!([{ "type": "RLIMIT_NOPE", "hard": 1, "soft": 1 }]), "process.rlimits[0]"),
        ("/process/capabilities/bounding", json!(["CAP_NOPE", 1]), "process.capabilities.bounding"),
        ("/root", json!("rootfs"), "root"),
        ("/root", json!(null), "root"),
        ("/hostname", json!({}), "hostname"),
        ("/mounts", json!({}), "mounts"),
        ("/mounts", json!([1]), "mounts[0]"),
        ("/mounts/0/options", json!("ro"), "mounts[0].options"),
        ("/mounts/0/destination", json!(null), "mounts[0].destination"),
        ("/linux", json!([]), "linux"),
        ("/linux/namespaces", json!([{ "type": "nope" }]), "linux.namespaces[0].type"),
        ("/linux/namespaces", json!([{}]), "linux.namespaces[0]"),
        ("/linux/maskedPaths", json!("/proc"), "linux.maskedPaths"),
        ("/linux/resources/devices", json!([{ "allow": 1 }]), "linux.resources.devices[0].allow"),
        ("/annotations", json!([1]), "annotations"),
    ] {
        let mut test = TestBundle::new(&["true"]);
        set(&mut test.config, pointer, value.clone());
        test.write();
        let error = refused(&test, &format!("{pointer} = {value}"));
        assert!(error.contains(field), "{pointer} = {value}: {error}");
    }
}

#[container_test]
fn roots_that_are_none() {
    for path in ["", "nosuch", "/nosuch/rootfs", "config.json", "../../nosuch"] {
        let mut test = TestBundle::new(&["true"]);
        test.config["root"]["path"] = json!(path);
        test.write();
        let error = refused(&test, path);
        assert!(error.contains("root"), "{path:?}: {error}");
    }
    // A loop, and a link that leads nowhere.
    let mut test = TestBundle::new(&["true"]);
    test.config["root"]["path"] = json!("link");
    test.write();
    symlink("link", test.path().join("link")).unwrap();
    refused(&test, "a loop");
    fs::remove_file(test.path().join("link")).unwrap();
    symlink("/nosuch", test.path().join("link")).unwrap();
    refused(&test, "a dangling link");
}

/// Pointers to the strings of a config, whose value may be anything as far as the types go.
const STRINGS: [&str; 17] = [
    "/ociVersion",
    "/process/args/0",
    "/process/env/0",
    "/process/cwd",
    "/root/path",
    "/hostname",
    "/domainname",
    "/mounts/0/destination",
    "/mounts/0/type",
    "/mounts/0/source",
    "/mounts/1/options/0",
    "/linux/cgroupsPath",
    "/linux/namespaces/0/type",
    "/linux/maskedPaths/0",
    "/linux/readonlyPaths/0",
    "/linux/sysctl/net.ipv4.ip_forward",
    "/linux/rootfsPropagation",
];

fn with_string(pointer: &str, text: &str) -> TestBundle {
    let mut test = TestBundle::new(&["true"]);
    test.config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "0" });
    set(&mut test.config, pointer, json!(text));
    test
}

#[container_test]
fn strings_with_nul_bytes() {
    for pointer in STRINGS {
        for text in ["\0", "a\0b", "/a\0b"] {
            let test = with_string(pointer, text);
            test.write();
            refused(&test, &format!("{pointer} = {text:?}"));
        }
    }
}

#[container_test]
fn strings_of_a_mebibyte() {
    let long = "x".repeat(1 << 20);
    for pointer in STRINGS {
        for text in [long.clone(), format!("/{long}"), "/x".repeat(1 << 19), format!("A={long}")] {
            let what = format!("{pointer} = {}…", &text[..3]);
            let test = with_string(pointer, &text);
            if run_or_one_error(&test, &what).is_ok() {
                println!("{what}: works");
            }
        }
    }
    let mut test = TestBundle::new(&["true"]);
    test.config["annotations"] = json!({ "long": long });
    run_or_one_error(&test, "an annotation").unwrap();
}

#[container_test]
fn strings_with_line_breaks() {
    for pointer in STRINGS {
        let test = with_string(pointer, "/a\nb\u{1b}[31m");
        if let Err(error) = run_or_one_error(&test, pointer) {
            assert!(!error.contains('\u{1b}'), "{pointer}: {error:?}");
        }
    }
}

#[container_test]
fn namespaces_named_twice() {
    for kind in ["pid", "network", "ipc", "uts", "mount", "cgroup"] {
        let mut test = TestBundle::new(&["true"]);
        test.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": kind }));
        test.write();
        let error = refused(&test, kind);
        assert!(error.contains("linux.namespaces[6]"), "{error}");
    }
}

#[container_test]
fn roots_of_state_that_are_dead() {
    let test = TestBundle::new(&["true"]);
    let path = test.write().path();
    let (file, under, link) = (test.beside("file"), test.beside("file/state"), test.beside("link"));
    fs::write(&file, "").unwrap();
    symlink("link", &link).unwrap();
    let long = test.beside(&"x".repeat(300));
    let proc = "/proc/self/nosuch".into();
    for root in [&file, &under, &link, &long, &proc] {
        let root = root.to_str().unwrap();
        for command in ["create", "run"] {
            let error = fail(&test, &["--root", root, command, "-b", path.to_str().unwrap(), &test.id]);
            assert!(error.starts_with(&format!("corten {command} failed: ")), "{error}");
        }
        for command in [&["state", &test.id][..], &["start", &test.id], &["kill", &test.id], &["list"]] {
            fail(&test, &[&["--root", root], command].concat());
        }
    }
}

/// For root nothing is unreadable, so somebody else asks.
#[container_test]
fn a_root_of_state_that_may_not_be_read() {
    let test = TestBundle::new(&["true"]);
    let path = test.write().path();
    let closed = test.beside("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, PermissionsExt::from_mode(0o700)).unwrap();
    fs::set_permissions(path.parent().unwrap(), PermissionsExt::from_mode(0o755)).unwrap();
    let nobody = |arguments: &[&str]| -> Output {
        let arguments = [&["--root", closed.to_str().unwrap()], arguments].concat();
        corten(&test, &arguments).uid(65534).gid(65534).output().unwrap()
    };
    for arguments in [
        &["list"][..],
        &["state", &test.id],
        &["delete", &test.id],
        &["create", "-b", path.to_str().unwrap(), &test.id],
    ] {
        let error = one_error(&nobody(arguments)).to_lowercase();
        assert!(error.contains("permission denied"), "{arguments:?}: {error}");
    }
}

#[container_test]
fn ids_that_are_none() {
    let test = TestBundle::new(&["true"]);
    let path = test.write().path();
    let long = "x".repeat(2000);
    for id in [".", "..", "a/b", "../x", "a b", "a\nb", "ä", "/", "@seccomp", &long] {
        for arguments in [&["create", "-b", path.to_str().unwrap(), id][..], &["state", id], &["delete", id]]
        {
            fail(&test, arguments);
        }
    }
}

#[test]
fn bundles_that_are_none() {
    let test = TestBundle::new(&["true"]);
    test.write();
    for bundle in ["/nosuch", "/dev/null"] {
        fail(&test, &["create", "-b", bundle, &test.id]);
    }
    test.assert_nothing_left("wrong bundles");
}

/// Writes all keys of the objects in a config in capitals, but for those that the config makes up itself.
fn shout(value: &mut Value) {
    match value {
        Value::Object(object) => {
            let members = std::mem::take(object);
            for (key, mut member) in members {
                if !["annotations", "sysctl", "unified", "rdma", "netDevices"].contains(&key.as_str()) {
                    shout(&mut member);
                }
                object.insert(key.to_uppercase(), member);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(shout),
        _ => {}
    }
}

/// runc: Go's decoder does not care for the case of keys. What is said in other letters is done, not passed
/// over.
#[container_test]
fn keys_in_other_letters_count() {
    let script = "hostname; id -u; ulimit -n; touch /x 2>&1; mkdir /tmp/x 2>&1; true";
    let mut test = TestBundle::new(&["sh", "-c", script]);
    test.config["hostname"] = "loud".into();
    test.config["process"]["user"] = json!({ "uid": 7, "gid": 7 });
    test.config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "hard": 77, "soft": 77 }]);
    test.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 121 }],
    });
    let right = stdout(&run(&test));
    assert!(right.starts_with("loud\n7\n77\n") && right.contains("Remote I/O error"), "{right}");
    shout(&mut test.config);
    assert_eq!(stdout(&run(&test)), right);
}

#[container_test]
fn keys_in_other_letters_count_for_exec_and_update() {
    let sleeper = Sleeper::plain();
    let process = json!({ "CWD": "/", "Args": ["sh", "-c", "id -u; ulimit -n"], "env": ["PATH=/bin"], "User": { "UID": 9 },
        "rLimits": [{ "Type": "RLIMIT_NOFILE", "Hard": 66, "Soft": 66 }], "terminal": null });
    assert_eq!(sleeper.prints(&["-p", &sleeper.process(&process)], &[]), "9\n66\n");
    let twice = json!({ "cwd": "/", "args": ["true"], "Args": ["false"] });
    let error = sleeper.fails(&["-p", &sleeper.process(&twice)], &[]);
    assert_eq!(error, "args: is there twice, in letters of other case");

    let update = |resources: &str| {
        let file = sleeper.0.beside("resources.json");
        fs::write(&file, resources).unwrap();
        corten(&sleeper.0, &["update", "-r", file.to_str().unwrap(), &sleeper.0.id]).output().unwrap()
    };
    // runc: what is null is not given.
    for nothing in ["null", " null\n", r#"{"memory": null, "pids": {"limit": null}, "hugepageLimits": null}"#]
    {
        assert_eq!(stdout(&update(nothing)), "", "{nothing}");
    }
    for (wrong, field) in [
        (r#"{"Pids": {"LIMIT": "many"}}"#, "pids.limit"),
        (
            r#"{"hugePageLimits": [{"pagesize": "2 MB", "limit": 1}]}"#,
            "linux.resources.hugepageLimits[0].pageSize",
        ),
        (r#"{"devices": [{"allow": true, "Access": "x"}]}"#, "linux.resources.devices[0].access"),
    ] {
        let error = one_error(&update(wrong));
        assert!(error.contains(field), "{wrong}: {error}");
    }
}

/// Two values of one key may mean something else to whoever has checked the config.
#[test]
fn a_key_in_two_ways_is_refused() {
    let mut test = TestBundle::new(&["true"]);
    test.config["Process"] = json!({ "cwd": "/", "args": ["false"] });
    test.write();
    assert_eq!(refused(&test, "twice"), "process: is there twice, in letters of other case");
}

/// runc takes any letters. Those that say nothing are told of.
#[container_test]
fn letters_of_device_access_that_say_nothing() {
    let mut test = TestBundle::new(&["true"]);
    test.config["linux"]["resources"]["devices"] = json!([{ "allow": false, "access": "rwmx" }]);
    test.config["ociVersion"] = "0.5.0-dev".into();
    let output = run(&test);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && stderr.contains("linux.resources.devices[0].access: of \"rwmx\""),
        "{stderr}"
    );
}
