//! Init's kernel: one safe wrapper per call and meaning, by raw system calls.
//!
//! Nothing here allocates, locks or touches libc. Wrappers add `O_CLOEXEC` and its kin themselves. `EINTR` is retried where a
//! stop signal could cause it.

use core::ffi::CStr;

use crate::arch::{self, nr};
pub use crate::arch::{O_DIRECTORY, O_NOFOLLOW};

/// An error number of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    pub const EPERM: Self = Self(1);
    pub const ENOENT: Self = Self(2);
    pub const EIO: Self = Self(5);
    pub const EINTR: Self = Self(4);
    pub const EBADF: Self = Self(9);
    pub const EAGAIN: Self = Self(11);
    pub const EACCES: Self = Self(13);
    pub const EEXIST: Self = Self(17);
    pub const EXDEV: Self = Self(18);
    pub const ENODEV: Self = Self(19);
    pub const ENOTDIR: Self = Self(20);
    pub const EISDIR: Self = Self(21);
    pub const EINVAL: Self = Self(22);
    pub const EROFS: Self = Self(30);
    pub const ENAMETOOLONG: Self = Self(36);
    pub const ENOSYS: Self = Self(38);
    pub const ELOOP: Self = Self(40);
    pub const EPROTO: Self = Self(71);
    pub const ECONNRESET: Self = Self(104);
    pub const ETIMEDOUT: Self = Self(110);
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

const AT_FDCWD: usize = (-100isize).cast_unsigned();
/// Where relative paths begin; absolute ones do not need it.
pub const WORKING_DIRECTORY: Fd = Fd(-100);
const AT_EMPTY_PATH: usize = 0x1000;
const AT_RECURSIVE: usize = 0x8000;
const AT_SYMLINK_NOFOLLOW: usize = 0x100;
const O_CLOEXEC: u64 = 0o2_000_000;
pub const O_RDONLY: u64 = 0;
pub const O_WRONLY: u64 = 1;
pub const O_RDWR: u64 = 2;
pub const O_NOCTTY: u64 = 0o400;
pub const O_NONBLOCK: u64 = 0o4000;
pub const O_CREAT: u64 = 0o100;
pub const O_EXCL: u64 = 0o200;
pub const O_PATH: u64 = 0o10_000_000;
pub const RESOLVE_NO_XDEV: u64 = 0x01;
pub const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
pub const RESOLVE_NO_SYMLINKS: u64 = 0x04;
pub const RESOLVE_BENEATH: u64 = 0x08;
pub const RESOLVE_IN_ROOT: u64 = 0x10;
pub const S_IFMT: u32 = 0o170_000;
pub const S_IFDIR: u32 = 0o040_000;
pub const S_IFCHR: u32 = 0o020_000;
pub const S_IFBLK: u32 = 0o060_000;
pub const S_IFREG: u32 = 0o100_000;
pub const S_IFLNK: u32 = 0o120_000;
pub const CLONE_NEWCGROUP: u64 = 0x0200_0000;
pub const MOUNT_ATTR_RDONLY: u64 = 0x1;
pub const MOUNT_ATTR_NOSUID: u64 = 0x2;
pub const MOUNT_ATTR_NODEV: u64 = 0x4;
pub const MOUNT_ATTR_NOEXEC: u64 = 0x8;
pub const PROC_SUPER_MAGIC: u64 = 0x9fa0;
pub const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;

fn check(result: isize) -> Result<usize> {
    if result < 0 { Err(Errno(i32::try_from(-result).unwrap_or(Errno::EINVAL.0))) } else { Ok(result.cast_unsigned()) }
}

/// Makes a call none of whose arguments is a pointer.
fn plain<const N: usize>(number: usize, args: [usize; N]) -> Result<usize> {
    let mut all = [0; 6];
    for (to, from) in all.iter_mut().zip(args) {
        *to = from;
    }
    // SAFETY: the wrappers below use this only for calls that take numbers and fds; the kernel touches no memory of ours.
    check(unsafe { arch::syscall(number, all) })
}

