//! The bundle: a directory with config.json. Spec: bundle.md.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use crate::oci::Spec;
use crate::sys::SysError;
use crate::{Error, ErrorKind, Result, spec};

/// A bundle directory with its config, parsed and validated.
#[derive(Debug, Clone)]
pub struct Bundle {
    directory: PathBuf,
    spec: Spec,
}

#[derive(Debug, thiserror::Error)]
enum BundleError {
    #[error("JSON specification file {name} not found")]
    NoConfig { name: String },
    #[error("cannot read the config")]
    Unreadable(#[source] SysError),
    #[error("bundle")]
    NoDirectory(#[source] SysError),
}

impl Bundle {
    /// Opens a bundle: reads and validates `config.json` in `directory`.
    ///
    /// # Errors
    /// The directory or the config is missing, or the config is wrong; the message names the field.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        let given = directory.as_ref();
        let directory = given.canonicalize().map_err(|error| {
            let kind =
                if error.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Kernel };
            Error::new(kind, BundleError::NoDirectory(SysError::from_io(&error, || format!("open({given:?})"))))
        })?;
        let path = directory.join("config.json");
        let file = File::open(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Error::new(ErrorKind::NotFound, BundleError::NoConfig { name: "config.json".to_owned() })
            }
            _ => {
                let error = SysError::from_io(&error, || format!("open({path:?})"));
                Error::new(ErrorKind::Kernel, BundleError::Unreadable(error))
            }
        })?;
        // One read of the usual size.
        let spec =
            spec::load(BufReader::with_capacity(64 * 1024, file)).map_err(|error| Error::new(error.kind(), error))?;
        Self::new(directory, spec)
    }

    /// Makes a bundle of a directory and a config that the caller has. `directory` must be absolute.
    ///
    /// # Errors
    /// The config is wrong; the message names the field.
    pub fn new(directory: impl Into<PathBuf>, config: Spec) -> Result<Self> {
        spec::validate(&config).map_err(|error| Error::new(error.kind(), error))?;
        Ok(Self { directory: directory.into(), spec: config })
    }

    /// Returns the config.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Returns the directory's absolute path.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the absolute path of the root filesystem.
    pub(crate) fn rootfs(&self) -> PathBuf {
        self.spec.root().as_ref().map(|root| self.directory.join(root.path())).unwrap_or_default()
    }
}
