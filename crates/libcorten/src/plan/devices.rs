//! Devices: the nodes and links of `/dev`, and the rules of the device filter.
//!
//! Stage: plan; the steps run inside, before `pivot_root(2)`, after the mounts. Spec:
//! config-linux.md#devices, #default-devices, #allowed-device-list. Attacker: `/dev` of the rootfs may be a
//! link (CVE-2026-41579): the executor opens the parent inside the root. Or a link of the image puts a volume
//! there: then nothing is made.

use std::ffi::CString;
use std::path::Path;

use corten_cgroup::device::{Access, Kind, Rule};
use corten_init::{Mode, OwnedStep as Step, Slot, Target};

use crate::oci::{LinuxDevice, LinuxDeviceType, LinuxResources};
use crate::spec::clean_in_root;

use super::build::item_at;
use super::builder::{Builder, slot};
use super::mounts::change;
use super::paths::text;
use super::phases::InsidePhase;
use super::{PlanError, namespaces};

/// Devices that every container has: name, major, minor; mode 0666, root's. config-linux.md#default-devices.
const DEFAULT_DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Links that every container has. config.md, "dev symbolic links".
const DEFAULT_LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// Adds the steps that fill `/dev`.
pub(super) fn devices(b: &mut Builder<'_>) -> Result<(), PlanError> {
    let listed = b.spec.linux().as_ref().and_then(|linux| linux.devices().as_ref());
    let listed: &[_] = listed.map_or(&[], Vec::as_slice);
    // runc, crun: with a bind mount there the config brings a /dev of its own, and nothing is made in a
    // directory of the host.
    if b.decisions.own_dev {
        b.in_own_dev(InsidePhase::Devices, c"default devices", |b| {
            default_devices(b, listed)?;
            listed_devices(b, listed, true)?;
            default_links(b)
        })?;
    }
    listed_devices(b, listed, false)
}

fn default_devices(b: &mut Builder<'_>, listed: &[LinuxDevice]) -> Result<(), PlanError> {
    for (name, major, minor) in DEFAULT_DEVICES {
        let path = format!("/dev/{name}");
        // A device of the config takes the place of the default one.
        if listed.iter().any(|device| clean_in_root(device.path()) == Path::new(&path)) {
            continue;
        }
        let item = CString::from(c"default devices");
        let node = Node {
            path,
            kind: libc::S_IFCHR,
            mode: 0o666,
            number: (major.into(), minor.into()),
            owner: (0, 0),
        };
        make(b, &item, &node)?;
    }
    Ok(())
}

/// The devices of the config: those in `/dev`, or the others.
fn listed_devices(b: &mut Builder<'_>, listed: &[LinuxDevice], in_dev: bool) -> Result<(), PlanError> {
    for (index, device) in listed.iter().enumerate() {
        let item = item_at("linux.devices", index)?;
        let path = clean_in_root(device.path());
        // The multiplexer is made as the link to that of the container's devpts (runc).
        if path.starts_with("/dev") != in_dev || path == Path::new("/dev/ptmx") {
            continue;
        }
        let kind = match device.typ() {
            LinuxDeviceType::B => libc::S_IFBLK,
            LinuxDeviceType::C | LinuxDeviceType::U => libc::S_IFCHR,
            LinuxDeviceType::P => libc::S_IFIFO,
            LinuxDeviceType::A => {
                return Err(PlanError::Unsupported {
                    item: format!("linux.devices[{index}].type"),
                    what: "a node for \"all devices\"",
                });
            }
        };
        let range = |value: i64| {
            u64::try_from(value)
                .map_err(|_| PlanError::Range { item: format!("linux.devices[{index}]"), value })
        };
        let fifo = kind == libc::S_IFIFO;
        let number = if fifo { (0, 0) } else { (range(device.major())?, range(device.minor())?) };
        let node = Node {
            path: path.to_string_lossy().into_owned(),
            kind,
            mode: device.file_mode().unwrap_or(0o666) & 0o777,
            number,
            owner: (device.uid().unwrap_or(0), device.gid().unwrap_or(0)),
        };
        make(b, &item, &node)?;
    }
    Ok(())
}

fn default_links(b: &mut Builder<'_>) -> Result<(), PlanError> {
    for (path, target) in DEFAULT_LINKS {
        let (path, target) = (text("default links", path)?, text("default links", target)?);
        b.inside(InsidePhase::Devices, c"default links", Step::MakeLink { path, target, replace: false });
    }
    // What the image has there would be another multiplexer than that of the container's devpts.
    let ptmx = Step::MakeLink { path: c"/dev/ptmx".into(), target: c"pts/ptmx".into(), replace: true };
    b.inside(InsidePhase::Devices, c"default links", ptmx);
    Ok(())
}

/// A node to make.
struct Node {
    path: String,
    /// `S_IFCHR`, `S_IFBLK` or `S_IFIFO`.
    kind: u32,
    mode: u32,
    number: (u64, u64),
    owner: (u32, u32),
}

