# Seen from inside as asked.

clean() {
    docker_clean
    no_pinned_mount_namespaces
    no_locked_volume
}

status() {
    local field=$1
    shift
    docker run --rm "$@" bb awk "/^$field:/ { print \$2 }" /proc/self/status
}

14-cap-drop() {
    is 0000000000000000 status CapEff --cap-drop ALL
    refuses 'not permitted' docker run --rm --cap-drop CHOWN bb chown user /tmp
}

14-cap-add() {
    is 0000000000001000 status CapEff --cap-drop ALL --cap-add NET_ADMIN
    docker run --rm --cap-add NET_ADMIN bb ip link add dummy0 type bridge
}

14-privileged() {
    is "$(awk '/^CapBnd:/ { print $2 }' /proc/self/status)" status CapEff --privileged
    docker run --rm --privileged bb mount -t tmpfs tmpfs /tmp
    is 0 status Seccomp --privileged
}

14-seccomp() {
    is 2 status Seccomp
    is 0 status Seccomp --security-opt seccomp=unconfined
    echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}' >/tmp/seccomp.json
    refuses 'not permitted' docker run --rm --security-opt seccomp=/tmp/seccomp.json bb mkdir /new
    docker run --rm bb mkdir /new
}

14-apparmor() {
    grep -q Y /sys/module/apparmor/parameters/enabled 2>/dev/null || skip "no AppArmor here"
    is 'docker-default (enforce)' docker run --rm bb cat /proc/self/attr/current
    refuses 'denied' docker run --rm --cap-add SYS_ADMIN bb mount -t tmpfs tmpfs /tmp
    says '^unconfined' docker run --rm --security-opt apparmor=unconfined bb cat /proc/self/attr/current
    docker run -d --name confined bb sleep 1000 >/dev/null
    is 'docker-default (enforce)' docker exec confined cat /proc/self/attr/current
    docker rm -f confined >/dev/null
}

14-no-new-privileges() {
    is 0 status NoNewPrivs
    is 1 status NoNewPrivs --security-opt no-new-privileges
}

14-user() {
    is 'uid=1000(user) gid=1000(user) groups=1000(user)' docker run --rm --user user bb id
    is '7 8' docker run --rm --user 7:8 bb sh -c 'echo $(id -u) $(id -g)'
    says 'groups=.*99' docker run --rm --group-add 99 bb id
}

14-device() {
    docker run --rm --device /dev/fuse bb sh -c ': </dev/fuse'
    refuses 'not permitted' docker run --rm bb sh -c 'mknod /new c 10 229; : </new'
    docker run --rm --device-cgroup-rule 'c 10:229 rwm' bb sh -c 'mknod /new c 10 229; : </new'
}

14-ulimit() {
    is '100 200' docker run --rm --ulimit nofile=100:200 bb sh -c 'echo $(ulimit -Sn) $(ulimit -Hn)'
}

14-sysctl() {
    is 63 docker run --rm --sysctl net.ipv4.ip_default_ttl=63 bb cat /proc/sys/net/ipv4/ip_default_ttl
    refuses 'not allowed|not in a separate|namespace' docker run --rm --network host --sysctl net.ipv4.ip_default_ttl=63 bb true
}

14-init() {
    says 'docker-init' docker run --rm --init bb cat /proc/1/comm /proc/1/cmdline
    is 1 docker run --rm bb sh -c 'echo $$'
}

14-masked-paths() {
    is 0 docker run --rm bb sh -c 'cat /proc/keys /proc/timer_list 2>/dev/null | wc -c'
    absent docker run --rm bb sh -c 'find /proc/acpi /proc/scsi -mindepth 1 2>/dev/null || true'
    refuses 'read-only' docker run --rm bb sh -c 'echo 1 >/proc/sys/kernel/domainname'
    docker run --rm --security-opt systempaths=unconfined bb sh -c '[ "$(wc -c </proc/timer_list)" -gt 0 ] || [ ! -e /proc/timer_list ]'
}

14-namespaces() {
    is "$(readlink /proc/self/ns/pid)" docker run --rm --pid host bb readlink /proc/self/ns/pid
    is "$(readlink /proc/self/ns/uts)" docker run --rm --uts host bb readlink /proc/self/ns/uts
    docker run -d --ipc shareable --name namespaces bb sleep 1000 >/dev/null
    says 'sleep 1000' docker run --rm --pid container:namespaces --ipc container:namespaces bb ps
}

14-runtime() {
    # The runtime's own program is nowhere to be seen.
    absent docker run --rm bb sh -c "ls -l /proc/*/exe 2>/dev/null | grep -E 'corten|runc|crun' || true"
}

