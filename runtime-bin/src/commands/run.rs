//! `corten run`: create and start, in the foreground or (`-d`) in the background.

use std::io::stdin;
use std::path::Path;
use std::sync::Mutex;
use std::thread::Builder;

use libcorten::lifecycle::foreground::{Interruption, Signals, attach};
use libcorten::plan::HostStep;
use libcorten::{Bundle, Console, Container, CreateOptions, Runtime};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::termios::{SetArg, tcgetattr, tcsetattr};

use super::create::{create_options, make};
use super::{bundle, runtime};
use crate::arguments::{Global, Run};
use crate::log::Log;
use crate::{Failure, Outcome, caller, reason};

pub(crate) fn run(global: &Global, log: &Log, options: &Run) -> Outcome {
    let failed = |failure: Failure| Failure::new(format!("corten run failed: {}", failure.message));
    run_bundle(global, log, options).map_err(failed)
}

fn run_bundle(global: &Global, log: &Log, options: &Run) -> Outcome {
    let bundle = bundle(options.create.bundle.as_deref(), options.create.config.as_deref())?;
    let runtime = runtime(global)?;
    if options.detach {
        let console = options.create.console_socket.clone().map_or(Console::None, Console::Socket);
        let mut interruption = Interruption::hold()?;
        let create = create_options(global, &options.create, console)?;
        let create = CreateOptions { cancel: Some(interruption.fd()), ..create };
        let before = &mut |step: &HostStep| interruption.before(step);
        let mut container = make(&runtime, log, &options.create.id, &bundle, &create, false, before)?;
        drop(interruption);
        if let Some(readiness) = container.take_readiness() {
            warn_of(log, caller::forward(readiness, None));
        }
        return Ok(0);
    }
    foreground(global, &runtime, log, &bundle, options)
}

fn foreground(global: &Global, runtime: &Runtime, log: &Log, bundle: &Bundle, options: &Run) -> Outcome {
    let console = own_console(bundle, options.create.console_socket.as_deref())?;
    let signals = hold_signals(options.no_subreaper)?;
    let create = create_options(global, &options.create, console)?;
    // Not let through at any moment: what comes too late to end the making is the container's.
    let interruption = Interruption::hold()?;
    let create = CreateOptions { foreground: true, cancel: Some(interruption.fd()), ..create };
    let container = make(runtime, log, &options.create.id, bundle, &create, false, &mut |_| {})?;
    interruption.keep();
    look_after(container, log, &signals, options.keep)
}

/// Holds the signals that are for a container in the foreground. Unless there is to be no subreaper, what the
/// container leaves behind in this PID namespace comes here, and not to whoever is next.
pub(super) fn hold_signals(no_subreaper: bool) -> Result<Signals, Failure> {
    if no_subreaper {
        return Ok(Signals::block()?);
    }
    set_child_subreaper(true)
        .map_err(|errno| Failure::new(format!("prctl(PR_SET_CHILD_SUBREAPER): {errno}")))?;
    Ok(Signals::block_and_reap()?)
}

/// Where the terminal goes in the foreground, if there is one: to the caller's.
pub(super) fn own_console(bundle: &Bundle, socket: Option<&Path>) -> Result<Console, Failure> {
    if socket.is_some() {
        return Err(Failure::new("cannot use console socket if runc will not detach or allocate tty"));
    }
    if !bundle.spec().process().as_ref().is_some_and(|process| process.terminal().unwrap_or(false)) {
        return Ok(Console::None);
    }
    restore_terminal_on_panic();
    Ok(Console::Foreground)
}

/// Stays with a container in the foreground to its end.
pub(super) fn look_after(mut container: Container, log: &Log, signals: &Signals, keep: bool) -> Outcome {
    let console = container.take_console();
    // Beside the container's signals and its terminal, which go on meanwhile.
    let forward = |readiness| move || caller::forward(readiness, Some(std::process::id()));
    let forwarding = container.take_readiness().map(|readiness| Builder::new().spawn(forward(readiness)));
    let exit = attach(&container, console, signals);
    // A container that nobody looks after any more does not run on.
    let deleted = if keep && exit.is_ok() { Ok(Vec::new()) } else { container.delete(true) };
    // The container has ended, and with it the wait for its word.
    match forwarding.transpose() {
        Ok(forwarding) => {
            let told = forwarding.and_then(|thread| thread.join().ok());
            told.into_iter().for_each(|told| warn_of(log, told));
        }
        Err(error) => log.warn(&format!("NOTIFY_SOCKET: no thread to listen: {}", reason(&error))),
    }
    let exit = exit?;
    for warning in deleted? {
        log.warn(&warning);
    }
    Ok(u8::try_from(exit.code()).unwrap_or(u8::MAX))
}

/// runc: the container runs, whoever does not get to know of it.
fn warn_of(log: &Log, told: Result<Option<&str>, Failure>) {
    match told {
        Ok(warning) => warning.into_iter().for_each(|warning| log.warn(warning)),
        Err(failure) => log.warn(&failure.message),
    }
}

/// A release build aborts on a panic, before anything is dropped: then it is the hook that takes the caller's
/// terminal out of raw mode.
pub(super) fn restore_terminal_on_panic() {
    // Without a terminal there is nothing to restore.
    let Ok(before) = tcgetattr(stdin()) else { return };
    let (before, report) = (Mutex::new(before), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        if let Ok(before) = before.lock() {
            tcsetattr(stdin(), SetArg::TCSANOW, &before).ok();
        }
        report(panic);
    }));
}
