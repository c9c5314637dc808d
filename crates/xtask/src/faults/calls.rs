//! The kernel calls that a container's commands make, and what each of them can fail with on a machine that
//! works: out of memory, of fds, of space, a disk that fails, a policy that forbids, a signal that comes.
//! What only a wrong argument brings is left out.

use nix::errno::Errno::{self, *};
use nix::libc::{self, c_long};

/// A call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) number: c_long,
    pub(super) name: &'static str,
    pub(super) faults: Faults,
    /// What an error may call it by, beside its name: functions of libc and std that make it.
    words: &'static [&'static str],
}

/// What a call can fail with.
#[derive(Debug)]
pub(super) enum Faults {
    Errnos(&'static [Errno]),
    /// Nothing; or it would be an artefact, and why.
    None(&'static str),
}

impl Call {
    /// The row of a call.
    pub(super) fn find(number: i64) -> Option<&'static Self> {
        CALLS.iter().find(|call| call.number == number)
    }

    /// What it can fail with.
    pub(super) fn errnos(&self) -> &'static [Errno] {
        match self.faults {
            Faults::Errnos(errnos) => errnos,
            Faults::None(_) => &[],
        }
    }

    /// Why it is left out.
    pub(super) fn why_not(&self) -> Option<&'static str> {
        match self.faults {
            Faults::Errnos(_) => None,
            Faults::None(why) => Some(why),
        }
    }

    /// Whether a line names it, and what it failed with.
    pub(super) fn is_named(&self, errno: Errno, line: &str) -> bool {
        let text = std::io::Error::from_raw_os_error(errno as i32).to_string().to_lowercase();
        let text = text.split(" (os").next().unwrap_or_default();
        let is_named = std::iter::once(&self.name).chain(self.words).any(|word| line.contains(word));
        // What the kernel says when not even init fits into the container's memory.
        let is_known = errno == ENOMEM && line.contains("OOM-killed");
        // A caller that may not make a cgroup in the hierarchy without controllers has none there, and cannot
        // mount it. runc's words for a program that may not be looked at, by which engines choose their exit
        // status.
        let is_program = errno == EACCES && line.contains(": exec: \"");
        let is_told_later =
            matches!(errno, EACCES | EPERM | EROFS) && line.contains("/sys/fs/cgroup/systemd/");
        is_named && line.to_lowercase().contains(text) || is_known || is_program || is_told_later
    }
}

const fn can(
    number: c_long,
    name: &'static str,
    errnos: &'static [Errno],
    words: &'static [&'static str],
) -> Call {
    Call { number, name, faults: Faults::Errnos(errnos), words }
}

const fn cannot(number: c_long, name: &'static str, why: &'static str) -> Call {
    Call { number, name, faults: Faults::None(why), words: &[] }
}

const START: &str = "libc's start, before main";
const NEVER: &str = "never fails";
const ARGUMENTS: &str = "fails for wrong arguments only";

/// What std's functions for whole files are called in errors.
const OPEN: &[&str] = &["open", "read", "write", "remove"];
const STAT: &[&str] = &["stat", "read", "open"];
/// Who asks for memory: the allocator, which ends the program; threads.
const MEMORY: &[&str] = &["memory allocation", "pthread_create", "clone", "thread"];

