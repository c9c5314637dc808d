//! Cache and memory bandwidth of the container (`linux.intelRdt`), by the kernel's resctrl filesystem.
//!
//! Stage: host: [`Resctrl::prepare`] before init is made, [`Group::add`] before it executes, [`remove`] at
//! delete.
//! Privilege: CAP_SYS_ADMIN, or whoever owns the mounted filesystem.
//! Kernel: resctrl (4.10; monitoring groups 4.14, `info/last_cmd_status` 4.15), `openat2(2)` (5.6),
//! `flock(2)`.
//! Spec: config-linux.md#intelrdt. Attacker: none on a real resctrl; still every path is resolved below the
//! root's fd, and a symbolic link is an error.
//!
//! * **Group**: a directory of the root, a class of service (CLOS) with `schemata` and `tasks`; `/` is the
//!   root's own.
//! * **Monitoring group**: a directory below a group's `mon_groups`, which counts for its tasks alone.
//!
//! `enableCMT` and `enableMBM` of runtime-spec 1.1 and 1.2 do nothing, as the spec says of 1.3 and runc does.

mod schemata;
mod tree;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::error::{ErrorKind, Failure};
use crate::oci::LinuxIntelRdt;
use crate::sys::SysError;
#[cfg(test)]
pub(crate) use tests::standing_in;
use tree::Tree;
#[cfg(fuzzing)]
pub(crate) use tree::mount_points;
pub(crate) use tree::unescape;

const ITEM: &str = "linux.intelRdt";
const ITEM_CLOS: &str = "linux.intelRdt.closID";
const ITEM_MONITORING: &str = "linux.intelRdt.enableMonitoring";
/// What resctrl itself has in a group's directory.
const OWN_DIRECTORIES: [&str; 3] = ["info", "mon_groups", "mon_data"];

/// Why a container cannot have what `linux.intelRdt` asks for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResctrlError {
    /// A value that the spec or the filesystem does not allow.
    #[error("linux.intelRdt.{field}: {problem}")]
    Invalid { field: &'static str, problem: String },
    /// A container that lends its id to a group, and cannot.
    #[error("linux.intelRdt: no group can be named {id:?} like the container")]
    ContainerId { id: String },
    /// The spec makes this an error.
    #[error("linux.intelRdt: no resctrl filesystem is mounted")]
    NotMounted,
    /// The group must be there.
    #[error("linux.intelRdt.closID: {path:?} does not exist, and without schemata it is not made")]
    NoGroup { path: PathBuf },
    /// The group is there, with something else in it.
    #[error("{item}: {wanted:?} does not match the existing {path:?}, which has {existing:?}")]
    Mismatch { item: &'static str, wanted: String, path: PathBuf, existing: String },
    /// Another runtime is at it.
    #[error("linux.intelRdt: {path:?} is locked by another process")]
    Locked { path: PathBuf },
    /// A failed call, with the kernel's own words where it has some.
    #[error("{item}{}", status.as_deref().map(|status| format!(" (resctrl says: {status})")).unwrap_or_default())]
    Call {
        item: &'static str,
        /// `info/last_cmd_status`.
        status: Option<String>,
        #[source]
        source: SysError,
    },
    /// It failed, and not all of what was made could be removed.
    #[error("{left}, left behind after")]
    Left {
        #[source]
        cause: Box<ResctrlError>,
        left: String,
    },
}

impl ResctrlError {
    /// Returns the errno; `None` when the config, or what it meets on the host, is wrong.
    pub(crate) fn errno(&self) -> Option<Errno> {
        match self {
            Self::Call { source, .. } => Some(source.errno.0),
            Self::Left { cause, .. } => cause.errno(),
            _ => None,
        }
    }

    fn call(item: &'static str) -> impl Fn(SysError) -> Self {
        move |source| Self::Call { item, status: None, source }
    }
}

impl Failure for ResctrlError {
    fn kind(&self) -> ErrorKind {
        self.errno().map_or(ErrorKind::InvalidConfig, ErrorKind::of_errno)
    }
}

/// What is removed when the container is deleted: what the runtime made, and the spec does not say to keep.
/// Part of the state.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GroupRecord {
    /// The group named like the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<PathBuf>,
    /// The monitoring group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) monitoring: Option<PathBuf>,
    /// Not removed: the file that limits the group, whoever made it, for `update`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) schemata: Option<PathBuf>,
}

