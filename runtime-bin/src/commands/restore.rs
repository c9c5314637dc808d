//! `corten restore`: a container of image files, in the foreground or (`-d`) in the background.

use libcorten::{Bundle, Console, Container, RestoreOptions};

use super::checkpoint::image_options;
use super::create::cgroup_manager;
use super::run::{hold_signals, look_after, own_console};
use super::{bundle, runtime};
use crate::arguments::{Global, Restore};
use crate::log::Log;
use crate::{Failure, Outcome};

pub(crate) fn run(global: &Global, log: &Log, options: &Restore) -> Outcome {
    let bundle = bundle(options.bundle.as_deref(), None)?;
    if options.detach {
        let console = options.console_socket.clone().map_or(Console::None, Console::Socket);
        restore(global, log, options, &bundle, console)?;
        return Ok(0);
    }
    let console = own_console(&bundle, options.console_socket.as_deref())?;
    let signals = hold_signals(options.no_subreaper)?;
    look_after(restore(global, log, options, &bundle, console)?, log, &signals, false)
}

fn restore(
    global: &Global,
    log: &Log,
    options: &Restore,
    bundle: &Bundle,
    console: Console,
) -> Result<Container, Failure> {
    let absolute = |path: &std::path::PathBuf| {
        std::path::absolute(path).map_err(|error| Failure::new(format!("--pid-file {path:?}: {error}")))
    };
    let taken = RestoreOptions {
        images: image_options(&options.images)?,
        console,
        pid_file: options.pid_file.as_ref().map(absolute).transpose()?,
        cgroup_manager: cgroup_manager(global),
        tcp_close: options.tcp_close,
        lsm_profile: options.lsm_profile.clone().filter(|profile| !profile.is_empty()),
        lsm_mount_context: options.lsm_mount_context.clone().filter(|context| !context.is_empty()),
    };
    let container = runtime(global)?.restore(&options.id, bundle, &taken)?;
    container.warnings().iter().for_each(|warning| log.warn(warning));
    Ok(container)
}
