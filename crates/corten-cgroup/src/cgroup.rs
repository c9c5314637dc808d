//! One cgroup, from its making to its removal.
//!
//! Stage: host. Kernel: `cgroup.kill` (5.14), `cgroup.freeze` (5.2).
//! Attacker: a process of the cgroup that forks as fast as it can, or makes sub-cgroups with any names.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::device;
use crate::error::{Error, Repr, failed, failed_io};
use crate::sys;

/// A cgroup, held by fd.
#[derive(Debug)]
pub struct Cgroup {
    above: OwnedFd,
    name: OsString,
    fd: OwnedFd,
    path: PathBuf,
}

impl Cgroup {
    /// Opens the cgroup `name` below `above`; `None` if it does not exist.
    pub(crate) fn open(above: OwnedFd, name: &OsStr, path: &Path) -> Result<Option<Self>, Error> {
        match sys::open_below(&above, Path::new(name), OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
            Ok(fd) => Ok(Some(Self { above, name: name.to_owned(), fd, path: path.to_owned() })),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(failed(errno, || format!("openat2({path:?}, O_DIRECTORY)"))),
        }
    }

    /// Returns the path below the mount point.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the processes of this cgroup and all below.
    ///
    /// # Errors
    /// A file of the cgroup cannot be read.
    pub fn pids(&self) -> Result<Vec<i32>, Error> {
        let mut pids = Vec::new();
        for_each_below(self.fd.as_fd(), &mut |directory| {
            let text = match read_file(directory, "cgroup.procs") {
                // A threaded cgroup has its processes listed above; a removed one has none.
                Err(Errno::EOPNOTSUPP | Errno::ENODEV | Errno::ENOENT) => return Ok(()),
                other => other.map_err(|errno| failed(errno, || format!("read({:?}/cgroup.procs)", self.path)))?,
            };
            pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
            Ok(())
        })?;
        Ok(pids)
    }

    /// Whether there is a process in this cgroup or below. Zombies do not count.
    ///
    /// # Errors
    /// `cgroup.events` cannot be read.
    pub fn populated(&self) -> Result<bool, Error> {
        self.event("populated")
    }

    /// Whether all processes of the cgroup are frozen.
    ///
    /// # Errors
    /// `cgroup.events` cannot be read.
    pub fn frozen(&self) -> Result<bool, Error> {
        self.event("frozen")
    }

    fn event(&self, key: &'static str) -> Result<bool, Error> {
        match read_file(self.fd.as_fd(), "cgroup.events") {
            Ok(text) => Ok(event_is_set(&text, key)),
            // Removed since it was opened.
            Err(Errno::ENODEV | Errno::ENOENT) => Ok(false),
            Err(errno) => Err(failed(errno, || format!("read({:?}/cgroup.events)", self.path))),
        }
    }

    /// Kills every process of this cgroup and below, and waits until they are gone (or zombies). Frozen ones die, too.
    ///
    /// # Errors
    /// Some are left after `deadline`; the error names them.
    pub fn kill(&self, deadline: Duration) -> Result<(), Error> {
        if !self.populated()? {
            return Ok(());
        }
        match self.write("cgroup.kill", "1") {
            Ok(()) | Err(Errno::ENODEV) => {}
            Err(Errno::ENOENT) => self.kill_each()?,
            Err(errno) => return Err(failed(errno, || format!("write({:?}/cgroup.kill, 1)", self.path))),
        }
        if self.wait_empty(deadline)? {
            return Ok(());
        }
        let (path, pids) = (self.path.clone(), self.pids()?);
        Err(Repr::Survivors { path, pids, seconds: deadline.as_secs() }.into())
    }

