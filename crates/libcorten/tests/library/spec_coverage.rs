//! docs/spec-coverage.md has a line for each property of config.json, and for nothing else.
//!
//! The types that decode config.json are asked for their properties (serde tells them to whoever plays the
//! JSON). Where the environment variable `CORTEN_RUNTIME_SPEC` names a checkout of runtime-spec, its JSON
//! schema is asked as well.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use libcorten::oci::Spec;
use libcorten::spec::{parse, validate};
use libcorten::{Bundle, CreateOptions, ErrorKind, Runtime};
use serde::Deserialize;
use serde_json::{Value, json};

/// Sections that are refused as a whole, so that what is in them needs no lines.
const OTHER_PLATFORMS: &[&str] = &["freebsd", "solaris", "vm", "windows", "zos"];

/// Properties that the types do not know: serde passes over them without a word, and `spec/compat.rs` does
/// not.
const ONLY_IN_SCHEMA: &[&str] = &["freebsd"];

/// What the types know beside the spec's properties: two of Intel RDT that the spec has taken back (and that
/// were written `enableCMT`, `enableMBM`), and ID mappings of the whole config, which it never had.
const ONLY_IN_TYPES: &[&str] = &[
    "gidMappings",
    "gidMappings[].containerID",
    "gidMappings[].hostID",
    "gidMappings[].size",
    "linux.intelRdt.enableCmt",
    "linux.intelRdt.enableMbm",
    "uidMappings",
    "uidMappings[].containerID",
    "uidMappings[].hostID",
    "uidMappings[].size",
];

/// Words that the schema allows and the types do not decode: `spec/compat.rs` says them in the types' words.
const WORDS_NOT_DECODED: &[(&str, &str)] = &[
    ("process.scheduler.flags[]", "SCHED_FLAG_DL_OVERRUN"),
    ("process.scheduler.flags[]", "SCHED_FLAG_RESET_ON_FORK"),
];

/// A property's path: `.*` is any key of a map, `[]` any element of a list.
type Paths = BTreeSet<String>;

/// The words that a string may be, by the path of the string.
type Words = BTreeMap<String, BTreeSet<String>>;

#[derive(Debug, Default)]
struct Properties {
    paths: Paths,
    /// Entries of maps: a line may name one, and need not.
    entries: Paths,
    words: Words,
}

impl Properties {
    fn know(&self, line: &str) -> bool {
        self.paths.iter().chain(&self.entries).any(|path| is_about(line, path))
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn child(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[derive(Debug)]
struct Line {
    property: String,
    how: String,
    place: String,
}

/// The lines of the page's first table, in its order.
fn table() -> Vec<Line> {
    let text = fs::read_to_string(repository().join("docs/spec-coverage.md")).expect("docs/spec-coverage.md");
    let (text, _) = text.split_once("\n## ").expect("a section after the table");
    let lines = text.lines().filter(|line| line.starts_with("| `"));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [property, how, place] = cells[..] else { panic!("three columns: {line}") };
            Line {
                property: property.trim_matches('`').to_owned(),
                how: how.to_owned(),
                place: place.to_owned(),
            }
        })
        .collect()
}

fn lines() -> Paths {
    table().into_iter().map(|line| line.property).collect()
}

fn without(paths: &Paths, others: &[&str]) -> Paths {
    paths.iter().filter(|path| !others.contains(&path.as_str())).cloned().collect()
}

/// Whether `line` is about the property `path`, in which `*` may be any name.
fn is_about(line: &str, path: &str) -> bool {
    let (mut line, mut path) = (line.split('.'), path.split('.'));
    loop {
        match (line.next(), path.next()) {
            (None, None) => return true,
            (Some(name), Some(expected)) if name == expected || expected == "*" => {}
            _ => return false,
        }
    }
}

#[test]
fn every_property_of_the_types_has_a_line_and_every_line_a_property() {
    let types = types::properties();
    let is_known = |path: &&&str| types.paths.contains(**path);
    assert_eq!(ONLY_IN_SCHEMA.iter().find(is_known), None, "the types know it by now");
    assert_eq!(ONLY_IN_TYPES.iter().find(|path| !is_known(path)), None, "the types know it no longer");
    let (lines, mut paths) = (lines(), without(&types.paths, ONLY_IN_TYPES));
    paths.extend(ONLY_IN_SCHEMA.iter().map(|&path| path.to_owned()));
    let missing: Vec<_> =
        paths.iter().filter(|path| !lines.iter().any(|line| is_about(line, path))).collect();
    let is_known = |line: &&String| types.know(line) || ONLY_IN_SCHEMA.contains(&line.as_str());
    let unknown: Vec<_> = lines.iter().filter(|line| !is_known(line)).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "without a line: {missing:#?}\nno property: {unknown:#?}"
    );
}

