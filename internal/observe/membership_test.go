package observe

import (
	"errors"
	"strings"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/etcd"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/plan"
)

// A machine that could be a member must not join: it would count twice.
func TestMemberships(t *testing.T) {
	t.Parallel()
	machines := []config.Machine{
		{Hostname: "cp-1", HostIP: "10.0.0.1", Role: config.RoleControlPlane},
		{Hostname: "cp-2", HostIP: "10.0.0.2", Role: config.RoleControlPlane},
		{Hostname: "cp-3", HostIP: "10.0.0.3", Role: config.RoleControlPlane},
		{Hostname: "gpu-1", HostIP: "10.0.0.4", Role: config.RoleWorker},
	}
	member := func(m int, s layout.Slot, learner bool) etcd.Member {
		return etcd.Member{ID: uint64(10*m) + uint64(s.EtcdPeerPort), Name: s.Member(machines[m].Hostname), Peers: []string{s.PeerURL(machines[m].HostIP)}, Learner: learner}
	}
	silent := errors.New("no etcd answers")
	one := []config.Machine{machines[0], {Hostname: "cp-2", HostIP: "10.0.0.2", Role: config.RoleWorker}}
	for name, c := range map[string]struct {
		list    []config.Machine
		members etcd.Members
		err     error
		data    map[string]bool
		want    string
	}{
		"one control-plane machine": {list: machines[:1], members: etcd.Members{member(0, layout.SlotA, false)}, want: ""},
		"a handover of one":         {list: machines[:1], members: etcd.Members{member(0, layout.SlotA, false), member(0, layout.SlotB, true)}, want: ""},
		"three voters": {list: machines, members: etcd.Members{member(0, layout.SlotB, false), member(1, layout.SlotA, false), member(2, layout.SlotA, false)},
			want: "voter voter voter "},
		"two join": {list: machines, members: etcd.Members{member(0, layout.SlotA, false), member(1, layout.SlotA, true)}, data: map[string]bool{"cp-3": true},
			want: "voter learner  "},
		"a handover while another joins": {list: machines[:2], members: etcd.Members{member(0, layout.SlotA, false), member(0, layout.SlotB, true), member(1, layout.SlotA, true)},
			want: "voter learner"},
		"before a first boot":                            {list: machines, err: silent, data: map[string]bool{"cp-1": false, "cp-2": false, "cp-3": false}, want: "   "},
		"all are stopped":                                {list: machines, err: silent, data: map[string]bool{"cp-1": true, "cp-2": true, "cp-3": true}, want: "stopped stopped stopped "},
		"one lost its disk, two are stopped":             {list: machines, err: silent, data: map[string]bool{"cp-1": false, "cp-2": true, "cp-3": true}, want: "unknown stopped stopped "},
		"one is unreachable before a boot":               {list: machines, err: silent, data: map[string]bool{"cp-1": false, "cp-2": false}, want: "  unknown "},
		"a worker is a member of a cluster that shrinks": {list: one, members: etcd.Members{member(0, layout.SlotA, false), member(1, layout.SlotA, false)}, want: "voter voter"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := &config.Config{}
			cfg.Layout.MachineList = c.list
			w := plan.World{Machines: make([]plan.MachineState, len(c.list))}
			addMemberships(&w, Source{Config: cfg}, c.members, c.err, c.data)
			var got []string
			for _, m := range w.Machines {
				got = append(got, string(m.Member))
			}
			if strings.Join(got, " ") != c.want && strings.Join(got, "") != c.want {
				t.Errorf("got %q, want %q", strings.Join(got, " "), c.want)
			}
		})
	}
}
