#!/bin/sh
# Written by PAI. stop-serving.sh SLOT HELPER: stops the API servers, the controllers, and the etcd
# of this machine, which then do not start at its next boot. It stops nothing unless the other
# members have a quorum. If they have none when the turn of etcd comes, what was stopped starts again.
set -u
exec > /var/lib/pai/stop-serving.log 2>&1
slot=$1
helper=$2
unit=pai-etcd-$slot.service
controllers=

%FUNCTIONS%

stop_controllers() {
    for s in pai-controller-manager.service pai-scheduler.service; do
        systemctl is-active -q "$s" || continue
        controllers="$controllers $s"
        systemctl stop "$s"
    done
}

start_again() {
    start_apiservers
    for s in $controllers; do
        systemctl start "$s"
    done
}

can_stop || { echo "nothing was stopped"; exit 1; }
trap start_again EXIT
trap 'exit 1' HUP INT TERM
stop_apiservers
stop_controllers
if systemctl is-active -q "$unit"; then
    "$helper" etcd-move-leader "$slot" || echo "the leadership was not moved; the others elect a leader"
fi
can_stop || { echo "etcd was not stopped"; exit 1; }
systemctl stop "$unit"
trap - EXIT HUP INT TERM
for s in apiserver-a apiserver-b controller-manager scheduler etcd-a etcd-b; do
    SYSTEMD_OFFLINE=1 systemctl disable -q "pai-$s.service"
    systemctl reset-failed "pai-$s.service" 2>/dev/null || :
done
[ ! -d /etc/systemd/system/multi-user.target.wants ] || sync /etc/systemd/system/multi-user.target.wants
echo "the control plane of this machine is stopped"
