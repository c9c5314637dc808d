//! What a caller asks for beside the config: options of create and run.
//!
//! Pure: what is asked for is judged by the plan, and carried out by the launch.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the container's terminal goes when `process.terminal` is true.
#[derive(Debug, Default, Clone)]
pub enum Console {
    /// Nowhere: `process.terminal` must be false.
    #[default]
    None,
    /// Its master is sent to this socket, as runc's `--console-socket` does.
    Socket(PathBuf),
    /// Its master stays with the caller: [`Container::take_console`](crate::Container::take_console).
    Master,
    /// The same for a caller that connects it with its own stdin and stdout
    /// ([`foreground::attach`](crate::lifecycle::foreground::attach)): before the program starts it gets the
    /// size of their terminal, if they are one, and ends lines as they do.
    Foreground,
}

/// Who makes a container's cgroups.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CgroupManager {
    /// The runtime itself, by the filesystem of cgroups.
    #[default]
    Cgroupfs,
    /// systemd: the system's for root, the user's for others. `cgroupsPath` is `slice:prefix:name` then.
    Systemd,
    /// Nobody: the container stays in the cgroups of the caller, and no limit is in force.
    Disabled,
}

/// Options of create and run.
#[derive(Debug, Clone, Default)]
pub struct CreateOptions {
    /// Where the terminal goes.
    pub console: Console,
    /// File that gets init's pid, in decimal.
    pub pid_file: Option<PathBuf>,
    /// The container process gets those of so many fds of the caller's from 3 on that are open.
    pub preserve_fds: u32,
    /// The number of sockets that a service manager has passed to the caller (sd_listen_fds(3)): they are the
    /// first fds from 3 on, before those of `preserve_fds`, and the container process is told so by
    /// `LISTEN_FDS` and `LISTEN_PID`.
    pub listen_fds: u32,
    /// Give the container a socket for sd_notify(3), `NOTIFY_SOCKET`:
    /// [`Container::take_readiness`](crate::Container::take_readiness) of a container that runs,
    /// [`Container::start_and_listen`](crate::Container::start_and_listen) of one that is created.
    pub notify_socket: bool,
    /// Keep the caller's session keyring instead of a new one.
    pub no_new_keyring: bool,
    /// Who makes cgroups.
    pub cgroup_manager: CgroupManager,
    /// `chroot(2)` instead of `pivot_root(2)`, for a host whose root is the initramfs. Less safe.
    pub no_pivot: bool,
    /// Socket that gets init's pidfd.
    pub pidfd_socket: Option<PathBuf>,
    /// The caller stays with the container ([`foreground::attach`](crate::lifecycle::foreground::attach)).
    /// Stdio that is a file of another user than the process's, and would have to change its owner, is copied
    /// then.
    pub foreground: bool,
    /// Ends the making, and takes back what has been made, as soon as something can be read from this file:
    /// an eventfd, a pipe. What the kernel itself makes the caller wait for (a filesystem that does not
    /// answer) it cannot end.
    pub cancel: Option<Arc<OwnedFd>>,
}

/// What the caller asks for beside the config.
#[derive(Debug, Clone)]
pub(crate) struct Request<'a> {
    /// The container's id.
    pub(crate) id: &'a str,
    /// Absolute path of the bundle.
    pub(crate) bundle: &'a Path,
    /// Wait for `start` (create) or not (run).
    pub(crate) wait_for_start: bool,
    /// Options of the command.
    pub(crate) options: &'a CreateOptions,
}
