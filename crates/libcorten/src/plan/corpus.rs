//! Plans of every kind for tests: configs that are valid by construction, on hosts and for commands of every
//! kind, by a number.

use std::path::Path;

use serde_json::{Value, json};

use super::builder::Builder;
use super::*;
use crate::facts::WayIn;
use crate::facts::{EmptyNamespace, LegacyHierarchy, PreservedFds};
use crate::oci::Spec;
use crate::{Console, CreateOptions, seccomp, spec};

/// What runc's and Docker's configs are.
const CONFIGS: [&str; 2] = [
    include_str!("../../tests/data/default-config.json"),
    include_str!("../../tests/data/docker-config.json"),
];

/// What is planned.
#[derive(Debug)]
pub(super) enum Command {
    Create,
    Run,
    Exec(JoinFacts),
    Mounts(JoinFacts, MountChange),
}

/// One case: a config, a host, a command.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) spec: Spec,
    options: CreateOptions,
    facts: Facts,
    command: Command,
}

impl Case {
    /// The case of this number: the same each time.
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let command = command(&mut dice);
        let joins = matches!(command, Command::Exec(_) | Command::Mounts(..));
        let facts = facts(&mut dice, joins);
        let options = options(&mut dice, joins);
        let spec = loop {
            let config = config(&mut dice, &options, joins);
            if let Ok(spec) = spec::parse(config.to_string().as_bytes())
                && spec::validate(&spec).is_ok()
            {
                break spec;
            }
        };
        let mut facts = facts;
        let seccomp = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
        if let Some(filter) = &mut facts.seccomp {
            filter.notify = seccomp.is_some_and(|seccomp| seccomp.listener_path().is_some());
        }
        if spec.linux().as_ref().is_none_or(|linux| linux.seccomp().is_none()) {
            facts.seccomp = None;
        }
        Self { spec, options, facts, command }
    }

    /// Its plan.
    pub(super) fn plan(&self) -> Result<Plan, PlanError> {
        self.build(|builder| builder.finish())
    }

    /// Has `finish` look at its plan in the making.
    pub(super) fn build<T>(&self, finish: impl FnOnce(Builder<'_>) -> T) -> Result<T, PlanError> {
        let Self { spec, options, facts, command } = self;
        let wait_for_start = matches!(command, Command::Create);
        let request = Request { id: "box", bundle: Path::new("/bundle"), wait_for_start, options };
        match command {
            Command::Create | Command::Run => build::container(spec, &request, facts).map(finish),
            Command::Exec(running) => exec::process(spec, &request, facts, running).map(finish),
            Command::Mounts(running, change) => {
                exec::change_of_mounts(spec, &request, facts, running, *change).map(finish)
            }
        }
    }
}

/// Numbers that follow from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

fn command(dice: &mut Dice) -> Command {
    match dice.below(10) {
        0..4 => Command::Create,
        4..6 => Command::Run,
        6..9 => Command::Exec(running(dice)),
        _ => Command::Mounts(running(dice), *dice.choose(&[MountChange::Add, MountChange::Remove])),
    }
}

fn running(dice: &mut Dice) -> JoinFacts {
    let mut namespaces = 0;
    for (flag, _) in namespace_types() {
        namespaces |= if dice.one_in(2) { flag } else { 0 };
    }
    let entry = *dice.choose(&[WayIn::Cloned, WayIn::Moved, WayIn::CountedLast]);
    let resctrl = if dice.one_in(4) { vec!["/sys/fs/resctrl/box/tasks".into()] } else { Vec::new() };
    JoinFacts { namespaces, follows_init: dice.one_in(2), way_in: entry, below_unit: String::new(), resctrl }
}

