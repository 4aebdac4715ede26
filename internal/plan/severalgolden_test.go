package plan

import (
	"slices"
	"testing"

	"pai.dev/pai/internal/pai"
)

var ninePair = pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"}

// busy runs a job on a machine.
func busy(in Input, machine string) Input {
	in.World.Jobs = []pai.Job{{JobRef: pai.JobRef{User: "ann", Name: "llama"}, Pods: []pai.Pod{{Machine: machine, Containers: []pai.Container{{State: pai.ContainerRunning}}}}}}
	return in
}

// partly is what a plan leaves that was killed after the step with an ID.
func partly(t *testing.T, in Input, p Plan, err error, last StepID) Input {
	t.Helper()
	i := slices.IndexFunc(p.Steps, func(s Step) bool { return s.ID == last })
	if err != nil || i < 0 {
		t.Fatalf("no step %s: %v", last, err)
	}
	in.World = in.After(in.World, p.Steps[:i+1])
	return in
}

func TestSeveralControlPlanesPlansGolden(t *testing.T) {
	t.Parallel()
	two := twoReleases()
	three := runningSeveral(two, "v0.9", 3, "gpu-01")
	growing := busy(grown(running(two, "v0.9", "cp-01", "gpu-01", "gpu-02"), "gpu-01", "cp-03"), "gpu-01")
	upgrade := func(in Input) (Plan, error) { return Upgrade(in, Target{Release: "v0.10", KubernetesOnly: true}) }
	checkPlans(t, map[string]func() (Plan, error){
		"several-boot":         func() (Plan, error) { return Boot(input(bareSeveral(3), two), ninePair) },
		"several-boot-workers": func() (Plan, error) { return Boot(input(bareSeveral(3, "gpu-01", "gpu-02"), two), ninePair) },
		"several-grow":         func() (Plan, error) { return Boot(growing, ninePair) },
		"several-grow-lost-worker": func() (Plan, error) {
			return Boot(off(growing, "gpu-02"), ninePair)
		},
		"several-grow-lost-joining": func() (Plan, error) {
			p, err := Boot(growing, ninePair)
			return Boot(off(partly(t, growing, p, err, "kubernetes/v0.9-pai/machine/gpu-01/etcd"), "cp-03"), ninePair)
		},
		"several-hop": func() (Plan, error) { return upgrade(three) },
		"several-rollback": func() (Plan, error) {
			p, err := upgrade(three)
			in := partly(t, three, p, err, "kubernetes/v0.10-pai/cluster/commit-snapshot")
			return Rollback(in, ninePair, Target{KubernetesOnly: true})
		},
		"several-stopped": func() (Plan, error) {
			in := three
			in.World = in.After(in.World, Clean(in.World, false))
			return Boot(in, ninePair)
		},
		"several-lost-other-stopped": func() (Plan, error) {
			in := off(three, "cp-03")
			in.World = in.World.clone()
			m := in.World.byName()["cp-02"]
			for _, r := range []Role{RoleEtcdA, RoleAPIServerA, RoleControllerManager, RoleScheduler} {
				m.Roles[r] = RoleState{Link: m.Roles[r].Link}
			}
			return Boot(in, ninePair)
		},
		"several-maintain": func() (Plan, error) { return Maintain(busy(three, "cp-02").World, "cp-02") },
		"several-return":   func() (Plan, error) { return Return(awayFrom(three, "cp-02"), "cp-02") },
		"several-return-without-api": func() (Plan, error) {
			in := awayFrom(three, "cp-02")
			in.World.APIReachable = false
			return Return(in, "cp-02")
		},
		"several-boot-during-maintenance": func() (Plan, error) { return Boot(awayFrom(three, "cp-02"), ninePair) },
		"several-replace": func() (Plan, error) {
			return Replace(replacing(busy(three, "gpu-01"), "cp-01", "gpu-01"), "cp-01", "gpu-01")
		},
		"several-replace-continued": func() (Plan, error) {
			in := replacing(three, "cp-03", "gpu-01")
			p, err := Replace(in, "cp-03", "gpu-01")
			return Replace(partly(t, in, p, err, "kubernetes/v0.9-pai/machine/gpu-01/etcd"), "cp-03", "gpu-01")
		},
		"several-clean": func() (Plan, error) { return CleanPlan(three.World, false) },
	})
}
