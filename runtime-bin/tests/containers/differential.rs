//! Random configs under corten and its peers: what the process sees must be what it sees with one of them.
//!
//! `CORTEN_TEST_CASES` sets how many configs are tried, and makes them other ones each time; without it they
//! are few and always the same. `CORTEN_TEST_PEERS` names more peers. Differences that are meant are in
//! [`KNOWN`], each with its reason.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::peers::{normalise, peers};
use crate::common::{CORTEN, TestBundle, skip};
use container_test::container_test;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

/// How many configs are tried without `CORTEN_TEST_CASES`.
const CASES: u32 = 24;

/// Looks around; sections begin with `## `.
const LOOK: &str = "exec 2>&1; echo '## mounts'; cat /proc/self/mountinfo; \
    echo '## status'; grep -E '^(Uid|Gid|Groups|NoNewPrivs|Seccomp|Cap|SigBlk|SigCgt)' /proc/self/status; \
    echo '## limits'; cat /proc/self/limits; \
    echo '## devices'; for d in /dev/* /dev/pts/ptmx /dev/mine; do stat -c '%n %F %a %u %g %t %T %N' $d; done; \
    echo '## environment'; env; \
    echo '## rest'; hostname; pwd; umask; cat /proc/self/oom_score_adj; stat -c 'cwd %a %u %g' .; \
    for d in /deep /deep/er /deep/er/m1 /etc /m0 /b0 /b1 /made /etc/file /tmp; do stat -c '%n %F %a %u %g' $d; done; \
    cat /proc/sys/kernel/msgmax; echo newer domain $(cat /proc/sys/kernel/domainname); echo newer machine $(busybox uname -m); \
    echo newer scheduler $(busybox sed 's/.*) //' /proc/self/stat | busybox cut -d ' ' -f 16,17,38,39); \
    echo newer io $(busybox ionice); \
    mkdir /tmp/dir; chmod 711 /tmp; busybox ln /etc/passwd /etc/linked; for f in /etc/*; do stat -c '%n %F %a %u %g %h' $f; done; \
    cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/net/ipv4/ping_group_range /proc/sys/net/core/somaxconn; \
    ls /sys/class/net; ls -a /proc/acpi /sys/firmware; stat -c '%n %F' /proc/keys; head -n 1 /proc/timer_list; cat /etc/file; \
    ls /proc/self/fd; for d in /proc/sys/kernel / /tmp /m0 /m1 /b0 /etc; do touch $d/x && echo made $d/x; done; \
    echo > /dev/null; mknod /tmp/n c 1 3; head -c1 /tmp/n && echo null; true";

/// A difference that is meant.
type Known = fn(&Value, &str) -> bool;

/// Lines that corten alone has or lacks, and why that is right. A line begins with `+` (corten's) or `-`
/// (every peer's).
const KNOWN: &[(Known, &str)] = &[
    (
        |config, line| {
            let paths = config["linux"]["readonlyPaths"].as_array();
            paths.is_some_and(|paths| paths.contains(&"/link".into())) && line.contains("/opt/b1 ")
        },
        "a readonly path is readonly with the mounts below it; with peers these stay writable",
    ),
    (
        |config, line| {
            let unbindable =
                |mount: &Value| mount["options"].as_array().is_some_and(|o| o.contains(&"unbindable".into()));
            line.starts_with("+error ")
                && line.contains("linux.readonlyPaths")
                && config["mounts"].as_array().unwrap().iter().any(unbindable)
        },
        "an unbindable mount cannot be bound readonly; crun does not see it where it has masked the path before",
    ),
    (
        |config, line| {
            let realtime = ["SCHED_FIFO", "SCHED_RR"]
                .map(Value::from)
                .contains(&config["process"]["scheduler"]["policy"]);
            realtime && line.contains("process.scheduler: sched_setattr: operation not permitted")
        },
        "in cgroup v1 there is no realtime without cpu.realtimeRuntime; runc 1.1 does not know the field",
    ),
    (
        two_access_times,
        "of two words about access times the last counts; peers give both to the kernel, which takes one",
    ),
];

/// Whether the line is about a mount with contradicting options.
fn two_access_times(config: &Value, line: &str) -> bool {
    let is_word =
        |option: &&Value| ["noatime", "relatime", "strictatime"].contains(&option.as_str().unwrap());
    config["mounts"].as_array().unwrap().iter().any(|mount| {
        let words: BTreeSet<_> =
            mount["options"].as_array().into_iter().flatten().filter(is_word).map(Value::to_string).collect();
        let at = mount["destination"].as_str().unwrap().replace("/link", "/opt");
        words.len() > 1 && line.contains(&format!(" {at} "))
    })
}

