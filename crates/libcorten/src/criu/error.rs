//! What can go wrong with CRIU.

use std::path::PathBuf;

use super::MINIMUM;
use super::rpc::Kind;
use crate::error::{ErrorKind, Failure};
use crate::sys::SysError;

/// What to do about a CRIU that says nothing.
const CHECK: &str = "`criu check` tells whether it works on this kernel";

/// Why CRIU could not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CriuError {
    /// There is none.
    #[error("checkpoint and restore need the program criu, which is not in $PATH (package criu)")]
    Missing,
    /// It is too old.
    #[error("criu {}.{} is too old: {}.{} or newer is needed", found.0, found.1, MINIMUM.0, MINIMUM.1)]
    Old { found: (i32, i32) },
    /// The kernel or CRIU lacks something. runc's words.
    #[error("criu is missing features: [{name}] ({meaning})")]
    Lacks { name: &'static str, meaning: &'static str },
    /// It said no. runc's words, and the reason, which runc leaves to the log.
    #[error("criu failed: type {} errno {errno}{}", kind_name(*kind), reason(why, log.as_ref()))]
    Failed { kind: i32, errno: i32, why: String, log: Option<PathBuf> },
    /// It ended without a word.
    #[error("criu ended without an answer: {how}{}", reason(if why.is_empty() { CHECK } else { why }, log.as_ref()))]
    Ended { how: String, why: String, log: Option<PathBuf> },
    /// It ended badly after a good answer.
    #[error("criu failed: {how}{}", reason(why, log.as_ref()))]
    EndedBadly { how: String, why: String, log: Option<PathBuf> },
    /// What it restored has died, and it does not notice.
    #[error("criu failed: the restored process has ended{}", reason(why, log.as_ref()))]
    Stuck { why: String, log: Option<PathBuf> },
    /// It took too long.
    #[error("criu does not answer within {seconds} s")]
    Deadline { seconds: u64 },
    /// It said what it should not.
    #[error("criu does not keep to the protocol")]
    Protocol,
    /// The images lack something, or it makes no sense.
    #[error("{path:?}")]
    Images {
        path: PathBuf,
        #[source]
        source: ImagesError,
    },
    /// A namespace that CRIU cannot join.
    #[error("linux.namespaces: a {kind} namespace that is joined cannot be restored")]
    Namespace { kind: &'static str },
    /// A call.
    #[error(transparent)]
    Call(#[from] SysError),
}

/// What is wrong with a file of the images.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImagesError {
    #[error(transparent)]
    Call(#[from] SysError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

fn kind_name(kind: i32) -> &'static str {
    match Kind::try_from(kind) {
        Ok(Kind::Dump) => "DUMP",
        Ok(Kind::PreDump) => "PRE_DUMP",
        Ok(Kind::Restore) => "RESTORE",
        Ok(Kind::Notify) => "NOTIFY",
        Ok(Kind::FeatureCheck) => "FEATURE_CHECK",
        Ok(Kind::Version) => "VERSION",
        Ok(Kind::Empty) | Err(_) => "EMPTY",
    }
}

fn reason(why: &str, log: Option<&PathBuf>) -> String {
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    log.map_or_else(|| why.clone(), |log| format!("{why} (log: {})", log.display()))
}

impl Failure for CriuError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing | Self::Old { .. } | Self::Lacks { .. } | Self::Namespace { .. } => {
                ErrorKind::Unsupported
            }
            Self::Images { .. } => ErrorKind::InvalidConfig,
            Self::Protocol => ErrorKind::Internal,
            _ => ErrorKind::Kernel,
        }
    }
}
