//! Hooks: when each kind runs, with what, and what comes of those that fail.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{
    self, CORTEN, TestBundle, can_make_containers, corten, create, fail, one_error, receive, state, stdout, succeed,
    wait_for,
};
use serde_json::{Value, json};

const KINDS: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
/// What every failure of a container that cannot be made begins with.
const NOT_MADE: &str = "unable to start container process: error during container init: ";
const NAMESPACES: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

/// A bundle with a directory that hooks of every kind can write to: `$D` in their scripts.
fn bundle(args: &[&str]) -> TestBundle {
    let mut test = TestBundle::new(args);
    let out = out(&test);
    fs::create_dir(&out).unwrap();
    fs::set_permissions(&out, PermissionsExt::from_mode(0o777)).unwrap();
    let mount = json!({ "destination": "/out", "source": out, "type": "bind", "options": ["bind"] });
    test.config["mounts"].as_array_mut().unwrap().push(mount);
    fs::create_dir(test.rootfs().join("out")).unwrap();
    // Written to by root and by the roots of containers.
    fs::write(out.join("order"), "").unwrap();
    fs::set_permissions(out.join("order"), PermissionsExt::from_mode(0o666)).unwrap();
    test
}

fn out(test: &TestBundle) -> PathBuf {
    test.beside("out")
}

/// The same program is at the same path on the host and in the rootfs.
fn hook(test: &TestBundle, kind: &str, script: &str) -> Value {
    let directory = if kind == "startContainer" { "/out".to_owned() } else { out(test).display().to_string() };
    let script = format!("D={directory}; K={kind}; {script}");
    json!({ "path": "/bin/busybox", "args": ["sh", "-c", script] })
}

fn add(test: &mut TestBundle, kind: &str, script: &str) {
    let hook = hook(test, kind, script);
    push(test, kind, hook);
}

fn push(test: &mut TestBundle, kind: &str, hook: Value) {
    let list = &mut test.config["hooks"][kind];
    if list.is_null() {
        *list = json!([]);
    }
    list.as_array_mut().unwrap().push(hook);
}

/// What hooks have written to a file of the directory; empty if none has.
fn written(test: &TestBundle, name: &str) -> String {
    fs::read_to_string(out(test).join(name)).unwrap_or_default()
}

fn lines(test: &TestBundle, name: &str) -> Vec<String> {
    written(test, name).lines().map(str::to_owned).collect()
}

/// A command on the bundle whose stdio the container may keep.
fn detached(test: &TestBundle, arguments: &[&str]) -> Command {
    let path = test.write().path();
    let mut command = corten(test, arguments);
    command.args(["--bundle", path.to_str().unwrap(), &test.id]).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn namespaces(process: &str) -> Vec<String> {
    let link = |name: &&str| fs::read_link(format!("/proc/{process}/ns/{name}")).unwrap().display().to_string();
    NAMESPACES.iter().map(link).collect()
}

// When, where, with what

const RECORD: &str = "cat > $D/$K.state; pwd > $D/$K.cwd; id -u > $D/$K.uid; \
    for n in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$n; done > $D/$K.ns; \
    test -e \"$D/../host\" && echo host > $D/$K.sees; \
    pid=$(grep -o '\"pid\":[0-9]*' $D/$K.state); pid=${pid#*:}; \
    test -n \"$pid\" && { cat /proc/$pid/comm > $D/$K.comm; cat /proc/$pid/mountinfo > $D/$K.mounts; }; \
    grep ' rootfs/proc \\| .*/rootfs/proc ' /proc/self/mountinfo > $D/$K.own; \
    ls proc/version > $D/$K.version; echo $K.0 >> $D/order";

fn kinds_in_their_places(mapped: bool) {
    if !can_make_containers() {
        return;
    }
    let mut test = bundle(&["sleep", "1000"]);
    test.config["annotations"] = json!({ "some.key": "some value" });
    test.config["process"]["cwd"] = json!("/tmp");
    if mapped {
        test.map_ids();
    }
    fs::write(test.beside("host"), "").unwrap();
    for kind in KINDS {
        add(&mut test, kind, RECORD);
        add(&mut test, kind, "echo $K.1 >> $D/order");
    }
    let both = |kinds: &[&str]| -> Vec<_> { kinds.iter().flat_map(|k| [format!("{k}.0"), format!("{k}.1")]).collect() };

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
        assert_eq!(written(&test, &format!("{kind}.own")), "", "{kind}: the host sees the container's mounts");
    }
    assert!(written(&test, "createContainer.own").contains(&format!(" {proc} ")));
    assert_eq!(written(&test, "createContainer.version"), "proc/version\n");
    // The program has begun.
    assert_eq!(written(&test, "createRuntime.comm"), "corten-init\n");
    assert_eq!(written(&test, "poststart.comm"), "sleep\n");
}

