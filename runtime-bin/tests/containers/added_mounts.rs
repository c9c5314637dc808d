//! `mounts add` and `mounts remove`.

use std::fs;

use crate::common::sleeper::Sleeper;
use crate::common::{TestBundle, corten, fail, one_error, skip, succeed, wait_for};
use container_test::container_test;
use serde_json::{Value, json};

/// `corten mounts add|remove`, with the list in a file.
fn change(sleeper: &Sleeper, command: &str, mounts: &Value) -> Result<(), String> {
    let file = sleeper.0.beside("mounts.json");
    fs::write(&file, mounts.to_string()).unwrap();
    let output =
        corten(&sleeper.0, &["mounts", command, &sleeper.0.id, file.to_str().unwrap()]).output().unwrap();
    if output.status.success() {
        assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
        return Ok(());
    }
    Err(one_error(&output))
}

fn add_and_remove(sleeper: &Sleeper) {
    let source = sleeper.0.beside("source");
    fs::create_dir_all(source.join("below")).unwrap();
    fs::write(source.join("file"), "from the host").unwrap();
    fs::set_permissions(sleeper.0.beside("."), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mounts = json!([
        { "destination": "/dev/shm/tree", "type": "bind", "source": source, "options": ["rbind", "ro", "nosuid"] },
        { "destination": "/dev/shm/fs", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k", "mode=700"] },
        { "destination": "/dev/shm/fs/file", "type": "bind", "source": source.join("file"), "options": ["bind"] },
        { "destination": "/dev/shm/proc", "type": "proc", "source": "proc" },
    ]);
    change(sleeper, "add", &mounts).unwrap();
    let table = sleeper.shell(&[], "grep /dev/shm/ /proc/1/mountinfo");
    assert_eq!(table.lines().count(), 4, "{table}");
    let tree = table.lines().find(|line| line.contains(" /dev/shm/tree ")).unwrap();
    assert!(tree.contains(" ro,nosuid"), "{tree}");
    assert!(table.contains("size=64k") && table.contains("mode=700"), "{table}");
    let read = "cat /dev/shm/tree/file /dev/shm/fs/file; touch /dev/shm/tree/new 2>/dev/null || echo ' ro'";
    assert_eq!(sleeper.shell(&[], read), "from the hostfrom the host ro\n");
    // It is that of the container's PID namespace.
    assert_eq!(sleeper.shell(&[], "cat /dev/shm/proc/1/comm"), "sleep\n");
    // Nothing of it is in the caller's mount namespace.
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains("/dev/shm/tree"));
    change(sleeper, "remove", &mounts).unwrap();
    assert_eq!(sleeper.shell(&[], "grep /dev/shm/ /proc/1/mountinfo || true"), "");
    let error = change(sleeper, "remove", &json!([{ "destination": "/dev/shm/fs" }])).unwrap_err();
    assert!(
        error.starts_with("error during container init: mounts[0]: umount2 \"/dev/shm/fs\": "),
        "{error}"
    );
}

#[container_test]
fn mounts_come_and_go() {
    add_and_remove(&Sleeper::plain());
}

#[container_test]
fn in_a_user_namespace() {
    add_and_remove(&Sleeper::new(TestBundle::map_ids));
}

/// The ids of an id-mapped mount are those that were asked for.
#[container_test]
fn ids_are_mapped() {
    let sleeper = Sleeper::plain();
    let source = sleeper.0.beside("source");
    fs::create_dir(&source).unwrap();
    let maps = json!([{ "containerID": 0, "hostID": 7, "size": 10 }]);
    let mount = json!([{ "destination": "/dev/shm/mapped", "type": "bind", "source": source, "options": ["bind"],
                         "uidMappings": maps, "gidMappings": maps }]);
    match change(&sleeper, "add", &mount) {
        Err(error) if error.contains("cannot map ids") => skip("the filesystem of the bundle cannot map ids"),
        added => {
            added.unwrap();
            assert_eq!(sleeper.prints(&[], &["stat", "-c", "%u:%g", "/dev/shm/mapped"]), "7:7\n");
        }
    }
}

/// Links of the container's lead nowhere out of it when mounts are added, and nowhere at all when they are
/// taken away: a mask is a mount, too.
#[container_test]
fn links_of_the_container() {
    let sleeper = Sleeper::new(|test| test.config["root"]["readonly"] = json!(false));
    let outside = sleeper.0.beside("outside");
    fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, sleeper.0.rootfs().join("away")).unwrap();
    change(&sleeper, "add", &json!([{ "destination": "/away/made", "type": "tmpfs", "source": "tmpfs" }]))
        .unwrap();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "nothing is made on the host");
    std::os::unix::fs::symlink("/proc", sleeper.0.rootfs().join("data")).unwrap();
    let error = change(&sleeper, "remove", &json!([{ "destination": "/data/timer_list" }])).unwrap_err();
    assert!(error.contains("mounts[0]: openat2") && error.contains("symbolic links"), "{error}");
    assert_eq!(sleeper.prints(&[], &["stat", "-c", "%t:%T", "/proc/timer_list"]), "1:3\n", "still hidden");
}

