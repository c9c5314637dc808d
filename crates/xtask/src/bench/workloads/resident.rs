//! Containers made through the library by a process that is large itself, as engines are.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::bench::Bench;
use crate::bench::figures::{Measurement, Role, Sample, Unit};
use crate::bench::measure::{Case, Entrant, alternate};
use crate::{Result, shell};

/// What the large process holds.
const LARGE_MIB: u32 = 4096;

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Measurement>> {
    let program = match bench.embedder() {
        Some(program) => program,
        None => shell::build_benches("embedder")?,
    };
    let program = program.to_str().ok_or("the embedder's path is no text")?;
    let mut embedders = [Embedder::spawn(program, bench, 0)?, Embedder::spawn(program, bench, LARGE_MIB)?];
    let large = format!("from a process with {} GiB", LARGE_MIB / 1024);
    // The large one is what is compared with the small one.
    let entrants = [("from a small process".to_owned(), Role::Peer), (large, Role::Corten)]
        .map(|(label, role)| Entrant { label, role });
    let mut measurements = Vec::new();
    for (what, name) in
        [("run", "run through the library"), ("spawn", "fork and exec of /bin/true, to compare with")]
    {
        let case = Case::new("resident", name, Unit::Milliseconds);
        measurements.extend(alternate(bench.rounds(), &[case], &entrants, |index| {
            Ok(vec![Sample::from(embedders[index].ask(&format!("{what} {}", bench.id()))?)])
        }));
    }
    Ok(measurements)
}

/// A process that makes a container when it is told to.
#[derive(Debug)]
struct Embedder {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Embedder {
    fn spawn(program: &str, bench: &Bench<'_>, mib: u32) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .arg(mib.to_string())
            .arg(&bench.default.directory)
            .arg(bench.directory.join(format!("embedder-{mib}")));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = process.stdin.take().ok_or("no stdin")?;
        let output = BufReader::new(process.stdout.take().ok_or("no stdout")?);
        let mut embedder = Self { process, input, output };
        embedder.line()?;
        Ok(embedder)
    }

    /// Has it do something; returns the milliseconds that it took.
    fn ask(&mut self, request: &str) -> Result<f64> {
        writeln!(self.input, "{request}")?;
        let answer = self.line()?;
        Ok(answer.parse().map_err(|_| answer)?)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line.is_empty() {
            return Err("the embedder has ended".into());
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for Embedder {
    fn drop(&mut self) {
        // It does nothing unless it is told to.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
