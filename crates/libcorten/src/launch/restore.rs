//! A launch in which CRIU makes the processes, from images, in the place of init.
//!
//! What is around the processes is made by the same host steps as at `create`: cgroups, limits, devices,
//! unit, resctrl group. CRIU is put into the cgroups first, so that all that it makes is in them. What init
//! does inside, CRIU does.
//! Stage: host. Privilege: root's.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use nix::unistd::Pid;

use super::attached::hand_on;
use super::undo::Undo;
use super::work::required;
use super::{Failed, Launch, LaunchError, Launched, Work, net_devices, open};
use crate::criu::rpc::{self, CgroupRoot, InheritFd, Kind, Request};
use crate::criu::{Criu, CriuError, Images, NULL_DEVICE, Notice, Start};
use crate::oci::LinuxNamespaceType;
use crate::plan::HostStep;
use crate::spec::HookKind;
use crate::state::start_time;
use crate::sys::{self, Call, SysError};

/// What is to be restored.
#[derive(Debug)]
pub(crate) struct Restoration<'a> {
    pub(crate) images: Images<'a>,
    /// All but what is known when the images are open.
    pub(crate) options: rpc::Options,
    /// Fds that CRIU gets, which the options name by their numbers.
    pub(crate) inherited: Vec<OwnedFd>,
    /// Null devices, which CRIU gets, too: one for each of stdio, as CRIU closes what it has taken.
    pub(crate) null: [OwnedFd; 3],
    pub(crate) rootfs: PathBuf,
    /// Where CRIU sees the rootfs mounted. It must be a mount point of its own, which nothing else is mounted
    /// on.
    pub(crate) root: PathBuf,
    /// The processes have a terminal, and stdio is not the caller's.
    pub(crate) terminal: bool,
    /// The network namespace is a new one, which nothing is restored in.
    pub(crate) empty_network: bool,
}

/// What becomes of a step of a plan's host half where CRIU makes the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtRestore {
    /// It is done: it makes what is around the processes.
    Around,
    /// CRIU begins.
    Begin,
    /// It is done when CRIU has made the namespaces.
    InNamespaces,
    /// It is done when the processes are there.
    Afterwards,
    /// CRIU does it, or it is for init, which there is none of.
    Nothing,
}

impl AtRestore {
    fn of(step: &HostStep) -> Self {
        match step {
            HostStep::RecordCreating
            | HostStep::RecordConfig
            | HostStep::CreateCgroups { .. }
            | HostStep::Limit { .. }
            | HostStep::StartUnit { .. }
            | HostStep::JoinCgroups
            | HostStep::DelegateCgroup { .. }
            | HostStep::LoadDeviceFilter { .. }
            | HostStep::DeviceFilter { .. }
            | HostStep::IntelRdt { .. } => Self::Around,
            HostStep::CloneInit { .. } => Self::Begin,
            HostStep::RunHooks { kind: HookKind::Prestart | HookKind::CreateRuntime, .. } => Self::InNamespaces,
            HostStep::PrepareRecord | HostStep::RecordCreated | HostStep::PidFile { .. } => Self::Afterwards,
            // A restored container has had its poststart hooks run when it was started.
            HostStep::RunHooks { .. }
            // The images have it: mounts, files, namespaces, what the processes may do.
            | HostStep::OpenCgroup { .. }
            | HostStep::MakeMountTemplate { .. }
            | HostStep::OpenTree { .. }
            | HostStep::SendTrees { .. }
            | HostStep::MapTree { .. }
            | HostStep::OpenDevice { .. }
            | HostStep::OpenNamespace { .. }
            | HostStep::MakeNetwork
            | HostStep::OpenHostProc { .. }
            | HostStep::OpenHookOutput { .. }
            | HostStep::WriteIdMaps { .. }
            | HostStep::CheckIdMap { .. }
            | HostStep::ResourceLimit { .. }
            | HostStep::MoveNetDevices { .. }
            | HostStep::OomScoreAdjust { .. }
            | HostStep::SendSeccompListener { .. }
            | HostStep::RunOn { .. }
            // Options that a restore does not have.
            | HostStep::MakeNotifyDirectory
            | HostStep::ListenForReadiness
            | HostStep::ListenForStart { .. }
            | HostStep::SendPidfd { .. }
            | HostStep::CopyStdio { .. }
            | HostStep::GiveStdio { .. }
            // The conversation with init, and what is known of it.
            | HostStep::FollowClone
            | HostStep::ReceiveConsole
            | HostStep::HandOnConsole
            | HostStep::Await { .. }
            | HostStep::RecordInit
            | HostStep::Release { .. }
            | HostStep::AwaitExec
            // Those of a process that joins a container.
            | HostStep::JoinContainer { .. }
            | HostStep::OpenJoinedCgroup { .. }
            | HostStep::AttachToUnit { .. }
            | HostStep::JoinIntelRdt { .. }
            | HostStep::OpenInit { .. }
            | HostStep::OpenInitRoot { .. } => Self::Nothing,
        }
    }
}

