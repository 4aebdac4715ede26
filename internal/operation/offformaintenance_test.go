package operation

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/runtest"
	"pai.dev/pai/test/sessiontest"
)

// A machine that is off for its maintenance is left as it is; another one that is
// unreachable is an error, and so is a record that cannot be read.
func TestMachinesOffForMaintenanceAreLeftAlone(t *testing.T) {
	t.Parallel()
	files := runtest.Dir(t.TempDir())
	s := testSession(t, files, nil)
	s.Config.Layout.MachineList = append(s.Config.Layout.MachineList, config.Machine{Hostname: "gpu-02"}, config.Machine{Hostname: "gpu-03"})
	ask := func(context.Context, machine.Host) (inspect.Report, error) { return inspect.Report{}, nil }
	record := func(text string) {
		t.Helper()
		if err := files.WriteFile(t.Context(), layout.MaintenanceFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	each := func() ([]MachineCertificates, error) {
		off, err := OffForMaintenance(t.Context(), s)
		if err != nil {
			return nil, err
		}
		return eachMachine(t.Context(), s, off, ask)
	}
	record(`{"machines":{"gpu-01":{},"gpu-02":{}}}`)
	results, err := each()
	if err == nil || !strings.Contains(err.Error(), "gpu-03") || strings.Contains(err.Error(), "gpu-02") {
		t.Errorf("got %v, want an error of gpu-03 only", err)
	}
	if len(results) != 3 || len(results[0].Problems) > 0 || !slices.Equal(results[1].Problems, []string{leftForMaintenance}) {
		t.Errorf("got %+v", results)
	}
	record(`{"machines":{"gpu-02":{},"gpu-03":{}}}`)
	if _, err := each(); err != nil {
		t.Errorf("got %v, want no error", err)
	}
	record(`{`)
	if _, err := each(); err == nil || !strings.Contains(err.Error(), layout.MaintenanceFile) {
		t.Errorf("got %v, want that the record is damaged", err)
	}
}

// No operation changes a machine in maintenance that is on, except one about that machine.
func TestCertificatesAreNotRenewedDuringAMaintenance(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		goal Goal
		want bool
	}{"of the cluster": {Abandon(), false}, "of the machine": {Return("gpu-02"), true}, "of another machine": {Return("gpu-03"), false}} {
		files, asked := runtest.Dir(t.TempDir()), atomic.Bool{}
		s := testSession(t, files, nil)
		s.Config.Layout.MachineList = append(s.Config.Layout.MachineList, config.Machine{Hostname: "gpu-02"})
		s.Hosts["gpu-02"] = &sessiontest.Host{Hostname: "gpu-02", Files: files, Answer: func(context.Context, machine.Command) (machine.Output, error) {
			asked.Store(true)
			return machine.Output{}, errors.New("no helper")
		}}
		o := newOperation(s, c.goal, RunOptions{})
		o.preview.world = plan.World{Current: pai.Pair{Kubernetes: "v0.10-pai"}, Machines: []plan.MachineState{{Name: "gpu-01", ControlPlane: true}, {Name: "gpu-02", Maintenance: &pai.Maintenance{}}}}
		if err := o.renewDue(t.Context()); err != nil || asked.Load() != c.want {
			t.Errorf("an operation %s: got %v, and gpu-02 asked %v, want %v", name, err, asked.Load(), c.want)
		}
	}
}

// Pods of the services start on a machine that returns, so their images must be there.
func TestReturnNeedsTheBundleOfTheServices(t *testing.T) {
	t.Parallel()
	s := testSession(t, runtest.Dir(t.TempDir()), nil)
	g := &returnGoal{onMachine: onMachine{"gpu-02"}, release: "v0.10"}
	for name, c := range map[string]struct {
		services pai.ServicesVersion
		digests  map[pai.Release]string
		want     string
	}{
		"none run":       {"", nil, ""},
		"bundle there":   {"v0.11", map[pai.Release]string{"v0.11": "sha256:1"}, ""},
		"bundle missing": {"v0.11", map[pai.Release]string{"v0.10": "sha256:1"}, "v0.11"},
	} {
		in := plan.Input{World: plan.World{Current: pai.Pair{Services: c.services}}, Releases: s.Releases, Digests: c.digests}
		err := g.Gather(t.Context(), s, &in)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}
