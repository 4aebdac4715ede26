package guard

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

func TestImpacts(t *testing.T) {
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
		"none":                         {plan.Step{Kind: plan.KindPrograms, Target: gpu01, Risk: pai.RiskNone}, nil},
		"api":                          {plan.Step{Kind: plan.KindAPIServer, Risk: pai.RiskAPI}, nil},
		"node":                         {plan.Step{Kind: plan.KindKubelet, Target: gpu01, Risk: pai.RiskNode}, []string{"ada~wide"}},
		"idle node":                    {plan.Step{Kind: plan.KindKubelet, Target: "gpu-03", Risk: pai.RiskNode}, nil},
		"eviction":                     {plan.Step{Kind: plan.KindClean, Target: "gpu-02", Risk: pai.RiskEviction}, []string{"ada~far", "ada~wide"}},
		"node step without a machine":  {plan.Step{Kind: plan.KindKubelet, Risk: pai.RiskNode}, []string{"ada~far", "ada~wide"}},
		"service that jobs do not use": {service("prometheus", pai.RiskNone), nil},
		"service for submissions":      {service("kueue", pai.RiskNone), nil},
		"service on the data path":     {service("storage", pai.RiskDataPath), []string{"ada~far", "ada~wide"}},
		"plan without the data path":   {service("storage", pai.RiskNone), []string{"ada~far", "ada~wide"}},
		"unknown service":              {service("surprise", pai.RiskNone), []string{"ada~far", "ada~wide"}},
		"unknown risk":                 {plan.Step{Kind: plan.KindDNS, Risk: "lunar"}, []string{"ada~far", "ada~wide"}},
		"no risk":                      {plan.Step{Kind: plan.KindDNS}, []string{"ada~far", "ada~wide"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, ref := range Impacts([]plan.Step{test.step}, world, impacts)[test.step.ID] {
				got = append(got, ref.String())
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got affected jobs %v, want %v", got, test.want)
			}
		})
	}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	lost := errors.New("no route to host")
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
		reason   string // part of it
	}{
		"no risk":                                {clean, pai.RiskNone, Facts{}, nil, Go, "not affected"},
		"API risk":                               {clean, pai.RiskAPI, Facts{}, nil, Go, "API can be unavailable"},
		"idle machine":                           {kubeletStep(), pai.RiskNode, idle, nil, Go, "no job runs"},
		"idle machine, API unavailable":          {kubeletStep(), pai.RiskNode, Facts{Jobs: Unknown[[]pai.Job](lost), Containers: idle.Containers}, nil, Go, "no job runs"},
		"only services on the machine":           {prepare, pai.RiskNode, with(func(f *Facts) { f.Containers = Known([]running.Container{{Namespace: pai.SystemNamespace}}) }), nil, Go, "no job runs"},
		"API reports pods of a rebooted machine": {kubeletStep(), pai.RiskNode, with(func(f *Facts) { f.Containers = idle.Containers }), nil, Go, "no job runs"},
		"container without a namespace":          {prepare, pai.RiskNode, with(func(f *Facts) { f.Containers = Known([]running.Container{{ID: "x"}}) }), nil, Wait, "has no rules for a machine with running jobs"},
		"busy machine, step without rules":       {prepare, pai.RiskNode, busy(), nil, Wait, "has no rules for a machine with running jobs"},
		"busy machine, network program":          {network, pai.RiskNode, busy(), nil, Go, "not the network of running pods"},
		"unreachable machine, network program":   {network, pai.RiskNode, with(func(f *Facts) { f.Containers = Unknown[[]running.Container](lost) }), nil, Go, "not the network of running pods"},
		"unreachable machine":                    {kubeletStep(), pai.RiskNode, with(func(f *Facts) { f.Containers = Unknown[[]running.Container](lost) }), nil, Refuse, "the jobs on gpu-01 are unknown: no route to host"},
		"containers, API unavailable":            {kubeletStep(), pai.RiskNode, with(func(f *Facts) { f.Jobs = Unknown[[]pai.Job](lost) }), nil, Refuse, "cannot name their jobs"},
		"containers unknown to the API":          {kubeletStep(), pai.RiskNode, with(func(f *Facts) { f.Jobs = idle.Jobs }), nil, Refuse, "the API has none"},
		"accepted":                               {prepare, pai.RiskNode, busy(), []string{"evict-jobs:gpu-01"}, Go, "accepted with --accept-risk=evict-jobs:gpu-01, although"},
		"accepted for a different machine":       {prepare, pai.RiskNode, busy(), []string{"evict-jobs:gpu-02"}, Wait, "has no rules"},
		"different risk accepted":                {prepare, pai.RiskNode, busy(), []string{"interrupt-jobs"}, Wait, "has no rules"},

		"eviction, busy machine":                     {clean, pai.RiskEviction, busy(), nil, Refuse, "would end the jobs on gpu-01"},
		"eviction, idle machine":                     {clean, pai.RiskEviction, idle, nil, Go, "no job runs"},
		"eviction, no facts":                         {clean, pai.RiskEviction, Facts{}, nil, Refuse, "unknown: not observed"},
		"eviction, accepted":                         {clean, pai.RiskEviction, busy(), []string{"evict-jobs:gpu-01"}, Go, "accepted"},
		"eviction, accepted for a different machine": {clean, pai.RiskEviction, busy(), []string{"evict-jobs:gpu-02"}, Refuse, "would end"},
		"eviction, interruption accepted":            {clean, pai.RiskEviction, busy(), []string{"interrupt-jobs"}, Refuse, "would end"},
		"data path in use":                           {storage, pai.RiskDataPath, busy(), nil, Refuse, "read or write through storage"},
		"data path not in use":                       {storage, pai.RiskDataPath, idle, nil, Go, "no job runs"},
		"data path, no facts":                        {storage, pai.RiskDataPath, Facts{}, nil, Refuse, "running jobs are unknown: not observed"},
		"data path, accepted":                        {storage, pai.RiskDataPath, busy(), []string{"interrupt-jobs"}, Go, "accepted"},
		"unknown risk":                               {storage, "lunar", busy(), nil, Refuse, "read or write"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := Decide(test.step, test.risk, test.facts, test.accepted)
			if d.Verdict != test.want || !strings.Contains(d.Reason, test.reason) {
				t.Errorf("got %s: %s; want %s: …%s…", d.Verdict, d.Reason, test.want, test.reason)
			}
			if d.NeedsEviction != (test.risk == pai.RiskNode && len(test.accepted) == 1 && test.accepted[0] == AcceptEvict(gpu01)) {
				t.Errorf("got NeedsEviction %v", d.NeedsEviction)
			}
			if d.EndsJobs != (test.risk == pai.RiskEviction && test.want == Go && len(test.accepted) == 1) {
				t.Errorf("got EndsJobs %v", d.EndsJobs)
			}
			if (d.Next == "") != (d.Verdict == Go) {
				t.Errorf("got verdict %s with hint %q", d.Verdict, d.Next)
			}
		})
	}
}

