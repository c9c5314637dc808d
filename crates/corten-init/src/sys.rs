//! Init's kernel: one safe wrapper per call and meaning, by raw system calls.
//!
//! Nothing here allocates, locks or touches libc. Wrappers add `O_CLOEXEC` and its kin themselves. `EINTR` is
//! retried where a stop signal could cause it.

/// Makes constants of the kernel, under its names and by the headers that they are in. They are the same on
/// every architecture that init is written for; others are in `arch`. Test builds compare each with that of
/// linux-raw-sys, which init itself cannot have (docs/adr/0019).
macro_rules! constants {
    ($( $( $header:ident )::+ { $( $name:ident: $kind:ty = $value:expr; )* } )*) => { $(
        $( pub const $name: $kind = $value; )*

        #[cfg(test)]
        #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast, reason = "they are of several types")]
        const _: () = {
            use linux_raw_sys::$( $header )::+ as kernel;
            $( assert!($name as u64 == kernel::$name as u64); )*
        };
    )* };
}

mod mount;
mod process;

use core::ffi::CStr;

use crate::arch::{self, nr};
pub use crate::arch::{O_DIRECTORY, O_NOFOLLOW};
pub use mount::*;
pub use process::*;

/// An error number of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

macro_rules! errnos {
    ($( $name:ident = $number:literal, )*) => {
        impl Errno {
            $( pub const $name: Self = Self($number); )*
        }

        #[cfg(test)]
        const _: () = { $( assert!($number == linux_raw_sys::errno::$name); )* };
    };
}

errnos! {
    EPERM = 1, ENOENT = 2, EINTR = 4, EIO = 5, EBADF = 9, EAGAIN = 11, EACCES = 13, EEXIST = 17, EXDEV = 18, ENODEV = 19, ENOTDIR = 20, EISDIR = 21, EINVAL = 22, EROFS = 30, ENAMETOOLONG = 36, ENOSYS = 38, ELOOP = 40, EPROTO = 71, ECONNRESET = 104, ETIMEDOUT = 110,
}

impl Errno {
    /// Returns the words for what execve(2) fails with.
    pub fn reason(self) -> &'static str {
        match self.0 {
            1 => "operation not permitted",
            2 => "no such file or directory",
            5 => "input/output error",
            7 => "argument list too long",
            8 => "exec format error",
            11 => "resource temporarily unavailable",
            12 => "cannot allocate memory",
            13 => "permission denied",
            14 => "bad address",
            20 => "not a directory",
            21 => "is a directory",
            22 => "invalid argument",
            23 => "too many open files in system",
            24 => "too many open files",
            26 => "text file busy",
            36 => "file name too long",
            38 => "function not implemented",
            40 => "too many levels of symbolic links",
            80 => "accessing a corrupted shared library",
            _ => "refused by the kernel",
        }
    }
}

pub type Result<T> = core::result::Result<T, Errno>;

/// A file descriptor. Not closed on drop: init closes what it must and ends by execve or exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fd(pub i32);

impl Fd {
    fn arg(self) -> usize {
        self.0.cast_unsigned() as usize
    }
}

