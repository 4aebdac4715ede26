#!/bin/sh
# Written by PAI. Run at every boot by pai-prepare.service, and once when it is written.
set -eu

# Kernel modules and settings. A kernel that has a module built in has no file for it.
for module in overlay br_netfilter vxlan nf_tables nft_chain_nat; do
    modprobe -q "$module" 2>/dev/null || :
done
set_kernel() {
    [ -e "$1" ] || return 0
    [ "$(cat "$1")" = "$2" ] || echo "$2" > "$1" || { echo "cannot set $1 to $2" >&2; return 1; }
}
set_kernel /proc/sys/net/ipv4/ip_forward 1
set_kernel /proc/sys/net/bridge/bridge-nf-call-iptables 1
set_kernel /proc/sys/net/bridge/bridge-nf-call-ip6tables 1

mkdir -p /opt/pai/role /var/lib/pai /etc/cni/net.d /var/lib/kubelet
chmod 0700 /var/lib/pai

# Host names: PAI's lines end in "# pai"; the others are left alone.
{ grep -v '# pai$' /etc/hosts 2>/dev/null || :; cat <<'HOSTS'
127.0.0.1 api.pai.internal # pai
10.225.166.11 pai-1 # pai
HOSTS
} > /etc/pai/hosts.new
cmp -s /etc/pai/hosts.new /etc/hosts || cat /etc/pai/hosts.new > /etc/hosts
rm -f /etc/pai/hosts.new

# The resolver that pods get: one that is reachable from them, or an empty one.
: > /etc/pai/resolv.empty
resolver=/etc/pai/resolv.empty
for file in /run/systemd/resolve/resolv.conf /etc/resolv.conf; do
    if grep -Eq '^nameserver[[:space:]]' "$file" 2>/dev/null && ! grep -Eq '^nameserver[[:space:]]+(127\.|::1)' "$file"; then
        resolver=$file
        break
    fi
done
ln -sfn "$resolver" /etc/pai/resolv.conf.new
mv -T /etc/pai/resolv.conf.new /etc/pai/resolv.conf
