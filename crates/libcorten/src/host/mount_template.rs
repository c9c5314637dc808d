//! A mount namespace with nothing in it, to make containers' mount namespaces of.
//!
//! Stage: host, before planning; made by the first container after the machine has started, and used by all
//! that follow.
//! Privilege: root of the whole machine. Kernel: `unshare(2)`, `pivot_root(2)`, a bind mount of
//! `/proc/PID/ns/mnt`.
//! Attacker: whoever could put another namespace here would see every container being made: the directory is
//! root's alone. A container with CAP_SYS_ADMIN, which may take its root away and change what is below: all
//! containers have that directory in common.
//!
//! A new mount namespace is a copy of the caller's: its cost grows with the host's mounts, and all of them
//! have to be taken away again, which waits for an RCU grace period. A copy of this one has an empty
//! directory, over which the container's root goes.

use std::fs::DirBuilder;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{chdir, geteuid, mkdir, pivot_root};

use crate::sys::{self, Lock};

/// The file that the namespace is mounted on.
const FILE: &str = "empty";

/// Returns the template's file in this directory, if it is there.
pub(crate) fn find(directory: &Path) -> Option<PathBuf> {
    has_template(directory).is_ok_and(|has| has).then(|| directory.join(FILE))
}

/// Makes the template. Without it all works, only slower: where it cannot be made, there is none.
pub(crate) fn make(directory: &Path) {
    #[expect(clippy::let_underscore_must_use, reason = "the next container tries again")]
    let _ = try_make(directory);
}

/// Whether the directory is the caller's alone and has the template.
fn has_template(directory: &Path) -> nix::Result<bool> {
    let directory = open_own(directory)?;
    let file = openat(&directory, FILE, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
    Ok(sys::is_namespace(file).unwrap_or(false))
}

fn open_own(directory: &Path) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let directory = open(directory, flags, Mode::empty())?;
    let found = fstat(&directory)?;
    if found.st_uid != geteuid().as_raw() || found.st_mode & 0o077 != 0 {
        return Err(Errno::EPERM);
    }
    Ok(directory)
}

fn try_make(path: &Path) -> nix::Result<()> {
    let from_io = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
    if let Some(parent) = path.parent() {
        // As the state root: others may pass through, but not look around.
        DirBuilder::new().recursive(true).mode(0o711).create(parent).map_err(from_io)?;
    }
    match DirBuilder::new().mode(0o700).create(path).map_err(from_io) {
        Err(errno) if errno != Errno::EEXIST => return Err(errno),
        _ => {}
    }
    // Maybe somebody else is making it.
    let lock = Lock::try_exclusive(open_own(path)?)?.map_err(|_| Errno::EWOULDBLOCK)?;
    if has_template(path) == Ok(true) {
        return Ok(());
    }
    let namespace = empty_namespace(path)?;
    hide(path)?;
    attach(path, &namespace)?;
    drop(lock);
    Ok(())
}

/// Mounts the directory on itself, unbindable: a recursive bind mount of `/` or `/run` leaves it out, which
/// with a mount namespace in it would fail (`check_for_nsfs_mounts`, fs/namespace.c). And no mount in it
/// propagates, as those below `/run` do under systemd.
fn hide(directory: &Path) -> nix::Result<()> {
    let none: Option<&Path> = None;
    let leave_out = || mount(none, directory, none, MsFlags::MS_UNBINDABLE, none);
    match leave_out() {
        // Not a mount yet.
        Err(Errno::EINVAL) => {
            mount(Some(directory), directory, none, MsFlags::MS_BIND, none)?;
            leave_out()
        }
        other => other,
    }
}

/// Mounts the namespace on its file, which is made if it is missing.
fn attach(directory: &Path, namespace: &OwnedFd) -> nix::Result<()> {
    let directory = open_own(directory)?;
    let flags = OFlag::O_CREAT | OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(&directory, FILE, flags, Mode::S_IRUSR)?;
    let none: Option<&str> = None;
    mount(Some(&sys::path_by_fd(namespace)), &sys::path_by_fd(&file), none, MsFlags::MS_BIND, none)
}

/// Makes a mount namespace whose root is an empty directory that nobody can put anything in: an overlay
/// without an upper layer, which no remount makes writable. (A tmpfs could be, by a container with
/// CAP_SYS_ADMIN; its files would then be in all containers, and charged to none.) In a thread of its own,
/// which leaves the process's; the directory serves as mount point in the new namespace alone.
fn empty_namespace(place: &Path) -> nix::Result<OwnedFd> {
    let made = sys::in_a_thread(|| {
        let none: Option<&str> = None;
        unshare(CloneFlags::CLONE_NEWNS)?;
        let namespace = open("/proc/thread-self/ns/mnt", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("corten"), place, Some("tmpfs"), flags, Some("mode=555,nr_blocks=1,nr_inodes=3"))?;
        chdir(place)?;
        // An overlay without an upper layer takes two.
        for layer in ["a", "b"] {
            mkdir(layer, Mode::from_bits_truncate(0o555))?;
        }
        let overlay = Some("lowerdir=a:b");
        mount(Some("corten"), ".", Some("overlay"), flags | MsFlags::MS_RDONLY, overlay)?;
        chdir(place)?;
        // The old root lies over the new one then; the working directory is still in it.
        pivot_root(".", ".")?;
        umount2(".", MntFlags::MNT_DETACH)?;
        Ok(namespace)
    });
    // Without a thread there is none.
    made.unwrap_or(Err(Errno::EAGAIN))
}
