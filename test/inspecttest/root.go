package inspecttest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/test/runtest"
)

// Root is the root directory of a made-up machine, with units and programs.
type Root struct {
	t testing.TB
	runtest.Dir
	// Units are the properties of units, by name; others are inactive.
	Units map[string]Unit
	// Programs are the outputs of programs by command line. Others do not exist.
	Programs map[string]string
	// Networks are the addresses of its interfaces.
	Networks []inspect.Network
}

// Unit is a unit as systemd reports it.
type Unit struct {
	State    string
	PID      int
	Reload   bool
	KillMode string
}

// NewRoot makes an empty machine, whose first process has all capabilities.
func NewRoot(t testing.TB) *Root {
	t.Helper()
	r := &Root{t: t, Dir: runtest.Dir(t.TempDir()), Units: map[string]Unit{}, Programs: map[string]string{}}
	r.Write("/proc/1/status", "Name:\tsystemd\nCapEff:\t000001ffffffffff\n")
	r.Write("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n")
	r.Write("/proc/self/mountinfo", "22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n")
	r.Write("/proc/meminfo", "MemTotal: 1048576 kB\n")
	r.Write("/proc/net/route", "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n")
	r.Write("/proc/net/fib_trie", "Local:\n  |-- 127.0.0.1\n     /32 host LOCAL\n")
	return r
}

// Machine is the machine with this root.
func (r *Root) Machine() inspect.Machine {
	return inspect.Machine{Root: string(r.Dir), Run: r.run, Networks: func() ([]inspect.Network, error) { return r.Networks, nil }}
}

// Write writes a file.
func (r *Root) Write(name, content string) {
	r.t.Helper()
	r.make(name, func(path string) error { return os.WriteFile(path, []byte(content), 0o755) })
}

// Link makes a symbolic link, and replaces one.
func (r *Root) Link(name, target string) {
	r.t.Helper()
	r.make(name, func(path string) error {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		return os.Symlink(target, path)
	})
}

func (r *Root) make(name string, do func(path string) error) {
	r.t.Helper()
	path := r.At(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := do(path); err != nil {
		r.t.Fatal(err)
	}
}

// Process makes a process that runs a program.
func (r *Root) Process(pid int, program string, args, environment []string) {
	r.t.Helper()
	proc := "/proc/" + strconv.Itoa(pid)
	r.Link(proc+"/exe", program)
	r.Write(proc+"/cmdline", strings.Join(append([]string{program}, args...), "\x00")+"\x00")
	r.Write(proc+"/environ", strings.Join(environment, "\x00")+"\x00")
}

// run is the seam for programs of the machine.
func (r *Root) run(_ context.Context, name string, args ...string) (string, error) {
	line := strings.Join(append([]string{name}, args...), " ")
	if properties, names, found := strings.Cut(line, " -- "); found && strings.HasPrefix(properties, "systemctl show ") {
		var blocks []string
		for unit := range strings.FieldsSeq(names) {
			u, exists := r.Units[unit]
			if !exists {
				u.State = "inactive"
			}
			reload := map[bool]string{true: "yes", false: "no"}[u.Reload]
			blocks = append(blocks, fmt.Sprintf("MainPID=%d\nKillMode=%s\nId=%s\nActiveState=%s\nNeedDaemonReload=%s\n", u.PID, u.KillMode, unit, u.State, reload))
		}
		return strings.Join(blocks, "\n"), nil
	}
	out, found := r.Programs[line]
	if !found {
		return "", fmt.Errorf("%s: not found", line)
	}
	return out, nil
}
