//! Users, groups and capabilities.

use super::*;

#[container_test]
fn ids_groups_and_umask() {
    let look =
        "grep -E '^(Uid|Gid|Groups):' /proc/self/status; umask; touch /tmp/x; stat -c '%u %g %a' /tmp/x";
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
#[container_test(Root, UserNamespace)]
fn an_id_that_is_none_is_refused(variant: Variant) {
    for user in [
        json!({ "uid": u32::MAX, "gid": 0 }),
        json!({ "uid": 1000, "gid": u32::MAX }),
        json!({ "uid": 0, "gid": 0, "additionalGids": [u32::MAX] }),
        json!({ "uid": 1u64 << 32, "gid": 0 }),
    ] {
        let mut test = shell("id");
        variant.apply(&mut test);
        test.config["process"]["user"] = user.clone();
        let error = refused(&test);
        assert!(error.contains("process.user"), "{user}: {error}");
    }
}

#[container_test]
fn the_callers_groups_stay_if_they_are_to() {
    if !has("setpriv") {
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

/// Init becomes root of the namespace before it becomes the user: neither may take them away (Podman's
/// `keep-groups`).
#[container_test]
fn the_callers_groups_stay_in_a_user_namespace() {
    if !has("setpriv") {
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
    }
}

// Capabilities

#[container_test]
fn five_sets_of_capabilities() {
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
    // capabilities(7): root gets what is inheritable or in the bounding set, but with no_new_privs nothing
    // that it has not had; another user keeps what is ambient.
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
            let expected = [
                ("CapInh", inheritable),
                ("CapPrm", prm),
                ("CapEff", eff),
                ("CapBnd", bounding),
                ("CapAmb", ambient),
            ];
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
#[container_test]
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
    // What the caller has not got it cannot give.
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let own = u64::from_str_radix(field(&status, "CapPrm"), 16).unwrap();
    for bit in 0..6 {
        let chosen: Vec<_> = NAMES.iter().enumerate().filter(|(number, _)| number >> bit & 1 == 1).collect();
        let wanted = chosen.iter().fold(0, |bits, (number, _)| bits | 1u64 << number);
        let change = |test: &mut TestBundle| {
            let mapped = test.config["linux"].get("uidMappings").is_some();
            let has = |number: usize| mapped || own >> number & 1 == 1;
            let listed: Vec<_> = chosen
                .iter()
                .filter(|(number, _)| has(*number))
                .map(|(_, name)| format!("CAP_{name}"))
                .collect();
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
#[container_test]
fn capabilities_that_the_runtime_has_not() {
    if !has("setpriv") {
        return;
    }
    let warning =
        "process.capabilities: CAP_WAKE_ALARM is left out, as the runtime itself does not have it\n";
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
    }
}

#[container_test]
fn without_capabilities_there_are_none() {
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
    // Ambient ones that are not permitted and inheritable are left out, which is said; effective ones that
    // are not permitted are an error.
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
