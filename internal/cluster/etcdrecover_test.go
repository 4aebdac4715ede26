package cluster

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
)

func TestHandoverTarget(t *testing.T) {
	t.Parallel()
	m := testConfig().ControlPlane()
	a := member{ID: 1, Peers: []string{layout.SlotA.PeerURL(m.HostIP)}}
	b := member{ID: 2, Peers: []string{layout.SlotB.PeerURL(m.HostIP)}}
	learner := func(m member) member { m.Learner = true; return m }
	for _, c := range []struct {
		name    string
		members memberList
		to      layout.Slot
	}{
		{"only a", memberList{a}, layout.SlotA},
		{"only b", memberList{b}, layout.SlotB},
		{"b is a learner", memberList{a, learner(b)}, layout.SlotB},
		{"a is a learner", memberList{b, learner(a)}, layout.SlotA},
		{"both vote", memberList{a, b}, layout.SlotB},
	} {
		if to := handoverTarget(c.members, m); to != c.to {
			t.Errorf("%s: got slot %s, want %s", c.name, to.Name, c.to.Name)
		}
	}
}

// An etcd cluster of up to five machines, each with members in both slots, may
// lose only what never started and the other slot of the machine that starts.
func TestUnstartedMembersKeepOtherMachines(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		machines := []string{"m1", "m2", "m1-a", "m1-b", "m3"} // names that look like members
		own := config.Machine{Hostname: rapid.SampledFrom(machines).Draw(t, "own machine")}
		slot := rapid.SampledFrom(layout.Slots()).Draw(t, "own slot")
		started := map[uint64]string{} // ID → "machine slot"
		members := memberList{{ID: 1, Name: slot.Member(own.Hostname)}}
		started[1] = own.Hostname + " " + slot.Name
		for _, machine := range machines {
			for _, s := range layout.Slots() {
				if (machine == own.Hostname && s == slot) || !rapid.Bool().Draw(t, "is a member") {
					continue
				}
				one := member{ID: uint64(len(members) + 1), Learner: rapid.Bool().Draw(t, "learner")}
				if rapid.Bool().Draw(t, "started") {
					one.Name = s.Member(machine)
					started[one.ID] = machine + " " + s.Name
				}
				members = append(members, one)
			}
		}
		members = rapid.Permutation(members).Draw(t, "members")
		removed := map[uint64]bool{}
		for _, one := range unstartedMembers(members, own, slot) {
			removed[one.ID] = true
		}
		for _, one := range members {
			want := started[one.ID] == "" || started[one.ID] == fmt.Sprintf("%s %s", own.Hostname, slot.Other().Name)
			if removed[one.ID] != want {
				t.Errorf("member %q (%s): got removed %v, want %v", one.Name, started[one.ID], removed[one.ID], want)
			}
		}
	})
}
