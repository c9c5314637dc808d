//! create and run: from bundle to process.

use std::collections::BTreeMap;
use std::time::SystemTime;

use corten_cgroup::Hierarchy;
use nix::unistd::Pid;

use super::{Bundle, CannotStart, Container, CreateOptions, LifecycleError, Runtime};
use crate::host::{self, cgroup_error};
use crate::launch::{Launch, LaunchError};
use crate::plan::{HostStep, Planned, Request};
use crate::state::{Record, StateDirectory, rfc3339};
use crate::{Error, Plan, Result, sys};

/// Makes a container, by the way that the crate's page describes.
pub(super) fn create(
    runtime: &Runtime,
    id: &str,
    bundle: &Bundle,
    options: &CreateOptions,
    wait_for_start: bool,
) -> Result<Container> {
    let hierarchy = Hierarchy::detect().map_err(cgroup_error)?;
    let plan = plan(runtime, &hierarchy, id, bundle, options, wait_for_start)?;
    launch(runtime, &hierarchy, id, bundle, options, &plan, &mut |_| {})
}

pub(super) fn plan(
    runtime: &Runtime,
    hierarchy: &Hierarchy,
    id: &str,
    bundle: &Bundle,
    options: &CreateOptions,
    wait_for_start: bool,
) -> Result<Plan> {
    let facts = host::facts(bundle.spec(), id, bundle.directory(), runtime.root(), hierarchy)?;
    let request = Request { id, bundle: bundle.directory(), wait_for_start, options };
    Plan::new(bundle.spec(), &request, &facts).map_err(|error| Error::new(error.kind(), error))
}

pub(super) fn launch(
    runtime: &Runtime,
    hierarchy: &Hierarchy,
    id: &str,
    bundle: &Bundle,
    options: &CreateOptions,
    plan: &Plan,
    observe: &mut dyn FnMut(&Planned<HostStep>),
) -> Result<Container> {
    check_preserved(options.preserve_fds)?;
    let (directory, lock) = StateDirectory::create(runtime.root(), id)?;
    let mut record = new_record(id, bundle, plan);
    match Launch::new(plan, &directory, &mut record, hierarchy, options).run(observe) {
        Ok(launched) => {
            drop(lock);
            let init = Some((launched.pidfd, Pid::from_raw(record.pid)));
            Ok(Container { id: id.to_owned(), directory, init, console: launched.master })
        }
        Err(error) => {
            // While something is left, the directory stays, so that `delete --force` can find and remove it.
            if !matches!(error, LaunchError::Left { .. }) {
                directory.remove()?;
            }
            Err(Error::new(error.kind(), CannotStart(error)))
        }
    }
}

fn new_record(id: &str, bundle: &Bundle, plan: &Plan) -> Record {
    let cgroup = plan.host.iter().find_map(|planned| match &planned.step {
        HostStep::CreateCgroup { path, .. } => Some(path.clone()),
        _ => None,
    });
    let annotations: BTreeMap<_, _> = bundle.spec().annotations().clone().unwrap_or_default().into_iter().collect();
    Record {
        oci_version: bundle.spec().version().clone(),
        id: id.to_owned(),
        bundle: bundle.directory().to_owned(),
        rootfs: bundle.rootfs(),
        created: rfc3339(SystemTime::now()),
        annotations,
        cgroup: cgroup.unwrap_or_default(),
        creating: true,
        pid: 0,
        start_time: 0,
        hooks: bundle.spec().hooks().clone(),
        resctrl: None,
    }
}

/// Checks that the fds that the program is to get came from the caller; what this process has opened itself is
/// close-on-exec. runc refuses a gap, too.
fn check_preserved(count: u32) -> Result<()> {
    for fd in 3..count.saturating_add(3) {
        if !sys::is_inherited(fd.cast_signed()) {
            return Err(LifecycleError::NotOpen { fd }.into());
        }
    }
    Ok(())
}
