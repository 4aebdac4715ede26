package guard

import (
	"fmt"
	"slices"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Decide returns the decision for one step. It is a pure function. risk is the
// result of Risk for the step, accepted are the risks that the operator accepted.
func Decide(step plan.Step, risk pai.Risk, f Facts, accepted []string) Decision {
	switch risk {
	case pai.RiskNone:
		return proceed("running jobs are not affected")
	case pai.RiskAPI:
		return proceed("only the Kubernetes API can be unavailable for a moment; running containers are not affected")
	case pai.RiskNode:
		return decideNode(step, f, accepted)
	case pai.RiskEviction:
		return decideEviction(step, f, accepted)
	default:
		return decideDataPath(step, risk, f).acceptInterruption(accepted)
	}
}

// decideNode: an idle machine can be changed. A busy machine can be changed only
// in place, if every rule is met. An idle machine that does not meet the rules
// must stay idle during the step.
func decideNode(step plan.Step, f Facts, accepted []string) Decision {
	if step.Kind == plan.KindDrain {
		return decideDrain(step, f, accepted)
	}
	jobs, idle, unknown := jobsOnMachine(step.Target, f)
	rules, known := inPlaceRules(step)
	risk := AcceptEvict(step.Target)
	d := Decision{Verdict: Wait, Jobs: jobs, Next: hint(risk, jobs)}
	switch {
	case idle:
		d = proceed("no job runs on %s", step.Target)
		d.NeedsCordon = !known || len(violations(rules, f)) > 0
		return d
	case known && len(rules) == 0:
		d = proceed("the step changes routes and service addresses, but not the network of running pods")
		d.Jobs = jobs
		return d
	case unknown != "":
		return refuse(risk, jobs, "the jobs on %s are unknown: %s", step.Target, unknown).accept(accepted, risk)
	case !known:
		d.Reason = fmt.Sprintf("step %s has no rules for a machine with running jobs", step.ID)
	default:
		d.decideFrom(step, violations(rules, f))
	}
	d.NeedsEviction = d.Verdict != Go && slices.Contains(accepted, risk)
	return d.accept(accepted, risk)
}

// decideFrom turns violations into a verdict: a violated rule waits for an idle
// machine, and an unknown fact is refused.
func (d *Decision) decideFrom(step plan.Step, list []violation) {
	if len(list) == 0 {
		d.Verdict, d.Next = Go, ""
		d.Reason = fmt.Sprintf("%s meets every condition for a change in place; running containers are not affected", step.Target)
		return
	}
	if slices.ContainsFunc(list, func(v violation) bool { return v.unknown }) {
		d.Verdict = Refuse
	}
	d.Transient = !slices.ContainsFunc(list, func(v violation) bool { return !v.transient() })
	if slices.ContainsFunc(list, func(v violation) bool { return v.rule == ruleShims }) {
		d.Next = fmt.Sprintf("if %s is busy or out of memory, free resources and run the command again; on the machine, "+
			"ps -eo pid,stat,wchan,args shows what each shim waits for\n%s", step.Target, d.Next)
	}
	d.Reason = fmt.Sprintf("%s cannot be changed in place while jobs run there: %s", step.Target, describe(list))
}

func decideEviction(step plan.Step, f Facts, accepted []string) Decision {
	jobs, idle, unknown := jobsOnMachine(step.Target, f)
	if idle {
		return proceed("no job runs on %s", step.Target)
	}
	risk := AcceptEvict(step.Target)
	d := refuse(risk, jobs, "the step would end the jobs on %s", step.Target)
	if unknown != "" {
		d = refuse(risk, jobs, "the step would end every pod on %s, and its jobs are unknown: %s", step.Target, unknown)
	}
	d = d.accept(accepted, risk)
	d.EndsJobs = d.Verdict == Go
	return d
}

func decideDataPath(step plan.Step, risk pai.Risk, f Facts) Decision {
	if unknown := f.Jobs.unknownReason(); unknown != "" {
		return refuse(AcceptInterrupt, nil, "running jobs read or write through %s, and the running jobs are unknown: %s", step.Target, unknown)
	}
	jobs := refs(affected(step, risk, f.Jobs.value))
	if len(jobs) == 0 {
		return proceed("no job runs")
	}
	return refuse(AcceptInterrupt, jobs, "running jobs read or write through %s", step.Target)
}

// jobsOnMachine returns the jobs on a machine. Only the machine itself decides
// whether it is idle: after a reboot, the API still reports its pods as running.
// unknown says what could not be observed.
func jobsOnMachine(machine string, f Facts) (jobs []pai.JobRef, idle bool, unknown string) {
	if f.Jobs.known {
		jobs = refs(on(machine, f.Jobs.value))
	}
	if !f.Containers.known {
		return jobs, false, f.Containers.unknownReason()
	}
	living := 0
	for _, c := range f.Containers.value {
		if c.OfJob() {
			living++
		}
	}
	switch {
	case living == 0:
		return nil, true, ""
	case !f.Jobs.known:
		return nil, false, fmt.Sprintf("the machine has %d job containers, and the API cannot name their jobs: %s", living, f.Jobs.unknownReason())
	case len(jobs) == 0:
		return nil, false, fmt.Sprintf("the machine has %d job containers, but the API has none", living)
	default:
		return jobs, false, ""
	}
}
