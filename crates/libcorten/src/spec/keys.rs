//! The keys of config.json, and keys that differ from them in case only.
//!
//! Go's decoder, with which runc reads configs, takes `pagesize` for `pageSize`; the types here would pass
//! over it without a word, and a limit or a deny rule would be gone. Such a text is read as plain JSON, its
//! keys are written as the spec writes them, and it is decoded again. Every other text pays for one search
//! for colons.
//!
//! Go: a key that is there twice counts by its last value. Here it is an error, in whatever case: the two
//! values may mean something else to whoever has checked the config.

use serde_json::{Map, Value};

/// What a value is, as far as it has keys of the spec.
pub(super) enum Shape {
    /// A string, a number, a flag, or a list of them.
    Leaf,
    Object(Fields),
    List(Fields),
    /// An object whose keys are the config's own, like `rdma`.
    Map(Fields),
}

/// The keys of an object, and what they lead to.
pub(super) type Fields = &'static [(&'static str, Shape)];

use Shape::{Leaf, List, Map as Named, Object};

const HOOKS: Shape = List(&[("path", Leaf), ("args", Leaf), ("env", Leaf), ("timeout", Leaf)]);

const MAPPINGS: Shape = List(&[("containerID", Leaf), ("hostID", Leaf), ("size", Leaf)]);

const OFFSET: Shape = Object(&[("secs", Leaf), ("nanosecs", Leaf)]);

const RATES: Shape = List(&[("major", Leaf), ("minor", Leaf), ("rate", Leaf)]);

/// `process`, also as a file of its own.
pub(super) const PROCESS: Fields = &[
    ("terminal", Leaf),
    ("consoleSize", Object(&[("height", Leaf), ("width", Leaf)])),
    (
        "user",
        Object(&[
            ("uid", Leaf),
            ("gid", Leaf),
            ("umask", Leaf),
            ("additionalGids", Leaf),
            ("username", Leaf),
        ]),
    ),
    ("args", Leaf),
    ("commandLine", Leaf),
    ("env", Leaf),
    ("cwd", Leaf),
    (
        "capabilities",
        Object(&[
            ("bounding", Leaf),
            ("effective", Leaf),
            ("inheritable", Leaf),
            ("permitted", Leaf),
            ("ambient", Leaf),
        ]),
    ),
    ("rlimits", List(&[("type", Leaf), ("hard", Leaf), ("soft", Leaf)])),
    ("noNewPrivileges", Leaf),
    ("apparmorProfile", Leaf),
    ("oomScoreAdj", Leaf),
    (
        "scheduler",
        Object(&[
            ("policy", Leaf),
            ("nice", Leaf),
            ("priority", Leaf),
            ("flags", Leaf),
            ("runtime", Leaf),
            ("deadline", Leaf),
            ("period", Leaf),
        ]),
    ),
    ("selinuxLabel", Leaf),
    ("ioPriority", Object(&[("class", Leaf), ("priority", Leaf)])),
    ("execCPUAffinity", Object(&[("initial", Leaf), ("final", Leaf)])),
];

/// `linux.resources`, also as a file of its own.
pub(super) const RESOURCES: Fields = &[
    ("devices", List(&[("allow", Leaf), ("type", Leaf), ("major", Leaf), ("minor", Leaf), ("access", Leaf)])),
    (
        "memory",
        Object(&[
            ("limit", Leaf),
            ("reservation", Leaf),
            ("swap", Leaf),
            ("kernel", Leaf),
            ("kernelTCP", Leaf),
            ("swappiness", Leaf),
            ("disableOOMKiller", Leaf),
            ("useHierarchy", Leaf),
            ("checkBeforeUpdate", Leaf),
        ]),
    ),
    (
        "cpu",
        Object(&[
            ("shares", Leaf),
            ("quota", Leaf),
            ("burst", Leaf),
            ("period", Leaf),
            ("realtimeRuntime", Leaf),
            ("realtimePeriod", Leaf),
            ("cpus", Leaf),
            ("mems", Leaf),
            ("idle", Leaf),
        ]),
    ),
    ("pids", Object(&[("limit", Leaf)])),
    (
        "blockIO",
        Object(&[
            ("weight", Leaf),
            ("leafWeight", Leaf),
            (
                "weightDevice",
                List(&[("major", Leaf), ("minor", Leaf), ("weight", Leaf), ("leafWeight", Leaf)]),
            ),
            ("throttleReadBpsDevice", RATES),
            ("throttleWriteBpsDevice", RATES),
            ("throttleReadIOPSDevice", RATES),
            ("throttleWriteIOPSDevice", RATES),
        ]),
    ),
    ("hugepageLimits", List(&[("pageSize", Leaf), ("limit", Leaf)])),
    ("network", Object(&[("classID", Leaf), ("priorities", List(&[("name", Leaf), ("priority", Leaf)]))])),
    ("rdma", Named(&[("hcaHandles", Leaf), ("hcaObjects", Leaf)])),
    ("unified", Leaf),
];

