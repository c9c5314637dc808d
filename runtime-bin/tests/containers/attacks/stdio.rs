//! What a container gets as stdio, and the null device.

use super::*;

#[container_test]
fn stdin_is_no_device_that_takes_the_place_of_the_images_null_device() {
    let mut test = with_images_dev(WHAT_IS_STDIN);
    let dev = test.rootfs().join("dev");
    fill(&dev);
    race_on_null(&test, &dev);
    // Nor one that the container may open itself: its output would go there.
    let may_open = json!({ "allow": true, "type": "c", "major": 1, "minor": 11, "access": "rw" });
    test.config["linux"]["resources"]["devices"].as_array_mut().unwrap().push(may_open);
    race_on_null(&test, &dev);
}

/// The exchange comes between the look and the opening, every time.
#[container_test]
fn stdin_is_the_null_device_that_was_looked_at() {
    // With a procfs at hand, and without one, when it is looked for once more.
    for has_proc in [true, false] {
        let mut test = with_images_dev("stat -L -c %t:%T /other/self/fd/0");
        let may_open = json!({ "allow": true, "type": "c", "major": 1, "minor": 11, "access": "rw" });
        test.config["linux"]["resources"]["devices"].as_array_mut().unwrap().push(may_open);
        for list in ["maskedPaths", "readonlyPaths"] {
            test.config["linux"][list] = json!([]);
        }
        let mounts = test.config["mounts"].as_array_mut().unwrap();
        mounts.push(json!({ "destination": "/other", "type": "proc", "source": "proc" }));
        if !has_proc {
            mounts.retain(|mount| mount["destination"] != "/proc");
        }
        let dev = test.rootfs().join("dev");
        fill(&dev);
        let exchange = || {
            let (null, other) = (dev.join("null"), dev.join("other"));
            renameat2(AT_FDCWD, &null, AT_FDCWD, &other, RenameFlags::RENAME_EXCHANGE).unwrap();
        };
        let output = run_and_stop_after(&mut test, "dev/null", exchange);
        assert_eq!(stdout(&output), "1:3\n", "has_proc: {has_proc}");
    }
}

/// The same with what the home directory is read from.
#[container_test]
fn the_home_directory_is_read_from_the_file_that_was_looked_at() {
    let mut test = shows_home("");
    let etc = test.rootfs().join("etc");
    fs::write(etc.join("passwd"), "root:x:0:0::/home/root:/bin/sh\n").unwrap();
    symlink(KERNEL_FILE, etc.join("other")).unwrap();
    let exchange = || fs::rename(etc.join("other"), etc.join("passwd")).unwrap();
    assert_eq!(stdout(&run_and_stop_after(&mut test, "/etc/passwd", exchange)), "/home/root\n");
}

/// While init opens what is the container's it has nothing of the caller's: a process that took hold of it
/// would have that.
#[container_test]
fn init_has_no_directory_of_the_callers_open() {
    let mut test = TestBundle::new(&["true"]);
    let seen = test.beside("seen");
    let script =
        format!("pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); ls -l /proc/$pid/fd >{}", seen.display());
    test.config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] });
    let host = test.beside("host");
    fs::create_dir(&host).unwrap();
    let path = test.write().path();
    let with_directory = format!("exec 3<{0} 9<{0}; exec \"$@\"", host.display());
    let mut command = Command::new("sh");
    command.args(["-c", &with_directory, "sh", common::CORTEN, "--root"]).arg(test.state_root());
    command.args(["run", "--bundle"]).arg(path).arg(&test.id).stdin(Stdio::null());
    assert_eq!(stdout(&command.output().unwrap()), "");
    let fds = fs::read_to_string(seen).unwrap();
    assert!(fds.contains("socket:") && !fds.contains(host.to_str().unwrap()), "{fds}");
    // Nor the state directory, nor what the runtime has open besides.
    assert!(!fds.contains(test.state_root().to_str().unwrap()), "{fds}");
}

/// Another container has the volume, too; a link of the image makes it appear at `/dev`.
#[container_test]
fn stdin_is_no_device_of_a_volume_that_a_link_puts_at_dev() {
    let (test, volume) = with_volume_at_dev(false, WHAT_IS_STDIN);
    fill(&volume);
    race_on_null(&test, &volume);
}

/// The container's own null device takes the place of the host's, however `/dev` comes about.
#[container_test]
fn stdin_is_the_containers_null_device() {
    let look = "stat -L -c %d:%i /proc/self/fd/0 /dev/null";
    let own = |test: &TestBundle, what: &str| {
        let seen = stdout(&run(test));
        let (stdin, null) = seen.trim().split_once('\n').unwrap();
        assert_eq!(stdin, null, "{what}");
    };
    own(&TestBundle::new(&["sh", "-c", look]), "a tmpfs");
    own(&with_images_dev(look), "the image's directory");
    let mut without_proc = with_images_dev("stat -L -c %d:%i /dev/stdin /dev/null");
    fill(&without_proc.rootfs().join("dev"));
    for list in ["maskedPaths", "readonlyPaths"] {
        without_proc.config["linux"][list] = json!([]);
    }
    // The links of /dev lead to a procfs that is mounted by the process itself.
    let mounts = without_proc.config["mounts"].as_array_mut().unwrap();
    mounts.iter_mut().find(|mount| mount["destination"] == "/proc").unwrap()["destination"] = "/other".into();
    without_proc.config["process"]["args"][2] = "stat -L -c %d:%i /other/self/fd/0 /dev/null".into();
    own(&without_proc, "no procfs at /proc");
    let mut readonly = TestBundle::new(&["sh", "-c", look]);
    readonly.config["mounts"][1]["options"] = json!(["nosuid", "mode=755", "ro"]);
    own(&readonly, "a read-only tmpfs");
}
