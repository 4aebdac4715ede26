//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/test/chaos"
)

// TestUpgrade is the product in one test: a cluster of release v0.9 with jobs
// on it becomes v0.10, once undisturbed and once killed at every step, and the
// containers of the jobs are the same.
func TestUpgrade(t *testing.T) {
	var undisturbed chaos.State // nil where the first part is not run
	t.Run("under a running job", func(t *testing.T) { undisturbed = upgradeUnderARunningJob(t) })
	t.Run("killed at every step", func(t *testing.T) { upgradeKilledAtEveryStep(t, undisturbed) })
}

// upgradeStory is one cluster on its way from v0.9 to v0.10, and what its
// chapters keep for later ones.
type upgradeStory struct {
	*operator
	containers []container       // of the jobs, before the upgrade
	devices    map[string]string // by the pod that holds it
	configured map[string]string // the configuration of v0.9, by file
	savedPlan  string
	upgrade    operation // as recorded
	end        chaos.State
}

// upgradeUnderARunningJob returns the state in which the upgrade ends.
func upgradeUnderARunningJob(t *testing.T) chaos.State {
	s := &upgradeStory{operator: newOperator(t, "upgrade")}
	s.savedPlan = filepath.Join(t.TempDir(), "plan.json")
	for _, chapter := range []struct {
		name      string
		run       func(*upgradeStory)
		essential bool // no later chapter makes sense after its failure
	}{
		{"boot v0.9", (*upgradeStory).boot, true},
		{"boot again changes nothing", (*upgradeStory).bootAgain, false},
		{"submit jobs", (*upgradeStory).submitJobs, true},
		{"clean refuses while jobs run", (*upgradeStory).refuseClean, false},
		{"the plan names the jobs", (*upgradeStory).planNamesJobs, false},
		{"checks find faults by name", (*upgradeStory).checksFindFaults, false},
		{"the plan shows what changes, and is saved", (*upgradeStory).savePlan, true},
		{"apply the saved plan", (*upgradeStory).applySavedPlan, true},
		{"the configuration has the schema of the new release", (*upgradeStory).configurationUpgraded, false},
		{"the jobs did not notice", (*upgradeStory).jobsUntouched, false},
		{"a job holds its device through the replacement of the kubelet", (*upgradeStory).deviceKept, false},
		{"the state is kept for comparison", (*upgradeStory).keepState, false},
		{"two operators share the configuration", (*upgradeStory).sharing, false},
		{"the saved plan is not applied twice", (*upgradeStory).savedPlanIsOutdated, false},
		{"a second apply has nothing to do", (*upgradeStory).applyAgain, false},
		{"the log of the job grows", (*upgradeStory).logGrows, false},
		{"roll back", (*upgradeStory).rollBack, false},
		{"a stopped job ends and stays on record", (*upgradeStory).stopJobs, false},
		{"clean and boot bring the same cluster back", (*upgradeStory).cleanAndBoot, false},
		{"the guide", (*upgradeStory).guide, false},
	} {
		ok := s.part(chapter.name, func(o *operator) {
			outer := s.operator
			s.operator = o
			defer func() { s.operator = outer }()
			chapter.run(s)
		})
		if !ok && chapter.essential {
			t.FailNow()
		}
	}
	return s.end
}

func (s *upgradeStory) boot() {
	s.buildBundle("v0.9", "v0.10")
	s.run(10*time.Minute, "up", "--release", "v0.9", "--yes")
}

func (s *upgradeStory) bootAgain() {
	var p struct{ Steps []any }
	s.json(&p, "cluster", "k8s-bootup", "--dry-run")
	if len(p.Steps) != 0 {
		s.t.Errorf("a boot of what runs has steps: %v", p.Steps)
	}
}

func (s *upgradeStory) submitJobs() {
	s.startDevicePlugin("pai-1", "2")
	s.submit("examples/train.yaml", 2)
	s.submit("test/e2e/testdata/device.yaml", 3)
	s.containers, s.devices = s.jobContainers(), s.deviceHolders("pai-1")
	if len(s.devices) != 1 {
		s.t.Fatalf("got devices %v, want one that one pod holds", s.devices)
	}
}

func (s *upgradeStory) refuseClean() {
	s.refused(3, "cluster", "k8s-clean", "--yes")
	s.wantContainers(s.containers)
}

func (s *upgradeStory) planNamesJobs() {
	out := s.run(2*time.Minute, "upgrade", "plan", "--to", "v0.10")
	for _, want := range []string{"schema-2", "v0.9-pai → v0.10-pai", "v0.9 → v0.10", "kubelet", "train"} {
		if !strings.Contains(out, want) {
			s.t.Errorf("the plan does not say %q:\n%s", want, out)
		}
	}
}

