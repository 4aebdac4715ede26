package plan

import (
	"cmp"
	"fmt"
	"slices"

	"pai.dev/pai/internal/pai"
)

// Active is the state without the machines in maintenance, except one; "" for none.
// Goals are planned from it: a machine in maintenance is left as it is, whether it is
// on or off, until it returns.
func (w World) Active(except string) World {
	w.Machines = slices.DeleteFunc(slices.Clone(w.Machines), func(m MachineState) bool {
		return m.Maintenance != nil && m.Name != except
	})
	return w
}

// Maintain plans the maintenance of a machine: no new job starts there, its jobs end, one of
// several control-plane machines stops serving, and then it is recorded. If the record exists, only those steps are planned again whose
// result no longer exists.
func Maintain(w World, name string) (Plan, error) {
	m, err := w.maintainable(name)
	if err == nil {
		err = cmp.Or(w.canAskAbout(name), w.mayMaintain(m))
	}
	if err != nil {
		return Plan{}, err
	}
	p := Plan{Verb: pai.VerbMaintain, From: w.Current, To: w.Current, Hops: []Hop{}}
	d := stepGraph{phase: "maintenance"}
	maintenanceSteps(&d, m)
	p.Steps = d.reduce()
	if len(p.Steps) == 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("%s is %s", name, *m.Maintenance))
	}
	if m.Unreachable != "" && len(p.Steps) > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("%s is unreachable, so it is unknown what runs there", name))
	}
	return p, p.Validate()
}

// maintenanceSteps adds the steps that put a machine into maintenance, and returns them in
// their order, after those given.
func maintenanceSteps(d *stepGraph, m MachineState, after ...StepID) []StepID {
	cordoned := m.Node == nil || m.Node.Maintenance != "" && m.Node.Unschedulable && !m.Node.Unlabeled
	recorded := m.Maintenance != nil && (m.Node == nil || m.Node.InMaintenance)
	add := func(what string, kind Kind, needed bool, risk pai.Risk, after ...StepID) StepID {
		return d.add(needed, Step{ID: maintenanceID(m.Name, what), Kind: kind, Target: m.Name, Risk: risk, Phase: "maintenance"}, after...)
	}
	cordon := add("cordon", KindCordon, !cordoned, pai.RiskNone, after...)
	// A job that started before the cordon is not in the observed state. A machine whose
	// node was deleted can still run containers.
	drain := add("drain", KindDrain, !cordoned || !recorded, pai.RiskNode, cordon)
	// CoreDNS ignores cordons, and that of older releases would return to the machine. It is
	// changed when no job is left; a return undoes it also if the record does not follow.
	dns := add("dns", KindDNSAway, !recorded, pai.RiskNone, drain)
	stop := add("control-plane", KindStopServing, m.ControlPlane && m.runsControlPlane(), pai.RiskAPI, dns)
	return []StepID{cordon, drain, dns, stop, add("record", KindMaintenance, !recorded, pai.RiskNone, stop)}
}

