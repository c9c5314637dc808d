//! What CRIU's log says of a failure.

/// How many errors are shown: the first, which are the cause, and the last, which say what came of it.
const SHOWN: (usize, usize) = (3, 2);
/// What says nothing: CRIU's own limit, which it may not always raise and does without, and the exit status
/// of a program that has had its say.
const NOISE: [&str; 2] = ["rlimit: Can't setup RLIMIT_NOFILE for self", ": exited, status="];

/// Returns the errors of a log, the words alone: CRIU's lines begin with the time and the process.
pub(super) fn errors(log: &str) -> Vec<String> {
    let mut errors: Vec<String> = Vec::new();
    for line in log.lines() {
        let Some((_, error)) = line.split_once("Error (") else { continue };
        let error = error.replacen("): ", ": ", 1);
        if !NOISE.iter().any(|noise| error.contains(noise)) && !errors.contains(&error) {
            errors.push(error);
        }
    }
    let (first, last) = SHOWN;
    if errors.len() > first + last {
        errors.splice(first..errors.len() - last, ["...".to_owned()]);
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cause_and_effect_are_shown() {
        let log = "(00.061) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted\n\
                   (00.174042) Forking task\n\
                   (00.174084)   9: Error (criu/cr-restore.c:1237): Can't fork for 32760: File exists\n\
                   (00.174131) Error (criu/cr-restore.c:2331): Restoring FAILED.\n";
        let found = errors(log);
        assert_eq!(
            found,
            [
                "criu/cr-restore.c:1237: Can't fork for 32760: File exists",
                "criu/cr-restore.c:2331: Restoring FAILED."
            ]
        );
        assert!(errors("").is_empty() && errors("all is well\nError\n").is_empty());
        let many: String = (0..9)
            .map(|number| format!("Error (a.c:{number}): no\nError (b.c:1): exited, status=1\n"))
            .collect();
        assert_eq!(errors(&many), ["a.c:0: no", "a.c:1: no", "a.c:2: no", "...", "a.c:7: no", "a.c:8: no"]);
        assert_eq!(
            errors("Error (a.c:1): no\nError (b.c:2): yes\nError (a.c:1): no\n"),
            ["a.c:1: no", "b.c:2: yes"]
        );
    }
}
