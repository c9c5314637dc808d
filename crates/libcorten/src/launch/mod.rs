//! The runtime's half: carries out the host steps of a plan.
//!
//! Stage: host; init runs at the same time from `CloneInit` on.
//! Privilege: the caller's. Kernel: clone3 (5.7 for `CLONE_INTO_CGROUP`), the calls of the steps.
//! Attacker: owns the rootfs and may move things while this runs: every path of the bundle is resolved once. Another user of
//! the host: sees neither the state directory (0700) nor init (not dumpable).
//!
//! A failed launch leaves nothing: init is killed and reaped, the cgroup removed; the caller removes the state directory.

mod console;
mod error;
#[cfg_attr(not(test), expect(dead_code, reason = "wired by the plan"))]
mod net_devices;
#[cfg_attr(not(test), expect(dead_code, reason = "wired by the plan"))]
mod resctrl;
mod sync;

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use corten_cgroup::{Cgroup, Hierarchy, device};
use corten_init::{Slot, SyncPoint};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket, socketpair};
use nix::sys::stat::{SFlag, fstat};

pub(crate) use error::LaunchError;
pub(crate) use sync::Channel;

use crate::lifecycle::Console;
use crate::plan::{HostStep, Plan, Planned};
use crate::state::{Record, StateDirectory, start_time};
use crate::sys::{self, InitProcess, InitStart, SysError, TreeKind};

/// How long init may take from one point to the next. Mounts of slow network filesystems set the measure.
const INIT_DEADLINE: Duration = Duration::from_secs(120);
/// How long the processes of a failed launch may take to die.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// What a launch works with.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) directory: &'a StateDirectory,
    pub(crate) record: &'a mut Record,
    pub(crate) hierarchy: &'a Hierarchy,
    pub(crate) console: &'a Console,
    /// Fds by slot.
    fds: Vec<Option<OwnedFd>>,
    cgroup: Option<Cgroup>,
    init: Option<InitProcess>,
    channel: Option<Channel>,
    master: Option<OwnedFd>,
    pid_file: Option<PathBuf>,
}

/// A container that has been launched.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) pidfd: Arc<OwnedFd>,
    pub(crate) master: Option<OwnedFd>,
}