static CALLS: &[Call] = &[
    // Files.
    can(libc::SYS_openat, "openat", &[EMFILE, ENFILE, ENOMEM, EACCES, EIO], OPEN),
    can(libc::SYS_openat2, "openat2", &[EMFILE, ENFILE, ENOMEM, EACCES, EIO, EAGAIN], OPEN),
    can(libc::SYS_read, "read", &[EIO, EINTR, ENOMEM], &["recv", "open"]),
    can(libc::SYS_pread64, "pread64", &[EIO, EINTR], &["read"]),
    can(libc::SYS_write, "write", &[ENOSPC, EIO, EINTR, EDQUOT], &["send"]),
    can(libc::SYS_writev, "writev", &[ENOSPC, EIO, EINTR], &["write"]),
    can(libc::SYS_mkdir, "mkdir", &[ENOSPC, EDQUOT, EMLINK, ENOMEM, EACCES, EROFS, EIO], &[]),
    can(
        libc::SYS_mkdirat,
        "mkdirat",
        &[ENOSPC, EDQUOT, EMLINK, ENOMEM, EACCES, EROFS, EIO, EAGAIN],
        &["mkdir"],
    ),
    can(libc::SYS_mknodat, "mknodat", &[ENOSPC, EDQUOT, ENOMEM, EACCES, EPERM, EROFS], &["mknod"]),
    can(libc::SYS_symlinkat, "symlinkat", &[ENOSPC, EDQUOT, ENOMEM, EACCES, EROFS], &["symlink"]),
    can(libc::SYS_rmdir, "rmdir", &[EBUSY, EACCES, EIO, ENOMEM], &["remove"]),
    can(libc::SYS_unlink, "unlink", &[EACCES, EIO, EROFS, ENOMEM], &["remove"]),
    can(libc::SYS_unlinkat, "unlinkat", &[EBUSY, EACCES, EIO, EROFS, ENOMEM], &["rmdir", "remove", "unlink"]),
    can(libc::SYS_rename, "rename", &[ENOSPC, EACCES, EIO, EROFS], &[]),
    can(libc::SYS_renameat, "renameat", &[ENOSPC, EACCES, EIO, EROFS], &["rename"]),
    can(libc::SYS_renameat2, "renameat2", &[ENOSPC, EACCES, EIO, EROFS, EINVAL], &["rename"]),
    can(libc::SYS_newfstatat, "newfstatat", &[ENOMEM, EACCES, EIO], STAT),
    can(libc::SYS_fstat, "fstat", &[EIO], STAT),
    can(libc::SYS_statx, "statx", &[ENOMEM, EACCES, EIO], STAT),
    can(libc::SYS_statfs, "statfs", &[ENOMEM, EIO, EACCES], &[]),
    can(libc::SYS_fstatfs, "fstatfs", &[ENOMEM, EIO], &["statfs"]),
    can(libc::SYS_readlink, "readlink", &[ENOMEM, EACCES, EIO], &["open"]),
    can(libc::SYS_readlinkat, "readlinkat", &[ENOMEM, EACCES, EIO], &["readlink"]),
    can(libc::SYS_getdents64, "getdents64", &[EIO, ENOMEM], &["readdir", "opendir", "open", "remove"]),
    can(libc::SYS_faccessat2, "faccessat2", &[EACCES, EIO, ENOMEM], &["access", "exec"]),
    can(libc::SYS_fchmodat, "fchmodat", &[EIO, EPERM, EROFS], &["chmod"]),
    can(libc::SYS_fchmod, "fchmod", &[EIO, EPERM, EROFS], &["chmod"]),
    can(libc::SYS_fchown, "fchown", &[EIO, EPERM, EROFS, EDQUOT], &["chown"]),
    can(libc::SYS_fchownat, "fchownat", &[EIO, EPERM, EROFS, EDQUOT], &["chown"]),
    can(libc::SYS_ftruncate, "ftruncate", &[EIO, ENOSPC, EINTR], &["write"]),
    can(libc::SYS_flock, "flock", &[ENOLCK, ENOMEM], &[]),
    can(libc::SYS_getcwd, "getcwd", &[ENOMEM, ENOENT], &[]),
    can(libc::SYS_chdir, "chdir", &[ENOMEM, EACCES, EIO], &[]),
    can(libc::SYS_fchdir, "fchdir", &[EACCES, EIO], &[]),
    can(libc::SYS_memfd_create, "memfd_create", &[EMFILE, ENFILE, ENOMEM], &["memfd"]),
    can(libc::SYS_pipe2, "pipe2", &[EMFILE, ENFILE, ENOMEM], &["pipe"]),
    can(libc::SYS_dup3, "dup3", &[EMFILE, EINTR], &["dup"]),
    can(libc::SYS_ioctl, "ioctl", &[EIO, ENOMEM], &[]),
    can(libc::SYS_close_range, "close_range", &[EMFILE, ENOMEM], &[]),
    // Mounts.
    can(libc::SYS_fsopen, "fsopen", &[EMFILE, ENFILE, ENOMEM, EPERM], &[]),
    can(libc::SYS_fsconfig, "fsconfig", &[ENOMEM, EPERM, EBUSY], &[]),
    can(libc::SYS_fsmount, "fsmount", &[EMFILE, ENFILE, ENOMEM, EPERM, ENOSPC], &[]),
    can(libc::SYS_move_mount, "move_mount", &[ENOMEM, EPERM, ENOSPC], &[]),
    can(libc::SYS_open_tree, "open_tree", &[EMFILE, ENFILE, ENOMEM, EPERM, ENOSPC], &[]),
    can(libc::SYS_mount_setattr, "mount_setattr", &[ENOMEM, EPERM, EBUSY], &[]),
    can(libc::SYS_mount, "mount", &[ENOMEM, EPERM, ENOSPC], &[]),
    can(libc::SYS_umount2, "umount2", &[ENOMEM, EPERM, EBUSY], &["umount"]),
    can(libc::SYS_pivot_root, "pivot_root", &[EPERM, EBUSY], &[]),
    can(libc::SYS_chroot, "chroot", &[EPERM, EACCES], &[]),
    // Processes and namespaces.
    can(libc::SYS_clone3, "clone3", &[EAGAIN, ENOMEM, EPERM, ENOSPC], &["clone", "fork", "thread"]),
    can(libc::SYS_clone, "clone", &[EAGAIN, ENOMEM], &["fork", "thread"]),
    can(libc::SYS_vfork, "vfork", &[EAGAIN, ENOMEM], &["fork"]),
    can(libc::SYS_unshare, "unshare", &[ENOMEM, ENOSPC, EPERM], &["namespace"]),
    can(libc::SYS_setns, "setns", &[ENOMEM, EPERM], &[]),
    can(libc::SYS_execveat, "execveat", &[ENOMEM, EMFILE, EIO, E2BIG], &["exec"]),
    can(libc::SYS_execve, "execve", &[ENOMEM, EACCES, EIO, E2BIG], &["exec"]),
    can(libc::SYS_pidfd_open, "pidfd_open", &[EMFILE, ENFILE, ENOMEM], &["pidfd"]),
    can(libc::SYS_pidfd_getfd, "pidfd_getfd", &[EMFILE, ENFILE, EPERM], &["pidfd"]),
    can(libc::SYS_pidfd_send_signal, "pidfd_send_signal", &[EPERM], &["kill"]),
    can(libc::SYS_kill, "kill", &[EPERM], &[]),
    can(libc::SYS_waitid, "waitid", &[EINTR], &["wait"]),
    can(libc::SYS_wait4, "wait4", &[EINTR], &["wait"]),
    can(libc::SYS_setsid, "setsid", &[EPERM], &[]),
    can(libc::SYS_prctl, "prctl", &[EPERM], &[]),
    can(libc::SYS_seccomp, "seccomp", &[ENOMEM, EACCES], &[]),
    can(libc::SYS_keyctl, "keyctl", &[EDQUOT, ENOMEM, EPERM], &[]),
    can(libc::SYS_setresuid, "setresuid", &[EAGAIN, ENOMEM, EPERM], &["setuid"]),
    can(libc::SYS_setresgid, "setresgid", &[ENOMEM, EPERM], &["setgid"]),
    can(libc::SYS_setgroups, "setgroups", &[ENOMEM, EPERM], &[]),
    can(libc::SYS_capset, "capset", &[EPERM], &[]),
    can(libc::SYS_prlimit64, "prlimit64", &[EPERM], &["setrlimit", "prlimit"]),
    can(libc::SYS_sethostname, "sethostname", &[EPERM], &[]),
    can(libc::SYS_sched_setaffinity, "sched_setaffinity", &[ENOMEM, EPERM], &[]),
    can(libc::SYS_bpf, "bpf", &[ENOMEM, EPERM, EMFILE, E2BIG], &["BPF"]),
    // Sockets.
    can(libc::SYS_socket, "socket", &[EMFILE, ENFILE, ENOMEM, EACCES], &[]),
    can(libc::SYS_socketpair, "socketpair", &[EMFILE, ENFILE, ENOMEM], &[]),
    can(libc::SYS_bind, "bind", &[ENOMEM, EACCES, ENOSPC, EROFS], &[]),
    can(libc::SYS_listen, "listen", &[ENOBUFS], &[]),
    can(libc::SYS_connect, "connect", &[EAGAIN, EINTR, ENOMEM, EACCES], &[]),
    can(libc::SYS_accept4, "accept4", &[EMFILE, ENFILE, ENOMEM, EINTR], &["accept"]),
    can(libc::SYS_sendmsg, "sendmsg", &[ENOBUFS, ENOMEM, EINTR, EMFILE], &["send"]),
    can(libc::SYS_sendto, "sendto", &[ENOBUFS, ENOMEM, EINTR], &["send"]),
    can(libc::SYS_recvmsg, "recvmsg", &[EINTR, ENOMEM], &["recv"]),
    can(libc::SYS_recvfrom, "recvfrom", &[EINTR, ENOMEM], &["recv"]),
    // Waiting.
    can(libc::SYS_poll, "poll", &[EINTR, ENOMEM], &[]),
    can(libc::SYS_ppoll, "ppoll", &[EINTR, ENOMEM], &["poll"]),
    can(libc::SYS_signalfd4, "signalfd4", &[EMFILE, ENFILE, ENOMEM], &["signalfd"]),
    can(libc::SYS_eventfd2, "eventfd2", &[EMFILE, ENFILE, ENOMEM], &["eventfd"]),
    can(libc::SYS_epoll_create1, "epoll_create1", &[EMFILE, ENFILE, ENOMEM], &["epoll"]),
    can(libc::SYS_epoll_ctl, "epoll_ctl", &[ENOMEM, ENOSPC], &["epoll"]),
    can(libc::SYS_epoll_wait, "epoll_wait", &[EINTR], &["epoll"]),
    can(libc::SYS_epoll_pwait, "epoll_pwait", &[EINTR], &["epoll"]),
    can(libc::SYS_clock_nanosleep, "clock_nanosleep", &[EINTR], &["sleep"]),
    can(libc::SYS_nanosleep, "nanosleep", &[EINTR], &["sleep"]),
    can(libc::SYS_futex, "futex", &[EINTR], &[]),
    // Memory.
    can(libc::SYS_mmap, "mmap", &[ENOMEM], MEMORY),
    can(libc::SYS_mremap, "mremap", &[ENOMEM], MEMORY),
    can(libc::SYS_mprotect, "mprotect", &[ENOMEM], MEMORY),
    can(libc::SYS_munmap, "munmap", &[ENOMEM], MEMORY),
    can(libc::SYS_madvise, "madvise", &[ENOMEM, EAGAIN], MEMORY),
    can(libc::SYS_brk, "brk", &[ENOMEM], MEMORY),
    // Left out.
    cannot(
        libc::SYS_close,
        "close",
        "the fd is closed whatever it returns, and what is written is no longer underway: nobody looks",
    ),
    cannot(
        libc::SYS_fcntl,
        "fcntl",
        "std's builds for debugging ask so whether an fd that they close is open, and end if not",
    ),
    cannot(libc::SYS_exit, "exit", NEVER),
    cannot(libc::SYS_exit_group, "exit_group", NEVER),
    cannot(libc::SYS_rt_sigreturn, "rt_sigreturn", NEVER),
    cannot(libc::SYS_getpid, "getpid", NEVER),
    cannot(libc::SYS_gettid, "gettid", NEVER),
    cannot(libc::SYS_getppid, "getppid", NEVER),
    cannot(libc::SYS_getuid, "getuid", NEVER),
    cannot(libc::SYS_getgid, "getgid", NEVER),
    cannot(libc::SYS_geteuid, "geteuid", NEVER),
    cannot(libc::SYS_getegid, "getegid", NEVER),
    cannot(libc::SYS_umask, "umask", NEVER),
    cannot(libc::SYS_sched_yield, "sched_yield", NEVER),
    cannot(libc::SYS_restart_syscall, "restart_syscall", "the kernel's own"),
    cannot(libc::SYS_getrandom, "getrandom", "does not fail once the machine has started"),
    cannot(libc::SYS_uname, "uname", ARGUMENTS),
    cannot(libc::SYS_lseek, "lseek", ARGUMENTS),
    cannot(libc::SYS_capget, "capget", ARGUMENTS),
    cannot(libc::SYS_clock_gettime, "clock_gettime", ARGUMENTS),
    cannot(libc::SYS_sched_getaffinity, "sched_getaffinity", ARGUMENTS),
    cannot(libc::SYS_rt_sigaction, "rt_sigaction", ARGUMENTS),
    cannot(libc::SYS_rt_sigprocmask, "rt_sigprocmask", ARGUMENTS),
    cannot(libc::SYS_sigaltstack, "sigaltstack", ARGUMENTS),
    cannot(libc::SYS_getsockname, "getsockname", ARGUMENTS),
    cannot(libc::SYS_getsockopt, "getsockopt", ARGUMENTS),
    cannot(libc::SYS_setsockopt, "setsockopt", ARGUMENTS),
    cannot(libc::SYS_shutdown, "shutdown", ARGUMENTS),
    cannot(libc::SYS_tgkill, "tgkill", ARGUMENTS),
    cannot(libc::SYS_set_tid_address, "set_tid_address", START),
    cannot(libc::SYS_set_robust_list, "set_robust_list", START),
    cannot(libc::SYS_rseq, "rseq", START),
    cannot(libc::SYS_arch_prctl, "arch_prctl", START),
];
