//! No string of the config may contain a NUL: on its way into a system call it would end there, and mean less
//! than was written. One walk over all of them, so that no later stage has to ask.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use oci_spec::runtime::{Linux, Mount, Process, Spec};

use super::error::{Problem, SpecError, shorten};
use super::hooks;

pub(super) fn contain_no_nul(spec: &Spec) -> Result<(), SpecError> {
    check("ociVersion", spec.version())?;
    if let Some(root) = spec.root() {
        check_path("root.path", root.path())?;
    }
    check_option("hostname", spec.hostname())?;
    check_option("domainname", spec.domainname())?;
    for (key, value) in spec.annotations().iter().flatten() {
        check_entry("annotations", key, value)?;
    }
    if let Some(process) = spec.process() {
        in_process(process)?;
    }
    for (field, hook) in hooks::all(spec) {
        check_with(hook.path().as_os_str().as_bytes(), || format!("{field}.path"))?;
        check_list(&format!("{field}.args"), hook.args())?;
        check_list(&format!("{field}.env"), hook.env())?;
    }
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        in_mount(index, mount)?;
    }
    if let Some(linux) = spec.linux() {
        in_linux(linux)?;
    }
    Ok(())
}

fn in_process(process: &Process) -> Result<(), SpecError> {
    check_path("process.cwd", process.cwd())?;
    check_list("process.args", process.args())?;
    check_list("process.env", process.env())?;
    check_option("process.user.username", process.user().username())?;
    if let Some(affinity) = process.exec_cpu_affinity() {
        check_option("process.execCPUAffinity.initial", affinity.initial())?;
        check_option("process.execCPUAffinity.final", affinity.cpu_affinity_final())?;
    }
    check_option("process.apparmorProfile", process.apparmor_profile())?;
    check_option("process.selinuxLabel", process.selinux_label())
}

fn in_mount(index: usize, mount: &Mount) -> Result<(), SpecError> {
    let field = |name: &str| format!("mounts[{index}].{name}");
    check_with(mount.destination().as_os_str().as_bytes(), || field("destination"))?;
    if let Some(typ) = mount.typ() {
        check_with(typ.as_bytes(), || field("type"))?;
    }
    if let Some(source) = mount.source() {
        check_with(source.as_os_str().as_bytes(), || field("source"))?;
    }
    for (nth, option) in mount.options().iter().flatten().enumerate() {
        check_with(option.as_bytes(), || format!("mounts[{index}].options[{nth}]"))?;
    }
    Ok(())
}

fn in_linux(linux: &Linux) -> Result<(), SpecError> {
    for (key, value) in linux.sysctl().iter().flatten() {
        check_entry("linux.sysctl", key, value)?;
    }
    if let Some(path) = linux.cgroups_path() {
        check_path("linux.cgroupsPath", path)?;
    }
    for (index, namespace) in linux.namespaces().iter().flatten().enumerate() {
        if let Some(path) = namespace.path() {
            check_with(path.as_os_str().as_bytes(), || format!("linux.namespaces[{index}].path"))?;
        }
    }
    for (index, device) in linux.devices().iter().flatten().enumerate() {
        check_with(device.path().as_os_str().as_bytes(), || format!("linux.devices[{index}].path"))?;
    }
    check_list("linux.maskedPaths", linux.masked_paths())?;
    check_list("linux.readonlyPaths", linux.readonly_paths())?;
    check_option("linux.rootfsPropagation", linux.rootfs_propagation())?;
    check_option("linux.mountLabel", linux.mount_label())?;
    for (name, device) in linux.net_devices().iter().flatten() {
        check_with(name.as_bytes(), || entry("linux.netDevices", name))?;
        if let Some(inside) = device.name() {
            check_with(inside.as_bytes(), || format!("{}.name", entry("linux.netDevices", name)))?;
        }
    }
    for (clock, _) in linux.time_offsets().iter().flatten() {
        check_with(clock.as_bytes(), || entry("linux.timeOffsets", clock))?;
    }
    if let Some(rdt) = linux.intel_rdt() {
        check_option("linux.intelRdt.closID", rdt.clos_id())?;
        check_list("linux.intelRdt.schemata", rdt.schemata())?;
        check_option("linux.intelRdt.l3CacheSchema", rdt.l3_cache_schema())?;
        check_option("linux.intelRdt.memBwSchema", rdt.mem_bw_schema())?;
    }
    if let Some(policy) = linux.memory_policy() {
        check_option("linux.memoryPolicy.nodes", policy.nodes())?;
    }
    if let Some(personality) = linux.personality() {
        check_list("linux.personality.flags", personality.flags())?;
    }
    in_seccomp(linux)
}

fn in_seccomp(linux: &Linux) -> Result<(), SpecError> {
    let Some(seccomp) = linux.seccomp() else {
        return Ok(());
    };
    if let Some(path) = seccomp.listener_path() {
        check_path("linux.seccomp.listenerPath", path)?;
    }
    check_option("linux.seccomp.listenerMetadata", seccomp.listener_metadata())?;
    for (index, syscall) in seccomp.syscalls().iter().flatten().enumerate() {
        for (nth, name) in syscall.names().iter().enumerate() {
            check_with(name.as_bytes(), || format!("linux.seccomp.syscalls[{index}].names[{nth}]"))?;
        }
    }
    Ok(())
}

fn check(field: &str, value: &str) -> Result<(), SpecError> {
    check_with(value.as_bytes(), || field.to_owned())
}

fn check_path(field: &str, path: &Path) -> Result<(), SpecError> {
    check_with(path.as_os_str().as_bytes(), || field.to_owned())
}

fn check_option(field: &str, value: &Option<String>) -> Result<(), SpecError> {
    value.as_deref().map_or(Ok(()), |value| check(field, value))
}

fn check_list(field: &str, values: &Option<Vec<String>>) -> Result<(), SpecError> {
    for (index, value) in values.iter().flatten().enumerate() {
        check_with(value.as_bytes(), || format!("{field}[{index}]"))?;
    }
    Ok(())
}

fn check_entry(field: &str, key: &str, value: &str) -> Result<(), SpecError> {
    check_with(key.as_bytes(), || entry(field, key))?;
    check_with(value.as_bytes(), || entry(field, key))
}

/// Returns the name of a map's entry, `linux.sysctl["net.ipv4.ip_forward"]`.
pub(super) fn entry(field: &str, key: &str) -> String {
    format!("{field}[{:?}]", shorten(key, 128))
}

fn check_with(value: &[u8], field: impl FnOnce() -> String) -> Result<(), SpecError> {
    if value.contains(&0) { Err(SpecError::invalid(field(), Problem::Nul)) } else { Ok(()) }
}
