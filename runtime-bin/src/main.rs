//! `corten`: an OCI container runtime with runc's command line.
//!
//! Nothing but arguments, output and exit codes; what happens is in the library, one call for each
//! subcommand. What runc does is the contract: commands, flags, outputs, exit codes and messages.

#![deny(unsafe_code)]
#![cfg_attr(not(test), no_main)]

mod arguments;
mod caller;
mod command_line;
mod commands;
mod log;
mod output;
#[allow(unsafe_code, reason = "an allocator is unsafe by its trait, and an entry point by its name")]
mod sys;
mod usage;

use std::ffi::OsString;

use clap::error::ErrorKind as ClapError;
use clap::{CommandFactory, FromArgMatches};

use arguments::{Arguments, Command};
use command_line::CommandLine;
use log::Log;

/// Why a command ends with another exit status than 0.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What is wrong; one line.
    pub(crate) message: String,
    /// The exit status.
    pub(crate) status: u8,
}

impl Failure {
    /// A failure with runc's usual exit status.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 1 }
    }
}

/// Says why a call failed in the words of runc and of the library.
pub(crate) fn reason(error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |errno| libcorten::Reason::new(errno).to_string())
}

impl From<libcorten::Error> for Failure {
    fn from(error: libcorten::Error) -> Self {
        let hint = error.hint().map(|hint| format!(" (hint: {hint})"));
        Self::new(error.chain() + &hint.unwrap_or_default())
    }
}

/// What a command comes to: its exit status.
pub(crate) type Outcome = Result<u8, Failure>;

/// Runs the command that the arguments ask for, the program's name first; returns its exit status.
#[cfg_attr(test, allow(dead_code, reason = "tests have std's main"))]
fn start(arguments: Vec<OsString>) -> u8 {
    let mut definition = Arguments::command();
    let line = CommandLine::read(&mut definition, arguments);
    let matches = definition.try_get_matches_from_mut(&line.arguments);
    // It goes with the process. To take it apart would take longer than many a command.
    std::mem::forget(definition);
    let arguments = match matches.and_then(|mut matches| Arguments::from_arg_matches_mut(&mut matches)) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error, &line),
    };
    let log = match Log::open(&arguments.global) {
        Ok(log) => log,
        Err(failure) => return Log::stderr().fail(&failure),
    };
    let expected = libcorten::lifecycle::foreground::expect_children().map_err(Failure::from);
    match expected.and_then(|()| run(&arguments, &line, &log)) {
        Ok(status) => status,
        Err(failure) => log.fail(&failure),
    }
}

fn run(arguments: &Arguments, line: &CommandLine, log: &Log) -> Outcome {
    let global = &arguments.global;
    if global.version {
        return commands::version::run();
    }
    match &arguments.command {
        Some(Command::Checkpoint(options)) => commands::checkpoint::run(global, log, options),
        Some(Command::Completion { shell }) => commands::completion::run(*shell),
        Some(Command::Create(options)) => commands::create::run(global, log, options),
        Some(Command::Delete(options)) => commands::delete::run(global, log, options),
        Some(Command::Events(options)) => commands::events::run(global, log, options),
        Some(Command::Exec(options)) => commands::exec::run(log, global, options),
        Some(Command::Features) => commands::features::run(),
        Some(Command::Kill(options)) => commands::kill::run(global, options),
        Some(Command::List(options)) => commands::list::run(global, log, options),
        Some(Command::Mounts(options)) => commands::mounts::run(log, global, options),
        Some(Command::Pause(options)) => commands::freeze::pause(global, options),
        Some(Command::Plan(options)) => commands::plan::run(global, options),
        Some(Command::Ps(options)) => commands::ps::run(global, options),
        Some(Command::Restore(options)) => commands::restore::run(global, log, options),
        Some(Command::Resume(options)) => commands::freeze::resume(global, options),
        Some(Command::Run(options)) => commands::run::run(global, log, options),
        Some(Command::Spec(options)) => commands::spec::run(options),
        Some(Command::Start(options)) => commands::start::run(global, log, options),
        Some(Command::State(options)) => commands::state::run(global, options),
        Some(Command::Update(options)) => commands::update::run(global, log, options),
        None => {
            output::print(&line.help())?;
            Ok(0)
        }
    }
}

/// Answers `--help` and wrong usage, with runc's exit codes: 0, 1, and 3 for a command that there is not.
fn usage(error: &clap::Error, line: &CommandLine) -> u8 {
    let text = error.render().to_string();
    let log = || {
        let opened = line.global().and_then(|global| Log::open(&global).ok());
        opened.unwrap_or_else(Log::stderr)
    };
    match error.kind() {
        ClapError::DisplayHelp => u8::from(output::print(&text).is_err()),
        ClapError::InvalidSubcommand => {
            let name = error
                .get(clap::error::ContextKind::InvalidSubcommand)
                .map(ToString::to_string)
                .unwrap_or_default();
            log().fail(&Failure { message: format!("No help topic for '{name}'"), status: 3 })
        }
        _ => {
            let mut definition = Arguments::command();
            definition.build();
            let command = line.command.as_ref().and_then(|name| definition.find_subcommand(name));
            let usage::Mistake { message, heading } = usage::mistake(error, command, &line.arguments);
            let help = heading.map(|heading| output::print(&format!("{heading}\n\n{}", line.help())));
            let printed = help.unwrap_or(Ok(()));
            log().fail(&printed.err().unwrap_or_else(|| Failure::new(message)))
        }
    }
}
