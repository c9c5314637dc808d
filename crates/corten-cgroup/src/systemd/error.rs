//! What can go wrong with systemd.

/// What kind of failure an [`Error`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration: a name, list or annotation that systemd would not take.
    Config,
    /// systemd cannot be reached.
    Unreachable,
    /// systemd refused a call, or the connection broke.
    Call,
    /// A unit could not be started or stopped.
    Job,
    /// systemd did not answer in time.
    Deadline,
}

/// An error of this module. Displays one level; what systemd or the kernel said of it is the source.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<Repr>);

impl Error {
    /// Returns what kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        match &*self.0 {
            Repr::Format { .. }
            | Repr::Slice { .. }
            | Repr::Name { .. }
            | Repr::CpuList { .. }
            | Repr::Annotation { .. }
            | Repr::Subcgroup { .. } => ErrorKind::Config,
            Repr::Runtime { .. } | Repr::Unreachable { .. } => ErrorKind::Unreachable,
            Repr::Refused { .. } | Repr::Broken { .. } | Repr::Reply { .. } => ErrorKind::Call,
            Repr::Job { .. } => ErrorKind::Job,
            Repr::Deadline { .. } => ErrorKind::Deadline,
        }
    }

    /// Returns the D-Bus name of the error that systemd answered with, as
    /// `org.freedesktop.systemd1.NoSuchUnit`.
    pub fn bus_name(&self) -> Option<&str> {
        match &*self.0 {
            Repr::Refused { answer, .. } => Some(&answer.name),
            _ => None,
        }
    }

    /// Returns what systemd said when it refused a call.
    pub(crate) fn bus_message(&self) -> Option<&str> {
        match &*self.0 {
            Repr::Refused { answer, .. } => Some(&answer.message),
            _ => None,
        }
    }
}

impl From<Repr> for Error {
    fn from(repr: Repr) -> Self {
        Self(Box::new(repr))
    }
}

/// An error that came as the answer to a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({name})")]
pub(crate) struct Answer {
    pub(crate) name: String,
    pub(crate) message: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Repr {
    // runc's words.
    #[error(
        "linux.cgroupsPath: expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {path:?} instead"
    )]
    Format { path: String },
    // runc's words.
    #[error("linux.cgroupsPath: invalid slice name: {slice}")]
    Slice { slice: String },
    #[error("{from}: systemd takes no unit of the name {name:?}: {why}")]
    Name { from: &'static str, name: String, why: String },
    #[error("list of CPUs or memory nodes {list:?}: {why}")]
    CpuList { list: String, why: String },
    #[error("annotation {key:?}: {why}")]
    Annotation { key: String, why: String },
    // runc's words.
    #[error("bad sub cgroup path: {path}")]
    Subcgroup { path: String },
    #[error("epoll_create(), for the connection to systemd")]
    Runtime {
        #[source]
        source: std::io::Error,
    },
    #[error("cannot reach systemd ({manager}): {tried}")]
    Unreachable { manager: &'static str, tried: String },
    #[error("systemd refused {call}")]
    Refused {
        call: String,
        #[source]
        answer: Answer,
    },
    #[error("call of systemd failed: {call}")]
    Broken {
        call: String,
        #[source]
        source: zbus::Error,
    },
    #[error("{call}: cannot understand the answer of systemd: {why}")]
    Reply { call: String, why: String },
    // runc's words, and why.
    #[error("error {action} systemd unit `{unit}`: got `{result}`{why}")]
    Job { action: &'static str, unit: String, result: String, why: String },
    #[error("systemd did not answer within {within:?}: {call}")]
    Deadline { call: String, within: std::time::Duration },
}
