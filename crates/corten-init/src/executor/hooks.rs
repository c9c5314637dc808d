//! Hooks in the container's namespaces (`createContainer`, `startContainer`).
//!
//! Stage: inside; createContainer before `pivot_root(2)`, with paths of the runtime's namespace,
//! startContainer right before the exec, with paths of the container. Spec: config.md#posix-platform-hooks.
//! Attacker: startContainer hooks are programs of the rootfs: they get the state and nothing else, and run
//! with what the container's process will have.

use core::ffi::CStr;
use core::sync::atomic::Ordering;

use super::{CLOSED, Executor, Failure, OfCall, Outcome, exec_arrays};
use crate::message::Message;
use crate::operand::{Slot, Strings};
use crate::step::Call;
use crate::sync_point::SyncPoint;
use crate::sys::{self, Ended, Errno, Fd};

/// The part of a hook's output that an error can show.
const OUTPUT_SHOWN: usize = 256;

impl Executor<'_> {
    /// Waits while the runtime runs its hooks; takes the state for those that init runs.
    pub(super) fn await_hooks(&mut self, creating: Slot, created: Slot) -> Outcome {
        self.tell(&Message::Reached(SyncPoint::Hooks)).of(Call::Write)?;
        let [first, second] = self.receive(SyncPoint::Hooks)?;
        self.put(creating, first)?;
        self.put(created, second)?;
        // runc: createContainer hooks begin in the root filesystem, where `pivot_root` goes, too.
        sys::fchdir(self.root).of(Call::Fchdir)
    }

    #[expect(clippy::too_many_arguments, reason = "the operands of the step")]
    pub(super) fn run_hook(
        &mut self,
        path: &'static CStr,
        arguments: Strings<&'static [u8]>,
        environment: Strings<&'static [u8]>,
        home: bool,
        timeout: u64,
        state: Slot,
        stdout: Option<Slot>,
        stderr: Option<Slot>,
    ) -> Outcome {
        self.detail.set_cut(path.to_bytes());
        let state = self.fd(state)?;
        sys::rewind(state).of(Call::Hook)?;
        let output = |slot: Option<Slot>| match slot {
            Some(slot) => self.fd(slot),
            None => sys::memfd(c"hook-output").of(Call::MemfdCreate),
        };
        let (out, err) = (output(stdout)?, output(stderr)?);
        // What execve failed with, if it did.
        let refused = sys::shared_word().of(Call::Mmap)?;
        let (argv, envp) = exec_arrays(arguments, environment, self.home().filter(|_| home))?;
        let Some(child) = sys::fork().of(Call::Hook)? else {
            let errno = exec_hook(path, [argv, envp], [state, out, err]);
            refused.store(errno.0, Ordering::Release);
            sys::exit(127);
        };
        let ended = match sys::wait_child(child, timeout).of(Call::Hook)? {
            Some(ended) => ended,
            None => {
                sys::kill(child).of(Call::Hook)?;
                sys::wait_child(child, 0).of(Call::Hook)?;
                self.detail.clear();
                self.push_number(timeout);
                return Err(Failure { call: Call::HookTimeout, errno: Errno::ETIMEDOUT });
            }
        };
        sys::close(child);
        match refused.load(Ordering::Acquire) {
            0 => {}
            errno => return Err(Failure { call: Call::Execve, errno: Errno(errno) }),
        }
        let result = self.hook_result(ended, [(out, stdout), (err, stderr)]);
        for (fd, slot) in [(out, stdout), (err, stderr)] {
            if slot.is_none() {
                sys::close(fd);
            }
        }
        result
    }

    /// Makes the failure of a hook that did not exit with 0: how it ended, and the head of what it wrote.
    fn hook_result(&mut self, ended: Ended, outputs: [(Fd, Option<Slot>); 2]) -> Outcome {
        let (how, number) = match ended {
            Ended::Exited(0) => return Ok(()),
            Ended::Exited(status) => (&b"exit status "[..], status),
            Ended::Killed(signal) => (&b"signal "[..], signal),
        };
        self.detail.set_cut(how);
        self.push_number(u64::try_from(number).unwrap_or(0));
        for ((fd, slot), name) in outputs.into_iter().zip([&b", stdout: "[..], b", stderr: "]) {
            let mut shown = [0; OUTPUT_SHOWN];
            let length = if slot.is_none() && sys::rewind(fd).is_ok() {
                sys::read(fd, &mut shown).unwrap_or(0)
            } else {
                0
            };
            let said = shown.get(..length).unwrap_or_default();
            let said = said.strip_suffix(b"\n").unwrap_or(said);
            // Bounded by construction: two outputs of 256 bytes.
            self.detail.push(name).and_then(|()| self.detail.push(said)).ok();
        }
        Err(Failure { call: Call::Hook, errno: Errno::EIO })
    }

    fn push_number(&mut self, number: u64) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = number;
        loop {
            at -= 1;
            if let Some(digit) = digits.get_mut(at) {
                *digit = b'0' + (rest % 10) as u8;
            }
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        // 20 digits fit.
        self.detail.push(digits.get(at..).unwrap_or_default()).ok();
    }
}

/// In the child: stdio, no other fd, exec. Returns why it could not.
fn exec_hook(path: &CStr, arrays: [&[usize]; 2], stdio: [Fd; 3]) -> Errno {
    // Aside first: one of them may have the number of another's place.
    let mut aside = [CLOSED; 3];
    for (place, fd) in aside.iter_mut().zip(stdio) {
        match sys::dup_above(fd, 3) {
            Ok(copy) => *place = copy,
            Err(errno) => return errno,
        }
    }
    for (fd, to) in aside.into_iter().zip(0..) {
        if let Err(errno) = sys::dup_to(fd, to, true) {
            return errno;
        }
    }
    if let Err(errno) = sys::close_from(3) {
        return errno;
    }
    let [argv, envp] = arrays;
    // SAFETY: the addresses are those of strings that end with NUL, of the mapped program and of `home`; both
    // arrays end with 0.
    unsafe { sys::execve(path, argv, envp) }
}
