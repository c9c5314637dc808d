//! Configs that are valid by construction, changed in every section: each has a plan that can be printed,
//! sent to init and read there, or an error that can be shown.
#![no_main]

use std::sync::LazyLock;

use arbitrary::{Result, Unstructured};
use libcorten::{Bundle, CreateOptions, Runtime, spec};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

static CONFIGS: LazyLock<[Value; 2]> = LazyLock::new(|| {
    [
        include_bytes!("../../crates/libcorten/tests/data/default-config.json").as_slice(),
        include_bytes!("../../crates/libcorten/tests/data/docker-config.json").as_slice(),
    ]
    .map(|config| serde_json::from_slice(config).expect("JSON"))
});

/// A state root that cannot be made.
const NOWHERE: &str = "/proc/nowhere";

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let Ok(config) = config(&mut input) else { return };
    let Ok(config) = spec::parse(config.to_string().as_bytes()) else { return };
    let bundle = match Bundle::new("/", config) {
        Ok(bundle) => bundle,
        Err(error) => return assert!(!error.chain().is_empty()),
    };
    let options = CreateOptions::default();
    match Runtime::new(NOWHERE).plan("fuzz", &bundle, &options, input.ratio(1, 2).unwrap_or(false)) {
        Err(error) => assert!(!error.chain().is_empty()),
        Ok(plan) => {
            assert!(!plan.to_string().is_empty());
            let steps = plan.inside.iter().map(|step| (step.item.as_c_str(), &step.step));
            // Too long is an error, too.
            let Ok(program) = corten_init::encode(&[-1; 64], steps) else { return };
            let program = corten_init::Program::parse(&program).expect("what was written is read");
            assert!(program.steps().all(|step| step.is_ok()));
        }
    }
});

fn config(input: &mut Unstructured<'_>) -> Result<Value> {
    let mut config = input.choose(&*CONFIGS)?.clone();
    config["process"]["terminal"] = false.into();
    config["root"]["readonly"] = input.arbitrary::<bool>()?.into();
    for _ in 0..input.int_in_range(0..=12)? {
        change(&mut config, input)?;
    }
    Ok(config)
}

