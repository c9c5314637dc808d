//! Fds of the runtime.

use super::*;

/// Runs the bundle with a directory of the host as fd 7 and as stdin, neither close-on-exec.
fn run_with_directory(test: &TestBundle, host: &Host, way: Way, flags: &[&str]) -> Output {
    let prepared = way.prepare(test);
    let directory = host.path("directory");
    let script = format!("exec 3<{0} 7<{0} <{0}; exec \"$@\"", directory.display());
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).args(prepared.words(&[&["run"], flags].concat()));
    let output = command.stdin(Stdio::null()).output().unwrap();
    prepared.assert_way();
    output
}

/// A working directory, or a program, through an fd of the runtime's.
#[container_test(ways)]
fn cve_2024_21626_no_fd_leads_out(way: Way) {
    no_fd_leads_out(way);
}

fn no_fd_leads_out(way: Way) {
    let (mut test, host) = attack("pwd -P; ls");
    let config = test.config.clone();
    let plain = (0..=20).flat_map(|fd| {
        let base =
            [format!("/proc/self/fd/{fd}"), format!("/proc/1/fd/{fd}"), format!("/proc/thread-self/fd/{fd}")];
        base.into_iter().flat_map(|path| [path.clone(), format!("{path}/..")])
    });
    // All of them in one way; what each names is the same in the others, and where the runtime's fds are,
    // too.
    let plain = plain.step_by(if way == Way::Empty { 1 } else { 8 });
    let deep = [
        "/proc/self/fd/3",
        "/proc/self/fd/7",
        "/proc/self/fd/8",
        "/proc/self/fd/7/deeper",
        "/proc/self/fd/3/../../..",
    ];
    for cwd in plain.chain(deep.map(str::to_owned)) {
        test.config["process"]["cwd"] = cwd.clone().into();
        // By words, `/proc/self/fd/7/..` is a directory of procfs: that one may be entered.
        let harmless = cwd.contains("/..");
        for flags in [&[][..], &["--preserve-fds", "1"]] {
            let output = run_with_directory(&test, &host, way, flags);
            if harmless && output.status.success() {
                assert!(
                    String::from_utf8_lossy(&output.stdout).starts_with("/proc"),
                    "{way:?}, {cwd}: {output:?}"
                );
            } else {
                let error = item_error(&output);
                assert!(error.contains("process.cwd"), "{way:?}, {cwd}: {error}");
            }
        }
    }
    // The image has the links, the config says nothing unusual.
    for to in ["/proc/self/fd/7", "/proc/self/fd/3", "/proc/self/fd/0", "/proc/1/cwd", "/proc/1/root/.."] {
        test.config = config.clone();
        let link = test.rootfs().join("work");
        symlink(to, &link).unwrap();
        for cwd in ["/work", "/work/deeper", "/work/../../.."] {
            test.config["process"]["cwd"] = cwd.into();
            let output = run_with_directory(&test, &host, way, &["--preserve-fds", "1"]);
            if output.status.success() {
                let seen = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(seen.starts_with('/') && !seen.contains("deeper"), "{way:?}, {to}, {cwd}: {seen}");
            } else {
                assert!(item_error(&output).contains("process.cwd"), "{way:?}, {to}, {cwd}");
            }
        }
        fs::remove_file(link).unwrap();
    }
    for program in ["/proc/self/fd/7/../../bundle/rootfs/bin/busybox", "/proc/self/fd/20/bin/busybox"] {
        test.config = config.clone();
        test.config["process"]["args"] = json!([program, "pwd"]);
        let error = one_error(&run_with_directory(&test, &host, way, &[]));
        assert!(error.contains(program) && error.ends_with("no such file or directory"), "{way:?}: {error}");
    }
    host.assert_untouched(&test, "fds");
}
