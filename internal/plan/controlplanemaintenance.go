package plan

import (
	"cmp"
	"fmt"
	"slices"

	"pai.dev/pai/internal/pai"
)

// The maintenance of one of several control-plane machines. When no job is left there, its API
// server, its controllers, and its etcd are stopped, and they start again with its return. In
// between, the loss of another voter can cost the quorum. So a second control-plane machine is not
// taken out of service, and a machine in maintenance counts as lost for every other plan.

// mayMaintain returns an error if a control-plane machine must not be taken out of service. One
// that does not run costs nothing, but two in maintenance could both not return.
func (w World) mayMaintain(m MachineState) error {
	if !m.ControlPlane {
		return nil
	}
	serves := m.runsControlPlane()
	for _, other := range controlPlanes(w) {
		why, next := other.outOfService()
		if why == "" && other.lacksController() {
			why, next = "runs no controller manager or no scheduler", "start it first; run: paictl cluster k8s-bootup"
		}
		if other.Name == m.Name || why == "" || !serves && !other.InMaintenance() {
			continue
		}
		return pai.Errorf(pai.CodeRefused, next, "%s must stay in service, because %s %s, and etcd could lose its quorum", m.Name, other.Name, why)
	}
	switch {
	case !serves:
		return nil
	case w.isBetweenVersions():
		return pai.Errorf(pai.CodeRefused, "complete the upgrade first; run: paictl upgrade apply",
			"%s must stay in service, because Kubernetes is between two versions, and its return could bring it to neither", m.Name)
	case !w.LocalEndpoints:
		return pai.Errorf(pai.CodeRefused, "complete the control plane first; run: paictl cluster k8s-bootup",
			"%s must stay in service, because pods reach the API through one machine only", m.Name)
	}
	return nil
}

// lacksController reports whether a controller manager or a scheduler is missing on a machine.
func (m MachineState) lacksController() bool {
	return m.Roles[RoleControllerManager].Running == "" || m.Roles[RoleScheduler].Running == ""
}

// outOfService is why a control-plane machine does not serve, and what to do; empty if it does.
func (m MachineState) outOfService() (why, next string) {
	next = "repair " + m.Name + " and run the command again; for its state, run: paictl cluster status"
	switch {
	case m.InMaintenance():
		return "is in maintenance", "return it first; run: paictl machine return " + m.Name
	case m.Unreachable != "":
		return "is unreachable: " + m.Unreachable, next
	case m.Member != MemberVoter:
		return "has no vote in etcd", "complete the control plane first; run: paictl cluster k8s-bootup"
	case !m.runsEtcd():
		return "runs no etcd", "start it first; run: paictl cluster k8s-bootup"
	case !m.runsAPIServer():
		return "runs no API server", "start it first; run: paictl cluster k8s-bootup"
	}
	return "", ""
}

// runsControlPlane reports whether anything of the control plane runs on a machine that could
// be asked.
func (m MachineState) runsControlPlane() bool {
	return m.Unreachable == "" && slices.ContainsFunc(controlPlaneRoles, func(r Role) bool { return m.Roles[r].Running != "" })
}

var controlPlaneRoles = []Role{RoleEtcdA, RoleEtcdB, RoleAPIServerA, RoleAPIServerB, RoleControllerManager, RoleScheduler}

// CancelsMaintenance reports whether a return only removes the cordon: the machine still waits
// for its jobs, so nothing of it was stopped. Whether that is so of a control-plane machine, only
// the machine knows.
func (m MachineState) CancelsMaintenance() bool {
	stopped := m.ControlPlane && (m.Unreachable != "" || !m.runsEtcd())
	return m.WaitsForMaintenance() && !stopped
}

// planActive plans a goal from the state without the machines in maintenance, with a note that
// names each. A control-plane machine counts for the quorum, so it stays in the state, as a lost
// one, and what only it could do is left out.
func (in Input) planActive(goal func(Input) (Plan, error)) (Plan, error) {
	in, notes := in.withoutMaintenance("")
	p, err := goal(in)
	away := map[string]bool{}
	for _, m := range in.World.Machines {
		away[m.Name] = m.Maintenance != nil
	}
	p = p.leavingOut(away)
	p.Notes = append(notes, p.Notes...)
	return p, err
}

// withoutMaintenance is the input without the machines in maintenance but except, and a note that
// names each. Of several control-plane machines, one in maintenance is unreachable instead.
func (in Input) withoutMaintenance(except string) (active Input, notes []string) {
	several, machines := in.World.several(), []MachineState(nil)
	for _, m := range in.World.Machines {
		if m.Maintenance == nil || m.Name == except {
			machines = append(machines, m)
			continue
		}
		notes = append(notes, fmt.Sprintf("%s is in maintenance and is left as it is; when it can run jobs again, run: paictl machine return %s", m.Name, m.Name))
		if several && m.ControlPlane {
			machines = append(machines, MachineState{Name: m.Name, Address: m.Address, ControlPlane: true, Member: m.Member, Kind: m.Kind,
				Maintenance: m.Maintenance, Node: m.Node, Unreachable: cmp.Or(m.Unreachable, "it is in maintenance")})
		}
	}
	in.World.Machines = machines
	return in, notes
}

// leavingOut is the plan without the steps of machines, and without what waits for these steps.
func (p Plan) leavingOut(machines map[string]bool) Plan {
	out := map[StepID]bool{}
	p.Steps = slices.DeleteFunc(slices.Clone(p.Steps), func(s Step) bool {
		out[s.ID] = s.Target != "" && machines[s.Target] || slices.ContainsFunc(s.After, func(id StepID) bool { return out[id] })
		return out[s.ID]
	})
	return p
}

// stoppedServing is the effect of KindStopServing: the links of the roles stay.
func stoppedServing(m *MachineState, _ Step, _ Input) {
	for _, r := range controlPlaneRoles {
		if s := m.Roles[r]; s.Running != "" {
			m.Roles[r] = RoleState{Link: s.Link}
		}
	}
}
