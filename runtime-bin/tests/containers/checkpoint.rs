//! checkpoint and restore, by CRIU: what goes on, what is refused, what is left.
//!
//! They need a CRIU that works on this kernel, in `$PATH`; each test that does says so where there is none.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::common::{
    self, CORTEN, TestBundle, can_make_containers, cgroup_mounts, corten, fail, quietly, receive, skip, state, stdout,
    succeed, until, vm,
};
use serde_json::json;

/// Counts in a file and on stdout, faster than anybody looks; ends with 7 when there is a file `stop`. Programs are in subshells, which
/// are forked: newer versions of busybox use vfork(2) for them alone, and CRIU cannot stop a shell whose child it has stopped before
/// its exec.
const COUNT: &str = "i=0; while [ ! -e /tmp/stop ]; do i=$((i+1)); echo $i; echo $i > /tmp/new; (mv /tmp/new /tmp/count); (sleep 0.02); done; exit 7";

/// Whether containers can be dumped here; says why not.
fn can_checkpoint() -> bool {
    if !can_make_containers() {
        return false;
    }
    let Ok(checked) = Command::new("criu").arg("check").output() else {
        skip("no criu in $PATH (package criu)");
        return false;
    };
    if !checked.status.success() {
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        let error = said.lines().find(|line| line.contains("Error") && !line.contains("exited, status"));
        skip(&format!("this criu does not work on this kernel: {}", error.unwrap_or("no reason given")));
        return false;
    }
    true
}

/// A bundle that counts.
fn counting() -> TestBundle {
    let mut test = TestBundle::new(&["sh", "-c", COUNT]);
    std::os::unix::fs::symlink("busybox", test.rootfs().join("bin/mv")).unwrap();
    test.config["root"]["readonly"] = false.into();
    test
}

fn count(test: &TestBundle) -> u64 {
    fs::read_to_string(test.rootfs().join("tmp/count")).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn counts_on(test: &TestBundle) {
    let before = count(test);
    until("it does not count", || count(test) > before + 2);
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn images(test: &TestBundle) -> PathBuf {
    test.beside("images")
}

fn run_detached(test: &TestBundle) {
    quietly(test, &["run", "-d", "-b", text(&test.write().path()), &test.id]);
}

fn checkpoint(test: &TestBundle, more: &[&str]) {
    let images = images(test);
    let arguments = [&["checkpoint", "--image-path", text(&images)], more, &[test.id.as_str()]].concat();
    assert_eq!(succeed(test, &arguments), "");
}

fn restore_command(test: &TestBundle, more: &[&str]) -> Command {
    let (images, bundle) = (images(test), test.path());
    corten(
        test,
        &[&["restore", "--image-path", text(&images), "-b", text(&bundle)], more, &[test.id.as_str()]].concat(),
    )
}

fn restore(test: &TestBundle, more: &[&str]) {
    let (images, bundle) = (images(test), test.path());
    let arguments = ["restore", "-d", "--image-path", text(&images), "-b", text(&bundle)];
    quietly(test, &[&arguments, more, &[test.id.as_str()]].concat());
}

fn pid(test: &TestBundle) -> u64 {
    state(test)["pid"].as_u64().unwrap()
}

fn delete(test: &TestBundle, what: &str) {
    succeed(test, &["delete", "--force", &test.id]);
    test.assert_nothing_left(what);
}

#[test]
fn a_container_goes_on() {
    if !can_checkpoint() {
        return;
    }
    let mut test = counting();
    let has_pids = |mount: &PathBuf| {
        let controllers = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
        mount.ends_with("pids") || controllers.split_whitespace().any(|controller| controller == "pids")
    };
    let is_limited = cgroup_mounts().iter().any(has_pids);
    if is_limited {
        test.config["linux"]["resources"]["pids"] = json!({ "limit": 77 });
    }
    run_detached(&test);
    until("no count", || count(&test) > 3);
    checkpoint(&test, &[]);
    assert_eq!(fail(&test, &["state", &test.id]), "container does not exist");
    test.assert_nothing_left("after a checkpoint");
    let stopped_at = count(&test);
    let pid_file = test.beside("pid");
    restore(&test, &["--pid-file", text(&pid_file)]);
    until("it does not go on", || count(&test) > stopped_at);
    let pid = pid(&test);
    assert_eq!(state(&test)["status"], "running");
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), pid.to_string());
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(cgroups.lines().any(|line| line.ends_with(&test.id)), "{cgroups}");
    let limits = cgroup_mounts().into_iter().map(|mount| mount.join(&test.id).join("pids.max"));
    let limits: BTreeSet<_> = limits.filter_map(|file| fs::read_to_string(file).ok()).collect();
    assert!(!is_limited || limits == BTreeSet::from(["77\n".to_owned()]), "{limits:?}");
    // It is a container like any other, and can be dumped again.
    assert_eq!(succeed(&test, &["exec", &test.id, "echo", "hello"]), "hello\n");
    succeed(&test, &["pause", &test.id]);
    assert_eq!(state(&test)["status"], "paused");
    succeed(&test, &["resume", &test.id]);
    checkpoint(&test, &["--leave-running"]);
    counts_on(&test);
    delete(&test, "after a restore");
    restore(&test, &[]);
    counts_on(&test);
    succeed(&test, &["kill", &test.id, "KILL"]);
    until("it does not end", || state(&test)["status"] == "stopped");
    succeed(&test, &["delete", &test.id]);
    test.assert_nothing_left("after its end");
}

