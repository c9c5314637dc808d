//! What `process` and its neighbours ask for, seen from inside: of root, and in a user namespace.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::sleeper::Sleeper;
use crate::common::{
    self, CORTEN, MAPPED_ROOT, TestBundle, can_make_containers, corten, create, one_error, run, skip, stdout, succeed,
};
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
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|path| path.join(program).exists());
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

// Terminal

#[test]
fn a_terminal_has_its_size_and_its_owner() {
    if !can_make_containers() {
        return;
    }
    let script = "stty size; tty; stat -c '%u %a' $(tty); test -t 0 -a -t 1 -a -t 2 && echo all";
    let change = |test: &mut TestBundle| {
        test.config["process"]["terminal"] = true.into();
        test.config["process"]["consoleSize"] = json!({ "height": 33, "width": 77 });
        test.config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    };
    both(script, change, |seen| assert_eq!(seen, "33 77\n/dev/pts/0\n1000 620\nall\n"));
}

/// It is for those who write the config, as with runc and crun.
#[test]
fn term_comes_from_the_config_alone() {
    if !can_make_containers() {
        return;
    }
    let of_exec = Sleeper::plain();
    for (env, expected) in [
        (json!(["PATH=/bin"]), "none"),
        (json!(["PATH=/bin", "TERM=vt52"]), "vt52"),
        (json!(["PATH=/bin", "TERM="]), ""),
    ] {
        for terminal in [false, true] {
            let mut test = shell("echo ${TERM-none}");
            test.config["process"]["terminal"] = terminal.into();
            test.config["process"]["env"] = env.clone();
            assert_eq!(stdout(&run(&test)).trim_end(), expected, "{terminal}");
            let args = json!(["sh", "-c", "echo ${TERM-none}"]);
            let file = of_exec.process(&json!({ "terminal": terminal, "env": env, "cwd": "/", "args": args }));
            assert_eq!(of_exec.prints(&["--process", &file], &[]).trim_end(), expected, "{terminal}");
        }
    }
}

// Working directory

#[test]
fn the_working_directory_is_made_or_followed() {
    if !can_make_containers() {
        return;
    }
    for (cwd, expected) in [
        ("/", "/ 555\n"),
        ("/made/for/it", "/made/for/it 755\n"),
        ("/link", "/etc 755\n"),
        ("/up", "/tmp 755\n"),
        // Init goes there while it still may.
        ("/closed", "/closed\n"),
        ("/tmp/../etc/./", "/etc 755\n"),
    ] {
        let change = |test: &mut TestBundle| {
            let mapped = test.config["linux"].get("uidMappings").is_some();
            let shift = if mapped { 100_000 } else { 0 };
            let root = test.rootfs();
            symlink("/etc", root.join("link")).unwrap();
            symlink("../../../../tmp", root.join("up")).unwrap();
            fs::create_dir(root.join("closed")).unwrap();
            for (directory, owner, mode) in
                [("closed", 2000, 0o700), ("", 0, 0o555), ("etc", 0, 0o755), ("tmp", 0, 0o755)]
            {
                chown(root.join(directory), Some(owner + shift), Some(owner + shift)).unwrap();
                fs::set_permissions(root.join(directory), fs::Permissions::from_mode(mode)).unwrap();
            }
            let process = &mut test.config["process"];
            process["cwd"] = cwd.into();
            process["user"] = json!({ "uid": 1000, "gid": 1000 });
        };
        both("echo $(readlink /proc/self/cwd) $(stat -c %a . 2>/dev/null)", change, |seen| {
            assert_eq!(seen, expected, "{cwd}");
        });
    }
}

#[test]
fn a_working_directory_that_cannot_be() {
    if !can_make_containers() {
        return;
    }
    for cwd in ["relative", "", "/bin/busybox", "/bin/busybox/below", "/loop"] {
        let mut test = shell("pwd");
        symlink("/loop", test.rootfs().join("loop")).unwrap();
        test.config["process"]["cwd"] = cwd.into();
        let error = refused(&test);
        assert!(error.contains("process.cwd"), "{cwd}: {error}");
    }
}

// Environment

#[test]
fn of_equal_variables_the_last_counts() {
    if !can_make_containers() {
        return;
    }
    let mut test = TestBundle::new(&["env"]);
    test.config["process"]["env"] =
        json!(["PATH=/nowhere", "A=1", "EMPTY=", "B=x=y", "A=2", "HOME=/one", "PATH=/bin", "HOME=/two", "EMPTY="]);
    assert_eq!(stdout(&run(&test)), "B=x=y\nA=2\nPATH=/bin\nHOME=/two\nEMPTY=\n");
    for (env, problem) in [("", "process.env[0]"), ("NAME", "process.env[0]"), ("=value", "process.env[0]")] {
        test.config["process"]["env"] = json!([env]);
        let error = refused(&test);
        assert!(error.contains(problem), "{error}");
    }
    // No environment at all.
    let mut test = TestBundle::new(&["/bin/env"]);
    test.config["process"].as_object_mut().unwrap().remove("env");
    assert_eq!(stdout(&run(&test)), "HOME=/\n");
}

#[test]
fn home_comes_from_passwd() {
    if !can_make_containers() {
        return;
    }
    let ordinary = "root:x:0:0:root:/root:/bin/sh\nme:x:1000:1000:Me:/home/me:/bin/sh\n";
    let long_line = format!("long:x:7:7:{}:/long:/bin/sh\n{ordinary}", "x".repeat(100_000));
    let long_home = format!("me:x:1000:1000::/{}:/bin/sh\n", "h".repeat(2000));
    for (passwd, uid, expected) in [
        (Some(ordinary), 0, "/root"),
        (Some(ordinary), 1000, "/home/me"),
        (Some(ordinary), 1001, "/"),
        (Some(ordinary), 100, "/"),
        (None, 0, "/"),
        (Some(""), 0, "/"),
        (Some("no\n:::\n\n::::::::\nme:x:1000:1000::/late:/bin/sh"), 1000, "/late"),
        (Some("me:x:1000:1000:::/bin/sh\n"), 1000, "/"),
        (Some("a:x:01000:1::/a:/bin/sh\nme:x:1000:1::/b:/bin/sh\n"), 1000, "/a"),
        (Some(&long_line), 1000, "/home/me"),
        (Some(&long_home), 1000, "/"),
    ] {
        let mut test = TestBundle::new(&["sh", "-c", "echo $HOME"]);
        if let Some(passwd) = passwd {
            fs::write(test.rootfs().join("etc/passwd"), passwd).unwrap();
        }
        test.config["process"]["user"] = json!({ "uid": uid, "gid": uid });
        assert_eq!(stdout(&run(&test)).trim_end(), expected, "uid {uid}");
    }
    // The config's wins; an empty one is none.
    for (home, expected) in [("HOME=/mine", "/mine"), ("HOME=", "/root")] {
        let change = |test: &mut TestBundle| {
            fs::write(test.rootfs().join("etc/passwd"), ordinary).unwrap();
            test.config["process"]["env"] = json!(["PATH=/bin", home]);
        };
        both("echo $HOME", change, |seen| assert_eq!(seen.trim_end(), expected));
    }
}

