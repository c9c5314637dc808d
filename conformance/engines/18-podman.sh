# Podman: as an ordinary user first, then what only root may do.
LIMIT=120
# What Podman is made for.
PEER=crun

setup() {
    dockerd_down
    engines_config
    user_up
    image_archive >/dev/null
    user podman import -q -c 'CMD ["sh"]' /tmp/image.tar bb >/dev/null
    podman import -q -c 'CMD ["sh"]' /tmp/image.tar bb >/dev/null
}

clean() {
    user podman pod rm -fa -t 0
    user podman rm -fa -t 0
    user podman volume prune -f
    user podman network prune -f
    user podman system migrate
    podman pod rm -fa -t 0
    podman rm -fa -t 0
    podman network prune -f
    no_pinned_mount_namespaces
    no_locked_volume
} >/dev/null 2>&1

18-rootless-run() {
    is 'hi 0' user podman run --rm bb sh -c 'echo hi $(id -u)'
    is "$NAME" user podman info --format '{{.Host.OCIRuntime.Name}}'
    exits 7 user podman run --rm bb sh -c 'exit 7'
    exits 127 user podman run --rm bb no-such-program
    exits 126 user podman run --rm bb /etc/passwd
}

18-rootless-ids() {
    says '^ +0 +1000 +1' user podman run --rm bb cat /proc/self/uid_map
    is 1000 user podman run --rm --userns keep-id bb id -u
    is 1000 user podman run --rm --user user bb id -u
}

18-rootless-exec() {
    user podman run -d --name box bb sleep 1000 >/dev/null
    is 'in the box' user podman exec box echo in the box
    exits 5 user podman exec box sh -c 'exit 5'
    says 'sleep 1000' user podman top box args
    user podman stop -t 0 box >/dev/null
    is 'exited 137' user podman inspect --format '{{.State.Status}} {{.State.ExitCode}}' box
    user podman start box >/dev/null
    user podman rm -f -t 0 box >/dev/null
}

18-rootless-terminal() {
    terminal bash -c ". $CHECKS/prelude.sh; . $CHECKS/18-podman.sh; user podman run --rm -it bb sh"
    follows_its_size
    edits_in_vi
}

18-rootless-network() {
    user podman run -d --name web -p 8081:80 bb sh -c 'mkdir /www; echo page >/www/index.html; exec httpd -f -p 80 -h /www' >/dev/null
    soon curl -fsS http://127.0.0.1:8081/
    is page curl -fsS http://127.0.0.1:8081/
    user podman rm -f -t 0 web >/dev/null
}

18-rootless-build() {
    user sh -c 'mkdir -p context; printf "FROM bb\nRUN echo built >/file\n" >context/Containerfile'
    user podman build -q -t built context >/dev/null
    is built user podman run --rm built cat /file
}

18-rootless-volumes() {
    user podman volume create data >/dev/null
    user podman run --rm -v data:/data bb sh -c 'echo kept >/data/file'
    is kept user podman run --rm -v data:/data:ro bb cat /data/file
    refuses 'read-only' user podman run --rm -v data:/data:ro bb touch /data/new
    refuses 'read-only' user podman run --rm --read-only --read-only-tmpfs=false bb touch /new
}

18-rootless-pod() {
    user podman pod create --name pod >/dev/null
    user podman run -d --pod pod --name first bb sh -c 'mkdir /www; echo page >/www/index.html; exec httpd -f -p 80 -h /www' >/dev/null
    user podman run -d --pod pod --name second bb sleep 1000 >/dev/null
    soon user podman exec second wget -qO- http://127.0.0.1/
    is "$(user podman exec first readlink /proc/self/ns/net)" user podman exec second readlink /proc/self/ns/net
    [ "$(user podman exec first readlink /proc/self/ns/pid)" != "$(user podman exec second readlink /proc/self/ns/pid)" ] ||
        fail 'one PID namespace'
    user podman pod stop -t 0 pod >/dev/null
    user podman pod rm -f pod >/dev/null
}

