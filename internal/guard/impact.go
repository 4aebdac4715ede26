package guard

import (
	"slices"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Impact lists the running jobs that a step could touch. impacts says what
// running jobs notice of each service while it is stopped; a service that is
// not in it counts as one on the jobs' data path.
//
// The API's absence touches no running container; a change to a machine can
// touch the jobs with running pods on it, a service on the data path every job.
func Impact(step plan.Step, world plan.World, impacts map[string]pai.JobImpact) []pai.JobRef {
	return Impacts([]plan.Step{step}, world, impacts)[step.ID]
}

// Impacts is Impact of many steps, without those that touch no job. It looks at
// every pod once, whatever the number of steps.
func Impacts(steps []plan.Step, world plan.World, impacts map[string]pai.JobImpact) map[plan.StepID][]pai.JobRef {
	running := world.Running()
	byMachine := map[string][]pai.Job{}
	for _, j := range running {
		for _, m := range j.Machines() {
			byMachine[m] = append(byMachine[m], j)
		}
	}
	found := map[plan.StepID][]pai.JobRef{}
	for _, s := range steps {
		candidates := running
		if s.Target != "" && slices.Contains([]pai.Risk{pai.RiskNode, pai.RiskEviction}, Risk(s, impacts)) {
			candidates = byMachine[s.Target]
		}
		jobs := refs(touched(s, Risk(s, impacts), candidates))
		if needed := neededBy(s, impacts); needed.queued {
			jobs = sortRefs(append(jobs, world.Queued...))
			if needed.running {
				jobs = sortRefs(append(jobs, refs(running)...))
			}
		}
		if len(jobs) > 0 {
			found[s.ID] = jobs
		}
	}
	return found
}

// Risk is what running jobs may notice of a step: what the planner wrote on it
// or, for a service, what the service declares, whichever is worse.
func Risk(step plan.Step, impacts map[string]pai.JobImpact) pai.Risk {
	if !step.Kind.OfService() {
		return step.Risk
	}
	switch impacts[step.Target] {
	case pai.ImpactNone, pai.ImpactSubmission:
		return step.Risk
	default:
		return worse(step.Risk, pai.RiskDataPath)
	}
}

// worse orders risks by how much of a job they can take. A risk that is not
// known is the worst.
func worse(a, b pai.Risk) pai.Risk {
	order := []pai.Risk{pai.RiskNone, pai.RiskAPI, pai.RiskNode, pai.RiskDataPath, pai.RiskEviction}
	ia, ib := slices.Index(order, a), slices.Index(order, b)
	if ia == -1 || (ib != -1 && ia > ib) {
		return a
	}
	return b
}

// touched are those of the running jobs that a step of this risk could touch.
func touched(step plan.Step, risk pai.Risk, running []pai.Job) []pai.Job {
	switch risk {
	case pai.RiskNone, pai.RiskAPI:
		return nil
	case pai.RiskNode, pai.RiskEviction:
		if step.Target == "" {
			return running // a machine step that does not say which machine
		}
		return on(step.Target, running)
	default:
		return running
	}
}

// on are the jobs with a running pod on a machine.
func on(machine string, jobs []pai.Job) []pai.Job {
	var there []pai.Job
	for _, j := range jobs {
		if slices.Contains(j.Machines(), machine) {
			there = append(there, j)
		}
	}
	return there
}

// refs names the jobs, sorted, each once.
func refs(jobs []pai.Job) []pai.JobRef {
	var list []pai.JobRef
	for _, j := range jobs {
		list = append(list, j.JobRef)
	}
	return sortRefs(list)
}

func sortRefs(list []pai.JobRef) []pai.JobRef {
	slices.SortFunc(list, func(a, b pai.JobRef) int {
		return slices.Compare([]string{a.String(), a.VirtualCluster}, []string{b.String(), b.VirtualCluster})
	})
	return slices.Compact(list)
}
