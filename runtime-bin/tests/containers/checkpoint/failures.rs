//! Dumps and restores that fail.

use super::*;

/// CRIU's own reason is in the error, and the container goes on.
#[container_test]
fn a_dump_that_fails_changes_nothing() {
    if !can_checkpoint() {
        return;
    }
    let mut test = counting();
    let script = format!("exec 9> /tmp/a; busybox ln /tmp/a /tmp/b; busybox rm /tmp/a; {COUNT}");
    test.config["process"]["args"][2] = script.into();
    run_detached(&test);
    until("no count", || count(&test) > 3);
    let (images, work) = (images(&test), test.beside("work"));
    let arguments = ["checkpoint", "--image-path", text(&images), "--work-path", text(&work), &test.id];
    let error = fail(&test, &arguments);
    assert!(error.starts_with("criu failed: type "), "{error}");
    assert!(error.contains("link remap") && error.contains(text(&work.join("dump.log"))), "{error}");
    assert_eq!(state(&test)["status"], "running");
    counts_on(&test);
    checkpoint(&test, &["--link-remap", "--file-locks"]);
    restore(&test, &["--file-locks"]);
    counts_on(&test);
    delete(&test, "after a link");
}

/// CRIU finds at its next word that nobody listens, and takes back what it has done to the processes. That is
/// why it is not killed with the runtime: its own code would stay in them.
#[container_test]
fn a_dump_whose_caller_is_killed_changes_nothing() {
    if !can_checkpoint() {
        return;
    }
    let mut test = counting();
    // It takes a while to write down.
    test.config["process"]["args"][2] =
        format!("x=$(head -c 40000000 /dev/zero | busybox tr '\\0' a); {COUNT}").into();
    run_detached(&test);
    until("no count", || count(&test) > 3);
    let images = images(&test);
    let mut dumping = corten(&test, &["checkpoint", "--image-path", text(&images), &test.id]);
    let mut dumping = dumping.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let log = || fs::read_to_string(images.join("dump.log")).unwrap_or_default();
    until("no dump", || log().contains("Seized task"));
    dumping.kill().unwrap();
    dumping.wait().unwrap();
    until("criu does not notice", || log().contains("Can't send response"));
    counts_on(&test);
    assert_eq!(state(&test)["status"], "running");
    fs::remove_dir_all(&images).unwrap();
    checkpoint(&test, &[]);
    restore(&test, &[]);
    counts_on(&test);
    delete(&test, "after a caller that was killed");
}

#[container_test]
fn a_restore_that_fails_leaves_nothing() {
    if !can_checkpoint() {
        return;
    }
    let test = counting();
    run_detached(&test);
    until("no count", || count(&test) > 3);
    checkpoint(&test, &[]);
    let (images, bundle) = (images(&test), test.path());
    let whole = ["restore", "-d", "--image-path", text(&images), "-b", text(&bundle)];
    let with = |more: &[&str]| fail(&test, &[&whole[..], more, &[test.id.as_str()]].concat());
    let broken = |name: &str, content: &[u8]| {
        let (path, kept) = (images.join(name), test.beside("kept"));
        fs::rename(&path, &kept).unwrap();
        if !content.is_empty() {
            fs::write(&path, content).unwrap();
        }
        let error = with(&["--pid-file", text(&test.beside("pid"))]);
        fs::rename(&kept, &path).unwrap();
        test.assert_nothing_left(name);
        assert!(!test.beside("pid").exists());
        error
    };
    // Some versions fall over.
    for name in ["inventory.img", "pstree.img"] {
        let error = broken(name, b"");
        assert!(error.starts_with("criu ") && error.contains("restore.log"), "{error}");
    }
    let error = broken("descriptors.json", b"");
    assert!(error.contains("descriptors.json") && error.ends_with("no such file or directory"), "{error}");
    let error = broken("descriptors.json", b"[1]");
    assert!(error.contains("descriptors.json") && error.contains("invalid type"), "{error}");
    // Somebody who does not take the terminal, or whom there is none for: what fails after the processes are
    // there.
    let error = with(&["--pid-file", "/nowhere/pid"]);
    assert!(error.contains("/nowhere") && error.ends_with("no such file or directory"), "{error}");
    test.assert_nothing_left("no pid file");
    let none = test.beside("none");
    let error = fail(&test, &["restore", "-d", "--image-path", text(&none), "-b", text(&bundle), &test.id]);
    assert!(error.contains("none") && error.ends_with("no such file or directory"), "{error}");
    test.assert_nothing_left("no images");
    // The images are whole again.
    restore(&test, &[]);
    let error = with(&[]);
    assert_eq!(error, "container with given ID already exists");
    counts_on(&test);
    delete(&test, "after all");
}
