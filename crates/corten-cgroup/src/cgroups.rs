//! All cgroups of a container: the one of cgroup v2, and on hybrid and v1 machines those in the v1
//! hierarchies.
//!
//! Stage: host. [`Machine`] knows how cgroups are mounted, a [`Location`] where those of a container are,
//! [`Cgroups`] are they. Who makes them is the runtime itself or systemd; what is done with them afterwards
//! is the same.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::cgroup::Cgroup;
use crate::device;
use crate::error::{Error, Repr};
use crate::hierarchy::{Hierarchy, Layout, cgroup_of, clean};
use crate::legacy::{self, Hierarchies, Paths};
use crate::resources::{self, LegacyControllers, Memory, Place, Setting};
use crate::stats::{self, OomWatcher, Stats};
use crate::systemd::Unit;

/// How long the freezer of v1 may take while a list of devices is changed.
const DEVICES_DEADLINE: Duration = Duration::from_secs(10);
/// How long killed processes may take to end before those that are left are looked for in v1.
const ROUND: Duration = Duration::from_millis(500);

/// How this machine mounts its cgroups.
#[derive(Debug)]
pub struct Machine {
    unified: Option<Hierarchy>,
    legacy: Hierarchies,
    legacy_controllers: LegacyControllers,
}

/// Where the cgroups of a container are. Empty: it has none of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Location {
    /// Path of the cgroup below the mount of cgroup2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unified: Option<PathBuf>,
    /// Paths in the v1 hierarchies.
    #[serde(skip_serializing_if = "Paths::is_empty")]
    pub legacy: Paths,
    /// The unit whose cgroups they are, if systemd makes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// The unit belongs to the manager of a user.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub user: bool,
}

/// The cgroups of a container.
#[derive(Debug)]
pub struct Cgroups {
    unified: Option<Cgroup>,
    legacy: legacy::Cgroups,
}

/// Devices that are to be allowed, see [`Cgroups::prepare_devices`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Devices {
    /// By the list of v1.
    Listed(Vec<device::Rule>),
    /// By a filter in cgroup v2.
    Filtered(device::Program),
}

impl Location {
    /// Whether the container has no cgroups of its own.
    pub fn is_empty(&self) -> bool {
        self.unified.is_none() && self.legacy.is_empty()
    }

    /// Returns the cgroup that a process is in, of cgroup v2: `/proc/PID/cgroup`.
    ///
    /// # Errors
    /// The file cannot be read: there is no such process.
    pub fn of_process(pid: i32) -> Result<Self, Error> {
        Ok(Self { unified: Some(clean(&cgroup_of(pid)?)), ..Self::default() })
    }

    /// Returns a cgroup below this one, in each hierarchy; with `controllers`, below those of these v1
    /// controllers only.
    ///
    /// # Errors
    /// The path leads out of it, or there is no hierarchy of such a controller.
    pub fn below(&self, controllers: &[&str], path: &Path) -> Result<Self, Error> {
        let mut below = self.clone();
        if path.components().any(|component| matches!(component, Component::ParentDir)) {
            return Err(Repr::Outside { path: path.to_owned() }.into());
        }
        let join = |base: &Path| clean(&base.join(path.strip_prefix("/").unwrap_or(path)));
        if controllers.is_empty() {
            below.unified = below.unified.as_deref().map(join);
            below.legacy = below.legacy.iter().map(|(name, base)| (name.clone(), join(base))).collect();
        }
        for &controller in controllers {
            let found = below.legacy.iter_mut().find(|(name, _)| has(name, controller));
            let (_, base) =
                found.ok_or_else(|| Repr::UnknownController { controller: controller.to_owned() })?;
            *base = join(base);
        }
        Ok(below)
    }

    /// Returns the cgroup that has a controller, and the others: that of a v1 hierarchy if one has it, else
    /// that of cgroup v2. For what is to be in one of them later than in the others; the unit stays with
    /// both.
    pub fn divide(&self, controller: &str) -> (Self, Self) {
        let (with, without): (Paths, Paths) =
            self.legacy.clone().into_iter().partition(|(name, _)| has(name, controller));
        let of = |unified, legacy| Self { unified, legacy, ..self.clone() };
        if with.is_empty() {
            (of(self.unified.clone(), with), of(None, without))
        } else {
            (of(None, with), of(self.unified.clone(), without))
        }
    }
}

/// Whether a v1 hierarchy of this name has a controller.
fn has(hierarchy: &str, controller: &str) -> bool {
    hierarchy.split(',').any(|one| one == controller)
}

