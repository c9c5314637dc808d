//! The runtime's half: carries out the host steps of a plan.
//!
//! Stage: host; init runs at the same time from `CloneInit` on.
//! Privilege: the caller's. Kernel: clone3 (5.7 for `CLONE_INTO_CGROUP`), the calls of the steps.
//! Attacker: owns the rootfs and may move things while this runs: every path of the bundle is resolved once. Another user of
//! the host: sees neither the state directory (0700) nor init (not dumpable).
//!
//! A failed launch leaves nothing: init is killed and reaped, the cgroup removed; the caller removes the state directory.

mod agents;
mod cgroups;
mod copied_mounts;
mod error;
mod files;
mod hint;
mod id_maps;
pub(crate) mod locked_flags;
mod net_devices;
mod open;
mod restore;
mod stdio;
mod sync;
mod undo;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use corten_cgroup::systemd::Manager as Systemd;
use corten_cgroup::{Cgroups, Devices, Machine};
use corten_init::{Slot, SyncPoint};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::Pid;

use copied_mounts::CopiedMounts;
pub(crate) use error::{CannotStart, InitFailure, LaunchError, LimitError};
use files::{listen_for_start, pid_inside, write_pid_file, write_proc};
pub(crate) use id_maps::IdMapError;
pub(crate) use restore::Restoration;
pub(crate) use sync::{Channel, Peer};

use crate::bundle::Bundle;
use crate::hooks::{self, Watch};
use crate::host::mount_template;
use crate::oci::{Hook, LinuxNamespaceType};
use crate::plan::{HostStep, Plan, Planned};
use crate::request::{Console, CreateOptions};
use crate::resctrl::{self, Resctrl};
use crate::spec::HookKind;
use crate::state::{ProcessState, Record, StateDirectory, Status, start_time};
use crate::sys::{self, InitProcess, InitStart, NetworkMaker, SysError};
use crate::terminal;

/// How long an init that has closed its files may take to be seen to be dead.
pub(crate) const DEATH_DEADLINE: Duration = Duration::from_secs(1);
/// How long the processes of a failed launch may take to die.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// Where a launch takes place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) machine: &'a Machine,
    /// The systemd that makes the cgroups, if one does.
    pub(crate) systemd: Option<&'a Systemd>,
    pub(crate) directory: &'a StateDirectory,
}

/// What a launch works with.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) place: Place<'a>,
    pub(crate) record: &'a mut Record,
    pub(crate) console: &'a Console,
    /// A stand-in for the resctrl filesystem, for tests.
    pub(crate) resctrl_root: Option<&'a Path>,
    /// What says that the caller wants no container any more.
    cancel: Option<&'a Arc<OwnedFd>>,
    /// The config, which is written down.
    pub(crate) config: Option<&'a Bundle>,
    /// The init of the container that the process joins.
    pub(crate) joined: Option<Joined>,
    /// The network namespace, if its making has begun.
    network: Option<NetworkMaker>,
    /// A copy of the caller's mount namespace, if trees come from one.
    copied_mounts: Option<CopiedMounts>,
    /// When trees must come from there, the caller begins again.
    may_begin_again: bool,
    /// Fds by slot.
    fds: Vec<Option<OwnedFd>>,
    cgroups: Option<Cgroups>,
    /// The CPUs of this thread, until init has been cloned.
    own_cpus: Option<Box<sys::Cpus>>,
    /// The container is paused, and the process may wait until it is resumed.
    is_patient: bool,
    /// The device filter, until it is attached.
    devices: Option<Devices>,
    unit_started: bool,
    init: Option<InitProcess>,
    channel: Option<Channel>,
    master: Option<OwnedFd>,
    stdio: stdio::Pipes,
    notify_socket: Option<OwnedFd>,
    pid_file: Option<PathBuf>,
    warnings: Vec<String>,
    refused: Option<String>,
}

/// The container that a process joins.
#[derive(Debug)]
pub(crate) struct Joined {
    /// Its init, and that one's pid.
    pub(crate) pidfd: OwnedFd,
    pub(crate) pid: i32,
}

impl Joined {
    pub(crate) fn try_clone(&self) -> Result<Self, SysError> {
        Ok(Self { pidfd: self.open()?, pid: self.pid })
    }

    /// A pidfd of init's for the process.
    fn open(&self) -> Result<OwnedFd, SysError> {
        self.pidfd.try_clone().map_err(|error| SysError::from_io(&error, || "fcntl(F_DUPFD_CLOEXEC)".to_owned()))
    }

