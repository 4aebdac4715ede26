package operation

import (
	"context"
	"errors"
	"strings"
	"testing"

	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/runtest"
)

// Without the control-plane machine, which has the record of the cluster, no goal takes the
// cluster for one that was never booted, and no advice deletes it.
func TestGoalsNeedTheControlPlaneMachine(t *testing.T) {
	t.Parallel()
	files := runtest.Dir(t.TempDir())
	s := testSession(t, files, func(context.Context, machine.Command) (machine.Output, error) {
		return machine.Output{}, errors.New("disk full")
	})
	host := s.Hosts["gpu-01"]
	goals := []Goal{Bootup(s), Clean(false), Clean(true), StartServices(s, plan.Choice{}), StopServices(plan.Choice{}), RefreshServices(s, nil),
		DeleteService("kueue", true), Upgrade(plan.Target{Release: "v0.10"}), StageUpgrade(plan.Target{Release: "v0.10"}), Abandon(), rollback{},
		&backupGoal{}, &restoreGoal{}, Maintain("gpu-01"), Return("gpu-01")}
	want := func(what, text string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("%s: got no error", what)
			return
		}
		got := err.Error() + "; " + pai.NextOf(err)
		if !strings.Contains(got, text) || strings.Contains(got, "--delete-data") || strings.Contains(got, "paictl cluster k8s-bootup") {
			t.Errorf("%s: got %q, want %q", what, got, text)
		}
	}
	for _, c := range []struct {
		name, text string
		hosts      map[string]machine.Host
	}{
		{"unreachable", "control-plane machine gpu-01 is unreachable", map[string]machine.Host{}},
		{"not observed", "control-plane machine gpu-01 could not be observed: inspect machine \"gpu-01\"", map[string]machine.Host{"gpu-01": host}},
	} {
		s.Hosts = c.hosts
		for _, g := range goals {
			_, err := Run(t.Context(), s, g, RunOptions{DryRun: true})
			want(c.name+": dry run of "+string(g.Verb()), c.text, err)
		}
		_, err := Run(t.Context(), s, Maintain("gpu-01"), RunOptions{})
		want(c.name+": maintain", c.text, err)
		_, err = PruneMachines(t.Context(), s, nil, true)
		want(c.name+": prune", c.text, err)
		w, err := Observe(t.Context(), s)
		if err != nil || w.APIError == "" || len(w.UnknownUnconfigured()) == 0 && c.name == "unreachable" {
			t.Errorf("%s: got %+v, %v, want the cluster as unknown", c.name, w, err)
		}
	}
}
