package guard

import (
	"cmp"
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Impacts returns the running jobs that each step can affect, without the steps
// that affect none. impacts says how a stopped service affects running jobs; a
// service that is not in it is treated as one on the data path of the jobs. It
// reads every pod once, regardless of the number of steps.
//
// An API outage affects no running container. A change to a machine affects the
// jobs with running pods on it, and a service on the data path affects every job.
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
		risk, candidates := Risk(s, impacts), running
		if s.Target != "" && (risk == pai.RiskNode || risk == pai.RiskEviction) {
			candidates = byMachine[s.Target]
		}
		jobs := refs(affected(s, risk, candidates))
		if needed := neededBy(s, impacts); needed.queued {
			jobs = append(jobs, world.Queued...)
			if needed.running {
				jobs = append(jobs, refs(running)...)
			}
		}
		if len(jobs) > 0 {
			found[s.ID] = sortRefs(jobs)
		}
	}
	return found
}

// Risk returns how a step affects running jobs: the risk in the plan or, for a
// service, what the service declares, whichever is worse.
func Risk(step plan.Step, impacts map[string]pai.JobImpact) pai.Risk {
	if !step.Kind.Traits().OfService {
		return step.Risk
	}
	switch impacts[step.Target] {
	case pai.ImpactNone, pai.ImpactSubmission:
		return step.Risk
	default:
		return worse(step.Risk, pai.RiskDataPath)
	}
}

// worse orders risks by how much of a job they affect. An unknown risk is the worst.
func worse(a, b pai.Risk) pai.Risk {
	order := []pai.Risk{pai.RiskNone, pai.RiskAPI, pai.RiskNode, pai.RiskDataPath, pai.RiskEviction}
	ia, ib := slices.Index(order, a), slices.Index(order, b)
	if ia == -1 || (ib != -1 && ia > ib) {
		return a
	}
	return b
}

// affected returns the running jobs that a step with this risk can affect. A
// machine step that names no machine can affect all of them.
func affected(step plan.Step, risk pai.Risk, running []pai.Job) []pai.Job {
	switch {
	case risk == pai.RiskNone || risk == pai.RiskAPI:
		return nil
	case step.Target != "" && (risk == pai.RiskNode || risk == pai.RiskEviction):
		return on(step.Target, running)
	default:
		return running
	}
}

// on returns the jobs with a running pod on a machine.
func on(machine string, jobs []pai.Job) []pai.Job {
	var list []pai.Job
	for _, j := range jobs {
		if slices.Contains(j.Machines(), machine) {
			list = append(list, j)
		}
	}
	return list
}

// refs returns the names of the jobs, sorted, without duplicates.
func refs(jobs []pai.Job) []pai.JobRef {
	var list []pai.JobRef
	for _, j := range jobs {
		list = append(list, j.JobRef)
	}
	return sortRefs(list)
}

func sortRefs(list []pai.JobRef) []pai.JobRef {
	slices.SortFunc(list, func(a, b pai.JobRef) int {
		return cmp.Or(strings.Compare(a.String(), b.String()), strings.Compare(a.VirtualCluster, b.VirtualCluster))
	})
	return slices.Compact(list)
}
