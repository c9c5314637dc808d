//! The seccomp filter (`linux.seccomp`) as the program that the kernel runs.
//!
//! Stage: before planning; pure, but for [`cache`].
//! Privilege: none.
//! Kernel: the result is for `seccomp(SECCOMP_SET_MODE_FILTER)`, which init calls.
//! Spec: config-linux.md#seccomp. Attacker: the process under the filter; a filter that says less than the
//! profile is a hole, so whatever has no clear meaning is an error here, except for names of system calls
//! that nobody knows.
//!
//! [`cache`] keeps the results.

mod answer;
mod assembler;
pub(crate) mod cache;
mod calls;
mod decisions;
mod enosys;

use std::collections::HashSet;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use libseccomp::ScmpArch;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator,
};

pub(crate) use answer::Call;
use calls::Abi;
use decisions::{Comparison, Contradiction, Operator, Rule};

use crate::error::{ErrorKind, Failure};
use crate::spec::annotations::SECCOMP_PROGRAM;

/// The size of the kernel's `struct sock_filter`.
pub(crate) const INSTRUCTION_BYTES: usize = 8;

/// The kernel's `BPF_MAXINSNS`: it refuses longer programs.
pub(crate) const INSTRUCTIONS_MAX: usize = 4096;

const DEFAULT_ERRNO: &str = "linux.seccomp.defaultErrnoRet";

/// A compiled filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    /// `SECCOMP_FILTER_FLAG_*` for `seccomp(2)`.
    pub(crate) flags: u64,
    /// An array of `struct sock_filter`, native endian.
    pub(crate) program: Vec<u8>,
    /// The program answers SECCOMP_RET_USER_NOTIF to something: init loads it with NEW_LISTENER, else the
    /// kernel turns that into ENOSYS.
    pub(crate) notify: bool,
}

/// What a caller can change about compiling.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CompileOptions {
    /// A name that libseccomp does not know is an error (crun: `run.oci.seccomp_fail_unknown_syscall`).
    pub(crate) fail_unknown: bool,
}

/// A profile that cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SeccompError {
    #[error("{field}: must be at most {max}, found {found}")]
    ReturnValue { field: String, max: u32, found: u32 },
    #[error("linux.seccomp.syscalls[{index}].args[{nth}].index: must be at most 5, found {found}")]
    ArgIndex { index: usize, nth: usize, found: usize },
    #[error("linux.seccomp.syscalls[{index}].names[{nth}]: no system call is known as {name:?}")]
    UnknownName { index: usize, nth: usize, name: String },
    #[error(
        "linux.seccomp.architectures: {arch} cannot be filtered: its byte order is another, or libseccomp does not know it"
    )]
    Arch { arch: Arch },
    #[error("linux.seccomp.syscalls[{index}]: the rule for {name:?} contradicts an earlier one")]
    Contradiction { index: usize, name: String },
    #[error(
        "linux.seccomp.syscalls: {found} instructions are more than the kernel's limit of {INSTRUCTIONS_MAX}"
    )]
    TooLong { found: usize },
    #[error("annotations[{SECCOMP_PROGRAM:?}]: not base64")]
    RawEncoding { source: base64::DecodeError },
    #[error(
        "annotations[{SECCOMP_PROGRAM:?}]: must be 1 to {INSTRUCTIONS_MAX} instructions of {INSTRUCTION_BYTES} bytes, \
         found {found} bytes"
    )]
    RawLength { found: usize },
}

impl Failure for SeccompError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidConfig
    }
}

impl From<Contradiction<'_>> for SeccompError {
    fn from(Contradiction { index, name }: Contradiction<'_>) -> Self {
        Self::Contradiction { index, name: name.to_owned() }
    }
}

/// Compiles a profile.
///
/// Names that nobody knows are left out, as in runc: profiles are written for newer kernels, too. System
/// calls that are newer than the profile get ENOSYS, see [`enosys`].
///
/// # Errors
///
/// The profile asks for something that is out of range, contradicts itself, or is too long for the kernel.
pub(crate) fn compile(profile: &LinuxSeccomp, options: CompileOptions) -> Result<Filter, SeccompError> {
    let default = answer(profile.default_action(), profile.default_errno_ret(), || DEFAULT_ERRNO.into())?;
    let rules = rules(profile, options)?;
    let program = decisions::program(&rules, &abis(profile)?, default)?;
    let found = program.len() / INSTRUCTION_BYTES;
    if found > INSTRUCTIONS_MAX {
        return Err(SeccompError::TooLong { found });
    }
    Ok(Filter { flags: flags(profile), program, notify: notifies(profile) })
}

/// The profile's architectures come on top of the native one.
fn abis(profile: &LinuxSeccomp) -> Result<Vec<Abi>, SeccompError> {
    let mut abis: Vec<Abi> = Vec::new();
    for &arch in [Arch::ScmpArchNative].iter().chain(profile.architectures().iter().flatten()) {
        let abi = Abi::of(libseccomp_arch(arch)).ok_or(SeccompError::Arch { arch })?;
        if abis.iter().all(|other| other.arch != abi.arch) {
            abis.push(abi);
        }
    }
    Ok(abis)
}

