package plan

import (
	"maps"
	"slices"

	"pai.dev/pai/internal/pai"
)

// After is the world that steps are expected to lead to. Planning several hops
// plans each for the world that the one before leaves; digests gives the
// bundle digest of each release.
func (w World) After(steps []Step, digests map[pai.Release]string) World {
	w = w.clone()
	byName := make(map[string]*Machine, len(w.Machines))
	for i := range w.Machines {
		byName[w.Machines[i].Name] = &w.Machines[i]
	}
	for _, s := range steps {
		if m := byName[s.Target]; m != nil {
			m.after(s, digests)
		}
		switch s.Kind {
		case KindEtcd, KindAPIServer, KindCommit, KindRestore:
			for _, m := range byName {
				m.afterCluster(s)
			}
		case KindPKI:
			if w.ClusterID == "" {
				w.ClusterID = "new"
			}
		case KindRecord:
			w.Current.Kubernetes = s.To.Kubernetes()
		case KindService, KindRefresh:
			w.Services[s.Target] = Installed{Release: s.To.Services(), Ready: true}
		case KindConfiguration:
			w.Schema = schemaOf(s)
		case KindStop, KindDelete:
			delete(w.Services, s.Target)
		case KindServices:
			w.RecordedServices = s.To.Services()
		case KindMigrate:
			w.Unmigrated = slices.DeleteFunc(slices.Clone(w.Unmigrated), func(name string) bool { return name == s.Target })
			if s.Back() { // it was undone
				w.Unmigrated = append(w.Unmigrated, s.Target)
			}
		}
	}
	w.Current.Services = OldestInstalled(w.Services)
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

// after is what a step on the machine itself changes.
func (m *Machine) after(s Step, digests map[pai.Release]string) {
	switch s.Kind {
	case KindPrepare:
		m.Prepared = true
	case KindPrograms:
		m.Programs = append(m.Programs, s.To.Kubernetes())
	case KindImages:
		m.Images = append(m.Images, digests[s.To.Release()])
	case KindRole:
		m.Roles[s.Role] = stateAfter(s)
	case KindKubelet:
		m.Roles[RoleKubelet] = stateAfter(s)
		m.Joined, m.Unreachable = true, ""
	case KindUncordon:
		if m.Node != nil {
			m.Node.Unschedulable, m.Node.CordonedByPAI, m.Node.CordonedBy = m.Node.Unschedulable && !m.Node.CordonedByPAI, false, ""
		}
	case KindClean:
		m.Roles, m.Joined, m.Node = map[Role]RoleState{}, false, nil
	}
}

// afterCluster is what replacing etcd or the API server changes on a machine.
func (m *Machine) afterCluster(s Step) {
	switch {
	case !m.ControlPlane:
	case s.Kind == KindEtcd:
		m.handOver(RoleEtcdA, RoleEtcdB, stateAfter(s))
	case s.Kind == KindRestore:
		m.handOver(RoleEtcdA, RoleEtcdB, stateAfter(s))
		m.handOver(RoleAPIServerA, RoleAPIServerB, stateAfter(s))
	case s.Kind == KindCommit:
		committed := stateAfter(s)
		m.handOver(RoleAPIServerA, RoleAPIServerB, committed)
		m.Roles[RoleControllerManager], m.Roles[RoleScheduler] = committed, committed
	default:
		m.handOver(RoleAPIServerA, RoleAPIServerB, stateAfter(s))
	}
}

// stateAfter is the state of a role once a step has moved it.
func stateAfter(s Step) RoleState {
	return RoleState{Link: s.To.Kubernetes(), Running: s.To.Kubernetes(), Emulates: s.Emulate}
}

// handOver moves a role from the slot that runs to the other one.
func (m *Machine) handOver(a, b Role, to RoleState) {
	if m.Roles[a].Running != "" && m.Roles[a] != to {
		a, b = b, a
	}
	m.Roles[a], m.Roles[b] = to, RoleState{}
}
