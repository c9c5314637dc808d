//! ENOSYS for system calls that are newer than the profile (`linux.seccomp.defaultAction`).
//!
//! A C library tries a new system call first and falls back to an old one on ENOSYS, but not on EPERM. A profile that
//! allows what it names cannot name what did not exist when it was written, so its default action breaks such a
//! library on the first newer kernel. The prologue made here comes before libseccomp's program and answers ENOSYS to
//! numbers above the largest that the profile names; whatever the profile could have meant goes on to the program.
//!
//! runc: since 1.0.0-rc93, with the same rule. Known to be rough: numbers are not handed out in the order of releases.
//!
//! Stage: plan, pure.
//! Spec: nothing. Attacker: the process under the filter; the prologue can refuse only, never allow.

use std::collections::HashSet;

use libc::{BPF_ABS, BPF_JA, BPF_JEQ, BPF_JGT, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use libseccomp::{ScmpAction, ScmpArch, ScmpSyscall};
use oci_spec::runtime::LinuxSeccomp;

use super::INSTRUCTION_BYTES;

/// The verdict of the prologue. The native errno is the one of all programs that can run here.
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();

/// Offsets in the kernel's `struct seccomp_data`.
const NUMBER_AT: u32 = 0;
const ARCH_AT: u32 = 4;

/// What libseccomp gives instead of a number for the calls behind `socketcall(2)` and `ipc(2)`.
const MULTIPLEXED: std::ops::RangeInclusive<i32> = -999..=-100;

/// Such a call has a number of its own since Linux 4.3 or 5.1, too, at most this one above the first; there will be no
/// more of them.
const MULTIPLEXED_LAST: u32 = 402;

/// The numbers of one ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Numbers {
    /// What the kernel puts into `seccomp_data.arch`. x86_64 and x32 share theirs.
    audit_arch: u32,
    first: u32,
    /// The last that could be given to a new system call.
    last: u32,
}

impl Numbers {
    /// Returns `None` for big-endian architectures: libseccomp joins those of one byte order only, and init runs on
    /// little-endian machines.
    fn of(arch: ScmpArch) -> Option<Self> {
        // linux/audit.h: the ELF machine and these.
        const BITS_32: u32 = 0x4000_0000;
        const BITS_64: u32 = 0xc000_0000;
        const N32: u32 = 0xe000_0000;
        const X32_FIRST: u32 = 0x4000_0000;
        let (audit_arch, first, last) = match arch {
            ScmpArch::X86 => (BITS_32 | 3, 0, u32::MAX),
            ScmpArch::X8664 => (BITS_64 | 62, 0, X32_FIRST - 1),
            ScmpArch::X32 => (BITS_64 | 62, X32_FIRST, u32::MAX),
            // Above are the few private ones, set_tls and so on.
            ScmpArch::Arm => (BITS_32 | 40, 0, 0xe_ffff),
            ScmpArch::Aarch64 => (BITS_64 | 183, 0, u32::MAX),
            ScmpArch::Mipsel => (BITS_32 | 8, 4000, u32::MAX),
            ScmpArch::Mipsel64 => (BITS_64 | 8, 5000, u32::MAX),
            ScmpArch::Mipsel64N32 => (N32 | 8, 6000, u32::MAX),
            ScmpArch::Ppc64Le => (BITS_64 | 21, 0, u32::MAX),
            ScmpArch::Riscv64 => (BITS_64 | 243, 0, u32::MAX),
            ScmpArch::Loongarch64 => (BITS_64 | 258, 0, u32::MAX),
            ScmpArch::Sh => (BITS_32 | 42, 0, u32::MAX),
            _ => return None,
        };
        Some(Self { audit_arch, first, last })
    }

    /// Returns the largest number that the profile names, whatever it says about it.
    fn last_named(self, arch: ScmpArch, profile: &LinuxSeccomp) -> Option<u32> {
        let mut largest = None;
        let mut multiplexed = HashSet::new();
        for name in profile.syscalls().iter().flatten().flat_map(|entry| entry.names()) {
            // A name that libseccomp does not know is newer than what it knows: the largest known one stays.
            let Ok(syscall) = ScmpSyscall::from_name_by_arch(name, arch) else {
                continue;
            };
            match u32::try_from(syscall.as_raw_syscall()) {
                Ok(number) if number <= self.last => largest = largest.max(Some(number)),
                Err(_) if MULTIPLEXED.contains(&syscall.as_raw_syscall()) => {
                    multiplexed.insert(name.as_str());
                }
                _ => {}
            }
        }
        if multiplexed.is_empty() {
            return largest;
        }
        let above = largest.map_or(self.first, |largest| largest + 1);
        let direct = (above..=self.first + MULTIPLEXED_LAST).rev().find(|number| {
            let name = i32::try_from(*number)
                .ok()
                .and_then(|number| ScmpSyscall::from_raw_syscall(number).get_name_by_arch(arch).ok());
            name.is_some_and(|name| multiplexed.contains(name.as_str()))
        });
        direct.or(largest)
    }
}

