//! From the moment that init is there: the conversation with it, and what is done about it from outside.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use corten_init::{SlotRange, SyncPoint};

use super::files::pid_inside;
use super::preparing::Started;
use super::undo::Undo;
use super::work::{at, required};
use super::{Channel, DEATH_DEADLINE, Failed, LaunchError, Launched, Peer, Subject, Work, agents, stdio};
use crate::hooks;
use crate::oci::Hook;
use crate::plan::{HostStep, Planned};
use crate::request::Console;
use crate::spec::HookKind;
use crate::state::{ProcessState, Status, start_time};
use crate::sys::{self, Cpus, InitProcess, SysError};
use crate::terminal;

/// A launch with its init.
#[derive(Debug)]
pub(super) struct Attached<'a> {
    work: Work<'a>,
    init: InitProcess,
    channel: Channel,
    master: Option<OwnedFd>,
    refused: Option<String>,
}

impl<'a> Attached<'a> {
    /// Takes note of an init that has just been made. `own_cpus`: those that this thread had before.
    pub(super) fn new(work: Work<'a>, started: Started, own_cpus: Option<Box<Cpus>>) -> Result<Self, Failed> {
        let Started { init, socket } = started;
        let peer = Peer { pidfd: init.pidfd().clone(), pid: init.pid() };
        let channel = Channel::new(socket, peer, work.launch.options.cancel.clone());
        let mut attached = Self { work, init, channel, master: None, refused: None };
        let begun = own_cpus.map_or(Ok(()), |cpus| sys::run_on_again(&cpus)).map_err(LaunchError::from);
        match begun.and_then(|()| attached.note_init()) {
            Ok(()) => Ok(attached),
            Err(error) => Err(attached.undo(error)),
        }
    }

    /// Takes note of who init is.
    fn note_init(&mut self) -> Result<(), LaunchError> {
        // Init has its copies; ours would keep mounts and sockets alive.
        self.work.slots.clear();
        let pid = self.init.pid().as_raw();
        if let Subject::Container(container) = &mut self.work.launch.subject {
            container.record.pid = pid;
            // Not yet reaped, so the pid is its own and the file is there.
            container.record.start_time = start_time(pid)?.unwrap_or(0);
        }
        Ok(())
    }

    /// Does the next step.
    pub(super) fn step(
        &mut self,
        planned: &Planned<HostStep>,
        observe: &mut dyn FnMut(&Planned<HostStep>),
    ) -> Result<(), LaunchError> {
        self.work.begin(planned, observe)?;
        let at = |source: SysError| at(planned, source);
        match &planned.step {
            HostStep::FollowClone => self.follow_clone(),
            HostStep::SendTrees { trees } => self.send_trees(*trees),
            HostStep::MakeNetwork => {
                let made = self.work.network().map_err(at)?;
                unless_died(self.channel.release_with(SyncPoint::Made, &[made.as_raw_fd()]))
            }
            HostStep::RunHooks { kind, hooks } => self.run_hooks(*kind, hooks),
            HostStep::SendSeccompListener { path, metadata } => {
                self.send_listener(path, metadata.as_deref(), at)
            }
            HostStep::SendPidfd { path, name } => {
                agents::send(path, name.as_bytes(), self.init.pidfd().as_fd()).map_err(at)
            }
            HostStep::GiveStdio { uid } => self.give_stdio(*uid, at),
            HostStep::ReceiveConsole => {
                self.master = Some(self.channel.await_console(self.work.deadline())?);
                Ok(())
            }
            HostStep::HandOnConsole => {
                let master = required(self.master.take())?;
                self.master = hand_on(&self.work.launch.options.console, master)?;
                Ok(())
            }
            HostStep::Await { point } => self.channel.await_point(*point, self.work.deadline()),
            HostStep::Release { point: SyncPoint::Hooks } => self.release_hooks(),
            HostStep::Release { point: SyncPoint::Devices } => {
                unless_died(self.channel.release(SyncPoint::Devices))
            }
            HostStep::Release { point: SyncPoint::Ready } => self.release_ready(),
            HostStep::Release { point } => self.channel.release(*point),
            HostStep::AwaitExec => self.await_exec(),
            _ => self.work.step_of(self.init.pid(), planned),
        }
    }

    /// Takes the process that goes on in init's place.
    fn follow_clone(&mut self) -> Result<(), LaunchError> {
        let pidfd = self.channel.await_clone(self.work.deadline())?;
        let pid = sys::pid_of(&pidfd)?.ok_or(LaunchError::Died { how: None })?;
        self.init.replace(pid, pidfd)?;
        self.channel.follow(Peer { pidfd: self.init.pidfd().clone(), pid });
        self.note_init()
    }

    /// Hands trees to init, and keeps none of them open.
    fn send_trees(&mut self, trees: SlotRange) -> Result<(), LaunchError> {
        let trees = self.work.slots.take(trees.first, trees.count);
        let numbers: Vec<RawFd> = trees.iter().map(AsRawFd::as_raw_fd).collect();
        self.channel.await_room(SyncPoint::Opened, self.work.deadline())?;
        unless_died(self.channel.release_with(SyncPoint::Opened, &numbers))
    }

