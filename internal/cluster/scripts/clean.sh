# Removes Kubernetes from this machine. It can run again after an interruption.

# Stop the units first, then what they started.
for u in kubelet kube-proxy network scheduler controller-manager api-proxy apiserver-a apiserver-b etcd-a etcd-b; do
    systemctl --no-reload disable -q "pai-$u.service" 2>/dev/null || :
    systemctl stop "pai-$u.service" 2>/dev/null || :
done

containers() {
    find /sys/fs/cgroup -path '*kubepods*' -name cgroup.procs -exec cat {} + 2>/dev/null | sort -un | grep -v '^0$' || :
}
end() { containers | while read -r pid; do kill "-$1" "$pid" 2>/dev/null || :; done; }
end TERM
for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ -n "$(containers)" ] || break
    sleep 0.2
done
end KILL

# Remove the sandboxes and containers from containerd, which would treat them as
# running when it starts again.
ctr=/opt/pai/role/containerd/bin/ctr
if [ -x "$ctr" ] && systemctl is-active -q pai-containerd.service; then
    for t in $("$ctr" -n k8s.io tasks ls -q); do
        timeout 10 "$ctr" -n k8s.io tasks rm -f "$t" >/dev/null 2>&1 || :
    done
    for t in $("$ctr" -n k8s.io containers ls -q); do
        timeout 10 "$ctr" -n k8s.io containers rm "$t" >/dev/null 2>&1 || :
    done
fi
systemctl --no-reload disable -q pai-containerd.service 2>/dev/null || :
systemctl stop pai-containerd.service 2>/dev/null || :
for exe in /proc/[0-9]*/exe; do
    case $(readlink "$exe" || :) in
    /opt/pai/*/bin/*) kill -KILL "$(basename "$(dirname "$exe")")" 2>/dev/null || : ;;
    esac
done
systemctl reset-failed 'pai-*' 2>/dev/null || :

# Mounts of pods and containers, innermost first.
awk '$2 ~ "^(/var/lib/kubelet|/run/containerd|/run/netns/cni-)" { print $2 }' /proc/mounts | sort -r | while read -r m; do
    umount -l "$m" 2>/dev/null || :
done
rm -f /run/netns/cni-*

# What was set in the kernel.
ip link delete pai0 2>/dev/null || :
ip link delete flannel.1 2>/dev/null || :
for table in "ip kube-proxy" "ip6 kube-proxy" "ip flannel-ipv4" "ip6 flannel-ipv6" "inet cni_hostport"; do
    nft delete table $table 2>/dev/null || :
done
if [ -s /var/lib/pai/network/routes ]; then
    sed -n 's/.*"pods": "\([^"]*\)".*/\1/p' /var/lib/pai/network/routes | while read -r pods; do
        ip route delete "$pods" 2>/dev/null || :
    done
fi
find /sys/fs/cgroup -depth -type d -path '*kubepods*' -exec rmdir {} \; 2>/dev/null || :

# Files. kubelet's identity, etcd's data, certificates and keys stay.
rm -rf /opt/pai/role /run/containerd /run/pai /var/lib/cni /var/lib/pai/network /run/flannel
rm -f /etc/cni/net.d/10-pai.conflist /etc/pai/api-proxy.json /etc/pai/kube-proxy.conf /etc/pai/network.conf
rm -f /etc/kubernetes/bootstrap-kubelet.conf
find /var/lib/kubelet -mindepth 1 -maxdepth 1 ! -name pki -exec rm -rf {} + 2>/dev/null || :

for u in pai-prepare pai-shutdown; do
    systemctl --no-reload disable -q "$u.service" 2>/dev/null || :
    systemctl stop "$u.service" 2>/dev/null || :
done
rm -f /etc/systemd/system/pai-* /etc/systemd/system/multi-user.target.wants/pai-*
systemctl daemon-reload
