//! The rules of the spec (and of runc where engines rely on it), each a function, all of them in [`RULES`].

use std::collections::{HashMap, HashSet};
use std::path::Path;

use oci_spec::runtime::{
    Linux, LinuxDevice, LinuxDeviceType, LinuxNamespaceType, LinuxSeccomp, LinuxSeccompAction, Mount,
    Process, Spec,
};

use super::annotations::{self, annotation};
use super::error::{Problem, SpecError, shorten};
use super::path::{clean_in_root, sysctl_file};
use super::{namespace, strings, unsupported};

mod hooks;
pub(crate) mod ids;
mod namespaces;
pub(super) mod resources;
mod scheduling;

type Rule = fn(&Spec) -> Result<(), SpecError>;

/// Every rule, in the order in which they are asked: the shape first, then what is not supported.
const RULES: &[Rule] = &[
    strings::contain_no_nul,
    version_is_known,
    root_has_a_path,
    args_name_a_program,
    cwd_is_absolute,
    env_is_assignments,
    hooks::hooks_are_sound,
    ids_are_ids,
    umask_is_in_range,
    console_size_is_in_range,
    rlimits_are_sound,
    oom_score_is_in_range,
    capabilities_are_permitted,
    scheduling::scheduler_is_sound,
    scheduling::io_priority_is_in_range,
    scheduling::exec_cpu_affinity_is_sound,
    scheduling::memory_policy_is_sound,
    namespaces::namespaces_are_unique,
    namespaces::namespace_paths_are_absolute,
    ids::user_namespace_is_mapped,
    ids::user_namespace_can_mount,
    ids::ids_of_the_process_are_mapped,
    namespaces::time_offsets_are_sound,
    namespaces::net_devices_are_sound,
    hostname_fits,
    domainname_fits,
    mounts_are_sound,
    ids::mapped_mounts_are_sound,
    mount_context_is_known,
    propagation_is_known,
    sysctls_are_namespaced,
    devices_are_sound,
    masked_paths_are_given,
    readonly_paths_are_given,
    resources::resources_are_sound,
    seccomp_rules_are_sound,
    seccomp_notify_is_sound,
    clos_id_is_a_name,
    unsupported::is_not_asked_for,
];

/// Judges a config: everything that can be known without looking at the host.
///
/// Success promises the later stages: no NUL in any string; arguments and an absolute `cwd` of the process,
/// if there is one; each namespace at most once, with absolute paths; a new user namespace has mappings that
/// the kernel takes, also for the process's IDs; numbers in the kernel's ranges; nothing asked for that
/// Corten does not do.
///
/// # Errors
///
/// The first rule that is broken, with the field's path; what is wrong comes before what is not supported.
pub fn validate(spec: &Spec) -> Result<(), SpecError> {
    RULES.iter().try_for_each(|rule| rule(spec))
}

/// runc takes any text. What is before 1.0, or has no minor and patch numbers, is no other format; what is
/// after 1 may be.
fn version_is_known(spec: &Spec) -> Result<(), SpecError> {
    let version = spec.version();
    if version.is_empty() {
        return Err(SpecError::invalid("ociVersion", Problem::Missing));
    }
    let numbers: Vec<&str> = version.split(['-', '+']).next().unwrap_or_default().split('.').collect();
    let is_number = |digits: &&str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    let sound = matches!(numbers[0], "0" | "1") && numbers.len() <= 3 && numbers.iter().all(is_number);
    require(sound, || ("ociVersion".into(), Problem::Version { found: shorten(version, 64) }))
}

fn root_has_a_path(spec: &Spec) -> Result<(), SpecError> {
    let root = spec.root().as_ref().ok_or_else(|| SpecError::invalid("root", Problem::Missing))?;
    require(!root.path().as_os_str().is_empty(), || ("root.path".into(), Problem::Empty))
}

fn args_name_a_program(spec: &Spec) -> Result<(), SpecError> {
    in_process(spec, |process| {
        // An empty name is that of a program that is not found, as with runc: engines have a status of their
        // own for it.
        let has_program = process.args().as_ref().is_some_and(|args| !args.is_empty());
        require(has_program, || ("process.args".into(), Problem::Empty))
    })
}

fn cwd_is_absolute(spec: &Spec) -> Result<(), SpecError> {
    in_process(spec, |process| absolute(process.cwd(), || "process.cwd".into()))
}

