//! What engines and users write, brought into the form that clap takes. runc reads flags as Go's `flag`
//! package does:
//!
//! * a flag has one dash or two, whatever the length of its name;
//! * a switch may have a value (`--debug=false`);
//! * what comes after a flag that takes a value is its value, even if it begins with a dash;
//! * an empty value is as good as none (`--console-socket ""`);
//! * the last of several wins.
//!
//! Beyond that, flags are taken after the container's id, too, where runc would take them for another
//! argument.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches};

use crate::arguments::{Arguments, Global};

/// A command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// The arguments as clap takes them, the program's name first.
    pub(crate) arguments: Vec<OsString>,
    /// The command that is named in them.
    pub(crate) command: Option<String>,
}

impl CommandLine {
    /// Reads a command line, the program's name first. The definition of the command that is named is made
    /// then.
    pub(crate) fn read(definition: &mut Command, given: impl IntoIterator<Item = OsString>) -> Self {
        let mut given = given.into_iter();
        let mut line = Self { arguments: given.next().into_iter().collect(), command: None };
        let mut level = Level { command: definition, first: line.arguments.len() };
        while let Some(argument) = given.next() {
            if argument == "--" {
                line.arguments.push(argument);
                break;
            }
            if argument.as_bytes().starts_with(b"-") {
                level.flag(argument, &mut given, &mut line.arguments);
                continue;
            }
            if level.command.find_subcommand(&argument).is_none() {
                line.arguments.push(argument);
                if level.hands_on() {
                    break;
                }
                continue;
            }
            // There is one.
            let Some(subcommand) = level.command.find_subcommand_mut(&argument) else { break };
            line.command.get_or_insert_with(|| subcommand.get_name().to_owned());
            line.arguments.push(argument);
            // Its flags are not made before they are wanted.
            subcommand.build();
            level = Level { command: subcommand, first: line.arguments.len() };
        }
        line.arguments.extend(given);
        line
    }

    /// Returns the flags before the command if they can be read though the rest is wrong: the log is to tell
    /// of that, too.
    pub(crate) fn global(&self) -> Option<Global> {
        let matches = Arguments::command().ignore_errors(true).try_get_matches_from(&self.arguments).ok()?;
        Global::from_arg_matches(&matches).ok()
    }

    /// Returns the text of `corten --help`, or of `corten COMMAND --help` if there is a command.
    pub(crate) fn help(&self) -> String {
        let mut definition = Arguments::command();
        definition.build();
        let command = self.command.as_ref().and_then(|name| definition.find_subcommand_mut(name));
        command.map(Command::render_help).unwrap_or_else(|| definition.render_help()).to_string()
    }
}

/// A command whose flags are being read, and the place of the first of them.
struct Level<'a> {
    command: &'a mut Command,
    first: usize,
}

impl Level<'_> {
    /// Whether what comes after the first argument is not for this program: `ps ID -e`.
    fn hands_on(&self) -> bool {
        self.command.get_positionals().any(Arg::is_trailing_var_arg_set)
    }

    /// Takes a flag, and its value, if it has one.
    fn flag(&self, argument: OsString, rest: &mut impl Iterator<Item = OsString>, taken: &mut Vec<OsString>) {
        let Some((name, value)) = split(&argument) else { return taken.push(argument) };
        // clap knows better what to make of a word that is no flag: short flags in one word, -hf, or nothing.
        let Some((flag, long)) = self.find(name) else { return taken.push(argument) };
        let dashed = format!("--{long}");
        if !flag.get_action().takes_values() {
            match value.map(boolean) {
                None | Some(Some(true)) => taken.push(dashed.into()),
                Some(Some(false)) => forget(taken, self.first, &dashed),
                Some(None) => taken.push(argument),
            }
            return;
        }
        let may_stand_alone = flag.get_num_args().is_some_and(|number| number.min_values() == 0);
        let value = match value {
            Some(value) => Some(value.to_owned()),
            None if may_stand_alone => None,
            None => rest.next(),
        };
        match value {
            None => taken.push(dashed.into()),
            Some(value) if value.is_empty() && is_unset_by_default(flag) => {
                forget(taken, self.first, &dashed)
            }
            Some(value) => {
                let mut whole = OsString::from(dashed + "=");
                whole.push(value);
                taken.push(whole);
            }
        }
    }

    /// Finds a flag by its long or its short name; returns it and its long name.
    fn find(&self, name: &str) -> Option<(&Arg, &str)> {
        let is_named = |flag: &Arg| {
            flag.get_long() == Some(name)
                || flag.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
                || flag.get_short().is_some_and(|short| name.strip_prefix(short) == Some(""))
        };
        let flag = self.command.get_arguments().find(|flag| is_named(flag))?;
        Some((flag, flag.get_long()?))
    }
}

/// Splits a flag into its name and the value behind the equals sign.
fn split(argument: &OsStr) -> Option<(&str, Option<&OsStr>)> {
    let bytes = argument.as_bytes();
    let flag = bytes.strip_prefix(b"--").or_else(|| bytes.strip_prefix(b"-"))?;
    let mut parts = flag.splitn(2, |byte| *byte == b'=');
    let name = str::from_utf8(parts.next()?).ok()?;
    Some((name, parts.next().map(OsStr::from_bytes)))
}

