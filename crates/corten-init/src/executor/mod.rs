//! The executor: walks the program, one step after the other, and becomes the user's process.
//!
//! Stage: inside, from the exec of init to the exec of the user's program.
//! Privilege: that of the runtime, limited by the namespaces; dropped by `User` and `Capabilities`.
//! Attacker: owns the rootfs, maybe runs processes in joined namespaces; does not own the program.
//!
//! A step that fails ends init: the failure is told (step, call, errno, config item, detail) and the runtime,
//! which holds the same plan, makes the sentence.

mod copy;
mod hooks;
mod mounts;
mod namespaces;
mod paths;
mod process;
mod terminal;

use core::ffi::CStr;

use crate::message::{MAX_MESSAGE, Message};
use crate::operand::{Ranges, Slot, Slots, Strings, strings};
use crate::step::{Call, WireStep, step_table};
use crate::sync_point::SyncPoint;
use crate::sys::{self, Errno, Fd};
use crate::wire::Program;

/// Where the socket to the runtime is.
const SYNC: usize = 0;
/// Slots that fit on the stack; more are mapped.
const FEW_SLOTS: usize = 64;
/// An fd that is not there.
const CLOSED: Fd = Fd(-1);

/// A failed step: the call and its errno. What the call was about is in [`Executor::detail`].
#[derive(Debug, Clone, Copy)]
struct Failure {
    call: Call,
    errno: Errno,
}

type Outcome<T = ()> = Result<T, Failure>;

/// The result of a call: names the call of a failure.
trait OfCall<T> {
    fn of(self, call: Call) -> Outcome<T>;
}

impl<T> OfCall<T> for sys::Result<T> {
    fn of(self, call: Call) -> Outcome<T> {
        self.map_err(|errno| Failure { call, errno })
    }
}

/// A string of bounded length that ends with NUL.
#[derive(Debug)]
struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Text<N> {
    const fn new() -> Self {
        Self { bytes: [0; N], length: 0 }
    }

    fn clear(&mut self) {
        self.length = 0;
    }

    /// Appends; what does not fit is an error and leaves the text as it was.
    fn push(&mut self, more: &[u8]) -> Result<(), Errno> {
        let end = self.length + more.len();
        match self.bytes.get_mut(self.length..end) {
            Some(to) if end < N => to.copy_from_slice(more),
            _ => return Err(Errno::ENAMETOOLONG),
        }
        self.length = end;
        if let Some(last) = self.bytes.get_mut(end) {
            *last = 0;
        }
        Ok(())
    }

    /// Replaces by as much of `bytes` as fits.
    fn set_cut(&mut self, bytes: &[u8]) {
        self.clear();
        // It fits by construction.
        self.push(bytes.get(..N - 1).unwrap_or(bytes)).ok();
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn as_cstr(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }
}

/// What init keeps between steps.
#[derive(Debug)]
struct Executor<'s> {
    /// The fds by slot.
    slots: &'s mut [usize],
    /// The root that paths are resolved in.
    root: Fd,
    /// Where failures are told: the runtime's socket, then the connection of `start`.
    report: Fd,
    /// The program that `FindProgram` found.
    program: Text<4096>,
    /// Covers of masked paths that are attached themselves: for files, for directories.
    attached_covers: [Option<Slot>; 2],
    /// Whether the last target's directory was missing.
    target_made: bool,
    /// The mode for the next new filesystem.
    mode: Option<u32>,
    /// Whether the working directory has been entered.
    in_directory: bool,
    /// `HOME=…` from `HomeFromPasswd`.
    home: Text<1024>,
    /// The filter's listener, until the runtime has it.
    listener: Fd,
    /// What the failed call was about.
    detail: Text<1024>,
    /// The kernel has refused the program: the container's output is told of it, too.
    refused: bool,
    /// Stdio is a terminal of the container's.
    has_terminal: bool,
    /// The directory in which nodes and links are being made, one after the other, and its path.
    kept_parent: Option<(&'static [u8], Fd)>,
    /// How many of the next steps are passed over.
    passed_over: u32,
}

/// Ends a start that is no runtime's: somebody in a container ran `/proc/PID/exe`.
pub(crate) fn refuse() -> ! {
    sys::write(Fd(2), b"corten-init: only the runtime starts this program\n").ok();
    sys::exit(1)
}

/// Reads an fd in decimal.
fn fd_of(argument: &CStr) -> Fd {
    let mut number = 0i32;
    for digit in argument.to_bytes() {
        if !digit.is_ascii_digit() {
            refuse();
        }
        number = number.wrapping_mul(10).wrapping_add(i32::from(digit - b'0'));
    }
    Fd(number)
}

/// Runs the program in the fd that the first argument names. The second one names the socket to the runtime.
pub(crate) fn run(program: &CStr, socket: &CStr) -> ! {
    let (file, socket) = (fd_of(program), fd_of(socket));
    let program = match load(file) {
        Ok(program) => program,
        Err(failure) => give_up(socket, failure),
    };
    sys::close(file);
    if let Err(failure) = prepare() {
        give_up(socket, failure);
    }
    let mut few = [0usize; FEW_SLOTS];
    let count = program.slots() as usize;
    let slots = match few.get_mut(..count) {
        Some(slots) => slots,
        None => match sys::map_words(count).of(Call::Mmap) {
            Ok(slots) => slots,
            Err(failure) => give_up(socket, failure),
        },
    };
    for (slot, fd) in slots.iter_mut().zip(program.fds()) {
        *slot = fd.cast_unsigned() as usize;
    }
    Executor::new(slots).walk(&program)
}

/// Maps the program.
fn load(file: Fd) -> Outcome<Program<'static>> {
    let stat = sys::stat(file).of(Call::Fstat)?;
    let bytes = sys::map_file(file, usize::try_from(stat.size).unwrap_or(0)).of(Call::Mmap)?;
    Program::parse(bytes).map_err(|_| Failure { call: Call::Decode, errno: Errno::EPROTO })
}