/// A config that is shown as it is written.
#[derive(Clone)]
struct Json(Value);

impl std::fmt::Debug for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

/// A config, with `@` in the place of the directory beside the bundle.
fn configs() -> impl Strategy<Value = Json> {
    let process = (users(), capabilities(), rlimits(), environments(), cwds(), any::<bool>(), oom_scores());
    let around =
        (namespaces(), default_mounts(), more_mounts(), devices(), hidden(), root(), hostnames(), sysctls());
    (process, around, scheduling(), filters()).prop_map(|(process, around, scheduling, filter)| {
        let (user, capabilities, rlimits, env, cwd, no_new_privileges, oom_score) = process;
        let (namespaces, mounts, more, devices, (masked, readonly), (root, propagation), hostname, sysctl) = around;
        let mut config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": user, "args": ["sh", "-c", LOOK], "env": env, "cwd": cwd, "capabilities": capabilities,
                "rlimits": rlimits, "noNewPrivileges": no_new_privileges,
            },
            "root": { "path": "rootfs", "readonly": root },
            "mounts": mounts.into_iter().chain(more).collect::<Vec<_>>(),
            "linux": {
                "namespaces": namespaces, "devices": devices, "maskedPaths": masked, "readonlyPaths": readonly,
                "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            },
        });
        if let Some(score) = oom_score {
            config["process"]["oomScoreAdj"] = score.into();
        }
        if let Some(propagation) = propagation {
            config["linux"]["rootfsPropagation"] = propagation.into();
        }
        for (section, key, value) in scheduling.into_iter().flatten() {
            config[section][key] = value;
        }
        if let Some(filter) = filter {
            config["linux"]["seccomp"] = filter;
        }
        let has = |kind| namespaces.iter().any(|namespace| namespace["type"] == kind);
        if has("uts") {
            config["hostname"] = hostname.into();
            config["domainname"] = hostname.into();
        }
        if has("network") {
            config["linux"]["sysctl"] = sysctl;
        }
        if has("ipc") {
            config["linux"]["sysctl"]["kernel.msgmax"] = "4000".into();
        }
        Json(config)
    })
}

fn users() -> impl Strategy<Value = Value> {
    let ids = || select(vec![0, 1, 1000, 65_534, 2_000_000]);
    let groups = subsequence(vec![0, 5, 10, 1000, 65_534], 0..=4);
    let umask = proptest::option::of(select(vec![0, 0o022, 0o027, 0o077, 0o777]));
    (ids(), ids(), groups, umask).prop_map(|(uid, gid, groups, umask)| {
        let mut user = json!({ "uid": uid, "gid": gid });
        if !groups.is_empty() {
            user["additionalGids"] = groups.into();
        }
        if let Some(umask) = umask {
            user["umask"] = umask.into();
        }
        user
    })
}

fn capabilities() -> impl Strategy<Value = Value> {
    let names = [
        "CAP_CHOWN",
        "CAP_KILL",
        "CAP_SETUID",
        "CAP_NET_RAW",
        "CAP_MKNOD",
        "CAP_DAC_OVERRIDE",
        "CAP_SYS_PTRACE",
    ];
    let set = || subsequence(names.to_vec(), 0..=names.len());
    (set(), set(), set(), set(), set()).prop_map(|(bounding, permitted, effective, inheritable, ambient)| {
        let within = |set: Vec<&'static str>, of: &[&'static str]| -> Vec<_> {
            set.into_iter().filter(|name| of.contains(name)).collect()
        };
        let permitted = within(permitted, &bounding);
        let inheritable = within(inheritable, &permitted);
        json!({
            "effective": within(effective, &permitted), "ambient": within(ambient, &inheritable),
            "bounding": bounding, "permitted": permitted, "inheritable": inheritable,
        })
    })
}

fn rlimits() -> impl Strategy<Value = Vec<Value>> {
    let kinds = [
        ("RLIMIT_CORE", 0),
        ("RLIMIT_CPU", 100),
        ("RLIMIT_FSIZE", 1_000_000),
        ("RLIMIT_MEMLOCK", 65_536),
        ("RLIMIT_MSGQUEUE", 1000),
        ("RLIMIT_NICE", 0),
        ("RLIMIT_NOFILE", 200),
        ("RLIMIT_NPROC", 10_000),
        ("RLIMIT_SIGPENDING", 100),
        ("RLIMIT_STACK", 8_000_000),
    ];
    let limit = |(kind, least): (&'static str, u64)| {
        (0..1000u64, 0..1000u64).prop_map(
            move |(soft, more)| json!({ "type": kind, "soft": least + soft, "hard": least + soft + more }),
        )
    };
    subsequence(kinds.to_vec(), 0..=4)
        .prop_flat_map(move |kinds| kinds.into_iter().map(limit).collect::<Vec<_>>())
}

