//! The stdio that the container gets: the caller's.
//!
//! Stage: host. Attacker: the container, which owns afterwards what it may write to anyway; never a device of the host.

use std::io::{stderr, stdin, stdout};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{Uid, fchown, isatty};

use crate::sys::{self, SysError};

/// What the stdio is that the container gets: the caller's.
pub(super) fn describe() -> Vec<String> {
    let link = |fd: i32| std::fs::read_link(format!("/proc/self/fd/{fd}"));
    (0..3)
        .map(|fd| link(fd).map_or_else(|_| "/dev/null".to_owned(), |link| link.to_string_lossy().into_owned()))
        .collect()
}

/// Gives the stdio to a user of the user namespace that a process is in, so that the program can open it again
/// (`/dev/stdout`): inside, nobody may change the owner of what belongs to a user of the host. An id that is not mapped is init's
/// to complain of. `alive`: holds the pid while it is used.
pub(super) fn give(uid: u32, pid: i32, alive: &OwnedFd) -> Result<(), SysError> {
    let path = format!("/proc/{pid}/uid_map");
    let maps =
        std::fs::read_to_string(&path).map_err(|error| SysError::from_io(&error, || format!("open({path:?})")))?;
    if sys::wait_ended(alive, Duration::ZERO) {
        return Err(SysError::new(Errno::ESRCH, || format!("open({path:?})")));
    }
    let Some(owner) = outside(&maps, uid) else { return Ok(()) };
    let (stdin, stdout, stderr) = (stdin(), stdout(), stderr());
    [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()].into_iter().try_for_each(|fd| give_one(fd, owner))
}

fn give_one(fd: BorrowedFd<'_>, owner: u32) -> Result<(), SysError> {
    let failed = |call: &'static str| move |errno| SysError::new(errno, || format!("{call}({})", fd.as_raw_fd()));
    let found = fstat(fd).map_err(failed("fstat"))?;
    let kind = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;
    let is_device = kind == SFlag::S_IFCHR || kind == SFlag::S_IFBLK;
    // The null device is everybody's, and so are the others of the host but for terminals.
    if found.st_uid == owner || is_device && !isatty(fd).unwrap_or(false) {
        return Ok(());
    }
    match fchown(fd, Some(Uid::from_raw(owner)), None) {
        // Not ours to give, or a filesystem without owners: the program finds out if it cares. runc does the same.
        Ok(()) | Err(Errno::EINVAL | Errno::EPERM | Errno::EROFS) => Ok(()),
        Err(errno) => Err(failed("fchown")(errno)),
    }
}

/// The id outside that an id inside is (user_namespaces(7), `uid_map`: as whoever opens the file sees it).
fn outside(maps: &str, id: u32) -> Option<u32> {
    maps.lines().find_map(|line| {
        let mut numbers = line.split_ascii_whitespace().map_while(|number| number.parse::<u32>().ok());
        let (inside, outside, count) = (numbers.next()?, numbers.next()?, numbers.next()?);
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
