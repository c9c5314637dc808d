//! One file of a cgroup and what is written to it.
//!
//! Attacker: none; the files are the kernel's, the values come from whoever may set limits.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::BorrowedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::Memory;
use crate::error::{Error, Reason, Repr};
use crate::sys;
use crate::tree::read_file;

/// A file of a cgroup and what is written to it. Made by [`Resources::settings`](super::Resources::settings),
/// displayed as `file = value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub(crate) field: String,
    pub(crate) place: Place,
    pub(crate) file: String,
    pub(crate) value: String,
    pub(crate) if_missing: IfMissing,
    /// The kernel bends the value instead of refusing it: it is read back and compared.
    pub(crate) exact: bool,
}

/// Which of the cgroups of a container a setting is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// The one of cgroup v2.
    Unified,
    /// The one in the v1 hierarchy of this controller.
    Legacy(&'static str),
}

/// What to do when the kernel has no such file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IfMissing {
    Fail,
    /// The value is what holds without the file.
    Skip,
    /// Another file says the same.
    Instead(Box<Setting>),
}

impl Setting {
    /// Returns the field of [`Resources`](super::Resources) that asks for it, as it is written in
    /// `linux.resources` of a config.json: `memory.limit`.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// Returns the name of the file.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Returns what is written.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether it says what holds in a new cgroup, and without one: that there is no limit.
    pub fn is_no_limit(&self) -> bool {
        self.file.ends_with(".max") && self.value.starts_with("max")
    }

    /// The controller whose file it is: what stands before the first dot.
    pub(crate) fn controller(&self) -> &str {
        self.file.split('.').next().unwrap_or_default()
    }

    /// Writes the value to the file below `directory`. With `before`, only if it is another than the file
    /// has, and what takes that back is added to `before`.
    fn write(&self, directory: BorrowedFd<'_>, before: Option<&mut Vec<Self>>) -> Result<(), Errno> {
        let flags = if before.is_some() { OFlag::O_RDWR } else { OFlag::O_WRONLY };
        let open = || sys::open_below(&directory, Path::new(&self.file), flags);
        let mut file = match open()
            .or_else(|errno| if errno == Errno::ENOENT && settle(directory) { open() } else { Err(errno) })
        {
            Ok(fd) => File::from(fd),
            Err(Errno::ENOENT) => {
                return match &self.if_missing {
                    IfMissing::Fail => Err(Errno::ENOENT),
                    IfMissing::Skip => Ok(()),
                    IfMissing::Instead(other) => other.write(directory, before),
                };
            }
            // A file without reading: there is nothing to compare with.
            Err(Errno::EACCES | Errno::EPERM) if before.is_some() => return self.write(directory, None),
            Err(errno) => return Err(errno),
        };
        if let Some(before) = before {
            let mut now = String::new();
            // What cannot be read is written.
            if file.read_to_string(&mut now).is_ok() {
                if now.trim_end() == self.value {
                    return Ok(());
                }
                let value = self.value.split('\n').map(|line| value_before(&self.file, line, &now));
                let value = value.collect::<Vec<_>>().join("\n");
                before.push(Self { value, if_missing: IfMissing::Fail, exact: false, ..self.clone() });
            }
        }
        // The kernel takes one line at a time, and nothing as an empty one.
        for line in self.value.split('\n') {
            let line = if line.is_empty() { "\n" } else { line };
            file.write_all(line.as_bytes()).map_err(|error| sys::errno(&error))?;
        }
        Ok(())
    }

    /// What the kernel has made of an `exact` value, if it is something else.
    fn bent(&self, directory: BorrowedFd<'_>) -> Option<String> {
        let now = self.exact.then(|| read_file(directory, &self.file).ok())??;
        Some(now.trim_end().to_owned()).filter(|now| *now != self.value)
    }
}

