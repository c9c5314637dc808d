//! Hooks (`hooks`): which run where.
//!
//! Stage: plan. prestart and createRuntime are the runtime's, while init waits before `pivot_root(2)`;
//! createContainer and startContainer are init's; poststart comes after the exec, poststop after the
//! deletion, both from what the state keeps. Spec: config.md#posix-platform-hooks, runtime.md#lifecycle.
//! Attacker: none in the runtime's; startContainer hooks are the container's programs.

use corten_init::{OwnedStep as Step, Slot, Strings};

use crate::oci::{Hook, Spec};
use crate::spec::HookKind;
use crate::spec::annotations::HOOK_OUTPUTS;

use super::build::annotation_item;
use super::builder::{Builder, slot};
use super::paths::{block, text};
use super::phases::{HostPhase, InsidePhase};
use super::{HostStep, PlanError, cgroups};

/// What names the files for the output of hooks that init runs, and where init finds them.
const OUTPUTS: [(&str, Slot); 2] =
    [(HOOK_OUTPUTS[0], slot::HOOK_STDOUT), (HOOK_OUTPUTS[1], slot::HOOK_STDERR)];

/// Those that run before the program does.
const BEFORE_EXEC: [HookKind; 4] =
    [HookKind::Prestart, HookKind::CreateRuntime, HookKind::CreateContainer, HookKind::StartContainer];

/// Adds what happens between the mounts and `pivot_root(2)`.
pub(super) fn create(b: &mut Builder<'_>) -> Result<(), PlanError> {
    let hooks = b.spec.hooks().as_ref();
    let [prestart, runtime, container, start] = BEFORE_EXEC.map(|kind| kind.of(hooks));
    if !any_before_start(b.spec) {
        return Ok(());
    }
    if !(container.is_empty() && start.is_empty()) {
        for (annotation, slot) in OUTPUTS {
            if let Some(path) = b.annotation(annotation) {
                b.host(
                    HostPhase::Open,
                    annotation_item(annotation)?,
                    HostStep::OpenHookOutput { path: path.into(), slot },
                );
            }
        }
    }
    let phases = (HostPhase::Hooks, InsidePhase::Hooks);
    b.rendezvous_for_hooks(phases, c"hooks", |meeting| {
        cgroups::filter(meeting);
        for (kind, list) in [(HookKind::Prestart, prestart), (HookKind::CreateRuntime, runtime)] {
            if !list.is_empty() {
                let item = text("hooks", format!("hooks.{}", kind.name()))?;
                meeting.host(item, HostStep::RunHooks { kind, hooks: list.to_vec() });
            }
        }
        Ok::<_, PlanError>(())
    })?;
    run(b, HookKind::CreateContainer, container, slot::STATE_CREATING, &[])
}

/// Adds the startContainer hooks. `environment`: the process's, which a hook without one gets (runc).
pub(super) fn start(b: &mut Builder<'_>, environment: &[String]) -> Result<(), PlanError> {
    let hooks = HookKind::StartContainer.of(b.spec.hooks().as_ref());
    run(b, HookKind::StartContainer, hooks, slot::STATE_CREATED, environment)
}

/// Whether there are hooks that run before the program, so that init waits at
/// [`Hooks`](corten_init::SyncPoint::Hooks).
pub(super) fn any_before_start(spec: &Spec) -> bool {
    BEFORE_EXEC.iter().any(|kind| !kind.of(spec.hooks().as_ref()).is_empty())
}

/// Whether there are hooks that look for the container's root in its mount namespace, before it is the root.
pub(super) fn see_the_root(spec: &Spec) -> bool {
    let kinds = [HookKind::Prestart, HookKind::CreateRuntime, HookKind::CreateContainer];
    kinds.iter().any(|kind| !kind.of(spec.hooks().as_ref()).is_empty())
}

/// Whether there are startContainer hooks.
pub(super) fn has_start(spec: &Spec) -> bool {
    !HookKind::StartContainer.of(spec.hooks().as_ref()).is_empty()
}

/// Whether there are hooks that init runs.
pub(super) fn any_inside(spec: &Spec) -> bool {
    let kinds = [HookKind::CreateContainer, HookKind::StartContainer];
    kinds.iter().any(|kind| !kind.of(spec.hooks().as_ref()).is_empty())
}

/// The slots that startContainer hooks need until the exec.
pub(super) fn kept_slots(b: &Builder<'_>) -> Vec<Slot> {
    if !has_start(b.spec) {
        return Vec::new();
    }
    [slot::STATE_CREATED].into_iter().chain(outputs(b).into_iter().flatten()).collect()
}

/// Where the output of hooks goes, stdout and stderr; `None`: it is kept for the error.
fn outputs(b: &Builder<'_>) -> [Option<Slot>; 2] {
    OUTPUTS.map(|(annotation, slot)| b.annotation(annotation).map(|_| slot))
}

fn run(
    b: &mut Builder<'_>,
    kind: HookKind,
    hooks: &[Hook],
    state: Slot,
    environment: &[String],
) -> Result<(), PlanError> {
    let [stdout, stderr] = outputs(b);
    let phase = if kind == HookKind::StartContainer { InsidePhase::StartHooks } else { InsidePhase::Hooks };
    for (index, hook) in hooks.iter().enumerate() {
        let name = format!("hooks.{}[{index}]", kind.name());
        let path = hook.path().to_string_lossy().into_owned();
        let arguments = match hook.args() {
            Some(arguments) if !arguments.is_empty() => block(&name, arguments.iter().map(String::as_str))?,
            _ => block(&name, [path.as_str()])?,
        };
        let listed = hook.env().as_ref().filter(|listed| !listed.is_empty());
        let home = listed.is_none() && kind == HookKind::StartContainer;
        let environment = listed.map_or(environment, Vec::as_slice);
        let step = Step::RunHook {
            path: text(&name, path)?,
            arguments: Strings(arguments),
            environment: Strings(block(&name, environment.iter().map(String::as_str))?),
            home,
            timeout: hook.timeout().and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0),
            state,
            stdout,
            stderr,
        };
        b.inside(phase, text("hooks", name)?, step);
    }
    Ok(())
}
