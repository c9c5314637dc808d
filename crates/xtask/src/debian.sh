#!/bin/sh
# What making a tree of Debian testing takes. The script that goes on below runs as root, in a mount namespace of its own.
# usage: SCRIPT DIRECTORY MIRROR; without a mirror, debootstrap's own.
set -eu
# The path is Debian's, whatever this machine is.
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
directory=$1
mirror=$2
root=$directory/root

step() {
    echo "--- $*"
}

inside() {
    chroot "$root" "$@"
}

# bootstrap: a minimal Debian testing with systemd, and apt that works.
bootstrap() {
    step "a minimal Debian testing from $mirror"
    # testing's own name may be newer than debootstrap.
    debootstrap --variant=minbase \
        --include=systemd,systemd-sysv,systemd-container,dbus,dbus-user-session,libpam-systemd,udev,kmod,procps,iproute2,ca-certificates \
        testing "$root" "$mirror" /usr/share/debootstrap/scripts/sid
    # How this machine reaches the archive, and nothing else of its apt.
    ! command -v apt-config >/dev/null || apt-config dump | grep ^Acquire:: >"$root/etc/apt/apt.conf.d/host" || true
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod +x "$root/usr/sbin/policy-rc.d"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/run"
    inside apt-get update -q
}

add_packages() {
    inside apt-get install -q --yes --no-install-recommends "$@"
}

# add_engines: runtimes, what calls them, and what those want.
add_engines() {
    step "runtimes and engines"
    add_packages crun runc containerd docker.io docker-cli docker-compose docker-buildx podman buildah skopeo umoci docker-registry \
        apache2-utils conmon netavark aardvark-dns passt slirp4netns rootlesskit catatonit containernetworking-plugins fuse-overlayfs uidmap \
        criu python3-grpcio protobuf-compiler python3-protobuf iptables nftables busybox-static libseccomp2 strace \
        jq curl tmux
    # Of the CRI's description one file, not all the sources that its package wants.
    inside sh -c 'cd /tmp && apt-get download -q golang-k8s-cri-api-dev >&2 && dpkg-deb --fsys-tarfile golang-k8s-cri-api-dev_*.deb' |
        tar -x -C "$root" --wildcards './usr/share/gocode/src/k8s.io/cri-api/pkg/apis/runtime/v1/api.proto'
}

# add_user: an ordinary user with subordinate ids.
add_user() {
    inside useradd --create-home --uid 1000 --shell /bin/bash tester
    for file in subuid subgid; do
        echo tester:100000:65536 >"$root/etc/$file"
    done
}

# tidy: away with what was wanted only here.
tidy() {
    umount -l "$root/proc" "$root/dev" "$root/run"
    rm -rf "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root/etc/apt/apt.conf.d/host" \
        "$root/usr/sbin/policy-rc.d" "$root"/tmp/* "$root"/var/log/journal
}
