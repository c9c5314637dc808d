//! The real systemd: a scope is made, changed and stopped, and keeps its devices over a reload.
//!
//! Only where CORTEN_VM says that the machine may be played with: pure cgroup v2, root, systemd running.
//! `CORTEN_VM=user` tries the manager of the user instead, without devices.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use corten_cgroup::Hierarchy;
use corten_cgroup::device::{Access, Filter, Kind, Rule};
use corten_cgroup::systemd::{ErrorKind, Manager, Property, Unit, cpu_mask, device_properties};

const WITHIN: Duration = Duration::from_secs(30);

/// Whether to play with the machine, and if so, with a user's manager.
fn vm(test: &str) -> Option<bool> {
    let vm = std::env::var("CORTEN_VM").ok();
    if vm.is_none() {
        println!("{test}: skipped: CORTEN_VM is not set");
    }
    vm.map(|vm| vm == "user")
}

fn manager(user: bool) -> Manager {
    if user { Manager::user(WITHIN) } else { Manager::system(WITHIN) }.unwrap()
}

/// A process that opens files when asked. Killed when dropped.
struct Opener {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Opener {
    fn start() -> Self {
        let script = r#"while read -r path; do if (: < "$path") 2>&1; then echo opened; fi; done"#;
        let mut command = Command::new("sh");
        let mut child =
            command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (ask, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, ask, answers }
    }

