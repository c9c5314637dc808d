//! What the spec offers and Corten does not do, one line each: an issue that does one deletes its line.
//!
//! An empty object or a member of zero asks for nothing and is accepted: engines write `"cpu": {"shares": 0}`.

use oci_spec::runtime::{Hook, Hooks, LinuxNamespaceType, LinuxResources, LinuxSeccompAction, Process, Spec};

use super::error::SpecError;

/// Returns the path of the field that asks for it, if one does.
type Asks = fn(&Spec) -> Option<String>;

#[rustfmt::skip]
const NOT_YET: &[(&str, Asks)] = &[
    ("a hook",                              hooks),
    ("an AppArmor profile",                 apparmor_profile),
    ("an SELinux label",                    selinux_label),
    ("a scheduler policy",                  |spec| process(spec, "scheduler", |p| p.scheduler().is_some())),
    ("an I/O priority",                     |spec| process(spec, "ioPriority", |p| p.io_priority().is_some())),
    ("a CPU affinity for exec",             exec_cpu_affinity),
    ("an ID-mapped mount",                  mount_id_mappings),
    ("the mount option",                    mount_option),
    ("joining a namespace",                 namespace_path),
    ("a user namespace",                    |spec| namespace(spec, LinuxNamespaceType::User)),
    ("a time namespace",                    |spec| namespace(spec, LinuxNamespaceType::Time)),
    ("a time offset",                       |spec| linux(spec, "timeOffsets", |l| filled(l.time_offsets()))),
    ("an ID mapping",                       |spec| linux(spec, "uidMappings", |l| listed(l.uid_mappings()))),
    ("an ID mapping",                       |spec| linux(spec, "gidMappings", |l| listed(l.gid_mappings()))),
    ("a network device",                    |spec| linux(spec, "netDevices", |l| filled(l.net_devices()))),
    ("a label for mounts",                  |spec| linux(spec, "mountLabel", |l| named(l.mount_label()))),
    ("a memory policy",                     |spec| linux(spec, "memoryPolicy", |l| l.memory_policy().is_some())),
    ("a personality",                       |spec| linux(spec, "personality", |l| l.personality().is_some())),
    ("Intel RDT",                           |spec| linux(spec, "intelRdt", |l| l.intel_rdt().is_some())),
    ("a memory limit",                      memory),
    ("a CPU limit",                         cpu),
    ("a limit on the number of processes",  pids),
    ("a block I/O limit",                   block_io),
    ("a limit on huge pages",               |spec| resource(spec, "hugepageLimits", |r| listed(r.hugepage_limits()))),
    ("a network class or priority",         network),
    ("an RDMA limit",                       |spec| resource(spec, "rdma", |r| filled(r.rdma()))),
    ("a cgroup v2 setting",                 |spec| resource(spec, "unified", |r| filled(r.unified()))),
    ("SCMP_ACT_NOTIFY",                     seccomp_notify),
];

/// Mount options of runc that are known and not done; `plan::mount_options` refuses them, too.
pub(crate) const MOUNT_OPTIONS_NOT_YET: &[&str] = &["idmap", "ridmap", "tmpcopyup"];

/// Sections for other platforms. A config that has one was made for another runtime; ignoring the section would run
/// something else than what was asked for.
const NEVER: &[(&str, Asks)] = &[
    ("a container for Windows", |spec| spec.windows().is_some().then(|| "windows".to_owned())),
    ("a container for Solaris", |spec| spec.solaris().is_some().then(|| "solaris".to_owned())),
    ("a container for z/OS", |spec| spec.zos().is_some().then(|| "zos".to_owned())),
    ("a virtual machine", |spec| spec.vm().is_some().then(|| "vm".to_owned())),
];

pub(super) fn is_not_asked_for(spec: &Spec) -> Result<(), SpecError> {
    let tables = [(NEVER, false), (NOT_YET, true)];
    for (table, yet) in tables {
        for &(what, asks) in table {
            if let Some(field) = asks(spec) {
                return Err(SpecError::Unsupported { field, what, yet });
            }
        }
    }
    Ok(())
}

// Shapes of an answer.

fn process(spec: &Spec, name: &str, asks: impl Fn(&Process) -> bool) -> Option<String> {
    spec.process().as_ref().filter(|process| asks(process)).map(|_| format!("process.{name}"))
}

fn linux(spec: &Spec, name: &str, asks: impl Fn(&oci_spec::runtime::Linux) -> bool) -> Option<String> {
    spec.linux().as_ref().filter(|linux| asks(linux)).map(|_| format!("linux.{name}"))
}

fn resource(spec: &Spec, name: &str, asks: impl Fn(&LinuxResources) -> bool) -> Option<String> {
    let resources = spec.linux().as_ref()?.resources().as_ref()?;
    asks(resources).then(|| format!("linux.resources.{name}"))
}

fn listed<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}

fn filled<V>(map: &Option<std::collections::HashMap<String, V>>) -> bool {
    map.as_ref().is_some_and(|map| !map.is_empty())
}

fn named(text: &Option<String>) -> bool {
    text.as_ref().is_some_and(|text| !text.is_empty())
}

fn nonzero<T: Default + PartialEq>(number: Option<T>) -> bool {
    number.is_some_and(|number| number != T::default())
}

// The lines that need more than a line.

