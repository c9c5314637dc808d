//! The hierarchies, and a container's paths in them.
//!
//! Stage: host. Attacker: a container that manages its own sub-cgroups; names below its cgroups are its own
//! choice.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, fstatfs};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::cgroups::Cgroups;
use super::cpuset;
use super::directory::Directory;
use super::mounts::{lines, own_cgroups};
use crate::error::{Error, Repr, failed, failed_io};
use crate::hierarchy::clean;
use crate::sys;

const DIRECTORY: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY);
/// How often a cgroup is made again because somebody removed one above it meanwhile.
const TRIES: usize = 10;

/// Where the cgroups of a container are: for each hierarchy, as `/proc/PID/cgroup` names it (`cpu,cpuacct`,
/// `name=systemd`), the path from its mount, starting with `/`.
pub type Paths = BTreeMap<String, PathBuf>;

/// The hierarchies that are mounted below `/sys/fs/cgroup`: those with controllers, and `name=systemd`.
#[derive(Debug)]
pub struct Hierarchies(Vec<Hierarchy>);

/// Cgroups that have been made, each by the one above, in their order.
type Made = Vec<(Arc<OwnedFd>, OsString)>;

#[derive(Debug)]
struct Hierarchy {
    name: String,
    mount_point: PathBuf,
    own_cgroup: PathBuf,
    fd: OwnedFd,
}

impl Hierarchies {
    /// Finds the hierarchies, by `/proc/self/cgroup`. There are none on a *unified* machine.
    ///
    /// # Errors
    /// They cannot be looked at.
    pub fn detect() -> Result<Self, Error> {
        let mut found = Vec::new();
        for (name, own_cgroup) in lines(&own_cgroups()?) {
            if name.starts_with("name=") && name != "name=systemd" {
                continue;
            }
            if let Some((mount_point, fd)) = mount_of(name)? {
                let own_cgroup = own_cgroup.strip_suffix(" (deleted)").unwrap_or(own_cgroup);
                found.push(Hierarchy {
                    name: name.to_owned(),
                    mount_point,
                    own_cgroup: own_cgroup.into(),
                    fd,
                });
            }
        }
        // The first one says which processes a container has: they are added there first, and it is removed
        // last. Only the freezer can hold them while they are listed.
        found.sort_by_key(|hierarchy| match hierarchy {
            freezer if freezer.has("freezer") => 0,
            devices if devices.has("devices") => 1,
            named if named.is_named() => 3,
            _ => 2,
        });
        Ok(Self(found))
    }

    /// None.
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// Returns the controllers that are in them.
    pub fn controllers(&self) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(|hierarchy| !hierarchy.is_named())
            .flat_map(|hierarchy| hierarchy.name.split(','))
    }

    /// Returns the paths of cgroups that are at the same place below each mount.
    pub fn below_mounts(&self, path: &Path) -> Paths {
        self.0.iter().map(|hierarchy| (hierarchy.name.clone(), clean(path))).collect()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a controller is in one of them.
    pub fn has(&self, controller: &str) -> bool {
        self.0.iter().any(|hierarchy| hierarchy.has(controller))
    }

    /// Returns the paths of a container's cgroups.
    ///
    /// An absolute `cgroups_path` counts from each mount. A relative one, or the `id` if there is none,
    /// counts from the caller's own cgroup in each hierarchy (runc).
    ///
    /// # Errors
    /// The mounts cannot be looked at; that is done only for a relative path.
    pub fn resolve(&self, cgroups_path: Option<&Path>, id: &str) -> Result<Paths, Error> {
        let path = cgroups_path.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new(id));
        // No `..` leads out of the caller's cgroup.
        let cleaned = clean(path);
        if self.0.is_empty() {
            return Ok(Paths::new());
        }
        if path.is_absolute() {
            return Ok(self.below_mounts(path));
        }
        let below = cleaned.strip_prefix("/").unwrap_or(&cleaned);
        let mounts = "/proc/self/mountinfo";
        let mounts =
            std::fs::read(mounts).map_err(|error| failed_io(&error, || format!("read({mounts:?})")))?;
        // Names of other mounts may be anything.
        let mounts = String::from_utf8_lossy(&mounts);
        let resolve = |hierarchy: &Hierarchy| {
            let own = from_mount(&hierarchy.own_cgroup, &hierarchy.root(&mounts)?);
            Ok((hierarchy.name.clone(), own.join(below)))
        };
        self.0.iter().map(resolve).collect()
    }

    /// Makes a container's cgroups with all their parents, or takes empty ones that exist. The cpus and
    /// memory nodes of the parents are filled in where they are empty.
    ///
    /// Limits come next, then [`Cgroups::add`]: a process that is in a real-time class cannot enter before
    /// there is a budget for it, and the cpus of the container may have to differ from those above.
    ///
    /// Only the controllers of `paths` matter; that the caller may not make one in `name=systemd` is no
    /// error, as with runc.
    ///
    /// # Errors
    /// One has processes or is frozen, or cannot be made. What was made is removed again, parents included.
    pub fn create(&self, paths: &Paths) -> Result<Cgroups, Error> {
        self.make(paths, true)
    }

    /// Makes those of a container's cgroups that are missing, and takes the others with their processes: for
    /// a unit that systemd has started in some of the hierarchies.
    ///
    /// # Errors
    /// One cannot be made. What was made is removed again, parents included.
    pub fn complete(&self, paths: &Paths) -> Result<Cgroups, Error> {
        self.make(paths, false)
    }

    fn make(&self, paths: &Paths, unused: bool) -> Result<Cgroups, Error> {
        let mut made = Vec::new();
        let mut directories = Vec::new();
        for hierarchy in &self.0 {
            let Some(path) = paths.get(&hierarchy.name) else { continue };
            let before = made.len();
            match hierarchy.make(&clean(path), unused, &mut made) {
                Ok(directory) => directories.push(directory),
                Err(error) if hierarchy.is_named() && error.is_refused() => unmake(made.drain(before..)),
                Err(error) => {
                    unmake(made.drain(..));
                    return Err(error);
                }
            }
        }
        Ok(Cgroups(directories))
    }

    /// Opens a container's cgroups. Those that do not exist are left out: see [`Cgroups::paths`].
    ///
    /// # Errors
    /// One cannot be opened for another reason.
    pub fn open(&self, paths: &Paths) -> Result<Cgroups, Error> {
        let mut directories = Vec::new();
        for hierarchy in &self.0 {
            let Some(path) = paths.get(&hierarchy.name) else { continue };
            let path = clean(path);
            let Some(parent) = path.parent() else { continue };
            let opened = sys::open_below(&hierarchy.fd, parent, DIRECTORY)
                .and_then(|above| hierarchy.open(Arc::new(above), &path));
            match opened {
                Ok(directory) => directories.push(directory),
                Err(Errno::ENOENT) => {}
                Err(errno) => return Err(hierarchy.failed("openat2", &path)(errno)),
            }
        }
        Ok(Cgroups(directories))
    }
}