#[test]
fn kinds_in_their_namespaces() {
    kinds_in_their_places(false);
}

#[test]
fn kinds_in_a_user_namespace() {
    kinds_in_their_places(true);
}

/// `start` has not come back, and the program runs, while poststart hooks do; poststop hooks see nothing of the container.
#[test]
fn poststart_and_poststop_see_the_container() {
    if !can_make_containers() {
        return;
    }
    let mut test = bundle(&["sh", "-c", "echo begun > /out/begun; exec sleep 1000"]);
    let ask = format!("{CORTEN} --root {} state {} >$D/$K.asked 2>&1", test.state_root().display(), test.id);
    add(&mut test, "createRuntime", &ask);
    add(&mut test, "poststart", &format!("until test -s $D/begun; do sleep 0.01; done; {ask}"));
    let cgroups = format!("ls -d /sys/fs/cgroup/{0} /sys/fs/cgroup/unified/{0} >$D/cgroups 2>/dev/null", test.id);
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
    test.assert_nothing_left("hooks that ask");
}

/// Hooks that give the container something to mount find its root where the bundle has it, in the container's namespace.
#[test]
fn what_hooks_mount_is_the_container_s() {
    if !can_make_containers() {
        return;
    }
    for mapped in [false, true] {
        let mut test = bundle(&["sh", "-c", "cat /etc/a/file /etc/b/file /etc/c/file; ls /etc"]);
        for name in ["a", "b", "c"] {
            fs::create_dir(test.rootfs().join("etc").join(name)).unwrap();
        }
        if mapped {
            test.map_ids();
        }
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
        test.assert_nothing_left("mounts of hooks");
    }
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

/// A hook's environment: the caller's for the runtime's hooks, nothing for createContainer, the process's for startContainer;
/// or what the config gives it.
#[test]
fn environments() {
    if !can_make_containers() {
        return;
    }
    let mut test = bundle(&["sleep", "1000"]);
    let output = test.beside("output");
    test.config["annotations"] = json!({ "run.oci.hooks.stdout": output });
    let variants = [("absent", None), ("given", Some(json!(["A=1", "B=x=y", "C="]))), ("empty", Some(json!([])))];
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
        let status = command.env_clear().env("MARK", mark).stdout(Stdio::null()).stderr(Stdio::null()).status();
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
    test.assert_nothing_left("environments");
}

#[test]
fn arguments() {
    if !can_make_containers() {
        return;
    }
    let mut test = bundle(&["true"]);
    let script = "#!/bin/busybox sh\nd=/out; test -d $d || d=\"${0%/*}/out\"; echo \"$# $0\" >>$d/bare\n";
    for path in [test.beside("script"), test.rootfs().join("script")] {
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    for kind in KINDS {
        let mut with_arguments = hook(&test, kind, "for a in \"$0\" \"$@\"; do echo \"$a\"; done >$D/$K");
        with_arguments["args"].as_array_mut().unwrap().extend([json!("zero"), json!("one two"), json!(""), json!("é")]);
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
    test.assert_nothing_left("arguments");
}

/// The runtime's fds and those that it was given are none of a hook's business, nor are its signals.
#[test]
fn nothing_of_the_runtime_is_inherited() {
    if !can_make_containers() {
        return;
    }
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
        test.assert_nothing_left("fds");
    }
}

/// startContainer hooks may do what the process may.
#[test]
fn start_container_hooks_have_the_process_s_rights() {
    if !can_make_containers() {
        return;
    }
    for no_new_privileges in [true, false] {
        let mut test = bundle(&["sh", "-c", "cat /proc/self/status >/out/program"]);
        test.config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        test.config["process"]["user"] = json!({ "uid": 1000, "gid": 1001, "additionalGids": [7], "umask": 0o77 });
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
            let split =
                |line: String| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
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
        test.assert_nothing_left("rights");
    }
}

/// A state that no pipe holds, for hooks that never read it and for those that read it late.
#[test]
fn large_states() {
    if !can_make_containers() {
        return;
    }
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
    test.assert_nothing_left("large states");
}

// Failures

/// A hook that fails, and what is said of it. `{}` is the kind.
fn failing(test: &TestBundle, kind: &str) -> Vec<(Value, String)> {
    let mut slow = hook(test, kind, "echo $$ >$D/slow; exec sleep 1000");
    slow["timeout"] = json!(1);
    // The first process of its PID namespace is init, so a hook can kill itself.
    vec![
        (hook(test, kind, "echo out; echo err >&2; exit 3"), "exit status 3, stdout: out, stderr: err".to_owned()),
        (hook(test, kind, "exit 1"), "exit status 1, stdout: , stderr: ".to_owned()),
        (hook(test, kind, "echo out; kill -9 $$; sleep 10"), "signal: killed, stdout: out, stderr: ".to_owned()),
        (json!({ "path": "/no/such" }), "fork/exec /no/such: no such file or directory".to_owned()),
        (json!({ "path": "/tmp", "args": ["x"] }), "fork/exec /tmp: permission denied".to_owned()),
        (slow, "hook ran past specified timeout of 1.0s".to_owned()),
    ]
}

/// A bundle whose second hook of the kind fails in the `nth` way; what is said of it.
fn bundle_that_fails(kind: &str, nth: usize) -> (TestBundle, String) {
    let mut test = bundle(&["sh", "-c", "echo program >>/out/ran; exec sleep 1000"]);
    let (failing, cause) = failing(&test, kind).swap_remove(nth);
    for (other, before) in KINDS.into_iter().zip(0..) {
        add(&mut test, other, &format!("echo {before} >>$D/ran"));
    }
    push(&mut test, kind, failing);
    add(&mut test, kind, "echo more >>$D/ran");
    (test, format!("error running {kind} hook #1: {}", cause.trim_end()))
}

/// How many ways of failing there are.
const WAYS: usize = 6;

/// Runs a check of every way to fail, all at the same time.
fn every_way(kind: &str, check: impl Fn(TestBundle, String, &str) + Sync) {
    if !can_make_containers() {
        return;
    }
    std::thread::scope(|scope| {
        for nth in 0..WAYS {
            let check = &check;
            scope.spawn(move || {
                let (test, error) = bundle_that_fails(kind, nth);
                check(test, error, kind);
            });
        }
    });
}

fn error_of(test: &TestBundle, arguments: &[&str]) -> String {
    let began = Instant::now();
    // Into a file: what a container may keep would keep a pipe open.
    let errors = test.beside("errors");
    let status = detached(test, arguments).stderr(fs::File::create(&errors).unwrap()).status().unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let said = fs::read_to_string(errors).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    said.trim_end().to_owned()
}

fn create_fails(kind: &str) {
    every_way(kind, |test, error, kind| {
        let before = KINDS.iter().position(|other| *other == kind).unwrap();
        let ran: String = (0..=before).map(|number| format!("{number}\n")).collect();
        for (command, count) in [(&["create"][..], 1), (&["run"], 2), (&["run", "-d"], 3)] {
            let name = command[0];
            assert_eq!(error_of(&test, command), format!("corten {name} failed: {NOT_MADE}{error}"));
            // What was made is taken back like any other container, its poststop hooks included.
            assert_eq!(written(&test, "ran"), format!("{ran}5\n").repeat(count), "{kind} {error}");
            test.assert_nothing_left(&error);
            if error.contains("timeout") {
                break;
            }
        }
        assert_slow_is_gone(&test, kind);
    });
}

/// A hook that took too long is dead. Inside, its pid is another.
fn assert_slow_is_gone(test: &TestBundle, kind: &str) {
    let pid = written(test, "slow");
    if kind != "createContainer" && kind != "startContainer" && !pid.is_empty() {
        let comm = fs::read_to_string(format!("/proc/{}/comm", pid.trim())).unwrap_or_default();
        assert_ne!(comm, "sleep\n", "{kind}");
    }
}

#[test]
fn create_fails_with_a_prestart_hook() {
    create_fails("prestart");
}

#[test]
fn create_fails_with_a_create_runtime_hook() {
    create_fails("createRuntime");
}

#[test]
fn create_fails_with_a_create_container_hook() {
    create_fails("createContainer");
}

/// `start` reports it; `run` takes the container back.
#[test]
fn start_fails_with_a_start_container_hook() {
    every_way("startContainer", |test, error, _| {
        create(&test);
        assert_eq!(fail(&test, &["start", &test.id]), format!("{NOT_MADE}{error}"));
        assert_eq!(written(&test, "ran"), "0\n1\n2\n3\n");
        wait_for(&test, "stopped");
        assert_eq!(fail(&test, &["start", &test.id]), "cannot start a container that has stopped");
        succeed(&test, &["delete", &test.id]);
        assert_eq!(written(&test, "ran"), "0\n1\n2\n3\n5\n");
        test.assert_nothing_left(&error);
        if error.contains("timeout") {
            return;
        }
        assert_eq!(error_of(&test, &["run"]), format!("corten run failed: {NOT_MADE}{error}"));
        assert_eq!(written(&test, "ran"), "0\n1\n2\n3\n5\n".repeat(2));
        test.assert_nothing_left(&error);
    });
}

/// The program has begun, and is killed.
#[test]
fn start_fails_with_a_poststart_hook() {
    every_way("poststart", |test, error, kind| {
        create(&test);
        let pid = state(&test)["pid"].to_string();
        assert_eq!(fail(&test, &["start", &test.id]), error);
        // Stopped and destroyed at once, its poststop hooks with it.
        assert!(!fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("sleep")));
        assert_eq!(fail(&test, &["state", &test.id]), "container does not exist");
        let ran = lines(&test, "ran");
        assert!(ran.contains(&"4".to_owned()) && !ran.contains(&"more".to_owned()), "{ran:?}");
        assert_eq!(ran.last().unwrap(), "5");
        test.assert_nothing_left(&error);
        assert_slow_is_gone(&test, kind);
        if error.contains("timeout") {
            return;
        }
        for command in [&["run"][..], &["run", "-d"]] {
            assert_eq!(error_of(&test, command), format!("corten run failed: {NOT_MADE}{error}"));
            assert_eq!(lines(&test, "ran").last().unwrap(), "5");
            test.assert_nothing_left(&error);
        }
    });
}

/// Only a warning: the container is gone, and the other hooks run.
#[test]
fn delete_warns_of_a_poststop_hook() {
    every_way("poststop", |test, error, kind| {
        create(&test);
        succeed(&test, &["start", &test.id]);
        let output = corten(&test, &["delete", "--force", &test.id]).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8_lossy(&output.stderr).trim_end(), error);
        let ran = lines(&test, "ran");
        assert_eq!(ran[ran.len() - 2..], ["5", "more"]);
        test.assert_nothing_left(&error);
        assert_slow_is_gone(&test, kind);
        assert_eq!(fail(&test, &["delete", &test.id]), "container does not exist");
        assert_eq!(lines(&test, "ran"), ran, "poststop hooks run once");
    });
}

