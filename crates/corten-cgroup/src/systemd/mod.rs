//! cgroups made by systemd: a container's scope (or slice) as a transient unit of a service manager.
//!
//! * **Unit**: the name of a scope or slice and the slice it is in, from an OCI config's `cgroupsPath`
//!   ([`Unit`]), and so the path of its cgroup.
//! * **Property**: a setting of a unit ([`Property`]): a container's standard ones ([`Unit::properties`]),
//!   its devices ([`device_properties`]), those that annotations ask for ([`annotation_properties`]), and
//!   what the limits become.
//! * **Manager**: a connection to systemd ([`Manager`]), of the system or of a user, which starts, changes
//!   and stops units.
//!
//! Stage: host. Only [`Manager::system`] and [`Manager::user`] touch D-Bus; names and properties are plain
//! data. Everything runs on the calling thread and no thread is ever started, so the caller may still enter a
//! user namespace. Each call to systemd has a deadline, because systemd may hang.
//!
//! ```no_run
//! use std::time::Duration;
//! use corten_cgroup::systemd::{Manager, Property, Unit};
//!
//! let unit = Unit::from_cgroups_path("machine.slice:demo:one", "one", false)?;
//! let manager = Manager::system(Duration::from_secs(30))?;
//! println!("cgroup: {}", unit.path("").display());
//! let mut properties = unit.properties("one", false);
//! properties.push(Property::new("MemoryMax", 64_u64 << 20));
//! for left_out in manager.start_unit(&unit, &[std::process::id()], properties)? {
//!     eprintln!("warning: {left_out}");
//! }
//! manager.set_properties(&unit, vec![Property::new("TasksMax", 10_u64)])?;
//! manager.stop_unit(&unit)?;
//! # Ok::<(), corten_cgroup::systemd::Error>(())
//! ```
//! Source: org.freedesktop.systemd1(5), systemd.unit(5), systemd.resource-control(5); runc 1.5's
//! docs/systemd.md.

mod annotation;
mod bus;
mod devices;
mod error;
#[cfg(test)]
mod fake;
mod gvariant;
mod manager;
mod property;
mod unit;

pub use annotation::annotation_properties;
pub use devices::{Devices, device_properties};
pub use error::{Error, ErrorKind};
pub use manager::{LeftOut, Manager, is_running};
pub use property::{Property, Value, cpu_mask};
pub use unit::Unit;
