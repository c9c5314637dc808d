//! Device rules as v1 knows them: a list that forbids all but its exceptions, or one that allows all but
//! them.
//!
//! An exception is about one device, or about all with a major or minor number, or about all of a kind. In a
//! list that forbids, a request is allowed if *one* exception has all that is asked for; in a list that
//! allows, it is forbidden if one has any of it. There are no exceptions to exceptions. `devices.list` shows
//! the exceptions of a list that forbids only. Kernel: security/device_cgroup.c,
//! Documentation/admin-guide/cgroup-v1/devices.rst.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::fd::AsFd;
use std::path::Path;

use super::directory::Directory;
use crate::device::{self, ALL, BLOCK, CHAR, Kind, Rule};
use crate::error::{Error, Repr, failed, failed_io};
use crate::sys;
use crate::tree::{read_file, write_file};

/// What can be asked for at once, in the bits of [`device::Access`]: a node, reading, writing, both.
const REQUESTS: [i32; 4] = [1, 2, 4, 2 | 4];

/// Which devices an exception is about; `None` is any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Devices {
    block: bool,
    major: Option<u32>,
    minor: Option<u32>,
}

impl Devices {
    /// Those of the exceptions that could be about all of these devices and more.
    fn wider(self) -> impl Iterator<Item = Self> {
        [(None, None), (self.major, None), (None, self.minor)]
            .map(|(major, minor)| Self { major, minor, ..self })
            .into_iter()
            .filter(move |wider| *wider != self)
    }

    fn are_named_by(self, rule: &Rule) -> bool {
        (rule.major, rule.minor) == (self.major, self.minor)
    }

    /// The rules that are about all of these devices, the last one first. A number of `None` stands for any
    /// that no rule names.
    fn rules(self, rules: &[Rule]) -> Vec<&Rule> {
        let kind = if self.block { BLOCK } else { CHAR };
        let about = |number: Option<u32>, wanted| number.is_none_or(|number| Some(number) == wanted);
        let about = |rule: &&Rule| {
            rule.has_kind(kind) && about(rule.major, self.major) && about(rule.minor, self.minor)
        };
        rules.iter().rev().filter(about).collect()
    }
}

/// A device list: exceptions with what they are about, in the bits of [`device::Access`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct List {
    allows: bool,
    exceptions: BTreeMap<Devices, i32>,
}

/// A value for a file of the cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    allow: bool,
    /// Everything, if there is none.
    exception: Option<(Devices, i32)>,
}

impl List {
    /// What the rules come to.
    pub(super) fn of_rules(rules: &[Rule]) -> Result<Self, Error> {
        let any = |block| Devices { block, major: None, minor: None };
        let open = [any(true), any(false)].iter().all(|kind| device::allowed(&kind.rules(rules)) == ALL);
        // Where all is allowed at first, a list that forbids could say nothing else.
        let list = if open {
            Self::with(rules, true)
        } else {
            Self::with(rules, false).or_else(|rule| Self::with(rules, true).map_err(|_| rule))
        };
        list.map_err(|rule| Repr::DeviceRule { rule: describe(rule) }.into())
    }

    /// The list that allows or forbids by default; else the rule that it cannot express.
    fn with(rules: &[Rule], allows: bool) -> Result<Self, &Rule> {
        let excepted = |devices: Devices| {
            let allowed = device::allowed(&devices.rules(rules));
            if allows { ALL & !allowed } else { allowed }
        };
        let mut exceptions = BTreeMap::new();
        for devices in told_apart(rules) {
            let here = excepted(devices);
            let wider: Vec<i32> = devices.wider().map(excepted).collect();
            if let Some(lost) = wider.iter().map(|wider| wider & !here).find(|lost| *lost != 0)
                && let Some(rule) =
                    devices.rules(rules).into_iter().find(|rule| rule.access.bits() & lost != 0)
            {
                return Err(rule);
            }
            let is_new =
                |request: &i32| request & !here == 0 && wider.iter().all(|wider| request & !wider != 0);
            let needed = REQUESTS.into_iter().filter(is_new).fold(0, |bits, request| bits | request);
            if needed != 0 {
                // What a rule says of just these devices is repeated, even if a wider exception has it: a
                // list below this one can only have exceptions that are part of one of these, and the rules
                // there may be the same.
                let named = devices.rules(rules).into_iter().filter(|rule| devices.are_named_by(rule));
                let named = named.fold(0, |bits, rule| bits | rule.access.bits());
                exceptions.insert(devices, here & (needed | named));
            }
        }
        Ok(Self { allows, exceptions })
    }

