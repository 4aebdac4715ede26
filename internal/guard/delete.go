package guard

import (
	"fmt"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// needs says which jobs need a service that is to be deleted.
type needs struct{ queued, running bool }

// neededBy: jobs that wait need what they are submitted, admitted and started
// through. It is not only away for a while, so a deletion strands them, where a
// stop makes them wait. Those that run do without it, but not without its state.
func neededBy(step plan.Step, impacts map[string]pai.JobImpact) needs {
	if step.Kind != plan.KindDelete || impacts[step.Target] == pai.ImpactNone {
		return needs{}
	}
	return needs{queued: true, running: step.Wipe}
}

// decideDelete answers for what a deletion is refused for besides what a stop is.
func decideDelete(step plan.Step, needed needs, queued Fact[[]pai.JobRef], jobs func() Fact[[]pai.Job], accepted []string) Decision {
	if d := decideQueued(step, queued).accept(accepted, AcceptStrand); d.Verdict != Go || !needed.running {
		return d
	}
	return decideState(step, jobs()).accept(accepted, AcceptInterrupt)
}

func decideQueued(step plan.Step, queued Fact[[]pai.JobRef]) Decision {
	d := Decision{Verdict: Refuse, Next: "mend what could not be observed and run the command again, or accept that jobs do not start: --accept-risk=" + AcceptStrand}
	switch {
	case !queued.known:
		d.Reason = fmt.Sprintf("jobs that wait would not start without %s, and which jobs wait is not known: %s", step.Target, queued.why())
		return d
	case len(queued.value) == 0:
		return Decision{Verdict: Go, Reason: "no job waits to start"}
	}
	d.Jobs = sortRefs(queued.value)
	d.Reason = fmt.Sprintf("jobs that wait would not start without %s", step.Target)
	d.Next = "wait until these jobs have begun, or stop them with paictl job stop, and run the command again: " + joinRefs(d.Jobs) +
		"\nor accept that they do not start: --accept-risk=" + AcceptStrand
	return d
}

func decideState(step plan.Step, jobs Fact[[]pai.Job]) Decision {
	d := Decision{Verdict: Refuse, Next: nextFor(AcceptInterrupt, nil)}
	switch {
	case !jobs.known:
		d.Reason = fmt.Sprintf("running jobs may need the state of %s, and which jobs run is not known: %s", step.Target, jobs.why())
		return d
	case len(jobs.value) == 0:
		return Decision{Verdict: Go, Reason: "no job runs"}
	}
	d.Jobs = refs(jobs.value)
	d.Reason = fmt.Sprintf("running jobs may need the state of %s", step.Target)
	d.Next = nextFor(AcceptInterrupt, d.Jobs)
	return d
}
