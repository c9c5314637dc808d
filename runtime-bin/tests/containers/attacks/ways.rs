//! Attacks in each way that a container comes about.

use super::*;

/// A container that waits for `start`, in each way that it comes about; a root with the default capabilities
/// that is in it.
#[container_test(ways)]
fn an_init_that_waits_cannot_be_looked_at_from_inside(way: Way) {
    let test = TestBundle::new(&["true"]);
    let created = way.create(&test);
    let inits = state(&test)["pid"].to_string();
    // In a PID namespace that is joined it is not the first one: the last number is that in the innermost
    // namespace.
    let status = fs::read_to_string(format!("/proc/{inits}/status")).unwrap();
    let inside =
        status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap().split_whitespace().last();
    let script = format!(
        "cat /proc/self/environ >/dev/null && readlink /proc/{}/exe || echo refused",
        inside.unwrap()
    );
    let output = common::corten(&test, &["exec", &test.id, "sh", "-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "refused\n", "{way:?}");
    succeed(&test, &["delete", "--force", &test.id]);
    drop(created);
}

/// Links that would lead to the host's paths if they counted from the host's root.
#[container_test(ways)]
fn links_of_the_image_lead_nowhere_on_the_host(way: Way) {
    let mut test = TestBundle::new(&["cat", "/data/marker"]);
    let host = test.beside("host");
    fs::create_dir(&host).unwrap();
    open_to_all(&host);
    symlink(&host, test.rootfs().join("data")).unwrap();
    let source = test.beside("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("marker"), "mounted").unwrap();
    test.config["root"]["readonly"] = false.into();
    let mount = json!({ "destination": "/data", "source": source, "options": ["bind"] });
    test.config["mounts"].as_array_mut().unwrap().push(mount);
    assert_eq!(stdout(&way.run(&test)), "mounted", "{way:?}");
    assert_eq!(fs::read_dir(&host).unwrap().count(), 0, "{way:?}");
}

/// Nothing of the host's is mounted in the container's namespace any more, below its root or anywhere.
#[container_test(ways)]
fn the_hosts_mounts_are_gone(way: Way) {
    let mut test = TestBundle::new(&["sh", "-c", "cat /proc/self/mountinfo"]);
    let listed = test.config["mounts"].as_array_mut().unwrap();
    listed.retain(|mount| ["/proc", "/dev", "/tmp"].map(Value::from).contains(&mount["destination"]));
    test.config["linux"]["maskedPaths"] = Value::Null;
    test.config["linux"]["readonlyPaths"] = Value::Null;
    let table = stdout(&way.run(&test));
    let points: BTreeSet<_> = table.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    let nodes = points.iter().filter(|point| point.starts_with("/dev/")).count();
    assert_eq!(points.len() - nodes, 3, "{way:?}: {table}");
    let roots = table.lines().filter(|line| line.split(' ').nth(4) == Some("/")).count();
    assert_eq!(roots, 1, "{way:?}: {table}");
}

/// CVE-2024-21626 once more: the caller itself hands a directory of the host on.
#[container_test]
fn a_directory_of_the_host_that_is_handed_on_is_no_working_directory() {
    let test = TestBundle::new(&["sleep", "1000"]);
    create(&test);
    succeed(&test, &["start", &test.id]);
    let script = format!(
        "exec 3</; exec {} --root {} exec --preserve-fds 1 --cwd /proc/self/fd/3 {} cat etc/hostname",
        common::CORTEN,
        test.state_root().display(),
        test.id
    );
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("getcwd"), "{output:?}");
    succeed(&test, &["delete", "--force", &test.id]);
}

/// Neither nodes nor links are made in it, and none is replaced: the volume is others', too, and outlives the
/// container.
#[container_test(ways)]
fn a_volume_that_a_link_puts_at_dev_stays_as_it_is(way: Way) {
    for is_link in [true, false] {
        let (mut test, volume) = with_volume_at_dev(is_link, "ls -A /dev/ && cat /dev/ptmx");
        fs::write(volume.join("ptmx"), "a file").unwrap();
        // In a user namespace they would be the host's nodes of these names.
        if way != Way::UserNamespace {
            let node =
                |path: &str| json!({ "path": path, "type": "c", "major": 1, "minor": 5, "uid": 7, "gid": 7 });
            test.config["linux"]["devices"] =
                ["/dev/other", "/dev/deep/er", "/elsewhere"].map(node).as_slice().into();
        }
        assert_eq!(stdout(&way.run(&test)), "ptmx\na file", "{way:?}");
        let left: Vec<_> = fs::read_dir(&volume).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["ptmx"], "{way:?}");
        assert_eq!(fs::read_to_string(volume.join("ptmx")).unwrap(), "a file", "{way:?}");
        assert_eq!(test.rootfs().join("elsewhere").exists(), way != Way::UserNamespace, "{way:?}");
    }
}

/// Nor is there a console made in it for a terminal (CVE-2026-88264). The terminal is one of the container's
/// own devpts, which is elsewhere in the volume's place.
#[container_test(ways)]
fn a_volume_that_a_link_puts_at_dev_gets_no_console(way: Way) {
    let (mut test, volume) = with_volume_at_dev(true, "tty; ls -A /dev/");
    fs::create_dir(volume.join("pts")).unwrap();
    test.config["process"]["terminal"] = true.into();
    let options = json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]);
    let devpts =
        json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": options });
    test.config["mounts"].as_array_mut().unwrap().push(devpts);
    let seen = String::from_utf8_lossy(&way.run(&test).stdout).replace("\r\n", "\n");
    // The terminal has the name that the link leads to.
    assert_eq!(seen, "/data/pts/0\npts\n", "{way:?}");
    let left: Vec<_> = fs::read_dir(&volume).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["pts"], "{way:?}");
}

