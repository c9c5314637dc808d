//! Destinations and sources: links, names, what is there already, many of them.

use super::*;

#[container_test(Root, UserNamespace)]
fn links_are_followed_copied_or_mounted(variant: Variant) {
    let mapped = variant.is_mapped();
    let look = "for p in /followed /copied /nested/copied /itself /plain /target; do \
        echo $p $(stat -c %F $p) $(readlink $p) $(cat $p/inside 2>/dev/null); done; readlink /covered; ls /elsewhere";
    let mut test = script(look);
    let source = test.beside("src");
    fs::create_dir_all(source.join("dir")).unwrap();
    fs::write(source.join("dir/inside"), "inside").unwrap();
    symlink("dir", source.join("link")).unwrap();
    let link = source.join("link");
    bind(&mut test, &link, "/followed", &[]);
    bind(&mut test, &link, "/copied", &["copy-symlink"]);
    bind(&mut test, &link, "/nested/copied", &["copy-symlink", "ro"]);
    // The same once more: it is there already.
    bind(&mut test, &link, "/copied", &["copy-symlink"]);
    bind(&mut test, &link, "/itself", &["src-nofollow", "dest-nofollow"]);
    // No link, an ordinary mount.
    bind(&mut test, &source.join("dir"), "/plain", &["copy-symlink"]);
    bind(&mut test, &source.join("dir"), "/target", &["src-nofollow"]);
    // Links at the destination.
    fs::create_dir(test.rootfs().join("elsewhere")).unwrap();
    symlink("old", test.rootfs().join("itself")).unwrap();
    symlink("elsewhere", test.rootfs().join("covered")).unwrap();
    bind(&mut test, &link, "/covered", &["src-nofollow", "dest-nofollow"]);
    variant.apply(&mut test);
    let expected = "/followed directory inside\n/copied symbolic link dir\n/nested/copied symbolic link dir\n\
        /itself symbolic link dir\n/plain directory inside\n/target directory inside\ndir";
    assert_eq!(answer(&run(&test)), expected, "user namespace: {mapped}");
}

#[container_test]
fn links_that_cannot_be() {
    let cases = [
        ("link", "/there", "bind copy-symlink", "file exists"),
        ("link", "/other", "bind copy-symlink", "file exists"),
        ("link", "/m", "bind copy-symlink src-nofollow", "mutually exclusive"),
        ("dangling", "/m", "bind", "no such file"),
        ("loop", "/m", "bind", "symbolic links"),
        // A directory cannot be mounted on a link.
        ("dir", "/other", "bind dest-nofollow", ""),
    ];
    for (source, destination, options, expected) in cases {
        let mut test = script("true");
        let directory = test.beside("src");
        fs::create_dir_all(directory.join("dir")).unwrap();
        symlink("dir", directory.join("link")).unwrap();
        symlink("nothing", directory.join("dangling")).unwrap();
        symlink("loop", directory.join("loop")).unwrap();
        fs::write(test.rootfs().join("there"), "").unwrap();
        symlink("etc", test.rootfs().join("other")).unwrap();
        mount(
            &mut test,
            json!({ "destination": destination, "source": directory.join(source), "options": words(options) }),
        );
        let error = refused(&test, &run(&test));
        assert!(error.contains(&last(&test)) && error.contains(expected), "{options}: {error}");
    }
}

