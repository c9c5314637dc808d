//! Files below a resctrl root, by its fd.
//!
//! Every path is resolved with `openat2(RESOLVE_BENEATH|RESOLVE_NO_SYMLINKS)`.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::statfs::{RDTGROUP_SUPER_MAGIC, fstatfs};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{ITEM, ResctrlError};
use crate::sys::{Call, Lock, SysError};

/// How long another process may have the root locked.
const LOCK_DEADLINE: Duration = Duration::from_secs(10);
/// More than any `schemata` has: a line for each resource, some bytes for each domain.
const FILE_MAX: u64 = 1 << 20;

/// A resctrl filesystem, open.
#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
    path: PathBuf,
    /// Not resctrl: nobody else makes the files here.
    is_stand_in: bool,
}

/// Opens the first resctrl filesystem that is mounted whole, `/sys/fs/resctrl` before others.
pub(super) fn mounted() -> Result<Option<Tree>, SysError> {
    let mounts = std::fs::read("/proc/self/mountinfo")
        .map_err(|error| SysError::from_io(&error, || Call::read("/proc/self/mountinfo")))?;
    let mut paths = mount_points(&mounts);
    paths.sort_by_key(|path| path != Path::new("/sys/fs/resctrl"));
    for path in paths {
        let tree = Tree::open(&path)?;
        // Something else may be mounted over it.
        if !tree.is_stand_in {
            return Ok(Some(tree));
        }
    }
    Ok(None)
}

/// Reads the mount points of resctrl out of a `mountinfo`. By bytes: of the other mounts not even the text
/// need be valid.
pub(crate) fn mount_points(mountinfo: &[u8]) -> Vec<PathBuf> {
    let points = mountinfo.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let (root, point) = (fields.nth(3)?, fields.next()?);
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        (kind == b"resctrl" && root == b"/").then(|| unescape(point))
    });
    points.collect()
}

