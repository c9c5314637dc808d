//! Where errors go: one line on stderr, and one entry in the log.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Write, stderr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use libcorten::plan::{HostStep, Planned};

use crate::arguments::{Global, LogFormat, LogLevel};
use crate::{Failure, reason};

/// Where journald takes entries.
const JOURNAL: &str = "/run/systemd/journal/socket";
/// Where syslog takes entries.
const SYSLOG: &str = "/dev/log";

/// The log of `--log`, if there is one.
#[derive(Debug)]
pub(crate) struct Log {
    target: Target,
    level: LogLevel,
}

/// Where entries go.
#[derive(Debug)]
enum Target {
    /// Nowhere: what is wrong stands on stderr.
    None,
    File(File, LogFormat),
    /// journald; each entry has this id.
    Journal(UnixDatagram, String),
    /// syslog, under this name.
    Syslog(UnixDatagram, String),
}

impl Target {
    /// Opens what `--log` names: a file, or as crun takes it `file:PATH`, `journald:ID` or `syslog:ID`.
    fn open(name: &OsStr, format: LogFormat) -> Result<Self, Failure> {
        let failed = |call: &str, path: &Path, error: &std::io::Error| {
            Failure::new(format!("--log: {call} {}: {}", path.display(), reason(error)))
        };
        let connect = |path: &str| {
            let connected = UnixDatagram::unbound().and_then(|socket| socket.connect(path).map(|()| socket));
            connected.map_err(|error| failed("connect to", Path::new(path), &error))
        };
        let bytes = name.as_bytes();
        let text = |id: &[u8]| String::from_utf8_lossy(id).into_owned();
        if let Some(id) = bytes.strip_prefix(b"journald:") {
            return Ok(Self::Journal(connect(JOURNAL)?, text(id)));
        }
        if let Some(id) = bytes.strip_prefix(b"syslog:") {
            return Ok(Self::Syslog(
                connect(SYSLOG)?,
                if id.is_empty() { "corten".to_owned() } else { text(id) },
            ));
        }
        let path = PathBuf::from(OsStr::from_bytes(bytes.strip_prefix(b"file:").unwrap_or(bytes)));
        let opened = OpenOptions::new().append(true).create(true).mode(0o644).open(&path);
        Ok(Self::File(opened.map_err(|error| failed("open", &path, &error))?, format))
    }

    /// Writes an entry, and returns whether there is a log for it.
    fn write(&self, level: LogLevel, message: &str) -> bool {
        // What cannot be written is not worth a failure: the exit status tells the same, and stderr.
        match self {
            Self::None => return false,
            Self::File(file, format) => {
                { file }.write_all(entry(*format, level, message, SystemTime::now()).as_bytes()).ok();
            }
            Self::Journal(socket, id) => {
                socket.send(journal_entry(level, message, id).as_bytes()).ok();
            }
            Self::Syslog(socket, name) => {
                socket.send(syslog_entry(level, message, name).as_bytes()).ok();
            }
        }
        true
    }
}

impl Log {
    /// Opens the log, to append to it.
    pub(crate) fn open(global: &Global) -> Result<Self, Failure> {
        let target = match &global.log {
            Some(name) => Target::open(name.as_os_str(), global.log_format)?,
            None => Target::None,
        };
        Ok(Self { target, level: if global.debug { LogLevel::Debug } else { global.log_level } })
    }

    /// No log but stderr.
    pub(crate) fn stderr() -> Self {
        Self { target: Target::None, level: LogLevel::Warning }
    }

    /// Whether details are wanted (`--debug`).
    pub(crate) fn wants_details(&self) -> bool {
        self.level >= LogLevel::Debug
    }

    /// Writes a detail to the log, or to stderr if there is no log.
    pub(crate) fn detail(&self, message: &str) {
        if !self.target.write(LogLevel::Debug, message) {
            let entry = entry(LogFormat::Text, LogLevel::Debug, message, SystemTime::now());
            stderr().write_all(entry.as_bytes()).ok();
        }
    }

    /// With `--debug`, notes a host step that is about to be done.
    pub(crate) fn step(&self, planned: &Planned<HostStep>) {
        if self.wants_details() {
            self.detail(&format!("{}: {:?}", planned.item.to_string_lossy(), planned.step));
        }
    }

