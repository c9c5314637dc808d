//! `corten features`: what it offers works, and what it offers otherwise than runc has a reason.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{CORTEN, TestBundle, corten, run, skip, stdout, succeed};
use container_test::container_test;
use serde_json::{Value, json};

fn features() -> Value {
    serde_json::from_str(&stdout(&Command::new(CORTEN).arg("features").output().unwrap())).unwrap()
}

fn words(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}

/// `key.key value` for each leaf, `key.key[] value` for each entry of a list.
fn leaves(value: &Value, at: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, member)| leaves(member, &format!("{at}.{key}"), into))
        }
        Value::Array(entries) => entries.iter().for_each(|entry| leaves(entry, &format!("{at}[]"), into)),
        Value::String(text) => drop(into.insert(format!("{at} {text}"))),
        other => drop(into.insert(format!("{at} {other}"))),
    }
}

/// What runc offers and Corten does not, by the beginning of the leaf, and why.
const NOT_OURS: &[(&str, &str)] = &[
    (".ociVersionMax ", "the version of the specification that each follows"),
    (".annotations.org.opencontainers.runc.", "runc's own version, and whether it makes checkpoints"),
    (".annotations.com.cyphar.pathrs.", "a library of runc's"),
    (".annotations.io.github.seccomp.libseccomp.version ", "each is linked to its own"),
    (".mountOptions[] acl", "no flag of mount(2) stands for it (opencontainers/runc#3738)"),
    (".mountOptions[] noacl", "the same"),
    (".linux.seccomp.archs[] SCMP_ARCH_MIPS", "big-endian: libseccomp joins architectures of one byte order"),
    (".linux.seccomp.archs[] SCMP_ARCH_MIPS64", "big-endian"),
    (".linux.seccomp.archs[] SCMP_ARCH_MIPS64N32", "big-endian"),
    (".linux.seccomp.archs[] SCMP_ARCH_PPC", "big-endian"),
    (".linux.seccomp.archs[] SCMP_ARCH_PPC64", "big-endian"),
    (".linux.seccomp.archs[] SCMP_ARCH_S390", "big-endian"),
    (".linux.seccomp.archs[] SCMP_ARCH_S390X", "big-endian"),
    (".potentiallyUnsafeConfigAnnotations[] bundle", "a label of runc's state"),
];

/// What Corten offers and an older or another runc does not, and why.
const OURS: &[(&str, &str)] = &[
    (".ociVersionMax ", "the version of the specification that each follows"),
    (".annotations.dev.corten.version ", "Corten's own version"),
    (".annotations.io.github.seccomp.libseccomp.version ", "each is linked to its own"),
    (".linux.cgroup.rdma true", "a runc before RDMA limits says nothing about them"),
    (".linux.namespaces[] time", "runc 1.5 has it, 1.1 has not"),
    (".linux.intelRdt.", "runc 1.5 has it, 1.1 has not"),
    (".linux.memoryPolicy.", "runc 1.5 has it, 1.1 has not"),
    (".linux.mountExtensions.idmap.enabled true", "runc 1.5 has it, 1.1 has not"),
    (".linux.netDevices.enabled true", "runc 1.5 has it, 1.1 has not"),
    (".linux.seccomp.knownFlags[] ", "runc 1.5 has it, 1.1 has not"),
    (".linux.seccomp.supportedFlags[] ", "runc 1.5 has it, 1.1 has not"),
    (".linux.seccomp.archs[] SCMP_ARCH_RISCV64", "runc 1.5 has it, 1.1 has not"),
    (".mountOptions[] copy-symlink", "crun's"),
    (".mountOptions[] src-nofollow", "crun's"),
    (".mountOptions[] dest-nofollow", "crun's"),
    (".mountOptions[] idmap", "runc 1.5 takes it and does not list it"),
    (".mountOptions[] ridmap", "the same"),
    (".mountOptions[] rasync", "crun's"),
    (".mountOptions[] rsync", "crun's"),
    (".mountOptions[] rdirsync", "crun's"),
    (".mountOptions[] rmand", "crun's"),
    (".mountOptions[] rnomand", "crun's"),
    (".potentiallyUnsafeConfigAnnotations[] run.oci.", "crun's"),
    (".potentiallyUnsafeConfigAnnotations[] org.criu.config", "runc 1.2 lists it, 1.1 only takes it"),
    (".potentiallyUnsafeConfigAnnotations[] org.systemd.property.", "runc 1.2 lists it, 1.1 only takes it"),
];

