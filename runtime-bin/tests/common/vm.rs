//! What only the machine of `cargo xtask conformance vm` can show: all controllers, systemd, recent peers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{CORTEN, TestBundle, skip};

/// Whether this is that machine; says so if it is not.
pub fn in_vm() -> bool {
    let is = std::env::var_os("CORTEN_VM").is_some();
    if !is {
        skip("only in a VM: cargo xtask conformance vm");
    }
    is
}

/// A runtime, as the tests call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runtime {
    pub name: &'static str,
    pub program: &'static str,
}

pub const RUNC: Runtime = Runtime { name: "runc", program: "/usr/bin/runc" };
pub const CRUN: Runtime = Runtime { name: "crun", program: "/usr/bin/crun" };
pub const OURS: Runtime = Runtime { name: "corten", program: CORTEN };

impl Runtime {
    pub fn command(self, test: &TestBundle, systemd: bool) -> Command {
        let mut command = Command::new(self.program);
        command.arg("--root").arg(test.state_root()).args(systemd.then_some("--systemd-cgroup"));
        command.stdin(Stdio::null());
        command
    }

    /// Creates the container. An error is the last line that the runtime says.
    pub fn create(self, test: &TestBundle, systemd: bool) -> Result<Created<'_>, String> {
        let path = test.write().path();
        let (errors, pid) = (test.beside("errors"), test.beside("pid"));
        let mut create = self.command(test, systemd);
        create.args(["create", "--bundle"]).arg(path).arg("--pid-file").arg(&pid).arg(&test.id);
        // What init keeps open is no pipe that this test reads to its end.
        create.stdout(Stdio::null()).stderr(File::create(&errors).unwrap());
        if create.status().unwrap().success() {
            let cgroup = cgroup(fs::read_to_string(&pid).unwrap().trim());
            return Ok(Created { runtime: self, test, systemd, cgroup });
        }
        // What is left is nobody's business here.
        self.command(test, systemd).args(["delete", "--force", &test.id]).output().unwrap();
        Err(fs::read_to_string(errors).unwrap().lines().last().unwrap_or_default().to_owned())
    }

    /// Creates the container, lets `look` see its cgroup, and deletes it again.
    pub fn look<T>(
        self,
        test: &TestBundle,
        systemd: bool,
        look: impl FnOnce(&Path) -> T,
    ) -> Result<T, String> {
        let created = self.create(test, systemd)?;
        let seen = look(&created.cgroup);
        created.delete();
        Ok(seen)
    }
}

/// A container that is there.
#[derive(Debug)]
pub struct Created<'a> {
    runtime: Runtime,
    test: &'a TestBundle,
    systemd: bool,
    pub cgroup: PathBuf,
}

impl Created<'_> {
    pub fn delete(self) {
        let mut delete = self.runtime.command(self.test, self.systemd);
        let output = delete.args(["delete", "--force", &self.test.id]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} cannot delete its container: {said}", self.runtime.name);
    }
}

/// The cgroup of a process, below /sys/fs/cgroup.
pub fn cgroup(pid: &str) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap();
    Path::new("/sys/fs/cgroup").join(path)
}

/// What a program prints, which must succeed.
pub fn said(program: &str, arguments: &[&str]) -> String {
    super::stdout(&Command::new(program).args(arguments).output().unwrap())
}

/// What was seen of a container: names and values, or that the runtime refuses.
pub type Seen = Result<BTreeMap<String, String>, String>;

/// What a controller can be told, and only that: what it counts is never the same twice.
pub fn limits(cgroup: &Path) -> BTreeMap<String, String> {
    let is_limit = |name: &str| {
        let (controller, what) = name.split_once('.').unwrap_or_default();
        let last = name.rsplit('.').next().unwrap_or_default();
        match controller {
            "cpu" => !["stat", "pressure", "local"].contains(&last),
            "cpuset" => ["cpus", "mems", "cpus.partition"].contains(&what),
            "memory" => ["min", "low", "high", "max", "group"].contains(&last),
            "io" => ["max", "weight"].contains(&last),
            "pids" | "hugetlb" | "misc" | "rdma" => last == "max",
            "cgroup" => ["subtree_control", "freeze", "type", "max.depth", "max.descendants"].contains(&what),
            _ => false,
        }
    };
    let names = fs::read_dir(cgroup).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names = names.filter(|name| is_limit(name));
    names
        .map(|name| {
            let value = fs::read_to_string(cgroup.join(&name)).unwrap_or_else(|error| error.to_string());
            (name, value.trim().replace('\n', "; "))
        })
        .collect()
}

