//! Every command and flag of runc, as a transcript: exit status, stdout, stderr, the container afterwards.
//! Corten's are kept as snapshots; where runc is installed (or named by `CORTEN_TEST_RUNC`) its own are
//! compared with them. Differences are listed here, each with its reason: one that is not listed is an error,
//! and so is a listed one that is no more.

use std::fs;

use crate::common::transcripts::Part::{After, Exit, File, Stderr, Stdout};
use crate::common::transcripts::Setup::{Created, Nothing, Paused, Running, Stopped};
use crate::common::transcripts::{Row, compare, row};
use container_test::container_test;
use serde_json::json;

/// Why messages differ: engines depend on none of these (the ones they do are the same).
const NAMED: &str = "corten's message names the field, the flag or the file, and the call";
const OLD: &str = "later versions of runc do and say what corten does";
const VERSION: &str = "each has a version of its own";
const FIRST: &str = "of two mistakes another is found first";
const AFTER_ARGUMENTS: &str = "corten knows flags behind arguments for what they are";
const INSIDE: &str = "corten says of exec, too, that it failed inside, as runc does of create and run";

fn check(command: &str, rows: &[Row]) {
    let transcripts = compare(rows);
    insta::assert_snapshot!(command, transcripts);
}

#[container_test]
fn without_a_command() {
    check(
        "without_a_command",
        &[
            row(Nothing, ""),
            row(Nothing, "--version").differs(&[Stdout], VERSION),
            row(Nothing, "-v").differs(&[Stdout], VERSION),
            row(Nothing, "--help"),
            row(Nothing, "-h"),
            row(Nothing, "help"),
            row(Nothing, "help state"),
            row(Nothing, "help nosuch"),
            row(Nothing, "nosuch"),
            row(Nothing, "nosuch --flag"),
            row(Nothing, "--nosuch"),
            row(Nothing, "--nosuch list"),
        ],
    );
}

#[container_test]
fn global_flags() {
    check(
        "global_flags",
        &[
            row(Nothing, "--log $DIR/log state $ID").looks_at("$DIR/log"),
            row(Nothing, "--log $DIR/log --log-format text state $ID").looks_at("$DIR/log"),
            row(Nothing, "--log $DIR/log --log-format json state $ID").looks_at("$DIR/log"),
            row(Nothing, "-log=$DIR/log -log-format=json state $ID").looks_at("$DIR/log"),
            row(Created, "--log $DIR/log state $ID").looks_at("$DIR/log"),
            row(Nothing, "--log $DIR/log --log-format json state").looks_at("$DIR/log"),
            row(Nothing, "--log $DIR/log --log-format json nosuch")
                .looks_at("$DIR/log")
                .differs(&[File], "runc ends the message with a line break"),
            row(Nothing, "--log-format xml list"),
            row(Nothing, "--log-format xml --log $DIR/log list").looks_at("$DIR/log"),
            row(Nothing, "--log $DIR/nosuch/log list").differs(&[Stderr], NAMED),
            row(Nothing, "--log"),
            row(Nothing, "--debug state $ID").differs(&[Stderr], "runc names its own source file"),
            row(Created, "--debug state $ID"),
            row(Nothing, "--root / list").differs_until((1, 1), &[Exit, Stdout, Stderr], OLD),
            row(Nothing, "--root '' list"),
            row(Nothing, "--root $DIR/nosuch list").differs_until((1, 1), &[Exit, Stdout, Stderr], OLD),
            row(Nothing, "--root $DIR list"),
            row(Nothing, "--root $DIR/nosuch state $ID"),
            row(Created, "--systemd-cgroup state $ID"),
            row(Created, "--systemd-cgroup kill $ID KILL").settles("stopped"),
            // The container was made without systemd, and the state says so.
            row(Running, "--systemd-cgroup pause $ID"),
            row(Paused, "--systemd-cgroup resume $ID"),
            row(Running, "--systemd-cgroup ps --format json $ID"),
            row(Running, "--systemd-cgroup update --resources - $ID").stdin("{}"),
            row(Running, "--systemd-cgroup delete --force $ID"),
            row(Created, "--rootless true state $ID"),
            row(Created, "--rootless=false state $ID"),
            row(Created, "--rootless auto state $ID"),
            row(Nothing, "--rootless nosuch create -b $BUNDLE $ID").differs(&[Stdout, Stderr], NAMED),
            row(Nothing, "--rootless false create -b $BUNDLE $ID"),
            row(Nothing, "--rootless true create -b $BUNDLE $ID"),
        ],
    );
}

