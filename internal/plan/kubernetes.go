package plan

import (
	"cmp"
	"slices"

	"pai.dev/pai/internal/pai"
)

// BundleRef names a bundle by its release and its digest. Machines report images
// by the digest of their bundle.
type BundleRef struct {
	Release pai.Release
	Digest  string
}

// KubernetesOptions are the options of Kubernetes.
type KubernetesOptions struct {
	Bundle BundleRef
	// Stay names workers that keep their version, because a later hop upgrades
	// them.
	Stay map[string]bool
	// Only, when not nil, names the machines whose own steps are planned; the
	// control plane's steps and the record are left out.
	Only map[string]bool
	// Serving includes etcd and the API server of the machines in Only, which then bring
	// a control-plane machine back into service.
	Serving bool
	// Expected says what each machine should have.
	Expected map[string]Expected
	// Manifests are those of the version.
	Manifests Manifests
	// Again plans the cluster's steps whose state World does not show even
	// where the record says that they were done, so that a boot repairs them.
	Again bool
	// Lost names a control-plane machine outside the layout whose member of etcd is removed,
	// before another one takes its place; empty for none.
	Lost string
	// Recover restores the data of the control plane from a backup before it starts.
	Recover bool
}

// Kubernetes plans the steps that bring the machines to a Kubernetes version. A
// first boot, a hop, an added machine, and a partially applied plan need no
// special case: steps whose result is observed are left out. Nothing is
// downgraded: a role that is newer than to keeps its version.
//
// The control plane goes first. Risky steps of a hop wait until the programs and
// images of the control plane's machines are there; each other machine waits for its
// own, so that a lost machine blocks no other. A first boot is recorded
// when every machine is up, a hop when the control plane's machines are: a
// busy machine may follow later.
func Kubernetes(w World, to pai.KubernetesVersion, pins Pins, o KubernetesOptions) ([]Step, error) {
	if current := w.Current.Kubernetes; to.Less(current) {
		return nil, pai.Errorf(pai.CodeRefused, "set kubernetes.version to "+string(current)+" or newer",
			"cannot downgrade Kubernetes from %s to %s", current, to)
	}
	k := &kubernetes{world: w, to: to.Label(), pins: pins, o: o, graph: stepGraph{phase: "kubernetes/" + string(to)}}
	for _, m := range w.Machines {
		if !m.ControlPlane && !o.Stay[m.Name] {
			k.workers = append(k.workers, m)
		}
	}
	k.controlPlanes = controlPlanes(w)
	if err := cmp.Or(w.withoutMembersOf(o.Lost).checkControlPlanes(), w.checkGrown(to)); err != nil {
		return nil, err
	}
	k.machines = slices.Concat(k.controlPlanes, k.workers)
	k.emulate = k.emulates()
	k.plan()
	steps := k.graph.reduce()
	return steps, k.checkQuorum(steps)
}

// kubernetes is one call of Kubernetes.
type kubernetes struct {
	world         World
	to            pai.KubernetesVersion
	pins          Pins
	o             KubernetesOptions
	controlPlanes []MachineState // the first one stands for all
	workers       []MachineState
	machines      []MachineState // controlPlanes, then workers
	emulate       string         // the minor that the new control plane behaves as until the commit
	rollback      bool           // to is older: newer roles are rolled back, older ones stay
	graph         stepGraph
}

