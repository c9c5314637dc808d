//! Those who get fds of a container over their sockets: seccomp agents, and whoever wants init's pidfd.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::common::{
    self, Received, TestBundle, Variant, corten, fail, one_error, receive, receive_from, state, stdout,
    succeed, wait_for,
};
use container_test::container_test;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen};
use serde_json::{Value, json};

/// What agents answer to mkdir: nothing that a kernel would say here.
const ANSWER: i32 = libc::EOWNERDEAD;
const REFUSED: &str = "mkdir: can't create directory '/dev/shm/made': Owner died\n";

/// What an agent was asked: system call and pid.
type Asked = Vec<(i64, u32)>;

/// The next who asks, or `None` when nobody is left who could.
fn next(listener: &OwnedFd) -> Option<libc::seccomp_notif> {
    // _IOWR('!', 0, struct seccomp_notif)
    const RECV: libc::Ioctl = 0xc050_2100u32 as libc::Ioctl;
    loop {
        let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        assert_ne!(poll(&mut fds, PollTimeout::from(30_000u16)).unwrap(), 0, "nobody asks, nobody ends");
        if !fds[0].revents().unwrap().contains(PollFlags::POLLIN) {
            return None;
        }
        // SAFETY: all zeroes is a value of these structures of integers; the kernel demands it of the first.
        let mut request: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the argument is the structure that the call's number names, and outlives the call. It fails
        // if who asked has been killed meanwhile.
        if unsafe { libc::ioctl(listener.as_raw_fd(), RECV, &raw mut request) } == 0 {
            return Some(request);
        }
    }
}

/// Lets a call fail with an errno, or go on.
fn reply(listener: &OwnedFd, id: u64, errno: Option<i32>) {
    // _IOWR('!', 1, struct seccomp_notif_resp)
    const SEND: libc::Ioctl = 0xc018_2101u32 as libc::Ioctl;
    const CONTINUE: u32 = 1;
    let (error, flags) = errno.map_or((0, CONTINUE), |errno| (-errno, 0));
    let mut response = libc::seccomp_notif_resp { id, val: 0, error, flags };
    // SAFETY: the argument is the structure that the call's number names, and outlives the call. Whoever
    // asked may have been killed; then there is nobody to be told.
    unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw mut response) };
}

/// Answers until nobody is left who could ask: mkdir fails with the chosen errno, all else goes on.
fn answer(listener: &OwnedFd) -> Asked {
    let mut asked = Vec::new();
    while let Some(request) = next(listener) {
        let number = i64::from(request.data.nr);
        let is_mkdir = number == libc::SYS_mkdirat || MKDIR == Some(number);
        asked.push((number, request.pid));
        reply(listener, request.id, is_mkdir.then_some(ANSWER));
    }
    asked
}

#[cfg(target_arch = "x86_64")]
const MKDIR: Option<i64> = Some(libc::SYS_mkdir);
#[cfg(not(target_arch = "x86_64"))]
const MKDIR: Option<i64> = None;

/// An agent that takes one listener and answers for it; returns what it got, and what it was asked.
fn agent(path: &Path) -> JoinHandle<(Received, Asked)> {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        let received = receive(&listener);
        let asked = answer(&received.fd);
        // There was no other connection.
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        (received, asked)
    })
}

/// A container whose calls of these names are an agent's to answer.
fn bundle(script: &str, calls: &[&str]) -> (TestBundle, PathBuf) {
    let mut test = TestBundle::new(&["sh", "-c", script]);
    let socket = test.beside("agent.sock");
    test.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": socket,
        "syscalls": [{ "names": calls, "action": "SCMP_ACT_NOTIFY" }],
    });
    (test, socket)
}

const MKDIRS: [&str; 2] = ["mkdir", "mkdirat"];
const TRY: &str = "mkdir /dev/shm/made 2>&1; ls /dev/shm";

