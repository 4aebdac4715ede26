package plan

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
)

// At every moment of every order of the steps, and after a kill anywhere: etcd keeps a quorum,
// at most one control-plane machine is out of service, no second controller manager works
// beside one that elects no leader, and no kubelet is newer than the oldest API server. Each
// plan from there ends in the same state.
func TestSeveralControlPlanesStaySafe(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in, goal := drawSeveral(t)
		whole, err := goal(in)
		if err != nil {
			t.Fatal(err)
		}
		want := in.After(in.World, whole.Steps)
		for kills := rapid.IntRange(0, 2).Draw(t, "kills"); ; kills-- {
			p, err := goal(in)
			if err != nil {
				t.Fatal(err)
			}
			order := linear(t, p)
			if kills > 0 {
				order = order[:rapid.IntRange(0, len(order)).Draw(t, "killed after")]
			}
			for _, s := range order {
				before := in.World
				checkDuring(t, before, s)
				in.World = in.After(before, []Step{s})
				checkAfter(t, before, in.World, s)
			}
			if kills <= 0 {
				break
			}
			if rapid.Bool().Draw(t, "killed between votes") {
				in = betweenVotes(t, in)
			}
			in.World.APIReachable = in.World.ClusterID != ""
		}
		checkSameEnd(t, want, in.World)
	})
}

// drawSeveral draws a first boot, a growth, a hop, a rollback, or the maintenance, the return, or
// the replacement of a machine of a cluster.
func drawSeveral(t *rapid.T) (Input, func(Input) (Plan, error)) {
	releases := twoReleases()
	n := rapid.SampledFrom([]int{1, 3, 5}).Draw(t, "control planes")
	boot := func(in Input) (Plan, error) { return Boot(in, ninePair) }
	hop := func(in Input) (Plan, error) { return Upgrade(in, Target{Release: "v0.10", KubernetesOnly: true}) }
	switch rapid.IntRange(0, 7).Draw(t, "goal") {
	case 0:
		return withSettings(input(bareSeveral(n, "gpu-01", "gpu-02"), releases)), boot
	case 1:
		return drawGrowth(t, n), boot
	case 2:
		return runningSeveral(releases, "v0.9", n, "gpu-01"), hop
	case 3:
		in := runningSeveral(releases, "v0.9", n, "gpu-01")
		clean := Clean(in.World, false)
		in.World = in.After(in.World, clean[:rapid.IntRange(1, len(clean)).Draw(t, "cleaned")])
		in.World.APIReachable = false
		return in, rapid.SampledFrom([]func(Input) (Plan, error){boot, func(in Input) (Plan, error) { return Boot(in, pai.Pair{Services: "v0.9", Kubernetes: "v0.10-pai"}) }}).Draw(t, "to")
	case 4:
		return drawMaintenance(t, false)
	case 5:
		return drawMaintenance(t, true)
	case 6:
		return drawReplacement(t)
	default:
		in := runningSeveral(releases, "v0.9", n, "gpu-01")
		p, err := hop(in)
		if err != nil {
			t.Fatal(err)
		}
		order := linear(t, p)
		uncommitted := slices.IndexFunc(order, func(s Step) bool { return s.Kind == KindCommit })
		in.World = in.After(in.World, order[:rapid.IntRange(1, uncommitted).Draw(t, "hop killed after")])
		return in, func(in Input) (Plan, error) { return Rollback(in, ninePair, Target{KubernetesOnly: true}) }
	}
}

// drawMaintenance draws the maintenance of a control-plane machine, or its return, also with the
// loss of the quorum in between.
func drawMaintenance(t *rapid.T, returns bool) (Input, func(Input) (Plan, error)) {
	in := runningSeveral(twoReleases(), "v0.9", rapid.SampledFrom([]int{3, 5}).Draw(t, "control planes"), "gpu-01")
	name := rapid.SampledFrom(controlPlanes(in.World)).Draw(t, "machine").Name
	if !returns {
		return in, func(in Input) (Plan, error) { return Maintain(in.World, name) }
	}
	p, err := Maintain(in.World, name)
	if err != nil {
		t.Fatal(err)
	}
	in.World = in.After(in.World, p.Steps)
	in.World.APIReachable = rapid.Bool().Draw(t, "API")
	return in, func(in Input) (Plan, error) { return Return(in, name) }
}

