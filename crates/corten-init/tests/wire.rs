//! The wire form: what is written is read, and nothing else breaks the reader.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests stop at what they do not expect, and say what they skip"
)]

use std::ffi::{CStr, CString};

use corten_init::{Call, MAX_MESSAGE, Message, OwnedStep, Program, Slot, Step, SyncPoint, Value, WireStep, encode};
use proptest::prelude::*;

fn text() -> impl Strategy<Value = CString> {
    proptest::collection::vec(1u8.., 0..40).prop_map(|bytes| CString::new(bytes).unwrap())
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..60)
}

fn slot() -> impl Strategy<Value = Slot> {
    (0u16..8).prop_map(Slot)
}

/// Steps with every kind of operand.
fn step() -> impl Strategy<Value = OwnedStep> {
    prop_oneof![
        Just(Step::PivotRoot {}),
        text().prop_map(|name| Step::Hostname { name }),
        any::<u64>().prop_map(|mask| Step::Umask { mask }),
        slot().prop_map(|slot| Step::Close { slot }),
        (text(), text(), bytes(), any::<u64>(), slot()).prop_map(|(fstype, source, options, attributes, slot)| {
            Step::MountFs { fstype, source, options, attributes, slot }
        }),
        (any::<u64>(), bytes(), any::<u64>(), any::<u64>())
            .prop_map(|(flags, program, privileged, notify)| Step::Seccomp { flags, program, privileged, notify }),
        (text(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>())
            .prop_map(|(path, mode, major, minor, uid, gid)| Step::MakeNode { path, mode, major, minor, uid, gid }),
        (bytes(), bytes()).prop_map(|(arguments, environment)| Step::Exec { arguments, environment }),
    ]
}

/// A step's name and operands, owned, to compare across the two forms.
fn shape(name: &str, operands: Vec<(&str, Value<'_>)>) -> String {
    format!("{name} {operands:?}")
}

fn owned_shape(step: &OwnedStep) -> String {
    let mut operands = Vec::new();
    step.operands(|name, value| operands.push((name, value)));
    shape(step.name(), operands)
}

fn wire_shape(step: &WireStep<'_>) -> String {
    let mut operands = Vec::new();
    step.operands(|name, value| operands.push((name, value)));
    shape(step.name(), operands)
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
        fds in proptest::collection::vec(-1i32..100, 8..20),
        steps in proptest::collection::vec((text(), step()), 0..30),
    ) {
        let written = encode(&fds, steps.iter().map(|(item, step)| (item.as_c_str(), step))).unwrap();
        let program = Program::parse(&written).unwrap();
        prop_assert_eq!(program.fds().collect::<Vec<_>>(), fds);
        let expected: Vec<_> = steps.iter().map(|(item, step)| (item.clone(), owned_shape(step))).collect();
        prop_assert_eq!(read_all(&written), Some(expected));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        read_all(&bytes);
        let mut framed = b"CORTEN\0\x01\x02\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0".to_vec();
        framed.extend(bytes);
        read_all(&framed);
    }

    #[test]
    fn damaged_programs_are_read_or_refused(
        steps in proptest::collection::vec((text(), step()), 1..6),
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
        item in proptest::collection::vec(any::<u8>(), 0..1024),
        detail in proptest::collection::vec(any::<u8>(), 0..3000),
        junk in proptest::collection::vec(any::<u8>(), 0..100),
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
fn calls_have_numbers_of_their_own() {
    let calls: Vec<Call> = (0..100).filter_map(Call::from_number).collect();
    assert!(calls.len() > 40);
    for call in calls {
        assert_eq!(Call::from_number(call.to_number()), Some(call));
    }
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