/// Makes a call whose pointers come from references that outlive it.
///
/// # Safety
/// Each argument that the call takes as a pointer must be valid for the length and direction that the call documents.
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
    plain(nr::CLOSE_RANGE, [first as usize, u32::MAX as usize, 0]).map(drop)
}

/// Copies to the lowest free number of at least `least`, close-on-exec.
pub fn dup_above(from: Fd, least: i32) -> Result<Fd> {
    const F_DUPFD_CLOEXEC: usize = 1030;
    plain(nr::FCNTL, [from.arg(), F_DUPFD_CLOEXEC, Fd(least).arg()]).and_then(fd)
}

/// `dup3(from, to)`, close-on-exec unless `inherit`.
pub fn dup_to(from: Fd, to: i32, inherit: bool) -> Result<()> {
    if from.0 == to {
        return Ok(());
    }
    plain(nr::DUP3, [from.arg(), Fd(to).arg(), if inherit { 0 } else { usize::try_from(O_CLOEXEC).unwrap_or(0) }])
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
        let result =
            unsafe { call(nr::OPENAT2, [dir.arg(), text(path), &raw const how as usize, size_of::<OpenHow>()]) };
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
    unsafe { call(nr::OPENAT, [dir.arg(), text(name), flags, usize::try_from(mode).unwrap_or(0)]) }.and_then(fd)
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
        call(nr::FCHOWNAT, [dir.arg(), text(name), uid as usize, gid as usize, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH])
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
    statx(AT_FDCWD, path, 0)
}

fn statx(dir: usize, path: &CStr, flags: usize) -> Result<Stat> {
    const BASIC: usize = 0x7ff;
    let mut buffer = [0u64; 32];
    // SAFETY: `path` ends with NUL; the buffer has the 256 bytes of struct statx; both outlive the call.
    unsafe { call(nr::STATX, [dir, text(path), flags, BASIC, &raw mut buffer as usize]) }?;
    // struct statx: u32 at 20 uid, at 24 gid, u16 at 28 mode, u64 at 32 ino, at 40 size, u32 at 128 rdev_major, at 132
    // rdev_minor, at 136 dev_major, at 140 dev_minor.
    let word = |byte: usize| {
        let pair = buffer.get(byte / 8).copied().unwrap_or(0);
        u32::try_from(if byte % 8 == 4 { pair >> 32 } else { pair & 0xffff_ffff }).unwrap_or(0)
    };
    let (rdev_major, rdev_minor) = (word(128), word(132));
    let (device, inode, size) = ((word(136), word(140)), buffer[4], buffer[5]);
    Ok(Stat { device, inode, mode: word(28) & 0xffff, uid: word(20), gid: word(24), size, rdev_major, rdev_minor })
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
    const SOL_SOCKET: i32 = 1;
    const SCM_RIGHTS: i32 = 1;
    const MSG_NOSIGNAL: usize = 0x4000;
    let control = ControlMessage { length: 20, level: SOL_SOCKET, kind: SCM_RIGHTS, fd: carried.0, padding: 0 };
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
    // SAFETY: header, iov, control message and bytes are laid out as sendmsg(2) wants (64-bit) and outlive the call.
    unsafe { call(nr::SENDMSG, [to.arg(), &raw const header as usize, MSG_NOSIGNAL]) }.map(drop)
}

/// Receives bytes and up to two fds; returns the number of bytes.
pub fn receive_fds(from: Fd, bytes: &mut [u8], fds: &mut [Fd; 2]) -> Result<usize> {
    #[repr(C)]
    struct ControlMessage {
        length: usize,
        level: i32,
        kind: i32,
        fds: [i32; 2],
    }
    const SCM_RIGHTS: i32 = 1;
    const MSG_CMSG_CLOEXEC: usize = 0x4000_0000;
    let mut control = ControlMessage { length: 0, level: 0, kind: 0, fds: [-1; 2] };
    let iov = [bytes.as_mut_ptr() as usize, bytes.len()];
    // struct msghdr: name, its length, iov, their number, control, its length, flags.
    let mut header = [0, 0, &raw const iov as usize, 1, &raw mut control as usize, size_of::<ControlMessage>(), 0usize];
    let length = loop {
        // SAFETY: header, iov, control buffer and bytes are laid out as recvmsg(2) wants (64-bit) and outlive the call.
        match unsafe { call(nr::RECVMSG, [from.arg(), &raw mut header as usize, MSG_CMSG_CLOEXEC]) } {
            Err(Errno::EINTR) => {}
            other => break other?,
        }
    };
    if control.kind == SCM_RIGHTS {
        // One fd makes 20 bytes, two make 24; what was not sent stays -1.
        *fds = control.fds.map(Fd);
    }
    Ok(length)
}

