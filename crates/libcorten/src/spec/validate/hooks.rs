//! `hooks`.

use oci_spec::runtime::Spec;

use super::super::hooks;
use super::{absolute, is_assignment, require};
use crate::spec::error::{Problem, SpecError};

/// Whether a hook's file exists is seen when it runs: `startContainer` hooks are in the container.
pub(super) fn hooks_are_sound(spec: &Spec) -> Result<(), SpecError> {
    for (field, hook) in hooks::all(spec) {
        absolute(hook.path(), || format!("{field}.path"))?;
        for (index, assignment) in hook.env().iter().flatten().enumerate() {
            is_assignment(assignment, || format!("{field}.env[{index}]"))?;
        }
        let timeout = hook.timeout().unwrap_or(1);
        require(timeout > 0, || (format!("{field}.timeout"), Problem::NotPositive { found: timeout }))?;
    }
    Ok(())
}
