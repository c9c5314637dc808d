//! The cgroups of a container that is made, and of the process that joins one that runs.
//!
//! Stage: host. Kernel: cgroups(7), cgroup v1 and v2, by the fds of directories. Attacker: the container,
//! whose processes may move about in its own cgroups meanwhile.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use corten_cgroup::systemd::Property;
use corten_cgroup::{Cgroups, Location, Setting, device};
use corten_init::Slot;
use nix::errno::Errno;
use nix::unistd::Pid;

use super::work::required;
use super::{Host, LaunchError, LimitError, Work};
use crate::sys::{self, Call, SysError};

/// What the kernel says of a cgroup that takes no processes: it gives controllers to those below, is
/// threaded, or is gone.
pub(super) const NO_PROCESSES: [i32; 4] = [libc::EBUSY, libc::EOPNOTSUPP, libc::ENODEV, libc::ENOENT];

impl Work<'_> {
    pub(super) fn create_cgroups(&mut self, location: &Location, optional: bool) -> Result<(), LaunchError> {
        match self.launch.host.machine.create(location) {
            Ok(cgroups) => {
                self.around.cgroups = Some(cgroups);
                // A unit's are the container's when it has been started.
                self.container()?.record.owns_cgroups = location.unit.is_none();
                Ok(())
            }
            // The container stays in the caller's cgroups. What is written down is what `delete` is to
            // remove.
            Err(error) if optional && error.is_refused() => {
                let container = self.container()?;
                container.record.cgroups = Location::default();
                container.write()
            }
            Err(error) => Err(LaunchError::Cgroup(error)),
        }
    }

    /// Moves the process into the cgroups of a container that runs. They are not this launch's to kill or
    /// remove.
    pub(super) fn join_container(
        &mut self,
        pid: Pid,
        location: &Location,
        or_inits: bool,
        optional: bool,
    ) -> Result<(), LaunchError> {
        match self.move_into(pid, location, or_inits) {
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
        let opened = self.launch.host.machine.open(location).map_err(LaunchError::Cgroup)?;
        let path = location.unified.as_deref().unwrap_or(Path::new(""));
        let cgroup = opened.unified().ok_or_else(|| missing_cgroup(path))?;
        let fd = cgroup.as_fd().try_clone_to_owned();
        let fd =
            fd.map_err(|error| SysError::from_io(&error, || "fcntl(cgroup, F_DUPFD_CLOEXEC)".to_owned()))?;
        self.slots.put(slot, fd);
        Ok(())
    }

    /// Opens the container's cgroup as a detached mount.
    pub(super) fn open_cgroup(
        &mut self,
        slot: Slot,
        at: impl Fn(SysError) -> LaunchError,
    ) -> Result<(), LaunchError> {
        let opened = self.launch.host.machine.open(&self.record().cgroups).map_err(LaunchError::Cgroup)?;
        let tree = sys::clone_tree(required(opened.unified())?).map_err(at)?;
        self.slots.put(slot, tree);
        Ok(())
    }

    fn move_into(&self, pid: Pid, location: &Location, or_inits: bool) -> Result<(), LaunchError> {
        let cgroups = self.launch.host.machine.open(location).map_err(LaunchError::Cgroup)?;
        let opened = cgroups.legacy().paths();
        if let Some((_, path)) = location.legacy.iter().find(|(name, _)| !opened.contains_key(*name)) {
            return Err(missing_cgroup(path).into());
        }
        cgroups.legacy().add(pid.as_raw()).map_err(LaunchError::Cgroup)?;
        let Some(path) = &location.unified else { return Ok(()) };
        let moved = match cgroups.unified() {
            Some(cgroup) => cgroup.add(pid.as_raw()),
            // Its init has moved, and what was its own cgroup has been removed.
            None if or_inits => return self.move_beside_init(pid, path),
            None => return Err(missing_cgroup(path).into()),
        };
        match moved {
            // The container has made cgroups with limits below its own, which takes no processes then; or has
            // left it.
            Err(error) if or_inits && NO_PROCESSES.contains(&error.errno().unwrap_or(0)) => {
                self.move_beside_init(pid, path)
            }
            moved => moved.map_err(LaunchError::Cgroup),
        }
    }

    /// `path`: that of the cgroup that would have been the first choice.
    fn move_beside_init(&self, pid: Pid, path: &Path) -> Result<(), LaunchError> {
        let cgroups = self.cgroups_of_init()?;
        let cgroup = cgroups.unified().ok_or_else(|| missing_cgroup(path))?;
        cgroup.add(pid.as_raw()).map_err(LaunchError::Cgroup)
    }

    /// The cgroups of the container, but in cgroup v2 the one that its init is in.
    fn cgroups_of_init(&self) -> Result<Cgroups, LaunchError> {
        let target = self.target()?;
        let inits = Location::of_process(target.pid()).map_err(LaunchError::Cgroup)?;
        // The pid was its own when the file was read if it is alive now.
        if sys::wait_ended(&target.pidfd, Duration::ZERO)? {
            return Err(LaunchError::ContainerEnded);
        }
        let location = Location { unified: inits.unified, ..target.record.cgroups.clone() };
        self.launch.host.machine.open(&location).map_err(LaunchError::Cgroup)
    }

    /// Has systemd move init into the container's unit, where this user may not.
    pub(super) fn attach_to_unit(&self, pid: Pid, below: &str) -> Result<(), LaunchError> {
        let systemd = required(self.launch.host.systemd)?;
        let unit = required(self.record().cgroups.unit.as_ref())?;
        systemd.attach_processes(unit, below, &[pid.as_raw().cast_unsigned()]).map_err(LaunchError::Systemd)
    }

    pub(super) fn limit(&self, settings: &[Setting]) -> Result<(), LaunchError> {
        // None was to be had, and none is needed.
        let Some(cgroups) = &self.around.cgroups else { return Ok(()) };
        // systemd has set most of them.
        let has_unit = self.record().cgroups.unit.is_some();
        let set = if has_unit { cgroups.update(settings).map(drop) } else { cgroups.apply(settings) };
        set.map_err(|error| LaunchError::Limit(LimitError(error)))
    }

    /// Has systemd start the unit around init. What systemd knows nothing of, the runtime makes.
    pub(super) fn start_unit(
        &mut self,
        pid: Pid,
        location: &Location,
        properties: &[Property],
    ) -> Result<(), LaunchError> {
        let Host { machine, systemd } = self.launch.host;
        let (systemd, unit) = (required(systemd)?, required(location.unit.as_ref())?);
        let pids = if unit.is_slice() { Vec::new() } else { vec![pid.as_raw().cast_unsigned()] };
        let left_out = systemd.start_unit(unit, &pids, properties.to_vec()).map_err(LaunchError::Systemd)?;
        self.warnings.extend(left_out.iter().map(ToString::to_string));
        self.around.unit_started = true;
        // From now on whatever is in the unit is ours to kill.
        let container = self.container()?;
        container.record.owns_cgroups = true;
        container.write()?;
        let cgroups = machine.complete(location).map_err(LaunchError::Cgroup)?;
        let cgroups = self.around.cgroups.insert(cgroups);
        if unit.is_slice() || !location.legacy.is_empty() {
            cgroups.add(pid.as_raw()).map_err(LaunchError::Cgroup)?;
        }
        Ok(())
    }

    pub(super) fn join_cgroups(&self, pid: Pid) -> Result<(), LaunchError> {
        match &self.around.cgroups {
            // Init was cloned into that of cgroup v2.
            Some(cgroups) => cgroups.legacy().add(pid.as_raw()).map_err(LaunchError::Cgroup),
            None => Ok(()),
        }
    }

    pub(super) fn delegate(&self, uid: u32) -> Result<(), LaunchError> {
        match self.around.cgroups.as_ref().and_then(Cgroups::unified) {
            Some(cgroup) => cgroup.delegate(uid).map_err(LaunchError::Cgroup),
            None => Ok(()),
        }
    }

    pub(super) fn load_device_filter(
        &mut self,
        rules: &[device::Rule],
        optional: bool,
    ) -> Result<(), LaunchError> {
        let Some(cgroups) = &self.around.cgroups else { return Ok(()) };
        match cgroups.prepare_devices(rules) {
            Ok(devices) => self.around.devices = Some(devices),
            Err(error) if optional && error.is_refused() => {}
            Err(error) => return Err(LaunchError::Devices(error)),
        }
        Ok(())
    }

    pub(super) fn attach_device_filter(&self, optional: bool) -> Result<(), LaunchError> {
        let (Some(cgroups), Some(devices)) = (&self.around.cgroups, &self.around.devices) else {
            return Ok(());
        };
        match cgroups.set_prepared_devices(devices) {
            Err(error) if optional && error.is_refused() => Ok(()),
            other => other.map_err(LaunchError::Devices),
        }
    }
}

/// One of the container's cgroups that is not there any more.
fn missing_cgroup(path: &Path) -> SysError {
    SysError::new(Errno::ENOENT, || Call::OpenCgroup { path: path.to_owned() })
}
