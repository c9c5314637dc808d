//! The order of things: one container, from top to bottom.

use std::ffi::CString;
use std::path::Path;

use corten_init::{OwnedStep as Step, Slot, SyncPoint};

use crate::lifecycle::Console;
use crate::oci::{LinuxNamespaceType, Process, Spec};
use crate::spec::sysctl_file;

use super::paths::{path_in_root, text};
use super::{Facts, HostStep, Plan, PlanError, Planned, Request, devices, mounts, process};

/// Slots with a fixed meaning.
pub(super) mod slot {
    use corten_init::Slot;

    /// The socket to the runtime; the executor takes the first slot for it.
    pub(crate) const SYNC: Slot = Slot(0);
    /// The detached tree of the root filesystem.
    pub(in crate::plan) const ROOT: Slot = Slot(1);
    /// The socket that `start` connects to.
    pub(in crate::plan) const LISTENER: Slot = Slot(2);
    /// The null device, to hide files under.
    pub(in crate::plan) const NULL: Slot = Slot(3);
    /// An empty directory, to hide directories under.
    pub(in crate::plan) const EMPTY: Slot = Slot(4);
    /// The target of the mount that is being made.
    pub(in crate::plan) const TARGET: Slot = Slot(5);
    /// The mount that is being made.
    pub(in crate::plan) const MOUNT: Slot = Slot(6);
    /// The terminal's two ends.
    pub(in crate::plan) const MASTER: Slot = Slot(7);
    pub(in crate::plan) const PEER: Slot = Slot(8);
    /// Init's own procfs.
    pub(in crate::plan) const PROC: Slot = Slot(9);
    /// The first of the sources of bind mounts.
    pub(in crate::plan) const FIRST_SOURCE: Slot = Slot(10);
}

/// `MS_SLAVE`: mounts of the host reach the container, never the other way round. runc's default.
const SLAVE: u64 = libc::MS_SLAVE;

/// A plan in the making.
pub(super) struct Builder<'a> {
    pub(super) spec: &'a Spec,
    pub(super) request: &'a Request<'a>,
    pub(super) facts: &'a Facts,
    host: Vec<Planned<HostStep>>,
    inside: Vec<Planned<Step>>,
    next_source: u16,
}

/// Works out what is done for a container, in order.
pub(super) fn plan(spec: &Spec, request: &Request<'_>, facts: &Facts) -> Result<Plan, PlanError> {
    let process = spec.process().as_ref().ok_or(PlanError::Missing { item: "process" })?;
    let mut builder = Builder {
        spec,
        request,
        facts,
        host: Vec::with_capacity(16),
        inside: Vec::with_capacity(96),
        next_source: slot::FIRST_SOURCE.0,
    };
    let b = &mut builder;
    check_console(process, request)?;
    enter(b)?;
    root(b)?;
    mounts::mounts(b)?;
    devices::devices(b)?;
    terminal(b, process)?;
    working_directory(b, process)?;
    b.inside(c"root", Step::PivotRoot {});
    names(b)?;
    sysctls(b)?;
    hide(b)?;
    readonly_root(b);
    process::become_it(b, process)?;
    host_half(b, process);
    Ok(Plan {
        host: builder.host,
        inside: builder.inside,
        slots: builder.next_source,
        preserved_fds: request.options.preserve_fds,
    })
}

impl Builder<'_> {
    /// Adds a step to the runtime's half.
    pub(super) fn host(&mut self, item: impl Into<CString>, step: HostStep) {
        self.host.push(Planned { item: item.into(), step });
    }

    /// Adds a step to init's half.
    pub(super) fn inside(&mut self, item: impl Into<CString>, step: Step) {
        self.inside.push(Planned { item: item.into(), step });
    }

    /// Takes a new slot for the source of a bind mount.
    pub(super) fn new_source(&mut self) -> Result<Slot, PlanError> {
        let limit = usize::from(u16::MAX - slot::FIRST_SOURCE.0);
        let slot = Slot(self.next_source);
        let next = self.next_source.checked_add(1);
        self.next_source = next.ok_or(PlanError::TooManySources { count: limit + 1, limit })?;
        Ok(slot)
    }

    /// Whether the container gets a new namespace of this type.
    pub(super) fn has_namespace(&self, kind: LinuxNamespaceType) -> bool {
        let namespaces = self.spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
        namespaces.is_some_and(|namespaces| namespaces.iter().any(|namespace| namespace.typ() == kind))
    }
}

fn check_console(process: &Process, request: &Request<'_>) -> Result<(), PlanError> {
    match (process.terminal().unwrap_or(false), &request.options.console) {
        (true, Console::None) => Err(PlanError::NoConsole),
        (false, Console::Socket(_)) => Err(PlanError::NoTerminal),
        _ => Ok(()),
    }
}

