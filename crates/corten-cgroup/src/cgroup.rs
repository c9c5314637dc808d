//! One cgroup, from its making to its removal.
//!
//! Stage: host. Kernel: `cgroup.kill` (5.14), `cgroup.freeze` (5.2).
//! Attacker: a process of the cgroup that forks as fast as it can, or makes sub-cgroups with any names.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::device;
use crate::error::{Error, Repr, failed, failed_io};
use crate::resources::{self, Place, Setting};
use crate::sys;
use crate::tree::{for_each_below, read_file, remove_below, signal_each, write_file};

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
        match Self::open_directory(&above, name) {
            Ok(fd) => Ok(Some(Self::new(above, name, path, fd))),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(failed(errno, || format!("openat2({path:?}, O_DIRECTORY)"))),
        }
    }

    /// Opens the directory of one.
    pub(crate) fn open_directory(above: &OwnedFd, name: &OsStr) -> nix::Result<OwnedFd> {
        sys::open_below(above, Path::new(name), OFlag::O_RDONLY | OFlag::O_DIRECTORY)
    }

    /// One whose directory has been opened.
    pub(crate) fn new(above: OwnedFd, name: &OsStr, path: &Path, fd: OwnedFd) -> Self {
        Self { above, name: name.to_owned(), fd, path: path.to_owned() }
    }

    /// The directory that it is in.
    pub(crate) fn above(&self) -> &OwnedFd {
        &self.above
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
                other => {
                    other.map_err(|errno| failed(errno, || format!("read({:?}/cgroup.procs)", self.path)))?
                }
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

    /// Whether all processes of the cgroup are frozen, and not only because a cgroup above is.
    ///
    /// # Errors
    /// `cgroup.events` cannot be read.
    pub fn frozen(&self) -> Result<bool, Error> {
        frozen(|file| {
            let call = |errno| failed(errno, || format!("read({:?}/{file})", self.path));
            or_empty(read_file(self.fd.as_fd(), file)).map_err(call)
        })
    }

    /// Whether a process of the cgroup would not run, frozen here or above.
    pub(crate) fn stopped(&self) -> Result<bool, Error> {
        self.event("frozen")
    }

    fn event(&self, key: &'static str) -> Result<bool, Error> {
        let call = |errno| failed(errno, || format!("read({:?}/cgroup.events)", self.path));
        Ok(event_is_set(&or_empty(read_file(self.fd.as_fd(), "cgroup.events")).map_err(call)?, key))
    }

    /// Kills every process of this cgroup and below, and waits until they are gone (or zombies). Frozen ones
    /// die, too.
    ///
    /// # Errors
    /// Some are left after `deadline`; the error names them.
    pub fn kill(&self, deadline: Duration) -> Result<(), Error> {
        if !self.populated()? {
            return Ok(());
        }
        self.signal_kill()?;
        if self.wait_empty(deadline)? {
            return Ok(());
        }
        let (path, pids) = (self.path.clone(), self.pids()?);
        Err(Repr::Survivors { path, pids, seconds: deadline.as_secs() }.into())
    }

    /// Sends SIGKILL to every process of this cgroup and below, and to whoever is just being forked.
    pub(crate) fn signal_kill(&self) -> Result<(), Error> {
        match self.write("cgroup.kill", "1") {
            Ok(()) | Err(Errno::ENODEV) => Ok(()),
            Err(errno) => Err(failed(errno, || format!("write({:?}/cgroup.kill, 1)", self.path))),
        }
    }

    /// Removes the cgroup and all below. One that is gone already is no error.
    ///
    /// # Errors
    /// It has processes, or is still busy after `deadline`.
    pub fn remove(self, deadline: Duration) -> Result<(), Error> {
        let end = Instant::now() + deadline;
        let mut pause = Duration::from_micros(200);
        while !self.remove_one()? {
            let left = || end.saturating_duration_since(Instant::now());
            // What is below belongs to the processes as long as there are any.
            if !self.wait_empty(left())? {
                let (path, pids) = (self.path.clone(), self.pids()?);
                return Err(Repr::Survivors { path, pids, seconds: deadline.as_secs() }.into());
            }
            remove_below(self.fd.as_fd())
                .map_err(|errno| failed(errno, || format!("rmdir(below {:?})", self.path)))?;
            if self.remove_one()? {
                break;
            }
            if left().is_zero() {
                return Err(Repr::Busy { path: self.path.clone(), seconds: deadline.as_secs() }.into());
            }
            // Empty and yet busy: the kernel has not let go of dead tasks. There is no event for that.
            std::thread::sleep(pause.min(left()));
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Removes the cgroup if there is nothing in it; false if there is.
    fn remove_one(&self) -> Result<bool, Error> {
        match unlinkat(&self.above, self.name.as_os_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(true),
            Err(Errno::EBUSY) => Ok(false),
            Err(errno) => Err(failed(errno, || format!("rmdir({:?})", self.path))),
        }
    }

    /// Freezes every process of this cgroup and below, and waits until they are.
    ///
    /// # Errors
    /// Some still run after `deadline` (in a call that cannot be interrupted); they are thawed then.
    pub fn freeze(&self, deadline: Duration) -> Result<(), Error> {
        self.write("cgroup.freeze", "1")
            .map_err(|errno| failed(errno, || format!("write({:?}/cgroup.freeze, 1)", self.path)))?;
        match self.wait_event("frozen", true, deadline) {
            Ok(true) => Ok(()),
            frozen => {
                self.thaw()?;
                frozen?;
                Err(Repr::NotFrozen { path: self.path.clone(), seconds: deadline.as_secs() }.into())
            }
        }
    }

    /// Lets the processes go on. It takes effect at once.
    ///
    /// # Errors
    /// `cgroup.freeze` cannot be written.
    pub fn thaw(&self) -> Result<(), Error> {
        self.write("cgroup.freeze", "0")
            .map_err(|errno| failed(errno, || format!("write({:?}/cgroup.freeze, 0)", self.path)))
    }

    /// Sends a signal to every process of this cgroup and below. Processes that are forked meanwhile may be
    /// missed.
    ///
    /// # Errors
    /// The processes cannot be listed, or the caller may not send signals to one of them.
    pub fn signal(&self, signal: i32) -> Result<(), Error> {
        signal_each(&self.pids()?, signal)
    }

    /// Whether processes can be in this cgroup: it gives no controllers to those below (unless it is the
    /// root), and no threads of others are in it.
    ///
    /// # Errors
    /// A file of the cgroup cannot be read.
    pub fn takes_processes(&self) -> Result<bool, Error> {
        let read = |name: &str| {
            read_file(self.fd.as_fd(), name)
                .map_err(|errno| failed(errno, || format!("read({:?}/{name})", self.path)))
        };
        Ok(read("cgroup.subtree_control")?.trim_ascii().is_empty()
            && read("cgroup.type")?.trim_ascii() == "domain")
    }

    /// Puts a process, with all its threads, into this cgroup.
    ///
    /// # Errors
    /// The process is gone, or it may not be moved here.
    pub fn add(&self, pid: i32) -> Result<(), Error> {
        self.write("cgroup.procs", &pid.to_string())
            .map_err(|errno| failed(errno, || format!("write({:?}/cgroup.procs, {pid})", self.path)))
    }

    /// Gives the cgroup to a user: the directory, and those of its files that the kernel says may be given
    /// away, so that the user can make and fill cgroups below. Limits stay the caller's.
    ///
    /// # Errors
    /// An owner cannot be changed.
    pub fn delegate(&self, uid: u32) -> Result<(), Error> {
        let uid = Some(nix::unistd::Uid::from_raw(uid));
        const LIST: &str = "/sys/kernel/cgroup/delegate";
        let files = match std::fs::read_to_string(LIST) {
            Ok(files) => files,
            // There are cgroups and no sysfs, as in some chroots.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                "cgroup.procs\ncgroup.subtree_control\ncgroup.threads".to_owned()
            }
            Err(error) => return Err(failed_io(&error, || format!("read({LIST:?})"))),
        };
        for file in std::iter::once(".").chain(files.lines()) {
            let call = |errno| failed(errno, || format!("fchown({:?}/{file})", self.path));
            let flags = if file == "." { OFlag::O_RDONLY | OFlag::O_DIRECTORY } else { OFlag::O_WRONLY };
            match sys::open_below(&self.fd, Path::new(file), flags) {
                Ok(fd) => nix::unistd::fchown(&fd, uid, None).map_err(call)?,
                // Listed for other controllers.
                Err(Errno::ENOENT) => {}
                Err(errno) => return Err(call(errno)),
            }
        }
        Ok(())
    }

    /// Sets limits: those of [`Resources::settings`](crate::Resources::settings) for cgroup v2.
    ///
    /// # Errors
    /// The kernel does not take one of them, or the controller is not there; the error names field, file and
    /// value. The limits before it are in force.
    pub fn apply(&self, settings: &[Setting]) -> Result<(), Error> {
        resources::apply(settings, &|place| (place == Place::Unified).then(|| self.fd.as_fd()), None)
    }

    /// Sets the device filter: attaches it, or puts it in the place of the one that was set before, at once.
    /// One that allows everything is none.
    ///
    /// Programs that others have attached (systemd does) stay: a device must be allowed by all of them.
    ///
    /// # Errors
    /// The kernel refuses the program (its words are in the error), or the caller may not attach it.
    pub fn set_device_filter(&self, filter: &device::Filter) -> Result<(), Error> {
        self.set_device_program(&filter.load()?)
    }

    /// As [`Cgroup::set_device_filter`], with one that was loaded before.
    ///
    /// # Errors
    /// The caller may not attach it.
    pub fn set_device_program(&self, program: &device::Program) -> Result<(), Error> {
        let call = |name: &'static str| {
            move |errno| failed(errno, || format!("bpf({name}, {:?}, BPF_CGROUP_DEVICE)", self.path))
        };
        let before = sys::own_device_program(self.fd.as_fd()).map_err(call("BPF_PROG_QUERY"))?;
        match (before.as_ref().map(AsFd::as_fd), &program.fd) {
            (None, None) => Ok(()),
            (Some(before), None) => {
                sys::detach_device_program(self.fd.as_fd(), before).map_err(call("BPF_PROG_DETACH"))
            }
            (before, Some(program)) => sys::attach_device_program(self.fd.as_fd(), program.as_fd(), before)
                .map_err(call("BPF_PROG_ATTACH")),
        }
    }

    /// Waits until there is no process; false if there still is one by the deadline.
    pub(crate) fn wait_empty(&self, deadline: Duration) -> Result<bool, Error> {
        self.wait_event("populated", false, deadline)
    }

    /// Waits with poll(2) until a line of `cgroup.events` says so; false if it does not by the deadline. A
    /// cgroup that is gone has no processes, and frozen are all of them.
    fn wait_event(&self, key: &'static str, wanted: bool, deadline: Duration) -> Result<bool, Error> {
        let call = |call: &'static str| {
            move |errno| failed(errno, || format!("{call}({:?}/cgroup.events)", self.path))
        };
        let events = match sys::open_below(&self.fd, Path::new("cgroup.events"), OFlag::O_RDONLY) {
            Ok(events) => events,
            Err(Errno::ENOENT | Errno::ENODEV) => return Ok(true),
            Err(errno) => return Err(call("openat2")(errno)),
        };
        let end = Instant::now() + deadline;
        loop {
            // Reading rearms the event.
            let text = match sys::read_from_start(&events) {
                Ok(text) => text,
                Err(Errno::ENODEV) => return Ok(true),
                Err(errno) => return Err(call("read")(errno)),
            };
            if event_is_set(&text, key) == wanted {
                return Ok(true);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let mut fds = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
            match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(call("poll")(errno)),
            }
        }
    }

    fn write(&self, file: &str, value: &str) -> nix::Result<()> {
        write_file(self.fd.as_fd(), file, value)
    }
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether all processes of a cgroup are frozen, by its files.
pub(crate) fn frozen(read: impl Fn(&'static str) -> Result<String, Error>) -> Result<bool, Error> {
    // One that a cgroup above holds cannot be thawed here.
    Ok(event_is_set(&read("cgroup.events")?, "frozen") && read("cgroup.freeze")?.trim_ascii_end() == "1")
}

/// What a file of a cgroup says; nothing if the cgroup has gone.
pub(crate) fn or_empty(text: nix::Result<String>) -> nix::Result<String> {
    match text {
        Err(Errno::ENODEV | Errno::ENOENT) => Ok(String::new()),
        text => text,
    }
}

fn event_is_set(text: &str, key: &str) -> bool {
    text.lines().any(|line| line.strip_prefix(key).is_some_and(|value| value.trim() == "1"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use nix::sys::stat::Mode;

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
}
