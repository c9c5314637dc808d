//! Which devices the processes of a cgroup may use: rules, and the BPF program that keeps them.
//!
//! Rules are meant in order, the last word counts, and what no rule allows is forbidden. A request may ask
//! for several things at once (read and write): it is allowed if each of them is. What the rules say of a
//! device is known before any request comes, so the program only finds the device, by kind, major and minor
//! number, and compares what is asked for with what it may be used for. No number is compared twice on the
//! way: the kernel's verifier, whose time is the caller's, then walks through the program once. Spec:
//! config-linux.md#allowed-device-list. Kernel: BPF_PROG_TYPE_CGROUP_DEVICE (4.15),
//! `struct bpf_cgroup_dev_ctx`.

use std::collections::BTreeSet;
use std::fmt;
use std::os::fd::OwnedFd;

use crate::error::Error;
use crate::sys;

/// Which kind of device a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Both.
    All,
    /// Character devices.
    Char,
    /// Block devices.
    Block,
}

/// What may be done with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Access {
    /// Reading.
    pub read: bool,
    /// Writing.
    pub write: bool,
    /// Making a node.
    pub mknod: bool,
}

impl Access {
    /// The kernel's bits: BPF_DEVCG_ACC_MKNOD 1, READ 2, WRITE 4.
    pub(crate) fn bits(self) -> i32 {
        i32::from(self.mknod) | i32::from(self.read) << 1 | i32::from(self.write) << 2
    }
}

/// A rule of the allowed device list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Allow or forbid.
    pub allow: bool,
    /// The kind of device.
    pub kind: Kind,
    /// Its major number; `None` for any.
    pub major: Option<u32>,
    /// Its minor number; `None` for any.
    pub minor: Option<u32>,
    /// What is allowed or forbidden.
    pub access: Access,
}

impl Rule {
    /// Whether the rule is about devices of a kind (`BPF_DEVCG_DEV_BLOCK` 1, `BPF_DEVCG_DEV_CHAR` 2).
    pub(crate) fn has_kind(&self, kind: i32) -> bool {
        match self.kind {
            Kind::All => true,
            Kind::Block => kind == BLOCK,
            Kind::Char => kind == CHAR,
        }
    }
}

/// Displayed as in v1's `devices.allow` and `devices.deny`: `c 1:3 rwm`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::All => 'a',
            Kind::Char => 'c',
            Kind::Block => 'b',
        };
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        write!(f, "{kind} {}:{} ", number(self.major), number(self.minor))?;
        let Access { read, write, mknod } = self.access;
        let letters = [(read, 'r'), (write, 'w'), (mknod, 'm')];
        letters.iter().filter(|(has, _)| *has).try_for_each(|(_, letter)| write!(f, "{letter}"))
    }
}

/// A device filter that the kernel has checked and holds ready: to be attached in the place of another at
/// once.
#[derive(Debug)]
pub struct Program {
    /// `None`: everything is allowed, for which none is needed.
    pub(crate) fd: Option<OwnedFd>,
}

/// A compiled device filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    instructions: Vec<u64>,
    allows_everything: bool,
}

pub(crate) const BLOCK: i32 = 1;
pub(crate) const CHAR: i32 = 2;
/// Each kind of access.
pub(crate) const ALL: i32 = 7;

// Registers: r1 is the context at first, then r2 what is asked for, r3 the kind, r4 major, r5 minor.
const R0: u8 = 0;
const R1: u8 = 1;
const R2: u8 = 2;
const R3: u8 = 3;
const R4: u8 = 4;
const R5: u8 = 5;
// Operations, include/uapi/linux/bpf_common.h and bpf.h.
const LOAD_WORD: u8 = 0x61;
const AND32_K: u8 = 0x54;
const RSH32_K: u8 = 0x74;
const MOV32_X: u8 = 0xbc;
const MOV32_K: u8 = 0xb4;
const JNE32_K: u8 = 0x56;
const JSET32_K: u8 = 0x46;
const EXIT: u8 = 0x95;

/// The longest part of a program within a part that is jumped over at once.
const INNER_PART: usize = 8_000;
/// The longest part: an offset has 16 bits.
const OUTER_PART: usize = 32_000;

/// `struct bpf_insn`.
fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> u64 {
    let [o0, o1] = offset.to_ne_bytes();
    let [i0, i1, i2, i3] = immediate.to_ne_bytes();
    let registers = if cfg!(target_endian = "little") { from << 4 | to } else { to << 4 | from };
    u64::from_ne_bytes([code, registers, o0, o1, i0, i1, i2, i3])
}