/// An entry of `mounts`, also in a file of its own.
pub(super) const MOUNT: Fields = &[
    ("destination", Leaf),
    ("type", Leaf),
    ("source", Leaf),
    ("options", Leaf),
    ("uidMappings", MAPPINGS),
    ("gidMappings", MAPPINGS),
];

const SECCOMP: Fields = &[
    ("defaultAction", Leaf),
    ("defaultErrnoRet", Leaf),
    ("architectures", Leaf),
    ("flags", Leaf),
    ("listenerPath", Leaf),
    ("listenerMetadata", Leaf),
    (
        "syscalls",
        List(&[
            ("names", Leaf),
            ("action", Leaf),
            ("errnoRet", Leaf),
            ("args", List(&[("index", Leaf), ("value", Leaf), ("valueTwo", Leaf), ("op", Leaf)])),
        ]),
    ),
];

const LINUX: Fields = &[
    ("uidMappings", MAPPINGS),
    ("gidMappings", MAPPINGS),
    ("sysctl", Leaf),
    ("resources", Object(RESOURCES)),
    ("cgroupsPath", Leaf),
    ("namespaces", List(&[("type", Leaf), ("path", Leaf)])),
    (
        "devices",
        List(&[
            ("path", Leaf),
            ("type", Leaf),
            ("major", Leaf),
            ("minor", Leaf),
            ("fileMode", Leaf),
            ("uid", Leaf),
            ("gid", Leaf),
        ]),
    ),
    ("netDevices", Named(&[("name", Leaf)])),
    ("seccomp", Object(SECCOMP)),
    ("rootfsPropagation", Leaf),
    ("maskedPaths", Leaf),
    ("readonlyPaths", Leaf),
    ("mountLabel", Leaf),
    (
        "intelRdt",
        Object(&[
            ("closID", Leaf),
            ("schemata", Leaf),
            ("l3CacheSchema", Leaf),
            ("memBwSchema", Leaf),
            ("enableMonitoring", Leaf),
        ]),
    ),
    ("memoryPolicy", Object(&[("mode", Leaf), ("nodes", Leaf), ("flags", Leaf)])),
    ("personality", Object(&[("domain", Leaf), ("flags", Leaf)])),
    // Its keys are names of clocks, of which there are these.
    ("timeOffsets", Object(&[("boottime", OFFSET), ("monotonic", OFFSET)])),
];

/// All of config.json.
pub(super) const CONFIG: Fields = &[
    ("ociVersion", Leaf),
    ("hostname", Leaf),
    ("domainname", Leaf),
    ("annotations", Leaf),
    ("process", Object(PROCESS)),
    ("root", Object(&[("path", Leaf), ("readonly", Leaf)])),
    ("mounts", List(MOUNT)),
    (
        "hooks",
        Object(&[
            ("prestart", HOOKS),
            ("createRuntime", HOOKS),
            ("createContainer", HOOKS),
            ("startContainer", HOOKS),
            ("poststart", HOOKS),
            ("poststop", HOOKS),
        ]),
    ),
    ("linux", Object(LINUX)),
    // What is in them is refused whatever it is.
    ("freebsd", Leaf),
    ("solaris", Leaf),
    ("vm", Leaf),
    ("windows", Leaf),
    ("zos", Leaf),
];

