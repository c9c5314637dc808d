//! exec: more processes in a container that runs.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use crate::common::sleeper::{Sleeper, error};
use crate::common::{
    self, TestBundle, cgroup_mounts, corten, create, receive, skip, stdout, succeed, until, wait_for,
};
use container_test::container_test;
use serde_json::{Value, json};

/// The value of a line of /proc/self/status.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    line.unwrap_or_else(|| panic!("no {name} in {status}"))
}

#[container_test]
fn a_process_is_in_all_of_the_container() {
    let sleeper = Sleeper::plain();
    let namespaces = "for n in cgroup ipc mnt net pid uts; do readlink /proc/$PID/ns/$n; done";
    let of = |pid: &str| sleeper.shell(&["-e", &format!("PID={pid}")], namespaces);
    // In it, the shell is another process than 1, and in the same namespaces.
    assert_eq!(of("self"), of("1"));
    assert_eq!(sleeper.shell(&[], "hostname; pwd"), "corten\n/\n");
    let cgroup = sleeper.shell(&[], "cat /proc/self/cgroup");
    assert_eq!(cgroup, sleeper.shell(&[], "cat /proc/1/cgroup"));
    // Not in its mount namespace alone: the root is the container's, and nothing of the host is left open.
    let inside = sleeper.shell(&[], "ls /; ls /proc/self/fd | wc -l");
    assert!(inside.contains("bin") && !inside.contains("boot"), "{inside}");
    // stdin, stdout, stderr, and the directory that ls reads.
    assert!(inside.ends_with("\n4\n"), "{inside}");
    let status = sleeper.prints(&[], &["cat", "/proc/self/status"]);
    let first = sleeper.prints(&[], &["cat", "/proc/1/status"]);
    for name in
        ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Uid", "Gid", "Groups"]
    {
        assert_eq!(field(&status, name), field(&first, name), "{name}");
    }
}

#[container_test]
fn exit_statuses() {
    let sleeper = Sleeper::plain();
    for (script, status) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143)] {
        let output = sleeper.exec(&[], &["sh", "-c", script]);
        assert_eq!((output.status.code(), output.stderr.len()), (Some(status), 0), "{script}: {output:?}");
    }
    for (command, message) in [
        ("nothing", "exec: \"nothing\": executable file not found in $PATH"),
        ("", "exec: \"\": executable file not found in $PATH"),
        ("/nothing", "exec: \"/nothing\": stat /nothing: no such file or directory"),
        ("/etc", "exec: \"/etc\": is a directory"),
        ("/proc/version", "exec: \"/proc/version\": permission denied"),
    ] {
        let expected = format!("unable to start container process: error during container init: {message}");
        assert_eq!(sleeper.fails(&[], &[command]), expected);
    }
    assert_eq!(sleeper.fails(&[], &[]), "exec args cannot be empty");
    assert_eq!(sleeper.pids().len(), 1, "nothing of a failed exec runs");
    let nobody = corten(&sleeper.0, &["exec", "nobody", "true"]).output().unwrap();
    assert_eq!(error(&nobody), "container does not exist");
    let usage = corten(&sleeper.0, &["exec"]).output().unwrap();
    assert_eq!(usage.status.code(), Some(1));
}

#[container_test]
fn the_container_s_status_decides() {
    // Before `start` the process has a container around it already (runc).
    let test = TestBundle::new(&["sleep", "1000"]);
    create(&test);
    let sleeper = Sleeper(test);
    assert_eq!(sleeper.prints(&[], &["echo", "early"]), "early\n");
    assert_eq!(common::state(&sleeper.0)["status"], "created");
    succeed(&sleeper.0, &["start", &sleeper.0.id]);

    succeed(&sleeper.0, &["pause", &sleeper.0.id]);
    let paused = "cannot exec in a paused container (use --ignore-paused to override)";
    assert_eq!(sleeper.fails(&[], &["true"]), paused);
    let mut waiting = corten(&sleeper.0, &["exec", "--ignore-paused", &sleeper.0.id, "echo", "late"]);
    let waiting = waiting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(common::state(&sleeper.0)["status"], "paused");
    succeed(&sleeper.0, &["resume", &sleeper.0.id]);
    assert_eq!(stdout(&waiting.wait_with_output().unwrap()), "late\n");

    succeed(&sleeper.0, &["kill", &sleeper.0.id, "KILL"]);
    wait_for(&sleeper.0, "stopped");
    assert_eq!(sleeper.fails(&[], &["true"]), "cannot exec in a stopped container");
}

