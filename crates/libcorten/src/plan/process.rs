//! The process (`process`): limits, user, capabilities, filter, program.
//!
//! Stage: plan; the steps run inside, after `pivot_root(2)`. The order is a matter of privilege: what needs capabilities comes
//! before they are dropped, the filter comes as late as it can, and after the filter hardly a call is made.
//! Spec: config.md#process. Attacker: owns the rootfs (its programs, its `/etc/passwd`).

use std::collections::HashSet;
use std::ffi::CString;
use std::str::FromStr;

use corten_init::{OwnedStep as Step, SyncPoint};

use crate::oci::{Capability, PosixRlimitType, Process};

use super::build::{Builder, item_at, slot};
use super::paths::{block, path_in_root, text};
use super::{PlanError, hooks, kernel};

/// Adds the steps that turn init into the process.
pub(super) fn become_it(b: &mut Builder<'_>, process: &Process) -> Result<(), PlanError> {
    let user = process.user();
    let keep = u64::from(b.request.options.preserve_fds);
    let environment = environment(process);
    let home = environment.iter().any(|variable| variable.starts_with("HOME="));
    if !home {
        b.inside(c"process.env", Step::HomeFromPasswd { uid: user.uid().into() });
    }
    b.inside(c"process.user", Step::OwnStdio { uid: user.uid().into() });
    let mut kept = hooks::kept_slots(b);
    if b.request.wait_for_start {
        kept.push(slot::LISTENER);
    }
    let slots = kept.into_iter().flat_map(|slot| slot.0.to_le_bytes()).collect();
    b.inside(c"runtime", Step::CloseFiles { keep, slots });
    if !(b.in_user_namespace() && b.facts.privileged) {
        for (item, resource, soft, hard) in limits(process)? {
            b.inside(item, Step::ResourceLimit { resource, soft, hard });
        }
    }
    scheduling(b, process)?;
    b.inside(c"process.user.umask", Step::Umask { mask: user.umask().unwrap_or(0o022).into() });
    b.inside(c"process.capabilities.bounding", Step::BoundingSet { keep: capabilities(process).bounding });
    let cwd = path_in_root("process.cwd", process.cwd())?;
    b.inside(c"process.cwd", Step::WorkingDirectory { path: cwd.clone(), late: 0 });
    let groups = user.additional_gids().iter().flatten().flat_map(|gid| gid.to_ne_bytes()).collect();
    let keep_groups = keep_groups(b);
    b.inside(c"process.user", Step::User { uid: user.uid().into(), gid: user.gid().into(), groups, keep_groups });
    b.inside(c"process.cwd", Step::WorkingDirectory { path: cwd, late: 1 });
    let arguments = process.args().as_deref().unwrap_or_default();
    if let Some(name) = arguments.first() {
        let name = text("process.args[0]", name.as_str())?;
        let search = environment.iter().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or("");
        b.inside(c"process.args[0]", Step::FindProgram { name, search: text("process.env", search)? });
    }
    let no_new_privileges = process.no_new_privileges().unwrap_or(false);
    if no_new_privileges {
        b.inside(c"process.noNewPrivileges", Step::NoNewPrivileges {});
    }
    // With a listener the runtime must still be there to hand it on.
    let early_filter = !no_new_privileges || b.facts.seccomp.as_ref().is_some_and(|filter| filter.notify);
    if early_filter {
        filter(b, !no_new_privileges);
    }
    let sets = capabilities(process);
    let (effective, permitted, inheritable) = (sets.effective, sets.permitted, sets.inheritable);
    b.inside(c"process.capabilities", Step::Capabilities { effective, permitted, inheritable });
    if sets.ambient != 0 {
        b.inside(c"process.capabilities.ambient", Step::AmbientCapabilities { set: sets.ambient });
    }
    b.inside(c"runtime", Step::Sync { point: SyncPoint::Ready.to_number().into() });
    if b.request.wait_for_start {
        b.inside(c"runtime", Step::WaitForStart { listener: slot::LISTENER });
    }
    // The hooks may do what the process may, and no more.
    let filter_before_hooks = !early_filter && hooks::has_start(b);
    if filter_before_hooks {
        filter(b, false);
    }
    hooks::start(b, &environment)?;
    if !(early_filter || filter_before_hooks) {
        filter(b, false);
    }
    if arguments.is_empty() {
        b.inside(c"process", Step::End {});
        return Ok(());
    }
    let exec = Step::Exec {
        arguments: block("process.args", arguments.iter().map(String::as_str))?,
        environment: block("process.env", environment.iter().map(String::as_str))?,
    };
    b.inside(c"process.args", exec);
    Ok(())
}

fn filter(b: &mut Builder<'_>, privileged: bool) {
    if let Some(filter) = &b.facts.seccomp {
        let (flags, program) = (filter.flags, filter.program.clone());
        let (privileged, notify) = (privileged.into(), filter.notify.into());
        b.inside(c"linux.seccomp", Step::Seccomp { flags, program, privileged, notify });
    }
}

