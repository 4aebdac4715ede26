package etcd

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"pgregory.net/rapid"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/test/etcdtest"
)

// testMachines have names that look like members.
var testMachines = []config.Machine{
	{Hostname: "m1", HostIP: "10.0.0.1"}, {Hostname: "m1-a", HostIP: "10.0.0.2"}, {Hostname: "m1-b", HostIP: "10.0.0.3"}, {Hostname: "m2", HostIP: "10.0.0.11"},
}

// drawMembers draws a list that etcd could have, or could have after an operator
// changed it by hand: members of several machines, learners, members that
// never started, duplicates, and members that mix the name of one slot with
// the address of another.
func drawMembers(t *rapid.T) Members {
	names, peers := []string{"", "by-hand"}, []string{"https://10.0.0.99:2380"}
	for _, m := range testMachines {
		for _, s := range layout.Slots() {
			names, peers = append(names, s.Member(m.Hostname)), append(peers, s.PeerURL(m.HostIP))
		}
	}
	var members Members
	for i := range rapid.IntRange(0, 7).Draw(t, "members") {
		one := Member{ID: uint64(i + 1), Learner: rapid.IntRange(0, 3).Draw(t, "learner") == 0}
		machine, slot := rapid.SampledFrom(testMachines).Draw(t, "machine"), rapid.SampledFrom(layout.Slots()).Draw(t, "slot")
		one.Name, one.Peers = slot.Member(machine.Hostname), []string{slot.PeerURL(machine.HostIP)}
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0:
			one.Name = ""
		case 1:
			one.Name = rapid.SampledFrom(names).Draw(t, "name")
		case 2:
			one.Peers = rapid.SliceOfN(rapid.SampledFrom(peers), 0, 3).Draw(t, "peers")
		}
		members = append(members, one)
	}
	return members
}

// withOwn adds the member in a slot of a machine, as a voter or as a learner, and
// perhaps its other slot.
func withOwn(t *rapid.T, members Members, m config.Machine, s layout.Slot) Members {
	for i, slot := range []layout.Slot{s, s.Other()} {
		kind := rapid.SampledFrom([]string{"none", "voter", "learner"}).Draw(t, "slot "+slot.Name)
		if kind != "none" {
			members = append(members, Member{ID: uint64(50 + i), Name: slot.Member(m.Hostname), Peers: []string{slot.PeerURL(m.HostIP)}, Learner: kind == "learner"})
		}
	}
	return rapid.Permutation(members).Draw(t, "order")
}

// mayRemove is the bound on removals, in the words of the design. It knows
// names and addresses only as text.
func mayRemove(all Members, one Member, m config.Machine, keep layout.Slot) bool {
	ports := map[string]string{"a": "2380", "b": "2390"}
	ownName, ownPeer := m.Hostname+"-"+keep.Name, "https://"+m.HostIP+":"+ports[keep.Name]
	other := map[string]string{"a": "b", "b": "a"}[keep.Name]
	otherName, otherPeer := m.Hostname+"-"+other, "https://"+m.HostIP+":"+ports[other]
	keeps := false
	for _, x := range all {
		if x.Name == ownName && strings.Contains(" "+strings.Join(x.Peers, " ")+" ", " "+ownPeer+" ") {
			keeps = !x.Learner
			break
		}
	}
	if !keeps {
		return false // else etcd could end without this machine
	}
	for _, p := range one.Peers {
		if p == ownPeer {
			return false
		}
	}
	if one.Name == "" {
		return true // it never started
	}
	return one.Name == otherName && len(one.Peers) == 1 && one.Peers[0] == otherPeer
}

// Whatever the members are, a machine removes nothing but its own other slot
// and what never started, and nothing at all unless it keeps a voter.
func TestRemovableIsBounded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		members := drawMembers(t)
		m, keep := rapid.SampledFrom(testMachines).Draw(t, "own machine"), rapid.SampledFrom(layout.Slots()).Draw(t, "slot to keep")
		members = withOwn(t, members, m, keep)
		var got, want []uint64
		for _, one := range members.Removable(m, keep) {
			got = append(got, one.ID)
		}
		for _, one := range members {
			if mayRemove(members, one, m, keep) {
				want = append(want, one.ID)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s keeps slot %s of %+v: got %v removable, want %v", m.Hostname, keep.Name, members, got, want)
		}
	})
}