#[test]
fn a_paused_container_can_be_dumped() {
    if !can_checkpoint() {
        return;
    }
    let test = counting();
    run_detached(&test);
    until("no count", || count(&test) > 3);
    succeed(&test, &["pause", &test.id]);
    checkpoint(&test, &["--leave-running"]);
    assert_eq!(state(&test)["status"], "paused");
    succeed(&test, &["resume", &test.id]);
    counts_on(&test);
    delete(&test, "after a pause");
    restore(&test, &[]);
    delete(&test, "restored after a pause");
}

/// Lines come from a pipe before and after, none twice and none left out.
#[test]
fn stdio_may_be_pipes() {
    if !can_checkpoint() {
        return;
    }
    let test = counting();
    let bundle = test.write().path();
    let start = |mut command: Command| -> (Child, BufReader<std::process::ChildStdout>) {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        (child, lines)
    };
    let (mut first, mut lines) = start(corten(&test, &["run", "-b", text(&bundle), &test.id]));
    let mut numbers = Vec::new();
    let read = |lines: &mut BufReader<_>, numbers: &mut Vec<u64>| {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        numbers.push(line.trim().parse().unwrap());
    };
    (0..5).for_each(|_| read(&mut lines, &mut numbers));
    checkpoint(&test, &[]);
    // Killed, for whoever waited for it.
    assert_eq!(first.wait().unwrap().code(), Some(137));
    let descriptors = fs::read_to_string(images(&test).join("descriptors.json")).unwrap();
    let descriptors: Vec<String> = serde_json::from_str(&descriptors).unwrap();
    assert!(descriptors.iter().all(|descriptor| descriptor.starts_with("pipe:[")), "{descriptors:?}");
    for line in lines.lines() {
        numbers.push(line.unwrap().parse().unwrap());
    }
    let (mut second, mut lines) = start(restore_command(&test, &[]));
    (0..5).for_each(|_| read(&mut lines, &mut numbers));
    let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert_eq!(numbers, expected);
    fs::write(test.rootfs().join("tmp/stop"), "").unwrap();
    assert_eq!(second.wait().unwrap().code(), Some(7), "the exit status is passed on");
    let mut errors = String::new();
    second.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(errors, "");
    test.assert_nothing_left("after a restore in the foreground");
}

/// In the foreground, what the container leaves behind comes to the caller, as with `run`.
#[test]
fn orphans_are_reaped_after_a_restore() {
    if !can_checkpoint() {
        return;
    }
    let mut test = counting();
    let fork = "if [ -e /tmp/fork ]; then busybox rm /tmp/fork; (sleep 3 & echo $! >/tmp/orphan); fi; (sleep";
    test.config["process"]["args"][2] = COUNT.replace("(sleep", fork).into();
    test.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
    let null = || Stdio::null();
    let start = |mut command: Command| command.stdin(null()).stdout(null()).stderr(null()).spawn().unwrap();
    let mut caller = start(corten(&test, &["run", "-b", text(&test.write().path()), &test.id]));
    until("no count", || count(&test) > 3);
    checkpoint(&test, &[]);
    // The pids are the host's: they are free when the first caller has reaped all.
    assert_eq!(caller.wait().unwrap().code(), Some(137));
    let mut caller = start(restore_command(&test, &[]));
    counts_on(&test);
    fs::write(test.rootfs().join("tmp/fork"), "").unwrap();
    let orphan = || fs::read_to_string(test.rootfs().join("tmp/orphan")).unwrap_or_default();
    until("no orphan", || orphan().ends_with('\n'));
    let status = PathBuf::from(format!("/proc/{}/status", orphan().trim()));
    let parent = format!("PPid:\t{}\n", caller.id());
    until("not the caller's", || fs::read_to_string(&status).unwrap_or_default().contains(&parent));
    until("not reaped", || !status.exists());
    fs::write(test.rootfs().join("tmp/stop"), "").unwrap();
    assert_eq!(caller.wait().unwrap().code(), Some(7));
    test.assert_nothing_left("after orphans");
}

#[test]
fn stdio_may_be_files_of_the_host() {
    if !can_checkpoint() {
        return;
    }
    let test = counting();
    let bundle = test.write().path();
    let out = |name: &str| {
        let file = File::options().append(true).create(true).open(test.beside(name)).unwrap();
        (file.try_clone().unwrap(), file)
    };
    let start = |mut command: Command, name| {
        let (output, errors) = out(name);
        let status = command.stdin(Stdio::null()).stdout(output).stderr(errors).status().unwrap();
        assert!(status.success(), "{}", fs::read_to_string(test.beside(name)).unwrap());
    };
    start(corten(&test, &["run", "-d", "-b", text(&bundle), &test.id]), "out");
    until("no count", || count(&test) > 3);
    checkpoint(&test, &[]);
    let stopped_at = count(&test);
    // Another file takes the place of the first.
    start(restore_command(&test, &["-d"]), "restored");
    until("it does not go on", || count(&test) > stopped_at + 3);
    delete(&test, "after files");
    let numbers = |name| {
        let text = fs::read_to_string(test.beside(name)).unwrap();
        text.lines().map(|line| line.parse::<u64>().unwrap()).collect::<Vec<_>>()
    };
    let all = [numbers("out"), numbers("restored")].concat();
    assert_eq!(all, (1..=all.len() as u64).collect::<Vec<_>>());
}

