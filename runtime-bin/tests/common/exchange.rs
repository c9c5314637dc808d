//! Somebody who exchanges files while others use them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

/// Two names that change places all the time, until this is dropped.
#[derive(Debug)]
pub struct Exchange {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Exchange {
    pub fn of(one: &Path, other: &Path) -> Self {
        let (one, other, stop) = (one.to_owned(), other.to_owned(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut turn = 0_u32;
            // An even number of times, so that in the end all is as before; at changing speeds, so that each
            // state lasts long enough for some containers.
            while !stopped.load(Ordering::Relaxed) || turn % 2 == 1 {
                renameat2(AT_FDCWD, &one, AT_FDCWD, &other, RenameFlags::RENAME_EXCHANGE).unwrap();
                turn += 1;
                if turn / 2000 % 2 == 1 {
                    std::thread::sleep(Duration::from_micros(u64::from(turn % 300)));
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || std::thread::panicking(), "the exchange failed");
        }
    }
}
