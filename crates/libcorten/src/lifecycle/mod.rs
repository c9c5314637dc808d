//! The operations on containers, one file each.
//!
//! A [`Runtime`] is a place where containers live (a state root); a [`Container`] is one of them. All methods
//! may be called from many threads at once; commands on the same container exclude each other by a lock on
//! its state directory.
//! Spec: runtime.md#lifecycle.

mod checkpoint;
mod create;
mod delete;
mod events;
mod exec;
pub mod foreground;
mod freeze;
mod kill;
mod mounts;
mod processes;
mod readiness;
mod restore;
mod salvage;
mod start;
#[cfg(test)]
mod tests;
mod update;
mod wait;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use corten_cgroup::{Cgroups, Machine};
use nix::unistd::Pid;

pub use checkpoint::{CgroupsRestored, CheckpointOptions, ImageOptions, NetworkLock, PageServer};
pub use delete::Deletion;
pub use events::Events;
pub use exec::{ExecOptions, ExecProcess, SubCgroup};
pub use readiness::{NotifyOutcome, Readiness};
pub use restore::RestoreOptions;
pub use update::Update;
pub use wait::Exit;

use create::Creation;
use foreground::Ends;

use crate::bundle::Bundle;
use crate::error::Failure;
use crate::plan::{HostStep, Planned};
use crate::request::CreateOptions;
use crate::state::{Life, Record, State, StateDirectory, StateError, Status, ids};
use crate::sys::Lock;
use crate::{Error, ErrorKind, Plan, Result};

/// Where an empty mount namespace is kept. Not below the state root, of which a host may have many, and which
/// may have to go.
const MOUNT_TEMPLATE: &str = "/run/corten/@mounts";

/// What is wrong with the order of operations.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LifecycleError {
    #[error("cannot start an already running container")]
    AlreadyRunning,
    #[error("cannot start a container that has stopped")]
    HasStopped,
    #[error("container not running")]
    NotRunning,
    #[error("cannot exec in a stopped container")]
    ExecStopped,
    #[error("cannot exec in a paused container (use --ignore-paused to override)")]
    ExecPaused,
    #[error("container paused")]
    Paused,
    #[error("container not paused")]
    NotPaused,
    #[error("cannot start a container in the paused state")]
    StartPaused,
    #[error("the container has no cgroup of its own to limit")]
    NoCgroup,
    #[error("updating a non-existent Intel RDT configuration is not supported")]
    NoIntelRdt,
    #[error("cannot delete container {id} that is not stopped: {status}")]
    NotStopped { id: String, status: Status },
    #[error("{left}")]
    Left { left: String },
    #[error(
        "{damage}, and {why}: what there is of the container is not known; end it, and remove {directory:?}"
    )]
    Lost { damage: String, why: String, directory: PathBuf },
}

impl Failure for LifecycleError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoIntelRdt => ErrorKind::InvalidConfig,
            Self::Left { .. } | Self::Lost { .. } => ErrorKind::Kernel,
            _ => ErrorKind::WrongState,
        }
    }
}

/// A place where containers live: a state root, `/run/corten` by default.
#[derive(Debug, Clone)]
pub struct Runtime {
    root: PathBuf,
    mount_template: Option<PathBuf>,
}

