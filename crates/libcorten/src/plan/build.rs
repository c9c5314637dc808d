//! The order of things: one container, from top to bottom.

use std::ffi::{CStr, CString};
use std::path::Path;
use std::sync::LazyLock;

use corten_init::{OwnedStep as Step, Slot, SyncPoint};

use crate::oci::{LinuxNamespaceType, Process, ProcessBuilder, Spec};
use crate::request::Console;
use crate::seccomp;
use crate::spec::annotations::{PIDFD_RECEIVER, annotation};
use crate::spec::{HookKind, is_joined, namespace, sysctl_file, sysctl_namespace};

use super::cgroups::{self, Limits};
use super::namespaces::{self, UserNamespace};
use super::paths::{path_in_root, text};
use super::{BareMounts, Facts, HostStep, Plan, PlanError, Planned, Request, devices, hooks, mounts, process, root};

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
    /// A procfs that is not the container's: init's own, or the host's.
    pub(in crate::plan) const PROC: Slot = Slot(9);
    /// The state for hooks that init runs: while the container is being created, and after.
    pub(in crate::plan) const STATE_CREATING: Slot = Slot(10);
    pub(in crate::plan) const STATE_CREATED: Slot = Slot(11);
    /// Where the output of hooks goes that init runs.
    pub(in crate::plan) const HOOK_STDOUT: Slot = Slot(12);
    pub(in crate::plan) const HOOK_STDERR: Slot = Slot(13);
    /// The container's cgroup, where a mount must show it without a cgroup namespace.
    pub(in crate::plan) const CGROUP: Slot = Slot(14);
    /// The container's procfs and sysfs, for what is masked in them.
    pub(in crate::plan) const PROC_MOUNT: Slot = Slot(15);
    pub(in crate::plan) const SYS_MOUNT: Slot = Slot(16);
    /// The filesystem at `/dev`.
    pub(in crate::plan) const DEV_MOUNT: Slot = Slot(17);
    /// The first of the sources of bind mounts, and of namespaces to join.
    pub(in crate::plan) const FIRST_SOURCE: Slot = Slot(18);
}

/// `MS_SLAVE`: mounts of the host reach the container, never the other way round. runc's default.
pub(super) const SLAVE: u64 = libc::MS_SLAVE;

/// A plan in the making.
pub(super) struct Builder<'a> {
    pub(super) spec: &'a Spec,
    pub(super) request: &'a Request<'a>,
    pub(super) facts: &'a Facts,
    host: Vec<Planned<HostStep>>,
    /// What the runtime does in turn with init while init enters the namespaces.
    entry: Vec<Planned<HostStep>>,
    /// The same before `pivot_root(2)`.
    meeting: Vec<Planned<HostStep>>,
    early: Vec<Planned<Step>>,
    inside: Vec<Planned<Step>>,
    pub(super) entered: bool,
    /// The process joins a container that runs.
    pub(super) joins_container: bool,
    /// It enters the PID namespace, where others see it, when it has nothing left that they have not.
    pub(super) appears_last: bool,
    /// What moves it into the cgroups that are left for when it has cloned itself for the last time.
    pub(super) joins_last: Option<HostStep>,
    next_source: u16,
    /// How the container's mount namespace comes about if it is not a copy of the caller's.
    pub(super) bare_mounts: Option<&'a BareMounts>,
    /// The caller's mount namespace and init's own, where init opens sources in the first.
    pub(super) to_and_from_host: Option<(Slot, Slot)>,
    /// The network namespace that the runtime makes, until init enters it.
    pub(super) network: Option<Slot>,
    pub(super) user_namespace: UserNamespace,
    /// A mount shows the container's cgroup by a bind mount.
    pub(super) shows_own_cgroup: bool,
    /// `/dev` is the container's own, so that the default devices and links are made in it. runc: not when `/dev` is a bind mount.
    pub(super) owns_dev: bool,
    /// The filesystem that is made at `/dev`.
    pub(super) dev_mount: Option<Slot>,
    /// Mounts whose fds are kept for masked and readonly paths: destination and slot.
    pub(super) kept_mounts: Vec<(String, Slot)>,
    /// Mounts that become read-only when the root is complete: item and slot.
    pub(super) late_readonly: Vec<(CString, Slot)>,
    /// What the config asks for and will not have.
    pub(super) warnings: Vec<String>,
}

