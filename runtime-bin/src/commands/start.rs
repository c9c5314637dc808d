//! `corten start`: the process of a created container.

use super::runtime;
use crate::arguments::{Global, Id};
use crate::log::Log;
use crate::{Outcome, caller};

pub(crate) fn run(global: &Global, log: &Log, options: &Id) -> Outcome {
    let container = runtime(global)?.load(&options.id)?;
    if caller::notify_socket().is_none() {
        container.start()?;
    } else if let Some(readiness) = container.start_and_listen()? {
        caller::forward(readiness, None)?.into_iter().for_each(|warning| log.warn(warning));
    }
    Ok(0)
}