#[container_test]
fn create() {
    check(
        "create",
        &[
            row(Nothing, "create --help"),
            row(Nothing, "create --bundle $BUNDLE $ID"),
            row(Nothing, "create -b $BUNDLE $ID"),
            row(Nothing, "create $ID").in_bundle(),
            row(Nothing, "create $ID"),
            row(Nothing, "create -b $DIR/nosuch $ID").differs(&[Stderr], NAMED),
            row(Nothing, "create"),
            row(Nothing, "create -b $BUNDLE"),
            row(Nothing, "create -b $BUNDLE $ID more"),
            row(Nothing, "create -b $BUNDLE ''"),
            row(Nothing, "create -b $BUNDLE a/b").differs(&[Stderr], NAMED),
            row(Nothing, "create -b $BUNDLE ..").differs(&[Stderr], NAMED),
            row(Nothing, "create --nosuch $ID"),
            row(Nothing, "create $ID -b $BUNDLE"),
            row(Nothing, "create $ID --bundle").differs(&[Stdout, Stderr], AFTER_ARGUMENTS),
            row(Created, "create -b $BUNDLE $ID"),
            row(Stopped, "create -b $BUNDLE $ID"),
            row(Nothing, "create -b $BUNDLE --pid-file $DIR/pid $ID").looks_at("$DIR/pid"),
            row(Nothing, "create -b $BUNDLE --pid-file pid $ID").looks_at("$DIR/pid"),
            row(Nothing, "create -b $BUNDLE --pid-file $DIR/nosuch/pid $ID").differs(&[Stderr], NAMED),
            row(Nothing, "create -b $BUNDLE --console-socket $DIR/nosuch $ID").differs(&[Stderr], NAMED),
            row(Nothing, "create -b $BUNDLE --console-socket $DIR/nosuch $ID")
                .config(|c| {
                    c["process"]["terminal"] = true.into();
                })
                .differs(&[Stderr], NAMED),
            row(Nothing, "create -b $BUNDLE $ID")
                .config(|c| c["process"]["terminal"] = true.into())
                .differs(&[Stderr], NAMED),
            row(Nothing, "create -b $BUNDLE --pidfd-socket $DIR/nosuch $ID")
                .since((1, 2))
                .differs(&[Stderr], NAMED),
            row(Nothing, "create -b $BUNDLE --no-pivot $ID"),
            row(Nothing, "create -b $BUNDLE --no-new-keyring $ID"),
            row(Nothing, "create -b $BUNDLE --preserve-fds 0 $ID"),
            row(Nothing, "create -b $BUNDLE --preserve-fds 1 $ID"),
            row(Nothing, "create -b $BUNDLE --preserve-fds many $ID").differs(&[Stdout, Stderr], NAMED),
            row(Nothing, "create -b $BUNDLE --preserve-fds -1 $ID")
                .differs(&[Exit, Stdout, Stderr, After], "a number of fds is not negative"),
            row(Nothing, "create -b $BUNDLE $ID").program("nosuch").differs_until((1, 1), &[Stderr], OLD),
            row(Nothing, "create -b $BUNDLE $ID").program("/nosuch").differs_until((1, 1), &[Stderr], OLD),
            row(Nothing, "create -b $BUNDLE $ID").program("/etc").differs_until((1, 1), &[Stderr], OLD),
            row(Nothing, "create -b $BUNDLE $ID")
                .config(|c| c["process"]["args"] = json!([]))
                .differs(&[Stderr], NAMED),
            row(Nothing, "create -b $BUNDLE $ID")
                .config(|c| c["process"]["cwd"] = json!(""))
                .differs(&[Stderr], NAMED),
            row(Nothing, "create -b $BUNDLE $ID")
                .config(|c| c["process"]["cwd"] = json!("relative"))
                .differs(&[Stderr], NAMED),
            row(Nothing, "create -b $BUNDLE $ID")
                .config(|c| c["root"]["path"] = json!("nosuch"))
                .differs(&[Stderr], NAMED),
            row(Nothing, "create -b $BUNDLE $ID")
                .after(|test| fs::write(test.path().join("config.json"), "{").unwrap())
                .differs(&[Stderr], NAMED),
            row(Nothing, "create -b $BUNDLE $ID")
                .after(|test| fs::write(test.path().join("config.json"), "null").unwrap())
                .differs(&[Stderr], NAMED)
                .differs_until((1, 1), &[Exit], "a crash of runc"),
        ],
    );
}

