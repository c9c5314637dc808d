//! Attacks that have no number: an image, or another container, exchanges what init is about to open.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::exchange::Exchange;
use crate::common::stops::run_and_stop_after;
use crate::common::ways::{Way, open_to_all, ways};
use crate::common::{
    self, MAPPED_ROOT, TestBundle, can_make_containers, corten, create, run, skip, state, stdout, succeed,
};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};

/// How long a race is run.
const RACE_TIME: Duration = Duration::from_secs(3);

/// Makes a device node that everybody may open.
fn device(path: &Path, minor: u64) {
    mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, minor)).unwrap();
}

/// A directory with a null device, and beside it a device of the host's that no container may open (`/dev/kmsg`).
fn fill(dev: &Path) {
    fs::create_dir_all(dev).unwrap();
    device(&dev.join("null"), 3);
    device(&dev.join("other"), 11);
}

/// A bundle whose `/dev` comes with the image.
fn with_images_dev(script: &str) -> TestBundle {
    let mut test = TestBundle::new(&["sh", "-c", script]);
    test.config["mounts"]
        .as_array_mut()
        .unwrap()
        .retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    test.config["root"]["readonly"] = false.into();
    test
}

/// Makes containers while the null device changes places with another one; their stdin must always be a null device.
fn race_on_null(test: &TestBundle, dev: &Path) {
    let _exchange = Exchange::of(&dev.join("null"), &dev.join("other"));
    let end = Instant::now() + RACE_TIME;
    while Instant::now() < end {
        let output = run(test);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "1:3\n", "{}", String::from_utf8_lossy(&output.stderr));
    }
}

const WHAT_IS_STDIN: &str = "stat -L -c %t:%T /proc/self/fd/0";

#[test]
fn stdin_is_no_device_that_takes_the_place_of_the_images_null_device() {
    if !can_make_containers() {
        return;
    }
    let mut test = with_images_dev(WHAT_IS_STDIN);
    let dev = test.rootfs().join("dev");
    fill(&dev);
    race_on_null(&test, &dev);
    // Nor one that the container may open itself: its output would go there.
    let may_open = json!({ "allow": true, "type": "c", "major": 1, "minor": 11, "access": "rw" });
    test.config["linux"]["resources"]["devices"].as_array_mut().unwrap().push(may_open);
    race_on_null(&test, &dev);
    test.assert_nothing_left("a race on the image's null device");
}

