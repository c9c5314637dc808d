//! Values of the config that say more than they may.

use super::*;

/// No string of the config can end early or overflow, be it a name, a path or a list of numbers.
#[container_test]
fn cve_2021_43784_nul_bytes_and_long_values() {
    let (mut test, host) = attack("true");
    push(
        &mut test,
        json!({ "destination": "/x", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m"] }),
    );
    test.config["linux"]["sysctl"] = json!({});
    test.config["annotations"] = json!({ "a": "" });
    let config = test.config.clone();
    let fields = [
        "/mounts/7/destination",
        "/mounts/7/type",
        "/mounts/7/source",
        "/mounts/7/options/0",
        "/hostname",
        "/linux/cgroupsPath",
        "/linux/maskedPaths/0",
        "/linux/readonlyPaths/0",
        "/linux/namespaces/0/type",
        "/root/path",
        "/process/args/0",
        "/process/cwd",
        "/process/env/0",
    ];
    for field in fields {
        let item = field.strip_prefix('/').unwrap().split('/').next().unwrap();
        test.config = config.clone();
        let place = test.config.pointer_mut(field).unwrap();
        *place = format!("{}\0/../../..", place.as_str().unwrap()).into();
        let error = one_error(&run(&test));
        assert!(error.contains(item), "{field}: {error}");
        host.assert_untouched(&test, field);
        // Around 64 KiB, where a length of 16 bits begins anew.
        for length in [65_535, 65_536, 65_537, 131_073] {
            test.config = config.clone();
            let place = test.config.pointer_mut(field).unwrap();
            let start = place.as_str().unwrap().to_owned();
            // A cgroup's parents stay when it is removed: make none.
            let slash = if field == "/linux/cgroupsPath" { "x" } else { "/" };
            *place = format!("{start}{slash}{}", "x".repeat(length - start.len() - 1)).into();
            let output = run(&test);
            if !output.status.success() {
                let error = one_error(&output);
                assert!(error.contains(item), "{field} of {length}: {}", &error[..error.len().min(300)]);
            }
            host.assert_untouched(&test, field);
        }
    }
    for (field, value) in [
        ("/process/user", json!({ "uid": 0, "gid": 0, "additionalGids": vec![7; 65_537] })),
        ("/process/user", json!({ "uid": u64::from(u32::MAX) + 1, "gid": 0 })),
        ("/linux/sysctl", json!({ "net.ipv4.ip_forward\u{0}": "1" })),
        ("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1\u{0}" })),
    ] {
        test.config = config.clone();
        *test.config.pointer_mut(field).unwrap() = value;
        let error = one_error(&run(&test));
        assert!(error.contains(&field[1..].replace('/', ".")), "{field}: {error}");
        host.assert_untouched(&test, field);
    }
    // Ids are arguments: no NUL, but any length.
    let path = test.write().path();
    for id in ["x".repeat(65_536), "../x".into(), "..".into(), "a/b".into(), "a\nb".into(), String::new()] {
        let error =
            one_error(&common::corten(&test, &["run", "-b", path.to_str().unwrap(), &id]).output().unwrap());
        assert!(!error.is_empty());
    }
    host.assert_untouched(&test, "ids");
}

/// To `setresuid(2)` and `setresgid(2)` an id of -1 means "leave it", which is root.
#[container_test]
fn cve_2021_43784_an_id_of_minus_one_is_refused() {
    for user in [json!({ "uid": u32::MAX, "gid": 1000 }), json!({ "uid": 1000, "gid": u32::MAX })] {
        let (mut test, host) = attack("id");
        test.config["process"]["user"] = user;
        let error = one_error(&run(&test));
        assert!(error.contains("process.user"), "{error}");
        host.assert_untouched(&test, "ids");
    }
}

/// The value of a parameter is one value, not more parameters.
#[container_test]
fn cve_2022_0811_a_value_is_no_list_of_parameters() {
    let (mut test, host) = attack("true");
    for value in ["1+kernel.core_pattern=|/x", "1\nkernel.core_pattern=|/x", "1,kernel.core_pattern=|/x"] {
        test.config["linux"]["sysctl"] = json!({ "kernel.shm_rmid_forced": value });
        let output = run(&test);
        if !output.status.success() {
            assert!(item_error(&output).contains("linux.sysctl"), "{value:?}");
        }
        host.assert_untouched(&test, value);
    }
    test.config["linux"]["sysctl"] = json!({ "kernel.core_pattern": "|/x" });
    assert!(one_error(&run(&test)).contains("linux.sysctl"));
    host.assert_untouched(&test, "core_pattern");
}

/// A hook of the engine's gets nothing of the image's environment, by which its program would load a library
/// of the image.
#[container_test]
fn cve_2025_23266_hooks_do_not_get_the_images_environment() {
    let (mut test, host) = attack("true");
    test.config["process"]["env"] = json!(["PATH=/bin", "LD_PRELOAD=./library.so"]);
    let seen = test.beside("seen");
    fs::create_dir(&seen).unwrap();
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        let script = format!("cat /proc/self/environ >{}", seen.join(kind).display());
        let hook = json!([{ "path": "/bin/busybox", "args": ["sh", "-c", script] }]);
        // Inside of the container's namespaces, and before its root is the root.
        test.config["hooks"][kind] = hook;
    }
    let output = run(&test);
    assert!(output.status.success(), "{output:?}");
    for entry in fs::read_dir(&seen).unwrap() {
        let path = entry.unwrap().path();
        assert!(!fs::read_to_string(&path).unwrap().contains("LD_PRELOAD"), "{path:?}");
    }
    assert_eq!(fs::read_dir(&seen).unwrap().count(), 5);
    host.assert_untouched(&test, "hooks");
}