/// Reads a path of a `mountinfo`: space, tab, newline and backslash are written as `\` and three octal
/// digits.
pub(crate) fn unescape(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let digits =
            after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

impl Tree {
    pub(super) fn open(path: &Path) -> Result<Self, SysError> {
        let call = |call: &'static str| move || format!("{call}({path:?})");
        // The paths that are written down go through no symbolic link.
        let path =
            std::fs::canonicalize(path).map_err(|error| SysError::from_io(&error, call("realpath")))?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let root = nix::fcntl::open(&path, flags, Mode::empty())
            .map_err(|errno| SysError::new(errno, call("open")))?;
        let is_stand_in = is_stand_in(&root).map_err(|errno| SysError::new(errno, call("fstatfs")))?;
        Ok(Self { root, path, is_stand_in })
    }

    /// Returns the whole path of what is below the root.
    pub(super) fn path_of(&self, relative: &Path) -> PathBuf {
        // No slash at the end for the root itself.
        if relative.as_os_str().is_empty() { self.path.clone() } else { self.path.join(relative) }
    }

    /// Locks the filesystem against others that change it, as the kernel's documentation asks of all
    /// programs.
    pub(super) fn lock(&self) -> Result<Lock, ResctrlError> {
        let deadline = Instant::now() + LOCK_DEADLINE;
        let failed = |call: &'static str, errno| {
            ResctrlError::call(ITEM)(SysError::new(errno, || format!("{call}({:?})", self.path)))
        };
        let mut own =
            openat(&self.root, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
                .map_err(|errno| failed("openat", errno))?;
        loop {
            own = match Lock::try_exclusive(own).map_err(|errno| failed("flock", errno))? {
                Ok(lock) => return Ok(lock),
                Err(own) if Instant::now() < deadline => own,
                Err(_) => return Err(ResctrlError::Locked { path: self.path.clone() }),
            };
            // flock(2) has no deadline of its own.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Opens a directory below the root, or the root.
    pub(super) fn open_directory(&self, relative: &Path) -> Result<OwnedFd, SysError> {
        self.open_below(relative, OFlag::O_PATH | OFlag::O_DIRECTORY)
    }

    /// Reads a file.
    pub(super) fn read(&self, relative: &Path) -> Result<String, SysError> {
        let file = File::from(self.open_below(relative, OFlag::O_RDONLY)?);
        let mut bytes = Vec::new();
        file.take(FILE_MAX)
            .read_to_end(&mut bytes)
            .map_err(|error| SysError::from_io(&error, || format!("read({:?})", self.path_of(relative))))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Writes to a file with one write(2), which is one command to the kernel.
    pub(super) fn write(&self, item: &'static str, relative: &Path, text: &str) -> Result<(), ResctrlError> {
        let more = if self.is_stand_in { OFlag::O_CREAT | OFlag::O_APPEND } else { OFlag::empty() };
        let mut file =
            File::from(self.open_below(relative, OFlag::O_WRONLY | more).map_err(ResctrlError::call(item))?);
        let written = loop {
            match file.write(text.as_bytes()) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(length) if length < text.len() => break Err(std::io::Error::from_raw_os_error(libc::EIO)),
                other => break other,
            }
        };
        let call = || format!("write({:?}, {text:?})", self.path_of(relative));
        written.map(drop).map_err(|error| self.refused(item, SysError::from_io(&error, call)))
    }

    /// Makes a directory; false if there is one.
    pub(super) fn make_directory(&self, item: &'static str, relative: &Path) -> Result<bool, ResctrlError> {
        let call = || format!("mkdirat({:?})", self.path_of(relative));
        let (Some(parent), Some(name)) = (relative.parent(), relative.file_name()) else {
            return Err(ResctrlError::call(item)(SysError::new(Errno::EINVAL, call)));
        };
        if self.is_stand_in && parent.file_name().is_some_and(|name| name == "mon_groups") {
            self.make_directory(item, parent)?;
        }
        let parent = self.open_directory(parent).map_err(ResctrlError::call(item))?;
        match mkdirat(&parent, name, Mode::from_bits_truncate(0o755)) {
            Ok(()) => Ok(true),
            Err(Errno::EEXIST) => Ok(false),
            Err(errno) => Err(self.refused(item, SysError::new(errno, call))),
        }
    }

    fn open_below(&self, relative: &Path, flags: OFlag) -> Result<OwnedFd, SysError> {
        let path = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        let mode =
            if flags.contains(OFlag::O_CREAT) { Mode::from_bits_truncate(0o644) } else { Mode::empty() };
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
        let how =
            OpenHow::new().flags(flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).mode(mode).resolve(resolve);
        open_how(&self.root, path, how, &self.path_of(relative))
    }

    /// The error of a command that the kernel has judged, with what it says about it.
    fn refused(&self, item: &'static str, source: SysError) -> ResctrlError {
        let status = self.read(Path::new("info/last_cmd_status")).ok();
        let status = status
            .map(|text| text.trim().replace('\n', "; "))
            .filter(|text| !text.is_empty() && text != "ok");
        ResctrlError::Call { item, status, source }
    }
}

/// Removes a group's directory: `rmdir`, for which the kernel does not ask that it be empty. `path` goes
/// through no symbolic link.
pub(super) fn remove_directory(path: &Path) -> Result<(), SysError> {
    let call = || format!("unlinkat({path:?}, AT_REMOVEDIR)");
    let failed = |errno| SysError::new(errno, call);
    let (true, Some(parent), Some(name)) = (path.is_absolute(), path.parent(), path.file_name()) else {
        return Err(failed(Errno::EINVAL));
    };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    let parent = match open_how(AT_FDCWD, parent, how, parent) {
        Err(error) if error.errno.0 == Errno::ENOENT => return Ok(()),
        other => other?,
    };
    if is_stand_in(&parent).map_err(failed)? {
        empty_stand_in(&parent, Path::new(name), path)?;
    }
    match unlinkat(&parent, name, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(failed(errno)),
    }
}

/// Removes the files that are part of a group's directory, and on resctrl go with it.
fn empty_stand_in(parent: &OwnedFd, name: &Path, path: &Path) -> Result<(), SysError> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
    let directory = match open_how(parent, name, OpenHow::new().flags(flags).resolve(resolve), path) {
        Err(error) if error.errno.0 == Errno::ENOENT => return Ok(()),
        other => other?,
    };
    for (file, kind) in [
        ("schemata", UnlinkatFlags::NoRemoveDir),
        ("tasks", UnlinkatFlags::NoRemoveDir),
        ("mon_groups", UnlinkatFlags::RemoveDir),
    ] {
        match unlinkat(&directory, file, kind) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(SysError::new(errno, || format!("unlinkat({:?})", path.join(file)))),
        }
    }
    Ok(())
}

fn open_how(directory: impl AsFd, path: &Path, how: OpenHow, whole: &Path) -> Result<OwnedFd, SysError> {
    loop {
        match openat2(&directory, path, how) {
            Ok(fd) => return Ok(fd),
            Err(Errno::EINTR) => {}
            Err(errno) => {
                return Err(SysError::new(errno, || format!("openat2({whole:?}, RESOLVE_NO_SYMLINKS)")));
            }
        }
    }
}

fn is_stand_in(directory: &OwnedFd) -> Result<bool, Errno> {
    Ok(fstatfs(directory)?.filesystem_type() != RDTGROUP_SUPER_MAGIC)
}
