//! The container's terminal (`process.terminal`).
//!
//! Stage: inside, after the mounts and before `pivot_root(2)`; or in a container that runs. Attacker: owns
//! the rootfs and may have put links or files where `/dev/pts` and `/dev/console` are expected; the terminal
//! comes from a devpts that is checked, its peer from the terminal itself, and the console's target was
//! opened inside the root (CVE-2025-52565).

use core::ffi::CStr;

use super::paths::parent_and_name;
use super::{Executor, Failure, OfCall, Outcome};
use crate::message::Message;
use crate::operand::Slot;
use crate::step::Call;
use crate::sys::{self, Errno, Fd};

/// The device number of the multiplexer, `/dev/ptmx`.
const MULTIPLEXER: (u32, u32) = (5, 2);

impl Executor<'_> {
    pub(super) fn open_terminal(&mut self, path: &'static CStr, master: Slot, peer: Slot) -> Outcome {
        self.detail.set_cut(path.to_bytes());
        let (directory, name) = parent_and_name(path)?;
        let directory = self.open_in_root(directory.as_cstr()).of(Call::Openat2)?;
        check_devpts(directory)?;
        // In a devpts there are terminals alone: opening a device of the attacker's choice might do
        // something.
        let resolve = sys::RESOLVE_BENEATH | sys::RESOLVE_NO_XDEV | sys::RESOLVE_NO_SYMLINKS;
        let terminal =
            sys::openat2(directory, name, sys::O_RDWR | sys::O_NOCTTY, 0, resolve).of(Call::Openat2)?;
        sys::close(directory);
        check_multiplexer(terminal)?;
        sys::unlock_terminal(terminal).of(Call::Ioctl)?;
        let other = sys::terminal_peer(terminal).of(Call::Ioctl)?;
        self.put(master, terminal)?;
        self.put(peer, other)
    }

    pub(super) fn terminal_size(&mut self, master: Slot, rows: u64, columns: u64) -> Outcome {
        let size = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
        sys::set_window_size(self.fd(master)?, size(rows), size(columns)).of(Call::Ioctl)
    }

    pub(super) fn send_console(&mut self, master: Slot) -> Outcome {
        self.tell_with(&Message::Console, self.fd(master)?)?;
        self.close(master)
    }

    pub(super) fn controlling_terminal(&mut self) -> Outcome {
        sys::set_controlling_terminal(Fd(0)).of(Call::Ioctl)
    }

    pub(super) fn terminal_as_stdio(&mut self, peer: Slot) -> Outcome {
        let terminal = self.fd(peer)?;
        for stdio in 0..3 {
            sys::dup_to(terminal, stdio, true).of(Call::Dup3)?;
        }
        self.has_terminal = true;
        self.close(peer)
    }
}

fn check_devpts(fd: Fd) -> Outcome {
    match sys::filesystem(fd).of(Call::Fstatfs)? {
        sys::DEVPTS_SUPER_MAGIC => Ok(()),
        _ => Err(Failure { call: Call::Fstatfs, errno: Errno::ENODEV }),
    }
}

fn check_multiplexer(fd: Fd) -> Outcome {
    let stat = sys::stat(fd).of(Call::Fstat)?;
    let character = stat.mode & sys::S_IFMT == sys::S_IFCHR;
    if character && (stat.rdev_major, stat.rdev_minor) == MULTIPLEXER {
        Ok(())
    } else {
        Err(Failure { call: Call::Fstat, errno: Errno::ENODEV })
    }
}
