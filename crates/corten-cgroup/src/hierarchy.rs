//! The mount of cgroup2, and paths below it.
//!
//! Stage: host. Attacker: a container that manages its own sub-cgroups; names below its cgroup are its own
//! choice.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, fstatfs};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::cgroup::{self, Cgroup};
use crate::error::{Error, Repr, failed, failed_io};
use crate::sys;
use crate::tree::{read_at, read_file, write_file};

/// How directories on the way are opened.
const DIRECTORY: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY);

/// Controllers that cannot be in a threaded cgroup (cgroup-v2.rst, "Threads").
const DOMAIN_CONTROLLERS: [&str; 6] = ["memory", "io", "hugetlb", "rdma", "misc", "dmem"];

/// How a machine mounts its cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layout {
    /// cgroup2 at `/sys/fs/cgroup`, with all controllers.
    Unified,
    /// v1 hierarchies below `/sys/fs/cgroup`, and cgroup2 at `unified` there.
    Hybrid,
    /// v1 hierarchies only.
    Legacy,
}

/// The hierarchy of cgroup2.
#[derive(Debug)]
pub struct Hierarchy {
    fd: OwnedFd,
    mount_point: &'static str,
    layout: Layout,
}

impl Hierarchy {
    /// Finds the hierarchy: `/sys/fs/cgroup`, else `/sys/fs/cgroup/unified`, whichever is a cgroup2
    /// filesystem.
    ///
    /// # Errors
    /// There is none, as on a machine with v1 only.
    pub fn detect() -> Result<Self, Error> {
        Self::find()?.ok_or_else(|| Repr::NoHierarchy.into())
    }

    /// As [`Hierarchy::detect`]; `None` if there is none.
    pub(crate) fn find() -> Result<Option<Self>, Error> {
        for (mount_point, layout) in
            [("/sys/fs/cgroup", Layout::Unified), ("/sys/fs/cgroup/unified", Layout::Hybrid)]
        {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let fd = match open(mount_point, flags, Mode::empty()) {
                Ok(fd) => fd,
                Err(Errno::ENOENT) => continue,
                Err(errno) => return Err(failed(errno, || format!("open({mount_point:?}, O_PATH)"))),
            };
            let stat = fstatfs(&fd).map_err(|errno| failed(errno, || format!("fstatfs({mount_point:?})")))?;
            if stat.filesystem_type() == CGROUP2_SUPER_MAGIC {
                return Ok(Some(Self { fd, mount_point, layout }));
            }
        }
        Ok(None)
    }

    /// Returns how the machine mounts its cgroups.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Returns where cgroup2 is mounted.
    pub fn mount_point(&self) -> &Path {
        Path::new(self.mount_point)
    }

