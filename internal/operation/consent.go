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
	"pai.dev/pai/internal/session"
)

// consequences are what a plan causes beyond its steps.
type consequences struct {
	notes    []string // shown with the plan
	affected map[plan.StepID][]pai.JobRef
	// risks are the risks that the operator must accept, by name, with the reason.
	risks map[string]string
}

// Consequences finds what a rollback over a committed hop deletes: what was
// written since the snapshot, and jobs that did not run then.
func (g rollback) Consequences(ctx context.Context, s *session.Session, p plan.Plan, w plan.World) (consequences, error) {
	i := slices.IndexFunc(p.Steps, func(step plan.Step) bool { return step.Kind == plan.KindRestore })
	if i < 0 {
		return consequences{}, nil
	}
	step := p.Steps[i]
	host, err := s.ControlPlane()
	if err != nil {
		return consequences{}, err
	}
	found := consequences{risks: map[string]string{guard.AcceptLoss: "writes to the cluster since the etcd snapshot will be lost"}}
	loss, err := cluster.LossOf(ctx, host, step)
	switch {
	case err != nil && w.APIReachable:
		return consequences{}, fmt.Errorf("determine what the rollback would lose: %w", err)
	case err != nil:
		// An earlier run stopped etcd, after its loss was accepted.
		found.notes = []string{"cannot determine what the rollback would lose: " + err.Error()}
		found.risks[guard.AcceptInterrupt] = "unknown which jobs started since the snapshot"
		return found, nil
	case loss.Snapshot == "":
		found.notes = []string{"an earlier run restored etcd; nothing more will be lost"}
		return found, nil
	}
	changed, err := changedJobs(loss)
	if err != nil { // what cannot be observed counts as unsafe
		found.notes = append(lossNotes(loss, nil), "cannot determine which jobs the rollback would change: "+err.Error())
		found.risks[guard.AcceptInterrupt] = "unknown which jobs started since the snapshot"
		return found, nil
	}
	found.notes = lossNotes(loss, changed)
	if ended := endedBy(changed); len(ended) > 0 {
		found.affected = map[plan.StepID][]pai.JobRef{step.ID: ended}
		text := "jobs that started since the snapshot would end: " + pai.JobRefs(ended).String()
		found.risks[guard.AcceptInterrupt] = text
		found.notes = append(found.notes, text)
	}
	return found, nil
}

// lossNotes describe a loss.
func lossNotes(loss cluster.Loss, changed []changedJob) []string {
	var kinds []string
	for _, k := range loss.Kinds {
		kinds = append(kinds, k.String())
	}
	text := "nothing"
	if len(kinds) > 0 {
		text = strings.Join(kinds, "; ")
	}
	notes := []string{fmt.Sprintf("restores etcd from snapshot %s, taken %s ago; later writes that will be lost: %s",
		loss.Snapshot, time.Since(loss.Taken).Round(time.Second), text)}
	if loss.UsersChanged {
		notes = append(notes, "the users and tokens of the REST server stay as they are now: what was revoked stays revoked")
	}
	return append(notes, changedNotes(changed)...)
}

// requireConsent is the stage that refuses consequences that the operator did
// not accept.
func (o *operation) requireConsent(context.Context) error {
	return o.preview.consequences.requireConsent(o.options.Accept)
}

func (c consequences) requireConsent(accepted []string) error {
	var reasons, flags []string
	for _, risk := range slices.Sorted(maps.Keys(c.risks)) {
		byName := risk == guard.AcceptInterrupt && guard.AcceptsInterruptions(accepted, c.ended())
		if !slices.Contains(accepted, risk) && !byName {
			reasons = append(reasons, c.risks[risk])
			flags = append(flags, "--accept-risk="+risk)
		}
	}
	if len(reasons) == 0 {
		return nil
	}
	return pai.Errorf(pai.CodeRefused, "to accept this, run the command again with "+strings.Join(flags, " "), "refused: %s", strings.Join(reasons, "; "))
}

// ended lists the jobs that end, of all steps.
func (c consequences) ended() []pai.JobRef {
	return slices.Concat(slices.Collect(maps.Values(c.affected))...)
}

// withRecheck is the admission of one operation. Right before a step with
// consequences they are determined again, because a job might have started.
func (o *operation) withRecheck(admit func(context.Context, plan.Step) ([]pai.JobRef, error)) func(context.Context, plan.Step) ([]pai.JobRef, error) {
	g, ok := o.goal.(consented)
	decides, _ := o.goal.(admitting)
	return func(ctx context.Context, step plan.Step) ([]pai.JobRef, error) {
		if decides != nil {
			if decided, err := decides.Admit(ctx, o, step); decided || err != nil {
				return nil, err
			}
		}
		if step.Kind != plan.KindRestore || !ok {
			return admit(ctx, step)
		}
		w, err := Observe(ctx, o.Session)
		if err != nil {
			return nil, err
		}
		found, err := g.Consequences(ctx, o.Session, o.preview.Plan, w)
		if err != nil {
			return nil, err
		}
		return nil, found.requireConsent(o.options.Accept)
	}
}
