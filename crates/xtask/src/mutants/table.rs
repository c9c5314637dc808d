//! The defences, and the test that fails without each.
//!
//! Some stand one behind the other, and no test fails without one of them alone: the types of what a terminal
//! is opened from (`executor/terminal.rs`), ids of -1 (judged with the config and again in init), the inode
//! of the rootfs in `AttachRootAt`, the working directory of a new container (it is made, and looked at when
//! it has been entered). They are not here.

/// A defence.
#[derive(Debug)]
pub(super) struct Defence {
    /// What it sees to.
    pub(super) name: &'static str,
    /// Where it is.
    pub(super) file: &'static str,
    /// The code of it, which stands there once, and what takes its place.
    pub(super) code: &'static str,
    pub(super) without: &'static str,
    /// What fails then.
    pub(super) test: Test,
}

/// A test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Test {
    pub(super) program: Program,
    /// With `::` at its end it is the name of a test that has variants: all of them run, and one that fails
    /// is enough.
    pub(super) name: &'static str,
}

impl Test {
    /// The arguments for its program.
    pub(super) fn choice(&self) -> Vec<&'static str> {
        if self.name.ends_with("::") { vec![self.name] } else { vec!["--exact", self.name] }
    }
}

/// Where a test is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Program {
    /// The binary's `containers`: it need not be built for each mutant, as it runs a binary that is.
    Containers,
    /// The library's `library`.
    Library,
    /// The `cgroups` of the library of cgroups.
    Cgroups,
    /// The library's unit tests.
    Units,
}

/// A test of the binary.
const fn of(name: &'static str) -> Test {
    Test { program: Program::Containers, name }
}

/// A test of the library with real containers.
const fn of_library(name: &'static str) -> Test {
    Test { program: Program::Library, name }
}

/// A test of the library of cgroups.
const fn of_cgroups(name: &'static str) -> Test {
    Test { program: Program::Cgroups, name }
}

/// A unit test of the library.
const fn of_unit(name: &'static str) -> Test {
    Test { program: Program::Units, name }
}

