//! What is there from the beginning of a launch to its end, and the steps that need nothing of init.
//!
//! Stage: host. Privilege: the caller's. Attacker: as for the whole of it (`launch`).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use corten_cgroup::{Cgroups, Devices};
use corten_init::Slot;
use nix::unistd::Pid;

use super::copied_mounts::CopiedMounts;
use super::files::{listen_for_start, write_pid_file, write_proc};
use super::{JoinTarget, Launch, LaunchError, NewContainer, Subject, id_maps, net_devices, open, stdio};
use crate::hooks::{self, Watch};
use crate::host::mount_template;
use crate::oci::{Hook, LinuxIntelRdt, LinuxNamespaceType};
use crate::plan::{HostStep, Planned};
use crate::resctrl::{self, Resctrl};
use crate::spec::HookKind;
use crate::state::{Record, Status};
use crate::sys::{self, NetworkMaker, SysError};

/// A launch under way.
#[derive(Debug)]
pub(super) struct Work<'a> {
    pub(super) launch: Launch<'a>,
    pub(super) slots: Slots,
    /// A copy of the caller's mount namespace, if trees come from one.
    pub(super) copied_mounts: Option<CopiedMounts>,
    pub(super) around: Around,
    pub(super) stdio: stdio::Pipes,
    pub(super) notify_socket: Option<OwnedFd>,
    pub(super) warnings: Vec<String>,
}

/// What has been made around the process.
#[derive(Debug, Default)]
pub(super) struct Around {
    pub(super) cgroups: Option<Cgroups>,
    /// The device filter, until it is attached.
    pub(super) devices: Option<Devices>,
    pub(super) unit_started: bool,
    pub(super) pid_file: Option<PathBuf>,
}

/// Fds for init, by slot.
#[derive(Debug, Default)]
pub(super) struct Slots(Vec<Option<OwnedFd>>);

impl Slots {
    /// For a plan with so many.
    pub(super) fn new(count: u16) -> Self {
        Self((0..count).map(|_| None).collect())
    }

    pub(super) fn put(&mut self, slot: Slot, fd: OwnedFd) {
        let index = usize::from(slot.0);
        if self.0.len() <= index {
            self.0.resize_with(index + 1, || None);
        }
        self.0[index] = Some(fd);
    }

    fn get(&self, slot: Slot) -> Option<&OwnedFd> {
        self.0.get(usize::from(slot.0))?.as_ref()
    }

    /// Takes what is in slots that follow each other, up to the first that is empty.
    pub(super) fn take(&mut self, first: Slot, count: u16) -> Vec<OwnedFd> {
        self.0.iter_mut().skip(first.0.into()).take(count.into()).map_while(Option::take).collect()
    }

    /// The numbers that init finds them by: -1 for an empty slot.
    pub(super) fn numbers(&self) -> Vec<RawFd> {
        self.0.iter().map(|fd| fd.as_ref().map_or(-1, AsRawFd::as_raw_fd)).collect()
    }

    /// Closes all.
    pub(super) fn clear(&mut self) {
        self.0.fill_with(|| None);
    }
}

/// What an earlier step must have made; without it the plan is wrong.
pub(super) fn required<T>(part: Option<T>) -> Result<T, LaunchError> {
    part.ok_or(LaunchError::Order)
}

impl<'a> Work<'a> {
    pub(super) fn new(launch: Launch<'a>) -> Self {
        Self {
            slots: Slots::new(launch.plan.slots),
            launch,
            copied_mounts: None,
            around: Around::default(),
            stdio: stdio::Pipes::default(),
            notify_socket: None,
            warnings: Vec::new(),
        }
    }

    /// Fails if the caller wants no container any more; else shows the step to who observes.
    pub(super) fn begin(
        &self,
        planned: &Planned<HostStep>,
        observe: &mut dyn FnMut(&Planned<HostStep>),
    ) -> Result<(), LaunchError> {
        let is_cancelled =
            |cancel: &Arc<OwnedFd>| sys::wait_readable(&**cancel, Duration::ZERO).unwrap_or(false);
        if self.launch.options.cancel.as_ref().is_some_and(is_cancelled) {
            return Err(LaunchError::Cancelled);
        }
        observe(planned);
        Ok(())
    }

