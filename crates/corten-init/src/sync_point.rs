//! The points at which init and the runtime wait for each other. `docs/protocol.md` has the conversation.

use crate::numbered::numbered;

// The numbers are places in this list, and what is new comes at the end: init waits for `start`, which may be
// of a later build.

numbered! {
    /// Places where init waits for the runtime.
    #[non_exhaustive]
    pub enum SyncPoint {
        /// Everything is set up but the wait for start and the exec: the runtime publishes state and pid
        /// file.
        Ready "ready",
        /// `start` says go.
        Start "start",
        /// Init is in a new user namespace: the runtime writes the id maps.
        Mapped "mapped",
        /// The mounts are made and the root is not entered yet: the runtime runs its hooks, and hands over
        /// the state for init's.
        Hooks "hooks",
        /// Init is in its network namespace: the runtime moves network devices there.
        Network "network",
        /// Init has done nothing yet: the runtime moves it into its cgroups.
        Cgroup "cgroup",
        /// The runtime hands over the network namespace that it has made. Init does not say that it waits.
        Made "made",
        /// Init is about to open files of the container's root: the runtime has attached the device filter.
        /// Init says that it waits only where the filter may not be attached before.
        Devices "devices",
        /// The runtime hands over trees that it has opened after the clone. Init does not say that it waits.
        Opened "opened",
    }
}