fn environments() -> impl Strategy<Value = Vec<String>> {
    let variables =
        ["A=1", "A=2", "A=", "B=x=y", "HOME=/somewhere", "TERM=dumb", "PATH=/nowhere:/bin", "C=ä\t"];
    proptest::collection::vec(select(variables.to_vec()), 0..6).prop_map(|mut listed| {
        listed.insert(0, "PATH=/bin");
        listed.into_iter().map(str::to_owned).collect()
    })
}

fn cwds() -> impl Strategy<Value = &'static str> {
    select(vec!["/", "/tmp", "/made/here", "/m0", "/b0", "/tmp/../etc", "/link", "/proc/self"])
}

fn oom_scores() -> impl Strategy<Value = Option<i32>> {
    proptest::option::of(0..=1000)
}

/// Section, key and value of what belongs to the process and the kernel alone.
fn scheduling() -> impl Strategy<Value = [Option<(&'static str, &'static str, Value)>; 3]> {
    let scheduler = select(vec![
        json!({ "policy": "SCHED_OTHER", "nice": 7 }),
        json!({ "policy": "SCHED_BATCH", "nice": 1 }),
        json!({ "policy": "SCHED_IDLE" }),
        json!({ "policy": "SCHED_FIFO", "priority": 5 }),
        json!({ "policy": "SCHED_RR", "priority": 1, "flags": ["SCHED_FLAG_RESET_ON_FORK"] }),
    ]);
    let io = select(vec![
        json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 }),
        json!({ "class": "IOPRIO_CLASS_RT", "priority": 0 }),
        json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 0 }),
    ]);
    let domain = select(vec!["LINUX", "LINUX32"]);
    let seldom = |section, key, values: BoxedStrategy<Value>| {
        proptest::option::weighted(0.2, values.prop_map(move |value| (section, key, value)))
    };
    let personality = domain.prop_map(|domain| json!({ "domain": domain }));
    (
        seldom("process", "scheduler", scheduler.boxed()),
        seldom("process", "ioPriority", io.boxed()),
        seldom("linux", "personality", personality.boxed()),
    )
        .prop_map(|(scheduler, io, personality)| [scheduler, io, personality])
}

/// Filters for calls that [`LOOK`] makes.
fn filters() -> impl Strategy<Value = Option<Value>> {
    let names = vec!["mkdir", "mkdirat", "chmod", "fchmodat", "fchmodat2", "link", "linkat", "no_such_call"];
    let filter = (subsequence(names, 1..=8), proptest::option::of(1..=40u32), any::<bool>(), any::<bool>());
    let filter = filter.prop_map(|(names, errno, arguments, others)| {
        let mut rule = json!({ "names": names, "action": "SCMP_ACT_ERRNO" });
        if let Some(errno) = errno {
            rule["errnoRet"] = errno.into();
        }
        if arguments {
            // Never so: no path is at the address 1.
            rule["args"] = json!([{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }]);
        }
        let mut filter = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
        if others {
            filter["architectures"] = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
        }
        filter
    });
    proptest::option::weighted(0.3, filter)
}

fn namespaces() -> impl Strategy<Value = Vec<Value>> {
    subsequence(vec!["network", "ipc", "uts", "cgroup"], 0..=4).prop_map(|more| {
        ["mount", "pid"].into_iter().chain(more).map(|kind| json!({ "type": kind })).collect()
    })
}

/// What every engine mounts, now and then without a part of it.
fn default_mounts() -> impl Strategy<Value = Vec<Value>> {
    let mounts = common_mounts();
    let count = mounts.len();
    prop_oneof![3 => Just((0..count).collect::<Vec<_>>()), 1 => subsequence((0..count).collect::<Vec<_>>(), 0..count)]
        .prop_map(move |kept| {
            // procfs always: the look-around needs it.
            mounts
                .iter()
                .enumerate()
                .filter(|(index, _)| *index == 0 || kept.contains(index))
                .map(|(_, m)| m.clone())
                .collect()
        })
}

fn common_mounts() -> Vec<Value> {
    let whole = TestBundle::new(&["true"]).config.clone();
    whole["mounts"].as_array().unwrap().clone()
}

