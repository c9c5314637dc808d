//! exec: another process in a container that runs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use corten_cgroup::{Location, Machine};

use super::foreground::Ends;
use super::wait::wait_for;
use super::{Container, Exit, LifecycleError};
use crate::bundle::read_process;
use crate::facts::{Facts, JoinFacts, WayIn};
use crate::host;
use crate::launch::{
    Again, Attempt, CannotStart, Failed, Host, JoinTarget, Launch, LaunchError, Launched, Subject,
};
use crate::oci::{Capability, Process, Spec};
use crate::plan::{HostStep, Planned, has_user_namespace};
use crate::request::{Console, CreateOptions, Request};
use crate::resctrl::GroupRecord;
use crate::state::{Record, Status};
use crate::{Error, ErrorKind, Plan, Result, spec};

/// A cgroup below the container's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubCgroup {
    /// The v1 controllers whose cgroup it is below; none on a machine with cgroup v2 alone.
    pub controllers: Vec<String>,
    /// The path below the container's cgroup.
    pub path: PathBuf,
}

/// Options of [`Container::exec`].
#[derive(Debug, Clone, Default)]
pub struct ExecOptions {
    /// Where the terminal goes.
    pub console: Console,
    /// File that gets the process's pid, in decimal.
    pub pid_file: Option<PathBuf>,
    /// The process gets those of so many fds of the caller's from 3 on that are open.
    pub preserve_fds: u32,
    /// Socket that gets the process's pidfd.
    pub pidfd_socket: Option<PathBuf>,
    /// The caller stays with the process ([`foreground::attach_process`]); as [`CreateOptions::foreground`].
    ///
    /// [`foreground::attach_process`]: super::foreground::attach_process
    pub foreground: bool,
    /// Cgroups below the container's that the process starts in. They must be there.
    pub cgroups: Vec<SubCgroup>,
    /// Join a paused container, too: the call returns when it has been resumed, however long that takes.
    pub ignore_paused: bool,
}

/// A process that was made in a container. It is a child of the caller.
#[derive(Debug)]
pub struct ExecProcess {
    pid: i32,
    pidfd: Arc<OwnedFd>,
    console: Option<OwnedFd>,
    pub(super) ends: Mutex<Ends>,
    warnings: Vec<String>,
    refused: Option<String>,
}

impl ExecProcess {
    /// Returns the pid in the caller's PID namespace. The process may have ended since.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Returns the pidfd.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Returns the terminal's master, once, of a process made with [`Console::Master`] or
    /// [`Console::Foreground`].
    pub fn take_console(&mut self) -> Option<OwnedFd> {
        self.console.take()
    }

    /// Returns what the process asks for and has not got, one sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns why the kernel has refused the program, if it has: the process has said so on its stderr, and
    /// ends with status 255.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// Waits for the end of the process, and reaps it; once.
    ///
    /// # Errors
    /// It has been waited for already.
    pub fn wait(&self) -> Result<Exit> {
        wait_for(self.pidfd())
    }
}