    /// Does a step that needs neither init nor who stands in for it.
    pub(super) fn step(&mut self, planned: &Planned<HostStep>) -> Result<(), LaunchError> {
        let at = |source: SysError| at(planned, source);
        match &planned.step {
            HostStep::RecordCreating => self.container()?.write_first(),
            HostStep::CreateCgroups { location, optional } => self.create_cgroups(location, *optional),
            HostStep::Limit { settings } => self.limit(settings),
            HostStep::OpenJoinedCgroup { location, slot } => self.open_joined_cgroup(location, *slot),
            HostStep::OpenInit { slot } => {
                self.target()?.open().map(|fd| self.slots.put(*slot, fd)).map_err(at)
            }
            HostStep::OpenInitRoot { slot } => {
                self.target()?.root().map(|fd| self.slots.put(*slot, fd)).map_err(at)
            }
            HostStep::DelegateCgroup { uid } => self.delegate(*uid),
            HostStep::OpenCgroup { slot } => self.open_cgroup(*slot, at),
            HostStep::MakeMountTemplate { directory } => {
                mount_template::make(directory);
                Ok(())
            }
            HostStep::OpenTree { source, recursive, directory, link_itself, locked, copied, slot } => {
                let how = sys::OpenTree { recursive: *recursive, link_itself: *link_itself };
                let tree = if *copied {
                    self.copied_mounts().and_then(|mounts| mounts.tree(source, how, *directory, *locked))
                } else {
                    open::tree(source, how, *directory, *locked)
                };
                tree.map(|fd| self.slots.put(*slot, fd)).map_err(at)
            }
            HostStep::MapTree { slot, maps, recursive } => {
                let tree = required(self.slots.get(*slot))?;
                Ok(open::map_tree(tree, &planned.item.to_string_lossy(), maps, *recursive)?)
            }
            HostStep::OpenDevice { path, kind, major, minor, slot } => {
                let device = open::device(path, kind.0, *major, *minor);
                device.map(|fd| self.slots.put(*slot, fd)).map_err(at)
            }
            HostStep::OpenNamespace { path, kind, flag, foreign, slot } => {
                let namespace = open::namespace(path, *kind, flag.0, *foreign);
                namespace.map(|fd| self.slots.put(*slot, fd)).map_err(at)
            }
            HostStep::OpenHostProc { slot } => {
                open::host_proc().map(|fd| self.slots.put(*slot, fd)).map_err(at)
            }
            HostStep::OpenHookOutput { path, slot } => {
                hooks::open_output(path).map(|file| self.slots.put(*slot, file.into())).map_err(at)
            }
            HostStep::MakeNotifyDirectory => self.container()?.directory.make_notify_directory().map_err(at),
            HostStep::ListenForReadiness => {
                self.notify_socket = self.container()?.directory.listen_for_readiness().map_err(at)?;
                Ok(())
            }
            HostStep::ListenForStart { slot } => {
                let socket = listen_for_start(self.container()?.directory);
                socket.map(|fd| self.slots.put(*slot, fd)).map_err(at)
            }
            HostStep::LoadDeviceFilter { rules, optional } => self.load_device_filter(rules, *optional),
            HostStep::DeviceFilter { optional } => self.attach_device_filter(*optional),
            HostStep::CopyStdio { uid } => {
                stdio::Pipes::for_files_of_others(*uid).map(|pipes| self.stdio = pipes).map_err(at)
            }
            HostStep::RecordInit => self.container()?.write(),
            HostStep::RecordConfig => self.record_config(),
            HostStep::PrepareRecord => self.container()?.prepare(),
            HostStep::RecordCreated => Ok(self.container()?.directory.publish()?),
            // What init, or who stands in for it, must be there for.
            HostStep::StartUnit { .. }
            | HostStep::JoinCgroups
            | HostStep::JoinContainer { .. }
            | HostStep::AttachToUnit { .. }
            | HostStep::JoinIntelRdt { .. }
            | HostStep::IntelRdt { .. }
            | HostStep::PidFile { .. }
            | HostStep::RunOn { .. }
            | HostStep::CloneInit { .. }
            | HostStep::FollowClone
            | HostStep::SendTrees { .. }
            | HostStep::MakeNetwork
            | HostStep::WriteIdMaps { .. }
            | HostStep::CheckIdMap { .. }
            | HostStep::ResourceLimit { .. }
            | HostStep::MoveNetDevices { .. }
            | HostStep::RunHooks { .. }
            | HostStep::SendSeccompListener { .. }
            | HostStep::SendPidfd { .. }
            | HostStep::OomScoreAdjust { .. }
            | HostStep::GiveStdio { .. }
            | HostStep::ReceiveConsole
            | HostStep::HandOnConsole
            | HostStep::Await { .. }
            | HostStep::Release { .. }
            | HostStep::AwaitExec => required(None),
        }
    }

    /// Does a step about a process: init, or CRIU and what it has made.
    pub(super) fn step_of(&mut self, pid: Pid, planned: &Planned<HostStep>) -> Result<(), LaunchError> {
        let at = |source: SysError| at(planned, source);
        match &planned.step {
            HostStep::StartUnit { location, properties } => self.start_unit(pid, location, properties),
            HostStep::JoinCgroups => self.join_cgroups(pid),
            HostStep::JoinContainer { location, or_inits, optional } => {
                self.join_container(pid, location, *or_inits, *optional)
            }
            HostStep::AttachToUnit { below } => self.attach_to_unit(pid, below),
            HostStep::JoinIntelRdt { tasks } => resctrl::join(tasks, pid).map_err(at),
            HostStep::IntelRdt { config } => self.join_resctrl(pid, config),
            HostStep::PidFile { path } => self.write_pid_file(pid, path).map_err(at),
            HostStep::WriteIdMaps { uids, gids } => {
                Ok(id_maps::write(pid, ["linux.uidMappings", "linux.gidMappings"], uids, gids)?)
            }
            HostStep::CheckIdMap { file, maps } => id_maps::check(pid, file, maps).map_err(at),
            HostStep::ResourceLimit { resource, soft, hard } => {
                sys::set_limit(pid, resource.0, *soft, *hard).map_err(at)
            }
            HostStep::MoveNetDevices { devices } => {
                let namespace = open::namespace_of(pid, LinuxNamespaceType::Network).map_err(at)?;
                Ok(net_devices::move_devices(namespace.as_fd(), devices)?)
            }
            HostStep::OomScoreAdjust { value } => {
                write_proc(pid, "oom_score_adj", &value.to_string()).map_err(at)
            }
            _ => self.step(planned),
        }
    }

