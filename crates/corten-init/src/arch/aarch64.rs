//! aarch64. Source: include/uapi/asm-generic/unistd.h, arch/arm64/include/uapi/asm/fcntl.h.

/// Makes a system call.
///
/// # Safety
/// The arguments must be what call `number` demands: above all, pointers must be valid for what the kernel does with them.
#[inline(always)]
pub unsafe fn syscall(number: usize, args: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the kernel changes x0 only; what it reads or writes through pointers is the caller's promise.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") args[0].cast_signed() => result,
            in("x1") args[1], in("x2") args[2], in("x3") args[3], in("x4") args[4], in("x5") args[5],
            options(nostack),
        );
    }
    result
}

/// Copies forward, eight bytes at a time. Volatile writes keep the compiler from turning the loops into calls of memcpy(3).
///
/// # Safety
/// As memcpy(3), but `from` may overlap `to` from above.
#[inline(always)]
pub unsafe fn copy(to: *mut u8, from: *const u8, length: usize) {
    let words = if length >= 8 && (to as usize).wrapping_sub(from as usize) % 8 == 0 { length / 8 } else { 0 };
    for at in 0..words {
        let (to, from) = (to.cast::<[u8; 8]>(), from.cast::<[u8; 8]>());
        // SAFETY: the caller promises `length` valid bytes at both, and bytes have no alignment; what is read has not been
        // written yet, as the two are a multiple of eight bytes apart.
        unsafe { to.add(at).write_volatile(*from.add(at)) };
    }
    for at in words * 8..length {
        // SAFETY: the same promise.
        unsafe { to.add(at).write_volatile(*from.add(at)) };
    }
}

/// Fills with a byte, eight at a time.
///
/// # Safety
/// As memset(3).
#[inline(always)]
pub unsafe fn fill(to: *mut u8, byte: u8, length: usize) {
    let words = length / 8;
    for at in 0..words {
        // SAFETY: the caller promises `length` writable bytes, and bytes have no alignment.
        unsafe { to.cast::<[u8; 8]>().add(at).write_volatile([byte; 8]) };
    }
    for at in words * 8..length {
        // SAFETY: the same promise.
        unsafe { to.add(at).write_volatile(byte) };
    }
}

/// Ends the process by a signal, without a system call.
pub fn trap() -> ! {
    // SAFETY: the instruction accesses nothing and does not return.
    unsafe { core::arch::asm!("brk #1", options(noreturn, nomem, nostack)) }
}

// The entry point: hands the initial stack (argc, argv, envp) to `corten_start`.
#[cfg(corten_freestanding)]
core::arch::global_asm!(
    ".globl _start",
    ".type _start,%function",
    "_start:",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x0, sp",
    "bl corten_start",
    "brk #1",
);

pub const O_DIRECTORY: u64 = 0o40_000;
pub const O_NOFOLLOW: u64 = 0o100_000;

/// Call numbers.
pub mod nr {
    pub const GETCWD: usize = 17;
    pub const DUP3: usize = 24;
    pub const PIPE2: usize = 59;
    pub const FCNTL: usize = 25;
    pub const IOCTL: usize = 29;
    pub const MKNODAT: usize = 33;
    pub const MKDIRAT: usize = 34;
    pub const UNLINKAT: usize = 35;
    pub const SYMLINKAT: usize = 36;
    pub const UMOUNT2: usize = 39;
    pub const PIVOT_ROOT: usize = 41;
    pub const FSTATFS: usize = 44;
    pub const CHDIR: usize = 49;
    pub const FCHDIR: usize = 50;
    pub const FCHOWNAT: usize = 54;
    pub const FCHOWN: usize = 55;
    pub const OPENAT: usize = 56;
    pub const CLOSE: usize = 57;
    pub const READ: usize = 63;
    pub const WRITE: usize = 64;
    pub const CAPGET: usize = 90;
    pub const CAPSET: usize = 91;
    pub const EXIT_GROUP: usize = 94;
    pub const UNSHARE: usize = 97;
    pub const RT_SIGACTION: usize = 134;
    pub const RT_SIGPROCMASK: usize = 135;
    pub const SETRESUID: usize = 147;
    pub const SETRESGID: usize = 149;
    pub const SETSID: usize = 157;
    pub const SETGROUPS: usize = 159;
    pub const SETHOSTNAME: usize = 161;
    pub const SETDOMAINNAME: usize = 162;
    pub const UMASK: usize = 166;
    pub const PRCTL: usize = 167;
    pub const SENDMSG: usize = 211;
    pub const KEYCTL: usize = 219;
    pub const EXECVE: usize = 221;
    pub const MMAP: usize = 222;
    pub const ACCEPT4: usize = 242;
    pub const PRLIMIT64: usize = 261;
    pub const SECCOMP: usize = 277;
    pub const STATX: usize = 291;
    pub const IOPRIO_SET: usize = 30;
    pub const MOUNT: usize = 40;
    pub const CHROOT: usize = 51;
    pub const FCHMOD: usize = 52;
    pub const GETDENTS64: usize = 61;
    pub const LSEEK: usize = 62;
    pub const PPOLL: usize = 73;
    pub const READLINKAT: usize = 78;
    pub const UTIMENSAT: usize = 88;
    pub const PERSONALITY: usize = 92;
    pub const WAITID: usize = 95;
    pub const SCHED_SETAFFINITY: usize = 122;
    pub const GETPID: usize = 172;
    pub const RECVMSG: usize = 212;
    pub const CLONE: usize = 220;
    pub const SET_MEMPOLICY: usize = 237;
    pub const SETNS: usize = 268;
    pub const SCHED_SETATTR: usize = 274;
    pub const MEMFD_CREATE: usize = 279;
    pub const SOCKET: usize = 198;
    pub use super::super::nr_common::*;
}
