# What every check has at hand. A check is a function whose name is the row of the tour and what it shows; each runs in a bash of its own.
# Given by the driver: CHECKS (this directory), RUNTIME (the runtime under test), NAME (what the engines call it), SLOW (how much slower
# than a real machine this one is).
set -eEuo pipefail
trap 'echo "status $? of: $BASH_COMMAND" >&2' ERR
export LC_ALL=C.UTF-8 HOME=/root

fail() {
    echo "$*" >&2
    exit 1
}

# skip REASON: this machine cannot show it.
skip() {
    echo "$*"
    exit 77
}

# is WANT COMMAND…: succeeds and prints exactly this.
is() {
    local want=$1 got
    shift
    got=$("$@" 2>&1) || fail "status $? of: $*: $got"
    [ "$got" = "$want" ] || fail "'$got' instead of '$want': $*"
}

# says REGEX COMMAND…: succeeds and prints a line like this.
says() {
    local want=$1 got
    shift
    got=$("$@" 2>&1) || fail "status $? of: $*: $got"
    grep -qE -- "$want" <<<"$got" || fail "no '$want' in '$got': $*"
}

# exits STATUS COMMAND…: ends with this status; what it prints is in $output.
exits() {
    local want=$1 got=0
    shift
    output=$("$@" 2>&1) || got=$?
    [ "$got" = "$want" ] || fail "status $got instead of $want: $*: $output"
}

# refuses REGEX COMMAND…: fails and says so.
refuses() {
    local want=$1
    shift
    ! output=$("$@" 2>&1) || fail "succeeds: $*: $output"
    grep -qEi -- "$want" <<<"$output" || fail "no '$want' in '$output': $*"
}

# soon COMMAND…: succeeds within ten seconds, or longer on a slow machine; its last words if not.
soon() {
    local end=$((SECONDS + 10 * SLOW)) last
    until last=$("$@" 2>&1); do
        [ "$SECONDS" -lt "$end" ] || fail "not in time: $*: $last"
        sleep 0.1
    done
}

# alike COMMAND…: status and output are the same with the peer, the runc or crun beside the runtime. @name stands for what Docker calls the
# runtime, @path for its file; ids are no difference.
alike() {
    local ours theirs
    ours=$(with "$NAME" "$RUNTIME" "$@")
    theirs=$(with peer "/opt/peers/$PEER" "$@")
    [ "$ours" = "$theirs" ] || fail "$(diff <(echo "$ours") <(echo "$theirs"); echo "< $NAME, > $PEER: $*")"
}
PEER=runc

with() {
    local name=$1 path=$2 status=0
    shift 2
    set -- "${@//@name/$name}"
    set -- "${@//@path/$path}"
    "$@" 2>&1 | sed -E 's/[0-9a-f]{12,}/ID/g' || status=$?
    echo "status $status"
}

# absent COMMAND…: prints nothing.
absent() {
    local got
    got=$("$@")
    [ -z "$got" ] || fail "$got"
}

# controller NAME: skips where no hierarchy here has it.
controller() {
    grep -qw "$1" /sys/fs/cgroup/cgroup.controllers || skip "cgroup v2 has no controller $1 here"
}

# systemd: skips where it does not run.
systemd() {
    [ -d /run/systemd/system ] || skip "no systemd here"
}

# terminal COMMAND…: a real terminal of 80 columns and 24 lines in which it runs.
terminal() {
    printf 'set -g status off\nset -g remain-on-exit on\n' >/tmp/tmux.conf
    tmux -f /tmp/tmux.conf new-session -d -s check -x 80 -y 24 "$@"
    trap 'screen >&2; tmux kill-session -t check' EXIT
}

# keys KEY…: types, in tmux's words.
keys() {
    tmux send-keys -t check "$@"
}

screen() {
    tmux capture-pane -p -t check | grep . || true
}

screen_has() {
    screen | grep -E -- "$1"
}

# shows REGEX: a line like this comes up on the screen.
shows() {
    soon screen_has "$1"
}

# The root of an image in a directory: busybox under all its names, and two users.
image_root() {
    local root=$1
    mkdir -p "$root/bin" "$root/etc" "$root/root" "$root/tmp" "$root/proc" "$root/sys" "$root/dev" "$root/home/user"
    chmod 1777 "$root/tmp"
    cp "$(command -v busybox)" "$root/bin/busybox"
    chroot "$root" /bin/busybox --install -s /bin
    printf 'root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n' >"$root/etc/passwd"
    printf 'root:x:0:\nuser:x:1000:\n' >"$root/etc/group"
    chown 1000:1000 "$root/home/user"
}

# The same as an archive, made once.
image_archive() {
    local archive=/tmp/image.tar
    if [ ! -e $archive ]; then
        image_root /tmp/image
        tar -C /tmp/image -cf $archive.new .
        mv $archive.new $archive
    fi
    echo $archive
}

