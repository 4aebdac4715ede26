# Removes the data of PAI from this machine, after clean.sh.
wiped | while read -r path; do remove "$path"; done
listed /opt/pai/helper | while read -r path; do remove "$path"; done
# Directories with files of others, mount points, and links stay.
rmdir /opt/pai/role /opt/pai/helper /opt/pai /etc/pai /etc/kubernetes /var/lib/kubelet /var/lib/etcd /var/lib/containerd /var/log/pai 2>/dev/null || :
[ ! -e /etc/hosts ] || { grep -v '# pai$' /etc/hosts || :; } > /etc/hosts.pai
[ ! -e /etc/hosts.pai ] || cat /etc/hosts.pai > /etc/hosts
rm -f /etc/hosts.pai
rmdir /etc/cni/net.d /etc/cni 2>/dev/null || :
