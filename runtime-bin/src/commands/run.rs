//! `corten run`: create and start, in the foreground or (`-d`) in the background.

use std::io::stdin;
use std::sync::Mutex;

use libcorten::lifecycle::foreground::{Signals, attach};
use libcorten::{Bundle, Console, Runtime};
use nix::sys::termios::{SetArg, tcgetattr, tcsetattr};

use super::create::{create_options, make};
use super::{bundle, runtime};
use crate::arguments::{Global, Run};
use crate::log::Log;
use crate::{Failure, Outcome};

pub(crate) fn run(global: &Global, log: &Log, options: &Run) -> Outcome {
    let failed = |failure: Failure| Failure::new(format!("corten run failed: {}", failure.message));
    run_bundle(global, log, options).map_err(failed)
}

fn run_bundle(global: &Global, log: &Log, options: &Run) -> Outcome {
    let bundle = bundle(options.create.bundle.as_deref(), options.create.config.as_deref())?;
    let runtime = runtime(global)?;
    if options.detach {
        let console = options.create.console_socket.clone().map_or(Console::None, Console::Socket);
        make(&runtime, log, &options.create.id, &bundle, &create_options(global, &options.create, console)?, false)?;
        return Ok(0);
    }
    foreground(global, &runtime, log, &bundle, options)
}

fn foreground(global: &Global, runtime: &Runtime, log: &Log, bundle: &Bundle, options: &Run) -> Outcome {
    let terminal = bundle.spec().process().as_ref().is_some_and(|process| process.terminal().unwrap_or(false));
    let console = match &options.create.console_socket {
        // runc: in the foreground the terminal is the caller's.
        Some(_) => return Err(Failure::new("cannot use console socket if runc will not detach or allocate tty")),
        None if terminal => Console::Master,
        None => Console::None,
    };
    if terminal {
        restore_terminal_on_panic();
    }
    let signals = Signals::block()?;
    let create = create_options(global, &options.create, console)?;
    let mut container = make(runtime, log, &options.create.id, bundle, &create, false)?;
    let console = container.take_console();
    let exit = attach(&container, console, &signals);
    // A container that nobody looks after any more does not run on.
    let deleted = if options.keep && exit.is_ok() { Ok(Vec::new()) } else { container.delete(true) };
    let exit = exit?;
    for warning in deleted? {
        log.warn(&warning);
    }
    Ok(u8::try_from(exit.code()).unwrap_or(u8::MAX))
}

/// A release build aborts on a panic, before anything is dropped: then it is the hook that takes the caller's terminal out of
/// raw mode.
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
