//! What a container gets from the process that calls the runtime, and what that process gets from it: sockets
//! of a service manager, stdio, signals, orphans, keyring, environment.

use std::fs::{self, File};
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::common::{
    self, CORTEN, MAPPED_ROOT, TestBundle, corten, create_by, fail, one_error, quietly, state, stdout,
    succeed, until, wait_for,
};
use container_test::container_test;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use serde_json::{Value, json};

/// A container that runs a script of the shell.
fn script(text: &str) -> TestBundle {
    TestBundle::new(&["sh", "-c", text])
}

/// `corten run` by a shell that does something first. The shell's `$@` is corten with its arguments.
fn run_by_shell(test: &TestBundle, shell: &str, flags: &[&str]) -> Output {
    let path = test.write().path();
    let mut command = Command::new("sh");
    command.args(["-c", shell, "sh", CORTEN, "--root"]).arg(test.state_root());
    command.args(["run", "-b"]).arg(path).args(flags).arg(&test.id).stdin(Stdio::null());
    command.output().unwrap()
}

#[container_test]
fn sockets_of_socket_activation_come_first() {
    let mut test =
        script("read a <&3; read b <&4; echo $LISTEN_FDS $LISTEN_PID $a $b; ls /proc/self/fd | wc -l");
    test.config["process"]["env"] = json!(["PATH=/bin", "LISTEN_FDS=77", "LISTEN_PID=88"]);
    for name in ["three", "four", "five"] {
        fs::write(test.beside(name), format!("{name}\n")).unwrap();
    }
    let open = format!("cd {}; exec 3<three 4<four 5<five 6<&- 7<&-; ", test.beside("").display());
    let passed = |variables: &str, flags: &[&str]| {
        run_by_shell(&test, &format!("{open} {variables} exec env \"$@\""), flags)
    };
    let mine = "LISTEN_PID=$$";
    // The three of stdio, what was passed, and the directory that ls reads.
    assert_eq!(
        stdout(&passed(&format!("{mine} LISTEN_FDS=1"), &["--preserve-fds", "1"])),
        "1 1 three four\n6\n"
    );
    assert_eq!(stdout(&passed(&format!("{mine} LISTEN_FDS=2"), &[])), "2 1 three four\n6\n");
    // For another process, or no number: as if it were not there.
    for variables in ["LISTEN_PID=1 LISTEN_FDS=2", "LISTEN_FDS=2", "LISTEN_PID=$$ LISTEN_FDS=many"] {
        let seen = stdout(&passed(variables, &["--preserve-fds", "2"]));
        assert_eq!(seen, "77 88 three four\n6\n", "{variables}");
    }
    let error = one_error(&passed(&format!("{mine} LISTEN_FDS=4"), &["--preserve-fds", "1"]));
    assert!(error.ends_with("LISTEN_FDS: fd 6 is to be preserved but is not open"), "{error}");
    assert_eq!(
        stdout(&passed(&format!("{mine} LISTEN_FDS=2"), &["--preserve-fds", "5"])),
        "2 1 three four\n7\n"
    );
    let error =
        one_error(&passed(&format!("{mine} LISTEN_FDS=4294967295"), &["--preserve-fds", "4294967295"]));
    assert!(error.ends_with("LISTEN_FDS: fd 6 is to be preserved but is not open"), "{error}");
}

/// A service manager's socket.
struct Manager {
    socket: UnixDatagram,
    name: PathBuf,
}

impl Manager {
    fn new(test: &TestBundle) -> Self {
        let name = test.beside("manager");
        let socket = UnixDatagram::bind(&name).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { socket, name }
    }

