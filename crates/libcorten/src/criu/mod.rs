//! CRIU, which writes the processes of a container into files and makes them again.
//!
//! ```text
//! criu swrk FD                            runtime
//!  │◀────────────────── Request(dump/restore)─│ options; directories by fd, which criu opens by /proc/PID/fd
//!  │── Notify(setup-namespaces, pid) ────────▶│ restore: hooks
//!  │◀──────────────────────── notify_success ─│
//!  │── Notify(orphan-pts-master) + master ───▶│ restore: hands the terminal's master on
//!  │── Notify(post-restore, pid) ────────────▶│ restore: writes the state; the processes do not run yet
//!  │── Response(success, errno) ─────────────▶│
//! ```
//!
//! One process of criu for each question, found in the caller's `$PATH`; it gets stdio, the socket and what
//! it is to hand on, no other fd. For a restore it lives in a mount namespace of its own, so that what it
//! needs mounted is nowhere else, and is gone with it whatever happens.
//! Privilege: root's. Kernel: socketpair(SEQPACKET), unshare(CLONE_NEWNS).
//! Attacker: none beyond the container. Images are programs: who can write them is root in all that is
//! restored from them.

mod directories;
mod error;
mod log;
pub(crate) mod mounts;
pub(crate) mod rpc;

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Seek};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, Shutdown, SockFlag, SockType, recvmsg, sendmsg, shutdown,
    socketpair,
};
use nix::unistd::Pid;
use prost::Message;

pub(crate) use directories::{Directories, Images, NULL_DEVICE};
pub(crate) use error::CriuError;
use rpc::{Features, Kind, Request, Response};

use crate::sys::{self, SysError};

/// The oldest CRIU: all that is asked for is known to it (external PID namespaces, status notifications, LSM
/// profiles).
const MINIMUM: (i32, i32) = (3, 16);
/// How long CRIU may take from one message to the next, and to its end: images may be large and disks slow.
const DEADLINE: Duration = Duration::from_secs(3600);
/// How long CRIU may take to notice that what it restores has ended. It waits for some of its own dead for
/// good.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest message of CRIU's.
const MAX_MESSAGE: usize = 64 * 1024;

/// Something that CRIU has come to; it waits for the answer.
#[derive(Debug)]
pub(crate) struct Notice {
    /// `post-dump`, `setup-namespaces`, `orphan-pts-master`, …
    pub(crate) script: String,
    /// The first process of the tree, on the host.
    pub(crate) pid: Option<i32>,
    /// What came with it.
    pub(crate) fd: Option<OwnedFd>,
}

/// How CRIU is started.
#[derive(Debug, Default)]
pub(crate) struct Start<'a> {
    /// Its stdio is this process's, for the restored processes; else it has none.
    pub(crate) inherits_stdio: bool,
    /// Fds that it gets under their numbers.
    pub(crate) inherited: Vec<RawFd>,
    /// The directories, if it is to read or write images.
    pub(crate) images: Option<Images<'a>>,
    /// A directory that it sees a bind mount of, and where: in a mount namespace of its own, in which the
    /// directories are opened, too, as CRIU mounts something in its work directory.
    pub(crate) root: Option<(&'a Path, &'a Path)>,
}

/// A process of CRIU that waits for a request.
#[derive(Debug)]
pub(crate) struct Criu {
    child: Child,
    socket: OwnedFd,
    /// What it writes to stderr before it has a log.
    said: Option<File>,
    directories: Option<Directories>,
}

/// Checks that there is a CRIU, and one that is new enough.
pub(crate) fn check_version() -> Result<(), CriuError> {
    let response = ask(&Request { kind: Kind::Version.into(), ..Request::default() })?;
    let version = response.version.ok_or(CriuError::Protocol)?;
    let found = (version.major, version.minor);
    if found < MINIMUM { Err(CriuError::Old { found }) } else { Ok(()) }
}

/// Checks that CRIU and the kernel have what is asked for.
pub(crate) fn check_features(wanted: Features) -> Result<(), CriuError> {
    let request = Request { kind: Kind::FeatureCheck.into(), features: Some(wanted), ..Request::default() };
    let found = ask(&request)?.features.unwrap_or_default();
    let lacks = |wanted: Option<bool>, found: Option<bool>| wanted == Some(true) && found != Some(true);
    if lacks(wanted.mem_track, found.mem_track) {
        let meaning =
            "pre-dump and parent images need a kernel that tracks changes of memory, CONFIG_MEM_SOFT_DIRTY";
        return Err(CriuError::Lacks { name: "MemTrack", meaning });
    }
    if lacks(wanted.lazy_pages, found.lazy_pages) {
        return Err(CriuError::Lacks {
            name: "LazyPages",
            meaning: "they need a kernel with userfaultfd(2)",
        });
    }
    Ok(())
}

