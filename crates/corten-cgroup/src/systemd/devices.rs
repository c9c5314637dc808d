//! A container's devices, as systemd's `DevicePolicy` and `DeviceAllow`.
//!
//! On cgroup v2 systemd keeps these with a BPF program of its own, which it attaches beside others; a device
//! may be used only if **each** program at the cgroup allows it. On `systemctl daemon-reload` systemd
//! attaches its program anew, made from what it knows of the unit, and leaves the others alone. So what a
//! reload can take from a container is exactly what `DeviceAllow` lacks. runc loses devices because it puts
//! its own program in the place of systemd's: a device that systemd was not told is there until the next
//! reload, and then gone (runc #3708, NVIDIA/nvidia-container-toolkit #48).
//!
//! Here nothing can get lost, for three reasons:
//! * the container's own filter ([`crate::device::Filter`]) is attached beside systemd's program, never in
//!   its place, so that what would be missing after a reload is missing from the first moment, and is seen in
//!   the first test;
//! * beside such a filter systemd is never told less than the container may use: where systemd has no words
//!   for a rule (it has none for "but not this one", and none for a minor number of any major) it is told
//!   more, and the filter is exact;
//! * a device is named by its numbers. `/dev/char/1:3` is read by systemd since 240 without looking whether
//!   such a file exists, and `char-136` is a major number. An older systemd looks, and leaves out what udev
//!   made no link for (as for the devices of NVIDIA): it is told the whole group then, by its name in
//!   /proc/devices.
//!
//! What remains: a hook that adds devices to the BPF programs behind everybody's back adds them to systemd's
//! as well, and loses them there on a reload. For such a container systemd must be kept out: leave these
//! properties away, and `DevicePolicy` is `auto` and systemd attaches no program. The filter alone then
//! holds.
//!
//! On v1 there is one list, which systemd and the runtime both write. Without these properties systemd would
//! allow everything there on a reload; with them it must never be told more than the container may use.
//! Source: systemd.resource-control(5), systemd's `bpf-devices.c` and `device_path_parse_major_minor()`,
//! which came with 240.

use std::collections::BTreeMap;
use std::path::Path;

use super::property::Property;
use crate::device::{Access, Kind, Rule};

/// Since when systemd reads numbers out of the names of devices.
const NUMBERS_SINCE: u32 = 240;

/// What systemd is told of a container's devices.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Devices {
    /// The properties, in the order in which systemd must get them.
    pub properties: Vec<Property>,
    /// Whether they mean the same as the rules. If not they allow more, beside a filter, or less, without
    /// one.
    pub exact: bool,
}

/// Makes the properties for rules (in order, the last word counts, what no rule allows is forbidden).
///
/// `beside_filter` says that a filter of the same rules is attached to the cgroup too, as it must be on v2;
/// on v1 there is none. `version` is [`Manager::version`](super::Manager::version).
///
/// Not for the manager of a user: it may not load BPF programs.
pub fn device_properties(rules: &[Rule], version: u32, beside_filter: bool) -> Devices {
    let (allowed, exact) = allowed(rules, beside_filter);
    let reset = Property::new("DeviceAllow", Vec::<(String, String)>::new());
    if [CHAR, BLOCK].iter().all(|kind| allowed.get(&Devs::all(kind)) == Some(&ALL)) {
        return Devices { properties: vec![reset, Property::new("DevicePolicy", "auto")], exact };
    }
    let host = if version < NUMBERS_SINCE { Some(Host::read()) } else { None };
    let (list, named) = names(&allowed, host.as_ref(), beside_filter);
    let properties = vec![reset, Property::new("DevicePolicy", "strict"), Property::new("DeviceAllow", list)];
    Devices { properties, exact: exact && named }
}

/// What may be done, as bits in the order of systemd's letters.
type Bits = u8;
const ALL: Bits = 7;

fn bits(access: Access) -> Bits {
    u8::from(access.read) | u8::from(access.write) << 1 | u8::from(access.mknod) << 2
}

fn letters(bits: Bits) -> String {
    [(1, 'r'), (2, 'w'), (4, 'm')]
        .into_iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, letter)| letter)
        .collect()
}

