//! Mounts, trees and filesystems.

use core::ffi::CStr;

use super::*;

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
    // SAFETY: the path is a constant string; `attributes` is a mount_attr of the size given and outlives the
    // call.
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

/// Detaches the mount that a link of procfs leads to.
pub fn unmount_followed(path: &CStr) -> Result<()> {
    const MNT_DETACH: usize = 2;
    // SAFETY: `path` ends with NUL and outlives the call.
    unsafe { call(nr::UMOUNT2, [text(path), MNT_DETACH]) }.map(drop)
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
