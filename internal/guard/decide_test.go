package guard

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

func TestImpact(t *testing.T) {
	t.Parallel()
	ended := pai.Job{JobRef: pai.JobRef{User: "ada", Name: "ended"}, Pods: []pai.Pod{{Machine: gpu01, Containers: []pai.Container{{State: pai.ContainerExited}}}}}
	world := plan.World{APIReachable: true, Jobs: []pai.Job{jobOn("wide", "gpu-02", gpu01), jobOn("far", "gpu-02"), ended}}
	impacts := map[string]pai.JobImpact{"kueue": pai.ImpactSubmission, "storage": pai.ImpactDataPath, "prometheus": pai.ImpactNone}
	service := func(name string, risk pai.Risk) plan.Step {
		return plan.Step{Kind: plan.KindService, Target: name, Risk: risk}
	}
	for name, test := range map[string]struct {
		step plan.Step
		want []string
	}{
		"none":                              {plan.Step{Kind: plan.KindPrograms, Target: gpu01, Risk: pai.RiskNone}, nil},
		"api":                               {plan.Step{Kind: plan.KindAPIServer, Risk: pai.RiskAPI}, nil},
		"node":                              {plan.Step{Kind: plan.KindKubelet, Target: gpu01, Risk: pai.RiskNode}, []string{"ada~wide"}},
		"an idle node":                      {plan.Step{Kind: plan.KindKubelet, Target: "gpu-03", Risk: pai.RiskNode}, nil},
		"eviction":                          {plan.Step{Kind: plan.KindClean, Target: "gpu-02", Risk: pai.RiskEviction}, []string{"ada~far", "ada~wide"}},
		"a node step without a machine":     {plan.Step{Kind: plan.KindKubelet, Risk: pai.RiskNode}, []string{"ada~far", "ada~wide"}},
		"a service that jobs do not notice": {service("prometheus", pai.RiskNone), nil},
		"a service that takes submissions":  {service("kueue", pai.RiskNone), nil},
		"a service on the data path":        {service("storage", pai.RiskDataPath), []string{"ada~far", "ada~wide"}},
		"a plan that forgot the data path":  {service("storage", pai.RiskNone), []string{"ada~far", "ada~wide"}},
		"a service that nobody knows":       {service("surprise", pai.RiskNone), []string{"ada~far", "ada~wide"}},
		"a risk that nobody knows":          {plan.Step{Kind: plan.KindDNS, Risk: "lunar"}, []string{"ada~far", "ada~wide"}},
		"no risk at all":                    {plan.Step{Kind: plan.KindDNS}, []string{"ada~far", "ada~wide"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, ref := range Impact(test.step, world, impacts) {
				got = append(got, ref.String())
			}
			if all := Impacts([]plan.Step{test.step}, world, impacts); !reflect.DeepEqual(all[test.step.ID], Impact(test.step, world, impacts)) {
				t.Errorf("among others it touches %v, alone %v", all, got)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("touches %v, want %v", got, test.want)
			}
		})
	}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	lost := errors.New("no answer")
	idle := Facts{Jobs: Known([]pai.Job(nil)), Containers: Known([]running.Container(nil))}
	with := func(change func(f *Facts)) Facts {
		f := busy()
		change(&f)
		return f
	}
	clean := plan.Step{ID: "clean", Kind: plan.KindClean, Target: gpu01}
	storage := plan.Step{ID: "storage", Kind: plan.KindService, Target: "storage"}
	network := plan.Step{ID: "network", Kind: plan.KindRole, Role: plan.RoleNetwork, Target: gpu01}
	prepare := plan.Step{ID: "prepare", Kind: plan.KindPrepare, Target: gpu01}
	for name, test := range map[string]struct {
		step     plan.Step
		risk     pai.Risk
		facts    Facts
		accepted []string
		want     Verdict
		says     string
	}{
		"no risk":                       {clean, pai.RiskNone, Facts{}, nil, Go, "no running job"},
		"the API may pause":             {clean, pai.RiskAPI, Facts{}, nil, Go, "API may pause"},
		"an idle machine":               {swap(), pai.RiskNode, idle, nil, Go, "no job runs"},
		"an idle machine, the API away": {swap(), pai.RiskNode, Facts{Jobs: Unknown[[]pai.Job](lost), Containers: idle.Containers}, nil, Go, "no job runs"},
		"only services run there":       {prepare, pai.RiskNode, with(func(f *Facts) { f.Containers = Known([]running.Container{{Namespace: pai.SystemNamespace}}) }), nil, Go, "no job runs"},
		"the API shows pods of a machine that was started again": {swap(), pai.RiskNode, with(func(f *Facts) { f.Containers = idle.Containers }), nil, Go, "no job runs"},
		"a container that does not say whose it is":              {prepare, pai.RiskNode, with(func(f *Facts) { f.Containers = Known([]running.Container{{ID: "x"}}) }), nil, Wait, "not known to leave"},
		"a busy machine and a step without a gate":               {prepare, pai.RiskNode, busy(), nil, Wait, "not known to leave running containers alone"},
		"the network's program":                                  {network, pai.RiskNode, busy(), nil, Go, "leaves the running pods' own network"},
		"a machine that cannot be asked":                         {swap(), pai.RiskNode, with(func(f *Facts) { f.Containers = Unknown[[]running.Container](lost) }), nil, Refuse, "which jobs run on gpu-01 is not known: no answer"},
		"containers, and the API away":                           {swap(), pai.RiskNode, with(func(f *Facts) { f.Jobs = Unknown[[]pai.Job](lost) }), nil, Refuse, "cannot say whose"},
		"containers the API forgot":                              {swap(), pai.RiskNode, with(func(f *Facts) { f.Jobs = idle.Jobs }), nil, Refuse, "the API knows of none"},
		"accepted":                                               {prepare, pai.RiskNode, busy(), []string{"evict-jobs:gpu-01"}, Go, "accepted with --accept-risk=evict-jobs:gpu-01, although"},
		"accepted for another machine":                           {prepare, pai.RiskNode, busy(), []string{"evict-jobs:gpu-02"}, Wait, "not known to leave"},
		"another risk was accepted":                              {prepare, pai.RiskNode, busy(), []string{"interrupt-jobs"}, Wait, "not known to leave"},

		"eviction":                      {clean, pai.RiskEviction, busy(), nil, Refuse, "would end the jobs"},
		"eviction of nobody":            {clean, pai.RiskEviction, idle, nil, Go, "no job runs"},
		"eviction, blind":               {clean, pai.RiskEviction, Facts{}, nil, Refuse, "not known: nobody looked"},
		"eviction accepted":             {clean, pai.RiskEviction, busy(), []string{"evict-jobs:gpu-01"}, Go, "accepted"},
		"eviction accepted for another": {clean, pai.RiskEviction, busy(), []string{"evict-jobs:gpu-02"}, Refuse, "would end"},
		"interruption is not eviction":  {clean, pai.RiskEviction, busy(), []string{"interrupt-jobs"}, Refuse, "would end"},
		"data path in use":              {storage, pai.RiskDataPath, busy(), nil, Refuse, "read or write through storage"},
		"data path not in use":          {storage, pai.RiskDataPath, idle, nil, Go, "no job runs"},
		"data path, blind":              {storage, pai.RiskDataPath, Facts{}, nil, Refuse, "not known"},
		"data path accepted":            {storage, pai.RiskDataPath, busy(), []string{"interrupt-jobs"}, Go, "accepted"},
		"a risk that nobody knows":      {storage, "lunar", busy(), nil, Refuse, "read or write"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := Decide(test.step, test.risk, test.facts, test.accepted)
			if d.Verdict != test.want || !strings.Contains(d.Reason, test.says) {
				t.Errorf("got %s: %s; want %s: …%s…", d.Verdict, d.Reason, test.want, test.says)
			}
			if d.NeedsEviction != (test.risk == pai.RiskNode && len(test.accepted) == 1 && test.accepted[0] == AcceptEvict(gpu01)) {
				t.Errorf("jobs are to be ended first: %v", d.NeedsEviction)
			}
			if d.EndsJobs != (test.risk == pai.RiskEviction && test.want == Go && len(test.accepted) == 1) {
				t.Errorf("the step ends jobs that were given up: %v", d.EndsJobs)
			}
			if (d.Next == "") != (d.Verdict == Go) {
				t.Errorf("%s, and what to do is %q", d.Verdict, d.Next)
			}
		})
	}
}

