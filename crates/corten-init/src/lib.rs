//! What runs inside a new container.
//!
//! A container is a list of kernel calls. `libcorten` works the list out; this package holds the list's
//! vocabulary and the program that carries it out.
//!
//! * **Step**: one thing to do inside ([`Step`]), with the kernel calls that it makes.
//! * **Program**: the steps in their wire form, a flat byte string ([`encode`], [`Program`]).
//! * **Init**: the process that walks the program and becomes the user's process. [`ELF`] is its executable,
//!   a freestanding static program without libc, allocator, locks or threads.
//! * **Message**: what init and the runtime say to each other ([`Message`]; `docs/protocol.md` has the
//!   diagram).
//!
//! What this package does not do: decide. It knows nothing of config.json; each step carries the name of the
//! config item it came from only so that a failure can be told in the user's words.

// The vocabulary, shared by the runtime and init.
mod message;
mod numbered;
mod operand;
mod reader;
mod step;
mod sync_point;
mod wire;

// The runtime's side.
mod encode;

// Init's side. It is compiled here too, so that the same lints and unit tests see it.
#[allow(dead_code, unreachable_pub, reason = "used by main.rs, which build.rs compiles on its own")]
mod arch;
#[allow(dead_code, reason = "used by main.rs, which build.rs compiles on its own")]
mod executor;
#[allow(dead_code, unreachable_pub, reason = "used by main.rs, which build.rs compiles on its own")]
mod sys;

pub use encode::{EncodeError, EncodedStep, encode};
pub use message::{MAX_FDS, MAX_MESSAGE, Message, MessageError};
pub use operand::{
    Attributes, CallersGroups, CapabilitySet, Filter, FilterFlags, Ids, Mask, Mode, Namespaces, Options,
    Propagation, Ranges, Resource, Role, SchedulerFlags, Slot, SlotRange, Slots, Strings, Target, TreeFlags,
};
pub use reader::DecodeError;
pub use step::{Call, OwnedStep, STEP_NAMES, Step, WireStep};
pub use sync_point::SyncPoint;
pub use wire::{MAX_STEPS, Program};

/// The freestanding executable that carries out a program: an ELF file for this target.
pub static ELF: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/corten-init"));

/// What fuzz targets see.
#[cfg(fuzzing)]
pub mod fuzzing {
    use crate::{Message, Program, arch, executor};

    /// The file descriptor of the runtime's socket.
    const SYNC: usize = 100;

    /// Runs the executor on a program and on a kernel that answers so. Whatever it says to the runtime must
    /// be a message.
    ///
    /// # Panics
    /// The executor is wrong.
    pub fn execute(program: &[u8], answers: &[u8]) {
        let bytes: &'static mut [u8] = Box::leak(program.to_vec().into());
        let memory = &raw mut *bytes;
        if let Ok(program) = Program::parse(bytes) {
            let mut slots: Vec<usize> = (SYNC..).take(program.slots() as usize).collect();
            let told = arch::fake::run(
                answers,
                SYNC,
                std::panic::AssertUnwindSafe(|| executor::walk(&program, &mut slots)),
            );
            for message in told {
                if let Err(error) = Message::decode(&message) {
                    panic!("{error}: {message:x?}");
                }
            }
        }
        // SAFETY: it comes from a box, and what borrowed it has gone with the executor.
        drop(unsafe { Box::from_raw(memory) });
    }
}
