//! The operations on containers.
use crate::{Result, State};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A bundle directory with its config, parsed and validated.
#[derive(Debug)]
pub struct Bundle;
impl Bundle {
    /// Opens a bundle.
    pub fn open(_dir: impl AsRef<Path>) -> Result<Self> { todo!() }
    /// Returns the config.
    pub fn spec(&self) -> &crate::oci::Spec { todo!() }
}

/// Where the container's terminal goes when `process.terminal` is true.
#[derive(Debug, Default, Clone)]
pub enum Console {
    /// No console: `process.terminal` must be false.
    #[default]
    None,
    /// The master is sent to this socket.
    Socket(PathBuf),
    /// The master stays with the caller: [`Container::take_console`].
    Master,
}

/// Options of create and run.
#[derive(Debug, Clone, Default)]
pub struct CreateOptions {
    /// Where the terminal goes.
    pub console: Console,
    /// File that gets init's pid.
    pub pid_file: Option<PathBuf>,
    /// Fds from 3 on that the container process keeps.
    pub preserve_fds: u32,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
}

/// How a container process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With this exit status.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
}
impl Exit {
    /// Shell's code.
    pub fn code(self) -> i32 { match self { Self::Code(c) => c, Self::Signal(s) => 128 + s } }
}

/// A place where containers live: the state root.
#[derive(Debug, Clone)]
pub struct Runtime;
impl Runtime {
    /// Uses `root` as state root (made when the first container is).
    pub fn new(_root: impl Into<PathBuf>) -> Self { todo!() }
    /// What create would do (`wait_for_start` true) or run.
    pub fn plan(&self, _id: &str, _bundle: &Bundle, _options: &CreateOptions) -> Result<()> { todo!() }
    /// Creates a container that waits for start.
    pub fn create(&self, _id: &str, _bundle: &Bundle, _options: &CreateOptions) -> Result<Container> { todo!() }
    /// Creates and starts.
    pub fn run(&self, _id: &str, _bundle: &Bundle, _options: &CreateOptions) -> Result<Container> { todo!() }
    /// Loads.
    pub fn load(&self, _id: &str) -> Result<Container> { todo!() }
    /// All containers, sorted by id.
    pub fn list(&self) -> Result<Vec<State>> { todo!() }
}

/// A container.
#[derive(Debug)]
pub struct Container;
impl Container {
    /// The id.
    pub fn id(&self) -> &str { todo!() }
    /// Init's pid in the caller's namespace.
    pub fn pid(&self) -> i32 { todo!() }
    /// The state now.
    pub fn state(&self) -> Result<State> { todo!() }
    /// Starts.
    pub fn start(&self) -> Result<()> { todo!() }
    /// Sends a signal to init.
    pub fn kill(&self, _signal: i32) -> Result<()> { todo!() }
    /// Waits for the end of the container process (a child of the caller).
    pub fn wait(&self) -> Result<Exit> { todo!() }
    /// Removes all.
    pub fn delete(&self, _force: bool) -> Result<()> { todo!() }
    /// Terminal master, once, with [`Console::Master`].
    pub fn take_console(&mut self) -> Option<OwnedFd> { todo!() }
    /// Pidfd of init.
    pub fn pidfd(&self) -> std::os::fd::BorrowedFd<'_> { todo!() }
}
