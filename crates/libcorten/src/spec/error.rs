//! What can be wrong with a config.

use std::{fmt, io};

use oci_spec::runtime::{Capability, LinuxNamespaceType, PosixRlimitType};

use super::namespace_name;
use crate::error::{ErrorKind, Failure};

/// A config.json that cannot be used. Each names the field as it is written there, `mounts[3].destination`.
#[derive(Debug)]
#[non_exhaustive]
pub enum SpecError {
    /// The reader failed.
    Read {
        /// Why.
        source: io::Error,
    },
    /// There is more text than is read.
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// There is no text.
    Empty,
    /// The text does not begin as an object does.
    NotAnObject,
    /// The text is no JSON or does not have the spec's shape.
    Decode {
        /// The field's path; empty for the whole.
        field: String,
        /// Counted from 1; 0 if there is no telling.
        line: usize,
        /// Counted from 1, in bytes; 0 if there is no telling.
        column: usize,
        /// The decoder's words, shortened.
        problem: String,
    },
    /// A field has a value that it may not have.
    Invalid {
        /// The field's path.
        field: String,
        /// What is wrong with it.
        problem: Problem,
    },
    /// A field asks for something that Corten does not do.
    Unsupported {
        /// The field's path.
        field: String,
        /// What it asks for.
        what: &'static str,
    },
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.about("config.json"))
    }
}

impl std::error::Error for SpecError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source } => Some(source),
            _ => None,
        }
    }
}

impl SpecError {
    /// Returns what is wrong with a text that is not in config.json, but in this file.
    pub fn about(&self, file: &str) -> String {
        match self {
            Self::Read { .. } => format!("cannot read {file}"),
            Self::TooLarge { limit_bytes } => format!("{file} is larger than {limit_bytes} bytes"),
            Self::Empty => format!("{file} is empty"),
            Self::NotAnObject => format!("{file} is not a JSON object"),
            Self::Decode { field, line, column, problem } => {
                let colon = if field.is_empty() { "" } else { ": " };
                let place = if *line == 0 { String::new() } else { format!(":{line}:{column}") };
                format!("{file}{place}: {field}{colon}{problem}")
            }
            Self::Invalid { field, problem } => format!("{field}: {problem}"),
            Self::Unsupported { field, what } => format!("{field}: {what} is not supported"),
        }
    }

    /// Returns what kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { .. } => ErrorKind::Kernel,
            Self::TooLarge { .. }
            | Self::Empty
            | Self::NotAnObject
            | Self::Decode { .. }
            | Self::Invalid { .. } => ErrorKind::InvalidConfig,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
        }
    }

    /// Makes the error of a failed decoding.
    pub(super) fn decode(field: &str, error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let problem = error.to_string();
        // serde_json appends the position, which stands in front here.
        let problem = problem.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&problem);
        Self::Decode { field: shorten(field, 256), line, column, problem: shorten(problem, 256) }
    }

    pub(super) fn invalid(field: impl Into<String>, problem: Problem) -> Self {
        Self::Invalid { field: field.into(), problem }
    }
}

impl Failure for SpecError {
    fn kind(&self) -> ErrorKind {
        self.kind()
    }
}