#[test]
fn differences_from_runc_have_reasons() {
    let mut compared = 0;
    for peer in ["/usr/sbin/runc", "/usr/bin/runc"].into_iter().filter(|peer| Path::new(peer).exists()) {
        let output = Command::new(peer).arg("features").stdin(Stdio::null()).output().unwrap();
        let Ok(document) = serde_json::from_slice::<Value>(&output.stdout) else { continue };
        let (mut ours, mut theirs) = (BTreeSet::new(), BTreeSet::new());
        leaves(&features(), "", &mut ours);
        leaves(&document, "", &mut theirs);
        let unexplained =
            |one: &BTreeSet<String>, other: &BTreeSet<String>, reasons: &[(&str, &str)]| -> Vec<String> {
                let explained = |leaf: &str| {
                    // A reason that ends in `.` or a space is for all that begins so.
                    reasons.iter().any(|(start, _)| {
                        leaf == *start || start.ends_with(['.', ' ']) && leaf.starts_with(start)
                    })
                };
                one.difference(other).filter(|leaf| !explained(leaf)).cloned().collect()
            };
        let none: Vec<String> = Vec::new();
        assert_eq!(unexplained(&ours, &theirs, OURS), none, "corten offers, and {peer} does not");
        assert_eq!(unexplained(&theirs, &ours, NOT_OURS), none, "{peer} offers, and corten does not");
        compared += 1;
    }
    if compared == 0 {
        skip("no runc that tells its features");
    }
}

#[test]
fn lists_are_sorted_and_without_doubles() {
    let document = features();
    for list in [
        "/mountOptions",
        "/linux/namespaces",
        "/linux/capabilities",
        "/linux/seccomp/actions",
        "/linux/seccomp/operators",
        "/linux/seccomp/archs",
        "/linux/seccomp/knownFlags",
        "/linux/seccomp/supportedFlags",
        "/linux/memoryPolicy/modes",
        "/linux/memoryPolicy/flags",
        "/potentiallyUnsafeConfigAnnotations",
    ] {
        let listed = words(document.pointer(list).unwrap_or_else(|| panic!("no {list}")));
        assert!(listed.is_sorted_by(|one, next| one < next), "{list}: {listed:?}");
    }
}

/// Options that are for trees that exist already, not for a filesystem that is made.
fn is_for_a_bind_mount(option: &str) -> bool {
    matches!(
        option,
        "bind" | "rbind" | "idmap" | "ridmap" | "remount" | "copy-symlink" | "src-nofollow" | "dest-nofollow"
    )
}

#[container_test]
fn every_mount_option_is_taken() {
    let document = features();
    for option in words(&document["mountOptions"]) {
        let mut test = TestBundle::new(&["grep", " /here ", "/proc/self/mountinfo"]);
        let source = test.beside("source");
        fs::create_dir(&source).unwrap();
        let mapped = option == "idmap" || option == "ridmap";
        let tree =
            json!({ "destination": "/here", "type": "none", "source": source, "options": ["bind", option] });
        let made = json!({ "destination": "/here", "type": "tmpfs", "source": "tmpfs", "options": [option] });
        let mounts = test.config["mounts"].as_array_mut().unwrap();
        if is_for_a_bind_mount(option) {
            if option == "remount" {
                mounts.push(json!({ "destination": "/here", "source": source, "options": ["bind"] }));
            }
            mounts.push(tree);
            if mapped {
                let maps = json!([{ "containerID": 0, "hostID": 5000, "size": 1000 }]);
                let mount = mounts.last_mut().unwrap();
                mount["uidMappings"] = maps.clone();
                mount["gidMappings"] = maps;
            }
        } else {
            mounts.push(made);
        }
        let output = run(&test);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{option}: {error}");
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1, "{option}");
    }
}

