package plan

import (
	"slices"

	"pai.dev/pai/internal/pai"
)

// The steps of etcd and of the API servers if there are several control-plane machines. The
// first one is booted like a single one, and the others join it: a first boot is a boot of
// one that grows. So whichever of the others fails, the first one serves.
//
// etcd and the API server of one machine change before those of the next. Machines that do
// not vote in etcd yet join as learners, and get their votes together: with two voters, the
// loss of either would be the loss of the quorum. No step waits for an unreachable machine,
// except the votes, what a new version needs, and the record.

func (k *kubernetes) several() bool { return k.world.several() }

// known leaves out the machines whose membership is unknown.
func (k *kubernetes) known(machines []MachineState) []MachineState {
	return slices.DeleteFunc(slices.Clone(machines), MachineState.isUnclear)
}

// allKnown reports whether the membership of every control-plane machine is known.
func (k *kubernetes) allKnown() bool {
	return !k.several() || len(k.known(k.controlPlanes)) == len(k.controlPlanes)
}

// present are the control-plane machines that other steps wait for.
func (k *kubernetes) present() []MachineState {
	if !k.several() {
		return k.controlPlanes
	}
	return reachable(k.controlPlanes)
}

// hops reports whether the cluster goes to a newer version. It does so as well if nothing of
// it runs, after a clean.
func (k *kubernetes) hops() bool {
	return k.world.Current.Kubernetes != "" && k.world.Current.Kubernetes.Less(k.to)
}

func (k *kubernetes) severalControlPlanes() {
	first, others := k.controlPlanes[0], k.controlPlanes[1:]
	moves := slices.ContainsFunc(k.controlPlanes, func(m MachineState) bool { return k.movesEtcdOf(m) || k.movesAPIServerOf(m) })
	ready := each(k, k.present(), "programs")
	if k.world.Current.Kubernetes != "" {
		ready = append(ready, each(k, k.present(), "images")...)
	}
	k.clusterStep("snapshot", KindSnapshot, k.hops() && moves, pai.RiskNone, ready...)
	k.clusterStep("pki", KindPKI, !k.hasPKI(), pai.RiskNone, k.id(first, "programs"))
	for _, m := range others {
		k.machine(m, "shared-keys", KindSharedKeys, !m.hasAPIServer(), pai.RiskNone, k.id(m, "programs"), k.cluster("pki"))
	}
	before := slices.Concat(k.handProxies(), k.startMembers(), k.removeLost())
	var vote []StepID
	if k.betweenVotes() {
		k.joinMembers(before)
		vote = append(vote, k.vote(before))
	}
	serving := k.changeVoters(before, vote)
	if k.hops() { // what talks to the API servers must not be newer than any of them
		serving = append(serving, each(k, k.controlPlanes, "apiserver")...)
	}
	k.proxies(serving)
	elected := k.electFirst(serving)
	if !k.betweenVotes() {
		voters := each(k, reachable(k.voting()), "etcd")
		k.joinMembers(voters)
		// Whatever happens then, no other machine takes the place of controllers without election.
		k.vote(append(voters, elected...))
	}
	k.serveOnJoined(serving)
	for _, m := range k.known(others) {
		if !m.controlsAlone() {
			k.electingController(m, slices.Concat(serving, []StepID{k.id(m, "apiserver")}, elected))
		}
	}
	k.pointAtAPIAddress()
}

// base lists what the steps of etcd and the API server of one machine wait for.
func (k *kubernetes) base(m MachineState) []StepID {
	ids := []StepID{k.id(m, "programs"), k.cluster("pki")}
	if k.hops() {
		ids = append(ids, k.cluster("snapshot"))
	}
	if k.world.Current.Kubernetes != "" {
		ids = append(ids, k.id(m, "images"))
	}
	if m.Name != k.controlPlanes[0].Name {
		ids = append(ids, k.id(m, "shared-keys"))
	}
	return ids
}

// handProxies replaces the API proxies of the machines whose API server runs; see handsOver.
func (k *kubernetes) handProxies() []StepID {
	var ids []StepID
	for _, m := range k.handing() {
		k.role(m, RoleAPIProxy, k.apiRisk(), k.base(m)...)
		ids = append(ids, k.id(m, string(RoleAPIProxy)))
	}
	return ids
}

func (k *kubernetes) handing() []MachineState {
	return slices.DeleteFunc(k.present(), func(m MachineState) bool { return !k.world.APIReachable || !m.runsAPIServer() })
}

