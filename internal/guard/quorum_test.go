package guard

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/etcd/quorum"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/inspecttest"
)

// votersOf are three voters; those on the named machines are unknown.
func votersOf(unknown ...string) quorum.State {
	var s quorum.State
	for i, name := range []string{"cp1", "cp2", "cp3"} {
		m := quorum.Member{ID: uint64(i + 1), Name: name + "-a", Machine: name, Leader: 1, Term: 1}
		for _, one := range unknown {
			if one == name {
				m.Unknown = "no route to host"
			}
		}
		s.Members = append(s.Members, m)
	}
	return s
}

func TestQuorumIsAskedBeforeAStop(t *testing.T) {
	t.Parallel()
	step := func(kind plan.Kind, target string, from pai.AnyVersion) plan.Step {
		return plan.Step{ID: "s", Kind: kind, Target: target, From: from, To: from, Risk: pai.RiskAPI}
	}
	restart := step(plan.KindEtcd, "cp2", "v0.11-pai")
	stops := func(unknown ...string) Fact[Voters] { return Known(Voters{Stops: true, State: votersOf(unknown...)}) }
	for name, c := range map[string]struct {
		step     plan.Step
		voters   Fact[Voters]
		accepted []string
		asked    bool
		refused  string // part of the error; no error if empty
	}{
		"all healthy":                     {restart, stops(), nil, true, ""},
		"another voter is unknown":        {restart, stops("cp3"), nil, true, "cannot be without cp2: etcd on cp3 is unknown: no route to host"},
		"no risk can be accepted for it":  {restart, stops("cp3"), []string{AcceptInterrupt}, true, "etcd on cp3 is unknown"},
		"its own voter is unknown":        {restart, stops("cp2"), nil, true, ""},
		"no voter runs on the machine":    {restart, Known(Voters{State: votersOf("cp1", "cp3")}), nil, true, ""},
		"nothing was observed":            {restart, Fact[Voters]{}, nil, true, "the voters of etcd are unknown: not observed"},
		"the observation failed":          {restart, Unknown[Voters](errors.New("no helper")), nil, true, "the voters of etcd are unknown: no helper"},
		"an API server":                   {step(plan.KindAPIServer, "cp2", "v0.11-pai"), stops("cp1"), nil, true, "etcd on cp1 is unknown"},
		"a commit":                        {step(plan.KindCommit, "cp2", ""), stops("cp1"), nil, true, "etcd on cp1 is unknown"},
		"the stop of a machine":           {step(plan.KindStopServing, "cp2", ""), stops("cp1"), nil, true, "etcd on cp1 is unknown"},
		"the removal of a lost one":       {step(plan.KindRemoveVoter, "cp2", ""), Known(Voters{State: votersOf("cp2")}), nil, true, ""},
		"a removal beside a second loss":  {step(plan.KindRemoveVoter, "cp2", ""), Known(Voters{State: votersOf("cp2", "cp3")}), nil, true, "1 of the 2 voters that would be left are healthy"},
		"the start of an etcd":            {step(plan.KindEtcd, "cp2", ""), stops("cp1"), nil, false, ""},
		"the only control-plane machine":  {step(plan.KindEtcd, "", "v0.11-pai"), stops("cp1"), nil, false, ""},
		"a clean, which stops everything": {step(plan.KindClean, "cp2", "v0.11-pai"), stops("cp1"), nil, false, ""},
		"the votes":                       {step(plan.KindVoters, "", ""), stops("cp1"), nil, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var calls []string
				g, err := New(fixedFacts{voters: c.voters, calls: &calls}, nil, c.accepted)
				if err != nil {
					t.Fatal(err)
				}
				for of, check := range map[string]func() error{
					"Check":       func() error { return g.Check(t.Context(), c.step) },
					"CheckQuorum": func() error { return g.CheckQuorum(t.Context(), c.step) },
				} {
					calls = nil
					err := check()
					if asked := strings.Contains(strings.Join(calls, " "), "voters"); asked != c.asked {
						t.Errorf("%s: asked %v, want %v", of, asked, c.asked)
					}
					if (err == nil) != (c.refused == "") || err != nil && (!strings.Contains(err.Error(), c.refused) || pai.CodeOf(err) != pai.CodeRefused) {
						t.Errorf("%s: got %v, want %q", of, err, c.refused)
					}
				}
			})
		})
	}
}

// late are voters that agree after some questions.
type late struct {
	fixedFacts
	left *int
}

func (l late) Voters(context.Context, plan.Step) Fact[Voters] {
	if *l.left == 0 {
		return Known(Voters{Stops: true, State: votersOf()})
	}
	*l.left--
	return Known(Voters{Stops: true, State: votersOf("cp3")})
}

func TestQuorumIsAskedAgainForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		left, calls := 3, []string{}
		g, err := New(late{fixedFacts{calls: &calls}, &left}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Check(t.Context(), plan.Step{ID: "s", Kind: plan.KindEtcd, Target: "cp2", From: "v0.11-pai", Risk: pai.RiskAPI}); err != nil || left != 0 {
			t.Errorf("got %v with %d questions left", err, left)
		}
	})
}

// Without several control-plane machines, and for others, nothing is asked.
func TestVotersAreReadOfControlPlanesOnly(t *testing.T) {
	t.Parallel()
	cp := func(name string) config.Machine {
		return config.Machine{Hostname: name, HostIP: "10.9.0.1", Role: config.RoleControlPlane}
	}
	several := []config.Machine{cp("cp1"), cp("cp2")}
	idle := inspecttest.NewHost(t, "cp1")
	for name, c := range map[string]struct {
		planes []config.Machine
		target string
		want   string // part of the reason why it is unknown; known if empty
	}{
		"one control-plane machine": {several[:1], "cp1", ""},
		"a worker":                  {several, "gpu-01", ""},
		"its etcd does not run":     {several, "cp1", ""},
		"it is unreachable":         {several, "cp2", "no connection to machine cp2"},
	} {
		facts := LiveFacts{ControlPlanes: c.planes, Hosts: map[string]machine.Host{"cp1": idle}}
		got := facts.Voters(t.Context(), plan.Step{Kind: plan.KindEtcd, Target: c.target})
		if reason := got.unknownReason(); !strings.Contains(reason, c.want) || (reason == "") != (c.want == "") || got.value.Stops {
			t.Errorf("%s: got %+v, unknown %q", name, got.value, reason)
		}
	}
}