/// `create` and `start`, to the program's end; returns what it wrote, and init's pid.
fn create_and_start(test: &TestBundle, more: &[&str]) -> (String, Value) {
    let (path, out) = (test.write().path(), test.beside("out"));
    let arguments = [&["create", "-b", path.to_str().unwrap()], more, &[&test.id]].concat();
    let (to, errors) = (fs::File::create(&out).unwrap(), test.beside("errors"));
    let status =
        corten(test, &arguments).stdout(to).stderr(fs::File::create(&errors).unwrap()).status().unwrap();
    assert!(status.success(), "{}", fs::read_to_string(errors).unwrap());
    let pid = state(test)["pid"].clone();
    succeed(test, &["start", &test.id]);
    wait_for(test, "stopped");
    (fs::read_to_string(out).unwrap(), pid)
}

fn fails(test: &TestBundle, arguments: &[&str]) -> String {
    let path = test.write().path();
    one_error(&corten(test, arguments).args(["-b", path.to_str().unwrap(), &test.id]).output().unwrap())
}

#[container_test(Root, UserNamespace)]
fn an_agent_answers_for_the_kernel(variant: Variant) {
    let mapped = variant.is_mapped();
    std::thread::scope(|scope| {
        for no_new_privileges in [false, true] {
            scope.spawn(move || agent_answers(mapped, no_new_privileges));
        }
    });
}

fn agent_answers(mapped: bool, no_new_privileges: bool) {
    let (mut test, socket) = bundle(TRY, &MKDIRS);
    test.config["process"]["noNewPrivileges"] = json!(no_new_privileges);
    test.config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    test.config["linux"]["seccomp"]["listenerMetadata"] = json!("what the agent is to know: \"é\"\n");
    test.config["annotations"] = json!({ "some.key": "some value" });
    if mapped {
        test.map_ids();
    }
    let what = format!("mapped {mapped}, noNewPrivileges {no_new_privileges}");
    let of_create = agent(&socket);
    let (said, pid) = create_and_start(&test, &[]);
    assert_eq!(said, REFUSED, "{what}");
    let (received, asked) = of_create.join().unwrap();
    let got: Value = serde_json::from_slice(&received.data).unwrap();
    let wanted = |pid: &Value| {
        json!({
            "ociVersion": "1.3.0",
            "fds": ["seccompFd"],
            "pid": pid,
            "metadata": "what the agent is to know: \"é\"\n",
            "state": {
                "ociVersion": "1.3.0", "id": test.id, "status": "creating", "pid": pid, "bundle": test.path(),
                "annotations": { "some.key": "some value" },
            },
        })
    };
    assert_eq!(got, wanted(&pid), "{what}");
    assert_eq!(asked.len(), 1, "{what}: {asked:?}");
    succeed(&test, &["delete", &test.id]);
    test.assert_nothing_left(&what);

    fs::remove_file(&socket).unwrap();
    let of_run = agent(&socket);
    assert_eq!(stdout(&common::run(&test)), REFUSED, "{what}");
    let (received, asked) = of_run.join().unwrap();
    let got: Value = serde_json::from_slice(&received.data).unwrap();
    assert_eq!(got, wanted(&got["pid"]), "{what}");
    assert!(got["pid"].as_i64().is_some_and(|pid| pid > 1));
    assert_eq!(asked.len(), 1, "{what}: {asked:?}");
    test.assert_nothing_left(&what);
}

/// The filter is in force while init goes its last steps, runs hooks and executes: all of it may be asked
/// about.
#[container_test]
fn whatever_init_does_is_answered() {
    let calls = [
        "accept",
        "accept4",
        "capset",
        "chdir",
        "clone",
        "close",
        "close_range",
        "dup3",
        "execve",
        "exit_group",
        "fcntl",
        "fork",
        "getcwd",
        "lseek",
        "memfd_create",
        "mkdir",
        "mkdirat",
        "mmap",
        "openat",
        "openat2",
        "poll",
        "ppoll",
        "prctl",
        "read",
        "recvfrom",
        "recvmsg",
        "rt_sigprocmask",
        "setgroups",
        "setresgid",
        "setresuid",
        "stat",
        "waitid",
    ];
    for no_new_privileges in [false, true] {
        let (mut test, socket) = bundle(TRY, &calls);
        test.config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        test.config["hooks"] =
            json!({ "startContainer": [{ "path": "/bin/busybox", "args": ["true"], "timeout": 10 }] });
        let of_create = agent(&socket);
        let (said, pid) = create_and_start(&test, &[]);
        assert_eq!(said, REFUSED);
        let (_, asked) = of_create.join().unwrap();
        // Pids are the agent's.
        let pid = u32::try_from(pid.as_u64().unwrap()).unwrap();
        assert!(asked.contains(&(libc::SYS_execve, pid)), "{asked:?}");
        let hooks = asked.iter().filter(|(number, by)| *number == libc::SYS_execve && *by != pid).count();
        assert!(hooks >= 1, "{asked:?}");
        succeed(&test, &["delete", &test.id]);

        fs::remove_file(&socket).unwrap();
        let of_run = agent(&socket);
        assert_eq!(stdout(&common::run(&test)), REFUSED);
        of_run.join().unwrap();
    }
}

/// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: who has asked waits for the answer, whatever signals come but for
/// fatal ones.
#[container_test(Root, UserNamespace)]
fn a_wait_that_signals_do_not_end(variant: Variant) {
    // The shell makes the call itself.
    let (mut test, socket) = bundle("trap 'echo signal' USR1; umask 077; echo done", &["umask"]);
    test.config["linux"]["seccomp"]["flags"] = json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]);
    variant.apply(&mut test);
    let listener = UnixListener::bind(&socket).unwrap();
    let agent = std::thread::spawn(move || {
        let listener = receive(&listener).fd;
        let mut first = true;
        while let Some(request) = next(&listener) {
            if std::mem::take(&mut first) {
                let pid = nix::unistd::Pid::from_raw(request.pid.try_into().unwrap());
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR1).unwrap();
                // Only now the kernel waits in another way: for what is fatal alone.
                let deadline = Instant::now() + Duration::from_secs(10);
                while !fs::read_to_string(format!("/proc/{pid}/status")).unwrap().contains("\nState:\tD") {
                    assert!(Instant::now() < deadline, "the signal has ended the wait");
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            reply(&listener, request.id, None);
        }
    });
    let output = common::run(&test);
    if String::from_utf8_lossy(&output.stderr).contains("linux.seccomp: seccomp: invalid argument") {
        return common::skip("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: Linux 5.19");
    }
    agent.join().unwrap();
    assert_eq!(stdout(&output), "signal\ndone\n");
}

/// More than a socket holds: the agent reads it in parts, and late.
#[container_test]
fn large_metadata() {
    let (mut test, socket) = bundle(TRY, &MKDIRS);
    let metadata = "m".repeat(1 << 20);
    test.config["linux"]["seccomp"]["listenerMetadata"] = json!(metadata);
    let listener = UnixListener::bind(&socket).unwrap();
    let slow = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        std::thread::sleep(Duration::from_millis(200));
        let received = receive_from(&mut connection);
        answer(&received.fd);
        received
    });
    assert_eq!(stdout(&common::run(&test)), REFUSED);
    let got: Value = serde_json::from_slice(&slow.join().unwrap().data).unwrap();
    assert_eq!(got["metadata"], metadata);
}

#[container_test]
fn no_agent() {
    let (mut test, socket) = bundle(TRY, &MKDIRS);
    let errors = ["no such file or directory", "connection refused", "connection refused"];
    for (turn, error) in errors.into_iter().enumerate() {
        match turn {
            1 => drop(UnixListener::bind(&socket).unwrap()),
            2 => {
                fs::remove_file(&socket).unwrap();
                fs::write(&socket, "").unwrap();
            }
            _ => {}
        }
        for (arguments, name) in [(&["create"][..], "create"), (&["run"], "run"), (&["run", "-d"], "run")] {
            let said = fails(&test, arguments);
            let begin = format!(
                "corten {name} failed: unable to start container process: linux.seccomp.listenerPath: connect("
            );
            assert!(said.starts_with(&begin) && said.ends_with(error), "{said}");
            test.assert_nothing_left(error);
        }
    }
    // One that goes while it is told.
    fs::remove_file(&socket).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    test.config["linux"]["seccomp"]["listenerMetadata"] = json!("m".repeat(1 << 20));
    let gone = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let said = fails(&test, &["create"]);
    assert!(said.contains(": linux.seccomp.listenerPath: ") && said.ends_with(": broken pipe"), "{said}");
    gone.join().unwrap();
}

