//! The process (`process`): limits, user, capabilities, filter, program.
//!
//! Stage: plan; the steps run inside, after `pivot_root(2)`, or after the namespaces of a container that runs
//! have been joined. The order is a matter of privilege: what needs capabilities comes before they are
//! dropped, the filter comes as late as it can, and after the filter hardly a call is made. Spec:
//! config.md#process. Attacker: owns the rootfs (its programs, its `/etc/passwd`).

use std::collections::{BTreeSet, HashSet};
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use corten_init::{
    CallersGroups, CapabilitySet, FilterFlags, Ids, Mode, Namespaces, OwnedStep as Step, Ranges, Resource,
    Slots, Strings, SyncPoint,
};

use crate::oci::{Capability, PosixRlimit, PosixRlimitType, Process};
use crate::seccomp::{Call, Filter};
use crate::spec::annotations;
use crate::state::NOTIFY_SOCKET;

use super::build::{self, annotation_item, item_at};
use super::builder::{Builder, slot};
use super::decisions::{Appearance, SeccompFilter};
use super::paths::{block, path_in_root, text};
use super::phases::{HostPhase, InsidePhase};
use super::{Facts, HostStep, PlanError, PreservedFds, cgroups, exec as joining, hooks, kernel, mounts};

/// Adds the steps that turn init into the process.
pub(super) fn exec_process(b: &mut Builder<'_>, process: &Process) -> Result<(), PlanError> {
    let environment = environment(b, process);
    let sets = capabilities(b, process);
    stdio_and_home(b, process, &environment)?;
    close_files(b);
    own_limits(b, process)?;
    scheduling(b, process)?;
    b.inside(
        InsidePhase::BoundingSet,
        c"process.user.umask",
        Step::Umask { mask: Mode(process.user().umask().unwrap_or(0o022)) },
    );
    b.inside(
        InsidePhase::BoundingSet,
        c"process.capabilities.bounding",
        Step::BoundingSet { keep: CapabilitySet(sets.bounding) },
    );
    change_user(b, process)?;
    // Before the search: it must find what execve(2) will, which checks with these (docs/adr/0003).
    let keeps_one = b.facts.seccomp.is_some() && !no_new_privileges(process);
    if keeps_one {
        give_up_all_but_one(b, sets);
    } else {
        give_up_capabilities(b, InsidePhase::Capabilities, sets);
    }
    late_working_directory(b, process)?;
    find_program(b, process, &environment)?;
    if no_new_privileges(process) {
        b.inside(InsidePhase::NoNewPrivileges, c"process.noNewPrivileges", Step::NoNewPrivileges {});
    }
    load_filter(b, process)?;
    if keeps_one {
        give_up_capabilities(b, InsidePhase::EarlyFilter, sets);
    }
    appear(b, process)?;
    wait(b)?;
    hooks::start(b, &environment)?;
    if process.args().as_ref().is_some_and(|arguments| !arguments.is_empty()) {
        b.inside(InsidePhase::Announce, c"process.args", Step::Announce {});
    }
    exec(b, process, &environment)
}

fn stdio_and_home(b: &mut Builder<'_>, process: &Process, environment: &[String]) -> Result<(), PlanError> {
    let uid = process.user().uid();
    // These open files of the container's root.
    cgroups::await_filter(b);
    let reads_home = !environment.iter().any(|variable| variable.starts_with("HOME="));
    let kept = b.ledger.kept.iter().find(|(kept, _)| kept == "/proc").map(|(_, slot)| *slot);
    let proc = match kept {
        Some(proc) => Some(proc),
        // That of a container that runs is the container's to change.
        None if b.joins.is_some() && reads_home => {
            let proc = b.new_source()?;
            b.host(HostPhase::Open, c"process.env", HostStep::OpenHostProc { slot: proc });
            Some(proc)
        }
        None => None,
    };
    if reads_home {
        b.inside(InsidePhase::Stdio, c"process.env", Step::HomeFromPasswd { uid, proc });
    }
    // Not for one that joins: its stdio is nobody's but its own (runc).
    let own = b.joins.is_none() && b.has_mount_namespace() && b.decisions.own_dev;
    let dev = own.then(|| b.ledger.dev.unwrap_or(slot::ROOT));
    b.inside(InsidePhase::Stdio, c"process.user", Step::OwnStdio { uid, dev, proc });
    Ok(())
}

