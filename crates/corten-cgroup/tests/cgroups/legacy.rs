//! Real cgroups of v1: made, filled, frozen, killed, removed, and the devices of their processes.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use corten_cgroup::device::{Access, Kind, Rule};
use corten_cgroup::legacy::{Cgroups, Hierarchies, Paths};

const DEADLINE: Duration = Duration::from_secs(10);

/// The hierarchies, if cgroups can be made there.
fn hierarchies() -> Option<Hierarchies> {
    let root =
        fs::metadata("/proc/self").map(|meta| std::os::unix::fs::MetadataExt::uid(&meta)).unwrap_or(1) == 0;
    if !root {
        println!("skipped: cgroups need root");
        return None;
    }
    let hierarchies = Hierarchies::detect().unwrap();
    if !["freezer", "devices", "cpuset", "memory"].into_iter().all(|controller| hierarchies.has(controller)) {
        println!("skipped: no cgroup v1 with freezer, devices, cpuset and memory");
        return None;
    }
    Some(hierarchies)
}

/// A container's paths, the same in each hierarchy: a directory of this test's own, and one in it.
fn unique(hierarchies: &Hierarchies) -> (PathBuf, Paths) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let top = PathBuf::from(format!("/corten-legacy-test-{}-{count}", std::process::id()));
    let paths = hierarchies.resolve(Some(&top.join("inner")), "id").unwrap();
    (top, paths)
}

/// Where a hierarchy's cgroup is on the machine.
fn on_host(hierarchy: &str, path: &Path) -> PathBuf {
    let name = hierarchy.strip_prefix("name=").unwrap_or(hierarchy);
    Path::new("/sys/fs/cgroup").join(name).join(path.strip_prefix("/").unwrap())
}

/// Removes what a test made and sees that nothing is left.
fn remove(hierarchies: &Hierarchies, cgroups: Cgroups, top: &Path) {
    cgroups.kill(DEADLINE).unwrap();
    cgroups.remove(DEADLINE).unwrap();
    let tops = hierarchies.resolve(Some(top), "").unwrap();
    hierarchies.open(&tops).unwrap().remove(DEADLINE).unwrap();
    assert_eq!(left(hierarchies, top), Vec::<PathBuf>::new());
}

/// What there is of a path.
fn left(hierarchies: &Hierarchies, path: &Path) -> Vec<PathBuf> {
    let paths = hierarchies.resolve(Some(path), "").unwrap();
    paths.iter().map(|(hierarchy, path)| on_host(hierarchy, path)).filter(|path| path.exists()).collect()
}

fn sleeper() -> Child {
    Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap()
}

fn id(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap()
}

