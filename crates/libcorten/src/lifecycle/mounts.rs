//! mounts: other mounts for a container that runs.

use std::os::fd::AsFd;

use super::Container;
use crate::host;
use crate::launch::{Attempt, Host, Launch, Subject};
use crate::oci::Mount;
use crate::plan::MountChange;
use crate::request::{CreateOptions, Request};
use crate::{Plan, Result, spec, sys};

impl Container {
    /// Adds mounts, in this order, all of them or those before the one that fails. Sources are the caller's;
    /// relative ones count from the bundle.
    ///
    /// # Errors
    /// The container does not run, or a mount cannot be made; the message names it by its place in the list.
    pub fn add_mounts(&self, mounts: &[Mount]) -> Result<Vec<String>> {
        self.change_mounts(mounts, MountChange::Add)
    }

    /// Takes away what is mounted at the destinations of these mounts, the last one first; nothing else of
    /// them counts. Links are not followed.
    ///
    /// # Errors
    /// The container does not run, or nothing is mounted there.
    pub fn remove_mounts(&self, mounts: &[Mount]) -> Result<()> {
        self.change_mounts(mounts, MountChange::Remove).map(drop)
    }

    /// Returns what was not done as asked for.
    fn change_mounts(&self, mounts: &[Mount], change: MountChange) -> Result<Vec<String>> {
        // No lock: the container can hold the process up that changes its mounts, and must not hold up other
        // commands by that.
        let target = self.target(true)?;
        let mut config = self.config()?;
        config.set_mounts(Some(mounts.to_vec()));
        if change == MountChange::Add {
            spec::validate(&config)?;
        }
        let options = CreateOptions::default();
        let bundle = &target.record.bundle;
        let request = Request { id: &self.id, bundle, wait_for_start: false, options: &options };
        let facts =
            host::mount_facts(&config, bundle, target.record.cgroups.clone(), change == MountChange::Add)?;
        let plan = Plan::for_mounts(&config, &request, &facts, &target.facts, change)?;
        let launch = Launch {
            plan: &plan,
            host: Host { machine: &target.machine, systemd: None },
            subject: Subject::Process(&target),
            options: &options,
            attempt: Attempt::Last,
            network: None,
            is_patient: false,
        };
        let launched = launch.run(&mut |_| {}).map_err(|failed| failed.error)?;
        // It has ended; nobody else reaps it.
        sys::wait_exit(launched.pidfd.as_fd(), true)?;
        Ok(plan.warnings)
    }
}
