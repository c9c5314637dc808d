//! Propagation, of each mount and of the root.

use super::*;

/// A shared tree `src` with `src/a`.
const SHARED_TREE: &str = "mount -t tmpfs tmpfs src; mount --make-shared src; mkdir src/a; mount -t tmpfs tmpfs src/a; mount --make-shared src/a";

#[container_test(Root, UserNamespace)]
fn propagation_of_each_mount(variant: Variant) {
    let mut test = script(TABLE);
    fs::create_dir(test.beside("src")).unwrap();
    let source = test.beside("src");
    for (index, (given, _)) in PROPAGATION.iter().enumerate() {
        bind(&mut test, &source, &format!("/m/{index}"), &[&["rbind"][..], &words(given)].concat());
        tmpfs(&mut test, &format!("/t/{index}"), &words(given));
    }
    variant.apply(&mut test);
    let mounts = mounts(&answer(&run_after(&test, SHARED_TREE)));
    for (index, (given, expected)) in PROPAGATION.iter().enumerate() {
        let (top, below) = expected.split_once('/').unwrap();
        assert_eq!(at(&mounts, &format!("/m/{index}")).propagation, set(top), "{given}");
        assert_eq!(at(&mounts, &format!("/m/{index}/a")).propagation, set(below), "{given}, the submount");
        // A new filesystem has no master.
        let alone = top.replace("master", "");
        assert_eq!(
            at(&mounts, &format!("/t/{index}")).propagation,
            set(&alone),
            "{given} on a new filesystem"
        );
    }
}

/// Waits in a script until a file is there, ten seconds at most.
fn wait_for(path: &str) -> String {
    format!("n=0; until [ -e {path} ]; do sleep 0.02; n=$((n+1)); [ $n -lt 500 ] || exit 9; done")
}

#[container_test]
fn mounts_of_the_host_reach_slaves_and_peers_alone() {
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
}

/// "Bidirectional": what the container mounts below such a mount appears on the host, and below no other.
#[container_test]
fn mounts_of_the_container_reach_the_host_from_peers_alone() {
    for (root, expected) in
        [("", ""), ("rslave", ""), ("rprivate", ""), ("shared", "rshared"), ("rshared", "rshared")]
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
    }
}

#[container_test]
fn propagation_of_the_root() {
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
    for (mapped, (word, expected)) in
        [false, true].into_iter().flat_map(|mapped| cases.map(|case| (mapped, case)))
    {
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
    }
    let mut test = script("true");
    test.config["linux"]["rootfsPropagation"] = "rpublic".into();
    assert!(refused(&test, &run(&test)).contains("linux.rootfsPropagation"));
}

/// What a container mounts on a copy of one of the host's mounts must not be mounted on the host: on
/// `/dev/null`, of which masked files and, in a user namespace, devices are copies.
#[container_test(Root, UserNamespace)]
fn no_mount_is_a_peer_of_the_hosts(variant: Variant) {
    let mapped = variant.is_mapped();
    let mut test = script("grep -c /null /proc/self/mountinfo; grep shared: /proc/self/mountinfo; exit 0");
    variant.apply(&mut test);
    bind(&mut test, Path::new("/dev"), "/devices-of-the-host", &["rbind"]);
    let answer = answer(&run_after(&test, "mount --make-rshared /"));
    // How many copies of it there are, and nothing that is shared.
    assert!(answer.parse::<u32>().is_ok_and(|copies| copies > 0), "user namespace: {mapped}: {answer}");
}
