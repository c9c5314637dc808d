//! Golden plans of whole configs, and the document that lists the steps of a container's life.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::*;
use crate::{Console, CreateOptions, spec};

/// A host with pure cgroup v2 and no compiled filter at hand.
fn facts() -> Facts {
    let filter = seccomp::Filter { flags: 4, program: vec![0; 8 * 10], notify: false };
    Facts { cgroup: PathBuf::from("/box"), seccomp: Some(filter), ..Facts::default() }
}

fn plan(config: &str, options: &CreateOptions, wait_for_start: bool) -> Plan {
    let spec = spec::parse(config.as_bytes()).unwrap();
    spec::validate(&spec).unwrap();
    let request = Request { id: "box", bundle: Path::new("/bundle"), wait_for_start, options };
    let mut facts = facts();
    if spec.linux().as_ref().is_none_or(|linux| linux.seccomp().is_none()) {
        facts.seccomp = None;
    }
    Plan::new(&spec, &request, &facts).unwrap()
}

const DOCKER: &str = include_str!("../../tests/data/docker-config.json");
/// What `corten spec` writes.
const DEFAULT: &str = include_str!("../../tests/data/default-config.json");

#[test]
fn golden_plan_of_dockers_config() {
    insta::assert_snapshot!(plan(DOCKER, &CreateOptions::default(), true));
}

#[test]
fn golden_plan_of_the_default_config() {
    let options = CreateOptions { console: Console::Master, pid_file: Some("/run/pid".into()), ..Default::default() };
    insta::assert_snapshot!(plan(DEFAULT, &options, false));
}

#[test]
fn golden_plan_of_a_hybrid_machine() {
    let spec = spec::parse(DOCKER.as_bytes()).unwrap();
    let options = CreateOptions::default();
    let request = Request { id: "box", bundle: Path::new("/bundle"), wait_for_start: true, options: &options };
    let hierarchy = |name: &str, options: &[&str]| LegacyHierarchy {
        name: name.to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        own: Path::new("/sys/fs/cgroup").join(name),
    };
    let facts = Facts {
        legacy: vec![hierarchy("cpu,cpuacct", &["cpu", "cpuacct"]), hierarchy("systemd", &["none", "name=systemd"])],
        legacy_links: vec![("cpu".to_owned(), "cpu,cpuacct".to_owned())],
        ..facts()
    };
    let plan = Plan::new(&spec, &request, &facts).unwrap();
    let cgroups: Vec<String> = plan
        .to_string()
        .lines()
        .filter(|line| line.contains("mounts[4]"))
        .map(|line| line.trim_start().split_once("  ").map_or(line, |(_, step)| step).to_owned())
        .collect();
    insta::assert_snapshot!(cgroups.join("\n"));
}

/// `docs/lifecycle.md` lists the steps of `create` of the default bundle in their order, and says of each what it is for.
#[test]
fn the_document_of_the_lifecycle_is_true() {
    let options = CreateOptions { pid_file: Some("/run/pid".into()), console: Console::Master, ..Default::default() };
    let mut plan = plan(DOCKER, &options, true);
    let with_terminal = self::plan(DEFAULT, &options, true);
    // Of steps that come several times in a row, one.
    let names = |names: Vec<&'static str>| {
        let mut listed: Vec<&str> = Vec::new();
        for name in names {
            if listed.last() != Some(&name) {
                listed.push(name);
            }
        }
        listed
    };
    let host = names(plan.host.drain(..).map(|planned| planned.step.name()).collect());
    let document = include_str!("../../../../docs/lifecycle.md");
    let documented = |heading: &str| -> Vec<&str> {
        let section = document.split(heading).nth(1).unwrap_or_default();
        let section = section.split("\n## ").next().unwrap_or_default();
        section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect()
    };
    assert_eq!(documented("## What the runtime does"), {
        let mut all = host;
        // Only with a terminal, which Docker's config has not.
        let at = all.iter().position(|name| *name == "Await").unwrap();
        all.insert(at, "ReceiveConsole");
        all
    });
    let inside: BTreeSet<&str> =
        plan.inside.iter().chain(&with_terminal.inside).map(|planned| planned.step.name()).collect();
    let listed = documented("## What init does");
    assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), inside);
    // Every other step is in the last section.
    let others = document.split("## What other configs add").nth(1).unwrap_or_default();
    for name in corten_init::STEP_NAMES.iter().filter(|name| !inside.contains(*name)) {
        assert!(others.contains(&format!("`{name}`")), "{name} is not in the document");
    }
    // The order of the document is the order of the plan: the first of each kind.
    let first = |name: &str| {
        let position = |plan: &Plan| plan.inside.iter().position(|planned| planned.step.name() == name);
        position(&with_terminal).map(|at| at * 1000 / with_terminal.inside.len())
    };
    let order: Vec<_> = listed.iter().filter_map(|name| first(name)).collect();
    assert!(order.is_sorted(), "{listed:?} {order:?}");
}

#[test]
fn a_terminal_needs_a_place_and_a_place_a_terminal() {
    let spec = spec::parse(DEFAULT.as_bytes()).unwrap();
    let error = |console: Console, config: &crate::oci::Spec| {
        let options = CreateOptions { console, ..Default::default() };
        let request = Request { id: "box", bundle: Path::new("/b"), wait_for_start: true, options: &options };
        Plan::new(config, &request, &facts()).unwrap_err().to_string()
    };
    assert!(
        error(Console::None, &spec).ends_with("cannot allocate tty if runc will detach without setting console socket")
    );
    let without = spec::parse(DOCKER.as_bytes()).unwrap();
    let socket = Console::Socket("/s".into());
    assert!(error(socket, &without).ends_with("cannot use console socket if runc will not detach or allocate tty"));
}

#[test]
fn every_device_rule_of_the_config_comes_before_the_defaults() {
    let spec = spec::parse(DOCKER.as_bytes()).unwrap();
    let rules = devices::rules(&spec);
    assert!(!rules[0].allow);
    assert_eq!(rules.len(), 16 + 11);
    assert!(rules[16..].iter().all(|rule| rule.allow));
}