/// The failure that counts comes with what its poststop hooks failed with.
#[test]
fn a_failed_create_tells_of_failed_poststop_hooks() {
    if !can_make_containers() {
        return;
    }
    let mut test = bundle(&["true"]);
    add(&mut test, "createRuntime", "exit 3");
    add(&mut test, "poststop", "exit 4");
    add(&mut test, "poststop", "cat >$D/state");
    let error = error_of(&test, &["create"]);
    assert!(error.starts_with("corten create failed: "), "{error}");
    let (poststop, create) = error.split_once(", after: ").unwrap();
    assert!(poststop.contains("error running poststop hook #0: exit status 4, stdout: , stderr: "), "{error}");
    assert!(create.ends_with("error running createRuntime hook #0: exit status 3, stdout: , stderr:"), "{error}");
    let state: Value = serde_json::from_str(&written(&test, "state")).unwrap();
    assert_eq!((&state["status"], &state["pid"]), (&json!("stopped"), &Value::Null));
    test.assert_nothing_left("two failures");
}

/// A container that was never started has no poststart, and yet a poststop.
#[test]
fn a_created_container_that_is_deleted() {
    if !can_make_containers() {
        return;
    }
    let mut test = bundle(&["true"]);
    for kind in KINDS {
        add(&mut test, kind, "echo $K >>$D/order");
    }
    create(&test);
    succeed(&test, &["delete", &test.id]);
    assert_eq!(lines(&test, "order"), ["prestart", "createRuntime", "createContainer", "poststop"]);
    test.assert_nothing_left("never started");
}

