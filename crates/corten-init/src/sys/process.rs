//! Namespaces, processes, privileges, signals, terminals.

use core::ffi::CStr;

use super::*;

constants! {
    general {
        AT_EACCESS: usize = 0x200;
        CLONE_PIDFD: u64 = 0x1000;
        CLONE_PARENT: u64 = 0x8000;
        CLONE_NEWNS: u64 = 0x0002_0000;
        CLONE_NEWCGROUP: u64 = 0x0200_0000;
        CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
        X_OK: usize = 1;
        MFD_CLOEXEC: usize = 1;
        MAP_SHARED: usize = 0x1;
        SIGKILL: usize = 9;
        SIGCHLD: usize = 17;
        SIG_SETMASK: usize = 2;
        POLLIN: u64 = 1;
        P_PIDFD: usize = 3;
        WEXITED: usize = 4;
        CLD_EXITED: i32 = 1;
        _LINUX_CAPABILITY_VERSION_3: u32 = 0x2008_0522;
    }
    ioctl {
        TIOCSCTTY: usize = 0x540e;
        TIOCSWINSZ: usize = 0x5414;
        TIOCGPTPEER: usize = 0x5441;
        TIOCSPTLCK: usize = 0x4004_5431;
        SIOCSIFFLAGS: usize = 0x8914;
    }
    net {
        AF_INET: usize = 2;
        SOCK_DGRAM: usize = 2;
    }
    net::net_device_flags {
        IFF_UP: u8 = 1;
    }
    prctl {
        PR_SET_DUMPABLE: usize = 4;
        PR_SET_KEEPCAPS: usize = 8;
        PR_SET_NAME: usize = 15;
        PR_CAPBSET_DROP: usize = 24;
        PR_SET_NO_NEW_PRIVS: usize = 38;
        PR_CAP_AMBIENT: usize = 47;
        PR_CAP_AMBIENT_RAISE: usize = 2;
        PR_CAP_AMBIENT_CLEAR_ALL: usize = 4;
    }
    ptrace {
        SECCOMP_SET_MODE_FILTER: usize = 1;
        SECCOMP_FILTER_FLAG_NEW_LISTENER: u64 = 1 << 3;
    }
}

// What linux-raw-sys does not have.

/// ioctl_pidfd(2).
const PIDFD_GET_MNT_NAMESPACE: usize = 0xff03;
/// ioprio_set(2).
const IOPRIO_WHO_PROCESS: usize = 1;
/// keyctl(2).
const KEYCTL_JOIN_SESSION_KEYRING: usize = 1;
/// keyctl(2).
const KEYCTL_SETPERM: usize = 5;

pub fn sethostname(name: &[u8]) -> Result<()> {
    // SAFETY: the bytes are readable for their length and outlive the call.
    unsafe { call(nr::SETHOSTNAME, [name.as_ptr() as usize, name.len()]) }.map(drop)
}

pub fn setdomainname(name: &[u8]) -> Result<()> {
    // SAFETY: the bytes are readable for their length and outlive the call.
    unsafe { call(nr::SETDOMAINNAME, [name.as_ptr() as usize, name.len()]) }.map(drop)
}

pub fn unshare(flags: u64) -> Result<()> {
    plain(nr::UNSHARE, [usize::try_from(flags).unwrap_or(0)]).map(drop)
}

/// Joins a namespace, which must be of this kind.
pub fn setns(namespace: Fd, kind: u64) -> Result<()> {
    plain(nr::SETNS, [namespace.arg(), usize::try_from(kind).unwrap_or(usize::MAX)]).map(drop)
}

/// Opens the mount namespace of a process.
pub fn mount_namespace(process: Fd) -> Result<Fd> {
    plain(nr::IOCTL, [process.arg(), PIDFD_GET_MNT_NAMESPACE, 0]).and_then(fd)
}

/// Goes on twice, in this process and in a new one with a copy of the memory and the same parent: `None` in
/// the new one, its pid and pidfd here. By the old call, because filters like Docker's refuse clone3.
pub fn clone_plain_sibling() -> Result<Option<(i32, Fd)>> {
    let mut pidfd = -1i32;
    let flags = usize::try_from(CLONE_PIDFD | CLONE_PARENT).unwrap_or(0) | SIGCHLD;
    // SAFETY: the stack is null, so that the child goes on on its copy of this one; the kernel writes the
    // pidfd, in the place of the parent's thread id, to an int that outlives the call.
    let pid = unsafe { call(nr::CLONE, [flags, 0, &raw mut pidfd as usize, 0, 0]) }?;
    Ok(sibling(pid, pidfd))
}