pub fn accept(listener: Fd) -> Result<Fd> {
    const SOCK_CLOEXEC: usize = 0o2_000_000;
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
    const PROT_READ: usize = 1;
    const MAP_PRIVATE: usize = 2;
    let address = plain(nr::MMAP, [0, length, PROT_READ, MAP_PRIVATE, fd.arg(), 0])?;
    // SAFETY: the kernel has mapped `length` readable bytes there and nothing unmaps them. The file is a sealed memfd, so
    // that its bytes neither change nor go away under the mapping.
    Ok(unsafe { core::slice::from_raw_parts(address as *const u8, length) })
}

/// Maps zeroed memory for `count` words, for the rest of the process's life.
pub fn map_words(count: usize) -> Result<&'static mut [usize]> {
    const PROT_READ_WRITE: usize = 3;
    const MAP_PRIVATE_ANONYMOUS: usize = 0x22;
    let length = count.max(1).checked_mul(size_of::<usize>()).ok_or(Errno::EINVAL)?;
    let address = plain(nr::MMAP, [0, length, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, usize::MAX, 0])?;
    // SAFETY: the mapping is fresh, page aligned, zeroed, of at least `count` words, and nobody else knows it.
    Ok(unsafe { core::slice::from_raw_parts_mut(address as *mut usize, count) })
}

/// Copies what is mounted at a path of the process's own mount namespace, the path resolved once, here.
pub fn open_tree_at(path: &CStr, recursive: bool, follow: bool) -> Result<Fd> {
    const OPEN_TREE_CLONE: usize = 1;
    let flags = OPEN_TREE_CLONE
        | 0o2_000_000
        | if recursive { AT_RECURSIVE } else { 0 }
        | if follow { 0 } else { AT_SYMLINK_NOFOLLOW };
    // SAFETY: `path` ends with NUL and outlives the call.
    unsafe { call(nr::OPEN_TREE, [AT_FDCWD, text(path), flags]) }.and_then(fd)
}

pub fn open_tree(from: Fd, recursive: bool) -> Result<Fd> {
    const OPEN_TREE_CLONE: usize = 1;
    let flags = OPEN_TREE_CLONE | AT_EMPTY_PATH | 0o2_000_000 | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty constant string.
    unsafe { call(nr::OPEN_TREE, [from.arg(), text(c""), flags]) }.and_then(fd)
}

/// Attaches a detached mount on an opened target.
pub fn move_mount(mount: Fd, target: Fd) -> Result<()> {
    const FROM_EMPTY_PATH: usize = 0x4;
    const TO_EMPTY_PATH: usize = 0x40;
    let flags = FROM_EMPTY_PATH | TO_EMPTY_PATH;
    // SAFETY: both paths are empty constant strings.
    unsafe { call(nr::MOVE_MOUNT, [mount.arg(), text(c""), target.arg(), text(c""), flags]) }.map(drop)
}

/// Attaches a detached mount over `/`.
pub fn move_mount_to_root(mount: Fd) -> Result<()> {
    const FROM_EMPTY_PATH: usize = 0x4;
    // SAFETY: both paths are constant strings.
    unsafe { call(nr::MOVE_MOUNT, [mount.arg(), text(c""), AT_FDCWD, text(c"/"), FROM_EMPTY_PATH]) }.map(drop)
}

