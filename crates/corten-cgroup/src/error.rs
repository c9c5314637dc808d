//! What can go wrong with cgroups.

use std::path::PathBuf;

use nix::errno::Errno;

/// An error number, displayed in the words of glibc's strerror(3), in lower case: those of runc, whatever
/// libc this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason(pub(crate) Errno);

impl Reason {
    /// Returns the reason of an error number.
    pub fn new(errno: i32) -> Self {
        Self(Errno::from_raw(errno))
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            // nix has other words for these, most of them those of the kernel's headers.
            Errno::UnknownErrno => "unknown error",
            Errno::EIO => "input/output error",
            Errno::EBADF => "bad file descriptor",
            Errno::EAGAIN => "resource temporarily unavailable",
            Errno::ENOMEM => "cannot allocate memory",
            Errno::EXDEV => "invalid cross-device link",
            Errno::ENFILE => "too many open files in system",
            Errno::ENOTTY => "inappropriate ioctl for device",
            Errno::EDOM => "numerical argument out of domain",
            Errno::ERANGE => "numerical result out of range",
            Errno::EDEADLK => "resource deadlock avoided",
            Errno::ENOLCK => "no locks available",
            Errno::ELOOP => "too many levels of symbolic links",
            Errno::ENOSTR => "device not a stream",
            Errno::ENODATA => "no data available",
            Errno::ETIME => "timer expired",
            Errno::ENOSR => "out of streams resources",
            Errno::EREMOTE => "object is remote",
            Errno::ENOLINK => "link has been severed",
            Errno::EMULTIHOP => "multihop attempted",
            Errno::EBADMSG => "bad message",
            Errno::EOVERFLOW => "value too large for defined data type",
            Errno::EILSEQ => "invalid or incomplete multibyte or wide character",
            Errno::ENETRESET => "network dropped connection on reset",
            Errno::EOPNOTSUPP => "operation not supported",
            Errno::ESTALE => "stale file handle",
            Errno::EDQUOT => "disk quota exceeded",
            Errno::EOWNERDEAD => "owner died",
            other => return f.write_str(&other.desc().to_lowercase()),
        })
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

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_glibcs_words() {
        let by_libc = |errno: i32| std::io::Error::from_raw_os_error(errno).to_string().to_lowercase();
        let known = (1..=133).filter(|errno| Errno::from_raw(*errno) != Errno::UnknownErrno);
        let both = known.map(|errno| (format!("{} (os error {errno})", Reason::new(errno)), by_libc(errno)));
        let different: Vec<_> = both.filter(|(ours, by_libc)| ours != by_libc).collect();
        assert_eq!(different, []);
    }
}
