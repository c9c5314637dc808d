//! The forms that the kernel's files have.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;

use nix::errno::Errno;

use crate::error::{Error, Repr, failed};
use crate::tree::read_file;

/// The directory of a cgroup.
#[derive(Debug, Clone, Copy)]
pub(super) struct Directory<'fd> {
    fd: BorrowedFd<'fd>,
}

impl<'fd> Directory<'fd> {
    pub(super) fn new(fd: BorrowedFd<'fd>) -> Self {
        Self { fd }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'fd> {
        self.fd
    }

    /// Reads a file; `None` if it is not there, the kernel has it turned off, or the cgroup has been removed.
    pub(super) fn text(&self, file: &str) -> Result<Option<String>, Error> {
        match read_file(self.fd, file) {
            Ok(text) => Ok(Some(text)),
            Err(errno) if is_absence(errno) => Ok(None),
            Err(errno) => Err(failed(errno, || format!("read({:?})", self.path_of(file)))),
        }
    }

    /// Reads a file of one number.
    pub(super) fn number(&self, file: &str) -> Result<Option<u64>, Error> {
        let Some(text) = self.text(file)? else { return Ok(None) };
        parse_number(text.trim()).map(Some).ok_or_else(|| self.content("a number", file, text))
    }

    /// Reads a file of lines `KEY NUMBER`.
    pub(super) fn numbers(&self, file: &str) -> Result<Option<BTreeMap<String, u64>>, Error> {
        let Some(text) = self.text(file)? else { return Ok(None) };
        let mut numbers = BTreeMap::new();
        for line in text.lines() {
            let (key, number) =
                key_and_number(line).ok_or_else(|| self.content("a key and a number", file, line))?;
            numbers.insert(key.to_owned(), number);
        }
        Ok(Some(numbers))
    }

    /// The error of a file that says what is not understood.
    pub(super) fn content(&self, what: &'static str, file: &str, text: impl Into<String>) -> Error {
        Repr::Content { what, path: self.path_of(file), text: text.into() }.into()
    }

    /// The path of a file, for messages.
    pub(super) fn path_of(&self, file: &str) -> PathBuf {
        let directory = std::fs::read_link(format!("/proc/self/fd/{}", self.fd.as_raw_fd()));
        directory.unwrap_or_default().join(file)
    }
}

/// Whether an errno says that there is nothing to read: no such file, a cgroup that has been removed, or
/// something that was turned off at boot (`psi=0`, `swapaccount=0`).
pub(super) fn is_absence(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP)
}

/// A number, or `max`. Some counters of the kernel have been below zero for a moment: that is none.
pub(super) fn parse_number(text: &str) -> Option<u64> {
    match text.strip_prefix('-') {
        _ if text == "max" => Some(u64::MAX),
        Some(digits) => (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(0),
        None => text.parse().ok(),
    }
}

/// Reads a line `KEY NUMBER`.
pub(super) fn key_and_number(line: &str) -> Option<(&str, u64)> {
    let (key, number) = line.split_once(' ')?;
    Some((key, parse_number(number)?))
}

/// Returns what a file of lines `KEY NUMBER` says of a key; 0 if nothing.
pub(super) fn number_of(text: &str, key: &str) -> u64 {
    let mut numbers = text.lines().filter_map(key_and_number);
    numbers.find_map(|(name, number)| (name == key).then_some(number)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_kernels_forms() {
        for (text, expected) in [
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("max", Some(u64::MAX)),
            ("-1", Some(0)),
            ("-99999999999999999999999", Some(0)),
            ("18446744073709551616", None),
            ("-", None),
            ("-1x", None),
            ("", None),
            ("1 2", None),
            ("maximum", None),
        ] {
            assert_eq!(parse_number(text), expected, "{text:?}");
        }
        assert_eq!(key_and_number("oom_kill 3"), Some(("oom_kill", 3)));
        assert_eq!(key_and_number("oom_kill"), None);
        assert_eq!((number_of("oom 1\noom_kill 3\n", "oom_kill"), number_of("oom 1\n", "oom_kill")), (3, 0));
    }
}