func (s *upgradeStory) savePlan() {
	s.configured = s.configuration("config")
	out := s.run(3*time.Minute, "upgrade", "plan", "--to", "v0.10", "--diff", "--save", s.savedPlan)
	for _, want := range []string{
		"program etcd", "~ version: v3.6.8 → v3.6.16", // a program of a machine
		"Deployment pai-system/rest-server (its pods are replaced)", "+ spec.template.spec.containers[rest-server].args[]: --users=entries",
	} {
		if !strings.Contains(out, want) {
			s.t.Errorf("the difference does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "cannot be compared") {
		s.t.Errorf("something cannot be compared:\n%s", out)
	}
	if left := s.on("pai-1", "ls /opt/pai"); strings.Contains(left, "v0.10") {
		s.t.Errorf("planning brought something to the machine: %s", left)
	}
	if keys := s.userKeys(); !slices.Equal(keys, []string{"users.json"}) {
		s.t.Errorf("got users of v0.9 as %v, want users.json", keys)
	}
}

func (s *upgradeStory) applySavedPlan() {
	stream := s.run(10*time.Minute, "upgrade", "apply", "--plan", s.savedPlan, "--skip-check", "pod-owners", "--yes", "-o", "json")
	s.upgrade = s.lastOperation()
	s.part("the stream of events ends with the record", func(o *operator) { checkStream(o.t, stream) })
	if keys := s.userKeys(); len(keys) == 0 || slices.Contains(keys, "users.json") {
		s.t.Errorf("got users %v, want them migrated", keys)
	}
	op := s.upgrade
	if op.From.Kubernetes != "v0.9-pai" || op.To.Kubernetes != "v0.10-pai" || op.From.Services != "v0.9" || op.To.Services != "v0.10" {
		s.t.Errorf("recorded: from %v to %v", op.From, op.To)
	}
	if !slices.Equal(op.SkippedChecks, []string{"pod-owners"}) {
		s.t.Errorf("recorded as skipped checks: %q", op.SkippedChecks)
	}
	if v := s.kubectl("version -o json"); !strings.Contains(v, `"gitVersion": "v1.36.3"`) {
		s.t.Errorf("the API server is not v1.36.3: %s", v)
	}
}

func (s *upgradeStory) configurationUpgraded() {
	if _, old := s.configured["cluster-configuration.yaml"]; !old {
		s.t.Errorf("got configuration %v of v0.9", s.configured)
	}
	if now := s.configuration("config"); len(now) != 3 || !strings.Contains(now["layout.yaml"], "schema-version: 2") {
		s.t.Errorf("got configuration %v", now)
	}
	if kept := s.configuration("config.former-1"); !reflect.DeepEqual(kept, s.configured) {
		s.t.Errorf("got kept files %v, want %v", kept, s.configured)
	}
	s.run(time.Minute, "config", "check")
}

func (s *upgradeStory) jobsUntouched() {
	s.wantContainers(s.containers)
	op := s.upgrade
	if op.Outcome != "succeeded" || op.Jobs.Before != 2 || op.Jobs.After != 2 || op.Jobs.Interrupted == nil || len(op.Jobs.Interrupted) != 0 {
		s.t.Errorf("report: %+v", op)
	}
	if n := s.runningJobs(); n != 2 {
		s.t.Errorf("got %d running jobs, want 2", n)
	}
	s.t.Logf("API unavailable: %.2f s for new connections (longest %.2f s), %.2f s for kept ones (longest %.2f s)",
		op.API.OutageSeconds, op.API.LongestGapSeconds, op.API.Kept.OutageSeconds, op.API.Kept.LongestGapSeconds)
}

func (s *upgradeStory) deviceKept() { s.devicesAreKept("pai-1", s.devices) }

func (s *upgradeStory) keepState() {
	var err error
	if s.end, err = s.chaosCluster().TakeState(context.Background(), 1); err != nil {
		s.t.Error(err)
	}
}

func (s *upgradeStory) savedPlanIsOutdated() {
	err := s.refused(3, "upgrade", "apply", "--plan", s.savedPlan, "--yes")
	for _, want := range []string{"Kubernetes was v0.9-pai and is v0.10-pai", "machine pai-1: kubelet was v0.9-pai and is v0.10-pai",
		"steps are no longer needed", "nothing was changed"} {
		if !strings.Contains(err.Error(), want) {
			s.t.Errorf("the refusal does not say %q: %v", want, err)
		}
	}
}

func (s *upgradeStory) applyAgain() {
	s.run(2*time.Minute, "upgrade", "apply", "--to", "v0.10", "--yes")
	if again := s.lastOperation(); again.ID != s.upgrade.ID {
		s.t.Errorf("an operation was recorded although nothing was done: %+v", again)
	}
}

func (s *upgradeStory) logGrows() {
	lines := func() int { return strings.Count(s.run(time.Minute, "job", "logs", "train"), "\n") }
	first := lines()
	s.eventually(30*time.Second, "the log grows", func() (bool, string) {
		now := lines()
		return now > first, fmt.Sprintf("%d lines", now)
	})
}

func (s *upgradeStory) stopJobs() {
	s.run(time.Minute, "job", "stop", "device")
	s.run(time.Minute, "job", "stop", "train")
	s.eventually(time.Minute, "the job is stopped", func() (bool, string) {
		out := s.run(time.Minute, "job", "show", "train", "-o", "json")
		return strings.Contains(out, `"STOPPED"`), out
	})
}

func (s *upgradeStory) cleanAndBoot() {
	uid := s.kubectl("get namespace kube-system -o jsonpath={.metadata.uid}")
	s.run(5*time.Minute, "cluster", "k8s-clean", "--yes")
	s.run(5*time.Minute, "cluster", "k8s-bootup", "--yes")
	if now := s.kubectl("get namespace kube-system -o jsonpath={.metadata.uid}"); now != uid {
		s.t.Errorf("got cluster %s back, want %s", now, uid)
	}
}
