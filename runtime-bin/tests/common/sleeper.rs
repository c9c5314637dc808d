//! A container to join.

use std::fs;
use std::process::Output;

use serde_json::Value;

use super::{TestBundle, corten, create, stdout, succeed};

/// A running container that does nothing, gone at the end of the test.
#[derive(Debug)]
pub struct Sleeper(pub TestBundle);

impl Sleeper {
    pub fn new(change: impl FnOnce(&mut TestBundle)) -> Self {
        let mut test = TestBundle::new(&["sleep", "1000"]);
        change(&mut test);
        create(&test);
        succeed(&test, &["start", &test.id]);
        Self(test)
    }

    pub fn plain() -> Self {
        Self::new(|_| {})
    }

    /// `corten exec FLAGS ID COMMAND`.
    pub fn exec(&self, flags: &[&str], command: &[&str]) -> Output {
        let arguments = [&["exec"], flags, &[&self.0.id], command].concat();
        corten(&self.0, &arguments).output().unwrap()
    }

    /// What a command prints that must succeed.
    pub fn prints(&self, flags: &[&str], command: &[&str]) -> String {
        stdout(&self.exec(flags, command))
    }

    pub fn shell(&self, flags: &[&str], script: &str) -> String {
        self.prints(flags, &["sh", "-c", script])
    }

    /// The one line of a failure of exec itself.
    pub fn fails(&self, flags: &[&str], command: &[&str]) -> String {
        error(&self.exec(flags, command))
    }

    /// Writes a process into a file, and returns its name.
    pub fn process(&self, process: &Value) -> String {
        let file = self.0.beside("process.json");
        fs::write(&file, process.to_string()).unwrap();
        file.to_str().unwrap().to_owned()
    }

    pub fn pids(&self) -> Vec<i32> {
        serde_json::from_str(&succeed(&self.0, &["ps", "--format", "json", &self.0.id])).unwrap()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let deleted = corten(&self.0, &["delete", "--force", &self.0.id]).output().unwrap();
        if !std::thread::panicking() {
            assert_eq!(stdout(&deleted), "");
            self.0.assert_nothing_left("after exec");
        }
    }
}

/// The one line of a failure with exec's own exit status.
pub fn error(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(255), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr.trim_end().strip_prefix("exec failed: ").unwrap_or_else(|| panic!("{stderr}")).to_owned()
}
