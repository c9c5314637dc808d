//! What covers or replaces procfs and sysfs.

use super::*;

/// What a volume may not cover: labels and limits are written below.
#[container_test]
fn cve_2019_16884_volumes_over_proc_are_refused() {
    let (mut test, host) = attack("true");
    let volume = test.beside("volume");
    fs::create_dir_all(volume.join("self/attr")).unwrap();
    fs::write(volume.join("file"), "").unwrap();
    let tmpfs = |at: &str| json!({ "destination": at, "type": "tmpfs", "source": "tmpfs" });
    let bind =
        |at: &str| json!({ "destination": at, "type": "bind", "source": volume, "options": ["rbind"] });
    let file = |at: &str| json!({ "destination": at, "source": volume.join("file"), "options": ["bind"] });
    let mut mounts = vec![tmpfs("/proc"), tmpfs("/proc/"), tmpfs("proc"), tmpfs("/x/../proc/.")];
    for at in
        ["/proc/self", "/proc/self/attr", "/proc/1/attr", "/proc/sys", "//proc/./self", "/x/../proc/self"]
    {
        mounts.extend([tmpfs(at), bind(at)]);
    }
    mounts.extend(
        ["/proc/self/attr/exec", "/proc/self/attr/apparmor/exec", "/proc/sys/kernel/core_pattern"].map(file),
    );
    let config = test.config.clone();
    for mount in mounts {
        test.config = config.clone();
        push(&mut test, mount.clone());
        let error = item_error(&run(&test));
        assert!(error.contains("mounts[7]") && error.contains("/proc"), "{mount}: {error}");
        host.assert_untouched(&test, &error);
    }
}

/// The same with a volume on all of `/proc`.
#[container_test(ways)]
fn cve_2019_16884_a_bind_mount_on_proc_is_refused(way: Way) {
    let (mut test, host) = attack("true");
    let volume = test.beside("volume");
    fs::create_dir_all(volume.join("self/attr")).unwrap();
    push(
        &mut test,
        json!({ "destination": "/proc", "type": "bind", "source": volume, "options": ["rbind"] }),
    );
    let error = refused(&test, way);
    assert!(error.contains("mounts[7]"), "{way:?}: {error}");
    host.assert_untouched(&test, &error);
}

/// The same through a link of the image: the config's words say nothing of `/proc`.
#[container_test(ways)]
fn cve_2019_16884_volumes_over_proc_through_a_link_are_refused(way: Way) {
    let (mut test, host) = attack("true");
    symlink("/proc", test.rootfs().join("data")).unwrap();
    let config = test.config.clone();
    for at in ["/data", "/data/self", "/data/self/attr", "/data/sys"] {
        test.config = config.clone();
        push(&mut test, json!({ "destination": at, "type": "tmpfs", "source": "tmpfs" }));
        let error = refused(&test, way);
        assert!(error.contains("mounts[7]"), "{way:?}, {at}: {error}");
        host.assert_untouched(&test, &error);
    }
}

/// Absolute links, and links with `..`, lead to the host's paths of the rootfs.
#[container_test(ways)]
fn cve_2019_18837_mounts_through_links_stay_in_the_rootfs(way: Way) {
    mounts_through_links_stay_in_the_rootfs(way);
}

fn mounts_through_links_stay_in_the_rootfs(way: Way) {
    let (mut test, host) = attack("cat /proc/self/mountinfo");
    let target = host.path("directory");
    let up = Path::new("../../../../../../../..").join(target.strip_prefix("/").unwrap());
    let file = test.beside("source");
    fs::write(&file, "a source").unwrap();
    let config = test.config.clone();
    for (name, link) in [("absolute", target.as_path()), ("upwards", &up), ("root", Path::new("/"))] {
        symlink(link, test.rootfs().join(name)).unwrap();
        let tmpfs = json!({ "destination": format!("/{name}"), "type": "tmpfs", "source": "the-mount" });
        let bind = json!({ "destination": format!("/{name}/file"), "source": file, "options": ["bind"] });
        for mount in [tmpfs, bind] {
            // There is nothing at the link's target inside, then there is.
            for exists in [false, true] {
                test.config = config.clone();
                push(&mut test, mount.clone());
                if exists {
                    twin_in_rootfs(&test, &target);
                }
                let output = way.run(&test);
                if !output.status.success() {
                    item_error(&output);
                }
                host.assert_untouched(&test, &format!("{way:?}, {mount}"));
            }
        }
    }
    let seen = heard(&test, way);
    assert!(seen.contains(" /file "), "{way:?}: the mount through the link to / is not there: {seen}");
}

