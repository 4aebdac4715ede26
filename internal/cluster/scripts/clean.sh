# Removes Kubernetes from this machine. It can run again after an interruption.

# Look first for what could not be removed afterwards.
blockers=$(
    for dir in /etc/kubernetes /var/lib/kubelet /var/lib/etcd /var/lib/containerd; do
        [ -e "$dir" ] || blocker "$dir"
    done
    {
        made /var/lib/kubelet
        [ -z "$wipe" ] || wiped
    } | while read -r path; do
        blocker "$path" '/(pods/[^/]+|plugins/kubernetes\.io|tmpmounts)/'
    done
)
[ -z "$blockers" ] || { printf 'nothing was changed: %s\n' "$blockers" >&2; exit 1; }

# Stop the units first, then what they started.
SYSTEMD_OFFLINE=1 systemctl disable -q pai-scheduled-backup.timer 2>/dev/null || :
systemctl stop pai-scheduled-backup.timer pai-scheduled-backup.service 2>/dev/null || :
for u in certificates kubelet kube-proxy network gpu scheduler controller-manager api-proxy apiserver-a apiserver-b etcd-a etcd-b; do
    SYSTEMD_OFFLINE=1 systemctl disable -q "pai-$u.service" 2>/dev/null || :
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
SYSTEMD_OFFLINE=1 systemctl disable -q pai-containerd.service 2>/dev/null || :
systemctl stop pai-containerd.service 2>/dev/null || :
for exe in /proc/[0-9]*/exe; do
    case $(readlink "$exe" || :) in
    /opt/pai/*/bin/*) kill -KILL "$(basename "$(dirname "$exe")")" 2>/dev/null || : ;;
    esac
done
systemctl reset-failed 'pai-*' 2>/dev/null || :

# Mounts of pods and containers. What else is mounted is of the operator.
for dir in /var/lib/kubelet/pods /var/lib/kubelet/plugins/kubernetes.io /var/lib/containerd/tmpmounts \
    /run/containerd/io.containerd.runtime.v2.task/k8s.io /run/containerd/io.containerd.grpc.v1.cri; do
    mounts_below "$dir" | while read -r m; do
        umount -l "$m" 2>/dev/null || :
    done
done
umount -l /etc/pai/api-proxy.json 2>/dev/null || : # by a replacement of the proxy that was killed
for netns in /run/netns/cni-*; do
    # Another runtime can use the same prefix; its network has processes.
    [ -e "$netns" ] && [ -z "$(ip netns pids "${netns##*/}" 2>/dev/null)" ] || continue
    umount -l "$netns" 2>/dev/null || :
    rm -f "$netns"
done

# What was set in the kernel.
ip link delete pai0 2>/dev/null || :
ip link delete flannel.1 2>/dev/null || :
ip -4 address flush dev lo label lo:pai 2>/dev/null || : # the API address
for table in "ip kube-proxy" "ip6 kube-proxy" "ip flannel-ipv4" "ip6 flannel-ipv6" "inet cni_hostport" "inet pai-gate" \
    "inet pai-api-pause" "inet pai-tasks" "bridge pai-tasks" "inet pai-connections" "ip pai-anchor"; do
    nft delete table $table 2>/dev/null || :
done
if [ -s /var/lib/pai/network/routes ]; then
    sed -n 's/.*"pods": "\([^"]*\)".*/\1/p' /var/lib/pai/network/routes | while read -r pods; do
        ip route delete "$pods" 2>/dev/null || :
    done
fi
find /sys/fs/cgroup -depth -type d -path '*kubepods*' -exec rmdir {} \; 2>/dev/null || :

# Files. The identity of the kubelet, the data of etcd, certificates, and keys stay.
listed /opt/pai/role | while read -r path; do rm -f "$path"; done
rmdir /opt/pai/role 2>/dev/null || :
rm -rf --one-file-system /run/pai
rm -f /run/cdi/pai-gpu.json
remove /run/containerd/io.containerd.runtime.v2.task/k8s.io /run/containerd/io.containerd.grpc.v1.cri
shared=
for exe in /proc/[0-9]*/exe; do
    case $(readlink "$exe" || :) in */containerd | */containerd-shim*) shared=1 ;; esac
done
[ -n "$shared" ] || [ -n "$(mounts_below /run/containerd)" ] || rm -rf --one-file-system /run/containerd
rm -rf /var/lib/cni/results/pai-* /var/lib/cni/networks/pai /var/lib/pai/network
rmdir /var/lib/cni/results /var/lib/cni/networks /var/lib/cni 2>/dev/null || :
rm -f /run/flannel/subnet.env
rmdir /run/flannel 2>/dev/null || :
rm -f /etc/cni/net.d/10-pai.conflist /etc/pai/gate.nft /etc/pai/api-proxy.json /etc/pai/kube-proxy.conf /etc/pai/network.conf
rm -f /etc/kubernetes/bootstrap-kubelet.conf
made /var/lib/kubelet | while read -r path; do remove "$path"; done

for u in pai-gate pai-prepare pai-shutdown; do
    SYSTEMD_OFFLINE=1 systemctl disable -q "$u.service" 2>/dev/null || :
    systemctl stop "$u.service" 2>/dev/null || :
done
written | xargs -r rm -f
for link in /etc/systemd/system/*.wants/pai-*; do
    [ -e "$link" ] || rm -f "$link"
done
systemctl daemon-reload
