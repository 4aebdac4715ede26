package cluster

import (
	"context"
	"fmt"
	"strings"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
)

// slotsWithData are the slots of etcd that hold data.
func slotsWithData(ctx context.Context, h machine.Host) ([]slot, error) {
	out, err := sh(ctx, h, "for s in a b; do [ ! -d %s/$s/member ] || echo $s; done", etcdDir)
	if err != nil {
		return nil, fmt.Errorf("look for etcd's data on %q: %w", h.Name(), err)
	}
	var have []slot
	for _, s := range slots {
		if strings.Contains(out, s.name) {
			have = append(have, s)
		}
	}
	return have, nil
}

// settleEtcd brings etcd back where both slots have data: the cluster was
// cleaned in the middle of a hand-over. Which of the two counts only etcd
// knows, and taking the wrong one would lose what was written last. So both
// are started, whoever can answer says who the members are, and the hand-over
// goes on from there.
func (c *cluster) settleEtcd(ctx context.Context, h machine.Host, m config.Machine, v pai.KubernetesVersion) error {
	c.Progress("etcd was being handed over when %s was cleaned; finding out how far it was", h.Name())
	for _, s := range slots {
		if err := c.renderRole(ctx, h, m, v, s.etcd); err != nil {
			return err
		}
		// Its data says who the members are; the file must only be there.
		if err := writeMembership(ctx, h, s, "existing", s.member(m)+"="+s.peerURL(m)); err != nil {
			return err
		}
	}
	// Side by side: two voters become healthy only together.
	for _, s := range slots {
		if err := moveAndRestart(ctx, h, s.etcd, v); err != nil {
			return err
		}
	}
	members, err := awaitMembers(ctx, h, v, slotA, slotB)
	if err != nil {
		return err
	}
	to := handOverTarget(members, m)
	return c.handOverEtcd(ctx, h, m, to.other(), to, v)
}

// handOverTarget is the slot that etcd was on its way to, going by its
// members: the only one, else the one that is still a learner. Where both
// vote, both have all data.
func handOverTarget(members memberList, m config.Machine) slot {
	for _, s := range slots {
		if members.withPeer(s.peerURL(m)) == nil {
			return s.other()
		}
	}
	for _, s := range slots {
		if members.withPeer(s.peerURL(m)).Learner {
			return s
		}
	}
	return slotB
}

// removeOthers takes out members that were added and never started, which a
// clean in the middle of a hand-over leaves behind.
func removeOthers(ctx context.Context, h machine.Host, m config.Machine, own slot, v pai.KubernetesVersion) error {
	members, err := listMembers(ctx, h, v, own)
	if err != nil {
		return err
	}
	for _, other := range members {
		if other.Name == own.member(m) {
			continue
		}
		if err := removeMember(ctx, h, v, own, other.ID); err != nil {
			return fmt.Errorf("take out a member of etcd that was never started: %w", err)
		}
	}
	return nil
}