    /// Returns the path of a container's cgroup below the mount point, starting with `/`.
    ///
    /// An absolute `cgroups_path` counts from the mount point. A relative one, or the `id` if there is none,
    /// counts from the parent of the caller's own cgroup (runc: the own one has processes, so that it can
    /// have no controllers for others).
    ///
    /// # Errors
    /// `/proc/self/cgroup` cannot be read; it is looked at only for a relative path.
    pub fn resolve(&self, cgroups_path: Option<&Path>, id: &str) -> Result<PathBuf, Error> {
        let path = cgroups_path.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new(id));
        if path.is_absolute() {
            return Ok(clean(path));
        }
        let own = own_cgroup()?;
        Ok(clean(&own.parent().unwrap_or(Path::new("/")).join(path)))
    }

    /// Makes a cgroup with all its parents, or takes an empty one that exists. It gets all controllers that
    /// the hierarchy has and that its parents may give away.
    ///
    /// # Errors
    /// The cgroup has processes or is frozen; or it cannot be made. What was made before that is removed.
    pub fn create(&self, path: &Path) -> Result<Cgroup, Error> {
        self.make(path, true)
    }

    /// Makes a cgroup if it is missing, and takes one with its processes if it is there: for a unit that
    /// systemd has started.
    ///
    /// # Errors
    /// It cannot be made. What was made before that is removed.
    pub fn complete(&self, path: &Path) -> Result<Cgroup, Error> {
        self.make(path, false)
    }

    fn make(&self, path: &Path, unused: bool) -> Result<Cgroup, Error> {
        /// How often somebody else may take parents away that we have just found.
        const TRIES: u32 = 5;
        let mut tries = 0;
        loop {
            tries += 1;
            let mut made = Vec::new();
            let created = self.make_one(path, unused, &mut made);
            let Err(error) = created else { return created };
            // Whatever has come into one of them meanwhile keeps it, and those above.
            made.iter().rev().for_each(|(above, name): &(OwnedFd, OsString)| {
                unlinkat(above, name.as_os_str(), UnlinkatFlags::RemoveDir).ok();
            });
            if error.errno() != Some(libc::ENOENT) || tries == TRIES {
                return Err(error);
            }
        }
    }

    /// The parents that it makes are added to `made`, whether it fails or not.
    fn make_one(
        &self,
        path: &Path,
        unused: bool,
        made: &mut Vec<(OwnedFd, OsString)>,
    ) -> Result<Cgroup, Error> {
        let (parent, name) = (path.parent().unwrap_or(Path::new("/")), path.file_name().unwrap_or_default());
        if name.is_empty() {
            // The root of the hierarchy, which always has processes.
            return Err(Repr::NotEmpty { count: 1 }.into());
        }
        let above = match sys::open_below(&self.fd, parent, DIRECTORY) {
            Ok(above) => above,
            Err(Errno::ENOENT) => self.make_all(parent, made)?,
            Err(errno) => return Err(failed(errno, || format!("openat2({}, {parent:?})", self.mount_point))),
        };
        let existed = match nix::sys::stat::mkdirat(&above, name, Mode::from_bits_truncate(0o755)) {
            Ok(()) => false,
            Err(Errno::EEXIST) => true,
            Err(errno) => {
                return Err(failed(errno, || format!("mkdir({}{})", self.mount_point, path.display())));
            }
        };
        // Needs no fd: there may be none left.
        let undo = |above: &OwnedFd| {
            if !existed {
                unlinkat(above, name, UnlinkatFlags::RemoveDir).ok();
            }
        };
        let fd = match Cgroup::open_directory(&above, name) {
            Ok(fd) => fd,
            Err(errno) => {
                undo(&above);
                return Err(failed(errno, || format!("openat2({}{})", self.mount_point, path.display())));
            }
        };
        let cgroup = Cgroup::new(above, name, path, fd);
        match self.prepare(&cgroup, existed, unused) {
            Ok(()) => Ok(cgroup),
            Err(error) => {
                undo(cgroup.above());
                Err(error)
            }
        }
    }

    /// Checks that a cgroup can be used, and gives it its controllers.
    fn prepare(&self, cgroup: &Cgroup, existed: bool, unused: bool) -> Result<(), Error> {
        if existed && unused {
            let count = cgroup.pids()?.len();
            if count > 0 {
                return Err(Repr::NotEmpty { count }.into());
            }
        }
        // A new one, too: whoever clones into a cgroup below a frozen one waits for as long as that is.
        if unused && cgroup.stopped()? {
            return Err(Repr::Frozen.into());
        }
        self.enable_controllers(cgroup)
    }

    /// Gives a cgroup all controllers of the hierarchy, by way of its parents, as far as they may be given (a
    /// rootless caller writes below a delegated cgroup only). What is missing then is missed by whoever sets
    /// a limit.
    fn enable_controllers(&self, cgroup: &Cgroup) -> Result<(), Error> {
        let read = |directory: BorrowedFd<'_>, file: &str| {
            read_file(directory, file)
                .map_err(|errno| failed(errno, || format!("read({:?}/{file})", cgroup.path())))
        };
        let all = read(self.fd.as_fd(), "cgroup.controllers")?;
        let has = read(cgroup.as_fd(), "cgroup.controllers")?;
        let lacks = |list: &str| {
            let list: Vec<_> = list.split_whitespace().collect();
            all.split_whitespace()
                .filter(|name| !list.contains(name))
                .map(|name| format!("+{name}"))
                .collect::<Vec<_>>()
        };
        // Where there is a controller that is not for threads, there is a cgroup that is not threaded.
        let is_domain = has.split_whitespace().any(|name| DOMAIN_CONTROLLERS.contains(&name));
        if lacks(&has).is_empty() && is_domain {
            return Ok(());
        }
        let mut here = sys::open_below(&self.fd, Path::new("."), DIRECTORY)
            .map_err(|errno| failed(errno, || format!("openat2({})", self.mount_point)))?;
        for name in cgroup.path().iter().skip(1) {
            let enabled = read(here.as_fd(), "cgroup.subtree_control")?;
            let missing = lacks(&enabled);
            // All at once; one by one where one of them cannot be given.
            if !missing.is_empty()
                && write_file(here.as_fd(), "cgroup.subtree_control", &missing.join(" ")).is_err()
            {
                missing.iter().for_each(|name| {
                    write_file(here.as_fd(), "cgroup.subtree_control", name).ok();
                });
            }
            here = sys::open_below(&here, Path::new(name), DIRECTORY)
                .map_err(|errno| failed(errno, || format!("openat2({:?}, {name:?})", cgroup.path())))?;
            if read(here.as_fd(), "cgroup.type").is_ok_and(|kind| kind.trim_end() == "domain invalid") {
                // Below a threaded cgroup only threaded ones can have processes. It may not be ours to
                // change.
                write_file(here.as_fd(), "cgroup.type", "threaded").ok();
            }
        }
        Ok(())
    }

    /// Opens a cgroup; `None` if it does not exist.
    ///
    /// # Errors
    /// It cannot be opened for another reason.
    pub fn open(&self, path: &Path) -> Result<Option<Cgroup>, Error> {
        let (parent, name) = (path.parent().unwrap_or(Path::new("/")), path.file_name().unwrap_or_default());
        if name.is_empty() {
            return Ok(None);
        }
        match sys::open_below(&self.fd, parent, DIRECTORY) {
            Ok(above) => Cgroup::open(above, name, path),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(failed(errno, || format!("openat2({}, {parent:?})", self.mount_point))),
        }
    }

    /// As [`Cgroup::frozen`], of a cgroup that need not exist.
    pub(crate) fn frozen(&self, path: &Path) -> Result<bool, Error> {
        cgroup::frozen(|file| {
            let call = |errno| failed(errno, || format!("read({}{path:?}/{file})", self.mount_point));
            cgroup::or_empty(read_at(self.fd.as_fd(), &path.join(file))).map_err(call)
        })
    }

    /// Makes a directory with its parents and opens it.
    fn make_all(&self, path: &Path, made: &mut Vec<(OwnedFd, OsString)>) -> Result<OwnedFd, Error> {
        let call = |name: &'static str| {
            move |errno| failed(errno, || format!("{name}({}{})", self.mount_point, path.display()))
        };
        let mut here = sys::open_below(&self.fd, Path::new("."), DIRECTORY).map_err(call("openat2"))?;
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            let is_new = match nix::sys::stat::mkdirat(&here, name, Mode::from_bits_truncate(0o755)) {
                Ok(()) => true,
                Err(Errno::EEXIST) => false,
                Err(errno) => return Err(call("mkdir")(errno)),
            };
            let below = sys::open_below(&here, Path::new(name), DIRECTORY);
            if is_new && below.is_err() {
                unlinkat(&here, name, UnlinkatFlags::RemoveDir).ok();
            }
            let above = std::mem::replace(&mut here, below.map_err(call("openat2"))?);
            if is_new {
                made.push((above, name.to_owned()));
            }
        }
        Ok(here)
    }
}

