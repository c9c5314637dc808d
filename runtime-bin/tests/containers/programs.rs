//! The program: with which rights it is looked for, and what becomes of one that the kernel refuses.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::{
    TestBundle, Variant, copy_program, corten, one_error, quietly, run, stdout, succeed, wait_for,
};
use container_test::container_test;
use serde_json::json;

/// A bundle with a program in a directory that is root's alone, and one that only root may execute.
fn for_root_alone(args: &[&str]) -> TestBundle {
    let test = TestBundle::new(args);
    for (directory, mode, program) in [("closed", 0o700, 0o755), ("open", 0o755, 0o700)] {
        let directory = test.rootfs().join(directory);
        fs::create_dir(&directory).unwrap();
        copy_program(&test.rootfs().join("bin/busybox"), &directory.join("busybox"));
        fs::set_permissions(directory.join("busybox"), fs::Permissions::from_mode(program)).unwrap();
        fs::set_permissions(directory, fs::Permissions::from_mode(mode)).unwrap();
    }
    test
}

/// Gives the process a user and capabilities.
fn become_user(test: &mut TestBundle, uid: u32, names: &[&str], ambient: bool) {
    let process = &mut test.config["process"];
    process["user"] = json!({ "uid": uid, "gid": uid });
    process["capabilities"] = json!({ "bounding": names, "effective": names, "permitted": names });
    if ambient {
        process["capabilities"]["inheritable"] = json!(names);
        process["capabilities"]["ambient"] = json!(names);
    }
}

/// A filter that forbids nothing, for which no_new_privs or CAP_SYS_ADMIN is needed.
fn filter(test: &mut TestBundle) {
    test.config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        { "names": ["swapon"], "action": "SCMP_ACT_ERRNO" },
    ] });
}

/// What init could not find it names, and the image may have any names: none is taken for a process that the
/// runtime has to reap.
#[container_test]
fn a_program_is_called_like_a_process() {
    for name in ["clone 1", "clone 2147483647"] {
        let test = TestBundle::new(&[name]);
        let begun = Instant::now();
        let error = one_error(&run(&test));
        assert!(error.ends_with(&format!("exec: {name:?}: executable file not found in $PATH")), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        test.assert_nothing_left(name);
    }
}

const OVERRIDE: &str = "CAP_DAC_OVERRIDE";
const SEARCH: &str = "CAP_DAC_READ_SEARCH";

#[container_test]
fn a_program_is_found_with_the_capabilities_of_an_ordinary_user() {
    for (program, path, capability) in [
        ("/closed/busybox", "/bin", OVERRIDE),
        ("/closed/busybox", "/bin", SEARCH),
        ("busybox", "/nowhere:/closed", OVERRIDE),
        ("busybox", "/closed", SEARCH),
        ("/open/busybox", "/bin", OVERRIDE),
        ("busybox", "/open", OVERRIDE),
    ] {
        for (no_new_privileges, filtered, mapped, ambient) in [
            (true, false, false, false),
            (true, true, false, true),
            (false, true, false, false),
            (false, false, true, false),
            (false, true, true, true),
        ] {
            let mut test = for_root_alone(&[program, "echo", "found"]);
            if mapped {
                test.map_ids();
            }
            if filtered {
                filter(&mut test);
            }
            test.config["process"]["noNewPrivileges"] = no_new_privileges.into();
            test.config["process"]["env"] = json!([format!("PATH={path}")]);
            become_user(&mut test, 5, &[capability], ambient);
            assert_eq!(stdout(&run(&test)), "found\n", "{program} by {capability}, mapped: {mapped}");
            // Not by what may be had, but is not in force.
            test.config["process"]["capabilities"]["effective"] = json!([]);
            let error = one_error(&run(&test));
            let expected = if program.starts_with('/') { "permission denied" } else { "not found in $PATH" };
            assert!(error.ends_with(expected), "{error}");
            test.assert_nothing_left(program);
        }
    }
}

#[container_test]
fn a_program_is_not_found_by_a_root_who_may_not_execute_it() {
    for filtered in [false, true] {
        let mut test = for_root_alone(&["/theirs/busybox", "true"]);
        let theirs = test.rootfs().join("theirs");
        fs::rename(test.rootfs().join("closed"), &theirs).unwrap();
        std::os::unix::fs::chown(&theirs, Some(5), Some(5)).unwrap();
        if filtered {
            filter(&mut test);
        }
        become_user(&mut test, 0, &["CAP_KILL"], false);
        let path = test.write().path();
        // Not by `start`, which comes too late for an engine's choice of words.
        let mut create = corten(&test, &["create", "-b", path.to_str().unwrap(), &test.id]);
        let errors = test.beside("errors");
        let status = create.stdout(Stdio::null()).stderr(File::create(&errors).unwrap()).status().unwrap();
        let error = fs::read_to_string(&errors).unwrap();
        assert_eq!(status.code(), Some(1), "{error}");
        assert!(error.trim_end().ends_with("exec: \"/theirs/busybox\": permission denied"), "{error}");
    }
}

#[container_test]
fn an_exec_is_found_with_its_capabilities() {
    let mut test = for_root_alone(&["sleep", "1000"]);
    filter(&mut test);
    become_user(&mut test, 0, &["CAP_KILL"], false);
    test.config["process"]["noNewPrivileges"] = false.into();
    let path = test.write().path();
    quietly(&test, &["run", "-d", "-b", path.to_str().unwrap(), &test.id]);
    for program in ["/closed/busybox", "/open/busybox"] {
        let with = ["exec", "-u", "5:5", "--cap", OVERRIDE, &test.id, program, "echo", "found"];
        assert_eq!(succeed(&test, &with), "found\n", "{program}");
        let output = corten(&test, &["exec", "-u", "5:5", &test.id, program, "true"]).output().unwrap();
        assert_eq!(output.status.code(), Some(255));
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.trim_end().ends_with("permission denied"), "{error}");
    }
    succeed(&test, &["delete", "--force", &test.id]);
}