#[container_test]
fn run() {
    check(
        "run",
        &[
            row(Nothing, "run --help"),
            row(Nothing, "run --bundle $BUNDLE $ID").program("true"),
            row(Nothing, "run -b $BUNDLE $ID").program("echo out"),
            row(Nothing, "run -b $BUNDLE $ID").program("sh -c echo err >&2"),
            row(Nothing, "run -b $BUNDLE $ID").program("cat").stdin("in"),
            row(Nothing, "run $ID").in_bundle().program("true"),
            row(Nothing, "run -b $BUNDLE $ID").program("sh -c exit 42"),
            row(Nothing, "run -b $BUNDLE $ID").program("sh -c kill -KILL $$; sleep 1").config(without_pids),
            row(Nothing, "run -b $BUNDLE $ID").program("sh -c kill -TERM $$; sleep 1").config(without_pids),
            row(Nothing, "run --keep -b $BUNDLE $ID").program("sh -c exit 3").since((1, 1)),
            row(Nothing, "run --keep -d -b $BUNDLE $ID"),
            row(Nothing, "run --no-subreaper -b $BUNDLE $ID").program("true"),
            row(Nothing, "run -no-subreaper -b=$BUNDLE $ID").program("true"),
            row(Nothing, "run --no-pivot -b $BUNDLE $ID").program("true"),
            row(Nothing, "run --no-new-keyring -b $BUNDLE $ID").program("true"),
            row(Nothing, "run -d -b $BUNDLE --pid-file $DIR/pid $ID").looks_at("$DIR/pid"),
            row(Nothing, "run --detach -b $BUNDLE $ID"),
            row(Nothing, "run -d -b $BUNDLE $ID").program("nosuch").differs_until((1, 1), &[Stderr], OLD),
            row(Nothing, "run -b $BUNDLE $ID").program("nosuch").differs_until((1, 1), &[Stderr], OLD),
            row(Nothing, "run -b $BUNDLE $ID").program("/nosuch").differs_until((1, 1), &[Stderr], OLD),
            row(Nothing, "run -b $BUNDLE --pid-file $DIR/pid $ID")
                .program("nosuch")
                .looks_at("$DIR/pid")
                .differs_until((1, 1), &[Stderr], OLD),
            row(Nothing, "run -b $BUNDLE --console-socket $DIR/nosuch $ID"),
            row(Nothing, "run -d -b $BUNDLE --console-socket $DIR/nosuch $ID").differs(&[Stderr], NAMED),
            row(Nothing, "run -d -b $BUNDLE $ID")
                .config(|c| c["process"]["terminal"] = true.into())
                .differs(&[Stderr], NAMED),
            row(Nothing, "run -b $BUNDLE --pidfd-socket $DIR/nosuch $ID")
                .since((1, 2))
                .differs(&[Stderr], NAMED),
            row(Nothing, "run -b $BUNDLE --preserve-fds 1 $ID").program("true"),
            row(Running, "run -b $BUNDLE $ID"),
            row(Nothing, "run"),
            row(Nothing, "run $ID"),
            row(Nothing, "run -b $BUNDLE $ID more"),
            row(Nothing, "run --nosuch $ID"),
        ],
    );
}

