package plan

import (
	"fmt"
	"slices"

	"pai.dev/pai/internal/pai"
)

// Remove plans the removal of a worker from the cluster: its maintenance, so that no job is
// left, its clean, the layout without it, and then what the cluster has of it. Its node is
// deleted last. A machine that is unreachable is not cleaned. One that has left the layout has
// no step on the machine: PAI does not know how to log in there.
//
// cleaned is set if an earlier run has cleaned the machine.
func Remove(in Input, name string, cleaned bool) (Plan, error) {
	w := in.World
	m, inLayout, err := w.leaving(name, cleaned)
	if err != nil {
		return Plan{}, err
	}
	if err := in.refuseOccupiedRemoval(name); err != nil {
		return Plan{}, err
	}
	p := Plan{Verb: pai.VerbRemove, From: w.Current, To: w.Current, Hops: []Hop{}}
	d := stepGraph{phase: "removal"}
	before := maintenanceSteps(&d, m)
	if m.Maintenance == nil && !slices.Contains(w.Unconfigured.Maintained, name) && !w.others(name).canRunServices() {
		return Plan{}, pai.Errorf(pai.CodeRefused, "uncordon, return, or repair another machine and run the command again; for their states, run: paictl cluster status",
			"no other machine can run the pods of PAI services, so %s cannot be removed: each is cordoned, in maintenance, or not ready", name)
	}
	clean := d.add(inLayout && m.Unreachable == "", Step{ID: CleanOfRemoval(name), Kind: KindClean, Target: name, Risk: pai.RiskNode,
		From: pai.AnyVersion(m.Roles[RoleKubelet].version()), Wipe: true, Keep: m.Foreign}, before[len(before)-1])
	layout := d.add(true, Step{ID: removalID(name, "layout"), Kind: KindLayout, Target: name, Risk: pai.RiskNone}, clean)
	after := in.withoutMachine(&d, name, layout)
	d.add(true, Step{ID: removalID(name, "node"), Kind: KindRemoveNode, Target: name, Risk: pai.RiskNone}, after...)
	p.Steps = d.reduce()
	in.noteRemoval(&p, m, inLayout, cleaned)
	return p, p.Validate()
}

// withoutMachine adds the steps that make the others what the layout without a machine says:
// their names of machines, and what the cluster has for each machine. In the middle of a hop,
// the rest of the hop applies the objects of the cluster.
func (in Input) withoutMachine(d *stepGraph, name string, layout StepID) []StepID {
	w := in.World.others(name)
	last := []StepID{layout}
	for _, m := range w.Machines {
		last = append(last, d.add(m.Prepared && m.Unreachable == "" && m.Maintenance == nil, Step{ID: removalID(m.Name, "prepare"), Kind: KindPrepare,
			Target: m.Name, To: pai.AnyVersion(w.Current.Kubernetes.Label()), Risk: pai.RiskNone}, layout))
	}
	if w.isBetweenVersions() {
		return last
	}
	runs := pai.AnyVersion(w.runs())
	bootstrap := d.add(true, Step{ID: "removal/cluster/bootstrap", Kind: KindBootstrap, From: runs, To: runs, Risk: pai.RiskNone}, layout)
	dns := d.add(true, Step{ID: removalID(name, "dns"), Kind: KindDNSBack, Target: name, To: runs, Risk: pai.RiskNone}, bootstrap)
	return append(last, bootstrap, dns)
}

// leaving finds the machine of a removal, in the layout or outside it. Of one outside it,
// nothing is known but its node, so its maintenance is planned again unless it was cleaned.
func (w World) leaving(name string, cleaned bool) (m MachineState, inLayout bool, err error) {
	at := slices.IndexFunc(w.Machines, func(m MachineState) bool { return m.Name == name })
	switch {
	case at >= 0 && w.Machines[at].ControlPlane && w.several():
		return m, true, pai.Errorf(pai.CodeRefused, "put another machine in its place; run: paictl machine replace "+name+" --with MACHINE",
			"%s is one of %d control-plane machines, and a cluster has one, three, or five", name, len(controlPlanes(w)))
	case at >= 0 && w.Machines[at].ControlPlane:
		return m, true, pai.Errorf(pai.CodeRefused, "to remove the whole cluster, run: paictl cluster k8s-clean --delete-data",
			"%s is the only control-plane machine, and a cluster cannot be without one", name)
	case at >= 0:
		return w.Machines[at], true, w.canAskAbout(name)
	}
	if err := w.canAskAbout(name); err != nil {
		return m, false, err
	}
	u := w.Unconfigured
	m = MachineState{Name: name, Unreachable: "it is not in the layout"}
	node := slices.ContainsFunc(u.Nodes, func(n UnconfiguredNode) bool { return n.Name == name })
	maintained := slices.Contains(u.Maintained, name)
	named := slices.ContainsFunc(u.Machines, func(m UnconfiguredMachine) bool { return m.Name == name })
	switch {
	case node && cleaned:
		m.Node, m.Maintenance = &Node{Unschedulable: true, Maintenance: "unknown", InMaintenance: true}, &pai.Maintenance{}
	case node:
		m.Node = &Node{}
	default: // no job is there
		m.Maintenance = &pai.Maintenance{}
	}
	if !node && !maintained && !named && len(u.membersOf(name)) == 0 {
		return m, false, pai.Errorf(pai.CodeNotFound, "to list the machines, run: paictl cluster status",
			"machine %q not found, neither in the configuration nor in the cluster; if it was removed, nothing is left to do", name)
	}
	return m, false, nil
}

