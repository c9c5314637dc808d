//! A terminal: in the foreground the caller's, detached the console socket's.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{CORTEN, TestBundle, can_make_containers, corten, fail, receive, succeed};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{LocalFlags, tcgetattr};

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

#[test]
fn a_shell_in_the_foreground() {
    if !can_make_containers() {
        return;
    }
    let mut test = TestBundle::new(&["sh"]);
    test.config["process"]["terminal"] = true.into();
    let path = test.write().path();
    let pty = nix::pty::openpty(None, None).unwrap();
    let (mut master, slave) = (File::from(pty.master), pty.slave);
    let slave_name = std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&slave))).unwrap();
    let resize = |rows: &str, columns: &str| {
        let status = Command::new("stty").arg("-F").arg(&slave_name).args(["rows", rows, "cols", columns]).status();
        assert!(status.unwrap().success());
    };
    resize("31", "101");
    let stdio = || Stdio::from(slave.try_clone().unwrap());
    let mut child = Command::new("setsid")
        .args(["--ctty", "--wait", CORTEN, "--root"])
        .arg(test.state_root())
        .args(["run", "-b"])
        .arg(path)
        .arg(&test.id)
        .stdin(stdio())
        .stdout(stdio())
        .stderr(stdio())
        .spawn()
        .unwrap();
    expect(&mut master, "# ");
    assert!(!tcgetattr(&slave).unwrap().local_flags.contains(LocalFlags::ICANON), "raw while it runs");
    master.write_all(b"stty size; tty; echo $((20 + 3))\n").unwrap();
    let heard = expect(&mut master, "\n23\r\n");
    assert!(heard.contains("31 101") && heard.contains("/dev/pts/0"), "{heard}");
    resize("40", "90");
    master.write_all(b"stty size\n").unwrap();
    expect(&mut master, "40 90");
    // ^C ends the program in the foreground of the container, and nothing else.
    master.write_all(b"sleep 1000\n").unwrap();
    expect(&mut master, "sleep 1000");
    test.wait_for_program("sleep");
    master.write_all(b"\x03").unwrap();
    master.write_all(b"echo after $?\n").unwrap();
    expect(&mut master, "after 130");
    // ^Z and job control.
    master.write_all(b"sleep 1000\n").unwrap();
    test.wait_for_program("sleep");
    master.write_all(b"\x1a").unwrap();
    expect(&mut master, "Stopped");
    master.write_all(b"kill %1; exec sh -c 'exit 7'\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
    assert!(tcgetattr(&slave).unwrap().local_flags.contains(LocalFlags::ICANON), "restored afterwards");
    test.assert_nothing_left("after a shell");
}

#[test]
fn the_console_socket_gets_the_master() {
    if !can_make_containers() {
        return;
    }
    let mut test = TestBundle::new(&["sh", "-c", "stty size; ls -l /dev/console /proc/self/fd/0; sleep 1000"]);
    test.config["process"]["terminal"] = true.into();
    test.config["process"]["consoleSize"] = serde_json::json!({ "height": 11, "width": 22 });
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
    assert!(corten(&test, &arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    let received = receive(&listener);
    assert!(!received.data.is_empty(), "a name");
    let mut master = File::from(received.fd);
    succeed(&test, &["start", &test.id]);
    let heard = expect(&mut master, "fd/0 -> ");
    assert!(heard.contains("11 22") && heard.contains("136,   0"), "{heard}");
    succeed(&test, &["delete", "--force", &test.id]);
    test.assert_nothing_left("after a console");
}
