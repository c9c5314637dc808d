//! Configs that are right and that the types do not decode.
//!
//! oci-spec writes two flags otherwise than the spec, takes no empty lists of CPUs, no `pids` without a limit
//! and no limit on huge pages above 2^63, asks for a `user`, takes no null where there is a number, and knows
//! nothing of FreeBSD. Keys in other letters than the spec's it passes over ([`keys`]). Only a config that
//! does not decode, or may have such keys, pays for this: it is read as plain JSON, written as the types want
//! it, and decoded again. If that does not help, the first error stands.

use std::fmt;

use oci_spec::runtime::{LinuxSchedulerFlag, Spec};
use serde::de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::{Map, Value};

use super::error::{Problem, SpecError};
use super::unsupported::{OTHER_PLATFORMS, other_platform};
use super::{keys, locate, number_list};

/// Decodes a config that failed to with `error`; `None` if it is indeed wrong.
pub(super) fn decode(text: &[u8], error: &serde_json::Error) -> Option<Result<Spec, SpecError>> {
    if error.classify() != Category::Data {
        return None;
    }
    let Unique(Value::Object(mut config)) = serde_json::from_slice(text).ok()? else {
        return None;
    };
    keys::respell(&mut config, keys::CONFIG).ok()?;
    decode_object(config).ok()
}

/// Decodes a config in which keys are written with other letters than the spec's; `None` if there are none.
pub(super) fn respelt(text: &[u8]) -> Option<Result<Spec, SpecError>> {
    let mut config = match serde_json::from_slice(text) {
        Ok(Unique(Value::Object(config))) => config,
        // It would be passed over, or be told with a place in a text that nobody has.
        Err(error) if error.classify() == Category::Data => return Some(Err(SpecError::decode("", &error))),
        Ok(_) | Err(_) => return None,
    };
    match keys::respell(&mut config, keys::CONFIG) {
        Ok(false) => None,
        Ok(true) => Some(decode_object(config).unwrap_or_else(Err)),
        Err(field) => Some(Err(SpecError::invalid(field, Problem::Twice))),
    }
}

/// Decodes an object when it is written as the types want it. What is asked for may be that of another
/// platform.
///
/// # Errors
///
/// It does not decode.
fn decode_object(mut config: Map<String, Value>) -> Result<Result<Spec, SpecError>, SpecError> {
    if let Some(section) = config.get_mut("process").and_then(Value::as_object_mut) {
        process(section);
    }
    if let Some(section) = config.get_mut("linux").and_then(|linux| linux.get_mut("resources")) {
        resources(section);
    }
    let mut given =
        OTHER_PLATFORMS.iter().filter(|(name, _, _)| config.remove(*name).is_some_and(|it| !it.is_null()));
    let other = given.next();
    // The rest of them goes, too.
    given.for_each(drop);
    let spec = decode_value(&Value::Object(config))?;
    Ok(match other {
        Some((name, what, _)) => Err(other_platform(name, what)),
        None => Ok(spec),
    })
}

/// Decodes by way of text: decoding from a `Value` would be a second copy of the code for all types. What is
/// wrong has no place in the file then.
pub(super) fn decode_value<T: DeserializeOwned>(value: &Value) -> Result<T, SpecError> {
    let text = value.to_string();
    serde_json::from_str(&text).map_err(|error| match locate::<T>(text.as_bytes(), &error) {
        SpecError::Decode { field, problem, .. } => SpecError::Decode { field, line: 0, column: 0, problem },
        other => other,
    })
}

/// Refuses the section `freebsd`, which the types pass over.
pub(super) fn has_no_freebsd(text: &[u8]) -> Result<(), SpecError> {
    #[derive(Deserialize)]
    struct Sections {
        freebsd: Option<IgnoredAny>,
    }
    // Two microseconds for what Docker writes. Bytes that are no UTF-8 can be in strings that nobody reads.
    if str::from_utf8(text).is_ok_and(|text| !text.contains("\"freebsd\"")) {
        return Ok(());
    }
    // It decoded before, so what fails now is that the section is there twice.
    let is_there = serde_json::from_slice(text).map_or(true, |sections: Sections| sections.freebsd.is_some());
    match OTHER_PLATFORMS.iter().find(|(name, _, _)| is_there && *name == "freebsd") {
        Some((name, what, _)) => Err(other_platform(name, what)),
        None => Ok(()),
    }
}

/// Writes `process` as the types want it.
pub(super) fn process(process: &mut Map<String, Value>) {
    // runc and the JSON schema: no user is 0:0.
    process.entry("user").or_insert_with(|| Map::new().into());
    if let Some(flags) = process.get_mut("scheduler").and_then(|scheduler| scheduler.get_mut("flags")) {
        flags.as_array_mut().into_iter().flatten().for_each(scheduler_flag);
    }
    if let Some(affinity) = process.get_mut("execCPUAffinity").and_then(Value::as_object_mut) {
        affinity.values_mut().for_each(cpu_list);
    }
}

/// Writes `linux.resources` as the types want it.
pub(super) fn resources(resources: &mut Value) {
    let Some(resources) = resources.as_object_mut() else { return };
    // A limit that is not given limits nothing.
    if resources
        .get("pids")
        .is_some_and(|pids| pids.is_object() && pids.get("limit").is_none_or(Value::is_null))
    {
        resources.remove("pids");
    }
    for limit in resources.get_mut("hugepageLimits").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(limit) = limit.get_mut("limit").filter(|limit| limit.as_u64() > Some(i64::MAX as u64)) {
            // More than the kernel counts to, like what was given.
            *limit = i64::MAX.into();
        }
    }
}

