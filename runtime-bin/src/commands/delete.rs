//! `corten delete`: removes containers and all that they hold.

use libcorten::ErrorKind;
use libcorten::lifecycle::Deletion;

use super::{runtime, to_each};
use crate::Outcome;
use crate::arguments::{Delete, Global};
use crate::log::Log;

pub(crate) fn run(global: &Global, log: &Log, options: &Delete) -> Outcome {
    to_each(&runtime(global)?, &options.id, options.regex, |container| {
        let mut observe = |deletion: &Deletion<'_>| {
            if log.wants_details() {
                log.detail(&format!("delete: {deletion:?}"));
            }
        };
        match container.and_then(|container| container.delete_observed(options.force, &mut observe)) {
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
