//! What differs between architectures: the system call instruction, the entry point, copying, and two flags
//! of open(2). Call numbers come from a crate that has those of all.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(fuzzing)]
pub mod fake;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub use aarch64::*;
#[cfg(target_arch = "x86_64")]
pub use x86_64::*;

// Instead of the one of the machine.
#[cfg(fuzzing)]
pub use fake::syscall;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("corten-init is written for x86_64 and aarch64");

/// The numbers of system calls, which build.rs has written down.
#[allow(dead_code, missing_docs, reason = "there are more than init makes")]
pub mod nr {
    include!(concat!(env!("OUT_DIR"), "/numbers.rs"));
}
