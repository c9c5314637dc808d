//! The hooks of a config (`hooks`), each with its field.

use oci_spec::runtime::{Hook, Hooks, Spec};

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookKind {
    /// Deprecated in the spec, and still what Docker's libnetwork and NVIDIA's toolkit use.
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
    /// All kinds, in the order in which a container meets them.
    pub const ALL: [Self; 6] = [
        Self::Prestart,
        Self::CreateRuntime,
        Self::CreateContainer,
        Self::StartContainer,
        Self::Poststart,
        Self::Poststop,
    ];

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

/// Returns all hooks with the field that each is, `hooks.prestart[0]`.
pub(super) fn all(spec: &Spec) -> impl Iterator<Item = (String, &Hook)> {
    HookKind::ALL.into_iter().flat_map(|kind| {
        let hooks = kind.of(spec.hooks().as_ref()).iter().enumerate();
        hooks.map(move |(index, hook)| (format!("hooks.{}[{index}]", kind.name()), hook))
    })
}
