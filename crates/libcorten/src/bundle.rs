//! The bundle: a directory with config.json. Spec: bundle.md.

use std::borrow::Cow;
use std::fs::File;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};

use crate::error::{Error, ErrorKind, Failure, Result};
use crate::oci::{Process, Spec};
use crate::spec;
use crate::sys::{Call, NotOpened, SysError, open_regular};

/// A bundle directory with its config, parsed and validated.
#[derive(Debug, Clone)]
pub struct Bundle {
    directory: PathBuf,
    /// The file of the config, if it is another than the bundle's own.
    config: Option<PathBuf>,
    spec: Box<Spec>,
    /// The config as it was read, if it was.
    text: Option<Vec<u8>>,
}

#[derive(Debug, thiserror::Error)]
enum BundleError {
    #[error("JSON specification file {name} not found")]
    NoConfig { name: String },
    #[error("{path:?} is not a regular file")]
    Irregular { path: PathBuf },
    #[error("cannot read the config")]
    Unreadable(#[source] SysError),
    #[error("bundle")]
    NoDirectory(#[source] SysError),
}

impl Failure for BundleError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoConfig { .. } => ErrorKind::NotFound,
            Self::Irregular { .. } => ErrorKind::InvalidConfig,
            Self::NoDirectory(error) if error.errno.0 == Errno::ENOENT => ErrorKind::NotFound,
            Self::Unreadable(_) | Self::NoDirectory(_) => ErrorKind::Kernel,
        }
    }
}

impl Bundle {
    /// Opens a bundle: reads and validates `config.json` in `directory`.
    ///
    /// # Errors
    /// The directory or the config is missing, or the config is wrong; the message names the field.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        let directory = absolute(directory.as_ref())?;
        let text = read(open(&directory.join("config.json"), "config.json")?)?;
        Self::parse(directory, text)
    }

    /// Opens a bundle whose config is in a file of another name or at another place. `config` is relative to
    /// the current directory; paths in it are relative to the bundle's, as ever.
    ///
    /// # Errors
    /// As [`Bundle::open`].
    pub fn open_with_config(directory: impl AsRef<Path>, config: impl AsRef<Path>) -> Result<Self> {
        let directory = absolute(directory.as_ref())?;
        let given = config.as_ref();
        let config = std::path::absolute(given).map_err(|error| {
            BundleError::Unreadable(SysError::from_io(&error, || format!("getcwd() for {given:?}")))
        })?;
        // Whoever names it may give a pipe.
        let file = File::open(&config).map_err(|error| {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
            not_opened(&config, &given.to_string_lossy(), NotOpened::Failed(errno))
        })?;
        let text = read(file)?;
        Ok(Self { config: Some(config), ..Self::parse(directory, text)? })
    }

    /// Makes a bundle of a directory and a config that the caller has. `directory` must be absolute.
    ///
    /// # Errors
    /// The config is wrong; the message names the field.
    pub fn new(directory: impl Into<PathBuf>, config: Spec) -> Result<Self> {
        Self::judge(directory.into(), Box::new(config))
    }

    fn parse(directory: PathBuf, text: Vec<u8>) -> Result<Self> {
        let spec = spec::parse_boxed(&text)?;
        Ok(Self { text: Some(text), ..Self::judge(directory, spec)? })
    }

    fn judge(directory: PathBuf, spec: Box<Spec>) -> Result<Self> {
        spec::validate(&spec)?;
        Ok(Self { directory, config: None, spec, text: None })
    }

    /// Returns the config.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Returns the config as JSON.
    pub(crate) fn json(&self) -> serde_json::Result<Cow<'_, [u8]>> {
        self.text
            .as_deref()
            .map_or_else(|| serde_json::to_vec(&self.spec).map(Cow::Owned), |text| Ok(text.into()))
    }

    /// Returns the directory's absolute path.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the absolute path of the config, if it is not the bundle's config.json.
    pub(crate) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Returns the absolute path of the root filesystem.
    pub(crate) fn rootfs(&self) -> PathBuf {
        self.spec.root().as_ref().map(|root| self.directory.join(root.path())).unwrap_or_default()
    }
}

/// Returns the absolute path of a bundle's directory, without symlinks.
fn absolute(directory: &Path) -> Result<PathBuf> {
    directory
        .canonicalize()
        .map_err(|error| BundleError::NoDirectory(SysError::from_io(&error, || Call::open(directory))).into())
}

/// Reads the `process` of a bundle's config. `config`: its path, if it is not the bundle's config.json.
pub(crate) fn read_process(bundle: &Path, config: Option<&Path>) -> Result<Option<Process>> {
    let (path, name) = match config {
        Some(config) => (config.to_owned(), config.to_string_lossy()),
        None => (bundle.join("config.json"), "config.json".into()),
    };
    spec::load_process(open(&path, &name)?).map_err(Error::from)
}

/// Reads a config.
fn read(file: File) -> Result<Vec<u8>> {
    spec::read(file).map_err(Error::from)
}

fn open(path: &Path, name: &str) -> Result<File, BundleError> {
    open_regular(AT_FDCWD, path, OFlag::empty()).map_err(|why| not_opened(path, name, why))
}

fn not_opened(path: &Path, name: &str, why: NotOpened) -> BundleError {
    match why {
        NotOpened::Irregular => BundleError::Irregular { path: path.to_owned() },
        NotOpened::Failed(Errno::ENOENT) => BundleError::NoConfig { name: name.to_owned() },
        NotOpened::Failed(errno) => BundleError::Unreadable(SysError::new(errno, || Call::open(path))),
    }
}
