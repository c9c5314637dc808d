//! Trees of the host in containers: those in which mount namespaces are kept, many at once, what the host
//! mounts in them later.
//!
//! The host's mounts are made in a mount namespace of the test's own, in which the runtime is started.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::common::{CORTEN, TestBundle, run, stdout};
use container_test::container_test;
use serde_json::{Value, json};

/// A bundle that runs a script on a writable root.
fn script(script: &str) -> TestBundle {
    let mut test = TestBundle::new(&["sh", "-c", script]);
    test.config["root"]["readonly"] = false.into();
    test
}

fn bind(test: &mut TestBundle, source: &Path, destination: &str, options: &[&str]) {
    let mount = json!({ "destination": destination, "type": "bind", "source": source, "options": options });
    test.config["mounts"].as_array_mut().unwrap().push(mount);
}

/// Runs a script of the host in a mount namespace of its own, with the runtime and its state root as `$@`,
/// and the directory beside the bundle as the working directory.
fn on_host(test: &TestBundle, script: &str) -> Output {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-euc", script, "sh", CORTEN, "--root"]);
    command.arg(test.state_root()).current_dir(test.beside("")).stdin(Stdio::null()).output().unwrap()
}

/// Keeps mount namespaces in `host`, a tree of the host with a file in it. The kernel compares their ids with
/// that of the namespace that a tree comes to, and hands ids out to each CPU in batches: so one is made on
/// each CPU (where it is not older than this one, which the kernel refuses), and the runtime is run on each.
fn keep_namespaces() -> &'static str {
    "mkdir host; mount -t tmpfs tmpfs host; mount --make-private host; mkdir host/below; echo seen >host/file
    cpus=$(sed -n 's/^processor.*: //p' /proc/cpuinfo)
    for cpu in $cpus; do
        touch host/below/$cpu; taskset -c $cpu unshare --mount=host/below/$cpu true 2>/dev/null || true
    done
    grep -q mnt: /proc/self/mountinfo"
}

fn run_on_each_cpu(test: &TestBundle) -> String {
    let script = format!(
        "{}\nfor cpu in $cpus; do taskset -c $cpu \"$@\" run --bundle {:?} {}; done",
        keep_namespaces(),
        test.write().path(),
        test.id
    );
    stdout(&on_host(test, &script))
}

/// A change of a config.
type Change = dyn Fn(&mut Value);

#[container_test]
fn a_tree_with_mount_namespaces_below_can_be_mounted() {
    let nothing: &Change = &|_| {};
    let hook: &Change = &|config| config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/true" }] });
    let shared: &Change = &|config| config["linux"]["rootfsPropagation"] = json!("rshared");
    let without: &Change = &|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "mount");
    };
    let cases: [(&[&str], &Change, bool); 9] = [
        (&["rbind"], nothing, false),
        (&["rbind", "ro"], nothing, false),
        (&["rbind", "rslave"], nothing, false),
        (&["rbind", "rprivate"], nothing, false),
        (&["rbind"], hook, false),
        (&["rbind"], shared, false),
        (&["rbind"], without, false),
        (&["rbind", "rslave"], nothing, true),
        (&["bind"], nothing, false),
    ];
    for (options, change, mapped) in cases {
        let mut test = script("cat /x/file; ls /x");
        let source = test.beside("host");
        bind(&mut test, &source, "/x", options);
        change(&mut test.config);
        if mapped {
            test.map_ids();
        }
        let seen = run_on_each_cpu(&test);
        assert!(seen.lines().all(|line| ["seen", "file", "below"].contains(&line)), "{options:?}: {seen}");
        assert!(seen.contains("seen\nbelow\nfile\n"), "{options:?}: {seen}");
    }
}

