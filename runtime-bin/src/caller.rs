//! What a service manager has handed to this process through its environment: sockets, and a place to say
//! that it is ready.

use std::path::PathBuf;

use libcorten::{NotifyOutcome, Readiness};

use crate::Failure;

/// The number of sockets that were passed, as fds from 3 on (sd_listen_fds(3)): none if they are meant for
/// another process.
pub(crate) fn listen_fds() -> u32 {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    number("LISTEN_FDS").filter(|_| number("LISTEN_PID") == Some(std::process::id())).unwrap_or(0)
}

/// The service manager's socket (sd_notify(3)).
pub(crate) fn notify_socket() -> Option<PathBuf> {
    std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Waits until the container is ready or has ended, and tells the service manager; returns a warning.
/// `main_pid`: this process, if it stays with the container.
pub(crate) fn forward(readiness: Readiness, main_pid: Option<u32>) -> Result<Option<&'static str>, Failure> {
    let Some(manager) = notify_socket() else { return Ok(None) };
    let told = readiness.forward(&manager, main_pid)?;
    Ok((told == NotifyOutcome::Unheard).then_some("NOTIFY_SOCKET: no answer to the barrier within 30 s"))
}
