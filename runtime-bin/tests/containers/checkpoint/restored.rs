//! What is as before after a restore.

use super::*;

#[container_test]
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

#[container_test]
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
#[container_test]
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
#[container_test]
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

#[container_test]
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
#[container_test]
fn the_null_device_is_the_containers_own() {
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
        let is_null =
            |fd: i32| fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap() == Path::new("/dev/null");
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

#[container_test]
fn terminals_are_restored() {
    if !can_checkpoint() {
        return;
    }
    let mut test =
        TestBundle::new(&["sh", "-c", "n=0; while read line; do n=$((n+1)); echo \"$n: $line\"; done"]);
    test.config["process"]["terminal"] = true.into();
    let (bundle, socket) = (test.write().path(), test.beside("console"));
    let listener = UnixListener::bind(&socket).unwrap();
    quietly(&test, &["run", "-d", "--console-socket", text(&socket), "-b", text(&bundle), &test.id]);
    let mut master = File::from(receive(&listener).fd);
    master.write_all(b"one\n").unwrap();
    expect(&mut master, "1: one");
    checkpoint(&test, &[]);
    drop(master);
    let error =
        fail(&test, &["restore", "-d", "--image-path", text(&images(&test)), "-b", text(&bundle), &test.id]);
    assert!(
        error.ends_with("cannot allocate tty if runc will detach without setting console socket"),
        "{error}"
    );
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
    let mut child =
        restore_command(&test, &[]).stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
    master.write_all(b"three\n").unwrap();
    expect(&mut master, "3: three");
    // The end of the input.
    master.write_all(b"\x04").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    test.assert_nothing_left("after a terminal");
}

/// Mounts come back with their content or from their sources, even into a rootfs that has no mount points
/// yet.
#[container_test]
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
        let of =
            |line: &str| line.split_once(&format!(" {path} ")).map(|(_, options)| options.starts_with("ro"));
        mounts.lines().any(|line| of(line) == Some(true))
    };
    for path in ["/data", "/etc/deep/one", "/proc/sys", "/sys"] {
        assert!(is_readonly(path), "{path} in {mounts}");
    }
    assert_eq!(read("proc/timer_list"), "", "masked");
    delete(&test, "after mounts");
}

#[container_test]
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
#[container_test]
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

#[container_test]
fn joined_network_namespaces_are_joined_again() {
    if !can_checkpoint() {
        return;
    }
    let mut test = counting();
    let mut holder = Command::new("unshare").args(["--net", "sleep", "1000"]).spawn().unwrap();
    let path = format!("/proc/{}/ns/net", holder.id());
    until("no namespace", || fs::read_link(&path).unwrap() != fs::read_link("/proc/self/ns/net").unwrap());
    let namespaces = test.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.iter_mut().find(|namespace| namespace["type"] == "network").unwrap()["path"] =
        path.clone().into();
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

#[container_test]
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

/// Those of the runtime run again at a restore, with the state of the new container; those inside do not
/// (runc).
#[container_test]
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
    test.config["hooks"]["createRuntime"] =
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", "echo no >&2; exit 3"] }]);
    test.write();
    let error = fail(
        &test,
        &["restore", "-d", "--image-path", text(&images(&test)), "-b", text(&test.path()), &test.id],
    );
    assert!(
        error.contains("error running createRuntime hook #0: exit status 3, stdout: , stderr: no"),
        "{error}"
    );
    test.assert_nothing_left("after a hook that failed");
    assert_eq!(ran(), "poststop\n");
}
