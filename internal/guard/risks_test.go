package guard

import (
	"errors"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

func TestRiskNames(t *testing.T) {
	t.Parallel()
	for name, valid := range map[string]bool{
		AcceptInterrupt: true, AcceptLoss: true, AcceptStrand: true, AcceptEvict("gpu-01"): true, AcceptInterruptJob("ada~train"): true, AcceptLose("gpu-01"): true,
		"evict-jobs:": false, "lose-machine:": false, "interrupt-job:": false, "interrupt-job:train": false, "interrupt-job:~train": false, "interrupt-job:ada~": false,
		"interrupt-job:ada~a b": false, "interrupt-job": false, "interrupt-jobs:ada~train": false, "everything": false, "": false,
	} {
		err := validateRisks([]string{name})
		if (err == nil) != valid {
			t.Errorf("%q: got %v, want valid %v", name, err, valid)
		}
		if err != nil && (pai.CodeOf(err) != pai.CodeUsage || !strings.Contains(pai.NextOf(err), "interrupt-job:USER~NAME")) {
			t.Errorf("%q: got %v, want a usage error that lists the risks", name, err)
		}
	}
}

// The interruption of one job is accepted by its name, and only of that job.
func TestInterruptionOfOneJobIsAccepted(t *testing.T) {
	t.Parallel()
	job := func(name string) pai.Job {
		return pai.Job{JobRef: pai.JobRef{User: "ada", Name: name}, Pods: []pai.Pod{{Machine: "gpu-01", Containers: []pai.Container{{State: pai.ContainerRunning}}}}}
	}
	step := plan.Step{ID: "services/v2/storage", Kind: plan.KindService, Target: "storage"}
	facts := Facts{Jobs: Known([]pai.Job{job("train"), job("eval")})}
	train, eval := AcceptInterruptJob("ada~train"), AcceptInterruptJob("ada~eval")
	for name, test := range map[string]struct {
		facts    Facts
		accepted []string
		want     Verdict
	}{
		"each by name":     {facts, []string{eval, train}, Go},
		"one of two":       {facts, []string{train}, Refuse},
		"all at once":      {facts, []string{AcceptInterrupt}, Go},
		"another user's":   {facts, []string{AcceptInterruptJob("bob~train"), AcceptInterruptJob("bob~eval")}, Refuse},
		"jobs are unknown": {Facts{Jobs: Unknown[[]pai.Job](errors.New("no API"))}, []string{eval, train}, Refuse},
	} {
		if got := Decide(step, pai.RiskDataPath, test.facts, test.accepted); got.Verdict != test.want {
			t.Errorf("%s: got %+v, want %s", name, got, test.want)
		}
	}
}

func TestReach(t *testing.T) {
	t.Parallel()
	everywhere, here, nowhere := Reach{Everywhere: true}, Reach{Machine: "gpu-01"}, Reach{}
	role := func(r plan.Role, risk pai.Risk) plan.Step {
		return plan.Step{Kind: plan.KindRole, Role: r, Target: "gpu-01", Risk: risk}
	}
	on := func(k plan.Kind, target string, risk pai.Risk) plan.Step {
		return plan.Step{Kind: k, Target: target, Risk: risk}
	}
	for name, test := range map[string]struct {
		step plan.Step
		want Reach
	}{
		"kubelet":                   {on(plan.KindKubelet, "gpu-01", pai.RiskNode), here},
		"kubelet of no machine":     {on(plan.KindKubelet, "", pai.RiskNode), everywhere},
		"runtime":                   {role(plan.RoleRuntime, pai.RiskNode), here},
		"runtime of a bare machine": {role(plan.RoleRuntime, pai.RiskNone), nowhere},
		"network":                   {role(plan.RoleNetwork, pai.RiskNone), here},
		"service proxy":             {role(plan.RoleKubeProxy, pai.RiskNone), here},
		"scheduler":                 {role(plan.RoleScheduler, pai.RiskAPI), nowhere},
		"API server handover":       {on(plan.KindAPIServer, "", pai.RiskAPI), nowhere},
		"etcd handover":             {on(plan.KindEtcd, "", pai.RiskAPI), nowhere},
		"restore of etcd":           {on(plan.KindRestore, "", pai.RiskAPI), everywhere},
		"images":                    {on(plan.KindImages, "gpu-01", pai.RiskNone), nowhere},
		"eviction":                  {on(plan.KindClean, "gpu-01", pai.RiskEviction), here},
		"clean of an idle machine":  {on(plan.KindClean, "gpu-01", pai.RiskNone), here},
		"service on data path":      {on(plan.KindService, "storage", pai.RiskNone), everywhere},
		"unknown service":           {on(plan.KindService, "other", pai.RiskNone), everywhere},
		"service of submission":     {on(plan.KindService, "kueue", pai.RiskNone), nowhere},
		"service without impact":    {on(plan.KindRefresh, "metrics", pai.RiskNone), nowhere},
		"unknown risk":              {on(plan.KindImages, "gpu-01", "new"), everywhere},
	} {
		g := Guard{impacts: map[string]pai.JobImpact{"storage": "data-path", "kueue": pai.ImpactSubmission, "metrics": pai.ImpactNone}}
		if got := g.Reach(test.step); got != test.want {
			t.Errorf("%s: got %+v, want %+v", name, got, test.want)
		}
	}
}