18-rootless-play-kube() {
    cat >/tmp/pod.yaml <<'END'
apiVersion: v1
kind: Pod
metadata:
  name: played
spec:
  containers:
  - name: web
    image: localhost/bb:latest
    imagePullPolicy: Never
    command: [sh, -c, 'mkdir /www; echo "$PAGE" >/www/index.html; exec httpd -f -p 80 -h /www']
    env:
    - {name: PAGE, value: played page}
  - name: client
    image: localhost/bb:latest
    imagePullPolicy: Never
    command: [sleep, "1000"]
    securityContext: {readOnlyRootFilesystem: true, runAsUser: 1000, capabilities: {drop: [ALL]}}
END
    chmod 644 /tmp/pod.yaml
    user podman kube play /tmp/pod.yaml >/dev/null
    soon user podman exec played-client wget -qO- http://127.0.0.1/
    is 'played page' user podman exec played-client wget -qO- http://127.0.0.1/
    is 1000 user podman exec played-client id -u
    user podman kube down --force /tmp/pod.yaml >/dev/null
    absent user podman ps -aq --filter name=played
}

18-rootless-generate-systemd() {
    user podman create --name unit bb sleep 1000 >/dev/null
    says '^ExecStart=/usr/bin/podman start unit' user podman generate systemd --name unit
    user podman rm unit >/dev/null
}

18-rootless-quadlet() {
    user sh -c 'mkdir -p .config/containers/systemd; cat >.config/containers/systemd/box.container' <<'END'
[Container]
Image=localhost/bb:latest
Exec=sleep 1000
END
    says '^ExecStart=/usr/bin/podman run .*localhost/bb:latest sleep 1000' user /usr/libexec/podman/quadlet -user -dryrun
    [ -d /run/systemd/system ] || return 0
    user systemctl --user daemon-reload
    user systemctl --user start box.service
    is 'in the unit' user podman exec systemd-box echo in the unit
    user systemctl --user stop box.service
}

18-rootless-limits() {
    systemd
    user podman run -d --name box --memory 64m --cpus 0.5 --pids-limit 20 --cpuset-cpus 0 bb sleep 1000 >/dev/null
    is $'67108864\n50000 100000\n20\n0' user podman exec box sh -c \
        'cd /sys/fs/cgroup; cat memory.max cpu.max pids.max cpuset.cpus.effective'
    user podman update --memory 96m box >/dev/null
    is 100663296 user podman exec box cat /sys/fs/cgroup/memory.max
    says '^[1-9][0-9.]*[kKM]i?B / .* [1-9]' user podman stats --no-stream --format '{{.MemUsage}} {{.PIDs}}' box
    user podman pause box >/dev/null
    is paused user podman inspect --format '{{.State.Status}}' box
    user podman unpause box >/dev/null
    user podman rm -f -t 0 box >/dev/null
}

18-rootless-oom() {
    systemd
    exits 137 user podman run --name eats --memory 32m --memory-swap 32m bb tail /dev/zero
    is 'true 137' user podman inspect --format '{{.State.OOMKilled}} {{.State.ExitCode}}' eats
    user podman rm eats >/dev/null
}

18-rootless-health() {
    # A timer of systemd asks.
    systemd
    user podman run -d --name fit --health-cmd 'test -e /tmp/fit' --health-interval 2s --health-retries 1 bb \
        sh -c 'touch /tmp/fit; exec sleep 1000' >/dev/null
    soon eval "user podman inspect --format '{{.State.Health.Status}}' fit | grep -x healthy"
    user podman exec fit rm /tmp/fit
    soon eval "user podman inspect --format '{{.State.Health.Status}}' fit | grep -x unhealthy"
    user podman rm -f -t 0 fit >/dev/null
}

18-root-run() {
    is 'hi 0' podman run --rm bb sh -c 'echo hi $(id -u)'
    says '^ +0 +100000 +5000' podman run --rm --uidmap 0:100000:5000 bb cat /proc/self/uid_map
    is 1 podman run --rm --cap-add all bb sh -c 'echo $$'
}

