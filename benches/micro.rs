//! What Corten works out before the kernel makes a container: `cargo bench -p corten-benches`.
//!
//! The configs are those that `runc spec` and Docker write.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros; a bench stops at what it does not expect"
)]

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use corten_cgroup::device::{Filter, Rule};
use criterion::{Criterion, criterion_group, criterion_main};
use libcorten::plan::HostStep;
use libcorten::{Bundle, CreateOptions, Plan, Runtime, spec};

const CONFIGS: [(&str, &[u8]); 2] = [
    ("default", include_bytes!("../crates/libcorten/tests/data/default-config.json")),
    ("docker", include_bytes!("../crates/libcorten/tests/data/docker-config.json")),
];

/// A state root that cannot be made, so that no filter is cached.
const NOWHERE: &str = "/proc/nowhere";

/// The config without a terminal, for which a plan would want a place.
fn bundle(config: &[u8]) -> Bundle {
    let mut spec = spec::parse(config).unwrap();
    spec.process_mut().as_mut().unwrap().set_terminal(Some(false));
    Bundle::new("/", spec).unwrap()
}

fn plan(root: &Path, bundle: &Bundle) -> Plan {
    Runtime::new(root).plan("bench", bundle, &CreateOptions::default(), false).unwrap()
}

fn rules(plan: &Plan) -> Vec<Rule> {
    let rules = |step: &HostStep| match step {
        HostStep::LoadDeviceFilter { rules, .. } => Some(rules.clone()),
        _ => None,
    };
    plan.host.iter().find_map(|planned| rules(&planned.step)).unwrap_or_default()
}

fn micro(c: &mut Criterion) {
    let root = tempfile::tempdir().unwrap();
    for (name, config) in CONFIGS {
        let bundle = bundle(config);
        let planned = plan(root.path(), &bundle);
        let rules = rules(&planned);
        c.bench_function(&format!("parse/{name}"), |b| b.iter(|| spec::parse(black_box(config)).unwrap()));
        c.bench_function(&format!("validate/{name}"), |b| {
            b.iter(|| spec::validate(black_box(bundle.spec())).unwrap())
        });
        // With a look at the host, and the seccomp filter from the cache.
        c.bench_function(&format!("plan/{name}"), |b| b.iter(|| plan(root.path(), black_box(&bundle))));
        c.bench_function(&format!("encode/{name}"), |b| {
            b.iter(|| {
                let steps = black_box(&planned).inside.iter().map(|step| (step.item.as_c_str(), &step.step));
                corten_init::encode(&[-1; 32], steps).unwrap()
            });
        });
        c.bench_function(&format!("device filter/{name}"), |b| b.iter(|| Filter::compile(black_box(&rules))));
    }
    let docker = bundle(CONFIGS[1].1);
    c.bench_function("plan and seccomp filter/docker", |b| {
        b.iter(|| plan(NOWHERE.as_ref(), black_box(&docker)))
    });
}

/// Seconds in all: these are to show a step of ten percent, not of one.
fn quick() -> Criterion {
    let criterion = Criterion::default().sample_size(20);
    criterion.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(600))
}

criterion_group! { name = benches; config = quick(); targets = micro }
criterion_main!(benches);
