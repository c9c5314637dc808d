#!/bin/sh
# Makes a disk with Debian testing, its kernel and its initrd in a directory. Runs in a mount namespace of its own.
# usage: image.sh DIRECTORY MIRROR
set -eu
# The path is Debian's, whatever this machine is.
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
directory=$1
mirror=$2
root=$directory/root

step() {
    echo "--- $*"
}

step "a minimal Debian testing from $mirror"
# testing's own name may be newer than debootstrap.
debootstrap --variant=minbase \
    --include=systemd,systemd-sysv,systemd-container,dbus,dbus-user-session,libpam-systemd,udev,kmod,procps,iproute2,ca-certificates \
    testing "$root" "$mirror" /usr/share/debootstrap/scripts/sid

step "kernel, runtimes, engines"
# How this machine reaches the archive, and nothing else of its apt.
! command -v apt-config >/dev/null || apt-config dump | grep ^Acquire:: >"$root/etc/apt/apt.conf.d/host" || true
cp /etc/resolv.conf "$root/etc/resolv.conf"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod +x "$root/usr/sbin/policy-rc.d"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
inside() {
    chroot "$root" "$@"
}
# Nothing but the disk, so that the initrd is small: its whole decompression is emulated.
mkdir -p "$root/etc/initramfs-tools/conf.d"
echo MODULES=list >"$root/etc/initramfs-tools/conf.d/disk"
printf 'virtio_pci\nvirtio_blk\next4\n' >"$root/etc/initramfs-tools/modules"
inside apt-get update -q
inside apt-get install -q --yes --no-install-recommends linux-image-amd64 initramfs-tools \
    crun runc containerd docker.io docker-cli podman buildah skopeo umoci conmon netavark aardvark-dns passt slirp4netns \
    fuse-overlayfs uidmap criu iptables nftables busybox-static libseccomp2 apparmor strace jq curl

step "an ordinary user with a session that lingers"
inside useradd --create-home --uid 1000 --shell /bin/bash tester
for file in subuid subgid; do
    echo tester:100000:65536 >"$root/etc/$file"
done
mkdir -p "$root/var/lib/systemd/linger" "$root/etc/systemd/system/user@.service.d"
: >"$root/var/lib/systemd/linger/tester"
# systemd leaves out cpuset and io; this is what it takes to limit them without root.
printf '[Service]\nDelegate=cpu cpuset io memory pids\n' >"$root/etc/systemd/system/user@.service.d/delegate.conf"

step "the job"
printf '9p\n9pnet_virtio\nvirtio_console\n' >"$root/etc/modules-load.d/job.conf"
cat >"$root/etc/systemd/system/job.service" <<'UNIT'
[Unit]
After=multi-user.target
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/job
Delegate=yes
TasksMax=infinity
LimitNOFILE=1048576
[Install]
WantedBy=multi-user.target
UNIT
cat >"$root/usr/local/sbin/job" <<'SCRIPT'
#!/bin/sh
# /dev/vport0p1: the file on the host that is read as the run goes on.
exec </dev/null >/dev/vport0p1 2>&1
mkdir -p /job
mount -t 9p -o trans=virtio,version=9p2000.L,ro job /job && sh /job/run.sh
SCRIPT
chmod +x "$root/usr/local/sbin/job"

step "services"
echo vm >"$root/etc/hostname"
printf '127.0.0.1 localhost vm\n' >"$root/etc/hosts"
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=volatile\n' >"$root/etc/systemd/journald.conf.d/volatile.conf"
# Devices that are there from the start and that nobody waits for need no rules.
mkdir -p "$root/etc/systemd/system/systemd-udev-trigger.service.d"
cat >"$root/etc/systemd/system/systemd-udev-trigger.service.d/few.conf" <<'UNIT'
[Service]
ExecStart=
ExecStart=udevadm trigger --type=all --action=add --subsystem-match=block --subsystem-match=net --subsystem-match=misc
UNIT
inside systemd-machine-id-setup
inside systemctl enable job.service
# Engines are started by the tests that want them; the others take emulated time at every boot and give nothing.
inside systemctl mask docker.service docker.socket containerd.service podman.service podman.socket podman-restart.service \
    podman-auto-update.timer podman-clean-transient.service netavark-dhcp-proxy.service netavark-dhcp-proxy.socket \
    getty@tty1.service serial-getty@ttyS0.service e2scrub_reap.service e2scrub_all.timer fstrim.timer apt-daily.timer \
    apt-daily-upgrade.timer dpkg-db-backup.timer ldconfig.service systemd-journal-catalog-update.service \
    systemd-journal-flush.service systemd-update-done.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount \
    apparmor.service modprobe@drm.service modprobe@efi_pstore.service systemd-pstore.service

step "the disk"
umount -l "$root/proc" "$root/dev" "$root/run"
rm -rf "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root/etc/apt/apt.conf.d/host" \
    "$root/usr/sbin/policy-rc.d" "$root"/tmp/* "$root"/var/log/journal
cp "$root"/boot/vmlinuz-* "$directory/vmlinuz"
cp "$root"/boot/initrd.img-* "$directory/initrd"
truncate -s 16G "$directory/disk.img"
mkfs.ext4 -q -F -d "$root" "$directory/disk.img"
rm -rf --one-file-system "$root"