/// Waits until controllers that somebody gives to this cgroup at this moment have their files here; false if
/// there is nothing to wait for. The kernel lists them before it makes the files, but takes one writer at a
/// time: a line without words, to a file that all of them write, comes back when those before it are done.
fn settle(directory: BorrowedFd<'_>) -> bool {
    let control = sys::open_below(&directory, Path::new("cgroup.subtree_control"), OFlag::O_WRONLY);
    control.is_ok_and(|control| File::from(control).write_all(b"\n").is_ok())
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.file, self.value.escape_debug())
    }
}

/// What is to be written to a file so that it has again what it has `now`, when a line was written.
///
/// A line of several words is about the device that the first one names, but for `cpu.max`.
fn value_before(file: &str, line: &str, now: &str) -> String {
    let Some((device, _)) = line.split_once(' ').filter(|_| file != "cpu.max") else {
        let now = now.lines().next().unwrap_or_default();
        // Of this one the number is written.
        return now.strip_prefix("oom_kill_disable ").unwrap_or(now).to_owned();
    };
    let named = now.lines().find(|line| line.split(' ').next() == Some(device));
    named.map_or_else(
        || match file {
            "io.max" => format!("{device} rbps=max wbps=max riops=max wiops=max"),
            file if file.starts_with("blkio.throttle.") => format!("{device} 0"),
            _ => format!("{device} default"),
        },
        str::to_owned,
    )
}

/// Writes settings, each to the directory of its place. With `before`, files that have the value already are
/// left alone, and what takes back the changes is added to it: to be applied in reverse.
///
/// Some limits bound one another (memory and memory+swap, quota and burst), so that the kernel takes them
/// only in the order that suits the old values: what it refuses is tried once more when the others are in
/// force.
pub(crate) fn apply<'d>(
    settings: &[Setting],
    directory: &dyn Fn(Place) -> Option<BorrowedFd<'d>>,
    mut before: Option<&mut Vec<Setting>>,
) -> Result<(), Error> {
    let mut again = Vec::new();
    for setting in settings {
        match one(setting, directory, before.as_deref_mut()) {
            Err(Failure::Refused(_)) => again.push(setting),
            other => other.map_err(|failure| failure.explain(setting, directory))?,
        }
    }
    // The last one first: a limit on memory that is refused as too much is used says more than that on memory
    // and swap, which cannot be lower.
    for setting in again.into_iter().rev() {
        one(setting, directory, before.as_deref_mut())
            .map_err(|failure| failure.explain(setting, directory))?;
    }
    Ok(())
}

/// Checks that not more memory is in use than is to be allowed. Without memory accounting there is nothing to
/// check.
pub(crate) fn check_memory<'d>(
    memory: &Memory,
    directory: &dyn Fn(Place) -> Option<BorrowedFd<'d>>,
) -> Result<(), Error> {
    if !memory.check_before_update {
        return Ok(());
    }
    let number = |place, file: &str| {
        let text = directory(place).and_then(|directory| read_file(directory, file).ok())?;
        text.trim_end().parse::<i64>().ok()
    };
    let legacy = Place::Legacy("memory");
    let usage = number(legacy, "memory.usage_in_bytes").or_else(|| number(Place::Unified, "memory.current"));
    let with_swap = number(legacy, "memory.memsw.usage_in_bytes").or_else(|| {
        Some(
            number(Place::Unified, "memory.current")?
                + number(Place::Unified, "memory.swap.current").unwrap_or(0),
        )
    });
    for (field, what, limit, usage) in [
        ("memory.swap", "memory+swap", memory.swap, with_swap),
        ("memory.limit", "memory", memory.limit, usage),
    ] {
        // runc's words.
        if let (Some(limit @ 1..), Some(usage)) = (limit, usage)
            && usage > limit
        {
            return Err(Error::value(field, format!("rejecting {what} limit {limit} <= usage {usage}")));
        }
    }
    Ok(())
}

