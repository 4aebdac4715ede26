package check

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
)

// diskFolders are the directories whose file systems are looked at.
const diskFolders = layout.ProgramsDir + " " + layout.ContainerdDir + " " + layout.KubeletDir + " " + layout.EtcdDir + " " +
	layout.StateDir + " " + layout.SnapshotsDir

// machineScript says everything that the checks want to know of a machine, a
// line per fact, in one go. It changes nothing. Keys never leave the machine:
// of a file with a key in it only the certificates are printed.
//
// $PORTS are the ports that are looked at.
const machineScript = `
say() { printf '%s %s\n' "$1" "$2"; }
say began "$(date +%s.%N)"

# Look-ups may take long, and are waited for at the end.
scratch=${SCRATCH:-$(mktemp -d)}
mkdir -p -m 0700 "$scratch"
trap 'rm -rf "$scratch"' EXIT
names=$scratch/names
lookup() {
    before=$(date +%s%N); code=0
    address=$(timeout 3 getent ahostsv4 "$1" | { read -r a _ || :; echo "${a:-}"; }) || code=$?
    printf 'name %s %s %s\n' "$1" $(( ($(date +%s%N) - before) / 1000000 )) "$address" >> "$names"
}
lookup ` + layout.APIName + ` &
lookup "$(hostname)" &
lookup "pai-check-$$.pai.internal" &

for d in ` + diskFolders + `; do
    p=$d
    while [ ! -e "$p" ]; do p=$(dirname "$p"); done
    say disk "$d $(df -B1 --output=target,size,avail,itotal,iavail "$p" | tail -n 1)"
done
# What is left of a copy that was cut off goes before the next one.
say cut-copy "$(du -scB1 ` + layout.ProgramsDir + `/*.new 2>/dev/null | awk 'END { printf "%.0f", $1 }')"
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
say containerd-filesystem "$(p=` + layout.ContainerdDir + `; [ -e "$p" ] || p=/var/lib; stat -f -c %T "$p")"

if command -v ss >/dev/null; then
    say listeners known
    ss -Hltnp | while read -r _ _ _ local _ users; do
        case " $PORTS " in *" ${local##*:} "*) ;; *) continue;; esac
        pid=${users#*pid=}; pid=${pid%%,*}; exe=-; where=nobody
        case "$users" in *pid=*)
            exe=$(readlink "/proc/$pid/exe" || echo -)
            where=host
            if grep -qs kubepods "/proc/$pid/cgroup"; then where=pod; fi;;
        esac
        say listen "$local $where $exe"
    done
fi

file() { [ ! -e "$2" ] || say "$1" "$(base64 -w0 "$2")"; }
file kubelet-config ` + layout.RolesDir + "/" + string(layout.RoleKubelet) + "/etc/" + layout.KubeletConfigName + `
file cpu-manager-state ` + layout.CPUManagerState + `
file memory-manager-state ` + layout.MemoryManagerState + `

for f in ` + layout.PKIDir + `/*.crt ` + layout.PKIDir + `/etcd/*.crt ` + layout.KubeletClientCertificate + " " + layout.KubeletServingCertificate + `; do
    [ -e "$f" ] || continue
    say certificate "$f $(sed -n '/BEGIN CERT/,/END CERT/p' "$f" | base64 -w0)"
done
for f in ` + layout.KubernetesDir + `/*.conf ` + layout.ConfigDir + `/*.conf; do
    c=$(sed -n 's/^ *client-certificate-data: *//p' "$f" 2>/dev/null || :)
    [ -z "$c" ] || say certificate "$f $c"
done
wait
cat "$names"
say ended "$(date +%s.%N)"
`

// machineFacts is what a machine says of itself.
type machineFacts struct {
	// Its clock is ahead of ours by something between Behind and Ahead.
	Behind, Ahead time.Duration

	Disks           []disk
	MemoryTotal     int64 // bytes
	MemoryAvailable int64
	ControlPlaneRSS int64            // of the API server and etcd that run
	Swap            map[string]int64 // device → bytes
	CgroupVersion   int
	Controllers     []string
	Kernel          map[string]bool
	Filesystem      string // of containerd's folder
	ListenersKnown  bool
	Listeners       []listener
	KubeletConfig   []byte
	CPUState        []byte
	MemoryState     []byte
	Certificates    map[string][]byte // file → PEM
	Names           []lookup
}

// disk is the file system that a folder is on.
type disk struct {
	Folder, Mount string
	Size, Free    int64
	Inodes        int64 // 0 where the file system does not count them
	FreeInodes    int64
}

type listener struct {
	Address string
	Port    int
	Where   string // "host", "pod", or "nobody" where no process is seen
	Program string
}

type lookup struct {
	Name    string
	Took    time.Duration
	Address string // empty where there is none
}

// readMachine asks a machine once for everything.
func readMachine(ctx context.Context, host machine.Host, ports []layout.Port) (machineFacts, error) {
	var list []string
	for _, p := range ports {
		list = append(list, strconv.Itoa(p.Number))
	}
	asked := time.Now()
	out, err := host.Run(ctx, machine.Command{Script: "PORTS=" + machine.Quote(strings.Join(list, " ")) + machineScript})
	if err != nil {
		return machineFacts{}, fmt.Errorf("look at machine %s: %w", host.Name(), err)
	}
	f, err := parseMachine(out.Stdout, asked, time.Now())
	if err != nil {
		return f, fmt.Errorf("look at machine %s: %w", host.Name(), err)
	}
	return f, nil
}

