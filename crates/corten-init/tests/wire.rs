//! The wire form: what is written is read, and nothing else breaks the reader.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

use std::ffi::{CStr, CString};

use corten_init::{
    Attributes, Call, CallersGroups, CapabilitySet, Filter, FilterFlags, Ids, MAX_MESSAGE, Mask, Message,
    Mode, Namespaces, Options, OwnedStep, Program, Ranges, Role, Slot, SlotRange, Slots, Step, Strings,
    SyncPoint, Target, TreeFlags, WireStep, encode,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

fn text() -> impl Strategy<Value = CString> {
    vec(1u8.., 0..40).prop_map(|bytes| CString::new(bytes).unwrap())
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..60)
}

fn slot() -> impl Strategy<Value = Slot> {
    (0u16..8).prop_map(Slot)
}

/// Steps with every kind of operand.
fn step() -> impl Strategy<Value = OwnedStep> {
    prop_oneof![
        Just(Step::PivotRoot {}),
        text().prop_map(|name| Step::Hostname { name }),
        any::<u32>().prop_map(|mask| Step::Umask { mask: Mode(mask) }),
        slot().prop_map(|slot| Step::Close { slot }),
        (text(), text(), bytes(), any::<u64>(), slot()).prop_map(
            |(fstype, source, options, attributes, slot)| {
                Step::MountFs {
                    fstype,
                    source,
                    options: Options(options),
                    attributes: Attributes(attributes),
                    slot,
                }
            }
        ),
        (any::<u64>(), bytes(), any::<bool>(), any::<bool>()).prop_map(
            |(flags, program, privileged, notify)| {
                Step::Seccomp { flags: FilterFlags(flags), program: Filter(program), privileged, notify }
            }
        ),
        (text(), any::<u32>(), any::<u64>(), any::<u64>(), any::<u32>(), any::<u32>()).prop_map(
            |(path, mode, major, minor, uid, gid)| Step::MakeNode {
                path,
                mode: Mode(mode),
                major,
                minor,
                uid,
                gid
            }
        ),
        (bytes(), bytes()).prop_map(|(arguments, environment)| Step::Exec {
            arguments: Strings(arguments),
            environment: Strings(environment)
        }),
        (text(), target(), any::<bool>(), slot())
            .prop_map(|(path, target, in_proc, slot)| Step::OpenTarget { path, target, in_proc, slot }),
        (any::<u32>(), option::of(slot()), option::of(slot())).prop_map(|(uid, dev, proc)| Step::OwnStdio {
            uid,
            dev,
            proc
        }),
        (slot(), any::<u16>())
            .prop_map(|(first, count)| Step::TakeTrees { trees: SlotRange { first, count } }),
        (text(), any::<[bool; 4]>(), slot()).prop_map(
            |(path, [recursive, directory, link_itself, unbindable], slot)| {
                Step::OpenSource {
                    path,
                    flags: TreeFlags { recursive, directory, link_itself, unbindable },
                    slot,
                }
            }
        ),
        select(SyncPoint::ALL).prop_map(|point| Step::Sync { point }),
        (any::<u32>(), any::<u32>(), vec(any::<u32>(), 0..5), select(CallersGroups::ALL)).prop_map(
            |(uid, gid, groups, keep_groups)| Step::User { uid, gid, groups: Ids::new(groups), keep_groups }
        ),
    ]
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        select(&[Target::Directory, Target::File, Target::PlainDirectory, Target::Existing][..]),
        slot().prop_map(Target::Like),
        slot().prop_map(Target::LinkItself),
    ]
}

/// A step's name and operands, to compare across the two forms.
macro_rules! shape {
    ($step:expr) => {{
        let mut shape = $step.name().to_owned();
        $step.operands(&mut |name, value| shape += &format!(" {name}={value:#}"));
        shape
    }};
}

fn owned_shape(step: &OwnedStep) -> String {
    shape!(step)
}

fn wire_shape(step: &WireStep<'_>) -> String {
    shape!(step)
}

