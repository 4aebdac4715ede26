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
	needed := k.emulate != "" || slices.ContainsFunc(k.controlPlanes, func(m MachineState) bool {
		return slices.ContainsFunc(emulatingRoles, func(r Role) bool {
			return m.Roles[r].Emulates != "" && m.Roles[r].version().Compare(k.to) == 0
		})
	})
	k.clusterStep("commit-snapshot", KindSnapshot, needed && !k.committed(), pai.RiskNone, barrier...)
	k.clusterStep("commit", KindCommit, needed, k.apiRisk(), append(barrier, k.cluster("commit-snapshot"))...)
}
