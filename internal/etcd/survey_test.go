package etcd

import (
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/etcd/quorum"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/test/etcdtest"
)

// severalMachines are three machines with a voter each: in slot a, a, and b.
type severalMachines struct {
	machines []config.Machine
	hosts    map[string]machine.Host
	nodes    []*etcdtest.Node
	server   *etcdtest.Server
}

func newSeveral(t *testing.T) severalMachines {
	t.Helper()
	p := etcdtest.NewPKI(t)
	s := severalMachines{hosts: map[string]machine.Host{}, server: &etcdtest.Server{Leader: 1}}
	slots := []layout.Slot{layout.SlotA, layout.SlotA, layout.SlotB}
	for i, slot := range slots {
		m := config.Machine{Hostname: "cp" + string(rune('1'+i)), HostIP: "10.0.0." + string(rune('1'+i)), Role: config.RoleControlPlane}
		h, n := etcdtest.NewHost(m.Hostname, p), &etcdtest.Node{ID: uint64(i + 1), Cluster: 7, Term: 4}
		s.server.Members = append(s.server.Members, &pb.Member{ID: n.ID, Name: slot.Member(m.Hostname), PeerURLs: []string{slot.PeerURL(m.HostIP)}})
		s.server.ServeNode(t, h, p, slot, n)
		s.machines, s.nodes, s.hosts[m.Hostname] = append(s.machines, m), append(s.nodes, n), h
	}
	return s
}

func (s severalMachines) survey(t *testing.T) quorum.State {
	t.Helper()
	return new(Certificates).Survey(t.Context(), s.machines, s.hosts)
}

func TestSurveyAsksEveryMachine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(s severalMachines)
		want   string // part of the error of CanStop of cp2; no error if empty
	}{
		"all healthy":                  {func(severalMachines) {}, ""},
		"the own one is down":          {func(s severalMachines) { s.nodes[1].Down = true }, ""},
		"another is down":              {func(s severalMachines) { s.nodes[0].Down = true }, "etcd on cp1 is unknown"},
		"another is not healthy":       {func(s severalMachines) { s.nodes[2].Ill = true }, "etcd on cp3 is not healthy"},
		"another is unreachable":       {func(s severalMachines) { delete(s.hosts, "cp3") }, `machine "cp3" is unreachable`},
		"an alarm":                     {func(s severalMachines) { s.server.Alarms = []pb.AlarmType{pb.AlarmType_NOSPACE} }, "alarms: NOSPACE"},
		"another is of a new term":     {func(s severalMachines) { s.nodes[2].Term = 5 }, "follow different leaders"},
		"another cluster":              {func(s severalMachines) { s.nodes[2].Cluster = 8 }, "of different clusters"},
		"another member answers":       {func(s severalMachines) { s.nodes[2].ID = 9 }, "member 9 answers in its slot"},
		"a learner":                    {func(s severalMachines) { s.server.Members[2].IsLearner = true }, "etcd on cp3 does not vote yet"},
		"a stranger":                   {func(s severalMachines) { s.server.Members[2].Name = "by-hand" }, "belongs to no control-plane machine"},
		"another machine by its name":  {func(s severalMachines) { s.server.Members[2].PeerURLs = []string{"https://10.9.9.9:2390"} }, "belongs to no control-plane machine"},
		"a voter that never started":   {func(s severalMachines) { s.server.Members[2].Name = "" }, "etcd on cp3 is unknown: it never started"},
		"no etcd lists the members":    {func(s severalMachines) { s.nodes[0].Down, s.nodes[1].Down, s.nodes[2].Down = true, true, true }, "the members of etcd are unknown"},
		"no control plane is known":    {func(s severalMachines) { clear(s.hosts) }, `machine "cp1" is unreachable`},
		"there is no leader to follow": {func(s severalMachines) { s.server.Leader = 0 }, "has no leader"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSeveral(t)
			c.change(s)
			err := s.survey(t).CanStop("cp2")
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if state := new(Certificates).Survey(t.Context(), nil, nil); state.Unknown == "" {
		t.Errorf("got %+v, want that nothing is known", state)
	}
}

func TestSurveyReadsTheLog(t *testing.T) {
	t.Parallel()
	s := newSeveral(t)
	s.nodes[1].Applied = 5
	state := s.survey(t)
	if m := state.Members[1]; m.Machine != "cp2" || m.Index != 9 || m.Applied != 5 || m.Leader != 1 || m.Term != 4 || m.Cluster != 7 || m.Unknown+m.Unhealthy != "" {
		t.Errorf("got %+v", m)
	}
	if err := state.Settled(); err != nil {
		t.Error(err)
	}
}
