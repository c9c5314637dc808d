//! The order of things: the phases of both halves, from top to bottom.
//!
//! Stage: plan; pure. A step is added at a phase, wherever the code that adds it stands. A plan has its steps
//! in the order of the phases, and within one phase in the order in which they were added.
//! `docs/lifecycle.md` lists the steps of each phase.

macro_rules! phases {
    ($(#[$doc:meta])* $name:ident { $( $(#[doc = $holds:expr])+ $phase:ident, )* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum $name {
            $( $(#[doc = $holds])+ $phase, )*
        }

        #[cfg(test)]
        impl $name {
            /// All phases with their names and what holds then, in order.
            pub(super) const ALL: &[(Self, &str, &str)] =
                &[ $( (Self::$phase, stringify!($phase), concat!($( $holds, )+)), )* ];

            fn name(self) -> &'static str {
                match self { $( Self::$phase => stringify!($phase), )* }
            }
        }
    };
}

phases! {
    /// Phases of the runtime. Each says what holds when it begins, or what its steps are for.
    HostPhase {
        /// There is nothing of the container yet. The state is written down before anything that it names is
        /// made.
        Record,
        /// The state directory is there. In it the directory is made that the container sees.
        Notify,
        /// Cgroups are made and limited, and no process is in them. Before anything is opened, as mounts show
        /// cgroups.
        Cgroups,
        /// What init is to find open is opened, in the order of its use. Paths of the host are resolved once,
        /// here or at `Trees`.
        Open,
        /// Sockets are made that others connect to when the container is there.
        Listen,
        /// Of a process that joins a container: its first moments are on the CPUs that the config says.
        Affinity,
        /// What init gets as stdio is known.
        Stdio,
        /// All that init finds open is open. Init is cloned, and has done nothing yet. From here on both
        /// halves run.
        Clone,
        /// Init waits until it is in its cgroups, or goes on in a clone that is there.
        EnterCgroups,
        /// Init enters the namespaces and clones itself for some of them. The runtime follows it and writes
        /// the id maps.
        EnterNamespaces,
        /// Init is the process that stays, but for one that joins a container (see `LastClone`). The network
        /// namespace is handed to it.
        Network,
        /// Init waits in its network namespace for network devices of the host.
        NetDevices,
        /// Init is at work. Trees that it need not have from the beginning are opened and handed over, before
        /// it needs them.
        Trees,
        /// Init does not clone itself again, so that even a limit of one process can be set.
        LateLimits,
        /// The config is written down for processes that join later, while init works.
        Config,
        /// Init is restricted from outside, while it works: what needs no turn.
        Restrict,
        /// Init has made the terminal.
        Console,
        /// Of a process that joins a container: it has nothing left that processes there could want. It
        /// appears among them in a last clone, and enters the cgroup that counts it.
        LastClone,
        /// The launch cannot begin again any more, so that the terminal's master may leave the runtime.
        HandOnConsole,
        /// Of a process that joins a container: it has made its last clone, which is restricted from outside.
        RestrictJoined,
        /// The mounts are made, and init waits before it changes its root. Devices are restricted before the
        /// hooks run.
        Hooks,
        /// Where no hooks have come before: devices are restricted before init opens files of the container's
        /// root.
        Devices,
        /// Init has loaded the filter, whose listener goes to its agent.
        Listener,
        /// What has to be written when init is ready is written beside its place.
        Prepare,
        /// Init waits, ready for the exec. Whoever looks sees a container that is created or running from
        /// here on.
        Ready,
        /// Init has nothing left but to become the program.
        Exec,
        /// The program runs.
        Poststart,
    }
}

phases! {
    /// Phases of init. Each says what holds when it begins, or what its steps are for.
    InsidePhase {
        /// Init has all of the runtime's privileges and is in the runtime's namespaces but for those that it
        /// was cloned into. It waits until it is in its cgroups, or goes on in a clone that is there.
        EnterCgroups,
        /// Nobody but the caller can look at init yet, so that it may be dumpable, and write files of its own
        /// in procfs.
        OomScore,
        /// Init enters the namespaces: what is joined, what is new, and clones for those that only a new
        /// process is in.
        EnterNamespaces,
        /// Paths are still the caller's. Init opens what the runtime may not open.
        Sources,
        /// All namespaces but those of network and cgroup are the container's.
        Loopback,
        /// Network devices of the host come into the network namespace, which is entered for that.
        NetDevices,
        /// Init is in its cgroup, and makes it the root of its cgroup namespace.
        CgroupNamespace,
        /// Init leaves the session of the caller.
        Session,
        /// The container's root becomes the one that targets are looked up in. Init's own paths are still
        /// those of the caller.
        Root,
        /// Mounts, in the order of the config.
        Mounts,
        /// All mounts of the config are there; `/dev` is filled.
        Devices,
        /// There is a devpts; the terminal is made in it.
        Terminal,
        /// Of a process that joins a container: it leaves the session of the caller, and has the terminal as
        /// that of its own.
        JoinedSession,
        /// All that the directory could be in is mounted: a missing working directory is made, by root.
        WorkingDirectory,
        /// The network namespace is entered here at the latest. Up to now no step depended on it.
        LateNetwork,
        /// All is mounted, and the host can still be seen: the runtime's hooks run, then those of the
        /// container's namespaces.
        Hooks,
        /// Nothing more is made in filesystems that are to be read-only.
        LateReadonly,
        /// The container's root becomes that of init. From here on nothing of the host can be reached by a
        /// path.
        ChangeRoot,
        /// Names of the UTS namespace.
        Names,
        /// Init writes files of the kernel, in a procfs that the container cannot have tampered with.
        KernelFiles,
        /// Labels of keyrings are set; init leaves the caller's keyring.
        Keyring,
        /// Nothing has to write to these paths any more: they become read-only, or are hidden.
        Hide,
        /// Nothing has to write to the root any more.
        RootAttributes,
        /// Init opens files of the container's root, which others may have exchanged for devices: these are
        /// restricted by now.
        Stdio,
        /// Init has opened its last file, so that all others can be closed, while no filter forbids it.
        CloseFiles,
        /// Limits and scheduling: init has all its privileges, and needs no more than it is to have.
        Limits,
        /// The bounding set, while init has CAP_SETPCAP.
        BoundingSet,
        /// The user, with permitted capabilities kept. The working directory before, as only root may be able
        /// to enter it.
        User,
        /// The sets of capabilities that count when the program is looked for.
        Capabilities,
        /// Init is the user, and has the rights of the exec: the program is looked for.
        Program,
        /// No exec gives privileges any more.
        NoNewPrivileges,
        /// A filter that needs CAP_SYS_ADMIN, or a runtime that hands its listener on, is loaded; then that
        /// capability goes.
        EarlyFilter,
        /// Of a process that joins a container: it has nothing left that processes there could want, and
        /// appears among them.
        LastClone,
        /// Init is what the program will be. It waits until the runtime has done its half, then for `start`.
        Ready,
        /// The container has been started: its own hooks run, under the filter.
        StartHooks,
        /// Nothing is left but the exec, and a filter that needs no privileges: the end of the stream means
        /// that there is a program.
        Announce,
        /// A filter that needs no privileges is loaded last of all, so that it need allow nothing but the
        /// exec.
        LastFilter,
        /// Init becomes the program.
        Exec,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{HostPhase, InsidePhase};
    use corten_init::STEP_NAMES;

    use crate::plan::corpus::Case;

    /// How many plans have steps of every kind at every phase that they can be at.
    const CASES: u64 = 600;

    /// What a row of the document says.
    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
    enum Row<'a> {
        Phase { name: &'a str, holds: &'a str },
        Step { phase: &'a str, step: &'a str },
    }

    /// The rows of the section with this heading.
    fn documented(heading: &str) -> Vec<Row<'static>> {
        let document = include_str!("../../../../docs/lifecycle.md");
        let section = document.split(heading).nth(1).unwrap_or_default();
        let section = section.split("\n## ").next().unwrap_or_default();
        let (mut rows, mut phase) = (Vec::new(), "");
        for line in section.lines() {
            let cells: Vec<&str> = line.splitn(4, '|').map(str::trim).collect();
            let [_, first, second, third] = cells[..] else { continue };
            if let Some(name) = first.strip_prefix("**").and_then(|name| name.strip_suffix("**")) {
                phase = name;
                rows.push(Row::Phase { name, holds: third.trim_end_matches(" |") });
            } else if first.is_empty() {
                rows.extend(second.split('`').skip(1).step_by(2).map(|step| Row::Step { phase, step }));
            }
        }
        rows
    }

    fn assert_documented<P: PartialEq>(
        heading: &str,
        phases: &'static [(P, &str, &str)],
        steps: &BTreeSet<(&'static str, &'static str)>,
    ) {
        let rows = documented(heading);
        let holds: Vec<String> =
            phases.iter().map(|(_, name, holds)| format!("{name}: {}", holds.trim())).collect();
        let listed = rows.iter().filter_map(|row| match row {
            Row::Phase { name, holds } => Some(format!("{name}: {holds}")),
            Row::Step { .. } => None,
        });
        assert_eq!(listed.collect::<Vec<_>>(), holds, "the phases of the document");
        let listed: Vec<(&str, &str)> = rows
            .iter()
            .filter_map(|row| match row {
                Row::Step { phase, step } => Some((*phase, *step)),
                Row::Phase { .. } => None,
            })
            .collect();
        let once: BTreeSet<_> = listed.iter().copied().collect();
        assert_eq!(listed.len(), once.len(), "each step is listed once at a phase");
        let missing: Vec<_> = steps.difference(&once).collect();
        let idle: Vec<_> = once.difference(steps).collect();
        assert!(
            missing.is_empty() && idle.is_empty(),
            "not in the document: {missing:?}; in no plan: {idle:?}"
        );
    }

    /// `docs/lifecycle.md` has the phases as they are here, and each step at the phases that it can be at.
    #[test]
    fn the_document_of_the_lifecycle_is_true() {
        let (mut host, mut inside) = (BTreeSet::new(), BTreeSet::new());
        for seed in 0..CASES {
            // Of a few there is no plan.
            if let Ok((of_host, of_inside)) = Case::new(seed).build(|builder| builder.names()) {
                host.extend(of_host);
                inside.extend(of_inside);
            }
        }
        let all: BTreeSet<&str> = inside.iter().map(|(_, step)| *step).collect();
        assert_eq!(all, STEP_NAMES.iter().copied().collect(), "every step of init is in some plan");
        let host = host.iter().map(|(phase, step)| (HostPhase::name(*phase), *step)).collect();
        assert_documented("## What the runtime does", HostPhase::ALL, &host);
        let inside = inside.iter().map(|(phase, step)| (InsidePhase::name(*phase), *step)).collect();
        assert_documented("## What init does", InsidePhase::ALL, &inside);
    }
}
