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

func TestHandoverTarget(t *testing.T) {
	t.Parallel()
	m := testMachines[0]
	a := Member{ID: 1, Peers: []string{layout.SlotA.PeerURL(m.HostIP)}}
	b := Member{ID: 2, Peers: []string{layout.SlotB.PeerURL(m.HostIP)}}
	foreign := Member{ID: 3, Peers: []string{layout.SlotB.PeerURL(testMachines[1].HostIP)}, Learner: true}
	learner := func(m Member) Member { m.Learner = true; return m }
	for _, c := range []struct {
		name    string
		members Members
		to      layout.Slot
	}{
		{"only a", Members{a}, layout.SlotA},
		{"only b", Members{b}, layout.SlotB},
		{"b is a learner", Members{a, learner(b)}, layout.SlotB},
		{"a is a learner", Members{b, learner(a)}, layout.SlotA},
		{"both vote", Members{a, b}, layout.SlotB},
		{"only a, another machine joins", Members{a, foreign}, layout.SlotA},
		{"a is a learner, another machine joins", Members{foreign, b, learner(a)}, layout.SlotA},
	} {
		if to := c.members.HandoverTarget(m); to != c.to {
			t.Errorf("%s: got slot %s, want %s", c.name, to.Name, c.to.Name)
		}
	}
}

// A rollback removes only what is not a voter yet.
func TestUnreadyNeverVotes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		members := drawMembers(t)
		m, keep := testMachines[0], layout.SlotA
		members = append(members, Member{ID: 50, Name: keep.Member(m.Hostname), Peers: []string{keep.PeerURL(m.HostIP)}})
		one := members.Unready(m, keep)
		if one == nil {
			return
		}
		if !mayRemove(members, *one, m, keep) || (one.Name != "" && !one.Learner) || !slices.Contains(one.Peers, keep.Other().PeerURL(m.HostIP)) {
			t.Fatalf("got %+v of %+v", one, members)
		}
	})
}

func TestUnready(t *testing.T) {
	t.Parallel()
	m := testMachines[0]
	at := func(id uint64, s layout.Slot) Member {
		return Member{ID: id, Name: s.Member(m.Hostname), Peers: []string{s.PeerURL(m.HostIP)}}
	}
	a, b := at(1, layout.SlotA), at(2, layout.SlotB)
	learner, unstarted := b, b
	learner.Learner, unstarted.Name = true, ""
	for _, c := range []struct {
		name    string
		members Members
		want    uint64
	}{
		{"a voter", Members{a, b}, 0},
		{"a learner", Members{a, learner}, 2},
		{"never started", Members{a, unstarted}, 2},
		{"no other", Members{a}, 0},
		{"the one to keep is no member", Members{learner}, 0},
	} {
		got := uint64(0)
		if one := c.members.Unready(m, layout.SlotA); one != nil {
			got = one.ID
		}
		if got != c.want {
			t.Errorf("%s: got member %d, want %d", c.name, got, c.want)
		}
	}
}

func TestJoinAndLead(t *testing.T) {
	t.Parallel()
	m1, m2 := testMachines[0], testMachines[3]
	s := &etcdtest.Server{Asked: 2, Leader: 1, Refuses: 1, Members: []*pb.Member{
		{ID: 1, Name: "m1-a", PeerURLs: []string{layout.SlotA.PeerURL(m1.HostIP)}},
		{ID: 3, Name: "m2-b", PeerURLs: []string{layout.SlotB.PeerURL(m2.HostIP)}},
	}}
	c := openClient(t, startServer(t, s))
	members, err := c.AddLearner(t.Context(), m1, layout.SlotB)
	if err != nil {
		t.Fatal(err)
	}
	own := members.At(m1, layout.SlotB)
	if own == nil || !own.Learner || len(members) != 3 {
		t.Fatalf("got members %+v, want a learner in slot b", members)
	}
	if got, want := members.InitialCluster(m1, layout.SlotB), "m1-a=https://10.0.0.1:2380,m2-b=https://10.0.0.11:2390,m1-b=https://10.0.0.1:2390"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if err := c.MoveLeader(t.Context(), m1, layout.SlotB); err == nil || !strings.Contains(err.Error(), "does not vote") || len(s.Moved) > 0 {
		t.Errorf("a learner leads: %v", err)
	}
	if err := c.Promote(t.Context(), *own, layout.SlotB); !errors.Is(err, rpctypes.ErrMemberLearnerNotReady) {
		t.Errorf("got %v, want that the learner has not caught up", err)
	}
	if err := c.Promote(t.Context(), *own, layout.SlotB); err != nil {
		t.Errorf("got %v, want a voter", err)
	}
	s.Members[2].Name = "m1-b" // it has started
	for _, step := range []struct {
		name   string
		leader uint64
		moved  []uint64
	}{
		{"another machine leads", 3, nil},
		{"the old slot leads", 1, []uint64{own.ID}},
		{"the new slot leads", own.ID, nil},
	} {
		s.Leader, s.Moved = step.leader, nil
		if err := c.MoveLeader(t.Context(), m1, layout.SlotB); err != nil || !slices.Equal(s.Moved, step.moved) {
			t.Errorf("%s: got %v, %v, want %v", step.name, s.Moved, err, step.moved)
		}
	}
	s.Leader = 0
	if err := c.MoveLeader(t.Context(), m1, layout.SlotB); err == nil || !strings.Contains(err.Error(), "no leader") {
		t.Errorf("got %v, want that there is no leader", err)
	}
}
