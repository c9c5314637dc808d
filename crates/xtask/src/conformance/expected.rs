//! What is expected of Corten in a suite, and whether it is what happened.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;

use serde::Deserialize;

use crate::{Result, shell};

/// How a program of a suite ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// Passed, but it tells of errors and does not count them.
    Doubtful(Vec<String>),
    /// Points that are not ok; or none, and other reasons.
    Failed {
        not_ok: usize,
        reasons: Vec<String>,
    },
    TimedOut,
}

impl Outcome {
    pub(crate) fn is_pass(&self) -> bool {
        matches!(self, Self::Passed | Self::Doubtful(_))
    }

    fn reasons(&self) -> &[String] {
        match self {
            Self::Doubtful(reasons) | Self::Failed { reasons, .. } => reasons,
            Self::Passed | Self::TimedOut => &[],
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => formatter.pad("pass"),
            Self::Doubtful(_) => formatter.pad("pass?"),
            Self::Failed { not_ok, .. } => formatter.pad(&format!("fail({not_ok})")),
            Self::TimedOut => formatter.pad("timeout"),
        }
    }
}

/// A suite's file in `conformance/`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    passes: Vec<String>,
    #[serde(default)]
    racy: Vec<Group>,
    #[serde(default)]
    doubtful: Vec<Group>,
    #[serde(default)]
    fails: Vec<Group>,
}

/// Programs that do not simply pass, for one reason, in a sentence.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    programs: Vec<String>,
    reason: String,
    /// Only on a machine that lacks this.
    lacking: Option<Thing>,
}

/// What a machine may lack.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Thing {
    /// Every capability that the kernel knows.
    AllCapabilities,
}

impl Thing {
    fn is_missing(self) -> Result<bool> {
        match self {
            Self::AllCapabilities => shell::has_all_capabilities().map(|has| !has),
        }
    }
}

#[derive(Debug, Clone)]
enum Expectation {
    Passes,
    /// Passes, but not each time.
    Racy,
    /// Passes or passes doubtfully.
    Doubtful,
    Fails(String),
}

/// What is expected of each program of a suite on this machine.
#[derive(Debug)]
pub(crate) struct Expectations(BTreeMap<String, Expectation>);

impl Expectations {
    /// Reads a suite's file.
    pub(crate) fn read(suite: &str) -> Result<Self> {
        let path = shell::workspace().join("conformance").join(suite).with_extension("toml");
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text, Thing::is_missing).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    fn parse(text: &str, is_missing: impl Fn(Thing) -> Result<bool>) -> Result<Self> {
        let document: Document = toml::from_str(text)?;
        let mut all = BTreeMap::new();
        let mut expect = |programs: Vec<String>, expectation: &Expectation| -> Result {
            for program in programs {
                if all.insert(program.clone(), expectation.clone()).is_some() {
                    return Err(format!("{program} is there twice").into());
                }
            }
            Ok(())
        };
        expect(document.passes, &Expectation::Passes)?;
        for group in document.racy {
            expect(group.programs, &Expectation::Racy)?;
        }
        for group in document.doubtful {
            expect(group.programs, &Expectation::Doubtful)?;
        }
        for group in document.fails {
            let fails = group.lacking.map_or(Ok(true), &is_missing)?;
            expect(
                group.programs,
                &if fails { Expectation::Fails(group.reason) } else { Expectation::Passes },
            )?;
        }
        Ok(Self(all))
    }

    /// All programs that the file names.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// How often a program may be tried until it passes.
    pub(crate) fn attempts(&self, program: &str) -> usize {
        if matches!(self.0.get(program), Some(Expectation::Racy)) { 5 } else { 1 }
    }

