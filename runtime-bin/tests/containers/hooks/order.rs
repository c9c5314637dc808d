//! When hooks run, where, and with what.

use super::*;

const RECORD: &str = "cat > $D/$K.state; pwd > $D/$K.cwd; id -u > $D/$K.uid; \
    for n in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$n; done > $D/$K.ns; \
    test -e \"$D/../host\" && echo host > $D/$K.sees; \
    pid=$(grep -o '\"pid\":[0-9]*' $D/$K.state); pid=${pid#*:}; \
    test -n \"$pid\" && { cat /proc/$pid/comm > $D/$K.comm; cat /proc/$pid/mountinfo > $D/$K.mounts; }; \
    grep ' rootfs/proc \\| .*/rootfs/proc ' /proc/self/mountinfo > $D/$K.own; \
    ls proc/version > $D/$K.version; echo $K.0 >> $D/order";

#[container_test(Root, UserNamespace)]
fn kinds_in_their_places(variant: Variant) {
    let mapped = variant.is_mapped();
    let mut test = bundle(&["sleep", "1000"]);
    test.config["annotations"] = json!({ "some.key": "some value" });
    test.config["process"]["cwd"] = json!("/tmp");
    variant.apply(&mut test);
    fs::write(test.beside("host"), "").unwrap();
    for kind in KINDS {
        add(&mut test, kind, RECORD);
        add(&mut test, kind, "echo $K.1 >> $D/order");
    }
    let both = |kinds: &[&str]| -> Vec<_> {
        kinds.iter().flat_map(|k| [format!("{k}.0"), format!("{k}.1")]).collect()
    };

    create(&test);
    assert_eq!(lines(&test, "order"), both(&KINDS[..3]));
    let pid = state(&test)["pid"].clone();
    let (host, container) = (namespaces("self"), namespaces(&pid.to_string()));
    assert_eq!(host[5] != container[5], mapped);
    succeed(&test, &["start", &test.id]);
    assert_eq!(lines(&test, "order"), both(&KINDS[..5]));
    succeed(&test, &["delete", "--force", &test.id]);
    assert_eq!(lines(&test, "order"), both(&KINDS));
    test.assert_nothing_left("all hooks");

    // A prestart hook sees what crun shows it: for those who wrote such hooks the container was created.
    let statuses = ["created", "creating", "creating", "created", "running", "stopped"];
    for (kind, status) in KINDS.into_iter().zip(statuses) {
        let inside = matches!(kind, "createContainer" | "startContainer");
        let mut wanted = json!({
            "ociVersion": "1.3.0", "id": test.id, "status": status, "bundle": test.path(),
            "annotations": { "some.key": "some value" },
        });
        match kind {
            "poststop" => {}
            _ if inside => wanted["pid"] = json!(1),
            _ => wanted["pid"] = pid.clone(),
        }
        let got: Value = serde_json::from_str(&written(&test, &format!("{kind}.state"))).unwrap();
        assert_eq!(got, wanted, "{kind}");
        let own = lines(&test, &format!("{kind}.ns"));
        assert_eq!(own, if inside { &container[..] } else { &host[..] }, "{kind}");
        let cwd = match kind {
            "createContainer" => test.rootfs(),
            "startContainer" => "/tmp".into(),
            _ => test.path(),
        };
        assert_eq!(lines(&test, &format!("{kind}.cwd")), [cwd.to_str().unwrap()], "{kind}");
        assert_eq!(lines(&test, &format!("{kind}.uid")), ["0"], "{kind}");
        let sees_host = written(&test, &format!("{kind}.sees")) == "host\n";
        assert_eq!(sees_host, kind != "startContainer", "{kind}");
    }
    // Before pivot_root(2), and all mounts are made.
    let proc = test.rootfs().join("proc").display().to_string();
    for kind in ["prestart", "createRuntime"] {
        let mounts = written(&test, &format!("{kind}.mounts"));
        for path in ["proc", "dev/pts", "sys/fs/cgroup", "out"] {
            let path = test.rootfs().join(path).display().to_string();
            assert!(mounts.contains(&format!(" {path} ")), "{kind}: {path} in {mounts}");
        }
        assert!(mounts.contains(" / / "), "{kind}: {mounts}");
        assert_eq!(
            written(&test, &format!("{kind}.own")),
            "",
            "{kind}: the host sees the container's mounts"
        );
    }
    assert!(written(&test, "createContainer.own").contains(&format!(" {proc} ")));
    assert_eq!(written(&test, "createContainer.version"), "proc/version\n");
    // The program has begun.
    assert_eq!(written(&test, "createRuntime.comm"), "corten-init\n");
    assert_eq!(written(&test, "poststart.comm"), "sleep\n");
}

