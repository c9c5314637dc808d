//! The cgroups of a container that is made, and of the process that joins one that runs.
//!
//! Stage: host. Kernel: cgroups(7), cgroup v1 and v2, by the fds of directories. Attacker: the container, whose processes may move about in
//! its own cgroups meanwhile.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use corten_cgroup::systemd::Property;
use corten_cgroup::{Cgroups, Location, Setting, device};
use corten_init::Slot;
use nix::errno::Errno;

use super::{Launch, LaunchError, LimitError};
use crate::sys::{self, SysError};

/// What the kernel says of a cgroup that takes no processes: it gives controllers to those below, is threaded, or is gone.
pub(super) const NO_PROCESSES: [i32; 4] = [libc::EBUSY, libc::EOPNOTSUPP, libc::ENODEV, libc::ENOENT];

impl Launch<'_> {
    pub(super) fn create_cgroups(&mut self, location: &Location, optional: bool) -> Result<(), LaunchError> {
        match self.place.machine.create(location) {
            Ok(cgroups) => {
                self.cgroups = Some(cgroups);
                // A unit's are the container's when it has been started.
                self.record.owns_cgroups = location.unit.is_none();
            }
            // The container stays in the caller's cgroups. What is written down is what `delete` is to remove.
            Err(error) if optional && error.is_refused() => {
                self.record.cgroups = Location::default();
                self.place.directory.write(self.record)?;
            }
            Err(error) => return Err(LaunchError::Cgroup(error)),
        }
        Ok(())
    }

    /// Moves the process into the cgroups of a container that runs. They are not this launch's to kill or remove.
    pub(super) fn join_container(
        &mut self,
        location: &Location,
        or_inits: bool,
        optional: bool,
    ) -> Result<(), LaunchError> {
        match self.move_into(location, or_inits) {
            // runc, too, lets a user's process go on outside then.
            Err(LaunchError::Cgroup(error)) if optional && error.is_refused() => {
                self.warnings.push(format!(
                    "linux.cgroupsPath: the process stays in the caller's cgroup: {}",
                    crate::chain(&error)
                ));
                Ok(())
            }
            moved => moved,
        }
    }

    pub(super) fn open_joined_cgroup(&mut self, location: &Location, slot: Slot) -> Result<(), LaunchError> {
        let opened = self.place.machine.open(location).map_err(LaunchError::Cgroup)?;
        let path = location.unified.as_deref().unwrap_or(Path::new(""));
        let cgroup = opened.unified().ok_or_else(|| missing_cgroup(path))?;
        let fd = cgroup.as_fd().try_clone_to_owned();
        self.put(slot, fd.map_err(|error| SysError::from_io(&error, || "fcntl(cgroup, F_DUPFD_CLOEXEC)".to_owned()))?)
    }

    fn move_into(&self, location: &Location, or_inits: bool) -> Result<(), LaunchError> {
        let cgroups = self.place.machine.open(location).map_err(LaunchError::Cgroup)?;
        let opened = cgroups.legacy().paths();
        if let Some((_, path)) = location.legacy.iter().find(|(name, _)| !opened.contains_key(*name)) {
            return Err(missing_cgroup(path).into());
        }
        cgroups.legacy().add(self.record.pid).map_err(LaunchError::Cgroup)?;
        let Some(path) = &location.unified else { return Ok(()) };
        let moved = match cgroups.unified() {
            Some(cgroup) => cgroup.add(self.record.pid),
            // Its init has moved, and what was its own cgroup has been removed.
            None if or_inits => return self.move_beside_init(path),
            None => return Err(missing_cgroup(path).into()),
        };
        match moved {
            // The container has made cgroups with limits below its own, which takes no processes then; or has left it.
            Err(error) if or_inits && NO_PROCESSES.contains(&error.errno().unwrap_or(0)) => self.move_beside_init(path),
            moved => moved.map_err(LaunchError::Cgroup),
        }
    }

    /// `path`: that of the cgroup that would have been the first choice.
    fn move_beside_init(&self, path: &Path) -> Result<(), LaunchError> {
        let cgroups = self.cgroups_of_init()?;
        let cgroup = cgroups.unified().ok_or_else(|| missing_cgroup(path))?;
        cgroup.add(self.record.pid).map_err(LaunchError::Cgroup)
    }

    /// The cgroups of the container, but in cgroup v2 the one that its init is in.
    fn cgroups_of_init(&self) -> Result<Cgroups, LaunchError> {
        let joined = self.joined()?;
        let inits = Location::of_process(joined.pid).map_err(LaunchError::Cgroup)?;
        // The pid was its own when the file was read if it is alive now.
        if sys::wait_ended(joined.pidfd.as_fd(), Duration::ZERO)? {
            return Err(LaunchError::ContainerEnded);
        }
        let location = Location { unified: inits.unified, ..self.record.cgroups.clone() };
        self.place.machine.open(&location).map_err(LaunchError::Cgroup)
    }

    /// Has systemd move init into the container's unit, where this user may not.
    pub(super) fn attach_to_unit(&self, below: &str) -> Result<(), LaunchError> {
        let (Some(systemd), Some(unit)) = (self.place.systemd, &self.record.cgroups.unit) else {
            return Err(LaunchError::Order);
        };
        systemd.attach_processes(unit, below, &[self.record.pid.cast_unsigned()]).map_err(LaunchError::Systemd)
    }

    pub(super) fn limit(&self, settings: &[Setting]) -> Result<(), LaunchError> {
        // None was to be had, and none is needed.
        let Some(cgroups) = &self.cgroups else { return Ok(()) };
        // systemd has set most of them.
        let has_unit = self.record.cgroups.unit.is_some();
        let set = if has_unit { cgroups.update(settings).map(drop) } else { cgroups.apply(settings) };
        set.map_err(|error| LaunchError::Limit(LimitError(error)))
    }

    /// Has systemd start the unit around init. What systemd knows nothing of, the runtime makes.
    pub(super) fn start_unit(&mut self, location: &Location, properties: &[Property]) -> Result<(), LaunchError> {
        let (Some(systemd), Some(unit)) = (self.place.systemd, &location.unit) else { return Err(LaunchError::Order) };
        let pids = if unit.is_slice() { Vec::new() } else { vec![self.record.pid.cast_unsigned()] };
        let left_out = systemd.start_unit(unit, &pids, properties.to_vec()).map_err(LaunchError::Systemd)?;
        self.warnings.extend(left_out.iter().map(ToString::to_string));
        self.unit_started = true;
        // From now on whatever is in the unit is ours to kill.
        self.record.owns_cgroups = true;
        self.place.directory.write(self.record)?;
        let cgroups = self.place.machine.complete(location).map_err(LaunchError::Cgroup)?;
        let cgroups = self.cgroups.insert(cgroups);
        if unit.is_slice() || !location.legacy.is_empty() {
            cgroups.add(self.record.pid).map_err(LaunchError::Cgroup)?;
        }
        Ok(())
    }

    pub(super) fn join_cgroups(&self) -> Result<(), LaunchError> {
        match &self.cgroups {
            // Init was cloned into that of cgroup v2.
            Some(cgroups) => cgroups.legacy().add(self.record.pid).map_err(LaunchError::Cgroup),
            None => Ok(()),
        }
    }

    pub(super) fn delegate(&self, uid: u32) -> Result<(), LaunchError> {
        match self.cgroups.as_ref().and_then(Cgroups::unified) {
            Some(cgroup) => cgroup.delegate(uid).map_err(LaunchError::Cgroup),
            None => Ok(()),
        }
    }

    /// Stops the unit that was started.
    pub(super) fn stop_unit(&self) -> Result<(), corten_cgroup::systemd::Error> {
        match (self.place.systemd, &self.record.cgroups.unit) {
            (Some(systemd), Some(unit)) if self.unit_started => systemd.stop_unit(unit),
            _ => Ok(()),
        }
    }

    pub(super) fn load_device_filter(&mut self, rules: &[device::Rule], optional: bool) -> Result<(), LaunchError> {
        let Some(cgroups) = &self.cgroups else { return Ok(()) };
        match cgroups.prepare_devices(rules) {
            Ok(devices) => self.devices = Some(devices),
            Err(error) if optional && error.is_refused() => {}
            Err(error) => return Err(LaunchError::Devices(error)),
        }
        Ok(())
    }

    pub(super) fn attach_device_filter(&self, optional: bool) -> Result<(), LaunchError> {
        let (Some(cgroups), Some(devices)) = (&self.cgroups, &self.devices) else { return Ok(()) };
        match cgroups.set_prepared_devices(devices) {
            Err(error) if optional && error.is_refused() => Ok(()),
            other => other.map_err(LaunchError::Devices),
        }
    }
}

/// One of the container's cgroups that is not there any more.
fn missing_cgroup(path: &Path) -> SysError {
    SysError::new(Errno::ENOENT, || format!("open(cgroup {path:?})"))
}