impl GroupRecord {
    /// The files that put a process into the groups, in order.
    pub(crate) fn tasks(&self) -> Vec<PathBuf> {
        let group = self.schemata.as_deref().and_then(Path::parent);
        group.into_iter().chain(self.monitoring.as_deref()).map(|directory| directory.join("tasks")).collect()
    }
}

/// Puts a process into groups, by their files `tasks`.
pub(crate) fn join(tasks: &[PathBuf], pid: Pid) -> Result<(), SysError> {
    tasks.iter().try_for_each(|file| {
        std::fs::write(file, pid.to_string())
            .map_err(|error| SysError::from_io(&error, || format!("write({file:?}, \"{pid}\")")))
    })
}

/// Judges what can be judged without a kernel: (field, problem).
///
/// `l3CacheSchema` may have any form: the spec only advises one.
pub(crate) fn check(rdt: &LinuxIntelRdt) -> Result<(), (&'static str, String)> {
    if let Some(id) = clos_id(rdt)
        && id != "/"
        && !is_group_name(id)
    {
        return Err(("closID", format!("{id:?} cannot name a group")));
    }
    let line = |field: &'static str, value: &str, may_have_lines: bool| {
        if value.contains('\0') || (value.contains('\n') && !may_have_lines) {
            return Err((field, format!("{value:?} is not one line of text")));
        }
        Ok(())
    };
    line("l3CacheSchema", rdt.l3_cache_schema().as_deref().unwrap_or_default(), true)?;
    if let Some(value) = rdt.mem_bw_schema().as_deref().filter(|value| !value.is_empty()) {
        line("memBwSchema", value, false)?;
        if !value.starts_with("MB:") {
            return Err(("memBwSchema", format!("{value:?} does not start with \"MB:\"")));
        }
    }
    rdt.schemata().iter().flatten().try_for_each(|value| line("schemata", value, false))
}

/// An empty id is none, as in runc.
fn clos_id(rdt: &LinuxIntelRdt) -> Option<&str> {
    rdt.clos_id().as_deref().filter(|id| !id.is_empty())
}

/// A name that is one directory, and none of resctrl's own. The kernel itself refuses the newline only.
fn is_group_name(name: &str) -> bool {
    !name.is_empty()
        && !matches!(name, "." | "..")
        && !name.contains(['/', '\0', '\n'])
        && !OWN_DIRECTORIES.contains(&name)
}

/// What is written to `schemata`, in the spec's order: (field, lines). One write each, as the kernel refuses
/// the same domain twice in one write, and `schemata` may overrule the other two.
fn wanted(rdt: &LinuxIntelRdt) -> Vec<(&'static str, String)> {
    let lines = rdt.schemata().iter().flatten().map(String::as_str).filter(|line| !line.is_empty());
    let fields = [
        ("linux.intelRdt.l3CacheSchema", rdt.l3_cache_schema().clone().unwrap_or_default()),
        ("linux.intelRdt.memBwSchema", rdt.mem_bw_schema().clone().unwrap_or_default()),
        ("linux.intelRdt.schemata", lines.collect::<Vec<_>>().join("\n")),
    ];
    fields.into_iter().filter(|(_, lines)| !lines.is_empty()).collect()
}

/// A resctrl filesystem.
#[derive(Debug, Clone)]
pub(crate) struct Resctrl {
    tree: Arc<Tree>,
}

impl Resctrl {
    /// Opens the mounted resctrl filesystem.
    pub(crate) fn open() -> Result<Self, ResctrlError> {
        #[cfg(test)]
        if let Some(root) = tests::stand_in() {
            return Self::at(&root);
        }
        let tree = tree::mounted().map_err(ResctrlError::call(ITEM))?;
        Ok(Self { tree: Arc::new(tree.ok_or(ResctrlError::NotMounted)?) })
    }