    fn heard_nothing(&self) {
        self.socket.set_nonblocking(true).unwrap();
        let error = self.socket.recv(&mut [0; 100]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        self.socket.set_nonblocking(false).unwrap();
    }

    /// The next message, and the fd with it.
    fn hear(&self) -> (String, Option<OwnedFd>) {
        let mut buffer = [0; 1000];
        let mut control = nix::cmsg_space!([i32; 4]);
        let mut into = [IoSliceMut::new(&mut buffer)];
        let got =
            recvmsg::<()>(self.socket.as_raw_fd(), &mut into, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)
                .unwrap();
        let fds = got.cmsgs().unwrap().find_map(|message| match message {
            ControlMessageOwned::ScmRights(fds) => Some(fds),
            _ => None,
        });
        let length = got.bytes;
        // SAFETY: the kernel has just made this fd for this process, and nobody else knows its number.
        let fd = fds.map(|fds| unsafe { OwnedFd::from_raw_fd(fds[0]) });
        (String::from_utf8_lossy(&buffer[..length]).into_owned(), fd)
    }

    /// Hears that the service is ready, and returns what keeps the barrier up.
    fn hears_ready(&self, main_pid: u32) -> OwnedFd {
        assert_eq!(self.hear().0, "READY=1\n");
        assert_eq!(self.hear().0, format!("MAINPID={main_pid}\n"));
        let (text, fd) = self.hear();
        assert_eq!(text, "BARRIER=1");
        fd.unwrap()
    }
}

/// Runs corten with a service manager. What the container says is in the file `said`.
fn notify(test: &TestBundle, manager: &str, arguments: &[&str]) -> Child {
    let (out, err) =
        (File::create(test.beside("said")).unwrap(), File::create(test.beside("errors")).unwrap());
    let mut command = corten(test, arguments);
    command.env("NOTIFY_SOCKET", manager).stdout(out).stderr(err).spawn().unwrap()
}

fn said(test: &TestBundle) -> String {
    fs::read_to_string(test.beside("said")).unwrap()
}

/// The container's socket, as the container sees it.
fn inside(test: &TestBundle) -> PathBuf {
    until("it does not run", || corten_state(test).is_some_and(|state| state["status"] == "running"));
    format!("/proc/{}/root/run/notify/notify.sock", state(test)["pid"]).into()
}

/// Waits for the end, and a while at most.
fn ended(mut child: Child) -> i32 {
    until("it does not end", || child.try_wait().unwrap().is_some());
    child.wait().unwrap().code().unwrap()
}

/// A container that tells what it sees and goes on.
const NOTIFIED: &str =
    "echo $NOTIFY_SOCKET; grep /run/notify /proc/self/mountinfo; touch /run/notify/x; exec sleep 1000";

#[container_test]
fn readiness_is_forwarded_and_nothing_else() {
    let mut test = script(NOTIFIED);
    test.config["process"]["env"] = json!(["PATH=/bin", "NOTIFY_SOCKET=/of/the/config"]);
    test.config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    let manager = Manager::new(&test);
    let path = test.write().path();
    let mut child =
        notify(&test, manager.name.to_str().unwrap(), &["run", "-d", "-b", path.to_str().unwrap(), &test.id]);
    let socket = inside(&test);
    until("it says nothing", || said(&test).lines().count() >= 2);
    let seen = said(&test);
    assert!(seen.starts_with("/run/notify/notify.sock\n"), "{seen}");
    assert!(seen.contains(" /run/notify ro,nosuid,nodev,noexec"), "{seen}");
    until("no refusal", || {
        fs::read_to_string(test.beside("errors")).unwrap().contains("Read-only file system")
    });

    let container = UnixDatagram::unbound().unwrap();
    for text in ["STATUS=up", "MAINPID=1", "WATCHDOG=trigger", "READY=0", "READY=1x", "", "\0\0\n\nERRNO=2"] {
        container.send_to(text.as_bytes(), &socket).unwrap();
    }
    container.send_to(&[b'x'; 100_000], &socket).unwrap();
    let (_reader, writer) = nix::unistd::pipe().unwrap();
    let fds = [writer.as_raw_fd()];
    let address = UnixAddr::new(&socket).unwrap();
    let with_fd = [ControlMessage::ScmRights(&fds)];
    sendmsg(
        container.as_raw_fd(),
        &[IoSlice::new(b"FDSTORE=1")],
        &with_fd,
        MsgFlags::empty(),
        Some(&address),
    )
    .unwrap();
    std::thread::sleep(Duration::from_millis(100));
    manager.heard_nothing();
    assert!(child.try_wait().unwrap().is_none(), "it waits");

    container.send_to(b"STATUS=up\nREADY=1\nMAINPID=1", &socket).unwrap();
    let pid = u32::try_from(state(&test)["pid"].as_u64().unwrap()).unwrap();
    let barrier = manager.hears_ready(pid);
    std::thread::sleep(Duration::from_millis(100));
    assert!(child.try_wait().unwrap().is_none(), "it waits for the manager");
    drop(barrier);
    assert_eq!(ended(child), 0);
    manager.heard_nothing();
    assert_eq!(container.send_to(b"READY=1", &socket).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    succeed(&test, &["delete", "--force", &test.id]);
}

#[container_test]
fn start_waits_for_readiness_and_create_does_not() {
    let mut test = script(NOTIFIED);
    test.map_ids();
    let manager = Manager::new(&test);
    let address = manager.name.to_str().unwrap();
    create_by(&test, |arguments| {
        let mut command = corten(&test, arguments);
        command.env("NOTIFY_SOCKET", address);
        command
    });
    assert!(
        fs::read_dir(test.state_root().join(&test.id).join("notify")).unwrap().next().is_none(),
        "no socket yet"
    );
    let child = notify(&test, address, &["start", &test.id]);
    let socket = inside(&test);
    let pid = u32::try_from(state(&test)["pid"].as_u64().unwrap()).unwrap();
    UnixDatagram::unbound().unwrap().send_to(b"READY=1", &socket).unwrap();
    drop(manager.hears_ready(pid));
    assert_eq!(ended(child), 0);
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o777, "any user of the container may say it");
    succeed(&test, &["delete", "--force", &test.id]);
}

#[container_test]
fn a_container_may_end_without_a_word() {
    let test = script("sleep 0.2; exit 5");
    let manager = Manager::new(&test);
    let address = manager.name.to_str().unwrap();
    let path = test.write().path();
    let path = path.to_str().unwrap();
    assert_eq!(ended(notify(&test, address, &["run", "-d", "-b", path, &test.id])), 0);
    succeed(&test, &["delete", &test.id]);
    assert_eq!(ended(notify(&test, address, &["run", "-b", path, &test.id])), 5);
    manager.heard_nothing();
}

/// In the foreground the main process is the runtime, which forwards signals meanwhile.
#[container_test]
fn readiness_in_the_foreground() {
    let test = script("trap 'exit 9' TERM; trap 'echo usr1' USR1; while :; do sleep 0.1; done");
    // By an abstract name, as that of systemd's own.
    let name = format!("corten-test-{}", test.id);
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let manager = Manager { socket, name: PathBuf::new() };
    let path = test.write().path();
    let child = notify(&test, &format!("@{name}"), &["run", "-b", path.to_str().unwrap(), &test.id]);
    let socket = inside(&test);
    let corten = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    until("no signal comes", || {
        nix::sys::signal::kill(corten, nix::sys::signal::SIGUSR1).unwrap();
        said(&test).contains("usr1")
    });
    UnixDatagram::unbound().unwrap().send_to(b"READY=1\n", &socket).unwrap();
    let barrier = manager.hears_ready(child.id());
    // A manager that is slow keeps no signal back.
    nix::sys::signal::kill(corten, nix::sys::signal::SIGTERM).unwrap();
    until("it runs on", || corten_state(&test).is_none());
    drop(barrier);
    assert_eq!(ended(child), 9);
}

fn corten_state(test: &TestBundle) -> Option<Value> {
    serde_json::from_slice(&corten(test, &["state", &test.id]).output().unwrap().stdout).ok()
}

/// A socket that nobody listens at, as it is inherited by accident.
#[container_test]
fn a_dead_service_manager() {
    let test = TestBundle::new(&["sleep", "1000"]);
    let path = test.write().path();
    let path = path.to_str().unwrap();
    for address in ["/nosuch/socket", "@corten-nobody", "vsock:2:1", &"x".repeat(200)] {
        assert_eq!(ended(notify(&test, address, &["run", "-d", "-b", path, &test.id])), 0, "{address}");
        let told = fs::read_to_string(test.beside("errors")).unwrap();
        assert!(told.starts_with("connect(NOTIFY_SOCKET ") && told.lines().count() == 1, "{told}");
        assert_eq!(state(&test)["status"], "running");
        succeed(&test, &["delete", "--force", &test.id]);
        create_by(&test, |arguments| {
            let mut command = corten(&test, arguments);
            command.env("NOTIFY_SOCKET", address);
            command
        });
        assert_eq!(ended(notify(&test, address, &["start", &test.id])), 1, "{address}");
        succeed(&test, &["delete", "--force", &test.id]);
    }
    // Created without one.
    common::create(&test);
    assert_eq!(ended(notify(&test, "/nosuch/socket", &["start", &test.id])), 0);
    succeed(&test, &["delete", "--force", &test.id]);
}

/// The children of a process, zombies included.
fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

#[container_test]
fn orphans_come_to_the_runtime_and_are_reaped() {
    let text = "(sleep 0.3 & echo $!); (sleep 1000 & echo $!); (sleep 0.3 & echo $!); read line; exit 4";
    let mut test = script(text);
    test.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
    let path = test.write().path();
    for is_reaper in [true, false] {
        let mut command = corten(&test, &["run", "-b", path.to_str().unwrap(), &test.id]);
        if !is_reaper {
            command.arg("--no-subreaper");
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = [0; 1];
        let mut text = String::new();
        while text.lines().count() < 3 || !text.ends_with('\n') {
            child.stdout.as_mut().unwrap().read_exact(&mut lines).unwrap();
            text.push(char::from(lines[0]));
        }
        let pids: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
        let init = u32::try_from(state(&test)["pid"].as_u64().unwrap()).unwrap();
        if is_reaper {
            let mut expected = vec![init, pids[1]];
            expected.sort_unstable();
            until("not reaped", || {
                let mut left = children(child.id());
                left.sort_unstable();
                left == expected
            });
        } else {
            assert_eq!(children(child.id()), [init]);
        }
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().code(), Some(4));
        test.assert_nothing_left("orphans");
    }
}

/// Who starts the runtime with SIGCHLD ignored gets the exit status all the same.
#[container_test]
fn a_caller_that_ignores_sigchld() {
    let mut test = script("exit 42");
    test.config["hooks"] =
        json!({ "poststop": [{ "path": "/bin/true" }], "createRuntime": [{ "path": "/bin/true" }] });
    let output = run_by_shell(&test, "trap '' CHLD; exec \"$@\"", &[]);
    assert_eq!(output.status.code(), Some(42), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[container_test]
fn closed_stdio_is_the_null_device() {
    let test = TestBundle::new(&["sleep", "1000"]);
    let output = run_by_shell(&test, "exec \"$@\" <&- >&- 2>&-", &["-d"]);
    assert_eq!(output.status.code(), Some(0));
    let files = format!("/proc/{}/fd", state(&test)["pid"]);
    let mut seen: Vec<_> =
        fs::read_dir(files).unwrap().map(|file| fs::read_link(file.unwrap().path()).unwrap()).collect();
    seen.sort();
    assert_eq!(seen, ["/dev/null"; 3].map(PathBuf::from));
    succeed(&test, &["delete", "--force", &test.id]);
}

#[container_test]
fn stdio_is_the_callers() {
    let test = script("cat; echo err >&2; readlink /proc/self/fd/0");
    let path = test.write().path();
    let (input, out) = (test.beside("in"), test.beside("both"));
    fs::write(&input, "in\n").unwrap();
    // One file for both, which are to keep one position.
    let both = File::create(&out).unwrap();
    let mut command = corten(&test, &["run", "-b", path.to_str().unwrap(), &test.id]);
    command.stdin(File::open(&input).unwrap()).stdout(both.try_clone().unwrap()).stderr(both);
    assert!(command.status().unwrap().success());
    let seen = fs::read_to_string(&out).unwrap();
    assert!(seen.starts_with("in\nerr\n/") && seen.trim_end().ends_with("/in"), "{seen}");
    // When the reader goes away, it is the container that gets to know it. (The first process of a PID
    // namespace would ignore SIGPIPE.)
    let mut test = script("while :; do echo y; done");
    test.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
    let path = test.write().path();
    let mut command = corten(&test, &["run", "-b", path.to_str().unwrap(), &test.id]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 2]).unwrap();
    drop(child.stdout.take());
    assert_eq!(ended(child), 128 + nix::libc::SIGPIPE);
}

/// Opens all three of stdio again, as programs do that are told to log to `/dev/stdout`.
const REOPEN: &str = "cat < /dev/stdin > /dev/stdout; echo err > /dev/stderr";

/// Runs a command with pipes, which belong to root, and one input line; returns what came out of both.
fn with_pipes(mut command: Command) -> String {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"in\n").unwrap();
    let output = child.wait_with_output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[container_test]
fn stdio_in_a_user_namespace_can_be_opened_again() {
    let mut test = script(REOPEN);
    test.map_ids();
    let path = test.write().path().to_owned();
    let path = path.to_str().unwrap();
    for uid in [0, 33] {
        test.config["process"]["user"] = json!({ "uid": uid, "gid": uid });
        test.write();
        assert_eq!(with_pipes(corten(&test, &["run", "-b", path, &test.id])), "in\nerr\n", "run as {uid}");
        assert_eq!(
            with_pipes(corten(&test, &["run", "-d", "-b", path, &test.id])),
            "in\nerr\n",
            "run -d as {uid}"
        );
        succeed(&test, &["delete", "--force", &test.id]);
        // What waits for `start` keeps the pipes open: by one shell.
        let create = "\"$@\" create -b \"$B\" \"$I\"; \"$@\" start \"$I\"";
        let mut command = Command::new("sh");
        command
            .args(["-c", create, "sh", CORTEN, "--root"])
            .arg(test.state_root())
            .env("B", path)
            .env("I", &test.id);
        assert_eq!(with_pipes(command), "in\nerr\n", "create and start as {uid}");
        succeed(&test, &["delete", "--force", &test.id]);
        // In the background nobody could copy: files are given to the user, too.
        let files = Files::new(&test, b"in\n");
        assert!(
            files.stdio_of(corten(&test, &["run", "-d", "-b", path, &test.id])).status().unwrap().success()
        );
        wait_for(&test, "stopped");
        succeed(&test, &["delete", "--force", &test.id]);
        assert_eq!((files.read(), files.owner()), (["in\n", "err\n"].map(str::to_owned), MAPPED_ROOT + uid));
    }
}

/// Files for stdio that nobody but their owner, root, may open.
struct Files([PathBuf; 3]);

impl Files {
    fn new(test: &TestBundle, input: &[u8]) -> Self {
        let files = ["in", "out", "err"].map(|name| test.beside(name));
        for file in &files {
            drop(fs::remove_file(file));
            File::options().write(true).create_new(true).mode(0o600).open(file).unwrap();
        }
        fs::write(&files[0], input).unwrap();
        Self(files)
    }

    fn stdio_of(&self, mut command: Command) -> Command {
        let [input, out, err] = &self.0;
        let write = |path| File::options().write(true).open(path).unwrap();
        command.stdin(File::open(input).unwrap()).stdout(write(out)).stderr(write(err));
        command
    }

    /// What came out.
    fn read(&self) -> [String; 2] {
        [1, 2].map(|number: usize| fs::read_to_string(&self.0[number]).unwrap())
    }

    /// Whose they are now, all three.
    fn owner(&self) -> u32 {
        let [input, out, err] = self.0.each_ref().map(|file| fs::metadata(file).unwrap().uid());
        assert_eq!([input, err], [out; 2]);
        out
    }
}

/// The caller's log does not become the container's, and what is written by other names does not overwrite
/// it.
#[container_test]
fn files_of_others_are_copied_in_the_foreground_and_keep_their_owner() {
    let reopen = "echo first > /dev/stdout; cat < /dev/stdin; echo err > /dev/stderr; exit 7";
    for (uid, mapped) in [(0, true), (33, true), (33, false)] {
        let mut test = script(reopen);
        if mapped {
            test.map_ids();
        }
        test.config["process"]["user"] = json!({ "uid": uid, "gid": uid });
        let path = test.write().path().to_owned();
        // More than a pipe takes at once.
        let input = "line\n".repeat(50_000);
        let expected = [format!("first\n{input}"), "err\n".to_owned()];
        let files = Files::new(&test, input.as_bytes());
        let status =
            files.stdio_of(corten(&test, &["run", "-b", path.to_str().unwrap(), &test.id])).status().unwrap();
        assert_eq!(
            (status.code(), files.read() == expected, files.owner()),
            (Some(7), true, 0),
            "run {uid} {mapped}"
        );

        test.config["process"]["args"] = json!(["sleep", "1000"]);
        test.write();
        quietly(&test, &["run", "-d", "-b", path.to_str().unwrap(), &test.id]);
        let files = Files::new(&test, input.as_bytes());
        let uid = uid.to_string();
        let exec = |script| corten(&test, &["exec", "-u", &uid, &test.id, "sh", "-c", script]);
        let status = files.stdio_of(exec(reopen)).status().unwrap();
        assert_eq!(
            (status.code(), files.read() == expected, files.owner()),
            (Some(7), true, 0),
            "exec {uid} {mapped}"
        );
        // Whoever is left behind has it, too; a signal ends the wait for that one.
        let files = Files::new(&test, b"");
        assert!(files.stdio_of(exec("(sleep 1; echo late) & echo early")).status().unwrap().success());
        assert_eq!(files.read()[0], "early\nlate\n");
        let mut child = files.stdio_of(exec("sleep 1000 & echo gone >&2; exit 3")).spawn().unwrap();
        until("not written", || files.read()[1] == "gone\n");
        std::thread::sleep(std::time::Duration::from_millis(500));
        assert_eq!(child.try_wait().unwrap(), None);
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(child.id().cast_signed()),
            nix::sys::signal::Signal::SIGINT,
        )
        .unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(3));
        succeed(&test, &["delete", "--force", &test.id]);
    }
}

