//! Flags of the host's mounts, looked at where options ask for others ([`LockedFlags`]).
//!
//! `statfs(2)` would tell a flag of the filesystem as one of the mount; the mount table tells them apart.
//! Read only when an option asks for another value of a flag that the kernel could lock, for a container in a
//! user namespace.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::plan::LockedFlags;
use crate::resctrl::unescape;
use crate::sys::{self, Call, OpenTree, SysError};

/// Opens a tree, unless it has flags that the options would change. What must be opened once more elsewhere
/// is looked at once more, too.
pub(super) fn tree(source: &Path, how: OpenTree, locked: LockedFlags) -> Result<OwnedFd, SysError> {
    super::open::or_of_slave(|| {
        let link = if how.link_itself { libc::O_NOFOLLOW } else { 0 };
        let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH | link).open(source);
        let file = file.map_err(|error| SysError::from_io(&error, || format!("open({source:?}, O_PATH)")))?;
        // This thread's table: it may be in a mount namespace of its own.
        let info = read(&format!("/proc/thread-self/fdinfo/{}", file.as_raw_fd()))?;
        let table = read("/proc/thread-self/mountinfo")?;
        if let Some(refusal) = refusal(&table, mount_id(&info), &path_of(&file)?, how.recursive, locked) {
            return Err(SysError::new(Errno::EPERM, || format!("{source:?}: {refusal}")));
        }
        sys::clone_opened(&file, source, how)
    })
}

fn read(path: &str) -> Result<Vec<u8>, SysError> {
    std::fs::read(path).map_err(|error| SysError::from_io(&error, || Call::read(path)))
}

/// The mount in a file of `/proc/PID/fdinfo`.
pub(crate) fn mount_id(info: &[u8]) -> Option<u32> {
    let lines = String::from_utf8_lossy(info);
    lines.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

fn path_of(file: &File) -> Result<PathBuf, SysError> {
    let link = format!("/proc/thread-self/fd/{}", file.as_raw_fd());
    std::fs::read_link(&link).map_err(|error| SysError::from_io(&error, || format!("readlink({link:?})")))
}

/// What must be refused of the mount `id`, in which the source is at `path`, and of those below the source.
pub(crate) fn refusal(
    table: &[u8],
    id: Option<u32>,
    path: &Path,
    recursive: bool,
    locked: LockedFlags,
) -> Option<String> {
    // The table lists a mount after the one that it is on.
    let mut found: HashSet<u32> = id.into_iter().collect();
    for line in table.split(|byte| *byte == b'\n') {
        let fields: Vec<&[u8]> = line.splitn(7, |byte| *byte == b' ').collect();
        let &[mount, parent, _, _, point, options, _] = fields.as_slice() else { continue };
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u32>().ok();
        let (Some(mount), Some(parent)) = (number(mount), number(parent)) else { continue };
        let (is_source, point) = (Some(mount) == id, unescape(point));
        let is_below = recursive && found.contains(&parent) && point.starts_with(path);
        if !is_source && !is_below {
            continue;
        }
        found.insert(mount);
        let options = String::from_utf8_lossy(options);
        if let Some(refusal) = locked.refusal(options.split(','), is_source) {
            return Some(if is_source { refusal } else { format!("{refusal} of the mount on {point:?}") });
        }
    }
    None
}