// The network program and kube-proxy do not affect running pods, so an idle
// machine can take new jobs meanwhile.
func TestIdleMachineNeedsCordonOnlyForRulesNotMet(t *testing.T) {
	t.Parallel()
	idle := busy()
	idle.Jobs, idle.Containers = Known([]pai.Job(nil)), Known([]running.Container(nil))
	notReady := idle
	notReady.RuntimeUp = Known(false)
	role := func(r plan.Role) plan.Step {
		return plan.Step{ID: "role", Kind: plan.KindRole, Role: r, Target: gpu01, Risk: pai.RiskNode}
	}
	for name, test := range map[string]struct {
		step   plan.Step
		facts  Facts
		cordon bool
	}{
		"kubelet, all rules met":    {kubeletStep(), idle, false},
		"kubelet, runtime down":     {kubeletStep(), notReady, true},
		"step without rules":        {plan.Step{Kind: plan.KindPrepare, Target: gpu01}, idle, true},
		"network program":           {role(plan.RoleNetwork), idle, false},
		"kube-proxy":                {role(plan.RoleKubeProxy), idle, false},
		"kube-proxy, no API":        {role(plan.RoleKubeProxy), Facts{Containers: idle.Containers}, false},
		"API proxy, without a rule": {role(plan.RoleAPIProxy), idle, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if d := Decide(test.step, pai.RiskNode, test.facts, nil); d.Verdict != Go || d.NeedsCordon != test.cordon {
				t.Errorf("got %s, NeedsCordon %v (%s); want go, NeedsCordon %v", d.Verdict, d.NeedsCordon, d.Reason, test.cordon)
			}
		})
	}
}

// fixedFacts returns the facts of a test and records the calls.
type fixedFacts struct {
	facts    Facts
	kubelets Fact[map[string]string]
	calls    *[]string
	queued   Fact[[]pai.JobRef]
	voters   Fact[Voters]
}

func (g fixedFacts) Queued(context.Context) Fact[[]pai.JobRef] {
	*g.calls = append(*g.calls, "queued")
	return g.queued
}

func (g fixedFacts) Jobs(context.Context) Fact[[]pai.Job] {
	*g.calls = append(*g.calls, "jobs")
	return g.facts.Jobs
}

func (g fixedFacts) JobsOn(context.Context, string) Fact[[]pai.Job] {
	*g.calls = append(*g.calls, "jobs-on")
	return g.facts.Jobs
}

