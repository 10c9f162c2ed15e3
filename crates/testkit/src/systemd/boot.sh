#!/usr/bin/env bash
# boot.sh enter FOLDER [SOURCE TARGET]...: runs systemd as PID 1 of a machine that is only namespaces, until SIGTERM.
#
# The machine sees this one's files, and whatever it writes is thrown away: its root is an overlay in memory. Each SOURCE
# of this machine is at TARGET there. No unit of this machine runs in it, only the journal does. There is a loopback
# interface and no other. FOLDER/init holds the process id of its PID 1, as this machine counts, once it can be entered.
#
# Everything goes with this process: processes and mounts by the kernel, the control group by the last lines of `cage`,
# or at the next start when this process was killed.
set -euo pipefail

mode=$1 folder=$2
shift 2

# ---- A mount namespace of its own, and in it a control group for all of the machine.

enter() {
    exec unshare --mount --propagation private bash "$0" cage "$folder" "$@"
}

cage() {
    mkdir -p "$folder/cgroup"
    mount -t cgroup2 cgroup2 "$folder/cgroup"
    remove_stale_groups
    local group=$folder/cgroup/standpipe-systemd-$$ status=0
    mkdir "$group"
    (
        echo $BASHPID >"$group/cgroup.procs"
        # When this script dies, so does unshare, and with it PID 1.
        exec setpriv --pdeathsig KILL -- \
            unshare --fork --kill-child --pid --mount --ipc --uts --net --cgroup bash "$0" init "$folder" "$@"
    ) &
    local machine=$!
    # Once PID 1 is reaped, nothing of the machine is left, and unshare ends.
    trap 'kill -KILL "$(cat "$folder/init")" || kill -KILL $machine || true' TERM
    # The first wait ends with the signal, the second with the machine.
    wait $machine || status=$?
    wait $machine || true
    remove_group "$group"
    echo "the machine ended with $status"
    exit "$status"
}

# What was left behind by scripts that were killed: their process ids are in the names.
remove_stale_groups() {
    local group
    for group in "$folder"/cgroup/standpipe-systemd-*; do
        [ ! -d "$group" ] || [ -d "/proc/${group##*-}" ] || remove_group "$group"
    done
}

# A group stays busy for a moment after its last process has gone.
remove_group() {
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        find "$1" -depth -type d -exec rmdir {} + 2>/dev/null || true
        [ -d "$1" ] || return 0
        sleep 0.02
    done
    echo "still in use: $1"
}

# ---- In the machine's namespaces, as PID 1: its files, then systemd.

init() {
    local root=$folder/memory/root pid
    # /proc is still this machine's.
    read -r pid _ </proc/self/stat
    exec 3>"$folder/init"
    mount --make-rprivate /
    files "$@"
    cd "$root"
    pivot_root . .
    umount -l .
    # As on any machine: what systemd mounts for a service (its credentials) has to arrive there.
    mount --make-rshared /
    echo "$pid" >&3
    exec 3>&- env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=standpipe-test \
        SYSTEMD_UNIT_PATH=/etc/systemd/system \
        /lib/systemd/systemd --system --unit=machine.target --show-status=no --log-target=journal
}

files() {
    local part memory=$folder/memory
    mkdir -p "$memory"
    mount -t tmpfs -o mode=755 tmpfs "$memory"
    mkdir "$root"
    # An overlay shows one file system; these may be on others.
    for part in / /usr /etc /var; do
        mountpoint -q "$part" || continue
        mkdir "$memory/upper${part//\//-}" "$memory/work${part//\//-}"
        mount -t overlay overlay "$root$part" \
            -o "lowerdir=$part,upperdir=$memory/upper${part//\//-},workdir=$memory/work${part//\//-}"
    done
    mount -t proc proc "$root/proc"
    mount -t sysfs sysfs "$root/sys"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    mount -t tmpfs tmpfs "$root/tmp"
    devices
    units
    while [ $# -gt 0 ]; do
        mkdir -p "$(dirname "$root$2")"
        if [ -d "$1" ]; then mkdir -p "$root$2"; else touch "$root$2"; fi
        mount --bind "$1" "$root$2"
        shift 2
    done
}

devices() {
    local device
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    for device in null zero full random urandom tty; do
        touch "$root/dev/$device"
        mount --bind "/dev/$device" "$root/dev/$device"
    done
    ln -s /proc/self/fd "$root/dev/fd"
    ln -s pts/ptmx "$root/dev/ptmx"
}

# What every service leans on, and the journal.
units() {
    local to=$root/etc/systemd/system name
    mkdir -p "$to"
    mount -t tmpfs -o mode=755 tmpfs "$to"
    for name in systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket; do
        cp "/lib/systemd/system/$name" "$to"
    done
    for name in sysinit basic shutdown umount final sockets network network-online multi-user; do
        printf '[Unit]\nDescription=%s\n' "$name" >"$to/$name.target"
    done
    printf '[Unit]\nDescription=machine\nRequires=systemd-journald.service\nAfter=systemd-journald.service\n' \
        >"$to/machine.target"
    rm -rf "$root/var/log/journal"
    printf '[Journal]\nStorage=volatile\nRateLimitBurst=0\n' >"$root/etc/systemd/journald.conf"
}

"$mode" "$@"
