//! A process that waits for the bench and clears away after it, however it ends.
//!
//! It makes the mount namespace, which the bench inherits, so that it can find what is left. Containers are
//! found by their cgroups, whose names have the bench's prefix, with any runtime.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use crate::{Result, shell};

/// The option by which the bench knows that it is supervised.
pub(crate) const INSIDE: &str = "--inside";

/// Runs this program again, in a mount namespace with a directory that is in memory only.
pub(crate) fn run(pure_v2: bool) -> Result {
    let directory = tempfile::Builder::new().prefix("corten-bench-").tempdir()?;
    if pure_v2 {
        shell::enter_pure_v2()?
    } else {
        shell::enter_mount_namespace()?
    }
    let none = None::<&str>;
    // States, bundles and root filesystems are in memory, as /run is: no disk is measured.
    mount(Some("corten-bench"), directory.path(), Some("tmpfs"), MsFlags::empty(), none)?;
    let signals =
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD].into_iter().collect::<SigSet>();
    signals.thread_block()?;
    let mut bench = Command::new(std::env::current_exe()?);
    let mut bench = bench.args(std::env::args_os().skip(1)).arg(INSIDE).arg(directory.path()).spawn()?;
    let ended = wait(&mut bench, &signals);
    clear(&prefix(directory.path()));
    // Nobody is left who uses it; the directory below goes with `directory`.
    nix::mount::umount2(directory.path(), nix::mount::MntFlags::MNT_DETACH)?;
    let status = ended?;
    if status.success() { Ok(()) } else { Err(format!("the bench: {status}").into()) }
}

/// In the bench: lets it be interrupted.
pub(crate) fn enter() -> Result {
    Ok(SigSet::all().thread_unblock()?)
}

/// The beginning of the ids of all containers of the bench.
pub(crate) fn prefix(directory: &Path) -> String {
    directory.file_name().unwrap_or_default().to_string_lossy().replace('.', "-")
}

/// Waits for the bench; signals to this process alone are handed on.
fn wait(bench: &mut Child, signals: &SigSet) -> Result<ExitStatus> {
    loop {
        if let Some(status) = bench.try_wait()? {
            return Ok(status);
        }
        if signals.wait()? != Signal::SIGCHLD {
            kill(Pid::from_raw(i32::try_from(bench.id())?), Signal::SIGTERM)?;
            let status = bench.wait()?;
            // Whoever is interrupted has not failed silently.
            return Ok(if status.success() { ExitStatus::from_raw(Signal::SIGTERM as i32) } else { status });
        }
    }
}

/// Kills the containers that are left, and removes their cgroups.
fn clear(prefix: &str) {
    let mut left = Vec::new();
    find(Path::new("/sys/fs/cgroup"), prefix, &mut left);
    if left.is_empty() {
        return;
    }
    left.iter().for_each(|cgroup| println!("clearing away: {}", cgroup.display()));
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        // Those below come before those that they are in.
        left.retain(|cgroup| {
            end(cgroup);
            fs::remove_dir(cgroup).is_err() && cgroup.exists()
        });
        if left.is_empty() || Instant::now() > deadline {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    left.iter().for_each(|cgroup| println!("left: {}", cgroup.display()));
}

/// Kills all processes of a cgroup.
fn end(cgroup: &Path) {
    let killed = fs::OpenOptions::new().write(true).open(cgroup.join("cgroup.kill"));
    if killed.and_then(|mut file| file.write_all(b"1")).is_ok() {
        return;
    }
    let processes = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    for pid in processes.lines().filter_map(|line| line.parse().ok()) {
        // It may have ended by itself.
        kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
    }
}

/// Finds cgroups of containers, the deepest first.
fn find(directory: &Path, prefix: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let path = entry.path();
            find(&path, prefix, found);
            if path.to_string_lossy().contains(prefix) {
                found.push(path);
            }
        }
    }
}