/// `start` has not come back, and the program runs, while poststart hooks do; poststop hooks see nothing of
/// the container.
#[container_test]
fn poststart_and_poststop_see_the_container() {
    let mut test = bundle(&["sh", "-c", "echo begun > /out/begun; exec sleep 1000"]);
    let ask = format!("{CORTEN} --root {} state {} >$D/$K.asked 2>&1", test.state_root().display(), test.id);
    add(&mut test, "createRuntime", &ask);
    add(&mut test, "poststart", &format!("until test -s $D/begun; do sleep 0.01; done; {ask}"));
    let cgroups =
        format!("ls -d /sys/fs/cgroup/{0} /sys/fs/cgroup/unified/{0} >$D/cgroups 2>/dev/null", test.id);
    add(&mut test, "poststop", &format!("{ask}; {cgroups}; true"));
    create(&test);
    assert_eq!(written(&test, "begun"), "");
    succeed(&test, &["start", &test.id]);
    succeed(&test, &["delete", "--force", &test.id]);
    let status = |kind: &str| -> Value {
        let state: Value = serde_json::from_str(&written(&test, &format!("{kind}.asked"))).unwrap();
        state["status"].clone()
    };
    assert_eq!(status("createRuntime"), "creating");
    assert_eq!(status("poststart"), "running");
    assert_eq!(written(&test, "poststop.asked"), "container does not exist\n");
    assert_eq!(written(&test, "cgroups"), "");
}

/// Hooks that give the container something to mount find its root where the bundle has it, in the container's
/// namespace.
#[container_test(Root, UserNamespace)]
fn what_hooks_mount_is_the_container_s(variant: Variant) {
    let mapped = variant.is_mapped();
    let mut test = bundle(&["sh", "-c", "cat /etc/a/file /etc/b/file /etc/c/file; ls /etc"]);
    for name in ["a", "b", "c"] {
        fs::create_dir(test.rootfs().join("etc").join(name)).unwrap();
    }
    variant.apply(&mut test);
    let state = "pid=$(grep -o '\"pid\":[0-9]*'); pid=${pid#*:}";
    let etc = test.rootfs().join("etc");
    let mount =
        |name: &str| format!("mount -t tmpfs {name} {0}/{name}; echo {name} >{0}/{name}/file", etc.display());
    for (kind, name) in [("prestart", "a"), ("createRuntime", "b")] {
        add(&mut test, kind, &format!("{state}; nsenter -t $pid -m sh -c '{}'", mount(name)));
    }
    let here = format!("mount -t tmpfs c {0}/c; echo c >etc/c/file", etc.display());
    add(&mut test, "createContainer", &here);
    assert_eq!(stdout(&common::run(&test)), "a\nb\nc\na\nb\nc\n", "mapped {mapped}");
    // A directory that the container's root may not pass is no obstacle to the container.
    let mut test = bundle(&["echo", "here"]);
    test.map_ids();
    fs::set_permissions(test.path().parent().unwrap(), PermissionsExt::from_mode(0o700)).unwrap();
    add(&mut test, "createContainer", "true");
    assert_eq!(stdout(&common::run(&test)), "here\n");
    // Without pivot_root(2) there are hooks, too.
    let mut test = bundle(&["echo", "here"]);
    add(&mut test, "createContainer", "ls -d etc >$D/$K");
    assert!(detached(&test, &["run", "--no-pivot"]).status().unwrap().success());
    assert_eq!(written(&test, "createContainer"), "etc\n");
}