/// The same, in new namespaces and, if there is one, in this cgroup from the beginning.
pub fn clone_sibling(namespaces: u64, cgroup: Option<Fd>) -> Result<Option<(i32, Fd)>> {
    let into = if cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 };
    let cgroup = cgroup.map_or(0, |fd| u64::from(fd.0.cast_unsigned()));
    let mut pidfd = -1i32;
    // struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
    // set_tid_size, cgroup. With CLONE_PARENT the signal is that of this process.
    let flags = namespaces | CLONE_PIDFD | CLONE_PARENT | into;
    let arguments = [flags, (&raw mut pidfd as usize) as u64, 0, 0, 0, 0, 0, 0, 0, 0, cgroup];
    // SAFETY: the structure is clone_args of version 2, and it and the int that the kernel writes the pidfd
    // to outlive the call. Without CLONE_VM the child has memory of its own, this stack included, and init
    // has no other thread whose locks could be held.
    let pid = unsafe { call(nr::CLONE3, [&raw const arguments as usize, size_of_val(&arguments)]) }?;
    Ok(sibling(pid, pidfd))
}

/// What a clone has returned: in the new process nothing.
fn sibling(pid: usize, pidfd: i32) -> Option<(i32, Fd)> {
    (pid != 0).then(|| (i32::try_from(pid).unwrap_or(0), Fd(pidfd)))
}

/// A pipe: the end to read from, and the other.
pub fn pipe() -> Result<[Fd; 2]> {
    let mut ends = [-1i32; 2];
    // SAFETY: the kernel writes two ints, and they outlive the call.
    unsafe { call(nr::PIPE2, [ends.as_mut_ptr() as usize, usize::try_from(O_CLOEXEC).unwrap_or(0)]) }?;
    Ok(ends.map(Fd))
}

/// A pidfd of this very process.
pub fn own_pidfd() -> Result<Fd> {
    let pid = plain(nr::GETPID, [])?;
    plain(nr::PIDFD_OPEN, [pid, 0]).and_then(fd)
}

/// Goes on twice, as fork(2): `None` in the child, the child's pidfd here. The old call, because filters like
/// Docker's refuse clone3.
pub fn fork() -> Result<Option<Fd>> {
    let mut pidfd = -1i32;
    // SAFETY: the stack is null, so that the child goes on on its copy of this one; the kernel writes the
    // pidfd to an int that outlives the call.
    let pid = unsafe {
        call(
            nr::CLONE,
            [usize::try_from(CLONE_PIDFD).unwrap_or(0) | SIGCHLD, 0, &raw mut pidfd as usize, 0, 0],
        )
    }?;
    Ok((pid != 0).then_some(Fd(pidfd)))
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Exited(i32),
    Killed(i32),
}