// drawReplacement draws the replacement of a lost machine, which votes, learns, or did not join.
func drawReplacement(t *rapid.T) (Input, func(Input) (Plan, error)) {
	in := runningSeveral(twoReleases(), "v0.9", rapid.SampledFrom([]int{3, 5}).Draw(t, "control planes"), "gpu-01", "gpu-02")
	lost := rapid.SampledFrom(controlPlanes(in.World)).Draw(t, "lost").Name
	with := rapid.SampledFrom([]string{"gpu-01", "gpu-02"}).Draw(t, "with")
	in = asMember(in, lost, rapid.SampledFrom([]Membership{MemberVoter, MemberVoter, MemberLearner, MemberNone}).Draw(t, "it is a"))
	return replacing(in, lost, with), func(in Input) (Plan, error) {
		p, err := Replace(in, lost, with)
		if pai.CodeOf(err) == pai.CodeNotFound {
			return Plan{}, nil // nothing is left
		}
		return p, err
	}
}

// asMember changes what a machine is in etcd.
func asMember(in Input, name string, member Membership) Input {
	return with(in, func(machines map[string]*MachineState) { machines[name].Member = member })
}

// drawGrowth draws a cluster with one control-plane machine, or with three, that grows to n.
// Each new one is a machine of the cluster or not, and comes anywhere in the layout.
func drawGrowth(t *rapid.T, n int) Input {
	in := running(twoReleases(), "v0.9", "cp-01", "gpu-01", "gpu-02")
	if n == 5 && rapid.Bool().Draw(t, "from three") {
		in = runningSeveral(twoReleases(), "v0.9", 3, "gpu-01", "gpu-02")
	}
	names := []string{"gpu-01", "gpu-02", "new-01", "new-02", "new-03", "new-04"}
	for len(controlPlanes(in.World)) < n {
		i := rapid.IntRange(0, len(names)-1).Draw(t, "new")
		in = grown(in, names[i])
		names = slices.Delete(names, i, i+1)
	}
	in.World.Machines = rapid.Permutation(in.World.Machines).Draw(t, "layout")
	in = withSettings(in)
	if rapid.Bool().Draw(t, "other settings of etcd and of the API server") {
		for _, e := range in.Expected {
			for _, v := range e.Versions {
				for _, r := range []Role{RoleEtcdA, RoleEtcdB, RoleAPIServerA, RoleAPIServerB} {
					v.Roles[r] = Digests{Settings: "new"}
				}
			}
		}
	}
	return in
}

func slotsOf(r Role) (a, b Role) {
	if r == RoleEtcdA {
		return RoleEtcdA, RoleEtcdB
	}
	return RoleAPIServerA, RoleAPIServerB
}

func serves(m MachineState, r Role) bool {
	a, b := slotsOf(r)
	return m.Roles[a].Running != "" || m.Roles[b].Running != ""
}

// checkDuring: while a step runs, what it changes is out of service. An etcd alone is handed
// over, and so is each API server.
func checkDuring(t *rapid.T, w World, s Step) {
	voters, live := deadVoters(w), 0
	if s.StopsControlPlane() && voters > 0 {
		t.Fatalf("%s stops something while a voter is dead", s.ID)
	}
	for _, m := range w.Machines {
		if m.Member != MemberVoter {
			continue
		}
		voters++
		if serves(m, RoleEtcdA) && (s.Kind != KindEtcd && s.Kind != KindStopServing || s.Target != m.Name) {
			live++
		}
	}
	if s.StopsControlPlane() && voters > 0 && voters%2 == 0 {
		t.Fatalf("%s stops something while etcd has %d voters", s.ID, voters)
	}
	stops := s.Kind == KindEtcd && w.voters() > 1 && s.From != "" || s.Kind == KindStopServing
	if stops && live < voters/2+1 {
		t.Fatalf("during %s, %d of %d voters are left", s.ID, live, voters)
	}
	if stops && live < voters-1 {
		t.Fatalf("during %s, two of %d voters are out of service", s.ID, voters)
	}
	if s.Kind == KindEtcd && s.Target != "" && s.From == "" && serves(w.Machines[indexOf(w, s.Target)], RoleEtcdA) {
		t.Fatalf("%s stops an etcd and does not show it", s.ID)
	}
}

