# Runs in the VM, as root. The host puts `set -- RUNTIME NAME SLOW ONLY…` above.
echo "@@ up $(cut -d ' ' -f 1 /proc/uptime)"
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
cp -r /job/opt/* /opt/
# Nothing named runc or crun is in anybody's PATH.
mkdir -p /opt/peers
mv /usr/sbin/runc /usr/bin/crun /opt/peers/
mount -o remount,dev,suid /tmp
ip link set lo up
# A disk under a scheduler with weights.
modprobe bfq && echo bfq >/sys/block/vda/queue/scheduler
systemctl --version | head -n 1
echo "controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"
exec bash /opt/checks/run.sh "$@"