fn facts(dice: &mut Dice, joins: bool) -> Facts {
    let mut facts = Facts::of_root();
    match dice.below(if joins { 4 } else { 6 }) {
        0 => {}
        1 => {
            facts.cgroups.unit = corten_cgroup::systemd::Unit::from_cgroups_path("", "box", false).ok();
            facts.cgroups.unified = Some("/system.slice/runc-box.scope".into());
            facts.cgroups.user = dice.one_in(2);
            facts.systemd_version = Some(252);
        }
        2 => {
            let legacy = ["cpu,cpuacct", "devices", "pids"].map(|name| (name.to_owned(), "/box".into()));
            facts.cgroups.legacy = legacy.into();
            facts.cgroups.unified = dice.one_in(2).then(|| "/box".into());
            facts.legacy_controllers = ["cpu", "devices", "pids"].into_iter().collect();
            facts.legacy = ["cpu,cpuacct", "devices"]
                .map(|name| LegacyHierarchy {
                    name: name.to_owned(),
                    options: vec![name.to_owned()],
                    path: Path::new("/sys/fs/cgroup").join(name),
                    is_own: joins,
                })
                .into();
            facts.legacy_links = vec![("cpu".to_owned(), "cpu,cpuacct".to_owned())];
        }
        _ => facts.cgroups.unified = Some("/box".into()),
    }
    facts.seccomp = Some(seccomp::Filter { flags: 4, program: vec![0; 8 * 10], notify: false });
    facts.privileged = !dice.one_in(4);
    facts.rootless = !facts.privileged || dice.one_in(8);
    facts.may_mknod = !facts.rootless;
    facts.capabilities = if dice.one_in(4) { 0x3ff } else { u64::MAX };
    facts.apparmor = dice.one_in(2);
    facts.selinux = dice.one_in(2);
    if !joins {
        facts.notify_directory = dice.one_in(5).then(|| "/run/corten/box/notify".into());
        facts.empty_namespace = match dice.below(4) {
            0 => None,
            1 => Some(EmptyNamespace::Empty),
            _ => Some(EmptyNamespace::Template("/run/corten/@mounts/empty".into())),
        };
        facts.missing_template =
            (facts.empty_namespace.is_none() && dice.one_in(2)).then(|| "/run/corten/@mounts".into());
        facts.finds_own_mounts = !dice.one_in(4);
    }
    facts.copies_mounts = dice.one_in(8);
    if dice.one_in(4) {
        facts.links = (0..10).map(|index| (index, "/etc/localtime".into())).collect();
    }
    facts.preserved_fds = PreservedFds::new(if dice.one_in(3) { vec![3, 5] } else { Vec::new() });
    facts
}

fn options(dice: &mut Dice, joins: bool) -> CreateOptions {
    CreateOptions {
        console: dice
            .choose(&[Console::None, Console::Master, Console::Socket("/run/console".into())])
            .clone(),
        pid_file: dice.one_in(3).then(|| "/run/pid".into()),
        pidfd_socket: dice.one_in(3).then(|| "/run/pidfd".into()),
        foreground: dice.one_in(3),
        no_new_keyring: dice.one_in(4),
        no_pivot: !joins && dice.one_in(6),
        ..CreateOptions::default()
    }
}

fn config(dice: &mut Dice, options: &CreateOptions, joins: bool) -> Value {
    let mut config: Value = serde_json::from_str(CONFIGS[dice.below(2)]).unwrap();
    config["process"]["terminal"] = match options.console {
        Console::None => false.into(),
        Console::Socket(_) => true.into(),
        _ => dice.one_in(2).into(),
    };
    config["root"]["readonly"] = dice.one_in(2).into();
    if dice.one_in(3) {
        let path = if dice.one_in(3) { json!("/proc/7/ns/user") } else { Value::Null };
        push(&mut config["linux"]["namespaces"], json!({ "type": "user", "path": path }));
        let maps = json!([{ "containerID": 0, "hostID": dice.choose(&[0, 1000]), "size": 70_000 }]);
        (config["linux"]["uidMappings"], config["linux"]["gidMappings"]) = (maps.clone(), maps);
    }
    // What is rare otherwise.
    let left_out: &[&str] = match dice.below(10) {
        0 => &["mount"],
        1 => &["cgroup"],
        _ => &[],
    };
    let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| !left_out.contains(&namespace["type"].as_str().unwrap()));
    match dice.below(12) {
        0 => config["mounts"] = json!([{ "destination": "/proc", "type": "proc", "source": "proc" }]),
        1 => push(&mut config["mounts"], json!({ "destination": "/t", "type": "tmpfs", "options": ["ro"] })),
        2 => {
            push(&mut config["mounts"], json!({ "destination": "/c", "type": "cgroup", "source": "cgroup" }))
        }
        3 => push(&mut config["process"]["rlimits"], json!({ "type": "RLIMIT_NPROC", "soft": 9, "hard": 9 })),
        _ => {}
    }
    for _ in 0..dice.below(14) {
        change(&mut config, dice);
    }
    if joins {
        config.as_object_mut().unwrap().remove("hooks");
        config["linux"].as_object_mut().unwrap().remove("sysctl");
        config["linux"].as_object_mut().unwrap().remove("timeOffsets");
    }
    config
}