#[container_test]
fn flags_change_the_process() {
    let sleeper = Sleeper::new(|test| {
        test.config["process"]["env"].as_array_mut().unwrap().push(json!("GREETING=hello"));
    });
    assert_eq!(sleeper.prints(&["--cwd", "/etc"], &["pwd"]), "/etc\n");
    let script = "echo $GREETING $NAME $HOME";
    assert_eq!(sleeper.shell(&["-e", "NAME=a", "--env", "GREETING=bye"], script), "bye a /\n");
    assert_eq!(sleeper.prints(&["-u", "1000:1001"], &["id"]), "uid=1000 gid=1001\n");
    // CVE-2026-30892: one number is the user's, and not root's; and what is no number is no user.
    assert_eq!(sleeper.prints(&["--user", "1"], &["id", "-u"]), "1\n");
    for user in ["1x", "-1", "root", "1:", ":1", "1:2:3", "+1", "4294967296", " 1"] {
        let message = sleeper.fails(&["--user", user], &["id"]);
        assert!(message.starts_with("bad uid: ") || message.starts_with("bad gid: "), "{user}: {message}");
    }
    assert_eq!(sleeper.prints(&["-g", "5", "--additional-gids", "6"], &["id", "-G"]), "0 5 6\n");
    assert!(sleeper.fails(&["-g", "-5"], &["id"]).starts_with("bad additional gid: "));
    // What comes after the id is the command's, whatever it looks like.
    assert_eq!(sleeper.prints(&[], &["echo", "-t", "--cwd", "-user"]), "-t --cwd -user\n");
    assert_eq!(sleeper.prints(&["-cwd", "/etc", "-e", "A=-d"], &["sh", "-c", "pwd; echo $A"]), "/etc\n-d\n");
    let missing = sleeper.fails(&["--cwd", "/nowhere"], &["pwd"]);
    assert!(missing.contains("process.cwd") && missing.ends_with("no such file or directory"), "{missing}");
    let relative = sleeper.fails(&["--cwd", "etc"], &["pwd"]);
    assert!(relative.contains("process.cwd"), "{relative}");
}

/// CVE-2022-29162: what `--cap` gives is neither inheritable nor ambient.
#[container_test]
fn capabilities_that_are_given() {
    let sleeper = Sleeper::plain();
    let sets = |flags: &[&str]| {
        let status = sleeper.prints(flags, &["cat", "/proc/self/status"]);
        ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
            .map(|name| u64::from_str_radix(field(&status, name), 16).unwrap())
    };
    let before = sets(&[]);
    let with = before[1] | 1 << 0 | 1 << 12;
    assert_eq!(sets(&["--cap", "CAP_CHOWN", "-c", "net_admin"]), [0, with, with, with, 0]);
    assert_eq!(sleeper.fails(&["--cap", "CAP_FLY"], &["true"]), "--cap: there is no capability \"CAP_FLY\"");
}

#[container_test]
fn no_new_privileges_is_a_flag() {
    let sleeper = Sleeper::new(|test| test.config["process"]["noNewPrivileges"] = json!(false));
    let of = |flags: &[&str]| {
        let status = sleeper.prints(flags, &["cat", "/proc/self/status"]);
        field(&status, "NoNewPrivs").to_owned()
    };
    assert_eq!((of(&[]), of(&["--no-new-privs"])), ("0".to_owned(), "1".to_owned()));
}