#[container_test]
fn a_working_directory_is_entered_with_the_final_capabilities() {
    // The first attempt is that of root, whom nothing stops here; it is the later one that must not take
    // rights away.
    let mut test = for_root_alone(&["/bin/pwd"]);
    test.config["process"]["cwd"] = "/closed".into();
    become_user(&mut test, 5, &[SEARCH], false);
    assert_eq!(stdout(&run(&test)), "/closed\n");
}

/// Programs that are found and that the kernel refuses, with the reason.
const REFUSED: [(&str, &[u8], &str); 4] = [
    ("/tmp/garbage", b"\0garbage", "exec format error"),
    ("/tmp/script", b"echo no shebang\n", "exec format error"),
    ("/tmp/shebang", b"#!/no/such/shell\n", "no such file or directory"),
    ("/tmp/empty", b"", "exec format error"),
];

fn write_refused(test: &TestBundle) {
    for (name, bytes, _) in REFUSED {
        let path = test.rootfs().join(name.trim_start_matches('/'));
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// What was written to stderr, which is the container's alone, and the exit status.
fn said(output: &Output) -> (Option<i32>, String) {
    assert!(output.stdout.is_empty());
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// runc's contract, for which engines are made: the container has started by then.
#[container_test(Root, UserNamespace)]
fn a_container_of_a_program_that_the_kernel_refuses_has_started(variant: Variant) {
    for (name, _, reason) in REFUSED {
        let mut test = TestBundle::new(&[name]);
        write_refused(&test);
        variant.apply(&mut test);
        // With a filter that comes right before the exec.
        filter(&mut test);
        let (path, log) = (test.write().path().to_owned(), test.beside("log"));
        let (path, log) = (path.to_str().unwrap(), log.to_str().unwrap());
        let line = format!("exec {name}: {reason}\n");
        assert_eq!(said(&run(&test)), (Some(255), line.clone()), "run");
        let (pid_file, errors) = (test.beside("pid"), test.beside("errors"));
        for (command, before) in
            [("run", &["-d", "--pid-file", pid_file.to_str().unwrap()][..]), ("create", &[])]
        {
            let mut command =
                corten(&test, &[&["--log", log, command, "-b", path], before, &[&test.id]].concat());
            let status =
                command.stdout(Stdio::null()).stderr(File::create(&errors).unwrap()).status().unwrap();
            assert_eq!(status.code(), Some(0), "{}", fs::read_to_string(&errors).unwrap());
            if before.is_empty() {
                assert_eq!(succeed(&test, &["--log", log, "start", &test.id]), "");
            } else {
                assert!(pid_file.exists());
            }
            wait_for(&test, "stopped");
            assert_eq!(fs::read_to_string(&errors).unwrap(), line);
            let noted = fs::read_to_string(log).unwrap();
            assert_eq!(noted.lines().count(), 1, "{noted}");
            assert!(noted.contains(&format!("level=warning msg=\"exec {name}: {reason}\"")), "{noted}");
            fs::remove_file(log).unwrap();
            succeed(&test, &["delete", &test.id]);
        }
        test.assert_nothing_left(name);
    }
}

#[container_test]
fn an_exec_of_a_program_that_the_kernel_refuses_has_started() {
    let test = TestBundle::new(&["sleep", "1000"]);
    write_refused(&test);
    let path = test.write().path();
    quietly(&test, &["run", "-d", "-b", path.to_str().unwrap(), &test.id]);
    for (name, _, reason) in REFUSED {
        for (flags, status) in [(&[][..], 255), (&["-d"], 0)] {
            let arguments = [&["exec"], flags, &[&test.id, name]].concat();
            let output = corten(&test, &arguments).output().unwrap();
            assert_eq!(said(&output), (Some(status), format!("exec {name}: {reason}\n")));
        }
    }
    succeed(&test, &["delete", "--force", &test.id]);
}