/// Root and working directory of a process are in its mount namespace, which is the runtime's own, and not in
/// a copy of that.
#[container_test]
fn a_source_may_lead_through_another_process() {
    let nothing: &Change = &|_| {};
    let hook: &Change = &|config| config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/true" }] });
    let shared: &Change = &|config| config["linux"]["rootfsPropagation"] = json!("rshared");
    for (change, mapped, pinned) in [
        (nothing, false, false),
        (hook, false, false),
        (shared, false, false),
        (nothing, true, false),
        (nothing, false, true),
        (nothing, true, true),
    ] {
        let mut test = script("cat /x/file /y/file /z; stat -c %i /net");
        let root = Path::new("/proc/PID/root").join(test.beside("plain").strip_prefix("/").unwrap());
        bind(&mut test, &root, "/x", &["rbind"]);
        bind(&mut test, Path::new("/proc/PID/cwd"), "/y", &["bind", "ro"]);
        bind(&mut test, &root.join("file"), "/z", &["bind"]);
        bind(&mut test, Path::new("/proc/PID/ns/net"), "/net", &["bind"]);
        if pinned {
            let source = test.beside("host");
            bind(&mut test, &source, "/host", &["rbind"]);
        }
        change(&mut test.config);
        if mapped {
            test.map_ids();
        }
        let script = format!(
            "{}
            mkdir plain; echo plain >plain/file; cd plain; sleep 1000 & cd ..
            trap \"kill $!\" EXIT; sed -i s:/proc/PID/:/proc/$!/: {bundle:?}/config.json
            for cpu in $cpus; do taskset -c $cpu \"$@\" run --bundle {bundle:?} {id}; done; stat -L -c %i /proc/$!/ns/net",
            keep_namespaces(),
            bundle = test.write().path(),
            id = test.id
        );
        let seen = stdout(&on_host(&test, &script));
        let network = seen.lines().last().unwrap();
        let expected = format!("plain\nplain\nplain\n{network}\n");
        let runs = seen.strip_suffix(&format!("{network}\n")).unwrap();
        assert_eq!(runs.replace(&expected, ""), "", "{mapped} {pinned}");
    }
}

#[container_test]
fn a_root_with_mount_namespaces_below_can_be_run() {
    let mut test = script("cat /file");
    test.config["root"]["path"] = json!(test.beside("host"));
    let fill = format!("cp -a {:?}/. host", test.rootfs());
    let script = format!(
        "{}\n{fill}\nfor cpu in $cpus; do taskset -c $cpu \"$@\" run --bundle {:?} {}; done",
        keep_namespaces(),
        test.write().path(),
        test.id
    );
    assert!(stdout(&on_host(&test, &script)).starts_with("seen\n"));
}

#[container_test]
fn beginning_again_runs_hooks_once_and_says_nothing() {
    let mut test = script("cat /x/file");
    let (source, log) = (test.beside("host"), test.beside("log"));
    bind(&mut test, &source, "/x", &["rbind"]);
    let hook = |name: &str| json!([{ "path": "/bin/sh", "args": ["sh", "-c", format!("echo {name} >>{}", log.display())] }]);
    test.config["hooks"] = json!({ "poststart": hook("poststart"), "poststop": hook("poststop") });
    let cpus = run_on_each_cpu(&test).lines().count();
    assert_eq!(std::fs::read_to_string(log).unwrap(), "poststart\npoststop\n".repeat(cpus));
}

#[container_test]
fn mounts_are_added_from_a_tree_with_mount_namespaces_below() {
    let test = TestBundle::new(&["sleep", "1000"]);
    let mounts = json!([{ "destination": "/tmp", "type": "bind", "source": test.beside("host"), "options": ["rbind"] }]);
    std::fs::write(test.beside("mounts.json"), mounts.to_string()).unwrap();
    // The container must be younger than what is mounted.
    let script = format!(
        "{}
        for cpu in $cpus; do
            taskset -c $cpu \"$@\" --log log run --detach --bundle {bundle:?} {id} >/dev/null 2>&1
            \"$@\" mounts add {id} mounts.json; \"$@\" exec {id} cat /tmp/file; \"$@\" delete --force {id}
        done",
        keep_namespaces(),
        bundle = test.write().path(),
        id = test.id
    );
    assert!(stdout(&on_host(&test, &script)).lines().all(|line| line == "seen"));
}

