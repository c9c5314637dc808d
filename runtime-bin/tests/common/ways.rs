//! The ways in which a container comes about. Each launch is looked at, by the steps that the runtime has
//! logged: a container that silently came about in another way than the one asked for would show nothing.

use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::{CORTEN, MAPPED_ROOT, TestBundle, until};

/// Where the runtime keeps the empty mount namespace.
const TEMPLATE: &str = "/run/corten/@mounts/empty";

/// A way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The mount namespace begins empty: a copy of the one that is kept (docs/adr/0014), or made so by the
    /// kernel.
    Empty,
    /// It begins as a copy of the caller's, as the one that is kept cannot be made: the root is changed by
    /// `pivot_root`.
    Copied,
    /// The same for the sake of a hook.
    Hook,
    /// `--no-pivot`.
    NoPivot,
    /// In a user namespace of its own.
    UserNamespace,
    /// In the PID, IPC, UTS and network namespaces of another process.
    Joined,
}

/// Whether Linux makes empty mount namespaces itself: then none is kept, and none begins as a copy for want
/// of it.
fn kernel_makes_empty_ones() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(7), Some(1))
}

/// Makes sure that the empty mount namespace is there.
fn has_template() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        // The first container makes it.
        let test = TestBundle::new(&["true"]);
        super::stdout(&super::run(&test));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        kernel_makes_empty_ones() || mounts.contains(&format!(" {TEMPLATE} "))
    })
}

/// A bundle, ready to be run in a way.
#[derive(Debug)]
pub struct Prepared<'t> {
    pub way: Way,
    test: &'t TestBundle,
    /// The process whose namespaces are joined.
    joined: Option<Child>,
}

impl Way {
    /// Whether this machine makes containers in this way; says so if not.
    pub fn is_possible(self) -> bool {
        let is_possible = match self {
            Self::Empty => has_template(),
            Self::Copied => !kernel_makes_empty_ones(),
            _ => true,
        };
        if !is_possible {
            super::skip(&format!("this machine makes no container in this way: {self:?}"));
        }
        is_possible
    }

    /// Writes the bundle's config as this way wants it.
    pub fn prepare(self, test: &TestBundle) -> Prepared<'_> {
        let mut prepared = Prepared { way: self, test, joined: None };
        let mut config = test.config.clone();
        match self {
            Self::Empty | Self::Copied | Self::NoPivot => {}
            Self::Hook => config["hooks"] = json!({ "prestart": [{ "path": "/bin/true" }] }),
            Self::UserNamespace => map_ids(test, &mut config),
            Self::Joined => {
                let holder = prepared.joined.insert(hold_namespaces());
                join(&mut config, first_child(holder.id()));
            }
        }
        fs::write(test.path().join("config.json"), serde_json::to_vec_pretty(&config).unwrap()).unwrap();
        prepared
    }

    /// Runs the bundle in this way.
    pub fn run(self, test: &TestBundle) -> Output {
        self.prepare(test).run()
    }

    /// Creates the bundle's container in this way. What is joined lives on in what is returned.
    pub fn create(self, test: &TestBundle) -> Prepared<'_> {
        let prepared = self.prepare(test);
        let errors = fs::File::create(test.beside("errors")).unwrap();
        let status = prepared.command(&["create"]).stdout(Stdio::null()).stderr(errors).status().unwrap();
        assert!(status.success(), "{self:?}: {}", fs::read_to_string(test.beside("errors")).unwrap());
        prepared.assert_way();
        prepared
    }
}

