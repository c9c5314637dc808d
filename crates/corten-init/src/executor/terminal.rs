//! The container's terminal (`process.terminal`).
//!
//! Stage: inside, after the mounts and before `pivot_root(2)`. Attacker: owns the rootfs and may have put links or files where
//! `/dev/pts` and `/dev/console` are expected; the terminal comes from a devpts that is checked, its peer from the terminal
//! itself, and the console's target was opened inside the root (CVE-2025-52565).

use core::ffi::CStr;

use super::{Executor, Failure, From, Outcome};
use crate::message::{Call, Message};
use crate::step::Slot;
use crate::sys::{self, Errno};

/// The device number of the multiplexer, `/dev/ptmx`.
const MULTIPLEXER: (u32, u32) = (5, 2);

impl Executor<'_> {
    pub(super) fn open_terminal(&mut self, path: &'static CStr, master: Slot, peer: Slot) -> Outcome {
        self.detail.set_cut(path.to_bytes());
        let resolve = sys::RESOLVE_IN_ROOT | sys::RESOLVE_NO_MAGICLINKS;
        // Look before opening: opening a device of the attacker's choice may do something.
        let seen = sys::openat2(self.root, path, sys::O_PATH, 0, resolve).from(Call::Openat2)?;
        self.check_multiplexer(seen)?;
        sys::close(seen);
        let terminal = sys::openat2(self.root, path, sys::O_RDWR | sys::O_NOCTTY, 0, resolve).from(Call::Openat2)?;
        self.check_multiplexer(terminal)?;
        sys::unlock_terminal(terminal).from(Call::Ioctl)?;
        let other = sys::terminal_peer(terminal).from(Call::Ioctl)?;
        self.put(master, terminal)?;
        self.put(peer, other)
    }

    fn check_multiplexer(&self, fd: sys::Fd) -> Outcome {
        let stat = sys::stat(fd).from(Call::Fstat)?;
        let devpts = sys::filesystem(fd).from(Call::Fstatfs)? == sys::DEVPTS_SUPER_MAGIC;
        let character = stat.mode & sys::S_IFMT == sys::S_IFCHR;
        if devpts && character && (stat.rdev_major, stat.rdev_minor) == MULTIPLEXER {
            Ok(())
        } else {
            Err(Failure { call: Call::Fstat, errno: Errno::ENODEV })
        }
    }

    pub(super) fn terminal_size(&mut self, master: Slot, rows: u64, columns: u64) -> Outcome {
        let size = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
        sys::set_window_size(self.fd(master)?, size(rows), size(columns)).from(Call::Ioctl)
    }

    pub(super) fn send_console(&mut self, master: Slot) -> Outcome {
        self.tell_with(&Message::Console, self.fd(master)?)?;
        self.close(master)
    }

    pub(super) fn controlling_terminal(&mut self, peer: Slot) -> Outcome {
        let terminal = self.fd(peer)?;
        for stdio in 0..3 {
            sys::dup_to(terminal, stdio, true).from(Call::Dup3)?;
        }
        self.close(peer)?;
        sys::set_controlling_terminal(sys::Fd(0)).from(Call::Ioctl)
    }
}
