//! Where errors go: one line on stderr, and one entry in the log.

use std::fs::{File, OpenOptions};
use std::io::{Write, stderr};
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitCode;
use std::time::SystemTime;

use crate::arguments::{Global, LogFormat};
use crate::{Failure, reason};

/// The log of `--log`, if there is one.
#[derive(Debug)]
pub(crate) struct Log {
    file: Option<File>,
    format: LogFormat,
    debug: bool,
}

impl Log {
    /// Opens the log file, to append to it.
    pub(crate) fn open(global: &Global) -> Result<Self, Failure> {
        let open = |path: &std::path::PathBuf| {
            let opened = OpenOptions::new().append(true).create(true).mode(0o644).open(path);
            opened.map_err(|error| Failure::new(format!("--log: open {}: {}", path.display(), reason(&error))))
        };
        Ok(Self { file: global.log.as_ref().map(open).transpose()?, format: global.log_format, debug: global.debug })
    }

    /// No log but stderr.
    pub(crate) fn stderr() -> Self {
        Self { file: None, format: LogFormat::Text, debug: false }
    }

    /// Whether details are wanted (`--debug`).
    pub(crate) fn wants_details(&self) -> bool {
        self.debug
    }

    /// Writes a detail to the log, or to stderr if there is no log.
    pub(crate) fn detail(&self, message: &str) {
        let entry = entry(self.format, "debug", message, &libcorten::state::rfc3339(SystemTime::now()));
        // A detail that cannot be written is not worth a failure.
        match &self.file {
            Some(file) => { file }.write_all(entry.as_bytes()).ok(),
            None => stderr().write_all(entry.as_bytes()).ok(),
        };
    }

    /// Tells of something that is wrong and does not keep the command from its work. In the log, if there is one: engines show
    /// their users what stands on stderr, or parse it.
    pub(crate) fn warn(&self, message: &str) {
        let message = &one_line(message);
        let entry = entry(self.format, "warning", message, &libcorten::state::rfc3339(SystemTime::now()));
        // The command's result does not depend on it.
        match &self.file {
            Some(file) => { file }.write_all(entry.as_bytes()).ok(),
            None => writeln!(stderr(), "{message}").ok(),
        };
    }

    /// Reports a failure: once on stderr, once in the log. Engines read either.
    pub(crate) fn fail(mut self, failure: &Failure) -> ExitCode {
        let message = &one_line(failure.message.trim_end());
        // If neither can be written to, the exit status still tells.
        writeln!(stderr(), "{message}").ok();
        let entry = entry(self.format, "error", message, &libcorten::state::rfc3339(SystemTime::now()));
        if let Some(file) = &mut self.file {
            file.write_all(entry.as_bytes()).ok();
        }
        ExitCode::from(failure.status)
    }
}

/// Longest message. conmon reads the pipe once, after the end of the runtime: what does not fit in it would never end.
const MESSAGE_BYTES: usize = 4000;

/// Makes a message one line of a sensible length, whatever the names in it hold: control characters are written as escapes,
/// and a long message keeps its ends, what was done and what was wrong.
fn one_line(message: &str) -> String {
    let mut line = String::new();
    for character in message.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    if line.len() <= MESSAGE_BYTES {
        return line;
    }
    let head = line.floor_char_boundary(MESSAGE_BYTES / 2);
    let tail = line.ceil_char_boundary(line.len() - MESSAGE_BYTES / 2);
    format!("{} ... {}", &line[..head], &line[tail..])
}

fn entry(format: LogFormat, level: &str, message: &str, time: &str) -> String {
    match format {
        LogFormat::Json => {
            let entry = serde_json::json!({ "level": level, "msg": message, "time": time });
            format!("{entry}\n")
        }
        LogFormat::Text => format!("time={time:?} level={level} msg={message:?}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_line() {
        assert_eq!(one_line("mkdir(\"a\\nb\"): \u{e4}"), "mkdir(\"a\\nb\"): \u{e4}");
        assert_eq!(one_line("a\nb\u{1b}[31m\t"), "a\\nb\\u{1b}[31m\\t");
        let long = one_line(&format!("open({}): no such file", "\u{e4}".repeat(1 << 20)));
        assert!(long.len() < MESSAGE_BYTES + 10 && long.starts_with("open(") && long.ends_with(": no such file"));
    }

    #[test]
    fn entries_are_as_engines_read_them() {
        let json = entry(LogFormat::Json, "error", "a \"b\"", "T");
        assert_eq!(json, "{\"level\":\"error\",\"msg\":\"a \\\"b\\\"\",\"time\":\"T\"}\n");
        assert_eq!(entry(LogFormat::Text, "error", "a \"b\"", "T"), "time=\"T\" level=error msg=\"a \\\"b\\\"\"\n");
    }
}