#[container_test]
fn every_hook_runs() {
    let document = features();
    let mut test = TestBundle::new(&["cat", "/tmp/inside"]);
    test.config["root"]["readonly"] = false.into();
    let log = test.beside("log");
    for kind in words(&document["hooks"]) {
        // What runs in the container sees its files.
        let log = if kind == "startContainer" { "/tmp/inside" } else { log.to_str().unwrap() };
        let script = format!("echo {kind} >> {log}");
        test.config["hooks"][kind] = json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
    }
    assert_eq!(stdout(&run(&test)), "startContainer\n");
    let ran = fs::read_to_string(log).unwrap();
    assert_eq!(
        ran.lines().collect::<Vec<_>>(),
        ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
    );
}

#[container_test]
fn every_namespace_is_new() {
    let document = features();
    for name in words(&document["linux"]["namespaces"]) {
        let file = match name {
            "network" => "net",
            "mount" => "mnt",
            other => other,
        };
        if !Path::new("/proc/self/ns").join(file).exists() {
            skip(&format!("no {name} namespaces"));
            continue;
        }
        let mut test = TestBundle::new(&["readlink", &format!("/proc/self/ns/{file}")]);
        match name {
            "user" => test.map_ids(),
            "time" => {
                let namespaces = test.config["linux"]["namespaces"].as_array_mut().unwrap();
                namespaces.push(json!({ "type": "time" }));
                test.config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 100 } });
            }
            // All others are in the default config.
            _ => {}
        }
        let outside = fs::read_link(Path::new("/proc/self/ns").join(file)).unwrap();
        assert_ne!(stdout(&run(&test)).trim_end(), outside.to_str().unwrap(), "{name}");
    }
}

#[container_test]
fn every_memory_policy_and_seccomp_name_is_taken() {
    let document = features();
    let policies = &document["linux"]["memoryPolicy"];
    for mode in words(&policies["modes"]) {
        let mut test = TestBundle::new(&["true"]);
        test.config["linux"]["memoryPolicy"] = match mode {
            "MPOL_DEFAULT" | "MPOL_LOCAL" => json!({ "mode": mode }),
            _ => json!({ "mode": mode, "nodes": "0" }),
        };
        let output = run(&test);
        let error = String::from_utf8_lossy(&output.stderr);
        let newer = matches!(mode, "MPOL_PREFERRED_MANY" | "MPOL_WEIGHTED_INTERLEAVE");
        if newer && error.ends_with("invalid argument\n") {
            skip(&format!("{mode}: not in this kernel"));
            continue;
        }
        assert!(output.status.success(), "{mode}: {error}");
    }
    for flag in words(&policies["flags"]) {
        let mut test = TestBundle::new(&["true"]);
        test.config["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": [flag] });
        stdout(&run(&test));
    }
    let seccomp = &document["linux"]["seccomp"];
    for (list, key) in [("archs", "architectures"), ("supportedFlags", "flags")] {
        let mut test = TestBundle::new(&["true"]);
        let rule = json!({ "names": ["kexec_load"], "action": "SCMP_ACT_ERRNO" });
        test.config["linux"]["seccomp"] =
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule], key: seccomp[list] });
        stdout(&run(&test));
    }
}

/// Every capability that is offered can be given.
#[container_test]
fn every_capability_is_taken() {
    let document = features();
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let bounding = own.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap();
    let bounding = u64::from_str_radix(bounding.trim(), 16).unwrap();
    let last: u32 = fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap().trim().parse().unwrap();
    assert!(words(&document["linux"]["capabilities"]).len() > usize::try_from(last).unwrap());
    let mut test = TestBundle::new(&["grep", "CapBnd", "/proc/self/status"]);
    test.config["process"]["capabilities"] = json!({ "bounding": document["linux"]["capabilities"] });
    let output = run(&test);
    // What this machine does not give is told.
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success()
            && told.lines().all(|line| line.ends_with("as the runtime itself does not have it")),
        "{told}"
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("CapBnd:\t{bounding:016x}\n"));
}

/// A document that an engine asks for before anything exists.
#[test]
fn features_need_no_state() {
    let test = TestBundle::new(&["true"]);
    let document: Value = serde_json::from_str(&succeed(&test, &["features"])).unwrap();
    assert_eq!(document, features());
    assert!(!test.state_root().exists());
    let output = corten(&test, &["features", "extra"]).output().unwrap();
    assert!(!output.status.success());
}
