//! Many containers at a time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Result;
use crate::bench::figures::{Measurement, Sample, Unit};
use crate::bench::measure::{Case, Stopwatch, alternate, succeed};
use crate::bench::runtime::Runtime;
use crate::bench::{Bench, entrants};

const RUNS: usize = 200;
const WIDTHS: [usize; 4] = [1, 2, 4, 8];

/// How many containers a runtime makes in a second.
pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Measurement>> {
    let runtimes: Vec<_> = bench.runtimes.iter().collect();
    let cases = WIDTHS.map(|width| Case::new("parallel", format!("{width} at a time"), Unit::PerSecond));
    Ok(alternate(bench.rounds().divided(12), &cases, &entrants(&runtimes), |index| {
        let ids = || (0..RUNS).map(|_| bench.id()).collect::<Vec<_>>();
        WIDTHS.iter().map(|width| batch(bench, runtimes[index], &ids(), *width)).collect()
    }))
}

/// Runs all of these containers, so many at a time.
fn batch(bench: &Bench<'_>, runtime: &Runtime, ids: &[String], width: usize) -> Result<Sample> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let bundle = &bench.default;
    let work = || {
        while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
            let done = runtime.run(bundle, id).and_then(|mut command| succeed(&mut command));
            if let (Err(error), Ok(mut failure)) = (done, failure.lock()) {
                *failure = Some(error.to_string());
                return;
            }
        }
    };
    let stopwatch = Stopwatch::start()?;
    std::thread::scope(|scope| {
        (0..width).for_each(|_| {
            scope.spawn(work);
        });
    });
    let sample = stopwatch.stop()?;
    if let Some(error) = failure.into_inner().unwrap_or(None) {
        return Err(error.into());
    }
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let count = ids.len() as f64;
    Ok(Sample { value: count / sample.value * 1000.0, cpu_ms: sample.cpu_ms.map(|cpu| cpu / count) })
}
