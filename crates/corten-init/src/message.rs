//! What init and the runtime say to each other, over one SOCK_SEQPACKET pair: a datagram is a message.
//!
//! ```text
//! init → runtime   Reached(point)   Console + one fd   Cloned + one fd   Listener(fd)   Executing   Failed{step, call, errno, item, detail}
//!                  Warned{call, errno, item, detail}
//! runtime → init   Continue(point)   (at `made` with one fd, at `hooks` with two, at `opened` with some)
//! ```
//!
//! The end of the stream after `Executing` means that execve succeeded (the socket is close-on-exec). `docs/protocol.md` has
//! the diagram. The same messages go over the connection that `start` makes.

/// The most bytes that a message has.
pub const MAX_MESSAGE: usize = 4096;

/// The most fds that come with a message.
pub const MAX_FDS: usize = 16;

/// Places where init waits for the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SyncPoint {
    /// Init has done nothing yet: the runtime moves it into its cgroups.
    Cgroup,
    /// Init is in a new user namespace: the runtime writes the id maps.
    Mapped,
    /// The runtime hands over the network namespace that it has made. Init does not say that it waits.
    Made,
    /// Init is in its network namespace: the runtime moves network devices there.
    Network,
    /// The runtime hands over trees that it has opened after the clone. Init does not say that it waits.
    Opened,
    /// The mounts are made and the root is not entered yet: the runtime runs its hooks, and hands over the state for init's.
    Hooks,
    /// Init is about to open files of the container's root: the runtime has attached the device filter. Init says that it waits only
    /// where the filter may not be attached before.
    Devices,
    /// Everything is set up but the wait for start and the exec: the runtime finishes cgroup and state.
    Ready,
    /// `start` says go.
    Start,
}

impl SyncPoint {
    /// All points, in the order in which a container passes them.
    pub const ALL: [Self; 9] = [
        Self::Cgroup,
        Self::Mapped,
        Self::Made,
        Self::Network,
        Self::Opened,
        Self::Hooks,
        Self::Devices,
        Self::Ready,
        Self::Start,
    ];

    /// Returns the wire form.
    pub const fn to_number(self) -> u32 {
        match self {
            Self::Ready => 1,
            Self::Start => 2,
            Self::Mapped => 3,
            Self::Hooks => 4,
            Self::Network => 5,
            Self::Cgroup => 6,
            Self::Made => 7,
            Self::Devices => 8,
            Self::Opened => 9,
        }
    }

    /// Reads the wire form.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|point| point.to_number() == number)
    }

    /// Returns the name used in plans and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Start => "start",
            Self::Mapped => "mapped",
            Self::Hooks => "hooks",
            Self::Network => "network",
            Self::Cgroup => "cgroup",
            Self::Made => "made",
            Self::Devices => "devices",
            Self::Opened => "opened",
        }
    }
}

macro_rules! calls {
    ($( $number:literal $name:ident $text:literal, )*) => {
        /// The kernel call that failed inside.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "each variant is the call of its name")]
        #[non_exhaustive]
        pub enum Call { $( $name, )* }

        impl Call {
            /// Returns the wire form.
            pub const fn to_number(self) -> u32 {
                match self { $( Self::$name => $number, )* }
            }

            /// Reads the wire form.
            pub const fn from_number(number: u32) -> Option<Self> {
                match number { $( $number => Some(Self::$name), )* _ => None }
            }

            /// Returns the call's name as in its man page.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$name => $text, )* }
            }
        }
    };
}

calls! {
    1 Decode "reading the program", 2 Unshare "unshare", 3 Keyctl "keyctl", 4 Setsid "setsid", 5 MountSetattr "mount_setattr",
    6 MoveMount "move_mount", 7 Openat2 "openat2", 8 Mkdirat "mkdirat", 9 Fsopen "fsopen", 10 Fsconfig "fsconfig",
    11 Fsmount "fsmount", 12 Mknodat "mknodat", 13 Fchownat "fchownat", 14 Symlinkat "symlinkat", 15 Ioctl "ioctl",
    16 Sendmsg "sendmsg", 17 Read "read", 18 OpenTree "open_tree", 19 Dup3 "dup3", 20 Fchdir "fchdir",
    21 PivotRoot "pivot_root", 22 Umount2 "umount2", 23 Chdir "chdir", 24 Sethostname "sethostname",
    25 Setdomainname "setdomainname", 26 Fstatfs "fstatfs", 27 Write "write", 28 Fstat "fstat", 29 Prlimit64 "prlimit64",
    30 Prctl "prctl", 31 Seccomp "seccomp", 32 Setgroups "setgroups", 33 Setresgid "setresgid", 34 Setresuid "setresuid",
    35 Capset "capset", 36 Getcwd "getcwd", 37 Accept4 "accept4", 38 CloseRange "close_range", 39 Execve "execve",
    40 FindProgram "looking for the program", 41 Mmap "mmap", 42 Unlinkat "unlinkat", 43 Openat "openat", 44 Slot "slot",
    45 Fchown "fchown", 46 Sigaction "rt_sigaction",
    47 Setns "setns", 48 Clone3 "clone3", 49 PidfdOpen "pidfd_open", 50 SchedSetattr "sched_setattr", 51 IoprioSet "ioprio_set",
    52 Personality "personality", 53 SetMempolicy "set_mempolicy", 54 Chroot "chroot", 55 Hook "running the hook",
    56 Fspick "fspick", 57 Getdents64 "getdents64", 58 Readlinkat "readlinkat", 59 Fchmod "fchmod", 60 MemfdCreate "memfd_create",
    61 Recvmsg "recvmsg", 62 SchedSetaffinity "sched_setaffinity", 63 HookTimeout "waiting for the hook", 64 Mount "mount",
    65 Utimensat "utimensat", 66 Pipe2 "pipe2",
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
    /// The filter's listener is this fd of init's (`pidfd_getfd`): after the filter only write(2) is sure to work.
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
        let (kind, a, b, c, item, detail): (u32, u32, u32, i32, &[u8], &[u8]) = match *self {
            Self::Reached(point) => (1, point.to_number(), 0, 0, &[], &[]),
            Self::Console => (2, 0, 0, 0, &[], &[]),
            Self::Failed { step, call, errno, item, detail } => (3, step, call.to_number(), errno, item, detail),
            Self::Continue(point) => (4, point.to_number(), 0, 0, &[], &[]),
            Self::Cloned => (5, 0, 0, 0, &[], &[]),
            Self::Listener { fd } => (6, 0, 0, fd, &[], &[]),
            Self::Executing => (7, 0, 0, 0, &[], &[]),
            Self::Warned { call, errno, item, detail } => (8, 0, call.to_number(), errno, item, detail),
        };
        let item = item.get(..1024).unwrap_or(item);
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            for (to, from) in out.iter_mut().skip(at).zip(bytes) {
                *to = *from;
            }
            at += bytes.len();
        };
        put(&kind.to_le_bytes());
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
        match word(0) {
            1 => Ok(Self::Reached(point()?)),
            2 => Ok(Self::Console),
            3 => Ok(Self::Failed { step: word(1), call: call()?, errno: word(3).cast_signed(), item, detail }),
            4 => Ok(Self::Continue(point()?)),
            5 => Ok(Self::Cloned),
            6 => Ok(Self::Listener { fd: word(3).cast_signed() }),
            7 => Ok(Self::Executing),
            8 => Ok(Self::Warned { call: call()?, errno: word(3).cast_signed(), item, detail }),
            _ => Err(MessageError),
        }
    }
}
