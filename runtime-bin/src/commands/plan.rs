//! `corten plan`: what would be done, step by step, with the config item that each step comes from.

use libcorten::{Console, CreateOptions};

use super::create::cgroup_manager;
use super::{bundle, runtime};
use crate::arguments::{Global, Plan, PlanFormat};
use crate::{Failure, Outcome, output};

pub(crate) fn run(global: &Global, options: &Plan) -> Outcome {
    let bundle = bundle(options.bundle.as_deref(), options.config.as_deref())?;
    let terminal =
        bundle.spec().process().as_ref().is_some_and(|process| process.terminal().unwrap_or(false));
    let console = if terminal { Console::Foreground } else { Console::None };
    let create =
        CreateOptions { console, cgroup_manager: cgroup_manager(global), ..CreateOptions::default() };
    let plan = runtime(global)?.plan(&options.id, &bundle, &create, true)?;
    let text = match options.format {
        PlanFormat::Text => plan.to_string(),
        PlanFormat::Json => {
            let json = serde_json::to_string_pretty(&plan)
                .map_err(|error| Failure::new(format!("plan: {error}")))?;
            json + "\n"
        }
    };
    output::print(&text)?;
    Ok(0)
}
