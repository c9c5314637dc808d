//! Plots as SVG: bars for comparisons, lines for what grows.
//!
//! They stand on a light card of their own, so that they can be read on light and dark pages alike.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::figures::{Measurement, Report, Role, Row};
use crate::Result;

const WIDTH: f64 = 760.0;
const MARGIN: f64 = 24.0;
/// Where bars and axes begin and end; to the right is room for numbers and names.
const LEFT: f64 = 170.0;
const RIGHT: f64 = WIDTH - 96.0;
/// From one bar to the next.
const ROW: f64 = 22.0;
const BAR: f64 = 15.0;
/// Where the part of a plot with lines in it begins, and its height.
const TOP: f64 = 60.0;
const HEIGHT: f64 = 300.0;

const TEXT: &str = "#1f2328";
const FAINT: &str = "#59636e";
const GRID: &str = "#d8dee4";

/// Draws all plots for which there are figures.
pub(crate) fn draw(report: &Report, directory: &Path) -> Result {
    fs::create_dir_all(directory)?;
    let of = |names: &[&str]| -> Vec<&Measurement> {
        let place = |measurement: &Measurement| names.iter().position(|name| measurement.workload == *name);
        let mut found: Vec<_> =
            report.measurements.iter().filter(|measurement| place(measurement).is_some()).collect();
        found.sort_by_key(|measurement| place(measurement));
        found
    };
    let foot = report.machine.place();
    let bars = [
        ("run", &["run"][..], "run: a container from its making to its removal (less is better)"),
        ("commands", &["steps", "exec", "state"][..], "The other commands (less is better)"),
        ("size", &["size", "userns", "rootless", "cold"][..], "run of other configs (less is better)"),
    ];
    for (file, names, title) in bars {
        let groups: Vec<_> = of(names).into_iter().map(Group::of).collect();
        save(directory, file, &bar_chart(title, &groups, &foot)?)?;
    }
    let parallel = Line::all(&of(&["parallel"]));
    let title = "Containers per second (more is better)";
    save(directory, "parallel", &line_chart(title, "containers at a time", &parallel, &foot)?)?;
    let mounts: Vec<_> = Line::all(&of(&["host-mounts"])).into_iter().map(Line::relative).collect();
    let title = "run on a host with many mounts: times as long as with few (less is better)";
    save(directory, "host-mounts", &line_chart(title, "more mounts on the host", &mounts, &foot)?)?;
    Ok(())
}

fn save(directory: &Path, name: &str, svg: &str) -> Result {
    if !svg.is_empty() {
        fs::write(directory.join(name).with_extension("svg"), svg)?;
    }
    Ok(())
}

/// Bars below one heading.
#[derive(Debug)]
struct Group {
    title: String,
    /// Label, colour, value, and the value as it is written.
    bars: Vec<(String, &'static str, f64, String)>,
}

impl Group {
    fn of(measurement: &Measurement) -> Self {
        let title = match (measurement.workload.as_str(), measurement.case.as_str()) {
            ("run", "default") => "the config of runc spec".to_owned(),
            ("run", "docker") => "Docker's config, with its seccomp profile".to_owned(),
            ("steps", case) => case.to_owned(),
            ("exec", "default") => "exec".to_owned(),
            ("exec", "docker") => "exec with Docker's seccomp profile".to_owned(),
            ("size", case) => case.to_owned(),
            ("cold", _) => "Docker's config, caches empty".to_owned(),
            ("userns", _) => "with a user namespace".to_owned(),
            _ => measurement.title(),
        };
        let bar = |(row, colour): (&Row, &'static str)| {
            let median = row.summarise()?.median;
            let text = format!("{} {}", measurement.unit.show(median), measurement.unit.name());
            Some((short(&row.label), colour, median, text))
        };
        let bars = measurement.rows.iter().zip(colours(&measurement.rows)).filter_map(bar).collect();
        Self { title, bars }
    }
}

/// A label without a distribution's suffix.
fn short(label: &str) -> String {
    label.split('+').next().unwrap_or(label).to_owned()
}

/// A colour for each row: rust for Corten, grey for the floor, blues for peers.
fn colours(rows: &[Row]) -> Vec<&'static str> {
    let mut used = [0; 3];
    let colour = |row: &Row| {
        let (kind, all): (usize, &[&str]) = match row.role {
            Role::Floor => (0, &["#8c959f", "#afb8c1"]),
            Role::Corten => (1, &["#bc4c00", "#e8843c"]),
            Role::Peer => (2, &["#1f6feb", "#6639ba", "#1b7c83", "#54aeff"]),
        };
        let number = used[kind];
        used[kind] += 1;
        all[number % all.len()]
    };
    rows.iter().map(colour).collect()
}

