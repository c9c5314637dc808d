//! Facts about the host that a plan depends on. Probed before planning, and only those that the config asks
//! for.

pub(crate) mod mount_template;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use corten_cgroup::systemd::{Manager as Systemd, Unit};
use corten_cgroup::{Layout, LegacyControllers, Location, Machine, legacy};
use nix::errno::Errno;

use crate::error::{Error, ErrorKind, Failure, Result};
use crate::facts::{EmptyNamespace, Facts, LegacyHierarchy, PreservedFds};
use crate::oci::{LinuxNamespaceType, Spec};
use crate::plan::namespace_types;
use crate::request::{CgroupManager, CreateOptions, Request};
use crate::seccomp::{CompileOptions, Filter, SeccompError, cache, flags, from_raw, notifies};
use crate::spec::annotations::{self, annotation};
use crate::spec::namespace;
use crate::state::NOTIFY_DIRECTORY;
use crate::sys::{self, Call, SysError};

/// How long systemd may take for each thing that it is asked for. It is long: with much else to do systemd
/// answers late, but does answer.
const SYSTEMD_DEADLINE: Duration = Duration::from_secs(90);

/// Where compiled filters are kept, below the state root. No container id has this character.
const SECCOMP_CACHE: &str = "@seccomp";

/// Where and how a container is to be made, as far as its facts depend on that.
#[derive(Debug)]
pub(crate) struct Probe<'a> {
    /// The state root.
    pub(crate) root: &'a Path,
    pub(crate) machine: &'a Machine,
    /// The systemd that makes the cgroups, if one does.
    pub(crate) systemd: Option<&'a Systemd>,
    /// Where an empty mount namespace may be kept.
    pub(crate) mount_template: Option<&'a Path>,
    /// Trees have to come from a copy of the caller's mount namespace.
    pub(crate) copies_mounts: bool,
}

impl Probe<'_> {
    /// Probes what the plan of a container needs.
    pub(crate) fn facts(&self, spec: &Spec, request: &Request<'_>) -> Result<Facts> {
        let &Request { id, bundle, options, .. } = request;
        let links = links(spec, bundle);
        let own = privileges()?;
        let notify_directory = options.notify_socket.then(|| notify_directory(self.root, id)).transpose()?;
        let cgroups = self.cgroups(spec, request, own)?;
        let (legacy, legacy_links) = self.shown_hierarchies(spec, own, &cgroups)?;
        let Security { apparmor, selinux, seccomp } = security(spec, self.root)?;
        let Mounts { empty, missing_template, finds_own } = mounts(own, self.mount_template);
        // Devices that have been moved cannot be moved again: such a container must not have to begin again.
        let copies_mounts = self.copies_mounts || has_net_devices(spec) && has_mounted_mount_namespaces()?;
        Ok(Facts {
            cgroups,
            legacy_controllers: self.machine.legacy_controllers().clone(),
            legacy,
            legacy_links,
            systemd_version: self.systemd.map(Systemd::version),
            seccomp,
            privileged: own.may_mount,
            capabilities: own.capabilities,
            rootless: own.rootless,
            may_mknod: own.may_mknod,
            apparmor,
            selinux,
            links,
            notify_directory,
            empty_namespace: empty,
            missing_template,
            copies_mounts,
            finds_own_mounts: finds_own,
            preserved_fds: preserved_fds(options)?,
        })
    }

    /// Where the container's cgroups are to be.
    fn cgroups(&self, spec: &Spec, request: &Request<'_>, own: Privileges) -> Result<Location> {
        let path = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_deref());
        match (request.options.cgroup_manager, self.systemd) {
            (CgroupManager::Disabled, _) => Ok(Location::default()),
            (CgroupManager::Systemd, Some(manager)) => {
                unit(self.machine, manager, path, request.id, own.rootless)
            }
            _ => self.machine.locate(path, request.id).map_err(Error::from),
        }
    }

    /// The v1 hierarchies that the container's mounts show, and the links beside them. `cgroups`: where its
    /// own are to be.
    fn shown_hierarchies(
        &self,
        spec: &Spec,
        own: Privileges,
        cgroups: &Location,
    ) -> Result<(Vec<LegacyHierarchy>, Links)> {
        let shows_cgroups =
            spec.mounts().iter().flatten().any(|mount| mount.typ().as_deref() == Some("cgroup"));
        if !shows_cgroups || self.machine.layout() == Layout::Unified {
            return Ok((Vec::new(), Links::new()));
        }
        // An ordinary user's container may have to do without cgroups of its own.
        let none = Location::default();
        let has_namespace = namespace(spec, LinuxNamespaceType::Cgroup).is_some();
        legacy_hierarchies(if own.rootless && !has_namespace { &none } else { cgroups })
    }
}

/// How a mount namespace comes about.
#[derive(Debug, Default)]
struct Mounts {
    empty: Option<EmptyNamespace>,
    missing_template: Option<PathBuf>,
    finds_own: bool,
}