/// A shell that does what it is told.
struct Shell {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Shell {
    fn start() -> Self {
        let mut child = Command::new("sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, stdin, stdout }
    }

    /// Whether a command succeeds.
    fn can(&mut self, command: &str) -> bool {
        writeln!(self.stdin, "if ({command}); then echo yes; else echo no; fi").unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        assert!(line == "yes\n" || line == "no\n", "{line:?}");
        line == "yes\n"
    }
}

#[test]
fn cgroups_are_made_entered_and_removed() {
    let Some(hierarchies) = hierarchies() else { return };
    let (top, paths) = unique(&hierarchies);
    let cgroups = hierarchies.create(&paths).unwrap();
    assert_eq!(cgroups.paths(), paths);
    assert_eq!(cgroups.pids().unwrap(), []);
    assert!(!cgroups.populated().unwrap() && !cgroups.frozen().unwrap());
    // Empty ones are taken as they are.
    hierarchies.create(&paths).unwrap();
    let mut child = sleeper();
    cgroups.add(id(&child)).unwrap();
    let own = fs::read_to_string(format!("/proc/{}/cgroup", child.id())).unwrap();
    for (hierarchy, path) in &paths {
        let line = format!(":{hierarchy}:{}", path.display());
        assert!(own.lines().any(|own| own.ends_with(&line)), "{line} is not in {own}");
    }
    assert_eq!(cgroups.pids().unwrap(), [id(&child)]);
    assert!(cgroups.populated().unwrap());
    let busy = hierarchies.create(&paths).unwrap_err().to_string();
    assert_eq!(busy, "container's cgroup is not empty: 1 process(es) found");
    assert!(hierarchies.complete(&paths).unwrap().populated().unwrap());
    let early = hierarchies.open(&paths).unwrap().remove(Duration::from_millis(30)).unwrap_err().to_string();
    assert!(
        early.contains("freezer") && early.contains("still has processes") && early.contains("; "),
        "{early}"
    );
    cgroups.kill(DEADLINE).unwrap();
    assert!(!cgroups.populated().unwrap());
    child.wait().unwrap();
    // One of them is gone already.
    fs::remove_dir(on_host("freezer", &paths["freezer"])).unwrap();
    let rest = hierarchies.open(&paths).unwrap();
    assert!(rest.directory("freezer").is_none() && rest.directory("devices").is_some());
    assert!(rest.freeze(DEADLINE).unwrap_err().to_string().contains("\"freezer\""));
    // Only the leaves go, as with runc.
    rest.remove(DEADLINE).unwrap();
    assert_eq!(left(&hierarchies, &top).len(), paths.len());
    remove(&hierarchies, cgroups, &top);
    assert!(hierarchies.open(&paths).unwrap().is_empty());
}

#[test]
fn paths_count_from_the_mount_or_the_own_cgroup() {
    let Some(hierarchies) = hierarchies() else { return };
    let absolute = hierarchies.resolve(Some(Path::new("/../a/./b")), "id").unwrap();
    assert!(absolute.values().all(|path| path == Path::new("/a/b")), "{absolute:?}");
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    for (given, added) in [(Some("x/../../y"), "y"), (None, "id"), (Some(""), "id")] {
        let relative = hierarchies.resolve(given.map(Path::new), "id").unwrap();
        for (hierarchy, path) in &relative {
            let line = own.lines().find(|line| line.contains(&format!(":{hierarchy}:"))).unwrap();
            let own = line.splitn(3, ':').nth(2).unwrap();
            assert_eq!(path, &Path::new(own).join(added), "{given:?} in {hierarchy}");
        }
    }
}

#[test]
fn cpus_and_memory_nodes_come_from_above() {
    let Some(hierarchies) = hierarchies() else { return };
    let (top, paths) = unique(&hierarchies);
    let read = |path: &Path, file: &str| fs::read_to_string(on_host("cpuset", path).join(file)).unwrap();
    let cgroups = hierarchies.create(&paths).unwrap();
    for file in ["cpuset.cpus", "cpuset.mems"] {
        assert_eq!(read(&top, file), read(Path::new("/"), file));
        // The container's own may have to be less than all.
        assert_eq!(read(&paths["cpuset"], file), "\n");
    }
    fs::write(on_host("cpuset", &paths["cpuset"]).join("cpuset.cpus"), "0").unwrap();
    let mut child = sleeper();
    cgroups.add(id(&child)).unwrap();
    assert_eq!(read(&paths["cpuset"], "cpuset.cpus"), "0\n");
    assert_eq!(read(&paths["cpuset"], "cpuset.mems"), read(&top, "cpuset.mems"));
    cgroups.kill(DEADLINE).unwrap();
    child.wait().unwrap();
    remove(&hierarchies, cgroups, &top);
}

#[test]
fn a_failure_half_way_leaves_nothing() {
    let Some(hierarchies) = hierarchies() else { return };
    let (top, paths) = unique(&hierarchies);
    // Others come before it.
    let busy = on_host("memory", &paths["memory"]);
    let frozen = on_host("freezer", &paths["freezer"]);
    fs::create_dir_all(&busy).unwrap();
    let mut child = sleeper();
    fs::write(busy.join("cgroup.procs"), child.id().to_string()).unwrap();
    let error = hierarchies.create(&paths).unwrap_err().to_string();
    assert_eq!(error, "container's cgroup is not empty: 1 process(es) found");
    assert_eq!(left(&hierarchies, &top), [on_host("memory", &top)]);
    child.kill().unwrap();
    child.wait().unwrap();
    fs::create_dir_all(&frozen).unwrap();
    fs::write(frozen.join("freezer.state"), "FROZEN").unwrap();
    let error = hierarchies.create(&paths).unwrap_err().to_string();
    assert_eq!(error, "container's cgroup unexpectedly frozen");
    assert_eq!(left(&hierarchies, &top).len(), 2);
    fs::write(frozen.join("freezer.state"), "THAWED").unwrap();
    // A file is no directory, anywhere: the parent that was made before it is removed.
    let through_file: Paths =
        paths.iter().map(|(name, path)| (name.clone(), path.join("made/cgroup.procs"))).collect();
    let error = hierarchies.create(&through_file).unwrap_err().to_string();
    assert!(error.contains("made/cgroup.procs"), "{error}");
    assert_eq!(left(&hierarchies, &paths["freezer"].join("made")), Vec::<PathBuf>::new());
    let root: Paths = paths.keys().map(|name| (name.clone(), "/".into())).collect();
    assert!(hierarchies.create(&root).unwrap_err().to_string().contains("is not empty"));
    remove(&hierarchies, hierarchies.create(&paths).unwrap(), &top);
}

/// The time that a process has used, in ticks.
fn ticks(child: &Child) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let after_name = stat.rsplit(") ").next().unwrap();
    after_name.split(' ').skip(11).take(2).map(|time| time.parse::<u64>().unwrap()).sum()
}

#[test]
fn frozen_processes_stand_still() {
    let Some(hierarchies) = hierarchies() else { return };
    let (top, paths) = unique(&hierarchies);
    let cgroups = hierarchies.create(&paths).unwrap();
    let mut busy = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
    let mut forks = Command::new("sh").args(["-c", "while :; do (sleep 0.01) & done"]).spawn().unwrap();
    cgroups.add(id(&busy)).unwrap();
    cgroups.add(id(&forks)).unwrap();
    for _ in 0..5 {
        cgroups.freeze(DEADLINE).unwrap();
        assert!(cgroups.frozen().unwrap());
        let before = (ticks(&busy), cgroups.pids().unwrap());
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!((ticks(&busy), cgroups.pids().unwrap()), before);
        cgroups.thaw().unwrap();
        assert!(!cgroups.frozen().unwrap());
        let start = Instant::now();
        while ticks(&busy) == before.0 {
            assert!(start.elapsed() < DEADLINE, "it stands still");
        }
    }
    // Held by the cgroup above: nothing that thawing this one would change.
    let above = on_host("freezer", &top).join("freezer.state");
    fs::write(&above, "FROZEN").unwrap();
    assert!(!cgroups.frozen().unwrap());
    fs::write(&above, "THAWED").unwrap();
    cgroups.kill(DEADLINE).unwrap();
    busy.wait().unwrap();
    forks.wait().unwrap();
    remove(&hierarchies, cgroups, &top);
}

/// When they do not all freeze in time, none may stay half frozen.
#[test]
fn what_cannot_be_frozen_goes_on() {
    let Some(hierarchies) = hierarchies() else { return };
    let (top, paths) = unique(&hierarchies);
    let cgroups = hierarchies.create(&paths).unwrap();
    let busy = || Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
    let mut children: Vec<Child> = (0..10).map(|_| busy()).collect();
    for child in &children {
        cgroups.add(id(child)).unwrap();
    }
    // Each of them has to run once more before it stands still.
    let error = cgroups.freeze(Duration::ZERO).unwrap_err().to_string();
    assert!(error.contains("is not frozen after 0 s"), "{error}");
    let state = fs::read_to_string(on_host("freezer", &paths["freezer"]).join("freezer.state")).unwrap();
    assert_eq!(state, "THAWED\n");
    cgroups.kill(DEADLINE).unwrap();
    for child in &mut children {
        child.wait().unwrap();
    }
    remove(&hierarchies, cgroups, &top);
}

#[test]
fn all_are_killed_wherever_they_hide() {
    let Some(hierarchies) = hierarchies() else { return };
    let (top, paths) = unique(&hierarchies);
    let cgroups = hierarchies.create(&paths).unwrap();
    // A fork bomb; one in a sub-cgroup that is frozen by itself; and the whole paused at last.
    let mut bomb = Command::new("sh").args(["-c", "while :; do (sleep 0.01) & done"]).spawn().unwrap();
    let mut hidden = sleeper();
    cgroups.add(id(&bomb)).unwrap();
    cgroups.add(id(&hidden)).unwrap();
    let inner = on_host("freezer", &paths["freezer"]).join("a/b");
    fs::create_dir_all(&inner).unwrap();
    fs::write(inner.join("cgroup.procs"), hidden.id().to_string()).unwrap();
    fs::write(inner.join("freezer.state"), "FROZEN").unwrap();
    assert!(cgroups.pids().unwrap().contains(&id(&hidden)));
    cgroups.freeze(DEADLINE).unwrap();
    cgroups.kill(DEADLINE).unwrap();
    assert!(!cgroups.populated().unwrap() && !cgroups.frozen().unwrap());
    bomb.wait().unwrap();
    hidden.wait().unwrap();
    remove(&hierarchies, cgroups, &top);
}

/// A process that a cgroup above holds does not die; the error names it.
#[test]
fn the_survivors_are_named() {
    let Some(hierarchies) = hierarchies() else { return };
    let (top, paths) = unique(&hierarchies);
    let cgroups = hierarchies.create(&paths).unwrap();
    let mut child = sleeper();
    cgroups.add(id(&child)).unwrap();
    let above = on_host("freezer", &top).join("freezer.state");
    fs::write(&above, "FROZEN").unwrap();
    let error = cgroups.kill(Duration::from_millis(50)).unwrap_err().to_string();
    assert!(error.contains(&format!("still has processes [{}]", child.id())), "{error}");
    fs::write(&above, "THAWED").unwrap();
    child.wait().unwrap();
    remove(&hierarchies, cgroups, &top);
}

/// A container can make cgroups deeper than there are fds, with names that no string has.
#[test]
fn cgroups_of_any_depth_and_name_are_removed() {
    let Some(hierarchies) = hierarchies() else { return };
    let (top, paths) = unique(&hierarchies);
    let cgroups = hierarchies.create(&paths).unwrap();
    let names = [b"deeper".as_slice(), b"\xff\xfe", b" * ;$(x)", b"...", b"-rf"].map(OsStr::from_bytes);
    for (hierarchy, path) in &paths {
        let mut here = fs::File::open(on_host(hierarchy, path)).unwrap();
        for _ in 0..300 {
            let above = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&here)));
            for name in names.iter().take(if hierarchy == "freezer" { names.len() } else { 1 }) {
                fs::create_dir(above.join(name)).unwrap();
            }
            here = fs::File::open(above.join("deeper")).unwrap();
        }
    }
    remove(&hierarchies, cgroups, &top);
}

