//! Flags that the kernel has locked.

use super::*;

/// A runtime in a user namespace: what it was given with less it cannot give more.
#[container_test]
fn locked_flags() {
    let all = "ro nosuid nodev noexec noatime";
    let cases = [
        ("", Some(all)),
        ("ro", Some(all)),
        ("noexec nosuid", Some(all)),
        ("nosymfollow", Some("ro nosuid nodev noexec noatime nosymfollow")),
        ("noatime", Some(all)),
        ("rro rnoexec", Some(all)),
        ("private", Some(all)),
        ("rw", None),
        ("exec", None),
        ("suid", None),
        ("dev", None),
        ("strictatime", None),
        ("atime", None),
        ("ro exec", None),
        ("rrw", None),
        ("rexec", None),
    ];
    for (given, expected) in cases {
        let mut test = script(TABLE);
        fs::create_dir(test.beside("src")).unwrap();
        let config = &mut test.config;
        // One id is mapped, and nothing of the host's is for it.
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| ["/proc", "/dev"].contains(&mount["destination"].as_str().unwrap()));
        config["process"]["user"] = json!({ "uid": 0, "gid": 0 });
        let source = test.beside("src");
        bind(&mut test, &source, "/m", &words(given));
        let host = "mount -t tmpfs tmpfs src; mount -o remount,bind,ro,nosuid,nodev,noexec,noatime src; \
            d=$1; shift; set -- $d unshare --user --map-root-user --mount --propagation unchanged \"$@\"";
        let output = run_after(&test, host);
        match expected {
            Some(expected) => {
                assert_eq!(at(&self::mounts(&answer(&output)), "/m").options, set(expected), "{given:?}")
            }
            None => {
                assert!(!output.status.success(), "{given:?} was given back");
                let error = refused(&test, &output);
                assert!(
                    error.contains(&last(&test)) && error.contains("not permitted"),
                    "{given:?}: {error}"
                );
            }
        }
    }
}

/// A container in a user namespace that root makes: what the host's mount has is kept as if the kernel had
/// locked it (runc).
#[container_test]
fn locked_flags_in_a_user_namespace() {
    let all = "ro nosuid nodev noexec noatime";
    let writable = "mount -o remount,bind,rw,nosuid,nodev,noexec,atime,relatime src; ";
    // What a host's filesystem has is none of the mount's.
    let frozen = "mount -o remount,ro src; mount -o remount,bind,rw,suid,dev,exec,atime,relatime src; ";
    let below = "mkdir src/d; mount -t tmpfs -o noexec tmpfs src/d; ";
    let cases = [
        ("", "rbind rprivate", Ok(all)),
        ("", "rbind nosuid", Ok(all)),
        ("", "bind ro", Ok(all)),
        ("", "rbind noatime", Ok(all)),
        ("", "rbind nosymfollow", Ok("ro nosuid nodev noexec noatime nosymfollow")),
        (writable, "rbind rprivate rw", Ok("rw nosuid nodev noexec relatime")),
        (writable, "rbind rprivate ro rro", Ok("ro nosuid nodev noexec relatime")),
        (frozen, "rbind rw", Ok("rw relatime")),
        ("", "rbind rw", Err("clear locked flags ro")),
        ("", "bind exec suid", Err("clear locked flags nosuid,noexec")),
        ("", "rbind dev", Err("clear locked flags nodev")),
        ("", "rbind strictatime", Err("change locked atime flags noatime")),
        ("", "rbind atime", Err("change locked atime flags noatime")),
        ("", "rbind nodiratime", Err("add nodiratime to locked atime flags noatime")),
        ("", "rbind rrw", Err("clear locked flags ro")),
        (
            "mount -o remount,bind,rw,suid,dev,exec,atime,relatime src; ",
            "rbind exec rw suid dev",
            Ok("rw relatime"),
        ),
    ];
    for (before, given, expected) in cases {
        let mut test = script(TABLE);
        test.map_ids();
        fs::create_dir(test.beside("src")).unwrap();
        let source = test.beside("src");
        bind(&mut test, &source, "/m", &words(given));
        let host = format!(
            "mount -t tmpfs tmpfs src; mount -o remount,bind,ro,nosuid,nodev,noexec,noatime src; {before}"
        );
        let output = run_after(&test, &host);
        match expected {
            Ok(kept) => {
                assert_eq!(at(&mounts(&answer(&output)), "/m").options, set(kept), "{before}{given:?}")
            }
            Err(words) => {
                let error = refused(&test, &output);
                assert!(
                    error.contains(&last(&test)) && error.contains("not permitted"),
                    "{given:?}: {error}"
                );
                assert!(error.contains(&format!("cannot {words}")), "{given:?}: {error}");
            }
        }
    }

    // Mounts below, and what mounts the same again.
    let again = |options: &[&str]| {
        let options = [&["bind", "remount"], options].concat();
        json!({ "destination": "/m", "source": "none", "options": options })
    };
    let cases = [
        (below, "rbind rexec", None, Err("cannot clear locked flags noexec of the mount on")),
        (below, "rbind rrw", None, Ok("rw relatime")),
        (below, "bind rexec", None, Ok("rw relatime")),
        ("mount -o remount,bind,ro,noexec src; ", "bind", Some(["nosuid"]), Ok("ro nosuid noexec relatime")),
        ("mount -o remount,bind,ro,noexec src; ", "bind", Some(["rw"]), Err("cannot clear locked flags ro")),
    ];
    for (before, given, then, expected) in cases {
        let mut test = script(TABLE);
        test.map_ids();
        let source = test.beside("src");
        fs::create_dir(&source).unwrap();
        bind(&mut test, &source, "/m", &words(given));
        if let Some(options) = then {
            mount(&mut test, again(&options));
        }
        let output = run_after(&test, &format!("mount -t tmpfs tmpfs src; {before}"));
        match expected {
            Ok(kept) => {
                assert_eq!(at(&mounts(&answer(&output)), "/m").options, set(kept), "{before}{given:?}")
            }
            Err(words) => assert!(refused(&test, &output).contains(words), "{given:?}"),
        }
    }

    // What is new in the container has what is asked for.
    let mut test = script(TABLE);
    test.map_ids();
    tmpfs(&mut test, "/m", &["noexec"]);
    mount(&mut test, again(&["nosuid"]));
    assert_eq!(at(&mounts(&answer(&run(&test))), "/m").options, set("rw nosuid relatime"));
}