/// What runs when the config has no process: nothing, as root.
static NO_PROCESS: LazyLock<Process> = LazyLock::new(|| {
    // Every field is set, so that there is nothing to fail.
    ProcessBuilder::default().cwd("/").args(Vec::new()).build().unwrap_or_default()
});

/// Works out what is done for a container, in order.
pub(super) fn plan(spec: &Spec, request: &Request<'_>, facts: &Facts) -> Result<Plan, PlanError> {
    // config.md#process: required when `start` is called, not before.
    let process = match spec.process() {
        Some(process) => process,
        None if request.wait_for_start => &NO_PROCESS,
        None => return Err(PlanError::Missing { item: "process" }),
    };
    let mut builder = Builder::new(spec, request, facts);
    let b = &mut builder;
    warn(b, process);
    devices::warn(b);
    process::warn_of_capabilities(b, process);
    check_console(process, request)?;
    host_proc(b);
    let limits = cgroups::enter(b)?;
    oom_score(b)?;
    root::bare(b);
    let cloned = namespaces::enter(b)?;
    begin(b)?;
    b.entered = true;
    root::root(b)?;
    mounts::mounts(b)?;
    devices::devices(b)?;
    terminal(b, process)?;
    working_directory(b, process)?;
    namespaces::enter_network(b);
    hooks::create(b)?;
    mounts::late_readonly(b)?;
    root::change_root(b);
    names(b)?;
    kernel_files(b, process)?;
    keyring(b)?;
    hide(b)?;
    root::readonly_root(b);
    process::become_it(b, process)?;
    host_half(b, process, &limits, cloned)?;
    Ok(builder.finish())
}

