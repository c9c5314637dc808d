//! What a process sees from inside, and that it is what it would see under crun and runc.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::peers::{normalise, peers};
use crate::common::{self, TestBundle, Variant, run, skip, stdout, succeed, wait_for};
use container_test::container_test;
use serde_json::json;

/// Looks around; sections begin with `## `.
const LOOK: &str = "echo '## mounts'; cat /proc/self/mountinfo; \
    echo '## status'; grep -E '^(Uid|Gid|Groups|NoNewPrivs|Seccomp|Cap|SigBlk)' /proc/self/status; \
    echo '## limits'; cat /proc/self/limits; \
    echo '## devices'; for d in /dev/* /dev/pts/ptmx; do stat -c '%n %F %a %u %g %t %T %N' $d; done; \
    echo '## environment'; env; \
    echo '## rest'; hostname; pwd; umask; cat /proc/self/oom_score_adj; \
    cat /proc/sys/net/ipv4/ping_group_range; ls /sys/class/net; ls -a /proc/acpi /sys/firmware; cat /proc/keys /proc/timer_list; \
    ps -o comm; touch /proc/sys/kernel/x; touch /x; mknod /tmp/n c 1 3; echo > /dev/null";

fn compare(test: &TestBundle) {
    let ours = normalise(&stdout_of(run(test)), true);
    assert!(ours.len() > 60, "{ours:?}");
    let mut compared = 0;
    for peer in peers() {
        let output = Command::new(&peer)
            .args(["run", "--bundle"])
            .arg(test.path())
            .arg(&test.id)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            skip(&format!("{} does not run here: {reason}", peer.display()));
            continue;
        }
        let theirs = normalise(&String::from_utf8_lossy(&output.stdout), true);
        let (only_ours, only_theirs): (Vec<_>, Vec<_>) =
            (ours.difference(&theirs).collect(), theirs.difference(&ours).collect());
        assert!(
            only_ours.is_empty() && only_theirs.is_empty(),
            "corten: {only_ours:#?}\n{}: {only_theirs:#?}",
            peer.display()
        );
        compared += 1;
    }
    if compared == 0 {
        skip("no peer to compare the view from inside with");
    }
}

