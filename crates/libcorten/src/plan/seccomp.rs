//! The seccomp filter (`linux.seccomp`) as the program that the kernel runs.
//!
//! Stage: plan; pure but for a memfd, because libseccomp 2.5 can export to a file descriptor only.
//! Privilege: none.
//! Kernel: the result is for `seccomp(SECCOMP_SET_MODE_FILTER)`, which init calls.
//! Spec: config-linux.md#seccomp. Attacker: the process under the filter; a filter that says less than the profile is a
//! hole, so whatever libseccomp refuses is an error here, except for names of system calls that it does not know.
//!
//! Compiling Docker's profile takes 9 ms; `host::seccomp_cache` keeps the results.

mod answer;
mod enosys;

use std::collections::HashSet;
use std::io::{self, Read, Seek};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use nix::sys::memfd::{MFdFlags, memfd_create};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator,
};

pub(crate) use answer::Call;

use crate::ErrorKind;
use crate::spec::annotations::SECCOMP_PROGRAM;

/// The size of the kernel's `struct sock_filter`.
pub(crate) const INSTRUCTION_BYTES: usize = 8;

/// The kernel's `BPF_MAXINSNS`: it refuses longer programs.
pub(crate) const INSTRUCTIONS_MAX: usize = 4096;

/// From how many rules on a binary tree pays (runc's number). libseccomp 2.5 makes a wrong tree of no rules at all.
const TREE_RULES: usize = 32;

/// A compiled filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    /// `SECCOMP_FILTER_FLAG_*` for `seccomp(2)`.
    pub(crate) flags: u64,
    /// An array of `struct sock_filter`, native endian.
    pub(crate) program: Vec<u8>,
    /// The program answers SECCOMP_RET_USER_NOTIF to something: init loads it with NEW_LISTENER, else the kernel turns
    /// that into ENOSYS.
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
    #[error("linux.seccomp.syscalls[{index}].names[{nth}]: libseccomp does not know {name:?}")]
    UnknownName { index: usize, nth: usize, name: String },
    #[error("linux.seccomp: libseccomp cannot make a filter")]
    Create { source: libseccomp::error::SeccompError },
    #[error("linux.seccomp.architectures: libseccomp cannot add {arch}")]
    Arch { arch: Arch, source: libseccomp::error::SeccompError },
    #[error("linux.seccomp.syscalls[{index}]: libseccomp cannot add the rule for {name:?}")]
    Rule { index: usize, name: String, source: libseccomp::error::SeccompError },
    #[error("linux.seccomp: libseccomp cannot export the filter")]
    Export { source: libseccomp::error::SeccompError },
    #[error("linux.seccomp: cannot make a memfd for the filter")]
    Memfd { source: nix::Error },
    #[error("linux.seccomp: cannot read the filter from its memfd")]
    Read { source: io::Error },
    #[error("linux.seccomp: {found} instructions are more than the kernel's limit of {INSTRUCTIONS_MAX}")]
    TooLong { found: usize },
    #[error("annotations[{SECCOMP_PROGRAM:?}]: not base64")]
    RawEncoding { source: base64::DecodeError },
    #[error(
        "annotations[{SECCOMP_PROGRAM:?}]: must be 1 to {INSTRUCTIONS_MAX} instructions of {INSTRUCTION_BYTES} bytes, \
         found {found} bytes"
    )]
    RawLength { found: usize },
}

impl SeccompError {
    /// Returns what kind of error this is.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::ReturnValue { .. }
            | Self::ArgIndex { .. }
            | Self::UnknownName { .. }
            | Self::Arch { .. }
            | Self::Rule { .. }
            | Self::TooLong { .. }
            | Self::RawEncoding { .. }
            | Self::RawLength { .. } => ErrorKind::InvalidConfig,
            Self::Create { .. } | Self::Export { .. } => ErrorKind::Internal,
            Self::Memfd { .. } | Self::Read { .. } => ErrorKind::Kernel,
        }
    }
}

/// One call of libseccomp's rule function: all comparisons must hold.
struct Rule<'a> {
    /// Position in `linux.seccomp.syscalls`.
    index: usize,
    name: &'a str,
    syscall: ScmpSyscall,
    action: ScmpAction,
    comparisons: Vec<ScmpArgCompare>,
}

