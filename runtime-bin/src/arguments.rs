//! The command line: runc's commands and flags. Nothing but the definition: the man pages are made of it,
//! too.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Runs containers according to the OCI runtime specification.
#[derive(Debug, Parser)]
#[command(name = "corten", disable_version_flag = true, infer_subcommands = false, args_override_self = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Flags before the command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Log what is done, in detail
    #[arg(long)]
    pub(crate) debug: bool,
    /// File that errors are written to as well, or journald:ID, or syslog:ID
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// Form of a log that is a file
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// What is logged
    #[arg(long, value_name = "LEVEL", default_value = "warning")]
    pub(crate) log_level: LogLevel,
    /// Directory for the state of containers
    /// [default: /run/corten, or $XDG_RUNTIME_DIR/corten for ordinary users]
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Make cgroups through systemd
    #[arg(long)]
    pub(crate) systemd_cgroup: bool,
    /// Who makes cgroups [default: cgroupfs]
    #[arg(long, value_name = "MANAGER")]
    pub(crate) cgroup_manager: Option<CgroupManager>,
    /// Ignore cgroup permission errors: true, false or auto
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(crate) rootless: Rootless,
    /// Print the version
    #[arg(long, short = 'v', short_alias = 'V')]
    pub(crate) version: bool,
}

/// Who makes cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CgroupManager {
    /// The runtime itself
    Cgroupfs,
    /// systemd, like --systemd-cgroup
    Systemd,
    /// Nobody: the container stays in the caller's cgroup
    Disabled,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// What is logged. The order is from little to much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum LogLevel {
    /// Errors
    Error,
    /// Errors, and what was not done as asked for
    Warning,
    /// That and each step, like --debug
    Debug,
}

/// Whether the caller is rootless. Corten finds out by itself; engines pass it to every runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rootless {
    Auto,
    True,
    False,
}

// Deferred: the flags of the commands that are not called are never made. A doc comment on what is in a
// variant would take the place of the variant's.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Write the processes of a container into image files
    Checkpoint(Box<Checkpoint>),
    /// Print a script that completes command lines in a shell
    Completion {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    /// Create a container that waits for start
    Create(Create),
    /// Remove a container and all that it holds
    Delete(Delete),
    /// Print what a container uses, and when its memory is used up, as JSON
    Events(Events),
    /// Run another process in a container
    Exec(Box<Exec>),
    /// Print what this runtime can do, as JSON
    Features,
    /// Send a signal to the container's init [default: SIGTERM]
    Kill(Kill),
    /// List containers
    List(List),
    /// Add mounts to a running container, or take them away
    #[command(subcommand)]
    Mounts(Mounts),
    /// Freeze all processes of a container
    Pause(Id),
    /// Print what would be done to make a container
    Plan(Plan),
    /// List the processes of a container
    Ps(Ps),
    /// Make a container of image files that checkpoint has written
    Restore(Box<Restore>),
    /// Let the processes of a paused container go on
    Resume(Id),
    /// Create and start a container
    Run(Run),
    /// Write a config.json to start from
    Spec(Spec),
    /// Start the process of a created container
    Start(Id),
    /// Print the state of a container, as JSON
    State(Id),
    /// Change the limits of a container
    Update(Box<Update>),
}

// A container's id and nothing else.
#[derive(Debug, Args)]
pub(crate) struct Id {
    /// The container's id
    #[arg(value_name = "CONTAINER-ID")]
    pub(crate) id: String,
}