    /// The one at `root`, or what stands in for it: files and directories that the kernel would have are made
    /// there.
    #[cfg(test)]
    fn at(root: &Path) -> Result<Self, ResctrlError> {
        Ok(Self { tree: Arc::new(Tree::open(root).map_err(ResctrlError::call(ITEM))?) })
    }

    /// Makes what the config asks for, or finds it; no process is in it yet.
    ///
    /// A group that was there before must have the schemata that the config names, as the spec says (runc 1.5
    /// overwrites them), but one that is named like the container: there they are written.
    ///
    /// # Errors
    /// Nothing is left of what was made; what could not be removed is part of the error.
    pub(crate) fn prepare(&self, container_id: &str, rdt: &LinuxIntelRdt) -> Result<Group, ResctrlError> {
        let mut group = self.group(container_id, rdt)?;
        let _lock = self.tree.lock()?;
        let mut made = false;
        match group.set_up(rdt, &mut made) {
            Ok(()) => Ok(group),
            Err(cause) => {
                // Under the lock nobody has joined it, so that a group with an id of its own goes, too.
                if made {
                    group.record.group = Some(self.tree.path_of(&group.directory));
                }
                let left = remove(&group.record).err().unwrap_or_default();
                if left.is_empty() {
                    return Err(cause);
                }
                let left = left.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                Err(ResctrlError::Left { cause: Box::new(cause), left })
            }
        }
    }

    /// Returns the group of a container that exists, for one more process. Its record has nothing to remove:
    /// the state has it.
    pub(crate) fn group(&self, container_id: &str, rdt: &LinuxIntelRdt) -> Result<Group, ResctrlError> {
        check(rdt).map_err(|(field, problem)| ResctrlError::Invalid { field, problem })?;
        let monitors = rdt.enable_monitoring().unwrap_or(false);
        if (clos_id(rdt).is_none() || monitors) && !is_group_name(container_id) {
            return Err(ResctrlError::ContainerId { id: container_id.to_owned() });
        }
        let directory = match clos_id(rdt) {
            Some("/") => PathBuf::new(),
            Some(id) => PathBuf::from(id),
            None => PathBuf::from(container_id),
        };
        let monitoring = monitors.then(|| directory.join("mon_groups").join(container_id));
        let item = if clos_id(rdt).is_some() { ITEM_CLOS } else { ITEM };
        let schemata = Some(self.tree.path_of(&directory).join("schemata"));
        let record = GroupRecord { schemata, ..GroupRecord::default() };
        Ok(Group { tree: self.tree.clone(), item, directory, monitoring, record })
    }
}

/// The group of a container.
#[derive(Debug)]
pub(crate) struct Group {
    tree: Arc<Tree>,
    /// The config item that names it.
    item: &'static str,
    /// Below the root; the root itself is empty.
    directory: PathBuf,
    monitoring: Option<PathBuf>,
    record: GroupRecord,
}

impl Group {
    /// Returns what is to be removed with the container.
    pub(crate) fn record(&self) -> &GroupRecord {
        &self.record
    }

    /// Puts a process into the group, and into the monitoring group. What it forks later is there, too.
    ///
    /// The kernel moves one thread, the one with this id: a process that has more leaves them where they are.
    pub(crate) fn add(&self, pid: Pid) -> Result<(), ResctrlError> {
        let bytes = pid.to_string();
        self.tree.write(self.item, &self.directory.join("tasks"), &bytes)?;
        // A task has to be in the group before it can be in one of its monitoring groups.
        match &self.monitoring {
            Some(monitoring) => self.tree.write(ITEM_MONITORING, &monitoring.join("tasks"), &bytes),
            None => Ok(()),
        }
    }

