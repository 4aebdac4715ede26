package run

import (
	"context"
	"fmt"
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/runtest"
)

// When a step starts, a process that reads the journal sees it as running.
func TestExecutorRecordsStepBeforeItStarts(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), runtest.Dir(t.TempDir())
	entry, err := NewJournal(store).Begin(ctx, pai.Operation{Verb: pai.VerbUpgrade})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld()
	w.do = func(ctx context.Context, s plan.Step) error {
		op, err := NewJournal(store).Current(ctx)
		if err != nil {
			return err
		}
		for _, r := range op.Steps {
			if r.ID == string(s.ID) && r.Outcome == pai.OutcomeRunning {
				return nil
			}
		}
		return fmt.Errorf("the journal has %+v", op.Steps)
	}
	var p plan.Plan
	for i := range 20 {
		risk := []pai.Risk{pai.RiskNone, pai.RiskNode}[i%2]
		p.Steps = append(p.Steps, plan.Step{ID: plan.StepID(fmt.Sprint("s", i)), Kind: testKind, Risk: risk})
	}
	e := executor(w)
	e.Record, e.Limit = entry.Step, 8
	if res := e.Run(ctx, p); res.Err() != nil {
		t.Errorf("a step started without a record: %v", res.Err())
	}
}