fn without_pids(config: &mut serde_json::Value) {
    config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
}

#[container_test]
fn start() {
    check(
        "start",
        &[
            row(Nothing, "start --help"),
            row(Nothing, "start $ID"),
            row(Created, "start $ID"),
            row(Created, "start $ID").program("false").settles("stopped"),
            row(Running, "start $ID"),
            row(Paused, "start $ID"),
            row(Stopped, "start $ID"),
            row(Nothing, "start"),
            row(Nothing, "start ''"),
            row(Nothing, "start $ID more"),
            row(Created, "start $ID --nosuch").differs(&[Stdout, Stderr], AFTER_ARGUMENTS),
        ],
    );
}

#[container_test]
fn state() {
    check(
        "state",
        &[
            row(Nothing, "state --help"),
            row(Nothing, "state -h"),
            row(Nothing, "state $ID"),
            row(Created, "state $ID"),
            row(Running, "state $ID"),
            row(Running, "state $ID").config(|c| c["annotations"] = json!({ "b": "2", "a": "1" })),
            row(Paused, "state $ID"),
            row(Stopped, "state $ID"),
            row(Nothing, "state"),
            row(Nothing, "state ''"),
            row(Nothing, "state a/b").differs(&[Stderr], NAMED),
            row(Nothing, "state $ID more"),
            row(Nothing, "state --nosuch $ID"),
        ],
    );
}

#[container_test]
fn kill() {
    check(
        "kill",
        &[
            row(Nothing, "kill --help"),
            row(Nothing, "kill $ID"),
            row(Nothing, "kill $ID NOSUCH"),
            row(Created, "kill $ID").settles("stopped"),
            row(Created, "kill $ID KILL").settles("stopped"),
            row(Running, "kill $ID"),
            row(Running, "kill $ID")
                .program("sh -c trap exit TERM; while :; do sleep 0.1; done")
                .settles("stopped"),
            row(Running, "kill $ID SIGKILL").settles("stopped"),
            row(Running, "kill $ID kill").settles("stopped"),
            row(Running, "kill $ID 9").settles("stopped"),
            row(Running, "kill $ID USR1"),
            row(Running, "kill $ID RTMIN")
                .differs(&[Exit, Stderr], "signals for real-time use have names, too"),
            row(Running, "kill $ID RTMIN+3")
                .differs(&[Exit, Stderr], "signals for real-time use have names, too"),
            row(Running, "kill $ID 0"),
            row(Running, "kill $ID 64"),
            row(Running, "kill $ID 65").differs(&[Stderr], NAMED),
            row(Running, "kill $ID -1").differs(&[Stderr], NAMED),
            row(Running, "kill $ID NOSUCH"),
            row(Running, "kill $ID ''"),
            row(Running, "kill --all $ID KILL").settles("stopped"),
            row(Running, "kill -a $ID KILL").settles("stopped"),
            row(Running, "kill $ID KILL").config(without_pids).settles("stopped"),
            row(Paused, "kill $ID KILL").settles("stopped"),
            row(Stopped, "kill $ID"),
            row(Stopped, "kill $ID KILL"),
            row(Stopped, "kill --all $ID KILL"),
            row(Nothing, "kill"),
            row(Nothing, "kill $ID KILL more"),
            row(Running, "kill $ID KILL --nosuch").differs(&[Stdout, Stderr], AFTER_ARGUMENTS),
        ],
    );
}

