//! The process itself: ids, capabilities, working directory, program.
//!
//! Stage: inside, after `pivot_root(2)`. Spec: config.md#process. Attacker: owns the rootfs (its
//! `/etc/passwd`, its programs).

use core::ffi::CStr;

use super::paths::IN_ROOT;
use super::{Executor, Failure, OfCall, Outcome, Text, exec_arrays};
use crate::message::Message;
use crate::operand::{
    CallersGroups, CapabilitySet, Filter, FilterFlags, Ids, Mask, Mode, Resource, SchedulerFlags, Slot,
    Strings,
};
use crate::step::Call;
use crate::sys::{self, Errno, Fd};

fn is_null(stat: &sys::Stat) -> bool {
    const NULL: (u32, u32) = (1, 3);
    stat.mode & sys::S_IFMT == sys::S_IFCHR && (stat.rdev_major, stat.rdev_minor) == NULL
}

/// Whether it is a file with text in it, and none that the kernel makes up while it is read: to read such a
/// file may take from the kernel what is the host's (`/proc/kmsg`), with rights that the container has not.
fn holds_text(file: Fd) -> Outcome<bool> {
    let found = sys::stat(file).of(Call::Fstat)?;
    let is_file = found.mode & sys::S_IFMT == sys::S_IFREG && found.size > 0;
    let of_kernel = |magic| matches!(magic, sys::PROC_SUPER_MAGIC | sys::SYSFS_MAGIC);
    Ok(is_file && !of_kernel(sys::filesystem(file).of(Call::Fstatfs)?))
}

/// Writes a value to a file below a directory, in one write(2): the kernel takes it whole or not at all.
pub(super) fn write_below(directory: Fd, path: &CStr, value: &CStr, resolve: u64) -> Outcome {
    let file = sys::openat2(directory, path, sys::O_WRONLY, 0, resolve).of(Call::Openat2)?;
    let written = sys::write(file, value.to_bytes()).of(Call::Write)?;
    sys::close(file);
    if written == value.count_bytes() {
        Ok(())
    } else {
        Err(Failure { call: Call::Write, errno: Errno::EINVAL })
    }
}

