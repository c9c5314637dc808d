//! checkpoint: CRIU writes the processes of a container into image files.
//!
//! What is dumped is named as runc names it, so that either restores what the other has dumped.

use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::makedev;

use super::{Container, cgroups};
use crate::criu::rpc::{self, Features, Kind, Request};
use crate::criu::{self, Criu, CriuError, Directories, Images, NULL_DEVICE, Start, mounts};
use crate::error::Failure;
use crate::host::legacy_hierarchies;
use crate::oci::{LinuxNamespaceType, Spec};
use crate::spec::annotations::{CRIU_CONFIG, annotation};
use crate::spec::{is_joined, namespace};
use crate::state::{Record, Status};
use crate::sys::{self, Call, SysError};
use crate::{ErrorKind, Result};

/// CRIU's configs, if no annotation names one: the first that is there. runc's, as an administrator may have
/// written it.
const CONFIGS: [&str; 2] = ["/etc/criu/corten.conf", "/etc/criu/runc.conf"];

/// What checkpoint and restore have in common.
#[derive(Debug, Clone, Default)]
pub struct ImageOptions {
    /// Directory of the image files.
    pub image_path: PathBuf,
    /// Directory for CRIU's log and work files; that of the images if there is none.
    pub work_path: Option<PathBuf>,
    /// TCP connections are kept.
    pub tcp_established: bool,
    /// Unix sockets may be connected with processes outside.
    pub external_unix_sockets: bool,
    /// The processes may belong to a session, and have a terminal, of the outside.
    pub shell_job: bool,
    /// File locks are kept.
    pub file_locks: bool,
    /// Memory that is in newer images is removed from older ones.
    pub auto_dedup: bool,
    /// Memory pages stay where they are until they are needed.
    pub lazy_pages: bool,
    /// What becomes of cgroups below the container's own.
    pub cgroups: CgroupsRestored,
    /// How the network is held up meanwhile. If nothing is said it is CRIU's choice, or nftables where there
    /// is no iptables.
    pub network_lock: Option<NetworkLock>,
}

/// What CRIU does with cgroups and their properties.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CgroupsRestored {
    /// CRIU's choice: as `Soft`.
    #[default]
    Default,
    /// Properties are set in cgroups that CRIU has made.
    Soft,
    /// Properties are set in all.
    Full,
    /// All must be missing, and are made.
    Strict,
    /// Nothing.
    Ignore,
}

/// How CRIU holds up the network while TCP connections are dumped or restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NetworkLock {
    /// With iptables.
    Iptables,
    /// With nftables.
    Nftables,
    /// Not at all.
    Skip,
}

/// Where a page server listens, which takes the memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageServer {
    /// Its address.
    pub address: String,
    /// Its port.
    pub port: u16,
}

/// Options of [`Container::checkpoint`].
#[derive(Debug, Clone, Default)]
pub struct CheckpointOptions {
    /// Those that restore has, too.
    pub images: ImageOptions,
    /// Earlier images, relative to the directory of these: memory that is in them is not written again.
    pub parent_path: Option<PathBuf>,
    /// The container runs on.
    pub leave_running: bool,
    /// Only memory is written, and the container runs on: the next dump has this one as its parent.
    pub pre_dump: bool,
    /// Packets on their way to new connections are ignored.
    pub tcp_skip_in_flight: bool,
    /// Files that have no name any more get one.
    pub link_remap: bool,
    /// Where memory goes.
    pub page_server: Option<PageServer>,
    /// Number of an fd of the caller that gets a NUL byte when lazy pages can be fetched.
    pub status_fd: Option<u32>,
}

