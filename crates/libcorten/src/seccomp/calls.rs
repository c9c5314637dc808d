//! Which numbers the system calls have, by name and architecture.
//!
//! The names are libseccomp's, which knows all architectures, and those of newer calls, for a libseccomp that
//! is older than the kernel: a rule that it cannot name would otherwise be left out.
//!
//! Stage: plan, pure.

use std::cell::OnceCell;
use std::collections::HashMap;

use libseccomp::{ScmpArch, ScmpSyscall};

/// The number of the first of [`NEWER`], above that of the ABI's first call. From 424 on, all architectures
/// count in step.
const NEWER_FIRST: u32 = 450;

/// What Linux has got since 5.17, the last that every libseccomp in use knows, in the order of the numbers.
/// The tables of crates (`syscalls`, `libc`) have their own architecture's numbers only, and not all of
/// these.
const NEWER: [&str; 22] = [
    "set_mempolicy_home_node",
    "cachestat",
    "fchmodat2",
    "map_shadow_stack",
    "futex_wake",
    "futex_wait",
    "futex_requeue",
    "statmount",
    "listmount",
    "lsm_get_self_attr",
    "lsm_set_self_attr",
    "lsm_list_modules",
    "mseal",
    "setxattrat",
    "getxattrat",
    "listxattrat",
    "removexattrat",
    "open_tree_attr",
    "file_getattr",
    "file_setattr",
    "listns",
    "rseq_slice_yield",
];

/// The calls that fill gaps: of x86_64 and x32 alone.
const NEWER_OF_X86_64: [(&str, u32); 2] = [("uretprobe", 335), ("uprobe", 336)];

/// What libseccomp gives instead of a number for the calls behind `socketcall(2)` and `ipc(2)`. Which of
/// theirs it is, is in the last two digits.
const PARTS_OF_SOCKETCALL: std::ops::RangeInclusive<i32> = -120..=-100;
const PARTS_OF_IPC: std::ops::RangeInclusive<i32> = -224..=-200;

/// Such a call has a number of its own since Linux 4.3 or 5.1, too, at most this one above the first; there
/// will be no more of them.
const DIRECT_LAST: u32 = 402;

/// Where x32's numbers begin.
pub(super) const X32_FIRST: u32 = 0x4000_0000;

/// The numbers of one architecture's system calls.
#[derive(Debug)]
pub(super) struct Abi {
    pub(super) arch: ScmpArch,
    /// What the kernel puts into `seccomp_data.arch`. x86_64 and x32 share theirs.
    pub(super) audit_arch: u32,
    pub(super) first: u32,
    /// The last that could be given to a new system call.
    pub(super) last: u32,
    /// Arguments have 64 bits, of 32 otherwise only the lower ones count.
    pub(super) is_wide: bool,
    /// It has `socketcall(2)` and `ipc(2)`.
    is_multiplexed: bool,
    /// The numbers of calls that can also be made through these.
    direct: OnceCell<HashMap<String, u32>>,
}

/// How a system call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    /// By this number.
    Own(u32),
    /// As `which` of `socketcall(2)` or `ipc(2)`, and by its own number, if it has one.
    Part { through: u32, which: u32, own: Option<u32> },
}

/// Returns whether a name is that of a system call, of any architecture.
pub(super) fn is_known(name: &str) -> bool {
    ScmpSyscall::from_name(name).is_ok()
        || NEWER.contains(&name)
        || NEWER_OF_X86_64.iter().any(|(newer, _)| *newer == name)
}

impl Abi {
    /// Returns `None` for architectures whose calls this libseccomp cannot name, and for big-endian ones:
    /// there is no machine with processes of both byte orders, and init runs on little-endian ones.
    pub(super) fn of(arch: ScmpArch) -> Option<Self> {
        // linux/audit.h: the ELF machine and these.
        const BITS_32: u32 = 0x4000_0000;
        const BITS_64: u32 = 0xc000_0000;
        const N32: u32 = 0xe000_0000;
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
        let is_wide = audit_arch & N32 == BITS_64 && arch != ScmpArch::X32;
        let is_multiplexed =
            matches!(arch, ScmpArch::X86 | ScmpArch::Mipsel | ScmpArch::Ppc64Le | ScmpArch::Sh);
        ScmpSyscall::from_name_by_arch("read", arch).ok()?;
        Some(Self { arch, audit_arch, first, last, is_wide, is_multiplexed, direct: OnceCell::new() })
    }

    /// Returns how a call is made, if it exists here.
    pub(super) fn number(&self, name: &str) -> Option<Number> {
        let Ok(syscall) = ScmpSyscall::from_name_by_arch(name, self.arch) else {
            return self.newer(name).map(Number::Own);
        };
        let number = syscall.as_raw_syscall();
        if let Ok(number) = u32::try_from(number) {
            return Some(Number::Own(number));
        }
        let through = if PARTS_OF_SOCKETCALL.contains(&number) {
            "socketcall"
        } else if PARTS_OF_IPC.contains(&number) {
            "ipc"
        } else {
            return None;
        };
        if !self.is_multiplexed {
            return None;
        }
        let through = ScmpSyscall::from_name_by_arch(through, self.arch).ok()?.as_raw_syscall();
        let (through, which) = (u32::try_from(through).ok()?, number.unsigned_abs() % 100);
        Some(Number::Part { through, which, own: self.direct().get(name).copied() })
    }

