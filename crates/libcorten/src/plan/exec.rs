//! A process in a container that runs: another program (`exec`), or one that changes mounts and ends
//! (`mounts`).
//!
//! Stage: plan. The same parts as for a container's first process, around another beginning: there is nothing
//! to make, and all to join. The namespaces are those of the container's init, by its pidfd: whatever their
//! paths and whoever made them, and never those of a process that has got the same pid since. Spec:
//! config.md#process for the process; the command itself is runc's. Attacker: processes in the container,
//! which run, and see the new one as soon as it is in their PID namespace. With CAP_SYS_PTRACE they could
//! take hold of it then, dumpable or not, and of what it may do: so it is made in the runtime's PID
//! namespace, where they do not see it, and enters theirs with the capabilities, the user and the filter that
//! the program will have. In a user namespace that capability is no power over a process that is not
//! dumpable.

use corten_init::{OwnedStep as Step, SyncPoint};

use crate::facts::JoinFacts;
use crate::oci::{Process, Spec};

use super::build;
use super::builder::{Builder, slot};
use super::decisions::{Appearance, Decisions, Procfs, RootMethod};
use super::phases::{HostPhase, InsidePhase};
use super::{Facts, HostStep, PlanError, Request, cgroups, kernel, mounts, namespaces, process};

/// Works out what is done for a process, in order. `spec` is the container's config, with the new process in
/// place of the first one, and without what is done once for all: hooks, sysctls.
pub(super) fn process<'a>(
    spec: &'a Spec,
    request: &'a Request<'a>,
    facts: &'a Facts,
    running: &'a JoinFacts,
) -> Result<Builder<'a>, PlanError> {
    let process = spec.process().as_ref().ok_or(PlanError::Missing { item: "process" })?;
    let decisions = Decisions::of_exec(spec, request, facts, process, running);
    let mut builder = Builder::new(spec, request, facts, Some(running), decisions);
    let b = &mut builder;
    build::warn(b, process);
    process::warn_of_capabilities(b, process);
    build::check_console(process, request)?;
    build::host_proc(b);
    cgroups::join(b)?;
    build::oom_score(b)?;
    namespaces::join_init(b, running)?;
    root(b);
    if process.terminal().unwrap_or(false) {
        build::open_terminal(b, process);
        b.inside(InsidePhase::Terminal, c"process.terminal", Step::TerminalAsStdio { peer: slot::PEER });
    }
    if b.decisions.appearance != Some(Appearance::Last) {
        session(b, InsidePhase::JoinedSession, process);
    }
    build::kernel_files(b, process)?;
    build::keyring(b)?;
    process::exec_process(b, process)?;
    b.clone_init(c"runtime", 0);
    restrict(b, process, running)?;
    b.host(HostPhase::Exec, c"process.args", HostStep::AwaitExec);
    Ok(builder)
}

/// The session, and its terminal: of the process that stays.
pub(super) fn session(b: &mut Builder<'_>, phase: InsidePhase, process: &Process) {
    b.inside(phase, c"runtime", Step::NewSession {});
    if process.terminal().unwrap_or(false) {
        b.inside(phase, c"process.terminal", Step::ControllingTerminal {});
    }
}

/// What becomes of mounts of a container that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MountChange {
    /// Those of the config are added.
    Add,
    /// What is mounted at their destinations is taken away.
    Remove,
}

/// Works out what is done to change mounts. `spec` is the container's config with these mounts.
pub(super) fn change_of_mounts<'a>(
    spec: &'a Spec,
    request: &'a Request<'a>,
    facts: &'a Facts,
    running: &'a JoinFacts,
    change: MountChange,
) -> Result<Builder<'a>, PlanError> {
    let decisions = Decisions::of_mounts(spec, request, facts, running, change);
    let mut builder = Builder::new(spec, request, facts, Some(running), decisions);
    let b = &mut builder;
    namespaces::join_init(b, running)?;
    b.clone_init(c"runtime", 0);
    root(b);
    match change {
        MountChange::Add => {
            mounts::mounts(b)?;
            mounts::late_readonly(b)?;
        }
        MountChange::Remove => {
            build::host_proc(b);
            if b.decisions.procfs == Procfs::Own {
                b.inside(InsidePhase::Mounts, c"runtime", Step::OpenProc { slot: slot::PROC });
            }
            mounts::remove(b)?;
        }
    }
    b.rendezvous(SyncPoint::Ready, (HostPhase::Ready, InsidePhase::Ready), c"runtime", |_| {});
    b.inside(InsidePhase::Exec, c"runtime", Step::End {});
    b.host(HostPhase::Exec, c"runtime", HostStep::AwaitExec);
    Ok(builder)
}

/// The root that paths are resolved in. A container without a mount namespace of its own is shut up in a tree
/// that only its processes have.
fn root(b: &mut Builder<'_>) {
    let item = c"runtime";
    if b.decisions.root == RootMethod::Joined {
        b.inside(InsidePhase::Root, item, Step::FindRoot {});
    } else {
        b.host(HostPhase::Open, item, HostStep::OpenInitRoot { slot: slot::ROOT });
        b.inside(InsidePhase::Root, item, Step::EnterTree { tree: slot::ROOT });
        b.inside(InsidePhase::Root, item, Step::MoveRoot {});
    }
}

/// What the runtime does around a process that joins.
fn restrict(b: &mut Builder<'_>, process: &Process, running: &JoinFacts) -> Result<(), PlanError> {
    let affinity = process.exec_cpu_affinity().as_ref().and_then(|affinity| affinity.initial().as_deref());
    if let Some(cpus) = affinity.filter(|cpus| !cpus.is_empty()) {
        let mask = kernel::mask("process.execCPUAffinity.initial", cpus)?;
        b.host(HostPhase::Affinity, c"process.execCPUAffinity.initial", HostStep::RunOn { cpus: mask });
    }
    build::copy_stdio(b, process);
    if !running.resctrl.is_empty() {
        let step = HostStep::JoinIntelRdt { tasks: running.resctrl.clone() };
        b.host(HostPhase::RestrictJoined, c"linux.intelRdt", step);
    }
    build::restrict_process(b, HostPhase::RestrictJoined, process)
}
