//! What Corten does not do, one line each.

use oci_spec::runtime::Spec;

use super::error::SpecError;

/// Returns the path of the field that asks for it, if one does.
type Asks = fn(&Spec) -> Option<String>;

/// What the spec has no values for.
const NEVER: &[(&str, Asks)] = &[("a personality flag", personality_flags)];

/// A section for another platform: its name, what it asks for, and whether a config has it.
type OtherPlatform = (&'static str, &'static str, fn(&Spec) -> bool);

/// Sections for other platforms. A config that has one was made for another runtime; ignoring the section
/// would run something else than what was asked for.
pub(super) const OTHER_PLATFORMS: &[OtherPlatform] = &[
    ("windows", "a container for Windows", |spec| spec.windows().is_some()),
    ("solaris", "a container for Solaris", |spec| spec.solaris().is_some()),
    ("zos", "a container for z/OS", |spec| spec.zos().is_some()),
    ("vm", "a virtual machine", |spec| spec.vm().is_some()),
    // The type has no such field: `compat` looks for it in the text.
    ("freebsd", "a container for FreeBSD", |_| false),
];

pub(super) fn is_not_asked_for(spec: &Spec) -> Result<(), SpecError> {
    if let Some((name, what, _)) = OTHER_PLATFORMS.iter().find(|(_, _, asks)| asks(spec)) {
        return Err(other_platform(name, what));
    }
    for &(what, asks) in NEVER {
        if let Some(field) = asks(spec) {
            return Err(SpecError::Unsupported { field, what });
        }
    }
    Ok(())
}

pub(super) fn other_platform(name: &str, what: &'static str) -> SpecError {
    SpecError::Unsupported { field: name.to_owned(), what }
}

/// runc: warns and ignores them.
fn personality_flags(spec: &Spec) -> Option<String> {
    let personality = spec.linux().as_ref()?.personality().as_ref()?;
    let flags = personality.flags().as_ref().is_some_and(|flags| !flags.is_empty());
    flags.then(|| "linux.personality.flags".to_owned())
}
