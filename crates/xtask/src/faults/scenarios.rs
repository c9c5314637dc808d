//! What is tried: a command, what must be there before it, and what must hold after it.

use std::collections::BTreeSet;

use nix::libc;

use super::calls::Call;
use super::stage::{How, ID, Output, STATUS, Stage};
use super::trace::Place;
use crate::Result;

/// Limits of processes: what `update` sets, and what it finds.
const LIMITS: [&str; 2] = ["77", "100"];
/// The same with lists of devices.
const DEVICES: [&str; 2] = ["open", "closed"];

/// What a shell says of a command that a signal has ended.
const SIGNALS: std::ops::Range<i32> = 129..193;

/// A command in a situation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scenario {
    Create,
    Run,
    /// With Docker's config.
    Docker,
    Start,
    Exec,
    Kill,
    Update,
    /// Of a container that has stopped.
    Delete,
    /// Of one that runs.
    Force,
}

pub(super) const ALL: [Scenario; 9] = [
    Scenario::Create,
    Scenario::Run,
    Scenario::Docker,
    Scenario::Start,
    Scenario::Exec,
    Scenario::Kill,
    Scenario::Update,
    Scenario::Delete,
    Scenario::Force,
];

impl Scenario {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Run => "run",
            Self::Docker => "run (Docker's config)",
            Self::Start => "start",
            Self::Exec => "exec",
            Self::Kill => "kill",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Force => "delete --force",
        }
    }

    /// The first word: what `--only` asks for.
    pub(super) fn command(self) -> &'static str {
        self.name().split(' ').next().unwrap_or_default()
    }

    /// Whether it makes a container that is not there before.
    pub(super) fn makes(self) -> bool {
        matches!(self, Self::Create | Self::Run | Self::Docker)
    }

    /// Whether the container is as it was afterwards, for the next one.
    fn leaves(self) -> bool {
        matches!(self, Self::Exec | Self::Update)
    }
}

/// A scenario on its stage.
#[derive(Debug)]
pub(super) struct Trial<'a> {
    pub(super) stage: &'a Stage,
    pub(super) scenario: Scenario,
    /// What is there without a container.
    nothing: BTreeSet<String>,
    /// A container that runs, from the trial before.
    has_container: bool,
    /// The limits before an update.
    before: Option<String>,
    /// What is seen and said if nothing fails.
    expected: Option<Effect>,
}

impl Cause<'_> {
    fn is_scarcity(self) -> bool {
        matches!(self, Self::Scarcity)
    }
}

/// What a command has done, as far as it can be seen.
#[derive(Debug, PartialEq, Eq)]
struct Effect(String);

/// What a failure must say.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cause<'a> {
    Fault(&'a Call, nix::errno::Errno),
    /// Something or other.
    Scarcity,
}

impl<'a> Trial<'a> {
    pub(super) fn new(stage: &'a Stage, scenario: Scenario) -> Self {
        Self { stage, scenario, nothing: stage.things(), has_container: false, before: None, expected: None }
    }

    /// What is there now is what is there without a container.
    pub(super) fn begin(&mut self) {
        self.nothing = self.stage.things();
    }

    fn must(&self, words: &[&str]) -> Result {
        let output = self.stage.corten(words, How::Plainly)?;
        match output.status {
            Some(0) => Ok(()),
            status => Err(format!("{words:?}: {status:?}: {}", output.err.trim()).into()),
        }
    }

    fn create(&self, bundle: &str) -> [String; 6] {
        let path = |name: &str| self.stage.path(name).display().to_string();
        ["create".into(), "--pid-file".into(), path("pid/file"), "--bundle".into(), path(bundle), ID.into()]
    }

    /// An update: to what is in force before (1), or the one that is tried (0).
    fn update(&self, which: usize) -> [String; 4] {
        let [option, value] = if self.stage.has_limits() {
            ["--pids-limit".to_owned(), LIMITS[which].to_owned()]
        } else {
            ["--resources".to_owned(), self.stage.path(DEVICES[which]).display().to_string()]
        };
        ["update".to_owned(), option, value, ID.to_owned()]
    }

