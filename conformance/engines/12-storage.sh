# What outlives the container, and what may not be written to.

12-volume() {
    docker volume create data >/dev/null
    docker run --rm -v data:/data bb sh -c 'echo kept >/data/file'
    is kept docker run --rm -v data:/data bb cat /data/file
}

12-volume-copies() {
    # A new volume begins with what the image has there.
    says '^busybox$' docker run --rm -v fresh:/bin bb ls /bin
}

12-bind() {
    mkdir -p /tmp/bound
    docker run --rm -v /tmp/bound:/bound bb sh -c 'echo from inside >/bound/file'
    is 'from inside' cat /tmp/bound/file
}

12-bind-ro() {
    mkdir -p /tmp/bound
    refuses 'read-only' docker run --rm -v /tmp/bound:/bound:ro bb touch /bound/new
    mkdir -p /tmp/bound/below
    mountpoint -q /tmp/bound/below || mount -t tmpfs tmpfs /tmp/bound/below
    refuses 'read-only' docker run --rm -v /tmp/bound:/bound:ro bb touch /bound/below/new
    umount /tmp/bound/below
}

12-bind-file() {
    echo mine >/tmp/single
    is mine docker run --rm -v /tmp/single:/etc/group bb cat /etc/group
    refuses 'not a directory' docker run --rm --mount type=bind,src=/tmp/single,dst=/etc bb true
}

12-bind-propagation() {
    mkdir -p /tmp/shared
    mountpoint -q /tmp/shared || { mount -t tmpfs tmpfs /tmp/shared && mount --make-shared /tmp/shared; }
    docker run -d --name follows -v /tmp/shared:/shared:rslave bb sleep 1000 >/dev/null
    mkdir -p /tmp/shared/late
    mount -t tmpfs tmpfs /tmp/shared/late
    touch /tmp/shared/late/file
    is file docker exec follows ls /shared/late
    docker rm -f follows >/dev/null
    umount /tmp/shared/late /tmp/shared
}

12-tmpfs() {
    says '^tmpfs /scratch tmpfs .*size=1024k' docker run --rm --tmpfs /scratch:size=1m bb grep ' /scratch ' /proc/mounts
    says '^tmpfs /other tmpfs' docker run --rm --mount type=tmpfs,destination=/other,tmpfs-mode=1770 bb grep ' /other ' /proc/mounts
}

12-read-only() {
    refuses 'read-only' docker run --rm --read-only bb touch /new
    docker run --rm --read-only --tmpfs /scratch bb touch /scratch/new
}

12-shm() {
    says 'size=2048k' docker run --rm --shm-size 2m bb grep ' /dev/shm ' /proc/mounts
}

12-volumes-from() {
    docker run --name owner -v /owned bb sh -c 'echo shared >/owned/file'
    is shared docker run --rm --volumes-from owner bb cat /owned/file
}