impl<'a> Launch<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        directory: &'a StateDirectory,
        record: &'a mut Record,
        hierarchy: &'a Hierarchy,
        console: &'a Console,
    ) -> Self {
        let fds = (0..plan.slots).map(|_| None).collect();
        Self {
            plan,
            directory,
            record,
            hierarchy,
            console,
            fds,
            cgroup: None,
            init: None,
            channel: None,
            master: None,
            pid_file: None,
        }
    }

    /// Carries out the plan. `observe` sees each step before it is done.
    ///
    /// # Errors
    /// Init and the cgroup are gone then; what could not be removed is part of the error.
    pub(crate) fn run(mut self, observe: &mut dyn FnMut(&Planned<HostStep>)) -> Result<Launched, LaunchError> {
        for planned in &self.plan.host {
            observe(planned);
            if let Err(error) = self.step(planned) {
                return Err(self.undo(error));
            }
        }
        match self.init {
            Some(mut init) => {
                init.has_left();
                Ok(Launched { pidfd: init.pidfd().clone(), master: self.master })
            }
            None => Err(LaunchError::NoInit),
        }
    }

    fn step(&mut self, planned: &Planned<HostStep>) -> Result<(), LaunchError> {
        let at =
            |error: SysError| LaunchError::Step { item: planned.item.to_string_lossy().into_owned(), source: error };
        match &planned.step {
            HostStep::RecordCreating => Ok(self.directory.write(self.record)?),
            HostStep::CreateCgroup { path } => {
                self.cgroup = Some(self.hierarchy.create(path)?);
                Ok(())
            }
            HostStep::OpenTree { source, recursive, directory, slot } => {
                let tree = open_tree(source, *recursive, *directory).map_err(at)?;
                self.put(*slot, tree)
            }
            HostStep::OpenNull { slot } => {
                let null = open_null().map_err(at)?;
                self.put(*slot, null)
            }
            HostStep::ListenForStart { slot } => {
                let listener = listen_for_start(self.directory).map_err(at)?;
                self.put(*slot, listener)
            }
            HostStep::CloneInit { namespaces } => self.clone_init(*namespaces),
            HostStep::DeviceFilter { rules } => {
                let filter = device::Filter::compile(rules);
                if filter.allows_everything() {
                    return Ok(());
                }
                self.cgroup.as_ref().ok_or(LaunchError::NoInit)?.attach_device_filter(&filter)?;
                Ok(())
            }
            HostStep::OomScoreAdjust { value } => {
                let path = format!("/proc/{}/oom_score_adj", self.record.pid);
                write_file(Path::new(&path), value.to_string().as_bytes()).map_err(at)
            }
            HostStep::ReceiveConsole => self.receive_console(),
            HostStep::Await { point } => self.await_point(*point),
            HostStep::RecordCreated => {
                self.record.creating = false;
                Ok(self.directory.write(self.record)?)
            }
            HostStep::PidFile { path } => {
                write_pid_file(path, self.record.pid).map_err(at)?;
                self.pid_file = Some(path.clone());
                Ok(())
            }
            HostStep::Release { point } => Ok(self.channel()?.release(*point)?),
            HostStep::AwaitExec => self.await_exec(),
        }
    }

    fn put(&mut self, slot: Slot, fd: OwnedFd) -> Result<(), LaunchError> {
        let place = self.fds.get_mut(usize::from(slot.0)).ok_or(LaunchError::NoInit)?;
        *place = Some(fd);
        Ok(())
    }

    fn clone_init(&mut self, namespaces: u64) -> Result<(), LaunchError> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, inits) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)
            .map_err(|errno| SysError::new(errno, || "socketpair(AF_UNIX, SOCK_SEQPACKET)".to_owned()))?;
        if let Some(place) = self.fds.first_mut() {
            *place = Some(inits);
        }
        let numbers: Vec<RawFd> = self.fds.iter().map(|fd| fd.as_ref().map_or(-1, AsRawFd::as_raw_fd)).collect();
        let steps = self.plan.inside.iter().map(|planned| (planned.item.as_c_str(), &planned.step));
        let program = corten_init::encode(&numbers, steps)?;
        let program = sys::sealed_memfd(c"corten-program", &program, false)?;
        let inherited: Vec<RawFd> = numbers.into_iter().filter(|fd| *fd >= 0).collect();
        let init = InitProcess::start(&InitStart {
            elf: init_elf()?,
            program: program.as_fd(),
            inherited: &inherited,
            preserved: self.plan.preserved_fds,
            namespaces,
            cgroup: self.cgroup.as_ref().map(AsFd::as_fd),
        })?;
        // Init has its copies; ours would keep mounts and sockets alive.
        self.fds.clear();
        self.record.pid = init.pid().as_raw();
        self.init = Some(init);
        self.channel = Some(Channel::new(ours));
        // Not yet reaped, so the pid is its own and the file is there.
        self.record.start_time = start_time(self.record.pid).unwrap_or(0);
        Ok(())
    }

    fn channel(&mut self) -> Result<&mut Channel, LaunchError> {
        self.channel.as_mut().ok_or(LaunchError::NoInit)
    }

    fn await_point(&mut self, point: SyncPoint) -> Result<(), LaunchError> {
        self.channel()?.await_point(point, INIT_DEADLINE)?;
        if let Some(init) = &mut self.init {
            init.has_left();
        }
        Ok(())
    }

    fn await_exec(&mut self) -> Result<(), LaunchError> {
        self.channel()?.await_end(INIT_DEADLINE)
    }

    fn receive_console(&mut self) -> Result<(), LaunchError> {
        let master = self.channel()?.await_console(INIT_DEADLINE)?;
        match self.console {
            Console::Socket(path) => console::send(path, master.as_fd())?,
            Console::Master | Console::None => self.master = Some(master),
        }
        Ok(())
    }

    /// Takes back what was made. Goes on after an error and reports all of them.
    fn undo(mut self, mut cause: LaunchError) -> LaunchError {
        let mut left = Vec::new();
        if let Some(cgroup) = &self.cgroup
            && let Err(error) = cgroup.kill(KILL_DEADLINE)
        {
            left.push(error.to_string());
        }
        if let Some(init) = &mut self.init {
            // It may have ended by itself before; then the signal finds nobody.
            match sys::send_signal(init.pidfd().as_fd(), libc::SIGKILL) {
                Err(error) if error.errno.0 != nix::errno::Errno::ESRCH => left.push(error.to_string()),
                _ => {}
            }
            if sys::wait_ended(init.pidfd().as_fd(), KILL_DEADLINE) {
                match sys::wait_exit(init.pidfd().as_fd(), false) {
                    Ok(waited) => cause.explain(init.exec_failure(), waited),
                    Err(error) => left.push(error.to_string()),
                }
                init.has_left();
            } else {
                left.push(format!("process {}", init.pid()));
            }
        }
        if let Some(cgroup) = self.cgroup.take()
            && let Err(error) = cgroup.remove(KILL_DEADLINE)
        {
            left.push(error.to_string());
        }
        if let Some(path) = &self.pid_file
            && let Err(error) = std::fs::remove_file(path)
        {
            left.push(format!("{}: {error}", path.display()));
        }
        if left.is_empty() { cause } else { LaunchError::Left { cause: Box::new(cause), left: left.join("; ") } }
    }
}

