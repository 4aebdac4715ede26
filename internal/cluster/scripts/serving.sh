# Functions of the scripts that stop the etcd or the API servers of this machine. They need slot,
# helper, and unit: the slot of etcd, the helper, and the unit of that etcd.

apiservers=

# An etcd that does not run takes nothing from the others when it starts. Right after the
# leadership moved, a member might not know the new leader yet.
can_stop() {
    tries=0
    while systemctl is-active -q "$unit"; do
        "$helper" etcd-can-stop "$slot" && return 0
        tries=$((tries + 1))
        [ "$tries" -lt 5 ] || return 1
        sleep 0.5
    done
}

# The first signal lets an API server finish its requests, while /readyz reports that it
# stops. Open watches would delay its end by a minute.
stop_apiservers() {
    for s in pai-apiserver-a.service pai-apiserver-b.service; do
        systemctl is-active -q "$s" || continue
        apiservers="$apiservers $s"
        pid=$(systemctl show -p MainPID --value "$s")
        kill -TERM "$pid"
        tries=0
        while [ -d "/proc/$pid" ] && [ "$tries" -lt 25 ]; do
            tries=$((tries + 1))
            sleep 0.2
        done
        systemctl stop "$s"
    done
}

start_apiservers() {
    for s in $apiservers; do
        systemctl start "$s"
    done
}