/// stdout, whatever the look-around complained about on stderr (it tries what must fail).
fn stdout_of(output: std::process::Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[container_test]
fn the_default_bundle_looks_as_with_the_peers() {
    compare(TestBundle::new(&["sh", "-c", LOOK]).of_any_runtime().write());
}

#[container_test]
fn the_docker_bundle_looks_as_with_the_peers() {
    compare(TestBundle::docker(&["sh", "-c", LOOK]).of_any_runtime().write());
}

#[container_test]
fn another_user_and_more_options_look_as_with_the_peers() {
    let mut test = TestBundle::docker(&["sh", "-c", LOOK]).of_any_runtime();
    fs::write(
        test.rootfs().join("etc/passwd"),
        "root:x:0:0::/root:/bin/sh\nme:x:1000:1000:Me:/home/me:/bin/sh\n",
    )
    .unwrap();
    let source = test.beside("source");
    fs::create_dir(&source).unwrap();
    let file = test.beside("file");
    fs::write(&file, "a file").unwrap();
    let process = &mut test.config["process"];
    process["user"] = json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 10, 1000], "umask": 0o027 });
    process["cwd"] = "/work/made/here".into();
    process["oomScoreAdj"] = 300.into();
    process["noNewPrivileges"] = true.into();
    process["rlimits"] = json!([
        { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
        { "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 },
        { "type": "RLIMIT_STACK", "soft": 1_000_000, "hard": 2_000_000 },
    ]);
    test.config["root"]["readonly"] = true.into();
    let mounts = test.config["mounts"].as_array_mut().unwrap();
    mounts.push(json!({ "destination": "/deep/er/dir", "type": "bind", "source": source, "options": ["rbind", "ro", "nosuid"] }));
    mounts.push(json!({ "destination": "/etc/a-file", "type": "none", "source": file, "options": ["bind"] }));
    mounts.push(json!({ "destination": "/scratch", "type": "tmpfs", "source": "tmpfs",
        "options": ["nodev", "noatime", "size=1m", "mode=1777"] }));
    let linux = &mut test.config["linux"];
    linux["devices"] = json!([
        { "path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 1000, "gid": 5 },
        { "path": "/dev/fifo", "type": "p", "fileMode": 0o600 },
    ]);
    compare(test.write());
}

/// CVE-2019-5736: what is to be seen of the runtime is a sealed copy of init.
#[container_test]
fn cve_2019_5736_the_runtime_cannot_be_overwritten() {
    let before = fs::read(common::CORTEN).unwrap();
    // The container is the runtime's own executable, as far as it can see: it refuses to do anything.
    let test = TestBundle::new(&["/proc/self/exe"]);
    let output = run(&test);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "corten-init: only the runtime starts this program\n"
    );
    test.assert_nothing_left("after /proc/self/exe");

    // A waiting init: its executable is sealed against writing by anybody, root on the host included.
    let (path, pid_file) = (test.path(), test.beside("pid"));
    let arguments =
        ["create", "-b", path.to_str().unwrap(), "--pid-file", pid_file.to_str().unwrap(), &test.id];
    assert!(
        common::corten(&test, &arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    let pid = fs::read_to_string(&pid_file).unwrap();
    let exe = format!("/proc/{pid}/exe");
    assert_eq!(fs::read_link(&exe).unwrap(), Path::new("/memfd:corten-init (deleted)"));
    let refused = fs::OpenOptions::new().write(true).open(&exe).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(nix::errno::Errno::ETXTBSY as i32));
    let file = fs::File::open(&exe).unwrap();
    let seals = nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_GET_SEALS).unwrap();
    assert_eq!(seals & 0xf, 0xf, "seal, shrink, grow, write");
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    if (numbers.next(), numbers.next()) < (Some(6), Some(3)) {
        skip("the kernel cannot seal a mode");
    } else {
        // Other containers execute the same file.
        let refused =
            fs::set_permissions(&exe, std::os::unix::fs::PermissionsExt::from_mode(0o0)).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
    }
    // Nobody may look into it either.
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(format!("/proc/{pid}/mem")).unwrap());
    assert_eq!(owner, 0);
    common::succeed(&test, &["delete", &test.id]);
    assert!(fs::read(common::CORTEN).unwrap() == before, "the runtime has changed");
}

/// CVE-2024-21626, CVE-2016-9962: no fd of the runtime gets in.
#[container_test]
fn only_stdio_is_open() {
    let test = TestBundle::new(&["sh", "-c", "for fd in /proc/$$/fd/*; do echo $fd; done"]);
    let path = test.write().path();
    // Fds of the caller that are not close-on-exec.
    let script = format!(
        "exec 3</ 4</etc/passwd 9</; exec {} --root {} run -b {} {}",
        common::CORTEN,
        test.state_root().display(),
        path.display(),
        test.id
    );
    let output = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
    let fds: Vec<String> =
        stdout(&output).lines().map(|line| line.rsplit('/').next().unwrap().to_owned()).collect();
    // The shell opens its directory to list it, as fd 3.
    assert!(fds.iter().all(|fd| ["0", "1", "2", "3", "10"].contains(&fd.as_str())), "{fds:?}");

    for fd in 3..20 {
        let mut test = TestBundle::new(&["pwd"]);
        test.config["process"]["cwd"] = format!("/proc/self/fd/{fd}").into();
        let error = common::one_error(&run(&test));
        assert!(error.contains("process.cwd"), "{error}");
    }
}

#[container_test]
fn preserved_fds_get_in() {
    let test = TestBundle::new(&["sh", "-c", "read a <&3; read b <&4; echo $a $b"]);
    let path = test.write().path();
    fs::write(test.beside("three"), "three\n").unwrap();
    fs::write(test.beside("four"), "four\n").unwrap();
    let runtime = format!("{} --root {}", common::CORTEN, test.state_root().display());
    let (three, four) = (test.beside("three"), test.beside("four"));
    let script = format!(
        "exec {runtime} run --preserve-fds 2 -b {} {} 3<{} 4<{}",
        path.display(),
        test.id,
        three.display(),
        four.display()
    );
    assert_eq!(stdout(&Command::new("sh").args(["-c", &script]).output().unwrap()), "three four\n");
}