    /// What is unexpected about an outcome, if anything is.
    ///
    /// Of a program that the file does not name nothing less is expected than that it passes.
    pub(crate) fn complaint(&self, program: &str, outcome: &Outcome) -> Option<String> {
        let expected = match self.0.get(program).unwrap_or(&Expectation::Passes) {
            Expectation::Passes | Expectation::Racy if *outcome == Outcome::Passed => return None,
            Expectation::Doubtful if outcome.is_pass() => return None,
            Expectation::Fails(_) if !outcome.is_pass() => return None,
            Expectation::Passes | Expectation::Racy | Expectation::Doubtful => "pass".to_owned(),
            Expectation::Fails(reason) => format!("fail: {reason}"),
        };
        let reasons: String = outcome.reasons().iter().map(|reason| format!("\n    {reason}")).collect();
        Some(format!("{program}: {outcome}, expected to {expected}{reasons}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "
        passes = ['create']
        [[racy]]
        programs = ['kill']
        reason = 'It does not wait.'
        [[doubtful]]
        programs = ['hooks']
        reason = 'It expects what it does not print.'
        [[fails]]
        programs = ['delete', 'pidfile']
        reason = 'Engines want it otherwise.'
        [[fails]]
        programs = ['capabilities']
        lacking = 'all-capabilities'
        reason = 'It asks for all of them.'";

    fn expectations() -> Expectations {
        Expectations::parse(DOCUMENT, |_| Ok(true)).expect("a valid document")
    }

    fn complaint(program: &str, outcome: &Outcome) -> Option<String> {
        expectations().complaint(program, outcome)
    }

    fn failed() -> Outcome {
        Outcome::Failed { not_ok: 1, reasons: vec!["2 - has a hostname".to_owned()] }
    }

    fn doubtful() -> Outcome {
        Outcome::Doubtful(vec!["hooks out of order".to_owned()])
    }

    #[test]
    fn what_was_expected_is_not_worth_a_word() {
        for (program, outcome) in [
            ("create", Outcome::Passed),
            ("hooks", Outcome::Passed),
            ("hooks", doubtful()),
            ("delete", failed()),
            ("pidfile", Outcome::TimedOut),
        ] {
            assert_eq!(complaint(program, &outcome), None, "{program}");
        }
    }

    #[test]
    fn a_failure_that_is_not_listed_is_told_with_its_points() {
        let told = complaint("create", &failed()).expect("a complaint");
        assert_eq!(told, "create: fail(1), expected to pass\n    2 - has a hostname");
        let told = complaint("create", &doubtful()).expect("a complaint");
        assert_eq!(told, "create: pass?, expected to pass\n    hooks out of order");
        assert_eq!(
            complaint("create", &Outcome::TimedOut).as_deref(),
            Some("create: timeout, expected to pass")
        );
        assert!(complaint("hooks", &failed()).is_some());
    }

    #[test]
    fn a_pass_that_is_listed_as_a_failure_is_told_with_the_reason() {
        let told = complaint("delete", &Outcome::Passed).expect("a complaint");
        assert_eq!(told, "delete: pass, expected to fail: Engines want it otherwise.");
        assert!(complaint("delete", &doubtful()).is_some());
    }

    #[test]
    fn a_program_that_is_not_named_is_expected_to_pass() {
        assert_eq!(complaint("new", &Outcome::Passed), None);
        assert!(complaint("new", &failed()).is_some());
    }

    #[test]
    fn what_fails_only_where_something_is_lacking_passes_elsewhere() {
        assert_eq!(complaint("capabilities", &failed()), None);
        let elsewhere = Expectations::parse(DOCUMENT, |_| Ok(false)).expect("a valid document");
        assert!(elsewhere.complaint("capabilities", &failed()).is_some());
        assert!(elsewhere.complaint("delete", &failed()).is_none());
    }

    #[test]
    fn a_racy_program_has_to_pass_in_one_of_some_attempts() {
        assert!(expectations().attempts("kill") > 1);
        assert_eq!((expectations().attempts("create"), expectations().attempts("new")), (1, 1));
        assert_eq!(complaint("kill", &Outcome::Passed), None);
        assert!(complaint("kill", &failed()).is_some());
    }

    #[test]
    fn a_program_has_one_expectation() {
        let document = "passes = ['create']\n[[fails]]\nprograms = ['create']\nreason = 'It does not.'\n";
        let error = Expectations::parse(document, |_| Ok(true)).expect_err("twice");
        assert_eq!(error.to_string(), "create is there twice");
    }

    #[test]
    fn the_suites_files_are_valid() {
        let expectations = Expectations::read("runtime-tools").expect("a valid file");
        assert!(expectations.programs().count() > 50);
    }
}
