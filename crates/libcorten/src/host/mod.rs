//! Facts about the host that a plan depends on. Probed before planning, and only those that the config asks for.

pub(crate) mod mount_template;
pub(crate) mod seccomp_cache;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use corten_cgroup::systemd::{Manager as Systemd, Unit};
use corten_cgroup::{Layout, Location, Machine, legacy};

use nix::errno::Errno;

use crate::oci::{LinuxNamespaceType, Spec};
use crate::plan::seccomp::{CompileOptions, Filter, SeccompError, flags, from_raw, notifies};
use crate::plan::{BareMounts, Facts, LegacyHierarchy, Request, namespace_types};
use crate::spec::annotations::{self, annotation};
use crate::spec::namespace;
use crate::state::NOTIFY_DIRECTORY;
use crate::sys::{self, SysError};
use crate::{CgroupManager, Error, ErrorKind, Result};

/// How long systemd may take for each thing that it is asked for. It is long: with much else to do systemd answers late, but does answer.
const SYSTEMD_DEADLINE: Duration = Duration::from_secs(90);

/// Where compiled filters are kept, below the state root. No container id has this character.
const SECCOMP_CACHE: &str = "@seccomp";

/// Probes what the config's plan needs.
pub(crate) fn facts(
    spec: &Spec,
    request: &Request<'_>,
    root: &Path,
    machine: &Machine,
    systemd: Option<&Systemd>,
) -> Result<Facts> {
    let &Request { id, bundle, options, .. } = request;
    let linux = spec.linux().as_ref();
    let cgroups_path = linux.and_then(|linux| linux.cgroups_path().as_deref());
    let mut facts = Facts { links: links(spec, bundle), ..privileges()? };
    facts.notify_directory = options.notify_socket.then(|| notify_directory(root, id)).transpose()?;
    facts.legacy_controllers = machine.legacy_controllers().clone();
    facts.systemd_version = systemd.map(Systemd::version);
    facts.cgroups = match (options.cgroup_manager, systemd) {
        (CgroupManager::Disabled, _) => Location::default(),
        (CgroupManager::Systemd, Some(manager)) => unit(machine, manager, cgroups_path, id, facts.rootless)?,
        _ => machine.locate(cgroups_path, id).map_err(cgroup_error)?,
    };
    let shows_cgroups = spec.mounts().iter().flatten().any(|mount| mount.typ().as_deref() == Some("cgroup"));
    if shows_cgroups && machine.layout() != Layout::Unified {
        // An ordinary user's container may have to do without cgroups of its own.
        let none = Location::default();
        let has_namespace = namespace(spec, LinuxNamespaceType::Cgroup).is_some();
        let own = if facts.rootless && !has_namespace { &none } else { &facts.cgroups };
        (facts.legacy, facts.legacy_links) = legacy_hierarchies(own)?;
    }
    security(&mut facts, spec, root)?;
    Ok(facts)
}

/// Finds out how a mount namespace can be made without the caller's mounts: by the kernel, or with the template in this directory.
pub(crate) fn bare_mounts(facts: &mut Facts, template: Option<&Path>) {
    // Without `pivot_root(2)` the root is changed by chroot(2).
    let may_chroot = caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_SYS_CHROOT).unwrap_or(false);
    if facts.rootless || !facts.privileged || !may_chroot {
        return;
    }
    let kernel = kernel_version();
    facts.finds_own_mounts = kernel >= (6, 11);
    if kernel >= (7, 1) {
        facts.bare_mounts = Some(BareMounts::Empty);
    } else if let Some(directory) = template {
        facts.bare_mounts = mount_template::find(directory).map(BareMounts::Template);
        facts.missing_template = facts.bare_mounts.is_none().then(|| directory.to_owned());
    }
}

/// Whether a mount namespace is mounted somewhere.
pub(crate) fn has_mounted_mount_namespaces() -> Result<bool> {
    let path = "/proc/thread-self/mountinfo";
    let mounts = std::fs::read(path).map_err(|error| SysError::from_io(&error, || format!("read({path:?})")))?;
    Ok(has_namespace_root(&mounts))
}