/// Takes a program as it is (crun: `run.oci.seccomp_bpf_data`). Whether it makes sense, the kernel judges.
///
/// crun: without a profile that says otherwise, the flags are those of a profile without `flags`, and nobody
/// listens.
///
/// # Errors
///
/// It is not base64, or no array of instructions that the kernel could take.
pub(crate) fn from_raw(base64: &str) -> Result<Filter, SeccompError> {
    let program = BASE64_STANDARD.decode(base64).map_err(|source| SeccompError::RawEncoding { source })?;
    let found = program.len();
    if !found.is_multiple_of(INSTRUCTION_BYTES)
        || !(1..=INSTRUCTIONS_MAX).contains(&(found / INSTRUCTION_BYTES))
    {
        return Err(SeccompError::RawLength { found });
    }
    Ok(Filter { flags: libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW, program, notify: false })
}

/// Returns whether a rule asks for the listener.
pub(crate) fn notifies(profile: &LinuxSeccomp) -> bool {
    let notify = LinuxSeccompAction::ScmpActNotify;
    profile.default_action() == notify
        || profile.syscalls().iter().flatten().any(|entry| entry.action() == notify)
}

/// Returns the flags for `seccomp(2)`, but for NEW_LISTENER, which init adds. They are no part of the
/// program.
///
/// WAIT_KILLABLE_RECV is the only one that not all kernels have: before Linux 5.19 loading the filter fails
/// with EINVAL. It is about the listener, and an error without one, so it counts only if some rule notifies.
///
/// runc: without `flags` it is SPEC_ALLOW: no mitigation of speculative execution because of the filter
/// alone. TSYNC is of no use, init has one thread; with NEW_LISTENER it would be an error.
pub(crate) fn flags(profile: &LinuxSeccomp) -> u64 {
    let Some(flags) = profile.flags() else {
        return libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    };
    flags.iter().fold(0, |sum, flag| {
        sum | match flag {
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => libc::SECCOMP_FILTER_FLAG_LOG,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv if notifies(profile) => {
                libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
            }
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync
            | LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => 0,
        }
    })
}

/// Returns what of a profile is not in force, one sentence each: rules that restrict a system call that would
/// be allowed without them, and that nobody knows by this name. Unknown names in rules that allow something
/// are no loss: what they name is not allowed.
pub(crate) fn not_in_force(profile: &LinuxSeccomp) -> Vec<String> {
    use LinuxSeccompAction::{ScmpActAllow, ScmpActLog};
    let lets_pass = |action| matches!(action, ScmpActAllow | ScmpActLog);
    if !lets_pass(profile.default_action()) {
        return Vec::new();
    }
    let entries =
        profile.syscalls().iter().flatten().enumerate().filter(|(_, entry)| !lets_pass(entry.action()));
    let names = entries.flat_map(|(index, entry)| entry.names().iter().map(move |name| (index, name)));
    names
        .filter(|(_, name)| !calls::is_known(name))
        .map(|(index, name)| {
            format!("linux.seccomp.syscalls[{index}].names: {name:?} is not restricted, as no system call is known by this name")
        })
        .collect()
}

fn rules(profile: &LinuxSeccomp, options: CompileOptions) -> Result<Vec<Rule<'_>>, SeccompError> {
    let mut rules = Vec::new();
    for (index, entry) in profile.syscalls().iter().flatten().enumerate() {
        let field = || format!("linux.seccomp.syscalls[{index}].errnoRet");
        let answer = answer(entry.action(), entry.errno_ret(), field)?;
        let args = entry.args().as_deref().unwrap_or_default();
        let alternatives = comparisons(index, args)?;
        let mut seen = HashSet::new();
        for (nth, name) in entry.names().iter().enumerate().filter(|(_, name)| seen.insert(name.as_str())) {
            if options.fail_unknown && !calls::is_known(name) {
                return Err(SeccompError::UnknownName { index, nth, name: name.clone() });
            }
            for comparisons in &alternatives {
                rules.push(Rule { index, name, answer, comparisons: comparisons.clone() });
            }
        }
    }
    Ok(rules)
}

/// Returns the lists of comparisons of which one must hold.
///
/// All must hold together, so there is one list, unless an argument is compared twice: libseccomp refuses
/// that, and runc then takes each comparison for itself, which makes it an "or". Profiles rely on it.
fn comparisons(index: usize, args: &[LinuxSeccompArg]) -> Result<Vec<Vec<Comparison>>, SeccompError> {
    let mut all = Vec::with_capacity(args.len());
    let mut seen = HashSet::new();
    for (nth, arg) in args.iter().enumerate() {
        let found = arg.index();
        let argument = u32::try_from(found).ok().filter(|argument| *argument <= 5);
        let argument = argument.ok_or(SeccompError::ArgIndex { index, nth, found })?;
        seen.insert(argument);
        all.push(comparison(argument, arg));
    }
    if seen.len() == args.len() {
        return Ok(vec![all]);
    }
    Ok(all.into_iter().map(|comparison| vec![comparison]).collect())
}

