package plan

import (
	"fmt"
	"strings"
	"testing"

	"pai.dev/pai/internal/golden"
	"pai.dev/pai/internal/pai"
)

// Each file of testdata/plans is one plan as people see it, and what each of
// its steps waits for.
func TestPlansGolden(t *testing.T) {
	two := twoReleases()
	upgrade := func(in Input, target Target) (Plan, error) { return Upgrade(in, target) }
	for _, c := range []struct {
		name string
		plan func() (Plan, error)
	}{
		{"boot-first", func() (Plan, error) {
			return Boot(input(bare("cp-01", "gpu-01"), two), pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"})
		}},
		{"boot-incomplete", func() (Plan, error) {
			in := input(bare("cp-01", "gpu-01"), two)
			p, err := Boot(in, pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"})
			if err != nil {
				return p, err
			}
			in.World = in.After(in.World, p.Steps[:12])
			return Boot(in, pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"})
		}},
		{"boot-machine-added", func() (Plan, error) {
			in := running(two, "v0.9", "cp-01")
			in.World.Machines = append(in.World.Machines, MachineState{Name: "gpu-01", Address: "10.0.0.2"})
			return Boot(in, pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"})
		}},
		{"boot-after-clean-to-newer", func() (Plan, error) {
			in := running(two, "v0.9", "cp-01", "gpu-01")
			in.World = in.After(in.World, Clean(in.World, false))
			return Boot(in, pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"})
		}},
		{"upgrade-guide", func() (Plan, error) {
			return upgrade(running(two, "v0.9", "cp-01", "gpu-01"), Target{Release: "v0.10"})
		}},
		{"upgrade-incomplete", func() (Plan, error) {
			in := running(two, "v0.9", "cp-01", "gpu-01")
			p, err := upgrade(in, Target{Release: "v0.10"})
			if err != nil {
				return p, err
			}
			in.World = in.After(in.World, p.Steps[:9])
			return upgrade(in, Target{Release: "v0.10"})
		}},
		{"upgrade-nothing", func() (Plan, error) {
			return upgrade(running(two, "v0.10", "cp-01", "gpu-01"), Target{Release: "v0.10"})
		}},
		{"upgrade-straggler", func() (Plan, error) {
			in := running(two, "v0.10", "cp-01", "gpu-01")
			m := &in.World.Machines[1]
			m.Roles[RoleKubelet] = RoleState{Link: "v0.9-pai", Running: "v0.9-pai"}
			m.Node.Unschedulable, m.Node.CordonedByPAI = true, true
			return upgrade(in, Target{Release: "v0.10"})
		}},
		{"upgrade-straggler-too-old", func() (Plan, error) {
			in := running(manyReleases(5), "v0.12", "cp-01", "gpu-01", "gpu-02")
			m := &in.World.Machines[1]
			m.Roles[RoleKubelet] = RoleState{Link: "v0.9-pai", Running: "v0.9-pai"}
			return upgrade(in, Target{Release: "v0.13", KubernetesOnly: true})
		}},
		{"upgrade-several", func() (Plan, error) {
			return upgrade(running(manyReleases(5), "v0.9", "cp-01", "gpu-01"), Target{Release: "v0.13"})
		}},
		{"service-stop", func() (Plan, error) { return StopPlan(running(two, "v0.9", "cp-01"), Choice{}) }},
		{"service-stop-one", func() (Plan, error) {
			return StopPlan(running(two, "v0.9", "cp-01"), Choice{Names: []string{"jobset"}})
		}},
		{"service-start-one", func() (Plan, error) {
			in := running(two, "v0.9", "cp-01")
			delete(in.World.Services, "jobset")
			delete(in.World.Services, "rest-server")
			return Start(in, "v0.9", Choice{Names: []string{"rest-server"}})
		}},
		{"service-stop-skip", func() (Plan, error) {
			return StopPlan(running(two, "v0.9", "cp-01"), Choice{Skip: []string{"kueue", "storage"}})
		}},
		{"service-start-skip", func() (Plan, error) {
			in := running(two, "v0.9", "cp-01")
			delete(in.World.Services, "jobset")
			delete(in.World.Services, "rest-server")
			return Start(in, "v0.9", Choice{Skip: []string{"kueue", "storage"}})
		}},
		{"service-refresh", func() (Plan, error) { return Refresh(running(two, "v0.9", "cp-01"), nil, "v0.10") }},
		{"service-delete", func() (Plan, error) {
			in := running(two, "v0.10", "cp-01")
			in.Services["v0.10"][4].Volume = "prometheus"
			return DeletePlan(in, "prometheus", true)
		}},
		{"clean", func() (Plan, error) {
			return CleanPlan(running(two, "v0.9", "cp-01", "gpu-01", "gpu-02").World, false)
		}},
		{"clean-wipe", func() (Plan, error) { return CleanPlan(bare("cp-01", "gpu-01"), true) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, err := c.plan()
			if err != nil {
				t.Fatal(err)
			}
			golden.Check(t, "testdata/plans/"+c.name+".txt", Text(p, jobsOn(p, "gpu-01"))+waits(p))
		})
	}
}

// jobsOn says that one job runs on a machine.
func jobsOn(p Plan, machine string) map[StepID][]pai.JobRef {
	impact := map[StepID][]pai.JobRef{}
	for _, s := range p.Steps {
		if s.Target == machine && (s.Risk == pai.RiskNode || s.Risk == pai.RiskEviction) {
			impact[s.ID] = []pai.JobRef{{User: "ann", Name: "llama"}}
		}
	}
	return impact
}

func waits(p Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n---- what each step waits for\n")
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "%s\n", s.ID)
		for _, id := range s.After {
			fmt.Fprintf(&b, "  %s\n", id)
		}
	}
	return b.String()
}