    /// Without `cgroup.kill`: freezes, so that nobody forks meanwhile, signals each, and thaws in any case.
    fn kill_each(&self) -> Result<(), Error> {
        let call = |value: &'static str| {
            move |errno| failed(errno, || format!("write({:?}/cgroup.freeze, {value})", self.path))
        };
        self.write("cgroup.freeze", "1").map_err(call("1"))?;
        let killed = self.pids().map(|pids| {
            for pid in pids {
                sys::kill(pid);
            }
        });
        self.write("cgroup.freeze", "0").map_err(call("0"))?;
        killed
    }

    /// Removes the cgroup and all below. One that is gone already is no error.
    ///
    /// # Errors
    /// It has processes, or is still busy after `deadline`.
    pub fn remove(self, deadline: Duration) -> Result<(), Error> {
        let end = Instant::now() + deadline;
        let mut pause = Duration::from_micros(200);
        loop {
            match unlinkat(&self.above, self.name.as_os_str(), UnlinkatFlags::RemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => return Ok(()),
                Err(Errno::EBUSY) => {}
                Err(errno) => return Err(failed(errno, || format!("rmdir({:?})", self.path))),
            }
            remove_below(self.fd.as_fd()).map_err(|errno| failed(errno, || format!("rmdir(below {:?})", self.path)))?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.wait_empty(left)? {
                let (path, pids) = (self.path.clone(), self.pids()?);
                let seconds = deadline.as_secs();
                return Err(if pids.is_empty() {
                    Repr::Busy { path, seconds }
                } else {
                    Repr::Survivors { path, pids, seconds }
                }
                .into());
            }
            // Empty and yet busy: the kernel has not let go of dead tasks. There is no event for that.
            std::thread::sleep(pause.min(left));
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// Attaches a device filter: `bpf(BPF_PROG_LOAD)`, `bpf(BPF_PROG_ATTACH)`.
    ///
    /// # Errors
    /// The kernel refuses the program (its words are in the error), or the caller may not attach it.
    pub fn attach_device_filter(&self, filter: &device::Filter) -> Result<(), Error> {
        let program = sys::load_device_program(filter.instructions())?;
        sys::attach_device_program(self.fd.as_fd(), program.as_fd())
            .map_err(|errno| failed(errno, || format!("bpf(BPF_PROG_ATTACH, {:?}, BPF_CGROUP_DEVICE)", self.path)))
    }

    /// Waits with poll(2) until `populated` is 0; false if it is not by the deadline.
    fn wait_empty(&self, deadline: Duration) -> Result<bool, Error> {
        let call = |errno| failed(errno, || format!("poll({:?}/cgroup.events)", self.path));
        let events = match sys::open_below(&self.fd, Path::new("cgroup.events"), OFlag::O_RDONLY) {
            Ok(events) => events,
            Err(Errno::ENOENT | Errno::ENODEV) => return Ok(true),
            Err(errno) => return Err(call(errno)),
        };
        let end = Instant::now() + deadline;
        loop {
            // Reading rearms the event.
            let text = match sys::read_from_start(&events) {
                Ok(text) => text,
                Err(Errno::ENODEV) => return Ok(true),
                Err(errno) => return Err(call(errno)),
            };
            if !event_is_set(&text, "populated") {
                return Ok(true);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let mut fds = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
            match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(call(errno)),
            }
        }
    }

    fn write(&self, file: &str, value: &str) -> nix::Result<()> {
        let fd = sys::open_below(&self.fd, Path::new(file), OFlag::O_WRONLY)?;
        File::from(fd).write_all(value.as_bytes()).map_err(errno_of)
    }
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn errno_of(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

fn event_is_set(text: &str, key: &str) -> bool {
    text.lines().any(|line| line.strip_prefix(key).is_some_and(|value| value.trim() == "1"))
}

/// Reads a file of a cgroup.
pub(crate) fn read_file(directory: BorrowedFd<'_>, file: &str) -> nix::Result<String> {
    let fd = sys::open_below(&directory, Path::new(file), OFlag::O_RDONLY)?;
    let mut text = String::new();
    File::from(fd).read_to_string(&mut text).map_err(errno_of)?;
    Ok(text)
}

/// The names of the cgroups directly below.
fn children(directory: BorrowedFd<'_>) -> nix::Result<Vec<OsString>> {
    let own = sys::open_below(&directory, Path::new("."), OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
    let mut names = Vec::new();
    for entry in Dir::from_fd(own)?.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if entry.file_type() == Some(Type::Directory) && name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

/// Visits a cgroup and all below.
fn for_each_below(
    directory: BorrowedFd<'_>,
    visit: &mut dyn FnMut(BorrowedFd<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    visit(directory)?;
    let call = |errno| failed_io(&std::io::Error::from_raw_os_error(errno as i32), || "reading sub-cgroups".to_owned());
    let mut failed = None;
    let walked = walk(
        directory,
        &mut |child| {
            visit(child).map_err(|error| {
                failed = Some(error);
                Errno::EIO
            })
        },
        &mut |_, _| Ok(()),
    );
    match failed {
        Some(error) => Err(error),
        None => walked.map_err(call),
    }
}

/// Removes all cgroups below, the deepest first. Busy ones stay; the caller looks again.
fn remove_below(directory: BorrowedFd<'_>) -> nix::Result<()> {
    walk(directory, &mut |_| Ok(()), &mut |above, name| match unlinkat(above, name, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT | Errno::EBUSY) => Ok(()),
        Err(errno) => Err(errno),
    })
}

/// Goes through all cgroups below: `enter` sees each before those below it, `leave` each after them, by its name and the cgroup
/// above.
///
/// However deep a container has made them, one is open at a time, and the stack does not grow. The way up is `..`: cgroups do
/// not move.
fn walk(
    top: BorrowedFd<'_>,
    enter: &mut dyn FnMut(BorrowedFd<'_>) -> nix::Result<()>,
    leave: &mut dyn FnMut(BorrowedFd<'_>, &OsStr) -> nix::Result<()>,
) -> nix::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let gone = |names: nix::Result<Vec<OsString>>| match names {
        Err(Errno::ENODEV | Errno::ENOENT) => Ok(Vec::new()),
        other => other,
    };
    let mut here = sys::open_below(&top, Path::new("."), flags)?;
    let mut to_visit = vec![gone(children(here.as_fd()))?];
    let mut way: Vec<OsString> = Vec::new();
    while let Some(names) = to_visit.last_mut() {
        if let Some(name) = names.pop() {
            match sys::open_below(&here, Path::new(&name), flags) {
                Ok(child) => here = child,
                Err(Errno::ENOENT) => continue,
                Err(errno) => return Err(errno),
            }
            enter(here.as_fd())?;
            to_visit.push(gone(children(here.as_fd()))?);
            way.push(name);
            continue;
        }
        to_visit.pop();
        if let Some(name) = way.pop() {
            here = openat(&here, "..", flags | OFlag::O_CLOEXEC, Mode::empty())?;
            leave(here.as_fd(), &name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::Hierarchy;

    /// A container can make cgroups deeper than there are fds, and than the stack is.
    #[test]
    fn cgroups_of_any_depth_are_removed() {
        const DEPTH: usize = 300;
        let path = PathBuf::from(format!("/corten-cgroup-deep-{}", std::process::id()));
        let Some(cgroup) = Hierarchy::detect().ok().and_then(|hierarchy| hierarchy.create(&path).ok()) else {
            println!("skipped: cgroups cannot be made here");
            return;
        };
        let mut here = cgroup.fd.try_clone().unwrap();
        for _ in 0..DEPTH {
            for name in ["deeper", "beside"] {
                nix::sys::stat::mkdirat(&here, name, Mode::S_IRWXU).unwrap();
            }
            here = sys::open_below(&here, Path::new("deeper"), OFlag::O_RDONLY | OFlag::O_DIRECTORY).unwrap();
        }
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let (before, mut most, mut seen) = (open(), 0, 0);
        for_each_below(cgroup.fd.as_fd(), &mut |_| {
            (most, seen) = (most.max(open()), seen + 1);
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, 1 + 2 * DEPTH);
        // Other tests of this process may open some, too.
        assert!(most < before + 50, "{before} fds were open, then {most}");
        cgroup.remove(Duration::from_secs(30)).unwrap();
        assert!(Hierarchy::detect().unwrap().open(&path).unwrap().is_none());
    }

    /// What a kernel without `cgroup.kill` gets: every process dies, and the cgroup is thawed.
    #[test]
    fn processes_are_killed_one_by_one() {
        let path = PathBuf::from(format!("/corten-cgroup-each-{}", std::process::id()));
        let Some(cgroup) = Hierarchy::detect().ok().and_then(|hierarchy| hierarchy.create(&path).ok()) else {
            println!("skipped: cgroups cannot be made here");
            return;
        };
        let children: Vec<_> =
            (0..5).map(|_| Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap()).collect();
        for child in &children {
            cgroup.write("cgroup.procs", &child.id().to_string()).unwrap();
        }
        cgroup.kill_each().unwrap();
        for mut child in children {
            assert!(!child.wait().unwrap().success());
        }
        assert!(cgroup.wait_empty(Duration::from_secs(5)).unwrap());
        assert!(!cgroup.frozen().unwrap());
        cgroup.remove(Duration::from_secs(5)).unwrap();
    }
}
