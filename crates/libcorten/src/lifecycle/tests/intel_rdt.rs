//! `linux.intelRdt` of real containers, against a directory that stands in for the resctrl filesystem.

use std::fs;
use std::path::{Path, PathBuf};

use container_test::container_test;
use serde_json::{Value, json};

use crate::common::{TestBundle, Variant, skip};
use crate::resctrl::standing_in;
use crate::{Bundle, Container, CreateOptions, ErrorKind, ExecOptions, Exit, Runtime};

/// A bundle, and a tree as the kernel has it when nobody has made a group.
struct Fake {
    test: TestBundle,
}

impl Fake {
    fn new(rdt: Value, args: &[&str]) -> Self {
        let mut test = TestBundle::new(args);
        test.config["linux"]["intelRdt"] = rdt;
        let fake = Self { test };
        fs::create_dir_all(fake.path("info")).unwrap();
        fake.put("info/last_cmd_status", "ok\n");
        fake.put("schemata", "    MB:0=100\n    L3:0=fffff\n");
        fake
    }

    fn path(&self, file: &str) -> PathBuf {
        self.test.beside("resctrl").join(file)
    }

    fn put(&self, file: &str, text: &str) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn get(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.path(file)).ok()
    }

    /// What is below the root, sorted.
    fn tree(&self) -> Vec<String> {
        fn walk(directory: &Path, root: &Path, into: &mut Vec<String>) {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                into.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
                if path.is_dir() {
                    walk(&path, root, into);
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.path(""), &self.path(""), &mut found);
        found.sort();
        found
    }

    fn create(&self) -> crate::Result<Container> {
        let bundle = Bundle::open(self.test.write().path())?;
        let runtime = Runtime::new(self.test.state_root());
        standing_in(&self.path(""), || runtime.create(&self.test.id, &bundle, &CreateOptions::default()))
    }

    fn id(&self) -> &str {
        &self.test.id
    }
}

#[container_test(Root, UserNamespace)]
fn a_group_of_the_containers_own(variant: Variant) {
    let mapped = variant.is_mapped();
    let rdt = json!({ "l3CacheSchema": "L3:0=ff", "memBwSchema": "MB:0=50", "schemata": ["L3:0=f", "MB:0=20"],
        "enableMonitoring": true });
    let mut fake = Fake::new(rdt, &["sh", "-c", "exit 3"]);
    if mapped {
        fake.test.map_ids();
    }
    let before = fake.tree();
    let container = fake.create().unwrap();
    let (id, pid) = (fake.id().to_owned(), container.state().unwrap().pid.to_string());
    assert_eq!(fake.get(&format!("{id}/schemata")).unwrap(), "L3:0=ff\nMB:0=50\nL3:0=f\nMB:0=20\n");
    // The process itself, before it has executed anything.
    assert_eq!(fake.get(&format!("{id}/tasks")).unwrap(), pid);
    assert_eq!(fake.get(&format!("{id}/mon_groups/{id}/tasks")).unwrap(), pid);
    container.start().unwrap();
    assert_eq!(container.wait().unwrap(), Exit::Code(3));
    assert!(fake.path(&id).is_dir(), "it goes with the container, not with the process");
    // Another process deletes: all that it knows is in the state.
    drop(container);
    let container = Runtime::new(fake.test.state_root()).load(&id).unwrap();
    assert!(container.delete(false).unwrap().is_empty());
    assert_eq!(fake.tree(), before);
    fake.test.assert_nothing_left("resctrl");
}

#[container_test]
fn without_monitoring_there_is_no_monitoring_group() {
    for rdt in [
        json!({}),
        json!({ "schemata": ["L3:0=3"], "enableMonitoring": false }),
        json!({ "enableCMT": true, "enableMBM": true }),
    ] {
        let fake = Fake::new(rdt.clone(), &["true"]);
        let before = fake.tree();
        let container = fake.create().unwrap();
        assert!(!fake.path(&format!("{}/mon_groups", fake.id())).exists(), "{rdt}");
        assert!(fake.get(&format!("{}/tasks", fake.id())).is_some());
        container.delete(true).unwrap();
        assert_eq!(fake.tree(), before);
    }
}

/// The spec: what was there before is not the runtime's to remove, and neither is a class that others can
/// share.
#[container_test]
fn a_group_with_an_id_stays() {
    let fake =
        Fake::new(json!({ "closID": "gold", "schemata": ["L3:0=f"], "enableMonitoring": true }), &["true"]);
    fake.put("gold/schemata", "    MB:0=100\n    L3:0=0000f\n");
    fake.put("gold/tasks", "");
    fake.put("gold/mon_groups/other/tasks", "1\n");
    let before = fake.tree();
    let container = fake.create().unwrap();
    let pid = container.state().unwrap().pid.to_string();
    assert_eq!(fake.get("gold/tasks").unwrap(), pid);
    assert_eq!(
        fake.get("gold/schemata").unwrap(),
        "    MB:0=100\n    L3:0=0000f\n",
        "it is not written again"
    );
    assert_eq!(fake.get(&format!("gold/mon_groups/{}/tasks", fake.id())).unwrap(), pid);
    container.delete(true).unwrap();
    assert_eq!(fake.tree(), before, "but for the monitoring group, all stays");

    // Made by the runtime, and left for the next one.
    let fake = Fake::new(json!({ "closID": "silver", "memBwSchema": "MB:0=30" }), &["true"]);
    let container = fake.create().unwrap();
    container.delete(true).unwrap();
    assert_eq!(fake.get("silver/schemata").unwrap(), "MB:0=30\n");
    let container = fake.create().unwrap();
    container.delete(true).unwrap();
    assert!(fake.path("silver").is_dir());
}

