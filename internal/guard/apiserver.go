package guard

import (
	"maps"
	"slices"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// replacesAPIServer reports whether a step starts another version of the API server.
func replacesAPIServer(step plan.Step) bool {
	starts := step.Kind == plan.KindAPIServer || step.Kind == plan.KindCommit || step.Kind == plan.KindEtcd && step.StartsAPIServer()
	return starts && step.From != "" && step.From != step.To
}

// decideAPIServer: a new API server alone can restart containers under kubelets
// that hash every field of a pod (kubernetes/kubernetes #128917).
func decideAPIServer(kubelets Fact[map[string]string], jobs func() Fact[[]pai.Job]) Decision {
	if unknown := kubelets.unknownReason(); unknown != "" {
		return refuse(AcceptInterrupt, nil, "the versions of the kubelets are unknown: %s", unknown)
	}
	tooOld := map[string]string{}
	for machine, v := range kubelets.value {
		if text := kubeletTooOld(v); text != "" {
			tooOld[machine] = text
		}
	}
	if len(tooOld) == 0 {
		return Decide(plan.Step{}, pai.RiskAPI, Facts{}, nil)
	}
	running := jobs()
	for _, machine := range slices.Sorted(maps.Keys(tooOld)) {
		const why = "%s: %s, and can also do so when only the API server is replaced"
		if unknown := running.unknownReason(); unknown != "" {
			return refuse(AcceptInterrupt, nil, why+"; the jobs on it are unknown: %s", machine, tooOld[machine], unknown)
		}
		if jobs := refs(on(machine, running.value)); len(jobs) > 0 {
			return refuse(AcceptInterrupt, jobs, why, machine, tooOld[machine])
		}
	}
	return proceed("no job runs on a machine whose kubelet could restart its containers")
}
