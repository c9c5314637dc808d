//! Driving the binary.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "shared by test programs, none of which uses all of it"
)]

#[path = "../../../crates/libcorten/tests/common/mod.rs"]
mod bundles;
pub mod exchange;
pub mod peers;
pub mod sleeper;
pub mod stops;
pub mod transcripts;
pub mod vm;
pub mod ways;

use std::fs::{self, File};
use std::io::{IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::Value;

pub use bundles::{
    MAPPED_ROOT, TestBundle, Variant, can_make_containers, cgroup_mounts, copy_program, skip, unique,
    unique_user, until,
};

/// The binary under test: Cargo's, or the one that `CORTEN_TEST_BINARY` names when the tests are built.
pub const CORTEN: &str = match option_env!("CORTEN_TEST_BINARY") {
    Some(other) => other,
    None => env!("CARGO_BIN_EXE_corten"),
};

/// A command of corten on the bundle's own state root.
pub fn corten(test: &TestBundle, arguments: &[&str]) -> Command {
    let mut command = Command::new(CORTEN);
    command.arg("--root").arg(test.state_root()).args(arguments).stdin(Stdio::null());
    command
}

/// `corten run` of the bundle, in the foreground.
pub fn run(test: &TestBundle) -> Output {
    let path = test.write().path();
    corten(test, &["run", "--bundle", path.to_str().unwrap(), &test.id]).output().unwrap()
}

/// What a command printed on stdout, which must be all that it had to say.
pub fn stdout(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{:?}: {stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command that must succeed.
pub fn succeed(test: &TestBundle, arguments: &[&str]) -> String {
    stdout(&corten(test, arguments).output().unwrap())
}

/// Runs a command with the null device as stdio: what a container keeps open is no pipe of this test's.
pub fn quietly(test: &TestBundle, arguments: &[&str]) {
    let log = test.beside("log");
    let mut command = corten(test, &[&["--log", log.to_str().unwrap()], arguments].concat());
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{}", fs::read_to_string(log).unwrap());
}

/// Runs a command that must fail with exit status 1 and one line; returns the line.
pub fn fail(test: &TestBundle, arguments: &[&str]) -> String {
    one_error(&corten(test, arguments).output().unwrap())
}

/// The one line of a failure with exit status 1.
pub fn one_error(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert_says_nothing_twice(stderr.trim_end());
    stderr.trim_end().to_owned()
}

/// Errors are made of parts, each of another layer: what one has said, the next does not say again.
pub fn assert_says_nothing_twice(error: &str) {
    let parts: Vec<&str> = error.split(": ").collect();
    for length in 1..=parts.len() / 2 {
        let repeats = parts.windows(2 * length).any(|window| window[..length] == window[length..]);
        assert!(!repeats, "{error}");
    }
}

/// `corten create` of the bundle; returns init's pid.
pub fn create(test: &TestBundle) -> u32 {
    create_by(test, |arguments| corten(test, arguments))
}

/// The same with a command of the test's own.
pub fn create_by(test: &TestBundle, corten: impl Fn(&[&str]) -> Command) -> u32 {
    let path = test.write().path();
    // What init keeps open is no pipe that this test reads to its end.
    let errors = File::create(test.beside("errors")).unwrap();
    let mut command = corten(&["create", "--bundle", path.to_str().unwrap(), &test.id]);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).status().unwrap();
    assert!(status.success(), "{}", fs::read_to_string(test.beside("errors")).unwrap());
    let state: Value =
        serde_json::from_str(&stdout(&corten(&["state", &test.id]).output().unwrap())).unwrap();
    u32::try_from(state["pid"].as_u64().unwrap()).unwrap()
}

/// What `corten state` says.
pub fn state(test: &TestBundle) -> Value {
    serde_json::from_str(&succeed(test, &["state", &test.id])).unwrap()
}

/// Waits until the container has this status.
pub fn wait_for(test: &TestBundle, status: &str) {
    until(&format!("not {status}"), || state(test)["status"] == status);
}

/// What came over a socket: the data, and the one fd.
#[derive(Debug)]
pub struct Received {
    pub data: Vec<u8>,
    pub fd: OwnedFd,
}

/// Takes a connection and what it sends, to its end.
pub fn receive(listener: &UnixListener) -> Received {
    let (mut socket, _) = listener.accept().unwrap();
    receive_from(&mut socket)
}

/// Takes what a connection sends, to its end. The first read is short: the fd comes with the first bytes.
pub fn receive_from(socket: &mut UnixStream) -> Received {
    let mut buffer = [0; 5];
    let mut control = nix::cmsg_space!([i32; 4]);
    let mut into = [IoSliceMut::new(&mut buffer)];
    let got =
        recvmsg::<()>(socket.as_raw_fd(), &mut into, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC).unwrap();
    let rights = got.cmsgs().unwrap().find_map(|message| match message {
        ControlMessageOwned::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let (length, fds) = (got.bytes, rights.unwrap());
    assert_eq!(fds.len(), 1, "one fd");
    let mut data = buffer[..length].to_vec();
    // SAFETY: the kernel has just made this fd for this process, and nobody else knows its number.
    let fd = unsafe { OwnedFd::from_raw_fd(fds[0]) };
    socket.read_to_end(&mut data).unwrap();
    Received { data, fd }
}

/// Compiles a program of C, with threads and without libraries, beside the binary under test: every run makes
/// it anew, none leaves one more. `None`, with a word about it, where there is no compiler for that.
pub fn compile(name: &str, text: &str) -> Option<PathBuf> {
    let path = PathBuf::from(CORTEN).with_file_name(name);
    let make = || {
        let new = path.with_extension(unique("new"));
        let mut compiler = Command::new("cc")
            .args(["-static", "-O1", "-pthread", "-w", "-x", "c", "-o"])
            .arg(&new)
            .arg("-")
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        compiler.stdin.take()?.write_all(text.as_bytes()).ok()?;
        compiler.wait().ok()?.success().then_some(())?;
        std::fs::rename(&new, &path).ok()
    };
    if make().is_none() {
        skip("no C compiler that links statically");
        return None;
    }
    Some(path)
}