fn hooks(spec: &Spec) -> Option<String> {
    type List = fn(&Hooks) -> &Option<Vec<Hook>>;
    // `prestart` is deprecated in the spec, and Docker's libnetwork and NVIDIA's toolkit use it to this day.
    let lists: [(&str, List); 6] = [
        ("prestart", Hooks::prestart),
        ("createRuntime", Hooks::create_runtime),
        ("createContainer", Hooks::create_container),
        ("startContainer", Hooks::start_container),
        ("poststart", Hooks::poststart),
        ("poststop", Hooks::poststop),
    ];
    let hooks = spec.hooks().as_ref()?;
    lists.into_iter().find(|(_, list)| listed(list(hooks))).map(|(name, _)| format!("hooks.{name}[0]"))
}

/// `unconfined` asks for no profile. A runtime that is confined itself keeps the container confined, which is more
/// than was asked for, not less.
fn apparmor_profile(spec: &Spec) -> Option<String> {
    let asks = |p: &Process| named(p.apparmor_profile()) && p.apparmor_profile().as_deref() != Some("unconfined");
    process(spec, "apparmorProfile", asks)
}

fn selinux_label(spec: &Spec) -> Option<String> {
    process(spec, "selinuxLabel", |process| named(process.selinux_label()))
}

fn exec_cpu_affinity(spec: &Spec) -> Option<String> {
    process(spec, "execCPUAffinity", |process| {
        let affinity = process.exec_cpu_affinity().as_ref();
        affinity.is_some_and(|affinity| named(affinity.initial()) || named(affinity.cpu_affinity_final()))
    })
}

fn mount_id_mappings(spec: &Spec) -> Option<String> {
    spec.mounts().iter().flatten().enumerate().find_map(|(index, mount)| {
        let name = match (listed(mount.uid_mappings()), listed(mount.gid_mappings())) {
            (true, _) => "uidMappings",
            (_, true) => "gidMappings",
            _ => return None,
        };
        Some(format!("mounts[{index}].{name}"))
    })
}

fn mount_option(spec: &Spec) -> Option<String> {
    spec.mounts().iter().flatten().enumerate().find_map(|(index, mount)| {
        let mut options = mount.options().iter().flatten();
        let nth = options.position(|option| MOUNT_OPTIONS_NOT_YET.contains(&option.as_str()))?;
        let option = mount.options().as_ref()?.get(nth)?;
        Some(format!("mounts[{index}].options[{nth}] {option:?}"))
    })
}

fn namespace_path(spec: &Spec) -> Option<String> {
    let namespaces = spec.linux().as_ref()?.namespaces().as_ref()?;
    let joins = |path: &std::path::PathBuf| !path.as_os_str().is_empty();
    let index = namespaces.iter().position(|namespace| namespace.path().as_ref().is_some_and(joins))?;
    Some(format!("linux.namespaces[{index}].path"))
}

fn namespace(spec: &Spec, typ: LinuxNamespaceType) -> Option<String> {
    let namespaces = spec.linux().as_ref()?.namespaces().as_ref()?;
    let index = namespaces.iter().position(|namespace| namespace.typ() == typ)?;
    Some(format!("linux.namespaces[{index}].type"))
}

/// runc: `kernel`, `kernelTCP` and `useHierarchy` are ignored; `checkBeforeUpdate` is about the limit.
/// A swappiness of zero does ask for something.
fn memory(spec: &Spec) -> Option<String> {
    resource(spec, "memory", |resources| {
        resources.memory().as_ref().is_some_and(|memory| {
            nonzero(memory.limit())
                || nonzero(memory.reservation())
                || nonzero(memory.swap())
                || memory.swappiness().is_some()
                || nonzero(memory.disable_oom_killer())
        })
    })
}

fn cpu(spec: &Spec) -> Option<String> {
    resource(spec, "cpu", |resources| {
        resources.cpu().as_ref().is_some_and(|cpu| {
            nonzero(cpu.shares())
                || nonzero(cpu.quota())
                || nonzero(cpu.burst())
                || nonzero(cpu.period())
                || nonzero(cpu.idle())
                || nonzero(cpu.realtime_runtime())
                || nonzero(cpu.realtime_period())
                || named(cpu.cpus())
                || named(cpu.mems())
        })
    })
}

/// A negative limit is "unlimited", as a new cgroup is.
fn pids(spec: &Spec) -> Option<String> {
    resource(spec, "pids", |resources| resources.pids().as_ref().is_some_and(|pids| pids.limit() > 0))
}

fn block_io(spec: &Spec) -> Option<String> {
    resource(spec, "blockIO", |resources| {
        resources.block_io().as_ref().is_some_and(|block_io| {
            nonzero(block_io.weight())
                || nonzero(block_io.leaf_weight())
                || listed(block_io.weight_device())
                || listed(block_io.throttle_read_bps_device())
                || listed(block_io.throttle_write_bps_device())
                || listed(block_io.throttle_read_iops_device())
                || listed(block_io.throttle_write_iops_device())
        })
    })
}

fn network(spec: &Spec) -> Option<String> {
    resource(spec, "network", |resources| {
        let network = resources.network().as_ref();
        network.is_some_and(|network| nonzero(network.class_id()) || listed(network.priorities()))
    })
}

fn seccomp_notify(spec: &Spec) -> Option<String> {
    let syscalls = spec.linux().as_ref()?.seccomp().as_ref()?.syscalls().as_ref()?;
    let index = syscalls.iter().position(|syscall| syscall.action() == LinuxSeccompAction::ScmpActNotify)?;
    Some(format!("linux.seccomp.syscalls[{index}].action"))
}