    fn newer(&self, name: &str) -> Option<u32> {
        let is_x86_64 = matches!(self.arch, ScmpArch::X8664 | ScmpArch::X32);
        let gaps = NEWER_OF_X86_64.iter().filter(|_| is_x86_64);
        let newest = (NEWER_FIRST..).zip(NEWER).map(|(number, newer)| (newer, number));
        let number = gaps.copied().chain(newest).find(|(newer, _)| *newer == name)?.1;
        Some(self.first + number)
    }

    /// libseccomp tells them by number alone.
    fn direct(&self) -> &HashMap<String, u32> {
        let name = |number: u32| {
            let syscall = ScmpSyscall::from_raw_syscall(i32::try_from(number).ok()?);
            Some((syscall.get_name_by_arch(self.arch).ok()?, number))
        };
        self.direct.get_or_init(|| (self.first..=self.first + DIRECT_LAST).filter_map(name).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_names_have_the_numbers_of_the_kernel() {
        let x86_64 = Abi::of(ScmpArch::X8664).expect("x86_64");
        let own = |name| x86_64.number(name).expect(name);
        assert_eq!(own("mseal"), Number::Own(462));
        assert_eq!(own("rseq_slice_yield"), Number::Own(471));
        assert_eq!(own("uretprobe"), Number::Own(335));
        if cfg!(target_arch = "x86_64") {
            assert_eq!(own("mseal"), Number::Own(u32::try_from(libc::SYS_mseal).expect("a number")));
            assert_eq!(own("fchmodat2"), Number::Own(u32::try_from(libc::SYS_fchmodat2).expect("a number")));
        }
        let of = |arch, name| Abi::of(arch).expect(name).number(name);
        assert_eq!(of(ScmpArch::X32, "mseal"), Some(Number::Own(0x4000_0000 + 462)));
        assert_eq!(of(ScmpArch::Mipsel, "mseal"), Some(Number::Own(4462)));
        assert_eq!(of(ScmpArch::Aarch64, "uretprobe"), None);
        assert!(is_known("listns") && is_known("uprobe") && !is_known("no_such_call") && !is_known(""));
    }

    /// What libseccomp knows of them by now must be the same.
    #[test]
    fn newer_names_are_those_of_libseccomp() {
        for arch in [
            ScmpArch::X8664,
            ScmpArch::X86,
            ScmpArch::X32,
            ScmpArch::Aarch64,
            ScmpArch::Mipsel64,
            ScmpArch::Arm,
        ] {
            let abi = Abi::of(arch).expect("an architecture");
            for name in NEWER {
                let Ok(known) = ScmpSyscall::from_name_by_arch(name, arch) else { continue };
                if let Ok(known) = u32::try_from(known.as_raw_syscall()) {
                    assert_eq!(abi.newer(name), Some(known), "{name} {arch:?}");
                }
            }
        }
        assert!(
            ScmpSyscall::from_name(NEWER[0]).is_ok(),
            "the first of them is the last of libseccomp 2.5.4"
        );
    }

    #[test]
    fn parts_of_multiplexed_calls_have_both_numbers() {
        let x86 = Abi::of(ScmpArch::X86).expect("x86");
        assert_eq!(x86.number("socket"), Some(Number::Part { through: 102, which: 1, own: Some(359) }));
        assert_eq!(x86.number("accept"), Some(Number::Part { through: 102, which: 5, own: None }));
        assert_eq!(x86.number("shmctl"), Some(Number::Part { through: 117, which: 24, own: Some(396) }));
        assert_eq!(x86.number("socketcall"), Some(Number::Own(102)));
        let x86_64 = Abi::of(ScmpArch::X8664).expect("x86_64");
        assert_eq!(x86_64.number("socket"), Some(Number::Own(41)));
        assert_eq!(
            (x86_64.number("send"), x86_64.number("socketcall"), x86_64.number("waitpid")),
            (None, None, None)
        );
    }

    #[test]
    fn wide_are_the_architectures_of_64_bits() {
        let wide = |arch| Abi::of(arch).expect("an architecture").is_wide;
        assert!(
            [ScmpArch::X8664, ScmpArch::Aarch64, ScmpArch::Mipsel64, ScmpArch::Ppc64Le].into_iter().all(wide)
        );
        assert!(![ScmpArch::X86, ScmpArch::X32, ScmpArch::Arm, ScmpArch::Mipsel64N32].into_iter().any(wide));
        assert!(Abi::of(ScmpArch::S390X).is_none());
    }
}
