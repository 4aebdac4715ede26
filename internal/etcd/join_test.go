package etcd

import (
	"errors"
	"slices"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"pgregory.net/rapid"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/test/etcdtest"
)

// A machine joins through the etcd of another one, and joins once.
func TestJoinThroughAnotherMachine(t *testing.T) {
	t.Parallel()
	m1, m2 := testMachines[0], testMachines[3]
	s := &etcdtest.Server{Asked: 1, Leader: 1, Refuses: 1, Members: []*pb.Member{{ID: 1, Name: "m1-b", PeerURLs: []string{layout.SlotB.PeerURL(m1.HostIP)}}}}
	c := openClient(t, startServer(t, s))
	for range 2 {
		members, err := c.Join(t.Context(), layout.SlotB, m2, layout.SlotA)
		if err != nil {
			t.Fatal(err)
		}
		one := members.At(m2, layout.SlotA)
		if len(members) != 2 || one == nil || !one.Learner {
			t.Fatalf("got members %+v, want one learner of m2", members)
		}
	}
	members, err := c.List(t.Context(), layout.SlotB)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := members.InitialCluster(m2, layout.SlotA), "m1-b=https://10.0.0.1:2390,m2-a=https://10.0.0.11:2380"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	learner := *members.At(m2, layout.SlotA)
	if err := c.PromoteLearner(t.Context(), layout.SlotB, learner); !errors.Is(err, rpctypes.ErrMemberLearnerNotReady) {
		t.Errorf("got %v, want that the learner has not caught up", err)
	}
	if err := c.PromoteLearner(t.Context(), layout.SlotB, learner); err != nil {
		t.Error(err)
	}
}

// The list that a third machine starts with names also a learner that never started.
func TestInitialClusterNamesEveryMember(t *testing.T) {
	t.Parallel()
	m1, m2 := testMachines[0], testMachines[3]
	members := Members{{ID: 1, Name: "m1-a", Peers: []string{"https://10.0.0.1:2380"}}, {ID: 0xab, Peers: []string{"https://10.0.0.2:2380"}, Learner: true},
		{ID: 3, Peers: []string{"https://10.0.0.11:2380"}, Learner: true}}
	if got, want := members.InitialCluster(m2, layout.SlotA), "m1-a=https://10.0.0.1:2380,member-ab=https://10.0.0.2:2380,m2-a=https://10.0.0.11:2380"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if slot, votes := members.VoterOf(m1); !votes || slot != layout.SlotA {
		t.Errorf("got slot %s, %v of m1", slot.Name, votes)
	}
	if _, votes := members.VoterOf(m2); votes || len(members.Voters()) != 1 || len(members.Of(m2)) != 1 {
		t.Error("a learner votes")
	}
}

func TestRemoveLearnerRefusesVoters(t *testing.T) {
	t.Parallel()
	m1, m2 := testMachines[0], testMachines[3]
	s := &etcdtest.Server{Asked: 1, Leader: 1, Refuses: 1, Members: []*pb.Member{
		{ID: 1, Name: "m1-a", PeerURLs: []string{layout.SlotA.PeerURL(m1.HostIP)}},
		{ID: 2, Name: "m2-a", PeerURLs: []string{layout.SlotA.PeerURL(m2.HostIP)}},
		{ID: 3, PeerURLs: []string{layout.SlotB.PeerURL(m2.HostIP)}, IsLearner: true},
	}}
	c := openClient(t, startServer(t, s))
	if err := c.RemoveLearner(t.Context(), layout.SlotA, m2, layout.SlotA); err == nil || !strings.Contains(err.Error(), "votes") || len(s.Removed) > 0 {
		t.Errorf("got %v, removed %v, want a refusal", err, s.Removed)
	}
	for range 2 { // the second time it is no member
		if err := c.RemoveLearner(t.Context(), layout.SlotA, m2, layout.SlotB); err != nil || !slices.Equal(s.Removed, []uint64{3}) {
			t.Errorf("got %v, removed %v, want 3", err, s.Removed)
		}
	}
}

// Of knows names and addresses as text: a member of a machine has exactly the address of one
// of its slots, and the name of that slot or none.
func TestMembersOfAMachine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		members := drawMembers(t)
		m := rapid.SampledFrom(testMachines).Draw(t, "machine")
		var got, want []uint64
		for _, one := range members.Of(m) {
			got = append(got, one.ID)
		}
		for _, one := range members {
			peers := strings.Join(one.Peers, " ")
			a := peers == "https://"+m.HostIP+":2380" && (one.Name == "" || one.Name == m.Hostname+"-a")
			b := peers == "https://"+m.HostIP+":2390" && (one.Name == "" || one.Name == m.Hostname+"-b")
			if a || b {
				want = append(want, one.ID)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s of %+v: got %v, want %v", m.Hostname, members, got, want)
		}
	})
}