18-root-limits() {
    controller memory
    controller cpu
    podman run -d --name box --memory 64m --cpus 0.5 --pids-limit 20 bb sleep 1000 >/dev/null
    is $'67108864\n50000 100000\n20' podman exec box sh -c 'cd /sys/fs/cgroup; cat memory.max cpu.max pids.max'
    podman update --memory 96m box >/dev/null
    is 100663296 podman exec box cat /sys/fs/cgroup/memory.max
    podman rm -f -t 0 box >/dev/null
}

18-root-quadlet() {
    systemd
    mkdir -p /etc/containers/systemd
    cat >/etc/containers/systemd/box.container <<'END'
[Container]
Image=localhost/bb:latest
Exec=sleep 1000
PodmanArgs=--memory 64m
Notify=healthy
HealthCmd=true
HealthInterval=2s
END
    systemctl daemon-reload
    systemctl start box.service
    is 67108864 podman exec systemd-box cat /sys/fs/cgroup/memory.max
    systemctl stop box.service
    rm /etc/containers/systemd/box.container
    systemctl daemon-reload
    absent podman ps -aq --filter name=systemd-box
}

18-root-names() {
    podman network create together >/dev/null
    podman run -d --network together --name server bb sh -c 'mkdir /www; echo page >/www/index.html; exec httpd -f -p 80 -h /www' >/dev/null
    soon podman run --rm --network together bb wget -qO- http://server/
    podman rm -f -t 0 server >/dev/null
}

18-root-pause() {
    podman run -d --name box bb sleep 1000 >/dev/null
    podman pause box >/dev/null
    is paused podman inspect --format '{{.State.Status}}' box
    podman unpause box >/dev/null
    is goes podman exec box echo goes
    podman rm -f -t 0 box >/dev/null
}

18-checkpoint-restore() {
    # In a subshell, which is forked: CRIU cannot stop a shell that waits for a child of vfork(2).
    podman run -d --name counts --network none bb sh -c 'i=0; while :; do i=$((i + 1)); echo $i >/tmp/count; (sleep 0.1); done' >/dev/null
    soon podman exec counts cat /tmp/count
    sleep 2
    podman container checkpoint counts >/dev/null
    is exited podman inspect --format '{{.State.Status}}' counts
    local before
    before=$(podman cp counts:/tmp/count - | tar -xO)
    podman container restore counts >/dev/null
    is running podman inspect --format '{{.State.Status}}' counts
    sleep 1
    local after
    after=$(podman exec counts cat /tmp/count)
    [ "$after" -gt "$before" ] || fail "$after after $before"
    podman rm -f -t 0 counts >/dev/null
}

18-checkpoint-export() {
    podman run -d --name moves --network none bb sh -c 'echo mine >/tmp/file; while :; do (sleep 0.1); done' >/dev/null
    soon podman exec moves cat /tmp/file
    podman container checkpoint -e /tmp/moved.tar.gz moves >/dev/null
    podman rm -f moves >/dev/null
    podman container restore -i /tmp/moved.tar.gz -n arrived >/dev/null
    is mine podman exec arrived cat /tmp/file
    podman rm -f -t 0 arrived >/dev/null
}

# In what follows, Podman is an ordinary user's and root's.
BOTH=('user podman' podman)

# For awk: a mount's place, options and type.
MOUNT='$5 == place { print $5, $6, $(NF - 2) }'

# quiet COMMAND…: without what runc says of cgroups that an ordinary user does not have.
quiet() {
    "$@" 2>/dev/null
}

