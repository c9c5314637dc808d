//! The state directory of one container.

use std::ffi::CStr;
use std::fs::{DirBuilder, File};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, renameat};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, fstat, fstatat, mkdirat};
use nix::unistd::{Pid, UnlinkatFlags, geteuid, unlinkat};

use crate::error::{ErrorKind, Failure};
use crate::sys::{self, Call, Lock, NotOpened, SysError, open_regular};

use super::tree::remove_tree;
use super::{Record, start_time, start_time_in};

const STATE: &CStr = c"state.json";
const NEW_STATE: &CStr = c"state.json.new";
const CONFIG: &CStr = c"config.json";
/// What procfs has of the hook that the runtime runs, or ran last: its pid and start time (proc_pid_stat(5)).
const HOOK: &CStr = c"hook";
/// The socket that `start` connects to.
pub(crate) const START_SOCKET: &CStr = c"start.sock";
/// The directory of the socket for sd_notify(3), which the container sees as well.
pub(crate) const NOTIFY_DIRECTORY: &str = "notify";
const NOTIFY: &CStr = c"notify";
/// The socket in it.
pub(crate) const NOTIFY_SOCKET: &str = "notify.sock";
/// How long to wait for another command on the same container.
const LOCK_DEADLINE: Duration = Duration::from_secs(30);

/// What can be wrong with state directories.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// No id.
    #[error("container id cannot be empty")]
    EmptyId,
    /// An id with characters that ids do not have.
    #[error("invalid container ID format: {0:?}")]
    InvalidId(String),
    /// The id is taken.
    #[error("container with given ID already exists")]
    Exists,
    /// There is no such container.
    #[error("container does not exist")]
    NotFound,
    /// Another command has the container for longer than the deadline.
    #[error("container is locked by another command")]
    Locked,
    /// `state.json` is not what was written.
    #[error("{path:?} is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Damage,
    },
    /// The directory is not the caller's alone.
    #[error("{path:?} is not the caller's alone: it belongs to user {owner}, or others may write to it")]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// The directory of a container that could not be made has not been removed.
    #[error("{path:?} left behind after")]
    Left {
        /// The directory.
        path: PathBuf,
        /// Why the container could not be made.
        source: Box<StateError>,
    },
    /// A failed call.
    #[error(transparent)]
    Call(#[from] SysError),
}

/// What can be wrong with a file of the state.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damage {
    #[error("it is missing, though the container was made")]
    Missing,
    #[error("its version is {0}, and this Corten knows no later one than {latest}", latest = Record::VERSION)]
    Version(u32),
    #[error("it is not a regular file")]
    Irregular,
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl StateError {
    /// Whether the state will be the same when it is read again.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            // What is there is a link.
            Self::Call(error) => error.errno.0 == Errno::ELOOP,
            _ => false,
        }
    }
}

impl Failure for StateError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::EmptyId | Self::InvalidId(_) => ErrorKind::InvalidConfig,
            Self::Exists => ErrorKind::Exists,
            Self::Foreign { .. } => ErrorKind::Permission,
            Self::NotFound => ErrorKind::NotFound,
            Self::Locked => ErrorKind::WrongState,
            Self::Damaged { .. } => ErrorKind::Internal,
            Self::Left { source, .. } => source.kind(),
            Self::Call(error) if matches!(error.errno.0, Errno::EACCES | Errno::EPERM) => {
                ErrorKind::Permission
            }
            Self::Call(_) => ErrorKind::Kernel,
        }
    }
}