/// The disk: `major:minor`.
pub fn disk() -> (u64, u64) {
    let name = "vda";
    let number = fs::read_to_string(format!("/sys/block/{name}/dev")).unwrap();
    let (major, minor) = number.trim().split_once(':').unwrap();
    (major.parse().unwrap(), minor.parse().unwrap())
}

/// A resources section of its own, and its name.
#[derive(Debug)]
pub struct Case {
    pub name: &'static str,
    pub resources: Value,
}

/// A bundle with these resources that nothing else shares, `sleep` inside.
pub fn bundle(case: &Case) -> TestBundle {
    let mut test = TestBundle::new(&["sleep", "1000"]).of_any_runtime();
    let resources = &mut test.config["linux"]["resources"];
    for (name, value) in case.resources.as_object().unwrap() {
        resources[name] = value.clone();
    }
    test
}

/// A difference that is meant: of which case (all: `*`), in what (a prefix), and why.
pub type Known = (&'static str, &'static str, &'static str);

/// Compares case by case, and tells all differences at once that are not known. What is known and is no
/// longer so is told, too.
pub fn assert_same(cases: &[Case], runtime: Runtime, seen: &[Seen], theirs: &[Seen], known: &[Known]) {
    let mut found = Vec::new();
    let mut used = BTreeSet::new();
    for ((case, seen), theirs) in cases.iter().zip(seen).zip(theirs) {
        for (what, line) in differences(runtime, seen, theirs) {
            let excuse = known
                .iter()
                .position(|(name, prefix, _)| ["*", case.name].contains(name) && what.starts_with(prefix));
            match excuse {
                Some(index) => drop(used.insert(index)),
                None => found.push(format!("{}: {line}", case.name)),
            }
        }
    }
    for (index, (name, prefix, _)) in known.iter().enumerate() {
        if !used.contains(&index) {
            found.push(format!("{name}: {prefix} is listed as a difference and is none"));
        }
    }
    assert!(found.is_empty(), "{} differs from runc:\n{}", runtime.name, found.join("\n"));
}

/// What differs, by the file or `error`, and how.
fn differences(runtime: Runtime, seen: &Seen, theirs: &Seen) -> Vec<(String, String)> {
    let error = |text: String| vec![("error".to_owned(), text)];
    match (seen, theirs) {
        (Ok(seen), Ok(theirs)) => {
            let names: BTreeSet<_> = seen.keys().chain(theirs.keys()).collect();
            let value = |of: &BTreeMap<String, String>, name| {
                of.get(name).cloned().unwrap_or_else(|| "missing".into())
            };
            let pairs = names.into_iter().map(|name| (name, value(seen, name), value(theirs, name)));
            let differing = pairs.filter(|(_, seen, theirs)| seen != theirs);
            let line =
                |name: &String, seen, theirs| format!("{name}: {}: {seen}, runc: {theirs}", runtime.name);
            differing.map(|(name, seen, theirs)| (name.clone(), line(name, seen, theirs))).collect()
        }
        (Err(text), Ok(_)) => error(format!("only {} refuses: {text}", runtime.name)),
        (Ok(_), Err(text)) => error(format!("only runc refuses: {text}")),
        (Err(_), Err(_)) => Vec::new(),
    }
}

/// Looks at all cases with a runtime, and prints what it does, without what it does anyway: the first case is
/// one without limits.
pub fn look_at_all(runtime: Runtime, cases: &[Case], look: impl Fn(&Case) -> Seen) -> Vec<Seen> {
    let mut all: Vec<Seen> = Vec::new();
    for case in cases {
        let seen = look(case);
        let text = match &seen {
            Ok(values) => {
                let usual = all.first().and_then(|first| first.as_ref().ok());
                let changed = values
                    .iter()
                    .filter(|(name, value)| usual.is_none_or(|usual| usual.get(*name) != Some(*value)));
                changed.map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>().join(" ")
            }
            Err(error) => format!("refuses: {error}"),
        };
        println!("{}: {}: {text}", case.name, runtime.name);
        all.push(seen);
    }
    all
}

/// A section of a config about a device.
pub fn device(number: (u64, u64), key: &str, value: u64) -> Value {
    json!({ "major": number.0, "minor": number.1, key: value })
}