    /// Tells of something that is wrong and does not keep the command from its work. In the log, if there is
    /// one: engines show their users what stands on stderr, or parse it.
    pub(crate) fn warn(&self, message: &str) {
        let message = &one_line(message);
        if self.level >= LogLevel::Warning && !self.target.write(LogLevel::Warning, message) {
            // The command's result does not depend on it.
            writeln!(stderr(), "{message}").ok();
        }
    }

    /// Notes what the user has been told elsewhere: in the log alone.
    pub(crate) fn note(&self, message: &str) {
        if self.level >= LogLevel::Warning {
            self.target.write(LogLevel::Warning, &one_line(message));
        }
    }

    /// Reports a failure: once on stderr, once in the log. Engines read either.
    pub(crate) fn fail(self, failure: &Failure) -> u8 {
        let message = &one_line(failure.message.trim_end());
        // If neither can be written to, the exit status still tells.
        writeln!(stderr(), "{message}").ok();
        self.target.write(LogLevel::Error, message);
        failure.status
    }
}

/// Longest message. conmon reads the pipe once, after the end of the runtime: what does not fit in it would
/// never end.
const MESSAGE_BYTES: usize = 4000;

/// Makes a message one line of a sensible length, whatever the names in it hold: control characters are
/// written as escapes, and a long message keeps its ends, what was done and what was wrong.
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

/// An entry of a file.
fn entry(format: LogFormat, level: LogLevel, message: &str, time: SystemTime) -> String {
    let time = libcorten::state::rfc3339(time);
    let level = match level {
        LogLevel::Error => "error",
        LogLevel::Warning => "warning",
        LogLevel::Debug => "debug",
    };
    match format {
        LogFormat::Json => {
            let entry = serde_json::json!({ "level": level, "msg": message, "time": time });
            format!("{entry}\n")
        }
        LogFormat::Text => format!("time={time:?} level={level} msg={message:?}\n"),
    }
}

/// syslog's number for a level (RFC 5424); journald uses the same.
fn severity(level: LogLevel) -> u8 {
    match level {
        LogLevel::Error => 3,
        LogLevel::Warning => 4,
        LogLevel::Debug => 7,
    }
}

/// An entry of the journal, in its native protocol (systemd.journal-fields(7)): a line for each field.
fn journal_entry(level: LogLevel, message: &str, id: &str) -> String {
    let (severity, message, id) = (severity(level), one_line(message), one_line(id));
    format!("PRIORITY={severity}\nSYSLOG_IDENTIFIER=corten\nID={id}\nMESSAGE={message}\n")
}

/// An entry for syslog: facility "user", and without a time, which syslog adds.
fn syslog_entry(level: LogLevel, message: &str, name: &str) -> String {
    let (priority, message, name) = ((1 << 3) | severity(level), one_line(message), one_line(name));
    format!("<{priority}>{name}[{}]: {message}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_line() {
        assert_eq!(one_line("mkdir(\"a\\nb\"): \u{e4}"), "mkdir(\"a\\nb\"): \u{e4}");
        assert_eq!(one_line("a\nb\u{1b}[31m\t"), "a\\nb\\u{1b}[31m\\t");
        let long = one_line(&format!("open({}): no such file", "\u{e4}".repeat(1 << 20)));
        assert!(
            long.len() < MESSAGE_BYTES + 10 && long.starts_with("open(") && long.ends_with(": no such file")
        );
    }

    #[test]
    fn entries_are_as_engines_read_them() {
        let time = SystemTime::UNIX_EPOCH;
        let json = entry(LogFormat::Json, LogLevel::Error, "a \"b\"", time);
        let rfc3339 = libcorten::state::rfc3339(time);
        assert_eq!(json, format!("{{\"level\":\"error\",\"msg\":\"a \\\"b\\\"\",\"time\":\"{rfc3339}\"}}\n"));
        let text = entry(LogFormat::Text, LogLevel::Error, "a \"b\"", time);
        assert_eq!(text, format!("time=\"{rfc3339}\" level=error msg=\"a \\\"b\\\"\"\n"));
    }

    #[test]
    fn entries_of_daemons_are_one_entry_each() {
        let journal = journal_entry(LogLevel::Warning, "a\nPRIORITY=0", "box\nID=x");
        let fields = "PRIORITY=4\nSYSLOG_IDENTIFIER=corten\nID=box\\nID=x\nMESSAGE=a\\nPRIORITY=0\n";
        assert_eq!(journal, fields);
        let syslog = syslog_entry(LogLevel::Error, "a\nb", "box");
        assert_eq!(syslog, format!("<11>box[{}]: a\\nb", std::process::id()));
    }
}