/// Whether one of these mounts is a mount namespace.
pub(crate) fn has_namespace_root(mountinfo: &[u8]) -> bool {
    // The fourth field is the root of the mount: `mnt:[4026531841]` (proc_pid_mountinfo(5)).
    let is_one = |mount: &[u8]| mount.split(|byte| *byte == b' ').nth(3).is_some_and(|root| root.starts_with(b"mnt:["));
    mountinfo.split(|byte| *byte == b'\n').any(is_one)
}

/// The kernel's version; of flags that an older one refuses it is the only sign that costs nothing.
pub(crate) fn kernel_version() -> (u32, u32) {
    let release = nix::sys::utsname::uname().map(|name| name.release().to_owned()).unwrap_or_default();
    let release = release.to_string_lossy();
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Probes what the plan of a process needs that joins a container: `spec` is the container's config with that process, `cgroups`
/// where it is to be.
pub(crate) fn exec_facts(spec: &Spec, root: &Path, cgroups: Location) -> Result<Facts> {
    let mut facts = Facts { cgroups, ..privileges()? };
    security(&mut facts, spec, root)?;
    Ok(facts)
}

/// Probes what the plan of other mounts of a running container needs: `spec` is the container's config with these mounts.
pub(crate) fn mount_facts(spec: &Spec, bundle: &Path, cgroups: Location) -> Result<Facts> {
    let mut facts = Facts { cgroups, links: links(spec, bundle), ..privileges()? };
    facts.selinux = spec.linux().as_ref().is_some_and(|linux| linux.mount_label().is_some()) && has_selinux();
    Ok(facts)
}

/// Probes security modules, and has the filter compiled.
fn security(facts: &mut Facts, spec: &Spec, root: &Path) -> Result<()> {
    let (linux, process) = (spec.linux().as_ref(), spec.process().as_ref());
    facts.apparmor = process.is_some_and(|process| process.apparmor_profile().is_some()) && has_apparmor();
    let label = process.is_some_and(|process| process.selinux_label().is_some());
    facts.selinux = (label || linux.is_some_and(|linux| linux.mount_label().is_some())) && has_selinux();
    facts.seccomp = seccomp(spec, root).map_err(|error| Error::new(ErrorKind::InvalidConfig, error))?;
    Ok(())
}

/// Returns the namespaces, as `CLONE_NEW*`, that a process is in and the caller is not. The caller sees to it that the pid is
/// still that of the process afterwards.
pub(crate) fn other_namespaces(pid: i32) -> Result<u64> {
    let mut other = 0;
    for (flag, kind) in namespace_types() {
        let identity = |path: String| match nix::sys::stat::stat(path.as_str()) {
            Ok(found) => Ok(Some((found.st_dev, found.st_ino))),
            // A kernel without namespaces of this type.
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(SysError::new(errno, || format!("stat({path:?})"))),
        };
        if identity(format!("/proc/{pid}/ns/{kind}"))? != identity(format!("/proc/self/ns/{kind}"))? {
            other |= flag;
        }
    }
    Ok(other)
}

/// Where the socket for sd_notify(3) is to be.
fn notify_directory(root: &Path, id: &str) -> Result<PathBuf> {
    let root = std::path::absolute(root)
        .map_err(|error| SysError::from_io(&error, || format!("absolute path of {root:?}")))?;
    Ok(root.join(id).join(NOTIFY_DIRECTORY))
}

/// Where the unit of a container is to be.
fn unit(machine: &Machine, manager: &Systemd, path: Option<&Path>, id: &str, rootless: bool) -> Result<Location> {
    let path = path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    let unit =
        Unit::from_cgroups_path(&path, id, rootless).map_err(|error| Error::new(ErrorKind::InvalidConfig, error))?;
    let control_group = manager.control_group().map_err(|error| Error::new(ErrorKind::Kernel, error))?;
    Ok(machine.locate_unit(unit, &control_group, rootless))
}

/// Connects to the systemd that makes a caller's cgroups: the system's, or the user's for a rootless caller.
pub(crate) fn systemd(user: bool) -> Result<Systemd> {
    let manager = if user { Systemd::user(SYSTEMD_DEADLINE) } else { Systemd::system(SYSTEMD_DEADLINE) };
    manager.map_err(|error| Error::new(ErrorKind::Kernel, error))
}

/// Whether the caller is not root of the whole machine.
pub(crate) fn is_rootless() -> Result<bool> {
    Ok(privileges()?.rootless)
}

/// Probes what the runtime itself may do.
fn privileges() -> Result<Facts> {
    /// `PROC_USER_INIT_INO`: the inode of the first user namespace.
    const FIRST_NAMESPACE: u64 = 0xefff_fffd;
    let own = nix::sys::stat::stat("/proc/self/ns/user")
        .map_err(|errno| SysError::new(errno, || "stat(\"/proc/self/ns/user\")".to_owned()))?;
    let first = own.st_ino == FIRST_NAMESPACE;
    let sets = sys::own_capabilities()?;
    let has = |capability: caps::Capability| sets.effective & capability.bitmask() != 0;
    Ok(Facts {
        capabilities: sets.permitted,
        privileged: has(caps::Capability::CAP_SYS_ADMIN),
        rootless: !first || !nix::unistd::geteuid().is_root(),
        may_mknod: first && has(caps::Capability::CAP_MKNOD),
        ..Facts::default()
    })
}

/// Whether AppArmor is there and enabled.
fn has_apparmor() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.first() == Some(&b'Y'))
}

