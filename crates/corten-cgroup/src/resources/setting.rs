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

/// A file of a cgroup and what is written to it. Made by [`Resources::settings`](super::Resources::settings), displayed as
/// `file = value`.
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

/// Files with a line for each device or resource, and what says that it has no limit.
const KEYED: [(&str, &str); 13] = [
    ("io.max", "rbps=max wbps=max riops=max wiops=max"),
    ("io.weight", "default"),
    ("io.bfq.weight", "default"),
    ("rdma.max", "hca_handle=max hca_object=max"),
    ("misc.max", "max"),
    ("blkio.throttle.read_bps_device", "0"),
    ("blkio.throttle.write_bps_device", "0"),
    ("blkio.throttle.read_iops_device", "0"),
    ("blkio.throttle.write_iops_device", "0"),
    ("blkio.weight_device", "0"),
    ("blkio.leaf_weight_device", "0"),
    ("blkio.bfq.weight_device", "default"),
    ("net_prio.ifpriomap", "0"),
];

impl Setting {
    /// Returns the field of [`Resources`](super::Resources) that asks for it, as it is written in `linux.resources` of a
    /// config.json: `memory.limit`.
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

    /// The controller whose file it is: what stands before the first dot.
    pub(crate) fn controller(&self) -> &str {
        self.file.split('.').next().unwrap_or_default()
    }

    /// Writes the value to the file below `directory`, unless it has it already.
    fn write(&self, directory: BorrowedFd<'_>, changes_only: bool) -> Result<(), Errno> {
        let flags = if changes_only { OFlag::O_RDWR } else { OFlag::O_WRONLY };
        let mut file = match sys::open_below(&directory, Path::new(&self.file), flags) {
            Ok(fd) => File::from(fd),
            Err(Errno::ENOENT) => {
                return match &self.if_missing {
                    IfMissing::Fail => Err(Errno::ENOENT),
                    IfMissing::Skip => Ok(()),
                    IfMissing::Instead(other) => other.write(directory, changes_only),
                };
            }
            // A file without reading: there is nothing to compare with.
            Err(Errno::EACCES | Errno::EPERM) if changes_only => return self.write(directory, false),
            Err(errno) => return Err(errno),
        };
        if changes_only {
            let mut now = String::new();
            // What cannot be read is written.
            if file.read_to_string(&mut now).is_ok() && now.trim_end() == self.value {
                return Ok(());
            }
        }
        // The kernel takes one line at a time. Nothing would not be written at all.
        for line in self.value.split('\n') {
            let line = if line.is_empty() { "\n" } else { line };
            file.write_all(line.as_bytes()).map_err(|error| sys::errno(&error))?;
        }
        Ok(())
    }

    /// The setting that puts back what the file says now. `None` if there is no such file, or it does not say what could be
    /// written to it.
    fn current(&self, directory: BorrowedFd<'_>) -> Option<Self> {
        match read_file(directory, &self.file) {
            Ok(text) => {
                let value = self.value_in(text.trim_end())?;
                Some(Self { value, if_missing: IfMissing::Fail, exact: false, ..self.clone() })
            }
            Err(Errno::ENOENT) => match &self.if_missing {
                IfMissing::Instead(other) => other.current(directory),
                IfMissing::Fail | IfMissing::Skip => None,
            },
            Err(_) => None,
        }
    }

    /// The part of a file's text that this setting would replace, as it is written.
    fn value_in(&self, text: &str) -> Option<String> {
        if self.file == "memory.oom_control" {
            return text.lines().find_map(|line| line.strip_prefix("oom_kill_disable ")).map(str::to_owned);
        }
        let Some((_, nothing)) = KEYED.iter().find(|(file, _)| *file == self.file) else {
            // Of a list nobody has told how it is written.
            return Some(text.to_owned()).filter(|text| !text.contains('\n'));
        };
        let line = |value: &str| {
            // A value alone is for all devices that have none of their own.
            let key = value.split_once(' ').map_or("default", |(key, _)| key);
            let has_key = |line: &&str| line.split_once(' ').is_some_and(|(own, _)| own == key);
            text.lines().find(has_key).map_or_else(|| format!("{key} {nothing}"), str::to_owned)
        };
        Some(self.value.lines().map(line).collect::<Vec<_>>().join("\n"))
    }

    /// What the kernel has made of an `exact` value, if it is something else.
    fn bent(&self, directory: BorrowedFd<'_>) -> Option<String> {
        let now = self.exact.then(|| read_file(directory, &self.file).ok())??;
        Some(now.trim_end().to_owned()).filter(|now| *now != self.value)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.file, self.value.escape_debug())
    }
}

/// Writes settings, each to the directory of its place. With `changes_only`, files that have the value already are left alone.
///
/// Some limits bound one another (memory and memory+swap, quota and burst), so that the kernel takes them only in the order
/// that suits the old values: what it refuses is tried once more when the others are in force.
pub(crate) fn apply<'d>(
    settings: &[Setting],
    directory: &dyn Fn(Place) -> Option<BorrowedFd<'d>>,
    changes_only: bool,
) -> Result<(), Error> {
    let mut again = Vec::new();
    for setting in settings {
        match one(setting, directory, changes_only) {
            Err(Failure::Refused(_)) => again.push(setting),
            other => other.map_err(|failure| failure.explain(setting, directory))?,
        }
    }
    // The last one first: a limit on memory that is refused as too much is used says more than that on memory and swap, which
    // cannot be lower.
    for setting in again.into_iter().rev() {
        one(setting, directory, changes_only).map_err(|failure| failure.explain(setting, directory))?;
    }
    Ok(())
}

/// What puts back the values that the files of settings have now.
pub(crate) fn current<'d>(settings: &[Setting], directory: &dyn Fn(Place) -> Option<BorrowedFd<'d>>) -> Vec<Setting> {
    settings.iter().filter_map(|setting| setting.current(directory(setting.place)?)).collect()
}

/// Checks that not more memory is in use than is to be allowed. Without memory accounting there is nothing to check.
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
        Some(number(Place::Unified, "memory.current")? + number(Place::Unified, "memory.swap.current").unwrap_or(0))
    });
    for (field, what, limit, usage) in
        [("memory.swap", "memory+swap", memory.swap, with_swap), ("memory.limit", "memory", memory.limit, usage)]
    {
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
    changes_only: bool,
) -> Result<(), Failure> {
    let directory = directory(setting.place).ok_or(Failure::Nowhere)?;
    setting.write(directory, changes_only).map_err(|errno| match errno {
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
                return Error::value(field, format!("the {controller} controller is not available for this cgroup"));
            }
            Self::Bent(now) => {
                // runc's words.
                let end = if now.parse::<u64>().ok() > value.parse::<u64>().ok() { "minimum" } else { "maximum" };
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
            let (usage, peak) = (read("memory.usage_in_bytes").ok()?, read("memory.max_usage_in_bytes").ok()?);
            Some(format!(" (current usage: {usage}, peak usage: {peak})"))
        }
        _ => None,
    }
}
