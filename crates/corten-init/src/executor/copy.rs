//! Copying a directory tree (`tmpcopyup`): what the image has at the place of a tmpfs is copied into it.
//!
//! Stage: inside, before `pivot_root(2)`. Attacker: owns the tree that is copied, may change it meanwhile and
//! make it deep; every name is opened below its directory's fd without following a link, and the depth is
//! bounded.

use core::ffi::CStr;

use super::{Executor, Failure, OfCall, Outcome};
use crate::operand::Slot;
use crate::step::Call;
use crate::sys::{self, Errno, Fd, Stat};

/// Directories in directories; each takes two fds and a buffer on the stack.
const DEPTH_MAX: u32 = 128;
const BUFFER: usize = 8 * 1024;

impl Executor<'_> {
    pub(super) fn copy_up(&mut self, mount: Slot, from: Slot, owner: bool) -> Outcome {
        let (to, from) = (self.fd(mount)?, self.fd(from)?);
        // A file may have become a device since it was looked at, and opening one of the attacker's choice
        // does something or shows the host's disks: seen through this copy of the mounts none can be opened.
        let seen = sys::open_tree(from, true).of(Call::OpenTree)?;
        sys::mount_setattr(Some(seen), true, sys::MOUNT_ATTR_NODEV, 0, 0).of(Call::MountSetattr)?;
        // Both are known by O_PATH only.
        let from = open_directory(seen, c".")?;
        sys::close(seen);
        let stat = sys::stat(from).of(Call::Fstat)?;
        let to = open_directory(to, c".")?;
        self.copy_entries(from, to, 0)?;
        if owner {
            // The mode is that of the filesystem's options already; of a directory the change takes no bit
            // away.
            sys::fchown(to, stat.uid, stat.gid).of(Call::Fchown)?;
        }
        sys::close(from);
        sys::close(to);
        Ok(())
    }

    fn copy_entries(&mut self, from: Fd, to: Fd, depth: u32) -> Outcome {
        if depth >= DEPTH_MAX {
            return Err(Failure { call: Call::Getdents64, errno: Errno::ELOOP });
        }
        let mut entries = [0; 4096];
        loop {
            let length = sys::read_directory(from, &mut entries).of(Call::Getdents64)?;
            let mut rest = entries.get(..length).unwrap_or_default();
            if rest.is_empty() {
                return Ok(());
            }
            // struct linux_dirent64: u64 inode, u64 offset, u16 length, u8 type, name.
            while let Some(size) =
                rest.get(16..18).and_then(|two| Some(u16::from_le_bytes([*two.first()?, *two.get(1)?])))
            {
                let Some((entry, next)) = rest.split_at_checked(usize::from(size)) else { break };
                rest = next;
                let name = CStr::from_bytes_until_nul(entry.get(19..).unwrap_or_default()).unwrap_or(c"");
                if !matches!(name.to_bytes(), b"" | b"." | b"..") {
                    self.detail.set_cut(name.to_bytes());
                    self.copy_entry(from, to, name, depth)?;
                }
            }
        }
    }

    fn copy_entry(&mut self, from: Fd, to: Fd, name: &CStr, depth: u32) -> Outcome {
        let stat = match sys::stat_name(from, name) {
            // Gone since the directory was read.
            Err(Errno::ENOENT) => return Ok(()),
            other => other.of(Call::Fstat)?,
        };
        match stat.mode & sys::S_IFMT {
            sys::S_IFDIR => {
                sys::mkdirat(to, name, 0o700).of(Call::Mkdirat)?;
                let (inner_from, inner_to) = (open_directory(from, name)?, open_directory(to, name)?);
                self.copy_entries(inner_from, inner_to, depth + 1)?;
                give_ownership(inner_to, &stat)?;
                sys::close(inner_from);
                sys::close(inner_to);
                Ok(())
            }
            sys::S_IFREG => copy_file(from, to, name, &stat),
            sys::S_IFLNK => {
                let mut target = [0; 4096];
                let length =
                    sys::readlinkat(from, name, target.split_last_mut().map_or(&mut [], |(_, head)| head));
                length.of(Call::Readlinkat)?;
                let target = CStr::from_bytes_until_nul(&target).unwrap_or(c"");
                sys::symlinkat(target, to, name).of(Call::Symlinkat)?;
                sys::chown_name(to, name, stat.uid, stat.gid).of(Call::Fchownat)
            }
            // Fifos, sockets, devices.
            _ => {
                sys::mknodat(to, name, stat.mode, stat.rdev_major, stat.rdev_minor).of(Call::Mknodat)?;
                sys::chown_name(to, name, stat.uid, stat.gid).of(Call::Fchownat)
            }
        }
    }
}

fn open_directory(dir: Fd, name: &CStr) -> Outcome<Fd> {
    sys::open_name(dir, name, sys::O_RDONLY | sys::O_DIRECTORY, 0).of(Call::Openat)
}

fn copy_file(from: Fd, to: Fd, name: &CStr, stat: &Stat) -> Outcome {
    let source =
        sys::open_name(from, name, sys::O_RDONLY | sys::O_NONBLOCK | sys::O_NOCTTY, 0).of(Call::Openat)?;
    if sys::stat(source).of(Call::Fstat)?.mode & sys::S_IFMT != sys::S_IFREG {
        return Err(Failure { call: Call::Openat, errno: Errno::ENODEV });
    }
    let copy =
        sys::open_name(to, name, sys::O_WRONLY | sys::O_CREAT | sys::O_EXCL, 0o600).of(Call::Openat)?;
    let mut buffer = [0; BUFFER];
    loop {
        let length = sys::read(source, &mut buffer).of(Call::Read)?;
        if length == 0 {
            break;
        }
        let mut left = buffer.get(..length).unwrap_or_default();
        while !left.is_empty() {
            let written = sys::write(copy, left).of(Call::Write)?;
            left = left.get(written.max(1)..).unwrap_or_default();
        }
    }
    give_ownership(copy, stat)?;
    sys::close(source);
    sys::close(copy);
    Ok(())
}

/// Owner first: the change of owner takes the set-user-id bit away.
fn give_ownership(file: Fd, stat: &Stat) -> Outcome {
    sys::fchown(file, stat.uid, stat.gid).of(Call::Fchown)?;
    sys::fchmod(file, stat.mode & 0o7777).of(Call::Fchmod)
}
