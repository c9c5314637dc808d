//! Golden plans of whole configs, and the document that lists the steps of a container's life.

use std::path::Path;

use super::*;
use crate::error::Failure;
use crate::facts::EmptyNamespace;
use crate::facts::WayIn;
use crate::{Console, CreateOptions, seccomp, spec};

fn location(path: &str) -> corten_cgroup::Location {
    corten_cgroup::Location { unified: Some(path.into()), ..corten_cgroup::Location::default() }
}

/// A host with pure cgroup v2, an empty mount namespace and no compiled filter at hand.
fn facts() -> Facts {
    let filter = seccomp::Filter { flags: 4, program: vec![0; 8 * 10], notify: false };
    let empty_namespace = Some(EmptyNamespace::Template("/run/corten/@mounts/empty".into()));
    Facts {
        cgroups: location("/box"),
        seccomp: Some(filter),
        empty_namespace,
        finds_own_mounts: true,
        ..Facts::of_root()
    }
}

fn plan(config: &str, options: &CreateOptions, wait_for_start: bool) -> Plan {
    let spec = spec::parse(config.as_bytes()).unwrap();
    spec::validate(&spec).unwrap();
    let request = Request { id: "box", bundle: Path::new("/bundle"), wait_for_start, options };
    let mut facts = facts();
    if spec.linux().as_ref().is_none_or(|linux| linux.seccomp().is_none()) {
        facts.seccomp = None;
    }
    Plan::new(&spec, &request, &facts).unwrap()
}

const DOCKER: &str = include_str!("../../tests/data/docker-config.json");
/// What `corten spec` writes.
const DEFAULT: &str = include_str!("../../tests/data/default-config.json");

#[test]
fn golden_plan_of_dockers_config() {
    insta::assert_snapshot!(plan(DOCKER, &CreateOptions::default(), true));
}

#[test]
fn golden_plan_of_the_default_config() {
    let options =
        CreateOptions { console: Console::Master, pid_file: Some("/run/pid".into()), ..Default::default() };
    insta::assert_snapshot!(plan(DEFAULT, &options, false));
}

#[test]
fn golden_plan_of_a_hybrid_machine() {
    let spec = spec::parse(DOCKER.as_bytes()).unwrap();
    let options = CreateOptions::default();
    let request =
        Request { id: "box", bundle: Path::new("/bundle"), wait_for_start: true, options: &options };
    let hierarchy = |name: &str, options: &[&str]| LegacyHierarchy {
        name: name.to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        path: Path::new("/sys/fs/cgroup").join(name),
        is_own: false,
    };
    let facts = Facts {
        legacy: vec![
            hierarchy("cpu,cpuacct", &["cpu", "cpuacct"]),
            hierarchy("systemd", &["none", "name=systemd"]),
        ],
        legacy_links: vec![("cpu".to_owned(), "cpu,cpuacct".to_owned())],
        ..facts()
    };
    let plan = Plan::new(&spec, &request, &facts).unwrap();
    let cgroups: Vec<String> = plan
        .to_string()
        .lines()
        .filter(|line| line.contains("mounts[4]"))
        .map(|line| line.trim_start().split_once("  ").map_or(line, |(_, step)| step).to_owned())
        .collect();
    insta::assert_snapshot!(cgroups.join("\n"));
}

