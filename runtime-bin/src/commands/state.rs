//! `corten state`: the state of a container as JSON. Engines parse it; nothing else is printed.

use super::runtime;
use crate::arguments::{Global, Id};
use crate::{Failure, Outcome, output};

pub(crate) fn run(global: &Global, options: &Id) -> Outcome {
    let state = runtime(global)?.load(&options.id)?.state()?;
    let mut value = serde_json::to_value(&state).map_err(|error| Failure::new(format!("state: {error}")))?;
    // runc has the key, and leaves it empty here.
    if let Some(object) = value.as_object_mut() {
        object.insert("owner".to_owned(), "".into());
    }
    let text =
        serde_json::to_string_pretty(&value).map_err(|error| Failure::new(format!("state: {error}")))?;
    output::print(&text)?;
    Ok(0)
}
