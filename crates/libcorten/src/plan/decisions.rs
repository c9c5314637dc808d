//! What is decided for a plan, once, before any step: each with the reason for it.
//!
//! Stage: plan; pure. From the config, what is asked for and what the host is like. Steps are made by what is
//! decided here, and the launch reads here what it needs to know of a plan: it never searches the steps.
//! `corten plan` prints it first.

mod kinds;

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use corten_cgroup::Location;

use crate::facts::{EmptyNamespace, Facts, JoinFacts, WayIn};
use crate::oci::{LinuxNamespaceType as Type, Mount, Process, Spec};
use crate::request::Request;
use crate::spec::{asks_for_bind, clean_in_root, is_joined, namespace};

pub(crate) use kinds::{
    Appearance, CgroupEntry, CgroupMounts, DeviceFilter, MountNamespace, NetworkNamespace, Procfs,
    RootMethod, SeccompFilter, Sources, UserNamespace,
};

use super::builder::SLAVE;
use super::exec::MountChange;
use super::root::propagation_flags;
use super::{hooks, namespaces, process};

/// How long init may take from one point to the next. Mounts of slow network filesystems set the measure.
const INIT_DEADLINE: Duration = Duration::from_secs(120);
/// How long init may take when it runs hooks, which may have no limit of their own.
pub(crate) const HOOKS_DEADLINE: Duration = Duration::from_secs(3600);

/// All that is decided.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decisions {
    /// Where the container's cgroups are; empty if it has none of its own.
    pub(crate) cgroups: Location,
    /// How the process comes into them.
    pub(crate) cgroup_entry: CgroupEntry,
    /// What mounts of type `cgroup` show.
    pub(crate) cgroup_mounts: CgroupMounts,
    /// The user namespace that the process is in.
    pub(crate) user_namespace: UserNamespace,
    /// How its mount namespace comes about.
    pub(crate) mount_namespace: MountNamespace,
    /// Where a mount namespace for the containers that follow is made, if it is.
    pub(crate) mount_template: Option<PathBuf>,
    /// Who makes its network namespace.
    pub(crate) network_namespace: NetworkNamespace,
    /// When the process enters the container's PID namespace, where processes of it see it. `None`: it does
    /// not.
    pub(crate) appearance: Option<Appearance>,
    /// Init clones itself to enter namespaces or cgroups, and is two processes for a moment: a limit on their
    /// number comes after that.
    pub(crate) clones_itself: bool,
    /// How the container's root becomes that of the process.
    pub(crate) root: RootMethod,
    /// Who opens the sources of bind mounts.
    pub(crate) sources: Sources,
    /// Where init has a procfs from, for files of the kernel.
    pub(crate) procfs: Procfs,
    /// `/dev` is the container's own by the config, so that the default devices and links are made in it.
    /// runc: not when `/dev` is a bind mount. (A link of the image may put it elsewhere: what init finds
    /// there has the last word.)
    pub(crate) own_dev: bool,
    /// When devices are restricted.
    pub(crate) device_filter: DeviceFilter,
    /// When the seccomp filter is loaded.
    pub(crate) seccomp: SeccompFilter,
    /// How long init may take from one point to the next.
    pub(crate) deadline: Duration,
}

/// The paths of cgroups.
fn places(location: &Location) -> String {
    let legacy = location.legacy.iter().map(|(name, path)| format!("{name}:{}", path.display()));
    let unified = location.unified.iter().map(|path| path.display().to_string());
    let places: Vec<_> = unified.chain(legacy).collect();
    if places.is_empty() { "none".to_owned() } else { places.join(" ") }
}

/// What decisions follow from.
#[derive(Clone, Copy)]
struct Known<'a> {
    spec: &'a Spec,
    request: &'a Request<'a>,
    facts: &'a Facts,
    user: UserNamespace,
}