/// runc: a name that is empty or without `=` is refused; of equal names the last wins (in plan).
fn env_is_assignments(spec: &Spec) -> Result<(), SpecError> {
    in_process(spec, |process| {
        for (index, assignment) in process.env().iter().flatten().enumerate() {
            is_assignment(assignment, || format!("process.env[{index}]"))?;
        }
        Ok(())
    })
}

/// -1 means "leave it as it is" to `setresuid(2)` and `setresgid(2)`: the process would stay root.
fn ids_are_ids(spec: &Spec) -> Result<(), SpecError> {
    const LAST: i64 = u32::MAX as i64 - 1;
    in_process(spec, |process| {
        let user = process.user();
        in_range(user.uid(), 0, LAST, || "process.user.uid".into())?;
        in_range(user.gid(), 0, LAST, || "process.user.gid".into())?;
        for (index, gid) in user.additional_gids().iter().flatten().enumerate() {
            in_range(*gid, 0, LAST, || format!("process.user.additionalGids[{index}]"))?;
        }
        Ok(())
    })
}

fn umask_is_in_range(spec: &Spec) -> Result<(), SpecError> {
    in_process(spec, |process| {
        let umask = process.user().umask().unwrap_or(0);
        in_range(umask, 0, 0o777, || "process.user.umask".into())
    })
}

/// The kernel's `struct winsize` has 16 bits for each.
fn console_size_is_in_range(spec: &Spec) -> Result<(), SpecError> {
    in_process(spec, |process| {
        let Some(size) = process.console_size() else {
            return Ok(());
        };
        in_range(size.height(), 0, u16::MAX.into(), || "process.consoleSize.height".into())?;
        in_range(size.width(), 0, u16::MAX.into(), || "process.consoleSize.width".into())
    })
}

fn rlimits_are_sound(spec: &Spec) -> Result<(), SpecError> {
    in_process(spec, |process| {
        let limits = process.rlimits().as_deref().unwrap_or_default();
        for (index, limit) in limits.iter().enumerate() {
            let field = || format!("process.rlimits[{index}]");
            // There are 16 types, so a search in all earlier ones ends after at most 16.
            if let Some(first) = limits[..index].iter().position(|earlier| earlier.typ() == limit.typ()) {
                let first = format!("process.rlimits[{first}]");
                return Err(SpecError::invalid(field(), Problem::Duplicate { first }));
            }
            let (typ, soft, hard) = (limit.typ(), limit.soft(), limit.hard());
            require(soft <= hard, || (field(), Problem::SoftAboveHard { typ, soft, hard }))?;
        }
        Ok(())
    })
}

fn oom_score_is_in_range(spec: &Spec) -> Result<(), SpecError> {
    in_process(spec, |process| {
        in_range(process.oom_score_adj().unwrap_or(0), -1000, 1000, || "process.oomScoreAdj".into())
    })
}

/// `capset(2)` refuses effective capabilities that are not permitted.
///
/// Ambient ones that are not both permitted and inheritable are left to plan, which drops them: runc does not
/// refuse them either, and older engines write such configs.
fn capabilities_are_permitted(spec: &Spec) -> Result<(), SpecError> {
    in_process(spec, |process| {
        let Some(capabilities) = process.capabilities() else {
            return Ok(());
        };
        let permitted = capabilities.permitted().iter().flatten().collect::<HashSet<_>>();
        let beyond =
            capabilities.effective().iter().flatten().filter(|capability| !permitted.contains(capability));
        // Sets have no order; the message has.
        match beyond.min_by_key(|capability| capability.to_string()) {
            Some(&capability) => Err(SpecError::invalid(
                "process.capabilities.effective",
                Problem::NotPermitted { capability },
            )),
            None => Ok(()),
        }
    })
}

fn hostname_fits(spec: &Spec) -> Result<(), SpecError> {
    uts_name(spec, "hostname", spec.hostname())
}

fn domainname_fits(spec: &Spec) -> Result<(), SpecError> {
    uts_name(spec, "domainname", spec.domainname())
}

