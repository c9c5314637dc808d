//! One container, from top to bottom: each call adds the steps of its subject at their phases.

use std::ffi::{CStr, CString};
use std::path::Path;
use std::sync::LazyLock;

use corten_init::{OwnedStep as Step, Resource, Slot, SyncPoint};

use crate::oci::{LinuxNamespaceType, Process, ProcessBuilder, Spec};
use crate::request::Console;
use crate::seccomp;
use crate::spec::annotations::PIDFD_RECEIVER;
use crate::spec::{HookKind, sysctl_file};

use super::builder::{Builder, Meeting, slot};
use super::decisions::{Decisions, NetworkNamespace, Procfs, has_new, own_oom_score, writes_kernel_files};
use super::paths::{path_in_root, text};
use super::phases::{HostPhase, InsidePhase};
use super::{
    Facts, HostStep, PlanError, Request, cgroups, devices, hooks, mounts, namespaces, process, root,
};

/// What runs when the config has no process: nothing, as root.
static NO_PROCESS: LazyLock<Process> = LazyLock::new(|| {
    // Every field is set, so that there is nothing to fail.
    ProcessBuilder::default().cwd("/").args(Vec::new()).build().unwrap_or_default()
});

/// Works out what is done for a container, in order.
pub(super) fn container<'a>(
    spec: &'a Spec,
    request: &'a Request<'a>,
    facts: &'a Facts,
) -> Result<Builder<'a>, PlanError> {
    // config.md#process: required when `start` is called, not before.
    let process = match spec.process() {
        Some(process) => process,
        None if request.wait_for_start => &NO_PROCESS,
        None => return Err(PlanError::Missing { item: "process" }),
    };
    let decisions = Decisions::of_container(spec, request, facts, process);
    let mut builder = Builder::new(spec, request, facts, None, decisions);
    let b = &mut builder;
    warn(b, process);
    devices::warn(b);
    process::warn_of_capabilities(b, process);
    check_console(process, request)?;
    record(b);
    host_proc(b);
    let limits = cgroups::enter(b)?;
    oom_score(b)?;
    cgroups::make(b, &limits);
    root::make_template(b);
    namespaces::enter(b)?;
    begin(b);
    root::root(b)?;
    mounts::mounts(b)?;
    devices::devices(b)?;
    terminal(b, process)?;
    working_directory(b, process)?;
    namespaces::enter_network(b, InsidePhase::LateNetwork);
    hooks::create(b)?;
    mounts::late_readonly(b)?;
    root::change_root(b);
    names(b)?;
    kernel_files(b, process)?;
    keyring(b)?;
    hide(b)?;
    root::readonly_root(b);
    process::exec_process(b, process)?;
    listen(b);
    copy_stdio(b, process);
    restrict(b, process)?;
    after_ready(b);
    Ok(builder)
}

/// What is written down of the container, and what the state directory has for it.
fn record(b: &mut Builder<'_>) {
    b.host(HostPhase::Record, c"runtime", HostStep::RecordCreating);
    if b.facts.notify_directory.is_some() {
        b.host(HostPhase::Notify, mounts::NOTIFY_ITEM, HostStep::MakeNotifyDirectory);
    }
    b.host(HostPhase::Config, c"runtime", HostStep::RecordConfig);
    b.host(HostPhase::Prepare, c"runtime", HostStep::PrepareRecord);
}

/// What is passed over. Labels of a security module that the kernel has not got: crun leaves them out, too,
/// and engines rely on it.
pub(super) fn warn(b: &mut Builder<'_>, process: &Process) {
    let named = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
    let mount_label = b.spec.linux().as_ref().is_some_and(|linux| named(linux.mount_label()));
    let labels = [
        ("process.apparmorProfile", "AppArmor", named(process.apparmor_profile()) && !b.facts.apparmor),
        ("process.selinuxLabel", "SELinux", named(process.selinux_label()) && !b.facts.selinux),
        ("linux.mountLabel", "SELinux", mount_label && !b.facts.selinux),
    ];
    for (field, module, missing) in labels {
        if missing {
            b.warnings.push(format!("{field}: ignored, as {module} is not enabled in the kernel"));
        }
    }
    if let Some(profile) = b.spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref()) {
        b.warnings.extend(seccomp::not_in_force(profile));
    }
    if b.spec.process().is_none() {
        b.warnings.push("process: not given, so that there will be nothing to start".to_owned());
    }
}

