//! Hooks (`hooks`): which run where.
//!
//! Stage: plan. prestart and createRuntime are the runtime's, while init waits before `pivot_root(2)`; createContainer and
//! startContainer are init's; poststart comes after the exec, poststop after the deletion, both from what the state keeps.
//! Spec: config.md#posix-platform-hooks, runtime.md#lifecycle. Attacker: none in the runtime's; startContainer hooks are the
//! container's programs.

use std::ffi::CString;

use corten_init::{OwnedStep as Step, Slot, SyncPoint};

use crate::oci::{Hook, Hooks};

use super::build::{Builder, slot};
use super::paths::{block, text};
use super::{HostStep, PlanError};

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookKind {
    /// Deprecated in the spec, and still what Docker's network uses.
    Prestart,
    /// In the runtime's namespaces, before `pivot_root(2)`.
    CreateRuntime,
    /// In the container's namespaces, before `pivot_root(2)`.
    CreateContainer,
    /// In the container, right before the program.
    StartContainer,
    /// In the runtime's namespaces, after the program has begun.
    Poststart,
    /// In the runtime's namespaces, after the container is gone.
    Poststop,
}

impl HookKind {
    /// Returns the name that it has in config.json.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }

    /// Returns the hooks of this kind.
    #[allow(deprecated, reason = "the spec deprecates prestart, engines use it")]
    pub(crate) fn of(self, hooks: Option<&Hooks>) -> &[Hook] {
        let list = hooks.and_then(|hooks| match self {
            Self::Prestart => hooks.prestart().as_ref(),
            Self::CreateRuntime => hooks.create_runtime().as_ref(),
            Self::CreateContainer => hooks.create_container().as_ref(),
            Self::StartContainer => hooks.start_container().as_ref(),
            Self::Poststart => hooks.poststart().as_ref(),
            Self::Poststop => hooks.poststop().as_ref(),
        });
        list.map_or(&[], Vec::as_slice)
    }
}

/// Annotations that name files for the output of hooks (crun's).
pub(crate) const OUTPUT_ANNOTATIONS: [&str; 2] = ["run.oci.hooks.stdout", "run.oci.hooks.stderr"];

/// Adds what happens between the mounts and `pivot_root(2)`.
pub(super) fn create(b: &mut Builder<'_>) -> Result<(), PlanError> {
    let hooks = b.spec.hooks().as_ref();
    let [prestart, runtime, container, start] =
        [HookKind::Prestart, HookKind::CreateRuntime, HookKind::CreateContainer, HookKind::StartContainer]
            .map(|kind| kind.of(hooks));
    if [prestart, runtime, container, start].iter().all(|list| list.is_empty()) {
        return Ok(());
    }
    if !(container.is_empty() && start.is_empty()) {
        for (annotation, slot) in OUTPUT_ANNOTATIONS.into_iter().zip([slot::HOOK_STDOUT, slot::HOOK_STDERR]) {
            if let Some(path) = b.annotation(annotation) {
                let item = text("annotations", format!("annotations[{annotation:?}]"))?;
                b.host(item, HostStep::OpenHookOutput { path: path.into(), slot });
            }
        }
    }
    let (creating, created) = (slot::STATE_CREATING, slot::STATE_CREATED);
    b.inside(c"hooks", Step::AwaitHooks { creating, created });
    b.meet(c"hooks", HostStep::Await { point: SyncPoint::Hooks });
    for (kind, list) in [(HookKind::Prestart, prestart), (HookKind::CreateRuntime, runtime)] {
        if !list.is_empty() {
            let item = text("hooks", format!("hooks.{}", kind.name()))?;
            b.meet(item, HostStep::RunHooks { kind, hooks: list.to_vec() });
        }
    }
    b.meet(c"hooks", HostStep::Release { point: SyncPoint::Hooks });
    run(b, HookKind::CreateContainer, container, creating, &[])
}

/// Adds the startContainer hooks. `environment`: the process's, which a hook without one gets (runc).
pub(super) fn start(b: &mut Builder<'_>, environment: &[String]) -> Result<(), PlanError> {
    let hooks = HookKind::StartContainer.of(b.spec.hooks().as_ref());
    run(b, HookKind::StartContainer, hooks, slot::STATE_CREATED, environment)
}

/// Whether there are hooks that look for the container's root in its mount namespace, before it is the root.
pub(super) fn see_the_root(b: &Builder<'_>) -> bool {
    let kinds = [HookKind::Prestart, HookKind::CreateRuntime, HookKind::CreateContainer];
    kinds.iter().any(|kind| !kind.of(b.spec.hooks().as_ref()).is_empty())
}

/// Whether there are startContainer hooks.
pub(super) fn has_start(b: &Builder<'_>) -> bool {
    !HookKind::StartContainer.of(b.spec.hooks().as_ref()).is_empty()
}

/// The slots that startContainer hooks need until the exec.
pub(super) fn kept_slots(b: &Builder<'_>) -> Vec<Slot> {
    if !has_start(b) {
        return Vec::new();
    }
    let outputs = OUTPUT_ANNOTATIONS.into_iter().zip([slot::HOOK_STDOUT, slot::HOOK_STDERR]);
    let outputs = outputs.filter(|(annotation, _)| b.annotation(annotation).is_some()).map(|(_, slot)| slot);
    [slot::STATE_CREATED].into_iter().chain(outputs).collect()
}

fn run(
    b: &mut Builder<'_>,
    kind: HookKind,
    hooks: &[Hook],
    state: Slot,
    environment: &[String],
) -> Result<(), PlanError> {
    let output =
        |b: &Builder<'_>, annotation: &str, slot| if b.annotation(annotation).is_some() { slot } else { slot::SYNC };
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
            arguments,
            environment: block(&name, environment.iter().map(String::as_str))?,
            home: home.into(),
            timeout: hook.timeout().and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0),
            state,
            stdout: output(b, OUTPUT_ANNOTATIONS[0], slot::HOOK_STDOUT),
            stderr: output(b, OUTPUT_ANNOTATIONS[1], slot::HOOK_STDERR),
        };
        let item: CString = text("hooks", name)?;
        b.inside(item, step);
    }
    Ok(())
}
