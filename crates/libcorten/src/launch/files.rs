//! Files of a launch: the socket that `start` connects to, the pid file, what procfs has of a process.
//!
//! Stage: host. Attacker: none in procfs and the state directory (0700); the pid file is where the caller
//! wants it.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use nix::unistd::Pid;
use procfs::process::Process;

use crate::state::StateDirectory;
use crate::sys::SysError;

/// Where init waits for `start`: a socket in the state directory, by the directory's fd, as paths of sockets
/// are short.
pub(super) fn listen_for_start(directory: &StateDirectory) -> Result<OwnedFd, SysError> {
    let failed = |call: &'static str| move |errno| SysError::new(errno, || format!("{call}(start.sock)"));
    let listener = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)
        .map_err(failed("socket"))?;
    let path = directory.file_by_fd(crate::state::START_SOCKET);
    let address = UnixAddr::new(&path).map_err(failed("bind"))?;
    bind(listener.as_raw_fd(), &address).map_err(failed("bind"))?;
    listen(&listener, Backlog::new(8).unwrap_or(Backlog::MAXCONN)).map_err(failed("listen"))?;
    Ok(listener)
}

/// The pid of a process in the innermost of its PID namespaces (proc_pid_status(5), `NSpid`).
pub(super) fn pid_inside(pid: i32) -> i32 {
    let status = Process::new(pid).and_then(|process| process.status());
    status.ok().and_then(|status| status.nspid?.last().copied()).unwrap_or(pid)
}

/// Writes a file of a process in procfs, with one write: the kernel takes it whole or not at all.
pub(super) fn write_proc(pid: Pid, file: &str, text: &str) -> Result<(), SysError> {
    let path = format!("/proc/{pid}/{file}");
    let call = || format!("write({path:?}, {text:?})");
    let mut file =
        OpenOptions::new().write(true).open(&path).map_err(|error| SysError::from_io(&error, call))?;
    file.write_all(text.as_bytes()).map_err(|error| SysError::from_io(&error, call))
}

/// Writes the pid to a new file beside `path` and renames it: who waits for the file never sees half of it.
pub(super) fn write_pid_file(path: &Path, pid: i32) -> Result<(), SysError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    // Nobody else's: what a killed runtime has left is in nobody's way.
    let new = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let opened =
        OpenOptions::new().write(true).create_new(true).mode(0o666).custom_flags(libc::O_CLOEXEC).open(&new);
    let mut file =
        opened.map_err(|error| SysError::from_io(&error, || format!("open({new:?}, O_CREAT|O_EXCL)")))?;
    let written = file
        .write_all(pid.to_string().as_bytes())
        .map_err(|error| SysError::from_io(&error, || format!("write({new:?})")))
        .and_then(|()| {
            std::fs::rename(&new, path)
                .map_err(|error| SysError::from_io(&error, || format!("rename({new:?}, {path:?})")))
        });
    if written.is_err() {
        // The error that matters is the first; what is left of the new file is of no use.
        #[expect(clippy::let_underscore_must_use, reason = "nothing more can be done about a leftover file")]
        let _ = std::fs::remove_file(&new);
    }
    written
}
