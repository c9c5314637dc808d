//! Where the program begins.
//!
//! std's own main maps an alternate signal stack first, and one more in every thread, for a handler that says
//! that a stack has overflowed; where there is no memory for it, it panics before there is anybody to tell.
//! Without it an overflow ends the program all the same. What else std does there is done here: stdio is
//! open, and a reader that has gone away is an error of write(2) and not the end.

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::panic::catch_unwind;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::stat::Mode;

use crate::Failure;
use crate::log::Log;

/// What std ends a program with that has panicked.
const PANICKED: c_int = 101;

/// Called by libc, as the C standard wants.
///
/// # Safety
/// `arguments` must be as many strings as `count` says, each ended by NUL.
#[unsafe(no_mangle)]
unsafe extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    // SAFETY: libc passes as many pointers as it says, which stay where they are.
    let arguments = unsafe { std::slice::from_raw_parts(arguments, usize::try_from(count).unwrap_or(0)) };
    let argument = |argument: &*const c_char| {
        // SAFETY: each is a string that ends with NUL and stays where it is.
        let argument = unsafe { CStr::from_ptr(*argument) };
        OsString::from(OsStr::from_bytes(argument.to_bytes()))
    };
    let arguments: Vec<_> = arguments.iter().map(argument).collect();
    let status = catch_unwind(|| match prepare() {
        Ok(()) => crate::start(arguments),
        Err(failure) => Log::stderr().fail(&failure),
    });
    status.map_or(PANICKED, c_int::from)
}

fn prepare() -> Result<(), Failure> {
    let failed = |call: &'static str| {
        move |errno: Errno| Failure::new(format!("{call}: {}", libcorten::Reason::new(errno as i32)))
    };
    // An fd of ours would be taken for stdio otherwise, and given to the container.
    for number in 0..3 {
        // SAFETY: the borrow ends with the call, which refuses a number that is no fd.
        let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
        if fcntl(fd, FcntlArg::F_GETFD) == Err(Errno::EBADF) {
            let null = open("/dev/null", OFlag::O_RDWR, Mode::empty());
            // The lowest number that is free: it is this one, and stays open.
            std::mem::forget(null.map_err(failed("open(/dev/null)"))?);
        }
    }
    // SAFETY: no handler is installed.
    let ignored = unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) };
    ignored.map(drop).map_err(failed("sigaction(SIGPIPE)"))
}
