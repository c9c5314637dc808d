//! Rounds: the runtimes take turns.
//!
//! A machine that gets slower does so for all of them, and the order is another one in every round, so that
//! no runtime always starts while the kernel still clears away what the same other one has left.

use std::process::{Command, ExitStatus};
use std::time::Instant;

use nix::sys::resource::{Usage, UsageWho, getrusage};

use super::figures::{Measurement, Role, Row, Sample, Unit};
use super::statistics::Random;
use crate::Result;

/// How often something is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounds {
    pub(crate) warm_ups: usize,
    pub(crate) counted: usize,
}

impl Rounds {
    /// Fewer rounds, for what takes long: at least three.
    pub(crate) fn divided(self, by: usize) -> Self {
        Self { warm_ups: self.warm_ups.min(1), counted: (self.counted / by).max(3) }
    }
}

/// What is asked in every round.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) workload: &'static str,
    pub(crate) name: String,
    pub(crate) unit: Unit,
}

impl Case {
    pub(crate) fn new(workload: &'static str, name: impl Into<String>, unit: Unit) -> Self {
        Self { workload, name: name.into(), unit }
    }
}

/// Who is asked.
#[derive(Debug, Clone)]
pub(crate) struct Entrant {
    pub(crate) label: String,
    pub(crate) role: Role,
}

/// Asks all entrants in every round, by their position, for one sample for each case. Whoever cannot answer
/// at all is left out, with the reason; an answer that fails later is told and counted as failed.
pub(crate) fn alternate(
    rounds: Rounds,
    cases: &[Case],
    entrants: &[Entrant],
    mut ask: impl FnMut(usize) -> Result<Vec<Sample>>,
) -> Vec<Measurement> {
    let mut able = Vec::new();
    for (index, entrant) in entrants.iter().enumerate() {
        match ask(index) {
            Ok(_) => able.push(index),
            Err(error) => println!("left out: {}: {error}", entrant.label),
        }
    }
    let mut measurements: Vec<_> = cases.iter().map(|case| measurement(case, &able, entrants)).collect();
    let mut random = Random::new(2);
    let mut order: Vec<_> = (0..able.len()).collect();
    // The first try was the first warm-up.
    let warm_ups = rounds.warm_ups.saturating_sub(1);
    for round in 0..warm_ups + rounds.counted {
        random.shuffle(&mut order);
        for &row in &order {
            let Some((&index, entrant)) =
                able.get(row).and_then(|index| Some((index, entrants.get(*index)?)))
            else {
                continue;
            };
            let answer = ask(index);
            if let Err(error) = &answer {
                println!("FAILED: {}: {error}", entrant.label);
            }
            if round < warm_ups {
                continue;
            }
            let samples = answer.ok();
            for (number, measurement) in measurements.iter_mut().enumerate() {
                let sample = samples.as_ref().and_then(|samples| samples.get(number).copied());
                measurement.rows[row].rounds.push(sample);
            }
        }
    }
    measurements
}

fn measurement(case: &Case, able: &[usize], entrants: &[Entrant]) -> Measurement {
    let row = |entrant: &Entrant| Row {
        label: entrant.label.clone(),
        role: entrant.role,
        summary: None,
        rounds: Vec::new(),
    };
    Measurement {
        workload: case.workload.to_owned(),
        case: case.name.clone(),
        unit: case.unit,
        rows: able.iter().filter_map(|index| entrants.get(*index)).map(row).collect(),
    }
}

/// Runs a command to its end and says how long it took, by the monotonic clock and by the CPU. It is executed
/// without a shell and without a copy of this process's page tables (posix_spawn).
pub(crate) fn time(command: &mut Command) -> Result<Sample> {
    let stopwatch = Stopwatch::start()?;
    let status = command.status();
    let sample = stopwatch.stop()?;
    judge(command, status)?;
    Ok(sample)
}

