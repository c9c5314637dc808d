//! Words of mount options, one by one.

use proptest::prelude::*;

use super::*;

const MOUNT: Option<&str> = Some("tmpfs");

fn parse_words(mount_type: Option<&str>, words: &str) -> Result<MountOptions, MountOptionError> {
    let options: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    parse(7, mount_type, &options)
}

fn ok(mount_type: Option<&str>, words: &str) -> MountOptions {
    parse_words(mount_type, words).expect("options that parse")
}

#[test]
fn the_table_is_sorted_and_complete() {
    assert!(MOUNT_OPTIONS.is_sorted_by(|a, b| a < b));
    // The 60 that runc 1.5 lists, idmap and ridmap, and eight of crun's.
    assert_eq!(MOUNT_OPTIONS.len(), 70);
}

#[test]
fn attributes() {
    const ATIME: u64 = MOUNT_ATTR__ATIME;
    let cases: &[(&str, u64, u64)] = &[
        ("", 0, 0),
        ("defaults", 0, 0),
        ("nosuid", MOUNT_ATTR_NOSUID, 0),
        ("nosuid suid", 0, MOUNT_ATTR_NOSUID),
        ("suid nosuid", MOUNT_ATTR_NOSUID, 0),
        ("nosuid nodev noexec", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, 0),
        ("dev exec symfollow", 0, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSYMFOLLOW),
        ("nosymfollow", MOUNT_ATTR_NOSYMFOLLOW, 0),
        ("ro", MOUNT_ATTR_RDONLY, 0),
        ("ro rw", 0, MOUNT_ATTR_RDONLY),
        ("noatime", MOUNT_ATTR_NOATIME, ATIME),
        ("noatime strictatime", MOUNT_ATTR_STRICTATIME, ATIME),
        ("noatime relatime", 0, ATIME),
        ("noatime atime", 0, ATIME),
        ("strictatime atime", MOUNT_ATTR_STRICTATIME, ATIME),
        ("strictatime nostrictatime", 0, ATIME),
        ("noatime nostrictatime", MOUNT_ATTR_NOATIME, ATIME),
        ("norelatime", 0, 0),
        ("nodiratime", MOUNT_ATTR_NODIRATIME, 0),
        ("noatime nodiratime diratime", MOUNT_ATTR_NOATIME, ATIME | MOUNT_ATTR_NODIRATIME),
    ];
    for (words, set, clear) in cases {
        let options = ok(MOUNT, words);
        assert_eq!((options.set, options.clear), (*set, *clear), "{words}");
        assert_eq!((options.recursive_set, options.recursive_clear), (0, 0), "{words}");
        // Every attribute has a recursive twin that means the same for the tree.
        let twins: Vec<String> = words.split(' ').map(|word| format!("r{word}")).collect();
        if twins.iter().all(|twin| MOUNT_OPTIONS.contains(&twin.as_str())) {
            let options = ok(MOUNT, &twins.join(" "));
            assert_eq!((options.recursive_set, options.recursive_clear), (*set, *clear), "{twins:?}");
            assert_eq!((options.set, options.clear), (0, 0), "{twins:?}");
            assert!(options.superblock.is_empty(), "{twins:?}");
        }
    }
}

#[test]
fn superblock_words() {
    let cases: &[(&str, &[&str])] = &[
        ("", &[]),
        ("sync ro dirsync", &["dirsync", "ro", "sync"]),
        ("sync sync async", &[]),
        ("async sync", &["sync"]),
        ("ro rw", &[]),
        ("rw ro", &["ro"]),
        ("rro", &[]),
        ("lazytime mand nolazytime", &["mand"]),
        ("silent loud iversion noiversion", &[]),
    ];
    for (words, expected) in cases {
        assert_eq!(ok(MOUNT, words).superblock, *expected, "{words}");
        assert!(ok(Some("bind"), words).superblock.is_empty(), "{words} on a bind mount");
        assert!(ok(None, &format!("{words} rbind")).superblock.is_empty(), "{words} on a bind mount");
    }
}

#[test]
fn bind_and_remount() {
    let cases: &[(Option<&str>, &str, Option<bool>)] = &[
        (MOUNT, "", None),
        (None, "bind", Some(false)),
        (None, "rbind", Some(true)),
        (Some("bind"), "", Some(false)),
        (Some("bind"), "rbind", Some(true)),
        (Some("none"), "rbind bind", Some(true)),
    ];
    for (mount_type, words, recursive) in cases {
        let bind = ok(*mount_type, words).bind;
        assert_eq!(bind.map(|bind| bind.recursive), *recursive, "{mount_type:?} {words}");
    }
    assert!(ok(MOUNT, "remount").remount);
    assert_eq!(ok(None, "bind ro").set, MOUNT_ATTR_RDONLY);
}

#[test]
fn attributes_that_no_option_names() {
    const ALL: u64 =
        MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSYMFOLLOW;
    let cases: &[(Option<&str>, &str, u64)] = &[
        (None, "bind", 0),
        (None, "rbind rprivate", 0),
        (None, "rbind rro", 0),
        (None, "bind ro", ALL & !MOUNT_ATTR_RDONLY),
        (None, "bind rw", ALL & !MOUNT_ATTR_RDONLY),
        (None, "bind noatime", ALL),
        (None, "bind ro nosuid nodev noexec nosymfollow", 0),
        (MOUNT, "ro", 0),
    ];
    for (mount_type, words, unnamed) in cases {
        assert_eq!(ok(*mount_type, words).unnamed(), *unnamed, "{words}");
    }
}