#[container_test]
fn delete() {
    check(
        "delete",
        &[
            row(Nothing, "delete --help"),
            row(Nothing, "delete $ID"),
            row(Nothing, "delete --force $ID"),
            row(Nothing, "delete -f $ID"),
            row(Nothing, "delete -force $ID"),
            row(Created, "delete $ID"),
            row(Created, "delete --force $ID"),
            row(Running, "delete $ID"),
            row(Running, "delete --force $ID"),
            row(Running, "delete -f $ID"),
            row(Running, "delete $ID --force"),
            row(Paused, "delete $ID"),
            row(Paused, "delete --force $ID"),
            row(Stopped, "delete $ID"),
            row(Stopped, "delete --force $ID"),
            row(Nothing, "delete"),
            row(Nothing, "delete ''"),
            row(Nothing, "delete --force"),
            row(Nothing, "delete $ID more"),
            row(Nothing, "delete $ID")
                .after(|test| fs::create_dir_all(test.state_root().join(&test.id)).unwrap())
                .differs(
                    &[Exit, Stderr],
                    "both remove what there is; runc says in addition that it was no container",
                ),
            row(Nothing, "delete -f $ID")
                .after(|test| fs::create_dir_all(test.state_root().join(&test.id)).unwrap()),
        ],
    );
}

#[container_test]
fn list() {
    check(
        "list",
        &[
            row(Nothing, "list --help"),
            row(Nothing, "list").differs_until((1, 1), &[Exit, Stdout, Stderr], OLD),
            row(Created, "list"),
            row(Running, "list"),
            row(Paused, "list"),
            row(Stopped, "list"),
            row(Running, "list --format table"),
            row(Running, "list --format json"),
            row(Running, "list -f json").config(|c| c["annotations"] = json!({ "a": "1" })),
            row(Stopped, "list -f json"),
            row(Running, "list --quiet"),
            row(Running, "list -q"),
            row(Running, "list -q --format json"),
            row(Nothing, "list --format xml").differs_from((1, 2), &[Stderr], FIRST),
            row(Running, "list --format xml"),
            row(Running, "list more"),
            row(Running, "list --nosuch"),
            row(Running, "list")
                .after(|test| {
                    fs::create_dir(test.state_root().join("damaged")).unwrap();
                    fs::write(test.state_root().join("damaged/state.json"), "{").unwrap();
                })
                .differs(&[Stderr], NAMED),
        ],
    );
}

#[container_test]
fn ps() {
    check(
        "ps",
        &[
            row(Nothing, "ps --help"),
            row(Nothing, "ps $ID"),
            row(Nothing, "ps"),
            row(Created, "ps --format json $ID"),
            row(Running, "ps --format json $ID"),
            row(Running, "ps -f json $ID"),
            row(Running, "ps $ID -o pid,comm"),
            row(Running, "ps --format table $ID -o pid,comm"),
            row(Running, "ps $ID -o comm"),
            row(Running, "ps $ID --nosuch").differs(&[Stderr], "one line"),
            row(Running, "ps --format xml $ID"),
            row(Running, "ps --nosuch $ID"),
            row(Paused, "ps --format json $ID"),
            row(Stopped, "ps --format json $ID"),
            row(Stopped, "ps $ID -o pid,comm"),
        ],
    );
}

#[container_test]
fn pause_and_resume() {
    check(
        "pause_and_resume",
        &[
            row(Nothing, "pause --help"),
            row(Nothing, "resume --help"),
            row(Nothing, "pause $ID"),
            row(Nothing, "resume $ID"),
            row(Created, "pause $ID"),
            row(Created, "resume $ID"),
            row(Running, "pause $ID"),
            row(Running, "resume $ID"),
            row(Paused, "pause $ID").differs(&[Stderr], "says what is the matter"),
            row(Paused, "resume $ID"),
            row(Stopped, "pause $ID"),
            row(Stopped, "resume $ID"),
            row(Nothing, "pause"),
            row(Nothing, "resume"),
            row(Nothing, "pause $ID more"),
            row(Nothing, "resume --nosuch $ID"),
        ],
    );
}