    /// The root directory of init.
    fn root(&self) -> Result<OwnedFd, SysError> {
        open::root_of(self.pid, &self.pidfd)
    }
}

/// A container that has been launched.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) pidfd: Arc<OwnedFd>,
    pub(crate) master: Option<OwnedFd>,
    /// The other ends of its stdio, where the caller copies.
    pub(crate) copies: [Option<OwnedFd>; 3],
    pub(crate) notify_socket: Option<OwnedFd>,
    pub(crate) warnings: Vec<String>,
    /// Why the kernel has refused the program, if it has.
    pub(crate) refused: Option<String>,
}

impl<'a> Launch<'a> {
    pub(crate) fn new(plan: &'a Plan, place: Place<'a>, record: &'a mut Record, options: &'a CreateOptions) -> Self {
        let fds = (0..plan.slots).map(|_| None).collect();
        Self {
            plan,
            place,
            record,
            console: &options.console,
            resctrl_root: options.resctrl_root.as_deref(),
            cancel: options.cancel.as_ref(),
            config: None,
            joined: None,
            network: None,
            copied_mounts: None,
            may_begin_again: false,
            fds,
            cgroups: None,
            own_cpus: None,
            is_patient: false,
            devices: None,
            unit_started: false,
            init: None,
            channel: None,
            master: None,
            stdio: stdio::Pipes::default(),
            notify_socket: None,
            pid_file: None,
            warnings: Vec::new(),
            refused: None,
        }
    }

    /// The config, which is written down.
    pub(crate) fn of(mut self, config: &'a Bundle) -> Self {
        self.config = Some(config);
        self
    }

    /// The making of the network namespace has begun.
    pub(crate) fn with_network(mut self, network: Option<NetworkMaker>) -> Self {
        self.network = network;
        self
    }

    /// A launch that fails for a mount namespace below a source is going to be tried again with another plan.
    pub(crate) fn beginning_again(mut self, may_begin_again: bool) -> Self {
        self.may_begin_again = may_begin_again;
        self
    }

    /// The process joins a container, whose init this is.
    pub(crate) fn joining(mut self, init: Joined) -> Self {
        self.joined = Some(init);
        self
    }

    /// It may wait until the container is resumed, for as long as that takes.
    pub(crate) fn patiently(mut self, is_patient: bool) -> Self {
        self.is_patient = is_patient;
        self
    }

    /// Carries out the plan. `observe` sees each step before it is done.
    ///
    /// # Errors
    /// Init and the cgroup are gone then; what could not be removed is part of the error.
    pub(crate) fn run(mut self, observe: &mut dyn FnMut(&Planned<HostStep>)) -> Result<Launched, LaunchError> {
        for planned in &self.plan.host {
            let wanted = self.check_wanted().map(|()| observe(planned));
            if let Err(error) = wanted.and_then(|()| self.step(planned)) {
                let has_processes = self.init.is_some();
                return Err(self.undo(error, has_processes));
            }
        }
        match self.init {
            Some(init) => {
                let Self { master, notify_socket, mut warnings, refused, channel, .. } = self;
                warnings.extend(channel.map(Channel::into_warnings).unwrap_or_default());
                let (pidfd, copies) = (init.pidfd().clone(), self.stdio.into_outer());
                Ok(Launched { pidfd, master, copies, notify_socket, warnings, refused })
            }
            None => Err(LaunchError::Order),
        }
    }

    /// Fails if the caller wants no container any more.
    fn check_wanted(&self) -> Result<(), LaunchError> {
        let is_cancelled = |cancel: &Arc<OwnedFd>| sys::wait_readable(&**cancel, Duration::ZERO).unwrap_or(false);
        if self.cancel.is_some_and(is_cancelled) { Err(LaunchError::Cancelled) } else { Ok(()) }
    }

