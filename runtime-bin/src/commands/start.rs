//! `corten start`: the process of a created container.

use super::runtime;
use crate::arguments::{Global, Id};
use crate::log::Log;
use crate::{Outcome, caller};

pub(crate) fn run(global: &Global, log: &Log, options: &Id) -> Outcome {
    let container = runtime(global)?.load(&options.id)?;
    if caller::notify_socket().is_none() {
        container.start()?.into_iter().for_each(|refused| log.note(&refused));
        return Ok(0);
    }
    let (readiness, refused) = container.start_and_listen()?;
    refused.into_iter().for_each(|refused| log.note(&refused));
    if let Some(readiness) = readiness {
        caller::forward(readiness, None)?.into_iter().for_each(|warning| log.warn(warning));
    }
    Ok(0)
}
