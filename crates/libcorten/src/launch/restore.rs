//! A launch in which CRIU makes the processes, from images, in the place of init.
//!
//! What is around the processes is made by the same host steps as at `create`: cgroups, limits, devices, unit, resctrl group. CRIU
//! is put into the cgroups first, so that all that it makes is in them. What init does inside, CRIU does.
//! Stage: host. Privilege: root's.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::{KILL_DEADLINE, Launch, LaunchError, Launched, net_devices, open};
use crate::criu::rpc::{self, CgroupRoot, InheritFd, Kind, Request};
use crate::criu::{Criu, CriuError, Images, NULL_DEVICE, Notice, Start};
use crate::oci::LinuxNamespaceType;
use crate::plan::{HostStep, Planned};
use crate::spec::HookKind;
use crate::state::start_time;
use crate::sys::{self, SysError};

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
    /// Where CRIU sees the rootfs mounted. It must be a mount point of its own, which nothing else is mounted on.
    pub(crate) root: PathBuf,
    /// The processes have a terminal, and stdio is not the caller's.
    pub(crate) terminal: bool,
    /// The network namespace is a new one, which nothing is restored in.
    pub(crate) empty_network: bool,
}

/// Whether a step of a plan's host half is for what is around the processes.
fn is_around(step: &HostStep) -> bool {
    matches!(
        step,
        HostStep::RecordCreating
            | HostStep::RecordConfig
            | HostStep::CreateCgroups { .. }
            | HostStep::Limit { .. }
            | HostStep::StartUnit { .. }
            | HostStep::JoinCgroups
            | HostStep::DelegateCgroup { .. }
            | HostStep::LoadDeviceFilter { .. }
            | HostStep::DeviceFilter { .. }
            | HostStep::IntelRdt { .. }
    )
}