/// Returns whether a key of the text may be one of the spec's in other letters. No is certain.
pub(super) fn may_be_respelt(text: &[u8]) -> bool {
    memchr::memchr_iter(b':', text).any(|colon| {
        let before = text[..colon].trim_ascii_end();
        let Some((b'"', before)) = before.split_last() else { return false };
        let begin = memchr::memrchr(b'"', before).map_or(0, |quote| quote + 1);
        let word = &before[begin..];
        // An escape may stand for anything; the long s and the sign of Kelvin are letters of ASCII in other
        // case for Go.
        NAMES.has_in_other_case(word) || word.iter().any(|byte| *byte == b'\\' || !byte.is_ascii())
    })
}

/// Writes the keys of an object as the spec writes them, and leaves out what is null: it is not given.
/// Returns whether a key was in other letters.
///
/// # Errors
///
/// The path of a key that is there in two ways.
pub(super) fn respell(object: &mut Map<String, Value>, fields: Fields) -> Result<bool, String> {
    let others: Vec<String> =
        object.keys().filter(|key| !fields.iter().any(|(name, _)| name == key)).cloned().collect();
    let mut changed = false;
    object.retain(|_, value| !value.is_null());
    for other in others {
        let folded: String = other.chars().map(fold).collect();
        let Some((name, _)) = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(&folded)) else {
            continue;
        };
        changed = true;
        if object.contains_key(*name) {
            return Err((*name).to_owned());
        }
        if let Some(value) = object.remove(&other) {
            object.insert((*name).to_owned(), value);
        }
    }
    for (name, shape) in fields {
        if let Some(value) = object.get_mut(*name) {
            changed |= respell_below(value, shape).map_err(|path| match path.strip_prefix('[') {
                Some(_) => format!("{name}{path}"),
                None => format!("{name}.{path}"),
            })?;
        }
    }
    Ok(changed)
}

fn respell_below(value: &mut Value, shape: &Shape) -> Result<bool, String> {
    let mut changed = false;
    match (shape, value) {
        (Object(fields), Value::Object(object)) => changed = respell(object, fields)?,
        (List(fields), Value::Array(list)) => {
            for (index, element) in list.iter_mut().enumerate() {
                changed |=
                    respell_below(element, &Object(fields)).map_err(|path| format!("[{index}].{path}"))?;
            }
        }
        (Named(fields), Value::Object(entries)) => {
            for (key, entry) in entries {
                changed |= respell_below(entry, &Object(fields)).map_err(|path| format!("{key}.{path}"))?;
            }
        }
        _ => {}
    }
    Ok(changed)
}

/// Go's folding, for letters that are in keys of the spec.
fn fold(letter: char) -> char {
    match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other,
    }
}

/// All keys, by a hash that is blind to case.
struct Names {
    names: [&'static str; Self::ROOM],
    count: usize,
    /// Index of a name, plus one. What has the same hash follows.
    slots: [u8; Self::SLOTS],
}

static NAMES: Names = {
    let mut names = Names { names: [""; Names::ROOM], count: 0, slots: [0; Names::SLOTS] };
    names.insert(CONFIG);
    names
};

impl Names {
    const ROOM: usize = 192;
    const SLOTS: usize = 1024;

    const fn insert(&mut self, fields: Fields) {
        let mut index = 0;
        while index < fields.len() {
            let (name, shape) = &fields[index];
            self.insert_name(name);
            match shape {
                Leaf => {}
                Object(below) | List(below) | Named(below) => self.insert(below),
            }
            index += 1;
        }
    }

    const fn insert_name(&mut self, name: &'static str) {
        let mut slot = Self::hash(name.as_bytes());
        while self.slots[slot] != 0 {
            if is_same(self.names[self.slots[slot] as usize - 1].as_bytes(), name.as_bytes()) {
                return;
            }
            slot = (slot + 1) % Self::SLOTS;
        }
        self.names[self.count] = name;
        self.count += 1;
        assert!(self.count < u8::MAX as usize, "an index is a byte");
        #[expect(clippy::cast_possible_truncation, reason = "asserted")]
        let index = self.count as u8;
        self.slots[slot] = index;
    }

    /// Length and three letters. Bit 5 is all that lower case is.
    const fn hash(word: &[u8]) -> usize {
        let length = word.len();
        if length == 0 {
            return 0;
        }
        let (first, middle, last) = (word[0] | 0x20, word[length / 2] | 0x20, word[length - 1] | 0x20);
        (length * 61 + first as usize * 7 + middle as usize * 37 + last as usize * 131) % Self::SLOTS
    }

