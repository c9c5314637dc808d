//! What is mounted, so that a container's `cgroup` mount can show what runc's does.
//!
//! Source: cgroups(7), `/proc/PID/cgroup`.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, failed_io};
use crate::sys;

/// A v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Name of its directory in `/sys/fs/cgroup`.
    pub name: OsString,
    /// What the `cgroup` filesystem is mounted with: the controllers, or `none` and `name=NAME`.
    pub options: Vec<String>,
    /// The caller's own cgroup in it, from the hierarchy's root.
    pub own_cgroup: PathBuf,
}

/// The v1 hierarchies, and the links beside them (`cpu` to `cpu,cpuacct`): name and target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mounts {
    /// The hierarchies that are mounted below `/sys/fs/cgroup`, in the order of `/proc/self/cgroup` reversed.
    pub mounts: Vec<Mount>,
    /// Links in `/sys/fs/cgroup`.
    pub links: Vec<(OsString, OsString)>,
}

/// Returns the v1 hierarchies of this machine, as the caller sees them.
///
/// # Errors
/// `/proc/self/cgroup` or `/sys/fs/cgroup` cannot be read.
pub fn mounts() -> Result<Mounts, Error> {
    let text = own_cgroups()?;
    let directory = Path::new("/sys/fs/cgroup");
    let mut found = Mounts::default();
    let mut hierarchies: Vec<Mount> = lines(&text).map(mount).collect();
    hierarchies.reverse();
    for mount in hierarchies {
        let path = directory.join(&mount.name);
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => found.mounts.push(mount),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed_io(&error, || format!("stat({path:?})"))),
        }
    }
    let call = || format!("readdir({directory:?})");
    for entry in std::fs::read_dir(directory).map_err(|error| failed_io(&error, call))? {
        let entry = entry.map_err(|error| failed_io(&error, call))?;
        match std::fs::read_link(entry.path()) {
            Ok(target) => found.links.push((entry.file_name(), target.into_os_string())),
            // No link.
            Err(error) if error.kind() == ErrorKind::InvalidInput => {}
            Err(error) => return Err(failed_io(&error, || format!("readlink({:?})", entry.path()))),
        }
    }
    found.links.sort();
    Ok(found)
}

/// Reads `/proc/self/cgroup`.
pub(super) fn own_cgroups() -> Result<String, Error> {
    let file = Path::new("/proc/self/cgroup");
    sys::read_all(file).map_err(|error| failed_io(&error, || format!("read({file:?})")))
}

/// The controllers (or `name=NAME`) and the path of each line `N:CONTROLLERS:PATH`, but for that of cgroup2
/// (N = 0).
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        (number != "0" && !controllers.is_empty()).then_some((controllers, path))
    })
}

fn mount((controllers, path): (&str, &str)) -> Mount {
    let options = match controllers.strip_prefix("name=") {
        Some(_) => vec!["none".to_owned(), controllers.to_owned()],
        None => controllers.split(',').map(str::to_owned).collect(),
    };
    let name = controllers.strip_prefix("name=").unwrap_or(controllers);
    Mount { name: name.into(), options, own_cgroup: path.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_cgroup_are_read() {
        let text = "3:cpu,cpuacct:/a\n1:name=systemd:/x:y\n0::/user.slice\n";
        let [cpu, systemd] = lines(text).map(mount).collect::<Vec<_>>().try_into().expect("two v1 lines");
        assert_eq!(
            (cpu.name, cpu.options),
            ("cpu,cpuacct".into(), vec!["cpu".to_owned(), "cpuacct".to_owned()])
        );
        assert_eq!(systemd.name, "systemd");
        assert_eq!(systemd.options, ["none", "name=systemd"]);
        assert_eq!(systemd.own_cgroup, Path::new("/x:y"));
    }
}
