//! Properties that annotations ask for: `org.systemd.property.NAME` = value in the text form of GVariant (as
//! runc and crun).
//!
//! Whoever may write such an annotation may set any property of the unit (CVE-2024-3154): engines must keep
//! users from it.

use zbus::Variant;

use super::error::{Error, Repr};
use super::gvariant;
use super::property::{Property, Value};

const PREFIX: &str = "org.systemd.property.";

/// Makes properties of those annotations that are called `org.systemd.property.NAME`; others do not count. In
/// order of names.
///
/// A name of the form `…Sec`, as `TimeoutStopSec`, is how unit files call what is `…USec` on D-Bus: it is
/// changed to that, and the number from seconds to microseconds.
///
/// # Errors
/// A name is shorter than three letters or has something other than letters; a value cannot be read; a number
/// of seconds is none, is negative, or is too large.
pub fn annotation_properties<'a>(
    annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<Property>, Error> {
    let mut ours: Vec<(&str, &str)> = annotations
        .into_iter()
        .filter_map(|(key, value)| key.strip_prefix(PREFIX).map(|name| (name, value)))
        .collect();
    ours.sort_unstable();
    ours.into_iter()
        .map(|(name, text)| {
            property(name, text)
                .map_err(|why| Repr::Annotation { key: format!("{PREFIX}{name}"), why }.into())
        })
        .collect()
}

fn property(name: &str, text: &str) -> Result<Property, String> {
    // runc's rule and words.
    if name.len() < 3 {
        return Err("name incorrect: too short".to_owned());
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err("name incorrect: contains non-alphabetic character".to_owned());
    }
    let failed = |why: String| format!("value {text:?}: {why}");
    let value = gvariant::parse(text).map_err(failed)?;
    // Not of what is `USec` already.
    match name.strip_suffix("Sec").filter(|stem| stem.ends_with(|c: char| c.is_ascii_lowercase())) {
        Some(stem) => Ok(Property::new(format!("{stem}USec"), microseconds(&value).map_err(failed)?)),
        None => Ok(Property::new(name.to_owned(), Value(value))),
    }
}

fn microseconds(seconds: &Variant<'_>) -> Result<u64, String> {
    const MICROSECONDS: i128 = 1_000_000;
    let whole = |seconds: i128| {
        u64::try_from(seconds * MICROSECONDS).map_err(|_| "no number of seconds that fits".to_owned())
    };
    match seconds {
        Variant::U8(n) => whole((*n).into()),
        Variant::I16(n) => whole((*n).into()),
        Variant::U16(n) => whole((*n).into()),
        Variant::I32(n) => whole((*n).into()),
        Variant::U32(n) => whole((*n).into()),
        Variant::I64(n) => whole((*n).into()),
        Variant::U64(n) => whole((*n).into()),
        Variant::F64(n) => std::time::Duration::try_from_secs_f64(*n)
            .ok()
            .and_then(|duration| u64::try_from(duration.as_micros()).ok())
            .ok_or_else(|| "no number of seconds that fits".to_owned()),
        _ => Err("not a number".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_become_properties() {
        let annotations = [
            ("org.systemd.property.TimeoutStopSec", "uint64 5"),
            ("org.systemd.property.CollectMode", "'inactive-or-failed'"),
            ("org.systemd.property.RuntimeMaxSec", "1.5"),
            ("org.systemd.property.TimeoutStopUSec", "uint64 7"),
            ("org.systemd.property.Sec", "3"),
            ("org.systemd.propertyX", "nonsense"),
            ("other", "nonsense"),
        ];
        let properties: Vec<String> =
            annotation_properties(annotations).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(
            properties,
            [
                "CollectMode=\"inactive-or-failed\"",
                "RuntimeMaxUSec=uint64 1500000",
                "Sec=3",
                "TimeoutStopUSec=uint64 5000000",
                "TimeoutStopUSec=uint64 7",
            ]
        );
    }

    #[test]
    fn errors_name_the_annotation() {
        for (name, value, said) in [
            ("AB", "1", "name incorrect: too short"),
            ("", "1", "name incorrect: too short"),
            ("Memory_Max", "1", "name incorrect: contains non-alphabetic character"),
            ("Größe", "1", "name incorrect: contains non-alphabetic character"),
            ("MemoryMax", "lots", "value \"lots\": unrecognized type \"lots\"; a string needs quotes"),
            ("TimeoutSec", "'x'", "value \"'x'\": not a number"),
            ("TimeoutSec", "-1", "value \"-1\": no number of seconds that fits"),
            ("TimeoutSec", "uint64 0xffffffffffffffff", "no number of seconds that fits"),
            ("TimeoutSec", "-1.5", "no number of seconds that fits"),
        ] {
            let key = format!("org.systemd.property.{name}");
            let error = annotation_properties([(key.as_str(), value)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("annotation {key:?}: ")) && error.ends_with(said), "{error}");
        }
    }
}