#[test]
fn long_output_and_long_limits() {
    if !can_make_containers() {
        return;
    }
    for kind in ["createRuntime", "createContainer"] {
        let mut test = bundle(&["true"]);
        let long = "head -c 300000 /dev/zero | tr '\\0' o; head -c 300000 /dev/zero | tr '\\0' e >&2; exit 5";
        add(&mut test, kind, long);
        let error = error_of(&test, &["create"]);
        let head = format!("corten create failed: {NOT_MADE}error running {kind} hook #0: exit status 5, stdout: ooo");
        assert!(error.starts_with(&head) && error.ends_with("eee") && error.len() < 4200, "{error}");
        assert!(error.contains("o, stderr: eee") || error.contains(" ... "), "{error}");
        test.assert_nothing_left("long output");
    }
    let mut test = bundle(&["true"]);
    for kind in KINDS {
        let mut patient = hook(&test, kind, "echo $K >>$D/order");
        patient["timeout"] = json!(i64::MAX);
        push(&mut test, kind, patient);
    }
    assert_eq!(stdout(&common::run(&test)), "");
    assert_eq!(lines(&test, "order"), KINDS);
}

// Other ways to make containers

#[test]
fn run_runs_all_kinds() {
    if !can_make_containers() {
        return;
    }
    for command in [&["run"][..], &["run", "-d"]] {
        let mut test = bundle(&["sh", "-c", "until test -e /out/go; do sleep 0.01; done; exit 7"]);
        for kind in KINDS {
            add(&mut test, kind, "echo $K $(cat /proc/self/status | grep -c Seccomp:) >>$D/order");
        }
        add(&mut test, "poststart", "echo >$D/go");
        let code = detached(&test, command).status().unwrap().code();
        if command.len() == 1 {
            assert_eq!(code, Some(7));
        } else {
            assert_eq!(code, Some(0));
            wait_for(&test, "stopped");
            assert_eq!(lines(&test, "order").len(), 5);
            succeed(&test, &["delete", &test.id]);
        }
        assert_eq!(lines(&test, "order"), KINDS.map(|kind| format!("{kind} 1")));
        test.assert_nothing_left("run");
    }
    // `--keep` leaves the poststop hooks to delete.
    let mut test = bundle(&["true"]);
    add(&mut test, "poststop", "echo $K >>$D/order");
    assert!(detached(&test, &["run", "--keep"]).status().unwrap().success());
    assert_eq!(written(&test, "order"), "");
    succeed(&test, &["delete", &test.id]);
    assert_eq!(written(&test, "order"), "poststop\n");
    test.assert_nothing_left("run --keep");
}

