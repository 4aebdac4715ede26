package plan

import (
	"slices"

	"pai.dev/pai/internal/pai"
)

// kubernetes rolls the machines back to an older version with the steps of an
// upgrade in reverse order. Clients of the API server are rolled back before it,
// because none of them must be newer than the API server. Only during an API
// outage does the API server come first.
func (b *rollback) kubernetes(to, newest pai.KubernetesVersion, services pai.ServicesVersion) error {
	limit := b.in.BundleOfServices(services, "").Release
	k := &kubernetes{world: b.world, to: to, pins: b.pins, rollback: true, graph: stepGraph{phase: "kubernetes/" + string(to)}, o: KubernetesOptions{Bundle: b.in.bundleOf(to, limit), Expected: b.in.Expected, Again: true}}
	k.controlPlanes = controlPlanes(b.world)
	for _, m := range b.world.Machines {
		if !m.ControlPlane {
			k.workers = append(k.workers, m)
		}
	}
	k.machines = slices.Concat(k.controlPlanes, k.workers)
	if err := b.world.checkControlPlanes(); err != nil {
		return err
	}
	if missing := b.world.withoutVote(); missing != "" {
		return pai.Errorf(pai.CodeRefused, "set k8s-role: worker for this machine until the rollback is done; if the lock is refused then, because the machine votes on it, set k8s-role: master again and run: paictl cluster k8s-bootup", "the control plane has not grown to all of its machines: %s", missing)
	}
	if err := k.checkRollback(newest, b.in.Snapshots); err != nil {
		return err
	}
	k.planRollback(k.lossy(newest))
	steps := k.graph.reduce()
	if err := k.checkQuorum(steps); err != nil {
		return err
	}
	b.steps = append(b.steps, waitFor(steps, b.barrier)...)
	return nil
}

// checkRollback returns an error if the old programs might not know everything
// that is stored, and no snapshot from before that exists.
func (k *kubernetes) checkRollback(newest pai.KubernetesVersion, snapshots []string) error {
	minors, known := k.pins.behind(k.to, newest)
	switch {
	case !known:
		return pai.Errorf(pai.CodeRefused, "to list the releases, run: paictl release list", "the upstream versions of Kubernetes %s and %s are unknown", k.to, newest)
	case minors == 0:
		return nil
	case k.lossy(newest) && k.several():
		return k.world.refuseSeveral("a rollback from a snapshot, after the commit of a hop,", "continue to the newer version; run: paictl upgrade apply")
	case k.lossy(newest) && !restorable(snapshots, k.to, newest):
		return pai.Errorf(pai.CodeRefused, "continue to the newer version; run: paictl upgrade apply",
			"cannot roll back from Kubernetes %s to %s: the hop is committed and no etcd snapshot from before it is left", newest, k.to)
	default:
		return nil
	}
}

// lossy reports whether a hop across minors between the version and the newest
// one is committed.
func (k *kubernetes) lossy(newest pai.KubernetesVersion) bool {
	if minors, known := k.pins.behind(k.to, newest); known && minors == 0 {
		return false
	}
	minors, known := k.pins.behind(k.to, k.world.Current.Kubernetes)
	return !known || minors > 0 || slices.ContainsFunc(k.controlPlanes, func(m MachineState) bool { return m.committed(newest) })
}

// planRollback adds the steps. If writes would be lost, it first adds a snapshot
// of the current data.
func (k *kubernetes) planRollback(lossy bool) {
	for _, m := range k.machines {
		k.machine(m, "programs", KindPrograms, !slices.Contains(m.Programs, k.version(m)), pai.RiskNone)
		digest := k.o.Bundle.Digest
		k.machine(m, "images", KindImages, digest != "" && !slices.Contains(m.Images, digest), pai.RiskNone, k.id(m, "programs"))
	}
	rollbackAPI := k.rollbackAPI
	if lossy {
		rollbackAPI = k.restoreAPI
	}
	api := []StepID{}
	if !k.world.APIReachable {
		rollbackAPI()
		api = append(api, k.ofControlPlane("apiserver")...)
	}
	for _, m := range slices.Concat(k.workers, k.controlPlanes) {
		k.rollbackNode(m, api)
	}
	if k.world.APIReachable {
		rollbackAPI()
	}
	if !k.several() {
		k.clusterStep("etcd", KindEtcd, k.stale(RoleEtcdA, RoleEtcdB) && (!lossy || k.restoresWithNewerEtcd()), k.apiRisk(), k.cluster("apiserver"))
	}
	for _, m := range k.machines {
		if lossy || !m.ControlPlane || !k.handsOver() {
			k.role(m, RoleAPIProxy, k.apiRisk(), append([]StepID{k.id(m, "programs")}, k.ofControlPlane("apiserver")...)...)
		}
	}
	all := slices.Concat(k.ofControlPlane("apiserver"), k.ofControlPlane("etcd"), each(k, k.machines, "uncordon"),
		each(k, k.machines, string(RoleAPIProxy)), each(k, k.controlPlanes, string(RoleControllerManager)), each(k, k.controlPlanes, string(RoleScheduler)))
	k.clusterStep("bootstrap", KindBootstrap, true, pai.RiskNone, all...)
	k.clusterStep("dns", KindDNS, true, pai.RiskNone, append(each(k, k.machines, "images"), k.cluster("bootstrap"))...)
	k.clusterStep("record", KindRecord, true, pai.RiskNone, k.cluster("dns"))
}

