//! `corten kill`: a signal for the init of containers.

use std::str::FromStr;

use libcorten::ErrorKind;
use nix::sys::signal::Signal;

use super::{runtime, to_each};
use crate::arguments::{Global, Kill};
use crate::{Failure, Outcome};

/// The kernel's last signal.
const LAST_SIGNAL: i32 = 64;

pub(crate) fn run(global: &Global, options: &Kill) -> Outcome {
    if !options.regex {
        // runc: whether there is such a container comes first.
        runtime(global)?.load(&options.id)?;
    }
    let signal = number(&options.signal)
        .ok_or_else(|| Failure::new(format!("unknown signal {:?}", options.signal)))?;
    to_each(&runtime(global)?, &options.id, options.regex, |container| {
        let container = container?;
        match if options.all { container.kill_all(signal) } else { container.kill(signal) } {
            // runc: with --all, a container that has stopped is what was wanted.
            Err(error) if options.all && error.kind() == ErrorKind::WrongState => Ok(()),
            sent => sent,
        }
    })?;
    Ok(0)
}

/// A signal by number, or by name in any case, with or without SIG.
fn number(text: &str) -> Option<i32> {
    if text.is_empty() {
        // runc: as if it were not given.
        return Some(Signal::SIGTERM as i32);
    }
    if let Ok(number) = text.parse::<i32>() {
        // 0 is sent to nobody: it asks whether there is somebody (kill(2)).
        return (0..=LAST_SIGNAL).contains(&number).then_some(number);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some(offset) = name.strip_prefix("RTMIN") {
        let offset = if offset.is_empty() { 0 } else { offset.strip_prefix('+')?.parse().ok()? };
        return (0..=30).contains(&offset).then_some(34 + offset);
    }
    if let Some(offset) = name.strip_prefix("RTMAX") {
        let offset = if offset.is_empty() { 0 } else { offset.strip_prefix('-')?.parse().ok()? };
        return (0..=30).contains(&offset).then_some(LAST_SIGNAL - offset);
    }
    Signal::from_str(&format!("SIG{name}")).ok().map(|signal| signal as i32)
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, expected) in [
            ("SIGKILL", Some(9)),
            ("kill", Some(9)),
            ("15", Some(15)),
            ("WINCH", Some(28)),
            ("RTMIN+3", Some(37)),
            ("SIGRTMAX", Some(64)),
            ("0", Some(0)),
            ("", Some(15)),
            ("-1", None),
            ("65", None),
            ("SIGNOPE", None),
        ] {
            assert_eq!(number(text), expected, "{text:?}");
        }
    }
}
