//! The stdio that the container gets: the caller's, or pipes, from and to which the caller copies.
//!
//! Stage: host. Attacker: the container, which owns afterwards what it may write to anyway; never a device or
//! a directory of the host.

use std::io::{stderr, stdin, stdout};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{SFlag, fstat};
use nix::sys::statfs::{FsType, fstatfs};
use nix::unistd::{Uid, fchown, pipe2};

use super::id_maps;
use crate::sys::{self, Call, SysError};

/// Where pipes without a name are (`PIPEFS_MAGIC`, linux/magic.h).
const PIPEFS_MAGIC: FsType = FsType(0x5049_5045);

/// Pipes in the place of stdio.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    /// The process's ends, by number.
    pub(super) inner: [Option<OwnedFd>; 3],
    /// The caller's.
    outer: [Option<OwnedFd>; 3],
}

impl Pipes {
    /// Makes one for each file that is not this user's; without a user, for each file.
    pub(super) fn for_files_of_others(uid: Option<u32>) -> Result<Self, SysError> {
        let mut pipes = Self::default();
        let (stdin, stdout, stderr) = (stdin(), stdout(), stderr());
        let places = pipes.inner.iter_mut().zip(&mut pipes.outer);
        for (fd, (inner, outer)) in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()].into_iter().zip(places) {
            if !is_file_of_others(fd, uid) {
                continue;
            }
            let (read, write) = pipe2(OFlag::O_CLOEXEC)
                .map_err(|errno| SysError::new(errno, || "pipe2(stdio)".to_owned()))?;
            let (process, caller) = if fd.as_raw_fd() == 0 { (read, write) } else { (write, read) };
            // Its own end alone: the process's blocks, as programs expect.
            fcntl(&caller, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
                .map_err(|errno| SysError::new(errno, || "fcntl(F_SETFL, O_NONBLOCK)".to_owned()))?;
            (*inner, *outer) = (Some(process), Some(caller));
        }
        Ok(pipes)
    }

    /// The caller's ends, when the process has its own.
    pub(super) fn into_outer(self) -> [Option<OwnedFd>; 3] {
        self.outer
    }

    /// What the process's stdio is.
    fn fds<'f>(&'f self, callers: [BorrowedFd<'f>; 3]) -> [BorrowedFd<'f>; 3] {
        let [stdin, stdout, stderr] = &self.inner;
        let pick = |own: &'f Option<OwnedFd>, callers| own.as_ref().map_or(callers, AsFd::as_fd);
        let [in_, out, err] = callers;
        [pick(stdin, in_), pick(stdout, out), pick(stderr, err)]
    }

    /// The same in words: links of procfs.
    pub(super) fn describe(&self) -> Vec<String> {
        let (stdin, stdout, stderr) = (stdin(), stdout(), stderr());
        let link = |fd: BorrowedFd<'_>| std::fs::read_link(sys::path_by_fd(fd));
        let text =
            |fd| link(fd).map_or_else(|_| "/dev/null".to_owned(), |link| link.to_string_lossy().into_owned());
        self.fds([stdin.as_fd(), stdout.as_fd(), stderr.as_fd()]).map(text).into()
    }
}

fn is_file_of_others(fd: BorrowedFd<'_>, uid: Option<u32>) -> bool {
    // What is closed is nobody's.
    fstat(fd).is_ok_and(|found| {
        SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
            && Some(found.st_uid) != uid
    })
}

/// Gives the stdio to a user of the user namespace that a process is in, so that the program can open it
/// again (`/dev/stdout`): inside, nobody may change the owner of what belongs to a user of the host. An id
/// that is not mapped is init's to complain of. `alive`: holds the pid while it is used.
pub(super) fn give(pipes: &Pipes, uid: u32, pid: i32, alive: &OwnedFd) -> Result<(), SysError> {
    let path = format!("/proc/{pid}/uid_map");
    let maps =
        std::fs::read_to_string(&path).map_err(|error| SysError::from_io(&error, || Call::open(&path)))?;
    if sys::wait_ended(alive, Duration::ZERO)? {
        return Err(SysError::new(Errno::ESRCH, || Call::open(&path)));
    }
    let Some(owner) = outside(&maps, uid) else { return Ok(()) };
    let (stdin, stdout, stderr) = (stdin(), stdout(), stderr());
    let fds = pipes.fds([stdin.as_fd(), stdout.as_fd(), stderr.as_fd()]);
    fds.into_iter().try_for_each(|fd| give_one(fd, owner))
}

fn give_one(fd: BorrowedFd<'_>, owner: u32) -> Result<(), SysError> {
    let failed =
        |call: &'static str| move |errno| SysError::new(errno, || format!("{call}({})", fd.as_raw_fd()));
    let found = fstat(fd).map_err(failed("fstat"))?;
    let kind = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;
    // Devices and FIFOs with a name are the host's: who owned a terminal could read what is typed there. A
    // file that is there to be read, and can be, need not become one that can be written to. A directory is
    // no stdio.
    let is_kept = match kind {
        SFlag::S_IFREG => {
            let flags = fcntl(fd, FcntlArg::F_GETFL).map_err(failed("fcntl"))?;
            flags & libc::O_ACCMODE == libc::O_RDONLY && found.st_mode & libc::S_IROTH != 0
        }
        SFlag::S_IFIFO => fstatfs(fd).map_err(failed("fstatfs"))?.filesystem_type() != PIPEFS_MAGIC,
        SFlag::S_IFSOCK => false,
        _ => true,
    };
    if found.st_uid == owner || is_kept {
        return Ok(());
    }
    match fchown(fd, Some(Uid::from_raw(owner)), None) {
        // Not ours to give, or a filesystem without owners: the program finds out if it cares. runc does the
        // same.
        Ok(()) | Err(Errno::EINVAL | Errno::EPERM | Errno::EROFS) => Ok(()),
        Err(errno) => Err(failed("fchown")(errno)),
    }
}

/// The id outside that an id inside is (user_namespaces(7)).
fn outside(map: &str, id: u32) -> Option<u32> {
    id_maps::ranges(map).find_map(|(inside, outside, count)| {
        let at = id.checked_sub(inside).filter(|at| *at < count)?;
        outside.checked_add(at)
    })
}

#[cfg(test)]
mod tests {
    use super::outside;

    #[test]
    fn ids_outside() {
        let maps = "         0     100000       1000\n      1000       5000          1\n";
        assert_eq!(outside(maps, 0), Some(100_000));
        assert_eq!(outside(maps, 999), Some(100_999));
        assert_eq!(outside(maps, 1000), Some(5000));
        assert_eq!(outside(maps, 1001), None);
        assert_eq!(outside("0 0 4294967295\n", 33), Some(33));
        assert_eq!(outside("garbage\n", 0), None);
    }
}
