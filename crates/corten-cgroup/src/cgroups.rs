//! All cgroups of a container: the one of cgroup v2, and on hybrid and v1 machines those in the v1 hierarchies.
//!
//! Stage: host. [`Machine`] knows how cgroups are mounted, a [`Location`] where those of a container are, [`Cgroups`] are they.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cgroup::Cgroup;
use crate::device;
use crate::error::{Error, Repr};
use crate::hierarchy::{Hierarchy, Layout};
use crate::resources::{self, LegacyControllers, Memory, Place, Setting};

/// How this machine mounts its cgroups.
#[derive(Debug)]
pub struct Machine {
    unified: Option<Hierarchy>,
    legacy_controllers: LegacyControllers,
}

/// Where the cgroups of a container are. Empty: it has none of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Location {
    /// Path of the cgroup below the mount of cgroup2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unified: Option<PathBuf>,
    /// Paths below the mounts of the v1 hierarchies, by the name of the hierarchy's directory.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub legacy: BTreeMap<String, PathBuf>,
}

/// The cgroups of a container.
#[derive(Debug)]
pub struct Cgroups {
    unified: Option<Cgroup>,
}

impl Location {
    /// Whether the container has no cgroups of its own.
    pub fn is_empty(&self) -> bool {
        self.unified.is_none() && self.legacy.is_empty()
    }
}

impl Machine {
    /// Looks at the mounts below `/sys/fs/cgroup`.
    ///
    /// # Errors
    /// There are none, or they cannot be read.
    pub fn detect() -> Result<Self, Error> {
        let unified = Hierarchy::detect()?;
        Ok(Self { unified: Some(unified), legacy_controllers: LegacyControllers::none() })
    }

    /// Returns how they are mounted.
    pub fn layout(&self) -> Layout {
        self.unified.as_ref().map_or(Layout::Legacy, Hierarchy::layout)
    }

    /// Returns the hierarchy of cgroup v2, if it is mounted.
    pub fn unified(&self) -> Option<&Hierarchy> {
        self.unified.as_ref()
    }

    /// Returns the controllers that are in v1 hierarchies.
    pub fn legacy_controllers(&self) -> &LegacyControllers {
        &self.legacy_controllers
    }

    /// Works out where the cgroups of a container are to be.
    ///
    /// An absolute `cgroups_path` counts from the mounts. A relative one, or the `id` if there is none, counts from the caller's
    /// own cgroups: from their parent in cgroup v2, where a cgroup that has processes gives no controllers to those below.
    ///
    /// # Errors
    /// `/proc/self/cgroup` cannot be read; it is looked at only for a relative path.
    pub fn locate(&self, cgroups_path: Option<&Path>, id: &str) -> Result<Location, Error> {
        let unified = self.unified.as_ref().map(|hierarchy| hierarchy.resolve(cgroups_path, id)).transpose()?;
        Ok(Location { unified, legacy: BTreeMap::new() })
    }

    /// Makes the cgroups with all their parents, or takes empty ones that exist. They get all controllers that there are.
    ///
    /// # Errors
    /// One has processes or is frozen; or it cannot be made. What was made before that is removed.
    pub fn create(&self, location: &Location) -> Result<Cgroups, Error> {
        let unified = match (&self.unified, &location.unified) {
            (Some(hierarchy), Some(path)) => Some(hierarchy.create(path)?),
            _ => None,
        };
        Ok(Cgroups { unified })
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
        Ok(Cgroups { unified })
    }
}

impl Cgroups {
    /// No cgroups: those of a container that has none of its own.
    pub fn none() -> Self {
        Self { unified: None }
    }

    /// Returns the cgroup of cgroup v2, into which a process can be cloned by its fd.
    pub fn unified(&self) -> Option<&Cgroup> {
        self.unified.as_ref()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.unified.is_none()
    }

    /// Sets the limits of new cgroups.
    ///
    /// # Errors
    /// The kernel does not take one of them, or its controller is not there; the error names field, file and value. The
    /// limits before it are in force.
    pub fn apply(&self, settings: &[Setting]) -> Result<(), Error> {
        resources::apply(settings, &|place| self.directory(place), false)
    }

