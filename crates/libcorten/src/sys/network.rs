//! A new network namespace, made beside other work.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::thread::JoinHandleExt;
use std::thread::{Builder, JoinHandle};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::process::own_cpus;
use super::thread::spawn;
use super::{Call, SysError};

/// A thread that makes a network namespace. It takes the kernel about as long as all the rest of the
/// runtime's work before init.
#[derive(Debug)]
pub(crate) struct NetworkMaker {
    thread: Option<JoinHandle<Result<OwnedFd, SysError>>>,
}

impl NetworkMaker {
    /// Starts the thread.
    pub(crate) fn start() -> Result<Self, SysError> {
        const STACK: usize = 64 * 1024;
        let thread = spawn(Builder::new().name("corten-network".to_owned()).stack_size(STACK), make)?;
        leave_this_cpu(&thread);
        Ok(Self { thread: Some(thread) })
    }

    /// Waits for the namespace. Without a deadline: the thread makes four calls, which wait for nothing but
    /// locks of the kernel.
    pub(crate) fn finish(mut self) -> Result<OwnedFd, SysError> {
        let made = self.thread.take().map(JoinHandle::join);
        match made {
            Some(Ok(made)) => made,
            _ => Err(SysError::new(Errno::EIO, || "thread(network namespace)".to_owned())),
        }
    }
}

impl Drop for NetworkMaker {
    /// Nobody wants the namespace; what the thread has opened is closed when this returns.
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Has a thread begin on another CPU. The kernel puts a new one where its maker runs, and it would wait there
/// until that sleeps. It may go wherever it likes after that; where there is one CPU, or the kernel refuses,
/// it stays.
fn leave_this_cpu<T>(thread: &JoinHandle<T>) {
    let Ok(all) = own_cpus() else { return };
    let Ok(this) = nix::sched::sched_getcpu() else { return };
    let mut others = all;
    if let Some(word) = others.get_mut(this / 64) {
        *word &= !(1 << (this % 64));
    }
    if others == [0; 128] {
        return;
    }
    #[allow(clippy::unnecessary_cast, reason = "std and libc have different types for it with musl")]
    let handle = thread.as_pthread_t() as libc::pthread_t;
    for cpus in [others, all] {
        // SAFETY: the thread has not been joined, so that the handle is valid; the mask is readable for its
        // size.
        unsafe { libc::pthread_setaffinity_np(handle, size_of_val(&cpus), cpus.as_ptr().cast()) };
    }
}

/// Moves this thread into a new network namespace, brings loopback up and opens the namespace.
fn make() -> Result<OwnedFd, SysError> {
    unshare(CloneFlags::CLONE_NEWNET)
        .map_err(|errno| SysError::new(errno, || "unshare(CLONE_NEWNET)".to_owned()))?;
    loopback_up()?;
    let path = "/proc/thread-self/ns/net";
    let opened = File::open(path).map_err(|error| SysError::from_io(&error, || Call::open(path)))?;
    Ok(opened.into())
}

fn loopback_up() -> Result<(), SysError> {
    let call = |call: &'static str| move |errno| SysError::new(errno, || call.to_owned());
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .map_err(call("socket(AF_INET, SOCK_DGRAM)"))?;
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    // IFF_UP is 1.
    let flags = libc::__c_anonymous_ifr_ifru { ifru_flags: 1 };
    let request = libc::ifreq { ifr_name: name, ifr_ifru: flags };
    // SAFETY: the request reads a struct ifreq (netdevice(7)), which outlives the call.
    let result =
        unsafe { libc::syscall(libc::SYS_ioctl, socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    Errno::result(result).map(drop).map_err(call("ioctl(SIOCSIFFLAGS, lo)"))
}