/// `sethostname(2)` takes 64 bytes at most, and without a UTS namespace it would rename the host.
fn uts_name(spec: &Spec, field: &str, name: &Option<String>) -> Result<(), SpecError> {
    const UTS_LEN: usize = 64;
    let Some(name) = name.as_ref().filter(|name| !name.is_empty()) else {
        return Ok(());
    };
    require(name.len() <= UTS_LEN, || (field.into(), Problem::TooLong { max: UTS_LEN, found: name.len() }))?;
    needs_namespace(spec, LinuxNamespaceType::Uts, || field.into())
}

fn mounts_are_sound(spec: &Spec) -> Result<(), SpecError> {
    spec.mounts().iter().flatten().enumerate().try_for_each(|(index, mount)| mount_is_sound(index, mount))
}

/// runc: a relative destination counts from the root (`clean_in_root`), and so does one with `..`.
fn mount_is_sound(index: usize, mount: &Mount) -> Result<(), SpecError> {
    let destination = mount.destination();
    let field = |name: &str| format!("mounts[{index}].{name}");
    require(!destination.as_os_str().is_empty(), || (field("destination"), Problem::Empty))?;
    require(clean_in_root(destination) != Path::new("/"), || {
        (field("destination"), Problem::MountOnRoot { found: destination.display().to_string() })
    })?;

    if asks_for_bind(mount) {
        let source = mount.source().as_ref().is_some_and(|source| !source.as_os_str().is_empty());
        return require(source, || (field("source"), Problem::Missing));
    }
    let typ = mount.typ().as_deref().unwrap_or_default();
    require(!typ.is_empty() || has_option(mount, "remount"), || (field("type"), Problem::Missing))
}

/// Whether `bind` or `rbind` is written in an entry of `mounts`, be it of a new mount or of a remount.
pub(crate) fn asks_for_bind(mount: &Mount) -> bool {
    mount.typ().as_deref() == Some("bind") || has_option(mount, "bind") || has_option(mount, "rbind")
}

fn has_option(mount: &Mount, name: &str) -> bool {
    mount.options().iter().flatten().any(|option| option == name)
}

/// Nobody asks for the annotation unless there is a label.
fn mount_context_is_known(spec: &Spec) -> Result<(), SpecError> {
    const KNOWN: &str = "context, fscontext, defcontext, rootcontext";
    in_linux(spec, |linux| {
        let label = linux.mount_label().as_ref().is_some_and(|label| !label.is_empty());
        let Some(found) = annotation(spec, annotations::MOUNT_CONTEXT).filter(|_| label) else {
            return Ok(());
        };
        require(KNOWN.split(", ").any(|known| known == found), || {
            let problem = Problem::OneOf { expected: KNOWN, found: shorten(found, 64) };
            (strings::entry("annotations", annotations::MOUNT_CONTEXT), problem)
        })
    })
}

fn propagation_is_known(spec: &Spec) -> Result<(), SpecError> {
    const KNOWN: &str = "shared, rshared, slave, rslave, private, rprivate, unbindable, runbindable";
    in_linux(spec, |linux| {
        let found = linux.rootfs_propagation().as_deref().unwrap_or_default();
        require(found.is_empty() || KNOWN.split(", ").any(|known| known == found), || {
            let problem = Problem::OneOf { expected: KNOWN, found: shorten(found, 64) };
            ("linux.rootfsPropagation".into(), problem)
        })
    })
}

/// `/proc/sys` is not the container's own as a whole: a key is allowed if its namespace is listed.
fn sysctls_are_namespaced(spec: &Spec) -> Result<(), SpecError> {
    in_linux(spec, |linux| {
        // A map has no order; the message has.
        let mut keys: Vec<&String> = linux.sysctl().iter().flatten().map(|(key, _)| key).collect();
        keys.sort_unstable();
        for key in keys {
            let field = || strings::entry("linux.sysctl", key);
            let file = sysctl_file(key).ok_or_else(|| SpecError::invalid(field(), Problem::NotASysctl))?;
            let namespace =
                sysctl_namespace(&file).map_err(|problem| SpecError::invalid(field(), problem))?;
            needs_namespace(spec, namespace, field)?;
        }
        Ok(())
    })
}

