//! Cgroups of the host.

use super::*;

/// The runtime's own cgroup in each v1 hierarchy, and in cgroup2.
fn own_cgroups() -> Vec<PathBuf> {
    let pure = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let text = fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = text.lines().map(|line| {
        let (name, path) = line.split_once(':').unwrap().1.split_once(':').unwrap();
        let name = match name.strip_prefix("name=").unwrap_or(name) {
            "" if pure => "",
            "" => "unified",
            name => name,
        };
        Path::new("/sys/fs/cgroup").join(name).join(path.strip_prefix('/').unwrap())
    });
    own.collect()
}

/// What a container could change of them.
fn cgroup_values() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for name in [
        "notify_on_release",
        "release_agent",
        "cgroup.clone_children",
        "pids.max",
        "cpu.shares",
        "cpuset.cpus",
    ] {
        for path in own_cgroups().iter().map(|directory| directory.join(name)) {
            if let Ok(value) = fs::read_to_string(&path) {
                found.insert(path, value);
            }
        }
    }
    found
}

/// Writes into every file of every cgroup in sight and makes cgroups; says what could be done. What is
/// written is the value that is there.
const CHANGE_CGROUPS: &str = "for file in $(busybox find /sys/fs/cgroup -name notify_on_release -o -name release_agent \
        -o -name cgroup.procs -o -name cgroup.subtree_control -o -name devices.allow -o -name memory.limit_in_bytes); do \
        (: >> $file) 2> /tmp/error && echo \"writes $file\"; done; \
    for directory in /sys/fs/cgroup /sys/fs/cgroup/*; do \
        mkdir $directory/escaped-ID 2> /tmp/error && echo \"makes $directory\"; done; echo done";

/// Without a cgroup namespace the host's cgroups are in sight.
#[container_test(ways)]
fn cve_2023_25809_readonly_cgroups_cannot_be_written(way: Way) {
    for namespace in [false, true] {
        let (mut test, host) = attack("true");
        test.config["process"]["args"] = json!(["sh", "-c", CHANGE_CGROUPS.replace("ID", &test.id)]);
        for set in ["bounding", "effective", "permitted"] {
            test.config["process"]["capabilities"][set] =
                json!(["CAP_DAC_OVERRIDE", "CAP_CHOWN", "CAP_FOWNER"]);
        }
        if !namespace {
            let namespaces = test.config["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|namespace| namespace["type"] != "cgroup");
        }
        let before = cgroup_values();
        assert_eq!(heard(&test, way), "done\n", "{way:?}, cgroup namespace: {namespace}");
        assert_eq!(cgroup_values(), before);
        assert!(escaped(&test.id).is_empty());
        host.assert_untouched(&test, "readonly cgroups");
    }
}

/// The cgroups that a container has made beside its own; removes them.
fn escaped(id: &str) -> Vec<PathBuf> {
    let name = format!("escaped-{id}");
    let roots = fs::read_dir("/sys/fs/cgroup").unwrap().map(|entry| entry.unwrap().path());
    let places: BTreeSet<_> = roots.chain(["/sys/fs/cgroup".into()]).chain(own_cgroups()).collect();
    let found = places.into_iter().map(|path| path.join(&name)).filter(|path| path.is_dir());
    found.inspect(|path| fs::remove_dir(path).unwrap()).collect()
}

/// A writable `cgroup` mount shows the container's own cgroups, never those of the runtime.
fn writable_cgroups_are_the_containers_own(way: Way, namespace: bool) {
    let (mut test, host) = attack("true");
    test.config["process"]["args"] = json!(["sh", "-c", CHANGE_CGROUPS.replace("ID", &test.id)]);
    for set in ["bounding", "effective", "permitted"] {
        test.config["process"]["capabilities"][set] = json!(["CAP_DAC_OVERRIDE"]);
    }
    let mounts = test.config["mounts"].as_array_mut().unwrap();
    mounts.iter_mut().find(|mount| mount["type"] == "cgroup").unwrap()["options"] =
        json!(["nosuid", "nodev"]);
    if !namespace {
        let namespaces = test.config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "cgroup");
    }
    let before = cgroup_values();
    let seen = heard(&test, way);
    let escaped = escaped(&test.id);
    assert!(escaped.is_empty(), "{way:?}, cgroup namespace {namespace}: {escaped:?}, {seen}");
    assert_eq!(cgroup_values(), before);
    host.assert_untouched(&test, "writable cgroups");
}

#[container_test(ways)]
fn cve_2023_25809_writable_cgroups_are_the_containers_own(way: Way) {
    writable_cgroups_are_the_containers_own(way, true);
}

#[container_test(ways)]
fn cve_2023_25809_without_a_cgroup_namespace_the_runtimes_cgroups_are_readonly(way: Way) {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        skip("cgroup2 has one tree, and without a cgroup namespace a writable mount asks for all of it");
        return;
    }
    writable_cgroups_are_the_containers_own(way, false);
}

/// A container that has no cgroup of its own is in the caller's, which it may look at, even if its root is
/// the host's.
#[container_test]
fn cve_2023_25809_the_callers_cgroups_are_readonly() {
    let is_unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    for (namespace, mapped) in [(false, false), (true, false), (false, true)] {
        if is_unified && !mapped {
            skip("cgroup2 has one tree, and no cgroup of the container's in it that a mount could show");
            continue;
        }
        let (mut test, host) = attack("true");
        test.config["process"]["args"] = json!(["sh", "-c", CHANGE_CGROUPS.replace("ID", &test.id)]);
        for set in ["bounding", "effective", "permitted"] {
            test.config["process"]["capabilities"][set] = json!(["CAP_DAC_OVERRIDE"]);
        }
        let mounts = test.config["mounts"].as_array_mut().unwrap();
        mounts.iter_mut().find(|mount| mount["type"] == "cgroup").unwrap()["options"] =
            json!(["nosuid", "nodev", "rw"]);
        let namespaces = test.config["linux"]["namespaces"].as_array_mut().unwrap();
        if !namespace {
            namespaces.retain(|namespace| namespace["type"] != "cgroup");
        }
        if mapped {
            namespaces.push(json!({ "type": "user" }));
            let maps = json!([{ "containerID": 0, "hostID": 0, "size": 65536 }]);
            test.config["linux"]["uidMappings"] = maps.clone();
            test.config["linux"]["gidMappings"] = maps;
        }
        test.config["linux"]["resources"] = Value::Null;
        let before = cgroup_values();
        let bundle = test.write().path();
        let words = ["--cgroup-manager", "disabled", "run", "--bundle", bundle.to_str().unwrap(), &test.id];
        let output = corten(&test, &words).output().unwrap();
        let case = format!("cgroup namespace: {namespace}, user namespace: {mapped}");
        assert!(output.status.success(), "{case}: {output:?}");
        let seen = String::from_utf8_lossy(&output.stdout);
        // The directory of the hierarchies is a tmpfs of the container's own.
        let own = |line: &&str| !is_unified && *line == "makes /sys/fs/cgroup" || *line == "done";
        let changed = seen.lines().filter(|line| !own(line)).count();
        assert_eq!((changed, seen.ends_with("done\n")), (0, true), "{case}: {seen}");
        assert_eq!(cgroup_values(), before);
        assert!(escaped(&test.id).is_empty());
        host.assert_untouched(&test, "the caller's cgroups");
    }
}