fn comparison(argument: u32, arg: &LinuxSeccompArg) -> Comparison {
    let of = |operator| Comparison { argument, operator, mask: u64::MAX, value: arg.value() };
    match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => of(Operator::NotEqual),
        LinuxSeccompOperator::ScmpCmpLt => of(Operator::Less),
        LinuxSeccompOperator::ScmpCmpLe => of(Operator::LessOrEqual),
        LinuxSeccompOperator::ScmpCmpEq => of(Operator::Equal),
        LinuxSeccompOperator::ScmpCmpGe => of(Operator::GreaterEqual),
        LinuxSeccompOperator::ScmpCmpGt => of(Operator::Greater),
        // `value` is the mask, `valueTwo` what must be left.
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            Comparison { mask: arg.value(), value: arg.value_two().unwrap_or(0), ..of(Operator::Equal) }
        }
    }
}

/// What the filter returns to the kernel. runc: the value is EPERM when none is given, for TRACE too, and is
/// ignored for actions that have none.
fn answer(
    action: LinuxSeccompAction,
    value: Option<u32>,
    field: impl FnOnce() -> String,
) -> Result<u32, SeccompError> {
    const EPERM: u32 = 1;
    // The kernel cuts larger ones than its MAX_ERRNO, 4095, down to it; libseccomp refuses that one, too.
    const ERRNO_MAX: u32 = 4094;
    let found = value.unwrap_or(EPERM);
    let with = |answer: u32, max| {
        if found > max {
            return Err(SeccompError::ReturnValue { field: field(), max, found });
        }
        Ok(answer | found)
    };
    match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => {
            Ok(libc::SECCOMP_RET_KILL_THREAD)
        }
        LinuxSeccompAction::ScmpActKillProcess => Ok(libc::SECCOMP_RET_KILL_PROCESS),
        LinuxSeccompAction::ScmpActTrap => Ok(libc::SECCOMP_RET_TRAP),
        LinuxSeccompAction::ScmpActErrno => with(libc::SECCOMP_RET_ERRNO, ERRNO_MAX),
        LinuxSeccompAction::ScmpActTrace => with(libc::SECCOMP_RET_TRACE, u16::MAX.into()),
        LinuxSeccompAction::ScmpActLog => Ok(libc::SECCOMP_RET_LOG),
        LinuxSeccompAction::ScmpActAllow => Ok(libc::SECCOMP_RET_ALLOW),
        LinuxSeccompAction::ScmpActNotify => Ok(libc::SECCOMP_RET_USER_NOTIF),
    }
}

fn libseccomp_arch(arch: Arch) -> ScmpArch {
    match arch {
        Arch::ScmpArchNative => ScmpArch::native(),
        Arch::ScmpArchX86 => ScmpArch::X86,
        Arch::ScmpArchX86_64 => ScmpArch::X8664,
        Arch::ScmpArchX32 => ScmpArch::X32,
        Arch::ScmpArchArm => ScmpArch::Arm,
        Arch::ScmpArchAarch64 => ScmpArch::Aarch64,
        Arch::ScmpArchMips => ScmpArch::Mips,
        Arch::ScmpArchMips64 => ScmpArch::Mips64,
        Arch::ScmpArchMips64n32 => ScmpArch::Mips64N32,
        Arch::ScmpArchMipsel => ScmpArch::Mipsel,
        Arch::ScmpArchMipsel64 => ScmpArch::Mipsel64,
        Arch::ScmpArchMipsel64n32 => ScmpArch::Mipsel64N32,
        Arch::ScmpArchPpc => ScmpArch::Ppc,
        Arch::ScmpArchPpc64 => ScmpArch::Ppc64,
        Arch::ScmpArchPpc64le => ScmpArch::Ppc64Le,
        Arch::ScmpArchS390 => ScmpArch::S390,
        Arch::ScmpArchS390x => ScmpArch::S390X,
        Arch::ScmpArchParisc => ScmpArch::Parisc,
        Arch::ScmpArchParisc64 => ScmpArch::Parisc64,
        Arch::ScmpArchRiscv64 => ScmpArch::Riscv64,
        Arch::ScmpArchLoongarch64 => ScmpArch::Loongarch64,
        Arch::ScmpArchM68k => ScmpArch::M68k,
        Arch::ScmpArchSh => ScmpArch::Sh,
        Arch::ScmpArchSheb => ScmpArch::Sheb,
    }
}

#[cfg(test)]
pub(crate) mod tests;
