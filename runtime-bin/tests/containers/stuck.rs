//! Containers whose making does not come to an end: in a frozen cgroup, in a hook, at a filesystem that does
//! not answer. They can be killed and deleted, the command that makes them can be ended, and what it has made
//! is taken back if that can be.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::ways::Way;
use crate::common::{self, TestBundle, cgroup_mounts, corten, fail, run, skip, state, succeed, until};
use container_test::container_test;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, CpuSet, sched_getcpu, sched_setaffinity, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

/// A cgroup that can be frozen, made by the test in one hierarchy; thawed and removed when it is dropped.
struct Above {
    directory: PathBuf,
    file: &'static str,
    values: [&'static str; 2],
}

impl Above {
    /// One in each hierarchy that can freeze.
    fn all(name: &str) -> Vec<Self> {
        let make = |mount_point: PathBuf| {
            let directory = mount_point.join(format!("{name}-above"));
            fs::create_dir(&directory).ok()?;
            for (file, values) in [("freezer.state", ["FROZEN", "THAWED"]), ("cgroup.freeze", ["1", "0"])] {
                if directory.join(file).exists() {
                    return Some(Self { directory, file, values });
                }
            }
            fs::remove_dir(directory).unwrap();
            None
        };
        cgroup_mounts().into_iter().filter_map(make).collect()
    }

    fn freeze(&self) {
        fs::write(self.directory.join(self.file), self.values[0]).unwrap();
    }

    fn thaw(&self) {
        fs::write(self.directory.join(self.file), self.values[1]).unwrap();
    }

    /// Whether a process in it stands still for good: that of v1 does, and cannot even be killed.
    fn holds_killed(&self) -> bool {
        self.file == "freezer.state"
    }
}

impl Drop for Above {
    fn drop(&mut self) {
        fs::write(self.directory.join(self.file), self.values[1]).ok();
        let removed = (0..100).any(|_| {
            let gone = fs::remove_dir(&self.directory).is_ok();
            std::thread::sleep(Duration::from_millis(if gone { 0 } else { 20 }));
            gone
        });
        assert!(removed || std::thread::panicking(), "{:?} cannot be removed", self.directory);
    }
}

/// A bundle whose cgroup is below those of the test, in all hierarchies.
fn below(above: &[Above], arguments: &[&str]) -> TestBundle {
    let mut test = TestBundle::new(arguments);
    let name = above[0].directory.file_name().unwrap().to_str().unwrap().to_owned();
    test.config["linux"]["cgroupsPath"] = format!("/{name}/{}", test.id).into();
    test
}

/// Removes them, and those of other hierarchies that came about as parents.
fn remove(above: Vec<Above>) {
    let name = above[0].directory.file_name().unwrap().to_owned();
    drop(above);
    for mount_point in cgroup_mounts() {
        fs::remove_dir(mount_point.join(&name)).ok();
    }
}

/// Whoever is put into such a cgroup stands still until somebody thaws the one above: nobody is.
#[container_test]
fn a_container_below_a_frozen_cgroup_is_refused() {
    let above = Above::all(&common::unique("frozen"));
    for frozen in &above {
        let test = below(&above, &["true"]);
        frozen.freeze();
        let begun = Instant::now();
        let error = common::one_error(&run(&test));
        assert!(error.contains("container's cgroup unexpectedly frozen"), "{:?}: {error}", frozen.directory);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        frozen.thaw();
        test.assert_nothing_left("frozen");
        assert_eq!(common::stdout(&run(&test)), "", "{:?}", frozen.directory);
    }
    remove(above);
}

/// A hook of the runtime's that never ends, and says so first.
fn hang_in_hook(test: &mut TestBundle) {
    let script = format!("echo > {}; sleep 1000", test.beside("hook").display());
    test.config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] });
}

/// Starts a command that makes the container; what it says goes into the file `errors`.
fn begin(test: &TestBundle, words: &[&str]) -> Child {
    let path = test.write().path();
    let errors = File::create(test.beside("errors")).unwrap();
    // A shell has its background jobs ignore SIGINT.
    let mut command = Command::new("env");
    command.args(["--default-signal", common::CORTEN, "--root"]).arg(test.state_root()).args(words);
    command.arg("--bundle").arg(path).arg(&test.id);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn().unwrap()
}

