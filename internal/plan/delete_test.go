package plan

import (
	"testing"

	"pai.dev/pai/internal/pai"
)

func TestDeletePlanHasStepsOrIsRefused(t *testing.T) {
	nine := running(twoReleases(), "v0.9", "cp-01")
	kept := nine.Services["v0.9"]
	nine.Services["v0.9"] = append(kept[:len(kept):len(kept)], ServiceSpec{Name: "metrics", Impact: pai.ImpactNone, Volume: "metrics"})
	allStopped := stopped(t, nine)
	away := nine
	away.World.APIReachable = false
	for _, c := range []struct {
		name      string
		in        Input
		service   string
		wipe      bool
		want      []Step
		err, next string
		code      pai.Code
	}{
		{"what nothing needs", nine, "rest-server", false,
			[]Step{{ID: "services/delete/rest-server", Kind: KindDelete, Target: "rest-server", From: "v0.9", Risk: pai.RiskNone}}, "", "", ""},
		{"with its state", nine, "old-exporter", true,
			[]Step{{ID: "services/delete/old-exporter", Kind: KindDelete, Target: "old-exporter", From: "v0.9", Risk: pai.RiskNone, Wipe: true}}, "", "", ""},
		{"jobs read through it", nine, "storage", false,
			[]Step{{ID: "services/delete/storage", Kind: KindDelete, Target: "storage", From: "v0.9", Risk: pai.RiskDataPath}}, "", "", ""},
		{"files stay without --delete-data", nine, "metrics", false,
			[]Step{{ID: "services/delete/metrics", Kind: KindDelete, Target: "metrics", Risk: pai.RiskNone}}, "", "", ""},
		{"files go after their service", nine, "metrics", true,
			[]Step{{ID: "services/delete/metrics", Kind: KindDelete, Target: "metrics", Risk: pai.RiskNone, Wipe: true},
				{ID: "services/delete/metrics/volume", Kind: KindVolume, Target: "metrics", Risk: pai.RiskNone, Wipe: true, After: []StepID{"services/delete/metrics"}}}, "", "", ""},
		{"what one needs through another", nine, "kueue", false, nil, "prerequisite of running services: jobset, rest-server", "paictl service stop jobset rest-server", pai.CodeRefused},
		{"one between does not run", withoutServices(nine, "jobset"), "kueue", false, nil, "running services: rest-server", "service stop rest-server", pai.CodeRefused},
		{"what needs it does not run", withoutServices(nine, "jobset", "rest-server"), "kueue", false,
			[]Step{{ID: "services/delete/kueue", Kind: KindDelete, Target: "kueue", From: "v0.9", Risk: pai.RiskNone}}, "", "", ""},
		{"all are stopped", allStopped, "kueue", true,
			[]Step{{ID: "services/delete/kueue", Kind: KindDelete, Target: "kueue", Risk: pai.RiskNone, Wipe: true}}, "", "", ""},
		{"an unknown one", nine, "nope", false, nil, `service "nope" not found`, "name one of the services: kueue", pai.CodeUsage},
		{"services unobserved", away, "rest-server", false, nil, "cannot observe the services", "cluster status", pai.CodeFailed},
		{"none was ever started", func() Input {
			in := withoutServices(allStopped)
			in.World.RecordedServices = ""
			return in
		}(), "kueue", false, nil, "no service was ever started", "", pai.CodeRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := DeletePlan(c.in, c.service, c.wipe)
			if c.err != "" {
				wantError(t, err, c.code, c.err, c.next)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if moved := StepChanges(c.want, p.Steps); len(moved) > 0 {
				t.Errorf("the steps are %+v: %v", p.Steps, moved)
			}
			if _, left := c.in.After(c.in.World, p.Steps).Services[c.service]; left || p.Verb != pai.VerbDeleteService {
				t.Errorf("after %s the service is expected to be there: %v", p.Verb, left)
			}
		})
	}
}

// Stopping a service that was stopped already, with all others, is no mistake.
func TestStopPlanOfStoppedServiceIsEmpty(t *testing.T) {
	in := stopped(t, running(twoReleases(), "v0.9", "cp-01"))
	if p, err := StopPlan(in, Choice{Names: []string{"kueue"}}); err != nil || len(p.Steps) > 0 {
		t.Errorf("%v, %v", p.Steps, err)
	}
}
