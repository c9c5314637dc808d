//! Trees of Debian testing, made once from its archive and kept in a cache outside the workspace.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Result, shell};

/// Functions that the scripts go on from.
const COMMON: &str = include_str!("debian.sh");

/// What is made.
#[derive(Debug)]
pub(crate) struct Recipe {
    /// In words, with how long it takes and how large it is.
    pub(crate) what: &'static str,
    /// The name of the cache's directory, and the environment's variable that names another one.
    pub(crate) directory: (&'static str, &'static str),
    /// The rest of the script; it makes the results in a directory that it is given.
    pub(crate) script: &'static str,
    pub(crate) results: &'static [&'static str],
}

/// A directory with a recipe's results.
#[derive(Debug)]
pub(crate) struct Cache(PathBuf);

impl Cache {
    /// The results in the cache, made now if there are none, or another script has made them.
    pub(crate) fn get(recipe: &Recipe, rebuild: bool) -> Result<Self> {
        let script = [COMMON, recipe.script].concat();
        Self::made_by(recipe.directory, &script, rebuild, |cache| cache.make(recipe, &script))
    }

    /// A directory in the cache, in which `make` is run now if no such run has been, or one with another
    /// script. `directory`: its name, and the environment's variable that names another one.
    pub(crate) fn made_by(
        (name, variable): (&str, &str),
        script: &str,
        rebuild: bool,
        make: impl FnOnce(&Self) -> Result,
    ) -> Result<Self> {
        let cache = Self(match std::env::var_os(variable) {
            Some(directory) => directory.into(),
            None => directory_of_caches()?.join(name),
        });
        cache.fill(script, rebuild, make)?;
        Ok(cache)
    }

    fn fill(&self, script: &str, rebuild: bool, make: impl FnOnce(&Self) -> Result) -> Result {
        fs::create_dir_all(&self.0)?;
        // Whoever comes second waits for what the first makes.
        let lock = File::create(self.file("lock"))?;
        lock.lock()?;
        let made_by = self.file("made-by");
        if rebuild || fs::read_to_string(&made_by).ok().as_deref() != Some(script) {
            make(self)?;
            fs::write(made_by, script)?;
        }
        Ok(())
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.0
    }

    fn make(&self, recipe: &Recipe, script: &str) -> Result {
        println!("making {} in {}", recipe.what, self.0.display());
        let new = self.file("new");
        remove(&new)?;
        fs::create_dir(&new)?;
        let file = self.file("make.sh");
        fs::write(&file, script)?;
        // Mounts end with the namespace, and the namespace with this process.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]);
        command.args(["--propagation", "private", "nice", "sh"]).arg(file).arg(&new).arg(mirror());
        shell::check(&mut command)?;
        for name in recipe.results {
            remove(&self.file(name))?;
            fs::rename(new.join(name), self.file(name))?;
        }
        remove(&new)
    }
}

/// Where caches are: the machine's, or the user's.
fn directory_of_caches() -> Result<PathBuf> {
    if shell::is_root() {
        return Ok("/var/cache/corten".into());
    }
    let home = || std::env::home_dir().map(|home| home.join(".cache"));
    let own = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    Ok(own.ok_or("no home directory")?.join("corten"))
}

/// Removes a file or a tree, if there is one.
fn remove(path: &Path) -> Result {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => Ok(fs::remove_dir_all(path)?),
        Ok(_) => Ok(fs::remove_file(path)?),
        Err(_) => Ok(()),
    }
}

/// Where Debian is: what `CORTEN_DEBIAN_MIRROR` says, or this machine's own apt. If neither knows,
/// debootstrap does.
fn mirror() -> String {
    std::env::var("CORTEN_DEBIAN_MIRROR").ok().or_else(own_mirror).unwrap_or_default()
}

fn own_mirror() -> Option<String> {
    let mut command = Command::new("apt-get");
    command.args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
        "Origin: Debian",
        "Label: Debian",
    ]);
    let targets = shell::output(&mut command).ok()?;
    targets.lines().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_and_files_are_removed_and_what_is_not_there_is_no_error() {
        let directory = tempfile::tempdir().expect("a directory");
        let tree = directory.path().join("tree");
        fs::create_dir_all(tree.join("below")).expect("made");
        fs::write(directory.path().join("file"), "").expect("written");
        for name in ["tree", "file", "none"] {
            remove(&directory.path().join(name)).expect("removed");
        }
        assert_eq!(fs::read_dir(directory.path()).expect("read").count(), 0);
    }
    #[test]
    fn a_cache_is_filled_once_for_each_script() {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = Cache(directory.path().join("cache"));
        let mut made = Vec::new();
        for (script, rebuild) in [("a", false), ("a", false), ("a", true), ("b", false)] {
            let make = |_: &Cache| {
                made.push((script, rebuild));
                Ok(())
            };
            cache.fill(script, rebuild, make).expect("filled");
        }
        assert_eq!(made, [("a", false), ("a", true), ("b", false)]);
        assert!(cache.fill("c", false, |_| Err("no network".into())).is_err());
        // What has failed is tried again.
        let mut again = false;
        let make = |_: &Cache| {
            again = true;
            Ok(())
        };
        cache.fill("c", false, make).expect("filled");
        assert!(again);
    }
}