fn close_files(b: &mut Builder<'_>) {
    let mut kept = hooks::kept_slots(b);
    if b.request.wait_for_start {
        kept.push(slot::LISTENER);
    }
    let slots = Slots::new(kept);
    let PreservedFds { span, gaps } = &b.facts.preserved_fds;
    let gaps = Ranges::new(gaps);
    b.inside(InsidePhase::CloseFiles, c"runtime", Step::CloseFiles { keep: *span, gaps, slots });
}

/// The limits, where the runtime does not set them.
fn own_limits(b: &mut Builder<'_>, process: &Process) -> Result<(), PlanError> {
    if b.outranks_init() {
        return Ok(());
    }
    let appears_last = b.decisions.appearance == Some(Appearance::Last);
    for Limit { item, resource, soft, hard } in limits(process)? {
        if !(appears_last && resource == PROCESSES) {
            b.inside(
                InsidePhase::Limits,
                item,
                Step::ResourceLimit { resource: Resource(resource), soft, hard },
            );
        } else if may_grant(b, Capability::SysResource) {
            // For a moment the process is two. From here it can be lowered without privileges.
            let room = hard.saturating_add(1);
            b.inside(
                InsidePhase::Limits,
                item,
                Step::ResourceLimit { resource: Resource(resource), soft: room, hard: room },
            );
        }
    }
    Ok(())
}

/// Makes the process that stays, in the PID namespace that it joins.
fn appear(b: &mut Builder<'_>, process: &Process) -> Result<(), PlanError> {
    if b.decisions.appearance != Some(Appearance::Last) {
        return Ok(());
    }
    let phases = (HostPhase::LastClone, InsidePhase::LastClone);
    b.clone_again(phases, c"linux.namespaces", Step::CloneAgain { flags: Namespaces::NONE });
    cgroups::join_last(b, phases);
    joining::session(b, InsidePhase::LastClone, process);
    for Limit { item, resource, soft, hard } in limits(process)? {
        if resource == PROCESSES {
            b.inside(
                InsidePhase::LastClone,
                item,
                Step::ResourceLimit { resource: Resource(resource), soft, hard },
            );
        }
    }
    Ok(())
}

/// The user, and the working directory before: only root may be able to enter it.
fn change_user(b: &mut Builder<'_>, process: &Process) -> Result<(), PlanError> {
    let user = process.user();
    let path = path_in_root("process.cwd", process.cwd())?;
    b.inside(InsidePhase::User, c"process.cwd", Step::WorkingDirectory { path, late: false });
    let groups = Ids::new(user.additional_gids().iter().flatten().copied());
    let keep_groups = callers_groups(b);
    b.inside(
        InsidePhase::User,
        c"process.user",
        Step::User { uid: user.uid(), gid: user.gid(), groups, keep_groups },
    );
    Ok(())
}

/// The working directory again: only the user may be able to enter it.
fn late_working_directory(b: &mut Builder<'_>, process: &Process) -> Result<(), PlanError> {
    let path = path_in_root("process.cwd", process.cwd())?;
    b.inside(InsidePhase::Program, c"process.cwd", Step::WorkingDirectory { path, late: true });
    Ok(())
}

fn find_program(b: &mut Builder<'_>, process: &Process, environment: &[String]) -> Result<(), PlanError> {
    let Some(name) = process.args().as_ref().and_then(|arguments| arguments.first()) else { return Ok(()) };
    let name = text("process.args[0]", name.as_str())?;
    let search = environment.iter().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or("");
    b.inside(
        InsidePhase::Program,
        c"process.args[0]",
        Step::FindProgram { name, search: text("process.env", search)? },
    );
    Ok(())
}