impl Runtime {
    /// Uses `root` as state root. It is made when the first container is.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), mount_template: Some(MOUNT_TEMPLATE.into()) }
    }

    /// Sets where the mount namespace is kept that those of containers are copies of, or has containers begin
    /// with a copy of the caller's, which takes the longer the more is mounted on the host. The default is
    /// `/run/corten/@mounts`: a directory for root alone, and in it a file with an empty mount namespace on
    /// it, which the first container makes. It can be unmounted at any time. Only root of the whole machine
    /// keeps one, for containers without a user namespace, and only before Linux 7.1, which makes empty mount
    /// namespaces itself.
    pub fn mount_template(self, directory: Option<PathBuf>) -> Self {
        Self { mount_template: directory, ..self }
    }

    /// Returns the state root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Works out what [`Runtime::create`] (`wait_for_start`) or [`Runtime::run`] would do. Nothing is made.
    ///
    /// # Errors
    /// The config asks for what cannot be, or the host cannot be looked at.
    pub fn plan(
        &self,
        id: &str,
        bundle: &Bundle,
        options: &CreateOptions,
        wait_for_start: bool,
    ) -> Result<Plan> {
        Creation::new(self, id, bundle, options)?.plan(wait_for_start)
    }

    /// Makes a container that waits for [`Container::start`].
    ///
    /// # Errors
    /// Nothing of the container is left; if something could not be removed, the error says what.
    pub fn create(&self, id: &str, bundle: &Bundle, options: &CreateOptions) -> Result<Container> {
        self.launch(id, bundle, options, true, &mut |_| {})
    }

    /// Makes a container whose process runs at once.
    ///
    /// # Errors
    /// As [`Runtime::create`]; also when the program cannot be executed.
    pub fn run(&self, id: &str, bundle: &Bundle, options: &CreateOptions) -> Result<Container> {
        self.launch(id, bundle, options, false, &mut |_| {})
    }

    /// As [`Runtime::create`] (`wait_for_start`) or [`Runtime::run`]. `observe` sees each host step before it
    /// is done.
    ///
    /// # Errors
    /// As theirs.
    pub fn launch(
        &self,
        id: &str,
        bundle: &Bundle,
        options: &CreateOptions,
        wait_for_start: bool,
        observe: &mut dyn FnMut(&Planned<HostStep>),
    ) -> Result<Container> {
        Creation::new(self, id, bundle, options)?.make(wait_for_start, observe)
    }

    /// Finds a container.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none with this id.
    pub fn load(&self, id: &str) -> Result<Container> {
        let directory = StateDirectory::open(&self.root, id)?;
        Ok(Container {
            id: id.to_owned(),
            root: self.root.clone(),
            directory,
            init: None,
            console: None,
            ends: Mutex::default(),
            readiness: None,
            warnings: Vec::new(),
            refused: None,
        })
    }

    /// Returns the states of all containers, sorted by id, with the error of each whose state cannot be read.
    /// Those that go away meanwhile are left out, and so are directories of containers that were never
    /// finished.
    ///
    /// # Errors
    /// The state root cannot be read.
    pub fn list(&self) -> Result<Vec<(String, Result<State>)>> {
        /// So many are looked at sooner than a thread is made.
        const FOR_A_THREAD: usize = 50;
        let (ids, machine) = (ids(&self.root)?, LazyMachine::default());
        let look = |ids: &[String]| self.states(ids, &machine);
        let threads = (ids.len() / FOR_A_THREAD).min(thread::available_parallelism().map_or(1, usize::from));
        if threads < 2 {
            return Ok(look(&ids));
        }
        let parts: Vec<_> = ids.chunks(ids.len().div_ceil(threads)).collect();
        Ok(thread::scope(|scope| {
            let look = &look;
            let made = |part| (part, thread::Builder::new().spawn_scoped(scope, move || look(part)));
            let threads: Vec<_> = parts.into_iter().map(made).collect();
            // A thread that cannot be made is done without; one that panics does so here.
            let done = |(part, thread): (_, std::io::Result<thread::ScopedJoinHandle<'_, _>>)| match thread {
                Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(_) => look(part),
            };
            threads.into_iter().flat_map(done).collect()
        }))
    }

    /// The states of these containers, but not of those that are gone.
    fn states(&self, ids: &[String], machine: &LazyMachine) -> Vec<(String, Result<State>)> {
        let state = |id: &String| match self.load(id).and_then(|container| container.state_in(machine)) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            state => Some((id.clone(), state)),
        };
        ids.iter().filter_map(state).collect()
    }
}

/// Opens those of a container's cgroups that exist.
fn cgroups(record: &Record) -> Result<Cgroups> {
    LazyMachine::default().open(record)
}

/// The machine's cgroups, looked for once, when the first container has some.
#[derive(Debug, Default)]
struct LazyMachine(OnceLock<Machine>);

impl LazyMachine {
    /// As [`cgroups`].
    fn open(&self, record: &Record) -> Result<Cgroups> {
        if record.cgroups.is_empty() {
            return Ok(Cgroups::none());
        }
        self.machine()?.open(&record.cgroups).map_err(Error::from)
    }

