//! Hooks in the runtime's namespaces: prestart, createRuntime, poststart, poststop.
//!
//! The state comes on stdin as a file, so that it may have any size. Output goes to the files that
//! annotations name, or is kept in memory for the error.
//! Spec: config.md#posix-platform-hooks. Attacker: none; hooks are the engine's. They get no fd of the
//! runtime.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::unistd::Pid;

use crate::error::{ErrorKind, Failure};
use crate::oci::Hook;
use crate::spec::HookKind;
use crate::spec::annotations::HOOK_OUTPUTS;
use crate::state::{HookState, Record, StateDirectory, Status};
use crate::sys::{self, SysError};

/// The part of a hook's output that an error shows.
const OUTPUT_SHOWN: u64 = 2048;

/// A hook that failed. runc's words, which engines show.
#[derive(Debug, thiserror::Error)]
#[error("error running {} hook #{index}", kind.name())]
pub(crate) struct HookError {
    kind: HookKind,
    index: usize,
    #[source]
    cause: Cause,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("{how}, stdout: {stdout}, stderr: {stderr}")]
    Failed { how: String, stdout: String, stderr: String },
    #[error("hook ran past specified timeout of {seconds}.0s")]
    Timeout { seconds: i64 },
    // The sentence says it all: no source.
    #[error("fork/exec {path}: {}", SysError::from_io(.error, String::new).errno)]
    Exec { path: String, error: std::io::Error },
    #[error("the container's init has ended")]
    Init,
    #[error("interrupted")]
    Cancelled,
    #[error(transparent)]
    Call(#[from] SysError),
}

impl HookError {
    /// Whether the hook was ended because the container's init had ended.
    pub(crate) fn is_of_init(&self) -> bool {
        matches!(self.cause, Cause::Init)
    }

    /// Whether the hook was ended because the caller wants no container any more.
    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(self.cause, Cause::Cancelled)
    }
}

impl Failure for HookError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Kernel
    }
}

/// What a hook depends on while it runs.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    /// Where it writes down which process it is, so that it can be ended when this one has been killed.
    pub(crate) directory: &'a StateDirectory,
    /// The init without which it is of no use.
    pub(crate) init: Option<BorrowedFd<'a>>,
    /// What says that the caller wants no container any more.
    pub(crate) cancel: Option<BorrowedFd<'a>>,
}

/// Runs hooks in order; the first that fails ends the list. `status`: what the state says.
///
/// # Errors
/// The hook that failed.
pub(crate) fn run(
    kind: HookKind,
    hooks: &[Hook],
    record: &Record,
    status: Status,
    watch: Option<&Watch<'_>>,
) -> Result<(), HookError> {
    each(kind, hooks, record, status, watch).find_map(Result::err).map_or(Ok(()), Err)
}

/// Runs all hooks, whatever comes of them (poststop); returns what is to be warned of.
pub(crate) fn run_all(kind: HookKind, hooks: &[Hook], record: &Record, status: Status) -> Vec<HookError> {
    // Most containers have none: nothing is to be made for them.
    if hooks.is_empty() {
        return Vec::new();
    }
    each(kind, hooks, record, status, None).filter_map(Result::err).collect()
}

fn each(
    kind: HookKind,
    hooks: &[Hook],
    record: &Record,
    status: Status,
    watch: Option<&Watch<'_>>,
) -> impl Iterator<Item = Result<(), HookError>> {
    let state = state_file(record, status, record.pid);
    hooks.iter().enumerate().map(move |(index, hook)| {
        let state = state.as_ref().map_err(|error| SysError::new(error.errno.0, || error.call.clone()));
        let ran = state.map_err(Cause::from).and_then(|state| one(kind, hook, record, state, watch));
        ran.map_err(|cause| HookError { kind, index, cause })
    })
}

/// The state for a hook's stdin.
pub(crate) fn state_file(record: &Record, status: Status, pid: i32) -> Result<File, SysError> {
    let mut file = sys::memfd(c"hook-state")?;
    file.write_all(&HookState::json(record, status, pid))
        .and_then(|()| file.rewind())
        .map_err(|error| SysError::from_io(&error, || "write(hook-state)".to_owned()))?;
    Ok(file)
}

fn one(
    kind: HookKind,
    hook: &Hook,
    record: &Record,
    state: &File,
    watch: Option<&Watch<'_>>,
) -> Result<(), Cause> {
    let failed =
        |call: &'static str| move |error: std::io::Error| SysError::from_io(&error, || call.to_owned());
    let mut input = state.try_clone().map_err(failed("dup(hook-state)"))?;
    input.rewind().map_err(failed("lseek(hook-state)"))?;
    let [mut stdout, mut stderr] = [Output::open(record, 0)?, Output::open(record, 1)?];
    let mut command = Command::new(hook.path());
    let arguments = hook.args().as_deref().unwrap_or_default();
    if let Some((name, rest)) = arguments.split_first() {
        command.arg0(name).args(rest);
    }
    // Without `env` a hook has the runtime's environment (runc); with one, that alone.
    if let Some(environment) = hook.env() {
        command.env_clear();
        command.envs(environment.iter().filter_map(|variable| variable.split_once('=')));
    }
    // What a poststop hook has to do does not depend on a bundle that is gone by then.
    let directory =
        if kind == HookKind::Poststop && !record.bundle.is_dir() { Path::new("/") } else { &record.bundle };
    command.current_dir(directory).stdin(input).stdout(stdout.stdio()?).stderr(stderr.stdio()?);
    if let Some(watch) = watch {
        sys::introduce(&mut command, watch.directory.open_hook()?);
    }
    sys::isolate(&mut command, Vec::new());
    let path = || hook.path().display().to_string();
    let mut child = command.spawn().map_err(|error| Cause::Exec { path: path(), error })?;
    let status = look_after(&mut child, hook.timeout(), watch);
    if status.is_err() {
        // It may have ended just now; waiting for it says.
        sys::kill_tree(Pid::from_raw(i32::try_from(child.id()).unwrap_or(0)));
        child.wait().map_err(failed("waitid(hook)"))?;
    }
    let status = status?;
    if status.success() {
        return Ok(());
    }
    Err(Cause::Failed { how: describe(status), stdout: stdout.said(), stderr: stderr.said() })
}