// parseMachine reads what machineScript printed between two moments.
func parseMachine(text string, asked, answered time.Time) (machineFacts, error) {
	f := machineFacts{Swap: map[string]int64{}, Kernel: map[string]bool{}, Certificates: map[string][]byte{}}
	ended := false
	for line := range strings.Lines(text) {
		key, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		words := strings.Fields(rest)
		var err error
		switch {
		case key == "began" && len(words) == 1:
			f.Ahead, err = since(words[0], asked)
		case key == "ended" && len(words) == 1:
			ended = true
			f.Behind, err = since(words[0], answered)
		default:
			err = f.take(key, words)
		}
		if err != nil {
			return f, fmt.Errorf("it says %q: %w", line, err)
		}
	}
	if !ended {
		return f, fmt.Errorf("it did not say everything")
	}
	return f, nil
}

// since is how far a machine's clock is ahead of a moment of ours. The machine
// read its clock after asked and before answered, so its clock is ahead of ours
// by at most what the first says, and at least what the last says.
func since(clock string, moment time.Time) (time.Duration, error) {
	seconds, nanos, _ := strings.Cut(clock, ".")
	s, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt((nanos + "000000000")[:9], 10, 64)
	if err != nil {
		return 0, err
	}
	return time.Unix(s, n).Sub(moment), nil
}

// willBeFree adds to the room of the file system that a folder is on.
func (f *machineFacts) willBeFree(folder string, bytes int64) {
	i := slices.IndexFunc(f.Disks, func(d disk) bool { return d.Folder == folder })
	if i < 0 {
		return
	}
	mount := f.Disks[i].Mount
	for j := range f.Disks {
		if f.Disks[j].Mount == mount {
			f.Disks[j].Free += bytes
		}
	}
}

// take records one fact. What it does not know it leaves alone.
func (f *machineFacts) take(key string, w []string) error {
	switch {
	case key == "disk" && len(w) == 6:
		d := disk{Folder: w[0], Mount: w[1]}
		err := numbers(w[2:], &d.Size, &d.Free, &d.Inodes, &d.FreeInodes)
		f.Disks = append(f.Disks, d)
		return err
	case key == "cut-copy" && len(w) == 1:
		var n int64
		err := numbers(w, &n)
		f.willBeFree(layout.ProgramsDir, n)
		return err
	case key == "memory-total" && len(w) == 1:
		return kilobytes(w[0], &f.MemoryTotal)
	case key == "memory-available" && len(w) == 1:
		return kilobytes(w[0], &f.MemoryAvailable)
	case key == "rss" && len(w) == 2:
		var n int64
		err := kilobytes(w[1], &n)
		f.ControlPlaneRSS += n
		return err
	case key == "swap" && len(w) == 2:
		var n int64
		err := kilobytes(w[1], &n)
		f.Swap[w[0]] = n
		return err
	case key == "cgroup" && len(w) > 0:
		f.CgroupVersion, f.Controllers = 1, w[1:]
		if w[0] == "2" {
			f.CgroupVersion = 2
		}
	case key == "kernel" && len(w) == 2:
		f.Kernel[w[0]] = w[1] == "yes"
	case key == "containerd-filesystem" && len(w) == 1:
		f.Filesystem = w[0]
	case key == "listeners":
		f.ListenersKnown = true
	case key == "listen" && len(w) == 3:
		i := strings.LastIndexByte(w[0], ':')
		n, err := strconv.Atoi(w[0][i+1:])
		f.Listeners = append(f.Listeners, listener{Address: w[0][:max(i, 0)], Port: n, Where: w[1], Program: w[2]})
		return err
	case key == "name" && len(w) >= 2:
		ms, err := strconv.Atoi(w[1])
		l := lookup{Name: w[0], Took: time.Duration(ms) * time.Millisecond}
		if len(w) > 2 {
			l.Address = w[2]
		}
		f.Names = append(f.Names, l)
		return err
	default:
		return f.takeFile(key, w)
	}
	return nil
}

// takeFile records a fact that is a file's content.
func (f *machineFacts) takeFile(key string, w []string) error {
	if key == "certificate" && len(w) == 2 {
		data, err := base64.StdEncoding.DecodeString(w[1])
		if block, _ := pem.Decode(data); err == nil && block == nil {
			err = fmt.Errorf("no certificate is in it")
		}
		f.Certificates[w[0]] = data
		return err
	}
	into := map[string]*[]byte{"kubelet-config": &f.KubeletConfig, "cpu-manager-state": &f.CPUState, "memory-manager-state": &f.MemoryState}[key]
	if into == nil || len(w) != 1 {
		return nil
	}
	data, err := base64.StdEncoding.DecodeString(w[0])
	*into = data
	return err
}

func kilobytes(word string, into *int64) error {
	n, err := strconv.ParseInt(word, 10, 64)
	*into = n << 10
	return err
}

// numbers reads what df prints; a dash is what a file system does not count.
func numbers(words []string, into ...*int64) error {
	for i, p := range into {
		if words[i] == "-" {
			continue
		}
		n, err := strconv.ParseInt(words[i], 10, 64)
		if err != nil {
			return err
		}
		*p = n
	}
	return nil
}
