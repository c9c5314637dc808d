//! Mounts, masked paths and devices as they are seen from inside: in mountinfo, by stat, by writes that fail.
//!
//! What a test needs of the host's mounts it makes in a mount namespace of its own, in which the runtime is started. Errors
//! are asked for their config item and for the kernel's words.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::common::{CORTEN, TestBundle, can_make_containers, one_error, run, skip, stdout};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};

// What a container is asked, and what it answers

/// Prints the mount table.
const TABLE: &str = "cat /proc/self/mountinfo";
/// Names of the options of a superblock that belong to the kernel, not to the filesystem.
const SUPERBLOCK: [&str; 6] = ["ro", "rw", "sync", "dirsync", "mand", "lazytime"];

/// A bundle that runs a script as root with the capabilities that a script may need, on a writable root.
fn script(script: &str) -> TestBundle {
    let mut test = TestBundle::new(&["sh", "-c", script]);
    test.config["root"]["readonly"] = false.into();
    let all =
        ["CHOWN", "DAC_OVERRIDE", "FOWNER", "MKNOD", "SETUID", "SETGID", "SYS_ADMIN"].map(|name| format!("CAP_{name}"));
    for set in ["bounding", "effective", "permitted"] {
        test.config["process"]["capabilities"][set] = json!(all);
    }
    test
}

fn mount(test: &mut TestBundle, mount: Value) {
    test.config["mounts"].as_array_mut().unwrap().push(mount);
}

fn bind(test: &mut TestBundle, source: &Path, destination: &str, options: &[&str]) {
    let options: Vec<&str> = if options.contains(&"rbind") { options.to_vec() } else { [&["bind"], options].concat() };
    mount(test, json!({ "destination": destination, "source": source, "options": options }));
}

fn tmpfs(test: &mut TestBundle, destination: &str, options: &[&str]) {
    mount(test, json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options }));
}

/// The position of the last mount, as errors name it.
fn last(test: &TestBundle) -> String {
    format!("mounts[{}]", test.config["mounts"].as_array().unwrap().len() - 1)
}

/// What a container printed, whatever it ended with.
fn stdout_of_failed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Runs the container after a script of the host, in a mount namespace of its own. `$1` is the directory beside the bundle.
fn run_after(test: &TestBundle, host: &str) -> Output {
    run_in(test, host, &["--mount", "--propagation", "private"], &[])
}

/// The same in other namespaces, and with more words for the runtime.
fn run_in(test: &TestBundle, host: &str, namespaces: &[&str], words: &[&str]) -> Output {
    let script = format!("cd \"$1\"; {host}\nshift; exec \"$@\"");
    let mut command = Command::new("unshare");
    command
        .args(namespaces)
        .args(["sh", "-euc", &script, "sh"])
        .arg(test.beside(""))
        .arg(CORTEN)
        .arg("--root")
        .arg(test.state_root());
    command.arg("run").args(words).arg("--bundle").arg(test.write().path()).arg(&test.id).stdin(Stdio::null());
    command.output().unwrap()
}

/// What a container that succeeded printed.
fn answer(output: &Output) -> String {
    stdout(output).trim_end().to_owned()
}

/// What a container that must not be made is refused with; nothing of it may be left.
fn refused(test: &TestBundle, output: &Output) -> String {
    let error = one_error(output);
    test.assert_nothing_left(&error);
    error
}

/// A line of mountinfo.
#[derive(Debug)]
struct Mount {
    root: String,
    point: String,
    /// Options of the mount, without the superblock's.
    options: BTreeSet<String>,
    /// `shared`, `master`, `unbindable`, without their numbers.
    propagation: BTreeSet<String>,
    fstype: String,
    source: String,
    superblock: BTreeSet<String>,
}

fn set(words: &str) -> BTreeSet<String> {
    words.split([' ', ',']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn mounts(text: &str) -> Vec<Mount> {
    let line = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let (left, right): (Vec<_>, Vec<_>) = (left.split(' ').collect(), right.split(' ').collect());
        Some(Mount {
            root: left[3].to_owned(),
            point: left[4].to_owned(),
            options: set(left[5]),
            propagation: left[6..].iter().map(|tag| tag.split(':').next().unwrap().to_owned()).collect(),
            fstype: right[0].to_owned(),
            source: right[1].to_owned(),
            superblock: set(right[2]),
        })
    };
    text.lines().filter_map(line).collect()
}

/// The mount at a point, the uppermost if there are several.
#[track_caller]
fn at<'a>(mounts: &'a [Mount], point: &str) -> &'a Mount {
    mounts.iter().rev().find(|mount| mount.point == point).unwrap_or_else(|| panic!("nothing at {point}: {mounts:#?}"))
}

// Options

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

/// Options about the superblock: given, and what it has then. That of a tmpfs is filled first, so that only the mount is read-only.
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

fn words(text: &str) -> Vec<&str> {
    text.split(' ').filter(|word| !word.is_empty()).collect()
}

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

#[test]
fn options_of_a_new_filesystem() {
    if !can_make_containers() {
        return;
    }
    let mut test = script(TABLE);
    for (index, (given, _)) in ATTRIBUTES.iter().chain(&OF_SUPERBLOCK).enumerate() {
        tmpfs(&mut test, &format!("/m/{index}"), &words(given));
    }
    for mapped in [false, true] {
        if mapped {
            test.map_ids();
        }
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
    test.assert_nothing_left("options");
}

#[test]
fn options_of_a_bind_mount() {
    if !can_make_containers() {
        return;
    }
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
        // What nobody named is kept when nothing is named, and lost when anything is; the access time is kept.
        let names_none = ["", "defaults", "norelatime", "silent", "loud", "iversion", "noiversion"].contains(given);
        let mut expected = if names_none { set("ro nosuid nodev noexec noatime nosymfollow") } else { set(expected) };
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
    test.assert_nothing_left("bind options");
}

#[test]
fn options_of_a_tree() {
    if !can_make_containers() {
        return;
    }
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
    test.assert_nothing_left("trees");
}

/// What an option does: a write, a device, a set-user-id program, a program, a link.
#[test]
fn options_have_their_effect() {
    if !can_make_containers() {
        return;
    }
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
    test.assert_nothing_left("effects");
}

// Propagation

/// Options, and the propagation of a copy of a shared tree with one submount: of the tree's root, and of the submount.
const PROPAGATION: [(&str, &str); 10] = [
    ("", "master/master"),
    ("private", "/master"),
    ("rprivate", "/"),
    ("slave", "master/master"),
    ("rslave", "master/master"),
    ("shared", "shared master/master"),
    ("rshared", "shared master/shared master"),
    ("unbindable", "unbindable/master"),
    ("runbindable", "unbindable/unbindable"),
    ("rprivate shared", "shared/"),
];

/// A shared tree `src` with `src/a`.
const SHARED_TREE: &str = "mount -t tmpfs tmpfs src; mount --make-shared src; mkdir src/a; mount -t tmpfs tmpfs src/a; mount --make-shared src/a";

#[test]
fn propagation_of_each_mount() {
    if !can_make_containers() {
        return;
    }
    let mut test = script(TABLE);
    fs::create_dir(test.beside("src")).unwrap();
    let source = test.beside("src");
    for (index, (given, _)) in PROPAGATION.iter().enumerate() {
        bind(&mut test, &source, &format!("/m/{index}"), &[&["rbind"][..], &words(given)].concat());
        tmpfs(&mut test, &format!("/t/{index}"), &words(given));
    }
    for mapped in [false, true] {
        if mapped {
            test.map_ids();
        }
        let mounts = mounts(&answer(&run_after(&test, SHARED_TREE)));
        for (index, (given, expected)) in PROPAGATION.iter().enumerate() {
            let (top, below) = expected.split_once('/').unwrap();
            assert_eq!(at(&mounts, &format!("/m/{index}")).propagation, set(top), "{given}");
            assert_eq!(at(&mounts, &format!("/m/{index}/a")).propagation, set(below), "{given}, the submount");
            // A new filesystem has no master.
            let alone = top.replace("master", "");
            assert_eq!(at(&mounts, &format!("/t/{index}")).propagation, set(&alone), "{given} on a new filesystem");
        }
    }
    test.assert_nothing_left("propagation");
}

/// Waits in a script until a file is there, ten seconds at most.
fn wait_for(path: &str) -> String {
    format!("n=0; until [ -e {path} ]; do sleep 0.02; n=$((n+1)); [ $n -lt 500 ] || exit 9; done")
}

/// Runs a container beside a script of the host, both at once, and returns what both print.
fn beside(test: &TestBundle, before: &str, meanwhile: &str) -> String {
    let script = format!("cd \"$1\"; {before}\nshift; \"$@\" > out & {meanwhile}\nwait $!; cat out");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-euc", &script, "sh"]).arg(test.beside("")).arg(CORTEN);
    command.arg("--root").arg(test.state_root()).arg("run").arg("--bundle").arg(test.write().path()).arg(&test.id);
    answer(&command.stdin(Stdio::null()).output().unwrap())
}

#[test]
fn mounts_of_the_host_reach_slaves_and_peers_alone() {
    if !can_make_containers() {
        return;
    }
    let inside = format!(
        "touch /flags/up; {}; for m in private slave shared default; do [ -e /$m/new/it ] && echo $m; done; true",
        wait_for("/flags/done")
    );
    let mut test = script(&inside);
    for name in ["src", "flags"] {
        fs::create_dir(test.beside(name)).unwrap();
    }
    let (source, flags) = (test.beside("src"), test.beside("flags"));
    bind(&mut test, &flags, "/flags", &[]);
    for name in ["private", "slave", "shared"] {
        bind(&mut test, &source, &format!("/{name}"), &["rbind", &format!("r{name}")]);
    }
    bind(&mut test, &source, "/default", &["rbind"]);
    let meanwhile = format!(
        "{}; mkdir src/new; mount -t tmpfs tmpfs src/new; touch src/new/it; touch flags/done",
        wait_for("flags/up")
    );
    assert_eq!(beside(&test, SHARED_TREE, &meanwhile), "slave\nshared\ndefault");
    test.assert_nothing_left("events");
}

/// "Bidirectional": what the container mounts below such a mount appears on the host, and below no other.
#[test]
fn mounts_of_the_container_reach_the_host_from_peers_alone() {
    if !can_make_containers() {
        return;
    }
    for (root, expected) in [("", ""), ("rslave", ""), ("rprivate", ""), ("shared", "rshared"), ("rshared", "rshared")]
    {
        let names = ["rprivate", "rslave", "rshared"];
        let mut test = script(&format!(
            "for m in {}; do mkdir /$m/from-$m && mount -t tmpfs tmpfs /$m/from-$m && touch /$m/from-$m/it; done; touch /flags/up; {}",
            names.join(" "),
            wait_for("/flags/done")
        ));
        for name in ["src", "flags"] {
            fs::create_dir(test.beside(name)).unwrap();
        }
        let (source, flags) = (test.beside("src"), test.beside("flags"));
        bind(&mut test, &flags, "/flags", &[]);
        for name in names {
            bind(&mut test, &source, &format!("/{name}"), &["rbind", name]);
        }
        if !root.is_empty() {
            test.config["linux"]["rootfsPropagation"] = root.into();
        }
        let meanwhile = format!(
            "{}; for m in {}; do [ ! -e src/from-$m/it ] || echo $m; done; touch flags/done",
            wait_for("flags/up"),
            names.join(" ")
        );
        assert_eq!(beside(&test, SHARED_TREE, &meanwhile), expected, "rootfsPropagation {root:?}");
        test.assert_nothing_left("events");
    }
}

#[test]
fn propagation_of_the_root() {
    if !can_make_containers() {
        return;
    }
    let cases = [
        ("", ""),
        ("slave", ""),
        ("rslave", ""),
        ("private", ""),
        ("rprivate", ""),
        ("shared", "shared"),
        ("rshared", "shared"),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
    ];
    for (mapped, (word, expected)) in [false, true].into_iter().flat_map(|mapped| cases.map(|case| (mapped, case))) {
        let mut test = script(TABLE);
        if mapped {
            test.map_ids();
        }
        if !word.is_empty() {
            test.config["linux"]["rootfsPropagation"] = word.into();
        }
        tmpfs(&mut test, "/below", &[]);
        let host = "mount --bind bundle/rootfs bundle/rootfs; mount --make-shared bundle/rootfs";
        let mounts = mounts(&answer(&run_after(&test, host)));
        assert_eq!(at(&mounts, "/").propagation, set(expected), "{word:?}, user namespace: {mapped}");
        // What is below changes with the recursive words alone.
        let below = match word {
            "rshared" => "shared",
            "runbindable" => "unbindable",
            _ => "",
        };
        assert_eq!(at(&mounts, "/below").propagation, set(below), "{word:?}, user namespace: {mapped}");
        test.assert_nothing_left(word);
    }
    let mut test = script("true");
    test.config["linux"]["rootfsPropagation"] = "rpublic".into();
    assert!(refused(&test, &run(&test)).contains("linux.rootfsPropagation"));
}

/// What a container mounts on a copy of one of the host's mounts must not be mounted on the host: on `/dev/null`, of which masked
/// files and, in a user namespace, devices are copies.
#[test]
fn no_mount_is_a_peer_of_the_hosts() {
    if !can_make_containers() {
        return;
    }
    for mapped in [false, true] {
        let mut test = script("grep -c /null /proc/self/mountinfo; grep shared: /proc/self/mountinfo; exit 0");
        if mapped {
            test.map_ids();
        }
        bind(&mut test, Path::new("/dev"), "/devices-of-the-host", &["rbind"]);
        let answer = answer(&run_after(&test, "mount --make-rshared /"));
        // How many copies of it there are, and nothing that is shared.
        assert!(answer.parse::<u32>().is_ok_and(|copies| copies > 0), "user namespace: {mapped}: {answer}");
        test.assert_nothing_left("shared mounts of the host");
    }
}

// Mapped ids

/// Makes files in a mapped mount and looks at those that are there.
const OWNERS: &str = "cd /m; stat -c '%n %u %g' *; touch made; mkdir made-dir; stat -c '%n %u %g' made made-dir";

/// A directory with a file of root's and one of 7:8, owned by root.
fn owned_source(test: &TestBundle) -> std::path::PathBuf {
    let source = test.beside("src");
    fs::create_dir(&source).unwrap();
    for (name, uid, gid) in [("root", 0, 0), ("seven", 7, 8)] {
        fs::write(source.join(name), "").unwrap();
        chown(source.join(name), Some(uid), Some(gid)).unwrap();
    }
    source
}

fn owner(path: &Path) -> (u32, u32) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid())
}

