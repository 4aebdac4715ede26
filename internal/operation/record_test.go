package operation

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

// files is a store in memory.
type files map[string][]byte

func (f files) ReadFile(_ context.Context, name string) ([]byte, error) {
	if data, ok := f[name]; ok {
		return data, nil
	}
	return nil, fs.ErrNotExist
}

func (f files) WriteFile(_ context.Context, name string, data []byte, _ fs.FileMode) error {
	f[name] = data
	return nil
}

func (f files) CreateFile(_ context.Context, name string, data []byte, _ fs.FileMode) error {
	if _, ok := f[name]; ok {
		return fs.ErrExist
	}
	f[name] = data
	return nil
}

func (f files) Remove(_ context.Context, name string) error {
	delete(f, name)
	return nil
}

func (f files) ReadDir(_ context.Context, dir string) ([]string, error) {
	var names []string
	for name := range f {
		if path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

// An operation that was killed when all was done, and before that was written
// down, is seen to lack its end, by a command after the same and by no other.
func TestUnfinished(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), files{}
	to := pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}
	same := plan.Plan{Verb: pai.VerbUpgrade, To: to}
	expect := func(when string, p plan.Plan, want bool) {
		t.Helper()
		if got, err := unfinished(ctx, store, p, pai.Target{}); err != nil || got != want {
			t.Errorf("%s: %v (error %v), want %v", when, got, err, want)
		}
	}
	expect("no operation yet", same, false)
	entry, err := run.NewJournal(store).Begin(ctx, pai.Operation{Verb: pai.VerbUpgrade, To: to})
	if err != nil {
		t.Fatal(err)
	}
	expect("killed", same, true)
	expect("killed, another verb", plan.Plan{Verb: pai.VerbBoot, To: to}, false)
	expect("killed, another goal", plan.Plan{Verb: pai.VerbUpgrade, To: pai.Pair{Services: "v0.9", Kubernetes: "v0.10-pai"}}, false)
	if err := entry.End(ctx, pai.OutcomeSucceeded, nil, pai.Report{}); err != nil {
		t.Fatal(err)
	}
	expect("ended", same, false)
}

// Staging leaves the cluster at the pair it has: what it was for tells which
// one a command goes on with. To an upgrade it leaves nothing to go on with.
func TestStagingIsGoneOnWithByItsTarget(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), files{}
	journal := run.NewJournal(store)
	now := pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"}
	failed, err := journal.Begin(ctx, pai.Operation{Verb: pai.VerbUpgrade, From: now})
	if err != nil {
		t.Fatal(err)
	}
	if err := failed.End(ctx, pai.OutcomeFailed, nil, pai.Report{}); err != nil {
		t.Fatal(err)
	}
	if _, err := journal.Begin(ctx, pai.Operation{Verb: pai.VerbStage, From: now, To: now, Target: pai.Target{Release: "v0.10"}}); err != nil {
		t.Fatal(err)
	}
	stage := plan.Plan{Verb: pai.VerbStage, From: now, To: now}
	for target, want := range map[pai.Target]bool{{Release: "v0.10"}: true, {Release: "v0.11"}: false, {Release: "v0.10", Part: pai.PartServices}: false} {
		if got, err := unfinished(ctx, store, stage, target); err != nil || got != want {
			t.Errorf("staging for %+v after one for v0.10 was killed goes on with it: %v (error %v), want %v", target, got, err, want)
		}
	}
	if last, err := lastOperation(ctx, journal); err != nil || last == nil || last.Verb != pai.VerbUpgrade {
		t.Errorf("an upgrade after staging goes on from %+v (error %v), want the upgrade that failed", last, err)
	}
}

func TestErrorsAreSaidOnce(t *testing.T) {
	full := errors.New("write the journal: no space left on device")
	stopped := pai.Errorf(pai.CodeLocked, "run the same command again", "stopped: %w", full)
	err := session.JoinDistinct(nil, stopped, full, errors.New("and something else"), full)
	if got, want := err.Error(), "stopped: write the journal: no space left on device\nand something else"; got != want {
		t.Errorf("said %q, want %q", got, want)
	}
	if pai.CodeOf(err) != pai.CodeLocked {
		t.Errorf("the code is %v", pai.CodeOf(err))
	}
	if err := session.JoinDistinct(nil, nil); err != nil {
		t.Error(err)
	}
}

// What services carry cannot be judged before an API answers, and the steps
// before them may bring it back.
func TestServicesAreJudgedEarlyWhereTheyCanBe(t *testing.T) {
	service, evicts := plan.Step{Kind: plan.KindService, Risk: pai.RiskDataPath}, plan.Step{Kind: plan.KindKubelet, Risk: pai.RiskEviction}
	for _, c := range []struct {
		step plan.Step
		api  bool
		want bool
	}{{service, true, true}, {service, false, false}, {evicts, true, true}, {evicts, false, true}, {plan.Step{Kind: plan.KindKubelet, Risk: pai.RiskNode}, true, false}} {
		if got := judgedEarly(c.step, plan.World{APIReachable: c.api}); got != c.want {
			t.Errorf("%s of risk %s, API answering %v: judged early %v", c.step.Kind, c.step.Risk, c.api, got)
		}
	}
}
