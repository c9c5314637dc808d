//! config.json: read, decoded and judged (all of its sections).
//!
//! Stage: the first of all; reading is the only input, the rest is pure.
//! Privilege: none.
//! Kernel: `read(2)` by the caller's reader.
//! Spec: config.md. Attacker: whoever wrote the config may ask for anything, but not make the runtime fail
//! unclearly.
//!
//! [`load`] decodes, [`validate()`] judges: what is wrong is `InvalidConfig`, what Corten does not do yet is
//! `Unsupported`, and both name the field as it is written in config.json. Nothing here asks the host
//! anything.

use std::io::Read;

use oci_spec::runtime::{LinuxResources, Mount, Process, Spec};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

pub(crate) mod annotations;
mod compat;
mod error;
mod hooks;
mod keys;
mod list;
mod namespaces;
mod path;
pub(crate) mod resources;
mod strings;
mod unsupported;
mod validate;

pub use error::{Problem, SpecError};
pub use hooks::HookKind;
pub(crate) use list::number_list;
pub(crate) use namespaces::{is_joined, namespace, namespace_name};
pub(crate) use path::{clean_in_root, sysctl_file};
pub(crate) use validate::ids::{judge_new as judge_id_map, line as id_map_line};
pub(crate) use validate::resources::judge as judge_resources;
pub use validate::validate;
pub(crate) use validate::{asks_for_bind, sysctl_namespace};

/// The largest config.json that is read. Docker's is 10 KB; ten thousand mounts make 3 MB.
pub const LIMIT_BYTES: u64 = 64 << 20;

/// Reads and decodes config.json from `reader`. It is not validated yet, see [`validate()`].
///
/// # Errors
///
/// Reading fails, the text is empty, longer than [`LIMIT_BYTES`], no JSON, or not of the shape that the spec
/// asks for; then the error names field, line and column. A section for another platform that the types
/// cannot hold is not supported.
pub fn load(reader: impl Read) -> Result<Spec, SpecError> {
    parse(&read(reader)?)
}

/// As [`load`], of which only `process` is wanted: the other sections need only be JSON.
///
/// # Errors
///
/// As [`load`].
pub(crate) fn load_process(reader: impl Read) -> Result<Option<Process>, SpecError> {
    #[derive(serde::Deserialize)]
    struct Process {
        #[serde(default)]
        process: Option<oci_spec::runtime::Process>,
    }
    let text = read(reader)?;
    if keys::may_be_respelt(&text) {
        return Ok(parse_boxed(&text)?.process().clone());
    }
    match serde_json::from_slice(&text) {
        Ok(Process { process }) if is_object(&text) => Ok(process),
        // What is wrong, and where; and what is to be written as the types want it.
        _ => Ok(parse_boxed(&text)?.process().clone()),
    }
}

/// Reads the text of a config.
///
/// # Errors
///
/// Reading fails, or the text is longer than [`LIMIT_BYTES`].
pub(crate) fn read(reader: impl Read) -> Result<Vec<u8>, SpecError> {
    // One read of the usual size.
    let mut text = Vec::with_capacity(16 * 1024);
    reader.take(LIMIT_BYTES + 1).read_to_end(&mut text).map_err(|source| SpecError::Read { source })?;
    if text.len() as u64 > LIMIT_BYTES {
        return Err(SpecError::TooLarge { limit_bytes: LIMIT_BYTES });
    }
    Ok(text)
}

/// Decodes config.json from `text`. It is not validated yet, see [`validate()`].
///
/// # Errors
///
/// As [`load`].
pub fn parse(text: &[u8]) -> Result<Spec, SpecError> {
    parse_boxed(text).map(|spec| *spec)
}

/// As [`parse`]. The config has some kilobytes, which every function that hands it on would move.
pub(crate) fn parse_boxed(text: &[u8]) -> Result<Box<Spec>, SpecError> {
    if text.len() as u64 > LIMIT_BYTES {
        return Err(SpecError::TooLarge { limit_bytes: LIMIT_BYTES });
    }
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(SpecError::Empty);
    }
    if !is_object(text) {
        return Err(SpecError::NotAnObject);
    }
    if let Some(decoded) = Some(text).filter(|text| keys::may_be_respelt(text)).and_then(compat::respelt) {
        return decoded.map(Box::new);
    }
    match serde_json::from_slice(text) {
        Ok(spec) => compat::has_no_freebsd(text).map(|()| spec),
        Err(error) => {
            compat::decode(text, &error).unwrap_or_else(|| Err(locate::<Spec>(text, &error))).map(Box::new)
        }
    }
}