/// Why a setting could not be made.
enum Failure {
    /// The cgroup has no directory where the controller is.
    Nowhere,
    /// The value does not go with others.
    Refused(Errno),
    Call(Errno),
    Bent(String),
}

fn one<'d>(
    setting: &Setting,
    directory: &dyn Fn(Place) -> Option<BorrowedFd<'d>>,
    before: Option<&mut Vec<Setting>>,
) -> Result<(), Failure> {
    let Some(directory) = directory(setting.place) else {
        return if setting.if_missing == IfMissing::Skip { Ok(()) } else { Err(Failure::Nowhere) };
    };
    setting.write(directory, before).map_err(|errno| match errno {
        Errno::EINVAL | Errno::EBUSY => Failure::Refused(errno),
        errno => Failure::Call(errno),
    })?;
    match setting.bent(directory) {
        Some(now) => Err(Failure::Bent(now)),
        None => Ok(()),
    }
}

impl Failure {
    fn explain<'d>(self, setting: &Setting, directory: &dyn Fn(Place) -> Option<BorrowedFd<'d>>) -> Error {
        let Setting { field, file, value, .. } = setting;
        let errno = match self {
            Self::Refused(errno) | Self::Call(errno) => errno,
            Self::Nowhere => {
                let controller = setting.controller();
                return Error::value(
                    field,
                    format!("the {controller} controller is not available for this cgroup"),
                );
            }
            Self::Bent(now) => {
                // runc's words.
                let end =
                    if now.parse::<u64>().ok() > value.parse::<u64>().ok() { "minimum" } else { "maximum" };
                return Error::value(field, format!("the {end} allowed {} is {now}", file.replace('.', "-")));
            }
        };
        let hint = directory(setting.place).and_then(|directory| hint(setting, errno, directory));
        let call = format!("write({file:?}, {value:?}){}", hint.unwrap_or_default());
        Repr::Setting { field: field.clone(), call, reason: Reason(errno) }.into()
    }
}

/// What helps to understand an error, where the cause is known.
fn hint(setting: &Setting, errno: Errno, directory: BorrowedFd<'_>) -> Option<String> {
    let read = |file: &str| read_file(directory, file).map(|text| text.trim_end().to_owned());
    match (setting.place, errno) {
        (Place::Unified, Errno::ENOENT | Errno::EACCES | Errno::EPERM) => {
            let (controller, here) = (setting.controller(), read("cgroup.controllers").ok()?);
            let missing = controller != "cgroup" && !here.split_whitespace().any(|name| name == controller);
            missing.then(|| format!(": controller {controller:?} not available (the cgroup has {here:?})"))
        }
        // runc's words.
        (Place::Legacy("memory"), Errno::EBUSY) => {
            let (usage, peak) =
                (read("memory.usage_in_bytes").ok()?, read("memory.max_usage_in_bytes").ok()?);
            Some(format!(" (current usage: {usage}, peak usage: {peak})"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::value_before;

    #[test]
    fn what_was_there_can_be_written_again() {
        for (file, line, now, before) in [
            ("memory.max", "5", "max\n", "max"),
            ("cpu.max", "5 100000", "max 100000\n", "max 100000"),
            ("cpuset.cpus", "1", "\n", ""),
            ("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0\n", "0"),
            ("io.max", "8:0 rbps=5", "8:16 rbps=1\n8:0 rbps=max wbps=7\n", "8:0 rbps=max wbps=7"),
            ("io.max", "8:0 rbps=5", "", "8:0 rbps=max wbps=max riops=max wiops=max"),
            ("io.weight", "8:0 50", "default 100\n", "8:0 default"),
            ("blkio.throttle.read_bps_device", "8:0 5", "", "8:0 0"),
            ("net_prio.ifpriomap", "lo 5", "lo 0\neth0 0\n", "lo 0"),
        ] {
            assert_eq!(value_before(file, line, now), before, "{file} {line}");
        }
    }
}
