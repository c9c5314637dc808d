//! Sealed files in memory: init's executable and its program.

use std::ffi::CStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::{Call, SysError};

/// Makes a file in memory with these bytes, which nobody can change any more, nor whether it can be executed:
/// `memfd_create`, `fcntl(F_ADD_SEALS)`.
///
/// An `executable` one is marked so where the kernel knows the mark (Linux 6.3).
pub(crate) fn sealed_memfd(name: &CStr, bytes: &[u8], executable: bool) -> Result<OwnedFd, SysError> {
    let called = if executable { "MFD_EXEC" } else { "MFD_NOEXEC_SEAL" };
    let call = || Call::MemfdCreate { name: name.to_owned(), mark: Some(called) };
    let plain = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mark = MFdFlags::from_bits_retain(if executable { libc::MFD_EXEC } else { libc::MFD_NOEXEC_SEAL });
    let fd = match memfd_create(name, plain | mark) {
        // Before Linux 6.3 there is no such mark and every memfd may be executed.
        Err(Errno::EINVAL) => memfd_create(name, plain),
        other => other,
    }
    .map_err(|errno| SysError::new(errno, call))?;
    let mut file = File::from(fd);
    file.write_all(bytes)
        .map_err(|error| SysError::from_io(&error, || format!("write({name:?}, {} bytes)", bytes.len())))?;
    let seals =
        SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    let with_mode = seals | SealFlag::from_bits_retain(libc::F_SEAL_EXEC);
    match fcntl(&file, FcntlArg::F_ADD_SEALS(with_mode)) {
        // Before Linux 6.3 a mode cannot be sealed.
        Err(Errno::EINVAL) => fcntl(&file, FcntlArg::F_ADD_SEALS(seals)),
        other => other,
    }
    .map_err(|errno| SysError::new(errno, || format!("fcntl({name:?}, F_ADD_SEALS)")))?;
    Ok(file.into())
}

/// Makes an empty file in memory, close-on-exec.
pub(crate) fn memfd(name: &CStr) -> Result<File, SysError> {
    let plain = MFdFlags::MFD_CLOEXEC;
    memfd_create(name, plain)
        .map(File::from)
        .map_err(|errno| SysError::new(errno, || Call::MemfdCreate { name: name.to_owned(), mark: None }))
}