/// The null device of the host is exchanged for the container's, which a checkpoint knows by its name (runc).
#[test]
fn the_null_device_is_the_containers_own() {
    if !can_make_containers() {
        return;
    }
    let mut test = counting();
    let nulls = |test: &TestBundle| {
        run_detached(test);
        let pid = pid(test);
        let own = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
        let is_own = |fd: i32| {
            let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap();
            let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).unwrap().trim().to_owned();
            own.lines().any(|line| line.split(' ').next() == Some(&id))
        };
        let is_null = |fd: i32| fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap() == Path::new("/dev/null");
        let seen = [0, 1, 2].map(|fd| (is_null(fd), is_own(fd)));
        delete(test, "after the null device");
        seen
    };
    assert_eq!(nulls(&test), [(true, true); 3]);
    // A /dev that comes from outside is left alone.
    let mounts = test.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    mounts.push(json!({ "destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind"] }));
    assert_eq!(nulls(&test), [(true, false); 3]);
}

fn expect(from: &mut File, wanted: &str) {
    let mut heard = String::new();
    until(&format!("no {wanted:?}"), || {
        let mut fds = [nix::poll::PollFd::new(from.as_fd(), nix::poll::PollFlags::POLLIN)];
        if nix::poll::poll(&mut fds, 100u16).unwrap() > 0 {
            let mut buffer = [0; 1024];
            let length = from.read(&mut buffer).unwrap_or(0);
            heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        heard.contains(wanted)
    });
}

#[test]
fn terminals_are_restored() {
    if !can_checkpoint() {
        return;
    }
    let mut test = TestBundle::new(&["sh", "-c", "n=0; while read line; do n=$((n+1)); echo \"$n: $line\"; done"]);
    test.config["process"]["terminal"] = true.into();
    let (bundle, socket) = (test.write().path(), test.beside("console"));
    let listener = UnixListener::bind(&socket).unwrap();
    quietly(&test, &["run", "-d", "--console-socket", text(&socket), "-b", text(&bundle), &test.id]);
    let mut master = File::from(receive(&listener).fd);
    master.write_all(b"one\n").unwrap();
    expect(&mut master, "1: one");
    checkpoint(&test, &[]);
    drop(master);
    let error = fail(&test, &["restore", "-d", "--image-path", text(&images(&test)), "-b", text(&bundle), &test.id]);
    assert!(error.ends_with("cannot allocate tty if runc will detach without setting console socket"), "{error}");
    test.assert_nothing_left("no console socket");
    restore(&test, &["--console-socket", text(&socket)]);
    let mut master = File::from(receive(&listener).fd);
    master.write_all(b"two\n").unwrap();
    expect(&mut master, "2: two");
    checkpoint(&test, &[]);
    drop(master);

    // In the foreground it is the caller's.
    let error = fail(
        &test,
        &[
            "restore",
            "--console-socket",
            text(&socket),
            "--image-path",
            text(&images(&test)),
            "-b",
            text(&bundle),
            &test.id,
        ],
    );
    assert_eq!(error, "cannot use console socket if runc will not detach or allocate tty");
    let pty = nix::pty::openpty(None, None).unwrap();
    let (mut master, slave) = (File::from(pty.master), pty.slave);
    let stdio = || Stdio::from(slave.try_clone().unwrap());
    let mut child = restore_command(&test, &[]).stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
    master.write_all(b"three\n").unwrap();
    expect(&mut master, "3: three");
    // The end of the input.
    master.write_all(b"\x04").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    test.assert_nothing_left("after a terminal");
}

/// Mounts come back with their content or from their sources, even into a rootfs that has no mount points yet.
#[test]
fn mounts_are_restored() {
    if !can_checkpoint() {
        return;
    }
    let mut test = counting();
    let script = format!("echo kept > /scratch/file; {COUNT}");
    test.config["process"]["args"][2] = script.into();
    fs::create_dir_all(test.beside("data/inner")).unwrap();
    fs::write(test.beside("data/file"), "data\n").unwrap();
    fs::write(test.beside("one"), "one\n").unwrap();
    let bind = |to: &str, from: &str| json!({ "destination": to, "type": "bind", "source": test.beside(from), "options": ["rbind", "ro"] });
    let more = [
        json!({ "destination": "/scratch", "type": "tmpfs", "source": "tmpfs" }),
        bind("/data", "data"),
        bind("/linked/one", "one"),
    ];
    std::os::unix::fs::symlink("/etc/deep", test.rootfs().join("linked")).unwrap();
    test.config["mounts"].as_array_mut().unwrap().extend(more);
    run_detached(&test);
    until("no count", || count(&test) > 3);
    checkpoint(&test, &[]);
    fs::remove_dir(test.rootfs().join("data")).unwrap();
    fs::remove_file(test.rootfs().join("etc/deep/one")).unwrap();
    fs::write(test.beside("one"), "another\n").unwrap();
    restore(&test, &[]);
    counts_on(&test);
    let root = PathBuf::from(format!("/proc/{}/root", pid(&test)));
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    assert_eq!(read("scratch/file"), "kept\n");
    assert_eq!((read("data/file"), read("etc/deep/one")), ("data\n".to_owned(), "another\n".to_owned()));
    let mounts = read("proc/1/mountinfo");
    let is_readonly = |path: &str| {
        let of = |line: &str| line.split_once(&format!(" {path} ")).map(|(_, options)| options.starts_with("ro"));
        mounts.lines().any(|line| of(line) == Some(true))
    };
    for path in ["/data", "/etc/deep/one", "/proc/sys", "/sys"] {
        assert!(is_readonly(path), "{path} in {mounts}");
    }
    assert_eq!(read("proc/timer_list"), "", "masked");
    delete(&test, "after mounts");
}

#[test]
fn containers_of_docker_are_restored() {
    if !can_checkpoint() {
        return;
    }
    let mut test = TestBundle::docker(&["sh", "-c", COUNT]);
    std::os::unix::fs::symlink("busybox", test.rootfs().join("bin/mv")).unwrap();
    test.config["root"]["readonly"] = false.into();
    test.config.as_object_mut().unwrap().remove("hooks");
    run_detached(&test);
    until("no count", || count(&test) > 3);
    let status = |test: &TestBundle| {
        let status = fs::read_to_string(format!("/proc/{}/status", pid(test))).unwrap();
        let kept = ["Cap", "Seccomp", "NoNewPrivs", "Uid", "Gid", "Groups"];
        status
            .lines()
            .filter(|line| kept.iter().any(|word| line.starts_with(word)))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let before = status(&test);
    checkpoint(&test, &[]);
    restore(&test, &[]);
    counts_on(&test);
    assert_eq!(status(&test), before);
    delete(&test, "after docker's config");
}

/// The network namespace is made anew and its loopback device is up, so that who listens there can go on.
#[test]
fn listeners_on_loopback_are_restored() {
    if !can_checkpoint() {
        return;
    }
    let mut test = counting();
    let script = format!("busybox httpd -p 127.0.0.1:5555; {COUNT}");
    test.config["process"]["args"][2] = script.into();
    run_detached(&test);
    until("no count", || count(&test) > 3);
    checkpoint(&test, &[]);
    restore(&test, &[]);
    counts_on(&test);
    let tcp = fs::read_to_string(format!("/proc/{}/net/tcp", pid(&test))).unwrap();
    assert!(tcp.contains("0100007F:15B3"), "{tcp}");
    delete(&test, "after a listener");
}

#[test]
fn joined_network_namespaces_are_joined_again() {
    if !can_checkpoint() {
        return;
    }
    let mut test = counting();
    let mut holder = Command::new("unshare").args(["--net", "sleep", "1000"]).spawn().unwrap();
    let path = format!("/proc/{}/ns/net", holder.id());
    until("no namespace", || fs::read_link(&path).unwrap() != fs::read_link("/proc/self/ns/net").unwrap());
    let namespaces = test.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.iter_mut().find(|namespace| namespace["type"] == "network").unwrap()["path"] = path.clone().into();
    run_detached(&test);
    until("no count", || count(&test) > 3);
    checkpoint(&test, &[]);
    restore(&test, &[]);
    counts_on(&test);
    assert_eq!(fs::read_link(format!("/proc/{}/ns/net", pid(&test))).unwrap(), fs::read_link(&path).unwrap());
    delete(&test, "after a joined namespace");
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn user_namespaces_are_restored() {
    if !can_checkpoint() {
        return;
    }
    let mut test = counting();
    test.map_ids();
    // The container's root reads the images.
    fs::create_dir(images(&test)).unwrap();
    fs::set_permissions(images(&test), fs::Permissions::from_mode(0o755)).unwrap();
    run_detached(&test);
    until("no count", || count(&test) > 3);
    checkpoint(&test, &[]);
    restore(&test, &[]);
    counts_on(&test);
    let map = fs::read_to_string(format!("/proc/{}/uid_map", pid(&test))).unwrap();
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);
    delete(&test, "after a user namespace");
}

/// Those of the runtime run again at a restore, with the state of the new container; those inside do not (runc).
#[test]
fn hooks_run() {
    if !can_checkpoint() {
        return;
    }
    let mut test = counting();
    let (log, states) = (test.beside("hooks"), test.beside("states"));
    let hook = |kind: &str| {
        let script = format!("echo {kind} >> {}; cat >> {}", text(&log), text(&states));
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }])
    };
    for kind in ["createRuntime", "poststart", "poststop"] {
        test.config["hooks"][kind] = hook(kind);
    }
    let ran = || {
        let ran = fs::read_to_string(&log).unwrap_or_default();
        fs::write(&log, "").unwrap();
        ran
    };
    run_detached(&test);
    until("no count", || count(&test) > 3);
    assert_eq!(ran(), "createRuntime\npoststart\n");
    checkpoint(&test, &[]);
    assert_eq!(ran(), "poststop\n");
    fs::write(&states, "").unwrap();
    restore(&test, &[]);
    assert_eq!(ran(), "createRuntime\n");
    let told: serde_json::Value = serde_json::from_slice(&fs::read(&states).unwrap()).unwrap();
    assert_eq!((told["pid"].as_u64().unwrap(), &told["status"]), (pid(&test), &json!("creating")));
    checkpoint(&test, &[]);
    ran();
    // One that fails ends it.
    test.config["hooks"]["createRuntime"] = json!([{ "path": "/bin/sh", "args": ["sh", "-c", "echo no >&2; exit 3"] }]);
    test.write();
    let error =
        fail(&test, &["restore", "-d", "--image-path", text(&images(&test)), "-b", text(&test.path()), &test.id]);
    assert!(error.contains("error running createRuntime hook #0: exit status 3, stdout: , stderr: no"), "{error}");
    test.assert_nothing_left("after a hook that failed");
    assert_eq!(ran(), "poststop\n");
}

