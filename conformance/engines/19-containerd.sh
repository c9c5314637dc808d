# containerd: its own client, and pods over its CRI service.
LIMIT=120
IMAGE=docker.io/library/pod:latest

setup() {
    dockerd_down
    engines_config
    containerd_up
}

# without_shares FILE: a runtime for pods. Every sandbox gets shares, which no runtime can give it where no cgroup has the controller: there it
# is a script that takes them out of the config first.
without_shares() {
    local script=/tmp/pods-${1##*/}
    if grep -qw cpu /sys/fs/cgroup/cgroup.controllers; then
        echo "$1"
        return
    fi
    cat >"$script" <<END
#!/bin/bash
for ((i = 1; i < \$#; i++)); do
    [ "\${!i}" = --bundle ] || continue
    next=\$((i + 1))
    config=\${!next}/config.json
    jq 'del(.linux.resources.cpu)' "\$config" >"\$config.new" && mv "\$config.new" "\$config"
done
exec '$1' "\$@"
END
    chmod 755 "$script"
    echo "$script"
}

containerd_up() {
    ctr version >/dev/null 2>&1 && return
    mkdir -p /tmp/cni
    cat >/tmp/cni/10-pods.conflist <<'END'
{
    "cniVersion": "1.0.0",
    "name": "pods",
    "plugins": [{
        "type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.7.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}
    }]
}
END
    cat >/tmp/containerd.toml <<END
version = 3
[plugins.'io.containerd.cri.v1.runtime']
  disable_apparmor = true
  # Without CAP_SYS_RESOURCE nobody can be spared more than containerd itself.
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ['/usr/lib/cni']
  conf_dir = '/tmp/cni'
[plugins.'io.containerd.cri.v1.runtime'.containerd]
  default_runtime_name = '$NAME'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.$NAME]
  runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.$NAME.options]
  BinaryName = '$(without_shares "$RUNTIME")'
  SystemdCgroup = $([ -d /run/systemd/system ] && echo true || echo false)
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.peer]
  runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.peer.options]
  BinaryName = '$(without_shares /opt/peers/runc)'
  SystemdCgroup = $([ -d /run/systemd/system ] && echo true || echo false)
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '$IMAGE'
END
    setsid containerd -c /tmp/containerd.toml >/tmp/containerd.log 2>&1 &
    soon ctr version
    # Its own command is that of a pod's sandbox.
    podman import -q -c 'CMD ["sleep", "1000000"]' -c 'ENV PATH=/bin' "$(image_archive)" $IMAGE >/dev/null
    podman save -q --format docker-archive -o /tmp/image-docker.tar $IMAGE
    local namespace
    for namespace in default k8s.io; do
        ctr -n $namespace image import /tmp/image-docker.tar >/dev/null
    done
}

# ctr gives shares to all, which want the controller.
CTR_RUN=(ctr run --runc-binary "$RUNTIME")
grep -qw cpu /sys/fs/cgroup/cgroup.controllers || CTR_RUN+=(--cpu-shares 0)

19-ctr-run() {
    is hi "${CTR_RUN[@]}" --rm $IMAGE hi echo hi
    exits 7 "${CTR_RUN[@]}" --rm $IMAGE seven sh -c 'exit 7'
    refuses 'executable file not found' "${CTR_RUN[@]}" --rm $IMAGE lost no-such-program
    is 'one two' eval 'echo one two | "${CTR_RUN[@]}" --rm $IMAGE reads sh -c "read line; echo \$line"'
}

19-ctr-terminal() {
    terminal "${CTR_RUN[@]}" --rm -t $IMAGE terminal sh
    follows_its_size
}

19-ctr-exec() {
    "${CTR_RUN[@]}" -d $IMAGE box sleep 1000
    says '^box +[0-9]+ +RUNNING' ctr task ls
    is 'in the box' ctr task exec --exec-id one box echo in the box
    exits 5 ctr task exec --exec-id two box sh -c 'exit 5'
    says '^[0-9]+' ctr task ps box
}

19-ctr-pause() {
    ctr task pause box
    says '^box +[0-9]+ +PAUSED' ctr task ls
    ctr task resume box
    says '^box +[0-9]+ +RUNNING' ctr task ls
}

19-ctr-metrics() {
    controller pids
    says 'pids.current +1' ctr task metrics box
}

19-ctr-kill() {
    ctr task kill -s KILL box
    soon eval 'ctr task ls | grep -E "^box +[0-9]+ +STOPPED"'
    says 'exit code 137' ctr task rm box
    ctr container rm box
}

