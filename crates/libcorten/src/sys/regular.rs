//! Files that must be regular ones.

use std::fs::File;
use std::os::fd::AsFd;

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat};

/// Why a file was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotOpened {
    /// It is something else: a FIFO, a device, a directory, a socket.
    Irregular,
    /// A call failed.
    Failed(Errno),
}

/// Opens a regular file to read it. Does not wait for somebody to write to a FIFO, and takes no terminal.
pub(crate) fn open_regular<P: NixPath + ?Sized>(
    at: impl AsFd,
    path: &P,
    more: OFlag,
) -> Result<File, NotOpened> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | more;
    let fd = openat(at, path, flags, Mode::empty()).map_err(|errno| match errno {
        // A socket.
        Errno::ENXIO => NotOpened::Irregular,
        errno => NotOpened::Failed(errno),
    })?;
    let kind = fstat(&fd).map_err(NotOpened::Failed)?.st_mode & SFlag::S_IFMT.bits();
    if kind == SFlag::S_IFREG.bits() { Ok(File::from(fd)) } else { Err(NotOpened::Irregular) }
}