#[container_test(Root, UserNamespace)]
fn destinations(variant: Variant) {
    let mut test = script(
        "for p in $(busybox find / -xdev -name 'here*'); do echo $p; done; cat /etc/file-*; cat /file-mount/x",
    );
    let rootfs = test.rootfs();
    let source = test.beside("src");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "volume\n").unwrap();
    let file = source.join("file");
    for name in ["real", "real/sub", "rel"] {
        fs::create_dir(rootfs.join(name)).unwrap();
    }
    fs::write(rootfs.join("etc/file-there"), "image\n").unwrap();
    symlink("/real", rootfs.join("absolute")).unwrap();
    symlink("../real", rootfs.join("rel/link")).unwrap();
    // Above the root is the root.
    symlink("../../../../../real/sub", rootfs.join("rel/far")).unwrap();
    symlink("/etc/file-there", rootfs.join("to-file")).unwrap();
    symlink("/made/by/link", rootfs.join("dangling")).unwrap();
    symlink("made-too", rootfs.join("dangling-relative")).unwrap();
    symlink("dangling-1", rootfs.join("dangling-0")).unwrap();
    symlink("/dangling-2", rootfs.join("dangling-1")).unwrap();
    symlink("../end/of/chain", rootfs.join("dangling-2")).unwrap();
    symlink("/etc/file-by-link", rootfs.join("dangling-file")).unwrap();
    let look = [
        // Destination, where the mount is.
        ("/missing/deep/dir", "/missing/deep/dir"),
        ("/absolute", "/real"),
        ("/rel/link/made", "/real/made"),
        ("/rel/far", "/real/sub"),
        ("/dangling", "/made/by/link"),
        ("/dangling-relative/below", "/made-too/below"),
        ("/dangling-0", "/end/of/chain"),
        ("relative/destination", "/relative/destination"),
        ("/a/../b/./c//d", "/b/c/d"),
        ("/../../above", "/above"),
        ("/with space\tand tab", "/with\\040space\\011and\\040tab"),
    ];
    for (destination, _) in look {
        tmpfs(&mut test, destination, &["size=64k"]);
    }
    let files = [
        ("/etc/file-there", "/etc/file-there"),
        ("/dangling-file", "/etc/file-by-link"),
        ("/etc/file-missing", "/etc/file-missing"),
        ("/new/dir/file", "/new/dir/file"),
        ("/dev/file", "/dev/file"),
    ];
    for (destination, _) in files {
        bind(&mut test, &file, destination, &["ro"]);
    }
    test.config["process"]["args"] = json!([
        "sh",
        "-c",
        format!(
            "{TABLE}; echo; cat {}; stat -c %a /missing/deep /missing",
            files.map(|(_, point)| point).join(" ")
        )
    ]);
    variant.apply(&mut test);
    let seen = answer(&run(&test));
    let (table, rest) = seen.split_once("\n\n").unwrap();
    let mounts = mounts(table);
    for (destination, point) in look {
        assert_eq!(at(&mounts, point).fstype, "tmpfs", "{destination}");
    }
    for (_, point) in files {
        assert_eq!(at(&mounts, point).options, set("ro relatime"));
    }
    assert_eq!(rest, "volume\n".repeat(files.len()) + "755\n755");
    assert_eq!(fs::read_to_string(rootfs.join("etc/file-there")).unwrap(), "image\n");
    assert_eq!(fs::read_to_string(rootfs.join("etc/file-missing")).unwrap(), "");
}

#[container_test]
fn destinations_that_cannot_be() {
    let cases = [
        ("/bin/busybox", "tmpfs", "not a directory"),
        ("/bin/busybox/below", "tmpfs", "not a directory"),
        ("/bin/busybox/below", "file", "not a directory"),
        ("/bin", "file", "not a directory"),
        ("/bin/busybox", "directory", "not a directory"),
        ("/loop", "tmpfs", "symbolic links"),
        ("/loop/below", "tmpfs", "symbolic links"),
        ("/loop/below", "file", "symbolic links"),
        ("/loop-a", "file", "symbolic links"),
        ("/dangling-loop", "tmpfs", "symbolic links"),
        ("/through-file", "tmpfs", "not a directory"),
        ("/through-file", "file", "not a directory"),
        ("/fifo", "tmpfs", "not a directory"),
        ("/", "tmpfs", "root"),
        ("/../.", "file", "root"),
        ("", "tmpfs", "empty"),
    ];
    let long = format!("/{}", "x".repeat(256));
    for (destination, kind, expected) in
        cases.into_iter().chain([(long.as_str(), "tmpfs", "too long"), (long.as_str(), "file", "too long")])
    {
        let mut test = script("true");
        let rootfs = test.rootfs();
        symlink("loop", rootfs.join("loop")).unwrap();
        symlink("/loop-b", rootfs.join("loop-a")).unwrap();
        symlink("loop-a", rootfs.join("loop-b")).unwrap();
        symlink("nothing/../dangling-loop", rootfs.join("dangling-loop")).unwrap();
        symlink("/bin/busybox/x", rootfs.join("through-file")).unwrap();
        mknod(&rootfs.join("fifo"), SFlag::S_IFIFO, Mode::empty(), 0).unwrap();
        let source = test.beside("src");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), "").unwrap();
        match kind {
            "file" => bind(&mut test, &source.join("file"), destination, &[]),
            "directory" => bind(&mut test, &source, destination, &[]),
            _ => tmpfs(&mut test, destination, &[]),
        }
        let output = run(&test);
        assert!(!output.status.success(), "{kind} on {destination:?} was made");
        let error = refused(&test, &output);
        assert!(
            error.contains(&last(&test)) && error.contains(expected),
            "{kind} on {destination:?}: {error}"
        );
    }
}