19-ctr-checkpoint() {
    # The subshell is for CRIU, as in row 18.
    "${CTR_RUN[@]}" -d $IMAGE counts sh -c 'i=0; while :; do i=$((i + 1)); echo $i >/tmp/count; (sleep 0.1); done'
    sleep 2
    rm -rf /tmp/checkpoint
    ctr task checkpoint --exit --image-path /tmp/checkpoint counts
    soon eval 'ctr task ls | grep -E "^counts +[0-9]+ +STOPPED"'
    [ -e /tmp/checkpoint/inventory.img ] || fail "no images: $(ls /tmp/checkpoint)"
    ctr task rm counts || true
    ctr container rm counts
}

19-ctr-restore() {
    "${CTR_RUN[@]}" -d $IMAGE returns sh -c 'i=0; while :; do i=$((i + 1)); echo $i >/tmp/count; (sleep 0.1); done'
    sleep 2
    ctr container checkpoint --rw --image --task returns checkpoints/returns
    local before after
    before=$(ctr task exec --exec-id before returns cat /tmp/count)
    ctr task kill -s KILL returns
    soon eval 'ctr task ls | grep -E "^returns +[0-9]+ +STOPPED"'
    ctr task rm returns || true
    ctr container rm returns
    ctr container restore --live returns checkpoints/returns
    soon eval 'ctr task ls | grep -E "^returns +[0-9]+ +RUNNING"'
    sleep 1
    after=$(ctr task exec --exec-id after returns cat /tmp/count)
    [ "$after" -gt 15 ] || fail "$after after $before"
}

cri() {
    python3 -B "$CHECKS/cri.py" "$@"
}

19-cri-version() {
    says containerd cri version
}

19-cri-pod() {
    local pod first second
    pod=$(cri run-pod pod)
    first=$(cri run "$pod" first $IMAGE sleep 1000)
    second=$(cri run "$pod" second $IMAGE sleep 1000)
    says '10\.88\.7\.' cri exec "$first" ip -4 addr show eth0
    local namespace
    for namespace in net ipc uts; do
        is "$(cri exec "$first" readlink /proc/self/ns/$namespace)" cri exec "$second" readlink /proc/self/ns/$namespace
    done
    for namespace in pid mnt; do
        [ "$(cri exec "$first" readlink /proc/self/ns/$namespace)" != "$(cri exec "$second" readlink /proc/self/ns/$namespace)" ] ||
            fail "one $namespace namespace"
    done
    is pod cri exec "$first" hostname
    cri stop "$first"
    cri remove "$first"
    cri stop-pod "$pod"
    cri remove-pod "$pod"
}

19-cri-shared-pids() {
    local pod container
    pod=$(cri run-pod shares --pid pod)
    container=$(cri run "$pod" --pid pod looks $IMAGE sleep 77)
    says 'sleep 1000000' cri exec "$container" ps
    cri remove-pod "$pod"
}

19-cri-exec-status() {
    local pod container
    pod=$(cri run-pod status --host-network)
    container=$(cri run "$pod" box $IMAGE sleep 1000)
    exits 5 cri exec "$container" sh -c 'exit 5'
    is "$(readlink /proc/self/ns/net)" cri exec "$container" readlink /proc/self/ns/net
    cri remove-pod "$pod"
}

19-cri-update() {
    controller memory
    local pod container
    pod=$(cri run-pod limits --host-network)
    container=$(cri run "$pod" --memory 67108864 box $IMAGE sleep 1000)
    is 67108864 cri exec "$container" cat /sys/fs/cgroup/memory.max
    cri update "$container" --memory 100663296
    is 100663296 cri exec "$container" cat /sys/fs/cgroup/memory.max
    cri remove-pod "$pod"
}

clean() {
    local id
    for id in $(cri pods); do
        cri remove-pod "$id"
    done
    for id in $(ctr task ls -q); do
        ctr task rm -f "$id"
    done
    ctr container ls -q | xargs -r ctr container rm
    no_pinned_mount_namespaces
    no_locked_volume
} >/dev/null 2>&1

