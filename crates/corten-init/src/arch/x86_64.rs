//! x86_64. Source: include/uapi/asm-generic/fcntl.h.

/// Makes a system call.
///
/// # Safety
/// The arguments must be what call `number` demands: above all, pointers must be valid for what the kernel
/// does with them.
#[inline(always)]
pub unsafe fn syscall(number: usize, args: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the instruction clobbers rax, rcx and r11 only; what the kernel reads or writes is the caller's
    // promise.
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
    // SAFETY: the caller promises `length` valid bytes at both; the direction flag is clear, as the ABI wants
    // it.
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
