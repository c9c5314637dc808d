//! Before init is there: what it is to find is opened, and what is to be around it is made.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use corten_cgroup::Cgroups;
use corten_init::Slot;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::undo::Undo;
use super::work::at;
use super::{Attached, Failed, Launch, LaunchError, Work};
use crate::plan::{HostStep, Planned};
use crate::sys::{self, Cpus, InitProcess, InitStart, SysError};

/// A launch whose init is not there yet.
#[derive(Debug)]
pub(super) struct Preparing<'a> {
    work: Work<'a>,
    /// The CPUs of this thread, until init has been cloned.
    own_cpus: Option<Box<Cpus>>,
}

/// An init that has just been made, with this end of the conversation.
pub(super) struct Started {
    pub(super) init: InitProcess,
    pub(super) socket: OwnedFd,
}

impl<'a> Preparing<'a> {
    pub(super) fn new(launch: Launch<'a>) -> Self {
        Self { work: Work::new(launch), own_cpus: None }
    }

    /// Does the next step. Init, when it is the one that makes it.
    pub(super) fn step(
        &mut self,
        planned: &Planned<HostStep>,
        observe: &mut dyn FnMut(&Planned<HostStep>),
    ) -> Result<Option<Started>, LaunchError> {
        self.work.begin(planned, observe)?;
        match &planned.step {
            HostStep::RunOn { cpus } => {
                self.own_cpus = Some(sys::run_on(&cpus.0).map_err(|source| at(planned, source))?);
                Ok(None)
            }
            HostStep::CloneInit { namespaces } => self.clone_init(namespaces.0).map(Some),
            _ => self.work.step(planned).map(|()| None),
        }
    }

    fn clone_init(&mut self, namespaces: u64) -> Result<Started, LaunchError> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, inits) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)
            .map_err(|errno| SysError::new(errno, || "socketpair(AF_UNIX, SOCK_SEQPACKET)".to_owned()))?;
        let socket = inits.as_raw_fd();
        let work = &mut self.work;
        work.slots.put(Slot(0), inits);
        let numbers = work.slots.numbers();
        let plan = work.launch.plan;
        let steps = plan.inside.iter().map(|planned| (planned.item.as_c_str(), &planned.step));
        let program = corten_init::encode(&numbers, steps)?;
        let program = sys::sealed_memfd(c"corten-program", &program, false)?;
        let inherited: Vec<RawFd> = numbers.into_iter().filter(|fd| *fd >= 0).collect();
        let cgroups = work.around.cgroups.as_ref();
        let start = InitStart {
            elf: init_elf()?,
            program: program.as_fd(),
            socket,
            inherited: &inherited,
            stdio: work.stdio.inner.each_ref().map(|fd| fd.as_ref().map(AsFd::as_fd)),
            preserved: plan.preserved_fds.end(),
            namespaces,
            cgroup: cgroups.and_then(Cgroups::unified).map(AsFd::as_fd),
        };
        match InitProcess::start(&start) {
            // Not even the execveat fits into the cgroup.
            Err(error) if error.errno.0 == Errno::ENOMEM && cgroups.is_some() => {
                Err(LaunchError::OutOfMemory)
            }
            started => Ok(Started { init: started?, socket: ours }),
        }
    }

    /// Goes on with init.
    ///
    /// # Errors
    /// It is gone again.
    pub(super) fn attach(self, started: Started) -> Result<Attached<'a>, Failed> {
        Attached::new(self.work, started, self.own_cpus)
    }

    /// Takes back what has been made.
    pub(super) fn undo(self, cause: LaunchError) -> Failed {
        Undo { init: None, own_cpus: self.own_cpus, has_processes: false }.of(self.work, cause)
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