/// Finds out how a mount namespace can be made without the caller's mounts: by the kernel, or with the
/// template in this directory.
fn mounts(own: Privileges, template: Option<&Path>) -> Mounts {
    // Without `pivot_root(2)` the root is changed by chroot(2).
    let may_chroot =
        caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_SYS_CHROOT).unwrap_or(false);
    if own.rootless || !own.may_mount || !may_chroot {
        return Mounts::default();
    }
    let kernel = kernel_version();
    let finds_own = kernel >= (6, 11);
    if kernel >= (7, 1) {
        return Mounts { empty: Some(EmptyNamespace::Empty), missing_template: None, finds_own };
    }
    let empty = template.and_then(mount_template::find).map(EmptyNamespace::Template);
    let missing_template = template.filter(|_| empty.is_none()).map(ToOwned::to_owned);
    Mounts { empty, missing_template, finds_own }
}

fn has_net_devices(spec: &Spec) -> bool {
    let linux = spec.linux().as_ref();
    linux.and_then(|linux| linux.net_devices().as_ref()).is_some_and(|devices| !devices.is_empty())
}

/// A service manager's socket that is not there.
#[derive(Debug, thiserror::Error)]
#[error("LISTEN_FDS: fd {fd} is to be preserved but is not open")]
struct NotOpen {
    fd: u32,
}

impl Failure for NotOpen {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidConfig
    }
}

/// The fds that the program is to get, which came from the caller; what this process has opened itself is
/// close-on-exec. Of those that are to be preserved, what is open is meant (crun: engines pass on single ones
/// by a number above); the service manager's must all be there.
fn preserved_fds(options: &CreateOptions) -> Result<PreservedFds> {
    let first = options.listen_fds.saturating_add(3);
    let open = sys::inherited(3..first.saturating_add(options.preserve_fds))?;
    match (3..first).find(|fd| open.binary_search(fd).is_err()) {
        Some(fd) => Err(NotOpen { fd }.into()),
        None => Ok(PreservedFds::new(open)),
    }
}

/// Whether a mount namespace is mounted somewhere.
fn has_mounted_mount_namespaces() -> Result<bool> {
    let path = "/proc/thread-self/mountinfo";
    let mounts = std::fs::read(path).map_err(|error| SysError::from_io(&error, || Call::read(path)))?;
    Ok(has_namespace_root(&mounts))
}

/// Whether one of these mounts is a mount namespace.
pub(crate) fn has_namespace_root(mountinfo: &[u8]) -> bool {
    // The fourth field is the root of the mount: `mnt:[4026531841]` (proc_pid_mountinfo(5)).
    let is_one = |mount: &[u8]| {
        mount.split(|byte| *byte == b' ').nth(3).is_some_and(|root| root.starts_with(b"mnt:["))
    };
    mountinfo.split(|byte| *byte == b'\n').any(is_one)
}

