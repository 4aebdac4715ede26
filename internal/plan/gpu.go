package plan

import (
	"fmt"
	"slices"

	"pai.dev/pai/internal/pai"
)

// The agent for GPUs is an optional role: it runs on machines whose configuration says
// that they have GPUs, with versions that have the agent. Replacing or removing it
// touches no container: those that hold a GPU keep it.

// gpu adds the steps that bring the agent for GPUs to a machine, or remove it. The
// kubelet comes before, also where the agent is removed: a kubelet that starts looks
// for the GPUs of running containers.
func (k *kubernetes) gpu(m MachineState, after ...StepID) {
	wanted, there := k.offersGPUs(m), m.Roles[RoleGPU] != RoleState{}
	if wanted {
		k.role(m, RoleGPU, pai.RiskNone, after...)
		return
	}
	s := Step{
		ID: k.id(m, "gpu"), Kind: KindRemoveRole, Target: m.Name, Role: RoleGPU,
		From: pai.AnyVersion(m.Roles[RoleGPU].version()), To: pai.AnyVersion(k.version(m)), Risk: pai.RiskNone,
	}
	k.graph.add(k.planned(m) && there, s, after...)
}

// offersGPUs reports whether a machine should have the agent. A machine that has a device
// plugin for GPUs keeps that one: two of them would offer each GPU twice.
func (k *kubernetes) offersGPUs(m MachineState) bool {
	return m.Kind.GPUs > 0 && k.pins.has(RoleGPU, k.to) && (m.DevicePlugin == "" || m.Roles[RoleGPU].Link != "")
}

// noteDevicePlugins adds a note for each machine whose GPUs the operator offers.
func (in Input) noteDevicePlugins(p *Plan) {
	k := &kubernetes{to: p.To.Kubernetes.Label(), pins: PinsOf(in.Releases)}
	for _, m := range in.World.Machines {
		other := m.DevicePlugin
		m.DevicePlugin = ""
		if other != "" && k.offersGPUs(m) && m.Roles[RoleGPU].Link == "" {
			p.Notes = append(p.Notes, fmt.Sprintf("%s already has a device plugin for GPUs (%s), so PAI does not offer its GPUs; "+
				"to have PAI offer them, remove that plugin and run: paictl cluster k8s-bootup", m.Name, other))
		}
	}
}

func removedRole(m *MachineState, s Step, _ Input) { delete(m.Roles, s.Role) }

// has reports whether a version has the programs of a role.
func (p Pins) has(r Role, v pai.KubernetesVersion) bool {
	return !slices.ContainsFunc(programsOf(r), func(program string) bool { return p[v.Label()][program] == "" })
}
