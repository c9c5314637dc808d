//! What is known of a container.
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The status of a container (runtime-spec "State", plus runc's `paused`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Being made.
    Creating,
    /// Waiting for `start`.
    Created,
    /// The user's process runs.
    Running,
    /// All its processes are frozen.
    Paused,
    /// The process has ended.
    Stopped,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self { Self::Creating => "creating", Self::Created => "created", Self::Running => "running", Self::Paused => "paused", Self::Stopped => "stopped" })
    }
}

/// The state of a container as `state` prints it; the order of the fields is runc's.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Version of the runtime-spec.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// Pid of init in the caller's PID namespace, 0 when stopped.
    pub pid: i32,
    /// Status.
    pub status: Status,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Absolute path of the root filesystem.
    pub rootfs: PathBuf,
    /// When it was created, RFC 3339 with nanoseconds, UTC.
    pub created: String,
    /// Annotations of the config.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Uid of the owner of the state directory (the binary turns it into a name in `list`).
    #[serde(skip)]
    pub owner_uid: u32,
}