/// CRIU's own reason is in the error, and the container goes on.
#[test]
fn a_dump_that_fails_changes_nothing() {
    if !can_checkpoint() {
        return;
    }
    let mut test = counting();
    let script = format!("exec 9> /tmp/a; busybox ln /tmp/a /tmp/b; busybox rm /tmp/a; {COUNT}");
    test.config["process"]["args"][2] = script.into();
    run_detached(&test);
    until("no count", || count(&test) > 3);
    let (images, work) = (images(&test), test.beside("work"));
    let arguments = ["checkpoint", "--image-path", text(&images), "--work-path", text(&work), &test.id];
    let error = fail(&test, &arguments);
    assert!(error.starts_with("criu failed: type "), "{error}");
    assert!(error.contains("link remap") && error.contains(text(&work.join("dump.log"))), "{error}");
    assert_eq!(state(&test)["status"], "running");
    counts_on(&test);
    checkpoint(&test, &["--link-remap", "--file-locks"]);
    restore(&test, &["--file-locks"]);
    counts_on(&test);
    delete(&test, "after a link");
}

/// CRIU finds at its next word that nobody listens, and takes back what it has done to the processes. That is why it is not killed with
/// the runtime: its own code would stay in them.
#[test]
fn a_dump_whose_caller_is_killed_changes_nothing() {
    if !can_checkpoint() {
        return;
    }
    let mut test = counting();
    // It takes a while to write down.
    test.config["process"]["args"][2] = format!("x=$(head -c 40000000 /dev/zero | busybox tr '\\0' a); {COUNT}").into();
    run_detached(&test);
    until("no count", || count(&test) > 3);
    let images = images(&test);
    let mut dumping = corten(&test, &["checkpoint", "--image-path", text(&images), &test.id]);
    let mut dumping = dumping.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let log = || fs::read_to_string(images.join("dump.log")).unwrap_or_default();
    until("no dump", || log().contains("Seized task"));
    dumping.kill().unwrap();
    dumping.wait().unwrap();
    until("criu does not notice", || log().contains("Can't send response"));
    counts_on(&test);
    assert_eq!(state(&test)["status"], "running");
    fs::remove_dir_all(&images).unwrap();
    checkpoint(&test, &[]);
    restore(&test, &[]);
    counts_on(&test);
    delete(&test, "after a caller that was killed");
}