/// Tells the runtime, if there is one, why there is not even a program.
fn give_up(socket: Fd, failure: Failure) -> ! {
    let Failure { call, errno: Errno(errno) } = failure;
    match tell(socket, &Message::Failed { step: 0, call, errno, item: b"corten-init", detail: b"program" }) {
        Ok(()) => sys::exit(1),
        Err(_) => refuse(),
    }
}

/// Sends a message, by write(2).
fn tell(socket: Fd, message: &Message<'_>) -> sys::Result<()> {
    let mut buffer = [0; MAX_MESSAGE];
    let length = message.encode(&mut buffer);
    sys::write(socket, buffer.get(..length).unwrap_or_default()).map(drop)
}

/// Walks a program that is in memory, with file descriptors of a kernel that is made up.
#[cfg(fuzzing)]
pub(crate) fn walk(program: &Program<'static>, slots: &mut [usize]) -> ! {
    Executor::new(slots).walk(program)
}

/// Makes the process unreachable and its surroundings plain before the first step.
fn prepare() -> Outcome {
    // Until execve nobody may ptrace init or open its /proc files (CVE-2016-9962).
    sys::prctl::set_not_dumpable().of(Call::Prctl)?;
    // By which the runtime tells init from the program.
    sys::set_name(c"corten-init").of(Call::Prctl)?;
    sys::reset_signals();
    // Modes of nodes and directories are meant as given; `Umask` sets the user's mask.
    sys::umask(0);
    Ok(())
}

impl<'s> Executor<'s> {
    fn new(slots: &'s mut [usize]) -> Self {
        let mut this = Self {
            slots,
            root: CLOSED,
            report: CLOSED,
            program: Text::new(),
            attached_covers: [None; 2],
            target_made: false,
            mode: None,
            in_directory: false,
            home: Text::new(),
            listener: CLOSED,
            detail: Text::new(),
            refused: false,
            has_terminal: false,
            kept_parent: None,
            passed_over: 0,
        };
        this.report = this.fd_at(SYNC);
        this
    }

    fn walk(&mut self, program: &Program<'static>) -> ! {
        let mut index = 0;
        for step in program.steps() {
            match step {
                Ok(_) if self.passed_over > 0 => self.passed_over -= 1,
                Ok((item, step)) => {
                    self.detail.clear();
                    if !matches!(step, WireStep::MakeNode { .. } | WireStep::MakeLink { .. }) {
                        self.close_kept_parent();
                    }
                    if let Err(failure) = self.step(step) {
                        self.fail(index, item.to_bytes(), failure);
                    }
                }
                Err(_) => self.fail(index, b"", Failure { call: Call::Decode, errno: Errno::EPROTO }),
            }
            index += 1;
        }
        // A program that does not end with Exec.
        self.fail(index, b"", Failure { call: Call::Decode, errno: Errno::EPROTO })
    }

