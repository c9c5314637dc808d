//! What stands in the man pages beside the flags. `--help` is short; here is the room to explain.

/// The texts of a page.
pub(super) struct Page {
    /// The command; empty for corten itself.
    pub(super) command: &'static str,
    /// DESCRIPTION, by paragraphs.
    pub(super) text: &'static [&'static str],
    /// What exit statuses mean.
    pub(super) exit_status: &'static [(&'static str, &'static str)],
    /// Variables, and what they are for.
    pub(super) environment: &'static [(&'static str, &'static str)],
    /// Files, and what is in them.
    pub(super) files: &'static [(&'static str, &'static str)],
    /// What command lines do, and the command lines.
    pub(super) examples: &'static [(&'static str, &'static str)],
    /// Other pages, beside corten(8).
    pub(super) see_also: &'static [&'static str],
}

/// A page that says no more than its flags.
const EMPTY: Page = Page {
    command: "",
    text: &[],
    exit_status: USUAL,
    environment: &[],
    files: &[],
    examples: &[],
    see_also: &[],
};

const USUAL: &[(&str, &str)] = &[
    ("0", "Done."),
    (
        "1",
        "An error, or wrong usage: one line on stderr says what, and an entry in the log, if there is one.",
    ),
];

const FOREGROUND: &[(&str, &str)] = &[
    ("0 to 255", "That of the process, if corten waits for it; 0 with --detach."),
    ("128+N", "The process was ended by signal N."),
    ("1", "The process could not be started."),
];

pub(super) const RUNTIME: Page = Page {
    command: "",
    text: &[
        "corten runs containers: it makes an isolated process of a bundle, which is a directory with a root filesystem and a \
         config.json according to the OCI runtime specification. It is what container engines (Docker, containerd, Podman, \
         CRI-O, Buildah, BuildKit) call to do so. Its commands, flags, messages and exit statuses are those of runc(8).",
        "Flags come before the command or after it, according to what they belong to. They have one dash or two, a switch may \
         have a value (--debug=false), and the last of several wins.",
        "A command that succeeds prints nothing but what it was asked for. One that fails prints one line, which names the \
         field of config.json, the object and the system call, and why the kernel refused it. With --log FILE and \
         --log-format json it also appends one JSON object with level, msg and time to FILE. The log may be journald or \
         syslog, too: journald:ID, syslog:ID.",
        "A container is created, started, killed and deleted. Its state is created, running, paused or stopped. Its id \
         consists of letters, digits and the characters _ + - and . and names a directory below the state root.",
    ],
    exit_status: &[
        ("0", "Done."),
        ("1", "An error, or wrong usage."),
        ("3", "There is no such command."),
        ("others", "corten-run(8) and corten-exec(8) end as their process does."),
    ],
    environment: &[
        ("XDG_RUNTIME_DIR", "For ordinary users: the state root is the directory corten in it."),
        ("PATH", "Where newuidmap(1), newgidmap(1), ps(1) and criu(8) are looked for."),
        (
            "DBUS_SESSION_BUS_ADDRESS",
            "With --systemd-cgroup, for ordinary users: the bus of the user's systemd.",
        ),
    ],
    files: &[
        ("config.json", "In the bundle: what the container is to be."),
        ("/run/corten/ID/state.json", "What is known about the container ID."),
        ("/run/corten/@seccomp", "Compiled seccomp profiles, to be used again."),
    ],
    examples: &[
        ("Run a shell in a root filesystem that is in ./rootfs:", "corten spec\ncorten run box"),
        (
            "The same in steps, as engines do it:",
            "corten create --pid-file pid box </dev/null >out 2>&1\ncorten start box\ncorten state box\n\
             corten kill box KILL\ncorten delete box",
        ),
        ("See what would be done, and do nothing:", "corten plan"),
    ],
    see_also: &[
        "runc(8)",
        "crun(1)",
        "namespaces(7)",
        "cgroups(7)",
        "capabilities(7)",
        "https://opencontainers.org",
    ],
};