/// The shell's own fds, and what is in two of them.
const FDS: &str = "ls /proc/$$/fd; true";
const TWO_FDS: &str = "ls /proc/$$/fd; cat <&5; cat <&900";
/// What that prints.
const TWO_FDS_SEEN: &str = "0\n1\n2\n5\n900\nfd 5\nfd 900\n";

/// A container of a shell, and beside it what it gets as fd 5 and fd 900.
fn with_two_fds(script: &str, change: &dyn Fn(&mut TestBundle)) -> TestBundle {
    let mut test = TestBundle::new(&["sh", "-c", script]);
    change(&mut test);
    for number in ["5", "900"] {
        fs::write(test.beside(number), format!("fd {number}\n")).unwrap();
    }
    test
}

/// Corten by a shell that has opened them, and none but them. In a busybox's shell redirections may have any
/// number.
fn by_shell_with_two_fds(test: &TestBundle, before: &str, arguments: &[&str]) -> Command {
    let alone = "for fd in /proc/$$/fd/*; do [ ${fd##*/} -lt 3 ] || eval exec ${fd##*/}'<&-'; done";
    let script = format!("{alone}; cd {}; exec 5<5 900<900; {before} exec \"$@\"", test.beside("").display());
    let mut command = Command::new("/bin/busybox");
    command.args(["sh", "-c", &script, "sh", common::CORTEN, "--root"]).arg(test.state_root());
    command.args(arguments).stdin(Stdio::null());
    command
}