// voting are the machines that have a vote in etcd: on new machines, the first one.
func (k *kubernetes) voting() []MachineState {
	return slices.DeleteFunc(slices.Clone(k.controlPlanes), func(m MachineState) bool { return m.Name != k.controlPlanes[0].Name && !m.votes() })
}

// joining are the control-plane machines without a vote in etcd.
func (k *kubernetes) joining() []MachineState { return k.controlPlanes[len(k.voting()):] }

// startMembers adds the etcds that only have to start with their data, and returns those that
// are not of an unreachable machine. None waits for another one: alone, they have no quorum.
func (k *kubernetes) startMembers() []StepID {
	var ids []StepID
	for _, m := range k.known(k.voting()) {
		if m.runsEtcd() {
			continue
		}
		k.etcdOf(m, k.base(m)...)
		if m.Unreachable == "" {
			ids = append(ids, k.id(m, "etcd"))
		}
	}
	return ids
}

// changeVoters adds etcd and the API server of one voter after the other, and returns the last
// step that is not of an unreachable machine. What stops something waits for the vote.
func (k *kubernetes) changeVoters(before, vote []StepID) []StepID {
	last := before
	for _, m := range k.known(k.voting()) {
		etcd, api := k.base(m), append([]StepID{k.id(m, "etcd")}, last...)
		if m.runsEtcd() {
			k.etcdOf(m, slices.Concat(etcd, last, vote)...)
		}
		if m.runsAPIServer() {
			api = append(api, vote...)
		}
		k.apiServerOf(m, api...)
		if m.Unreachable == "" {
			last = []StepID{k.id(m, "apiserver")}
		}
	}
	return last
}

// betweenVotes reports whether a growth was interrupted when not every machine had its vote.
// Then the loss of one voter more is the loss of the quorum, or no voter may be stopped because
// of a learner. So the vote comes before everything that stops a voter.
func (k *kubernetes) betweenVotes() bool {
	learns := len(k.voting()) > 1 && slices.ContainsFunc(k.controlPlanes, func(m MachineState) bool { return m.Member == MemberLearner })
	return k.allKnown() && (len(k.voting())%2 == 0 || learns)
}

// joinMembers adds the etcds of machines that have no vote.
func (k *kubernetes) joinMembers(voters []StepID) {
	for _, m := range k.joining() {
		k.etcdOf(m, append(k.base(m), voters...)...)
	}
}

// vote adds the vote of all machines that have none. It waits for each of them, also for an
// unreachable one: all get it, or none.
func (k *kubernetes) vote(after []StepID) StepID {
	without := slices.DeleteFunc(slices.Clone(k.controlPlanes), func(m MachineState) bool { return m.Member == MemberVoter })
	needed := k.allKnown() && slices.ContainsFunc(k.controlPlanes[1:], func(m MachineState) bool { return m.Member != MemberVoter && m.Member != MemberUnknown })
	k.clusterStep("voters", KindVoters, needed, k.apiRisk(), append(each(k, without, "etcd"), after...)...)
	return k.cluster("voters")
}

// serveOnJoined adds the API servers of the machines that got their vote.
func (k *kubernetes) serveOnJoined(serving []StepID) {
	last := serving
	for _, m := range k.joining() {
		k.apiServerOf(m, append([]StepID{k.id(m, "etcd"), k.cluster("voters")}, last...)...)
		if m.Unreachable == "" {
			last = []StepID{k.id(m, "apiserver")}
		}
	}
}

// proxies adds the API proxies that are not replaced before the handovers. A worker reaches
// the API through the proxies of the control-plane machines.
func (k *kubernetes) proxies(serving []StepID) {
	for _, m := range k.machines {
		if slices.ContainsFunc(k.handing(), func(h MachineState) bool { return h.Name == m.Name }) {
			continue
		}
		risk := k.apiRisk()
		if k.nodeRisk(m) == pai.RiskNone {
			risk = pai.RiskNone
		}
		after := append([]StepID{k.id(m, "programs")}, serving...)
		if m.Name != k.controlPlanes[0].Name {
			after = append(after, k.id(k.controlPlanes[0], string(RoleAPIProxy)))
		}
		k.role(m, RoleAPIProxy, risk, after...)
	}
}

// electFirst adds the controllers that run without election, and then those of the first
// machine, and returns their steps. Until they are done, no others start.
func (k *kubernetes) electFirst(serving []StepID) []StepID {
	var elected []StepID
	for _, m := range k.present() {
		if m.controlsAlone() {
			k.electingController(m, serving)
			elected = append(elected, k.controllers([]MachineState{m})...)
		}
	}
	if first := k.controlPlanes[0]; !first.controlsAlone() {
		k.electingController(first, slices.Concat(serving, elected))
		elected = append(elected, k.controllers(k.controlPlanes[:1])...)
	}
	return elected
}

