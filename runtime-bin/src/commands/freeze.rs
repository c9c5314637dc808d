//! `corten pause` and `corten resume`: all processes of a container are frozen, and thawed.

use super::runtime;
use crate::Outcome;
use crate::arguments::{Global, Id};

pub(crate) fn pause(global: &Global, options: &Id) -> Outcome {
    runtime(global)?.load(&options.id)?.pause()?;
    Ok(0)
}

pub(crate) fn resume(global: &Global, options: &Id) -> Outcome {
    runtime(global)?.load(&options.id)?.resume()?;
    Ok(0)
}
