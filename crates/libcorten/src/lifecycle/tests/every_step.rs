//! Plans that have been changed: init fails, or dies, at every step.

use container_test::container_test;

use crate::common::TestBundle;
use crate::lifecycle::create::Creation;
use crate::plan::{Filter, FilterFlags, OwnedStep, Planned};
use crate::{Bundle, CreateOptions, Error, Plan, Runtime};

/// The error of a container that cannot be made by this plan.
fn error_of(test: &TestBundle, runtime: &Runtime, bundle: &Bundle, plan: &Plan) -> String {
    let options = CreateOptions::default();
    let creation = Creation::new(runtime, &test.id, bundle, &options).unwrap();
    creation.launch(plan, &mut |_| {}).as_ref().map_err(Error::chain).unwrap_err()
}

/// Every step of init is replaced by one that fails, one after the other: the error names the field, the call
/// and the errno, and nothing is left.
#[container_test]
fn init_fails_at_every_step() {
    let mut test = TestBundle::docker(&["true"]);
    test.config["process"]["cwd"] = "/tmp/made".into();
    fail_at_every_step(&test);
    fail_at_every_step(&TestBundle::with_everything());
}

fn fail_at_every_step(test: &TestBundle) {
    let bundle = Bundle::open(test.write().path()).unwrap();
    let runtime = Runtime::new(test.state_root());
    let options = CreateOptions::default();
    let plan = runtime.plan(&test.id, &bundle, &options, false).unwrap();
    assert!(plan.inside.len() > 60, "{}", plan.inside.len());
    for index in 0..plan.inside.len() {
        let mut broken = plan.clone();
        let item = broken.inside[index].item.clone();
        // No slot holds a mount with this number of a closed fd: mount_setattr of a directory that is no
        // mount fails.
        let step = OwnedStep::Hostname { name: std::ffi::CString::new(vec![b'x'; 65]).unwrap() };
        broken.inside[index] = Planned { item: item.clone(), step };
        let error = error_of(test, &runtime, &bundle, &broken);
        let item = item.to_str().unwrap();
        assert!(error.contains(item), "step {index}: {error}");
        // After the capabilities are gone, the kernel has another reason.
        let reasons = ["sethostname: invalid argument", "sethostname: operation not permitted"];
        assert!(reasons.iter().any(|reason| error.contains(reason)), "step {index}: {error}");
        test.assert_nothing_left(&format!("init failed at step {index} ({item})"));
    }
}

/// Init ends without a word at every place, as if it were killed.
#[container_test]
fn init_dies_at_every_step() {
    die_at_every_step(&TestBundle::new(&["true"]));
    die_at_every_step(&TestBundle::with_everything());
}

fn die_at_every_step(test: &TestBundle) {
    let bundle = Bundle::open(test.write().path()).unwrap();
    let runtime = Runtime::new(test.state_root());
    let options = CreateOptions::default();
    let plan = runtime.plan(&test.id, &bundle, &options, true).unwrap();
    // A filter that kills with the next call.
    let kill_all = [0x06u8, 0, 0, 0, 0, 0, 0, 0x80].to_vec();
    let ready =
        plan.inside.iter().rposition(|planned| matches!(planned.step, OwnedStep::Sync { .. })).unwrap();
    for index in 0..=ready {
        let mut broken = plan.clone();
        let item = broken.inside[index].item.clone();
        // Without no_new_privs the late steps, without privileges, could not load a filter.
        broken.inside.insert(index, Planned { item: item.clone(), step: OwnedStep::NoNewPrivileges {} });
        let (flags, program) = (FilterFlags::NONE, Filter(kill_all.clone()));
        let step = OwnedStep::Seccomp { flags, program, privileged: false, notify: false };
        broken.inside.insert(index + 1, Planned { item, step });
        let error = error_of(test, &runtime, &bundle, &broken);
        assert!(
            error.contains("container init ended unexpectedly: killed by signal 31"),
            "step {index}: {error}"
        );
        test.assert_nothing_left(&format!("init died at step {index}"));
    }
}