/// A restore under way.
struct Restoring<'a> {
    work: Work<'a>,
    /// The first process, as soon as there is one.
    root: Option<(Pid, Arc<OwnedFd>)>,
    master: Option<OwnedFd>,
}

impl Launch<'_> {
    /// Carries out what the plan has for the surroundings, and lets CRIU make the processes. They run then.
    ///
    /// # Errors
    /// Nothing is left; what could not be removed is part of the error.
    pub(crate) fn restore(self, restoration: &Restoration<'_>) -> Result<Launched, Failed> {
        let mut restoring = Restoring { work: Work::new(self), root: None, master: None };
        match restoring.restore(restoration) {
            Ok((pid, pidfd)) => {
                let Restoring { work, master, .. } = restoring;
                let copies = Default::default();
                let (notify_socket, warnings, refused) = (None, work.warnings, None);
                Ok(Launched { pid, pidfd, master, copies, notify_socket, warnings, refused })
            }
            Err(error) => Err(restoring.undo(error)),
        }
    }
}

impl Restoring<'_> {
    fn restore(&mut self, restoration: &Restoration<'_>) -> Result<(Pid, Arc<OwnedFd>), LaunchError> {
        let mut criu: Option<Criu> = None;
        for planned in &self.work.launch.plan.host {
            match (AtRestore::of(&planned.step), &criu) {
                (AtRestore::Begin, _) => criu = Some(self.start_criu(restoration)?),
                (AtRestore::Around, Some(criu)) => self.work.step_of(Pid::from_raw(criu.pid()), planned)?,
                (AtRestore::Around, None) => self.work.step(planned)?,
                _ => {}
            }
        }
        let mut criu = required(criu)?;
        let mut options = restoration.options.clone();
        criu.directories()?.fill(&mut options);
        options.inherit_fd.extend(stdio(&criu.directories()?.read_descriptors()?, &restoration.null));
        options.cg_root = cgroup_roots(criu.pid())?;
        let request = Request { kind: Kind::Restore.into(), options: Some(options), ..Request::default() };
        criu.ask(&request, &mut |notice| self.notified(notice, restoration.empty_network))?;
        criu.finish(&request)?;
        self.root.clone().ok_or_else(|| CriuError::Protocol.into())
    }

    /// Starts CRIU, which waits until it is asked, and puts it into the cgroups that are there.
    fn start_criu(&mut self, restoration: &Restoration<'_>) -> Result<Criu, LaunchError> {
        let criu = Criu::start(Start {
            inherits_stdio: !restoration.terminal,
            inherited: restoration
                .inherited
                .iter()
                .chain(&restoration.null)
                .map(AsRawFd::as_raw_fd)
                .collect(),
            root: Some((&restoration.rootfs, &restoration.root)),
            images: Some(restoration.images),
        })?;
        self.note(criu.pid())?;
        // What systemd makes is around it later.
        if let Some(cgroups) = &self.work.around.cgroups {
            cgroups.add(criu.pid()).map_err(LaunchError::Cgroup)?;
        }
        Ok(criu)
    }

    fn notified(&mut self, notice: Notice, empty_network: bool) -> Result<Option<OwnedFd>, LaunchError> {
        match (notice.script.as_str(), notice.pid) {
            ("setup-namespaces", Some(pid)) => {
                let process = self.follow_root(pid)?;
                if empty_network {
                    let at = |source| LaunchError::Step { item: "linux.namespaces".to_owned(), source };
                    let pid = Pid::from_raw(pid);
                    let namespace = open::namespace_of(pid, LinuxNamespaceType::Network).map_err(at)?;
                    // As at `create`: nobody else would, and an address of it may be in use.
                    net_devices::raise_loopback(namespace.as_fd()).map_err(at)?;
                }
                self.run_hooks()?;
                Ok(Some(process))
            }
            ("post-restore", Some(pid)) => {
                let process = self.follow_root(pid)?;
                for planned in &self.work.launch.plan.host {
                    if AtRestore::of(&planned.step) == AtRestore::Afterwards {
                        self.work.step_of(Pid::from_raw(pid), planned)?;
                    }
                }
                Ok(Some(process))
            }
            ("orphan-pts-master", _) => {
                let master = notice.fd.ok_or(CriuError::Protocol)?;
                self.master = hand_on(&self.work.launch.options.console, master)?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// Takes note of the first process; returns a pidfd of its own for CRIU's conversation.
    fn follow_root(&mut self, pid: i32) -> Result<OwnedFd, LaunchError> {
        let process = Pid::from_raw(pid);
        self.root = Some((process, Arc::new(sys::open_pidfd(process)?)));
        self.note(pid)?;
        Ok(sys::open_pidfd(process)?)
    }

    /// Takes note of who the container begins with by now.
    fn note(&mut self, pid: i32) -> Result<(), LaunchError> {
        let record = &mut self.work.container()?.record;
        record.pid = pid;
        record.start_time = start_time(pid)?.unwrap_or(0);
        Ok(())
    }

    fn run_hooks(&mut self) -> Result<(), LaunchError> {
        let root = self.root.as_ref().map(|(_, pidfd)| pidfd.as_fd());
        let cancel = self.work.launch.options.cancel.as_ref();
        for planned in &self.work.launch.plan.host {
            if let (AtRestore::InNamespaces, HostStep::RunHooks { kind, hooks }) =
                (AtRestore::of(&planned.step), &planned.step)
            {
                self.work.container()?.run_hooks(*kind, hooks, root, cancel)?;
            }
        }
        Ok(())
    }

    fn undo(mut self, error: LaunchError) -> Failed {
        if let (None, Ok(container)) = (&self.root, self.work.container()) {
            // It is CRIU's, which has ended.
            container.record.pid = 0;
        }
        Undo { init: self.root, own_cpus: None, has_processes: true }.of(self.work, error)
    }
}

/// What takes the place of stdio that came from outside: pipes, and files, which runc does not have.
fn stdio(descriptors: &[String], null: &[OwnedFd; 3]) -> Vec<InheritFd> {
    let mut inherited: Vec<InheritFd> = Vec::new();
    for (fd, (descriptor, null)) in (0..).zip(descriptors.iter().zip(null)) {
        let (key, fd) = match descriptor.strip_suffix(NULL_DEVICE) {
            Some(key) => (key, null.as_raw_fd()),
            None => (descriptor.as_str(), fd),
        };
        let is_outside = key.contains("pipe:") || key.starts_with("file[");
        if is_outside && !inherited.iter().any(|other| other.key == key) {
            inherited.push(InheritFd { key: key.to_owned(), fd });
        }
    }
    inherited
}

/// The cgroups that a process is in are where those of the images go.
fn cgroup_roots(pid: i32) -> Result<Vec<CgroupRoot>, SysError> {
    let path = format!("/proc/{pid}/cgroup");
    let text =
        std::fs::read_to_string(&path).map_err(|error| SysError::from_io(&error, || Call::read(&path)))?;
    let mut roots = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        // One for each controller, whatever else is mounted with it.
        for controller in controllers.split(',') {
            roots.push(CgroupRoot { controllers: Some(controller.to_owned()), path: path.to_owned() });
        }
    }
    Ok(roots)
}
