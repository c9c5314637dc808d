
# The VM's disk, its kernel and its initrd; debian.sh stands above.
bootstrap
# Nothing but the disk, so that the initrd is small: its whole decompression is emulated.
mkdir -p "$root/etc/initramfs-tools/conf.d"
echo MODULES=list >"$root/etc/initramfs-tools/conf.d/disk"
printf 'virtio_pci\nvirtio_blk\next4\n' >"$root/etc/initramfs-tools/modules"
step "kernel"
add_packages linux-image-amd64 initramfs-tools apparmor
add_engines

step "an ordinary user with a session that lingers"
add_user
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
inside systemctl mask docker.service docker.socket docker-registry.service containerd.service podman.service podman.socket \
    podman-restart.service podman-auto-update.timer podman-clean-transient.service netavark-dhcp-proxy.service netavark-dhcp-proxy.socket \
    getty@tty1.service serial-getty@ttyS0.service e2scrub_reap.service e2scrub_all.timer fstrim.timer apt-daily.timer \
    apt-daily-upgrade.timer dpkg-db-backup.timer ldconfig.service systemd-journal-catalog-update.service \
    systemd-journal-flush.service systemd-update-done.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount \
    apparmor.service modprobe@drm.service modprobe@efi_pstore.service systemd-pstore.service

step "the disk"
tidy
cp "$root"/boot/vmlinuz-* "$directory/vmlinuz"
cp "$root"/boot/initrd.img-* "$directory/initrd"
truncate -s 16G "$directory/disk.img"
mkfs.ext4 -q -F -d "$root" "$directory/disk.img"
rm -rf --one-file-system "$root"