#[container_test]
fn events() {
    check(
        "events",
        &[
            row(Nothing, "events --help"),
            row(Nothing, "events $ID"),
            row(Nothing, "events --stats $ID"),
            row(Stopped, "events $ID"),
            row(Stopped, "events --stats $ID"),
            row(Running, "events --stats $ID").depends_on_machine().only_shape(),
            row(Running, "events --interval 0s $ID"),
            row(Running, "events --interval -1s $ID"),
            row(Running, "events --interval 5 $ID").differs(&[Stdout, Stderr], NAMED),
            row(Running, "events --interval often $ID").differs(&[Stdout, Stderr], NAMED),
            row(Nothing, "events"),
            row(Nothing, "events $ID more"),
            row(Nothing, "events --nosuch $ID"),
        ],
    );
}

#[container_test]
fn features() {
    check(
        "features",
        &[row(Nothing, "features --help"), row(Nothing, "features more"), row(Nothing, "features --nosuch")],
    );
}

#[container_test]
fn spec() {
    check(
        "spec",
        &[
            row(Nothing, "spec --help"),
            row(Nothing, "spec"),
            row(Nothing, "spec --bundle $DIR"),
            row(Nothing, "spec -b $DIR"),
            row(Nothing, "spec --rootless"),
            row(Nothing, "spec -b $BUNDLE"),
            row(Nothing, "spec").in_bundle(),
            row(Nothing, "spec -b $DIR/nosuch").differs(&[Stderr], NAMED),
            row(Nothing, "spec more"),
            row(Nothing, "spec --nosuch"),
        ],
    );
}

#[container_test]
fn update() {
    check(
        "update",
        &[
            row(Nothing, "update --help"),
            row(Nothing, "update $ID"),
            row(Nothing, "update"),
            row(Nothing, "update $ID more"),
            row(Nothing, "update --nosuch $ID"),
            row(Running, "update $ID"),
            row(Created, "update $ID"),
            row(Stopped, "update $ID"),
            row(Running, "update --resources $DIR/nosuch $ID").differs(&[Stderr], NAMED),
            row(Running, "update --resources - $ID").stdin("{}"),
            row(Running, "update -r - $ID").stdin("{}"),
            row(Running, "update -r - $ID").stdin("{").differs(&[Stderr], NAMED),
            row(Running, "update -r - $ID").stdin("").differs(&[Stderr], NAMED),
            row(Running, "update -r - $ID").stdin("{\"pids\":{\"limit\":77}}").depends_on_machine(),
            row(Running, "update --pids-limit 10 $ID").depends_on_machine(),
            row(Running, "update --memory 64M $ID").depends_on_machine(),
            row(Running, "update --memory -1 $ID").depends_on_machine(),
            row(Running, "update --memory 64M --memory-swap 128M --memory-reservation 32M $ID")
                .depends_on_machine(),
            row(Running, "update --cpu-period 100000 --cpu-quota 50000 --cpu-share 512 $ID")
                .depends_on_machine(),
            row(Running, "update --cpuset-cpus 0 --cpuset-mems 0 $ID").depends_on_machine(),
            row(Running, "update --cpu-rt-period 1000000 $ID").depends_on_machine(),
            row(Running, "update --cpu-rt-runtime 0 $ID").depends_on_machine(),
            row(Running, "update --blkio-weight 0 $ID"),
            row(Running, "update --cpu-burst 0 $ID").since((1, 2)).depends_on_machine(),
            row(Running, "update --cpu-idle 0 $ID").since((1, 2)).depends_on_machine(),
            row(Running, "update --kernel-memory 1M $ID"),
            row(Running, "update --kernel-memory-tcp 1M $ID"),
            row(Running, "update --l3-cache-schema L3:0=f $ID")
                .depends_on_machine()
                .differs(&[Stderr], FIRST),
            row(Running, "update --mem-bw-schema MB:0=50 $ID").depends_on_machine().differs(&[Stderr], FIRST),
            row(Running, "update --memory much $ID").differs(&[Stdout, Stderr], NAMED),
            row(Running, "update --pids-limit many $ID").differs(&[Stdout, Stderr], NAMED),
            row(Running, "update --cpu-share -1 $ID").differs(&[Stdout, Stderr], NAMED),
            row(Running, "update --cpu-quota much $ID").differs(&[Stdout, Stderr], NAMED),
            row(Running, "update --blkio-weight much $ID").differs(&[Stdout, Stderr], NAMED),
        ],
    );
}