/// A hook's environment: the caller's for the runtime's hooks, nothing for createContainer, the process's for
/// startContainer; or what the config gives it.
#[container_test]
fn environments() {
    let mut test = bundle(&["sleep", "1000"]);
    let output = test.beside("output");
    test.config["annotations"] = json!({ "run.oci.hooks.stdout": output });
    let variants =
        [("absent", None), ("given", Some(json!(["A=1", "B=x=y", "C="]))), ("empty", Some(json!([])))];
    for kind in KINDS {
        for (name, given) in &variants {
            add(&mut test, kind, &format!("printf '%s' '\n{name} $K:'").replace("$K", kind));
            // Not through a shell, which would add to it.
            let mut hook = json!({ "path": "/bin/busybox", "args": ["cat", "/proc/self/environ"] });
            if let Some(given) = given {
                hook["env"] = given.clone();
            }
            push(&mut test, kind, hook);
        }
    }
    let marked = |command: &mut Command, mark: &str| {
        let status =
            command.env_clear().env("MARK", mark).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(status.unwrap().success(), "{mark}");
    };
    marked(&mut detached(&test, &["create"]), "create");
    marked(&mut corten(&test, &["start", &test.id]), "start");
    marked(&mut corten(&test, &["delete", "--force", &test.id]), "delete");
    let process = "PATH=/usr/sbin:/usr/bin:/sbin:/bin\0TERM=xterm\0HOME=/\0";
    let mut wanted = String::new();
    for kind in KINDS {
        let (absent, empty) = match kind {
            "createContainer" => ("", ""),
            // runc: an empty list is none.
            "startContainer" => (process, process),
            "poststart" => ("MARK=start\0", ""),
            "poststop" => ("MARK=delete\0", ""),
            _ => ("MARK=create\0", ""),
        };
        wanted += &format!("\nabsent {kind}:{absent}\ngiven {kind}:A=1\0B=x=y\0C=\0\nempty {kind}:{empty}");
    }
    assert_eq!(fs::read_to_string(output).unwrap(), wanted);
}

#[container_test]
fn arguments() {
    let mut test = bundle(&["true"]);
    let script = "#!/bin/busybox sh\nd=/out; test -d $d || d=\"${0%/*}/out\"; echo \"$# $0\" >>$d/bare\n";
    for path in [test.beside("script"), test.rootfs().join("script")] {
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    for kind in KINDS {
        let mut with_arguments = hook(&test, kind, "for a in \"$0\" \"$@\"; do echo \"$a\"; done >$D/$K");
        with_arguments["args"].as_array_mut().unwrap().extend([
            json!("zero"),
            json!("one two"),
            json!(""),
            json!("é"),
        ]);
        push(&mut test, kind, with_arguments);
        let path = if kind == "startContainer" { "/script".into() } else { test.beside("script") };
        push(&mut test, kind, json!({ "path": path }));
        push(&mut test, kind, json!({ "path": path, "args": [] }));
    }
    assert_eq!(stdout(&common::run(&test)), "");
    for kind in KINDS {
        assert_eq!(written(&test, kind), "zero\none two\n\né\n", "{kind}");
    }
    let bare = lines(&test, "bare");
    assert_eq!(bare.len(), 12, "{bare:?}");
    assert!(bare.iter().all(|line| line.starts_with("0 /") && line.ends_with("/script")), "{bare:?}");
}

/// The runtime's fds and those that it was given are none of a hook's business, nor are its signals.
#[container_test]
fn nothing_of_the_runtime_is_inherited() {
    for (command, preserved) in [("run", "0"), ("run", "5"), ("create", "5")] {
        let mut test = bundle(&["true"]);
        for kind in KINDS {
            add(&mut test, kind, "ls /proc/self/fd >$D/$K.fds; grep SigBlk /proc/self/status >$D/$K.signals");
        }
        let path = test.write().path();
        // The shell gives it fds 3 to 9 without close-on-exec.
        let script = "exec \"$@\" 3</ 4</ 5</ 6</ 7</ 8</ 9</";
        let root = test.state_root();
        let (path, root) = (path.to_str().unwrap(), root.to_str().unwrap());
        let status = Command::new("/bin/busybox")
            .args(["sh", "-c", script, "sh", CORTEN, "--root", root, command, "--preserve-fds", preserved])
            .args(["--bundle", path, &test.id])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success());
        if command == "create" {
            succeed(&test, &["start", &test.id]);
            succeed(&test, &["delete", "--force", &test.id]);
        }
        for kind in KINDS {
            // 3 is the directory that ls reads.
            assert_eq!(lines(&test, &format!("{kind}.fds")), ["0", "1", "2", "3"], "{command} {kind}");
            let blocked = written(&test, &format!("{kind}.signals"));
            assert_eq!(blocked, "SigBlk:\t0000000000000000\n", "{command} {kind}");
        }
    }
}