    fn step(&mut self, planned: &Planned<HostStep>) -> Result<(), LaunchError> {
        let item = || planned.item.to_string_lossy().into_owned();
        let at = |source: SysError| LaunchError::Step { item: item(), source };
        match &planned.step {
            HostStep::RecordCreating => Ok(self.place.directory.write_first(self.record)?),
            HostStep::CreateCgroups { location, optional } => self.create_cgroups(location, *optional),
            HostStep::Limit { settings } => self.limit(settings),
            HostStep::StartUnit { location, properties } => self.start_unit(location, properties),
            HostStep::JoinCgroups => self.join_cgroups(),
            HostStep::JoinContainer { location, or_inits, optional } => {
                self.join_container(location, *or_inits, *optional)
            }
            HostStep::OpenJoinedCgroup { location, slot } => self.open_joined_cgroup(location, *slot),
            HostStep::JoinIntelRdt { tasks } => resctrl::join(tasks, self.pid()).map_err(at),
            HostStep::AttachToUnit { below } => self.attach_to_unit(below),
            HostStep::OpenInit { slot } => self.put(*slot, self.joined()?.open().map_err(at)?),
            HostStep::OpenInitRoot { slot } => self.put(*slot, self.joined()?.root().map_err(at)?),
            HostStep::RunOn { cpus } => sys::run_on(&cpus.0).map(|before| self.own_cpus = Some(before)).map_err(at),
            HostStep::DelegateCgroup { uid } => self.delegate(*uid),
            HostStep::OpenCgroup { slot } => {
                let opened = self.place.machine.open(&self.record.cgroups).map_err(LaunchError::Cgroup)?;
                self.put(*slot, sys::clone_tree(opened.unified().ok_or(LaunchError::Order)?).map_err(at)?)
            }
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
                self.put(*slot, tree.map_err(at)?)
            }
            HostStep::SendTrees { first, count } => self.send_trees(*first, *count),
            HostStep::MapTree { slot, maps, recursive } => {
                let tree = self.fds.get(usize::from(slot.0)).and_then(Option::as_ref).ok_or(LaunchError::Order)?;
                Ok(open::map_tree(tree, &item(), maps, *recursive)?)
            }
            HostStep::OpenDevice { path, kind, major, minor, slot } => {
                self.put(*slot, open::device(path, *kind, *major, *minor).map_err(at)?)
            }
            HostStep::OpenNamespace { path, kind, flag, foreign, slot } => {
                self.put(*slot, open::namespace(path, *kind, *flag, *foreign).map_err(at)?)
            }
            HostStep::MakeNetwork => self.hand_over_network(at),
            HostStep::OpenHostProc { slot } => self.put(*slot, open::host_proc().map_err(at)?),
            HostStep::OpenHookOutput { path, slot } => self.put(*slot, hooks::open_output(path).map_err(at)?.into()),
            HostStep::MakeNotifyDirectory => self.place.directory.make_notify_directory().map_err(at),
            HostStep::ListenForReadiness => {
                self.notify_socket = self.place.directory.listen_for_readiness().map_err(at)?;
                Ok(())
            }
            HostStep::ListenForStart { slot } => self.put(*slot, listen_for_start(self.place.directory).map_err(at)?),
            HostStep::CloneInit { namespaces } => self.clone_init(*namespaces),
            HostStep::FollowClone => self.follow_clone(),
            HostStep::WriteIdMaps { uids, gids } => {
                Ok(id_maps::write(self.pid(), ["linux.uidMappings", "linux.gidMappings"], uids, gids)?)
            }
            HostStep::CheckIdMap { file, maps } => id_maps::check(self.pid(), file, maps).map_err(at),
            HostStep::LoadDeviceFilter { rules, optional } => self.load_device_filter(rules, *optional),
            HostStep::DeviceFilter { optional } => self.attach_device_filter(*optional),
            HostStep::IntelRdt { config } => self.join_resctrl(config),
            HostStep::ResourceLimit { resource, soft, hard } => {
                sys::set_limit(self.pid(), *resource, *soft, *hard).map_err(at)
            }
            HostStep::MoveNetDevices { devices } => {
                let namespace = open::namespace_of(self.pid(), LinuxNamespaceType::Network).map_err(at)?;
                Ok(net_devices::move_devices(namespace.as_fd(), devices)?)
            }
            HostStep::RunHooks { kind, hooks } => self.run_hooks(*kind, hooks),
            HostStep::SendSeccompListener { path, metadata } => self.send_listener(path, metadata.as_deref(), at),
            HostStep::SendPidfd { path, name } => {
                agents::send(path, name.as_bytes(), self.init()?.pidfd().as_fd()).map_err(at)
            }
            HostStep::OomScoreAdjust { value } => {
                write_proc(self.pid(), "oom_score_adj", &value.to_string()).map_err(at)
            }
            HostStep::CopyStdio { uid } => {
                stdio::Pipes::for_files_of_others(*uid).map(|pipes| self.stdio = pipes).map_err(at)
            }
            HostStep::GiveStdio { uid } => self.give_stdio(*uid, at),
            HostStep::ReceiveConsole => self.receive_console(),
            HostStep::HandOnConsole => self.hand_on_console(),
            HostStep::Await { point } => self.await_point(*point),
            HostStep::RecordInit => Ok(self.place.directory.write(self.record)?),
            HostStep::RecordConfig => self.record_config(),
            HostStep::PrepareRecord => {
                self.record.creating = false;
                Ok(self.place.directory.prepare(self.record)?)
            }
            HostStep::RecordCreated => Ok(self.place.directory.publish()?),
            HostStep::PidFile { path } => self.write_pid_file(path).map_err(at),
            HostStep::Release { point: SyncPoint::Hooks } => self.release_hooks(),
            HostStep::Release { point: SyncPoint::Devices } => unless_died(self.channel()?.release(SyncPoint::Devices)),
            HostStep::Release { point: SyncPoint::Ready } => self.release_ready(),
            HostStep::Release { point } => Ok(self.channel()?.release(*point)?),
            HostStep::AwaitExec => self.await_exec(),
        }
    }

    /// Gives the stdio to a user of the container's user namespace, which a container that runs has in its init.
    fn give_stdio(&self, uid: u32, at: impl Fn(SysError) -> LaunchError) -> Result<(), LaunchError> {
        let has_ended = |pidfd: &OwnedFd| sys::wait_ended(pidfd, Duration::ZERO).unwrap_or(false);
        match (&self.joined, &self.init) {
            (Some(joined), _) => match stdio::give(&self.stdio, uid, joined.pid, &joined.pidfd) {
                Err(_) if has_ended(&joined.pidfd) => Err(LaunchError::ContainerEnded),
                given => given.map_err(at),
            },
            (None, Some(init)) => match stdio::give(&self.stdio, uid, init.pid().as_raw(), init.pidfd()) {
                // What it has failed at is heard next.
                Err(_) if has_ended(init.pidfd()) => Ok(()),
                given => given.map_err(at),
            },
            (None, None) => Ok(()),
        }
    }

    fn write_pid_file(&mut self, path: &Path) -> Result<(), SysError> {
        write_pid_file(path, self.record.pid)?;
        self.pid_file = Some(path.to_owned());
        Ok(())
    }

    fn put(&mut self, slot: Slot, fd: OwnedFd) -> Result<(), LaunchError> {
        let place = self.fds.get_mut(usize::from(slot.0)).ok_or(LaunchError::Order)?;
        *place = Some(fd);
        Ok(())
    }

    /// The copy of the caller's mount namespace, which is made for the first tree that comes from it.
    fn copied_mounts(&mut self) -> Result<&CopiedMounts, SysError> {
        let mounts = self.copied_mounts.take().map_or_else(CopiedMounts::start, Ok)?;
        Ok(self.copied_mounts.insert(mounts))
    }

    /// Waits for the network namespace and hands it to init.
    fn hand_over_network(&mut self, at: impl Fn(SysError) -> LaunchError) -> Result<(), LaunchError> {
        let made = made(self.network.take()).map_err(at)?;
        unless_died(self.channel()?.release_with(SyncPoint::Made, &[made.as_raw_fd()]))
    }

    /// Hands trees to init, and keeps none of them open.
    fn send_trees(&mut self, first: Slot, count: u16) -> Result<(), LaunchError> {
        let first = usize::from(first.0);
        let slots = self.fds.get_mut(first..first + usize::from(count)).ok_or(LaunchError::Order)?;
        let trees: Vec<OwnedFd> = slots.iter_mut().map_while(Option::take).collect();
        let numbers: Vec<RawFd> = trees.iter().map(AsRawFd::as_raw_fd).collect();
        let deadline = self.deadline();
        let channel = self.channel()?;
        channel.await_room(SyncPoint::Opened, deadline)?;
        unless_died(channel.release_with(SyncPoint::Opened, &numbers))
    }

    /// Writes the config down, and takes note of what the stdio is, which is written with the next state.
    fn record_config(&mut self) -> Result<(), LaunchError> {
        self.record.descriptors = self.stdio.describe();
        let json = self.config.ok_or(LaunchError::Order)?.json();
        let json = json.map_err(|error| self.place.directory.damaged("config.json", error))?;
        Ok(self.place.directory.write_config(&json)?)
    }

    fn clone_init(&mut self, namespaces: u64) -> Result<(), LaunchError> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, inits) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)
            .map_err(|errno| SysError::new(errno, || "socketpair(AF_UNIX, SOCK_SEQPACKET)".to_owned()))?;
        let socket = inits.as_raw_fd();
        if let Some(place) = self.fds.first_mut() {
            *place = Some(inits);
        }
        let numbers: Vec<RawFd> = self.fds.iter().map(|fd| fd.as_ref().map_or(-1, AsRawFd::as_raw_fd)).collect();
        let steps = self.plan.inside.iter().map(|planned| (planned.item.as_c_str(), &planned.step));
        let program = corten_init::encode(&numbers, steps)?;
        let program = sys::sealed_memfd(c"corten-program", &program, false)?;
        let inherited: Vec<RawFd> = numbers.into_iter().filter(|fd| *fd >= 0).collect();
        let start = InitStart {
            elf: init_elf()?,
            program: program.as_fd(),
            socket,
            inherited: &inherited,
            stdio: self.stdio.inner.each_ref().map(|fd| fd.as_ref().map(AsFd::as_fd)),
            preserved: self.plan.preserved_fds.end(),
            namespaces,
            cgroup: self.cgroups.as_ref().and_then(Cgroups::unified).map(AsFd::as_fd),
        };
        let init = match InitProcess::start(&start) {
            // Not even the execveat fits into the cgroup.
            Err(error) if error.errno.0 == Errno::ENOMEM && self.cgroups.is_some() => {
                return Err(LaunchError::OutOfMemory);
            }
            started => started?,
        };
        if let Some(cpus) = self.own_cpus.take() {
            sys::run_on_again(&cpus)?;
        }
        // Init has its copies; ours would keep mounts and sockets alive.
        self.fds.fill_with(|| None);
        self.record.pid = init.pid().as_raw();
        let peer = Peer { pidfd: init.pidfd().clone(), pid: init.pid() };
        self.init = Some(init);
        self.channel = Some(Channel::new(ours, peer, self.cancel.cloned()));
        // Not yet reaped, so the pid is its own and the file is there.
        self.record.start_time = start_time(self.record.pid)?.unwrap_or(0);
        Ok(())
    }

    fn channel(&mut self) -> Result<&mut Channel, LaunchError> {
        self.channel.as_mut().ok_or(LaunchError::Order)
    }

    fn joined(&self) -> Result<&Joined, LaunchError> {
        self.joined.as_ref().ok_or(LaunchError::Order)
    }

    fn init(&self) -> Result<&InitProcess, LaunchError> {
        self.init.as_ref().ok_or(LaunchError::Order)
    }

    /// Init's pid, on the host.
    fn pid(&self) -> Pid {
        Pid::from_raw(self.record.pid)
    }

    fn await_point(&mut self, point: SyncPoint) -> Result<(), LaunchError> {
        let deadline = self.deadline();
        self.channel()?.await_point(point, deadline)
    }

    /// How long init may take.
    fn deadline(&self) -> Duration {
        if self.is_patient { Duration::MAX } else { self.plan.decisions.deadline }
    }

    fn await_exec(&mut self) -> Result<(), LaunchError> {
        let deadline = self.deadline();
        let init = self.init()?.pidfd().clone();
        let refused = self.channel()?.await_exec(deadline, || Ok(!sys::wait_ended(init.as_fd(), DEATH_DEADLINE)?))?;
        self.refused = refused.map(|refused| crate::chain(&refused));
        Ok(())
    }

    /// Puts init into its resctrl group, which is written down before init is in it.
    fn join_resctrl(&mut self, config: &crate::oci::LinuxIntelRdt) -> Result<(), LaunchError> {
        let group = Resctrl::open(self.resctrl_root.map(Path::to_owned))?.prepare(&self.record.id, config)?;
        self.record.resctrl = Some(group.record().clone());
        self.place.directory.write(self.record)?;
        Ok(group.add(self.pid())?)
    }

    /// Takes the process that goes on in init's place.
    fn follow_clone(&mut self) -> Result<(), LaunchError> {
        let deadline = self.deadline();
        let pidfd = self.channel()?.await_clone(deadline)?;
        let pid = sys::pid_of(&pidfd)?.ok_or(LaunchError::Died { how: None })?;
        let init = self.init.as_mut().ok_or(LaunchError::Order)?;
        init.replace(pid, pidfd)?;
        let peer = Peer { pidfd: init.pidfd().clone(), pid };
        self.channel()?.follow(peer);
        self.record.pid = pid.as_raw();
        self.record.start_time = start_time(self.record.pid)?.unwrap_or(0);
        Ok(())
    }

    /// Lets init pass its hooks' point, with the state that they get.
    fn release_hooks(&mut self) -> Result<(), LaunchError> {
        let pid = pid_inside(self.record.pid);
        let creating = hooks::state_file(self.record, Status::Creating, pid)?;
        let created = hooks::state_file(self.record, Status::Created, pid)?;
        self.channel()?.release_with(SyncPoint::Hooks, &[creating.as_raw_fd(), created.as_raw_fd()])
    }

    /// Runs hooks. Those of the making have nothing more to do when init has died; one after the start may outlive it.
    fn run_hooks(&self, kind: HookKind, hooks: &[Hook]) -> Result<(), LaunchError> {
        let init = self.init()?.pidfd().as_fd();
        self.run_hooks_beside((kind != HookKind::Poststart).then_some(init), kind, hooks)
    }

    /// Runs hooks for as long as this process is there.
    fn run_hooks_beside(
        &self,
        init: Option<BorrowedFd<'_>>,
        kind: HookKind,
        hooks: &[Hook],
    ) -> Result<(), LaunchError> {
        let watch = Watch { directory: self.place.directory, init, cancel: self.cancel.map(|cancel| cancel.as_fd()) };
        hooks::run(kind, hooks, self.record, status_during(kind), Some(&watch)).map_err(|error| match error {
            error if error.is_of_init() => LaunchError::Died { how: None },
            error if error.is_cancelled() => LaunchError::Cancelled,
            error => error.into(),
        })
    }

    /// Sends the filter's listener to its agent.
    fn send_listener(
        &mut self,
        agent: &Path,
        metadata: Option<&str>,
        at: impl Fn(SysError) -> LaunchError,
    ) -> Result<(), LaunchError> {
        let listener = self.take_listener(&at)?;
        let container = self.joined.as_ref().map(|joined| joined.pid);
        let data = ProcessState::json(self.record, container, metadata);
        agents::send(agent, &data, listener.as_fd()).map_err(at)
    }

    /// Lets init pass its last point. The caller's terminal may have been resized while hooks ran.
    fn release_ready(&mut self) -> Result<(), LaunchError> {
        if let (Console::Foreground, Some(master)) = (self.console, &self.master) {
            terminal::resize(master.as_fd());
        }
        self.channel()?.release(SyncPoint::Ready)
    }

    /// Takes the filter's listener from init.
    fn take_listener(&mut self, at: impl Fn(SysError) -> LaunchError) -> Result<OwnedFd, LaunchError> {
        let deadline = self.deadline();
        let number = self.channel()?.await_listener(deadline)?;
        sys::take_fd(self.init()?.pidfd(), number).map_err(at)
    }

    fn receive_console(&mut self) -> Result<(), LaunchError> {
        let deadline = self.deadline();
        self.master = Some(self.channel()?.await_console(deadline)?);
        Ok(())
    }

    fn hand_on_console(&mut self) -> Result<(), LaunchError> {
        let master = self.master.take().ok_or(LaunchError::Order)?;
        self.hand_on(master)
    }

    /// Hands a terminal's master to whom it is for.
    fn hand_on(&mut self, master: OwnedFd) -> Result<(), LaunchError> {
        match self.console {
            Console::Socket(path) => return Ok(agents::send(path, b"/dev/ptmx", master.as_fd())?),
            Console::Foreground => terminal::fit(master.as_fd())?,
            Console::Master | Console::None => {}
        }
        self.master = Some(master);
        Ok(())
    }
}

/// Forgives init's death where init need not wait yet: what it has failed at meanwhile is heard next.
fn unless_died(released: Result<(), LaunchError>) -> Result<(), LaunchError> {
    match released {
        Err(LaunchError::Died { .. }) => Ok(()),
        other => other,
    }
}

/// The network namespace, whose making may have begun.
fn made(network: Option<NetworkMaker>) -> Result<OwnedFd, SysError> {
    network.map_or_else(NetworkMaker::start, Ok)?.finish()
}

/// Init's executable in a sealed memfd, made once for the process.
fn init_elf() -> Result<BorrowedFd<'static>, SysError> {
    static ELF: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(elf) = ELF.get() {
        return Ok(elf.as_fd());
    }
    let elf = sys::sealed_memfd(c"corten-init", corten_init::ELF, true)?;
    // Another thread may have been faster; then ours is closed.
    Ok(ELF.get_or_init(|| elf).as_fd())
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