// plan adds the steps in the order in which they would be done one by one.
func (k *kubernetes) plan() {
	for _, m := range k.machines {
		k.machine(m, "prepare", KindPrepare, !k.isPrepared(m), pai.RiskNone)
		k.machine(m, "programs", KindPrograms, !slices.Contains(m.Programs, k.version(m)), pai.RiskNone, k.id(m, "prepare"))
	}
	for _, m := range k.machines {
		imports := []StepID{k.id(m, "programs")}
		if !hasRuntime(m) { // images are imported through it
			k.role(m, RoleRuntime, k.nodeRisk(m), k.id(m, "programs"))
			imports = append(imports, k.id(m, string(RoleRuntime)))
		}
		k.machine(m, "images", KindImages, !slices.Contains(m.Images, k.o.Bundle.Digest), pai.RiskNone, imports...)
	}

	if k.several() {
		k.severalControlPlanes()
	} else {
		k.controlPlane()
	}

	for _, m := range k.controlPlanes {
		k.node(m, k.nodesAfter()...)
	}
	for _, m := range k.workers {
		k.node(m, append(each(k, k.controlPlanes[:1], string(RoleKubelet)), k.nodesAfter()...)...)
	}

	// CoreDNS is rolled: a new pod answers before an old one goes.
	dns := !k.o.Recover && k.unrecorded() || k.applies(k.world.Manifests.DNS, k.o.Manifests.DNS)
	k.clusterStep("dns", KindDNS, dns, pai.RiskNone, slices.Concat(k.nodesAfter(),
		each(k, k.present(), "images"), each(k, k.present(), string(RoleNetwork)), each(k, k.present(), string(RoleKubeProxy)))...)
	k.commit(k.beforeRecord())
	k.clusterStep("record", KindRecord, k.unrecorded() && k.allKnown(), pai.RiskNone, append(k.beforeRecord(), k.commits()...)...)
	k.backupTimer(k.cluster("record"))
}

// controlPlane adds etcd, the API server and what serves it.
func (k *kubernetes) controlPlane() {
	etcd := !all(k.controlPlanes, func(m MachineState) bool { return k.slots(m, RoleEtcdA, RoleEtcdB) })
	api := k.movesAPIServer()
	// Also of an etcd that does not run, after a clean: a hop changes its data.
	hop := k.world.Current.Kubernetes != "" && k.world.Current.Kubernetes.Less(k.to)

	ready := each(k, k.controlPlanes, "programs")
	if k.world.Current.Kubernetes != "" { // a first boot puts nothing at risk: images come meanwhile
		ready = append(ready, each(k, k.controlPlanes, "images")...)
	}
	k.clusterStep("snapshot", KindSnapshot, hop && (etcd || api), pai.RiskNone, ready...)
	k.clusterStep("recover", KindRecover, k.o.Recover, pai.RiskAPI, each(k, k.controlPlanes, "programs")...)
	k.clusterStep("pki", KindPKI, !k.hasPKI(), pai.RiskNone, append(each(k, k.controlPlanes, "programs"), k.cluster("recover"))...)
	ready = append(ready, k.cluster("pki"), k.cluster("snapshot"))
	if k.handsOver() {
		for _, m := range k.controlPlanes {
			k.role(m, RoleAPIProxy, k.apiRisk(), ready...)
		}
		ready = append(ready, each(k, k.controlPlanes, string(RoleAPIProxy))...)
	}
	k.clusterStep("etcd", KindEtcd, etcd, k.apiRisk(), ready...)
	// Nothing reads the restored data before it was compared with what runs.
	k.clusterStep("reconcile", KindReconcile, k.o.Recover, pai.RiskAPI, k.cluster("etcd"))
	k.clusterStep("apiserver", KindAPIServer, api, k.apiRisk(), k.cluster("etcd"), k.cluster("reconcile"))
	for _, m := range k.machines {
		if m.ControlPlane && k.handsOver() {
			continue
		}
		risk := k.apiRisk()
		if k.nodeRisk(m) == pai.RiskNone {
			risk = pai.RiskNone // nothing on the machine uses its proxy yet
		}
		k.role(m, RoleAPIProxy, risk, k.id(m, "programs"), k.cluster("apiserver"))
	}
	for _, m := range k.controlPlanes {
		for _, r := range []Role{RoleControllerManager, RoleScheduler} {
			k.role(m, r, k.apiRisk(), k.cluster("apiserver"), k.id(m, string(RoleAPIProxy)))
		}
	}
	ready = slices.Concat(each(k, k.controlPlanes, string(RoleControllerManager)), each(k, k.controlPlanes, string(RoleScheduler)))
	if k.o.Recover { // no pod, such as a REST server, starts before, and no other machine is admitted
		k.clusterStep("tokens", KindTokens, true, pai.RiskNone, append(each(k, k.controlPlanes, string(RoleAPIProxy)), k.cluster("apiserver"))...)
		ready = append(ready, k.cluster("tokens"))
	}
	have, want := k.world.Manifests, k.o.Manifests
	k.clusterStep("bootstrap", KindBootstrap, k.unrecorded() || k.applies(have.Bootstrap, want.Bootstrap), pai.RiskNone, ready...)
}