const CHAR: &str = "char";
const BLOCK: &str = "block";

/// Some devices of a kind. Sorts the wider before the narrower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Devs {
    kind: &'static str,
    major: Option<u32>,
    minor: Option<u32>,
}

impl Devs {
    fn all(kind: &'static str) -> Self {
        Self { kind, major: None, minor: None }
    }

    /// Whether all devices of `other` are among these.
    fn cover(&self, other: &Self) -> bool {
        let wide = |mine: Option<u32>, other| mine.is_none() || mine == other;
        self.kind == other.kind && wide(self.major, other.major) && wide(self.minor, other.minor)
    }

    /// Whether some device of `other` is among these.
    fn touch(&self, other: &Self) -> bool {
        let near = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        self.kind == other.kind && near(self.major, other.major) && near(self.minor, other.minor)
    }
}

/// Turns rules into a list of what is allowed, each line of which says all that is allowed for its devices:
/// systemd looks for one line that allows all that is asked for. With `wider`, what no such list can say is
/// allowed, else it is not.
fn allowed(rules: &[Rule], wider: bool) -> (BTreeMap<Devs, Bits>, bool) {
    let mut allowed = BTreeMap::<Devs, Bits>::new();
    let mut exact = true;
    for rule in rules {
        let kinds: &[&'static str] = match rule.kind {
            Kind::All => &[CHAR, BLOCK],
            Kind::Char => &[CHAR],
            Kind::Block => &[BLOCK],
        };
        for kind in kinds {
            let mut devs = Devs { kind, major: rule.major, minor: rule.minor };
            let access = bits(rule.access);
            if !rule.allow {
                for (other, bits) in
                    allowed.iter_mut().filter(|(other, bits)| other.touch(&devs) && **bits & access != 0)
                {
                    let covered = devs.cover(other);
                    exact &= covered;
                    if covered || !wider {
                        *bits &= !access;
                    }
                }
                continue;
            }
            if devs.major.is_none() && devs.minor.is_some() {
                exact = false;
                devs.minor = None;
                if !wider {
                    continue;
                }
            }
            *allowed.entry(devs).or_default() |= access;
        }
    }
    let lines: Vec<_> = allowed.iter().map(|(devs, bits)| (*devs, *bits)).collect();
    for (devs, bits) in &mut allowed {
        *bits = lines.iter().filter(|(other, _)| other.cover(devs)).fold(0, |all, (_, bits)| all | bits);
    }
    // Lines that say no more than a wider one.
    let lines: Vec<_> = allowed.iter().map(|(devs, bits)| (*devs, *bits)).collect();
    allowed.retain(|devs, bits| {
        let said = lines.iter().any(|(other, more)| other != devs && other.cover(devs) && more == bits);
        *bits != 0 && !said
    });
    (allowed, exact)
}

/// What an old systemd would look at.
struct Host {
    proc_devices: String,
    linked: fn(&str) -> bool,
}

impl Host {
    fn read() -> Self {
        // Without it no group is known, which is allowed for.
        let proc_devices = crate::sys::read_all(Path::new("/proc/devices")).unwrap_or_default();
        Self { proc_devices, linked: |path| Path::new(path).exists() }
    }

    /// Returns the name of a major number in /proc/devices.
    fn group(&self, kind: &str, major: u32) -> Option<&str> {
        let title = if kind == CHAR { "Character devices:" } else { "Block devices:" };
        let lines = self.proc_devices.lines().skip_while(|line| *line != title).skip(1);
        lines.take_while(|line| !line.is_empty()).find_map(|line| {
            let (number, name) = line.trim_start().split_once(' ')?;
            (number.parse() == Ok(major)).then_some(name)
        })
    }
}

