//! Where images and logs are: directories that are opened once.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::error::{CriuError, ImagesError};
use super::rpc::Options;
use crate::sys::SysError;

/// What stdin, stdout and stderr were, as `readlink` of them says: a JSON array of three strings. The name
/// and the form are runc's, so that each restores what the other has dumped.
const DESCRIPTORS: &str = "descriptors.json";
/// What stands after the name of a file of the host that is the null device: another takes its place,
/// whatever stdio is then.
pub(crate) const NULL_DEVICE: &str = "=/dev/null";
/// How much of a log is looked at: its end.
const LOG_READ: u64 = 1 << 20;

/// Where the images are, or will be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Images<'a> {
    /// Their directory.
    pub(crate) path: &'a Path,
    /// The directory for CRIU's work, which is made if it is missing (runc).
    pub(crate) work: Option<&'a Path>,
    /// That of the images is made, too.
    pub(crate) make: bool,
    /// The log's name.
    pub(crate) log: &'static str,
}

/// The directory of the images, and the one for CRIU's work and log, if that is another.
#[derive(Debug)]
pub(crate) struct Directories {
    images: File,
    images_path: PathBuf,
    work: Option<(File, PathBuf)>,
    log: &'static str,
}

impl Directories {
    /// Opens the directories.
    pub(super) fn open(images: &Images<'_>) -> Result<Self, CriuError> {
        let &Images { path, work, make, log } = images;
        if make {
            create(path)?;
        }
        let work = match work {
            Some(path) => {
                create(path)?;
                Some((open(path)?, path.to_owned()))
            }
            None => None,
        };
        Ok(Self { images: open(path)?, images_path: path.to_owned(), work, log })
    }

    /// Puts them into CRIU's options.
    pub(crate) fn fill(&self, options: &mut Options) {
        options.images_dir_fd = self.images.as_raw_fd();
        options.work_dir_fd = self.work.as_ref().map(|(work, _)| work.as_raw_fd());
        // runc: all but the most verbose.
        options.log_level = Some(4);
        options.log_file = Some(self.log.to_owned());
    }

    /// Reads the end of the log; its path comes with it.
    pub(super) fn read_log(&self) -> Option<(PathBuf, String)> {
        let (directory, path) =
            self.work.as_ref().map_or((&self.images, &self.images_path), |(work, path)| (work, path));
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(directory, self.log, flags, Mode::empty()).ok()?);
        let length = file.metadata().ok()?.len();
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(length.saturating_sub(LOG_READ))).ok()?;
        let mut bytes = Vec::new();
        file.take(LOG_READ).read_to_end(&mut bytes).ok()?;
        Some((path.join(self.log), String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Writes what stdio was.
    pub(crate) fn write_descriptors(&self, descriptors: &[String]) -> Result<(), CriuError> {
        let written = serde_json::to_vec(descriptors).map_err(ImagesError::from).and_then(|json| {
            let flags =
                OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let file = openat(&self.images, DESCRIPTORS, flags, Mode::S_IRUSR | Mode::S_IWUSR)
                .map_err(|errno| SysError::new(errno, || "openat(O_CREAT)".to_owned()))?;
            let written = File::from(file).write_all(&json);
            Ok(written.map_err(|error| SysError::from_io(&error, || "write".to_owned()))?)
        });
        written.map_err(|source| self.wrong_descriptors(source))
    }

    /// Reads what stdio was.
    pub(crate) fn read_descriptors(&self) -> Result<Vec<String>, CriuError> {
        let read = || -> Result<Vec<String>, ImagesError> {
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let file = openat(&self.images, DESCRIPTORS, flags, Mode::empty())
                .map_err(|errno| SysError::new(errno, || "openat(O_RDONLY)".to_owned()))?;
            let mut json = Vec::new();
            let read = File::from(file).take(LOG_READ).read_to_end(&mut json);
            read.map_err(|error| SysError::from_io(&error, || "read".to_owned()))?;
            Ok(serde_json::from_slice(&json)?)
        };
        read().map_err(|source| self.wrong_descriptors(source))
    }

    fn wrong_descriptors(&self, source: ImagesError) -> CriuError {
        CriuError::Images { path: self.images_path.join(DESCRIPTORS), source }
    }

    /// Checks that there is a directory at a path relative to the images.
    pub(crate) fn check_parent(&self, parent: &Path) -> Result<(), SysError> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let path = self.images_path.join(parent);
        openat(&self.images, parent, flags, Mode::empty())
            .map(drop)
            .map_err(|errno| SysError::new(errno, || format!("open({path:?}, O_DIRECTORY)")))
    }
}

fn create(path: &Path) -> Result<(), SysError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| SysError::from_io(&error, || format!("mkdir({path:?}, 0700)")))
}

fn open(path: &Path) -> Result<File, SysError> {
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path);
    opened.map_err(|error| SysError::from_io(&error, || format!("open({path:?}, O_DIRECTORY)")))
}
