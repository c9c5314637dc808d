//! `cargo xtask install` and `cargo xtask uninstall`: the binary, its man pages and completions, and the
//! engines' configuration.
//!
//! What is wrong with an engine's configuration is found before anything is written, and a file is replaced
//! as a whole or not at all. One that was not made here is kept beside the new one, as `FILE.bak`.

mod engines;

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::man::Arguments;
use crate::{Result, man, musl, shell};
use engines::{Engine, Runtime};

/// Where to.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Directory for bin and share
    #[arg(long, default_value = "/usr/local")]
    prefix: PathBuf,
    /// Directory that stands for /, to make a package or to try
    #[arg(long, visible_alias = "root", default_value = "/")]
    destdir: PathBuf,
}

/// What to install.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Place,
    /// Write this engine's configuration; for more than one, give it more than once
    #[arg(long)]
    engine: Vec<Engine>,
    /// Make corten the runtime that these engines take when none is named
    #[arg(long, requires = "engine")]
    default: bool,
    /// The binary, if it is not to be built
    #[arg(long)]
    binary: Option<PathBuf>,
}

impl Place {
    /// Where a file is as others will see it.
    fn path(&self, file: &str) -> PathBuf {
        Path::new("/").join(&self.prefix).join(file)
    }

    /// Where a file is now.
    fn under(&self, path: &Path) -> PathBuf {
        self.destdir.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn binary(&self) -> PathBuf {
        self.path("bin/corten")
    }

    /// The files beside the binary, and what is in them.
    fn documents(&self) -> Result<Vec<(PathBuf, Vec<u8>)>> {
        let pages =
            man::pages()?.into_iter().map(|(name, text)| (self.path("share/man/man8").join(name), text));
        let completions = [
            (Shell::Bash, "share/bash-completion/completions/corten"),
            (Shell::Elvish, "share/elvish/lib/corten.elv"),
            (Shell::Fish, "share/fish/vendor_completions.d/corten.fish"),
            (Shell::Zsh, "share/zsh/site-functions/_corten"),
        ];
        let completions = completions.map(|(shell, file)| {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "corten", &mut script);
            (self.path(file), script)
        });
        Ok(pages.chain(completions).collect())
    }
}

/// Installs, and says what was done and what is left to do.
pub(crate) fn run(options: &Options) -> Result {
    let Options { place, .. } = options;
    let path = place.binary();
    let runtime = Runtime { path: &path, is_default: options.default };
    let mut configurations = Vec::new();
    for engine in &options.engine {
        let file = engine.file(|file| read(&place.under(file)))?;
        let old = read(&place.under(&file))?;
        let new = engine.with(old.as_deref(), &runtime);
        let new = new.map_err(|error| format!("{}: {error}", place.under(&file).display()))?;
        configurations.push((engine, file, old, new));
    }
    let documents = place.documents()?;
    let built = options.binary.clone().map_or_else(build, Ok)?;
    let binary = fs::read(&built).map_err(|error| format!("{}: {error}", built.display()))?;

    write(&place.under(&path), &binary, 0o755)?;
    for (path, text) in documents {
        write(&place.under(&path), &text, 0o644)?;
    }
    for (engine, file, old, new) in configurations {
        let file = place.under(&file);
        if old.as_deref() == Some(&new) {
            println!("{} is as it should be", file.display());
        } else {
            keep(&file, old.filter(|_| !engine.has_own_file()))?;
            write(&file, new.as_bytes(), 0o644)?;
        }
        let drop_in = engine.drop_in().map(|file| place.under(file)).zip(engine.drop_in_text(&runtime));
        let mut is_new = false;
        if let Some((file, text)) = drop_in {
            is_new = read(&file)?.as_deref() != Some(&text);
            if is_new {
                write(&file, text.as_bytes(), 0o644)?;
            }
        }
        println!("    {}", engine.next_step(is_new));
    }
    if options.engine.is_empty() {
        print_configurations(&runtime)?;
    }
    Ok(())
}

/// Builds the release binary: musl's where its target is installed.
fn build() -> Result<PathBuf> {
    if musl::has_target()? { musl::build() } else { shell::build_release() }
}

fn print_configurations(runtime: &Runtime) -> Result {
    println!("\nEngines take it as a runtime after `cargo xtask install --engine NAME`, or by these lines:");
    for engine in Engine::ALL {
        println!("\n# {}", engine.file(|_| Ok(None))?.display());
        print!("{}", engine.with(None, runtime)?);
    }
    Ok(())
}

/// Removes what [`run`] has made; takes corten out of the configuration of all engines.
pub(crate) fn uninstall(place: &Place) -> Result {
    let path = place.binary();
    let documents = place.documents()?.into_iter().map(|(path, _)| path);
    for engine in Engine::ALL {
        if let Some(file) = engine.drop_in() {
            remove(&place.under(file))?;
        }
        let file = place.under(&engine.file(|file| read(&place.under(file)))?);
        let Some(old) = read(&file)? else { continue };
        let new = engine.without(&old, &path).map_err(|error| format!("{}: {error}", file.display()))?;
        match new {
            None => remove(&file)?,
            Some(new) if new == old => continue,
            Some(new) => {
                keep(&file, Some(old))?;
                write(&file, new.as_bytes(), 0o644)?;
            }
        }
        println!("    {}", engine.next_step(engine.drop_in().is_some()));
    }
    for path in documents.chain([path.clone()]) {
        remove(&place.under(&path))?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display()).into()),
    }
}

