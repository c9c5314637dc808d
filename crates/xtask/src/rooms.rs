//! Which rooms of a crate may use which others: upward only, so that each can be read, and changed, without
//! those that come after it.
//!
//! A room is a module at the top of a crate. The tables name the rooms from below to above, each with all
//! that it uses; a room uses only what stands above it in its table. The tests fail on what a file uses and
//! the table does not have, and on what the table has and no file uses. Tests within the sources may use
//! anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::shell;

/// The rooms of a crate, from below to above, each with those that it uses.
type Rooms = &'static [(&'static str, &'static [&'static str])];

const CORTEN_INIT: Rooms = &[
    ("arch", &[]),
    ("sys", &["arch"]),
    ("numbered", &[]),
    ("sync_point", &["numbered"]),
    ("reader", &[]),
    ("operand", &["numbered", "reader", "sync_point"]),
    ("step", &["numbered", "operand", "reader", "sync_point"]),
    ("message", &["numbered", "step", "sync_point"]),
    ("wire", &["reader", "step"]),
    ("encode", &["operand", "step", "wire"]),
    ("executor", &["message", "operand", "step", "sync_point", "sys", "wire"]),
];

const CORTEN_CGROUP: Rooms = &[
    ("error", &[]),
    ("sys", &["error"]),
    ("tree", &["error", "sys"]),
    ("device", &["error", "sys"]),
    ("systemd", &["device", "sys"]),
    ("resources", &["error", "sys", "systemd", "tree"]),
    ("cgroup", &["device", "error", "resources", "sys", "tree"]),
    ("hierarchy", &["cgroup", "error", "sys", "tree"]),
    ("legacy", &["device", "error", "hierarchy", "sys", "tree"]),
    ("stats", &["cgroup", "error", "sys", "tree"]),
    ("cgroups", &["cgroup", "device", "error", "hierarchy", "legacy", "resources", "stats", "systemd"]),
];

const LIBCORTEN: Rooms = &[
    ("error", &[]),
    ("sys", &["error"]),
    ("terminal", &["sys"]),
    ("spec", &["error"]),
    ("bundle", &["error", "spec", "sys"]),
    ("request", &[]),
    ("resctrl", &["error", "sys"]),
    ("state", &["error", "resctrl", "sys"]),
    ("hooks", &["error", "spec", "state", "sys"]),
    ("seccomp", &["error", "spec"]),
    ("facts", &["seccomp"]),
    ("plan", &["error", "facts", "request", "seccomp", "spec", "state"]),
    ("host", &["error", "facts", "plan", "request", "seccomp", "spec", "state", "sys"]),
    ("remains", &["error", "host", "resctrl", "sys"]),
    ("criu", &["error", "facts", "plan", "spec", "sys"]),
    (
        "launch",
        &[
            "bundle", "criu", "error", "facts", "hooks", "host", "plan", "remains", "request", "resctrl",
            "spec", "state", "sys", "terminal",
        ],
    ),
    ("features", &["plan", "spec"]),
    (
        "lifecycle",
        &[
            "bundle", "criu", "error", "facts", "features", "hooks", "host", "launch", "plan", "remains",
            "request", "resctrl", "spec", "state", "sys", "terminal",
        ],
    ),
    ("fuzzing", &["host", "launch", "plan", "resctrl", "spec", "state"]),
];

/// What uses what in a crate: rooms, with the rooms that their files name, and one such file.
type Uses = BTreeMap<String, BTreeMap<String, PathBuf>>;

/// Reads the sources of a crate.
fn uses(krate: &str) -> Uses {
    let source = shell::workspace().join("crates").join(krate).join("src");
    let again = again_named(&code(&source.join("lib.rs")));
    let mut uses = Uses::new();
    for file in files(&source) {
        let below = file.strip_prefix(&source).unwrap();
        let (Some(room), depth) = place(below) else { continue };
        let used = uses.entry(room.clone()).or_default();
        for name in named(&code(&file), depth) {
            let other = again.get(&name).unwrap_or(&name);
            let is_room = source.join(other).is_dir() || source.join(other).with_extension("rs").is_file();
            if is_room && *other != room {
                used.entry(other.clone()).or_insert_with(|| below.to_owned());
            }
        }
    }
    uses
}