    /// Gives the stdio to a user of the container's user namespace, which a container that runs has in its
    /// init.
    fn give_stdio(&self, uid: u32, at: impl Fn(SysError) -> LaunchError) -> Result<(), LaunchError> {
        let stdio = &self.work.stdio;
        match &self.work.launch.subject {
            Subject::Process(target) => match stdio::give(stdio, uid, target.pid(), &target.pidfd) {
                Err(_) if target.has_ended() => Err(LaunchError::ContainerEnded),
                given => given.map_err(at),
            },
            Subject::Container(_) => {
                match stdio::give(stdio, uid, self.init.pid().as_raw(), self.init.pidfd()) {
                    // What it has failed at is heard next.
                    Err(_) if sys::wait_ended(self.init.pidfd(), Duration::ZERO).unwrap_or(false) => Ok(()),
                    given => given.map_err(at),
                }
            }
        }
    }

    fn await_exec(&mut self) -> Result<(), LaunchError> {
        let init = self.init.pidfd();
        let is_alive = || Ok(!sys::wait_ended(init, DEATH_DEADLINE)?);
        let refused = self.channel.await_exec(self.work.deadline(), is_alive)?;
        self.refused = refused.map(|refused| crate::chain(&refused));
        Ok(())
    }

    /// Lets init pass its hooks' point, with the state that they get.
    fn release_hooks(&mut self) -> Result<(), LaunchError> {
        let pid = pid_inside(self.init.pid().as_raw());
        let record = self.work.record();
        let creating = hooks::state_file(record, Status::Creating, pid)?;
        let created = hooks::state_file(record, Status::Created, pid)?;
        self.channel.release_with(SyncPoint::Hooks, &[creating.as_raw_fd(), created.as_raw_fd()])
    }

    /// Runs hooks. Those of the making have nothing more to do when init has died; one after the start may
    /// outlive it.
    fn run_hooks(&mut self, kind: HookKind, hooks: &[Hook]) -> Result<(), LaunchError> {
        let init = (kind != HookKind::Poststart).then_some(self.init.pidfd().as_fd());
        let cancel = self.work.launch.options.cancel.as_ref();
        self.work.container()?.run_hooks(kind, hooks, init, cancel)
    }

    /// Takes the filter's listener from init and sends it to its agent.
    fn send_listener(
        &mut self,
        agent: &Path,
        metadata: Option<&str>,
        at: impl Fn(SysError) -> LaunchError,
    ) -> Result<(), LaunchError> {
        let number = self.channel.await_listener(self.work.deadline())?;
        let listener = sys::take_fd(self.init.pidfd(), number).map_err(&at)?;
        let joins = matches!(self.work.launch.subject, Subject::Process(_));
        let data = ProcessState::json(self.work.record(), self.init.pid().as_raw(), joins, metadata);
        agents::send(agent, &data, listener.as_fd()).map_err(at)
    }

    /// Lets init pass its last point. The caller's terminal may have been resized while hooks ran.
    fn release_ready(&mut self) -> Result<(), LaunchError> {
        if let (Console::Foreground, Some(master)) = (&self.work.launch.options.console, &self.master) {
            terminal::resize(master.as_fd());
        }
        self.channel.release(SyncPoint::Ready)
    }

    /// Takes back what has been made.
    pub(super) fn undo(self, cause: LaunchError) -> Failed {
        let init = Some((self.init.pid(), self.init.pidfd().clone()));
        Undo { init, own_cpus: None, has_processes: true }.of(self.work, cause)
    }

    /// The launch is done.
    pub(super) fn finish(self) -> Launched {
        let Self { work, init, channel, master, refused } = self;
        let Work { stdio, notify_socket, mut warnings, .. } = work;
        warnings.extend(channel.into_warnings());
        let (pid, pidfd, copies) = (init.pid(), init.pidfd().clone(), stdio.into_outer());
        Launched { pid, pidfd, master, copies, notify_socket, warnings, refused }
    }
}

/// Hands a terminal's master to whom it is for; it is returned if that is the caller.
pub(super) fn hand_on(console: &Console, master: OwnedFd) -> Result<Option<OwnedFd>, LaunchError> {
    match console {
        Console::Socket(path) => return Ok(agents::send(path, b"/dev/ptmx", master.as_fd()).map(|()| None)?),
        Console::Foreground => terminal::fit(master.as_fd())?,
        Console::Master | Console::None => {}
    }
    Ok(Some(master))
}

/// Forgives init's death where init need not wait yet: what it has failed at meanwhile is heard next.
fn unless_died(released: Result<(), LaunchError>) -> Result<(), LaunchError> {
    match released {
        Err(LaunchError::Died { .. }) => Ok(()),
        other => other,
    }
}