#[test]
fn a_passwd_that_is_no_file_is_not_read() {
    if !can_make_containers() {
        return;
    }
    let fifo = |path: &Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let host = |path: &Path| symlink("/../../../../../../../etc/passwd", path).unwrap();
    let itself = |path: &Path| symlink("passwd", path).unwrap();
    let directory = |path: &Path| fs::create_dir(path).unwrap();
    let kinds: [&dyn Fn(&Path); 4] = [&fifo, &host, &itself, &directory];
    for make in kinds {
        let test = TestBundle::new(&["sh", "-c", "echo $HOME"]);
        make(&test.rootfs().join("etc/passwd"));
        assert_eq!(stdout(&run(&test)), "/\n");
    }
    // A link inside is followed.
    let test = TestBundle::new(&["sh", "-c", "echo $HOME"]);
    symlink("/tmp/users", test.rootfs().join("etc/passwd")).unwrap();
    fs::write(test.rootfs().join("tmp/users"), "root:x:0:0::/linked:/bin/sh\n").unwrap();
    assert_eq!(stdout(&run(&test)), "/linked\n");
}

// The program

#[test]
fn the_program_is_searched_in_the_containers_path() {
    if !can_make_containers() {
        return;
    }
    for (program, path, cwd, found) in [
        ("busybox", Some("/nowhere:/etc:/bin"), "/", true),
        ("busybox", Some("/dir:/data:/bin"), "/", true),
        ("./busybox", Some("/nowhere"), "/bin", true),
        ("bin/busybox", None, "/", true),
        ("../bin/busybox", None, "/etc", true),
        ("/bin/busybox", None, "/", true),
        ("busybox", Some("/nowhere"), "/bin", false),
        ("busybox", Some(""), "/bin", false),
        ("busybox", None, "/bin", false),
        ("busybox", Some("/nowhere:"), "/bin", true),
    ] {
        let mut test = TestBundle::new(&[program, "echo", "found"]);
        fs::create_dir_all(test.rootfs().join("dir/busybox")).unwrap();
        fs::create_dir_all(test.rootfs().join("data")).unwrap();
        fs::write(test.rootfs().join("data/busybox"), "no program").unwrap();
        let env: Vec<String> = path.iter().map(|path| format!("PATH={path}")).collect();
        test.config["process"]["env"] = json!(env);
        test.config["process"]["cwd"] = cwd.into();
        if found {
            assert_eq!(stdout(&run(&test)), "found\n", "{program} in {path:?}");
        } else {
            let error = refused(&test);
            assert!(error.ends_with("exec: \"busybox\": executable file not found in $PATH"), "{path:?}: {error}");
        }
    }
}

/// Engines choose an exit status by these words.
#[test]
fn three_messages_about_programs() {
    if !can_make_containers() {
        return;
    }
    for (program, words) in [
        ("missing", "exec: \"missing\": executable file not found in $PATH"),
        ("", "exec: \"\": executable file not found in $PATH"),
        ("/missing", "exec: \"/missing\": stat /missing: no such file or directory"),
        ("./missing", "exec: \"./missing\": stat ./missing: no such file or directory"),
        ("/bin/busybox/x", "exec: \"/bin/busybox/x\": stat /bin/busybox/x: not a directory"),
        ("/etc/data", "exec: \"/etc/data\": permission denied"),
        ("/etc", "exec: \"/etc\": is a directory"),
    ] {
        for mapped in [false, true] {
            let mut test = TestBundle::new(&[program]);
            let etc = test.rootfs().join("etc");
            fs::write(etc.join("data"), "data").unwrap();
            if mapped {
                test.map_ids();
            }
            let error = refused(&test);
            assert!(error.ends_with(words), "{error}");
        }
    }
}

/// config.md: it is required when `start` is called, not before.
#[test]
fn a_config_without_a_process() {
    if !can_make_containers() {
        return;
    }
    for mapped in [false, true] {
        let mut test = shell("true");
        if mapped {
            test.map_ids();
        }
        test.config.as_object_mut().unwrap().remove("process");
        let path = test.write().path();
        let errors = test.beside("errors");
        let mut create = corten(&test, &["create", "-b", path.to_str().unwrap(), &test.id]);
        let status = create.stdout(Stdio::null()).stderr(fs::File::create(&errors).unwrap()).status().unwrap();
        let said = fs::read_to_string(errors).unwrap();
        assert!(status.success(), "{said}");
        assert_eq!(said.trim_end(), "process: not given, so that there will be nothing to start");
        let state = || serde_json::from_str::<Value>(&succeed(&test, &["state", &test.id])).unwrap();
        assert_eq!(state()["status"], "created");
        succeed(&test, &["start", &test.id]);
        let deadline = Instant::now() + Duration::from_secs(10);
        while state()["status"] != "stopped" {
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        succeed(&test, &["delete", &test.id]);
        test.assert_nothing_left("no process");
        // Whoever runs a container wants something to run.
        assert_eq!(refused(&test), "corten run failed: process: missing");
    }
}

// User

#[test]
fn ids_groups_and_umask() {
    if !can_make_containers() {
        return;
    }
    let look = "grep -E '^(Uid|Gid|Groups):' /proc/self/status; umask; touch /tmp/x; stat -c '%u %g %a' /tmp/x";
    let cases = [
        (json!({ "uid": 0, "gid": 0 }), ["0", "0", ""], "0022\n0 0 644\n"),
        (
            json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 10, 1001], "umask": 0o077 }),
            ["1000", "1001", "5 10 1001"],
            "0077\n1000 1001 600\n",
        ),
        (json!({ "uid": 0, "gid": 7, "umask": 0, "additionalGids": [] }), ["0", "7", ""], "0000\n0 7 666\n"),
    ];
    for (user, ids, rest) in cases {
        let change = |test: &mut TestBundle| {
            fs::set_permissions(test.rootfs().join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
            test.config["root"]["readonly"] = false.into();
            test.config["process"]["user"] = user.clone();
        };
        both(look, change, |seen| {
            for (name, expected) in ["Uid", "Gid", "Groups"].into_iter().zip(ids) {
                let mut found: Vec<_> = field(seen, name).split_whitespace().collect();
                if name != "Groups" {
                    assert_eq!(found.len(), 4);
                    found.dedup();
                }
                assert_eq!(found.join(" "), expected, "{name} of {user}");
            }
            assert!(seen.ends_with(rest), "{seen}");
        });
    }
    // Beyond the map there is nobody.
    for (user, expected) in [
        (json!({ "uid": 70_000, "gid": 0 }), "unmapped uid 70000"),
        (json!({ "uid": 0, "gid": 70_000 }), "unmapped gid 70000"),
        (json!({ "uid": 0, "gid": 0, "additionalGids": [70_000] }), "unmapped gid 70000"),
    ] {
        let mut test = shell("id");
        test.map_ids();
        test.config["process"]["user"] = user;
        let error = refused(&test);
        assert!(error.contains("process.user") && error.contains(expected), "{error}");
    }
}

