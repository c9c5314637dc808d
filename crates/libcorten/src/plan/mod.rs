//! From the config to the list of kernel calls.
//!
//! Stage: plan; pure. `Spec`, what was asked for (`Request`) and what the host is like (`Facts`) become a
//! [`Plan`]: what the runtime does, what init does, and where the two meet. No system call is made here, so a
//! plan can be printed, compared and fuzzed, and a test can change it to make any step fail. Spec: config.md,
//! config-linux.md. Attacker: none yet; the bundle is trusted, what it names on disk is not looked at.
//!
//! `decisions`: what a whole plan follows from. `phases`, `builder`: how steps come into order. `build` and
//! `exec`: the rooms' subjects from top to bottom; each other room adds the steps of its own. `steps`: those
//! of the runtime; `check`: what must come before what.

mod build;
mod builder;
mod cgroup_mounts;
mod cgroups;
mod check;
#[cfg(test)]
mod corpus;
mod decisions;
mod devices;
mod error;
mod exec;
mod hooks;
mod kernel;
mod locked_flags;
mod mount_options;
mod mounts;
mod namespaces;
mod paths;
mod phases;
mod print;
mod process;
mod root;
mod sources;
mod steps;
#[cfg(test)]
mod tests;

use std::ffi::CString;

use crate::facts::{Facts, JoinFacts, LegacyHierarchy, PreservedFds};
use crate::request::Request;

pub use check::{At, PlanFault};
pub use corten_init::{
    Attributes, CallersGroups, CapabilitySet, Filter, FilterFlags, Ids, Mask, Mode, Namespaces, Options,
    OwnedStep, Propagation, Ranges, Resource, Role, SchedulerFlags, Slot, SlotRange, Slots, Strings,
    SyncPoint, Target, TreeFlags,
};
use decisions::Decisions;
pub(crate) use decisions::{HOOKS_DEADLINE, has_network_of_its_own};
pub(crate) use devices::rules as device_rules;
pub(crate) use error::PlanError;
pub(crate) use exec::MountChange;
pub use locked_flags::LockedFlags;
pub use mount_options::MOUNT_OPTIONS;
pub(crate) use mount_options::is_bind;
pub(crate) use namespaces::{has_user_namespace, types as namespace_types};
pub use steps::{HostStep, IdMapSource};

/// A step with the config item that it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned<T> {
    /// The config item, as a path into config.json (`mounts[3]`), or a word for what no item asks for
    /// (`runtime`).
    pub item: CString,
    /// The step.
    pub step: T,
}

/// Everything that is done to make a container.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What was decided before any step.
    pub(crate) decisions: Decisions,
    /// What the runtime does.
    pub host: Vec<Planned<HostStep>>,
    /// What init does.
    pub inside: Vec<Planned<OwnedStep>>,
    /// Number of slots for file descriptors.
    pub(crate) slots: u16,
    /// The caller's fds that the program gets.
    pub(crate) preserved_fds: PreservedFds,
    /// What the config asks for and will not have, one sentence each.
    pub(crate) warnings: Vec<String>,
}

impl Plan {
    /// Returns what the config asks for and will not have, one sentence each that names the field: labels on
    /// a kernel without the security module, options that mean nothing where they stand.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Works the plan out.
    pub(crate) fn new(
        spec: &crate::oci::Spec,
        request: &Request<'_>,
        facts: &Facts,
    ) -> Result<Self, PlanError> {
        Ok(build::container(spec, request, facts)?.finish())
    }

    /// Works out the plan for a process in a container that runs; `spec` is the container's config with that
    /// process.
    pub(crate) fn for_exec(
        spec: &crate::oci::Spec,
        request: &Request<'_>,
        facts: &Facts,
        running: &JoinFacts,
    ) -> Result<Self, PlanError> {
        Ok(exec::process(spec, request, facts, running)?.finish())
    }

    /// Works out the plan for changing mounts of a container that runs; `spec` is the container's config with
    /// these mounts.
    pub(crate) fn for_mounts(
        spec: &crate::oci::Spec,
        request: &Request<'_>,
        facts: &Facts,
        running: &JoinFacts,
        change: MountChange,
    ) -> Result<Self, PlanError> {
        Ok(exec::change_of_mounts(spec, request, facts, running, change)?.finish())
    }
}