// deadVoters is how many machines outside the layout have a vote in etcd.
func deadVoters(w World) int {
	return len(slices.DeleteFunc(slices.Clone(w.Unconfigured.EtcdMembers), func(m UnconfiguredMember) bool { return m.Learner }))
}

// votes is how many machines have a vote in etcd, whether it runs or not.
func votes(w World) int {
	return deadVoters(w) + len(slices.DeleteFunc(slices.Clone(w.Machines), func(m MachineState) bool { return !m.votes() }))
}

func indexOf(w World, name string) int {
	return slices.IndexFunc(w.Machines, func(m MachineState) bool { return m.Name == name })
}

// betweenVotes is the state in which a vote for several machines was killed.
func betweenVotes(t *rapid.T, in Input) Input {
	p, err := Boot(in, ninePair)
	if err != nil || !slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Kind == KindVoters }) {
		return in
	}
	return with(in, func(machines map[string]*MachineState) {
		for _, m := range controlPlanes(in.World) {
			if m.Member == MemberLearner && rapid.Bool().Draw(t, "has its vote") {
				machines[m.Name].Member = MemberVoter
			}
		}
	})
}

func checkAfter(t *rapid.T, before, w World, s Step) {
	if v := votes(w); w.several() && v%2 == 0 && votes(before)%2 == 1 && s.Kind != KindRemoveVoter {
		t.Fatalf("after %s, etcd has %d voters", s.ID, v)
	}
	if s.Kind == KindRemoveVoter {
		live := len(slices.DeleteFunc(slices.Clone(w.Machines), func(m MachineState) bool { return m.Member != MemberVoter || !serves(m, RoleEtcdA) }))
		if live < votes(w)/2+1 || live != votes(w) {
			t.Fatalf("after %s, %d of %d voters serve", s.ID, live, votes(w))
		}
	}
	if s.Kind == KindRemoveNode && votes(w)%2 == 0 {
		t.Fatalf("the node is deleted while etcd has %d voters", votes(w))
	}
	alone, managers := 0, 0
	for _, m := range w.Machines {
		if kcm := m.Roles[RoleControllerManager]; kcm.Running != "" {
			managers++
			if !kcm.Elects {
				alone++
			}
		}
	}
	if alone > 0 && managers > 1 {
		t.Fatalf("after %s, %d controller managers run, and %d of them elect no leader", s.ID, managers, alone)
	}
	if problem := newerThanAPI(w); problem != "" {
		t.Fatalf("after %s: %s", s.ID, problem)
	}
}

// newerThanAPI names what is newer than an API server that it could use. What emulates a minor
// is of that minor.
func newerThanAPI(w World) string {
	behaves := func(r RoleState) string { return string(r.Running.Label()) + " as " + r.Emulates }
	rank := []string{"v0.9-pai as ", "v0.10-pai as 1.35", "v0.10-pai as "}
	oldest := len(rank)
	for _, m := range w.Machines {
		for _, r := range []Role{RoleAPIServerA, RoleAPIServerB} {
			if s := m.Roles[r]; s.Running != "" {
				oldest = min(oldest, slices.Index(rank, behaves(s)))
			}
		}
	}
	for _, m := range w.Machines {
		for _, r := range []Role{RoleControllerManager, RoleScheduler} {
			if s := m.Roles[r]; s.Running != "" && slices.Index(rank, behaves(s)) > oldest {
				return fmt.Sprintf("%s of %s is %s beside an API server %s", r, m.Name, behaves(s), rank[oldest])
			}
		}
		if s := m.Roles[RoleKubelet]; s.Running == "v0.10-pai" && oldest == 0 {
			return fmt.Sprintf("the kubelet of %s is newer than an API server", m.Name)
		}
	}
	return ""
}