    fn fail(&self, step: u32, item: &[u8], failure: Failure) -> ! {
        let Failure { call, errno: Errno(errno) } = failure;
        // If nobody listens any more there is nobody to tell.
        self.tell(&Message::Failed { step, call, errno, item, detail: self.detail.as_bytes() }).ok();
        if self.refused {
            // The runtime waits for the end, and nobody may read the container's output for long.
            sys::close(self.report);
            self.tell_container(failure.errno);
            sys::exit(255);
        }
        sys::exit(1)
    }

    // Slots

    fn fd_at(&self, index: usize) -> Fd {
        self.slots.get(index).and_then(|fd| i32::try_from(*fd).ok()).map_or(CLOSED, Fd)
    }

    fn fd(&self, slot: Slot) -> Outcome<Fd> {
        match self.fd_at(usize::from(slot.0)) {
            CLOSED => Err(Failure { call: Call::Slot, errno: Errno::EBADF }),
            fd => Ok(fd),
        }
    }

    fn put(&mut self, slot: Slot, fd: Fd) -> Outcome {
        match self.slots.get_mut(usize::from(slot.0)) {
            Some(place) => {
                *place = fd.0.cast_unsigned() as usize;
                Ok(())
            }
            None => Err(Failure { call: Call::Slot, errno: Errno::EBADF }),
        }
    }

    fn close(&mut self, slot: Slot) -> Outcome {
        sys::close(self.fd(slot)?);
        self.put(slot, CLOSED)
    }

    fn close_files(&mut self, keep: u32, gaps: Ranges<&[u8]>, slots: Slots<&'static [u8]>) -> Outcome {
        const MOST: usize = 8;
        let first = 3 + i32::try_from(keep).unwrap_or(0);
        let kept = || slots.iter().take(MOST);
        // Aside first: the places may be taken by each other, or lie in a gap. Nothing that the program gets
        // is overwritten: it is below.
        let above = first + 1 + i32::try_from(MOST).unwrap_or(0);
        let report = sys::dup_above(self.report, above).of(Call::Dup3)?;
        let mut aside = [CLOSED; MOST];
        for (slot, place) in kept().zip(aside.iter_mut()) {
            *place = sys::dup_above(self.fd(slot)?, above).of(Call::Dup3)?;
        }
        for place in self.slots.iter_mut() {
            *place = usize::MAX;
        }
        sys::dup_to(report, first, false).of(Call::Dup3)?;
        self.report = Fd(first);
        let mut next = first + 1;
        for (slot, fd) in kept().zip(aside) {
            sys::dup_to(fd, next, false).of(Call::Dup3)?;
            self.put(slot, Fd(next))?;
            next += 1;
        }
        sys::close_from(next.cast_unsigned()).of(Call::CloseRange)?;
        for [first, last] in gaps.iter() {
            sys::close_range(first, last).of(Call::CloseRange)?;
        }
        self.root = CLOSED;
        Ok(())
    }

    // Talking to the runtime

    /// Sends a message, by write(2).
    fn tell(&self, message: &Message<'_>) -> sys::Result<()> {
        tell(self.report, message)
    }

    /// Says that the exec comes next, once more if there was no memory for it. A filter may forbid it: then
    /// the runtime looks whether init lives.
    fn announce(&mut self) -> Outcome {
        self.tell(&Message::Executing).or_else(|_| self.tell(&Message::Executing)).ok();
        Ok(())
    }

    fn end(&mut self) -> Outcome {
        self.announce()?;
        sys::exit(0)
    }

    /// Sends a message with an fd.
    fn tell_with(&self, message: &Message<'_>, fd: Fd) -> Outcome {
        let mut buffer = [0; MAX_MESSAGE];
        let length = message.encode(&mut buffer);
        sys::send_fd(self.report, buffer.get(..length).unwrap_or_default(), fd).of(Call::Sendmsg)
    }