#[container_test]
fn a_process_of_a_file() {
    let sleeper = Sleeper::new(|test| {
        test.config["process"]["user"]["umask"] = json!(0o027);
        test.config["process"]["oomScoreAdj"] = json!(111);
    });
    // What it says nothing of is as for the first process; what it says counts.
    let script = "id -u; umask; ulimit -n; cat /proc/self/oom_score_adj; grep -E 'CapEff|NoNewPrivs' /proc/self/status";
    let process = json!({ "cwd": "/etc", "args": ["sh", "-c", script], "env": ["PATH=/bin"] });
    let printed = sleeper.prints(&["--process", &sleeper.process(&process)], &[]);
    let first = sleeper.prints(&[], &["cat", "/proc/1/status"]);
    let expected = format!("0\n0027\n1024\n111\nCapEff:\t{}\nNoNewPrivs:\t0\n", field(&first, "CapEff"));
    assert_eq!(printed, expected);
    let process = json!({
        "cwd": "/", "args": ["sh", "-c", script], "env": ["PATH=/bin"], "user": { "uid": 5, "gid": 6, "umask": 0 },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 99, "soft": 99 }], "noNewPrivileges": true, "oomScoreAdj": 222,
        "capabilities": {},
    });
    let printed = sleeper.prints(&["-p", &sleeper.process(&process)], &[]);
    assert_eq!(printed, "5\n0000\n99\n222\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\n");

    for (process, field) in [
        (json!({ "cwd": "etc", "args": ["true"] }), "process.cwd"),
        (json!({ "cwd": "/", "args": [] }), "process.args"),
        (json!({ "args": ["true"] }), "cwd"),
        (json!({ "cwd": "/", "args": ["true"], "user": { "uid": -1, "gid": 0 } }), "user.uid"),
        (
            json!({ "cwd": "/", "args": ["true"], "rlimits": [{ "type": "RLIMIT_X", "hard": 1, "soft": 1 }] }),
            "rlimits[0]",
        ),
        (json!([]), "not a JSON object"),
    ] {
        let message = sleeper.fails(&["-p", &sleeper.process(&process)], &[]);
        assert!(message.contains(field), "{field}: {message}");
    }
    let file = sleeper.process(&json!({ "cwd": 1 }));
    let message = sleeper.fails(&["-p", &file], &[]);
    assert_eq!(message, format!("{file}: cwd: invalid type: integer `1`, expected path string"));
    let message = sleeper.fails(&["-p", "/nowhere/process.json"], &[]);
    assert_eq!(message, "open /nowhere/process.json: no such file or directory");
}

/// The filter is that of the config at the time of create, whatever the bundle says now.
#[container_test]
fn the_filter_is_the_container_s() {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 130 }],
    });
    for no_new_privileges in [true, false] {
        let sleeper = Sleeper::new(|test| {
            test.config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            test.config["linux"]["seccomp"] = profile.clone();
        });
        let mut now = sleeper.0.config.clone();
        now["linux"].as_object_mut().unwrap().remove("seccomp");
        fs::write(sleeper.0.path().join("config.json"), now.to_string()).unwrap();
        let output = sleeper.exec(&[], &["mkdir", "/dev/shm/made"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("Owner died"), "{said}");
        // Nor is the bundle needed for a process of a file.
        fs::remove_file(sleeper.0.path().join("config.json")).unwrap();
        let process =
            json!({ "cwd": "/", "args": ["grep", "Seccomp:", "/proc/self/status"], "env": ["PATH=/bin"] });
        assert_eq!(sleeper.prints(&["-p", &sleeper.process(&process)], &[]), "Seccomp:\t2\n");
        assert!(sleeper.fails(&[], &["true"]).contains("config.json not found"));
    }
}

#[container_test]
fn in_the_background() {
    let sleeper = Sleeper::plain();
    let file = sleeper.0.beside("pid");
    let mut command = corten(
        &sleeper.0,
        &["exec", "-d", "--pid-file", file.to_str().unwrap(), &sleeper.0.id, "sleep", "999"],
    );
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success());
    let pid: i32 = fs::read_to_string(&file).unwrap().parse().unwrap();
    assert!(sleeper.pids().contains(&pid));
    let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert_eq!(arguments, "sleep\x00999\x00");
    // A program that cannot be executed is told, and the pid of what never was is not left in the file.
    fs::remove_file(&file).unwrap();
    sleeper.fails(&["-d", "--pid-file", file.to_str().unwrap()], &["nothing"]);
    assert!(!file.exists());
    // It goes with the container.
}

#[container_test]
fn signals_go_to_the_process() {
    let sleeper = Sleeper::plain();
    let mut command = corten(
        &sleeper.0,
        &["exec", &sleeper.0.id, "sh", "-c", "trap 'exit 9' TERM; echo up; while :; do sleep 0.1; done"],
    );
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 3];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
    assert_eq!(common::state(&sleeper.0)["status"], "running");
}