pub(super) fn check_console(process: &Process, request: &Request<'_>) -> Result<(), PlanError> {
    match (process.terminal().unwrap_or(false), &request.options.console) {
        (true, Console::None) => Err(PlanError::NoConsole),
        (false, Console::Socket(_)) => Err(PlanError::NoTerminal),
        _ => Ok(()),
    }
}

/// The host's procfs, for init.
pub(super) fn host_proc(b: &mut Builder<'_>) {
    if b.decisions.procfs == Procfs::Hosts {
        b.host(HostPhase::Open, c"runtime", HostStep::OpenHostProc { slot: slot::PROC });
    }
}

/// The OOM score where the runtime cannot write it: by init, before anything else. The file is init's own
/// only as long as init is dumpable, which it must not be in namespaces that others are in; until then nobody
/// but the caller can look at it.
pub(super) fn oom_score(b: &mut Builder<'_>) -> Result<(), PlanError> {
    let Some(value) = own_oom_score(b.spec, b.facts) else { return Ok(()) };
    let item = c"process.oomScoreAdj";
    let (path, value) = (c"self/oom_score_adj".into(), text("process.oomScoreAdj", value.to_string())?);
    b.inside(InsidePhase::OomScore, item, Step::Dumpable { on: true });
    b.inside(InsidePhase::OomScore, item, Step::WriteOwn { proc: slot::PROC, path, value });
    b.inside(InsidePhase::OomScore, item, Step::Dumpable { on: false });
    Ok(())
}

/// The first steps in the new namespaces.
fn begin(b: &mut Builder<'_>) {
    if b.decisions.network_namespace == NetworkNamespace::ByInit {
        // runc: nobody else would, and everybody counts on it.
        b.inside(InsidePhase::Loopback, c"linux.namespaces", Step::Loopback {});
    }
    net_devices(b);
    if has_new(b.spec, LinuxNamespaceType::Cgroup) {
        b.inside(InsidePhase::CgroupNamespace, c"linux.namespaces", Step::UnshareCgroup {});
    }
    b.inside(InsidePhase::Session, c"runtime", Step::NewSession {});
}

/// Init waits while the runtime moves network devices into its namespace.
fn net_devices(b: &mut Builder<'_>) {
    let devices = b.net_devices();
    if devices.is_empty() {
        return;
    }
    namespaces::enter_network(b, InsidePhase::NetDevices);
    let (phases, item) = ((HostPhase::NetDevices, InsidePhase::NetDevices), c"linux.netDevices");
    b.rendezvous(SyncPoint::Network, phases, item, |meeting| {
        meeting.host(item, HostStep::MoveNetDevices { devices });
    });
}

/// The terminal: made in the container's devpts, its master handed to the runtime, its peer the container's
/// console.
fn terminal(b: &mut Builder<'_>, process: &Process) -> Result<(), PlanError> {
    if !process.terminal().unwrap_or(false) {
        return Ok(());
    }
    let item = c"process.terminal";
    let peer = slot::PEER;
    open_terminal(b, process);
    if b.decisions.own_dev {
        // What a link of the image puts there gets no console either.
        b.in_own_dev(InsidePhase::Terminal, item, console)?;
    } else {
        console(b)?;
    }
    b.inside(InsidePhase::Terminal, item, Step::TerminalAsStdio { peer });
    b.inside(InsidePhase::Terminal, item, Step::ControllingTerminal {});
    Ok(())
}

