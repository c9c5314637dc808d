//! A container in the foreground: signals go to init, and with a terminal the caller's terminal is the container's.
//!
//! Stage: host, after the launch. One thread, one poll loop: signals (signalfd), init's end (pidfd), the terminal's two
//! directions. The caller's terminal is raw meanwhile and is restored on every way out.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{isatty, read};

use super::wait::wait_for;
use super::{Container, ExecProcess, Exit, LifecycleError};
use crate::Result;
use crate::sys::{self, SysError, term};

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

/// Makes sure that children of this process can be waited for: a SIGCHLD that is ignored, as whoever started it may have left it, gets
/// the default action again. For programs; a library that is part of one leaves its signals alone, and [`Container::wait`] fails then.
///
/// # Errors
/// None that is known.
pub fn expect_children() -> Result<()> {
    Ok(sys::expect_children()?)
}

/// The signals that are forwarded, held back for [`attach`]. To be made before the container, so that none is lost. Dropping
/// it lets them through again.
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

/// Waits for the container's end and returns how it ended. Meanwhile signals are forwarded to init, and with a `console` (the
/// master from [`Container::take_console`]) stdin and stdout are connected to it.
///
/// # Errors
/// The caller did not make the container, or a call failed; the container may run on.
pub fn attach(container: &Container, console: Option<OwnedFd>, signals: &Signals) -> Result<Exit> {
    follow(container.pidfd().ok_or(LifecycleError::NotRunning)?, console, signals)
}

/// As [`attach`], for a process that [`Container::exec`] made.
///
/// # Errors
/// A call failed; the process may run on.
pub fn attach_process(process: &ExecProcess, console: Option<OwnedFd>, signals: &Signals) -> Result<Exit> {
    follow(process.pidfd(), console, signals)
}

fn follow(pidfd: BorrowedFd<'_>, console: Option<OwnedFd>, signals: &Signals) -> Result<Exit> {
    let (input, output) = (io::stdin(), io::stdout());
    let mut relay = match console {
        Some(master) => Some(Relay::new(master, input.as_fd(), output.as_fd())?),
        None => None,
    };
    loop {
        let (interest, wants_write) =
            relay.as_ref().map_or((None, false), |relay| (Some(relay.interest()), relay.has_output()));
        let events = wait(pidfd, signals, relay.as_ref(), interest)?;
        if events.signal {
            forward(pidfd, signals, relay.as_ref())?;
        }
        if let Some(relay) = &mut relay {
            relay.turn(&events, wants_write)?;
        }
        if events.ended {
            if let Some(relay) = &mut relay {
                relay.drain()?;
            }
            return wait_for(pidfd);
        }
    }
}

/// What poll reported.
#[derive(Debug, Default, Clone, Copy)]
struct Events {
    signal: bool,
    ended: bool,
    input: bool,
    master: MasterEvents,
    output: bool,
}

/// Readable and writable, of the master.
#[derive(Debug, Default, Clone, Copy)]
struct MasterEvents {
    readable: bool,
    writable: bool,
}

/// What a relay waits for: input, master, output.
type Interest = (PollFlags, PollFlags, PollFlags);

fn wait(
    pidfd: BorrowedFd<'_>,
    signals: &Signals,
    relay: Option<&Relay<'_>>,
    interest: Option<Interest>,
) -> Result<Events> {
    let mut fds = vec![PollFd::new(signals.fd.as_fd(), PollFlags::POLLIN), PollFd::new(pidfd, PollFlags::POLLIN)];
    if let (Some(relay), Some((input, master, output))) = (relay, interest) {
        // An fd without interest is left out: a hangup would be reported over and over.
        let wanted = [(relay.input, input), (relay.master.as_fd(), master), (relay.output, output)];
        fds.extend(wanted.iter().filter(|(_, flags)| !flags.is_empty()).map(|(fd, flags)| PollFd::new(*fd, *flags)));
    }
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(SysError::new(errno, || "poll(console)".to_owned()).into()),
    }
    let mut reported = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
    let mut next =
        |wanted: bool| if wanted { reported.next().unwrap_or(PollFlags::empty()) } else { PollFlags::empty() };
    let (signal, ended) = (next(true), next(true));
    let (input, master, output) = interest.unwrap_or((PollFlags::empty(), PollFlags::empty(), PollFlags::empty()));
    let (input, master, output) = (next(!input.is_empty()), next(!master.is_empty()), next(!output.is_empty()));
    let ready = PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR;
    Ok(Events {
        signal: !signal.is_empty(),
        ended: !ended.is_empty(),
        input: input.intersects(ready),
        master: MasterEvents { readable: master.intersects(ready), writable: master.contains(PollFlags::POLLOUT) },
        output: output.intersects(PollFlags::POLLOUT | PollFlags::POLLERR | PollFlags::POLLHUP),
    })
}

