//! Making init: one clone3, then execveat.
//!
//! The child shares the caller's memory (`CLONE_VM`) and has a stack of its own, so that the cost does not
//! grow with the caller's memory. Between clone3 and execveat it makes raw system calls on data prepared
//! before: no allocation, no lock, no formatting, no libc. All signals for which the caller may have a
//! handler are blocked in it until init unblocks them, so that none runs in it.
//!
//! The calling thread waits meanwhile (`CLONE_VFORK`). Not for the memory's sake: where the container's
//! cgroup has too little memory even for the execveat, the kernel kills whoever shares the memory of the
//! process that it chooses, which would be the caller. It never chooses a process that somebody waits for in
//! this way (`in_vfork`, mm/oom_kill.c), and execveat fails.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::unistd::Pid;

use super::{Call, ENDING, SysError, is_default, send_signal, wait_exit};

/// What the child needs: all of it lies still until the child has executed init or ended.
#[derive(Debug)]
struct ChildData {
    /// The executable.
    elf: RawFd,
    /// Fds that init inherits.
    inherited: Vec<RawFd>,
    /// What takes the place of the caller's stdio.
    stdio: [Option<RawFd>; 3],
    /// Fds from 3 on, below this number, are left as they are.
    first_closed: u32,
    /// `argv`, ended by null; the strings are owned beside it.
    argv: [*const libc::c_char; 4],
    _arguments: [CString; 3],
    envp: [*const libc::c_char; 1],
    /// The errno of a failed dup3, 0 until then; and of execveat.
    dup_failure: AtomicI32,
    failure: AtomicI32,
}

/// A stack for the child, with a guard page below.
#[derive(Debug)]
struct Stack {
    base: *mut libc::c_void,
}

// SAFETY: the mapping is plain memory, owned by this value alone.
unsafe impl Send for Stack {}
// SAFETY: no method hands out a reference into it.
unsafe impl Sync for Stack {}

impl Stack {
    const GUARD: usize = 64 * 1024;
    const SIZE: usize = 64 * 1024;

    fn new() -> Result<Self, SysError> {
        let failed =
            |call: &'static str| move |errno| SysError::new(errno, || format!("{call}(stack of the child)"));
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK | libc::MAP_NORESERVE;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice touches nothing of ours.
        let base = unsafe {
            libc::mmap(std::ptr::null_mut(), Self::GUARD + Self::SIZE, libc::PROT_NONE, flags, -1, 0)
        };
        if base == libc::MAP_FAILED {
            return Err(failed("mmap")(Errno::last()));
        }
        let stack = Self { base };
        let (usable, rights) = (stack.usable(), libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: the range is the upper part of the mapping made above; both parts are multiples of any page
        // size.
        let result = unsafe { libc::mprotect(usable, Self::SIZE, rights) };
        Errno::result(result).map_err(failed("mprotect"))?;
        Ok(stack)
    }

    fn usable(&self) -> *mut libc::c_void {
        self.base.wrapping_byte_add(Self::GUARD)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and `InitProcess` drops it only after the child has left this memory. A
        // failure would leak address space and nothing else.
        if unsafe { libc::munmap(self.base, Self::GUARD + Self::SIZE) } != 0 {}
    }
}

/// What a new init is started with.
#[derive(Debug)]
pub(crate) struct InitStart<'a> {
    /// The executable, a sealed memfd.
    pub(crate) elf: BorrowedFd<'a>,
    /// The fd of the program.
    pub(crate) program: BorrowedFd<'a>,
    /// Init's end of the socket, one of those that it inherits: where it tells that it has no program.
    pub(crate) socket: RawFd,
    /// Fds that init inherits besides the program.
    pub(crate) inherited: &'a [RawFd],
    /// What takes the place of the caller's stdio, by number.
    pub(crate) stdio: [Option<BorrowedFd<'a>>; 3],
    /// Fds from 3 on, below this number, are left open where they are the user's, and not close-on-exec.
    pub(crate) preserved: u32,
    /// `CLONE_NEW*` flags.
    pub(crate) namespaces: u64,
    /// The cgroup that init starts in.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
}

/// A new init.
#[derive(Debug)]
pub(crate) struct InitProcess {
    pid: Pid,
    pidfd: Arc<OwnedFd>,
}

impl InitProcess {
    /// Clones and executes init: `clone3(CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_INTO_CGROUP |
    /// namespaces)`, `execveat`. Returns when init runs, or has been killed.
    pub(crate) fn start(start: &InitStart<'_>) -> Result<Self, SysError> {
        let number = |fd: RawFd| CString::new(fd.to_string()).unwrap_or_default();
        let arguments =
            [CString::from(c"corten-init"), number(start.program.as_raw_fd()), number(start.socket)];
        let mut inherited = start.inherited.to_vec();
        inherited.push(start.program.as_raw_fd());
        let data = ChildData {
            elf: start.elf.as_raw_fd(),
            inherited,
            stdio: start.stdio.map(|fd| fd.map(|fd| fd.as_raw_fd())),
            first_closed: start.preserved,
            argv: [arguments[0].as_ptr(), arguments[1].as_ptr(), arguments[2].as_ptr(), std::ptr::null()],
            _arguments: arguments,
            envp: [std::ptr::null()],
            failure: AtomicI32::new(0),
            dup_failure: AtomicI32::new(0),
        };
        let stack = Stack::new()?;
        let mut arguments = CloneArguments::on(&stack, start.namespaces);
        arguments.flags |= u64::from(libc::CLONE_VFORK.cast_unsigned());
        if let Some(cgroup) = start.cgroup {
            arguments.flags |= CLONE_INTO_CGROUP;
            arguments.cgroup = cgroup.as_raw_fd().cast_unsigned().into();
        }
        let call = || Call::CloneInit { into_cgroup: start.cgroup.is_some(), namespaces: start.namespaces };
        // SAFETY: data and stack live until this function returns, before which the child has left this
        // memory: the kernel lets the caller go on only then (clone(2), CLONE_VFORK). `child_main` keeps the
        // rules of this module.
        let (pid, pidfd) = unsafe { spawn(arguments, child_main, &raw const data) }
            .map_err(|errno| SysError::new(errno, call))?;
        let failures = [(&data.dup_failure, "dup3(stdio)"), (&data.failure, "execveat(corten-init)")];
        for (failure, call) in failures {
            let errno = failure.load(Ordering::Acquire);
            if errno != 0 {
                // It ends by itself; what matters is why.
                wait_exit(&pidfd, true).ok();
                return Err(SysError::new(Errno::from_raw(errno), || call.to_owned()));
            }
        }
        Ok(Self { pid, pidfd: Arc::new(pidfd) })
    }

