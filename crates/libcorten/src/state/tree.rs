//! Removing a directory that a container could write to.
//!
//! Attacker: has left there what it liked, under any names and as deep as it liked, and may still be moving
//! it about. Everything is one name below a directory's fd, no link is followed, nothing goes up by `..`, and
//! three directories are open at the most: what is deeper is moved to the top first.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::sys::SysError;

/// Removes a directory below another with all that is in it. One that is not there is no error.
pub(super) fn remove_tree(above: &OwnedFd, name: &CStr) -> Result<(), SysError> {
    if remove_directory(above, name)? {
        return Ok(());
    }
    let top = open(above, name)?;
    let mut moved = 0;
    loop {
        let before = moved;
        empty(&top, &top, &mut moved)?;
        if moved == before {
            break;
        }
    }
    let removed = unlinkat(above, name, UnlinkatFlags::RemoveDir);
    removed.or_else(unless_gone).map_err(|errno| failed("unlinkat", name, errno))
}

/// Removes what is in a directory, but for what is two below it, which goes to the top under a new name.
fn empty(directory: &OwnedFd, top: &OwnedFd, moved: &mut u64) -> Result<(), SysError> {
    for name in names(directory)? {
        match unlinkat(directory, name.as_c_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => continue,
            Err(Errno::EISDIR) => {}
            Err(errno) => return Err(failed("unlinkat", &name, errno)),
        }
        if remove_directory(directory, &name)? {
            continue;
        }
        if !std::ptr::eq(directory, top) {
            move_to(top, directory, &name, moved)?;
            continue;
        }
        empty(&open(directory, &name)?, top, moved)?;
        remove_directory(directory, &name)?;
    }
    Ok(())
}

/// Removes an empty directory; false if it is not empty.
fn remove_directory(above: &OwnedFd, name: &CStr) -> Result<bool, SysError> {
    match unlinkat(above, name, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(true),
        Err(Errno::ENOTEMPTY | Errno::EEXIST) => Ok(false),
        Err(errno) => Err(failed("unlinkat", name, errno)),
    }
}

fn move_to(top: &OwnedFd, from: &OwnedFd, name: &CStr, moved: &mut u64) -> Result<(), SysError> {
    loop {
        *moved += 1;
        let new = format!(".{moved}");
        match renameat(from, name, top, new.as_str()) {
            // The name is taken, if not by an empty directory, which need not be removed then.
            Err(Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR) => {}
            other => return other.or_else(unless_gone).map_err(|errno| failed("renameat", name, errno)),
        }
    }
}

fn open(above: &OwnedFd, name: &CStr) -> Result<OwnedFd, SysError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(above, name, flags, Mode::empty()).map_err(|errno| failed("openat", name, errno))
}

fn names(directory: &OwnedFd) -> Result<Vec<CString>, SysError> {
    let mut entries = Dir::from_fd(open(directory, c".")?).map_err(|errno| failed("opendir", c".", errno))?;
    let names = entries.iter().map(|entry| Ok(entry?.file_name().to_owned()));
    let names = names.filter(|name| !name.as_ref().is_ok_and(|name| matches!(name.to_bytes(), b"." | b"..")));
    names.collect::<nix::Result<_>>().map_err(|errno| failed("readdir", c".", errno))
}

fn unless_gone(errno: Errno) -> nix::Result<()> {
    if errno == Errno::ENOENT { Ok(()) } else { Err(errno) }
}

fn failed(call: &'static str, name: &CStr, errno: Errno) -> SysError {
    SysError::new(errno, || format!("{call}({name:?})"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn whatever_a_container_has_left_is_removed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let (inside, outside) = (directory.path().join("notify"), directory.path().join("outside"));
        fs::create_dir_all(inside.join("a/b/c/d")).unwrap();
        fs::create_dir_all(inside.join("a/b/.1/d")).unwrap();
        fs::create_dir_all(inside.join(".2/x/y")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "kept").unwrap();
        symlink(&outside, inside.join("a/link")).unwrap();
        symlink(&outside, inside.join("link")).unwrap();
        fs::write(inside.join("a/b/file"), "").unwrap();
        let above = OwnedFd::from(fs::File::open(directory.path()).unwrap());
        remove_tree(&above, c"notify").unwrap();
        assert!(!inside.exists());
        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "kept");
        remove_tree(&above, c"notify").expect("what is gone is no error");
    }

    /// An fd for each level would be more than a process may have, and a call for each more than a stack
    /// takes.
    #[test]
    fn no_tree_is_too_deep() {
        let directory = tempfile::tempdir().unwrap();
        let above = OwnedFd::from(fs::File::open(directory.path()).unwrap());
        let make = |at: &OwnedFd, name: &CStr| {
            nix::sys::stat::mkdirat(at, name, Mode::S_IRWXU).unwrap();
            open(at, name).unwrap()
        };
        let mut here = make(&above, c"notify");
        for _ in 0..3000 {
            here = make(&here, c"d");
        }
        drop(here);
        remove_tree(&above, c"notify").unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
