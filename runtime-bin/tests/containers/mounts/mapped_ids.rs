//! Mounts whose ids are mapped.

use super::*;

/// Makes files in a mapped mount and looks at those that are there.
const OWNERS: &str =
    "cd /m; stat -c '%n %u %g' *; touch made; mkdir made-dir; stat -c '%n %u %g' made made-dir";

/// A directory with a file of root's and one of 7:8, owned by root.
fn owned_source(test: &TestBundle) -> std::path::PathBuf {
    let source = test.beside("src");
    fs::create_dir(&source).unwrap();
    for (name, uid, gid) in [("root", 0, 0), ("seven", 7, 8)] {
        fs::write(source.join(name), "").unwrap();
        chown(source.join(name), Some(uid), Some(gid)).unwrap();
    }
    source
}

#[container_test]
fn mapped_ids_of_a_mount() {
    let maps = |host: u32| json!([{ "containerID": 0, "hostID": host, "size": 1000 }]);
    let own = json!({ "uidMappings": maps(0), "gidMappings": maps(0) });
    let shifted = json!({ "uidMappings": maps(2000), "gidMappings": maps(3000) });
    let none = json!({});
    // Whether the container has a user namespace, the maps, the options, and the owners of: root, seven,
    // made.
    let cases = [
        (false, &own, "bind idmap", "0 0", "7 8"),
        (false, &shifted, "bind idmap", "2000 3000", "2007 3008"),
        // The spec wants the option; the maps alone are enough, as with runc.
        (false, &shifted, "bind", "2000 3000", "2007 3008"),
        (false, &none, "bind idmap=uids=0-2000-1000;gids=0-3000-1000", "2000 3000", "2007 3008"),
        (false, &none, "bind idmap=uids=7-2007-1#0-2000-1;gids=8-3008-1#0-3000-1", "2000 3000", "2007 3008"),
        // The options' own maps before the mount's.
        (false, &own, "bind idmap=uids=0-2000-1000;gids=0-3000-1000", "2000 3000", "2007 3008"),
        (true, &none, "bind idmap", "0 0", "7 8"),
        (true, &none, "rbind ridmap", "0 0", "7 8"),
        (true, &none, "bind idmap=uids=0-100000-10;gids=0-100000-20", "0 0", "7 8"),
        // crun: relative to the container's own ids.
        (true, &none, "bind idmap=uids=@0-0-10;gids=@0-0-20", "0 0", "7 8"),
        (true, &none, "bind idmap=uids=@0-20-10;gids=0-100030-1#@1-31-10", "20 30", "27 38"),
        (true, &none, "bind", "65534 65534", "65534 65534"),
    ];
    for filesystem in ["ext4", "tmpfs"] {
        for (namespace, maps, options, root, seven) in cases {
            let what = format!("{filesystem}: {options}, {maps}, user namespace: {namespace}");
            let mut test = script(OWNERS);
            let source = owned_source(&test);
            if filesystem == "ext4"
                && nix::sys::statfs::statfs(&source).unwrap().filesystem_type()
                    != nix::sys::statfs::EXT4_SUPER_MAGIC
            {
                skip("no ext4 for mapped ids where temporary files are");
                continue;
            }
            let mut mapped = json!({ "destination": "/m", "source": source, "options": words(options) });
            for (key, value) in maps.as_object().unwrap() {
                mapped[key] = value.clone();
            }
            mount(&mut test, mapped);
            if namespace {
                test.map_ids();
            }
            // Who is not root in the mount cannot make files there as root; as its root, one can.
            let (uid, gid) = root.split_once(' ').unwrap();
            let is_mapped = uid != "65534";
            if is_mapped {
                test.config["process"]["user"] =
                    json!({ "uid": uid.parse::<u32>().unwrap(), "gid": gid.parse::<u32>().unwrap() });
            }
            let host = if filesystem == "tmpfs" {
                "cp -a src copy; mount -t tmpfs -o mode=755 tmpfs src; cp -a copy/. src"
            } else {
                ":"
            };
            let output = if filesystem == "tmpfs" {
                // What was made is looked at where it is: the script of the host goes on after the container.
                let after = "\"$@\"; shift $#; set -- stat -c '%n %u %g' src/made src/made-dir; ";
                run_after(
                    &test,
                    &format!("{host}; root=$PWD; shift; cd /; {after} cd $root; set -- x \"$@\""),
                )
            } else {
                run_after(&test, host)
            };
            if !is_mapped {
                let seen = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(seen.starts_with(&format!("root {root}\nseven {seven}\n")), "{what}: {seen}");
                assert!(!seen.contains("made"), "{what}: {seen}");
                continue;
            }
            let mut expected = format!("root {root}\nseven {seven}\nmade {root}\nmade-dir {root}");
            if filesystem == "tmpfs" {
                expected.push_str("\nsrc/made 0 0\nsrc/made-dir 0 0");
            } else {
                assert_eq!(owner(&source.join("made")), (0, 0), "{what}");
                assert_eq!(owner(&source.join("made-dir")), (0, 0), "{what}");
            }
            assert_eq!(answer(&output), expected, "{what}");
            test.assert_nothing_left(&what);
        }
    }
}