impl Executor<'_> {
    pub(super) fn session_keyring(&mut self, name: &CStr) -> Outcome {
        match sys::join_session_keyring(name) {
            // A kernel without keyrings, or a seccomp filter of an outer container that hides them.
            Err(Errno::ENOSYS | Errno::EPERM) => Ok(()),
            other => sys::let_user_search(other.of(Call::Keyctl)?).of(Call::Keyctl),
        }
    }

    pub(super) fn new_session(&mut self) -> Outcome {
        sys::setsid().of(Call::Setsid)
    }

    pub(super) fn resource_limit(&mut self, resource: Resource, soft: u64, hard: u64) -> Outcome {
        sys::prlimit(resource.0, soft, hard).of(Call::Prlimit64)
    }

    pub(super) fn umask(&mut self, mask: Mode) -> Outcome {
        sys::umask(mask.0.into());
        Ok(())
    }

    pub(super) fn reset_affinity(&mut self) -> Outcome {
        sys::reset_affinity().of(Call::SchedSetaffinity)
    }

    pub(super) fn affinity(&mut self, cpus: Mask<&[u8]>) -> Outcome {
        sys::set_affinity(cpus.0).of(Call::SchedSetaffinity)
    }

    #[expect(clippy::too_many_arguments, reason = "the operands of the step")]
    pub(super) fn scheduler(
        &mut self,
        policy: u32,
        flags: SchedulerFlags,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    ) -> Outcome {
        sys::sched_setattr(policy, flags.0, nice, priority, [runtime, deadline, period])
            .of(Call::SchedSetattr)
    }

    pub(super) fn io_priority(&mut self, value: u64) -> Outcome {
        sys::ioprio_set(value).of(Call::IoprioSet)
    }

    pub(super) fn personality(&mut self, persona: u64) -> Outcome {
        sys::personality(persona).of(Call::Personality)
    }

    pub(super) fn memory_policy(&mut self, mode: u64, nodes: Mask<&[u8]>) -> Outcome {
        sys::set_mempolicy(mode, nodes.0).of(Call::SetMempolicy)
    }

    pub(super) fn bounding_set(&mut self, keep: CapabilitySet) -> Outcome {
        for capability in 0..64 {
            if keep.0 >> capability & 1 == 0 {
                match sys::prctl::drop_bounding(capability) {
                    // Past the kernel's last capability.
                    Err(Errno::EINVAL) => break,
                    other => other.of(Call::Prctl)?,
                }
            }
        }
        Ok(())
    }

    pub(super) fn become_user(
        &mut self,
        uid: u32,
        gid: u32,
        groups: Ids<&[u8]>,
        keep_groups: CallersGroups,
    ) -> Outcome {
        sys::prctl::keep_capabilities(true).of(Call::Prctl)?;
        if keep_groups != CallersGroups::Kept {
            match sys::setgroups(groups.0) {
                Err(Errno::EPERM) if keep_groups == CallersGroups::KeptIfDenied && groups.0.is_empty() => {}
                other => other.of(Call::Setgroups)?,
            }
        }
        sys::setresgid(gid).of(Call::Setresgid)?;
        sys::setresuid(uid).of(Call::Setresuid)?;
        // The change of ids may have made init dumpable again (prctl(2), PR_SET_DUMPABLE).
        sys::prctl::set_not_dumpable().of(Call::Prctl)?;
        sys::prctl::keep_capabilities(false).of(Call::Prctl)
    }

    pub(super) fn capabilities(
        &mut self,
        effective: CapabilitySet,
        permitted: CapabilitySet,
        inheritable: CapabilitySet,
    ) -> Outcome {
        sys::capset(effective.0, permitted.0, inheritable.0).of(Call::Capset)
    }

    pub(super) fn ambient_capabilities(&mut self, set: CapabilitySet) -> Outcome {
        sys::prctl::ambient_clear().of(Call::Prctl)?;
        for capability in 0..64 {
            if set.0 >> capability & 1 == 1 {
                sys::prctl::ambient_raise(capability).of(Call::Prctl)?;
            }
        }
        Ok(())
    }

    pub(super) fn no_new_privileges(&mut self) -> Outcome {
        sys::prctl::set_no_new_privileges().of(Call::Prctl)
    }

    pub(super) fn seccomp(
        &mut self,
        flags: FilterFlags,
        program: Filter<&[u8]>,
        privileged: bool,
        notify: bool,
    ) -> Outcome {
        if privileged {
            sys::raise_effective().of(Call::Capset)?;
        }
        let flags = if notify { flags.0 | sys::SECCOMP_FILTER_FLAG_NEW_LISTENER } else { flags.0 };
        let listener = sys::seccomp_filter(flags, program.0).of(Call::Seccomp)?;
        if notify {
            self.listener = Fd(listener);
            // From here on any call but write(2) may wait for the listener's answer. The runtime takes the fd
            // by its number; it is close-on-exec.
            self.tell(&Message::Listener { fd: listener }).of(Call::Write)?;
        }
        Ok(())
    }

    pub(super) fn write_own(&mut self, proc: Slot, path: &'static CStr, value: &'static CStr) -> Outcome {
        self.detail.set_cut(path.to_bytes());
        let proc = self.fd(proc)?;
        if sys::filesystem(proc).of(Call::Fstatfs)? != sys::PROC_SUPER_MAGIC {
            return Err(Failure { call: Call::Fstatfs, errno: Errno::EXDEV });
        }
        let resolve = sys::RESOLVE_BENEATH | sys::RESOLVE_NO_XDEV | sys::RESOLVE_NO_MAGICLINKS;
        write_below(proc, path, value, resolve)
    }

    pub(super) fn working_directory(&mut self, path: &'static CStr, late: bool) -> Outcome {
        if self.in_directory {
            return Ok(());
        }
        self.detail.set_cut(path.to_bytes());
        match sys::chdir(path) {
            // A directory that only its owner may enter, on a filesystem that does not obey root.
            Err(Errno::EACCES) if !late => return Ok(()),
            other => other.of(Call::Chdir)?,
        }
        let mut buffer = [0; 4096];
        let length = sys::getcwd(&mut buffer).of(Call::Getcwd)?;
        // The kernel writes `(unreachable)` before a directory outside of the root (CVE-2024-21626).
        if length > 0 && buffer.first() == Some(&b'/') {
            self.in_directory = true;
            Ok(())
        } else {
            Err(Failure { call: Call::Getcwd, errno: Errno::EPERM })
        }
    }

    pub(super) fn own_stdio(&mut self, uid: u32, dev: Option<Slot>, proc: Option<Slot>) -> Outcome {
        let mut null = None;
        for fd in (0..3).map(Fd) {
            let Ok(stat) = sys::stat(fd) else { continue };
            if is_null(&stat) {
                if let Some(dev) = dev.filter(|_| null.is_none()) {
                    null = self.open_null(self.fd(dev)?, proc);
                }
                if let Some(null) = null {
                    sys::dup_to(null, fd.0, true).of(Call::Dup3)?;
                }
                // It is everybody's.
                continue;
            }
            // Devices and FIFOs with a name are the host's, but for the container's own terminal: who owned
            // another could read what is typed there. A directory is no stdio.
            let is_kept = match stat.mode & sys::S_IFMT {
                sys::S_IFCHR => !self.has_terminal,
                sys::S_IFIFO => sys::filesystem(fd).of(Call::Fstatfs)? != sys::PIPEFS_MAGIC,
                sys::S_IFBLK | sys::S_IFDIR => true,
                _ => false,
            };
            if stat.uid == uid || is_kept {
                continue;
            }
            match sys::fchown(fd, uid, u32::MAX) {
                // Not ours to give, or a filesystem without owners: the program finds out if it cares. runc
                // does the same.
                Ok(()) | Err(Errno::EINVAL | Errno::EPERM | Errno::EROFS) => {}
                Err(errno) => return Err(Failure { call: Call::Fchown, errno }),
            }
        }
        null.into_iter().for_each(sys::close);
        Ok(())
    }

    /// Opens the null device of `/dev`, which is a mount that init has made, or in the root's own mount;
    /// nothing else that may be in its place, and it is no error if it cannot be opened.
    fn open_null(&self, dev: Fd, proc: Option<Slot>) -> Option<Fd> {
        let place = if dev == self.root {
            (dev, c"dev/null", IN_ROOT | sys::RESOLVE_NO_XDEV)
        } else {
            (dev, c"null", sys::RESOLVE_BENEATH | sys::RESOLVE_NO_SYMLINKS)
        };
        let (directory, path, resolve) = place;
        let seen = sys::openat2(directory, path, sys::O_PATH | sys::O_NOFOLLOW, 0, resolve).ok()?;
        let is_null = sys::stat(seen).is_ok_and(|stat| is_null(&stat));
        let null = is_null.then(|| self.open_seen(seen, proc, sys::O_RDWR | sys::O_NOCTTY, place).ok());
        sys::close(seen);
        null.flatten()
    }

    pub(super) fn home_from_passwd(&mut self, uid: u32, proc: Option<Slot>) -> Outcome {
        self.home.clear();
        self.home.push(b"HOME=/").of(Call::Openat2)?;
        self.detail.set_cut(b"/etc/passwd");
        match self.look_up_home(uid, proc) {
            // No file, or a link that leads to none: the home is `/`.
            Err(Failure { errno: Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP, .. }) => Ok(()),
            // As with runc the container is made, and somebody hears of it.
            Err(Failure { call, errno: Errno(errno) }) => {
                let warned = Message::Warned {
                    call,
                    errno,
                    item: b"process.env: HOME=/",
                    detail: self.detail.as_bytes(),
                };
                self.tell(&warned).ok();
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Takes the home directory from the user's line, if there is one in a file that holds text.
    fn look_up_home(&mut self, uid: u32, proc: Option<Slot>) -> Outcome {
        let seen = self.open_in_root(c"/etc/passwd").of(Call::Openat2)?;
        if !holds_text(seen)? {
            sys::close(seen);
            return Ok(());
        }
        let flags = sys::O_RDONLY | sys::O_NOCTTY | sys::O_NONBLOCK;
        let file =
            self.open_seen(seen, proc, flags, (self.root, c"/etc/passwd", IN_ROOT)).of(Call::Openat2)?;
        sys::close(seen);
        let mut line = Text::<1024>::new();
        let mut too_long = false;
        let mut buffer = [0; 4096];
        // The end is also a bound: 4 MiB of passwd.
        'file: for _ in 0..1024 {
            let length = sys::read(file, &mut buffer).of(Call::Read)?;
            for byte in buffer.get(..length).unwrap_or_default() {
                if *byte != b'\n' {
                    too_long |= line.push(&[*byte]).is_err();
                } else {
                    if !too_long && self.take_home(line.as_bytes(), uid) {
                        break 'file;
                    }
                    line.clear();
                    too_long = false;
                }
            }
            if length == 0 {
                self.take_home(line.as_bytes(), uid);
                break;
            }
        }
        sys::close(file);
        Ok(())
    }

    /// `HOME=…`, if it was looked for.
    pub(super) fn home(&self) -> Option<&CStr> {
        (self.home.length > 0).then(|| self.home.as_cstr())
    }

    /// Takes the home directory from a line of passwd if it is the user's.
    fn take_home(&mut self, line: &[u8], uid: u32) -> bool {
        let mut fields = line.split(|byte| *byte == b':');
        let decimal = |digits: &[u8]| {
            digits.iter().try_fold(0u64, |number, digit| {
                digit.is_ascii_digit().then(|| number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
            })
        };
        let (id, home) = (fields.nth(2), fields.nth(2));
        let (Some(id), Some(home)) = (id, home) else { return false };
        if id.is_empty() || decimal(id) != Some(uid.into()) {
            return false;
        }
        if home.is_empty() || home.contains(&0) {
            return true;
        }
        self.home.clear();
        // A home too long for the buffer falls back to `/`.
        if self.home.push(b"HOME=").and_then(|()| self.home.push(home)).is_err() {
            self.home.set_cut(b"HOME=/");
        }
        true
    }

    pub(super) fn find_program(&mut self, name: &'static CStr, search: &'static CStr) -> Outcome {
        self.detail.set_cut(name.to_bytes());
        let found = if name.to_bytes().contains(&b'/') {
            self.try_program(b"", name.to_bytes())
        } else {
            // No list is no place to search, not the working directory; an empty entry of a list is
            // (execvp(3)).
            let search = Some(search.to_bytes()).filter(|search| !search.is_empty());
            let mut directories = search.into_iter().flat_map(|search| search.split(|byte| *byte == b':'));
            // Like Go's LookPath, which is runc's: whatever is wrong with a candidate, the search goes on,
            // and in the end there is no such program.
            if directories.any(|directory| self.try_program(directory, name.to_bytes()).is_ok()) {
                Ok(())
            } else {
                Err(Errno::ENOENT)
            }
        };
        found.of(Call::FindProgram)
    }

    /// Takes `directory/name` as the program if it is a file that may be executed.
    fn try_program(&mut self, directory: &[u8], name: &[u8]) -> sys::Result<()> {
        self.program.clear();
        if !name.contains(&b'/') {
            self.program.push(if directory.is_empty() { b"." } else { directory })?;
            self.program.push(b"/")?;
        }
        self.program.push(name)?;
        let path = self.program.as_cstr();
        if sys::stat_path(path)?.mode & sys::S_IFMT == sys::S_IFDIR {
            return Err(Errno::EISDIR);
        }
        sys::may_execute(path)
    }

    pub(super) fn exec(
        &mut self,
        arguments: Strings<&'static [u8]>,
        environment: Strings<&'static [u8]>,
    ) -> Outcome {
        let (argv, envp) = exec_arrays(arguments, environment, self.home())?;
        self.detail.set_cut(self.program.as_bytes());
        // SAFETY: the addresses are those of strings that end with NUL, of the mapped program and of `home`;
        // both arrays end with 0.
        let errno = unsafe { sys::execve(self.program.as_cstr(), argv, envp) };
        self.refused = true;
        Err(Failure { call: Call::Execve, errno })
    }

    /// Says on stderr, which is the container's by now, why there is no program: the container has started.
    /// runc's words.
    pub(super) fn tell_container(&self, errno: Errno) {
        let mut line = Text::<4400>::new();
        let reason = errno.reason();
        let parts = [b"exec ", self.program.as_bytes(), b": ", reason.as_bytes(), b"\n"];
        // Fits by construction; a container without stderr is not told.
        parts.into_iter().try_for_each(|part| line.push(part)).ok();
        sys::write(Fd(2), line.as_bytes()).ok();
    }
}
