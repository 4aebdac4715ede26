package plan

import (
	"fmt"
	"slices"

	"pai.dev/pai/internal/pai"
)

// firstEmulating is the first upstream minor whose API server, controller
// manager and scheduler are all run as the minor before them.
const firstEmulating = 33

// emulatingRoles are the roles that behave as an older minor until a hop is
// committed. The controllers do so as well: none of them may be newer than the
// API that it talks to.
var emulatingRoles = []Role{RoleAPIServerA, RoleAPIServerB, RoleControllerManager, RoleScheduler}

// emulates is the minor that the new control plane behaves as until the hop is
// committed. Where it is empty there is nothing to commit: the minor stays, the
// version cannot emulate, or the hop was committed already.
func (k *kubernetes) emulates() string {
	current := k.world.Current.Kubernetes
	if current == "" || !current.Less(k.to) || k.committed() {
		return ""
	}
	minors, ok := k.pins.behind(current, k.to)
	to, err := upstreamMinor(k.pins[k.to][programKubernetes])
	if !ok || err != nil || minors != 1 || to < firstEmulating {
		return ""
	}
	return fmt.Sprintf("1.%d", to-minors)
}

// committed reports whether an API server of this version, or a newer one, has
// run without emulation: the old version might not know what it stored.
func (k *kubernetes) committed() bool {
	return slices.ContainsFunc(k.controlPlanes, func(m MachineState) bool { return m.committed(k.to) })
}

func (m MachineState) committed(v pai.KubernetesVersion) bool {
	for _, r := range []Role{RoleAPIServerA, RoleAPIServerB} {
		if s := m.Roles[r]; s.version() != "" && s.version().AtLeast(v) && s.Emulates == "" {
			return true
		}
	}
	return false
}

// commit adds the point of no return of a hop: a second snapshot, because a
// rollback from there loses later writes, and the end of the emulation.
func (k *kubernetes) commit(barrier []StepID) {
	needed := k.emulate != "" || slices.ContainsFunc(k.controlPlanes, func(m MachineState) bool { return k.emulating(m, emulatingRoles...) })
	k.clusterStep("commit-snapshot", KindSnapshot, needed && !k.committed(), pai.RiskNone, barrier...)
	barrier = append(barrier, k.cluster("commit-snapshot"))
	if !k.several() {
		k.clusterStep("commit", KindCommit, needed, k.apiRisk(), barrier...)
		return
	}
	k.commitEach(barrier)
}

// commitEach commits one of several control-plane machines after the other. The controllers
// follow: they can use any API server, and must be newer than none.
func (k *kubernetes) commitEach(barrier []StepID) {
	for _, m := range k.controlPlanes {
		s := Step{ID: k.id(m, "commit"), Kind: KindCommit, Target: m.Name, From: pai.AnyVersion(k.current()), To: pai.AnyVersion(k.version(m)), Risk: k.apiRisk()}
		needed := k.emulate != "" || k.emulating(m, RoleAPIServerA, RoleAPIServerB)
		barrier = append(slices.Clone(barrier), k.graph.add(needed && k.o.Only == nil, s, barrier...))
	}
	for _, m := range k.controlPlanes {
		for _, r := range []Role{RoleControllerManager, RoleScheduler} {
			s := Step{ID: k.id(m, "commit-"+string(r)), Kind: KindRole, Target: m.Name, Role: r, From: pai.AnyVersion(k.current()), To: pai.AnyVersion(k.version(m)), Risk: k.apiRisk()}
			k.graph.add((k.emulate != "" || k.emulating(m, r)) && k.o.Only == nil, s, barrier...)
		}
	}
}

// commits lists the steps that end the emulation.
func (k *kubernetes) commits() []StepID {
	if !k.several() {
		return []StepID{k.cluster("commit")}
	}
	return slices.Concat(each(k, k.controlPlanes, "commit"),
		each(k, k.controlPlanes, "commit-"+string(RoleControllerManager)), each(k, k.controlPlanes, "commit-"+string(RoleScheduler)))
}

// emulating reports whether a role of the version behaves as an older minor.
func (k *kubernetes) emulating(m MachineState, roles ...Role) bool {
	return slices.ContainsFunc(roles, func(r Role) bool {
		return m.Roles[r].Emulates != "" && m.Roles[r].version().Compare(k.to) == 0
	})
}

// controllersEmulate is the minor that the controllers behave as. It is that of an API server
// which is not committed yet, although another one is.
func (k *kubernetes) controllersEmulate() string {
	if k.emulate != "" || !k.several() {
		return k.emulate
	}
	for _, m := range k.controlPlanes {
		for _, r := range []Role{RoleAPIServerA, RoleAPIServerB} {
			if k.emulating(m, r) {
				return m.Roles[r].Emulates
			}
		}
	}
	return ""
}