/// Compiles a profile.
///
/// Names that libseccomp does not know are left out, as in runc: profiles are written for newer kernels, too. System
/// calls that are newer than the profile get ENOSYS, see [`enosys`].
///
/// # Errors
///
/// The profile asks for something that is out of range, or libseccomp refuses it.
pub(crate) fn compile(profile: &LinuxSeccomp, options: CompileOptions) -> Result<Filter, SeccompError> {
    let default =
        action(profile.default_action(), profile.default_errno_ret(), || "linux.seccomp.defaultErrnoRet".into())?;
    let rules = rules(profile, default, options)?;

    let mut filter = ScmpFilterContext::new(default).map_err(|source| SeccompError::Create { source })?;
    // A new filter has the native architecture; the profile's come on top.
    let mut archs = vec![ScmpArch::native()];
    for &arch in profile.architectures().iter().flatten() {
        filter.add_arch(libseccomp_arch(arch)).map_err(|source| SeccompError::Arch { arch, source })?;
        archs.push(libseccomp_arch(arch));
    }
    if rules.len() > TREE_RULES {
        filter.set_ctl_optimize(2).map_err(|source| SeccompError::Create { source })?;
    }
    for Rule { index, name, syscall, action, comparisons } in rules {
        filter.add_rule_conditional(action, syscall, &comparisons).map_err(|source| SeccompError::Rule {
            index,
            name: name.to_owned(),
            source,
        })?;
    }

    let mut program = enosys::prologue(profile, default, &archs);
    program.extend(export(&filter)?);
    let found = program.len() / INSTRUCTION_BYTES;
    if found > INSTRUCTIONS_MAX {
        return Err(SeccompError::TooLong { found });
    }
    Ok(Filter { flags: flags(profile), program, notify: notifies(profile) })
}

/// Takes a program as it is (crun: `run.oci.seccomp_bpf_data`). Whether it makes sense, the kernel judges.
///
/// crun: without a profile that says otherwise, the flags are those of a profile without `flags`, and nobody listens.
///
/// # Errors
///
/// It is not base64, or no array of instructions that the kernel could take.
pub(crate) fn from_raw(base64: &str) -> Result<Filter, SeccompError> {
    let program = BASE64_STANDARD.decode(base64).map_err(|source| SeccompError::RawEncoding { source })?;
    let found = program.len();
    if !found.is_multiple_of(INSTRUCTION_BYTES) || !(1..=INSTRUCTIONS_MAX).contains(&(found / INSTRUCTION_BYTES)) {
        return Err(SeccompError::RawLength { found });
    }
    Ok(Filter { flags: libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW, program, notify: false })
}

/// Returns whether a rule asks for the listener.
pub(crate) fn notifies(profile: &LinuxSeccomp) -> bool {
    let notify = LinuxSeccompAction::ScmpActNotify;
    profile.default_action() == notify || profile.syscalls().iter().flatten().any(|entry| entry.action() == notify)
}

/// Returns the flags for `seccomp(2)`, but for NEW_LISTENER, which init adds. They are no part of the program.
///
/// WAIT_KILLABLE_RECV is the only one that not all kernels have: before Linux 5.19 loading the filter fails with EINVAL.
/// It is about the listener, and an error without one, so it counts only if some rule notifies.
///
/// runc: without `flags` it is SPEC_ALLOW: no mitigation of speculative execution because of the filter alone. TSYNC is
/// of no use, init has one thread; with NEW_LISTENER it would be an error.
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

/// Returns what of a profile is not in force, one sentence each: rules that restrict a system call that would be allowed without them, and that
/// libseccomp does not know by this name. Unknown names in rules that allow something are no loss: what they name is not allowed.
pub(crate) fn not_in_force(profile: &LinuxSeccomp) -> Vec<String> {
    use LinuxSeccompAction::{ScmpActAllow, ScmpActLog};
    let lets_pass = |action| matches!(action, ScmpActAllow | ScmpActLog);
    if !lets_pass(profile.default_action()) {
        return Vec::new();
    }
    let entries = profile.syscalls().iter().flatten().enumerate().filter(|(_, entry)| !lets_pass(entry.action()));
    let names = entries.flat_map(|(index, entry)| entry.names().iter().map(move |name| (index, name)));
    let unknown = names.filter(|(_, name)| ScmpSyscall::from_name(name).is_err());
    unknown
        .map(|(index, name)| {
            format!("linux.seccomp.syscalls[{index}].names: {name:?} is not restricted, as libseccomp does not know it")
        })
        .collect()
}