/// A process in a container with a user namespace and a terminal.
#[test]
fn golden_plan_of_a_process_that_joins() {
    let mut spec = spec::parse(DEFAULT.as_bytes()).unwrap();
    let process = spec.process_mut().as_mut().unwrap();
    process.set_args(Some(vec!["sh".to_owned()]));
    let affinity = serde_json::json!({ "initial": "0", "final": "1,3" });
    process.set_exec_cpu_affinity(Some(serde_json::from_value(affinity).unwrap()));
    let options = CreateOptions {
        pid_file: Some("/run/pid".into()),
        pidfd_socket: Some("/run/pidfd".into()),
        console: Console::Socket("/run/console".into()),
        ..Default::default()
    };
    let request =
        Request { id: "box", bundle: Path::new("/bundle"), wait_for_start: false, options: &options };
    let facts = Facts { seccomp: None, ..facts() };
    let namespaces = libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWNET;
    let namespaces = u64::from(namespaces.cast_unsigned());
    let mut running = JoinFacts {
        namespaces,
        follows_init: true,
        way_in: WayIn::Moved,
        below_unit: String::new(),
        resctrl: Vec::new(),
    };
    insta::assert_snapshot!(Plan::for_exec(&spec, &request, &facts, &running).unwrap());
    running.way_in = WayIn::Cloned;
    insta::assert_snapshot!(Plan::for_exec(&spec, &request, &facts, &running).unwrap());
}

/// At the limit on processes, on a hybrid machine: nothing but the cgroup that counts comes after the clone.
#[test]
fn golden_plan_of_a_process_that_is_counted_last() {
    let spec = spec::parse(DEFAULT.as_bytes()).unwrap();
    let options = CreateOptions { console: Console::Master, ..Default::default() };
    let request =
        Request { id: "box", bundle: Path::new("/bundle"), wait_for_start: false, options: &options };
    let legacy = ["cpu,cpuacct", "devices", "pids"].map(|name| (name.to_owned(), "/box".into()));
    let cgroups = corten_cgroup::Location { legacy: legacy.into(), ..location("/box") };
    let facts = Facts { cgroups, seccomp: None, ..facts() };
    let namespaces = u64::from((libc::CLONE_NEWPID | libc::CLONE_NEWNS).cast_unsigned());
    let entry = WayIn::CountedLast;
    let running = JoinFacts {
        namespaces,
        follows_init: true,
        way_in: entry,
        below_unit: String::new(),
        resctrl: Vec::new(),
    };
    insta::assert_snapshot!(Plan::for_exec(&spec, &request, &facts, &running).unwrap());
}

/// Podman writes 0 where there is no controller: a user's container needs no cgroup for it, and nobody is
/// warned.
#[test]
fn no_limit_on_processes_needs_no_cgroup() {
    let plan = |limit: i64, facts: &Facts| {
        let mut config: serde_json::Value = serde_json::from_str(DOCKER).unwrap();
        config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
        config["linux"]["resources"] = serde_json::json!({ "pids": { "limit": limit } });
        let spec = spec::parse(config.to_string().as_bytes()).unwrap();
        let options = CreateOptions::default();
        let request = Request { id: "box", bundle: Path::new("/b"), wait_for_start: true, options: &options };
        Plan::new(&spec, &request, facts).unwrap()
    };
    let is_optional = |plan: &Plan| {
        let of = |step: &HostStep| match step {
            HostStep::CreateCgroups { optional, .. } => Some(*optional),
            _ => None,
        };
        plan.host.iter().find_map(|planned| of(&planned.step)).unwrap()
    };
    let rootless = Facts { rootless: true, ..facts() };
    let without = Facts { cgroups: corten_cgroup::Location::default(), ..rootless.clone() };
    for (limit, none) in [(0, true), (-1, true), (1, false), (7, false)] {
        assert_eq!(is_optional(&plan(limit, &rootless)), none, "{limit}");
        assert!(!is_optional(&plan(limit, &facts())), "{limit}");
        let warned =
            plan(limit, &without).warnings.iter().any(|warning| warning.starts_with("linux.resources:"));
        assert_eq!(warned, !none, "{limit}");
    }
}

