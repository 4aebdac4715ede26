package plan

import (
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
)

// drawInput draws machines that run some release, or nothing yet.
func drawInput(t *rapid.T) Input {
	releases := drawReleases(t, rapid.IntRange(2, 7).Draw(t, "releases"))
	names := []string{"cp-01", "gpu-01", "gpu-02", "gpu-03"}[:rapid.IntRange(1, 4).Draw(t, "machines")]
	at := rapid.IntRange(0, len(releases)).Draw(t, "at")
	if at == 0 {
		return input(bare(names...), releases)
	}
	return running(releases, releases[at-1].Metadata.Name, names...)
}

// drawReleases draws n releases that go up one upstream minor each, and patch
// releases between them: of the services alone, or also of Kubernetes, where
// upstream's patch and some programs are new.
func drawReleases(t *rapid.T, n int) []release.Manifest {
	var rows []release.Manifest
	for i, r := range manyReleases(n) {
		rows = append(rows, r)
		for patch := range rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t, "patch releases") {
			p := rows[len(rows)-1]
			suffix := fmt.Sprintf(".%d", patch+1)
			p.Metadata.Name = r.Metadata.Name + pai.Release(suffix)
			p.Services.Version = r.Services.Version + pai.ServicesVersion(suffix)
			if rapid.Bool().Draw(t, "patches Kubernetes") {
				p.Kubernetes.Version = pai.KubernetesVersion(string(r.Metadata.Name) + suffix + "-pai")
				p.Kubernetes.Upstream = fmt.Sprintf("v1.%d.%d", 30+i, patch+1)
				p.Programs = slices.Clone(p.Programs)
				for k := range p.Programs {
					if rapid.Bool().Draw(t, "patches "+p.Programs[k].Name) {
						p.Programs[k].Version += suffix
					}
				}
			}
			rows = append(rows, p)
		}
	}
	return rows
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
