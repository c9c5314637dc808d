//! A container in the foreground: signals go to init, and with a terminal the caller's terminal is the
//! container's.
//!
//! Stage: host, after the launch. One thread, one poll loop: signals (signalfd), init's end (pidfd), the
//! terminal's two directions. Nothing but poll waits, so that whoever reads the output or does not, signals
//! and the end are seen.

mod buffer;
mod copies;
mod interruption;
mod output;
mod relay;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use self::copies::Copies;
pub(crate) use self::copies::Ends;
pub use self::interruption::Interruption;
use self::relay::{Interest, MasterEvents, Relay};

use super::wait::wait_for;
use super::{Container, ExecProcess, Exit, LifecycleError};
use crate::Result;
use crate::sys::{self, SysError};

/// Signals that mean this process and not the container: its own faults, its children, its pipes.
const OWN: [Signal; 10] = [
    Signal::SIGABRT,
    Signal::SIGBUS,
    Signal::SIGCHLD,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGPIPE,
    Signal::SIGSEGV,
    Signal::SIGSYS,
    Signal::SIGTRAP,
    Signal::SIGURG,
];

/// Makes sure that children of this process can be waited for: a SIGCHLD that is ignored, as whoever started
/// it may have left it, gets the default action again. For programs; a library that is part of one leaves its
/// signals alone, and [`Container::wait`] fails then.
///
/// # Errors
/// None that is known.
pub fn expect_children() -> Result<()> {
    Ok(sys::expect_children()?)
}

/// The signals that are forwarded, held back for [`attach`]. To be made before the container, so that none is
/// lost. Dropping it lets them through again.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    before: SigSet,
    /// SIGCHLD is among them, and children are reaped.
    reaps: bool,
}

impl Signals {
    /// Holds back, in this thread, the signals that are for the container. Init unblocks them for itself.
    ///
    /// # Errors
    /// The kernel has no fd for them.
    pub fn block() -> Result<Self> {
        Self::hold(false)
    }

    /// The same for a process that has no children but the container, and gets the container's orphans
    /// (`PR_SET_CHILD_SUBREAPER`): [`attach`] reaps every child.
    ///
    /// # Errors
    /// As [`Signals::block`].
    pub fn block_and_reap() -> Result<Self> {
        Self::hold(true)
    }

    fn hold(reaps: bool) -> Result<Self> {
        let mut set = SigSet::all();
        for signal in OWN {
            set.remove(signal);
        }
        if reaps {
            set.add(Signal::SIGCHLD);
        }
        let mut before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&set), Some(&mut before))
            .map_err(|errno| SysError::new(errno, || "rt_sigprocmask(SIG_BLOCK)".to_owned()))?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(|errno| SysError::new(errno, || "signalfd4".to_owned()))?;
        Ok(Self { fd, before, reaps })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // What came too late for the container is not for this process either.
        while matches!(self.fd.read_signal(), Ok(Some(_))) {}
        if self.reaps {
            // What `delete` has killed.
            reap(None);
        }
        // With the mask that was there before this cannot fail.
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None).ok();
    }
}

/// Waits for the container's end and returns how it ended. Meanwhile signals are forwarded to init, and with
/// a `console` (the master from [`Container::take_console`]) stdin and stdout are connected to it. It gets
/// the size of their terminal, now unless it has one ([`Console::Foreground`]), and whenever that changes.
///
/// What the container has written and nobody has read when it ends stays in the pipe that is stdout; a reader
/// of another kind that reads nothing for two seconds does not get it.
///
/// [`Console::Foreground`]: crate::Console::Foreground
///
/// # Errors
/// The caller did not make the container, or a call failed; the container may run on.
pub fn attach(container: &Container, console: Option<OwnedFd>, signals: &Signals) -> Result<Exit> {
    let pidfd = container.pidfd().ok_or(LifecycleError::NotRunning)?;
    follow(pidfd, console, Copies::new(take(&container.ends)), false, signals)
}

/// As [`attach`], for a process that [`Container::exec`] made. Where its output is copied, it is waited for
/// to its end: others that it has left in the container may have it, too (as with runc). Any signal ends that
/// wait.
///
/// # Errors
/// A call failed; the process may run on.
pub fn attach_process(process: &ExecProcess, console: Option<OwnedFd>, signals: &Signals) -> Result<Exit> {
    follow(process.pidfd(), console, Copies::new(take(&process.ends)), true, signals)
}

fn take(ends: &Mutex<Ends>) -> Ends {
    let mut ends = ends.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *ends)
}

