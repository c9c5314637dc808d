//! The library's one error type: opaque outside, rich inside.
//!
//! Each phase keeps an enum of its own next to its code (`SpecError`, `PlanError`, `LaunchError`, …); here
//! they become one [`Error`] with a [`ErrorKind`]. `Display` says one level and `source()` says the rest, so
//! a caller prints the chain once.

use std::error::Error as StdError;
use std::fmt;

use nix::errno::Errno;

/// What went wrong, for callers that must decide what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// config.json or an argument is wrong; the message names the field.
    InvalidConfig,
    /// The container, the bundle or a file that was named does not exist.
    NotFound,
    /// A container with this id exists already.
    Exists,
    /// The container is not in a status that allows the operation.
    WrongState,
    /// The config asks for something that Corten does not do (yet); the message names it.
    Unsupported,
    /// The caller may not do this.
    Permission,
    /// A kernel call failed.
    Kernel,
    /// Corten itself is wrong.
    Internal,
}

impl ErrorKind {
    /// The kind of a call that failed, where nothing but the errno tells.
    pub(crate) fn of_errno(errno: Errno) -> Self {
        match errno {
            Errno::ENOENT => Self::NotFound,
            Errno::EACCES | Errno::EPERM => Self::Permission,
            Errno::ENOSYS => Self::Unsupported,
            _ => Self::Kernel,
        }
    }
}

/// What a stage's error says beside its message. Each is implemented beside the error, which becomes an
/// [`Error`] by `?` then.
pub(crate) trait Failure: StdError + Send + Sync + 'static {
    /// What kind of error this is.
    fn kind(&self) -> ErrorKind;

    /// What the user can do about it, where the cause is known. May look at kernel parameters.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// An error of a container operation. See [`ErrorKind`].
pub struct Error {
    kind: ErrorKind,
    cause: Box<dyn Failure>,
}

impl<F: Failure> From<F> for Error {
    fn from(cause: F) -> Self {
        Self { kind: cause.kind(), cause: Box::new(cause) }
    }
}

impl Error {
    /// Wraps a failure that is of another kind here than by itself.
    pub(crate) fn of_kind(kind: ErrorKind, cause: impl Failure) -> Self {
        Self { kind, cause: Box::new(cause) }
    }

    /// Returns what kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns what the user can do about it, where the cause is known. May look at kernel parameters.
    pub fn hint(&self) -> Option<String> {
        self.cause.hint()
    }

    /// Returns the error and all its sources as one line, `a: b: c`.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

/// Returns an error and all its sources as one line, `a: b: c`.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let errors = std::iter::successors(Some(error), |&error| error.source());
    errors.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:?}", self.kind, self.cause)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.source()
    }
}

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
