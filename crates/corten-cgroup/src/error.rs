//! What can go wrong with cgroups.

use std::path::PathBuf;

use nix::errno::Errno;

/// An error number, displayed as strerror(3) says it, in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reason(pub(crate) Errno);

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.desc().to_lowercase())
    }
}

impl std::error::Error for Reason {}

/// An error of a cgroup operation. Displays one level; the errno is the source.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] Repr);

impl Error {
    /// Returns the errno of the failed call, if it was a call that failed.
    pub fn errno(&self) -> Option<i32> {
        match &self.0 {
            Repr::Call { reason, .. } | Repr::Filter { reason, .. } | Repr::Setting { reason, .. } => {
                Some(reason.0 as i32)
            }
            _ => None,
        }
    }

    /// A value that cannot be.
    pub(crate) fn value(field: &str, reason: String) -> Self {
        Repr::Value { field: field.to_owned(), reason }.into()
    }

    /// Whether the caller may not do it: no permission, or a read-only mount of cgroups.
    pub fn is_refused(&self) -> bool {
        let refused = [Errno::EACCES, Errno::EPERM, Errno::EROFS];
        self.errno().is_some_and(|errno| refused.contains(&Errno::from_raw(errno)))
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Repr {
    /// A failed kernel call.
    #[error("{call}")]
    Call {
        call: String,
        #[source]
        reason: Reason,
    },
    /// A limit that the kernel does not take.
    #[error("{field}: {call}")]
    Setting {
        field: String,
        call: String,
        #[source]
        reason: Reason,
    },
    /// A limit that cannot be.
    #[error("{field}: {reason}")]
    Value { field: String, reason: String },
    #[error("no cgroup2 filesystem at /sys/fs/cgroup or /sys/fs/cgroup/unified")]
    NoHierarchy,
    #[error("cannot read {what} in {path:?}: {text:?}")]
    Content { what: &'static str, path: PathBuf, text: String },
    #[error("the container has no cgroup")]
    NoCgroup,
    // runc's words.
    #[error("container's cgroup is not empty: {count} process(es) found")]
    NotEmpty { count: usize },
    #[error("container's cgroup unexpectedly frozen")]
    Frozen,
    #[error("cgroup {path:?} is not frozen after {seconds} s")]
    NotFrozen { path: PathBuf, seconds: u64 },
    #[error("cgroup {path:?} still has processes {pids:?} after {seconds} s")]
    Survivors { path: PathBuf, pids: Vec<i32>, seconds: u64 },
    #[error("cgroup {path:?} is still busy after {seconds} s")]
    Busy { path: PathBuf, seconds: u64 },
    #[error("no cgroup v1 with the controller {controller:?}")]
    NoController { controller: &'static str },
    #[error("the container has no cgroup of the controller {controller:?}")]
    UnknownController { controller: String },
    #[error("{path:?} leads out of the container's cgroup")]
    Outside { path: PathBuf },
    /// What a teardown that went on has met.
    #[error("{}", list(.0))]
    Several(Vec<Error>),
    #[error(
        "linux.resources.devices: the rule {rule:?} is an exception to an exception, which the device list of cgroup v1 \
         cannot have"
    )]
    DeviceRule { rule: String },
    #[error("the old limits could not be restored: {}", list(causes))]
    NotRestored { causes: Vec<Error> },
    #[error("linux.resources.devices: the kernel refuses the device filter: {log}")]
    Filter {
        log: String,
        #[source]
        reason: Reason,
    },
}

/// Makes the error of a call, which is written out only now.
pub(crate) fn failed(errno: Errno, call: impl FnOnce() -> String) -> Error {
    Error(Repr::Call { call: call(), reason: Reason(errno) })
}

/// Makes the error of a call that std made.
pub(crate) fn failed_io(error: &std::io::Error, call: impl FnOnce() -> String) -> Error {
    failed(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)), call)
}

/// Errors in one line, each with its reason.
fn list(errors: &[Error]) -> String {
    let with_reason = |error: &Error| match std::error::Error::source(error) {
        Some(reason) => format!("{error}: {reason}"),
        None => error.to_string(),
    };
    errors.iter().map(with_reason).collect::<Vec<_>>().join("; ")
}
