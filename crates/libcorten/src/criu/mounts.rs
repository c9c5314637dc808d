//! Mounts that come from outside: CRIU writes down their names, and is told their sources when it makes them
//! again.
//!
//! The names are runc's: the mount point in the container, with links of the rootfs followed, and `/dev/null`
//! for all masked files.
//! Attacker: owns the rootfs. Mount points are made in it by fd only, as at `create`; a name is but a name.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::{Mode, SFlag, fstat, makedev, mkdirat};

use super::rpc::ExternalMount;
use super::{CriuError, in_own_mounts};
use crate::facts::LegacyHierarchy;
use crate::oci::{Linux, LinuxNamespaceType, Mount, Spec};
use crate::plan::is_bind;
use crate::spec::namespace;
use crate::sys::{self, Call, SysError};

/// How many links a name may have, as for the kernel.
const MAX_LINKS: u32 = 40;
/// Devices that every container has, by bind mounts in a user namespace.
const DEVICES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/random", "/dev/urandom"];

/// What is external in a container that runs: names by mount points. `init`: its pid.
pub(crate) fn of_running(
    spec: &Spec,
    rootfs: &Path,
    legacy: &[LegacyHierarchy],
    init: i32,
) -> Result<Vec<ExternalMount>, CriuError> {
    let same = |path: PathBuf| ExternalMount { key: text(&path), value: text(&path) };
    let mut external: Vec<_> = named(spec, rootfs, legacy).into_iter().map(|(name, _)| same(name)).collect();
    let path = PathBuf::from(format!("/proc/{init}/root"));
    let root = open(&path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|errno| SysError::new(errno, || Call::open(&path)))?;
    for masked in masked_paths(spec) {
        // Masked files have the null device over them; directories an empty filesystem, which CRIU knows.
        if is_null_device(&root, masked) {
            external.push(ExternalMount { key: masked.clone(), value: DEVICES[0].to_owned() });
        }
    }
    external.extend(devices(spec).map(same));
    Ok(external)
}

/// The sources of what is external, by names.
pub(crate) fn to_restore(
    spec: &Spec,
    bundle: &Path,
    rootfs: &Path,
    legacy: &[LegacyHierarchy],
) -> Vec<ExternalMount> {
    let mut external: Vec<_> = named(spec, rootfs, legacy)
        .into_iter()
        .map(|(name, source)| ExternalMount { key: text(&name), value: text(&bundle.join(source)) })
        .collect();
    if masked_paths(spec).next().is_some() {
        external.push(ExternalMount { key: DEVICES[0].to_owned(), value: DEVICES[0].to_owned() });
    }
    external.extend(devices(spec).map(|path| ExternalMount { key: text(&path), value: text(&path) }));
    external
}

/// Bind mounts, and v1 cgroups where they are shown by such: name and source.
fn named(spec: &Spec, rootfs: &Path, legacy: &[LegacyHierarchy]) -> Vec<(PathBuf, PathBuf)> {
    let mut named = Vec::new();
    for mount in spec.mounts().iter().flatten() {
        let name = resolve(rootfs, mount.destination());
        if is_bind(mount) {
            named.push((name, mount.source().clone().unwrap_or_default()));
        } else if mount.typ().as_deref() == Some("cgroup")
            && namespace(spec, LinuxNamespaceType::Cgroup).is_none()
        {
            named.extend(legacy.iter().map(|hierarchy| (name.join(&hierarchy.name), hierarchy.path.clone())));
        }
    }
    named
}

fn masked_paths(spec: &Spec) -> impl Iterator<Item = &String> {
    let linux = spec.linux().as_ref();
    linux.and_then(|linux| linux.masked_paths().as_ref()).into_iter().flatten()
}

fn devices(spec: &Spec) -> impl Iterator<Item = PathBuf> {
    let listed =
        spec.linux().as_ref().and_then(|linux: &Linux| linux.devices().as_ref()).into_iter().flatten();
    DEVICES.iter().map(PathBuf::from).chain(listed.map(|device| device.path().clone()))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn is_null_device(root: &OwnedFd, path: &str) -> bool {
    let found = open_in(root, Path::new(path)).and_then(|fd| fstat(&fd));
    found.is_ok_and(|found| {
        SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFCHR
            && found.st_rdev == makedev(1, 3)
    })
}

/// Opens what a path means inside a root.
fn open_in(root: impl AsFd, path: &Path) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root.as_fd(), path, how)
}

