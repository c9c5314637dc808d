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
    report.not_measured.iter().try_for_each(|reason| writeln!(out, "NOT MEASURED: {reason}"))?;
    if markdown {
        // Who takes part there is no runtime.
        let (others, runtimes): (Vec<_>, Vec<_>) =
            report.measurements.iter().partition(|measurement| measurement.workload == "resident");
        overview(&mut out, &runtimes)?;
        overview(&mut out, &others)?;
    } else {
        report.measurements.iter().try_for_each(|measurement| table(&mut out, measurement))?;
    }
    Ok(out)
}

/// Writes a measurement as a table.
fn table(out: &mut String, measurement: &Measurement) -> Result {
    let unit = measurement.unit;
    let rounds = measurement.rows.iter().map(|row| row.rounds.len()).max().unwrap_or(0);
    let mut header: Vec<String> = ["", "median", "p95", "least", "CPU ms"].map(str::to_owned).to_vec();
    header.extend(measurement.ours().flat_map(|ours| [format!("{} ÷ this", ours.label), "CPU".to_owned()]));
    let mut lines = vec![header];
    for row in &measurement.rows {
        let Some(summary) = row.summarise() else {
            let mut line = vec![row.label.clone(), "failed".to_owned()];
            line.resize(lines[0].len(), String::new());
            lines.push(line);
            continue;
        };
        let failed =
            if summary.failures > 0 { format!(" ({} FAILED)", summary.failures) } else { String::new() };
        let mut line = vec![row.label.clone() + &failed];
        line.extend([summary.median, summary.p95, summary.min].map(|value| unit.show(value)));
        line.push(summary.cpu_ms.map_or_else(|| "–".to_owned(), |cpu| format!("{cpu:.2}")));
        line.extend(measurement.ours().flat_map(|ours| comparison(ours, row)));
        lines.push(line);
    }
    let title = format!("{}, {} ({rounds} rounds)", measurement.title(), unit.name());
    writeln!(out, "\n{title}")?;
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
    };
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

/// Writes one table of measurements in Markdown: medians, with CPU time, and Corten's in parts of the floor's
/// with the same libc and of the first peer's.
fn overview(out: &mut String, measurements: &[&Measurement]) -> Result {
    let mut labels: Vec<(&str, Role)> = Vec::new();
    for row in measurements.iter().flat_map(|measurement| &measurement.rows) {
        if !labels.iter().any(|(label, _)| *label == row.label) {
            labels.push((&row.label, row.role));
        }
    }
    let of = |role: Role| labels.iter().filter(move |(_, other)| *other == role).map(|(label, _)| *label);
    let libc = |label: &str| label.split(' ').nth(1).map(str::to_owned);
    let pairs: Vec<_> = of(Role::Corten)
        .flat_map(|ours| {
            let floor = of(Role::Floor).find(|floor| libc(floor) == libc(ours));
            floor
                .into_iter()
                .chain(of(Role::Peer).next())
                .map(move |theirs| (ours, theirs))
                .collect::<Vec<_>>()
        })
        .collect();
    if labels.is_empty() {
        return Ok(());
    }
    let names = labels.iter().map(|(label, _)| (*label).to_owned());
    let ratios = pairs.iter().map(|(ours, theirs)| format!("{ours} ÷ {theirs}"));
    let header: Vec<_> = names.chain(ratios).collect();
    writeln!(out, "\n| | {} |", header.join(" | "))?;
    writeln!(out, "|---{}|", "|--:".repeat(header.len()))?;
    for measurement in measurements {
        let unit = measurement.unit;
        let row = |label: &str| measurement.rows.iter().find(|row| row.label == label);
        let mut cells = vec![format!("{}, {}", measurement.title(), unit.name())];
        cells.extend(labels.iter().map(|(label, _)| {
            row(label).and_then(Row::summarise).map_or_else(String::new, |summary| {
                let cpu = summary.cpu_ms.map(|cpu| format!(" ({cpu:.2})")).unwrap_or_default();
                unit.show(summary.median) + &cpu
            })
        }));
        let ratio = |(ours, theirs): &(&str, &str)| Some(comparison(row(ours)?, row(theirs)?)[0].clone());
        cells.extend(pairs.iter().map(|pair| ratio(pair).unwrap_or_default()));
        writeln!(out, "| {} |", cells.join(" | "))?;
    }
    Ok(())
}

