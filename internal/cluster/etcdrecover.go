package cluster

import (
	"context"
	"fmt"
	"strings"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
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

// HasEtcdData reports whether a machine has the data of a member of etcd, in either slot.
func HasEtcdData(ctx context.Context, h machine.Host) (bool, error) {
	have, err := slotsWithData(ctx, h)
	return len(have) > 0, err
}

// recoverBoth brings etcd back if both slots have data, because the cluster was
// cleaned during a handover. Only etcd knows which slot has all data, and the
// wrong one would lose the last writes. So both start, a slot that responds lists
// the members, and the handover continues from there.
func (e etcdHandover) recoverBoth(ctx context.Context) error {
	e.Progress("%s was cleaned during a handover of etcd; reading how far it got", e.h.Name())
	for _, s := range layout.Slots() {
		if err := e.renderRole(ctx, e.h, e.m, e.v, s.Etcd); err != nil {
			return err
		}
		// Its data has the members; the file must only exist.
		if err := writeMembership(ctx, e.h, s, stateExisting, s.Member(e.m.Hostname)+"="+s.PeerURL(e.m.HostIP)); err != nil {
			return err
		}
	}
	// In parallel: two voters become healthy only together.
	for _, s := range layout.Slots() {
		if err := moveAndRestart(ctx, e.h, s.Etcd, e.v); err != nil {
			return err
		}
	}
	members, err := e.etcd.AwaitList(ctx, healthTimeout, layout.SlotA, layout.SlotB)
	if err != nil {
		return e.withJournals(ctx, err)
	}
	e.to = members.HandoverTarget(e.m)
	e.from = e.to.Other()
	return e.run(ctx)
}
