//! Filesystems of the kernel: procfs, sysfs, cgroups, devpts, mqueue.

use super::*;

#[container_test(Root, UserNamespace)]
fn filesystems_of_the_kernel(variant: Variant) {
    let look = "ls /ptys; echo; for n in 1 2; do sh -c 'exec 3<>/ptys/ptmx; ls /ptys'; done | sort -u; echo; \
        touch /queues/queue && stat -c %s /queues/queue; ls /dev/mqueue; touch /sys/x 2>&1; ls /sys/class/net; echo; ";
    let mut test = script(&format!("{look}{TABLE}"));
    mount(
        &mut test,
        json!({ "destination": "/ptys", "type": "devpts", "source": "mine",
        "options": ["newinstance", "ptmxmode=0600", "mode=600", "noexec"] }),
    );
    mount(
        &mut test,
        json!({ "destination": "/queues", "type": "mqueue", "source": "", "options": ["nosuid"] }),
    );
    mount(&mut test, json!({ "destination": "/processes", "type": "proc", "options": ["hidepid=2", "ro"] }));
    test.config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/processes");
    variant.apply(&mut test);
    let seen = answer(&run(&test));
    let expected = "ptmx\n\n0\nptmx\n\n80\nqueue\ntouch: /sys/x: Read-only file system\nlo\n\n";
    assert!(seen.starts_with(expected), "{seen}");
    let mounts = mounts(&seen);
    let ptys = at(&mounts, "/ptys");
    assert_eq!((ptys.fstype.as_str(), ptys.source.as_str()), ("devpts", "mine"));
    assert_eq!(ptys.options, set("rw noexec relatime"));
    assert!(ptys.superblock.contains("ptmxmode=600") && ptys.superblock.contains("mode=600"), "{ptys:?}");
    assert_eq!(at(&mounts, "/queues").options, set("rw nosuid relatime"));
    let sys = at(&mounts, "/sys");
    assert_eq!((sys.fstype.as_str(), sys.root.as_str()), ("sysfs", "/"));
    assert_eq!(sys.options, set("ro nosuid nodev noexec relatime"));
}

/// What is seen of cgroups: the container's own alone with a namespace, never to be written with `ro`.
#[container_test]
fn cgroups() {
    for (namespace, readonly, mapped) in [
        (true, true, false),
        (true, false, false),
        (false, true, false),
        (false, false, false),
        (true, true, true),
        (true, false, true),
        (false, true, true),
        (false, false, true),
    ] {
        let what = format!("cgroup namespace: {namespace}, ro: {readonly}, user namespace: {mapped}");
        let look = "cat /proc/self/cgroup; echo ---; for d in /sys/fs/cgroup /sys/fs/cgroup/unified; do \
            mkdir $d/inner 2>/dev/null && echo made $d && rmdir $d/inner; done; echo ---; ";
        let mut test = script(&format!("{look}{TABLE}"));
        let config = &mut test.config;
        if !namespace {
            config["linux"]["namespaces"].as_array_mut().unwrap().retain(|entry| entry["type"] != "cgroup");
        }
        let last = config["mounts"].as_array_mut().unwrap().last_mut().unwrap();
        assert_eq!(last["type"], "cgroup");
        last["options"] = json!(["nosuid", "noexec", "nodev", if readonly { "ro" } else { "rw" }]);
        if mapped {
            test.map_ids();
        }
        let seen = answer(&run(&test));
        let [own, made, table] = seen.split("---\n").collect::<Vec<_>>().try_into().unwrap();
        let unified = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
        let place = if namespace { "/".to_owned() } else { format!("/{}", test.id) };
        assert_eq!(unified, place, "{what}");
        assert!(!readonly || made.is_empty(), "{what}: {made}");
        for mount in mounts(table).iter().filter(|mount| mount.point.starts_with("/sys/fs/cgroup")) {
            if readonly {
                assert!(mount.options.contains("ro"), "{what}: {mount:?}");
            }
            assert!(
                ["nosuid", "nodev", "noexec"].iter().all(|word| mount.options.contains(*word)),
                "{what}: {mount:?}"
            );
            // Nothing above the container's own cgroup is to be seen through a namespace.
            assert!(!namespace || mount.fstype != "cgroup2" || mount.root == "/", "{what}: {mount:?}");
        }
        assert!(table.contains(" /sys/fs/cgroup "), "{what}: {table}");
    }
}

