//! Mounts, the root, and what is hidden or made read-only in it.
//!
//! Stage: inside, in the new mount namespace. Privilege: CAP_SYS_ADMIN in the container's user namespace.
//! Kernel: the mount API of Linux 5.2 and `mount_setattr` of 5.12. Spec: config.md#mounts, config-linux.md.
//! Attacker: owns the rootfs; every target was opened inside the root and is used by fd.

use core::ffi::CStr;

use super::{CLOSED, Executor, Failure, From, Outcome};
use crate::message::Call;
use crate::step::Slot;
use crate::sys::{self, Errno, Fd};

impl Executor<'_> {
    pub(super) fn set_propagation(&mut self, flags: u64) -> Outcome {
        self.detail.set_cut(b"/");
        sys::mount_setattr(None, true, 0, 0, flags).from(Call::MountSetattr)
    }

    pub(super) fn attach_root(&mut self, tree: Slot) -> Outcome {
        let tree = self.fd(tree)?;
        sys::move_mount_to_root(tree).from(Call::MoveMount)?;
        self.root = tree;
        Ok(())
    }

    pub(super) fn pivot_root(&mut self) -> Outcome {
        sys::fchdir(self.root).from(Call::Fchdir)?;
        sys::pivot_root_here().from(Call::PivotRoot)?;
        // The old root lies over the new one now; the working directory is still below it.
        sys::unmount_here().from(Call::Umount2)?;
        sys::chdir(c"/").from(Call::Chdir)
    }

    pub(super) fn mount_fs(
        &mut self,
        fstype: &'static CStr,
        source: &'static CStr,
        options: &'static [u8],
        attributes: u64,
        slot: Slot,
    ) -> Outcome {
        self.detail.set_cut(fstype.to_bytes());
        let context = sys::fsopen(fstype).from(Call::Fsopen)?;
        if !source.is_empty() {
            self.configure(context, sys::fsconfig_string(context, c"source", source))?;
        }
        let mut words = super::strings(options);
        while let (Some(key), Some(value)) = (words.next(), words.next()) {
            self.detail.set_cut(key.to_bytes());
            let set = if value.is_empty() {
                sys::fsconfig_flag(context, key)
            } else {
                sys::fsconfig_string(context, key, value)
            };
            self.configure(context, set)?;
        }
        self.detail.set_cut(fstype.to_bytes());
        self.configure(context, sys::fsconfig_create(context))?;
        let mount = sys::fsmount(context, attributes).from(Call::Fsmount)?;
        sys::close(context);
        self.put(slot, mount)
    }

    /// On failure, takes what the kernel says about it (`e tmpfs: Bad value for 'size'`) into the detail.
    fn configure(&mut self, context: Fd, result: sys::Result<()>) -> Outcome {
        if result.is_err() {
            let mut words = [0; 256];
            if let Ok(length) = sys::read(context, &mut words) {
                let said = words.get(..length).unwrap_or_default();
                let said = said.strip_prefix(b"e ").unwrap_or(said);
                self.detail.set_cut(said.strip_suffix(b"\n").unwrap_or(said));
            }
        }
        result.from(Call::Fsconfig)
    }

    pub(super) fn clone_mount(&mut self, from: Slot, slot: Slot) -> Outcome {
        let tree = sys::open_tree(self.fd(from)?, true).from(Call::OpenTree)?;
        self.put(slot, tree)
    }

    pub(super) fn move_mount(&mut self, mount: Slot, target: Slot) -> Outcome {
        sys::move_mount(self.fd(mount)?, self.fd(target)?).from(Call::MoveMount)?;
        self.close(mount)?;
        self.close(target)
    }

    pub(super) fn open_proc(&mut self, slot: Slot) -> Outcome {
        self.detail.set_cut(b"proc");
        let context = sys::fsopen(c"proc").from(Call::Fsopen)?;
        self.configure(context, sys::fsconfig_create(context))?;
        let attributes = sys::MOUNT_ATTR_NOSUID | sys::MOUNT_ATTR_NODEV | sys::MOUNT_ATTR_NOEXEC;
        let mount = sys::fsmount(context, attributes).from(Call::Fsmount)?;
        sys::close(context);
        if sys::filesystem(mount).from(Call::Fstatfs)? != sys::PROC_SUPER_MAGIC {
            return Err(Failure { call: Call::Fstatfs, errno: Errno::EXDEV });
        }
        self.put(slot, mount)
    }

    pub(super) fn sysctl(&mut self, proc: Slot, path: &'static CStr, value: &'static CStr) -> Outcome {
        self.detail.set_cut(path.to_bytes());
        let resolve =
            sys::RESOLVE_BENEATH | sys::RESOLVE_NO_XDEV | sys::RESOLVE_NO_MAGICLINKS | sys::RESOLVE_NO_SYMLINKS;
        let file = sys::openat2(self.fd(proc)?, path, sys::O_WRONLY, 0, resolve).from(Call::Openat2)?;
        let written = sys::write(file, value.to_bytes()).from(Call::Write)?;
        sys::close(file);
        if written == value.count_bytes() { Ok(()) } else { Err(Failure { call: Call::Write, errno: Errno::EINVAL }) }
    }

    pub(super) fn mask_path(&mut self, path: &'static CStr, null: Slot, empty: Slot) -> Outcome {
        self.detail.set_cut(path.to_bytes());
        let Some(target) = self.open_if_there(path)? else { return Ok(()) };
        let directory = sys::stat(target).from(Call::Fstat)?.mode & sys::S_IFMT == sys::S_IFDIR;
        let slot = if directory { empty } else { null };
        let cover = self.fd(slot)?;
        let attached = match sys::open_tree(cover, false) {
            Ok(copy) => {
                let moved = sys::move_mount(copy, target).from(Call::MoveMount);
                sys::close(copy);
                moved
            }
            // Before Linux 6.15 a mount that is not attached yet cannot be copied: attach it, and copy it from there. Once
            // only: moving it on would uncover the first path.
            Err(Errno::EINVAL) if !self.attached_covers.contains(&Some(slot)) => {
                let place = usize::from(directory);
                if let Some(attached) = self.attached_covers.get_mut(place) {
                    *attached = Some(slot);
                }
                sys::move_mount(cover, target).from(Call::MoveMount)
            }
            Err(errno) => Err(Failure { call: Call::OpenTree, errno }),
        };
        sys::close(target);
        attached
    }

    pub(super) fn readonly_path(&mut self, path: &'static CStr) -> Outcome {
        self.detail.set_cut(path.to_bytes());
        let Some(target) = self.open_if_there(path)? else { return Ok(()) };
        let tree = sys::open_tree(target, true).from(Call::OpenTree)?;
        sys::mount_setattr(Some(tree), true, sys::MOUNT_ATTR_RDONLY, 0, 0).from(Call::MountSetattr)?;
        sys::move_mount(tree, target).from(Call::MoveMount)?;
        sys::close(tree);
        sys::close(target);
        Ok(())
    }

    /// Opens a path that may be missing: the spec's masked and readonly paths are lists for all kernels.
    fn open_if_there(&self, path: &CStr) -> Outcome<Option<Fd>> {
        match self.open_in_root(path) {
            Ok(CLOSED) | Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            other => other.from(Call::Openat2).map(Some),
        }
    }
}
