package plan

import (
	"fmt"
	"slices"
	"strings"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
)

// Replace plans that a machine takes the place of a control-plane machine that is lost. The layout
// has it as a control-plane machine already, and no longer the lost one. What the new machine
// needs before it is a member of etcd comes first. Then the lost member is removed, because etcd
// takes no other one while a voter is dead, and right after that the new one joins as in a growth. The
// node of the lost machine is deleted last.
func Replace(in Input, lost, with string) (Plan, error) {
	return in.planActive(func(in Input) (Plan, error) { return replace(in, lost, with) })
}

func replace(in Input, lost, with string) (Plan, error) {
	w := in.World
	m, _, err := w.leaving(lost, false)
	if err == nil {
		err = w.mayReplace(lost, with)
	}
	if err == nil {
		err = in.refuseOccupied()
	}
	if err != nil {
		return Plan{}, err
	}
	p := Plan{Verb: pai.VerbReplace, From: w.Current, To: w.Current, Hops: []Hop{}}
	current := w.Current.Kubernetes
	boot, err := Kubernetes(w, current, PinsOf(in.Releases), KubernetesOptions{Lost: lost, Again: true, Expected: in.Expected,
		Bundle: in.bundleOf(current, in.BundleOfServices(w.Current.Services, "").Release), Manifests: in.Manifests[current.Label()]})
	if err != nil {
		return Plan{}, err
	}
	d := stepGraph{phase: "removal"}
	var removed []StepID
	for _, s := range boot {
		d.add(true, s, s.After...)
		if s.Kind == KindRemoveVoter {
			removed = append(removed, s.ID)
		}
	}
	// Its pods end only when the machine was found dead once more: if it comes back before, it
	// keeps them.
	before := maintenanceSteps(&d, m, removed...)
	last := []StepID{before[len(before)-1]}
	workers := workersOf(w)
	for _, s := range boot { // with the node, the same command would find nothing to continue
		if !slices.ContainsFunc(workers, func(m MachineState) bool { return m.Name == s.Target }) {
			last = append(last, s.ID)
		}
	}
	dns := d.add(true, Step{ID: removalID(lost, "dns"), Kind: KindDNSBack, Target: lost, To: pai.AnyVersion(w.runs()), Risk: pai.RiskNone}, last...)
	d.add(true, Step{ID: removalID(lost, "node"), Kind: KindRemoveNode, Target: lost, Risk: pai.RiskNone}, dns)
	p.Steps = d.reduce()
	in.noteReplacement(&p, lost)
	return p, p.Validate()
}

// mayReplace returns an error unless the control plane can lose a member and take another one.
func (w World) mayReplace(lost, with string) error {
	at := slices.IndexFunc(w.Machines, func(m MachineState) bool { return m.Name == with })
	switch {
	case !w.several():
		return pai.Errorf(pai.CodeRefused, "restore the control plane from a backup; see docs/operating.md", "%s was the only control-plane machine, and another one cannot take over its data", lost)
	case at < 0 || !w.Machines[at].ControlPlane:
		return pai.Errorf(pai.CodeRefused, "run: paictl machine replace "+lost+" --with MACHINE", "%s is not a control-plane machine of the layout", with)
	case w.Machines[at].Maintenance != nil:
		return pai.Errorf(pai.CodeRefused, "return it first; run: paictl machine return "+with, "%s is in maintenance", with)
	case w.Machines[at].Unreachable != "":
		return pai.Errorf(pai.CodeFailed, "make the machine reachable and run the command again", "%s is unreachable: %s", with, w.Machines[at].Unreachable)
	case w.isBetweenVersions():
		return pai.Errorf(pai.CodeRefused, "start "+lost+" again, and complete the upgrade first; run: paictl upgrade apply",
			"Kubernetes is between two versions, and a machine cannot join the control plane then")
	}
	removes := slices.ContainsFunc(w.Unconfigured.membersOf(lost), func(m UnconfiguredMember) bool { return !m.Learner })
	for _, m := range controlPlanes(w) {
		why, next := m.outOfService()
		if m.Name == with || why == "" || !removes && m.Unreachable == "" && m.Maintenance == nil {
			continue
		}
		return pai.Errorf(pai.CodeRefused, next, "%s cannot be replaced, because %s %s, and etcd takes a new member only while all others serve", lost, m.Name, why)
	}
	return nil
}

// membersOf are the members of etcd of a machine that left the layout. A learner that never
// started has no name, and is of no use to anyone.
func (u Unconfigured) membersOf(machine string) []UnconfiguredMember {
	return slices.DeleteFunc(slices.Clone(u.EtcdMembers), func(m UnconfiguredMember) bool {
		named := slices.ContainsFunc(layout.Slots(), func(s layout.Slot) bool { return m.Name == s.Member(machine) })
		return machine == "" || !named && (m.Name != "" || !m.Learner)
	})
}

// AddressesOf are the addresses of a machine that left the layout, as the cluster knows them.
func (u Unconfigured) AddressesOf(machine string) (addresses []string) {
	for _, m := range u.membersOf(machine) {
		for _, peer := range m.PeerURLs {
			host, _, _ := strings.Cut(strings.TrimPrefix(peer, "https://"), ":") // IPv4, as in the layout
			addresses = append(addresses, host)
		}
	}
	for _, m := range u.Machines {
		if m.Name == machine {
			addresses = append(addresses, m.Address)
		}
	}
	for _, n := range u.Nodes {
		if n.Name == machine {
			addresses = append(addresses, n.Address)
		}
	}
	slices.Sort(addresses)
	return slices.DeleteFunc(slices.Compact(addresses), func(a string) bool { return a == "" })
}

// withoutMembersOf is the state without the members of a machine that left the layout.
func (w World) withoutMembersOf(machine string) World {
	gone := w.Unconfigured.membersOf(machine)
	w.Unconfigured.EtcdMembers = slices.DeleteFunc(slices.Clone(w.Unconfigured.EtcdMembers), func(m UnconfiguredMember) bool {
		return slices.ContainsFunc(gone, func(g UnconfiguredMember) bool { return g.ID == m.ID })
	})
	return w
}

// removeLost adds the removal of the lost member, when everything is there that the machines which
// join need before. It returns what the next step of etcd waits for.
func (k *kubernetes) removeLost() []StepID {
	if k.o.Lost == "" {
		return nil
	}
	var ready []StepID
	for _, m := range k.joining() {
		ready = append(ready, k.base(m)...)
	}
	lost := MachineState{Name: k.o.Lost}
	s := Step{ID: k.id(lost, "member"), Kind: KindRemoveVoter, Target: lost.Name, Risk: pai.RiskAPI}
	return []StepID{k.graph.add(len(k.world.Unconfigured.membersOf(lost.Name)) > 0, s, ready...)}
}

// removedVoter is the effect of KindRemoveVoter.
func removedVoter(w *World, s Step, _ Input) { *w = w.withoutMembersOf(s.Target) }

// noteReplacement adds what the operator has to know besides the steps.
func (in Input) noteReplacement(p *Plan, lost string) {
	p.Notes = append(p.Notes,
		fmt.Sprintf("%s is not cleaned: its containers, programs, and keys of the cluster stay on the machine, and its kubelet joins again if it starts; wipe its disks, or keep it off the network", lost),
		fmt.Sprintf("data of services that were on %s, such as those of Prometheus, stay there", lost))
	in.noteReservations(p)
	in.noteKinds(p)
	in.noteUnclear(p)
}