/// The terminal's peer becomes the console.
fn console(b: &mut Builder<'_>) -> Result<(), PlanError> {
    let item = c"process.terminal";
    b.inside(InsidePhase::Terminal, item, Step::CloneMount { from: slot::PEER, slot: slot::MOUNT });
    // A link that the image has there is covered, not followed (CVE-2025-52565).
    let target = corten_init::Target::LinkItself(slot::MOUNT);
    b.inside(
        InsidePhase::Terminal,
        item,
        Step::OpenTarget { path: c"/dev/console".into(), target, in_proc: false, slot: slot::TARGET },
    );
    b.inside(
        InsidePhase::Terminal,
        item,
        Step::MoveMount { mount: slot::MOUNT, target: slot::TARGET, keep: false },
    );
    Ok(())
}

/// A new terminal, whose master the runtime gets.
pub(super) fn open_terminal(b: &mut Builder<'_>, process: &Process) {
    let item = c"process.terminal";
    let (master, peer) = (slot::MASTER, slot::PEER);
    b.inside(InsidePhase::Terminal, item, Step::OpenTerminal { path: c"/dev/pts/ptmx".into(), master, peer });
    if let Some(size) = process.console_size() {
        let (rows, columns) = (size.height(), size.width());
        b.inside(InsidePhase::Terminal, c"process.consoleSize", Step::TerminalSize { master, rows, columns });
    }
    b.inside(InsidePhase::Terminal, item, Step::SendConsole { master });
    b.host(HostPhase::Console, item, HostStep::ReceiveConsole);
    b.host(HostPhase::HandOnConsole, item, HostStep::HandOnConsole);
}

fn working_directory(b: &mut Builder<'_>, process: &Process) -> Result<(), PlanError> {
    let path = path_in_root("process.cwd", process.cwd())?;
    if path.as_c_str() != c"/" {
        // runc: a missing working directory is made, for root, with mode 0755.
        b.inside(
            InsidePhase::WorkingDirectory,
            c"process.cwd",
            Step::MakeDirectory { path, mode: corten_init::Mode(0o755) },
        );
    }
    Ok(())
}

fn names(b: &mut Builder<'_>) -> Result<(), PlanError> {
    if let Some(name) = b.spec.hostname().as_deref().filter(|name| !name.is_empty()) {
        b.inside(InsidePhase::Names, c"hostname", Step::Hostname { name: text("hostname", name)? });
    }
    if let Some(name) = b.spec.domainname().as_deref().filter(|name| !name.is_empty()) {
        b.inside(InsidePhase::Names, c"domainname", Step::Domainname { name: text("domainname", name)? });
    }
    Ok(())
}

/// What is written to files of the kernel: parameters and labels.
pub(super) fn kernel_files(b: &mut Builder<'_>, process: &Process) -> Result<(), PlanError> {
    if !writes_kernel_files(b.spec, b.facts) {
        return Ok(());
    }
    let proc = slot::PROC;
    if b.decisions.procfs == Procfs::Own {
        b.inside(InsidePhase::KernelFiles, c"runtime", Step::OpenProc { slot: proc });
    }
    let own = |b: &mut Builder<'_>, item: &CStr, path: &CStr, value: CString| {
        b.inside(InsidePhase::KernelFiles, item, Step::WriteOwn { proc, path: path.into(), value });
    };
    // From the exec on: the labels are for the program, not for init. Only its keyring is made before.
    if let Some(profile) =
        process.apparmor_profile().as_deref().filter(|profile| !profile.is_empty() && b.facts.apparmor)
    {
        let value = text("process.apparmorProfile", format!("exec {profile}"))?;
        own(b, c"process.apparmorProfile", c"self/attr/apparmor/exec", value);
    }
    if let Some(label) =
        process.selinux_label().as_deref().filter(|label| !label.is_empty() && b.facts.selinux)
    {
        own(b, c"process.selinuxLabel", c"self/attr/exec", text("process.selinuxLabel", label)?);
        if !b.request.options.no_new_keyring {
            own(b, c"process.selinuxLabel", c"self/attr/keycreate", text("process.selinuxLabel", label)?);
        }
    }
    sysctls(b)?;
    b.inside(InsidePhase::KernelFiles, c"runtime", Step::Close { slot: proc });
    Ok(())
}

