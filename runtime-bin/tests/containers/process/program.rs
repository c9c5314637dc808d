//! What the program is, where it begins, and what it is told: terminal, working directory, environment.

use super::*;

#[container_test]
fn a_terminal_has_its_size_and_its_owner() {
    let script = "stty size; tty; stat -c '%u %a' $(tty); test -t 0 -a -t 1 -a -t 2 && echo all";
    let change = |test: &mut TestBundle| {
        test.config["process"]["terminal"] = true.into();
        test.config["process"]["consoleSize"] = json!({ "height": 33, "width": 77 });
        test.config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    };
    both(script, change, |seen| assert_eq!(seen, "33 77\n/dev/pts/0\n1000 620\nall\n"));
}

/// It is for those who write the config, as with runc and crun.
#[container_test]
fn term_comes_from_the_config_alone() {
    let of_exec = Sleeper::plain();
    for (env, expected) in [
        (json!(["PATH=/bin"]), "none"),
        (json!(["PATH=/bin", "TERM=vt52"]), "vt52"),
        (json!(["PATH=/bin", "TERM="]), ""),
    ] {
        for terminal in [false, true] {
            let mut test = shell("echo ${TERM-none}");
            test.config["process"]["terminal"] = terminal.into();
            test.config["process"]["env"] = env.clone();
            assert_eq!(stdout(&run(&test)).trim_end(), expected, "{terminal}");
            let args = json!(["sh", "-c", "echo ${TERM-none}"]);
            let file =
                of_exec.process(&json!({ "terminal": terminal, "env": env, "cwd": "/", "args": args }));
            assert_eq!(of_exec.prints(&["--process", &file], &[]).trim_end(), expected, "{terminal}");
        }
    }
}

// Working directory

#[container_test]
fn the_working_directory_is_made_or_followed() {
    for (cwd, expected) in [
        ("/", "/ 555\n"),
        ("/made/for/it", "/made/for/it 755\n"),
        ("/link", "/etc 755\n"),
        ("/up", "/tmp 755\n"),
        // Init goes there while it still may.
        ("/closed", "/closed\n"),
        ("/tmp/../etc/./", "/etc 755\n"),
    ] {
        let change = |test: &mut TestBundle| {
            let mapped = test.config["linux"].get("uidMappings").is_some();
            let shift = if mapped { 100_000 } else { 0 };
            let root = test.rootfs();
            symlink("/etc", root.join("link")).unwrap();
            symlink("../../../../tmp", root.join("up")).unwrap();
            fs::create_dir(root.join("closed")).unwrap();
            for (directory, owner, mode) in
                [("closed", 2000, 0o700), ("", 0, 0o555), ("etc", 0, 0o755), ("tmp", 0, 0o755)]
            {
                chown(root.join(directory), Some(owner + shift), Some(owner + shift)).unwrap();
                fs::set_permissions(root.join(directory), fs::Permissions::from_mode(mode)).unwrap();
            }
            let process = &mut test.config["process"];
            process["cwd"] = cwd.into();
            process["user"] = json!({ "uid": 1000, "gid": 1000 });
        };
        both("echo $(readlink /proc/self/cwd) $(stat -c %a . 2>/dev/null)", change, |seen| {
            assert_eq!(seen, expected, "{cwd}");
        });
    }
}

#[container_test]
fn a_working_directory_that_cannot_be() {
    for cwd in ["relative", "", "/bin/busybox", "/bin/busybox/below", "/loop"] {
        let mut test = shell("pwd");
        symlink("/loop", test.rootfs().join("loop")).unwrap();
        test.config["process"]["cwd"] = cwd.into();
        let error = refused(&test);
        assert!(error.contains("process.cwd"), "{cwd}: {error}");
    }
}

// Environment

