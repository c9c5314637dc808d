# Limits are in force.

# in_cgroup FILE OPTION…: the file's text in the cgroup of a container that has these options.
in_cgroup() {
    local file=$1
    shift
    docker run --rm --cgroupns private "$@" bb cat "/sys/fs/cgroup/$file"
}

13-memory() {
    controller memory
    is 67108864 in_cgroup memory.max -m 64m
    is 33554432 in_cgroup memory.low -m 64m --memory-reservation 32m
}

13-memory-oom() {
    controller memory
    local since
    since=$(date +%s)
    exits 137 docker run --name eats -m 32m --memory-swap 32m bb tail /dev/zero
    is 'true 137' docker inspect --format '{{.State.OOMKilled}} {{.State.ExitCode}}' eats
    says 'container oom .*name=eats' docker events --since "$since" --until "$(($(date +%s) + 1))"
}

13-cpus() {
    controller cpu
    is '50000 100000' in_cgroup cpu.max --cpus 0.5
}

13-pids() {
    controller pids
    is 20 in_cgroup pids.max --pids-limit 20
    docker run -d --name forks --pids-limit 10 bb sh -c 'for i in $(seq 50); do sleep 1000 & done; wait' >/dev/null
    soon eval 'docker logs forks 2>&1 | grep "fork: "'
}

13-cpuset() {
    controller cpuset
    is 0 in_cgroup cpuset.cpus.effective --cpuset-cpus 0
    is 1 docker run --rm --cpuset-cpus 0 bb nproc
}

13-blkio() {
    controller io
    in_cgroup io.bfq.weight >/dev/null 2>&1 || skip "no disk here is under bfq"
    says '^default 300' in_cgroup io.bfq.weight --blkio-weight 300
}

13-update() {
    controller memory
    docker run -d --name changes -m 64m bb sleep 1000 >/dev/null
    docker update -m 96m --memory-swap 96m --cpus 0.25 --pids-limit 30 changes >/dev/null
    is $'100663296\n25000 100000\n30' docker exec changes cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max /sys/fs/cgroup/pids.max
}

13-update-unlimited() {
    # Docker tells the runtime of every update, if only of the restart policy.
    docker run -d --name policy bb sleep 1000 >/dev/null
    docker update --restart on-failure:3 policy >/dev/null
    is on-failure docker inspect --format '{{.HostConfig.RestartPolicy.Name}}' policy
}

13-cgroupns() {
    is 0::/ docker run --rm --cgroupns private bb grep ^0: /proc/self/cgroup
    says '^0::/.*[0-9a-f]{64}' docker run --rm --cgroupns host bb cat /proc/self/cgroup
}

# unit_has ID PROPERTY=VALUE…: what systemd knows of a container's unit.
unit_has() {
    local unit=docker-$1.scope property
    shift
    for property; do
        is "$property" systemctl show "$unit" --property "${property%%=*}"
    done
}

13-systemd() {
    systemd
    is systemd docker info --format '{{.CgroupDriver}}'
    local id
    id=$(docker run -d --name unit -m 64m --memory-swap 64m --cpus 0.5 --pids-limit 20 bb sleep 1000)
    says "^0::/system.slice/docker-$id.scope" cat "/proc/$(docker inspect --format '{{.State.Pid}}' unit)/cgroup"
    unit_has "$id" ActiveState=active MemoryMax=67108864 CPUQuotaPerSecUSec=500ms TasksMax=20
    docker update -m 96m --memory-swap 96m --cpus 0.25 --pids-limit 30 unit >/dev/null
    unit_has "$id" MemoryMax=100663296 CPUQuotaPerSecUSec=250ms TasksMax=30
    # systemd writes all that it knows.
    systemctl daemon-reload
    is $'100663296\n25000 100000\n30' docker exec unit cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max /sys/fs/cgroup/pids.max
    docker restart -t 0 unit >/dev/null
    unit_has "$id" ActiveState=active MemoryMax=100663296
    docker rm -f unit >/dev/null
    unit_has "$id" LoadState=not-found
}

13-cgroupfs() {
    # Where there is no systemd it is what all others had.
    systemd
    docker_clean
    dockerd_up --exec-opt native.cgroupdriver=cgroupfs
    is 67108864 in_cgroup memory.max -m 64m
    docker run -d --name plain --pids-limit 20 bb sleep 1000 >/dev/null
    says '^0::/docker/[0-9a-f]{64}$' cat "/proc/$(docker inspect --format '{{.State.Pid}}' plain)/cgroup"
    is 20 docker exec plain cat /sys/fs/cgroup/pids.max
    docker rm -f plain >/dev/null
}