18-host-namespaces() {
    local podman
    for podman in "${BOTH[@]}"; do
        is "$(readlink /proc/self/ns/pid)" quiet $podman run --rm --pid host bb readlink /proc/self/ns/pid
        says "$RUNTIME|podman|conmon" $podman run --rm --pid host bb ps
        is "$(readlink /proc/self/ns/net)" quiet $podman run --rm --network host bb readlink /proc/self/ns/net
        is "$(readlink /proc/self/ns/uts)" quiet $podman run --rm --uts host bb readlink /proc/self/ns/uts
        is "$(readlink /proc/self/ns/pid)" quiet $podman run --rm --pid host --network host --uts host --cgroupns host --privileged bb \
            readlink /proc/self/ns/pid
        $podman run -d --name host --pid host bb sleep 1000 >/dev/null
        is "$(readlink /proc/self/ns/pid)" $podman exec host readlink /proc/self/ns/pid
        # An ordinary user has no cgroup by which crun could kill it.
        kill -KILL "$($podman inspect --format '{{.State.Pid}}' host)"
        is 137 $podman wait host
        $podman rm host >/dev/null
        [ -z "$(pgrep -x sleep)" ] || fail "a process is left"
        alike $podman --runtime @path run --rm --pid host bb awk "-vplace=/proc" "$MOUNT" /proc/self/mountinfo
        refuses 'read-only' $podman run --rm --pid host bb sh -c 'echo 1 >/proc/sys/kernel/domainname'
    done
    podman run -d --name host --pid host bb sh -c 'sleep 1000 & sleep 2000' >/dev/null
    podman rm -f -t 0 host >/dev/null
    [ -z "$(pgrep -x sleep)" ] || fail "a process is left"
}

18-host-cgroups() {
    local podman
    for podman in "${BOTH[@]}"; do
        is "$(readlink /proc/self/ns/cgroup)" $podman run --rm --cgroupns host bb readlink /proc/self/ns/cgroup
        says '^cgroup.procs$' $podman run --rm --cgroupns host bb ls /sys/fs/cgroup
        refuses 'read-only|denied' $podman run --rm --cgroupns host bb mkdir /sys/fs/cgroup/new
        alike $podman --runtime @path run --rm --cgroupns host bb ls /sys/fs/cgroup
        says 'ro.* cgroup2$' $podman run --rm --cgroupns host bb awk -vplace=/sys/fs/cgroup "$MOUNT" /proc/self/mountinfo
    done
}

18-privileged() {
    local podman
    for podman in "${BOTH[@]}"; do
        is 'hi 0' $podman run --rm --privileged bb sh -c 'echo hi $(id -u)'
        is /dev/pts/0 eval "$podman run --rm --privileged -t bb tty | tr -d '\r'"
        $podman run --rm --privileged bb sh -c ': >/dev/null && : </dev/zero && mount -t tmpfs tmpfs /tmp'
        alike $podman --runtime @path run --rm --privileged bb sh -c 'cd /dev && ls -d null zero full random urandom tty ptmx pts shm mqueue fd std*'
        $podman run -d --name privileged --privileged bb sleep 1000 >/dev/null
        is 0 $podman exec privileged id -u
        is hi $podman exec --privileged privileged echo hi
        $podman rm -f -t 0 privileged >/dev/null
    done
}

18-sysctl() {
    local podman
    for podman in "${BOTH[@]}"; do
        is 63 quiet $podman run --rm --sysctl net.ipv4.ip_default_ttl=63 bb cat /proc/sys/net/ipv4/ip_default_ttl
        is 63 quiet $podman run --rm --pid host --sysctl net.ipv4.ip_default_ttl=63 bb cat /proc/sys/net/ipv4/ip_default_ttl
        is 63 quiet $podman run --rm -v /proc:/proc --sysctl net.ipv4.ip_default_ttl=63 bb cat /proc/sys/net/ipv4/ip_default_ttl
    done
    is 64 cat /proc/sys/net/ipv4/ip_default_ttl
}

18-refused-program() {
    refused_programs
    local podman program reason status
    for podman in "${BOTH[@]}"; do
        $podman run -d --name programs -v /tmp/programs:/programs bb sleep 1000 >/dev/null
        for program in 'text exec format error' 'foreign exec format error' 'lost no such file or directory'; do
            reason=${program#* } program=${program%% *} status=0
            output=$($podman run --name $program -v /tmp/programs:/programs bb /programs/$program 2>&1) || status=$?
            # It ran: runc's status, or crun's.
            [[ $status = 255 || $status = 1 ]] || fail "status $status of $program: $output"
            grep -qi "$reason" <<<"$output" || fail "no '$reason' in '$output'"
            grep -qi "$reason" <<<"$($podman logs $program 2>&1)" || fail "no '$reason' in the log: $($podman logs $program 2>&1)"
            is "exited $status" $podman inspect --format '{{.State.Status}} {{.State.ExitCode}}' $program
            $podman rm $program >/dev/null
            status=0
            output=$($podman exec programs /programs/$program 2>&1) || status=$?
            [[ $status = 255 || $status = 1 ]] || fail "status $status of $program in exec: $output"
            grep -qi "$reason" <<<"$output" || fail "no '$reason' in '$output'"
        done
        $podman rm -f -t 0 programs >/dev/null
    done
}

18-empty-program() {
    local podman
    for podman in "${BOTH[@]}"; do
        exits 127 $podman run --rm --entrypoint '' bb ''
        $podman run -d --name empty bb sleep 1000 >/dev/null
        exits 127 $podman exec empty ''
        $podman rm -f -t 0 empty >/dev/null
    done
}

# podman_with_fds PODMAN SCRIPT: a script in which podman may be called with the fds that it opens.
podman_with_fds() {
    case $1 in
    user*) user bash -c "$2" ;;
    *) bash -c "$2" ;;
    esac
}

