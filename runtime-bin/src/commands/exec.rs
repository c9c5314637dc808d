//! `corten exec`: another process in a container.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use libcorten::lifecycle::foreground::{Signals, attach_process};
use libcorten::oci::{Capability, LinuxCapabilities, Process};
use libcorten::{Console, Container, ExecOptions, ExecProcess, SubCgroup, spec};

use super::create::pid_file;
use super::run::restore_terminal_on_panic;
use super::runtime;
use crate::arguments::{Exec, Global};
use crate::log::Log;
use crate::{Failure, Outcome, reason};

/// What tells a failure of the runtime from one of the process (runc).
const FAILED: u8 = 255;

pub(crate) fn run(log: &Log, global: &Global, options: &Exec) -> Outcome {
    exec(log, global, options)
        .map_err(|failure| Failure { message: format!("exec failed: {}", failure.message), status: FAILED })
}

fn exec(log: &Log, global: &Global, options: &Exec) -> Outcome {
    let (id, command) =
        options.id_and_command.split_first().ok_or_else(|| Failure::new("container id cannot be empty"))?;
    let container = runtime(global)?.load(id)?;
    let process = match &options.process {
        Some(file) => from_file(file)?,
        None => from_bundle(&container, options, command)?,
    };
    let terminal = process.terminal().unwrap_or(false);
    let console = match &options.console_socket {
        Some(_) if !options.detach || !terminal => {
            return Err(Failure::new("cannot use console socket if runc will not detach or allocate tty"));
        }
        None if options.detach && terminal => {
            return Err(Failure::new(
                "cannot allocate tty if runc will detach without setting console socket",
            ));
        }
        Some(socket) => Console::Socket(socket.clone()),
        None if terminal => Console::Foreground,
        None => Console::None,
    };
    let exec_options = ExecOptions {
        console,
        pid_file: pid_file(options.pid_file.as_deref())?,
        preserve_fds: options.preserve_fds,
        pidfd_socket: options.pidfd_socket.clone(),
        cgroups: sub_cgroups(&options.cgroup)?,
        ignore_paused: options.ignore_paused,
        foreground: !options.detach,
    };
    if options.detach {
        let process = container.exec_observed(&process, &exec_options, &mut |planned| log.step(planned))?;
        tell(log, &process);
        return Ok(0);
    }
    if terminal {
        restore_terminal_on_panic();
    }
    let signals = Signals::block()?;
    let mut process = container.exec_observed(&process, &exec_options, &mut |planned| log.step(planned))?;
    tell(log, &process);
    let console = process.take_console();
    let exit = attach_process(&process, console, &signals)?;
    Ok(u8::try_from(exit.code()).unwrap_or(u8::MAX))
}

fn tell(log: &Log, process: &ExecProcess) {
    process.warnings().iter().for_each(|warning| log.warn(warning));
    process.refused().into_iter().for_each(|refused| log.note(refused));
}

fn from_file(file: &Path) -> Result<Process, Failure> {
    let text = std::fs::read(file)
        .map_err(|error| Failure::new(format!("open {}: {}", file.display(), reason(&error))))?;
    spec::parse_process(&text).map_err(|error| Failure::new(error.about(&file.to_string_lossy())))
}

/// The process of the config.json that is in the bundle now, changed by the flags.
fn from_bundle(container: &Container, options: &Exec, command: &[String]) -> Result<Process, Failure> {
    if command.is_empty() {
        return Err(Failure::new("exec args cannot be empty"));
    }
    let mut process = container.bundle_process()?.unwrap_or_default();
    process.set_args(Some(command.to_vec()));
    process.set_terminal(Some(options.tty));
    if let Some(cwd) = &options.cwd {
        process.set_cwd(cwd.clone());
    }
    if !options.env.is_empty() {
        let before = process.env().clone().unwrap_or_default();
        process.set_env(Some([before, options.env.clone()].concat()));
    }
    if let Some(profile) = &options.apparmor {
        process.set_apparmor_profile(Some(profile.clone()));
    }
    if let Some(label) = &options.process_label {
        process.set_selinux_label(Some(label.clone()));
    }
    if options.no_new_privs {
        process.set_no_new_privileges(Some(true));
    }
    set_user(&mut process, options)?;
    add_capabilities(&mut process, &options.cap)?;
    Ok(process)
}

