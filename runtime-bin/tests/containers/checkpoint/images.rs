//! Images, and who else reads and writes them.

use super::*;

/// A parent of the images is dumped first; what it has is not dumped again.
#[container_test]
fn memory_can_be_dumped_before() {
    if !can_checkpoint() {
        return;
    }
    let test = counting();
    run_detached(&test);
    until("no count", || count(&test) > 3);
    let parent = test.beside("parent");
    let output = corten(&test, &["checkpoint", "--pre-dump", "--image-path", text(&parent), &test.id])
        .output()
        .unwrap();
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
#[container_test]
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
    let arguments =
        ["restore", "-d", "--lazy-pages", "--image-path", text(&images), "-b", text(&bundle), &other];
    quietly(&test, &arguments);
    counts_on(&test);
    assert!(dumping.wait().unwrap().success(), "{}", fs::read_to_string(test.beside("errors")).unwrap());
    assert!(pages.wait().unwrap().success());
    succeed(&test, &["delete", "--force", &other]);
    test.assert_nothing_left("after lazy pages");
}

/// The unit that was told of the limits goes with a dump, and another comes with a restore: of the bundle as
/// it is by then.
#[container_test]
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

/// What becomes of cgroups that the container has made below its own: where init is, its limit there, which
/// was 55, and that of the container, which is the bundle's as it is by then. CRIU passes over limits of
/// cgroup v2, whatever the mode.
#[container_test]
fn cgroups_below_are_restored_as_asked() {
    if !vm::in_vm() || !can_checkpoint() {
        return;
    }
    let expected = [
        ("", "below: none, 88"),
        ("soft", "below: none, 88"),
        ("full", "below: none, 88"),
        ("ignore", "own: 88, 88"),
    ];
    let seen = [false, true].map(|systemd| expected.map(|(mode, _)| cgroups_below(systemd, mode)));
    let expected = expected.map(|(_, text)| text.to_owned());
    assert_eq!(seen, [expected.clone(), expected]);
}

fn cgroups_below(systemd: bool, mode: &str) -> String {
    let mut test = counting();
    let place =
        if systemd { format!("vm.slice:corten:{}", test.id) } else { format!("/vm-modes/{}", test.id) };
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

#[container_test]
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
#[container_test]
fn images_are_runcs() {
    if !can_checkpoint() {
        return;
    }
    let Some(runc) = ["/usr/sbin/runc", "/usr/bin/runc"].into_iter().find(|path| Path::new(path).exists())
    else {
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
#[container_test]
fn wrong_arguments() {
    let test = counting();
    let images = images(&test);
    let checkpoint = |more: &[&str]| {
        fail(&test, &[&["checkpoint", "--image-path", text(&images)], more, &[test.id.as_str()]].concat())
    };
    assert_eq!(checkpoint(&[]), "container does not exist");
    common::create(&test);
    assert_eq!(checkpoint(&[]), "Container cannot be checkpointed in created state");
    assert_eq!(checkpoint(&["--manage-cgroups-mode", "hard"]), "invalid manage-cgroups-mode value");
    assert_eq!(
        checkpoint(&["--empty-ns", "network", "--empty-ns", "uts"]),
        "namespace \"uts\" is not supported"
    );
    let server = "Use --page-server ADDRESS:PORT to specify page server";
    assert_eq!(checkpoint(&["--page-server", "localhost"]), server);
    assert_eq!(checkpoint(&["--page-server", "localhost:no"]), "Invalid port number");
    succeed(&test, &["start", &test.id]);
    until("no count", || count(&test) > 3);
    assert_eq!(checkpoint(&["--parent-path", "/tmp"]), "--parent-path must be relative");
    let error = checkpoint(&["--parent-path", "../no"]);
    assert!(
        error.starts_with("invalid --parent-path: ") && error.ends_with(": no such file or directory"),
        "{error}"
    );
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
    let error = fail(
        &test,
        &["restore", "-d", "-no-subreaper", "-b", text(&test.path()), "--image-path=/nowhere", &test.id],
    );
    assert!(error.contains("/nowhere") || error.contains("criu"), "{error}");
}

/// The container goes on where there is no CRIU, or one that cannot be used.
#[container_test]
fn criu_may_be_missing_or_old() {
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
    let mut command =
        corten(&test, &["restore", "-d", "--image-path", text(&images), "-b", text(&bundle), &other]);
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