// controlsAlone reports whether a controller of the machine runs without election.
func (m MachineState) controlsAlone() bool {
	return slices.ContainsFunc([]Role{RoleControllerManager, RoleScheduler}, func(r Role) bool {
		return m.Roles[r].Running != "" && !m.Roles[r].Elects
	})
}

// electingController adds the controller manager and the scheduler of one machine.
func (k *kubernetes) electingController(m MachineState, after []StepID) {
	for _, r := range []Role{RoleControllerManager, RoleScheduler} {
		k.role(m, r, k.apiRisk(), append([]StepID{k.id(m, string(RoleAPIProxy))}, after...)...)
	}
}

// controllers lists the steps of the controller managers and schedulers.
func (k *kubernetes) controllers(machines []MachineState) []StepID {
	return slices.Concat(each(k, machines, string(RoleControllerManager)), each(k, machines, string(RoleScheduler)))
}

// pointAtAPIAddress adds the bootstrap. It points pods at the API address, which each
// machine has itself, so the proxy of each one whose pods could use it listens there before. Those
// of an unreachable machine could run on: without it, their connections would fail.
func (k *kubernetes) pointAtAPIAddress() {
	after := k.controllers(k.controlPlanes[:1])
	if k.hops() {
		after = k.controllers(k.controlPlanes)
	}
	if k.changesEndpoints() {
		using := slices.DeleteFunc(slices.Clone(k.machines), func(m MachineState) bool { return !k.canRunPods(m) })
		after = append(after, each(k, using, string(RoleAPIProxy))...)
	}
	have, want := k.world.Manifests, k.o.Manifests
	needed := k.unrecorded() || k.applies(have.Bootstrap, want.Bootstrap) || k.changesEndpoints() && k.world.APIReachable
	k.clusterStep("bootstrap", KindBootstrap, needed, pai.RiskNone, after...)
}

// canRunPods reports whether pods of the cluster can run on a machine now.
func (k *kubernetes) canRunPods(m MachineState) bool {
	return m.Joined || m.Node != nil || m.Unreachable != "" && !k.world.APIReachable
}

// changesEndpoints reports whether pods of a living cluster could still use the address of one
// machine.
func (k *kubernetes) changesEndpoints() bool {
	return k.several() && k.world.Current.Kubernetes != "" && !k.world.LocalEndpoints
}

// nodesAfter lists what the machines wait for as nodes. While pods are pointed at the API
// address, nodes do not wait for that: the cluster has what they join with.
func (k *kubernetes) nodesAfter() []StepID {
	if k.changesEndpoints() && !k.hops() {
		return k.controllers(k.controlPlanes[:1])
	}
	return []StepID{k.cluster("bootstrap")}
}

func (m MachineState) runsEtcd() bool {
	return m.Roles[RoleEtcdA].Running != "" || m.Roles[RoleEtcdB].Running != ""
}

func (k *kubernetes) movesEtcdOf(m MachineState) bool {
	return !k.slots(m, RoleEtcdA, RoleEtcdB) || m.Member == MemberNone
}

func (k *kubernetes) movesAPIServerOf(m MachineState) bool {
	return !k.slots(m, RoleAPIServerA, RoleAPIServerB)
}

func (k *kubernetes) etcdOf(m MachineState, after ...StepID) {
	k.slotStep(m, "etcd", KindEtcd, k.movesEtcdOf(m), []Role{RoleEtcdA, RoleEtcdB}, after...)
}

func (k *kubernetes) apiServerOf(m MachineState, after ...StepID) {
	k.slotStep(m, "apiserver", KindAPIServer, k.movesAPIServerOf(m), []Role{RoleAPIServerA, RoleAPIServerB}, after...)
}

// slotStep adds a step of one machine for a role with two slots.
func (k *kubernetes) slotStep(m MachineState, what string, kind Kind, needed bool, slots []Role, after ...StepID) {
	s := Step{ID: k.id(m, what), Kind: kind, Target: m.Name, To: pai.AnyVersion(k.version(m)), Risk: k.apiRisk(), Differs: k.slotsDiffer(m, slots...)}
	for _, r := range slots {
		if v := pai.AnyVersion(m.Roles[r].Running); s.From == "" || pai.CompareVersions(s.From, v) < 0 {
			s.From = v
		}
	}
	if kind == KindAPIServer {
		s.Emulate = k.emulate
	}
	k.graph.add(needed && (k.o.Only == nil || k.o.Serving && k.planned(m)), s, after...)
}
