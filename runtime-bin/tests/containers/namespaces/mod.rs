//! Namespaces: mapped ids, joined namespaces, offsets of clocks, and callers without privileges.

mod joined;
mod rootless;
mod time;
mod user;

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::common::{
    self, CORTEN, TestBundle, Variant, copy_program, corten, create, create_by, fail, one_error, receive,
    run, skip, state, stdout, succeed, until, wait_for,
};
use container_test::container_test;
use serde_json::{Value, json};

/// The spec's types, and the kernel's names of their files.
const KINDS: [(&str, &str); 8] = [
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("network", "net"),
    ("pid", "pid"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
    ("time", "time"),
    ("user", "user"),
];

/// `unshare` with what follows from being first of a PID namespace.
const OWN_OF_EACH: [&str; 9] =
    ["--ipc", "--uts", "--net", "--mount", "--cgroup", "--time", "--pid", "--fork", "--kill-child"];

/// Root of a [`Holder`]'s user namespace, on the host.
const HELD_ROOT: u32 = 300_000;

/// A process that holds namespaces for containers to join.
struct Holder(Child);

impl Holder {
    fn start(flags: &[&str]) -> Self {
        Self::start_as(&[], flags)
    }

    /// The same as another user: options of setpriv(1).
    fn start_as(user: &[&str], flags: &[&str]) -> Self {
        let mut command = Command::new("setpriv");
        command.args(user).arg("unshare").args(flags).args(["/bin/busybox", "sleep", "1000"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let holder = Self(child);
        let forks = flags.contains(&"--fork");
        until("unshare holds no namespaces", || {
            let children =
                fs::read_to_string(format!("/proc/{0}/task/{0}/children", holder.pid())).unwrap_or_default();
            let pid = if forks { children.trim().to_owned() } else { holder.pid().to_string() };
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == "busybox")
        });
        holder
    }

    /// The same in a user namespace whose ids begin at [`HELD_ROOT`].
    fn mapped(flags: &[&str]) -> Self {
        let holder = Self::start(&[&["--user"], flags].concat());
        for file in ["uid_map", "gid_map"] {
            fs::write(format!("/proc/{}/{file}", holder.pid()), format!("0 {HELD_ROOT} 65536\n")).unwrap();
        }
        holder
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn path(&self, kind: &str) -> String {
        let name = match kind {
            "pid" | "time" => format!("{kind}_for_children"),
            _ => KINDS.iter().find(|(word, _)| *word == kind).unwrap().1.to_owned(),
        };
        format!("/proc/{}/ns/{name}", self.pid())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have ended by itself; then both fail, and nothing is left to do.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What a link of procfs says, like `ipc:[4026531839]`.
fn link(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_link(path).unwrap_or_else(|error| panic!("{path:?}: {error}")).to_string_lossy().into_owned()
}

/// Puts a namespace into the config, in place of one of its type.
fn namespace(test: &mut TestBundle, kind: &str, path: Option<&str>) {
    without(test, kind);
    let mut entry = json!({ "type": kind });
    if let Some(path) = path {
        entry["path"] = path.into();
    }
    test.config["linux"]["namespaces"].as_array_mut().unwrap().push(entry);
}

fn without(test: &mut TestBundle, kind: &str) {
    test.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != kind);
}

/// Takes a mount and those below it out of the config.
fn unmount(test: &mut TestBundle, destination: &str) {
    let mounts = test.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with(destination));
}

/// Shows the host's `/sys`: whoever does not own the network namespace cannot mount one.
fn bind_sys(test: &mut TestBundle) {
    unmount(test, "/sys");
    test.config["mounts"].as_array_mut().unwrap().push(json!({
        "destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "ro"],
    }));
}

/// Devpts for a namespace that has no group `tty`.
fn without_group_5(test: &mut TestBundle) {
    for mount in test.config["mounts"].as_array_mut().unwrap() {
        if let Some(options) = mount.get_mut("options") {
            options.as_array_mut().unwrap().retain(|option| option != "gid=5");
        }
    }
}

fn capabilities(test: &mut TestBundle, names: &[&str]) {
    for set in ["bounding", "effective", "permitted"] {
        test.config["process"]["capabilities"][set] = json!(names);
    }
}

/// A bundle of a shell script, in a user namespace whose root owns the rootfs, which can be written to.
fn mapped(script: &str) -> TestBundle {
    let mut test = TestBundle::new(&["sh", "-c", script]);
    test.map_ids();
    test.config["root"]["readonly"] = false.into();
    test
}

/// `corten create`; returns init's pid.
/// Fields of a file of procfs, whatever is between them.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// Asserts that none of these users has a process, not even one to be reaped here.
fn assert_no_process_of(users: std::ops::Range<u32>) {
    let is_left = |entry: &fs::DirEntry| {
        let owner = entry.metadata().map(|meta| meta.uid());
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let dead =
            status.contains("\nState:\tZ") && !status.contains(&format!("\nPPid:\t{}\n", std::process::id()));
        entry.path().join("comm").exists() && owner.is_ok_and(|uid| users.contains(&uid)) && !dead
    };
    until("processes are left", || !fs::read_dir("/proc").unwrap().flatten().any(|entry| is_left(&entry)));
}

/// Receives the master of a container's terminal.
/// Reads a terminal until the last process on it has ended.
fn read_terminal(master: &mut File) -> String {
    let (mut heard, mut buffer) = (String::new(), [0; 1024]);
    // EIO: nobody has the other end any more.
    while let Ok(length @ 1..) = master.read(&mut buffer) {
        heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    heard
}

fn has_capability(number: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap() >> number & 1 == 1
}

const CAP_SYS_RESOURCE: u32 = 24;

/// A tool of the machine.
fn find(name: &str) -> Option<PathBuf> {
    ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.exists())
}
