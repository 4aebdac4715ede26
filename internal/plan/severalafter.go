package plan

// These are the expected effects of steps on one of several control-plane machines.

// movedEtcd: an etcd alone is handed over to the other slot. Beside others it is restarted in
// its slot. A machine that is no member joins as a learner; the first one of all is a voter.
func movedEtcd(w *World, s Step, in Input) {
	if s.Target == "" {
		in.handOver(w, s, RoleEtcdA, RoleEtcdB)
		return
	}
	voters := w.voters()
	m := w.byName()[s.Target]
	switch {
	case m.Member == MemberVoter && voters == 1:
		in.handOverOn(*m, s, RoleEtcdA, RoleEtcdB)
	default:
		slot := RoleEtcdA
		if m.Roles[RoleEtcdB].version() != "" && m.Roles[RoleEtcdA].Running == "" {
			slot = RoleEtcdB
		}
		m.Roles[slot] = in.stateAfter(*m, s, slot)
	}
	switch {
	case m.Member == MemberStopped, m.Member == MemberNone && voters == 0:
		m.Member = MemberVoter
	case m.Member == MemberNone:
		m.Member = MemberLearner
	}
}

// voters is how many machines have a vote in etcd.
func (w World) voters() int {
	n := 0
	for _, m := range w.Machines {
		if m.Member == MemberVoter {
			n++
		}
	}
	return n
}

func movedAPIServer(w *World, s Step, in Input) {
	if s.Target == "" {
		in.handOver(w, s, RoleAPIServerA, RoleAPIServerB)
		return
	}
	in.handOverOn(*w.byName()[s.Target], s, RoleAPIServerA, RoleAPIServerB)
}

// committedControlPlane: with one control-plane machine, the commit includes the controllers.
// With several, they follow when all API servers are committed.
func committedControlPlane(w *World, s Step, in Input) {
	movedAPIServer(w, s, in)
	if s.Target != "" {
		return
	}
	for _, m := range w.Machines {
		if m.ControlPlane {
			for _, r := range []Role{RoleControllerManager, RoleScheduler} {
				m.Roles[r] = in.stateAfter(m, s, r)
			}
		}
	}
}
