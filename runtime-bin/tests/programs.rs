//! The program: with which rights it is looked for.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

mod common;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use common::{TestBundle, can_make_containers, copy_program, corten, one_error, quietly, run, stdout, succeed};
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

const OVERRIDE: &str = "CAP_DAC_OVERRIDE";
const SEARCH: &str = "CAP_DAC_READ_SEARCH";

#[test]
fn a_program_is_found_with_the_capabilities_of_an_ordinary_user() {
    if !can_make_containers() {
        return;
    }
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

#[test]
fn a_program_is_not_found_by_a_root_who_may_not_execute_it() {
    if !can_make_containers() {
        return;
    }
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
        test.assert_nothing_left("a root without rights");
    }
}

#[test]
fn an_exec_is_found_with_its_capabilities() {
    if !can_make_containers() {
        return;
    }
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
    test.assert_nothing_left("exec with capabilities");
}

#[test]
fn a_working_directory_is_entered_with_the_final_capabilities() {
    if !can_make_containers() {
        return;
    }
    // The first attempt is that of root, whom nothing stops here; it is the later one that must not take rights away.
    let mut test = for_root_alone(&["/bin/pwd"]);
    test.config["process"]["cwd"] = "/closed".into();
    become_user(&mut test, 5, &[SEARCH], false);
    assert_eq!(stdout(&run(&test)), "/closed\n");
    test.assert_nothing_left("working directory");
}
