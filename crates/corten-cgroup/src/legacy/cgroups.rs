//! A container's cgroups in all hierarchies, from their making to their removal.
//!
//! Stage: host. Attacker: a process of them that forks as fast as it can, or makes and freezes sub-cgroups.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use super::directory::Directory;
use super::hierarchies::Paths;
use super::{devices, freezer};
use crate::device::Rule;
use crate::error::{Error, Repr};
use crate::sys;
use crate::tree::signal_each;

/// How long processes that are to be killed may take to freeze, and then to end, before those that are left
/// are signalled again.
const ROUND: Duration = Duration::from_millis(500);

/// A container's cgroups, one in each hierarchy, held by fd.
#[derive(Debug)]
pub struct Cgroups(pub(super) Vec<Directory>);

impl Cgroups {
    /// None.
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns where they are: only the hierarchies that have one.
    pub fn paths(&self) -> Paths {
        self.0.iter().map(|directory| (directory.hierarchy.clone(), directory.path.clone())).collect()
    }

    /// Returns the cgroup that has a controller, for its limits and statistics.
    pub fn directory(&self, controller: &str) -> Option<BorrowedFd<'_>> {
        self.find(controller).map(AsFd::as_fd)
    }

    /// Returns where on the machine the cgroup is that has a controller, for showing.
    pub fn shown(&self, controller: &str) -> Option<&Path> {
        self.find(controller).map(|directory| directory.shown.as_path())
    }

    fn find(&self, controller: &str) -> Option<&Directory> {
        self.0.iter().find(|directory| directory.has(controller))
    }

    /// The freezer if there is one. All processes are there, as it is the first one they were added to.
    fn first(&self) -> Option<&Directory> {
        self.0.first()
    }

    fn freezer(&self) -> Result<&Directory, Error> {
        self.find("freezer").ok_or_else(|| Repr::NoController { controller: "freezer" }.into())
    }

    /// Moves a process with all its threads into them; 0 is the caller. The limits should have been written
    /// before: see [`Hierarchies::create`](super::Hierarchies::create).
    ///
    /// # Errors
    /// It cannot be moved, and may be in some of them; what happens in `name=systemd` is no error (runc).
    pub fn add(&self, pid: i32) -> Result<(), Error> {
        for directory in &self.0 {
            match directory.add(pid) {
                Err(_) if directory.is_named() => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Returns the processes in them and below.
    ///
    /// # Errors
    /// A file of a cgroup cannot be read.
    pub fn pids(&self) -> Result<Vec<i32>, Error> {
        self.first().map_or(Ok(Vec::new()), Directory::pids)
    }

    /// Sends a signal to every process of them and below. Those that are forked meanwhile may be missed.
    ///
    /// # Errors
    /// The processes cannot be listed, or the caller may not send signals to one of them.
    pub fn signal(&self, signal: i32) -> Result<(), Error> {
        signal_each(&self.pids()?, signal)
    }

    /// Whether there is a process in them or below. Zombies do not count.
    ///
    /// # Errors
    /// A file of a cgroup cannot be read.
    pub fn populated(&self) -> Result<bool, Error> {
        Ok(!self.pids()?.is_empty())
    }

    /// Freezes all processes and waits until they are.
    ///
    /// # Errors
    /// There is no freezer; or some process is not frozen after `deadline`, then all go on.
    pub fn freeze(&self, deadline: Duration) -> Result<(), Error> {
        let freezer = self.freezer()?;
        freezer::freeze(freezer.as_fd(), &freezer.shown, deadline)
    }

    /// Lets frozen processes go on.
    ///
    /// # Errors
    /// There is no freezer, or it cannot be written to.
    pub fn thaw(&self) -> Result<(), Error> {
        let freezer = self.freezer()?;
        freezer::thaw(freezer.as_fd(), &freezer.shown)
    }

    /// Lets processes go on in cgroups below as well that were frozen by themselves: a SIGKILL waits until
    /// then.
    pub(crate) fn thaw_all(&self) -> Result<(), Error> {
        self.find("freezer").map_or(Ok(()), |freezer| freezer::thaw_all(freezer.as_fd(), &freezer.shown))
    }

    /// Whether they are frozen, and not only because a cgroup above is. Without a freezer they are not.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn frozen(&self) -> Result<bool, Error> {
        self.find("freezer").map_or(Ok(false), |freezer| freezer::frozen(freezer.as_fd(), &freezer.shown))
    }

    /// Kills every process in them and below, and waits until they are gone (or zombies). Frozen ones die,
    /// too.
    ///
    /// # Errors
    /// Some are left after `deadline`; the error names them.
    pub fn kill(&self, deadline: Duration) -> Result<(), Error> {
        let end = Instant::now() + deadline;
        let Some(first) = self.first() else { return Ok(()) };
        while !first.pids()?.is_empty() {
            self.signal_all(first, end)?;
            // Without a freezer, some may have been forked meanwhile.
            if !first.wait_empty(end.min(Instant::now() + ROUND))? && Instant::now() >= end {
                let (path, pids) = (first.shown.clone(), first.pids()?);
                return Err(Repr::Survivors { path, pids, seconds: deadline.as_secs() }.into());
            }
        }
        Ok(())
    }

    /// Freezes, so that nobody forks meanwhile, signals each, and thaws in any case.
    fn signal_all(&self, first: &Directory, end: Instant) -> Result<(), Error> {
        let freezer = self.find("freezer");
        let left = end.saturating_duration_since(Instant::now()).min(ROUND);
        #[expect(
            clippy::let_underscore_must_use,
            reason = "one process that cannot be frozen, as it waits for a disk, does not save the others"
        )]
        let _ = freezer.map_or(Ok(()), |freezer| freezer::freeze(freezer.as_fd(), &freezer.shown, left));
        let killed = first.pids().map(|pids| {
            for pid in pids {
                sys::send_signal(pid, libc::SIGKILL).ok();
            }
        });
        killed.and(self.thaw_all())
    }

    /// Lets the processes use the devices that the rules allow, the last rule that speaks of a device
    /// deciding, and no others.
    ///
    /// Only the difference to what is allowed now is written, and at no moment is anything allowed that
    /// neither was before nor is afterwards: where v1 has no such way, the processes are frozen meanwhile,
    /// for which they have until `deadline`. What others have written to the list, as hooks for GPUs do, is
    /// taken back.
    ///
    /// Does nothing in a user namespace, whose devices are forbidden anyway (runc).
    ///
    /// # Errors
    /// No cgroup has the controller `devices`; the rules have an exception to an exception, which v1 cannot
    /// express; or the kernel refuses one, as when the cgroup above does not allow it, or when all is to be
    /// allowed or forbidden by default and there are sub-cgroups.
    pub fn set_devices(&self, rules: &[Rule], deadline: Duration) -> Result<(), Error> {
        let wanted = devices::List::of_rules(rules)?;
        if devices::in_user_namespace()? {
            return Ok(());
        }
        let directory = self.find("devices").ok_or(Repr::NoController { controller: "devices" })?;
        let writes = devices::List::read(directory)?.changes(&wanted);
        let opens_too_far = wanted.allows_but_for_exceptions() && !directory.pids()?.is_empty();
        if !opens_too_far || self.frozen()? {
            return devices::write(directory, &writes);
        }
        self.freeze(deadline)?;
        let written = devices::write(directory, &writes);
        let thawed = self.thaw();
        written.and(thawed)
    }

    /// Removes them and all below. Those that are gone already are no error.
    ///
    /// # Errors
    /// Some have processes, or are still busy after `deadline`. The others are removed; the error tells all
    /// that went wrong.
    pub fn remove(self, deadline: Duration) -> Result<(), Error> {
        let end = Instant::now() + deadline;
        // The one that says which processes there are is the last to go.
        let removed = self.0.iter().rev().map(|directory| directory.remove(end, deadline));
        let mut failed: Vec<Error> = removed.filter_map(Result::err).collect();
        match failed.len() {
            0 => Ok(()),
            1 => Err(failed.remove(0)),
            _ => Err(Repr::Several(failed).into()),
        }
    }
}