#[test]
fn mapped_ids_of_a_mount() {
    if !can_make_containers() {
        return;
    }
    let maps = |host: u32| json!([{ "containerID": 0, "hostID": host, "size": 1000 }]);
    let own = json!({ "uidMappings": maps(0), "gidMappings": maps(0) });
    let shifted = json!({ "uidMappings": maps(2000), "gidMappings": maps(3000) });
    let none = json!({});
    // Whether the container has a user namespace, the maps, the options, and the owners of: root, seven, made.
    let cases = [
        (false, &own, "bind idmap", "0 0", "7 8"),
        (false, &shifted, "bind idmap", "2000 3000", "2007 3008"),
        // The spec wants the option; the maps alone are enough, as with runc.
        (false, &shifted, "bind", "2000 3000", "2007 3008"),
        (false, &none, "bind idmap=uids=0-2000-1000;gids=0-3000-1000", "2000 3000", "2007 3008"),
        (false, &none, "bind idmap=uids=7-2007-1#0-2000-1;gids=8-3008-1#0-3000-1", "2000 3000", "2007 3008"),
        // The options' own maps before the mount's.
        (false, &own, "bind idmap=uids=0-2000-1000;gids=0-3000-1000", "2000 3000", "2007 3008"),
        (true, &none, "bind idmap", "0 0", "7 8"),
        (true, &none, "rbind ridmap", "0 0", "7 8"),
        (true, &none, "bind idmap=uids=0-100000-10;gids=0-100000-20", "0 0", "7 8"),
        // crun: relative to the container's own ids.
        (true, &none, "bind idmap=uids=@0-0-10;gids=@0-0-20", "0 0", "7 8"),
        (true, &none, "bind idmap=uids=@0-20-10;gids=0-100030-1#@1-31-10", "20 30", "27 38"),
        (true, &none, "bind", "65534 65534", "65534 65534"),
    ];
    for filesystem in ["ext4", "tmpfs"] {
        for (namespace, maps, options, root, seven) in cases {
            let what = format!("{filesystem}: {options}, {maps}, user namespace: {namespace}");
            let mut test = script(OWNERS);
            let source = owned_source(&test);
            if filesystem == "ext4"
                && nix::sys::statfs::statfs(&source).unwrap().filesystem_type() != nix::sys::statfs::EXT4_SUPER_MAGIC
            {
                skip("no ext4 for mapped ids where temporary files are");
                continue;
            }
            let mut mapped = json!({ "destination": "/m", "source": source, "options": words(options) });
            for (key, value) in maps.as_object().unwrap() {
                mapped[key] = value.clone();
            }
            mount(&mut test, mapped);
            if namespace {
                test.map_ids();
            }
            // Who is not root in the mount cannot make files there as root; as its root, one can.
            let (uid, gid) = root.split_once(' ').unwrap();
            let is_mapped = uid != "65534";
            if is_mapped {
                test.config["process"]["user"] =
                    json!({ "uid": uid.parse::<u32>().unwrap(), "gid": gid.parse::<u32>().unwrap() });
            }
            let host = if filesystem == "tmpfs" {
                "cp -a src copy; mount -t tmpfs -o mode=755 tmpfs src; cp -a copy/. src"
            } else {
                ":"
            };
            let output = if filesystem == "tmpfs" {
                // What was made is looked at where it is: the script of the host goes on after the container.
                let after = "\"$@\"; shift $#; set -- stat -c '%n %u %g' src/made src/made-dir; ";
                run_after(&test, &format!("{host}; root=$PWD; shift; cd /; {after} cd $root; set -- x \"$@\""))
            } else {
                run_after(&test, host)
            };
            if !is_mapped {
                let seen = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(seen.starts_with(&format!("root {root}\nseven {seven}\n")), "{what}: {seen}");
                assert!(!seen.contains("made"), "{what}: {seen}");
                continue;
            }
            let mut expected = format!("root {root}\nseven {seven}\nmade {root}\nmade-dir {root}");
            if filesystem == "tmpfs" {
                expected.push_str("\nsrc/made 0 0\nsrc/made-dir 0 0");
            } else {
                assert_eq!(owner(&source.join("made")), (0, 0), "{what}");
                assert_eq!(owner(&source.join("made-dir")), (0, 0), "{what}");
            }
            assert_eq!(answer(&output), expected, "{what}");
            test.assert_nothing_left(&what);
        }
    }
}

#[test]
fn mapped_ids_of_a_tree() {
    if !can_make_containers() {
        return;
    }
    let host = "mount -t tmpfs tmpfs src; mkdir src/a; mount -t tmpfs tmpfs src/a; touch src/top src/a/below";
    for (options, below) in
        [("rbind idmap", "0"), ("rbind ridmap", "500"), ("rbind rro ridmap=uids=0-500-10;gids=0-500-10", "500")]
    {
        let mut test = script("stat -c %u /m/top /m/a/below");
        fs::create_dir(test.beside("src")).unwrap();
        let mut mapped = json!({ "destination": "/m", "source": test.beside("src"), "options": words(options) });
        if !options.contains('=') {
            let maps = json!([{ "containerID": 0, "hostID": 500, "size": 10 }]);
            mapped["uidMappings"] = maps.clone();
            mapped["gidMappings"] = maps;
        }
        mount(&mut test, mapped);
        assert_eq!(answer(&run_after(&test, host)), format!("500\n{below}"), "{options}");
        test.assert_nothing_left(options);
    }
}

#[test]
fn maps_that_cannot_be() {
    if !can_make_containers() {
        return;
    }
    let map = json!([{ "containerID": 0, "hostID": 500, "size": 10 }]);
    let cases = [
        (json!({ "source": "/sys/kernel", "uidMappings": map, "gidMappings": map }), "cannot map ids"),
        (json!({ "source": "/proc/sys", "uidMappings": map, "gidMappings": map }), "cannot map ids"),
        (json!({ "source": ".", "uidMappings": map }), "uid and gid mappings"),
        (json!({ "source": ".", "gidMappings": map, "options": ["bind", "idmap"] }), "uid and gid mappings"),
        (json!({ "source": ".", "options": ["bind", "idmap"] }), "uid and gid mappings"),
        (json!({ "source": ".", "options": ["bind", "idmap="] }), "idmap=uids="),
        (json!({ "source": ".", "options": ["bind", "idmap=uids=0-1-1"] }), "idmap=uids="),
        (json!({ "source": ".", "options": ["bind", "idmap=uids=0-1-1;gids=0-1"] }), "idmap=uids="),
        (json!({ "source": ".", "options": ["bind", "idmap=uids=0-1-1;gids=0-1-x"] }), "idmap=uids="),
        (json!({ "source": ".", "options": ["bind", "idmap=uids=0-1-1;gids=0-4294967296-1"] }), "idmap=uids="),
        (json!({ "source": ".", "options": ["bind", "idmap=uids=@0-1-1;gids=0-1-1"] }), "relative mapping"),
        (json!({ "type": "tmpfs", "options": [], "uidMappings": map, "gidMappings": map }), "bind"),
        (json!({ "type": "tmpfs", "options": ["idmap"], "uidMappings": map, "gidMappings": map }), "bind"),
        (json!({ "type": "tmpfs", "options": ["ridmap=uids=0-1-1;gids=0-1-1"] }), "bind"),
    ];
    for (mut given, expected) in cases {
        let mut test = script("true");
        given["destination"] = "/m".into();
        if given["options"].is_null() {
            given["options"] = json!(["bind"]);
        }
        let what = given.to_string();
        mount(&mut test, given);
        let output = run(&test);
        assert!(!output.status.success(), "{what}: was made");
        let error = refused(&test, &output);
        assert!(error.contains(&last(&test)) && error.contains(expected), "{what}: {error}");
    }
    // A relative range that begins within the container's ids and ends beyond: those are the host's own.
    let mut test = script("true");
    test.map_ids();
    mount(
        &mut test,
        json!({ "destination": "/m", "source": ".", "options": ["bind", "idmap=uids=@0-65530-7;gids=@0-0-1"] }),
    );
    let error = refused(&test, &run(&test));
    assert!(error.contains(&last(&test)) && error.contains("relative mapping"), "{error}");
}

// Copies of what the image has

/// Everything about a tree that a copy keeps.
const LIST: &str = "busybox find . | busybox sort | while read -r f; do stat -c '%n %a %u %g %F %t:%T' \"$f\"; \
    if [ -h \"$f\" ]; then readlink \"$f\"; elif [ -f \"$f\" ]; then busybox md5sum < \"$f\"; fi; done";

/// A tree with one of each.
fn variety(root: &Path) {
    let mode = |name: &str, mode: u32| fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    fs::create_dir_all(root.join("dir/nested/deep")).unwrap();
    fs::create_dir(root.join("sticky")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    for (name, text) in [
        ("file", "text"),
        ("dir/nested/deep/file", "deep"),
        ("suid", "s"),
        ("sgid", "g"),
        ("none", ""),
        ("with space\tand tab", ""),
    ] {
        fs::write(root.join(name), text).unwrap();
    }
    let large: Vec<u8> = (0..3_000_001u32).map(|number| (number % 251) as u8).collect();
    fs::write(root.join("large"), large).unwrap();
    for number in 0..300 {
        fs::write(root.join(format!("dir/many-{number:0200}")), "").unwrap();
    }
    symlink("file", root.join("link")).unwrap();
    symlink("/nowhere/at all", root.join("dangling")).unwrap();
    symlink("x".repeat(4000), root.join("long")).unwrap();
    mknod(&root.join("fifo"), SFlag::S_IFIFO, Mode::empty(), 0).unwrap();
    mknod(&root.join("socket"), SFlag::S_IFSOCK, Mode::empty(), 0).unwrap();
    for (name, uid, gid) in [("suid", 1, 2), ("sgid", 3, 4), ("dir", 5, 6), ("fifo", 7, 8), ("socket", 9, 10)] {
        chown(root.join(name), Some(uid), Some(gid)).unwrap();
    }
    std::os::unix::fs::lchown(root.join("link"), Some(11), Some(12)).unwrap();
    for (name, bits) in [
        ("suid", 0o4711),
        ("sgid", 0o2755),
        ("none", 0),
        ("sticky", 0o1777),
        ("dir", 0o2750),
        ("empty", 0),
        ("fifo", 0o620),
        ("socket", 0o755),
    ] {
        mode(name, bits);
    }
    chown(root, Some(13), Some(14)).unwrap();
    fs::set_permissions(root, fs::Permissions::from_mode(0o3751)).unwrap();
}

#[test]
fn copies_of_the_images_files() {
    if !can_make_containers() {
        return;
    }
    let list = |directory: &str| format!("cd {directory}; {LIST}");
    let mut test = script(&list("/copy"));
    let root = test.rootfs().join("copy");
    fs::create_dir(&root).unwrap();
    variety(&root);
    mknod(&root.join("device"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), makedev(1, 3)).unwrap();
    tmpfs(&mut test, "/copy", &["tmpcopyup"]);
    let original = Command::new("busybox").args(["sh", "-c", &list(root.to_str().unwrap())]).output().unwrap();
    let original = answer(&original);
    assert!(original.lines().count() > 600, "{original}");
    let copy = answer(&run(&test));
    assert_eq!(copy.lines().collect::<Vec<_>>(), original.lines().collect::<Vec<_>>());
    // The copy is not the image.
    test.config["process"]["args"] = json!(["sh", "-c", "echo more >> /copy/file; cat /copy/file"]);
    assert_eq!(answer(&run(&test)), "textmore");
    assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "text");
    // Read-only after the copy, through a link in the image.
    symlink("copy", test.rootfs().join("way")).unwrap();
    test.config["mounts"].as_array_mut().unwrap().pop();
    tmpfs(&mut test, "/way", &["tmpcopyup", "ro", "noexec", "size=16m"]);
    test.config["process"]["args"] = json!(["sh", "-c", format!("touch /copy/x 2>&1; cat /copy/file; echo; {TABLE}")]);
    let seen = answer(&run(&test));
    assert!(seen.starts_with("touch: /copy/x: Read-only file system\ntext\n"), "{seen}");
    assert_eq!(at(&mounts(&seen), "/copy").options, set("ro noexec relatime"));
    // What is mounted there already is copied, not what is below.
    let mut test = script("cat /copy/file; ls /copy");
    tmpfs(&mut test, "/missing", &["tmpcopyup"]);
    let source = test.beside("src");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "of the volume\n").unwrap();
    bind(&mut test, &source, "/copy", &["ro"]);
    tmpfs(&mut test, "/copy", &["tmpcopyup"]);
    assert_eq!(answer(&run(&test)), "of the volume\nfile");
    test.assert_nothing_left("copies");
}

