//! The hooks of a config, each with its field.

use oci_spec::runtime::{Hook, Hooks, Spec};

type List = fn(&Hooks) -> &Option<Vec<Hook>>;

/// `prestart` is deprecated in the spec, and Docker's libnetwork and NVIDIA's toolkit use it to this day.
const LISTS: [(&str, List); 6] = [
    ("prestart", Hooks::prestart),
    ("createRuntime", Hooks::create_runtime),
    ("createContainer", Hooks::create_container),
    ("startContainer", Hooks::start_container),
    ("poststart", Hooks::poststart),
    ("poststop", Hooks::poststop),
];

/// Returns all hooks with the field that each is, `hooks.prestart[0]`.
pub(super) fn all(spec: &Spec) -> impl Iterator<Item = (String, &Hook)> {
    spec.hooks().iter().flat_map(|hooks| {
        LISTS.iter().flat_map(move |(name, list)| {
            let hooks = list(hooks).iter().flatten().enumerate();
            hooks.map(move |(index, hook)| (format!("hooks.{name}[{index}]"), hook))
        })
    })
}
