package guard_test

import (
	"context"
	"fmt"

	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// A machine with a running job waits for a step that has no rules for running
// containers, until the operator accepts that its jobs are evicted.
func ExampleDecide() {
	step := plan.Step{ID: "kubernetes/v0.10-pai/machine/gpu-01/prepare", Kind: plan.KindPrepare, Target: "gpu-01"}
	job := pai.Job{JobRef: pai.JobRef{User: "ada", Name: "train"},
		Pods: []pai.Pod{{Machine: "gpu-01", Containers: []pai.Container{{State: pai.ContainerRunning}}}}}
	facts := guard.Facts{
		Jobs:       guard.Known([]pai.Job{job}),
		Containers: guard.Known([]running.Container{{ID: "1f0c", Namespace: pai.VirtualClusterNamespacePrefix + "default"}}),
	}

	d := guard.Decide(step, pai.RiskNode, facts, nil)
	fmt.Println(d.Verdict, d.Jobs)

	d = guard.Decide(step, pai.RiskNode, facts, []string{guard.AcceptEvict("gpu-01")})
	fmt.Println(d.Verdict, "needs eviction:", d.NeedsEviction)

	facts.Containers = guard.Known([]running.Container(nil))
	d = guard.Decide(step, pai.RiskNode, facts, nil)
	fmt.Println(d.Verdict, "needs cordon:", d.NeedsCordon)
	// Output:
	// wait [ada~train]
	// go needs eviction: true
	// go needs cordon: true
}

// A fact that could not be observed counts as unsafe.
func ExampleDecide_unknown() {
	step := plan.Step{ID: "services/v0.10/storage", Kind: plan.KindService, Target: "storage"}
	facts := guard.Facts{Jobs: guard.Unknown[[]pai.Job](fmt.Errorf("reach the API: connection refused"))}
	fmt.Println(guard.Decide(step, pai.RiskDataPath, facts, nil).Err(step))
	// Output:
	// step services/v0.10/storage refused: running jobs read or write through storage, and the running jobs are unknown: reach the API: connection refused
}

// The preview of a plan lists the running jobs that each step can affect.
func ExampleImpacts() {
	job := pai.Job{JobRef: pai.JobRef{User: "ada", Name: "train"},
		Pods: []pai.Pod{{Machine: "gpu-01", Containers: []pai.Container{{State: pai.ContainerRunning}}}}}
	steps := []plan.Step{
		{ID: "apiserver", Kind: plan.KindAPIServer, Risk: pai.RiskAPI},
		{ID: "gpu-01/kubelet", Kind: plan.KindKubelet, Target: "gpu-01", Risk: pai.RiskNode},
		{ID: "gpu-02/kubelet", Kind: plan.KindKubelet, Target: "gpu-02", Risk: pai.RiskNode},
		{ID: "storage", Kind: plan.KindService, Target: "storage", Risk: pai.RiskNone},
	}
	impacts := map[string]pai.JobImpact{"storage": pai.ImpactDataPath}
	found := guard.Impacts(steps, plan.World{Jobs: []pai.Job{job}}, impacts)
	for _, s := range steps {
		fmt.Println(s.ID, found[s.ID])
	}
	// Output:
	// apiserver []
	// gpu-01/kubelet [ada~train]
	// gpu-02/kubelet []
	// storage [ada~train]
}

// noFacts cannot observe anything.
type noFacts struct{ guard.FactSource }

func (noFacts) Jobs(context.Context) guard.Fact[[]pai.Job] {
	return guard.Unknown[[]pai.Job](fmt.Errorf("no route to host"))
}

// New refuses the name of an unknown risk. Check observes only the facts that a
// step needs.
func ExampleGuard_Check() {
	_, err := guard.New(noFacts{}, nil, []string{"everything"})
	fmt.Println(err)

	g, err := guard.New(noFacts{}, map[string]pai.JobImpact{"metrics": pai.ImpactNone, "storage": pai.ImpactDataPath}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, service := range []string{"metrics", "storage"} {
		err := g.Check(context.Background(), plan.Step{ID: plan.StepID(service), Kind: plan.KindStop, Target: service, Risk: pai.RiskNone})
		fmt.Println(service, err)
	}
	// Output:
	// "everything" is not a risk
	// metrics <nil>
	// storage step storage refused: running jobs read or write through storage, and the running jobs are unknown: no route to host
}
