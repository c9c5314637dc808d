//! Programs of the kernel's classic BPF, put together from their end.
//!
//! Jumps go forward only, so what a jump leads to is there before the jump. What is there already is used
//! again, as in a graph without cycles: the time and the length are those of the graph, not of its paths.
//!
//! Stage: plan, pure.

use std::collections::HashMap;

use libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};

use super::INSTRUCTION_BYTES;

/// The kernel's `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Instruction {
    pub(super) code: u32,
    pub(super) if_true: u8,
    pub(super) if_false: u8,
    pub(super) k: u32,
}

impl Instruction {
    pub(super) fn bytes(self) -> [u8; INSTRUCTION_BYTES] {
        // All codes of classic BPF are less than 256.
        let [low, ..] = self.code.to_le_bytes();
        let [c0, c1] = u16::from(low).to_ne_bytes();
        let [k0, k1, k2, k3] = self.k.to_ne_bytes();
        [c0, c1, self.if_true, self.if_false, k0, k1, k2, k3]
    }
}

/// A part of `struct seccomp_data` as the accumulator holds it: 32 bits from `at` on, those of `mask`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Word {
    pub(super) at: u32,
    pub(super) mask: u32,
}

/// An instruction, by how many come after it.
type Label = usize;

/// Where a program can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    label: Label,
    /// What the accumulator must hold.
    needs: Option<Word>,
}

/// A program in the making.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    /// The last comes first.
    reversed: Vec<Instruction>,
    returns: HashMap<u32, Label>,
    tests: HashMap<(u32, u32, Label, Label), Label>,
    /// Where the accumulator is loaded for a place.
    loads: HashMap<Place, Label>,
    /// What stands nearer for something that is too far for a conditional jump.
    stand_ins: HashMap<Label, Label>,
}

impl Assembler {
    /// Answers with this value.
    pub(super) fn answer(&mut self, value: u32) -> Place {
        let label = match self.returns.get(&value) {
            Some(label) => *label,
            None => {
                let label =
                    self.push(Instruction { code: BPF_RET | BPF_K, if_true: 0, if_false: 0, k: value });
                self.returns.insert(value, label);
                label
            }
        };
        Place { label, needs: None }
    }

    /// Compares a word with `value` by `BPF_JEQ`, `BPF_JGT` or `BPF_JGE`.
    pub(super) fn test(&mut self, operator: u32, word: Word, value: u32, hit: Place, miss: Place) -> Place {
        if hit == miss {
            return hit;
        }
        // What was written last first: a load before it needs no jump.
        let (hit, miss) = if hit.label > miss.label {
            let hit = self.enter(hit, Some(word));
            (hit, self.enter(miss, Some(word)))
        } else {
            let miss = self.enter(miss, Some(word));
            (self.enter(hit, Some(word)), miss)
        };
        let code = BPF_JMP | operator | BPF_K;
        let label = match self.tests.get(&(code, value, hit, miss)) {
            Some(label) => *label,
            None => {
                // The stand-in for one is in between for the other.
                let near_miss = self.near(miss, 1);
                let near_hit = self.near(hit, 0);
                let (if_true, if_false) = (self.distance(near_hit), self.distance(near_miss));
                let narrow = |distance| u8::try_from(distance).unwrap_or(u8::MAX);
                let label = self.push(Instruction {
                    code,
                    if_true: narrow(if_true),
                    if_false: narrow(if_false),
                    k: value,
                });
                self.tests.insert((code, value, hit, miss), label);
                label
            }
        };
        Place { label, needs: Some(word) }
    }

    /// Writes at once what a place needs from where the accumulator holds `word`, while it is near.
    pub(super) fn settle(&mut self, place: Place, word: Word) -> Place {
        Place { label: self.enter(place, Some(word)), needs: None }
    }

    /// Returns the program that begins at `place`.
    pub(super) fn finish(mut self, place: Place) -> Vec<u8> {
        let first = self.enter(place, None);
        self.lead_to(first);
        self.reversed.iter().rev().flat_map(|instruction| instruction.bytes()).collect()
    }

    /// Returns where to go for a place while the accumulator holds a word.
    fn enter(&mut self, place: Place, holds: Option<Word>) -> Label {
        let Some(word) = place.needs.filter(|needs| Some(*needs) != holds) else { return place.label };
        if let Some(label) = self.loads.get(&place) {
            return *label;
        }
        self.lead_to(place.label);
        if word.mask != u32::MAX {
            self.push(Instruction { code: BPF_ALU | BPF_AND | BPF_K, if_true: 0, if_false: 0, k: word.mask });
        }
        let label =
            self.push(Instruction { code: BPF_LD | BPF_W | BPF_ABS, if_true: 0, if_false: 0, k: word.at });
        self.loads.insert(place, label);
        label
    }

    /// Sees to it that the next instruction goes on to `label`.
    fn lead_to(&mut self, label: Label) {
        if self.distance(label) != 0 {
            self.push_stand_in(label);
        }
    }

    /// Returns what a conditional jump can use for `label`, if no more than `spare` instructions come before
    /// it.
    fn near(&mut self, label: Label, spare: usize) -> Label {
        let is_near = |this: &Self, label| this.distance(label) + spare <= usize::from(u8::MAX);
        if is_near(self, label) {
            return label;
        }
        if let Some(stand_in) =
            self.stand_ins.get(&label).copied().filter(|stand_in| is_near(self, *stand_in))
        {
            return stand_in;
        }
        let stand_in = self.push_stand_in(label);
        self.stand_ins.insert(label, stand_in);
        stand_in
    }

    /// A jump, or the very thing, if that is an answer.
    fn push_stand_in(&mut self, label: Label) -> Label {
        let there = self.reversed[label];
        let k = u32::try_from(self.distance(label)).unwrap_or(u32::MAX);
        let jump = Instruction { code: BPF_JMP | BPF_JA, if_true: 0, if_false: 0, k };
        self.push(if there.code == BPF_RET | BPF_K { there } else { jump })
    }

    fn push(&mut self, instruction: Instruction) -> Label {
        self.reversed.push(instruction);
        self.reversed.len() - 1
    }

    /// How many instructions the next one has to jump over to get to `label`.
    fn distance(&self, label: Label) -> usize {
        self.reversed.len() - 1 - label
    }
}
