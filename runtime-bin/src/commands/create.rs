//! `corten create`: a container that waits for start.

use std::path::{Path, PathBuf};

use libcorten::lifecycle::foreground::Interruption;
use libcorten::plan::HostStep;
use libcorten::{Bundle, Console, Container, CreateOptions, Runtime};

use super::{bundle, runtime};
use crate::arguments::{CgroupManager, Create, Global};
use crate::log::Log;
use crate::{Failure, Outcome, caller};

pub(crate) fn run(global: &Global, log: &Log, options: &Create) -> Outcome {
    let failed = |failure: Failure| Failure::new(format!("corten create failed: {}", failure.message));
    create(global, log, options).map_err(failed)
}

fn create(global: &Global, log: &Log, options: &Create) -> Outcome {
    let bundle = bundle(options.bundle.as_deref(), options.config.as_deref())?;
    let console = options.console_socket.clone().map_or(Console::None, Console::Socket);
    let mut interruption = Interruption::hold()?;
    let create =
        CreateOptions { cancel: Some(interruption.fd()), ..create_options(global, options, console)? };
    let before = &mut |step: &HostStep| interruption.before(step);
    make(&runtime(global)?, log, &options.id, &bundle, &create, true, before)?;
    Ok(0)
}

/// Makes a container, and tells then of the plan's warnings: a failure is to be the only entry in the log, as
/// Podman reads the whole of it as one. With `--debug`, each step of the runtime is logged before it is done.
/// `before` sees it, too.
pub(super) fn make(
    runtime: &Runtime,
    log: &Log,
    id: &str,
    bundle: &Bundle,
    options: &CreateOptions,
    wait_for_start: bool,
    before: &mut dyn FnMut(&HostStep),
) -> Result<Container, Failure> {
    let container = runtime.launch(id, bundle, options, wait_for_start, &mut |planned| {
        before(&planned.step);
        log.step(planned);
    })?;
    container.warnings().iter().for_each(|warning| log.warn(warning));
    container.refused().into_iter().for_each(|refused| log.note(refused));
    Ok(container)
}

/// Turns flags into options.
pub(super) fn create_options(
    global: &Global,
    options: &Create,
    console: Console,
) -> Result<CreateOptions, Failure> {
    Ok(CreateOptions {
        console,
        cgroup_manager: cgroup_manager(global),
        pid_file: pid_file(options.pid_file.as_deref())?,
        preserve_fds: options.preserve_fds,
        listen_fds: caller::listen_fds(),
        notify_socket: caller::notify_socket().is_some(),
        no_new_keyring: options.no_new_keyring,
        no_pivot: options.no_pivot,
        pidfd_socket: options.pidfd_socket.clone(),
        foreground: false,
        cancel: None,
    })
}

/// The pid file, wherever the caller's directory is by the time that it is written.
pub(super) fn pid_file(path: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
    let absolute = |path| {
        std::path::absolute(path).map_err(|error| Failure::new(format!("--pid-file {path:?}: {error}")))
    };
    path.map(absolute).transpose()
}

/// Who is to make the cgroups. Other commands take the flag, which engines always pass, without needing it:
/// the state says it.
pub(super) fn cgroup_manager(global: &Global) -> libcorten::CgroupManager {
    match global.cgroup_manager() {
        CgroupManager::Cgroupfs => libcorten::CgroupManager::Cgroupfs,
        CgroupManager::Disabled => libcorten::CgroupManager::Disabled,
        CgroupManager::Systemd => libcorten::CgroupManager::Systemd,
    }
}
