//! Command lines with what came of them, of corten and of runc: run, normalised, compared.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{CORTEN, TestBundle, skip};

/// What there is when the command is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// A bundle and no container.
    Nothing,
    Created,
    Running,
    Paused,
    Stopped,
}

/// What two transcripts may differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Exit,
    Stdout,
    Stderr,
    /// The status of the container afterwards.
    After,
    /// The file that the row looks at.
    File,
}

/// A difference that is meant, and why.
#[derive(Debug)]
struct Difference {
    parts: Vec<Part>,
    /// With runc of these versions.
    versions: RangeInclusive<Version>,
    /// So that whoever reads the table knows, and whoever removes the difference.
    _why: &'static str,
}

/// Major and minor version.
type Version = (u32, u32);

/// A command line, and what it is run on. In the words `$ID`, `$BUNDLE` and `$DIR` (a directory that is
/// there) stand for the test's own; `''` is an empty word, and a no-break space a space within one.
#[derive(Debug)]
pub struct Row {
    setup: Setup,
    line: &'static str,
    change: fn(&mut Value),
    arguments: &'static str,
    prepare: fn(&TestBundle),
    stdin: &'static str,
    in_bundle: bool,
    looks_at: Option<&'static str>,
    only_shape: bool,
    settles: Option<&'static str>,
    since: Option<Version>,
    in_snapshot: bool,
    differences: Vec<Difference>,
}

/// A row of a table. The container, if there is one, sleeps.
pub fn row(setup: Setup, line: &'static str) -> Row {
    Row {
        setup,
        line,
        change: |_| {},
        arguments: if setup == Setup::Stopped { "true" } else { "sleep 1000" },
        prepare: |_| {},
        stdin: "",
        in_bundle: false,
        looks_at: None,
        only_shape: false,
        settles: None,
        since: None,
        in_snapshot: true,
        differences: Vec::new(),
    }
}

impl Row {
    /// Another program than `sleep`.
    pub fn program(mut self, arguments: &'static str) -> Self {
        self.arguments = arguments;
        self
    }

    /// Another config.
    pub fn config(mut self, change: fn(&mut Value)) -> Self {
        self.change = change;
        self
    }

    /// What is done before the command.
    pub fn after(mut self, prepare: fn(&TestBundle)) -> Self {
        self.prepare = prepare;
        self
    }

    /// What the command reads.
    pub fn stdin(mut self, text: &'static str) -> Self {
        self.stdin = text;
        self
    }

    /// The command is run in the bundle.
    pub fn in_bundle(mut self) -> Self {
        self.in_bundle = true;
        self
    }

    /// A file, the content of which belongs to the transcript.
    pub fn looks_at(mut self, file: &'static str) -> Self {
        self.looks_at = Some(file);
        self
    }

    /// Of the JSON on stdout, only the kind and the names count.
    pub fn only_shape(mut self) -> Self {
        self.only_shape = true;
        self
    }

    /// The container comes to this status, if not at once.
    pub fn settles(mut self, status: &'static str) -> Self {
        self.settles = Some(status);
        self
    }

    /// Compared with runc from this version on: what is before it does not know the flag.
    pub fn since(mut self, version: Version) -> Self {
        self.since = Some(version);
        self
    }

    /// What comes of it depends on the machine's controllers: not for the snapshot, and only where there are
    /// some.
    pub fn depends_on_machine(mut self) -> Self {
        self.in_snapshot = false;
        self
    }

    /// Differs from runc, and why that is meant.
    pub fn differs(mut self, parts: &[Part], why: &'static str) -> Self {
        self.differences.push(Difference {
            parts: parts.to_vec(),
            versions: (0, 0)..=(u32::MAX, 0),
            _why: why,
        });
        self
    }

    /// Differs from runc from this version on, and why that is meant.
    pub fn differs_from(mut self, version: Version, parts: &[Part], why: &'static str) -> Self {
        self.differences.push(Difference {
            parts: parts.to_vec(),
            versions: version..=(u32::MAX, 0),
            _why: why,
        });
        self
    }

    /// Differs from runc up to this version, and why that is meant.
    pub fn differs_until(mut self, version: Version, parts: &[Part], why: &'static str) -> Self {
        self.differences.push(Difference { parts: parts.to_vec(), versions: (0, 0)..=version, _why: why });
        self
    }
}

/// What came of a row, normalised.
#[derive(Debug, PartialEq, Eq)]
struct Transcript {
    exit: String,
    stdout: String,
    stderr: String,
    after: String,
    file: String,
}

