//! Real containers through the library: many at once, and stopped at every place.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::{env, fs, thread};

use crate::common::{self, TestBundle};
use container_test::container_test;
use libcorten::plan::Planned;
use libcorten::{Bundle, CreateOptions, ErrorKind, Exit, Runtime, Status, Update};

#[container_test]
fn a_container_goes_through_its_life() {
    let test = TestBundle::new(&["sh", "-c", "exit 7"]);
    let bundle = Bundle::open(test.write().path()).unwrap();
    let runtime = Runtime::new(test.state_root());
    let container = runtime.create(&test.id, &bundle, &CreateOptions::default()).unwrap();
    assert_eq!(container.state().unwrap().status, Status::Created);
    assert_eq!(
        runtime.create(&test.id, &bundle, &CreateOptions::default()).unwrap_err().kind(),
        ErrorKind::Exists
    );
    let listed = runtime.list().unwrap();
    assert_eq!(listed.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), [&test.id]);
    runtime.load(&test.id).unwrap().start().unwrap();
    assert_eq!(container.wait().unwrap(), Exit::Code(7));
    let state = container.state().unwrap();
    assert_eq!((state.status, state.pid), (Status::Stopped, 0));
    assert_eq!(container.start().unwrap_err().to_string(), "cannot start a container that has stopped");
    container.delete(false).unwrap();
    assert_eq!(container.state().unwrap_err().kind(), ErrorKind::NotFound);
}