/// Keeps the head of a text that the config made long.
pub(super) fn shorten(text: &str, limit_bytes: usize) -> String {
    if text.len() <= limit_bytes {
        return text.to_owned();
    }
    let end = (0..=limit_bytes).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &text[..end])
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant's message says what it is")]
pub enum Problem {
    #[error("must be given")]
    Missing,
    #[error("must not be empty")]
    Empty,
    #[error("is there twice, in letters of other case")]
    Twice,
    #[error("must not contain a NUL byte")]
    Nul,
    #[error("must be an absolute path, found {found:?}")]
    NotAbsolute { found: String },
    #[error("must be a version 0.x.y or 1.x.y, found {found:?}")]
    Version { found: String },
    #[error("must be at least {min} and at most {max}, found {found}")]
    Range { min: i64, max: i64, found: i128 },
    #[error("must be at most {max} bytes long, found {found}")]
    TooLong { max: usize, found: usize },
    #[error("must be one of {expected}, found {found:?}")]
    OneOf { expected: &'static str, found: String },
    #[error("must have the form NAME=VALUE, found {found:?}")]
    NotAnAssignment { found: String },
    #[error("has been given before, as {first}")]
    Duplicate { first: String },
    #[error("the soft limit {soft} of {typ} is above the hard limit {hard}")]
    SoftAboveHard { typ: PosixRlimitType, soft: u64, hard: u64 },
    #[error("needs a namespace of type {} in linux.namespaces", namespace_name(*typ))]
    NeedsNamespace { typ: LinuxNamespaceType },
    #[error("the root of the container cannot be the target of a mount, found {found:?}")]
    MountOnRoot { found: String },
    #[error("CAP_{capability} is not in process.capabilities.permitted")]
    NotPermitted { capability: Capability },
    #[error("is not in a separate kernel namespace")]
    NotNamespaced,
    #[error("is not a name of a file below /proc/sys")]
    NotASysctl,
    #[error("conflicts with the field hostname, which sets it")]
    UseHostname,
    #[error("{path:?} is another device already, {first}")]
    OtherDevice { path: String, first: String },
    #[error("SCMP_ACT_NOTIFY cannot be used as default action")]
    NotifyByDefault,
    #[error("SCMP_ACT_NOTIFY cannot be used for the write syscall")]
    NotifyWrite,
    #[error("SCMP_ACT_NOTIFY needs linux.seccomp.listenerPath")]
    NotifyWithoutListener,
    #[error("is of use with linux.seccomp.listenerPath only")]
    MetadataWithoutListener,
    #[error("must be greater than zero, found {found}")]
    NotPositive { found: i64 },
    #[error("must have at most {max} entries, found {found}")]
    TooMany { max: usize, found: usize },
    #[error("must have at most {max} bytes as the kernel gets it, a line for each entry, found {found}")]
    MapTooLong { max: usize, found: usize },
    #[error(
        "must be a list of numbers up to {} and ranges of them, like 0-3,7, found {found:?}",
        super::list::MAX
    )]
    NotAList { found: String },
    #[error("must be a size of pages like 64KB, 2MB, 1GB, found {found:?}")]
    NotAPageSize { found: String },
    #[error("user namespaces enabled, but no namespace path to join nor mappings to apply specified")]
    NoMappings,
    #[error("a user namespace without a mount namespace can mount nothing")]
    UserWithoutMount,
    #[error("user namespace mappings specified, but user namespace isn't enabled in the config")]
    MappingsWithoutNamespace,
    #[error("{size} IDs from {first} on end above {}, the last ID", u32::MAX - 1)]
    BeyondLastId { first: u32, size: u32 },
    #[error("has IDs that {other} has, too")]
    Overlap { other: String },
    #[error("cannot setuid to unmapped uid {uid} in user namespace")]
    UnmappedUid { uid: u32 },
    #[error("cannot setgid to unmapped gid {gid} in user namespace")]
    UnmappedGid { gid: u32 },
    #[error("time namespace offsets specified, but time namespace isn't enabled in the config")]
    OffsetsWithoutNamespace,
    #[error(
        "time namespace enabled, but both namespace path and time offsets specified -- you may only provide one"
    )]
    OffsetsAndPath,
    #[error("must be 1 to 15 bytes without slash, colon and white space, and not . or .., found {found:?}")]
    NotADeviceName { found: String },
    #[error("can only be specified for the policy {policies}")]
    OtherPolicy { policies: &'static str },
    #[error("memory policy mode requires 0 nodes but got {found}")]
    NodesNotWanted { found: usize },
    #[error("memory policy mode requires at least one node but got 0")]
    NodesWanted,
    #[error("id-mapped mounts are only supported for bind-mounts")]
    MappedMountNotBind,
    #[error("id-mapped mounts must have both uid and gid mappings specified")]
    MappedMountIncomplete,
    #[error("must be / or a name without a slash that is not . or .., found {found:?}")]
    NotAClosId { found: String },
}
