#!/usr/bin/env bash
# Boots a systemd with the units of packaging/systemd, on a copy of this machine's files that is
# forgotten afterwards, and runs probe.sh in it. Everything is in namespaces of its own, the network
# too. It needs root, and a kernel with overlayfs and control groups of version 2.
#
#   tests/systemd/boot.sh STAYD OUT    OUT/report is what probe.sh says
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
stayd=$(realpath "$1") out=$(realpath "$2")

if [ "${3:-}" != inside ]; then
    unified=/sys/fs/cgroup
    [ -e $unified/cgroup.controllers ] || unified=/sys/fs/cgroup/unified
    group=$unified/stayd-systemd-$$
    mkdir "$group"
    trap 'rmdir_all' EXIT
    rmdir_all() { find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true; }
    (
        echo "$BASHPID" >"$group/cgroup.procs"
        exec timeout --kill-after=5 180 unshare --mount --pid --fork --kill-child --uts --ipc --net --cgroup \
            "$here/boot.sh" "$stayd" "$out" inside
    ) >"$out/console" 2>&1 </dev/null || true
    exit
fi

root=$(mktemp -d)
mount -t tmpfs none "$root"
mkdir "$root/upper" "$root/work" "$root/all"
mount -t overlay overlay -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work" "$root/all"
cd "$root/all"
mkdir -p out usr/local/bin etc/systemd/system
mount --bind "$out" out
# Only what is tested is started.
rm -rf etc/systemd/system/*.wants
install -m 755 "$stayd" usr/local/bin/stayd
install -m 755 "$here/probe.sh" usr/local/bin/probe.sh
install -m 644 "$here"/../../packaging/systemd/system/*.service etc/systemd/system/
printf '[Service]\nType=oneshot\nExecStart=/usr/local/bin/probe.sh\n' >etc/systemd/system/probe.service
printf '[Unit]\nWants=probe.service systemd-journald.service\nAllowIsolate=yes\n' >etc/systemd/system/probe.target
chroot . useradd --create-home tester
mount -t proc proc proc
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
ip link set lo up
mkdir -p old
pivot_root . old
umount --lazy /old
exec env --ignore-environment container=stayd PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=probe.target --log-target=console