#[container_test]
fn a_terminal_by_socket() {
    let sleeper = Sleeper::plain();
    let socket = sleeper.0.beside("console");
    let name = socket.to_str().unwrap();
    let no_socket = "cannot allocate tty if runc will detach without setting console socket";
    let no_terminal = "cannot use console socket if runc will not detach or allocate tty";
    assert_eq!(sleeper.fails(&["-d", "-t"], &["true"]), no_socket);
    assert_eq!(sleeper.fails(&["-d", "--console-socket", name], &["true"]), no_terminal);
    assert_eq!(sleeper.fails(&["-t", "--console-socket", name], &["true"]), no_terminal);
    let listener = UnixListener::bind(&socket).unwrap();
    let process = json!({
        "terminal": true, "consoleSize": { "height": 12, "width": 34 }, "cwd": "/", "env": ["PATH=/bin"],
        "args": ["sh", "-c", "tty; stty size; echo end; sleep 1000"],
    });
    let file = sleeper.process(&process);
    let arguments = ["exec", "-d", "--console-socket", name, "--process", &file, &sleeper.0.id];
    assert!(
        corten(&sleeper.0, &arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    let mut master = fs::File::from(receive(&listener).fd);
    let mut heard = String::new();
    until("nothing is printed", || {
        let mut buffer = [0; 256];
        let length = std::io::Read::read(&mut master, &mut buffer).unwrap();
        heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
        heard.contains("end")
    });
    assert_eq!(heard, "/dev/pts/0\r\n12 34\r\nend\r\n");
}

#[container_test]
fn the_pidfd_by_socket() {
    let sleeper = Sleeper::plain();
    let socket = sleeper.0.beside("pidfd");
    let listener = UnixListener::bind(&socket).unwrap();
    let arguments = ["exec", "-d", "--pidfd-socket", socket.to_str().unwrap(), &sleeper.0.id, "sleep", "77"];
    assert!(
        corten(&sleeper.0, &arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    let received = receive(&listener);
    assert_eq!(received.data, b"setns");
    let info =
        fs::read_to_string(format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&received.fd)))
            .unwrap();
    let pid: i32 = info.lines().find_map(|line| line.strip_prefix("Pid:\t")).unwrap().parse().unwrap();
    assert!(sleeper.pids().contains(&pid), "{info}");
}

/// Cgroups of the container, one below the other.
fn cgroup_of(test: &TestBundle) -> Vec<PathBuf> {
    cgroup_mounts().into_iter().map(|mount| mount.join(&test.id)).filter(|path| path.exists()).collect()
}

#[container_test]
fn a_cgroup_below_the_container_s() {
    let sleeper = Sleeper::plain();
    let tops = cgroup_of(&sleeper.0);
    for top in &tops {
        fs::create_dir(top.join("below")).unwrap();
    }
    // Seen from the cgroup namespace of the container.
    let cgroups = sleeper.prints(&["--cgroup", "below"], &["cat", "/proc/self/cgroup"]);
    let own: Vec<_> = cgroups.lines().filter(|line| line.ends_with(":/below")).collect();
    assert!(!own.is_empty(), "{cgroups}");
    assert_eq!(sleeper.prints(&["--cgroup", "/below"], &["cat", "/proc/self/cgroup"]), cgroups);
    let legacy = tops.iter().find(|top| top.starts_with("/sys/fs/cgroup/pids"));
    if legacy.is_some() {
        let cgroups = sleeper.prints(&["--cgroup", "pids:below"], &["cat", "/proc/self/cgroup"]);
        let own: Vec<_> = cgroups.lines().filter(|line| line.ends_with(":/below")).collect();
        assert_eq!(own.len(), 1, "{cgroups}");
        assert!(own[0].contains(":pids:"), "{cgroups}");
    }
    for (flags, message) in [
        (&["--cgroup", "nowhere"][..], "no such file or directory"),
        (&["--cgroup", "below/../.."], "\"below/../..\" leads out of the container's cgroup"),
        (&["--cgroup", "nothing:below"], "the container has no cgroup of the controller \"nothing\""),
        (&["--cgroup", ":below"], "invalid --cgroup argument: :below (empty <controller> prefix)"),
        (
            &["--cgroup", "below", "--cgroup", "a:b"],
            "invalid --cgroup argument: below (missing <controller>: prefix)",
        ),
        (&["--cgroup", "a,a:b"], "invalid --cgroup argument(s): controller a specified multiple times"),
    ] {
        let said = sleeper.fails(flags, &["true"]);
        assert!(said.ends_with(message), "{flags:?}: {said}");
    }
    for top in &tops {
        fs::remove_dir(top.join("below")).unwrap();
    }
}

/// A cgroup that gives controllers to those below takes no processes: then the process is beside the
/// container's init (opencontainers/runc#2356).
#[container_test]
fn a_container_with_cgroups_of_its_own() {
    let sleeper = Sleeper::plain();
    let unified = cgroup_of(&sleeper.0).into_iter().find(|top| top.join("cgroup.controllers").exists());
    let Some(top) = unified else { return skip("no cgroup v2") };
    let controllers = fs::read_to_string(top.join("cgroup.controllers")).unwrap();
    let Some(controller) = controllers.split_whitespace().next() else {
        return skip("the cgroup of the container has no controller to give");
    };
    let below = top.join("init");
    fs::create_dir(&below).unwrap();
    for pid in sleeper.pids() {
        fs::write(below.join("cgroup.procs"), pid.to_string()).unwrap();
    }
    fs::write(top.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
    let cgroups = sleeper.prints(&[], &["cat", "/proc/self/cgroup"]);
    assert!(cgroups.contains("0::/init\n"), "{cgroups}");
    // Where it was asked for it is an error.
    let said = sleeper.fails(&["--cgroup", "/"], &["true"]);
    assert!(said.ends_with("device or resource busy"), "{said}");
}

/// What is wrong is the cgroup, and not that Corten has ended what could not get there.
#[container_test]
fn a_cgroup_of_the_container_is_gone() {
    for mount in cgroup_mounts() {
        let sleeper = Sleeper::plain();
        let own = mount.join(&sleeper.0.id);
        if !own.exists() {
            continue;
        }
        for pid in sleeper.pids() {
            fs::write(mount.join("cgroup.procs"), pid.to_string()).unwrap();
        }
        fs::remove_dir(&own).unwrap();
        let expected = format!(
            "unable to start container process: open(cgroup \"/{}\"): no such file or directory",
            sleeper.0.id
        );
        assert_eq!(sleeper.fails(&[], &["true"]), expected, "{mount:?}");
    }
}

#[container_test]
fn fds_that_are_handed_on() {
    let sleeper = Sleeper::plain();
    let file = sleeper.0.beside("handed-on");
    fs::write(&file, "from outside").unwrap();
    let root = sleeper.0.state_root();
    let script = format!(
        "exec 3<{} 4</dev/null; {} --root {} exec --preserve-fds 1 {} sh -c 'cat <&3; ls /proc/self/fd'",
        file.display(),
        common::CORTEN,
        root.display(),
        sleeper.0.id
    );
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(stdout(&output), "from outside0\n1\n2\n3\n4\n", "4: the directory that ls reads");
}

/// CVE-2024-21626: no directory of the host can be reached by an fd of the runtime.
#[container_test]
fn no_directory_of_the_host_is_a_working_directory() {
    let sleeper = Sleeper::plain();
    for fd in 3..24 {
        let said = sleeper.fails(&["--cwd", &format!("/proc/self/fd/{fd}")], &["ls", "."]);
        assert!(said.contains("process.cwd"), "{said}");
    }
}

#[container_test]
fn many_at_once() {
    let sleeper = Sleeper::plain();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let sleeper = &sleeper;
                scope.spawn(move || {
                    for _ in 0..6 {
                        let text = format!("number {number}");
                        assert_eq!(sleeper.prints(&[], &["echo", &text]), format!("{text}\n"));
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    until("processes are left", || sleeper.pids().len() == 1);
}

#[container_test]
fn in_a_user_namespace() {
    let sleeper = Sleeper::new(TestBundle::map_ids);
    let maps = sleeper.prints(&[], &["cat", "/proc/self/uid_map"]);
    assert_eq!(maps.split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);
    assert_eq!(sleeper.prints(&["-u", "7:8"], &["id"]), "uid=7 gid=8\n");
    let status = sleeper.prints(&[], &["cat", "/proc/self/status"]);
    let first = sleeper.prints(&[], &["cat", "/proc/1/status"]);
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "Uid", "Gid"] {
        assert_eq!(field(&status, name), field(&first, name), "{name}");
    }
    let said = sleeper.fails(&["-u", "70000"], &["id"]);
    assert!(said.contains("process.user.uid"), "{said}");
}

/// Namespaces that the container itself has joined, and those that it shares with the host.
#[container_test]
fn in_namespaces_of_others() {
    let other = Sleeper::plain();
    let pid = other.pids()[0];
    let sleeper = Sleeper::new(|test| {
        test.config["linux"]["namespaces"] = json!([
            { "type": "mount" },
            { "type": "network", "path": format!("/proc/{pid}/ns/net") },
            { "type": "ipc", "path": format!("/proc/{pid}/ns/ipc") },
            { "type": "pid", "path": format!("/proc/{pid}/ns/pid") },
            { "type": "uts" },
        ]);
        // One of another PID namespace would show nothing of this one.
        test.config["process"]["noNewPrivileges"] = json!(true);
    });
    let of =
        |sleeper: &Sleeper, kind: &str| sleeper.prints(&[], &["readlink", &format!("/proc/self/ns/{kind}")]);
    for kind in ["net", "ipc", "pid"] {
        assert_eq!(of(&sleeper, kind), of(&other, kind), "{kind}");
    }
    assert_ne!(of(&sleeper, "mnt"), of(&other, "mnt"));
    let host = fs::read_link("/proc/self/ns/cgroup").unwrap();
    assert_eq!(of(&sleeper, "cgroup").trim(), host.to_str().unwrap());
}

/// Without a mount namespace the container's processes are shut up in a tree of their own.
#[container_test]
fn without_a_mount_namespace() {
    let test = || {
        let mut test = TestBundle::new(&["sleep", "1000"]);
        test.config["linux"]["namespaces"] = json!([{ "type": "pid" }, { "type": "ipc" }]);
        for field in ["maskedPaths", "readonlyPaths"] {
            test.config["linux"].as_object_mut().unwrap().remove(field);
        }
        test.config.as_object_mut().unwrap().remove("hostname");
        test.config["mounts"] = json!([{ "destination": "/proc", "type": "proc", "source": "proc" }]);
        test
    };
    let probe = test();
    let path = probe.write().path();
    let mut command = corten(&probe, &["create", "-b", path.to_str().unwrap(), &probe.id]);
    let made = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success();
    corten(&probe, &["delete", "--force", &probe.id]).output().unwrap();
    if !made {
        return skip("this kernel cannot mount on detached trees (Linux 6.15)");
    }
    let sleeper = Sleeper::new(|bundle| *bundle = test());
    let inside = sleeper.shell(&[], "ls /; echo --; readlink /proc/self/root");
    assert!(inside.contains("bin\n") && !inside.contains("boot"), "{inside}");
    let host = fs::read_link("/proc/self/ns/mnt").unwrap();
    assert_eq!(sleeper.prints(&[], &["readlink", "/proc/self/ns/mnt"]).trim(), host.to_str().unwrap());
}

#[container_test]
fn with_chroot_for_pivot_root() {
    let test = TestBundle::new(&["sleep", "1000"]);
    let path = test.write().path();
    let arguments = ["run", "-d", "--no-pivot", "-b", path.to_str().unwrap(), &test.id];
    assert!(
        corten(&test, &arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    );
    let sleeper = Sleeper(test);
    let inside = sleeper.shell(&["--cwd", "/etc"], "pwd; ls /");
    assert!(inside.starts_with("/etc\n") && inside.contains("bin\n") && !inside.contains("boot"), "{inside}");
}

/// config.md: `execCPUAffinity`.
#[container_test]
fn cpus_of_the_process() {
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let all = field(&own, "Cpus_allowed_list").to_owned();
    if all == "0" {
        return skip("one CPU");
    }
    let sleeper = Sleeper::new(|test| {
        test.config["process"]["execCPUAffinity"] = json!({ "initial": "0", "final": "1" })
    });
    let cpus = |process: &Value| {
        let status = sleeper.prints(&["-p", &sleeper.process(process)], &[]);
        field(&status, "Cpus_allowed_list").to_owned()
    };
    let mut process = json!({ "cwd": "/", "args": ["cat", "/proc/self/status"], "env": ["PATH=/bin"] });
    assert_eq!(cpus(&process), "1");
    process["execCPUAffinity"] = json!({ "initial": "1" });
    assert_eq!(cpus(&process), all);
    process["execCPUAffinity"] = json!({ "final": "0" });
    assert_eq!(cpus(&process), "0");
    process["execCPUAffinity"] = json!({ "initial": "4000" });
    let said = sleeper.fails(&["-p", &sleeper.process(&process)], &[]);
    assert!(said.contains("process.execCPUAffinity.initial") && said.ends_with("invalid argument"), "{said}");
}

/// The agent of the container's filter is told of the process, and of the container it is in.
#[container_test]
fn the_agent_is_told_of_the_process() {
    let test = TestBundle::new(&["sleep", "1000"]);
    let socket = test.beside("agent");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut test = test;
    test.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": socket,
        "syscalls": [{ "names": ["mkdirat"], "action": "SCMP_ACT_NOTIFY" }],
    });
    let agent =
        std::thread::spawn(move || [receive(&listener), receive(&listener)].map(|received| received.data));
    let init = create(&test);
    succeed(&test, &["start", &test.id]);
    let sleeper = Sleeper(test);
    assert_eq!(sleeper.prints(&[], &["echo", "hello"]), "hello\n");
    let [_, told] = agent.join().unwrap();
    let told: Value = serde_json::from_slice(&told).unwrap();
    assert_eq!((&told["state"]["pid"], &told["state"]["status"]), (&json!(init), &json!("running")));
    assert_ne!(told["pid"], json!(init));
}

/// The log has exactly one JSON object.
#[container_test]
fn a_failure_is_logged_once() {
    let sleeper = Sleeper::plain();
    let log = sleeper.0.beside("log.json");
    let arguments =
        ["--log", log.to_str().unwrap(), "--log-format", "json", "exec", &sleeper.0.id, "nothing"];
    let output = corten(&sleeper.0, &arguments).output().unwrap();
    assert!(error(&output).ends_with("executable file not found in $PATH"));
    let logged: Value = serde_json::from_str(&fs::read_to_string(log).unwrap()).unwrap();
    assert_eq!(logged["level"], "error");
}

/// A container that freezes its own cgroup does not hold the runtime up for good.
#[container_test]
fn a_frozen_cgroup_of_the_container_s_own() {
    let sleeper = Sleeper::plain();
    let Some(top) = cgroup_of(&sleeper.0).into_iter().find(|top| top.join("cgroup.freeze").exists()) else {
        return skip("no cgroup v2");
    };
    cgroup_of(&sleeper.0).iter().for_each(|top| fs::create_dir(top.join("below")).unwrap());
    let below = top.join("below");
    fs::write(below.join("cgroup.freeze"), "1").unwrap();
    let mut command = corten(&sleeper.0, &["exec", "--cgroup", "below", &sleeper.0.id, "true"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("nobody is in it", || !fs::read_to_string(below.join("cgroup.procs")).unwrap().is_empty());
    // It listens to signals all the same.
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    let state = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    until("it does not sleep", || state().contains(") S "));
    fs::write(below.join("cgroup.freeze"), "0").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Whoever starts the runtime may have SIGCHLD ignored; then children are nobody's to wait for.
#[container_test]
fn with_sigchld_ignored() {
    let sleeper = Sleeper::plain();
    let root = sleeper.0.state_root();
    let script = format!(
        "trap '' CHLD; exec {} --root {} exec {} sh -c 'exit 7'",
        common::CORTEN,
        root.display(),
        sleeper.0.id
    );
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{output:?}");
}

/// The annotation is about the container's init: its receiver need not be there any more.
#[container_test]
fn the_receiver_of_init_s_pidfd_is_not_told() {
    let mut test = TestBundle::new(&["sleep", "1000"]);
    let socket = test.beside("pidfd");
    test.config["annotations"] = json!({ "run.oci.pidfd_receiver": socket });
    let listener = UnixListener::bind(&socket).unwrap();
    let receiver = std::thread::spawn(move || receive(&listener).data);
    create(&test);
    assert_eq!(receiver.join().unwrap(), b"standard");
    fs::remove_file(&socket).unwrap();
    succeed(&test, &["start", &test.id]);
    assert_eq!(Sleeper(test).prints(&[], &["echo", "hello"]), "hello\n");
}