/// CVE-2026-88265: the null device of the image is a link, to a file of the image, of a volume, or of the
/// host.
#[container_test(ways)]
fn cve_2026_88265_stdio_does_not_follow_the_images_null_device(way: Way) {
    for to in ["/etc/file", "/data/file", "HOST"] {
        let mut test = with_images_dev("stat -L -c %t:%T /proc/self/fd/0; cat <&0");
        let (dev, volume, host) = (test.rootfs().join("dev"), test.beside("volume"), test.beside("host"));
        for directory in [&dev, &volume, &host] {
            fs::create_dir(directory).unwrap();
        }
        let files = [test.rootfs().join("etc/file"), volume.join("file"), host.join("file")];
        for file in &files {
            fs::write(file, "not for stdin").unwrap();
        }
        open_to_all(&host);
        symlink(to.replace("HOST", files[2].to_str().unwrap()), dev.join("null")).unwrap();
        let mount = json!({ "destination": "/data", "source": volume, "options": ["bind"] });
        test.config["mounts"].as_array_mut().unwrap().push(mount);
        test.config["process"]["user"] = json!({ "uid": 7, "gid": 7 });
        let output = way.run(&test);
        let owner = if way == Way::UserNamespace { MAPPED_ROOT } else { 0 };
        // Where the host's nodes are mounted one would have to be mounted here: that it is a link is no
        // reason to fail, but it may be.
        let is_refused = way == Way::UserNamespace && !output.status.success();
        assert!(is_refused || output.stdout == b"1:3\n", "{way:?}, {to}: {output:?}");
        for (file, owner) in files.iter().zip([owner, owner, 0]) {
            assert_eq!(fs::metadata(file).unwrap().uid(), owner, "{way:?}, {to}: {file:?}");
        }
    }
}

