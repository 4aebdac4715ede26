package operation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// restoreConsequences says what a way back over a committed hop takes away: what was
// written since the snapshot, and which jobs run now that did not then.
func (s *operation) restoreConsequences(ctx context.Context, p plan.Plan, w plan.World) (consequences, error) {
	i := slices.IndexFunc(p.Steps, func(step plan.Step) bool { return step.Kind == plan.KindRestore })
	if i < 0 {
		return consequences{}, nil
	}
	step := p.Steps[i]
	master, err := s.ControlPlane()
	if err != nil {
		return consequences{}, err
	}
	found := consequences{accept: map[string]string{guard.AcceptLoss: "what was written to the cluster since the snapshot of etcd is lost"}}
	loss, err := cluster.LossOf(ctx, master, step)
	switch {
	case err != nil && w.APIReachable:
		return consequences{}, fmt.Errorf("find out what going back would lose: %w", err)
	case err != nil:
		// An earlier run has stopped etcd, after its loss was accepted.
		found.notes = []string{"what going back would lose cannot be told, because " + err.Error()}
		found.accept[guard.AcceptInterrupt] = "which jobs were started since the snapshot is not known"
		return found, nil
	case loss.Snapshot == "":
		found.notes = []string{"etcd was restored by an earlier run; nothing more is lost"}
		return found, nil
	}
	found.notes = lossNotes(loss)
	if ended := loss.Jobs(w.Running()); len(ended) > 0 {
		found.touched = map[plan.StepID][]pai.JobRef{step.ID: ended}
		found.accept[guard.AcceptInterrupt] = "jobs that were started since the snapshot would end: " + names(ended)
		found.notes = append(found.notes, "these jobs were started since and would end: "+names(ended))
	}
	return found, nil
}

// lossNotes put a loss into words.
func lossNotes(loss cluster.Loss) []string {
	var kinds []string
	for _, k := range loss.Kinds {
		kinds = append(kinds, k.String())
	}
	text := "nothing"
	if len(kinds) > 0 {
		text = strings.Join(kinds, "; ")
	}
	notes := []string{fmt.Sprintf("etcd is restored from %s, taken %s ago; written since, and lost: %s",
		loss.Snapshot, time.Since(loss.Taken).Round(time.Second), text)}
	if back := loss.Back(); len(back) > 0 {
		notes = append(notes, "these jobs were removed since and would be there again: "+strings.Join(back, ", "))
	}
	return notes
}

func names(jobs []pai.JobRef) string {
	var list []string
	for _, j := range jobs {
		list = append(list, j.String())
	}
	return strings.Join(list, ", ")
}

// allowed refuses what was not accepted by name.
func (s consequences) requireConsent(accepted []string) error {
	var why, flags []string
	for _, risk := range slices.Sorted(maps.Keys(s.accept)) {
		if !slices.Contains(accepted, risk) {
			why = append(why, s.accept[risk])
			flags = append(flags, "--accept-risk="+risk)
		}
	}
	if len(why) == 0 {
		return nil
	}
	return pai.Errorf(pai.CodeRefused, "if that may be, run the command again with "+strings.Join(flags, " "), "refused: %s", strings.Join(why, "; "))
}

// guarded is the guard of one operation. Right before a step that takes
// something away, that is studied again: a job may have been started since.
func (s *operation) withRecheck(goal Goal, p plan.Plan, check func(context.Context, plan.Step) error, accept []string) func(context.Context, plan.Step) error {
	return func(ctx context.Context, step plan.Step) error {
		if step.Kind != plan.KindRestore || goal.consequences == nil {
			return check(ctx, step)
		}
		w, err := s.observe(ctx)
		if err != nil {
			return err
		}
		found, err := goal.consequences(ctx, p, w)
		if err != nil {
			return err
		}
		return found.requireConsent(accept)
	}
}