#[container_test]
fn exec() {
    check(
        "exec",
        &[
            row(Nothing, "exec --help"),
            row(Nothing, "exec $ID true"),
            row(Created, "exec $ID echo out"),
            row(Running, "exec $ID echo out"),
            row(Running, "exec $ID cat").stdin("in"),
            row(Running, "exec $ID sh -c exit\u{a0}42"),
            row(Running, "exec $ID nosuch").differs(&[Stderr], INSIDE),
            row(Running, "exec $ID /nosuch").differs(&[Stderr], INSIDE),
            row(Running, "exec --cwd /etc $ID pwd"),
            row(Running, "exec --cwd relative $ID pwd").differs(&[Stderr], NAMED),
            row(Running, "exec --env A=1 --env B=2 $ID sh -c echo\u{a0}$A$B"),
            row(Running, "exec --user 7:8 $ID id"),
            row(Running, "exec -u 7 $ID id"),
            row(Running, "exec -u root $ID id").differs(&[Stderr], NAMED),
            row(Running, "exec --additional-gids 9 --additional-gids 10 $ID id"),
            row(Running, "exec --additional-gids wheel $ID id").differs(&[Exit, Stdout, Stderr], "all that exec does not take ends with the same status"),
            row(Running, "exec --detach --pid-file $DIR/pid $ID sleep 1000"),
            row(Running, "exec -d $ID nosuch").differs(&[Stderr], INSIDE),
            row(Running, "exec --cap CAP_SYS_PTRACE $ID grep CapEff /proc/self/status"),
            row(Running, "exec --cap CAP_NOSUCH $ID true").differs(&[Exit, Stderr], "a capability that nobody knows is a mistake"),
            row(Running, "exec --no-new-privs $ID grep NoNewPrivs /proc/self/status"),
            row(Running, "exec --preserve-fds 0 $ID true"),
            row(Running, "exec --process $DIR/nosuch $ID"),
            row(Running, "exec -p $DIR/process $ID")
                .after(|test| {
                    let process = json!({ "cwd": "/", "args": ["echo", "by file"], "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } });
                    fs::write(test.beside("dir/process"), process.to_string()).unwrap();
                }),
            row(Running, "exec --tty --detach $ID true"),
            row(Running, "exec --console-socket $DIR/nosuch $ID true"),
            row(Running, "exec -t -d --console-socket $DIR/nosuch $ID true").differs(&[Stderr], NAMED),
            row(Running, "exec --pidfd-socket $DIR/nosuch $ID true").since((1, 2)).differs(&[Stderr], NAMED),
            row(Running, "exec --cgroup / $ID true"),
            row(Running, "exec --cgroup /nosuch $ID true").depends_on_machine().differs(&[Stderr], NAMED),
            row(Paused, "exec $ID true"),
            row(Stopped, "exec $ID true"),
            row(Running, "exec $ID").differs_until((1, 1), &[Stderr], OLD),
            row(Nothing, "exec"),
            row(Running, "exec --nosuch $ID true"),
        ],
    );
}

#[container_test]
fn checkpoint_and_restore() {
    check(
        "checkpoint_and_restore",
        &[
            // Podman asks for both.
            row(Nothing, "checkpoint --help"),
            row(Nothing, "restore --lsm-mount-context"),
            row(Nothing, "restore --help"),
            row(Nothing, "checkpoint $ID"),
            row(Nothing, "checkpoint"),
            row(Nothing, "restore"),
            row(Created, "checkpoint $ID"),
            row(Stopped, "checkpoint $ID"),
            row(Running, "checkpoint --nosuch $ID"),
        ],
    );
}
