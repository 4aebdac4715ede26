package plan

import "pai.dev/pai/internal/pai"

// Clean plans the steps that take Kubernetes off the machines: workers first,
// the control plane last, so that machines can still leave the cluster. Wipe
// takes etcd's data and the certificates as well. Without it a machine that
// runs nothing of Kubernetes is left out.
func Clean(w World, wipe bool) []Step {
	d := stepGraph{phase: "clean"}
	var workers []StepID
	for _, controlPlane := range []bool{false, true} {
		for _, m := range w.Machines {
			if m.ControlPlane != controlPlane {
				continue
			}
			risk := pai.RiskNone
			if m.Joined || m.Node != nil || m.Unreachable != "" {
				risk = pai.RiskEviction
			}
			needed := wipe || m.Unreachable != "" || m.Joined || runsAny(m)
			s := Step{ID: StepID("clean/machine/" + m.Name), Kind: KindClean, Target: m.Name, Risk: risk, Wipe: wipe, Keep: m.Foreign, From: pai.AnyVersion(m.Roles[RoleKubelet].version())}
			if controlPlane {
				d.add(needed, s, workers...)
			} else {
				workers = append(workers, d.add(needed, s))
			}
		}
	}
	return d.reduce()
}

func runsAny(m MachineState) bool {
	for _, s := range m.Roles {
		if s.Link != "" || s.Running != "" {
			return true
		}
	}
	return false
}
