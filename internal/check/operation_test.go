package check

import (
	"context"
	"testing"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

func TestClusterIDOfMachinesAndAPI(t *testing.T) {
	t.Parallel()
	expect(t, []expectation{
		{"same", only(sameID("lab", "lab", "lab", nil)), OK, `cluster "lab"`},
		{"no cluster", only(sameID("lab", "", "", nil)), OK, "do not belong to a cluster yet"},
		{"machines of a different cluster", only(sameID("lab", "prod", "", nil)), Failed, `cluster "prod"`},
		{"API of a different cluster", only(sameID("lab", "lab", "prod", nil)), Failed, `the API belongs to cluster "prod"`},
		{"API unavailable", only(sameID("lab", "lab", "", errTest)), OK, ""},
		{"API unavailable, machines without an ID", only(sameID("lab", "", "", errTest)), Unknown, "no route"},
	})
}

func TestSupportPlanReportsPath(t *testing.T) {
	t.Parallel()
	no := pai.Errorf(pai.CodeRefused, "go by v0.10", "v0.9 cannot reach v0.12")
	expect(t, []expectation{
		{"path", only(supported(plan.Plan{Hops: []plan.Hop{{Kind: plan.HopServices, From: "v0.9", To: "v0.10"}}}, nil, "v0.10")), OK, "services v0.9 → v0.10"},
		{"target runs", only(supported(plan.Plan{}, nil, "v0.10")), OK, "runs release v0.10"},
		{"no path", only(supported(plan.Plan{}, no, "v0.12")), Failed, "cannot reach"},
		{"unsupported start", only(supported(plan.Plan{Notes: []string{"unsupported"}}, nil, "v0.12")), Warning, "unsupported"},
		{"not planned", only(supported(plan.Plan{}, errTest, "v0.12")), Unknown, "no route"},
	})
}

func TestOperationInProgress(t *testing.T) {
	t.Parallel()
	pair := func(s pai.ServicesVersion, k pai.KubernetesVersion) pai.Pair {
		return pai.Pair{Services: s, Kubernetes: k}
	}
	left := func(to pai.Pair) Operation {
		return Operation{Unfinished: &pai.Operation{Verb: pai.VerbUpgrade, To: to, By: "ada@host", Started: time.Unix(0, 0).UTC()}}
	}
	ten := pair("v0.10", "v0.10-pai")
	expect(t, []expectation{
		{"none", inProgress(Operation{}, ten), OK, ""},
		{"lock held", inProgress(Operation{Holder: "ada@host (process 7)"}, ten), Failed, "ada@host (process 7)"},
		{"unfinished, same target", inProgress(left(ten), ten), Warning, "is unfinished"},
		{"unfinished, older target", inProgress(left(pair("v0.9", "v0.10-pai")), ten), Warning, ""},
		{"unfinished, newer target", inProgress(left(pair("v0.11", "v0.11-pai")), ten), Failed, "started 1970-01-01 00:00 UTC by ada@host, is unfinished"},
	})
	for _, c := range []struct {
		left pai.Operation
		fix  string
	}{
		{pai.Operation{Verb: pai.VerbUpgrade, To: pair("v0.10", "v0.11-pai"), Target: pai.UpgradeTarget{Release: "v0.11", Part: pai.PartKubernetes}}, "finish it first with the same command; run: paictl upgrade apply --to v0.11 --kubernetes"},
		{pai.Operation{Verb: pai.VerbUpgrade, To: pair("", "v0.11-pai"), Target: pai.UpgradeTarget{Release: "v0.11"}}, "finish it first with the same command; run: paictl upgrade apply --to v0.11"},
		{pai.Operation{Verb: pai.VerbUpgrade, To: pair("", "v0.11-pai")}, "finish it first with the same command"},
		{pai.Operation{Verb: pai.VerbBoot, To: pair("v0.10", "v0.11-pai")}, "finish it first with the same command"},
		{pai.Operation{Verb: pai.VerbRollback, To: ten}, "continue it with the same command; run: paictl upgrade rollback"},
		{pai.Operation{Verb: pai.VerbRollback, To: ten, Target: pai.UpgradeTarget{Part: pai.PartServices}}, "continue it with the same command; run: paictl upgrade rollback --services"},
		{pai.Operation{Verb: pai.VerbRollback, To: pair("v0.10", "v0.11-pai")}, "finish it first with the same command; run: paictl upgrade rollback"},
	} {
		if got := inProgress(Operation{Unfinished: &c.left}, ten).Fix; got != c.fix {
			t.Errorf("%+v: got %q, want %q", c.left, got, c.fix)
		}
	}
}

func TestJobsBlockSteps(t *testing.T) {
	t.Parallel()
	some := blocked([]BlockedStep{{Step: "services/v0.10/storage", Jobs: []pai.JobRef{{User: "ada", Name: "train"}}, Reason: "it reads through it", Next: "wait"}}, 1)
	expect(t, []expectation{
		{"none", blocked(nil, 3)[0], OK, "none of 3 running jobs"},
		{"one", some[0], Failed, "it reads through it; jobs: ada~train"},
	})
	if some[0].Target != "services/v0.10/storage" || some[0].Fix != "wait" {
		t.Errorf("%+v", some[0])
	}
}

func TestBackupAge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		at   time.Time
		want Outcome
	}{{time.Now().Add(-time.Hour), OK}, {time.Now().Add(-8 * 24 * time.Hour), Warning}, {time.Time{}, Warning}} {
		in := Input{LastBackup: func(context.Context) (time.Time, error) { return c.at, nil }}
		in.World.Current.Kubernetes = "v0.11-pai"
		results, err := recentBackup(t.Context(), &world{Input: in})
		if err != nil || len(results) != 1 || results[0].Outcome != c.want {
			t.Errorf("a backup of %s: got %+v, %v, want %s", c.at, results, err, c.want)
		}
	}
	if results, err := recentBackup(t.Context(), &world{}); err != nil || len(results) > 0 {
		t.Errorf("without a cluster: got %+v, %v, want nothing", results, err)
	}
}