#[container_test]
fn what_is_wrong_is_named() {
    let sleeper = Sleeper::plain();
    for (mounts, said) in [
        (json!([{ "destination": "/proc/self", "type": "tmpfs", "source": "tmpfs" }]), "mounts[0]"),
        (
            json!([{ "destination": "/dev/shm/x", "type": "bind", "source": "/nowhere", "options": ["bind"] }]),
            "mounts[0]",
        ),
        (json!([{ "destination": "/dev/shm/x", "type": "nofs", "source": "x" }]), "mounts[0]"),
        (json!([{ "source": "/x" }]), "destination"),
        (json!({}), "mounts"),
    ] {
        let error = change(&sleeper, "add", &mounts).unwrap_err();
        assert!(error.contains(said), "{mounts}: {error}");
    }
    let error = fail(&sleeper.0, &["mounts", "add", &sleeper.0.id, "/nowhere"]);
    assert_eq!(error, "open /nowhere: no such file or directory");
    succeed(&sleeper.0, &["kill", &sleeper.0.id, "KILL"]);
    wait_for(&sleeper.0, "stopped");
    change(&sleeper, "add", &json!([])).unwrap_err();
}

/// Everything would be gone with it.
#[container_test]
fn the_root_stays() {
    let sleeper = Sleeper::plain();
    for destination in ["/", "/dev/..", "/."] {
        let error = change(&sleeper, "remove", &json!([{ "destination": destination }])).unwrap_err();
        assert_eq!(error, "mounts[0].destination: to remove the root is not supported");
    }
    assert_eq!(sleeper.prints(&[], &["echo", "here"]), "here\n");
}

/// The process that changes mounts carries nothing of the host into the container, where somebody may look at
/// its files who has CAP_SYS_PTRACE.
#[container_test]
fn no_procfs_of_the_host_is_carried_in() {
    let list = json!([{ "destination": "/dev/shm/x", "type": "tmpfs", "source": "tmpfs" }]);
    let script = "while :; do for p in /proc/[0-9]*; do for f in $p/fd/*; do \
                  read c < $f/1/comm && test \"$c\" != sh && echo $f $c >> /dev/shm/found; done; done; done 2>/dev/null";
    let test = Sleeper::new(|test| {
        test.config["process"]["args"] = json!(["sh", "-c", script]);
        for set in ["bounding", "effective", "permitted"] {
            test.config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_SYS_PTRACE"));
        }
    });
    for _ in 0..20 {
        change(&test, "add", &list).unwrap();
        change(&test, "remove", &list).unwrap();
    }
    assert_eq!(test.shell(&[], "cat /dev/shm/found 2>/dev/null || true"), "");
}

/// A paused container's mounts can be changed, and neither waits for the other.
#[container_test]
fn of_a_paused_container() {
    let sleeper = Sleeper::plain();
    succeed(&sleeper.0, &["pause", &sleeper.0.id]);
    let list = json!([{ "destination": "/dev/shm/x", "type": "tmpfs", "source": "tmpfs" }]);
    change(&sleeper, "add", &list).unwrap();
    succeed(&sleeper.0, &["resume", &sleeper.0.id]);
    assert!(sleeper.prints(&[], &["cat", "/proc/1/mountinfo"]).contains(" /dev/shm/x "));
}