/// fsconfig(2) takes 255 bytes: longer lists of layers are given one by one.
#[container_test]
fn overlays() {
    let overlay = |names: &[String], more: &[String]| {
        let mut test =
            script("ls /m; cat /m/same; touch /m/new; echo changed > /m/layer-000; ls /m | busybox wc -l");
        let layers = test.beside("src");
        for name in names.iter().chain(&["upper".to_owned(), "work".to_owned()]) {
            fs::create_dir_all(layers.join(name)).unwrap();
        }
        for (index, name) in names.iter().enumerate() {
            fs::write(layers.join(name).join(format!("layer-{index:03}")), "").unwrap();
            fs::write(layers.join(name).join("same"), format!("{index}\n")).unwrap();
        }
        let path = |name: &String| {
            layers.join(name).to_str().unwrap().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,")
        };
        let lower: Vec<String> = names.iter().map(path).collect();
        let mut options = vec![format!("lowerdir={}", lower.join(":"))];
        options.extend(more.iter().cloned());
        if more.is_empty() {
            options.push(format!("upperdir={}", layers.join("upper").display()));
            options.push(format!("workdir={}", layers.join("work").display()));
        }
        mount(
            &mut test,
            json!({ "destination": "/m", "type": "overlay", "source": "overlay", "options": options }),
        );
        test
    };
    let many = |count: usize| (0..count).map(|index| format!("layer-{index}")).collect::<Vec<_>>();
    for names in [
        many(1),
        many(2),
        many(60),
        // One too long for a string by itself would not do; with it, the list is.
        vec!["x".repeat(100), "y".repeat(100), "z".repeat(100)],
        vec!["with:colon".to_owned(), "plain".to_owned()],
        vec![format!("with:colon{}", "x".repeat(100)), format!("plain{}", "x".repeat(100))],
        vec!["comma,in it".to_owned(), "plain".to_owned()],
        vec![format!("comma,in it{}", "x".repeat(100)), format!("plain{}", "x".repeat(100))],
        vec![format!("back\\slash{}", "x".repeat(100)), format!("plain{}", "x".repeat(100))],
    ] {
        let test = overlay(&names, &[]);
        let mut expected: Vec<String> = (0..names.len()).map(|index| format!("layer-{index:03}")).collect();
        expected.extend(["same".to_owned(), "0".to_owned(), (names.len() + 2).to_string()]);
        assert_eq!(answer(&run(&test)).lines().collect::<Vec<_>>(), expected, "{names:?}");
        let upper = test.beside("src").join("upper");
        assert_eq!(fs::read_to_string(upper.join("layer-000")).unwrap(), "changed\n");
        assert!(upper.join("new").exists());
    }
    // Layers behind a double colon hold data alone.
    let mut test = overlay(&[], &[]);
    let layers = test.beside("src");
    let names = ["a".repeat(100), "b".repeat(100), "c".repeat(100)].map(|name| layers.join(name));
    for name in &names {
        fs::create_dir(name).unwrap();
    }
    fs::write(names[0].join("same"), "first\n").unwrap();
    fs::write(names[2].join("data"), "").unwrap();
    let [first, second, third] = names.map(|name| name.display().to_string());
    test.config["mounts"].as_array_mut().unwrap().last_mut().unwrap()["options"] =
        json!([format!("lowerdir={first}:{second}::{third}"), "ro"]);
    test.config["process"]["args"] = json!(["ls", "/m"]);
    assert_eq!(answer(&run(&test)), "same");
    // A layer that is missing, an option that overlay does not know.
    for (more, expected) in
        [("upperdir=/no/such/directory", "/no/such/directory"), ("nonsense=1", "nonsense")]
    {
        let test = overlay(&many(2), &[more.to_owned(), "workdir=/no/such/work".to_owned()]);
        let error = refused(&test, &run(&test));
        assert!(error.contains(&last(&test)) && error.contains(expected), "{error}");
    }
}