constants! {
    general {
        AT_FDCWD: i32 = -100;
        AT_SYMLINK_NOFOLLOW: usize = 0x100;
        AT_EMPTY_PATH: usize = 0x1000;
        AT_RECURSIVE: usize = 0x8000;
        O_RDONLY: u64 = 0;
        O_WRONLY: u64 = 1;
        O_RDWR: u64 = 2;
        O_CREAT: u64 = 0o100;
        O_EXCL: u64 = 0o200;
        O_NOCTTY: u64 = 0o400;
        O_NONBLOCK: u64 = 0o4000;
        O_CLOEXEC: u64 = 0o2_000_000;
        O_PATH: u64 = 0o10_000_000;
        RESOLVE_NO_XDEV: u64 = 0x01;
        RESOLVE_NO_MAGICLINKS: u64 = 0x02;
        RESOLVE_NO_SYMLINKS: u64 = 0x04;
        RESOLVE_BENEATH: u64 = 0x08;
        RESOLVE_IN_ROOT: u64 = 0x10;
        S_IFMT: u32 = 0o170_000;
        S_IFIFO: u32 = 0o010_000;
        S_IFCHR: u32 = 0o020_000;
        S_IFDIR: u32 = 0o040_000;
        S_IFBLK: u32 = 0o060_000;
        S_IFREG: u32 = 0o100_000;
        S_IFLNK: u32 = 0o120_000;
        STATX_BASIC_STATS: usize = 0x7ff;
        STATX_MNT_ID: usize = 0x1000;
        PROC_SUPER_MAGIC: u64 = 0x9fa0;
        SYSFS_MAGIC: u64 = 0x6265_6572;
        DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;
        PIPEFS_MAGIC: u64 = 0x5049_5045;
        F_DUPFD_CLOEXEC: usize = 1030;
        PROT_READ: usize = 1;
        PROT_WRITE: usize = 2;
        MAP_PRIVATE: usize = 0x2;
        MAP_ANONYMOUS: usize = 0x20;
    }
    net {
        SOL_SOCKET: i32 = 1;
        SCM_RIGHTS: i32 = 1;
        MSG_NOSIGNAL: usize = 0x4000;
        MSG_CMSG_CLOEXEC: usize = 0x4000_0000;
    }
}

/// As `O_CLOEXEC`.
pub const SOCK_CLOEXEC: usize = 0o2_000_000;
/// Where relative paths begin; absolute ones do not need it.
pub const WORKING_DIRECTORY: Fd = Fd(AT_FDCWD);
/// The same, as an argument.
const HERE: usize = (AT_FDCWD as isize).cast_unsigned();

fn check(result: isize) -> Result<usize> {
    if result < 0 {
        Err(Errno(i32::try_from(-result).unwrap_or(Errno::EINVAL.0)))
    } else {
        Ok(result.cast_unsigned())
    }
}

/// Makes a call none of whose arguments is a pointer.
fn plain<const N: usize>(number: usize, args: [usize; N]) -> Result<usize> {
    let mut all = [0; 6];
    for (to, from) in all.iter_mut().zip(args) {
        *to = from;
    }
    // SAFETY: the wrappers below use this only for calls that take numbers and fds; the kernel touches no
    // memory of ours.
    check(unsafe { arch::syscall(number, all) })
}

/// Makes a call whose pointers come from references that outlive it.
///
/// # Safety
/// Each argument that the call takes as a pointer must be valid for the length and direction that the call
/// documents.
unsafe fn call<const N: usize>(number: usize, args: [usize; N]) -> Result<usize> {
    let mut all = [0; 6];
    for (to, from) in all.iter_mut().zip(args) {
        *to = from;
    }
    // SAFETY: the caller's promise is the same.
    check(unsafe { arch::syscall(number, all) })
}

fn text(value: &CStr) -> usize {
    value.as_ptr() as usize
}

fn fd(result: usize) -> Result<Fd> {
    i32::try_from(result).map(Fd).map_err(|_| Errno::EBADF)
}

pub fn exit(code: i32) -> ! {
    // Fails under a filter that refuses it.
    plain(nr::EXIT_GROUP, [code.cast_unsigned() as usize]).ok();
    arch::trap()
}

/// Closes. The result says nothing that init could act on: the number is free afterwards in any case.
pub fn close(fd: Fd) {
    plain(nr::CLOSE, [fd.arg()]).ok();
}

pub fn close_from(first: u32) -> Result<()> {
    close_range(first, u32::MAX)
}

/// Closes all fds of these numbers.
pub fn close_range(first: u32, last: u32) -> Result<()> {
    plain(nr::CLOSE_RANGE, [first as usize, last as usize, 0]).map(drop)
}

/// Copies to the lowest free number of at least `least`, close-on-exec.
pub fn dup_above(from: Fd, least: i32) -> Result<Fd> {
    plain(nr::FCNTL, [from.arg(), F_DUPFD_CLOEXEC, Fd(least).arg()]).and_then(fd)
}