impl Decisions {
    /// What is decided for a new container with this process.
    pub(super) fn of_container(spec: &Spec, request: &Request<'_>, facts: &Facts, process: &Process) -> Self {
        let user = match namespace(spec, Type::User) {
            None => UserNamespace::Same,
            Some(namespace) if is_joined(namespace) => UserNamespace::Joined,
            Some(_) => UserNamespace::New,
        };
        let known = Known { spec, request, facts, user };
        let may_begin_empty = known.may_begin_empty();
        let mount_namespace = match namespace(spec, Type::Mount) {
            None => MountNamespace::Same,
            Some(namespace) if is_joined(namespace) => MountNamespace::Joined,
            Some(_) => match facts.empty_namespace.as_ref().filter(|_| may_begin_empty) {
                Some(EmptyNamespace::Empty) => MountNamespace::Empty,
                Some(EmptyNamespace::Template(path)) => MountNamespace::CopiedEmpty(path.clone()),
                None => MountNamespace::Copied,
            },
        };
        Self {
            cgroups: if facts.cgroups.is_empty() { Location::default() } else { facts.cgroups.clone() },
            cgroup_entry: match &facts.cgroups {
                cgroups if cgroups.is_empty() => CgroupEntry::None,
                cgroups if cgroups.unit.is_none() && cgroups.legacy.is_empty() => CgroupEntry::ClonedInto,
                _ => CgroupEntry::Moved,
            },
            cgroup_mounts: known.cgroup_mounts(),
            user_namespace: user,
            mount_template: facts.missing_template.clone().filter(|_| may_begin_empty),
            network_namespace: match namespace(spec, Type::Network) {
                None => NetworkNamespace::Same,
                Some(namespace) if is_joined(namespace) => NetworkNamespace::Joined,
                Some(_) if facts.privileged && has_network_of_its_own(spec) => NetworkNamespace::ByRuntime,
                Some(_) => NetworkNamespace::ByInit,
            },
            appearance: None,
            clones_itself: user != UserNamespace::Same || joins(spec, Type::Pid) || has_new(spec, Type::Time),
            root: match &mount_namespace {
                MountNamespace::Same => RootMethod::Detached,
                namespace if namespace.is_empty() => RootMethod::Move,
                _ if request.options.no_pivot => RootMethod::MoveOverHost,
                _ => RootMethod::Pivot,
            },
            sources: known.sources(mount_namespace.is_empty()),
            mount_namespace,
            procfs: known.procfs(),
            own_dev: known.own_dev(),
            device_filter: match () {
                () if facts.cgroups.is_empty() => DeviceFilter::None,
                () if hooks::any_before_start(spec) => DeviceFilter::BeforeHooks,
                () if device_filter_waits(spec, facts) => DeviceFilter::AfterMounts,
                () => DeviceFilter::WhileInitWorks,
            },
            seccomp: seccomp_filter(spec, facts, process),
            deadline: if hooks::any_inside(spec) { HOOKS_DEADLINE } else { INIT_DEADLINE },
        }
    }

    /// What is decided for another process in a container that runs.
    pub(super) fn of_exec(
        spec: &Spec,
        request: &Request<'_>,
        facts: &Facts,
        process: &Process,
        running: &JoinFacts,
    ) -> Self {
        let joining = Self::joining(facts, running);
        let procfs = Known { spec, request, facts, user: joining.user_namespace }.procfs();
        let clones = namespaces::has_pid(running.namespaces);
        let seccomp = seccomp_filter(spec, facts, process);
        let in_user_namespace = joining.user_namespace != UserNamespace::Same;
        let appears_last = clones
            && !in_user_namespace
            && facts.privileged
            && process::can_appear_last(facts, process, seccomp);
        Self {
            cgroup_entry: match running.way_in {
                _ if facts.cgroups.is_empty() => CgroupEntry::None,
                WayIn::Cloned => CgroupEntry::GoesOnInClone,
                WayIn::CountedLast if clones => CgroupEntry::CountedLast,
                WayIn::Moved | WayIn::CountedLast => CgroupEntry::Moved,
            },
            clones_itself: clones || running.way_in == WayIn::Cloned && !facts.cgroups.is_empty(),
            appearance: clones.then_some(if appears_last { Appearance::Last } else { Appearance::First }),
            procfs,
            seccomp,
            ..joining
        }
    }