/// Options of every mount, in any order, contradictions included.
fn plain_options() -> impl Strategy<Value = Vec<&'static str>> {
    let words = vec![
        "ro",
        "rw",
        "nosuid",
        "suid",
        "nodev",
        "dev",
        "noexec",
        "exec",
        "noatime",
        "atime",
        "relatime",
        "strictatime",
        "nodiratime",
        "diratime",
    ];
    proptest::collection::vec(select(words), 0..4)
}

fn propagations() -> impl Strategy<Value = Vec<&'static str>> {
    let words = vec!["private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable"];
    proptest::collection::vec(select(words), 0..2)
}

fn more_mounts() -> impl Strategy<Value = Vec<Value>> {
    let data = || subsequence(vec!["size=1m", "mode=0750", "uid=1000", "nr_inodes=50", "tmpcopyup"], 0..3);
    let tmpfs = |at: &'static str| {
        (plain_options(), propagations(), data()).prop_map(move |(plain, propagation, data)| {
            let options = [plain, propagation, data].concat();
            json!({ "destination": at, "type": "tmpfs", "source": "tmpfs", "options": options })
        })
    };
    // runc 1.1 gives a tmpfs the mode of the directory below, whatever the config names.
    let without_mode = |mut mount: Value| {
        mount["options"].as_array_mut().unwrap().retain(|option| option != "mode=0750");
        mount
    };
    let recursive = || subsequence(vec!["rro", "rnosuid", "rnodev", "rnoexec", "rnoatime"], 0..3);
    let bind = |at: &'static str, source: &'static str| {
        let kind = select(vec!["bind", "rbind"]);
        (kind, plain_options(), propagations(), recursive()).prop_map(
            move |(kind, plain, propagation, recursive)| {
                let options = [vec![kind], plain, propagation, recursive].concat();
                json!({ "destination": at, "type": "bind", "source": source, "options": options })
            },
        )
    };
    let some = proptest::option::of::<BoxedStrategy<Value>>;
    let mounts = (
        some(tmpfs("/m0").boxed()),
        some(tmpfs("/deep/er/m1").boxed()),
        some(tmpfs("/etc").prop_map(without_mode).boxed()),
        some(bind("/b0", "@/directory").boxed()),
        some(bind("/etc/file", "@/file").boxed()),
        some(bind("/link/b1", "@/directory").boxed()),
    );
    mounts.prop_map(|(a, b, c, d, e, f)| [a, b, c, d, e, f].into_iter().flatten().collect())
}