/// CVE-2019-5736 and CVE-2024-21626 by way of processes that join: what they execute, and where they work, is
/// the container's.
#[container_test(ways)]
fn cve_2024_21626_cve_2019_5736_processes_that_join(way: Way) {
    let mut test = TestBundle::new(&["sleep", "1000"]);
    test.config["root"]["readonly"] = false.into();
    let created = way.create(&test);
    succeed(&test, &["start", &test.id]);
    let host = test.beside("host");
    fs::create_dir(&host).unwrap();
    let with_directory = format!("exec 3<{0} 7<{0}; exec \"$@\"", host.display());
    let joins = |words: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", &with_directory, "sh", common::CORTEN, "--root"]).arg(test.state_root());
        command.arg("exec").args(words).stdin(Stdio::null()).output().unwrap()
    };
    for fd in 0..12 {
        let cwd = format!("/proc/self/fd/{fd}");
        for flags in [&[][..], &["--preserve-fds", "1"]] {
            let output = joins(&[flags, &["--cwd", &cwd, &test.id, "ls", "-a"]].concat());
            assert!(!output.status.success() && output.stdout.is_empty(), "{way:?}, {cwd}: {output:?}");
        }
    }
    // What shows as the executable is init, which nobody can change, and which does nothing.
    let output = joins(&[&test.id, "/proc/self/exe"]);
    assert_eq!(output.status.code(), Some(1), "{way:?}: {output:?}");
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "corten-init: only the runtime starts this program\n"
    );
    let script = "for exe in /proc/[0-9]*/exe; do \
        case $(readlink $exe) in *corten*) chmod 777 $exe && echo changed; : >>$exe && echo written;; esac; done; echo end";
    assert_eq!(String::from_utf8_lossy(&joins(&[&test.id, "sh", "-c", script]).stdout), "end\n", "{way:?}");
    succeed(&test, &["delete", "--force", &test.id]);
    drop(created);
}

/// CVE-2019-16884, CVE-2019-18837 and CVE-2021-30465 by way of mounts that are added: the container that runs
/// changes names meanwhile.
#[container_test(ways)]
fn cve_2021_30465_mounts_that_are_added_stay_in_the_root(way: Way) {
    let mut test = TestBundle::new(&["sleep", "1000"]);
    test.config["root"]["readonly"] = false.into();
    let (host, source) = (test.beside("host"), test.beside("source"));
    for directory in [&host, &source, &host.join("place")] {
        fs::create_dir(directory).unwrap();
    }
    open_to_all(&host);
    let (rootfs, place) = (test.rootfs(), test.rootfs().join("place"));
    fs::create_dir(&place).unwrap();
    symlink(&host, rootfs.join("link")).unwrap();
    symlink("/proc", rootfs.join("kernel")).unwrap();
    let created = way.create(&test);
    succeed(&test, &["start", &test.id]);
    let file = test.beside("mounts.json");
    let add = |destination: &str| {
        let mount =
            json!([{ "destination": destination, "type": "bind", "source": source, "options": ["bind"] }]);
        fs::write(&file, mount.to_string()).unwrap();
        common::corten(&test, &["mounts", "add", &test.id, file.to_str().unwrap()]).output().unwrap()
    };
    for refused in ["/kernel/self", "/kernel/sys", "/proc/self/attr", "/kernel"] {
        assert!(!add(refused).status.success(), "{way:?}, {refused}");
    }
    let exchange = Exchange::of(&place, &rootfs.join("link"));
    for turn in 0..20 {
        // It may be refused, as the link leads nowhere inside.
        add(&format!("/place/{turn}"));
    }
    drop(exchange);
    assert_eq!(fs::read_dir(&host).unwrap().count(), 1, "{way:?}");
    assert_eq!(fs::read_dir(host.join("place")).unwrap().count(), 0, "{way:?}");
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(host.to_str().unwrap()), "{way:?}");
    succeed(&test, &["delete", "--force", &test.id]);
    drop(created);
}

/// What a link of the image puts at `/dev` is not the container's own: nothing is taken from it.
#[container_test]
fn stdin_of_a_volume_at_dev_stays_the_hosts() {
    let (test, volume) = with_volume_at_dev(false, "stat -L -c %d:%i /proc/self/fd/0 /dev/null");
    fill(&volume);
    let seen = stdout(&run(&test));
    let (stdin, null) = seen.trim().split_once('\n').unwrap();
    assert_ne!(stdin, null);
}

