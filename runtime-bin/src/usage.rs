//! What is wrong with a command line, in the words of runc and of Go's flag package: users search for them,
//! and engines probe for flags by them.

use std::error::Error as _;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// A mistake on the command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// What is wrong.
    pub(crate) message: String,
    /// What precedes the help on stdout; without it there is no help.
    pub(crate) heading: Option<String>,
}

/// Says what is wrong. `command`: the definition of the command that was given.
pub(crate) fn mistake(error: &clap::Error, command: Option<&clap::Command>, given: &[OsString]) -> Mistake {
    let context = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let argument = context(ContextKind::InvalidArg);
    let is_flag = argument.starts_with('-') && argument != "-";
    // `--format <FORMAT>`
    let flag = argument.split([' ', '=']).next().unwrap_or_default().trim_start_matches('-').to_owned();
    let of_flag = |message: String| Mistake { heading: Some(format!("Incorrect Usage: {message}")), message };
    match error.kind() {
        ErrorKind::UnknownArgument if is_flag => of_flag(format!("flag provided but not defined: -{flag}")),
        ErrorKind::UnknownArgument | ErrorKind::TooManyValues | ErrorKind::MissingRequiredArgument
            if !is_flag && command.is_some() =>
        {
            let missing = error.kind() == ErrorKind::MissingRequiredArgument;
            let program = given.first().map(|name| name.to_string_lossy()).unwrap_or_default();
            let message = command.map(|command| format!("{program}: {}", count(command, missing)));
            Mistake { message: message.unwrap_or_default(), heading: Some("Incorrect Usage.".to_owned()) }
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation if is_flag => {
            let value = context(ContextKind::InvalidValue);
            match flag.as_str() {
                _ if value.is_empty() => of_flag(format!("flag needs an argument: -{flag}")),
                "log-format" => Mistake { message: format!("invalid log-format: {value}"), heading: None },
                "format" => Mistake { message: "invalid format option".to_owned(), heading: None },
                _ => of_flag(format!("invalid value {value:?} for flag -{flag}: {}", why(error))),
            }
        }
        _ => {
            // The first paragraph, as one line: what is missing stands on lines of its own.
            let text = error.render().to_string();
            let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
            of_flag(lines.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned())
        }
    }
}

/// How many arguments a command takes.
fn count(command: &clap::Command, missing: bool) -> String {
    let name = command.get_name();
    let least = command.get_positionals().filter(|argument| argument.is_required_set()).count();
    let most = command.get_positionals().count();
    let open = command.get_positionals().any(clap::Arg::is_trailing_var_arg_set);
    match missing {
        _ if least == most && !open => format!("{name:?} requires exactly {least} argument(s)"),
        true => format!("{name:?} requires a minimum of {least} argument(s)"),
        false => format!("{name:?} requires a maximum of {most} argument(s)"),
    }
}

/// Why a value is wrong.
fn why(error: &clap::Error) -> String {
    match (error.source(), error.get(ContextKind::ValidValue)) {
        (Some(source), _) => source.to_string(),
        (None, Some(ContextValue::Strings(values))) => format!("must be one of {}", values.join(", ")),
        _ => "parse error".to_owned(),
    }
}
