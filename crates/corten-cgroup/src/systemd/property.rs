//! Properties of units and their values.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};

use zbus::Variant;

use super::error::{Error, Repr};

/// The value of a property. Made from plain types by `From`, or from the text of an annotation.
///
/// | made from | D-Bus type | for example |
/// |---|---|---|
/// | `bool` | `b` | `Delegate` |
/// | `i32`, `u32`, `u64` | `i`, `u`, `t` | `MemoryMax`; `u64::MAX` is no limit |
/// | `&str`, `String` | `s` | `DevicePolicy` |
/// | `Vec<u8>` | `ay` | `AllowedCPUs` ([`cpu_mask`]) |
/// | `Vec<u32>` | `au` | `PIDs` |
/// | `Vec<String>` | `as` | `Wants` |
/// | `Vec<(String, String)>` | `a(ss)` | `DeviceAllow` |
/// | `Vec<(String, u64)>` | `a(st)` | `IOReadBandwidthMax` |
///
/// Displays as the text form of GVariant.
#[derive(Debug, Clone, PartialEq)]
pub struct Value(pub(crate) Variant<'static>);

impl Value {
    /// Returns the D-Bus type, as `a(st)`.
    pub fn signature(&self) -> String {
        self.0.value_signature().to_string()
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Makes values of types that zbus knows.
macro_rules! value_from {
    ($($type:ty),*) => {
        $(impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self(value.into())
            }
        })*
    };
}

value_from!(
    bool,
    i32,
    u32,
    u64,
    String,
    Vec<u8>,
    Vec<u32>,
    Vec<String>,
    Vec<(String, String)>,
    Vec<(String, u64)>
);

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        value.to_owned().into()
    }
}

/// A setting of a unit. Displays as `Name=value`.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    pub(crate) name: Cow<'static, str>,
    pub(crate) value: Value,
    pub(crate) since: u32,
}

impl Property {
    /// Makes a property that every systemd must take.
    pub fn new(name: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        Self { name: name.into(), value: value.into(), since: 0 }
    }

    /// Says that systemd has the property since a version, and that it may be left out: below that version,
    /// or when systemd answers that it does not know it. What was left out is told to the caller, who can
    /// still write the cgroup's file.
    #[must_use]
    pub fn since(mut self, version: u32) -> Self {
        self.since = version;
        self
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the value.
    pub fn value(&self) -> &Value {
        &self.value
    }
}

impl Display for Property {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

/// The last CPU or node that a mask may have, so that a typing error makes no mask of 512 MiB. The kernel's
/// own bound is 8192.
const LAST: u32 = 65_535;

/// Turns a list of CPUs or memory nodes, as `0-3,7`, into the mask that systemd takes as `AllowedCPUs` or
/// `AllowedMemoryNodes`: bit N % 8 of byte N / 8 stands for N. Spaces around numbers and extra commas do not
/// count, as in the kernel and in runc.
///
/// # Errors
/// The list is empty or is no list of numbers and ranges.
pub fn cpu_mask(list: &str) -> Result<Vec<u8>, Error> {
    let refused = |why: String| -> Error { Repr::CpuList { list: list.to_owned(), why }.into() };
    let number = |text: &str| match text.trim().parse::<u32>() {
        Ok(number) if number <= LAST => Ok(number),
        Ok(number) => Err(refused(format!("{number} is more than {LAST}"))),
        Err(_) => Err(refused(format!("{text:?} is no number"))),
    };
    let mut mask = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(refused(format!("invalid range: {part}")));
        }
        for cpu in first..=last {
            let byte = (cpu / 8) as usize;
            if mask.len() <= byte {
                mask.resize(byte + 1, 0);
            }
            mask[byte] |= 1_u8 << (cpu % 8);
        }
    }
    if mask.is_empty() { Err(refused("empty value".to_owned())) } else { Ok(mask) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_types_of_the_bus() {
        for (value, signature) in [
            (Value::from(true), "b"),
            (Value::from(1_i32), "i"),
            (Value::from(1_u32), "u"),
            (Value::from(1_u64), "t"),
            (Value::from("x"), "s"),
            (Value::from(vec![1_u8]), "ay"),
            (Value::from(vec![1_u32]), "au"),
            (Value::from(vec!["x".to_owned()]), "as"),
            (Value::from(Vec::<(String, String)>::new()), "a(ss)"),
            (Value::from(vec![("/dev/sda".to_owned(), 1_u64)]), "a(st)"),
        ] {
            assert_eq!(value.signature(), signature, "{value}");
        }
        assert_eq!(Property::new("MemoryMax", 5_u64).to_string(), "MemoryMax=uint64 5");
    }

    #[test]
    fn lists_become_masks() {
        for (list, mask) in [
            ("0", vec![1]),
            ("0-3,7", vec![0b1000_1111]),
            (" 1 , 3-5 ,,", vec![0b0011_1010]),
            ("8", vec![0, 1]),
            ("0-8", vec![255, 1]),
            ("0007", vec![128]),
        ] {
            assert_eq!(cpu_mask(list).unwrap(), mask, "{list:?}");
        }
        // runc #5343: more CPUs than a fixed mask has.
        let mask = cpu_mask("1023-1025,4095").unwrap();
        assert_eq!((mask.len(), mask[127], mask[128], mask[511]), (512, 128, 3, 128));
    }

    #[test]
    fn other_lists_are_refused() {
        for (list, said) in [
            ("", "empty value"),
            (",", "empty value"),
            ("3-1", "invalid range: 3-1"),
            ("-1", "\"\" is no number"),
            ("x", "\"x\" is no number"),
            ("0-3:1/2", "\"3:1/2\" is no number"),
            ("4294967295", "4294967295 is more than 65535"),
        ] {
            let error = cpu_mask(list).unwrap_err().to_string();
            assert_eq!(error, format!("list of CPUs or memory nodes {list:?}: {said}"));
        }
    }
}