/// Where the listener of the filter goes, and which config item says so: the config's path, or crun's annotation.
pub(super) fn seccomp_listener(b: &Builder<'_>) -> Option<(CString, std::path::PathBuf)> {
    b.facts.seccomp.as_ref().filter(|filter| filter.notify)?;
    let seccomp = b.spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref())?;
    let path = seccomp.listener_path().clone().filter(|path| !path.as_os_str().is_empty());
    path.map(|path| (c"linux.seccomp.listenerPath".into(), path)).or_else(|| {
        let path = b.annotation("run.oci.seccomp.receiver")?;
        Some((c"annotations[\"run.oci.seccomp.receiver\"]".into(), path.into()))
    })
}

/// Whether the caller's supplementary groups stay: asked for (crun's annotation), or where the kernel may deny the change.
fn keep_groups(b: &Builder<'_>) -> u64 {
    const SET: u64 = 0;
    const KEEP: u64 = 1;
    const KEEP_IF_DENIED: u64 = 2;
    match b.annotation("run.oci.keep_original_groups") {
        Some("0") => SET,
        Some(_) => KEEP,
        None if b.in_user_namespace() || b.facts.rootless => KEEP_IF_DENIED,
        None => SET,
    }
}

/// The limits: config item, resource, soft, hard.
pub(super) fn limits(process: &Process) -> Result<Vec<(CString, u64, u64, u64)>, PlanError> {
    let limits = process.rlimits().iter().flatten().enumerate();
    let number = |limit: &crate::oci::PosixRlimit| u64::from(resource_number(limit.typ()));
    limits.map(|(at, limit)| Ok((item_at("process.rlimits", at)?, number(limit), limit.soft(), limit.hard()))).collect()
}

/// CPUs, scheduler, I/O priority, execution domain, memory policy: with all privileges, before the change of user.
fn scheduling(b: &mut Builder<'_>, process: &Process) -> Result<(), PlanError> {
    b.inside(c"runtime", Step::ResetAffinity {});
    if let Some(scheduler) = process.scheduler() {
        b.inside(c"process.scheduler", kernel::scheduler(scheduler));
    }
    if let Some(priority) = process.io_priority() {
        b.inside(c"process.ioPriority", Step::IoPriority { value: kernel::io_priority(priority) });
    }
    let Some(linux) = b.spec.linux().as_ref() else { return Ok(()) };
    if let Some(personality) = linux.personality() {
        let persona = kernel::personality(personality.domain());
        b.inside(c"linux.personality", Step::Personality { persona });
    }
    if let Some(policy) = linux.memory_policy() {
        let (mode, nodes) = kernel::memory_policy(policy)?;
        b.inside(c"linux.memoryPolicy", Step::MemoryPolicy { mode, nodes });
    }
    Ok(())
}

fn resource_number(kind: PosixRlimitType) -> u32 {
    match kind {
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
    }
}

/// The environment: the config's, of several entries of one name the last (runc), then what the runtime adds.
fn environment(process: &Process) -> Vec<String> {
    let name = |variable: &str| variable.split_once('=').map_or(variable, |(name, _)| name).to_owned();
    let listed: &[String] = process.env().as_deref().unwrap_or_default();
    let mut seen = HashSet::new();
    let mut kept: Vec<String> = listed.iter().rev().filter(|variable| seen.insert(name(variable))).cloned().collect();
    kept.reverse();
    // runc: an empty home is none (opencontainers/runc#4704). Docker counts on it.
    kept.retain(|variable| variable != "HOME=");
    if process.terminal().unwrap_or(false) && !seen.contains("TERM") {
        // runc: a program on a terminal wants to know what kind.
        kept.push("TERM=xterm".to_owned());
    }
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
fn capabilities(process: &Process) -> CapabilitySets {
    let Some(listed) = process.capabilities().as_ref() else { return CapabilitySets::default() };
    let bits =
        |set: &Option<crate::oci::Capabilities>| set.iter().flatten().fold(0, |all, one| all | 1 << number(*one));
    CapabilitySets {
        bounding: bits(listed.bounding()),
        effective: bits(listed.effective()),
        permitted: bits(listed.permitted()),
        inheritable: bits(listed.inheritable()),
        // The kernel takes an ambient capability only if it is permitted and inheritable (capabilities(7)); others are left
        // out without an error, as runc does: `runc spec` itself writes them.
        ambient: bits(listed.ambient()) & bits(listed.permitted()) & bits(listed.inheritable()),
    }
}

/// The kernel's number of a capability, by the name that runtime-spec and the kernel share.
fn number(capability: Capability) -> u8 {
    caps::Capability::from_str(&format!("CAP_{capability}")).map_or(63, |capability| capability.index())
}