#[test]
fn copies_in_a_user_namespace() {
    if !can_make_containers() {
        return;
    }
    let mut test = script("cd /copy; stat -c '%n %a %u %g %F' file dir fifo .; cat file");
    let root = test.rootfs().join("copy");
    fs::create_dir_all(root.join("dir")).unwrap();
    fs::write(root.join("file"), "text").unwrap();
    mknod(&root.join("fifo"), SFlag::S_IFIFO, Mode::from_bits_truncate(0o600), 0).unwrap();
    tmpfs(&mut test, "/copy", &["tmpcopyup"]);
    test.map_ids();
    chown(root.join("file"), Some(100_007), Some(100_008)).unwrap();
    fs::set_permissions(root.join("file"), fs::Permissions::from_mode(0o4750)).unwrap();
    let expected = "file 4750 7 8 regular file\ndir 755 0 0 directory\nfifo 600 0 0 fifo\n. 755 0 0 directory\ntext";
    assert_eq!(answer(&run(&test)), expected);
    test.assert_nothing_left("a copy");
}

#[test]
fn copies_that_cannot_be() {
    if !can_make_containers() {
        return;
    }
    // Too large.
    let mut test = script("true");
    let root = test.rootfs().join("copy");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("large-file"), vec![1; 300_000]).unwrap();
    tmpfs(&mut test, "/copy", &["tmpcopyup", "size=64k"]);
    let error = refused(&test, &run(&test));
    assert!(error.contains(&last(&test)) && error.contains("large-file") && error.contains("no space left"), "{error}");
    // Too many.
    let mut test = script("true");
    let root = test.rootfs().join("copy");
    fs::create_dir(&root).unwrap();
    for number in 0..20 {
        fs::write(root.join(format!("file-{number}")), "").unwrap();
    }
    tmpfs(&mut test, "/copy", &["tmpcopyup", "nr_inodes=10"]);
    let error = refused(&test, &run(&test));
    assert!(error.contains(&last(&test)) && error.contains("file-") && error.contains("no space left"), "{error}");
    // Deep, and too deep.
    for (depth, fits) in [(120, true), (140, false)] {
        let mut test = script("busybox find /copy | wc -l");
        let root = test.rootfs().join("copy");
        fs::create_dir_all((0..depth).fold(root, |path, _| path.join("d"))).unwrap();
        tmpfs(&mut test, "/copy", &["tmpcopyup"]);
        let output = run(&test);
        if fits {
            assert_eq!(answer(&output), (depth + 1).to_string());
        } else {
            let error = refused(&test, &output);
            assert!(error.contains(&last(&test)) && error.contains("symbolic links"), "{error}");
        }
    }
    // A file is no directory to copy.
    let mut test = script("true");
    tmpfs(&mut test, "/bin/busybox", &["tmpcopyup"]);
    let error = refused(&test, &run(&test));
    assert!(error.contains(&last(&test)) && error.contains("not a directory"), "{error}");
    for mount in [
        json!({ "destination": "/m", "source": "rootfs", "options": ["bind", "tmpcopyup"] }),
        json!({ "destination": "/m", "type": "sysfs", "options": ["tmpcopyup"] }),
    ] {
        let mut test = script("true");
        self::mount(&mut test, mount);
        let error = refused(&test, &run(&test));
        assert!(error.contains(&last(&test)) && error.contains("tmpcopyup can be used only with tmpfs"), "{error}");
    }
}

/// runc: a tmpfs has the mode that the image's directory has, unless the options name one.
#[test]
fn modes_of_a_tmpfs() {
    if !can_make_containers() {
        return;
    }
    let mut test = script("stat -c '%n %a' /there /named /copied /named-and-copied /missing");
    for name in ["there", "named", "copied", "named-and-copied"] {
        let directory = test.rootfs().join(name);
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o710)).unwrap();
    }
    tmpfs(&mut test, "/there", &[]);
    tmpfs(&mut test, "/named", &["mode=1770"]);
    tmpfs(&mut test, "/copied", &["tmpcopyup"]);
    tmpfs(&mut test, "/named-and-copied", &["tmpcopyup", "mode=1770"]);
    tmpfs(&mut test, "/missing", &[]);
    let expected = "/there 710\n/named 1770\n/copied 710\n/named-and-copied 1770\n/missing 1777";
    assert_eq!(answer(&run(&test)), expected);
    test.assert_nothing_left("modes");
    // Read-only from the beginning, and owned by whom the options name.
    let mut test = script("stat -c '%n %a %u %g' /there /copied; touch /there/x");
    for name in ["there", "copied"] {
        let directory = test.rootfs().join(name);
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o2750)).unwrap();
        chown(&directory, Some(3), Some(4)).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o2750)).unwrap();
    }
    tmpfs(&mut test, "/there", &["ro"]);
    tmpfs(&mut test, "/copied", &["tmpcopyup", "uid=1", "gid=2"]);
    let output = run(&test);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "/there 2750 0 0\n/copied 2750 1 2\n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("Read-only file system"));
}

// Links as sources and destinations

#[test]
fn links_are_followed_copied_or_mounted() {
    if !can_make_containers() {
        return;
    }
    let look = "for p in /followed /copied /nested/copied /itself /plain /target; do \
        echo $p $(stat -c %F $p) $(readlink $p) $(cat $p/inside 2>/dev/null); done; readlink /covered; ls /elsewhere";
    for mapped in [false, true] {
        let mut test = script(look);
        let source = test.beside("src");
        fs::create_dir_all(source.join("dir")).unwrap();
        fs::write(source.join("dir/inside"), "inside").unwrap();
        symlink("dir", source.join("link")).unwrap();
        let link = source.join("link");
        bind(&mut test, &link, "/followed", &[]);
        bind(&mut test, &link, "/copied", &["copy-symlink"]);
        bind(&mut test, &link, "/nested/copied", &["copy-symlink", "ro"]);
        // The same once more: it is there already.
        bind(&mut test, &link, "/copied", &["copy-symlink"]);
        bind(&mut test, &link, "/itself", &["src-nofollow", "dest-nofollow"]);
        // No link, an ordinary mount.
        bind(&mut test, &source.join("dir"), "/plain", &["copy-symlink"]);
        bind(&mut test, &source.join("dir"), "/target", &["src-nofollow"]);
        // Links at the destination.
        fs::create_dir(test.rootfs().join("elsewhere")).unwrap();
        symlink("old", test.rootfs().join("itself")).unwrap();
        symlink("elsewhere", test.rootfs().join("covered")).unwrap();
        bind(&mut test, &link, "/covered", &["src-nofollow", "dest-nofollow"]);
        if mapped {
            test.map_ids();
        }
        let expected = "/followed directory inside\n/copied symbolic link dir\n/nested/copied symbolic link dir\n\
            /itself symbolic link dir\n/plain directory inside\n/target directory inside\ndir";
        assert_eq!(answer(&run(&test)), expected, "user namespace: {mapped}");
        test.assert_nothing_left("links");
    }
}

#[test]
fn links_that_cannot_be() {
    if !can_make_containers() {
        return;
    }
    let cases = [
        ("link", "/there", "bind copy-symlink", "file exists"),
        ("link", "/other", "bind copy-symlink", "file exists"),
        ("link", "/m", "bind copy-symlink src-nofollow", "mutually exclusive"),
        ("dangling", "/m", "bind", "no such file"),
        ("loop", "/m", "bind", "symbolic links"),
        // A directory cannot be mounted on a link.
        ("dir", "/other", "bind dest-nofollow", ""),
    ];
    for (source, destination, options, expected) in cases {
        let mut test = script("true");
        let directory = test.beside("src");
        fs::create_dir_all(directory.join("dir")).unwrap();
        symlink("dir", directory.join("link")).unwrap();
        symlink("nothing", directory.join("dangling")).unwrap();
        symlink("loop", directory.join("loop")).unwrap();
        fs::write(test.rootfs().join("there"), "").unwrap();
        symlink("etc", test.rootfs().join("other")).unwrap();
        mount(
            &mut test,
            json!({ "destination": destination, "source": directory.join(source), "options": words(options) }),
        );
        let error = refused(&test, &run(&test));
        assert!(error.contains(&last(&test)) && error.contains(expected), "{options}: {error}");
    }
}

// Mounts that are there already

