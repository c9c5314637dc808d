//! The kernel as nix does not offer it: openat2 below a directory, bpf. The only room of this crate with
//! `unsafe`.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::uio::pread;

use crate::error::{Error, Reason, Repr};

/// Opens a path below a directory: no `..` above it, no link, no other filesystem. Adds `O_CLOEXEC`.
pub(crate) fn open_below(directory: &impl AsFd, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
    loop {
        match openat2(directory, relative, how) {
            // A concurrent rename made the kernel unsure.
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// The errno of an error of std.
pub(crate) fn errno(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

/// Reads a small file from its start without moving the fd's offset.
pub(crate) fn read_from_start(fd: &OwnedFd) -> nix::Result<String> {
    let mut bytes = [0; 4096];
    let length = loop {
        match pread(fd, &mut bytes, 0) {
            Err(Errno::EINTR) => {}
            other => break other?,
        }
    };
    Ok(String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned())
}

/// Opens a process by its number.
pub(crate) fn pidfd(pid: i32) -> nix::Result<OwnedFd> {
    // SAFETY: the call takes no pointer.
    new_fd(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// Sends a signal to a process that a cgroup has just listed. One that is gone meanwhile is no error.
pub(crate) fn send_signal(pid: i32, signal: i32) -> nix::Result<()> {
    let pidfd = match pidfd(pid) {
        Err(Errno::ESRCH | Errno::EINVAL) => return Ok(()),
        other => other?,
    };
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the info pointer is null, which the call allows.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) };
    match Errno::result(sent) {
        Err(Errno::ESRCH) => Ok(()),
        other => other.map(drop),
    }
}

/// Takes an fd that a raw call has just returned.
fn new_fd(returned: libc::c_long) -> nix::Result<OwnedFd> {
    let fd = i32::try_from(Errno::result(returned)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel just made this fd and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `union bpf_attr`, as much of it as BPF_PROG_LOAD needs here (bpf(2)).
#[repr(C, align(8))]
#[derive(Default)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// `union bpf_attr` for BPF_PROG_ATTACH and BPF_PROG_DETACH.
#[repr(C, align(8))]
#[derive(Default)]
struct AttachAttributes {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
    replaced: u32,
    padding: u32,
}

/// `union bpf_attr` for BPF_PROG_QUERY.
#[repr(C, align(8))]
#[derive(Default)]
struct QueryAttributes {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
}

/// `union bpf_attr` for BPF_PROG_GET_FD_BY_ID.
#[repr(C, align(8))]
#[derive(Default)]
struct IdAttributes {
    id: u32,
    next: u32,
    flags: u32,
    padding: u32,
}

/// `union bpf_attr` for BPF_OBJ_GET_INFO_BY_FD.
#[repr(C, align(8))]
#[derive(Default)]
struct InfoAttributes {
    fd: u32,
    length: u32,
    info: u64,
}

/// The beginning of `struct bpf_prog_info`.
#[repr(C, align(8))]
#[derive(Default)]
struct ProgramInfo {
    program_type: u32,
    id: u32,
    tag: [u8; 8],
    lengths: [u32; 2],
    instructions: [u64; 2],
    load_time: u64,
    owner: u32,
    map_count: u32,
    maps: u64,
    name: [u8; 16],
}

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_DETACH: libc::c_int = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
const BPF_F_REPLACE: u32 = 4;
/// The kernel's limit on programs in one cgroup (`BPF_CGROUP_MAX_PROGS`).
const MOST_PROGRAMS: usize = 64;
/// The name of our programs, by which they are found again: at most 15 letters, digits, `_` and `.`.
const PROGRAM_NAME: [u8; 16] = *b"corten_devices\0\0";

/// Loads a program of type BPF_PROG_TYPE_CGROUP_DEVICE.
pub(crate) fn load_device_program(instructions: &[u64]) -> Result<OwnedFd, Error> {
    let mut attributes = LoadAttributes {
        program_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(instructions.len()).unwrap_or(u32::MAX),
        instructions: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        name: PROGRAM_NAME,
        ..LoadAttributes::default()
    };
    if let Ok(fd) = load(&attributes) {
        return Ok(fd);
    }
    // Once more, for the verifier's words.
    let mut log = vec![0u8; 64 * 1024];
    attributes.log_level = 1;
    attributes.log_size = u32::try_from(log.len()).unwrap_or(0);
    attributes.log = log.as_mut_ptr() as u64;
    load(&attributes).map_err(|errno| {
        let said = log.split(|byte| *byte == 0).next().unwrap_or_default();
        let said = String::from_utf8_lossy(said);
        let said = said.trim().lines().next_back().unwrap_or("no reason given").to_owned();
        Repr::Filter { log: said, reason: Reason(errno) }.into()
    })
}

fn load(attributes: &LoadAttributes) -> nix::Result<OwnedFd> {
    // SAFETY: the attributes are laid out as the kernel wants for this command; instructions and licence
    // (ended by NUL) are readable, the log is writable for its size, and all outlive the call.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const *attributes, size_of::<LoadAttributes>())
    };
    new_fd(fd)
}

/// Attaches a device program to a cgroup, in the place of another or beside those that are there.
pub(crate) fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replaced: Option<BorrowedFd<'_>>,
) -> nix::Result<()> {
    attach(
        BPF_PROG_ATTACH,
        &AttachAttributes {
            target: cgroup.as_raw_fd().cast_unsigned(),
            program: program.as_raw_fd().cast_unsigned(),
            attach_type: BPF_CGROUP_DEVICE,
            flags: BPF_F_ALLOW_MULTI | if replaced.is_some() { BPF_F_REPLACE } else { 0 },
            replaced: replaced.map_or(0, |program| program.as_raw_fd().cast_unsigned()),
            ..AttachAttributes::default()
        },
    )
}

/// Takes a device program away from a cgroup.
pub(crate) fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> nix::Result<()> {
    attach(
        BPF_PROG_DETACH,
        &AttachAttributes {
            target: cgroup.as_raw_fd().cast_unsigned(),
            program: program.as_raw_fd().cast_unsigned(),
            attach_type: BPF_CGROUP_DEVICE,
            ..AttachAttributes::default()
        },
    )
}

fn attach(command: libc::c_int, attributes: &AttachAttributes) -> nix::Result<()> {
    // SAFETY: the attributes are laid out as the kernel wants for these commands and outlive the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<AttachAttributes>())
    };
    Errno::result(result).map(drop)
}

/// Finds the device program of ours that is attached to a cgroup, by its name.
pub(crate) fn own_device_program(cgroup: BorrowedFd<'_>) -> nix::Result<Option<OwnedFd>> {
    let mut ids = [0u32; MOST_PROGRAMS];
    let mut query = QueryAttributes {
        target: cgroup.as_raw_fd().cast_unsigned(),
        attach_type: BPF_CGROUP_DEVICE,
        ids: ids.as_mut_ptr() as u64,
        count: u32::try_from(MOST_PROGRAMS).unwrap_or(0),
        ..QueryAttributes::default()
    };
    // SAFETY: the attributes are laid out as the kernel wants for this command; `ids` is writable for `count`
    // numbers, and both outlive the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut query, size_of::<QueryAttributes>()) };
    Errno::result(result)?;
    for id in ids.iter().take(query.count as usize) {
        let attributes = IdAttributes { id: *id, ..IdAttributes::default() };
        // SAFETY: the attributes are laid out as the kernel wants for this command and outlive the call.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_PROG_GET_FD_BY_ID,
                &raw const attributes,
                size_of::<IdAttributes>(),
            )
        };
        let program = match new_fd(fd) {
            Err(Errno::ENOENT) => continue,
            other => other?,
        };
        if program_name(program.as_fd())? == PROGRAM_NAME {
            return Ok(Some(program));
        }
    }
    Ok(None)
}

fn program_name(program: BorrowedFd<'_>) -> nix::Result<[u8; 16]> {
    let mut info = ProgramInfo::default();
    let attributes = InfoAttributes {
        fd: program.as_raw_fd().cast_unsigned(),
        length: u32::try_from(size_of::<ProgramInfo>()).unwrap_or(0),
        info: &raw mut info as u64,
    };
    // SAFETY: the attributes are laid out as the kernel wants for this command; `info` is writable for
    // `length` bytes, which is all that the kernel fills, and both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_OBJ_GET_INFO_BY_FD,
            &raw const attributes,
            size_of::<InfoAttributes>(),
        )
    };
    Errno::result(result)?;
    Ok(info.name)
}

/// Reads a whole file.
pub(crate) fn read_all(path: &Path) -> std::io::Result<String> {
    read_text(File::open(path)?)
}

/// Reads a file of the kernel to its end.
pub(crate) fn read_text(file: File) -> std::io::Result<String> {
    // Room for most, as such a file has no size to read by; and `take`, so that it is not asked for one.
    let mut text = String::with_capacity(4096);
    file.take(u64::MAX).read_to_string(&mut text)?;
    Ok(text)
}