    /// Returns init's pid in the caller's PID namespace.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Returns init's pidfd.
    pub(crate) fn pidfd(&self) -> &Arc<OwnedFd> {
        &self.pidfd
    }

    /// Takes the process that goes on in init's place, and reaps the first one, which ends by itself.
    pub(crate) fn replace(&mut self, pid: Pid, pidfd: OwnedFd) -> Result<(), SysError> {
        let first = std::mem::replace(&mut self.pidfd, Arc::new(pidfd));
        self.pid = pid;
        wait_exit(&*first, true).map(drop)
    }
}

/// A process that does nothing but be in a new user namespace. Dropping it ends it; the namespace lives on in
/// open files.
#[derive(Debug)]
pub(crate) struct UserNamespaceHolder {
    pid: Pid,
    pidfd: OwnedFd,
    _stack: Stack,
}

impl UserNamespaceHolder {
    /// Clones the process: `clone3(CLONE_NEWUSER)`.
    pub(crate) fn start() -> Result<Self, SysError> {
        let stack = Stack::new()?;
        let arguments = CloneArguments::on(&stack, libc::CLONE_NEWUSER.cast_unsigned().into());
        let parent = std::ptr::without_provenance(std::process::id() as usize);
        // SAFETY: the stack lives until the process has been reaped (`drop`); `holder_main` follows no
        // pointer.
        let (pid, pidfd) = unsafe { spawn(arguments, holder_main, parent) }
            .map_err(|errno| SysError::new(errno, || Call::CloneHolder))?;
        Ok(Self { pid, pidfd, _stack: stack })
    }