/// Makes a node, or shows the host's where the kernel makes no device nodes: in a user namespace, or without
/// CAP_MKNOD.
fn make(b: &mut Builder<'_>, item: &CString, node: &Node) -> Result<(), PlanError> {
    let path = text("linux.devices", node.path.as_str())?;
    if node.kind != libc::S_IFIFO && (b.decisions.in_user_namespace() || !b.facts.may_mknod) {
        let source = b.new_source()?;
        // What the host has under the same name; it must be the same device.
        namespaces::open_device(b, item, Path::new(&node.path), node.kind, node.number, source)?;
        b.inside(
            InsidePhase::Devices,
            item.clone(),
            if has_hosts_root(b) { keep_attributes(source) } else { keep_private(source) },
        );
        let target = Target::File;
        b.inside(
            InsidePhase::Devices,
            item.clone(),
            Step::OpenTarget { path, target, in_proc: false, slot: slot::TARGET },
        );
        b.inside(
            InsidePhase::Devices,
            item.clone(),
            Step::MoveMount { mount: source, target: slot::TARGET, keep: false },
        );
        return Ok(());
    }
    let (major, minor) = node.number;
    let (uid, gid) = node.owner;
    let mode = Mode(node.kind | node.mode);
    b.inside(InsidePhase::Devices, item.clone(), Step::MakeNode { path, mode, major, minor, uid, gid });
    Ok(())
}

/// Whether a user of the container may be root of the host, and with it the owner of the host's devices.
fn has_hosts_root(b: &Builder<'_>) -> bool {
    if b.facts.rootless {
        return false;
    }
    let maps = b.spec.linux().as_ref().and_then(|linux| linux.uid_mappings().as_deref()).unwrap_or_default();
    !b.decisions.in_user_namespace() || maps.is_empty() || maps.iter().any(|map| map.host_id() == 0)
}

/// Makes the mount of a device of the host private: the copy starts as a peer of the host's mount, and what
/// the container then mounted on the device would be mounted on that of the host, too.
fn keep_private(mount: Slot) -> Step {
    change(mount, 0, libc::MS_PRIVATE, false)
}

/// Makes the mount of a device of the host read-only and private. It can be read and written as before, but
/// whoever owns it, the root of a container that is root of the host, cannot change its mode, owner and times
/// for the host.
pub(super) fn keep_attributes(mount: Slot) -> Step {
    change(mount, libc::MOUNT_ATTR_RDONLY, libc::MS_PRIVATE, false)
}

/// Warns of letters that say nothing in the rules of the device filter.
pub(super) fn warn(b: &mut Builder<'_>) {
    let resources = b.spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    let listed = resources.and_then(|resources| resources.devices().as_ref());
    for (index, rule) in listed.into_iter().flatten().enumerate() {
        let access = rule.access().as_deref().unwrap_or_default();
        if !access.bytes().all(|letter| b"rwm".contains(&letter)) {
            let field = format!("linux.resources.devices[{index}].access");
            b.warnings.push(format!("{field}: of {access:?} only the letters r, w and m say something"));
        }
    }
}

/// The rules of the device filter: the config's, then what every container may do. runc's order; the last
/// match decides.
pub(crate) fn rules(resources: Option<&LinuxResources>) -> Vec<Rule> {
    let listed = resources.and_then(|resources| resources.devices().as_ref());
    let mut rules: Vec<Rule> = listed.into_iter().flatten().map(rule).collect();
    let all = Access { read: true, write: true, mknod: true };
    let mknod = Access { read: false, write: false, mknod: true };
    let allow = |kind, major, minor, access| Rule { allow: true, kind, major, minor, access };
    rules.push(allow(Kind::Char, None, None, mknod));
    rules.push(allow(Kind::Block, None, None, mknod));
    for (_, major, minor) in DEFAULT_DEVICES {
        rules.push(allow(Kind::Char, Some(major), Some(minor), all));
    }
    // Pseudo-terminals, their multiplexer, and tun (runc: users rely on it).
    rules.push(allow(Kind::Char, Some(136), None, all));
    rules.push(allow(Kind::Char, Some(5), Some(2), all));
    rules.push(allow(Kind::Char, Some(10), Some(200), all));
    rules
}

fn rule(listed: &crate::oci::LinuxDeviceCgroup) -> Rule {
    let access = listed.access().as_deref().unwrap_or("rwm");
    Rule {
        allow: listed.allow(),
        kind: match listed.typ() {
            Some(LinuxDeviceType::C | LinuxDeviceType::U) => Kind::Char,
            Some(LinuxDeviceType::B) => Kind::Block,
            _ => Kind::All,
        },
        // -1 is runc's word for "any".
        major: listed.major().and_then(|number| u32::try_from(number).ok()),
        minor: listed.minor().and_then(|number| u32::try_from(number).ok()),
        access: Access {
            read: access.contains('r'),
            write: access.contains('w'),
            mknod: access.contains('m'),
        },
    }
}
