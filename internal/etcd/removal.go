package etcd

import (
	"context"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/poll"
)

// Removable are the members that a machine may remove while it keeps the etcd in
// one slot: its other slot, and members that never started. Everything else
// belongs to other machines or was added by hand, and is needed for the quorum.
// If the slot to keep is no voter, nothing may be removed.
func (l Members) Removable(m config.Machine, keep layout.Slot) Members {
	own, other := l.Voter(m, keep), keep.Other()
	if own == nil {
		return nil
	}
	var removable Members
	for _, one := range l {
		unstarted := one.Name == ""
		otherSlot := one.Name == other.Member(m.Hostname) && slices.Equal(one.Peers, []string{other.PeerURL(m.HostIP)})
		if (unstarted || otherSlot) && !slices.Contains(one.Peers, keep.PeerURL(m.HostIP)) {
			removable = append(removable, one)
		}
	}
	return removable
}

// removeTimeout is how long a removal can be refused.
const removeTimeout = 90 * time.Second

// Remove removes a member through the etcd in the slot to keep, if it is
// Removable. etcd refuses a removal until its members have been connected for
// five seconds (etcd 3.6, HealthInterval, "unhealthy cluster"), so Remove tries
// again.
func (c *Client) Remove(ctx context.Context, m config.Machine, keep layout.Slot, id uint64) error {
	isIt := func(one Member) bool { return one.ID == id }
	wait := poll.Wait{For: fmt.Sprintf("etcd on %s without its member %x", m.Hostname, id), Timeout: removeTimeout, Every: 500 * time.Millisecond}
	return wait.Until(ctx, func(ctx context.Context) (bool, error) {
		members, err := c.List(ctx, keep)
		if err != nil || !slices.ContainsFunc(members, isIt) {
			return err == nil, err
		}
		if !slices.ContainsFunc(members.Removable(m, keep), isIt) {
			return false, poll.Final(fmt.Errorf("member %x is not of %q, so it is not removed; the members are %s", id, m.Hostname, members))
		}
		_, err = ask(ctx, c, keep, callTimeout, fmt.Sprintf("remove member %x", id), func(ctx context.Context, etcd *clientv3.Client) (any, error) {
			return etcd.MemberRemove(ctx, id)
		})
		return err == nil, err
	})
}
