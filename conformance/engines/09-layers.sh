# Layers are shared; what is written is one container's.

setup() {
    dockerd_up
    docker run -d --name one bb sleep 1000 >/dev/null
    docker run -d --name two bb sleep 1000 >/dev/null
}

09-own-changes() {
    docker exec one sh -c 'echo changed >/etc/group; rm /bin/vi'
    is changed docker exec one cat /etc/group
    says '^root' docker exec two cat /etc/group
    docker exec two ls /bin/vi
}

09-diff() {
    is $'C /bin\nD /bin/vi\nC /etc\nC /etc/group' bash -c 'docker diff one | sort -k 2'
    absent docker diff two
}

09-shared() {
    local one two
    one=$(docker inspect --format '{{.GraphDriver.Data.LowerDir}}' one)
    two=$(docker inspect --format '{{.GraphDriver.Data.LowerDir}}' two)
    [ "${one##*:}" = "${two##*:}" ] || fail "$one and $two"
}
