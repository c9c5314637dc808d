//! Reads TAP, the Test Anything Protocol, as the programs of runtime-tools print it.
//!
//! They print less and more than one document of TAP 13: several one after the other, each with a plan in
//! front, at the end or nowhere, some indented; JSON in place of YAML; lines of their own in between. What is
//! no TAP means nothing, as TAP says.

/// What a program's output says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// What the points that are not ok say of themselves.
    pub(crate) failed: Vec<String>,
    /// Why to doubt the rest: documents that are not whole, and errors in diagnostics that belong to no point
    /// (some programs tell of a failure in no other way).
    pub(crate) doubts: Vec<String>,
    /// Why the program gave up, if it says so.
    pub(crate) bail_out: Option<String>,
}

/// A document so far.
#[derive(Debug, Default)]
struct Document {
    points: usize,
    plan: Option<usize>,
}

impl Document {
    /// What is wrong with it at its end.
    fn doubt(&self) -> Option<String> {
        let planned = self.plan.map_or_else(|| "none".to_owned(), |plan| plan.to_string());
        (self.plan != Some(self.points))
            .then(|| format!("points planned: {planned}, reported: {}", self.points))
    }
}

/// Reads the whole output of a program.
pub(crate) fn parse(output: &str) -> Summary {
    let mut summary = Summary::default();
    let mut document: Option<Document> = None;
    let mut is_yaml = false;
    for raw in output.lines() {
        let line = raw.trim();
        if is_yaml {
            // A diagnostic may quote the TAP of a program in the container. That is no result of its own.
            is_yaml = line != "...";
            let is_stray = document.as_ref().is_none_or(|document| document.points == 0);
            let error = line.strip_prefix("\"error\":").filter(|_| is_stray);
            summary.doubts.extend(error.map(|text| text.trim().trim_end_matches(',').to_owned()));
        } else if line == "---" {
            is_yaml = true;
        } else if raw.starts_with("TAP version") {
            summary
                .doubts
                .extend(document.replace(Document::default()).and_then(|document| document.doubt()));
        } else if let Some(reason) = line.strip_prefix("Bail out!") {
            summary.bail_out = Some(reason.trim().to_owned());
        } else {
            let failed = result(line, "not ok");
            let is_point = failed.is_some() || result(line, "ok").is_some();
            summary.failed.extend(failed.map(str::to_owned));
            // What is indented is a document in another one: its points count, its plan does not.
            if let Some(document) = document.as_mut().filter(|_| !raw.starts_with([' ', '\t'])) {
                document.points += usize::from(is_point);
                document.plan = plan(line).or(document.plan);
            }
        }
    }
    summary.doubts.extend(document.and_then(|document| document.doubt()));
    summary
}

/// The number of points that a line plans.
fn plan(line: &str) -> Option<usize> {
    line.strip_prefix("1..")?.split_whitespace().next()?.parse().ok()
}

/// The rest of a line that begins with a whole word.
fn result<'line>(line: &'line str, word: &str) -> Option<&'line str> {
    let rest = line.strip_prefix(word)?;
    (rest.is_empty() || rest.starts_with([' ', '\t'])).then(|| rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(output: &str) -> Vec<String> {
        parse(output).failed
    }

    #[test]
    fn failed_points_are_told_by_their_names() {
        assert_eq!(
            failed("TAP version 13\n1..2\nok 1 - root\nnot ok 2 - has a hostname\n"),
            ["2 - has a hostname"]
        );
        assert_eq!(failed("ok\nnot ok\n"), [""]);
        assert_eq!(failed("TAP version 13\nok 1 - a\nok 2 # SKIP linux.devices is not set\n1..2\n"), [""; 0]);
    }

    #[test]
    fn directives_make_no_failure_good() {
        assert_eq!(
            failed("not ok 1 # TODO cgroups\nnot ok 2 # SKIP b\n"),
            ["1 # TODO cgroups", "2 # SKIP b"]
        );
    }

    #[test]
    fn indented_documents_and_several_in_a_row_count_together() {
        let output = "TAP version 13\n    TAP version 13\n    not ok 1 - inner\n\t1..1\nnot ok 1 - outer\n1..1\n\
                      TAP version 13\nnot ok 1 - next\n1..1\n";
        assert_eq!(failed(output), ["1 - inner", "1 - outer", "1 - next"]);
    }

    #[test]
    fn diagnostics_are_no_results() {
        let diagnostic = "  ---\n  {\n    \"stdout\": \"not ok 1\"\n  }\n  not ok 7\n  ...\n# not ok 3\n";
        assert_eq!(parse(&format!("ok 1 - a\n{diagnostic}")), Summary::default());
        assert_eq!(failed(&format!("{diagnostic}not ok 2 - b\n")), ["2 - b"]);
    }

    #[test]
    fn an_error_that_no_point_tells_of_is_a_doubt() {
        let error = "  ---\n  {\n    \"error\": \"out of order\",\n    \"level\": \"MUST\"\n  }\n  ...\n";
        let doubts = |output: &str| parse(output).doubts;
        assert_eq!(doubts(&format!("TAP version 13\n{error}1..0\n")), ["\"out of order\""]);
        assert_eq!(
            doubts(&format!("TAP version 13\nok 1\n1..1\nTAP version 13\n{error}1..0\n")),
            ["\"out of order\""]
        );
        assert_eq!(doubts(&format!("TAP version 13\nok 1\n{error}1..1\n")), [""; 0]);
    }

    #[test]
    fn a_document_that_is_not_whole_is_a_doubt() {
        let doubts = |output: &str| parse(output).doubts;
        assert_eq!(doubts("TAP version 13\n1..2\nok 1\nok 2\nTAP version 13\nok 1\n1..1\n"), [""; 0]);
        assert_eq!(doubts("TAP version 13\n    ok 1\n    1..1\nok 1\n1..1\n"), [""; 0]);
        assert_eq!(doubts("TAP version 13\n1..2\nok 1\n"), ["points planned: 2, reported: 1"]);
        assert_eq!(
            doubts("TAP version 13\nok 1\nTAP version 13\nok 1\n1..2\n"),
            ["points planned: none, reported: 1", "points planned: 2, reported: 1"]
        );
    }

    #[test]
    fn a_bail_out_is_told_with_its_reason() {
        assert_eq!(parse("ok 1\nBail out! no rootfs\n").bail_out.as_deref(), Some("no rootfs"));
        assert_eq!(parse("ok 1\n").bail_out, None);
    }

    #[test]
    fn words_that_only_begin_like_results_are_none() {
        assert_eq!(parse("okay\nnot okay\nnot ok: 1\nstat /x: no such file\n"), Summary::default());
    }
}