#[test]
fn remounts() {
    if !can_make_containers() {
        return;
    }
    for mapped in [false, true] {
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
        assert!(remounted.superblock.contains("ro") && remounted.superblock.contains("size=128k"), "{remounted:?}");
        if !mapped {
            assert_eq!(at(&mounts, "/b").options, set("ro relatime"));
        }
        assert_eq!(at(&mounts, "/f").options, set("ro noexec relatime"));
        assert_eq!(at(&mounts, "/p").propagation, set("shared"));
        let refusals = "touch: /t/x: Read-only file system\ntouch: /f: Read-only file system";
        assert!(seen.ends_with(refusals), "{seen}");
        test.assert_nothing_left("remounts");
    }
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

// Filesystems of the kernel

#[test]
fn filesystems_of_the_kernel() {
    if !can_make_containers() {
        return;
    }
    for mapped in [false, true] {
        let look = "ls /ptys; echo; for n in 1 2; do sh -c 'exec 3<>/ptys/ptmx; ls /ptys'; done | sort -u; echo; \
            touch /queues/queue && stat -c %s /queues/queue; ls /dev/mqueue; touch /sys/x 2>&1; ls /sys/class/net; echo; ";
        let mut test = script(&format!("{look}{TABLE}"));
        mount(
            &mut test,
            json!({ "destination": "/ptys", "type": "devpts", "source": "mine",
            "options": ["newinstance", "ptmxmode=0600", "mode=600", "noexec"] }),
        );
        mount(&mut test, json!({ "destination": "/queues", "type": "mqueue", "source": "", "options": ["nosuid"] }));
        mount(&mut test, json!({ "destination": "/processes", "type": "proc", "options": ["hidepid=2", "ro"] }));
        test.config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/processes");
        if mapped {
            test.map_ids();
        }
        let seen = answer(&run(&test));
        let expected = "ptmx\n\n0\nptmx\n\n80\nqueue\ntouch: /sys/x: Read-only file system\nlo\n\n";
        assert!(seen.starts_with(expected), "{seen}");
        let mounts = mounts(&seen);
        let ptys = at(&mounts, "/ptys");
        assert_eq!((ptys.fstype.as_str(), ptys.source.as_str()), ("devpts", "mine"));
        assert_eq!(ptys.options, set("rw noexec relatime"));
        assert!(ptys.superblock.contains("ptmxmode=600") && ptys.superblock.contains("mode=600"), "{ptys:?}");
        assert_eq!(at(&mounts, "/queues").options, set("rw nosuid relatime"));
        let sys = at(&mounts, "/sys");
        assert_eq!((sys.fstype.as_str(), sys.root.as_str()), ("sysfs", "/"));
        assert_eq!(sys.options, set("ro nosuid nodev noexec relatime"));
        test.assert_nothing_left("filesystems");
    }
}

/// What is seen of cgroups: the container's own alone with a namespace, never to be written with `ro`.
#[test]
fn cgroups() {
    if !can_make_containers() {
        return;
    }
    for (namespace, readonly, mapped) in [
        (true, true, false),
        (true, false, false),
        (false, true, false),
        (false, false, false),
        (true, true, true),
        (true, false, true),
        (false, true, true),
        (false, false, true),
    ] {
        let what = format!("cgroup namespace: {namespace}, ro: {readonly}, user namespace: {mapped}");
        let look = "cat /proc/self/cgroup; echo ---; for d in /sys/fs/cgroup /sys/fs/cgroup/unified; do \
            mkdir $d/inner 2>/dev/null && echo made $d && rmdir $d/inner; done; echo ---; ";
        let mut test = script(&format!("{look}{TABLE}"));
        let config = &mut test.config;
        if !namespace {
            config["linux"]["namespaces"].as_array_mut().unwrap().retain(|entry| entry["type"] != "cgroup");
        }
        let last = config["mounts"].as_array_mut().unwrap().last_mut().unwrap();
        assert_eq!(last["type"], "cgroup");
        last["options"] = json!(["nosuid", "noexec", "nodev", if readonly { "ro" } else { "rw" }]);
        if mapped {
            test.map_ids();
        }
        let seen = answer(&run(&test));
        let [own, made, table] = seen.split("---\n").collect::<Vec<_>>().try_into().unwrap();
        let unified = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
        let place = if namespace { "/".to_owned() } else { format!("/{}", test.id) };
        assert_eq!(unified, place, "{what}");
        assert!(!readonly || made.is_empty(), "{what}: {made}");
        for mount in mounts(table).iter().filter(|mount| mount.point.starts_with("/sys/fs/cgroup")) {
            if readonly {
                assert!(mount.options.contains("ro"), "{what}: {mount:?}");
            }
            assert!(
                ["nosuid", "nodev", "noexec"].iter().all(|word| mount.options.contains(*word)),
                "{what}: {mount:?}"
            );
            // Nothing above the container's own cgroup is to be seen through a namespace.
            assert!(!namespace || mount.fstype != "cgroup2" || mount.root == "/", "{what}: {mount:?}");
        }
        assert!(table.contains(" /sys/fs/cgroup "), "{what}: {table}");
        test.assert_nothing_left(&what);
    }
}

/// fsconfig(2) takes 255 bytes: longer lists of layers are given one by one.
#[test]
fn overlays() {
    if !can_make_containers() {
        return;
    }
    let overlay = |names: &[String], more: &[String]| {
        let mut test = script("ls /m; cat /m/same; touch /m/new; echo changed > /m/layer-000; ls /m | busybox wc -l");
        let layers = test.beside("src");
        for name in names.iter().chain(&["upper".to_owned(), "work".to_owned()]) {
            fs::create_dir_all(layers.join(name)).unwrap();
        }
        for (index, name) in names.iter().enumerate() {
            fs::write(layers.join(name).join(format!("layer-{index:03}")), "").unwrap();
            fs::write(layers.join(name).join("same"), format!("{index}\n")).unwrap();
        }
        let path = |name: &String| {
            layers.join(name).to_str().unwrap().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,")
        };
        let lower: Vec<String> = names.iter().map(path).collect();
        let mut options = vec![format!("lowerdir={}", lower.join(":"))];
        options.extend(more.iter().cloned());
        if more.is_empty() {
            options.push(format!("upperdir={}", layers.join("upper").display()));
            options.push(format!("workdir={}", layers.join("work").display()));
        }
        mount(&mut test, json!({ "destination": "/m", "type": "overlay", "source": "overlay", "options": options }));
        test
    };
    let many = |count: usize| (0..count).map(|index| format!("layer-{index}")).collect::<Vec<_>>();
    for names in [
        many(1),
        many(2),
        many(60),
        // One too long for a string by itself would not do; with it, the list is.
        vec!["x".repeat(100), "y".repeat(100), "z".repeat(100)],
        vec!["with:colon".to_owned(), "plain".to_owned()],
        vec![format!("with:colon{}", "x".repeat(100)), format!("plain{}", "x".repeat(100))],
        vec!["comma,in it".to_owned(), "plain".to_owned()],
        vec![format!("comma,in it{}", "x".repeat(100)), format!("plain{}", "x".repeat(100))],
        vec![format!("back\\slash{}", "x".repeat(100)), format!("plain{}", "x".repeat(100))],
    ] {
        let test = overlay(&names, &[]);
        let mut expected: Vec<String> = (0..names.len()).map(|index| format!("layer-{index:03}")).collect();
        expected.extend(["same".to_owned(), "0".to_owned(), (names.len() + 2).to_string()]);
        assert_eq!(answer(&run(&test)).lines().collect::<Vec<_>>(), expected, "{names:?}");
        let upper = test.beside("src").join("upper");
        assert_eq!(fs::read_to_string(upper.join("layer-000")).unwrap(), "changed\n");
        assert!(upper.join("new").exists());
        test.assert_nothing_left("overlay");
    }
    // Layers behind a double colon hold data alone.
    let mut test = overlay(&[], &[]);
    let layers = test.beside("src");
    let names = ["a".repeat(100), "b".repeat(100), "c".repeat(100)].map(|name| layers.join(name));
    for name in &names {
        fs::create_dir(name).unwrap();
    }
    fs::write(names[0].join("same"), "first\n").unwrap();
    fs::write(names[2].join("data"), "").unwrap();
    let [first, second, third] = names.map(|name| name.display().to_string());
    test.config["mounts"].as_array_mut().unwrap().last_mut().unwrap()["options"] =
        json!([format!("lowerdir={first}:{second}::{third}"), "ro"]);
    test.config["process"]["args"] = json!(["ls", "/m"]);
    assert_eq!(answer(&run(&test)), "same");
    // A layer that is missing, an option that overlay does not know.
    for (more, expected) in [("upperdir=/no/such/directory", "/no/such/directory"), ("nonsense=1", "nonsense")] {
        let test = overlay(&many(2), &[more.to_owned(), "workdir=/no/such/work".to_owned()]);
        let error = refused(&test, &run(&test));
        assert!(error.contains(&last(&test)) && error.contains(expected), "{error}");
    }
}

// Destinations

#[test]
fn destinations() {
    if !can_make_containers() {
        return;
    }
    for mapped in [false, true] {
        let mut test = script(
            "for p in $(busybox find / -xdev -name 'here*'); do echo $p; done; cat /etc/file-*; cat /file-mount/x",
        );
        let rootfs = test.rootfs();
        let source = test.beside("src");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), "volume\n").unwrap();
        let file = source.join("file");
        for name in ["real", "real/sub", "rel"] {
            fs::create_dir(rootfs.join(name)).unwrap();
        }
        fs::write(rootfs.join("etc/file-there"), "image\n").unwrap();
        symlink("/real", rootfs.join("absolute")).unwrap();
        symlink("../real", rootfs.join("rel/link")).unwrap();
        // Above the root is the root.
        symlink("../../../../../real/sub", rootfs.join("rel/far")).unwrap();
        symlink("/etc/file-there", rootfs.join("to-file")).unwrap();
        symlink("/made/by/link", rootfs.join("dangling")).unwrap();
        symlink("made-too", rootfs.join("dangling-relative")).unwrap();
        symlink("dangling-1", rootfs.join("dangling-0")).unwrap();
        symlink("/dangling-2", rootfs.join("dangling-1")).unwrap();
        symlink("../end/of/chain", rootfs.join("dangling-2")).unwrap();
        symlink("/etc/file-by-link", rootfs.join("dangling-file")).unwrap();
        let look = [
            // Destination, where the mount is.
            ("/missing/deep/dir", "/missing/deep/dir"),
            ("/absolute", "/real"),
            ("/rel/link/made", "/real/made"),
            ("/rel/far", "/real/sub"),
            ("/dangling", "/made/by/link"),
            ("/dangling-relative/below", "/made-too/below"),
            ("/dangling-0", "/end/of/chain"),
            ("relative/destination", "/relative/destination"),
            ("/a/../b/./c//d", "/b/c/d"),
            ("/../../above", "/above"),
            ("/with space\tand tab", "/with\\040space\\011and\\040tab"),
        ];
        for (destination, _) in look {
            tmpfs(&mut test, destination, &["size=64k"]);
        }
        let files = [
            ("/etc/file-there", "/etc/file-there"),
            ("/dangling-file", "/etc/file-by-link"),
            ("/etc/file-missing", "/etc/file-missing"),
            ("/new/dir/file", "/new/dir/file"),
            ("/dev/file", "/dev/file"),
        ];
        for (destination, _) in files {
            bind(&mut test, &file, destination, &["ro"]);
        }
        test.config["process"]["args"] = json!([
            "sh",
            "-c",
            format!(
                "{TABLE}; echo; cat {}; stat -c %a /missing/deep /missing",
                files.map(|(_, point)| point).join(" ")
            )
        ]);
        if mapped {
            test.map_ids();
        }
        let seen = answer(&run(&test));
        let (table, rest) = seen.split_once("\n\n").unwrap();
        let mounts = mounts(table);
        for (destination, point) in look {
            assert_eq!(at(&mounts, point).fstype, "tmpfs", "{destination}");
        }
        for (_, point) in files {
            assert_eq!(at(&mounts, point).options, set("ro relatime"));
        }
        assert_eq!(rest, "volume\n".repeat(files.len()) + "755\n755");
        assert_eq!(fs::read_to_string(rootfs.join("etc/file-there")).unwrap(), "image\n");
        assert_eq!(fs::read_to_string(rootfs.join("etc/file-missing")).unwrap(), "");
        test.assert_nothing_left("destinations");
    }
}

#[test]
fn destinations_that_cannot_be() {
    if !can_make_containers() {
        return;
    }
    let cases = [
        ("/bin/busybox", "tmpfs", "not a directory"),
        ("/bin/busybox/below", "tmpfs", "not a directory"),
        ("/bin/busybox/below", "file", "not a directory"),
        ("/bin", "file", "not a directory"),
        ("/bin/busybox", "directory", "not a directory"),
        ("/loop", "tmpfs", "symbolic links"),
        ("/loop/below", "tmpfs", "symbolic links"),
        ("/loop/below", "file", "symbolic links"),
        ("/loop-a", "file", "symbolic links"),
        ("/dangling-loop", "tmpfs", "symbolic links"),
        ("/through-file", "tmpfs", "not a directory"),
        ("/through-file", "file", "not a directory"),
        ("/fifo", "tmpfs", "not a directory"),
        ("/", "tmpfs", "root"),
        ("/../.", "file", "root"),
        ("", "tmpfs", "empty"),
    ];
    let long = format!("/{}", "x".repeat(256));
    for (destination, kind, expected) in
        cases.into_iter().chain([(long.as_str(), "tmpfs", "too long"), (long.as_str(), "file", "too long")])
    {
        let mut test = script("true");
        let rootfs = test.rootfs();
        symlink("loop", rootfs.join("loop")).unwrap();
        symlink("/loop-b", rootfs.join("loop-a")).unwrap();
        symlink("loop-a", rootfs.join("loop-b")).unwrap();
        symlink("nothing/../dangling-loop", rootfs.join("dangling-loop")).unwrap();
        symlink("/bin/busybox/x", rootfs.join("through-file")).unwrap();
        mknod(&rootfs.join("fifo"), SFlag::S_IFIFO, Mode::empty(), 0).unwrap();
        let source = test.beside("src");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), "").unwrap();
        match kind {
            "file" => bind(&mut test, &source.join("file"), destination, &[]),
            "directory" => bind(&mut test, &source, destination, &[]),
            _ => tmpfs(&mut test, destination, &[]),
        }
        let output = run(&test);
        assert!(!output.status.success(), "{kind} on {destination:?} was made");
        let error = refused(&test, &output);
        assert!(error.contains(&last(&test)) && error.contains(expected), "{kind} on {destination:?}: {error}");
    }
}

// Sources

#[test]
fn sources() {
    if !can_make_containers() {
        return;
    }
    for mapped in [false, true] {
        let look = "for p in /m/*; do echo $p $(stat -L -c %F $p); done; cat /m/file /m/relative /m/through-fd; \
            cat /m/fifo; stat -f -c %T /m/net";
        let mut test = script(look);
        let source = test.beside("src");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), "file\n").unwrap();
        fs::write(test.path().join("of-bundle"), "relative\n").unwrap();
        mknod(&source.join("fifo"), SFlag::S_IFIFO, Mode::from_bits_truncate(0o666), 0).unwrap();
        fs::set_permissions(source.join("fifo"), fs::Permissions::from_mode(0o666)).unwrap();
        let listener = std::os::unix::net::UnixListener::bind(source.join("socket")).unwrap();
        for name in ["file", "fifo", "socket"] {
            bind(&mut test, &source.join(name), &format!("/m/{name}"), &[]);
        }
        bind(&mut test, Path::new("of-bundle"), "/m/relative", &[]);
        bind(&mut test, Path::new("../src"), "/m/above", &[]);
        bind(&mut test, Path::new("/proc/self/ns/net"), "/m/net", &[]);
        bind(&mut test, Path::new("/dev/null"), "/m/device", &[]);
        bind(&mut test, Path::new("/proc/self/fd/7"), "/m/through-fd", &[]);
        if mapped {
            test.map_ids();
        }
        // Somebody must write to the fifo.
        let host = "exec 7<src/file; (echo fifo > src/fifo) &";
        let expected = "/m/above directory\n/m/device character special file\n/m/fifo fifo\n/m/file regular file\n\
            /m/net regular empty file\n/m/relative regular file\n/m/socket socket\n/m/through-fd regular file\n\
            file\nrelative\nfile\nfifo\nnsfs";
        let output = run_after(&test, host);
        let text = String::from_utf8_lossy(&output.stdout);
        // busybox knows the type by its number alone.
        let text = text.trim_end().replace("UNKNOWN", "nsfs");
        assert_eq!(text, expected, "{}", String::from_utf8_lossy(&output.stderr));
        drop(listener);
        test.assert_nothing_left("sources");
    }
}

