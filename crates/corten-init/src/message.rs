//! What init and the runtime say to each other, over one SOCK_SEQPACKET pair: a datagram is a message.
//!
//! ```text
//! init → runtime   Reached(point)   Console + one fd   Cloned + one fd   Listener(fd)   Executing
//!                  Failed{step, call, errno, item, detail}   Warned{call, errno, item, detail}
//! runtime → init   Continue(point)   (at `made` with one fd, at `hooks` with two, at `opened` with some)
//! ```
//!
//! The end of the stream after `Executing` means that execve succeeded (the socket is close-on-exec).
//! `docs/protocol.md` has the diagram. The same messages go over the connection that `start` makes.

use crate::numbered::numbered;
use crate::step::Call;
use crate::sync_point::SyncPoint;

/// The most bytes that a message has.
pub const MAX_MESSAGE: usize = 4096;

/// The most fds that come with a message.
pub const MAX_FDS: usize = 16;

// The numbers are places in this list, and what is new comes at the end: init waits for `start`, which may be
// of a later build.

numbered! {
    /// The kinds of messages.
    enum Kind {
        Reached "Reached", Console "Console", Failed "Failed", Continue "Continue", Cloned "Cloned", Listener "Listener",
        Executing "Executing", Warned "Warned",
    }
}

/// Why bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageError;

impl core::fmt::Display for MessageError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("not a message of this version")
    }
}

impl core::error::Error for MessageError {}

/// A message. See the module's page for who says what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message<'a> {
    /// Init has reached the point and waits.
    Reached(SyncPoint),
    /// The terminal's master comes with this message.
    Console,
    /// A clone of init goes on in init's place; its pidfd comes with this message.
    Cloned,
    /// The filter's listener is this fd of init's (`pidfd_getfd`): after the filter only write(2) is sure to
    /// work.
    Listener {
        /// The fd.
        fd: i32,
    },
    /// Step number `step` failed; init ends.
    Failed {
        /// Index of the step in the program.
        step: u32,
        /// The call that failed.
        call: Call,
        /// Its errno.
        errno: i32,
        /// The config item that the step came from.
        item: &'a [u8],
        /// What the call was about: a path, a word of the kernel.
        detail: &'a [u8],
    },
    /// A call has failed without which init goes on.
    Warned {
        /// The call that failed.
        call: Call,
        /// Its errno.
        errno: i32,
        /// The config item that the step came from, and what has become of it.
        item: &'a [u8],
        /// What the call was about.
        detail: &'a [u8],
    },
    /// Init may pass the point.
    Continue(SyncPoint),
    /// Init executes the program next.
    Executing,
}

const HEAD: usize = 20;

impl<'a> Message<'a> {
    /// Writes the message and returns its length. Strings that do not fit are cut off.
    pub fn encode(&self, out: &mut [u8; MAX_MESSAGE]) -> usize {
        let (kind, a, b, c, item, detail): (Kind, u32, u32, i32, &[u8], &[u8]) = match *self {
            Self::Reached(point) => (Kind::Reached, point.to_number(), 0, 0, &[], &[]),
            Self::Console => (Kind::Console, 0, 0, 0, &[], &[]),
            Self::Failed { step, call, errno, item, detail } => {
                (Kind::Failed, step, call.to_number(), errno, item, detail)
            }
            Self::Continue(point) => (Kind::Continue, point.to_number(), 0, 0, &[], &[]),
            Self::Cloned => (Kind::Cloned, 0, 0, 0, &[], &[]),
            Self::Listener { fd } => (Kind::Listener, 0, 0, fd, &[], &[]),
            Self::Executing => (Kind::Executing, 0, 0, 0, &[], &[]),
            Self::Warned { call, errno, item, detail } => {
                (Kind::Warned, 0, call.to_number(), errno, item, detail)
            }
        };
        let item = item.get(..1024).unwrap_or(item);
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            for (to, from) in out.iter_mut().skip(at).zip(bytes) {
                *to = *from;
            }
            at += bytes.len();
        };
        put(&kind.to_number().to_le_bytes());
        put(&a.to_le_bytes());
        put(&b.to_le_bytes());
        put(&c.to_le_bytes());
        put(&u32::try_from(item.len()).unwrap_or(0).to_le_bytes());
        put(item);
        put(detail.get(..MAX_MESSAGE - HEAD - item.len()).unwrap_or(detail));
        at
    }

    /// Reads a message.
    ///
    /// # Errors
    /// The bytes are none.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>().ok_or(MessageError)?;
        let word = |index: usize| {
            let mut four = [0; 4];
            for (to, from) in four.iter_mut().zip(head.iter().skip(index * 4)) {
                *to = *from;
            }
            u32::from_le_bytes(four)
        };
        let (item, detail) = rest.split_at_checked(word(4) as usize).ok_or(MessageError)?;
        let point = || SyncPoint::from_number(word(1)).ok_or(MessageError);
        let call = || Call::from_number(word(2)).ok_or(MessageError);
        match Kind::from_number(word(0)).ok_or(MessageError)? {
            Kind::Reached => Ok(Self::Reached(point()?)),
            Kind::Console => Ok(Self::Console),
            Kind::Failed => {
                Ok(Self::Failed { step: word(1), call: call()?, errno: word(3).cast_signed(), item, detail })
            }
            Kind::Continue => Ok(Self::Continue(point()?)),
            Kind::Cloned => Ok(Self::Cloned),
            Kind::Listener => Ok(Self::Listener { fd: word(3).cast_signed() }),
            Kind::Executing => Ok(Self::Executing),
            Kind::Warned => Ok(Self::Warned { call: call()?, errno: word(3).cast_signed(), item, detail }),
        }
    }
}
