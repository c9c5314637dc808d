# Podman: as an ordinary user first, then what only root may do.
LIMIT=120
USER_NAME=tester

setup() {
    dockerd_down
    engines_config
    id $USER_NAME >/dev/null 2>&1 || useradd --create-home --uid 1000 --shell /bin/bash $USER_NAME
    grep -q "^$USER_NAME:" /etc/subuid || echo "$USER_NAME:100000:65536" | tee -a /etc/subuid >>/etc/subgid
    [ -d /run/user/1000 ] || install -d -m 700 -o 1000 -g 1000 /run/user/1000
    chmod 666 /dev/fuse /dev/net/tun
    image_archive >/dev/null
    user podman import -q -c 'CMD ["sh"]' /tmp/image.tar bb >/dev/null
    podman import -q -c 'CMD ["sh"]' /tmp/image.tar bb >/dev/null
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

clean() {
    user podman pod rm -fa -t 0
    user podman rm -fa -t 0
    user podman volume prune -f
    user podman network prune -f
    user podman system migrate
    podman pod rm -fa -t 0
    podman rm -fa -t 0
    podman network prune -f
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
