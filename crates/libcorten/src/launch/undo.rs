//! Taking back what a launch that has failed has made.
//!
//! Stage: host. Attacker: none that is left: its processes are killed first.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::{DEATH_DEADLINE, KILL_DEADLINE, Launch, LaunchError};
use crate::hooks;
use crate::resctrl;
use crate::spec::HookKind;
use crate::state::Status;
use crate::sys::{self, SysError};

impl Launch<'_> {
    /// Takes back what was made; `has_processes`: there may be some in the cgroups. Goes on after an error and reports all of them.
    pub(super) fn undo(mut self, mut cause: LaunchError, has_processes: bool) -> LaunchError {
        let mut left = Vec::new();
        // There may be too few fds for what follows.
        self.fds.clear();
        self.copied_mounts = None;
        if let Some(cpus) = self.own_cpus.take()
            && let Err(error) = sys::run_on_again(&cpus)
        {
            left.push(crate::chain(&error));
        }
        // Whoever removed the directory by force has removed the rest; what has these names now may be another container's.
        let is_lost = self.config.is_some() && self.place.directory.is_gone();
        let cgroups = self.cgroups.take().filter(|_| !is_lost);
        // What ends below is killed here: that is no reason.
        let patience = if matches!(cause, LaunchError::Died { .. }) { DEATH_DEADLINE } else { Duration::ZERO };
        let has_ended =
            self.init.as_ref().is_some_and(|init| sys::wait_ended(init.pidfd().as_fd(), patience).unwrap_or(false));
        // Before the cgroup is gone, and with it what it knows.
        let out_of_memory = cgroups.as_ref().is_some_and(|cgroups| cgroups.oom_kills().is_ok_and(|count| count > 0));
        // To look takes fds, of which there may be none left.
        if let Some(cgroups) = cgroups.as_ref().filter(|_| has_processes)
            && let Err(error) = cgroups.kill(KILL_DEADLINE)
        {
            left.push(crate::chain(&error));
        }
        if let Some(Err(error)) = cause.untold_clone().map(reap) {
            left.push(crate::chain(&error));
        }
        if let Some(init) = &self.init {
            // It may have ended by itself before; then the signal finds nobody.
            match sys::send_signal(init.pidfd().as_fd(), libc::SIGKILL) {
                Err(error) if error.errno.0 != Errno::ESRCH => left.push(crate::chain(&error)),
                _ => {}
            }
            let ended = sys::wait_ended(init.pidfd().as_fd(), KILL_DEADLINE);
            match ended.and_then(|ended| ended.then(|| sys::wait_exit(init.pidfd().as_fd(), false)).transpose()) {
                Ok(Some(_)) if out_of_memory && matches!(cause, LaunchError::Died { .. }) => {
                    cause = LaunchError::OutOfMemory
                }
                Ok(Some(waited)) if has_ended => cause.explain(waited),
                Ok(Some(_)) => {}
                Ok(None) => left.push(format!("process {}", init.pid())),
                Err(error) => left.push(crate::chain(&error)),
            }
        }
        if !is_lost && let Err(error) = self.stop_unit() {
            left.push(crate::chain(&error));
        }
        if let Some(cgroups) = cgroups
            && let Err(error) = cgroups.remove(KILL_DEADLINE)
        {
            left.push(crate::chain(&error));
        }
        if let Some(Err(errors)) = self.record.resctrl.as_ref().filter(|_| !is_lost).map(resctrl::remove) {
            left.extend(errors.iter().map(ToString::to_string));
        }
        if let Some(path) = &self.pid_file
            && let Err(error) = std::fs::remove_file(path)
        {
            left.push(format!("{}: {error}", path.display()));
        }
        let hooks = HookKind::Poststop.of(self.record.hooks.as_ref());
        let begins_again = self.may_begin_again && cause.meets_mount_namespace();
        if self.record.pid > 0 && !hooks.is_empty() && !is_lost && !begins_again {
            // runtime.md#lifecycle: a container that could not be made is destroyed like any other.
            self.record.pid = 0;
            let failed = hooks::run_all(HookKind::Poststop, hooks, self.record, Status::Stopped);
            if !failed.is_empty() {
                cause = LaunchError::Warned { cause: Box::new(cause), hooks: failed };
            }
        }
        if left.is_empty() { cause } else { LaunchError::Left { cause: Box::new(cause), left: left.join("; ") } }
    }
}

/// Reaps a child that has been killed.
fn reap(child: Pid) -> Result<(), SysError> {
    let pidfd = sys::open_pidfd(child)?;
    sys::wait_ended(&pidfd, KILL_DEADLINE)?;
    sys::wait_exit(&pidfd, false).map(drop)
}
