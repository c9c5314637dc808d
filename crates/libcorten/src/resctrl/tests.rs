//! Groups in a directory that stands in for the resctrl filesystem.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::chain;

thread_local! {
    static STAND_IN: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
}

/// What stands in for the mounted filesystem in this thread.
pub(super) fn stand_in() -> Option<PathBuf> {
    STAND_IN.with_borrow(Option::clone)
}

/// Does something with a directory in the place of the mounted filesystem.
pub(crate) fn standing_in<T>(root: &Path, act: impl FnOnce() -> T) -> T {
    STAND_IN.set(Some(root.to_owned()));
    let done = act();
    STAND_IN.set(None);
    done
}

/// A stand-in for a mounted resctrl filesystem.
struct Fake {
    directory: TempDir,
    resctrl: Resctrl,
}

impl Fake {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        fs::create_dir(directory.path().join("info")).unwrap();
        fs::write(directory.path().join("info/last_cmd_status"), "ok\n").unwrap();
        let resctrl = Resctrl::at(directory.path()).unwrap();
        let fake = Self { directory, resctrl };
        fake.put("schemata", "    MB:0=100\n    L3:0=fffff\n");
        fake
    }

    fn put(&self, file: &str, text: &str) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn path(&self, file: &str) -> PathBuf {
        // As the records have it.
        fs::canonicalize(self.directory.path()).unwrap().join(file)
    }

    fn get(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.path(file)).ok()
    }

    fn prepare(&self, rdt: serde_json::Value) -> Result<Group, ResctrlError> {
        self.resctrl.prepare("c1", &config(rdt))
    }
}

fn config(rdt: serde_json::Value) -> LinuxIntelRdt {
    serde_json::from_value(rdt).unwrap()
}

#[test]
fn without_a_clos_id_the_group_is_the_containers_own() {
    let fake = Fake::new();
    let group = fake.prepare(json!({"schemata": ["L3:0=f", "MB:0=20"], "enableMonitoring": true})).unwrap();
    assert_eq!(fake.get("c1/schemata").unwrap(), "L3:0=f\nMB:0=20\n");
    assert_eq!(fake.get("c1/tasks"), None);
    group.add(Pid::from_raw(42)).unwrap();
    assert_eq!(fake.get("c1/tasks").unwrap(), "42");
    assert_eq!(fake.get("c1/mon_groups/c1/tasks").unwrap(), "42");

    let record = group.record().clone();
    let expected = GroupRecord {
        group: Some(fake.path("c1")),
        monitoring: Some(fake.path("c1/mon_groups/c1")),
        schemata: Some(fake.path("c1/schemata")),
    };
    assert_eq!(record, expected);
    let json = serde_json::to_value(&record).unwrap();
    let schemata = fake.path("c1/schemata");
    assert_eq!(json, json!({"group": record.group, "monitoring": record.monitoring, "schemata": schemata}));
    assert_eq!(serde_json::from_value::<GroupRecord>(json).unwrap(), record);
    remove(&record).unwrap();
    assert!(!fake.path("c1").exists());
    // Once more: all is gone.
    super::remove(group.record()).unwrap();
}

#[test]
fn without_schemata_nothing_is_written_to_schemata() {
    let fake = Fake::new();
    let group = fake.prepare(json!({})).unwrap();
    assert!(fake.path("c1").is_dir());
    assert_eq!(fake.get("c1/schemata"), None);
    super::remove(group.record()).unwrap();
    assert!(!fake.path("c1").exists());
    assert_eq!(serde_json::to_value(GroupRecord::default()).unwrap(), json!({}));
}

#[test]
fn schemata_are_written_in_the_specs_order() {
    let fake = Fake::new();
    let rdt =
        json!({"schemata": ["L3:0=1", "", "L2:0=3"], "memBwSchema": "MB:0=50", "l3CacheSchema": "L3:0=ff"});
    fake.prepare(rdt).unwrap();
    assert_eq!(fake.get("c1/schemata").unwrap(), "L3:0=ff\nMB:0=50\nL3:0=1\nL2:0=3\n");
}