    /// What updates change.
    fn in_force(&self) -> String {
        if self.stage.has_limits() { self.stage.limits() } else { self.stage.device() }
    }

    /// Makes what must be there.
    pub(super) fn prepare(&mut self) -> Result {
        if self.scenario.makes() {
            return Ok(());
        }
        if !self.has_container {
            let create = self.create("sleeps");
            self.must(&create.each_ref().map(String::as_str))?;
            if self.scenario != Scenario::Start {
                self.must(&["start", ID])?;
                self.stage.written();
            }
            if self.scenario == Scenario::Delete {
                self.must(&["kill", ID, "KILL"])?;
                self.stage.reap();
            }
            self.has_container = true;
        }
        if self.scenario == Scenario::Update {
            let before = self.update(1);
            self.must(&before.each_ref().map(String::as_str))?;
            self.before = Some(self.in_force());
        }
        Ok(())
    }

    /// Runs the command.
    pub(super) fn run(&self, how: How<'_>) -> Result<Output> {
        let path = |name: &str| self.stage.path(name).display().to_string();
        let look = format!("{}\nexit {STATUS}", super::stage::LOOK);
        let words: Vec<String> = match self.scenario {
            Scenario::Create => self.create("sleeps").into(),
            Scenario::Run => vec!["run".into(), "--bundle".into(), path("ends"), ID.into()],
            Scenario::Docker => vec!["run".into(), "--bundle".into(), path("docker"), ID.into()],
            Scenario::Exec => ["exec", ID, "/bin/sh", "-c", &look].map(str::to_owned).into(),
            Scenario::Update => self.update(0).into(),
            Scenario::Start => ["start", ID].map(str::to_owned).into(),
            Scenario::Kill => ["kill", ID, "KILL"].map(str::to_owned).into(),
            Scenario::Delete => ["delete", ID].map(str::to_owned).into(),
            Scenario::Force => ["delete", "--force", ID].map(str::to_owned).into(),
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.stage.corten(&words, how)
    }

    /// Takes note of what the command does if nothing fails, and clears away.
    ///
    /// # Errors
    /// It fails.
    pub(super) fn learn(&mut self) -> Result<Vec<Place>> {
        self.prepare()?;
        let output = self.run(How::Traced(None))?;
        let Some(effect) = self.effect(&output)? else {
            return Err(
                format!("{}: {:?}: {}", self.scenario.name(), output.status, output.err.trim()).into()
            );
        };
        self.expected = Some(effect);
        let left = self.finish(false);
        if left.is_empty() { Ok(output.calls) } else { Err(left.join("; ").into()) }
    }

    /// What a command that has succeeded has done.
    fn effect(&self, output: &Output) -> Result<Option<Effect>> {
        let succeeds = match self.scenario {
            Scenario::Run | Scenario::Docker | Scenario::Exec => STATUS,
            _ => 0,
        };
        if output.status != Some(succeeds) {
            return Ok(None);
        }
        Ok(Some(Effect(match self.scenario {
            Scenario::Run | Scenario::Docker | Scenario::Exec => self.stage.view(&output.out),
            Scenario::Create => {
                let limits = self.stage.limits();
                self.must(&["start", ID])?;
                format!("{limits}{}", self.stage.view(&self.stage.written()))
            }
            Scenario::Start => self.stage.view(&self.stage.written()),
            Scenario::Update => self.in_force(),
            Scenario::Kill => self.stage.reap().unwrap_or_default(),
            Scenario::Delete | Scenario::Force => {
                format!("{:?} {:?}", self.stage.reap(), self.left())
            }
        })))
    }

    fn left(&self) -> Vec<String> {
        let things = self.stage.things();
        let more = things.difference(&self.nothing).map(|thing| format!("left: {thing}"));
        more.chain(self.nothing.difference(&things).map(|thing| format!("gone: {thing}"))).collect()
    }

    /// What is wrong with how the command ended.
    pub(super) fn judge(&self, output: &Output, cause: Cause<'_>, processes: &BTreeSet<i32>) -> Vec<String> {
        let mut wrong = Vec::new();
        let err = output.err.trim_end();
        if output.status.is_none() {
            wrong.push("hangs".to_owned());
        }
        if err.contains("panicked") {
            wrong.push("panics".to_owned());
        }
        // Rust's own end of a program that has no memory.
        let is_out_of_memory = err.contains("memory allocation of") && output.status == Some(128 + libc::SIGABRT)
            // The stack cannot grow.
            || cause.is_scarcity() && err.is_empty() && output.status == Some(128 + libc::SIGSEGV);
        if !wrong.is_empty() || is_out_of_memory {
            return wrong;
        }
        match self.effect(output) {
            Err(error) => wrong.push(format!("succeeds, and then: {error}")),
            Ok(Some(effect)) => {
                // What a warning names is no secret.
                let is_told = matches!(cause, Cause::Fault(call, errno) if call.is_named(errno, err));
                if let Some(expected) = &self.expected
                    && *expected != effect
                    && !is_told
                {
                    wrong.push(format!(
                        "succeeds without full effect: {}",
                        difference(&expected.0, &effect.0)
                    ));
                }
            }
            Ok(None) => {
                if err.lines().count() != 1 {
                    wrong.push(format!("an error of {} lines", err.lines().count()));
                }
                if let Cause::Fault(call, errno) = cause
                    && !call.is_named(errno, err)
                {
                    wrong.push("the error does not name the call".to_owned());
                }
                if output.status.is_some_and(|status| SIGNALS.contains(&status)) {
                    wrong.push(format!("ends with {:?}", output.status));
                }
                wrong.extend(self.judge_rest(err, processes));
            }
        }
        wrong
    }

    /// What a command that has failed may not leave.
    fn judge_rest(&self, err: &str, processes: &BTreeSet<i32>) -> Vec<String> {
        let directory = format!("left: {}", self.stage.path("root").join(ID).display());
        let pid_file = format!("left: {}", self.stage.path("pid/file").display());
        if self.scenario.makes() {
            // A container that has ended and could not be removed is there like any other.
            let is_known = err.contains("left behind") || self.must(&["state", ID]).is_ok();
            // Or but for its directory, which the line is about.
            let is_told =
                |left: &[String]| err.contains("rmdir") && left.iter().all(|left| *left == directory);
            return Some(self.left()).filter(|left| !is_known && !is_told(left)).unwrap_or_default();
        }
        if self.scenario == Scenario::Exec {
            for _ in 0..500 {
                if self.stage.processes().is_subset(processes) {
                    return Vec::new();
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            return vec!["a process is left in the container".to_owned()];
        }
        if self.scenario == Scenario::Update
            && self.before.as_ref().is_some_and(|before| *before != self.in_force())
        {
            return vec!["fails, and limits have changed".to_owned()];
        }
        // All but the directory itself, which the line is about. The pid file is the caller's.
        if matches!(self.scenario, Scenario::Delete | Scenario::Force)
            && self.left().iter().all(|left| *left == directory || *left == pid_file)
        {
            return Vec::new();
        }
        self.must(&["state", ID]).err().map(|error| format!("afterwards {error}")).into_iter().collect()
    }

    /// Removes the container, unless the next trial can have it; what is left is wrong.
    pub(super) fn finish(&mut self, is_sound: bool) -> Vec<String> {
        if is_sound && self.scenario.leaves() {
            return Vec::new();
        }
        self.has_container = false;
        let mut wrong = Vec::new();
        if let Err(error) = self.must(&["delete", "--force", ID]) {
            wrong.push(format!("cannot be removed: {error}"));
        }
        wrong.extend(self.stage.reap().map(|left| format!("left: process {left}")));
        // That of a container that was made is the caller's.
        std::fs::remove_file(self.stage.path("pid/file")).ok();
        wrong.extend(self.left());
        if !wrong.is_empty() {
            self.stage.clear();
        }
        wrong
    }
}

/// The lines that two texts do not share.
fn difference(expected: &str, found: &str) -> String {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (expected, found) = (lines(expected), lines(found));
    let missing = expected.difference(&found).map(|line| format!("-{line:?}"));
    missing.chain(found.difference(&expected).map(|line| format!("+{line:?}"))).collect::<Vec<_>>().join(" ")
}
