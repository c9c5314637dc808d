//! How many programs are executed for a run, beginning with the runtime itself, until it is the user's turn.

use std::fs;
use std::process::Command;

use crate::bench::figures::{Measurement, Sample, Unit};
use crate::bench::measure::{Case, Rounds, alternate, succeed};
use crate::bench::{Bench, entrants};
use crate::{Result, shell};

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Measurement>> {
    let strace = shell::find("strace").ok_or("there is no strace")?;
    let trace = bench.directory.join("trace");
    let case = Case::new("execs", "programs executed for a run, without the user's", Unit::Calls);
    let runtimes: Vec<_> = bench.runtimes.iter().collect();
    let once = Rounds { warm_ups: 0, counted: 1 };
    Ok(alternate(once, &[case], &entrants(&runtimes), |index| {
        let run = runtimes[index].run(&bench.default, &bench.id())?;
        let mut command = Command::new(&strace);
        command.args(["-f", "-qq", "-e", "trace=execve,execveat", "-o"]).arg(&trace).arg(run.get_program());
        succeed(command.args(run.get_args()).stdout(std::process::Stdio::null()))?;
        let trace = fs::read_to_string(&trace)?;
        let is_users = |line: &&str| line.contains(r#"execve("/bin/true""#);
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let count =
            trace.lines().filter(|line| line.contains(" exec")).take_while(|line| !is_users(line)).count()
                as f64;
        Ok(vec![Sample::from(count)])
    }))
}