/// Reads a truth as Go does.
fn boolean(text: &OsStr) -> Option<bool> {
    match text.as_bytes() {
        b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" => Some(true),
        b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" => Some(false),
        _ => None,
    }
}

/// Whether the flag holds one value, and none if it is not given.
fn is_unset_by_default(flag: &Arg) -> bool {
    matches!(flag.get_action(), ArgAction::Set) && flag.get_default_values().is_empty()
}

/// Removes a flag that was given before.
fn forget(taken: &mut Vec<OsString>, first: usize, dashed: &str) {
    let is_other = |argument: &OsString| {
        let rest = argument.as_bytes().strip_prefix(dashed.as_bytes());
        rest.is_none_or(|rest| !rest.is_empty() && !rest.starts_with(b"="))
    };
    let kept: Vec<OsString> = taken.drain(first..).filter(is_other).collect();
    taken.extend(kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What clap gets for these words after the program's name.
    fn read(given: &[&str]) -> Vec<String> {
        let given = ["corten"].iter().chain(given).map(OsString::from);
        let line = CommandLine::read(&mut Arguments::command(), given);
        line.arguments.into_iter().skip(1).map(|argument| argument.into_string().unwrap()).collect()
    }

    #[test]
    fn flags_have_one_dash_or_two() {
        assert_eq!(read(&["-root=/x", "delete", "-force", "id"]), ["--root=/x", "delete", "--force", "id"]);
        assert_eq!(
            read(&["-root", "/x", "delete", "-f", "-help"]),
            ["--root=/x", "delete", "--force", "--help"]
        );
        assert_eq!(read(&["list", "--q", "--f", "json"]), ["list", "--quiet", "--format=json"]);
        assert_eq!(read(&["list", "-f=json", "-qf", "json"]), ["list", "--format=json", "-qf", "json"]);
        assert_eq!(read(&["list", "-nothing", "-"]), ["list", "-nothing", "-"]);
        // A flag of another command is none of this one's.
        assert_eq!(read(&["list", "-bundle"]), ["list", "-bundle"]);
    }

    #[test]
    fn switches_may_have_a_value() {
        assert_eq!(
            read(&["--debug=true", "-systemd-cgroup=T", "list"]),
            ["--debug", "--systemd-cgroup", "list"]
        );
        assert_eq!(read(&["--debug", "--debug=false", "list", "-q=0"]), ["list"]);
        assert_eq!(read(&["--debug=false", "-debug=1", "list"]), ["--debug", "list"]);
        assert_eq!(read(&["--debug=maybe", "list"]), ["--debug=maybe", "list"]);
        // No switch: one of three words.
        assert_eq!(read(&["--rootless=true", "list"]), ["--rootless=true", "list"]);
    }

    #[test]
    fn the_word_after_a_flag_is_its_value() {
        assert_eq!(read(&["--root", "list", "--log", "-x", "list"]), ["--root=list", "--log=-x", "list"]);
        assert_eq!(
            read(&["create", "--pid-file", "--bundle", "id"]),
            ["create", "--pid-file=--bundle", "id"]
        );
        assert_eq!(read(&["list", "--format"]), ["list", "--format"]);
        assert_eq!(read(&["--root", "--", "list"]), ["--root=--", "list"]);
    }

    #[test]
    fn an_empty_value_is_none() {
        assert_eq!(read(&["create", "--pid-file=a", "--pid-file", "", "-b=", "id"]), ["create", "id"]);
        // There is a default, so the empty value would be another.
        assert_eq!(read(&["list", "--format", ""]), ["list", "--format="]);
    }

    #[test]
    fn what_is_handed_on_stays_as_it_is() {
        let given = ["-debug", "ps", "-format", "json", "id", "-format", "-debug=false"];
        assert_eq!(read(&given), ["--debug", "ps", "--format=json", "id", "-format", "-debug=false"]);
        assert_eq!(
            read(&["ps", "-f", "table", "id", "--", "-log"]),
            ["ps", "--format=table", "id", "--", "-log"]
        );
        assert_eq!(read(&["state", "--", "-force"]), ["state", "--", "-force"]);
        assert_eq!(read(&["kill", "id", "-all", "-9"]), ["kill", "id", "--all", "-9"]);
    }

    #[test]
    fn the_command_is_found_behind_flags_with_values() {
        let command = |given: &[&str]| {
            CommandLine::read(&mut Arguments::command(), ["corten"].iter().chain(given).map(OsString::from))
                .command
        };
        assert_eq!(command(&["--root", "list", "state", "kill"]).as_deref(), Some("state"));
        assert_eq!(command(&["--root", "list"]), None);
        assert_eq!(command(&["nothing", "-q"]), None);
    }

    #[test]
    fn names_need_not_be_text() {
        let word = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
        let given = [word(b"corten"), word(b"-root=/\xff"), word(b"-\xff"), word(b"state"), word(b"\xff")];
        let line = CommandLine::read(&mut Arguments::command(), given);
        let taken = [word(b"corten"), word(b"--root=/\xff"), word(b"-\xff"), word(b"state"), word(b"\xff")];
        assert_eq!(line.arguments, taken);
    }
}