fn rule(allow: bool, minor: Option<u32>, letters: &str) -> Rule {
    let access =
        Access { read: letters.contains('r'), write: letters.contains('w'), mknod: letters.contains('m') };
    Rule { allow, kind: Kind::Char, major: Some(1), minor, access }
}

#[test]
fn devices_are_refused_until_they_are_allowed() {
    let Some(hierarchies) = hierarchies() else { return };
    let (top, paths) = unique(&hierarchies);
    let cgroups = hierarchies.create(&paths).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let node = format!("mknod {0}/full c 1 7 && rm {0}/full", directory.path().display());
    let list = || fs::read_to_string(on_host("devices", &paths["devices"]).join("devices.list")).unwrap();
    let everything = Rule { kind: Kind::All, major: None, ..rule(true, None, "rwm") };
    let nothing = Rule { allow: false, ..everything };
    let usual = [nothing, rule(true, Some(3), "rwm"), rule(true, Some(5), "rw")];
    cgroups.set_devices(&usual, DEADLINE).unwrap();
    assert_eq!(list(), "c 1:3 rwm\nc 1:5 rw\n");
    let mut shell = Shell::start();
    cgroups.add(id(&shell.child)).unwrap();
    assert!(shell.can(": <> /dev/null"));
    assert!(!shell.can(": < /dev/full") && !shell.can(&node));
    // One more, one less.
    cgroups
        .set_devices(&[usual[0], usual[1], rule(true, Some(5), "r"), rule(true, Some(7), "rm")], DEADLINE)
        .unwrap();
    assert!(shell.can(": < /dev/full") && !shell.can(": > /dev/full") && shell.can(&node));
    assert!(shell.can(": < /dev/zero") && !shell.can(": <> /dev/zero"));
    // What v1 cannot express changes nothing.
    let before = list();
    let error =
        cgroups.set_devices(&[rule(true, None, "rw"), rule(false, Some(3), "w")], DEADLINE).unwrap_err();
    assert!(error.to_string().contains("\"deny c 1:3 w\""), "{error}");
    assert_eq!(list(), before);
    // All but one, and all: the shell goes on.
    cgroups.set_devices(&[everything, rule(false, Some(7), "w")], DEADLINE).unwrap();
    assert!(shell.can(": <> /dev/zero") && shell.can(": < /dev/full") && !shell.can(": > /dev/full"));
    // A frozen one stays frozen.
    cgroups.freeze(DEADLINE).unwrap();
    cgroups.set_devices(&[everything, rule(false, Some(5), "w")], DEADLINE).unwrap();
    assert!(cgroups.frozen().unwrap());
    cgroups.thaw().unwrap();
    assert!(shell.can(": > /dev/full") && !shell.can(": > /dev/zero"));
    cgroups.set_devices(&[everything], DEADLINE).unwrap();
    assert!(shell.can(": > /dev/zero"));
    cgroups.set_devices(&usual, DEADLINE).unwrap();
    assert!(!shell.can(": < /dev/full"));
    cgroups.kill(DEADLINE).unwrap();
    shell.child.wait().unwrap();
    remove(&hierarchies, cgroups, &top);
}