pub(super) const DEFENCES: &[Defence] = &[
    Defence {
        name: "locked flags of what is mounted in a copy of the host's mount namespace",
        file: "crates/libcorten/src/launch/locked_flags.rs",
        code: "read(\"/proc/thread-self/mountinfo\")?",
        without: "read(\"/proc/self/mountinfo\")?",
        test: of("host_trees::added_mounts_keep_flags_in_a_user_namespace"),
    },
    Defence {
        name: "an init that others have stopped goes on",
        file: "crates/libcorten/src/launch/sync.rs",
        code: "if !self.peer.is_held() {",
        without: "if true || !self.peer.is_held() {",
        test: of("attacks::joining::a_process_that_joins_is_not_held_by_being_stopped"),
    },
    Defence {
        name: "nothing of init's is open between fds that are handed on",
        file: "crates/corten-init/src/executor/mod.rs",
        code: "sys::close_range(first, last).of(Call::CloseRange)?;",
        without: "sys::close_range(first, first).of(Call::CloseRange)?;",
        test: of("inside::preserved_fds_get_in_with_gaps_between_them"),
    },
    Defence {
        name: "nobody takes hold of a process before it is in the container's cgroups",
        file: "crates/libcorten/src/launch/error.rs",
        code: "Self::Process { way_in: WayIn::Moved, can_be_seized: false } if",
        without: "Self::Process { way_in: WayIn::Moved, .. } if",
        test: of("limits::felt::exec_is_refused_at_the_limit_where_others_could_seize_the_process"),
    },
    Defence {
        name: "an init that nobody may look at",
        file: "crates/corten-init/src/sys/process.rs",
        code: "set(PR_SET_DUMPABLE, [0; 4]).map(drop)",
        without: "set(PR_SET_DUMPABLE, [1, 0, 0, 0]).map(drop)",
        test: of("attacks::ways::an_init_that_waits_cannot_be_looked_at_from_inside::"),
    },
    Defence {
        name: "init cannot be overwritten",
        file: "crates/libcorten/src/sys/memfd.rs",
        code: "let seals =\n        SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;\n    let with_mode = seals | SealFlag::from_bits_retain(libc::F_SEAL_EXEC);",
        without: "let seals = SealFlag::F_SEAL_SEAL;\n    let with_mode = seals;",
        test: of("inside::cve_2019_5736_the_runtime_cannot_be_overwritten"),
    },
    Defence {
        name: "the mode of init cannot be changed",
        file: "crates/libcorten/src/sys/memfd.rs",
        code: "seals | SealFlag::from_bits_retain(libc::F_SEAL_EXEC)",
        without: "seals",
        test: of("inside::cve_2019_5736_the_runtime_cannot_be_overwritten"),
    },
    Defence {
        name: "no fd of the runtime gets in",
        file: "crates/corten-init/src/executor/mod.rs",
        code: "sys::close_from(next.cast_unsigned()).of(Call::CloseRange)?;",
        without: "",
        test: of("inside::only_stdio_is_open"),
    },
    Defence {
        name: "init has no fd of the caller's",
        file: "crates/libcorten/src/sys/clone.rs",
        code: "unsafe { raw(libc::SYS_close_range, [data.first_closed as usize, u32::MAX as usize, 4, 0, 0]) };",
        without: "",
        test: of("attacks::stdio::init_has_no_directory_of_the_callers_open"),
    },
    Defence {
        name: "the working directory is in the root",
        file: "crates/corten-init/src/executor/process.rs",
        code: "if length > 0 && buffer.first() == Some(&b'/') {",
        without: "if length > 0 {",
        test: of("attacks::ways::a_directory_of_the_host_that_is_handed_on_is_no_working_directory"),
    },
    Defence {
        name: "a holder of a namespace holds no lock",
        file: "crates/libcorten/src/sys/clone.rs",
        code: "unsafe { raw(libc::SYS_close_range, [0, u32::MAX as usize, 0, 0, 0]) };",
        without: "",
        test: of_unit("sys::clone::tests::the_holder_of_a_namespace_holds_no_file"),
    },
    Defence {
        name: "hooks get no fd of the runtime",
        file: "crates/libcorten/src/sys/hook.rs",
        code: "libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)",
        without: "libc::syscall(libc::SYS_getpid) * 0",
        test: of("hooks::order::nothing_of_the_runtime_is_inherited"),
    },
    Defence {
        name: "hooks in the container get no fd of init",
        file: "crates/corten-init/src/executor/hooks.rs",
        code: "if let Err(errno) = sys::close_from(3) {",
        without: "if let Err(errno) = sys::close_from(i32::MAX.cast_unsigned()) {",
        test: of("hooks::order::nothing_of_the_runtime_is_inherited"),
    },
    Defence {
        name: "paths are resolved in the root",
        file: "crates/corten-init/src/executor/paths.rs",
        code: "IN_ROOT: u64 = sys::RESOLVE_IN_ROOT | sys::RESOLVE_NO_MAGICLINKS;",
        without: "IN_ROOT: u64 = sys::RESOLVE_NO_MAGICLINKS;",
        test: of("attacks::ways::links_of_the_image_lead_nowhere_on_the_host::"),
    },
    Defence {
        name: "what is made is made below its directory",
        file: "crates/corten-init/src/executor/paths.rs",
        code: "const BELOW: u64 = sys::RESOLVE_BENEATH | sys::RESOLVE_NO_MAGICLINKS | sys::RESOLVE_NO_SYMLINKS;",
        without: "const BELOW: u64 = 0;",
        test: of("cves::devices::cve_2026_41579_cve_2026_47766_devices_and_links_are_made_in_the_rootfs::"),
    },
    Defence {
        name: "a single name is no link",
        file: "crates/corten-init/src/sys.rs",
        code: "flags | O_CLOEXEC | O_NOFOLLOW",
        without: "flags | O_CLOEXEC",
        test: of("cves::devices::cve_2025_52565_terminals_are_not_found_by_their_paths::"),
    },
    Defence {
        name: "no link leads to procfs or sysfs",
        file: "crates/corten-init/src/executor/paths.rs",
        code: "self.open_or_make_directory(path, 0o755, NO_LINKS)?",
        without: "self.open_or_make_directory(path, 0o755, IN_ROOT)?",
        test: of(
            "cves::proc::cve_2019_19921_cve_2023_27561_cve_2023_28642_cve_2025_54867_proc_and_sys_behind_links_are_refused::",
        ),
    },
    Defence {
        name: "no mount inside procfs",
        file: "crates/corten-init/src/executor/paths.rs",
        code: "if !in_proc && sys::filesystem(fd)",
        without: "if in_proc && sys::filesystem(fd)",
        test: of("cves::proc::cve_2019_16884_volumes_over_proc_through_a_link_are_refused::"),
    },
    Defence {
        name: "no mount inside procfs by words",
        file: "crates/libcorten/src/plan/mounts.rs",
        code: "        if inside && !PROC_COVERS.contains(&path) {",
        without: "        if false {",
        test: of("cves::proc::cve_2019_16884_volumes_over_proc_are_refused"),
    },
    Defence {
        name: "what is bound on /proc is a procfs",
        file: "crates/corten-init/src/executor/mounts.rs",
        code: "if sys::filesystem(self.fd(mount)?).of(Call::Fstatfs)? == sys::PROC_SUPER_MAGIC {",
        without: "if sys::filesystem(self.fd(mount)?).of(Call::Fstatfs)? != 0 {",
        test: of("cves::proc::cve_2019_16884_a_bind_mount_on_proc_is_refused::"),
    },
    Defence {
        name: "mounts are removed where no link leads",
        file: "crates/corten-init/src/executor/mounts.rs",
        code: "let resolve = sys::RESOLVE_IN_ROOT | sys::RESOLVE_NO_SYMLINKS | sys::RESOLVE_NO_MAGICLINKS;",
        without: "let resolve = sys::RESOLVE_IN_ROOT | sys::RESOLVE_NO_MAGICLINKS;",
        test: of("added_mounts::links_of_the_container"),
    },
    Defence {
        name: "no device is opened by a copy of the image's files",
        file: "crates/corten-init/src/executor/copy.rs",
        code: "sys::mount_setattr(Some(seen), true, sys::MOUNT_ATTR_NODEV, 0, 0).of(Call::MountSetattr)?;",
        without: "",
        test: of("cves::devices::cve_2021_30465_a_file_that_has_become_a_device_is_not_opened_by_a_copy::"),
    },
    Defence {
        name: "the root of the host is no rootfs",
        file: "crates/libcorten/src/launch/open.rs",
        code: "if (found.st_dev, found.st_ino) == (host.st_dev, host.st_ino) {",
        without: "if false && (found.st_dev, found.st_ino) == (host.st_dev, host.st_ino) {",
        test: of("attacks::ways::the_root_of_the_host_is_no_rootfs"),
    },
    Defence {
        name: "the null device is looked at",
        file: "crates/corten-init/src/executor/process.rs",
        code: "let is_null = sys::stat(seen).is_ok_and(|stat| is_null(&stat));",
        without: "let is_null = true;",
        test: of("attacks::stdio::stdin_is_no_device_that_takes_the_place_of_the_images_null_device"),
    },
    Defence {
        name: "what is opened is what was looked at",
        file: "crates/corten-init/src/executor/paths.rs",
        code: "        if let Some(proc) = proc {",
        without: "        if let Some(proc) = proc {\n            return sys::openat2(place.0, place.1, flags, 0, place.2);\n        }\n        if let Some(proc) = proc {",
        test: of("attacks::stdio::stdin_is_the_null_device_that_was_looked_at"),
    },
    Defence {
        name: "what is opened without a procfs is what was looked at",
        file: "crates/corten-init/src/executor/paths.rs",
        code: "Ok(found) if (found.device, found.inode) == (wanted.device, wanted.inode) => Ok(file),",
        without: "Ok(found) if found.inode != 0 || wanted.inode != 0 => Ok(file),",
        test: of("attacks::stdio::stdin_is_the_null_device_that_was_looked_at"),
    },
    Defence {
        name: "the home directory is of the file that was looked at",
        file: "crates/corten-init/src/executor/paths.rs",
        code: "        if let Some(proc) = proc {",
        without: "        if let Some(proc) = proc {\n            return sys::openat2(place.0, place.1, flags, 0, place.2);\n        }\n        if let Some(proc) = proc {",
        test: of("attacks::stdio::the_home_directory_is_read_from_the_file_that_was_looked_at"),
    },
    Defence {
        name: "files of the kernel are not read for HOME",
        file: "crates/corten-init/src/executor/process.rs",
        code: "!holds_text(seen)?",
        without: "false",
        test: of("attacks::home::files_of_the_kernel_are_not_read_for_the_home_directory"),
    },
    Defence {
        name: "a volume at /dev is not the container's",
        file: "crates/corten-init/src/executor/process.rs",
        code: "IN_ROOT | sys::RESOLVE_NO_XDEV)",
        without: "IN_ROOT)",
        test: of("attacks::ways::stdin_of_a_volume_at_dev_stays_the_hosts"),
    },
    Defence {
        name: "nothing is made in a volume at /dev",
        file: "crates/corten-init/src/executor/paths.rs",
        code: "            self.passed_over = steps;\n",
        without: "            self.passed_over = steps.min(0);\n",
        test: of("attacks::ways::a_volume_that_a_link_puts_at_dev_stays_as_it_is::"),
    },
    Defence {
        name: "no device of the host is given away",
        file: "crates/corten-init/src/executor/process.rs",
        code: "sys::S_IFCHR => !self.has_terminal,",
        without: "sys::S_IFCHR => false,",
        test: of("attacks::ways::devices_and_directories_of_the_host_are_not_given_away_as_stdio::"),
    },
    Defence {
        name: "no directory of the host is given away",
        file: "crates/libcorten/src/launch/stdio.rs",
        code: "_ => true,",
        without: "_ => false,",
        test: of("attacks::ways::devices_and_directories_of_the_host_are_not_given_away_as_stdio::"),
    },
    Defence {
        name: "devices are restricted",
        file: "crates/libcorten/src/launch/cgroups.rs",
        code: "        match cgroups.set_prepared_devices(devices) {",
        without: "        match if self.launch.plan.host.is_empty() { cgroups.set_prepared_devices(devices) } else { Ok(()) } {",
        test: of("limits::devices::only_allowed_devices_are_opened"),
    },
    Defence {
        name: "devices are restricted before files of the root are opened",
        file: "crates/libcorten/src/plan/process.rs",
        code: "    cgroups::await_filter(b);\n",
        without: "",
        test: of_unit("plan::tests::devices_are_restricted_before_init_opens_files_of_the_root"),
    },
    Defence {
        name: "a device of the host is the one that is named",
        file: "crates/libcorten/src/launch/open.rs",
        code: "if same_kind && found.st_rdev == nix::sys::stat::makedev(major, minor) {",
        without: "if same_kind || found.st_rdev == nix::sys::stat::makedev(major, minor) {",
        test: of("mounts::devices::devices_that_cannot_be"),
    },
    Defence {
        name: "devices of the host keep their modes",
        file: "crates/libcorten/src/plan/devices.rs",
        code: "change(mount, libc::MOUNT_ATTR_RDONLY, libc::MS_PRIVATE, false)",
        without: "change(mount, 0, libc::MS_PRIVATE, false)",
        test: of("mounts::devices::devices_of_the_host_stay_as_they_are::"),
    },
    Defence {
        name: "devices of the host are private mounts",
        file: "crates/libcorten/src/plan/devices.rs",
        code: "change(mount, 0, libc::MS_PRIVATE, false)",
        without: "change(mount, 0, 0, false)",
        test: of("mounts::propagation::no_mount_is_a_peer_of_the_hosts::"),
    },
    Defence {
        name: "masked files are the host's null device",
        file: "crates/libcorten/src/plan/build.rs",
        code: "Step::MaskPath { base, path, null: slot::NULL, empty: slot::EMPTY }",
        without: "Step::ReadonlyPath { base, path }",
        test: of("inside::the_images_null_device_masks_nothing"),
    },
    Defence {
        name: "masks are in the very procfs",
        file: "crates/libcorten/src/plan/build.rs",
        code: "        Some((slot, rest)) => Ok((Some(slot), text(field, rest)?)),",
        without: "        Some((_, rest)) => text(field, rest).map(|_| (None, whole)),",
        test: of("cves::proc::cve_2023_27561_a_race_on_proc_in_a_shared_rootfs::"),
    },
    Defence {
        name: "readonly paths are read-only",
        file: "crates/corten-init/src/executor/mounts.rs",
        code: "sys::mount_setattr(Some(tree), true, sys::MOUNT_ATTR_RDONLY, 0, 0).of(Call::MountSetattr)?;",
        without: "",
        test: of("attacks::ways::readonly_paths_cannot_be_written::"),
    },
    Defence {
        name: "kernel parameters are the container's own",
        file: "crates/libcorten/src/launch/open.rs",
        code: "    if foreign && is_hosts(&namespace, kind)? {",
        without: "    if foreign && kind == LinuxNamespaceType::Cgroup && is_hosts(&namespace, kind)? {",
        test: of("namespaces::joined::nothing_is_set_in_the_hosts_namespaces"),
    },
    Defence {
        name: "the host's mount namespace is not joined",
        file: "crates/libcorten/src/plan/builder.rs",
        code: "            || kind == LinuxNamespaceType::Mount\n",
        without: "",
        test: of("namespaces::joined::the_hosts_mount_namespace_is_not_joined"),
    },
    Defence {
        name: "a namespace is one of its type",
        file: "crates/libcorten/src/launch/open.rs",
        code: "    if !sys::is_namespace(&look)? {",
        without: "    if !sys::is_namespace(&look)? && flag == 0 {",
        test: of("namespaces::joined::what_is_no_namespace_of_the_type_is_refused"),
    },
    Defence {
        name: "no mount of the container's reaches the host",
        file: "crates/libcorten/src/plan/builder.rs",
        code: "pub(super) const SLAVE: u64 = libc::MS_SLAVE;",
        without: "pub(super) const SLAVE: u64 = 0;",
        test: of("mounts::propagation::no_mount_is_a_peer_of_the_hosts::"),
    },
    Defence {
        name: "the old root goes",
        file: "crates/corten-init/src/executor/mounts.rs",
        code: "sys::unmount_here().of(Call::Umount2)?;",
        without: "",
        test: of("attacks::ways::the_hosts_mounts_are_gone::"),
    },
    Defence {
        name: "without pivot_root the host's procfs is hidden",
        file: "crates/libcorten/src/plan/root.rs",
        code: "        b.inside(InsidePhase::Root, c\"root\", Step::HideHostMounts { proc: slot::PROC });\n",
        without: "",
        test: of("mounts::hidden::without_pivot_root::"),
    },
    Defence {
        name: "flags of the host's mounts are not cleared",
        file: "crates/libcorten/src/plan/sources.rs",
        code: "        let locked = locked_flags(entry, &entries[index..]);",
        without: "        let locked = locked_flags(entry, &entries[index..]).filter(|_| false);",
        test: of("mounts::locked::locked_flags_in_a_user_namespace"),
    },
    Defence {
        name: "flags of the host's mounts stay",
        file: "crates/libcorten/src/plan/mounts.rs",
        code: "        unnamed &= libc::MOUNT_ATTR_NOSYMFOLLOW;\n",
        without: "",
        test: of("mounts::locked::locked_flags_in_a_user_namespace"),
    },
    Defence {
        name: "mappings are those of the namespace",
        file: "crates/libcorten/src/launch/id_maps.rs",
        code: "    if joined_up(ranges(&text)) == joined_up(asked) {",
        without: "    if joined_up(ranges(&text)).len() < 999 || joined_up(asked).is_empty() {",
        test: of("namespaces::joined::maps_of_a_joined_user_namespace"),
    },
    Defence {
        name: "groups cannot be dropped without privileges",
        file: "crates/libcorten/src/launch/id_maps.rs",
        code: "        let denied = write_proc(pid, \"setgroups\", \"deny\");",
        without: "        let denied = write_proc(pid, \"setgroups\", \"allow\");",
        test: of("namespaces::rootless::rootless_as_spec_writes_it"),
    },
    Defence {
        name: "the empty root is nobody's to write",
        file: "crates/libcorten/src/host/mount_template.rs",
        code: "        mount(Some(\"corten\"), \".\", Some(\"overlay\"), flags | MsFlags::MS_RDONLY, overlay)?;\n",
        without: "            overlay.filter(|_| false).map_or(Ok(()), |_| mount(Some(\"corten\"), \".\", Some(\"overlay\"), flags, overlay))?;\n",
        test: of_library("empty_namespace::nothing_can_be_written_below_the_root"),
    },
    Defence {
        name: "the empty root is in nobody's mount table",
        file: "crates/libcorten/src/host/mount_template.rs",
        code: "    let leave_out = || mount(none, directory, none, MsFlags::MS_UNBINDABLE, none);",
        without: "    let leave_out = || mount(none, directory, none, MsFlags::MS_PRIVATE, none);",
        test: of_library("empty_namespace::the_template_is_left_out_of_recursive_bind_mounts"),
    },
    Defence {
        name: "the directory of the empty root is root's alone",
        file: "crates/libcorten/src/host/mount_template.rs",
        code: "    if found.st_uid != geteuid().as_raw() || found.st_mode & 0o077 != 0 {",
        without: "    if found.st_uid != geteuid().as_raw() && found.st_mode & 0o077 == 0o777 {",
        test: of_library("empty_namespace::a_directory_of_others_is_not_used"),
    },
    Defence {
        name: "unified reaches no process",
        file: "crates/corten-cgroup/src/resources/unified.rs",
        code: "    if controller == \"cgroup\" && !CORE_LIMITS.contains(&file) {",
        without: "    if controller == \"cgroups\" && !CORE_LIMITS.contains(&file) {",
        test: of("limits::processes::unified_moves_freezes_and_kills_nobody"),
    },
    Defence {
        name: "cgroups that are not the container's are read-only",
        file: "crates/libcorten/src/plan/cgroup_mounts.rs",
        code: "let set = entry.options.set | if hierarchy.is_own { 0 } else { libc::MOUNT_ATTR_RDONLY };",
        without: "let set = entry.options.set | if hierarchy.is_own { 0 } else { 0 };",
        test: of("cves::cgroups::cve_2023_25809_the_callers_cgroups_are_readonly"),
    },
    Defence {
        name: "nobody is put into a frozen cgroup of v1",
        file: "crates/corten-cgroup/src/legacy/hierarchies.rs",
        code: "            directory.check_runs()?;\n",
        without: "",
        test: of("stuck::a_container_below_a_frozen_cgroup_is_refused"),
    },
    Defence {
        name: "nobody is put into a frozen cgroup",
        file: "crates/corten-cgroup/src/hierarchy.rs",
        code: "        if unused && cgroup.stopped()? {",
        without: "        if unused && existed && cgroup.stopped()? {",
        test: of("stuck::a_container_below_a_frozen_cgroup_is_refused"),
    },
    Defence {
        name: "a cgroup of others is not taken",
        file: "crates/corten-cgroup/src/hierarchy.rs",
        code: "            if count > 0 {",
        without: "            if count > 9999 {",
        test: of_cgroups("unified::processes_are_seen_killed_and_their_cgroups_removed"),
    },
    Defence {
        name: "a cgroup that was only written down is not killed",
        file: "crates/libcorten/src/lifecycle/delete.rs",
        code: "if record.owns_cgroups() { Members::Own }",
        without: "if record.owns_cgroups() || !record.cgroups.is_empty() { Members::Own }",
        test: of_library("containers::a_cgroup_that_was_only_written_down_is_not_killed"),
    },
    Defence {
        name: "a process that joins appears last",
        file: "crates/libcorten/src/plan/decisions.rs",
        code: "if appears_last { Appearance::Last } else { Appearance::First }",
        without: "if appears_last && false { Appearance::Last } else { Appearance::First }",
        test: of("attacks::joining::an_exec_appears_in_the_container_with_the_capabilities_of_its_program"),
    },
    Defence {
        name: "the filter is asked before a late clone",
        file: "crates/libcorten/src/plan/process.rs",
        code: " && !names_itself && !filtered\n",
        without: " && !names_itself\n",
        test: of("attacks::joining::an_exec_under_a_filter_without_clone"),
    },
    Defence {
        name: "the filter of the config is loaded",
        file: "crates/libcorten/src/plan/process.rs",
        code: "    let Some(filter) = &b.facts.seccomp else { return Ok(()) };\n",
        without: "    let Some(filter) = b.facts.seccomp.as_ref().filter(|_| false) else { return Ok(()) };\n",
        test: of("exec::the_filter_is_the_container_s"),
    },
    Defence {
        name: "calls of x32 are not those of x86_64",
        file: "crates/libcorten/src/seccomp/decisions.rs",
        code: "            (true, false) => ranges.extend([(X32_FIRST, no_abi), (u32::MAX, default)]),\n",
        without: "",
        test: of_unit("seccomp::enosys::tests::x32_and_x86_64_share_an_architecture_but_no_numbers"),
    },
    Defence {
        name: "the filter compares all of an argument",
        file: "crates/libcorten/src/seccomp/decisions.rs",
        code: "        self.half(BPF_JEQ, comparison, Half::Upper, next, miss)\n",
        without: "        next\n",
        test: of_unit("seccomp::tests::every_operator"),
    },
    Defence {
        name: "calls that libseccomp has no name for are restricted",
        file: "crates/libcorten/src/seccomp/calls.rs",
        code: "            return self.newer(name).map(Number::Own);\n",
        without: "            return self.newer(name).map(Number::Own).filter(|_| false);\n",
        test: of("seccomp::rules_for_calls_that_are_newer_than_libseccomp_are_in_force"),
    },
    Defence {
        name: "the bounding set is limited",
        file: "crates/libcorten/src/plan/process.rs",
        code: "Step::BoundingSet { keep: CapabilitySet(sets.bounding) }",
        without: "Step::BoundingSet { keep: CapabilitySet(u64::MAX) }",
        test: of("process::privileges::five_sets_of_capabilities"),
    },
    Defence {
        name: "capabilities are given up",
        file: "crates/libcorten/src/plan/process.rs",
        code: "    let CapabilitySets { effective, permitted, inheritable, ambient, .. } = sets;\n",
        without: "    let CapabilitySets { effective, inheritable, ambient, .. } = sets;\n    let permitted = u64::MAX >> 23;\n",
        test: of("process::privileges::five_sets_of_capabilities"),
    },
    Defence {
        name: "groups of the caller go",
        file: "crates/corten-init/src/executor/process.rs",
        code: "        if keep_groups != CallersGroups::Kept {\n            match sys::setgroups(groups.0) {",
        without: "        if keep_groups == CallersGroups::Kept {\n            match sys::setgroups(groups.0) {",
        test: of("process::privileges::the_callers_groups_stay_if_they_are_to"),
    },
    Defence {
        name: "no new privileges",
        file: "crates/libcorten/src/plan/process.rs",
        code: "        b.inside(InsidePhase::NoNewPrivileges, c\"process.noNewPrivileges\", Step::NoNewPrivileges {});\n",
        without: "",
        test: of("exec::no_new_privileges_is_a_flag"),
    },
    Defence {
        name: "a session keyring of its own",
        file: "crates/libcorten/src/plan/build.rs",
        code: "        b.inside(InsidePhase::Keyring, c\"runtime\", Step::SessionKeyring { name });\n",
        without: "        drop(name);\n",
        test: of("session::a_session_keyring_of_its_own"),
    },
    Defence {
        name: "a state of somebody else is not believed",
        file: "crates/libcorten/src/state/directory.rs",
        code: "        if found.st_uid != geteuid().as_raw() || found.st_mode & 0o022 != 0 {",
        without: "        if found.st_uid != geteuid().as_raw() && found.st_mode & 0o022 != 0 {",
        test: of("state::a_state_of_somebody_else_is_not_believed"),
    },
    Defence {
        name: "a filter of somebody else is not loaded",
        file: "crates/libcorten/src/seccomp/cache.rs",
        code: "metadata.uid() == Uid::effective().as_raw() && metadata.mode() & 0o022 == 0",
        without: "metadata.uid() == Uid::effective().as_raw() || metadata.mode() & 0o022 == 0",
        test: of_unit("seccomp::cache::tests::what_others_can_write_is_not_used"),
    },
    Defence {
        name: "the end of the stream alone is no exec",
        file: "crates/libcorten/src/launch/sync.rs",
        code: "                Ok(Heard::End) if announced || is_alive()? => return Ok(None),",
        without: "                Ok(Heard::End) if announced || is_alive()? || !announced => return Ok(None),",
        test: of("state::a_program_that_never_ran_is_an_error_of_start"),
    },
    Defence {
        name: "a clone that stands still is killed",
        file: "crates/libcorten/src/lifecycle/delete.rs",
        code: "        if record.pid != 0 {\n            return;\n        }\n        let pids",
        without: "        if record.pid >= 0 {\n            return;\n        }\n        let pids",
        test: of_library("containers::a_clone_that_stands_still_is_ended"),
    },
    Defence {
        name: "a runtime that waits for its clone can be ended",
        file: "crates/libcorten/src/sys/clone.rs",
        code: "                held.remove(signal);\n",
        without: "",
        test: of_library("containers::a_clone_that_stands_still_is_ended"),
    },
    Defence {
        name: "a making can be interrupted in a hook",
        file: "crates/libcorten/src/hooks.rs",
        code: "watch.and_then(|watch| watch.cancel)",
        without: "watch.and_then(|watch| watch.cancel).filter(|_| false)",
        test: of("stuck::a_making_that_is_interrupted_is_taken_back"),
    },
    Defence {
        name: "a making can be interrupted while init hangs",
        file: "crates/libcorten/src/launch/sync.rs",
        code: "chain(self.cancel()).collect();",
        without: "chain(self.cancel()).take(1).collect();",
        test: of("stuck::a_container_that_hangs_at_a_mount_can_be_killed_and_deleted::"),
    },
    Defence {
        name: "a runtime that the kernel holds can be ended",
        file: "crates/libcorten/src/plan/steps.rs",
        code: "            Self::OpenTree { .. }\n                | ",
        without: "            ",
        test: of("stuck::a_container_whose_root_hangs_can_be_deleted"),
    },
];

