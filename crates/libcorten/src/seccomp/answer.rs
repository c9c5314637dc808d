//! What a compiled filter says to a call: the kernel's classic BPF on `struct seccomp_data`, without the
//! kernel.
//!
//! The plan asks where it matters whether init may make a call after the filter. An instruction that
//! libseccomp does not make (a filter of bytes, `run.oci.seccomp_bpf_data`) is no answer, which counts as a
//! refusal.

use super::{Filter, INSTRUCTION_BYTES, INSTRUCTIONS_MAX};

/// `SECCOMP_RET_ALLOW`, linux/seccomp.h.
const ALLOW: u32 = 0x7fff_0000;
/// `AUDIT_ARCH_*` of this machine, linux/audit.h.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// A call that may be made: its number and arguments. Pointers are 0.
pub(crate) type Call = (libc::c_long, [u64; 6]);

impl Filter {
    /// Whether the filter lets this call through.
    pub(crate) fn allows(&self, (number, arguments): Call) -> bool {
        // struct seccomp_data: int nr, u32 arch, u64 instruction_pointer, u64 args[6].
        let mut data = [0; 64];
        let words =
            [u32::try_from(number).unwrap_or(u32::MAX).to_ne_bytes(), ARCHITECTURE.to_ne_bytes()].concat();
        let arguments = arguments.iter().flat_map(|argument| argument.to_ne_bytes());
        for (to, from) in data.iter_mut().zip(words.into_iter().chain([0; 8]).chain(arguments)) {
            *to = from;
        }
        answer(&self.program, &data) == Some(ALLOW)
    }
}

/// Runs the program; `None` if it does something unknown.
fn answer(program: &[u8], data: &[u8; 64]) -> Option<u32> {
    let instructions = program.as_chunks::<INSTRUCTION_BYTES>().0;
    let (mut at, mut accumulator) = (0_usize, 0_u32);
    for _ in 0..INSTRUCTIONS_MAX {
        // struct sock_filter: u16 code, u8 jt, u8 jf, u32 k.
        let [c0, c1, if_true, if_false, k0, k1, k2, k3] = *instructions.get(at)?;
        let (code, k) = (u16::from_ne_bytes([c0, c1]), u32::from_ne_bytes([k0, k1, k2, k3]));
        let jump = |taken: bool| usize::from(if taken { if_true } else { if_false });
        let skip = match code {
            // ld [k]
            0x20 => {
                let from = usize::try_from(k).ok()?;
                accumulator = u32::from_ne_bytes(data.get(from..from.checked_add(4)?)?.try_into().ok()?);
                0
            }
            // and #k
            0x54 => {
                accumulator &= k;
                0
            }
            // ja
            0x05 => usize::try_from(k).ok()?,
            // jeq, jgt, jge, jset #k
            0x15 => jump(accumulator == k),
            0x25 => jump(accumulator > k),
            0x35 => jump(accumulator >= k),
            0x45 => jump(accumulator & k != 0),
            // ret #k
            0x06 => return Some(k),
            _ => return None,
        };
        at = at.checked_add(skip)?.checked_add(1)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::{CompileOptions, compile};

    fn filter(rules: &str) -> Filter {
        let json = format!(r#"{{ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{rules}] }}"#);
        compile(&serde_json::from_str(&json).unwrap(), CompileOptions::default()).unwrap()
    }

    #[test]
    fn answers_are_those_of_the_profile() {
        let flags = r#"{ "index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }"#;
        let filter = filter(&format!(
            r#"{{ "names": ["read", "close"], "action": "SCMP_ACT_ALLOW" }},
               {{ "names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [{flags}] }},
               {{ "names": ["setsid"], "action": "SCMP_ACT_LOG" }}"#
        ));
        assert!(filter.allows((libc::SYS_read, [0; 6])));
        assert!(filter.allows((libc::SYS_clone, [17, 0, 0, 0, 0, 0])));
        let new_user = u64::from(libc::CLONE_NEWUSER.cast_unsigned());
        assert!(!filter.allows((libc::SYS_clone, [new_user, 0, 0, 0, 0, 0])));
        assert!(!filter.allows((libc::SYS_write, [0; 6])));
        assert!(!filter.allows((libc::SYS_setsid, [0; 6])), "logged");
    }

    #[test]
    fn no_program_is_no_answer() {
        for program in [
            vec![],
            vec![0; 8],
            vec![0x06],
            [0x05_u16.to_ne_bytes().to_vec(), vec![0, 0, 255, 255, 255, 255]].concat(),
        ] {
            let filter = Filter { flags: 0, program, notify: false };
            assert!(!filter.allows((libc::SYS_read, [0; 6])));
        }
    }
}
