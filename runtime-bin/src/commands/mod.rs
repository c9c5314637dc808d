//! The commands, one file each.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod features;
pub(crate) mod freeze;
pub(crate) mod kill;
pub(crate) mod list;
pub(crate) mod plan;
pub(crate) mod ps;
pub(crate) mod run;
pub(crate) mod spec;
pub(crate) mod start;
pub(crate) mod state;
pub(crate) mod update;
pub(crate) mod version;

use std::path::Path;

use libcorten::{Bundle, Runtime};

use crate::Failure;
use crate::arguments::Global;

/// Opens the place where containers live.
fn runtime(global: &Global) -> Result<Runtime, Failure> {
    Ok(Runtime::new(global.state_root()?))
}

/// Opens the bundle; the current directory if none was named.
fn bundle(directory: Option<&Path>) -> Result<Bundle, Failure> {
    Ok(Bundle::open(directory.unwrap_or(Path::new(".")))?)
}