/// Who asks an agent that has gone learns it (seccomp_unotify(2)), and waits for nothing.
#[container_test]
fn an_agent_that_goes_with_the_listener() {
    let go = |socket: &Path| {
        let listener = UnixListener::bind(socket).unwrap();
        std::thread::spawn(move || drop(receive(&listener)))
    };
    let (test, socket) = bundle(TRY, &MKDIRS);
    let gone = go(&socket);
    let (said, _) = create_and_start(&test, &[]);
    assert_eq!(said, "mkdir: can't create directory '/dev/shm/made': Function not implemented\n");
    succeed(&test, &["delete", &test.id]);
    gone.join().unwrap();
    fs::remove_file(&socket).unwrap();
    let (test, socket) = bundle(TRY, &["execve"]);
    let gone = go(&socket);
    let began = Instant::now();
    // The container has started by then: the program's own end is told.
    let path = test.write().path();
    let output = corten(&test, &["run", "-b", path.to_str().unwrap(), &test.id]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(255), "{said}");
    assert!(said.contains("exec /bin/sh: function not implemented"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    gone.join().unwrap();
}

#[container_test]
fn the_annotation_of_crun() {
    let (mut test, socket) = bundle(TRY, &MKDIRS);
    test.config["linux"]["seccomp"].as_object_mut().unwrap().remove("listenerPath");
    test.config["annotations"] = json!({ "run.oci.seccomp.receiver": socket });
    let said = fails(&test, &["create"]);
    assert!(said.contains(": annotations[\"run.oci.seccomp.receiver\"]: connect("), "{said}");
    test.assert_nothing_left("nobody there");
    let of_run = agent(&socket);
    assert_eq!(stdout(&common::run(&test)), REFUSED);
    let (received, _) = of_run.join().unwrap();
    let got: Value = serde_json::from_slice(&received.data).unwrap();
    assert_eq!(got["state"]["id"], test.id);
    assert_eq!(got.get("metadata"), None);
    // The config's own path comes first.
    fs::remove_file(&socket).unwrap();
    test.config["linux"]["seccomp"]["listenerPath"] = json!(socket);
    test.config["annotations"] = json!({ "run.oci.seccomp.receiver": "/no/such/agent" });
    let of_run = agent(&socket);
    assert_eq!(stdout(&common::run(&test)), REFUSED);
    of_run.join().unwrap();
}

/// config-linux.md: the path is ignored when nothing notifies.
#[container_test]
fn nobody_is_told_without_notify() {
    let (mut test, _) = bundle(TRY, &MKDIRS);
    test.config["linux"]["seccomp"]["syscalls"][0]["action"] = json!("SCMP_ACT_ALLOW");
    test.config["linux"]["seccomp"]["listenerPath"] = json!("/no/such/agent");
    assert_eq!(stdout(&common::run(&test)), "made\n");
}

#[container_test]
fn refusals() {
    let refused = |change: &dyn Fn(&mut Value), sentence: &str| {
        let (mut test, _) = bundle("true", &MKDIRS);
        change(&mut test.config["linux"]["seccomp"]);
        let said = fails(&test, &["create"]);
        assert!(said.starts_with("corten create failed: ") && said.ends_with(sentence), "{said}");
        test.assert_nothing_left(sentence);
    };
    refused(
        &|seccomp| seccomp["defaultAction"] = json!("SCMP_ACT_NOTIFY"),
        "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be used as default action",
    );
    refused(
        &|seccomp| seccomp["syscalls"][0]["names"] = json!(["mkdir", "write"]),
        "linux.seccomp.syscalls[0].action: SCMP_ACT_NOTIFY cannot be used for the write syscall",
    );
    refused(
        &|seccomp| drop(seccomp.as_object_mut().unwrap().remove("listenerPath")),
        "linux.seccomp.syscalls[0].action: SCMP_ACT_NOTIFY needs linux.seccomp.listenerPath",
    );
    refused(
        &|seccomp| {
            seccomp.as_object_mut().unwrap().remove("listenerPath");
            seccomp["syscalls"][0]["action"] = json!("SCMP_ACT_ERRNO");
            seccomp["listenerMetadata"] = json!("m");
        },
        "linux.seccomp.listenerMetadata: is of use with linux.seccomp.listenerPath only",
    );
}

/// Init's pidfd, as the caller asks for it, and as crun's annotation does.
#[container_test]
fn pidfds() {
    for (mapped, by_annotation) in [(false, false), (true, false), (false, true)] {
        let mut test = TestBundle::new(&["sleep", "1000"]);
        if mapped {
            test.map_ids();
        }
        let socket = test.beside("pidfd.sock");
        let mut arguments = vec!["run", "-d"];
        if by_annotation {
            test.config["annotations"] = json!({ "run.oci.pidfd_receiver": socket });
        } else {
            arguments.extend(["--pidfd-socket", socket.to_str().unwrap()]);
        }
        // Nobody there: nothing is left.
        let said = fails(&test, &arguments);
        let item = if by_annotation { "annotations[\"run.oci.pidfd_receiver\"]" } else { "--pidfd-socket" };
        let begin = format!("corten run failed: unable to start container process: {item}: connect(");
        assert!(said.starts_with(&begin), "{said}");
        test.assert_nothing_left("nobody there");

        let listener = UnixListener::bind(&socket).unwrap();
        let receiver = std::thread::spawn(move || receive(&listener));
        let path = test.write().path();
        let mut command = corten(&test, &arguments);
        command.args(["-b", path.to_str().unwrap(), &test.id]).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().unwrap().success());
        let Received { data, fd: pidfd } = receiver.join().unwrap();
        assert_eq!(data, b"standard");
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
        assert!(info.contains(&format!("\nPid:\t{}\n", state(&test)["pid"])), "{info}");
        let ended = |timeout: u16| {
            poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::from(timeout))
        };
        assert_eq!(ended(0).unwrap(), 0, "it runs");
        // SAFETY: numbers and a null pointer only.
        let sent =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), libc::SIGKILL, 0, 0) };
        assert_eq!(sent, 0);
        assert_eq!(ended(10_000).unwrap(), 1, "it has ended");
        succeed(&test, &["delete", "--force", &test.id]);
    }
    // `create` sends it, not `start`.
    let mut test = TestBundle::new(&["true"]);
    let socket = test.beside("pidfd.sock");
    test.config["hooks"] = json!({ "poststart": [{ "path": "/bin/true" }] });
    let listener = UnixListener::bind(&socket).unwrap();
    let receiver = std::thread::spawn(move || (receive(&listener), listener));
    let (_, pid) = create_and_start(&test, &["--pidfd-socket", socket.to_str().unwrap()]);
    let (received, listener) = receiver.join().unwrap();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", received.fd.as_raw_fd())).unwrap();
    // It has ended since, so the kernel tells no pid any more (-1).
    assert!(info.contains("\nPid:\t-1\n") || info.contains(&format!("\nPid:\t{pid}\n")), "{info}");
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    succeed(&test, &["delete", &test.id]);
}

/// Somebody whose queue is full, and who takes nobody out of it.
#[container_test]
fn a_receiver_that_takes_no_connection_is_not_waited_for_forever() {
    let test = TestBundle::new(&["true"]);
    let path = test.beside("pidfd.sock");
    let address = UnixAddr::new(&path).unwrap();
    let make = |flags| nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
    let listener = make(SockFlag::SOCK_CLOEXEC);
    bind(listener.as_raw_fd(), &address).unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let mut waiting = Vec::new();
    loop {
        let one = make(SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK);
        match connect(one.as_raw_fd(), &address) {
            Ok(()) => waiting.push(one),
            Err(error) => break assert_eq!(error, nix::errno::Errno::EAGAIN),
        }
    }
    let (bundle, begin) = (test.write().path(), Instant::now());
    let (bundle, path) = (bundle.to_str().unwrap(), path.to_str().unwrap());
    let error = fail(&test, &["create", "-b", bundle, "--pidfd-socket", path, &test.id]);
    assert!(error.contains("--pidfd-socket: connect(") && error.ends_with("connection timed out"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(60));
}