/// DESIGN: safe to call from any thread of any program. Others of this process allocate and hold locks all
/// the while.
#[container_test]
fn eight_threads_make_twenty_five_containers_each() {
    let test = Arc::new(TestBundle::new(&["sh", "-c", "exit 3"]));
    let mut config = test.config.clone();
    config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
    fs::write(test.path().join("config.json"), config.to_string()).unwrap();
    let bundle = Arc::new(Bundle::open(test.path()).unwrap());
    let (stop, lock) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let noise: Vec<_> = (0..2)
        .map(|_| {
            let (stop, lock) = (stop.clone(), lock.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut kept = lock.lock().unwrap();
                    kept.push(vec![0u8; 10_000]);
                    if kept.len() > 100 {
                        kept.clear();
                    }
                    env::vars().for_each(drop);
                }
            })
        })
        .collect();
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let (bundle, test) = (bundle.clone(), test.clone());
            thread::spawn(move || {
                let runtime = Runtime::new(test.state_root());
                for round in 0..25 {
                    let id = format!("{}-{thread}-{round}", test.id);
                    let container = runtime.create(&id, &bundle, &CreateOptions::default()).unwrap();
                    container.start().unwrap();
                    assert_eq!(container.wait().unwrap(), Exit::Code(3));
                    container.delete(false).unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    for thread in noise {
        thread.join().unwrap();
    }
}

const KILL_AT: &str = "CORTEN_TEST_KILL_AT";
const KILL_BUNDLE: &str = "CORTEN_TEST_KILL_BUNDLE";

/// The runtime is killed before each host step: `delete --force` removes everything.
#[container_test]
fn the_runtime_is_killed_at_every_step() {
    kill_at_every_step(&TestBundle::new(&["sleep", "1000"]));
    kill_at_every_step(&TestBundle::with_everything());
}

fn kill_at_every_step(test: &TestBundle) {
    let bundle = Bundle::open(test.write().path()).unwrap();
    let runtime = Runtime::new(test.state_root());
    for wait_for_start in [true, false] {
        let plan = runtime.plan(&test.id, &bundle, &CreateOptions::default(), wait_for_start).unwrap();
        for index in 0..=plan.host.len() {
            let status = Command::new(env::current_exe().unwrap())
                .args(["--exact", "containers::killed_runtime", "--nocapture"])
                .env(KILL_AT, format!("{index} {wait_for_start} {}", test.id))
                .env(KILL_BUNDLE, test.path())
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .status()
                .unwrap();
            let signal = std::os::unix::process::ExitStatusExt::signal(&status);
            assert_eq!(signal, Some(9), "step {index}: {status}");
            let step = plan.host.get(index).map_or("the end", |planned| planned.step.name());
            let what = format!("killed before {step} ({index}), wait_for_start {wait_for_start}");
            match runtime.load(&test.id).and_then(|container| container.delete(true)) {
                // Killed before anything was made.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => panic!("{what}: {}", error.chain()),
                Ok(warnings) => assert!(warnings.is_empty(), "{what}: {warnings:?}"),
            }
            test.assert_nothing_left(&what);
        }
    }
}

/// A runtime is killed after it wrote down a cgroup that it would not have got, as another container is in
/// it: deleting what it left does not touch the other.
#[container_test]
fn a_cgroup_that_was_only_written_down_is_not_killed() {
    let (other, mut test) = (TestBundle::new(&["sleep", "1000"]), TestBundle::new(&["true"]));
    let bundle = Bundle::open(other.write().path()).unwrap();
    let running =
        Runtime::new(other.state_root()).run(&other.id, &bundle, &CreateOptions::default()).unwrap();
    test.config["linux"]["cgroupsPath"] = other.config["linux"]["cgroupsPath"].clone();
    let (runtime, options) = (Runtime::new(test.state_root()), CreateOptions::default());
    let bundle = Bundle::open(test.write().path()).unwrap();
    let plan = runtime.plan(&test.id, &bundle, &options, true).unwrap();
    let index = plan.host.iter().position(|planned| planned.step.name() == "CreateCgroups").unwrap();
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", "containers::killed_runtime"])
        .env(KILL_AT, format!("{index} true {}", test.id))
        .env(KILL_BUNDLE, test.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    let error = runtime.load(&test.id).unwrap().delete(true).unwrap_err().chain();
    assert!(error.contains("still has processes"), "{error}");
    assert_eq!(running.state().unwrap().status, Status::Running);
    // Asked for rightly, it is refused in the same way.
    let error = runtime.create("second", &bundle, &options).unwrap_err().chain();
    assert!(error.contains("container's cgroup is not empty"), "{error}");
    running.delete(true).unwrap();
    runtime.load(&test.id).unwrap().delete(true).unwrap();
    other.assert_nothing_left("the other");
}

/// Not a test: the runtime that the one above kills.
#[test]
fn killed_runtime() {
    let (Ok(at), Ok(bundle)) = (env::var(KILL_AT), env::var(KILL_BUNDLE)) else { return };
    let mut words = at.split(' ');
    let index: usize = words.next().unwrap().parse().unwrap();
    let wait_for_start = words.next() == Some("true");
    let id = words.next().unwrap();
    let root = std::path::Path::new(&bundle).parent().unwrap().join("state");
    let (bundle, runtime) = (Bundle::open(&bundle).unwrap(), Runtime::new(root));
    let mut seen = 0;
    let mut kill = |_: &Planned<_>| {
        if seen == index {
            kill_self();
        }
        seen += 1;
    };
    runtime.launch(id, &bundle, &CreateOptions::default(), wait_for_start, &mut kill).unwrap();
    kill_self();
}

const FREEZE: &str = "CORTEN_TEST_FREEZE";
const FREEZE_BUNDLE: &str = "CORTEN_TEST_FREEZE_BUNDLE";

/// A cgroup above is frozen in the very moment in which init is cloned: the clone stands still before it has
/// become init, and the runtime waits for it. `delete --force` ends both, and what ends any command ends the
/// runtime.
#[container_test]
fn a_clone_that_stands_still_is_ended() {
    let unified = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(std::path::Path::new);
    let Some(unified) = unified.into_iter().find(|path| path.join("cgroup.procs").exists()) else {
        return common::skip("no cgroup v2");
    };
    for by in ["delete", "SIGTERM"] {
        let mut test = TestBundle::new(&["true"]);
        let (name, id) = (format!("{}-above", test.id), test.id.clone());
        test.config["linux"]["cgroupsPath"] = format!("/{name}/{id}").into();
        let above = unified.join(&name);
        std::fs::create_dir(&above).unwrap();
        let mut runtime = Command::new(env::current_exe().unwrap())
            .args(["--exact", "containers::runtime_whose_clone_is_frozen"])
            .env(FREEZE, format!("{} {id}", above.join("cgroup.freeze").display()))
            .env(FREEZE_BUNDLE, test.write().path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Frozen by the runtime, and then there is somebody in it.
        common::until("no clone", || {
            let read = |file: std::path::PathBuf| std::fs::read_to_string(file).unwrap_or_default();
            !read(above.join(&id).join("cgroup.procs")).is_empty()
                && read(above.join("cgroup.freeze")) == "1\n"
        });
        let delete = || {
            let begun = std::time::Instant::now();
            let container = Runtime::new(test.state_root()).load(&id).unwrap();
            assert_eq!(container.delete(true).unwrap(), Vec::<String>::new(), "{by}");
            assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{by}: {:?}", begun.elapsed());
        };
        if by == "SIGTERM" {
            send_to_thread(runtime.id(), "containers::run", nix::libc::SIGTERM);
            let signal = std::os::unix::process::ExitStatusExt::signal(&runtime.wait().unwrap());
            assert_eq!(signal, Some(15));
            delete();
        } else {
            delete();
            assert!(!runtime.wait().unwrap().success());
        }
        std::fs::write(above.join("cgroup.freeze"), "0").unwrap();
        test.assert_nothing_left(by);
        for mount_point in common::cgroup_mounts() {
            std::fs::remove_dir(mount_point.join(&name)).ok();
        }
        assert!(!above.exists());
    }
}

/// Sends a signal to the thread of this name: one for all of the process comes to another thread where this
/// one holds it back.
fn send_to_thread(pid: u32, name: &str, signal: i32) {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap());
    let named = |task: &fs::DirEntry| fs::read_to_string(task.path().join("comm")).unwrap().trim() == name;
    let tasks: Vec<_> = tasks.filter(named).collect();
    let [task] = &tasks[..] else { panic!("{tasks:?}") };
    let tid: i32 = task.file_name().to_str().unwrap().parse().unwrap();
    // SAFETY: the call takes numbers.
    let sent = unsafe { nix::libc::syscall(nix::libc::SYS_tgkill, pid, tid, signal) };
    assert_eq!(sent, 0);
}

/// Not a test: the runtime that the one above starts.
#[test]
fn runtime_whose_clone_is_frozen() {
    let (Ok(what), Ok(bundle)) = (env::var(FREEZE), env::var(FREEZE_BUNDLE)) else { return };
    let (file, id) = what.split_once(' ').unwrap();
    let root = std::path::Path::new(&bundle).parent().unwrap().join("state");
    let (bundle, runtime) = (Bundle::open(&bundle).unwrap(), Runtime::new(root));
    let mut freeze = |planned: &Planned<libcorten::plan::HostStep>| {
        if planned.step.name() == "CloneInit" {
            std::fs::write(file, "1").unwrap();
        }
    };
    runtime.launch(id, &bundle, &CreateOptions::default(), true, &mut freeze).unwrap();
}

fn kill_self() -> ! {
    nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::SIGKILL).unwrap();
    unreachable!("SIGKILL is not survived")
}

/// Somebody else (GPUs) may have changed which devices are allowed: an update leaves them alone, unless it
/// brings another list.
#[container_test]
fn devices_are_left_alone_by_updates_of_other_limits() {
    if fs::File::open("/dev/fuse").is_err() {
        return common::skip("/dev/fuse cannot be opened");
    }
    let look = "while :; do if (: < /dev/fuse) 2> /dev/null; then touch /tmp/yes; else busybox rm -f /tmp/yes; fi; \
        touch /tmp/looked; sleep 0.01; done";
    let mut test = TestBundle::new(&["sh", "-c", &format!("mknod /dev/fuse c 10 229; {look}")]);
    for set in ["bounding", "effective", "permitted"] {
        test.config["process"]["capabilities"][set].as_array_mut().unwrap().push("CAP_MKNOD".into());
    }
    test.config["root"]["readonly"] = false.into();
    let fuse = |allow: bool| serde_json::json!({ "allow": allow, "type": "c", "major": 10, "minor": 229, "access": "rw" });
    let rules = serde_json::json!([{ "allow": false, "access": "rwm" }, fuse(true)]);
    test.config["linux"]["resources"]["devices"] = rules.clone();
    let bundle = Bundle::open(test.write().path()).unwrap();
    let container =
        Runtime::new(test.state_root()).run(&test.id, &bundle, &CreateOptions::default()).unwrap();
    let may_open = || {
        for _ in 0..2 {
            fs::remove_file(test.rootfs().join("tmp/looked")).ok();
            common::until("it does not look", || test.rootfs().join("tmp/looked").exists());
        }
        test.rootfs().join("tmp/yes").exists()
    };
    assert!(may_open());
    let machine = corten_cgroup::Machine::detect().unwrap();
    let location = machine.locate(Some(format!("/{}", test.id).as_ref()), &test.id).unwrap();
    let cgroups = machine.open(&location).unwrap();
    cgroups.set_devices(&[]).unwrap();
    assert!(!may_open());
    let update = |resources: serde_json::Value| {
        let resources = serde_json::from_value(resources).unwrap();
        container.update(&Update { resources, ..Update::default() }).unwrap();
    };
    update(serde_json::json!({ "unified": {} }));
    update(serde_json::json!({ "devices": rules }));
    assert!(!may_open());
    update(serde_json::json!({ "devices": [fuse(true)] }));
    assert!(may_open());
    container.delete(true).unwrap();
}

/// Two of the same name at once: one is made, one is told, and the one that is made works.
#[container_test]
fn one_of_two_containers_of_one_name_is_made() {
    let test = Arc::new(TestBundle::new(&["true"]));
    let bundle = Arc::new(Bundle::open(test.write().path()).unwrap());
    for _ in 0..10 {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (bundle, test) = (bundle.clone(), test.clone());
                thread::spawn(move || {
                    Runtime::new(test.state_root()).create(&test.id, &bundle, &CreateOptions::default())
                })
            })
            .collect();
        let results: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let (made, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!(made.len(), 1, "{refused:?}");
        for error in refused {
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Exists);
        }
        for container in made {
            let container = container.unwrap();
            container.start().unwrap();
            assert_eq!(container.wait().unwrap(), Exit::Code(0));
            container.delete(false).unwrap();
        }
    }
}