/// The caller's own cgroup.
fn own_cgroup() -> Result<PathBuf, Error> {
    cgroup_in("/proc/self/cgroup")
}

/// The cgroup of a process: the line `0::PATH` of /proc/PID/cgroup.
pub(crate) fn cgroup_of(pid: i32) -> Result<PathBuf, Error> {
    cgroup_in(&format!("/proc/{pid}/cgroup"))
}

fn cgroup_in(file: &str) -> Result<PathBuf, Error> {
    let text =
        sys::read_all(Path::new(file)).map_err(|error| failed_io(&error, || format!("read({file:?})")))?;
    let path = cgroup2_line(&text);
    path.ok_or_else(|| Repr::Content { what: "the line of cgroup2", path: file.into(), text }.into())
}

/// The path in the line `0::PATH`.
pub(crate) fn cgroup2_line(text: &str) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    // "(deleted)" cannot be joined to; the parent may still be there.
    Some(PathBuf::from(path.strip_suffix(" (deleted)").unwrap_or(path)))
}

/// Cleans a path by its words: absolute, no `.` or `..`.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_mount() {
        for (path, cleaned) in [("/a/b", "/a/b"), ("/../../etc", "/etc"), ("a/./b/..", "/a"), ("/", "/")] {
            assert_eq!(clean(Path::new(path)), Path::new(cleaned), "{path:?}");
        }
    }
}