/// The kernel's version; of flags that an older one refuses it is the only sign that costs nothing.
pub(crate) fn kernel_version() -> (u32, u32) {
    let release = nix::sys::utsname::uname().map(|name| name.release().to_owned()).unwrap_or_default();
    let release = release.to_string_lossy();
    let mut numbers =
        release.split(|letter: char| !letter.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Probes what the plan of a process needs that joins a container: `spec` is the container's config with that
/// process, `cgroups` where it is to be.
pub(crate) fn exec_facts(
    spec: &Spec,
    request: &Request<'_>,
    root: &Path,
    cgroups: Location,
) -> Result<Facts> {
    let own = privileges()?;
    let Security { apparmor, selinux, seccomp } = security(spec, root)?;
    let preserved_fds = preserved_fds(request.options)?;
    Ok(Facts { apparmor, selinux, seccomp, preserved_fds, ..joining(own, cgroups) })
}

/// Probes what the plan of other mounts of a running container needs: `spec` is the container's config with
/// these mounts. `adds`: they are to be made, and not taken away.
pub(crate) fn mount_facts(spec: &Spec, bundle: &Path, cgroups: Location, adds: bool) -> Result<Facts> {
    let links = links(spec, bundle);
    let own = privileges()?;
    let selinux = spec.linux().as_ref().is_some_and(|linux| linux.mount_label().is_some()) && has_selinux();
    // What has been mounted stays when a later mount fails, so that none must have to be tried again.
    let copies_mounts = adds && has_mounted_mount_namespaces()?;
    Ok(Facts { links, selinux, copies_mounts, ..joining(own, cgroups) })
}

/// What is true of whatever joins a container: the runtime's privileges, and where the container is. Nothing
/// else has been looked at.
fn joining(own: Privileges, cgroups: Location) -> Facts {
    Facts {
        cgroups,
        legacy_controllers: LegacyControllers::none(),
        legacy: Vec::new(),
        legacy_links: Links::new(),
        systemd_version: None,
        seccomp: None,
        privileged: own.may_mount,
        capabilities: own.capabilities,
        rootless: own.rootless,
        may_mknod: own.may_mknod,
        apparmor: false,
        selinux: false,
        links: BTreeMap::new(),
        notify_directory: None,
        empty_namespace: None,
        missing_template: None,
        copies_mounts: false,
        finds_own_mounts: false,
        preserved_fds: PreservedFds::default(),
    }
}

/// What is in force of what confines the process.
struct Security {
    apparmor: bool,
    selinux: bool,
    seccomp: Option<Filter>,
}

/// Probes security modules, and has the filter compiled.
fn security(spec: &Spec, root: &Path) -> Result<Security> {
    let (linux, process) = (spec.linux().as_ref(), spec.process().as_ref());
    let apparmor = process.is_some_and(|process| process.apparmor_profile().is_some()) && has_apparmor();
    let label = process.is_some_and(|process| process.selinux_label().is_some());
    let selinux = (label || linux.is_some_and(|linux| linux.mount_label().is_some())) && has_selinux();
    let seccomp = seccomp(spec, root)?;
    Ok(Security { apparmor, selinux, seccomp })
}

/// Returns the namespaces, as `CLONE_NEW*`, that a process is in and the caller is not. The caller sees to it
/// that the pid is still that of the process afterwards.
pub(crate) fn other_namespaces(pid: i32) -> Result<u64> {
    let mut other = 0;
    for (flag, kind) in namespace_types() {
        let identity = |path: String| match nix::sys::stat::stat(path.as_str()) {
            Ok(found) => Ok(Some((found.st_dev, found.st_ino))),
            // A kernel without namespaces of this type.
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(SysError::new(errno, || Call::stat(&path))),
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
fn unit(
    machine: &Machine,
    manager: &Systemd,
    path: Option<&Path>,
    id: &str,
    rootless: bool,
) -> Result<Location> {
    let path = path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    let unit = Unit::from_cgroups_path(&path, id, rootless)
        .map_err(|error| Error::of_kind(ErrorKind::InvalidConfig, error))?;
    let control_group = manager.control_group()?;
    Ok(machine.locate_unit(unit, &control_group, rootless))
}

/// Connects to the systemd that makes a caller's cgroups: the system's, or the user's for a rootless caller.
pub(crate) fn systemd(user: bool) -> Result<Systemd> {
    let manager = if user { Systemd::user(SYSTEMD_DEADLINE) } else { Systemd::system(SYSTEMD_DEADLINE) };
    Ok(manager?)
}

/// Whether the caller is not root of the whole machine.
pub(crate) fn is_rootless() -> Result<bool> {
    Ok(privileges()?.rootless)
}

/// What the runtime itself may do. The fields of [`Facts`] have the same meaning.
#[derive(Debug, Clone, Copy)]
struct Privileges {
    capabilities: u64,
    /// [`Facts::privileged`].
    may_mount: bool,
    rootless: bool,
    may_mknod: bool,
}

/// Probes what the runtime itself may do.
fn privileges() -> Result<Privileges> {
    /// `PROC_USER_INIT_INO`: the inode of the first user namespace.
    const FIRST_NAMESPACE: u64 = 0xefff_fffd;
    let own = nix::sys::stat::stat("/proc/self/ns/user")
        .map_err(|errno| SysError::new(errno, || Call::stat("/proc/self/ns/user")))?;
    let first = own.st_ino == FIRST_NAMESPACE;
    let sets = sys::own_capabilities()?;
    let has = |capability: caps::Capability| sets.effective & capability.bitmask() != 0;
    Ok(Privileges {
        capabilities: sets.permitted,
        may_mount: has(caps::Capability::CAP_SYS_ADMIN),
        rootless: !first || !nix::unistd::geteuid().is_root(),
        may_mknod: first && has(caps::Capability::CAP_MKNOD),
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

/// crun: a program in an annotation takes the place of the one that the profile stands for, of which only the
/// flags and the listener are left.
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
    cache::filter(&root.join(SECCOMP_CACHE), profile, options).map(Some)
}

/// Links beside hierarchies: name and target.
type Links = Vec<(String, String)>;

/// The v1 hierarchies of this machine with the cgroups of a container in them, and the links beside them.
pub(crate) fn legacy_hierarchies(cgroups: &Location) -> Result<(Vec<LegacyHierarchy>, Links)> {
    let mut hierarchies = Vec::new();
    let found = legacy::mounts()?;
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
    let links =
        found.links.iter().map(|(name, target)| (text(name.as_ref()), text(target.as_ref()))).collect();
    Ok((hierarchies, links))
}

impl Failure for corten_cgroup::Error {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Kernel
    }
}

impl Failure for corten_cgroup::systemd::Error {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Kernel
    }
}
