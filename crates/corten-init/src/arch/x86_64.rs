//! x86_64. Source: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/fcntl.h.

/// Makes a system call.
///
/// # Safety
/// The arguments must be what call `number` demands: above all, pointers must be valid for what the kernel does with them.
#[inline(always)]
pub unsafe fn syscall(number: usize, args: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the instruction clobbers rax, rcx and r11 only; what the kernel reads or writes is the caller's promise.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number.cast_signed() => result,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
            in("r10") args[3], in("r8") args[4], in("r9") args[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Copies forward, as one instruction: the processor moves whole cache lines.
///
/// # Safety
/// As memcpy(3), but `from` may overlap `to` from above.
#[inline(always)]
pub unsafe fn copy(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: the caller promises `length` valid bytes at both; the direction flag is clear, as the ABI wants it.
    unsafe {
        core::arch::asm!(
            "rep movsb",
            inout("rcx") length => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Fills with a byte, as one instruction.
///
/// # Safety
/// As memset(3).
#[inline(always)]
pub unsafe fn fill(to: *mut u8, byte: u8, length: usize) {
    // SAFETY: the caller promises `length` writable bytes; the direction flag is clear, as the ABI wants it.
    unsafe {
        core::arch::asm!(
            "rep stosb",
            inout("rcx") length => _, inout("rdi") to => _, in("al") byte,
            options(nostack, preserves_flags),
        );
    }
}

/// Ends the process by a signal, without a system call.
pub fn trap() -> ! {
    // SAFETY: the instruction accesses nothing and does not return.
    unsafe { core::arch::asm!("ud2", options(noreturn, nomem, nostack)) }
}

// The entry point: hands the initial stack (argc, argv, envp) to `corten_start`.
#[cfg(corten_freestanding)]
core::arch::global_asm!(
    ".globl _start",
    ".type _start,@function",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call corten_start",
    "ud2",
);

pub const O_DIRECTORY: u64 = 0o200_000;
pub const O_NOFOLLOW: u64 = 0o400_000;

/// Call numbers.
pub mod nr {
    pub const READ: usize = 0;
    pub const WRITE: usize = 1;
    pub const CLOSE: usize = 3;
    pub const MMAP: usize = 9;
    pub const RT_SIGACTION: usize = 13;
    pub const RT_SIGPROCMASK: usize = 14;
    pub const IOCTL: usize = 16;
    pub const SENDMSG: usize = 46;
    pub const FCNTL: usize = 72;
    pub const EXECVE: usize = 59;
    pub const GETCWD: usize = 79;
    pub const CHDIR: usize = 80;
    pub const FCHDIR: usize = 81;
    pub const FCHOWN: usize = 93;
    pub const UMASK: usize = 95;
    pub const SETSID: usize = 112;
    pub const SETGROUPS: usize = 116;
    pub const SETRESUID: usize = 117;
    pub const SETRESGID: usize = 119;
    pub const CAPGET: usize = 125;
    pub const CAPSET: usize = 126;
    pub const FSTATFS: usize = 138;
    pub const PIVOT_ROOT: usize = 155;
    pub const PRCTL: usize = 157;
    pub const UMOUNT2: usize = 166;
    pub const SETHOSTNAME: usize = 170;
    pub const SETDOMAINNAME: usize = 171;
    pub const EXIT_GROUP: usize = 231;
    pub const KEYCTL: usize = 250;
    pub const OPENAT: usize = 257;
    pub const MKDIRAT: usize = 258;
    pub const MKNODAT: usize = 259;
    pub const FCHOWNAT: usize = 260;
    pub const UNLINKAT: usize = 263;
    pub const SYMLINKAT: usize = 266;
    pub const UNSHARE: usize = 272;
    pub const ACCEPT4: usize = 288;
    pub const DUP3: usize = 292;
    pub const PIPE2: usize = 293;
    pub const PRLIMIT64: usize = 302;
    pub const SECCOMP: usize = 317;
    pub const STATX: usize = 332;
    pub const LSEEK: usize = 8;
    pub const CLONE: usize = 56;
    pub const GETPID: usize = 39;
    pub const RECVMSG: usize = 47;
    pub const FCHMOD: usize = 91;
    pub const PERSONALITY: usize = 135;
    pub const CHROOT: usize = 161;
    pub const MOUNT: usize = 165;
    pub const SCHED_SETAFFINITY: usize = 203;
    pub const GETDENTS64: usize = 217;
    pub const SET_MEMPOLICY: usize = 238;
    pub const WAITID: usize = 247;
    pub const IOPRIO_SET: usize = 251;
    pub const READLINKAT: usize = 267;
    pub const PPOLL: usize = 271;
    pub const UTIMENSAT: usize = 280;
    pub const SETNS: usize = 308;
    pub const SCHED_SETATTR: usize = 314;
    pub const MEMFD_CREATE: usize = 319;
    pub const SOCKET: usize = 41;
    pub use super::super::nr_common::*;
}