/// `dup3(from, to)`, close-on-exec unless `inherit`.
pub fn dup_to(from: Fd, to: i32, inherit: bool) -> Result<()> {
    if from.0 == to {
        return Ok(());
    }
    plain(
        nr::DUP3,
        [from.arg(), Fd(to).arg(), if inherit { 0 } else { usize::try_from(O_CLOEXEC).unwrap_or(0) }],
    )
    .map(drop)
}

#[repr(C)]
#[derive(Debug)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// `openat2`, retried while a concurrent rename makes the kernel unsure (`EAGAIN`, see openat2(2)).
pub fn openat2(dir: Fd, path: &CStr, flags: u64, mode: u64, resolve: u64) -> Result<Fd> {
    let how = OpenHow { flags: flags | O_CLOEXEC, mode, resolve };
    let mut tries = 0;
    loop {
        // SAFETY: `path` ends with NUL and `how` is an open_how of the size given; both outlive the call.
        let result = unsafe {
            call(nr::OPENAT2, [dir.arg(), text(path), &raw const how as usize, size_of::<OpenHow>()])
        };
        match result {
            Err(Errno::EAGAIN | Errno::EINTR) if tries < 256 => tries += 1,
            other => return other.and_then(fd),
        }
    }
}

/// `openat` of a single name, never through a link.
pub fn open_name(dir: Fd, name: &CStr, flags: u64, mode: u64) -> Result<Fd> {
    let flags = usize::try_from(flags | O_CLOEXEC | O_NOFOLLOW).unwrap_or(0);
    // SAFETY: `name` ends with NUL and outlives the call.
    unsafe { call(nr::OPENAT, [dir.arg(), text(name), flags, usize::try_from(mode).unwrap_or(0)]) }
        .and_then(fd)
}

pub fn mkdirat(dir: Fd, name: &CStr, mode: u64) -> Result<()> {
    // SAFETY: `name` ends with NUL and outlives the call.
    unsafe { call(nr::MKDIRAT, [dir.arg(), text(name), usize::try_from(mode).unwrap_or(0)]) }.map(drop)
}

/// `mknodat`; major and minor are packed as `new_encode_dev` does.
pub fn mknodat(dir: Fd, name: &CStr, mode: u32, major: u32, minor: u32) -> Result<()> {
    let device = (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12);
    // SAFETY: `name` ends with NUL and outlives the call.
    unsafe { call(nr::MKNODAT, [dir.arg(), text(name), mode as usize, device as usize]) }.map(drop)
}

pub fn symlinkat(target: &CStr, dir: Fd, name: &CStr) -> Result<()> {
    // SAFETY: both strings end with NUL and outlive the call.
    unsafe { call(nr::SYMLINKAT, [text(target), dir.arg(), text(name)]) }.map(drop)
}

/// Removes a name that is no directory.
pub fn unlinkat(dir: Fd, name: &CStr) -> Result<()> {
    // SAFETY: `name` ends with NUL and outlives the call.
    unsafe { call(nr::UNLINKAT, [dir.arg(), text(name), 0]) }.map(drop)
}

/// Changes the owner of a name, not of what a link there points to. An empty `name`: of what is open itself.
pub fn chown_name(dir: Fd, name: &CStr, uid: u32, gid: u32) -> Result<()> {
    // SAFETY: `name` ends with NUL and outlives the call.
    unsafe {
        call(
            nr::FCHOWNAT,
            [dir.arg(), text(name), uid as usize, gid as usize, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH],
        )
    }
    .map(drop)
}

pub fn fchown(fd: Fd, uid: u32, gid: u32) -> Result<()> {
    plain(nr::FCHOWN, [fd.arg(), uid as usize, gid as usize]).map(drop)
}

/// What init asks of a file.
#[derive(Debug, Clone, Copy)]
pub struct Stat {
    pub device: (u32, u32),
    pub inode: u64,
    /// The mount that it was reached by.
    pub mount: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub rdev_major: u32,
    pub rdev_minor: u32,
}

/// `statx` of the open file itself. The structure is 256 bytes on every architecture.
pub fn stat(fd: Fd) -> Result<Stat> {
    statx(fd.arg(), c"", AT_EMPTY_PATH)
}

