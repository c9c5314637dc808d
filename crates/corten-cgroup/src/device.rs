//! Which devices the processes of a cgroup may use: rules, and the BPF program that keeps them.
//!
//! Rules are meant in order, the last word counts, and what no rule allows is forbidden. A request may ask for several things
//! at once (read and write): it is allowed if each of them is. So the program goes through the rules from the last to the
//! first with the set of what is still open: a rule that forbids any of it ends in "no", a rule that allows takes its part
//! out, and when nothing is open any more the answer is "yes".
//! Spec: config-linux.md#allowed-device-list. Kernel: BPF_PROG_TYPE_CGROUP_DEVICE (4.15), `struct bpf_cgroup_dev_ctx`.

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
    fn bits(self) -> i32 {
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
    const ALL: i32 = 7;

    /// Whether the rule is about every device and every access.
    fn is_total(&self) -> bool {
        self.kind == Kind::All && (self.major, self.minor) == (None, None) && self.access.bits() == Self::ALL
    }
}

/// A compiled device filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    instructions: Vec<u64>,
    allows_everything: bool,
}

// Registers: r1 is the context at first, then r2 what is asked for and still open, r3 the kind, r4 major, r5 minor.
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
const JUMP: u8 = 0x05;
const JSET32_K: u8 = 0x46;
const EXIT: u8 = 0x95;

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

impl Filter {
    /// Compiles rules.
    pub fn compile(rules: &[Rule]) -> Self {
        // What stands before the last word on everything never counts; neither does a rule that a later one repeats.
        let start = rules.iter().rposition(Rule::is_total).unwrap_or(0);
        let mut counting: Vec<Rule> = Vec::new();
        for rule in rules.get(start..).unwrap_or_default().iter().rev() {
            if rule.access.bits() != 0 && !counting.contains(rule) {
                counting.push(*rule);
            }
        }
        let default = counting.last().is_some_and(|rule| rule.allow && rule.is_total());
        let allows_everything = default && counting.iter().all(|rule| rule.allow);
        if counting.last().is_some_and(Rule::is_total) {
            counting.pop();
        }
        let mut program = vec![
            // access_type: (access << 16) | kind; then major and minor.
            instruction(LOAD_WORD, R2, R1, 0, 0),
            instruction(MOV32_X, R3, R2, 0, 0),
            instruction(AND32_K, R3, 0, 0, 0xffff),
            instruction(RSH32_K, R2, 0, 0, 16),
            instruction(LOAD_WORD, R4, R1, 4, 0),
            instruction(LOAD_WORD, R5, R1, 8, 0),
        ];
        for rule in &counting {
            compile_rule(&mut program, rule);
        }
        program.extend(answer(default));
        Self { instructions: program, allows_everything }
    }

    /// Whether the filter would never say no, so that none is needed.
    pub fn allows_everything(&self) -> bool {
        self.allows_everything
    }

    /// Returns the program: one number for each `struct bpf_insn`.
    pub fn instructions(&self) -> &[u64] {
        &self.instructions
    }
}

fn compile_rule(program: &mut Vec<u64>, rule: &Rule) {
    let access = rule.access.bits();
    let mut body = Vec::new();
    if rule.allow {
        body.push(instruction(AND32_K, R2, 0, 0, !access & Rule::ALL));
        body.push(instruction(JNE32_K, R2, 0, 2, 0));
        body.extend(answer(true));
    } else {
        // Not asked for: jump over the answer.
        body.push(instruction(JSET32_K, R2, 0, 1, access));
        body.push(instruction(JUMP, 0, 0, 2, 0));
        body.extend(answer(false));
    }
    let kind = match rule.kind {
        Kind::All => None,
        // BPF_DEVCG_DEV_BLOCK 1, BPF_DEVCG_DEV_CHAR 2.
        Kind::Block => Some(1),
        Kind::Char => Some(2),
    };
    let numbers = [(R3, kind), (R4, rule.major.map(u32::cast_signed)), (R5, rule.minor.map(u32::cast_signed))];
    let tests: Vec<(u8, i32)> =
        numbers.into_iter().filter_map(|(register, number)| Some((register, number?))).collect();
    for (index, (register, number)) in tests.iter().enumerate() {
        let skip = i16::try_from(tests.len() - 1 - index + body.len()).unwrap_or(i16::MAX);
        program.push(instruction(JNE32_K, *register, 0, skip, *number));
    }
    program.extend(body);
}