    /// Returns its pid.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }
}

impl Drop for UserNamespaceHolder {
    fn drop(&mut self) {
        // It runs on our stack: it must end before the stack does. Failure means that it has ended.
        send_signal(&self.pidfd, libc::SIGKILL).ok();
        wait_exit(&self.pidfd, true).ok();
    }
}

/// The process of [`UserNamespaceHolder`]: waits to be killed, by its parent or with it. `parent`: its pid,
/// and no pointer.
///
/// # Safety
/// None beyond that of being called on a stack of its own.
unsafe extern "C" fn holder_main(parent: *const ChildData) -> ! {
    // SAFETY: numbers only, and the table of fds is this process's own: no lock of the caller's is held by
    // it.
    unsafe { raw(libc::SYS_close_range, [0, u32::MAX as usize, 0, 0, 0]) };
    // SAFETY: PR_SET_PDEATHSIG takes numbers.
    unsafe { raw(libc::SYS_prctl, [1, libc::SIGKILL.cast_unsigned() as usize, 0, 0, 0]) };
    loop {
        // SAFETY: as above; the caller blocks until this process is killed, but may have been killed itself
        // before the call above.
        if unsafe { raw(libc::SYS_getppid, [0; 5]) } != parent.addr().cast_signed() as libc::c_long {
            // SAFETY: ends the process.
            unsafe { raw(libc::SYS_exit_group, [0; 5]) };
        }
        // SAFETY: no fds, no time limit, no mask: waits for a signal that ends the process.
        unsafe { raw(libc::SYS_ppoll, [0, 0, 0, 0, 0]) };
    }
}

pub(super) fn namespace_names(flags: u64) -> String {
    const NAMES: [(libc::c_int, &str); 7] = [
        (libc::CLONE_NEWNS, "CLONE_NEWNS"),
        (libc::CLONE_NEWUTS, "CLONE_NEWUTS"),
        (libc::CLONE_NEWIPC, "CLONE_NEWIPC"),
        (libc::CLONE_NEWUSER, "CLONE_NEWUSER"),
        (libc::CLONE_NEWPID, "CLONE_NEWPID"),
        (libc::CLONE_NEWNET, "CLONE_NEWNET"),
        (libc::CLONE_NEWCGROUP, "CLONE_NEWCGROUP"),
    ];
    let set =
        NAMES.iter().filter(|(flag, _)| flags & u64::from(flag.cast_unsigned()) != 0).map(|(_, name)| *name);
    set.collect::<Vec<_>>().join("|")
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args`, clone(2).
#[repr(C, align(8))]
#[derive(Debug, Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

impl CloneArguments {
    /// For a child that shares this memory, with a stack of its own in it.
    fn on(stack: &Stack, namespaces: u64) -> Self {
        Self {
            flags: namespaces | u64::from((libc::CLONE_VM | libc::CLONE_PIDFD).cast_unsigned()),
            exit_signal: libc::SIGCHLD.cast_unsigned().into(),
            stack: stack.usable() as u64,
            stack_size: Stack::SIZE as u64,
            ..Self::default()
        }
    }
}

/// Signals, held back in this thread until it is dropped.
struct Blocked {
    before: SigSet,
}

impl Blocked {
    /// Holds back all signals but those that just end the caller, whom nothing else would reach while it
    /// waits for a clone that stands still (in a cgroup that has been frozen in the last moment).
    fn but_deadly() -> Result<Self, Errno> {
        let before = SigSet::thread_get_mask()?;
        let mut held = SigSet::all();
        for signal in ENDING {
            if !before.contains(signal) && is_default(signal) {
                held.remove(signal);
            }
        }
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&held), None)?;
        Ok(Self { before })
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // With the mask that was there before this cannot fail.
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None).ok();
    }
}

/// Makes a child in which no handler of the caller's runs; returns its pid and pidfd.
///
/// # Safety
/// As for [`clone3`].
unsafe fn spawn(
    mut arguments: CloneArguments,
    child: unsafe extern "C" fn(*const ChildData) -> !,
    data: *const ChildData,
) -> Result<(Pid, OwnedFd), Errno> {
    let mut pidfd: RawFd = -1;
    arguments.pidfd = &raw mut pidfd as u64;
    let blocked = Blocked::but_deadly()?;
    // SAFETY: the caller's promise.
    let pid = Errno::result(unsafe { clone3(&arguments, child, data) });
    drop(blocked);
    let pid = Pid::from_raw(i32::try_from(pid?).unwrap_or(-1));
    // SAFETY: the kernel wrote the new pidfd there before clone3 returned success, and nobody else knows its
    // number.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// clone3 with a stack and a function for the child, which must not return. Returns the pid or a negative
/// errno as -1 with errno set.
///
/// # Safety
/// `arguments` must name a stack that nothing else uses; `data` must stay valid until the child has left this
/// memory.
unsafe fn clone3(
    arguments: &CloneArguments,
    child: unsafe extern "C" fn(*const ChildData) -> !,
    data: *const ChildData,
) -> libc::c_long {
    let result: libc::c_long;
    // SAFETY: in the parent the instruction returns with only the documented registers changed. The child
    // starts on the new stack with the same registers, calls `child` with `data` and never comes back to this
    // frame.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!(
            "syscall", "test rax, rax", "jnz 2f", "xor ebp, ebp", "mov rdi, r12", "call r13", "ud2", "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") arguments, in("rsi") size_of::<CloneArguments>(), in("r12") data, in("r13") child,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!(
            "svc 0", "cbnz x0, 2f", "mov x29, xzr", "mov x0, x20", "blr x21", "brk #1", "2:",
            in("x8") libc::SYS_clone3, inlateout("x0") arguments => result,
            in("x1") size_of::<CloneArguments>(), in("x20") data, in("x21") child, lateout("x30") _,
        );
    }
    if result < 0 {
        Errno::from_raw(i32::try_from(-result).unwrap_or(libc::EINVAL)).set();
        return -1;
    }
    result
}

/// The child, from clone3 to execveat. Host side, in the new namespaces and cgroup, on a stack of its own in
/// the caller's memory.
///
/// # Safety
/// `data` must be valid until execveat or exit.
unsafe extern "C" fn child_main(data: *const ChildData) -> ! {
    // SAFETY: the caller's promise; only shared references are made.
    let data = unsafe { &*data };
    // SAFETY: numbers only. Whatever other threads of the caller have opened without close-on-exec stops
    // here.
    unsafe { raw(libc::SYS_close_range, [data.first_closed as usize, u32::MAX as usize, 4, 0, 0]) };
    for fd in &data.inherited {
        // SAFETY: F_SETFD takes numbers. The table of fds is this process's own.
        unsafe { raw(libc::SYS_fcntl, [fd.cast_unsigned() as usize, 2, 0, 0, 0]) };
    }
    for (number, fd) in data.stdio.iter().enumerate() {
        if let Some(fd) = fd {
            // SAFETY: dup3 takes numbers. The table of fds is this process's own.
            let result = unsafe { raw(libc::SYS_dup3, [fd.cast_unsigned() as usize, number, 0, 0, 0]) };
            if result < 0 {
                fail(&data.dup_failure, result);
            }
        }
    }
    let elf = data.elf.cast_unsigned() as usize;
    let (argv, envp) = (data.argv.as_ptr() as usize, data.envp.as_ptr() as usize);
    // SAFETY: the path is an empty constant string; argv and envp end with null and their strings with NUL.
    let result = unsafe { raw(libc::SYS_execveat, [elf, c"".as_ptr() as usize, argv, envp, 0x1000]) };
    fail(&data.failure, result);
}

/// Says why, and ends the child.
fn fail(place: &AtomicI32, result: libc::c_long) -> ! {
    place.store(i32::try_from(-result).unwrap_or(libc::EINVAL), Ordering::Release);
    loop {
        // SAFETY: ends the process.
        unsafe { raw(libc::SYS_exit_group, [127, 0, 0, 0, 0]) };
    }
}

/// A system call without libc, so that the shared errno of the calling thread stays untouched.
///
/// # Safety
/// As for the call itself.
#[inline(always)]
unsafe fn raw(number: libc::c_long, args: [usize; 5]) -> libc::c_long {
    let result: libc::c_long;
    // SAFETY: the caller's promise; the instruction changes only the registers named.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!(
            "syscall", inlateout("rax") number => result,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2], in("r10") args[3], in("r8") args[4],
            lateout("rcx") _, lateout("r11") _, options(nostack),
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!(
            "svc 0", in("x8") number, inlateout("x0") args[0] => result,
            in("x1") args[1], in("x2") args[2], in("x3") args[3], in("x4") args[4], options(nostack),
        );
    }
    result
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::UserNamespaceHolder;

    /// A lock of the caller's would be held for as long as the process lives, should the caller be killed.
    #[test]
    fn the_holder_of_a_namespace_holds_no_file() {
        // Not all who run the tests may make one.
        let Ok(holder) = UserNamespaceHolder::start() else { return };
        let open = || std::fs::read_dir(format!("/proc/{}/fd", holder.pid())).unwrap().count();
        let end = Instant::now() + Duration::from_secs(10);
        while open() > 0 {
            assert!(Instant::now() < end, "it has {} fds", open());
        }
    }
}
