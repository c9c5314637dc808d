//! What there is of a container when it has to go: after a launch or a restore that has failed, and at
//! `delete`.
//!
//! There is one order. First the process that the container begins with ([`end`]), then who else is in the
//! cgroups, the unit, the cgroups themselves, the resctrl groups, the pid file ([`Remains::remove`]). It goes
//! on after an error; what could not be done is told, all of it. The state directory, by which what is left
//! can be found, and the hooks that run when nothing is left are the caller's. Stage: host. Attacker: the
//! container, whose processes may make others until they are killed.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;

use corten_cgroup::Cgroups;
use corten_cgroup::systemd::{Manager as Systemd, Unit};
use nix::errno::Errno;

use crate::error::{Error, Result, chain};
use crate::host;
use crate::resctrl::{self, GroupRecord};
use crate::sys::{self, Waited};

/// How long processes may take to end, and cgroups to become free.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);
/// How long an init that nobody knows may take to notice that its runtime has gone.
const UNKNOWN_DEADLINE: Duration = Duration::from_secs(3);

/// What there is around a container's processes, or may be.
#[derive(Debug, Default)]
pub(crate) struct Remains<'a> {
    /// The cgroups, and who is in them.
    pub(crate) cgroups: Option<(Cgroups, Members)>,
    /// The unit that has been started, if one has.
    pub(crate) unit: Option<(&'a Unit, Connection<'a>)>,
    pub(crate) resctrl: Option<&'a GroupRecord>,
    pub(crate) pid_file: Option<&'a Path>,
}

/// Who is in a container's cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Members {
    /// Nobody has been put there.
    Nobody,
    /// Processes of the container.
    Own,
    /// Maybe those of somebody else: a runtime that was killed before there was an init may not even have
    /// made the cgroups that it wrote down. An init of ours ends by itself, as its socket has closed.
    Unknown,
}

/// A way to systemd.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Connection<'a> {
    /// It is there.
    Open(&'a Systemd),
    /// It is to be made: to the user's, or to the system's.
    ToUsers(bool),
}

impl Remains<'_> {
    /// Removes it all; adds to `left` what could not be removed.
    pub(crate) fn remove(self, left: &mut Vec<String>) {
        let Self { cgroups, unit, resctrl, pid_file } = self;
        remove_cgroups(cgroups, unit, left);
        if let Some(Err(errors)) = resctrl.map(resctrl::remove) {
            left.extend(errors.iter().map(ToString::to_string));
        }
        if let Some(path) = pid_file
            && let Err(error) = std::fs::remove_file(path)
        {
            left.push(format!("{}: {error}", path.display()));
        }
    }
}

fn remove_cgroups(
    cgroups: Option<(Cgroups, Members)>,
    unit: Option<(&Unit, Connection<'_>)>,
    left: &mut Vec<String>,
) {
    let members = cgroups.as_ref().map(|(_, members)| *members);
    let killed = match &cgroups {
        Some((cgroups, Members::Own)) => cgroups.kill(DEADLINE),
        _ => Ok(()),
    };
    let stopped = match unit.filter(|_| members != Some(Members::Unknown)) {
        Some((unit, Connection::Open(systemd))) => systemd.stop_unit(unit).map_err(Error::from),
        Some((unit, Connection::ToUsers(user))) => {
            host::systemd(user).and_then(|systemd| Ok(systemd.stop_unit(unit)?))
        }
        None => Ok(()),
    };
    let deadline = match (&killed, members) {
        // Whom the kill did not end nobody waits for once more.
        (Err(_), _) => Duration::ZERO,
        (Ok(()), Some(Members::Unknown)) => UNKNOWN_DEADLINE,
        (Ok(()), _) => DEADLINE,
    };
    let removed = cgroups.map_or(Ok(()), |(cgroups, _)| cgroups.remove(deadline));
    match killed {
        Ok(()) => left.extend(removed.err().map(|error| Error::from(error).chain())),
        Err(error) => left.push(Error::from(error).chain()),
    }
    left.extend(stopped.err().map(|error| error.chain()));
}

/// Kills a process, waits for its end, and reaps it if it is a child of this process. Adds to `left` what
/// could not be done; `unended`: what is said of a process that does not end. `release` lets it die that was
/// frozen. Returns how it ended.
pub(crate) fn end(
    process: BorrowedFd<'_>,
    release: impl FnOnce() -> Result<()>,
    unended: impl FnOnce() -> String,
    left: &mut Vec<String>,
) -> Option<Waited> {
    match sys::send_signal(process, libc::SIGKILL) {
        // It may have ended by itself before; then the signal finds nobody.
        Err(error) if error.errno.0 != Errno::ESRCH => {
            left.push(chain(&error));
            return None;
        }
        _ => {}
    }
    left.extend(release().err().map(|error| error.chain()));
    let waited = match sys::wait_ended(process, DEADLINE) {
        Ok(true) => sys::wait_exit(process, false),
        Ok(false) => {
            left.push(unended());
            return None;
        }
        Err(error) => Err(error),
    };
    waited.map_err(|error| left.push(chain(&error))).ok()
}
