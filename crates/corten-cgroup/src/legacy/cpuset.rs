//! `cpuset.cpus` and `cpuset.mems`: a new v1 cgroup has none, and no process may enter before it has.

use std::os::fd::BorrowedFd;
use std::path::Path;

use crate::error::{Error, failed};
use crate::tree::{read_file, write_file};

/// Copies both from the cgroup above where they are empty.
pub(super) fn fill(directory: BorrowedFd<'_>, above: BorrowedFd<'_>, path: &Path) -> Result<(), Error> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let read = |directory| {
            read_file(directory, file).map_err(|errno| failed(errno, || format!("read({path:?}, {file})")))
        };
        if !read(directory)?.trim().is_empty() {
            continue;
        }
        let value = read(above)?;
        let value = value.trim();
        write_file(directory, file, value)
            .map_err(|errno| failed(errno, || format!("write({path:?}/{file}, {value})")))?;
    }
    Ok(())
}