    /// Whether all processes of a container are frozen.
    fn frozen(&self, record: &Record) -> Result<bool> {
        Ok(!record.cgroups.is_empty() && self.machine()?.frozen(&record.cgroups)?)
    }

    fn machine(&self) -> Result<&Machine> {
        match self.0.get() {
            Some(machine) => Ok(machine),
            None => {
                let machine = Machine::detect()?;
                Ok(self.0.get_or_init(|| machine))
            }
        }
    }
}

/// A container.
#[derive(Debug)]
pub struct Container {
    id: String,
    /// The state root.
    root: PathBuf,
    directory: StateDirectory,
    /// Init's pidfd and pid, when this process made it.
    init: Option<(Arc<OwnedFd>, Pid)>,
    console: Option<OwnedFd>,
    ends: Mutex<Ends>,
    readiness: Option<Readiness>,
    warnings: Vec<String>,
    refused: Option<String>,
}

impl Container {
    /// Returns the id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the state now.
    ///
    /// # Errors
    /// The container is gone ([`ErrorKind::NotFound`]) or its state cannot be read.
    pub fn state(&self) -> Result<State> {
        self.state_in(&LazyMachine::default())
    }

    fn state_in(&self, machine: &LazyMachine) -> Result<State> {
        let record = self.record()?;
        let status = self.status_in(machine, &record)?;
        let Record { oci_version, id, bundle, rootfs, created, annotations, pid, .. } = record;
        let pid = if status == Status::Stopped { 0 } else { pid };
        let owner_uid = self.directory.owner()?;
        Ok(State { oci_version, id, pid, status, bundle, rootfs, created, annotations, owner_uid })
    }

    /// Returns the pidfd of init, when this process made the container.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.init.as_ref().map(|(pidfd, _)| pidfd.as_fd())
    }

    /// Returns init's pid in the caller's namespace, when this process made the container. It may have ended
    /// since.
    pub fn pid(&self) -> Option<i32> {
        self.init.as_ref().map(|(_, pid)| pid.as_raw())
    }

    /// Returns what was not done as asked for when this process made the container, one sentence each: the
    /// warnings of the plan, and properties that this systemd does not have.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns why the kernel has refused the program of a container that was run, if it has: it has said so
    /// on its stderr, and ends with status 255.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// Returns the terminal's master, once, of a container made with
    /// [`Console::Master`](crate::Console::Master) or [`Console::Foreground`](crate::Console::Foreground).
    pub fn take_console(&mut self) -> Option<OwnedFd> {
        self.console.take()
    }

    /// Returns what the container says of its readiness, once, of a container that was run with
    /// [`CreateOptions::notify_socket`].
    pub fn take_readiness(&mut self) -> Option<Readiness> {
        self.readiness.take()
    }

    fn record(&self) -> Result<Record> {
        Ok(self.directory.read()?.ok_or(StateError::NotFound)?)
    }

    fn status(&self, record: &Record) -> Result<Status> {
        self.status_in(&LazyMachine::default(), record)
    }

    /// The status for whoever has the lock: nobody else makes the container.
    fn status_under(&self, _lock: &Lock, record: &Record) -> Result<Status> {
        self.status_with(&LazyMachine::default(), record, || Ok(false))
    }

    fn status_in(&self, machine: &LazyMachine, record: &Record) -> Result<Status> {
        self.status_with(machine, record, || Ok(self.directory.try_lock()?.is_none()))
    }

    /// `is_locked`: whether somebody else has the lock.
    fn status_with(
        &self,
        machine: &LazyMachine,
        record: &Record,
        is_locked: impl FnOnce() -> Result<bool>,
    ) -> Result<Status> {
        let life = record.life()?;
        if life == Life::Ended {
            // Nobody there, or not yet the one who stays: still being made, if somebody holds the lock for
            // it.
            let made = record.creating && is_locked()?;
            return Ok(if made { Status::Creating } else { Status::Stopped });
        }
        if record.creating {
            return Ok(Status::Creating);
        }
        if machine.frozen(record)? {
            return Ok(Status::Paused);
        }
        // A `start` that was killed leaves the socket.
        let waits = life == Life::Init && self.directory.has_start_socket()?;
        Ok(if waits { Status::Created } else { Status::Running })
    }
}