    /// Opens a file, and returns `opened` or what the shell says.
    fn open(&mut self, path: &str) -> String {
        writeln!(self.ask, "{path}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }

    /// Returns the path of its cgroup on v2.
    fn cgroup(&self) -> String {
        let lines = std::fs::read_to_string(format!("/proc/{}/cgroup", self.child.id())).unwrap();
        lines.lines().find_map(|line| line.strip_prefix("0::")).unwrap().to_owned()
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        // It may have been killed together with its scope.
        drop(self.child.kill());
        self.child.wait().unwrap();
    }
}

fn systemctl(user: bool, arguments: &[&str]) -> String {
    let mut command = Command::new("systemctl");
    let output = command.args(user.then_some("--user")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn show(user: bool, unit: &Unit, property: &str) -> String {
    systemctl(user, &["show", "--value", "-p", property, unit.name()])
}

fn rule(kind: Kind, major: Option<u32>, minor: Option<u32>, read: bool, mknod: bool) -> Rule {
    Rule { allow: true, kind, major, minor, access: Access { read, write: read, mknod } }
}

#[test]
fn a_scope_is_made_changed_and_stopped() {
    let Some(user) = vm("a_scope_is_made_changed_and_stopped") else { return };
    let manager = manager(user);
    let id = format!("scope{}", std::process::id());
    let unit = Unit::from_cgroups_path(&format!("corten-test.slice:p:{id}"), "", user).unwrap();
    let path = unit.path(&manager.control_group().unwrap());
    let mut process = Opener::start();

    let mut properties = unit.properties(&id, false);
    properties.push(Property::new("MemoryMax", 64_u64 << 20));
    properties.push(Property::new("TasksMax", 20_u64));
    properties.push(Property::new("AllowedCPUs", cpu_mask("0").unwrap()).since(244));
    let left_out = manager.start_unit(&unit, &[process.child.id()], properties.clone()).unwrap();
    for left_out in left_out {
        println!("{left_out}");
    }
    assert_eq!(manager.control_group_of(&unit).unwrap().unwrap(), path.to_str().unwrap());
    assert_eq!(process.cgroup(), path.to_str().unwrap());
    for (property, value) in [
        ("Description", format!("libcontainer container {id}")),
        ("Slice", "corten-test.slice".to_owned()),
        ("Delegate", "yes".to_owned()),
        ("MemoryMax", (64 << 20).to_string()),
        ("TasksMax", "20".to_owned()),
        ("AllowedCPUs", "0".to_owned()),
    ] {
        assert_eq!(show(user, &unit, property), value, "{property}");
    }

    // A second one of the name is refused, and does no harm to the first.
    let error = manager.start_unit(&unit, &[], properties).unwrap_err();
    assert_eq!(error.bus_name(), Some("org.freedesktop.systemd1.UnitExists"), "{error}");
    assert_eq!(process.open("/"), "opened");

    assert_eq!(manager.set_properties(&unit, vec![Property::new("TasksMax", 30_u64)]).unwrap(), []);
    assert_eq!(show(user, &unit, "TasksMax"), "30");
    let error = manager.set_properties(&unit, vec![Property::new("NoSuchProperty", true)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Call);
    let optional = Property::new("NoSuchProperty", true).since(1);
    assert_eq!(manager.set_properties(&unit, vec![optional]).unwrap().len(), 1);

    let hierarchy = Hierarchy::detect().unwrap();
    drop(hierarchy.create(&path.join("below")).unwrap());
    let other = Opener::start();
    manager.attach_processes(&unit, "below", &[other.child.id()]).unwrap();
    assert_eq!(other.cgroup(), path.join("below").to_str().unwrap());

    manager.stop_unit(&unit).unwrap();
    assert!(hierarchy.open(&path).unwrap().is_none());
    assert_eq!(manager.control_group_of(&unit).unwrap(), None);
    manager.stop_unit(&unit).unwrap();
}

#[test]
fn a_process_that_is_gone_is_an_error_and_leaves_no_unit() {
    let Some(user) = vm("a_process_that_is_gone_is_an_error_and_leaves_no_unit") else { return };
    let manager = manager(user);
    let unit = Unit::from_cgroups_path(&format!(":gone:{}", std::process::id()), "", user).unwrap();
    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let error = manager.start_unit(&unit, &[gone.id()], unit.properties("gone", false)).unwrap_err();
    println!("{error}: {:?}", std::error::Error::source(&error));
    assert_eq!(manager.control_group_of(&unit).unwrap(), None);
}

#[test]
fn a_slice_is_made_and_stopped() {
    let Some(user) = vm("a_slice_is_made_and_stopped") else { return };
    let manager = manager(user);
    let name = format!("corten-test{}.slice", std::process::id());
    let unit = Unit::from_cgroups_path(&format!("corten.slice::{name}"), "", user).unwrap();
    manager.start_unit(&unit, &[], unit.properties("slice", false)).unwrap();
    let path = unit.path(&manager.control_group().unwrap());
    assert!(Hierarchy::detect().unwrap().open(&path).unwrap().is_some(), "{path:?}");
    manager.stop_unit(&unit).unwrap();
}

/// Starts a scope that may use devices by rules, with a filter, and looks after each thing that makes systemd
/// write its devices again whether the scope may still use the same nodes (path and what opening it says).
fn check_devices(id: &str, rules: &[Rule], listed: &str, exact: bool, nodes: &[(&str, &str)]) {
    let manager = manager(false);
    let unit = Unit::from_cgroups_path(&format!(":p:{id}{}", std::process::id()), "", false).unwrap();
    let mut process = Opener::start();
    let mut properties = unit.properties(id, false);
    let devices = device_properties(rules, manager.version(), true);
    assert_eq!(devices.exact, exact);
    properties.extend(devices.properties);
    manager.start_unit(&unit, &[process.child.id()], properties).unwrap();
    assert_eq!(show(false, &unit, "DevicePolicy"), "strict");
    let allowed = systemctl(false, &["show", "-p", "DeviceAllow", unit.name()]);
    assert!(allowed.lines().any(|line| line.ends_with(listed)), "{allowed}");

    let mut check = |when: &str| {
        for (path, said) in nodes {
            let answer = process.open(path);
            assert!(answer.contains(said), "{id}: {when}: {path}: {answer}");
        }
    };
    if exact {
        check("with systemd's program alone");
    }
    let cgroup = Hierarchy::detect().unwrap().open(&unit.path("")).unwrap().unwrap();
    cgroup.set_device_filter(&Filter::compile(rules)).unwrap();
    check("at first");
    systemctl(false, &["daemon-reload"]);
    check("after a reload");
    manager.set_properties(&unit, vec![Property::new("TasksMax", 30_u64)]).unwrap();
    check("after a change");
    manager.stop_unit(&unit).unwrap();
}

#[test]
fn a_reload_takes_no_device_away() {
    let Some(false) = vm("a_reload_takes_no_device_away") else { return };
    // Devices without a driver, and so without a link in /dev/char: to open one that is allowed fails because
    // there is none.
    let directory = tempfile::tempdir().unwrap();
    let node = |name: &str, major: u32, minor: u32| {
        let path = directory.path().join(name).to_str().unwrap().to_owned();
        let numbers = [major.to_string(), minor.to_string()];
        assert!(Command::new("mknod").args([&path, "c"]).args(&numbers).status().unwrap().success());
        path
    };
    let (listed, grouped) = (node("listed", 241, 77), node("grouped", 242, 78));
    let (odd, forbidden) = (node("odd", 243, 79), node("forbidden", 244, 80));
    let (absent, refused) = ("No such device", "Operation not permitted");
    let mut rules = vec![
        rule(Kind::All, None, None, false, true),
        rule(Kind::Char, Some(1), Some(3), true, true),
        rule(Kind::Char, Some(241), Some(77), true, false),
        rule(Kind::Char, Some(242), None, true, false),
    ];
    let mut nodes = vec![
        ("/dev/null", "opened"),
        (&*listed, absent),
        (&*grouped, absent),
        (&*odd, refused),
        (&*forbidden, refused),
    ];
    check_devices("exact", &rules, "/dev/char/241:77 rwm", true, &nodes);
    // systemd has no words for this, and the filter alone holds it.
    rules.push(rule(Kind::Char, None, Some(79), true, false));
    nodes[3].1 = absent;
    check_devices("more", &rules, "char-* rwm", false, &nodes);
}

#[test]
fn no_thread_and_no_socket_is_left() {
    let Some(user) = vm("no_thread_and_no_socket_is_left") else { return };
    let sockets = || {
        let fds = std::fs::read_dir("/proc/self/fd").unwrap();
        fds.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok())
            .filter(|path| path.to_string_lossy().starts_with("anon_inode"))
            .count()
    };
    let before = sockets();
    for _ in 0..5 {
        manager(user).control_group().unwrap();
    }
    // Other tests run at the same time and have one connection each.
    assert!(sockets() <= before + 8, "{before} {}", sockets());
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let name = std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default();
        assert!(!name.contains("zruntime") && !name.contains("zbus"), "{name}");
    }
}
