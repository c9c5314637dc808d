//! What fuzz targets see: readers of bytes that are no part of the public interface.

use corten_cgroup::LegacyControllers;

use crate::plan::LockedFlags;
use crate::{launch, resctrl, spec, state};

/// Reads a `state.json`. What is one is written and read again as the same.
///
/// # Panics
/// It is not.
pub fn state(json: &[u8]) {
    match state::record_of(json) {
        Ok(record) => {
            let written = serde_json::to_vec(&record).unwrap_or_default();
            match state::record_of(&written) {
                Ok(again) => assert_eq!(serde_json::to_vec(&again).unwrap_or_default(), written),
                Err(damage) => panic!("{damage}: {}", String::from_utf8_lossy(&written)),
            }
        }
        Err(damage) => assert!(!damage.to_string().is_empty()),
    }
}

/// Reads a line of `/proc/PID/stat`.
pub fn proc_stat(line: &[u8]) {
    std::hint::black_box(state::start_time_in(line).ok());
}

/// Reads a `process.json` of `exec`.
pub fn process(json: &[u8]) {
    if let Err(error) = spec::parse_process(json) {
        assert!(!error.to_string().is_empty());
    }
}

/// Reads what `update` takes, and works out the settings of cgroups and the properties of a unit.
pub fn update(json: &[u8]) {
    let resources = match spec::parse_resources(json) {
        Ok(resources) => resources,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    if spec::judge_resources(&resources).is_err() {
        return;
    }
    let limits = spec::resources::limits(&resources);
    for legacy in [LegacyControllers::none(), ["cpu", "memory", "pids", "blkio"].into_iter().collect()] {
        if let Err(error) = limits.settings(&legacy) {
            assert!(!error.to_string().is_empty());
        }
        if let Err(error) = limits.properties(&legacy) {
            assert!(!error.to_string().is_empty());
        }
    }
}

/// Reads a `/proc/self/mountinfo`, and a file of `/proc/self/fdinfo`.
pub fn mountinfo(table: &[u8], info: &[u8], path: &std::path::Path) {
    for point in resctrl::mount_points(table) {
        std::hint::black_box(point);
    }
    let id = launch::locked_flags::mount_id(info);
    let refused = launch::locked_flags::refusal(table, id, path, true, LockedFlags::default());
    assert_eq!(refused, None, "of options that ask for nothing");
    std::hint::black_box(crate::host::has_namespace_root(table));
}
