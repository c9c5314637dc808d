//! Compares schemata by meaning: the kernel shows them with other spaces, zeros and order than they were
//! written with.

use std::collections::BTreeMap;

/// Above this a bandwidth is no percentage, and the kernel does not round it (`mount -o mba_MBps`).
const PERCENT_MAX: u64 = 100;

/// The values of (resource, domain), as text.
type Values<'a> = BTreeMap<(&'a str, u64), &'a str>;

/// Returns the first wanted (item, line) that the existing schemata do not have. Domains that are not named
/// may have any value.
///
/// A later line overrules an earlier one, as it would if all were written. `step` is the kernel's step of
/// bandwidths.
pub(super) fn mismatch(
    existing: &str,
    wanted: &[(&'static str, String)],
    step: u64,
) -> Option<(&'static str, String)> {
    let mut has = Values::new();
    existing.lines().filter_map(parse).for_each(|values| has.extend(values));
    let lines = || wanted.iter().flat_map(|(item, lines)| lines.lines().map(|line| (*item, line.trim())));
    let mut overruled = Values::new();
    lines().filter_map(|(_, line)| parse(line)).for_each(|values| overruled.extend(values));
    let matches = |line: &str| match parse(line) {
        Some(values) => values.keys().all(|key| {
            let last = overruled.get(key).copied().unwrap_or_default();
            has.get(key).is_some_and(|has| same(key.0, has, last, step))
        }),
        // Of a form that is not known here.
        None => existing.lines().any(|existing| existing.trim() == line),
    };
    lines()
        .filter(|(_, line)| !line.is_empty())
        .find(|(_, line)| !matches(line))
        .map(|(item, line)| (item, line.to_owned()))
}

/// Parses `L3:0=ff;1=f`.
fn parse(line: &str) -> Option<Values<'_>> {
    let (resource, domains) = line.split_once(':')?;
    let domains = domains.split(';').map(|domain| {
        let (id, value) = domain.split_once('=')?;
        Some(((resource.trim(), id.trim().parse().ok()?), value.trim()))
    });
    domains.collect()
}

/// Bandwidths are decimal, cache masks hexadecimal.
fn same(resource: &str, has: &str, wanted: &str, step: u64) -> bool {
    if !matches!(resource, "MB" | "SMBA") {
        let mask = |text: &str| u128::from_str_radix(text.trim_start_matches("0x"), 16).ok();
        return mask(has).map_or(has == wanted, |has| mask(wanted) == Some(has));
    }
    let (Ok(has), Ok(wanted)) = (has.parse::<u64>(), wanted.parse::<u64>()) else {
        return has == wanted;
    };
    let rounded = if wanted <= PERCENT_MAX { wanted.next_multiple_of(step.max(1)) } else { wanted };
    has == wanted || has == rounded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(existing: &str, wanted: &[&str]) -> Option<String> {
        let wanted: Vec<_> = wanted.iter().map(|lines| ("item", (*lines).to_owned())).collect();
        mismatch(existing, &wanted, 10).map(|(_, line)| line)
    }

    #[test]
    fn schemata_match_by_meaning() {
        let existing = "    MB:0= 30;1=100\n    L3:0=000ff;1=fffff\nL2:0=3\n";
        for wanted in [
            &["L3:0=ff"] as &[&str],
            &["L3:1=fffff;0=0xff"],
            &["L3: 0 = 0FF ", "MB:0=30"],
            &["MB:0=25;01=100"],
            &["L3:0=1", "MB:0=30", "L3:0=ff\nL2:0=3"],
            &[],
        ] {
            assert_eq!(compare(existing, wanted), None, "{wanted:?}");
        }
        for (wanted, line) in [
            (&["L3:0=fe"] as &[&str], "L3:0=fe"),
            (&["MB:0=30", "L3:2=ff"], "L3:2=ff"),
            (&["MB:0=35"], "MB:0=35"),
            (&["L3:0=ff", "L3:0=1"], "L3:0=ff"),
            (&["L3CODE:0=ff"], "L3CODE:0=ff"),
            (&["L3:0=zz"], "L3:0=zz"),
            (&["L3"], "L3"),
            (&["L3:"], "L3:"),
        ] {
            assert_eq!(compare(existing, wanted).as_deref(), Some(line), "{wanted:?}");
        }
    }

    #[test]
    fn bandwidths_in_megabytes_are_not_rounded() {
        assert_eq!(compare("MB:0=5000", &["MB:0=5000"]), None);
        assert!(compare("MB:0=5000", &["MB:0=4999"]).is_some());
    }

    #[test]
    fn lines_of_another_form_match_as_they_are() {
        assert_eq!(compare("  something new \n", &["something new"]), None);
        assert!(compare("something old\n", &["something new"]).is_some());
    }
}
