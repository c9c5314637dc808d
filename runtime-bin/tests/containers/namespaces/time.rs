//! Clocks.

use super::*;

#[container_test(Root, UserNamespace)]
fn clocks_have_offsets(variant: Variant) {
    let mapped = variant.is_mapped();
    if !Path::new("/proc/self/ns/time").exists() {
        return skip("the kernel has no time namespaces");
    }
    let mut test = TestBundle::new(&[
        "sh",
        "-c",
        "cat /proc/self/timens_offsets /proc/uptime; readlink /proc/self/ns/time",
    ]);
    variant.apply(&mut test);
    namespace(&mut test, "time", None);
    test.config["linux"]["timeOffsets"] = json!({
        "monotonic": { "secs": 1_000_000, "nanosecs": 5000 }, "boottime": { "secs": 2_000_000 },
    });
    let uptime = |text: &str| text.split('.').next().unwrap().parse::<u64>().unwrap();
    let before = uptime(&fs::read_to_string("/proc/uptime").unwrap());
    let said = stdout(&run(&test));
    let said = words(&said);
    assert_eq!(said[..6], ["monotonic", "1000000", "5000", "boottime", "2000000", "0"], "mapped: {mapped}");
    let inside = uptime(said[6]);
    assert!((before + 2_000_000..before + 2_000_060).contains(&inside), "{inside}");
    assert_ne!(said[8], link("/proc/self/ns/time"));
    test.assert_nothing_left("offsets");

    // Without offsets the namespace is there, and says what the host says.
    test.config["linux"].as_object_mut().unwrap().remove("timeOffsets");
    let said = stdout(&run(&test));
    assert_eq!(words(&said)[..6], ["monotonic", "0", "0", "boottime", "0", "0"], "mapped: {mapped}");
    test.assert_nothing_left("no offsets");

    // The kernel takes no offset that makes a clock negative.
    test.config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": -4_000_000_000_i64 } });
    let error = one_error(&run(&test));
    assert!(error.contains("linux.timeOffsets"), "{error}");
}

#[container_test]
fn clocks_of_a_joined_user_namespace() {
    let holder = Holder::mapped(&["--time"]);
    let mut test = TestBundle::new(&["cat", "/proc/self/timens_offsets"]);
    test.own_rootfs(HELD_ROOT);
    namespace(&mut test, "user", Some(&holder.path("user")));
    namespace(&mut test, "time", None);
    test.config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 77 } });
    assert_eq!(words(&stdout(&run(&test))), ["monotonic", "0", "0", "boottime", "77", "0"]);
}
