package guard

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// decideDrain: a machine is drained when neither its containers nor its pods in the API
// are of a job. Both count: after a reboot, the pods are there and start again, and a pod
// that was just scheduled has no container yet.
func decideDrain(step plan.Step, f Facts, accepted []string) Decision {
	risk := AcceptEvict(step.Target)
	jobs, idle, unknown := jobsOnMachine(step.Target, f)
	var pods []corev1.Pod
	for _, p := range f.Pods.value {
		if p.Labels[pai.LabelJob] != "" {
			pods = append(pods, p)
		}
	}
	for i := range pods {
		jobs = append(jobs, running.JobOf(&pods[i]))
	}
	jobs = sortRefs(slices.Clone(jobs))
	if unknown == "" {
		unknown = f.Pods.unknownReason()
	}
	switch {
	case unknown != "":
		// What the operator knows of the machine replaces the observation. The step evicts.
		d := refuse(risk, jobs, "the jobs on %s are unknown: %s", step.Target, unknown).accept(accepted, risk)
		if !f.Containers.known {
			d = d.accept(accepted, AcceptLose(step.Target))
		}
		d.EndsJobs = d.Verdict == Go
		return d
	case idle && len(pods) == 0:
		return proceed("no job is on %s", step.Target)
	}
	d := Decision{Verdict: Wait, Jobs: jobs, Next: hint(risk, jobs), Reason: "jobs run on " + step.Target}
	d.NeedsEviction = slices.Contains(accepted, risk)
	return d.accept(accepted, risk)
}