/// Whatever the config: devices are restricted before init opens a file of the container's root, and hooks,
/// which may add to the filter, come after that.
#[test]
fn devices_are_restricted_before_init_opens_files_of_the_root() {
    let legacy = Facts { legacy_controllers: ["devices"].into_iter().collect(), ..facts() };
    let hooks =
        r#""linux": {}, "hooks": { "prestart": [{ "path": "/p" }], "startContainer": [{ "path": "/s" }] },"#;
    let disk = r#""linux": {}, "mounts": [{ "destination": "/m", "type": "ext4", "source": "/dev/sdx" }],"#;
    let cases = [(DEFAULT.to_owned(), facts()), (DOCKER.to_owned(), facts()), (DOCKER.to_owned(), legacy)];
    let minimal = |more: &str| {
        format!(
            r#"{{ "ociVersion": "1.3.0", "root": {{ "path": "rootfs" }}, {more}
                "process": {{ "user": {{}}, "cwd": "/", "args": ["sh"] }} }}"#
        )
    };
    let more = [(minimal(hooks), facts()), (minimal(disk), facts())];
    let options = CreateOptions { console: Console::Master, ..Default::default() };
    for (text, facts) in cases.into_iter().chain(more) {
        let spec = spec::parse(text.as_bytes()).unwrap();
        let request =
            Request { id: "box", bundle: Path::new("/b"), wait_for_start: false, options: &options };
        let plan = Plan::new(&spec, &request, &facts).unwrap();
        let host: Vec<_> = plan.host.iter().map(|planned| &planned.step).collect();
        let filter = host.iter().position(|step| matches!(step, HostStep::DeviceFilter { .. })).unwrap();
        let told = |step: &HostStep| {
            matches!(
                step,
                HostStep::Release { point: SyncPoint::Devices | SyncPoint::Hooks }
                    | HostStep::RunHooks { .. }
            )
        };
        assert!(filter < host.iter().position(|step| told(step)).unwrap(), "{plan}");
        let point = SyncPoint::Devices;
        let inside: Vec<_> = plan.inside.iter().map(|planned| &planned.step).collect();
        let waits = |step: &OwnedStep| match step {
            OwnedStep::Await { point: at } | OwnedStep::Sync { point: at } => *at == point,
            OwnedStep::AwaitHooks { .. } => true,
            _ => false,
        };
        let opens =
            |step: &OwnedStep| matches!(step, OwnedStep::HomeFromPasswd { .. } | OwnedStep::OwnStdio { .. });
        let waited = inside.iter().position(|step| waits(step)).unwrap();
        assert!(waited < inside.iter().position(|step| opens(step)).unwrap(), "{plan}");
    }
}