# As DaemonSets have them: agents that look at their node.
19-cri-host-paths() {
    pinned_mount_namespaces
    local handler pod container late=/mnt/late
    for handler in "$NAME" peer; do
        pod=$(cri run-pod --handler "$handler" --pid node --host-network "agent-$handler")
        container=$(cri run "$pod" --pid node --host-network --mount /:/host:host-to-container:ro --mount /run:/run:host-to-container \
            --mount /tmp/pins:/pins:private --mount /:/plain:private agent $IMAGE sleep 1000)
        says '^etc$' cri exec "$container" ls /host
        says '^etc$' cri exec "$container" ls /plain
        says '^containerd$' cri exec "$container" ls /run
        says '^file$' cri exec "$container" ls /pins
        refuses 'read-only' cri exec "$container" touch /host/new
        is "$(readlink /proc/self/ns/pid)" cri exec "$container" readlink /proc/self/ns/pid
        mkdir -p $late
        mount -t tmpfs tmpfs $late
        touch $late/file
        is file cri exec "$container" ls /host$late
        absent cri exec "$container" ls /plain$late
        umount $late
        absent cri exec "$container" ls /host$late
        cri remove-pod "$pod"
    done
}

# A pod that has no users of the host (`hostUsers: false`), with what nginx's image does, and a volume whose flags are the host's.
19-cri-user-namespace() {
    locked_volume
    local handler pod container
    for handler in "$NAME" peer; do
        pod=$(cri run-pod --handler "$handler" --user-namespace "users-$handler")
        container=$(cri run "$pod" --user-namespace --user 101 --mount /tmp/locked:/locked:private:ro --mount /tmp/locked:/slave:host-to-container:ro \
            nginx-$handler $IMAGE sh -c "echo out >/dev/stdout; echo err >/dev/stderr; exec sleep 1000")
        soon grep -q 'stdout F out' "/tmp/pods/nginx-$handler.log"
        soon grep -q 'stderr F err' "/tmp/pods/nginx-$handler.log"
        says '^ +0 +200000 +65536' cri exec "$container" cat /proc/self/uid_map
        is $'err\nout' eval "cri exec $container sh -c 'echo out >/dev/stdout; echo err >/dev/stderr' 2>&1 | sort"
        is $'/locked ro,nosuid,nodev,noexec,noatime\n/slave ro,nosuid,nodev,noexec,noatime' cri exec "$container" \
            awk '$5 ~ "^/(locked|slave)$" { print $5, $6 }' /proc/self/mountinfo
        cri exec "$container" sh -c 'touch /dev/null && echo x >/dev/null'
        cri remove-pod "$pod"
        pod=$(cri run-pod --handler "$handler" --user-namespace --privileged "privileged-$handler")
        container=$(cri run "$pod" --user-namespace --privileged privileged $IMAGE sleep 1000)
        is '0 hi' cri exec "$container" sh -c 'echo $(id -u) hi; mount -t tmpfs tmpfs /tmp'
        cri remove-pod "$pod"
    done
    no_locked_volume
}

19-cri-host-paths-on-each-cpu() {
    pinned_mount_namespaces
    on_each_cpu "$(pgrep -x containerd)" -- host_paths_pod
}

host_paths_pod() {
    local pod container
    pod=$(cri run-pod --privileged --pid node --host-network agent)
    container=$(cri run "$pod" --privileged --pid node --host-network --mount /:/host:host-to-container --mount /run:/run:bidirectional \
        --mount /tmp/pins:/pins:private agent $IMAGE sleep 1000)
    is "$(cat /etc/hostname)" cri exec "$container" chroot /host cat /etc/hostname
    says '^file$' cri exec "$container" ls /pins
    is '1 0' cri exec "$container" sh -c 'touch /run/from-the-agent && echo $(ls /run | grep -c from-the-agent) $(id -u)'
    rm /run/from-the-agent
    cri remove-pod "$pod"
}

19-cri-refused-program() {
    # The kubelet is to see a container that ran and failed, with the reason in its log.
    refused_programs
    local handler pod container program reason
    for handler in "$NAME" peer; do
        pod=$(cri run-pod --handler "$handler" --host-network "refused-$handler")
        for program in 'text exec format error' 'foreign exec format error' 'lost no such file or directory'; do
            reason=${program#* } program=${program%% *}
            container=$(cri run "$pod" --host-network --mount /tmp/programs:/programs:private $program $IMAGE /programs/$program)
            is '255 Error' cri wait "$container"
            says "stderr F exec /programs/$program: $reason" cat /tmp/pods/$program.log
            rm /tmp/pods/$program.log
        done
        container=$(cri run "$pod" --host-network --mount /tmp/programs:/programs:private box $IMAGE sleep 1000)
        exits 255 cri exec "$container" /programs/text
        says 'exec /programs/text: exec format error' echo "$output"
        cri remove-pod "$pod"
    done
}
