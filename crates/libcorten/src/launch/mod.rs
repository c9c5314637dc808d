//! The runtime's half: carries out the host steps of a plan.
//!
//! Stage: host; init runs at the same time from `CloneInit` on.
//! Privilege: the caller's. Kernel: clone3 (5.7 for `CLONE_INTO_CGROUP`), the calls of the steps.
//! Attacker: owns the rootfs and may move things while this runs: every path of the bundle is resolved once.
//! Another user of the host: sees neither the state directory (0700) nor init (not dumpable).
//!
//! A failed launch leaves nothing: init is killed and reaped, the cgroup removed; the caller removes the
//! state directory.

mod agents;
mod attached;
mod cgroups;
mod copied_mounts;
mod error;
mod files;
mod hint;
mod id_maps;
pub(crate) mod locked_flags;
mod net_devices;
mod open;
mod preparing;
mod restore;
mod stdio;
mod sync;
mod undo;
mod work;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use corten_cgroup::Machine;
use corten_cgroup::systemd::Manager as Systemd;
use nix::unistd::Pid;

use attached::Attached;
pub(crate) use error::{Again, Attempt, CannotStart, Failed, InitFailure, LaunchError, LimitError};
pub(crate) use id_maps::IdMapError;
use preparing::Preparing;
pub(crate) use restore::Restoration;
pub(crate) use sync::{Channel, Peer};
use work::Work;

use crate::bundle::Bundle;
use crate::facts::JoinFacts;
use crate::plan::{HostStep, Plan, Planned};
use crate::request::CreateOptions;
use crate::state::{Record, StateDirectory};
use crate::sys::{self, NetworkMaker, SysError};

/// How long an init that has closed its files may take to be seen to be dead.
pub(crate) const DEATH_DEADLINE: Duration = Duration::from_secs(1);

/// The host that a launch takes place on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Host<'a> {
    pub(crate) machine: &'a Machine,
    /// The systemd that makes the cgroups, if one does.
    pub(crate) systemd: Option<&'a Systemd>,
}

/// Who is launched.
#[derive(Debug)]
pub(crate) enum Subject<'a> {
    /// A container, which is written down.
    Container(NewContainer<'a>),
    /// A process in a container that runs. What is written down of that is not its to change.
    Process(&'a JoinTarget),
}

/// A container that is made.
#[derive(Debug)]
pub(crate) struct NewContainer<'a> {
    pub(crate) directory: &'a StateDirectory,
    pub(crate) record: &'a mut Record,
    /// The config, which is written down.
    pub(crate) config: &'a Bundle,
}

/// A container that runs, for a process to join.
#[derive(Debug)]
pub(crate) struct JoinTarget {
    pub(crate) machine: Machine,
    /// What is known of it.
    pub(crate) record: Record,
    /// Its init.
    pub(crate) pidfd: OwnedFd,
    /// What the plan needs to know of it.
    pub(crate) facts: JoinFacts,
}

impl JoinTarget {
    /// The pid of its init.
    fn pid(&self) -> i32 {
        self.record.pid
    }

    /// A pidfd of init's for the process.
    fn open(&self) -> Result<OwnedFd, SysError> {
        self.pidfd
            .try_clone()
            .map_err(|error| SysError::from_io(&error, || "fcntl(F_DUPFD_CLOEXEC)".to_owned()))
    }

    /// The root directory of init.
    fn root(&self) -> Result<OwnedFd, SysError> {
        open::root_of(self.pid(), &self.pidfd)
    }

    fn has_ended(&self) -> bool {
        sys::wait_ended(&self.pidfd, Duration::ZERO).unwrap_or(false)
    }
}

/// What is to be launched, and how.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) host: Host<'a>,
    pub(crate) subject: Subject<'a>,
    pub(crate) options: &'a CreateOptions,
    /// Which try it is.
    pub(crate) attempt: Attempt,
    /// The network namespace, if its making has begun.
    pub(crate) network: Option<NetworkMaker>,
    /// The container is paused, and the process may wait until it is resumed, for as long as that takes.
    pub(crate) is_patient: bool,
}

/// What has been launched.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) pid: Pid,
    pub(crate) pidfd: Arc<OwnedFd>,
    pub(crate) master: Option<OwnedFd>,
    /// The other ends of its stdio, where the caller copies.
    pub(crate) copies: [Option<OwnedFd>; 3],
    pub(crate) notify_socket: Option<OwnedFd>,
    pub(crate) warnings: Vec<String>,
    /// Why the kernel has refused the program, if it has.
    pub(crate) refused: Option<String>,
}

impl Launch<'_> {
    /// Carries out the plan. `observe` sees each step before it is done.
    ///
    /// # Errors
    /// Init and the cgroup are gone then; what could not be removed is part of the error.
    pub(crate) fn run(self, observe: &mut dyn FnMut(&Planned<HostStep>)) -> Result<Launched, Failed> {
        let mut steps = self.plan.host.iter();
        let mut preparing = Preparing::new(self);
        let started = steps.find_map(|planned| preparing.step(planned, observe).transpose());
        let mut attached = match started.unwrap_or(Err(LaunchError::Order)) {
            Ok(started) => preparing.attach(started)?,
            Err(error) => return Err(preparing.undo(error)),
        };
        for planned in steps {
            if let Err(error) = attached.step(planned, observe) {
                return Err(attached.undo(error));
            }
        }
        Ok(attached.finish())
    }
}
