//! A plan in the making: steps are added at their phases, and come into order when all are there.
//!
//! Stage: plan; pure. Where both halves meet, one call adds what both do: init never waits for what the
//! runtime does not do.

use std::ffi::{CStr, CString};

use corten_init::{Namespaces, OwnedStep as Step, Slot, SyncPoint};

use crate::oci::{LinuxNamespaceType, Spec};
use crate::spec::annotations::annotation;
use crate::spec::{namespace, sysctl_file, sysctl_namespace};

use super::decisions::Decisions;
use super::phases::{HostPhase, InsidePhase};
use super::{Facts, HostStep, JoinFacts, Plan, PlanError, Planned, Request};

/// Slots with a fixed meaning.
pub(super) mod slot {
    use corten_init::Slot;

    // The first slot is the executor's own: the socket to the runtime.

    /// The detached tree of the root filesystem.
    pub(in crate::plan) const ROOT: Slot = Slot(1);
    /// The socket that `start` connects to.
    pub(in crate::plan) const LISTENER: Slot = Slot(2);
    /// The null device, to hide files under.
    pub(in crate::plan) const NULL: Slot = Slot(3);
    /// An empty directory, to hide directories under.
    pub(in crate::plan) const EMPTY: Slot = Slot(4);
    /// The target of the mount that is being made.
    pub(in crate::plan) const TARGET: Slot = Slot(5);
    /// The mount that is being made.
    pub(in crate::plan) const MOUNT: Slot = Slot(6);
    /// The terminal's two ends.
    pub(in crate::plan) const MASTER: Slot = Slot(7);
    pub(in crate::plan) const PEER: Slot = Slot(8);
    /// A procfs that is not the container's: init's own, or the host's.
    pub(in crate::plan) const PROC: Slot = Slot(9);
    /// The state for hooks that init runs: while the container is being created, and after.
    pub(in crate::plan) const STATE_CREATING: Slot = Slot(10);
    pub(in crate::plan) const STATE_CREATED: Slot = Slot(11);
    /// Where the output of hooks goes that init runs.
    pub(in crate::plan) const HOOK_STDOUT: Slot = Slot(12);
    pub(in crate::plan) const HOOK_STDERR: Slot = Slot(13);
    /// The container's cgroup, where a mount must show it without a cgroup namespace.
    pub(in crate::plan) const CGROUP: Slot = Slot(14);
    /// The container's procfs and sysfs, for what is masked in them.
    pub(in crate::plan) const PROC_MOUNT: Slot = Slot(15);
    pub(in crate::plan) const SYS_MOUNT: Slot = Slot(16);
    /// The filesystem at `/dev`.
    pub(in crate::plan) const DEV_MOUNT: Slot = Slot(17);
    /// The first of the sources of bind mounts, and of namespaces to join.
    pub(in crate::plan) const FIRST_SOURCE: Slot = Slot(18);
}

/// `MS_SLAVE`: mounts of the host reach the container, never the other way round. runc's default.
pub(super) const SLAVE: u64 = libc::MS_SLAVE;

/// A plan in the making.
pub(super) struct Builder<'a> {
    pub(super) spec: &'a Spec,
    pub(super) request: &'a Request<'a>,
    pub(super) facts: &'a Facts,
    /// The container that the process joins, if it joins one.
    pub(super) joins: Option<&'a JoinFacts>,
    /// What was decided before the first step.
    pub(super) decisions: Decisions,
    host: Vec<Phased<HostPhase, HostStep>>,
    inside: Vec<Phased<InsidePhase, Step>>,
    next_source: u16,
    /// What is mounted, and held for later.
    pub(super) ledger: Ledger,
    /// What the config asks for and will not have.
    pub(super) warnings: Vec<String>,
}

/// What later steps need to know of earlier ones: which fds init holds, and what is at their places by now.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The network namespace that the runtime makes, until init enters it.
    pub(super) network: Option<Slot>,
    /// The caller's mount namespace and init's own, where init opens sources in the first.
    pub(super) host_and_own_mounts: Option<(Slot, Slot)>,
    /// A mount shows the container's own cgroup.
    pub(super) shows_cgroup: bool,
    /// The filesystem that is made at `/dev`.
    pub(super) dev: Option<Slot>,
    /// Mounts whose fds are kept for masked and readonly paths: destination and slot.
    pub(super) kept: Vec<(String, Slot)>,
    /// Mounts that become read-only when the root is complete: item and slot.
    pub(super) late_readonly: Vec<(CString, Slot)>,
}

/// A step, and when its turn comes.
#[derive(Debug)]
struct Phased<P, T> {
    phase: P,
    planned: Planned<T>,
}