/// Whose init has to see the host's mounts gets a copy of them, and gets rid of them by `pivot_root(2)`.
#[test]
fn mount_namespaces_are_bare_unless_the_host_must_be_seen() {
    let plan_with = |change: &dyn Fn(&mut serde_json::Value), change_facts: &dyn Fn(&mut Facts)| {
        let mut config: serde_json::Value = serde_json::from_str(DEFAULT).unwrap();
        config["process"]["terminal"] = false.into();
        change(&mut config);
        let spec = spec::parse(config.to_string().as_bytes()).unwrap();
        let options = CreateOptions::default();
        let request =
            Request { id: "box", bundle: Path::new("/bundle"), wait_for_start: true, options: &options };
        let mut facts = Facts { seccomp: None, ..facts() };
        change_facts(&mut facts);
        Plan::new(&spec, &request, &facts).unwrap()
    };
    let mount = |fstype: &str, source: &str, option: &str| serde_json::json!({ "destination": "/x", "type": fstype, "source": source, "options": [option] });
    let add = |config: &mut serde_json::Value, mount| config["mounts"].as_array_mut().unwrap().push(mount);
    let hook = serde_json::json!([{ "path": "/bin/hook" }]);
    let names = |plan: &Plan| plan.inside.iter().map(|planned| planned.step.name()).collect::<Vec<_>>();
    let nothing = |_: &mut Facts| {};

    let bare = plan_with(&|_| {}, &nothing);
    assert!(!names(&bare).iter().any(|name| ["PivotRoot", "Propagation", "Visit"].contains(name)), "{bare}");
    assert!(
        bare.to_string()
            .contains("OpenNamespace        linux.namespaces                 path=/run/corten/@mounts/empty")
    );
    let bound = plan_with(&|config| add(config, mount("bind", "/src", "bind")), &nothing);
    let at = names(&bound).iter().position(|name| *name == "OpenSource").unwrap();
    assert_eq!(names(&bound)[at - 1..=at + 1], ["Visit", "OpenSource", "Visit"]);
    assert!(names(&bound).contains(&"OwnMounts"));
    let empty = plan_with(&|_| {}, &|facts| facts.empty_namespace = Some(EmptyNamespace::Empty));
    assert!(
        empty
            .to_string()
            .contains("Unshare              linux.namespaces                 flags=newns|empty_mntns"),
        "{empty}"
    );

    type Change<'a> = &'a dyn Fn(&mut serde_json::Value);
    let copies: [(&str, Change<'_>); 7] = [
        ("a hook inside", &|config| config["hooks"] = serde_json::json!({ "createContainer": hook })),
        ("a hook outside", &|config| config["hooks"] = serde_json::json!({ "createRuntime": hook })),
        ("a disk", &|config| add(config, mount("ext4", "/dev/sda", "rw"))),
        ("an overlay", &|config| add(config, mount("overlay", "overlay", "lowerdir=/a:/b"))),
        ("its own root", &|config| add(config, mount("bind", "/bundle/rootfs/y", "bind"))),
        ("maybe its own root", &|config| add(config, mount("bind", "/z/../bundle/rootfs/y", "rbind"))),
        ("a user namespace", &|config| {
            let user = serde_json::json!({ "type": "user" });
            config["linux"]["namespaces"].as_array_mut().unwrap().push(user);
            let maps = serde_json::json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
            config["linux"]["uidMappings"] = maps.clone();
            config["linux"]["gidMappings"] = maps;
        }),
    ];
    for (what, change) in copies {
        let plan = plan_with(change, &nothing);
        assert!(names(&plan).contains(&"PivotRoot"), "{what}: {plan}");
        assert!(!plan.to_string().contains("@mounts"), "{what}: {plan}");
    }
    // An older kernel, on which init would not find back.
    let bind = |config: &mut serde_json::Value| add(config, mount("bind", "/src", "bind"));
    assert!(names(&plan_with(&bind, &|facts| facts.finds_own_mounts = false)).contains(&"PivotRoot"));
    // The first container of a machine makes the template for the others.
    let first = plan_with(&|_| {}, &|facts| {
        facts.empty_namespace = None;
        facts.missing_template = Some("/run/corten/@mounts".into());
    });
    assert!(names(&first).contains(&"PivotRoot"));
    assert!(first.host.iter().any(|planned| planned.step.name() == "MakeMountTemplate"));
}

/// A user namespace without a cgroup namespace of its own sees the container's cgroup, opened for each mount
/// of it; where the container has none, the caller's.
#[test]
fn each_mount_of_the_own_cgroup_has_one_to_show() {
    let mut config: serde_json::Value = serde_json::from_str(DEFAULT).unwrap();
    config["process"]["terminal"] = false.into();
    let maps = serde_json::json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
    (config["linux"]["uidMappings"], config["linux"]["gidMappings"]) = (maps.clone(), maps);
    config["linux"]["namespaces"] =
        serde_json::json!([{ "type": "mount" }, { "type": "pid" }, { "type": "user" }]);
    let again = serde_json::json!({ "destination": "/again", "type": "cgroup", "source": "cgroup" });
    config["mounts"].as_array_mut().unwrap().push(again);
    let spec = spec::parse(config.to_string().as_bytes()).unwrap();
    let options = CreateOptions::default();
    let request =
        Request { id: "box", bundle: Path::new("/bundle"), wait_for_start: true, options: &options };
    let opened = |facts: &Facts| -> Vec<&str> {
        let plan = Plan::new(&spec, &request, facts).unwrap();
        assert_eq!(plan.check(), Ok(()), "{plan}");
        let host = plan.host.iter().map(|planned| (planned.step.name(), planned.item.to_str().unwrap()));
        host.filter(|(_, item)| item.starts_with("mounts") || *item == "linux.cgroupsPath")
            .map(|(name, _)| name)
            .collect()
    };
    let own = Facts { seccomp: None, ..facts() };
    assert_eq!(opened(&own), ["CreateCgroups", "OpenCgroup", "OpenCgroup"]);
    let without = Facts { cgroups: corten_cgroup::Location::default(), ..own };
    assert_eq!(opened(&without), ["OpenTree", "OpenTree"]);
}

#[test]
fn a_terminal_needs_a_place_and_a_place_a_terminal() {
    let spec = spec::parse(DEFAULT.as_bytes()).unwrap();
    let error = |console: Console, config: &crate::oci::Spec| {
        let options = CreateOptions { console, ..Default::default() };
        let request = Request { id: "box", bundle: Path::new("/b"), wait_for_start: true, options: &options };
        Plan::new(config, &request, &facts()).unwrap_err().to_string()
    };
    let expected = "process.terminal: cannot allocate tty if runc will detach without setting console socket";
    assert_eq!(error(Console::None, &spec), expected);
    let without = spec::parse(DOCKER.as_bytes()).unwrap();
    let socket = Console::Socket("/s".into());
    let expected = "process.terminal: cannot use console socket if runc will not detach or allocate tty";
    assert_eq!(error(socket, &without), expected);
}

#[test]
fn every_device_rule_of_the_config_comes_before_the_defaults() {
    let spec = spec::parse(DOCKER.as_bytes()).unwrap();
    let rules = device_rules(spec.linux().as_ref().and_then(|linux| linux.resources().as_ref()));
    assert!(!rules[0].allow);
    assert_eq!(rules.len(), 16 + 11);
    assert!(rules[16..].iter().all(|rule| rule.allow));
}

/// On a kernel that has the modules: labels of the process in the files that are for the next exec, the
/// mounts' as the option that the annotation names. Without them, warnings.
#[test]
fn labels_of_security_modules() {
    let config = |annotations: &str| {
        format!(
            r#"{{ "ociVersion": "1.3.0", "root": {{ "path": "rootfs" }}, "annotations": {annotations},
            "process": {{ "user": {{}}, "cwd": "/", "args": ["sh"], "apparmorProfile": "profile", "selinuxLabel": "u:r:t:s0" }},
            "mounts": [
                {{ "destination": "/proc", "type": "proc" }}, {{ "destination": "/sys", "type": "sysfs" }},
                {{ "destination": "/t", "type": "tmpfs", "options": ["size=1k"] }},
                {{ "destination": "/q", "type": "mqueue" }}, {{ "destination": "/b", "type": "bind", "source": "/a" }}
            ],
            "linux": {{ "mountLabel": "u:r:t:s0:c1,c2", "maskedPaths": ["/proc/acpi"], "namespaces": [{{ "type": "mount" }}] }} }}"#
        )
    };
    let plan = |annotations: &str, facts: &Facts| {
        let spec = spec::parse(config(annotations).as_bytes()).unwrap();
        spec::validate(&spec).unwrap();
        let options = CreateOptions::default();
        let request = Request { id: "box", bundle: Path::new("/b"), wait_for_start: true, options: &options };
        Plan::new(&spec, &request, facts).unwrap()
    };
    let text = |string: &std::ffi::CStr| string.to_str().unwrap().to_owned();
    let written = |plan: &Plan| -> Vec<(String, String)> {
        let of = |planned: &Planned<corten_init::OwnedStep>| match &planned.step {
            corten_init::OwnedStep::WriteOwn { path, value, .. } => Some((text(path), text(value))),
            _ => None,
        };
        plan.inside.iter().filter_map(of).collect()
    };
    let mounted = |plan: &Plan| -> Vec<(String, String)> {
        let of = |planned: &Planned<corten_init::OwnedStep>| match &planned.step {
            corten_init::OwnedStep::MountFs { fstype, options, .. } => {
                Some((text(fstype), String::from_utf8_lossy(&options.0).replace('\0', " ")))
            }
            _ => None,
        };
        plan.inside.iter().filter_map(of).collect()
    };
    let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let with = plan("{}", &facts());
    let labels = ["self/attr/exec", "self/attr/keycreate"].map(|file| pair((file, "u:r:t:s0")));
    assert_eq!(written(&with)[0], pair(("self/attr/apparmor/exec", "exec profile")));
    assert_eq!(written(&with)[1..], labels);
    assert_eq!(with.warnings, Vec::<String>::new());
    for kind in ["context", "fscontext", "defcontext", "rootcontext"] {
        let annotations = match kind {
            "context" => "{}".to_owned(),
            _ => format!(r#"{{ "run.oci.mount_context_type": "{kind}" }}"#),
        };
        let labelled = format!("size =1k {kind} =u:r:t:s0:c1,c2 ");
        let covers = format!("ro  nr_blocks =1 nr_inodes =1 {kind} =u:r:t:s0:c1,c2 ");
        let mounts =
            [("proc", ""), ("sysfs", ""), ("tmpfs", &labelled), ("mqueue", ""), ("tmpfs", &covers)].map(pair);
        assert_eq!(mounted(&plan(&annotations, &facts())), mounts);
    }
    let without = plan("{}", &Facts { apparmor: false, selinux: false, ..facts() });
    assert_eq!(written(&without), []);
    assert_eq!(mounted(&without)[2], pair(("tmpfs", "size =1k ")));
    let warnings = [
        "process.apparmorProfile: ignored, as AppArmor is not enabled in the kernel",
        "process.selinuxLabel: ignored, as SELinux is not enabled in the kernel",
        "linux.mountLabel: ignored, as SELinux is not enabled in the kernel",
    ];
    assert_eq!(without.warnings, warnings);
}