/// Checks an id: letters, digits, `_`, `+`, `-`, `.`, and neither `.` nor `..` (runc's rule).
fn check_id(id: &str) -> Result<(), StateError> {
    if id.is_empty() {
        return Err(StateError::EmptyId);
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
    if id == "." || id == ".." || id.len() > 255 || !id.bytes().all(allowed) {
        return Err(StateError::InvalidId(id.to_owned()));
    }
    Ok(())
}

/// The state directory of one container, open.
#[derive(Debug)]
pub(crate) struct StateDirectory {
    /// The directory; the lock is its, when it is held.
    fd: OwnedFd,
    path: PathBuf,
}

impl StateDirectory {
    /// Makes the directory of a new container, and the root if it is missing, and locks it.
    pub(crate) fn create(root: &Path, id: &str) -> Result<(Self, Lock), StateError> {
        check_id(id)?;
        let path = root.join(id);
        let make = || nix::unistd::mkdir(&path, Mode::S_IRWXU);
        let made = match make() {
            Err(Errno::ENOENT) => {
                // Others may pass through, as with runc, but not look around.
                let made = DirBuilder::new().recursive(true).mode(0o711).create(root);
                made.map_err(|error| SysError::from_io(&error, || format!("mkdir({root:?})")))?;
                make()
            }
            other => other,
        };
        match made {
            Ok(()) => {}
            Err(Errno::EEXIST) => return Err(StateError::Exists),
            Err(errno) => return Err(SysError::new(errno, || format!("mkdir({path:?}, 0700)")).into()),
        }
        let locked = Self::open_path(path.clone()).and_then(|directory| {
            let lock = directory.lock()?;
            Ok((directory, lock))
        });
        // There is nothing in it yet, and there may be no fds left to look.
        match locked.map_err(|error| (error, unlinkat(AT_FDCWD, &path, UnlinkatFlags::RemoveDir))) {
            Ok(locked) => Ok(locked),
            Err((error, Ok(()) | Err(Errno::ENOENT))) => Err(error),
            Err((error, Err(_))) => Err(StateError::Left { path, source: Box::new(error) }),
        }
    }

    /// Opens the directory of a container.
    pub(crate) fn open(root: &Path, id: &str) -> Result<Self, StateError> {
        check_id(id)?;
        Self::open_path(root.join(id))
    }

    fn open_path(path: PathBuf) -> Result<Self, StateError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::open(&path, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::ENOENT => StateError::NotFound,
            errno => SysError::new(errno, || format!("open({path:?}, O_DIRECTORY)")).into(),
        })?;
        // In a root that others may write to, and even exchange what has just been made: what it says would
        // have the caller run hooks and kill.
        let found = fstat(&fd).map_err(|errno| SysError::new(errno, || format!("fstat({path:?})")))?;
        if found.st_uid != geteuid().as_raw() || found.st_mode & 0o022 != 0 {
            return Err(StateError::Foreign { path, owner: found.st_uid });
        }
        Ok(Self { fd, path })
    }

    /// Locks the container against other commands that change it. Waits, as creating may take its time, up to
    /// a deadline.
    pub(crate) fn lock(&self) -> Result<Lock, StateError> {
        let deadline = Instant::now() + LOCK_DEADLINE;
        loop {
            match self.try_lock()? {
                Some(lock) => return Ok(lock),
                None if Instant::now() >= deadline => return Err(StateError::Locked),
                // flock(2) has no deadline of its own, and a lock held for long is rare.
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Locks the container if nobody has it.
    pub(crate) fn try_lock(&self) -> Result<Option<Lock>, StateError> {
        // A file description of its own: a lock belongs to the description, and threads must exclude each
        // other, too.
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let call = |call: &'static str| move || format!("{call}({:?})", self.path);
        let own = openat(&self.fd, ".", flags, Mode::empty()).map_err(|errno| match errno {
            Errno::ENOENT => StateError::NotFound,
            errno => SysError::new(errno, call("openat")).into(),
        })?;
        let locked = Lock::try_exclusive(own).map_err(|errno| SysError::new(errno, call("flock")))?;
        Ok(locked.ok())
    }

    /// Returns the path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the uid of the directory's owner.
    pub(crate) fn owner(&self) -> Result<u32, StateError> {
        let stat =
            fstat(&self.fd).map_err(|errno| SysError::new(errno, || format!("fstat({:?})", self.path)))?;
        Ok(stat.st_uid)
    }

    /// Opens the file in which the process of a hook writes itself down.
    pub(crate) fn open_hook(&self) -> Result<File, SysError> {
        self.open_new(HOOK)
    }

    /// Kills the last hook with its children, if it is still there.
    pub(crate) fn kill_hook(&self) {
        // Most containers have none.
        let Ok(file) = open_regular(&self.fd, HOOK, OFlag::O_NOFOLLOW) else { return };
        let line = read_whole(file).unwrap_or_default();
        let pid =
            line.split(|byte| *byte == b' ').next().and_then(|pid| str::from_utf8(pid).ok()?.parse().ok());
        let (Some(pid), Ok(Some(began))) = (pid, start_time_in(&line)) else { return };
        if start_time(pid).is_ok_and(|time| time == Some(began)) {
            sys::kill_tree(Pid::from_raw(pid));
        }
    }

    /// Whether a process has this directory open: whoever is neither the runtime nor its clone has not.
    pub(crate) fn is_open_in(&self, pid: Pid) -> bool {
        let Ok(own) = fstat(&self.fd) else { return false };
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        fds.filter_map(|fd| std::fs::metadata(fd.path()).ok())
            .any(|found| (found.dev(), found.ino()) == (own.st_dev, own.st_ino))
    }

    /// Whether the directory has been removed.
    pub(crate) fn is_gone(&self) -> bool {
        fstat(&self.fd).is_ok_and(|stat| stat.st_nlink == 0)
    }

    /// Returns a path of a file in the directory that goes through the open directory, and is short enough
    /// for a socket.
    pub(crate) fn file_by_fd(&self, name: &CStr) -> PathBuf {
        sys::path_by_fd(&self.fd).join(name.to_string_lossy().as_ref())
    }

    /// Whether the container waits for `start`.
    pub(crate) fn has_start_socket(&self) -> Result<bool, StateError> {
        self.has(START_SOCKET)
    }

    /// Removes the socket; the container has been started.
    pub(crate) fn remove_start_socket(&self) -> Result<(), StateError> {
        self.unlink(START_SOCKET)
    }

    /// Makes the directory that the container sees: users of the container may pass through it, whatever the
    /// caller's umask.
    pub(crate) fn make_notify_directory(&self) -> Result<(), SysError> {
        let call = |call: &'static str| {
            move |errno| SysError::new(errno, || format!("{call}({NOTIFY_DIRECTORY:?}, 0755)"))
        };
        let mode = Mode::from_bits_truncate(0o755);
        mkdirat(&self.fd, NOTIFY_DIRECTORY, mode).map_err(call("mkdirat"))?;
        fchmodat(&self.fd, NOTIFY_DIRECTORY, mode, FchmodatFlags::FollowSymlink).map_err(call("fchmodat"))
    }

    /// Makes the socket for sd_notify(3), where any user of the container may send to; `None` if the
    /// container has no directory for it. One that a killed command has left goes.
    pub(crate) fn listen_for_readiness(&self) -> Result<Option<OwnedFd>, SysError> {
        let failed =
            |call: &'static str| move |errno| SysError::new(errno, || format!("{call}({NOTIFY_SOCKET})"));
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let directory = match openat(&self.fd, NOTIFY_DIRECTORY, flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(None),
            opened => opened.map_err(failed("openat"))?,
        };
        match unlinkat(&directory, NOTIFY_SOCKET, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(failed("unlinkat")(errno)),
        }
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket =
            socket(AddressFamily::Unix, SockType::Datagram, flags, None).map_err(failed("socket"))?;
        // Short enough for a socket, wherever the state root is.
        let path = sys::path_by_fd(&directory).join(NOTIFY_SOCKET);
        bind(socket.as_raw_fd(), &UnixAddr::new(&path).map_err(failed("bind"))?).map_err(failed("bind"))?;
        let mode = Mode::from_bits_truncate(0o777);
        fchmodat(&directory, NOTIFY_SOCKET, mode, FchmodatFlags::FollowSymlink)
            .map_err(failed("fchmodat"))?;
        Ok(Some(socket))
    }

    /// Removes a file, or what somebody has put in its place.
    fn remove_entry(&self, name: &CStr) -> Result<(), StateError> {
        match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR) => remove_tree(&self.fd, name)
                .map_err(|SysError { call, errno }| SysError { call: call.within(&self.path), errno }.into()),
            _ => self.unlink(name),
        }
    }

    fn unlink(&self, name: &CStr) -> Result<(), StateError> {
        match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(SysError::new(errno, || format!("unlinkat({:?}, {name:?})", self.path)).into()),
        }
    }

    /// Writes the first record.
    pub(crate) fn write_first(&self, record: &Record) -> Result<(), StateError> {
        self.prepare(record)?;
        self.rename()
    }

    /// Writes the record: to a new file that then takes the old one's place.
    pub(crate) fn write(&self, record: &Record) -> Result<(), StateError> {
        self.prepare(record)?;
        self.publish()
    }

    /// Writes the record to a new file.
    pub(crate) fn prepare(&self, record: &Record) -> Result<(), StateError> {
        let json = serde_json::to_vec(record).map_err(|error| self.damaged("state.json", error))?;
        self.open_new(NEW_STATE)?.write_all(&json).map_err(|error| {
            // Half a record is none.
            self.unlink(NEW_STATE).ok();
            SysError::from_io(&error, || format!("write({:?}, {NEW_STATE:?})", self.path)).into()
        })
    }

    /// Puts the new file in the old one's place. The old one takes the new one's, where `delete --force`
    /// looks when the other is damaged.
    pub(crate) fn publish(&self) -> Result<(), StateError> {
        // A rename over a file makes filesystems on disks write the new one out at once (ext4's
        // auto_da_alloc), and its blocks are freed again soon. An exchange does not; the state need not
        // outlive the machine's next start.
        if sys::exchange(&self.fd, NEW_STATE, STATE).is_ok() {
            return Ok(());
        }
        // The filesystem cannot.
        self.rename()
    }

    /// Puts the record that is in force beside itself, in the place of one that was prepared and is not to
    /// come.
    pub(crate) fn take_back(&self, record: &Record) {
        // One that cannot be written is none: nobody needs it but `delete --force`, of a state that is
        // damaged.
        self.prepare(record).ok();
    }

    fn rename(&self) -> Result<(), StateError> {
        renameat(&self.fd, NEW_STATE, &self.fd, STATE)
            .map_err(|errno| SysError::new(errno, || format!("renameat({:?}, {STATE:?})", self.path)))?;
        Ok(())
    }

    /// Writes the config down, once: nobody reads it before the record says that the container has been
    /// created.
    pub(crate) fn write_config(&self, json: &[u8]) -> Result<(), StateError> {
        self.open_new(CONFIG)?.write_all(json).map_err(|error| {
            SysError::from_io(&error, || format!("write({:?}, {CONFIG:?})", self.path)).into()
        })
    }

    /// Opens an empty file to write it. Does not wait for somebody to read from a FIFO.
    fn open_new(&self, name: &CStr) -> Result<File, SysError> {
        let new = OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | new;
        openat(&self.fd, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)
            .map(File::from)
            .map_err(|errno| SysError::new(errno, || format!("openat({:?}, {name:?}, O_CREAT)", self.path)))
    }

    /// Opens a file to read it; `None` if it is missing.
    fn open_file(&self, name: &CStr) -> Result<Option<File>, StateError> {
        match open_regular(&self.fd, name, OFlag::O_NOFOLLOW) {
            Ok(file) => Ok(Some(file)),
            Err(NotOpened::Irregular) => Err(self.damaged(&name.to_string_lossy(), Damage::Irregular)),
            Err(NotOpened::Failed(Errno::ENOENT)) => Ok(None),
            Err(NotOpened::Failed(errno)) => {
                Err(SysError::new(errno, || format!("openat({:?}, {name:?})", self.path)).into())
            }
        }
    }

    /// Opens the config that was written down.
    pub(crate) fn open_config(&self) -> Result<File, StateError> {
        let missing =
            || SysError::new(Errno::ENOENT, || format!("openat({:?}, {CONFIG:?})", self.path)).into();
        self.open_file(CONFIG)?.ok_or_else(missing)
    }

    /// Reads the record; `None` if none was written yet.
    pub(crate) fn read(&self) -> Result<Option<Record>, StateError> {
        if let Some(record) = self.read_file(STATE)? {
            return Ok(Some(record));
        }
        // It comes before anything else, and goes last.
        if !self.has_config()? && !self.has_start_socket()? {
            return Ok(None);
        }
        // It may have come just now.
        let missing = || StateError::Damaged { path: self.path.join("state.json"), source: Damage::Missing };
        self.read_file(STATE)?.ok_or_else(missing).map(Some)
    }

    /// Reads the record that was there before the one that [`StateDirectory::read`] reads, or is about to
    /// come after it.
    pub(crate) fn read_other(&self) -> Result<Option<Record>, StateError> {
        self.read_file(NEW_STATE)
    }

    fn read_file(&self, name: &CStr) -> Result<Option<Record>, StateError> {
        let Some(file) = self.open_file(name)? else { return Ok(None) };
        let json = read_whole(file)
            .map_err(|error| SysError::from_io(&error, || format!("read({:?}, {name:?})", self.path)))?;
        record_of(&json).map(Some).map_err(|damage| self.damaged(&name.to_string_lossy(), damage))
    }

    /// The error of a file here that is not what was written.
    pub(crate) fn damaged(&self, name: &str, source: impl Into<Damage>) -> StateError {
        StateError::Damaged { path: self.path.join(name), source: source.into() }
    }

    /// Whether the config was written down, which is done when there is an init.
    pub(crate) fn has_config(&self) -> Result<bool, StateError> {
        self.has(CONFIG)
    }

    fn has(&self, name: &CStr) -> Result<bool, StateError> {
        match fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(SysError::new(errno, || format!("fstatat({:?}, {name:?})", self.path)).into()),
        }
    }

    /// Removes the directory with what the runtime has put there. Needs no fd: there may be none left.
    fn remove_blindly(&self) -> nix::Result<()> {
        let is_gone = |removed: nix::Result<()>| match removed {
            Err(Errno::ENOENT) => Ok(()),
            removed => removed,
        };
        is_gone(unlinkat(&self.fd, NOTIFY_DIRECTORY, UnlinkatFlags::RemoveDir))?;
        for name in [START_SOCKET, CONFIG, HOOK, NEW_STATE, STATE] {
            is_gone(unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir))?;
        }
        is_gone(unlinkat(AT_FDCWD, &self.path, UnlinkatFlags::RemoveDir))
    }

    /// Removes the directory with all that is in it. One that is gone already is no error.
    pub(crate) fn remove(&self) -> Result<(), StateError> {
        let call = |call: &'static str| move || format!("{call}({:?})", self.path);
        // Removed by somebody else. The path may be another container's by now.
        if self.is_gone() {
            return Ok(());
        }
        let own = match openat(
            &self.fd,
            ".",
            OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        ) {
            Ok(own) => own,
            Err(Errno::ENOENT) => return Ok(()),
            Err(errno) => {
                return match self.remove_blindly() {
                    Ok(()) => Ok(()),
                    Err(_) => Err(SysError::new(errno, call("openat")).into()),
                };
            }
        };
        // The one directory in it. A container with all privileges may have left there what it liked.
        remove_tree(&self.fd, NOTIFY)
            .map_err(|SysError { call, errno }| SysError { call: call.within(&self.path), errno })?;
        let mut entries = Dir::from_fd(own).map_err(|errno| SysError::new(errno, call("opendir")))?;
        for entry in entries.iter() {
            let entry = entry.map_err(|errno| SysError::new(errno, call("readdir")))?;
            if !matches!(entry.file_name().to_bytes(), b"." | b".." | b"state.json") {
                self.remove_entry(entry.file_name())?;
            }
        }
        // Last: what is left when this is interrupted has a state.
        self.remove_entry(STATE)?;
        match std::fs::remove_dir(&self.path) {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => {
                Err(SysError::from_io(&error, call("rmdir")).into())
            }
            _ => Ok(()),
        }
    }
}

