//! restore: CRIU makes a container's processes again from image files.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Mutex;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::checkpoint::external_name;
use super::create::{Creation, new_record};
use super::{Container, ImageOptions, Runtime};
use crate::bundle::Bundle;
use crate::criu::rpc::{self, InheritFd, JoinNamespace};
use crate::criu::{self, CriuError, mounts};
use crate::host::legacy_hierarchies;
use crate::launch::{Attempt, Failed, Launch, NewContainer, Restoration, Subject};
use crate::oci::LinuxNamespaceType;
use crate::request::{CgroupManager, Console, CreateOptions};
use crate::spec::{is_joined, namespace, namespace_name};
use crate::state::{Record, StateDirectory};
use crate::sys::{Call, SysError};
use crate::{Error, Result};

/// Options of [`Runtime::restore`].
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// Those that checkpoint has, too.
    pub images: ImageOptions,
    /// Where the terminal goes.
    pub console: Console,
    /// File that gets init's pid, in decimal.
    pub pid_file: Option<PathBuf>,
    /// Who makes cgroups.
    pub cgroup_manager: CgroupManager,
    /// TCP connections are closed instead of restored.
    pub tcp_close: bool,
    /// The security module and the profile that the processes get instead of theirs: `apparmor:NAME` or
    /// `selinux:LABEL`.
    pub lsm_profile: Option<String>,
    /// The SELinux context that mounts get instead of theirs.
    pub lsm_mount_context: Option<String>,
}

impl Runtime {
    /// Makes a container of a bundle and of the images of a [checkpoint](Container::checkpoint). Its
    /// processes go on where they were; init is a child of the caller.
    ///
    /// # Warning
    /// Images are programs with their privileges: whoever can write them is root in the container, and CRIU,
    /// which reads them, is root on the host.
    ///
    /// # Errors
    /// Nothing of the container is left; if something could not be removed, the error says what. It has
    /// CRIU's words and the path of its log.
    pub fn restore(&self, id: &str, bundle: &Bundle, options: &RestoreOptions) -> Result<Container> {
        let create = CreateOptions {
            console: options.console.clone(),
            pid_file: options.pid_file.clone(),
            cgroup_manager: options.cgroup_manager,
            ..CreateOptions::default()
        };
        let creation = Creation::new(self, id, bundle, &create)?;
        // The host half of it: what is around the processes.
        let plan = creation.plan(false)?;
        criu::check_version()?;
        let (directory, lock) = StateDirectory::create(self.root(), id)?;
        let mut record = new_record(id, bundle, &plan);
        let restored = prepare(options, bundle, &record, &directory).map_err(Unrestored::Unprepared);
        let restored = restored.and_then(|restoration| {
            let container = NewContainer { directory: &directory, record: &mut record, config: bundle };
            let launch = Launch {
                plan: &plan,
                host: creation.host(),
                subject: Subject::Container(container),
                options: creation.options,
                attempt: Attempt::Last,
                network: None,
                is_patient: false,
            };
            launch.restore(&restoration).map_err(Unrestored::Failed)
        });
        match restored {
            Ok(launched) => {
                drop(lock);
                let init = Some((launched.pidfd, launched.pid));
                let (id, console, warnings) = (id.to_owned(), launched.master, launched.warnings);
                let root = self.root().to_owned();
                let (ends, readiness) = (Mutex::default(), None);
                Ok(Container { id, root, directory, init, console, ends, readiness, warnings, refused: None })
            }
            Err(Unrestored::Failed(failed)) => Err(failed.with_directory(&directory).error.into()),
            Err(Unrestored::Unprepared(error)) => {
                directory.remove()?;
                Err(error)
            }
        }
    }
}

/// Why nothing was restored.
enum Unrestored {
    /// CRIU cannot be told what to do.
    Unprepared(Error),
    Failed(Failed),
}

/// Works out what CRIU is told, and makes mount points that are missing.
fn prepare<'a>(
    options: &'a RestoreOptions,
    bundle: &Bundle,
    record: &Record,
    directory: &StateDirectory,
) -> Result<Restoration<'a>> {
    let spec = bundle.spec();
    let rootfs = bundle.rootfs();
    let (legacy, _) = legacy_hierarchies(&record.cgroups)?;
    // CRIU wants a mount point of the container alone. In CRIU's mount namespace this one is free: nobody
    // looks for the state there.
    let root = directory.path();
    let root =
        root.canonicalize().map_err(|error| SysError::from_io(&error, || format!("readlink({root:?})")))?;
    let mut told = rpc::Options {
        root: Some(root.to_string_lossy().into_owned()),
        rst_sibling: Some(true),
        evasive_devices: Some(true),
        tcp_close: options.tcp_close.then_some(true),
        lsm_profile: options.lsm_profile.clone(),
        lsm_mount_context: options.lsm_mount_context.clone(),
        ext_mnt: mounts::to_restore(spec, bundle.directory(), &rootfs, &legacy),
        ..rpc::Options::default()
    };
    options.images.fill(spec, &mut told);
    let inherited = join_namespaces(bundle, &mut told)?;
    mounts::make_mount_points(spec, bundle.directory(), &rootfs)?;
    let network = namespace(spec, LinuxNamespaceType::Network);
    Ok(Restoration {
        images: options.images.directories(false, "restore.log"),
        options: told,
        inherited,
        null: [null_device()?, null_device()?, null_device()?],
        rootfs,
        root,
        terminal: spec.process().as_ref().is_some_and(|process| process.terminal().unwrap_or(false)),
        empty_network: network.is_some_and(|network| !is_joined(network)),
    })
}

fn null_device() -> Result<OwnedFd, SysError> {
    open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|errno| SysError::new(errno, || Call::open("/dev/null")))
}

/// The namespaces that are joined: network and PID namespaces by an fd, as they are external for the images;
/// others by path.
fn join_namespaces(bundle: &Bundle, told: &mut rpc::Options) -> Result<Vec<OwnedFd>> {
    let mut inherited = Vec::new();
    let namespaces = bundle.spec().linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    for joined in namespaces.into_iter().flatten().filter(|namespace| is_joined(namespace)) {
        let (kind, path) = (joined.typ(), joined.path().clone().unwrap_or_default());
        match kind {
            LinuxNamespaceType::Network | LinuxNamespaceType::Pid => {
                let fd = open(&path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty())
                    .map_err(|errno| {
                    SysError::new(errno, || format!("linux.namespaces: open({path:?})"))
                })?;
                told.inherit_fd.push(InheritFd { key: external_name(kind).to_owned(), fd: fd.as_raw_fd() });
                inherited.push(fd);
            }
            LinuxNamespaceType::Cgroup => {
                return Err(CriuError::Namespace { kind: namespace_name(kind) }.into());
            }
            _ => {
                let file = path.to_string_lossy().into_owned();
                told.join_ns.push(JoinNamespace { kind: kind.to_string(), file });
            }
        }
    }
    Ok(inherited)
}
