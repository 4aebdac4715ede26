#!/bin/sh
# Written by PAI. swap-kubelet.sh VERSION: replaces this machine's kubelet in
# place, and takes the old one back when the new one does not come up. Its
# unit is restarted in any case, so that no end of this script leaves it stopped.
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

[ -x "/opt/pai/$new/run/kubelet" ] || { echo "there is no kubelet of $new"; exit 1; }
systemctl --no-reload enable -q pai-kubelet.service
use "$new" && systemctl restart pai-kubelet.service && healthy "$new" && { echo "kubelet of $new runs"; exit 0; }
echo "kubelet of $new did not come up; going back to $old"
[ "$old" != "$new" ] && use "$old"
systemctl restart pai-kubelet.service
exit 1
