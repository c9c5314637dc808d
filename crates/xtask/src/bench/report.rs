//! What is printed, and the file of all figures.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use super::figures::{Measurement, Report, Role, Row};
use super::statistics::{Ratio, ratio};
use crate::Result;

/// Prints all that was measured.
pub(crate) fn show(report: &Report, markdown: bool) -> Result {
    print!("{}", text(report, markdown)?);
    Ok(())
}

fn text(report: &Report, markdown: bool) -> Result<String> {
    let mut out = String::new();
    writeln!(out, "\n{}", report.machine.line())?;
    report
        .machine
        .runtimes
        .iter()
        .try_for_each(|runtime| writeln!(out, "{}{runtime}", if markdown { "* " } else { "  " }))?;
    for measurement in &report.measurements {
        table(&mut out, measurement, markdown)?;
    }
    Ok(out)
}

/// Writes a measurement as a table.
fn table(out: &mut String, measurement: &Measurement, markdown: bool) -> Result {
    let unit = measurement.unit;
    let rounds = measurement.rows.iter().map(|row| row.rounds.len()).max().unwrap_or(0);
    let mut header: Vec<String> = ["", "median", "p95", "least", "CPU ms"].map(str::to_owned).to_vec();
    header.extend(measurement.ours().map(|ours| format!("{} is", ours.label)));
    let mut lines = vec![header];
    for row in &measurement.rows {
        let Some(summary) = row.summarise() else {
            lines.push(vec![row.label.clone(), "failed".to_owned()]);
            continue;
        };
        let failed = if summary.failures > 0 { format!(" ({} FAILED)", summary.failures) } else { String::new() };
        let mut line = vec![row.label.clone() + &failed];
        line.extend([summary.median, summary.p95, summary.min].map(|value| unit.show(value)));
        line.push(summary.cpu_ms.map_or_else(|| "–".to_owned(), |cpu| format!("{cpu:.2}")));
        line.extend(measurement.ours().map(|ours| comparison(ours, row)));
        lines.push(line);
    }
    let title = format!("{}, {} ({rounds} rounds)", measurement.title(), unit.name());
    if markdown {
        writeln!(out, "\n**{title}**\n")?;
        for (number, line) in lines.iter().enumerate() {
            writeln!(out, "| {} |", line.join(" | "))?;
            if number == 0 {
                writeln!(out, "|---{}|", "|--:".repeat(line.len() - 1))?;
            }
        }
        return Ok(());
    }
    writeln!(out, "\n{title}")?;
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for line in &lines {
        let mut text = String::new();
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            if column == 0 { write!(text, "  {cell:<width$}")? } else { write!(text, "  {cell:>width$}")? }
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

/// Corten's median in parts of another's: `0.41 [0.40, 0.43]`.
fn comparison(ours: &Row, theirs: &Row) -> String {
    if std::ptr::eq(ours, theirs) || theirs.role == Role::Corten {
        return String::new();
    }
    match ratio(&ours.values(), &theirs.values()) {
        Some(Ratio { value, low, high }) => format!("{value:.2} [{low:.2}, {high:.2}] of this"),
        None => "–".to_owned(),
    }
}

/// Writes the figures, every round of them, to a file.
pub(crate) fn write(report: &Report, path: &Path) -> Result {
    let mut value = serde_json::to_value(report)?;
    for (measurement, json) in
        report.measurements.iter().zip(value["measurements"].as_array_mut().into_iter().flatten())
    {
        for (row, json) in measurement.rows.iter().zip(json["rows"].as_array_mut().into_iter().flatten()) {
            json["summary"] = serde_json::to_value(row.summarise())?;
        }
    }
    fs::write(path, serde_json::to_string_pretty(&value)?)?;
    Ok(())
}

/// Reads what was written. The machine is that of the first file.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Report> {
    let mut all: Option<Report> = None;
    for path in paths {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let report: Report = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        match &mut all {
            Some(all) => all.measurements.extend(report.measurements),
            None => all = Some(report),
        }
    }
    Ok(all.ok_or("no figures")?)
}