/// Takes back what was made, unless somebody uses it by now. Needs no fd: there may be none left.
fn unmake(made: impl DoubleEndedIterator<Item = (Arc<OwnedFd>, OsString)>) {
    for (above, name) in made.rev() {
        // Used by another container, or gone; the error that is on its way to the caller says more.
        unlinkat(&*above, name.as_os_str(), UnlinkatFlags::RemoveDir).ok();
    }
}

impl Hierarchy {
    fn has(&self, controller: &str) -> bool {
        self.name.split(',').any(|own| own == controller)
    }

    fn is_named(&self) -> bool {
        self.name.starts_with("name=")
    }

    /// Makes a cgroup. What it made is added to `made`, whether it fails or not.
    fn make(&self, path: &Path, unused: bool, made: &mut Made) -> Result<Directory, Error> {
        let mut tries = TRIES;
        loop {
            match self.make_once(path, unused, made) {
                // Whoever shares the parents has removed them meanwhile.
                Err(error) if error.errno() == Some(Errno::ENOENT as i32) && tries > 1 => tries -= 1,
                other => return other,
            }
        }
    }

    fn make_once(&self, path: &Path, unused: bool, made: &mut Made) -> Result<Directory, Error> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            // The root of the hierarchy, which always has processes.
            return Err(Repr::NotEmpty { count: 1 }.into());
        };
        let above = self.parents(parent, made)?;
        let existed = match mkdirat(&*above, name, Mode::from_bits_truncate(0o755)) {
            Ok(()) => false,
            Err(Errno::EEXIST) => true,
            Err(errno) => return Err(self.failed("mkdir", path)(errno)),
        };
        if !existed {
            made.push((above.clone(), name.to_owned()));
        }
        let directory = self.open(above, path).map_err(self.failed("openat2", path))?;
        if existed && unused {
            directory.check_unused()?;
        }
        // A new one, too.
        if unused {
            directory.check_runs()?;
        }
        Ok(directory)
    }

    /// Opens a directory, and makes it with its parents where they do not exist.
    fn parents(&self, path: &Path, made: &mut Made) -> Result<Arc<OwnedFd>, Error> {
        if !self.has("cpuset") {
            match sys::open_below(&self.fd, path, DIRECTORY) {
                Err(Errno::ENOENT) => {}
                other => return other.map(Arc::new).map_err(self.failed("openat2", path)),
            }
        }
        let here =
            sys::open_below(&self.fd, Path::new("."), DIRECTORY).map_err(self.failed("openat2", path))?;
        let mut here = Arc::new(here);
        let mut so_far = PathBuf::from("/");
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            so_far.push(name);
            match mkdirat(&*here, name, Mode::from_bits_truncate(0o755)) {
                Ok(()) => made.push((here.clone(), name.to_owned())),
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(self.failed("mkdir", &so_far)(errno)),
            }
            let inner = sys::open_below(&*here, Path::new(name), DIRECTORY)
                .map_err(self.failed("openat2", &so_far))?;
            if self.has("cpuset") {
                cpuset::fill(inner.as_fd(), here.as_fd(), &self.shown(&so_far))?;
            }
            here = Arc::new(inner);
        }
        Ok(here)
    }

    fn open(&self, above: Arc<OwnedFd>, path: &Path) -> nix::Result<Directory> {
        let name = path.file_name().ok_or(Errno::ENOENT)?.to_owned();
        let fd = sys::open_below(&*above, Path::new(&name), DIRECTORY)?;
        let shown = self.shown(path);
        Ok(Directory { hierarchy: self.name.clone(), path: path.to_owned(), shown, above, name, fd })
    }

    fn shown(&self, path: &Path) -> PathBuf {
        self.mount_point.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn failed(&self, call: &'static str, path: &Path) -> impl Fn(Errno) -> Error {
        move |errno| failed(errno, || format!("{call}({:?})", self.shown(path)))
    }

    /// Which directory of the hierarchy is at the mount point: in a container that has no cgroup namespace,
    /// it is the container's cgroup.
    fn root(&self, mountinfo: &str) -> Result<PathBuf, Error> {
        let file = format!("/proc/self/fdinfo/{}", self.fd.as_raw_fd());
        let info = sys::read_all(Path::new(&file))
            .map_err(|error| failed_io(&error, || format!("read({file:?})")))?;
        let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim);
        let root = id.and_then(|id| root_of_mount(mountinfo, id));
        root.ok_or_else(|| Repr::Content { what: "the mount", path: file.into(), text: info }.into())
    }
}

