//! A terminal: in the foreground the caller's, detached the console socket's.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::sleeper::Sleeper;
use crate::common::{self, CORTEN, TestBundle, corten, fail, receive, succeed, until};
use container_test::container_test;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, OutputFlags, SetArg, tcgetattr, tcsetattr};
use nix::unistd::Pid;
use serde_json::json;

/// Reads until the text has come.
fn expect(from: &mut File, wanted: &str) -> String {
    let (mut heard, deadline) = (String::new(), Instant::now() + Duration::from_secs(10));
    while !heard.contains(wanted) {
        let mut fds = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(100u16)).unwrap();
        assert!(Instant::now() < deadline, "no {wanted:?} in {heard:?}");
        if fds[0].any() == Some(true) {
            let mut buffer = [0; 1024];
            let length = from.read(&mut buffer).unwrap_or(0);
            heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    }
    heard
}

/// A terminal with a caller at it.
struct Caller {
    master: File,
    terminal: OwnedFd,
}

impl Caller {
    fn new(rows: u16, columns: u16) -> Self {
        let pty = nix::pty::openpty(None, None).unwrap();
        let caller = Self { master: File::from(pty.master), terminal: pty.slave };
        caller.resize(rows, columns);
        caller
    }

    fn resize(&self, rows: u16, columns: u16) {
        set_size(&self.terminal, rows, columns);
    }

    fn stdio(&self) -> Stdio {
        Stdio::from(self.terminal.try_clone().unwrap())
    }

    fn name(&self) -> PathBuf {
        fs::read_link(format!("/proc/self/fd/{}", self.terminal.as_raw_fd())).unwrap()
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.terminal).unwrap().local_flags.contains(LocalFlags::ICANON)
    }

    /// A program that has the terminal as its controlling one and as stdio.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setsid");
        // It becomes the program: it is no leader of a group, and need not fork.
        command.args(["--ctty", program]).stdin(self.stdio()).stdout(self.stdio()).stderr(self.stdio());
        command
    }

    fn corten(&self, test: &TestBundle, arguments: &[&str]) -> Command {
        let mut command = self.command(CORTEN);
        command.arg("--root").arg(test.state_root()).args(arguments);
        command
    }

    /// What is on the terminal when the program has ended.
    fn says(mut self, command: &mut Command) -> String {
        let mut child = command.spawn().unwrap();
        let (_, said) = (child.wait().unwrap(), "\0said\0");
        // What is written last comes last.
        File::from(self.terminal.try_clone().unwrap()).write_all(said.as_bytes()).unwrap();
        expect(&mut self.master, said).replace(said, "")
    }
}

fn set_size(terminal: impl AsFd, rows: u16, columns: u16) {
    let terminal = terminal.as_fd().try_clone_to_owned().unwrap();
    let (rows, columns) = (rows.to_string(), columns.to_string());
    let status = Command::new("stty").args(["rows", &rows, "cols", &columns]).stdin(terminal).status();
    assert!(status.unwrap().success());
}

/// A container that runs a script on a terminal.
fn script(text: &str) -> TestBundle {
    let mut test = TestBundle::new(&["sh", "-c", text]);
    test.config["process"]["terminal"] = true.into();
    test
}

fn run<'a>(test: &'a TestBundle, path: &'a str) -> [&'a str; 4] {
    ["run", "-b", path, &test.id]
}

