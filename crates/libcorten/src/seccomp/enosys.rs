//! ENOSYS for system calls that are newer than the profile (`linux.seccomp.defaultAction`).
//!
//! A C library tries a new system call first and falls back to an old one on ENOSYS, but not on EPERM. A
//! profile that allows what it names cannot name what did not exist when it was written, so its default
//! action breaks such a library on the first newer kernel. Numbers above the largest that the profile names
//! therefore get ENOSYS.
//!
//! runc: since 1.0.0-rc93, with the same rule. Known to be rough: numbers are not handed out in the order of
//! releases.
//!
//! Stage: plan, pure.
//! Spec: nothing. Attacker: the process under the filter; a default that refuses becomes another refusal,
//! nothing else.

use super::calls::{Abi, Number};
use super::decisions::Rule;

/// What newer calls get. The native errno is the one of all programs that can run here.
pub(super) const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();

/// Returns whether newer calls get ENOSYS instead of this default: not if it lets calls through, or leaves
/// them to somebody else.
pub(super) fn is_instead_of(default: u32) -> bool {
    !matches!(
        default & libc::SECCOMP_RET_ACTION_FULL,
        libc::SECCOMP_RET_ALLOW
            | libc::SECCOMP_RET_LOG
            | libc::SECCOMP_RET_TRACE
            | libc::SECCOMP_RET_USER_NOTIF
    )
}

/// Returns the numbers of an architecture that are newer than what the rules name, whatever they say about
/// it: from the first to the last. There are none if they name nothing.
pub(super) fn newer(rules: &[Rule<'_>], abi: &Abi) -> Option<(u32, u32)> {
    let own = |number| match number {
        Number::Own(number) => Some(number),
        Number::Part { own, .. } => own,
    };
    // A name that nobody knows is newer still: the largest known one stays.
    let numbers = rules.iter().filter_map(|rule| own(abi.number(rule.name)?));
    let last_named = numbers.filter(|number| *number <= abi.last).max()?;
    (last_named < abi.last).then(|| (last_named + 1, abi.last))
}

#[cfg(test)]
mod tests;