pub(super) fn keyring(b: &mut Builder<'_>) -> Result<(), PlanError> {
    if !b.request.options.no_new_keyring {
        let name = text("id", format!("_ses.{}", b.request.id))?;
        b.inside(InsidePhase::Keyring, c"runtime", Step::SessionKeyring { name });
    }
    Ok(())
}

fn sysctls(b: &mut Builder<'_>) -> Result<(), PlanError> {
    let Some(sysctls) = b.spec.linux().as_ref().and_then(|linux| linux.sysctl().as_ref()) else {
        return Ok(());
    };
    // A map has no order; a plan has.
    let mut sysctls: Vec<_> = sysctls.iter().collect();
    sysctls.sort();
    for (key, value) in sysctls {
        let item = format!("linux.sysctl[{key:?}]");
        let path = sysctl_file(key).ok_or(PlanError::Missing { item: "linux.sysctl" })?;
        let path = text(&item, format!("sys/{path}"))?;
        let value = text(&item, value.as_str())?;
        b.inside(
            InsidePhase::KernelFiles,
            text(&item, item.as_str())?,
            Step::Sysctl { proc: slot::PROC, path, value },
        );
    }
    Ok(())
}

/// Masked and readonly paths. runc's order: readonly first.
fn hide(b: &mut Builder<'_>) -> Result<(), PlanError> {
    let Some(linux) = b.spec.linux().as_ref() else { return Ok(()) };
    for (index, path) in linux.readonly_paths().iter().flatten().enumerate() {
        let item = item_at("linux.readonlyPaths", index)?;
        let (base, path) = kept_path(b, "linux.readonlyPaths", path)?;
        b.inside(InsidePhase::Hide, item, Step::ReadonlyPath { base, path });
    }
    let Some(masked) = linux.masked_paths().as_ref().filter(|paths| !paths.is_empty()) else { return Ok(()) };
    let item = CString::from(c"linux.maskedPaths");
    namespaces::open_device(b, &item, Path::new("/dev/null"), libc::S_IFCHR, (1, 3), slot::NULL)?;
    b.inside(InsidePhase::Hide, c"linux.maskedPaths", devices::keep_attributes(slot::NULL));
    let empty = mounts::empty_directory(b, 0, slot::EMPTY)?;
    b.inside(InsidePhase::Hide, c"linux.maskedPaths", empty);
    for (index, path) in masked.iter().enumerate() {
        let item = item_at("linux.maskedPaths", index)?;
        let (base, path) = kept_path(b, "linux.maskedPaths", path)?;
        b.inside(
            InsidePhase::Hide,
            item,
            Step::MaskPath { base, path, null: slot::NULL, empty: slot::EMPTY },
        );
    }
    Ok(())
}

/// The mount that a path counts from, and the path in it: procfs and sysfs are at hand, whatever has become
/// of their names.
fn kept_path(b: &Builder<'_>, field: &str, path: &str) -> Result<(Option<Slot>, CString), PlanError> {
    let whole = path_in_root(field, Path::new(path))?;
    let words = whole.to_string_lossy();
    let inside =
        |kept: &str| words.strip_prefix(kept).filter(|rest| rest.starts_with('/')).map(str::to_owned);
    let found = b.ledger.kept.iter().find_map(|(kept, slot)| Some((*slot, inside(kept)?)));
    match found {
        Some((slot, rest)) => Ok((Some(slot), text(field, rest)?)),
        None => Ok((None, whole)),
    }
}