// node adds what runs the pods of one machine, which waits for barrier.
func (k *kubernetes) node(m MachineState, barrier ...StepID) {
	own := []StepID{k.id(m, "images"), k.id(m, string(RoleAPIProxy))}
	if hasRuntime(m) {
		k.role(m, RoleRuntime, k.nodeRisk(m), slices.Concat(barrier, own)...)
	}
	kubelet := !m.Joined || !k.has(m, RoleKubelet)
	k.machine(m, "kubelet", KindKubelet, kubelet, k.nodeRisk(m), slices.Concat(barrier, own, []StepID{k.id(m, string(RoleRuntime))})...)
	// Rules and routes stay in the kernel while these two are replaced:
	// connections of pods were not interrupted in any measurement.
	k.role(m, RoleKubeProxy, pai.RiskNone, k.id(m, "kubelet"))
	k.role(m, RoleNetwork, pai.RiskNone, k.id(m, "kubelet"))
	k.gpu(m, k.id(m, "kubelet"))
	reserves, replaces := k.reserves(m), k.replacesKind(m)
	k.reservations(m, reserves)
	k.labels(m, barrier)
	// Where no job runs and the barrier is not met, new jobs are kept off meanwhile.
	moves := m.Node != nil && (kubelet || (hasRuntime(m) && !k.has(m, RoleRuntime)))
	after := []StepID{k.id(m, "reservations"), k.id(m, "kubelet"), k.id(m, string(RoleKubeProxy)), k.id(m, string(RoleNetwork)), k.id(m, string(RoleGPU))}
	if replaces {
		after = append(after, k.id(m, "labels"))
	}
	k.machine(m, "uncordon", KindUncordon, m.Node != nil && m.Node.CordonedByPAI || moves || reserves || replaces, pai.RiskNone, after...)
}

// beforeRecord lists what has to be there before the version is recorded.
func (k *kubernetes) beforeRecord() []StepID {
	machines := k.controlPlanes
	if k.world.Current.Kubernetes == "" {
		machines = k.machines
	}
	ids := []StepID{k.cluster("dns")}
	if k.several() {
		ids = slices.Concat(ids, each(k, k.controlPlanes, "apiserver"), k.controllers(k.controlPlanes))
	}
	for _, what := range []string{string(RoleKubelet), string(RoleKubeProxy), string(RoleNetwork), string(RoleGPU), "uncordon"} {
		ids = append(ids, each(k, machines, what)...)
	}
	return ids
}

// machine adds a step for one machine.
func (k *kubernetes) machine(m MachineState, what string, kind Kind, needed bool, risk pai.Risk, after ...StepID) {
	s := Step{ID: k.id(m, what), Kind: kind, Target: m.Name, To: pai.AnyVersion(k.version(m)), Risk: risk}
	if kind == KindImages {
		s.To = pai.AnyVersion(k.o.Bundle.Release)
	}
	if kind == KindPrepare {
		s.Differs = k.preparedDiffers(m)
	}
	if kind == KindKubelet {
		s.From, s.Differs = pai.AnyVersion(m.Roles[RoleKubelet].version()), k.differs(m, RoleKubelet)
	}
	k.graph.add(k.planned(m) && (needed || m.Unreachable != ""), s, after...)
}

// role adds the step that moves one role of one machine.
func (k *kubernetes) role(m MachineState, r Role, risk pai.Risk, after ...StepID) {
	s := Step{
		ID: k.id(m, string(r)), Kind: KindRole, Target: m.Name, Role: r,
		From: pai.AnyVersion(m.Roles[r].version()), To: pai.AnyVersion(k.version(m)), Risk: risk, Differs: k.differs(m, r),
	}
	if electing(r) {
		s.Emulate = k.controllersEmulate()
	}
	k.graph.add(k.planned(m) && !k.has(m, r), s, after...)
}