impl Machine {
    /// Looks at the mounts below `/sys/fs/cgroup`.
    ///
    /// # Errors
    /// There are none, or they cannot be looked at.
    pub fn detect() -> Result<Self, Error> {
        let unified = Hierarchy::find()?;
        let legacy = match &unified {
            Some(hierarchy) if hierarchy.layout() == Layout::Unified => Hierarchies::none(),
            _ => Hierarchies::detect()?,
        };
        if unified.is_none() && legacy.is_empty() {
            return Err(Repr::NoHierarchy.into());
        }
        let legacy_controllers = legacy.controllers().collect();
        Ok(Self { unified, legacy, legacy_controllers })
    }

    /// A machine without cgroups, for containers that get none.
    pub fn none() -> Self {
        Self { unified: None, legacy: Hierarchies::none(), legacy_controllers: LegacyControllers::none() }
    }

    /// Returns how they are mounted.
    pub fn layout(&self) -> Layout {
        self.unified.as_ref().map_or(Layout::Legacy, Hierarchy::layout)
    }

    /// Returns the controllers that are in v1 hierarchies.
    pub fn legacy_controllers(&self) -> &LegacyControllers {
        &self.legacy_controllers
    }

    /// Works out where the cgroups of a container are to be.
    ///
    /// An absolute `cgroups_path` counts from the mounts. A relative one, or the `id` if there is none,
    /// counts from the caller's own cgroups: from their parent in cgroup v2, where a cgroup that has
    /// processes gives no controllers to those below.
    ///
    /// # Errors
    /// `/proc/self/cgroup` cannot be read; it is looked at only for a relative path.
    pub fn locate(&self, cgroups_path: Option<&Path>, id: &str) -> Result<Location, Error> {
        let unified =
            self.unified.as_ref().map(|hierarchy| hierarchy.resolve(cgroups_path, id)).transpose()?;
        let legacy = self.legacy.resolve(cgroups_path, id)?;
        Ok(Location { unified, legacy, ..Location::default() })
    }

    /// Works out where the cgroups of a unit are. `control_group` is that of the manager: empty for the
    /// system's.
    pub fn locate_unit(&self, unit: Unit, control_group: &str, user: bool) -> Location {
        let path = unit.path(control_group);
        let legacy = self.legacy.below_mounts(&path);
        Location { unified: self.unified.is_some().then_some(path), legacy, unit: Some(unit), user }
    }

    /// Makes the cgroups with all their parents, or takes empty ones that exist. They get all controllers
    /// that there are.
    ///
    /// # Errors
    /// One has processes or is frozen; or it cannot be made. What was made before that is removed.
    pub fn create(&self, location: &Location) -> Result<Cgroups, Error> {
        let unified = match (&self.unified, &location.unified) {
            (Some(hierarchy), Some(path)) => Some(hierarchy.create(path)?),
            _ => None,
        };
        match self.legacy.create(&location.legacy) {
            Ok(legacy) => Ok(Cgroups { unified, legacy }),
            Err(error) => {
                // The first error is the one to tell; nobody is in there.
                unified.map(|cgroup| cgroup.remove(Duration::ZERO).ok());
                Err(error)
            }
        }
    }

    /// Opens the cgroups of a unit that systemd has started, and makes those that it has not: it knows but
    /// some controllers of v1, and nothing of cgroup v2 on a hybrid machine.
    ///
    /// # Errors
    /// One cannot be made or opened.
    pub fn complete(&self, location: &Location) -> Result<Cgroups, Error> {
        let unified = match (&self.unified, &location.unified) {
            (Some(hierarchy), Some(path)) => Some(hierarchy.complete(path)?),
            _ => None,
        };
        Ok(Cgroups { unified, legacy: self.legacy.complete(&location.legacy)? })
    }

    /// Opens those of the cgroups that exist.
    ///
    /// # Errors
    /// One cannot be opened.
    pub fn open(&self, location: &Location) -> Result<Cgroups, Error> {
        let unified = match (&self.unified, &location.unified) {
            (Some(hierarchy), Some(path)) => hierarchy.open(path)?,
            _ => None,
        };
        Ok(Cgroups { unified, legacy: self.legacy.open(&location.legacy)? })
    }

    /// Whether all processes of the cgroups are frozen: as [`Cgroups::frozen`] of what [`Machine::open`]
    /// opens, with fewer calls where there is cgroup v2 alone.
    ///
    /// # Errors
    /// As theirs.
    pub fn frozen(&self, location: &Location) -> Result<bool, Error> {
        match (&self.unified, &location.unified) {
            (Some(hierarchy), Some(path)) if location.legacy.is_empty() => hierarchy.frozen(path),
            _ => self.open(location)?.frozen(),
        }
    }
}

impl Cgroups {
    /// No cgroups: those of a container that has none of its own.
    pub fn none() -> Self {
        Self { unified: None, legacy: legacy::Cgroups::none() }
    }

    /// Returns the cgroup of cgroup v2, into which a process can be cloned by its fd.
    pub fn unified(&self) -> Option<&Cgroup> {
        self.unified.as_ref()
    }

