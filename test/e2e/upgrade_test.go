//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/test/chaos"
)

// TestUpgrade is the product in one test: a cluster of the older release, booted
// by the paictl of that release, with jobs on it becomes the newer one, once
// undisturbed and once killed at every step, and the containers of the jobs are
// the same.
func TestUpgrade(t *testing.T) {
	var undisturbed chaos.State // nil where the first part is not run
	t.Run("under a running job", func(t *testing.T) { undisturbed = upgradeUnderARunningJob(t) })
	t.Run("killed at every step", func(t *testing.T) { upgradeKilledAtEveryStep(t, undisturbed) })
}

// upgradeStory is one cluster on its way from the older release to the newer, and what its
// chapters keep for later ones.
type upgradeStory struct {
	*operator
	containers []container       // of the jobs, before the upgrade
	devices    map[string]string // by the pod that holds it
	savedPlan  string
	older      string    // paictl of the older release
	upgrade    operation // as recorded
	user       createdUser
	end        chaos.State
	stopClient func(*testing.T)
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
		{"boot the older release with its own paictl", (*upgradeStory).boot, true},
		{"a boot records what the older paictl applied, and the next changes nothing", (*upgradeStory).bootAgain, false},
		{"submit jobs", (*upgradeStory).submitJobs, true},
		{"a client polls the REST server", (*upgradeStory).startPolling, false},
		{"clean refuses while jobs run", (*upgradeStory).refuseClean, false},
		{"the plan names the jobs", (*upgradeStory).planNamesJobs, false},
		{"checks find faults by name", (*upgradeStory).checksFindFaults, false},
		{"the plan shows what changes, and is saved", (*upgradeStory).savePlan, true},
		{"apply the saved plan", (*upgradeStory).applySavedPlan, true},
		{"the jobs did not notice", (*upgradeStory).jobsUntouched, false},
		{"a job holds its device through the replacement of the kubelet", (*upgradeStory).deviceKept, false},
		{"the state is kept for comparison", (*upgradeStory).keepState, false},
		{"two operators share the configuration", (*upgradeStory).sharing, false},
		{"Prometheus has all rules, and what they read", (*upgradeStory).rulesWork, false},
		{"the saved plan is not applied twice", (*upgradeStory).savedPlanIsOutdated, false},
		{"a second apply has nothing to do", (*upgradeStory).applyAgain, false},
		{"the older paictl refuses the cluster", (*upgradeStory).olderPaictlRefuses, false},
		{"the log of the job grows", (*upgradeStory).logGrows, false},
		{"no request of the client failed", (*upgradeStory).stopPolling, false},
		{"users of the newer release", (*upgradeStory).newerUsers, false},
		{"nothing alerted", (*upgradeStory).noAlert, false},
		{"roll back", (*upgradeStory).rollBack, false},
		{"the older paictl operates again if nothing newer is left", (*upgradeStory).olderPaictlAfterRollback, false},
		{"users lived through the rollbacks, and the next upgrade gives them their rights back", (*upgradeStory).usersLive, false},
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
	s.older = s.bootFrozen(older)
}

func (s *upgradeStory) bootAgain() {
	steps := func() (ids []string) {
		var p struct{ Steps []struct{ ID string } }
		s.json(&p, "cluster", "k8s-bootup", "--dry-run")
		for _, step := range p.Steps {
			ids = append(ids, step.ID)
		}
		return ids
	}
	// The older paictl brought no program that renews certificates, and nothing says
	// which objects it applied. The machine has no machine-type, so no label is missing.
	phase := "kubernetes/" + olderKubernetes + "/"
	want := []string{phase + "cluster/bootstrap", phase + "cluster/dns", phase + "machine/pai-1/prepare"}
	if got := slices.Sorted(slices.Values(steps())); !slices.Equal(got, want) {
		s.t.Errorf("a boot of what the older paictl booted has steps %v, want %v", got, want)
	}
	s.run(5*time.Minute, "cluster", "k8s-bootup", "--yes")
	if got := steps(); len(got) != 0 {
		s.t.Errorf("a boot of what runs has steps: %v", got)
	}
}

func (s *upgradeStory) submitJobs() {
	s.startDevicePlugin("pai-1", "2")
	s.submit("examples/train.yaml", 2)
	s.submitAs(haltedJob, "examples/train.yaml")
	s.submit("test/e2e/testdata/device.yaml", 5)
	s.submit("test/e2e/testdata/fails.yaml", 6)
	s.containers, s.devices = s.jobContainers(), s.deviceHolders("pai-1")
	if len(s.devices) != 1 {
		s.t.Fatalf("got devices %v, want one that one pod holds", s.devices)
	}
}

