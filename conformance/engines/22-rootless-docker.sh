# Docker as an ordinary user's.
LIMIT=120
SOCKET=/run/user/1000/docker.sock
CONTRIB=/usr/share/docker.io/contrib

setup() {
    dockerd_down
    user_up
    image_archive >/dev/null
    rootless version >/dev/null 2>&1 || {
        install -d -o 1000 -g 1000 "/home/$USER_NAME/.config/docker"
        docker_config >"/home/$USER_NAME/.config/docker/daemon.json"
        (user env PATH="$CONTRIB:$PATH" DOCKER_BUILDKIT_RUNC_COMMAND="$RUNTIME" dockerd-rootless.sh >>/tmp/dockerd.log 2>&1 &)
        soon rootless version
    }
    rootless image inspect bb >/dev/null 2>&1 || rootless import -c 'CMD ["sh"]' /tmp/image.tar bb:latest >/dev/null
    # Others have run.
    rootless run --rm bb true
}

clean() {
    rootless ps -aq | xargs -r runuser -u $USER_NAME -- docker -H unix://$SOCKET rm -fv >/dev/null
    rootless volume prune -af >/dev/null
}

# rootless COMMAND…: docker, as the user.
rootless() {
    user docker -H unix://$SOCKET "$@"
}

22-run() {
    is 'hi 0' rootless run --rm bb sh -c 'echo hi $(id -u)'
    says '^ +0 +1000 +1' rootless run --rm bb cat /proc/self/uid_map
    exits 7 rootless run --rm bb sh -c 'exit 7'
    is 'hi' rootless run --rm --user 1000 bb echo hi
    says "$NAME" rootless info --format '{{.DefaultRuntime}}'
}

22-exec() {
    rootless run -d --name box bb sleep 1000 >/dev/null
    is 'in the box' rootless exec box echo in the box
    is /dev/pts/0 eval "rootless exec -t box tty | tr -d '\r'"
    rootless rm -f box >/dev/null
}

PROC_MOUNTS="awk '\$5 ~ \"^/proc\" { print \$5, \$(NF - 2), \$(NF - 2) == \"devtmpfs\" ? \"\" : \$6 }' /proc/self/mountinfo | sort"

22-host-namespaces() {
    local namespaces
    namespaces=$(user cat /run/user/1000/docker.pid)
    is "$(readlink /proc/self/ns/pid)" rootless run --rm --pid host bb readlink /proc/self/ns/pid
    says 'dockerd' rootless run --rm --pid host bb ps
    refuses 'read-only|denied' rootless run --rm --pid host bb sh -c 'echo 1 >/proc/sys/kernel/domainname'
    is "$(readlink "/proc/$namespaces/ns/net")" rootless run --rm --network host bb readlink /proc/self/ns/net
    is "$(readlink /proc/self/ns/pid)" rootless run --rm --pid host --network host --uts host --privileged bb readlink /proc/self/ns/pid
    # What hides a file is the null device, which can be written to whether its mount is read-only or not.
    alike rootless run --rm --runtime @name --pid host bb sh -c "$PROC_MOUNTS"
    says '^rc 0$' rootless run --rm --pid host bb sh -c 'cat /proc/keys; echo x >/proc/keys; echo rc $?'
    rootless run -d --name host --pid host bb sleep 1000 >/dev/null
    is "$(readlink /proc/self/ns/pid)" rootless exec host readlink /proc/self/ns/pid
    rootless rm -f host >/dev/null
    [ -z "$(pgrep -x sleep)" ] || fail "a process is left"
}

22-host-cgroups() {
    is "$(readlink /proc/self/ns/cgroup)" rootless run --rm --cgroupns host bb readlink /proc/self/ns/cgroup
    says '^cgroup.procs$' rootless run --rm --cgroupns host bb ls /sys/fs/cgroup
    refuses 'read-only|denied' rootless run --rm --cgroupns host bb mkdir /sys/fs/cgroup/new
    alike rootless run --rm --runtime @name --cgroupns host bb ls /sys/fs/cgroup
    alike rootless run --rm --runtime @name --cgroupns host bb awk '$5 == "/sys/fs/cgroup" { print $4, $5, $6, $(NF - 2) }' /proc/self/mountinfo
}

22-privileged() {
    is 'hi 0' rootless run --rm --privileged bb sh -c 'echo hi $(id -u)'
    is /dev/pts/0 eval "rootless run --rm --privileged -t bb tty | tr -d '\r'"
    rootless run --rm --privileged bb sh -c 'echo x >/dev/null && touch /dev/null && mount -t tmpfs tmpfs /tmp'
    alike rootless run --rm --runtime @name --privileged bb sh -c 'ls -ln /dev | awk "{ print \$1, \$3, \$4, \$NF }"'
    rootless run -d --name privileged --privileged bb sleep 1000 >/dev/null
    is hi rootless exec --privileged privileged echo hi
    rootless rm -f privileged >/dev/null
    # Docker in it would be next.
    alike rootless run --rm --runtime @name --privileged --cgroupns host bb ls /sys/fs/cgroup
}

22-sysctl() {
    is 63 rootless run --rm --sysctl net.ipv4.ip_default_ttl=63 bb cat /proc/sys/net/ipv4/ip_default_ttl
    is 63 rootless run --rm --pid host --sysctl net.ipv4.ip_default_ttl=63 bb cat /proc/sys/net/ipv4/ip_default_ttl
    is 63 rootless run --rm -v /proc:/proc --sysctl net.ipv4.ip_default_ttl=63 bb cat /proc/sys/net/ipv4/ip_default_ttl
}

22-devices() {
    rootless run --rm bb sh -c 'touch /dev/null && echo x >/dev/null && echo x >/dev/zero'
    # Whatever they were mounted in the order of.
    alike rootless run --rm --runtime @name bb sh -c "awk '\$5 ~ \"^/dev/\" { print \$5, \$6 }' /proc/self/mountinfo | sort"
}

22-host-root() {
    local options
    for options in '' :ro :rslave; do
        says '^etc$' rootless run --rm -v /:/host$options bb ls /host
        says '^user$' rootless run --rm -v /run:/run$options bb ls /run
    done
    is yes rootless run --rm -v $SOCKET:/var/run/docker.sock bb sh -c '[ -S /var/run/docker.sock ] && echo yes'
}

22-stdio() {
    local command='echo out >/dev/stdout; echo err >/dev/stderr'
    is $'err\nout' eval "rootless run --rm --user 7:8 bb sh -c '$command' 2>&1 | sort"
    rootless run -d --name nginx bb sh -c "$command; exec sleep 1000" >/dev/null
    soon eval 'rootless logs nginx 2>&1 | grep -x err'
    is $'err\nout' eval 'rootless logs nginx 2>&1 | sort'
    is $'err\nout' eval "rootless exec --user 9:9 nginx sh -c '$command' 2>&1 | sort"
    rootless rm -f nginx >/dev/null
}

22-refused-program() {
    refused_programs
    local program
    for program in text foreign lost; do
        exits 255 rootless run --rm -v /tmp/programs:/programs bb /programs/$program
        alike rootless run --rm --runtime @name -v /tmp/programs:/programs bb /programs/$program
    done
}

22-build() {
    user sh -c 'mkdir -p docker-context; printf "FROM bb\nRUN echo built >/file\n" >docker-context/Dockerfile'
    rootless build -q -t built docker-context >/dev/null
    is built rootless run --rm built cat /file
}