#[repr(C)]
#[derive(Debug)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Changes a mount, or its whole tree. `None` is `/`.
pub fn mount_setattr(mount: Option<Fd>, recursive: bool, set: u64, clear: u64, propagation: u64) -> Result<()> {
    let attributes = MountAttributes { set, clear, propagation, userns_fd: 0 };
    let (dir, path, flags) = match mount {
        Some(fd) => (fd.arg(), c"", AT_EMPTY_PATH),
        None => (AT_FDCWD, c"/", 0),
    };
    let flags = flags | if recursive { AT_RECURSIVE } else { 0 };
    let (at, length) = (&raw const attributes as usize, size_of::<MountAttributes>());
    // SAFETY: the path is a constant string; `attributes` is a mount_attr of the size given and outlives the call.
    unsafe { call(nr::MOUNT_SETATTR, [dir, text(path), flags, at, length]) }.map(drop)
}

pub fn fsopen(fstype: &CStr) -> Result<Fd> {
    const FSOPEN_CLOEXEC: usize = 1;
    // SAFETY: `fstype` ends with NUL and outlives the call.
    unsafe { call(nr::FSOPEN, [text(fstype), FSOPEN_CLOEXEC]) }.and_then(fd)
}

/// Sets a string parameter.
pub fn fsconfig_string(context: Fd, key: &CStr, value: &CStr) -> Result<()> {
    const SET_STRING: usize = 1;
    // SAFETY: both strings end with NUL and outlive the call.
    unsafe { call(nr::FSCONFIG, [context.arg(), SET_STRING, text(key), text(value), 0]) }.map(drop)
}

/// Sets a parameter without value.
pub fn fsconfig_flag(context: Fd, key: &CStr) -> Result<()> {
    const SET_FLAG: usize = 0;
    // SAFETY: `key` ends with NUL and outlives the call; the value is null as SET_FLAG demands.
    unsafe { call(nr::FSCONFIG, [context.arg(), SET_FLAG, text(key), 0, 0]) }.map(drop)
}

/// Makes the superblock.
pub fn fsconfig_create(context: Fd) -> Result<()> {
    const CREATE: usize = 6;
    plain(nr::FSCONFIG, [context.arg(), CREATE, 0, 0, 0]).map(drop)
}

pub fn fsmount(context: Fd, attributes: u64) -> Result<Fd> {
    const FSMOUNT_CLOEXEC: usize = 1;
    plain(nr::FSMOUNT, [context.arg(), FSMOUNT_CLOEXEC, usize::try_from(attributes).unwrap_or(0)]).and_then(fd)
}

/// Opens the superblock of the filesystem that is mounted at the fd.
pub fn fspick(mount: Fd) -> Result<Fd> {
    const FSPICK_CLOEXEC: usize = 1;
    const FSPICK_EMPTY_PATH: usize = 8;
    // SAFETY: the path is an empty constant string.
    unsafe { call(nr::FSPICK, [mount.arg(), text(c""), FSPICK_CLOEXEC | FSPICK_EMPTY_PATH]) }.and_then(fd)
}

/// Applies the options to the superblock.
pub fn fsconfig_reconfigure(context: Fd) -> Result<()> {
    const RECONFIGURE: usize = 7;
    plain(nr::FSCONFIG, [context.arg(), RECONFIGURE, 0, 0, 0]).map(drop)
}

/// Makes the working directory the root of the process.
pub fn chroot_here() -> Result<()> {
    // SAFETY: the path is a constant string.
    unsafe { call(nr::CHROOT, [text(c".")]) }.map(drop)
}

/// Detaches what is mounted on the path itself.
pub fn unmount(path: &CStr) -> Result<()> {
    const MNT_DETACH_NOFOLLOW: usize = 2 | 8;
    // SAFETY: `path` ends with NUL and outlives the call.
    unsafe { call(nr::UMOUNT2, [text(path), MNT_DETACH_NOFOLLOW]) }.map(drop)
}

/// Covers a path of the process's own mount namespace with an empty tmpfs.
pub fn cover(path: &CStr) -> Result<()> {
    const MS_RDONLY: usize = 1;
    // SAFETY: the strings end with NUL and outlive the call; there is no data.
    unsafe { call(nr::MOUNT, [text(c"tmpfs"), text(path), text(c"tmpfs"), MS_RDONLY, 0]) }.map(drop)
}

