#!/bin/sh
# Makes, boots, and removes machines with plain Debian and sshd, which know nothing of
# PAI: each has its own host keys, no root login, and one user with sudo.
#
#   plainmachines.sh base DIR SUITE           a root file system in DIR, once
#   plainmachines.sh up DIR KEY.pub SUITE...  a machine in DIR for each SUITE
#   plainmachines.sh down DIR
set -eu
PATH=$PATH:/usr/sbin:/sbin
ns=plain net=172.29.231

hierarchies() { awk '($3 == "cgroup" || $3 == "cgroup2") && $2 ~ "^/sys/fs/cgroup" {print $2}' /proc/self/mounts; }

base() {
    base=$1/base-$2
    [ ! -d "$base" ] || return 0
    rm -rf "$base.new"
    . /etc/os-release
    # The mirror of this host has the other releases of Debian, too.
    mirror=$(apt-get indextargets --format '$(CREATED_BY)|$(RELEASE)|$(COMPONENT)|$(REPO_URI)' | awk -F '|' -v suite="$VERSION_CODENAME" '$1 == "Packages" && $2 == suite && $3 == "main" {print $4; exit}')
    eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
    http_proxy=${http_proxy:-} https_proxy=${https_proxy:-} DPKG_FORCE=unsafe-io unshare --mount --propagation private -- debootstrap --variant=minbase \
        --include=systemd,systemd-sysv,dbus,openssh-server,sudo,nftables,iproute2,kmod,procps,netbase "$2" "$base.new" "$mirror" >&2
    rm -f "$base.new"/etc/ssh/ssh_host_* "$base.new/etc/hostname" "$base.new/etc/resolv.conf" "$base.new"/var/cache/apt/archives/*.deb
    : >"$base.new/etc/machine-id"
    echo '# no name server' >"$base.new/etc/resolv.conf"
    # What a machine with a kernel of its own does, and a container must not.
    for unit in systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-networkd.service \
        systemd-resolved.service systemd-timesyncd.service systemd-modules-load.service console-getty.service getty.target; do
        ln -sfn /dev/null "$base.new/etc/systemd/system/$unit"
    done
    for file in 10-coredump-debian.conf 50-pid-max.conf 99-protect-links.conf 50-coredump.conf 50-default.conf; do
        ln -sfn /dev/null "$base.new/etc/sysctl.d/$file"
    done
    mkdir -p "$base.new/etc/systemd/system/sysinit.target.wants"
    cat >"$base.new/etc/systemd/system/cgroups.service" <<'UNIT'
[Unit]
DefaultDependencies=no
Before=sysinit.target
ConditionPathExists=!/sys/fs/cgroup/cgroup.controllers

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -euc 'while read -r what where kind rest; do case "$$kind $$where" in "cgroup /sys/fs/cgroup/"*|"cgroup2 /sys/fs/cgroup/"*) mount -o remount,bind,rw "$$where" ;; esac; done </proc/self/mounts'
UNIT
    ln -sfn ../cgroups.service "$base.new/etc/systemd/system/sysinit.target.wants/cgroups.service"
    mv "$base.new" "$base"
}

network() {
    ip netns add $ns
    ip -n $ns link set lo up
    ip -n $ns link add bridge type bridge
    ip -n $ns address add $net.254/24 dev bridge
    ip -n $ns link set bridge up
    ip netns exec $ns sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
    ip link add $ns type veth peer name host netns $ns
    ip -n $ns link set host master bridge up
    ip address add $net.1/24 dev $ns
    ip link set $ns up
}

boot() { # DIR NUMBER
    name=$ns-$2
    ip netns add $name
    ip -n $ns link add $name type veth peer name eth0 netns $name
    ip -n $ns link set $name master bridge up
    ip netns exec $name sh -c 'for f in all default eth0; do echo 0 >/proc/sys/net/ipv4/conf/$f/rp_filter; done'
    ip -n $name link set lo up
    ip -n $name address add $net.1$2/24 dev eth0
    ip -n $name link set eth0 up
    ip -n $name route add default via $net.254
    for group in $(hierarchies); do
        if [ -e "$group/cgroup.controllers" ]; then
            for c in $(cat "$group/cgroup.controllers"); do echo "+$c" >"$group/cgroup.subtree_control" || :; done
        fi
        mkdir -p "$group/$name"
        for f in cpuset.cpus cpuset.mems; do [ ! -e "$group/$f" ] || cat "$group/$f" >"$group/$name/$f"; done
    done
    modules=; [ ! -d /lib/modules ] || modules=--bind-ro=/lib/modules
    # systemd 256 and newer refuse version 1 control groups, which this host can have,
    # without this word on the kernel command line: for a container, its arguments.
    legacy=; [ -e /sys/fs/cgroup/cgroup.controllers ] || legacy=SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1
    # shellcheck disable=SC2016,SC2086 # the inner shell expands; what is empty is no word
    setsid sh -euc 'for group in '"$(hierarchies | tr '\n' ' ')"'; do echo 0 >"$group/'$name'/cgroup.procs"; done; exec "$@"' sh \
        env SYSTEMD_NSPAWN_API_VFS_WRITABLE=1 systemd-nspawn --quiet --boot --directory="$1/$name" --machine=$name --hostname=$name \
        --register=no --keep-unit --network-namespace-path=/run/netns/$name --resolv-conf=off --timezone=off --link-journal=no --console=read-only \
        --capability=all --system-call-filter="@keyring bpf @mount @module @raw-io @reboot @swap @cpu-emulation @debug @obsolete perf_event_open" \
        --bind=/dev/kmsg $modules $legacy >"$1/$name.log" 2>&1 </dev/null &
}

up() {
    dir=$1 key=$2 i=0
    shift 2
    network
    for suite; do
        i=$((i + 1))
        root=$dir/$ns-$i
        cp -a "$dir/base-$suite" "$root"
        ssh-keygen -q -A -f "$root"
        chroot "$root" useradd --create-home --shell /bin/bash alex
        echo 'alex ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/alex"
        mkdir -m 0700 "$root/home/alex/.ssh"
        cp "$key" "$root/home/alex/.ssh/authorized_keys"
        chroot "$root" chown -R alex:alex /home/alex/.ssh
        echo 'PermitRootLogin no' >"$root/etc/ssh/sshd_config.d/site.conf"
        echo "127.0.0.1 localhost $ns-$i" >"$root/etc/hosts"
        boot "$dir" "$i"
    done
}

down() {
    for attempt in $(seq 100); do
        left=
        for group in $(hierarchies); do
            for dir in "$group"/$ns-[0-9]*; do
                [ -d "$dir" ] || continue
                left=yes
                find "$dir" -name cgroup.procs -exec cat {} + 2>/dev/null | while read -r pid; do kill -9 "$pid" 2>/dev/null || :; done
                find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null || :
            done
        done
        [ -n "$left" ] || break
        [ "$attempt" -lt 100 ] || { echo "processes of the machines do not end" >&2; exit 1; }
        sleep 0.3
    done
    for machine in /run/netns/$ns-[0-9]*; do
        [ -e "$machine" ] || continue
        name=${machine##*/}
        ip netns delete "$name" || :
        rm -rf "/run/systemd/nspawn/propagate/$name" "/run/systemd/nspawn/unix-export/$name" "/run/systemd/nspawn/locks/"*"$name"*
    done
    ip link delete $ns 2>/dev/null || :
    ip netns delete $ns 2>/dev/null || :
    awk -v dir="$1/" 'index($2, dir) == 1 {print $2}' /proc/self/mounts | sort -r | while read -r where; do umount -l "$where"; done
    rm -rf --one-file-system "$1"
}

"$@"
