//! What differs between architectures: the system call instruction, the entry point, call numbers and a few flags.

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

/// Calls that have the same number everywhere (all since Linux 5.2).
mod nr_common {
    pub const OPEN_TREE: usize = 428;
    pub const MOVE_MOUNT: usize = 429;
    pub const FSOPEN: usize = 430;
    pub const FSCONFIG: usize = 431;
    pub const FSMOUNT: usize = 432;
    pub const FSPICK: usize = 433;
    pub const PIDFD_SEND_SIGNAL: usize = 424;
    pub const PIDFD_OPEN: usize = 434;
    pub const CLONE3: usize = 435;
    pub const CLOSE_RANGE: usize = 436;
    pub const OPENAT2: usize = 437;
    pub const FACCESSAT2: usize = 439;
    pub const MOUNT_SETATTR: usize = 442;
}