#[test]
fn a_group_with_an_id_of_its_own_is_made_and_stays() {
    let fake = Fake::new();
    let group = fake.prepare(json!({"closID": "gold", "l3CacheSchema": "L3:0=ff"})).unwrap();
    group.add(Pid::from_raw(7)).unwrap();
    assert_eq!((&group.record().group, &group.record().monitoring), (&None, &None));
    super::remove(group.record()).unwrap();
    assert_eq!(fake.get("gold/schemata").unwrap(), "L3:0=ff\n");
    // The next one finds it, as it is what it wants; its monitoring group alone goes with it.
    let rdt = json!({"closID": "gold", "l3CacheSchema": "L3:0=0ff", "enableMonitoring": true});
    let next = fake.resctrl.prepare("c2", &config(rdt)).unwrap();
    let monitoring = fake.path("gold/mon_groups/c2");
    assert_eq!(
        next.record(),
        &GroupRecord {
            group: None,
            monitoring: Some(monitoring.clone()),
            schemata: Some(fake.path("gold/schemata"))
        }
    );
    next.add(Pid::from_raw(8)).unwrap();
    super::remove(next.record()).unwrap();
    assert!(!monitoring.exists());
    assert_eq!(fake.get("gold/schemata").unwrap(), "L3:0=ff\n");
}

#[test]
fn a_group_that_exists_must_have_the_schemata() {
    let fake = Fake::new();
    fake.put("gold/schemata", "    MB:0= 30\n    L3:0=000ff\n");
    fake.put("info/MB/bandwidth_gran", "10\n");
    fake.prepare(json!({"closID": "gold", "schemata": ["L3:0=ff", "MB:0=25"]})).unwrap();
    let error = fake.prepare(json!({"closID": "gold", "memBwSchema": "MB:0=40"})).unwrap_err();
    let expected = format!(
        "linux.intelRdt.memBwSchema: \"MB:0=40\" does not match the existing {:?}, which has {:?}",
        fake.path("gold/schemata"),
        "    MB:0= 30\n    L3:0=000ff\n"
    );
    assert_eq!(chain(&error), expected);
    assert_eq!(error.errno(), None);
    assert_eq!(fake.get("gold/schemata").unwrap(), "    MB:0= 30\n    L3:0=000ff\n");
}

#[test]
fn a_group_without_schemata_must_exist() {
    let fake = Fake::new();
    let error = fake.prepare(json!({"closID": "gold"})).unwrap_err();
    let expected = format!(
        "linux.intelRdt.closID: {:?} does not exist, and without schemata it is not made",
        fake.path("gold")
    );
    assert_eq!(chain(&error), expected);
    fs::create_dir(fake.path("gold")).unwrap();
    let group = fake.prepare(json!({"closID": "gold"})).unwrap();
    super::remove(group.record()).unwrap();
    assert!(fake.path("gold").is_dir());
}

#[test]
fn a_slash_is_the_root_group() {
    let fake = Fake::new();
    let rdt = json!({"closID": "/", "schemata": ["L3:0=fffff"], "enableMonitoring": true});
    let group = fake.prepare(rdt).unwrap();
    group.add(Pid::from_raw(9)).unwrap();
    assert_eq!(fake.get("tasks").unwrap(), "9");
    assert_eq!(
        group.record(),
        &GroupRecord {
            group: None,
            monitoring: Some(fake.path("mon_groups/c1")),
            schemata: Some(fake.path("schemata"))
        }
    );
    super::remove(group.record()).unwrap();
    assert!(fake.path("schemata").exists() && !fake.path("mon_groups/c1").exists());
    let error = fake.prepare(json!({"closID": "/", "schemata": ["L3:0=1"]})).unwrap_err();
    assert!(matches!(error, ResctrlError::Mismatch { item: "linux.intelRdt.schemata", .. }), "{error:?}");
}

#[test]
fn a_directory_like_the_container_that_was_there_is_used_and_stays() {
    let fake = Fake::new();
    fs::create_dir(fake.path("c1")).unwrap();
    let group = fake.prepare(json!({"schemata": ["L3:0=f"]})).unwrap();
    assert_eq!(fake.get("c1/schemata").unwrap(), "L3:0=f\n");
    assert_eq!((&group.record().group, &group.record().monitoring), (&None, &None));
}