#[test]
fn a_restore_that_fails_leaves_nothing() {
    if !can_checkpoint() {
        return;
    }
    let test = counting();
    run_detached(&test);
    until("no count", || count(&test) > 3);
    checkpoint(&test, &[]);
    let (images, bundle) = (images(&test), test.path());
    let whole = ["restore", "-d", "--image-path", text(&images), "-b", text(&bundle)];
    let with = |more: &[&str]| fail(&test, &[&whole[..], more, &[test.id.as_str()]].concat());
    let broken = |name: &str, content: &[u8]| {
        let (path, kept) = (images.join(name), test.beside("kept"));
        fs::rename(&path, &kept).unwrap();
        if !content.is_empty() {
            fs::write(&path, content).unwrap();
        }
        let error = with(&["--pid-file", text(&test.beside("pid"))]);
        fs::rename(&kept, &path).unwrap();
        test.assert_nothing_left(name);
        assert!(!test.beside("pid").exists());
        error
    };
    // Some versions fall over.
    for name in ["inventory.img", "pstree.img"] {
        let error = broken(name, b"");
        assert!(error.starts_with("criu ") && error.contains("restore.log"), "{error}");
    }
    let error = broken("descriptors.json", b"");
    assert!(error.contains("descriptors.json") && error.ends_with("no such file or directory"), "{error}");
    let error = broken("descriptors.json", b"[1]");
    assert!(error.contains("descriptors.json") && error.contains("invalid type"), "{error}");
    // Somebody who does not take the terminal, or whom there is none for: what fails after the processes are there.
    let error = with(&["--pid-file", "/nowhere/pid"]);
    assert!(error.contains("/nowhere") && error.ends_with("no such file or directory"), "{error}");
    test.assert_nothing_left("no pid file");
    let none = test.beside("none");
    let error = fail(&test, &["restore", "-d", "--image-path", text(&none), "-b", text(&bundle), &test.id]);
    assert!(error.contains("none") && error.ends_with("no such file or directory"), "{error}");
    test.assert_nothing_left("no images");
    // The images are whole again.
    restore(&test, &[]);
    let error = with(&[]);
    assert_eq!(error, "container with given ID already exists");
    counts_on(&test);
    delete(&test, "after all");
}

