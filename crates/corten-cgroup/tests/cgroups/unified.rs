//! Real cgroups: made, watched, killed, removed.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use corten_cgroup::device::{Access, Filter, Kind, Rule};
use corten_cgroup::{Cgroup, Hierarchy, Machine, Resources};

const DEADLINE: Duration = Duration::from_secs(10);

/// The hierarchy, if cgroups can be made here.
fn hierarchy() -> Option<Hierarchy> {
    let root =
        fs::metadata("/proc/self").map(|meta| std::os::unix::fs::MetadataExt::uid(&meta)).unwrap_or(1) == 0;
    if !root {
        println!("skipped: cgroups need root");
        return None;
    }
    match Hierarchy::detect() {
        Ok(hierarchy) => Some(hierarchy),
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

fn unique() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    PathBuf::from(format!(
        "/corten-cgroup-test-{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    ))
}

fn on_host(hierarchy: &Hierarchy, path: &Path) -> PathBuf {
    hierarchy.mount_point().join(path.strip_prefix("/").unwrap())
}

/// Starts a shell that moves itself into the cgroup first.
fn start_in(directory: &Path, script: &str) -> Child {
    let procs = directory.join("cgroup.procs");
    let script = format!("echo $$ > {} && echo in && {{ {script}; }}", procs.display());
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut ready = [0; 3];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
    child
}

fn remove(hierarchy: &Hierarchy, path: &Path) {
    let cgroup = hierarchy.open(path).unwrap().unwrap();
    cgroup.remove(DEADLINE).unwrap();
    assert!(!on_host(hierarchy, path).exists());
}

#[test]
fn a_cgroup_is_made_and_removed() {
    let Some(hierarchy) = hierarchy() else { return };
    let top = unique();
    let path = top.join("a/b");
    let cgroup = hierarchy.create(&path).unwrap();
    assert!(on_host(&hierarchy, &path).is_dir());
    assert_eq!(cgroup.path(), path);
    assert!(!cgroup.populated().unwrap() && !cgroup.frozen().unwrap());
    assert_eq!(cgroup.pids().unwrap(), []);
    // An empty one is taken as it is.
    hierarchy.create(&path).unwrap();
    cgroup.kill(DEADLINE).unwrap();
    cgroup.remove(DEADLINE).unwrap();
    // Only the leaf goes, as with runc.
    assert!(on_host(&hierarchy, &top.join("a")).is_dir());
    remove(&hierarchy, &top);
    assert!(hierarchy.open(&top).unwrap().is_none());
}

/// What the kernel does not take leaves no other change behind, and a change can be taken back.
#[test]
fn an_update_is_all_or_nothing() {
    let Some(hierarchy) = hierarchy() else { return };
    let (machine, path) = (Machine::detect().unwrap(), unique());
    let cgroups = machine.create(&machine.locate(Some(&path), "id").unwrap()).unwrap();
    let limit = || fs::read_to_string(on_host(&hierarchy, &path).join("cgroup.max.descendants")).unwrap();
    let settings = |files: &[(&str, &str)]| {
        let unified = files.iter().map(|(file, value)| ((*file).to_owned(), (*value).to_owned())).collect();
        Resources { unified, ..Resources::default() }.settings(machine.legacy_controllers()).unwrap()
    };
    let back = cgroups.update(&settings(&[("cgroup.max.descendants", "5")])).unwrap();
    assert_eq!(limit(), "5\n");
    let wrong = settings(&[("cgroup.max.descendants", "7"), ("cgroup.max.depth", "deep")]);
    let error = cgroups.update(&wrong).unwrap_err().to_string();
    assert!(error.starts_with("unified[\"cgroup.max.depth\"]"), "{error}");
    assert_eq!(limit(), "5\n");
    cgroups.apply(&back).unwrap();
    assert_eq!(limit(), "max\n");
    cgroups.remove(DEADLINE).unwrap();
}

/// A cgroup whose processes would go on for ever should the test fail.
struct KilledInTheEnd(PathBuf);

impl Drop for KilledInTheEnd {
    fn drop(&mut self) {
        // Gone, if the test has not failed.
        fs::write(self.0.join("cgroup.kill"), "1").ok();
    }
}

#[test]
fn processes_are_seen_killed_and_their_cgroups_removed() {
    let Some(hierarchy) = hierarchy() else { return };
    let path = unique();
    let cgroup = hierarchy.create(&path).unwrap();
    let _killed = KilledInTheEnd(on_host(&hierarchy, &path));
    let inner = on_host(&hierarchy, &path).join("inner/most");
    fs::create_dir_all(&inner).unwrap();
    // Children that fork on, in two levels.
    let mut children = [
        start_in(&inner, "sleep 1000 & sleep 1000 & wait"),
        start_in(&on_host(&hierarchy, &path), "while :; do (sleep 0.01) & done"),
    ];
    assert!(cgroup.populated().unwrap());
    assert!(cgroup.pids().unwrap().len() >= 2);
    let busy = hierarchy.create(&path).unwrap_err().to_string();
    assert!(
        busy.starts_with("container's cgroup is not empty: ") && busy.ends_with(" process(es) found"),
        "{busy}"
    );
    let early =
        hierarchy.open(&path).unwrap().unwrap().remove(Duration::from_millis(50)).unwrap_err().to_string();
    assert!(early.contains("still has processes"), "{early}");
    cgroup.kill(DEADLINE).unwrap();
    for child in &mut children {
        child.wait().unwrap();
    }
    cgroup.remove(DEADLINE).unwrap();
    assert!(!on_host(&hierarchy, &path).exists());
}

#[test]
fn a_frozen_cgroup_is_told_and_dies() {
    let Some(hierarchy) = hierarchy() else { return };
    let path = unique();
    let cgroup = hierarchy.create(&path).unwrap();
    let directory = on_host(&hierarchy, &path);
    fs::write(directory.join("cgroup.freeze"), "1").unwrap();
    let refused = hierarchy.create(&path).unwrap_err().to_string();
    assert_eq!(refused, "container's cgroup unexpectedly frozen");
    fs::write(directory.join("cgroup.freeze"), "0").unwrap();
    let mut child = start_in(&directory, "sleep 1000");
    fs::write(directory.join("cgroup.freeze"), "1").unwrap();
    let start = std::time::Instant::now();
    while !cgroup.frozen().unwrap() {
        assert!(start.elapsed() < DEADLINE, "not frozen");
        std::thread::sleep(Duration::from_millis(1));
    }
    cgroup.kill(DEADLINE).unwrap();
    child.wait().unwrap();
    cgroup.remove(DEADLINE).unwrap();
}

#[test]
fn links_and_dots_do_not_leave_the_hierarchy() {
    let Some(hierarchy) = hierarchy() else { return };
    for (given, resolved) in [("/../../etc", "/etc"), ("/a/./b/../c", "/a/c")] {
        assert_eq!(hierarchy.resolve(Some(Path::new(given)), "id").unwrap(), Path::new(resolved));
    }
    let relative = hierarchy.resolve(Some(Path::new("x/y")), "id").unwrap();
    assert!(relative.is_absolute() && relative.ends_with("x/y"), "{relative:?}");
    assert!(hierarchy.resolve(None, "id").unwrap().ends_with("id"));
    // Below what is no directory.
    let error = hierarchy.create(Path::new("/cgroup.procs/x")).unwrap_err();
    assert!(error.to_string().contains("cgroup.procs"), "{error}");
}

#[test]
fn the_kernel_keeps_the_device_filter() {
    let Some(hierarchy) = hierarchy() else { return };
    let path = unique();
    let cgroup: Cgroup = hierarchy.create(&path).unwrap();
    let read = Access { read: true, write: false, mknod: false };
    let null = |allow, access| Rule { allow, kind: Kind::Char, major: Some(1), minor: Some(3), access };
    let all = Access { read: true, write: true, mknod: true };
    let zero = Rule { allow: true, kind: Kind::Char, major: Some(1), minor: Some(5), access: all };
    cgroup.set_device_filter(&Filter::compile(&[null(true, all), zero, null(false, read)])).unwrap();
    // The null device is for writing only now, and the full device for nothing.
    let script = "(: < /dev/zero) && echo zero-r; (: > /dev/null) && echo null-w; (: < /dev/null) 2>&- || echo null-no-r; \
        (: < /dev/full) 2>&- || echo full-no-r; (: <> /dev/null) 2>&- || echo null-no-rw";
    let mut child = start_in(&on_host(&hierarchy, &path), script);
    let mut said = String::new();
    std::io::Read::read_to_string(child.stdout.as_mut().unwrap(), &mut said).unwrap();
    child.wait().unwrap();
    cgroup.kill(DEADLINE).unwrap();
    cgroup.remove(DEADLINE).unwrap();
    assert_eq!(said, "zero-r\nnull-w\nnull-no-r\nfull-no-r\nnull-no-rw\n");
}