impl Container {
    /// Returns the config that the container was made with.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn config(&self) -> Result<Spec> {
        spec::load(self.directory.open_config()?).map_err(Error::from)
    }

    /// Returns the `process` of the bundle's config as it is now, which may have changed since the container
    /// was made. It is judged when it is executed.
    ///
    /// # Errors
    /// The config is missing, no JSON, or wrong there; the message names the field.
    pub fn bundle_process(&self) -> Result<Option<Process>> {
        let Record { bundle, config, .. } = self.record()?;
        read_process(&bundle, config.as_deref())
    }

    /// Runs a process in the container. Returns when the program has been executed.
    ///
    /// Where `process` says nothing of capabilities, resource limits, labels, scheduling, affinity, OOM score
    /// or umask, it gets those of the container's first process; the filter is always the container's.
    ///
    /// # Errors
    /// The container is stopped or paused, the process is wrong (the message names the field), or it cannot
    /// be executed. Nothing of the process is left then.
    pub fn exec(&self, process: &Process, options: &ExecOptions) -> Result<ExecProcess> {
        self.exec_observed(process, options, &mut |_| {})
    }

    /// As [`Container::exec`]. `observe` sees each host step before it is done; once more where the process
    /// has to take another way into the container's cgroups.
    ///
    /// # Errors
    /// As [`Container::exec`].
    pub fn exec_observed(
        &self,
        process: &Process,
        options: &ExecOptions,
        observe: &mut dyn FnMut(&Planned<HostStep>),
    ) -> Result<ExecProcess> {
        let mut target = self.target(options.ignore_paused)?;
        let below = options.cgroups.first().map(|cgroup| cgroup.path.to_string_lossy().into_owned());
        target.facts.follows_init = below.is_none();
        target.facts.below_unit = below.unwrap_or_default();
        let record = &target.record;
        let config = self.config()?;
        let can_be_seized = can_be_seized(&config, target.facts.namespaces);
        let config = with_process(config, process)?;
        let request_options = CreateOptions {
            console: options.console.clone(),
            pid_file: options.pid_file.clone(),
            preserve_fds: options.preserve_fds,
            no_new_keyring: record.no_new_keyring,
            pidfd_socket: options.pidfd_socket.clone(),
            foreground: options.foreground,
            ..CreateOptions::default()
        };
        let bundle = record.bundle.clone();
        let request =
            Request { id: &self.id, bundle: &bundle, wait_for_start: false, options: &request_options };
        let facts = host::exec_facts(&config, &request, &self.root, location(record, &options.cgroups)?)?;
        let by_systemd = facts.cgroups.user && facts.cgroups.unit.is_some();
        let systemd = by_systemd.then(|| host::systemd(true)).transpose()?;
        // A process that is to wait in a paused container is moved there: it must have told the runtime who
        // it is by then.
        let clones_into = !options.ignore_paused && can_clone_into(&target.machine, &facts);
        target.facts.way_in = if clones_into { WayIn::Cloned } else { WayIn::Moved };
        loop {
            let plan = Plan::for_exec(&config, &request, &facts, &target.facts)?;
            let launch = Launch {
                plan: &plan,
                host: Host { machine: &target.machine, systemd: systemd.as_ref() },
                subject: Subject::Process(&target),
                options: &request_options,
                attempt: Attempt::Process { way_in: target.facts.way_in, can_be_seized },
                network: None,
                is_patient: options.ignore_paused,
            };
            match launch.run(observe) {
                Ok(Launched { pid, pidfd, master: console, copies, refused, warnings, .. }) => {
                    let (ends, warnings) = (Mutex::new(copies), [plan.warnings, warnings].concat());
                    return Ok(ExecProcess { pid: pid.as_raw(), pidfd, console, ends, warnings, refused });
                }
                Err(Failed { again: Some(Again::Enter(way_in)), .. }) => target.facts.way_in = way_in,
                Err(failed) => return Err(self.joining_failed(failed.error)),
            }
        }
    }

    /// Says why a process could not join: maybe because the container has stopped meanwhile.
    fn joining_failed(&self, error: LaunchError) -> Error {
        let ended = matches!(error, LaunchError::Died { .. } | LaunchError::ContainerEnded)
            && self.record().is_ok_and(|record| matches!(record.is_alive(), Ok(false)));
        if ended { LifecycleError::ExecStopped.into() } else { CannotStart(error).into() }
    }

    /// Looks at the container, which must run. No lock: many join at the same time, and one that joins a
    /// paused container waits for another command. What is joined is held by init's pidfd.
    pub(super) fn target(&self, ignore_paused: bool) -> Result<JoinTarget> {
        let record = self.record()?;
        match self.status(&record)? {
            Status::Stopped | Status::Creating => return Err(LifecycleError::ExecStopped.into()),
            Status::Paused if !ignore_paused => return Err(LifecycleError::ExecPaused.into()),
            _ => {}
        }
        let pidfd = self.open_init(&record)?.ok_or(LifecycleError::ExecStopped)?;
        let namespaces = host::other_namespaces(record.pid)?;
        // Then what was looked at was init's.
        if !record.is_alive()? {
            return Err(LifecycleError::ExecStopped.into());
        }
        let resctrl = record.resctrl.as_ref().map(GroupRecord::tasks).unwrap_or_default();
        let facts = JoinFacts {
            namespaces,
            follows_init: true,
            way_in: WayIn::Moved,
            below_unit: String::new(),
            resctrl,
        };
        let machine = if record.cgroups.is_empty() { Machine::none() } else { Machine::detect()? };
        Ok(JoinTarget { machine, record, pidfd, facts })
    }
}