// Lost is why it is unknown what runs on a machine that is to be removed; empty if it is known,
// or if nothing is left there to know about.
func (w World) Lost(name string) string {
	m, inLayout, err := w.leaving(name, false)
	if err != nil || m.Unreachable == "" || !inLayout && m.Node == nil && !slices.Contains(w.Unconfigured.Maintained, name) {
		return ""
	}
	return m.Unreachable
}

// others is the state without a machine.
func (w World) others(name string) World {
	w.Machines = slices.DeleteFunc(slices.Clone(w.Machines), func(m MachineState) bool { return m.Name == name })
	return w
}

// canRunServices reports whether a machine can take the pods of services.
func (w World) canRunServices() bool {
	return slices.ContainsFunc(w.Machines, func(m MachineState) bool {
		return m.Maintenance == nil && m.Node != nil && m.Node.Ready && !m.Node.Unschedulable
	})
}

// refuseOccupiedRemoval refuses to clean a machine that runs something for another cluster.
func (in Input) refuseOccupiedRemoval(name string) error {
	for _, m := range in.Occupied {
		if m.Name == name {
			return pai.Errorf(pai.CodeRefused, "remove the entry of the machine from layout.yaml yourself and run the command again: it then changes only this cluster",
				"%s runs something for another cluster, which a removal would end: %s", name, m.Has)
		}
	}
	return nil
}

// noteRemoval adds what the operator has to know besides the steps.
func (in Input) noteRemoval(p *Plan, m MachineState, inLayout, cleaned bool) {
	note := func(format string, args ...any) { p.Notes = append(p.Notes, fmt.Sprintf(format, args...)) }
	switch {
	case !inLayout && cleaned:
		note("an earlier command has cleaned %s; only what the cluster has of it is left", m.Name)
	case m.Unreachable != "":
		note("%s is not cleaned (%s): its containers, programs, images, and certificates stay on the machine, and its kubelet joins again if it starts; wipe its disks, or keep it off the network", m.Name, m.Unreachable)
	default:
		note("what PAI made on %s is deleted; mounted disks, files that PAI did not write, and the output of tasks in /var/log/pods stay there, and PAI no longer shows that output", m.Name)
	}
	for _, other := range in.World.others(m.Name).Machines {
		if other.Unreachable != "" && other.Maintenance == nil {
			note("%s is unreachable and still names %s; when it is reachable, run: paictl cluster k8s-bootup", other.Name, m.Name)
		}
	}
	kind := m.Kind.SKU
	if kind != "" && !slices.ContainsFunc(in.World.others(m.Name).Machines, func(o MachineState) bool { return o.Kind.SKU == kind }) {
		note("no other machine has machine-sku %s, so jobs that ask for it will wait", kind)
	}
}

// CleanOfRemoval is the step that cleans a machine that is removed.
func CleanOfRemoval(machine string) StepID { return removalID(machine, "clean") }

func removalID(machine, what string) StepID {
	return StepID("removal/machine/" + machine + "/" + what)
}

// leftLayout is the effect of KindLayout: the machine is no longer one of the configuration,
// but the cluster still has it.
func leftLayout(w *World, s Step, _ Input) {
	at := slices.IndexFunc(w.Machines, func(m MachineState) bool { return m.Name == s.Target })
	if at < 0 {
		return
	}
	m, u := w.Machines[at], &w.Unconfigured
	w.Machines = slices.Delete(slices.Clone(w.Machines), at, at+1)
	if m.Node != nil {
		u.Nodes = append(slices.Clone(u.Nodes), UnconfiguredNode{Name: m.Name, Address: m.Address, Kubelet: m.Node.Kubelet, Ready: m.Node.Ready})
	}
	if m.Maintenance != nil {
		u.Maintained = append(slices.Clone(u.Maintained), m.Name)
	}
	u.Machines = append(slices.Clone(u.Machines), UnconfiguredMachine{Name: m.Name, Address: m.Address})
}

// removedNode is the effect of KindRemoveNode, which comes after the preparation of the others.
func removedNode(w *World, s Step, _ Input) {
	u := &w.Unconfigured
	u.Nodes = slices.DeleteFunc(slices.Clone(u.Nodes), func(n UnconfiguredNode) bool { return n.Name == s.Target })
	u.Maintained = slices.DeleteFunc(slices.Clone(u.Maintained), func(name string) bool { return name == s.Target })
	u.Machines = slices.DeleteFunc(slices.Clone(u.Machines), func(m UnconfiguredMachine) bool { return m.Name == s.Target })
}