/// Writes the list in systemd's names, and says whether they mean the same.
fn names(allowed: &BTreeMap<Devs, Bits>, host: Option<&Host>, wider: bool) -> (Vec<(String, String)>, bool) {
    let mut list = Vec::new();
    let mut exact = true;
    for (devs, bits) in allowed {
        let Devs { kind, major, minor } = *devs;
        let group = |host: &Host, major| host.group(kind, major).map(|group| format!("{kind}-{group}"));
        let any = || wider.then(|| format!("{kind}-*"));
        let name = match (major, minor, host) {
            (None, ..) => Some(format!("{kind}-*")),
            (Some(major), None, None) => Some(format!("{kind}-{major}")),
            (Some(major), None, Some(host)) => {
                let group = group(host, major);
                exact &= group.is_some();
                group.or_else(any)
            }
            (Some(major), Some(minor), host) => {
                let path = format!("/dev/{kind}/{major}:{minor}");
                match host.filter(|host| !(host.linked)(&path)) {
                    None => Some(path),
                    Some(host) => {
                        exact = false;
                        group(host, major).filter(|_| wider).or_else(any)
                    }
                }
            }
        };
        list.extend(name.map(|name| (name, letters(*bits))));
    }
    (list, exact)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A rule as v1 writes it, after `+` or `-`: `+c 1:3 rwm`.
    fn rule(text: &str) -> Rule {
        let mut words = text[1..].split(' ');
        let kind = match words.next() {
            Some("c") => Kind::Char,
            Some("b") => Kind::Block,
            _ => Kind::All,
        };
        let (major, minor) = words.next().unwrap().split_once(':').unwrap();
        let access = words.next().unwrap();
        let has = |letter| access.contains(letter);
        Rule {
            allow: text.starts_with('+'),
            kind,
            major: major.parse().ok(),
            minor: minor.parse().ok(),
            access: Access { read: has('r'), write: has('w'), mknod: has('m') },
        }
    }

    fn told(rules: &[&str], version: u32, beside_filter: bool) -> (Vec<String>, bool) {
        let rules: Vec<Rule> = rules.iter().map(|text| rule(text)).collect();
        let devices = device_properties(&rules, version, beside_filter);
        (devices.properties.iter().map(ToString::to_string).collect(), devices.exact)
    }

    /// The three properties of a list.
    fn strict(list: &str) -> Vec<String> {
        vec![
            "DeviceAllow=@a(ss) []".to_owned(),
            "DevicePolicy=\"strict\"".to_owned(),
            format!("DeviceAllow={list}"),
        ]
    }

    #[test]
    fn a_containers_rules_become_a_list() {
        let rules = [
            "-a *:* rwm",
            "+c 195:0 rw",
            "+b 8:0 r",
            "+c *:* m",
            "+b *:* m",
            "+c 1:3 rwm",
            "+c 5:2 rwm",
            "+c 136:* rwm",
        ];
        let list = [
            r#"("block-*", "m")"#,
            r#"("/dev/block/8:0", "rm")"#,
            r#"("char-*", "m")"#,
            r#"("/dev/char/1:3", "rwm")"#,
            r#"("/dev/char/5:2", "rwm")"#,
            r#"("char-136", "rwm")"#,
            r#"("/dev/char/195:0", "rwm")"#,
        ];
        assert_eq!(told(&rules, 252, true), (strict(&format!("[{}]", list.join(", "))), true));
        assert_eq!(told(&rules, 252, false), told(&rules, 252, true));
    }

    #[test]
    fn nothing_and_everything_have_policies() {
        let auto = vec!["DeviceAllow=@a(ss) []".to_owned(), "DevicePolicy=\"auto\"".to_owned()];
        assert_eq!(told(&["+a *:* rwm"], 252, false), (auto.clone(), true));
        assert_eq!(told(&["+c *:* rwm", "+b *:* rw", "+b *:* m"], 252, false), (auto, true));
        assert_eq!(told(&[], 252, true), (strict("@a(ss) []"), true));
        assert_eq!(told(&["+a *:* rwm", "-a *:* rwm"], 252, true), (strict("@a(ss) []"), true));
    }

    #[test]
    fn what_systemd_has_no_words_for_is_more_beside_a_filter_and_less_without() {
        for (rules, more, less) in [
            (&["+c 1:* rw", "-c 1:9 w"][..], r#"[("char-1", "rw")]"#, r#"[("char-1", "r")]"#),
            (&["+c *:5 r"], r#"[("char-*", "r")]"#, "@a(ss) []"),
            (
                &["+c 1:5 rw", "-c *:5 w", "-c *:6 w"],
                r#"[("/dev/char/1:5", "r")]"#,
                r#"[("/dev/char/1:5", "r")]"#,
            ),
        ] {
            assert_eq!(told(rules, 252, true).0, strict(more), "{rules:?}");
            assert_eq!(told(rules, 252, false).0, strict(less), "{rules:?}");
        }
        let rules = ["+a *:* rwm", "-b 8:* rwm"];
        let auto = vec!["DeviceAllow=@a(ss) []".to_owned(), "DevicePolicy=\"auto\"".to_owned()];
        assert_eq!(told(&rules, 252, true), (auto, false));
        assert_eq!(told(&rules, 252, false), (strict(r#"[("char-*", "rwm")]"#), false));
    }

    #[test]
    fn an_old_systemd_is_told_names_that_it_finds() {
        let host = Host {
            proc_devices: "Character devices:\n  1 mem\n136 pts\n195 nvidia\n\nBlock devices:\n  1 ramdisk\n"
                .to_owned(),
            linked: |path| path == "/dev/char/1:3",
        };
        let rules =
            ["+c 1:3 rwm", "+c 136:* rw", "+c 195:0 rw", "+c 240:* r", "+b 1:0 r", "+c 241:0 m"].map(rule);
        let told = |wider| {
            let (list, exact) = names(&allowed(&rules, wider).0, Some(&host), wider);
            (list.iter().map(|(name, access)| format!("{name} {access}")).collect::<Vec<_>>(), exact)
        };
        let more =
            ["block-ramdisk r", "/dev/char/1:3 rwm", "char-pts rw", "char-nvidia rw", "char-* r", "char-* m"];
        assert_eq!(told(true), (more.map(str::to_owned).to_vec(), false));
        assert_eq!(told(false), (["/dev/char/1:3 rwm", "char-pts rw"].map(str::to_owned).to_vec(), false));
    }

    /// What rules say of one request, by their definition.
    fn rules_allow(rules: &[Rule], kind: &str, major: u32, minor: u32, request: Bits) -> bool {
        [1, 2, 4].into_iter().filter(|bit| request & bit != 0).all(|bit| {
            let last = rules.iter().rev().find(|rule| {
                let kinds =
                    matches!((rule.kind, kind), (Kind::All, _) | (Kind::Char, CHAR) | (Kind::Block, BLOCK));
                kinds
                    && rule.major.is_none_or(|it| it == major)
                    && rule.minor.is_none_or(|it| it == minor)
                    && bits(rule.access) & bit != 0
            });
            last.is_some_and(|rule| rule.allow)
        })
    }

    fn any_rule() -> impl Strategy<Value = Rule> {
        let number = || prop::option::of(0..3_u32);
        let kind = prop_oneof![Just(Kind::All), Just(Kind::Char), Just(Kind::Block)];
        (any::<bool>(), kind, number(), number(), 1..=ALL).prop_map(|(allow, kind, major, minor, access)| {
            Rule {
                allow,
                kind,
                major,
                minor,
                access: Access { read: access & 1 != 0, write: access & 2 != 0, mknod: access & 4 != 0 },
            }
        })
    }

    proptest! {
        #[test]
        fn systemd_never_takes_what_the_filter_gives_and_alone_never_gives_more(
            rules in prop::collection::vec(any_rule(), 0..8),
        ) {
            for wider in [true, false] {
                let (list, exact) = allowed(&rules, wider);
                for kind in [CHAR, BLOCK] {
                    for (major, minor, request) in (0..4).flat_map(|a| (0..4).map(move |b| (a, b)))
                        .flat_map(|(a, b)| (1..=ALL).map(move |request| (a, b, request)))
                    {
                        let device = Devs { kind, major: Some(major), minor: Some(minor) };
                        let systemd = list.iter().any(|(devs, bits)| devs.cover(&device) && bits & request == request);
                        let meant = rules_allow(&rules, kind, major, minor, request);
                        if exact {
                            prop_assert_eq!(systemd, meant);
                        } else if wider {
                            prop_assert!(systemd || !meant, "{:?} {:?} {:?}", list, device, request);
                        } else {
                            prop_assert!(!systemd || meant, "{:?} {:?} {:?}", list, device, request);
                        }
                    }
                }
            }
        }
    }
}