/// Stdio is given to the user of the process, but not what it would then own for all of the host.
#[container_test(ways)]
fn devices_and_directories_of_the_host_are_not_given_away_as_stdio(way: Way) {
    let mut test = TestBundle::new(&["true"]);
    test.config["process"]["user"] = json!({ "uid": 7, "gid": 7 });
    let host = test.beside("host");
    fs::create_dir_all(host.join("directory")).unwrap();
    fs::write(host.join("public"), "").unwrap();
    fs::write(host.join("secret"), "").unwrap();
    fs::set_permissions(host.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    device(&host.join("zero"), 5);
    let prepared = way.prepare(&test);
    // What all may read need not become one that can be written to where runc cannot give it away either.
    let (uid, publics) = if way == Way::UserNamespace { (MAPPED_ROOT + 7, 0) } else { (7, 7) };
    for (name, owner) in [("directory", 0), ("zero", 0), ("public", publics), ("secret", uid)] {
        let stdin = fs::File::open(host.join(name)).unwrap();
        // In the foreground a file would be copied.
        let mut command = prepared.command(&["create"]);
        let errors = fs::File::create(test.beside("errors")).unwrap();
        let status = command.stdin(stdin).stdout(Stdio::null()).stderr(errors).status().unwrap();
        assert!(status.success(), "{way:?}, {name}: {:?}", fs::read_to_string(test.beside("errors")));
        prepared.assert_way();
        assert_eq!(fs::metadata(host.join(name)).unwrap().uid(), owner, "{way:?}, {name}");
        succeed(&test, &["delete", "--force", &test.id]);
    }
}

/// What the kernel is asked for, with the names of the flags that tell the ways apart.
#[container_test(ways)]
fn each_way_is_what_its_name_says(way: Way) {
    if Command::new("strace").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skip("no strace");
    }
    let test = TestBundle::new(&["true"]);
    let (prepared, calls) = (way.prepare(&test), test.beside("calls"));
    let traced = "trace=pivot_root,chroot,setns,unshare,clone,clone3";
    let programs = ["strace", "-f", "-qq", "-e", traced, "-o", calls.to_str().unwrap(), common::CORTEN];
    let words = prepared.words_of(&programs, &["run"]);
    let output = Command::new(&words[0]).args(&words[1..]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(stdout(&output), "", "{way:?}");
    prepared.assert_way();
    let calls = fs::read_to_string(calls).unwrap();
    let has = |call: &str, flag: &str| calls.lines().any(|line| line.contains(call) && line.contains(flag));
    let pivots = matches!(way, Way::Copied | Way::Hook | Way::UserNamespace);
    assert_eq!(has("pivot_root(", ""), pivots, "{way:?}: {calls}");
    assert_eq!(has("chroot(", ""), !pivots, "{way:?}: {calls}");
    assert_eq!(has("clone", "CLONE_NEWUSER"), way == Way::UserNamespace, "{way:?}: {calls}");
    // The namespace that is kept, before the copy of it.
    assert_eq!(has("setns(", "CLONE_NEWNS"), matches!(way, Way::Empty | Way::Joined), "{way:?}: {calls}");
    assert_eq!(has("setns(", "CLONE_NEWPID"), way == Way::Joined, "{way:?}: {calls}");
}

#[container_test]
fn the_root_of_the_host_is_no_rootfs() {
    let mut test = TestBundle::new(&["true"]);
    test.config["root"]["path"] = "/proc/self/root/".into();
    let error = common::one_error(&run(&test));
    assert!(error.contains("is the root of the host"), "{error}");
}

#[container_test(ways)]
fn readonly_paths_cannot_be_written(way: Way) {
    let test = TestBundle::new(&["sh", "-c", "echo 1 > /proc/sys/kernel/shm_rmid_forced || echo refused"]);
    let output = way.run(&test);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "refused\n", "{way:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("Read-only"), "{way:?}: {output:?}");
}