/// What is wrong with what was asked for. runc's words.
#[derive(Debug, thiserror::Error)]
enum CheckpointError {
    #[error("Container cannot be checkpointed in {0} state")]
    Status(Status),
    #[error("--parent-path must be relative")]
    AbsoluteParent,
    #[error("invalid --parent-path")]
    Parent(#[source] SysError),
    #[error("invalid --status-fd argument {fd}")]
    StatusFd {
        fd: u32,
        #[source]
        source: SysError,
    },
    #[error("invalid --status-fd argument {0}: not writable")]
    StatusFdNotWritable(u32),
}

impl Failure for CheckpointError {
    fn kind(&self) -> ErrorKind {
        if matches!(self, Self::Status(_)) { ErrorKind::WrongState } else { ErrorKind::InvalidConfig }
    }
}

impl ImageOptions {
    /// Where the images are.
    pub(super) fn directories(&self, make: bool, log: &'static str) -> Images<'_> {
        Images { path: &self.image_path, work: self.work_path.as_deref(), make, log }
    }

    /// Puts them into CRIU's options, with what is always the same (runc).
    pub(super) fn fill(&self, spec: &Spec, options: &mut rpc::Options) {
        options.tcp_established = Some(self.tcp_established);
        options.ext_unix_sk = Some(self.external_unix_sockets);
        options.shell_job = Some(self.shell_job);
        options.file_locks = Some(self.file_locks);
        options.auto_dedup = Some(self.auto_dedup);
        options.lazy_pages = Some(self.lazy_pages);
        options.manage_cgroups = Some(true);
        options.manage_cgroups_mode = Some(i32::from(match self.cgroups {
            CgroupsRestored::Default => rpc::CgroupMode::Default,
            CgroupsRestored::Soft => rpc::CgroupMode::Soft,
            CgroupsRestored::Full => rpc::CgroupMode::Full,
            CgroupsRestored::Strict => rpc::CgroupMode::Strict,
            CgroupsRestored::Ignore => rpc::CgroupMode::Ignore,
        }));
        options.network_lock = self.network_lock.or_else(usable_lock).map(|lock| {
            i32::from(match lock {
                NetworkLock::Iptables => rpc::NetworkLock::Iptables,
                NetworkLock::Nftables => rpc::NetworkLock::Nftables,
                NetworkLock::Skip => rpc::NetworkLock::Skip,
            })
        });
        options.notify_scripts = Some(true);
        options.orphan_pts_master = Some(true);
        // What is in a network namespace is the engine's.
        options.empty_ns = Some(libc::CLONE_NEWNET.cast_unsigned());
        options.config_file = match annotation(spec, CRIU_CONFIG) {
            Some("") => None,
            Some(path) => Some(path.to_owned()),
            None => CONFIGS.iter().find(|path| Path::new(path).exists()).map(|path| (*path).to_owned()),
        };
    }
}

/// Most builds of CRIU take iptables, a program that newer systems do not have; nftables CRIU does itself.
fn usable_lock() -> Option<NetworkLock> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has_iptables =
        std::env::split_paths(&path).any(|directory| directory.join("iptables-restore").exists());
    (!has_iptables).then_some(NetworkLock::Nftables)
}

/// The name that images have for a namespace that is not the container's own. runc's.
pub(super) fn external_name(kind: LinuxNamespaceType) -> &'static str {
    if kind == LinuxNamespaceType::Pid { "extRootPidNS" } else { "extRootNetNS" }
}

impl Container {
    /// Writes the processes into images. Unless they are to run on, the container is gone afterwards, as if
    /// it had ended and been deleted.
    ///
    /// Returns what went wrong with poststop hooks, one line each.
    ///
    /// # Errors
    /// The container does not run; or CRIU cannot dump it, and then it runs on as before. The error has
    /// CRIU's words and the path of its log.
    pub fn checkpoint(&self, options: &CheckpointOptions) -> Result<Vec<String>> {
        let lock = self.directory.lock()?;
        let record = self.record()?;
        let status = self.status_under(&lock, &record)?;
        if !matches!(status, Status::Running | Status::Paused) {
            return Err(CheckpointError::Status(status).into());
        }
        let config = self.config()?;
        let images = &options.images;
        let status_fd = options.status_fd.map(open_status_fd).transpose()?;
        let cgroups = cgroups(&record)?;
        let criu =
            Criu::start(Start { images: Some(images.directories(true, "dump.log")), ..Start::default() })?;
        check_parent(criu.directories()?, options.parent_path.as_deref())?;
        criu::check_version()?;
        let tracks = options.pre_dump || options.parent_path.is_some();
        if tracks || images.lazy_pages {
            criu::check_features(Features { mem_track: Some(tracks), lazy_pages: Some(images.lazy_pages) })?;
        }
        let mut request = request(options, &config, &record, criu.directories()?)?;
        if let Some(directory) = cgroups.freezer() {
            // By the fd, which is open here.
            let path = format!("/proc/{}/fd/{}", std::process::id(), directory.as_raw_fd());
            request.freeze_cgroup = Some(path);
        }
        let dumped = dump(criu, options.pre_dump, request, status_fd);
        if dumped.is_err() && status == Status::Running && cgroups.frozen().unwrap_or(true) {
            // CRIU was killed, maybe. A container that stays frozen matters more than why it was not dumped.
            cgroups.thaw()?;
        }
        dumped?;
        drop(lock);
        if options.leave_running || options.pre_dump {
            return Ok(Vec::new());
        }
        match self.delete(true) {
            // Whoever waited for its end was faster.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            deleted => deleted,
        }
    }
}

fn dump(
    mut criu: Criu,
    pre_dump: bool,
    options: rpc::Options,
    status_fd: Option<OwnedFd>,
) -> Result<(), CriuError> {
    let kind = if pre_dump { Kind::PreDump } else { Kind::Dump };
    let request = Request { kind: kind.into(), options: Some(options), ..Request::default() };
    let mut status_fd = status_fd.map(std::fs::File::from);
    criu.ask(&request, &mut |notice| {
        if notice.script == "status-ready"
            && let Some(mut fd) = status_fd.take()
        {
            // Who does not wait for it does not miss it (runc).
            fd.write_all(&[0]).ok();
        }
        Ok::<_, CriuError>(None)
    })?;
    criu.finish(&request)
}