/// Decodes `linux.resources` as it is given to `update`. An error is [about](SpecError::about) another file
/// than config.json.
///
/// runc: `null` asks for nothing, as a whole and anywhere in it.
///
/// # Errors
///
/// As [`load`].
pub fn parse_resources(text: &[u8]) -> Result<LinuxResources, SpecError> {
    if text.trim_ascii() == b"null" {
        return Ok(LinuxResources::default());
    }
    parse_section(text, keys::RESOURCES, compat::resources)
}

/// Decodes a `process` as it is given to `exec`. It is judged when it is executed, together with the
/// container's config. An error is [about](SpecError::about) another file than config.json.
///
/// # Errors
///
/// As [`load`].
pub fn parse_process(text: &[u8]) -> Result<Process, SpecError> {
    parse_section(text, keys::PROCESS, |process| {
        process.as_object_mut().into_iter().for_each(compat::process)
    })
}

/// Decodes a section that stands alone; `compatible` writes it as the types want it.
fn parse_section<T: DeserializeOwned>(
    text: &[u8],
    fields: keys::Fields,
    compatible: impl FnOnce(&mut Value),
) -> Result<T, SpecError> {
    if !is_object(text) {
        return Err(SpecError::NotAnObject);
    }
    let mut value: Value = serde_json::from_slice(text).map_err(|error| SpecError::decode("", &error))?;
    if let Some(object) = value.as_object_mut() {
        keys::respell(object, fields).map_err(|field| SpecError::invalid(field, Problem::Twice))?;
    }
    compatible(&mut value);
    compat::decode_value(&value)
}

/// serde takes an array for a struct, too; nothing that engines or runc know does.
fn is_object(text: &[u8]) -> bool {
    text.trim_ascii_start().first() == Some(&b'{')
}

/// Decodes a list of `mounts`, as it is given to `mounts add`. It is judged when they are made. An error is
/// [about](SpecError::about) another file than config.json.
///
/// # Errors
///
/// As [`load`].
pub fn parse_mounts(text: &[u8]) -> Result<Vec<Mount>, SpecError> {
    serde_json::from_slice(text).map_err(|error| SpecError::decode("mounts", &error))
}

/// Decodes a second time, following the path, so that a config without mistakes does not pay for it.
fn locate<T: DeserializeOwned>(text: &[u8], error: &serde_json::Error) -> SpecError {
    let mut json = serde_json::Deserializer::from_slice(text);
    match serde_path_to_error::deserialize::<_, T>(&mut json) {
        Err(located) => SpecError::decode(&field(located.path()), located.inner()),
        // All of the value is right, so something follows it.
        Ok(_) => SpecError::decode("", error),
    }
}

/// Returns the path as it is written in an error; empty for the whole config.
fn field(path: &serde_path_to_error::Path) -> String {
    let mut field = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => field.push_str(&format!("[{index}]")),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                let dot = if field.is_empty() { "" } else { "." };
                field.push_str(&format!("{dot}{key}"));
            }
            // The text ended in the middle of a key.
            Segment::Unknown => {}
        }
    }
    field
}

#[cfg(test)]
mod tests {
    use std::io;

    use proptest::prelude::*;

    use super::*;
    use crate::ErrorKind;

    const DOCKER: &[u8] = include_bytes!("../../tests/data/docker-config.json");

    #[test]
    fn dockers_config_loads_and_is_valid() {
        let spec = load(DOCKER).expect("docker's config");
        assert_eq!(spec.hostname().as_deref(), Some("e60eb6acc996"));
        validate(&spec).expect("docker's config");
    }

