//! Who may have a terminal, and what is said to those who may not.

use std::fs;
use std::os::unix::net::UnixListener;

use crate::common::{TestBundle, corten, fail};
use container_test::container_test;
use serde_json::json;

const NO_SOCKET: &str = "cannot allocate tty if runc will detach without setting console socket";
const NO_TERMINAL: &str = "cannot use console socket if runc will not detach or allocate tty";

#[container_test]
fn a_terminal_in_the_background_needs_a_socket() {
    let mut test = TestBundle::new(&["true"]);
    test.config["process"]["terminal"] = json!(true);
    let path = test.write().path();
    let path = path.to_str().unwrap();
    for arguments in [&["create", "-b", path, &test.id][..], &["run", "-d", "-b", path, &test.id]] {
        let error = fail(&test, arguments);
        assert!(error.ends_with(NO_SOCKET), "{error}");
        test.assert_nothing_left("no socket");
    }
}

#[container_test]
fn a_socket_needs_a_terminal_in_the_background() {
    let mut test = TestBundle::new(&["true"]);
    let socket = test.beside("console.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let (path, socket) = (test.path(), socket.to_str().unwrap().to_owned());
    let flags = ["-b", path.to_str().unwrap(), "--console-socket", &socket, &test.id].map(str::to_owned);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    for (command, terminal) in
        [(&["create"][..], false), (&["run", "-d"], false), (&["run"], false), (&["run"], true)]
    {
        test.config["process"]["terminal"] = json!(terminal);
        test.write();
        let error = fail(&test, &[command, &flags].concat());
        assert!(error.ends_with(NO_TERMINAL), "{command:?}: {error}");
        test.assert_nothing_left("no terminal");
    }
}

/// A socket that nobody listens at, and one that is none.
#[container_test]
fn sockets_that_are_dead() {
    let mut test = TestBundle::new(&["true"]);
    test.config["process"]["terminal"] = json!(true);
    let path = test.write().path();
    let (dead, file, missing) = (test.beside("dead.sock"), test.beside("file"), test.beside("missing"));
    drop(UnixListener::bind(&dead).unwrap());
    fs::write(&file, "").unwrap();
    for socket in [dead, file, missing] {
        let socket = socket.to_str().unwrap();
        fail(&test, &["create", "-b", path.to_str().unwrap(), "--console-socket", socket, &test.id]);
        test.assert_nothing_left(socket);
    }
}

/// In the foreground the terminal is the container's even if the caller has none.
#[container_test]
fn a_terminal_in_the_foreground() {
    let mut test = TestBundle::new(&["sh", "-c", "test -t 0 && test -t 1 && tty; exit 7"]);
    test.config["process"]["terminal"] = json!(true);
    let path = test.write().path();
    let output = corten(&test, &["run", "-b", path.to_str().unwrap(), &test.id]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{stderr}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("/dev/"), "{output:?}");
}