#[test]
fn every_property_of_the_schema_has_a_line_and_every_line_a_property() {
    let Some(schema) = schema::properties() else { return };
    let lines = lines();
    let missing: Vec<_> = schema.paths.difference(&lines).collect();
    let unknown: Vec<_> = lines.difference(&schema.paths).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "without a line: {missing:#?}\nno property: {unknown:#?}"
    );
    let types = types::properties();
    let not_decoded: Vec<_> = schema.paths.iter().filter(|path| !types.know(path)).collect();
    assert_eq!(not_decoded, ONLY_IN_SCHEMA, "properties that the types pass over");
}

#[test]
fn the_types_decode_the_words_of_the_schema() {
    let Some(schema) = schema::properties() else { return };
    let types = types::properties();
    let mut not_decoded = Vec::new();
    for (path, words) in &schema.words {
        // A string that any word can be in is judged by `spec::validate`.
        let Some(decoded) = types.words.get(path) else { continue };
        not_decoded.extend(words.difference(decoded).map(|word| (path.as_str(), word.as_str())));
    }
    assert_eq!(not_decoded, WORDS_NOT_DECODED);
}

#[test]
fn the_table_is_sorted_and_says_how_and_where() {
    let table = table();
    for pair in table.windows(2) {
        assert!(
            pair[0].property < pair[1].property,
            "{} comes before {}",
            pair[1].property,
            pair[0].property
        );
    }
    for Line { property, how, place } in &table {
        // Whatever is not done has a reason.
        let (word, reason) = how.split_once(": ").unwrap_or((how, ""));
        assert!(["done", "refused", "ignored"].contains(&word), "{property}: {how}");
        assert_eq!(word == "done", reason.is_empty(), "{property}: {how}");
        for file in place.split(", ").map(|file| file.trim_matches('`')) {
            let source = repository().join("crates").join(file);
            let in_library = repository().join("crates/libcorten/src").join(file);
            assert!(source.is_file() || in_library.is_file(), "{property}: there is no {file}");
        }
    }
}

/// What the page calls refused is refused, and the error names it.
#[test]
fn what_is_said_to_be_refused_is_refused() {
    let table = table();
    let refused = table.iter().filter(|line| line.how.starts_with("refused"));
    // An object that asks for nothing is not refused; what is in it is.
    let holds =
        |outer: &str, inner: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with(['.', '[']));
    let leaves = refused.filter(|line| !table.iter().any(|other| holds(&line.property, &other.property)));
    for Line { property, .. } in leaves {
        let values = [json!(7), json!("7"), json!(true), json!(["7"]), json!({ "a": "b" })];
        let configs = values.into_iter().map(|value| config_with(property, value).to_string());
        // A value of the wrong type is another error.
        let judge =
            |config: String| parse(config.as_bytes()).and_then(|spec| validate(&spec)).expect_err(property);
        let mut errors = configs.map(judge).filter(|error| error.kind() != ErrorKind::InvalidConfig);
        let error = errors.next().expect(property);
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{property}: {error}");
        let section: Vec<&str> = property.split(['.', '[']).take(3).collect();
        assert!(error.to_string().starts_with(&section.join(".")), "{property}: {error}");
    }
}

