//! The v1 hierarchies of a hybrid machine, so that a container's `cgroup` mount can show what runc's does.
//!
//! Source: cgroups(7), `/proc/PID/cgroup`.

use std::ffi::OsString;
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
    let file = Path::new("/proc/self/cgroup");
    let text = sys::read_all(file).map_err(|error| failed_io(&error, || format!("read({file:?})")))?;
    let directory = Path::new("/sys/fs/cgroup");
    let mut found = Mounts::default();
    let mut hierarchies: Vec<Mount> = text.lines().filter_map(hierarchy).collect();
    hierarchies.reverse();
    found.mounts = hierarchies.into_iter().filter(|mount| directory.join(&mount.name).is_dir()).collect();
    let call = || format!("readdir({directory:?})");
    for entry in std::fs::read_dir(directory).map_err(|error| failed_io(&error, call))? {
        let entry = entry.map_err(|error| failed_io(&error, call))?;
        if let Ok(target) = std::fs::read_link(entry.path()) {
            found.links.push((entry.file_name(), target.into_os_string()));
        }
    }
    found.links.sort();
    Ok(found)
}

/// Reads a line `N:CONTROLLERS:PATH`; cgroup2's has N = 0.
fn hierarchy(line: &str) -> Option<Mount> {
    let mut fields = line.splitn(3, ':');
    let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    if number == "0" || controllers.is_empty() {
        return None;
    }
    let options = match controllers.strip_prefix("name=") {
        Some(_) => vec!["none".to_owned(), controllers.to_owned()],
        None => controllers.split(',').map(str::to_owned).collect(),
    };
    let name = controllers.strip_prefix("name=").unwrap_or(controllers);
    Some(Mount { name: name.into(), options, own_cgroup: path.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_cgroup_are_read() {
        assert_eq!(hierarchy("0::/user.slice"), None);
        let cpu = hierarchy("3:cpu,cpuacct:/a").expect("a v1 line");
        assert_eq!((cpu.name, cpu.options), ("cpu,cpuacct".into(), vec!["cpu".to_owned(), "cpuacct".to_owned()]));
        let systemd = hierarchy("1:name=systemd:/x:y").expect("a named hierarchy");
        assert_eq!(systemd.name, "systemd");
        assert_eq!(systemd.options, ["none", "name=systemd"]);
        assert_eq!(systemd.own_cgroup, Path::new("/x:y"));
    }
}
