//! Trees without the mount namespaces that are mounted below them.
//!
//! Stage: host. Kernel: `unshare(CLONE_NEWNS)`, which leaves such mounts out of the copy (`copy_mnt_ns`,
//! fs/namespace.c). A mount namespace may be mounted on a file: snapd keeps one for each snap, `unshare
//! --mount=FILE` makes one. The kernel attaches no tree with such a mount in a mount namespace that is
//! younger than that one (ELOOP, docs/adr/0014). Mounts of the copy are peers of the caller's: what is
//! mounted there later propagates as if the trees came from the caller's own.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

use crate::plan::LockedFlags;
use crate::sys::{self, OpenTree, SysError};

/// What the thread is asked for: the operands of [`super::open::tree`].
type Request = (PathBuf, OpenTree, bool, Option<LockedFlags>);

/// A thread in a copy of the caller's mount namespace, which opens trees there. It ends, and the copy with
/// it, when this is dropped.
#[derive(Debug)]
pub(super) struct CopiedMounts {
    requests: Option<Sender<Request>>,
    opened: Receiver<Result<OwnedFd, SysError>>,
    thread: Option<JoinHandle<()>>,
}

impl CopiedMounts {
    /// Starts the thread.
    pub(super) fn start() -> Result<Self, SysError> {
        let (requests, asked) = channel::<Request>();
        let (answers, opened) = channel();
        let work = move || {
            let copied = unshare(CloneFlags::CLONE_NEWNS)
                .map_err(|errno| SysError::new(errno, || "unshare(CLONE_NEWNS)".to_owned()));
            if let Err(error) = copied {
                // It is heard in the place of the first tree; if nobody listens any more, nobody wants it.
                answers.send(Err(error)).ok();
                return;
            }
            for (source, how, directory, locked) in asked {
                if answers.send(super::open::tree(&source, how, directory, locked)).is_err() {
                    return;
                }
            }
        };
        let thread = sys::spawn(Builder::new().name("corten-mounts".to_owned()), work)?;
        Ok(Self { requests: Some(requests), opened, thread: Some(thread) })
    }

    /// Opens a tree, as [`super::open::tree`] does. What the copy does not have is opened in the caller's own
    /// mount namespace, into which `/proc/PID/root` leads.
    pub(super) fn tree(
        &self,
        source: &Path,
        how: OpenTree,
        directory: bool,
        locked: Option<LockedFlags>,
    ) -> Result<OwnedFd, SysError> {
        let ended = || SysError::new(Errno::EIO, || "thread(copy of the mount namespace)".to_owned());
        if let Some(requests) = &self.requests {
            // A thread that has ended has left the reason.
            requests.send((source.to_owned(), how, directory, locked)).ok();
        }
        match self.opened.recv().map_err(|_| ended())? {
            Err(error) if error.errno.0 == Errno::EINVAL => super::open::tree(source, how, directory, locked),
            opened => opened,
        }
    }
}

impl Drop for CopiedMounts {
    fn drop(&mut self) {
        self.requests.take();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
