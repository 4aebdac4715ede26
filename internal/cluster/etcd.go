package cluster

import (
	"context"
	"fmt"
	"slices"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/etcd"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

func etcdRole(s layout.Slot) plan.Role { return s.Etcd }

// etcdHealthy asks the etcd of a slot for its health with a request that needs a
// quorum.
func (c *cluster) etcdHealthy(ctx context.Context, h machine.Host, s layout.Slot) error {
	client, err := c.etcds.Open(ctx, h)
	if err != nil {
		return err
	}
	defer client.Close()
	return client.Health(ctx, s)
}

// etcdDone reports whether one slot runs the version and votes, and the other
// slot is no member. Members on other machines do not matter. One of several
// control-plane machines can also be a learner, which the step of the voters promotes.
func (c *cluster) etcdDone(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) (bool, error) {
	states, err := slotStates(ctx, h, etcdRole)
	if err != nil {
		return false, err
	}
	to, ok, err := c.onlySlot(ctx, h, m, s, states, etcdRole)
	if err != nil || !ok {
		return false, err
	}
	client, err := c.etcds.Open(ctx, h)
	if err != nil {
		return false, err
	}
	defer client.Close()
	if err := client.Health(ctx, to); err != nil {
		return c.learnerServes(ctx, client, m, to), nil
	}
	members, err := client.List(ctx, to)
	return err == nil && members.Settled(m, to), nil // not responding is not done
}

func (c *cluster) etcd(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) error {
	if c.Config.SeveralControlPlanes() {
		return c.etcdOfSeveral(ctx, h, m, s)
	}
	return c.handOverEtcd(ctx, h, m, s)
}

// handOverEtcd starts the first etcd, or hands over to one of another version: the other
// slot joins as a learner, is promoted, leads, and the old member is removed. If
// it is killed, the next run continues from the members and units that it finds.
func (c *cluster) handOverEtcd(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) error {
	states, err := slotStates(ctx, h, etcdRole)
	if err != nil {
		return err
	}
	want, err := c.wantSlots(ctx, h, m, s, etcdRole)
	if err != nil {
		return err
	}
	client, err := c.etcds.Open(ctx, h)
	if err != nil {
		return err
	}
	defer client.Close()
	to, from := chooseSlots(states, want)
	move := etcdHandover{c, client, h, m, from, to, s.To.Kubernetes(), s.APIServerAs}
	if states[to].Link == "" && states[from].Link == "" {
		have, err := slotsWithData(ctx, h)
		switch {
		case err != nil:
			return err
		case len(have) == 2:
			return move.recoverBoth(ctx)
		case len(have) == 1:
			move.to, move.from = have[0], have[0].Other()
		}
	}
	if states[from].Running == "" && states[from].Link == "" {
		return move.startAlone(ctx)
	}
	return move.run(ctx)
}

// etcdHandover moves the etcd of a machine from one slot to the other, which
// runs version v. If apiServerAs is set, the API server is handed over next, to one of
// version v that behaves as that minor.
type etcdHandover struct {
	*cluster
	etcd        *etcd.Client
	h           machine.Host
	m           config.Machine
	from, to    layout.Slot
	v           pai.KubernetesVersion
	apiServerAs string
}

func (e etcdHandover) startAlone(ctx context.Context) error {
	if err := e.renderRole(ctx, e.h, e.m, e.v, e.to.Etcd); err != nil {
		return err
	}
	first, err := e.firstState(ctx)
	if err != nil {
		return err
	}
	initial := e.to.Member(e.m.Hostname) + "=" + e.to.PeerURL(e.m.HostIP)
	if err := writeMembership(ctx, e.h, e.to, first, initial); err != nil {
		return err
	}
	if err := moveAndRestart(ctx, e.h, e.to.Etcd, e.v); err != nil {
		return err
	}
	if err := e.awaitRole(ctx, e.h, e.to.Etcd, e.v); err != nil {
		return err
	}
	// From now on, it must not start without its data, such as when their disk is missing.
	if err := writeMembership(ctx, e.h, e.to, stateExisting, initial); err != nil {
		return err
	}
	// A clean in the middle of a handover leaves members behind.
	members, err := e.etcd.AwaitList(ctx, healthTimeout, e.to)
	if err != nil {
		return err
	}
	for _, one := range members.Removable(e.m, e.to) {
		if e.ofOtherControlPlane(one) {
			continue
		}
		if err := e.etcd.Remove(ctx, e.m, e.to, one.ID); err != nil {
			return err
		}
	}
	return nil
}

// ofOtherControlPlane reports whether a member has an address of another control-plane
// machine, whose step adds and removes it.
func (e etcdHandover) ofOtherControlPlane(one etcd.Member) bool {
	return slices.ContainsFunc(e.otherControlPlanes(e.m), func(m config.Machine) bool {
		members := etcd.Members{one}
		return members.At(m, layout.SlotA) != nil || members.At(m, layout.SlotB) != nil
	})
}

// What an etcd without data does: it starts a cluster, or asks the other members of one
// for the data. As the only member, it then ends with an error.
const (
	stateNew      = "new"
	stateExisting = "existing"
)

// firstState is how an etcd starts that runs alone. If there was one that served, and
// its data are not there, it must not start a cluster without them.
func (e etcdHandover) firstState(ctx context.Context) (string, error) {
	out, err := sh(ctx, e.h, `has() { ls $1/member/wal/*.wal >/dev/null 2>&1; }
if has %[1]s; then echo data
elif has %[2]s || grep -sq '^ETCD_INITIAL_CLUSTER_STATE=%[3]s' %[4]s %[5]s; then echo lost
fi`, e.to.EtcdData(), e.to.Other().EtcdData(), stateExisting, e.to.EtcdEnv(), e.to.Other().EtcdEnv())
	switch {
	case err != nil:
		return "", fmt.Errorf("look for the data of %s on %q: %w", e.to.Etcd, e.h.Name(), err)
	case out == "lost":
		return "", lostData(e.h, e.to.EtcdData())
	case out == "data":
		return stateExisting, nil
	}
	return stateNew, nil
}

// lostData is the error of an etcd that took writes, and whose data are not on its machine.
func lostData(h machine.Host, dir string) error {
	return pai.Errorf(pai.CodeFailed, fmt.Sprintf("mount the disk of %s; if it is lost, see the restore from a backup in docs/operating.md", layout.EtcdDir),
		"etcd served on %q before, and its data are not in %s", h.Name(), dir)
}

// writeMembership writes the members that a slot without data starts with.
func writeMembership(ctx context.Context, h machine.Host, s layout.Slot, state, initial string) error {
	if _, err := sh(ctx, h, "install -d -m 0700 %s", s.EtcdData()); err != nil {
		return err
	}
	return h.WriteFile(ctx, s.EtcdEnv(), []byte(membership(state, initial)), 0o644)
}

func membership(state, initial string) string {
	return fmt.Sprintf("ETCD_INITIAL_CLUSTER_STATE=%s\nETCD_INITIAL_CLUSTER=%s\n", state, initial)
}

// withJournals adds the ends of the journals of both etcds to an error.
func (e etcdHandover) withJournals(ctx context.Context, err error) error {
	return withJournal(ctx, e.h, e.to.Etcd, withJournal(ctx, e.h, e.from.Etcd, err))
}

func (e etcdHandover) run(ctx context.Context) error {
	members, err := e.etcd.AwaitList(ctx, healthTimeout, e.to, e.from)
	if err != nil {
		return e.withJournals(ctx, err)
	}
	if old := members.Unready(e.m, e.to); old != nil {
		if err := e.etcd.Remove(ctx, e.m, e.to, old.ID); err != nil {
			return err
		}
	}
	if old := members.Voter(e.m, e.from); old != nil {
		if err := e.replace(ctx, *old, members); err != nil {
			return err
		}
	}
	// The old member was removed; a reboot must not start it again.
	if err := e.awaitRole(ctx, e.h, e.to.Etcd, e.v); err != nil {
		return err
	}
	if members, err = e.etcd.AwaitList(ctx, healthTimeout, e.to); err != nil {
		return err
	}
	if !members.Settled(e.m, e.to) {
		return fmt.Errorf("remove the data of %s on %q: it is a member, or %s does not vote; the members are %s", e.from.Etcd, e.h.Name(), e.to.Etcd, members)
	}
	return removeEtcd(ctx, e.h, e.from)
}

// removeEtcd stops the etcd of a slot that is no member, and removes its data.
func removeEtcd(ctx context.Context, h machine.Host, s layout.Slot) error {
	if err := stopRole(ctx, h, s.Etcd); err != nil {
		return err
	}
	if err := removeEtcdData(ctx, h, s); err != nil {
		return err
	}
	return removeLink(ctx, h, s.Etcd)
}

// removeEtcdData removes the data of an etcd that was stopped. The file of its first
// membership is removed and synced before: if the power fails and the unit starts again, an
// etcd with that file and without data could start a second cluster.
func removeEtcdData(ctx context.Context, h machine.Host, s layout.Slot) error {
	_, err := sh(ctx, h, "rm -f %s\nsync %s\n%s\nrm -rf %s", s.EtcdEnv(), layout.ConfigDir, syncUnits, s.EtcdData())
	if err != nil {
		return fmt.Errorf("remove the data of %s on %q: %w", s.Etcd, h.Name(), err)
	}
	return nil
}

// syncUnits makes durable which units start at the next boot.
const syncUnits = "[ ! -d " + layout.UnitsDir + "/multi-user.target.wants ] || sync " + layout.UnitsDir + "/multi-user.target.wants"

// replace makes the etcd in the new slot a voter that leads, and removes the
// old member.
func (e etcdHandover) replace(ctx context.Context, old etcd.Member, members etcd.Members) error {
	if err := e.join(ctx, members); err != nil {
		return err
	}
	if err := e.awaitVoter(ctx); err != nil {
		return err
	}
	if err := e.reconnectAPIServer(ctx); err != nil {
		return err
	}
	if err := e.etcd.MoveLeader(ctx, e.m, e.to); err != nil {
		return err
	}
	return e.etcd.Remove(ctx, e.m, e.to, old.ID)
}

// join adds the new slot as a learner and starts it.
func (e etcdHandover) join(ctx context.Context, members etcd.Members) error {
	if err := e.renderRole(ctx, e.h, e.m, e.v, e.to.Etcd); err != nil {
		return err
	}
	members, err := e.addLearner(ctx, members)
	if err != nil {
		return err
	}
	if err := writeMembership(ctx, e.h, e.to, stateExisting, members.InitialCluster(e.m, e.to)); err != nil {
		return err
	}
	state, err := roleState(ctx, e.h, e.to.Etcd)
	if err != nil {
		return err
	}
	if startedAs(state, e.v) {
		return nil
	}
	return moveAndRestart(ctx, e.h, e.to.Etcd, e.v)
}
