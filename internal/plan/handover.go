package plan

import "slices"

// handsOver reports whether an API server that runs is handed over. It then asks its clients to
// connect again. So the API proxy of the control plane is replaced before: the next one gets
// the new connections, and the one before serves the others, which end without a cut.
func (k *kubernetes) handsOver() bool {
	return k.world.APIReachable && !k.o.Recover && slices.ContainsFunc(k.controlPlanes, func(m MachineState) bool {
		return m.Roles[RoleAPIServerA].Running != "" || m.Roles[RoleAPIServerB].Running != ""
	})
}

// movesAPIServer reports whether the API server is to be started or handed over.
func (k *kubernetes) movesAPIServer() bool {
	return !all(k.controlPlanes, func(m MachineState) bool { return k.slots(m, RoleAPIServerA, RoleAPIServerB) })
}