// rollbackAPI adds the controllers and the API server.
func (k *kubernetes) rollbackAPI() {
	for _, m := range k.controlPlanes {
		for _, r := range []Role{RoleControllerManager, RoleScheduler} {
			k.role(m, r, k.apiRisk(), k.id(m, "programs"))
		}
	}
	barrier := slices.Concat(each(k, k.controlPlanes, string(RoleControllerManager)), each(k, k.controlPlanes, string(RoleScheduler)))
	if k.handsOver() {
		for _, m := range k.controlPlanes {
			k.role(m, RoleAPIProxy, k.apiRisk(), k.id(m, "programs"))
		}
		barrier = slices.Concat(barrier, each(k, k.controlPlanes, string(RoleAPIProxy)), each(k, k.machines, "uncordon"))
	}
	if k.several() {
		k.rollbackEach(barrier)
		return
	}
	k.clusterStep("apiserver", KindAPIServer, k.stale(RoleAPIServerA, RoleAPIServerB), k.apiRisk(), barrier...)
}

// restoreAPI adds the older API server on what etcd held before the commit.
// The controllers follow: nothing acts on what is half restored.
func (k *kubernetes) restoreAPI() {
	var barrier []StepID
	if k.world.APIReachable {
		barrier = each(k, k.machines, "uncordon")
	}
	barrier = append(barrier, each(k, k.controlPlanes, "programs")...)
	k.clusterStep("snapshot", KindSnapshot, k.world.APIReachable, pai.RiskNone, barrier...)
	k.graph.add(true, Step{ID: k.cluster("restore"), Kind: KindRestore, From: pai.AnyVersion(newestKubernetes(k.world)), To: pai.AnyVersion(k.version(k.controlPlanes[0])), Risk: k.apiRisk()},
		append(barrier, k.cluster("snapshot"))...)
	k.clusterStep("apiserver", KindAPIServer, false, k.apiRisk(), k.cluster("restore"))
	for _, m := range k.controlPlanes {
		for _, r := range []Role{RoleControllerManager, RoleScheduler} {
			k.role(m, r, k.apiRisk(), k.id(m, "programs"), k.cluster("restore"))
		}
	}
}

// rollbackNode adds what runs the pods of one machine.
func (k *kubernetes) rollbackNode(m MachineState, barrier []StepID) {
	barrier = append(slices.Clone(barrier), k.id(m, "programs"), k.id(m, "images"))
	kubelet := !k.has(m, RoleKubelet)
	k.machine(m, "kubelet", KindKubelet, kubelet, k.nodeRisk(m), barrier...)
	k.role(m, RoleRuntime, k.nodeRisk(m), k.id(m, "kubelet"))
	k.role(m, RoleKubeProxy, pai.RiskNone, append(barrier, k.id(m, "kubelet"))...)
	k.role(m, RoleNetwork, pai.RiskNone, append(barrier, k.id(m, "kubelet"))...)
	k.gpu(m, append(barrier, k.id(m, "kubelet"))...)
	moves := m.Node != nil && (kubelet || !k.has(m, RoleRuntime))
	k.machine(m, "uncordon", KindUncordon, m.Node != nil && m.Node.CordonedByPAI || moves, pai.RiskNone,
		k.id(m, "kubelet"), k.id(m, string(RoleRuntime)), k.id(m, string(RoleKubeProxy)), k.id(m, string(RoleNetwork)), k.id(m, string(RoleGPU)))
}

// staysNewer: etcd is rolled back by one minor at most, because it rewrites its data
// for the minor before. A newer one serves an older API server as well, so it stays.
func (k *kubernetes) staysNewer(r Role, v pai.KubernetesVersion) bool {
	minors, known := k.pins.etcdBehind(k.to, v)
	return (r == RoleEtcdA || r == RoleEtcdB) && (!known || minors > 1)
}

// restoresWithNewerEtcd reports whether a restored snapshot is served by the newer
// etcd, because the older one might not be able to read it.
func (k *kubernetes) restoresWithNewerEtcd() bool {
	minors, known := k.pins.etcdBehind(k.to, newestKubernetes(k.world))
	return known && minors > 0
}

// stale reports whether one of two slots is linked to, or runs, a version that
// must be rolled back, or none of them has the version that stays.
func (k *kubernetes) stale(a, b Role) bool {
	return slices.ContainsFunc(k.controlPlanes, func(m MachineState) bool { return k.staleOn(m, a, b) })
}

func (k *kubernetes) staleOn(m MachineState, a, b Role) bool {
	newer := func(r Role) bool {
		s := m.Roles[r]
		return (s.Link != "" && !k.suits(r, s.Link)) || (s.Running != "" && !k.suits(r, s.Running))
	}
	return newer(a) || newer(b) || (!k.has(m, a) && !k.has(m, b))
}