#[container_test]
fn of_equal_variables_the_last_counts() {
    let mut test = TestBundle::new(&["env"]);
    test.config["process"]["env"] = json!([
        "PATH=/nowhere",
        "A=1",
        "EMPTY=",
        "B=x=y",
        "A=2",
        "HOME=/one",
        "PATH=/bin",
        "HOME=/two",
        "EMPTY="
    ]);
    assert_eq!(stdout(&run(&test)), "B=x=y\nA=2\nPATH=/bin\nHOME=/two\nEMPTY=\n");
    for (env, problem) in [("", "process.env[0]"), ("NAME", "process.env[0]"), ("=value", "process.env[0]")] {
        test.config["process"]["env"] = json!([env]);
        let error = refused(&test);
        assert!(error.contains(problem), "{error}");
    }
    // No environment at all.
    let mut test = TestBundle::new(&["/bin/env"]);
    test.config["process"].as_object_mut().unwrap().remove("env");
    assert_eq!(stdout(&run(&test)), "HOME=/\n");
}

#[container_test]
fn home_comes_from_passwd() {
    let ordinary = "root:x:0:0:root:/root:/bin/sh\nme:x:1000:1000:Me:/home/me:/bin/sh\n";
    let long_line = format!("long:x:7:7:{}:/long:/bin/sh\n{ordinary}", "x".repeat(100_000));
    let long_home = format!("me:x:1000:1000::/{}:/bin/sh\n", "h".repeat(2000));
    for (passwd, uid, expected) in [
        (Some(ordinary), 0, "/root"),
        (Some(ordinary), 1000, "/home/me"),
        (Some(ordinary), 1001, "/"),
        (Some(ordinary), 100, "/"),
        (None, 0, "/"),
        (Some(""), 0, "/"),
        (Some("no\n:::\n\n::::::::\nme:x:1000:1000::/late:/bin/sh"), 1000, "/late"),
        (Some("me:x:1000:1000:::/bin/sh\n"), 1000, "/"),
        (Some("a:x:01000:1::/a:/bin/sh\nme:x:1000:1::/b:/bin/sh\n"), 1000, "/a"),
        (Some(&long_line), 1000, "/home/me"),
        (Some(&long_home), 1000, "/"),
    ] {
        let mut test = TestBundle::new(&["sh", "-c", "echo $HOME"]);
        if let Some(passwd) = passwd {
            fs::write(test.rootfs().join("etc/passwd"), passwd).unwrap();
        }
        test.config["process"]["user"] = json!({ "uid": uid, "gid": uid });
        assert_eq!(stdout(&run(&test)).trim_end(), expected, "uid {uid}");
    }
    // The config's wins; an empty one is none.
    for (home, expected) in [("HOME=/mine", "/mine"), ("HOME=", "/root")] {
        let change = |test: &mut TestBundle| {
            fs::write(test.rootfs().join("etc/passwd"), ordinary).unwrap();
            test.config["process"]["env"] = json!(["PATH=/bin", home]);
        };
        both("echo $HOME", change, |seen| assert_eq!(seen.trim_end(), expected));
    }
}

#[container_test]
fn a_passwd_that_is_no_file_is_not_read() {
    let fifo = |path: &Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let host = |path: &Path| symlink("/../../../../../../../etc/passwd", path).unwrap();
    let itself = |path: &Path| symlink("passwd", path).unwrap();
    let directory = |path: &Path| fs::create_dir(path).unwrap();
    let kinds: [&dyn Fn(&Path); 4] = [&fifo, &host, &itself, &directory];
    for make in kinds {
        let test = TestBundle::new(&["sh", "-c", "echo $HOME"]);
        make(&test.rootfs().join("etc/passwd"));
        assert_eq!(stdout(&run(&test)), "/\n");
    }
    // A link inside is followed.
    let test = TestBundle::new(&["sh", "-c", "echo $HOME"]);
    symlink("/tmp/users", test.rootfs().join("etc/passwd")).unwrap();
    fs::write(test.rootfs().join("tmp/users"), "root:x:0:0::/linked:/bin/sh\n").unwrap();
    assert_eq!(stdout(&run(&test)), "/linked\n");
}

