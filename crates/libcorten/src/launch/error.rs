//! What can go wrong while a container is made, and the sentence that the user reads.

use corten_init::Call;
use nix::errno::Errno;
use nix::unistd::Pid;

use super::hint;
use super::id_maps::IdMapError;
use super::net_devices::NetDeviceError;
use crate::criu::CriuError;
use crate::error::{ErrorKind, Failure, chain};
use crate::facts::WayIn;
use crate::hooks::{HookError, signal_words};
use crate::resctrl::ResctrlError;
use crate::state::{StateDirectory, StateError};
use crate::sys::{self, ErrnoText, SysError, Waited};

/// Why a container could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    /// A host step failed.
    #[error("{item}")]
    Step {
        /// The config item.
        item: String,
        #[source]
        source: SysError,
    },
    /// A step inside failed.
    #[error("error during container init")]
    Init(#[from] InitFailure),
    /// Init ended without a word.
    #[error("container init ended unexpectedly{}", how.as_deref().map(|how| format!(": {how}")).unwrap_or_default())]
    Died {
        /// How, once it is known.
        how: Option<String>,
    },
    /// The container that the process is to join has none.
    #[error("the container's init has ended")]
    ContainerEnded,
    /// Init was killed for want of memory. runc's words.
    #[error("container init was OOM-killed (memory limit too low?)")]
    OutOfMemory,
    /// Init took too long.
    #[error("container init did not reach {what:?} within {seconds} s")]
    Deadline { what: &'static str, seconds: u64 },
    /// The caller wants no container any more.
    #[error("interrupted")]
    Cancelled,
    /// Init was kept from running.
    #[error(
        "container init did not reach {what:?}: for {seconds} s it was stopped or traced by another process"
    )]
    Held { what: &'static str, seconds: u64 },
    /// Init said what it should not.
    #[error("container init does not keep to the protocol")]
    Protocol,
    /// A plan that uses init, its cgroup or a slot before it makes it.
    #[error("the plan uses what it has not made yet")]
    Order,
    /// Wrong plan.
    #[error(transparent)]
    Encode(#[from] corten_init::EncodeError),
    /// The state could not be written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The cgroup.
    #[error("linux.cgroupsPath{}", if is_refused(.0) { NO_PERMISSION } else { "" })]
    Cgroup(#[source] corten_cgroup::Error),
    /// systemd.
    #[error("unable to apply cgroup configuration")]
    Systemd(#[source] corten_cgroup::systemd::Error),
    /// A limit.
    #[error(transparent)]
    Limit(LimitError),
    /// The device filter.
    #[error("linux.resources.devices")]
    Devices(#[source] corten_cgroup::Error),
    /// A call that belongs to no config item.
    #[error(transparent)]
    Call(#[from] SysError),
    /// Ids could not be mapped.
    #[error(transparent)]
    IdMap(#[from] IdMapError),
    /// Network devices.
    #[error(transparent)]
    NetDevice(#[from] NetDeviceError),
    /// Intel RDT.
    #[error(transparent)]
    Resctrl(#[from] ResctrlError),
    /// CRIU.
    #[error(transparent)]
    Criu(#[from] CriuError),
    /// A hook failed.
    #[error("error during container init")]
    Hook(#[from] HookError),
    /// The launch failed, and so did hooks that are run then.
    #[error("{}", warnings(hooks))]
    Warned {
        #[source]
        cause: Box<LaunchError>,
        hooks: Vec<HookError>,
    },
    /// The launch failed, and not all of it could be taken back.
    #[error("{left}, left behind after")]
    Left {
        #[source]
        cause: Box<LaunchError>,
        left: String,
    },
}

impl Failure for LaunchError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Step { source, .. } | Self::Call(source) => ErrorKind::of_errno(source.errno.0),
            Self::Init(failure) => ErrorKind::of_errno(failure.errno.0),
            Self::State(error) => error.kind(),
            Self::Criu(error) => error.kind(),
            Self::IdMap(error) => error.kind(),
            Self::NetDevice(error) => error.kind(),
            Self::Resctrl(error) => error.kind(),
            Self::Limit(error) => error.kind(),
            Self::Left { cause, .. } | Self::Warned { cause, .. } => cause.kind(),
            Self::Encode(_) => ErrorKind::InvalidConfig,
            Self::Protocol | Self::Order => ErrorKind::Internal,
            Self::ContainerEnded => ErrorKind::WrongState,
            Self::Died { .. }
            | Self::Deadline { .. }
            | Self::Held { .. }
            | Self::Cancelled
            | Self::Hook(_)
            | Self::Systemd(_)
            | Self::OutOfMemory => ErrorKind::Kernel,
            Self::Cgroup(error) | Self::Devices(error) => of_cgroup(error),
        }
    }
}

/// A launch that has failed, and been taken back.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: LaunchError,
    /// How it can be tried again.
    pub(crate) again: Option<Again>,
}

impl Failed {
    /// Removes the state directory, too. While something is left it stays, so that `delete --force` can find
    /// and remove that.
    pub(crate) fn with_directory(self, directory: &StateDirectory) -> Self {
        match self.error {
            LaunchError::Left { .. } => self,
            error => match directory.remove() {
                Ok(()) => Self { error, ..self },
                Err(left) => Self {
                    error: LaunchError::Left { cause: Box::new(error), left: chain(&left) },
                    again: None,
                },
            },
        }
    }
}

/// Another plan, for a launch that has failed for a reason that shows only when it is tried. All of it is
/// taken back when that is found out, as it is before hooks have run or a terminal has been handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// A mount namespace is mounted below one of the trees: they come from a copy of the caller's mount
    /// namespace, which leaves it out.
    CopyMounts,
    /// The container's cgroups do not take the process in the way that was tried.
    Enter(WayIn),
}

/// What is tried.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Attempt {
    /// It is not tried again, whatever comes.
    Last,
    /// A container whose trees come from the caller's mount namespace. To find out before whether a mount
    /// namespace is mounted below one would be to look at all mounts of the host for every container.
    Container,
    /// A process that joins a container.
    Process {
        /// How it comes into the container's cgroups.
        way_in: WayIn,
        /// Processes of the container could take hold of it before it is in all of them.
        can_be_seized: bool,
    },
}

impl Attempt {
    /// How it is tried again after this error.
    pub(super) fn again(self, error: &LaunchError) -> Option<Again> {
        match self {
            Self::Container if error.meets_mount_namespace() => Some(Again::CopyMounts),
            // Since it was looked at the container has made cgroups with limits below its own; or it has as
            // many processes as it may: a move goes beyond the limit.
            Self::Process { way_in: WayIn::Cloned, .. } if error.is_refused_by_cgroup() => {
                Some(Again::Enter(WayIn::Moved))
            }
            // But the clone after the move, by which a PID namespace is entered, does not.
            Self::Process { way_in: WayIn::Moved, can_be_seized: false } if error.is_at_process_limit() => {
                Some(Again::Enter(WayIn::CountedLast))
            }
            _ => None,
        }
    }
}

/// The kind of an error of cgroups by its errno.
fn of_cgroup(error: &corten_cgroup::Error) -> ErrorKind {
    error.errno().map_or(ErrorKind::Kernel, |errno| ErrorKind::of_errno(Errno::from_raw(errno)))
}

/// The error of a process that could not be started. runc's words, which users know.
#[derive(Debug, thiserror::Error)]
#[error("unable to start container process")]
pub(crate) struct CannotStart(#[source] pub(crate) LaunchError);

impl Failure for CannotStart {
    fn kind(&self) -> ErrorKind {
        self.0.kind()
    }

    fn hint(&self) -> Option<String> {
        hint::of_launch(&self.0)
    }
}

impl LaunchError {
    /// Whether a process could not be cloned into a cgroup because that takes none, no more (which a move
    /// does not ask), or has gone.
    fn is_refused_by_cgroup(&self) -> bool {
        match self {
            Self::Init(failure) => {
                let takes_none = super::cgroups::NO_PROCESSES.contains(&(failure.errno.0 as i32));
                self.is_at_process_limit() || failure.call == Call::Clone3 && takes_none
            }
            Self::Call(SysError { call: sys::Call::OpenCgroup { .. }, errno }) => errno.0 == Errno::ENOENT,
            _ => false,
        }
    }

    /// Whether init could not clone itself as there are as many processes as there may be.
    fn is_at_process_limit(&self) -> bool {
        matches!(self, Self::Init(failure)
            if matches!(failure.call, Call::Clone | Call::Clone3) && failure.errno.0 == Errno::EAGAIN)
    }

    /// The clone of init that init could not tell of and has killed: a child of this process, which nobody
    /// else reaps.
    pub(super) fn untold_clone(&self) -> Option<Pid> {
        match self {
            // What other calls have as their detail may come from the config, or the image.
            Self::Init(failure) if matches!(failure.call, Call::Sendmsg | Call::Write) => {
                failure.detail.strip_prefix("clone ")?.parse().ok().map(Pid::from_raw)
            }
            _ => None,
        }
    }

    /// Whether a tree could not be attached because a mount namespace is mounted below it
    /// (`check_for_nsfs_mounts`, fs/namespace.c).
    fn meets_mount_namespace(&self) -> bool {
        match self {
            Self::Init(failure) => failure.call == Call::MoveMount && failure.errno.0 == Errno::ELOOP,
            Self::Warned { cause, .. } => cause.meets_mount_namespace(),
            _ => false,
        }
    }

    /// Says how init ended, when that is all there is to say.
    pub(super) fn explain(&mut self, waited: Waited) {
        let Self::Died { how } = self else { return };
        *how = match waited {
            Waited::Killed(signal) => Some(format!("killed by signal {signal}")),
            Waited::Exited(status) => Some(format!("exit status {status}")),
            Waited::Running | Waited::NotOurs => None,
        };
    }
}

/// runc's words, which users search for.
const NO_PERMISSION: &str =
    ": rootless needs no limits + no cgrouppath when no permission is granted for cgroups";

fn is_refused(error: &corten_cgroup::Error) -> bool {
    error.is_refused() && !nix::unistd::geteuid().is_root()
}

/// A limit that the kernel does not take. The field's name is completed in the error itself, so its source is
/// that error's.
#[derive(Debug)]
pub(crate) struct LimitError(pub(crate) corten_cgroup::Error);

impl std::fmt::Display for LimitError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "linux.resources.{}", self.0)
    }
}

impl Failure for LimitError {
    fn kind(&self) -> ErrorKind {
        of_cgroup(&self.0)
    }

    fn hint(&self) -> Option<String> {
        hint::of_limit(&self.0)
    }
}

impl std::error::Error for LimitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// What hooks have failed with, before what they were run after.
fn warnings(hooks: &[HookError]) -> String {
    hooks.iter().map(|error| format!("{}, after", chain(error))).collect::<Vec<_>>().join("; ")
}

/// A step inside that failed, as init told it.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub(crate) struct InitFailure {
    sentence: String,
    /// What failed,
    pub(crate) call: Call,
    /// what it was about,
    pub(crate) detail: String,
    /// and why.
    pub(crate) errno: ErrnoText,
    /// It is the program itself that the kernel has refused.
    pub(crate) is_program: bool,
    /// The errno again, unless the sentence says it all.
    #[source]
    source: Option<ErrnoText>,
}

impl InitFailure {
    /// Makes the sentence. Engines look for runc's wording about programs that cannot be run, and choose
    /// their exit status by it.
    pub(crate) fn new(call: Call, errno: i32, item: &[u8], detail: &[u8]) -> Self {
        let errno = Errno::from_raw(errno);
        let (item, detail) = (String::from_utf8_lossy(item), String::from_utf8_lossy(detail).into_owned());
        let (sentence, is_all) = match call {
            Call::FindProgram => program(errno, &detail),
            Call::Hook | Call::HookTimeout | Call::Execve if item.starts_with("hooks.") => {
                hook(call, &item, &detail)
            }
            Call::Execve => (format!("exec {detail}"), false),
            _ if detail.is_empty() => (format!("{item}: {}", call.name()), false),
            _ => (format!("{item}: {} {detail:?}", call.name()), false),
        };
        let errno = ErrnoText(errno);
        let is_program = call == Call::Execve && !item.starts_with("hooks.");
        Self { sentence, call, detail, errno, is_program, source: (!is_all).then_some(errno) }
    }
}

/// runc's words for a hook that init ran, and whether they say it all. `item`: `hooks.createContainer[0]`.
fn hook(call: Call, item: &str, detail: &str) -> (String, bool) {
    let (kind, index) =
        item.trim_start_matches("hooks.").trim_end_matches(']').split_once('[').unwrap_or((item, ""));
    let head = format!("error running {kind} hook #{index}");
    let detail = &match detail.strip_prefix("signal ").and_then(|rest| rest.split_once(',')) {
        Some((number, rest)) => format!("signal: {},{rest}", signal_words(number.parse().unwrap_or(0))),
        None => detail.to_owned(),
    };
    match call {
        Call::Execve => (format!("{head}: fork/exec {detail}"), false),
        Call::HookTimeout => (format!("{head}: hook ran past specified timeout of {detail}.0s"), true),
        // Without output it is the call that runs it that failed, not the hook.
        _ => (format!("{head}: {detail}"), detail.contains(", stdout: ")),
    }
}

/// runc's words for a program that cannot be run, and whether they say it all.
fn program(errno: Errno, name: &str) -> (String, bool) {
    if !name.contains('/') {
        return (format!("exec: {name:?}: executable file not found in $PATH"), true);
    }
    let refused = matches!(errno, Errno::EACCES | Errno::EISDIR);
    (if refused { format!("exec: {name:?}") } else { format!("exec: {name:?}: stat {name}") }, false)
}
