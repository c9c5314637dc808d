//! `corten mounts`: other mounts for a running container (crun).

use libcorten::oci::Mount;
use libcorten::spec;

use super::runtime;
use crate::arguments::{Global, MountList, Mounts};
use crate::log::Log;
use crate::{Failure, Outcome, reason};

pub(crate) fn run(log: &Log, global: &Global, options: &Mounts) -> Outcome {
    match options {
        Mounts::Add(list) => {
            let warnings = runtime(global)?.load(&list.id)?.add_mounts(&read(list)?)?;
            warnings.iter().for_each(|warning| log.warn(warning));
        }
        Mounts::Remove(list) => runtime(global)?.load(&list.id)?.remove_mounts(&read(list)?)?,
    }
    Ok(0)
}

fn read(list: &MountList) -> Result<Vec<Mount>, Failure> {
    let file = list.file.display();
    let text = std::fs::read(&list.file)
        .map_err(|error| Failure::new(format!("open {file}: {}", reason(&error))))?;
    spec::parse_mounts(&text).map_err(|error| Failure::new(error.about(&file.to_string())))
}