func (g fixedFacts) Containers(context.Context, string) Fact[[]running.Container] {
	*g.calls = append(*g.calls, "containers")
	return g.facts.Containers
}

func (g fixedFacts) Machine(context.Context, plan.Step) Facts {
	*g.calls = append(*g.calls, "machine")
	return g.facts
}

func (g fixedFacts) Voters(context.Context, plan.Step) Fact[Voters] {
	*g.calls = append(*g.calls, "voters")
	return g.voters
}

func (g fixedFacts) Kubelets(context.Context) Fact[map[string]string] {
	*g.calls = append(*g.calls, "kubelets")
	return g.kubelets
}

func TestGuardObservesOnlyNeededFacts(t *testing.T) {
	t.Parallel()
	newAPI := plan.Step{ID: "apiserver", Kind: plan.KindAPIServer, From: "v0.9-pai", To: "v0.10-pai", Risk: pai.RiskAPI}
	first := newAPI
	first.From = ""
	old := Known(map[string]string{gpu01: "v1.30.0", "gpu-02": "v1.35.4"})
	notReady := busy()
	notReady.RuntimeUp = Known(false)
	noJobs := busy()
	noJobs.Jobs = Unknown[[]pai.Job](errors.New("no route to host"))
	for name, test := range map[string]struct {
		step     plan.Step
		facts    Facts
		kubelets Fact[map[string]string]
		accepted []string
		refused  string // part of the error; no error if empty
		calls    string
	}{
		"no risk":                            {plan.Step{Risk: pai.RiskNone}, Facts{}, Fact[map[string]string]{}, nil, "", ""},
		"machine that meets the rules":       {kubeletStep(), busy(), Fact[map[string]string]{}, nil, "", "jobs-on containers machine"},
		"machine that violates a rule":       {kubeletStep(), notReady, Fact[map[string]string]{}, nil, "must wait", "jobs-on containers machine"},
		"accepted":                           {kubeletStep(), notReady, Fact[map[string]string]{}, []string{"evict-jobs:gpu-01"}, "", "jobs-on containers machine"},
		"service that is not in the catalog": {plan.Step{ID: "surprise", Kind: plan.KindStop, Risk: pai.RiskNone}, busy(), Fact[map[string]string]{}, nil, "refused", "jobs"},

		"first API server":                               {first, Facts{}, Fact[map[string]string]{}, nil, "", ""},
		"new API server, kubelets unknown":               {newAPI, busy(), Fact[map[string]string]{}, nil, "kubelets are unknown", "kubelets"},
		"new API server, current kubelets":               {newAPI, Facts{}, Known(map[string]string{gpu01: "v1.35.4"}), nil, "", "kubelets"},
		"new API server, old kubelet on a busy machine":  {newAPI, busy(), old, nil, "restarts containers", "kubelets jobs"},
		"new API server, old kubelet, jobs unknown":      {newAPI, noJobs, old, nil, "the jobs on it are unknown", "kubelets jobs"},
		"new API server, old kubelet on an idle machine": {newAPI, Facts{Jobs: Known([]pai.Job{jobOn("far", "gpu-02")})}, old, nil, "", "kubelets jobs"},
		"new API server, old kubelet, accepted":          {newAPI, busy(), old, []string{"interrupt-jobs"}, "", "kubelets jobs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls []string
			g, err := New(fixedFacts{facts: test.facts, kubelets: test.kubelets, calls: &calls}, nil, test.accepted)
			if err != nil {
				t.Fatal(err)
			}
			err = g.Check(t.Context(), test.step)
			if got := strings.Join(calls, " "); got != test.calls {
				t.Errorf("got calls %q, want %q", got, test.calls)
			}
			if test.refused == "" {
				if err != nil {
					t.Fatalf("got %v, want no error", err)
				}
				return
			}
			var e *pai.Error
			code := pai.CodeRefused
			if test.refused == "must wait" {
				code = pai.CodeWaiting
			}
			if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, test.refused) || !strings.Contains(e.Next, "--accept-risk=") {
				t.Fatalf("got %#v, want an error with %q and a hint", err, test.refused)
			}
		})
	}
}

func TestNewRefusesUnknownRisks(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{"interrupt-jobs": true, "strand-jobs": true, "evict-jobs:gpu-01": true, "evict-jobs:": false, "evict-jobs": false, "all": false, "": false} {
		if err := validateRisks([]string{name}); (err == nil) != ok {
			t.Errorf("%q: got %v, want accepted: %v", name, err, ok)
		}
	}
	if _, err := New(fixedFacts{}, nil, []string{"everything"}); pai.CodeOf(err) != pai.CodeUsage {
		t.Errorf("got %v, want a usage error", err)
	}
}