impl<'a> Builder<'a> {
    /// An empty plan for this config.
    pub(super) fn new(spec: &'a Spec, request: &'a Request<'a>, facts: &'a Facts) -> Self {
        Self {
            spec,
            request,
            facts,
            host: Vec::with_capacity(16),
            entry: Vec::new(),
            meeting: Vec::new(),
            early: Vec::new(),
            inside: Vec::with_capacity(128),
            entered: false,
            joins_container: false,
            appears_last: false,
            joins_last: None,
            next_source: slot::FIRST_SOURCE.0,
            bare_mounts: None,
            network: None,
            to_and_from_host: None,
            user_namespace: namespaces::user_namespace(spec),
            shows_own_cgroup: false,
            owns_dev: true,
            dev_mount: None,
            kept_mounts: Vec::new(),
            late_readonly: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The plan.
    pub(super) fn finish(mut self) -> Plan {
        self.inside.splice(..0, self.early);
        Plan {
            host: self.host,
            inside: self.inside,
            slots: self.next_source,
            preserved_fds: self.facts.preserved_fds.clone(),
            warnings: self.warnings,
        }
    }

    /// Adds a step to the runtime's half.
    pub(super) fn host(&mut self, item: impl Into<CString>, step: HostStep) {
        self.host.push(Planned { item: item.into(), step });
    }

    /// Adds a step to init's half.
    pub(super) fn inside(&mut self, item: impl Into<CString>, step: Step) {
        self.inside.push(Planned { item: item.into(), step });
    }

    /// Adds steps to init's half that are passed over where `/dev` is not the container's own.
    pub(super) fn in_own_dev(
        &mut self,
        item: &'static CStr,
        add: impl FnOnce(&mut Self) -> Result<(), PlanError>,
    ) -> Result<(), PlanError> {
        let at = self.inside.len();
        add(self)?;
        let steps = u64::try_from(self.inside.len() - at).unwrap_or(0);
        let step = Step::OwnDev { dev: self.dev_mount.unwrap_or(slot::SYNC), steps };
        self.inside.insert(at, Planned { item: item.into(), step });
        Ok(())
    }

    /// Adds a step to the beginning of init's half: before the root is attached, paths are those of the caller.
    pub(super) fn early(&mut self, item: impl Into<CString>, step: Step) {
        self.early.push(Planned { item: item.into(), step });
    }

    /// Adds a step that the runtime makes in turn with init.
    pub(super) fn meet(&mut self, item: impl Into<CString>, step: HostStep) {
        let list = if self.entered { &mut self.meeting } else { &mut self.entry };
        list.push(Planned { item: item.into(), step });
    }

    /// Adds a step to the runtime's half, after the clone of init and what it does in turn with it then.
    pub(super) fn after_entry(&mut self, item: impl Into<CString>, step: HostStep) {
        self.entry.push(Planned { item: item.into(), step });
    }

    /// Adds what the runtime does after the clone of init, in turn with it while it enters the namespaces.
    pub(super) fn enter(&mut self) {
        self.host.append(&mut self.entry);
    }

    /// Adds what the runtime does in turn with init after that.
    pub(super) fn meet_all(&mut self) {
        self.host.append(&mut self.meeting);
    }

    /// Whether init clones itself to enter the namespaces.
    pub(super) fn clones_itself(&self) -> bool {
        self.entry.iter().any(|planned| matches!(planned.step, HostStep::FollowClone))
    }

    /// The runtime takes the clone that takes init's place.
    pub(super) fn follow(&mut self) {
        self.meet(c"linux.namespaces", HostStep::FollowClone);
        if !self.joins_container {
            self.meet(c"runtime", HostStep::RecordInit);
        }
    }

    /// Returns an annotation that is not empty.
    pub(super) fn annotation(&self, name: &str) -> Option<&'a str> {
        annotation(self.spec, name).filter(|value| !value.is_empty())
    }

    /// Whether a joined namespace must be another than the host's: something is set in it that would be set on the host. In a
    /// mount namespace that is always so: its root becomes the container's, for every process there (`pivot_root(2)`).
    pub(super) fn needs_foreign(&self, kind: LinuxNamespaceType) -> bool {
        let named = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
        let sysctls = self.spec.linux().as_ref().and_then(|linux| linux.sysctl().as_ref());
        let mut sysctls = sysctls.into_iter().flatten();
        sysctls.any(|(key, _)| sysctl_file(key).is_some_and(|file| sysctl_namespace(&file) == Ok(kind)))
            || kind == LinuxNamespaceType::Uts && (named(self.spec.hostname()) || named(self.spec.domainname()))
            || kind == LinuxNamespaceType::Network && !self.net_devices().is_empty()
            || kind == LinuxNamespaceType::Mount
    }

    /// The network devices that the container gets: names on the host and inside, sorted, as a plan has an order.
    fn net_devices(&self) -> Vec<(String, String)> {
        let listed = self.spec.linux().as_ref().and_then(|linux| linux.net_devices().as_ref());
        let inside = |name: &String, device: &crate::oci::LinuxNetDevice| {
            device.name().clone().filter(|inside| !inside.is_empty()).unwrap_or_else(|| name.clone())
        };
        let mut devices: Vec<_> =
            listed.into_iter().flatten().map(|(name, device)| (name.clone(), inside(name, device))).collect();
        devices.sort();
        devices
    }

    /// Whether init writes to files of the kernel.
    fn needs_proc(&self) -> bool {
        let named = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
        let sysctls = self.spec.linux().as_ref().and_then(|linux| linux.sysctl().as_ref());
        let process = self.spec.process().as_ref();
        sysctls.is_some_and(|sysctls| !sysctls.is_empty())
            || process.is_some_and(|process| {
                named(process.apparmor_profile()) && self.facts.apparmor
                    || named(process.selinux_label()) && self.facts.selinux
            })
    }

    /// The propagation of trees that come from the host: what `linux.rootfsPropagation` asks for, and never more than the host
    /// gives. `None`: as the host has it.
    pub(super) fn tree_propagation(&self) -> Option<u64> {
        let word = self.spec.linux().as_ref().and_then(|linux| linux.rootfs_propagation().as_deref());
        match word.and_then(propagation_flags) {
            Some((libc::MS_SHARED, _)) => None,
            Some((libc::MS_PRIVATE | libc::MS_UNBINDABLE, _)) => Some(libc::MS_PRIVATE),
            _ => Some(SLAVE),
        }
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
    pub(super) fn has_new_namespace(&self, kind: LinuxNamespaceType) -> bool {
        namespace(self.spec, kind).is_some_and(|namespace| !is_joined(namespace))
    }

    /// Whether the container's mount namespace is one that exists already.
    pub(super) fn joins_mount_namespace(&self) -> bool {
        namespace(self.spec, LinuxNamespaceType::Mount).is_some_and(is_joined)
    }

    /// Whether the container has a mount namespace, new or joined.
    pub(super) fn has_mount_namespace(&self) -> bool {
        namespace(self.spec, LinuxNamespaceType::Mount).is_some()
    }

    /// Whether the container is in a user namespace that the runtime is not in.
    pub(super) fn in_user_namespace(&self) -> bool {
        self.user_namespace != UserNamespace::Same
    }

    /// Whether the runtime makes the network namespace, while it does other things, and init joins it.
    pub(super) fn makes_network(&self) -> bool {
        self.facts.privileged && namespaces::has_network_of_its_own(self.spec)
    }

    /// Whether the runtime has privileges that init, in another user namespace, has not.
    pub(super) fn outranks_init(&self) -> bool {
        self.in_user_namespace() && self.facts.privileged
    }
}

/// What is passed over. Labels of a security module that the kernel has not got: crun leaves them out, too, and engines rely on it.
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

/// Whether a procfs is needed that is not the container's, and whether init can make it: a user namespace can only mount the
/// procfs of a PID namespace of its own, and only where it sees all of one already.
pub(super) fn host_proc(b: &mut Builder<'_>) {
    let offsets = b.spec.linux().as_ref().and_then(|linux| linux.time_offsets().as_ref());
    let offsets = offsets.is_some_and(|offsets| !offsets.is_empty());
    let score = own_oom_score(b).is_some();
    let hosts = b.in_user_namespace() || b.facts.rootless && !has_procfs_of_its_own(b);
    if offsets || score || b.request.options.no_pivot || hosts && b.needs_proc() {
        b.host(c"runtime", HostStep::OpenHostProc { slot: slot::PROC });
    }
}

/// Whether the container has a PID namespace of its own, and its procfs, so that init can make another one.
fn has_procfs_of_its_own(b: &Builder<'_>) -> bool {
    let mut mounts = b.spec.mounts().iter().flatten();
    b.has_new_namespace(LinuxNamespaceType::Pid) && mounts.any(|mount| mount.typ().as_deref() == Some("proc"))
}

/// The OOM score where the runtime cannot write it.
fn own_oom_score(b: &Builder<'_>) -> Option<i32> {
    b.spec.process().as_ref()?.oom_score_adj().filter(|_| !b.facts.privileged)
}

/// The OOM score where the runtime cannot write it: by init, before anything else. The file is init's own only as long as init
/// is dumpable, which it must not be in namespaces that others are in; until then nobody but the caller can look at it.
pub(super) fn oom_score(b: &mut Builder<'_>) -> Result<(), PlanError> {
    let Some(value) = own_oom_score(b) else { return Ok(()) };
    let item = c"process.oomScoreAdj";
    let (path, value) = (c"self/oom_score_adj".into(), text("process.oomScoreAdj", value.to_string())?);
    b.early(item, Step::Dumpable { on: 1 });
    b.early(item, Step::WriteOwn { proc: slot::PROC, path, value });
    b.early(item, Step::Dumpable { on: 0 });
    Ok(())
}

/// The first steps inside: network, cgroup namespace, session.
fn begin(b: &mut Builder<'_>) -> Result<(), PlanError> {
    if b.has_new_namespace(LinuxNamespaceType::Network) && !b.makes_network() {
        // runc: nobody else would, and everybody counts on it.
        b.inside(c"linux.namespaces", Step::Loopback {});
    }
    if b.makes_network() {
        b.meet(c"linux.namespaces", HostStep::MakeNetwork);
    }
    net_devices(b);
    if b.has_new_namespace(LinuxNamespaceType::Cgroup) {
        b.inside(c"linux.namespaces", Step::UnshareCgroup {});
    }
    b.inside(c"runtime", Step::NewSession {});
    Ok(())
}

/// Init waits while the runtime moves network devices into its namespace.
fn net_devices(b: &mut Builder<'_>) {
    let devices = b.net_devices();
    if devices.is_empty() {
        return;
    }
    namespaces::enter_network(b);
    let item = c"linux.netDevices";
    b.inside(item, Step::Sync { point: SyncPoint::Network.to_number().into() });
    b.meet(item, HostStep::Await { point: SyncPoint::Network });
    b.meet(item, HostStep::MoveNetDevices { devices });
    b.meet(item, HostStep::Release { point: SyncPoint::Network });
}

/// The terminal: made in the container's devpts, its master handed to the runtime, its peer the container's console.
fn terminal(b: &mut Builder<'_>, process: &Process) -> Result<(), PlanError> {
    if !process.terminal().unwrap_or(false) {
        return Ok(());
    }
    let item = c"process.terminal";
    let peer = slot::PEER;
    open_terminal(b, process);
    if b.owns_dev {
        // What a link of the image puts there gets no console either.
        b.in_own_dev(item, console)?;
    } else {
        console(b)?;
    }
    b.inside(item, Step::TerminalAsStdio { peer });
    b.inside(item, Step::ControllingTerminal {});
    Ok(())
}

/// The terminal's peer becomes the console.
fn console(b: &mut Builder<'_>) -> Result<(), PlanError> {
    let item = c"process.terminal";
    b.inside(item, Step::CloneMount { from: slot::PEER, slot: slot::MOUNT });
    // A link that the image has there is covered, not followed (CVE-2025-52565).
    let target = corten_init::Target::LinkItself(slot::MOUNT).to_number();
    b.inside(item, Step::OpenTarget { path: c"/dev/console".into(), target, in_proc: 0, slot: slot::TARGET });
    b.inside(item, Step::MoveMount { mount: slot::MOUNT, target: slot::TARGET, keep: 0 });
    Ok(())
}

/// A new terminal, whose master the runtime gets.
pub(super) fn open_terminal(b: &mut Builder<'_>, process: &Process) {
    let item = c"process.terminal";
    let (master, peer) = (slot::MASTER, slot::PEER);
    b.inside(item, Step::OpenTerminal { path: c"/dev/pts/ptmx".into(), master, peer });
    if let Some(size) = process.console_size() {
        let (rows, columns) = (size.height(), size.width());
        b.inside(c"process.consoleSize", Step::TerminalSize { master, rows, columns });
    }
    b.inside(item, Step::SendConsole { master });
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

/// What is written to files of the kernel: parameters and labels.
pub(super) fn kernel_files(b: &mut Builder<'_>, process: &Process) -> Result<(), PlanError> {
    if !b.needs_proc() {
        return Ok(());
    }
    let held = b.request.options.no_pivot
        || b.host.iter().any(|planned| matches!(planned.step, HostStep::OpenHostProc { .. }));
    let proc = slot::PROC;
    if !held {
        b.inside(c"runtime", Step::OpenProc { slot: proc });
    }
    let own = |b: &mut Builder<'_>, item: &CStr, path: &CStr, value: CString| {
        b.inside(item, Step::WriteOwn { proc, path: path.into(), value });
    };
    // From the exec on: the labels are for the program, not for init. Only its keyring is made before.
    if let Some(profile) =
        process.apparmor_profile().as_deref().filter(|profile| !profile.is_empty() && b.facts.apparmor)
    {
        let value = text("process.apparmorProfile", format!("exec {profile}"))?;
        own(b, c"process.apparmorProfile", c"self/attr/apparmor/exec", value);
    }
    if let Some(label) = process.selinux_label().as_deref().filter(|label| !label.is_empty() && b.facts.selinux) {
        own(b, c"process.selinuxLabel", c"self/attr/exec", text("process.selinuxLabel", label)?);
        if !b.request.options.no_new_keyring {
            own(b, c"process.selinuxLabel", c"self/attr/keycreate", text("process.selinuxLabel", label)?);
        }
    }
    sysctls(b)?;
    b.inside(c"runtime", Step::Close { slot: proc });
    Ok(())
}

pub(super) fn keyring(b: &mut Builder<'_>) -> Result<(), PlanError> {
    if !b.request.options.no_new_keyring {
        let name = text("id", format!("_ses.{}", b.request.id))?;
        b.inside(c"runtime", Step::SessionKeyring { name });
    }
    Ok(())
}

fn sysctls(b: &mut Builder<'_>) -> Result<(), PlanError> {
    let Some(sysctls) = b.spec.linux().as_ref().and_then(|linux| linux.sysctl().as_ref()) else { return Ok(()) };
    // A map has no order; a plan has.
    let mut sysctls: Vec<_> = sysctls.iter().collect();
    sysctls.sort();
    for (key, value) in sysctls {
        let item = format!("linux.sysctl[{key:?}]");
        let path = sysctl_file(key).ok_or(PlanError::Missing { item: "linux.sysctl" })?;
        let path = text(&item, format!("sys/{path}"))?;
        let value = text(&item, value.as_str())?;
        b.inside(text(&item, item.as_str())?, Step::Sysctl { proc: slot::PROC, path, value });
    }
    Ok(())
}

/// Masked and readonly paths. runc's order: readonly first.
fn hide(b: &mut Builder<'_>) -> Result<(), PlanError> {
    let Some(linux) = b.spec.linux().as_ref() else { return Ok(()) };
    for (index, path) in linux.readonly_paths().iter().flatten().enumerate() {
        let item = item_at("linux.readonlyPaths", index)?;
        let (base, path) = kept_path(b, "linux.readonlyPaths", path)?;
        b.inside(item, Step::ReadonlyPath { base, path });
    }
    let Some(masked) = linux.masked_paths().as_ref().filter(|paths| !paths.is_empty()) else { return Ok(()) };
    let item = CString::from(c"linux.maskedPaths");
    namespaces::open_device(b, &item, Path::new("/dev/null"), libc::S_IFCHR, (1, 3), slot::NULL)?;
    b.inside(c"linux.maskedPaths", devices::keep_attributes(slot::NULL));
    let empty = mounts::empty_directory(b, 0, slot::EMPTY)?;
    b.inside(c"linux.maskedPaths", empty);
    for (index, path) in masked.iter().enumerate() {
        let item = item_at("linux.maskedPaths", index)?;
        let (base, path) = kept_path(b, "linux.maskedPaths", path)?;
        b.inside(item, Step::MaskPath { base, path, null: slot::NULL, empty: slot::EMPTY });
    }
    Ok(())
}

/// The mount that a path counts from, and the path in it: procfs and sysfs are at hand, whatever has become of their names.
fn kept_path(b: &Builder<'_>, field: &str, path: &str) -> Result<(Slot, CString), PlanError> {
    let whole = path_in_root(field, Path::new(path))?;
    let words = whole.to_string_lossy();
    let inside = |kept: &str| words.strip_prefix(kept).filter(|rest| rest.starts_with('/')).map(str::to_owned);
    let found = b.kept_mounts.iter().find_map(|(kept, slot)| Some((*slot, inside(kept)?)));
    match found {
        Some((slot, rest)) => Ok((slot, text(field, rest)?)),
        None => Ok((slot::SYNC, whole)),
    }
}

/// The flag of a `rootfsPropagation`, and whether it is recursive.
pub(super) fn propagation_flags(word: &str) -> Option<(u64, bool)> {
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

/// The runtime's half around what the other rooms have added to it (the trees of mounts). `cloned`: the namespaces that come
/// with the clone of init.
fn host_half(b: &mut Builder<'_>, process: &Process, limits: &Limits, cloned: u64) -> Result<(), PlanError> {
    let trees = std::mem::take(&mut b.host);
    b.host(c"runtime", HostStep::RecordCreating);
    if b.facts.notify_directory.is_some() {
        b.host(mounts::NOTIFY_ITEM, HostStep::MakeNotifyDirectory);
    }
    // Before the trees, some of which are cgroups.
    cgroups::make(b, limits);
    b.host.extend(trees);
    if b.request.wait_for_start {
        b.host(c"runtime", HostStep::ListenForStart { slot: slot::LISTENER });
    } else if b.facts.notify_directory.is_some() {
        b.host(mounts::NOTIFY_ITEM, HostStep::ListenForReadiness);
    }
    copy_stdio(b, process);
    b.host(c"linux.namespaces", HostStep::CloneInit { namespaces: cloned });
    b.host(c"runtime", HostStep::RecordInit);
    b.enter();
    b.host(c"runtime", HostStep::RecordConfig);
    restrict(b, process)?;
    receive_console(b, process);
    hand_on_console(b, process);
    let mut meeting = std::mem::take(&mut b.meeting);
    let is_hooks = |planned: &Planned<HostStep>| matches!(planned.step, HostStep::Await { point: SyncPoint::Hooks });
    let at_hooks = meeting.iter().position(is_hooks);
    match at_hooks {
        Some(index) => drop(meeting.splice(index + 1..index + 1, cgroups::filter(b))),
        None => meeting.extend(cgroups::filter_in_turn(b)),
    }
    b.host.extend(meeting);
    send_listener(b)?;
    b.host(c"runtime", HostStep::PrepareRecord);
    b.host(c"runtime", HostStep::Await { point: SyncPoint::Ready });
    send_pidfd(b)?;
    b.host(c"runtime", HostStep::RecordCreated);
    pid_file(b);
    b.host(c"runtime", HostStep::Release { point: SyncPoint::Ready });
    if !b.request.wait_for_start {
        b.host(c"process.args", HostStep::AwaitExec);
        poststart(b);
    }
    Ok(())
}

/// What limits init from outside, but for devices.
fn restrict(b: &mut Builder<'_>, process: &Process) -> Result<(), PlanError> {
    cgroups::finish(b);
    if let Some(config) = b.spec.linux().as_ref().and_then(|linux| linux.intel_rdt().as_ref()) {
        b.host(c"linux.intelRdt", HostStep::IntelRdt { config: config.clone() });
    }
    restrict_process(b, process)
}

/// What limits the process alone: OOM score, resources.
pub(super) fn restrict_process(b: &mut Builder<'_>, process: &Process) -> Result<(), PlanError> {
    if let Some(value) = process.oom_score_adj().filter(|_| b.facts.privileged) {
        b.host(c"process.oomScoreAdj", HostStep::OomScoreAdjust { value });
    }
    if b.outranks_init() {
        // Inside, not even root may raise a hard limit.
        for process::Limit { item, resource, soft, hard } in process::limits(process)? {
            b.host(item, HostStep::ResourceLimit { resource, soft, hard });
        }
        if !process.terminal().unwrap_or(false) {
            b.host(c"process.user", HostStep::GiveStdio { uid: process.user().uid() });
        }
    }
    Ok(())
}

/// In the foreground files of somebody else do not change their owner (as with runc, which copies all stdio).
pub(super) fn copy_stdio(b: &mut Builder<'_>, process: &Process) {
    if b.request.options.foreground && !process.terminal().unwrap_or(false) {
        let uid = Some(process.user().uid()).filter(|_| !b.in_user_namespace());
        b.host(c"process.user", HostStep::CopyStdio { uid });
    }
}

pub(super) fn receive_console(b: &mut Builder<'_>, process: &Process) {
    if process.terminal().unwrap_or(false) {
        b.host(c"process.terminal", HostStep::ReceiveConsole);
    }
}

pub(super) fn hand_on_console(b: &mut Builder<'_>, process: &Process) {
    if process.terminal().unwrap_or(false) {
        b.host(c"process.terminal", HostStep::HandOnConsole);
    }
}

pub(super) fn pid_file(b: &mut Builder<'_>) {
    if let Some(path) = &b.request.options.pid_file {
        b.host(c"runtime", HostStep::PidFile { path: path.clone() });
    }
}

pub(super) fn send_listener(b: &mut Builder<'_>) -> Result<(), PlanError> {
    if let Some((item, path)) = process::seccomp_listener(b)? {
        let seccomp = b.spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
        let metadata = seccomp.and_then(|seccomp| seccomp.listener_metadata().clone());
        b.host(item, HostStep::SendSeccompListener { path, metadata });
    }
    Ok(())
}

fn send_pidfd(b: &mut Builder<'_>) -> Result<(), PlanError> {
    let name = "standard";
    if let Some(path) = b.request.options.pidfd_socket.clone() {
        b.host(c"--pidfd-socket", HostStep::SendPidfd { path, name });
    } else if let Some(path) = b.annotation(PIDFD_RECEIVER) {
        b.host(annotation_item(PIDFD_RECEIVER)?, HostStep::SendPidfd { path: path.into(), name });
    }
    Ok(())
}

fn poststart(b: &mut Builder<'_>) {
    let hooks = HookKind::Poststart.of(b.spec.hooks().as_ref());
    if !hooks.is_empty() {
        b.host(c"hooks.poststart", HostStep::RunHooks { kind: HookKind::Poststart, hooks: hooks.to_vec() });
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
