//! What is known of a container: its state directory and the state that `state` shows.
//!
//! `<root>/<id>/` (mode 0700) holds `state.json`, written to a new file that changes places with it, so that
//! the state before it stays beside it (`state.json.new`); `config.json` as it was when the container was
//! made; `start.sock` while the container waits for `start`; `hook` with the process of the last hook; and
//! `notify/notify.sock`, where a container with a `NOTIFY_SOCKET` says that it is ready. The directory is
//! locked (`flock`) by whoever changes the container. Alive means: the pid's start time is the one that was
//! written down.
//! Spec: runtime.md#state. Attacker: none; the state root belongs to the caller alone.

mod directory;
mod time;
mod tree;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::resctrl::GroupRecord;
use crate::sys::{Call, SysError};
#[cfg(fuzzing)]
pub(crate) use directory::record_of;
pub(crate) use directory::{
    NOTIFY_DIRECTORY, NOTIFY_SOCKET, START_SOCKET, StateDirectory, StateError, ids, read_whole,
};
pub use time::rfc3339;

/// The status of a container (runtime.md#state, plus runc's `paused`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is being made.
    Creating,
    /// It waits for `start`.
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
        f.pad(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// The state of a container as `state` prints it; the order of the fields is runc's.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Version of the runtime-spec that the state follows.
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
    /// Uid of the owner of the state directory.
    #[serde(skip)]
    pub owner_uid: u32,
}

/// What is written down about a container.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// The form of the record; 0 for what was written before there were several.
    #[serde(default)]
    pub(crate) version: u32,
    pub(crate) oci_version: String,
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    /// The file of the config, if it is not the bundle's config.json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) config: Option<PathBuf>,
    pub(crate) rootfs: PathBuf,
    pub(crate) created: String,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
    /// Where the cgroups are; empty if there are none. Written before they are made.
    pub(crate) cgroups: corten_cgroup::Location,
    /// `linux.resources`, as changed by `update`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resources: Option<crate::oci::LinuxResources>,
    /// The container has the session keyring of whoever made it, and not one of its own.
    #[serde(default)]
    pub(crate) no_new_keyring: bool,
    /// Still being made: what is named here may or may not exist.
    pub(crate) creating: bool,
    /// The cgroups were made for this container: whoever is in them is its.
    #[serde(default)]
    pub(crate) owns_cgroups: bool,
    /// Pid of init; 0 before there is one.
    pub(crate) pid: i32,
    /// Start time of init, in clock ticks since boot (proc_pid_stat(5)).
    pub(crate) start_time: u64,
    /// The hooks of the config at the time of `create`: `start` and `delete` run some of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hooks: Option<crate::oci::Hooks>,
    /// What stdin, stdout and stderr were when the container was made, as links in procfs show them:
    /// `checkpoint` writes them down.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) descriptors: Vec<String>,
    /// What was made of the resctrl filesystem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resctrl: Option<GroupRecord>,
}

/// The state as hooks and agents get it (runtime.md#state).
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HookState<'a> {
    oci_version: &'a str,
    id: &'a str,
    status: Status,
    #[serde(skip_serializing_if = "is_zero")]
    pid: i32,
    bundle: &'a std::path::Path,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(pid: &i32) -> bool {
    *pid == 0
}

impl<'a> HookState<'a> {
    fn new(record: &'a Record, status: Status, pid: i32) -> Self {
        let Record { oci_version, id, bundle, annotations, .. } = record;
        Self { oci_version, id, status, pid, bundle, annotations }
    }

    /// Returns the state as JSON. `pid`: as whoever reads it sees it.
    pub(crate) fn json(record: &Record, status: Status, pid: i32) -> Vec<u8> {
        // Strings and numbers only: nothing to fail.
        serde_json::to_vec(&HookState::new(record, status, pid)).unwrap_or_default()
    }
}

/// What a seccomp agent gets with the listener (config-linux.md#containerprocessstate).
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProcessState<'a> {
    oci_version: &'a str,
    fds: [&'static str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a str>,
    state: HookState<'a>,
}

impl ProcessState<'_> {
    /// Returns it as JSON. `pid`: that of the process, which may be one that `joins` the container.
    pub(crate) fn json(record: &Record, pid: i32, joins: bool, metadata: Option<&str>) -> Vec<u8> {
        let status = if joins { Status::Running } else { Status::Creating };
        let state = ProcessState {
            oci_version: &record.oci_version,
            fds: ["seccompFd"],
            pid,
            metadata,
            state: HookState::new(record, status, record.pid),
        };
        // Strings and numbers only: nothing to fail.
        serde_json::to_vec(&state).unwrap_or_default()
    }
}

/// What init calls itself until it executes the program, and what follows in procfs.
const INIT_NAME: &[u8] = b"corten-init) ";

/// What has become of a container's init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// It makes the container, or waits.
    Init,
    /// It is the program by now.
    Program,
    /// It is no more, or but a zombie.
    Ended,
}

impl Record {
    /// The form that is written.
    pub(crate) const VERSION: u32 = 1;

