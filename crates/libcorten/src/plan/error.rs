//! What can be wrong with a config that is valid by itself.

use crate::error::{ErrorKind, Failure};

use super::mount_options::MountOptionError;
use crate::spec::SpecError;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    /// A string with a NUL byte, which the kernel cannot take.
    #[error("{item}: contains a NUL byte")]
    Nul {
        /// The config item.
        item: String,
    },
    /// Wrong mount options.
    #[error(transparent)]
    MountOption(#[from] MountOptionError),
    /// More bind mounts than init can be handed.
    #[error("mounts: {count} bind mounts are more than the {limit} that a container may have")]
    TooManySources {
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A required part is missing.
    #[error("{item}: missing")]
    Missing {
        /// The config item.
        item: &'static str,
    },
    /// Something that Corten does not do.
    #[error("{item}: {what} is not supported")]
    Unsupported {
        /// The config item.
        item: String,
        /// What it asks for.
        what: &'static str,
    },
    /// A number out of its range.
    #[error("{item}: {value} is out of range")]
    Range {
        /// The config item.
        item: String,
        /// The number.
        value: i64,
    },
    /// A mount over something of procfs that must be the kernel's own (CVE-2019-16884).
    #[error("mounts[{index}].destination: {path:?} cannot be mounted because it is inside /proc")]
    InsideProc {
        /// Position in `mounts`.
        index: usize,
        /// The destination.
        path: String,
    },
    /// Something else where the container's procfs must be (CVE-2019-16884).
    #[error("mounts[{index}].type: \"/proc\" cannot be mounted because it is not of type proc")]
    NotProc {
        /// Position in `mounts`.
        index: usize,
    },
    /// An ID-mapped mount without both maps.
    #[error("{item}: id-mapped mounts must have both uid and gid mappings specified")]
    HalfIdMap {
        /// The config item.
        item: String,
    },
    /// A map relative to a user namespace that has no such IDs.
    #[error("{item}: a relative mapping (@) needs linux.uidMappings and linux.gidMappings with its IDs")]
    RelativeIdMap {
        /// The config item.
        item: String,
    },
    /// A map of a mount option that the kernel would not take.
    #[error(transparent)]
    IdMap(#[from] SpecError),
    /// An ID-mapped mount of a new filesystem, or of one that is there already.
    #[error("{item}: id-mapped mounts are only supported for bind mounts")]
    IdMapOnFilesystem {
        /// The config item.
        item: String,
    },
    /// An ID-mapped mount that only a privileged runtime can make.
    #[error("{item}: id-mapped mounts are not supported for rootless containers")]
    RootlessIdMap {
        /// The config item.
        item: String,
    },
    /// Limits that cannot be.
    #[error("linux.resources.{0}")]
    Limit(corten_cgroup::Error),
    /// Properties that systemd cannot be told.
    #[error("annotations")]
    Systemd(#[source] corten_cgroup::systemd::Error),
    /// `process.terminal` without a place for the terminal to go.
    #[error("process.terminal: cannot allocate tty if runc will detach without setting console socket")]
    NoConsole,
    /// A place for a terminal that there is not.
    #[error("process.terminal: cannot use console socket if runc will not detach or allocate tty")]
    NoTerminal,
}

impl Failure for PlanError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::MountOption(error) => error.kind(),
            Self::IdMap(error) => error.kind(),
            Self::Unsupported { .. } | Self::RootlessIdMap { .. } => ErrorKind::Unsupported,
            _ => ErrorKind::InvalidConfig,
        }
    }
}