/// While all is allowed for a moment, nobody must be able to use it.
#[test]
fn the_way_to_another_list_is_no_way_to_devices() {
    let Some(hierarchies) = hierarchies() else { return };
    let (top, paths) = unique(&hierarchies);
    let cgroups = hierarchies.create(&paths).unwrap();
    let everything = Rule { kind: Kind::All, major: None, ..rule(true, None, "rwm") };
    let but = [everything, rule(false, Some(7), "r")];
    let only = [rule(true, Some(3), "rw")];
    cgroups.set_devices(&only, DEADLINE).unwrap();
    let mut shell = Shell::start();
    cgroups.add(id(&shell.child)).unwrap();
    writeln!(shell.stdin, "while :; do (: < /dev/full) && echo opened; done").unwrap();
    for _ in 0..50 {
        cgroups.set_devices(&but, DEADLINE).unwrap();
        cgroups.set_devices(&only, DEADLINE).unwrap();
    }
    cgroups.kill(DEADLINE).unwrap();
    shell.child.wait().unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut shell.stdout, &mut said).unwrap();
    assert_eq!(said, "");
    remove(&hierarchies, cgroups, &top);
}

/// Runs this test again, as another part of it, with mounts of its own: `script` has run before.
fn again(part: &str, script: &str) -> bool {
    let script = format!("{script} && exec \"$@\"");
    let own = std::env::current_exe().unwrap();
    let mut child = Command::new("unshare");
    child.args(["-m", "--propagation", "private", "sh", "-c", &script, "sh"]).arg(own);
    child.args(["--exact", "--ignored", "--nocapture", part]).status().unwrap().success()
}

