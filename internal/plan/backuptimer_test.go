package plan

import (
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

// timerSteps are the IDs of the steps for the backup timer.
func timerSteps(steps []Step) []string {
	var ids []string
	for _, s := range steps {
		if s.Kind == KindBackupTimer {
			ids = append(ids, string(s.ID)+" "+strings.Join(s.Differs, ","))
		}
	}
	return ids
}

// The step for the timer comes last, and only if the machine differs from the
// configuration; an upgrade of two hops has it once.
func TestBackupTimerIsPlanned(t *testing.T) {
	t.Parallel()
	for _, differs := range []string{"", TimerMissing, TimerSettings, TimerPermission, TimerUnneeded, TimerUnknown} {
		w := World{ClusterID: "lab", APIReachable: true, Current: pai.Pair{Kubernetes: "v0.11-pai"}, Machines: []MachineState{
			{Name: "head", ControlPlane: true, BackupTimer: differs}, {Name: "gpu-01", BackupTimer: "of no machine with a control plane"}}}
		steps, err := Kubernetes(w, "v0.11-pai", Pins{}, KubernetesOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		if differs != "" {
			want = []string{"kubernetes/v0.11-pai/cluster/backup-timer " + differs}
		}
		if got := timerSteps(steps); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", differs, got, want)
		}
		if differs == "" {
			continue
		}
		last := steps[len(steps)-1]
		if last.Kind != KindBackupTimer || last.Risk != pai.RiskNone {
			t.Errorf("got last %+v, want the timer, which no job notices", last)
		}
		after := (Input{}).After(w, steps)
		if again, err := Kubernetes(after, "v0.11-pai", Pins{}, KubernetesOptions{}); err != nil || len(timerSteps(again)) > 0 {
			t.Errorf("got %v, %v after the steps, want no step for the timer", timerSteps(again), err)
		}
		only, err := Kubernetes(w, "v0.11-pai", Pins{}, KubernetesOptions{Only: map[string]bool{"gpu-01": true}})
		if err != nil || len(timerSteps(only)) > 0 {
			t.Errorf("got %v, %v for one machine, want no step of the control plane", timerSteps(only), err)
		}
	}
}

// A rollback leaves the timer as it is, whatever it is: the machine also backs up the
// older version, and waits while the cluster is between two.
func TestRollbackLeavesTheBackupTimer(t *testing.T) {
	t.Parallel()
	in := withSnapshot(running(twoReleases(), "v0.10", "cp-01", "gpu-01"))
	for i := range in.World.Machines {
		in.World.Machines[i].BackupTimer = TimerSettings
	}
	p, err := Rollback(in, nine, Target{})
	if err != nil {
		t.Fatal(err)
	}
	if got := timerSteps(p.Steps); len(got) > 0 || len(p.Steps) == 0 {
		t.Errorf("got %v among %d steps, want none for the timer", got, len(p.Steps))
	}
}

// A backup names the bundles that a restore needs, and each once.
func TestReleasesOfVersions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kubernetes pai.KubernetesVersion
		services   pai.ServicesVersion
		want       []pai.Release
	}{
		{"v0.10-pai", "v0.10", []pai.Release{"v0.10"}},
		{"v0.10-pai", "v0.9", []pai.Release{"v0.9", "v0.10"}},
		{"v0.9-pai", "", []pai.Release{"v0.9"}},
		{"v0.12-pai", "v0.12", nil},
	} {
		if got := ReleasesOf(twoReleases(), c.kubernetes, c.services); !slices.Equal(got, c.want) {
			t.Errorf("%s, %s: got %v, want %v", c.kubernetes, c.services, got, c.want)
		}
	}
}