/// The names of steps, with their phases.
#[cfg(test)]
type Named<P> = Vec<(P, &'static str)>;

/// Brings steps into the order of their phases; in a phase they stay in the order in which they were added.
fn in_order<P: Ord + Copy, T>(mut steps: Vec<Phased<P, T>>) -> Vec<Planned<T>> {
    steps.sort_by_key(|step| step.phase);
    steps.into_iter().map(|step| step.planned).collect()
}

/// What the runtime does while init waits for it.
pub(super) struct Meeting<'b, 'a> {
    pub(super) b: &'b mut Builder<'a>,
    phase: HostPhase,
}

impl Meeting<'_, '_> {
    /// Adds a step to the runtime's half.
    pub(super) fn host(&mut self, item: impl Into<CString>, step: HostStep) {
        self.b.host(self.phase, item, step);
    }
}

impl<'a> Builder<'a> {
    /// An empty plan for this config, of which this is decided.
    pub(super) fn new(
        spec: &'a Spec,
        request: &'a Request<'a>,
        facts: &'a Facts,
        joins: Option<&'a JoinFacts>,
        decisions: Decisions,
    ) -> Self {
        Self {
            spec,
            request,
            facts,
            joins,
            decisions,
            host: Vec::with_capacity(32),
            inside: Vec::with_capacity(128),
            next_source: slot::FIRST_SOURCE.0,
            ledger: Ledger::default(),
            warnings: Vec::new(),
        }
    }

    /// The plan.
    pub(super) fn finish(self) -> Plan {
        let plan = Plan {
            decisions: self.decisions,
            host: in_order(self.host),
            inside: in_order(self.inside),
            slots: self.next_source,
            preserved_fds: self.facts.preserved_fds.clone(),
            warnings: self.warnings,
        };
        debug_assert_eq!(plan.check(), Ok(()), "{plan}");
        plan
    }

    /// The names of the steps, with their phases.
    #[cfg(test)]
    pub(super) fn names(&self) -> (Named<HostPhase>, Named<InsidePhase>) {
        let host = self.host.iter().map(|step| (step.phase, step.planned.step.name())).collect();
        let inside = self.inside.iter().map(|step| (step.phase, step.planned.step.name())).collect();
        (host, inside)
    }

    /// Adds a step to the runtime's half.
    pub(super) fn host(&mut self, phase: HostPhase, item: impl Into<CString>, step: HostStep) {
        self.host.push(Phased { phase, planned: Planned { item: item.into(), step } });
    }

    /// Adds a step to init's half.
    pub(super) fn inside(&mut self, phase: InsidePhase, item: impl Into<CString>, step: Step) {
        self.inside.push(Phased { phase, planned: Planned { item: item.into(), step } });
    }

    /// Init waits at `point` until the runtime has done what `meanwhile` adds.
    pub(super) fn rendezvous<T>(
        &mut self,
        point: SyncPoint,
        (host, inside): (HostPhase, InsidePhase),
        item: &CStr,
        meanwhile: impl FnOnce(&mut Meeting<'_, 'a>) -> T,
    ) -> T {
        let step = Step::Sync { point };
        self.rendezvous_by(step, point, (host, inside), item, meanwhile)
    }

    /// The same at the point of the runtime's hooks. With its word come the files with the state, for hooks
    /// that init runs.
    pub(super) fn rendezvous_for_hooks<T>(
        &mut self,
        (host, inside): (HostPhase, InsidePhase),
        item: &CStr,
        meanwhile: impl FnOnce(&mut Meeting<'_, 'a>) -> T,
    ) -> T {
        let step = Step::AwaitHooks { creating: slot::STATE_CREATING, created: slot::STATE_CREATED };
        self.rendezvous_by(step, SyncPoint::Hooks, (host, inside), item, meanwhile)
    }

    fn rendezvous_by<T>(
        &mut self,
        step: Step,
        point: SyncPoint,
        (phase, inside): (HostPhase, InsidePhase),
        item: &CStr,
        meanwhile: impl FnOnce(&mut Meeting<'_, 'a>) -> T,
    ) -> T {
        self.inside(inside, item, step);
        self.host(phase, item, HostStep::Await { point });
        let done = meanwhile(&mut Meeting { b: self, phase });
        self.host(phase, item, HostStep::Release { point });
        done
    }

    /// The runtime does what `before` adds without waiting for init, which does not pass `point` before that
    /// is done.
    pub(super) fn before(
        &mut self,
        point: SyncPoint,
        (phase, inside): (HostPhase, InsidePhase),
        item: &CStr,
        before: impl FnOnce(&mut Meeting<'_, 'a>),
    ) {
        self.inside(inside, item, Step::Await { point });
        before(&mut Meeting { b: self, phase });
        self.host(phase, item, HostStep::Release { point });
    }

    /// The runtime hands over what it has made or opened, which init takes when its turn comes.
    pub(super) fn hand_over(
        &mut self,
        (host, inside): (HostPhase, InsidePhase),
        item: &CStr,
        (gives, takes): (HostStep, Step),
    ) {
        self.host(host, item, gives);
        self.inside(inside, item, takes);
    }

    /// Clones init, with these new namespaces.
    pub(super) fn clone_init(&mut self, item: &CStr, namespaces: u64) {
        self.host(HostPhase::Clone, item, HostStep::CloneInit { namespaces: Namespaces(namespaces) });
        self.record_init(HostPhase::Clone);
    }

    /// Init goes on in a clone, by `step`; the runtime follows.
    pub(super) fn clone_again(&mut self, (host, inside): (HostPhase, InsidePhase), item: &CStr, step: Step) {
        self.inside(inside, item, step);
        self.host(host, c"linux.namespaces", HostStep::FollowClone);
        self.record_init(host);
    }

    /// Writes down who init is; one that joins a container is not its init.
    fn record_init(&mut self, phase: HostPhase) {
        if self.joins.is_none() {
            self.host(phase, c"runtime", HostStep::RecordInit);
        }
    }

    /// Adds steps to init's half, all at `phase`, that are passed over where `/dev` is not the container's
    /// own.
    pub(super) fn in_own_dev(
        &mut self,
        phase: InsidePhase,
        item: &CStr,
        add: impl FnOnce(&mut Self) -> Result<(), PlanError>,
    ) -> Result<(), PlanError> {
        let at = self.inside.len();
        self.inside(phase, item, Step::OwnDev { dev: self.ledger.dev, steps: 0 });
        add(self)?;
        // Others among them may have been added at another phase, for their preparation.
        let count = self.inside.iter().skip(at + 1).filter(|step| step.phase == phase).count();
        if let Some(Step::OwnDev { steps, .. }) = self.inside.get_mut(at).map(|step| &mut step.planned.step) {
            *steps = count.try_into().unwrap_or(0);
        }
        Ok(())
    }

    /// Returns an annotation that is not empty.
    pub(super) fn annotation(&self, name: &str) -> Option<&'a str> {
        annotation(self.spec, name).filter(|value| !value.is_empty())
    }

    /// Whether a joined namespace must be another than the host's: something is set in it that would be set
    /// on the host. In a mount namespace that is always so: its root becomes the container's, for every
    /// process there (`pivot_root(2)`).
    pub(super) fn needs_foreign(&self, kind: LinuxNamespaceType) -> bool {
        let named = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
        let sysctls = self.spec.linux().as_ref().and_then(|linux| linux.sysctl().as_ref());
        let mut sysctls = sysctls.into_iter().flatten();
        sysctls.any(|(key, _)| sysctl_file(key).is_some_and(|file| sysctl_namespace(&file) == Ok(kind)))
            || kind == LinuxNamespaceType::Uts
                && (named(self.spec.hostname()) || named(self.spec.domainname()))
            || kind == LinuxNamespaceType::Network && !self.net_devices().is_empty()
            || kind == LinuxNamespaceType::Mount
    }

    /// The network devices that the container gets: names on the host and inside, sorted, as a plan has an
    /// order.
    pub(super) fn net_devices(&self) -> Vec<(String, String)> {
        let listed = self.spec.linux().as_ref().and_then(|linux| linux.net_devices().as_ref());
        let inside = |name: &String, device: &crate::oci::LinuxNetDevice| {
            device.name().clone().filter(|inside| !inside.is_empty()).unwrap_or_else(|| name.clone())
        };
        let mut devices: Vec<_> =
            listed.into_iter().flatten().map(|(name, device)| (name.clone(), inside(name, device))).collect();
        devices.sort();
        devices
    }

    /// Takes a new slot for the source of a bind mount.
    pub(super) fn new_source(&mut self) -> Result<Slot, PlanError> {
        let limit = usize::from(u16::MAX - slot::FIRST_SOURCE.0);
        let slot = Slot(self.next_source);
        let next = self.next_source.checked_add(1);
        self.next_source = next.ok_or(PlanError::TooManySources { count: limit + 1, limit })?;
        Ok(slot)
    }

    /// Whether the container has a mount namespace, new or joined.
    pub(super) fn has_mount_namespace(&self) -> bool {
        namespace(self.spec, LinuxNamespaceType::Mount).is_some()
    }

    /// Whether the runtime has privileges that init, in another user namespace, has not.
    pub(super) fn outranks_init(&self) -> bool {
        self.decisions.in_user_namespace() && self.facts.privileged
    }
}