// The program

#[container_test]
fn the_program_is_searched_in_the_containers_path() {
    for (program, path, cwd, found) in [
        ("busybox", Some("/nowhere:/etc:/bin"), "/", true),
        ("busybox", Some("/dir:/data:/bin"), "/", true),
        ("./busybox", Some("/nowhere"), "/bin", true),
        ("bin/busybox", None, "/", true),
        ("../bin/busybox", None, "/etc", true),
        ("/bin/busybox", None, "/", true),
        ("busybox", Some("/nowhere"), "/bin", false),
        ("busybox", Some(""), "/bin", false),
        ("busybox", None, "/bin", false),
        ("busybox", Some("/nowhere:"), "/bin", true),
    ] {
        let mut test = TestBundle::new(&[program, "echo", "found"]);
        fs::create_dir_all(test.rootfs().join("dir/busybox")).unwrap();
        fs::create_dir_all(test.rootfs().join("data")).unwrap();
        fs::write(test.rootfs().join("data/busybox"), "no program").unwrap();
        let env: Vec<String> = path.iter().map(|path| format!("PATH={path}")).collect();
        test.config["process"]["env"] = json!(env);
        test.config["process"]["cwd"] = cwd.into();
        if found {
            assert_eq!(stdout(&run(&test)), "found\n", "{program} in {path:?}");
        } else {
            let error = refused(&test);
            assert!(
                error.ends_with("exec: \"busybox\": executable file not found in $PATH"),
                "{path:?}: {error}"
            );
        }
    }
}

/// Engines choose an exit status by these words.
#[container_test(Root, UserNamespace)]
fn three_messages_about_programs(variant: Variant) {
    for (program, words) in [
        ("missing", "exec: \"missing\": executable file not found in $PATH"),
        ("", "exec: \"\": executable file not found in $PATH"),
        ("/missing", "exec: \"/missing\": stat /missing: no such file or directory"),
        ("./missing", "exec: \"./missing\": stat ./missing: no such file or directory"),
        ("/bin/busybox/x", "exec: \"/bin/busybox/x\": stat /bin/busybox/x: not a directory"),
        ("/etc/data", "exec: \"/etc/data\": permission denied"),
        ("/etc", "exec: \"/etc\": is a directory"),
    ] {
        let mut test = TestBundle::new(&[program]);
        let etc = test.rootfs().join("etc");
        fs::write(etc.join("data"), "data").unwrap();
        variant.apply(&mut test);
        let error = refused(&test);
        assert!(error.ends_with(words), "{error}");
    }
}

/// config.md: it is required when `start` is called, not before.
#[container_test(Root, UserNamespace)]
fn a_config_without_a_process(variant: Variant) {
    let mut test = shell("true");
    variant.apply(&mut test);
    test.config.as_object_mut().unwrap().remove("process");
    let path = test.write().path();
    let errors = test.beside("errors");
    let mut create = corten(&test, &["create", "-b", path.to_str().unwrap(), &test.id]);
    let status = create.stdout(Stdio::null()).stderr(fs::File::create(&errors).unwrap()).status().unwrap();
    let said = fs::read_to_string(errors).unwrap();
    assert!(status.success(), "{said}");
    assert_eq!(said.trim_end(), "process: not given, so that there will be nothing to start");
    let state = || serde_json::from_str::<Value>(&succeed(&test, &["state", &test.id])).unwrap();
    assert_eq!(state()["status"], "created");
    succeed(&test, &["start", &test.id]);
    let deadline = Instant::now() + Duration::from_secs(10);
    while state()["status"] != "stopped" {
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    succeed(&test, &["delete", &test.id]);
    test.assert_nothing_left("no process");
    // Whoever runs a container wants something to run.
    assert_eq!(refused(&test), "corten run failed: process: missing");
}
