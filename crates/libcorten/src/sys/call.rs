//! A kernel call with its arguments, as strace(1) would show it.

use std::borrow::Cow;
use std::ffi::CString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::clone::namespace_names;

/// A call that failed. Those that somebody tells apart, and the most frequent ones, have a name of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    /// The clone that becomes init.
    CloneInit {
        /// Straight into the container's cgroup.
        into_cgroup: bool,
        /// `CLONE_NEW*`.
        namespaces: u64,
    },
    /// The clone that holds a user namespace.
    CloneHolder,
    /// A file in memory.
    MemfdCreate {
        /// Its name.
        name: CString,
        /// Its mark: whether it can be executed.
        mark: Option<&'static str>,
    },
    /// A cgroup of a container is opened.
    OpenCgroup {
        /// Its path in the hierarchy.
        path: PathBuf,
    },
    /// `open(2)` by path.
    Open {
        /// The path.
        path: PathBuf,
    },
    /// A whole file is read.
    Read {
        /// Its path.
        path: PathBuf,
    },
    /// `stat(2)` by path.
    Stat {
        /// The path.
        path: PathBuf,
    },
    /// Another call, within a directory.
    Within {
        /// The call.
        call: Box<Call>,
        /// The directory.
        directory: PathBuf,
    },
    /// Any other, in words: nobody asks more of it than how it reads.
    Words(Cow<'static, str>),
}

impl Call {
    /// `open(2)` by path.
    pub(crate) fn open(path: impl AsRef<Path>) -> Self {
        Self::Open { path: path.as_ref().to_owned() }
    }

    /// A whole file is read.
    pub(crate) fn read(path: impl AsRef<Path>) -> Self {
        Self::Read { path: path.as_ref().to_owned() }
    }

    /// `stat(2)` by path.
    pub(crate) fn stat(path: impl AsRef<Path>) -> Self {
        Self::Stat { path: path.as_ref().to_owned() }
    }

    /// The call, made within a directory.
    pub(crate) fn within(self, directory: &Path) -> Self {
        Self::Within { call: Box::new(self), directory: directory.to_owned() }
    }

    /// Whether it makes a process.
    pub(crate) fn is_clone(&self) -> bool {
        matches!(self, Self::CloneInit { .. } | Self::CloneHolder)
    }
}

impl From<String> for Call {
    fn from(words: String) -> Self {
        Self::Words(words.into())
    }
}

impl From<&'static str> for Call {
    fn from(words: &'static str) -> Self {
        Self::Words(words.into())
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CloneInit { into_cgroup, namespaces } => {
                let into = if *into_cgroup { "|CLONE_INTO_CGROUP" } else { "" };
                write!(f, "clone3(CLONE_VM|CLONE_VFORK|CLONE_PIDFD{into}|{})", namespace_names(*namespaces))
            }
            Self::CloneHolder => f.write_str("clone3(CLONE_NEWUSER)"),
            Self::MemfdCreate { name, mark: Some(mark) } => write!(f, "memfd_create({name:?}, {mark})"),
            Self::MemfdCreate { name, mark: None } => write!(f, "memfd_create({name:?})"),
            Self::OpenCgroup { path } => write!(f, "open(cgroup {path:?})"),
            Self::Open { path } => write!(f, "open({path:?})"),
            Self::Read { path } => write!(f, "read({path:?})"),
            Self::Stat { path } => write!(f, "stat({path:?})"),
            Self::Within { call, directory } => write!(f, "{call} in {directory:?}"),
            Self::Words(words) => f.write_str(words),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Call;

    #[test]
    fn calls_read_as_strace_shows_them() {
        let namespaces = u64::from((libc::CLONE_NEWNS | libc::CLONE_NEWPID).cast_unsigned());
        let init = |into_cgroup| Call::CloneInit { into_cgroup, namespaces };
        let unlink = Call::from("unlinkat(\"x\")");
        for (call, text) in [
            (init(false), "clone3(CLONE_VM|CLONE_VFORK|CLONE_PIDFD|CLONE_NEWNS|CLONE_NEWPID)"),
            (
                init(true),
                "clone3(CLONE_VM|CLONE_VFORK|CLONE_PIDFD|CLONE_INTO_CGROUP|CLONE_NEWNS|CLONE_NEWPID)",
            ),
            (Call::CloneHolder, "clone3(CLONE_NEWUSER)"),
            (
                Call::MemfdCreate { name: c"corten-init".into(), mark: Some("MFD_EXEC") },
                "memfd_create(\"corten-init\", MFD_EXEC)",
            ),
            (Call::MemfdCreate { name: c"hook-state".into(), mark: None }, "memfd_create(\"hook-state\")"),
            (Call::OpenCgroup { path: "/box".into() }, "open(cgroup \"/box\")"),
            (Call::open("/a b"), "open(\"/a b\")"),
            (Call::read("/proc/1/stat"), "read(\"/proc/1/stat\")"),
            (Call::stat("/"), "stat(\"/\")"),
            (unlink.within(Path::new("/run")), "unlinkat(\"x\") in \"/run\""),
        ] {
            assert_eq!(call.to_string(), text);
        }
    }
}