// Settled is as strict as Removable: whatever looks like the other slot, by its
// name or by its address, is looked at first.
func TestSettledMeansOneVoter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		members := drawMembers(t)
		m, s := rapid.SampledFrom(testMachines).Draw(t, "own machine"), rapid.SampledFrom(layout.Slots()).Draw(t, "slot")
		members = withOwn(t, members, m, s)
		voter, absent := false, true
		for _, one := range members {
			if one.Name == s.Other().Member(m.Hostname) || slices.Contains(one.Peers, s.Other().PeerURL(m.HostIP)) {
				absent = false
			}
		}
		if own := members.Started(m, s); own != nil {
			voter = !own.Learner
		}
		if got := members.Settled(m, s); got != (voter && absent) {
			t.Fatalf("%s, slot %s of %+v: got settled %v, want %v", m.Hostname, s.Name, members, got, voter && absent)
		}
	})
}

func TestSettledIgnoresOtherMachines(t *testing.T) {
	t.Parallel()
	m1, m2 := testMachines[0], testMachines[3]
	at := func(id uint64, m config.Machine, s layout.Slot, learner bool) Member {
		return Member{ID: id, Name: s.Member(m.Hostname), Peers: []string{s.PeerURL(m.HostIP)}, Learner: learner}
	}
	for _, c := range []struct {
		name    string
		members Members
		want    bool
	}{
		{"the only voter", Members{at(1, m1, layout.SlotA, false)}, true},
		{"a learner", Members{at(1, m1, layout.SlotA, true), at(2, m2, layout.SlotA, false)}, false},
		{"a voter of another machine too", Members{at(1, m1, layout.SlotA, false), at(2, m2, layout.SlotB, false)}, true},
		{"a handover of another machine too", Members{at(1, m1, layout.SlotA, false), at(2, m2, layout.SlotA, false), at(3, m2, layout.SlotB, true)}, true},
		{"the own other slot too", Members{at(1, m1, layout.SlotA, false), at(2, m1, layout.SlotB, false)}, false},
		{"the own other slot, not started", Members{at(1, m1, layout.SlotA, false), {ID: 2, Peers: []string{layout.SlotB.PeerURL(m1.HostIP)}}}, false},
		{"only the other slot", Members{at(2, m1, layout.SlotB, false)}, false},
		{"none", nil, false},
	} {
		if got := c.members.Settled(m1, layout.SlotA); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestRemoveAsksAgainAndRefuses(t *testing.T) {
	t.Parallel()
	m1, m2 := testMachines[0], testMachines[3]
	voter := func(id uint64, m config.Machine, s layout.Slot) *pb.Member {
		return &pb.Member{ID: id, Name: s.Member(m.Hostname), PeerURLs: []string{s.PeerURL(m.HostIP)}}
	}
	s := &etcdtest.Server{Refuses: 1, Members: []*pb.Member{voter(1, m1, layout.SlotA), voter(2, m1, layout.SlotB), voter(3, m2, layout.SlotA), {ID: 4}}}
	c := openClient(t, startServer(t, s))
	for _, id := range []uint64{1, 3} {
		err := c.Remove(t.Context(), m1, layout.SlotA, id)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("member %x", id)) || len(s.Removed) > 0 {
			t.Errorf("remove member %d: got %v, removed %v, want a refusal", id, err, s.Removed)
		}
	}
	for _, id := range []uint64{2, 4, 9} { // 9 is no member
		if err := c.Remove(t.Context(), m1, layout.SlotA, id); err != nil {
			t.Errorf("remove member %d: %v", id, err)
		}
	}
	if !slices.Equal(s.Removed, []uint64{2, 4}) {
		t.Errorf("removed %v, want 2 and 4", s.Removed)
	}
}