/// `pivot_root(".", ".")`: the working directory becomes the root, the old root lies over it.
pub fn pivot_root_here() -> Result<()> {
    // SAFETY: both paths are constant strings.
    unsafe { call(nr::PIVOT_ROOT, [text(c"."), text(c".")]) }.map(drop)
}

/// Detaches the mount that lies over the working directory.
pub fn unmount_here() -> Result<()> {
    const MNT_DETACH: usize = 2;
    // SAFETY: the path is a constant string.
    unsafe { call(nr::UMOUNT2, [text(c"."), MNT_DETACH]) }.map(drop)
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
    unsafe { call(nr::GETCWD, [buffer.as_mut_ptr() as usize, buffer.len()]) }.map(|length| length.saturating_sub(1))
}

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

/// Goes on twice, in this process and in a new one with a copy of the memory and the same parent; true in the new one.
pub fn clone_sibling(namespaces: u64) -> Result<bool> {
    const CLONE_PARENT: u64 = 0x8000;
    // struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls. With CLONE_PARENT the
    // signal is that of this process.
    let arguments = [namespaces | CLONE_PARENT, 0, 0, 0, 0, 0, 0, 0u64];
    // SAFETY: the structure is clone_args of version 0 and outlives the call. Without CLONE_VM the child has memory of its
    // own, this stack included, and init has no other thread whose locks could be held.
    unsafe { call(nr::CLONE3, [&raw const arguments as usize, size_of_val(&arguments)]) }.map(|pid| pid == 0)
}

/// A pidfd of this very process.
pub fn own_pidfd() -> Result<Fd> {
    let pid = plain(nr::GETPID, [])?;
    plain(nr::PIDFD_OPEN, [pid, 0]).and_then(fd)
}