/// Whether the process can be cloned into its cgroup, which spares a wait: that takes cgroup v2, all rights,
/// a cgroup that takes processes, and a kernel that gives a clone the processors of its cgroup's cpuset
/// (Linux 6.4 and later stable ones). Where that cannot be found out the process is moved, and the error of
/// that says why.
fn can_clone_into(machine: &Machine, facts: &Facts) -> bool {
    let by_path = facts.cgroups.legacy.is_empty() && !facts.rootless && host::kernel_version() >= (6, 4);
    let takes = || machine.open(&facts.cgroups).ok()?.unified()?.takes_processes().ok();
    by_path && takes() == Some(true)
}

/// Whether processes of the container may have the power to take hold of one that has appeared in their PID
/// namespace and is not in their cgroups yet, with all devices and no limits. Not those that could leave
/// their cgroups anyway.
fn can_be_seized(config: &Spec, namespaces: u64) -> bool {
    let sets = config.process().as_ref().and_then(|process| process.capabilities().as_ref());
    let has = |one| sets.is_some_and(|sets| sets.bounding().iter().flatten().any(|other| *other == one));
    has(Capability::SysPtrace) && !has(Capability::SysAdmin) && !has_user_namespace(namespaces)
}

/// Where the process is to be.
fn location(record: &Record, cgroups: &[SubCgroup]) -> Result<Location> {
    let mut location = record.cgroups.clone();
    for SubCgroup { controllers, path } in cgroups {
        let controllers: Vec<_> = controllers.iter().map(String::as_str).collect();
        location = location
            .below(&controllers, path)
            .map_err(|error| Error::of_kind(ErrorKind::InvalidConfig, error))?;
    }
    Ok(location)
}

/// The container's config with another process, and without what is done once for all of a container.
fn with_process(mut config: Spec, process: &Process) -> Result<Spec> {
    let mut process = process.clone();
    if let Some(first) = config.process() {
        inherit(&mut process, first);
    }
    config.set_process(Some(process));
    // Judged whole: ids must be mapped, flags must fit each other.
    spec::validate(&config)?;
    config.set_hooks(None);
    if let Some(linux) = config.linux_mut() {
        linux.set_sysctl(None);
        linux.set_time_offsets(None);
    }
    Ok(config)
}

/// What a process that says nothing of it has of the container's first one (runc).
fn inherit(process: &mut Process, first: &Process) {
    let unset = |text: &Option<String>| text.as_ref().is_none_or(String::is_empty);
    if process.capabilities().is_none() {
        process.set_capabilities(first.capabilities().clone());
    }
    if unset(process.apparmor_profile()) {
        process.set_apparmor_profile(first.apparmor_profile().clone());
    }
    if unset(process.selinux_label()) {
        process.set_selinux_label(first.selinux_label().clone());
    }
    if process.rlimits().as_ref().is_none_or(Vec::is_empty) {
        process.set_rlimits(first.rlimits().clone());
    }
    if process.io_priority().is_none() {
        process.set_io_priority(*first.io_priority());
    }
    if process.scheduler().is_none() {
        process.set_scheduler(first.scheduler().clone());
    }
    if process.exec_cpu_affinity().is_none() {
        process.set_exec_cpu_affinity(first.exec_cpu_affinity().clone());
    }
    if process.oom_score_adj().is_none() {
        process.set_oom_score_adj(first.oom_score_adj());
    }
    if process.user().umask().is_none() {
        let mut user = process.user().clone();
        user.set_umask(first.user().umask());
        process.set_user(user);
    }
}