#[container_test]
fn mapped_ids_of_a_tree() {
    let host = "mount -t tmpfs tmpfs src; mkdir src/a; mount -t tmpfs tmpfs src/a; touch src/top src/a/below";
    for (options, below) in [
        ("rbind idmap", "0"),
        ("rbind ridmap", "500"),
        ("rbind rro ridmap=uids=0-500-10;gids=0-500-10", "500"),
    ] {
        let mut test = script("stat -c %u /m/top /m/a/below");
        fs::create_dir(test.beside("src")).unwrap();
        let mut mapped =
            json!({ "destination": "/m", "source": test.beside("src"), "options": words(options) });
        if !options.contains('=') {
            let maps = json!([{ "containerID": 0, "hostID": 500, "size": 10 }]);
            mapped["uidMappings"] = maps.clone();
            mapped["gidMappings"] = maps;
        }
        mount(&mut test, mapped);
        assert_eq!(answer(&run_after(&test, host)), format!("500\n{below}"), "{options}");
    }
}

#[container_test]
fn maps_that_cannot_be() {
    let map = json!([{ "containerID": 0, "hostID": 500, "size": 10 }]);
    let cases = [
        (json!({ "source": "/sys/kernel", "uidMappings": map, "gidMappings": map }), "cannot map ids"),
        (json!({ "source": "/proc/sys", "uidMappings": map, "gidMappings": map }), "cannot map ids"),
        (json!({ "source": ".", "uidMappings": map }), "uid and gid mappings"),
        (json!({ "source": ".", "gidMappings": map, "options": ["bind", "idmap"] }), "uid and gid mappings"),
        (json!({ "source": ".", "options": ["bind", "idmap"] }), "uid and gid mappings"),
        (json!({ "source": ".", "options": ["bind", "idmap="] }), "idmap=uids="),
        (json!({ "source": ".", "options": ["bind", "idmap=uids=0-1-1"] }), "idmap=uids="),
        (json!({ "source": ".", "options": ["bind", "idmap=uids=0-1-1;gids=0-1"] }), "idmap=uids="),
        (json!({ "source": ".", "options": ["bind", "idmap=uids=0-1-1;gids=0-1-x"] }), "idmap=uids="),
        (
            json!({ "source": ".", "options": ["bind", "idmap=uids=0-1-1;gids=0-4294967296-1"] }),
            "idmap=uids=",
        ),
        (json!({ "source": ".", "options": ["bind", "idmap=uids=@0-1-1;gids=0-1-1"] }), "relative mapping"),
        (json!({ "type": "tmpfs", "options": [], "uidMappings": map, "gidMappings": map }), "bind"),
        (json!({ "type": "tmpfs", "options": ["idmap"], "uidMappings": map, "gidMappings": map }), "bind"),
        (json!({ "type": "tmpfs", "options": ["ridmap=uids=0-1-1;gids=0-1-1"] }), "bind"),
    ];
    for (mut given, expected) in cases {
        let mut test = script("true");
        given["destination"] = "/m".into();
        if given["options"].is_null() {
            given["options"] = json!(["bind"]);
        }
        let what = given.to_string();
        mount(&mut test, given);
        let output = run(&test);
        assert!(!output.status.success(), "{what}: was made");
        let error = refused(&test, &output);
        assert!(error.contains(&last(&test)) && error.contains(expected), "{what}: {error}");
    }
    // A relative range that begins within the container's ids and ends beyond: those are the host's own.
    let mut test = script("true");
    test.map_ids();
    mount(
        &mut test,
        json!({ "destination": "/m", "source": ".", "options": ["bind", "idmap=uids=@0-65530-7;gids=@0-0-1"] }),
    );
    let error = refused(&test, &run(&test));
    assert!(error.contains(&last(&test)) && error.contains("relative mapping"), "{error}");
}
