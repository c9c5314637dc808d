//! The home directory, which init reads from a file of the image.

use super::*;

#[container_test]
fn files_of_the_kernel_are_not_read_for_the_home_directory() {
    let test = shows_home("");
    let passwd = test.rootfs().join("etc/passwd");
    symlink(KERNEL_FILE, &passwd).unwrap();
    assert_eq!(stdout(&run(&test)), "/\n");
    // A link to a file of the image is followed.
    fs::write(test.rootfs().join("etc/real"), "root:x:0:0::/home/root:/bin/sh\n").unwrap();
    fs::remove_file(&passwd).unwrap();
    symlink("/etc/real", &passwd).unwrap();
    assert_eq!(stdout(&run(&test)), "/home/root\n");
    let other = test.rootfs().join("etc/other");
    symlink(KERNEL_FILE, &other).unwrap();
    let _exchange = Exchange::of(&passwd, &other);
    let end = Instant::now() + RACE_TIME;
    while Instant::now() < end {
        let home = stdout(&run(&test));
        assert!(["/\n", "/home/root\n"].contains(&home.as_str()), "{home}");
    }
}

#[container_test]
fn files_of_the_kernel_are_not_read_for_the_home_directory_of_an_exec() {
    let mut test = shows_home("");
    test.config["process"]["args"] = json!(["sleep", "1000"]);
    symlink(KERNEL_FILE, test.rootfs().join("etc/passwd")).unwrap();
    create(&test);
    succeed(&test, &["start", &test.id]);
    assert_eq!(succeed(&test, &["exec", &test.id, "sh", "-c", "echo $HOME"]), "/\n");
    succeed(&test, &["delete", "--force", &test.id]);
}

/// Whatever is in the place of passwd is looked at before it is opened, and nothing else is opened then: a
/// device of the image would do something.
#[container_test]
fn an_exec_opens_the_passwd_that_it_has_looked_at() {
    if Command::new("strace").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skip("no strace");
    }
    for maps in [false, true] {
        let mut test = shows_home("");
        test.config["process"]["args"] = json!(["sleep", "1000"]);
        if maps {
            test.map_ids();
        }
        fs::write(test.rootfs().join("etc/passwd"), "root:x:0:0::/home/root:/bin/sh\n").unwrap();
        create(&test);
        succeed(&test, &["start", &test.id]);
        let calls = test.beside("calls");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", "trace=openat2", "-o"]).arg(&calls).args([common::CORTEN, "--root"]);
        command
            .arg(test.state_root())
            .args(["exec", &test.id, "sh", "-c", "echo $HOME"])
            .stdin(Stdio::null());
        assert_eq!(stdout(&command.output().unwrap()), "/home/root\n");
        let calls = fs::read_to_string(calls).unwrap();
        let opened: Vec<_> = calls.lines().filter(|line| line.contains("etc/passwd")).collect();
        assert!(opened.len() == 1 && opened[0].contains("O_PATH"), "user namespace: {maps}: {opened:?}");
        succeed(&test, &["delete", "--force", &test.id]);
    }
}