fn change(config: &mut Value, input: &mut Unstructured<'_>) -> Result<()> {
    let path = path(input)?;
    let number = *input.choose(&[0_i64, 1, 5, 1000, 65_536, i64::from(u32::MAX) - 1, i64::MAX, -1])?;
    match input.int_in_range(0..=27)? {
        0 => push(&mut config["mounts"], mount(input)?),
        1 => drop(config["mounts"].as_array_mut().and_then(Vec::pop)),
        2 => push(&mut config["linux"]["namespaces"], json!({ "type": input.choose(&["user", "time", "cgroup", "network", "pid"])? })),
        3 => drop(config["linux"]["namespaces"].as_array_mut().and_then(Vec::pop)),
        4 => push(&mut config["linux"]["namespaces"], json!({ "type": input.choose(&["user", "mount", "pid", "ipc"])?, "path": path })),
        5 => {
            let maps = json!([{ "containerID": 0, "hostID": number, "size": input.int_in_range(1..=70_000)? }]);
            (config["linux"]["uidMappings"], config["linux"]["gidMappings"]) = (maps.clone(), maps);
        }
        6 => push(&mut config["linux"]["maskedPaths"], path.into()),
        7 => push(&mut config["linux"]["readonlyPaths"], path.into()),
        8 => {
            let kind = input.choose(&["c", "b", "p", "u"])?;
            push(&mut config["linux"]["devices"], json!({ "path": path, "type": kind, "major": number, "minor": 3, "fileMode": 438, "uid": number }));
        }
        9 => config["linux"]["sysctl"] = json!({ (*input.choose(&["net.ipv4.ip_forward", "kernel.msgmax", "kernel.domainname", "fs.mqueue.msg_max"])?): path }),
        10 => config["linux"]["rootfsPropagation"] = (*input.choose(&["shared", "slave", "private", "rshared", "unbindable"])?).into(),
        11 => config["linux"]["resources"] = json!({ "memory": { "limit": number, "swap": number }, "cpu": { "shares": 512, "cpus": "0" }, "pids": { "limit": number } }),
        12 => config["linux"]["cgroupsPath"] = path.into(),
        13 => config["process"]["cwd"] = path.into(),
        14 => config["process"]["args"] = json!([path]),
        15 => push(&mut config["process"]["env"], format!("PATH={path}").into()),
        16 => config["process"]["user"] = json!({ "uid": number, "gid": number, "additionalGids": [number], "umask": 18 }),
        17 => push(&mut config["process"]["rlimits"], json!({ "type": input.choose(&["RLIMIT_CORE", "RLIMIT_STACK", "RLIMIT_AS"])?, "soft": 1, "hard": number })),
        18 => config["process"]["noNewPrivileges"] = input.arbitrary::<bool>()?.into(),
        19 => config["process"]["oomScoreAdj"] = number.into(),
        20 => config["process"]["apparmorProfile"] = path.into(),
        21 => config["process"]["capabilities"] = json!({ "bounding": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"], "ambient": ["CAP_CHOWN"], "inheritable": ["CAP_CHOWN"] }),
        22 => {
            let kind = *input.choose(&["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"])?;
            push(&mut config["hooks"][kind], json!({ "path": path, "args": ["a"], "timeout": number }));
        }
        23 => config["hostname"] = input.choose(&["a", "", "a.b-c"])?.to_string().into(),
        24 => config["linux"]["seccomp"] = seccomp(input)?,
        25 => config["process"]["scheduler"] = json!({ "policy": input.choose(&["SCHED_OTHER", "SCHED_FIFO", "SCHED_DEADLINE"])?, "priority": number.clamp(-2, 101), "nice": 3 }),
        26 => config["linux"]["personality"] = json!({ "domain": "LINUX32" }),
        _ => config["linux"]["timeOffsets"] = json!({ "monotonic": { "secs": number, "nanosecs": 7 } }),
    }
    Ok(())
}

fn seccomp(input: &mut Unstructured<'_>) -> Result<Value> {
    let names = ["getpid", "socket", "socketcall", "clone", "mseal", "no_such_call", "ipc", "shmat", "ioctl"];
    let actions = ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_LOG", "SCMP_ACT_KILL", "SCMP_ACT_TRACE"];
    let mut rules = Vec::new();
    for _ in 0..input.int_in_range(0..=30)? {
        let mut args = Vec::new();
        for index in 0..input.int_in_range(0..=4)? {
            let op = input.choose(&["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"])?;
            args.push(json!({ "index": index, "value": input.arbitrary::<u64>()?, "valueTwo": input.arbitrary::<u8>()?, "op": format!("SCMP_CMP_{op}") }));
        }
        rules.push(json!({ "names": [input.choose(&names)?], "action": input.choose(&actions)?, "args": args }));
    }
    Ok(json!({ "defaultAction": input.choose(&actions)?, "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": rules }))
}

fn mount(input: &mut Unstructured<'_>) -> Result<Value> {
    let options = [
        "bind", "rbind", "ro", "rw", "nosuid", "rnosuid", "rprivate", "shared", "tmpcopyup", "mode=755", "size=1k", "idmap", "ridmap",
        "idmap=uids=0-1-10;gids=@0-1-10", "copy-symlink", "src-nofollow", "dest-nofollow", "noexec", "remount", "defaults", "x=y",
    ];
    let kinds = ["bind", "tmpfs", "proc", "sysfs", "cgroup", "cgroup2", "mqueue", "devpts", "overlay", "none"];
    let mut chosen = Vec::new();
    for _ in 0..input.int_in_range(0..=5)? {
        chosen.push(*input.choose(&options)?);
    }
    Ok(json!({ "destination": path(input)?, "type": input.choose(&kinds)?, "source": path(input)?, "options": chosen }))
}

fn path(input: &mut Unstructured<'_>) -> Result<String> {
    let known = ["/", "/proc", "/proc/self/fd", "/sys", "/dev", "/dev/pts", "/dev/shm", "/sys/fs/cgroup", "/etc", "relative", "a/../..", "/a//b/."];
    if input.ratio(3, 4)? {
        return Ok((*input.choose(&known)?).to_owned());
    }
    Ok(input.arbitrary::<String>()?.replace('\0', ""))
}

fn push(list: &mut Value, value: Value) {
    if !list.is_array() {
        *list = json!([]);
    }
    list.as_array_mut().expect("a list").push(value);
}
