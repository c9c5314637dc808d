//! The programs that are compared, and their commands.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::figures::Role;
use crate::Result;

/// A runtime, or the floor.
#[derive(Debug, Clone)]
pub(crate) struct Runtime {
    /// Name, version and, where there are several builds, libc.
    pub(crate) label: String,
    pub(crate) role: Role,
    pub(crate) program: PathBuf,
    /// The state root, which is no other runtime's.
    pub(crate) root: PathBuf,
    /// Options before the command.
    pub(crate) options: Vec<String>,
}

/// A bundle, and which of the floor's containers is the same.
#[derive(Debug, Clone)]
pub(crate) struct Bundle {
    pub(crate) directory: PathBuf,
    pub(crate) floor: Floor,
}

/// What the floor knows of a bundle.
#[derive(Debug, Clone)]
pub(crate) enum Floor {
    Default,
    /// With the file of the seccomp filter.
    Docker(PathBuf),
    /// Nothing.
    None,
}

impl Runtime {
    /// Corten or a peer. `root` is the directory for all state roots.
    pub(crate) fn new(program: &Path, role: Role, root: &Path) -> Result<Self> {
        let version = Command::new(program).arg("--version").stderr(Stdio::null()).output();
        let version = version.map_err(|error| format!("{}: {error}", program.display()))?;
        let text = String::from_utf8_lossy(&version.stdout).into_owned();
        let first = text.lines().next().unwrap_or_default();
        let (name, version) = first.split_once(" version ").unwrap_or((first, ""));
        let mut label = format!("{name} {version}").trim().to_owned();
        if role == Role::Corten {
            label = format!("corten ({})", libc(program));
        }
        if label.is_empty() {
            return Err(format!("{}: does not tell its version", program.display()).into());
        }
        let root = root.join(label.replace(['/', ' '], "-"));
        fs::create_dir_all(&root)?;
        Ok(Self { label, role, program: program.to_owned(), root, options: Vec::new() })
    }

    /// The floor.
    pub(crate) fn floor(program: &Path, libc: &str) -> Self {
        let label = format!("floor ({libc})");
        Self {
            label,
            role: Role::Floor,
            program: program.to_owned(),
            root: PathBuf::new(),
            options: Vec::new(),
        }
    }

    /// What the machine's description says of it.
    pub(crate) fn describe(&self) -> String {
        if self.role == Role::Floor {
            return self.label.clone();
        }
        let output = Command::new(&self.program).arg("--version").stderr(Stdio::null()).output();
        let text =
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with(['+', 's', 'g', 'l'])).collect();
        format!("{}: {}", self.label, lines.join(", "))
    }

    pub(crate) fn is_oci(&self) -> bool {
        self.role != Role::Floor
    }

    /// A command with the runtime's own state root, silent.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = quiet(&self.program);
        command.arg("--root").arg(&self.root).args(&self.options).args(arguments);
        command
    }

    /// `run`; the floor does what it knows.
    pub(crate) fn run(&self, bundle: &Bundle, id: &str) -> Result<Command> {
        if self.is_oci() {
            return Ok(self.bundle_command("run", bundle, id));
        }
        let mut command = quiet(&self.program);
        match &bundle.floor {
            Floor::Default => {}
            Floor::Docker(filter) => {
                command.arg("--docker").arg(filter);
            }
            Floor::None => return Err("the floor knows no such container".into()),
        }
        command
            .arg(bundle.directory.join("rootfs"))
            .arg(Path::new("/sys/fs/cgroup").join(id))
            .arg("/bin/true");
        Ok(command)
    }

    /// `create` or `run`.
    pub(crate) fn bundle_command(&self, verb: &str, bundle: &Bundle, id: &str) -> Command {
        let mut command = self.command(&[verb, "--bundle"]);
        command.arg(&bundle.directory).arg(id);
        command
    }

    /// `create` with a pid file.
    pub(crate) fn create(&self, bundle: &Bundle, id: &str) -> Command {
        let mut command = self.command(&["create", "--bundle"]);
        command.arg(&bundle.directory).arg("--pid-file").arg(self.pid_file()).arg(id);
        command
    }

    /// The first process of the container that was created last.
    pub(crate) fn pid(&self) -> Result<i32> {
        Ok(fs::read_to_string(self.pid_file())?.trim().parse()?)
    }

    fn pid_file(&self) -> PathBuf {
        PathBuf::from(format!("{}.pid", self.root.display()))
    }
}

/// A command without input and output.
fn quiet(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Which C library a static program was linked with.
fn libc(program: &Path) -> &'static str {
    let bytes = fs::read(program).unwrap_or_default();
    let has = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    if has(b"glibc") || has(b"GLIBC") { "glibc" } else { "musl" }
}

/// A container that is there until this is dropped.
#[derive(Debug)]
pub(crate) struct Live<'a> {
    runtime: &'a Runtime,
    pub(crate) id: String,
    gone: bool,
}

impl<'a> Live<'a> {
    /// Creates a container, and starts it if it is to run.
    pub(crate) fn create(runtime: &'a Runtime, bundle: &Bundle, id: String, start: bool) -> Result<Self> {
        let live = Self::of(runtime, id);
        super::measure::succeed(&mut runtime.create(bundle, &live.id))?;
        if start {
            super::measure::succeed(&mut runtime.command(&["start", &live.id]))?;
        }
        Ok(live)
    }

    /// Takes care of a container that somebody else creates.
    pub(crate) fn of(runtime: &'a Runtime, id: String) -> Self {
        Self { runtime, id, gone: false }
    }

    /// It has been deleted.
    pub(crate) fn forget(mut self) {
        self.gone = true;
    }
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        if !self.gone {
            // Nothing may have been made.
            self.runtime.command(&["delete", "--force", &self.id]).status().ok();
        }
    }
}

/// Makes a copy that is like an installed program: what a linker has just written lies in the page cache in
/// small pieces, which makes mapping it slower.
pub(crate) fn install(program: &Path, directory: &Path) -> Result<PathBuf> {
    fs::create_dir_all(directory)?;
    let to = directory.join(program.file_name().ok_or("a program without a name")?);
    fs::copy(program, &to).map_err(|error| format!("{}: {error}", program.display()))?;
    Ok(to)
}