/// `/proc` and `/sys` as links, behind links, in the rootfs and in a volume.
#[container_test(ways)]
fn cve_2019_19921_cve_2023_27561_cve_2023_28642_cve_2025_54867_proc_and_sys_behind_links_are_refused(
    way: Way,
) {
    let cases = [
        ("proc", "/proc", "proc", "/elsewhere"),
        ("proc", "/proc", "proc", "elsewhere"),
        ("proc", "/proc", "proc", "/volume/proc"),
        ("proc", "/proc", "proc", "/missing"),
        ("proc", "/proc", "proc", "proc"),
        ("proc", "/a/proc", "a", "/elsewhere"),
        ("proc", "/a/b/proc", "a", "/elsewhere"),
        ("sysfs", "/sys", "sys", "/elsewhere"),
        ("sysfs", "/sys", "sys", "/volume/sys"),
        ("sysfs", "/a/sys", "a", "/volume"),
    ];
    for (fstype, at, link, to) in cases {
        let (mut test, host) = attack("true");
        let volume = test.beside("volume");
        fs::create_dir_all(volume.join("proc/sys")).unwrap();
        fs::create_dir_all(test.rootfs().join("elsewhere/b/proc")).unwrap();
        symlink(to, test.rootfs().join(link)).unwrap();
        without_mounts(&mut test, at);
        let volume = json!({ "destination": "/volume", "source": volume, "options": ["rbind"] });
        test.config["mounts"].as_array_mut().unwrap().insert(0, volume);
        push(&mut test, json!({ "destination": at, "type": fstype, "source": fstype }));
        let error = refused(&test, way);
        assert!(error.contains(&format!("{at:?}")) || error.contains(at), "{way:?}, {link} -> {to}: {error}");
        host.assert_untouched(&test, &error);
    }
}

/// The destination's parent is in a volume that somebody else changes: what is mounted is where it was asked
/// for.
#[container_test(ways)]
fn cve_2023_27561_a_race_on_the_parents_of_proc_in_a_volume(way: Way) {
    let (mut test, host) = attack("cat /proc/self/mountinfo");
    let volume = test.beside("volume");
    fs::create_dir_all(volume.join("parent/proc")).unwrap();
    fs::create_dir_all(volume.join("target/proc")).unwrap();
    symlink("/volume/target", volume.join("link")).unwrap();
    push(&mut test, json!({ "destination": "/volume", "source": volume, "options": ["rbind"] }));
    push(&mut test, json!({ "destination": "/volume/parent/proc", "type": "proc", "source": "proc" }));
    race(way, &test, &host, "parents of proc", (&volume.join("parent"), &volume.join("link")), |seen| {
        assert!(!seen.contains(" /volume/target"), "mounted through the link: {seen}");
    });
    host.assert_untouched(&test, "parents of proc");
}

/// `/proc` of a rootfs that is shared with a running container changes places with another directory.
/// Wherever the procfs is seen in the end, it is masked.
#[container_test(ways)]
fn cve_2023_27561_a_race_on_proc_in_a_shared_rootfs(way: Way) {
    // Whoever has entered a directory stays in it when its name changes.
    let script = "for p in /proc /other; do (cd $p; test -e version || exit; \
        echo procfs $(stat -c %t:%T keys timer_list); \
        echo 1 2>/dev/null > sys/kernel/shm_rmid_forced && echo writable) done; true";
    // A procfs of its own, and the host's.
    for bind in [false, true] {
        let (mut test, host) = attack(script);
        if bind {
            without_mounts(&mut test, "/proc");
            push(&mut test, json!({ "destination": "/proc", "source": "/proc", "options": ["rbind"] }));
        }
        let (proc, other) = (test.rootfs().join("proc"), test.rootfs().join("other"));
        fs::create_dir(&proc).unwrap();
        fs::create_dir(&other).unwrap();
        race(way, &test, &host, "proc in a shared rootfs", (&proc, &other), |seen| {
            let masked = seen.lines().all(|line| line == "procfs 1:3 1:3");
            assert!(masked, "a procfs that is not masked: {seen}");
        });
        host.assert_untouched(&test, "proc in a shared rootfs");
    }
}