// factsGiven answers with facts that a test gives, and counts what it was asked.
type factsGiven struct {
	facts    Facts
	kubelets Fact[map[string]string]
	asked    *[]string
	queued   Fact[[]pai.JobRef]
}

func (g factsGiven) Queued(context.Context) Fact[[]pai.JobRef] {
	*g.asked = append(*g.asked, "queued")
	return g.queued
}

func (g factsGiven) Jobs(context.Context) Fact[[]pai.Job] {
	*g.asked = append(*g.asked, "jobs")
	return g.facts.Jobs
}

func (g factsGiven) JobsOn(context.Context, string) Fact[[]pai.Job] {
	*g.asked = append(*g.asked, "jobs-on")
	return g.facts.Jobs
}

func (g factsGiven) Containers(context.Context, string) Fact[[]running.Container] {
	*g.asked = append(*g.asked, "containers")
	return g.facts.Containers
}

func (g factsGiven) Machine(context.Context, plan.Step) Facts {
	*g.asked = append(*g.asked, "machine")
	return g.facts
}

func (g factsGiven) Kubelets(context.Context) Fact[map[string]string] {
	*g.asked = append(*g.asked, "kubelets")
	return g.kubelets
}

func TestGuardCheck(t *testing.T) {
	t.Parallel()
	newAPI := plan.Step{ID: "apiserver", Kind: plan.KindAPIServer, From: "v0.9-pai", To: "v0.10-pai", Risk: pai.RiskAPI}
	first := newAPI
	first.From = ""
	old := Known(map[string]string{gpu01: "v1.30.0", "gpu-02": "v1.35.4"})
	notReady := busy()
	notReady.RuntimeUp = Known(false)
	blind := busy()
	blind.Jobs = Unknown[[]pai.Job](errors.New("no answer"))
	for name, test := range map[string]struct {
		step     plan.Step
		facts    Facts
		kubelets Fact[map[string]string]
		accepted []string
		refused  string // part of the message; nil when empty
		asked    string
	}{
		"no risk asks nothing":                {plan.Step{Risk: pai.RiskNone}, Facts{}, Fact[map[string]string]{}, nil, "", ""},
		"a machine that meets the gate":       {swap(), busy(), Fact[map[string]string]{}, nil, "", "jobs-on containers machine"},
		"a machine that does not":             {swap(), notReady, Fact[map[string]string]{}, nil, "has to wait", "jobs-on containers machine"},
		"accepted":                            {swap(), notReady, Fact[map[string]string]{}, []string{"evict-jobs:gpu-01"}, "", "jobs-on containers machine"},
		"a service the catalog does not know": {plan.Step{ID: "surprise", Kind: plan.KindStop, Risk: pai.RiskNone}, busy(), Fact[map[string]string]{}, nil, "is refused", "jobs"},

		"the first API server":                           {first, Facts{}, Fact[map[string]string]{}, nil, "", ""},
		"a new API server, kubelets unseen":              {newAPI, busy(), Fact[map[string]string]{}, nil, "could not be observed", "kubelets"},
		"a new API server, good kubelets":                {newAPI, Facts{}, Known(map[string]string{gpu01: "v1.35.4"}), nil, "", "kubelets"},
		"a new API server, old busy kubelet":             {newAPI, busy(), old, nil, "restarts containers", "kubelets jobs"},
		"a new API server, old kubelet, and jobs unseen": {newAPI, blind, old, nil, "which jobs run there is not known", "kubelets jobs"},
		"a new API server, old idle kubelet":             {newAPI, Facts{Jobs: Known([]pai.Job{jobOn("far", "gpu-02")})}, old, nil, "", "kubelets jobs"},
		"a new API server, accepted":                     {newAPI, busy(), old, []string{"interrupt-jobs"}, "", "kubelets jobs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked []string
			g, err := New(factsGiven{facts: test.facts, kubelets: test.kubelets, asked: &asked}, nil, test.accepted)
			if err != nil {
				t.Fatal(err)
			}
			err = g.Check(t.Context(), test.step)
			if got := strings.Join(asked, " "); got != test.asked {
				t.Errorf("asked for %q, want %q", got, test.asked)
			}
			if test.refused == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			var e *pai.Error
			code := pai.CodeRefused
			if test.refused == "has to wait" {
				code = pai.CodeWaiting
			}
			if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, test.refused) || !strings.Contains(e.Next, "--accept-risk=") {
				t.Fatalf("got %#v, want a refusal that says %q and what to do", err, test.refused)
			}
		})
	}
}

func TestAcceptedRisksAreNames(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{"interrupt-jobs": true, "strand-jobs": true, "evict-jobs:gpu-01": true, "evict-jobs:": false, "evict-jobs": false, "all": false, "": false} {
		if err := CheckAccepted([]string{name}); (err == nil) != ok {
			t.Errorf("%q: %v, want it accepted: %v", name, err, ok)
		}
	}
	if _, err := New(factsGiven{}, nil, []string{"everything"}); pai.CodeOf(err) != pai.CodeUsage {
		t.Errorf("a risk that does not exist: %v, want a usage error", err)
	}
}
