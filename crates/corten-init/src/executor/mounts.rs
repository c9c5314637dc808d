//! Mounts, the root, and what is hidden or made read-only in it.
//!
//! Stage: inside, in the new mount namespace. Privilege: CAP_SYS_ADMIN in the container's user namespace.
//! Kernel: the mount API of Linux 5.2 and `mount_setattr` of 5.12. Spec: config.md#mounts, config-linux.md.
//! Attacker: owns the rootfs; every target was opened inside the root and is used by fd.

use core::ffi::CStr;

use super::{CLOSED, Executor, Failure, OfCall, Outcome, Text};
use crate::message::MAX_FDS;
use crate::operand::{Attributes, Mode, Options, Propagation, Slot, SlotRange, TreeFlags, strings};
use crate::step::Call;
use crate::sync_point::SyncPoint;
use crate::sys::{self, Errno, Fd};

impl Executor<'_> {
    pub(super) fn take_trees(&mut self, trees: SlotRange) -> Outcome {
        let received: [Fd; MAX_FDS] = self.receive(SyncPoint::Opened)?;
        for (slot, tree) in trees.iter().zip(received) {
            self.put(slot, tree)?;
        }
        Ok(())
    }

    pub(super) fn propagation(&mut self, flags: Propagation) -> Outcome {
        self.detail.set_cut(b"/");
        sys::mount_setattr(None, true, 0, 0, flags.0).of(Call::MountSetattr)
    }

    pub(super) fn set_attributes(
        &mut self,
        mount: Slot,
        Attributes(set): Attributes,
        Attributes(clear): Attributes,
        Attributes(unnamed): Attributes,
        Propagation(propagation): Propagation,
        recursive: bool,
    ) -> Outcome {
        let mount = self.fd(mount)?;
        let changed = match sys::mount_setattr(Some(mount), recursive, set, clear | unnamed, propagation) {
            // What nobody asked to be cleared and the kernel keeps (mount_namespaces(7), locked flags) stays.
            Err(Errno::EPERM) if unnamed != 0 => {
                sys::mount_setattr(Some(mount), recursive, set, clear, propagation)
            }
            other => other,
        };
        if changed == Err(Errno::EPERM) && clear != 0 {
            self.detail.set_cut(b"cannot clear locked flags");
        }
        changed.of(Call::MountSetattr)
    }

    pub(super) fn root_attributes(
        &mut self,
        set: Attributes,
        propagation: Propagation,
        recursive: bool,
    ) -> Outcome {
        sys::mount_setattr(Some(self.root), recursive, set.0, 0, propagation.0).of(Call::MountSetattr)
    }

    pub(super) fn enter_tree(&mut self, tree: Slot) -> Outcome {
        self.root = self.fd(tree)?;
        Ok(())
    }

    pub(super) fn attach_root(&mut self, tree: Slot) -> Outcome {
        let tree = self.fd(tree)?;
        match sys::move_mount_to_root(tree) {
            // It lies there already (`attach_root_at`).
            Err(Errno::ELOOP) if self.root == tree => {}
            other => other.of(Call::MoveMount)?,
        }
        self.root = tree;
        Ok(())
    }

    pub(super) fn attach_root_at(&mut self, slot: Slot, path: &CStr) -> Outcome {
        self.detail.set_cut(path.to_bytes());
        let tree = self.fd(slot)?;
        let target = match sys::openat2(sys::WORKING_DIRECTORY, path, sys::O_PATH | sys::O_DIRECTORY, 0, 0) {
            // A directory above is closed to the container's root, and so to the hooks that would look there.
            Err(Errno::EACCES) => return self.attach_root(slot),
            other => other.of(Call::Openat2)?,
        };
        let (wanted, found) = (sys::stat(tree).of(Call::Fstat)?, sys::stat(target).of(Call::Fstat)?);
        if (wanted.device, wanted.inode) != (found.device, found.inode) {
            return Err(Failure { call: Call::Fstat, errno: Errno::EXDEV });
        }
        sys::move_mount(tree, target).of(Call::MoveMount)?;
        sys::close(target);
        self.root = tree;
        Ok(())
    }

    pub(super) fn pivot_root(&mut self) -> Outcome {
        sys::fchdir(self.root).of(Call::Fchdir)?;
        sys::pivot_root_here().of(Call::PivotRoot)?;
        // The old root lies over the new one now; the working directory is still below it.
        sys::unmount_here().of(Call::Umount2)?;
        sys::chdir(c"/").of(Call::Chdir)
    }

    /// Leaves the old root where it is, below the new one, for a host that cannot give it up.
    pub(super) fn move_root(&mut self) -> Outcome {
        sys::fchdir(self.root).of(Call::Fchdir)?;
        sys::chroot_here().of(Call::Chroot)?;
        sys::chdir(c"/").of(Call::Chdir)
    }

    /// Takes every procfs and sysfs out of the namespace, or covers it where it is locked.
    pub(super) fn hide_host_mounts(&mut self, proc: Slot) -> Outcome {
        let resolve = sys::RESOLVE_BENEATH | sys::RESOLVE_NO_XDEV | sys::RESOLVE_NO_MAGICLINKS;
        let table =
            sys::openat2(self.fd(proc)?, c"self/mountinfo", sys::O_RDONLY, 0, resolve).of(Call::Openat2)?;
        let mut covered = 0;
        // Each turn takes one away or covers one, so that it ends; the bound is for a table that somebody
        // else makes longer.
        for _ in 0..4096 {
            let Some(path) = nth_host_mount(table, covered)? else {
                sys::close(table);
                return Ok(());
            };
            self.detail.set_cut(path.as_bytes());
            match sys::unmount(path.as_cstr()) {
                Ok(()) => {}
                Err(Errno::EINVAL | Errno::EPERM) => {
                    sys::cover(path.as_cstr()).of(Call::Mount)?;
                    covered += 1;
                }
                // Below something else that covers it already.
                Err(Errno::ENOENT | Errno::EACCES | Errno::ENOTDIR) => covered += 1,
                Err(errno) => return Err(Failure { call: Call::Umount2, errno }),
            }
        }
        Err(Failure { call: Call::Umount2, errno: Errno::ELOOP })
    }

    pub(super) fn unmount(&mut self, path: &CStr, proc: Slot) -> Outcome {
        self.detail.set_cut(path.to_bytes());
        let resolve = sys::RESOLVE_IN_ROOT | sys::RESOLVE_NO_SYMLINKS | sys::RESOLVE_NO_MAGICLINKS;
        let target = sys::openat2(self.root, path, sys::O_PATH, 0, resolve).of(Call::Openat2)?;
        // umount2(2) takes no fd; what was opened has a name in procfs, which nobody can exchange.
        let name = super::paths::name_in_proc(target).of(Call::Umount2)?;
        sys::fchdir(self.fd(proc)?).of(Call::Fchdir)?;
        sys::unmount_followed(name.as_cstr()).of(Call::Umount2)?;
        sys::close(target);
        Ok(())
    }

    pub(super) fn open_source(&mut self, path: &'static CStr, flags: TreeFlags, slot: Slot) -> Outcome {
        let TreeFlags { recursive, directory, link_itself, unbindable } = flags;
        self.detail.set_cut(path.to_bytes());
        let tree = match sys::open_tree_at(path, recursive, !link_itself) {
            Err(Errno::EINVAL) if unbindable => {
                sys::unshare(sys::CLONE_NEWNS).of(Call::Unshare)?;
                sys::mount_setattr(None, true, 0, 0, sys::MS_SLAVE).of(Call::MountSetattr)?;
                sys::open_tree_at(path, recursive, !link_itself)
            }
            opened => opened,
        }
        .of(Call::OpenTree)?;
        if directory && sys::stat(tree).of(Call::Fstat)?.mode & sys::S_IFMT != sys::S_IFDIR {
            return Err(Failure { call: Call::OpenTree, errno: Errno::ENOTDIR });
        }
        self.put(slot, tree)
    }

    pub(super) fn check_proc(&mut self, mount: Slot) -> Outcome {
        if sys::filesystem(self.fd(mount)?).of(Call::Fstatfs)? == sys::PROC_SUPER_MAGIC {
            return Ok(());
        }
        self.detail.set_cut(b"/proc: not of type proc");
        Err(Failure { call: Call::Fstatfs, errno: Errno::EINVAL })
    }

    pub(super) fn check_device(&mut self, device: Slot, mode: Mode, major: u64, minor: u64) -> Outcome {
        let stat = sys::stat(self.fd(device)?).of(Call::Fstat)?;
        let found = [stat.mode & sys::S_IFMT, stat.rdev_major, stat.rdev_minor].map(u64::from);
        if found == [u64::from(mode.0), major, minor] {
            Ok(())
        } else {
            Err(Failure { call: Call::Fstat, errno: Errno::ENODEV })
        }
    }

    pub(super) fn mount_fs(
        &mut self,
        fstype: &'static CStr,
        source: &'static CStr,
        options: Options<&'static [u8]>,
        attributes: Attributes,
        slot: Slot,
    ) -> Outcome {
        self.detail.set_cut(fstype.to_bytes());
        let context = sys::fsopen(fstype).of(Call::Fsopen)?;
        if !source.is_empty() {
            self.configure(context, sys::fsconfig_string(context, c"source", source))?;
        }
        if let Some(mode) = self.mode.take() {
            self.configure(context, sys::fsconfig_string(context, c"mode", octal(mode).as_cstr()))?;
        }
        self.set_options(context, options)?;
        self.detail.set_cut(fstype.to_bytes());
        self.configure(context, sys::fsconfig_create(context))?;
        let mount = sys::fsmount(context, attributes.0).of(Call::Fsmount)?;
        sys::close(context);
        self.put(slot, mount)
    }

    pub(super) fn target_mode(&mut self, target: Slot) -> Outcome {
        let mode = sys::stat(self.fd(target)?).of(Call::Fstat)?.mode & 0o7777;
        self.mode = if self.target_made { None } else { Some(mode) };
        Ok(())
    }

    fn set_options(&mut self, context: Fd, options: Options<&'static [u8]>) -> Outcome {
        let mut words = strings(options.0);
        while let (Some(key), Some(value)) = (words.next(), words.next()) {
            self.detail.set_cut(key.to_bytes());
            // A path may be what is wrong; other values may be secrets.
            if value.to_bytes().starts_with(b"=/") {
                self.detail.push(value.to_bytes()).ok();
            }
            // The value of a string begins with `=`; a flag has none.
            let string = CStr::from_bytes_with_nul(value.to_bytes_with_nul().get(1..).unwrap_or_default());
            let set = match string {
                Ok(value) => sys::fsconfig_string(context, key, value),
                Err(_) => sys::fsconfig_flag(context, key),
            };
            self.configure(context, set)?;
        }
        Ok(())
    }

    pub(super) fn reconfigure(&mut self, mount: Slot, options: Options<&'static [u8]>) -> Outcome {
        let context = sys::fspick(self.fd(mount)?).of(Call::Fspick)?;
        self.set_options(context, options)?;
        self.configure(context, sys::fsconfig_reconfigure(context))?;
        sys::close(context);
        Ok(())
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
        result.of(Call::Fsconfig)
    }

    pub(super) fn clone_mount(&mut self, from: Slot, slot: Slot) -> Outcome {
        let tree = sys::open_tree(self.fd(from)?, true).of(Call::OpenTree)?;
        self.put(slot, tree)
    }

    pub(super) fn move_mount(&mut self, mount: Slot, target: Slot, keep: bool) -> Outcome {
        sys::move_mount(self.fd(mount)?, self.fd(target)?).of(Call::MoveMount)?;
        if !keep {
            self.close(mount)?;
        }
        self.close(target)
    }

    pub(super) fn open_proc(&mut self, slot: Slot) -> Outcome {
        self.detail.set_cut(b"proc");
        let context = sys::fsopen(c"proc").of(Call::Fsopen)?;
        self.configure(context, sys::fsconfig_create(context))?;
        let attributes = sys::MOUNT_ATTR_NOSUID | sys::MOUNT_ATTR_NODEV | sys::MOUNT_ATTR_NOEXEC;
        let mount = sys::fsmount(context, attributes).of(Call::Fsmount)?;
        sys::close(context);
        if sys::filesystem(mount).of(Call::Fstatfs)? != sys::PROC_SUPER_MAGIC {
            return Err(Failure { call: Call::Fstatfs, errno: Errno::EXDEV });
        }
        self.put(slot, mount)
    }

    pub(super) fn sysctl(&mut self, proc: Slot, path: &'static CStr, value: &'static CStr) -> Outcome {
        self.detail.set_cut(path.to_bytes());
        let resolve = sys::RESOLVE_BENEATH
            | sys::RESOLVE_NO_XDEV
            | sys::RESOLVE_NO_MAGICLINKS
            | sys::RESOLVE_NO_SYMLINKS;
        super::process::write_below(self.fd(proc)?, path, value, resolve)
    }

    pub(super) fn mask_path(
        &mut self,
        base: Option<Slot>,
        path: &'static CStr,
        null: Slot,
        empty: Slot,
    ) -> Outcome {
        self.detail.set_cut(path.to_bytes());
        let Some(target) = self.open_if_there(base, path)? else { return Ok(()) };
        let directory = sys::stat(target).of(Call::Fstat)?.mode & sys::S_IFMT == sys::S_IFDIR;
        let slot = if directory { empty } else { null };
        let cover = self.fd(slot)?;
        if self.attached_covers.contains(&Some(slot)) {
            let copy = sys::open_tree(cover, false).of(Call::OpenTree)?;
            sys::move_mount(copy, target).of(Call::MoveMount)?;
            sys::close(copy);
        } else {
            // The first path gets the cover itself, and the others copies: before Linux 6.15 nothing else can
            // be copied, and closing a mount that is attached nowhere waits for an RCU grace period.
            sys::move_mount(cover, target).of(Call::MoveMount)?;
            if let Some(attached) = self.attached_covers.get_mut(usize::from(directory)) {
                *attached = Some(slot);
            }
        }
        sys::close(target);
        Ok(())
    }

    pub(super) fn readonly_path(&mut self, base: Option<Slot>, path: &'static CStr) -> Outcome {
        self.detail.set_cut(path.to_bytes());
        let Some(target) = self.open_if_there(base, path)? else { return Ok(()) };
        let tree = sys::open_tree(target, true).of(Call::OpenTree)?;
        sys::mount_setattr(Some(tree), true, sys::MOUNT_ATTR_RDONLY, 0, 0).of(Call::MountSetattr)?;
        sys::move_mount(tree, target).of(Call::MoveMount)?;
        sys::close(tree);
        sys::close(target);
        Ok(())
    }

    /// Opens a path that may be missing: the spec's masked and readonly paths are lists for all kernels.
    fn open_if_there(&self, base: Option<Slot>, path: &CStr) -> Outcome<Option<Fd>> {
        let base = base.map_or(Ok(self.root), |base| self.fd(base))?;
        match super::paths::open_in(base, path) {
            Ok(CLOSED) | Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            other => other.of(Call::Openat2).map(Some),
        }
    }
}