/// Return 1 (allowed) or 0.
fn answer(allow: bool) -> [u64; 2] {
    [instruction(MOV32_K, R0, 0, 0, i32::from(allow)), instruction(EXIT, 0, 0, 0, 0)]
}

/// Parts of a program, each short enough to be jumped over. The last one ends with an answer.
type Parts = Vec<Vec<u64>>;

impl Filter {
    /// Compiles rules.
    pub fn compile(rules: &[Rule]) -> Self {
        let of_kind =
            |kind| by_major(&rules.iter().rev().filter(|rule| rule.has_kind(kind)).collect::<Vec<_>>());
        let (char, block) = (of_kind(CHAR), of_kind(BLOCK));
        let allows_everything = [&char, &block].iter().all(|parts| parts.concat() == answer(true));
        let mut program = vec![
            // access_type: (access << 16) | kind; then major and minor.
            instruction(LOAD_WORD, R2, R1, 0, 0),
            instruction(MOV32_X, R3, R2, 0, 0),
            instruction(AND32_K, R3, 0, 0, 0xffff),
            instruction(RSH32_K, R2, 0, 0, 16),
            instruction(LOAD_WORD, R4, R1, 4, 0),
            instruction(LOAD_WORD, R5, R1, 8, 0),
        ];
        if char != block {
            program.extend(only_if(R3, CHAR, char, OUTER_PART).concat());
        }
        program.extend(block.concat());
        Self { instructions: program, allows_everything }
    }

    /// Whether the filter would never say no, so that none is needed.
    pub fn allows_everything(&self) -> bool {
        self.allows_everything
    }

    /// Has the kernel check the program and translate it, which takes its time.
    ///
    /// # Errors
    /// The kernel refuses it (its words are in the error), or the caller may not load it.
    pub fn load(&self) -> Result<Program, Error> {
        let fd =
            (!self.allows_everything).then(|| sys::load_device_program(&self.instructions)).transpose()?;
        Ok(Program { fd })
    }

    /// Returns the program: one number for each `struct bpf_insn`.
    pub fn instructions(&self) -> &[u64] {
        &self.instructions
    }
}

/// What the rules, the last one first, say of devices of a kind.
fn by_major(rules: &[&Rule]) -> Parts {
    by_number(rules, R4, |rule| rule.major, by_minor)
}

fn by_minor(rules: &[&Rule]) -> Parts {
    by_number(rules, R5, |rule| rule.minor, by_access)
}

/// Tells the numbers apart that the rules name and for which they say something else than for all others.
fn by_number(
    rules: &[&Rule],
    register: u8,
    number: fn(&Rule) -> Option<u32>,
    then: fn(&[&Rule]) -> Parts,
) -> Parts {
    let about = |wanted: Option<u32>| -> Vec<&Rule> {
        rules
            .iter()
            .filter(|rule| number(rule).is_none_or(|number| Some(number) == wanted))
            .copied()
            .collect()
    };
    let others = then(&about(None));
    let numbers: BTreeSet<u32> = rules.iter().filter_map(|rule| number(rule)).collect();
    let mut parts = Parts::new();
    for number in numbers {
        let this = then(&about(Some(number)));
        if this != others {
            parts.extend(only_if(register, number.cast_signed(), this, INNER_PART));
        }
    }
    parts.extend(others);
    parts
}

/// What rules, the last one first, allow of a device that all of them are about.
pub(crate) fn allowed(rules: &[&Rule]) -> i32 {
    let says =
        |bit: i32| rules.iter().find(|rule| rule.access.bits() & bit != 0).is_some_and(|rule| rule.allow);
    [1, 2, 4].into_iter().filter(|bit| says(*bit)).sum()
}

/// What rules say of a device that all of them are about.
fn by_access(rules: &[&Rule]) -> Parts {
    let allowed = allowed(rules);
    vec![match allowed {
        0 => answer(false).to_vec(),
        ALL => answer(true).to_vec(),
        _ => {
            let test = instruction(JSET32_K, R2, 0, 2, ALL & !allowed);
            [&[test][..], &answer(true), &answer(false)].concat()
        }
    }]
}

/// Puts parts together as far as they are `longest`, and each time jumps over them if the register has
/// another value.
fn only_if(register: u8, value: i32, parts: Parts, longest: usize) -> Parts {
    let mut joined = Parts::new();
    for part in parts {
        match joined.last_mut() {
            Some(last) if last.len() + part.len() <= longest => last.extend(part),
            _ => joined.push(part),
        }
    }
    for part in &mut joined {
        let over = i16::try_from(part.len()).unwrap_or(i16::MAX);
        part.insert(0, instruction(JNE32_K, register, 0, over, value));
    }
    joined
}
