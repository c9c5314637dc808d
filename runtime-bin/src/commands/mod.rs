//! The commands, one file each.

pub(crate) mod checkpoint;
pub(crate) mod completion;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod features;
pub(crate) mod freeze;
pub(crate) mod kill;
pub(crate) mod list;
pub(crate) mod mounts;
pub(crate) mod plan;
pub(crate) mod ps;
pub(crate) mod restore;
pub(crate) mod run;
pub(crate) mod spec;
pub(crate) mod start;
pub(crate) mod state;
pub(crate) mod update;
pub(crate) mod version;

use std::path::{Component, Path, PathBuf};

use libcorten::{Bundle, Container, ErrorKind, Runtime};
use regex_lite::Regex;

use crate::Failure;
use crate::arguments::Global;

/// Opens the place where containers live.
fn runtime(global: &Global) -> Result<Runtime, Failure> {
    Ok(Runtime::new(state_root(global)?))
}

/// Returns the state root.
fn state_root(global: &Global) -> Result<PathBuf, Failure> {
    if let Some(root) = &global.root {
        let root =
            std::path::absolute(root).map_err(|error| Failure::new(format!("--root {root:?}: {error}")))?;
        // However it is written: `//`, `/.`, `/..`.
        if !root.components().any(|component| matches!(component, Component::Normal(_))) {
            return Err(Failure::new("Option --root argument should not be set to /"));
        }
        return Ok(root);
    }
    let runtime_directory = std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty());
    Ok(match runtime_directory {
        Some(directory) if !is_roots() => PathBuf::from(directory).join("corten"),
        _ => PathBuf::from("/run/corten"),
    })
}

/// Whether root's containers are meant. runc: whoever is root in a user namespace only is not, unless `USER`
/// says so; Podman calls the runtime of an ordinary user from there.
fn is_roots() -> bool {
    let is_named_root = || std::env::var_os("USER").is_some_and(|user| user == "root");
    nix::unistd::geteuid().is_root() && (!in_user_namespace() || is_named_root())
}

/// Whether this process is in a user namespace other than the machine's: that one maps all ids to themselves.
fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let map: Vec<_> = map.split_ascii_whitespace().collect();
    // Without the file there are no user namespaces.
    !map.is_empty() && map != ["0", "0", "4294967295"]
}

/// Opens the bundle; the current directory if none was named.
fn bundle(directory: Option<&Path>, config: Option<&Path>) -> Result<Bundle, Failure> {
    let directory = directory.unwrap_or(Path::new("."));
    Ok(match config {
        // crun: the default's name means the default.
        None => Bundle::open(directory),
        Some(config) if config == Path::new("config.json") => Bundle::open(directory),
        Some(config) => Bundle::open_with_config(directory, config),
    }?)
}

/// Does something to the container with this id; with `--regex`, to all containers whose id has a match for
/// it. A failure with one of these does not keep the others from theirs, and all failures are told.
fn to_each(
    runtime: &Runtime,
    id: &str,
    is_regex: bool,
    act: impl Fn(libcorten::Result<Container>) -> libcorten::Result<()>,
) -> Result<(), Failure> {
    if !is_regex {
        return Ok(act(runtime.load(id))?);
    }
    let expression = Regex::new(id)
        .map_err(|error| Failure::new(format!("invalid regular expression {id:?}: {error}")))?;
    let ids: Vec<String> =
        runtime.list()?.into_iter().map(|(id, _)| id).filter(|id| expression.is_match(id)).collect();
    let mut failures = Vec::new();
    for id in &ids {
        match act(runtime.load(id)) {
            // Gone meanwhile: no container has this id now.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => failures.push(format!("{id}: {}", error.chain())),
            Ok(()) => {}
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "failed for {} of {} containers: {}",
        failures.len(),
        ids.len(),
        failures.join("; ")
    )))
}