    /// Reads `devices.list`.
    pub(super) fn read(directory: &Directory) -> Result<Self, Error> {
        let path = &directory.shown;
        let text = read_file(directory.as_fd(), "devices.list")
            .map_err(|errno| failed(errno, || format!("read({path:?}/devices.list)")))?;
        Self::parse(&text).ok_or_else(|| {
            Repr::Content { what: "the devices", path: path.join("devices.list"), text }.into()
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut list = Self { allows: false, exceptions: BTreeMap::new() };
        let number = |text: &str| if text == "*" { Some(None) } else { text.parse().ok().map(Some) };
        for line in text.lines() {
            let (kind, rest) = line.split_once(' ')?;
            let (numbers, access) = rest.split_once(' ')?;
            let (major, minor) = numbers.split_once(':')?;
            let block = match kind {
                "a" => {
                    list.allows = true;
                    continue;
                }
                "b" => true,
                "c" => false,
                _ => return None,
            };
            let has = |letter, bit| if access.contains(letter) { bit } else { 0 };
            let devices = Devices { block, major: number(major)?, minor: number(minor)? };
            list.exceptions.insert(devices, has('m', 1) | has('r', 2) | has('w', 4));
        }
        Some(list)
    }

    /// Whether it allows everything but for some: it can only be written by allowing everything first.
    pub(super) fn allows_but_for_exceptions(&self) -> bool {
        self.allows && !self.exceptions.is_empty()
    }

    /// What makes this list that one. Nothing is allowed on the way that neither allows, unless all has to be
    /// allowed first.
    pub(super) fn changes(&self, wanted: &Self) -> Vec<Write> {
        let mut writes = Vec::new();
        let none = BTreeMap::new();
        let now = if self.allows || wanted.allows {
            // The exceptions of a list that allows are not shown: none may stay.
            writes.push(Write { allow: wanted.allows, exception: None });
            &none
        } else {
            &self.exceptions
        };
        let mut write = |allow, devices, access| {
            if access != 0 {
                writes.push(Write { allow, exception: Some((devices, access)) });
            }
        };
        let bits = |list: &BTreeMap<Devices, i32>, devices| list.get(&devices).copied().unwrap_or(0);
        // What only becomes more, first, so that nothing that stays allowed is refused meanwhile. An
        // exception that loses something must lose it before it gets more: both at once are a request that
        // neither list may allow.
        let loses = |devices: &Devices| bits(now, *devices) & !bits(&wanted.exceptions, *devices) != 0;
        for (devices, access) in wanted.exceptions.iter().filter(|(devices, _)| !loses(devices)) {
            write(!wanted.allows, *devices, access & !bits(now, *devices));
        }
        for (devices, access) in now.iter().filter(|(devices, _)| loses(devices)) {
            let then = bits(&wanted.exceptions, *devices);
            write(wanted.allows, *devices, access & !then);
            write(!wanted.allows, *devices, then & !access);
        }
        writes
    }
}

/// The devices that rules tell apart: those they name, and where one names a minor number of any major, its
/// devices of the majors that others name. The widest come first.
fn told_apart(rules: &[Rule]) -> BTreeSet<Devices> {
    let majors: BTreeSet<Option<u32>> = rules.iter().map(|rule| rule.major).chain([None]).collect();
    let mut found = BTreeSet::new();
    for block in [false, true] {
        found.extend(majors.iter().map(|major| Devices { block, major: *major, minor: None }));
        for rule in rules {
            let own = BTreeSet::from([rule.major]);
            let majors = if rule.major.is_none() { &majors } else { &own };
            found.extend(majors.iter().map(|major| Devices { block, major: *major, minor: rule.minor }));
        }
    }
    found
}

/// Writes changes, in order.
pub(super) fn write(directory: &Directory, writes: &[Write]) -> Result<(), Error> {
    for write in writes {
        let file = if write.allow { "devices.allow" } else { "devices.deny" };
        let value = write.to_string();
        write_file(directory.as_fd(), file, &value)
            .map_err(|errno| failed(errno, || format!("write({:?}/{file}, {value:?})", directory.shown)))?;
    }
    Ok(())
}

/// Whether the caller is in a user namespace that does not have all ids.
pub(super) fn in_user_namespace() -> Result<bool, Error> {
    let file = Path::new("/proc/self/uid_map");
    let map = sys::read_all(file).map_err(|error| failed_io(&error, || format!("read({file:?})")))?;
    Ok(map.split_whitespace().ne(["0", "0", "4294967295"]))
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.exception {
            Some((devices, access)) => {
                let kind = if devices.block { 'b' } else { 'c' };
                f.write_str(&spell(kind, devices.major, devices.minor, *access))
            }
            None => f.write_str(&spell('a', None, None, ALL)),
        }
    }
}

/// A rule in the kernel's words.
fn describe(rule: &Rule) -> String {
    let kind = match rule.kind {
        Kind::All => 'a',
        Kind::Char => 'c',
        Kind::Block => 'b',
    };
    let verb = if rule.allow { "allow" } else { "deny" };
    format!("{verb} {}", spell(kind, rule.major, rule.minor, rule.access.bits()))
}

fn spell(kind: char, major: Option<u32>, minor: Option<u32>, access: i32) -> String {
    let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
    let access: String =
        [('r', 2), ('w', 4), ('m', 1)].iter().filter(|(_, bit)| access & bit != 0).map(|of| of.0).collect();
    format!("{kind} {}:{} {access}", number(major), number(minor))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::device::Access;

    /// What the kernel makes of writes.
    #[derive(Clone)]
    struct Kernel {
        allows: bool,
        exceptions: Vec<(Devices, i32)>,
    }

    impl Kernel {
        /// A new cgroup's list.
        fn new() -> Self {
            Self { allows: true, exceptions: Vec::new() }
        }

        fn write(&mut self, write: &Write) {
            let Some((devices, access)) = write.exception else {
                *self = Self { allows: write.allow, exceptions: Vec::new() };
                return;
            };
            let at = self.exceptions.iter().position(|(known, _)| *known == devices);
            if write.allow != self.allows {
                match at {
                    Some(at) => self.exceptions[at].1 |= access,
                    None => self.exceptions.push((devices, access)),
                }
            } else if let Some(at) = at {
                self.exceptions[at].1 &= !access;
                if self.exceptions[at].1 == 0 {
                    self.exceptions.remove(at);
                }
            }
        }

        fn list(&self) -> String {
            let line = |exception: &(Devices, i32)| {
                format!("{}\n", Write { allow: true, exception: Some(*exception) })
            };
            if self.allows { "a *:* rwm\n".to_owned() } else { self.exceptions.iter().map(line).collect() }
        }

        fn decides(&self, device: Devices, request: i32) -> bool {
            let about = |one: Option<u32>, number| one.is_none() || one == number;
            let mut matching = self.exceptions.iter().filter(|(devices, _)| {
                devices.block == device.block
                    && about(devices.major, device.major)
                    && about(devices.minor, device.minor)
            });
            if self.allows {
                !matching.any(|(_, access)| access & request != 0)
            } else {
                matching.any(|(_, access)| request & !access == 0)
            }
        }

        fn make(&mut self, wanted: &List) -> Vec<Write> {
            let writes = List::parse(&self.list()).unwrap().changes(wanted);
            for write in &writes {
                self.write(write);
            }
            writes
        }
    }

    /// What the rules mean.
    fn model(rules: &[Rule], device: Devices, request: i32) -> bool {
        [1, 2, 4].into_iter().filter(|bit| request & bit != 0).all(|bit| {
            let speaks = |rule: &&Rule| {
                let kind = match rule.kind {
                    Kind::All => true,
                    Kind::Block => device.block,
                    Kind::Char => !device.block,
                };
                kind && rule.access.bits() & bit != 0
                    && rule.major.is_none_or(|major| Some(major) == device.major)
                    && rule.minor.is_none_or(|minor| Some(minor) == device.minor)
            };
            rules.iter().rev().find(speaks).is_some_and(|rule| rule.allow)
        })
    }

    /// The numbers that rules name here, and one more.
    const NUMBERS: [u32; 3] = [0, 1, 7];

    fn every_device() -> impl Iterator<Item = Devices> {
        (0..18).map(|n| Devices {
            block: n < 9,
            major: Some(NUMBERS[n / 3 % 3]),
            minor: Some(NUMBERS[n % 3]),
        })
    }

    fn every_request() -> impl Iterator<Item = (Devices, i32)> {
        every_device().flat_map(|device| [1, 2, 4, 6].map(|request| (device, request)))
    }

    /// Whether there is a list, found the long way: for each answer that is not the default one, an exception
    /// about this device that gives no such answer to another. The last of the numbers stands for all that
    /// nobody names.
    fn expressible(rules: &[Rule], allows: bool) -> bool {
        let differs = |device, request| model(rules, device, request) != allows;
        let covered = |device: Devices, request: i32| {
            let choices =
                |number: Option<u32>| if number == Some(7) { vec![None] } else { vec![None, number] };
            choices(device.major).into_iter().any(|major| {
                choices(device.minor).into_iter().any(|minor| {
                    every_device()
                        .filter(|other| other.block == device.block)
                        .filter(|other| major.is_none_or(|major| other.major == Some(major)))
                        .filter(|other| minor.is_none_or(|minor| other.minor == Some(minor)))
                        .all(|other| [1, 2, 4].iter().all(|bit| request & bit == 0 || differs(other, *bit)))
                })
            })
        };
        every_device().all(|device| {
            [1, 2, 4, 6].into_iter().all(|request| {
                let all = [1, 2, 4].iter().all(|bit| request & bit == 0 || differs(device, *bit));
                !all || covered(device, request)
            })
        })
    }

    fn rules() -> impl Strategy<Value = Vec<Rule>> {
        let kind = prop_oneof![Just(Kind::All), Just(Kind::Char), Just(Kind::Block)];
        let number = || proptest::option::of(0u32..2);
        let rule = (any::<bool>(), kind, number(), number(), any::<(bool, bool, bool)>()).prop_map(
            |(allow, kind, major, minor, (read, write, mknod))| Rule {
                allow,
                kind,
                major,
                minor,
                access: Access { read, write, mknod },
            },
        );
        proptest::collection::vec(rule, 0..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]
        #[test]
        fn the_kernel_does_what_the_rules_say(rules in rules()) {
            match List::of_rules(&rules) {
                Ok(wanted) => {
                    let mut kernel = Kernel::new();
                    kernel.make(&wanted);
                    for (device, request) in every_request() {
                        let said = kernel.decides(device, request);
                        prop_assert_eq!(said, model(&rules, device, request), "{:?} {}", device, request);
                    }
                }
                Err(error) => {
                    prop_assert!(!expressible(&rules, true) && !expressible(&rules, false), "{}", error);
                }
            }
        }

        #[test]
        fn no_more_is_allowed_on_the_way(first in rules(), second in rules()) {
            let (Ok(before), Ok(after)) = (List::of_rules(&first), List::of_rules(&second)) else { return Ok(()) };
            let mut kernel = Kernel::new();
            kernel.make(&before);
            let old = kernel.clone();
            let writes = kernel.make(&after);
            for (device, request) in every_request() {
                prop_assert_eq!(kernel.decides(device, request), model(&second, device, request));
            }
            // Else the processes are frozen.
            if !after.allows_but_for_exceptions() {
                let mut step = old.clone();
                for write in &writes {
                    step.write(write);
                    for (device, request) in every_request().filter(|(device, request)| step.decides(*device, *request)) {
                        let allowed = old.decides(device, request) || kernel.decides(device, request);
                        prop_assert!(allowed, "{:?} {} after {}", device, request, write);
                    }
                }
            }
            if !after.allows {
                prop_assert_eq!(kernel.make(&after), []);
            }
        }
    }

    fn rule(allow: bool, text: &str) -> Rule {
        let [kind, numbers, access] = text.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let (major, minor) = numbers.split_once(':').unwrap();
        let kind = match kind {
            "a" => Kind::All,
            "b" => Kind::Block,
            _ => Kind::Char,
        };
        let has = |letter| access.contains(letter);
        let access = Access { read: has('r'), write: has('w'), mknod: has('m') };
        Rule { allow, kind, major: major.parse().ok(), minor: minor.parse().ok(), access }
    }

    fn spelled(writes: &[Write]) -> Vec<String> {
        writes.iter().map(|write| format!("{} {write}", if write.allow { "allow" } else { "deny" })).collect()
    }

    /// What runc and Docker write: once, and then only the difference.
    #[test]
    fn the_usual_rules() {
        let mut rules = vec![rule(false, "a *:* rwm")];
        rules.extend(
            ["c *:* m", "b *:* m", "c 1:3 rwm", "c 136:* rwm", "c 10:200 rw"].map(|text| rule(true, text)),
        );
        let mut kernel = Kernel::new();
        let writes = spelled(&kernel.make(&List::of_rules(&rules).unwrap()));
        assert_eq!(
            writes,
            [
                "deny a *:* rwm",
                "allow c *:* m",
                "allow c 1:3 rwm",
                "allow c 10:200 rw",
                "allow c 136:* rwm",
                "allow b *:* m"
            ]
        );
        rules.extend([
            rule(true, "c 1:5 r"),
            rule(false, "c 10:200 w"),
            rule(false, "c 1:3 rwm"),
            rule(true, "c 1:3 m"),
        ]);
        let writes = spelled(&kernel.make(&List::of_rules(&rules).unwrap()));
        assert_eq!(writes, ["allow c 1:5 r", "deny c 1:3 rwm", "deny c 10:200 w"]);
        let all = [rule(true, "a *:* rwm")];
        assert_eq!(spelled(&kernel.make(&List::of_rules(&all).unwrap())), ["allow a *:* rwm"]);
        let but = [all[0], rule(false, "b 8:* w")];
        assert_eq!(
            spelled(&kernel.make(&List::of_rules(&but).unwrap())),
            ["allow a *:* rwm", "deny b 8:* w"]
        );
    }

    #[test]
    fn an_exception_to_an_exception_is_named() {
        let refused = |rules: &[Rule]| List::of_rules(rules).unwrap_err().to_string();
        let hole = [rule(true, "c 1:* rw"), rule(true, "c 1:5 rwm"), rule(false, "c 1:3 w")];
        assert!(refused(&hole).contains("the rule \"deny c 1:3 w\" is an exception"), "{}", refused(&hole));
        let back = [rule(true, "a *:* rwm"), rule(false, "c 1:* rwm"), rule(true, "c 1:3 r")];
        assert!(refused(&back).contains("the rule \"allow c 1:3 r\" is an exception"), "{}", refused(&back));
        // Nothing of one kind, and all but one of the other.
        let mixed = [rule(true, "c *:* rwm"), rule(false, "c 1:3 w")];
        let mut kernel = Kernel::new();
        let writes = spelled(&kernel.make(&List::of_rules(&mixed).unwrap()));
        assert_eq!(writes, ["allow a *:* rwm", "deny c 1:3 w", "deny b *:* rwm"]);
    }
}
