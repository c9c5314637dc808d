//! Runs a command with ptrace(2): writes down which calls it and its threads and children make, or lets one
//! of them fail.
//!
//! A call is known by who makes it, its number, and how often that one has made it before: what other threads
//! do meanwhile changes nothing then. Once it has failed, all go on untraced, or nearly so.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Event, Options as Trace};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::{Result, shell};

/// How long a command may take, with one that waits for somebody else's lock.
const DEADLINE: Duration = Duration::from_secs(20);

/// What the links of init's executable begin with.
const INIT: &[u8] = b"/memfd:corten";

/// A call: the one that is to fail.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The process or thread: `0` is the command, `0.1` the first that it clones.
    pub(super) who: String,
    pub(super) number: i64,
    /// How often it has made the call before.
    pub(super) nth: usize,
}

/// How a command has ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// The calls in their order, if nothing was to fail.
    pub(super) calls: Vec<Place>,
    /// The call was made.
    pub(super) failed: bool,
    /// The status as a shell has it; `None` after the deadline.
    pub(super) status: Option<i32>,
}

/// What is to fail.
pub(super) type Fault<'a> = Option<(&'a Place, Errno)>;

#[derive(Debug)]
struct Task {
    who: String,
    children: usize,
    made: BTreeMap<i64, usize>,
    /// What the call that it is in is to return.
    result: Option<u64>,
    /// What brk(2) returned last.
    program_break: u64,
}

/// A command that is traced.
#[derive(Debug)]
struct Tracer<'a> {
    fault: Fault<'a>,
    first: Pid,
    has_begun: bool,
    tasks: BTreeMap<Pid, Task>,
    /// Stopped before their parent has told of them.
    early: BTreeSet<Pid>,
    ended: Ended,
}

/// Runs a program; what it writes goes into the two files.
pub(super) fn run(words: &[String], fault: Fault<'_>, out: &Path, err: &Path) -> Result<Ended> {
    let (out, err) = (File::create(out)?.into(), File::create(err)?.into());
    let first = shell::trace(words, out, err, Trace::PTRACE_O_TRACESYSGOOD)?;
    let watch = Watch::over(first);
    let ended = Ended { calls: Vec::new(), failed: false, status: None };
    let tasks = BTreeMap::from([(first, Task::new("0".to_owned()))]);
    let mut tracer = Tracer { fault, first, has_begun: false, tasks, early: BTreeSet::new(), ended };
    tracer.ended.status = Some(tracer.follow()?);
    tracer.let_go();
    if watch.was_late() {
        tracer.ended.status = None;
    }
    Ok(tracer.ended)
}

impl Task {
    fn new(who: String) -> Self {
        Self { who, children: 0, made: BTreeMap::new(), result: None, program_break: 0 }
    }
}