/// The first steps inside: cgroup namespace, keyring, session.
fn enter(b: &mut Builder<'_>) -> Result<(), PlanError> {
    if b.has_namespace(LinuxNamespaceType::Cgroup) {
        b.inside(c"linux.namespaces", Step::UnshareCgroup {});
    }
    if !b.request.options.no_new_keyring {
        let name = text("id", format!("_ses.{}", b.request.id))?;
        b.inside(c"runtime", Step::SessionKeyring { name });
    }
    b.inside(c"runtime", Step::NewSession {});
    Ok(())
}

/// The root filesystem, attached over `/` of the new mount namespace.
fn root(b: &mut Builder<'_>) -> Result<(), PlanError> {
    let root = b.spec.root().as_ref().ok_or(PlanError::Missing { item: "root" })?;
    let source = b.request.bundle.join(root.path());
    let step = HostStep::OpenTree { source, recursive: true, directory: true, slot: slot::ROOT };
    b.host(c"root.path", step);
    b.inside(c"linux.rootfsPropagation", Step::Propagation { flags: SLAVE });
    let slave = Step::SetAttributes { mount: slot::ROOT, set: 0, clear: 0, propagation: SLAVE, recursive: 1 };
    b.inside(c"linux.rootfsPropagation", slave);
    b.inside(c"root.path", Step::AttachRoot { tree: slot::ROOT });
    Ok(())
}

/// The terminal: made in the container's devpts, its master handed to the runtime, its peer the container's console.
fn terminal(b: &mut Builder<'_>, process: &Process) -> Result<(), PlanError> {
    if !process.terminal().unwrap_or(false) {
        return Ok(());
    }
    let item = c"process.terminal";
    let (master, peer) = (slot::MASTER, slot::PEER);
    b.inside(item, Step::OpenTerminal { path: c"/dev/pts/ptmx".into(), master, peer });
    if let Some(size) = process.console_size() {
        let (rows, columns) = (size.height(), size.width());
        b.inside(c"process.consoleSize", Step::TerminalSize { master, rows, columns });
    }
    b.inside(item, Step::SendConsole { master });
    let target = corten_init::Target::File.to_number();
    b.inside(item, Step::OpenTarget { path: c"/dev/console".into(), target, slot: slot::TARGET });
    b.inside(item, Step::CloneMount { from: peer, slot: slot::MOUNT });
    b.inside(item, Step::MoveMount { mount: slot::MOUNT, target: slot::TARGET });
    b.inside(item, Step::ControllingTerminal { peer });
    Ok(())
}

fn working_directory(b: &mut Builder<'_>, process: &Process) -> Result<(), PlanError> {
    let path = path_in_root("process.cwd", process.cwd())?;
    if path.as_c_str() != c"/" {
        // runc: a missing working directory is made, for root, with mode 0755.
        b.inside(c"process.cwd", Step::MakeDirectory { path, mode: 0o755 });
    }
    Ok(())
}

fn names(b: &mut Builder<'_>) -> Result<(), PlanError> {
    if let Some(name) = b.spec.hostname().as_deref().filter(|name| !name.is_empty()) {
        b.inside(c"hostname", Step::Hostname { name: text("hostname", name)? });
    }
    if let Some(name) = b.spec.domainname().as_deref().filter(|name| !name.is_empty()) {
        b.inside(c"domainname", Step::Domainname { name: text("domainname", name)? });
    }
    Ok(())
}

fn sysctls(b: &mut Builder<'_>) -> Result<(), PlanError> {
    let Some(sysctls) = b.spec.linux().as_ref().and_then(|linux| linux.sysctl().as_ref()) else { return Ok(()) };
    if sysctls.is_empty() {
        return Ok(());
    }
    // A map has no order; a plan has.
    let mut sysctls: Vec<_> = sysctls.iter().collect();
    sysctls.sort();
    b.inside(c"linux.sysctl", Step::OpenProc { slot: slot::PROC });
    for (key, value) in sysctls {
        let item = format!("linux.sysctl[{key:?}]");
        let path = sysctl_file(key).ok_or(PlanError::Missing { item: "linux.sysctl" })?;
        let path = text(&item, format!("sys/{path}"))?;
        let value = text(&item, value.as_str())?;
        b.inside(text(&item, item.as_str())?, Step::Sysctl { proc: slot::PROC, path, value });
    }
    b.inside(c"linux.sysctl", Step::Close { slot: slot::PROC });
    Ok(())
}