impl Prepared<'_> {
    /// `corten run`.
    pub fn run(&self) -> Output {
        let output = self.command(&["run"]).output().unwrap();
        self.assert_way();
        output
    }

    /// A command that makes the container: `create` or `run`, with its flags.
    pub fn command(&self, words: &[&str]) -> Command {
        let words = self.words(words);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null());
        command
    }

    /// The same as words. [`Prepared::assert_way`] is to follow.
    pub fn words(&self, words: &[&str]) -> Vec<String> {
        self.words_of(&[CORTEN], words)
    }

    /// The same with another program, or several that execute each other.
    pub fn words_of(&self, programs: &[&str], words: &[&str]) -> Vec<String> {
        fs::remove_file(self.log()).ok();
        // There the runtime finds no place to keep a mount namespace.
        let without_template = "mkdir -p /run/corten && mount -t tmpfs -o ro none /run/corten && exec \"$@\"";
        let around = ["unshare", "--mount", "--propagation", "private", "sh", "-c", without_template, "sh"];
        let around = if self.way == Way::Copied { &around[..] } else { &[] };
        let flag = if self.way == Way::NoPivot { &["--no-pivot"][..] } else { &[] };
        let (root, log, bundle) = (self.test.state_root(), self.log(), self.test.path());
        let [root, log, bundle] = [&root, &log, &bundle].map(|path| path.to_str().unwrap());
        let global = ["--root", root, "--debug", "--log", log];
        let rest = ["--bundle", bundle, &self.test.id];
        let parts = [around, programs, &global, words, flag, &rest];
        parts.concat().into_iter().map(str::to_owned).collect()
    }

    fn log(&self) -> std::path::PathBuf {
        self.test.beside("steps")
    }

    /// Asserts that the last launch has gone this way, as far as it has come.
    pub fn assert_way(&self) {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let steps: Vec<_> = log.lines().filter(|line| line.contains("level=debug")).collect();
        let has = |step: &str| steps.iter().any(|line| line.contains(step));
        // Refused before.
        if !has("CloneInit") {
            return;
        }
        let of_template = |line: &&&str| line.contains("OpenNamespace") && line.contains(TEMPLATE);
        let begins_empty = steps.iter().any(|line| of_template(&line)) || kernel_makes_empty_ones();
        let is_so = match self.way {
            Way::Empty => begins_empty,
            Way::Copied => has("MakeMountTemplate") && !begins_empty,
            // For them nothing is kept or made: they always begin with a copy. (It may have failed before its
            // hooks.)
            Way::Hook => !has("MakeMountTemplate") && !has(TEMPLATE),
            Way::NoPivot => has("OpenHostProc") && !has("MakeMountTemplate") && !has(TEMPLATE),
            Way::UserNamespace => has("WriteIdMaps") && !has(TEMPLATE),
            Way::Joined => has("kind: Pid") && has("FollowClone"),
        };
        assert!(is_so, "{:?} went another way: {log}", self.way);
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        if let Some(holder) = &mut self.joined {
            // Its child ends with it.
            holder.kill().ok();
            holder.wait().ok();
        }
    }
}

/// A process in namespaces of its own, as the child of another.
fn hold_namespaces() -> Child {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--ipc", "--uts", "--net", "sleep", "1000"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
}

fn first_child(pid: u32) -> u32 {
    let mut child = None;
    until("no process holds the namespaces", || {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        child = children.split_whitespace().next().and_then(|child| child.parse().ok());
        let comm = |pid| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        child.is_some_and(|child: u32| comm(child) == "sleep\n")
    });
    child.unwrap()
}

fn join(config: &mut Value, pid: u32) {
    for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
        let kind = namespace["type"].as_str().unwrap().to_owned();
        let file = match kind.as_str() {
            "network" => "net",
            "pid" | "ipc" | "uts" => &kind,
            _ => continue,
        };
        namespace["path"] = format!("/proc/{pid}/ns/{file}").into();
    }
}

/// As [`TestBundle::map_ids`], and what is beside the bundle belongs to the namespace's root as well, but for
/// the host of a test.
fn map_ids(test: &TestBundle, config: &mut Value) {
    let maps = json!([{ "containerID": 0, "hostID": MAPPED_ROOT, "size": 65536 }]);
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    config["linux"]["uidMappings"] = maps.clone();
    config["linux"]["gidMappings"] = maps;
    test.own_rootfs(MAPPED_ROOT);
    for entry in fs::read_dir(test.beside("")).unwrap() {
        let path = entry.unwrap().path();
        if !["bundle", "host", "state"].iter().any(|name| path.ends_with(name)) {
            give(&path);
        }
    }
}

fn give(path: &Path) {
    lchown(path, Some(MAPPED_ROOT), Some(MAPPED_ROOT)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path()));
    }
}

/// Lets anybody write: what an attack does not do for want of rights is no merit of the runtime's.
pub fn open_to_all(path: &Path) {
    let mode = if path.is_dir() { 0o777 } else { 0o666 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| !path.is_symlink()).for_each(|path| open_to_all(&path));
    }
}