/// The exchange comes between the look and the opening, every time.
#[test]
fn stdin_is_the_null_device_that_was_looked_at() {
    if !can_make_containers() {
        return;
    }
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
#[test]
fn the_home_directory_is_read_from_the_file_that_was_looked_at() {
    if !can_make_containers() {
        return;
    }
    let mut test = shows_home("");
    let etc = test.rootfs().join("etc");
    fs::write(etc.join("passwd"), "root:x:0:0::/home/root:/bin/sh\n").unwrap();
    symlink(KERNEL_FILE, etc.join("other")).unwrap();
    let exchange = || fs::rename(etc.join("other"), etc.join("passwd")).unwrap();
    assert_eq!(stdout(&run_and_stop_after(&mut test, "/etc/passwd", exchange)), "/home/root\n");
}

/// While init opens what is the container's it has nothing of the caller's: a process that took hold of it would have that.
#[test]
fn init_has_no_directory_of_the_callers_open() {
    if !can_make_containers() {
        return;
    }
    let mut test = TestBundle::new(&["true"]);
    let seen = test.beside("seen");
    let script = format!("pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); ls -l /proc/$pid/fd >{}", seen.display());
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
#[test]
fn stdin_is_no_device_of_a_volume_that_a_link_puts_at_dev() {
    if !can_make_containers() {
        return;
    }
    let (test, volume) = with_volume_at_dev(false, WHAT_IS_STDIN);
    fill(&volume);
    race_on_null(&test, &volume);
    test.assert_nothing_left("a race on a volume's null device");
}

/// The container's own null device takes the place of the host's, however `/dev` comes about.
#[test]
fn stdin_is_the_containers_null_device() {
    if !can_make_containers() {
        return;
    }
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

/// The words that a file of the kernel shows, as a line of passwd: reading it shows in `HOME`.
const LINE: &str = "a:b:0:0:c:/stolen:d";
const KERNEL_FILE: &str = "/proc/sys/kernel/hostname";

fn shows_home(before: &str) -> TestBundle {
    let mut test = TestBundle::new(&["sh", "-c", &format!("{before} echo $HOME")]);
    test.config["hostname"] = LINE.into();
    test.config["root"]["readonly"] = false.into();
    test
}

#[test]
fn files_of_the_kernel_are_not_read_for_the_home_directory() {
    if !can_make_containers() {
        return;
    }
    let test = shows_home("");
    let passwd = test.rootfs().join("etc/passwd");
    symlink(KERNEL_FILE, &passwd).unwrap();
    assert_eq!(stdout(&run(&test)), "/\n");
    // A link to a file of the image is followed.
    fs::write(test.rootfs().join("etc/real"), "root:x:0:0::/home/root:/bin/sh\n").unwrap();
    fs::remove_file(&passwd).unwrap();
    symlink("/etc/real", &passwd).unwrap();
    assert_eq!(stdout(&run(&test)), "/home/root\n");
    let other = test.rootfs().join("etc/other");
    symlink(KERNEL_FILE, &other).unwrap();
    let _exchange = Exchange::of(&passwd, &other);
    let end = Instant::now() + RACE_TIME;
    while Instant::now() < end {
        let home = stdout(&run(&test));
        assert!(["/\n", "/home/root\n"].contains(&home.as_str()), "{home}");
    }
}

#[test]
fn files_of_the_kernel_are_not_read_for_the_home_directory_of_an_exec() {
    if !can_make_containers() {
        return;
    }
    let mut test = shows_home("");
    test.config["process"]["args"] = json!(["sleep", "1000"]);
    symlink(KERNEL_FILE, test.rootfs().join("etc/passwd")).unwrap();
    create(&test);
    succeed(&test, &["start", &test.id]);
    assert_eq!(succeed(&test, &["exec", &test.id, "sh", "-c", "echo $HOME"]), "/\n");
    succeed(&test, &["delete", "--force", &test.id]);
    test.assert_nothing_left("exec with a link in the place of passwd");
}

/// Whatever is in the place of passwd is looked at before it is opened, and nothing else is opened then: a device of the image would do
/// something.
#[test]
fn an_exec_opens_the_passwd_that_it_has_looked_at() {
    if !can_make_containers() {
        return;
    }
    if Command::new("strace").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skip("no strace");
    }
    for maps in [false, true] {
        let mut test = shows_home("");
        test.config["process"]["args"] = json!(["sleep", "1000"]);
        if maps {
            test.map_ids();
        }
        fs::write(test.rootfs().join("etc/passwd"), "root:x:0:0::/home/root:/bin/sh\n").unwrap();
        create(&test);
        succeed(&test, &["start", &test.id]);
        let calls = test.beside("calls");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", "trace=openat2", "-o"]).arg(&calls).args([common::CORTEN, "--root"]);
        command.arg(test.state_root()).args(["exec", &test.id, "sh", "-c", "echo $HOME"]).stdin(Stdio::null());
        assert_eq!(stdout(&command.output().unwrap()), "/home/root\n");
        let calls = fs::read_to_string(calls).unwrap();
        let opened: Vec<_> = calls.lines().filter(|line| line.contains("etc/passwd")).collect();
        assert!(opened.len() == 1 && opened[0].contains("O_PATH"), "user namespace: {maps}: {opened:?}");
        succeed(&test, &["delete", "--force", &test.id]);
        test.assert_nothing_left("exec");
    }
}

/// What a process named corten-init may do that is in a PID namespace below the host's, among those of the test's containers.
fn capabilities_of_visible_inits(test: &TestBundle) -> Vec<u64> {
    let mut found = Vec::new();
    for pid in test.processes() {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        let inside = field("NSpid").is_some_and(|pids| pids.split_whitespace().count() > 1);
        if inside && field("Name") == Some("corten-init") {
            found.extend(field("CapPrm").map(|set| u64::from_str_radix(set, 16).unwrap()));
        }
    }
    found
}

/// A process of the container with CAP_SYS_PTRACE could take hold of any that it sees, and of what that one may do.
#[test]
fn an_exec_appears_in_the_container_with_the_capabilities_of_its_program() {
    if !can_make_containers() {
        return;
    }
    let filter = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            { "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 },
            { "names": ["swapon"], "action": "SCMP_ACT_ERRNO" },
        ],
    });
    for (filter, no_new_privileges) in [(None, true), (Some(&filter), true), (Some(&filter), false)] {
        let mut test = TestBundle::new(&["sleep", "1000"]);
        test.config["process"]["noNewPrivileges"] = no_new_privileges.into();
        if let Some(filter) = filter {
            test.config["linux"]["seccomp"] = filter.clone();
        }
        create(&test);
        succeed(&test, &["start", &test.id]);
        let allowed = capabilities_of(&test.config["process"]["capabilities"]["permitted"]);
        for _ in 0..25 {
            let command = ["exec", &test.id, "grep", "^Cap\\|^Seccomp:\\|^NSsid", "/proc/self/status"];
            let child = common::corten(&test, &command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let child = std::thread::spawn(|| child.wait_with_output().unwrap());
            while !child.is_finished() {
                for seen in capabilities_of_visible_inits(&test) {
                    assert_eq!(seen & !allowed, 0, "more than {allowed:x} with {filter:?}");
                }
            }
            let seen = stdout(&child.join().unwrap());
            assert!(seen.contains(&format!("CapEff:\t{allowed:016x}")), "{seen}");
            assert!(seen.contains(if filter.is_some() { "Seccomp:\t2" } else { "Seccomp:\t0" }), "{seen}");
        }
        succeed(&test, &["delete", "--force", &test.id]);
        test.assert_nothing_left("exec");
    }
}

/// The default bundle's capabilities, as bits.
fn capabilities_of(names: &serde_json::Value) -> u64 {
    let number = |name: &serde_json::Value| match name.as_str().unwrap() {
        "CAP_KILL" => 5,
        "CAP_NET_BIND_SERVICE" => 10,
        "CAP_AUDIT_WRITE" => 29,
        other => panic!("{other}"),
    };
    names.as_array().unwrap().iter().fold(0, |all, name| all | 1 << number(name))
}

/// A filter that forbids the clone, and loading it that needs privileges: the process is made as before, and runs.
#[test]
fn an_exec_under_a_filter_without_clone() {
    if !can_make_containers() {
        return;
    }
    let mut test = TestBundle::new(&["sleep", "1000"]);
    test.config["process"]["noNewPrivileges"] = false.into();
    test.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["clone", "clone3", "fork", "vfork"], "action": "SCMP_ACT_ERRNO" }],
    });
    create(&test);
    succeed(&test, &["start", &test.id]);
    assert_eq!(succeed(&test, &["exec", &test.id, "echo", "here"]), "here\n");
    succeed(&test, &["delete", "--force", &test.id]);
}

