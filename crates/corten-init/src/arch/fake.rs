//! A kernel that is made up: what it answers is in a string of bytes. For the fuzz target of the executor
//! alone.
//!
//! It keeps to what the real one promises (lengths, that file descriptors are no negative numbers), and to
//! nothing else.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic;

use super::nr;

/// Enough for any program; an executor that goes on forever is told apart by it.
const CALLS_MAX: usize = 100_000;
const EIO: isize = 5;

thread_local! {
    static KERNEL: RefCell<Kernel> = RefCell::new(Kernel::default());
}

#[derive(Default)]
struct Kernel {
    answers: VecDeque<u8>,
    calls: usize,
    sync: usize,
    told: Vec<Vec<u8>>,
    /// What has been mapped.
    memory: Vec<Box<[u64]>>,
}

/// How a process has come to its end.
#[derive(Debug)]
enum End {
    Exit,
    Exec,
}

/// Runs `init` on a kernel that answers so; returns what it has written to the file descriptor `sync`. It
/// must come to its end.
pub fn run(answers: &[u8], sync: usize, init: impl FnOnce() + panic::UnwindSafe) -> Vec<Vec<u8>> {
    KERNEL.with_borrow_mut(|kernel| {
        *kernel = Kernel { answers: answers.iter().copied().collect(), sync, ..Kernel::default() };
    });
    // What ends the process ends the closure. No panic: none of its hooks is called.
    if let Err(payload) = panic::catch_unwind(init)
        && payload.downcast_ref::<End>().is_none()
    {
        panic::resume_unwind(payload);
    }
    KERNEL.with_borrow_mut(std::mem::take).told
}

fn end(how: End) -> ! {
    panic::resume_unwind(Box::new(how))
}

/// As the real one.
///
/// # Safety
/// As the real one.
pub unsafe fn syscall(number: usize, args: [usize; 6]) -> isize {
    if number == nr::EXIT_GROUP {
        end(End::Exit);
    }
    let answer = KERNEL.with_borrow_mut(|kernel| {
        kernel.calls += 1;
        assert!(kernel.calls < CALLS_MAX, "the executor goes on forever");
        // SAFETY: the caller's promise is the same.
        unsafe { kernel.answer(number, args) }
    });
    if number == nr::EXECVE && answer == 0 {
        end(End::Exec);
    }
    answer
}

impl Kernel {
    fn byte(&mut self) -> Option<u8> {
        self.answers.pop_front()
    }

    /// An errno, or what `usual` says.
    fn or_errno(&mut self, usual: impl FnOnce(&mut Self, u8) -> isize) -> isize {
        match self.byte() {
            None => -EIO,
            Some(errno @ 1..=133) if errno % 4 == 0 => -isize::from(errno),
            Some(byte) => usual(self, byte),
        }
    }

    /// Writes some of the answers to memory of the executor's.
    ///
    /// # Safety
    /// `to` must be writable for `length` bytes.
    unsafe fn fill(&mut self, to: usize, length: usize) -> isize {
        let length = length.min(self.answers.len());
        for (at, byte) in self.answers.drain(..length).enumerate() {
            // SAFETY: the caller's promise.
            unsafe { (to as *mut u8).add(at).write(byte) };
        }
        isize::try_from(length).unwrap_or(0)
    }

    /// # Safety
    /// As [`syscall`].
    unsafe fn answer(&mut self, number: usize, args: [usize; 6]) -> isize {
        let [first, second, third, fourth, fifth, _] = args;
        match number {
            nr::MMAP => {
                let words = second.min(1 << 22).div_ceil(8).max(1);
                let mut memory = vec![0_u64; words].into_boxed_slice();
                let address = memory.as_mut_ptr() as isize;
                self.memory.push(memory);
                address
            }
            nr::WRITE => {
                if first == self.sync {
                    // SAFETY: write(2) takes `third` readable bytes at `second`.
                    let bytes = unsafe { std::slice::from_raw_parts(second as *const u8, third) };
                    self.told.push(bytes.to_vec());
                }
                isize::try_from(third).unwrap_or(0)
            }
            // SAFETY: each buffer is as long as the call's documentation wants it to be.
            nr::READ | nr::GETDENTS64 => {
                self.or_errno(|this, most| unsafe { this.fill(second, third.min(most.into())) })
            }
            // SAFETY: as above.
            nr::READLINKAT => {
                self.or_errno(|this, most| unsafe { this.fill(third, fourth.min(most.into())) })
            }
            nr::GETCWD => self.or_errno(|this, most| {
                // SAFETY: as above, and one byte is left for NUL.
                unsafe { this.fill(first, second.saturating_sub(1).min(most.into())) + 1 }
            }),
            // SAFETY: as above.
            nr::STATX => self.or_errno(|this, _| unsafe { this.fill(fifth, 256).min(0) }),
            // SAFETY: as above.
            nr::FSTATFS => self.or_errno(|this, _| unsafe { this.fill(second, 120).min(0) }),
            // SAFETY: as above.
            nr::WAITID => self.or_errno(|this, _| unsafe { this.fill(third, 128).min(0) }),
            // SAFETY: as above.
            nr::CAPGET => self.or_errno(|this, _| unsafe { this.fill(second, 24).min(0) }),
            nr::PIPE2 => self.or_errno(|_, byte| {
                // SAFETY: the call writes two ints.
                unsafe { (first as *mut [i32; 2]).write([i32::from(byte), i32::from(byte) + 1]) };
                0
            }),
            nr::RECVMSG => self.or_errno(|this, most| {
                // SAFETY: struct msghdr, whose third word leads to one iovec: an address and a length.
                let [to, length] = unsafe { *((*(second as *const [usize; 7]))[2] as *const [usize; 2]) };
                // SAFETY: recvmsg(2) writes to the iovec.
                unsafe { this.fill(to, length.min(most.into())) }
            }),
            nr::EXECVE | nr::RT_SIGACTION => self.or_errno(|_, _| 0),
            // A file descriptor, a pid, a number, or nothing: 0 is all of them.
            _ => self.or_errno(|_, byte| if byte & 1 == 0 { 0 } else { isize::from(byte) }),
        }
    }
}
