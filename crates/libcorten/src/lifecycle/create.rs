//! create and run: from bundle to process.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::SystemTime;

use corten_cgroup::Machine;
use corten_cgroup::systemd::Manager as Systemd;

use super::{Container, Readiness, Runtime};
use crate::bundle::Bundle;
use crate::features::SPEC_VERSION;
use crate::host::{self, Probe};
use crate::launch::{Again, Attempt, CannotStart, Failed, Host, Launch, NewContainer, Subject};
use crate::plan::{HostStep, Planned, has_network_of_its_own};
use crate::request::{CgroupManager, CreateOptions, Request};
use crate::state::{Record, StateDirectory, rfc3339};
use crate::sys::NetworkMaker;
use crate::{Error, Plan, Result};

/// A container that is to be made: what of, and where.
#[derive(Debug)]
pub(super) struct Creation<'a> {
    pub(super) runtime: &'a Runtime,
    pub(super) machine: Machine,
    pub(super) systemd: Option<Systemd>,
    pub(super) id: &'a str,
    pub(super) bundle: &'a Bundle,
    pub(super) options: &'a CreateOptions,
    /// Trees are opened in a copy of the caller's mount namespace.
    pub(super) copies_mounts: bool,
}

impl<'a> Creation<'a> {
    pub(super) fn new(
        runtime: &'a Runtime,
        id: &'a str,
        bundle: &'a Bundle,
        options: &'a CreateOptions,
    ) -> Result<Self> {
        let machine = match Machine::detect() {
            // None are needed.
            Err(_) if options.cgroup_manager == CgroupManager::Disabled => Machine::none(),
            machine => machine?,
        };
        let systemd = match options.cgroup_manager {
            CgroupManager::Systemd => Some(host::systemd(host::is_rootless()?)?),
            _ => None,
        };
        Ok(Self { runtime, machine, systemd, id, bundle, options, copies_mounts: false })
    }

    /// Probes the host and works the plan out.
    pub(super) fn plan(&self, wait_for_start: bool) -> Result<Plan> {
        let Self { runtime, machine, systemd, id, bundle, options, copies_mounts } = self;
        let request = Request { id, bundle: bundle.directory(), wait_for_start, options };
        let probe = Probe {
            root: runtime.root(),
            machine,
            systemd: systemd.as_ref(),
            mount_template: runtime.mount_template.as_deref(),
            copies_mounts: *copies_mounts,
        };
        let facts = probe.facts(bundle.spec(), &request)?;
        Plan::new(bundle.spec(), &request, &facts).map_err(Error::from)
    }

    /// Begins with what takes longest, if the container is going to need it and this process may do it.
    pub(super) fn network(&self) -> Option<NetworkMaker> {
        let may =
            caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_SYS_ADMIN).unwrap_or(false);
        // Where no thread can be made, the plan's step says so.
        (may && has_network_of_its_own(self.bundle.spec())).then(|| NetworkMaker::start().ok()).flatten()
    }

    /// Makes the container, once more by another plan if that is what it takes.
    pub(super) fn make(
        mut self,
        wait_for_start: bool,
        observe: &mut dyn FnMut(&Planned<HostStep>),
    ) -> Result<Container> {
        let network = self.network();
        let plan = self.plan(wait_for_start)?;
        match self.attempt(&plan, network, Attempt::Container, observe) {
            Ok(container) => return Ok(container),
            Err(Unmade { again: Some(Again::CopyMounts), .. }) => self.copies_mounts = true,
            Err(unmade) => return Err(unmade.error),
        }
        let plan = self.plan(wait_for_start)?;
        self.launch(&plan, observe)
    }

    /// Carries a plan out, in a new state directory.
    pub(super) fn launch(
        &self,
        plan: &Plan,
        observe: &mut dyn FnMut(&Planned<HostStep>),
    ) -> Result<Container> {
        self.attempt(plan, None, Attempt::Last, observe).map_err(|unmade| unmade.error)
    }

    /// The same for one of several attempts.
    fn attempt(
        &self,
        plan: &Plan,
        network: Option<NetworkMaker>,
        attempt: Attempt,
        observe: &mut dyn FnMut(&Planned<HostStep>),
    ) -> Result<Container, Unmade> {
        let (directory, lock) = StateDirectory::create(self.runtime.root(), self.id).map_err(Error::from)?;
        let mut record =
            Record { no_new_keyring: self.options.no_new_keyring, ..new_record(self.id, self.bundle, plan) };
        let host = self.host();
        let container = NewContainer { directory: &directory, record: &mut record, config: self.bundle };
        let (subject, options) = (Subject::Container(container), self.options);
        match (Launch { plan, host, subject, options, attempt, network, is_patient: false }).run(observe) {
            Ok(launched) => {
                drop(lock);
                let init = Some((launched.pidfd, launched.pid));
                let readiness = launched.notify_socket.zip(init.clone());
                let readiness = readiness.map(|(socket, (pidfd, pid))| Readiness::new(socket, pidfd, pid));
                let (id, console) = (self.id.to_owned(), launched.master);
                let warnings = plan.warnings.iter().cloned().chain(launched.warnings).collect();
                let root = self.runtime.root().to_owned();
                Ok(Container {
                    id,
                    root,
                    directory,
                    init,
                    console,
                    ends: Mutex::new(launched.copies),
                    readiness,
                    warnings,
                    refused: launched.refused,
                })
            }
            Err(failed) => {
                let Failed { error, again } = failed.with_directory(&directory);
                Err(Unmade { error: CannotStart(error).into(), again })
            }
        }
    }

    pub(super) fn host(&self) -> Host<'_> {
        Host { machine: &self.machine, systemd: self.systemd.as_ref() }
    }
}

/// A container that could not be made.
struct Unmade {
    error: Error,
    /// It is worth another try.
    again: Option<Again>,
}

impl From<Error> for Unmade {
    fn from(error: Error) -> Self {
        Self { error, again: None }
    }
}

pub(super) fn new_record(id: &str, bundle: &Bundle, plan: &Plan) -> Record {
    let resources = bundle.spec().linux().as_ref().and_then(|linux| linux.resources().clone());
    let annotations: BTreeMap<_, _> =
        bundle.spec().annotations().clone().unwrap_or_default().into_iter().collect();
    Record {
        version: Record::VERSION,
        oci_version: SPEC_VERSION.to_owned(),
        id: id.to_owned(),
        bundle: bundle.directory().to_owned(),
        config: bundle.config().map(ToOwned::to_owned),
        rootfs: bundle.rootfs(),
        created: rfc3339(SystemTime::now()),
        annotations,
        cgroups: plan.decisions.cgroups.clone(),
        resources,
        no_new_keyring: false,
        creating: true,
        owns_cgroups: false,
        pid: 0,
        start_time: 0,
        hooks: bundle.spec().hooks().clone(),
        descriptors: Vec::new(),
        resctrl: None,
    }
}
