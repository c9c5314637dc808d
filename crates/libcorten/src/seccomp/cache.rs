//! Compiled seccomp filters, kept from one container to the next (`linux.seccomp`).
//!
//! Stage: host, before clone.
//! Privilege: the caller's; the directory and its files belong to the effective user alone.
//! Kernel: `openat(2)`, `fstat(2)`, `renameat(2)` relative to the directory's fd.
//! Spec: nothing. Attacker: whoever could write a file here could let a container do anything.
//!
//! A file is named by a hash of everything that the program depends on and holds
//!
//! ```text
//! magic (8 bytes) | key (32) | SHA-256 of the program (32) | program (n * 8)
//! ```
//!
//! Directory and file are judged by the fd that is read from: owned by the effective user, not writable for
//! others, no symlink, a regular file. The checks of the content are against damage, not against an attacker,
//! who could compute them. Whatever is wrong, the profile is compiled as if there were no cache, and the file
//! is replaced: a cache may cost time, never a container.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use libseccomp::ScmpVersion;
use nix::fcntl::{OFlag, open, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{Uid, UnlinkatFlags, unlinkat};
use oci_spec::runtime::LinuxSeccomp;
use sha2::{Digest, Sha256};

use super::{
    CompileOptions, Filter, INSTRUCTION_BYTES, INSTRUCTIONS_MAX, SeccompError, compile, flags, notifies,
};

/// Changes with the file's layout and with what `compile` makes of a profile: bump the number then.
const MAGIC: &[u8; 8] = b"CORTEN-3";
const HASH_BYTES: usize = 32;
const HEADER_BYTES: usize = MAGIC.len() + 2 * HASH_BYTES;
const FILE_BYTES_MAX: usize = HEADER_BYTES + INSTRUCTIONS_MAX * INSTRUCTION_BYTES;

/// A host has a handful of profiles; more than this means that somebody generates them.
const FILES_MAX: usize = 64;

/// Returns the compiled filter of `profile`, from `cache_dir` if it is there.
///
/// # Errors
///
/// Those of compiling. The cache itself never makes an error: if it cannot be used, it is not.
pub(crate) fn filter(
    cache_dir: &Path,
    profile: &LinuxSeccomp,
    options: CompileOptions,
) -> Result<Filter, SeccompError> {
    let Some(key) = Key::of(profile, options) else {
        return compile(profile, options);
    };
    let directory = open_directory(cache_dir);
    if let Some(program) = directory.as_ref().and_then(|directory| load(directory, &key)) {
        return Ok(Filter { flags: flags(profile), program, notify: notifies(profile) });
    }
    let filter = compile(profile, options)?;
    let directory = directory.or_else(|| make_directory(cache_dir));
    if let Some(directory) = directory {
        #[expect(
            clippy::let_underscore_must_use,
            reason = "without the file the next container compiles again"
        )]
        let _ = store(&directory, &key, &filter.program);
        drop_oldest(cache_dir, &directory);
    }
    Ok(filter)
}

/// A hash of everything that the program depends on.
///
/// The flags for `seccomp(2)` are not among it: they are no part of the program. libseccomp's version is, as
/// the numbers are libseccomp's.
///
/// The options change no program, but which profiles have one: a file made without `fail_unknown` must not
/// hide that error. So such a profile has a file of its own, which is made only after it was compiled without
/// an error.
struct Key([u8; HASH_BYTES]);

impl Key {
    fn of(profile: &LinuxSeccomp, options: CompileOptions) -> Option<Self> {
        let CompileOptions { fail_unknown } = options;
        let version = ScmpVersion::current().ok()?;
        // The profile's type has lists and numbers only, no maps, so the same profile is always the same
        // text.
        let json = serde_json::to_vec(profile).ok()?;
        let mut hash = Sha256::new();
        hash.update(MAGIC);
        hash.update(version.to_string());
        hash.update([0]);
        hash.update(std::env::consts::ARCH);
        hash.update([0, u8::from(fail_unknown)]);
        hash.update(&json);
        Some(Self(hash.finalize().into()))
    }

    fn file_name(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
    }
}

/// Opens the cache's directory, if it is ours alone.
fn open_directory(path: &Path) -> Option<File> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let directory = File::from(open(path, flags, Mode::empty()).ok()?);
    is_ours(&directory).then_some(directory)
}

fn make_directory(path: &Path) -> Option<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).ok()?;
    open_directory(path)
}

/// Judges what is open, not what a path names by now.
fn is_ours(file: &File) -> bool {
    file.metadata()
        .is_ok_and(|metadata| metadata.uid() == Uid::effective().as_raw() && metadata.mode() & 0o022 == 0)
}

/// Returns the program of `key`, unless anything at all is wrong with its file.
fn load(directory: &File, key: &Key) -> Option<Vec<u8>> {
    // Without O_NONBLOCK, a FIFO of that name would stop the runtime here.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let mut file = File::from(openat(directory, key.file_name().as_str(), flags, Mode::empty()).ok()?);
    let metadata = file.metadata().ok()?;
    let length = usize::try_from(metadata.len())
        .ok()
        .filter(|length| (HEADER_BYTES..=FILE_BYTES_MAX).contains(length))?;
    if !metadata.is_file() || !is_ours(&file) {
        return None;
    }
    let mut content = vec![0; length];
    file.read_exact(&mut content).ok()?;
    let program = content.split_off(HEADER_BYTES);
    let sound =
        !program.is_empty() && program.len() % INSTRUCTION_BYTES == 0 && content == header(key, &program);
    sound.then_some(program)
}

fn header(key: &Key, program: &[u8]) -> Vec<u8> {
    [MAGIC, &key.0[..], &Sha256::digest(program)[..]].concat()
}

/// Writes a file beside and renames it, so that a reader sees all of it or nothing.
fn store(directory: &File, key: &Key, program: &[u8]) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = format!(".{}.{count}.tmp", std::process::id());
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut file = File::from(openat(directory, temporary.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
    let written =
        file.write_all(&header(key, program)).and_then(|()| file.write_all(program)).and_then(|()| {
            renameat(directory, temporary.as_str(), directory, key.file_name().as_str())
                .map_err(io::Error::from)
        });
    if written.is_err() {
        #[expect(clippy::let_underscore_must_use, reason = "the first error is the one to tell")]
        let _ = unlinkat(directory, temporary.as_str(), UnlinkatFlags::NoRemoveDir);
    }
    written
}

/// Keeps the directory small. What is left of a killed runtime's temporary files goes in its turn.
fn drop_oldest(path: &Path, directory: &File) {
    let Ok(entries) = std::fs::read_dir(path) else {
        return;
    };
    let mut files: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let modified = entry.metadata().ok()?.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            Some((modified, entry.file_name()))
        })
        .collect();
    if files.len() <= FILES_MAX {
        return;
    }
    files.sort_unstable();
    for (_, name) in &files[..files.len() - FILES_MAX] {
        #[expect(clippy::let_underscore_must_use, reason = "another runtime may have been faster")]
        let _ = unlinkat(directory, name.as_os_str(), UnlinkatFlags::NoRemoveDir);
    }
}

#[cfg(test)]
mod tests;
