# Functions to remove what PAI, Kubernetes, and containerd made. A directory that
# is a mount point or a link stays, empty. $keep has the paths that PAI did not
# write, one per line.

# made DIRECTORY prints what was made in a directory that others can use too.
made() (
    case $1 in
    /var/lib/kubelet) set -- "$1" pods plugins plugins_registry pod-resources device-plugins checkpoints image_manager '*_manager_state' '*_pods_state' .kubelet-keepalive ;;
    /var/lib/kubelet/pki) set -- /var/lib/kubelet pki ;;
    /var/lib/etcd) set -- "$1" a b '[ab].*' ;;
    /var/lib/containerd) set -- "$1" 'io.containerd.*' opt tmpmounts ;;
    /var/log/pai) set -- "$1" 'audit-[ab]*.log' ;;
    /etc/kubernetes) set -- "$1" pki admin.conf super-admin.conf kubelet.conf controller-manager.conf scheduler.conf bootstrap-kubelet.conf manifests tmp ;;
    esac
    cd "$1" 2>/dev/null || exit 0
    dir=$1
    shift
    for name in $*; do
        [ ! -e "$name" ] && [ ! -L "$name" ] || echo "$dir/$name"
    done
)

# listed DIRECTORY [NAME…] prints what is in a directory of PAI, without NAME and
# without what PAI did not write.
listed() (
    dir=$1
    shift
    [ ! -d "$dir" ] || find "$(readlink -f "$dir")" -mindepth 1 -maxdepth 1 | while read -r path; do
        name=${path##*/}
        case " $* lost+found " in *" $name "*) continue ;; esac
        printf '%s\n' "$keep" | grep -qxF -- "$dir/$name" || echo "$dir/$name"
    done
)

# wiped prints what is removed with the data.
wiped() {
    for dir in /etc/kubernetes /var/lib/kubelet /var/lib/kubelet/pki /var/lib/etcd /var/lib/containerd /var/log/pai; do
        made "$dir"
    done
    listed /opt/pai/role
    listed /opt/pai role helper
    listed /etc/pai
    # The lock is held meanwhile, and the journal has who wiped what.
    listed /var/lib/pai lock operations
}

# mounts_below DIRECTORY prints the mount points in a directory, innermost first.
mounts_below() {
    real=$(readlink -f -- "$1") || return 0
    awk -v dir="$real/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | sort -r
}

mounted() {
    real=$(readlink -f -- "$1") || return 1
    awk -v dir="$real" '$5 == dir { found = 1 } END { exit !found }' /proc/self/mountinfo
}

# written prints the units of PAI.
written() {
    grep -lxF '# Written by PAI.' /etc/systemd/system/pai-* 2>/dev/null || :
}

# blocker PATH [PATTERN] prints why a path cannot be removed, if mounts that match
# the pattern are removed before.
blocker() (
    if [ -L "$1" ] && [ ! -e "$1" ]; then
        case $1 in /etc/pai/* | /opt/pai/*) exit 0 ;; esac
        echo "$1 is a link to nothing; mount the disk of $(readlink "$1"), or remove the link"
    elif [ -L "$1" ] && [ -d "$1" ] && [ "$(basename "$(readlink -f "$1")")" != "$(basename "$1")" ]; then
        case $1 in /opt/pai/*) exit 0 ;; esac
        echo "$1 is a link to $(readlink -f "$1"), where other files can be; empty that directory and remove the link"
    else
        inside=$(mounts_below "$1" | grep -vE -- "${2:-^\$}" | head -n 1)
        [ -z "$inside" ] || echo "$inside is a mount point below $1; unmount it"
    fi
)

# remove PATH… removes paths.
remove() (
    for path in "$@"; do
        [ -e "$path" ] || [ -L "$path" ] || continue
        why=$(blocker "$path")
        [ -z "$why" ] || { echo "$why" >&2; exit 1; }
        case $path in /opt/pai/*) link= ;; *) link=$path ;; esac
        if [ -d "$path" ] && { [ -L "$link" ] || mounted "$path"; }; then
            find "$(readlink -f "$path")" -mindepth 1 -maxdepth 1 ! -name lost+found -exec rm -rf --one-file-system -- {} +
        else
            rm -rf --one-file-system -- "$path"
        fi
    done
)

# removed PATH reports whether nothing is left to remove.
removed() {
    [ -d "$1" ] && { [ -L "$1" ] || mounted "$1"; } && [ -z "$(find "$(readlink -f "$1")" -mindepth 1 -maxdepth 1 ! -name lost+found | head -n 1)" ]
}
