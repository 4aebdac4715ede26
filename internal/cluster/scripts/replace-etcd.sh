#!/bin/sh
# Written by PAI. replace-etcd.sh SLOT VERSION HELPER: restarts the etcd of this machine in
# place with the program of a version, and restores the old one if the new one does not
# serve. It stops nothing unless the other members have a quorum. The API servers of this
# machine stop before, so that no request meets an etcd that starts: their clients use those
# of other machines. They start again, whatever happens.
set -u
exec > /var/lib/pai/replace-etcd.log 2>&1
slot=$1
new=$2
helper=$3
role=etcd-$slot
unit=pai-$role.service
link=/opt/pai/role/$role
old=$(basename "$(readlink "$link")")

%FUNCTIONS%

use() {
    ln -sfn "../$1" "$link.new" && mv -T "$link.new" "$link" && sync /opt/pai/role
}

# An etcd without a leader takes seconds for each answer, so the time is limited, too.
serves() {
    tries=0
    end=$(($(date +%s) + 30))
    while [ "$tries" -lt 150 ] && [ "$(date +%s)" -lt "$end" ]; do
        tries=$((tries + 1))
        pid=$(systemctl show -p MainPID --value "$unit")
        if [ "$(readlink "/proc/$pid/exe")" = "/opt/pai/$1/bin/etcd" ] && timeout 5 "$helper" etcd-serves "$slot" >/dev/null 2>&1; then
            return 0
        fi
        sleep 0.2
    done
    timeout 5 "$helper" etcd-serves "$slot"
    return 1
}

[ -x "/opt/pai/$new/run/$role" ] || { echo "etcd of $new not found"; exit 1; }
can_stop || { echo "etcd was not stopped"; exit 1; }
trap start_apiservers EXIT
trap 'exit 1' HUP INT TERM
stop_apiservers
if systemctl is-active -q "$unit"; then
    "$helper" etcd-move-leader "$slot" || echo "the leadership was not moved; the others elect a leader"
fi
can_stop || { echo "etcd was not stopped"; exit 1; }
SYSTEMD_OFFLINE=1 systemctl enable -q "$unit"
use "$new" && systemctl restart "$unit" && serves "$new" && { echo "etcd of $new serves"; exit 0; }
[ -n "$old" ] && [ "$old" != "$new" ] || exit 1
echo "etcd of $new does not serve; rolling back to $old"
use "$old"
systemctl restart "$unit"
serves "$old"
exit 1