14-userns-remap() {
    docker_clean
    dockerd_up --userns-remap default
    says '^ +0 +[1-9][0-9]+ ' docker run --rm bb cat /proc/self/uid_map
    is '0 0' docker run --rm bb sh -c 'touch /new; stat -c "%u %g" /new'
    refuses 'not permitted|denied' docker run --rm -v /etc:/host bb touch /host/new
    is 'hi' docker run --rm --userns host bb echo hi
    docker run -d --name mapped bb sleep 1000 >/dev/null
    is 0 docker exec mapped id -u
    local pid
    pid=$(docker inspect --format '{{.State.Pid}}' mapped)
    [ "$(stat -c %u "/proc/$pid")" != 0 ] || fail "it is root on the host"
}

# reopened COMMAND…: what is written into outputs that are opened by name, as the images of nginx do.
REOPEN='echo out >/dev/stdout; echo err >/dev/stderr'
reopened() {
    "$@" sh -c "$REOPEN" 2>&1 | sort
}

14-remapped-stdio() {
    dockerd_up --userns-remap default
    local user
    for user in 0 7:8; do
        is $'err\nout' reopened docker run --rm --user $user bb
        is $'err\nout' reopened docker run --rm -i --user $user bb
        says '^err' docker run --rm -t --user $user bb sh -c "$REOPEN"
        is in eval "echo in | docker run --rm -i --user $user bb cat /dev/stdin"
        docker run -d --name "nginx-${user%:*}" --user $user bb sh -c "$REOPEN; sleep 1000" >/dev/null
        soon eval "docker logs nginx-${user%:*} 2>&1 | grep -x err"
        is $'err\nout' eval "docker logs nginx-${user%:*} 2>&1 | sort"
        is $'err\nout' reopened docker exec "nginx-${user%:*}"
        is $'err\nout' reopened docker exec --user 9:9 "nginx-${user%:*}"
        docker rm -f "nginx-${user%:*}" >/dev/null
    done
}

DEVICE_MOUNTS="awk '\$5 ~ \"^/dev/\" { print \$5, \$6 }' /proc/self/mountinfo | sort"

14-remapped-devices() {
    dockerd_up --userns-remap default
    docker run --rm bb sh -c 'touch /dev/null && echo x >/dev/null && echo x >/dev/zero'
    # The group of mqueue is that of whoever makes the IPC namespace: nobody's here with runc, which has the caller's then.
    alike docker run --rm --runtime @name bb sh -c 'ls -ln /dev | awk "\$NF != \"mqueue\" { print \$1, \$3, \$4, \$NF }"'
    # Whatever they were mounted in the order of.
    alike docker run --rm --runtime @name bb sh -c "$DEVICE_MOUNTS"
}

14-remapped-volume() {
    dockerd_up --userns-remap default
    locked_volume
    local options
    for options in '' :ro :rw :rslave; do
        says '^/locked ro,nosuid,nodev,noexec,noatime$' docker run --rm -v /tmp/locked:/locked$options bb \
            awk '$5 == "/locked" { print $5, $6 }' /proc/self/mountinfo
        refuses 'read-only' docker run --rm -v /tmp/locked:/locked$options bb touch /locked/new
        alike docker run --rm --runtime @name -v /tmp/locked:/locked$options bb grep ' /locked ' /proc/mounts
    done
}

14-remapped-host() {
    dockerd_up --userns-remap default
    docker run --rm bb true
    pinned_mount_namespaces
    on_each_dockerd_cpu says '^file$' docker run --rm -v /tmp/pins:/pins bb ls /pins
    on_each_dockerd_cpu says '^etc$' docker run --rm -v /:/host bb ls /host
}

14-program-in-private-directory() {
    docker_clean
    dockerd_up
    mkdir -p /tmp/private
    chmod 700 /tmp/private
    cp "$(command -v busybox)" /tmp/private/echo
    # Docker's own capabilities include CAP_DAC_OVERRIDE; the program is found with them, and runs without.
    is hi docker run --rm --user 1000 -v /tmp/private:/private bb /private/echo hi
    is hi docker run --rm --user 1000 -e PATH=/private:/bin -v /tmp/private:/private bb echo hi
    refuses 'denied' docker run --rm --user 1000 -v /tmp/private:/private bb ls /private
    exits 126 docker run --rm --user 1000 --cap-drop DAC_OVERRIDE -v /tmp/private:/private bb /private/echo hi
    docker run -d --name private -v /tmp/private:/private bb sleep 1000 >/dev/null
    is hi docker exec --user 1000 private /private/echo hi
    is hi docker exec --user 1000 -e PATH=/private:/bin private echo hi
    docker rm -f private >/dev/null
    chmod 711 /tmp/private
    chmod 700 /tmp/private/echo
    alike docker run --rm --runtime @name --user 1000 -v /tmp/private:/private bb /private/echo hi
    exits 126 docker run --rm --user 1000 --cap-drop ALL -v /tmp/private:/private bb /private/echo hi
}