/// As with crun: what is open below the number gets in, under its own number. What lies between is neither
/// the runtime's nor init's.
#[container_test]
fn preserved_fds_get_in_with_gaps_between_them() {
    let source = TestBundle::new(&[]);
    type Change<'a> = &'a dyn Fn(&mut TestBundle);
    let changes: [(&str, Change<'_>); 6] = [
        ("plain", &|_| {}),
        ("a user namespace", &TestBundle::map_ids),
        ("no new privileges", &|test| test.config["process"]["noNewPrivileges"] = json!(true)),
        ("a filter", &|test| test.config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW" })),
        ("hooks", &|test| {
            test.config["hooks"] =
                json!({ "startContainer": [{ "path": "/bin/true" }, { "path": "/bin/true" }] });
        }),
        ("mounts", &|test| {
            let mounts = test.config["mounts"].as_array_mut().unwrap();
            mounts.extend((0..40).map(|number| {
                json!({ "destination": format!("/m{number}"), "type": "bind", "source": source.path(), "options": ["rbind"] })
            }));
        }),
    ];
    for (what, change) in changes {
        for number in ["898", "4294967295"] {
            let test = with_two_fds(TWO_FDS, change);
            let path = test.write().path();
            let arguments = ["run", "--preserve-fds", number, "-b", path.to_str().unwrap(), &test.id];
            let output = by_shell_with_two_fds(&test, "", &arguments).output().unwrap();
            assert_eq!(stdout(&output), TWO_FDS_SEEN, "{what}");
            test.assert_nothing_left(what);
        }
        let test = with_two_fds(TWO_FDS, change);
        let (path, out) = (test.write().path(), fs::File::create(test.beside("out")).unwrap());
        let arguments = ["create", "--preserve-fds", "898", "-b", path.to_str().unwrap(), &test.id];
        let mut create = by_shell_with_two_fds(&test, "", &arguments);
        assert!(create.stdout(out.try_clone().unwrap()).stderr(out).status().unwrap().success(), "{what}");
        succeed(&test, &["start", &test.id]);
        wait_for(&test, "stopped");
        assert_eq!(fs::read_to_string(test.beside("out")).unwrap(), TWO_FDS_SEEN, "{what}");
        succeed(&test, &["delete", &test.id]);
    }
}

#[container_test(Root, UserNamespace)]
fn exec_preserves_fds_with_gaps_between_them(variant: Variant) {
    let mapped = variant.is_mapped();
    let test = with_two_fds("exec sleep 1000", &|test| {
        if mapped {
            test.map_ids()
        }
    });
    common::create(&test);
    succeed(&test, &["start", &test.id]);
    for (number, script, seen) in
        [("898", TWO_FDS, TWO_FDS_SEEN), ("3", FDS, "0\n1\n2\n5\n"), ("2", FDS, "0\n1\n2\n")]
    {
        let arguments = ["exec", "--preserve-fds", number, &test.id, "sh", "-c", script];
        let output = by_shell_with_two_fds(&test, "", &arguments).output().unwrap();
        assert_eq!(stdout(&output), seen, "{number}, mapped: {mapped}");
    }
    succeed(&test, &["delete", "--force", &test.id]);
}

/// They are without gaps, and come first.
#[container_test]
fn sockets_of_socket_activation_come_before_fds_with_gaps_between_them() {
    let test = with_two_fds(&format!("echo $LISTEN_FDS $LISTEN_PID; {TWO_FDS}"), &|_| {});
    let path = test.write().path();
    let arguments = ["run", "--preserve-fds", "897", "-b", path.to_str().unwrap(), &test.id];
    let listen = "exec 3</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$;";
    let output = by_shell_with_two_fds(&test, listen, &arguments).output().unwrap();
    assert_eq!(stdout(&output), format!("1 1\n{}", TWO_FDS_SEEN.replace("2\n", "2\n3\n")));
}

/// CVE-2019-19921 and its kin: links where the kernel's filesystems belong.
#[container_test]
fn links_in_the_place_of_proc_and_sys_are_refused() {
    for name in ["proc", "sys"] {
        let test = TestBundle::new(&["true"]);
        fs::create_dir(test.rootfs().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("/elsewhere", test.rootfs().join(name)).unwrap();
        let error = common::one_error(&run(&test));
        assert!(error.contains("mounts[") && error.contains(&format!("/{name}")), "{error}");
    }
}

/// CVE-2026-41579, CVE-2019-18837: `/dev` of the rootfs leads to the host.
#[container_test]
fn links_out_of_the_rootfs_stay_inside() {
    let mut test = TestBundle::new(&["ls", "/dev/"]);
    let outside = test.beside("outside");
    fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, test.rootfs().join("dev")).unwrap();
    // The same path inside the rootfs, so that the link leads somewhere.
    let inside = test.rootfs().join(outside.strip_prefix("/").unwrap());
    fs::create_dir_all(&inside).unwrap();
    let mounts = test.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    let listed = stdout(&run(&test));
    assert!(listed.contains("null") && listed.contains("stdin"), "{listed}");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "something was made on the host");
    assert!(inside.join("null").exists());
}

/// CVE-2025-31133: the image's own /dev/null is not what hides a path.
#[container_test]
fn the_images_null_device_masks_nothing() {
    let mut test = TestBundle::new(&["sh", "-c", "stat -c '%t:%T' /proc/keys; cat /proc/keys"]);
    let mounts = test.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    fs::create_dir(test.rootfs().join("dev")).unwrap();
    std::os::unix::fs::symlink("/proc/sys/kernel/core_pattern", test.rootfs().join("dev/null")).unwrap();
    assert_eq!(stdout(&run(&test)), "1:3\n");
}

#[container_test]
fn devices_beyond_the_list_cannot_be_used() {
    // /dev/kmsg (1:11) may be made but not opened; the null device may be both.
    let script = "mknod /tmp/kmsg c 1 11 && mknod /tmp/null c 1 3; cat /tmp/null && echo null; head -c1 /tmp/kmsg || echo refused";
    let mut test = TestBundle::new(&["sh", "-c", script]);
    test.config["root"]["readonly"] = false.into();
    for set in ["bounding", "effective", "permitted"] {
        test.config["process"]["capabilities"][set] = json!(["CAP_MKNOD", "CAP_DAC_OVERRIDE"]);
    }
    let output = run(&test);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "null\nrefused\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(String::from_utf8_lossy(&output.stderr).contains("Operation not permitted"));
}

#[container_test]
fn the_hosts_mounts_are_neither_seen_nor_touched() {
    // Without the mount namespace that is kept for all containers, which others may be making.
    let hosts = || {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        mounts
            .lines()
            .filter(|mount| !mount.contains("/run/corten/@mounts"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let before = hosts();
    let test = TestBundle::new(&["cat", "/proc/self/mountinfo"]);
    let inside = stdout(&run(&test));
    let host_only = Path::new("/proc/sys/fs/binfmt_misc");
    assert!(!inside.contains(host_only.to_str().unwrap()), "{inside}");
    assert_eq!(hosts(), before);
}
