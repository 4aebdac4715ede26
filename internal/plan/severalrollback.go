package plan

import "slices"

// rollbackEach adds the API server and etcd of one control-plane machine after the other, in
// the reverse order of a hop. Members that only have to start come first, so that there is a
// quorum.
func (k *kubernetes) rollbackEach(barrier []StepID) {
	last := slices.Clone(barrier)
	for _, m := range k.controlPlanes {
		if !m.runsEtcd() {
			k.rollbackEtcdOf(m, k.id(m, "programs"))
			if m.Unreachable == "" {
				last = append(last, k.id(m, "etcd"))
			}
		}
	}
	for _, m := range slices.Backward(k.controlPlanes) {
		k.slotStep(m, "apiserver", KindAPIServer, k.staleOn(m, RoleAPIServerA, RoleAPIServerB), []Role{RoleAPIServerA, RoleAPIServerB}, last...)
		done := k.id(m, "apiserver")
		if m.runsEtcd() {
			k.rollbackEtcdOf(m, append(slices.Clone(last), done)...)
			done = k.id(m, "etcd")
		}
		if m.Unreachable == "" {
			last = []StepID{done}
		}
	}
}

func (k *kubernetes) rollbackEtcdOf(m MachineState, after ...StepID) {
	k.slotStep(m, "etcd", KindEtcd, k.staleOn(m, RoleEtcdA, RoleEtcdB), []Role{RoleEtcdA, RoleEtcdB}, after...)
}

// ofControlPlane lists the steps for etcd or the API server: one of the control plane as a
// whole, or one of each machine.
func (k *kubernetes) ofControlPlane(what string) []StepID {
	if k.several() {
		return each(k, k.controlPlanes, what)
	}
	return []StepID{k.cluster(what)}
}