/// `statx` of a name, no link followed.
pub fn stat_name(dir: Fd, name: &CStr) -> Result<Stat> {
    statx(dir.arg(), name, AT_SYMLINK_NOFOLLOW)
}

/// `statx` of a path, links followed.
pub fn stat_path(path: &CStr) -> Result<Stat> {
    statx(HERE, path, 0)
}

fn statx(dir: usize, path: &CStr, flags: usize) -> Result<Stat> {
    let mut buffer = [0u64; 32];
    // SAFETY: `path` ends with NUL; the buffer has the 256 bytes of struct statx; both outlive the call.
    unsafe {
        call(nr::STATX, [dir, text(path), flags, STATX_BASIC_STATS | STATX_MNT_ID, &raw mut buffer as usize])
    }?;
    // struct statx: u32 at 20 uid, at 24 gid, u16 at 28 mode, u64 at 32 ino, at 40 size, u32 at 128
    // rdev_major, at 132 rdev_minor, at 136 dev_major, at 140 dev_minor, u64 at 144 mnt_id.
    let word = |byte: usize| {
        let pair = buffer.get(byte / 8).copied().unwrap_or(0);
        u32::try_from(if byte % 8 == 4 { pair >> 32 } else { pair & 0xffff_ffff }).unwrap_or(0)
    };
    let (rdev_major, rdev_minor) = (word(128), word(132));
    let (device, inode, size, mount) = ((word(136), word(140)), buffer[4], buffer[5], buffer[18]);
    Ok(Stat {
        device,
        inode,
        mount,
        mode: word(28) & 0xffff,
        uid: word(20),
        gid: word(24),
        size,
        rdev_major,
        rdev_minor,
    })
}

/// `fstatfs`: the magic number of the filesystem.
pub fn filesystem(fd: Fd) -> Result<u64> {
    let mut buffer = [0u64; 15];
    // SAFETY: the buffer has the 120 bytes of struct statfs of 64-bit architectures and outlives the call.
    unsafe { call(nr::FSTATFS, [fd.arg(), &raw mut buffer as usize]) }?;
    Ok(buffer[0])
}