// What checkpoint and restore have in common. A doc comment would take the place of theirs.
#[derive(Debug, Args)]
pub(crate) struct Images {
    /// Directory of the image files [default: ./checkpoint]
    #[arg(long, value_name = "DIR")]
    pub(crate) image_path: Option<PathBuf>,
    /// Directory for CRIU's log and work files [default: that of the image files]
    #[arg(long, value_name = "DIR")]
    pub(crate) work_path: Option<PathBuf>,
    /// Keep TCP connections
    #[arg(long)]
    pub(crate) tcp_established: bool,
    /// Allow unix sockets that are connected with processes outside
    #[arg(long)]
    pub(crate) ext_unix_sk: bool,
    /// Allow processes with a session or a terminal of the outside
    #[arg(long)]
    pub(crate) shell_job: bool,
    /// Keep file locks
    #[arg(long)]
    pub(crate) file_locks: bool,
    /// What becomes of cgroups in the container's: soft, full, strict or ignore [default: soft]
    #[arg(long, value_name = "MODE")]
    pub(crate) manage_cgroups_mode: Option<String>,
    /// Make a namespace, but restore nothing in it; network, which is always made so
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) empty_ns: Vec<String>,
    /// Remove memory from older image files that is in newer ones
    #[arg(long)]
    pub(crate) auto_dedup: bool,
    /// Leave memory where it is until it is needed
    #[arg(long)]
    pub(crate) lazy_pages: bool,
    /// How CRIU holds up the network
    #[arg(long, value_name = "METHOD")]
    pub(crate) network_lock: Option<NetworkLock>,
}

/// How CRIU holds up the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetworkLock {
    Iptables,
    Nftables,
    Skip,
}

#[derive(Debug, Args)]
pub(crate) struct Checkpoint {
    #[command(flatten)]
    pub(crate) images: Images,
    /// Directory of earlier image files, relative to that of these
    #[arg(long, value_name = "DIR")]
    pub(crate) parent_path: Option<PathBuf>,
    /// Let the container run on
    #[arg(long)]
    pub(crate) leave_running: bool,
    /// Ignore packets on their way to new TCP connections
    #[arg(long)]
    pub(crate) tcp_skip_in_flight: bool,
    /// Give a name to files that have none any more
    #[arg(long)]
    pub(crate) link_remap: bool,
    /// Number of an fd that gets a NUL byte when lazy pages can be fetched
    #[arg(long, value_name = "FD", default_value_t = -1, allow_negative_numbers = true, hide_default_value = true)]
    pub(crate) status_fd: i32,
    /// Page server that gets the memory
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) page_server: Option<String>,
    /// Write memory only, and let the container run on
    #[arg(long)]
    pub(crate) pre_dump: bool,
    /// The container's id
    #[arg(value_name = "CONTAINER-ID")]
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    #[command(flatten)]
    pub(crate) images: Images,
    /// Bundle directory [default: the current directory]
    #[arg(long, short = 'b', value_name = "DIR")]
    pub(crate) bundle: Option<PathBuf>,
    /// Socket that gets the master of the container's terminal
    #[arg(long, value_name = "PATH")]
    pub(crate) console_socket: Option<PathBuf>,
    /// Leave the container in the background
    #[arg(long, short = 'd')]
    pub(crate) detach: bool,
    /// File that gets init's pid
    #[arg(long, value_name = "PATH")]
    pub(crate) pid_file: Option<PathBuf>,
    /// Close TCP connections instead of restoring them
    #[arg(long)]
    pub(crate) tcp_close: bool,
    /// Security module and profile that the processes get instead of theirs
    #[arg(long, value_name = "TYPE:NAME")]
    pub(crate) lsm_profile: Option<String>,
    /// SELinux context that mounts get instead of theirs
    #[arg(long, value_name = "CONTEXT")]
    pub(crate) lsm_mount_context: Option<String>,
    /// Do not become the parent of the container's orphans
    #[arg(long)]
    pub(crate) no_subreaper: bool,
    /// Taken for runc's sake: CRIU changes the root as it can
    #[arg(long, hide = true)]
    pub(crate) no_pivot: bool,
    /// The new container's id
    #[arg(value_name = "CONTAINER-ID")]
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Bundle directory [default: the current directory]
    #[arg(long, short = 'b', value_name = "DIR")]
    pub(crate) bundle: Option<PathBuf>,
    /// Config of the container [default: config.json in the bundle]
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Socket that gets the master of the container's terminal
    #[arg(long, value_name = "PATH")]
    pub(crate) console_socket: Option<PathBuf>,
    /// File that gets init's pid
    #[arg(long, value_name = "PATH")]
    pub(crate) pid_file: Option<PathBuf>,
    /// Keep the caller's session keyring
    #[arg(long)]
    pub(crate) no_new_keyring: bool,
    /// Use chroot(2) instead of pivot_root(2), for a host whose root is the initramfs (less safe)
    #[arg(long)]
    pub(crate) no_pivot: bool,
    /// Socket that gets init's pidfd
    #[arg(long, value_name = "PATH")]
    pub(crate) pidfd_socket: Option<PathBuf>,
    /// Pass those of N fds from 3 on that are open to the container
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) preserve_fds: u32,
    /// The new container's id
    #[arg(value_name = "CONTAINER-ID")]
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) create: Create,
    /// Leave the container in the background
    #[arg(long, short = 'd')]
    pub(crate) detach: bool,
    /// Do not delete the container after its end
    #[arg(long)]
    pub(crate) keep: bool,
    /// Do not become the parent of the container's orphans
    #[arg(long)]
    pub(crate) no_subreaper: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Kill the container if it still runs
    #[arg(long, short = 'f')]
    pub(crate) force: bool,
    /// Remove all containers whose id has a match for this regular expression
    #[arg(long, short = 'r')]
    pub(crate) regex: bool,
    /// The container's id
    #[arg(value_name = "CONTAINER-ID")]
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Time between statistics, with its units: 500ms, 5s, 1m30s
    #[arg(long, value_name = "DURATION", default_value = "5s", allow_hyphen_values = true)]
    pub(crate) interval: String,
    /// Print statistics once
    #[arg(long)]
    pub(crate) stats: bool,
    /// The container's id
    #[arg(value_name = "CONTAINER-ID")]
    pub(crate) id: String,
}