/// They are opened in a copy of the host's mount namespace, whose mounts have other numbers.
#[container_test]
fn added_mounts_keep_flags_in_a_user_namespace() {
    let mut test = TestBundle::new(&["sleep", "1000"]);
    test.map_ids();
    let source = test.beside("host");
    for (file, options) in [("kept.json", &["rbind"][..]), ("cleared.json", &["rbind", "rw", "exec"])] {
        let mounts = json!([{ "destination": "/tmp", "type": "bind", "source": source, "options": options }]);
        std::fs::write(test.beside(file), mounts.to_string()).unwrap();
    }
    let script = format!(
        "{}
        mount -o remount,bind,ro,noexec host
        \"$@\" --log log run --detach --bundle {bundle:?} {id} >/dev/null 2>&1
        \"$@\" mounts add {id} cleared.json 2>&1 || true
        \"$@\" mounts add {id} kept.json; \"$@\" exec {id} grep -o ' /tmp r[ow][^ ]*' /proc/self/mountinfo
        \"$@\" delete --force {id}",
        keep_namespaces(),
        bundle = test.write().path(),
        id = test.id
    );
    let said = stdout(&on_host(&test, &script));
    assert!(said.contains("cannot clear locked flags ro,noexec"), "{said}");
    assert!(said.ends_with(" /tmp ro,noexec,relatime\n"), "{said}");
}

#[container_test]
fn the_whole_host_can_be_mounted_after_other_containers() {
    // The first makes the template, the others begin with a copy of it.
    for _ in 0..3 {
        stdout(&run(&script("true")));
    }
    for (source, options) in [("/", "rbind"), ("/", "rslave"), ("/run", "rbind"), ("/run", "ro")] {
        let mut test = script("ls -d /x/. && ! grep 'mnt:' /proc/self/mountinfo");
        bind(&mut test, Path::new(source), "/x", &["rbind", options]);
        assert_eq!(stdout(&run(&test)), "/x/.\n", "{source} {options}");
    }
}

#[container_test]
fn more_mounts_than_there_may_be_files_open() {
    let nothing: &Change = &|_| {};
    let shared: &Change = &|config| config["linux"]["rootfsPropagation"] = json!("rshared");
    let hook: &Change = &|config| config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/true" }] });
    for (change, mapped, words) in [
        (nothing, false, &[][..]),
        (nothing, true, &[]),
        (shared, false, &[]),
        (hook, false, &[]),
        (nothing, false, &["--no-pivot"]),
    ] {
        let mut test = script("grep -c /many/ /proc/self/mountinfo; ulimit -n; ulimit -Hn");
        for number in 0..150 {
            bind(&mut test, Path::new("/etc/hostname"), &format!("/many/{number}"), &["bind", "ro"]);
        }
        change(&mut test.config);
        test.config["process"].as_object_mut().unwrap().remove("rlimits");
        if mapped {
            test.map_ids();
        }
        let run = format!(
            "ulimit -n 64; \"$@\" run {} --bundle {:?} {}",
            words.join(" "),
            test.write().path(),
            test.id
        );
        assert_eq!(stdout(&on_host(&test, &run)), "150\n64\n64\n", "{mapped} {words:?}");
    }
}

#[container_test]
fn what_the_host_mounts_in_the_rootfs_later_is_not_the_containers() {
    for propagation in ["", "rslave", "slave", "rshared", "private"] {
        let mut test =
            script("touch /tmp/up; while [ ! -e /tmp/mounted ]; do sleep 0.01; done; ls /etc /sub/dir");
        for directory in ["tmp/below", "sub"] {
            std::fs::create_dir_all(test.rootfs().join(directory)).unwrap();
        }
        if !propagation.is_empty() {
            test.config["linux"]["rootfsPropagation"] = json!(propagation);
        }
        let script = format!(
            "mount --make-rshared /; mount -t tmpfs sub {root}/sub; mkdir {root}/sub/dir
            \"$@\" run --bundle {:?} {} & while [ ! -e {root}/tmp/up ]; do sleep 0.01; done
            mount -t tmpfs etc {root}/etc; touch {root}/etc/from-host
            mount -t tmpfs dir {root}/sub/dir; touch {root}/sub/dir/from-host
            touch {root}/tmp/mounted; wait",
            test.write().path(),
            test.id,
            root = test.rootfs().display(),
        );
        // Below the root it is as the host has it, but where the config says that nothing comes from there.
        let below = if propagation == "private" { "" } else { "from-host\n" };
        assert_eq!(
            stdout(&on_host(&test, &script)),
            format!("/etc:\n\n/sub/dir:\n{below}"),
            "{propagation:?}"
        );
    }
}
