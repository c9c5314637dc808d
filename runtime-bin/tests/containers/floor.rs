//! The floor of the benchmarks makes the same container: otherwise the distance to it would mean nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::{self, CORTEN, TestBundle, run, skip, stdout};
use container_test::container_test;
use serde_json::{Value, json};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/floor/floor.c");

/// Looks around; what is tried must fail, or must not.
const LOOK: &str = "cat /proc/self/mountinfo; echo '## rest'; \
    grep -E '^(Uid|Gid|Groups|NoNewPrivs|Seccomp|Cap|Sig|Cpus_allowed):' /proc/self/status; \
    cat /proc/self/limits /proc/self/cgroup; \
    for d in /dev/* /dev/pts/ptmx; do stat -c '%n %F %a %u %g %t %T %N' $d; done; \
    env; hostname; pwd; umask; cat /proc/self/oom_score_adj; ls /proc/self/fd; cat /sys/class/net/lo/flags; \
    cat /proc/sys/net/ipv4/ping_group_range /proc/sys/net/ipv4/ip_unprivileged_port_start; \
    ls -a /proc/acpi /sys/firmware; cat /proc/keys /proc/timer_list; ps -o pid,comm; ls /sys/fs/cgroup | wc -l; \
    for name in cgroup ipc mnt net pid uts user; do [ -e /proc/self/ns/$name ] && echo has $name; done; \
    mknod /dev/disk b 8 0 && cat /dev/disk || echo no disk; mknod /dev/kmsg c 1 11 && cat /dev/kmsg || echo no messages; \
    mknod /dev/tun c 10 200 && head -c 0 /dev/tun || echo no tun; \
    echo > /dev/null && head -c 1 /dev/zero | wc -c; touch /x || echo read-only; echo 1 > /proc/sys/kernel/x || echo no";

/// Compiles the floor; `None` where that is not possible.
fn floor(test: &TestBundle) -> Option<PathBuf> {
    let is_pure_v2 = fs::metadata("/sys/fs/cgroup/cgroup.procs").is_ok();
    if !is_pure_v2 {
        skip("the floor of the benchmarks wants pure cgroup v2");
        return None;
    }
    let program = test.beside("floor");
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o"]).arg(&program).arg(SOURCE);
    let Ok(compiled) = compiler.status() else {
        skip("no C compiler for the floor of the benchmarks");
        return None;
    };
    assert!(compiled.success(), "{SOURCE} does not compile");
    for name in ["dev", "proc", "sys"] {
        fs::create_dir_all(test.rootfs().join(name)).unwrap();
    }
    Some(program)
}

/// What is seen, without what is another number in every container.
fn view(text: &str) -> Vec<String> {
    let (mounts, rest) = text.split_once("## rest\n").unwrap();
    let mount = |line: &str| {
        // id parent major:minor root point options - type source superblock
        let words: Vec<_> = line.split(' ').collect();
        words[3..].join(" ")
    };
    let mut mounts: Vec<_> = mounts.lines().map(mount).collect();
    mounts.sort_unstable();
    mounts.into_iter().chain(rest.lines().map(str::to_owned)).collect()
}

fn compare(test: &TestBundle, mut floor: Command) {
    let ours = run(test);
    assert!(ours.status.success(), "{}", String::from_utf8_lossy(&ours.stderr));
    let ours = view(&String::from_utf8_lossy(&ours.stdout));
    let cgroup = Path::new("/sys/fs/cgroup").join(&test.id);
    floor.arg(test.rootfs()).arg(&cgroup).args(["/bin/sh", "-c", LOOK]).stdin(Stdio::null());
    let floors = floor.output().unwrap();
    assert!(floors.status.success(), "{}", String::from_utf8_lossy(&floors.stderr));
    let floors = view(&String::from_utf8_lossy(&floors.stdout));
    assert!(ours.len() > 60, "{ours:#?}");
    let differ = |these: &[String], those: &[String]| -> Vec<_> {
        these.iter().filter(|line| !those.contains(line)).cloned().collect()
    };
    let (only_ours, only_floors) = (differ(&ours, &floors), differ(&floors, &ours));
    assert!(
        only_ours.is_empty() && only_floors.is_empty(),
        "corten: {only_ours:#?}\nfloor: {only_floors:#?}"
    );
    assert!(!cgroup.exists(), "the floor leaves its cgroup");
}

#[container_test]
fn the_floor_of_the_default_config() {
    let mut test = TestBundle::new(&[]);
    let Some(program) = floor(&test) else { return };
    let bundle = test.path();
    stdout(&Command::new(CORTEN).args(["spec", "--bundle"]).arg(&bundle).output().unwrap());
    let text = fs::read(bundle.join("config.json")).unwrap();
    let cgroup = test.config["linux"]["cgroupsPath"].clone();
    test.config = serde_json::from_slice::<Value>(&text).unwrap();
    test.config["process"]["terminal"] = json!(false);
    test.config["process"]["args"] = json!(["/bin/sh", "-c", LOOK]);
    test.config["linux"]["cgroupsPath"] = cgroup;
    compare(&test, Command::new(program));
}

#[container_test]
fn the_floor_of_dockers_config() {
    let test = TestBundle::docker(&["/bin/sh", "-c", LOOK]);
    let Some(program) = floor(&test) else { return };
    // The filter is what Corten has compiled, at the end of a file of its cache.
    assert!(run(&test).status.success());
    let cached = fs::read_dir(test.state_root().join("@seccomp")).unwrap().next().unwrap().unwrap();
    let plan = stdout(
        &common::corten(&test, &["plan", "--bundle", test.path().to_str().unwrap()]).output().unwrap(),
    );
    let count = plan.split("program=").nth(1).unwrap().split(' ').next().unwrap();
    let bytes = count.parse::<usize>().unwrap() * 8;
    let file = fs::read(cached.path()).unwrap();
    let filter = test.beside("filter");
    fs::write(&filter, &file[file.len() - bytes..]).unwrap();
    let mut floor = Command::new(program);
    floor.arg("--docker").arg(filter);
    compare(&test, floor);
}

#[container_test]
fn the_floor_passes_on_how_the_program_ended() {
    let test = TestBundle::new(&[]);
    let Some(program) = floor(&test) else { return };
    let cgroup = Path::new("/sys/fs/cgroup").join(&test.id);
    let mut command = Command::new(program);
    command.arg(test.rootfs()).arg(&cgroup).args(["/bin/sh", "-c", "exit 7"]);
    assert_eq!(command.status().unwrap().code(), Some(7));
    assert!(!cgroup.exists());
}