/// Links of the host that go up to its root, as Fedora's `/var/run -> ../run` does: the container's root must not lie there while
/// sources are looked up, or the image says what is mounted.
#[test]
fn links_up_to_the_root_do_not_lead_into_the_image() {
    if !can_make_containers() {
        return;
    }
    for mapped in [false, true] {
        for words in [&[][..], &["--no-pivot"]] {
            let mut test = script("cat /m/file /above/file /layers/file");
            let (source, secret) = (test.beside("src"), test.beside("secret"));
            for (directory, content) in [(&source, "the config's\n"), (&secret, "a secret\n")] {
                fs::create_dir(directory).unwrap();
                fs::write(directory.join("file"), content).unwrap();
            }
            let up = Path::new("/..").join(source.strip_prefix("/").unwrap());
            let link = test.beside("link");
            symlink(Path::new("../../../..").join(source.strip_prefix("/").unwrap()), &link).unwrap();
            // The image has the path, too: a link to anything of the host's.
            let twin = test.rootfs().join(source.strip_prefix("/").unwrap());
            fs::create_dir_all(twin.parent().unwrap()).unwrap();
            symlink(&secret, twin).unwrap();
            bind(&mut test, &link, "/m", &["rbind"]);
            bind(&mut test, &up, "/above", &["bind"]);
            let empty = test.beside("empty");
            fs::create_dir(&empty).unwrap();
            let layers = format!("lowerdir={}:{}", link.display(), empty.display());
            let overlay = json!({ "destination": "/layers", "type": "overlay", "source": "o", "options": [layers] });
            mount(&mut test, overlay);
            if mapped {
                test.map_ids();
            }
            let output = run_in(&test, ":", &["--mount", "--propagation", "private"], words);
            assert_eq!(stdout(&output), "the config's\n".repeat(3), "mapped {mapped}, {words:?}");
            test.assert_nothing_left("links up to the root");
        }
    }
}

#[test]
fn sources_that_cannot_be() {
    if !can_make_containers() {
        return;
    }
    for (source, expected) in [
        ("/no/such/source", "no such file"),
        ("missing-in-bundle", "no such file"),
        ("config.json/below", "not a directory"),
        ("/proc/self/fd/999", "no such file"),
        ("", "source"),
    ] {
        for options in [&["bind"][..], &["rbind", "ro"]] {
            let mut test = script("true");
            mount(&mut test, json!({ "destination": "/m", "source": source, "options": options }));
            let error = refused(&test, &run(&test));
            assert!(error.contains(&last(&test)) && error.contains(expected) && error.contains(source), "{error}");
        }
    }
    let mut test = script("true");
    mount(&mut test, json!({ "destination": "/m", "options": ["bind"] }));
    let error = refused(&test, &run(&test));
    assert!(error.contains(&last(&test)), "{error}");
}

// Many, and in order

#[test]
fn mounts_are_made_in_order() {
    if !can_make_containers() {
        return;
    }
    let mut test = script("cat /m/a/file; cat /m/top; ls /m/hidden /over; cat /n/file");
    let source = test.beside("src");
    for name in ["first", "second"] {
        fs::create_dir_all(source.join(name).join("a")).unwrap();
        fs::write(source.join(name).join("file"), format!("{name}\n")).unwrap();
    }
    tmpfs(&mut test, "/m", &[]);
    bind(&mut test, &source.join("first"), "/m/a", &[]);
    bind(&mut test, &source.join("first/file"), "/m/top", &[]);
    // Below something that a later mount covers.
    tmpfs(&mut test, "/over/below", &[]);
    tmpfs(&mut test, "/over", &[]);
    // One on the other: the last is seen.
    bind(&mut test, &source.join("first"), "/n", &[]);
    bind(&mut test, &source.join("second"), "/n", &[]);
    tmpfs(&mut test, "/m/hidden", &[]);
    bind(&mut test, &source.join("second/file"), "/m/a/file", &[]);
    assert_eq!(answer(&run(&test)), "second\nfirst\n/m/hidden:\n\n/over:\nsecond");
    // On a read-only mount there is nothing to make a target in, but what is there can be covered.
    let mut test = script("cat /m/file");
    bind(&mut test, &source.join("first"), "/m", &["ro"]);
    bind(&mut test, &source.join("second/file"), "/m/file", &[]);
    assert_eq!(answer(&run(&test)), "second");
    bind(&mut test, &source.join("second/file"), "/m/missing", &[]);
    let error = refused(&test, &run(&test));
    assert!(error.contains(&last(&test)) && error.contains("read-only file system"), "{error}");
    test.assert_nothing_left("order");
}

#[test]
fn three_hundred_mounts() {
    if !can_make_containers() {
        return;
    }
    for mapped in [false, true] {
        let mut test = script(TABLE);
        let source = test.beside("src");
        fs::create_dir(&source).unwrap();
        for number in 0..150 {
            bind(&mut test, &source, &format!("/b/{number}"), &["ro"]);
            tmpfs(&mut test, &format!("/t/{number}"), &[]);
        }
        if mapped {
            test.map_ids();
        }
        // With few fds for the caller, too.
        for limit in [20_000, 512] {
            let mounts = mounts(&answer(&run_after(&test, &format!("ulimit -Sn {limit}"))));
            let count = |prefix: &str| mounts.iter().filter(|mount| mount.point.starts_with(prefix)).count();
            assert_eq!((count("/b/"), count("/t/")), (150, 150));
        }
        test.assert_nothing_left("300 mounts");
    }
}

// Types and data

#[test]
fn types_and_data() {
    if !can_make_containers() {
        return;
    }
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
    test.assert_nothing_left("types");
}

