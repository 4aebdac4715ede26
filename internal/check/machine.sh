# Prints everything that the checks observe on a machine, one fact per line. It
# changes nothing. Keys never leave the machine: of a file with a key, it prints only
# the certificates. script.go sets the variables in capital letters.

say() { printf '%s %s\n' "$1" "$2"; }
say began "$(date +%s.%N)"

# Lookups can take long. The script waits for them at the end.
scratch=${SCRATCH:-$(mktemp -d)}
mkdir -p -m 0700 "$scratch"
trap 'rm -rf "$scratch"' EXIT
names=$scratch/names
lookup() {
    before=$(date +%s%N); code=0
    address=$(timeout 3 getent ahostsv4 "$1" | { read -r a _ || :; echo "${a:-}"; }) || code=$?
    printf 'name %s %s %s\n' "$1" $(( ($(date +%s%N) - before) / 1000000 )) "$address" >> "$names"
}
lookup "$API_NAME" &
lookup "$(hostname)" &
lookup "pai-check-$$.pai.internal" &

for d in $DISK_DIRS; do
    p=$d
    while [ ! -e "$p" ]; do p=$(dirname "$p"); done
    say disk "$d $(df -B1 --output=target,size,avail,itotal,iavail "$p" | tail -n 1)"
done
# The next copy first deletes what an interrupted copy left.
say partial-copy "$(du -scB1 "$PROGRAMS"/*.new 2>/dev/null | awk 'END { printf "%.0f", $1 }')"
awk '$1 == "MemTotal:" { print "memory-total", $2 } $1 == "MemAvailable:" { print "memory-available", $2 }' /proc/meminfo
for u in etcd-a etcd-b apiserver-a apiserver-b; do
    pid=$(systemctl show -p MainPID --value "pai-$u.service" 2>/dev/null || echo 0)
    [ "${pid:-0}" = 0 ] || awk -v u="$u" '$1 == "VmRSS:" { print "rss", u, $2 }' "/proc/$pid/status" 2>/dev/null || :
done
tail -n +2 /proc/swaps | awk '{ print "swap", $1, $3 }'
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then say cgroup "2 $(cat /sys/fs/cgroup/cgroup.controllers)"
else say cgroup "1 $(awk '$4 == 1 { printf "%s ", $1 }' /proc/cgroups)"; fi

has() { key=$1; shift; if "$@" >/dev/null 2>&1; then say kernel "$key yes"; else say kernel "$key no"; fi; }
has overlay grep -qw overlay /proc/filesystems
has nftables nft list tables
has bridge-nf test -e /proc/sys/net/bridge/bridge-nf-call-iptables
has vxlan sh -c 'test -d /sys/module/vxlan || modprobe -n vxlan || grep -q /vxlan.ko "/lib/modules/$(uname -r)/modules.builtin"'
has forwarding grep -qx 1 /proc/sys/net/ipv4/ip_forward
say containerd-filesystem "$(p=$CONTAINERD; [ -e "$p" ] || p=${p%/*}; stat -f -c %T "$p")"

if command -v ss >/dev/null; then
    say listeners known
    ss -Hltnp | while read -r _ _ _ local _ users; do
        case " $PORTS " in *" ${local##*:} "*) ;; *) continue;; esac
        pid=${users#*pid=}; pid=${pid%%,*}; exe=-; where=unknown
        case "$users" in *pid=*)
            exe=$(readlink "/proc/$pid/exe" || echo -)
            where=host
            if grep -qs kubepods "/proc/$pid/cgroup"; then where=pod; fi;;
        esac
        say listen "$local $where $exe"
    done
fi

file() { [ ! -e "$2" ] || say "$1" "$(base64 -w0 "$2")"; }
file kubelet-config "$KUBELET_CONFIG"
file cpu-manager-state "$CPU_STATE"
file memory-manager-state "$MEMORY_STATE"

for f in $CERTIFICATES; do
    [ -e "$f" ] || continue
    c=$(sed -n '/BEGIN CERT/,/END CERT/p' "$f" | base64 -w0)
    [ -z "$c" ] || say certificate "$f $c"
done
for f in $KUBECONFIGS; do
    c=$(sed -n 's/^ *client-certificate-data: *//p' "$f" 2>/dev/null || :)
    [ -z "$c" ] || say certificate "$f $c"
done
wait
cat "$names"
say ended "$(date +%s.%N)"
