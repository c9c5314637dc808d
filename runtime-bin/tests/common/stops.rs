//! An init that is stopped between two calls, by ptrace(2): what others may do in between is done then, every
//! time.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::json;

use super::{TestBundle, corten, state, until};

/// openat2(2), on every architecture.
const OPENAT2: u64 = 437;
const STATX: u64 = nix::libc::SYS_statx as u64;

/// Runs the bundle, and does something when init has opened the file of this path for the first time, as it
/// is written in the call. Only what comes after the runtime's hooks is looked at. Asserts that init has
/// opened it.
pub fn run_and_stop_after(test: &mut TestBundle, opened: &str, act: impl FnOnce()) -> Output {
    let (waits, go) = (test.beside("waits"), test.beside("go"));
    fs::remove_file(&waits).ok();
    fs::remove_file(&go).ok();
    let script = format!("echo >{}; until test -e {}; do sleep 0.01; done", waits.display(), go.display());
    test.config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] });
    let path = test.write().path();
    let mut command = corten(test, &["run", "--bundle", path.to_str().unwrap(), &test.id]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until("no hook", || waits.exists());
    let init = Pid::from_raw(i32::try_from(state(test)["pid"].as_i64().unwrap()).unwrap());
    ptrace::seize(init, ptrace::Options::PTRACE_O_TRACESYSGOOD).unwrap();
    ptrace::interrupt(init).unwrap();
    fs::write(go, "").unwrap();
    assert!(stop_after(init, opened, act), "init has not opened {opened}: {:?}", finish(child));
    finish(child)
}

fn finish(child: Child) -> Output {
    child.wait_with_output().unwrap()
}

/// Follows init from call to call.
fn stop_after(init: Pid, opened: &str, act: impl FnOnce()) -> bool {
    let memory = File::open(format!("/proc/{init}/mem")).unwrap();
    let opened = CString::new(opened).unwrap();
    let mut is_opening = false;
    loop {
        match waitpid(init, Some(WaitPidFlag::__WALL)).unwrap() {
            WaitStatus::PtraceSyscall(_) => {
                let info = ptrace::syscall_info(init).unwrap();
                if info.op == libc_entry() {
                    is_opening = is_of(&memory, &info, OPENAT2, &opened);
                } else if is_opening {
                    act();
                    ptrace::detach(init, None).unwrap();
                    return true;
                }
                ptrace::syscall(init, None).unwrap();
            }
            // The interruption, or a signal of others.
            WaitStatus::PtraceEvent(..) => ptrace::syscall(init, None).unwrap(),
            WaitStatus::Stopped(_, signal) => {
                let signal = (signal != Signal::SIGTRAP).then_some(signal);
                ptrace::syscall(init, signal).unwrap();
            }
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return false,
            _ => {}
        }
    }
}

/// `PTRACE_SYSCALL_INFO_ENTRY`.
fn libc_entry() -> u8 {
    1
}

/// Whether the call that is entered is this one, of the path that is its second argument.
fn is_of(memory: &File, info: &nix::libc::ptrace_syscall_info, call: u64, wanted: &CString) -> bool {
    // SAFETY: at the entry of a call this is the member of the union that the kernel has written.
    let entry = unsafe { info.u.entry };
    let mut path = vec![0; wanted.as_bytes_with_nul().len()];
    entry.nr == call
        && memory.read_exact_at(&mut path, entry.args[1]).is_ok()
        && path == wanted.as_bytes_with_nul()
}

/// Runs a command of the runtime's, and does something when init has looked at a file (statx(2)) of this name
/// for the first time, however early: the runtime is traced, and all that it clones. Asserts that init has
/// looked at it.
pub fn run_and_stop_after_look(words: &[String], looked_at: &str, act: impl FnOnce()) -> Output {
    let mut command = Command::new("sh");
    command.args(["-c", "read _; exec \"$@\"", "sh"]).args(words);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let first = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let clones = ptrace::Options::PTRACE_O_TRACECLONE
        | ptrace::Options::PTRACE_O_TRACEFORK
        | ptrace::Options::PTRACE_O_TRACEVFORK;
    ptrace::seize(first, clones | ptrace::Options::PTRACE_O_TRACESYSGOOD).unwrap();
    ptrace::interrupt(first).unwrap();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let looked_at = CString::new(looked_at).unwrap();
    let mut traced = Traced { tasks: vec![(first, false)], looked_at };
    let end = Instant::now() + Duration::from_secs(60);
    while !traced.turn() {
        assert!(Instant::now() < end, "init has not looked at it");
        // As there are many calls, each of which is a turn.
        std::thread::sleep(Duration::from_micros(50));
    }
    act();
    traced.let_go();
    finish(child)
}

/// Tasks that are traced, and whether each is in the call that is waited for.
struct Traced {
    tasks: Vec<(Pid, bool)>,
    looked_at: CString,
}

impl Traced {
    /// Looks at each task once and lets it go on to its next call. Says whether one has left the call that is
    /// waited for: it stands still.
    fn turn(&mut self) -> bool {
        let mut new = Vec::new();
        for (task, is_looking) in &mut self.tasks {
            let task = *task;
            match waitpid(task, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::PtraceSyscall(_)) => {
                    let info = ptrace::syscall_info(task).unwrap();
                    if info.op == libc_entry() {
                        let memory = File::open(format!("/proc/{task}/mem")).unwrap();
                        *is_looking = is_of(&memory, &info, STATX, &self.looked_at);
                    } else if *is_looking {
                        return true;
                    }
                    ptrace::syscall(task, None).unwrap();
                }
                Ok(WaitStatus::PtraceEvent(_, _, event)) => {
                    let clones = [
                        nix::libc::PTRACE_EVENT_CLONE,
                        nix::libc::PTRACE_EVENT_FORK,
                        nix::libc::PTRACE_EVENT_VFORK,
                    ];
                    if clones.contains(&event) {
                        new.push((Pid::from_raw(ptrace::getevent(task).unwrap().try_into().unwrap()), false));
                    }
                    ptrace::syscall(task, None).unwrap();
                }
                Ok(WaitStatus::Stopped(_, signal)) => {
                    ptrace::syscall(task, (signal != Signal::SIGTRAP).then_some(signal)).unwrap();
                }
                // It runs, or has ended.
                _ => {}
            }
        }
        self.tasks.append(&mut new);
        false
    }

    fn let_go(self) {
        for (task, _) in self.tasks {
            // One that has ended is traced no more.
            if ptrace::detach(task, None).is_err() && ptrace::interrupt(task).is_ok() {
                waitpid(task, Some(WaitPidFlag::__WALL)).unwrap();
                ptrace::detach(task, None).ok();
            }
        }
    }
}
