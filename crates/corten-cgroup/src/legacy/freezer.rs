//! The freezer of v1: `freezer.state`, which says FREEZING until every process has stopped.
//!
//! Kernel: Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst. There is no event when a cgroup is
//! frozen, and processes that keep appearing can keep it FREEZING for good; letting them go on for a moment
//! helps (runc's experience).

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::error::{Error, Repr, failed};
use crate::tree::{for_each_below, read_file, write_file};

/// How often the state is read while it is FREEZING.
const PAUSE: Duration = Duration::from_micros(200);
/// How long it may be FREEZING until the first thaw; each time twice as long, so that a slow machine gets
/// there.
const FIRST_ATTEMPT: Duration = Duration::from_millis(20);
/// How long processes go on in between.
const REST: Duration = Duration::from_millis(5);
/// How long a state that is about to change is waited for.
const STABLE: Duration = Duration::from_millis(50);

/// Freezes a cgroup and all below. When that fails, it is thawed.
pub(super) fn freeze(directory: BorrowedFd<'_>, path: &Path, deadline: Duration) -> Result<(), Error> {
    let end = Instant::now() + deadline;
    let mut attempt = FIRST_ATTEMPT;
    loop {
        let frozen = freeze_until(directory, path, end.min(Instant::now() + attempt));
        if matches!(frozen, Ok(true)) {
            return Ok(());
        }
        // A cgroup that was left FREEZING would hold some of its processes for ever.
        let thawed = thaw(directory, path);
        frozen?;
        thawed?;
        if Instant::now() >= end {
            return Err(Repr::NotFrozen { path: path.to_owned(), seconds: deadline.as_secs() }.into());
        }
        sleep(REST);
        attempt *= 2;
    }
}

fn freeze_until(directory: BorrowedFd<'_>, path: &Path, end: Instant) -> Result<bool, Error> {
    loop {
        write(directory, path, "FROZEN")?;
        match state(directory, path)? {
            State::Frozen => return Ok(true),
            // It is thawed by somebody else, or not yet frozen.
            State::Thawed | State::Freezing => {}
        }
        if Instant::now() >= end {
            return Ok(false);
        }
        sleep(PAUSE);
    }
}

/// Thaws a cgroup; those below that froze themselves stay frozen.
pub(super) fn thaw(directory: BorrowedFd<'_>, path: &Path) -> Result<(), Error> {
    write(directory, path, "THAWED")
}

/// Thaws a cgroup and all below, so that signals arrive.
pub(super) fn thaw_all(directory: BorrowedFd<'_>, path: &Path) -> Result<(), Error> {
    for_each_below(directory, &mut |below| match write_file(below, "freezer.state", "THAWED") {
        // Removed meanwhile.
        Ok(()) | Err(Errno::ENODEV | Errno::ENOENT) => Ok(()),
        Err(errno) => Err(failed(errno, || format!("write(below {path:?}, freezer.state, THAWED)"))),
    })
}

/// Whether a cgroup is frozen by its own state. One that only a cgroup above holds is not: thawing it would
/// change nothing.
pub(super) fn frozen(directory: BorrowedFd<'_>, path: &Path) -> Result<bool, Error> {
    let end = Instant::now() + STABLE;
    loop {
        match state(directory, path)? {
            State::Thawed => return Ok(false),
            State::Frozen => break,
            State::Freezing if Instant::now() >= end => break,
            State::Freezing => sleep(PAUSE),
        }
    }
    match read_file(directory, "freezer.self_freezing") {
        Ok(text) => Ok(text.trim() == "1"),
        Err(Errno::ENODEV | Errno::ENOENT) => Ok(false),
        Err(errno) => Err(failed(errno, || format!("read({path:?}/freezer.self_freezing)"))),
    }
}

/// Whether a process that comes into a cgroup would not run: it is frozen, or one above is.
pub(super) fn stopped(directory: BorrowedFd<'_>, path: &Path) -> Result<bool, Error> {
    Ok(!matches!(state(directory, path)?, State::Thawed))
}

enum State {
    Thawed,
    Freezing,
    Frozen,
}

fn state(directory: BorrowedFd<'_>, path: &Path) -> Result<State, Error> {
    let text = match read_file(directory, "freezer.state") {
        Ok(text) => text,
        // Removed since it was opened.
        Err(Errno::ENODEV | Errno::ENOENT) => return Ok(State::Thawed),
        Err(errno) => return Err(failed(errno, || format!("read({path:?}/freezer.state)"))),
    };
    match text.trim() {
        "THAWED" => Ok(State::Thawed),
        "FREEZING" => Ok(State::Freezing),
        "FROZEN" => Ok(State::Frozen),
        _ => Err(Repr::Content { what: "the state", path: path.join("freezer.state"), text }.into()),
    }
}

fn write(directory: BorrowedFd<'_>, path: &Path, state: &str) -> Result<(), Error> {
    write_file(directory, "freezer.state", state)
        .map_err(|errno| failed(errno, || format!("write({path:?}/freezer.state, {state})")))
}