/// Returns the prologue for a filter of these architectures; it ends where libseccomp's program begins.
///
/// It is empty if the default action lets calls through, or says ENOSYS itself. So is its part for an architecture of
/// which the profile names nothing.
pub(super) fn prologue(profile: &LinuxSeccomp, default: ScmpAction, archs: &[ScmpArch]) -> Vec<u8> {
    let is_permissive =
        matches!(default, ScmpAction::Allow | ScmpAction::Log | ScmpAction::Trace(_) | ScmpAction::Notify);
    if is_permissive || default == ScmpAction::Errno(libc::ENOSYS) {
        return Vec::new();
    }
    let mut limits: Vec<(Numbers, u32)> = Vec::with_capacity(archs.len());
    for &arch in archs {
        let Some(numbers) = Numbers::of(arch) else { continue };
        if limits.iter().any(|(other, _)| *other == numbers) {
            continue;
        }
        if let Some(last_named) = numbers.last_named(arch, profile) {
            limits.push((numbers, last_named));
        }
    }
    assemble(&limits)
}

/// An instruction of the kernel's classic BPF.
#[derive(Debug, Clone, Copy)]
enum Instruction {
    /// Loads a word of `struct seccomp_data`.
    Load {
        at: u32,
    },
    SkipUnlessEqual {
        value: u32,
        skip: u8,
    },
    SkipIfGreater {
        value: u32,
        skip: u8,
    },
    SkipUnlessGreater {
        value: u32,
        skip: u8,
    },
    Refuse,
    /// On to libseccomp's program.
    Leave,
}

/// One block for each audit architecture:
///
/// ```text
///     ld [arch]
///     jeq ARCH, 0, next block
///       ld [nr]
///       jgt LAST, 3, 0            only if there are numbers above
///       jgt LAST_NAMED, 0, 1
///       ret ENOSYS
///       ja end
///       …                         the same for x32
///     …
/// end:
/// ```
///
/// No conditional jump leaves its block, which has ten instructions at most: 8 bits are enough for them.
fn assemble(limits: &[(Numbers, u32)]) -> Vec<u8> {
    let mut program = Vec::new();
    let mut done = HashSet::new();
    for audit_arch in limits.iter().map(|(numbers, _)| numbers.audit_arch) {
        if !done.insert(audit_arch) {
            continue;
        }
        let mut ranges: Vec<_> = limits.iter().filter(|(numbers, _)| numbers.audit_arch == audit_arch).collect();
        ranges.sort_unstable_by_key(|(numbers, _)| numbers.first);
        let block = block(&ranges);
        if program.is_empty() {
            program.push(Instruction::Load { at: ARCH_AT });
        }
        let skip = u8::try_from(block.len()).unwrap_or(u8::MAX);
        program.push(Instruction::SkipUnlessEqual { value: audit_arch, skip });
        program.extend(block);
    }
    let length = program.len();
    program.iter().enumerate().flat_map(|(at, instruction)| instruction.bytes(length - at - 1)).collect()
}

/// The accumulator has the architecture before, and still has it if the block was skipped.
fn block(ranges: &[&(Numbers, u32)]) -> Vec<Instruction> {
    let mut block = vec![Instruction::Load { at: NUMBER_AT }];
    let mut is_left = false;
    for (numbers, last_named) in ranges {
        is_left = numbers.last == u32::MAX;
        if !is_left {
            block.push(Instruction::SkipIfGreater { value: numbers.last, skip: 3 });
        }
        block.push(Instruction::SkipUnlessGreater { value: *last_named, skip: 1 });
        block.extend([Instruction::Refuse, Instruction::Leave]);
    }
    if !is_left {
        block.push(Instruction::Leave);
    }
    block
}

impl Instruction {
    /// Returns a `struct sock_filter`. `left`: how many instructions of the prologue come after this one.
    fn bytes(self, left: usize) -> [u8; INSTRUCTION_BYTES] {
        let (code, if_true, if_false, k) = match self {
            Self::Load { at } => (BPF_LD | BPF_W | BPF_ABS, 0, 0, at),
            Self::SkipUnlessEqual { value, skip } => (BPF_JMP | BPF_JEQ | BPF_K, 0, skip, value),
            Self::SkipIfGreater { value, skip } => (BPF_JMP | BPF_JGT | BPF_K, skip, 0, value),
            Self::SkipUnlessGreater { value, skip } => (BPF_JMP | BPF_JGT | BPF_K, 0, skip, value),
            Self::Refuse => (BPF_RET | BPF_K, 0, 0, ENOSYS),
            Self::Leave => (BPF_JMP | BPF_JA, 0, 0, u32::try_from(left).unwrap_or(u32::MAX)),
        };
        // All codes of classic BPF are less than 256.
        let [low, ..] = code.to_le_bytes();
        let [c0, c1] = u16::from(low).to_ne_bytes();
        let [k0, k1, k2, k3] = k.to_ne_bytes();
        [c0, c1, if_true, if_false, k0, k1, k2, k3]
    }
}

#[cfg(test)]
mod tests;