/// What the kernel says about an option is in the error.
#[test]
fn the_kernels_words_are_told() {
    if !can_make_containers() {
        return;
    }
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
#[test]
fn options_of_filesystems_on_bind_mounts() {
    if !can_make_containers() {
        return;
    }
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
#[test]
fn labels_without_a_module() {
    if !can_make_containers() {
        return;
    }
    let modules = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    let label = "system_u:object_r:container_file_t:s0:c1,c2";
    let cases = [
        ("selinux", "/linux/mountLabel", label, "linux.mountLabel"),
        ("selinux", "/process/selinuxLabel", "system_u:system_r:container_t:s0:c1,c2", "process.selinuxLabel"),
        ("apparmor", "/process/apparmorProfile", "unconfined", "process.apparmorProfile"),
    ];
    for (module, pointer, value, expected) in cases {
        if modules.contains(module) {
            skip(&format!("the kernel has {module}"));
            continue;
        }
        for mapped in [false, true] {
            let mut test = script("true");
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            test.config.pointer_mut(parent).unwrap()[name] = value.into();
            if mapped {
                test.map_ids();
            }
            let output = run(&test);
            let warning = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && warning.contains(expected) && warning.contains("ignored"), "{warning}");
            // An empty one is none.
            test.config.pointer_mut(parent).unwrap()[name] = "".into();
            let output = run(&test);
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        }
    }
}

// What is hidden and what cannot be written

#[test]
fn masked_and_readonly_paths() {
    if !can_make_containers() {
        return;
    }
    for mapped in [false, true] {
        let look = "stat -c '%n %F %t:%T' /secret-file /proc/keys /volume/file /link-to-file; cat /secret-file /volume/file; \
            ls -A /secret-dir /proc/acpi /volume/dir /way/dir; \
            for p in /secret-dir /volume/dir /fixed-dir /fixed-dir/sub /fixed/way; do touch $p/new 2>/dev/null && echo wrote $p; done; \
            echo x 2>/dev/null > /fixed-file && echo wrote file; cat /fixed-file; echo 0 2>/dev/null > /proc/sys/net/ipv4/ip_forward && echo wrote sysctl; \
            stat -c %n /not-there 2>/dev/null; ";
        let mut test = script(&format!("{look}{TABLE}"));
        let rootfs = test.rootfs();
        for name in ["secret-dir", "fixed-dir/sub", "dir"] {
            fs::create_dir_all(rootfs.join(name)).unwrap();
            fs::write(rootfs.join(name).join("secret"), "secret").unwrap();
        }
        for name in ["secret-file", "fixed-file"] {
            fs::write(rootfs.join(name), "fixed\n").unwrap();
        }
        symlink("secret-file", rootfs.join("link-to-file")).unwrap();
        symlink("/volume", rootfs.join("way")).unwrap();
        symlink("/fixed-dir", rootfs.join("fixed")).unwrap();
        let source = test.beside("src");
        fs::create_dir_all(source.join("dir")).unwrap();
        for name in ["file", "dir/file"] {
            fs::write(source.join(name), "of the volume").unwrap();
        }
        bind(&mut test, &source, "/volume", &[]);
        tmpfs(&mut test, "/fixed-dir/sub", &[]);
        test.config["linux"]["maskedPaths"] = json!([
            "/proc/keys",
            "/proc/acpi",
            "/secret-file",
            "/secret-dir",
            "/not-there",
            "/not-there/below",
            "/secret-file/below",
            "/volume/file",
            "/way/dir",
            "/proc/acpi",
        ]);
        test.config["linux"]["readonlyPaths"] =
            json!(["/proc/sys", "/fixed-dir", "/fixed-file", "/not-there", "/fixed-dir"]);
        if mapped {
            test.map_ids();
        }
        let output = run(&test);
        let seen = String::from_utf8_lossy(&output.stdout).into_owned();
        let device = "character special file 1:3";
        let expected = format!(
            "/secret-file {device}\n/proc/keys {device}\n/volume/file {device}\n/link-to-file symbolic link 0:0\n\
             /proc/acpi:\n\n/secret-dir:\n\n/volume/dir:\n\n/way/dir:\nfixed\n"
        );
        assert!(seen.starts_with(&expected), "{seen}\n{}", String::from_utf8_lossy(&output.stderr));
        let mounts = mounts(&seen);
        // One empty filesystem for all, and as far down as it can be: nothing can be put in.
        let empty: BTreeSet<_> = ["/secret-dir", "/proc/acpi", "/volume/dir"]
            .map(|point| {
                let found = at(&mounts, point);
                assert!(found.options.contains("ro") && found.superblock.contains("ro"), "{found:?}");
                (
                    found.fstype.clone(),
                    seen.lines()
                        .find(|line| line.contains(&format!(" {point} ")))
                        .unwrap()
                        .split(' ')
                        .nth(2)
                        .unwrap()
                        .to_owned(),
                )
            })
            .into();
        assert_eq!(empty.len(), 1, "{empty:?}");
        for point in ["/proc/sys", "/fixed-dir", "/fixed-dir/sub", "/fixed-file"] {
            assert!(at(&mounts, point).options.contains("ro"), "{point}");
        }
        assert_eq!(fs::read_to_string(rootfs.join("fixed-file")).unwrap(), "fixed\n");
        assert_eq!(fs::read_to_string(source.join("file")).unwrap(), "of the volume");
        test.assert_nothing_left("masks");
    }
}

#[test]
fn a_readonly_root_and_writable_mounts() {
    if !can_make_containers() {
        return;
    }
    for mapped in [false, true] {
        let look = "for p in / /etc /tmp /t /b /b/sub /dev /r; do touch $p/new 2>/dev/null && echo $p; done; ls /missing /etc/made; ";
        let mut test = script(&format!("{look}{TABLE}"));
        test.config["root"]["readonly"] = true.into();
        let source = test.beside("src");
        fs::create_dir_all(source.join("sub")).unwrap();
        for name in ["", "sub"] {
            fs::set_permissions(source.join(name), fs::Permissions::from_mode(0o777)).unwrap();
        }
        tmpfs(&mut test, "/t", &[]);
        tmpfs(&mut test, "/missing", &[]);
        bind(&mut test, &source, "/b", &[]);
        bind(&mut test, &source, "/r", &["ro"]);
        bind(&mut test, &source.join("sub"), "/etc/made", &[]);
        if mapped {
            test.map_ids();
        }
        let seen = answer(&run(&test));
        assert!(seen.starts_with("/t\n/b\n/b/sub\n/dev\n/etc/made:\nnew\n\n/missing:\n"), "{seen}");
        let mounts = mounts(&seen);
        assert!(at(&mounts, "/").options.contains("ro"));
        assert!(!at(&mounts, "/").superblock.contains("ro"), "the host's superblock was changed");
        // A read-only /dev, with all that belongs there.
        test.config["mounts"][1]["options"].as_array_mut().unwrap().push("ro".into());
        test.config["process"]["args"] =
            json!(["sh", "-c", "touch /dev/new 2>&1; echo > /dev/null && ls -d /dev/stdin /dev/ptmx /dev/zero"]);
        let expected = "touch: /dev/new: Read-only file system\n/dev/ptmx\n/dev/stdin\n/dev/zero";
        assert_eq!(answer(&run(&test)), expected);
        test.assert_nothing_left("a read-only root");
    }
}

/// What is mounted below a shared mount is shared at first.
#[test]
fn the_propagation_of_mounts_below_a_shared_one() {
    if !can_make_containers() {
        return;
    }
    for mapped in [false, true] {
        let mut test = script(TABLE);
        let volume = test.beside("volume");
        fs::create_dir(&volume).unwrap();
        fs::set_permissions(&volume, fs::Permissions::from_mode(0o777)).unwrap();
        tmpfs(&mut test, "/m", &["shared"]);
        bind(&mut test, &volume, "/m/private", &["rprivate"]);
        bind(&mut test, &volume, "/m/slave", &["rbind", "slave"]);
        bind(&mut test, &volume, "/m/shared", &[]);
        tmpfs(&mut test, "/m/unbindable", &["unbindable"]);
        tmpfs(&mut test, "/m/private/tmpfs", &["private", "ro"]);
        if mapped {
            test.map_ids();
        }
        let mounts = mounts(&answer(&run(&test)));
        let has = |point: &str, word: &str| at(&mounts, point).propagation.iter().any(|given| given.starts_with(word));
        for point in ["/m/private", "/m/slave", "/m/unbindable", "/m/private/tmpfs"] {
            assert!(!has(point, "shared"), "{point}, {mapped}");
        }
        assert!(has("/m", "shared") && has("/m/shared", "shared") && has("/m/unbindable", "unbindable"), "{mapped}");
        test.assert_nothing_left("below a shared mount");
    }
}

/// What belongs into a read-only tmpfs is put there first: mounts, and the working directory.
#[test]
fn a_readonly_tmpfs_is_filled_first() {
    if !can_make_containers() {
        return;
    }
    for (mapped, options) in [(false, "ro"), (false, "ro,tmpcopyup"), (true, "ro")] {
        let mut test = script(
            "pwd; ls -F /m /m/deep; for f in /m/new /m/deep/new /m/deep/volume/new /m/over/new; do touch $f 2>&1 && echo made; done",
        );
        fs::write(test.beside("a-file"), "").unwrap();
        fs::create_dir(test.beside("volume")).unwrap();
        fs::set_permissions(test.beside("volume"), fs::Permissions::from_mode(0o777)).unwrap();
        mount(
            &mut test,
            json!({ "destination": "/m", "type": "tmpfs", "options": options.split(',').collect::<Vec<_>>() }),
        );
        let (file, volume) = (test.beside("a-file"), test.beside("volume"));
        bind(&mut test, &file, "/m/file", &[]);
        bind(&mut test, &volume, "/m/deep/volume", &[]);
        // What is mounted over it stays as it is.
        mount(&mut test, json!({ "destination": "/m/over", "type": "tmpfs", "options": ["ro"] }));
        bind(&mut test, &volume, "/m/over", &[]);
        test.config["process"]["cwd"] = "/m/here".into();
        if mapped {
            test.map_ids();
        }
        assert_eq!(
            answer(&run(&test)),
            "/m/here\n/m:\ndeep/\nfile\nhere/\nover/\n\n/m/deep:\nvolume/\n\
             touch: /m/new: Read-only file system\ntouch: /m/deep/new: Read-only file system\nmade\nmade",
            "{mapped} {options}"
        );
        test.assert_nothing_left("a readonly tmpfs");
    }
}

/// The host's root stays below the container's: nothing of it may be reached.
#[test]
fn without_pivot_root() {
    if !can_make_containers() {
        return;
    }
    for mapped in [false, true] {
        let look = "busybox unshare -U -r -m -p -f mount -t proc proc /tmp 2>/dev/null && echo a new proc; \
            busybox unshare -U -r -m -n mount -t sysfs sysfs /tmp 2>/dev/null && echo a new sysfs; \
            cat /proc/self/mountinfo > /table; exec 2>&1; for n in 1 2 3; do umount -l /proc /sys /dev > /ignored; done; \
            ls /proc /sys /dev; ls /../../bin/busybox; cat /table";
        let mut test = script(look);
        for set in ["bounding", "effective", "permitted"] {
            // Who maps root needs these (user_namespaces(7)).
            let held = test.config["process"]["capabilities"][set].as_array_mut().unwrap();
            held.extend(["CAP_SETGID", "CAP_SETFCAP"].map(Value::from));
        }
        bind(&mut test, Path::new("."), "/bundle", &["ro"]);
        if mapped {
            test.map_ids();
        }
        let output = run_in(&test, ":", &["--mount", "--propagation", "private"], &["--no-pivot"]);
        let seen = answer(&output);
        assert!(!seen.contains("a new "), "{seen}");
        let expected = "/dev:\n\n/proc:\n\n/sys:\n/../../bin/busybox\n";
        let seen = seen.split_once("\n/dev:\n").map_or(seen.clone(), |(_, rest)| format!("/dev:\n{rest}"));
        assert!(seen.starts_with(expected), "{seen}");
        let mounts = mounts(&seen);
        // mountinfo shows what is below the root of the process alone.
        assert_eq!(at(&mounts, "/bundle").options, set("ro relatime"));
        for kind in ["proc", "sysfs"] {
            let whole = mounts.iter().filter(|mount| mount.fstype == kind && mount.root == "/").count();
            assert_eq!(whole, 1, "{kind}: {seen}");
        }
        test.assert_nothing_left("no pivot");
        // Read-only holds, too.
        test.config["root"]["readonly"] = true.into();
        test.config["process"]["args"] = json!(["sh", "-c", "touch /x 2>&1 || pwd"]);
        let output = run_in(&test, ":", &["--mount", "--propagation", "private"], &["--no-pivot"]);
        assert_eq!(answer(&output), "touch: /x: Read-only file system\n/");
    }
}

/// config-linux.md: a type that is not listed is inherited from the runtime. Nothing of the container may show up there.
#[test]
fn without_a_mount_namespace() {
    if !can_make_containers() {
        return;
    }
    let look = "readlink /proc/self/ns/mnt; cat /b/file /top /secret; ls /../../../../b; \
        for p in / /t /b /fixed /sys/fs/cgroup /dev; do touch $p/new 2>/dev/null && echo wrote $p; done; \
        echo 1 2>/dev/null > /proc/sys/net/ipv4/ip_forward && echo wrote sysctl; hostname; stat -c %t:%T /dev/null; pwd";
    let mut test = script(look);
    let namespaces = test.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "mount");
    test.config["root"]["readonly"] = true.into();
    let source = test.beside("src");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "volume\n").unwrap();
    fs::write(test.rootfs().join("top"), "rootfs\n").unwrap();
    fs::write(test.rootfs().join("secret"), "secret\n").unwrap();
    fs::create_dir(test.rootfs().join("fixed")).unwrap();
    bind(&mut test, &source, "/b", &["ro"]);
    tmpfs(&mut test, "/t", &[]);
    test.config["mounts"][1]["options"].as_array_mut().unwrap().push("ro".into());
    test.config["linux"]["maskedPaths"] = json!(["/secret", "/proc/keys"]);
    test.config["linux"]["readonlyPaths"] = json!(["/proc/sys", "/fixed"]);
    // Its table of mounts is the same before and after, and while a hook looks.
    let table = test.beside("table");
    let hook = json!({ "path": "/bin/busybox", "args": ["cp", "/proc/self/mountinfo", table] });
    test.config["hooks"] = json!({ "createRuntime": [hook] });
    let host = "readlink /proc/self/ns/mnt; cat /proc/self/mountinfo > before; shift; \"$@\"; \
        busybox cmp before table; busybox cmp before /proc/self/mountinfo; exit";
    let output = run_after(&test, host);
    if String::from_utf8_lossy(&output.stderr).contains("move_mount") {
        return skip("mounts on detached trees: Linux 6.15");
    }
    let seen = answer(&output);
    let (namespace, seen) = seen.split_once('\n').unwrap();
    assert_eq!(seen, format!("{namespace}\nvolume\nrootfs\nfile\nwrote /t\ncorten\n1:3\n/"));
    test.assert_nothing_left("no mount namespace");
    // Root of a user namespace owns no mount namespace but its own.
    test.map_ids();
    let error = refused(&test, &run(&test));
    assert_eq!(
        error,
        "corten run failed: linux.namespaces: a user namespace without a mount namespace can mount nothing"
    );
}

/// Rootless BuildKit without a sandbox for processes.
#[test]
fn without_pivot_root_the_hosts_procfs_may_be_bound() {
    if !can_make_containers() {
        return;
    }
    for mapped in [false, true] {
        let mut test = script("cat /proc/sys/kernel/ostype; ls -d /proc/self/root /sys/class/net/lo");
        test.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|listed| listed["type"] != "pid");
        for (mount, path) in [(0, "/proc"), (5, "/sys")] {
            assert_eq!(test.config["mounts"][mount]["destination"], path);
            test.config["mounts"][mount] =
                json!({ "destination": path, "type": "bind", "source": path, "options": ["rbind"] });
        }
        test.config["mounts"].as_array_mut().unwrap().truncate(6);
        test.config["linux"]["maskedPaths"] = Value::Null;
        test.config["linux"]["readonlyPaths"] = Value::Null;
        if mapped {
            test.map_ids();
        }
        let output = run_in(&test, ":", &["--mount", "--propagation", "private"], &["--no-pivot"]);
        assert_eq!(answer(&output), "Linux\n/proc/self/root\n/sys/class/net/lo", "{mapped}");
        test.assert_nothing_left("bound");
    }
}

// Devices

