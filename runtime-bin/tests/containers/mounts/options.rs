//! Options of mounts: attributes, words of a superblock, types, data.

use super::*;

/// Options about one mount: given, and what the mount has then. With a new filesystem the same.
const ATTRIBUTES: [(&str, &str); 28] = [
    ("", "rw relatime"),
    ("defaults", "rw relatime"),
    ("ro", "ro relatime"),
    ("rw", "rw relatime"),
    ("ro rw", "rw relatime"),
    ("nosuid", "rw nosuid relatime"),
    ("nosuid suid", "rw relatime"),
    ("nodev", "rw nodev relatime"),
    ("nodev dev", "rw relatime"),
    ("noexec", "rw noexec relatime"),
    ("noexec exec", "rw relatime"),
    ("nosymfollow", "rw relatime nosymfollow"),
    ("nosymfollow symfollow", "rw relatime"),
    ("noatime", "rw noatime"),
    ("noatime atime", "rw relatime"),
    ("strictatime", "rw"),
    ("strictatime nostrictatime", "rw relatime"),
    ("strictatime relatime", "rw relatime"),
    ("norelatime", "rw relatime"),
    ("nodiratime", "rw nodiratime relatime"),
    ("nodiratime diratime", "rw relatime"),
    ("noatime nodiratime", "rw noatime nodiratime"),
    ("ro nosuid nodev noexec noatime nosymfollow", "ro nosuid nodev noexec noatime nosymfollow"),
    ("silent", "rw relatime"),
    ("loud", "rw relatime"),
    ("iversion", "rw relatime"),
    ("noiversion", "rw relatime"),
    ("nosuid nosuid exec", "rw nosuid relatime"),
];

/// Options about the superblock: given, and what it has then. That of a tmpfs is filled first, so that only
/// the mount is read-only.
const OF_SUPERBLOCK: [(&str, &str); 16] = [
    ("", "rw"),
    ("ro", "rw"),
    ("sync", "rw sync"),
    ("sync async", "rw"),
    ("rsync", "rw sync"),
    ("rsync rasync", "rw"),
    ("dirsync", "rw dirsync"),
    ("rdirsync", "rw dirsync"),
    ("lazytime", "rw lazytime"),
    ("lazytime nolazytime", "rw"),
    ("mand", "rw mand"),
    ("mand nomand", "rw"),
    ("rmand", "rw mand"),
    ("rmand rnomand", "rw"),
    ("ro sync dirsync lazytime", "rw sync dirsync lazytime"),
    ("noexec", "rw"),
];

/// Options about a tree: given, and what all of its mounts have then that had `nosuid` and `noatime` before.
const RECURSIVE: [(&str, &str); 18] = [
    ("", "rw nosuid noatime"),
    ("rro", "ro nosuid noatime"),
    ("rro rrw", "rw nosuid noatime"),
    ("rsuid", "rw noatime"),
    ("rsuid rnosuid", "rw nosuid noatime"),
    ("rnodev", "rw nosuid nodev noatime"),
    ("rnodev rdev", "rw nosuid noatime"),
    ("rnoexec", "rw nosuid noexec noatime"),
    ("rnoexec rexec", "rw nosuid noatime"),
    ("rnosymfollow", "rw nosuid noatime nosymfollow"),
    ("rnosymfollow rsymfollow", "rw nosuid noatime"),
    ("ratime", "rw nosuid relatime"),
    ("rrelatime", "rw nosuid relatime"),
    ("rstrictatime", "rw nosuid"),
    ("rstrictatime rnostrictatime rnorelatime", "rw nosuid relatime"),
    ("ratime rnoatime", "rw nosuid noatime"),
    ("rnodiratime", "rw nosuid noatime nodiratime"),
    ("rnodiratime rdiratime", "rw nosuid noatime"),
];