/// -1 as an id means "leave it" to the kernel: the process would have stayed root.
#[test]
fn an_id_that_is_none_is_refused() {
    if !can_make_containers() {
        return;
    }
    for user in [
        json!({ "uid": u32::MAX, "gid": 0 }),
        json!({ "uid": 1000, "gid": u32::MAX }),
        json!({ "uid": 0, "gid": 0, "additionalGids": [u32::MAX] }),
        json!({ "uid": 1u64 << 32, "gid": 0 }),
    ] {
        for mapped in [false, true] {
            let mut test = shell("id");
            if mapped {
                test.map_ids();
            }
            test.config["process"]["user"] = user.clone();
            let error = refused(&test);
            assert!(error.contains("process.user"), "{user}: {error}");
        }
    }
}

#[test]
fn the_callers_groups_stay_if_they_are_to() {
    if !can_make_containers() || !has("setpriv") {
        return;
    }
    for (value, expected) in
        [(None, "10"), (Some("1"), "7 8"), (Some("true"), "7 8"), (Some("0"), "10"), (Some(""), "7 8")]
    {
        let mut test = shell("grep Groups /proc/self/status");
        test.config["process"]["user"]["additionalGids"] = json!([10]);
        if let Some(value) = value {
            test.config["annotations"] = json!({ "run.oci.keep_original_groups": value });
        }
        let seen = stdout(&run_behind(&test, &["setpriv", "--groups", "7,8"]));
        assert_eq!(field(&seen, "Groups"), expected, "{value:?}");
    }
}

/// Init becomes root of the namespace before it becomes the user: neither may take them away (Podman's `keep-groups`).
#[test]
fn the_callers_groups_stay_in_a_user_namespace() {
    if !can_make_containers() || !has("setpriv") {
        return;
    }
    let groups = format!("{},{}", MAPPED_ROOT + 7, MAPPED_ROOT + 8);
    let script = "grep Groups /proc/self/status";
    for (value, uid, expected) in [("1", 0, "7 8"), ("1", 1000, "7 8"), ("0", 0, "")] {
        let mut test = shell(script);
        test.config["annotations"] = json!({ "run.oci.keep_original_groups": value });
        test.config["process"]["user"] = json!({ "uid": uid, "gid": uid });
        test.map_ids();
        let seen = stdout(&run_behind(&test, &["setpriv", "--groups", &groups]));
        assert_eq!(field(&seen, "Groups"), expected, "{value} {uid}");
        test.config["process"]["args"] = json!(["sleep", "1000"]);
        create(&test);
        let mut exec = Command::new("setpriv");
        exec.args(["--groups", &groups, CORTEN, "--root"]).arg(test.state_root()).args(["exec", &test.id]);
        let seen = stdout(&exec.args(["sh", "-c", script]).stdin(Stdio::null()).output().unwrap());
        assert_eq!(field(&seen, "Groups"), expected, "exec, {value} {uid}");
        succeed(&test, &["delete", "--force", &test.id]);
        test.assert_nothing_left("groups");
    }
}

// Capabilities

#[test]
fn five_sets_of_capabilities() {
    if !can_make_containers() {
        return;
    }
    let all = json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETUID"],
        "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
        "effective": ["CAP_CHOWN", "CAP_KILL"],
        "inheritable": ["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_CHOWN"],
        "ambient": ["CAP_NET_BIND_SERVICE", "CAP_KILL"],
    });
    let inheritable: &[&str] = &["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_CHOWN"];
    let bounding: &[&str] = &["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETUID"];
    let ambient: &[&str] = &["CAP_NET_BIND_SERVICE", "CAP_KILL"];
    // capabilities(7): root gets what is inheritable or in the bounding set, but with no_new_privs nothing that it has
    // not had; another user keeps what is ambient.
    let permitted: &[&str] = &["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    let cases = [
        (0, false, bounding, bounding),
        (0, true, permitted, permitted),
        (1000, false, ambient, ambient),
        (1000, true, ambient, ambient),
    ];
    for (uid, no_new_privileges, prm, eff) in cases {
        let change = |test: &mut TestBundle| {
            let process = &mut test.config["process"];
            process["user"] = json!({ "uid": uid, "gid": uid });
            process["noNewPrivileges"] = no_new_privileges.into();
            process["capabilities"] = all.clone();
        };
        both("cat /proc/self/status", change, |seen| {
            let expected =
                [("CapInh", inheritable), ("CapPrm", prm), ("CapEff", eff), ("CapBnd", bounding), ("CapAmb", ambient)];
            for (set, names) in expected {
                let found = u64::from_str_radix(field(seen, set), 16).unwrap();
                assert_eq!(
                    found,
                    capability_bits(names),
                    "{set} of {uid}, noNewPrivileges {no_new_privileges}: {found:x}"
                );
            }
            assert_eq!(field(seen, "NoNewPrivs"), if no_new_privileges { "1" } else { "0" });
        });
    }
}

/// Each name is the kernel's: in run `bit`, the sets have those whose number has the bit.
#[test]
fn every_capability() {
    const NAMES: [&str; 41] = [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ];
    if !can_make_containers() {
        return;
    }
    // What the caller has not got it cannot give.
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let own = u64::from_str_radix(field(&status, "CapPrm"), 16).unwrap();
    for bit in 0..6 {
        let chosen: Vec<_> = NAMES.iter().enumerate().filter(|(number, _)| number >> bit & 1 == 1).collect();
        let wanted = chosen.iter().fold(0, |bits, (number, _)| bits | 1u64 << number);
        let change = |test: &mut TestBundle| {
            let mapped = test.config["linux"].get("uidMappings").is_some();
            let has = |number: usize| mapped || own >> number & 1 == 1;
            let listed: Vec<_> =
                chosen.iter().filter(|(number, _)| has(*number)).map(|(_, name)| format!("CAP_{name}")).collect();
            test.config["process"]["noNewPrivileges"] = false.into();
            for set in ["bounding", "permitted", "effective", "inheritable", "ambient"] {
                test.config["process"]["capabilities"][set] = json!(listed);
            }
        };
        both("cat /proc/self/status; cat /proc/self/uid_map", change, |seen| {
            let mapped = seen.trim_end().ends_with(" 65536");
            let wanted = if mapped { wanted } else { wanted & own };
            for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                let found = u64::from_str_radix(field(seen, set), 16).unwrap();
                assert_eq!(found, wanted, "{set} in run {bit}, mapped {mapped}: {:x}", found ^ wanted);
            }
        });
    }
    // Nobody knows what such a container may do, so nobody makes it.
    let mut test = shell("true");
    test.config["process"]["capabilities"]["bounding"] = json!(["CAP_CHOWN", "CAP_NOPE"]);
    let error = refused(&test);
    assert!(error.contains(": process.capabilities.bounding") && error.contains("NOPE"), "{error}");
}

