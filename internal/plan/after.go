package plan

import (
	"maps"
	"slices"

	"pai.dev/pai/internal/pai"
)

// After returns the expected state after steps, so that each hop of several can
// be planned for the state that the one before leaves. digests has the bundle
// digest of each release.
func (w World) After(steps []Step, digests map[pai.Release]string) World {
	w = w.clone()
	byName := make(map[string]*MachineState, len(w.Machines))
	for i := range w.Machines {
		byName[w.Machines[i].Name] = &w.Machines[i]
	}
	for _, s := range steps {
		t := kinds[s.Kind]
		if m := byName[s.Target]; m != nil && t.onMachine != nil {
			t.onMachine(m, s, digests)
		}
		if t.onWorld != nil {
			t.onWorld(&w, s)
		}
	}
	w.Current.Services = w.OldestInstalled()
	return w
}

func (w World) clone() World {
	w.Machines = slices.Clone(w.Machines)
	for i := range w.Machines {
		m := &w.Machines[i]
		m.Programs, m.Images = slices.Clone(m.Programs), slices.Clone(m.Images)
		if m.Roles = maps.Clone(m.Roles); m.Roles == nil {
			m.Roles = map[Role]RoleState{}
		}
		if m.Node != nil {
			node := *m.Node
			m.Node = &node
		}
	}
	if w.Services = maps.Clone(w.Services); w.Services == nil {
		w.Services = map[string]Installed{}
	}
	return w
}

func prepared(m *MachineState, _ Step, _ map[pai.Release]string) { m.Prepared = true }

func hasPrograms(m *MachineState, s Step, _ map[pai.Release]string) {
	m.Programs = append(m.Programs, s.To.Kubernetes())
}

func hasImages(m *MachineState, s Step, digests map[pai.Release]string) {
	m.Images = append(m.Images, digests[s.To.Release()])
}

func movedRole(m *MachineState, s Step, _ map[pai.Release]string) { m.Roles[s.Role] = stateAfter(s) }

func joined(m *MachineState, s Step, _ map[pai.Release]string) {
	m.Roles[RoleKubelet] = stateAfter(s)
	m.Joined, m.Unreachable = true, ""
}

func uncordoned(m *MachineState, _ Step, _ map[pai.Release]string) {
	if m.Node != nil {
		m.Node.Unschedulable, m.Node.CordonedByPAI, m.Node.CordonedBy = m.Node.Unschedulable && !m.Node.CordonedByPAI, false, ""
	}
}

func cleaned(m *MachineState, _ Step, _ map[pai.Release]string) {
	m.Roles, m.Joined, m.Node = map[Role]RoleState{}, false, nil
}

func hasPKI(w *World, _ Step) {
	if w.ClusterID == "" {
		w.ClusterID = "new"
	}
}

func movedEtcd(w *World, s Step) { w.handOver(RoleEtcdA, RoleEtcdB, stateAfter(s)) }

func movedAPIServer(w *World, s Step) { w.handOver(RoleAPIServerA, RoleAPIServerB, stateAfter(s)) }

func restored(w *World, s Step) {
	movedEtcd(w, s)
	movedAPIServer(w, s)
}

func committedControlPlane(w *World, s Step) {
	movedAPIServer(w, s)
	for _, m := range w.Machines {
		if m.ControlPlane {
			m.Roles[RoleControllerManager], m.Roles[RoleScheduler] = stateAfter(s), stateAfter(s)
		}
	}
}

func installed(w *World, s Step) {
	w.Services[s.Target] = Installed{Release: s.To.Services(), Ready: true}
}

func removedService(w *World, s Step) { delete(w.Services, s.Target) }

func migrated(w *World, s Step) {
	w.Unmigrated = slices.DeleteFunc(slices.Clone(w.Unmigrated), func(name string) bool { return name == s.Target })
	if s.Back() { // it was undone
		w.Unmigrated = append(w.Unmigrated, s.Target)
	}
}

// stateAfter is the state of a role once a step has moved it.
func stateAfter(s Step) RoleState {
	return RoleState{Link: s.To.Kubernetes(), Running: s.To.Kubernetes(), Emulates: s.Emulate}
}

// handOver moves a role of the control plane from the slot that runs to the other.
func (w *World) handOver(a, b Role, to RoleState) {
	for _, m := range w.Machines {
		if !m.ControlPlane {
			continue
		}
		from, other := a, b
		if m.Roles[a].Running != "" && m.Roles[a] != to {
			from, other = b, a
		}
		m.Roles[from], m.Roles[other] = to, RoleState{}
	}
}