// Return plans the return of a machine from its maintenance: the steps that bring it to
// the versions of the cluster, as those of a boot, and then new jobs can start there. If the
// machine still waits for its jobs, nothing but the cordon is undone: what other operations
// have to change there needs no idle machine now.
//
// If the machine has left the configuration, only its record and the marks of its node go.
func Return(in Input, name string) (Plan, error) {
	p := Plan{Verb: pai.VerbReturn, From: in.World.Current, To: in.World.Current, Hops: []Hop{}, Steps: []Step{}}
	back := Step{ID: maintenanceID(name, "return"), Kind: KindReturn, Target: name, Phase: "maintenance", Risk: pai.RiskNone}
	if in.World.APIReachable && slices.Contains(in.World.Unconfigured.Maintained, name) {
		p.Steps = append(p.Steps, back)
		p.Notes = append(p.Notes, name+" is not in the configuration: only the record of its maintenance is removed")
		return p, p.Validate()
	}
	m, err := in.World.maintainable(name)
	if err == nil && (!m.ControlPlane || m.Maintenance == nil) { // the start of its etcd can bring the API back
		err = in.World.canAskAbout(name)
	}
	if err != nil {
		return Plan{}, err
	}
	if !m.InMaintenance() {
		p.Notes = append(p.Notes, name+" is not in maintenance")
		return p, nil
	}
	if m.CancelsMaintenance() {
		p.Steps = in.withDNSBack(nil, back)
		p.Notes = append(p.Notes, name+" is not in maintenance yet: its cordon is removed, and its jobs run on")
		return p, p.Validate()
	}
	if m.Unreachable != "" {
		return Plan{}, pai.Errorf(pai.CodeRefused, "start the machine and run the command again; for its state, run: paictl machine list",
			"machine %s is unreachable: %s", name, m.Unreachable)
	}
	if err := in.refuseOccupied(); err != nil {
		return Plan{}, err
	}
	in, _ = in.withoutMaintenance(name)
	steps, err := in.currentSteps(m)
	if err != nil {
		return Plan{}, err
	}
	// What PAI cordoned for another operation is part of this maintenance.
	cordons := map[StepID]bool{}
	for _, s := range steps {
		cordons[s.ID] = s.Kind == KindUncordon
	}
	steps = Plan{Steps: steps}.Prune(cordons).Steps
	back.To = pai.AnyVersion(in.World.Current.Kubernetes.Label())
	for _, s := range steps {
		back.After = append(back.After, s.ID)
	}
	p.Steps = in.withDNSBack(steps, back)
	in.noteReservations(&p)
	in.noteKinds(&p)
	in.noteDevicePlugins(&p)
	return p, p.Validate()
}

// withDNSBack appends the return of a machine to the steps before it, and before that
// CoreDNS as it is without the maintenance. In the middle of a hop, the rest of the hop
// applies CoreDNS.
func (in Input) withDNSBack(steps []Step, back Step) []Step {
	if !in.World.isBetweenVersions() {
		dns := Step{ID: maintenanceID(back.Target, "dns"), Kind: KindDNSBack, Target: back.Target, To: pai.AnyVersion(in.World.runs()), Phase: back.Phase, Risk: pai.RiskNone, After: back.After}
		steps, back.After = append(steps, dns), append(slices.Clone(back.After), dns.ID)
	}
	return append(steps, back)
}

// currentSteps are the steps of one machine to what the cluster runs. A machine that
// missed a rollback is newer, and is rolled back.
func (in Input) currentSteps(m MachineState) ([]Step, error) {
	w, services := in.World, in.World.ServicesRelease()
	bundle := in.bundleOf(w.Current.Kubernetes, in.BundleOfServices(services, "").Release)
	o := KubernetesOptions{Bundle: bundle, Expected: in.Expected, Manifests: in.Manifests[w.Current.Kubernetes.Label()], Only: map[string]bool{m.Name: true}, Serving: true}
	steps, err := []Step(nil), error(nil)
	if w.Current.Kubernetes.Less(newestKubernetes(World{Current: w.Current, Machines: []MachineState{m}})) {
		steps = rollbackOf(w, m, PinsOf(in.Releases), o)
	} else if steps, err = Kubernetes(w, w.Current.Kubernetes, PinsOf(in.Releases), o); err != nil {
		return nil, err
	}
	images := in.BundleOfServices(services, "")
	if services == "" || images.Digest == "" || images.Digest == bundle.Digest || slices.Contains(m.Images, images.Digest) {
		return steps, nil
	}
	s := Step{ID: StepID("services/" + string(services) + "/machine/" + m.Name + "/images"), Kind: KindImages, Target: m.Name,
		To: pai.AnyVersion(images.Release), Risk: pai.RiskNone, Phase: "services/" + string(services)}
	for _, before := range steps {
		s.After = append(s.After, before.ID)
	}
	return append(steps, s), nil
}

// runs is the version that the cluster runs, with the build of the control plane.
func (w World) runs() pai.KubernetesVersion {
	return (&kubernetes{world: w, controlPlanes: controlPlanes(w)}).current()
}

// isBetweenVersions reports whether a role of the control plane is newer than what is
// recorded, in a hop that is committed or not. etcd does not count: it can stay newer after
// a rollback.
func (w World) isBetweenVersions() bool {
	return slices.ContainsFunc(controlPlanes(w), func(m MachineState) bool {
		return slices.ContainsFunc(kubernetesRoles, func(r Role) bool {
			return w.Current.Kubernetes.Less(m.Roles[r].Link) || w.Current.Kubernetes.Less(m.Roles[r].Running)
		})
	})
}