/// config.md#linux-process: what cannot be granted is told and left out.
#[test]
fn capabilities_that_the_runtime_has_not() {
    if !can_make_containers() || !has("setpriv") {
        return;
    }
    let warning = "process.capabilities: CAP_WAKE_ALARM is left out, as the runtime itself does not have it\n";
    for (mapped, expected, said) in [(false, 1 << 5, warning), (true, 1 << 5 | 1 << 35, "")] {
        let mut test = shell("cat /proc/self/status");
        if mapped {
            test.map_ids();
        }
        for set in ["bounding", "permitted", "effective", "inheritable", "ambient"] {
            test.config["process"]["capabilities"][set] = json!(["CAP_KILL", "CAP_WAKE_ALARM"]);
        }
        let output = run_behind(&test, &["setpriv", "--bounding-set=-wake_alarm"]);
        assert_eq!(String::from_utf8_lossy(&output.stderr), said);
        let seen = String::from_utf8(output.stdout).unwrap();
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(u64::from_str_radix(field(&seen, set), 16), Ok(expected), "{set}, mapped {mapped}");
        }
        test.assert_nothing_left("without a capability");
    }
}

#[test]
fn without_capabilities_there_are_none() {
    if !can_make_containers() {
        return;
    }
    let remove = |test: &mut TestBundle| {
        test.config["process"].as_object_mut().unwrap().remove("capabilities");
        test.config["process"].as_object_mut().unwrap().remove("noNewPrivileges");
    };
    let empty = |test: &mut TestBundle| test.config["process"]["capabilities"] = json!({});
    let changes: [&dyn Fn(&mut TestBundle); 2] = [&remove, &empty];
    for change in changes {
        both("cat /proc/self/status", change, |seen| {
            for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                assert_eq!(field(seen, set), "0000000000000000", "{set}");
            }
        });
    }
    // Ambient ones that are not permitted and inheritable are left out, which is said; effective ones that are not permitted are an error.
    let mut test = shell("cat /proc/self/status");
    test.config["process"]["capabilities"] = json!({ "bounding": ["CAP_KILL"], "ambient": ["CAP_KILL"] });
    let output = run(&test);
    assert_eq!(field(&String::from_utf8_lossy(&output.stdout), "CapAmb"), "0000000000000000");
    let warning = "process.capabilities.ambient: CAP_KILL is left out";
    assert!(String::from_utf8_lossy(&output.stderr).contains(warning), "{output:?}");
    test.config["process"]["capabilities"] = json!({ "effective": ["CAP_KILL"], "permitted": ["CAP_CHOWN"] });
    let error = refused(&test);
    assert!(error.contains("process.capabilities"), "{error}");
}

// Limits and the score

#[test]
fn every_resource_limit() {
    const LIMITS: [(&str, &str); 16] = [
        ("RLIMIT_CPU", "Max cpu time"),
        ("RLIMIT_FSIZE", "Max file size"),
        ("RLIMIT_DATA", "Max data size"),
        ("RLIMIT_STACK", "Max stack size"),
        ("RLIMIT_CORE", "Max core file size"),
        ("RLIMIT_RSS", "Max resident set"),
        ("RLIMIT_NPROC", "Max processes"),
        ("RLIMIT_NOFILE", "Max open files"),
        ("RLIMIT_MEMLOCK", "Max locked memory"),
        ("RLIMIT_AS", "Max address space"),
        ("RLIMIT_LOCKS", "Max file locks"),
        ("RLIMIT_SIGPENDING", "Max pending signals"),
        ("RLIMIT_MSGQUEUE", "Max msgqueue size"),
        ("RLIMIT_NICE", "Max nice priority"),
        ("RLIMIT_RTPRIO", "Max realtime priority"),
        ("RLIMIT_RTTIME", "Max realtime timeout"),
    ];
    if !can_make_containers() {
        return;
    }
    let parse = |text: &str, name: &str| -> (u64, u64) {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let number = |word: &str| if word == "unlimited" { u64::MAX } else { word.parse().unwrap() };
        let mut words = line.split_whitespace();
        (number(words.next().unwrap()), number(words.next().unwrap()))
    };
    // Not above the hard limits of here: raising them needs CAP_SYS_RESOURCE.
    let own = fs::read_to_string("/proc/self/limits").unwrap();
    let wanted = LIMITS.map(|(typ, name)| {
        let base = if matches!(typ, "RLIMIT_NICE" | "RLIMIT_RTPRIO") { 5 } else { 400_000_000 };
        let hard = parse(&own, name).1.min(base);
        (typ, name, hard - hard / 4, hard)
    });
    let listed: Vec<_> =
        wanted.iter().map(|(typ, _, soft, hard)| json!({ "type": typ, "soft": soft, "hard": hard })).collect();
    let change = |test: &mut TestBundle| test.config["process"]["rlimits"] = json!(listed);
    both("cat /proc/self/limits", change, |seen| {
        for (typ, name, soft, hard) in wanted {
            assert_eq!(parse(seen, name), (soft, hard), "{typ}");
        }
    });
    // What is not named stays.
    both(
        "cat /proc/self/limits",
        |test| test.config["process"]["rlimits"] = json!([]),
        |seen| {
            for (typ, name) in LIMITS {
                assert_eq!(parse(seen, name), parse(&own, name), "{typ}");
            }
        },
    );
    // One that cannot be: the file that it is about is named. NR_OPEN bounds it, whoever asks.
    let mut test = shell("true");
    test.config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 5, "hard": u64::MAX }]);
    let error = refused(&test);
    assert!(error.contains("process.rlimits[0]"), "{error}");
}