/// The value at the end of the axis. A runtime that is far slower than all others would make their bars too
/// short to compare: its bars are broken.
fn end_of_axis(groups: &[Group]) -> f64 {
    let mut slowest: Vec<(&str, f64)> = Vec::new();
    for (label, _, value, _) in groups.iter().flat_map(|group| &group.bars) {
        match slowest.iter_mut().find(|(known, _)| known == label) {
            Some((_, most)) => *most = most.max(*value),
            None => slowest.push((label, *value)),
        }
    }
    let mut values: Vec<_> = slowest.into_iter().map(|(_, value)| value).collect();
    values.sort_by(f64::total_cmp);
    match values.as_slice() {
        [.., second, last] if *last > 2.5 * second => second * 1.25,
        [.., last] => *last,
        [] => 1.0,
    }
}

/// Marks on an axis up to `end`: 1, 2 or 5 with zeros, five or so of them.
fn marks(end: f64) -> Vec<f64> {
    let rough = end / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough)
        .unwrap_or(rough);
    std::iter::successors(Some(0.0), |mark| Some(mark + step))
        .take_while(|mark| *mark <= end * 1.0001)
        .collect()
}

/// What goes around every plot.
fn card(height: f64, title: &str, foot: &str, inside: &str) -> Result<String> {
    let mut svg = String::new();
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" "#
    )?;
    writeln!(
        svg,
        r#"font-family="system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif" font-size="13" fill="{TEXT}">"#
    )?;
    writeln!(svg, "<title>{}</title>", escape(title))?;
    let (width, inner) = (WIDTH - 1.0, height - 1.0);
    writeln!(
        svg,
        r##"<rect x="0.5" y="0.5" width="{width}" height="{inner}" rx="8" fill="#ffffff" stroke="{GRID}"/>"##
    )?;
    text(&mut svg, MARGIN, 32.0, r#"font-size="16" font-weight="600""#, title)?;
    svg.push_str(inside);
    text(&mut svg, MARGIN, height - 14.0, &format!(r#"font-size="11" fill="{FAINT}""#), foot)?;
    writeln!(svg, "</svg>")?;
    Ok(svg)
}

fn text(svg: &mut String, x: f64, y: f64, attributes: &str, words: &str) -> Result {
    Ok(writeln!(svg, r#"<text x="{x:.1}" y="{y:.1}" {attributes}>{}</text>"#, escape(words))?)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Horizontal bars in groups, all to one scale. Nothing without figures.
fn bar_chart(title: &str, groups: &[Group], foot: &str) -> Result<String> {
    if groups.iter().all(|group| group.bars.is_empty()) {
        return Ok(String::new());
    }
    let end = end_of_axis(groups);
    let scale = (RIGHT - LEFT) / end;
    let top = 56.0;
    #[expect(clippy::cast_precision_loss, reason = "a few bars")]
    let bottom = top + groups.iter().map(|group| 34.0 + ROW * group.bars.len() as f64).sum::<f64>();
    let mut inside = String::new();
    for mark in marks(end) {
        let x = LEFT + mark * scale;
        let mut y = top;
        for group in groups {
            #[expect(clippy::cast_precision_loss, reason = "a few bars")]
            let (from, to) = (y + 28.0, y + 28.0 + ROW * group.bars.len() as f64);
            writeln!(inside, r#"<line x1="{x:.1}" y1="{from}" x2="{x:.1}" y2="{to:.1}" stroke="{GRID}"/>"#)?;
            y = to + 6.0;
        }
        let attributes = format!(r#"text-anchor="middle" font-size="11" fill="{FAINT}""#);
        text(&mut inside, x, bottom + 16.0, &attributes, &format!("{mark} ms"))?;
    }
    let mut y = top;
    for group in groups {
        text(&mut inside, MARGIN, y + 18.0, r#"font-weight="600""#, &group.title)?;
        y += 28.0;
        for (label, colour, value, written) in &group.bars {
            let middle = y + ROW / 2.0 + 4.5;
            text(&mut inside, LEFT - 10.0, middle, r#"text-anchor="end""#, label)?;
            let width = (value * scale).min(RIGHT - LEFT);
            let bar_y = y + (ROW - BAR) / 2.0;
            writeln!(
                inside,
                r#"<rect x="{LEFT}" y="{bar_y:.1}" width="{width:.1}" height="{BAR}" rx="2" fill="{colour}"/>"#
            )?;
            if *value > end {
                // A gap shows that the bar is longer than it is drawn.
                let (x, low) = (RIGHT - 40.0, bar_y + BAR + 2.0);
                let (a, b, c) = (x + 6.0, x + 16.0, x + 10.0);
                let high = bar_y - 2.0;
                writeln!(
                    inside,
                    r##"<polygon points="{x},{low} {a},{high} {b},{high} {c},{low}" fill="#ffffff"/>"##
                )?;
            }
            text(&mut inside, LEFT + width + 8.0, middle, r#"font-weight="600""#, written)?;
            y += ROW;
        }
        y += 6.0;
    }
    card(bottom + 48.0, title, foot, &inside)
}

/// A line of a plot: points of x and y.
#[derive(Debug)]
struct Line {
    label: String,
    colour: &'static str,
    points: Vec<(f64, f64)>,
}

impl Line {
    /// The lines of measurements whose cases begin with a number.
    fn all(measurements: &[&Measurement]) -> Vec<Self> {
        let mut lines: Vec<Self> = Vec::new();
        for measurement in measurements {
            let number = measurement.case.split(' ').next().and_then(|word| word.parse::<f64>().ok());
            for (row, colour) in measurement.rows.iter().zip(colours(&measurement.rows)) {
                let (Some(x), Some(summary)) = (number, row.summarise()) else { continue };
                let label = short(&row.label);
                let point = (x, summary.median);
                match lines.iter_mut().find(|line| line.label == label) {
                    Some(line) => line.points.push(point),
                    None => lines.push(Self { label, colour, points: vec![point] }),
                }
            }
        }
        lines
    }

    /// The same in multiples of the first value.
    fn relative(self) -> Self {
        let first = self.points.first().map_or(1.0, |point| point.1);
        Self { points: self.points.into_iter().map(|(x, y)| (x, y / first)).collect(), ..self }
    }
}

/// Lines over a common axis. Nothing without figures.
fn line_chart(title: &str, axis: &str, lines: &[Line], foot: &str) -> Result<String> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let (most_x, most_y) =
        points().fold((0.0, 0.0), |(x, y): (f64, f64), point| (x.max(point.0), y.max(point.1)));
    if most_x <= 0.0 || most_y <= 0.0 {
        return Ok(String::new());
    }
    let (left, right, bottom) = (MARGIN + 44.0, WIDTH - 170.0, TOP + HEIGHT);
    let place =
        |(x, y): (f64, f64)| (left + x / most_x * (right - left), bottom - y / (most_y * 1.05) * HEIGHT);
    let faint = |anchor: &str| format!(r#"text-anchor="{anchor}" font-size="11" fill="{FAINT}""#);
    let mut inside = String::new();
    for mark in marks(most_y) {
        let (_, y) = place((0.0, mark));
        writeln!(inside, r#"<line x1="{left}" y1="{y:.1}" x2="{right}" y2="{y:.1}" stroke="{GRID}"/>"#)?;
        text(&mut inside, left - 8.0, y + 4.0, &faint("end"), &format!("{mark}"))?;
    }
    let mut across: Vec<f64> = points().map(|point| point.0).collect();
    across.sort_by(f64::total_cmp);
    across.dedup();
    for mark in across {
        let (x, _) = place((mark, 0.0));
        text(&mut inside, x, bottom + 18.0, &faint("middle"), &format!("{mark}"))?;
    }
    text(&mut inside, f64::midpoint(left, right), bottom + 36.0, &faint("middle"), axis)?;
    for line in lines {
        let path: Vec<_> =
            line.points.iter().map(|point| place(*point)).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let colour = line.colour;
        let points = path.join(" ");
        writeln!(
            inside,
            r#"<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5" stroke-linejoin="round"/>"#
        )?;
        for (x, y) in line.points.iter().map(|point| place(*point)) {
            writeln!(inside, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" fill="{colour}"/>"#)?;
        }
    }
    for (line, y) in lines.iter().zip(apart(&ends(lines, place), 17.0)) {
        let attributes = format!(r#"fill="{}" font-weight="600""#, line.colour);
        text(&mut inside, right + 12.0, y + 4.5, &attributes, &line.label)?;
    }
    card(bottom + 66.0, title, foot, &inside)
}

/// Where the lines end.
fn ends(lines: &[Line], place: impl Fn((f64, f64)) -> (f64, f64)) -> Vec<f64> {
    lines.iter().map(|line| line.points.last().map_or(0.0, |point| place(*point).1)).collect()
}

/// Moves heights apart until each has this distance from the next, the order kept.
fn apart(heights: &[f64], distance: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by(|a, b| heights[*a].total_cmp(&heights[*b]));
    let mut moved = heights.to_vec();
    // Down where they are too near, then up what went too far.
    for pair in order.windows(2) {
        moved[pair[1]] = moved[pair[1]].max(moved[pair[0]] + distance);
    }
    if let Some(last) = order.last() {
        moved[*last] = moved[*last].min(TOP + HEIGHT);
    }
    for pair in order.windows(2).rev() {
        moved[pair[0]] = moved[pair[0]].min(moved[pair[1]] - distance);
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::{Sample, Unit};

    fn measurement(workload: &str, case: &str, rows: &[(&str, Role, f64)]) -> Measurement {
        let row = |&(label, role, value): &(&str, Role, f64)| Row {
            label: label.to_owned(),
            role,
            summary: None,
            rounds: vec![Some(Sample::from(value))],
        };
        let rows = rows.iter().map(row).collect();
        Measurement { workload: workload.to_owned(), case: case.to_owned(), unit: Unit::Milliseconds, rows }
    }

    const ROWS: [(&str, Role, f64); 5] = [
        ("floor (musl)", Role::Floor, 1.0),
        ("corten (musl)", Role::Corten, 1.25),
        ("corten (glibc)", Role::Corten, 2.0),
        ("crun 1.28", Role::Peer, 5.0),
        ("runc 1.1.5+ds1 <&>", Role::Peer, 40.0),
    ];

    /// Characters of 13 px are hardly wider.
    const CHARACTER: f64 = 7.5;

    /// The numbers of an attribute in all elements of a name, in order.
    fn numbers(svg: &str, element: &str, attribute: &str) -> Vec<f64> {
        let elements = svg.lines().filter(|line| line.starts_with(&format!("<{element} ")));
        let value =
            |line: &str| line.split(&format!(" {attribute}=\"")).nth(1)?.split('"').next()?.parse().ok();
        elements.filter_map(value).collect()
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let group = Group::of(&measurement("run", "default", &ROWS));
        let svg = bar_chart("title", &[group], "foot").unwrap();
        // The first rectangle is the card.
        let widths = &numbers(&svg, "rect", "width")[1..];
        let scale = widths[0];
        for (width, (label, _, value)) in widths.iter().zip(ROWS).take(4) {
            assert!((width / scale - value).abs() < 0.02, "{label}: {width}");
        }
        assert!((widths[4] - (RIGHT - LEFT)).abs() < 0.1, "the slowest is cut: {widths:?}");
        assert_eq!(svg.matches("<polygon").count(), 1, "and shown to be");
        assert!(svg.contains(">40.00 ms<") && svg.contains(">1.25 ms<"), "{svg}");
        assert!(svg.contains("the config of runc spec"));
    }

    #[test]
    fn nothing_leaves_the_card_and_no_bar_meets_another() {
        let groups = ["default", "docker"].map(|case| Group::of(&measurement("run", case, &ROWS)));
        let svg = bar_chart("title", &groups, "foot").unwrap();
        let height = numbers(&svg, "rect", "height")[0];
        let mut tops: Vec<_> = numbers(&svg, "rect", "y")[1..].to_vec();
        assert!(tops.iter().all(|y| y + BAR < height));
        tops.sort_by(f64::total_cmp);
        assert!(tops.windows(2).all(|pair| pair[1] - pair[0] >= BAR), "{tops:?}");
        for line in svg.lines().filter(|line| line.starts_with("<text ") && !line.contains("text-anchor")) {
            let x: f64 = line.split("x=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
            let words = line.split('>').nth(1).unwrap().split('<').next().unwrap();
            #[expect(clippy::cast_precision_loss, reason = "short")]
            let end = x + words.chars().count() as f64 * CHARACTER;
            assert!(end <= WIDTH, "{line}");
        }
    }

    #[test]
    fn names_are_escaped_and_shortened() {
        assert_eq!(short("runc 1.1.5+ds1"), "runc 1.1.5");
        let svg =
            bar_chart("a < b & c", &[Group::of(&measurement("run", "x", &[("<&>", Role::Peer, 1.0)]))], "")
                .unwrap();
        assert!(svg.contains("a &lt; b &amp; c") && svg.contains(">&lt;&amp;&gt;<"), "{svg}");
    }

    #[test]
    fn lines_go_through_their_points_in_order() {
        let at =
            |count: &str, value| measurement("host-mounts", count, &[("corten (musl)", Role::Corten, value)]);
        let (first, second) = (at("0 more mounts", 1.5), at("2000 more mounts", 3.0));
        let lines = Line::all(&[&first, &second]);
        assert_eq!(lines[0].points, [(0.0, 1.5), (2000.0, 3.0)]);
        let lines: Vec<_> = lines.into_iter().map(Line::relative).collect();
        assert_eq!(lines[0].points, [(0.0, 1.0), (2000.0, 2.0)]);
        let svg = line_chart("title", "axis", &lines, "foot").unwrap();
        let (x, y) = (numbers(&svg, "circle", "cx"), numbers(&svg, "circle", "cy"));
        assert!(x[0] < x[1] && y[0] > y[1], "right and up: {x:?} {y:?}");
        let bottom = TOP + HEIGHT;
        assert!(((bottom - y[1]) / (bottom - y[0]) - 2.0).abs() < 0.01, "twice as high: {y:?}");
    }

    #[test]
    fn names_of_lines_keep_their_distance() {
        let moved = apart(&[100.0, 101.0, 300.0, 99.0, 359.0, 358.0], 17.0);
        let mut sorted = moved.clone();
        sorted.sort_by(f64::total_cmp);
        assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] >= 16.99), "{moved:?}");
        assert!(moved[3] < moved[0] && moved[0] < moved[1], "the order is kept: {moved:?}");
        assert!(sorted.last().is_some_and(|last| *last <= TOP + HEIGHT));
    }

    #[test]
    fn marks_are_round_and_few() {
        assert_eq!(marks(5.0), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(marks(230.0), [0.0, 50.0, 100.0, 150.0, 200.0]);
        assert!(marks(0.37).len() >= 4);
    }

    #[test]
    fn without_figures_there_is_no_plot() {
        assert_eq!(bar_chart("title", &[], "foot").unwrap(), "");
        assert_eq!(line_chart("title", "axis", &[], "foot").unwrap(), "");
    }
}