impl Transcript {
    fn part(&self, part: Part) -> &str {
        match part {
            Part::Exit => &self.exit,
            Part::Stdout => &self.stdout,
            Part::Stderr => &self.stderr,
            Part::After => &self.after,
            Part::File => &self.file,
        }
    }
}

const PARTS: [Part; 5] = [Part::Exit, Part::Stdout, Part::Stderr, Part::After, Part::File];

/// Runs the rows with corten and, where it is installed, with runc, and compares. Returns corten's
/// transcripts, for a snapshot.
pub fn compare(rows: &[Row]) -> String {
    let runc = Runc::find();
    if runc.is_none() {
        skip("no runc to compare transcripts with");
    }
    let mut text = String::new();
    let mut wrong = String::new();
    let machine_has_limits = has_limits();
    for row in rows.iter().filter(|row| row.in_snapshot || machine_has_limits) {
        let ours = transcript(row, Path::new(CORTEN), true);
        if row.in_snapshot {
            write_down(&mut text, row, &ours);
        }
        if let Some(runc) = runc.as_ref().filter(|runc| row.since.is_none_or(|since| since <= runc.version)) {
            let theirs = transcript(row, &runc.path, false);
            judge(&mut wrong, row, runc.version, &ours, &theirs);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    text
}

/// Whether memory can be limited here, and with it all that is usual.
fn has_limits() -> bool {
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    Path::new("/sys/fs/cgroup/memory").exists() || controllers.contains("memory")
}

fn write_down(text: &mut String, row: &Row, transcript: &Transcript) {
    let program = Some(row.arguments).filter(|program| !["sleep 1000", "true"].contains(program));
    let program = program.map(|program| format!(" {program:?}")).unwrap_or_default();
    writeln!(text, "[{:?}{program}] $ corten {}", row.setup, row.line).unwrap();
    let Transcript { exit, stdout, stderr, after, file } = transcript;
    for (name, part) in
        [("exit", exit), ("stdout", stdout), ("stderr", stderr), ("after", after), ("file", file)]
    {
        // What stands for all success is left out.
        if !(part.is_empty() || name == "exit" && part == "0") {
            writeln!(text, "  {name}: {}", part.trim_end().replace('\n', "\n    ")).unwrap();
        }
    }
}

/// Adds what is not as it is meant to be.
fn judge(wrong: &mut String, row: &Row, version: Version, ours: &Transcript, theirs: &Transcript) {
    for part in PARTS {
        let listed = row
            .differences
            .iter()
            .any(|listed| listed.parts.contains(&part) && listed.versions.contains(&version));
        let (ours, theirs) = (ours.part(part), theirs.part(part));
        let name = format!("[{:?}] {}: {part:?}", row.setup, row.line);
        if listed && ours == theirs {
            writeln!(wrong, "{name}: no difference any more: {ours}").unwrap();
        } else if !listed && ours != theirs {
            writeln!(wrong, "{name}\n  corten: {ours}\n  runc:   {theirs}").unwrap();
        }
    }
}

/// The runc to compare with.
struct Runc {
    path: PathBuf,
    version: Version,
}

impl Runc {
    /// `CORTEN_TEST_RUNC`, or the machine's.
    fn find() -> Option<Self> {
        let listed = std::env::var_os("CORTEN_TEST_RUNC").map(PathBuf::from);
        let found = listed.into_iter().chain(["/usr/sbin/runc".into(), "/usr/bin/runc".into()]);
        let path = found.into_iter().find(|path| path.exists())?;
        let printed = Command::new(&path).arg("--version").output().unwrap().stdout;
        let text = String::from_utf8_lossy(&printed).into_owned();
        let mut numbers =
            text.trim_start_matches("runc version ").split('.').map_while(|number| number.parse().ok());
        let version = (numbers.next().unwrap(), numbers.next().unwrap());
        Some(Self { path, version })
    }
}

fn transcript(row: &Row, runtime: &Path, is_ours: bool) -> Transcript {
    let test = TestBundle::new(&row.arguments.split(' ').collect::<Vec<_>>());
    let mut test = if is_ours { test } else { test.of_any_runtime() };
    if row.arguments.contains(" -c ") {
        let (shell, script) = row.arguments.split_once(" -c ").unwrap();
        test.config["process"]["args"] = serde_json::json!([shell, "-c", script]);
    }
    (row.change)(&mut test.config);
    let path = test.write().path();
    fs::create_dir(test.beside("dir")).unwrap();
    let place = Place { test: &test, runtime, path: path.to_str().unwrap() };
    if row.setup != Setup::Nothing {
        place.must(&["create", "-b", place.path, &test.id]);
    }
    if matches!(row.setup, Setup::Running | Setup::Paused | Setup::Stopped) {
        place.must(&["start", &test.id]);
        // runc does not wait for the exec.
        place.wait_for_program();
    }
    if row.setup == Setup::Paused {
        place.must(&["pause", &test.id]);
    }
    if row.setup == Setup::Stopped {
        place.settle("stopped");
    }
    (row.prepare)(&test);
    let pid = place.state().map(|state| state["pid"].to_string()).filter(|pid| pid != "0");
    let (own_pid, status, stdout, stderr) = place.run(row);
    if let Some(status) = row.settles {
        place.settle(status);
    }
    let state = place.state();
    let after = state.as_ref().map_or("", |state| state["status"].as_str().unwrap()).to_owned();
    let pids = [Some(own_pid), pid, state.map(|state| state["pid"].to_string()).filter(|pid| pid != "0")];
    let file =
        row.looks_at.map(|file| fs::read_to_string(place.word(file)).unwrap_or_else(|_| "none".to_owned()));
    let normal = |text: &str| place.normalise(text, pids.iter().flatten());
    let stdout = if row.only_shape { shape(&stdout) } else { stdout };
    let transcript = Transcript {
        exit: status,
        stdout: without_help(&normal(&stdout)),
        stderr: messages(&normal(&stderr)),
        after,
        file: normal(&file.unwrap_or_default()),
    };
    place.quietly(&["delete", "--force", &test.id]);
    // What a row has put there.
    fs::remove_dir_all(test.state_root().join("damaged")).ok();
    if is_ours {
        test.assert_nothing_left(row.line);
    }
    transcript
}

/// A runtime with a bundle.
struct Place<'t> {
    test: &'t TestBundle,
    runtime: &'t Path,
    path: &'t str,
}

/// How long a command may take.
const COMMAND_DEADLINE: Duration = Duration::from_secs(30);

impl Place<'_> {
    fn command(&self, arguments: &[impl AsRef<std::ffi::OsStr>]) -> Command {
        let mut command = Command::new(self.runtime);
        command.arg("--root").arg(self.test.state_root()).args(arguments).stdin(Stdio::null());
        command
    }

    /// A command that must succeed. What init keeps open is no pipe.
    fn must(&self, arguments: &[&str]) {
        let status = self.command(arguments).stdout(Stdio::null()).status().unwrap();
        assert!(status.success(), "{} {arguments:?}", self.runtime.display());
    }

    fn quietly(&self, arguments: &[&str]) {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    }

    fn state(&self) -> Option<Value> {
        let output = self.command(&["state", &self.test.id]).output().unwrap();
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Waits for the status; that it does not come is for the comparison to tell.
    fn settle(&self, status: &str) {
        let deadline = Instant::now() + Duration::from_secs(3);
        while self.state().is_some_and(|state| state["status"] != status) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until init has become the program, or ended.
    fn wait_for_program(&self) {
        let deadline = Instant::now() + Duration::from_secs(3);
        while Instant::now() < deadline {
            let Some(state) = self.state() else { return };
            let name = fs::read_to_string(format!("/proc/{}/comm", state["pid"])).unwrap_or_default();
            if !name.contains("runc") && !name.contains("corten") {
                return;
            }
        }
    }

    fn word(&self, word: &str) -> String {
        let directory = self.test.beside("dir");
        let word = &(if word == "''" { "" } else { word }).replace('\u{a0}', " ");
        word.replace("$ID", &self.test.id)
            .replace("$BUNDLE", self.path)
            .replace("$DIR", directory.to_str().unwrap())
    }

    /// Runs the row's command; returns its pid, exit status, stdout and stderr.
    fn run(&self, row: &Row) -> (String, String, String, String) {
        let words: Vec<_> =
            row.line.split(' ').filter(|word| !word.is_empty()).map(|word| self.word(word)).collect();
        let (input, out, err) = (self.test.beside("in"), self.test.beside("out"), self.test.beside("err"));
        fs::write(&input, row.stdin).unwrap();
        let mut command = self.command(&words);
        command.stdin(File::open(&input).unwrap());
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        command.current_dir(if row.in_bundle { self.test.path() } else { self.test.beside("dir") });
        let mut child = command.spawn().unwrap();
        let deadline = Instant::now() + COMMAND_DEADLINE;
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => {
                    break status.code().map_or_else(|| status.to_string(), |code| code.to_string());
                }
                None if Instant::now() > deadline => {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    break "did not end".to_owned();
                }
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        let stdout = String::from_utf8_lossy(&fs::read(out).unwrap()).into_owned();
        (child.id().to_string(), status, stdout, fs::read_to_string(err).unwrap())
    }

    /// Takes out what differs from run to run and by the runtime's name.
    fn normalise<'p>(&self, text: &str, pids: impl Iterator<Item = &'p String>) -> String {
        let directory = self.test.beside("");
        let directory = directory.to_str().unwrap().trim_end_matches('/');
        let mut text =
            text.replace(self.path, "$BUNDLE").replace(self.test.state_root().to_str().unwrap(), "$ROOT");
        text = text
            .replace(&format!("{directory}/dir"), "$DIR")
            .replace(directory, "$TEST")
            .replace(&self.test.id, "$ID");
        text = text.replace(self.runtime.to_str().unwrap(), "RUNTIME");
        text = map_words(&text, |word| {
            if matches!(word, "runc" | "corten") { "RUNTIME".to_owned() } else { word.to_owned() }
        });
        for pid in pids {
            text = map_words(&text, |word| if word == pid { "$PID".to_owned() } else { word.to_owned() });
        }
        text = without_versions(&text);
        for label in ["commit: ", "libseccomp: "] {
            text = without_value(&text, label);
        }
        // Columns are as wide as what was in them.
        let columns = |line: &str| {
            let columns: Vec<_> =
                line.split("  ").map(str::trim).filter(|column| !column.is_empty()).collect();
            columns.join("  ") + if line.ends_with('\n') { "\n" } else { "" }
        };
        without_times(&text.split_inclusive('\n').map(columns).collect::<String>())
    }
}

/// Replaces words: what is between characters that are neither letters nor digits.
fn map_words(text: &str, change: impl Fn(&str) -> String) -> String {
    let mut changed = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        changed.push_str(&change(&rest[..end]));
        let next = rest[end..].chars().next().map_or(end, |c| end + c.len_utf8());
        changed.push_str(&rest[end..next]);
        rest = &rest[next..];
    }
    changed
}