fn follow(
    pidfd: BorrowedFd<'_>,
    console: Option<OwnedFd>,
    mut copies: Copies,
    to_the_end: bool,
    signals: &Signals,
) -> Result<Exit> {
    let (input, output) = (io::stdin(), io::stdout());
    let mut relay = match console {
        Some(master) => Some(Relay::new(master, input.as_fd(), output.as_fd())?),
        None => None,
    };
    let mut ended = false;
    loop {
        let (interest, wants_write) =
            relay.as_ref().map_or((None, false), |relay| (Some(relay.interest()), relay.has_output()));
        let events = wait(pidfd, signals, relay.as_ref(), interest, (&copies, ended))?;
        ended |= events.ended;
        if events.signal {
            forward(pidfd, signals, relay.as_mut())?;
        }
        if let Some(relay) = &mut relay {
            relay.turn(&events, wants_write)?;
        }
        copies.turn(&events.copies);
        if ended && !(to_the_end && copies.has_writers() && !events.signal) {
            if let Some(relay) = relay {
                relay.finish()?;
            }
            copies.finish();
            return wait_for(pidfd);
        }
    }
}

/// What poll reported.
#[derive(Debug, Default)]
struct Events {
    signal: bool,
    ended: bool,
    input: bool,
    master: MasterEvents,
    output: bool,
    copies: Vec<bool>,
}

fn wait(
    pidfd: BorrowedFd<'_>,
    signals: &Signals,
    relay: Option<&Relay<'_>>,
    interest: Option<Interest>,
    (copies, ended): (&Copies, bool),
) -> Result<Events> {
    // It would be reported again and again.
    let of_the_end = if ended { PollFlags::empty() } else { PollFlags::POLLIN };
    let mut fds = vec![PollFd::new(signals.fd.as_fd(), PollFlags::POLLIN), PollFd::new(pidfd, of_the_end)];
    if let (Some(relay), Some((input, master, output))) = (relay, interest) {
        // An fd without interest is left out: a hangup would be reported over and over.
        let wanted = relay.fds().into_iter().zip([input, master, output]);
        fds.extend(wanted.filter(|(_, flags)| !flags.is_empty()).map(|(fd, flags)| PollFd::new(fd, flags)));
    }
    fds.extend(copies.interest().map(|(fd, flags)| PollFd::new(fd, flags)));
    match poll(&mut fds, relay.map_or(PollTimeout::NONE, Relay::patience)) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(SysError::new(errno, || "poll(console)".to_owned()).into()),
    }
    let mut reported = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
    let mut next = |wanted: bool| {
        if wanted { reported.next().unwrap_or(PollFlags::empty()) } else { PollFlags::empty() }
    };
    let (signal, ended) = (next(true), next(true));
    let (input, master, output) =
        interest.unwrap_or((PollFlags::empty(), PollFlags::empty(), PollFlags::empty()));
    let (input, master, output) =
        (next(!input.is_empty()), next(!master.is_empty()), next(!output.is_empty()));
    let ready = PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR;
    Ok(Events {
        signal: !signal.is_empty(),
        ended: !ended.is_empty(),
        input: input.intersects(ready),
        master: MasterEvents {
            readable: master.intersects(ready),
            writable: master.contains(PollFlags::POLLOUT),
        },
        output: output.intersects(PollFlags::POLLOUT | PollFlags::POLLERR | PollFlags::POLLHUP),
        copies: reported.map(|flags| !flags.is_empty()).collect(),
    })
}

fn forward(pidfd: BorrowedFd<'_>, signals: &Signals, mut relay: Option<&mut Relay<'_>>) -> Result<()> {
    loop {
        let signal = match signals.fd.read_signal() {
            Ok(Some(info)) => info.ssi_signo.cast_signed(),
            Ok(None) | Err(Errno::EAGAIN) => return Ok(()),
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(SysError::new(errno, || "read(signalfd)".to_owned()).into()),
        };
        if signal == libc::SIGWINCH {
            // It is about the caller's terminal. A container without one would take it for something else:
            // Apache stops.
            if let Some(relay) = &relay {
                relay.resize();
            }
            continue;
        }
        if let (Some(relay), libc::SIGCONT) = (&mut relay, signal) {
            relay.resume()?;
        }
        if signal == libc::SIGCHLD && signals.reaps {
            reap(Some(pidfd));
            continue;
        }
        match sys::send_signal(pidfd, signal) {
            Err(error) if error.errno.0 != Errno::ESRCH => return Err(error.into()),
            // It has ended: the loop is about to see that.
            _ => {}
        }
    }
}

/// Reaps all children that have ended but the one that is waited for.
fn reap(own: Option<BorrowedFd<'_>>) {
    let (ended, looking) = (WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG, WaitPidFlag::WNOWAIT);
    // What cannot be seen now may be the one: its end would be lost.
    let may_be_own = |pid| {
        own.is_some_and(|own| {
            waitid_again(|| Id::PIDFd(own), ended | looking).map_or(true, |own| own.pid() == Some(pid))
        })
    };
    // No children, or none that has ended: there is nothing to do.
    while let Ok(status) = waitid_again(|| Id::All, ended | looking)
        && let Some(pid) = status.pid().filter(|pid| !may_be_own(*pid))
    {
        if waitid_again(|| Id::Pid(pid), ended).is_err() {
            return;
        }
    }
}

/// waitid(2), again when a signal has come between.
fn waitid_again<'fd>(id: impl Fn() -> Id<'fd>, flags: WaitPidFlag) -> nix::Result<WaitStatus> {
    loop {
        match waitid(id(), flags) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}
