//! `corten start`: the process of a created container.

use super::runtime;
use crate::Outcome;
use crate::arguments::{Global, Id};

pub(crate) fn run(global: &Global, options: &Id) -> Outcome {
    runtime(global)?.load(&options.id)?.start()?;
    Ok(0)
}