/// Waits for a program that must end.
fn ended(child: &mut Child) -> i32 {
    let mut status = None;
    until("it does not end", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap().code().unwrap()
}

#[container_test]
fn a_shell_in_the_foreground() {
    let mut test = TestBundle::new(&["sh"]);
    test.config["process"]["terminal"] = true.into();
    let path = test.write().path();
    let mut caller = Caller::new(31, 101);
    let mut child = caller.corten(&test, &run(&test, path.to_str().unwrap())).spawn().unwrap();
    expect(&mut caller.master, "# ");
    until("not raw while it runs", || caller.is_raw());
    caller.master.write_all(b"stty size; tty; echo $((20 + 3))\n").unwrap();
    let heard = expect(&mut caller.master, "\n23\r\n");
    assert!(heard.contains("31 101") && heard.contains("/dev/pts/0"), "{heard}");
    caller.resize(40, 90);
    caller.master.write_all(b"stty size\n").unwrap();
    expect(&mut caller.master, "40 90");
    // ^C ends the program in the foreground of the container, and nothing else.
    caller.master.write_all(b"sleep 1000\n").unwrap();
    expect(&mut caller.master, "sleep 1000");
    test.wait_for_program("sleep");
    caller.master.write_all(b"\x03").unwrap();
    caller.master.write_all(b"echo after $?\n").unwrap();
    expect(&mut caller.master, "after 130");
    // ^Z and job control.
    caller.master.write_all(b"sleep 1000\n").unwrap();
    test.wait_for_program("sleep");
    caller.master.write_all(b"\x1a").unwrap();
    expect(&mut caller.master, "Stopped");
    caller.master.write_all(b"kill %1; exec sh -c 'exit 7'\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
    assert!(!caller.is_raw(), "restored afterwards");
}

/// The size is there before the first instruction. Without it one in ten programs still saw it in time.
#[container_test]
fn the_first_instruction_sees_the_size() {
    let mut test = TestBundle::new(&["stty", "size"]);
    test.config["process"]["terminal"] = true.into();
    // The caller's terminal is what is there.
    test.config["process"]["consoleSize"] = json!({ "height": 7, "width": 9 });
    let path = test.write().path();
    let sleeper = Sleeper::plain();
    for _ in 0..15 {
        let caller = Caller::new(33, 101);
        let mut command = caller.corten(&test, &run(&test, path.to_str().unwrap()));
        assert_eq!(caller.says(&mut command), "33 101\r\n");
        let caller = Caller::new(34, 102);
        let mut command = caller.corten(&sleeper.0, &["exec", "-t", &sleeper.0.id, "stty", "size"]);
        assert_eq!(caller.says(&mut command), "34 102\r\n");
    }
    // A terminal is a terminal, wherever it is.
    let caller = Caller::new(35, 103);
    let mut command = corten(&sleeper.0, &["exec", "-t", &sleeper.0.id, "stty", "size"]);
    let output = command.stderr(caller.stdio()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "35 103\n");
}

#[container_test]
fn a_resize_before_the_start_is_seen() {
    let mut test = TestBundle::new(&["stty", "size"]);
    test.config["process"]["terminal"] = true.into();
    let caller = Caller::new(33, 101);
    let resize = format!("stty -F {} rows 44 cols 55", caller.name().display());
    test.config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", resize] }] });
    let path = test.write().path();
    let mut command = caller.corten(&test, &run(&test, path.to_str().unwrap()));
    assert_eq!(caller.says(&mut command), "44 55\r\n");
}

/// A program may choose a size, and has it until the caller's changes.
#[container_test]
fn a_size_of_the_programs_own_holds() {
    let sleeper = Sleeper::plain();
    let own = "stty rows 5 cols 6; sleep 0.3; stty size; echo up; trap 'stty size; exit' WINCH; while :; do sleep 0.1; done";
    let mut caller = Caller::new(33, 101);
    let mut child =
        caller.corten(&sleeper.0, &["exec", "-t", &sleeper.0.id, "sh", "-c", own]).spawn().unwrap();
    assert_eq!(expect(&mut caller.master, "up\r\n"), "5 6\r\nup\r\n");
    caller.resize(36, 104);
    expect(&mut caller.master, "36 104\r\n");
    assert_eq!(ended(&mut child), 0);
}

/// Apache takes SIGWINCH for "stop gracefully"; it is the caller's terminal that it tells of.
#[container_test]
fn sigwinch_is_for_terminals_alone() {
    let text = "trap 'echo winch' WINCH; trap 'exit 9' TERM; echo up; while :; do sleep 0.1; done";
    let test = TestBundle::new(&["sh", "-c", text]);
    let path = test.write().path();
    let sleeper = Sleeper::plain();
    let of_exec = ["exec", &sleeper.0.id, "sh", "-c", text];
    for (test, arguments) in [(&test, &run(&test, path.to_str().unwrap())[..]), (&sleeper.0, &of_exec)] {
        let out = test.beside("out");
        let said = || fs::read_to_string(&out).unwrap();
        // Its stdin is a terminal, but not the container's.
        let caller = Caller::new(33, 101);
        let mut command = caller.corten(test, arguments);
        let mut child = command.stdout(File::create(&out).unwrap()).spawn().unwrap();
        until("not up", || said() == "up\n");
        let corten = pid(&child);
        caller.resize(44, 55);
        kill(corten, Signal::SIGWINCH).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        kill(corten, Signal::SIGTERM).unwrap();
        assert_eq!(ended(&mut child), 9);
        assert_eq!(said(), "up\n");
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// The first child of a process.
fn child_of(parent: Pid) -> Pid {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    Pid::from_raw(children.split_whitespace().next().unwrap().parse().unwrap())
}

/// Whoever does not read holds up what the program writes, not the word that it has ended.
#[container_test]
fn an_end_is_seen_though_nobody_reads() {
    let text = "busybox yes & sleep 1; kill $!; exit 5";
    let test = script(text);
    let path = test.write().path();
    let sleeper = Sleeper::plain();
    let of_exec = ["exec", "-t", &sleeper.0.id, "sh", "-c", text];
    for (test, arguments) in [(&test, &run(&test, path.to_str().unwrap())[..]), (&sleeper.0, &of_exec)] {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut child = corten(test, arguments).stdout(writer).spawn().unwrap();
        assert_eq!(ended(&mut child), 5, "a pipe");
        drop(reader);
        // Of a terminal poll says that there is room when there is some.
        let caller = Caller::new(33, 101);
        let mut child = caller.corten(test, arguments).spawn().unwrap();
        assert_eq!(ended(&mut child), 5, "a terminal");
        assert!(!caller.is_raw());
    }
    // Signals go on, too.
    let caller = Caller::new(33, 101);
    let mut child =
        caller.corten(&sleeper.0, &["exec", "-t", &sleeper.0.id, "busybox", "yes"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    kill(pid(&child), Signal::SIGTERM).unwrap();
    assert_eq!(ended(&mut child), 128 + Signal::SIGTERM as i32);
}

/// More than the pipe takes: what is left when the program ends is there for a reader that comes late. How
/// much the pipe takes hangs on the pieces in which it comes; this one is small, and the terminal has room
/// for the rest, so that the program ends.
#[container_test]
fn a_late_reader_gets_everything() {
    let sleeper = Sleeper::plain();
    let (mut reader, writer) = std::io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let lines = 1_800;
    let arguments = ["exec", "-t", &sleeper.0.id, "busybox", "seq", &lines.to_string()];
    let mut child = corten(&sleeper.0, &arguments).stdout(writer).spawn().unwrap();
    assert_eq!(ended(&mut child), 0);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(text.len() > 4096, "more than the pipe holds");
    assert_eq!(text, (1..=lines).map(|line| format!("{line}\n")).collect::<String>());
}

/// In a pipe as in a file; on a terminal, which is raw meanwhile, as it would have been.
#[container_test]
fn lines_end_as_the_caller_s_do() {
    let test = script("echo one; stty -a 2>/dev/null | grep -o -e '-\\?onlcr'");
    let path = test.write().path();
    let arguments = run(&test, path.to_str().unwrap());
    let text = |output: Output| String::from_utf8(output.stdout).unwrap();
    assert_eq!(text(corten(&test, &arguments).output().unwrap()), "one\n-onlcr\n");
    let caller = Caller::new(33, 101);
    let mut command = caller.corten(&test, &arguments);
    assert_eq!(text(command.stdout(Stdio::piped()).output().unwrap()), "one\n-onlcr\n", "keyboard and pipe");
    let mut command = caller.corten(&test, &arguments);
    assert_eq!(caller.says(&mut command), "one\r\nonlcr\r\n");
    let caller = Caller::new(33, 101);
    let mut command = corten(&test, &arguments);
    command.stdout(caller.stdio());
    assert_eq!(caller.says(&mut command), "one\r\n-onlcr\r\n", "the caller's does it");
    let caller = Caller::new(33, 101);
    let mut modes = tcgetattr(&caller.terminal).unwrap();
    modes.output_flags.remove(OutputFlags::ONLCR);
    tcsetattr(&caller.terminal, SetArg::TCSANOW, &modes).unwrap();
    let mut command = caller.corten(&test, &arguments);
    assert_eq!(caller.says(&mut command), "one\n-onlcr\n");
    let sleeper = Sleeper::plain();
    assert_eq!(sleeper.prints(&["-t"], &["echo", "two"]), "two\n");
}

/// As systemd does it: nobody has the terminal open for a while.
#[container_test]
fn a_console_that_is_closed_and_opened_again() {
    let test = script(
        "exec <&- >&- 2>&-; sleep 0.3; busybox yes | head -n 9000 >/dev/console; sleep 0.3; echo end >/dev/console",
    );
    let path = test.write().path();
    let mut child =
        corten(&test, &run(&test, path.to_str().unwrap())).stdout(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "y\n".repeat(9000) + "end\n");
    assert_eq!(ended(&mut child), 0);
}

/// In the background the terminal is the shell's: it is neither made raw nor read. Brought to the foreground,
/// and after a stop, it is the container's.
#[container_test]
fn a_job_of_a_shell() {
    let test = script("echo up; while read line; do echo \"read $line\"; done");
    let path = test.write().path();
    let (mut caller, run) = (Caller::new(33, 101), run(&test, path.to_str().unwrap()).join(" "));
    let root = test.state_root();
    let shell = format!(
        "{CORTEN} --root {} {run} & read first; echo first $first; fg; echo stopped; fg",
        root.display()
    );
    let mut child = caller.command("bash").args(["-mc", &shell]).spawn().unwrap();
    expect(&mut caller.master, "up");
    std::thread::sleep(Duration::from_millis(500));
    assert!(!caller.is_raw(), "in the background");
    caller.master.write_all(b"own\n").unwrap();
    expect(&mut caller.master, "first own");
    until("not raw in the foreground", || caller.is_raw());
    caller.master.write_all(b"one\n").unwrap();
    expect(&mut caller.master, "read one");
    // A stop is of the runtime; its shell has the terminal then.
    kill(child_of(pid(&child)), Signal::SIGSTOP).unwrap();
    expect(&mut caller.master, "stopped");
    until("not raw again", || caller.is_raw());
    caller.master.write_all(b"two\n").unwrap();
    expect(&mut caller.master, "read two");
    caller.master.write_all(b"\x04").unwrap();
    assert_eq!(ended(&mut child), 0);
    assert!(!caller.is_raw(), "restored afterwards");
}

/// Nobody else may read what is typed there, or write to it: the numbers of a container's users are those of
/// users of the host.
#[container_test]
fn a_terminal_of_the_hosts_keeps_its_owner() {
    let (caller, fifo) = (Caller::new(24, 80), |test: &TestBundle| test.beside("fifo"));
    let owner = |what: &dyn AsFd| nix::sys::stat::fstat(what.as_fd()).unwrap().st_uid;
    for maps in [false, true] {
        let mut test = script("echo said");
        test.config["process"]["terminal"] = false.into();
        test.config["process"]["user"] = json!({ "uid": 33, "gid": 33 });
        if maps {
            test.map_ids();
        }
        let path = test.write().path().to_str().unwrap().to_owned();
        nix::unistd::mkfifo(&fifo(&test), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        let fifo = File::options().read(true).write(true).open(fifo(&test)).unwrap();
        for detach in [false, true] {
            let flags: &[&str] = if detach { &["--detach"] } else { &[] };
            let mut command = corten(&test, &[&["run", "-b", &path], flags, &[&test.id]].concat());
            command
                .stdin(caller.stdio())
                .stdout(caller.stdio())
                .stderr(Stdio::from(fifo.try_clone().unwrap()));
            assert!(command.status().unwrap().success());
            if detach {
                common::wait_for(&test, "stopped");
                succeed(&test, &["delete", &test.id]);
            }
            assert_eq!((owner(&caller.terminal), owner(&fifo)), (0, 0), "maps: {maps}, detached: {detach}");
        }
    }

    let sleeper = Sleeper::plain();
    let mut command = corten(&sleeper.0, &["exec", "--user", "33", &sleeper.0.id, "true"]);
    command.stdin(caller.stdio()).stdout(caller.stdio()).stderr(caller.stdio());
    assert!(command.status().unwrap().success());
    assert_eq!(owner(&caller.terminal), 0);
}

#[container_test]
fn the_console_socket_gets_the_master() {
    let mut test =
        TestBundle::new(&["sh", "-c", "stty size; ls -l /dev/console /proc/self/fd/0; sleep 1000"]);
    test.config["process"]["terminal"] = true.into();
    test.config["process"]["consoleSize"] = json!({ "height": 11, "width": 22 });
    let (path, socket) = (test.write().path(), test.beside("console"));
    let (path, name) = (path.to_str().unwrap(), socket.to_str().unwrap());
    assert_eq!(
        fail(&test, &["create", "-b", path, &test.id]),
        "corten create failed: process.terminal: cannot allocate tty if runc will detach without setting console socket"
    );
    assert_eq!(
        fail(&test, &["run", "--console-socket", name, "-b", path, &test.id]),
        "corten run failed: cannot use console socket if runc will not detach or allocate tty"
    );
    // Nobody listens.
    let error = fail(&test, &["create", "--console-socket", name, "-b", path, &test.id]);
    assert!(error.contains("connect(") && error.ends_with("no such file or directory"), "{error}");
    test.assert_nothing_left("no console socket");

    let listener = UnixListener::bind(&socket).unwrap();
    let arguments = ["create", "--console-socket", name, "-b", path, &test.id];
    assert!(
        corten(&test, &arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    );
    let received = receive(&listener);
    assert!(!received.data.is_empty(), "a name");
    let mut master = File::from(received.fd);
    succeed(&test, &["start", &test.id]);
    let heard = expect(&mut master, "fd/0 -> ");
    // Whoever has the master does with line ends as they like.
    assert!(heard.contains("11 22\r\n") && heard.contains("136,   0"), "{heard}");
    succeed(&test, &["delete", "--force", &test.id]);
}

/// As conmon does it.
#[container_test]
fn a_size_from_between_create_and_start_holds() {
    for size in [None, Some(json!({ "height": 11, "width": 22 }))] {
        let mut test = script("stty size; sleep 1000");
        if let Some(size) = size {
            test.config["process"]["consoleSize"] = size;
        }
        let (path, socket) = (test.write().path(), test.beside("console"));
        let listener = UnixListener::bind(&socket).unwrap();
        let arguments =
            ["create", "--console-socket", socket.to_str().unwrap(), "-b", path.to_str().unwrap(), &test.id];
        assert!(
            corten(&test, &arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
        );
        let mut master = File::from(receive(&listener).fd);
        set_size(&master, 44, 55);
        succeed(&test, &["start", &test.id]);
        assert_eq!(expect(&mut master, "\n"), "44 55\r\n");
        succeed(&test, &["delete", "--force", &test.id]);
    }
}
