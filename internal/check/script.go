package check

import (
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

// parseMachine parses what machineScript printed between two moments.
func parseMachine(text string, started, ended time.Time) (machineFacts, error) {
	f := machineFacts{Swap: map[string]int64{}, Kernel: map[string]bool{}, Certificates: map[string][]byte{}}
	complete := false
	for line := range strings.Lines(text) {
		key, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		words := strings.Fields(rest)
		var err error
		switch {
		case key == "began" && len(words) == 1:
			f.Ahead, err = since(words[0], started)
		case key == "ended" && len(words) == 1:
			complete = true
			f.Behind, err = since(words[0], ended)
		default:
			err = f.set(key, words)
		}
		if err != nil {
			return f, fmt.Errorf("line %q: %w", line, err)
		}
	}
	if !complete {
		return f, errors.New("incomplete output")
	}
	return f, nil
}

// since returns how far the clock of a machine is ahead of a moment of this host.
// The machine read its clock after started and before ended, so its clock is ahead
// by at most the first result and at least the last one.
func since(clock string, moment time.Time) (time.Duration, error) {
	seconds, nanos, _ := strings.Cut(clock, ".")
	s, errSeconds := strconv.ParseInt(seconds, 10, 64)
	n, errNanos := strconv.ParseInt((nanos + "000000000")[:9], 10, 64)
	return time.Unix(s, n).Sub(moment), errors.Join(errSeconds, errNanos)
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

// set records one fact. It ignores unknown facts.
func (f *machineFacts) set(key string, w []string) error {
	switch {
	case key == "disk" && len(w) == 6:
		d := disk{Dir: w[0], Mount: w[1]}
		err := numbers(w[2:], &d.Size, &d.Free, &d.Inodes, &d.FreeInodes)
		f.Disks = append(f.Disks, d)
		return err
	case key == "partial-copy" && len(w) == 1:
		var n int64
		err := numbers(w, &n)
		f.addFree(layout.ProgramsDir, n)
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
		return f.setFile(key, w)
	}
	return nil
}

// setFile records the content of a file.
func (f *machineFacts) setFile(key string, w []string) error {
	if key == "certificate" && len(w) == 2 {
		data, err := base64.StdEncoding.DecodeString(w[1])
		if block, _ := pem.Decode(data); err == nil && block == nil {
			err = errors.New("no certificate")
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

// numbers parses the output of df. A dash means that the file system has no count.
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
