//! What `update` leaves in the files of cgroup v1 is what runc leaves there after the same commands.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::common::vm::{self, Case, Known, OURS, Runtime, Seen};
use crate::common::{self, peers, skip};
use container_test::container_test;
use serde_json::{Value, json};

const MIB: i64 = 1 << 20;

/// An update: flags, or a file.
enum Update {
    Flags(&'static str),
    File(Value),
}
use Update::{File as Resources, Flags};

/// What a container is made with, and the updates that follow.
fn cases() -> Vec<(Case, Vec<Update>)> {
    let limited = || {
        json!({
            "memory": { "limit": 64 * MIB, "reservation": 32 * MIB, "swap": 96 * MIB },
            "cpu": { "shares": 512, "quota": 50_000, "period": 200_000, "cpus": "0-1" },
            "pids": { "limit": 100 },
        })
    };
    let from = |name, resources, updates| (Case { name, resources }, updates);
    let of_nothing =
        |name, flags: &[&'static str]| from(name, json!({}), flags.iter().copied().map(Flags).collect());
    let of_limits =
        |name, flags: &[&'static str]| from(name, limited(), flags.iter().copied().map(Flags).collect());
    let device = |allow: bool, minor: i64| json!({ "allow": allow, "type": "c", "major": 10, "minor": minor, "access": "rw" });
    vec![
        of_nothing("nothing", &[]),
        of_limits("limits", &[]),
        of_nothing("memory", &["--memory 64M"]),
        of_nothing("memory and swap", &["--memory 64M --memory-swap 128M"]),
        of_nothing(
            "there and back",
            &[
                "--memory 64M --memory-swap 128M",
                "--memory 16M --memory-swap 32M",
                "--memory 128M --memory-swap 128M",
            ],
        ),
        of_nothing("swap alone", &["--memory-swap 128M"]),
        of_limits("swap of a limit", &["--memory-swap 128M"]),
        of_limits("swap below memory", &["--memory-swap 32M"]),
        of_limits("memory above swap", &["--memory 128M"]),
        of_limits("no memory limit", &["--memory -1"]),
        of_limits("no swap limit", &["--memory-swap -1"]),
        of_limits("no limits", &["--memory -1 --memory-swap -1 --memory-reservation -1"]),
        of_limits("after no limit", &["--memory -1", "--memory 32M"]),
        of_limits("memory 0", &["--memory 0"]),
        of_limits("reservation", &["--memory-reservation 16M"]),
        of_limits("quota", &["--cpu-quota 30000"]),
        of_limits("period", &["--cpu-period 100000"]),
        of_limits("quota and period", &["--cpu-quota 30000 --cpu-period 60000"]),
        of_limits("no quota", &["--cpu-quota -1"]),
        of_limits("quota 0", &["--cpu-quota 0"]),
        of_nothing("quota of nothing", &["--cpu-quota 30000"]),
        of_nothing("period of nothing", &["--cpu-period 50000"]),
        of_nothing("small quota", &["--cpu-quota 10"]),
        of_limits("shares", &["--cpu-share 100"]),
        of_limits("shares 0", &["--cpu-share 0"]),
        of_limits("shares 1", &["--cpu-share 1"]),
        of_limits("shares 300000", &["--cpu-share 300000"]),
        of_limits("realtime", &["--cpu-rt-period 100000 --cpu-rt-runtime 1000"]),
        of_limits("cpus", &["--cpuset-cpus 1"]),
        of_limits("mems", &["--cpuset-mems 0"]),
        of_limits("no cpu", &["--cpuset-cpus 4000"]),
        of_limits("pids", &["--pids-limit 10"]),
        of_limits("pids 0", &["--pids-limit 0"]),
        of_limits("pids -1", &["--pids-limit -1"]),
        of_limits("block weight", &["--blkio-weight 500"]),
        of_limits("kernel memory", &["--kernel-memory 16M --memory 32M"]),
        of_limits(
            "one after the other",
            &["--pids-limit 10", "--cpu-share 100", "--memory 48M", "--cpu-quota 20000"],
        ),
        from("file", json!({}), vec![Resources(limited())]),
        from("empty file", limited(), vec![Resources(json!({}))]),
        from(
            "file of zeroes",
            limited(),
            vec![Resources(json!({ "memory": { "limit": 0 }, "cpu": { "quota": 0, "shares": 0 } }))],
        ),
        from("file of one", limited(), vec![Resources(json!({ "memory": { "limit": 32 * MIB } }))]),
        from(
            "swappiness",
            limited(),
            vec![Resources(json!({ "memory": { "limit": 32 * MIB, "swappiness": 30 } }))],
        ),
        from(
            "devices",
            json!({ "devices": [{ "allow": false, "access": "rwm" }, device(true, 229)] }),
            vec![Flags("--pids-limit 10")],
        ),
    ]
}

/// Where Corten is not like runc, on purpose.
const KNOWN: &[Known] = &[
    ("shares 1", "cpu.shares", "what the kernel has bent is put back; runc only tells of it"),
    ("shares 300000", "cpu.shares", "the same"),
    ("pids 0", "pids.max", "one task, as for a new container; runc 1.1 took 0 for nothing said"),
    ("swappiness", "memory.swappiness", "runc leaves it out of updates without a word"),
];

/// Creates the container, updates it and looks at the files of its cgroups; deletes it again.
fn look(runtime: Runtime, case: &Case, updates: &[Update]) -> Seen {
    let test = vm::bundle(case);
    let path = test.write().path();
    let errors = test.beside("errors");
    let run = |arguments: &[&str]| {
        let mut command = runtime.command(&test, false);
        let errors = File::create(&errors).unwrap();
        command.args(arguments).stdout(Stdio::null()).stderr(errors).status().unwrap().success()
    };
    assert!(
        run(&["create", "--bundle", path.to_str().unwrap(), &test.id]),
        "{}",
        fs::read_to_string(&errors).unwrap()
    );
    let mut seen = BTreeMap::new();
    for (index, update) in updates.iter().enumerate() {
        let file = test.beside("resources.json");
        let mut arguments = vec!["update"];
        match update {
            Flags(flags) => arguments.extend(flags.split(' ')),
            Resources(resources) => {
                fs::write(&file, resources.to_string()).unwrap();
                arguments.extend(["-r", file.to_str().unwrap()]);
            }
        }
        arguments.push(&test.id);
        let done = run(&arguments);
        if !done {
            println!("{}: {}: {}", case.name, runtime.name, fs::read_to_string(&errors).unwrap().trim_end());
        }
        seen.insert(format!("update {index}"), if done { "done" } else { "refused" }.to_owned());
    }
    let directories: Vec<_> =
        common::cgroup_mounts().iter().map(|mount_point| mount_point.join(&test.id)).collect();
    directories.iter().for_each(|directory| seen.extend(limits(directory)));
    assert!(run(&["delete", "--force", &test.id]));
    if runtime != OURS {
        // runc 1.1 gives up soon where the kernel has not let go of dead tasks.
        common::until("runc's cgroups stay", || directories.iter().all(|directory| gone(directory)));
    }
    test.assert_nothing_left(runtime.name);
    Ok(seen)
}

fn gone(directory: &Path) -> bool {
    fs::remove_dir(directory).is_ok() || !directory.exists()
}

/// What can be set in a v1 cgroup.
fn limits(directory: &Path) -> Vec<(String, String)> {
    let is_limit = |name: &str| {
        let ends = [
            "limit_in_bytes",
            "_us",
            ".shares",
            ".idle",
            ".cpus",
            ".mems",
            "pids.max",
            "_device",
            ".swappiness",
        ];
        let is_memory_of_kernel = name.starts_with("memory.kmem");
        ends.iter().any(|end| name.ends_with(end)) && !is_memory_of_kernel || name == "devices.list"
    };
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let names =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).filter(|name| is_limit(name));
    let value = |name: String| {
        let text = fs::read_to_string(directory.join(&name)).unwrap_or_else(|error| error.to_string());
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        (name, lines.join("; "))
    };
    names.map(value).collect()
}

#[container_test]
fn updates_are_runcs() {
    let has = |controller: &str| Path::new("/sys/fs/cgroup").join(controller).join("cgroup.procs").exists();
    if !["memory", "cpu", "cpuset", "pids", "devices"].into_iter().all(has) {
        return skip("not all of memory, cpu, cpuset, pids and devices are in v1 hierarchies");
    }
    let is_runc = |path: &PathBuf| path.ends_with("runc");
    let Some(runc) = peers::peers().into_iter().find(is_runc) else { return skip("no runc to compare with") };
    let program: &'static str = Box::leak(runc.to_str().unwrap().to_owned().into_boxed_str());
    let runc = Runtime { name: "runc", program };
    let (cases, updates): (Vec<_>, Vec<_>) = cases().into_iter().unzip();
    let look_at_all = |runtime| -> Vec<Seen> {
        cases.iter().zip(&updates).map(|(case, updates)| look(runtime, case, updates)).collect()
    };
    let (ours, theirs) = (look_at_all(OURS), look_at_all(runc));
    vm::assert_same(&cases, OURS, &ours, &theirs, KNOWN);
}
