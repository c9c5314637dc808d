//! The test programs of the workspace: built once, then run as often as is wanted.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::{Result, shell};

/// An executable that Cargo has built.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// Its target's name.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) file: PathBuf,
    /// Its package's, in which Cargo runs tests.
    pub(crate) directory: PathBuf,
}

/// What is in an executable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A test program: a file or directory in `tests`.
    Tests,
    /// The unit tests of a library or a program.
    Units,
    /// No tests.
    Plain,
}

impl Program {
    /// The command that runs it as Cargo does.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.file);
        command.current_dir(&self.directory);
        command
    }
}

/// Builds all tests of the workspace, and what they run.
pub(crate) fn build() -> Result<Vec<Program>> {
    let mut command = shell::cargo();
    command.args(["test", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"]);
    Ok(named_by(&shell::output(&mut command)?))
}

/// The executables that Cargo's messages are about.
pub(crate) fn named_by(messages: &str) -> Vec<Program> {
    messages.lines().filter_map(|line| program(&serde_json::from_str(line).ok()?)).collect()
}

fn program(message: &Value) -> Option<Program> {
    let is_integration = message["target"]["kind"].as_array()?.iter().any(|kind| kind == "test");
    let kind = match message["profile"]["test"].as_bool()? {
        true if is_integration => Kind::Tests,
        true => Kind::Units,
        false => Kind::Plain,
    };
    Some(Program {
        name: message["target"]["name"].as_str()?.to_owned(),
        kind,
        file: message["executable"].as_str()?.into(),
        directory: Path::new(message["manifest_path"].as_str()?).parent()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cargos_messages_name_executables() {
        let message = |kind: &str, test: bool| {
            json!({ "target": { "kind": [kind], "name": "cgroups" }, "executable": "/target/debug/deps/cgroups-1",
                    "profile": { "test": test }, "manifest_path": "/src/Cargo.toml" })
        };
        for (kind, test, expected) in [
            ("test", true, Kind::Tests),
            ("lib", true, Kind::Units),
            ("bin", true, Kind::Units),
            ("bin", false, Kind::Plain),
        ] {
            let found = program(&message(kind, test)).expect("a program");
            assert_eq!((found.name.as_str(), found.directory.as_path()), ("cgroups", Path::new("/src")));
            assert_eq!(found.kind, expected, "{kind} {test}");
        }
        let mut library = message("lib", false);
        library["executable"] = Value::Null;
        assert!(program(&library).is_none() && program(&json!({ "reason": "build-finished" })).is_none());
    }
}
