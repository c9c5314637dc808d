//! Mounts, trees and filesystems.

use core::ffi::CStr;

use super::*;

constants! {
    general {
        OPEN_TREE_CLONE: usize = 1;
        OPEN_TREE_CLOEXEC: usize = 0o2_000_000;
        MOVE_MOUNT_F_EMPTY_PATH: usize = 0x4;
        MOVE_MOUNT_T_EMPTY_PATH: usize = 0x40;
        FSOPEN_CLOEXEC: usize = 1;
        FSMOUNT_CLOEXEC: usize = 1;
        FSPICK_CLOEXEC: usize = 1;
        FSPICK_EMPTY_PATH: usize = 8;
        MOUNT_ATTR_RDONLY: u64 = 0x1;
        MOUNT_ATTR_NOSUID: u64 = 0x2;
        MOUNT_ATTR_NODEV: u64 = 0x4;
        MOUNT_ATTR_NOEXEC: u64 = 0x8;
        MS_RDONLY: usize = 1;
        MS_SLAVE: u64 = 0x0008_0000;
        MNT_DETACH: usize = 2;
        UMOUNT_NOFOLLOW: usize = 8;
    }
    general::fsconfig_command {
        FSCONFIG_SET_FLAG: usize = 0;
        FSCONFIG_SET_STRING: usize = 1;
        FSCONFIG_CMD_CREATE: usize = 6;
        FSCONFIG_CMD_RECONFIGURE: usize = 7;
    }
}

/// Copies what is mounted at a path of the process's own mount namespace, the path resolved once, here.
pub fn open_tree_at(path: &CStr, recursive: bool, follow: bool) -> Result<Fd> {
    let flags = OPEN_TREE_CLONE
        | OPEN_TREE_CLOEXEC
        | if recursive { AT_RECURSIVE } else { 0 }
        | if follow { 0 } else { AT_SYMLINK_NOFOLLOW };
    // SAFETY: `path` ends with NUL and outlives the call.
    unsafe { call(nr::OPEN_TREE, [HERE, text(path), flags]) }.and_then(fd)
}

pub fn open_tree(from: Fd, recursive: bool) -> Result<Fd> {
    let flags =
        OPEN_TREE_CLONE | AT_EMPTY_PATH | OPEN_TREE_CLOEXEC | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty constant string.
    unsafe { call(nr::OPEN_TREE, [from.arg(), text(c""), flags]) }.and_then(fd)
}

/// Attaches a detached mount on an opened target.
pub fn move_mount(mount: Fd, target: Fd) -> Result<()> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: both paths are empty constant strings.
    unsafe { call(nr::MOVE_MOUNT, [mount.arg(), text(c""), target.arg(), text(c""), flags]) }.map(drop)
}

/// Attaches a detached mount over `/`.
pub fn move_mount_to_root(mount: Fd) -> Result<()> {
    // SAFETY: both paths are constant strings.
    unsafe { call(nr::MOVE_MOUNT, [mount.arg(), text(c""), HERE, text(c"/"), MOVE_MOUNT_F_EMPTY_PATH]) }
        .map(drop)
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
pub fn mount_setattr(
    mount: Option<Fd>,
    recursive: bool,
    set: u64,
    clear: u64,
    propagation: u64,
) -> Result<()> {
    let attributes = MountAttributes { set, clear, propagation, userns_fd: 0 };
    let (dir, path, flags) = match mount {
        Some(fd) => (fd.arg(), c"", AT_EMPTY_PATH),
        None => (HERE, c"/", 0),
    };
    let flags = flags | if recursive { AT_RECURSIVE } else { 0 };
    let (at, length) = (&raw const attributes as usize, size_of::<MountAttributes>());
    // SAFETY: the path is a constant string; `attributes` is a mount_attr of the size given and outlives the
    // call.
    unsafe { call(nr::MOUNT_SETATTR, [dir, text(path), flags, at, length]) }.map(drop)
}

pub fn fsopen(fstype: &CStr) -> Result<Fd> {
    // SAFETY: `fstype` ends with NUL and outlives the call.
    unsafe { call(nr::FSOPEN, [text(fstype), FSOPEN_CLOEXEC]) }.and_then(fd)
}

/// Sets a string parameter.
pub fn fsconfig_string(context: Fd, key: &CStr, value: &CStr) -> Result<()> {
    // SAFETY: both strings end with NUL and outlive the call.
    unsafe { call(nr::FSCONFIG, [context.arg(), FSCONFIG_SET_STRING, text(key), text(value), 0]) }.map(drop)
}

/// Sets a parameter without value.
pub fn fsconfig_flag(context: Fd, key: &CStr) -> Result<()> {
    // SAFETY: `key` ends with NUL and outlives the call; the value is null as FSCONFIG_SET_FLAG demands.
    unsafe { call(nr::FSCONFIG, [context.arg(), FSCONFIG_SET_FLAG, text(key), 0, 0]) }.map(drop)
}

/// Makes the superblock.
pub fn fsconfig_create(context: Fd) -> Result<()> {
    plain(nr::FSCONFIG, [context.arg(), FSCONFIG_CMD_CREATE, 0, 0, 0]).map(drop)
}

pub fn fsmount(context: Fd, attributes: u64) -> Result<Fd> {
    plain(nr::FSMOUNT, [context.arg(), FSMOUNT_CLOEXEC, usize::try_from(attributes).unwrap_or(0)])
        .and_then(fd)
}

/// Opens the superblock of the filesystem that is mounted at the fd.
pub fn fspick(mount: Fd) -> Result<Fd> {
    // SAFETY: the path is an empty constant string.
    unsafe { call(nr::FSPICK, [mount.arg(), text(c""), FSPICK_CLOEXEC | FSPICK_EMPTY_PATH]) }.and_then(fd)
}

/// Applies the options to the superblock.
pub fn fsconfig_reconfigure(context: Fd) -> Result<()> {
    plain(nr::FSCONFIG, [context.arg(), FSCONFIG_CMD_RECONFIGURE, 0, 0, 0]).map(drop)
}

/// Makes the working directory the root of the process.
pub fn chroot_here() -> Result<()> {
    // SAFETY: the path is a constant string.
    unsafe { call(nr::CHROOT, [text(c".")]) }.map(drop)
}

/// Detaches what is mounted on the path itself.
pub fn unmount(path: &CStr) -> Result<()> {
    // SAFETY: `path` ends with NUL and outlives the call.
    unsafe { call(nr::UMOUNT2, [text(path), MNT_DETACH | UMOUNT_NOFOLLOW]) }.map(drop)
}

/// Detaches the mount that a link of procfs leads to.
pub fn unmount_followed(path: &CStr) -> Result<()> {
    // SAFETY: `path` ends with NUL and outlives the call.
    unsafe { call(nr::UMOUNT2, [text(path), MNT_DETACH]) }.map(drop)
}

/// Covers a path of the process's own mount namespace with an empty tmpfs.
pub fn cover(path: &CStr) -> Result<()> {
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
    // SAFETY: the path is a constant string.
    unsafe { call(nr::UMOUNT2, [text(c"."), MNT_DETACH]) }.map(drop)
}