/// The destination changes places with a link to the host, or to the root.
#[container_test(ways)]
fn cve_2021_30465_a_race_on_a_mount_destination(way: Way) {
    let (mut test, host) = attack("cat /proc/self/mountinfo");
    let volume = test.beside("volume");
    fs::create_dir_all(volume.join("place/below")).unwrap();
    symlink(host.path("directory"), volume.join("link")).unwrap();
    twin_in_rootfs(&test, &host.path("directory"));
    push(&mut test, json!({ "destination": "/volume", "source": volume, "options": ["rbind"] }));
    push(&mut test, json!({ "destination": "/volume/place", "type": "tmpfs", "source": "first-mount" }));
    push(
        &mut test,
        json!({ "destination": "/volume/place/deeper", "type": "tmpfs", "source": "second-mount" }),
    );
    let source = host.path("directory");
    push(&mut test, json!({ "destination": "/volume/place", "source": source, "options": ["bind", "ro"] }));
    race(way, &test, &host, "a mount destination", (&volume.join("place"), &volume.join("link")), |seen| {
        // What is mounted beside the root would be gone from the view after the change of root.
        for mount in ["first-mount", "second-mount"] {
            assert!(seen.contains(&format!(" - tmpfs {mount} ")), "{mount} is mounted elsewhere: {seen}");
        }
    });
    host.assert_untouched(&test, "a mount destination");
}

/// Kernel parameters are written through a procfs of init's own, whatever is at `/proc`.
#[container_test(ways)]
fn cve_2025_52881_cve_2025_62596_sysctls_do_not_go_through_the_containers_proc(way: Way) {
    let look = "cat /kernel/sys/net/ipv4/ip_default_ttl /kernel/sys/kernel/msgmax";
    let fakes = ["link", "tree", "link to the host's", "volume", "link to a volume"];
    for fake in fakes {
        let (mut test, host) = attack(look);
        without_mounts(&mut test, "/proc");
        let (proc, volume) = (test.rootfs().join("proc"), test.beside("volume"));
        let tree = if fake.contains("volume") { &volume } else { &proc };
        match fake {
            "link" => symlink("/kernel", &proc).unwrap(),
            "link to the host's" => symlink("/proc", &proc).unwrap(),
            _ => {
                fs::create_dir_all(tree.join("sys/net/ipv4")).unwrap();
                fs::create_dir_all(tree.join("sys/kernel")).unwrap();
                fs::create_dir_all(tree.join("self/attr")).unwrap();
                symlink("/proc/sys/kernel/core_pattern", tree.join("sys/kernel/msgmax")).unwrap();
                symlink(host.path("file"), tree.join("sys/net/ipv4/ip_default_ttl")).unwrap();
            }
        }
        if fake == "link to a volume" {
            symlink("/volume", &proc).unwrap();
        }
        if fake.contains("volume") {
            let at = if fake == "volume" { "/proc" } else { "/volume" };
            push(&mut test, json!({ "destination": at, "source": volume, "options": ["rbind"] }));
        }
        push(&mut test, json!({ "destination": "/kernel", "type": "proc", "source": "proc" }));
        test.config["linux"]["sysctl"] = json!({ "net.ipv4.ip_default_ttl": "77", "kernel.msgmax": "4321" });
        let output = way.run(&test);
        if output.status.success() {
            assert_eq!(String::from_utf8_lossy(&output.stdout), "77\n4321\n", "{way:?}, {fake}");
        } else {
            // A volume on /proc may be refused as such, a link to itself leads nowhere.
            let error = item_error(&output);
            assert!(["volume", "link to the host's"].contains(&fake), "{way:?}, {fake}: {error}");
        }
        host.assert_untouched(&test, fake);
    }
}

#[container_test(ways)]
fn cve_2025_52881_a_race_on_proc_while_sysctls_are_written(way: Way) {
    let (mut test, host) = attack("cat /kernel/sys/net/ipv4/ip_default_ttl /kernel/sys/kernel/msgmax");
    without_mounts(&mut test, "/proc");
    let volume = test.beside("volume");
    for tree in ["real", "fake"] {
        fs::create_dir_all(volume.join(tree).join("sys/kernel")).unwrap();
    }
    symlink("/kernel/sys/kernel/core_pattern", volume.join("fake/sys/kernel/msgmax")).unwrap();
    symlink("/volume/real", test.rootfs().join("proc")).unwrap();
    push(&mut test, json!({ "destination": "/volume", "source": volume, "options": ["rbind"] }));
    push(&mut test, json!({ "destination": "/kernel", "type": "proc", "source": "proc" }));
    test.config["linux"]["sysctl"] = json!({ "net.ipv4.ip_default_ttl": "77", "kernel.msgmax": "4321" });
    race(way, &test, &host, "sysctls", (&volume.join("real"), &volume.join("fake")), |seen| {
        assert_eq!(seen, "77\n4321\n")
    });
    host.assert_untouched(&test, "sysctls");
}