#[test]
fn devices() {
    if !can_make_containers() {
        return;
    }
    let nodes = [
        // Path, what is asked for, what is there.
        (
            "/dev/mine",
            json!({ "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 1000, "gid": 5 }),
            "character special file 640 1000 5 1:3",
        ),
        ("/dev/plain", json!({ "type": "c", "major": 1, "minor": 5 }), "character special file 666 0 0 1:5"),
        (
            "/dev/unbuffered",
            json!({ "type": "u", "major": 1, "minor": 7, "fileMode": 0 }),
            "character special file 0 0 0 1:7",
        ),
        (
            "/dev/deep/er/loop",
            json!({ "type": "b", "major": 7, "minor": 300, "fileMode": 0o600, "gid": 6 }),
            "block special file 600 0 6 7:12c",
        ),
        ("/dev/fifo", json!({ "type": "p", "fileMode": 0o622, "uid": 7 }), "fifo 622 7 0 0:0"),
        (
            "/opt/outside",
            json!({ "type": "c", "major": 5, "minor": 2, "fileMode": 0o444 }),
            "character special file 444 0 0 5:2",
        ),
        // The bits of a type, as stat(2) gives them.
        (
            "/dev/with-type",
            json!({ "type": "c", "major": 1, "minor": 3, "fileMode": 0o020_604 }),
            "character special file 604 0 0 1:3",
        ),
        // It counts from the root.
        ("dev/relative", json!({ "type": "c", "major": 1, "minor": 5 }), "character special file 666 0 0 1:5"),
        // Defaults, in other clothes.
        (
            "/dev/zero",
            json!({ "type": "c", "major": 1, "minor": 5, "fileMode": 0o400, "uid": 9 }),
            "character special file 400 9 0 1:5",
        ),
        (
            "/dev/./full",
            json!({ "type": "c", "major": 1, "minor": 7, "fileMode": 0o440 }),
            "character special file 440 0 0 1:7",
        ),
        // What the image has stays.
        ("/opt/there", json!({ "type": "c", "major": 1, "minor": 3 }), "regular file 644 0 0 0:0"),
        ("/dev/null", json!({}), "character special file 666 0 0 1:3"),
        ("/dev/random", json!({}), "character special file 666 0 0 1:8"),
        ("/dev/urandom", json!({}), "character special file 666 0 0 1:9"),
        ("/dev/tty", json!({}), "character special file 666 0 0 5:0"),
    ];
    let paths: Vec<&str> = nodes.iter().map(|(path, ..)| *path).collect();
    let mut test = script(&format!(
        "umask 077; stat -c '%F %a %u %g %t:%T' {}; for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done; \
        echo > /dev/mine; head -c2 /dev/plain | busybox od -An -tx1; stat -c '%a %u' /dev/deep",
        paths.join(" ")
    ));
    fs::create_dir(test.rootfs().join("opt")).unwrap();
    fs::write(test.rootfs().join("opt/there"), "there").unwrap();
    let listed = nodes.iter().filter(|(_, asked, _)| *asked != json!({})).map(|(path, asked, _)| {
        let mut device = asked.clone();
        device["path"] = (*path).into();
        device
    });
    test.config["linux"]["devices"] = listed.collect();
    let found: Vec<&str> = nodes.iter().map(|(.., found)| *found).collect();
    let links = "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx";
    assert_eq!(answer(&run(&test)), format!("{}\n{links}\n 00 00\n755 0", found.join("\n")));
    test.assert_nothing_left("devices");
}

#[test]
fn devices_that_cannot_be() {
    if !can_make_containers() {
        return;
    }
    let cases = [
        // In a user namespace, the device.
        (false, json!({ "path": "/dev/x", "type": "a" }), "type"),
        (false, json!({ "path": "/dev/x", "type": "c", "major": -2, "minor": 0 }), "-2"),
        (false, json!({ "path": "/bin/busybox/x", "type": "c", "major": 1, "minor": 3 }), "not a directory"),
        (true, json!({ "path": "/dev/zero", "type": "c", "major": 1, "minor": 3 }), "/dev/zero is not char 1:3"),
        (true, json!({ "path": "/dev/null", "type": "b", "major": 1, "minor": 3 }), "/dev/null is not block 1:3"),
        (true, json!({ "path": "/dev/no-such-device", "type": "c", "major": 1, "minor": 3 }), "no such file"),
        (true, json!({ "path": "/etc/hostname", "type": "c", "major": 1, "minor": 3 }), "is not char 1:3"),
    ];
    for (mapped, device, expected) in cases {
        let mut test = script("true");
        let what = device.to_string();
        test.config["linux"]["devices"] = json!([{ "path": "/dev/first", "type": "p" }, device]);
        if mapped {
            test.map_ids();
        }
        let error = refused(&test, &run(&test));
        assert!(error.contains("linux.devices[1]") && error.contains(expected), "{what}: {error}");
    }
}

/// `linux.resources.devices`: the last rule that speaks of a device decides. No driver has these numbers, so that the kernel says
/// ENXIO where the filter lets a call through.
#[test]
fn device_rules() {
    if !can_make_containers() {
        return;
    }
    let rule = |allow: bool, typ: &str, major: i64, minor: i64, access: &str| json!({ "allow": allow, "type": typ, "major": major, "minor": minor, "access": access });
    let mut rules = vec![
        json!({ "allow": false, "access": "rwm" }),
        rule(true, "c", 240, 1, "r"),
        rule(true, "c", 240, 2, "w"),
        rule(true, "c", 240, 3, "rwm"),
        rule(true, "c", 240, 4, "m"),
        rule(true, "c", 240, 5, "rw"),
        rule(false, "c", 240, 5, "w"),
        rule(true, "b", -1, 7, "rw"),
        rule(true, "a", 242, 1, "r"),
    ];
    // What is not given is any.
    rules.push(json!({ "allow": true, "type": "c", "major": 241, "access": "rw" }));
    rules.push(json!({ "allow": true, "type": "c", "minor": 99, "access": "w" }));
    rules.push(json!({ "allow": true, "major": 243, "minor": 1, "access": "r" }));
    let nodes = [
        // Type, major, minor, what may be done.
        ("c", 240, 0, ""),
        ("c", 240, 1, "r"),
        ("c", 240, 2, "w"),
        ("c", 240, 3, "rw"),
        ("c", 240, 4, ""),
        ("c", 240, 5, "r"),
        ("b", 240, 1, ""),
        ("b", 240, 7, "rw"),
        ("b", 241, 7, "rw"),
        ("c", 240, 7, ""),
        ("c", 242, 1, "r"),
        ("b", 242, 1, "r"),
        ("c", 242, 2, ""),
        ("c", 241, 12, "rw"),
        ("b", 241, 12, ""),
        ("c", 244, 99, "w"),
        ("c", 243, 1, "r"),
        ("b", 243, 1, "r"),
    ];
    let look = "cd /nodes; for n in *; do r=; w=; (: < $n) 2>&1 | grep -q 'not permitted' || r=r; \
        (: > $n) 2>&1 | grep -q 'not permitted' || w=w; echo $n=$r$w; done";
    for mapped in [false, true] {
        let mut test = script(look);
        let source = test.beside("src");
        fs::create_dir(&source).unwrap();
        for (typ, major, minor, _) in nodes {
            let kind = if typ == "c" { SFlag::S_IFCHR } else { SFlag::S_IFBLK };
            let path = source.join(format!("{typ}-{major}-{minor:02}"));
            mknod(&path, kind, Mode::empty(), makedev(major, minor)).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        }
        bind(&mut test, &source, "/nodes", &[]);
        test.config["linux"]["resources"]["devices"] = json!(rules);
        if mapped {
            test.map_ids();
        }
        let mut expected: Vec<_> =
            nodes.iter().map(|(typ, major, minor, may)| format!("{typ}-{major}-{minor:02}={may}")).collect();
        expected.sort();
        assert_eq!(answer(&run(&test)).lines().collect::<Vec<_>>(), expected, "user namespace: {mapped}");
        test.assert_nothing_left("device rules");
    }
    // Without rules only the default devices can be used, and all with a rule that allows all.
    for (rules, may) in [(json!([]), ""), (json!([{ "allow": true, "access": "rwm" }]), "rw")] {
        let mut test = script(look);
        let source = test.beside("src");
        fs::create_dir(&source).unwrap();
        mknod(&source.join("node"), SFlag::S_IFCHR, Mode::empty(), makedev(240, 1)).unwrap();
        fs::set_permissions(source.join("node"), fs::Permissions::from_mode(0o666)).unwrap();
        bind(&mut test, &source, "/nodes", &[]);
        test.config["linux"]["resources"]["devices"] = rules;
        assert_eq!(answer(&run(&test)), format!("node={may}"));
    }
}

/// Where the kernel makes no nodes, the host's are shown.
#[test]
fn devices_of_the_host() {
    if !can_make_containers() {
        return;
    }
    let look = "stat -c '%n %F %a %t:%T' /dev/null /dev/zero /dev/tty /dev/fifo /dev/deep/null; echo > /dev/null; head -c1 /dev/zero | wc -c; ";
    let expected = "/dev/null character special file 666 1:3\n/dev/zero character special file 666 1:5\n\
        /dev/tty character special file 666 5:0\n/dev/fifo fifo 600 0:0\n/dev/deep/null character special file 666 1:3\n1\n";
    for mapped in [true, false] {
        let mut test = script(&format!("{look}{TABLE}"));
        for set in ["bounding", "effective", "permitted"] {
            test.config["process"]["capabilities"][set] = json!(["CAP_DAC_OVERRIDE"]);
        }
        test.config["linux"]["devices"] = json!([
            { "path": "/dev/fifo", "type": "p", "fileMode": 0o600 },
            { "path": "/dev/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600 },
            { "path": "/dev/deep/null", "type": "c", "major": 1, "minor": 3 },
        ]);
        if mapped {
            test.map_ids();
        }
        // What the host has under the same name, in a directory of the test.
        let host = "mkdir host-dev; mount -t tmpfs -o mode=755 tmpfs host-dev; for n in null zero full random urandom tty; do touch host-dev/$n; mount --bind /dev/$n host-dev/$n; done; \
            mkdir host-dev/deep; touch host-dev/deep/null; mount --bind /dev/null host-dev/deep/null; mount --rbind host-dev /dev; ";
        let without = "d=$1; shift; set -- $d setpriv --bounding-set=-mknod --inh-caps=-mknod \"$@\"";
        let output = run_after(&test, &if mapped { host.to_owned() } else { format!("{host}{without}") });
        let seen = answer(&output);
        assert!(seen.starts_with(expected), "{seen}");
        assert_eq!(at(&mounts(&seen), "/dev/zero").root, "/zero");
        test.assert_nothing_left("devices of the host");
    }
}

/// The host's devices, shown under their own names or over what is masked: whoever is their owner in the container cannot change
/// their mode, owner and times for the whole host.
#[test]
fn devices_of_the_host_stay_as_they_are() {
    if !can_make_containers() {
        return;
    }
    let look = "for p in /proc/keys /dev/null; do chmod 600 $p || chown 7:7 $p || touch $p || echo kept $p; done 2>/dev/null; \
        echo written > /proc/keys && cat /proc/keys; head -c 1 /dev/zero | wc -c";
    for mapped in [false, true] {
        let mut test = script(look);
        for set in ["bounding", "effective", "permitted"] {
            test.config["process"]["capabilities"][set] = json!(["CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_CHOWN"]);
        }
        if mapped {
            test.map_ids();
            // The container's root is the host's.
            for maps in ["uidMappings", "gidMappings"] {
                test.config["linux"][maps] = json!([{ "containerID": 0, "hostID": 0, "size": 65536 }]);
            }
            test.own_rootfs(0);
        }
        // Nodes that only this test has.
        let host = "mkdir host-dev; mount -t tmpfs -o mode=755 tmpfs host-dev; cd host-dev; \
            m() { mknod -m 666 $1 c $2 $3; }; m null 1 3; m zero 1 5; m full 1 7; m random 1 8; m urandom 1 9; m tty 5 0; \
            cd ..; mount --rbind host-dev /dev; ";
        let without = "d=$1; shift; set -- $d setpriv --bounding-set=-mknod --inh-caps=-mknod \"$@\"";
        let output = run_after(&test, &if mapped { host.to_owned() } else { format!("{host}{without}") });
        assert_eq!(answer(&output), "kept /proc/keys\nkept /dev/null\n1", "mapped {mapped}");
        test.assert_nothing_left("devices of the host");
    }
}

/// runc, crun: nothing is made in a directory of the host.
#[test]
fn devices_with_the_hosts_dev() {
    if !can_make_containers() {
        return;
    }
    for options in [&["bind"][..], &["rbind", "ro"]] {
        let mut test = script("ls /dev; stat -c '%t:%T' /opt/node");
        let source = test.beside("src");
        fs::create_dir(&source).unwrap();
        mknod(&source.join("null"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3)).unwrap();
        let mounts = test.config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        bind(&mut test, &source, "/dev", options);
        test.config["linux"]["devices"] = json!([
            { "path": "/dev/node", "type": "c", "major": 1, "minor": 3 },
            { "path": "/opt/node", "type": "c", "major": 1, "minor": 3 },
        ]);
        assert_eq!(answer(&run(&test)), "null\n1:3", "{options:?}");
        assert_eq!(fs::read_dir(&source).unwrap().count(), 1);
        assert!(fs::symlink_metadata(source.join("null")).unwrap().file_type().is_char_device());
        test.assert_nothing_left("the host's /dev");
    }
}

/// In a user namespace the host's nodes are as in any container, and `/dev/ptmx` of a config is the link to that of the devpts: engines list
/// the host's devices for privileged containers.
#[test]
fn devices_of_the_host_in_use() {
    if !can_make_containers() {
        return;
    }
    let mut test = script("touch /dev/null && echo touched; readlink /dev/ptmx; stat -c %t:%T /dev/pts/ptmx");
    let ptmx = json!({ "path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2 });
    test.config["linux"]["devices"] = json!([ptmx, { "path": "/dev/tty", "type": "c", "major": 5, "minor": 0 }]);
    assert_eq!(answer(&run(&test)), "touched\npts/ptmx\n5:2");
    let without = "d=$1; shift; set -- $d setpriv --bounding-set=-mknod --inh-caps=-mknod \"$@\"";
    for set in ["bounding", "effective", "permitted"] {
        test.config["process"]["capabilities"][set] = json!(["CAP_DAC_OVERRIDE"]);
    }
    assert_eq!(stdout_of_failed(&run_after(&test, without)), "pts/ptmx\n5:2");
    test.map_ids();
    // A device that nobody else's test uses has its times changed.
    let host = "mkdir host-dev; mount -t tmpfs -o mode=755 tmpfs host-dev; for n in zero full random urandom tty; do touch host-dev/$n; \
        mount --bind /dev/$n host-dev/$n; done; mknod -m 666 host-dev/null c 1 3; mount --rbind host-dev /dev; ";
    assert_eq!(answer(&run_after(&test, host)), "touched\npts/ptmx\n5:2");
    test.assert_nothing_left("devices in use");
}

// Flags that the kernel has locked

/// A runtime in a user namespace: what it was given with less it cannot give more.
#[test]
fn locked_flags() {
    if !can_make_containers() {
        return;
    }
    let all = "ro nosuid nodev noexec noatime";
    let cases = [
        ("", Some(all)),
        ("ro", Some(all)),
        ("noexec nosuid", Some(all)),
        ("nosymfollow", Some("ro nosuid nodev noexec noatime nosymfollow")),
        ("noatime", Some(all)),
        ("rro rnoexec", Some(all)),
        ("private", Some(all)),
        ("rw", None),
        ("exec", None),
        ("suid", None),
        ("dev", None),
        ("strictatime", None),
        ("atime", None),
        ("ro exec", None),
        ("rrw", None),
        ("rexec", None),
    ];
    for (given, expected) in cases {
        let mut test = script(TABLE);
        fs::create_dir(test.beside("src")).unwrap();
        let config = &mut test.config;
        // One id is mapped, and nothing of the host's is for it.
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| ["/proc", "/dev"].contains(&mount["destination"].as_str().unwrap()));
        config["process"]["user"] = json!({ "uid": 0, "gid": 0 });
        let source = test.beside("src");
        bind(&mut test, &source, "/m", &words(given));
        let host = "mount -t tmpfs tmpfs src; mount -o remount,bind,ro,nosuid,nodev,noexec,noatime src; \
            d=$1; shift; set -- $d unshare --user --map-root-user --mount --propagation unchanged \"$@\"";
        let output = run_after(&test, host);
        match expected {
            Some(expected) => assert_eq!(at(&self::mounts(&answer(&output)), "/m").options, set(expected), "{given:?}"),
            None => {
                assert!(!output.status.success(), "{given:?} was given back");
                let error = refused(&test, &output);
                assert!(error.contains(&last(&test)) && error.contains("not permitted"), "{given:?}: {error}");
            }
        }
        test.assert_nothing_left(given);
    }
}

/// A container in a user namespace that root makes: what the host's mount has is kept as if the kernel had locked it (runc).
#[test]
fn locked_flags_in_a_user_namespace() {
    if !can_make_containers() {
        return;
    }
    let all = "ro nosuid nodev noexec noatime";
    let writable = "mount -o remount,bind,rw,nosuid,nodev,noexec,atime,relatime src; ";
    // What a host's filesystem has is none of the mount's.
    let frozen = "mount -o remount,ro src; mount -o remount,bind,rw,suid,dev,exec,atime,relatime src; ";
    let below = "mkdir src/d; mount -t tmpfs -o noexec tmpfs src/d; ";
    let cases = [
        ("", "rbind rprivate", Ok(all)),
        ("", "rbind nosuid", Ok(all)),
        ("", "bind ro", Ok(all)),
        ("", "rbind noatime", Ok(all)),
        ("", "rbind nosymfollow", Ok("ro nosuid nodev noexec noatime nosymfollow")),
        (writable, "rbind rprivate rw", Ok("rw nosuid nodev noexec relatime")),
        (writable, "rbind rprivate ro rro", Ok("ro nosuid nodev noexec relatime")),
        (frozen, "rbind rw", Ok("rw relatime")),
        ("", "rbind rw", Err("clear locked flags ro")),
        ("", "bind exec suid", Err("clear locked flags nosuid,noexec")),
        ("", "rbind dev", Err("clear locked flags nodev")),
        ("", "rbind strictatime", Err("change locked atime flags noatime")),
        ("", "rbind atime", Err("change locked atime flags noatime")),
        ("", "rbind nodiratime", Err("add nodiratime to locked atime flags noatime")),
        ("", "rbind rrw", Err("clear locked flags ro")),
        ("mount -o remount,bind,rw,suid,dev,exec,atime,relatime src; ", "rbind exec rw suid dev", Ok("rw relatime")),
    ];
    for (before, given, expected) in cases {
        let mut test = script(TABLE);
        test.map_ids();
        fs::create_dir(test.beside("src")).unwrap();
        let source = test.beside("src");
        bind(&mut test, &source, "/m", &words(given));
        let host =
            format!("mount -t tmpfs tmpfs src; mount -o remount,bind,ro,nosuid,nodev,noexec,noatime src; {before}");
        let output = run_after(&test, &host);
        match expected {
            Ok(kept) => assert_eq!(at(&mounts(&answer(&output)), "/m").options, set(kept), "{before}{given:?}"),
            Err(words) => {
                let error = refused(&test, &output);
                assert!(error.contains(&last(&test)) && error.contains("not permitted"), "{given:?}: {error}");
                assert!(error.contains(&format!("cannot {words}")), "{given:?}: {error}");
            }
        }
        test.assert_nothing_left(given);
    }

    // Mounts below, and what mounts the same again.
    let again = |options: &[&str]| {
        let options = [&["bind", "remount"], options].concat();
        json!({ "destination": "/m", "source": "none", "options": options })
    };
    let cases = [
        (below, "rbind rexec", None, Err("cannot clear locked flags noexec of the mount on")),
        (below, "rbind rrw", None, Ok("rw relatime")),
        (below, "bind rexec", None, Ok("rw relatime")),
        ("mount -o remount,bind,ro,noexec src; ", "bind", Some(["nosuid"]), Ok("ro nosuid noexec relatime")),
        ("mount -o remount,bind,ro,noexec src; ", "bind", Some(["rw"]), Err("cannot clear locked flags ro")),
    ];
    for (before, given, then, expected) in cases {
        let mut test = script(TABLE);
        test.map_ids();
        let source = test.beside("src");
        fs::create_dir(&source).unwrap();
        bind(&mut test, &source, "/m", &words(given));
        if let Some(options) = then {
            mount(&mut test, again(&options));
        }
        let output = run_after(&test, &format!("mount -t tmpfs tmpfs src; {before}"));
        match expected {
            Ok(kept) => assert_eq!(at(&mounts(&answer(&output)), "/m").options, set(kept), "{before}{given:?}"),
            Err(words) => assert!(refused(&test, &output).contains(words), "{given:?}"),
        }
        test.assert_nothing_left(given);
    }

    // What is new in the container has what is asked for.
    let mut test = script(TABLE);
    test.map_ids();
    tmpfs(&mut test, "/m", &["noexec"]);
    mount(&mut test, again(&["nosuid"]));
    assert_eq!(at(&mounts(&answer(&run(&test))), "/m").options, set("rw nosuid relatime"));
}

// What the host has, and where

/// runc and crun make every mount a slave before they bind, which an unbindable one is then no more.
#[test]
fn unbindable_sources_and_roots() {
    if !can_make_containers() {
        return;
    }
    let host = "mount -t tmpfs tmpfs src; mkdir src/d; echo U > src/d/file; mount --make-unbindable src; ";
    for (what, options, change) in [
        ("whole", &["rbind"][..], None),
        ("readonly", &["bind", "ro"], None),
        ("user namespace", &["rbind"], Some("user")),
        ("user namespace, judged", &["rbind", "rw"], Some("user")),
        ("shared root", &["rbind"], Some("shared")),
    ] {
        let mut test = script("cat /m/d/file /e/file");
        let source = test.beside("src");
        fs::create_dir(&source).unwrap();
        bind(&mut test, &source, "/m", options);
        bind(&mut test, &source.join("d"), "/e", options);
        match change {
            Some("user") => test.map_ids(),
            Some(_) => test.config["linux"]["rootfsPropagation"] = "shared".into(),
            None => {}
        }
        assert_eq!(answer(&run_after(&test, host)), "U\nU", "{what}");
        test.assert_nothing_left(what);
    }
    let test = script("echo in");
    let unbindable = "mount --bind bundle/rootfs bundle/rootfs; mount --make-unbindable bundle/rootfs; ";
    assert_eq!(answer(&run_after(&test, unbindable)), "in");
    test.assert_nothing_left("an unbindable root");
}

/// An engine reads "no such file or directory" as a program that is missing.
#[test]
fn what_is_missing_on_a_readonly_filesystem() {
    if !can_make_containers() {
        return;
    }
    type Change = fn(&mut Value);
    let cases: [(&str, &str, Change); 5] = [
        ("mounts[", "/v/missing", |config| {
            let tmpfs = json!({ "destination": "/v/missing", "type": "tmpfs", "source": "tmpfs" });
            config["mounts"].as_array_mut().unwrap().push(tmpfs);
        }),
        ("mounts[", "/v/a/b/c", |config| {
            let tmpfs = json!({ "destination": "/v/a/b/c", "type": "tmpfs", "source": "tmpfs" });
            config["mounts"].as_array_mut().unwrap().push(tmpfs);
        }),
        ("mounts[", "/v/a/file", |config| {
            let file = json!({ "destination": "/v/a/file", "source": "/etc/passwd", "options": ["bind"] });
            config["mounts"].as_array_mut().unwrap().push(file);
        }),
        ("process.cwd", "/v/new", |config| config["process"]["cwd"] = "/v/new".into()),
        ("linux.devices[0]", "/v/a/dev", |config| {
            config["linux"]["devices"] = json!([{ "path": "/v/a/dev", "type": "c", "major": 1, "minor": 3 }]);
        }),
    ];
    for (item, path, change) in cases {
        for options in [&["ro"][..], &["ro", "nosuid"]] {
            let mut test = script("true");
            let source = test.beside("src");
            fs::create_dir(&source).unwrap();
            bind(&mut test, &source, "/v", options);
            change(&mut test.config);
            let error = refused(&test, &run(&test));
            assert!(error.contains(item) && error.contains(path) && error.contains("read-only file system"), "{error}");
        }
    }
}

/// runc: the path of the rootfs at the beginning of a destination is not looked for in it once more.
#[test]
fn destinations_in_the_path_of_the_rootfs() {
    if !can_make_containers() {
        return;
    }
    let mut test = script("grep -c ' /m tmpfs\\| /n ' /proc/self/mountinfo; cat /n/file; ls /");
    let rootfs = test.rootfs();
    tmpfs(&mut test, &format!("{}/./m", rootfs.display()), &[]);
    let source = test.beside("src");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "here\n").unwrap();
    bind(&mut test, &source, &format!("{}/n", rootfs.display()), &[]);
    // A name that only begins like it.
    tmpfs(&mut test, &format!("{}-other/m", rootfs.display()), &[]);
    let seen = answer(&run(&test));
    assert!(seen.starts_with("1\nhere\n"), "{seen}");
    let names: Vec<&str> = seen.lines().collect();
    assert!(names.contains(&"m") && names.contains(&"n"), "{seen}");
    let made = rootfs.join(rootfs.strip_prefix("/").unwrap());
    assert!(!made.exists(), "{made:?}");
    assert!(made.with_file_name("rootfs-other").join("m").exists(), "{made:?}");
}

/// runc: a relative path counts from the root.
#[test]
fn relative_masked_and_readonly_paths() {
    if !can_make_containers() {
        return;
    }
    let mut test = script("wc -c < /proc/uptime; touch /tmp/x 2>&1; ls /etc | wc -l");
    test.config["linux"]["maskedPaths"] = json!(["proc/uptime", "./etc"]);
    test.config["linux"]["readonlyPaths"] = json!(["../tmp"]);
    assert_eq!(answer(&run(&test)), "0\ntouch: /tmp/x: Read-only file system\n0");
    for field in ["maskedPaths", "readonlyPaths"] {
        test.config["linux"][field] = json!([""]);
        assert!(refused(&test, &run(&test)).contains(&format!("linux.{field}[0]: must not be empty")));
        test.config["linux"][field] = json!([]);
    }
}

/// Options of cgroup2 come to the kernel, which knows which there are.
#[test]
fn options_of_cgroup2() {
    if !can_make_containers() {
        return;
    }
    if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        skip("v1 hierarchies, which have no such options");
        return;
    }
    let mut test = script(TABLE);
    let options = |test: &mut TestBundle, words: &[&str]| {
        let mounts = test.config["mounts"].as_array_mut().unwrap();
        mounts.iter_mut().find(|mount| mount["type"] == "cgroup").unwrap()["options"] = json!(words);
    };
    options(&mut test, &["ro", "nsdelegate", "memory_recursiveprot"]);
    assert_eq!(at(&mounts(&answer(&run(&test))), "/sys/fs/cgroup").fstype, "cgroup2");
    options(&mut test, &["ro", "no_such_option"]);
    let error = refused(&test, &run(&test));
    assert!(error.contains("mounts[") && error.contains("no_such_option"), "{error}");
}

/// Files of one process, and what is no procfs.
#[test]
fn what_may_not_be_at_or_in_proc() {
    if !can_make_containers() {
        return;
    }
    let mut test = script("true");
    let source = test.beside("src");
    fs::write(&source, "").unwrap();
    bind(&mut test, &source, "/proc/net/dev", &["ro"]);
    assert!(refused(&test, &run(&test)).contains("\"/proc/net/dev\" cannot be mounted because it is inside /proc"));
    let mut test = script("true");
    tmpfs(&mut test, "/proc", &[]);
    let error = refused(&test, &run(&test));
    assert!(error.contains("\"/proc\" cannot be mounted because it is not of type proc"), "{error}");
    let mut test = script("true");
    let source = test.beside("src");
    fs::create_dir(&source).unwrap();
    bind(&mut test, &source, "/proc", &["ro"]);
    assert!(refused(&test, &run(&test)).contains("not of type proc"));
}
