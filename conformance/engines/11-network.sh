# Bridges, ports, names, and others' networks.

# A host beyond this one, reached by the default route.
world() {
    [ -e /run/netns/world ] && return
    ip netns add world
    ip link add out0 type veth peer name in0 netns world
    ip addr add 192.0.2.1/24 dev out0
    ip link set out0 up
    ip -n world addr add 192.0.2.2/24 dev in0
    ip -n world link set in0 up
    ip route add default via 192.0.2.2
    mkdir -p /tmp/world
    echo from the world >/tmp/world/index.html
    ip netns exec world busybox httpd -p 80 -h /tmp/world
}

setup() {
    world
    dockerd_up
}

# web NAME OPTION…: a server whose page is its name.
web() {
    local name=$1
    shift
    docker run -d --name "$name" "$@" bb sh -c "mkdir /www; echo page of $name >/www/index.html; exec httpd -f -p 80 -h /www" >/dev/null
}

11-bridge() {
    says 'inet 172\.17\.' docker run --rm bb ip -4 addr show eth0
    says '^default via 172\.17\.0\.1' docker run --rm bb ip route
    says ' 0% packet loss' docker run --rm bb ping -c 1 172.17.0.1
}

11-outward() {
    is 'from the world' docker run --rm bb wget -qO- http://192.0.2.2/
}

11-port() {
    web published -p 8080:80
    soon curl -fsS http://127.0.0.1:8080/
    is 'page of published' curl -fsS http://127.0.0.1:8080/
    # From beyond, past docker-proxy.
    is 'page of published' ip netns exec world curl -fsS http://192.0.2.1:8080/
}

11-names() {
    docker network create together >/dev/null
    web server --network together
    soon docker run --rm --network together bb wget -qO- http://server/
    is 'page of server' docker run --rm --network together bb wget -qO- http://server/
    refuses 'bad address' docker run --rm bb wget -qO- http://server/
}

11-host() {
    is "$(readlink /proc/self/ns/net)" docker run --rm --network host bb readlink /proc/self/ns/net
}

11-none() {
    is lo docker run --rm --network none bb ls /sys/class/net
}

11-container() {
    web shared
    soon docker run --rm --network container:shared bb wget -qO- http://127.0.0.1/
    is 'page of shared' docker run --rm --network container:shared bb wget -qO- http://127.0.0.1/
}

11-connect() {
    docker network create late >/dev/null
    docker run -d --name joins bb sleep 1000 >/dev/null
    docker network connect late joins
    is $'eth0\neth1\nlo' docker exec joins ls /sys/class/net
    docker network disconnect late joins
    is $'eth0\nlo' docker exec joins ls /sys/class/net
}

11-files() {
    is $'192.0.2.7\tfar' bash -c 'docker run --rm --add-host far:192.0.2.7 bb grep far /etc/hosts'
    says '^nameserver 192.0.2.53' docker run --rm --dns 192.0.2.53 bb cat /etc/resolv.conf
}