/// What the runtime listens on: for `start`, or for the container to say that it is ready.
fn listen(b: &mut Builder<'_>) {
    if b.request.wait_for_start {
        b.host(HostPhase::Listen, c"runtime", HostStep::ListenForStart { slot: slot::LISTENER });
    } else if b.facts.notify_directory.is_some() {
        b.host(HostPhase::Listen, mounts::NOTIFY_ITEM, HostStep::ListenForReadiness);
    }
}

/// What limits init from outside, but for devices.
fn restrict(b: &mut Builder<'_>, process: &Process) -> Result<(), PlanError> {
    cgroups::finish(b);
    if let Some(config) = b.spec.linux().as_ref().and_then(|linux| linux.intel_rdt().as_ref()) {
        b.host(HostPhase::Restrict, c"linux.intelRdt", HostStep::IntelRdt { config: config.clone() });
    }
    restrict_process(b, HostPhase::Restrict, process)
}

/// What limits the process alone: OOM score, resources.
pub(super) fn restrict_process(
    b: &mut Builder<'_>,
    phase: HostPhase,
    process: &Process,
) -> Result<(), PlanError> {
    if let Some(value) = process.oom_score_adj().filter(|_| b.facts.privileged) {
        b.host(phase, c"process.oomScoreAdj", HostStep::OomScoreAdjust { value });
    }
    if b.outranks_init() {
        // Inside, not even root may raise a hard limit.
        for process::Limit { item, resource, soft, hard } in process::limits(process)? {
            b.host(phase, item, HostStep::ResourceLimit { resource: Resource(resource), soft, hard });
        }
        if !process.terminal().unwrap_or(false) {
            b.host(phase, c"process.user", HostStep::GiveStdio { uid: process.user().uid() });
        }
    }
    Ok(())
}

/// In the foreground files of somebody else do not change their owner (as with runc, which copies all stdio).
pub(super) fn copy_stdio(b: &mut Builder<'_>, process: &Process) {
    if b.request.options.foreground && !process.terminal().unwrap_or(false) {
        let uid = Some(process.user().uid()).filter(|_| !b.decisions.in_user_namespace());
        b.host(HostPhase::Stdio, c"process.user", HostStep::CopyStdio { uid });
    }
}

/// What the runtime does while init is ready and waits: whoever looks sees the process from then on.
pub(super) fn show(meeting: &mut Meeting<'_, '_>) -> Result<(), PlanError> {
    let b = &*meeting.b;
    let name = if b.joins.is_some() { "setns" } else { "standard" };
    if let Some(path) = b.request.options.pidfd_socket.clone() {
        meeting.host(c"--pidfd-socket", HostStep::SendPidfd { path, name });
    } else if let Some(path) = b.annotation(PIDFD_RECEIVER).filter(|_| b.joins.is_none()) {
        meeting.host(annotation_item(PIDFD_RECEIVER)?, HostStep::SendPidfd { path: path.into(), name });
    }
    if meeting.b.joins.is_none() {
        meeting.host(c"runtime", HostStep::RecordCreated);
    }
    if let Some(path) = meeting.b.request.options.pid_file.clone() {
        meeting.host(c"runtime", HostStep::PidFile { path });
    }
    Ok(())
}

/// What the runtime does when init is let go on to the exec.
fn after_ready(b: &mut Builder<'_>) {
    if b.request.wait_for_start {
        return;
    }
    b.host(HostPhase::Exec, c"process.args", HostStep::AwaitExec);
    let hooks = HookKind::Poststart.of(b.spec.hooks().as_ref());
    if !hooks.is_empty() {
        let step = HostStep::RunHooks { kind: HookKind::Poststart, hooks: hooks.to_vec() };
        b.host(HostPhase::Poststart, c"hooks.poststart", step);
    }
}

/// Makes a config item's name with its position.
pub(super) fn item_at(list: &str, index: usize) -> Result<CString, PlanError> {
    text(list, [list, "[", &index.to_string(), "]"].concat())
}

/// Makes an annotation's name as a config item.
pub(super) fn annotation_item(name: &str) -> Result<CString, PlanError> {
    text("annotations", format!("annotations[{name:?}]"))
}
