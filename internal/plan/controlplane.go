package plan

import (
	"cmp"
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
)

// UnknownControlPlane is why the control plane was not observed; empty if it was. A
// control-plane machine has the record of the cluster, so an empty Current is unknown then,
// and does not mean that there is no cluster. Of several machines, one with the record is
// enough. Without a record, each of them could have it.
func (w World) UnknownControlPlane() string {
	all := controlPlanes(w)
	for _, m := range all {
		if m.Unreachable != "" && (w.ClusterID == "" || len(reachable(all)) == 0) {
			return m.Unreachable
		}
	}
	return ""
}

// several reports whether the cluster has several control-plane machines.
func (w World) several() bool { return len(controlPlanes(w)) > 1 }

// controlPlanes are the control-plane machines in the order in which they are changed: the
// one that stands for all, then those with a vote in etcd, then the others.
func controlPlanes(w World) []MachineState {
	list := slices.DeleteFunc(slices.Clone(w.Machines), func(m MachineState) bool { return !m.ControlPlane })
	if len(list) == 0 {
		return list
	}
	seed := seedOf(list)
	order := func(m MachineState) int {
		switch {
		case m.Name == seed:
			return 0
		case m.votes():
			return 1
		default:
			return 2
		}
	}
	slices.SortStableFunc(list, func(a, b MachineState) int { return cmp.Compare(order(a), order(b)) })
	return list
}

// seedOf names the machine through which the cluster is changed as a whole, and whose keys
// the others get: the first one whose API server runs, else the first one that has
// one, else the first one that has the data of etcd. On new machines it is the first one.
func seedOf(list []MachineState) string {
	for _, has := range []func(MachineState) bool{MachineState.runsAPIServer, MachineState.hasAPIServer, MachineState.isMember} {
		for _, m := range reachable(list) {
			if has(m) {
				return m.Name
			}
		}
	}
	return list[0].Name
}

func reachable(list []MachineState) []MachineState {
	return slices.DeleteFunc(slices.Clone(list), func(m MachineState) bool { return m.Unreachable != "" })
}

func (m MachineState) runsAPIServer() bool {
	return m.Roles[RoleAPIServerA].Running != "" || m.Roles[RoleAPIServerB].Running != ""
}

// isMember reports whether the machine is known to be a member of etcd.
func (m MachineState) isMember() bool {
	return m.Member != MemberNone && m.Member != MemberUnknown
}

// votes reports whether the machine can have a vote in etcd. What is unknown can.
func (m MachineState) votes() bool {
	return m.Member != MemberNone && m.Member != MemberLearner
}

// isUnclear reports whether the machine could be asked, and etcd could not, so that it is
// unknown whether the machine has to join. It is left out until the etcd of another one runs.
func (m MachineState) isUnclear() bool { return m.Unreachable == "" && m.Member == MemberUnknown }

// noteUnclear adds a note that names the machines that are left out.
func (in Input) noteUnclear(p *Plan) {
	if !in.World.several() {
		return
	}
	for _, m := range controlPlanes(in.World) {
		if m.isUnclear() {
			p.Notes = append(p.Notes, "no etcd runs, so it is unknown whether "+m.Name+" is a member; when etcd runs, run the command again for this machine")
		}
	}
}

// maxControlPlanes is how many control-plane machines a cluster can have.
const maxControlPlanes = 5

// checkControlPlanes refuses control planes that cannot be planned.
func (w World) checkControlPlanes() error {
	all := controlPlanes(w)
	switch {
	case len(all) == 0:
		return pai.Errorf(pai.CodeInvalid, "set k8s-role: master for one machine in layout.yaml", "no control-plane machine")
	case len(all)%2 == 0 || len(all) > maxControlPlanes:
		return pai.Errorf(pai.CodeInvalid, "set k8s-role: master for 1, 3, or 5 machines in layout.yaml", "%d control-plane machines", len(all))
	}
	if left := w.leftMembers(); len(left) > 0 {
		return pai.Errorf(pai.CodeRefused, "set k8s-role: master for these machines again in layout.yaml; or, if one is lost and another takes its place, run: paictl machine replace LOST --with MACHINE",
			"these machines are members of etcd, and the configuration has no control plane there: %s", strings.Join(left, ", "))
	}
	if len(all) == 1 {
		return nil
	}
	here := reachable(all)
	voting := slices.ContainsFunc(here, MachineState.votes)
	starts := slices.ContainsFunc(here, func(m MachineState) bool { return m.Member == MemberStopped })
	for _, m := range all {
		switch {
		case m.isUnclear() && !starts:
			return pai.Errorf(pai.CodeFailed, "start etcd on a control-plane machine and run the command again; for its state, run: paictl check",
				"it is unknown whether %s is a member of etcd", m.Name)
		case m.Unreachable != "" && (w.ClusterID == "" || len(here) == 0 || !voting && m.votes()):
			return pai.Errorf(pai.CodeFailed, "make the machine reachable and run the command again",
				"control-plane machine %s could have the only data of the cluster, and is unreachable: %s", m.Name, m.Unreachable)
		}
	}
	return nil
}

