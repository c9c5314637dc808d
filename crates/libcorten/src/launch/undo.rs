//! Taking back what a launch that has failed has made.
//!
//! Stage: host. Attacker: none that is left: its processes are killed first.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use corten_cgroup::Cgroups;
use nix::unistd::Pid;

use super::{DEATH_DEADLINE, Failed, LaunchError, Subject, Work};
use crate::hooks;
use crate::remains::{self, Connection, Members, Remains};
use crate::spec::HookKind;
use crate::state::Status;
use crate::sys::{self, Cpus, SysError, Waited};

/// What there is beside the work that a launch has in all its states.
#[derive(Debug, Default)]
pub(super) struct Undo {
    /// The first process.
    pub(super) init: Option<(Pid, Arc<OwnedFd>)>,
    /// The CPUs that this thread had before.
    pub(super) own_cpus: Option<Box<Cpus>>,
    /// There may be processes in the cgroups.
    pub(super) has_processes: bool,
}

impl Undo {
    /// Takes back what was made. Goes on after an error and reports all of them.
    pub(super) fn of(self, mut work: Work<'_>, mut cause: LaunchError) -> Failed {
        let Self { init, own_cpus, has_processes } = self;
        let mut left = Vec::new();
        let again = work.launch.attempt.again(&cause);
        // There may be too few fds for what follows.
        work.slots.clear();
        work.copied_mounts = None;
        if let Some(Err(error)) = own_cpus.map(|cpus| sys::run_on_again(&cpus)) {
            left.push(crate::chain(&error));
        }
        // Whoever removed the directory by force has removed the rest; what has these names now may be
        // another container's.
        let is_lost =
            matches!(&work.launch.subject, Subject::Container(container) if container.directory.is_gone());
        let cgroups = work.around.cgroups.take().filter(|_| !is_lost);
        // What ends below is killed here: that is no reason.
        let patience =
            if matches!(cause, LaunchError::Died { .. }) { DEATH_DEADLINE } else { Duration::ZERO };
        let has_ended =
            init.as_ref().is_some_and(|(_, pidfd)| sys::wait_ended(pidfd, patience).unwrap_or(false));
        // Before the cgroup is gone, and with it what it knows.
        let out_of_memory =
            cgroups.as_ref().is_some_and(|cgroups| cgroups.oom_kills().is_ok_and(|count| count > 0));
        if let Some((pid, pidfd)) = &init {
            let release = || Ok(cgroups.as_ref().map_or(Ok(()), Cgroups::release_killed)?);
            let waited = remains::end(pidfd.as_fd(), release, || format!("process {pid}"), &mut left);
            cause = explained(cause, waited, has_ended, out_of_memory);
        }
        if let Some(Err(error)) = cause.untold_clone().map(reap) {
            left.push(crate::chain(&error));
        }
        let members = if has_processes { Members::Own } else { Members::Nobody };
        let unit = work.record().cgroups.unit.as_ref().filter(|_| work.around.unit_started && !is_lost);
        let container = match &work.launch.subject {
            Subject::Container(container) if !is_lost => Some(container),
            _ => None,
        };
        let remains = Remains {
            cgroups: cgroups.map(|cgroups| (cgroups, members)),
            unit: unit.zip(work.launch.host.systemd.map(Connection::Open)),
            resctrl: container.and_then(|container| container.record.resctrl.as_ref()),
            pid_file: work.around.pid_file.as_deref(),
        };
        remains.remove(&mut left);
        if let Subject::Container(container) = &mut work.launch.subject
            && !is_lost
            && again.is_none()
            && container.record.pid > 0
        {
            // runtime.md#lifecycle: a container that could not be made is destroyed like any other.
            container.record.pid = 0;
            let hooks = HookKind::Poststop.of(container.record.hooks.as_ref());
            let failed = hooks::run_all(HookKind::Poststop, hooks, container.record, Status::Stopped);
            if !failed.is_empty() {
                cause = LaunchError::Warned { cause: Box::new(cause), hooks: failed };
            }
        }
        if left.is_empty() {
            return Failed { error: cause, again };
        }
        // What is left would be in the way.
        Failed { error: LaunchError::Left { cause: Box::new(cause), left: left.join("; ") }, again: None }
    }
}

/// Says how init ended, where that is all there is to say.
fn explained(
    mut cause: LaunchError,
    waited: Option<Waited>,
    has_ended: bool,
    out_of_memory: bool,
) -> LaunchError {
    match waited {
        Some(_) if out_of_memory && matches!(cause, LaunchError::Died { .. }) => LaunchError::OutOfMemory,
        Some(waited) if has_ended => {
            cause.explain(waited);
            cause
        }
        _ => cause,
    }
}

/// Reaps a child that has been killed.
fn reap(child: Pid) -> Result<(), SysError> {
    let pidfd = sys::open_pidfd(child)?;
    sys::wait_ended(&pidfd, remains::DEADLINE)?;
    sys::wait_exit(&pidfd, false).map(drop)
}