/// The room that a file is of, and how deep in the crate its module is; none for the crate's own file, and
/// for tests.
fn place(file: &Path) -> (Option<String>, usize) {
    let parts: Vec<_> = file.iter().map(|part| part.to_str().unwrap().trim_end_matches(".rs")).collect();
    let is_test = parts.iter().any(|part| ["tests", "fake"].contains(part));
    let depth = parts.iter().filter(|part| **part != "mod").count();
    let room = parts.first().filter(|room| !is_test && !["lib", "main"].contains(room));
    (room.map(|&room| room.to_owned()), depth)
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The text of a file without comments, and without the tests at its end.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().take_while(|line| *line != "mod tests {");
    lines.filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// What the crate's own file has again of its rooms (`pub use error::{Error, Result}`), by its name there.
fn again_named(text: &str) -> BTreeMap<String, String> {
    let mut again = BTreeMap::new();
    for (start, _) in text.match_indices("use ") {
        let path = &text[start + "use ".len()..];
        let Some((room, rest)) = path.split_once("::") else { continue };
        let is_room = room.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
        if is_room && !["crate", "self", "super"].contains(&room) {
            again.extend(firsts(rest).into_iter().map(|name| (name, room.to_owned())));
        }
    }
    again
}

/// What a file names at the top of its crate: `crate::A`, `crate::{A, B::C}`, and with as many `super::` as
/// it is deep.
fn named(text: &str, depth: usize) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for root in ["crate::".to_owned(), "super::".repeat(depth)] {
        for (start, _) in text.match_indices(&root) {
            let is_whole = !text[..start].ends_with(|before: char| {
                before == ':' || before == '_' || before == '$' || before.is_alphanumeric()
            });
            if is_whole {
                names.extend(firsts(&text[start + root.len()..]));
            }
        }
    }
    names
}

/// The first names of a path, or of all paths in braces.
fn firsts(path: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim().chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
    };
    // `super::*` names nothing.
    let named = |names: Vec<String>| names.into_iter().filter(|name| !name.is_empty()).collect();
    let Some(list) = path.strip_prefix('{') else { return named(vec![name(path)]) };
    let (mut depth, mut paths) = (0_usize, vec![String::new()]);
    for letter in list.chars() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => paths.push(String::new()),
            _ => {}
        }
        paths.last_mut().unwrap().push(letter);
    }
    let paths = paths.iter().map(|path| path.trim_start_matches(',').trim());
    named(paths.map(name).collect())
}

/// What is wrong with a table, or with the crate.
fn wrong(krate: &str, table: Rooms) -> Vec<String> {
    let uses = uses(krate);
    let mut wrong = Vec::new();
    let mut above: BTreeSet<&str> = BTreeSet::new();
    for (room, allowed) in table {
        let Some(used) = uses.get(*room) else {
            wrong.push(format!("{krate}: there is no room {room}"));
            continue;
        };
        let circles = allowed.iter().filter(|other| !above.contains(*other));
        wrong.extend(
            circles.map(|other| format!("{krate}: {room} uses {other}, which does not stand above it")),
        );
        let more = used.iter().filter(|(other, _)| !allowed.contains(&other.as_str()));
        wrong.extend(more.map(|(other, file)| {
            format!("{krate}: {} uses {other}, which the table does not allow", file.display())
        }));
        let less = allowed.iter().filter(|other| !used.contains_key(**other));
        wrong.extend(less.map(|other| format!("{krate}: no file of {room} uses {other}")));
        above.insert(room);
    }
    let missing = uses.keys().filter(|room| !above.contains(room.as_str()));
    wrong.extend(missing.map(|room| format!("{krate}: the table does not have {room}")));
    wrong
}

#[test]
fn rooms_use_only_what_stands_above_them() {
    let crates = [("corten-init", CORTEN_INIT), ("corten-cgroup", CORTEN_CGROUP), ("libcorten", LIBCORTEN)];
    let wrong: Vec<_> = crates.into_iter().flat_map(|(krate, table)| wrong(krate, table)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_reader_finds_what_a_file_names() {
    let text = "use crate::{Error, plan::{Plan, build}, sys::self};\nuse super::super::state::Record;\nuse super::near;\ncrate::chain(&x); $crate::no";
    let names: Vec<_> = named(text, 2).into_iter().collect();
    assert_eq!(names, ["Error", "chain", "plan", "state", "sys"]);
    let again = again_named("pub use error::{Error,\n    Result};\npub use plan::Plan;\n");
    assert_eq!(
        again.into_iter().collect::<Vec<_>>(),
        [("Error", "error"), ("Plan", "plan"), ("Result", "error")]
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
    );
}
