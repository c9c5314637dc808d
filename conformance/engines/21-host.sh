# What agents of the host get to see: its tree, its /run, Docker's socket. Others have run before: nothing of them may be in the way.

setup() {
    dockerd_up
    # On all CPUs.
    on_each_dockerd_cpu docker run --rm bb true
}

clean() {
    docker_clean
    no_pinned_mount_namespaces
}

# The mounts that a container sees below a directory, with options, and whether they follow others. Those of the container itself are not the
# host's: whether they are among them depends on when it is bound.
seen() {
    printf '$5 ~ "^%s(/|$)" && $5 !~ "/merged(/|$)" && $5 !~ "/corten/@mounts(/|$)" { $1 = $2 = $3 = $4 = ""; sub(/ - .*/, ""); gsub(/:[0-9]+/, ""); print }' "$1"
}

21-host-root() {
    says '^etc$' docker run --rm -v /:/host bb ls /host
    is "$(cat /etc/hostname)" docker run --rm -v /:/host bb cat /host/etc/hostname
    is engines docker run --rm -v /:/host bb chroot /host sh -c '[ -S /run/docker.sock ] && echo engines'
    says Server docker run --rm -v /:/host --network host bb chroot /host docker version
    alike docker run --rm --runtime @name -v /:/host bb awk "$(seen /host)" /proc/self/mountinfo
    is "$(readlink /proc/self/ns/pid)" docker run --rm --pid host --privileged --network host --ipc host --uts host -v /:/host bb \
        chroot /host readlink /proc/1/ns/pid
}

21-host-root-ro() {
    refuses 'read-only' docker run --rm -v /:/host:ro bb touch /host/new
    refuses 'read-only' docker run --rm -v /:/host:ro bb touch /host/run/new
    alike docker run --rm --runtime @name -v /:/host:ro bb awk "$(seen /host)" /proc/self/mountinfo
    alike docker run --rm --runtime @name --read-only -v /:/host:ro,rslave bb awk "$(seen /host)" /proc/self/mountinfo
}

21-host-root-propagation() {
    local name
    for name in "$NAME" peer; do
        docker run -d --runtime "$name" --name "slave-$name" -v /:/host:rslave bb sleep 1000 >/dev/null
        docker run -d --runtime "$name" --name "shared-$name" -v /:/host:rshared bb sleep 1000 >/dev/null
    done
    mkdir -p /mnt/late
    mount -t tmpfs tmpfs /mnt/late
    touch /mnt/late/file
    for name in "$NAME" peer; do
        is file docker exec "slave-$name" ls /host/mnt/late
        is file docker exec "shared-$name" ls /host/mnt/late
    done
    umount /mnt/late
    for name in "$NAME" peer; do
        absent docker exec "slave-$name" ls /host/mnt/late
        docker rm -f "slave-$name" "shared-$name" >/dev/null
    done
    alike docker run --rm --runtime @name -v /:/host:rslave bb awk "$(seen /host)" /proc/self/mountinfo
    alike docker run --rm --runtime @name -v /:/host:rshared bb awk "$(seen /host)" /proc/self/mountinfo
}

21-host-run() {
    says '^docker.sock$' docker run --rm -v /run:/run bb ls /run
    says '^docker.sock$' docker run --rm -v /run:/run:ro,rslave bb ls /run
    alike docker run --rm --runtime @name -v /run:/run bb awk "$(seen /run)" /proc/self/mountinfo
    alike docker run --rm --runtime @name -v /var/run:/var/run bb awk "$(seen /var/run)" /proc/self/mountinfo
}

21-docker-socket() {
    docker run --rm -v /var/run/docker.sock:/var/run/docker.sock bb test -S /var/run/docker.sock
    says Server docker run --rm -v /:/host -v /var/run/docker.sock:/host/tmp/docker.sock bb \
        chroot /host docker -H unix:///tmp/docker.sock version
    alike docker run --rm --runtime @name -v /var/run/docker.sock:/var/run/docker.sock bb awk "$(seen /var/run)" /proc/self/mountinfo
}

21-pinned-namespaces() {
    # As snapd, LXD and unshare(1) keep theirs, wherever they were made.
    pinned_mount_namespaces
    local options
    for options in '' :ro; do
        on_each_dockerd_cpu says '^file$' docker run --rm -v /tmp/pins:/pins$options bb ls /pins
    done
    for options in '' :ro :rslave :rshared; do
        on_each_dockerd_cpu says '^etc$' docker run --rm -v /:/host$options bb ls /host
        alike docker run --rm --runtime @name -v /:/host$options bb awk "$(seen /host/tmp)" /proc/self/mountinfo
    done
    on_each_dockerd_cpu docker run --rm --mount type=bind,src=/tmp/pins,dst=/pins,bind-recursive=disabled bb true
    on_each_dockerd_cpu docker run --rm -v /tmp/pins/0:/pin bb true
}