/// Numbers only, each of them whole: a user that is none must not become root (CVE-2026-30892).
fn set_user(process: &mut Process, options: &Exec) -> Result<(), Failure> {
    let number = |what: &str, text: &str| -> Result<u32, Failure> {
        // `parse` alone would take a sign.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        number.ok_or_else(|| Failure::new(format!("bad {what}: {text:?} is not a number")))
    };
    let mut user = process.user().clone();
    if let Some(given) = options.user.as_deref().filter(|given| !given.is_empty()) {
        let (uid, gid) = given.split_once(':').map_or((given, None), |(uid, gid)| (uid, Some(gid)));
        if let Some(gid) = gid {
            user.set_gid(number("gid", gid)?);
        }
        user.set_uid(number("uid", uid)?);
    }
    if !options.additional_gids.is_empty() {
        let mut gids = user.additional_gids().clone().unwrap_or_default();
        for gid in &options.additional_gids {
            gids.push(number("additional gid", gid)?);
        }
        user.set_additional_gids(Some(gids));
    }
    process.set_user(user);
    Ok(())
}

/// Not inheritable ones (CVE-2022-29162), and so ambient ones only where the config has inheritable ones.
fn add_capabilities(process: &mut Process, names: &[String]) -> Result<(), Failure> {
    if names.is_empty() {
        return Ok(());
    }
    let mut sets = process.capabilities().clone().unwrap_or_else(no_capabilities);
    for name in names {
        let upper = name.to_ascii_uppercase();
        let capability = Capability::from_str(upper.strip_prefix("CAP_").unwrap_or(&upper))
            .map_err(|_| Failure::new(format!("--cap: there is no capability {name:?}")))?;
        let with = |set: &Option<libcorten::oci::Capabilities>| {
            let mut set = set.clone().unwrap_or_default();
            set.insert(capability);
            Some(set)
        };
        let (bounding, effective, permitted) =
            (with(sets.bounding()), with(sets.effective()), with(sets.permitted()));
        sets.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
        if sets.inheritable().as_ref().is_some_and(|set| !set.is_empty()) {
            let ambient = with(sets.ambient());
            sets.set_ambient(ambient);
        }
    }
    process.set_capabilities(Some(sets));
    Ok(())
}

/// The types' own default has capabilities.
fn no_capabilities() -> LinuxCapabilities {
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(None).set_effective(None).set_permitted(None).set_inheritable(None).set_ambient(None);
    sets
}

/// `PATH`, or `CONTROLLER[,CONTROLLER…]:PATH` for v1, each controller once.
fn sub_cgroups(given: &[String]) -> Result<Vec<SubCgroup>, Failure> {
    let invalid =
        |argument: &str, why: &str| Failure::new(format!("invalid --cgroup argument: {argument} ({why})"));
    let mut seen: Vec<String> = Vec::new();
    let mut cgroups = Vec::new();
    for argument in given {
        let (controllers, path) = match argument.split_once(':') {
            Some((controllers, path)) => {
                (controllers.split(',').map(str::to_owned).collect::<Vec<_>>(), path)
            }
            None if given.len() > 1 => return Err(invalid(argument, "missing <controller>: prefix")),
            None => (Vec::new(), argument.as_str()),
        };
        for controller in &controllers {
            if controller.is_empty() {
                return Err(invalid(argument, "empty <controller> prefix"));
            }
            if seen.contains(controller) {
                let message =
                    format!("invalid --cgroup argument(s): controller {controller} specified multiple times");
                return Err(Failure::new(message));
            }
            seen.push(controller.clone());
        }
        cgroups.push(SubCgroup { controllers, path: PathBuf::from(path) });
    }
    Ok(cgroups)
}