/// Returns the namespace that has a sysctl of its own, by runc's allow-list; `file` is relative to
/// `/proc/sys`.
pub(crate) fn sysctl_namespace(file: &str) -> Result<LinuxNamespaceType, Problem> {
    match file {
        "kernel/msgmax"
        | "kernel/msgmnb"
        | "kernel/msgmni"
        | "kernel/sem"
        | "kernel/shmall"
        | "kernel/shmmax"
        | "kernel/shmmni"
        | "kernel/shm_rmid_forced" => Ok(LinuxNamespaceType::Ipc),
        "kernel/domainname" => Ok(LinuxNamespaceType::Uts),
        "kernel/hostname" => Err(Problem::UseHostname),
        _ if file.starts_with("fs/mqueue/") => Ok(LinuxNamespaceType::Ipc),
        _ if file.starts_with("net/") => Ok(LinuxNamespaceType::Network),
        _ if file.starts_with("user/") => Ok(LinuxNamespaceType::User),
        _ => Err(Problem::NotNamespaced),
    }
}

fn devices_are_sound(spec: &Spec) -> Result<(), SpecError> {
    in_linux(spec, |linux| {
        let mut seen: HashMap<_, (usize, &LinuxDevice)> = HashMap::new();
        for (index, device) in linux.devices().iter().flatten().enumerate() {
            device_is_sound(index, device)?;
            let Some((first, earlier)) = seen.insert(clean_in_root(device.path()), (index, device)) else {
                continue;
            };
            // Device plugins name the same device twice; that is harmless, two devices of one name are not.
            let node = |device: &LinuxDevice| (device.typ(), device.major(), device.minor());
            require(node(earlier) == node(device), || {
                let path = device.path().display().to_string();
                let first = format!("linux.devices[{first}]");
                (format!("linux.devices[{index}].path"), Problem::OtherDevice { path, first })
            })?;
        }
        Ok(())
    })
}

/// The kernel's `dev_t` has 12 bits for the major and 20 for the minor number.
fn device_is_sound(index: usize, device: &LinuxDevice) -> Result<(), SpecError> {
    let field = |name: &str| format!("linux.devices[{index}].{name}");
    // A relative path counts from the root, as with runc.
    require(!device.path().as_os_str().is_empty(), || (field("path"), Problem::Empty))?;
    require(clean_in_root(device.path()) != Path::new("/"), || {
        (field("path"), Problem::MountOnRoot { found: device.path().display().to_string() })
    })?;
    require(device.typ() != LinuxDeviceType::A, || {
        (field("type"), Problem::OneOf { expected: "c, b, u, p", found: device.typ().as_str().to_owned() })
    })?;
    if device.typ() != LinuxDeviceType::P {
        in_range(device.major(), 0, (1 << 12) - 1, || field("major"))?;
        in_range(device.minor(), 0, (1 << 20) - 1, || field("minor"))?;
    }
    // Engines pass st_mode with its type bits.
    in_range(device.file_mode().unwrap_or(0), 0, 0o17_7777, || field("fileMode"))
}

fn masked_paths_are_given(spec: &Spec) -> Result<(), SpecError> {
    in_linux(spec, |linux| all_given("linux.maskedPaths", linux.masked_paths()))
}

fn readonly_paths_are_given(spec: &Spec) -> Result<(), SpecError> {
    in_linux(spec, |linux| all_given("linux.readonlyPaths", linux.readonly_paths()))
}

fn seccomp_rules_are_sound(spec: &Spec) -> Result<(), SpecError> {
    in_seccomp(spec, |seccomp| {
        for (index, syscall) in seccomp.syscalls().iter().flatten().enumerate() {
            let field = |rest: &str| format!("linux.seccomp.syscalls[{index}].{rest}");
            require(!syscall.names().is_empty(), || (field("names"), Problem::Empty))?;
            for (nth, name) in syscall.names().iter().enumerate() {
                require(!name.is_empty(), || (field(&format!("names[{nth}]")), Problem::Empty))?;
            }
            for (nth, arg) in syscall.args().iter().flatten().enumerate() {
                let number = i64::try_from(arg.index()).unwrap_or(i64::MAX);
                in_range(number, 0, 5, || field(&format!("args[{nth}].index")))?;
            }
        }
        Ok(())
    })
}