fn devices() -> impl Strategy<Value = Vec<Value>> {
    let devices = vec![
        json!({ "path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 1000, "gid": 5 }),
        json!({ "path": "/dev/fifo", "type": "p", "fileMode": 0o600 }),
        json!({ "path": "/dev/block", "type": "b", "major": 7, "minor": 200, "fileMode": 0o660 }),
        json!({ "path": "/dev/sub/plain", "type": "u", "major": 1, "minor": 7 }),
    ];
    subsequence(devices, 0..=3)
}

fn hidden() -> impl Strategy<Value = (Vec<&'static str>, Vec<&'static str>)> {
    let masked = vec![
        "/proc/acpi",
        "/proc/keys",
        "/proc/timer_list",
        "/sys/firmware",
        "/missing",
        "/etc/file",
        "/m0",
        "/link",
    ];
    let readonly =
        vec!["/proc/bus", "/proc/sys", "/proc/irq", "/missing", "/m0", "/b0", "/tmp", "/link", "/dev/null"];
    (subsequence(masked, 0..=5), subsequence(readonly, 0..=5))
}

/// Without `unbindable`, which runc cannot do.
fn root() -> impl Strategy<Value = (bool, Option<&'static str>)> {
    let propagation = select(vec!["private", "rprivate", "slave", "rslave", "shared", "rshared"]);
    (any::<bool>(), proptest::option::weighted(0.3, propagation))
}

fn hostnames() -> impl Strategy<Value = &'static str> {
    select(vec!["", "a", "a.long-name.example"])
}

fn sysctls() -> impl Strategy<Value = Value> {
    let sysctls = vec![
        ("net.ipv4.ip_default_ttl", "77"),
        ("net.ipv4.ping_group_range", "5 10"),
        ("net/core/somaxconn", "1234"),
    ];
    subsequence(sysctls, 0..=3).prop_map(|listed| {
        listed
            .into_iter()
            .map(|(key, value)| (key.to_owned(), Value::from(value)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    })
}

/// Runs the config in a bundle of its own; what was seen, or the error.
fn look(runtime: &Path, config: &Value) -> Result<BTreeSet<String>, String> {
    let mut test = TestBundle::new(&["true"]).of_any_runtime();
    let beside = test.beside("");
    let beside = beside.to_str().unwrap().trim_end_matches('/');
    fs::create_dir(test.beside("directory")).unwrap();
    fs::write(test.beside("directory/inside"), "").unwrap();
    fs::write(test.beside("file"), "a file\n").unwrap();
    fs::create_dir(test.rootfs().join("opt")).unwrap();
    std::os::unix::fs::symlink("opt", test.rootfs().join("link")).unwrap();
    fs::write(
        test.rootfs().join("etc/passwd"),
        "root:x:0:0::/root:/bin/sh\nme:x:1000:1000:Me:/home/me:/bin/sh\n",
    )
    .unwrap();
    test.config = serde_json::from_str(&config.to_string().replace("\"@/", &format!("\"{beside}/"))).unwrap();
    test.config["linux"]["cgroupsPath"] = format!("/{}", test.id).into();
    let path = test.write().path();
    let output = Command::new(runtime)
        .arg("--root")
        .arg(test.state_root())
        .args(["run", "--bundle"])
        .arg(path)
        .arg(&test.id)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if runtime == Path::new(CORTEN) {
        test.assert_nothing_left(&stderr);
    } else {
        remove_cgroups(&test.id);
    }
    if output.status.success() && stdout.contains("## rest") {
        // Peers apply it at other moments, to other mounts: some before the config's mounts, some after.
        let propagation = config["linux"]["rootfsPropagation"].is_null();
        return Ok(normalise(&stdout.replace(beside, "@").replace(&test.id, "ID"), propagation));
    }
    Err(stderr.lines().last().unwrap_or_default().to_owned())
}

/// Removes what a peer that failed has left of its cgroups.
fn remove_cgroups(id: &str) {
    fn remove(directory: &Path) {
        let below = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
        below.filter(|path| path.is_dir()).for_each(|path| remove(&path));
        // One that is not empty after all stays: it is the peer's.
        fs::remove_dir(directory).ok();
    }
    let hierarchies =
        fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    let places = hierarchies.chain(["/sys/fs/cgroup".into()]);
    places.map(|path| path.join(id)).filter(|path| path.is_dir()).for_each(|path| remove(&path));
}

/// The differences between corten and all peers that are not known; `None` if no peer ran.
fn differences(peers: &[PathBuf], config: &Value) -> Option<Vec<String>> {
    let ours = look(Path::new(CORTEN), config);
    let mut theirs = Vec::new();
    let mut errors = Vec::new();
    for peer in peers {
        match look(peer, config) {
            Ok(seen) => theirs.push(seen),
            Err(error) => errors.push(error),
        }
    }
    let found: Vec<String> = match (ours, theirs.as_slice()) {
        (Err(_), []) => return None,
        (Ok(_), []) => errors.into_iter().map(|error| format!("-error {error}")).collect(),
        (Err(error), _) => vec![format!("+error {error}")],
        (Ok(ours), [first, more @ ..]) => {
            let alone = ours.iter().filter(|line| !theirs.iter().any(|seen| seen.contains(*line)));
            let lacking =
                first.iter().filter(|line| !ours.contains(*line) && more.iter().all(|m| m.contains(*line)));
            alone.map(|line| format!("+{line}")).chain(lacking.map(|line| format!("-{line}"))).collect()
        }
    };
    // What runc 1.1 does not know: where it is the only peer left, nothing is known of it.
    let alone = theirs.len() < 2;
    let found = found.into_iter().filter(|line| !(alone && line[1..].starts_with("newer ")));
    Some(found.filter(|line| !KNOWN.iter().any(|(is, _)| is(config, line))).collect())
}

#[container_test]
fn random_configs_look_as_with_a_peer() {
    let peers: Vec<_> = peers()
        .into_iter()
        .filter(|peer| {
            let plain = look(peer, &TestBundle::new(&["sh", "-c", LOOK]).config);
            if let Err(error) = &plain {
                skip(&format!("{} does not run here: {error}", peer.display()));
            }
            plain.is_ok()
        })
        .collect();
    if peers.is_empty() {
        skip("no peer to compare random configs with");
        return;
    }
    let cases = std::env::var("CORTEN_TEST_CASES").ok();
    let config = Config {
        cases: cases.as_ref().map_or(CASES, |cases| cases.parse().unwrap()),
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    let mut runner = match cases {
        Some(_) => TestRunner::new(config),
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    };
    let result = runner.run(&configs(), |Json(config)| {
        let found = differences(&peers, &config).unwrap_or_default();
        prop_assert!(found.is_empty(), "{found:#?}");
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}