#[test]
fn the_oom_score() {
    if !can_make_containers() {
        return;
    }
    let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse::<i64>().unwrap();
    for (value, expected) in [(None, own), (Some(300), 300), (Some(1000), 1000)] {
        let change = |test: &mut TestBundle| {
            if let Some(value) = value {
                test.config["process"]["oomScoreAdj"] = value.into();
            }
        };
        both("cat /proc/self/oom_score_adj", change, |seen| assert_eq!(seen, format!("{expected}\n")));
    }
    for value in [-1001, 1001] {
        let mut test = shell("true");
        test.config["process"]["oomScoreAdj"] = value.into();
        let error = refused(&test);
        assert!(error.contains("process.oomScoreAdj"), "{error}");
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let may_lower = u64::from_str_radix(field(&status, "CapEff"), 16).unwrap() >> 24 & 1 == 1;
    let mut test = shell("cat /proc/self/oom_score_adj");
    test.config["process"]["oomScoreAdj"] = (-1000).into();
    if may_lower {
        assert_eq!(stdout(&run(&test)), "-1000\n");
    } else {
        let error = refused(&test);
        assert!(error.contains("process.oomScoreAdj") && error.ends_with("permission denied"), "{error}");
    }
}

// Scheduler, I/O priority, CPUs, personality, memory

#[test]
fn every_scheduling_policy() {
    if !can_make_containers() {
        return;
    }
    if !Path::new("/proc/self/sched").exists() {
        return skip("no /proc/PID/sched");
    }
    let time =
        json!({ "policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 10_000_000, "period": 10_000_000 });
    // The kernel's number of the policy and its own priority: 120 plus nice, or 99 less the priority.
    for (scheduler, policy, priority) in [
        (json!({ "policy": "SCHED_OTHER" }), 0, 120),
        (json!({ "policy": "SCHED_OTHER", "nice": 19 }), 0, 139),
        (json!({ "policy": "SCHED_OTHER", "nice": -20 }), 0, 100),
        (json!({ "policy": "SCHED_FIFO", "priority": 7 }), 1, 92),
        (json!({ "policy": "SCHED_RR", "priority": 99 }), 2, 0),
        (json!({ "policy": "SCHED_BATCH", "nice": 3 }), 3, 123),
        (json!({ "policy": "SCHED_IDLE" }), 5, 120),
        (time, 6, -1),
    ] {
        for uid in [0, 1000] {
            let mut test = shell("cat /proc/$$/sched");
            test.config["process"]["scheduler"] = scheduler.clone();
            test.config["process"]["user"]["uid"] = uid.into();
            let output = run(&test);
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            if policy != 0 && error.ends_with("operation not permitted\n") {
                assert!(error.contains("process.scheduler"), "{error}");
                skip(&format!("no {} here", scheduler["policy"]));
                break;
            }
            let seen = stdout(&output);
            let number = |name: &str| {
                let line = seen.lines().find(|line| line.split(':').next().unwrap().trim() == name).unwrap();
                line.split(':').nth(1).unwrap().trim().parse::<i32>().unwrap()
            };
            assert_eq!((number("policy"), number("prio")), (policy, priority), "{scheduler}");
        }
    }
}

/// What the kernel says of a container's first process: policy, flags, nice, priority, runtime, deadline, period.
fn scheduling_of(pid: i32) -> [i64; 7] {
    // SAFETY: all zeroes is a value of this structure of integers.
    let mut found: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = u32::try_from(size_of_val(&found)).unwrap();
    // SAFETY: the structure has the size that is said and outlives the call.
    let got = unsafe { libc::syscall(libc::SYS_sched_getattr, pid, &raw mut found, size, 0) };
    assert_eq!(got, 0, "{}", std::io::Error::last_os_error());
    let times = [found.sched_runtime, found.sched_deadline, found.sched_period].map(|time| time.try_into().unwrap());
    let [runtime, deadline, period] = times;
    let (policy, nice, priority) = (found.sched_policy.into(), found.sched_nice.into(), found.sched_priority.into());
    [policy, found.sched_flags.try_into().unwrap(), nice, priority, runtime, deadline, period]
}

#[test]
fn every_scheduling_flag() {
    if !can_make_containers() {
        return;
    }
    let deadline = |flag: &str| {
        json!({ "policy": "SCHED_DEADLINE", "runtime": 2_000_000, "deadline": 10_000_000, "period": 20_000_000,
            "flags": [flag] })
    };
    let times = [2_000_000, 10_000_000, 20_000_000];
    let other = |flags: &[&str]| json!({ "policy": "SCHED_BATCH", "nice": 3, "flags": flags });
    let none = [0, 0, 0];
    // Whether the kernel gives it to an ordinary user; policy, flags, nice; times.
    for (scheduler, ordinary, expected, times) in [
        (other(&[]), true, [3, 0, 3], none),
        (other(&["SCHED_FLAG_RESET_ON_FORK"]), true, [3, 1, 3], none),
        (deadline("SCHED_FLAG_RECLAIM"), false, [6, 2, 0], times),
        (deadline("SCHED_FLAG_DL_OVERRUN"), false, [6, 4, 0], times),
        (other(&["SCHED_FLAG_KEEP_POLICY"]), true, [0, 0, 3], none),
        // The policy is one of the parameters.
        (other(&["SCHED_FLAG_KEEP_PARAMS"]), true, [0, 0, 0], none),
        (other(&["SCHED_FLAG_UTIL_CLAMP_MIN"]), true, [3, 0, 3], none),
        (other(&["SCHED_FLAG_UTIL_CLAMP_MAX"]), true, [3, 0, 3], none),
    ] {
        for mapped in [false, true] {
            let mut test = shell("true");
            if mapped {
                test.map_ids();
            }
            test.config["process"]["scheduler"] = scheduler.clone();
            let path = test.write().path();
            let errors = test.beside("errors");
            let mut create = corten(&test, &["create", "-b", path.to_str().unwrap(), &test.id]);
            let status = create.stdout(Stdio::null()).stderr(fs::File::create(&errors).unwrap()).status().unwrap();
            if !status.success() {
                let error = fs::read_to_string(errors).unwrap();
                let reasons: &[&str] = match ordinary {
                    // A kernel without utilization clamps.
                    true => &["operation not supported"],
                    false => &["operation not permitted", "device or resource busy"],
                };
                let is_known = |reason: &&str| error.contains(&format!(": process.scheduler: sched_setattr: {reason}"));
                assert!(reasons.iter().any(is_known), "{scheduler}, mapped {mapped}: {error}");
                if !mapped {
                    skip(&format!("not here: {scheduler}"));
                }
                test.assert_nothing_left(&error);
                continue;
            }
            assert!(ordinary || !mapped, "a user namespace gives no {scheduler}");
            let state: Value = serde_json::from_str(&succeed(&test, &["state", &test.id])).unwrap();
            let found = scheduling_of(i32::try_from(state["pid"].as_i64().unwrap()).unwrap());
            let [policy, flags, nice, _, found_times @ ..] = found;
            assert_eq!([policy, flags, nice], expected, "{scheduler}, mapped {mapped}");
            // A kernel since 6.12 tells the slice of other policies as their runtime.
            assert!(policy != 6 || found_times == times, "{scheduler}: {found_times:?}");
            succeed(&test, &["delete", "--force", &test.id]);
            test.assert_nothing_left("flags");
        }
    }
}

#[test]
fn schedulers_that_cannot_be() {
    if !can_make_containers() {
        return;
    }
    for scheduler in [
        json!({ "policy": "SCHED_OTHER", "priority": 5 }),
        json!({ "policy": "SCHED_BATCH", "priority": 5 }),
        json!({ "policy": "SCHED_FIFO", "priority": 0 }),
        json!({ "policy": "SCHED_FIFO", "priority": 100 }),
        json!({ "policy": "SCHED_RR", "priority": -1 }),
        json!({ "policy": "SCHED_FIFO", "runtime": 5 }),
        json!({ "policy": "SCHED_DEADLINE", "runtime": 5, "deadline": 4, "period": 3 }),
        json!({ "policy": "SCHED_DEADLINE" }),
        json!({ "policy": "SCHED_ISO" }),
        json!({ "policy": "SCHED_NOPE" }),
        json!({ "policy": "" }),
        json!({ "nice": 5 }),
        json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NOPE"] }),
    ] {
        let mut test = shell("true");
        test.config["process"]["scheduler"] = scheduler.clone();
        let error = refused(&test);
        assert!(error.contains("process.scheduler"), "{scheduler}: {error}");
    }
    // In a user namespace the kernel has no privileges to give; that is said, not ignored.
    let mut test = shell("true");
    test.map_ids();
    test.config["process"]["scheduler"] = json!({ "policy": "SCHED_FIFO", "priority": 7 });
    let error = refused(&test);
    assert!(error.contains("process.scheduler") && error.ends_with("operation not permitted"), "{error}");
    test.config["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 5 });
    stdout(&run(&test));
}

#[test]
fn every_io_priority_class() {
    if !can_make_containers() {
        return;
    }
    for (class, priority, expected, for_mapped) in [
        ("IOPRIO_CLASS_RT", 0, "realtime: prio 0\n", false),
        ("IOPRIO_CLASS_RT", 3, "realtime: prio 3\n", false),
        ("IOPRIO_CLASS_BE", 7, "best-effort: prio 7\n", true),
        ("IOPRIO_CLASS_BE", 0, "best-effort: prio 0\n", true),
        ("IOPRIO_CLASS_IDLE", 0, "idle\n", true),
    ] {
        for mapped in [false, true] {
            let mut test = TestBundle::new(&["busybox", "ionice"]);
            if mapped {
                test.map_ids();
            }
            test.config["process"]["ioPriority"] = json!({ "class": class, "priority": priority });
            if mapped && !for_mapped {
                let error = refused(&test);
                assert!(error.contains("process.ioPriority") && error.ends_with("operation not permitted"), "{error}");
            } else {
                assert_eq!(stdout(&run(&test)), expected);
            }
        }
    }
    let mut test = shell("true");
    test.config["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_NOPE", "priority": 1 });
    let error = refused(&test);
    assert!(error.contains("process.ioPriority"), "{error}");
}

#[test]
fn the_callers_cpus_are_not_the_containers() {
    if !can_make_containers() || !has("taskset") {
        return;
    }
    let widest = ["ffffffff", "grep", "Cpus_allowed_list", "/proc/self/status"];
    let all = stdout(&Command::new("taskset").args(widest).output().unwrap());
    let all = field(&all, "Cpus_allowed_list");
    if all == "0" {
        return skip("one CPU");
    }
    // What is for exec is not for init.
    for affinity in [Value::Null, json!({ "initial": "0", "final": "0" })] {
        for mapped in [false, true] {
            let mut test = shell("cat /proc/self/status");
            if mapped {
                test.map_ids();
            }
            if !affinity.is_null() {
                test.config["process"]["execCPUAffinity"] = affinity.clone();
            }
            let seen = stdout(&run_behind(&test, &["taskset", "-c", "0"]));
            assert_eq!(field(&seen, "Cpus_allowed_list"), all, "{affinity}");
        }
    }
    let mut test = shell("true");
    test.config["process"]["execCPUAffinity"] = json!({ "initial": "none" });
    let error = refused(&test);
    assert!(error.contains("process.execCPUAffinity"), "{error}");
}

#[test]
fn personalities() {
    if !can_make_containers() {
        return;
    }
    let machine = nix::sys::utsname::uname().unwrap().machine().to_string_lossy().into_owned();
    let other = match machine.as_str() {
        "x86_64" => "i686",
        "aarch64" => "armv8l",
        other => return skip(&format!("no 32-bit name of {other}")),
    };
    for (domain, expected) in [("LINUX", machine.as_str()), ("LINUX32", other)] {
        let change = |test: &mut TestBundle| test.config["linux"]["personality"] = json!({ "domain": domain });
        both("busybox uname -m", change, |seen| assert_eq!(seen.trim_end(), expected));
    }
    let mut test = shell("true");
    test.config["linux"]["personality"] = json!({ "domain": "LINUX64" });
    let error = refused(&test);
    assert!(error.contains("linux.personality"), "{error}");
}

#[test]
fn memory_policies() {
    if !can_make_containers() {
        return;
    }
    if !Path::new("/proc/self/numa_maps").exists() {
        return skip("no /proc/PID/numa_maps");
    }
    for (policy, expected) in [
        (json!({ "mode": "MPOL_DEFAULT" }), "default"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0" }), "bind:0"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] }), "bind=static:0"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"] }), "bind=relative:0"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"] }), "bind=balancing:0"),
        (json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0" }), "interleave:0"),
        (json!({ "mode": "MPOL_PREFERRED_MANY", "nodes": "0" }), "prefer (many):0"),
        (json!({ "mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0" }), "weighted interleave:0"),
        (json!({ "mode": "MPOL_PREFERRED", "nodes": "0-0" }), "prefer:0"),
        (json!({ "mode": "MPOL_PREFERRED" }), "local"),
        (json!({ "mode": "MPOL_LOCAL" }), "local"),
    ] {
        let change = |test: &mut TestBundle| test.config["linux"]["memoryPolicy"] = policy.clone();
        // Newer than the oldest kernel: tried first, so that the error is not taken for a failure.
        let mode = policy["mode"].as_str().unwrap();
        if ["MPOL_PREFERRED_MANY", "MPOL_WEIGHTED_INTERLEAVE"].contains(&mode) {
            let mut test = shell("true");
            change(&mut test);
            let error = String::from_utf8_lossy(&run(&test).stderr).into_owned();
            if error.ends_with("linux.memoryPolicy: set_mempolicy: invalid argument\n") {
                skip(&format!("the kernel has no {mode}"));
                continue;
            }
        }
        both("cat /proc/self/numa_maps", change, |seen| {
            let (_, heap) = seen.lines().next().unwrap().split_once(' ').unwrap();
            assert!(format!("{heap} ").starts_with(&format!("{expected} ")), "{policy}: {heap}");
        });
    }
    for policy in [
        json!({ "mode": "MPOL_BIND" }),
        json!({ "mode": "MPOL_INTERLEAVE", "nodes": "" }),
        json!({ "mode": "MPOL_BIND", "nodes": "1000" }),
        json!({ "mode": "MPOL_BIND", "nodes": "none" }),
        json!({ "mode": "MPOL_BIND", "nodes": "3-1" }),
        json!({ "mode": "MPOL_DEFAULT", "nodes": "0" }),
        json!({ "mode": "MPOL_LOCAL", "nodes": "0" }),
        json!({ "mode": "MPOL_NOPE", "nodes": "0" }),
        json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NOPE"] }),
        json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"] }),
    ] {
        let mut test = shell("true");
        test.config["linux"]["memoryPolicy"] = policy.clone();
        let error = refused(&test);
        assert!(error.contains("linux.memoryPolicy"), "{policy}: {error}");
    }
}

// Names and kernel parameters

#[test]
fn host_and_domain_names() {
    if !can_make_containers() {
        return;
    }
    let change = |test: &mut TestBundle| {
        test.config["hostname"] = "a-name".into();
        test.config["domainname"] = "a.domain".into();
    };
    both("hostname; cat /proc/sys/kernel/domainname", change, |seen| assert_eq!(seen, "a-name\na.domain\n"));
    let own = nix::sys::utsname::uname().unwrap().nodename().to_string_lossy().into_owned();
    let change = |test: &mut TestBundle| drop(test.config.as_object_mut().unwrap().remove("hostname"));
    both("hostname", change, |seen| assert_eq!(seen.trim_end(), own));
    let mut test = shell("hostname");
    test.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "uts");
    let error = refused(&test);
    assert!(error.contains("hostname"), "{error}");
}

#[test]
fn kernel_parameters_of_each_family() {
    if !can_make_containers() {
        return;
    }
    let wanted = [
        ("kernel.msgmax", "kernel/msgmax", "4096"),
        ("kernel.msgmnb", "kernel/msgmnb", "8192"),
        ("kernel.msgmni", "kernel/msgmni", "100"),
        ("kernel.sem", "kernel/sem", "10\t20\t30\t40"),
        ("kernel.shmall", "kernel/shmall", "1000"),
        ("kernel.shmmax", "kernel/shmmax", "100000"),
        ("kernel.shmmni", "kernel/shmmni", "50"),
        ("kernel.shm_rmid_forced", "kernel/shm_rmid_forced", "1"),
        ("fs.mqueue.msg_max", "fs/mqueue/msg_max", "7"),
        ("fs/mqueue/queues_max", "fs/mqueue/queues_max", "5"),
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward", "1"),
        ("net.core.somaxconn", "net/core/somaxconn", "33"),
        ("net.ipv4.ping_group_range", "net/ipv4/ping_group_range", "0\t5"),
        ("net/ipv4/conf/lo/forwarding", "net/ipv4/conf/lo/forwarding", "1"),
    ];
    let map: BTreeMap<_, _> = wanted.iter().map(|(key, _, value)| (*key, value.replace('\t', " "))).collect();
    let script: String = wanted.iter().map(|(_, file, _)| format!("cat /proc/sys/{file};")).collect();
    let expected: String = wanted.iter().map(|(_, _, value)| format!("{value}\n")).collect();
    let before: Vec<_> = wanted.iter().map(|(_, file, _)| fs::read(Path::new("/proc/sys").join(file)).ok()).collect();
    both(&script, |test| test.config["linux"]["sysctl"] = json!(map), |seen| assert_eq!(seen, expected));
    let after: Vec<_> = wanted.iter().map(|(_, file, _)| fs::read(Path::new("/proc/sys").join(file)).ok()).collect();
    assert!(before == after, "the host's parameters have changed");
    // The kernel gives this file to the first user namespace's root alone.
    let mut test = shell("cat /proc/sys/kernel/domainname");
    test.config["linux"]["sysctl"] = json!({ "kernel.domainname": "by.sysctl" });
    assert_eq!(stdout(&run(&test)), "by.sysctl\n");
    test.map_ids();
    let error = refused(&test);
    assert!(error.contains("kernel.domainname") && error.ends_with("permission denied"), "{error}");
    // Those of a user namespace need one.
    let mut test = shell("cat /proc/sys/user/max_mnt_namespaces");
    test.config["linux"]["sysctl"] = json!({ "user.max_mnt_namespaces": "77" });
    let error = refused(&test);
    assert!(error.contains("user.max_mnt_namespaces"), "{error}");
    test.map_ids();
    assert_eq!(stdout(&run(&test)), "77\n");
}

#[test]
fn kernel_parameters_that_are_the_hosts() {
    if !can_make_containers() {
        return;
    }
    let cases = [
        ("kernel.panic", "1", None),
        ("kernel.hostname", "x", None),
        ("vm.swappiness", "1", None),
        ("fs.file-max", "1", None),
        ("net.ipv4.no_such_thing", "1", None),
        ("net.ipv4.ip_forward", "nonsense", None),
        ("net/../kernel/panic", "1", None),
        ("net.ipv4.ip_forward", "1", Some("network")),
        ("kernel.msgmax", "1", Some("ipc")),
        ("fs.mqueue.msg_max", "1", Some("ipc")),
        ("kernel.domainname", "x", Some("uts")),
    ];
    for (key, value, without) in cases {
        let mut test = shell("true");
        test.config["linux"]["sysctl"] = json!({ key: value });
        test.config.as_object_mut().unwrap().remove("hostname");
        let namespaces = test.config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"].as_str() != without);
        let error = refused(&test);
        assert!(error.contains("linux.sysctl") && error.contains(key), "{key} without {without:?}: {error}");
    }
}

#[test]
fn a_readonly_root() {
    if !can_make_containers() {
        return;
    }
    let script = "touch /x 2>&1; mkdir /y 2>&1; test -e /x && echo made";
    let refused = "touch: /x: Read-only file system\nmkdir: can't create directory '/y': Read-only file system\n";
    for (readonly, expected) in [(json!(true), refused), (json!(false), "made\n"), (Value::Null, "made\n")] {
        let change = |test: &mut TestBundle| {
            let root = test.config["root"].as_object_mut().unwrap();
            root.remove("readonly");
            if !readonly.is_null() {
                root.insert("readonly".into(), readonly.clone());
            }
        };
        both(&format!("{script}; true"), change, |seen| assert_eq!(seen, expected));
    }
}

// Network

#[test]
fn the_loopback_device_is_up() {
    if !can_make_containers() {
        return;
    }
    let script = "busybox ip addr show lo; busybox ping -c1 127.0.0.1 >/dev/null 2>&1; cat /sys/class/net/lo/flags";
    both(
        script,
        |_| {},
        |seen| {
            assert!(seen.contains("LOOPBACK,UP") && seen.contains("inet 127.0.0.1/8"), "{seen}");
            assert!(seen.ends_with("0x9\n"), "{seen}");
        },
    );
}

/// A network namespace with a pair of devices in it, and corten there: the machine's own is left alone.
fn run_between_devices(test: &TestBundle) -> Output {
    let setup = "ip link add here type veth peer name there 2>/dev/null || exit 99; \
        ip addr add 10.9.8.7/24 dev here; ip addr add fd00::7/64 dev here nodad; \
        ip link set here mtu 1400 up; ip link set there up; exec \"$@\"";
    run_behind(test, &["unshare", "-n", "sh", "-c", setup, "sh"])
}

#[test]
fn network_devices_move_in() {
    if !can_make_containers() || !has("ip") || !has("unshare") {
        return;
    }
    for (device, name) in [(json!({ "name": "eth7" }), "eth7"), (json!({}), "here")] {
        for mapped in [false, true] {
            let mut test = shell("busybox ip addr; cat /sys/class/net/*/address | wc -l");
            if mapped {
                test.map_ids();
            }
            test.config["linux"]["netDevices"] = json!({ "here": device });
            let output = run_between_devices(&test);
            if output.status.code() == Some(99) {
                return skip("no veth");
            }
            let seen = stdout(&output);
            let part = seen.split("\n2:").nth(1).or(seen.split(&format!(" {name}@")).nth(1));
            let part = part.unwrap_or_else(|| panic!("{seen}"));
            assert!(seen.contains(&format!(" {name}@")) || seen.contains(&format!(" {name}:")), "{seen}");
            for word in ["inet 10.9.8.7/24", "inet6 fd00::7/64", "mtu 1400", "UP"] {
                assert!(part.contains(word), "{word} is missing: {seen}");
            }
            assert!(!seen.contains("there:"), "{seen}");
            test.assert_nothing_left("devices");
        }
    }
}

#[test]
fn network_devices_that_cannot_move() {
    if !can_make_containers() || !has("ip") || !has("unshare") {
        return;
    }
    for (devices, words) in [
        (json!({ "x": {} }), "linux.netDevices[\"x\"]"),
        (json!({ "here": { "name": "lo" } }), "linux.netDevices[\"here\"]"),
        (json!({ "here": { "name": "same" }, "there": { "name": "same" } }), "linux.netDevices"),
        (json!({ "here": { "name": "a/b" } }), "linux.netDevices"),
        (json!({ "here": { "name": "longer-than-15-bytes" } }), "linux.netDevices"),
        (json!({ "lo": {} }), "linux.netDevices"),
    ] {
        let mut test = shell("true");
        test.config["linux"]["netDevices"] = devices.clone();
        let output = run_between_devices(&test);
        if output.status.code() == Some(99) {
            return skip("no veth");
        }
        let error = one_error(&output);
        assert!(error.contains(words), "{devices}: {error}");
        test.assert_nothing_left("devices");
    }
}

// Annotations, fds

#[test]
fn annotations_stay_in_the_state() {
    if !can_make_containers() {
        return;
    }
    let mut test = shell("true");
    let annotations = json!({ "org.example.key": "value", "empty": "", "run.oci.unknown": "yes", "uni": "é\u{1F980}" });
    test.config["annotations"] = annotations.clone();
    let path = test.write().path();
    let create = ["create", "-b", path.to_str().unwrap(), &test.id];
    assert!(corten(&test, &create).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    let state = common::state(&test);
    assert_eq!(state["annotations"], annotations);
    succeed(&test, &["delete", "--force", &test.id]);
    test.assert_nothing_left("annotations");
}

#[test]
fn preserved_fds_in_a_user_namespace() {
    if !can_make_containers() {
        return;
    }
    let mut test = shell("read a <&3; echo $a; ls /proc/$$/fd; true");
    test.map_ids();
    let path = test.write().path();
    fs::write(test.beside("three"), "three\n").unwrap();
    fs::write(test.beside("four"), "four\n").unwrap();
    let open = format!("exec \"$@\" 3<{} 4<{}", test.beside("three").display(), test.beside("four").display());
    let output = Command::new("sh")
        .args(["-c", &open, "sh", CORTEN, "--root"])
        .arg(test.state_root())
        .args(["run", "--preserve-fds", "1", "-b"])
        .arg(path)
        .arg(&test.id)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let seen = stdout(&output);
    let lines: Vec<_> = seen.lines().filter(|line| *line != "10").collect();
    assert_eq!(lines, ["three", "0", "1", "2", "3"], "fd 4 was not to come in");
    test.assert_nothing_left("preserved fds");
}

/// A file of a user whom the user namespace does not map is closed to its root. runc goes on, too, and warns.
#[test]
fn a_passwd_that_cannot_be_read_is_told() {
    if !can_make_containers() {
        return;
    }
    let mut test = TestBundle::new(&["sh", "-c", "echo $HOME"]);
    test.config["process"]["env"] = json!(["PATH=/bin"]);
    let passwd = test.rootfs().join("etc/passwd");
    fs::create_dir_all(passwd.parent().unwrap()).unwrap();
    fs::write(&passwd, "root:x:0:0::/home/of/root:/bin/sh\n").unwrap();
    test.map_ids();
    let said = |test: &TestBundle| {
        let output = run(test);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr))
    };
    assert_eq!(said(&test), ("/home/of/root\n".to_owned(), String::new()));
    std::os::unix::fs::chown(&passwd, Some(0), Some(0)).unwrap();
    fs::set_permissions(&passwd, PermissionsExt::from_mode(0o600)).unwrap();
    let warning = "process.env: HOME=/: openat2 \"/etc/passwd\": permission denied\n";
    assert_eq!(said(&test), ("/\n".to_owned(), warning.to_owned()));
    fs::remove_file(&passwd).unwrap();
    assert_eq!(said(&test), ("/\n".to_owned(), String::new()), "no file is no error");
    test.assert_nothing_left("passwd");
}
