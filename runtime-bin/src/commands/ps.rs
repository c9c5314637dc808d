//! `corten ps`: the processes of a container, as numbers or as ps(1) tells of them.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::process::{Command, Stdio};

use super::runtime;
use crate::arguments::{Global, ListFormat, Ps};
use crate::{Failure, Outcome, output, reason};

pub(crate) fn run(global: &Global, options: &Ps) -> Outcome {
    let (id, ps_options) =
        options.id_and_options.split_first().ok_or_else(|| Failure::new("no container id"))?;
    let pids = runtime(global)?.load(&id.to_string_lossy())?.pids()?;
    let text = match options.format {
        // Go's way of writing an empty list, which engines know.
        ListFormat::Json if pids.is_empty() => "null\n".into(),
        ListFormat::Json => format!("{pids:?}\n").replace(' ', "").into_bytes(),
        ListFormat::Table => lines_of(&pids, &ps(ps_options)?)?,
    };
    output::write(&text)?;
    Ok(0)
}

/// Runs the host's ps(1), and returns what it prints.
fn ps(options: &[OsString]) -> Result<Vec<u8>, Failure> {
    let mut command = Command::new("ps");
    match options {
        [] => command.arg("-ef"),
        given => command.args(given),
    };
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        // runc's words.
        let why = match error.kind() {
            ErrorKind::NotFound => "executable file not found in $PATH".to_owned(),
            _ => reason(&error),
        };
        Failure::new(format!("exec: \"ps\": {why}"))
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let printed = [output.stdout, output.stderr].concat();
    let status = output.status.to_string().replace(": ", " ");
    Err(Failure::new(format!("ps: {status}: {}", String::from_utf8_lossy(&printed).trim())))
}

/// Returns the header and the lines of these processes. Names of processes need not be valid text.
fn lines_of(pids: &[i32], printed: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut lines = printed.split_inclusive(|byte| *byte == b'\n');
    let header = lines.next().unwrap_or_default();
    let column = words(header).position(|word| word == b"PID");
    let column = column.ok_or_else(|| Failure::new("couldn't find PID field in ps output"))?;
    let mut text = header.to_vec();
    for line in lines.filter(|line| !line.trim_ascii().is_empty()) {
        let word = String::from_utf8_lossy(words(line).nth(column).unwrap_or_default());
        let pid =
            word.parse().map_err(|error| Failure::new(format!("unable to parse pid: {word:?}: {error}")))?;
        if pids.contains(&pid) {
            text.extend_from_slice(line);
        }
    }
    Ok(text)
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_chosen_by_the_column_of_the_pid() {
        let printed =
            b"UID   PID  PPID CMD\nroot    7     1 a\n\nroot   17     7 b\xff c\nroot    1     0 17\n";
        let lines = |pids: &[i32]| lines_of(pids, printed).unwrap();
        assert_eq!(lines(&[17]), b"UID   PID  PPID CMD\nroot   17     7 b\xff c\n");
        assert_eq!(lines(&[]), b"UID   PID  PPID CMD\n");
        let failed = |printed: &[u8]| lines_of(&[1], printed).unwrap_err().message;
        assert_eq!(failed(b""), "couldn't find PID field in ps output");
        assert_eq!(failed(b"TTY TIME\n"), "couldn't find PID field in ps output");
        assert!(failed(b"TTY PID\n? x\n").starts_with("unable to parse pid: \"x\""));
        assert!(failed(b"TTY PID\n?\n").starts_with("unable to parse pid: \"\""));
    }
}