/// Waits for the end of a hook, or for what is to end it.
fn look_after(
    child: &mut Child,
    timeout: Option<i64>,
    watch: Option<&Watch<'_>>,
) -> Result<ExitStatus, Cause> {
    let pid = i32::try_from(child.id()).unwrap_or(0);
    let init = watch.and_then(|watch| watch.init).map(|init| (init, Cause::Init));
    let cancel = watch.and_then(|watch| watch.cancel).map(|cancel| (cancel, Cause::Cancelled));
    let (ends, mut causes): (Vec<_>, Vec<_>) = init.into_iter().chain(cancel).unzip();
    if timeout.is_some() || !ends.is_empty() {
        let pidfd = sys::open_pidfd(Pid::from_raw(pid))?;
        let deadline =
            timeout.map_or(Duration::MAX, |seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
        let fds = [&[pidfd.as_fd()], ends.as_slice()].concat();
        match sys::wait_any(&fds, deadline)
            .map_err(|errno| SysError::new(errno, || "poll(hook)".to_owned()))?
        {
            Some(0) => {}
            Some(which) => return Err(causes.swap_remove(which - 1)),
            None => return Err(Cause::Timeout { seconds: timeout.unwrap_or(0) }),
        }
    }
    child.wait().map_err(|error| SysError::from_io(&error, || "waitid(hook)".to_owned()).into())
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal: {}", signal_words(signal)),
        (None, None) => "unknown end".to_owned(),
    }
}

/// What a signal that ends a process is called in runc's messages.
pub(crate) fn signal_words(signal: i32) -> String {
    let words = match signal {
        libc::SIGHUP => "hangup",
        libc::SIGINT => "interrupt",
        libc::SIGQUIT => "quit",
        libc::SIGILL => "illegal instruction",
        libc::SIGTRAP => "trace/breakpoint trap",
        libc::SIGABRT => "aborted",
        libc::SIGBUS => "bus error",
        libc::SIGFPE => "floating point exception",
        libc::SIGKILL => "killed",
        libc::SIGUSR1 => "user defined signal 1",
        libc::SIGSEGV => "segmentation fault",
        libc::SIGUSR2 => "user defined signal 2",
        libc::SIGPIPE => "broken pipe",
        libc::SIGALRM => "alarm clock",
        libc::SIGTERM => "terminated",
        libc::SIGXCPU => "CPU time limit exceeded",
        libc::SIGXFSZ => "file size limit exceeded",
        libc::SIGSYS => "bad system call",
        other => return format!("signal {other}"),
    };
    words.to_owned()
}

/// Where a hook's output goes.
enum Output {
    /// To a file that an annotation names.
    File(File),
    /// Into memory, for the error.
    Kept(File),
}

impl Output {
    fn open(record: &Record, which: usize) -> Result<Self, SysError> {
        let named = HOOK_OUTPUTS.get(which).and_then(|annotation| record.annotations.get(*annotation));
        match named.filter(|path| !path.is_empty()) {
            Some(path) => open_output(Path::new(path)).map(Self::File),
            None => sys::memfd(c"hook-output").map(Self::Kept),
        }
    }

    fn stdio(&self) -> Result<Stdio, SysError> {
        let (Self::File(file) | Self::Kept(file)) = self;
        let copy =
            file.try_clone().map_err(|error| SysError::from_io(&error, || "dup(hook-output)".to_owned()))?;
        Ok(Stdio::from(copy))
    }

    /// The head of what the hook wrote, if it was kept.
    fn said(&mut self) -> String {
        let Self::Kept(file) = self else { return String::new() };
        let mut bytes = Vec::new();
        match file.rewind().and_then(|()| file.take(OUTPUT_SHOWN).read_to_end(&mut bytes)) {
            Ok(_) => String::from_utf8_lossy(&bytes).trim_end().to_owned(),
            Err(error) => error.to_string(),
        }
    }
}

/// Opens a file for the output of hooks, to append to.
pub(crate) fn open_output(path: &Path) -> Result<File, SysError> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o700).custom_flags(libc::O_NOCTTY);
    options
        .open(path)
        .map_err(|error| SysError::from_io(&error, || format!("open({path:?}, O_APPEND|O_CREAT)")))
}