/// Finds where a hierarchy is mounted, by its own name or that of one of its controllers, which may be a
/// link.
fn mount_of(name: &str) -> Result<Option<(PathBuf, OwnedFd)>, Error> {
    let name = name.strip_prefix("name=").unwrap_or(name);
    for name in std::iter::once(name).chain(name.split(',').filter(|part| *part != name)) {
        let path = Path::new("/sys/fs/cgroup").join(name);
        let fd = match open(&path, DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT | Errno::ENOTDIR) => continue,
            Err(errno) => return Err(failed(errno, || format!("open({path:?}, O_PATH)"))),
        };
        let stat = fstatfs(&fd).map_err(|errno| failed(errno, || format!("fstatfs({path:?})")))?;
        if stat.filesystem_type() == CGROUP_SUPER_MAGIC {
            return Ok(Some((path, fd)));
        }
    }
    Ok(None)
}

/// The root field of a mount in mountinfo.
pub(crate) fn root_of_mount(mountinfo: &str, id: &str) -> Option<PathBuf> {
    let mut fields = mountinfo
        .lines()
        .map(|line| line.split(' '))
        .find_map(|mut fields| (fields.next() == Some(id)).then_some(fields))?;
    Some(unescape(fields.nth(2)?))
}

/// Undoes the kernel's escapes: a backslash and three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let code = (*first == b'\\').then(|| others.get(..3)).flatten();
        let code = code.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = others.get(if code.is_some() { 3 } else { 0 }..).unwrap_or_default();
    }
    OsString::from_vec(bytes).into()
}

/// The caller's own cgroup, as seen from the directory that is mounted; that one itself if the own cgroup is
/// not below it.
pub(crate) fn from_mount(own: &Path, root: &Path) -> PathBuf {
    clean(own.strip_prefix(root).unwrap_or(Path::new("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mounted_directory_is_found() {
        let mountinfo = "4 3 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            40 3 0:30 /a\\040b/\\134c /sys/fs/cgroup/memory rw,relatime master:7 - cgroup cgroup rw,memory\n";
        assert_eq!(root_of_mount(mountinfo, "4").unwrap(), Path::new("/"));
        assert_eq!(root_of_mount(mountinfo, "40").unwrap(), Path::new("/a b/\\c"));
        assert_eq!(root_of_mount(mountinfo, "3"), None);
    }

    /// In a container without a cgroup namespace, `/proc/self/cgroup` has the path on the machine, and the
    /// mount begins below.
    #[test]
    fn the_own_cgroup_counts_from_the_mount() {
        for (own, root, counted) in [
            ("/a/b", "/", "/a/b"),
            ("/a/b", "/a", "/b"),
            ("/a/b", "/a/b", "/"),
            ("/c", "/a", "/"),
            ("/ab", "/a", "/"),
        ] {
            assert_eq!(from_mount(Path::new(own), Path::new(root)), Path::new(counted), "{own} in {root}");
        }
    }
}
