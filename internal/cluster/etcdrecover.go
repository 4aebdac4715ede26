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

// recoverHandover brings etcd back if both slots have data, because the cluster
// was cleaned during a handover. Only etcd knows which slot has all data, and
// the wrong one would lose the last writes. So both start, a slot that responds
// lists the members, and the handover continues from there.
func (c *cluster) recoverHandover(ctx context.Context, h machine.Host, m config.Machine, v pai.KubernetesVersion) error {
	c.Progress("%s was cleaned during a handover of etcd; reading how far it got", h.Name())
	for _, s := range layout.Slots() {
		if err := c.renderRole(ctx, h, m, v, s.Etcd); err != nil {
			return err
		}
		// Its data has the members; the file must only exist.
		if err := writeMembership(ctx, h, s, "existing", s.Member(m.Hostname)+"="+s.PeerURL(m.HostIP)); err != nil {
			return err
		}
	}
	// In parallel: two voters become healthy only together.
	for _, s := range layout.Slots() {
		if err := moveAndRestart(ctx, h, s.Etcd, v); err != nil {
			return err
		}
	}
	members, err := awaitMembers(ctx, h, v, layout.SlotA, layout.SlotB)
	if err != nil {
		return err
	}
	to := handoverTarget(members, m)
	return c.handoverEtcd(ctx, h, m, to.Other(), to, v)
}

// handoverTarget is the slot that the handover was moving etcd to, according
// to its members: the only one, or the one that is a learner. If both vote,
// both have all data.
func handoverTarget(members memberList, m config.Machine) layout.Slot {
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

// removeUnstartedMembers removes the members that a clean in the middle of a
// handover leaves behind.
func removeUnstartedMembers(ctx context.Context, h machine.Host, m config.Machine, own layout.Slot, v pai.KubernetesVersion) error {
	members, err := listMembers(ctx, h, v, own)
	if err != nil {
		return err
	}
	for _, one := range unstartedMembers(members, m, own) {
		if err := removeMember(ctx, h, v, own, one.ID); err != nil {
			return fmt.Errorf("remove an etcd member that never started: %w", err)
		}
	}
	return nil
}

// unstartedMembers are the members without a name, which never started, and
// the other slot of this machine. The members of other machines stay.
func unstartedMembers(members memberList, m config.Machine, own layout.Slot) memberList {
	var unstarted memberList
	for _, one := range members {
		if one.Name == "" || one.Name == own.Other().Member(m.Hostname) {
			unstarted = append(unstarted, one)
		}
	}
	return unstarted
}