#[test]
fn a_monitoring_group_is_taken_over_only_when_empty() {
    let fake = Fake::new();
    fake.put("gold/mon_groups/c1/tasks", "\n");
    let rdt = json!({"closID": "gold", "enableMonitoring": true});
    let group = fake.prepare(rdt.clone()).unwrap();
    assert!(group.record().monitoring.is_some());
    fake.put("gold/mon_groups/c1/tasks", "77\n");
    let error = fake.prepare(rdt).unwrap_err();
    let expected = format!(
        "linux.intelRdt.enableMonitoring: mkdirat({:?}): file exists",
        fake.path("gold/mon_groups/c1")
    );
    assert_eq!(chain(&error), expected);
    assert!(fake.path("gold/mon_groups/c1/tasks").exists());
}

/// Not even the group with an id of its own, which would stay otherwise: it was made a moment ago, and nobody
/// is in it.
#[test]
fn a_failure_leaves_nothing() {
    let fake = Fake::new();
    let rdt = config(json!({"closID": "gold", "schemata": ["L3:0=1"], "enableMonitoring": true}));
    // The group and its schemata can be made; the monitoring group's name is too long.
    let error = fake.resctrl.prepare(&"x".repeat(300), &rdt).unwrap_err();
    assert!(matches!(error, ResctrlError::Call { item: ITEM_MONITORING, .. }), "{error:?}");
    assert_eq!(error.errno(), Some(Errno::ENAMETOOLONG));
    assert!(!fake.path("gold").exists());
    // One that was there before stays.
    fake.put("gold/schemata", "L3:0=1\n");
    fake.resctrl.prepare(&"x".repeat(300), &rdt).unwrap_err();
    assert_eq!(fake.get("gold/schemata").unwrap(), "L3:0=1\n");
}

#[test]
fn what_cannot_be_removed_is_told() {
    let fake = Fake::new();
    // A file that no group has keeps the directory.
    let rdt = json!({"enableMonitoring": true});
    let group = fake.prepare(rdt).unwrap();
    fake.put("c1/mon_groups/c1/other", "");
    fake.put("c1/other", "");
    let errors = super::remove(group.record()).unwrap_err();
    let errnos: Vec<_> = errors.iter().map(|error| error.errno().unwrap()).collect();
    assert_eq!(errnos, [Errno::ENOTEMPTY, Errno::ENOTEMPTY]);
    assert!(chain(&errors[0]).starts_with("linux.intelRdt.enableMonitoring: unlinkat("), "{errors:?}");
}

#[test]
fn the_kernels_words_are_told() {
    let fake = Fake::new();
    fake.put("info/last_cmd_status", "Invalid name\nTry another\n");
    let id = "x".repeat(300);
    let error = fake.prepare(json!({"closID": id, "schemata": ["L3:0=1"]})).unwrap_err();
    let expected = format!(
        "linux.intelRdt.closID (resctrl says: Invalid name; Try another): mkdirat({:?}): file name too long",
        fake.path(&id)
    );
    assert_eq!(chain(&error), expected);
    assert_eq!(error.errno(), Some(Errno::ENAMETOOLONG));
}

#[test]
fn no_symbolic_link_is_followed() {
    let fake = Fake::new();
    let elsewhere = TempDir::new().unwrap();
    fs::write(elsewhere.path().join("tasks"), "").unwrap();
    symlink(elsewhere.path(), fake.path("gold")).unwrap();
    let error = fake.prepare(json!({"closID": "gold"})).unwrap_err();
    assert!(matches!(error.errno(), Some(Errno::ELOOP | Errno::ENOTDIR)), "{error:?}");
    let group = fake.prepare(json!({})).unwrap();
    symlink(elsewhere.path().join("tasks"), fake.path("c1/tasks")).unwrap();
    assert_eq!(group.add(Pid::from_raw(3)).unwrap_err().errno(), Some(Errno::ELOOP));
    assert_eq!(fs::read_to_string(elsewhere.path().join("tasks")).unwrap(), "");
    // Nor while removing.
    let record = GroupRecord {
        group: Some(fake.path("gold/tasks")),
        monitoring: Some(fake.path("gold")),
        ..GroupRecord::default()
    };
    let errors = remove(&record).unwrap_err();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(elsewhere.path().join("tasks").exists());
}

#[test]
fn removing_takes_no_relative_or_unnamed_path() {
    for path in ["c1", "/", "/tmp/.."] {
        let errors = remove(&GroupRecord { group: Some(path.into()), ..GroupRecord::default() }).unwrap_err();
        assert_eq!(errors[0].errno(), Some(Errno::EINVAL), "{path}");
    }
    remove(&GroupRecord { group: Some("/no/such/c1".into()), ..GroupRecord::default() }).unwrap();
}