/// Goes on twice, as fork(2): `None` in the child, the child's pidfd here. The old call, because filters like Docker's refuse
/// clone3.
pub fn fork() -> Result<Option<Fd>> {
    const CLONE_PIDFD: usize = 0x1000;
    const SIGCHLD: usize = 17;
    let mut pidfd = -1i32;
    // SAFETY: the stack is null, so that the child goes on on its copy of this one; the kernel writes the pidfd to an int that
    // outlives the call.
    let pid = unsafe { call(nr::CLONE, [CLONE_PIDFD | SIGCHLD, 0, &raw mut pidfd as usize, 0, 0]) }?;
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
    const POLLIN: u64 = 1;
    const P_PIDFD: usize = 3;
    const WEXITED: usize = 4;
    const CLD_EXITED: i32 = 1;
    let time = [i64::try_from(seconds).unwrap_or(i64::MAX), 0i64];
    loop {
        // struct pollfd: int fd, short events, short revents.
        let mut poll = [u64::from(pidfd.0.cast_unsigned()) | POLLIN << 32];
        let limit = if seconds == 0 { 0 } else { &raw const time as usize };
        // SAFETY: one struct pollfd and, if there is a limit, a timespec; both outlive the call. There is no signal mask.
        match unsafe { call(nr::PPOLL, [&raw mut poll as usize, 1, limit, 0, 8]) } {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    let mut info = [0i32; 32];
    // SAFETY: the buffer has the 128 bytes of siginfo_t and outlives the call; resource usage is not asked for.
    unsafe { call(nr::WAITID, [P_PIDFD, pidfd.arg(), &raw mut info as usize, WEXITED, 0]) }?;
    // siginfo_t of SIGCHLD on 64-bit architectures: signo, errno, code, padding, pid, uid, status.
    Ok(Some(if info[2] == CLD_EXITED { Ended::Exited(info[6]) } else { Ended::Killed(info[6]) }))
}

/// SIGKILL for a child.
pub fn kill(pidfd: Fd) -> Result<()> {
    plain(nr::PIDFD_SEND_SIGNAL, [pidfd.arg(), 9, 0, 0]).map(drop)
}

/// A word that this process and its children share.
pub fn shared_word() -> Result<&'static core::sync::atomic::AtomicI32> {
    const PROT_READ_WRITE: usize = 3;
    const MAP_SHARED_ANONYMOUS: usize = 0x21;
    let address = plain(nr::MMAP, [0, 4096, PROT_READ_WRITE, MAP_SHARED_ANONYMOUS, usize::MAX, 0])?;
    // SAFETY: the mapping is fresh, page aligned and zeroed, and is never unmapped; it is only used as this atomic.
    Ok(unsafe { &*(address as *const core::sync::atomic::AtomicI32) })
}

/// A file in memory, close-on-exec.
pub fn memfd(name: &CStr) -> Result<Fd> {
    const MFD_CLOEXEC: usize = 1;
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

/// Joins a new session keyring of this name and lets only its possessor search it.
pub fn join_session_keyring(name: &CStr) -> Result<()> {
    const JOIN_SESSION_KEYRING: usize = 1;
    // SAFETY: `name` ends with NUL and outlives the call.
    unsafe { call(nr::KEYCTL, [JOIN_SESSION_KEYRING, text(name)]) }.map(drop)
}

pub fn prlimit(resource: u64, soft: u64, hard: u64) -> Result<()> {
    let limit = [soft, hard];
    // SAFETY: `limit` is a struct rlimit64 and outlives the call; the old limit is not asked for.
    unsafe { call(nr::PRLIMIT64, [0, usize::try_from(resource).unwrap_or(usize::MAX), &raw const limit as usize, 0]) }
        .map(drop)
}

pub fn sched_setattr(policy: u64, flags: u64, nice: u64, priority: u64, times: [u64; 3]) -> Result<()> {
    // struct sched_attr of version 1, 56 bytes: u32 size, u32 policy, u64 flags, s32 nice, u32 priority, u64 × 3, u32 × 2. The last
    // two are the utilization clamps: flags may ask for them, and the spec has no values, so that they are zero as with runc.
    let low = |number: u64| number & 0xffff_ffff;
    let [runtime, deadline, period] = times;
    let attributes = [56 | low(policy) << 32, flags, low(nice) | low(priority) << 32, runtime, deadline, period, 0];
    // SAFETY: the structure has the size that it says and outlives the call.
    unsafe { call(nr::SCHED_SETATTR, [0, &raw const attributes as usize, 0]) }.map(drop)
}

/// Sets the I/O priority of the process.
pub fn ioprio_set(value: u64) -> Result<()> {
    const IOPRIO_WHO_PROCESS: usize = 1;
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
    // SAFETY: the mask is readable for its bits and outlives the call, which copies it; null is allowed for no bits.
    unsafe { call(nr::SET_MEMPOLICY, [usize::try_from(mode).unwrap_or(0), mask, bits]) }.map(drop)
}

/// Lets the process run on every CPU.
pub fn reset_affinity() -> Result<()> {
    // 8192 CPUs, the most that Linux can be built for. What the machine has not got is ignored.
    let all = [u64::MAX; 128];
    // SAFETY: the mask is readable for its size and outlives the call.
    unsafe { call(nr::SCHED_SETAFFINITY, [0, size_of_val(&all), &raw const all as usize]) }.map(drop)
}

/// Reads entries of a directory (`struct linux_dirent64`); 0 at the end.
pub fn read_directory(dir: Fd, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the buffer is writable for its length and outlives the call.
    unsafe { call(nr::GETDENTS64, [dir.arg(), buffer.as_mut_ptr() as usize, buffer.len()]) }
}

/// Reads where a link leads; returns the length, which is that of the buffer when it did not fit. An empty `name`: the link
/// that is open itself.
pub fn readlinkat(dir: Fd, name: &CStr, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: `name` ends with NUL; the buffer is writable for its length; both outlive the call.
    unsafe { call(nr::READLINKAT, [dir.arg(), text(name), buffer.as_mut_ptr() as usize, buffer.len()]) }
}

pub fn fchmod(file: Fd, mode: u32) -> Result<()> {
    plain(nr::FCHMOD, [file.arg(), mode as usize]).map(drop)
}

pub fn umask(mask: u64) {
    // Cannot fail.
    plain(nr::UMASK, [usize::try_from(mask).unwrap_or(0)]).ok();
}

/// prctl operations that take numbers only.
pub mod prctl {
    use super::{Result, nr, plain};

    fn set(option: usize, args: [usize; 4]) -> Result<usize> {
        let [a, b, c, d] = args;
        plain(nr::PRCTL, [option, a, b, c, d])
    }

    pub fn set_not_dumpable() -> Result<()> {
        set(4, [0; 4]).map(drop)
    }

    pub fn set_dumpable() -> Result<()> {
        set(4, [1, 0, 0, 0]).map(drop)
    }

    pub fn keep_capabilities(keep: bool) -> Result<()> {
        set(8, [usize::from(keep), 0, 0, 0]).map(drop)
    }

    /// Drops a capability from the bounding set; `EINVAL` when the kernel has no such capability.
    pub fn drop_bounding(capability: usize) -> Result<()> {
        set(24, [capability, 0, 0, 0]).map(drop)
    }

    pub fn set_no_new_privileges() -> Result<()> {
        set(38, [1, 0, 0, 0]).map(drop)
    }

    pub fn ambient_clear() -> Result<()> {
        set(47, [4, 0, 0, 0]).map(drop)
    }

    pub fn ambient_raise(capability: usize) -> Result<()> {
        set(47, [2, capability, 0, 0]).map(drop)
    }
}

/// Names the thread, as `ps` shows it. `name` is cut to 15 bytes by the kernel.
pub fn set_name(name: &CStr) {
    // SAFETY: `name` ends with NUL and outlives the call. Failure would only leave another name.
    unsafe { call(nr::PRCTL, [15, text(name)]) }.ok();
}

/// Loads a filter and returns the fd of its listener if `flags` ask for one (0 otherwise).
pub fn seccomp_filter(flags: u64, program: &[u8]) -> Result<i32> {
    #[repr(C)]
    struct FilterProgram {
        length: u16,
        filter: *const u8,
    }
    const SET_MODE_FILTER: usize = 1;
    let length = u16::try_from(program.len() / 8).map_err(|_| Errno::EINVAL)?;
    let header = FilterProgram { length, filter: program.as_ptr() };
    // SAFETY: `header` is a struct sock_fprog whose filter has `length` instructions of 8 bytes (the kernel copies them
    // byte by byte); both outlive the call.
    unsafe { call(nr::SECCOMP, [SET_MODE_FILTER, usize::try_from(flags).unwrap_or(0), &raw const header as usize]) }
        .map(|listener| i32::try_from(listener).unwrap_or(-1))
}

/// `setgroups` with an array of 32-bit ids.
pub fn setgroups(groups: &[u8]) -> Result<()> {
    // SAFETY: the bytes are readable for the number of ids given and outlive the call.
    unsafe { call(nr::SETGROUPS, [groups.len() / 4, groups.as_ptr() as usize]) }.map(drop)
}

pub fn setresgid(gid: u64) -> Result<()> {
    let gid = changed_id(gid)?;
    plain(nr::SETRESGID, [gid, gid, gid]).map(drop)
}

pub fn setresuid(uid: u64) -> Result<()> {
    let uid = changed_id(uid)?;
    plain(nr::SETRESUID, [uid, uid, uid]).map(drop)
}

/// An id to change to. To the kernel, -1 is none: the caller would stay root and believe otherwise.
fn changed_id(id: u64) -> Result<usize> {
    u32::try_from(id).ok().filter(|id| *id != u32::MAX).map(|id| id as usize).ok_or(Errno::EINVAL)
}

pub fn capset(effective: u64, permitted: u64, inheritable: u64) -> Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let (low, high) = (|set: u64| (set & 0xffff_ffff) as u32, |set: u64| (set >> 32) as u32);
    let header = [VERSION_3, 0];
    let data =
        [[low(effective), low(permitted), low(inheritable)], [high(effective), high(permitted), high(inheritable)]];
    // SAFETY: header and data are laid out as capset(2) wants for version 3 and outlive the call.
    unsafe { call(nr::CAPSET, [&raw const header as usize, &raw const data as usize]) }.map(drop)
}

/// Makes every permitted capability effective.
pub fn raise_effective() -> Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let mut data = [[0u32; 3]; 2];
    // SAFETY: header and data are laid out as capget(2) wants for version 3 and outlive the call.
    unsafe { call(nr::CAPGET, [&raw const header as usize, &raw mut data as usize]) }?;
    let [[_, low, low_inheritable], [_, high, high_inheritable]] = data;
    let wide = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
    capset(wide(low, high), wide(low, high), wide(low_inheritable, high_inheritable))
}

