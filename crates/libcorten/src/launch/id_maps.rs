//! Id maps of user namespaces (`linux.uidMappings`, `linux.gidMappings`; user_namespaces(7)).
//!
//! Whoever has privileges writes them; others may map one id, their own, and need newuidmap(1) and
//! newgidmap(1) for more.

use std::os::fd::OwnedFd;
use std::process::Command;

use nix::errno::Errno;
use nix::unistd::{Pid, getegid};

use super::files::write_proc;
use super::{hint, open};
use crate::error::{ErrorKind, Failure};
use crate::oci::{LinuxIdMapping, LinuxNamespaceType};
use crate::spec::id_map_line;
use crate::sys::{Call, SysError, UserNamespaceHolder};

/// Why ids could not be mapped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdMapError {
    #[error("{field}")]
    Call {
        field: String,
        #[source]
        source: SysError,
    },
    #[error("{field}: more ids than the caller's own need {tool}, which cannot be run")]
    NoTool {
        field: String,
        tool: &'static str,
        #[source]
        source: SysError,
    },
    #[error("{field}: {tool}: {said}")]
    Tool { field: String, tool: &'static str, said: String },
}

impl IdMapError {
    /// Returns the errno, where a call failed.
    pub(super) fn errno(&self) -> Option<Errno> {
        match self {
            Self::Call { source, .. } | Self::NoTool { source, .. } => Some(source.errno.0),
            Self::Tool { .. } => None,
        }
    }
}

impl Failure for IdMapError {
    fn kind(&self) -> ErrorKind {
        self.errno().map_or(ErrorKind::Kernel, ErrorKind::of_errno)
    }

    fn hint(&self) -> Option<String> {
        hint::of_id_map(self)
    }
}

/// Maps the ids of a process's new user namespace. `fields`: what the maps are called in the config.
pub(super) fn write(
    pid: Pid,
    fields: [&str; 2],
    uids: &[LinuxIdMapping],
    gids: &[LinuxIdMapping],
) -> Result<(), IdMapError> {
    let [of_uids, of_gids] = fields;
    write_one(pid, of_uids, "uid_map", "newuidmap", uids)?;
    // Whoever maps nothing but the own group without privileges gives up setgroups(2) for it. runc's rule.
    if matches!(gids, [only] if only.size() == 1 && only.host_id() == getegid().as_raw()) && !may_set_groups()
    {
        let denied = write_proc(pid, "setgroups", "deny");
        denied.map_err(|source| IdMapError::Call { field: of_gids.to_owned(), source })?;
    }
    write_one(pid, of_gids, "gid_map", "newgidmap", gids)
}

/// Checks that the user namespace of a process has this map, in whatever pieces.
pub(super) fn check(pid: Pid, file: &str, maps: &[LinuxIdMapping]) -> Result<(), SysError> {
    let path = format!("/proc/{pid}/{file}");
    let text =
        std::fs::read_to_string(&path).map_err(|error| SysError::from_io(&error, || Call::read(&path)))?;
    let asked = maps.iter().map(|map| (map.container_id(), map.host_id(), map.size()));
    if joined_up(ranges(&text)) == joined_up(asked) {
        return Ok(());
    }
    let text = || format!("the user namespace that is joined has other mappings ({file}: {:?})", text.trim());
    Err(SysError::new(Errno::EINVAL, text))
}

/// Reads a map as procfs shows it: ranges of ids (inside, outside, how many). Outside is as whoever opens the
/// file sees it.
pub(super) fn ranges(map: &str) -> impl Iterator<Item = (u32, u32, u32)> + '_ {
    map.lines().filter_map(|line| {
        let mut numbers = line.split_ascii_whitespace().map_while(|number| number.parse().ok());
        Some((numbers.next()?, numbers.next()?, numbers.next()?))
    })
}

/// Ranges of ids (inside, outside, how many) in order, with those made one that go on where another ends.
fn joined_up(ranges: impl Iterator<Item = (u32, u32, u32)>) -> Vec<(u32, u32, u32)> {
    let mut sorted: Vec<_> = ranges.collect();
    sorted.sort_unstable();
    sorted.dedup_by(|(inside, outside, size), (first, host, length)| {
        let goes_on =
            first.checked_add(*length) == Some(*inside) && host.checked_add(*length) == Some(*outside);
        if goes_on {
            *length = length.saturating_add(*size);
        }
        goes_on
    });
    sorted
}

/// Makes a user namespace with these maps, which this field asks for.
pub(super) fn namespace(
    field: &str,
    uids: &[LinuxIdMapping],
    gids: &[LinuxIdMapping],
) -> Result<OwnedFd, IdMapError> {
    let failed = |source| IdMapError::Call { field: field.to_owned(), source };
    let holder = UserNamespaceHolder::start().map_err(failed)?;
    write(holder.pid(), [field; 2], uids, gids)?;
    open::namespace_of(holder.pid(), LinuxNamespaceType::User).map_err(failed)
}

fn may_set_groups() -> bool {
    caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_SETGID).unwrap_or(false)
}

fn write_one(
    pid: Pid,
    field: &str,
    file: &str,
    tool: &'static str,
    maps: &[LinuxIdMapping],
) -> Result<(), IdMapError> {
    let text: String = maps.iter().map(id_map_line).collect();
    match write_proc(pid, file, &text) {
        Err(error) if error.errno.0 == Errno::EPERM => map_by_tool(pid, field, tool, maps),
        other => other.map_err(|source| IdMapError::Call { field: field.to_owned(), source }),
    }
}

fn map_by_tool(pid: Pid, field: &str, tool: &'static str, maps: &[LinuxIdMapping]) -> Result<(), IdMapError> {
    let numbers = maps.iter().flat_map(|map| [map.container_id(), map.host_id(), map.size()]);
    let mut command = Command::new(tool);
    command.arg(pid.to_string()).args(numbers.map(|number| number.to_string()));
    let output = command.output().map_err(|error| {
        let source = SysError::from_io(&error, || format!("execve({tool:?})"));
        IdMapError::NoTool { field: field.to_owned(), tool, source }
    })?;
    if output.status.success() {
        return Ok(());
    }
    // It says its name itself.
    let said = String::from_utf8_lossy(&output.stderr);
    let lines = said.trim().lines().map(|line| line.trim_start_matches(tool).trim_start_matches(": "));
    let said = lines.collect::<Vec<_>>().join("; ");
    Err(IdMapError::Tool { field: field.to_owned(), tool, said })
}