pub fn read(fd: Fd, buffer: &mut [u8]) -> Result<usize> {
    loop {
        // SAFETY: the buffer is writable for its length and outlives the call.
        match unsafe { call(nr::READ, [fd.arg(), buffer.as_mut_ptr() as usize, buffer.len()]) } {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

pub fn write(fd: Fd, bytes: &[u8]) -> Result<usize> {
    loop {
        // SAFETY: the bytes are readable for their length and outlive the call.
        match unsafe { call(nr::WRITE, [fd.arg(), bytes.as_ptr() as usize, bytes.len()]) } {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Sends bytes and one fd.
pub fn send_fd(to: Fd, bytes: &[u8], carried: Fd) -> Result<()> {
    #[repr(C)]
    struct ControlMessage {
        length: usize,
        level: i32,
        kind: i32,
        fd: i32,
        padding: i32,
    }
    #[repr(C)]
    struct MessageHeader {
        name: usize,
        name_length: usize,
        iov: usize,
        iov_length: usize,
        control: usize,
        control_length: usize,
        flags: usize,
    }
    let control =
        ControlMessage { length: 20, level: SOL_SOCKET, kind: SCM_RIGHTS, fd: carried.0, padding: 0 };
    let iov = [bytes.as_ptr() as usize, bytes.len()];
    let header = MessageHeader {
        name: 0,
        name_length: 0,
        iov: &raw const iov as usize,
        iov_length: 1,
        control: &raw const control as usize,
        control_length: size_of::<ControlMessage>(),
        flags: 0,
    };
    loop {
        // SAFETY: header, iov, control message and bytes are laid out as sendmsg(2) wants (64-bit) and
        // outlive the call.
        match unsafe { call(nr::SENDMSG, [to.arg(), &raw const header as usize, MSG_NOSIGNAL]) } {
            Err(Errno::EINTR) => {}
            other => return other.map(drop),
        }
    }
}

/// Receives bytes and as many fds as there is room for; returns the number of bytes.
pub fn receive_fds<const N: usize>(from: Fd, bytes: &mut [u8], fds: &mut [Fd; N]) -> Result<usize> {
    #[repr(C)]
    struct ControlMessage<const N: usize> {
        length: usize,
        level: i32,
        kind: i32,
        fds: [i32; N],
    }
    let mut control = ControlMessage { length: 0, level: 0, kind: 0, fds: [-1; N] };
    let iov = [bytes.as_mut_ptr() as usize, bytes.len()];
    // struct msghdr: name, its length, iov, their number, control, its length, flags.
    let mut header =
        [0, 0, &raw const iov as usize, 1, &raw mut control as usize, size_of::<ControlMessage<N>>(), 0usize];
    let length = loop {
        // SAFETY: header, iov, control buffer and bytes are laid out as recvmsg(2) wants (64-bit) and outlive
        // the call.
        match unsafe { call(nr::RECVMSG, [from.arg(), &raw mut header as usize, MSG_CMSG_CLOEXEC]) } {
            Err(Errno::EINTR) => {}
            other => break other?,
        }
    };
    if control.kind == SCM_RIGHTS {
        // What was not sent stays -1.
        *fds = control.fds.map(Fd);
    }
    Ok(length)
}

pub fn accept(listener: Fd) -> Result<Fd> {
    loop {
        // SAFETY: the address pointers are null, so the kernel writes nothing.
        match unsafe { call(nr::ACCEPT4, [listener.arg(), 0, 0, SOCK_CLOEXEC]) } {
            Err(Errno::EINTR) => {}
            other => return other.and_then(fd),
        }
    }
}

/// Maps a file read-only and private for the rest of the process's life.
pub fn map_file(fd: Fd, length: usize) -> Result<&'static [u8]> {
    let address = plain(nr::MMAP, [0, length, PROT_READ, MAP_PRIVATE, fd.arg(), 0])?;
    // SAFETY: the kernel has mapped `length` readable bytes there and nothing unmaps them. The file is a
    // sealed memfd, so that its bytes neither change nor go away under the mapping.
    Ok(unsafe { core::slice::from_raw_parts(address as *const u8, length) })
}

/// Maps zeroed memory for `count` words, for the rest of the process's life.
pub fn map_words(count: usize) -> Result<&'static mut [usize]> {
    let length = count.max(1).checked_mul(size_of::<usize>()).ok_or(Errno::EINVAL)?;
    let address =
        plain(nr::MMAP, [0, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, usize::MAX, 0])?;
    // SAFETY: the mapping is fresh, page aligned, zeroed, of at least `count` words, and nobody else knows
    // it.
    Ok(unsafe { core::slice::from_raw_parts_mut(address as *mut usize, count) })
}

pub fn chdir(path: &CStr) -> Result<()> {
    // SAFETY: `path` ends with NUL and outlives the call.
    unsafe { call(nr::CHDIR, [text(path)]) }.map(drop)
}

pub fn fchdir(dir: Fd) -> Result<()> {
    plain(nr::FCHDIR, [dir.arg()]).map(drop)
}

/// Writes the working directory's path and returns its length without NUL.
pub fn getcwd(buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the buffer is writable for its length and outlives the call.
    unsafe { call(nr::GETCWD, [buffer.as_mut_ptr() as usize, buffer.len()]) }
        .map(|length| length.saturating_sub(1))
}

/// Reads entries of a directory (`struct linux_dirent64`); 0 at the end.
pub fn read_directory(dir: Fd, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the buffer is writable for its length and outlives the call.
    unsafe { call(nr::GETDENTS64, [dir.arg(), buffer.as_mut_ptr() as usize, buffer.len()]) }
}

/// Reads where a link leads; returns the length, which is that of the buffer when it did not fit. An empty
/// `name`: the link that is open itself.
pub fn readlinkat(dir: Fd, name: &CStr, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: `name` ends with NUL; the buffer is writable for its length; both outlive the call.
    unsafe { call(nr::READLINKAT, [dir.arg(), text(name), buffer.as_mut_ptr() as usize, buffer.len()]) }
}

pub fn fchmod(file: Fd, mode: u32) -> Result<()> {
    plain(nr::FCHMOD, [file.arg(), mode as usize]).map(drop)
}
