//! What was measured, as it is printed, drawn, and kept in a file.

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::statistics;

/// All of a bench.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) measurements: Vec<Measurement>,
    /// Workloads that could not be run, with the reasons.
    #[serde(default)]
    pub(crate) not_measured: Vec<String>,
}

impl Report {
    /// Returns what Corten could not do, and what could not be measured: no figure stands for it.
    pub(crate) fn failures(&self) -> Vec<String> {
        let mut failures = self.not_measured.clone();
        for measurement in &self.measurements {
            let title = measurement.title();
            if measurement.ours().next().is_none() {
                failures.push(format!("{title}: Corten is left out"));
            }
            for row in measurement.ours() {
                let failed = row.rounds.iter().filter(|round| round.is_none()).count();
                if failed > 0 {
                    failures.push(format!("{title}: {} failed {failed} times", row.label));
                }
            }
        }
        failures
    }
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "containers/s")]
    PerSecond,
    #[serde(rename = "KiB")]
    Kibibytes,
    #[serde(rename = "calls")]
    Calls,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::PerSecond => "containers/s",
            Self::Kibibytes => "KiB",
            Self::Calls => "calls",
        }
    }

    /// Writes a value with as many digits as mean something.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Milliseconds if value < 100.0 => format!("{value:.2}"),
            Self::Milliseconds | Self::PerSecond => format!("{value:.1}"),
            Self::Kibibytes | Self::Calls => format!("{value:.0}"),
        }
    }
}

/// What a row is in a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// The least that the kernel lets one get away with.
    Floor,
    /// What is compared with all others.
    Corten,
    /// Another runtime, or another way.
    Peer,
}

/// One value of one round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) value: f64,
    /// User and system time of all that was started and waited for, in milliseconds. Much less noisy on a
    /// shared machine, but without what the kernel does later on its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_ms: Option<f64>,
}

impl From<f64> for Sample {
    fn from(value: f64) -> Self {
        Self { value, cpu_ms: None }
    }
}

/// One question, and what each runtime answered in the same rounds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Measurement {
    pub(crate) workload: String,
    pub(crate) case: String,
    pub(crate) unit: Unit,
    pub(crate) rows: Vec<Row>,
}

/// A runtime's answers; a round that failed has none.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) label: String,
    pub(crate) role: Role,
    /// For readers of the file; worked out anew when it is read.
    #[serde(skip_deserializing)]
    pub(crate) summary: Option<Summary>,
    pub(crate) rounds: Vec<Option<Sample>>,
}

/// What is told of a row.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) p95: f64,
    pub(crate) min: f64,
    pub(crate) cpu_ms: Option<f64>,
    pub(crate) failures: usize,
}

impl Row {
    pub(crate) fn values(&self) -> Vec<Option<f64>> {
        self.rounds.iter().map(|round| round.map(|sample| sample.value)).collect()
    }

    /// Returns what is told of the row; none if no round succeeded.
    pub(crate) fn summarise(&self) -> Option<Summary> {
        let values: Vec<_> = self.values().into_iter().flatten().collect();
        let cpu: Vec<_> = self.rounds.iter().flatten().filter_map(|sample| sample.cpu_ms).collect();
        Some(Summary {
            median: statistics::median(&values)?,
            p95: statistics::quantile(&values, 0.95)?,
            min: statistics::quantile(&values, 0.0)?,
            cpu_ms: statistics::median(&cpu),
            failures: self.rounds.len() - values.len(),
        })
    }
}

impl Measurement {
    /// Returns Corten's rows.
    pub(crate) fn ours(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.role == Role::Corten)
    }

    /// Takes the rounds of the same question, asked again.
    pub(crate) fn append(&mut self, again: Self) {
        for more in again.rows {
            match self.rows.iter_mut().find(|row| row.label == more.label) {
                Some(row) => row.rounds.extend(more.rounds),
                None => self.rows.push(more),
            }
        }
    }

    pub(crate) fn title(&self) -> String {
        if self.case.is_empty() { self.workload.clone() } else { format!("{}: {}", self.workload, self.case) }
    }
}