/// Reads all there is to read.
fn read_all(bytes: &[u8]) -> Option<Vec<(CString, String)>> {
    let program = Program::parse(bytes).ok()?;
    let fds = program.fds().count();
    assert_eq!(fds, program.slots() as usize);
    program.steps().map(|step| step.ok().map(|(item, step)| (item.to_owned(), wire_shape(&step)))).collect()
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        fds in vec(-1i32..100, 8..20),
        steps in vec((text(), step()), 0..30),
    ) {
        let written = encode(&fds, steps.iter().map(|(item, step)| (item.as_c_str(), step))).unwrap();
        let program = Program::parse(&written).unwrap();
        prop_assert_eq!(program.fds().collect::<Vec<_>>(), fds);
        let expected: Vec<_> = steps.iter().map(|(item, step)| (item.clone(), owned_shape(step))).collect();
        prop_assert_eq!(read_all(&written), Some(expected));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        read_all(&bytes);
        let mut framed = encode(&[-1; 8], [].into_iter()).unwrap();
        // As if there were three steps.
        framed[12] = 3;
        framed.extend(bytes);
        read_all(&framed);
    }

    #[test]
    fn damaged_programs_are_read_or_refused(
        steps in vec((text(), step()), 1..6),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut written = encode(&[3; 8], steps.iter().map(|(item, step)| (item.as_c_str(), step))).unwrap();
        let cut = cut.index(written.len());
        prop_assert_eq!(read_all(&written[..cut]), None, "cut at {}", cut);
        let at = at.index(written.len());
        written[at] = byte;
        read_all(&written);
    }

    #[test]
    fn messages_survive(
        step in any::<u32>(),
        errno in any::<i32>(),
        item in vec(any::<u8>(), 0..1024),
        detail in vec(any::<u8>(), 0..3000),
        junk in vec(any::<u8>(), 0..100),
    ) {
        let mut buffer = [0; MAX_MESSAGE];
        let failed = Message::Failed { step, call: Call::Fsconfig, errno, item: &item, detail: &detail };
        let warned = Message::Warned { call: Call::Openat2, errno, item: &item, detail: &detail };
        for message in [failed, warned, Message::Console, Message::Cloned, Message::Listener { fd: 7 }, Message::Executing, Message::Reached(SyncPoint::Ready), Message::Continue(SyncPoint::Start)] {
            let length = message.encode(&mut buffer);
            prop_assert_eq!(Message::decode(&buffer[..length]), Ok(message));
        }
        Message::decode(&junk).ok();
    }
}

