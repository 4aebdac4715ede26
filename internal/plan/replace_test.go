package plan

import (
	"slices"
	"strings"
	"testing"
)

// The lost member is removed when the new machine has its keys, and before it joins, because etcd
// takes no other one while a voter is dead.
func TestReplacementRemovesTheLostMemberBeforeTheJoin(t *testing.T) {
	t.Parallel()
	p, err := Replace(replacing(runningSeveral(twoReleases(), "v0.9", 3, "gpu-01"), "cp-02", "gpu-01"), "cp-02", "gpu-01")
	if err != nil {
		t.Fatal(err)
	}
	waits := map[StepID][]StepID{}
	for _, s := range p.Steps {
		waits[s.ID] = s.After
	}
	const machine = "kubernetes/v0.9-pai/machine/"
	for id, want := range map[StepID]StepID{machine + "cp-02/member": machine + "gpu-01/shared-keys", machine + "gpu-01/etcd": machine + "cp-02/member"} {
		if !slices.Contains(waits[id], want) {
			t.Errorf("%s waits for %v, not for %s", id, waits[id], want)
		}
	}
}

// The members and addresses of a machine that left the layout are known by their names. Members
// of other machines, and one that was added by hand, are not its own.
func TestMembersOfALostMachine(t *testing.T) {
	t.Parallel()
	u := Unconfigured{
		EtcdMembers: []UnconfiguredMember{
			{ID: "1", Name: "cp-2-a", PeerURLs: []string{"https://10.0.0.2:2380"}}, {ID: "2", Name: "cp-22-a", PeerURLs: []string{"https://10.0.0.22:2380"}},
			{ID: "3", Learner: true, PeerURLs: []string{"https://10.0.0.3:2380"}}, {ID: "4", PeerURLs: []string{"https://10.0.0.4:2380"}}},
		Machines: []UnconfiguredMachine{{Name: "cp-2", Address: "10.0.0.2"}, {Name: "cp-22", Address: "10.0.0.22"}},
		Nodes:    []UnconfiguredNode{{Name: "cp-2", Address: "10.0.0.9"}},
	}
	var ids []string
	for _, m := range u.membersOf("cp-2") {
		ids = append(ids, m.ID)
	}
	if !slices.Equal(ids, []string{"1", "3"}) {
		t.Errorf("got the members %v", ids)
	}
	if got := u.AddressesOf("cp-2"); !slices.Equal(got, []string{"10.0.0.2", "10.0.0.3", "10.0.0.9"}) {
		t.Errorf("got the addresses %v", got)
	}
	if left := (World{Unconfigured: u}).withoutMembersOf("").Unconfigured.EtcdMembers; len(left) != 4 {
		t.Errorf("without a machine, %d members are left", len(left))
	}
}

// A maintenance that was killed between the stop of etcd and its record is not only canceled.
func TestReturnStartsWhatAKilledMaintenanceStopped(t *testing.T) {
	t.Parallel()
	in := runningSeveral(twoReleases(), "v0.9", 3, "gpu-01")
	p, err := Maintain(in.World, "cp-02")
	in = partly(t, in, p, err, "maintenance/machine/cp-02/control-plane")
	if p, err = Return(in, "cp-02"); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Kind == KindEtcd && s.Target == "cp-02" }) {
		t.Errorf("etcd is not started: %v", p.Steps)
	}
	waiting := runningSeveral(twoReleases(), "v0.9", 3, "gpu-01")
	p, err = Maintain(waiting.World, "cp-02")
	waiting = partly(t, waiting, p, err, "maintenance/machine/cp-02/cordon")
	if p, err = Return(waiting, "cp-02"); err != nil || slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Kind == KindEtcd }) {
		t.Errorf("a machine that waits for its jobs: got %v, %v", p.Steps, err)
	}
}

// A control-plane machine in maintenance keeps no worker from its return.
func TestWorkerReturnsBesideAMaintainedControlPlane(t *testing.T) {
	t.Parallel()
	in := awayFrom(awayFrom(runningSeveral(twoReleases(), "v0.9", 3, "gpu-01"), "gpu-01"), "cp-02")
	p, err := Return(in, "gpu-01")
	if err != nil || !slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Kind == KindReturn }) {
		t.Fatalf("got %v, %v", p.Steps, err)
	}
	if i := slices.IndexFunc(p.Steps, func(s Step) bool { return s.Target == "cp-02" }); i >= 0 {
		t.Errorf("%s changes the machine in maintenance", p.Steps[i].ID)
	}
}

// Whether anything of a control-plane machine that cannot be asked was stopped is unknown.
func TestReturnOfAnUnreachableControlPlaneIsRefused(t *testing.T) {
	t.Parallel()
	in := runningSeveral(twoReleases(), "v0.9", 3, "gpu-01")
	p, err := Maintain(in.World, "cp-02")
	in = off(partly(t, in, p, err, "maintenance/machine/cp-02/cordon"), "cp-02")
	if _, err := Return(in, "cp-02"); err == nil || !strings.Contains(err.Error(), "cp-02 is unreachable") {
		t.Errorf("got %v", err)
	}
}