fn change(config: &mut Value, dice: &mut Dice) {
    let path = *dice.choose(&["/", "/proc", "/proc/self/fd", "/sys", "/dev", "/dev/pts", "/etc", "/a//b/."]);
    let id = *dice.choose(&[0, 1, 1000, 65_535]);
    let change = dice.below(31);
    match change {
        0..5 => push(&mut config["mounts"], mount(dice)),
        5 => drop(config["mounts"].as_array_mut().and_then(Vec::pop)),
        6 => {
            let kind = dice.choose(&["time", "cgroup", "network", "pid"]);
            push(&mut config["linux"]["namespaces"], json!({ "type": kind }));
        }
        7 => {
            let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
            if !namespaces.is_empty() {
                let at = dice.below(namespaces.len());
                namespaces.remove(at);
            }
        }
        8 => {
            let kind = dice.choose(&["mount", "pid", "ipc", "network"]);
            push(&mut config["linux"]["namespaces"], json!({ "type": kind, "path": "/proc/7/ns/x" }));
        }
        9 => {
            let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
            if !namespaces.is_empty() {
                let at = dice.below(namespaces.len());
                namespaces[at]["path"] = "/proc/7/ns/x".into();
            }
        }
        10 => push(&mut config["linux"]["maskedPaths"], path.into()),
        11 => {
            let kind = dice.choose(&["c", "b", "p", "u"]);
            let at = dice.choose(&["/dev/x", "/dev/null", "/x"]);
            push(
                &mut config["linux"]["devices"],
                json!({ "path": at, "type": kind, "major": 1, "minor": 3, "fileMode": 438, "uid": id }),
            );
        }
        12 => {
            let key = *dice.choose(&[
                "net.ipv4.ip_forward",
                "kernel.msgmax",
                "kernel.domainname",
                "fs.mqueue.msg_max",
            ]);
            config["linux"]["sysctl"] = json!({ key: "1" });
        }
        13 => {
            let word = *dice.choose(&["shared", "slave", "private", "rshared", "unbindable"]);
            config["linux"]["rootfsPropagation"] = word.into();
        }
        14 => config["linux"]["resources"] = json!({ "cpu": { "shares": 512 }, "pids": { "limit": id } }),
        15 => {
            let devices = json!([{ "name": "a" }, { "name": "" }]);
            config["linux"]["netDevices"] = json!({ "eth7": devices[dice.below(2)] });
        }
        _ => change_process(config, change, path, id, dice),
    }
}

