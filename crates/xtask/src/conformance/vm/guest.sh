# Runs in the VM, as root: test programs, one after the other. What it prints is read on the host; lines for the host begin with @@.
# The host puts functions `shares` and `programs` below, which call these.

# share TAG DIRECTORY: a directory of the host, at its own place.
share() {
    mkdir -p "$2"
    mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro" "$1" "$2" || exit 1
}

# program NAME USER DIRECTORY FILE [ARGUMENT...]: a test program, as root or as another user in their systemd session.
program() {
    name=$1 user=$2 directory=$3 file=$4
    echo "@@ begin $name"
    cd "$directory" || exit 1
    shift 4
    set -- "$file" --show-output --test-threads 2 "$@"
    if [ "$user" != root ]; then
        set -- systemd-run --quiet --machine "$user@.host" --user --pipe --wait --collect --same-dir --setenv CORTEN_VM=1 \
            --property Delegate=yes "$@"
    fi
    "$@" </dev/null
    echo "@@ end $name $?"
}

# What tests look for: a disk under a scheduler with weights, huge pages, an RDMA device.
devices() {
    modprobe bfq && echo bfq >/sys/block/vda/queue/scheduler
    echo 8 >/proc/sys/vm/nr_hugepages
    # Tests make device nodes in temporary directories.
    mount -o remount,dev,suid /tmp
    ip link add dummy0 type dummy && ip link set dummy0 up && rdma link add rxe0 type rxe netdev dummy0
}

export CORTEN_VM=1 HOME=/root
echo "@@ up $(cut -d ' ' -f 1 /proc/uptime)"
devices
uname -sr
systemctl --version | head -n 1
echo "controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"
shares
programs
echo "@@ done"