    /// Returns whether a word is a name but for its case, and none as it is.
    fn has_in_other_case(&self, word: &[u8]) -> bool {
        let mut slot = Self::hash(word);
        let mut found = false;
        while let Some(index) = usize::from(self.slots[slot]).checked_sub(1) {
            let name = self.names[index].as_bytes();
            if name == word {
                // Two names that differ in case only would both be looked at.
                return false;
            }
            found |= name.eq_ignore_ascii_case(word);
            slot = (slot + 1) % Self::SLOTS;
        }
        found
    }
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The paths of all keys, as docs/spec-coverage.md writes them.
    fn paths(fields: Fields, before: &str, all: &mut Vec<String>) {
        for (name, shape) in fields {
            let path = format!("{before}{name}");
            match shape {
                Leaf => {}
                Object(below) => paths(below, &format!("{path}."), all),
                List(below) => paths(below, &format!("{path}[]."), all),
                Named(below) => paths(below, &format!("{path}.*."), all),
            }
            all.push(path);
        }
    }

    #[test]
    fn the_keys_are_those_of_the_table() {
        let text = include_str!("../../../../docs/spec-coverage.md");
        let (table, _) = text.split_once("\n## ").expect("a section after the table");
        let lines = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        let mut expected: Vec<String> = lines.map(|(path, _)| path.to_owned()).collect();
        let mut all = Vec::new();
        paths(CONFIG, "", &mut all);
        all.sort_unstable();
        expected.sort_unstable();
        assert_eq!(all, expected);
    }

    #[test]
    fn a_key_in_other_letters_is_seen_wherever_it_stands() {
        let mut all = Vec::new();
        paths(CONFIG, "", &mut all);
        for path in &all {
            let name = path.rsplit('.').next().expect("a name");
            let has = |name: &str| may_be_respelt(json!({ name: {"a": [1]} }).to_string().as_bytes());
            assert!(!has(name), "{name}");
            for other in [name.to_ascii_uppercase(), name.to_ascii_lowercase(), name.replacen('i', "I", 1)] {
                assert_eq!(has(&other), other != name, "{other}");
            }
        }
        for (text, expected) in [
            (r#"{"a": "PATH: x", "PATH=/bin:/sbin": "b"}"#, false),
            (r#"{"pagesize" :1}"#, true),
            ("{\"PageSize\"\n\t :1}", true),
            (r#"{"page\u0053IZE":1}"#, true),
            (r#"{"pageſize":1}"#, true),
            (r#"pagesize":"#, true),
            (":", false),
            (r#"":"#, false),
            (r#""":::""#, false),
        ] {
            assert_eq!(may_be_respelt(text.as_bytes()), expected, "{text}");
        }
        assert!(!may_be_respelt(include_bytes!("../../tests/data/docker-config.json")));
    }

    #[test]
    fn keys_are_written_as_the_spec_writes_them() {
        let mut config = json!({
            "Linux": {
                "Resources": {"HugePageLimits": [{"pagesize": "2MB", "Limit": 5}], "rdma": {"Limit": {"HCAhandles": 3}}, "pids": null},
                "Sysctl": {"Limit": "7"},
                "masKedpaths": ["Path"],
            },
            "annotations": {"Limit": "Path"},
        });
        let object = config.as_object_mut().expect("an object");
        assert_eq!(respell(object, CONFIG), Ok(true));
        let expected = json!({
            "linux": {
                "resources": {"hugepageLimits": [{"pageSize": "2MB", "limit": 5}], "rdma": {"Limit": {"hcaHandles": 3}}},
                "sysctl": {"Limit": "7"},
                "maskedPaths": ["Path"],
            },
            "annotations": {"Limit": "Path"},
        });
        assert_eq!(config, expected);
        let mut right = expected.clone();
        assert_eq!(respell(right.as_object_mut().expect("an object"), CONFIG), Ok(false));
        assert_eq!(right, expected);
    }

    #[test]
    fn a_key_that_is_there_in_two_ways_is_an_error() {
        let mut config =
            json!({"linux": {"resources": {"hugepageLimits": [{}, {"pageSize": "2MB", "pagesize": "1GB"}]}}});
        let error = respell(config.as_object_mut().expect("an object"), CONFIG).expect_err("twice");
        assert_eq!(error, "linux.resources.hugepageLimits[1].pageSize");
    }
}