/// Runs a command that must succeed.
pub(crate) fn succeed(command: &mut Command) -> Result {
    let status = command.status();
    judge(command, status)
}

/// Says what failed, and why: the command is run again for its words.
fn judge(command: &mut Command, status: std::io::Result<ExitStatus>) -> Result {
    let status = status.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if status.success() {
        return Ok(());
    }
    // Not a pipe: a container that is created this time would keep it open.
    let words = tempfile::NamedTempFile::new()?;
    command.stderr(words.reopen()?).status()?;
    command.stderr(std::process::Stdio::null());
    let words = std::fs::read_to_string(words.path())?;
    let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
    Err(format!("{}: {status}: {}", arguments.join(" "), words.trim()).into())
}

/// Measures what happens between start and stop, children that were waited for included.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    cpu_ms: f64,
    start: Instant,
}

impl Stopwatch {
    pub(crate) fn start() -> Result<Self> {
        Ok(Self { cpu_ms: cpu_ms(&getrusage(UsageWho::RUSAGE_CHILDREN)?), start: Instant::now() })
    }

    pub(crate) fn stop(&self) -> Result<Sample> {
        let value = self.start.elapsed().as_secs_f64() * 1000.0;
        Ok(Sample { value, cpu_ms: Some(cpu_ms(&getrusage(UsageWho::RUSAGE_CHILDREN)?) - self.cpu_ms) })
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a few hours")]
fn cpu_ms(usage: &Usage) -> f64 {
    let both = usage.user_time() + usage.system_time();
    both.tv_sec() as f64 * 1000.0 + both.tv_usec() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entrants(labels: &[&str]) -> Vec<Entrant> {
        labels.iter().map(|label| Entrant { label: (*label).to_owned(), role: Role::Peer }).collect()
    }

    const ROUNDS: Rounds = Rounds { warm_ups: 2, counted: 30 };

    #[test]
    fn everybody_takes_part_in_every_round_in_changing_order() {
        let case = Case::new("test", "", Unit::Milliseconds);
        let mut asked = Vec::new();
        let done = alternate(ROUNDS, &[case], &entrants(&["a", "b", "c"]), |index| {
            asked.push(index);
            #[expect(clippy::cast_precision_loss, reason = "small")]
            Ok(vec![Sample::from(index as f64)])
        });
        let orders: std::collections::BTreeSet<_> = asked.chunks(3).map(<[usize]>::to_vec).collect();
        assert_eq!(orders.len(), 6, "{orders:?}");
        for (index, row) in done[0].rows.iter().enumerate() {
            assert_eq!(row.rounds.len(), ROUNDS.counted);
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let own = Some(Sample::from(index as f64));
            assert!(row.rounds.iter().all(|round| *round == own), "each has its own answers: {row:?}");
        }
    }

    #[test]
    fn who_cannot_is_left_out_and_who_fails_later_is_told() {
        let case = Case::new("test", "", Unit::Milliseconds);
        let mut count = 0;
        let done = alternate(ROUNDS, &[case], &entrants(&["never", "sometimes"]), |index| {
            count += 1;
            if index == 0 || count == 20 { Err("no".into()) } else { Ok(vec![Sample::from(1.0)]) }
        });
        let rows = &done[0].rows;
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].label.as_str(), rows[0].summarise().unwrap().failures), ("sometimes", 1));
    }

    #[test]
    fn a_command_that_fails_is_no_sample_and_says_why() {
        let mut command = Command::new("sh");
        let error = time(command.args(["-c", "echo a reason >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("a reason"), "{error}");
    }

    #[test]
    fn cpu_time_is_that_of_the_command() {
        let sample =
            time(Command::new("sh").args(["-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"]))
                .unwrap();
        assert!(sample.cpu_ms.unwrap() > 0.5, "{sample:?}");
        let sample = time(Command::new("sleep").arg("0.1")).unwrap();
        assert!(sample.value >= 100.0 && sample.cpu_ms.unwrap() < 50.0, "{sample:?}");
    }
}
