//! Namespaces beyond those that the runtime's clone makes.
//!
//! Stage: inside, first of all. Spec: config-linux.md#namespaces. Attacker: processes in joined namespaces,
//! which init enters as a process that is not dumpable and holds no fd but the runtime's.

use core::ffi::CStr;

use super::paths::decimal;
use super::{Executor, Failure, OfCall, Outcome};
use crate::message::Message;
use crate::operand::{CallersGroups, Namespaces, Slot};
use crate::step::Call;
use crate::sync_point::SyncPoint;
use crate::sys::{self, Errno, Fd};

impl Executor<'_> {
    pub(super) fn unshare_cgroup(&mut self) -> Outcome {
        sys::unshare(sys::CLONE_NEWCGROUP).of(Call::Unshare)
    }

    pub(super) fn unshare(&mut self, flags: Namespaces) -> Outcome {
        sys::unshare(flags.0).of(Call::Unshare)
    }

    pub(super) fn join(&mut self, namespace: Slot, kind: Namespaces) -> Outcome {
        sys::setns(self.fd(namespace)?, kind.0).of(Call::Setns)?;
        self.close(namespace)
    }

    pub(super) fn take_network(&mut self, slot: Slot) -> Outcome {
        let [namespace] = self.receive(SyncPoint::Made)?;
        self.put(slot, namespace)
    }

    /// Changes the mount namespace for a while; the working directory becomes its root.
    pub(super) fn visit(&mut self, namespace: Slot) -> Outcome {
        sys::setns(self.fd(namespace)?, sys::CLONE_NEWNS).of(Call::Setns)
    }

    pub(super) fn own_mounts(&mut self, slot: Slot) -> Outcome {
        let own = sys::own_pidfd().of(Call::PidfdOpen)?;
        let namespace = sys::mount_namespace(own).of(Call::Ioctl)?;
        sys::close(own);
        self.put(slot, namespace)
    }

    pub(super) fn find_root(&mut self) -> Outcome {
        let flags = sys::O_PATH | sys::O_DIRECTORY;
        self.root = sys::openat2(sys::WORKING_DIRECTORY, c"/", flags, 0, 0).of(Call::Openat2)?;
        Ok(())
    }

    /// Goes on in a clone: a PID namespace, a time namespace and a user namespace together with others are
    /// for new processes. `cgroup`: what it is to be in.
    ///
    /// It is the first process that tells the runtime of the clone, whose own getpid(2) is that of another
    /// namespace, and which may be frozen or killed from the beginning. The clone waits for it, so that its
    /// own messages come later, and ends if it has not been told of.
    fn go_on_in_clone(&mut self, flags: Namespaces, cgroup: Option<Fd>) -> Outcome {
        let [told, tell] = sys::pipe().of(Call::Pipe2)?;
        let made = if flags == Namespaces::NONE && cgroup.is_none() {
            sys::clone_plain_sibling().of(Call::Clone)?
        } else {
            sys::clone_sibling(flags.0, cgroup).of(Call::Clone3)?
        };
        if let Some((pid, clone)) = made {
            let is_told =
                self.tell_with(&Message::Cloned, clone).and_then(|()| sys::write(tell, &[1]).of(Call::Write));
            let Err(failure) = is_told else { sys::exit(0) };
            // The runtime, whose child it is, reaps it.
            sys::kill(clone).ok();
            self.detail.set_cut(b"clone ");
            self.detail.push(decimal(pid, &mut [0; 10])).ok();
            return Err(failure);
        }
        sys::close(tell);
        if sys::read(told, &mut [0]).of(Call::Read)? == 0 {
            sys::exit(1);
        }
        sys::close(told);
        Ok(())
    }

    pub(super) fn clone_again(&mut self, flags: Namespaces) -> Outcome {
        self.go_on_in_clone(flags, None)
    }

    pub(super) fn clone_into(&mut self, cgroup: Slot) -> Outcome {
        let directory = self.fd(cgroup)?;
        self.go_on_in_clone(Namespaces::NONE, Some(directory))?;
        self.close(cgroup)
    }

    pub(super) fn dumpable(&mut self, on: bool) -> Outcome {
        let change = if on { sys::prctl::set_dumpable() } else { sys::prctl::set_not_dumpable() };
        change.of(Call::Prctl)
    }

    /// Becomes root, or these where the namespace has no root. Only the kernel knows what is mapped in a
    /// joined one.
    pub(super) fn namespace_root(&mut self, uid: u32, gid: u32, keep_groups: CallersGroups) -> Outcome {
        match sys::setresgid(0) {
            Err(Errno::EINVAL) => sys::setresgid(gid).of(Call::Setresgid)?,
            other => other.of(Call::Setresgid)?,
        }
        match sys::setresuid(0) {
            Err(Errno::EINVAL) => sys::setresuid(uid).of(Call::Setresuid)?,
            other => other.of(Call::Setresuid)?,
        }
        // The groups of whoever called the runtime; a namespace that denies the change keeps them, and so
        // does the runtime's user.
        if keep_groups != CallersGroups::Kept {
            match sys::setgroups(&[]) {
                Ok(()) | Err(Errno::EPERM) => {}
                Err(errno) => return Err(Failure { call: Call::Setgroups, errno }),
            }
        }
        sys::prctl::set_not_dumpable().of(Call::Prctl)
    }

    pub(super) fn loopback(&mut self) -> Outcome {
        sys::loopback_up().of(Call::Ioctl)
    }

    pub(super) fn hostname(&mut self, name: &CStr) -> Outcome {
        sys::sethostname(name.to_bytes()).of(Call::Sethostname)
    }

    pub(super) fn domainname(&mut self, name: &CStr) -> Outcome {
        sys::setdomainname(name.to_bytes()).of(Call::Setdomainname)
    }
}