// rollbackOf are the steps of one worker from a newer version to that of the cluster.
func rollbackOf(w World, m MachineState, pins Pins, o KubernetesOptions) []Step {
	to := w.Current.Kubernetes.Label()
	k := &kubernetes{world: w, to: to, pins: pins, o: o, rollback: true, controlPlanes: controlPlanes(w), workers: []MachineState{m},
		machines: []MachineState{m}, graph: stepGraph{phase: "kubernetes/" + string(to)}}
	k.machine(m, "programs", KindPrograms, !slices.Contains(m.Programs, k.version(m)), pai.RiskNone)
	k.machine(m, "images", KindImages, !slices.Contains(m.Images, o.Bundle.Digest), pai.RiskNone, k.id(m, "programs"))
	k.rollbackNode(m, nil)
	k.role(m, RoleAPIProxy, k.apiRisk(), k.id(m, "programs"), k.id(m, "kubelet"))
	return k.graph.reduce()
}

// maintainable finds a machine that can be in maintenance. The only control-plane machine is
// refused: it has the record of the maintenance, and everything that an operation needs.
func (w World) maintainable(name string) (MachineState, error) {
	i := slices.IndexFunc(w.Machines, func(m MachineState) bool { return m.Name == name })
	switch {
	case i < 0:
		return MachineState{}, pai.Errorf(pai.CodeUsage, "to list the machines, run: paictl cluster status", "machine %q not found in the configuration", name)
	case w.Machines[i].ControlPlane && !w.several():
		return MachineState{}, pai.Errorf(pai.CodeRefused, "shut it down when no job runs on it, and start it again; to bring back what does not start, run: paictl cluster k8s-bootup",
			"%s is the only control-plane machine, and no operation can do without it; while it is off, running jobs on other machines continue, "+
				"but no job starts, no task that ends is started again, and the API, the REST server, and the portal are unavailable", name)
	}
	return w.Machines[i], nil
}

// canAskAbout returns an error if the cluster does not run, or if the API cannot be asked what
// runs on a machine.
func (w World) canAskAbout(name string) error {
	switch {
	case w.Current.Kubernetes == "":
		return pai.Errorf(pai.CodeRefused, "boot the cluster first; run: paictl cluster k8s-bootup", "the machines run no Kubernetes")
	case !w.APIReachable:
		return pai.Errorf(pai.CodeFailed, "restore the API server and run the command again; for its state, run: paictl cluster status",
			"cannot determine what runs on %s: %s", name, w.APIOutage())
	}
	return nil
}

// InMaintenance reports whether a maintenance of the machine is recorded or in progress.
func (m MachineState) InMaintenance() bool {
	return m.Maintenance != nil || m.Node != nil && (m.Node.Maintenance != "" || m.Node.InMaintenance)
}

// WaitsForMaintenance reports whether the machine is cordoned for a maintenance that is not
// recorded yet, because jobs still run there.
func (m MachineState) WaitsForMaintenance() bool {
	return m.InMaintenance() && m.Maintenance == nil && !m.Node.InMaintenance
}

func maintenanceID(machine, what string) StepID {
	return StepID("maintenance/machine/" + machine + "/" + what)
}

func cordonedForMaintenance(m *MachineState, _ Step, _ Input) {
	if m.Node != nil {
		m.Node.Unschedulable, m.Node.CordonedByPAI, m.Node.CordonedBy, m.Node.Maintenance, m.Node.Unlabeled = true, false, "", "new", false
	}
}

func maintained(m *MachineState, _ Step, _ Input) {
	m.Maintenance = &pai.Maintenance{}
	if m.Node != nil {
		m.Node.InMaintenance = true
	}
}

func returned(m *MachineState, _ Step, _ Input) {
	m.Maintenance = nil
	if m.Node != nil {
		m.Node.Unschedulable = m.Node.Unschedulable && m.Node.Maintenance == ""
		m.Node.Maintenance, m.Node.InMaintenance = "", false
	}
}