#[container_test]
fn stdio_of_an_exec_in_a_user_namespace_can_be_opened_again() {
    // In a PID namespace of its own, and not.
    for own_pids in [true, false] {
        let mut test = TestBundle::new(&["sleep", "1000"]);
        test.map_ids();
        if !own_pids {
            let namespaces = test.config["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|namespace| namespace["type"] != "pid");
            // Without one there is no procfs to be had.
            let mounts = test.config["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["destination"] != "/proc");
            mounts.push(
                json!({ "destination": "/proc", "source": "/proc", "type": "bind", "options": ["rbind"] }),
            );
        }
        let path = test.write().path();
        quietly(&test, &["run", "-d", "-b", path.to_str().unwrap(), &test.id]);
        for user in ["0", "33"] {
            for detached in [&[][..], &["-d"]] {
                let arguments = [&["exec", "-u", user], detached, &[&test.id, "sh", "-c", REOPEN]].concat();
                assert_eq!(with_pipes(corten(&test, &arguments)), "in\nerr\n", "{arguments:?}");
            }
        }
        // Devices of the host stay the host's.
        let zero = fs::metadata("/dev/zero").unwrap().uid();
        let mut command = corten(&test, &["exec", &test.id, "true"]);
        assert!(command.stdin(File::open("/dev/zero").unwrap()).status().unwrap().success());
        assert_eq!(fs::metadata("/dev/zero").unwrap().uid(), zero);
        succeed(&test, &["delete", "--force", &test.id]);
    }
}

#[container_test]
fn a_session_keyring_of_its_own() {
    // A ring of its own is for all to see a while longer: each container has another name.
    let keys = |flags: &[&str]| {
        let mut test = script("cat /proc/keys");
        test.config["linux"]["maskedPaths"] = json!([]);
        let path = test.write().path();
        let seen = succeed(&test, &[&["run", "-b", path.to_str().unwrap()], flags, &[&test.id]].concat());
        test.assert_nothing_left("keyring");
        (seen, format!("_ses.{}:", test.id))
    };
    let (own, name) = keys(&[]);
    let ring = own.lines().find(|line| line.contains(&name)).unwrap_or_else(|| panic!("{own}"));
    // Its user may search it, as with runc: later processes of the container join it by its name.
    assert_eq!(ring.split_whitespace().nth(4), Some("3f1b0000"), "{ring}");
    let (callers, name) = keys(&["--no-new-keyring"]);
    assert!(!callers.contains(&name), "{callers}");
}

/// As Podman calls runtimes: with `XDG_RUNTIME_DIR` alone, or nothing.
#[container_test]
fn an_empty_environment() {
    let mut test = script("env; exec sleep 1000");
    test.config["process"]["env"] = json!(["PATH=/bin"]);
    let path = test.write().path();
    let path = path.to_str().unwrap();
    let (out, run) = (test.beside("out"), test.beside("run"));
    let bare = |arguments: &[&str]| {
        let mut command = corten(&test, arguments);
        command.env_clear().env("XDG_RUNTIME_DIR", &run).current_dir("/");
        command
    };
    let created = bare(&["create", "-b", path, &test.id])
        .stdout(File::create(&out).unwrap())
        .stderr(Stdio::null())
        .status();
    assert!(created.unwrap().success());
    let quiet = |arguments: &[&str]| stdout(&bare(arguments).output().unwrap());
    assert_eq!(quiet(&["start", &test.id]), "");
    until("it says nothing", || fs::read_to_string(&out).unwrap().contains("HOME="));
    let seen = fs::read_to_string(&out).unwrap();
    let mut names: Vec<_> = seen.lines().map(|line| line.split_once('=').unwrap().0).collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "PATH", "PWD", "SHLVL"], "{seen}");
    let pid = state(&test)["pid"].to_string();
    // What engines parse is all that is printed.
    for (arguments, expected) in [
        (&["ps", "--format", "json", &test.id][..], format!("[{pid}]\n")),
        (&["pause", &test.id], String::new()),
        (&["resume", &test.id], String::new()),
        (&["update", "--resources", "/dev/stdin", &test.id], String::new()),
        (&["list", "-q"], format!("{}\n", test.id)),
        (&["kill", &test.id, "KILL"], String::new()),
    ] {
        let mut command = bare(arguments);
        if arguments[0] == "update" {
            fs::write(test.beside("resources"), "{}").unwrap();
            command.stdin(File::open(test.beside("resources")).unwrap());
        }
        assert_eq!(stdout(&command.output().unwrap()), expected, "{arguments:?}");
    }
    wait_for(&test, "stopped");
    for arguments in
        [&["state", &test.id][..], &["events", "--stats", &test.id], &["features"], &["--version"]]
    {
        bare(arguments).output().unwrap();
    }
    assert_eq!(quiet(&["delete", &test.id]), "");
}

