//go:build e2e

package etcd

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/etcd/quorum"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
)

// local asks a machine what it sees itself, as pai-machine does.
func (m *realMachine) local() *quorum.Local {
	m.t.Helper()
	dir := filepath.Join(m.dir, layout.PKIDir, "etcd")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		m.t.Fatal(err)
	}
	for name, data := range m.Files {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), data, 0o600); err != nil {
			m.t.Fatal(err)
		}
	}
	local, err := quorum.NewLocal(m.dir, "https://"+m.Ports[layout.SlotA.EtcdClientPort])
	if err != nil {
		m.t.Fatal(err)
	}
	return local
}

// Two machines join the first one as learners, get their votes together, and then each of
// the three is restarted in place: the leader moves away before, and the rule allows one at
// a time, asked by paictl and by the machine itself.
func TestThreeMachinesGrowAndRestart(t *testing.T) {
	t.Parallel()
	machines, a := newMachines(t, 3), layout.SlotA
	first := machines[0]
	first.start(a, "new", a.Member(first.Hostname)+"="+a.PeerURL(first.HostIP))
	first.await("the first etcd", func(ctx context.Context) error { return health(ctx, t, first, a) })
	if err := first.canStop(machines, first.Hostname); err != nil {
		t.Errorf("the only voter: %v", err)
	}
	c := first.client()
	for _, m := range machines[1:] {
		members, err := c.Join(t.Context(), a, m.Machine, a)
		if err != nil {
			t.Fatal(err)
		}
		m.start(a, "existing", members.InitialCluster(m.Machine, a))
		m.await("the learner to serve", func(ctx context.Context) error { return m.client().Serves(ctx, a) })
	}
	first.await("the votes", func(ctx context.Context) error {
		members, err := c.List(ctx, a)
		for _, one := range members {
			if one.Learner && err == nil {
				err = c.PromoteLearner(ctx, a, one)
			}
		}
		return err
	})
	for range 2 {
		for _, m := range machines {
			m.restartInPlace(machines)
		}
	}
	machines[2].stop(a)
	for _, m := range machines[:2] {
		if first.canStop(machines, m.Hostname) == nil || m.sees() == nil {
			t.Errorf("%s can stop while %s is down", m.Hostname, machines[2].Hostname)
		}
	}
}

func (m *realMachine) canStop(machines []*realMachine, name string) error {
	var list []config.Machine
	hosts := map[string]machine.Host{}
	for _, one := range machines {
		list, hosts[one.Hostname] = append(list, one.Machine), one
	}
	return new(Certificates).Survey(m.t.Context(), list, hosts).CanStop(name)
}

// sees is the rule as the machine itself asks it.
func (m *realMachine) sees() error {
	state, own := m.local().State(m.t.Context())
	return state.CanStop(own)
}

func (m *realMachine) restartInPlace(machines []*realMachine) {
	m.t.Helper()
	a := layout.SlotA
	m.await("the rule to allow a restart of "+m.Hostname, func(context.Context) error { return m.canStop(machines, m.Hostname) })
	if err := m.local().MoveLeader(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
	m.await("the rule on the machine", func(context.Context) error { return m.sees() })
	if status, err := m.client().Status(m.t.Context(), a); err != nil || status.Leader == status.Member {
		m.t.Errorf("%s still leads: %+v, %v", m.Hostname, status, err)
	}
	m.stop(a)
	m.start(a, "existing", "")
	m.await("the voter to serve again", func(ctx context.Context) error {
		state, own := m.local().State(ctx)
		return state.Serves(own)
	})
}
