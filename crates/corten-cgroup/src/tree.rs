//! Trees of cgroups: files of a cgroup, and all cgroups below one.
//!
//! Attacker: a process of the cgroup that makes sub-cgroups with any names, as deep as it likes, while we
//! look.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::error::{Error, failed, failed_io};
use crate::sys;

/// Reads a file of a cgroup.
pub(crate) fn read_file(directory: BorrowedFd<'_>, file: &str) -> nix::Result<String> {
    read_at(directory, Path::new(file))
}

/// The same, by a path below the directory.
pub(crate) fn read_at(directory: BorrowedFd<'_>, file: &Path) -> nix::Result<String> {
    let fd = sys::open_below(&directory, file, OFlag::O_RDONLY)?;
    sys::read_text(File::from(fd)).map_err(|error| sys::errno(&error))
}

/// Writes a value to a file of a cgroup, in one call.
pub(crate) fn write_file(directory: BorrowedFd<'_>, file: &str, value: &str) -> nix::Result<()> {
    let fd = sys::open_below(&directory, Path::new(file), OFlag::O_WRONLY)?;
    File::from(fd).write_all(value.as_bytes()).map_err(|error| sys::errno(&error))
}

/// Sends a signal to processes that a cgroup has just listed.
pub(crate) fn signal_each(pids: &[i32], signal: i32) -> Result<(), Error> {
    let call = |pid| move |errno| failed(errno, || format!("pidfd_send_signal({pid}, {signal})"));
    pids.iter().try_for_each(|pid| sys::send_signal(*pid, signal).map_err(call(*pid)))
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
pub(crate) fn for_each_below(
    directory: BorrowedFd<'_>,
    visit: &mut dyn FnMut(BorrowedFd<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    visit(directory)?;
    let call = |errno| {
        failed_io(&std::io::Error::from_raw_os_error(errno as i32), || "readdir(sub-cgroups)".to_owned())
    };
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
pub(crate) fn remove_below(directory: BorrowedFd<'_>) -> nix::Result<()> {
    walk(directory, &mut |_| Ok(()), &mut |above, name| match unlinkat(above, name, UnlinkatFlags::RemoveDir)
    {
        Ok(()) | Err(Errno::ENOENT | Errno::EBUSY) => Ok(()),
        Err(errno) => Err(errno),
    })
}

/// Goes through all cgroups below: `enter` sees each before those below it, `leave` each after them, by its
/// name and the cgroup above.
///
/// However deep a container has made them, one is open at a time, and the stack does not grow. The way up is
/// `..`: cgroups do not move.
pub(crate) fn walk(
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