/// For a moment the process is two; the limit is for one.
#[test]
fn an_exec_at_the_limit_of_processes() {
    if !can_make_containers() {
        return;
    }
    let mut test = TestBundle::new(&["sleep", "1000"]);
    // Nobody else's on this machine.
    let user = common::unique_user();
    test.config["process"]["user"] = json!({ "uid": user, "gid": user });
    test.config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NPROC", "hard": 2, "soft": 2 }]);
    test.own_rootfs(0);
    create(&test);
    succeed(&test, &["start", &test.id]);
    let limits = succeed(&test, &["exec", &test.id, "grep", "processes", "/proc/self/limits"]);
    assert_eq!(limits.split_whitespace().collect::<Vec<_>>(), ["Max", "processes", "2", "2", "processes"]);
    succeed(&test, &["delete", "--force", &test.id]);
}

/// A container that waits for `start`, in each way that it comes about; a root with the default capabilities that is in it.
#[test]
fn an_init_that_waits_cannot_be_looked_at_from_inside() {
    if !can_make_containers() {
        return;
    }
    for way in ways() {
        let test = TestBundle::new(&["true"]);
        let created = way.create(&test);
        let inits = state(&test)["pid"].to_string();
        // In a PID namespace that is joined it is not the first one: the last number is that in the innermost namespace.
        let status = fs::read_to_string(format!("/proc/{inits}/status")).unwrap();
        let inside = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap().split_whitespace().last();
        let script =
            format!("cat /proc/self/environ >/dev/null && readlink /proc/{}/exe || echo refused", inside.unwrap());
        let output = common::corten(&test, &["exec", &test.id, "sh", "-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "refused\n", "{way:?}");
        succeed(&test, &["delete", "--force", &test.id]);
        drop(created);
    }
}

/// Links that would lead to the host's paths if they counted from the host's root.
#[test]
fn links_of_the_image_lead_nowhere_on_the_host() {
    if !can_make_containers() {
        return;
    }
    for way in ways() {
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
}

/// Nothing of the host's is mounted in the container's namespace any more, below its root or anywhere.
#[test]
fn the_hosts_mounts_are_gone() {
    if !can_make_containers() {
        return;
    }
    for way in ways() {
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
}

/// CVE-2024-21626 once more: the caller itself hands a directory of the host on.
#[test]
fn a_directory_of_the_host_that_is_handed_on_is_no_working_directory() {
    if !can_make_containers() {
        return;
    }
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

/// A bundle in which a link of the image puts a volume at `/dev`, and the volume: the volume is mounted through the link, or the link leads
/// into the volume.
fn with_volume_at_dev(is_link: bool, script: &str) -> (TestBundle, PathBuf) {
    let mut test = with_images_dev(script);
    let volume = test.beside("volume");
    fs::create_dir(&volume).unwrap();
    if is_link {
        symlink("/data", test.rootfs().join("dev")).unwrap();
    } else {
        fs::create_dir(test.rootfs().join("dev")).unwrap();
        symlink("/dev", test.rootfs().join("data")).unwrap();
    }
    let mount = json!({ "destination": "/data", "source": volume, "options": ["bind"] });
    test.config["mounts"].as_array_mut().unwrap().push(mount);
    (test, volume)
}

/// Neither nodes nor links are made in it, and none is replaced: the volume is others', too, and outlives the container.
#[test]
fn a_volume_that_a_link_puts_at_dev_stays_as_it_is() {
    if !can_make_containers() {
        return;
    }
    for (way, is_link) in ways().flat_map(|way| [(way, true), (way, false)]) {
        let (mut test, volume) = with_volume_at_dev(is_link, "ls -A /dev/ && cat /dev/ptmx");
        fs::write(volume.join("ptmx"), "a file").unwrap();
        // In a user namespace they would be the host's nodes of these names.
        if way != Way::UserNamespace {
            let node = |path: &str| json!({ "path": path, "type": "c", "major": 1, "minor": 5, "uid": 7, "gid": 7 });
            test.config["linux"]["devices"] = ["/dev/other", "/dev/deep/er", "/elsewhere"].map(node).as_slice().into();
        }
        assert_eq!(stdout(&way.run(&test)), "ptmx\na file", "{way:?}");
        let left: Vec<_> = fs::read_dir(&volume).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["ptmx"], "{way:?}");
        assert_eq!(fs::read_to_string(volume.join("ptmx")).unwrap(), "a file", "{way:?}");
        assert_eq!(test.rootfs().join("elsewhere").exists(), way != Way::UserNamespace, "{way:?}");
        test.assert_nothing_left("a volume at /dev");
    }
}

/// Nor is there a console made in it for a terminal (CVE-2026-88264). The terminal is one of the container's own devpts, which is elsewhere in
/// the volume's place.
#[test]
fn a_volume_that_a_link_puts_at_dev_gets_no_console() {
    if !can_make_containers() {
        return;
    }
    for way in ways() {
        let (mut test, volume) = with_volume_at_dev(true, "tty; ls -A /dev/");
        fs::create_dir(volume.join("pts")).unwrap();
        test.config["process"]["terminal"] = true.into();
        let options = json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]);
        let devpts = json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": options });
        test.config["mounts"].as_array_mut().unwrap().push(devpts);
        let seen = String::from_utf8_lossy(&way.run(&test).stdout).replace("\r\n", "\n");
        // The terminal has the name that the link leads to.
        assert_eq!(seen, "/data/pts/0\npts\n", "{way:?}");
        let left: Vec<_> = fs::read_dir(&volume).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["pts"], "{way:?}");
    }
}

/// CVE-2026-88265: the null device of the image is a link, to a file of the image, of a volume, or of the host.
#[test]
fn cve_2026_88265_stdio_does_not_follow_the_images_null_device() {
    if !can_make_containers() {
        return;
    }
    for (way, to) in ways().flat_map(|way| ["/etc/file", "/data/file", "HOST"].map(|to| (way, to))) {
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
        // Where the host's nodes are mounted one would have to be mounted here: that it is a link is no reason to fail, but it may be.
        let is_refused = way == Way::UserNamespace && !output.status.success();
        assert!(is_refused || output.stdout == b"1:3\n", "{way:?}, {to}: {output:?}");
        for (file, owner) in files.iter().zip([owner, owner, 0]) {
            assert_eq!(fs::metadata(file).unwrap().uid(), owner, "{way:?}, {to}: {file:?}");
        }
    }
}

/// CVE-2019-5736 and CVE-2024-21626 by way of processes that join: what they execute, and where they work, is the container's.
#[test]
fn cve_2024_21626_cve_2019_5736_processes_that_join() {
    if !can_make_containers() {
        return;
    }
    for way in ways() {
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
        assert_eq!(String::from_utf8_lossy(&output.stderr), "corten-init: only the runtime starts this program\n");
        let script = "for exe in /proc/[0-9]*/exe; do \
            case $(readlink $exe) in *corten*) chmod 777 $exe && echo changed; : >>$exe && echo written;; esac; done; echo end";
        assert_eq!(String::from_utf8_lossy(&joins(&[&test.id, "sh", "-c", script]).stdout), "end\n", "{way:?}");
        succeed(&test, &["delete", "--force", &test.id]);
        drop(created);
        test.assert_nothing_left("processes that join");
    }
}

/// CVE-2019-16884, CVE-2019-18837 and CVE-2021-30465 by way of mounts that are added: the container that runs changes names meanwhile.
#[test]
fn cve_2021_30465_mounts_that_are_added_stay_in_the_root() {
    if !can_make_containers() {
        return;
    }
    for way in ways() {
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
            let mount = json!([{ "destination": destination, "type": "bind", "source": source, "options": ["bind"] }]);
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
        test.assert_nothing_left("mounts that are added");
    }
}

/// What a link of the image puts at `/dev` is not the container's own: nothing is taken from it.
#[test]
fn stdin_of_a_volume_at_dev_stays_the_hosts() {
    if !can_make_containers() {
        return;
    }
    let (test, volume) = with_volume_at_dev(false, "stat -L -c %d:%i /proc/self/fd/0 /dev/null");
    fill(&volume);
    let seen = stdout(&run(&test));
    let (stdin, null) = seen.trim().split_once('\n').unwrap();
    assert_ne!(stdin, null);
}

/// Stdio is given to the user of the process, but not what it would then own for all of the host.
#[test]
fn devices_and_directories_of_the_host_are_not_given_away_as_stdio() {
    if !can_make_containers() {
        return;
    }
    for way in ways() {
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
}

/// What the kernel is asked for, with the names of the flags that tell the ways apart.
#[test]
fn each_way_is_what_its_name_says() {
    if !can_make_containers() {
        return;
    }
    if Command::new("strace").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skip("no strace");
    }
    for way in ways() {
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
}

#[test]
fn the_root_of_the_host_is_no_rootfs() {
    if !can_make_containers() {
        return;
    }
    let mut test = TestBundle::new(&["true"]);
    test.config["root"]["path"] = "/proc/self/root/".into();
    let error = common::one_error(&run(&test));
    assert!(error.contains("is the root of the host"), "{error}");
    test.assert_nothing_left(&error);
}

#[test]
fn readonly_paths_cannot_be_written() {
    if !can_make_containers() {
        return;
    }
    for way in ways() {
        let test = TestBundle::new(&["sh", "-c", "echo 1 > /proc/sys/kernel/shm_rmid_forced || echo refused"]);
        let output = way.run(&test);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "refused\n", "{way:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("Read-only"), "{way:?}: {output:?}");
    }
}

/// Stops each process that it has not seen before, once.
const STOPS_ONCE: &str = "seen=' 1 '; while :; do for p in /proc/[0-9]*; do p=${p#/proc/}; case $seen in *\" $p \"*) ;; \
    *) kill -STOP $p; seen=\"$seen$p \";; esac; done; done";
/// Stops whatever it can, all the time.
const STOPS_ALWAYS: &str = "while :; do kill -STOP -1; done";

/// Runs a command that is held up; returns what it says, and sees that it does not take long.
fn in_time(mut command: std::process::Command, log: &Path) -> (bool, String) {
    let (start, said) = (Instant::now(), fs::File::create(log).unwrap());
    let status = command.stdout(Stdio::null()).stderr(said).status().unwrap();
    // Some seconds, and ten where it gives up.
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
    (status.success(), fs::read_to_string(log).unwrap())
}

/// A container's process may stop one that joins as soon as it sees it, but does not hold the runtime up by that.
#[test]
fn a_process_that_joins_is_not_held_by_being_stopped() {
    if !can_make_containers() {
        return;
    }
    for (script, mapped) in [(STOPS_ONCE, false), (STOPS_ONCE, true), (STOPS_ALWAYS, false), (STOPS_ALWAYS, true)] {
        let mut test = TestBundle::new(&["sh", "-c", script]);
        if mapped {
            test.map_ids();
        }
        let init = create(&test);
        succeed(&test, &["start", &test.id]);
        let runs =
            || -> Vec<u32> { serde_json::from_str(&succeed(&test, &["ps", "--format", "json", &test.id])).unwrap() };
        for _ in 0..if script == STOPS_ONCE { 10 } else { 2 } {
            let (succeeded, said) = in_time(corten(&test, &["exec", "-d", &test.id, "true"]), &test.beside("said"));
            assert!(succeeded || script == STOPS_ALWAYS, "{said}");
            assert!(succeeded || said.contains("it was stopped or traced by another process"), "{said}");
            assert!(succeeded || runs() == [init], "nothing of it runs");
            if succeeded {
                // The program itself is theirs to stop.
                runs().into_iter().filter(|pid| *pid != init).for_each(|pid| {
                    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
                    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).ok();
                });
                common::until("the program does not end", || runs() == [init]);
            }
        }
        succeed(&test, &["delete", "--force", &test.id]);
        test.assert_nothing_left("after the stops");
    }
}

/// The same for a container that joins a PID namespace, by its `create` and by its `start`.
#[test]
fn a_container_that_joins_is_not_held_by_being_stopped() {
    if !can_make_containers() {
        return;
    }
    let other = TestBundle::new(&["sh", "-c", STOPS_ALWAYS]);
    let pid = create(&other);
    let mut test = TestBundle::new(&["true"]);
    let namespaces = test.config["linux"]["namespaces"].as_array_mut().unwrap();
    let namespace = namespaces.iter_mut().find(|namespace| namespace["type"] == "pid").unwrap();
    namespace["path"] = json!(format!("/proc/{pid}/ns/pid"));
    create(&test);
    succeed(&other, &["start", &other.id]);
    let (succeeded, said) = in_time(corten(&test, &["start", &test.id]), &test.beside("said"));
    assert!(succeeded || said.contains("it was stopped or traced by another process"), "{said}");
    succeed(&test, &["delete", "--force", &test.id]);
    let path = test.write().path();
    let create = corten(&test, &["create", "-b", path.to_str().unwrap(), &test.id]);
    let (succeeded, said) = in_time(create, &test.beside("said"));
    assert!(succeeded || said.contains("it was stopped or traced by another process"), "{said}");
    if succeeded {
        succeed(&test, &["delete", "--force", &test.id]);
    }
    test.assert_nothing_left("after the stops");
    succeed(&other, &["delete", "--force", &other.id]);
}