fn scheduler_flag(flag: &mut Value) {
    let known = match flag.as_str() {
        Some("SCHED_FLAG_RESET_ON_FORK") => LinuxSchedulerFlag::SchedResetOnFork,
        Some("SCHED_FLAG_DL_OVERRUN") => LinuxSchedulerFlag::SchedFlagDLOverrun,
        _ => return,
    };
    // The types decode what they write.
    if let Ok(word) = serde_json::to_value(known) {
        *flag = word;
    }
}

/// The types take no spaces, no empty elements, and no empty list.
fn cpu_list(list: &mut Value) {
    let Some(text) = list.as_str().filter(|text| number_list(text).is_some()) else {
        return;
    };
    let elements: Vec<&str> = text.split(',').map(str::trim).filter(|element| !element.is_empty()).collect();
    *list = if elements.is_empty() { Value::Null } else { elements.join(",").into() };
}

/// Any JSON, in which no key is there twice: `Value` would silently keep the last, the types fail.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(element)) = elements.next_element()? {
            list.push(element);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Unique(value))) = entries.next_entry::<String, _>()? {
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom("a key is there twice"));
            }
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{parse, validate};
    use super::*;
    use crate::ErrorKind;

    fn config(process: &Value) -> Value {
        let mut config = json!({
            "ociVersion": "1.3.0",
            "root": {"path": "rootfs"},
            "process": {"user": {}, "cwd": "/", "args": ["sh"]},
            "linux": {"namespaces": [{"type": "mount"}]},
        });
        let members = process.as_object().expect("an object").clone();
        config["process"].as_object_mut().expect("an object").extend(members);
        config
    }

    fn decoded(config: &Value) -> Spec {
        let spec = parse(config.to_string().as_bytes()).expect("a config");
        validate(&spec).expect("a config that is right");
        spec
    }

    fn refused(config: &str) -> SpecError {
        parse(config.as_bytes()).expect_err(config)
    }

    #[test]
    fn the_specs_flags_are_the_types_flags() {
        let flags = ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_RECLAIM"];
        let spec = decoded(&config(&json!({"scheduler": {"policy": "SCHED_OTHER", "flags": flags}})));
        let scheduler =
            spec.process().as_ref().and_then(|process| process.scheduler().clone()).expect("a scheduler");
        let expected = [
            LinuxSchedulerFlag::SchedResetOnFork,
            LinuxSchedulerFlag::SchedFlagDLOverrun,
            LinuxSchedulerFlag::SchedFlagReclaim,
        ];
        assert_eq!(scheduler.flags().as_deref(), Some(&expected[..]));
    }

    #[test]
    fn lists_of_cpus_may_be_empty_and_have_spaces() {
        for (text, expected) in
            [("", None), ("0, 2-3", Some("0,2-3")), (" 1 ,, ", Some("1")), ("7", Some("7"))]
        {
            let spec = decoded(&config(&json!({"execCPUAffinity": {"initial": text, "final": "0 "}})));
            let affinity = spec.process().as_ref().and_then(|process| process.exec_cpu_affinity().clone());
            assert_eq!(affinity.expect("an affinity").initial().as_deref(), expected, "{text:?}");
        }
        for text in [" ", ",", "1 2", "0, 3-1", "a"] {
            let error = refused(&config(&json!({"execCPUAffinity": {"initial": text}})).to_string());
            assert!(
                error.to_string().contains(": process.execCPUAffinity.initial: Invalid"),
                "{text:?}: {error}"
            );
        }
    }

    #[test]
    fn no_user_is_root() {
        let mut config = config(&json!({}));
        config["process"].as_object_mut().expect("an object").remove("user");
        let spec = decoded(&config);
        let user = spec.process().as_ref().map(|process| process.user().clone()).expect("a process");
        assert_eq!((user.uid(), user.gid()), (0, 0));
    }

    #[test]
    fn other_platforms_are_refused_whatever_is_in_their_sections() {
        for (name, what, _) in OTHER_PLATFORMS {
            for section in [json!({}), json!([]), json!(7), json!({"a": "b"})] {
                let mut config = config(&json!({}));
                config[name] = section;
                let error = match parse(config.to_string().as_bytes()) {
                    Ok(spec) => validate(&spec).expect_err(name),
                    Err(error) => error,
                };
                assert_eq!(error.to_string(), format!("{name}: {what} is not supported"));
                assert_eq!(error.kind(), ErrorKind::Unsupported);
            }
            let mut config = config(&json!({}));
            config[name] = Value::Null;
            decoded(&config);
        }
        // Elsewhere the word is free.
        let mut config = config(&json!({"args": ["freebsd"], "env": ["freebsd=\"freebsd\""]}));
        config["annotations"] = json!({"freebsd": "freebsd"});
        decoded(&config);
        let error = refused(r#"{"freebsd": {}, "freebsd": null}"#);
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn the_first_error_stands_when_nothing_helps() {
        let cases = [
            (r#"{"vm": {}, "hostname": 7}"#, "config.json:1:9: vm: missing field `kernel`"),
            (
                r#"{"hostname": 7, "vm": {}}"#,
                "config.json:1:14: hostname: invalid type: integer `7`, expected a string",
            ),
            // A key that is there twice stays an error.
            (
                r#"{"process": {"cwd": "/", "capabilities": {"bounding": ["CAP_X"]}}, "hostname": "a", "hostname": "b"}"#,
                "process.capabilities.bounding[0]: ",
            ),
        ];
        for (text, expected) in cases {
            let error = refused(text);
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        }
    }
}