// Sources

#[container_test(Root, UserNamespace)]
fn sources(variant: Variant) {
    let look = "for p in /m/*; do echo $p $(stat -L -c %F $p); done; cat /m/file /m/relative /m/through-fd; \
        cat /m/fifo; stat -f -c %T /m/net";
    let mut test = script(look);
    let source = test.beside("src");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "file\n").unwrap();
    fs::write(test.path().join("of-bundle"), "relative\n").unwrap();
    mknod(&source.join("fifo"), SFlag::S_IFIFO, Mode::from_bits_truncate(0o666), 0).unwrap();
    fs::set_permissions(source.join("fifo"), fs::Permissions::from_mode(0o666)).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(source.join("socket")).unwrap();
    for name in ["file", "fifo", "socket"] {
        bind(&mut test, &source.join(name), &format!("/m/{name}"), &[]);
    }
    bind(&mut test, Path::new("of-bundle"), "/m/relative", &[]);
    bind(&mut test, Path::new("../src"), "/m/above", &[]);
    bind(&mut test, Path::new("/proc/self/ns/net"), "/m/net", &[]);
    bind(&mut test, Path::new("/dev/null"), "/m/device", &[]);
    bind(&mut test, Path::new("/proc/self/fd/7"), "/m/through-fd", &[]);
    variant.apply(&mut test);
    // Somebody must write to the fifo.
    let host = "exec 7<src/file; (echo fifo > src/fifo) &";
    let expected = "/m/above directory\n/m/device character special file\n/m/fifo fifo\n/m/file regular file\n\
        /m/net regular empty file\n/m/relative regular file\n/m/socket socket\n/m/through-fd regular file\n\
        file\nrelative\nfile\nfifo\nnsfs";
    let output = run_after(&test, host);
    let text = String::from_utf8_lossy(&output.stdout);
    // busybox knows the type by its number alone.
    let text = text.trim_end().replace("UNKNOWN", "nsfs");
    assert_eq!(text, expected, "{}", String::from_utf8_lossy(&output.stderr));
    drop(listener);
}

/// Links of the host that go up to its root, as Fedora's `/var/run -> ../run` does: the container's root must
/// not lie there while sources are looked up, or the image says what is mounted.
#[container_test(Root, UserNamespace)]
fn links_up_to_the_root_do_not_lead_into_the_image(variant: Variant) {
    let mapped = variant.is_mapped();
    for words in [&[][..], &["--no-pivot"]] {
        let mut test = script("cat /m/file /above/file /layers/file");
        let (source, secret) = (test.beside("src"), test.beside("secret"));
        for (directory, content) in [(&source, "the config's\n"), (&secret, "a secret\n")] {
            fs::create_dir(directory).unwrap();
            fs::write(directory.join("file"), content).unwrap();
        }
        let up = Path::new("/..").join(source.strip_prefix("/").unwrap());
        let link = test.beside("link");
        symlink(Path::new("../../../..").join(source.strip_prefix("/").unwrap()), &link).unwrap();
        // The image has the path, too: a link to anything of the host's.
        let twin = test.rootfs().join(source.strip_prefix("/").unwrap());
        fs::create_dir_all(twin.parent().unwrap()).unwrap();
        symlink(&secret, twin).unwrap();
        bind(&mut test, &link, "/m", &["rbind"]);
        bind(&mut test, &up, "/above", &["bind"]);
        let empty = test.beside("empty");
        fs::create_dir(&empty).unwrap();
        let layers = format!("lowerdir={}:{}", link.display(), empty.display());
        let overlay =
            json!({ "destination": "/layers", "type": "overlay", "source": "o", "options": [layers] });
        mount(&mut test, overlay);
        variant.apply(&mut test);
        let output = run_in(&test, ":", &["--mount", "--propagation", "private"], words);
        assert_eq!(stdout(&output), "the config's\n".repeat(3), "mapped {mapped}, {words:?}");
        test.assert_nothing_left("links up to the root");
    }
}