#[test]
fn id_maps() {
    let map = |words: &str| ok(None, words).id_map.expect("a map");
    assert_eq!(map("bind idmap"), IdMap { recursive: false, maps: None });
    assert_eq!(map("bind ridmap"), IdMap { recursive: true, maps: None });
    let range = |container, host, size, relative| Range { container, host, size, relative };
    let maps = Some((vec![range(0, 1, 10, false), range(10, 11, 5, true)], vec![range(0, 3, 10, false)]));
    assert_eq!(map("bind ridmap=uids=0-1-10#@10-11-5;gids=0-3-10"), IdMap { recursive: true, maps });
}

#[test]
fn propagation_keeps_its_order() {
    let options = ok(None, "rbind rslave shared runbindable private");
    let expected = [(MS_SLAVE, true), (MS_SHARED, false), (MS_UNBINDABLE, true), (MS_PRIVATE, false)];
    let found: Vec<(u64, bool)> = options.propagation.iter().map(|p| (p.flag, p.recursive)).collect();
    assert_eq!(found, expected);
}

#[test]
fn data() {
    type Data = &'static [(&'static str, Option<&'static str>)];
    let cases: &[(&str, Data)] = &[
        ("mode=755 size=65536k", &[("mode", Some("755")), ("size", Some("65536k"))]),
        ("newinstance", &[("newinstance", None)]),
        ("key= a=b=c", &[("key", Some("")), ("a", Some("b=c"))]),
        ("size=1m,mode=700,,huge", &[("size", Some("1m")), ("mode", Some("700")), ("huge", None)]),
        (r#"context="u:r:t:s0:c1,c2",x"#, &[("context", Some("u:r:t:s0:c1,c2")), ("x", None)]),
        (r#"name="a,b""#, &[("name", Some(r#""a,b""#))]),
        (r"lowerdir=/a\,b:/c,volatile", &[("lowerdir", Some(r"/a\,b:/c")), ("volatile", None)]),
        (r"upperdir=/a\\,x", &[("upperdir", Some(r"/a\\")), ("x", None)]),
        ("RO", &[("RO", None)]),
    ];
    for (words, expected) in cases {
        let options = ok(MOUNT, words);
        let found: Vec<(&str, Option<&str>)> =
            options.data.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        assert_eq!(found, *expected, "{words}");
    }
    assert_eq!(parse(0, MOUNT, &[String::new()]), Ok(MountOptions::default()));
}

#[test]
fn errors_name_the_option() {
    let bind = ok(None, "bind mode=755 size=1k");
    assert_eq!(
        (bind.without_effect, bind.data),
        (vec!["mode=755".to_owned(), "size=1k".to_owned()], Vec::new())
    );
    let cases = [
        (MOUNT, "src-nofollow", "mounts[7].options: src-nofollow is for bind mounts only"),
        (MOUNT, "dest-nofollow", "mounts[7].options: dest-nofollow is for bind mounts only"),
        (MOUNT, "copy-symlink", "mounts[7].options: copy-symlink is for bind mounts only"),
        (
            None,
            "bind copy-symlink dest-nofollow",
            "mounts[7].options: copy-symlink is mutually exclusive with src-nofollow and dest-nofollow",
        ),
        (None, "bind tmpcopyup", "mounts[7].options: tmpcopyup can be used only with tmpfs"),
        (Some("proc"), "tmpcopyup", "mounts[7].options: tmpcopyup can be used only with tmpfs"),
        (
            None,
            "bind idmap=uids=1-2",
            "mounts[7].options: \"idmap=uids=1-2\" is not of the form \
             idmap=uids=[@]CONTAINER-HOST-SIZE[#…];gids=[@]CONTAINER-HOST-SIZE[#…]",
        ),
    ];
    for (mount_type, words, expected) in cases {
        let error = parse_words(mount_type, words).expect_err(words);
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert_eq!(error.to_string(), expected);
    }
}

proptest! {
    /// What `mount_setattr(2)` demands of its arguments holds for any list of options.
    #[test]
    fn attributes_are_always_valid_for_the_kernel(
        words in proptest::collection::vec(proptest::sample::select(MOUNT_OPTIONS), 0..20)
    ) {
        // Refused without a type, alone or together; they have no attributes.
        const BY_TYPE: [&str; 4] = ["copy-symlink", "dest-nofollow", "src-nofollow", "tmpcopyup"];
        let options: Vec<String> =
            words.into_iter().filter(|word| !BY_TYPE.contains(word)).map(str::to_owned).collect();
        let parsed = parse(0, None, &options).expect("no data, nothing that only some types take");
        for (set, clear) in [(parsed.set, parsed.clear), (parsed.recursive_set, parsed.recursive_clear)] {
            prop_assert_eq!(set & clear & !MOUNT_ATTR__ATIME, 0);
            prop_assert!(clear & MOUNT_ATTR__ATIME == 0 || clear & MOUNT_ATTR__ATIME == MOUNT_ATTR__ATIME);
            prop_assert!(set & MOUNT_ATTR__ATIME == 0 || clear & MOUNT_ATTR__ATIME == MOUNT_ATTR__ATIME);
            prop_assert!([0, MOUNT_ATTR_NOATIME, MOUNT_ATTR_STRICTATIME].contains(&(set & MOUNT_ATTR__ATIME)));
        }
    }

    /// No text makes the parser fail or panic, and it invents no data.
    #[test]
    fn any_text_parses_for_a_filesystem(options in proptest::collection::vec(".*", 0..6)) {
        let parsed = parse(0, Some("tmpfs"), &options);
        if let Ok(parsed) = parsed {
            let given: usize = options.iter().map(String::len).sum();
            let kept: usize = parsed.data.iter().map(|(k, v)| k.len() + v.as_ref().map_or(0, String::len)).sum();
            prop_assert!(kept <= given);
        }
    }
}