fn ask(request: &Request) -> Result<Response, CriuError> {
    let mut criu = Criu::start(Start::default())?;
    let response = criu.ask(request, &mut |_| Ok::<_, CriuError>(None))?;
    criu.finish(request)?;
    Ok(response)
}

impl Criu {
    pub(crate) fn start(start: Start<'_>) -> Result<Self, CriuError> {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .map_err(|errno| SysError::new(errno, || "socketpair(AF_UNIX, SOCK_SEQPACKET)".to_owned()))?;
        let mut command = Command::new("criu");
        command.arg("swrk").arg(theirs.as_raw_fd().to_string());
        let mut said = None;
        if start.inherits_stdio {
            command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
        } else {
            let file = sys::memfd(c"criu-stderr")?;
            let copy = file
                .try_clone()
                .map_err(|error| SysError::from_io(&error, || "dup(criu-stderr)".to_owned()))?;
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(copy);
            said = Some(file);
        }
        let mut inherited = start.inherited;
        inherited.push(theirs.as_raw_fd());
        sys::isolate(&mut command, inherited);
        let images = start.images;
        let mut spawn = || {
            let directories = images.map(|images| Directories::open(&images)).transpose()?;
            let child = command.spawn().map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => CriuError::Missing,
                _ => SysError::from_io(&error, || "execve(\"criu\")".to_owned()).into(),
            })?;
            Ok::<_, CriuError>((child, directories))
        };
        let (child, directories) = match start.root {
            None => spawn()?,
            Some((root, place)) => in_own_mounts(|| {
                bind(root, place)?;
                spawn()
            })?,
        };
        Ok(Self { child, socket: ours, said, directories })
    }

    /// Returns the directories of the images.
    pub(crate) fn directories(&self) -> Result<&Directories, CriuError> {
        self.directories.as_ref().ok_or(CriuError::Protocol)
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Asks, and answers notifications until CRIU has answered. When a notification fails, CRIU is told so
    /// and takes back what it has done. One may bring the pidfd of the process that all of this is for: when
    /// that has ended, CRIU is not waited for.
    pub(crate) fn ask<E: From<CriuError>>(
        &mut self,
        request: &Request,
        notified: &mut dyn FnMut(Notice) -> Result<Option<OwnedFd>, E>,
    ) -> Result<Response, E> {
        self.send(request)?;
        let mut failure = None;
        let mut process: Option<OwnedFd> = None;
        loop {
            let (response, fd) = self.hear(process.as_ref())?;
            if response.kind == i32::from(Kind::Notify) && response.success {
                let notify = response.notify.unwrap_or_default();
                let notice = Notice { script: notify.script.unwrap_or_default(), pid: notify.pid, fd };
                match if failure.is_none() { notified(notice) } else { Ok(None) } {
                    Ok(found) => process = found.or(process),
                    Err(error) => failure = Some(error),
                }
                let (kind, success) = (Kind::Notify.into(), Some(failure.is_none()));
                self.send(&Request { kind, notify_success: success, ..Request::default() })?;
                continue;
            }
            return match failure {
                Some(failure) => Err(failure),
                None if response.success => Ok(response),
                None => Err(self.failed(&response).into()),
            };
        }
    }

    /// Waits for CRIU's end.
    pub(crate) fn finish(&mut self, request: &Request) -> Result<(), CriuError> {
        // It may have gone already.
        shutdown(self.socket.as_raw_fd(), Shutdown::Write).ok();
        let status = self.wait()?;
        // After a pre-dump CRIU would go on with another, and takes it amiss that there is none.
        if status.success() || request.kind == i32::from(Kind::PreDump) {
            return Ok(());
        }
        let (why, log) = self.why(None);
        Err(CriuError::EndedBadly { how: status.to_string(), why, log })
    }

    fn wait(&mut self) -> Result<ExitStatus, CriuError> {
        let pidfd = sys::open_pidfd(Pid::from_raw(self.pid()))?;
        if !sys::wait_ended(&pidfd, DEADLINE)? {
            return Err(CriuError::Deadline { seconds: DEADLINE.as_secs() });
        }
        self.child.wait().map_err(|error| SysError::from_io(&error, || "waitid(criu)".to_owned()).into())
    }

    fn send(&self, request: &Request) -> Result<(), CriuError> {
        let bytes = request.encode_to_vec();
        match sendmsg::<()>(
            self.socket.as_raw_fd(),
            &[IoSlice::new(&bytes)],
            &[],
            MsgFlags::MSG_NOSIGNAL,
            None,
        ) {
            // Why it has gone is heard next.
            Ok(_) | Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
            Err(errno) => Err(SysError::new(errno, || "sendmsg(criu)".to_owned()).into()),
        }
    }

    fn hear(&mut self, process: Option<&OwnedFd>) -> Result<(Response, Option<OwnedFd>), CriuError> {
        let failed = |errno| SysError::new(errno, || "recvmsg(criu)".to_owned());
        let fds: Vec<_> = std::iter::once(self.socket.as_fd()).chain(process.map(AsFd::as_fd)).collect();
        match sys::wait_any(&fds, DEADLINE).map_err(failed)? {
            Some(0) => {}
            Some(_) if sys::wait_readable(&self.socket, PATIENCE).map_err(failed)? => {}
            Some(_) => {
                let (why, log) = self.why(None);
                return Err(CriuError::Stuck { why, log });
            }
            None => return Err(CriuError::Deadline { seconds: DEADLINE.as_secs() }),
        }
        let mut buffer = vec![0; MAX_MESSAGE];
        let mut control = nix::cmsg_space!([RawFd; 1]);
        let mut into = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let received = match recvmsg::<()>(self.socket.as_raw_fd(), &mut into, Some(&mut control), flags) {
            Err(Errno::ECONNRESET) => return Err(self.ended()),
            other => other.map_err(failed)?,
        };
        let mut carried = None;
        for message in received.cmsgs().map_err(failed)? {
            if let ControlMessageOwned::ScmRights(fds) = message {
                carried = fds.into_iter().map(sys::adopt_received).next_back();
            }
        }
        let (length, truncated) = (received.bytes, received.flags.contains(MsgFlags::MSG_TRUNC));
        if length == 0 {
            return Err(self.ended());
        }
        let response = Response::decode(buffer.get(..length).unwrap_or_default());
        response.ok().filter(|_| !truncated).map(|response| (response, carried)).ok_or(CriuError::Protocol)
    }

    fn failed(&mut self, response: &Response) -> CriuError {
        let (why, log) = self.why(response.message.as_deref());
        CriuError::Failed { kind: response.kind, errno: response.errno.unwrap_or(0), why, log }
    }

    fn ended(&mut self) -> CriuError {
        match self.wait() {
            Ok(status) => {
                let (why, log) = self.why(None);
                CriuError::Ended { how: status.to_string(), why, log }
            }
            Err(error) => error,
        }
    }

    /// CRIU's own words: of the log, else of the answer, else of stderr; and the log's path.
    fn why(&mut self, answered: Option<&str>) -> (String, Option<std::path::PathBuf>) {
        let log = self.directories.as_ref().and_then(Directories::read_log);
        let mut errors = log.as_ref().map(|(_, text)| log::errors(text)).unwrap_or_default();
        if errors.is_empty() {
            errors.extend(answered.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()));
        }
        if errors.is_empty()
            && let Some(said) = &mut self.said
        {
            let mut text = Vec::new();
            if said.rewind().and_then(|()| said.take(64 * 1024).read_to_end(&mut text)).is_ok() {
                errors = log::errors(&String::from_utf8_lossy(&text));
            }
        }
        (errors.join("; "), log.map(|(path, _)| path))
    }
}

impl Drop for Criu {
    fn drop(&mut self) {
        // One that has been waited for is not signalled again: std knows.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Runs something in a mount namespace of its own, in which the host's mounts come and nothing goes to the
/// host. By a thread: a mount namespace can be a thread's.
pub(crate) fn in_own_mounts<T: Send, E: From<CriuError> + Send>(
    work: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E> {
    let enter = || {
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)
            .map_err(|errno| SysError::new(errno, || "unshare(CLONE_NEWNS)".to_owned()))?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)
            .map_err(|errno| SysError::new(errno, || "mount(\"/\", MS_REC|MS_SLAVE)".to_owned()))
    };
    let thread = || -> Result<T, E> {
        enter().map_err(CriuError::from)?;
        work()
    };
    sys::in_a_thread(thread).map_err(CriuError::from)?
}

fn bind(source: &Path, target: &Path) -> Result<(), CriuError> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>).map_err(
        |errno| SysError::new(errno, || format!("mount({source:?}, {target:?}, MS_BIND|MS_REC)")).into(),
    )
}
