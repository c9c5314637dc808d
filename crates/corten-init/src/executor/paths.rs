//! Paths inside the root.
//!
//! Attacker: owns the tree and may exchange names while this runs. Every look-up starts at the root's fd with
//! `RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS`, or is one name below a directory's fd without following a link;
//! what was opened is used by fd from then on (CVE-2019-18837, CVE-2021-30465, CVE-2024-45310).

use core::ffi::CStr;

use super::{Executor, Failure, OfCall, Outcome, Text};
use crate::operand::{Mode, Slot, Target};
use crate::step::Call;
use crate::sys::{self, Errno, Fd};

pub(super) const IN_ROOT: u64 = sys::RESOLVE_IN_ROOT | sys::RESOLVE_NO_MAGICLINKS;
const NO_LINKS: u64 = IN_ROOT | sys::RESOLVE_NO_SYMLINKS;
const BELOW: u64 = sys::RESOLVE_BENEATH | sys::RESOLVE_NO_MAGICLINKS | sys::RESOLVE_NO_SYMLINKS;
const DEV: &CStr = c"/dev";
/// Links that lead to nothing, one after the other, that are followed to make what is missing. The kernel's
/// limit is the same.
const LINKS_MAX: u32 = 40;

/// A path split at its last name. The plan has cleaned it: absolute, no `.` or `..`, no doubled or final
/// slash.
fn split(path: &CStr) -> (&[u8], &CStr) {
    let bytes = path.to_bytes_with_nul();
    let at = bytes.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    let name = CStr::from_bytes_with_nul(bytes.get(at + 1..).unwrap_or(b"\0")).unwrap_or(c"");
    (bytes.get(..at.max(1)).unwrap_or(b"/"), name)
}

/// The same, with the directory's path as the kernel takes it.
pub(super) fn parent_and_name(path: &CStr) -> Outcome<(Text<4096>, &CStr)> {
    let (bytes, name) = split(path);
    let mut parent = Text::new();
    parent.push(bytes).of(Call::Openat2)?;
    Ok((parent, name))
}

/// Opens what is at the path below a directory that is taken for the root, `O_PATH`.
pub(super) fn open_in(root: Fd, path: &CStr) -> sys::Result<Fd> {
    sys::openat2(root, path, sys::O_PATH, 0, IN_ROOT)
}

/// The name that an open file has in a procfs, below its root.
pub(super) fn name_in_proc(Fd(file): Fd) -> sys::Result<Text<32>> {
    let mut name = Text::new();
    let mut digits = [0; 10];
    name.push(b"self/fd/")?;
    name.push(decimal(file, &mut digits))?;
    Ok(name)
}

/// Writes a number that is not negative.
pub(super) fn decimal(number: i32, digits: &mut [u8; 10]) -> &[u8] {
    let mut rest = number.unsigned_abs();
    let mut length = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        length += 1;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    digits.get(digits.len() - length..).unwrap_or_default()
}

/// Where something was looked at: a directory, the path below it, and how that is resolved.
pub(super) type Place<'p> = (Fd, &'p CStr, u64);

