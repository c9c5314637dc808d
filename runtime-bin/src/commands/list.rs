//! `corten list`: the containers of a state root.

use std::collections::BTreeMap;

use libcorten::State;

use super::runtime;
use crate::arguments::{Global, List, ListFormat};
use crate::log::Log;
use crate::{Failure, Outcome, output, reason};

pub(crate) fn run(global: &Global, log: &Log, options: &List) -> Outcome {
    let runtime = runtime(global)?;
    // A root that was named must be there; the default one comes with the first container.
    if global.root.is_some()
        && let Err(error) = std::fs::read_dir(runtime.root())
    {
        return Err(Failure::new(format!("open {}: {}", runtime.root().display(), reason(&error))));
    }
    let mut states = Vec::new();
    for (id, state) in runtime.list()? {
        match state {
            Ok(state) => states.push(state),
            // As runc: told, and no reason to hide the others.
            Err(error) => log.warn(&format!("load container {id}: {}", error.chain())),
        }
    }
    let text = match options.format {
        _ if options.quiet => states.iter().map(|state| format!("{}\n", state.id)).collect(),
        ListFormat::Table => table(&states),
        ListFormat::Json => json(&states)?,
    };
    output::print(&text)?;
    Ok(0)
}

/// The names of users, each looked for once.
#[derive(Default)]
struct Owners(BTreeMap<u32, String>);

impl Owners {
    fn name(&mut self, uid: u32) -> &str {
        self.0.entry(uid).or_insert_with(|| owner(uid))
    }
}

fn table(states: &[State]) -> String {
    let mut owners = Owners::default();
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned).to_vec()];
    for state in states {
        rows.push(vec![
            state.id.clone(),
            state.pid.to_string(),
            state.status.to_string(),
            state.bundle.display().to_string(),
            state.created.clone(),
            owners.name(state.owner_uid).to_owned(),
        ]);
    }
    output::table(&rows)
}

fn json(states: &[State]) -> Result<String, Failure> {
    // Go's way of writing an empty list, which engines know.
    if states.is_empty() {
        return Ok("null\n".to_owned());
    }
    let failed = |error| Failure::new(format!("list: {error}"));
    let mut owners = Owners::default();
    let mut values = Vec::new();
    for state in states {
        let mut value = serde_json::to_value(state).map_err(failed)?;
        if let Some(object) = value.as_object_mut() {
            object.insert("owner".to_owned(), owners.name(state.owner_uid).into());
        }
        values.push(value);
    }
    Ok(format!("{}\n", serde_json::to_string(&values).map_err(failed)?))
}

/// The name of a user, from /etc/passwd, or as runc the number (`#1000`). A static program does without the
/// name service.
fn owner(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("#{uid}"))
}
