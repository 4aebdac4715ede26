package cluster

import (
	"context"
	"fmt"
	"strings"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
)

// slotsWithData are the slots of etcd that hold data.
func slotsWithData(ctx context.Context, h machine.Host) ([]layout.Slot, error) {
	out, err := sh(ctx, h, "for s in a b; do [ ! -d %s/$s/member ] || echo $s; done", layout.EtcdDir)
	if err != nil {
		return nil, fmt.Errorf("look for etcd's data on %q: %w", h.Name(), err)
	}
	var have []layout.Slot
	for _, s := range layout.Slots() {
		if strings.Contains(out, s.Name) {
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
	for _, s := range layout.Slots() {
		if err := c.renderRole(ctx, h, m, v, s.Etcd); err != nil {
			return err
		}
		// Its data says who the members are; the file must only be there.
		if err := writeMembership(ctx, h, s, "existing", s.Member(m.Hostname)+"="+s.PeerURL(m.HostIP)); err != nil {
			return err
		}
	}
	// Side by side: two voters become healthy only together.
	for _, s := range layout.Slots() {
		if err := moveAndRestart(ctx, h, s.Etcd, v); err != nil {
			return err
		}
	}
	members, err := awaitMembers(ctx, h, v, layout.SlotA, layout.SlotB)
	if err != nil {
		return err
	}
	to := handOverTarget(members, m)
	return c.handOverEtcd(ctx, h, m, to.Other(), to, v)
}

// handOverTarget is the slot that etcd was on its way to, going by its
// members: the only one, else the one that is still a learner. Where both
// vote, both have all data.
func handOverTarget(members memberList, m config.Machine) layout.Slot {
	for _, s := range layout.Slots() {
		if members.withPeer(s.PeerURL(m.HostIP)) == nil {
			return s.Other()
		}
	}
	for _, s := range layout.Slots() {
		if members.withPeer(s.PeerURL(m.HostIP)).Learner {
			return s
		}
	}
	return layout.SlotB
}

// removeOthers takes out members that were added and never started, which a
// clean in the middle of a hand-over leaves behind.
func removeOthers(ctx context.Context, h machine.Host, m config.Machine, own layout.Slot, v pai.KubernetesVersion) error {
	members, err := listMembers(ctx, h, v, own)
	if err != nil {
		return err
	}
	for _, other := range members {
		if other.Name == own.Member(m.Hostname) {
			continue
		}
		if err := removeMember(ctx, h, v, own, other.ID); err != nil {
			return fmt.Errorf("take out a member of etcd that was never started: %w", err)
		}
	}
	return nil
}