pub(super) fn no_new_privileges(process: &Process) -> bool {
    process.no_new_privileges().unwrap_or(false)
}

fn load_filter(b: &mut Builder<'_>, process: &Process) -> Result<(), PlanError> {
    let Some(filter) = &b.facts.seccomp else { return Ok(()) };
    let phase = match b.decisions.seccomp {
        SeccompFilter::None => return Ok(()),
        SeccompFilter::Early => InsidePhase::EarlyFilter,
        SeccompFilter::BeforeHooks => InsidePhase::StartHooks,
        SeccompFilter::Last => InsidePhase::LastFilter,
    };
    let (flags, program) = (FilterFlags(filter.flags), corten_init::Filter(filter.program.clone()));
    let (privileged, notify) = (!no_new_privileges(process), filter.notify);
    b.inside(phase, c"linux.seccomp", Step::Seccomp { flags, program, privileged, notify });
    if let Some((item, path)) = seccomp_listener(b)? {
        let seccomp = b.spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
        let metadata = seccomp.and_then(|seccomp| seccomp.listener_metadata().clone());
        b.host(HostPhase::Listener, item, HostStep::SendSeccompListener { path, metadata });
    }
    Ok(())
}

/// The final sets, but that the filter can still be loaded: that takes CAP_SYS_ADMIN, which is permitted and
/// not effective.
fn give_up_all_but_one(b: &mut Builder<'_>, sets: CapabilitySets) {
    let CapabilitySets { effective, inheritable, .. } = sets;
    let permitted = sets.permitted | 1 << caps::Capability::CAP_SYS_ADMIN.index();
    set_capabilities(b, InsidePhase::Capabilities, [effective, permitted, inheritable]);
}

fn give_up_capabilities(b: &mut Builder<'_>, phase: InsidePhase, sets: CapabilitySets) {
    let CapabilitySets { effective, permitted, inheritable, ambient, .. } = sets;
    set_capabilities(b, phase, [effective, permitted, inheritable]);
    if ambient != 0 {
        b.inside(
            phase,
            c"process.capabilities.ambient",
            Step::AmbientCapabilities { set: CapabilitySet(ambient) },
        );
    }
}

fn set_capabilities(b: &mut Builder<'_>, phase: InsidePhase, sets: [u64; 3]) {
    let [effective, permitted, inheritable] = sets.map(CapabilitySet);
    b.inside(phase, c"process.capabilities", Step::Capabilities { effective, permitted, inheritable });
}

/// Until the runtime has done its half, and until `start`.
fn wait(b: &mut Builder<'_>) -> Result<(), PlanError> {
    b.rendezvous(SyncPoint::Ready, (HostPhase::Ready, InsidePhase::Ready), c"runtime", build::show)?;
    if b.request.wait_for_start {
        b.inside(InsidePhase::Ready, c"runtime", Step::WaitForStart { listener: slot::LISTENER });
    }
    Ok(())
}

fn exec(b: &mut Builder<'_>, process: &Process, environment: &[String]) -> Result<(), PlanError> {
    let arguments = process.args().as_deref().unwrap_or_default();
    if arguments.is_empty() {
        b.inside(InsidePhase::Exec, c"process", Step::End {});
        return Ok(());
    }
    let exec = Step::Exec {
        arguments: Strings(block("process.args", arguments.iter().map(String::as_str))?),
        environment: Strings(block("process.env", environment.iter().map(String::as_str))?),
    };
    b.inside(InsidePhase::Exec, c"process.args", exec);
    Ok(())
}