#[test]
fn output_annotations() {
    if !can_make_containers() {
        return;
    }
    for mapped in [false, true] {
        let mut test = bundle(&["true"]);
        if mapped {
            test.map_ids();
        }
        let (output, errors) = (test.beside("output"), test.beside("new-errors"));
        fs::write(&output, "before\n").unwrap();
        test.config["annotations"] = json!({ "run.oci.hooks.stdout": output, "run.oci.hooks.stderr": errors });
        for kind in KINDS {
            add(&mut test, kind, "echo out $K; echo err $K >&2");
            add(&mut test, kind, "echo again $K");
        }
        create(&test);
        let created = fs::read_to_string(&output).unwrap();
        succeed(&test, &["start", &test.id]);
        succeed(&test, &["delete", "--force", &test.id]);
        let all =
            |word: &str, kinds: &[&str]| -> String { kinds.iter().map(|kind| format!("{word} {kind}\n")).collect() };
        let both =
            |kinds: &[&str]| -> String { kinds.iter().map(|kind| format!("out {kind}\nagain {kind}\n")).collect() };
        assert_eq!(created, format!("before\n{}", both(&KINDS[..3])));
        assert_eq!(fs::read_to_string(&output).unwrap(), format!("before\n{}", both(&KINDS)));
        assert_eq!(fs::read_to_string(&errors).unwrap(), all("err", &KINDS));
        test.assert_nothing_left("output annotations");
    }
    // Who asked for files reads them there, not in the error.
    for kind in ["createRuntime", "createContainer"] {
        let mut test = bundle(&["true"]);
        let output = test.beside("output");
        test.config["annotations"] = json!({ "run.oci.hooks.stdout": output });
        add(&mut test, kind, "echo out; echo err >&2; exit 3");
        let error = error_of(&test, &["create"]);
        assert!(error.ends_with(&format!("{kind} hook #0: exit status 3, stdout: , stderr: err")), "{error}");
        assert_eq!(fs::read_to_string(&output).unwrap(), "out\n");
        test.config["annotations"] = json!({ "run.oci.hooks.stdout": "/no/such/file" });
        let error = error_of(&test, &["create"]);
        assert!(error.contains("/no/such/file") && error.ends_with("no such file or directory"), "{error}");
        test.assert_nothing_left("output annotations");
    }
}

