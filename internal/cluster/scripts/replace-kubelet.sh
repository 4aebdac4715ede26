#!/bin/sh
# Written by PAI. swap-kubelet.sh VERSION: replaces the kubelet of this machine in
# place, and restores the old one if the new one does not start. The script always
# restarts the unit, so that it never stays stopped.
set -u
exec > /var/lib/pai/swap-kubelet.log 2>&1
new=$1
link=/opt/pai/role/kubelet
old=$(basename "$(readlink "$link")")

use() {
    ln -sfn "../$1" "$link.new" && mv -T "$link.new" "$link"
}
healthy() {
    tries=0
    while [ "$tries" -lt 150 ]; do
        tries=$((tries + 1))
        pid=$(systemctl show -p MainPID --value pai-kubelet.service)
        exe=$(readlink "/proc/$pid/exe")
        if [ "$exe" = "/opt/pai/$1/bin/kubelet" ] && [ "$(ss -Hltn 'sport = :10248' | wc -l)" -gt 0 ]; then
            return 0
        fi
        sleep 0.2
    done
    return 1
}

[ -x "/opt/pai/$new/run/kubelet" ] || { echo "kubelet of $new not found"; exit 1; }
SYSTEMD_OFFLINE=1 systemctl enable -q pai-kubelet.service
use "$new" && systemctl restart pai-kubelet.service && healthy "$new" && { echo "kubelet of $new runs"; exit 0; }
echo "kubelet of $new did not start; rolling back to $old"
[ "$old" != "$new" ] && use "$old"
systemctl restart pai-kubelet.service
exit 1