fn forward(pidfd: BorrowedFd<'_>, signals: &Signals, relay: Option<&Relay<'_>>) -> Result<()> {
    loop {
        let signal = match signals.fd.read_signal() {
            Ok(Some(info)) => info.ssi_signo.cast_signed(),
            Ok(None) | Err(Errno::EAGAIN) => return Ok(()),
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(SysError::new(errno, || "read(signalfd)".to_owned()).into()),
        };
        if let (Some(relay), libc::SIGWINCH) = (relay, signal) {
            relay.resize();
            continue;
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
    let is_own =
        |pid| own.is_some_and(|own| waitid(Id::PIDFd(own), ended | looking).is_ok_and(|own| own.pid() == Some(pid)));
    // No children, or none that has ended: there is nothing to do.
    while let Ok(status) = waitid(Id::All, ended | looking)
        && let Some(pid) = status.pid().filter(|pid| !is_own(*pid))
    {
        if waitid(Id::Pid(pid), ended).is_err() {
            return;
        }
    }
}

/// The caller's terminal in raw mode, until it is dropped.
#[derive(Debug)]
struct RawMode<'f> {
    terminal: BorrowedFd<'f>,
    before: Termios,
}

impl<'f> RawMode<'f> {
    /// Makes the terminal raw; `None` if it is no terminal.
    fn enter(terminal: BorrowedFd<'f>) -> Result<Option<Self>, SysError> {
        if !isatty(terminal).unwrap_or(false) {
            return Ok(None);
        }
        let before = tcgetattr(terminal).map_err(|errno| SysError::new(errno, || "tcgetattr(stdin)".to_owned()))?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(terminal, SetArg::TCSANOW, &raw)
            .map_err(|errno| SysError::new(errno, || "tcsetattr(stdin)".to_owned()))?;
        Ok(Some(Self { terminal, before }))
    }
}

impl Drop for RawMode<'_> {
    fn drop(&mut self) {
        // The terminal may have been hung up; then there is nothing to restore.
        tcsetattr(self.terminal, SetArg::TCSANOW, &self.before).ok();
    }
}

/// Bytes on their way.
#[derive(Debug)]
struct Buffer {
    bytes: [u8; 4096],
    start: usize,
    end: usize,
}

impl Buffer {
    const fn new() -> Self {
        Self { bytes: [0; 4096], start: 0, end: 0 }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn pending(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Fills an empty buffer; `false` at the end of the stream.
    fn fill(&mut self, from: BorrowedFd<'_>) -> bool {
        match read(from, &mut self.bytes) {
            Ok(0) => false,
            Ok(length) => {
                (self.start, self.end) = (0, length);
                true
            }
            Err(Errno::EAGAIN | Errno::EINTR) => true,
            // EIO: every process has closed the terminal.
            Err(_) => false,
        }
    }

    /// Writes as much as goes; `false` when the other side is gone.
    fn flush(&mut self, to: BorrowedFd<'_>) -> bool {
        match nix::unistd::write(to, self.pending()) {
            Ok(length) => {
                self.start += length;
                true
            }
            Err(Errno::EAGAIN | Errno::EINTR) => true,
            Err(_) => false,
        }
    }
}

/// Connects the caller's terminal with the container's.
#[derive(Debug)]
struct Relay<'f> {
    master: OwnedFd,
    input: BorrowedFd<'f>,
    output: BorrowedFd<'f>,
    to_container: Buffer,
    from_container: Buffer,
    input_open: bool,
    master_open: bool,
    output_open: bool,
    _raw: Option<RawMode<'f>>,
}

impl<'f> Relay<'f> {
    fn new(master: OwnedFd, input: BorrowedFd<'f>, output: BorrowedFd<'f>) -> Result<Self> {
        // The master is ours alone, so its flags are, too; those of stdin and stdout belong to others.
        fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .map_err(|errno| SysError::new(errno, || "fcntl(F_SETFL, O_NONBLOCK)".to_owned()))?;
        let relay = Self {
            master,
            input,
            output,
            to_container: Buffer::new(),
            from_container: Buffer::new(),
            input_open: true,
            master_open: true,
            output_open: true,
            _raw: RawMode::enter(input)?,
        };
        relay.resize();
        Ok(relay)
    }

    /// Gives the container's terminal the size of the caller's, if there is one.
    fn resize(&self) {
        let size = term::window_size(self.input).or_else(|_| term::window_size(self.output));
        if let Ok(size) = size {
            // A terminal that is gone has no size; the loop sees its end.
            term::set_window_size(&self.master, &size).ok();
        }
    }

    fn has_output(&self) -> bool {
        !self.from_container.is_empty()
    }

    fn interest(&self) -> Interest {
        let when = |condition: bool, flags: PollFlags| if condition { flags } else { PollFlags::empty() };
        (
            when(self.input_open && self.to_container.is_empty(), PollFlags::POLLIN),
            when(self.master_open && self.from_container.is_empty(), PollFlags::POLLIN)
                | when(self.master_open && !self.to_container.is_empty(), PollFlags::POLLOUT),
            when(self.output_open && !self.from_container.is_empty(), PollFlags::POLLOUT),
        )
    }

    /// Moves what can be moved without waiting.
    fn turn(&mut self, events: &Events, wants_write: bool) -> Result<()> {
        if events.input && self.to_container.is_empty() {
            self.input_open = self.to_container.fill(self.input);
        }
        if events.master.readable && self.from_container.is_empty() {
            self.master_open = self.from_container.fill(self.master.as_fd());
        }
        if events.master.writable && !self.to_container.is_empty() && !self.to_container.flush(self.master.as_fd()) {
            self.master_open = false;
        }
        if events.output && wants_write && !self.from_container.flush(self.output) {
            // Nobody reads: what the container writes goes nowhere, but it must not block on it.
            self.output_open = false;
        }
        if !self.output_open {
            self.from_container = Buffer::new();
        }
        Ok(())
    }

    /// Writes out all that the container has written before its end.
    fn drain(&mut self) -> Result<()> {
        let mut output = io::stdout();
        while self.output_open {
            if self.from_container.is_empty() {
                self.master_open = self.master_open && self.from_container.fill(self.master.as_fd());
            }
            // Empty after filling: nothing more is there (EAGAIN), or the end.
            if self.from_container.is_empty() {
                break;
            }
            self.output_open = output.write_all(self.from_container.pending()).and_then(|()| output.flush()).is_ok();
            self.from_container = Buffer::new();
        }
        Ok(())
    }
}
