//! Limits of other processes, the CPUs and capabilities of this thread, and whether children can be waited
//! for.

use nix::errno::Errno;
use nix::unistd::Pid;

use super::SysError;

/// Sets a limit of a process: `prlimit64`.
pub(crate) fn set_limit(pid: Pid, resource: u64, soft: u64, hard: u64) -> Result<(), SysError> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` outlives the call; the old limit is not asked for.
    let result = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid.as_raw(),
            resource,
            &raw const limit,
            std::ptr::null_mut::<libc::rlimit64>(),
        )
    };
    Errno::result(result)
        .map(drop)
        .map_err(|errno| SysError::new(errno, || format!("prlimit64({pid}, {resource}, {soft}:{hard})")))
}

/// The CPUs of a thread, 8192 of them: the most that Linux can be built for.
pub(crate) type Cpus = [u64; 128];

/// Returns the CPUs that this thread may run on.
pub(super) fn own_cpus() -> Result<Cpus, SysError> {
    let mut cpus: Cpus = [0; 128];
    // SAFETY: the kernel writes at most the size given, which is that of the array.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size_of_val(&cpus), cpus.as_mut_ptr()) };
    Errno::result(result).map_err(|errno| SysError::new(errno, || "sched_getaffinity(0)".to_owned()))?;
    Ok(cpus)
}

/// Lets this thread run on the CPUs of the mask; returns those that it ran on.
pub(crate) fn run_on(mask: &[u8]) -> Result<Box<Cpus>, SysError> {
    let before = Box::new(own_cpus()?);
    set_affinity(mask)?;
    Ok(before)
}

/// Lets this thread run on the CPUs that it ran on before [`run_on`].
pub(crate) fn run_on_again(before: &Cpus) -> Result<(), SysError> {
    let bytes: Vec<u8> = before.iter().flat_map(|word| word.to_ne_bytes()).collect();
    set_affinity(&bytes)
}

fn set_affinity(mask: &[u8]) -> Result<(), SysError> {
    // SAFETY: the mask is readable for its size and outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, mask.len(), mask.as_ptr()) };
    Errno::result(result)
        .map(drop)
        .map_err(|errno| SysError::new(errno, || format!("sched_setaffinity(0, {mask:x?})")))
}

/// Lets children be waited for: undoes a SIGCHLD that is ignored, as whoever started this process may have
/// left it.
pub(crate) fn expect_children() -> Result<(), SysError> {
    // SAFETY: no handler is installed; the kernel's own action takes the place of another.
    unsafe {
        nix::sys::signal::signal(nix::sys::signal::Signal::SIGCHLD, nix::sys::signal::SigHandler::SigDfl)
    }
    .map(drop)
    .map_err(|errno| SysError::new(errno, || "sigaction(SIGCHLD, SIG_DFL)".to_owned()))
}

/// The capabilities of a thread, as bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capabilities {
    pub(crate) effective: u64,
    pub(crate) permitted: u64,
}

/// Returns the capabilities of this thread: `capget`.
pub(crate) fn own_capabilities() -> Result<Capabilities, SysError> {
    /// `_LINUX_CAPABILITY_VERSION_3`: two words of each set.
    const VERSION: u32 = 0x2008_0522;
    let mut header: [u32; 2] = [VERSION, 0];
    // Effective, permitted, inheritable: the low words, and the high ones.
    let mut sets = [[0u32; 3]; 2];
    // SAFETY: header and sets are laid out as capget(2) wants of this version, and outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) };
    Errno::result(result).map_err(|errno| SysError::new(errno, || "capget(0)".to_owned()))?;
    let [low, high] = sets;
    let joined = |[low, high]: [u32; 2]| u64::from(low) | u64::from(high) << 32;
    Ok(Capabilities { effective: joined([low[0], high[0]]), permitted: joined([low[1], high[1]]) })
}