#[test]
fn a_hierarchy_that_is_refused_is_an_error() {
    if hierarchies().is_some() {
        assert!(again(
            "legacy::in_mounts::one_is_read_only",
            "mount -o remount,bind,ro /sys/fs/cgroup/memory"
        ));
    }
}

/// In a container without a cgroup namespace, the mount begins at the container's cgroup.
#[test]
fn relative_paths_are_below_a_container_without_cgroup_namespace() {
    let Some(hierarchies) = hierarchies() else { return };
    let (top, paths) = unique(&hierarchies);
    let cgroups = hierarchies.create(&paths).unwrap();
    let own = on_host("memory", &paths["memory"]);
    let script = format!(
        "mkdir {0}/own && echo $$ > {0}/own/cgroup.procs && mount --bind {0} /sys/fs/cgroup/memory",
        own.display()
    );
    assert!(again("legacy::in_mounts::the_mount_begins_below_the_root", &script));
    remove(&hierarchies, cgroups, &top);
}

/// What [`again`] runs.
mod in_mounts {
    use super::*;

    #[test]
    #[ignore = "needs mounts of its own"]
    fn one_is_read_only() {
        let hierarchies = hierarchies().unwrap();
        let (top, paths) = unique(&hierarchies);
        let error = hierarchies.create(&paths).unwrap_err();
        assert!(error.is_refused() && error.to_string().contains("/sys/fs/cgroup/memory/"), "{error}");
        assert_eq!(left(&hierarchies, &top), Vec::<PathBuf>::new());
    }

    #[test]
    #[ignore = "needs mounts of its own"]
    fn the_mount_begins_below_the_root() {
        let paths = Hierarchies::detect().unwrap().resolve(Some(Path::new("x")), "id").unwrap();
        assert_eq!(paths["memory"], Path::new("/own/x"));
    }
}