/// What the page calls ignored asks for nothing: it is accepted, and the plan is that of the config without
/// it.
#[test]
fn what_is_said_to_be_ignored_changes_nothing() {
    let plan = |config: &Value| -> String {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("config.json"), config.to_string()).expect("config.json");
        let bundle = Bundle::open(directory.path()).expect("a config that is right");
        let plan = Runtime::new(directory.path()).plan("box", &bundle, &CreateOptions::default(), true);
        plan.expect("a plan").to_string().replace(&directory.path().display().to_string(), "DIRECTORY")
    };
    let mut config = config_with("annotations", json!({}));
    let without = plan(&config);
    let table = table();
    let ignored: Vec<_> = table.iter().filter(|line| line.how.starts_with("ignored")).collect();
    assert!(!ignored.is_empty());
    for Line { property, .. } in ignored {
        let values = [json!(7), json!("7"), json!(true)];
        let configs = values.into_iter().map(|value| config_with(property, value));
        let is_config = |config: &Value| parse(config.to_string().as_bytes()).is_ok();
        config = configs.into_iter().find(is_config).expect(property);
        assert_eq!(plan(&config), without, "{property}");
    }
}

/// A config that is right but for one property.
fn config_with(property: &str, value: Value) -> Value {
    let around = |inner: Value, segment: &str| {
        let (name, inner) = match segment.strip_suffix("[]") {
            Some(name) => (name, json!([inner])),
            None => (segment, inner),
        };
        json!({ name: inner })
    };
    let mut config = json!({
        "ociVersion": "1.3.0",
        "root": { "path": "rootfs" },
        "process": { "user": {}, "cwd": "/", "args": ["sh"] },
        "linux": { "namespaces": [{ "type": "mount" }], "personality": { "domain": "LINUX" } },
    });
    merge(&mut config, property.rsplit('.').fold(value, around));
    config
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// The properties that serde asks for: a deserializer that makes the smallest value there is for whatever it
/// is asked.
mod types {
    use std::cell::RefCell;
    use std::fmt;

    use serde::Deserializer;
    use serde::de::value::StrDeserializer;
    use serde::de::{DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor, value};
    use serde::forward_to_deserialize_any;

    use super::*;

    pub(crate) fn properties() -> Properties {
        let found = RefCell::default();
        Spec::deserialize(Tracer { path: String::new(), found: &found }).expect("the smallest config of all");
        found.into_inner()
    }

    struct Tracer<'a> {
        path: String,
        found: &'a RefCell<Properties>,
    }

    impl Tracer<'_> {
        fn at(&self, path: String) -> Self {
            Self { path, found: self.found }
        }

        /// A word that is right where it is: a capability's name, a list of CPUs, and anything else.
        fn text(&self) -> &'static str {
            if self.path.starts_with("process.capabilities.") { "CAP_CHOWN" } else { "0" }
        }
    }

    impl fmt::Debug for Tracer<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.path)
        }
    }

    type Result<T> = std::result::Result<T, value::Error>;

    impl<'de> Deserializer<'de> for Tracer<'_> {
        type Error = value::Error;

        /// For all the numbers.
        fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            visitor.visit_u64(1)
        }

        fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            visitor.visit_bool(true)
        }

        fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            visitor.visit_str(self.text())
        }

        fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            visitor.visit_str(self.text())
        }

        fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            if OTHER_PLATFORMS.contains(&self.path.as_str()) {
                visitor.visit_none()
            } else {
                visitor.visit_some(self)
            }
        }

        fn deserialize_newtype_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            visitor: V,
        ) -> Result<V::Value> {
            visitor.visit_newtype_struct(self)
        }

        fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            let element = self.at(format!("{}[]", self.path));
            visitor.visit_seq(Once(Some(element)))
        }

        fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            self.found.borrow_mut().entries.insert(child(&self.path, "*"));
            visitor.visit_map(Fields { of: self, names: ["*"].iter(), next: None })
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value> {
            for field in fields {
                self.found.borrow_mut().paths.insert(child(&self.path, field));
            }
            visitor.visit_map(Fields { of: self, names: fields.iter(), next: None })
        }

        fn deserialize_enum<V: Visitor<'de>>(
            self,
            name: &'static str,
            variants: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value> {
            let words = variants.iter().map(|&word| word.to_owned()).collect();
            self.found.borrow_mut().words.insert(self.path, words);
            let word: StrDeserializer<'_, value::Error> = variants.first().expect(name).into_deserializer();
            visitor.visit_enum(word)
        }

        forward_to_deserialize_any! {
            i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct
            identifier ignored_any
        }
    }

    /// A list of one element.
    struct Once<'a>(Option<Tracer<'a>>);

    impl<'de> SeqAccess<'de> for Once<'_> {
        type Error = value::Error;

        fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
            self.0.take().map(|element| seed.deserialize(element)).transpose()
        }
    }

    /// A struct with all its fields, or a map with one entry.
    struct Fields<'a> {
        of: Tracer<'a>,
        names: std::slice::Iter<'static, &'static str>,
        next: Option<&'static str>,
    }

    impl<'de> MapAccess<'de> for Fields<'_> {
        type Error = value::Error;

        fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
            self.next = self.names.next().copied();
            self.next.map(|name| seed.deserialize(name.into_deserializer())).transpose()
        }

        fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
            let name = self.next.take().expect("a key comes first");
            seed.deserialize(self.of.at(child(&self.of.path, name)))
        }
    }
}