/// The name that a path in a root comes to when its links are followed. What is not there has no links. Only
/// a name: whoever owns the root may change it at any time.
fn resolve(root: &Path, path: &Path) -> PathBuf {
    let mut resolved = PathBuf::from("/");
    let mut rest: Vec<PathBuf> = vec![path.to_owned()];
    let mut links = 0;
    while let Some(path) = rest.pop() {
        let mut components = path.components();
        let Some(component) = components.next() else { continue };
        rest.push(components.as_path().to_owned());
        match component {
            Component::Normal(name) => {
                let here = resolved.join(name);
                let below = here.strip_prefix("/").unwrap_or(&here);
                match std::fs::read_link(root.join(below)) {
                    Ok(target) if links < MAX_LINKS => {
                        links += 1;
                        if target.is_absolute() {
                            resolved = PathBuf::from("/");
                        }
                        rest.push(target);
                    }
                    _ => resolved = here,
                }
            }
            Component::ParentDir => {
                resolved.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    resolved
}

/// Makes the mount points that are missing in the rootfs, as `create` does; what is on a tmpfs comes with its
/// content. What is mounted for this is mounted in a namespace that is gone afterwards.
pub(crate) fn make_mount_points(spec: &Spec, bundle: &Path, rootfs: &Path) -> Result<(), CriuError> {
    in_own_mounts(|| {
        let root = open(rootfs, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| SysError::new(errno, || format!("open({rootfs:?}, O_DIRECTORY)")))?;
        let mounts: Vec<_> = spec.mounts().iter().flatten().collect();
        for mount in &mounts {
            if mount.typ().as_deref() == Some("cgroup") || is_on_tmpfs(mount, &mounts) {
                continue;
            }
            let source = bundle.join(mount.source().clone().unwrap_or_default());
            let is_file = is_bind(mount) && !source.is_dir();
            let target = make_in(&root, mount.destination(), is_file)
                .map_err(|errno| SysError::new(errno, || format!("mkdir({:?})", mount.destination())))?;
            if is_bind(mount) {
                // Later mount points may be in it.
                let by_fd = sys::path_by_fd(&target);
                super::bind(&source, &by_fd)?;
            }
        }
        Ok(())
    })
}

fn is_on_tmpfs(mount: &Mount, mounts: &[&Mount]) -> bool {
    let is_above = |other: &&Mount| {
        other.typ().as_deref() == Some("tmpfs")
            && mount.destination() != other.destination()
            && mount.destination().starts_with(other.destination())
    };
    mounts.iter().any(is_above)
}

/// Opens a path in a root, after making what is missing of it.
fn make_in(root: &OwnedFd, path: &Path, is_file: bool) -> nix::Result<OwnedFd> {
    let names: Vec<_> = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .collect();
    let mut here = PathBuf::from(".");
    let mut directory = open_in(root, &here)?;
    for (index, name) in names.iter().enumerate() {
        here.push(name);
        directory = match open_in(root, &here) {
            Ok(found) => found,
            Err(Errno::ENOENT) => {
                let name = name.as_os_str();
                if is_file && index + 1 == names.len() {
                    let flags = OFlag::O_CREAT
                        | OFlag::O_EXCL
                        | OFlag::O_NOFOLLOW
                        | OFlag::O_WRONLY
                        | OFlag::O_CLOEXEC;
                    openat(&directory, name, flags, Mode::from_bits_truncate(0o644))?;
                } else {
                    mkdirat(&directory, name, Mode::from_bits_truncate(0o755))?;
                }
                let how = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                openat(&directory, name, how, Mode::empty())?
            }
            Err(errno) => return Err(errno),
        };
    }
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn names_have_no_links() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        std::fs::create_dir_all(root.join("run/a")).unwrap();
        std::fs::create_dir(root.join("var")).unwrap();
        symlink("/run", root.join("var/run")).unwrap();
        symlink("../../../run/a", root.join("var/up")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        for (path, name) in [
            ("/proc", "/proc"),
            ("/var/run/x", "/run/x"),
            ("/var/run/../y", "/y"),
            ("/var/up/b", "/run/a/b"),
            ("/not/there/../here", "/not/here"),
            ("/../..", "/"),
        ] {
            assert_eq!(resolve(root, Path::new(path)), PathBuf::from(name), "{path}");
        }
        // Whatever it comes to, it ends.
        resolve(root, Path::new("/loop/x"));
    }

    #[test]
    fn mount_points_are_made_inside() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        std::fs::create_dir_all(&root).unwrap();
        std::fs::create_dir(directory.path().join("outside")).unwrap();
        symlink("../outside", root.join("up")).unwrap();
        symlink(directory.path().join("outside"), root.join("out")).unwrap();
        let fd = open(&root, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        make_in(&fd, Path::new("/a/b"), false).unwrap();
        make_in(&fd, Path::new("/a/file"), true).unwrap();
        make_in(&fd, Path::new("/a/file"), true).unwrap();
        assert!(root.join("a/b").is_dir() && root.join("a/file").is_file());
        for link in ["/up/x", "/out/x"] {
            // Inside the root the link leads nowhere.
            make_in(&fd, Path::new(link), false).unwrap_err();
        }
        assert_eq!(std::fs::read_dir(directory.path().join("outside")).unwrap().count(), 0);
    }
}