// Without --process, the process is that of the config.json that is in the bundle now, with the command and
// the flags in place of what it has.
#[derive(Debug, Args)]
#[command(
    override_usage = "corten exec [OPTIONS] <CONTAINER-ID> <COMMAND> [ARGUMENT]...\n       corten exec [OPTIONS] --process <FILE> <CONTAINER-ID>"
)]
pub(crate) struct Exec {
    /// Socket that gets the master of the process's terminal
    #[arg(long, value_name = "PATH")]
    pub(crate) console_socket: Option<PathBuf>,
    /// Socket that gets the process's pidfd
    #[arg(long, value_name = "PATH")]
    pub(crate) pidfd_socket: Option<PathBuf>,
    /// Working directory
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// Another variable of the environment
    #[arg(long, short = 'e', value_name = "NAME=VALUE", allow_hyphen_values = true)]
    pub(crate) env: Vec<String>,
    /// Give the process a terminal
    #[arg(long, short = 't')]
    pub(crate) tty: bool,
    /// User and group, as numbers
    #[arg(long, short = 'u', value_name = "UID[:GID]", allow_hyphen_values = true)]
    pub(crate) user: Option<String>,
    /// Another group of the process, as a number
    #[arg(long, short = 'g', value_name = "GID", allow_hyphen_values = true)]
    pub(crate) additional_gids: Vec<String>,
    /// File with the process, as in config.json
    #[arg(long, short = 'p', value_name = "FILE")]
    pub(crate) process: Option<PathBuf>,
    /// Leave the process in the background
    #[arg(long, short = 'd')]
    pub(crate) detach: bool,
    /// File that gets the process's pid
    #[arg(long, value_name = "PATH")]
    pub(crate) pid_file: Option<PathBuf>,
    /// SELinux label of the process
    #[arg(long, value_name = "LABEL")]
    pub(crate) process_label: Option<String>,
    /// AppArmor profile of the process
    #[arg(long, value_name = "PROFILE")]
    pub(crate) apparmor: Option<String>,
    /// The process can gain no privileges
    #[arg(long)]
    pub(crate) no_new_privs: bool,
    /// Another capability of the process
    #[arg(long, short = 'c', value_name = "CAPABILITY")]
    pub(crate) cap: Vec<String>,
    /// Pass those of N fds from 3 on that are open to the process
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) preserve_fds: u32,
    /// Cgroup below the container's that the process starts in; with cgroup v1, for these controllers
    #[arg(long, value_name = "[CONTROLLER[,...]:]PATH")]
    pub(crate) cgroup: Vec<String>,
    /// Join a paused container, too; the process starts when it is resumed
    #[arg(long)]
    pub(crate) ignore_paused: bool,
    /// The container's id, the command and its arguments
    #[arg(value_name = "CONTAINER-ID", required = true, num_args = 1.., trailing_var_arg = true, allow_hyphen_values = false)]
    pub(crate) id_and_command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// Send the signal to all processes of the container; one that has stopped is no error
    #[arg(long, short = 'a')]
    pub(crate) all: bool,
    /// Send the signal to all containers whose id has a match for this regular expression
    #[arg(long, short = 'r')]
    pub(crate) regex: bool,
    /// The container's id
    #[arg(value_name = "CONTAINER-ID")]
    pub(crate) id: String,
    /// A signal's name, with or without SIG, or its number
    #[arg(value_name = "SIGNAL", default_value = "SIGTERM", allow_negative_numbers = true)]
    pub(crate) signal: String,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Form of the list
    #[arg(long, short = 'f', default_value = "table")]
    pub(crate) format: ListFormat,
    /// Print ids only
    #[arg(long, short = 'q')]
    pub(crate) quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Mounts {
    /// Make the mounts that a file lists
    Add(MountList),
    /// Take away what is mounted at the destinations that a file lists
    Remove(MountList),
}