    /// What is decided for a change of mounts of a container that runs.
    pub(super) fn of_mounts(
        spec: &Spec,
        request: &Request<'_>,
        facts: &Facts,
        running: &JoinFacts,
        change: MountChange,
    ) -> Self {
        let joining = Self::joining(facts, running);
        let in_user_namespace = joining.user_namespace != UserNamespace::Same;
        // Where others could take hold of it, it appears only for a procfs, which is that of its own PID
        // namespace.
        let is_proc = |mount: &Mount| mount.typ().as_deref() == Some("proc");
        let makes_proc = change == MountChange::Add && spec.mounts().iter().flatten().any(is_proc);
        let appears = namespaces::has_pid(running.namespaces) && (makes_proc || in_user_namespace);
        let user = joining.user_namespace;
        let added = (change == MountChange::Add).then_some(Known { spec, request, facts, user });
        Self {
            cgroup_mounts: added.map_or(CgroupMounts::None, |known| known.cgroup_mounts()),
            sources: added.filter(Known::binds).map_or(Sources::None, |_| Sources::Runtime),
            clones_itself: appears,
            appearance: appears.then_some(Appearance::First),
            procfs: match change {
                MountChange::Add => Procfs::None,
                // In a user namespace the procfs of the container's PID namespace may not be had, as parts of
                // it are hidden.
                MountChange::Remove if in_user_namespace => Procfs::Hosts,
                MountChange::Remove => Procfs::Own,
            },
            ..joining
        }
    }

    /// What is decided for every process that joins a container.
    fn joining(facts: &Facts, running: &JoinFacts) -> Self {
        let joins = |kind| running.namespaces & namespaces::flag(kind) != 0;
        let user = if joins(Type::User) { UserNamespace::Joined } else { UserNamespace::Same };
        Self {
            cgroups: facts.cgroups.clone(),
            cgroup_entry: CgroupEntry::None,
            cgroup_mounts: CgroupMounts::None,
            user_namespace: user,
            mount_namespace: if joins(Type::Mount) { MountNamespace::Joined } else { MountNamespace::Same },
            mount_template: None,
            network_namespace: if joins(Type::Network) {
                NetworkNamespace::Joined
            } else {
                NetworkNamespace::Same
            },
            appearance: None,
            clones_itself: false,
            root: if joins(Type::Mount) { RootMethod::Joined } else { RootMethod::Detached },
            sources: Sources::None,
            procfs: Procfs::None,
            own_dev: false,
            device_filter: DeviceFilter::None,
            seccomp: SeccompFilter::None,
            deadline: INIT_DEADLINE,
        }
    }

    /// All decisions by name, in words.
    pub(super) fn described(&self) -> Vec<(&'static str, String)> {
        let yes_or_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        let template =
            self.mount_template.as_ref().map(|path| ("mount_template", path.display().to_string()));
        let mut described = vec![
            ("cgroups", places(&self.cgroups)),
            ("cgroup_entry", self.cgroup_entry.words().to_owned()),
            ("cgroup_mounts", self.cgroup_mounts.words().to_owned()),
            ("user_namespace", self.user_namespace.words().to_owned()),
            ("mount_namespace", self.mount_namespace.words()),
            ("network_namespace", self.network_namespace.words().to_owned()),
            ("clones_itself", yes_or_no(self.clones_itself)),
            ("root", self.root.words().to_owned()),
            ("sources", self.sources.words().to_owned()),
            ("procfs", self.procfs.words().to_owned()),
            ("own_dev", yes_or_no(self.own_dev)),
            ("device_filter", self.device_filter.words().to_owned()),
            ("seccomp", self.seccomp.words().to_owned()),
            ("deadline", format!("{}s", self.deadline.as_secs())),
        ];
        described.extend(template);
        described.extend(self.appearance.map(|appearance| ("appearance", appearance.words().to_owned())));
        described
    }

    /// Whether the process is in a user namespace that the runtime is not in.
    pub(crate) fn in_user_namespace(&self) -> bool {
        self.user_namespace != UserNamespace::Same
    }
}

/// Filesystems whose source and options name no file of the host.
const WITHOUT_PATHS: [&str; 11] =
    ["bpf", "cgroup", "cgroup2", "debugfs", "devpts", "mqueue", "proc", "ramfs", "sysfs", "tmpfs", "tracefs"];

