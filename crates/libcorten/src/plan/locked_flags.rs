//! Flags of the host's mounts that a container in a user namespace keeps (`mounts[].options`).
//!
//! Stage: plan; pure. The kernel locks them in a mount namespace that another user namespace owns
//! (mount_namespaces(7)), but not on a tree that the runtime opens: there the same rule is the runtime's to
//! keep. Spec: config.md#linux-mount-options. Attacker: none; the bundle is trusted, but engines write
//! options without a look at the host's mount.

use libc::{
    MOUNT_ATTR__ATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY, MOUNT_ATTR_RELATIME, MOUNT_ATTR_STRICTATIME,
};

use super::mount_options::MountOptions;

/// The flags that the kernel can lock one by one, by their names in `mountinfo`.
const LOCKABLE: [(u64, &str); 4] = [
    (MOUNT_ATTR_RDONLY, "ro"),
    (MOUNT_ATTR_NOSUID, "nosuid"),
    (MOUNT_ATTR_NODEV, "nodev"),
    (MOUNT_ATTR_NOEXEC, "noexec"),
];

/// What options ask of flags that must stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LockedFlags {
    /// Of the mount itself.
    pub(crate) own: Change,
    /// Of the mount and all below.
    pub(crate) tree: Change,
}

/// `MOUNT_ATTR_*` that are set and cleared; the atime field counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Change {
    pub(crate) set: u64,
    pub(crate) clear: u64,
}

impl LockedFlags {
    /// What these options, one mount's after the other, ask of flags that could be locked; `None` if nothing.
    pub(crate) fn of<'a>(options: impl IntoIterator<Item = &'a MountOptions>) -> Option<Self> {
        let mut asked = Self::default();
        for options in options {
            asked.own.add(options.set, options.clear);
            asked.tree.add(options.recursive_set, options.recursive_clear);
        }
        (asked.own.touches() || asked.tree.touches()).then_some(asked)
    }

    /// Says what a mount with these words in `mountinfo` would lose. `is_source`: it is the source, not a
    /// mount below it.
    pub(crate) fn refusal<'a>(
        self,
        words: impl Iterator<Item = &'a str> + Clone,
        is_source: bool,
    ) -> Option<String> {
        self.own.refusal(words.clone()).filter(|_| is_source).or_else(|| self.tree.refusal(words))
    }
}

impl Change {
    fn add(&mut self, set: u64, clear: u64) {
        self.set = self.set & !clear | set;
        self.clear |= clear;
    }

    fn touches(self) -> bool {
        let lockable =
            LOCKABLE.iter().fold(MOUNT_ATTR__ATIME | MOUNT_ATTR_NODIRATIME, |all, (flag, _)| all | flag);
        self.clear & lockable != 0 || self.set & MOUNT_ATTR_NODIRATIME != 0
    }

    fn refusal<'a>(self, words: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
        let has = |name: &str| words.clone().any(|word| word == name);
        let lost = LOCKABLE.iter().filter(|(flag, name)| self.clear & flag != 0 && has(name));
        let lost: Vec<&str> = lost.map(|(_, name)| *name).collect();
        if !lost.is_empty() {
            return Some(format!("cannot clear locked flags {}", lost.join(",")));
        }
        let (atime, name) = match () {
            () if has("noatime") => (MOUNT_ATTR_NOATIME, "noatime"),
            () if has("relatime") => (MOUNT_ATTR_RELATIME, "relatime"),
            () => (MOUNT_ATTR_STRICTATIME, "strictatime"),
        };
        let other = self.clear & MOUNT_ATTR__ATIME != 0 && self.set & MOUNT_ATTR__ATIME != atime;
        let directories = if has("nodiratime") { self.clear } else { self.set };
        match (other, directories & MOUNT_ATTR_NODIRATIME != 0) {
            (true, _) => Some(format!("cannot change locked atime flags {name}")),
            (false, true) if has("nodiratime") => {
                Some("cannot change locked atime flags nodiratime".to_owned())
            }
            (false, true) => Some(format!("cannot add nodiratime to locked atime flags {name}")),
            (false, false) => None,
        }
    }
}