/// Masked and readonly paths. runc's order: readonly first.
fn hide(b: &mut Builder<'_>) -> Result<(), PlanError> {
    let Some(linux) = b.spec.linux().as_ref() else { return Ok(()) };
    for (index, path) in linux.readonly_paths().iter().flatten().enumerate() {
        let item = text("linux.readonlyPaths", format!("linux.readonlyPaths[{index}]"))?;
        let path = path_in_root("linux.readonlyPaths", Path::new(path))?;
        b.inside(item, Step::ReadonlyPath { path });
    }
    let Some(masked) = linux.masked_paths().as_ref().filter(|paths| !paths.is_empty()) else { return Ok(()) };
    b.host(c"linux.maskedPaths", HostStep::OpenNull { slot: slot::NULL });
    let empty = mounts::empty_directory(slot::EMPTY)?;
    b.inside(c"linux.maskedPaths", empty);
    for (index, path) in masked.iter().enumerate() {
        let item = text("linux.maskedPaths", format!("linux.maskedPaths[{index}]"))?;
        let path = path_in_root("linux.maskedPaths", Path::new(path))?;
        b.inside(item, Step::MaskPath { path, null: slot::NULL, empty: slot::EMPTY });
    }
    Ok(())
}

/// The last word about the root: its propagation if the config has one, then read-only.
fn readonly_root(b: &mut Builder<'_>) {
    let propagation = b.spec.linux().as_ref().and_then(|linux| linux.rootfs_propagation().as_deref());
    if let Some((flags, recursive)) = propagation.and_then(propagation_flags) {
        let step = Step::RootAttributes { set: 0, propagation: flags, recursive: recursive.into() };
        b.inside(c"linux.rootfsPropagation", step);
    }
    if b.spec.root().as_ref().is_some_and(|root| root.readonly().unwrap_or(false)) {
        let step = Step::RootAttributes { set: libc::MOUNT_ATTR_RDONLY, propagation: 0, recursive: 0 };
        b.inside(c"root.readonly", step);
    }
}

/// The flag of a `rootfsPropagation`, and whether it is recursive.
fn propagation_flags(word: &str) -> Option<(u64, bool)> {
    let (kind, recursive) = match word.strip_prefix('r') {
        Some(kind) => (kind, true),
        None => (word, false),
    };
    let flag = match kind {
        "private" => libc::MS_PRIVATE,
        "shared" => libc::MS_SHARED,
        "slave" => libc::MS_SLAVE,
        "unbindable" => libc::MS_UNBINDABLE,
        _ => return None,
    };
    Some((flag, recursive))
}

/// The runtime's half around what the other rooms have added to it (the trees of mounts).
fn host_half(b: &mut Builder<'_>, process: &Process) {
    let trees = std::mem::take(&mut b.host);
    b.host(c"runtime", HostStep::RecordCreating);
    b.host.extend(trees);
    if b.request.wait_for_start {
        b.host(c"runtime", HostStep::ListenForStart { slot: slot::LISTENER });
    }
    b.host(c"linux.cgroupsPath", HostStep::CreateCgroup { path: b.facts.cgroup.clone() });
    b.host(c"linux.namespaces", HostStep::CloneInit { namespaces: namespace_flags(b) });
    b.host(c"linux.resources.devices", HostStep::DeviceFilter { rules: devices::rules(b.spec) });
    if let Some(value) = process.oom_score_adj() {
        b.host(c"process.oomScoreAdj", HostStep::OomScoreAdjust { value });
    }
    if process.terminal().unwrap_or(false) {
        b.host(c"process.terminal", HostStep::ReceiveConsole);
    }
    b.host(c"runtime", HostStep::Await { point: SyncPoint::Ready });
    b.host(c"runtime", HostStep::RecordCreated);
    if let Some(path) = &b.request.options.pid_file {
        b.host(c"runtime", HostStep::PidFile { path: path.clone() });
    }
    b.host(c"runtime", HostStep::Release { point: SyncPoint::Ready });
    if !b.request.wait_for_start {
        b.host(c"process.args", HostStep::AwaitExec);
    }
}

/// `CLONE_NEW*` of the namespaces to make. The cgroup namespace is init's to unshare (`UnshareCgroup`).
fn namespace_flags(b: &Builder<'_>) -> u64 {
    let flags = [
        (LinuxNamespaceType::Mount, libc::CLONE_NEWNS),
        (LinuxNamespaceType::Uts, libc::CLONE_NEWUTS),
        (LinuxNamespaceType::Ipc, libc::CLONE_NEWIPC),
        (LinuxNamespaceType::Pid, libc::CLONE_NEWPID),
        (LinuxNamespaceType::Network, libc::CLONE_NEWNET),
    ];
    let new = flags.into_iter().filter(|(kind, _)| b.has_namespace(*kind));
    new.fold(0, |all, (_, flag)| all | u64::from(flag.cast_unsigned()))
}

/// Makes a config item's name with its position.
pub(super) fn item_at(list: &str, index: usize) -> Result<CString, PlanError> {
    text(list, format!("{list}[{index}]"))
}
