//! Numbers that mean something: flags, modes, resources.

use core::fmt;

use super::{Operand, Wire};
use crate::reader::Reader;

/// Makes a kind of a number whose bits have names. Of names that share bits the one with more of them comes
/// first.
macro_rules! flags {
    ($( $( #[$doc:meta] )* $name:ident $separator:literal { $( $bits:literal $word:literal, )* } )*) => { $(
        number! { $( #[$doc] )* $name(u64) }

        impl $name {
            /// No bit.
            pub const NONE: Self = Self(0);
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                const NAMES: &[(u64, &str)] = &[ $( ($bits, $word), )* ];
                print_flags(f, self.0, $separator, NAMES)
            }
        }
    )* };
}

fn print_flags(f: &mut fmt::Formatter<'_>, bits: u64, separator: &str, names: &[(u64, &str)]) -> fmt::Result {
    let mut rest = bits;
    for (mask, name) in names {
        if rest & mask == *mask {
            f.write_str(if rest == bits { "" } else { separator })?;
            f.write_str(name)?;
            rest &= !mask;
        }
    }
    match (rest, rest == bits) {
        (0, true) => f.write_str("none"),
        (0, false) => Ok(()),
        (_, true) => write!(f, "{rest:#x}"),
        (_, false) => write!(f, "{separator}{rest:#x}"),
    }
}

flags! {
    /// Attributes of a mount: `MOUNT_ATTR_*`.
    Attributes "," {
        0x1 "ro", 0x2 "nosuid", 0x4 "nodev", 0x8 "noexec", 0x70 "atime", 0x10 "noatime", 0x20 "strictatime",
        0x80 "nodiratime", 0x10_0000 "idmap", 0x20_0000 "nosymfollow",
    }

    /// The propagation of a mount: one of `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE` and `MS_UNBINDABLE`, or none:
    /// it stays.
    Propagation "," { 0x2_0000 "unbindable", 0x4_0000 "private", 0x8_0000 "slave", 0x10_0000 "shared", }

    /// Kinds of namespaces: `CLONE_NEW*`, and `UNSHARE_EMPTY_MNTNS`.
    Namespaces "|" {
        0x2_0000 "newns", 0x200_0000 "newcgroup", 0x400_0000 "newuts", 0x800_0000 "newipc", 0x1000_0000 "newuser",
        0x2000_0000 "newpid", 0x4000_0000 "newnet", 0x80 "newtime", 0x10_0000 "empty_mntns",
    }

    /// Flags of seccomp(2): `SECCOMP_FILTER_FLAG_*`.
    FilterFlags "|" {
        0x1 "tsync", 0x2 "log", 0x4 "spec_allow", 0x8 "new_listener", 0x10 "tsync_esrch", 0x20 "wait_killable_recv",
    }

    /// Flags of sched_setattr(2): `SCHED_FLAG_*`.
    SchedulerFlags "|" {
        0x1 "reset_on_fork", 0x2 "reclaim", 0x4 "dl_overrun", 0x8 "keep_policy", 0x10 "keep_params", 0x20 "util_clamp_min",
        0x40 "util_clamp_max",
    }

    /// A set of capabilities: bit n is capability n.
    CapabilitySet "," {
        0x1ff_ffff_ffff "all",
        0x1 "chown", 0x2 "dac_override", 0x4 "dac_read_search", 0x8 "fowner", 0x10 "fsetid", 0x20 "kill", 0x40 "setgid",
        0x80 "setuid", 0x100 "setpcap", 0x200 "linux_immutable", 0x400 "net_bind_service", 0x800 "net_broadcast",
        0x1000 "net_admin", 0x2000 "net_raw", 0x4000 "ipc_lock", 0x8000 "ipc_owner", 0x1_0000 "sys_module",
        0x2_0000 "sys_rawio", 0x4_0000 "sys_chroot", 0x8_0000 "sys_ptrace", 0x10_0000 "sys_pacct", 0x20_0000 "sys_admin",
        0x40_0000 "sys_boot", 0x80_0000 "sys_nice", 0x100_0000 "sys_resource", 0x200_0000 "sys_time",
        0x400_0000 "sys_tty_config", 0x800_0000 "mknod", 0x1000_0000 "lease", 0x2000_0000 "audit_write",
        0x4000_0000 "audit_control", 0x8000_0000 "setfcap", 0x1_0000_0000 "mac_override", 0x2_0000_0000 "mac_admin",
        0x4_0000_0000 "syslog", 0x8_0000_0000 "wake_alarm", 0x10_0000_0000 "block_suspend", 0x20_0000_0000 "audit_read",
        0x40_0000_0000 "perfmon", 0x80_0000_0000 "bpf", 0x100_0000_0000 "checkpoint_restore",
    }
}

number! {
    /// Permission bits of a file, for nodes with the bits of its type: `S_I*`.
    Mode(u32)
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#o}", self.0)
    }
}

number! {
    /// A resource that has a limit: `RLIMIT_*`.
    Resource(u64)
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 16] = [
            "cpu",
            "fsize",
            "data",
            "stack",
            "core",
            "rss",
            "nproc",
            "nofile",
            "memlock",
            "as",
            "locks",
            "sigpending",
            "msgqueue",
            "nice",
            "rtprio",
            "rttime",
        ];
        match usize::try_from(self.0).ok().and_then(|number| NAMES.get(number)) {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}
