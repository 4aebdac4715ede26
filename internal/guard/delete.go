package guard

import (
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// needs says which jobs need a service that is to be deleted.
type needs struct{ queued, running bool }

// neededBy: queued jobs are submitted, admitted, and started through the service.
// A stopped service only makes them wait, but a deleted one strands them. Running
// jobs do not need the service itself, but they might need its state.
func neededBy(step plan.Step, impacts map[string]pai.JobImpact) needs {
	if step.Kind != plan.KindDelete || impacts[step.Target] == pai.ImpactNone {
		return needs{}
	}
	return needs{queued: true, running: step.Wipe}
}

// decideDelete makes the decision for what a deletion affects beyond a stop.
func decideDelete(step plan.Step, needed needs, queued Fact[[]pai.JobRef], jobs func() Fact[[]pai.Job], accepted []string) Decision {
	if d := decideQueued(step, queued).accept(accepted, AcceptStrand); d.Verdict != Go || !needed.running {
		return d
	}
	return decideState(step, jobs()).acceptInterruption(accepted)
}

func decideQueued(step plan.Step, queued Fact[[]pai.JobRef]) Decision {
	if unknown := queued.unknownReason(); unknown != "" {
		return refuse(AcceptStrand, nil, "queued jobs would not start without %s, and the queued jobs are unknown: %s", step.Target, unknown)
	}
	if len(queued.value) == 0 {
		return proceed("no job is queued")
	}
	return refuse(AcceptStrand, sortRefs(queued.value), "queued jobs would not start without %s", step.Target)
}

func decideState(step plan.Step, jobs Fact[[]pai.Job]) Decision {
	if unknown := jobs.unknownReason(); unknown != "" {
		return refuse(AcceptInterrupt, nil, "running jobs might need the state of %s, and the running jobs are unknown: %s", step.Target, unknown)
	}
	if len(jobs.value) == 0 {
		return proceed("no job runs")
	}
	return refuse(AcceptInterrupt, refs(jobs.value), "running jobs might need the state of %s", step.Target)
}
