#!/bin/busybox sh
# First process of the virtual machine: the root of the machine it runs on, under a layer in memory.
bb=/bin/busybox
. /settings
$bb mount -t proc proc /proc
$bb mount -t devtmpfs dev /dev
for file in $MODULES; do $bb insmod "/lib/modules/$file" || echo "cannot load $file"; done
$bb mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=512000,cache=loose host /lower
$bb mount -t tmpfs -o size=3g tmpfs /upper
$bb mkdir /upper/up /upper/work
$bb mount -t overlay -o lowerdir=/lower,upperdir=/upper/up,workdir=/upper/work root /root
for dir in proc sys dev tmp run lib/modules; do $bb mkdir -p "/root/$dir"; done
$bb mount -t sysfs sys /root/sys
$bb mount -t cgroup2 none /root/sys/fs/cgroup
$bb mount -t tmpfs tmpfs /root/tmp
$bb mount -t tmpfs tmpfs /root/run
$bb mount -o bind "/lower$IMAGE/lib/modules" /root/lib/modules
$bb ln -sf /bin/busybox /root/sbin/modprobe
$bb cp /tests /settings /root/
$bb mount --move /dev /root/dev
$bb umount /proc
[ -n "$TESTER" ] || exec $bb switch_root /root /bin/sh /tests
# As on a machine that somebody logs in to: systemd, and a user.
echo "$TESTER:x:1234:1234::/srv/home:/bin/sh" >> /root/etc/passwd
echo "$TESTER:x:1234:" >> /root/etc/group
echo "$TESTER:*:19000:0:99999:7:::" >> /root/etc/shadow
# systemd takes this for a container's.
$bb rm -f /root/.dockerenv
$bb cp /tests.service /root/etc/systemd/system/
exec $bb switch_root /root /lib/systemd/systemd --unit=tests.service --show-status=false