/// The properties of the JSON schema, references followed.
mod schema {
    use super::*;

    /// None if no checkout is named.
    pub(crate) fn properties() -> Option<Properties> {
        let Some(checkout) = env::var_os("CORTEN_RUNTIME_SPEC") else {
            println!("skipped: CORTEN_RUNTIME_SPEC names no checkout of runtime-spec");
            return None;
        };
        let mut schema =
            Schema { directory: Path::new(&checkout).join("schema"), found: Properties::default() };
        schema.walk("", "config-schema.json", &schema.read("config-schema.json"));
        Some(schema.found)
    }

    struct Schema {
        directory: PathBuf,
        found: Properties,
    }

    impl Schema {
        fn read(&self, file: &str) -> Value {
            let text = fs::read_to_string(self.directory.join(file)).expect(file);
            serde_json::from_str(&text).expect(file)
        }

        /// Takes in what `node` of `file` says about the value at `path`.
        fn walk(&mut self, path: &str, file: &str, node: &Value) {
            if let Some(reference) = node["$ref"].as_str() {
                let (other, pointer) = reference.split_once('#').expect("a reference");
                let other = if other.is_empty() { file } else { other };
                let document = self.read(other);
                self.walk(path, other, document.pointer(pointer).expect(reference));
            }
            for (name, property) in node["properties"].as_object().into_iter().flatten() {
                let path = child(path, name);
                self.found.paths.insert(path.clone());
                if !OTHER_PLATFORMS.contains(&path.as_str()) {
                    self.walk(&path, file, property);
                }
            }
            for key in ["allOf", "anyOf", "oneOf"] {
                for part in node[key].as_array().into_iter().flatten() {
                    self.walk(path, file, part);
                }
            }
            if node["items"].is_object() {
                self.walk(&format!("{path}[]"), file, &node["items"]);
            }
            if node["additionalProperties"].is_object() {
                self.walk(&child(path, "*"), file, &node["additionalProperties"]);
            }
            for (_, property) in node["patternProperties"].as_object().into_iter().flatten() {
                self.walk(&child(path, "*"), file, property);
            }
            let words = node["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
            for word in words {
                self.found.words.entry(path.to_owned()).or_default().insert(word.to_owned());
            }
        }
    }
}