#[cfg(test)]
mod tests {
    use super::{DEFENCES, Program};

    /// A table that the code has left behind tries nothing.
    #[test]
    fn every_defence_stands_once_in_its_file() {
        for defence in DEFENCES {
            let text =
                std::fs::read_to_string(crate::shell::workspace().join(defence.file)).expect(defence.file);
            assert_eq!(text.matches(defence.code).count(), 1, "{}: {}", defence.name, defence.code);
            assert_ne!(defence.code, defence.without, "{}", defence.name);
        }
    }

    /// Where the test program of a row is, its module has the test, in variants or not, as the row says.
    #[test]
    fn every_test_is_there() {
        for defence in DEFENCES {
            let directory = match defence.test.program {
                Program::Containers => "runtime-bin/tests/containers",
                Program::Library => "crates/libcorten/tests/library",
                Program::Cgroups => "crates/corten-cgroup/tests/cgroups",
                Program::Units => continue,
            };
            let (name, has_variants) = match defence.test.name.strip_suffix("::") {
                Some(name) => (name, true),
                None => (defence.test.name, false),
            };
            let (module, function) = name.rsplit_once("::").expect(name);
            let file = crate::shell::workspace().join(directory).join(module.replace("::", "/"));
            let file = if file.is_dir() { file.join("mod.rs") } else { file.with_extension("rs") };
            let text = std::fs::read_to_string(file).expect(name);
            let (attributes, _) = text.split_once(&format!("\nfn {function}(")).expect(name);
            let attribute = attributes.lines().rev().find(|line| line.contains("test")).unwrap_or_default();
            assert!(attribute.starts_with("#["), "{name}: {attribute}");
            assert_eq!(attribute.contains('('), has_variants, "{name}");
        }
    }
}