impl Launch<'_> {
    /// Carries out what the plan has for the surroundings, and lets CRIU make the processes. They run then.
    ///
    /// # Errors
    /// Nothing is left; what could not be removed is part of the error.
    pub(crate) fn restore(mut self, restoration: &Restoration<'_>) -> Result<Launched, LaunchError> {
        let mut root = None;
        match self.restore_with(restoration, &mut root) {
            Ok(pidfd) => {
                let warnings = std::mem::take(&mut self.warnings);
                Ok(Launched {
                    pidfd: Arc::new(pidfd),
                    master: self.master,
                    copies: Default::default(),
                    notify_socket: None,
                    warnings,
                    refused: None,
                })
            }
            Err(error) => {
                let left = root.as_ref().and_then(end);
                if root.is_none() {
                    // It is CRIU's, which has ended.
                    self.record.pid = 0;
                }
                let error = self.undo(error, true);
                Err(match left {
                    Some(left) => LaunchError::Left { cause: Box::new(error), left },
                    None => error,
                })
            }
        }
    }

    /// `root`: the first process, as soon as there is one.
    fn restore_with(
        &mut self,
        restoration: &Restoration<'_>,
        root: &mut Option<OwnedFd>,
    ) -> Result<OwnedFd, LaunchError> {
        let plan = self.plan;
        let mut criu = None;
        for planned in &plan.host {
            if matches!(planned.step, HostStep::CloneInit { .. }) {
                criu = Some(self.start_criu(restoration)?);
            } else if is_around(&planned.step) {
                self.step(planned)?;
            }
        }
        let mut criu = criu.ok_or(LaunchError::Order)?;
        let mut options = restoration.options.clone();
        criu.directories()?.fill(&mut options);
        options.inherit_fd.extend(stdio(&criu.directories()?.read_descriptors()?, &restoration.null));
        options.cg_root = cgroup_roots(self.record.pid)?;
        let request = Request { kind: Kind::Restore.into(), options: Some(options), ..Request::default() };
        criu.ask(&request, &mut |notice| self.notified(notice, root, restoration.empty_network))?;
        criu.finish(&request)?;
        root.take().ok_or_else(|| CriuError::Protocol.into())
    }

    /// Starts CRIU, which waits until it is asked, and puts it into the cgroups that are there.
    fn start_criu(&mut self, restoration: &Restoration<'_>) -> Result<Criu, LaunchError> {
        let criu = Criu::start(Start {
            inherits_stdio: !restoration.terminal,
            inherited: restoration.inherited.iter().chain(&restoration.null).map(AsRawFd::as_raw_fd).collect(),
            root: Some((&restoration.rootfs, &restoration.root)),
            images: Some(restoration.images),
        })?;
        self.record.pid = criu.pid();
        self.record.start_time = start_time(criu.pid())?.unwrap_or(0);
        // What systemd makes is around it later.
        if let Some(cgroups) = &self.cgroups {
            cgroups.add(criu.pid()).map_err(LaunchError::Cgroup)?;
        }
        Ok(criu)
    }

    fn notified(
        &mut self,
        notice: Notice,
        root: &mut Option<OwnedFd>,
        empty_network: bool,
    ) -> Result<Option<OwnedFd>, LaunchError> {
        match (notice.script.as_str(), notice.pid) {
            ("setup-namespaces", Some(pid)) => {
                let process = self.follow_root(pid, root)?;
                if empty_network {
                    let at = |source| LaunchError::Step { item: "linux.namespaces".to_owned(), source };
                    let namespace = open::namespace_of(self.pid(), LinuxNamespaceType::Network).map_err(at)?;
                    // As at `create`: nobody else would, and an address of it may be in use.
                    net_devices::raise_loopback(namespace.as_fd()).map_err(at)?;
                }
                self.run_all_hooks(root.as_ref().map(AsFd::as_fd))?;
                Ok(Some(process))
            }
            ("post-restore", Some(pid)) => {
                let process = self.follow_root(pid, root)?;
                self.steps(|step| {
                    matches!(step, HostStep::PrepareRecord | HostStep::RecordCreated | HostStep::PidFile { .. })
                })?;
                Ok(Some(process))
            }
            ("orphan-pts-master", _) => {
                self.hand_on(notice.fd.ok_or(CriuError::Protocol)?)?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// Takes note of the first process; returns a pidfd of its own for CRIU's conversation.
    fn follow_root(&mut self, pid: i32, root: &mut Option<OwnedFd>) -> Result<OwnedFd, LaunchError> {
        let open = || sys::open_pidfd(Pid::from_raw(pid));
        *root = Some(open()?);
        self.record.pid = pid;
        self.record.start_time = start_time(pid)?.unwrap_or(0);
        Ok(open()?)
    }

    fn run_all_hooks(&self, root: Option<BorrowedFd<'_>>) -> Result<(), LaunchError> {
        for Planned { step, .. } in &self.plan.host {
            if let HostStep::RunHooks { kind: kind @ (HookKind::Prestart | HookKind::CreateRuntime), hooks } = step {
                self.run_hooks_beside(root, *kind, hooks)?;
            }
        }
        Ok(())
    }

    fn steps(&mut self, wanted: impl Fn(&HostStep) -> bool) -> Result<(), LaunchError> {
        let plan = self.plan;
        plan.host.iter().filter(|planned| wanted(&planned.step)).try_for_each(|planned| self.step(planned))
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
        std::fs::read_to_string(&path).map_err(|error| SysError::from_io(&error, || format!("read({path:?})")))?;
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

/// Ends the first process of a restore that failed, and reaps it; returns what could not be done.
fn end(root: &OwnedFd) -> Option<String> {
    match sys::send_signal(root, libc::SIGKILL) {
        Err(error) if error.errno.0 != Errno::ESRCH => return Some(crate::chain(&error)),
        _ => {}
    }
    match sys::wait_ended(root, KILL_DEADLINE) {
        Ok(true) => {}
        Ok(false) => return Some("the restored process".to_owned()),
        Err(error) => return Some(crate::chain(&error)),
    }
    sys::wait_exit(root.as_fd(), false).err().map(|error| crate::chain(&error))
}