fn errors(test: &TestBundle) -> String {
    fs::read_to_string(test.beside("errors")).unwrap()
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

/// Waits for the end of a command, which must come soon.
fn ends(child: &mut Child, what: &str) -> std::process::ExitStatus {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > end {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{what}: the command does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A cgroup above is frozen while the runtime runs a hook, and init waits for that: it is deleted by force,
/// or its making is ended.
#[container_test]
fn a_container_that_is_frozen_from_above_while_it_is_made_can_be_removed() {
    let above = Above::all(&common::unique("freezing"));
    let cases = above.iter().flat_map(|above| [(above, false), (above, true)]);
    for (frozen, interrupted) in cases.filter(|(above, interrupted)| !(above.holds_killed() && *interrupted))
    {
        let mut test = below(&above, &["true"]);
        let what = format!("{:?}, interrupted: {interrupted}", frozen.directory);
        hang_in_hook(&mut test);
        let mut command = begin(&test, &["create"]);
        until("no hook", || test.beside("hook").exists());
        frozen.freeze();
        if frozen.holds_killed() {
            // It says so, and goes when it can.
            let error = fail(&test, &["delete", "--force", &test.id]);
            assert!(
                error.contains("does not end") || error.contains("still has processes"),
                "{what}: {error}"
            );
            frozen.thaw();
            assert_eq!(ends(&mut command, &what).code(), Some(1), "{what}");
            corten(&test, &["delete", "--force", &test.id]).output().unwrap();
        } else if interrupted {
            send(&command, Signal::SIGTERM);
            assert_eq!(ends(&mut command, &what).code(), Some(1), "{what}");
            assert!(errors(&test).contains("interrupted"), "{what}: {}", errors(&test));
        } else {
            succeed(&test, &["delete", "--force", &test.id]);
            assert_eq!(ends(&mut command, &what).code(), Some(1), "{what}");
        }
        frozen.thaw();
    }
    remove(above);
}

/// What ends a command ends one that makes a container, and nothing is left.
#[container_test]
fn a_making_that_is_interrupted_is_taken_back() {
    for words in [&["create"][..], &["run", "--detach"], &["run"]] {
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
            let what = format!("{words:?}, {signal}");
            let mut test = TestBundle::new(&["true"]);
            hang_in_hook(&mut test);
            let mut command = begin(&test, words);
            until("no hook", || test.beside("hook").exists());
            send(&command, signal);
            assert_eq!(ends(&mut command, &what).code(), Some(1), "{what}");
            assert!(errors(&test).ends_with("interrupted\n"), "{what}: {}", errors(&test));
            test.assert_nothing_left(&what);
        }
    }
}

/// A filesystem whose server never answers, at `path` in a mount namespace of this thread's own; it is gone
/// when what is returned is dropped.
fn hang_filesystem(path: &Path) -> Option<File> {
    let Ok(device) = OpenOptions::new().read(true).write(true).open("/dev/fuse") else {
        skip("no /dev/fuse");
        return None;
    };
    let none: Option<&str> = None;
    // Namespaces are numbered in batches, one for each CPU, and the kernel keeps none in one that is younger:
    // what is made here is older than what is made later on the same CPU.
    let mut cpu = CpuSet::new();
    cpu.set(sched_getcpu().unwrap()).unwrap();
    sched_setaffinity(Pid::from_raw(0), &cpu).unwrap();
    unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).unwrap();
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    fs::create_dir(path).unwrap();
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
    if let Err(errno) = mount(Some("stuck"), path, Some("fuse"), MsFlags::empty(), Some(options.as_str())) {
        skip(&format!("no FUSE: {errno}"));
        return None;
    }
    // A copy of a mount namespace has no others mounted in it: the first container keeps one again.
    assert_eq!(common::stdout(&run(&TestBundle::new(&["true"]))), "");
    Some(device)
}

/// Whether a process is held by the filesystem.
fn waits_for_fuse(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/wchan"))
        .is_ok_and(|place| place.contains("fuse") || place.contains("request"))
        || fs::read_to_string(format!("/proc/{pid}/stack")).is_ok_and(|stack| stack.contains("fuse"))
}

/// The pid of the container's init, once it is known.
fn init_of(test: &TestBundle) -> u32 {
    let mut pid = 0;
    until("no init", || {
        let output = corten(test, &["state", &test.id]).output().unwrap();
        let state: Option<serde_json::Value> = serde_json::from_slice(&output.stdout).ok();
        pid = state
            .and_then(|state| state["pid"].as_u64())
            .and_then(|pid| u32::try_from(pid).ok())
            .unwrap_or(0);
        pid != 0
    });
    pid
}

/// The source of a mount lies on it. Where init opens it, it is init that hangs; in the other ways it is the
/// runtime.
#[container_test(ways)]
fn a_container_that_hangs_at_a_mount_can_be_killed_and_deleted(way: Way) {
    let place = tempfile::tempdir().unwrap();
    let stuck = place.path().join("stuck");
    let Some(server) = hang_filesystem(&stuck) else { return };
    let ends_by = ["kill", "delete", "interrupt", "killed create"];
    for by in ends_by {
        let mut test = TestBundle::new(&["true"]);
        let what = format!("{way:?}, {by}");
        let mount = json!({ "destination": "/data", "source": stuck.join("source"), "options": ["bind"] });
        test.config["mounts"].as_array_mut().unwrap().push(mount);
        let prepared = way.prepare(&test);
        let errors_file = File::create(test.beside("errors")).unwrap();
        let mut command =
            prepared.command(&["create"]).stdout(Stdio::null()).stderr(errors_file).spawn().unwrap();
        // The runtime itself hangs where it opens what a user namespace may not. Init may have cloned itself
        // meanwhile.
        let is_runtime = matches!(way, Way::UserNamespace | Way::NoPivot);
        let held = || if is_runtime { command.id() } else { init_of(&test) };
        until(&format!("{what}: nobody hangs"), || waits_for_fuse(held()));
        prepared.assert_way();
        let begun = Instant::now();
        match by {
            "kill" if is_runtime => continue_without(&mut command, &test),
            "kill" => {
                succeed(&test, &["kill", &test.id, "KILL"]);
                assert_eq!(ends(&mut command, &what).code(), Some(1), "{what}");
                assert!(errors(&test).contains("killed by signal 9"), "{what}: {}", errors(&test));
            }
            "delete" => {
                succeed(&test, &["delete", "--force", &test.id]);
                // It has nothing to do any more, and says so when it can.
                if is_runtime {
                    send(&command, Signal::SIGTERM);
                }
                assert!(!ends(&mut command, &what).success(), "{what}");
            }
            "interrupt" => {
                send(&command, Signal::SIGTERM);
                let status = ends(&mut command, &what);
                if is_runtime {
                    assert_eq!(status.signal(), Some(libc_sigterm()), "{what}");
                    succeed(&test, &["delete", "--force", &test.id]);
                } else {
                    assert!(errors(&test).ends_with("interrupted\n"), "{what}: {}", errors(&test));
                }
            }
            _ => {
                send(&command, Signal::SIGKILL);
                ends(&mut command, &what);
                succeed(&test, &["delete", "--force", &test.id]);
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "{what}: {:?}", begun.elapsed());
    }
    drop(server);
}

fn libc_sigterm() -> i32 {
    Signal::SIGTERM as i32
}

/// Where it is the runtime that hangs, a killed init is of no use to it; it is ended by hand.
fn continue_without(command: &mut Child, test: &TestBundle) {
    succeed(test, &["kill", &test.id, "KILL"]);
    send(command, Signal::SIGTERM);
    ends(command, "kill");
    succeed(test, &["delete", "--force", &test.id]);
}

/// The rootfs lies on it: there is no init yet.
#[container_test]
fn a_container_whose_root_hangs_can_be_deleted() {
    let place = tempfile::tempdir().unwrap();
    let stuck = place.path().join("stuck");
    let Some(server) = hang_filesystem(&stuck) else { return };
    let mut test = TestBundle::new(&["true"]);
    test.config["root"]["path"] = stuck.join("rootfs").to_str().unwrap().into();
    let mut command = begin(&test, &["create"]);
    until("nobody hangs", || waits_for_fuse(command.id()));
    assert_eq!(state(&test)["status"], "creating");
    succeed(&test, &["delete", "--force", &test.id]);
    send(&command, Signal::SIGTERM);
    assert_eq!(ends(&mut command, "create").signal(), Some(libc_sigterm()));
    test.assert_nothing_left("a root that hangs");
    drop(server);
}
