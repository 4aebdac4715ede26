package guard

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Queued jobs need the services that they start through. Running jobs need the
// services on their data path, and might need the state of others.
func TestDeletionIsRefusedIfJobsNeedTheService(t *testing.T) {
	t.Parallel()
	impacts := map[string]pai.JobImpact{"metrics": pai.ImpactNone, "queue": pai.ImpactSubmission, "storage": pai.ImpactDataPath}
	waiting := Known([]pai.JobRef{{User: "bob", Name: "later"}})
	lost := errors.New("no route to host")
	for name, test := range map[string]struct {
		service  string
		wipe     bool
		stop     bool // a stop instead of a deletion
		queued   Fact[[]pai.JobRef]
		jobs     Fact[[]pai.Job]
		accepted []string
		refused  string // part of the error; no error if empty
		next     string
	}{
		"unused by jobs":                        {service: "metrics", wipe: true, queued: waiting, jobs: busy().Jobs},
		"no jobs":                               {service: "queue", wipe: true, queued: Known([]pai.JobRef(nil)), jobs: Known([]pai.Job(nil))},
		"queued jobs":                           {service: "queue", queued: waiting, refused: "queued jobs would not start without queue; jobs it can affect: bob~later", next: "--accept-risk=strand-jobs"},
		"queued jobs, stop":                     {service: "queue", stop: true, queued: waiting},
		"queued jobs, accepted":                 {service: "queue", queued: waiting, accepted: []string{AcceptStrand}},
		"queued jobs, different risk accepted":  {service: "queue", queued: waiting, accepted: []string{AcceptInterrupt}, refused: "would not start"},
		"queued jobs unknown":                   {service: "queue", queued: Unknown[[]pai.JobRef](lost), refused: "the queued jobs are unknown: no route to host", next: "--accept-risk=strand-jobs"},
		"running jobs":                          {service: "queue", queued: Known([]pai.JobRef(nil)), jobs: busy().Jobs},
		"running jobs, state deleted":           {service: "queue", wipe: true, queued: Known([]pai.JobRef(nil)), jobs: busy().Jobs, refused: "running jobs might need the state of queue", next: "--accept-risk=interrupt-jobs"},
		"running jobs, state deleted, accepted": {service: "queue", wipe: true, queued: Known([]pai.JobRef(nil)), jobs: busy().Jobs, accepted: []string{AcceptInterrupt}},
		"running jobs unknown":                  {service: "queue", wipe: true, queued: Known([]pai.JobRef(nil)), jobs: Unknown[[]pai.Job](lost), refused: "the running jobs are unknown: no route to host"},
		"running jobs on the data path":         {service: "storage", queued: Known([]pai.JobRef(nil)), jobs: busy().Jobs, refused: "read or write through storage", next: "--accept-risk=interrupt-jobs"},
		"queued jobs on the data path":          {service: "storage", queued: waiting, jobs: Known([]pai.Job(nil)), refused: "would not start without storage"},
		"one of two risks accepted":             {service: "storage", queued: waiting, jobs: busy().Jobs, accepted: []string{AcceptStrand}, refused: "read or write through storage"},
		"both risks accepted":                   {service: "storage", queued: waiting, jobs: busy().Jobs, accepted: []string{AcceptStrand, AcceptInterrupt}},
		"service that is not in the catalog":    {service: "surprise", queued: waiting, refused: "would not start"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls []string
			g, err := New(fixedFacts{facts: Facts{Jobs: test.jobs}, calls: &calls, queued: test.queued}, impacts, test.accepted)
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
					t.Errorf("got %v, want no error", err)
				}
				return
			}
			var e *pai.Error
			if !errors.As(err, &e) || e.Code != pai.CodeRefused || !strings.Contains(e.Message, test.refused) || !strings.Contains(e.Next, test.next) {
				t.Errorf("got %v, want an error with %q and the hint %q", err, test.refused, test.next)
			}
		})
	}
}

func TestImpactsOfDeletionsIncludeQueuedJobs(t *testing.T) {
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
			t.Errorf("%s of %s, wipe %v: got affected jobs %v, want %v", test.step.Kind, test.step.Target, test.step.Wipe, got, test.want)
		}
	}
}
