package cluster

import (
	"context"
	"fmt"
	"strings"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/etcd"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// etcdOfSeveral is the step of etcd on one of several control-plane machines. The members
// decide what it is: a machine that is none joins as a learner, the only voter is handed
// over to its other slot as on a single machine, and one of several voters is restarted in
// place. If no etcd responds, the one of this machine is started with its data, and the
// first etcd of a cluster only if it is certain that there is none.
func (c *cluster) etcdOfSeveral(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) error {
	others := c.etcdElsewhere(ctx, m)
	defer others.close()
	client, err := c.etcds.Open(ctx, h)
	if err != nil {
		return err
	}
	defer client.Close()
	members := others.members
	if members == nil {
		members, _ = client.ListAny(ctx, layout.Slots()...) // nil if it does not respond
	}
	own := members.Of(m)
	slot, votes := members.VoterOf(m)
	switch {
	case members == nil:
		return c.startEtcdOfSeveral(ctx, h, m, s, others)
	case len(own.Voters()) == len(members.Voters()) || len(own) > 1:
		return c.handOverEtcd(ctx, h, m, s)
	case votes:
		return c.restartEtcd(ctx, h, m, s, slot)
	case others.members == nil:
		return fmt.Errorf("add the etcd of %q to the members %s: the etcds of the other control-plane machines do not respond", h.Name(), members)
	default:
		return etcdJoin{c, client, others, h, m, s.To.Kubernetes(), learnerTimeout}.run(ctx)
	}
}

// startEtcdOfSeveral starts an etcd on one of several control-plane machines if no etcd lists
// the members.
func (c *cluster) startEtcdOfSeveral(ctx context.Context, h machine.Host, m config.Machine, s plan.Step, others elsewhere) error {
	have, err := slotsWithWAL(ctx, h)
	if err != nil {
		return err
	}
	if len(have) == 0 {
		if err := mayStartFirst(h, others); err != nil {
			return err
		}
		return c.handOverEtcd(ctx, h, m, s)
	}
	// Members that were stopped become healthy only together: their steps run in parallel.
	if err := c.startWithData(ctx, h, m, s.To.Kubernetes()); err != nil {
		return err
	}
	if len(have) == 2 { // it was cleaned in a handover: only etcd knows which slot counts
		return c.handOverEtcd(ctx, h, m, s)
	}
	return c.awaitRole(ctx, h, have[0].Etcd, s.To.Kubernetes())
}

// mayStartFirst returns an error unless it is certain that no other control-plane machine
// has an etcd. A second cluster would have other data than the first.
func mayStartFirst(h machine.Host, others elsewhere) error {
	const what = "the first etcd was not started on %q: %s"
	if len(others.unknown) > 0 {
		return pai.Errorf(pai.CodeRefused, "make every control-plane machine reachable, and run the command again",
			what, h.Name(), "another control-plane machine might have one: "+strings.Join(others.unknown, "; "))
	}
	if len(others.withData) > 0 {
		return pai.Errorf(pai.CodeRefused, fmt.Sprintf("start the etcd of %s first; if its data are lost, see the restore from a backup in docs/operating.md", others.withData[0].Hostname),
			what, h.Name(), fmt.Sprintf("%s has data of one that does not respond", others.withData[0].Hostname))
	}
	return nil
}

// slotsWithWAL are the slots whose etcd has run. etcd makes its directories before: without a log
// it has no data, and must not start as if it had.
func slotsWithWAL(ctx context.Context, h machine.Host) ([]layout.Slot, error) {
	var have []layout.Slot
	for _, s := range layout.Slots() {
		has, err := hasWAL(ctx, h, s)
		if err != nil {
			return nil, err
		}
		if has {
			have = append(have, s)
		}
	}
	return have, nil
}

// startWithData starts the etcds of a machine that have data and do not run. It changes no
// member, and restarts none: nothing is known of the quorum.
func (c *cluster) startWithData(ctx context.Context, h machine.Host, m config.Machine, v pai.KubernetesVersion) error {
	have, err := slotsWithWAL(ctx, h)
	if err != nil {
		return err
	}
	for _, s := range have {
		state, err := roleState(ctx, h, s.Etcd)
		if err != nil {
			return err
		}
		if state.Running != "" {
			if startedAs(state, v) {
				continue
			}
			return pai.Errorf(pai.CodeFailed, "start the control-plane machines that are off, and run the same command again",
				"%s runs on %q and lists no members: etcd has no quorum, so it is not restarted", s.Etcd, h.Name())
		}
		if err := c.renderRole(ctx, h, m, v, s.Etcd); err != nil {
			return err
		}
		// Its data has the members; the file must only exist.
		if err := writeMembership(ctx, h, s, stateExisting, s.Member(m.Hostname)+"="+s.PeerURL(m.HostIP)); err != nil {
			return err
		}
		if err := moveAndRestart(ctx, h, s.Etcd, v); err != nil {
			return err
		}
	}
	return nil
}

// learnerServes reports whether the etcd of a machine serves as a learner of voters on other
// machines.
func (c *cluster) learnerServes(ctx context.Context, client *etcd.Client, m config.Machine, s layout.Slot) bool {
	if !c.Config.SeveralControlPlanes() {
		return false
	}
	others := c.etcdElsewhere(ctx, m)
	defer others.close()
	own := others.members.Started(m, s)
	return own != nil && own.Learner && len(others.members.Of(m)) == 1 && client.Serves(ctx, s) == nil
}