/// Waits for the end of a child; `None` when it has not ended after so many seconds (0: no limit).
pub fn wait_child(pidfd: Fd, seconds: u64) -> Result<Option<Ended>> {
    let time = [i64::try_from(seconds).unwrap_or(i64::MAX), 0i64];
    loop {
        // struct pollfd: int fd, short events, short revents.
        let mut poll = [u64::from(pidfd.0.cast_unsigned()) | POLLIN << 32];
        let limit = if seconds == 0 { 0 } else { &raw const time as usize };
        // SAFETY: one struct pollfd and, if there is a limit, a timespec; both outlive the call. There is no
        // signal mask.
        match unsafe { call(nr::PPOLL, [&raw mut poll as usize, 1, limit, 0, 8]) } {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    let mut info = [0i32; 32];
    // SAFETY: the buffer has the 128 bytes of siginfo_t and outlives the call; resource usage is not asked
    // for.
    unsafe { call(nr::WAITID, [P_PIDFD, pidfd.arg(), &raw mut info as usize, WEXITED, 0]) }?;
    // siginfo_t of SIGCHLD on 64-bit architectures: signo, errno, code, padding, pid, uid, status.
    Ok(Some(if info[2] == CLD_EXITED { Ended::Exited(info[6]) } else { Ended::Killed(info[6]) }))
}

/// SIGKILL for a child.
pub fn kill(pidfd: Fd) -> Result<()> {
    plain(nr::PIDFD_SEND_SIGNAL, [pidfd.arg(), SIGKILL, 0, 0]).map(drop)
}

/// A word that this process and its children share.
pub fn shared_word() -> Result<&'static core::sync::atomic::AtomicI32> {
    let address =
        plain(nr::MMAP, [0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, usize::MAX, 0])?;
    // SAFETY: the mapping is fresh, page aligned and zeroed, and is never unmapped; it is only used as this
    // atomic.
    Ok(unsafe { &*(address as *const core::sync::atomic::AtomicI32) })
}

/// A file in memory, close-on-exec.
pub fn memfd(name: &CStr) -> Result<Fd> {
    // SAFETY: `name` ends with NUL and outlives the call.
    unsafe { call(nr::MEMFD_CREATE, [text(name), MFD_CLOEXEC]) }.and_then(fd)
}

/// Goes back to the beginning of a file.
pub fn rewind(file: Fd) -> Result<()> {
    plain(nr::LSEEK, [file.arg(), 0, 0]).map(drop)
}

pub fn setsid() -> Result<()> {
    plain(nr::SETSID, []).map(drop)
}

/// Joins the session keyring of this name that its user may search, or a new one; returns its number.
pub fn join_session_keyring(name: &CStr) -> Result<usize> {
    // SAFETY: `name` ends with NUL and outlives the call.
    unsafe { call(nr::KEYCTL, [KEYCTL_JOIN_SESSION_KEYRING, text(name)]) }
}

/// Lets processes of the same user search a keyring, and with that join it by its name. All else stays as the
/// kernel gives a new one: everything to its possessor; view, read and link to its user.
pub fn let_user_search(keyring: usize) -> Result<()> {
    const PERMISSIONS: usize = 0x3f1b_0000;
    plain(nr::KEYCTL, [KEYCTL_SETPERM, keyring, PERMISSIONS]).map(drop)
}

pub fn prlimit(resource: u64, soft: u64, hard: u64) -> Result<()> {
    let limit = [soft, hard];
    // SAFETY: `limit` is a struct rlimit64 and outlives the call; the old limit is not asked for.
    unsafe {
        call(
            nr::PRLIMIT64,
            [0, usize::try_from(resource).unwrap_or(usize::MAX), &raw const limit as usize, 0],
        )
    }
    .map(drop)
}

pub fn sched_setattr(policy: u32, flags: u64, nice: i32, priority: u32, times: [u64; 3]) -> Result<()> {
    // struct sched_attr of version 1, 56 bytes: u32 size, u32 policy, u64 flags, s32 nice, u32 priority, u64
    // × 3, u32 × 2. The last two are the utilization clamps: flags may ask for them, and the spec has no
    // values, so that they are zero as with runc.
    let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    let [runtime, deadline, period] = times;
    let attributes =
        [pair(56, policy), flags, pair(nice.cast_unsigned(), priority), runtime, deadline, period, 0];
    // SAFETY: the structure has the size that it says and outlives the call.
    unsafe { call(nr::SCHED_SETATTR, [0, &raw const attributes as usize, 0]) }.map(drop)
}

/// Sets the I/O priority of the process.
pub fn ioprio_set(value: u64) -> Result<()> {
    plain(nr::IOPRIO_SET, [IOPRIO_WHO_PROCESS, 0, usize::try_from(value).unwrap_or(usize::MAX)]).map(drop)
}

pub fn personality(persona: u64) -> Result<()> {
    plain(nr::PERSONALITY, [usize::try_from(persona).unwrap_or(usize::MAX)]).map(drop)
}

/// `nodes`: a mask in 64-bit words; empty for the policies that have none.
pub fn set_mempolicy(mode: u64, nodes: &[u8]) -> Result<()> {
    // The kernel takes one bit less than it is told (set_mempolicy(2), "maxnode").
    let bits = if nodes.is_empty() { 0 } else { nodes.len() * 8 + 1 };
    let mask = if nodes.is_empty() { 0 } else { nodes.as_ptr() as usize };
    // SAFETY: the mask is readable for its bits and outlives the call, which copies it; null is allowed for
    // no bits.
    unsafe { call(nr::SET_MEMPOLICY, [usize::try_from(mode).unwrap_or(0), mask, bits]) }.map(drop)
}

/// Lets the process run on every CPU.
pub fn reset_affinity() -> Result<()> {
    // 8192 CPUs, the most that Linux can be built for. What the machine has not got is ignored.
    let all = [u64::MAX; 128];
    // SAFETY: the mask is readable for its size and outlives the call.
    unsafe { call(nr::SCHED_SETAFFINITY, [0, size_of_val(&all), &raw const all as usize]) }.map(drop)
}

/// Lets the process run on the CPUs of the mask.
pub fn set_affinity(mask: &[u8]) -> Result<()> {
    // SAFETY: the mask is readable for its size and outlives the call.
    unsafe { call(nr::SCHED_SETAFFINITY, [0, mask.len(), mask.as_ptr() as usize]) }.map(drop)
}

pub fn umask(mask: u64) {
    // Cannot fail.
    plain(nr::UMASK, [usize::try_from(mask).unwrap_or(0)]).ok();
}

/// prctl operations that take numbers only.
pub mod prctl {
    use super::*;

    fn set(option: usize, args: [usize; 4]) -> Result<usize> {
        let [a, b, c, d] = args;
        plain(nr::PRCTL, [option, a, b, c, d])
    }

    pub fn set_not_dumpable() -> Result<()> {
        set(PR_SET_DUMPABLE, [0; 4]).map(drop)
    }

    pub fn set_dumpable() -> Result<()> {
        set(PR_SET_DUMPABLE, [1, 0, 0, 0]).map(drop)
    }

    pub fn keep_capabilities(keep: bool) -> Result<()> {
        set(PR_SET_KEEPCAPS, [usize::from(keep), 0, 0, 0]).map(drop)
    }

    /// Drops a capability from the bounding set; `EINVAL` when the kernel has no such capability.
    pub fn drop_bounding(capability: usize) -> Result<()> {
        set(PR_CAPBSET_DROP, [capability, 0, 0, 0]).map(drop)
    }

    pub fn set_no_new_privileges() -> Result<()> {
        set(PR_SET_NO_NEW_PRIVS, [1, 0, 0, 0]).map(drop)
    }

    pub fn ambient_clear() -> Result<()> {
        set(PR_CAP_AMBIENT, [PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0]).map(drop)
    }

    pub fn ambient_raise(capability: usize) -> Result<()> {
        set(PR_CAP_AMBIENT, [PR_CAP_AMBIENT_RAISE, capability, 0, 0]).map(drop)
    }
}

/// Names the thread, as `ps` shows it. `name` is cut to 15 bytes by the kernel.
pub fn set_name(name: &CStr) -> Result<()> {
    // SAFETY: `name` ends with NUL and outlives the call.
    unsafe { call(nr::PRCTL, [PR_SET_NAME, text(name)]) }.map(drop)
}

/// Loads a filter and returns the fd of its listener if `flags` ask for one (0 otherwise).
pub fn seccomp_filter(flags: u64, program: &[u8]) -> Result<i32> {
    #[repr(C)]
    struct FilterProgram {
        length: u16,
        filter: *const u8,
    }
    let length = u16::try_from(program.len() / 8).map_err(|_| Errno::EINVAL)?;
    let header = FilterProgram { length, filter: program.as_ptr() };
    // SAFETY: `header` is a struct sock_fprog whose filter has `length` instructions of 8 bytes (the kernel
    // copies them byte by byte); both outlive the call.
    unsafe {
        call(
            nr::SECCOMP,
            [SECCOMP_SET_MODE_FILTER, usize::try_from(flags).unwrap_or(0), &raw const header as usize],
        )
    }
    .map(|listener| i32::try_from(listener).unwrap_or(-1))
}

/// `setgroups` with an array of 32-bit ids.
pub fn setgroups(groups: &[u8]) -> Result<()> {
    // SAFETY: the bytes are readable for the number of ids given and outlive the call.
    unsafe { call(nr::SETGROUPS, [groups.len() / 4, groups.as_ptr() as usize]) }.map(drop)
}

pub fn setresgid(gid: u32) -> Result<()> {
    let gid = changed_id(gid)?;
    plain(nr::SETRESGID, [gid, gid, gid]).map(drop)
}

pub fn setresuid(uid: u32) -> Result<()> {
    let uid = changed_id(uid)?;
    plain(nr::SETRESUID, [uid, uid, uid]).map(drop)
}

/// An id to change to. To the kernel, -1 is none: the caller would stay root and believe otherwise.
fn changed_id(id: u32) -> Result<usize> {
    if id == u32::MAX { Err(Errno::EINVAL) } else { Ok(id as usize) }
}

pub fn capset(effective: u64, permitted: u64, inheritable: u64) -> Result<()> {
    let (low, high) = (|set: u64| (set & 0xffff_ffff) as u32, |set: u64| (set >> 32) as u32);
    let header = [_LINUX_CAPABILITY_VERSION_3, 0];
    let data = [
        [low(effective), low(permitted), low(inheritable)],
        [high(effective), high(permitted), high(inheritable)],
    ];
    // SAFETY: header and data are laid out as capset(2) wants for version 3 and outlive the call.
    unsafe { call(nr::CAPSET, [&raw const header as usize, &raw const data as usize]) }.map(drop)
}

/// Makes every permitted capability effective.
pub fn raise_effective() -> Result<()> {
    let header = [_LINUX_CAPABILITY_VERSION_3, 0];
    let mut data = [[0u32; 3]; 2];
    // SAFETY: header and data are laid out as capget(2) wants for version 3 and outlive the call.
    unsafe { call(nr::CAPGET, [&raw const header as usize, &raw mut data as usize]) }?;
    let [[_, low, low_inheritable], [_, high, high_inheritable]] = data;
    let wide = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
    capset(wide(low, high), wide(low, high), wide(low_inheritable, high_inheritable))
}

/// `TIOCSPTLCK` to 0: lets the peer be opened.
pub fn unlock_terminal(master: Fd) -> Result<()> {
    let zero = 0i32;
    // SAFETY: the request reads one int and `zero` outlives the call.
    unsafe { call(nr::IOCTL, [master.arg(), TIOCSPTLCK, &raw const zero as usize]) }.map(drop)
}

/// `TIOCGPTPEER`: opens the other end through the master, never by a path.
pub fn terminal_peer(master: Fd) -> Result<Fd> {
    let flags = usize::try_from(O_RDWR | O_NOCTTY | O_CLOEXEC).unwrap_or(0);
    plain(nr::IOCTL, [master.arg(), TIOCGPTPEER, flags]).and_then(fd)
}

pub fn set_controlling_terminal(terminal: Fd) -> Result<()> {
    plain(nr::IOCTL, [terminal.arg(), TIOCSCTTY, 0]).map(drop)
}

pub fn set_window_size(terminal: Fd, rows: u16, columns: u16) -> Result<()> {
    let size = [rows, columns, 0, 0];
    // SAFETY: `size` is a struct winsize and outlives the call.
    unsafe { call(nr::IOCTL, [terminal.arg(), TIOCSWINSZ, &raw const size as usize]) }.map(drop)
}

/// Sets the flag UP of the device `lo`.
pub fn loopback_up() -> Result<()> {
    let socket = plain(nr::SOCKET, [AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0]).and_then(fd)?;
    // struct ifreq: 16 bytes of name, then the flags in 16 bits. Of those of a new loopback device all others
    // are the kernel's.
    let mut request = [0u8; 40];
    let name = b"lo";
    for (to, from) in request.iter_mut().zip(name) {
        *to = *from;
    }
    request[16] = IFF_UP;
    // SAFETY: the request has the 40 bytes of struct ifreq and outlives the call.
    let result =
        unsafe { call(nr::IOCTL, [socket.arg(), SIOCSIFFLAGS, request.as_ptr() as usize]) }.map(drop);
    close(socket);
    result
}

/// Whether the process's effective ids may execute the path.
pub fn may_execute(path: &CStr) -> Result<()> {
    // SAFETY: `path` ends with NUL and outlives the call.
    unsafe { call(nr::FACCESSAT2, [HERE, text(path), X_OK, AT_EACCESS]) }.map(drop)
}

/// Becomes the program. `argv` and `envp` hold addresses of strings and end with 0.
///
/// # Safety
/// Every address must be that of a string that ends with NUL; both arrays must end with 0.
pub unsafe fn execve(path: &CStr, argv: &[usize], envp: &[usize]) -> Errno {
    // SAFETY: the caller's promise; all of it outlives the call, which returns only on failure.
    match unsafe { call(nr::EXECVE, [text(path), argv.as_ptr() as usize, envp.as_ptr() as usize]) } {
        Err(errno) => errno,
        Ok(_) => Errno::EINVAL,
    }
}

/// Gives every signal its default action and unblocks all: what the caller of the runtime ignored or blocked
/// (Rust programs ignore SIGPIPE) is none of the container's business.
pub fn reset_signals() {
    let (action, empty) = ([0usize; 4], 0u64);
    for signal in 1..=64usize {
        // SAFETY: `action` is the kernel's struct sigaction (SIG_DFL, nothing else) and outlives the call.
        // SIGKILL and SIGSTOP refuse, as they should.
        unsafe { call(nr::RT_SIGACTION, [signal, &raw const action as usize, 0, 8]) }.ok();
    }
    // SAFETY: `empty` is a kernel sigset_t of 8 bytes and outlives the call, which cannot fail with these
    // arguments.
    unsafe { call(nr::RT_SIGPROCMASK, [SIG_SETMASK, &raw const empty as usize, 0, 8]) }.ok();
}