#[test]
fn a_locked_root_is_waited_for() {
    let fake = Fake::new();
    let lock = fake.resctrl.tree.lock().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| fake.prepare(json!({})).map(drop));
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!fake.path("c1").exists());
        drop(lock);
        waiting.join().unwrap().unwrap();
    });
    assert!(fake.path("c1").exists());
}

#[test]
fn values_are_judged_by_field() {
    for rdt in [
        json!({}),
        json!({"closID": "/"}),
        json!({"closID": ""}),
        json!({"closID": "a.b-c d"}),
        json!({"closID": "...", "l3CacheSchema": "L3CODE:0=f\nL3DATA:0=f", "memBwSchema": "", "enableMBM": true}),
        json!({"memBwSchema": "MB:0=10", "schemata": ["L3:0=f", ""]}),
    ] {
        assert_eq!(check(&config(rdt.clone())), Ok(()), "{rdt}");
    }
    for (rdt, field, problem) in [
        (json!({"closID": "."}), "closID", "\".\" cannot name a group"),
        (json!({"closID": ".."}), "closID", "\"..\" cannot name a group"),
        (json!({"closID": "a/b"}), "closID", "\"a/b\" cannot name a group"),
        (json!({"closID": "//"}), "closID", "\"//\" cannot name a group"),
        (json!({"closID": "/a"}), "closID", "\"/a\" cannot name a group"),
        (json!({"closID": "a\0"}), "closID", "\"a\\0\" cannot name a group"),
        (json!({"closID": "a\n"}), "closID", "\"a\\n\" cannot name a group"),
        (json!({"closID": "info"}), "closID", "\"info\" cannot name a group"),
        (json!({"closID": "mon_groups"}), "closID", "\"mon_groups\" cannot name a group"),
        (json!({"l3CacheSchema": "L3:0=f\0"}), "l3CacheSchema", "\"L3:0=f\\0\" is not one line of text"),
        (
            json!({"memBwSchema": "MB:0=1\nL3:0=f"}),
            "memBwSchema",
            "\"MB:0=1\\nL3:0=f\" is not one line of text",
        ),
        (json!({"memBwSchema": "L3:0=f"}), "memBwSchema", "\"L3:0=f\" does not start with \"MB:\""),
        (json!({"schemata": ["L3:0=f", "a\nb"]}), "schemata", "\"a\\nb\" is not one line of text"),
    ] {
        assert_eq!(check(&config(rdt.clone())), Err((field, problem.to_owned())), "{rdt}");
        let error = Fake::new().prepare(rdt).unwrap_err();
        assert_eq!(error.to_string(), format!("linux.intelRdt.{field}: {problem}"));
    }
    let error = Fake::new().resctrl.prepare("info", &LinuxIntelRdt::default()).unwrap_err();
    assert_eq!(error.to_string(), "linux.intelRdt: no group can be named \"info\" like the container");
}

#[test]
fn the_root_is_found_in_mountinfo() {
    let mountinfo = b"22 1 0:21 / /sys rw shared:7 - sysfs sysfs rw\n\
        40 22 0:38 / /mnt/my\\040res\\134ctrl rw,relatime shared:9 master:2 - resctrl resctrl rw,cdp\n\
        41 22 0:38 /gold /mnt/part rw - resctrl resctrl rw\n\
        42 22 0:38 / /sys/fs/resctrl rw - resctrl resctrl rw\n\
        43 22 0:39 / /mnt/\xff\\xyz rw - ext4 /dev/resctrl rw\n\
        44 22\n";
    assert_eq!(tree::mount_points(mountinfo), ["/mnt/my res\\ctrl", "/sys/fs/resctrl"].map(PathBuf::from));
    match Resctrl::open() {
        Err(error) => assert_eq!(chain(&error), "linux.intelRdt: no resctrl filesystem is mounted"),
        Ok(_) => println!("skipped: this machine has a resctrl filesystem"),
    }
    let error = Resctrl::at("/no/such/root".as_ref()).unwrap_err();
    assert_eq!(chain(&error), "linux.intelRdt: realpath(\"/no/such/root\"): no such file or directory");
}
