package plan

import (
	"fmt"
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
)

// reserves reports whether the kubelet of a machine gets the reservations of the
// version now: no job runs there. With less memory for pods, a kubelet that starts
// would end pods that run.
func (k *kubernetes) reserves(m MachineState) bool {
	return !k.rollback && k.waitsForReservations(m) && k.world.idle(m.Name)
}

// waitsForReservations reports whether the kubelet of a machine has other
// reservations than the version sets.
func (k *kubernetes) waitsForReservations(m MachineState) bool {
	running := m.Roles[RoleKubelet].Running
	return m.Unreachable == "" && running != "" && !k.to.Less(running) && k.o.Expected[m.Name].of(k.to).Reserves
}

// reservations adds the step that gives a kubelet the reservations of the version. It
// comes after the kubelet was replaced with those that the machine has, so that a
// busy machine gets the new version, too.
func (k *kubernetes) reservations(m MachineState, needed bool) {
	version := pai.AnyVersion(k.version(m))
	k.graph.add(k.planned(m) && needed, Step{
		ID: k.id(m, "reservations"), Kind: KindKubelet, Target: m.Name, From: version, To: version,
		Risk: k.nodeRisk(m), Differs: []string{DiffersReservations},
	}, k.id(m, "kubelet"), k.id(m, string(RoleKubeProxy)), k.id(m, string(RoleNetwork)), k.id(m, string(RoleGPU)))
}

// idle reports whether no job is known to run on a machine. During an API outage
// that is unknown.
func (w World) idle(machine string) bool {
	return w.APIReachable && !slices.ContainsFunc(w.Running(), func(j pai.Job) bool { return slices.Contains(j.Machines(), machine) })
}

// noteReservations adds a note with the machines whose jobs keep the reservations of a
// version waiting.
func (in Input) noteReservations(p *Plan) {
	k := &kubernetes{world: in.World, to: p.To.Kubernetes.Label(), o: KubernetesOptions{Expected: in.Expected}}
	var waiting []string
	for _, m := range in.World.Machines {
		if k.waitsForReservations(m) && !in.World.idle(m.Name) {
			waiting = append(waiting, m.Name)
		}
	}
	if len(waiting) > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("jobs run on %s, so these machines keep the memory, CPU, and processes that they reserve for themselves; "+
			"when their jobs have ended, run: paictl cluster k8s-bootup", strings.Join(waiting, ", ")))
	}
}

// withoutIdleSteps are steps without those that only an idle machine has, of its
// reservations and its kind: they depend on the jobs that run, which start and end all day.
func withoutIdleSteps(steps []Step) []Step {
	idle := map[StepID]bool{}
	for _, s := range steps {
		idle[s.ID] = s.Reserves() || s.Kind == KindLabels
	}
	var rest []Step
	for _, s := range steps {
		after := slices.DeleteFunc(slices.Clone(s.After), func(id StepID) bool { return idle[id] })
		if idle[s.ID] || s.Kind == KindUncordon && len(after) == 0 && len(s.After) > 0 {
			continue
		}
		s.After = after
		rest = append(rest, s)
	}
	return rest
}