fn check_parent(directories: &Directories, parent: Option<&Path>) -> Result<()> {
    let Some(parent) = parent else { return Ok(()) };
    if parent.is_absolute() {
        return Err(CheckpointError::AbsoluteParent.into());
    }
    Ok(directories.check_parent(parent).map_err(CheckpointError::Parent)?)
}

fn open_status_fd(fd: u32) -> Result<OwnedFd> {
    let call = |call: &'static str| {
        move |errno| CheckpointError::StatusFd { fd, source: SysError::new(errno, || call.to_owned()) }
    };
    let copy = sys::copy_inherited(fd.cast_signed()).map_err(call("fcntl"))?;
    let flags = fcntl(&copy, FcntlArg::F_GETFL).map_err(call("fcntl(F_GETFL)"))?;
    if (OFlag::from_bits_retain(flags) & OFlag::O_ACCMODE) == OFlag::O_RDONLY {
        return Err(CheckpointError::StatusFdNotWritable(fd).into());
    }
    Ok(copy)
}

/// Works out CRIU's options, and writes down what stdio is.
fn request(
    options: &CheckpointOptions,
    spec: &Spec,
    record: &Record,
    directories: &Directories,
) -> Result<rpc::Options> {
    let mut request = rpc::Options {
        pid: Some(record.pid),
        root: Some(record.rootfs.to_string_lossy().into_owned()),
        leave_running: Some(options.leave_running),
        tcp_skip_in_flight: Some(options.tcp_skip_in_flight),
        link_remap: Some(options.link_remap),
        ..rpc::Options::default()
    };
    options.images.fill(spec, &mut request);
    directories.fill(&mut request);
    if let Some(parent) = &options.parent_path {
        request.parent_img = Some(parent.to_string_lossy().into_owned());
        request.track_mem = Some(true);
    }
    request.page_server = options.page_server.as_ref().map(|server| rpc::PageServer {
        address: Some(server.address.clone()),
        port: Some(i32::from(server.port)),
    });
    for kind in [LinuxNamespaceType::Network, LinuxNamespaceType::Pid] {
        if namespace(spec, kind).is_some_and(is_joined) {
            let inode = inode(&format!("/proc/{}/ns/{kind}", record.pid))?;
            request.external.push(format!("{kind}[{inode}]:{}", external_name(kind)));
        }
    }
    if !options.pre_dump {
        let (legacy, _) = legacy_hierarchies(&record.cgroups)?;
        request.ext_mnt = mounts::of_running(spec, &record.rootfs, &legacy, record.pid)?;
        let (descriptors, external) = stdio(record)?;
        request.external.extend(external);
        directories.write_descriptors(&descriptors)?;
    }
    Ok(request)
}

/// What stdio is, and what of it CRIU must be told to leave out: files that are not of the container's
/// mounts, as a log on the host. Pipes CRIU finds itself; which of them come from outside was seen when the
/// container was made.
fn stdio(record: &Record) -> Result<(Vec<String>, Vec<String>)> {
    let mut descriptors = record.descriptors.clone();
    descriptors.resize(3, "/dev/null".to_owned());
    let mut external = Vec::new();
    let own = mounts_of(record.pid)?;
    for (fd, descriptor) in descriptors.iter_mut().enumerate() {
        let path = format!("/proc/{}/fd/{fd}", record.pid);
        // Closed, or a terminal, a pipe, a socket.
        let is_file =
            std::fs::read_link(&path).is_ok_and(|link| link.is_absolute() && !link.starts_with("/dev/pts"));
        if !is_file {
            continue;
        }
        let info = format!("/proc/{}/fdinfo/{fd}", record.pid);
        let text = read(&info)?;
        let mount = text
            .lines()
            .find_map(|line| line.strip_prefix("mnt_id:"))
            .and_then(|id| id.trim().parse::<u64>().ok());
        if let Some(mount) = mount.filter(|mount| !own.contains(mount)) {
            let found =
                std::fs::metadata(&path).map_err(|error| SysError::from_io(&error, || Call::stat(path)))?;
            let name = format!("file[{mount:x}:{:x}]", found.ino());
            external.push(name.clone());
            let is_null = found.file_type().is_char_device() && found.rdev() == makedev(1, 3);
            *descriptor = if is_null { name + NULL_DEVICE } else { name };
        }
    }
    Ok((descriptors, external))
}

/// The ids of the mounts that a process sees.
fn mounts_of(pid: i32) -> Result<Vec<u64>> {
    let text = read(&format!("/proc/{pid}/mountinfo"))?;
    Ok(text.lines().filter_map(|line| line.split(' ').next()?.parse().ok()).collect())
}

fn read(path: &str) -> Result<String, SysError> {
    std::fs::read_to_string(path).map_err(|error| SysError::from_io(&error, || Call::read(path)))
}

fn inode(path: &str) -> Result<u64, SysError> {
    let found = std::fs::metadata(path);
    found.map(|found| found.ino()).map_err(|error| SysError::from_io(&error, || Call::stat(path)))
}
