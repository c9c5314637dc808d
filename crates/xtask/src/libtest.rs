//! Reads what Rust's test programs print with `--show-output`.

/// What they have said so far.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) ignored: usize,
    /// Why tests did nothing.
    pub(crate) skipped: Vec<String>,
    /// Whether a program has told its result.
    pub(crate) has_result: bool,
    in_successes: bool,
}

impl Output {
    /// Takes a line; whether it is worth showing. What passed tests print is of no interest; what failed ones
    /// print is.
    pub(crate) fn take(&mut self, line: &str) -> bool {
        if let Some(reason) = line.trim().strip_prefix("skipped: ") {
            self.skipped.push(reason.to_owned());
        }
        if let Some(result) = line.strip_prefix("test result:") {
            self.has_result = true;
            for (count, what) in
                [(&mut self.passed, "passed"), (&mut self.failed, "failed"), (&mut self.ignored, "ignored")]
            {
                let words = result.split([';', '.']).map(str::trim);
                let number =
                    words.filter_map(|words| words.strip_suffix(what)).find_map(|n| n.trim().parse().ok());
                *count += number.unwrap_or(0);
            }
        }
        self.in_successes = match line {
            "successes:" => true,
            "failures:" => false,
            line if line.starts_with("test result:") => false,
            _ => self.in_successes,
        };
        !self.in_successes && !line.trim().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "
running 3 tests
test a ... ok
test b ... FAILED

successes:

---- a stdout ----
skipped: no peer

failures:

---- b stdout ----
left is not right

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s
";

    #[test]
    fn results_are_counted_and_what_passed_is_not_shown() {
        let mut output = Output::default();
        let shown: Vec<_> = LINES.lines().filter(|line| output.take(line)).collect();
        assert_eq!((output.passed, output.failed, output.ignored, output.has_result), (1, 1, 1, true));
        assert_eq!(output.skipped, ["no peer"]);
        assert!(shown.contains(&"test a ... ok") && shown.contains(&"left is not right"), "{shown:?}");
        assert!(!shown.contains(&"skipped: no peer"), "{shown:?}");
    }

    #[test]
    fn results_of_several_programs_add_up() {
        let mut output = Output::default();
        for line in LINES.lines().chain(LINES.lines()) {
            output.take(line);
        }
        assert_eq!((output.passed, output.failed, output.ignored), (2, 2, 2));
    }
}