fn rules(profile: &LinuxSeccomp, default: ScmpAction, options: CompileOptions) -> Result<Vec<Rule<'_>>, SeccompError> {
    let mut rules = Vec::new();
    for (index, entry) in profile.syscalls().iter().flatten().enumerate() {
        let action = action(entry.action(), entry.errno_ret(), || format!("linux.seccomp.syscalls[{index}].errnoRet"))?;
        let args = entry.args().as_deref().unwrap_or_default();
        let alternatives = comparisons(index, args)?;
        let mut seen = HashSet::new();
        for (nth, name) in entry.names().iter().enumerate().filter(|(_, name)| seen.insert(name.as_str())) {
            let Ok(syscall) = ScmpSyscall::from_name(name) else {
                if options.fail_unknown {
                    return Err(SeccompError::UnknownName { index, nth, name: name.clone() });
                }
                continue;
            };
            if action == default {
                // libseccomp refuses a rule that changes nothing.
                continue;
            }
            for comparisons in &alternatives {
                rules.push(Rule { index, name, syscall, action, comparisons: comparisons.clone() });
            }
        }
    }
    Ok(rules)
}

/// Returns the lists of comparisons of which one must hold.
///
/// All must hold together, so there is one list, unless an argument is compared twice: libseccomp refuses that, and
/// runc then takes each comparison for itself, which makes it an "or". Profiles rely on it.
fn comparisons(index: usize, args: &[LinuxSeccompArg]) -> Result<Vec<Vec<ScmpArgCompare>>, SeccompError> {
    let mut all = Vec::with_capacity(args.len());
    let mut seen = HashSet::new();
    for (nth, arg) in args.iter().enumerate() {
        let found = arg.index();
        let number = u32::try_from(found).ok().filter(|number| *number <= 5);
        let number = number.ok_or(SeccompError::ArgIndex { index, nth, found })?;
        seen.insert(number);
        all.push(comparison(number, arg));
    }
    if seen.len() == args.len() {
        return Ok(vec![all]);
    }
    Ok(all.into_iter().map(|comparison| vec![comparison]).collect())
}

fn comparison(number: u32, arg: &LinuxSeccompArg) -> ScmpArgCompare {
    let (op, datum) = match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => (ScmpCompareOp::NotEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpLt => (ScmpCompareOp::Less, arg.value()),
        LinuxSeccompOperator::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpEq => (ScmpCompareOp::Equal, arg.value()),
        LinuxSeccompOperator::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpGt => (ScmpCompareOp::Greater, arg.value()),
        // `value` is the mask, `valueTwo` what must be left.
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            (ScmpCompareOp::MaskedEqual(arg.value()), arg.value_two().unwrap_or(0))
        }
    };
    ScmpArgCompare::new(number, op, datum)
}

/// runc: the value is EPERM when none is given, for TRACE too, and is ignored for actions that have none.
fn action(
    action: LinuxSeccompAction,
    value: Option<u32>,
    field: impl FnOnce() -> String,
) -> Result<ScmpAction, SeccompError> {
    const EPERM: u32 = 1;
    // The kernel cuts larger ones than its MAX_ERRNO, 4095, down to it; libseccomp refuses that one, too.
    const ERRNO_MAX: u32 = 4094;
    let found = value.unwrap_or(EPERM);
    let too_large = |max| SeccompError::ReturnValue { field: field(), max, found };
    match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => Ok(ScmpAction::KillThread),
        LinuxSeccompAction::ScmpActKillProcess => Ok(ScmpAction::KillProcess),
        LinuxSeccompAction::ScmpActTrap => Ok(ScmpAction::Trap),
        LinuxSeccompAction::ScmpActErrno => match i32::try_from(found) {
            Ok(errno) if found <= ERRNO_MAX => Ok(ScmpAction::Errno(errno)),
            _ => Err(too_large(ERRNO_MAX)),
        },
        LinuxSeccompAction::ScmpActTrace => {
            let data = u16::try_from(found).map_err(|_| too_large(u16::MAX.into()))?;
            Ok(ScmpAction::Trace(data))
        }
        LinuxSeccompAction::ScmpActLog => Ok(ScmpAction::Log),
        LinuxSeccompAction::ScmpActAllow => Ok(ScmpAction::Allow),
        LinuxSeccompAction::ScmpActNotify => Ok(ScmpAction::Notify),
    }
}

fn libseccomp_arch(arch: Arch) -> ScmpArch {
    match arch {
        Arch::ScmpArchNative => ScmpArch::Native,
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

/// Returns the filter's program. A memfd, because a pipe would block on a program longer than its buffer.
fn export(filter: &ScmpFilterContext) -> Result<Vec<u8>, SeccompError> {
    let memfd = memfd_create(c"corten-seccomp", MFdFlags::MFD_CLOEXEC);
    let memfd = memfd.map_err(|source| SeccompError::Memfd { source })?;
    filter.export_bpf(&memfd).map_err(|source| SeccompError::Export { source })?;
    let mut file = std::fs::File::from(memfd);
    let mut program = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut program)).map_err(|source| SeccompError::Read { source })?;
    Ok(program)
}

#[cfg(test)]
pub(crate) mod tests;
