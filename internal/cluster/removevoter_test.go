package cluster

import (
	"cmp"
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/etcdtest"
)

// withoutThird is a cluster whose third control-plane machine is lost and has left the layout.
func withoutThird(t *testing.T, voters ...string) *severalEtcds {
	t.Helper()
	e := newSeveralEtcds(t, "v0.11-pai", "v0.11-pai", voters...)
	for _, n := range e.machines["pai-3"].nodes {
		n.Set(func(n *etcdtest.Node) { n.Down = true })
	}
	delete(e.machines, "pai-3")
	for _, m := range e.machines { // its address leads nowhere, and each machine has a kubelet
		dial := m.Dialer
		m.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
			host, port, _ := net.SplitHostPort(address)
			switch {
			case host == "10.9.0.13":
				return nil, errors.New("no route to host")
			case port == strconv.Itoa(layout.KubeletPort):
				here, there := net.Pipe()
				t.Cleanup(func() { there.Close() })
				return here, nil
			}
			return dial(ctx, network, address)
		}
	}
	e.cfg.Layout.MachineList = slices.DeleteFunc(e.cfg.Layout.MachineList, func(m config.Machine) bool { return m.Hostname == "pai-3" })
	return e
}

// Only the member of the lost machine is removed, once, and nothing if it is no member.
func TestLostVoterIsRemoved(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		voters  []string
		removed []uint64
	}{
		"a voter":   {[]string{"pai-1", "pai-2", "pai-3"}, []uint64{3}},
		"no member": {[]string{"pai-1", "pai-2"}, nil},
	} {
		e := withoutThird(t, c.voters...)
		for range 2 {
			if done, err := e.step(plan.KindRemoveVoter, "pai-3"); err != nil || !done {
				t.Fatalf("%s: got done %v, %v", name, done, err)
			}
		}
		if !slices.Equal(e.server.Removed, c.removed) {
			t.Errorf("%s: removed %v, want %v", name, e.server.Removed, c.removed)
		}
	}
}

// A learner that never started goes with the machine; members of others stay.
func TestLearnerThatNeverStartedIsRemoved(t *testing.T) {
	t.Parallel()
	e := withoutThird(t, "pai-1", "pai-2")
	e.server.Members = append(e.server.Members, &pb.Member{ID: 8, IsLearner: true, PeerURLs: []string{layout.SlotA.PeerURL("10.9.0.13")}})
	if done, err := e.step(plan.KindRemoveVoter, "pai-3"); err != nil || !done || !slices.Equal(e.server.Removed, []uint64{8}) {
		t.Errorf("got done %v, %v, removed %v", done, err, e.server.Removed)
	}
}

// A machine that a control-plane machine reaches keeps its member, and so does one whose removal
// would cost the quorum.
func TestLivingVoterIsNotRemoved(t *testing.T) {
	t.Parallel()
	alive := withoutThird(t, "pai-1", "pai-2", "pai-3")
	m := alive.machines["pai-2"]
	dial := m.Dialer
	m.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == "10.9.0.13:2380" {
			here, there := net.Pipe()
			t.Cleanup(func() { there.Close() })
			return here, nil
		}
		return dial(ctx, network, address)
	}
	if _, err := alive.step(plan.KindRemoveVoter, "pai-3"); pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(err.Error(), "pai-3 is not dead: pai-2 connects to 10.9.0.13:2380") {
		t.Errorf("a machine that is reached: got %v", err)
	}
	ill := withoutThird(t, "pai-1", "pai-2", "pai-3")
	ill.machines["pai-2"].nodes[layout.SlotA].Set(func(n *etcdtest.Node) { n.Ill = true })
	if _, err := ill.step(plan.KindRemoveVoter, "pai-3"); err == nil || !strings.Contains(err.Error(), "1 of the 2 voters that would be left are healthy") {
		t.Errorf("another voter is ill: got %v", err)
	}
	if len(alive.server.Removed)+len(ill.server.Removed) > 0 {
		t.Errorf("removed %v and %v", alive.server.Removed, ill.server.Removed)
	}
}

// Every control-plane machine is asked for the ports of its sshd, its kubelet, and its etcd.
func TestRefuseAliveAsksAllPorts(t *testing.T) {
	t.Parallel()
	e := withoutThird(t, "pai-1", "pai-2")
	e.cfg.Layout.MachineList[1].SSHPort = 2222
	for _, port := range []string{"22", "2222", "2380", "2390", "10250"} {
		for _, from := range []string{"pai-1", "pai-2"} {
			for name, m := range e.machines {
				m.Dialer = func(_ context.Context, _, address string) (net.Conn, error) {
					if name != from || address != "10.9.0.13:"+port {
						return nil, errors.New("no route to host")
					}
					here, there := net.Pipe()
					t.Cleanup(func() { there.Close() })
					return here, nil
				}
			}
			if err := RefuseAlive(t.Context(), e.cfg, e.deps().Hosts, "pai-3", []string{"10.9.0.13"}); err == nil || !strings.Contains(err.Error(), from+" connects to 10.9.0.13:"+port) {
				t.Errorf("port %s from %s: got %v", port, from, err)
			}
		}
	}
	for name, c := range map[string]struct {
		own, lost error  // of a connection to the kubelet of pai-1, and to the lost machine
		says      string // of the refusal; empty if the machine is dead
	}{
		"dead":                 {nil, errors.New("no route to host"), ""},
		"it refuses":           {nil, errors.New("ssh: rejected: connect failed (Connection refused)"), "pai-1 is refused by 10.9.0.13:22"},
		"it refuses directly":  {nil, syscall.ECONNREFUSED, "pai-1 is refused by 10.9.0.13:22"},
		"no machine can look":  {errors.New("connection lost"), errors.New("connection lost"), "unknown whether pai-3 is dead"},
		"no answer is unknown": {context.DeadlineExceeded, context.DeadlineExceeded, "unknown whether pai-3 is dead"},
	} {
		for machine, m := range e.machines {
			m.Dialer = func(_ context.Context, _, address string) (net.Conn, error) {
				switch {
				case strings.HasPrefix(address, "10.9.0.13:"):
					return nil, c.lost
				case machine != "pai-1" || c.own != nil:
					return nil, cmp.Or(c.own, errors.New("connection lost"))
				}
				here, there := net.Pipe()
				t.Cleanup(func() { there.Close() })
				return here, nil
			}
		}
		err := RefuseAlive(t.Context(), e.cfg, e.deps().Hosts, "pai-3", []string{"10.9.0.13"})
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", name, err, c.says)
		}
	}
}
