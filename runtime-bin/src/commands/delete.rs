//! `corten delete`: removes containers and all that they hold.

use libcorten::ErrorKind;

use super::{runtime, to_each};
use crate::Outcome;
use crate::arguments::{Delete, Global};
use crate::log::Log;

pub(crate) fn run(global: &Global, log: &Log, options: &Delete) -> Outcome {
    to_each(&runtime(global)?, &options.id, options.regex, |container| {
        match container.and_then(|container| container.delete(options.force)) {
            // What is to be gone by force may be gone already.
            Err(error) if options.force && error.kind() == ErrorKind::NotFound => Ok(()),
            deleted => {
                deleted?.iter().for_each(|warning| log.warn(warning));
                Ok(())
            }
        }
    })?;
    Ok(0)
}
