#!/bin/sh
# Enters the engines' root, in new namespaces. Nothing is written to it: an overlay takes what is changed, and goes with the namespaces.
# usage: enter.sh CGROUP CACHE CHECKS RUNTIME COMMAND…; RUNTIME: a file, put in /opt/runtime; or nothing
set -eu
cgroup=$1 cache=$2 checks=$3 runtime=$4
if [ -z "${INSIDE-}" ]; then
    # The cgroup is the root of all that is seen inside. Its processes are in one below, so that it can have controllers for others.
    mkdir "$cgroup/init"
    echo 0 >"$cgroup/cgroup.procs"
    export INSIDE=1
    exec unshare --cgroup sh -c 'echo 0 >"$2/init/cgroup.procs"
        exec unshare --mount --pid --net --uts --ipc --fork --kill-child --propagation private sh "$@"' - "$0" "$@"
fi
shift 4

mount -t tmpfs -o mode=755 tmpfs "$cache/mnt"
cd "$cache/mnt"
mkdir upper work root
mount -t overlay overlay -o "lowerdir=$cache/root,upperdir=$cache/mnt/upper,workdir=$cache/mnt/work" root
cd root
# Nothing named runc or crun is in anybody's PATH.
mkdir -p opt/peers opt/runtime opt/checks
mv usr/sbin/runc usr/bin/crun opt/peers/
# Copies: what is changed while they run must not reach them.
[ -z "$runtime" ] || cp "$runtime" opt/runtime/
cp "$checks"/* opt/checks/

mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount --rbind /dev dev
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts dev/pts
# Locks of others are there.
mount -t tmpfs -o mode=1777 tmpfs dev/shm
for directory in run tmp var/lib/docker var/lib/containerd var/lib/containers home/tester/.local; do
    mkdir -p "$directory"
    mount -t tmpfs -o mode=755 tmpfs "$directory"
done
chmod 1777 tmp
chown 1000:1000 home/tester/.local
for controller in $(cat sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" >sys/fs/cgroup/cgroup.subtree_control
done
cat etc/hostname >/proc/sys/kernel/hostname
ip link set lo up

pivot_root . mnt
umount -l /mnt
cd /
# As with systemd.
mount --make-rshared /
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "TERM=${TERM:-dumb}" HOME=/root "$@"