/// Reads a record, if it has a form that is known.
pub(crate) fn record_of(json: &[u8]) -> Result<Record, Damage> {
    #[derive(serde::Deserialize)]
    struct Form {
        #[serde(default)]
        version: u32,
    }
    match serde_json::from_slice::<Record>(json) {
        Ok(record) if record.version <= Record::VERSION => Ok(record),
        Ok(record) => Err(Damage::Version(record.version)),
        // A later form may lack what this one has.
        Err(error) => Err(match serde_json::from_slice::<Form>(json) {
            Ok(form) if form.version > Record::VERSION => Damage::Version(form.version),
            _ => Damage::Json(error),
        }),
    }
}

/// Reads a file to its end, which a read that fills less than was asked for has reached. For files of a disk,
/// and for those of procfs that are written at once; one call, where std's `read` makes four.
pub(crate) fn read_whole(mut file: File) -> std::io::Result<Vec<u8>> {
    const PART: usize = 4096;
    let mut bytes = Vec::new();
    loop {
        let filled = bytes.len();
        bytes.resize(filled + PART, 0);
        let read = match file.read(bytes.get_mut(filled..).unwrap_or_default()) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => 0,
            Ok(read) if read < PART => {
                bytes.truncate(filled + read);
                return Ok(bytes);
            }
            other => other?,
        };
        bytes.truncate(filled + read);
    }
}

/// Returns the ids of all containers below a root, sorted. A root that does not exist has none.
pub(crate) fn ids(root: &Path) -> Result<Vec<String>, StateError> {
    let call = || Call::open(root);
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(SysError::from_io(&error, call).into()),
    };
    let mut ids = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| SysError::from_io(&error, call))?;
        if let Ok(name) = entry.file_name().into_string()
            && check_id(&name).is_ok()
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
        {
            ids.push(name);
        }
    }
    ids.sort();
    Ok(ids)
}