/// The same, of the process and what belongs to it.
fn change_process(config: &mut Value, change: usize, path: &str, id: u32, dice: &mut Dice) {
    match change {
        16 => config["process"]["cwd"] = path.into(),
        17 => config["process"]["args"] = json!([path]),
        18 => push(&mut config["process"]["env"], "HOME=/x".into()),
        19 => {
            config["process"]["user"] = json!({ "uid": id, "gid": id, "additionalGids": [id], "umask": 18 })
        }
        20 => {
            let kind = dice.choose(&["RLIMIT_CORE", "RLIMIT_NPROC", "RLIMIT_AS"]);
            push(&mut config["process"]["rlimits"], json!({ "type": kind, "soft": 1, "hard": id.max(1) }));
        }
        21 => config["process"]["noNewPrivileges"] = dice.one_in(2).into(),
        22 => config["process"]["oomScoreAdj"] = 7.into(),
        23 => {
            config["process"]["apparmorProfile"] = "profile".into();
            config["process"]["selinuxLabel"] = "u:r:t:s0".into();
        }
        24 | 25 => {
            let kinds =
                ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
            let hook = json!({ "path": "/bin/hook", "args": ["a"], "timeout": 7 });
            push(&mut config["hooks"][*dice.choose(&kinds)], hook);
            if dice.one_in(3) {
                config["annotations"]["run.oci.hooks.stdout"] = "/run/out".into();
            }
        }
        26 => {
            config["linux"]["seccomp"] =
                json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent" })
        }
        27 => config["process"]["execCPUAffinity"] = json!({ "initial": "0", "final": "1,3" }),
        28 => {
            config["linux"]["intelRdt"] = json!({ "closID": "class" });
            config["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 1 });
        }
        29 => match dice.below(6) {
            0 => config["domainname"] = "domain".into(),
            1 => {
                let set = json!(["CAP_CHOWN"]);
                let sets = json!({ "bounding": set, "permitted": set, "ambient": set, "inheritable": set });
                config["process"]["capabilities"] = sets;
            }
            2 => config["process"]["consoleSize"] = json!({ "height": 24, "width": 80 }),
            3 => config["process"]["scheduler"] = json!({ "policy": "SCHED_OTHER", "nice": 3 }),
            4 => config["linux"]["personality"] = json!({ "domain": "LINUX32" }),
            _ => config["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_LOCAL" }),
        },
        _ => config["linux"]["timeOffsets"] = json!({ "monotonic": { "secs": 7, "nanosecs": 7 } }),
    }
}

fn mount(dice: &mut Dice) -> Value {
    let bind = dice.one_in(2);
    let common = ["ro", "rw", "nosuid", "rnosuid", "rprivate", "shared", "remount"];
    let others: &[&str] = if bind {
        &["rbind", "idmap", "ridmap=uids=0-1-10;gids=0-1-10", "copy-symlink", "src-nofollow", "dest-nofollow"]
    } else {
        &["mode=755"]
    };
    let kinds: &[&str] = match (bind, dice.one_in(3)) {
        (true, true) => &["none"],
        (true, false) => &["bind"],
        (false, true) => &["cgroup", "tmpfs"],
        (false, false) => &["tmpfs", "proc", "sysfs", "cgroup", "mqueue", "devpts", "ext4"],
    };
    let kind = *dice.choose(kinds);
    let places: &[&str] = match kind {
        "proc" => &["/proc", "/m"],
        _ if bind => &["/proc", "/sys", "/dev", "/dev/pts", "/m", "/m/n", "/etc/hosts"],
        _ => &["/sys", "/dev", "/dev/pts", "/sys/fs/cgroup", "/m", "/m/n", "/etc"],
    };
    let sources =
        ["/src", "/src/below", "/proc/self/fd/7", "/bundle/rootfs/x", "relative", "/proc/7/root", "/dev/x"];
    let mut chosen = if bind { vec!["bind"] } else { Vec::new() };
    chosen.extend((0..dice.below(3)).map(|_| *dice.choose(&common)));
    if dice.one_in(2) {
        chosen.push(*dice.choose(others));
    }
    if kind == "tmpfs" && dice.one_in(4) {
        chosen.push("tmpcopyup");
    }
    json!({ "destination": dice.choose(places), "type": kind, "source": dice.choose(&sources), "options": chosen })
}

fn push(list: &mut Value, value: Value) {
    if !list.is_array() {
        *list = json!([]);
    }
    list.as_array_mut().unwrap().push(value);
}