    /// The container that is made.
    pub(super) fn container(&mut self) -> Result<&mut NewContainer<'a>, LaunchError> {
        match &mut self.launch.subject {
            Subject::Container(container) => Ok(container),
            Subject::Process(_) => required(None),
        }
    }

    /// The container that is joined.
    pub(super) fn target(&self) -> Result<&'a JoinTarget, LaunchError> {
        match self.launch.subject {
            Subject::Process(target) => Ok(target),
            Subject::Container(_) => required(None),
        }
    }

    /// What is known of the container, whether it is made or joined.
    pub(super) fn record(&self) -> &Record {
        match &self.launch.subject {
            Subject::Container(container) => container.record,
            Subject::Process(target) => &target.record,
        }
    }

    /// How long init may take.
    pub(super) fn deadline(&self) -> Duration {
        if self.launch.is_patient { Duration::MAX } else { self.launch.plan.decisions.deadline }
    }

    /// The network namespace, whose making may have begun.
    pub(super) fn network(&mut self) -> Result<OwnedFd, SysError> {
        self.launch.network.take().map_or_else(NetworkMaker::start, Ok)?.finish()
    }

    /// The copy of the caller's mount namespace, which is made for the first tree that comes from it.
    fn copied_mounts(&mut self) -> Result<&CopiedMounts, SysError> {
        let mounts = self.copied_mounts.take().map_or_else(CopiedMounts::start, Ok)?;
        Ok(self.copied_mounts.insert(mounts))
    }

    fn write_pid_file(&mut self, pid: Pid, path: &Path) -> Result<(), SysError> {
        write_pid_file(path, pid.as_raw())?;
        self.around.pid_file = Some(path.to_owned());
        Ok(())
    }

    /// Writes the config down, and takes note of what the stdio is, which is written with the next state.
    fn record_config(&mut self) -> Result<(), LaunchError> {
        let descriptors = self.stdio.describe();
        let container = self.container()?;
        container.record.descriptors = descriptors;
        let json = container.config.json();
        let json = json.map_err(|error| container.directory.damaged("config.json", error))?;
        Ok(container.directory.write_config(&json)?)
    }

    /// Puts a process into its resctrl group, which is written down before.
    fn join_resctrl(&mut self, pid: Pid, config: &LinuxIntelRdt) -> Result<(), LaunchError> {
        let resctrl = Resctrl::open()?;
        let container = self.container()?;
        let group = resctrl.prepare(&container.record.id, config)?;
        container.record.resctrl = Some(group.record().clone());
        container.write()?;
        Ok(group.add(pid)?)
    }
}

impl NewContainer<'_> {
    fn write_first(&self) -> Result<(), LaunchError> {
        Ok(self.directory.write_first(self.record)?)
    }

    pub(super) fn write(&self) -> Result<(), LaunchError> {
        Ok(self.directory.write(self.record)?)
    }

    fn prepare(&mut self) -> Result<(), LaunchError> {
        self.record.creating = false;
        Ok(self.directory.prepare(self.record)?)
    }

    /// Runs hooks, which depend on this process.
    pub(super) fn run_hooks(
        &self,
        kind: HookKind,
        hooks: &[Hook],
        init: Option<BorrowedFd<'_>>,
        cancel: Option<&Arc<OwnedFd>>,
    ) -> Result<(), LaunchError> {
        let watch = Watch { directory: self.directory, init, cancel: cancel.map(|cancel| cancel.as_fd()) };
        hooks::run(kind, hooks, self.record, status_during(kind), Some(&watch)).map_err(|error| match error {
            error if error.is_of_init() => LaunchError::Died { how: None },
            error if error.is_cancelled() => LaunchError::Cancelled,
            error => error.into(),
        })
    }
}

/// The error of a step.
pub(super) fn at(planned: &Planned<HostStep>, source: SysError) -> LaunchError {
    LaunchError::Step { item: planned.item.to_string_lossy().into_owned(), source }
}

/// What the state says while hooks of this kind run.
fn status_during(kind: HookKind) -> Status {
    match kind {
        HookKind::Poststart => Status::Running,
        // Once they ran with `start`, and look for the status of that time (runtime-tools still does).
        HookKind::Prestart => Status::Created,
        _ => Status::Creating,
    }
}