    /// Sets limits that differ from those in force.
    ///
    /// # Errors
    /// As [`Cgroups::apply`].
    pub fn update(&self, settings: &[Setting]) -> Result<(), Error> {
        resources::apply(settings, &|place| self.directory(place), true)
    }

    /// Checks that not more memory is in use than is to be allowed, if [`Memory::check_before_update`] asks for it.
    ///
    /// # Errors
    /// More is used. Or usage cannot be read.
    pub fn check_memory(&self, memory: &Memory) -> Result<(), Error> {
        resources::check_memory(memory, &|place| self.directory(place))
    }

    /// Sets the device filter of the rules. In cgroup v2 it is put in the place of an earlier one at once.
    ///
    /// # Errors
    /// The kernel refuses the program (its words are in the error), or the caller may not attach it.
    pub fn set_devices(&self, rules: &[device::Rule]) -> Result<(), Error> {
        match &self.unified {
            Some(cgroup) => cgroup.set_device_filter(&device::Filter::compile(rules)),
            None => Ok(()),
        }
    }

    /// Puts a process into all cgroups.
    ///
    /// # Errors
    /// It is gone, or may not be moved.
    pub fn add(&self, pid: i32) -> Result<(), Error> {
        self.unified.iter().try_for_each(|cgroup| cgroup.add(pid))
    }

    /// Puts a process into the cgroups of v1; into that of cgroup v2 it may have been cloned.
    ///
    /// # Errors
    /// As [`Cgroups::add`].
    pub fn add_to_legacy(&self, _pid: i32) -> Result<(), Error> {
        Ok(())
    }

    /// Returns the processes in these cgroups and below.
    ///
    /// # Errors
    /// A file of a cgroup cannot be read.
    pub fn pids(&self) -> Result<Vec<i32>, Error> {
        self.unified.as_ref().map_or(Ok(Vec::new()), Cgroup::pids)
    }

    /// Whether all processes are frozen.
    ///
    /// # Errors
    /// A file of a cgroup cannot be read.
    pub fn frozen(&self) -> Result<bool, Error> {
        self.unified.as_ref().map_or(Ok(false), Cgroup::frozen)
    }

    /// Freezes every process, and waits until they are.
    ///
    /// # Errors
    /// Some still run after `deadline`; they are thawed then. Or there is no cgroup.
    pub fn freeze(&self, deadline: Duration) -> Result<(), Error> {
        self.unified.as_ref().ok_or(Repr::NoCgroup)?.freeze(deadline)
    }

    /// Lets the processes go on.
    ///
    /// # Errors
    /// The kernel does not. Or there is no cgroup.
    pub fn thaw(&self) -> Result<(), Error> {
        self.unified.as_ref().ok_or(Repr::NoCgroup)?.thaw()
    }

    /// Sends a signal to every process. Those that are forked meanwhile may be missed.
    ///
    /// # Errors
    /// They cannot be listed, or the caller may not send signals to one of them.
    pub fn signal(&self, signal: i32) -> Result<(), Error> {
        self.unified.iter().try_for_each(|cgroup| cgroup.signal(signal))
    }

    /// Kills every process, and waits until they are gone (or zombies). Frozen ones die, too.
    ///
    /// # Errors
    /// Some are left after `deadline`; the error names them.
    pub fn kill(&self, deadline: Duration) -> Result<(), Error> {
        self.unified.as_ref().map_or(Ok(()), |cgroup| cgroup.kill(deadline))
    }

    /// Removes the cgroups and all below. Those that are gone already are no error.
    ///
    /// # Errors
    /// They have processes, or are still busy after `deadline`. The others are removed.
    pub fn remove(self, deadline: Duration) -> Result<(), Error> {
        self.unified.map_or(Ok(()), |cgroup| cgroup.remove(deadline))
    }

    fn directory(&self, place: Place) -> Option<std::os::fd::BorrowedFd<'_>> {
        match place {
            Place::Unified => self.unified.as_ref().map(std::os::fd::AsFd::as_fd),
            Place::Legacy(_) => None,
        }
    }
}
