package plan

import (
	"slices"

	"pai.dev/pai/internal/pai"
)

// Clean plans the steps that take Kubernetes off the machines: workers first,
// the control plane last, so that machines can still leave the cluster. Wipe
// takes etcd's data and the certificates as well. Without it a machine that
// runs nothing of Kubernetes is left out. Of several control-plane machines, the one that
// stands for all is the last.
func Clean(w World, wipe bool) []Step {
	d := stepGraph{phase: "clean"}
	var before []StepID
	for _, controlPlane := range []bool{false, true} {
		machines := workersOf(w)
		if controlPlane {
			machines = controlPlanes(w)
			slices.Reverse(machines)
		}
		for _, m := range machines {
			risk := pai.RiskNone
			if m.Joined || m.Node != nil || m.Unreachable != "" {
				risk = pai.RiskEviction
			}
			needed := wipe || m.Unreachable != "" || m.Joined || runsAny(m)
			s := Step{ID: StepID("clean/machine/" + m.Name), Kind: KindClean, Target: m.Name, Risk: risk, Wipe: wipe, Keep: m.Foreign, From: pai.AnyVersion(m.Roles[RoleKubelet].version())}
			if controlPlane {
				id := d.add(needed, s, before...)
				if m.Unreachable == "" || len(machines) == 1 { // a lost one of several keeps no other from its clean
					before = append(slices.Clone(before), id)
				}
			} else {
				before = append(before, d.add(needed, s))
			}
		}
	}
	return d.reduce()
}

func workersOf(w World) []MachineState {
	return slices.DeleteFunc(slices.Clone(w.Machines), func(m MachineState) bool { return m.ControlPlane })
}

func runsAny(m MachineState) bool {
	for _, s := range m.Roles {
		if s.Link != "" || s.Running != "" {
			return true
		}
	}
	return false
}
