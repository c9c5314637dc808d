//! Where commands are tried: a bundle, a state root, cgroups of their own, and what is there of a container.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::json;

use super::trace::{Fault, Watch, run};
use crate::{Result, bundle};

/// The id of every container here.
pub(super) const ID: &str = "one";
/// What the program ends with, if it does.
pub(super) const STATUS: i32 = 7;
/// The hierarchy without controllers.
const NAMED: &str = "/sys/fs/cgroup/systemd";
/// How long what has been killed may take to end.
const MOMENT: Duration = Duration::from_secs(5);

/// What a program sees of its container.
pub(super) const LOOK: &str = r#"b() { /bin/busybox "$@"; }
b grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp|Cpus_allowed|SigIgn|SigBlk):' /proc/self/status
b cut -d' ' -f4- /proc/self/mountinfo
b stat -c '%n %a %F %t:%T %u' /dev/* /dev/pts/ptmx
b env | b sort; b hostname; b pwd; umask; ulimit -c; b grep -v name=systemd /proc/self/cgroup; b cat /proc/self/oom_score_adj /proc/self/comm
for n in cgroup ipc mnt net pid user uts; do b readlink /proc/self/ns/$n; done
b ls /proc/self/fd /sys/class/net; b cat /proc/sys/net/ipv4/ping_group_range; b touch /written 2>&1
echo end"#;

/// How a command was asked to run.
#[derive(Debug, Clone, Copy)]
pub(super) enum How<'a> {
    Plainly,
    /// Traced; with a fault in it, if there is one.
    Traced(Fault<'a>),
    /// By a shell that executes these words first.
    After(&'a str),
}

/// What a command did.
#[derive(Debug)]
pub(super) struct Output {
    /// As a shell has it; `None` after the deadline.
    pub(super) status: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
    /// See [`super::trace::Ended`].
    pub(super) calls: Vec<super::trace::Place>,
    pub(super) failed: bool,
}

#[derive(Debug)]
pub(super) struct Stage {
    corten: PathBuf,
    directory: PathBuf,
    parent: String,
    /// The cgroup mounts.
    hierarchies: Vec<PathBuf>,
}

impl Stage {
    /// Makes one in an empty directory, in this process's own mount namespace.
    pub(super) fn new(corten: &Path, directory: &Path) -> Result<Self> {
        mount(Some("corten-faults"), directory, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let hierarchies = mounts.lines().filter(|line| line.contains(" - cgroup"));
        let hierarchies: Vec<PathBuf> =
            hierarchies.filter_map(|line| line.split(' ').nth(4)).map(Into::into).collect();
        let parent = format!("corten-faults-{}", std::process::id());
        let stage = Self { corten: corten.to_owned(), directory: directory.to_owned(), parent, hierarchies };
        for name in ["tmp", "pid", "root"] {
            fs::create_dir(stage.path(name))?;
        }
        for (name, then) in [("sleeps", "exec sleep 1000"), ("ends", "exit 7"), ("docker", "exit 7")] {
            let arguments = ["/bin/sh", "-c", &format!("{LOOK}\n{then}")];
            match name {
                "docker" => bundle::docker(&stage.path(name), &arguments)?,
                _ => bundle::default(corten, &stage.path(name), &arguments)?,
            }
            bundle::edit(&stage.path(name), |config| {
                config["linux"]["cgroupsPath"] = json!(format!("/{}/{ID}", stage.parent));
                if stage.has_limits() {
                    config["linux"]["resources"]["pids"] = json!({ "limit": 100 });
                    config["linux"]["resources"]["memory"] = json!({ "limit": 64 << 20 });
                }
                // Not of fds: those are what is scarce.
                config["process"]["rlimits"] = json!([{ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }]);
                config["hostname"] = json!("faults");
            })?;
        }
        // Where nothing can be limited there are still devices.
        bundle::edit(&stage.path("sleeps"), |config| {
            config["linux"]["devices"] =
                json!([{ "path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11 }]);
        })?;
        let deny = json!({ "allow": false, "access": "rwm" });
        let allow = json!({ "allow": true, "type": "c", "major": 1, "minor": 11, "access": "rw" });
        fs::write(stage.path("closed"), json!({ "devices": [deny] }).to_string())?;
        fs::write(stage.path("open"), json!({ "devices": [deny, allow] }).to_string())?;
        // Parents are everybody's.
        for hierarchy in &stage.hierarchies {
            fs::create_dir(hierarchy.join(&stage.parent)).ok();
        }
        Ok(stage)
    }

    /// Whether there are controllers of processes and memory, which pure v2 lacks on a machine that has them
    /// in v1.
    pub(super) fn has_limits(&self) -> bool {
        self.hierarchies.iter().any(|hierarchy| {
            let controllers = fs::read_to_string(hierarchy.join("cgroup.controllers")).unwrap_or_default();
            hierarchy.ends_with("pids") || controllers.split_whitespace().any(|name| name == "pids")
        })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Runs a command of Corten's.
    pub(super) fn corten(&self, words: &[&str], how: How<'_>) -> Result<Output> {
        let corten = self.corten.to_string_lossy();
        let root = self.path("root");
        let root = root.to_string_lossy();
        let mut words: Vec<String> =
            [&*corten, "--root", &root].iter().chain(words).map(|word| (*word).to_owned()).collect();
        // What a container writes to lives as long as it does.
        let is_kept = words.iter().any(|word| word == "create");
        let (out, err) = (self.path(if is_kept { "kept" } else { "out" }), self.path("err"));
        for file in [&out, &err] {
            fs::remove_file(file).ok();
        }
        let mut output =
            Output { status: None, out: String::new(), err: String::new(), calls: Vec::new(), failed: false };
        match how {
            How::Traced(fault) => {
                let ended = run(&words, fault, &out, &err)?;
                (output.status, output.calls, output.failed) = (ended.status, ended.calls, ended.failed);
            }
            How::After(first) => {
                let shell = ["/bin/sh", "-c", &format!("{first}; exec \"$@\""), "sh"].map(str::to_owned);
                words.splice(..0, shell);
                output.status = self.execute(&words, &out, &err)?;
            }
            How::Plainly => output.status = self.execute(&words, &out, &err)?,
        }
        output.out = fs::read_to_string(out)?;
        output.err = fs::read_to_string(err)?;
        Ok(output)
    }

    fn execute(&self, words: &[String], out: &Path, err: &Path) -> Result<Option<i32>> {
        let (program, arguments) = words.split_first().ok_or("no words")?;
        let mut command = Command::new(program);
        command.args(arguments).env("TMPDIR", self.path("tmp"));
        command.stdin(Stdio::null()).stdout(File::create(out)?).stderr(File::create(err)?);
        let mut child = command.spawn()?;
        let watch = Watch::over(Pid::from_raw(i32::try_from(child.id())?));
        let status = child.wait()?;
        let status = status.code().or_else(|| Some(128 + status.signal()?));
        Ok(if watch.was_late() { None } else { status })
    }

    /// What is there that a command may have made: everything but what containers share.
    pub(super) fn things(&self) -> BTreeSet<String> {
        let mut things = BTreeSet::new();
        for name in ["root", "tmp", "pid"] {
            let path = self.path(name);
            list(&path, &mut |path| {
                if !is_shared(path) {
                    things.insert(path.display().to_string());
                }
            });
        }
        for cgroup in self.hierarchies.iter().map(|hierarchy| hierarchy.join(&self.parent)) {
            for entry in fs::read_dir(&cgroup).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    things.insert(entry.path().display().to_string());
                }
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        // The empty namespace that others are copied from belongs to all.
        let mounts = mounts.lines().filter(|line| !line.contains("/@mounts"));
        things.extend(mounts.map(|line| format!("mount {line}")));
        things
    }

    /// What the container's cgroups say.
    pub(super) fn limits(&self) -> String {
        const FILES: [&str; 6] =
            ["pids.max", "memory.limit_in_bytes", "memory.max", "devices.list", "cpu.shares", "cpu.weight"];
        let mut said = String::new();
        for cgroup in self.hierarchies.iter().map(|hierarchy| hierarchy.join(&self.parent).join(ID)) {
            if cgroup.exists() && !cgroup.starts_with(NAMED) {
                said += &format!("{}\n", cgroup.display());
            }
            for file in FILES {
                if let Ok(text) = fs::read_to_string(cgroup.join(file)) {
                    said += &format!("{file} {text}");
                }
            }
        }
        said
    }

    /// Whether the container's device may be opened.
    pub(super) fn device(&self) -> String {
        let open = ["exec", ID, "/bin/sh", "-c", ": >/dev/kmsg && echo open"];
        self.corten(&open, How::Plainly).map_or_else(|error| error.to_string(), |output| output.out)
    }

    /// The processes of the container.
    pub(super) fn processes(&self) -> BTreeSet<i32> {
        let mut pids = BTreeSet::new();
        for cgroup in self.hierarchies.iter().map(|hierarchy| hierarchy.join(&self.parent).join(ID)) {
            let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
            pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
        pids
    }

    /// What the program has seen, with namespaces compared with ours.
    pub(super) fn view(&self, out: &str) -> String {
        let mut lines = Vec::new();
        // A failure in that hierarchy is none, as with runc.
        for line in out.lines().filter(|line| !line.contains(NAMED)) {
            match line.split_once(":[") {
                Some((kind, _)) => {
                    let own = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap_or_default();
                    lines.push(format!(
                        "{kind}: {}",
                        if own.as_os_str() == line { "ours" } else { "its own" }
                    ));
                }
                None => {
                    // Peer groups have numbers of their own each time.
                    let group = |word: &str| ["master:", "shared:"].iter().any(|kind| word.starts_with(kind));
                    let words: Vec<_> = line.split(' ').filter(|word| !group(word)).collect();
                    lines.push(words.join(" ").replace(&self.parent, "parent"));
                }
            }
        }
        lines.join("\n")
    }

    /// What the program of a container that sleeps has written, when it has.
    pub(super) fn written(&self) -> String {
        let end = Instant::now() + MOMENT;
        loop {
            let text = fs::read_to_string(self.path("kept")).unwrap_or_default();
            if text.lines().any(|line| line == "end") || Instant::now() > end {
                return text;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until all processes that came from here have ended; tells of those that have not.
    pub(super) fn reap(&self) -> Option<String> {
        let end = Instant::now() + MOMENT;
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
                Ok(WaitStatus::StillAlive) if Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(1))
                }
                Ok(WaitStatus::StillAlive) => break,
                Ok(_) => {}
                Err(_) => return None,
            }
        }
        let children = fs::read_to_string(format!("/proc/self/task/{}/children", std::process::id()));
        let mut left = Vec::new();
        for pid in children.unwrap_or_default().split_whitespace() {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            left.push(format!("{pid} {} {}", comm.trim(), state.split(' ').nth(2).unwrap_or_default()));
            if let Ok(pid) = pid.parse() {
                // For what comes next.
                nix::sys::signal::kill(Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).ok();
            }
        }
        Some(left.join(", "))
    }

    /// Puts a filesystem of a size below the states.
    pub(super) fn shrink(&self, options: &str) -> Result {
        Ok(mount(Some("corten-faults"), &self.path("root"), Some("tmpfs"), MsFlags::empty(), Some(options))?)
    }

    /// Takes it away.
    pub(super) fn grow(&self) -> Result {
        Ok(umount2(&self.path("root"), MntFlags::MNT_DETACH)?)
    }

    /// Removes by hand what a command that failed at it has left.
    pub(super) fn clear(&self) {
        for pid in self.processes() {
            nix::sys::signal::kill(Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).ok();
        }
        self.reap();
        for cgroup in self.hierarchies.iter().map(|hierarchy| hierarchy.join(&self.parent).join(ID)) {
            fs::remove_dir(cgroup).ok();
        }
        for name in ["root", "tmp", "pid"] {
            for entry in fs::read_dir(self.path(name)).into_iter().flatten().flatten() {
                if entry.file_name().as_encoded_bytes().starts_with(b"@") {
                    // All containers' own.
                    continue;
                }
                fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path())).ok();
            }
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.clear();
        for hierarchy in &self.hierarchies {
            fs::remove_dir(hierarchy.join(&self.parent)).ok();
        }
        umount2(&self.directory, MntFlags::MNT_DETACH).ok();
    }
}

/// Whether it belongs to all containers: the compiled filters. (What one of them leaves half-written does
/// not.)
fn is_shared(path: &Path) -> bool {
    let is_half_written = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    path.iter().any(|name| name == "@seccomp") && !is_half_written
}

/// Calls for all below a directory.
fn list(directory: &Path, each: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        each(&entry.path());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            list(&entry.path(), each);
        }
    }
}