impl Executor<'_> {
    /// Opens what was looked at, for good: by its name in the procfs of the slot, which leads to the very
    /// file whatever has become of its own. Without a procfs it is looked for once more, and must be the
    /// same.
    pub(super) fn open_seen(
        &self,
        seen: Fd,
        proc: Option<Slot>,
        flags: u64,
        place: Place<'_>,
    ) -> sys::Result<Fd> {
        if let Some(proc) = proc {
            let proc = self.fd(proc).map_err(|failure| failure.errno)?;
            return sys::openat2(proc, name_in_proc(seen)?.as_cstr(), flags, 0, 0);
        }
        let (directory, path, resolve) = place;
        let wanted = sys::stat(seen)?;
        let file = sys::openat2(directory, path, flags, 0, resolve)?;
        match sys::stat(file) {
            Ok(found) if (found.device, found.inode) == (wanted.device, wanted.inode) => Ok(file),
            _ => {
                sys::close(file);
                Err(Errno::EXDEV)
            }
        }
    }

    /// Opens what is at the path in the root, `O_PATH`.
    pub(super) fn open_in_root(&self, path: &CStr) -> sys::Result<Fd> {
        open_in(self.root, path)
    }

    /// Opens the directory at the path in the root, making what is missing of it.
    pub(super) fn open_or_make_directory(&mut self, path: &CStr, mode: u64, resolve: u64) -> Outcome<Fd> {
        self.directory(path, mode, resolve, LINKS_MAX)
    }

    fn directory(&mut self, path: &CStr, mode: u64, resolve: u64, links: u32) -> Outcome<Fd> {
        let flags = sys::O_PATH | sys::O_DIRECTORY;
        match sys::openat2(self.root, path, flags, 0, resolve) {
            Err(Errno::ENOENT) => self.target_made = true,
            other => return other.of(Call::Openat2),
        }
        // Walk down by fd; `walked` is what the fd was reached by, for names that turn out to be links. Most
        // often it is only the last name that is missing.
        let (mut walked, _) = parent_and_name(path)?;
        let mut here = match sys::openat2(self.root, walked.as_cstr(), flags, 0, resolve) {
            Err(Errno::ENOENT) => {
                walked.clear();
                sys::openat2(self.root, c"/", flags, 0, resolve)
            }
            there => there,
        }
        .of(Call::Openat2)?;
        if walked.as_bytes() == b"/" {
            walked.clear();
        }
        let missing = path.to_bytes().get(walked.as_bytes().len()..).unwrap_or_default();
        let mut names = missing.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        while let Some(name) = names.next() {
            let mut single = Text::<256>::new();
            single.push(name).of(Call::Mkdirat)?;
            walked.push(b"/").of(Call::Mkdirat)?;
            walked.push(name).of(Call::Mkdirat)?;
            let is_readonly = match sys::mkdirat(here, single.as_cstr(), mode) {
                Ok(()) | Err(Errno::EEXIST) => false,
                // A read-only filesystem says so before it looks whether the name exists.
                Err(Errno::EROFS) => true,
                Err(errno) => return Err(Failure { call: Call::Mkdirat, errno }),
            };
            let next = match sys::openat2(here, single.as_cstr(), flags, 0, BELOW) {
                // "No such file" would be told of a program, by engines.
                Err(Errno::ENOENT) if is_readonly => {
                    return Err(Failure { call: Call::Mkdirat, errno: Errno::EROFS });
                }
                // A link, or the `..` of one: let the kernel resolve it, inside the root.
                Err(Errno::ELOOP | Errno::EXDEV) if resolve == IN_ROOT => {
                    match sys::openat2(self.root, walked.as_cstr(), flags, 0, IN_ROOT) {
                        // It leads to nothing yet: what it leads to is what is to be made.
                        Err(Errno::ENOENT) if links > 0 => {
                            let mut target = self.link_target(here, single.as_cstr(), walked.as_bytes())?;
                            for name in names {
                                target.push(b"/").and_then(|()| target.push(name)).of(Call::Mkdirat)?;
                            }
                            sys::close(here);
                            return self.directory(target.as_cstr(), mode, resolve, links - 1);
                        }
                        other => other,
                    }
                }
                other => other,
            };
            sys::close(here);
            here = next.of(Call::Openat2)?;
        }
        Ok(here)
    }

    /// Where the link `name` in `directory` leads, as a path from the root. `walked`: the link's own path.
    fn link_target(&self, directory: Fd, name: &CStr, walked: &[u8]) -> Outcome<Text<4096>> {
        let mut target = [0; 4096];
        let length = sys::readlinkat(directory, name, &mut target).of(Call::Readlinkat)?;
        let target = target.get(..length).unwrap_or_default();
        let mut path = Text::new();
        if target.first() != Some(&b'/') {
            let parent = walked.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            path.push(walked.get(..parent).unwrap_or_default()).of(Call::Readlinkat)?;
            path.push(b"/").of(Call::Readlinkat)?;
        }
        path.push(target).of(Call::Readlinkat)?;
        Ok(path)
    }

    /// Opens the directory above the last name of the path, making it if it is missing, and returns the name.
    fn open_parent<'p>(&mut self, path: &'p CStr) -> Outcome<(Fd, &'p CStr)> {
        let (parent, name) = parent_and_name(path)?;
        Ok((self.open_or_make_directory(parent.as_cstr(), 0o755, IN_ROOT)?, name))
    }

    /// The same for what is made one after the other, mostly in `/dev`: the directory stays open until
    /// another one is asked for, or a step comes that may put something else there.
    fn kept_parent(&mut self, path: &'static CStr) -> Outcome<(Fd, &'static CStr)> {
        let (parent, name) = split(path);
        match self.kept_parent {
            Some((kept, fd)) if kept == parent => Ok((fd, name)),
            _ => {
                self.close_kept_parent();
                let (fd, name) = self.open_parent(path)?;
                self.kept_parent = Some((parent, fd));
                Ok((fd, name))
            }
        }
    }

    /// Passes the next steps over unless `/dev` is the container's own. The directory stays open for them.
    pub(super) fn own_dev(&mut self, dev: Option<Slot>, steps: u32) -> Outcome {
        self.detail.set_cut(DEV.to_bytes());
        let directory = self.open_or_make_directory(DEV, 0o755, IN_ROOT)?;
        let found = sys::stat(directory).of(Call::Fstat)?.mount;
        let mut is_own = found == sys::stat(self.root).of(Call::Fstat)?.mount;
        if let Some(dev) = dev {
            is_own |= found == sys::stat(self.fd(dev)?).of(Call::Fstat)?.mount;
        }
        if is_own {
            self.kept_parent = Some((DEV.to_bytes(), directory));
        } else {
            sys::close(directory);
            self.passed_over = steps;
        }
        Ok(())
    }

    /// Closes what [`Self::kept_parent`] has left open.
    pub(super) fn close_kept_parent(&mut self) {
        if let Some((_, fd)) = self.kept_parent.take() {
            sys::close(fd);
        }
    }

    pub(super) fn open_target(
        &mut self,
        path: &'static CStr,
        target: Target,
        in_proc: bool,
        slot: Slot,
    ) -> Outcome {
        self.detail.set_cut(path.to_bytes());
        self.target_made = false;
        let directory = match target {
            Target::Directory | Target::PlainDirectory => true,
            Target::File | Target::Existing => false,
            Target::Like(like) | Target::LinkItself(like) => {
                sys::stat(self.fd(like)?).of(Call::Fstat)?.mode & sys::S_IFMT == sys::S_IFDIR
            }
        };
        let fd = match target {
            Target::PlainDirectory => self.open_or_make_directory(path, 0o755, NO_LINKS)?,
            Target::Existing => self.open_in_root(path).of(Call::Openat2)?,
            Target::LinkItself(_) => {
                let (parent, name) = self.open_parent(path)?;
                match sys::open_name(parent, name, sys::O_PATH, 0) {
                    Ok(there) => there,
                    Err(Errno::ENOENT) if directory => self.open_or_make_directory(path, 0o755, IN_ROOT)?,
                    Err(Errno::ENOENT) => self.open_or_make_file(path, LINKS_MAX)?,
                    Err(errno) => return Err(Failure { call: Call::Openat, errno }),
                }
            }
            _ if directory => self.open_or_make_directory(path, 0o755, IN_ROOT)?,
            _ => self.open_or_make_file(path, LINKS_MAX)?,
        };
        // What was opened as a directory is one.
        let unsure = matches!(target, Target::LinkItself(_)) || !directory && target != Target::Existing;
        if unsure {
            // move_mount(2) would say no more than EINVAL. mount(2) says this, also of a file on a directory,
            // and Docker tells its users what they have mixed up when it reads that.
            let found = sys::stat(fd).of(Call::Fstat)?.mode & sys::S_IFMT == sys::S_IFDIR;
            if found != directory {
                return Err(Failure { call: Call::MoveMount, errno: Errno::ENOTDIR });
            }
        }
        if !in_proc && sys::filesystem(fd).of(Call::Fstatfs)? == sys::PROC_SUPER_MAGIC {
            return Err(Failure { call: Call::Fstatfs, errno: Errno::EPERM });
        }
        self.put(slot, fd)
    }

    fn open_or_make_file(&mut self, path: &CStr, links: u32) -> Outcome<Fd> {
        match self.open_in_root(path) {
            Err(Errno::ENOENT) => {}
            other => return other.of(Call::Openat2),
        }
        let (parent, name) = self.open_parent(path)?;
        let flags = sys::O_CREAT | sys::O_EXCL | sys::O_RDONLY | sys::O_NONBLOCK;
        match sys::open_name(parent, name, flags, 0o644) {
            // A link that leads to nothing yet: what it leads to is what is to be made.
            Err(Errno::EEXIST) if links > 0 => {
                let target = self.link_target(parent, name, path.to_bytes())?;
                sys::close(parent);
                self.open_or_make_file(target.as_cstr(), links - 1)
            }
            other => {
                sys::close(parent);
                other.of(Call::Openat)
            }
        }
    }

    pub(super) fn make_directory(&mut self, path: &'static CStr, mode: Mode) -> Outcome {
        self.detail.set_cut(path.to_bytes());
        let fd = self.open_or_make_directory(path, mode.0.into(), IN_ROOT)?;
        sys::close(fd);
        Ok(())
    }

    pub(super) fn make_node(
        &mut self,
        path: &'static CStr,
        Mode(mode): Mode,
        major: u64,
        minor: u64,
        uid: u32,
        gid: u32,
    ) -> Outcome {
        self.detail.set_cut(path.to_bytes());
        let [major, minor] = [major, minor].map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        let (parent, name) = self.kept_parent(path)?;
        match sys::mknodat(parent, name, mode, major, minor) {
            Ok(()) if (uid, gid) != (0, 0) => {
                // What somebody else has put there meanwhile is not given away.
                let node = sys::open_name(parent, name, sys::O_PATH, 0).of(Call::Openat)?;
                let stat = sys::stat(node).of(Call::Fstat)?;
                if (stat.mode & sys::S_IFMT, stat.rdev_major, stat.rdev_minor)
                    != (mode & sys::S_IFMT, major, minor)
                {
                    return Err(Failure { call: Call::Fstat, errno: Errno::ENODEV });
                }
                sys::chown_name(node, c"", uid, gid).of(Call::Fchownat)?;
                sys::close(node);
            }
            // runc: what the image has under this name stays.
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(Failure { call: Call::Mknodat, errno }),
        }
        Ok(())
    }

    pub(super) fn make_link(&mut self, path: &'static CStr, target: &'static CStr, replace: bool) -> Outcome {
        self.detail.set_cut(path.to_bytes());
        let (parent, name) = self.kept_parent(path)?;
        if replace {
            match sys::unlinkat(parent, name) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(Failure { call: Call::Unlinkat, errno }),
            }
        }
        match sys::symlinkat(target, parent, name) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(Failure { call: Call::Symlinkat, errno }),
        }
        Ok(())
    }

    pub(super) fn copy_link(&mut self, path: &'static CStr, target: &'static CStr) -> Outcome {
        self.detail.set_cut(path.to_bytes());
        let (parent, name) = self.open_parent(path)?;
        let made = match sys::symlinkat(target, parent, name) {
            Err(Errno::EEXIST) => {
                let mut there = [0; 4096];
                let length = sys::readlinkat(parent, name, &mut there).unwrap_or(0);
                let same = there.get(..length) == Some(target.to_bytes());
                if same { Ok(()) } else { Err(Errno::EEXIST) }
            }
            other => other,
        };
        sys::close(parent);
        made.of(Call::Symlinkat)
    }
}