/// A parent of the images is dumped first; what it has is not dumped again.
#[test]
fn memory_can_be_dumped_before() {
    if !can_checkpoint() {
        return;
    }
    let test = counting();
    run_detached(&test);
    until("no count", || count(&test) > 3);
    let parent = test.beside("parent");
    let output =
        corten(&test, &["checkpoint", "--pre-dump", "--image-path", text(&parent), &test.id]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(state(&test)["status"], "running");
    counts_on(&test);
    if said.starts_with("criu is missing features: [MemTrack]") {
        assert_eq!(output.status.code(), Some(1));
        delete(&test, "no pre-dump");
        skip("this kernel does not track changes of memory (CONFIG_MEM_SOFT_DIRTY): no pre-dump");
        return;
    }
    stdout(&output);
    checkpoint(&test, &["--parent-path", "../parent"]);
    restore(&test, &[]);
    counts_on(&test);
    delete(&test, "after a pre-dump");
}

/// The memory stays with the dump until it is fetched.
#[test]
fn memory_can_come_later() {
    if !can_checkpoint() {
        return;
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
    if u64::from_str_radix(capabilities, 16).unwrap() >> 24 & 1 == 0 {
        return skip("criu's page server for lazy pages needs CAP_SYS_RESOURCE, for a large pipe");
    }
    let test = counting();
    run_detached(&test);
    until("no count", || count(&test) > 3);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let (images, bundle) = (images(&test), test.path());
    // A shell hands the fd on under a number.
    let (reader, writer) = std::io::pipe().unwrap();
    let script = "exec \"$0\" --root \"$1\" checkpoint --lazy-pages --status-fd 7 --page-server \"127.0.0.1:$2\" \
                  --image-path \"$3\" \"$4\" 7>&1 >&2";
    let mut dumping = Command::new("sh")
        .args(["-c", script, CORTEN, text(&test.state_root()), &port, text(&images), &test.id])
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(File::create(test.beside("errors")).unwrap())
        .spawn()
        .unwrap();
    let mut ready = [1];
    let said = (&reader).read(&mut ready).unwrap();
    let errors = fs::read_to_string(test.beside("errors")).unwrap();
    if said == 0 && errors.starts_with("criu is missing features: [LazyPages]") {
        dumping.wait().unwrap();
        delete(&test, "no lazy pages");
        skip("this kernel or criu cannot fetch pages later (userfaultfd)");
        return;
    }
    assert_eq!((said, ready[0]), (1, 0), "{errors}");
    let mut pages = Command::new("criu")
        .args(["lazy-pages", "--page-server", "--address", "127.0.0.1", "--port", &port, "-D", text(&images)])
        .args(["-W", text(&images), "-o", "pages.log"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("no socket", || images.join("lazy-pages.socket").exists());
    // The id is taken until the dump is over.
    let other = format!("{}-lazy", test.id);
    let mut config = test.config.clone();
    config["linux"]["cgroupsPath"] = format!("/{other}").into();
    fs::write(bundle.join("config.json"), serde_json::to_vec(&config).unwrap()).unwrap();
    let arguments = ["restore", "-d", "--lazy-pages", "--image-path", text(&images), "-b", text(&bundle), &other];
    quietly(&test, &arguments);
    counts_on(&test);
    assert!(dumping.wait().unwrap().success(), "{}", fs::read_to_string(test.beside("errors")).unwrap());
    assert!(pages.wait().unwrap().success());
    succeed(&test, &["delete", "--force", &other]);
    test.assert_nothing_left("after lazy pages");
}

/// The unit that was told of the limits goes with a dump, and another comes with a restore: of the bundle as it is by then.
#[test]
fn units_of_systemd_are_made_again() {
    if !vm::in_vm() || !can_checkpoint() {
        return;
    }
    let mut test = counting();
    test.config["linux"]["cgroupsPath"] = format!("vm.slice:corten:{}", test.id).into();
    test.config["linux"]["resources"]["memory"] = json!({ "limit": 64 << 20 });
    test.config["linux"]["resources"]["pids"] = json!({ "limit": 77 });
    let unit = format!("corten-{}.scope", test.id);
    let told = || {
        let properties = ["show", "--value", "-p", "ActiveState", "-p", "MemoryMax", "-p", "TasksMax", &unit];
        vm::said("systemctl", &properties).replace('\n', " ")
    };
    let cgroup = |test: &TestBundle| vm::cgroup(&pid(test).to_string());
    quietly(&test, &["--systemd-cgroup", "run", "-d", "-b", text(&test.write().path()), &test.id]);
    until("no count", || count(&test) > 3);
    let place = cgroup(&test);
    assert!(place.ends_with(format!("vm.slice/{unit}")), "{place:?}");
    checkpoint(&test, &["--leave-running"]);
    assert_eq!(told(), "active 67108864 77 ");
    counts_on(&test);
    checkpoint(&test, &[]);
    assert!(told().starts_with("inactive ") && !place.exists(), "{}", told());
    test.config["linux"]["resources"]["pids"] = json!({ "limit": 88 });
    test.write();
    let (images, bundle) = (images(&test), test.path());
    let arguments = ["restore", "-d", "--image-path", text(&images), "-b", text(&bundle), &test.id];
    quietly(&test, &[&["--systemd-cgroup"][..], &arguments].concat());
    counts_on(&test);
    assert_eq!((cgroup(&test), told()), (place.clone(), "active 67108864 88 ".to_owned()));
    assert_eq!(fs::read_to_string(place.join("pids.max")).unwrap(), "88\n");
    delete(&test, "after a unit");
    assert!(told().starts_with("inactive ") && !place.exists(), "{}", told());
}

/// What becomes of cgroups that the container has made below its own: where init is, its limit there, which was 55, and that of the
/// container, which is the bundle's as it is by then. CRIU passes over limits of cgroup v2, whatever the mode.
#[test]
fn cgroups_below_are_restored_as_asked() {
    if !vm::in_vm() || !can_checkpoint() {
        return;
    }
    let expected =
        [("", "below: none, 88"), ("soft", "below: none, 88"), ("full", "below: none, 88"), ("ignore", "own: 88, 88")];
    let seen = [false, true].map(|systemd| expected.map(|(mode, _)| cgroups_below(systemd, mode)));
    let expected = expected.map(|(_, text)| text.to_owned());
    assert_eq!(seen, [expected.clone(), expected]);
}

fn cgroups_below(systemd: bool, mode: &str) -> String {
    let mut test = counting();
    let place = if systemd { format!("vm.slice:corten:{}", test.id) } else { format!("/vm-modes/{}", test.id) };
    test.config["linux"]["cgroupsPath"] = place.into();
    test.config["linux"]["resources"]["pids"] = json!({ "limit": 77 });
    let mounts = test.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
    mounts.push(json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup" }));
    let below = "cd /sys/fs/cgroup; mkdir below; echo $$ >below/cgroup.procs; echo +pids >cgroup.subtree_control; \
                 echo 55 >below/pids.max; cd /";
    test.config["process"]["args"][2] = format!("{below}; {COUNT}").into();
    let flag: &[&str] = if systemd { &["--systemd-cgroup"] } else { &[] };
    let mode_flag = ["--manage-cgroups-mode", mode];
    let mode_flag: &[&str] = if mode.is_empty() { &[] } else { &mode_flag };
    quietly(&test, &[flag, &["run", "-d", "-b", text(&test.write().path()), &test.id]].concat());
    until("no count", || count(&test) > 3);
    let below = vm::cgroup(&pid(&test).to_string());
    let own = below.parent().unwrap();
    checkpoint(&test, mode_flag);
    assert!(!own.exists(), "{mode}");
    test.config["linux"]["resources"]["pids"] = json!({ "limit": 88 });
    let (images, bundle) = (images(&test), test.write().path());
    let restore = ["restore", "-d", "--image-path", text(&images), "-b", text(&bundle)];
    quietly(&test, &[flag, &restore, mode_flag, &[test.id.as_str()]].concat());
    counts_on(&test);
    let now = vm::cgroup(&pid(&test).to_string());
    let name = if now == own {
        "own"
    } else {
        assert_eq!(now, below, "{mode}");
        "below"
    };
    let limit = |of: &Path| fs::read_to_string(of.join("pids.max")).unwrap_or_else(|_| "none".to_owned());
    let seen = format!("{name}: {}, {}", limit(&now).trim(), limit(own).trim());
    delete(&test, mode);
    seen
}

#[test]
fn the_annotation_names_a_config_of_criu() {
    if !can_checkpoint() {
        return;
    }
    let mut test = counting();
    let config = test.beside("criu.conf");
    fs::write(&config, "log-file named.log\n").unwrap();
    test.config["annotations"] = json!({ "org.criu.config": config });
    run_detached(&test);
    until("no count", || count(&test) > 3);
    checkpoint(&test, &[]);
    assert!(images(&test).join("named.log").exists() && !images(&test).join("dump.log").exists());
    test.config["annotations"]["org.criu.config"] = "".into();
    test.write();
    restore(&test, &[]);
    assert!(images(&test).join("restore.log").exists());
    checkpoint(&test, &[]);
    assert!(images(&test).join("dump.log").exists());
    test.assert_nothing_left("after a config");
}

/// Either restores what the other has dumped.
#[test]
fn images_are_runcs() {
    if !can_checkpoint() {
        return;
    }
    let Some(runc) = ["/usr/sbin/runc", "/usr/bin/runc"].into_iter().find(|path| Path::new(path).exists()) else {
        return skip("no runc to compare with");
    };
    let mut test = counting();
    fs::write(test.beside("criu.conf"), "network-lock nftables\n").unwrap();
    test.config["annotations"] = json!({ "org.criu.config": test.beside("criu.conf") });
    fs::create_dir(test.beside("data")).unwrap();
    let bind = json!({ "destination": "/data", "type": "bind", "source": test.beside("data"), "options": ["rbind"] });
    test.config["mounts"].as_array_mut().unwrap().push(bind);
    let (bundle, images) = (test.write().path(), images(&test));
    let by = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.arg("--root").arg(test.beside("state")).args(arguments);
        command
    };
    let with_null = |mut command: Command| {
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.unwrap().success()
    };
    // What reads the pipes lives as long as this test.
    let piped = |mut command: Command| {
        let (reader, writer) = std::io::pipe().unwrap();
        let (input, open) = std::io::pipe().unwrap();
        let copy = writer.try_clone().unwrap();
        let status = command.stdin(input).stdout(writer).stderr(copy).status().unwrap();
        drop(command);
        std::thread::spawn(move || {
            let open = open;
            std::io::copy(&mut &reader, &mut std::io::sink()).ok();
            drop(open);
        });
        status.success()
    };
    for (first, second, is_piped) in
        [(runc, CORTEN, true), (CORTEN, runc, true), (runc, CORTEN, false), (CORTEN, runc, false)]
    {
        let run = |command| if is_piped { piped(command) } else { with_null(command) };
        assert!(run(by(first, &["run", "-d", "-b", text(&bundle), &test.id])), "{first} run");
        until("no count", || count(&test) > 3);
        let dumped = by(first, &["checkpoint", "--image-path", text(&images), &test.id]).output().unwrap();
        assert!(dumped.status.success(), "{first}: {}", String::from_utf8_lossy(&dumped.stderr));
        let stopped_at = count(&test);
        let restore = ["restore", "-d", "--image-path", text(&images), "-b", text(&bundle), &test.id];
        assert!(run(by(second, &restore)), "{second}: {:?}", fs::read_to_string(images.join("restore.log")));
        until("it does not go on", || count(&test) > stopped_at);
        assert!(by(second, &["delete", "--force", &test.id]).status().unwrap().success());
        test.assert_nothing_left(second);
        fs::remove_dir_all(&images).unwrap();
        fs::remove_file(test.rootfs().join("tmp/count")).unwrap();
    }
}

/// Those that CRIU is not needed for, which other than the last are runc's words.
#[test]
fn wrong_arguments() {
    if !can_make_containers() {
        return;
    }
    let test = counting();
    let images = images(&test);
    let checkpoint = |more: &[&str]| {
        fail(&test, &[&["checkpoint", "--image-path", text(&images)], more, &[test.id.as_str()]].concat())
    };
    assert_eq!(checkpoint(&[]), "container does not exist");
    common::create(&test);
    assert_eq!(checkpoint(&[]), "Container cannot be checkpointed in created state");
    assert_eq!(checkpoint(&["--manage-cgroups-mode", "hard"]), "invalid manage-cgroups-mode value");
    assert_eq!(checkpoint(&["--empty-ns", "network", "--empty-ns", "uts"]), "namespace \"uts\" is not supported");
    let server = "Use --page-server ADDRESS:PORT to specify page server";
    assert_eq!(checkpoint(&["--page-server", "localhost"]), server);
    assert_eq!(checkpoint(&["--page-server", "localhost:no"]), "Invalid port number");
    succeed(&test, &["start", &test.id]);
    until("no count", || count(&test) > 3);
    assert_eq!(checkpoint(&["--parent-path", "/tmp"]), "--parent-path must be relative");
    let error = checkpoint(&["--parent-path", "../no"]);
    assert!(error.starts_with("invalid --parent-path: ") && error.ends_with(": no such file or directory"), "{error}");
    let error = checkpoint(&["--lazy-pages", "--status-fd", "99"]);
    assert!(error.starts_with("invalid --status-fd argument 99: "), "{error}");
    let error = checkpoint(&["--lazy-pages", "--status-fd", "0"]);
    assert_eq!(error, "invalid --status-fd argument 0: not writable");
    succeed(&test, &["kill", &test.id, "KILL"]);
    until("it does not end", || state(&test)["status"] == "stopped");
    assert_eq!(checkpoint(&[]), "Container cannot be checkpointed in stopped state");
    delete(&test, "after wrong arguments");

    // What podman asks, to see whether there is a checkpoint and what restore can do.
    let help = corten(&test, &["checkpoint", "--help"]).output().unwrap();
    assert!(stdout(&help).contains("--leave-running"));
    let output = corten(&test, &["restore", "--lsm-mount-context"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr, "flag needs an argument: -lsm-mount-context\n");
    let error =
        fail(&test, &["restore", "-d", "-no-subreaper", "-b", text(&test.path()), "--image-path=/nowhere", &test.id]);
    assert!(error.contains("/nowhere") || error.contains("criu"), "{error}");
    test.assert_nothing_left("after a restore of nothing");
}

/// The container goes on where there is no CRIU, or one that cannot be used.
#[test]
fn criu_may_be_missing_or_old() {
    if !can_make_containers() {
        return;
    }
    let test = counting();
    run_detached(&test);
    until("no count", || count(&test) > 3);
    let programs = test.beside("programs");
    fs::create_dir(&programs).unwrap();
    let (images, bundle) = (images(&test), test.path());
    let checkpoint = || {
        let mut command = corten(&test, &["checkpoint", "--image-path", text(&images), &test.id]);
        common::one_error(&command.env("PATH", &programs).output().unwrap())
    };
    let missing = "checkpoint and restore need the program criu, which is not in $PATH (package criu)";
    assert_eq!(checkpoint(), missing);
    let other = format!("{}-restored", test.id);
    let mut command = corten(&test, &["restore", "-d", "--image-path", text(&images), "-b", text(&bundle), &other]);
    assert_eq!(common::one_error(&command.env("PATH", &programs).output().unwrap()), missing);
    let criu = |script: &str| {
        fs::write(programs.join("new"), format!("#!/bin/bash\n{script}\n")).unwrap();
        fs::set_permissions(programs.join("new"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(programs.join("new"), programs.join("criu")).unwrap();
    };
    // VERSION, success, 3.12
    criu(
        "/bin/dd bs=4096 count=1 <&$2 >/dev/null 2>&1; printf '\\010\\012\\020\\001\\122\\004\\010\\003\\020\\014' | /bin/dd >&$2 2>/dev/null",
    );
    assert_eq!(checkpoint(), "criu 3.12 is too old: 3.16 or newer is needed");
    criu("echo 'Error (criu/vdso.c:381): vdso: Unexpected rt vDSO area bounds' >&2; exit 1");
    assert_eq!(
        checkpoint(),
        "criu ended without an answer: exit status: 1: criu/vdso.c:381: vdso: Unexpected rt vDSO area bounds"
    );
    criu("/bin/dd bs=4096 count=1 <&$2 >/dev/null 2>&1; echo nonsense >&$2");
    assert_eq!(checkpoint(), "criu does not keep to the protocol");
    criu("kill -9 $$");
    assert_eq!(
        checkpoint(),
        "criu ended without an answer: signal: 9 (SIGKILL): `criu check` tells whether it works on this kernel"
    );
    counts_on(&test);
    delete(&test, "without criu");
}