/// The names in an event.
fn shape(text: &str) -> String {
    let Ok(event) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    let data = event["data"].as_object().map(|data| data.keys().cloned().collect::<Vec<_>>().join(" "));
    format!("{} {} {}", event["type"], event["id"], data.unwrap_or_default())
}

/// Replaces what follows the label in its line.
fn without_value(text: &str, label: &str) -> String {
    let replaced = |line: &str| match line.split_once(label) {
        Some((before, _)) => format!("{before}{label}$VALUE{}", if line.ends_with('\n') { "\n" } else { "" }),
        None => line.to_owned(),
    };
    text.split_inclusive('\n').map(replaced).collect()
}

/// Each runtime has a version of the specification.
fn without_versions(text: &str) -> String {
    let mut parts = text.split("\"ociVersion\":");
    let mut changed = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start().trim_start_matches('"').split_once('"').map_or("", |(_, rest)| rest);
        changed.push_str(&format!("\"ociVersion\":\"$SPEC\"{rest}"));
    }
    changed
}

/// Replaces times as RFC 3339 has them.
fn without_times(text: &str) -> String {
    let is_time = |part: &str| part.len() >= 20 && part.as_bytes()[4] == b'-' && part.as_bytes()[10] == b'T';
    let belongs = |c: char| c.is_ascii_digit() || "-:.TZ+".contains(c);
    let mut changed = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let end = rest[start..].find(|c| !belongs(c)).map_or(rest.len(), |length| start + length);
        changed.push_str(&rest[..start]);
        changed.push_str(if is_time(&rest[start..end]) { "$TIME" } else { &rest[start..end] });
        rest = &rest[end..];
    }
    changed + rest
}

/// The help is each runtime's own.
fn without_help(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    let begins =
        |line: &&str| line.starts_with("NAME:") || line.starts_with("Usage:") || line.starts_with("USAGE:");
    match lines.iter().position(begins) {
        Some(first) => {
            // clap has a sentence of what the command does first.
            let told = lines[..first].iter().take_while(|line| line.starts_with("Incorrect Usage"));
            // runc has a colon after a command and none before it.
            let told: Vec<_> = told.map(|line| line.replacen("Usage. ", "Usage: ", 1)).collect();
            [told, vec!["(help)".to_owned()]].concat().join("\n")
        }
        None => text.to_owned(),
    }
}

/// Messages on stderr without runc's frame: `time="…" level=error msg="…"`.
fn messages(text: &str) -> String {
    let message = |line: &str| {
        let framed = line.strip_prefix("time=\"$TIME\" level=").and_then(|rest| rest.split_once(" msg="));
        match framed {
            Some((_, quoted)) if quoted.starts_with('"') => {
                serde_json::from_str(quoted.trim_end()).unwrap_or_else(|_| quoted.to_owned())
            }
            Some((_, plain)) => plain.to_owned(),
            None => line.to_owned(),
        }
    };
    text.lines().map(message).map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}