/// Where the listener of the filter goes, and which config item says so: the config's path, or crun's
/// annotation.
fn seccomp_listener(b: &Builder<'_>) -> Result<Option<(CString, PathBuf)>, PlanError> {
    let notifies = b.facts.seccomp.as_ref().is_some_and(|filter| filter.notify);
    let seccomp = b.spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    let Some(seccomp) = seccomp.filter(|_| notifies) else { return Ok(None) };
    if let Some(path) = seccomp.listener_path().clone().filter(|path| !path.as_os_str().is_empty()) {
        return Ok(Some((c"linux.seccomp.listenerPath".into(), path)));
    }
    let Some(path) = b.annotation(annotations::SECCOMP_RECEIVER) else { return Ok(None) };
    Ok(Some((annotation_item(annotations::SECCOMP_RECEIVER)?, path.into())))
}

/// Whether the caller's supplementary groups stay: asked for (crun's annotation), or where the kernel may
/// deny the change.
pub(super) fn callers_groups(b: &Builder<'_>) -> CallersGroups {
    match annotations::switch(b.spec, annotations::KEEP_GROUPS) {
        Some(false) => CallersGroups::Replaced,
        Some(true) => CallersGroups::Kept,
        None if b.decisions.in_user_namespace() || b.facts.rootless => CallersGroups::KeptIfDenied,
        None => CallersGroups::Replaced,
    }
}

/// Whether the process can be made outside of the PID namespace that it joins, and enter that one last. Not
/// if it is then no longer what it has become: a scheduling policy may not pass to children; nor if the
/// filter, which is in force by then, does not let it clone itself, or its directory or program is named by
/// way of the process.
pub(super) fn can_appear_last(facts: &Facts, process: &Process, place: SeccompFilter) -> bool {
    let clones = |filter: &Filter| !filter.notify && AFTER_FILTER.iter().all(|call| filter.allows(*call));
    let filtered = place == SeccompFilter::Early && !facts.seccomp.as_ref().is_none_or(clones);
    // `/proc/self` is nothing in the container's procfs until the process is in its PID namespace.
    let is_of_process = |path: &Path| path.starts_with("/proc") || path.starts_with("/dev");
    let program = process.args().iter().flatten().next();
    let names_itself =
        is_of_process(process.cwd()) || program.is_some_and(|program| is_of_process(Path::new(program)));
    process.scheduler().is_none() && !names_itself && !filtered
}

/// What init calls after a filter that it loads before it gives up its capabilities, to clone itself and to
/// begin a session.
const AFTER_FILTER: [Call; 10] = [
    (libc::SYS_pipe2, [0; 6]),
    (
        libc::SYS_clone,
        [(libc::CLONE_PARENT | libc::CLONE_PIDFD | libc::SIGCHLD).cast_unsigned() as u64, 0, 0, 0, 0, 0],
    ),
    (libc::SYS_sendmsg, [0; 6]),
    (libc::SYS_close, [0; 6]),
    (libc::SYS_exit_group, [0; 6]),
    (libc::SYS_read, [0; 6]),
    (libc::SYS_write, [0; 6]),
    (libc::SYS_setsid, [0; 6]),
    (libc::SYS_prlimit64, [0; 6]),
    (libc::SYS_ioctl, [0, SET_CONTROLLING_TERMINAL, 0, 0, 0, 0]),
];

/// `TIOCSCTTY`, whose type differs between C libraries.
#[allow(clippy::unnecessary_cast, reason = "it is necessary with musl")]
const SET_CONTROLLING_TERMINAL: u64 = libc::TIOCSCTTY as u64;

/// `RLIMIT_NPROC`, as in [`Limit`].
const PROCESSES: u64 = libc::RLIMIT_NPROC as u64;

/// A resource limit, with its config item.
pub(super) struct Limit {
    pub(super) item: CString,
    /// `RLIMIT_*`.
    pub(super) resource: u64,
    pub(super) soft: u64,
    pub(super) hard: u64,
}

/// The limits of the config.
pub(super) fn limits(process: &Process) -> Result<Vec<Limit>, PlanError> {
    let limits = process.rlimits().iter().flatten().enumerate();
    let limit = |(at, limit): (usize, &PosixRlimit)| {
        let resource = resource_number(limit.typ());
        Ok(Limit { item: item_at("process.rlimits", at)?, resource, soft: limit.soft(), hard: limit.hard() })
    };
    limits.map(limit).collect()
}