/// A mode as `mode=` takes it: four digits.
fn octal(mode: u32) -> Text<8> {
    let mut text = Text::new();
    for shift in [9, 6, 3, 0] {
        let digit = u8::try_from(mode >> shift & 7).unwrap_or(0);
        // Four digits fit.
        text.push(&[b'0' + digit]).ok();
    }
    text
}

/// Returns the mount point of the nth whole procfs or sysfs of the mount table, from the beginning of the
/// file.
fn nth_host_mount(table: Fd, mut skip: usize) -> Outcome<Option<Text<4096>>> {
    sys::rewind(table).of(Call::Read)?;
    let mut line = Text::<8192>::new();
    let mut too_long = false;
    let mut buffer = [0; 4096];
    loop {
        let length = sys::read(table, &mut buffer).of(Call::Read)?;
        if length == 0 {
            return Ok(None);
        }
        for byte in buffer.get(..length).unwrap_or_default() {
            if *byte != b'\n' {
                too_long |= line.push(&[*byte]).is_err();
                continue;
            }
            let found = if too_long { None } else { host_mount(line.as_bytes()) };
            line.clear();
            too_long = false;
            match found {
                Some(path) if skip == 0 => return Ok(Some(path)),
                Some(_) => skip -= 1,
                None => {}
            }
        }
    }
}

/// The mount point of a line of mountinfo if it is a whole procfs or sysfs (proc_pid_mountinfo(5)).
fn host_mount(line: &[u8]) -> Option<Text<4096>> {
    let mut fields = line.split(|byte| *byte == b' ');
    let (root, point) = (fields.nth(3)?, fields.next()?);
    let mut rest = fields.skip_while(|field| *field != b"-");
    let kind = rest.nth(1)?;
    if root != b"/" || !matches!(kind, b"proc" | b"sysfs") {
        return None;
    }
    // Space, tab, newline and backslash are written in octal.
    let mut path = Text::new();
    let mut bytes = point.iter();
    while let Some(byte) = bytes.next() {
        let byte = if *byte == b'\\' {
            bytes
                .by_ref()
                .take(3)
                .fold(0u8, |number, digit| number.wrapping_mul(8).wrapping_add(digit.wrapping_sub(b'0')))
        } else {
            *byte
        };
        path.push(&[byte]).ok()?;
    }
    Some(path)
}