impl Tracer<'_> {
    /// Until the command ends; returns its status.
    fn follow(&mut self) -> Result<i32> {
        loop {
            match waitpid(None, Some(WaitPidFlag::__WALL))? {
                WaitStatus::Exited(pid, status) if pid == self.first => return Ok(status),
                WaitStatus::Signaled(pid, signal, _) if pid == self.first => return Ok(128 + signal as i32),
                WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) => {
                    self.tasks.remove(&pid);
                }
                WaitStatus::PtraceSyscall(pid) => {
                    // It may have been killed meanwhile.
                    let looked = self.look(pid);
                    self.resume(pid, None);
                    looked.or_else(gone)?;
                }
                WaitStatus::PtraceEvent(pid, signal, event) => self.event(pid, signal, event)?,
                WaitStatus::Stopped(pid, signal) => self.resume(pid, Some(signal)),
                _ => {}
            }
        }
    }

    fn event(&mut self, pid: Pid, signal: Signal, event: i32) -> Result {
        let is = |kind: Event| event == kind as i32;
        if is(Event::PTRACE_EVENT_EXEC) {
            self.has_begun |= pid == self.first;
            let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            if pid != self.first && !program.as_os_str().as_bytes().starts_with(INIT) {
                // The container's own.
                self.tasks.remove(&pid);
                ptrace::detach(pid, None).or_else(gone)?;
                return Ok(());
            }
        } else if is(Event::PTRACE_EVENT_CLONE)
            || is(Event::PTRACE_EVENT_FORK)
            || is(Event::PTRACE_EVENT_VFORK)
        {
            let Ok(child) = ptrace::getevent(pid) else { return Ok(()) };
            let child = Pid::from_raw(i32::try_from(child)?);
            if let Some(parent) = self.tasks.get_mut(&pid) {
                parent.children += 1;
                let who = format!("{}.{}", parent.who, parent.children);
                self.tasks.insert(child, Task::new(who));
                if self.early.remove(&child) {
                    self.resume(child, None);
                }
            }
        } else if is(Event::PTRACE_EVENT_STOP) && !self.tasks.contains_key(&pid) {
            self.early.insert(pid);
            return Ok(());
        }
        let stopped = is(Event::PTRACE_EVENT_STOP) || signal == Signal::SIGTRAP;
        self.resume(pid, (!stopped).then_some(signal));
        Ok(())
    }

    /// Lets it run on to its next call, if that matters.
    fn resume(&mut self, pid: Pid, signal: Option<Signal>) {
        let who = self.tasks.get(&pid).map_or("", |task| task.who.as_str());
        let is_inside = self.tasks.get(&pid).is_some_and(|task| task.result.is_some());
        let resumed = match self.fault {
            _ if !self.has_begun => ptrace::cont(pid, signal),
            None => ptrace::syscall(pid, signal),
            Some((place, _)) if !self.ended.failed && place.who == who || is_inside => {
                ptrace::syscall(pid, signal)
            }
            // One of those that it comes from.
            Some((place, _)) if pid == self.first || !self.ended.failed && place.who.starts_with(who) => {
                ptrace::cont(pid, signal)
            }
            Some(_) => {
                self.tasks.remove(&pid);
                ptrace::detach(pid, signal)
            }
        };
        // It may have been killed meanwhile, which is told next.
        resumed.ok();
    }

    /// At the beginning or the end of a call.
    fn look(&mut self, pid: Pid) -> nix::Result<()> {
        let Some(task) = self.tasks.get_mut(&pid) else { return Ok(()) };
        let mut registers = ptrace::getregs(pid)?;
        let number = registers.orig_rax.cast_signed();
        if ptrace::syscall_info(pid)?.op == libc::PTRACE_SYSCALL_INFO_ENTRY {
            let nth = task.made.entry(number).or_default();
            let place = Place { who: task.who.clone(), number, nth: *nth };
            *nth += 1;
            match self.fault {
                None => self.ended.calls.push(place),
                Some((fault, errno)) if *fault == place => {
                    // There is no call of this number: nothing is done.
                    registers.orig_rax = u64::MAX;
                    ptrace::setregs(pid, registers)?;
                    // brk(2) has no errnos, but returns what there is.
                    let is_brk = number == libc::SYS_brk;
                    let result =
                        if is_brk { task.program_break } else { (-i64::from(errno as i32)).cast_unsigned() };
                    task.result = Some(result);
                }
                Some(_) => {}
            }
        } else if let Some(result) = task.result.take() {
            registers.rax = result;
            ptrace::setregs(pid, registers)?;
            self.ended.failed = true;
        } else if number == libc::SYS_brk {
            task.program_break = registers.rax;
        }
        Ok(())
    }

    /// Those that live longer than the command.
    fn let_go(&mut self) {
        for pid in self.tasks.keys().filter(|pid| **pid != self.first).chain(&self.early) {
            if ptrace::interrupt(*pid).is_err() {
                continue;
            }
            if let Ok(WaitStatus::Stopped(pid, signal)) = waitpid(*pid, Some(WaitPidFlag::__WALL)) {
                ptrace::detach(pid, signal).ok();
            } else {
                ptrace::detach(*pid, None).ok();
            }
        }
    }
}

/// A process that is gone is no error here.
fn gone(errno: Errno) -> nix::Result<()> {
    if errno == Errno::ESRCH { Ok(()) } else { Err(errno) }
}

/// Kills a process after the deadline.
#[derive(Debug)]
pub(super) struct Watch {
    ended: mpsc::Sender<()>,
    thread: std::thread::JoinHandle<bool>,
}

impl Watch {
    pub(super) fn over(pid: Pid) -> Self {
        let (ended, receiver) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let late = receiver.recv_timeout(DEADLINE) == Err(mpsc::RecvTimeoutError::Timeout);
            if late {
                // Not reaped before this thread has been told.
                kill(pid, Signal::SIGKILL).ok();
            }
            late
        });
        Self { ended, thread }
    }

    /// Whether it had to be killed.
    pub(super) fn was_late(self) -> bool {
        drop(self.ended);
        self.thread.join().unwrap_or(true)
    }
}