impl Known<'_> {
    fn mounts(&self) -> impl Iterator<Item = &Mount> {
        self.spec.mounts().iter().flatten()
    }

    /// Judges whether the mount namespace can do without a copy of the caller's mounts. Hooks before
    /// `pivot_root(2)` see the host's mounts; so does a filesystem that is on a device or on other
    /// directories, and a source that lies in the container's own root, where an earlier mount may have
    /// changed what is there. A user namespace may mount proc and sysfs only where they are to be seen
    /// already (`mount_too_revealing`, fs/namespace.c). Sources with a mount namespace below are found in a
    /// copy alone.
    fn may_begin_empty(&self) -> bool {
        let Self { spec, request, facts, user } = self;
        let wants_new = has_new(spec, Type::Mount)
            && *user == UserNamespace::Same
            && !request.options.no_pivot
            && !facts.copies_mounts;
        let Some(root) = spec.root().as_ref().filter(|_| wants_new && !hooks::see_the_root(spec)) else {
            return false;
        };
        let root = request.bundle.join(root.path());
        let is_plain = |source: &Path| {
            let source = request.bundle.join(source);
            !source.starts_with(&root) && !source.components().any(|part| part == Component::ParentDir)
        };
        let no_path_matters = self.mounts().all(|mount| match mount.source() {
            Some(source) if asks_for_bind(mount) => is_plain(source),
            _ => !may_be_on_a_device(mount),
        });
        // Init must find back from visits to the host's mounts.
        no_path_matters && (!self.may_visit() || facts.finds_own_mounts)
    }

    /// Whether there are bind mounts.
    fn binds(&self) -> bool {
        self.facts.notify_directory.is_some() || self.mounts().any(asks_for_bind)
    }

    /// Whether there are sources that init opens itself.
    fn may_visit(&self) -> bool {
        tree_propagation(self.spec).is_some() && self.binds()
    }

    /// Who opens sources, so that the mount table has the config's order: mounts are listed as they were
    /// made. Init does, but for sources that keep their peers on the host, or that a container's root may not
    /// be able to reach; and all without `pivot_root(2)`, as init then begins by hiding the host's procfs and
    /// sysfs, which BuildKit binds.
    fn sources(&self, begins_empty: bool) -> Sources {
        let Self { spec, request, facts, user } = self;
        let outranks_init = *user != UserNamespace::Same && facts.privileged;
        let shared = tree_propagation(spec).is_none();
        if !self.binds() {
            return Sources::None;
        }
        if shared || outranks_init || joins(spec, Type::Mount) || request.options.no_pivot {
            return if facts.privileged { Sources::Runtime } else { Sources::InitFirst };
        }
        if begins_empty { Sources::InitVisiting } else { Sources::Init }
    }

    /// Where init has a procfs from, for files of the kernel. A user namespace can only mount the procfs of a
    /// PID namespace of its own, and only where it sees all of one already. Init needs one before it can make
    /// any for time offsets and its OOM score, and to hide those that there are.
    fn procfs(&self) -> Procfs {
        let Self { spec, request, facts, user } = self;
        let offsets = spec.linux().as_ref().and_then(|linux| linux.time_offsets().as_ref());
        let needs_it_early = offsets.is_some_and(|offsets| !offsets.is_empty())
            || own_oom_score(spec, facts).is_some()
            || request.options.no_pivot;
        let makes_proc =
            || has_new(spec, Type::Pid) && self.mounts().any(|mount| mount.typ().as_deref() == Some("proc"));
        let may_not_make_one = *user != UserNamespace::Same || facts.rootless && !makes_proc();
        match writes_kernel_files(spec, facts) {
            _ if needs_it_early => Procfs::Hosts,
            true if may_not_make_one => Procfs::Hosts,
            true => Procfs::Own,
            false => Procfs::None,
        }
    }

    fn own_dev(&self) -> bool {
        let is_dev =
            |mount: &Mount| in_root(self.spec, self.request, mount.destination()) == Path::new("/dev");
        !self.mounts().any(|mount| asks_for_bind(mount) && is_dev(mount))
    }

    fn cgroup_mounts(&self) -> CgroupMounts {
        let Self { spec, facts, user, .. } = self;
        let is_new = |mount: &Mount| {
            let again = mount.options().iter().flatten().any(|option| option == "remount");
            mount.typ().as_deref() == Some("cgroup") && !asks_for_bind(mount) && !again
        };
        let in_user_namespace = *user != UserNamespace::Same;
        match () {
            () if !self.mounts().any(is_new) => CgroupMounts::None,
            () if !facts.legacy.is_empty() => CgroupMounts::Hierarchies,
            () if has_new(spec, Type::Cgroup) => CgroupMounts::New,
            () if facts.rootless && (in_user_namespace || namespace(spec, Type::Cgroup).is_none()) => {
                CgroupMounts::Callers
            }
            () if in_user_namespace && facts.cgroups.is_empty() => CgroupMounts::Callers,
            () if in_user_namespace => CgroupMounts::Own,
            () => CgroupMounts::New,
        }
    }
}

