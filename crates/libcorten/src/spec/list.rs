//! Lists of numbers in text, `0-3,7`: of CPUs and of memory nodes.

/// The largest number that a list may have. There are fewer CPUs and memory nodes; without a limit, a few
/// bytes of text could ask for gigabytes.
pub(super) const MAX: usize = 65_535;

/// Returns the numbers of a list in ascending order, each once, or `None` when the text is no list. An empty
/// text is an empty list.
///
/// runc: elements may be empty or have spaces around them, but not all can be empty.
pub(crate) fn number_list(text: &str) -> Option<Vec<usize>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let elements = text.split(',').map(str::trim).filter(|element| !element.is_empty());
    let mut ranges = elements.map(range).collect::<Option<Vec<_>>>()?;
    if ranges.is_empty() {
        return None;
    }
    // Sorted first: a text that repeats `0-65535` takes no longer for it.
    ranges.sort_unstable();
    let mut numbers: Vec<usize> = Vec::new();
    for (first, last) in ranges {
        let next = numbers.last().map_or(0, |number| number + 1);
        numbers.extend(first.max(next)..=last);
    }
    Some(numbers)
}

fn range(element: &str) -> Option<(usize, usize)> {
    let (first, last) = element.split_once('-').unwrap_or((element, element));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

/// `parse` alone would take a sign.
fn number(digits: &str) -> Option<usize> {
    let is_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| is_digits && *number <= MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists() {
        let cases: &[(&str, Option<&[usize]>)] = &[
            ("", Some(&[])),
            ("0", Some(&[0])),
            ("0-3,7", Some(&[0, 1, 2, 3, 7])),
            ("7,0-3,2-4,0", Some(&[0, 1, 2, 3, 4, 7])),
            (" 0-1 , ,5,", Some(&[0, 1, 5])),
            ("007", Some(&[7])),
            ("65535", Some(&[65_535])),
            ("65536", None),
            ("0-65536", None),
            ("99999999999999999999", None),
            ("3-1", None),
            ("-1", None),
            ("1-", None),
            ("1-2-3", None),
            ("1 - 2", None),
            ("1 2", None),
            ("+1", None),
            ("a", None),
            ("0x1", None),
            (",", None),
            (" ", None),
        ];
        for (text, expected) in cases {
            assert_eq!(number_list(text).as_deref(), *expected, "{text:?}");
        }
    }

    #[test]
    fn a_long_list_is_no_long_work() {
        let text = "0-65535,".repeat(100_000);
        assert_eq!(number_list(&text).map(|numbers| numbers.len()), Some(65_536));
    }

    proptest! {
        #[test]
        fn any_text_is_a_sorted_list_or_none(text in "[0-9, -]{0,12}|.{0,8}") {
            if let Some(numbers) = number_list(&text) {
                prop_assert!(numbers.is_sorted_by(|a, b| a < b));
                let again = numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
                prop_assert_eq!(number_list(&again), Some(numbers));
            }
        }
    }
}