18-preserve-fds() {
    [ "$NAME" != peer-runc ] || skip "runc refuses fds with gaps between them"
    local podman
    for podman in "${BOTH[@]}"; do
        $podman run -d --name fds bb sleep 1000 >/dev/null
        is $'nine\nexec nine' podman_with_fds "$podman" 'exec 9>fd9; podman run --rm --preserve-fd 9 bb sh -c "echo nine >&9"
            podman exec --preserve-fd 9 fds sh -c "echo exec nine >&9"; cat fd9; rm fd9'
        is $'four\nexec four' podman_with_fds "$podman" 'exec 3>fd3 4>&3; podman run --rm --preserve-fds 2 bb sh -c "echo four >&4"
            podman exec --preserve-fds 2 fds sh -c "echo exec four >&4"; cat fd3; rm fd3'
        is $'five\nseven' podman_with_fds "$podman" 'exec 5>fd5 7>&5; podman run --rm --preserve-fd 5,7 bb sh -c "echo five >&5; echo seven >&7
            [ ! -e /proc/self/fd/6 ] || echo six >&7"; cat fd5; rm fd5'
        $podman rm -f -t 0 fds >/dev/null
    done
}

18-keep-groups() {
    [ "$NAME" != peer-runc ] || skip "runc keeps no groups"
    getent group extra >/dev/null || groupadd extra
    usermod -aG extra $USER_NAME
    echo secret >/tmp/secret
    chgrp extra /tmp/secret
    chmod 640 /tmp/secret
    is secret user podman run --rm --group-add keep-groups -v /tmp/secret:/secret bb cat /secret
    refuses denied user podman run --rm -v /tmp/secret:/secret bb cat /secret
    is secret user podman run --rm --group-add keep-groups --user 1000 -v /tmp/secret:/secret bb cat /secret
    is secret user podman run --rm --group-add keep-groups --userns keep-id -v /tmp/secret:/secret bb cat /secret
    user podman run -d --name keeps --group-add keep-groups -v /tmp/secret:/secret bb sleep 1000 >/dev/null
    is secret user podman exec keeps cat /secret
    user podman rm -f -t 0 keeps >/dev/null
    gpasswd -d $USER_NAME extra >/dev/null
}

# What conmon sets before the start holds. Podman tells it of the caller's terminal and does not wait, so that on a busy machine the program may
# be there first, with any runtime.
18-terminal-size() {
    terminal bash
    local podman control
    for podman in "${BOTH[@]}"; do
        $podman create -t --name sized bb stty size >/dev/null
        $podman init sized >/dev/null
        control=$(dirname "$($podman inspect --format '{{.OCIConfigPath}}' sized)")/ctl
        printf '1 30 100\n' >"$control"
        sleep "$SLOW"
        $podman start sized >/dev/null
        is 0 $podman wait sized
        is '30 100' eval "$podman logs sized | tr -d '\r'"
        $podman rm sized >/dev/null
        soon at_once_with_its_size
    done
}

at_once_with_its_size() {
    keys "clear; . $CHECKS/prelude.sh; set +eE; trap - ERR; clear; $podman run --rm -it bb stty size; echo ended" Enter
    shows '^ended'
    screen_has '^24 80'
}

