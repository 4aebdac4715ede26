package guard

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// A service is deleted only where no job needs it: those that wait need what
// they start through, those that run what they read through, and its state.
func TestGuardOfDeletions(t *testing.T) {
	t.Parallel()
	impacts := map[string]pai.JobImpact{"metrics": pai.ImpactNone, "queue": pai.ImpactSubmission, "storage": pai.ImpactDataPath}
	waiting := Known([]pai.JobRef{{User: "bob", Name: "later"}})
	lost := errors.New("no answer")
	for name, test := range map[string]struct {
		service  string
		wipe     bool
		stop     bool // it is a stop
		queued   Fact[[]pai.JobRef]
		jobs     Fact[[]pai.Job]
		accepted []string
		refused  string // part of the message; nil when empty
		next     string
	}{
		"jobs do without it":                     {service: "metrics", wipe: true, queued: waiting, jobs: busy().Jobs},
		"nobody needs it":                        {service: "queue", wipe: true, queued: Known([]pai.JobRef(nil)), jobs: Known([]pai.Job(nil))},
		"jobs wait for it":                       {service: "queue", queued: waiting, refused: "jobs that wait would not start without queue; jobs it could touch: bob~later", next: "--accept-risk=strand-jobs"},
		"a stop only makes them wait":            {service: "queue", stop: true, queued: waiting},
		"jobs wait for it, accepted":             {service: "queue", queued: waiting, accepted: []string{AcceptStrand}},
		"jobs wait for it, another accepted":     {service: "queue", queued: waiting, accepted: []string{AcceptInterrupt}, refused: "would not start"},
		"nobody knows who waits":                 {service: "queue", queued: Unknown[[]pai.JobRef](lost), refused: "which jobs wait is not known: no answer", next: "--accept-risk=strand-jobs"},
		"jobs run":                               {service: "queue", queued: Known([]pai.JobRef(nil)), jobs: busy().Jobs},
		"jobs run, and its state goes":           {service: "queue", wipe: true, queued: Known([]pai.JobRef(nil)), jobs: busy().Jobs, refused: "running jobs may need the state of queue", next: "--accept-risk=interrupt-jobs"},
		"jobs run, and its state goes, accepted": {service: "queue", wipe: true, queued: Known([]pai.JobRef(nil)), jobs: busy().Jobs, accepted: []string{AcceptInterrupt}},
		"nobody knows who runs":                  {service: "queue", wipe: true, queued: Known([]pai.JobRef(nil)), jobs: Unknown[[]pai.Job](lost), refused: "which jobs run is not known: no answer"},
		"jobs read through it":                   {service: "storage", queued: Known([]pai.JobRef(nil)), jobs: busy().Jobs, refused: "read or write through storage", next: "--accept-risk=interrupt-jobs"},
		"jobs will read through it":              {service: "storage", queued: waiting, jobs: Known([]pai.Job(nil)), refused: "would not start without storage"},
		"one risk of two":                        {service: "storage", queued: waiting, jobs: busy().Jobs, accepted: []string{AcceptStrand}, refused: "read or write through storage"},
		"both":                                   {service: "storage", queued: waiting, jobs: busy().Jobs, accepted: []string{AcceptStrand, AcceptInterrupt}},
		"a service that the catalog has not":     {service: "surprise", queued: waiting, refused: "would not start"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked []string
			g, err := New(factsGiven{facts: Facts{Jobs: test.jobs}, asked: &asked, queued: test.queued}, impacts, test.accepted)
			if err != nil {
				t.Fatal(err)
			}
			step := plan.Step{ID: plan.StepID("services/delete/" + test.service), Kind: plan.KindDelete, Target: test.service, Risk: pai.RiskNone, Wipe: test.wipe}
			if test.stop {
				step.Kind = plan.KindStop
			}
			err = g.Check(t.Context(), step)
			if test.refused == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			var e *pai.Error
			if !errors.As(err, &e) || e.Code != pai.CodeRefused || !strings.Contains(e.Message, test.refused) || !strings.Contains(e.Next, test.next) {
				t.Errorf("got %v, want a refusal that says %q, and to do %q", err, test.refused, test.next)
			}
		})
	}
}

// What the guard would refuse a deletion for is shown with the plan.
func TestImpactsOfDeletions(t *testing.T) {
	t.Parallel()
	impacts := map[string]pai.JobImpact{"metrics": pai.ImpactNone, "queue": pai.ImpactSubmission}
	world := plan.World{Jobs: []pai.Job{jobOn("now", gpu01)}, Queued: []pai.JobRef{{User: "bob", Name: "later"}}}
	for _, test := range []struct {
		step plan.Step
		want []string
	}{
		{plan.Step{Kind: plan.KindDelete, Target: "queue"}, []string{"later"}},
		{plan.Step{Kind: plan.KindDelete, Target: "queue", Wipe: true}, []string{"later", "now"}},
		{plan.Step{Kind: plan.KindDelete, Target: "metrics", Wipe: true}, nil},
		{plan.Step{Kind: plan.KindStop, Target: "queue"}, nil},
	} {
		test.step.ID, test.step.Risk = "s", pai.RiskNone
		var got []string
		for _, j := range Impacts([]plan.Step{test.step}, world, impacts)["s"] {
			got = append(got, j.Name)
		}
		slices.Sort(got)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s of %s, wipe %v, could touch %v, want %v", test.step.Kind, test.step.Target, test.step.Wipe, got, test.want)
		}
	}
}
