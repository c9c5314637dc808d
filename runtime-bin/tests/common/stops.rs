//! An init that is stopped between two calls, by ptrace(2): what others may do in between is done then, every time.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::{Child, Output, Stdio};

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::json;

use super::{TestBundle, corten, state, until};

/// openat2(2), on every architecture.
const OPENAT2: u64 = 437;

/// Runs the bundle, and does something when init has opened the file of this path for the first time, as it is written in the call. Only what
/// comes after the runtime's hooks is looked at. Asserts that init has opened it.
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
                    is_opening = opens(&memory, &info, &opened);
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

fn opens(memory: &File, info: &nix::libc::ptrace_syscall_info, wanted: &CString) -> bool {
    // SAFETY: at the entry of a call this is the member of the union that the kernel has written.
    let entry = unsafe { info.u.entry };
    let mut path = vec![0; wanted.as_bytes_with_nul().len()];
    entry.nr == OPENAT2 && memory.read_exact_at(&mut path, entry.args[1]).is_ok() && path == wanted.as_bytes_with_nul()
}