18-terminal-output() {
    local podman
    for podman in "${BOTH[@]}"; do
        $podman run -d --name prints bb sleep 1000 >/dev/null
        is $'one\r\ntwo\r' $podman run --rm -t bb printf 'one\ntwo\n'
        is $'one\r\ntwo\r' $podman exec -t prints printf 'one\ntwo\n'
        alike $podman --runtime @path run --rm -t bb sh -c 'stty -a; env | sort; echo $((1 << 20))'
        $podman rm -f -t 0 prints >/dev/null
    done
}

18-no-pids-limit() {
    local podman
    for podman in "${BOTH[@]}"; do
        is hi $podman run --rm --pids-limit 0 bb echo hi
    done
    grep -qw pids /sys/fs/cgroup/cgroup.controllers || return 0
    is max podman run --rm --pids-limit 0 bb cat /sys/fs/cgroup/pids.max
    is max podman run --rm --pids-limit -1 bb cat /sys/fs/cgroup/pids.max
}

18-no-cgroups() {
    [ "$NAME" != peer-runc ] || skip "runc always makes a cgroup"
    local podman
    for podman in "${BOTH[@]}"; do
        is "$(sed -n s/^0:://p /proc/self/cgroup)" $podman run --rm --cgroups disabled --cgroupns host bb sed -n s/^0:://p /proc/self/cgroup
    done
}

18-auto-userns() {
    getent passwd containers >/dev/null || useradd -r containers
    grep -q ^containers: /etc/subuid || echo containers:200000:1000000 | tee -a /etc/subuid >>/etc/subgid
    says '^ +0 +[2-9][0-9]{5} +[0-9]+' podman run --rm --userns auto bb cat /proc/self/uid_map
    # As the images of nginx do.
    local user command='echo out >/dev/stdout; echo err >/dev/stderr'
    for user in 0 7:8; do
        is $'err\nout' eval "podman run --rm --userns auto --user $user bb sh -c '$command' | sort"
        is $'err\nout' eval "podman run --rm -i --userns auto --user $user bb sh -c '$command' | sort"
        says '^err' podman run --rm -t --userns auto --user $user bb sh -c "$command"
        podman run -d --name nginx --userns auto --user $user bb sh -c "$command; exec sleep 1000" >/dev/null
        soon eval "podman logs nginx 2>&1 | grep -x err"
        is $'err\nout' eval 'podman logs nginx 2>&1 | sort'
        is $'err\nout' eval "podman exec nginx sh -c '$command' | sort"
        is $'err\nout' eval "podman exec --user 9:9 nginx sh -c '$command' | sort"
        podman rm -f -t 0 nginx >/dev/null
    done
    podman run --rm --userns auto bb sh -c 'touch /dev/null && echo x >/dev/null'
    alike podman --runtime @path run --rm --userns auto bb ls -ln /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty
}

18-auto-userns-volume() {
    [ "$NAME" != peer-crun ] || skip "crun drops the flags"
    locked_volume
    local options
    for options in '' :ro :rslave :nosuid :noexec; do
        says '^/locked ro,nosuid,nodev,noexec,noatime ' podman run --rm --userns auto -v /tmp/locked:/locked$options bb \
            awk -vplace=/locked "$MOUNT" /proc/self/mountinfo
        refuses 'read-only' podman run --rm --userns auto -v /tmp/locked:/locked$options bb touch /locked/new
    done
}

18-host-root() {
    pinned_mount_namespaces
    chmod 755 /tmp/pins
    local podman options cpu
    for podman in "${BOTH[@]}"; do
        for options in '' :ro :rslave; do
            for ((cpu = 0; cpu < $(nproc --all); cpu++)); do
                says '^etc$' taskset -c $cpu bash -c ". $CHECKS/prelude.sh; $podman run --rm -v /:/host$options bb ls /host"
                says '^user$' taskset -c $cpu bash -c ". $CHECKS/prelude.sh; $podman run --rm -v /run:/run$options bb ls /run"
                says '^file$' taskset -c $cpu bash -c ". $CHECKS/prelude.sh; $podman run --rm -v /tmp/pins:/pins bb ls /pins"
            done
        done
    done
}