// checkSameEnd compares two states: which slot serves is not part of it.
func checkSameEnd(t *rapid.T, want, got World) {
	for _, w := range []World{want, got} {
		for _, m := range w.Machines {
			for _, r := range []Role{RoleEtcdA, RoleAPIServerA} {
				a, b := slotsOf(r)
				if m.Roles[b].Running != "" {
					m.Roles[a], m.Roles[b] = m.Roles[b], RoleState{}
				}
			}
		}
	}
	if u := got.Unconfigured; len(u.EtcdMembers)+len(u.Nodes)+len(u.Machines) != len(want.Unconfigured.EtcdMembers)+len(want.Unconfigured.Nodes)+len(want.Unconfigured.Machines) {
		t.Fatalf("the end has %+v, want %+v", u, want.Unconfigured)
	}
	if want.LocalEndpoints != got.LocalEndpoints || want.Current.Kubernetes != got.Current.Kubernetes {
		t.Fatalf("the end is %v of %s, want %v of %s", got.LocalEndpoints, got.Current.Kubernetes, want.LocalEndpoints, want.Current.Kubernetes)
	}
	for i, m := range want.Machines {
		other := got.Machines[i]
		if m.Member != other.Member {
			t.Fatalf("%s is a %s, want a %s", m.Name, other.Member, m.Member)
		}
		for r, s := range m.Roles {
			if other.Roles[r] != s {
				t.Fatalf("%s of %s is %+v, want %+v", r, m.Name, other.Roles[r], s)
			}
		}
	}
}

// Whichever machine is lost, at any moment of any plan: what is planned then stops no part of
// the control plane, or it is refused. With the machine back, the plan ends as without the loss.
func TestLostControlPlaneStopsNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in, goal := drawSeveral(t)
		whole, err := goal(in)
		if err != nil || !in.World.several() {
			t.Skip("one control-plane machine")
		}
		want := in.After(in.World, whole.Steps)
		order := linear(t, whole)
		in.World = in.After(in.World, order[:rapid.IntRange(0, len(order)).Draw(t, "lost after")])
		in.World.APIReachable = in.World.ClusterID != ""
		machine := rapid.SampledFrom(controlPlanes(in.World)).Draw(t, "machine")
		without := off(in, machine.Name)
		p, err := goal(without)
		if err != nil {
			if code := pai.CodeOf(err); code != pai.CodeRefused && code != pai.CodeFailed {
				t.Fatalf("got %v", err)
			}
			p = Plan{}
		}
		reached := doWithout(p, machine.Name)
		for _, s := range reached {
			if machine.Member == MemberVoter && s.StopsControlPlane() {
				t.Fatalf("%s stops a part of the control plane while %s is lost", s.ID, machine.Name)
			}
		}
		after := in.After(in.World, reached)
		if v := votes(after); v > 0 && v%2 == 0 && votes(in.World)%2 == 1 {
			t.Fatalf("etcd has %d voters", v)
		}
		in.World = after
		p, err = goal(in)
		if err != nil {
			t.Fatalf("with %s back: %v", machine.Name, err)
		}
		checkSameEnd(t, want, in.After(in.World, p.Steps))
	})
}

// Steps that stop a part of the control plane are in one order, so that no two of them run at
// the same time, whatever the executor does.
func TestStopsOfControlPlaneAreOrdered(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in, goal := drawSeveral(t)
		p, err := goal(in)
		if err != nil {
			t.Fatal(err)
		}
		before := map[StepID]map[StepID]bool{}
		var last StepID
		for _, s := range p.Steps {
			before[s.ID] = map[StepID]bool{}
			for _, id := range s.After {
				before[s.ID][id] = true
				for far := range before[id] {
					before[s.ID][far] = true
				}
			}
			if !s.StopsControlPlane() {
				continue
			}
			if last != "" && !before[s.ID][last] {
				t.Fatalf("%s does not wait for %s", s.ID, last)
			}
			last = s.ID
		}
	})
}

// doWithout lists the steps of a plan that are done if every step on one machine fails.
func doWithout(p Plan, machine string) []Step {
	failed := map[StepID]bool{}
	var done []Step
	for _, s := range p.Steps {
		if s.Target == machine || slices.ContainsFunc(s.After, func(id StepID) bool { return failed[id] }) {
			failed[s.ID] = true
			continue
		}
		done = append(done, s)
	}
	return done
}