/// startContainer hooks may do what the process may.
#[container_test]
fn start_container_hooks_have_the_process_s_rights() {
    for no_new_privileges in [true, false] {
        let mut test = bundle(&["sh", "-c", "cat /proc/self/status >/out/program"]);
        test.config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        test.config["process"]["user"] =
            json!({ "uid": 1000, "gid": 1001, "additionalGids": [7], "umask": 0o77 });
        for set in ["inheritable", "ambient"] {
            test.config["process"]["capabilities"][set] = json!(["CAP_KILL"]);
        }
        test.config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 }],
        });
        for kind in ["createContainer", "startContainer"] {
            add(&mut test, kind, "cat /proc/self/status >$D/$K; mkdir $D/directory.$K 2>$D/mkdir.$K; true");
        }
        assert_eq!(stdout(&common::run(&test)), "");
        let rights = |name: &str| -> BTreeMap<String, String> {
            let wanted = ["Uid", "Gid", "Groups", "Umask", "Seccomp", "NoNewPrivs"];
            let split = |line: String| {
                line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            };
            let all = lines(&test, name).into_iter().filter_map(split);
            all.filter(|(name, _)| wanted.contains(&name.as_str()) || name.starts_with("Cap")).collect()
        };
        let program = rights("program");
        assert_eq!(program["Uid"], "1000\t1000\t1000\t1000");
        assert_eq!(rights("startContainer"), program, "noNewPrivileges {no_new_privileges}");
        assert!(written(&test, "mkdir.startContainer").ends_with("Operation not supported\n"));
        // Long before the privileges are dropped.
        let early = rights("createContainer");
        assert_eq!(early["Uid"], "0\t0\t0\t0");
        assert_eq!((early["Seccomp"].as_str(), early["NoNewPrivs"].as_str()), ("0", "0"));
        assert!(out(&test).join("directory.createContainer").is_dir());
    }
}

/// A state that no pipe holds, for hooks that never read it and for those that read it late.
#[container_test]
fn large_states() {
    let mut test = bundle(&["true"]);
    test.config["annotations"] = json!({ "large": "x".repeat(300 << 10) });
    for kind in KINDS {
        add(&mut test, kind, "true");
        add(&mut test, kind, "sleep 0.1; head -c 1000 >$D/head.$K; sleep 0.1; cat >$D/rest.$K");
        add(&mut test, kind, "cat >$D/whole.$K");
    }
    assert_eq!(stdout(&common::run(&test)), "");
    for kind in KINDS {
        let whole = written(&test, &format!("whole.{kind}"));
        let state: Value = serde_json::from_str(&whole).unwrap();
        assert_eq!(state["annotations"], test.config["annotations"], "{kind}");
        let slow = written(&test, &format!("head.{kind}")) + &written(&test, &format!("rest.{kind}"));
        assert!(slow == whole, "{kind}: {} and {} bytes", slow.len(), whole.len());
    }
}