/// What is wrong with a config that only the plan sees, in full. Some of it `spec::validate` finds before; a
/// plan is not made without it either.
#[test]
fn why_there_is_no_plan() {
    use crate::ErrorKind::{InvalidConfig, Unsupported};
    let map = r#"[{ "containerID": 0, "hostID": 1000, "size": 1 }]"#;
    let maps = format!(r#""uidMappings": {map}, "gidMappings": {map}"#);
    let mount = |rest: &str| format!(r#""mounts": [{{ "destination": "/m", {rest} }}]"#);
    let inside_proc = |path: &str, typ: &str| {
        let text = format!(r#""mounts": [{{ "destination": "{path}", "source": "/a", "type": "{typ}" }}]"#);
        let message = format!("mounts[0].destination: {path:?} cannot be mounted because it is inside /proc");
        (text, InvalidConfig, message)
    };
    let not_bind = |rest: &str, name: &str| {
        let message = format!("mounts[0].{name}: id-mapped mounts are only supported for bind mounts");
        (mount(rest), InvalidConfig, message)
    };
    let half = |rest: &str, name: &str| {
        let message =
            format!("mounts[0].{name}: id-mapped mounts must have both uid and gid mappings specified");
        (mount(rest), InvalidConfig, message)
    };
    let bind = r#""source": "/a", "options": ["bind", "idmap"]"#;
    let ranges: Vec<_> = (0..341).map(|id| format!("{id}-{id}-1")).collect();
    let many: String =
        (0..=65_517).map(|_| r#"{ "destination": "/m", "source": "/a", "type": "bind" },"#).collect();
    let cases = [
        inside_proc("/proc/self", "tmpfs"),
        inside_proc("/proc/sys/kernel", "bind"),
        (
            r#""mounts": [{ "destination": "/proc", "type": "tmpfs", "source": "/a" }]"#.to_owned(),
            InvalidConfig,
            r#"mounts[0].type: "/proc" cannot be mounted because it is not of type proc"#.to_owned(),
        ),
        not_bind(&format!(r#""type": "tmpfs", {maps}"#), "uidMappings"),
        not_bind(r#""type": "tmpfs", "options": ["ridmap=uids=0-1-1;gids=0-1-1"]"#, "options"),
        not_bind(r#""source": "/a", "options": ["bind", "remount", "idmap"]"#, "options"),
        (
            mount(&format!(
                r#""source": "/a", "options": ["bind", "idmap=uids={};gids=0-1-1"]"#,
                ranges.join("#")
            )),
            InvalidConfig,
            "mounts[0].options: must have at most 340 entries, found 341".to_owned(),
        ),
        half(bind, "options"),
        half(&format!(r#"{bind}, "uidMappings": {map}"#), "uidMappings"),
        half(&format!(r#"{bind}, "gidMappings": {map}"#), "uidMappings"),
        (
            r#""linux": { "devices": [{ "path": "/dev/a", "type": "a" }] }"#.to_owned(),
            Unsupported,
            "linux.devices[0].type: a node for \"all devices\" is not supported".to_owned(),
        ),
        (
            r#""linux": { "devices": [{ "path": "/dev/a", "type": "c", "major": -7 }] }"#.to_owned(),
            InvalidConfig,
            "linux.devices[0]: -7 is out of range".to_owned(),
        ),
        (r#""hostname": "a\u0000b""#.to_owned(), InvalidConfig, "hostname: contains a NUL byte".to_owned()),
        (r#""root": null"#.to_owned(), InvalidConfig, "root: missing".to_owned()),
        (
            format!(r#""mounts": [{}]"#, many.trim_end_matches(',')),
            InvalidConfig,
            "mounts: 65518 bind mounts are more than the 65517 that a container may have".to_owned(),
        ),
    ];
    let options = CreateOptions::default();
    let fail = |text: &str, options: &CreateOptions, facts: &Facts| {
        let shortened: String = text.chars().take(200).collect();
        let spec = spec::parse(text.as_bytes()).expect(&shortened);
        let request = Request { id: "box", bundle: Path::new("/b"), wait_for_start: false, options };
        let error = Plan::new(&spec, &request, facts).expect_err(&shortened);
        (error.kind(), error.to_string())
    };
    let process = r#""process": { "user": {}, "cwd": "/", "args": ["sh"] }"#;
    // Opened by the runtime, a source has a slot of its own in the plan.
    let privileged = Facts { privileged: true, ..facts() };
    for (rest, kind, message) in cases {
        let root = if rest.starts_with(r#""root""#) { "" } else { r#""root": { "path": "rootfs" },"# };
        let text = format!(r#"{{ "ociVersion": "1.3.0", {root} {process}, {rest} }}"#);
        assert_eq!(fail(&text, &options, &privileged), (kind, message));
    }
    let config = |rest: &str| format!(r#"{{ "ociVersion": "1.3.0", "root": {{ "path": "rootfs" }}{rest} }}"#);
    let missing = (InvalidConfig, "process: missing".to_owned());
    assert_eq!(fail(&config(""), &options, &privileged), missing);
    let mapped =
        config(&format!(r#", {process}, {}"#, mount(&format!(r#""source": "/a", "type": "bind", {maps}"#))));
    let message = "mounts[0].options: id-mapped mounts are not supported for rootless containers";
    let rootless = Facts { privileged: false, ..facts() };
    assert_eq!(fail(&mapped, &options, &rootless), (Unsupported, message.to_owned()));
}