/// Whether SELinux is on: its filesystem is registered then.
fn has_selinux() -> bool {
    let filesystems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    filesystems.lines().any(|line| line.ends_with("\tselinuxfs"))
}

/// Sources of mounts that are symbolic links to copy (`copy-symlink`), by their position.
fn links(spec: &Spec, bundle: &Path) -> BTreeMap<usize, PathBuf> {
    let mut links = BTreeMap::new();
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        let copies = mount.options().iter().flatten().any(|option| option == "copy-symlink");
        let source = mount.source().as_ref().filter(|_| copies);
        // What is no link is mounted; what is not there is that mount's error.
        if let Some(Ok(target)) = source.map(|source| std::fs::read_link(bundle.join(source))) {
            links.insert(index, target);
        }
    }
    links
}

/// crun: a program in an annotation takes the place of the one that the profile stands for, of which only the flags and
/// the listener are left.
fn seccomp(spec: &Spec, root: &Path) -> std::result::Result<Option<Filter>, SeccompError> {
    let profile = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    if let Some(program) = annotation(spec, annotations::SECCOMP_PROGRAM) {
        let mut filter = from_raw(program)?;
        if let Some(profile) = profile {
            (filter.flags, filter.notify) = (flags(profile), notifies(profile));
        }
        return Ok(Some(filter));
    }
    let Some(profile) = profile else {
        return Ok(None);
    };
    let fail_unknown = annotations::switch(spec, annotations::SECCOMP_FAIL_UNKNOWN).unwrap_or(false);
    let options = CompileOptions { fail_unknown };
    seccomp_cache::filter(&root.join(SECCOMP_CACHE), profile, options).map(Some)
}

/// Links beside hierarchies: name and target.
type Links = Vec<(String, String)>;

/// The v1 hierarchies of this machine with the cgroups of a container in them, and the links beside them.
pub(crate) fn legacy_hierarchies(cgroups: &Location) -> Result<(Vec<LegacyHierarchy>, Links)> {
    let mut hierarchies = Vec::new();
    let found = legacy::mounts().map_err(cgroup_error)?;
    let directory = PathBuf::from("/sys/fs/cgroup");
    for mount in found.mounts {
        let name = mount.name.to_string_lossy().into_owned();
        let key = mount.options.iter().find(|option| option.starts_with("name=")).unwrap_or(&name);
        let path = cgroups.legacy.get(key);
        // Without one of its own the container is in the caller's, which is not for it to change.
        let (is_own, path) = (path.is_some(), path.unwrap_or(&mount.own_cgroup));
        let path = directory.join(&name).join(path.strip_prefix("/").unwrap_or(path));
        hierarchies.push(LegacyHierarchy { path, is_own, options: mount.options, name });
    }
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let links = found.links.iter().map(|(name, target)| (text(name.as_ref()), text(target.as_ref()))).collect();
    Ok((hierarchies, links))
}

/// Wraps an error of the cgroup crate.
pub(crate) fn cgroup_error(error: corten_cgroup::Error) -> Error {
    Error::new(ErrorKind::Kernel, error)
}