    fn set_up(&mut self, rdt: &LinuxIntelRdt, made: &mut bool) -> Result<(), ResctrlError> {
        let wanted = wanted(rdt);
        let named = clos_id(rdt).is_some();
        if named && wanted.is_empty() {
            self.must_exist()?;
        } else if !self.directory.as_os_str().is_empty() {
            *made = self.tree.make_directory(self.item, &self.directory)?;
            if *made && !named {
                self.record.group = Some(self.tree.path_of(&self.directory));
            }
        }
        let schemata = self.directory.join("schemata");
        if named && !*made {
            self.must_match(&schemata, &wanted)?;
        } else {
            for (item, lines) in &wanted {
                // The kernel asks for the newline at the end.
                self.tree.write(item, &schemata, &format!("{lines}\n"))?;
            }
        }
        if let Some(monitoring) = &self.monitoring {
            self.make_monitoring(monitoring)?;
            self.record.monitoring = Some(self.tree.path_of(monitoring));
        }
        Ok(())
    }

    fn must_exist(&self) -> Result<(), ResctrlError> {
        match self.tree.open_directory(&self.directory) {
            Ok(_) => Ok(()),
            Err(error) if error.errno.0 == Errno::ENOENT => {
                Err(ResctrlError::NoGroup { path: self.tree.path_of(&self.directory) })
            }
            Err(error) => Err(ResctrlError::call(self.item)(error)),
        }
    }

    fn must_match(&self, schemata: &Path, wanted: &[(&'static str, String)]) -> Result<(), ResctrlError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let existing = self.tree.read(schemata).map_err(ResctrlError::call(self.item))?;
        // The kernel rounds bandwidths up to its steps, so that what it shows may be more than what was
        // written.
        let step = self
            .tree
            .read(Path::new("info/MB/bandwidth_gran"))
            .ok()
            .and_then(|text| text.trim().parse().ok());
        match schemata::mismatch(&existing, wanted, step.unwrap_or(1)) {
            None => Ok(()),
            Some((item, wanted)) => {
                Err(ResctrlError::Mismatch { item, wanted, path: self.tree.path_of(schemata), existing })
            }
        }
    }

    /// Makes the monitoring group. One that is there already is taken over if it is empty: it has the
    /// container's id, so a runtime that was killed has left it.
    fn make_monitoring(&self, monitoring: &Path) -> Result<(), ResctrlError> {
        if self.tree.make_directory(ITEM_MONITORING, monitoring)? {
            return Ok(());
        }
        let tasks = self.tree.read(&monitoring.join("tasks")).map_err(ResctrlError::call(ITEM_MONITORING))?;
        if tasks.trim().is_empty() {
            return Ok(());
        }
        let path = self.tree.path_of(monitoring);
        let source = SysError::new(Errno::EEXIST, || format!("mkdirat({path:?})"));
        Err(ResctrlError::call(ITEM_MONITORING)(source))
    }
}

/// Changes the limits of a container's group.
///
/// # Errors
/// The limits are wrong, or the kernel does not take them.
pub(crate) fn update(record: &GroupRecord, rdt: &LinuxIntelRdt) -> Result<(), ResctrlError> {
    check(rdt).map_err(|(field, problem)| ResctrlError::Invalid { field, problem })?;
    let Some(schemata) = &record.schemata else { return Ok(()) };
    for (item, lines) in wanted(rdt) {
        let call = || format!("write({schemata:?}, {lines:?})");
        // With one write: the kernel takes it whole or not at all.
        std::fs::OpenOptions::new()
            .write(true)
            .open(schemata)
            .and_then(|mut file| std::io::Write::write_all(&mut file, format!("{lines}\n").as_bytes()))
            .map_err(|error| ResctrlError::call(item)(SysError::from_io(&error, call)))?;
    }
    Ok(())
}

/// Removes what a record names; what is gone already is no error. Goes on after an error and returns all of
/// them.
///
/// The kernel moves processes that are left in a removed group to the one above.
pub(crate) fn remove(record: &GroupRecord) -> Result<(), Vec<ResctrlError>> {
    // From below: the monitoring group may be in the group.
    let removals = [(ITEM_MONITORING, &record.monitoring), (ITEM, &record.group)];
    let failed: Vec<_> = removals
        .into_iter()
        .filter_map(|(item, path)| {
            tree::remove_directory(path.as_deref()?).map_err(ResctrlError::call(item)).err()
        })
        .collect();
    if failed.is_empty() { Ok(()) } else { Err(failed) }
}

#[cfg(test)]
mod tests;