/// `TIOCSPTLCK` to 0: lets the peer be opened.
pub fn unlock_terminal(master: Fd) -> Result<()> {
    const TIOCSPTLCK: usize = 0x4004_5431;
    let zero = 0i32;
    // SAFETY: the request reads one int and `zero` outlives the call.
    unsafe { call(nr::IOCTL, [master.arg(), TIOCSPTLCK, &raw const zero as usize]) }.map(drop)
}

/// `TIOCGPTPEER`: opens the other end through the master, never by a path.
pub fn terminal_peer(master: Fd) -> Result<Fd> {
    const TIOCGPTPEER: usize = 0x5441;
    let flags = usize::try_from(O_RDWR | O_NOCTTY | O_CLOEXEC).unwrap_or(0);
    plain(nr::IOCTL, [master.arg(), TIOCGPTPEER, flags]).and_then(fd)
}

pub fn set_controlling_terminal(terminal: Fd) -> Result<()> {
    const TIOCSCTTY: usize = 0x540e;
    plain(nr::IOCTL, [terminal.arg(), TIOCSCTTY, 0]).map(drop)
}

pub fn set_window_size(terminal: Fd, rows: u16, columns: u16) -> Result<()> {
    const TIOCSWINSZ: usize = 0x5414;
    let size = [rows, columns, 0, 0];
    // SAFETY: `size` is a struct winsize and outlives the call.
    unsafe { call(nr::IOCTL, [terminal.arg(), TIOCSWINSZ, &raw const size as usize]) }.map(drop)
}