    #[test]
    fn decoding_errors_name_field_line_and_column() {
        let cases: &[(&str, &str)] = &[
            ("", "config.json is empty"),
            (" \n\t", "config.json is empty"),
            ("\0\0", "config.json is not a JSON object"),
            ("{", "config.json:1:1: EOF while parsing an object"),
            ("[]", "config.json is not a JSON object"),
            ("{} {}", "config.json:1:4: trailing characters"),
            (
                "{\"ociVersion\": 1}",
                "config.json:1:16: ociVersion: invalid type: integer `1`, expected a string",
            ),
            (
                "{\"process\": {\n \"user\": {}, \"cwd\": \"/\", \"args\": [\"a\", 7]}}",
                "config.json:2:40: process.args[1]: invalid type: integer `7`, expected a string",
            ),
            ("{\"process\": {\"user\": {}}}", "config.json:1:24: process: missing field `cwd`"),
            (
                "{\"mounts\": [{\"destination\": \"/a\"}, {\"type",
                "config.json:1:41: mounts[1]: EOF while parsing a string",
            ),
            ("{\"root\": {\"path\": \"a\u{1}\"}}", "config.json:1:21: root.path: control character"),
            (
                "{\"linux\": {\"namespaces\": [{\"type\": \"mnt\"}]}}",
                "linux.namespaces[0].type: unknown variant `mnt`",
            ),
        ];
        for (text, expected) in cases {
            let error = load(text.as_bytes()).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{text}");
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn decoding_errors_of_sections_are_about_their_file() {
        let resources = |text: &str| parse_resources(text.as_bytes()).expect_err(text).about("a.json");
        assert_eq!(resources("["), "a.json is not a JSON object");
        assert_eq!(resources("{\n  \"cpu\": }"), "a.json:2:10: expected value");
        assert_eq!(
            resources("{\n  \"cpu\": 1}"),
            "a.json: cpu: invalid type: integer `1`, expected struct LinuxCpu"
        );
        let error = parse_process(b"{\"args\": [\"a\",\n7]}").expect_err("a number").about("p.json");
        assert_eq!(error, "p.json: args[1]: invalid type: integer `7`, expected a string");
        assert!(parse_resources(b"{\"pids\": {}}").is_ok());
    }

    #[test]
    fn every_truncation_of_dockers_config_is_an_error() {
        let end = DOCKER.iter().rposition(|byte| *byte == b'}').expect("an object");
        for length in (0..=end).rev().step_by(13) {
            assert!(load(&DOCKER[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn invalid_utf8_is_an_error() {
        let error = load(&b"{\"hostname\": \"\xff\"}"[..]).expect_err("not UTF-8");
        assert!(error.to_string().contains("invalid unicode"), "{error}");
    }

    #[test]
    fn long_strings_load_but_are_not_printed_whole() {
        let long = "x".repeat(1 << 20);
        let spec = load(format!("{{\"ociVersion\": \"1.2.0\", \"hostname\": \"{long}\"}}").as_bytes())
            .expect("long");
        assert_eq!(spec.hostname().as_ref().map(String::len), Some(1 << 20));
        let wrong = format!("{{\"linux\": {{\"namespaces\": [{{\"type\": \"{long}\"}}]}}}}");
        let error = load(wrong.as_bytes()).expect_err("no such namespace");
        assert!(error.to_string().len() < 400, "{}", error.to_string().len());
        // A key of that length is part of the path.
        let wrong = format!("{{\"linux\": {{\"sysctl\": {{\"{long}\": 1}}}}}}");
        let error = load(wrong.as_bytes()).expect_err("not a string");
        assert!(error.to_string().len() < 600, "{}", error.to_string().len());
    }

    #[test]
    fn the_size_is_limited() {
        let error = load(io::repeat(b' ')).expect_err("endless");
        assert_eq!(error.to_string(), "config.json is larger than 67108864 bytes");
    }

    #[test]
    fn a_failing_reader_is_the_source() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(libc::EIO))
            }
        }
        let error = load(Broken).expect_err("broken");
        assert_eq!(error.to_string(), "cannot read config.json");
        assert!(std::error::Error::source(&error).is_some());
        assert_eq!(error.kind(), ErrorKind::Kernel);
    }

    proptest! {
        /// One changed byte never panics, whatever it makes of the config.
        #[test]
        fn a_changed_byte_does_no_harm(at in 0..DOCKER.len(), byte in any::<u8>()) {
            let mut text = DOCKER.to_vec();
            text[at] = byte;
            drop(load(&text[..]).and_then(|spec| validate(&spec)));
        }
    }
}
