//! The VM's disk, kernel and initrd, made once and kept in a cache outside the tree.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use crate::{Result, shell};

const SCRIPT: &str = include_str!("image.sh");

/// Where Debian is, unless `CORTEN_VM_MIRROR` says otherwise.
const MIRROR: &str = "http://deb.debian.org/debian";

/// A directory with `disk.img`, `vmlinuz` and `initrd`.
#[derive(Debug)]
pub(crate) struct Image(PathBuf);

impl Image {
    /// The image in the cache, made now if there is none, or another script has made it.
    pub(crate) fn get(rebuild: bool) -> Result<Self> {
        let cache = std::env::var_os("CORTEN_VM_CACHE").map_or_else(|| "/var/cache/corten/vm".into(), PathBuf::from);
        let image = Self(cache);
        let made_by = image.file("made-by");
        if rebuild || fs::read_to_string(&made_by).ok().as_deref() != Some(SCRIPT) {
            image.make()?;
            fs::write(made_by, SCRIPT)?;
        }
        Ok(image)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn make(&self) -> Result {
        let mirror = std::env::var("CORTEN_VM_MIRROR").unwrap_or_else(|_| MIRROR.to_owned());
        println!("making the VM's disk in {}: some minutes, 2 GB, once", self.0.display());
        fs::create_dir_all(&self.0)?;
        let new = tempfile::Builder::new().prefix("new-").tempdir_in(&self.0)?;
        let mut script = tempfile::NamedTempFile::new()?;
        script.write_all(SCRIPT.as_bytes())?;
        // Mounts end with the namespace, whatever happens to the script.
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "nice", "sh"]);
        command.arg(script.path()).arg(new.path()).arg(mirror);
        shell::check(&mut command)?;
        for name in ["disk.img", "vmlinuz", "initrd"] {
            fs::rename(new.path().join(name), self.file(name))?;
        }
        Ok(())
    }
}