/// Sets the flag UP of the device `lo`.
pub fn loopback_up() -> Result<()> {
    const AF_INET: usize = 2;
    const SOCK_DGRAM: usize = 2;
    const SOCK_CLOEXEC: usize = 0o2_000_000;
    const SIOCSIFFLAGS: usize = 0x8914;
    const IFF_UP: u8 = 1;
    let socket = plain(nr::SOCKET, [AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0]).and_then(fd)?;
    // struct ifreq: 16 bytes of name, then the flags in 16 bits. Of those of a new loopback device all others are the kernel's.
    let mut request = [0u8; 40];
    let name = b"lo";
    for (to, from) in request.iter_mut().zip(name) {
        *to = *from;
    }
    request[16] = IFF_UP;
    // SAFETY: the request has the 40 bytes of struct ifreq and outlives the call.
    let result = unsafe { call(nr::IOCTL, [socket.arg(), SIOCSIFFLAGS, request.as_ptr() as usize]) }.map(drop);
    close(socket);
    result
}

/// Whether the process's effective ids may execute the path.
pub fn may_execute(path: &CStr) -> Result<()> {
    const X_OK: usize = 1;
    const AT_EACCESS: usize = 0x200;
    // SAFETY: `path` ends with NUL and outlives the call.
    unsafe { call(nr::FACCESSAT2, [AT_FDCWD, text(path), X_OK, AT_EACCESS]) }.map(drop)
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

/// Gives every signal its default action and unblocks all: what the caller of the runtime ignored or blocked (Rust programs
/// ignore SIGPIPE) is none of the container's business.
pub fn reset_signals() {
    let (action, empty) = ([0usize; 4], 0u64);
    for signal in 1..=64usize {
        // SAFETY: `action` is the kernel's struct sigaction (SIG_DFL, nothing else) and outlives the call. SIGKILL and
        // SIGSTOP refuse, as they should.
        unsafe { call(nr::RT_SIGACTION, [signal, &raw const action as usize, 0, 8]) }.ok();
    }
    const SIG_SETMASK: usize = 2;
    // SAFETY: `empty` is a kernel sigset_t of 8 bytes and outlives the call, which cannot fail with these arguments.
    unsafe { call(nr::RT_SIGPROCMASK, [SIG_SETMASK, &raw const empty as usize, 0, 8]) }.ok();
}