/// Warnings are no failure, and a failure is the only entry in the log: Podman reads the whole file as one
/// object.
#[container_test]
fn a_failure_is_alone_in_the_log() {
    let mut test = TestBundle::new(&["nosuch"]);
    test.config["process"]["selinuxLabel"] = json!("system_u:system_r:container_t:s0");
    let (path, log) = (test.write().path(), test.beside("log"));
    let flags = ["--log", log.to_str().unwrap(), "--log-format", "json"];
    let create = [&flags[..], &["create", "-b", path.to_str().unwrap(), &test.id]].concat();
    let error = fail(&test, &create);
    let entry: Value = serde_json::from_str(&fs::read_to_string(&log).unwrap()).unwrap();
    assert_eq!((&entry["level"], &entry["msg"]), (&json!("error"), &json!(error)));
    fs::remove_file(&log).unwrap();
    test.config["process"]["args"] = json!(["true"]);
    test.write();
    assert!(corten(&test, &create).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    let text = fs::read_to_string(&log).unwrap();
    let entry: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(entry["level"], "warning", "{text}");
    succeed(&test, &["delete", &test.id]);
}

/// An fd of the runtime's own would be the container's stdin otherwise.
#[container_test]
fn stdio_that_is_closed_is_the_null_device() {
    let test = script("readlink /proc/self/fd/0");
    let corten = corten(&test, &["run", "-b", test.write().path().to_str().unwrap(), &test.id]);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "exec \"$@\" <&-", "sh", common::CORTEN]).args(corten.get_args());
    assert_eq!(stdout(&command.output().unwrap()), "/dev/null\n");
}