/// CPUs, scheduler, I/O priority, execution domain, memory policy: with all privileges, before the change of
/// user.
fn scheduling(b: &mut Builder<'_>, process: &Process) -> Result<(), PlanError> {
    match final_affinity(b, process) {
        Some(cpus) => {
            let cpus = kernel::mask("process.execCPUAffinity.final", cpus)?;
            b.inside(InsidePhase::Limits, c"process.execCPUAffinity.final", Step::Affinity { cpus });
        }
        None => b.inside(InsidePhase::Limits, c"runtime", Step::ResetAffinity {}),
    }
    if let Some(scheduler) = process.scheduler() {
        b.inside(InsidePhase::Limits, c"process.scheduler", kernel::scheduler(scheduler));
    }
    if let Some(priority) = process.io_priority() {
        b.inside(
            InsidePhase::Limits,
            c"process.ioPriority",
            Step::IoPriority { value: kernel::io_priority(priority) },
        );
    }
    let Some(linux) = b.spec.linux().as_ref() else { return Ok(()) };
    if let Some(personality) = linux.personality() {
        let persona = kernel::personality(personality.domain());
        b.inside(InsidePhase::Limits, c"linux.personality", Step::Personality { persona });
    }
    if let Some(policy) = linux.memory_policy() {
        let (mode, nodes) = kernel::memory_policy(policy)?;
        b.inside(InsidePhase::Limits, c"linux.memoryPolicy", Step::MemoryPolicy { mode, nodes });
    }
    Ok(())
}

/// The CPUs of a process that joins the container (config.md: `execCPUAffinity` is for those alone).
fn final_affinity<'p>(b: &Builder<'_>, process: &'p Process) -> Option<&'p str> {
    let affinity = process.exec_cpu_affinity().as_ref().filter(|_| b.joins.is_some())?;
    affinity.cpu_affinity_final().as_deref().filter(|cpus| !cpus.is_empty())
}

fn resource_number(kind: PosixRlimitType) -> u64 {
    let number = match kind {
        PosixRlimitType::RlimitCpu => libc::RLIMIT_CPU,
        PosixRlimitType::RlimitFsize => libc::RLIMIT_FSIZE,
        PosixRlimitType::RlimitData => libc::RLIMIT_DATA,
        PosixRlimitType::RlimitStack => libc::RLIMIT_STACK,
        PosixRlimitType::RlimitCore => libc::RLIMIT_CORE,
        PosixRlimitType::RlimitRss => libc::RLIMIT_RSS,
        PosixRlimitType::RlimitNproc => libc::RLIMIT_NPROC,
        PosixRlimitType::RlimitNofile => libc::RLIMIT_NOFILE,
        PosixRlimitType::RlimitMemlock => libc::RLIMIT_MEMLOCK,
        PosixRlimitType::RlimitAs => libc::RLIMIT_AS,
        PosixRlimitType::RlimitLocks => libc::RLIMIT_LOCKS,
        PosixRlimitType::RlimitSigpending => libc::RLIMIT_SIGPENDING,
        PosixRlimitType::RlimitMsgqueue => libc::RLIMIT_MSGQUEUE,
        PosixRlimitType::RlimitNice => libc::RLIMIT_NICE,
        PosixRlimitType::RlimitRtprio => libc::RLIMIT_RTPRIO,
        PosixRlimitType::RlimitRttime => libc::RLIMIT_RTTIME,
    };
    // u32 with glibc, i32 with musl.
    number as u64
}

/// What the process is told of the sockets that it gets from a service manager.
fn sockets(b: &Builder<'_>) -> Vec<String> {
    let mut variables = Vec::new();
    if b.facts.notify_directory.is_some() {
        variables.push(format!("NOTIFY_SOCKET={}/{NOTIFY_SOCKET}", mounts::NOTIFY_DIRECTORY));
    }
    if b.request.options.listen_fds > 0 {
        // runc: as if there were a new PID namespace always.
        variables.extend([format!("LISTEN_FDS={}", b.request.options.listen_fds), "LISTEN_PID=1".to_owned()]);
    }
    variables
}

