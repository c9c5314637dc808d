//! aarch64. Source: arch/arm64/include/uapi/asm/fcntl.h.

/// Makes a system call.
///
/// # Safety
/// The arguments must be what call `number` demands: above all, pointers must be valid for what the kernel
/// does with them.
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

/// Copies forward, eight bytes at a time. Volatile writes keep the compiler from turning the loops into calls
/// of memcpy(3).
///
/// # Safety
/// As memcpy(3), but `from` may overlap `to` from above.
#[inline(always)]
pub unsafe fn copy(to: *mut u8, from: *const u8, length: usize) {
    let words =
        if length >= 8 && (to as usize).wrapping_sub(from as usize) % 8 == 0 { length / 8 } else { 0 };
    for at in 0..words {
        let (to, from) = (to.cast::<[u8; 8]>(), from.cast::<[u8; 8]>());
        // SAFETY: the caller promises `length` valid bytes at both, and bytes have no alignment; what is read
        // has not been written yet, as the two are a multiple of eight bytes apart.
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
