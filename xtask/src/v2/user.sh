# The pages of a user with control groups of their own, inside the virtual machine, under systemd.
. /settings
modprobe -a loop fuse ext4 virtio_blk
mkdir -p /srv/home
mount /dev/vda /srv/home
chown "$TESTER:$TESTER" /srv/home
ip link set lo up
# The user has to come to the programs, wherever they are.
dir=$CRATE
while [ "$dir" != / ]; do chmod o+rx "$dir"; dir=$(dirname "$dir"); done
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
loginctl enable-linger "$TESTER"
end=$(($(date +%s) + 120))
until systemctl is-active -q user@1234 || [ "$(date +%s)" -gt $end ]; do sleep 0.5; done
echo "kernel $(uname -r); $(systemctl --version | head -n 1); the user's groups: $(cat /sys/fs/cgroup/user.slice/user-1234.slice/user@1234.service/cgroup.controllers)"
failed=0
for program in $PROGRAMS; do
    echo "==> ${program##*/}"
    (cd "$CRATE" && timeout 1200 setpriv --reuid=1234 --regid=1234 --clear-groups env -i \
        HOME=/srv/home TMPDIR=/srv/home PATH=$PATH "$program" user_groups --exact --nocapture --test-threads 1 > /tmp/said 2>&1)
    code=$?
    cat /tmp/said
    # A page that was left out was not run.
    [ $code = 0 ] && ! grep -q '^skipped' /tmp/said || failed=$((failed + 1))
done
left=$(find /sys/fs/cgroup -name 'pond-*')
[ -z "$left" ] || { echo "left behind: $left"; failed=$((failed + 1)); }
echo "v2: $failed failed"
echo o > /proc/sysrq-trigger
sleep 10
