//! The VM's disk, kernel and initrd, made once and kept in a cache outside the tree.

use std::fs::{self, File};
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
        fs::create_dir_all(&cache)?;
        let image = Self(cache);
        // Whoever comes second waits for the image of the first.
        let lock = File::create(image.file("lock"))?;
        lock.lock()?;
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
        let new = self.file("new");
        if new.exists() {
            fs::remove_dir_all(&new)?;
        }
        fs::create_dir(&new)?;
        let script = self.file("image.sh");
        fs::write(&script, SCRIPT)?;
        // Mounts end with the namespace, and the namespace with this process.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]);
        command.args(["--propagation", "private", "nice", "sh"]).arg(script).arg(&new).arg(mirror);
        shell::check(&mut command)?;
        for name in ["disk.img", "vmlinuz", "initrd"] {
            fs::rename(new.join(name), self.file(name))?;
        }
        fs::remove_dir_all(new)?;
        Ok(())
    }
}