#[test]
fn the_tables_here_name_every_option() {
    let features = Command::new(CORTEN).arg("features").output().unwrap();
    let features: Value = serde_json::from_slice(&features.stdout).unwrap();
    // Those that have tests of their own.
    let mut named = set("bind rbind remount idmap ridmap tmpcopyup copy-symlink src-nofollow dest-nofollow");
    let tables = [&ATTRIBUTES[..], &OF_SUPERBLOCK, &RECURSIVE, &PROPAGATION];
    named.extend(tables.into_iter().flatten().flat_map(|(given, _)| set(given)));
    let all: BTreeSet<String> = serde_json::from_value(features["mountOptions"].clone()).unwrap();
    assert_eq!(all.difference(&named).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[container_test(Root, UserNamespace)]
fn options_of_a_new_filesystem(variant: Variant) {
    let mut test = script(TABLE);
    for (index, (given, _)) in ATTRIBUTES.iter().chain(&OF_SUPERBLOCK).enumerate() {
        tmpfs(&mut test, &format!("/m/{index}"), &words(given));
    }
    variant.apply(&mut test);
    let mounts = mounts(&answer(&run(&test)));
    for (index, (given, expected)) in ATTRIBUTES.iter().enumerate() {
        assert_eq!(at(&mounts, &format!("/m/{index}")).options, set(expected), "{given}");
    }
    for (index, (given, expected)) in OF_SUPERBLOCK.iter().enumerate() {
        let mut found = at(&mounts, &format!("/m/{}", ATTRIBUTES.len() + index)).superblock.clone();
        found.retain(|word| SUPERBLOCK.contains(&word.as_str()));
        assert_eq!(found, set(expected), "{given}");
    }
}

#[container_test]
fn options_of_a_bind_mount() {
    let mut test = script(TABLE);
    fs::create_dir(test.beside("src")).unwrap();
    let source = test.beside("src");
    for (index, (given, _)) in ATTRIBUTES.iter().enumerate() {
        bind(&mut test, &source, &format!("/m/{index}"), &words(given));
    }
    // The superblock is somebody else's: these name no attribute.
    for (index, (given, _)) in OF_SUPERBLOCK.iter().enumerate() {
        bind(&mut test, &source, &format!("/s/{index}"), &words(given));
    }
    let plain = mounts(&answer(&run_after(&test, "mount -t tmpfs tmpfs src")));
    let locked_down = "mount -t tmpfs -o nosuid,nodev,noexec,noatime tmpfs src; mount -o remount,bind,ro,nosuid,nodev,noexec,noatime,nosymfollow src";
    let strict = mounts(&answer(&run_after(&test, locked_down)));
    for (index, (given, expected)) in ATTRIBUTES.iter().enumerate() {
        let point = format!("/m/{index}");
        assert_eq!(at(&plain, &point).options, set(expected), "{given}");
        // What nobody named is kept when nothing is named, and lost when anything is; the access time is
        // kept.
        let names_none =
            ["", "defaults", "norelatime", "silent", "loud", "iversion", "noiversion"].contains(given);
        let mut expected =
            if names_none { set("ro nosuid nodev noexec noatime nosymfollow") } else { set(expected) };
        if !given.contains("atime") || given.contains("diratime") && !given.contains("noatime") {
            expected.remove("relatime");
            expected.insert("noatime".to_owned());
        }
        let found = &at(&strict, &point).options;
        // A change within the field of access times takes it whole.
        if !given.contains("diratime") {
            assert_eq!(found, &expected, "{given} on a source with all");
        }
    }
    for (index, (given, expected)) in OF_SUPERBLOCK.iter().enumerate() {
        let (plain, strict) = (at(&plain, &format!("/s/{index}")), at(&strict, &format!("/s/{index}")));
        assert!(plain.superblock.contains("rw"), "{given}");
        assert!(!plain.superblock.contains("sync") && !plain.superblock.contains("dirsync"), "{given}");
        let names_none = !given.contains("ro") && !given.contains("noexec");
        assert_eq!(strict.options.contains("nosuid"), names_none, "{given} {expected}");
    }
}

#[container_test]
fn options_of_a_tree() {
    let mut test = script(TABLE);
    fs::create_dir(test.beside("src")).unwrap();
    let source = test.beside("src");
    for (index, (given, _)) in RECURSIVE.iter().enumerate() {
        bind(&mut test, &source, &format!("/m/{index}"), &[&["rbind"][..], &words(given)].concat());
    }
    // One of the tree: the submounts have their own words.
    bind(&mut test, &source, "/one", &["rbind", "ro"]);
    bind(&mut test, &source, "/both", &["rbind", "ro", "rnoexec"]);
    bind(&mut test, &source, "/flat", &["rro"]);
    let host = "mount -t tmpfs -o nosuid,noatime tmpfs src; mkdir src/a; mount -t tmpfs -o nosuid,noatime tmpfs src/a; \
        mkdir src/a/b; mount -t tmpfs -o nosuid,noatime tmpfs src/a/b; mkdir src/a/c; mount --bind src/a src/a/c";
    let mounts = mounts(&answer(&run_after(&test, host)));
    for (index, (given, expected)) in RECURSIVE.iter().enumerate() {
        for below in ["", "/a", "/a/b", "/a/c"] {
            assert_eq!(at(&mounts, &format!("/m/{index}{below}")).options, set(expected), "{given} {below}");
        }
    }
    assert_eq!(at(&mounts, "/one").options, set("ro noatime"));
    assert_eq!(at(&mounts, "/one/a/b").options, set("rw nosuid noatime"));
    assert_eq!(at(&mounts, "/both").options, set("ro noexec noatime"));
    assert_eq!(at(&mounts, "/both/a/b").options, set("rw nosuid noexec noatime"));
    assert_eq!(at(&mounts, "/flat").options, set("ro nosuid noatime"));
    assert!(!mounts.iter().any(|mount| mount.point.starts_with("/flat/")), "bind took the tree along");
}

/// What an option does: a write, a device, a set-user-id program, a program, a link.
#[container_test]
fn options_have_their_effect() {
    let tries = r#"cd $1; touch x && echo write; cat null && echo dev; ./su -c "echo suid"; cat link"#;
    let look = format!(
        "for m in plain ro nodev noexec nosuid nosymfollow; do echo \"$m:\" $(sh -c '{tries}' sh /$m 2>/dev/null); done"
    );
    let mut test = script(&look);
    test.config["process"]["noNewPrivileges"] = false.into();
    test.config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    let source = test.beside("src");
    fs::create_dir(&source).unwrap();
    fs::set_permissions(&source, fs::Permissions::from_mode(0o777)).unwrap();
    fs::copy("/bin/busybox", source.join("su")).unwrap();
    fs::set_permissions(source.join("su"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::write(source.join("text"), "link").unwrap();
    symlink("text", source.join("link")).unwrap();
    mknod(&source.join("null"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3)).unwrap();
    for option in ["ro", "nodev", "noexec", "nosuid", "nosymfollow"] {
        bind(&mut test, &source, &format!("/{option}"), &[option]);
    }
    bind(&mut test, &source, "/plain", &[]);
    // busybox gives the right up at once, but where it is needed.
    fs::write(test.rootfs().join("etc/passwd"), "root::0:0::/:/bin/sh\nme:x:1000:1000::/:/bin/sh\n").unwrap();
    let expected = "plain: write dev suid link\nro: dev suid link\nnodev: write suid link\nnoexec: write dev link\n\
        nosuid: write dev link\nnosymfollow: write dev suid";
    // /dev/null of the source must be usable to begin with: the mode of a node is the umask's.
    fs::set_permissions(source.join("null"), fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(answer(&run(&test)), expected);
}

#[container_test(Root, UserNamespace)]
fn remounts(variant: Variant) {
    let mapped = variant.is_mapped();
    let mut test = script(&format!("{TABLE}; touch /t/x 2>&1; touch /f 2>&1; true"));
    let source = test.beside("src");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "").unwrap();
    tmpfs(&mut test, "/t", &["nosuid", "size=64k"]);
    mount(
        &mut test,
        json!({ "destination": "/t", "type": "tmpfs", "source": "t", "options": ["remount", "ro", "size=128k"] }),
    );
    bind(&mut test, &source, "/b", &["nodev", "noexec"]);
    // Any attribute that is named is all that there is.
    bind(&mut test, &source, "/b", &["remount", "ro"]);
    bind(&mut test, &source.join("file"), "/f", &[]);
    bind(&mut test, &source.join("file"), "/f", &["remount", "ro", "noexec"]);
    bind(&mut test, &source, "/p", &["private"]);
    bind(&mut test, &source, "/p", &["remount", "shared"]);
    if mapped {
        test.map_ids();
        // What the container makes it may change, and what it was given it may close.
        let mounts = test.config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["destination"] != "/b");
    }
    let seen = answer(&run(&test));
    let mounts = mounts(&seen);
    let remounted = at(&mounts, "/t");
    assert!(
        remounted.superblock.contains("ro") && remounted.superblock.contains("size=128k"),
        "{remounted:?}"
    );
    if !mapped {
        assert_eq!(at(&mounts, "/b").options, set("ro relatime"));
    }
    assert_eq!(at(&mounts, "/f").options, set("ro noexec relatime"));
    assert_eq!(at(&mounts, "/p").propagation, set("shared"));
    let refusals = "touch: /t/x: Read-only file system\ntouch: /f: Read-only file system";
    assert!(seen.ends_with(refusals), "{seen}");
    // What is no mount, or is not there, cannot be changed; and nothing is made for it.
    for options in [&["remount", "ro"][..], &["remount", "bind", "ro"]] {
        for destination in ["/etc", "/missing"] {
            let mut test = script("true");
            mount(
                &mut test,
                json!({ "destination": destination, "type": "none", "source": "none", "options": options }),
            );
            let error = refused(&test, &run(&test));
            assert!(error.contains(&last(&test)), "{options:?} {error}");
            assert!(!test.rootfs().join("missing").exists(), "{options:?} made its target");
        }
    }
}

#[container_test]
fn types_and_data() {
    let mut test = script(TABLE);
    fs::create_dir(test.beside("src")).unwrap();
    let source = test.beside("src");
    let kinds = [
        json!({ "type": "bind" }),
        json!({ "type": "bind", "options": [] }),
        json!({ "type": "none", "options": ["bind"] }),
        json!({ "type": "", "options": ["bind"] }),
        json!({ "options": ["rbind"] }),
        // The option is stronger than the type.
        json!({ "type": "tmpfs", "options": ["bind"] }),
        json!({ "type": "no-such-type", "options": ["rbind", "rbind", "bind"] }),
    ];
    for (index, kind) in kinds.iter().enumerate() {
        let mut kind = kind.clone();
        kind["destination"] = format!("/b/{index}").into();
        kind["source"] = source.to_str().unwrap().into();
        mount(&mut test, kind);
    }
    tmpfs(&mut test, "/t/one-word", &["size=64k,mode=700"]);
    tmpfs(&mut test, "/t/empty", &["", "size=64k", ""]);
    mount(&mut test, json!({ "destination": "/t/no-source", "type": "tmpfs" }));
    mount(&mut test, json!({ "destination": "/t/source", "type": "tmpfs", "source": "a source,with comma" }));
    let seen = answer(&run(&test));
    let mounts = mounts(&seen);
    let type_of_source = &at(&mounts, "/").fstype;
    for (index, kind) in kinds.iter().enumerate() {
        assert_eq!(&at(&mounts, &format!("/b/{index}")).fstype, type_of_source, "{kind}");
    }
    let one = at(&mounts, "/t/one-word");
    assert!(one.superblock.contains("size=64k") && one.superblock.contains("mode=700"), "{one:?}");
    assert!(at(&mounts, "/t/empty").superblock.contains("size=64k"));
    assert_eq!(at(&mounts, "/t/no-source").source, "tmpfs");
    assert!(seen.contains("a\\040source,with\\040comma"), "{seen}");
}

/// What the kernel says about an option is in the error.
#[container_test]
fn the_kernels_words_are_told() {
    let cases = [
        (json!({ "type": "tmpfs", "options": ["size=large"] }), "Bad value for 'size'"),
        (json!({ "type": "tmpfs", "options": ["size="] }), "Bad value for 'size'"),
        (json!({ "type": "tmpfs", "options": ["colour=red"] }), "Unknown parameter 'colour'"),
        (json!({ "type": "tmpfs", "options": ["Ro"] }), "Unknown parameter 'Ro'"),
        (json!({ "type": "tmpfs", "options": ["huge"] }), "huge"),
        (json!({ "type": "tmpfs", "options": ["mode=9"] }), "mode"),
        (json!({ "type": "proc", "options": ["hidepid=9"] }), "hidepid"),
        (json!({ "type": "devpts", "options": ["ptmxmode=x"] }), "ptmxmode"),
        (json!({ "type": "overlay", "options": ["lowerdir="] }), "overlay"),
        (json!({ "type": "ext4", "source": "/no/such/device" }), "no such file"),
        (json!({ "type": "no-such-type" }), "no-such-type"),
        (json!({ "type": "none" }), "none"),
        (json!({ "type": "" }), "type"),
        (json!({}), "type"),
        (json!({ "type": "tmpfs", "options": ["size=1m".repeat(100)] }), "size"),
    ];
    for (mut given, expected) in cases {
        let mut test = script("true");
        // Where the kernel's own filesystems may be.
        let destination = if given["type"] == "proc" { "/proc" } else { "/m" };
        given["destination"] = destination.into();
        let what = given.to_string();
        mount(&mut test, given);
        let output = run(&test);
        assert!(!output.status.success(), "{what} was made");
        let error = refused(&test, &output);
        assert!(error.contains(&last(&test)) && error.contains(expected), "{what}: {error}");
    }
}

/// A bind mount has no filesystem of its own that such an option could be for.
#[container_test]
fn options_of_filesystems_on_bind_mounts() {
    for (options, ignored) in
        [(["bind", "size=1m"], "size=1m"), (["rbind", "mode=755"], "mode=755"), (["bind", "Ro"], "Ro")]
    {
        let mut test = script("grep ' /m ' /proc/self/mountinfo");
        mount(&mut test, json!({ "destination": "/m", "source": ".", "options": options }));
        let output = run(&test);
        let warning = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            warning.contains(&last(&test)) && warning.contains(&format!(": {ignored}\n")),
            "{options:?}: {warning}"
        );
        assert!(output.status.success(), "{options:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains(" /m rw"), "{options:?}");
    }
}

/// Labels on a kernel without the module that knows them.
#[container_test(Root, UserNamespace)]
fn labels_without_a_module(variant: Variant) {
    let modules = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    let label = "system_u:object_r:container_file_t:s0:c1,c2";
    let cases = [
        ("selinux", "/linux/mountLabel", label, "linux.mountLabel"),
        (
            "selinux",
            "/process/selinuxLabel",
            "system_u:system_r:container_t:s0:c1,c2",
            "process.selinuxLabel",
        ),
        ("apparmor", "/process/apparmorProfile", "unconfined", "process.apparmorProfile"),
    ];
    for (module, pointer, value, expected) in cases {
        if modules.contains(module) {
            skip(&format!("the kernel has {module}"));
            continue;
        }
        let mut test = script("true");
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        test.config.pointer_mut(parent).unwrap()[name] = value.into();
        variant.apply(&mut test);
        let output = run(&test);
        let warning = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && warning.contains(expected) && warning.contains("ignored"),
            "{warning}"
        );
        // An empty one is none.
        test.config.pointer_mut(parent).unwrap()[name] = "".into();
        let output = run(&test);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
}
