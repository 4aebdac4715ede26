package cluster

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/test/inspecttest"
)

// A machine that lost its disk, or that joins, must not stand for a cluster that runs on others.
func TestSeedIsAMachineThatHasTheCluster(t *testing.T) {
	t.Parallel()
	const off, unread = "off", "cannot be read"
	for name, c := range map[string]struct {
		machines [3]string // what each has
		want     string
		err      string
	}{
		"before a first boot":                       {[3]string{"", "", ""}, "cp-1", ""},
		"all run":                                   {[3]string{runsAPIServer, runsAPIServer, runsAPIServer}, "cp-1", ""},
		"the first lost its disk":                   {[3]string{"", runsAPIServer, runsAPIServer}, "cp-2", ""},
		"the first joins":                           {[3]string{hasEtcdData, runsAPIServer, hasEtcdData}, "cp-2", ""},
		"the first has stopped":                     {[3]string{hasAPIServer, hasEtcdData, runsAPIServer}, "cp-3", ""},
		"the first is off":                          {[3]string{off, hasAPIServer, ""}, "cp-2", ""},
		"after a clean":                             {[3]string{"", hasEtcdData, ""}, "cp-2", ""},
		"the first is off, the others have nothing": {[3]string{off, "", ""}, "cp-1", ""},
		"one cannot be read":                        {[3]string{unread, runsAPIServer, ""}, "cp-2", ""},
		"none is known to have it":                  {[3]string{unread, "", ""}, "", "look for the cluster on control-plane machine"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, hosts := &config.Config{}, map[string]machine.Host{}
			for i, has := range c.machines {
				m := config.Machine{Hostname: []string{"cp-1", "cp-2", "cp-3"}[i], Role: config.RoleControlPlane}
				cfg.Layout.MachineList = append(cfg.Layout.MachineList, m)
				switch has {
				case off:
				case unread:
					h := inspecttest.NewHost(t, m.Hostname)
					h.Script = func(context.Context, machine.Command) (string, error) { return "", errors.New("no answer") }
					hosts[m.Hostname] = h
				default:
					hosts[m.Hostname] = machineOf(t, m.Hostname, has)
				}
			}
			got, err := Seed(t.Context(), cfg, hosts)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %q, %v, want %q", got.Hostname, err, c.err)
				}
				return
			}
			if err != nil || got.Hostname != c.want {
				t.Errorf("got %q, %v, want %q", got.Hostname, err, c.want)
			}
		})
	}
}

// A single control-plane machine is not asked.
func TestSingleControlPlaneIsTheSeed(t *testing.T) {
	t.Parallel()
	cfg := &config.Config{}
	cfg.Layout.MachineList = []config.Machine{{Hostname: "gpu-1", Role: config.RoleWorker}, {Hostname: "cp-1", Role: config.RoleControlPlane}}
	h := inspecttest.NewHost(t, "cp-1")
	if got, err := Seed(t.Context(), cfg, map[string]machine.Host{"cp-1": h}); err != nil || got.Hostname != "cp-1" || len(h.Scripts) > 0 {
		t.Errorf("got %q, %v after the scripts %q", got.Hostname, err, h.Scripts)
	}
}

// machineOf is a machine whose scripts run below its root, with a systemctl that reports
// whether its API server runs.
func machineOf(t *testing.T, name, has string) *inspecttest.Host {
	t.Helper()
	h := inspecttest.NewHost(t, name)
	active := "false"
	switch has {
	case runsAPIServer:
		active = "true"
	case hasAPIServer:
		h.Link(layout.RoleLink(layout.RoleAPIServerB), "../v0.11-pai")
		h.Write(layout.SlotA.EtcdDatabase(), "data")
	case hasEtcdData:
		h.Write(layout.SlotA.EtcdDatabase(), "data")
	}
	h.Script = func(ctx context.Context, c machine.Command) (string, error) {
		script := "systemctl() { " + active + "; }\n" + ownPath.ReplaceAllString(c.Script, "${1}"+string(h.Dir)+"/$2/")
		out, err := exec.CommandContext(ctx, "sh", "-euc", script).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	return h
}