# Programs that the kernel refuses, in /tmp/programs: a text, a binary for another machine, and one whose interpreter is not there.
refused_programs() {
    local programs=/tmp/programs
    mkdir -p $programs
    echo 'echo hi' >$programs/text
    printf '#!/no/such/interpreter\n' >$programs/lost
    cp "$(command -v busybox)" $programs/foreign
    # Its machine is an Itanium, which nobody emulates.
    printf '\x32\x00' | dd of=$programs/foreign bs=1 seek=18 conv=notrunc status=none
    chmod 755 $programs $programs/*
}

# pinned_mount_namespaces: directory /tmp/pins has a new mount namespace of each CPU. Each CPU hands out ids of its own, and a namespace can be
# bound to a file only where the one with the file is older, by its id: on a young machine not all are.
pinned_mount_namespaces() {
    local cpu pinned=0
    mkdir -p /tmp/pins
    mountpoint -q /tmp/pins || { mount -t tmpfs tmpfs /tmp/pins && mount --make-private /tmp/pins; }
    touch /tmp/pins/file
    for ((cpu = 0; cpu < $(nproc --all); cpu++)); do
        ! mountpoint -q /tmp/pins/$cpu || umount /tmp/pins/$cpu
        touch /tmp/pins/$cpu
        ! taskset -c $cpu unshare --mount=/tmp/pins/$cpu true || pinned=$((pinned + 1))
    done
    [ $pinned -gt 0 ] || fail "no namespace can be bound"
}

no_pinned_mount_namespaces() {
    ! mountpoint -q /tmp/pins || umount -R /tmp/pins
}

# locked_volume: directory /tmp/locked has all flags that nobody in a user namespace may take from a mount; its filesystem has none.
locked_volume() {
    mkdir -p /tmp/locked
    mountpoint -q /tmp/locked && return
    mount -t tmpfs tmpfs /tmp/locked
    mount -o remount,bind,ro,nosuid,nodev,noexec,noatime /tmp/locked
}

no_locked_volume() {
    ! mountpoint -q /tmp/locked || umount /tmp/locked
}

# on_each_cpu PID… -- COMMAND…: with the processes, and what they start, on one CPU after the other.
on_each_cpu() {
    local pids=() cpu pid
    while [ "$1" != -- ]; do
        pids+=("$1")
        shift
    done
    shift
    for ((cpu = 0; cpu < $(nproc --all); cpu++)); do
        for pid in "${pids[@]}"; do
            taskset -apc $cpu "$pid" >/dev/null
        done
        "$@"
    done
    for pid in "${pids[@]}"; do
        taskset -apc "0-$(($(nproc --all) - 1))" "$pid" >/dev/null
    done
}

# dockerd_up OPTION…: Docker with the runtime under test as its default, and the image bb.
dockerd_up() {
    local pid
    if pid=$(cat /run/docker.pid 2>/dev/null) && kill -0 "$pid" 2>/dev/null; then
        [ "$(cat /tmp/dockerd.options)" = "$*" ] && return
        dockerd_down
    fi
    echo "$*" >/tmp/dockerd.options
    mkdir -p /etc/docker
    # In a file, not on the command line: what is there is forgotten when dockerd reads its configuration again.
    docker_config >/etc/docker/daemon.json
    # BuildKit in dockerd looks at nothing else.
    DOCKER_BUILDKIT_RUNC_COMMAND=$RUNTIME setsid dockerd "$@" >>/tmp/dockerd.log 2>&1 &
    soon docker version
    docker image inspect bb >/dev/null 2>&1 ||
        docker import -c 'CMD ["sh"]' -c 'ENV FROM=image' "$(image_archive)" bb:latest >/dev/null
}

# docker_config: the runtime under test, and the peer for those who ask for it.
docker_config() {
    printf '{"runtimes": {"%s": {"path": "%s"}, "peer": {"path": "/opt/peers/runc"}}, "default-runtime": "%s"}\n' "$NAME" "$RUNTIME" "$NAME"
}

dockerd_down() {
    local pid
    pid=$(cat /run/docker.pid 2>/dev/null) || return 0
    kill "$pid" 2>/dev/null || return 0
    soon eval "! kill -0 $pid"
    # It leaves its rule that nothing else is forwarded; Podman's networks would find themselves cut off.
    iptables -P FORWARD ACCEPT
}

# on_each_dockerd_cpu COMMAND…: with Docker, and what it starts, on one CPU after the other.
on_each_dockerd_cpu() {
    # containerd is Docker's own, or one that it has found.
    on_each_cpu $(pgrep -x 'dockerd|containerd') -- "$@"
}

# All containers, networks and volumes of Docker go.
docker_clean() {
    docker version >/dev/null 2>&1 || return 0
    docker ps -aq | xargs -r docker rm -fv >/dev/null
    docker network prune -f >/dev/null
    docker volume prune -af >/dev/null
}

# What containers are made of. What is there after a row and was not before it has been left.
traces() {
    # Engines keep cgroups of their own.
    find /sys/fs/cgroup -mindepth 2 -type d -printf 'cgroup %P\n' 2>/dev/null |
        grep -Ev ' ((docker/buildkit|libpod_parent/conmon)$|(system|user|init)\.(slice|scope)/.*\.(service|socket|mount|slice)$)' ||
        true
    # ip keeps the directory of named network namespaces, dockerd the host's own one, Corten an empty mount namespace.
    awk '{ print "mount " $5 }' /proc/self/mountinfo | grep -Ev ' /run/(credentials/|netns$|docker/netns/default$|corten/@mounts(/|$))' || true
    find /run/{docker,user/*/docker}/runtime-runc/moby /run/containerd/runc/*/ /run/{runc,crun,corten} /run/user/*/{runc,crun,corten} \
        /run/{docker/containerd/daemon,user/*/docker/containerd/daemon,containerd}/io.containerd.runtime.v2.task/*/ \
        -mindepth 1 -maxdepth 1 ! -name "[@.]*" -printf "state %p\n" 2>/dev/null || true
    local process
    for process in /proc/[0-9]*; do
        case $(cat "$process/comm" 2>/dev/null) in
        '') ;;
        containerd-shim* | conmon | docker-proxy | pasta* | slirp4netns | criu | runc* | crun* | corten*)
            echo "process $(tr '\0' ' ' <"$process/cmdline")" ;;
        *) [ "$(readlink "$process/ns/pid")" = "$(readlink /proc/self/ns/pid)" ] || echo "process $(cat "$process/comm") in a container" ;;
        esac
    done 2>/dev/null
    ip -br link | awk '/^veth/ { print "network device", $1 }'
}