#[derive(Debug, Args)]
pub(crate) struct MountList {
    /// The container's id
    #[arg(value_name = "CONTAINER-ID")]
    pub(crate) id: String,
    /// File with a list of mounts, as in config.json
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// Bundle directory [default: the current directory]
    #[arg(long, short = 'b', value_name = "DIR")]
    pub(crate) bundle: Option<PathBuf>,
    /// Config of the container [default: config.json in the bundle]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Form of the plan
    #[arg(long, short = 'f', default_value = "text")]
    pub(crate) format: PlanFormat,
    /// Id that the container would have
    #[arg(value_name = "CONTAINER-ID", default_value = "plan")]
    pub(crate) id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
#[command(override_usage = "corten ps [OPTIONS] <CONTAINER-ID> [PS-OPTION]...")]
pub(crate) struct Ps {
    /// Form of the list; as JSON, it has the pids alone
    #[arg(long, short = 'f', default_value = "table")]
    pub(crate) format: ListFormat,
    /// The container's id, and options for ps(1) [default: -ef]
    #[arg(value_name = "CONTAINER-ID", required = true, num_args = 1.., trailing_var_arg = true)]
    pub(crate) id_and_options: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Spec {
    /// Bundle directory [default: the current directory]
    #[arg(long, short = 'b', value_name = "DIR")]
    pub(crate) bundle: Option<PathBuf>,
    /// File to write, relative to the bundle; one that exists is replaced
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Write a config for a container without root's privileges
    #[arg(long)]
    pub(crate) rootless: bool,
}

// Numbers are in the units of the runtime-spec. Amounts of memory may end in k, m, g, t or p; -1 is no limit.
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// File with linux.resources as JSON, or - for stdin; then the other flags are ignored
    #[arg(long, short = 'r', value_name = "FILE")]
    pub(crate) resources: Option<PathBuf>,
    /// Share of block I/O, 10 to 1000
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) blkio_weight: Option<u16>,
    /// Time that may be saved up above the quota, in microseconds
    #[arg(long, value_name = "USEC", allow_negative_numbers = true)]
    pub(crate) cpu_burst: Option<u64>,
    /// 1 for a container that runs when nothing else does
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) cpu_idle: Option<i64>,
    /// Length of a period, in microseconds
    #[arg(long, value_name = "USEC", allow_negative_numbers = true)]
    pub(crate) cpu_period: Option<u64>,
    /// CPU time in a period, in microseconds
    #[arg(long, value_name = "USEC", allow_negative_numbers = true)]
    pub(crate) cpu_quota: Option<i64>,
    /// Share of CPU time, 2 to 262144
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) cpu_share: Option<u64>,
    /// Length of a realtime period, in microseconds (cgroup v1)
    #[arg(long, value_name = "USEC", allow_negative_numbers = true)]
    pub(crate) cpu_rt_period: Option<u64>,
    /// Time for realtime tasks in a realtime period, in microseconds (cgroup v1)
    #[arg(long, value_name = "USEC", allow_negative_numbers = true)]
    pub(crate) cpu_rt_runtime: Option<i64>,
    /// CPUs to use: 0-3,7
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_cpus: Option<String>,
    /// Memory nodes to use
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_mems: Option<String>,
    /// Taken for runc's sake and ignored
    #[arg(long, hide = true, allow_hyphen_values = true)]
    pub(crate) kernel_memory: Option<String>,
    /// Taken for runc's sake and ignored
    #[arg(long, hide = true, allow_hyphen_values = true)]
    pub(crate) kernel_memory_tcp: Option<String>,
    /// Most memory
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = memory_size)]
    pub(crate) memory: Option<i64>,
    /// Memory that is not reclaimed as long as there is other
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = memory_size)]
    pub(crate) memory_reservation: Option<i64>,
    /// Most memory and swap together
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = memory_size)]
    pub(crate) memory_swap: Option<i64>,
    /// Most processes and threads
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) pids_limit: Option<i64>,
    /// Lines for the L3 cache in the resctrl group
    #[arg(long, value_name = "SCHEMA")]
    pub(crate) l3_cache_schema: Option<String>,
    /// Line for the memory bandwidth in the resctrl group
    #[arg(long, value_name = "SCHEMA")]
    pub(crate) mem_bw_schema: Option<String>,
    /// The container's id
    #[arg(value_name = "CONTAINER-ID")]
    pub(crate) id: String,
}

