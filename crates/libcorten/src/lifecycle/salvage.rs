//! What is left of a container whose state cannot be understood: enough to end and to remove it.
//!
//! The state before the last one lies beside it and names the same cgroups, and mostly the same init. Where
//! that is damaged, too, the cgroups are looked for where the config, which is there as soon as there is an
//! init, has them.

use std::path::{Path, PathBuf};

use corten_cgroup::systemd::{self, Unit};
use corten_cgroup::{Location, Machine};

use super::{Container, LifecycleError};
use crate::host::{self, systemd};
use crate::oci::Spec;
use crate::state::{Record, StateError};
use crate::{Result, chain, spec};

/// What was found instead of the state.
#[derive(Debug)]
pub(super) struct Salvaged {
    /// Enough of a state for `delete`.
    pub(super) record: Record,
    /// What is to be told.
    pub(super) warning: String,
}

impl Container {
    /// Finds out what there is to remove. `damage`: what is wrong with the state. `None`: nothing was made
    /// but that.
    ///
    /// # Errors
    /// What there is cannot be found out, now or ever; the error says where to look.
    pub(super) fn salvage(&self, damage: &StateError) -> Result<Option<Salvaged>> {
        let warning = |by: &str| format!("{}; the container was found by {by}", chain(damage));
        match self.directory.read_other() {
            Ok(Some(mut record)) => {
                // The config is written when there is an init, and the runtime makes cgroups before that;
                // systemd may not yet have.
                record.owns_cgroups |= record.cgroups.unit.is_none() && self.directory.has_config()?;
                return Ok(Some(Salvaged { record, warning: warning("its state before that") }));
            }
            Ok(None) => {}
            Err(error) if error.is_damage() => {}
            Err(error) => return Err(error.into()),
        }
        if !self.directory.has_config()? && !self.directory.has_start_socket()? {
            return Ok(None);
        }
        let lost = |why: String| LifecycleError::Lost {
            damage: chain(damage),
            why,
            directory: self.directory.path().to_owned(),
        };
        let spec = spec::load(self.directory.open_config()?);
        let spec = spec.map_err(|error| lost(format!("its config cannot be read: {}", chain(&error))))?;
        let cgroups = match find(&spec, &self.id)? {
            Found::Here(location) => location,
            Found::Gone => Location::default(),
            Found::Unknown(path) => return Err(lost(format!("there is no cgroup {path:?}")).into()),
        };
        let named = cgroups.unified.as_ref().or(cgroups.legacy.values().next());
        let by = match named {
            Some(path) => format!("linux.cgroupsPath of its config: cgroup {path:?}"),
            None => "its config, whose cgroup has gone".to_owned(),
        };
        Ok(Some(Salvaged { record: record(&self.id, &spec, cgroups), warning: warning(&by) }))
    }
}

/// Where the cgroups of a config are.
enum Found {
    Here(Location),
    /// They are at no other place, and not there: nobody is in them.
    Gone,
    /// They are not there, and may be elsewhere, as the place depends on the runtime's own cgroup.
    Unknown(PathBuf),
}

fn find(spec: &Spec, id: &str) -> Result<Found> {
    let path = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_deref());
    let path = path.filter(|path| !path.as_os_str().is_empty());
    let machine = Machine::detect()?;
    let unit = unit(&machine, path, id)?;
    let is_unit = unit.is_some() && path.is_some();
    let own = machine.locate(path, id)?;
    for location in unit.into_iter().chain([own]) {
        if !machine.open(&location)?.is_empty() {
            return Ok(Found::Here(location));
        }
    }
    let path = path.unwrap_or(Path::new(id));
    Ok(if is_unit || path.is_absolute() { Found::Gone } else { Found::Unknown(path.to_owned()) })
}

/// The place of the unit that the path stands for, if it can be one's and there is a systemd.
fn unit(machine: &Machine, path: Option<&Path>, id: &str) -> Result<Option<Location>> {
    let user = host::is_rootless()?;
    let path = path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    let Some(unit) = Unit::from_cgroups_path(&path, id, user).ok().filter(|_| systemd::is_running()) else {
        return Ok(None);
    };
    let control_group = if user { systemd(user)?.control_group()? } else { String::new() };
    Ok(Some(machine.locate_unit(unit, &control_group, user)))
}

/// A record that says what is known: where the bundle was is not.
fn record(id: &str, spec: &Spec, cgroups: Location) -> Record {
    let root = PathBuf::from("/");
    Record {
        version: Record::VERSION,
        oci_version: spec.version().clone(),
        id: id.to_owned(),
        bundle: root.clone(),
        config: None,
        rootfs: root,
        created: String::new(),
        annotations: spec.annotations().clone().unwrap_or_default().into_iter().collect(),
        cgroups,
        resources: None,
        no_new_keyring: false,
        creating: false,
        owns_cgroups: true,
        pid: 0,
        start_time: 0,
        hooks: spec.hooks().clone(),
        descriptors: Vec::new(),
        resctrl: None,
    }
}
