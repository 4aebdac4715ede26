package operation

import (
	"context"
	"errors"
	"slices"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
)

// room is the machines whose cordon by PAI was lifted for the time of an
// operation: services that are rolled would find no place.
type liftedCordons struct {
	nodes  nodes
	lifted map[string]string // machine → the operation that cordoned it
}

// liftCordons lifts PAI's own cordons where a plan rolls pods and no machine would
// take them, and those of the control plane's machines, on which some services
// keep their state. An operator's cordon is not PAI's to lift.
func liftCordons(ctx context.Context, n nodes, p plan.Plan, w plan.World) (liftedCordons, error) {
	r := liftedCordons{nodes: n, lifted: map[string]string{}}
	if !rollsPods(p) {
		return r, nil
	}
	place := slices.ContainsFunc(w.Machines, func(m plan.Machine) bool { return m.Node != nil && !m.Node.Unschedulable })
	for _, m := range w.Machines {
		if m.Node == nil || !m.Node.CordonedByPAI || (place && !m.ControlPlane) {
			continue
		}
		if err := n.Uncordon(ctx, m.Name); err != nil {
			ctx, cancel := cleanupContext(ctx)
			defer cancel()
			return r, errors.Join(err, r.restoreCordons(ctx, p, run.Result{}))
		}
		r.lifted[m.Name] = m.Node.CordonedBy
	}
	return r, nil
}

func rollsPods(p plan.Plan) bool {
	for _, s := range p.Steps {
		if s.Kind == plan.KindService || s.Kind == plan.KindRefresh || s.Kind == plan.KindDNS {
			return true
		}
	}
	return false
}

// restoreCordons cordons again what was lifted, except machines that need wait no
// longer, because their last step has been done.
func (r liftedCordons) restoreCordons(ctx context.Context, p plan.Plan, result run.Result) error {
	var problems []error
	for machine, operation := range r.lifted {
		if !done(p, result, machine) {
			_, err := r.nodes.Cordon(ctx, machine, operation)
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// done reports whether a plan was to take back the cordon of a machine, and
// has come so far.
func done(p plan.Plan, result run.Result, machine string) bool {
	for i, s := range p.Steps {
		if s.Kind == plan.KindUncordon && s.Target == machine && i < len(result.Steps) {
			o := result.Steps[i].Outcome
			return o == pai.OutcomeSucceeded || o == pai.OutcomeSkipped
		}
	}
	return false
}