#[container_test]
fn sources_that_cannot_be() {
    for (source, expected) in [
        ("/no/such/source", "no such file"),
        ("missing-in-bundle", "no such file"),
        ("config.json/below", "not a directory"),
        ("/proc/self/fd/999", "no such file"),
        ("", "source"),
    ] {
        for options in [&["bind"][..], &["rbind", "ro"]] {
            let mut test = script("true");
            mount(&mut test, json!({ "destination": "/m", "source": source, "options": options }));
            let error = refused(&test, &run(&test));
            assert!(
                error.contains(&last(&test)) && error.contains(expected) && error.contains(source),
                "{error}"
            );
        }
    }
    let mut test = script("true");
    mount(&mut test, json!({ "destination": "/m", "options": ["bind"] }));
    let error = refused(&test, &run(&test));
    assert!(error.contains(&last(&test)), "{error}");
}

// Many, and in order

#[container_test]
fn mounts_are_made_in_order() {
    let mut test = script("cat /m/a/file; cat /m/top; ls /m/hidden /over; cat /n/file");
    let source = test.beside("src");
    for name in ["first", "second"] {
        fs::create_dir_all(source.join(name).join("a")).unwrap();
        fs::write(source.join(name).join("file"), format!("{name}\n")).unwrap();
    }
    tmpfs(&mut test, "/m", &[]);
    bind(&mut test, &source.join("first"), "/m/a", &[]);
    bind(&mut test, &source.join("first/file"), "/m/top", &[]);
    // Below something that a later mount covers.
    tmpfs(&mut test, "/over/below", &[]);
    tmpfs(&mut test, "/over", &[]);
    // One on the other: the last is seen.
    bind(&mut test, &source.join("first"), "/n", &[]);
    bind(&mut test, &source.join("second"), "/n", &[]);
    tmpfs(&mut test, "/m/hidden", &[]);
    bind(&mut test, &source.join("second/file"), "/m/a/file", &[]);
    assert_eq!(answer(&run(&test)), "second\nfirst\n/m/hidden:\n\n/over:\nsecond");
    // On a read-only mount there is nothing to make a target in, but what is there can be covered.
    let mut test = script("cat /m/file");
    bind(&mut test, &source.join("first"), "/m", &["ro"]);
    bind(&mut test, &source.join("second/file"), "/m/file", &[]);
    assert_eq!(answer(&run(&test)), "second");
    bind(&mut test, &source.join("second/file"), "/m/missing", &[]);
    let error = refused(&test, &run(&test));
    assert!(error.contains(&last(&test)) && error.contains("read-only file system"), "{error}");
}

#[container_test(Root, UserNamespace)]
fn three_hundred_mounts(variant: Variant) {
    let mut test = script(TABLE);
    let source = test.beside("src");
    fs::create_dir(&source).unwrap();
    for number in 0..150 {
        bind(&mut test, &source, &format!("/b/{number}"), &["ro"]);
        tmpfs(&mut test, &format!("/t/{number}"), &[]);
    }
    variant.apply(&mut test);
    // With few fds for the caller, too.
    for limit in [20_000, 512] {
        let mounts = mounts(&answer(&run_after(&test, &format!("ulimit -Sn {limit}"))));
        let count = |prefix: &str| mounts.iter().filter(|mount| mount.point.starts_with(prefix)).count();
        assert_eq!((count("/b/"), count("/t/")), (150, 150));
    }
}