    /// Whether whoever is in the cgroups is the container's.
    pub(crate) fn owns_cgroups(&self) -> bool {
        // The first form had a pid when it was so.
        self.owns_cgroups || self.version == 0 && self.pid != 0
    }

    /// Whether init is alive: the same process, and not a zombie.
    ///
    /// # Errors
    /// That cannot be seen now. It is no sign of death.
    pub(crate) fn is_alive(&self) -> Result<bool, SysError> {
        Ok(self.life()? != Life::Ended)
    }

    /// What has become of init.
    ///
    /// # Errors
    /// As [`Record::is_alive`].
    pub(crate) fn life(&self) -> Result<Life, SysError> {
        let seen = if self.pid > 0 { look_at(self.pid)? } else { None };
        Ok(match seen {
            Some((time, is_init)) if time == self.start_time => {
                if is_init {
                    Life::Init
                } else {
                    Life::Program
                }
            }
            _ => Life::Ended,
        })
    }
}

/// Returns the start time of a process that is no zombie, in clock ticks since boot; `None` if there is none.
///
/// # Errors
/// That cannot be seen now: no fd is left, or there is no procfs of this PID namespace at `/proc`.
pub(crate) fn start_time(pid: i32) -> Result<Option<u64>, SysError> {
    Ok(look_at(pid)?.map(|(time, _)| time))
}

/// Whether a process is stopped, by a signal or a tracer.
pub(crate) fn is_stopped(pid: i32) -> Result<bool, SysError> {
    let path = format!("/proc/{pid}/stat");
    let line = File::open(&path).and_then(directory::read_whole);
    let line = line.map_err(|error| SysError::from_io(&error, || Call::read(&path)))?;
    // The state comes after the name, which ends with the last parenthesis.
    let name_ends = line.iter().rposition(|byte| *byte == b')').unwrap_or(0);
    Ok(matches!(line.get(name_ends + 2), Some(b'T' | b't')))
}

/// Returns the start time, and whether the process still has init's name.
fn look_at(pid: i32) -> Result<Option<(u64, bool)>, SysError> {
    let path = format!("/proc/{pid}/stat");
    let failed = |error: &std::io::Error| SysError::from_io(error, || Call::read(&path));
    let is_gone = |error: &std::io::Error| matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH));
    let line = match File::open(&path).and_then(directory::read_whole) {
        Ok(line) => line,
        // Not there; in a procfs where this process is.
        Err(error) if is_gone(&error) => {
            return std::fs::symlink_metadata("/proc/self/stat")
                .map(|_| None)
                .map_err(|error| failed(&error));
        }
        Err(error) => return Err(failed(&error)),
    };
    let time = start_time_in(&line).map_err(|()| SysError::new(Errno::EPROTO, || Call::read(&path)))?;
    // The name is in the first parentheses.
    let is_init = line.splitn(2, |byte| *byte == b'(').nth(1).is_some_and(|rest| rest.starts_with(INIT_NAME));
    Ok(time.map(|time| (time, is_init)))
}

/// Of all fields of the line three are wanted, by every command and of every container (proc_pid_stat(5), 3,
/// 20 and 22). The name, which is the process's own choice, ends with the last parenthesis. A process whose
/// first thread has ended before the others lives on.
pub(crate) fn start_time_in(stat: &[u8]) -> Result<Option<u64>, ()> {
    let name_ends = stat.iter().rposition(|byte| *byte == b')').ok_or(())?;
    let rest = stat.get(name_ends + 1..).and_then(|rest| str::from_utf8(rest).ok()).ok_or(())?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next().ok_or(())?;
    let threads: u64 = fields.nth(16).and_then(|threads| threads.parse().ok()).ok_or(())?;
    let time = fields.nth(1).and_then(|time| time.parse().ok()).ok_or(())?;
    Ok((!matches!(state, "Z" | "X") || threads > 1).then_some(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let line = |name: &str, state: &str| {
            format!("42 ({name}) {state} 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 7777 9 10\n")
        };
        for name in ["sh", "a b", ") S 1 (", "((", "\u{fffd}"] {
            assert_eq!(start_time_in(line(name, "S").as_bytes()), Ok(Some(7777)), "{name}");
            assert_eq!(start_time_in(line(name, "Z").as_bytes()), Ok(None), "{name}");
        }
        // Other threads than the first are still there.
        let line = line("java", "Z").replace(" 20 0 1 0 ", " 20 0 2 0 ");
        assert_eq!(start_time_in(line.as_bytes()), Ok(Some(7777)));
        // Not what a kernel writes: no sign of death.
        assert_eq!(start_time_in(b""), Err(()));
        assert_eq!(start_time_in(b"42 (sh) S 1 42"), Err(()));
        let own = i32::try_from(std::process::id()).unwrap();
        let by_procfs = procfs::process::Process::new(own).unwrap().stat().unwrap().starttime;
        assert_eq!(start_time(own).unwrap(), Some(by_procfs));
        assert_eq!(start_time(i32::MAX).unwrap(), None);
    }
}