func (s *upgradeStory) startPolling() { s.stopClient = s.startClient() }

func (s *upgradeStory) stopPolling() {
	if s.stopClient == nil {
		s.t.Fatal("no client polls")
	}
	s.stopClient(s.t)
}

func (s *upgradeStory) refuseClean() {
	s.refused(3, "cluster", "k8s-clean", "--yes")
	s.wantContainers(s.containers)
}

func (s *upgradeStory) planNamesJobs() {
	out := s.run(2*time.Minute, "upgrade", "plan", "--to", newer)
	for _, want := range []string{olderKubernetes + " → " + newerKubernetes, older + " → " + newer, "kubelet", "train"} {
		if !strings.Contains(out, want) {
			s.t.Errorf("the plan does not say %q:\n%s", want, out)
		}
	}
}

func (s *upgradeStory) savePlan() {
	out := s.run(3*time.Minute, "upgrade", "plan", "--to", newer, "--diff", "--save", s.savedPlan)
	for _, want := range []string{
		"program etcd", "~ version: v3.6.16 → v3.7.3", // a program of a machine
		"Deployment pai-system/rest-server (its pods are replaced)", "image: pai.local/rest-server:" + older + " → pai.local/rest-server:" + newer,
	} {
		if !strings.Contains(out, want) {
			s.t.Errorf("the difference does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "cannot be compared") {
		s.t.Errorf("something cannot be compared:\n%s", out)
	}
	if left := s.on("pai-1", "ls /opt/pai"); strings.Contains(left, newer) {
		s.t.Errorf("planning brought something to the machine: %s", left)
	}
}

func (s *upgradeStory) applySavedPlan() {
	admitted := s.admissions()
	maps.DeleteFunc(admitted, func(workload, _ string) bool { return strings.Contains(workload, "-"+failingJob+"-") }) // it ends meanwhile
	stream := s.applyWhileATaskFails("--plan", s.savedPlan, "--skip-check", "pod-owners")
	s.upgrade = s.lastOperation()
	s.part("the stream of events ends with the record", func(o *operator) { checkStream(o.t, stream) })
	op := s.upgrade
	if op.From.Kubernetes != olderKubernetes || op.To.Kubernetes != newerKubernetes || op.From.Services != older || op.To.Services != newer {
		s.t.Errorf("recorded: from %v to %v", op.From, op.To)
	}
	if !slices.Equal(op.SkippedChecks, []string{"pod-owners"}) {
		s.t.Errorf("recorded as skipped checks: %q", op.SkippedChecks)
	}
	if v := s.serverVersion(); v != newerUpstream {
		s.t.Errorf("the API server is %s, not %s", v, newerUpstream)
	}
	for _, err := range chaos.ChangedAdmissions(admitted, s.admissions()) {
		s.t.Error(err)
	}
}

// admissions are what Kueue stores of each job.
func (s *upgradeStory) admissions() map[string]string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	found, err := s.chaosCluster().Admissions(ctx)
	if err != nil || len(found) == 0 {
		s.t.Fatalf("found %d workloads, %v", len(found), err)
	}
	return found
}

func (s *upgradeStory) jobsUntouched() {
	s.containers = slices.DeleteFunc(s.containers, func(c container) bool { return c.Job == failingJob })
	s.wantContainers(s.containers)
	op := s.upgrade
	if op.Outcome != "succeeded" || op.Jobs.Before != 4 || op.Jobs.After != 3 || op.Jobs.Interrupted == nil || len(op.Jobs.Interrupted) != 0 || len(op.Jobs.Unknown) != 0 {
		s.t.Errorf("report: %+v", op)
	}
	if f := op.Jobs.Failed; len(f) != 1 || f[0].Job != "admin~"+failingJob || !strings.Contains(f[0].Cause, "exit code 1") {
		s.t.Errorf("reported as failed by itself: %+v, want the task of job %s", f, failingJob)
	}
	s.hasState(failingJob, "FAILED")
	s.wantPublished(op.ID, "admin~train", "admin~device", "admin~"+haltedJob, "admin~"+failingJob)
	if n := s.runningJobs(); n != op.Jobs.After {
		s.t.Errorf("got %d running jobs, want those of the report", n)
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
	for _, want := range []string{"Kubernetes was " + olderKubernetes + " and is " + newerKubernetes, "machine pai-1: kubelet was " + olderKubernetes + " and is " + newerKubernetes,
		"steps are no longer needed", "nothing was changed"} {
		if !strings.Contains(err.Error(), want) {
			s.t.Errorf("the refusal does not say %q: %v", want, err)
		}
	}
}

func (s *upgradeStory) applyAgain() {
	s.run(2*time.Minute, "upgrade", "apply", "--to", newer, "--yes")
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
