//! corten-init: the process that becomes the container's process.
//!
//! Started by `execveat` of a sealed memfd, in the container's new namespaces and cgroup, with two arguments:
//! the fd of the program (see `wire`) and that of the socket to the runtime, for what fails before the
//! program is there. It holds no fd but the program's and those in the program's slots, is non-dumpable, and
//! ends by `execve` or `exit_group`. Attacker: other processes of the container's namespaces once it has
//! joined them; the rootfs.
//!
//! No libc, no allocator, no threads: what the compiler wants of libc is at the end of this file.

#![no_std]
#![no_main]

mod arch;
mod executor;
mod message;
mod numbered;
mod operand;
mod reader;
mod step;
mod sync_point;
mod sys;
mod wire;

use core::ffi::CStr;

/// Called by the entry point with the initial stack: argc, argv…, 0.
///
/// # Safety
/// `stack` must be the stack pointer that the kernel left at process entry.
#[unsafe(no_mangle)]
unsafe extern "C" fn corten_start(stack: *const usize) -> ! {
    // SAFETY: the kernel puts argc first.
    let count = unsafe { *stack };
    if count != 3 {
        executor::refuse();
    }
    let argument = |index: usize| {
        // SAFETY: argc is 3, so that argv[1] and argv[2] follow argv[0].
        let argument = unsafe { *stack.add(1 + index) } as *const core::ffi::c_char;
        // SAFETY: the kernel's arguments end with NUL and stay where they are.
        unsafe { CStr::from_ptr(argument) }
    };
    executor::run(argument(1), argument(2))
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::exit(125)
}

/// The compiler refers to it even where nothing unwinds.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// What the compiler calls for copies and comparisons. Init moves and clears some 200 KiB, as its texts have
/// room for any path; comparisons are short. Volatile accesses keep the compiler from turning a loop into a
/// call of the function itself.
mod memory {
    use super::arch;

    /// # Safety
    /// As memcpy(3).
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
        // SAFETY: the caller promises `length` valid bytes at both, apart from each other.
        unsafe { arch::copy(to, from, length) };
        to
    }

    /// # Safety
    /// As memmove(3).
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
        if (to as usize) < (from as usize) {
            // SAFETY: the caller's promise; forward copying is right when the destination is lower.
            unsafe { arch::copy(to, from, length) };
            return to;
        }
        for at in (0..length).rev() {
            // SAFETY: the caller promises `length` valid bytes at both.
            unsafe { to.add(at).write_volatile(*from.add(at)) };
        }
        to
    }

    /// # Safety
    /// As memset(3).
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
        // SAFETY: the caller promises `length` writable bytes.
        unsafe { arch::fill(to, (byte & 0xff) as u8, length) };
        to
    }

    /// # Safety
    /// As memcmp(3).
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
        for at in 0..length {
            // SAFETY: the caller promises `length` readable bytes at both.
            let (x, y) = unsafe { (a.add(at).read_volatile(), b.add(at).read_volatile()) };
            if x != y {
                return i32::from(x) - i32::from(y);
            }
        }
        0
    }

    /// # Safety
    /// As bcmp(3).
    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
        // SAFETY: the same promise.
        unsafe { memcmp(a, b, length) }
    }

    /// # Safety
    /// As strlen(3).
    #[unsafe(no_mangle)]
    unsafe extern "C" fn strlen(text: *const u8) -> usize {
        let mut length = 0;
        // SAFETY: the caller promises a NUL at the end.
        while unsafe { text.add(length).read_volatile() } != 0 {
            length += 1;
        }
        length
    }
}
