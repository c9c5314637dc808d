//! `corten delete`: removes a container and all that it holds.

use libcorten::ErrorKind;

use super::runtime;
use crate::Outcome;
use crate::arguments::{Delete, Global};

pub(crate) fn run(global: &Global, options: &Delete) -> Outcome {
    match runtime(global)?.load(&options.id).and_then(|container| container.delete(options.force)) {
        // What is to be gone by force may be gone already.
        Err(error) if options.force && error.kind() == ErrorKind::NotFound => Ok(0),
        other => {
            other?;
            Ok(0)
        }
    }
}