/// Writes a file beside the place where it belongs, and moves it there: nobody sees half of it, and a binary
/// that runs is not written to. One that is there keeps its mode.
fn write(path: &Path, content: &[u8], mode: u32) -> Result {
    // What is a link stays one.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(format!("{} names no file", path.display()).into());
    };
    fs::create_dir_all(directory).map_err(failed)?;
    let new = directory.join(format!(".{}.new", name.to_string_lossy()));
    let mode = fs::metadata(path).map_or(mode, |metadata| metadata.permissions().mode());
    fs::write(&new, content).map_err(failed)?;
    fs::set_permissions(&new, Permissions::from_mode(mode)).map_err(failed)?;
    fs::rename(&new, path).map_err(failed)?;
    println!("wrote {}", path.display());
    Ok(())
}

/// Keeps a file that is about to be replaced.
fn keep(path: &Path, content: Option<String>) -> Result {
    let Some(content) = content else { return Ok(()) };
    let mut copy = path.as_os_str().to_owned();
    copy.push(".bak");
    write(Path::new(&copy), content.as_bytes(), 0o600)
}

fn remove(path: &Path) -> Result {
    match fs::remove_file(path) {
        Ok(()) => println!("removed {}", path.display()),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(format!("{}: {error}", path.display()).into()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Machine {
        directory: tempfile::TempDir,
    }

    impl Machine {
        fn new() -> Self {
            let machine = Self { directory: tempfile::tempdir().unwrap() };
            fs::write(machine.path("binary"), "ELF").unwrap();
            machine
        }

        fn path(&self, file: &str) -> PathBuf {
            self.directory.path().join(file)
        }

        fn read(&self, file: &str) -> String {
            fs::read_to_string(self.path(file)).unwrap()
        }

        fn place(&self) -> Place {
            Place { prefix: "/usr".into(), destdir: self.path("root") }
        }

        fn install(&self, engine: &[Engine]) -> Result {
            let binary = Some(self.path("binary"));
            run(&Options {
                place: self.place(),
                engine: engine.to_vec(),
                default: !engine.is_empty(),
                binary,
            })
        }

        fn files(&self) -> Vec<String> {
            let mut files = Vec::new();
            let mut directories = vec![self.path("root")];
            while let Some(directory) = directories.pop() {
                for entry in fs::read_dir(directory).unwrap() {
                    let path = entry.unwrap().path();
                    if path.is_dir() {
                        directories.push(path);
                    } else {
                        files.push(path.strip_prefix(self.path("root")).unwrap().display().to_string());
                    }
                }
            }
            files.sort();
            files
        }
    }

    #[test]
    fn what_is_installed_can_be_run_and_read() {
        let machine = Machine::new();
        machine.install(&[]).unwrap();
        let mode = |file: &str| fs::metadata(machine.path(file)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode("root/usr/bin/corten"), 0o755);
        assert_eq!(mode("root/usr/share/man/man8/corten.8"), 0o644);
        assert_eq!(machine.read("root/usr/bin/corten"), "ELF");
        assert!(
            machine.read("root/usr/share/bash-completion/completions/corten").contains("--systemd-cgroup")
        );
        assert!(machine.read("root/usr/share/man/man8/corten-run.8").contains("corten\\-create(8)"));
        let files = machine.files();
        assert!(files.iter().all(|file| file.starts_with("usr/") && !file.ends_with(".new")), "{files:?}");
    }

    #[test]
    fn what_was_installed_is_removed() {
        let machine = Machine::new();
        machine.install(&Engine::ALL).unwrap();
        assert!(machine.files().len() > 20);
        uninstall(&machine.place()).unwrap();
        assert_eq!(machine.files(), [""; 0]);
        // Nothing is there: nothing to do.
        uninstall(&machine.place()).unwrap();
    }

    /// BuildKit is told, too, but only where corten is the default.
    #[test]
    fn dockers_service_has_a_drop_in() {
        let machine = Machine::new();
        machine.install(&[Engine::Docker]).unwrap();
        let file = "root/etc/systemd/system/docker.service.d/corten.conf";
        let text = "[Service]\nEnvironment=\"DOCKER_BUILDKIT_RUNC_COMMAND=/usr/bin/corten\"\n";
        assert_eq!(machine.read(file), text);
        uninstall(&machine.place()).unwrap();
        let binary = Some(machine.path("binary"));
        run(&Options { place: machine.place(), engine: vec![Engine::Docker], default: false, binary })
            .unwrap();
        assert!(machine.path("root/etc/docker/daemon.json").exists() && !machine.path(file).exists());
    }

    #[test]
    fn configurations_of_others_are_kept() {
        let machine = Machine::new();
        let file = machine.path("root/etc/docker/daemon.json");
        let (before, mode) = ("{\n  \"live-restore\": true\n}\n", 0o640);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, before).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        machine.install(&[Engine::Docker]).unwrap();
        let after = machine.read("root/etc/docker/daemon.json");
        assert!(after.starts_with("{\n  \"live-restore\": true,\n  \"runtimes\": {"), "{after}");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, mode);
        assert_eq!(machine.read("root/etc/docker/daemon.json.bak"), before);
        // A second time there is nothing to do, and nothing of the first copy is lost.
        machine.install(&[Engine::Docker]).unwrap();
        assert_eq!(machine.read("root/etc/docker/daemon.json.bak"), before);
        uninstall(&machine.place()).unwrap();
        assert_eq!(machine.read("root/etc/docker/daemon.json"), before);
    }

    #[test]
    fn nothing_is_written_if_a_configuration_is_broken() {
        let machine = Machine::new();
        let file = machine.path("root/etc/docker/daemon.json");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "{ \"debug\": tru }").unwrap();
        let error = machine.install(&[Engine::Podman, Engine::Docker]).unwrap_err().to_string();
        assert!(error.starts_with(&file.display().to_string()), "{error}");
        assert_eq!(machine.files(), ["etc/docker/daemon.json"]);
        assert_eq!(machine.read("root/etc/docker/daemon.json"), "{ \"debug\": tru }");
    }
}
