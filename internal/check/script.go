package check

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
)

//go:embed machine.sh
var machineScript string

// scriptInput returns the assignments of the variables in machineScript.
func scriptInput(ports []layout.Port) string {
	var numbers []string
	for _, p := range ports {
		numbers = append(numbers, strconv.Itoa(p.Number))
	}
	var text strings.Builder
	for name, values := range map[string][]string{
		"PORTS":          numbers,
		"API_NAME":       {layout.APIName},
		"DISK_DIRS":      {layout.ProgramsDir, layout.ContainerdDir, layout.KubeletDir, layout.EtcdDir, layout.StateDir, layout.SnapshotsDir},
		"PROGRAMS":       {layout.ProgramsDir},
		"CONTAINERD":     {layout.ContainerdDir},
		"KUBELET_CONFIG": {layout.RoleLink(layout.RoleKubelet) + "/etc/" + layout.KubeletConfigName},
		"CPU_STATE":      {layout.CPUManagerState},
		"MEMORY_STATE":   {layout.MemoryManagerState},
		"CERTIFICATES":   {layout.PKIDir + "/*.crt", layout.PKIDir + "/etcd/*.crt", layout.KubeletClientCertificate, layout.KubeletServingCertificate},
		"KUBECONFIGS":    {layout.KubernetesDir + "/*.conf", layout.ConfigDir + "/*.conf"},
	} {
		fmt.Fprintf(&text, "%s=%s\n", name, machine.Quote(strings.Join(values, " ")))
	}
	return text.String()
}

// machineFacts is what a machine reports about itself.
type machineFacts struct {
	// Its clock is ahead of the clock of this host by at least Behind and at most Ahead.
	Behind, Ahead time.Duration

	Disks           []disk
	MemoryTotal     int64 // bytes
	MemoryAvailable int64
	ControlPlaneRSS int64            // of the running API server and etcd
	Swap            map[string]int64 // device → bytes
	CgroupVersion   int
	Controllers     []string
	Kernel          map[string]bool
	Filesystem      string // of the containerd directory
	ListenersKnown  bool
	Listeners       []listener
	KubeletConfig   []byte
	CPUState        []byte
	MemoryState     []byte
	Certificates    map[string][]byte // file → PEM
	Names           []lookup
}

// disk is the file system of a directory.
type disk struct {
	Dir, Mount string
	Size, Free int64
	Inodes     int64 // 0 if the file system has no count
	FreeInodes int64
}

type listener struct {
	Address string
	Port    int
	Where   string // "host", "pod", or "unknown" without a visible process
	Program string
}

type lookup struct {
	Name    string
	Took    time.Duration
	Address string // empty if there is none
}

// readMachine runs machineScript on a machine.
func readMachine(ctx context.Context, host machine.Host, ports []layout.Port) (machineFacts, error) {
	started := time.Now()
	out, err := host.Run(ctx, machine.Command{Script: scriptInput(ports) + machineScript})
	if err != nil {
		return machineFacts{}, fmt.Errorf("observe machine %s: %w", host.Name(), err)
	}
	f, err := parseMachine(out.Stdout, started, time.Now())
	if err != nil {
		return f, fmt.Errorf("observe machine %s: %w", host.Name(), err)
	}
	return f, nil
}

// parseMachine parses what machineScript printed between two moments. It ignores
// unknown facts.
func parseMachine(text string, started, ended time.Time) (machineFacts, error) {
	f := machineFacts{Swap: map[string]int64{}, Kernel: map[string]bool{}, Certificates: map[string][]byte{}}
	complete := false
	for line := range strings.Lines(text) {
		w := &words{list: strings.Fields(line)}
		switch key := w.next(); key {
		case "began":
			f.Ahead = w.ahead(started)
		case "ended":
			complete = true
			f.Behind = w.ahead(ended)
		default:
			f.set(key, w)
		}
		if w.err != nil {
			return f, fmt.Errorf("line %q: %w", line, w.err)
		}
	}
	if !complete {
		return f, errors.New("incomplete output")
	}
	return f, nil
}

func (f *machineFacts) set(key string, w *words) {
	switch key {
	case "disk":
		f.Disks = append(f.Disks, disk{w.next(), w.next(), w.number(), w.number(), w.number(), w.number()})
	case "partial-copy":
		f.addFree(layout.ProgramsDir, w.number())
	case "memory-total":
		f.MemoryTotal = w.number() << 10
	case "memory-available":
		f.MemoryAvailable = w.number() << 10
	case "rss":
		w.next() // unit
		f.ControlPlaneRSS += w.number() << 10
	case "swap":
		f.Swap[w.next()] = w.number() << 10
	case "cgroup":
		f.CgroupVersion, f.Controllers = int(w.number()), w.list
	case "kernel":
		f.Kernel[w.next()] = w.next() == "yes"
	case "containerd-filesystem":
		f.Filesystem = w.next()
	case "listeners":
		f.ListenersKnown = true
	case "listen":
		address := w.next()
		i := strings.LastIndexByte(address, ':')
		port := &words{list: []string{address[i+1:]}}
		f.Listeners = append(f.Listeners, listener{address[:max(i, 0)], int(port.number()), w.next(), w.next()})
		w.fail(port.err)
	case "name":
		f.Names = append(f.Names, lookup{w.next(), time.Duration(w.number()) * time.Millisecond, w.next()})
	case "certificate":
		file, data := w.next(), w.base64()
		if block, _ := pem.Decode(data); block == nil {
			w.fail(errors.New("no certificate"))
		}
		f.Certificates[file] = data
	case "kubelet-config":
		f.KubeletConfig = w.base64()
	case "cpu-manager-state":
		f.CPUState = w.base64()
	case "memory-manager-state":
		f.MemoryState = w.base64()
	}
}

// addFree adds free space to the file system of a directory.
func (f *machineFacts) addFree(dir string, bytes int64) {
	i := slices.IndexFunc(f.Disks, func(d disk) bool { return d.Dir == dir })
	for j := range f.Disks {
		if i >= 0 && f.Disks[j].Mount == f.Disks[i].Mount {
			f.Disks[j].Free += bytes
		}
	}
}

// words are the remaining words of a line, and the first error.
type words struct {
	list []string
	err  error
}

func (w *words) fail(err error) { w.err = cmp.Or(w.err, err) }

// next returns the next word; empty if there is none.
func (w *words) next() string {
	if len(w.list) == 0 {
		return ""
	}
	word := w.list[0]
	w.list = w.list[1:]
	return word
}

// number returns the next number. Programs print a dash for what they do not count.
func (w *words) number() int64 {
	word := w.next()
	if word == "-" {
		return 0
	}
	n, err := strconv.ParseInt(word, 10, 64)
	w.fail(err)
	return n
}

func (w *words) base64() []byte {
	data, err := base64.StdEncoding.DecodeString(w.next())
	w.fail(err)
	return data
}

// ahead reads the clock of the machine, and returns how far it is ahead of a moment
// of this host. The machine read its clock after started and before ended, so the
// clock is ahead by at most the first result and at least the last one.
func (w *words) ahead(of time.Time) time.Duration {
	seconds, nanos, _ := strings.Cut(w.next(), ".")
	clock := &words{list: []string{seconds, (nanos + "000000000")[:9]}}
	moment := time.Unix(clock.number(), clock.number())
	w.fail(clock.err)
	return moment.Sub(of)
}
