//! The kernel as nix does not offer it: one wrapper per call and meaning. The only room of this crate with
//! `unsafe`.
//!
//! Wrappers take `impl AsFd` and `&CStr`/`&Path`, return `OwnedFd`, set close-on-exec themselves and retry
//! `EINTR`, or say why not. A failure displays as the call with its arguments, as strace(1) would, and has
//! the errno as its source.

mod call;
mod clone;
mod exchange;
mod fds;
mod hook;
mod lock;
mod memfd;
mod mount;
mod namespace;
mod network;
mod pidfd;
mod process;
mod regular;
mod signal;
pub(crate) mod term;
mod thread;

pub(crate) use call::Call;
pub(crate) use clone::{InitProcess, InitStart, UserNamespaceHolder};
pub(crate) use exchange::exchange;
pub(crate) use fds::{
    adopt_received, copy_inherited, inherited, path_by_fd, wait_any, wait_hung_up, wait_readable,
    wait_writable,
};
pub(crate) use hook::{introduce, isolate};
pub(crate) use lock::Lock;
pub(crate) use memfd::{memfd, sealed_memfd};
pub(crate) use mount::{OpenTree, clone_opened, clone_tree, map_tree, open_tree};
pub(crate) use namespace::{is_namespace, namespace_flag};
pub(crate) use network::NetworkMaker;
pub(crate) use pidfd::{Waited, kill_tree, open_pidfd, pid_of, send_signal, take_fd, wait_ended, wait_exit};
pub(crate) use process::{Cpus, expect_children, own_capabilities, run_on, run_on_again, set_limit};
pub(crate) use regular::{NotOpened, open_regular};
pub(crate) use signal::{ENDING, is_default, is_ignored};
pub(crate) use thread::{in_a_thread, spawn};

use nix::errno::Errno;

use crate::error::{ErrorKind, Failure};

/// A failed kernel call. Displays as the call with its arguments; the errno is the source.
#[derive(Debug, thiserror::Error)]
#[error("{call}")]
pub(crate) struct SysError {
    /// The call with its arguments.
    pub(crate) call: Call,
    /// Why it failed.
    #[source]
    pub(crate) errno: ErrnoText,
}

impl SysError {
    /// Makes the error of a call, which is written out only now.
    pub(crate) fn new<C: Into<Call>>(errno: Errno, call: impl FnOnce() -> C) -> Self {
        Self { call: call().into(), errno: ErrnoText(errno) }
    }

    /// Makes the error of a call that std made.
    pub(crate) fn from_io<C: Into<Call>>(error: &std::io::Error, call: impl FnOnce() -> C) -> Self {
        Self::new(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)), call)
    }
}

impl Failure for SysError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Kernel
    }
}

/// An errno that displays as runc and Go write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ErrnoText(pub(crate) Errno);

impl std::fmt::Display for ErrnoText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        corten_cgroup::Reason::new(self.0 as i32).fmt(f)
    }
}

impl std::error::Error for ErrnoText {}