/// A second process of the container is in its class too, wherever the tree was when the container was made.
#[container_test]
fn another_process_joins_the_group() {
    for class in ["", "gold"] {
        let mut rdt = json!({ "schemata": ["L3:0=f"], "enableMonitoring": true });
        if !class.is_empty() {
            rdt["closID"] = json!(class);
        }
        let fake = Fake::new(rdt, &["sleep", "60"]);
        let container = fake.create().unwrap();
        container.start().unwrap();
        let mut process = container.config().unwrap().process().clone().unwrap();
        process.set_args(Some(vec!["true".to_owned()]));
        let joined = container.exec(&process, &ExecOptions::default()).unwrap();
        let pid = joined.pid().to_string();
        assert_eq!(joined.wait().unwrap(), Exit::Code(0));
        let group = if class.is_empty() { fake.id() } else { class };
        assert_eq!(fake.get(&format!("{group}/tasks")).unwrap(), pid);
        assert_eq!(fake.get(&format!("{group}/mon_groups/{}/tasks", fake.id())).unwrap(), pid);
        container.delete(true).unwrap();
        fake.test.assert_nothing_left("exec");
    }
}

#[container_test]
fn the_roots_own_group() {
    let fake = Fake::new(json!({ "closID": "/" }), &["true"]);
    let container = fake.create().unwrap();
    assert_eq!(fake.get("tasks").unwrap(), container.state().unwrap().pid.to_string());
    container.delete(true).unwrap();
    assert!(fake.path("schemata").exists());
    assert!(!fake.path(fake.id()).exists());
}

#[container_test]
fn what_cannot_be_leaves_nothing() {
    let cases = [
        // Without schemata it must be there; with, they must be the same.
        (json!({ "closID": "none" }), "linux.intelRdt.closID"),
        (json!({ "closID": "gold", "memBwSchema": "MB:0=70" }), "linux.intelRdt.memBwSchema"),
        (json!({ "closID": "a/b", "schemata": ["L3:0=f"] }), "linux.intelRdt.closID"),
        (json!({ "closID": "..", "schemata": ["L3:0=f"] }), "linux.intelRdt.closID"),
        (json!({ "closID": "info", "schemata": ["L3:0=f"] }), "linux.intelRdt.closID"),
        (json!({ "memBwSchema": "L3:0=f" }), "linux.intelRdt.memBwSchema"),
        (json!({ "schemata": ["L3:0=f\nMB:0=5"] }), "linux.intelRdt.schemata"),
    ];
    for (rdt, words) in cases {
        let fake = Fake::new(rdt.clone(), &["true"]);
        fake.put("gold/schemata", "    MB:0=100\n    L3:0=0000f\n");
        let before = fake.tree();
        let error = fake.create().unwrap_err().chain();
        assert!(error.contains(words), "{rdt}: {error}");
        assert_eq!(fake.tree(), before, "{rdt}");
        fake.test.assert_nothing_left(words);
    }
}

/// The group is made, the container is not.
#[container_test]
fn a_container_that_fails_takes_its_group_along() {
    for rdt in [
        json!({ "schemata": ["L3:0=f"], "enableMonitoring": true }),
        json!({ "closID": "gold", "enableMonitoring": true }),
    ] {
        let fake = Fake::new(rdt, &["/no/such/program"]);
        fake.put("gold/tasks", "");
        fake.put("gold/mon_groups/other/tasks", "");
        let before = fake.tree();
        let error = fake.create().unwrap_err().chain();
        assert!(error.contains("no such file or directory"), "{error}");
        assert_eq!(fake.tree(), before);
        fake.test.assert_nothing_left("failed");
    }
}

#[container_test]
fn without_resctrl_it_is_an_error() {
    if fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" - resctrl ") {
        return skip("resctrl is mounted");
    }
    for rdt in [json!({}), json!({ "closID": "gold" }), json!({ "enableMonitoring": true })] {
        let fake = Fake::new(rdt, &["true"]);
        let bundle = Bundle::open(fake.test.write().path()).unwrap();
        let runtime = Runtime::new(fake.test.state_root());
        let error = runtime.create(fake.id(), &bundle, &CreateOptions::default()).unwrap_err();
        assert_ne!(error.kind(), ErrorKind::Internal);
        assert!(
            error.chain().ends_with("linux.intelRdt: no resctrl filesystem is mounted"),
            "{}",
            error.chain()
        );
        fake.test.assert_nothing_left("no resctrl");
    }
}
