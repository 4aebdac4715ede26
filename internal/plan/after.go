package plan

import (
	"maps"
	"slices"

	"pai.dev/pai/internal/pai"
)

// After returns the expected state after steps, so that each hop of several can
// be planned for the state that the one before leaves.
func (in Input) After(w World, steps []Step) World {
	w = w.clone()
	byName := w.byName()
	for _, s := range steps {
		t := kinds[s.Kind]
		if m := byName[s.Target]; m != nil && t.onMachine != nil {
			t.onMachine(m, s, in)
		}
		if t.onWorld != nil {
			t.onWorld(&w, s, in)
		}
		if len(w.Machines) != len(byName) { // one left
			byName = w.byName()
		}
	}
	w.Current.Services = w.OldestInstalled()
	return w
}

func (w World) byName() map[string]*MachineState {
	machines := make(map[string]*MachineState, len(w.Machines))
	for i := range w.Machines {
		machines[w.Machines[i].Name] = &w.Machines[i]
	}
	return machines
}

func (w World) clone() World {
	w.Machines = slices.Clone(w.Machines)
	for i := range w.Machines {
		m := &w.Machines[i]
		m.Programs, m.Images = slices.Clone(m.Programs), slices.Clone(m.Images)
		if m.ProgramDigests = maps.Clone(m.ProgramDigests); m.ProgramDigests == nil {
			m.ProgramDigests = map[pai.KubernetesVersion]string{}
		}
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

func prepared(m *MachineState, _ Step, in Input) {
	m.Prepared, m.PreparedAs = true, in.Expected[m.Name].Prepared
}

func hasBackupTimer(w *World, _ Step, _ Input) {
	for i := range w.Machines {
		w.Machines[i].BackupTimer = ""
	}
}

func hasPrograms(m *MachineState, s Step, in Input) {
	m.Programs = append(m.Programs, s.To.Kubernetes())
	m.ProgramDigests[s.To.Kubernetes()] = in.Expected[m.Name].of(s.To.Kubernetes()).Programs
}

func hasImages(m *MachineState, s Step, in Input) {
	m.Images = append(m.Images, in.Digests[s.To.Release()])
}

func movedRole(m *MachineState, s Step, in Input) {
	m.Roles[s.Role] = in.stateAfter(*m, s, s.Role)
}

func joined(m *MachineState, s Step, in Input) {
	m.Roles[RoleKubelet] = in.stateAfter(*m, s, RoleKubelet)
	m.Joined, m.Unreachable = true, ""
}

func labeled(m *MachineState, _ Step, _ Input) {
	if m.Node != nil {
		m.Node.Kind = m.Kind
	}
}

func uncordoned(m *MachineState, _ Step, _ Input) {
	if m.Node != nil {
		m.Node.Unschedulable, m.Node.CordonedByPAI, m.Node.CordonedBy = m.Node.Unschedulable && !m.Node.CordonedByPAI, false, ""
	}
}

func cleaned(m *MachineState, s Step, _ Input) {
	m.Roles, m.Joined, m.Node = map[Role]RoleState{}, false, nil
	switch {
	case s.Wipe:
		m.Member = MemberNone
	case m.Member != MemberNone:
		m.Member = MemberStopped
	}
}

func hasPKI(w *World, _ Step, _ Input) {
	if w.ClusterID == "" {
		w.ClusterID = "new"
	}
}

// restored: a newer minor of etcd serves what was restored.
func restored(w *World, s Step, in Input) {
	etcd := s
	if minors, known := PinsOf(in.Releases).etcdBehind(s.To.Kubernetes(), s.From.Kubernetes()); !known || minors > 0 {
		etcd.To = s.From
	}
	movedEtcd(w, etcd, in)
	movedAPIServer(w, s, in)
}

func bootstrapped(w *World, s Step, in Input) {
	w.Manifests.Bootstrap = in.Manifests[s.To.Kubernetes().Label()].Bootstrap
	w.LocalEndpoints = w.several()
}

func appliedDNS(w *World, s Step, in Input) {
	w.Manifests.DNS = in.Manifests[s.To.Kubernetes().Label()].DNS
}

func installed(w *World, s Step, _ Input) {
	w.Services[s.Target] = Installed{Release: s.To.Services(), Ready: true}
}

func removedService(w *World, s Step, _ Input) { delete(w.Services, s.Target) }

func migrated(w *World, s Step, _ Input) {
	w.Unmigrated = slices.DeleteFunc(slices.Clone(w.Unmigrated), func(name string) bool { return name == s.Target })
	if s.Back() { // it was undone
		w.Unmigrated = append(w.Unmigrated, s.Target)
	}
}

// stateAfter is the state of a role of a machine once a step has moved it.
func (in Input) stateAfter(m MachineState, s Step, r Role) RoleState {
	v := s.To.Kubernetes()
	elects := electing(r) && in.World.several()
	return RoleState{Link: v, Running: v, Emulates: s.Emulate, Elects: elects, Digests: in.Expected[m.Name].of(v).Roles[r]}
}

// handOver moves a role of the control plane from the slot that runs to the other.
func (in Input) handOver(w *World, s Step, a, b Role) {
	for _, m := range w.Machines {
		if m.ControlPlane {
			in.handOverOn(m, s, a, b)
		}
	}
}

// handOverOn is handOver on one machine.
func (in Input) handOverOn(m MachineState, s Step, a, b Role) {
	to, retired := a, b
	if m.Roles[a].Running != "" && m.Roles[a] != in.stateAfter(m, s, a) {
		to, retired = b, a
	}
	m.Roles[to], m.Roles[retired] = in.stateAfter(m, s, to), RoleState{}
}
