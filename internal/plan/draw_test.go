package plan

import (
	"slices"

	"pgregory.net/rapid"
)

// drawInput draws machines that run some release, or nothing yet.
func drawInput(t *rapid.T) Input {
	releases := manyReleases(rapid.IntRange(2, 7).Draw(t, "releases"))
	names := []string{"cp-01", "gpu-01", "gpu-02", "gpu-03"}[:rapid.IntRange(1, 4).Draw(t, "machines")]
	at := rapid.IntRange(0, len(releases)).Draw(t, "at")
	if at == 0 {
		return input(bare(names...), releases)
	}
	return running(releases, releases[at-1].Metadata.Name, names...)
}

// drawGoal draws a boot where nothing runs, else an upgrade.
func drawGoal(t *rapid.T, in Input) func(Input) (Plan, error) {
	to := rapid.SampledFrom(in.Releases).Draw(t, "to")
	if in.World.Current.Kubernetes == "" {
		return func(in Input) (Plan, error) { return Boot(in, pairOf(to)) }
	}
	only := rapid.IntRange(0, 3).Draw(t, "only")
	target := Target{Release: to.Metadata.Name, KubernetesOnly: only == 1, ServicesOnly: only == 2}
	return func(in Input) (Plan, error) { return Upgrade(in, target) }
}

// linear draws one order in which an executor could do the steps.
func linear(t *rapid.T, p Plan) []Step {
	done := map[StepID]bool{}
	left := slices.Clone(p.Steps)
	var order []Step
	for len(left) > 0 {
		var ready []int
		for i, s := range left {
			if all := !slices.ContainsFunc(s.After, func(id StepID) bool { return !done[id] }); all {
				ready = append(ready, i)
			}
		}
		if len(ready) == 0 {
			t.Fatalf("no step is ready; left: %v", left)
		}
		i := rapid.SampledFrom(ready).Draw(t, "next")
		order = append(order, left[i])
		done[left[i].ID] = true
		left = slices.Delete(left, i, i+1)
	}
	return order
}
