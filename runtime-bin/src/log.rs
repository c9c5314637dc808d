//! Where errors go: one line on stderr, and one entry in the log.

use std::fs::{File, OpenOptions};
use std::io::{Write, stderr};
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitCode;
use std::time::SystemTime;

use crate::Failure;
use crate::arguments::{Global, LogFormat};

/// The log of `--log`, if there is one.
#[derive(Debug)]
pub(crate) struct Log {
    file: Option<File>,
    format: LogFormat,
}

impl Log {
    /// Opens the log file, to append to it.
    pub(crate) fn open(global: &Global) -> Result<Self, Failure> {
        let open = |path: &std::path::PathBuf| {
            let opened = OpenOptions::new().append(true).create(true).mode(0o644).open(path);
            opened.map_err(|error| Failure::new(format!("--log: open {}: {error}", path.display())))
        };
        Ok(Self { file: global.log.as_ref().map(open).transpose()?, format: global.log_format })
    }

    /// No log but stderr.
    pub(crate) fn stderr() -> Self {
        Self { file: None, format: LogFormat::Text }
    }

    /// Reports a failure: once on stderr, once in the log. Engines read either.
    pub(crate) fn fail(mut self, failure: &Failure) -> ExitCode {
        let message = failure.message.trim_end();
        // If neither can be written to, the exit status still tells.
        writeln!(stderr(), "{message}").ok();
        let entry = entry(self.format, message, &libcorten::state::rfc3339(SystemTime::now()));
        if let Some(file) = &mut self.file
            && file.write_all(entry.as_bytes()).is_err()
        {}
        ExitCode::from(failure.status)
    }
}

fn entry(format: LogFormat, message: &str, time: &str) -> String {
    match format {
        LogFormat::Json => {
            let entry = serde_json::json!({ "level": "error", "msg": message, "time": time });
            format!("{entry}\n")
        }
        LogFormat::Text => format!("time={time:?} level=error msg={message:?}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_as_engines_read_them() {
        let json = entry(LogFormat::Json, "a \"b\"", "T");
        assert_eq!(json, "{\"level\":\"error\",\"msg\":\"a \\\"b\\\"\",\"time\":\"T\"}\n");
        assert_eq!(entry(LogFormat::Text, "a \"b\"", "T"), "time=\"T\" level=error msg=\"a \\\"b\\\"\"\n");
    }
}