# A line for each trace that was not in the file.
new_traces() {
    traces | sort -u | comm -13 "$1" -
}

no_new_traces() {
    absent new_traces "$1"
}

USER_NAME=tester

# user_up: an ordinary user who can have containers.
user_up() {
    id $USER_NAME >/dev/null 2>&1 || useradd --create-home --uid 1000 --shell /bin/bash $USER_NAME
    grep -q "^$USER_NAME:" /etc/subuid || echo "$USER_NAME:100000:65536" | tee -a /etc/subuid >>/etc/subgid
    [ -d /run/user/1000 ] || install -d -m 700 -o 1000 -g 1000 /run/user/1000
    chmod 666 /dev/fuse /dev/net/tun
}

# user COMMAND…: as the ordinary user, in their session if there is systemd.
user() {
    if [ -d /run/systemd/system ]; then
        # What goes on in the background is not in a service that ends.
        systemd-run --quiet --machine "$USER_NAME@.host" --user "$([ -t 0 ] && echo --pty || echo --pipe)" --wait --collect \
            --property Delegate=yes --property KillMode=process --working-directory "/home/$USER_NAME" "$@"
    else
        runuser -u $USER_NAME -- env -i -C "/home/$USER_NAME" PATH="$PATH" LC_ALL=C.UTF-8 HOME="/home/$USER_NAME" \
            XDG_RUNTIME_DIR=/run/user/1000 TERM="${TERM:-dumb}" "$@"
    fi
}

# Podman, Buildah and their kin, told to use the runtime.
engines_config() {
    mkdir -p /etc/containers
    cat >/etc/containers/containers.conf <<END
[engine]
runtime = "$NAME"
runtime_supports_json = ["$NAME"]
runtime_supports_nocgroup = ["$NAME"]
cgroup_manager = "$([ -d /run/systemd/system ] && echo systemd || echo cgroupfs)"
events_logger = "file"
[engine.runtimes]
$NAME = ["$RUNTIME"]
[containers]
log_driver = "k8s-file"
# Without the controller there is no limit to be had.
$(grep -qw pids /sys/fs/cgroup/cgroup.controllers || echo 'pids_limit = 0')
# Nor can a limit be raised without CAP_SYS_RESOURCE.
$(setpriv --inh-caps +sys_resource true 2>/dev/null || echo 'default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]')
END
    echo '{"default": [{"type": "insecureAcceptAnything"}]}' >/etc/containers/policy.json
}

# follows_its_size: the shell in the terminal has a terminal of the container's, of this size and the next.
follows_its_size() {
    shows '^/ #'
    keys 'tty; stty size' Enter
    shows '^/dev/pts/0'
    shows '^24 80'
    tmux resize-window -t check -x 100 -y 30
    soon bash -c 'tmux send-keys -t check "stty size" Enter; tmux capture-pane -p -t check | grep "^30 100"'
}

# edits_in_vi: a program that draws on the whole terminal can be used in it.
edits_in_vi() {
    keys 'vi /tmp/file' Enter
    shows '^~'
    keys i 'written in vi' Escape
    # What follows an escape at once belongs to it.
    sleep 1
    keys ':wq' Enter
    shows '^/ #'
    keys 'clear; cat /tmp/file' Enter
    shows '^written in vi'
}