/// runc: notify can be neither the default nor the action of `write`, with which the runtime itself would
/// wait for the agent forever. A listener that nothing notifies is ignored, says the spec.
fn seccomp_notify_is_sound(spec: &Spec) -> Result<(), SpecError> {
    in_seccomp(spec, |seccomp| {
        let notify = LinuxSeccompAction::ScmpActNotify;
        require(seccomp.default_action() != notify, || {
            ("linux.seccomp.defaultAction".into(), Problem::NotifyByDefault)
        })?;
        let receiver = annotation(spec, annotations::SECCOMP_RECEIVER).unwrap_or_default();
        let path = seccomp.listener_path().as_ref().is_some_and(|path| !path.as_os_str().is_empty());
        let listener = path || !receiver.is_empty();
        for (index, syscall) in seccomp.syscalls().iter().flatten().enumerate() {
            if syscall.action() != notify {
                continue;
            }
            let field = || format!("linux.seccomp.syscalls[{index}].action");
            require(!syscall.names().iter().any(|name| name == "write"), || (field(), Problem::NotifyWrite))?;
            require(listener, || (field(), Problem::NotifyWithoutListener))?;
            if !path {
                absolute(Path::new(receiver), || {
                    strings::entry("annotations", annotations::SECCOMP_RECEIVER)
                })?;
            }
        }
        let metadata = seccomp.listener_metadata().as_ref().is_some_and(|metadata| !metadata.is_empty());
        require(listener || !metadata, || {
            ("linux.seccomp.listenerMetadata".into(), Problem::MetadataWithoutListener)
        })
    })
}

/// It is the name of a directory in resctrl; `/` is resctrl's root.
fn clos_id_is_a_name(spec: &Spec) -> Result<(), SpecError> {
    in_linux(spec, |linux| {
        let name = linux.intel_rdt().as_ref().and_then(|rdt| rdt.clos_id().as_deref()).unwrap_or_default();
        require(name == "/" || !(name.contains('/') || matches!(name, "." | "..")), || {
            ("linux.intelRdt.closID".into(), Problem::NotAClosId { found: shorten(name, 64) })
        })
    })
}

// The words in which the rules are written.

fn in_process(spec: &Spec, rule: impl FnOnce(&Process) -> Result<(), SpecError>) -> Result<(), SpecError> {
    spec.process().as_ref().map_or(Ok(()), rule)
}

fn in_linux(spec: &Spec, rule: impl FnOnce(&Linux) -> Result<(), SpecError>) -> Result<(), SpecError> {
    spec.linux().as_ref().map_or(Ok(()), rule)
}

fn in_seccomp(
    spec: &Spec,
    rule: impl FnOnce(&LinuxSeccomp) -> Result<(), SpecError>,
) -> Result<(), SpecError> {
    in_linux(spec, |linux| linux.seccomp().as_ref().map_or(Ok(()), rule))
}

fn require(sound: bool, broken: impl FnOnce() -> (String, Problem)) -> Result<(), SpecError> {
    if sound {
        return Ok(());
    }
    let (field, problem) = broken();
    Err(SpecError::invalid(field, problem))
}

fn in_range(
    found: impl Into<i128>,
    min: i64,
    max: i64,
    field: impl FnOnce() -> String,
) -> Result<(), SpecError> {
    let found = found.into();
    let sound = (i128::from(min)..=i128::from(max)).contains(&found);
    require(sound, || (field(), Problem::Range { min, max, found }))
}

/// runc: a relative path counts from the root.
fn all_given(field: &str, paths: &Option<Vec<String>>) -> Result<(), SpecError> {
    let mut paths = paths.iter().flatten().enumerate();
    paths.try_for_each(|(index, path)| {
        require(!path.is_empty(), || (format!("{field}[{index}]"), Problem::Empty))
    })
}

fn absolute(path: &Path, field: impl Fn() -> String) -> Result<(), SpecError> {
    require(!path.as_os_str().is_empty(), || (field(), Problem::Empty))?;
    require(path.is_absolute(), || {
        (field(), Problem::NotAbsolute { found: shorten(&path.display().to_string(), 128) })
    })
}

fn is_assignment(text: &str, field: impl FnOnce() -> String) -> Result<(), SpecError> {
    require(text.find('=').is_some_and(|at| at > 0), || {
        (field(), Problem::NotAnAssignment { found: shorten(text, 64) })
    })
}

fn needs_namespace(
    spec: &Spec,
    typ: LinuxNamespaceType,
    field: impl FnOnce() -> String,
) -> Result<(), SpecError> {
    require(namespace(spec, typ).is_some(), || (field(), Problem::NeedsNamespace { typ }))
}

#[cfg(test)]
mod tests;