/// Init's executable in a sealed memfd, made once for the process.
fn init_elf() -> Result<BorrowedFd<'static>, SysError> {
    static ELF: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(elf) = ELF.get() {
        return Ok(elf.as_fd());
    }
    let elf = sys::sealed_memfd(c"corten-init", corten_init::ELF, true)?;
    // Another thread may have been faster; then ours is closed.
    Ok(ELF.get_or_init(|| elf).as_fd())
}

fn open_tree(source: &Path, recursive: bool, directory: bool) -> Result<OwnedFd, SysError> {
    let tree = sys::open_tree(source, if recursive { TreeKind::Recursive } else { TreeKind::Single })?;
    if directory {
        let stat = fstat(&tree).map_err(|errno| SysError::new(errno, || format!("fstat({source:?})")))?;
        if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFDIR {
            return Err(SysError::new(nix::errno::Errno::ENOTDIR, || format!("open_tree({source:?})")));
        }
        // Whatever way the path took there: a container on the host's own root would be none.
        let host = nix::sys::stat::stat("/").map_err(|errno| SysError::new(errno, || "stat(\"/\")".to_owned()))?;
        if (stat.st_dev, stat.st_ino) == (host.st_dev, host.st_ino) {
            let call = || format!("{source:?} is the root of the host");
            return Err(SysError::new(nix::errno::Errno::EINVAL, call));
        }
    }
    Ok(tree)
}

/// The null device as a detached mount, checked: what the host has at the path must be char 1:3.
fn open_null() -> Result<OwnedFd, SysError> {
    let tree = sys::open_tree(Path::new("/dev/null"), TreeKind::Single)?;
    let stat = fstat(&tree).map_err(|errno| SysError::new(errno, || "fstat(\"/dev/null\")".to_owned()))?;
    let character = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFCHR;
    if character && stat.st_rdev == nix::sys::stat::makedev(1, 3) {
        Ok(tree)
    } else {
        Err(SysError::new(nix::errno::Errno::ENODEV, || "/dev/null is not char 1:3".to_owned()))
    }
}

fn listen_for_start(directory: &StateDirectory) -> Result<OwnedFd, SysError> {
    let failed = |call: &'static str| move |errno| SysError::new(errno, || format!("{call}(start.sock)"));
    let listener =
        socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).map_err(failed("socket"))?;
    let path = directory.file_by_fd(crate::state::START_SOCKET);
    let address = UnixAddr::new(&path).map_err(failed("bind"))?;
    bind(listener.as_raw_fd(), &address).map_err(failed("bind"))?;
    listen(&listener, Backlog::new(8).unwrap_or(Backlog::MAXCONN)).map_err(failed("listen"))?;
    Ok(listener)
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), SysError> {
    let mut file = OpenOptions::new()
        .write(true)
        .open(path)
        .map_err(|error| SysError::from_io(&error, || format!("open({path:?}, O_WRONLY)")))?;
    file.write_all(bytes)
        .map_err(|error| SysError::from_io(&error, || format!("write({path:?}, {:?})", String::from_utf8_lossy(bytes))))
}

/// Writes the pid to a new file beside `path` and renames it: who waits for the file never sees half of it.
fn write_pid_file(path: &Path, pid: i32) -> Result<(), SysError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let new = path.with_file_name(format!(".{name}"));
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o666).custom_flags(libc::O_CLOEXEC).open(&new);
    let mut file = opened.map_err(|error| SysError::from_io(&error, || format!("open({new:?}, O_CREAT|O_EXCL)")))?;
    let written = file
        .write_all(pid.to_string().as_bytes())
        .map_err(|error| SysError::from_io(&error, || format!("write({new:?})")))
        .and_then(|()| {
            std::fs::rename(&new, path)
                .map_err(|error| SysError::from_io(&error, || format!("rename({new:?}, {path:?})")))
        });
    if written.is_err() {
        // The error that matters is the first; what is left of the new file is of no use.
        #[expect(clippy::let_underscore_must_use, reason = "nothing more can be done about a leftover file")]
        let _ = std::fs::remove_file(&new);
    }
    written
}