/// Whether the container gets a new namespace of this type.
pub(super) fn has_new(spec: &Spec, kind: Type) -> bool {
    namespace(spec, kind).is_some_and(|namespace| !is_joined(namespace))
}

/// Whether it joins a namespace of this type by its path.
fn joins(spec: &Spec, kind: Type) -> bool {
    namespace(spec, kind).is_some_and(is_joined)
}

/// Whether the container gets a new network namespace that belongs to the runtime's user namespace.
pub(crate) fn has_network_of_its_own(spec: &Spec) -> bool {
    has_new(spec, Type::Network) && namespace(spec, Type::User).is_none()
}

/// The propagation of trees that come from the host: what `linux.rootfsPropagation` asks for, and never more
/// than the host gives. `None`: as the host has it.
pub(super) fn tree_propagation(spec: &Spec) -> Option<u64> {
    let word = spec.linux().as_ref().and_then(|linux| linux.rootfs_propagation().as_deref());
    match word.and_then(propagation_flags) {
        Some((libc::MS_SHARED, _)) => None,
        Some((libc::MS_PRIVATE | libc::MS_UNBINDABLE, _)) => Some(libc::MS_PRIVATE),
        _ => Some(SLAVE),
    }
}

/// The OOM score where the runtime cannot write it.
pub(super) fn own_oom_score(spec: &Spec, facts: &Facts) -> Option<i32> {
    spec.process().as_ref()?.oom_score_adj().filter(|_| !facts.privileged)
}

/// Whether init writes to files of the kernel: parameters and labels.
pub(super) fn writes_kernel_files(spec: &Spec, facts: &Facts) -> bool {
    let named = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
    let sysctls = spec.linux().as_ref().and_then(|linux| linux.sysctl().as_ref());
    let process = spec.process().as_ref();
    sysctls.is_some_and(|sysctls| !sysctls.is_empty())
        || process.is_some_and(|process| {
            named(process.apparmor_profile()) && facts.apparmor
                || named(process.selinux_label()) && facts.selinux
        })
}

/// The path of a destination in the root. runc: one that begins with the path of the rootfs means the place
/// in it.
pub(super) fn in_root(spec: &Spec, request: &Request<'_>, destination: &Path) -> PathBuf {
    let destination = clean_in_root(destination);
    let root = spec.root().as_ref().map(|root| clean_in_root(&request.bundle.join(root.path())));
    match root.as_deref().filter(|root| *root != Path::new("/")).map(|root| destination.strip_prefix(root)) {
        Some(Ok(inside)) => clean_in_root(inside),
        _ => destination,
    }
}

/// Whether the mount is of a filesystem that may name a device of the host.
fn may_be_on_a_device(mount: &Mount) -> bool {
    !asks_for_bind(mount) && !mount.typ().as_deref().is_some_and(|kind| WITHOUT_PATHS.contains(&kind))
}

/// Whether the filter is not attached before init has made its nodes and mounts. A block device that is
/// mounted is none that the container may open (runc), and the list of v1 cannot be replaced in one step.
/// Otherwise they need nothing that it forbids: every container may make nodes, and open terminals.
fn device_filter_waits(spec: &Spec, facts: &Facts) -> bool {
    facts.legacy_controllers.contains("devices") || spec.mounts().iter().flatten().any(may_be_on_a_device)
}

fn seccomp_filter(spec: &Spec, facts: &Facts, process: &Process) -> SeccompFilter {
    match &facts.seccomp {
        None => SeccompFilter::None,
        Some(filter) if filter.notify || !process::no_new_privileges(process) => SeccompFilter::Early,
        Some(_) if hooks::has_start(spec) => SeccompFilter::BeforeHooks,
        Some(_) => SeccompFilter::Last,
    }
}
