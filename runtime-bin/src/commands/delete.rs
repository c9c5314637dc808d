//! `corten delete`: removes a container and all that it holds.

use libcorten::ErrorKind;

use super::runtime;
use crate::Outcome;
use crate::arguments::{Delete, Global};
use crate::log::Log;

pub(crate) fn run(global: &Global, log: &Log, options: &Delete) -> Outcome {
    match runtime(global)?.load(&options.id).and_then(|container| container.delete(options.force)) {
        // What is to be gone by force may be gone already.
        Err(error) if options.force && error.kind() == ErrorKind::NotFound => Ok(0),
        other => {
            for warning in other? {
                log.warn(&warning);
            }
            Ok(0)
        }
    }
}