pub(super) const COMMANDS: &[Page] = &[
    Page {
        command: "checkpoint",
        text: &[
            "Writes the processes of a container to a directory by means of criu(8), so that corten-restore(8) can bring them \
             back, here or on another machine. The container stops unless --leave-running is given.",
            "The directory holds the images; CRIU's log is dump.log in the work path.",
        ],
        examples: &[(
            "Save a container, and bring it back:",
            "corten checkpoint --image-path /srv/images/box box\ncorten delete box\n\
             corten restore --image-path /srv/images/box --bundle /srv/bundles/box box",
        )],
        see_also: &["corten-restore(8)", "criu(8)"],
        ..EMPTY
    },
    Page {
        command: "completion",
        text: &["Prints a script that completes corten's commands and flags in a shell."],
        examples: &[
            ("In this bash:", "source <(corten completion bash)"),
            ("For all users of zsh:", "corten completion zsh >/usr/local/share/zsh/site-functions/_corten"),
        ],
        ..EMPTY
    },
    Page {
        command: "create",
        text: &[
            "Makes a container of a bundle, up to the program: namespaces, mounts, devices, cgroups and limits are there, and a \
             process waits in it for corten-start(8). Standard input, output and error of corten are those of the container.",
            "If process.terminal is true in the config, the container has a terminal, whose master is sent to \
             --console-socket as one message with one fd (SCM_RIGHTS). The socket must be given then.",
            "--config names a file other than the bundle's config.json. It is relative to the current directory; what is \
             relative in it is relative to the bundle.",
            "--preserve-fds passes those of so many fds from 3 on that are open, after those that LISTEN_FDS counts, which must all be.",
            "If something fails, nothing of the container is left.",
        ],
        environment: &[
            (
                "LISTEN_FDS",
                "Number of sockets that are passed on to the container, from fd 3 on (sd_listen_fds(3)).",
            ),
            ("NOTIFY_SOCKET", "Where readiness is told, for a container that tells it (sd_notify(3))."),
        ],
        examples: &[(
            "Make a container, and let it go:",
            "corten create --bundle /srv/bundles/web --pid-file /run/web.pid web\ncorten start web",
        )],
        see_also: &["corten-start(8)", "corten-run(8)", "corten-plan(8)", "corten-delete(8)"],
        ..EMPTY
    },
    Page {
        command: "delete",
        text: &[
            "Removes a container that has stopped: its cgroups, what it has on the host, and its state. One that was created \
             and never started is killed first. With --force, any is killed first, and one that does not exist is no error.",
            "With --regex, CONTAINER-ID is a regular expression, and all containers are removed whose id has a match for it, \
             anywhere in the id unless it has ^ and $. Each is tried, and the error names all that could not be removed. No \
             match is no error.",
            "Whatever could not be removed is named, and the container can be deleted again.",
        ],
        examples: &[("Remove what a test has left:", "corten delete --force --regex '^test-[0-9]+$'")],
        see_also: &["corten-kill(8)", "corten-list(8)"],
        ..EMPTY
    },
    Page {
        command: "events",
        text: &[
            "Prints one JSON object for each event on a line of its own, until the container stops: stats every --interval, \
             with what the container has used of CPU, memory, block I/O and so on, and oom when the kernel has killed a process \
             of it for want of memory. With --stats it prints stats once.",
            "An object has the fields type, id and data. Memory is in bytes, times are in nanoseconds.",
        ],
        examples: &[(
            "Memory in use, every second:",
            "corten events --interval 1s box | jq .data.memory.usage.usage",
        )],
        see_also: &["corten-ps(8)", "corten-update(8)"],
        ..EMPTY
    },
    Page {
        command: "exec",
        text: &[
            "Runs another process in a running container: in its namespaces and cgroup, with its limits and its seccomp profile. \
             What it runs is the process of the bundle's config with other arguments, or that of --process FILE.",
            "What comes after the program belongs to the program.",
        ],
        exit_status: &[
            ("0 to 254", "That of the process, if corten waits for it; 0 with --detach."),
            ("128+N", "The process was ended by signal N."),
            ("255", "The process could not be started."),
        ],
        examples: &[
            ("A shell with a terminal:", "corten exec --tty box sh"),
            ("As another user, with a variable more:", "corten exec --user 1000:1000 --env LANG=C box id"),
        ],
        see_also: &["corten-run(8)", "corten-ps(8)"],
        ..EMPTY
    },
    Page {
        command: "features",
        text: &[
            "Prints what this runtime can do, as the features document of the OCI runtime specification: hooks, mount options, \
             namespaces, capabilities, cgroups, seccomp, and the annotations that it heeds.",
        ],
        examples: &[("The mount options:", "corten features | jq .mountOptions")],
        ..EMPTY
    },
    Page {
        command: "kill",
        text: &[
            "Sends a signal to the container's init, which is the process that was started. A signal has a name, with or without \
             SIG, in any case (KILL, sigterm, RTMIN+3), or a number.",
            "SIGKILL ends all processes of a container that has no PID namespace of its own. With --all, any signal goes to all \
             processes of the container.",
            "With --regex, CONTAINER-ID is a regular expression, and the signal goes to all containers whose id has a match for \
             it, anywhere in the id unless it has ^ and $. Each is tried, and the error names all that failed. No match is no \
             error.",
        ],
        examples: &[
            ("Ask a container to stop, then make it:", "corten kill box\ncorten kill box KILL"),
            ("Reload all workers:", "corten kill --regex '^worker-' HUP"),
        ],
        see_also: &["corten-delete(8)", "corten-ps(8)", "signal(7)"],
        ..EMPTY
    },
    Page {
        command: "list",
        text: &[
            "Prints the containers of a state root: id, pid (0 when stopped), status, bundle, when it was made, and the user \
             whose it is. As JSON it is an array of what corten-state(8) prints.",
        ],
        files: &[("/run/corten", "The state root, unless --root names another.")],
        examples: &[(
            "Those of containerd's Kubernetes namespace:",
            "corten --root /run/containerd/runc/k8s.io list",
        )],
        see_also: &["corten-state(8)"],
        ..EMPTY
    },
    Page {
        command: "mounts",
        text: &[
            "Adds mounts to a running container, or takes them away. FILE is a JSON array of mounts as in config.json; sources \
             are those of the host.",
        ],
        see_also: &["corten-update(8)", "mount_namespaces(7)"],
        ..EMPTY
    },
    Page {
        command: "pause",
        text: &["Freezes all processes of a container: they keep their memory and get no CPU time."],
        see_also: &["corten-resume(8)"],
        ..EMPTY
    },
    Page {
        command: "plan",
        text: &[
            "Prints what corten-create(8) would do with a bundle: what is decided first (how the mount namespace comes \
             about, who opens the sources of mounts, when the filter is loaded), then each step on the host and in the container, \
             in order, with the field of config.json that it comes from. Nothing is done, so it is a way to check a config, and to see what is in \
             it.",
        ],
        examples: &[
            ("Check a config:", "corten plan --bundle /srv/bundles/web >/dev/null && echo good"),
            ("What another config changes:", "diff <(corten plan) <(corten plan --config other.json)"),
        ],
        see_also: &["corten-create(8)", "corten-spec(8)"],
        ..EMPTY
    },
    Page {
        command: "ps",
        text: &[
            "Lists the processes of a container: the lines of ps(1) that are the container's, with the pids that the host sees. \
             Options after the id are for ps, -ef by default; its output must have a column PID. As JSON it is an array of pids.",
        ],
        examples: &[("With their memory:", "corten ps box -o pid,rss,args")],
        see_also: &["ps(1)", "corten-exec(8)"],
        ..EMPTY
    },
    Page {
        command: "restore",
        text: &[
            "Makes a container of images that corten-checkpoint(8) has written; its processes go on where they were. Bundle and \
             id are given as to corten-create(8). CRIU's log is restore.log in the work path.",
        ],
        exit_status: FOREGROUND,
        see_also: &["corten-checkpoint(8)", "criu(8)"],
        ..EMPTY
    },
    Page {
        command: "resume",
        text: &["Lets the processes of a paused container go on."],
        see_also: &["corten-pause(8)"],
        ..EMPTY
    },
    Page {
        command: "run",
        text: &[
            "Makes a container and starts it, as corten-create(8) and corten-start(8) do. In the foreground corten waits for the \
             container's process, passes signals on to it, gives it the terminal if process.terminal is true in the config, \
             ends as it does, and deletes the container, unless --keep is given. With --detach the container stays in the \
             background.",
        ],
        exit_status: FOREGROUND,
        environment: &[
            (
                "LISTEN_FDS",
                "Number of sockets that are passed on to the container, from fd 3 on (sd_listen_fds(3)).",
            ),
            ("NOTIFY_SOCKET", "Where readiness is told, for a container that tells it (sd_notify(3))."),
        ],
        examples: &[
            ("In the foreground, from the bundle here:", "corten run box"),
            (
                "In the background:",
                "corten run --detach --bundle /srv/bundles/web --pid-file /run/web.pid web",
            ),
        ],
        see_also: &["corten-create(8)", "corten-exec(8)", "corten-kill(8)"],
        ..EMPTY
    },
    Page {
        command: "spec",
        text: &[
            "Writes a config.json to start from, for a shell in ./rootfs with namespaces of its own and few capabilities. An \
             existing one is not replaced. With --rootless it is for an ordinary user: a user namespace in which the user is \
             root, the host's network, and no limits.",
        ],
        examples: &[
            ("A bundle:", "mkdir -p box/rootfs\ncorten spec --bundle box"),
            ("To look at:", "corten spec -f /dev/stdout"),
        ],
        see_also: &["corten-run(8)", "corten-plan(8)"],
        ..EMPTY
    },
    Page {
        command: "start",
        text: &[
            "Starts the program of a container that corten-create(8) has made. If the program cannot be executed, start fails \
             and says why.",
        ],
        see_also: &["corten-create(8)", "corten-state(8)"],
        ..EMPTY
    },
    Page {
        command: "state",
        text: &[
            "Prints a JSON object: ociVersion, id, pid (0 when stopped), status (creating, created, running, paused or \
             stopped), bundle, rootfs, created, annotations, owner.",
        ],
        examples: &[(
            "Wait for the end:",
            "while [ \"$(corten state box | jq -r .status)\" = running ]; do sleep 1; done",
        )],
        see_also: &["corten-list(8)", "corten-events(8)"],
        ..EMPTY
    },
    Page {
        command: "update",
        text: &[
            "Changes the limits of a container at once; what is not named stays as it is. Either all is in a file of --resources, \
             which holds linux.resources as in config.json, or in the other flags.",
            "Amounts of memory are in bytes, or have a unit: k, m, g, t, p (powers of 1024; 1.5g is possible). Times are in \
             microseconds. -1 is no limit. The quota of CPU time is for each period: 50000 of 100000 is half a CPU.",
            "A limit that the kernel refuses is an error, and what was set before it is set back.",
        ],
        examples: &[
            (
                "At most 64 MiB, and half a CPU:",
                "corten update --memory 64M --cpu-period 100000 --cpu-quota 50000 box",
            ),
            ("As engines do it:", "echo '{\"pids\": {\"limit\": 100}}' | corten update --resources - box"),
        ],
        see_also: &["corten-events(8)", "cgroups(7)"],
        ..EMPTY
    },
];