/// The environment: the config's, of several entries of one name the last (runc), then what the runtime adds.
fn environment(b: &Builder<'_>, process: &Process) -> Vec<String> {
    let name = |variable: &str| variable.split_once('=').map_or(variable, |(name, _)| name).to_owned();
    let listed: Vec<String> = process.env().iter().flatten().cloned().chain(sockets(b)).collect();
    let mut seen = HashSet::new();
    let mut kept: Vec<String> =
        listed.into_iter().rev().filter(|variable| seen.insert(name(variable))).collect();
    kept.reverse();
    // runc: an empty home is none (opencontainers/runc#4704). Docker counts on it.
    kept.retain(|variable| variable != "HOME=");
    kept
}

#[derive(Debug, Clone, Copy, Default)]
struct CapabilitySets {
    bounding: u64,
    effective: u64,
    permitted: u64,
    inheritable: u64,
    ambient: u64,
}

/// The capability sets as bits. A process without `capabilities` has none, as with runc.
fn capabilities(b: &Builder<'_>, process: &Process) -> CapabilitySets {
    let Some(listed) = process.capabilities().as_ref() else { return CapabilitySets::default() };
    let bits = |set: &Option<crate::oci::Capabilities>| {
        let granted = set.iter().flatten().filter(|one| may_grant(b, **one));
        granted.fold(0, |all, one| all | 1 << number(*one))
    };
    CapabilitySets {
        bounding: bits(listed.bounding()),
        effective: bits(listed.effective()),
        permitted: bits(listed.permitted()),
        inheritable: bits(listed.inheritable()),
        // The kernel takes an ambient capability only if it is permitted and inheritable (capabilities(7));
        // others are left out without an error, as runc does: `runc spec` itself writes them.
        ambient: bits(listed.ambient()) & bits(listed.permitted()) & bits(listed.inheritable()),
    }
}

/// Whether the process can have a capability: in a user namespace of its own each, else those that the
/// runtime has. A runtime without privileges that is to make no user namespace fails before it comes to
/// capabilities.
fn may_grant(b: &Builder<'_>, capability: Capability) -> bool {
    b.decisions.in_user_namespace()
        || !b.facts.privileged
        || b.facts.capabilities & 1 << number(capability) != 0
}

/// Says which capabilities are left out (config.md#linux-process: that is no error).
pub(super) fn warn_of_capabilities(b: &mut Builder<'_>, process: &Process) {
    let Some(listed) = process.capabilities().as_ref() else { return };
    let sets =
        [listed.bounding(), listed.effective(), listed.permitted(), listed.inheritable(), listed.ambient()];
    let missing = sets.into_iter().flatten().flatten().filter(|one| !may_grant(b, **one));
    let missing: BTreeSet<String> = missing.map(|one| format!("CAP_{one}")).collect();
    for name in missing {
        b.warnings.push(format!(
            "process.capabilities: {name} is left out, as the runtime itself does not have it"
        ));
    }
    let has = |set: &Option<HashSet<Capability>>, one| set.iter().flatten().any(|other| *other == one);
    let bare = |one: &&Capability| !has(listed.permitted(), **one) || !has(listed.inheritable(), **one);
    let bare: BTreeSet<String> =
        listed.ambient().iter().flatten().filter(bare).map(|one| format!("CAP_{one}")).collect();
    for name in bare {
        b.warnings.push(format!(
            "process.capabilities.ambient: {name} is left out, as it is not both permitted and inheritable"
        ));
    }
}

/// The kernel's number of a capability, by the name that runtime-spec and the kernel share.
fn number(capability: Capability) -> u8 {
    caps::Capability::from_str(&format!("CAP_{capability}")).map_or(63, |capability| capability.index())
}