#[test]
fn long_operands_of_a_failure_are_cut_and_not_lost() {
    let (item, detail) = (vec![b'i'; 5000], vec![b'd'; 5000]);
    let mut buffer = [0; MAX_MESSAGE];
    let failed = Message::Failed { step: 1, call: Call::Mkdirat, errno: 2, item: &item, detail: &detail };
    let length = failed.encode(&mut buffer);
    assert_eq!(length, MAX_MESSAGE);
    match Message::decode(&buffer[..length]) {
        Ok(Message::Failed { item, detail, .. }) => {
            assert_eq!((item.len(), detail.len()), (1024, MAX_MESSAGE - 20 - 1024))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn slots_outside_the_table_are_refused() {
    let steps: [(&CStr, OwnedStep); 1] = [(c"", Step::Close { slot: Slot(8) })];
    let written = encode(&[1; 8], steps.iter().map(|(item, step)| (*item, step))).unwrap();
    assert_eq!(read_all(&written), None);
}

#[test]
fn words_have_numbers_of_their_own() {
    let calls: Vec<Call> = (0..100).filter_map(Call::from_number).collect();
    assert_eq!(calls, Call::ALL);
    for call in calls {
        assert_eq!(Call::from_number(call.to_number()), Some(call));
    }
    // What a container hears that has been created by an earlier build.
    assert_eq!((SyncPoint::Ready.to_number(), SyncPoint::Start.to_number()), (1, 2));
    assert_eq!((Call::Decode.to_number(), Call::Execve.to_number(), Call::Pipe2.to_number()), (1, 39, 66));
}

#[test]
fn operands_are_printed_as_what_they_are() {
    let printed = |step: OwnedStep| shape!(step);
    assert_eq!(
        printed(Step::MountFs {
            fstype: c"tmpfs".into(),
            source: c"a b".into(),
            options: Options(b"ro\0\0size\0=1 k\0".to_vec()),
            attributes: Attributes(0x80_0002 | 0x20),
            slot: Slot(5),
        }),
        r#"MountFs fstype=tmpfs source="a b" options=ro,size="1 k" attributes=nosuid,strictatime,0x800000 slot=5"#
    );
    assert_eq!(
        printed(Step::MoveMount { mount: Slot(3), target: Slot(4), keep: true }),
        "MoveMount mount=3 target=4 keep=yes"
    );
    assert_eq!(
        printed(Step::OwnStdio { uid: 7, dev: None, proc: Some(Slot(9)) }),
        "OwnStdio uid=7 dev=none proc=9"
    );
    assert_eq!(
        printed(Step::Affinity { cpus: Mask::new([0, 2, 3, 64, 65, 70]) }),
        "Affinity cpus=0,2-3,64-65,70"
    );
    assert_eq!(
        printed(Step::CloseFiles { keep: 4, gaps: Ranges::new(&[[4, 5], [7, 7]]), slots: Slots::new([]) }),
        "CloseFiles keep=4 gaps=4-5,7 slots=none"
    );
    assert_eq!(
        printed(Step::Exec {
            arguments: Strings(b"sh\0-c\0\xff \"\0".to_vec()),
            environment: Strings(vec![])
        }),
        r#"Exec arguments=["sh", "-c", "\xff \""] environment=[]"#
    );
    let (effective, permitted) = (CapabilitySet(1 | 1 << 21), CapabilitySet(u64::MAX >> 23));
    assert_eq!(
        printed(Step::Capabilities { effective, permitted, inheritable: CapabilitySet::NONE }),
        "Capabilities effective=chown,sys_admin permitted=all inheritable=none"
    );
    assert_eq!(
        printed(Step::Join { namespace: Slot(8), kind: Namespaces(0x2002_0000) }),
        "Join namespace=8 kind=newns|newpid"
    );
    assert_eq!(
        printed(Step::User {
            uid: 0,
            gid: 0,
            groups: Ids::new([0, 27]),
            keep_groups: CallersGroups::KeptIfDenied
        }),
        "User uid=0 gid=0 groups=0,27 keep_groups=if-denied"
    );
}

/// A slot's role is in the table, but for what depends on another operand.
#[test]
fn steps_say_what_they_do_with_slots() {
    let slots = |step: &OwnedStep| {
        let mut slots = Vec::new();
        step.slots(&mut |name, Slot(slot), role| slots.push((name, slot, role)));
        slots
    };
    let moves = |keep| Step::MoveMount { mount: Slot(3), target: Slot(4), keep };
    assert_eq!(slots(&moves(false)), [("mount", 3, Role::Takes), ("target", 4, Role::Takes)]);
    assert_eq!(slots(&moves(true)), [("mount", 3, Role::Reads), ("target", 4, Role::Takes)]);
    let target = Target::Like(Slot(2));
    assert_eq!(
        slots(&Step::OpenTarget { path: c"/a".into(), target, in_proc: false, slot: Slot(5) }),
        [("target", 2, Role::Reads), ("slot", 5, Role::Fills)]
    );
    assert_eq!(slots(&Step::OwnStdio { uid: 0, dev: None, proc: Some(Slot(9)) }), [("proc", 9, Role::Reads)]);
    let trees = SlotRange { first: Slot(6), count: 2 };
    assert_eq!(slots(&Step::TakeTrees { trees }), [("trees", 6, Role::Fills), ("trees", 7, Role::Fills)]);
}

/// What the executable is by itself, in a container that starts `/proc/self/exe`.
#[test]
fn the_executable_refuses_to_be_started_by_anybody() {
    let directory = std::env::temp_dir().join(format!("corten-init-test-{}", std::process::id()));
    std::fs::write(&directory, corten_init::ELF).unwrap();
    let mut permissions = std::fs::metadata(&directory).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o700);
    std::fs::set_permissions(&directory, permissions).unwrap();
    for arguments in [&[][..], &["3"], &["nonsense"], &["99999999999999999999"], &["0"], &["1", "2"]] {
        let output = std::process::Command::new(&directory).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(output.stdout.is_empty());
    }
    std::fs::remove_file(&directory).unwrap();
}