// clusterStep adds a step of the control plane as a whole.
func (k *kubernetes) clusterStep(what string, kind Kind, needed bool, risk pai.Risk, after ...StepID) {
	s := Step{ID: k.cluster(what), Kind: kind, From: pai.AnyVersion(k.current()), To: pai.AnyVersion(k.version(k.controlPlanes[0])), Risk: risk}
	if k.rollback {
		s.From = pai.AnyVersion(newestKubernetes(k.world))
	}
	if kind == KindEtcd {
		s.Differs = k.slotsDiffer(k.controlPlanes[0], RoleEtcdA, RoleEtcdB)
		if k.movesAPIServer() {
			s.APIServerAs = k.emulate
		}
	}
	if kind == KindAPIServer {
		s.Emulate, s.Differs = k.emulate, k.slotsDiffer(k.controlPlanes[0], RoleAPIServerA, RoleAPIServerB)
	}
	if kind == KindRecord {
		s.To = pai.AnyVersion(k.to)
	}
	k.graph.add(needed && k.o.Only == nil, s, after...)
}

// current is the recorded version, with the build that the control plane runs.
func (k *kubernetes) current() pai.KubernetesVersion {
	m, v := k.controlPlanes[0], k.world.Current.Kubernetes
	return m.linked(v, m.builds(v))
}

func (k *kubernetes) planned(m MachineState) bool { return k.o.Only == nil || k.o.Only[m.Name] }

func (k *kubernetes) id(m MachineState, what string) StepID {
	return StepID(k.graph.phase + "/machine/" + m.Name + "/" + what)
}

func (k *kubernetes) cluster(what string) StepID {
	return StepID(k.graph.phase + "/cluster/" + what)
}

// each lists the same step of several machines.
func each(k *kubernetes, machines []MachineState, what string) []StepID {
	var ids []StepID
	for _, m := range machines {
		ids = append(ids, k.id(m, what))
	}
	return ids
}

// unrecorded reports whether the cluster's own steps have to be done.
func (k *kubernetes) unrecorded() bool {
	return k.o.Again || k.world.Current.Kubernetes.Less(k.to)
}

// applies reports whether objects of the cluster itself have to be applied again.
// During an API outage it is unknown what was applied, and nothing can be.
func (k *kubernetes) applies(have, want string) bool {
	return k.world.APIReachable && k.world.Current.Kubernetes.Compare(k.to) == 0 && want != "" && have != want
}

// hasPKI is false where nothing was set up yet, and after a clean.
func (k *kubernetes) hasPKI() bool {
	return k.world.ClusterID != "" && k.controlPlanes[0].hasAPIServer()
}

func (m MachineState) hasAPIServer() bool {
	return m.Roles[RoleAPIServerA].Link != "" || m.Roles[RoleAPIServerB].Link != ""
}

// apiRisk is none where no API can be running yet.
func (k *kubernetes) apiRisk() pai.Risk {
	if k.world.ClusterID == "" && k.world.Current.Kubernetes == "" {
		return pai.RiskNone
	}
	return pai.RiskAPI
}

// nodeRisk is none where no pod can be running yet.
func (k *kubernetes) nodeRisk(m MachineState) pai.Risk {
	if m.Unreachable == "" && !m.Joined && m.Node == nil {
		return pai.RiskNone
	}
	// After a clean a machine keeps its identity, but runs no pods: there is no
	// job to guard, and no API server to cordon the node.
	if m.Unreachable == "" && m.Roles[RoleRuntime] == (RoleState{}) && m.Roles[RoleKubelet] == (RoleState{}) {
		return pai.RiskNone
	}
	return pai.RiskNode
}

func hasRuntime(m MachineState) bool { return m.Roles[RoleRuntime].Running != "" }

// version is what a role runs, or would run once started.
func (s RoleState) version() pai.KubernetesVersion {
	if s.Running != "" {
		return s.Running
	}
	return s.Link
}

func all(machines []MachineState, ok func(MachineState) bool) bool {
	return !slices.ContainsFunc(machines, func(m MachineState) bool { return !ok(m) })
}