// leftMembers names what is a member of etcd on a machine that is no control-plane machine.
// In a cluster with one control-plane machine, a check lists the members outside the layout that
// PAI did not add.
func (w World) leftMembers() []string {
	var names []string
	for _, m := range w.Machines {
		if !m.ControlPlane && m.Member != MemberNone {
			names = append(names, m.Name)
		}
	}
	for _, m := range w.Unconfigured.EtcdMembers {
		if w.several() || m.ofPAI() {
			names = append(names, cmp.Or(m.Name, m.ID))
		}
	}
	return names
}

// refuseSeveral refuses what is not there yet for several control-plane machines.
func (w World) refuseSeveral(what, next string) error {
	if !w.several() {
		return nil
	}
	return pai.Errorf(pai.CodeRefused, next, "%s is not supported yet with %d control-plane machines", what, len(controlPlanes(w)))
}

// firstWithSeveral is the first version whose programs run on several control-plane machines.
const firstWithSeveral pai.KubernetesVersion = "v0.11-pai"

// checkGrown refuses a hop before every control-plane machine has its part of the cluster: one
// risky change at a time.
func (w World) checkGrown(to pai.KubernetesVersion) error {
	if w.Current.Kubernetes == "" || !w.Current.Kubernetes.Less(to) {
		return nil
	}
	missing := w.withoutVote()
	if missing == "" && w.several() && w.APIReachable && !w.LocalEndpoints {
		missing = "pods reach the API through one machine alone"
	}
	if missing == "" {
		return nil
	}
	next := "set kubernetes.version to " + string(w.Current.Kubernetes) + " and run: paictl cluster k8s-bootup; then upgrade"
	if w.Current.Kubernetes.Less(firstWithSeveral) {
		next = "set k8s-role: master for one machine in layout.yaml and upgrade; then set it for the others and run: paictl cluster k8s-bootup"
	}
	return pai.Errorf(pai.CodeRefused, next, "the control plane has not grown to all of its machines: %s", missing)
}

// withoutVote describes a control-plane machine of several that has no vote in etcd; empty if
// there is none.
func (w World) withoutVote() string {
	for _, m := range controlPlanes(w) {
		if w.several() && (!m.votes() || m.isUnclear()) {
			return m.Name + " has no vote in etcd"
		}
	}
	return ""
}

// lostControlPlane is a control-plane machine that is unreachable and can have a vote in etcd.
func (k *kubernetes) lostControlPlane() (MachineState, bool) {
	i := slices.IndexFunc(k.controlPlanes, func(m MachineState) bool { return m.Unreachable != "" && m.votes() })
	if i < 0 {
		return MachineState{}, false
	}
	return k.controlPlanes[i], true
}

// checkQuorum refuses steps that stop a part of the control plane while a machine of it is
// lost: with two away, etcd could have no quorum. Steps that only start something are done.
func (k *kubernetes) checkQuorum(steps []Step) error {
	lost, found := k.lostControlPlane()
	if !found || !k.several() {
		return nil
	}
	next := "start " + lost.Name + " and run the command again; if it is lost, run: paictl machine replace " + lost.Name + " --with MACHINE"
	if k.world.isBetweenVersions() { // no machine can join then
		next = "start " + lost.Name + " and run the command again"
	}
	if lost.Maintenance != nil {
		next = "return it first; run: paictl machine return " + lost.Name
	}
	for _, s := range steps {
		if s.StopsControlPlane() && s.Target != lost.Name {
			return pai.Errorf(pai.CodeRefused, next, "%s of %s would stop a part of the control plane, and %s is unreachable: %s", s.Kind, s.Target, lost.Name, lost.Unreachable)
		}
	}
	return nil
}