/// Corten's median in parts of another's, `0.41 [0.40, 0.43]`, and the same of the CPU time.
fn comparison(ours: &Row, theirs: &Row) -> [String; 2] {
    if theirs.role == Role::Corten {
        return [String::new(), String::new()];
    }
    let whole = ratio(&ours.values(), &theirs.values());
    let whole = whole.map(|Ratio { value, low, high }| format!("{value:.2} [{low:.2}, {high:.2}]"));
    let cpu = |row: &Row| row.summarise()?.cpu_ms;
    let cpu = cpu(ours).zip(cpu(theirs)).map(|(ours, theirs)| format!("{:.2}", ours / theirs));
    [whole, cpu].map(|text| text.unwrap_or_else(|| "–".to_owned()))
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
        let report: Report =
            serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        match &mut all {
            Some(all) => {
                all.measurements.extend(report.measurements);
                all.not_measured.extend(report.not_measured);
            }
            None => all = Some(report),
        }
    }
    Ok(all.ok_or("no figures")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::{Sample, Unit};
    use crate::bench::machine::Machine;

    fn row(label: &str, role: Role, values: &[Option<f64>]) -> Row {
        let rounds = values
            .iter()
            .map(|value| value.map(|value| Sample { value, cpu_ms: Some(value / 2.0) }))
            .collect();
        Row { label: label.to_owned(), role, summary: None, rounds }
    }

    fn report() -> Report {
        let rows = vec![
            row("corten (musl)", Role::Corten, &[Some(1.0), Some(1.0), Some(1.0)]),
            row("crun 1", Role::Peer, &[Some(4.0), None, Some(4.0)]),
            row("broken", Role::Peer, &[None, None, None]),
        ];
        let (workload, case) = ("run".to_owned(), "default".to_owned());
        let measurement = Measurement { workload, case, unit: Unit::Milliseconds, rows };
        Report {
            machine: Machine::look("v2", &[]),
            measurements: vec![measurement],
            not_measured: Vec::new(),
        }
    }

    #[test]
    fn a_table_has_ratios_and_failures() {
        let text = text(&report(), false).unwrap();
        let line =
            |label: &str| text.lines().find(|line| line.trim_start().starts_with(label)).unwrap().to_owned();
        assert!(text.contains("run: default, ms (3 rounds)"), "{text}");
        assert!(
            line("crun 1").contains("(1 FAILED)") && line("crun 1").contains("0.25 [0.25, 0.25]"),
            "{text}"
        );
        assert!(line("corten").contains("1.00") && !line("corten").contains('['), "{text}");
        assert!(line("broken").contains("failed"), "{text}");
    }

    #[test]
    fn markdown_has_as_many_cells_in_every_line() {
        let text = text(&report(), true).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with('|')).collect();
        let cells = |line: &&str| line.matches('|').count();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines.iter().all(|line| cells(line) == cells(&lines[0])), "{text}");
        assert!(
            lines[2].contains("| run: default, ms | 1.00 (0.50) | 4.00 (2.00) |  | 0.25 [0.25, 0.25] |"),
            "{text}"
        );
    }

    #[test]
    fn what_corten_cannot_do_is_a_failure_and_what_others_cannot_is_none() {
        let mut report = report();
        assert!(report.failures().is_empty(), "{:?}", report.failures());
        report.measurements[0].rows[0].rounds[1] = None;
        assert_eq!(report.failures(), ["run: default: corten (musl) failed 1 times"]);
        report.measurements[0].rows.remove(0);
        assert_eq!(report.failures(), ["run: default: Corten is left out"]);
        report.not_measured.push("exec: why".to_owned());
        assert_eq!(report.failures().len(), 2);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        write(&report(), file.path()).unwrap();
        let text = fs::read_to_string(file.path()).unwrap();
        assert!(text.contains(r#""median": 4.0"#) && text.contains(r#""failures": 1"#), "{text}");
        let again = read(&[file.path().to_owned(), file.path().to_owned()]).unwrap();
        assert_eq!(again.measurements.len(), 2);
        assert_eq!(again.measurements[1].rows[1].values(), [Some(4.0), None, Some(4.0)]);
    }
}
