package guard

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

func TestDrainReachesNoContainer(t *testing.T) {
	t.Parallel()
	if got := reach(drainStep(), pai.RiskNode); got != (Reach{}) {
		t.Errorf("got %+v, want nothing: an eviction leaves a disruption", got)
	}
}

func drainStep() plan.Step {
	return plan.Step{ID: "maintenance/machine/gpu-01/drain", Kind: plan.KindDrain, Target: gpu01, Risk: pai.RiskNode}
}

// A machine is drained when neither it nor the API has anything of a job there.
func TestDrainWaitsForEveryJob(t *testing.T) {
	t.Parallel()
	lost := errors.New("no route to host")
	with := func(change func(f *Facts)) Facts {
		f := busy()
		f.Pods.value[0].Labels[pai.LabelUser] = "ada"
		change(&f)
		return f
	}
	none := func(f *Facts) { f.Containers, f.Jobs = Known([]running.Container(nil)), Known([]pai.Job(nil)) }
	evict, lose := []string{AcceptEvict(gpu01)}, []string{AcceptLose(gpu01)}
	for name, c := range map[string]struct {
		facts    Facts
		accepted []string
		want     Verdict
		jobs     int
		evicts   bool // before the step
		ends     bool // in the step
	}{
		"a job runs":                   {with(func(*Facts) {}), nil, Wait, 1, false, false},
		"a job runs, its end accepted": {with(func(*Facts) {}), evict, Go, 1, true, false},
		"accepted for another machine": {with(func(*Facts) {}), []string{AcceptEvict("gpu-02")}, Wait, 1, false, false},
		"a pod without containers":     {with(none), nil, Wait, 1, false, false},
		"only pods of services":        {with(func(f *Facts) { none(f); delete(f.Pods.value[0].Labels, pai.LabelJob) }), nil, Go, 0, false, false},
		"nothing":                      {with(func(f *Facts) { none(f); f.Pods = Known([]corev1.Pod(nil)) }), nil, Go, 0, false, false},
		"a machine that is off":        {with(func(f *Facts) { f.Containers = Unknown[[]running.Container](lost) }), nil, Refuse, 1, false, false},
		"off, the end accepted":        {with(func(f *Facts) { f.Containers = Unknown[[]running.Container](lost) }), evict, Go, 1, false, true},
		"off, the machine lost":        {with(func(f *Facts) { f.Containers = Unknown[[]running.Container](lost) }), lose, Go, 1, false, true},
		"off, another machine lost":    {with(func(f *Facts) { f.Containers = Unknown[[]running.Container](lost) }), []string{AcceptLose("gpu-02")}, Refuse, 1, false, false},
		"a job runs, not lost":         {with(func(*Facts) {}), lose, Wait, 1, false, false},
		"an API outage, not lost":      {with(func(f *Facts) { none(f); f.Pods = Unknown[[]corev1.Pod](lost) }), lose, Refuse, 0, false, false},
		"an API outage":                {with(func(f *Facts) { none(f); f.Pods = Unknown[[]corev1.Pod](lost) }), nil, Refuse, 0, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := Decide(drainStep(), pai.RiskNode, c.facts, c.accepted)
			if d.Verdict != c.want || len(d.Jobs) != c.jobs || d.NeedsEviction != c.evicts || d.EndsJobs != c.ends || d.NeedsCordon {
				t.Errorf("got %+v, want %s with %d jobs", d, c.want, c.jobs)
			}
			if (d.Verdict != Go) != (d.Next != "") {
				t.Errorf("got verdict %s with the hint %q", d.Verdict, d.Next)
			}
		})
	}
}