    fn sync(&mut self, point: SyncPoint) -> Outcome {
        self.tell(&Message::Reached(point)).of(Call::Write)?;
        self.await_point(point)?;
        if self.listener != CLOSED && matches!(point, SyncPoint::Ready) {
            // The runtime has handed it on. While it is open here, too, calls would wait for an agent that
            // has gone.
            sys::close(self.listener);
            self.listener = CLOSED;
        }
        Ok(())
    }

    /// Waits until the runtime says that init may pass the point.
    fn await_point(&self, point: SyncPoint) -> Outcome {
        if self.hears_continue(point)? {
            Ok(())
        } else {
            // The runtime has gone: what it was about to make is not wanted any more.
            sys::exit(1)
        }
    }

    /// Waits for `Continue(point)`; false if the other end closed instead.
    fn hears_continue(&self, point: SyncPoint) -> Outcome<bool> {
        let mut buffer = [0; MAX_MESSAGE];
        let length = match sys::read(self.report, &mut buffer) {
            // A peer that was killed with our message unread.
            Err(Errno::ECONNRESET) => 0,
            other => other.of(Call::Read)?,
        };
        match Message::decode(buffer.get(..length).unwrap_or_default()) {
            _ if length == 0 => Ok(false),
            Ok(Message::Continue(heard)) if heard == point => Ok(true),
            _ => Err(Failure { call: Call::Read, errno: Errno::EPROTO }),
        }
    }

    /// Waits for `Continue(point)` and the fds that come with it.
    fn receive<const N: usize>(&self, point: SyncPoint) -> Outcome<[Fd; N]> {
        let (mut buffer, mut fds) = ([0; MAX_MESSAGE], [CLOSED; N]);
        let length = match sys::receive_fds(self.report, &mut buffer, &mut fds) {
            // A runtime that was killed with our message unread.
            Err(Errno::ECONNRESET) => 0,
            other => other.of(Call::Recvmsg)?,
        };
        if length == 0 {
            // The runtime has gone, or what it was about to do has failed.
            sys::exit(1);
        }
        match Message::decode(buffer.get(..length).unwrap_or_default()) {
            Ok(Message::Continue(heard)) if heard == point => Ok(fds),
            _ => Err(Failure { call: Call::Recvmsg, errno: Errno::EPROTO }),
        }
    }

    fn wait_for_start(&mut self, listener: Slot) -> Outcome {
        let socket = self.fd(listener)?;
        sys::close(self.report);
        self.report = CLOSED;
        loop {
            self.report = sys::accept(socket).of(Call::Accept4)?;
            // A `start` that was killed before it said go has started nothing: wait for the next.
            if matches!(self.hears_continue(SyncPoint::Start), Ok(true)) {
                return self.close(listener);
            }
            sys::close(self.report);
        }
    }
}

/// Lays out the two arrays that execve(2) takes, each ended by 0: the addresses of the strings of both
/// blocks, and of `home`.
fn exec_arrays(
    arguments: Strings<&'static [u8]>,
    environment: Strings<&'static [u8]>,
    home: Option<&CStr>,
) -> Outcome<(&'static [usize], &'static [usize])> {
    let address = |text: &CStr| text.as_ptr() as usize;
    let (argv, envp) = (strings(arguments.0), strings(environment.0));
    let argument_count = argv.clone().count() + 1;
    let arrays = sys::map_words(argument_count + envp.clone().count() + 2).of(Call::Mmap)?;
    let addresses = argv.map(address).chain([0]).chain(envp.map(address)).chain(home.map(address)).chain([0]);
    for (place, address) in arrays.iter_mut().zip(addresses) {
        *place = address;
    }
    Ok(arrays.split_at_checked(argument_count).unwrap_or((&[0], &[0])))
}

/// The dispatch: a row of the table of steps is a call.
macro_rules! dispatch {
    ($(
        $( #[$doc:meta] )*
        $method:ident: $name:ident { $( $field:ident: $kind:ty $( [$role:ident $( unless $kept:ident )?] )?, )* }
    )*) => {
        impl Executor<'_> {
            fn step(&mut self, step: WireStep<'static>) -> Outcome {
                match step { $( WireStep::$name { $( $field, )* } => self.$method($( $field, )*), )* }
            }
        }
    };
}

step_table!(dispatch);