    /// Returns the cgroups of v1.
    pub fn legacy(&self) -> &legacy::Cgroups {
        &self.legacy
    }

    /// Returns the directory of the cgroup by which all processes are frozen: that of the v1 freezer where
    /// there is one.
    pub fn freezer(&self) -> Option<BorrowedFd<'_>> {
        self.legacy.directory("freezer").or_else(|| self.unified.as_ref().map(AsFd::as_fd))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.unified.is_none() && self.legacy.is_empty()
    }

    /// Sets the limits of new cgroups.
    ///
    /// # Errors
    /// The kernel does not take one of them, or its controller is not there; the error names field, file and
    /// value. The limits before it are in force.
    pub fn apply(&self, settings: &[Setting]) -> Result<(), Error> {
        resources::apply(settings, &|place| self.directory(place), None)
    }

    /// Sets limits that differ from those in force, all of them or none. Returns the settings that take this
    /// back.
    ///
    /// # Errors
    /// As [`Cgroups::apply`], but that the old limits are in force again; if they cannot be restored, the
    /// error says so.
    pub fn update(&self, settings: &[Setting]) -> Result<Vec<Setting>, Error> {
        let mut before = Vec::new();
        let updated = resources::apply(settings, &|place| self.directory(place), Some(&mut before));
        before.reverse();
        let Err(cause) = updated else { return Ok(before) };
        match self.apply(&before) {
            Ok(()) => Err(cause),
            Err(error) => Err(Repr::NotRestored { causes: vec![error, cause] }.into()),
        }
    }

    /// Checks that not more memory is in use than is to be allowed, if [`Memory::check_before_update`] asks
    /// for it.
    ///
    /// # Errors
    /// More is used.
    pub fn check_memory(&self, memory: &Memory) -> Result<(), Error> {
        resources::check_memory(memory, &|place| self.directory(place))
    }

    /// Allows and forbids devices: by the list of v1 where there is one, else by a filter in cgroup v2, which
    /// is put in the place of an earlier one at once.
    ///
    /// # Errors
    /// The kernel refuses it (its words are in the error), or the caller may not do it; or v1 has no words
    /// for the rules.
    pub fn set_devices(&self, rules: &[device::Rule]) -> Result<(), Error> {
        self.set_prepared_devices(&self.prepare_devices(rules)?)
    }

    /// Does beforehand what takes time in [`Cgroups::set_devices`]. Nothing is changed yet.
    ///
    /// # Errors
    /// The kernel refuses the filter (its words are in the error), or the caller may not load it.
    pub fn prepare_devices(&self, rules: &[device::Rule]) -> Result<Devices, Error> {
        if self.legacy.directory("devices").is_some() {
            return Ok(Devices::Listed(rules.to_vec()));
        }
        Ok(Devices::Filtered(device::Filter::compile(rules).load()?))
    }

    /// As [`Cgroups::set_devices`], with what was prepared for these cgroups.
    ///
    /// # Errors
    /// The caller may not do it; or v1 has no words for the rules.
    pub fn set_prepared_devices(&self, devices: &Devices) -> Result<(), Error> {
        match (devices, &self.unified) {
            (Devices::Listed(rules), _) => self.legacy.set_devices(rules, DEVICES_DEADLINE),
            (Devices::Filtered(program), Some(cgroup)) => cgroup.set_device_program(program),
            (Devices::Filtered(_), None) => Ok(()),
        }
    }

    /// Puts a process into all cgroups.
    ///
    /// # Errors
    /// It is gone, or may not be moved.
    pub fn add(&self, pid: i32) -> Result<(), Error> {
        self.unified.iter().try_for_each(|cgroup| cgroup.add(pid))?;
        self.legacy.add(pid)
    }

    /// Returns the processes in these cgroups and below.
    ///
    /// # Errors
    /// A file of a cgroup cannot be read.
    pub fn pids(&self) -> Result<Vec<i32>, Error> {
        self.unified.as_ref().map_or_else(|| self.legacy.pids(), Cgroup::pids)
    }

    /// Whether all processes are frozen.
    ///
    /// # Errors
    /// A file of a cgroup cannot be read.
    pub fn frozen(&self) -> Result<bool, Error> {
        Ok(self.legacy.frozen()? || self.unified.as_ref().map_or(Ok(false), Cgroup::frozen)?)
    }

    /// Freezes every process, and waits until they are.
    ///
    /// # Errors
    /// Some still run after `deadline`; they are thawed then. Or there is no cgroup.
    pub fn freeze(&self, deadline: Duration) -> Result<(), Error> {
        if self.legacy.directory("freezer").is_some() {
            return self.legacy.freeze(deadline);
        }
        self.unified.as_ref().ok_or(Repr::NoCgroup)?.freeze(deadline)
    }

    /// Lets the processes go on.
    ///
    /// # Errors
    /// The kernel does not. Or there is no cgroup.
    pub fn thaw(&self) -> Result<(), Error> {
        if self.legacy.directory("freezer").is_some() {
            self.legacy.thaw()?;
        }
        self.unified.iter().try_for_each(Cgroup::thaw)
    }

    /// Sends a signal to every process. Those that are forked meanwhile may be missed.
    ///
    /// # Errors
    /// They cannot be listed, or the caller may not send signals to one of them.
    pub fn signal(&self, signal: i32) -> Result<(), Error> {
        match &self.unified {
            Some(cgroup) => cgroup.signal(signal),
            None => self.legacy.signal(signal),
        }
    }

    /// Kills every process, and waits until they are gone (or zombies). Frozen ones die, too.
    ///
    /// # Errors
    /// Some are left after `deadline`; the error names them.
    pub fn kill(&self, deadline: Duration) -> Result<(), Error> {
        let Some(cgroup) = &self.unified else { return self.legacy.kill(deadline) };
        if !self.legacy.is_empty() {
            // cgroup.kill reaches everybody at once, but who is frozen in v1 does not die of it.
            cgroup.signal_kill()?;
            self.release_killed()?;
            if cgroup.wait_empty(deadline.min(ROUND))? {
                // Whoever is left is in v1 only.
                return self.legacy.kill(deadline);
            }
            // Somebody freezes them again and again.
            self.legacy.kill(deadline)?;
        }
        cgroup.kill(deadline)
    }

    /// Lets processes die that were sent a SIGKILL while they, or cgroups below, were frozen: with v1 they
    /// would wait. Nobody waits in cgroup v2, where nothing is done.
    ///
    /// # Errors
    /// A file of a cgroup cannot be written.
    pub fn release_killed(&self) -> Result<(), Error> {
        self.legacy.thaw_all()
    }

    /// Removes the cgroups and all below. Those that are gone already are no error.
    ///
    /// # Errors
    /// They have processes, or are still busy after `deadline`. The others are removed.
    pub fn remove(self, deadline: Duration) -> Result<(), Error> {
        let unified = self.unified.map_or(Ok(()), |cgroup| cgroup.remove(deadline));
        // What is left of v1 does not keep the rest from going.
        self.legacy.remove(deadline).and(unified)
    }

    /// Reads what has been used. On a hybrid machine each part comes from where its controller is.
    ///
    /// # Errors
    /// A file of a cgroup cannot be read or understood.
    pub fn stats(&self) -> Result<Stats, Error> {
        let unified = self.unified.as_ref().map_or_else(|| Ok(Stats::default()), Stats::read)?;
        if self.legacy.is_empty() {
            return Ok(unified);
        }
        let legacy = Stats::read_legacy(&|controller| self.legacy.directory(controller))?;
        Ok(Stats {
            // What the kernel counts everywhere says less than v1's controller.
            cpu: legacy.cpu.or(unified.cpu),
            cpuset: legacy.cpuset.or(unified.cpuset),
            memory: legacy.memory.or(unified.memory),
            pids: legacy.pids.or(unified.pids),
            io: legacy.io.or(unified.io),
            hugetlb: if legacy.hugetlb.is_empty() { unified.hugetlb } else { legacy.hugetlb },
            rdma: legacy.rdma.or(unified.rdma),
            misc: if legacy.misc.is_empty() { unified.misc } else { legacy.misc },
            pressure: unified.pressure,
        })
    }

    /// Returns how many processes were killed because memory was used up.
    ///
    /// # Errors
    /// A file of a cgroup cannot be read.
    pub fn oom_kills(&self) -> Result<u64, Error> {
        match (self.legacy.directory("memory"), &self.unified) {
            (Some(memory), _) => stats::legacy_oom_kills(memory),
            (None, Some(cgroup)) => cgroup.oom_kills(),
            (None, None) => Ok(0),
        }
    }

    /// Starts to watch for memory being used up. v1 does not tell when a cgroup becomes empty: see
    /// [`OomWatcher::wait`].
    ///
    /// # Errors
    /// There is no cgroup, or it cannot be watched.
    pub fn watch_oom(&self) -> Result<OomWatcher, Error> {
        match (self.legacy.directory("memory"), &self.unified) {
            (Some(memory), _) => OomWatcher::legacy(memory),
            (None, Some(cgroup)) => OomWatcher::new(cgroup),
            (None, None) => Err(Repr::NoCgroup.into()),
        }
    }

    fn directory(&self, place: Place) -> Option<BorrowedFd<'_>> {
        match place {
            Place::Unified => self.unified.as_ref().map(AsFd::as_fd),
            Place::Legacy(controller) => self.legacy.directory(controller),
        }
    }
}