#[test]
fn hooks_are_those_of_create() {
    if !can_make_containers() {
        return;
    }
    let mut test = bundle(&["sleep", "1000"]);
    for kind in KINDS {
        add(&mut test, kind, "echo $K >>$D/order");
    }
    create(&test);
    test.config["hooks"] = json!({});
    for kind in KINDS {
        add(&mut test, kind, "echo other >>$D/order; exit 1");
    }
    test.write();
    succeed(&test, &["start", &test.id]);
    fs::remove_file(test.path().join("config.json")).unwrap();
    succeed(&test, &["delete", "--force", &test.id]);
    assert_eq!(lines(&test, "order"), KINDS);
    test.assert_nothing_left("another config");
}

/// The container's terminal is not the hooks'.
#[test]
fn hooks_beside_a_terminal() {
    if !can_make_containers() {
        return;
    }
    for command in ["create", "run"] {
        let mut test = bundle(&["sh", "-c", "test -t 0 && test -t 1 && echo terminal >/out/program"]);
        test.config["process"]["terminal"] = json!(true);
        for kind in KINDS {
            let script =
                "for fd in 0 1 2; do test -t $fd && echo $fd >>$D/terminals; done; cat >$D/$K.state; echo noise";
            add(&mut test, kind, script);
        }
        if command == "create" {
            let socket = test.beside("console.sock");
            let listener = UnixListener::bind(&socket).unwrap();
            let path = socket.to_str().unwrap().to_owned();
            let master = std::thread::spawn(move || receive(&listener).fd);
            assert!(detached(&test, &["create", "--console-socket", &path]).status().unwrap().success());
            let _master = master.join().unwrap();
            succeed(&test, &["start", &test.id]);
            wait_for(&test, "stopped");
            succeed(&test, &["delete", &test.id]);
        } else {
            assert_eq!(stdout(&common::run(&test)), "");
        }
        assert_eq!(written(&test, "program"), "terminal\n");
        assert_eq!(written(&test, "terminals"), "", "{command}");
        for kind in KINDS {
            let state: Value = serde_json::from_str(&written(&test, &format!("{kind}.state"))).unwrap();
            assert_eq!(state["id"], test.id, "{command} {kind}");
        }
        test.assert_nothing_left("a terminal");
    }
}

/// What hooks must be is known before anything is made.
#[test]
fn refusals() {
    if !can_make_containers() {
        return;
    }
    let mut test = TestBundle::new(&["true"]);
    for kind in KINDS {
        for (hook, field) in [
            (json!({ "path": "bin/busybox" }), "path"),
            (json!({ "path": "" }), "path"),
            (json!({ "path": "/bin/busy\0box" }), "path"),
            (json!({ "path": "/bin/busybox", "args": ["a\0b"] }), "args[0]"),
            (json!({ "path": "/bin/busybox", "env": ["A=1", "a\0b"] }), "env[1]"),
            (json!({ "path": "/bin/busybox", "timeout": 0 }), "timeout"),
            (json!({ "path": "/bin/busybox", "timeout": -1 }), "timeout"),
        ] {
            test.config["hooks"] = json!({ kind: [{ "path": "/bin/true" }, hook] });
            let path = test.write().path();
            let output = corten(&test, &["create", "-b", path.to_str().unwrap(), &test.id]).output().unwrap();
            let error = one_error(&output);
            assert!(error.contains(&format!("hooks.{kind}[1].{field}")), "{error}");
            test.assert_nothing_left(field);
        }
    }
}