/// Reads an amount of memory: -1, or a number that may have a fraction and a unit, as Docker and runc take
/// it.
fn memory_size(text: &str) -> Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    let wrong = || format!("invalid size: '{text}'");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let unit = unit.strip_suffix('b').map_or(unit.as_str(), |unit| unit.strip_suffix('i').unwrap_or(unit));
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return Err(wrong()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole: i64 = whole.parse().map_err(|_| wrong())?;
    let fraction: f64 = format!("0.{fraction}").parse().map_err(|_| wrong())?;
    let bytes = whole.checked_mul(1 << shift).ok_or_else(wrong)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "a fraction of at most 2^50"
    )]
    let rest = (fraction * (1i64 << shift) as f64) as i64;
    bytes.checked_add(rest).ok_or_else(wrong)
}

impl Global {
    /// Returns who makes cgroups.
    pub(crate) fn cgroup_manager(&self) -> CgroupManager {
        // crun: the flag with the value is the later word.
        let systemd = self.systemd_cgroup.then_some(CgroupManager::Systemd);
        self.cgroup_manager.or(systemd).unwrap_or(CgroupManager::Cgroupfs)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn amounts_of_memory_have_units() {
        let good = [
            ("-1", -1),
            ("0", 0),
            ("12", 12),
            ("32M", 32 << 20),
            ("1.5g", 3 << 29),
            ("64 KiB", 65536),
            ("1kb", 1024),
        ];
        for (text, bytes) in good.into_iter().chain([("7b", 7), ("2T", 2 << 40), ("1P", 1 << 50)]) {
            assert_eq!(memory_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "-2", "M", "1x", "1.2.3M", "99999999999P", "1 kk", "0x10", "ü"] {
            assert!(memory_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn commands_keep_their_description() {
        let mut built = Arguments::command();
        built.build();
        for command in Arguments::command().get_subcommands() {
            let name = command.get_name();
            let about = |command: &clap::Command| command.get_about().map(ToString::to_string);
            assert_eq!(built.find_subcommand(name).and_then(about), about(command), "{name}");
        }
    }
}
