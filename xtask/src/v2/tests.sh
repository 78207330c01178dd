# The tests inside the virtual machine. The disk is where they keep their folders.
. /settings
mount -t proc proc /proc
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=666,gid=5 devpts /dev/pts
mount -t tmpfs shm /dev/shm
modprobe -a loop fuse ext4 virtio_blk
mount /dev/vda "$SCRATCH"
ip link set lo up
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR="$SCRATCH"
cd "$CRATE" || echo "no folder $CRATE"
echo "kernel $(uname -r); $(grep -c cgroup /proc/mounts) hierarchy of control groups: $(cat /sys/fs/cgroup/cgroup.controllers)"
failed=0
for program in $PROGRAMS; do
    echo "==> ${program##*/}"
    timeout 900 "$program" --test-threads 1 || failed=$((failed + 1))
done
left=$(ls -d /sys/fs/cgroup/pond-* 2>/dev/null)
[ -z "$left" ] || { echo "left behind: $left"; failed=$((failed + 1)); }
umount "$SCRATCH"
echo "v2: $failed failed"
echo o > /proc/sysrq-trigger
sleep 10
